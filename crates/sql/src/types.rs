//! Flink's logical types, printed as Flink prints them.
//!
//! A type inside CAST travels in sqlparser's AST as `DataType::Custom` named `FLINK` with the printed type as its only modifier; see
//! [`Type::to_sql`] and [`FieldType::from_sql`].

use std::fmt;

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, Ident, ObjectName, TimezoneInfo,
};

use crate::name::quoted_if_needed;

/// The greatest length of CHAR, VARCHAR, BINARY and VARBINARY; VARCHAR and VARBINARY of this length are STRING and BYTES.
pub const LENGTH_MAX: u32 = i32::MAX as u32;
/// The greatest precision of DECIMAL.
pub const DECIMAL_PRECISION_MAX: u8 = 38;
/// The name of the `DataType::Custom` that carries a Flink type.
const CARRIER: &str = "FLINK";

/// A logical type without its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// BOOLEAN
    Boolean,
    /// TINYINT: 8 bits
    TinyInt,
    /// SMALLINT: 16 bits
    SmallInt,
    /// INT: 32 bits
    Int,
    /// BIGINT: 64 bits
    BigInt,
    /// FLOAT: 32 bits
    Float,
    /// DOUBLE: 64 bits
    Double,
    /// DECIMAL(precision, scale)
    Decimal {
        /// Digits, 1 to 38.
        precision: u8,
        /// Digits behind the point, 0 to `precision`.
        scale: u8,
    },
    /// CHAR(n), padded
    Char(u32),
    /// VARCHAR(n); STRING is VARCHAR(2147483647)
    VarChar(u32),
    /// BINARY(n)
    Binary(u32),
    /// VARBINARY(n); BYTES is VARBINARY(2147483647)
    VarBinary(u32),
    /// DATE
    Date,
    /// TIME(p): fraction digits 0 to 9
    Time(u8),
    /// TIMESTAMP(p): a local date and time without a zone
    Timestamp(u8),
    /// TIMESTAMP_LTZ(p): an instant, shown in the session's time zone
    TimestampLtz(u8),
    /// INTERVAL of years and months
    YearMonthInterval {
        /// The greatest field.
        from: IntervalField,
        /// The least field; the same as `from` in INTERVAL YEAR and INTERVAL MONTH.
        to: IntervalField,
        /// Digits of the year, 1 to 4.
        precision: u8,
    },
    /// INTERVAL of days to seconds
    DayTimeInterval {
        /// The greatest field.
        from: IntervalField,
        /// The least field.
        to: IntervalField,
        /// Digits of the day, 1 to 6.
        precision: u8,
        /// Fraction digits of the second, 0 to 9.
        fraction: u8,
    },
    /// `ARRAY<element>`
    Array(Box<FieldType>),
    /// `MULTISET<element>`
    Multiset(Box<FieldType>),
    /// `MAP<key, value>`
    Map(Box<FieldType>, Box<FieldType>),
    /// `ROW<name type, ...>`
    Row(Vec<RowField>),
}

/// A field of an interval, from the greatest to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum IntervalField {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// A type with its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldType {
    /// The type.
    pub kind: Type,
    /// Whether NULL is a value of it.
    pub nullable: bool,
}

/// One field of a ROW.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowField {
    /// Name, in the case it was written.
    pub name: String,
    /// Type.
    pub field_type: FieldType,
    /// Comment.
    pub comment: Option<String>,
}

impl Type {
    /// STRING.
    pub const STRING: Type = Type::VarChar(LENGTH_MAX);
    /// BYTES.
    pub const BYTES: Type = Type::VarBinary(LENGTH_MAX);

    /// The type with NULL among its values.
    pub fn nullable(self) -> FieldType {
        FieldType {
            kind: self,
            nullable: true,
        }
    }

    /// The type without NULL.
    pub fn not_null(self) -> FieldType {
        FieldType {
            kind: self,
            nullable: false,
        }
    }
}

impl FieldType {
    /// The type as sqlparser's AST carries it: `DataType::Custom("FLINK", [printed type])`.
    pub fn to_sql(&self) -> DataType {
        DataType::Custom(
            ObjectName::from(vec![Ident::new(CARRIER)]),
            vec![self.to_string()],
        )
    }

    /// The Flink type of a `DataType`: one made by [`Self::to_sql`], or one of sqlparser's own that Flink has too (as in
    /// `TIMESTAMP '...'` literals, and in `x::TYPE`). None for types that Flink does not have.
    pub fn from_sql(data_type: &DataType) -> Option<FieldType> {
        if let DataType::Custom(name, modifiers) = data_type
            && let [text] = modifiers.as_slice()
            && name.to_string() == CARRIER
        {
            return crate::parse_type(text).ok();
        }
        native(data_type).map(Type::nullable)
    }
}

