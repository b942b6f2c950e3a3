//! Texts that would exhaust a parser: each must give an error, at once, on a small stack.

use expect_test::expect;
use millstream_sql::{Limits, parse, parse_script};

/// Parses on a stack of the size that threads have by default, and gives the error's message.
fn message(text: String) -> String {
    let parse = move || match parse(&text) {
        Ok(statements) => {
            let printed: usize = statements
                .iter()
                .map(|statement| format!("{:?}", statement.node).len())
                .sum();
            format!("parsed {} ({})", statements.len(), printed > 0)
        }
        Err(error) => error.diagnostic.message,
    };
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(parse)
        .unwrap()
        .join()
        .unwrap()
}

fn repeated(text: &str, n: usize) -> String {
    text.repeat(n)
}

#[test]
fn chains_are_cut() {
    let texts = [
        format!("SELECT 1{}", repeated("+1", 100_000)),
        format!("SELECT a{}", repeated(" AND a", 100_000)),
        format!("SELECT a{}", repeated(" OR a = 1", 100_000)),
        format!("SELECT 1{}", repeated(" UNION ALL SELECT 1", 3_000)),
        format!("SELECT * FROM t{}", repeated(" JOIN t ON a = b", 3_000)),
        format!("SELECT {}", repeated("NOT ", 100_000)),
        format!("SELECT {}1", repeated("- ", 100_000)),
        format!("SELECT 1{}", repeated("::INT", 100_000)),
        format!("SELECT 1{}", repeated(" IS NULL", 100_000)),
        format!("SELECT a{}", repeated(" IS DISTINCT FROM a", 100_000)),
        format!("SELECT 1{}", repeated(" + CASE WHEN a THEN b END", 50_000)),
        format!(
            "SELECT * FROM t MATCH_RECOGNIZE (PATTERN (A{}) DEFINE A AS TRUE)",
            repeated("|A", 100_000)
        ),
        format!(
            "SELECT * FROM t MATCH_RECOGNIZE (PATTERN (A{}) DEFINE A AS TRUE)",
            repeated("?", 100_000)
        ),
        format!("SELECT a{}", repeated("[1]", 100_000)),
        format!("SELECT a{} FROM t", repeated(".a", 100_000)),
        format!(
            "SELECT * FROM t{}",
            repeated(" PIVOT (SUM(x) FOR y IN ('a'))", 20_000)
        ),
    ];
    let messages: Vec<String> = texts.into_iter().map(message).collect();
    expect![[r#"
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        a query has more than 500 set operations in a row
        a query has more than 500 joins
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        parsed 1 (true)
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row"#]]
    .assert_eq(&messages.join("\n"));
}

#[test]
fn nesting_is_cut() {
    let around = |open: &str, inner: &str, close: &str, n: usize| {
        format!("SELECT {}{inner}{}", open.repeat(n), close.repeat(n))
    };
    let texts = [
        around("(", "1", ")", 100_000),
        around("(", "1", ")", 100),
        around("(", "1", "", 100_000),
        around("(SELECT ", "1", ")", 100_000),
        around("(SELECT ", "1", ")", 100),
        around("f(", "1", ")", 100_000),
        around("CASE WHEN a THEN ", "1", " END", 100_000),
        around("CASE WHEN a THEN ", "1", "", 100),
        around("CAST(", "1", " AS INT)", 120),
        around("CAST(", "1 1", " AS INT)", 120),
        around("ARRAY[", "1", "]", 100_000),
        around("{", "1", "}", 100_000),
        around("INTERVAL ", "'1' DAY", "", 100_000),
        around("EXISTS (SELECT ", "1 1", ")", 70),
        around("EXTRACT(YEAR FROM ", "1 1", ")", 140),
        around("SUBSTRING(", "1 1", ")", 140),
        around("TRIM(", "1 1", ")", 140),
        around("POSITION(", "1 1", ")", 140),
        around("OVERLAY(", "1 1", ")", 140),
        format!("SELECT * FROM {}t{}", "(".repeat(140), ")".repeat(140)),
        format!(
            "SELECT * FROM {}t{}",
            "((SELECT 1 FROM ".repeat(70),
            ")) q".repeat(70)
        ),
        format!(
            "SELECT * FROM {}1 1{}",
            "((SELECT a FROM ".repeat(70),
            ") UNION SELECT 1)".repeat(70)
        ),
        format!(
            "CREATE TABLE t (a {}INT{})",
            "ARRAY<".repeat(100_000),
            ">".repeat(100_000)
        ),
        format!("CREATE TABLE t (a INT{})", " ARRAY".repeat(100_000)),
        format!("SELECT {}", "ARRAY<".repeat(100_000)),
        format!("SELECT x::{}INT", "ARRAY<".repeat(100_000)),
        format!(
            "SELECT * FROM t MATCH_RECOGNIZE (PATTERN ({}A{}) DEFINE A AS TRUE)",
            "(".repeat(100_000),
            ")".repeat(100_000)
        ),
        format!("{} SELECT 1", "EXPLAIN ".repeat(100_000)),
        format!("{}SELECT 1", "WITH a AS (".repeat(100_000)),
    ];
    let messages: Vec<String> = texts.into_iter().map(message).collect();
    expect![[r#"
        parentheses and CASE are nested more than 150 levels deep
        parsed 1 (true)
        parentheses and CASE are nested more than 150 levels deep
        parentheses and CASE are nested more than 150 levels deep
        parsed 1 (true)
        parentheses and CASE are nested more than 150 levels deep
        the text has more than 500000 tokens
        expected END, found the end of the statement
        parsed 1 (true)
        expected AS, found `1`
        parentheses and CASE are nested more than 150 levels deep
        parentheses and CASE are nested more than 150 levels deep
        expected the end of the statement, found `INTERVAL`
        expected `)`, found `1`
        expected `)`, found `1`
        expected `)`, found `1`
        expected `)`, found `1`
        the statement is too ambiguous to parse
        expected PLACING, found `1`
        parsed 1 (true)
        parsed 1 (true)
        the statement is too ambiguous to parse
        an expression has more than 1000 operators in a row
        expected `,` or `)` after a column, found `ARRAY`
        an expression has more than 1000 operators in a row
        an expression has more than 1000 operators in a row
        parentheses and CASE are nested more than 150 levels deep
        EXPLAIN cannot be explained
        parentheses and CASE are nested more than 150 levels deep"#]]
    .assert_eq(&messages.join("\n"));
}

#[test]
fn long_statements_within_the_limits_parse() {
    let long = [
        format!("SELECT 1{}", repeated("+1", 1_000)),
        format!("SELECT a{}", repeated(" OR a", 1_000)),
        format!("SELECT a IN (1{})", repeated(", 1", 100_000)),
        format!(
            "INSERT INTO t VALUES (1, 'a'){}",
            repeated(", (1, 'a')", 50_000)
        ),
        format!("SELECT 1{}", repeated(" UNION ALL SELECT 1", 500)),
        format!("SELECT CASE {} END", repeated("WHEN a = 1 THEN 'x' ", 900)),
        repeated("SELECT 1;\n", 20_000),
    ];
    for text in long {
        let start: String = text.chars().take(40).collect();
        assert!(message(text).starts_with("parsed"), "{start}");
    }
}

#[test]
fn texts_and_tokens_are_capped() {
    let limits = Limits {
        text_bytes_max: 20,
        ..Limits::default()
    };
    let error = parse_script("SELECT 1, 2, 3, 4, 5, 6", &limits).unwrap_err();
    assert_eq!(
        error.diagnostic.message,
        "the text has 23 bytes, more than the limit of 20"
    );
    let limits = Limits {
        tokens_max: 5,
        ..Limits::default()
    };
    let error = parse_script("SELECT 1, 2, 3", &limits).unwrap_err();
    assert_eq!(error.diagnostic.message, "the text has more than 5 tokens");
    let limits = Limits {
        chain_max: 2,
        ..Limits::default()
    };
    assert!(parse_script("SELECT 1 + 1 + 1", &limits).is_ok());
    assert!(parse_script("SELECT 1 + 1 + 1 + 1", &limits).is_err());
}
