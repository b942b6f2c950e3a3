//! The text of JSON strings, and JSON values as text.

/// Appends the text that a JSON string (without its quotes) stands for.
///
/// # Errors
/// What is wrong with it: half a surrogate pair, a NUL.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (&escape, behind) = rest[at + 1..].split_first().ok_or("half an escape")?;
        rest = behind;
        match escape {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (character, behind) = unicode(rest)?;
                rest = behind;
                let mut utf8 = [0; 4];
                out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The character of `XXXX` or `XXXX\uYYYY`, and what follows it.
fn unicode(text: &[u8]) -> Result<(char, &[u8]), &'static str> {
    const HALF: &str = "half a surrogate pair";
    let (high, rest) = hex(text).ok_or("half an escape")?;
    if let Some(character) = char::from_u32(high) {
        return Ok((character, rest));
    }
    let (low, rest) = rest.strip_prefix(b"\\u").and_then(hex).ok_or(HALF)?;
    if high >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
        return Err(HALF);
    }
    let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    Ok((char::from_u32(code).ok_or(HALF)?, rest))
}

fn hex(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let code = digits.iter().try_fold(0, |code, digit| {
        Some(code * 16 + char::from(*digit).to_digit(16)?)
    })?;
    Some((code, rest))
}

/// Appends a text as a JSON string, with its quotes.
pub(crate) fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut from = 0;
    for (at, &byte) in text.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&text[from..at]);
        from = at + 1;
        if short > 0 {
            out.extend_from_slice(&[b'\\', short]);
        } else {
            let hex = |digit: u8| b"0123456789ABCDEF"[usize::from(digit & 15)];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[hex(byte >> 4), hex(byte)]);
        }
    }
    out.extend_from_slice(&text[from..]);
    out.push(b'"');
}

/// Appends a valid JSON value without the white space between its tokens, and with its texts escaped no more than
/// needed.
///
/// # Errors
/// As [`unescape`].
pub(crate) fn compact(value: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut rest = value;
    let mut plain = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => {}
            b'"' => {
                let end = string_end(rest);
                plain.clear();
                unescape(&rest[..end], &mut plain)?;
                quote(&plain, out);
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            other => out.push(other),
        }
    }
    Ok(())
}

fn string_end(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = text
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found;
        if text[at] == b'"' {
            return at;
        }
        at += 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(raw: &str) -> Result<String, &'static str> {
        let mut out = Vec::new();
        unescape(raw.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn escapes_become_characters() {
        assert_eq!(
            unescaped(r#"a\"\\\/\b\f\n\r\té\u00e9\ud83d\ude00"#).unwrap(),
            "a\"\\/\u{8}\u{c}\n\r\téé😀"
        );
        for half in [r"\ud83d", r"\ude00", r"\ud83d\u0041", r"\ud83dx"] {
            assert!(unescaped(half).is_err(), "{half}");
        }
    }

    #[test]
    fn a_quoted_text_reads_back() {
        let text = "a\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f} é😀";
        let mut out = Vec::new();
        quote(text.as_bytes(), &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn compact_leaves_texts_alone() {
        let mut out = Vec::new();
        compact(br#"{ "a b" : [1.50 , "x \" y" ], "c":null }"#, &mut out).unwrap();
        assert_eq!(out, br#"{"a b":[1.50,"x \" y"],"c":null}"#);
    }
}
