//! The options of a WITH clause: each is taken once, and what nobody took is refused with the nearest name.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// The options of one table, on their way to those who understand them.
#[derive(Clone, Debug)]
pub struct Options {
    owner: String,
    left: BTreeMap<String, String>,
    known: Vec<String>,
}

impl Options {
    /// The options of `owner` (a table's name, for errors).
    pub fn new(
        owner: impl Into<String>,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            owner: owner.into(),
            left: options.into_iter().collect(),
            known: Vec::new(),
        }
    }

    /// Takes a text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.known.push(name.to_owned());
        self.left.remove(name)
    }

    /// Takes a text that must be there.
    pub fn required(&mut self, name: &str) -> Result<String> {
        let owner = self.owner.clone();
        self.text(name)
            .ok_or_else(|| Error::user(format!("table `{owner}` needs the option '{name}'")))
    }

    /// Takes a number, or whatever else parses from its text.
    pub fn parse<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        self.text(name)
            .map(|text| {
                text.trim()
                    .parse()
                    .map_err(|_| self.invalid(name, &text, std::any::type_name::<T>()))
            })
            .transpose()
    }

    /// Takes `true` or `false`.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(self.invalid(name, &text, "true or false")),
            },
        }
    }

    /// Takes one of some words (in any case); the first is the default.
    pub fn word(&mut self, name: &str, words: &[&str]) -> Result<String> {
        let Some(text) = self.text(name) else {
            return Ok(words.first().copied().unwrap_or_default().to_owned());
        };
        let lower = text.trim().to_ascii_lowercase();
        if words.contains(&lower.as_str()) {
            return Ok(lower);
        }
        Err(self.invalid(name, &text, &format!("one of {}", words.join(", "))))
    }

    /// Takes a duration in Flink's form: `10 s`, `500ms`, `1 min`, `2 h`, `1 d`; a bare number is milliseconds.
    pub fn duration(&mut self, name: &str) -> Result<Option<Duration>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        parse_duration(&text).map(Some).ok_or_else(|| {
            self.invalid(name, &text, "a duration such as '500 ms', '10 s', '1 min'")
        })
    }

    /// Takes a size in bytes in Flink's form: `128mb`, `1 g`, `64 kb`; a bare number is bytes.
    pub fn bytes(&mut self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        parse_bytes(&text)
            .map(Some)
            .ok_or_else(|| self.invalid(name, &text, "a size such as '128 mb'"))
    }

    /// Takes every option whose name starts with `prefix`, without the prefix.
    pub fn prefixed(&mut self, prefix: &str) -> BTreeMap<String, String> {
        self.known.push(format!("{prefix}*"));
        let names: Vec<String> = self
            .left
            .keys()
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect();
        names
            .into_iter()
            .filter_map(|name| self.left.remove_entry(&name))
            .map(|(name, value)| (name[prefix.len()..].to_owned(), value))
            .collect()
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// `User`, with the nearest known name as the hint.
    pub fn finish(self) -> Result<()> {
        let Some(name) = self.left.keys().next() else {
            return Ok(());
        };
        let error = Error::user(format!(
            "table `{}` has the unknown option '{name}'",
            self.owner
        ));
        Err(match nearest(name, self.known.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("known options: {}", self.known.join(", "))),
        })
    }

    /// The error for a value that does not fit.
    pub fn invalid(&self, name: &str, value: &str, wanted: &str) -> Error {
        Error::user(format!(
            "table `{}`: option '{name}' is '{value}', but must be {wanted}",
            self.owner
        ))
    }

    /// The table's name.
    pub fn owner(&self) -> &str {
        &self.owner
    }
}

/// The name most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    names
        .into_iter()
        .map(|near| (strsim::jaro_winkler(&lower, &near.to_lowercase()), near))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, near)| near)
}

fn split_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((
        text[..digits].parse().ok()?,
        text[digits..].trim().to_ascii_lowercase(),
    ))
}

/// Parses a duration in Flink's form; `None` if it is none.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (count, unit) = split_unit(text)?;
    let nanos_each: u64 = match unit.as_str() {
        "ns" | "nano" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "d" | "day" | "days" => 86_400_000_000_000,
        _ => return None,
    };
    count.checked_mul(nanos_each).map(Duration::from_nanos)
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (count, unit) = split_unit(text)?;
    let shift = match unit.as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kibibytes" => 10,
        "m" | "mb" | "mebibytes" => 20,
        "g" | "gb" | "gibibytes" => 30,
        "t" | "tb" | "tebibytes" => 40,
        _ => return None,
    };
    count.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        Options::new(
            "orders",
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        )
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_name() {
        let mut given = options(&[("topik", "a")]);
        assert!(given.text("topic").is_none());
        let error = given.finish().unwrap_err();
        assert_eq!(
            error.message,
            "table `orders` has the unknown option 'topik'"
        );
        assert_eq!(error.hint.as_deref(), Some("did you mean 'topic'?"));
    }

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(parse_duration("10 s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_duration("250"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("1 fortnight"), None);
        assert_eq!(
            options(&[("size", "128mb")]).bytes("size").unwrap(),
            Some(128 << 20)
        );
    }

    #[test]
    fn a_prefix_takes_all_its_options() {
        let mut given = options(&[("properties.a.b", "1"), ("properties.c", "2")]);
        assert_eq!(
            given
                .prefixed("properties.")
                .into_iter()
                .collect::<Vec<_>>(),
            [
                ("a.b".to_owned(), "1".to_owned()),
                ("c".to_owned(), "2".to_owned())
            ]
        );
        assert!(given.finish().is_ok());
    }
}
