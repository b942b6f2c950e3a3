//! Patterns of dates and times as in Java: `yyyy-MM-dd HH:mm:ss.SSS`, compiled once.
//!
//! Formatting follows `DateTimeFormatter`. Parsing has two tempers: strict, where a field of two letters has two
//! digits, and lenient as in `SimpleDateFormat`, where numbers have any number of digits, what exceeds its field
//! carries over, and what follows the match is not looked at.

use crate::civil::{DAY_MS, Day, Moment, iso_weekday, write_digits, write_fraction};
use crate::error::{Error, Result};
use crate::pattern_cache::{Cache, Last};
use crate::zone::Zone;

thread_local! {
    static PATTERNS: Cache<Pattern> = Cache::default();
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
    date_only: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Literal(String),
    Field(char, usize),
    Optional(Vec<Token>),
}

/// The patterns of one evaluation.
pub(crate) struct Patterns {
    name: &'static str,
    last: Last<Pattern>,
}

impl Patterns {
    /// For one function.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            last: Last::new(&PATTERNS),
        }
    }

    /// The compiled pattern.
    pub(crate) fn get(&mut self, text: &str) -> Result<&Pattern> {
        let name = self.name;
        self.last.get(text, |text| {
            Pattern::compile(text).map_err(|message| Error::argument(name, message).into())
        })
    }
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let mut chars = text.chars().peekable();
        let mut stack: Vec<Vec<Token>> = vec![Vec::new()];
        while let Some(c) = chars.next() {
            let token = match c {
                '\'' => Token::Literal(
                    quoted(&mut chars).ok_or(format!("the quote in '{text}' is not closed"))?,
                ),
                '[' => {
                    stack.push(Vec::new());
                    continue;
                }
                ']' => {
                    let inner = stack.pop().filter(|_| !stack.is_empty());
                    Token::Optional(inner.ok_or(format!("a bracket in '{text}' is not opened"))?)
                }
                letter if letter.is_ascii_alphabetic() => {
                    if !"GuyYMLdDQqwWEecaHKkhmsSAnNVzOXxZ".contains(letter) {
                        return Err(format!(
                            "'{letter}' in the pattern '{text}' has no meaning; quote it as '{letter}'"
                        ));
                    }
                    let mut count = 1;
                    while chars.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    Token::Field(letter, count)
                }
                other => Token::Literal(other.to_string()),
            };
            match (stack.last_mut(), token) {
                (Some(tokens), Token::Literal(more)) => match tokens.last_mut() {
                    Some(Token::Literal(literal)) => literal.push_str(&more),
                    _ => tokens.push(Token::Literal(more)),
                },
                (Some(tokens), token) => tokens.push(token),
                (None, _) => {}
            }
        }
        // Java takes an optional section at the end as closed.
        while stack.len() > 1 {
            let inner = stack.pop().unwrap_or_default();
            if let Some(tokens) = stack.last_mut() {
                tokens.push(Token::Optional(inner));
            }
        }
        let tokens = stack.pop().unwrap_or_default();
        let date_only = tokens.iter().all(Token::is_date);
        Ok(Self { tokens, date_only })
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    if chars.next_if_eq(&'\'').is_some() {
        return Some("'".into());
    }
    let mut literal = String::new();
    loop {
        match chars.next()? {
            '\'' if chars.next_if_eq(&'\'').is_some() => literal.push('\''),
            '\'' => return Some(literal),
            c => literal.push(c),
        }
    }
}

impl Token {
    fn is_date(&self) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::Field(letter, _) => "GuyYMLdDQqwWEec".contains(*letter),
            Self::Optional(tokens) => tokens.iter().all(Self::is_date),
        }
    }
}

/// Writes times, remembering the last day: neighbouring rows nearly always share it.
pub(crate) struct Writer {
    zone: Zone,
    days: i64,
    day: Day,
    text: String,
}

impl Writer {
    /// For local times of a zone.
    pub(crate) fn new(zone: Zone) -> Self {
        Self {
            zone,
            days: i64::MIN,
            day: Day {
                year: 1970,
                month: 1,
                day: 1,
            },
            text: String::new(),
        }
    }

