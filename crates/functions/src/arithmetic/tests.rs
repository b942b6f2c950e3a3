use arrow::array::{Array, ArrayRef, Decimal128Array, Int32Array};
use arrow::datatypes::{DataType, Field};
use datafusion_common::config::ConfigOptions;

use super::*;

fn decimals(values: &[Option<&str>], precision: u8, scale: i8) -> ArrayRef {
    let values: Decimal128Array = values
        .iter()
        .map(|v| v.map(|v| crate::decimal::parse(v, scale).unwrap()))
        .collect();
    Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
}

fn eval(op: Op, left: &ArrayRef, right: &ArrayRef) -> Result<(DataType, Vec<Option<String>>)> {
    let udf = binary(op, left.data_type(), right.data_type()).unwrap();
    let field = |array: &ArrayRef| Arc::new(Field::new("x", array.data_type().clone(), true));
    let result = udf.return_type(&[left.data_type().clone(), right.data_type().clone()])?;
    let output = udf.invoke_with_args(ScalarFunctionArgs {
        args: vec![
            ColumnarValue::Array(Arc::clone(left)),
            ColumnarValue::Array(Arc::clone(right)),
        ],
        arg_fields: vec![field(left), field(right)],
        number_rows: left.len(),
        return_field: Arc::new(Field::new("y", result.clone(), true)),
        config_options: Arc::new(ConfigOptions::default()),
    })?;
    let array = output.to_array(left.len())?;
    let array: Decimal128Array = downcast("test", &array)?;
    let texts = (0..array.len())
        .map(|idx| array.is_valid(idx).then(|| array.value_as_string(idx)))
        .collect();
    Ok((result, texts))
}

fn values(op: Op, left: &ArrayRef, right: &ArrayRef) -> Vec<String> {
    let (_, texts) = eval(op, left, right).unwrap();
    texts
        .into_iter()
        .map(|t| t.unwrap_or_else(|| "NULL".into()))
        .collect()
}

#[test]
fn types_are_those_of_flink() {
    let types = |op, left, right| result_type(op, left, right);
    assert_eq!(types(Op::Plus, (10, 2), (12, 4)), (13, 4));
    assert_eq!(types(Op::Multiply, (10, 2), (12, 4)), (23, 6));
    assert_eq!(types(Op::Divide, (10, 2), (12, 4)), (27, 15));
    assert_eq!(types(Op::Modulo, (10, 2), (12, 4)), (12, 4));
    assert_eq!(types(Op::Multiply, (10, 2), (10, 0)), (21, 2));
    assert_eq!(types(Op::Divide, (10, 2), (10, 0)), (21, 13));
    assert_eq!(types(Op::Multiply, (10, 2), (2, 1)), (13, 3));
    assert_eq!(types(Op::Plus, (38, 0), (10, 0)), (38, 0));
    assert_eq!(types(Op::Divide, (13, 1), (19, 0)), (33, 21));
    assert_eq!(types(Op::Divide, (5, 2), (10, 0)), (16, 13));
    assert_eq!(types(Op::Multiply, (38, 10), (38, 10)), (38, 6));
}

#[test]
fn values_are_those_of_flink() {
    let p = decimals(
        &[
            Some("10.25"),
            Some("-10.25"),
            Some("99999999.99"),
            Some("2.55"),
            None,
        ],
        10,
        2,
    );
    let q = decimals(
        &[
            Some("3.3333"),
            Some("2.5000"),
            Some("99999999.9999"),
            Some("99.9500"),
            Some("1"),
        ],
        12,
        4,
    );
    assert_eq!(
        values(Op::Plus, &p, &q),
        ["13.5833", "-7.7500", "199999999.9899", "102.5000", "NULL"]
    );
    assert_eq!(
        values(Op::Minus, &p, &q),
        ["6.9167", "-12.7500", "-0.0099", "-97.4000", "NULL"]
    );
    assert_eq!(
        values(Op::Multiply, &p, &q),
        [
            "34.166325",
            "-25.625000",
            "9999999998990000.000001",
            "254.872500",
            "NULL"
        ]
    );
    assert_eq!(
        values(Op::Divide, &p, &q),
        [
            "3.075030750307503",
            "-4.100000000000000",
            "0.999999999901000",
            "0.025512756378189",
            "NULL"
        ]
    );
    assert_eq!(
        values(Op::Modulo, &p, &q),
        ["0.2501", "-0.2500", "99999999.9900", "2.5500", "NULL"]
    );
}

#[test]
fn integers_are_decimals_without_fraction() {
    let p = decimals(&[Some("10.25"), Some("99999999.99"), Some("1")], 10, 2);
    let n: ArrayRef = Arc::new(Int32Array::from(vec![Some(3), Some(i32::MAX), None]));
    assert_eq!(
        values(Op::Divide, &p, &n),
        ["3.4166666666667", "0.0465661287478", "NULL"]
    );
    assert_eq!(
        values(Op::Multiply, &p, &n),
        ["30.75", "214748364678525163.53", "NULL"]
    );
}

#[test]
fn an_overflow_is_null() {
    let big = decimals(
        &[Some("99999999999999999999999999999999999999"), Some("-5")],
        38,
        0,
    );
    let one: ArrayRef = Arc::new(Int32Array::from(vec![1, 1]));
    assert_eq!(values(Op::Plus, &big, &one), ["NULL", "-4"]);
    assert_eq!(values(Op::Multiply, &big, &big), ["NULL", "25"]);
}

#[test]
fn division_by_zero_fails_but_not_of_null() {
    let zero = decimals(&[Some("0")], 5, 2);
    let one = decimals(&[Some("1")], 5, 2);
    let null = decimals(&[None], 5, 2);
    for op in [Op::Divide, Op::Modulo] {
        assert!(
            eval(op, &one, &zero)
                .unwrap_err()
                .to_string()
                .contains("division by zero")
        );
        assert_eq!(values(op, &null, &zero), ["NULL"]);
    }
}

#[test]
fn wide_division_rounds_half_up() {
    let left = decimals(&[Some("2"), Some("1")], 38, 18);
    let right = decimals(&[Some("3"), Some("-8")], 38, 18);
    let (data_type, texts) = eval(Op::Divide, &left, &right).unwrap();
    assert_eq!(data_type, DataType::Decimal128(38, 6));
    assert_eq!(texts, [Some("0.666667".into()), Some("-0.125000".into())]);
}

#[test]
fn others_are_left_to_datafusion() {
    let decimal = DataType::Decimal128(10, 2);
    assert!(binary(Op::Plus, &DataType::Int32, &DataType::Int64).is_none());
    assert!(binary(Op::Plus, &decimal, &DataType::Float64).is_none());
    assert!(binary(Op::Plus, &decimal, &DataType::Utf8).is_none());
}
