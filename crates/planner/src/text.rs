//! Expressions as people write them: SQL, for EXPLAIN and for columns that no query names.

use arrow::array::Array;
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use arrow::util::display::array_value_to_string;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunctionParams, ScalarFunction};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Expr, Like, Operator, WindowFunctionDefinition,
};
use millstream_sql::{quoted, text_literal};

use crate::types;

/// An expression as SQL; `name` says what a column is called.
pub(crate) fn sql(expr: &Expr, name: &dyn Fn(&Column) -> String) -> String {
    Writer { name }.within(expr, Binding::None)
}

/// The same, columns under their own names.
pub(crate) fn plain_sql(expr: &Expr) -> String {
    sql(expr, &|column| column.name.clone())
}

/// A name that the optimizer or the binder has made up for a column, and no query has written.
pub(crate) fn is_made_up(name: &str) -> bool {
    name.starts_with("__") || name.contains('(')
}

/// How firmly the parts of a text hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    None,
    Or,
    And,
    Not,
    Compare,
    Add,
    Multiply,
    Atom,
}

struct Writer<'a> {
    name: &'a dyn Fn(&Column) -> String,
}

impl Writer<'_> {
    /// The text of a part of something that binds as firmly as `outer`.
    fn within(&self, expr: &Expr, outer: Binding) -> String {
        let (text, own) = self.text(expr);
        if own < outer {
            format!("({text})")
        } else {
            text
        }
    }

    fn list(&self, exprs: &[Expr]) -> String {
        let texts: Vec<String> = exprs
            .iter()
            .map(|expr| self.within(expr, Binding::None))
            .collect();
        texts.join(", ")
    }

    fn text(&self, expr: &Expr) -> (String, Binding) {
        let compared = |part: &Expr, rest: &str| {
            let part = self.within(part, Binding::Add);
            (format!("{part} {rest}"), Binding::Compare)
        };
        match expr {
            Expr::Alias(alias) => self.text(&alias.expr),
            Expr::Column(column) => named((self.name)(column)),
            Expr::Literal(value, _) => (literal(value), Binding::Atom),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.binary(left, *op, right),
            Expr::Not(part) => (
                format!("NOT {}", self.within(part, Binding::Not)),
                Binding::Not,
            ),
            Expr::IsNull(part) => compared(part, "IS NULL"),
            Expr::IsNotNull(part) => compared(part, "IS NOT NULL"),
            Expr::IsTrue(part) => compared(part, "IS TRUE"),
            Expr::IsFalse(part) => compared(part, "IS FALSE"),
            Expr::IsUnknown(part) => compared(part, "IS UNKNOWN"),
            Expr::IsNotTrue(part) => compared(part, "IS NOT TRUE"),
            Expr::IsNotFalse(part) => compared(part, "IS NOT FALSE"),
            Expr::IsNotUnknown(part) => compared(part, "IS NOT UNKNOWN"),
            Expr::Negative(part) => (
                format!("-{}", self.within(part, Binding::Atom)),
                Binding::Multiply,
            ),
            Expr::Between(between) => self.between(between),
            Expr::Like(like) => {
                let word = if like.case_insensitive {
                    "ILIKE"
                } else {
                    "LIKE"
                };
                self.like(like, word)
            }
            Expr::SimilarTo(like) => self.like(like, "SIMILAR TO"),
            Expr::InList(list) => {
                let not = if list.negated { "NOT " } else { "" };
                compared(&list.expr, &format!("{not}IN ({})", self.list(&list.list)))
            }
            Expr::Case(case) => (self.case(case), Binding::Atom),
            Expr::Cast(cast) => (self.cast("CAST", &cast.expr, &cast.field), Binding::Atom),
            Expr::TryCast(cast) => (
                self.cast("TRY_CAST", &cast.expr, &cast.field),
                Binding::Atom,
            ),
            Expr::ScalarFunction(call) => self.call(call),
            Expr::AggregateFunction(call) => (
                self.aggregate(call.func.name(), &call.params),
                Binding::Atom,
            ),
            Expr::WindowFunction(call) => {
                let params = &call.params;
                let over = match &call.fun {
                    WindowFunctionDefinition::AggregateUDF(function) => {
                        self.arguments(
                            function.name(),
                            &params.args,
                            params.distinct,
                            params.filter.as_deref(),
                        ) + " OVER"
                    }
                    WindowFunctionDefinition::WindowUDF(function) => {
                        self.arguments(function.name(), &params.args, false, None)
                    }
                };
                (over, Binding::Atom)
            }
            other => (other.to_string(), Binding::Atom),
        }
    }

    fn binary(&self, left: &Expr, op: Operator, right: &Expr) -> (String, Binding) {
        let own = match op {
            Operator::Or => Binding::Or,
            Operator::And => Binding::And,
            Operator::Plus | Operator::Minus | Operator::StringConcat => Binding::Add,
            Operator::Multiply | Operator::Divide | Operator::Modulo => Binding::Multiply,
            _ => Binding::Compare,
        };
        let is_chain = matches!(op, Operator::Or | Operator::And);
        self.infix(left, &op.to_string(), right, own, is_chain)
    }

    /// `a op b`. A part of the same binding stands without parentheses on the left, and on the right where the order does
    /// not matter.
    fn infix(
        &self,
        left: &Expr,
        op: &str,
        right: &Expr,
        own: Binding,
        is_chain: bool,
    ) -> (String, Binding) {
        let above = match own {
            Binding::Multiply | Binding::Atom => Binding::Atom,
            Binding::Add => Binding::Multiply,
            Binding::None | Binding::Or | Binding::And | Binding::Not | Binding::Compare => {
                Binding::Add
            }
        };
        let left_needs = if own == Binding::Compare { above } else { own };
        let right_needs = if is_chain { own } else { above };
        let (left, right) = (
            self.within(left, left_needs),
            self.within(right, right_needs),
        );
        (format!("{left} {op} {right}"), own)
    }

    fn between(&self, between: &Between) -> (String, Binding) {
        let parts = [&between.expr, &between.low, &between.high];
        let [value, low, high] = parts.map(|part| self.within(part, Binding::Add));
        let not = if between.negated { "NOT " } else { "" };
        (
            format!("{value} {not}BETWEEN {low} AND {high}"),
            Binding::Compare,
        )
    }

    fn like(&self, like: &Like, word: &str) -> (String, Binding) {
        let [value, pattern] =
            [&like.expr, &like.pattern].map(|part| self.within(part, Binding::Add));
        let not = if like.negated { "NOT " } else { "" };
        let escape = like
            .escape_char
            .map(|c| format!(" ESCAPE {}", text_literal(&c.to_string())))
            .unwrap_or_default();
        (
            format!("{value} {not}{word} {pattern}{escape}"),
            Binding::Compare,
        )
    }

    fn case(&self, case: &Case) -> String {
        let part = |expr: &Expr| self.within(expr, Binding::None);
        let mut text = "CASE".to_owned();
        if let Some(value) = &case.expr {
            text += &format!(" {}", part(value));
        }
        for (when, then) in &case.when_then_expr {
            text += &format!(" WHEN {} THEN {}", part(when), part(then));
        }
        if let Some(otherwise) = &case.else_expr {
            text += &format!(" ELSE {}", part(otherwise));
        }
        text + " END"
    }

    fn cast(&self, word: &str, part: &Expr, to: &arrow::datatypes::Field) -> String {
        let part = self.within(part, Binding::None);
        format!("{word}({part} AS {})", types::name(to))
    }

    fn call(&self, call: &ScalarFunction) -> (String, Binding) {
        let (name, args) = (call.name(), call.args.as_slice());
        let arithmetic = |op: &str, own| match args {
            [left, right] => Some(self.infix(left, op, right, own, false)),
            _ => None,
        };
        let special = match name {
            "decimal_plus" => arithmetic("+", Binding::Add),
            "decimal_minus" => arithmetic("-", Binding::Add),
            "decimal_multiply" | "interval_multiply" => arithmetic("*", Binding::Multiply),
            "decimal_divide" => arithmetic("/", Binding::Multiply),
            "decimal_modulo" => arithmetic("%", Binding::Multiply),
            "get_field" => args.split_first().map(|(base, fields)| {
                let mut text = self.within(base, Binding::Atom);
                for field in fields {
                    text += &format!(".{}", field_name(field));
                }
                (text, Binding::Atom)
            }),
            "item" => match args {
                [base, key] => {
                    let base = self.within(base, Binding::Atom);
                    let key = self.within(key, Binding::None);
                    Some((format!("{base}[{key}]"), Binding::Atom))
                }
                _ => None,
            },
            "array" | "map" => {
                let text = format!("{}[{}]", name.to_uppercase(), self.list(args));
                Some((text, Binding::Atom))
            }
            "flink_cast" | "flink_try_cast" => self.flink_cast(call),
            _ => None,
        };
        special.unwrap_or_else(|| (self.arguments(name, args, false, None), Binding::Atom))
    }

    /// The function's own text ends with the type.
    fn flink_cast(&self, call: &ScalarFunction) -> Option<(String, Binding)> {
        let text = call.func.schema_name(&call.args).ok()?;
        let (_, kind) = text.rsplit_once(" AS ")?;
        let word = text.split('(').next()?;
        let part = self.within(call.args.first()?, Binding::None);
        Some((format!("{word}({part} AS {kind}"), Binding::Atom))
    }

    fn aggregate(&self, name: &str, params: &AggregateFunctionParams) -> String {
        // COUNT(*) counts a constant.
        match params.args.as_slice() {
            [Expr::Literal(..)] if name == "count" => self
                .arguments(name, &[], false, params.filter.as_deref())
                .replacen("()", "(*)", 1),
            args => self.arguments(name, args, params.distinct, params.filter.as_deref()),
        }
    }

    fn arguments(
        &self,
        name: &str,
        args: &[Expr],
        is_distinct: bool,
        filter: Option<&Expr>,
    ) -> String {
        let distinct = if is_distinct { "DISTINCT " } else { "" };
        let filter = filter
            .map(|filter| format!(" FILTER (WHERE {})", self.within(filter, Binding::None)))
            .unwrap_or_default();
        let (name, args) = (name.to_uppercase(), self.list(args));
        format!("{name}({distinct}{args}){filter}")
    }
}