fn native(data_type: &DataType) -> Option<Type> {
    let precision = |p: &Option<u64>, default: u8| {
        p.map_or(Some(default), |p| u8::try_from(p).ok().filter(|p| *p <= 9))
    };
    Some(match data_type {
        DataType::Boolean | DataType::Bool => Type::Boolean,
        DataType::TinyInt(None) => Type::TinyInt,
        DataType::SmallInt(None) => Type::SmallInt,
        DataType::Int(None) | DataType::Integer(None) => Type::Int,
        DataType::BigInt(None) => Type::BigInt,
        DataType::Float(ExactNumberInfo::None) | DataType::Real => Type::Float,
        DataType::Double(ExactNumberInfo::None) | DataType::DoublePrecision => Type::Double,
        DataType::Decimal(info) | DataType::Numeric(info) | DataType::Dec(info) => decimal(info)?,
        DataType::Char(length) | DataType::Character(length) => Type::Char(text_length(length, 1)?),
        DataType::Varchar(length) | DataType::CharacterVarying(length) => {
            Type::VarChar(text_length(length, LENGTH_MAX)?)
        }
        DataType::String(None) | DataType::Text => Type::STRING,
        DataType::Bytes(None) | DataType::Bytea => Type::BYTES,
        DataType::Date => Type::Date,
        DataType::Time(p, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            Type::Time(precision(p, 0)?)
        }
        DataType::Timestamp(p, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            Type::Timestamp(precision(p, 6)?)
        }
        DataType::Array(ArrayElemTypeDef::AngleBracket(element)) => {
            Type::Array(Box::new(FieldType::from_sql(element)?))
        }
        _ => return None,
    })
}

fn decimal(info: &ExactNumberInfo) -> Option<Type> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(p) => (u8::try_from(*p).ok()?, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => {
            (u8::try_from(*p).ok()?, u8::try_from(*s).ok()?)
        }
    };
    (1..=DECIMAL_PRECISION_MAX)
        .contains(&precision)
        .then_some(())?;
    (scale <= precision).then_some(Type::Decimal { precision, scale })
}

fn text_length(length: &Option<CharacterLength>, default: u32) -> Option<u32> {
    match length {
        None => Some(default),
        Some(CharacterLength::IntegerLength { length, .. }) => u32::try_from(*length)
            .ok()
            .filter(|n| (1..=LENGTH_MAX).contains(n)),
        Some(CharacterLength::Max) => Some(LENGTH_MAX),
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            self.kind,
            if self.nullable { "" } else { " NOT NULL" }
        )
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Boolean => f.write_str("BOOLEAN"),
            Type::TinyInt => f.write_str("TINYINT"),
            Type::SmallInt => f.write_str("SMALLINT"),
            Type::Int => f.write_str("INT"),
            Type::BigInt => f.write_str("BIGINT"),
            Type::Float => f.write_str("FLOAT"),
            Type::Double => f.write_str("DOUBLE"),
            Type::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            Type::Char(n) => write!(f, "CHAR({n})"),
            Type::VarChar(LENGTH_MAX) => f.write_str("STRING"),
            Type::VarChar(n) => write!(f, "VARCHAR({n})"),
            Type::Binary(n) => write!(f, "BINARY({n})"),
            Type::VarBinary(LENGTH_MAX) => f.write_str("BYTES"),
            Type::VarBinary(n) => write!(f, "VARBINARY({n})"),
            Type::Date => f.write_str("DATE"),
            Type::Time(p) => write!(f, "TIME({p})"),
            Type::Timestamp(p) => write!(f, "TIMESTAMP({p})"),
            Type::TimestampLtz(p) => write!(f, "TIMESTAMP_LTZ({p})"),
            Type::YearMonthInterval {
                from,
                to,
                precision,
            } => interval(f, *from, *to, *precision, 0),
            Type::DayTimeInterval {
                from,
                to,
                precision,
                fraction,
            } => interval(f, *from, *to, *precision, *fraction),
            Type::Array(element) => write!(f, "ARRAY<{element}>"),
            Type::Multiset(element) => write!(f, "MULTISET<{element}>"),
            Type::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            Type::Row(fields) => row(f, fields),
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, fields: &[RowField]) -> fmt::Result {
    f.write_str("ROW<")?;
    for (idx, field) in fields.iter().enumerate() {
        let comma = if idx > 0 { ", " } else { "" };
        write!(
            f,
            "{comma}{} {}",
            quoted_if_needed(&field.name),
            field.field_type
        )?;
        if let Some(comment) = &field.comment {
            write!(f, " '{}'", comment.replace('\'', "''"))?;
        }
    }
    f.write_str(">")
}

fn interval(
    f: &mut fmt::Formatter<'_>,
    from: IntervalField,
    to: IntervalField,
    precision: u8,
    fraction: u8,
) -> fmt::Result {
    write!(f, "INTERVAL {from}")?;
    if matches!(from, IntervalField::Year | IntervalField::Day) {
        write!(f, "({precision})")?;
    }
    if to != from {
        write!(f, " TO {to}")?;
    }
    if to == IntervalField::Second {
        write!(f, "({fraction})")?;
    }
    Ok(())
}

impl IntervalField {
    /// The field's word: YEAR, MONTH...
    pub fn name(self) -> &'static str {
        match self {
            IntervalField::Year => "YEAR",
            IntervalField::Month => "MONTH",
            IntervalField::Day => "DAY",
            IntervalField::Hour => "HOUR",
            IntervalField::Minute => "MINUTE",
            IntervalField::Second => "SECOND",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let upper = word.to_ascii_uppercase();
        Some(match upper.strip_suffix('S').unwrap_or(&upper) {
            "YEAR" => IntervalField::Year,
            "MONTH" => IntervalField::Month,
            "DAY" => IntervalField::Day,
            "HOUR" => IntervalField::Hour,
            "MINUTE" => IntervalField::Minute,
            "SECOND" => IntervalField::Second,
            _ => return None,
        })
    }
}

impl fmt::Display for IntervalField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
