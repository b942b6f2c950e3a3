//! Which Postgres type a column is for clients, and which Arrow type a parameter becomes.
//!
//! Scalars and arrays of scalars are Postgres's own. What nests further (ROW, MAP, arrays of them) is `json`: every driver reads that
//! into its language's values, while few read composites.

use arrow::datatypes::{DataType, Field, IntervalUnit, SchemaRef, TimeUnit};
use arrow_pg::datatypes::{PG_OID_ALIAS_KEY, is_pg_char_field, pg_type_for_alias_kind};
use pgwire::api::Type;
use pgwire::messages::data::{FieldDescription, RowDescription};
use std::sync::Arc;

/// Values as text or as the type's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

impl Format {
    /// The format of a column or parameter, by the list that a client sent.
    pub(crate) fn of(formats: &[i16], column: usize) -> Self {
        let code = match formats {
            [] => 0,
            [one] => *one,
            many => many.get(column).copied().unwrap_or(0),
        };
        if code == 1 { Self::Binary } else { Self::Text }
    }
}

/// The Postgres type of a column.
pub(crate) fn type_of(field: &Field) -> Type {
    if let Some(alias) = field
        .metadata()
        .get(PG_OID_ALIAS_KEY)
        .and_then(|kind| pg_type_for_alias_kind(kind))
    {
        return alias;
    }
    if is_pg_char_field(field) {
        return Type::CHAR;
    }
    scalar(field.data_type())
        .or_else(|| array(field.data_type()))
        .unwrap_or(Type::JSON)
}

fn scalar(data_type: &DataType) -> Option<Type> {
    Some(match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Type::INT2,
        DataType::Int32 | DataType::UInt16 => Type::INT4,
        DataType::Int64 | DataType::UInt32 => Type::INT8,
        DataType::UInt64
        | DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => Type::NUMERIC,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Type::TEXT,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Type::BYTEA,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => Type::INTERVAL,
        DataType::Dictionary(_, values) => scalar(values)?,
        _ => return None,
    })
}

/// The elements of a list, whichever of Arrow's it is.
pub(crate) fn element(data_type: &DataType) -> Option<&Arc<Field>> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field),
        _ => None,
    }
}

fn array(data_type: &DataType) -> Option<Type> {
    Some(match scalar(element(data_type)?.data_type())? {
        Type::BOOL => Type::BOOL_ARRAY,
        Type::INT2 => Type::INT2_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::NUMERIC => Type::NUMERIC_ARRAY,
        Type::FLOAT4 => Type::FLOAT4_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::BYTEA => Type::BYTEA_ARRAY,
        Type::DATE => Type::DATE_ARRAY,
        Type::TIME => Type::TIME_ARRAY,
        Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        Type::INTERVAL => Type::INTERVAL_ARRAY,
        _ => Type::TEXT_ARRAY,
    })
}

/// The Arrow type of a parameter that a client declares.
pub(crate) fn arrow_type(declared: &Type) -> Option<DataType> {
    let list = |data_type| DataType::List(Arc::new(Field::new_list_field(data_type, true)));
    Some(match *declared {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 | Type::OID | Type::REGCLASS | Type::REGTYPE => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(38, 10),
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::CHAR
        | Type::UUID
        | Type::JSON
        | Type::JSONB => DataType::Utf8View,
        Type::BYTEA => DataType::BinaryView,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::BOOL_ARRAY => list(DataType::Boolean),
        Type::INT2_ARRAY => list(DataType::Int16),
        Type::INT4_ARRAY | Type::OID_ARRAY => list(DataType::Int32),
        Type::INT8_ARRAY => list(DataType::Int64),
        Type::FLOAT4_ARRAY => list(DataType::Float32),
        Type::FLOAT8_ARRAY => list(DataType::Float64),
        Type::NUMERIC_ARRAY => list(DataType::Decimal128(38, 10)),
        Type::TEXT_ARRAY
        | Type::VARCHAR_ARRAY
        | Type::BPCHAR_ARRAY
        | Type::NAME_ARRAY
        | Type::UUID_ARRAY => list(DataType::Utf8View),
        Type::DATE_ARRAY => list(DataType::Date32),
        Type::TIMESTAMP_ARRAY => list(DataType::Timestamp(TimeUnit::Microsecond, None)),
        Type::TIMESTAMPTZ_ARRAY => list(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("UTC".into()),
        )),
        _ => return None,
    })
}

/// What a client is told of a result's columns.
pub(crate) fn description(schema: &SchemaRef, formats: &[i16]) -> RowDescription {
    let field = |(idx, field): (usize, &Arc<Field>)| {
        let of = type_of(field);
        let format = if Format::of(formats, idx) == Format::Binary {
            1
        } else {
            0
        };
        FieldDescription::new(
            field.name().replace('\0', ""),
            0,
            0,
            of.oid(),
            size(&of),
            modifier(field.data_type()),
            format,
        )
    };
    RowDescription::new(schema.fields().iter().enumerate().map(field).collect())
}

/// Bytes of a value; -1: it varies.
fn size(of: &Type) -> i16 {
    match *of {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

/// Precision and scale, as Postgres packs them.
fn modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 =>
        {
            (i32::from(*precision) << 16 | i32::from(*scale)) + 4
        }
        _ => -1,
    }
}
