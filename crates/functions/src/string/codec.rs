//! TO_BASE64, FROM_BASE64, HEX, UNHEX, BIN, ENCODE, DECODE.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryViewBuilder};
use arrow::datatypes::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::call::Call;
use crate::error::{Error, Result};
use crate::function::{Function, Kind, takes};

/// Padding may be left out, as Java's decoder allows.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) fn functions() -> Vec<Function> {
    let text = |name, arguments, eval| {
        Function::new(name, takes(arguments), |_| Ok(DataType::Utf8View), eval)
    };
    let bytes = |name, arguments, eval| {
        Function::new(name, takes(arguments), |_| Ok(DataType::BinaryView), eval)
    };
    vec![
        text("to_base64", &[Kind::TextOrBytes], to_base64),
        text("from_base64", &[Kind::TextOrBytes], from_base64),
        text("hex", &[Kind::Any], hex),
        bytes("unhex", &[Kind::Text], unhex),
        text("bin", &[Kind::Long], bin),
        bytes("encode", &[Kind::Text, Kind::Text], encode),
        text("decode", &[Kind::TextOrBytes, Kind::Text], decode),
    ]
}

fn to_base64(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.bytes(0)?;
    call.texts(|row, out| {
        let Some(value) = values.get(row) else {
            return Ok(false);
        };
        STANDARD.encode_string(value, out);
        Ok(true)
    })
}

fn from_base64(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.bytes(0)?;
    call.texts(|row, out| {
        let Some(value) = values.get(row) else {
            return Ok(false);
        };
        let decoded = LENIENT.decode(value).map_err(|e| {
            Error::argument(
                call.name,
                format!("'{}' is no Base64: {e}", String::from_utf8_lossy(value)),
            )
        })?;
        out.push_str(&String::from_utf8_lossy(&decoded));
        Ok(true)
    })
}

/// Appends two digits per byte.
pub(crate) fn write_hex(bytes: &[u8], digits: &[u8; 16], out: &mut String) {
    for byte in bytes {
        out.push(char::from(digits[usize::from(byte >> 4)]));
        out.push(char::from(digits[usize::from(byte & 15)]));
    }
}

/// Of an integer's two's complement, or of a text's bytes.
fn hex(call: &Call<'_>) -> Result<ArrayRef> {
    if call.arg(0)?.array.data_type().is_numeric() {
        let values = call.long(0)?;
        return call.texts(|row, out| {
            let Some(value) = values.get(row) else {
                return Ok(false);
            };
            out.push_str(&format!("{value:X}"));
            Ok(true)
        });
    }
    let values = call.bytes(0)?;
    call.texts(|row, out| {
        let Some(value) = values.get(row) else {
            return Ok(false);
        };
        write_hex(value, b"0123456789ABCDEF", out);
        Ok(true)
    })
}

/// NULL where a character is no digit; an odd number of them is read as if a zero stood before.
fn unhex(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    bytes(call, |row, out| {
        let Some(text) = texts.get(row) else {
            return Ok(false);
        };
        let mut high = (text.len() % 2 == 1).then_some(0);
        for c in text.chars() {
            let Some(digit) = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()) else {
                return Ok(false);
            };
            match high.take() {
                Some(high) => out.push(high << 4 | digit),
                None => high = Some(digit),
            }
        }
        Ok(true)
    })
}

fn bin(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.long(0)?;
    call.texts(|row, out| {
        let Some(value) = values.get(row) else {
            return Ok(false);
        };
        out.push_str(&format!("{value:b}"));
        Ok(true)
    })
}

fn bytes(
    call: &Call<'_>,
    mut value: impl FnMut(usize, &mut Vec<u8>) -> Result<bool>,
) -> Result<ArrayRef> {
    let mut builder = BinaryViewBuilder::with_capacity(call.rows);
    let mut buffer = Vec::new();
    for row in 0..call.rows {
        buffer.clear();
        if value(row, &mut buffer)? {
            builder.append_value(&buffer);
        } else {
            builder.append_null();
        }
    }
    Ok(Arc::new(builder.finish()))
}

#[derive(Clone, Copy)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
    Utf16(Order),
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// Big end first, or as a mark at the start says.
    Marked,
    Big,
    Little,
}

impl Charset {
    fn named(function: &str, name: &str) -> Result<Self> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "US-ASCII" | "ASCII" => Self::Ascii,
            "ISO-8859-1" | "LATIN1" => Self::Latin1,
            "UTF-8" | "UTF8" => Self::Utf8,
            "UTF-16" => Self::Utf16(Order::Marked),
            "UTF-16BE" => Self::Utf16(Order::Big),
            "UTF-16LE" => Self::Utf16(Order::Little),
            _ => {
                let known = "US-ASCII, ISO-8859-1, UTF-8, UTF-16BE, UTF-16LE and UTF-16";
                return Err(Error::argument(
                    function,
                    format!("unknown character set '{name}', known are {known}"),
                )
                .into());
            }
        })
    }

    fn encode(self, text: &str, out: &mut Vec<u8>) {
        let narrow = |most: u32| {
            move |c: char| {
                u8::try_from(u32::from(c))
                    .ok()
                    .filter(|b| u32::from(*b) < most)
                    .unwrap_or(b'?')
            }
        };
        match self {
            Self::Ascii => out.extend(text.chars().map(narrow(128))),
            Self::Latin1 => out.extend(text.chars().map(narrow(256))),
            Self::Utf8 => out.extend_from_slice(text.as_bytes()),
            Self::Utf16(order) => {
                if order == Order::Marked {
                    out.extend_from_slice(&[0xfe, 0xff]);
                }
                for unit in text.encode_utf16() {
                    out.extend(if order == Order::Little {
                        unit.to_le_bytes()
                    } else {
                        unit.to_be_bytes()
                    });
                }
            }
        }
    }

    fn decode(self, bytes: &[u8], out: &mut String) {
        match self {
            Self::Ascii => out.extend(bytes.iter().map(|b| {
                if b.is_ascii() {
                    char::from(*b)
                } else {
                    '\u{fffd}'
                }
            })),
            Self::Latin1 => out.extend(bytes.iter().map(|b| char::from(*b))),
            Self::Utf8 => out.push_str(&String::from_utf8_lossy(bytes)),
            Self::Utf16(order) => {
                let (bytes, little) = match (order, bytes) {
                    (Order::Marked, [0xff, 0xfe, rest @ ..]) => (rest, true),
                    (Order::Marked, [0xfe, 0xff, rest @ ..]) => (rest, false),
                    (order, bytes) => (bytes, order == Order::Little),
                };
                let units = bytes.chunks(2).map(|pair| match (pair, little) {
                    ([a, b], true) => u16::from_le_bytes([*a, *b]),
                    ([a, b], false) => u16::from_be_bytes([*a, *b]),
                    _ => 0xfffd,
                });
                out.extend(char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')));
            }
        }
    }
}

fn encode(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, charsets) = (call.text(0)?, call.text(1)?);
    bytes(call, |row, out| {
        let (Some(text), Some(charset)) = (texts.get(row), charsets.get(row)) else {
            return Ok(false);
        };
        Charset::named(call.name, charset)?.encode(text, out);
        Ok(true)
    })
}

fn decode(call: &Call<'_>) -> Result<ArrayRef> {
    let (values, charsets) = (call.bytes(0)?, call.text(1)?);
    call.texts(|row, out| {
        let (Some(value), Some(charset)) = (values.get(row), charsets.get(row)) else {
            return Ok(false);
        };
        Charset::named(call.name, charset)?.decode(value, out);
        Ok(true)
    })
}