    /// Appends a local time.
    pub(crate) fn write(&mut self, pattern: &Pattern, local: Moment, out: &mut String) {
        let days = local.days();
        if days != self.days {
            self.days = days;
            self.day = Day::from_days(days);
            self.text.clear();
        }
        if !pattern.date_only {
            self.write_tokens(&pattern.tokens, local, out);
            return;
        }
        if self.text.is_empty() {
            let mut text = std::mem::take(&mut self.text);
            self.write_tokens(&pattern.tokens, local, &mut text);
            self.text = text;
        }
        out.push_str(&self.text);
    }

    /// Forgets the last day's text, for another pattern.
    pub(crate) fn forget(&mut self) {
        self.text.clear();
    }

    fn write_tokens(&self, tokens: &[Token], local: Moment, out: &mut String) {
        for token in tokens {
            match token {
                Token::Literal(literal) => out.push_str(literal),
                Token::Field(letter, count) => {
                    if token.is_date() {
                        self.write_date(*letter, *count, out);
                    } else {
                        self.write_time(*letter, *count, local, out);
                    }
                }
                Token::Optional(tokens) => self.write_tokens(tokens, local, out),
            }
        }
    }

    fn write_date(&self, letter: char, count: usize, out: &mut String) {
        let Day { year, month, day } = self.day;
        let name = |names: &[&str], idx: usize, out: &mut String| {
            let name = names.get(idx).copied().unwrap_or("");
            out.push_str(match count {
                4 => name,
                5 => &name[..1],
                _ => &name[..3],
            });
        };
        match letter {
            'G' => out.push_str(if year > 0 { "AD" } else { "BC" }),
            'u' | 'y' => write_year(i64::from(year), count, out),
            'Y' => write_year(i64::from(week_of_year(self.days).0), count, out),
            'M' | 'L' if count < 3 => write_digits(month.into(), count, out),
            'M' | 'L' => name(&MONTHS, month as usize - 1, out),
            'd' => write_digits(day.into(), count, out),
            'D' => write_digits(self.day.of_year(), count, out),
            'Q' | 'q' => match count {
                1 | 2 => write_digits(self.day.quarter().into(), count, out),
                3 => out.push_str(["Q1", "Q2", "Q3", "Q4"][self.day.quarter() as usize - 1]),
                _ => out.push_str(
                    ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"]
                        [self.day.quarter() as usize - 1],
                ),
            },
            'w' => write_digits(week_of_year(self.days).1, count, out),
            'W' => {
                let first = iso_weekday(self.days - i64::from(day) + 1) % 7;
                write_digits((first + i64::from(day) - 1) / 7 + 1, count, out);
            }
            'e' | 'c' if count < 3 => write_digits(iso_weekday(self.days) % 7 + 1, count, out),
            _ => name(
                &DAYS,
                usize::try_from(iso_weekday(self.days) - 1).unwrap_or(0),
                out,
            ),
        }
    }

    fn write_time(&self, letter: char, count: usize, local: Moment, out: &mut String) {
        let ms = local.ms_of_day();
        let hour = ms / 3_600_000;
        match letter {
            'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            'H' => write_digits(hour, count, out),
            'k' => write_digits(if hour == 0 { 24 } else { hour }, count, out),
            'K' => write_digits(hour % 12, count, out),
            'h' => write_digits((hour + 11) % 12 + 1, count, out),
            'm' => write_digits(ms / 60_000 % 60, count, out),
            's' => write_digits(ms / 1000 % 60, count, out),
            'S' => {
                let from = out.len();
                write_fraction(local, count.min(9), out);
                out.remove(from);
            }
            'A' => write_digits(ms, count, out),
            'n' => write_digits(ms % 1000 * 1_000_000 + i64::from(local.nanos), count, out),
            'N' => write_digits(local.nanos_of_day(), count, out),
            _ => self.write_zone(letter, count, local, out),
        }
    }

