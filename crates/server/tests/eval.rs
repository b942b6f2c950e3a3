//! What `millstream eval` says when parts of a file fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

#[test]
fn each_failure_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, file) = (
        folder.path().join("rows.jsonl"),
        folder.path().join("pipeline.sql"),
    );
    std::fs::write(&rows, "{\"a\": 1, \"b\": 0}\n").unwrap();
    let text = format!(
        "CREATE TABLE t (a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         CREATE TABLE nowhere (x INT) WITH ('connector' = 'blackhole');
         INSERT INTO nowhere SELECT a / b FROM t;
         INSERT INTO nowhere SELECT a % b FROM t;",
        rows.display()
    );
    std::fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .arg("eval")
        .arg(&file)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert_eq!(
        said.to_lowercase().matches("divide by zero").count(),
        2,
        "{said}"
    );
    assert!(
        said.lines().all(|line| line.starts_with("error: ")),
        "{said}"
    );
}
