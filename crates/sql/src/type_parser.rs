//! Reads a Flink type off the tokens.
//!
//! The tokenizer joins `>>` into one token; the half that closes the outer type is remembered until the outer type asks for it.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::cursor::{self, Result, at_words, eat};
use crate::dialect::Flink;
use crate::nearest::nearest;
use crate::types::{DECIMAL_PRECISION_MAX, FieldType, IntervalField, LENGTH_MAX, RowField, Type};

/// Types inside each other, at most.
const DEPTH_MAX: usize = 50;

const NAMES: &[&str] = &[
    "ARRAY",
    "BIGINT",
    "BINARY",
    "BOOLEAN",
    "BYTES",
    "CHAR",
    "DATE",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INT",
    "INTEGER",
    "INTERVAL",
    "MAP",
    "MULTISET",
    "NUMERIC",
    "ROW",
    "SMALLINT",
    "STRING",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "VARBINARY",
    "VARCHAR",
];

/// Names of other systems, and what Flink calls them.
const ALIASES: &[(&str, &str)] = &[
    ("TEXT", "STRING"),
    ("INT8", "BIGINT"),
    ("INT4", "INT"),
    ("INT2", "SMALLINT"),
    ("LONG", "BIGINT"),
    ("SHORT", "SMALLINT"),
    ("BYTE", "TINYINT"),
    ("BYTEA", "BYTES"),
    ("BLOB", "BYTES"),
    ("BOOL", "BOOLEAN"),
    ("FLOAT4", "FLOAT"),
    ("FLOAT8", "DOUBLE"),
    ("REAL", "FLOAT"),
    ("DATETIME", "TIMESTAMP(3)"),
    ("TIMESTAMPTZ", "TIMESTAMP_LTZ(3)"),
    ("STRUCT", "ROW"),
    ("LIST", "ARRAY"),
    ("NUMBER", "DECIMAL"),
    ("JSON", "STRING"),
    ("UUID", "STRING"),
    ("NVARCHAR", "VARCHAR"),
    ("UNSIGNED", "BIGINT"),
];

/// Reads a type with its optional `NULL` or `NOT NULL`.
pub(crate) fn field_type(flink: &Flink, parser: &mut Parser<'_>) -> Result<FieldType> {
    TypeParser {
        flink,
        parser,
        closing: 0,
        depth: 0,
    }
    .whole(TypeParser::field_type)
}

/// Reads a type without nullability, as in CAST.
pub(crate) fn kind(flink: &Flink, parser: &mut Parser<'_>) -> Result<Type> {
    TypeParser {
        flink,
        parser,
        closing: 0,
        depth: 0,
    }
    .whole(TypeParser::collection)
}

struct TypeParser<'p, 'a> {
    flink: &'p Flink,
    parser: &'p mut Parser<'a>,
    /// Halves of `>>` read but not yet used.
    closing: usize,
    depth: usize,
}

impl TypeParser<'_, '_> {
    fn whole<T>(mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let found = read(&mut self)?;
        if self.closing > 0 {
            return Err(self.flink.fault(
                self.parser.get_current_token().span,
                "one `>` too many",
                None,
            ));
        }
        Ok(found)
    }

    fn field_type(&mut self) -> Result<FieldType> {
        let kind = self.collection()?;
        if self.closing > 0 {
            return Ok(kind.nullable());
        }
        let nullable = !eat(self.parser, &["NOT", "NULL"]);
        if nullable {
            eat(self.parser, &["NULL"]);
        }
        Ok(FieldType { kind, nullable })
    }

