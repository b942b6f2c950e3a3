//! A client's parameters as values.
//!
//! A declared type decides; without one the type that the statement wants; without either it is text. Text of any type goes through Arrow's
//! casts, so that a parameter means what the same literal would.

use arrow::array::{ArrayRef, BinaryViewArray, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use std::sync::Arc;

use super::binary::from_binary;
use super::error::{Result, SqlError};
use super::types::{Format, arrow_type, element};

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    /// The type that the client is told, and sends.
    pub sent: Type,
    /// The type that the plan gets.
    pub wanted: DataType,
}

impl Parameter {
    /// What a client declares (if it does) and what the plan infers (if it can).
    pub(crate) fn new(declared: Option<&Type>, inferred: Option<&DataType>) -> Self {
        let declared = declared.filter(|of| **of != Type::UNKNOWN);
        match (
            declared.and_then(|of| Some((of, arrow_type(of)?))),
            inferred,
        ) {
            (Some((of, wanted)), _) => Self {
                sent: of.clone(),
                wanted,
            },
            // A type of which only the text is known.
            (None, _) if declared.is_some() => Self {
                sent: declared.cloned().unwrap_or(Type::TEXT),
                wanted: DataType::Utf8View,
            },
            (None, Some(wanted)) => Self {
                sent: super::types::type_of(&arrow::datatypes::Field::new(
                    "",
                    wanted.clone(),
                    true,
                )),
                wanted: wanted.clone(),
            },
            (None, None) => Self {
                sent: Type::TEXT,
                wanted: DataType::Utf8View,
            },
        }
    }

    /// NULL of the parameter's type: stands for it while a statement is described.
    pub(crate) fn null(&self) -> Result<ScalarValue> {
        ScalarValue::try_from(&self.wanted).map_err(SqlError::from)
    }

    /// A value that was sent.
    pub(crate) fn value(&self, sent: Option<&Bytes>, format: Format) -> Result<ScalarValue> {
        let Some(bytes) = sent else {
            return self.null();
        };
        match format {
            Format::Text => {
                let text = std::str::from_utf8(bytes).map_err(|_| {
                    SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\"")
                })?;
                from_text(text, &self.wanted, &self.sent)
            }
            Format::Binary => {
                let value = from_binary(bytes, &self.sent)?;
                cast_value(&value, &self.wanted, &self.sent)
            }
        }
    }
}

fn wrong(of: &Type, text: &str) -> SqlError {
    let shown: String = text.chars().take(80).collect();
    SqlError::new(
        "22P02",
        format!("invalid input syntax for type {}: \"{shown}\"", of.name()),
    )
}

fn from_text(text: &str, wanted: &DataType, of: &Type) -> Result<ScalarValue> {
    match wanted {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            cast_value(&ScalarValue::Utf8View(Some(text.to_owned())), wanted, of)
        }
        DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => {
            decimal(text.trim()).ok_or_else(|| wrong(of, text))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let bytes = text
                .strip_prefix("\\x")
                .map_or_else(|| Some(text.as_bytes().to_vec()), hex)
                .ok_or_else(|| wrong(of, text))?;
            cast_value(&ScalarValue::BinaryView(Some(bytes)), wanted, of)
        }
        DataType::Float32 | DataType::Float64 => {
            let value: f64 = text.trim().parse().map_err(|_| wrong(of, text))?;
            cast_value(&ScalarValue::Float64(Some(value)), wanted, of)
        }
        _ => match element(wanted) {
            Some(item) => {
                let items = array_items(text).ok_or_else(|| wrong(of, text))?;
                let values = items.iter().map(|item_text| match item_text {
                    Some(item_text) => from_text(item_text, item.data_type(), of),
                    None => ScalarValue::try_from(item.data_type()).map_err(SqlError::from),
                });
                let values = values.collect::<Result<Vec<_>>>()?;
                Ok(ScalarValue::List(ScalarValue::new_list(
                    &values,
                    item.data_type(),
                    true,
                )))
            }
            None => cast_value(
                &ScalarValue::Utf8View(Some(text.trim().to_owned())),
                wanted,
                of,
            ),
        },
    }
}

/// A decimal of its own precision and scale: what it meets decides what it becomes.
pub(crate) fn decimal(text: &str) -> Option<ScalarValue> {
    let text = match text.split_once(['e', 'E']) {
        Some(_) => format!(
            "{}",
            text.parse::<f64>().ok().filter(|value| value.is_finite())?
        ),
        None => text.strip_prefix('+').unwrap_or(text).to_owned(),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(digits) || !is_digits(fraction) || digits.len() + fraction.len() == 0 {
        return None;
    }
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = i8::try_from(fraction.len())
        .ok()
        .filter(|scale| *scale <= 38)?;
    let precision = value
        .unsigned_abs()
        .to_string()
        .len()
        .max(fraction.len())
        .max(1);
    (precision <= 38).then_some(ScalarValue::Decimal128(Some(value), precision as u8, scale))
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let nibble = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    digits.len().is_multiple_of(2).then(|| {
        digits
            .chunks(2)
            .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
            .collect()
    })?
}

/// The items of `{a,"b c",NULL}`; nested arrays are refused.
fn array_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inner.chars().peekable();
    loop {
        while chars.next_if(|ch| ch.is_whitespace()).is_some() {}
        let mut item = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        loop {
            match chars.next() {
                Some('"') if quoted => break,
                Some('\\') => item.push(chars.next()?),
                Some('{' | '}' | '"') if !quoted => return None,
                Some(',') if !quoted => {
                    items.push(unquoted(&item));
                    item = "\u{0}".to_owned();
                    break;
                }
                Some(ch) => item.push(ch),
                None if quoted => return None,
                None => {
                    items.push(unquoted(&item));
                    return Some(items);
                }
            }
        }
        if item == "\u{0}" {
            continue;
        }
        items.push(Some(item));
        while chars.next_if(|ch| ch.is_whitespace()).is_some() {}
        match chars.next() {
            Some(',') => {}
            None => return Some(items),
            Some(_) => return None,
        }
    }
}