/// A column's name may be the text of what it holds.
fn named(text: String) -> (String, Binding) {
    let mut depth = 0;
    let is_sum = text.chars().any(|c| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        c == ' ' && depth == 0
    });
    let binding = if is_sum { Binding::None } else { Binding::Atom };
    (text, binding)
}

fn field_name(field: &Expr) -> String {
    let name = match field {
        Expr::Literal(ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name)), _) => name,
        other => return plain_sql(other),
    };
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if name.chars().all(is_word) {
        name.clone()
    } else {
        quoted(name)
    }
}

/// A value as a literal.
fn literal(value: &ScalarValue) -> String {
    if value.is_null() {
        return "NULL".to_owned();
    }
    if let ScalarValue::IntervalMonthDayNano(Some(value)) = value {
        return interval(*value);
    }
    let text = value
        .to_array()
        .and_then(|array| Ok(array_value_to_string(array.as_ref() as &dyn Array, 0)?))
        .unwrap_or_else(|_| value.to_string());
    match value.data_type() {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => text_literal(&text),
        DataType::Boolean => text.to_uppercase(),
        DataType::Date32 => format!("DATE '{text}'"),
        DataType::Time32(_) | DataType::Time64(_) => format!("TIME '{text}'"),
        DataType::Timestamp(_, zone) => {
            let text = text.replacen('T', " ", 1);
            let text = text.trim_end_matches('Z');
            let kind = if zone.is_some() {
                "TIMESTAMP_LTZ"
            } else {
                "TIMESTAMP"
            };
            format!("{kind} '{text}'")
        }
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => format!("X'{text}'"),
        _ => text,
    }
}

