//! The expressions that sqlparser does not read, or reads into something that DataFusion cannot bind.
//!
//! Each becomes an expression that both have; the crate's documentation has the table.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator,
    FunctionArgumentClause, FunctionArguments, Ident, Map, MapEntry, UnaryOperator,
    visit_expressions,
};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use crate::cursor::{self, Result, at_words, call, eat, expect_token, string, word_at};
use crate::dialect::{Flink, describe};
use crate::nearest::did_you_mean;
use crate::{interval, json, type_parser};

/// The units of TIMESTAMPDIFF, TIMESTAMPADD, FLOOR and CEIL.
const TIME_UNITS: &[&str] = &[
    "MILLENNIUM",
    "CENTURY",
    "DECADE",
    "YEAR",
    "QUARTER",
    "MONTH",
    "WEEK",
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "MILLISECOND",
    "MICROSECOND",
    "NANOSECOND",
];
/// BETWEEN SYMMETRIC names its operands twice, so that nesting it would double the tree each time.
const NESTED_SYMMETRIC: &str =
    "BETWEEN SYMMETRIC inside the operands of BETWEEN SYMMETRIC is not supported";

/// An expression that starts at the next token, if this dialect reads it itself.
pub(crate) fn prefix(flink: &Flink, parser: &mut Parser<'_>) -> Option<Result<Expr>> {
    let word = word_at(parser, 0)?;
    match &parser.peek_nth_token_ref(1).token {
        Token::LParen => {
            let name = word.to_ascii_uppercase();
            let found = match name.as_str() {
                "CAST" => cast(flink, parser, CastKind::Cast),
                "TRY_CAST" => cast(flink, parser, CastKind::TryCast),
                "FLOOR" => floor(flink, parser, "FLOOR"),
                "CEIL" | "CEILING" => floor(flink, parser, "CEIL"),
                "TIMESTAMPDIFF" | "TIMESTAMPADD" => unit_call(flink, parser, &name),
                "TABLE" => table_argument(flink, parser),
                "INTERVAL" => interval::literal(flink, parser),
                _ => return json::call(flink, parser, &name),
            };
            Some(found)
        }
        Token::LBracket if word.eq_ignore_ascii_case("MAP") => Some(map(flink, parser)),
        Token::Lt
            if ["ARRAY", "MAP", "ROW", "MULTISET"]
                .iter()
                .any(|name| word.eq_ignore_ascii_case(name)) =>
        {
            let hint =
                "a type can stand in CAST(x AS type); a column of this name needs back quotes";
            let found = parser.peek_token_ref();
            let message = format!(
                "expected an expression, found the type {}",
                describe(&found.token)
            );
            Some(Err(flink.fault(
                found.span,
                message,
                Some(hint.to_string()),
            )))
        }
        _ if word.eq_ignore_ascii_case("INTERVAL") => Some(interval::literal(flink, parser)),
        Token::Word(_) if word.eq_ignore_ascii_case("TABLE") => Some(table_argument(flink, parser)),
        Token::Word(_)
            if word.eq_ignore_ascii_case("FINAL") || word.eq_ignore_ascii_case("RUNNING") =>
        {
            measure(flink, parser)
        }
        _ => None,
    }
}

/// `FINAL LAST(x)` and `RUNNING LAST(x)` in MATCH_RECOGNIZE.
fn measure(flink: &Flink, parser: &mut Parser<'_>) -> Option<Result<Expr>> {
    if parser.peek_nth_token_ref(2).token != Token::LParen {
        return None;
    }
    let next = parser.next_token();
    let name = next.token.to_string().to_ascii_uppercase();
    let argument = parser.parse_subexpr(flink.prec_value(Precedence::DoubleColon));
    Some(argument.map(|argument| Expr::Function(call(&name, next.span, vec![argument]))))
}

/// An operator behind `left`, if this dialect reads it itself.
pub(crate) fn infix(flink: &Flink, parser: &mut Parser<'_>, left: &Expr) -> Option<Result<Expr>> {
    let negated = at_words(parser, &["NOT"]);
    if at_words(parser, &["IS", "JSON"]) || at_words(parser, &["IS", "NOT", "JSON"]) {
        return Some(Ok(json::is_json(parser, left.clone())));
    }
    for (words, is_not) in [
        (&["IS", "DISTINCT", "FROM"][..], false),
        (&["IS", "NOT", "DISTINCT", "FROM"][..], true),
    ] {
        if eat(parser, words) {
            return Some(distinct_from(flink, parser, left, is_not));
        }
    }
    let at = usize::from(negated);
    let word = |n| word_at(parser, n).unwrap_or_default();
    if !word(at).eq_ignore_ascii_case("BETWEEN") {
        return None;
    }
    let symmetric = word(at + 1).eq_ignore_ascii_case("SYMMETRIC");
    if !symmetric && !word(at + 1).eq_ignore_ascii_case("ASYMMETRIC") {
        return None;
    }
    for _ in 0..at + 2 {
        parser.advance_token();
    }
    Some(between(flink, parser, left, symmetric, negated))
}

