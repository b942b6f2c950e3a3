//! Paths into JSON: `lax $.a['b c'][0]`, with `*`, `..name`, `[0,1]`, `[-1]`, `[1:3]` and filters `[?(@.a > 1)]`.
//!
//! A path is definite when it can name one value only. One that is not gives the array of all that match. Without
//! `lax` a path is strict: a definite path to nothing is an error.

use super::value::Json;

/// A compiled path.
#[derive(Debug)]
pub(crate) struct Path {
    /// Whether a path to nothing is empty rather than an error.
    pub(crate) lax: bool,
    steps: Vec<Step>,
    definite: bool,
}

#[derive(Debug, PartialEq)]
enum Step {
    Names(Vec<String>),
    Indexes(Vec<i64>),
    Slice(Option<i64>, Option<i64>),
    Wildcard,
    /// The steps behind it apply to a value and all that is inside.
    Descend,
    Filter(Vec<Vec<Condition>>),
}

/// `@.a.b op literal`, or that `@.a.b` is there.
#[derive(Debug, PartialEq)]
struct Condition {
    path: Vec<String>,
    test: Option<(Comparison, Operand)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, PartialEq)]
enum Operand {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found<'d, 'a> {
    /// The value of a definite path.
    One(&'d Json<'a>),
    /// All values of another path.
    Many(Vec<&'d Json<'a>>),
}

impl Path {
    /// Reads a path; the error says what is wrong with it.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (lax, spec) = match trimmed.split_once(char::is_whitespace) {
            Some((mode, spec)) if mode.eq_ignore_ascii_case("lax") => (true, spec.trim()),
            Some((mode, spec)) if mode.eq_ignore_ascii_case("strict") => (false, spec.trim()),
            _ => (false, trimmed),
        };
        let wrong = |reason: &str| format!("the path '{text}' {reason}");
        let mut rest = spec
            .strip_prefix('$')
            .ok_or_else(|| wrong("does not start with $"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (more, after) =
                step(rest).ok_or_else(|| wrong(&format!("cannot be understood at '{rest}'")))?;
            steps.extend(more);
            rest = after;
        }
        let definite = steps.iter().all(|step| match step {
            Step::Names(names) => names.len() == 1,
            Step::Indexes(indexes) => indexes.len() == 1,
            Step::Slice(..) | Step::Wildcard | Step::Descend | Step::Filter(_) => false,
        });
        Ok(Self {
            lax,
            steps,
            definite,
        })
    }

    /// Follows the path; `None` is a definite path, or the definite start of another, that leads to nothing.
    pub(crate) fn find<'d, 'a>(&self, root: &'d Json<'a>) -> Option<Found<'d, 'a>> {
        let mut found = Vec::new();
        let complete = follow(&self.steps, root, true, &mut found);
        if self.definite {
            return complete.and(found.first().copied()).map(Found::One);
        }
        complete.map(|()| Found::Many(found))
    }
}

/// `None` where a step that must lead somewhere does not.
fn follow<'d, 'a>(
    steps: &[Step],
    value: &'d Json<'a>,
    definite: bool,
    out: &mut Vec<&'d Json<'a>>,
) -> Option<()> {
    let Some((step, rest)) = steps.split_first() else {
        out.push(value);
        return Some(());
    };
    // Behind a step that may match many, what does not match is left out.
    let missing = if definite { None } else { Some(()) };
    match (step, value) {
        (Step::Names(names), Json::Object(entries)) if names.len() == 1 => {
            match entries
                .iter()
                .find(|(key, _)| Some(key.as_ref()) == names.first().map(String::as_str))
            {
                Some((_, value)) => follow(rest, value, definite, out),
                None => missing,
            }
        }
        (Step::Names(names), Json::Object(entries)) => {
            let named = entries
                .iter()
                .filter(|(key, _)| names.iter().any(|name| name == key));
            each(rest, named.map(|(_, value)| value), out)
        }
        (Step::Indexes(indexes), Json::Array(values)) => {
            let definite = definite && indexes.len() == 1;
            for idx in indexes {
                match at(values, *idx) {
                    Some(value) => follow(rest, value, definite, out)?,
                    None if definite => return None,
                    None => {}
                }
            }
            Some(())
        }
        (Step::Slice(from, to), Json::Array(values)) => {
            let bound = |idx: i64| {
                if idx < 0 {
                    values.len().saturating_sub(magnitude(idx))
                } else {
                    magnitude(idx).min(values.len())
                }
            };
            let (from, to) = (from.map_or(0, bound), to.map_or(values.len(), bound));
            each(rest, values.get(from..to).unwrap_or_default().iter(), out)
        }
        (Step::Wildcard, Json::Array(values)) => each(rest, values.iter(), out),
        (Step::Wildcard, Json::Object(entries)) => {
            each(rest, entries.iter().map(|(_, value)| value), out)
        }
        (Step::Filter(any), Json::Array(values)) => {
            each(rest, values.iter().filter(|value| holds(any, value)), out)
        }
        (Step::Filter(any), Json::Object(_)) if holds(any, value) => {
            follow(rest, value, false, out)
        }
        (Step::Descend, _) => descend(rest, value, out),
        (Step::Wildcard | Step::Filter(_), _) => Some(()),
        (Step::Names(_) | Step::Indexes(_) | Step::Slice(..), _) => missing,
    }
}

