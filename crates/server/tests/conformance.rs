//! The cases of tests/conformance: what `millstream eval` prints is what Flink computed.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Results that depend on which rows are late: exact with one row a step, on one worker.
const LATE: [&str; 2] = ["legacy_tumble", "win_cumulate_late"];

fn root() -> PathBuf {
    match std::env::var_os("MILLSTREAM_CONFORMANCE") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance"),
    }
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("pipeline.sql").exists())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases in {}", folder.display());
    cases
}

fn eval(case: &Path, inputs: &Path, args: &[&str]) -> Output {
    let text = std::fs::read_to_string(case.join("pipeline.sql")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.sql");
    std::fs::write(&file, text.replace("${DATA}", inputs.to_str().unwrap())).unwrap();
    let query = [
        "--query",
        "SELECT * FROM `result`",
        "--format",
        "csv",
        "--null",
        "\\N",
    ];
    Command::new(env!("CARGO_BIN_EXE_millstream"))
        .arg("eval")
        .arg(&file)
        .args(query)
        .args(args)
        .output()
        .unwrap()
}

/// Rows as a multiset, floating point rounded to 6 digits behind the point.
fn rows(text: &str, types: &[String]) -> (Vec<String>, BTreeMap<Vec<String>, usize>) {
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let header = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let mut rows = BTreeMap::new();
    for record in reader.records() {
        let record = record.unwrap();
        let row = record
            .iter()
            .zip(types)
            .map(|(value, kind)| canonical(value, kind))
            .collect();
        *rows.entry(row).or_default() += 1;
    }
    (header, rows)
}

fn canonical(value: &str, kind: &str) -> String {
    if value == "\\N" || !(kind.starts_with("DOUBLE") || kind.starts_with("FLOAT")) {
        return value.to_owned();
    }
    let number: f64 = value.replace("Infinity", "inf").parse().unwrap();
    format!("{:.6}", number + 0.0)
}

fn types(case: &Path) -> Vec<String> {
    let mut reader = csv::Reader::from_path(case.join("schema.csv")).unwrap();
    reader
        .records()
        .map(|record| record.unwrap()[1].to_owned())
        .collect()
}

fn difference(case: &Path, args: &[&str]) -> Option<String> {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let output = eval(case, &case.join("input"), args);
    if !output.status.success() {
        return Some(format!(
            "{name} {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let types = types(case);
    let wanted = rows(
        &std::fs::read_to_string(case.join("expected.csv")).unwrap(),
        &types,
    );
    let given = rows(&String::from_utf8(output.stdout).unwrap(), &types);
    if wanted == given {
        return None;
    }
    let missing: Vec<_> = wanted
        .1
        .iter()
        .filter(|(row, count)| given.1.get(*row) != Some(count))
        .take(3)
        .collect();
    let extra: Vec<_> = given
        .1
        .iter()
        .filter(|(row, count)| wanted.1.get(*row) != Some(count))
        .take(3)
        .collect();
    Some(format!(
        "{name} {args:?}: missing {missing:?}, extra {extra:?}, columns {:?}",
        given.0
    ))
}

fn check(late: bool, args: &[&str]) {
    let cases = cases(&root().join("cases"));
    let chosen = cases
        .iter()
        .filter(|case| LATE.contains(&case.file_name().unwrap().to_str().unwrap()) == late);
    let differences: Vec<String> = chosen.filter_map(|case| difference(case, args)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn results_are_flinks_with_one_worker() {
    check(false, &["--workers", "1"]);
}

#[test]
fn results_are_flinks_with_four_workers_in_small_steps() {
    check(false, &["--workers", "4", "--step-rows", "37"]);
}

#[test]
fn late_rows_are_flinks_row_by_row() {
    check(true, &["--workers", "1", "--step-rows", "1"]);
}

#[test]
fn what_flink_refuses_is_refused() {
    let folder = root().join("refused");
    for case in cases(&folder) {
        let output = eval(&case, &folder.join("input"), &[]);
        assert!(!output.status.success(), "{} was accepted", case.display());
        assert!(output.stdout.is_empty(), "{} printed rows", case.display());
    }
}
