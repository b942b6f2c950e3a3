//! Interval literals, brought to one form: a number and one unit.
//!
//! `INTERVAL '1 02:03:04' DAY TO SECOND`, `INTERVAL -'2' WEEK` and `INTERVAL '10' MINUTES` all become an `Expr::Interval` whose value is
//! a string with a signed number and whose leading field is YEAR, MONTH, DAY, HOUR, MINUTE or SECOND. Flink's day-time
//! intervals are a number of milliseconds, so nothing is lost: a day is 24 hours in every time zone.

use sqlparser::ast::{DateTimeField, Expr, Ident, Interval, Value};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span as TokenSpan, Token};

use crate::cursor::{Result, string, word_at};
use crate::dialect::Flink;
use crate::nearest::did_you_mean;

const UNITS: &[&str] = &[
    "YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND",
];
const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// An interval as Flink computes with it: months, or nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalValue {
    /// A year-month interval.
    Months(i64),
    /// A day-time interval.
    Nanos(i64),
}

impl IntervalValue {
    /// The value of an interval literal; None for any other expression, and for a value outside of 64 bits.
    pub fn of(expr: &Expr) -> Option<Self> {
        let Expr::Interval(Interval {
            value,
            leading_field: Some(field),
            last_field: None,
            ..
        }) = expr
        else {
            return None;
        };
        let Expr::Value(value) = value.as_ref() else {
            return None;
        };
        let text = match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => text,
            _ => return None,
        };
        let unit = Unit::from_field(field)?;
        let amount = Amount::parse(text.trim())?;
        if unit.nanos == 0 {
            return amount
                .whole()?
                .checked_mul(unit.months)
                .map(IntervalValue::Months);
        }
        amount
            .times(unit.nanos)
            .and_then(|nanos| i64::try_from(nanos).ok())
            .map(IntervalValue::Nanos)
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Unit {
    name: &'static str,
    /// Months in it; 0 for a unit of time.
    months: i64,
    /// Nanoseconds in it; 0 for a unit of months.
    nanos: i128,
}

impl Unit {
    fn named(word: &str) -> Option<Self> {
        let upper = word.to_ascii_uppercase();
        let name = *UNITS
            .iter()
            .find(|unit| upper == **unit || upper.strip_suffix('S') == Some(unit))?;
        let (months, seconds) = match name {
            "YEAR" => (12, 0),
            "QUARTER" => (3, 0),
            "MONTH" => (1, 0),
            "WEEK" => (0, 7 * 86_400),
            "DAY" => (0, 86_400),
            "HOUR" => (0, 3_600),
            "MINUTE" => (0, 60),
            _ => (0, 1),
        };
        Some(Self {
            name,
            months,
            nanos: seconds * NANOS_PER_SECOND,
        })
    }

    fn from_field(field: &DateTimeField) -> Option<Self> {
        Self::named(&field.to_string())
    }

    fn field(self) -> DateTimeField {
        match self.name {
            "YEAR" => DateTimeField::Year,
            "QUARTER" | "MONTH" => DateTimeField::Month,
            "WEEK" | "DAY" => DateTimeField::Day,
            "HOUR" => DateTimeField::Hour,
            "MINUTE" => DateTimeField::Minute,
            _ => DateTimeField::Second,
        }
    }

    /// How many of `field()` it is.
    fn factor(self) -> i64 {
        match self.name {
            "QUARTER" => 3,
            "WEEK" => 7,
            _ => 1,
        }
    }
}

/// A decimal number with at most nine digits behind the point.
struct Amount {
    negative: bool,
    units: i64,
    /// Billionths.
    fraction: i64,
}

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (units, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(units) || !all_digits(fraction) || fraction.len() > 9 {
            return None;
        }
        Some(Self {
            negative,
            units: units.parse().ok()?,
            fraction: format!("{fraction:0<9}").parse().ok()?,
        })
    }

    fn whole(&self) -> Option<i64> {
        (self.fraction == 0).then_some(if self.negative {
            -self.units
        } else {
            self.units
        })
    }

    fn times(&self, nanos: i128) -> Option<i128> {
        let total = i128::from(self.units).checked_mul(nanos)?
            + i128::from(self.fraction) * nanos / NANOS_PER_SECOND;
        Some(if self.negative { -total } else { total })
    }
}

/// Reads an interval literal; the next token is INTERVAL. INTERVAL can also be a column's name.
pub(crate) fn literal(flink: &Flink, parser: &mut Parser<'_>) -> Result<Expr> {
    let start = parser.next_token();
    let negative = match parser.peek_token_ref().token {
        Token::Minus => true,
        Token::Plus => false,
        Token::SingleQuotedString(_) | Token::Number(..) => {
            return value(flink, parser, start.span, false);
        }
        _ => return not_a_literal(flink, parser, start.span),
    };
    if !matches!(
        parser.peek_nth_token_ref(1).token,
        Token::SingleQuotedString(_)
    ) {
        return not_a_literal(flink, parser, start.span);
    }
    parser.advance_token();
    value(flink, parser, start.span, negative)
}

fn not_a_literal(flink: &Flink, parser: &Parser<'_>, span: TokenSpan) -> Result<Expr> {
    let computed = matches!(
        parser.peek_token_ref().token,
        Token::Word(_) | Token::LParen
    ) && word_at(parser, 1).and_then(Unit::named).is_some();
    if computed || parser.peek_token_ref().token == Token::LParen {
        let hint =
            "for an interval that is computed, multiply: x * INTERVAL '1' MINUTE".to_string();
        return Err(flink.fault(
            span,
            "INTERVAL needs a literal: INTERVAL '10' MINUTE",
            Some(hint),
        ));
    }
    let mut ident = Ident::new("interval");
    if let Token::Word(word) = &parser.get_current_token().token {
        ident = word.to_ident(span);
    }
    Ok(Expr::Identifier(ident))
}

