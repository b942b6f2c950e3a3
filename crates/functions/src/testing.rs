//! Calls a function in tests as a query would: with its arguments converted, as literals and as columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field};
use datafusion_common::ScalarValue;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};

use crate::cast::to_text::to_text;
use crate::error::Result;
use crate::{Options, scalar_functions};

/// The function of a name or alias, in a time zone.
pub(crate) fn function(name: &str, zone: &str) -> Arc<ScalarUDF> {
    let found = scalar_functions(&Options {
        time_zone: zone.into(),
    })
    .into_iter()
    .find(|f| f.name() == name || f.aliases().iter().any(|alias| alias == name));
    found.unwrap_or_else(|| panic!("no function {name}"))
}

/// The result as CAST AS STRING prints it; `\N` is NULL.
pub(crate) fn eval(name: &str, args: &[ScalarValue]) -> String {
    try_eval(name, args, "UTC").unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The result in a session's time zone.
pub(crate) fn eval_in(zone: &str, name: &str, args: &[ScalarValue]) -> String {
    try_eval(name, args, zone).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The error's text.
pub(crate) fn error(name: &str, args: &[ScalarValue]) -> String {
    match try_eval(name, args, "UTC") {
        Ok(value) => panic!("{name} gave {value}"),
        Err(error) => error.to_string(),
    }
}

/// The result's type.
pub(crate) fn result_type(name: &str, args: &[ScalarValue]) -> DataType {
    let udf = function(name, "UTC");
    let (types, _) = converted(&udf, args).unwrap();
    planned(&udf, &types, args).unwrap()
}

fn converted(udf: &ScalarUDF, args: &[ScalarValue]) -> Result<(Vec<DataType>, Vec<ScalarValue>)> {
    let types: Vec<_> = args.iter().map(ScalarValue::data_type).collect();
    let types = udf.coerce_types(&types)?;
    let values: Result<Vec<_>> = args
        .iter()
        .zip(&types)
        .map(|(value, to)| value.cast_to(to))
        .collect();
    Ok((types, values?))
}

fn planned(udf: &ScalarUDF, types: &[DataType], args: &[ScalarValue]) -> Result<DataType> {
    let fields: Vec<_> = types
        .iter()
        .map(|t| Arc::new(Field::new("x", t.clone(), true)))
        .collect();
    // A literal that is converted is no literal any more when the type is asked for again.
    let kept =
        |(arg, to): (_, &DataType)| Some(arg).filter(|arg: &&ScalarValue| &arg.data_type() == to);
    let literals: Vec<_> = args.iter().zip(types).map(kept).collect();
    let field = udf.return_field_from_args(ReturnFieldArgs {
        arg_fields: &fields,
        scalar_arguments: &literals,
    })?;
    Ok(field.data_type().clone())
}

/// Evaluates over literals, over columns, and over a mixture; all must agree.
fn try_eval(name: &str, args: &[ScalarValue], zone: &str) -> Result<String> {
    const ROWS: usize = 3;
    let udf = function(name, zone);
    let (types, values) = converted(&udf, args)?;
    let data_type = planned(&udf, &types, args)?;
    let literals: Vec<_> = values.iter().cloned().map(ColumnarValue::Scalar).collect();
    let expected = invoke(&udf, literals.clone(), &types, &data_type, 1, zone)?;
    for mixed in [0, 1] {
        if args.is_empty() {
            break;
        }
        let columns: Result<Vec<_>> = values
            .iter()
            .enumerate()
            .map(|(idx, value)| match idx {
                idx if mixed == 1 && idx > 0 => Ok(ColumnarValue::Scalar(value.clone())),
                _ => Ok(ColumnarValue::Array(value.to_array_of_size(ROWS)?)),
            })
            .collect();
        let texts = invoke(&udf, columns?, &types, &data_type, ROWS, zone)?;
        assert_eq!(
            texts,
            vec![expected[0].clone(); ROWS],
            "{name} over columns"
        );
    }
    Ok(expected.into_iter().next().unwrap_or_default())
}

fn invoke(
    udf: &ScalarUDF,
    args: Vec<ColumnarValue>,
    types: &[DataType],
    data_type: &DataType,
    rows: usize,
    zone: &str,
) -> Result<Vec<String>> {
    let output = udf.invoke_with_args(ScalarFunctionArgs {
        args,
        arg_fields: types
            .iter()
            .map(|t| Arc::new(Field::new("x", t.clone(), true)))
            .collect(),
        number_rows: rows,
        return_field: Arc::new(Field::new("y", data_type.clone(), true)),
        config_options: Arc::new(ConfigOptions::default()),
    })?;
    Ok(printed(&output.to_array(rows)?, zone))
}

/// Every value as text.
pub(crate) fn printed(array: &ArrayRef, zone: &str) -> Vec<String> {
    let texts = to_text(array, None, zone.parse().unwrap()).unwrap();
    texts
        .as_string_view()
        .iter()
        .map(|text| text.unwrap_or("\\N").to_string())
        .collect()
}

/// A text.
pub(crate) fn t(text: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(text.into()))
}

/// An INT.
pub(crate) fn i(value: i32) -> ScalarValue {
    ScalarValue::Int32(Some(value))
}

/// A BIGINT.
pub(crate) fn l(value: i64) -> ScalarValue {
    ScalarValue::Int64(Some(value))
}

/// A DOUBLE.
pub(crate) fn d(value: f64) -> ScalarValue {
    ScalarValue::Float64(Some(value))
}

/// A BOOLEAN.
pub(crate) fn b(value: bool) -> ScalarValue {
    ScalarValue::Boolean(Some(value))
}

/// NULL without a type.
pub(crate) fn null() -> ScalarValue {
    ScalarValue::Null
}

/// A DECIMAL.
pub(crate) fn dec(text: &str, precision: u8, scale: i8) -> ScalarValue {
    ScalarValue::Decimal128(crate::decimal::parse(text, scale), precision, scale)
}

/// A value of the type, read from text.
pub(crate) fn of(text: &str, data_type: &DataType) -> ScalarValue {
    let texts: ArrayRef = Arc::new(arrow::array::StringViewArray::from(vec![text]));
    let array = crate::cast::strict(&texts, data_type, crate::zone::Zone::UTC).unwrap();
    ScalarValue::try_from_array(&array, 0).unwrap()
}

/// A TIMESTAMP(3).
pub(crate) fn ts(text: &str) -> ScalarValue {
    of(
        text,
        &DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None),
    )
}

/// A DATE.
pub(crate) fn date(text: &str) -> ScalarValue {
    of(text, &DataType::Date32)
}

/// A list.
pub(crate) fn list(values: &[ScalarValue]) -> ScalarValue {
    let element = values
        .iter()
        .map(ScalarValue::data_type)
        .find(|t| !t.is_null())
        .unwrap_or(DataType::Null);
    let values: Vec<_> = values
        .iter()
        .map(|value| value.cast_to(&element).unwrap())
        .collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &element))
}
