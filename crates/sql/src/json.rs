//! The SQL/JSON functions, whose clauses become arguments.

use sqlparser::ast::{Expr, Function, UnaryOperator, WindowType};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span as TokenSpan, Token};

use crate::cursor::{self, Result, eat, expect_token, null, string};
use crate::dialect::Flink;
use crate::type_parser;
use crate::types::Type;

/// A call of a SQL/JSON function with the next token as its name; None if it is another function.
pub(crate) fn call(flink: &Flink, parser: &mut Parser<'_>, name: &str) -> Option<Result<Expr>> {
    let read: fn(&Flink, &mut Parser<'_>, TokenSpan) -> Result<Function> = match name {
        "JSON_VALUE" => value,
        "JSON_EXISTS" => exists,
        "JSON_QUERY" => query,
        "JSON_OBJECT" => object,
        "JSON_ARRAY" => array,
        "JSON_OBJECTAGG" => object_agg,
        "JSON_ARRAYAGG" => array_agg,
        _ => return None,
    };
    let word = parser.next_token();
    parser.advance_token();
    Some(read(flink, parser, word.span).map(Expr::Function))
}

/// `x IS [NOT] JSON [VALUE | OBJECT | ARRAY | SCALAR]`; the next token is IS.
pub(crate) fn is_json(parser: &mut Parser<'_>, left: Expr) -> Expr {
    let span = parser.next_token().span;
    let negated = eat(parser, &["NOT"]);
    parser.advance_token();
    let name = match ["OBJECT", "ARRAY", "SCALAR", "VALUE"]
        .iter()
        .find(|word| eat(parser, &[word]))
    {
        Some(&"OBJECT") => "IS_JSON_OBJECT",
        Some(&"ARRAY") => "IS_JSON_ARRAY",
        Some(&"SCALAR") => "IS_JSON_SCALAR",
        _ => "IS_JSON_VALUE",
    };
    let test = Expr::Function(cursor::call(name, span, vec![left]));
    if negated {
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(test),
        }
    } else {
        test
    }
}

/// The two arguments that all of them start with: the text and the path.
fn text_and_path(flink: &Flink, parser: &mut Parser<'_>) -> Result<Vec<Expr>> {
    let text = parser.parse_expr()?;
    expect_token(flink, parser, &Token::Comma)?;
    Ok(vec![text, parser.parse_expr()?])
}

fn returning(flink: &Flink, parser: &mut Parser<'_>) -> Result<Option<String>> {
    if !eat(parser, &["RETURNING"]) {
        return Ok(None);
    }
    type_parser::kind(flink, parser).map(|kind| Some(kind.to_string()))
}

/// What happens ON EMPTY and ON ERROR: a word, and the value of DEFAULT.
struct Behavior {
    word: &'static str,
    default: Expr,
}

impl Behavior {
    fn null(span: TokenSpan) -> Self {
        Self {
            word: "NULL",
            default: null(span),
        }
    }

    fn into_args(self, span: TokenSpan) -> [Expr; 2] {
        [string(self.word, span), self.default]
    }
}