/// `left IS [NOT] DISTINCT FROM right`, which binds like `=`: sqlparser takes all that follows for its right side.
fn distinct_from(
    flink: &Flink,
    parser: &mut Parser<'_>,
    left: &Expr,
    is_not: bool,
) -> Result<Expr> {
    let right = Box::new(parser.parse_subexpr(flink.prec_value(Precedence::Eq))?);
    let left = Box::new(left.clone());
    Ok(if is_not {
        Expr::IsNotDistinctFrom(left, right)
    } else {
        Expr::IsDistinctFrom(left, right)
    })
}

fn between(
    flink: &Flink,
    parser: &mut Parser<'_>,
    left: &Expr,
    symmetric: bool,
    negated: bool,
) -> Result<Expr> {
    let span = parser.get_current_token().span;
    let precedence = flink.prec_value(Precedence::Between);
    let low = parser.parse_subexpr(precedence)?;
    cursor::expect(flink, parser, &["AND"])?;
    let high = parser.parse_subexpr(precedence)?;
    let within = |low: Expr, high: Expr| Expr::Between {
        expr: Box::new(left.clone()),
        negated: false,
        low: Box::new(low),
        high: Box::new(high),
    };
    if !symmetric {
        let Expr::Between {
            expr, low, high, ..
        } = within(low, high)
        else {
            return Err(flink.fault(span, "expected BETWEEN", None));
        };
        return Ok(Expr::Between {
            expr,
            negated,
            low,
            high,
        });
    }
    if [left, &low, &high].into_iter().any(has_symmetric) {
        return Err(flink.fault(span, NESTED_SYMMETRIC, None));
    }
    let either = Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(within(low.clone(), high.clone())),
        op: BinaryOperator::Or,
        right: Box::new(within(high, low)),
    }));
    Ok(if negated {
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(either),
        }
    } else {
        either
    })
}

/// Whether the expression holds what BETWEEN SYMMETRIC became.
fn has_symmetric(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Or,
            right,
        } if matches!(
            (&**left, &**right),
            (Expr::Between { .. }, Expr::Between { .. })
        ) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn cast(flink: &Flink, parser: &mut Parser<'_>, kind: CastKind) -> Result<Expr> {
    parser.advance_token();
    expect_token(flink, parser, &Token::LParen)?;
    let expr = parser.parse_expr()?;
    cursor::expect(flink, parser, &["AS"])?;
    let target = type_parser::kind(flink, parser)?.nullable();
    expect_token(flink, parser, &Token::RParen)?;
    Ok(Expr::Cast {
        kind,
        expr: Box::new(expr),
        data_type: target.to_sql(),
        array: false,
        format: None,
    })
}

/// `FLOOR(x TO HOUR)` becomes FLOOR_TO(x, 'HOUR'); without a unit it is a call.
fn floor(flink: &Flink, parser: &mut Parser<'_>, name: &str) -> Result<Expr> {
    let word = parser.next_token();
    expect_token(flink, parser, &Token::LParen)?;
    let mut args = vec![parser.parse_expr()?];
    let mut function = name.to_string();
    if eat(parser, &["TO"]) {
        function.push_str("_TO");
        args.push(time_unit(flink, parser)?);
    } else if parser.consume_token(&Token::Comma) {
        args.push(parser.parse_expr()?);
    }
    expect_token(flink, parser, &Token::RParen)?;
    Ok(Expr::Function(call(&function, word.span, args)))
}

/// `TIMESTAMPDIFF(SECOND, a, b)`: the unit becomes a string.
fn unit_call(flink: &Flink, parser: &mut Parser<'_>, name: &str) -> Result<Expr> {
    let word = parser.next_token();
    expect_token(flink, parser, &Token::LParen)?;
    let mut args = vec![time_unit(flink, parser)?];
    while parser.consume_token(&Token::Comma) {
        args.push(parser.parse_expr()?);
    }
    expect_token(flink, parser, &Token::RParen)?;
    if args.len() != 3 {
        let hint = format!("write {name}(SECOND, a, b)");
        return Err(flink.fault(
            word.span,
            format!("{name} takes a unit and two values"),
            Some(hint),
        ));
    }
    Ok(Expr::Function(call(name, word.span, args)))
}

