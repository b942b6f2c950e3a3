//! Aggregates recomputed from all rows of a group, over values as text.

use super::super::{Call, Function};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_dataflow::Delta;
use millstream_dataflow::testing::Random;
use std::collections::BTreeMap;

/// A row in the text form of the harness: few distinct values, some NULLs.
pub(crate) fn random_row(input: &SchemaRef, random: &mut Random) -> String {
    let words: Vec<String> = input
        .fields()
        .iter()
        .map(|field| random_word(field.data_type(), random))
        .collect();
    words.join(" ")
}

fn random_word(data_type: &DataType, random: &mut Random) -> String {
    if random.below(6) == 0 {
        return "NULL".into();
    }
    let n = random.below(7) as i64 - 2;
    match data_type {
        DataType::Utf8View if n > 2 => format!("a_longer_text_{n}"),
        DataType::Utf8View => format!("t{n}"),
        DataType::Boolean => (n % 2 == 0).to_string(),
        DataType::Decimal128(_, _) => format!("{n}.{:02}", random.below(3) * 25),
        // Halves add up exactly in any order.
        DataType::Float64 => format!("{n}.5"),
        DataType::Timestamp(_, _) => format!("1970-01-01T00:00:{:02}", random.below(20)),
        _ => n.to_string(),
    }
}

/// The rows as words, each as often as it is there, in the order in which they came.
pub(crate) fn rows(deltas: &[Delta]) -> Vec<Vec<String>> {
    rows_seen(deltas, |_| true)
}

fn rows_seen(deltas: &[Delta], sees: impl Fn(usize) -> bool) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for delta in deltas {
        let columns: Vec<Vec<String>> = delta.batch().columns().iter().map(words).collect();
        for row in 0..delta.rows() {
            let words: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(at, column)| {
                    if sees(at) {
                        column[row].clone()
                    } else {
                        String::new()
                    }
                })
                .collect();
            match delta.weight(row) {
                1 => rows.push(words),
                -1 => {
                    let at = rows
                        .iter()
                        .position(|held| *held == words)
                        .expect("a row to retract");
                    rows.remove(at);
                }
                weight => panic!("the oracle takes no weight {weight}"),
            }
        }
    }
    rows
}

fn words(column: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).unwrap();
    (0..column.len())
        .map(|row| formatter.value(row).to_string())
        .collect()
}

/// What GROUP BY shows for the rows, as `show_sum` prints it.
pub(crate) fn aggregate(keys: &[usize], deltas: &[Delta], calls: &[Call]) -> String {
    // An aggregate knows its arguments only: a retraction takes out the oldest equal arguments.
    let seen_by = |call: &Call| {
        let sees =
            |at: usize| keys.contains(&at) || call.args.contains(&at) || call.filter == Some(at);
        groups(keys, deltas, sees)
    };
    let by_call: Vec<_> = calls.iter().map(seen_by).collect();
    let mut lines: Vec<String> = groups(keys, deltas, |_| true)
        .into_keys()
        .map(|key| {
            let results = calls
                .iter()
                .zip(&by_call)
                .map(|(call, groups)| result(call, &groups[&key]));
            let words: Vec<String> = key
                .iter()
                .cloned()
                .chain(results)
                .map(|w| printed(&w))
                .collect();
            format!("+1 {}", words.join(" "))
        })
        .collect();
    lines.sort();
    lines.join(" / ")
}

/// The rows of each group, of which only some columns are seen.
fn groups(
    keys: &[usize],
    deltas: &[Delta],
    sees: impl Fn(usize) -> bool,
) -> BTreeMap<Vec<String>, Vec<Vec<String>>> {
    let mut groups: BTreeMap<_, Vec<Vec<String>>> = BTreeMap::new();
    for row in rows_seen(deltas, sees) {
        let key = keys.iter().map(|key| row[*key].clone()).collect();
        groups.entry(key).or_default().push(row);
    }
    groups
}

/// A word as the harness prints it.
pub(crate) fn printed(word: &str) -> String {
    if word.is_empty() {
        "''".into()
    } else {
        word.replace(' ', "_")
    }
}