/// Reads `... ON EMPTY` and `... ON ERROR`, in any number and order; gives whether there was one.
fn behaviors(
    flink: &Flink,
    parser: &mut Parser<'_>,
    words: &[(&'static str, &[&str])],
    default: bool,
) -> Result<(Option<Behavior>, Option<Behavior>)> {
    let (mut on_empty, mut on_error) = (None, None);
    while parser.peek_token_ref().token != Token::RParen {
        let span = parser.peek_token_ref().span;
        let behavior = if default && eat(parser, &["DEFAULT"]) {
            Behavior {
                word: "DEFAULT",
                default: parser.parse_expr()?,
            }
        } else if let Some((word, _)) = words.iter().find(|(_, words)| eat(parser, words)) {
            Behavior {
                word,
                default: null(span),
            }
        } else {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            return Err(flink.expected(
                &format!("`)`, or {} and ON EMPTY or ON ERROR", names.join(", ")),
                parser,
            ));
        };
        cursor::expect(flink, parser, &["ON"])?;
        match cursor::one_of(flink, parser, &["EMPTY", "ERROR"])? {
            "EMPTY" => on_empty = Some(behavior),
            _ => on_error = Some(behavior),
        }
    }
    Ok((on_empty, on_error))
}

fn value(flink: &Flink, parser: &mut Parser<'_>, span: TokenSpan) -> Result<Function> {
    let mut args = text_and_path(flink, parser)?;
    let returning = returning(flink, parser)?;
    let words: &[(&str, &[&str])] = &[("NULL", &["NULL"]), ("ERROR", &["ERROR"])];
    let (on_empty, on_error) = behaviors(flink, parser, words, true)?;
    expect_token(flink, parser, &Token::RParen)?;
    if returning.is_some() || on_empty.is_some() || on_error.is_some() {
        args.push(string(
            returning.unwrap_or_else(|| Type::STRING.to_string()),
            span,
        ));
        args.extend(
            on_empty
                .unwrap_or_else(|| Behavior::null(span))
                .into_args(span),
        );
        args.extend(
            on_error
                .unwrap_or_else(|| Behavior::null(span))
                .into_args(span),
        );
    }
    Ok(cursor::call("JSON_VALUE", span, args))
}

fn exists(flink: &Flink, parser: &mut Parser<'_>, span: TokenSpan) -> Result<Function> {
    let mut args = text_and_path(flink, parser)?;
    if parser.peek_token_ref().token != Token::RParen {
        let word = cursor::one_of(flink, parser, &["TRUE", "FALSE", "UNKNOWN", "ERROR"])?;
        cursor::expect(flink, parser, &["ON", "ERROR"])?;
        args.push(string(word, span));
    }
    expect_token(flink, parser, &Token::RParen)?;
    Ok(cursor::call("JSON_EXISTS", span, args))
}

fn query(flink: &Flink, parser: &mut Parser<'_>, span: TokenSpan) -> Result<Function> {
    let mut args = text_and_path(flink, parser)?;
    let start = parser.get_current_index();
    let returning = returning(flink, parser)?.unwrap_or_else(|| Type::STRING.to_string());
    let wrapper = wrapper(flink, parser)?;
    let words: &[(&str, &[&str])] = &[
        ("NULL", &["NULL"]),
        ("EMPTY ARRAY", &["EMPTY", "ARRAY"]),
        ("EMPTY OBJECT", &["EMPTY", "OBJECT"]),
        ("ERROR", &["ERROR"]),
    ];
    let (on_empty, on_error) = behaviors(flink, parser, words, false)?;
    if parser.get_current_index() > start {
        let word = |behavior: Option<Behavior>| behavior.map_or("NULL", |behavior| behavior.word);
        args.extend(
            [returning.as_str(), wrapper, word(on_empty), word(on_error)]
                .map(|text| string(text, span)),
        );
    }
    expect_token(flink, parser, &Token::RParen)?;
    Ok(cursor::call("JSON_QUERY", span, args))
}

fn wrapper(flink: &Flink, parser: &mut Parser<'_>) -> Result<&'static str> {
    let found = if eat(parser, &["WITHOUT"]) {
        "WITHOUT"
    } else if eat(parser, &["WITH", "CONDITIONAL"]) {
        "CONDITIONAL"
    } else if eat(parser, &["WITH"]) {
        eat(parser, &["UNCONDITIONAL"]);
        "UNCONDITIONAL"
    } else {
        return Ok("WITHOUT");
    };
    eat(parser, &["ARRAY"]);
    cursor::expect(flink, parser, &["WRAPPER"])?;
    Ok(found)
}

/// `[KEY] key VALUE value` or `key : value`
fn entry(flink: &Flink, parser: &mut Parser<'_>) -> Result<[Expr; 2]> {
    let explicit = eat(parser, &["KEY"]);
    let key = parser.parse_expr()?;
    if explicit || !parser.consume_token(&Token::Colon) {
        cursor::expect(flink, parser, &["VALUE"])?;
    }
    Ok([key, parser.parse_expr()?])
}

/// `NULL ON NULL` or `ABSENT ON NULL`; the function's name says when it is not the default.
fn on_null(parser: &mut Parser<'_>, name: &str, default_absent: bool) -> String {
    if eat(parser, &["ABSENT", "ON", "NULL"]) && !default_absent {
        return format!("{name}_ABSENT_ON_NULL");
    }
    if eat(parser, &["NULL", "ON", "NULL"]) && default_absent {
        return format!("{name}_NULL_ON_NULL");
    }
    name.to_string()
}

fn at_end(parser: &Parser<'_>) -> bool {
    parser.peek_token_ref().token == Token::RParen
        || cursor::at_words(parser, &["NULL", "ON", "NULL"])
        || cursor::at_words(parser, &["ABSENT", "ON", "NULL"])
}

fn object(flink: &Flink, parser: &mut Parser<'_>, span: TokenSpan) -> Result<Function> {
    let mut args = Vec::new();
    if !at_end(parser) {
        args.extend(entry(flink, parser)?);
        while parser.consume_token(&Token::Comma) {
            args.extend(entry(flink, parser)?);
        }
    }
    let name = on_null(parser, "JSON_OBJECT", false);
    expect_token(flink, parser, &Token::RParen)?;
    Ok(cursor::call(&name, span, args))
}

fn array(flink: &Flink, parser: &mut Parser<'_>, span: TokenSpan) -> Result<Function> {
    let args = if at_end(parser) {
        Vec::new()
    } else {
        parser.parse_comma_separated(Parser::parse_expr)?
    };
    let name = on_null(parser, "JSON_ARRAY", true);
    expect_token(flink, parser, &Token::RParen)?;
    Ok(cursor::call(&name, span, args))
}

fn object_agg(flink: &Flink, parser: &mut Parser<'_>, span: TokenSpan) -> Result<Function> {
    let args = entry(flink, parser)?.to_vec();
    let name = on_null(parser, "JSON_OBJECTAGG", false);
    expect_token(flink, parser, &Token::RParen)?;
    aggregate(flink, parser, cursor::call(&name, span, args))
}

fn array_agg(flink: &Flink, parser: &mut Parser<'_>, span: TokenSpan) -> Result<Function> {
    let args = vec![parser.parse_expr()?];
    let name = on_null(parser, "JSON_ARRAYAGG", true);
    expect_token(flink, parser, &Token::RParen)?;
    aggregate(flink, parser, cursor::call(&name, span, args))
}

/// FILTER and OVER behind an aggregate.
fn aggregate(flink: &Flink, parser: &mut Parser<'_>, mut function: Function) -> Result<Function> {
    if eat(parser, &["FILTER"]) {
        expect_token(flink, parser, &Token::LParen)?;
        cursor::expect(flink, parser, &["WHERE"])?;
        function.filter = Some(Box::new(parser.parse_expr()?));
        expect_token(flink, parser, &Token::RParen)?;
    }
    if eat(parser, &["OVER"]) {
        function.over = Some(if parser.consume_token(&Token::LParen) {
            WindowType::WindowSpec(parser.parse_window_spec()?)
        } else {
            WindowType::NamedWindow(parser.parse_identifier()?)
        });
    }
    Ok(function)
}