    /// A type and its postfix forms `t ARRAY` and `t MULTISET`.
    fn collection(&mut self) -> Result<Type> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("types are nested more than {DEPTH_MAX} levels deep");
            return Err(self
                .flink
                .fault(self.parser.peek_token_ref().span, message, None));
        }
        let mut kind = self.simple()?;
        let mut postfix = 0;
        while self.closing == 0 && postfix < DEPTH_MAX {
            postfix += 1;
            if eat(self.parser, &["ARRAY"]) {
                kind = Type::Array(Box::new(kind.nullable()));
            } else if eat(self.parser, &["MULTISET"]) {
                kind = Type::Multiset(Box::new(kind.nullable()));
            } else {
                break;
            }
        }
        self.depth -= 1;
        Ok(kind)
    }

    fn simple(&mut self) -> Result<Type> {
        let next = self.parser.peek_token_ref().clone();
        let Token::Word(word) = &next.token else {
            return Err(self.flink.expected("a type", self.parser));
        };
        self.parser.advance_token();
        let name = if word.quote_style.is_some() {
            String::new()
        } else {
            word.value.to_ascii_uppercase()
        };
        Ok(match name.as_str() {
            "BOOLEAN" => Type::Boolean,
            "TINYINT" => Type::TinyInt,
            "SMALLINT" => Type::SmallInt,
            "INT" | "INTEGER" => Type::Int,
            "BIGINT" => Type::BigInt,
            "FLOAT" => Type::Float,
            "DOUBLE" => {
                eat(self.parser, &["PRECISION"]);
                Type::Double
            }
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal()?,
            "CHAR" | "CHARACTER" if eat(self.parser, &["VARYING"]) => {
                Type::VarChar(self.length(LENGTH_MAX)?)
            }
            "CHAR" | "CHARACTER" => Type::Char(self.length(1)?),
            "VARCHAR" => Type::VarChar(self.length(LENGTH_MAX)?),
            "STRING" => Type::STRING,
            "BINARY" if eat(self.parser, &["VARYING"]) => Type::VarBinary(self.length(LENGTH_MAX)?),
            "BINARY" => Type::Binary(self.length(1)?),
            "VARBINARY" => Type::VarBinary(self.length(LENGTH_MAX)?),
            "BYTES" => Type::BYTES,
            "DATE" => Type::Date,
            "TIME" => self.time()?,
            "TIMESTAMP" => self.timestamp()?,
            "TIMESTAMP_LTZ" => Type::TimestampLtz(self.precision(6)?),
            "INTERVAL" => self.interval()?,
            "ARRAY" => Type::Array(Box::new(self.element()?)),
            "MULTISET" => Type::Multiset(Box::new(self.element()?)),
            "MAP" => self.map()?,
            "ROW" => Type::Row(self.row()?),
            _ => return Err(self.unknown(&word.value, next.span)),
        })
    }

    fn unknown(
        &self,
        name: &str,
        span: sqlparser::tokenizer::Span,
    ) -> sqlparser::parser::ParserError {
        let upper = name.to_ascii_uppercase();
        let known = ALIASES
            .iter()
            .find(|(alias, _)| *alias == upper)
            .map(|(_, flink)| *flink);
        let hint = known
            .or_else(|| nearest(&upper, NAMES.iter().copied()))
            .map(|found| format!("did you mean {found}?"));
        self.flink
            .fault(span, format!("unknown type `{name}`"), hint)
    }

    /// `(n)`, or the default.
    fn length(&mut self, default: u32) -> Result<u32> {
        self.parenthesized("a length", 1, LENGTH_MAX, default)
    }

    fn precision(&mut self, default: u8) -> Result<u8> {
        self.parenthesized("a precision", 0, 9, u32::from(default))
            .map(|p| p as u8)
    }

    fn parenthesized(&mut self, what: &str, min: u32, max: u32, default: u32) -> Result<u32> {
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(default);
        }
        let found = cursor::number(self.flink, self.parser, what, min, max)?;
        cursor::expect_token(self.flink, self.parser, &Token::RParen)?;
        Ok(found)
    }

    fn decimal(&mut self) -> Result<Type> {
        if !self.parser.consume_token(&Token::LParen) {
            return Ok(Type::Decimal {
                precision: 10,
                scale: 0,
            });
        }
        let max = u32::from(DECIMAL_PRECISION_MAX);
        let precision =
            cursor::number(self.flink, self.parser, "the precision of DECIMAL", 1, max)?;
        let scale = if self.parser.consume_token(&Token::Comma) {
            cursor::number(
                self.flink,
                self.parser,
                "the scale of DECIMAL",
                0,
                precision,
            )?
        } else {
            0
        };
        cursor::expect_token(self.flink, self.parser, &Token::RParen)?;
        Ok(Type::Decimal {
            precision: precision as u8,
            scale: scale as u8,
        })
    }

    fn time(&mut self) -> Result<Type> {
        let precision = self.precision(0)?;
        if at_words(self.parser, &["WITH", "TIME"]) || at_words(self.parser, &["WITH", "LOCAL"]) {
            return Err(self.flink.fault(
                self.parser.peek_token_ref().span,
                "TIME has no time zone in Flink",
                None,
            ));
        }
        eat(self.parser, &["WITHOUT", "TIME", "ZONE"]);
        Ok(Type::Time(precision))
    }

    fn timestamp(&mut self) -> Result<Type> {
        let precision = self.precision(6)?;
        if eat(self.parser, &["WITH", "LOCAL", "TIME", "ZONE"]) {
            return Ok(Type::TimestampLtz(precision));
        }
        if at_words(self.parser, &["WITH", "TIME", "ZONE"]) {
            let message = "TIMESTAMP WITH TIME ZONE is not a type of Flink's SQL";
            let hint = Some(format!("did you mean TIMESTAMP_LTZ({precision})?"));
            return Err(self
                .flink
                .fault(self.parser.peek_token_ref().span, message, hint));
        }
        eat(self.parser, &["WITHOUT", "TIME", "ZONE"]);
        Ok(Type::Timestamp(precision))
    }

    fn interval(&mut self) -> Result<Type> {
        let from = self.interval_field()?;
        let default = if matches!(from, IntervalField::Year | IntervalField::Day) {
            2
        } else {
            6
        };
        let from_precision = self.precision(default)?;
        let to = if eat(self.parser, &["TO"]) {
            self.interval_field()?
        } else {
            from
        };
        let months = from <= IntervalField::Month;
        if to < from || months != (to <= IntervalField::Month) {
            let message = format!("an interval cannot go from {from} to {to}");
            return Err(self
                .flink
                .fault(self.parser.get_current_token().span, message, None));
        }
        if months {
            let precision = if from == IntervalField::Year {
                from_precision
            } else {
                2
            };
            return Ok(Type::YearMonthInterval {
                from,
                to,
                precision,
            });
        }
        let fraction = if to == from {
            from_precision
        } else {
            self.precision(6)?
        };
        let precision = if from == IntervalField::Day {
            from_precision
        } else {
            2
        };
        let fraction = if to == IntervalField::Second {
            fraction
        } else {
            6
        };
        Ok(Type::DayTimeInterval {
            from,
            to,
            precision,
            fraction,
        })
    }

    fn interval_field(&mut self) -> Result<IntervalField> {
        let found = cursor::word_at(self.parser, 0).and_then(IntervalField::from_word);
        let found = found.ok_or_else(|| {
            self.flink
                .expected("YEAR, MONTH, DAY, HOUR, MINUTE or SECOND", self.parser)
        })?;
        self.parser.advance_token();
        Ok(found)
    }

    fn open(&mut self, what: &str) -> Result<()> {
        if self.parser.consume_token(&Token::Lt) {
            return Ok(());
        }
        Err(self
            .flink
            .expected(&format!("`<` after {what}"), self.parser))
    }

    fn close(&mut self) -> Result<()> {
        if self.closing > 0 {
            self.closing -= 1;
        } else if self.parser.consume_token(&Token::ShiftRight) {
            self.closing = 1;
        } else if !self.parser.consume_token(&Token::Gt) {
            return Err(self.flink.expected("`>`", self.parser));
        }
        Ok(())
    }

    fn element(&mut self) -> Result<FieldType> {
        self.open("ARRAY or MULTISET")?;
        let element = self.field_type()?;
        self.close()?;
        Ok(element)
    }

    fn map(&mut self) -> Result<Type> {
        self.open("MAP")?;
        let key = self.field_type()?;
        if self.closing > 0 || !self.parser.consume_token(&Token::Comma) {
            return Err(self
                .flink
                .expected("`,` between the key's and the value's type", self.parser));
        }
        let value = self.field_type()?;
        self.close()?;
        Ok(Type::Map(Box::new(key), Box::new(value)))
    }

    /// `<name type ['comment'], ...>` or the same in parentheses.
    fn row(&mut self) -> Result<Vec<RowField>> {
        let round = self.parser.consume_token(&Token::LParen);
        if !round {
            self.open("ROW")?;
        }
        let mut fields: Vec<RowField> = Vec::new();
        loop {
            let name = cursor::ident(self.flink, self.parser, "a field's name")?;
            if fields.iter().any(|field| field.name == name.value) {
                let message = format!("the row has two fields `{}`", name.value);
                return Err(self.flink.fault(name.span, message, None));
            }
            let field_type = self.field_type()?;
            let comment = if self.closing == 0 {
                self.field_comment()
            } else {
                None
            };
            fields.push(RowField {
                name: name.value,
                field_type,
                comment,
            });
            if self.closing > 0 || !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if round {
            cursor::expect_token(self.flink, self.parser, &Token::RParen)?;
        } else {
            self.close()?;
        }
        Ok(fields)
    }

    fn field_comment(&mut self) -> Option<String> {
        let Token::SingleQuotedString(text) = &self.parser.peek_token_ref().token else {
            return None;
        };
        let text = text.clone();
        self.parser.advance_token();
        Some(text)
    }
}