/// `INTERVAL '90' MINUTE`: a number of the longest unit that has a whole one.
fn interval(value: IntervalMonthDayNano) -> String {
    const SECOND: i128 = 1_000_000_000;
    const UNITS: [(i128, &str); 4] = [
        (86_400 * SECOND, "DAY"),
        (3_600 * SECOND, "HOUR"),
        (60 * SECOND, "MINUTE"),
        (SECOND, "SECOND"),
    ];
    let nanos = i128::from(value.days) * UNITS[0].0 + i128::from(value.nanoseconds);
    let months = i128::from(value.months);
    let (amount, unit) = match UNITS.iter().find(|(length, _)| nanos % length == 0) {
        _ if months != 0 && months % 12 == 0 => ((months / 12).to_string(), "YEAR"),
        _ if months != 0 => (months.to_string(), "MONTH"),
        Some((length, unit)) => ((nanos / length).to_string(), *unit),
        None => (fraction(nanos, SECOND), "SECOND"),
    };
    match amount.strip_prefix('-') {
        Some(amount) => format!("INTERVAL -'{amount}' {unit}"),
        None => format!("INTERVAL '{amount}' {unit}"),
    }
}

fn fraction(nanos: i128, second: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, rest) = (nanos.abs() / second, nanos.abs() % second);
    let digits = format!("{rest:09}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{col, lit, not, when};

    fn check(expr: &Expr, expected: &str) {
        assert_eq!(plain_sql(expr), expected);
    }

    #[test]
    fn parentheses_stand_where_they_change_something() {
        let (a, b, c) = (|| col("a"), || col("b"), || col("c"));
        check(&((a() + b()) * c()), "(a + b) * c");
        check(&(a() + b() * c()), "a + b * c");
        check(&(a() - (b() - c())), "a - (b - c)");
        check(&((a() - b()) - c()), "a - b - c");
        check(&a().eq(b()).and(c()).or(a()), "a = b AND c OR a");
        check(&a().and(b().or(c())), "a AND (b OR c)");
        check(&a().and(b()).and(c().and(a())), "a AND b AND c AND a");
        check(&not(a().and(b())), "NOT (a AND b)");
        check(&not(a()).and(b()), "NOT a AND b");
        check(&a().eq(b()).eq(c()), "(a = b) = c");
        check(
            &(a() + b()).is_null().is_not_true(),
            "(a + b IS NULL) IS NOT TRUE",
        );
    }

    #[test]
    fn texts_stand_for_columns() {
        let text = |expr: &Expr| sql(expr, &|_| "SUM(a) + 1".to_owned());
        assert_eq!(text(&(col("x") * lit(2))), "(SUM(a) + 1) * 2");
        assert_eq!(text(&col("x")), "SUM(a) + 1");
        assert_eq!(
            sql(&(col("x") * lit(2)), &|_| "SUM(a + 1)".to_owned()),
            "SUM(a + 1) * 2"
        );
    }

    #[test]
    fn literals_are_those_of_sql() {
        let literals = [
            (ScalarValue::from("it's"), "'it''s'"),
            (ScalarValue::Null, "NULL"),
            (ScalarValue::Boolean(Some(true)), "TRUE"),
            (ScalarValue::Decimal128(Some(-150), 5, 2), "-1.50"),
            (ScalarValue::Date32(Some(0)), "DATE '1970-01-01'"),
            (
                ScalarValue::TimestampMillisecond(Some(1_500), None),
                "TIMESTAMP '1970-01-01 00:00:01.500'",
            ),
        ];
        for (value, expected) in literals {
            check(&Expr::Literal(value, None), expected);
        }
        let of = |months, days, nanos| interval(IntervalMonthDayNano::new(months, days, nanos));
        assert_eq!(of(0, 0, 90 * 60_000_000_000), "INTERVAL '90' MINUTE");
        assert_eq!(of(0, 2, 0), "INTERVAL '2' DAY");
        assert_eq!(of(0, 0, -1_500_000_000), "INTERVAL -'1.5' SECOND");
        assert_eq!(of(24, 0, 0), "INTERVAL '2' YEAR");
        assert_eq!(of(7, 0, 0), "INTERVAL '7' MONTH");
    }

    #[test]
    fn cases_and_lists() {
        let case = when(col("a").gt(lit(1)), lit("x")).otherwise(lit("y"));
        check(&case.unwrap(), "CASE WHEN a > 1 THEN 'x' ELSE 'y' END");
        check(
            &col("a").in_list(vec![lit(1), lit(2)], true),
            "a NOT IN (1, 2)",
        );
        check(&col("a").between(lit(1), lit(2)), "a BETWEEN 1 AND 2");
        check(&col("a").like(lit("%x")), "a LIKE '%x'");
    }
}