fn time_unit(flink: &Flink, parser: &mut Parser<'_>) -> Result<Expr> {
    let word = word_at(parser, 0).unwrap_or_default().to_ascii_uppercase();
    let word = word.strip_prefix("SQL_TSI_").unwrap_or(&word);
    let found = TIME_UNITS
        .iter()
        .find(|unit| word == **unit || word.strip_suffix('S') == Some(unit));
    let Some(unit) = found else {
        let hint = did_you_mean(word, TIME_UNITS.iter().copied());
        let next = parser.peek_token_ref();
        let message = format!("expected a unit of time, found {}", describe(&next.token));
        return Err(flink.fault(
            next.span,
            message,
            hint.or_else(|| Some(format!("one of {}", TIME_UNITS.join(", ")))),
        ));
    };
    let span = parser.next_token().span;
    Ok(string(*unit, span))
}

/// `MAP[k, v, ...]`
fn map(flink: &Flink, parser: &mut Parser<'_>) -> Result<Expr> {
    let word = parser.next_token();
    parser.advance_token();
    let mut values = Vec::new();
    if !parser.consume_token(&Token::RBracket) {
        values = parser.parse_comma_separated(Parser::parse_expr)?;
        expect_token(flink, parser, &Token::RBracket)?;
    }
    if values.is_empty() || values.len() % 2 == 1 {
        let hint = "write MAP['key', value, ...]".to_string();
        return Err(flink.fault(word.span, "MAP needs a value for each key", Some(hint)));
    }
    let mut entries = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        entries.push(MapEntry {
            key: Box::new(key),
            value: Box::new(value),
        });
    }
    Ok(Expr::Map(Map { entries }))
}

/// `TABLE t`, `TABLE (query)` or `TABLE (call(...))`, with PARTITION BY and ORDER BY: a table as an argument of a table function.
fn table_argument(flink: &Flink, parser: &mut Parser<'_>) -> Result<Expr> {
    let word = parser.next_token();
    let source = if parser.consume_token(&Token::LParen) {
        let query = ["SELECT", "WITH", "VALUES", "TABLE"]
            .iter()
            .any(|word| at_words(parser, &[word]))
            || parser.peek_token_ref().token == Token::LParen;
        let source = if query {
            Expr::Subquery(parser.parse_query()?)
        } else {
            parser.parse_expr()?
        };
        expect_token(flink, parser, &Token::RParen)?;
        source
    } else {
        table_name(flink, parser)?
    };
    let mut argument = call("TABLE", word.span, vec![source]);
    let FunctionArguments::List(list) = &mut argument.args else {
        return Ok(Expr::Function(argument));
    };
    if eat(parser, &["PARTITION", "BY"]) {
        let keys = if parser.consume_token(&Token::LParen) {
            let keys = parser.parse_comma_separated(Parser::parse_expr)?;
            expect_token(flink, parser, &Token::RParen)?;
            keys
        } else {
            partition_keys(parser)?
        };
        list.args.push(FunctionArg::Named {
            name: Ident::new("PARTITION_BY"),
            arg: FunctionArgExpr::Expr(Expr::Tuple(keys)),
            operator: FunctionArgOperator::RightArrow,
        });
    }
    if eat(parser, &["ORDER", "BY"]) {
        let keys = if parser.consume_token(&Token::LParen) {
            let keys = parser.parse_comma_separated(Parser::parse_order_by_expr)?;
            expect_token(flink, parser, &Token::RParen)?;
            keys
        } else {
            vec![parser.parse_order_by_expr()?]
        };
        list.clauses.push(FunctionArgumentClause::OrderBy(keys));
    }
    Ok(Expr::Function(argument))
}

/// Keys without parentheses: they end where the next argument starts, which a comma does not tell from the next key. A further
/// key is a plain name; an argument is a call, a literal or named.
fn partition_keys(parser: &mut Parser<'_>) -> Result<Vec<Expr>> {
    let mut keys = vec![parser.parse_expr()?];
    loop {
        let [comma, name, behind] = parser.peek_tokens_ref::<3>();
        let is_key = comma.token == Token::Comma
            && matches!(name.token, Token::Word(_))
            && matches!(behind.token, Token::Comma | Token::Period | Token::RParen)
            && word_at(parser, 1).is_none_or(|word| !word.eq_ignore_ascii_case("TABLE"));
        if !is_key {
            return Ok(keys);
        }
        parser.advance_token();
        keys.push(parser.parse_expr()?);
    }
}

fn table_name(flink: &Flink, parser: &mut Parser<'_>) -> std::result::Result<Expr, ParserError> {
    let mut parts = vec![cursor::ident(flink, parser, "a table's name")?];
    while parser.consume_token(&Token::Period) {
        parts.push(cursor::ident(flink, parser, "a table's name")?);
    }
    Ok(Expr::CompoundIdentifier(parts))
}