    fn write_zone(&self, letter: char, count: usize, local: Moment, out: &mut String) {
        let minutes = (local.ms - self.zone.to_utc(local.ms)) / 60_000;
        let name = match self.zone {
            Zone::Named(tz) => Some(tz.name()),
            Zone::Fixed(0) => Some("UTC"),
            Zone::Fixed(_) => None,
        };
        match (letter, name) {
            ('V', Some(name)) => out.push_str(name),
            ('z', Some("UTC")) => out.push_str("UTC"),
            ('X', _) if minutes == 0 => out.push('Z'),
            _ => {
                let colon = matches!(
                    (letter, count),
                    ('X' | 'x', 3 | 5) | ('Z', 5) | ('O' | 'z' | 'V', _)
                );
                if matches!(letter, 'O' | 'z') {
                    out.push_str("GMT");
                }
                out.push(if minutes < 0 { '-' } else { '+' });
                write_digits(minutes.abs() / 60, 2, out);
                if count > 1 || letter == 'Z' || minutes % 60 != 0 || colon {
                    out.push_str(if colon { ":" } else { "" });
                    write_digits(minutes.abs() % 60, 2, out);
                }
            }
        }
    }
}

/// Weeks that start on Sunday; the first is that of January 1.
fn week_of_year(days: i64) -> (i32, i64) {
    let day = Day::from_days(days);
    let next = Day {
        year: day.year + 1,
        month: 1,
        day: 1,
    }
    .to_days();
    if days >= next - iso_weekday(next) % 7 {
        return (day.year + 1, 1);
    }
    let first = Day {
        month: 1,
        day: 1,
        ..day
    }
    .to_days();
    (day.year, (days - first + iso_weekday(first) % 7) / 7 + 1)
}

fn write_year(year: i64, count: usize, out: &mut String) {
    if count == 2 {
        write_digits(year.rem_euclid(100), 2, out);
    } else {
        write_digits(year, count, out);
    }
}

/// What a text said of a time.
#[derive(Clone, Debug, Default)]
struct Fields {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    of_year: Option<i64>,
    hour: Option<i64>,
    hour_of_half: Option<i64>,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    nanos: Option<i64>,
    offset_ms: Option<i64>,
}

impl Pattern {
    /// The local time that a text spells, or the instant where it names an offset: `(time, is_instant)`.
    pub(crate) fn parse(&self, text: &str, lenient: bool) -> Option<(Moment, bool)> {
        let mut fields = Fields::default();
        let rest = parse_tokens(&self.tokens, text, lenient, &mut fields)?;
        if !lenient && !rest.is_empty() {
            return None;
        }
        let mut moment = fields.resolve(lenient)?;
        if let Some(offset) = fields.offset_ms {
            moment.ms -= offset;
        }
        Some((moment, fields.offset_ms.is_some()))
    }
}

fn parse_tokens<'a>(
    tokens: &[Token],
    text: &'a str,
    lenient: bool,
    fields: &mut Fields,
) -> Option<&'a str> {
    let mut rest = text;
    for (idx, token) in tokens.iter().enumerate() {
        rest = match token {
            Token::Literal(literal) => rest.strip_prefix(literal.as_str())?,
            Token::Optional(inner) => {
                let mut tried = fields.clone();
                match parse_tokens(inner, rest, lenient, &mut tried) {
                    Some(after) => {
                        *fields = tried;
                        after
                    }
                    None => rest,
                }
            }
            Token::Field(letter, count) => {
                let adjacent = matches!(tokens.get(idx + 1), Some(Token::Field(next, n)) if is_number(*next, *n));
                fields.read(*letter, *count, adjacent, lenient, rest)?
            }
        };
    }
    Some(rest)
}

fn is_number(letter: char, count: usize) -> bool {
    match letter {
        'M' | 'L' => count < 3,
        letter => "uyYdDHKkhmsSAnN".contains(letter),
    }
}

