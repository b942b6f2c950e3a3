//! The aggregate functions: their names, and their results' types by Flink's rules.

use arrow::datatypes::{DataType, Field, Fields};
use millstream_dataflow::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// COUNT(*) without arguments, else the rows in which no argument is NULL.
    Count,
    /// SUM; NULL over no value.
    Sum,
    /// SUM that is 0 over no value.
    Sum0,
    /// AVG: of integers truncated toward zero, of decimals rounded half up.
    Avg,
    /// MIN.
    Min,
    /// MAX.
    Max,
    /// The value that arrived first and is not NULL.
    FirstValue,
    /// The value that arrived last and is not NULL.
    LastValue,
    /// LISTAGG(text [, separator]): the texts in order of arrival, without NULLs.
    ListAgg,
    /// ARRAY_AGG: the values in order of arrival, with NULLs.
    ArrayAgg,
    /// COLLECT: the multiset of the values that are not NULL.
    Collect,
    /// STDDEV_POP.
    StddevPop,
    /// STDDEV_SAMP, STDDEV.
    StddevSamp,
    /// VAR_POP.
    VarPop,
    /// VAR_SAMP, VARIANCE.
    VarSamp,
    /// The only value: more than one row is an error (a scalar subquery).
    SingleValue,
    /// APPROX_COUNT_DISTINCT: exact here.
    ApproxCountDistinct,
    /// Whether all values that are not NULL are true.
    BoolAnd,
    /// Whether any value is true.
    BoolOr,
    /// PERCENTILE(value, fraction): interpolated.
    Percentile,
}

