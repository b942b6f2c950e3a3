//! Tokens of JSON text, read by position at memory speed.
//!
//! Invariant: a [`Scan`] may look at bytes behind the end of its record (the next record, in the same run), so that it
//! can load whole words, but whoever reads a record must end exactly at its end: a record that is cut short runs over
//! it and is found out. Every loop ends at the record's end at the latest.

use super::fault::{Fault, Parsed};

/// JSON nested deeper than this is a bad record, as in Flink's parser.
pub(crate) const DEPTH_MAX: usize = 1000;

const POWERS: [u64; 17] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    10_000_000_000_000,
    100_000_000_000_000,
    1_000_000_000_000_000,
    10_000_000_000_000_000,
];

const FLOAT_POWERS: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// The text of one record inside the bytes of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    /// The whole run.
    pub(crate) bytes: &'a [u8],
    /// Where the record ends.
    pub(crate) end: usize,
    /// Whether a raw NUL stands anywhere in the run.
    pub(crate) nul: bool,
}

/// A string's text without its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted {
    /// The first byte behind the opening quote.
    pub(crate) start: usize,
    /// The closing quote.
    pub(crate) end: usize,
    /// Whether there is a backslash in it.
    pub(crate) escaped: bool,
}

impl<'a> Scan<'a> {
    /// The byte at a position; 0 behind the last one.
    #[inline(always)]
    pub(crate) fn at(&self, pos: usize) -> u8 {
        self.bytes.get(pos).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub(crate) fn load8(&self, pos: usize) -> Option<u64> {
        self.bytes
            .get(pos..)?
            .first_chunk()
            .map(|chunk| u64::from_le_bytes(*chunk))
    }

    #[inline(always)]
    pub(crate) fn load16(&self, pos: usize) -> Option<u128> {
        self.bytes
            .get(pos..)?
            .first_chunk()
            .map(|chunk| u128::from_le_bytes(*chunk))
    }

    /// The bytes of a range; empty if it is none.
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The first position from `pos` on that is no white space.
    #[inline(always)]
    pub(crate) fn space(&self, mut pos: usize) -> usize {
        while pos < self.end && matches!(self.at(pos), b' ' | b'\n' | b'\r' | b'\t') {
            pos += 1;
        }
        pos
    }

    /// Behind a literal that must stand here.
    #[inline(always)]
    pub(crate) fn literal(&self, pos: usize, word: &[u8]) -> Parsed {
        if self.slice(pos, pos + word.len()) == word {
            Ok(pos + word.len())
        } else {
            Err(self.unexpected(pos, "a value"))
        }
    }

    /// The string whose opening quote stands at `pos`.
    #[inline(always)]
    pub(crate) fn string(&self, pos: usize) -> Parsed<Quoted> {
        let start = pos + 1;
        let end = self.find_special(start);
        if self.at(end) == b'"' && end < self.end {
            return Ok(Quoted {
                start,
                end,
                escaped: false,
            });
        }
        self.escaped_string(start, end)
    }

    #[cold]
    fn escaped_string(&self, start: usize, first: usize) -> Parsed<Quoted> {
        let mut pos = first;
        loop {
            match self.at(pos) {
                b'"' if pos < self.end => {
                    return Ok(Quoted {
                        start,
                        end: pos,
                        escaped: true,
                    });
                }
                b'\\' if pos < self.end => pos = self.find_special(self.escape(pos)?),
                _ => return Err(Fault::syntax(self.end, "the text does not end")),
            }
        }
    }

    /// Behind the escape whose backslash stands at `pos`.
    fn escape(&self, pos: usize) -> Parsed {
        match self.at(pos + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(pos + 2),
            b'u' if self
                .slice(pos + 2, pos + 6)
                .iter()
                .filter(|byte| byte.is_ascii_hexdigit())
                .count()
                == 4 =>
            {
                Ok(pos + 6)
            }
            _ => Err(Fault::syntax(pos, "an escape that JSON does not have")),
        }
    }

    /// The first quote or backslash from `pos` on; the record's end or more if there is none.
    #[inline(always)]
    fn find_special(&self, mut pos: usize) -> usize {
        // Most texts are short: a few words of bytes, before the start of a search by vectors pays.
        for _ in 0..4 {
            let Some(word) = self.load8(pos) else {
                break;
            };
            let found = special(word);
            if found != 0 {
                return pos + found.trailing_zeros() as usize / 8;
            }
            pos += 8;
        }
        self.find_special_far(pos)
    }

    #[inline(never)]
    fn find_special_far(&self, pos: usize) -> usize {
        let rest = self.bytes.get(pos..self.end).unwrap_or_default();
        memchr::memchr2(b'"', b'\\', rest).map_or(self.end.max(pos), |found| pos + found)
    }

    /// Behind the number that stands here.
    #[inline]
    pub(crate) fn number(&self, start: usize) -> Parsed {
        let mut pos = start + usize::from(self.at(start) == b'-');
        match self.at(pos) {
            b'0' => pos += 1,
            b'1'..=b'9' => pos = self.digits(pos),
            _ => return Err(self.unexpected(start, "a value")),
        }
        if self.at(pos) == b'.' {
            let first = pos + 1;
            pos = self.digits(first);
            if pos == first {
                return Err(self.unexpected(pos, "a digit"));
            }
        }
        if matches!(self.at(pos), b'e' | b'E') {
            let first = pos + 1 + usize::from(matches!(self.at(pos + 1), b'+' | b'-'));
            pos = self.digits(first);
            if pos == first {
                return Err(self.unexpected(pos, "a digit"));
            }
        }
        Ok(pos)
    }

    #[inline]
    fn digits(&self, mut pos: usize) -> usize {
        while pos < self.end && self.at(pos).is_ascii_digit() {
            pos += 1;
        }
        pos
    }

    /// The value of a run of at most 16 digits, and how many there are. `None` for more, and near the run's end.
    #[inline(always)]
    fn digit_run(&self, pos: usize) -> Option<(u64, usize)> {
        let (low, count) = eight_digits(self.load8(pos)?);
        if count < 8 {
            return Some((low, count));
        }
        let (next, more) = eight_digits(self.load8(pos + 8)?);
        let value = low * POWERS[more] + next;
        if more == 8 && self.at(pos + 16).is_ascii_digit() {
            return None;
        }
        Some((value, 8 + more))
    }

    /// An integer in plain digits and the position behind it; `None` for all that needs more care.
    #[inline(always)]
    pub(crate) fn integer(&self, pos: usize) -> Option<(i64, usize)> {
        let negative = self.at(pos) == b'-';
        let start = pos + usize::from(negative);
        let (value, count) = self.digit_run(start)?;
        let next = start + count;
        let plain = count > 0 && !(count > 1 && self.at(start) == b'0');
        if !plain || matches!(self.at(next), b'.' | b'e' | b'E') {
            return None;
        }
        let value = value as i64;
        Some((if negative { -value } else { value }, next))
    }

    /// A number as digits and how many of them stand behind the point; `None` for all that needs more care.
    #[inline(always)]
    pub(crate) fn fixed(&self, pos: usize) -> Option<(i64, usize, usize)> {
        let negative = self.at(pos) == b'-';
        let start = pos + usize::from(negative);
        let (whole, count) = self.digit_run(start)?;
        if count == 0 || (count > 1 && self.at(start) == b'0') {
            return None;
        }
        let mut next = start + count;
        let mut value = whole;
        let mut scale = 0;
        if self.at(next) == b'.' {
            let (fraction, digits) = self.digit_run(next + 1)?;
            if digits == 0 || count + digits > 18 {
                return None;
            }
            value = whole * POWERS.get(digits)? + fraction;
            scale = digits;
            next += 1 + digits;
        }
        if matches!(self.at(next), b'e' | b'E') {
            return None;
        }
        let value = value as i64;
        Some((if negative { -value } else { value }, scale, next))
    }

    /// A number whose digits and power of ten are exact as doubles, so that their quotient is rounded once, as it
    /// should be; and the position behind it. `None` for all that needs more care.
    #[inline(always)]
    pub(crate) fn double(&self, pos: usize) -> Option<(f64, usize)> {
        let (digits, scale, behind) = self.fixed(pos)?;
        if digits.unsigned_abs() > 1 << 53 || (digits == 0 && self.at(pos) == b'-') {
            return None;
        }
        Some((digits as f64 / *FLOAT_POWERS.get(scale)?, behind))
    }

    /// Behind the value that stands at `pos`, whatever it is.
    #[inline(always)]
    pub(crate) fn skip(&self, pos: usize) -> Parsed {
        match self.at(pos) {
            b'"' => Ok(self.string(pos)?.end + 1),
            b'{' | b'[' => self.skip_nested(pos),
            _ => self.skip_flat(pos),
        }
    }

    fn skip_nested(&self, start: usize) -> Parsed {
        let mut open = Nesting::default();
        let mut pos = start;
        loop {
            // A value begins at `pos`.
            match self.at(pos) {
                bracket @ (b'{' | b'[') => {
                    let is_object = bracket == b'{';
                    if !open.push(is_object) {
                        return Err(Fault::syntax(
                            pos,
                            format!("nested deeper than {DEPTH_MAX} levels"),
                        ));
                    }
                    pos = self.space(pos + 1);
                    if self.at(pos) != if is_object { b'}' } else { b']' } {
                        if is_object {
                            pos = self.key(pos)?;
                        }
                        continue;
                    }
                }
                _ => pos = self.space(self.skip_flat(pos)?),
            }
            // A value or an empty bracket ends here: close brackets up to the next value.
            loop {
                match (self.at(pos), open.in_object()) {
                    (b',', is_object) if pos < self.end => {
                        pos = self.space(pos + 1);
                        if is_object {
                            pos = self.key(pos)?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) if pos < self.end => {
                        if open.pop() {
                            return Ok(pos + 1);
                        }
                        pos = self.space(pos + 1);
                    }
                    (_, true) => return Err(self.unexpected(pos, "',' or '}'")),
                    (_, false) => return Err(self.unexpected(pos, "',' or ']'")),
                }
            }
        }
    }

    #[inline(always)]
    fn skip_flat(&self, pos: usize) -> Parsed {
        match self.at(pos) {
            b'"' => Ok(self.string(pos)?.end + 1),
            b'n' => self.literal(pos, b"null"),
            b't' => self.literal(pos, b"true"),
            b'f' => self.literal(pos, b"false"),
            _ => match self.integer(pos) {
                Some((_, behind)) => Ok(behind),
                None => self.number(pos),
            },
        }
    }

    /// Behind a key, its colon and white space: where its value begins.
    #[inline(always)]
    fn key(&self, pos: usize) -> Parsed {
        if self.at(pos) != b'"' {
            return Err(self.unexpected(pos, "a field name in quotes"));
        }
        self.colon(self.string(pos)?.end + 1)
    }

    /// Behind a colon and the white space around it.
    #[inline(always)]
    pub(crate) fn colon(&self, pos: usize) -> Parsed {
        let pos = self.space(pos);
        if self.at(pos) != b':' {
            return Err(self.unexpected(pos, "':'"));
        }
        Ok(self.space(pos + 1))
    }

    /// The fault of finding something else than wanted.
    #[cold]
    pub(crate) fn unexpected(&self, pos: usize, wanted: &str) -> Box<Fault> {
        let found = match self.at(pos) {
            byte @ 0x20..=0x7e => format!("'{}'", char::from(byte)),
            byte => format!("byte 0x{byte:02x}"),
        };
        Fault::syntax(pos, format!("{wanted} is wanted, but {found} stands there"))
    }
}

/// Marks which of eight bytes are a quote or a backslash, by their highest bit; the lowest mark is always right.
#[inline(always)]
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * b'"' as u64));
    let slashes = zeros(word ^ (ONES * b'\\' as u64));
    (quotes | slashes) & (ONES << 7)
}

