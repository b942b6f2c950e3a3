use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{Expr, col, lit};

use crate::testing::{b, d, date, dec, error, eval, function, i, l, null, result_type, t};

#[test]
fn coalesce_takes_the_first_value() {
    assert_eq!(eval("coalesce", &[null(), t("default")]), "default");
    assert_eq!(
        eval("coalesce", &[ScalarValue::Int32(None), i(3), i(4)]),
        "3"
    );
    assert_eq!(eval("coalesce", &[null(), null()]), "\\N");
    assert_eq!(eval("ifnull", &[ScalarValue::Utf8(None), t("x")]), "x");
    assert_eq!(result_type("coalesce", &[i(1), l(2)]), DataType::Int64);
    assert_eq!(
        result_type("ifnull", &[dec("1", 10, 2), i(2)]),
        DataType::Decimal128(12, 2)
    );
    assert!(error("coalesce", &[i(1), t("x")]).contains("one type, not INT and STRING"));
}

#[test]
fn if_chooses() {
    assert_eq!(eval("if", &[b(true), i(5), i(3)]), "5");
    assert_eq!(eval("if", &[b(false), t("a"), null()]), "\\N");
    assert_eq!(eval("if", &[null(), i(5), d(3.0)]), "3.0");
}

#[test]
fn the_optimizer_makes_a_case() {
    let rewritten = |name: &str, args: Vec<Expr>| match function(name, "UTC")
        .simplify(args, &SimplifyContext::default())
        .unwrap()
    {
        ExprSimplifyResult::Simplified(expr) => expr.to_string(),
        ExprSimplifyResult::Original(_) => panic!("{name} stays"),
    };
    assert_eq!(
        rewritten("coalesce", vec![col("a"), lit(1)]),
        "CASE WHEN a IS NOT NULL THEN a ELSE Int32(1) END"
    );
    assert_eq!(
        rewritten("if", vec![col("c"), col("a"), col("b")]),
        "CASE WHEN c THEN a ELSE b END"
    );
}

#[test]
fn nullif_keeps_the_first_type() {
    assert_eq!(eval("nullif", &[i(5), i(5)]), "\\N");
    assert_eq!(eval("nullif", &[i(5), i(0)]), "5");
    assert_eq!(eval("nullif", &[dec("0", 12, 4), i(0)]), "\\N");
    assert_eq!(
        result_type("nullif", &[dec("0", 12, 4), l(0)]),
        DataType::Decimal128(12, 4)
    );
    assert_eq!(eval("nullif", &[t("a"), null()]), "a");
    assert_eq!(eval("nullif", &[null(), t("a")]), "\\N");
}

#[test]
fn extremes_are_null_with_any_null() {
    assert_eq!(eval("greatest", &[i(1), l(3), i(2)]), "3");
    assert_eq!(eval("least", &[t("b"), t("a"), t("c")]), "a");
    assert_eq!(eval("greatest", &[i(1), null()]), "\\N");
    assert_eq!(eval("least", &[ScalarValue::Int32(None), i(1)]), "\\N");
    assert_eq!(
        eval("least", &[date("2024-01-02"), date("2024-01-01")]),
        "2024-01-01"
    );
    assert_eq!(eval("greatest", &[dec("1.5", 3, 1), i(1)]), "1.5");
}
