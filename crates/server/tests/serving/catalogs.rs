//! What tools ask of the catalogs: psql's own commands, and what drivers ask when they start.

use crate::support::{Running, simple};
use std::process::Command;

fn psql(running: &Running, text: &str) -> Option<String> {
    let address = running.pg();
    let output = Command::new("psql")
        .args([
            "-X",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
            "-U",
            "shop",
            "-c",
            text,
            "millstream",
        ])
        .output()
        .ok()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "psql {text}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Skipped where there is no psql.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_psql() {
    let running = Running::start();
    let Some(answer) = psql(&running, "SELECT 1") else {
        return;
    };
    assert_eq!(answer.trim(), "1");
    for (command, part) in [
        (r"\l", "millstream"),
        (r"\dn", "public"),
        (r"\dv", "sales"),
        (r"\d", "per_customer"),
        (r"\d sales", "revenue|numeric"),
        (r"\d+ orders", "customer|text"),
    ] {
        let answer = psql(&running, command).unwrap();
        assert!(answer.contains(part), "{command}: {answer}");
    }
    for command in [
        r"\dt",
        r"\dm",
        r"\df",
        r"\du",
        r"\di",
        r"\ds",
        r"\dT",
        r"\conninfo",
        r"\encoding",
        r"\dx",
    ] {
        psql(&running, command).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn information_schema_and_pg_catalog() {
    let running = Running::start();
    let client = running.client().await;
    let tables =
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    assert_eq!(
        simple(&client, tables).await,
        ["orders", "per_customer", "sales"]
    );
    let columns = "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON a.attrelid = c.oid \
        WHERE c.relname = 'sales' AND a.attnum > 0 ORDER BY a.attnum";
    assert_eq!(
        simple(&client, columns).await,
        [
            "sku|text",
            "orders|bigint",
            "units|bigint",
            "revenue|numeric"
        ]
    );
    assert_eq!(
        simple(&client, "SELECT count(*) > 50 FROM pg_type").await,
        ["t"]
    );
    assert_eq!(
        simple(&client, "SELECT pg_catalog.version() LIKE 'PostgreSQL 16%'").await,
        ["t"]
    );
    assert_eq!(
        simple(&client, "SELECT 'sales'::regclass::oid > 0").await,
        ["t"]
    );
}