/// The value of the leading digits of eight bytes, and how many they are.
#[inline(always)]
fn eight_digits(word: u64) -> (u64, usize) {
    let digits = word ^ 0x3030_3030_3030_3030;
    // A carry can only spoil bytes behind the first non-digit.
    let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    let count = (others.trailing_zeros() / 8) as usize;
    if count == 0 {
        return (0, 0);
    }
    let aligned = digits << ((8 - count) * 8);
    let pairs = aligned.wrapping_mul(10).wrapping_add(aligned >> 8);
    const MASK: u64 = 0x0000_00ff_0000_00ff;
    let high = (pairs & MASK).wrapping_mul(100 + (1_000_000 << 32));
    let low = ((pairs >> 16) & MASK).wrapping_mul(1 + (10_000 << 32));
    (high.wrapping_add(low) >> 32, count)
}

/// Which of the open brackets are objects.
#[derive(Default)]
struct Nesting {
    kinds: [u64; DEPTH_MAX.div_ceil(64)],
    depth: usize,
}

impl Nesting {
    fn push(&mut self, is_object: bool) -> bool {
        if self.depth == DEPTH_MAX {
            return false;
        }
        let bit = 1 << (self.depth % 64);
        if is_object {
            self.kinds[self.depth / 64] |= bit;
        } else {
            self.kinds[self.depth / 64] &= !bit;
        }
        self.depth += 1;
        true
    }

    #[inline(always)]
    fn in_object(&self) -> bool {
        let last = self.depth.wrapping_sub(1);
        self.kinds
            .get(last / 64)
            .is_some_and(|kinds| kinds >> (last % 64) & 1 == 1)
    }

    /// Closes the last one; whether it was the outermost.
    fn pop(&mut self) -> bool {
        self.depth -= 1;
        self.depth == 0
    }
}