fn unquoted(item: &str) -> Option<String> {
    let item = item.trim();
    (!item.eq_ignore_ascii_case("null")).then(|| item.to_owned())
}

/// Casts a value; one that does not fit is an error, not NULL.
pub(crate) fn cast_value(value: &ScalarValue, wanted: &DataType, of: &Type) -> Result<ScalarValue> {
    if &value.data_type() == wanted
        || matches!(
            (value, wanted),
            (ScalarValue::Decimal128(..), DataType::Decimal128(_, _))
        )
    {
        return Ok(value.clone());
    }
    let array: ArrayRef = match value {
        ScalarValue::Utf8View(text) => Arc::new(StringViewArray::from(vec![text.as_deref()])),
        ScalarValue::BinaryView(bytes) => Arc::new(BinaryViewArray::from(vec![bytes.as_deref()])),
        ScalarValue::TimestampMicrosecond(micros, zone) => {
            Arc::new(TimestampMicrosecondArray::from(vec![*micros]).with_timezone_opt(zone.clone()))
        }
        other => other.to_array()?,
    };
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let cast = cast_with_options(&array, wanted, &options)
        .map_err(|error| wrong(of, &value.to_string()).detail(error.to_string()))?;
    Ok(ScalarValue::try_from_array(&cast, 0)?)
}

#[cfg(test)]
mod tests {
    use super::super::rows::EPOCH_DAYS;
    use super::*;

    fn text(of: &Type, value: &'static str) -> Result<ScalarValue> {
        Parameter::new(Some(of), None)
            .value(Some(&Bytes::from_static(value.as_bytes())), Format::Text)
    }

    fn binary(of: &Type, value: &[u8]) -> Result<ScalarValue> {
        Parameter::new(Some(of), None).value(Some(&Bytes::copy_from_slice(value)), Format::Binary)
    }

    #[test]
    fn texts() {
        assert_eq!(
            text(&Type::INT4, " 42 ").unwrap(),
            ScalarValue::Int32(Some(42))
        );
        assert_eq!(
            text(&Type::BOOL, "t").unwrap(),
            ScalarValue::Boolean(Some(true))
        );
        assert_eq!(
            text(&Type::NUMERIC, "-12.50").unwrap(),
            ScalarValue::Decimal128(Some(-1250), 4, 2)
        );
        assert_eq!(
            text(&Type::DATE, "2026-02-28").unwrap().to_string(),
            "2026-02-28"
        );
        assert_eq!(
            text(&Type::BYTEA, "\\x00ff").unwrap(),
            ScalarValue::BinaryView(Some(vec![0, 255]))
        );
        assert_eq!(
            text(&Type::TIMESTAMPTZ, "2026-01-01 00:00:00+01").unwrap(),
            ScalarValue::TimestampMicrosecond(Some(1_767_222_000_000_000), Some("UTC".into()))
        );
        for (of, value) in [
            (Type::INT4, "x"),
            (Type::INT2, "40000"),
            (Type::DATE, "2026-02-30"),
            (Type::NUMERIC, "1.2.3"),
            (Type::INT4_ARRAY, "{1,2"),
        ] {
            assert_eq!(text(&of, value).unwrap_err().state, "22P02", "{of} {value}");
        }
    }

    #[test]
    fn bytes() {
        assert_eq!(
            binary(&Type::INT8, &7_i64.to_be_bytes()).unwrap(),
            ScalarValue::Int64(Some(7))
        );
        assert_eq!(
            binary(&Type::DATE, &0_i32.to_be_bytes()).unwrap(),
            ScalarValue::Date32(Some(EPOCH_DAYS))
        );
        assert_eq!(
            binary(&Type::NUMERIC, &[0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x13, 0x88]).unwrap(),
            ScalarValue::Decimal128(Some(1250), 4, 2)
        );
        assert_eq!(binary(&Type::INT4, &[1]).unwrap_err().state, "22P03");
        assert_eq!(binary(&Type::TEXT, &[0xff]).unwrap_err().state, "22021");
    }

    #[test]
    fn arrays() {
        assert_eq!(
            array_items("{1, NULL,\"a,\\\"b\",\"null\"}").unwrap(),
            [Some("1"), None, Some("a,\"b"), Some("null")].map(|item| item.map(str::to_owned))
        );
        assert_eq!(array_items("{}").unwrap(), Vec::<Option<String>>::new());
        assert_eq!(array_items("{{1}}"), None);
        let list = text(&Type::INT8_ARRAY, "{1,2}").unwrap();
        assert_eq!(list.to_string(), "[1, 2]");
        let mut bytes = Vec::new();
        for int in [1, 0, 23, 1, 1, 4, 9] {
            bytes.extend_from_slice(&i32::to_be_bytes(int));
        }
        assert_eq!(
            binary(&Type::INT4_ARRAY, &bytes).unwrap().to_string(),
            "[9]"
        );
        assert!(binary(&Type::INT4_ARRAY, &bytes[..22]).is_err());
    }

    #[test]
    fn who_decides_the_type() {
        let of = |declared: Option<Type>, inferred: Option<DataType>| {
            Parameter::new(declared.as_ref(), inferred.as_ref()).sent
        };
        assert_eq!(of(Some(Type::INT2), Some(DataType::Int64)), Type::INT2);
        assert_eq!(of(Some(Type::UNKNOWN), Some(DataType::Int64)), Type::INT8);
        assert_eq!(of(None, None), Type::TEXT);
    }
}