impl Fields {
    /// Reads one field and gives the rest of the text.
    fn read<'a>(
        &mut self,
        letter: char,
        count: usize,
        adjacent: bool,
        lenient: bool,
        text: &'a str,
    ) -> Option<&'a str> {
        if !is_number(letter, count) {
            return self.read_word(letter, text);
        }
        let text = if lenient {
            text.trim_start_matches([' ', '\t'])
        } else {
            text
        };
        let available = text.bytes().take_while(u8::is_ascii_digit).count();
        let (least, most) = match (letter, adjacent, lenient) {
            (_, true, _) => (count, count),
            ('S', false, false) => (count, count),
            (_, false, true) => (1, 9),
            (_, false, false) if count == 1 => (1, 9),
            ('u' | 'y', false, false) if count > 2 => (count, 9),
            _ => (count, count),
        };
        if available < least || (available > most && !adjacent && !lenient) {
            return None;
        }
        let (digits, rest) = text.split_at(available.min(most));
        let value: i64 = digits.parse().ok()?;
        match letter {
            'u' | 'y' | 'Y' => self.year = Some(two_digits(value, count, digits.len(), lenient)),
            'M' | 'L' => self.month = Some(value),
            'd' => self.day = Some(value),
            'D' => self.of_year = Some(value),
            'H' => self.hour = Some(value),
            'k' => self.hour = Some(if value == 24 { 0 } else { value }),
            'h' => self.hour_of_half = Some(if value == 12 { 0 } else { value }),
            'K' => self.hour_of_half = Some(value),
            'm' => self.minute = Some(value),
            's' => self.second = Some(value),
            // A lenient fraction is a number of milliseconds.
            'S' if lenient => self.nanos = Some(value.checked_mul(1_000_000)?),
            'S' => self.nanos = crate::cast::from_text::nanos(digits),
            'n' => self.nanos = Some(value),
            _ => return None,
        }
        Some(rest)
    }

    fn read_word<'a>(&mut self, letter: char, text: &'a str) -> Option<&'a str> {
        let starts = |word: &str| {
            text.get(..word.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(word))
        };
        let named = |names: &[&str]| {
            let full = names
                .iter()
                .position(|name| starts(name))
                .map(|idx| (idx, names[idx].len()));
            full.or_else(|| {
                names
                    .iter()
                    .position(|name| starts(&name[..3]))
                    .map(|idx| (idx, 3))
            })
        };
        match letter {
            'M' | 'L' => {
                let (idx, len) = named(&MONTHS)?;
                self.month = i64::try_from(idx + 1).ok();
                Some(&text[len..])
            }
            'E' | 'e' | 'c' => named(&DAYS).map(|(_, len)| &text[len..]),
            'a' => {
                self.afternoon = Some(starts("PM"));
                (starts("AM") || starts("PM")).then(|| &text[2..])
            }
            'G' => (starts("AD") || starts("CE")).then(|| &text[2..]),
            'X' | 'x' | 'Z' | 'z' | 'O' | 'V' => {
                let end = text.find([' ', ',', ')', ']']).unwrap_or(text.len());
                let zone: Zone = text[..end].parse().ok()?;
                self.offset_ms = Some(zone.offset_at(0));
                Some(&text[end..])
            }
            _ => None,
        }
    }

    /// The local time; what was not said is that of 1970-01-01 00:00:00.
    fn resolve(&self, lenient: bool) -> Option<Moment> {
        let hour = match (self.hour, self.hour_of_half) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour + if self.afternoon == Some(true) { 12 } else { 0 },
            (None, None) => 0,
        };
        let (minute, second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        let (year, month, day) = (
            self.year.unwrap_or(1970),
            self.month.unwrap_or(1),
            self.day.unwrap_or(1),
        );
        let year = i32::try_from(year)
            .ok()
            .filter(|year| (0..=9999).contains(year))?;
        if !lenient && (hour > 23 || minute > 59 || second > 59) {
            return None;
        }
        let days = match (self.of_year, lenient) {
            (Some(of_year), _) => {
                Day {
                    year,
                    month: 1,
                    day: 1,
                }
                .to_days()
                    + of_year
                    - 1
            }
            (None, true) => {
                Day {
                    year,
                    month: 1,
                    day: 1,
                }
                .plus_months(month - 1)
                .to_days()
                    + day
                    - 1
            }
            (None, false) => {
                Day::new(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?.to_days()
            }
        };
        let nanos = self.nanos.unwrap_or(0);
        let seconds = hour * 3600 + minute * 60 + second;
        let ms = days
            .checked_mul(DAY_MS)?
            .checked_add(seconds * 1000)?
            .checked_add(nanos / 1_000_000)?;
        Some(Moment {
            ms,
            nanos: u32::try_from(nanos % 1_000_000).ok()?,
        })
    }
}

