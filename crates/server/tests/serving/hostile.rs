//! Clients and texts that mean harm, or know no better. The server answers, or closes; it stays, and others are served.

use crate::support::{Running, refused, simple, state};
use millstream_server::{PgLimits, QueryLimits};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0shop\0\0";
    let mut packet = ((body.len() + 4) as u32).to_be_bytes().to_vec();
    packet.extend_from_slice(body);
    packet
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend_from_slice(&((body.len() + 4) as u32).to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// What the server answers until it closes, or has nothing more to say.
async fn answer(running: &Running, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(running.pg()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_millis(500), stream.read_to_end(&mut answer)).await;
    answer
}

fn holds(answer: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(answer).contains(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn wild_startups() {
    let running = Running::start();
    for wild in [
        b"\0\0\0\0".to_vec(),
        b"\xff\xff\xff\xff".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\0\0\0\x08\0\x02\0\0".to_vec(),
        b"\0\0\0\x09\0\x03\0\0x".to_vec(),
        vec![0; 100_000],
        vec![0xff; 100_000],
        [&80_877_103_u32.to_be_bytes()[..]; 40].concat(),
    ] {
        let answer = answer(&running, &wild).await;
        assert!(answer.len() < 1_000, "{wild:?}");
    }
    let ssl = answer(
        &running,
        &[&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], &startup()].concat(),
    )
    .await;
    assert!(ssl.starts_with(b"NR"), "{ssl:?}");
    assert_eq!(simple(&running.client().await, "SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wild_messages() {
    let running = Running::start();
    for (wild, told) in [
        (message(b'~', b""), "08P01"),
        (message(b'p', b"secret\0"), "08P01"),
        (message(b'B', b"\0\0\0\x01"), "08P01"),
        (message(b'Q', b"\xff\xfe\0"), "22021"),
        (b"Q\xff\xff\xff\xff".to_vec(), "08P01"),
        (b"Q\0\0\0\x01".to_vec(), "08P01"),
        (b"P\x3f\xff\xff\xff".to_vec(), "08P01"),
        (
            [
                message(b'P', b"\0SELECT 1\0\0\0"),
                message(b'B', b"\0\0\0\0\0\0\0\x02\0\x01\0\x01"),
                message(b'S', b""),
            ]
            .concat(),
            "08P01",
        ),
        (
            [message(b'E', b"nosuch\0\0\0\0\0"), message(b'S', b"")].concat(),
            "34000",
        ),
        (
            [message(b'D', b"Snosuch\0"), message(b'S', b"")].concat(),
            "26000",
        ),
    ] {
        let answer = answer(&running, &[startup(), wild.clone()].concat()).await;
        assert!(
            holds(&answer, told),
            "{wild:?}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    // A message that is announced and never sent costs a connection and nothing else.
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(running.pg()).await.unwrap();
        stream
            .write_all(&[startup(), b"Q\0\xff\xff\xffSELECT".to_vec()].concat())
            .await
            .unwrap();
        waiting.push(stream);
    }
    assert_eq!(simple(&running.client().await, "SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_would_break_a_planner() {
    let running = Running::start();
    let client = running.client().await;
    for (text, code) in [
        (format!("SELECT 1{}", " + 1".repeat(100_000)), "54001"),
        (
            format!("SELECT {}1{}", "(".repeat(3_000), ")".repeat(3_000)),
            "54001",
        ),
        (format!("SELECT {}1", " - ".repeat(5_000)), "54001"),
        (vec!["SELECT 1"; 3_000].join(" UNION ALL "), "54001"),
        (
            format!(
                "SELECT 1 WHERE 1 IN ({})",
                (0..1_000_000)
                    .map(|n| n.to_string())
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            "54001",
        ),
        (format!("SELECT {}", "NOT ".repeat(5_000) + "true"), "54001"),
        (
            format!(
                "SELECT {}",
                (0..10_000)
                    .map(|n| n.to_string())
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            "54011",
        ),
        ("SELECT repeat('x', 2000000000)".to_owned(), "53200"),
        ("SELECT lpad('x', 2000000000)".to_owned(), "53200"),
        ("SELECT array_repeat(1, 2000000000)".to_owned(), "53200"),
        (
            "SELECT generate_series(1, 1000000000000)".to_owned(),
            "53200",
        ),
    ] {
        let shown: String = text.chars().take(60).collect();
        assert_eq!(state(&client, &text).await, code, "{shown}");
    }
    // As deep and long as is allowed is planned, not crashed on.
    for text in [
        format!("SELECT 1{}", " + 1".repeat(900)),
        vec!["SELECT 1"; 150].join(" UNION ALL "),
        format!("SELECT {}1{}", "(".repeat(90), ")".repeat(90)),
    ] {
        simple(&client, &text).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_would_take_everything() {
    let running = Running::start();
    let client = running.client().await;
    client
        .batch_execute("SET statement_timeout = '1500ms'")
        .await
        .unwrap();
    let crossed = (0..64)
        .map(|n| format!("orders o{n}"))
        .collect::<Vec<_>>()
        .join(", ");
    for text in [
        format!("SELECT count(*) FROM {crossed}"),
        "SELECT * FROM generate_series(1, 1000000000000)".to_owned(),
        "SELECT x, count(*) FROM generate_series(1, 100000000000) t(x) GROUP BY x".to_owned(),
        "SELECT array_agg(x) FROM generate_series(1, 100000000000) t(x)".to_owned(),
    ] {
        let (code, message) = refused(client.batch_execute(&text).await);
        assert!(
            matches!(code.as_str(), "57014" | "53200" | "54000"),
            "{text}: {code} {message}"
        );
    }
    assert_eq!(simple(&client, "SELECT count(*) FROM orders").await, ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_constant_is_not_copied_into_every_row_at_once() {
    let running = Running::start();
    let client = running.client().await;
    let long = "x".repeat(3 << 20);
    let query = format!(
        "SELECT count(*), min(length(s)) FROM (SELECT '{long}' || (n % 2) AS s FROM generate_series(1, 300) t(n))"
    );
    assert_eq!(
        simple(&client, &query).await,
        [format!("300|{}", (3 << 20) + 1)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_has_a_limit() {
    let running = Running::with(
        QueryLimits {
            rows_max: 10_000,
            ..QueryLimits::default()
        },
        PgLimits::default(),
    );
    let client = running.client().await;
    assert_eq!(
        state(&client, "SELECT * FROM generate_series(1, 1000000)").await,
        "54000"
    );
    assert_eq!(
        simple(&client, "SELECT count(*) FROM generate_series(1, 1000000)").await,
        ["1000000"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_left() {
    let running = Running::with(
        QueryLimits::default(),
        PgLimits {
            patience: Duration::from_millis(500),
            ..PgLimits::default()
        },
    );
    let mut stream = TcpStream::connect(running.pg()).await.unwrap();
    let query = message(
        b'Q',
        b"SELECT repeat('x', 1000) FROM generate_series(1, 10000000)\0",
    );
    stream
        .write_all(&[startup(), query].concat())
        .await
        .unwrap();
    crate::support::eventually("the connection is closed", async || {
        // Nothing is read: that the server has let go shows when writing fails.
        stream.write_all(&message(b'H', b"")).await.is_err()
    })
    .await;
    assert_eq!(simple(&running.client().await, "SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_idle_connections_and_one_too_many() {
    let running = Running::with(
        QueryLimits::default(),
        PgLimits {
            connections_max: 600,
            ..PgLimits::default()
        },
    );
    let mut idle = Vec::new();
    for _ in 0..600 {
        let mut stream = TcpStream::connect(running.pg()).await.unwrap();
        stream.write_all(&startup()).await.unwrap();
        let mut greeting = [0; 9];
        stream.read_exact(&mut greeting).await.unwrap();
        idle.push(stream);
    }
    assert!(holds(&answer(&running, &startup()).await, "53300"));
    idle.truncate(500);
    crate::support::eventually("there is room again", async || {
        !holds(&answer(&running, &startup()).await, "53300")
    })
    .await;
    assert_eq!(simple(&running.client().await, "SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn startups_that_are_never_finished() {
    let running = Running::with(
        QueryLimits::default(),
        PgLimits {
            startup: Duration::from_millis(300),
            ..PgLimits::default()
        },
    );
    let mut stream = TcpStream::connect(running.pg()).await.unwrap();
    stream.write_all(b"\0\0\0\x20\0\x03").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_without_number() {
    let running = Running::start();
    let mut stream = TcpStream::connect(running.pg()).await.unwrap();
    let mut sent = startup();
    for n in 0..12_000 {
        sent.extend(message(b'P', format!("s{n}\0SELECT 1\0\0\0").as_bytes()));
        sent.extend(message(b'S', b""));
    }
    let (mut reader, mut writer) = stream.split();
    let write = async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let read = async {
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let ((), answer) = tokio::join!(write, read);
    assert!(holds(&answer, "53400"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_only_names() {
    let running = Running::start();
    let client = running.client().await;
    client.batch_execute("CREATE MATERIALIZED VIEW `<script>alert('x')</script>\"` AS SELECT id FROM order_lines").await.unwrap();
    assert_eq!(
        simple(
            &client,
            "SELECT count(*) FROM \"<script>alert('x')</script>\"\"\""
        )
        .await,
        ["4"]
    );
}
