use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;

use crate::testing::{d, dec, error, eval, i, l, null, result_type, t};

#[test]
fn decimals_round_to_a_smaller_type() {
    let p = || dec("10.25", 10, 2);
    for (args, value, data_type) in [
        (vec![p(), i(1)], "10.3", DataType::Decimal128(10, 1)),
        (
            vec![dec("-622.95", 10, 2), i(1)],
            "-623.0",
            DataType::Decimal128(10, 1),
        ),
        (
            vec![dec("3.3333", 12, 4), i(0)],
            "3",
            DataType::Decimal128(9, 0),
        ),
        (
            vec![dec("233.24", 10, 2), i(-1)],
            "230",
            DataType::Decimal128(9, 0),
        ),
        (vec![p(), i(5)], "10.25", DataType::Decimal128(10, 2)),
        (vec![p()], "10", DataType::Decimal128(9, 0)),
        (
            vec![dec("99999999.99", 10, 2), i(-20)],
            "0",
            DataType::Decimal128(9, 0),
        ),
    ] {
        assert_eq!(eval("round", &args), value);
        assert_eq!(result_type("round", &args), data_type);
    }
    assert_eq!(eval("truncate", &[dec("99.9500", 12, 4), i(1)]), "99.9");
    assert_eq!(
        result_type("truncate", &[dec("1", 12, 4), i(2)]),
        DataType::Decimal128(11, 2)
    );
    assert_eq!(eval("truncate", &[dec("-42.324", 10, 3), i(-1)]), "-40");
}

#[test]
fn doubles_round_as_they_print() {
    assert_eq!(eval("round", &[d(2.675), i(2)]), "2.68");
    assert_eq!(eval("round", &[d(-1.5)]), "-2.0");
    assert_eq!(eval("round", &[d(1234.5), i(-2)]), "1200.0");
    assert_eq!(eval("round", &[d(1e300), i(2)]), "1.0E300");
    assert_eq!(eval("round", &[d(f64::NAN), i(2)]), "NaN");
    assert_eq!(
        eval("round", &[d(5e-324), i(400)]),
        eval("round", &[d(5e-324), i(324)])
    );
    assert_eq!(eval("truncate", &[d(42.324), i(2)]), "42.32");
    assert_eq!(eval("truncate", &[d(-42.9)]), "-42.0");
    assert_eq!(
        eval("round", &[ScalarValue::Float32(Some(0.15)), i(1)]),
        "0.2"
    );
    assert_eq!(eval("round", &[i(155), i(-1)]), "160");
    assert_eq!(eval("round", &[i(155), null()]), "\\N");
}

#[test]
fn floor_and_ceil_drop_the_scale() {
    assert_eq!(eval("floor", &[dec("-10.25", 10, 2)]), "-11");
    assert_eq!(eval("ceil", &[dec("-10.25", 10, 2)]), "-10");
    assert_eq!(eval("ceil", &[dec("0.05", 10, 2)]), "1");
    assert_eq!(
        result_type("ceiling", &[dec("0.05", 10, 2)]),
        DataType::Decimal128(10, 0)
    );
    assert_eq!(eval("floor", &[d(-1.5)]), "-2.0");
    assert_eq!(eval("ceil", &[i(3)]), "3");
    assert!(error("floor", &[crate::testing::b(true)]).contains("BOOLEAN"));
}

#[test]
fn absolute_values_and_signs_keep_the_type() {
    assert_eq!(eval("abs", &[dec("-10.25", 10, 2)]), "10.25");
    assert_eq!(eval("abs", &[i(-5)]), "5");
    assert_eq!(eval("abs", &[i(i32::MIN)]), "-2147483648");
    assert_eq!(eval("sign", &[dec("-3.3333", 12, 4)]), "-1.0000");
    assert_eq!(eval("sign", &[dec("0", 12, 4)]), "0.0000");
    assert_eq!(
        result_type("sign", &[dec("0", 12, 4)]),
        DataType::Decimal128(12, 4)
    );
    assert_eq!(eval("sign", &[d(-0.5)]), "-1.0");
    assert_eq!(eval("sign", &[d(0.0)]), "0.0");
    assert_eq!(eval("abs", &[null()]), "\\N");
}

#[test]
fn remainders_have_the_dividends_sign() {
    assert_eq!(eval("mod", &[i(-7), i(3)]), "-1");
    assert_eq!(eval("mod", &[l(7), i(3)]), "1");
    assert_eq!(result_type("mod", &[i(7), l(3)]), DataType::Int64);
    assert_eq!(result_type("mod", &[l(7), i(3)]), DataType::Int32);
    assert_eq!(
        eval("mod", &[dec("10.25", 10, 2), dec("3.3333", 12, 4)]),
        "0.2501"
    );
    assert_eq!(eval("mod", &[d(5.5), i(2)]), "1.5");
    assert_eq!(eval("mod", &[l(i64::MIN), l(-1)]), "0");
    assert!(error("mod", &[i(1), i(0)]).contains("division by zero"));
    assert!(error("mod", &[dec("1", 5, 2), i(0)]).contains("division by zero"));
    assert_eq!(eval("mod", &[null(), i(0)]), "\\N");
}

#[test]
fn doubles_come_of_everything() {
    assert_eq!(eval("power", &[i(2), i(10)]), "1024.0");
    assert_eq!(eval("sqrt", &[dec("6.25", 5, 2)]), "2.5");
    assert_eq!(eval("log", &[i(2), i(8)]), "3.0");
    assert_eq!(eval("log", &[i(1)]), "0.0");
    assert_eq!(eval("ln", &[i(0)]), "-Infinity");
    assert_eq!(eval("log10", &[i(1000)]), "3.0");
    assert_eq!(eval("atan2", &[i(0), i(1)]), "0.0");
    assert_eq!(
        eval("degrees", &[eval("pi", &[]).parse::<f64>().map(d).unwrap()]),
        "180.0"
    );
    for (name, value, expected) in [
        ("sin", 0.5, "0.479426"),
        ("cos", 0.5, "0.877583"),
        ("tan", 0.5, "0.546302"),
        ("cot", 0.5, "1.830488"),
        ("sinh", 0.5, "0.521095"),
        ("cosh", 0.5, "1.127626"),
        ("tanh", 0.5, "0.462117"),
        ("asin", 0.5, "0.523599"),
        ("acos", 0.5, "1.047198"),
        ("atan", 0.5, "0.463648"),
        ("log2", 8.0, "3.000000"),
        ("radians", 180.0, "3.141593"),
    ] {
        assert_eq!(
            eval(
                "printf",
                &[t("%f"), d(eval(name, &[d(value)]).parse().unwrap())]
            ),
            expected,
            "{name}"
        );
    }
    assert_eq!(eval("e", &[]), "2.718281828459045");
    assert_eq!(eval("sqrt", &[t("4")]), "2.0");
    assert_eq!(eval("exp", &[null()]), "\\N");
}

#[test]
fn bits() {
    assert_eq!(eval("bitand", &[i(12), i(10)]), "8");
    assert_eq!(eval("bitor", &[i(12), l(10)]), "14");
    assert_eq!(eval("bitxor", &[i(12), i(10)]), "6");
    assert_eq!(eval("bitnot", &[i(0)]), "-1");
    assert!(error("bitand", &[d(1.0), i(1)]).contains("DOUBLE"));
}