impl Function {
    /// The function of a name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "COUNT" => Self::Count,
            "SUM" => Self::Sum,
            "SUM0" | "$SUM0" => Self::Sum0,
            "AVG" => Self::Avg,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            "FIRST_VALUE" => Self::FirstValue,
            "LAST_VALUE" => Self::LastValue,
            "LISTAGG" | "STRING_AGG" => Self::ListAgg,
            "ARRAY_AGG" => Self::ArrayAgg,
            "COLLECT" => Self::Collect,
            "STDDEV_POP" => Self::StddevPop,
            "STDDEV_SAMP" | "STDDEV" => Self::StddevSamp,
            "VAR_POP" => Self::VarPop,
            "VAR_SAMP" | "VARIANCE" => Self::VarSamp,
            "SINGLE_VALUE" => Self::SingleValue,
            "APPROX_COUNT_DISTINCT" => Self::ApproxCountDistinct,
            "BOOL_AND" | "EVERY" => Self::BoolAnd,
            "BOOL_OR" | "SOME" => Self::BoolOr,
            "PERCENTILE" => Self::Percentile,
            _ => return None,
        })
    }

    /// The name that EXPLAIN shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Sum0 => "SUM0",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::FirstValue => "FIRST_VALUE",
            Self::LastValue => "LAST_VALUE",
            Self::ListAgg => "LISTAGG",
            Self::ArrayAgg => "ARRAY_AGG",
            Self::Collect => "COLLECT",
            Self::StddevPop => "STDDEV_POP",
            Self::StddevSamp => "STDDEV_SAMP",
            Self::VarPop => "VAR_POP",
            Self::VarSamp => "VAR_SAMP",
            Self::SingleValue => "SINGLE_VALUE",
            Self::ApproxCountDistinct => "APPROX_COUNT_DISTINCT",
            Self::BoolAnd => "BOOL_AND",
            Self::BoolOr => "BOOL_OR",
            Self::Percentile => "PERCENTILE",
        }
    }

    /// The type of the result for arguments of these types, as Flink has it: SUM keeps the type, SUM(DECIMAL(p, s)) is
    /// DECIMAL(38, s), AVG(DECIMAL(p, s)) is DECIMAL(38, max(6, s)), deviations of integers are integers.
    ///
    /// # Errors
    /// `User` when the number or the types of the arguments do not fit.
    pub fn return_type(self, args: &[DataType]) -> Result<DataType> {
        self.check_count(args.len())?;
        match self {
            Self::Count | Self::ApproxCountDistinct => Ok(DataType::Int64),
            Self::Sum | Self::Sum0 => match &args[0] {
                DataType::Decimal128(_, scale) => Ok(DataType::Decimal128(38, *scale)),
                other => self.number(other),
            },
            Self::Avg | Self::StddevPop | Self::StddevSamp | Self::VarPop | Self::VarSamp => {
                match &args[0] {
                    DataType::Decimal128(_, scale) => Ok(DataType::Decimal128(38, (*scale).max(6))),
                    other => self.number(other),
                }
            }
            Self::Min | Self::Max | Self::FirstValue | Self::LastValue | Self::SingleValue => {
                Ok(text_as_view(&args[0]))
            }
            Self::ListAgg => self.text(&args[0]),
            Self::ArrayAgg => Ok(DataType::List(Arc::new(Field::new_list_field(
                text_as_view(&args[0]),
                true,
            )))),
            Self::Collect => Ok(multiset(text_as_view(&args[0]))),
            Self::BoolAnd | Self::BoolOr => match &args[0] {
                DataType::Boolean | DataType::Null => Ok(DataType::Boolean),
                other => Err(self.unfit(other, "BOOLEAN")),
            },
            Self::Percentile => {
                self.number_or_decimal(&args[0])?;
                self.number_or_decimal(&args[1])?;
                Ok(DataType::Float64)
            }
        }
    }

    fn check_count(self, given: usize) -> Result<()> {
        let fits = match self {
            Self::Count => true,
            Self::ApproxCountDistinct => given >= 1,
            Self::ListAgg => (1..=2).contains(&given),
            Self::Percentile => given == 2,
            Self::Sum
            | Self::Sum0
            | Self::Avg
            | Self::Min
            | Self::Max
            | Self::FirstValue
            | Self::LastValue
            | Self::ArrayAgg
            | Self::Collect
            | Self::StddevPop
            | Self::StddevSamp
            | Self::VarPop
            | Self::VarSamp
            | Self::SingleValue
            | Self::BoolAnd
            | Self::BoolOr => given == 1,
        };
        if fits {
            return Ok(());
        }
        Err(Error::user(format!(
            "{self} does not take {given} arguments"
        )))
    }

    fn number(self, data_type: &DataType) -> Result<DataType> {
        match data_type {
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64 => Ok(data_type.clone()),
            DataType::Null => Ok(DataType::Int64),
            other => Err(self.unfit(other, "a number")),
        }
    }

    fn number_or_decimal(self, data_type: &DataType) -> Result<()> {
        match data_type {
            DataType::Decimal128(_, _) => Ok(()),
            other => self.number(other).map(|_| ()),
        }
    }

    fn text(self, data_type: &DataType) -> Result<DataType> {
        match data_type {
            DataType::Utf8 | DataType::Utf8View | DataType::Null => Ok(DataType::Utf8View),
            other => Err(self.unfit(other, "STRING").detail("LISTAGG joins texts")),
        }
    }

    fn unfit(self, given: &DataType, wanted: &str) -> Error {
        Error::user(format!("{self} takes {wanted}, not {given}")).hint("CAST the argument")
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn text_as_view(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 => DataType::Utf8View,
        other => other.clone(),
    }
}

/// MULTISET: a map from the values to how often they are there.
fn multiset(element: DataType) -> DataType {
    let fields = Fields::from(vec![
        Field::new("keys", element, false),
        Field::new("values", DataType::Int32, false),
    ]);
    let entries = Field::new("entries", DataType::Struct(fields), false);
    DataType::Map(Arc::new(entries), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_flink() {
        let typed = |function: Function, arg: DataType| function.return_type(&[arg]).unwrap();
        assert_eq!(typed(Function::Sum, DataType::Int32), DataType::Int32);
        assert_eq!(
            typed(Function::Sum, DataType::Decimal128(6, 2)),
            DataType::Decimal128(38, 2)
        );
        assert_eq!(
            typed(Function::Avg, DataType::Decimal128(20, 8)),
            DataType::Decimal128(38, 8)
        );
        assert_eq!(
            typed(Function::Avg, DataType::Decimal128(6, 2)),
            DataType::Decimal128(38, 6)
        );
        assert_eq!(typed(Function::VarSamp, DataType::Int32), DataType::Int32);
        assert_eq!(typed(Function::Max, DataType::Utf8), DataType::Utf8View);
        assert!(Function::Sum.return_type(&[DataType::Utf8View]).is_err());
        assert!(Function::Sum.return_type(&[]).is_err());
        assert_eq!(Function::parse("stddev"), Some(Function::StddevSamp));
        assert_eq!(Function::parse("MEDIAN_OF"), None);
    }
}