fn value(flink: &Flink, parser: &mut Parser<'_>, start: TokenSpan, negative: bool) -> Result<Expr> {
    let literal = parser.next_token();
    let text = match literal.token {
        Token::SingleQuotedString(text) | Token::Number(text, _) => text,
        _ => return Err(flink.fault(literal.span, "expected the interval's value", None)),
    };
    let from = unit(flink, parser)?;
    let to = if crate::cursor::eat(parser, &["TO"]) {
        Some(unit(flink, parser)?)
    } else {
        None
    };
    let (field, amount) = match to {
        None => single(&text, from),
        Some(to) => range(&text, from, to),
    }
    .map_err(|message| flink.fault(literal.span, message, None))?;
    let signed = match (negative, amount.strip_prefix('-')) {
        (false, _) => amount,
        (true, Some(positive)) => positive.to_string(),
        (true, None) => format!("-{amount}"),
    };
    Ok(Expr::Interval(Interval {
        value: Box::new(string(signed, start.union(&literal.span))),
        leading_field: Some(field),
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }))
}

/// A unit and its precision, which says nothing about the value.
fn unit(flink: &Flink, parser: &mut Parser<'_>) -> Result<Unit> {
    let Some(unit) = word_at(parser, 0).and_then(Unit::named) else {
        let hint = word_at(parser, 0).and_then(|word| did_you_mean(word, UNITS.iter().copied()));
        let found = parser.peek_token_ref();
        let message = format!(
            "expected the interval's unit, found {}",
            crate::dialect::describe(&found.token)
        );
        return Err(flink.fault(
            found.span,
            message,
            hint.or_else(|| Some(format!("one of {}", UNITS.join(", ")))),
        ));
    };
    parser.advance_token();
    if parser.consume_token(&Token::LParen) {
        crate::cursor::number(flink, parser, "a precision", 0, 10)?;
        if parser.consume_token(&Token::Comma) {
            crate::cursor::number(flink, parser, "a precision", 0, 9)?;
        }
        crate::cursor::expect_token(flink, parser, &Token::RParen)?;
    }
    Ok(unit)
}

fn single(text: &str, unit: Unit) -> std::result::Result<(DateTimeField, String), String> {
    let trimmed = text.trim();
    let bad = || {
        let form = if unit.name == "SECOND" {
            "a number such as '10' or '1.5'"
        } else {
            "a whole number such as '10'"
        };
        format!(
            "the value of INTERVAL '{text}' {} must be {form}",
            unit.name
        )
    };
    let amount = Amount::parse(trimmed).ok_or_else(bad)?;
    if unit.name == "SECOND" {
        return Ok((unit.field(), trimmed.trim_start_matches('+').to_string()));
    }
    let whole = amount
        .whole()
        .ok_or_else(bad)?
        .checked_mul(unit.factor())
        .ok_or_else(bad)?;
    Ok((unit.field(), whole.to_string()))
}

/// `y-m`, or the part of `d hh:mm:ss.fraction` between two units.
fn range(text: &str, from: Unit, to: Unit) -> std::result::Result<(DateTimeField, String), String> {
    let form = match (from.name, to.name) {
        ("YEAR", "MONTH") => "y-m",
        ("DAY", "HOUR") => "d h",
        ("DAY", "MINUTE") => "d h:m",
        ("DAY", "SECOND") => "d h:m:s",
        ("HOUR", "MINUTE") => "h:m",
        ("HOUR", "SECOND") => "h:m:s",
        ("MINUTE", "SECOND") => "m:s",
        _ => {
            return Err(format!(
                "an interval cannot go from {} to {}",
                from.name, to.name
            ));
        }
    };
    let bad = || {
        format!(
            "the value of INTERVAL '{text}' {} TO {} must have the form '{form}'",
            from.name, to.name
        )
    };
    let trimmed = text.trim();
    let (sign, rest) = match trimmed.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let mut nanos: i128 = 0;
    let mut months: i64 = 0;
    let mut rest = rest;
    for (idx, letter) in form.chars().step_by(2).enumerate() {
        let separator = form.chars().nth(idx * 2 + 1);
        let part = match separator {
            Some(separator) => {
                let (part, tail) = rest.split_once(separator).ok_or_else(bad)?;
                rest = tail.trim_start();
                part
            }
            None => rest,
        };
        if part.starts_with(['-', '+']) || (letter != 's' && part.contains('.')) {
            return Err(bad());
        }
        let amount = Amount::parse(part).ok_or_else(bad)?;
        let unit = match letter {
            'y' | 'm' if form == "y-m" => {
                let whole = amount
                    .whole()
                    .and_then(|n| n.checked_mul(if letter == 'y' { 12 } else { 1 }));
                months = whole.and_then(|n| months.checked_add(n)).ok_or_else(bad)?;
                continue;
            }
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            _ => 1,
        };
        nanos += amount.times(unit * NANOS_PER_SECOND).ok_or_else(bad)?;
    }
    if form == "y-m" {
        return Ok((DateTimeField::Month, format!("{sign}{months}")));
    }
    let (seconds, fraction) = (nanos / NANOS_PER_SECOND, nanos % NANOS_PER_SECOND);
    let decimals = format!(".{fraction:09}");
    Ok((
        DateTimeField::Second,
        format!(
            "{sign}{seconds}{}",
            decimals.trim_end_matches('0').trim_end_matches('.')
        ),
    ))
}