fn each<'d, 'a: 'd>(
    rest: &[Step],
    values: impl Iterator<Item = &'d Json<'a>>,
    out: &mut Vec<&'d Json<'a>>,
) -> Option<()> {
    for value in values {
        follow(rest, value, false, out)?;
    }
    Some(())
}

fn descend<'d, 'a>(rest: &[Step], value: &'d Json<'a>, out: &mut Vec<&'d Json<'a>>) -> Option<()> {
    follow(rest, value, false, out)?;
    match value {
        Json::Array(values) => values
            .iter()
            .try_for_each(|value| descend(rest, value, out)),
        Json::Object(entries) => entries
            .iter()
            .try_for_each(|(_, value)| descend(rest, value, out)),
        _ => Some(()),
    }
}

fn magnitude(idx: i64) -> usize {
    usize::try_from(idx.unsigned_abs()).unwrap_or(usize::MAX)
}

fn at<'d, 'a>(values: &'d [Json<'a>], idx: i64) -> Option<&'d Json<'a>> {
    if idx < 0 {
        values.get(values.len().checked_sub(magnitude(idx))?)
    } else {
        values.get(magnitude(idx))
    }
}

fn holds(any: &[Vec<Condition>], value: &Json<'_>) -> bool {
    any.iter()
        .any(|all| all.iter().all(|condition| condition.holds(value)))
}

impl Condition {
    fn holds(&self, value: &Json<'_>) -> bool {
        let mut value = value;
        for name in &self.path {
            let Json::Object(entries) = value else {
                return false;
            };
            let Some((_, inner)) = entries.iter().find(|(key, _)| key == name) else {
                return false;
            };
            value = inner;
        }
        let Some((comparison, operand)) = &self.test else {
            return true;
        };
        let order = match (value, operand) {
            (Json::Number(number), Operand::Number(operand)) => number
                .parse::<f64>()
                .ok()
                .and_then(|number| number.partial_cmp(operand)),
            (Json::Text(text), Operand::Text(operand)) => Some(text.as_ref().cmp(operand)),
            (Json::Boolean(boolean), Operand::Boolean(operand)) => Some(boolean.cmp(operand)),
            (Json::Null, Operand::Null) => Some(std::cmp::Ordering::Equal),
            _ => None,
        };
        match (order, comparison) {
            (None, Comparison::Unequal) => true,
            (None, _) => false,
            (Some(order), Comparison::Equal) => order.is_eq(),
            (Some(order), Comparison::Unequal) => order.is_ne(),
            (Some(order), Comparison::Less) => order.is_lt(),
            (Some(order), Comparison::LessOrEqual) => order.is_le(),
            (Some(order), Comparison::Greater) => order.is_gt(),
            (Some(order), Comparison::GreaterOrEqual) => order.is_ge(),
        }
    }
}

/// One step, or a descent with its step, and the rest of the path.
fn step(text: &str) -> Option<(Vec<Step>, &str)> {
    if let Some(rest) = text.strip_prefix("..") {
        let (inner, rest) = if rest.starts_with('[') {
            bracket(rest)?
        } else {
            name(rest)?
        };
        return Some((vec![Step::Descend, inner], rest));
    }
    let text = match text.strip_prefix('.') {
        Some(rest) if !rest.starts_with('[') => {
            let (step, rest) = name(rest)?;
            return Some((vec![step], rest));
        }
        Some(rest) => rest,
        None => text,
    };
    let (step, rest) = bracket(text)?;
    Some((vec![step], rest))
}