/// The result of a call over the rows of a group.
pub(crate) fn result(call: &Call, rows: &[Vec<String>]) -> String {
    let passes = |row: &&Vec<String>| call.filter.is_none_or(|filter| row[filter] == "true");
    let mut args: Vec<Vec<String>> = rows
        .iter()
        .filter(passes)
        .map(|row| call.args.iter().map(|arg| row[*arg].clone()).collect())
        .collect();
    if call.distinct || call.function == Function::ApproxCountDistinct {
        let mut seen = Vec::new();
        args.retain(|arg| {
            !seen.contains(arg) && {
                seen.push(arg.clone());
                true
            }
        });
    }
    let present: Vec<&Vec<String>> = args
        .iter()
        .filter(|arg| arg.iter().all(|word| word != "NULL"))
        .collect();
    match call.function {
        Function::Count | Function::ApproxCountDistinct => present.len().to_string(),
        Function::ArrayAgg if args.is_empty() => "NULL".into(),
        Function::ArrayAgg => {
            let all: Vec<&str> = args.iter().map(|arg| arg[0].as_str()).collect();
            format!("[{}]", all.join(", "))
        }
        Function::Collect => {
            let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
            for arg in &present {
                *counts.entry(arg[0].parse().unwrap()).or_default() += 1;
            }
            let all: Vec<String> = counts
                .iter()
                .map(|(value, count)| format!("{value}: {count}"))
                .collect();
            format!("{{{}}}", all.join(", "))
        }
        Function::ListAgg if !present.is_empty() => {
            let separator = |at: usize| present[at].get(1).map_or(",", String::as_str);
            let parts = present.iter().enumerate().map(|(at, arg)| {
                if at == 0 {
                    arg[0].clone()
                } else {
                    format!("{}{}", separator(at), arg[0])
                }
            });
            parts.collect()
        }
        _ => {
            let first: Vec<&str> = present.iter().map(|arg| arg[0].as_str()).collect();
            if first.is_empty() && call.function != Function::Sum0 {
                return "NULL".into();
            }
            over_values(call, &first)
        }
    }
}

fn over_values(call: &Call, values: &[&str]) -> String {
    let numbers = || values.iter().map(|v| v.parse::<f64>().unwrap());
    let integers = || {
        values
            .iter()
            .map(|v| v.replace('.', "").parse::<i128>().unwrap())
    };
    let data_type = call.output.data_type();
    match call.function {
        Function::Sum | Function::Sum0 => match data_type {
            DataType::Float64 => float(numbers().sum()),
            DataType::Decimal128(_, _) => decimal(integers().sum(), 2),
            _ => integers().sum::<i128>().to_string(),
        },
        Function::Avg => match data_type {
            DataType::Float64 => float(numbers().sum::<f64>() / values.len() as f64),
            DataType::Decimal128(_, _) => {
                // From scale 2 to 6, half up.
                let (sum, n) = (integers().sum::<i128>() * 10_000, values.len() as i128);
                let rounded = (sum.abs() * 2 + n) / (n * 2);
                decimal(rounded * sum.signum(), 6)
            }
            _ => (integers().sum::<i128>() / values.len() as i128).to_string(),
        },
        Function::Min | Function::Max => {
            let mut sorted = values.to_vec();
            match data_type {
                DataType::Utf8View => sorted.sort_unstable(),
                _ => {
                    sorted.sort_by(|a, b| a.parse::<f64>().unwrap().total_cmp(&b.parse().unwrap()))
                }
            }
            let at = if call.function == Function::Min {
                0
            } else {
                sorted.len() - 1
            };
            sorted[at].to_owned()
        }
        Function::FirstValue => values[0].to_owned(),
        Function::LastValue => values[values.len() - 1].to_owned(),
        Function::BoolAnd => values.iter().all(|value| *value == "true").to_string(),
        Function::BoolOr => values.contains(&"true").to_string(),
        Function::VarPop | Function::VarSamp | Function::StddevPop | Function::StddevSamp => {
            deviation(call, &numbers().collect::<Vec<_>>())
        }
        Function::Percentile => {
            let mut sorted: Vec<f64> = numbers().collect();
            sorted.sort_by(f64::total_cmp);
            let place = 0.3 * (sorted.len() - 1) as f64;
            let (low, high) = (
                sorted[place.floor() as usize],
                sorted[place.ceil() as usize],
            );
            float(low + (high - low) * place.fract())
        }
        other => panic!("the oracle has no {other}"),
    }
}

fn deviation(call: &Call, values: &[f64]) -> String {
    let sample = matches!(call.function, Function::VarSamp | Function::StddevSamp);
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let divisor = if sample { n - 1.0 } else { n };
    if divisor == 0.0 {
        return "NULL".into();
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / divisor;
    let root = matches!(call.function, Function::StddevPop | Function::StddevSamp);
    let value = if root { variance.sqrt() } else { variance } + 1e-12;
    match call.output.data_type() {
        DataType::Decimal128(_, _) => format!("{value:.6}"),
        _ => (value as i64).to_string(),
    }
}

pub(crate) fn float(value: f64) -> String {
    format!("{:?}", value + 0.0)
}

fn decimal(value: i128, scale: u32) -> String {
    let unit = 10_i128.pow(scale);
    let sign = if value < 0 { "-" } else { "" };
    let (whole, part) = (value.abs() / unit, value.abs() % unit);
    format!("{sign}{whole}.{part:0width$}", width = scale as usize)
}
