//! PARSE_URL, URL_ENCODE, URL_DECODE.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes, takes_optional};

pub(crate) fn functions() -> Vec<Function> {
    let text =
        |name, arguments, eval| Function::new(name, arguments, |_| Ok(DataType::Utf8View), eval);
    vec![
        text(
            "parse_url",
            takes_optional(&[Kind::Text, Kind::Text], &[Kind::Text]),
            parse_url,
        ),
        text("url_encode", takes(&[Kind::Text]), encode),
        text("url_decode", takes(&[Kind::Text]), decode),
        text(
            "url_decode_recursive",
            takes_optional(&[Kind::Text], &[Kind::Long]),
            decode_recursive,
        ),
    ]
}

/// What Java's URLs may start with.
const PROTOCOLS: [&str; 6] = ["http", "https", "ftp", "file", "jar", "mailto"];

/// The parts of `protocol://userinfo@host:port/path?query#ref`.
struct Url<'a> {
    protocol: &'a str,
    authority: Option<&'a str>,
    file: &'a str,
    reference: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(|c: char| c <= ' ');
        let (protocol, rest) = text.split_once(':')?;
        let protocol = PROTOCOLS
            .into_iter()
            .find(|known| protocol.eq_ignore_ascii_case(known))?;
        let (rest, reference) = match rest.split_once('#') {
            Some((rest, reference)) => (rest, Some(reference)),
            None => (rest, None),
        };
        let (authority, file) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, rest),
        };
        Some(Self {
            protocol,
            authority,
            file,
            reference,
        })
    }

    fn part(&self, name: &str) -> Option<&'a str> {
        let authority = self.authority.filter(|authority| !authority.is_empty());
        match name {
            "PROTOCOL" => Some(self.protocol),
            "AUTHORITY" => authority,
            "USERINFO" => authority?.rsplit_once('@').map(|(user, _)| user),
            "HOST" => Some(host(self.authority.unwrap_or(""))),
            "FILE" => Some(self.file),
            "PATH" => Some(self.file.split('?').next().unwrap_or("")),
            "QUERY" => self.file.split_once('?').map(|(_, query)| query),
            "REF" => self.reference,
            _ => None,
        }
    }
}

fn host(authority: &str) -> &str {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match host.find(']') {
        Some(end) if host.starts_with('[') => &host[..=end],
        _ => host.split(':').next().unwrap_or(""),
    }
}

/// A part that is missing is NULL, and so is what is no URL. With a key, its value in the query.
fn parse_url(call: &Call<'_>) -> Result<ArrayRef> {
    let (urls, parts) = (call.text(0)?, call.text(1)?);
    if call.len() == 2 {
        return call.slices(|row| Url::parse(urls.get(row)?)?.part(parts.get(row)?));
    }
    let keys = call.text(2)?;
    call.slices(|row| {
        let (url, part, key) = (urls.get(row)?, parts.get(row)?, keys.get(row)?);
        if part != "QUERY" {
            return None;
        }
        let query = Url::parse(url)?.part(part)?;
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    })
}

/// As in a form: a space becomes `+`.
fn encode(call: &Call<'_>) -> Result<ArrayRef> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let texts = call.text(0)?;
    call.texts(|row, out| {
        let Some(text) = texts.get(row) else {
            return Ok(false);
        };
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                    out.push(char::from(byte))
                }
                b' ' => out.push('+'),
                other => {
                    out.push('%');
                    super::codec::write_hex(&[other], DIGITS, out);
                }
            }
        }
        Ok(true)
    })
}

/// NULL where a `%` is not followed by two digits.
fn decode(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row, out| {
        let Some(decoded) = texts.get(row).and_then(decoded) else {
            return Ok(false);
        };
        out.push_str(&String::from_utf8_lossy(&decoded));
        Ok(true)
    })
}

/// Decodes what was encoded several times, ten times at most unless the second argument says otherwise.
fn decode_recursive(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    let depths = if call.len() > 1 {
        Some(call.long(1)?)
    } else {
        None
    };
    call.texts(|row, out| {
        let depth = depths.as_ref().map_or(Some(10), |depths| depths.get(row));
        let (Some(text), Some(depth)) = (texts.get(row), depth) else {
            return Ok(false);
        };
        let mut current = text.to_string();
        for turn in 0..depth {
            match decoded(&current) {
                Some(next) => {
                    let next = String::from_utf8_lossy(&next).into_owned();
                    if next == current {
                        break;
                    }
                    current = next;
                }
                None if turn == 0 => return Ok(false),
                None => break,
            }
        }
        out.push_str(&current);
        Ok(true)
    })
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || {
                    char::from(bytes.next()?)
                        .to_digit(16)
                        .and_then(|d| u8::try_from(d).ok())
                };
                out.push(digit()? << 4 | digit()?);
            }
            other => out.push(other),
        }
    }
    Some(out)
}