fn name(text: &str) -> Option<(Step, &str)> {
    let end = text.find(['.', '[', ' ', '(', ')']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || rest.starts_with(['(', ')']) {
        return None;
    }
    let step = if name == "*" {
        Step::Wildcard
    } else {
        Step::Names(vec![name.to_string()])
    };
    Some((step, rest.trim_start()))
}

fn bracket(text: &str) -> Option<(Step, &str)> {
    let inner = text.strip_prefix('[')?.trim_start();
    if let Some(filter) = inner.strip_prefix('?') {
        let (filter, rest) = self::filter(filter.trim_start().strip_prefix('(')?)?;
        return Some((filter, rest.trim_start().strip_prefix(']')?));
    }
    if inner.starts_with(['\'', '"']) {
        let mut names = Vec::new();
        let mut rest = inner;
        loop {
            let (name, after) = quoted(rest)?;
            names.push(name);
            rest = after.trim_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after.trim_start(),
                None => return Some((Step::Names(names), rest.strip_prefix(']')?)),
            }
        }
    }
    let (inner, rest) = inner.split_once(']')?;
    let inner = inner.trim();
    let number = |text: &str| text.trim().parse::<i64>().ok();
    let step = if inner == "*" {
        Step::Wildcard
    } else if let Some((from, to)) = inner.split_once(':') {
        let end = |text: &str| {
            if text.trim().is_empty() {
                Some(None)
            } else {
                number(text).map(Some)
            }
        };
        Step::Slice(end(from)?, end(to)?)
    } else {
        Step::Indexes(inner.split(',').map(number).collect::<Option<_>>()?)
    };
    Some((step, rest))
}

/// A text in quotes and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut out = String::new();
    let mut chars = text[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => out.push(chars.next()?.1),
            c if c == quote => return Some((out, &text[1 + at + 1..])),
            c => out.push(c),
        }
    }
    None
}

/// Conditions joined by `&&` and `||`, up to the closing parenthesis.
fn filter(text: &str) -> Option<(Step, &str)> {
    let mut any = vec![Vec::new()];
    let mut rest = text.trim_start();
    loop {
        let (condition, after) = condition(rest)?;
        any.last_mut()?.push(condition);
        rest = after.trim_start();
        if let Some(after) = rest.strip_prefix("&&") {
            rest = after.trim_start();
        } else if let Some(after) = rest.strip_prefix("||") {
            any.push(Vec::new());
            rest = after.trim_start();
        } else {
            return Some((Step::Filter(any), rest.strip_prefix(')')?));
        }
    }
}

fn condition(text: &str) -> Option<(Condition, &str)> {
    let mut rest = text.strip_prefix('@')?;
    let mut path = Vec::new();
    while rest.starts_with(['.', '[']) {
        let (name, after) = match rest.strip_prefix("['") {
            Some(_) => {
                let (name, after) = quoted(&rest[1..])?;
                (name, after.strip_prefix(']')?)
            }
            None => {
                let inner = rest.strip_prefix('.')?;
                let end = inner
                    .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-')
                    .unwrap_or(inner.len());
                (inner[..end].to_string(), &inner[end..])
            }
        };
        if name.is_empty() {
            return None;
        }
        path.push(name);
        rest = after;
    }
    let rest = rest.trim_start();
    let signs = [
        ("==", Comparison::Equal),
        ("!=", Comparison::Unequal),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    let Some((sign, comparison)) = signs.iter().find(|(sign, _)| rest.starts_with(sign)) else {
        return Some((Condition { path, test: None }, rest));
    };
    let (operand, rest) = operand(rest[sign.len()..].trim_start())?;
    Some((
        Condition {
            path,
            test: Some((*comparison, operand)),
        },
        rest,
    ))
}

fn operand(text: &str) -> Option<(Operand, &str)> {
    if text.starts_with(['\'', '"']) {
        return quoted(text).map(|(text, rest)| (Operand::Text(text), rest));
    }
    let end = text.find([' ', ')', '&', '|']).unwrap_or(text.len());
    let operand = match &text[..end] {
        "null" => Operand::Null,
        "true" => Operand::Boolean(true),
        "false" => Operand::Boolean(false),
        number => Operand::Number(number.parse().ok()?),
    };
    Some((operand, &text[end..]))
}