/// `yy` is of this century, or leniently of the hundred years until 2045.
fn two_digits(value: i64, count: usize, digits: usize, lenient: bool) -> i64 {
    match (count, digits) {
        (2, 2) if lenient && value > 45 => 1900 + value,
        (2, 2) => 2000 + value,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(pattern: &str, ms: i64) -> String {
        let mut out = String::new();
        Writer::new(Zone::UTC).write(
            &Pattern::compile(pattern).unwrap(),
            Moment::from_ms(ms),
            &mut out,
        );
        out
    }

    #[test]
    fn formats_every_letter() {
        // 2024-02-29 13:04:05.678, a Thursday.
        let ms = 1_709_211_845_678;
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-02-29 13:04:05.678"),
            ("yy/M/d H:m:s", "24/2/29 13:4:5"),
            ("EEE, dd MMM yyyy", "Thu, 29 Feb 2024"),
            ("EEEE MMMM", "Thursday February"),
            ("hh:mm a K k", "01:04 PM 1 13"),
            ("D Q QQQ w e", "60 1 Q1 9 5"),
            ("'day' d, yyyy''MM", "day 29, 2024'02"),
            ("yyyyMMddHHmmss", "20240229130405"),
            ("S SSSSSS", "6 678000"),
            ("XXX Z z", "Z +0000 UTC"),
            ("YYYY", "2024"),
            ("日 dd[ HH]", "日 29 13"),
        ] {
            assert_eq!(format(pattern, ms), expected, "{pattern}");
        }
        assert_eq!(
            week_of_year(
                Day {
                    year: 2024,
                    month: 12,
                    day: 30
                }
                .to_days()
            ),
            (2025, 1)
        );
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        assert!(Pattern::compile("yyyy-bb").unwrap_err().contains("'b'"));
        assert!(
            Pattern::compile("yyyy 'T")
                .unwrap_err()
                .contains("not closed")
        );
        assert!(
            Pattern::compile("yyyy]")
                .unwrap_err()
                .contains("not opened")
        );
    }

    fn parse(pattern: &str, text: &str, lenient: bool) -> Option<String> {
        let (moment, _) = Pattern::compile(pattern).unwrap().parse(text, lenient)?;
        Some(format("yyyy-MM-dd HH:mm:ss.SSS", moment.ms))
    }

    #[test]
    fn parses_strictly_or_not() {
        let strict = |pattern, text| parse(pattern, text, false);
        assert_eq!(
            strict("dd.MM.yyyy HH:mm", "05.03.2024 14:30").unwrap(),
            "2024-03-05 14:30:00.000"
        );
        assert_eq!(
            strict("yyyyMMddHHmmss", "20240305143001").unwrap(),
            "2024-03-05 14:30:01.000"
        );
        assert_eq!(
            strict("d MMM yyyy, h a", "5 Mar 2024, 3 pm").unwrap(),
            "2024-03-05 15:00:00.000"
        );
        assert_eq!(
            strict("yyyy-MM-dd'T'HH:mm:ss.SSSX", "2024-03-05T14:30:00.250+02").unwrap(),
            "2024-03-05 12:30:00.250"
        );
        assert_eq!(
            strict("yyyy-MM-dd[ HH:mm]", "2024-03-05").unwrap(),
            "2024-03-05 00:00:00.000"
        );
        for bad in [
            "5.3.2024 14:30",
            "31.02.2024 14:30",
            "05.03.2024 24:30",
            "05.03.2024 14:30:00",
            "x",
        ] {
            assert_eq!(strict("dd.MM.yyyy HH:mm", bad), None, "{bad}");
        }
        assert_eq!(
            parse("yyyy-MM-dd", "2024-13-32 and more", true).unwrap(),
            "2025-02-01 00:00:00.000"
        );
        assert_eq!(
            parse("yyyy-MM-dd", "2024-3-5", true).unwrap(),
            "2024-03-05 00:00:00.000"
        );
        assert_eq!(
            parse("dd/MM/yy", "01/02/99", true).unwrap(),
            "1999-02-01 00:00:00.000"
        );
        assert_eq!(parse("yyyy-MM-dd", "bad", true), None);
    }
}
