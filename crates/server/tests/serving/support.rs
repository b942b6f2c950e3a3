//! A server over a few views, and clients of it.

use millstream_engine::{Config, Engine};
use millstream_server::{PgLimits, QueryLimits, Server, ServerConfig};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Orders: four customers' worth, known by heart.
const ORDERS: &str = r#"{"id":1,"customer":"ada","sku":"A","units":2,"price":10.50,"at":"2026-01-01 10:00:00.500","tags":["new","gift"],"ship":{"city":"Rome","zip":100}}
{"id":2,"customer":"bob","sku":"B","units":1,"price":99.99,"at":"2026-01-01 11:00:00","tags":[],"ship":null}
{"id":3,"customer":"ada","sku":"B","units":3,"price":99.99,"at":"2026-01-02 09:30:00","tags":null,"ship":{"city":"Bari","zip":null}}
{"id":4,"customer":null,"sku":"C","units":5,"price":0.01,"at":"2026-01-03 00:00:00","tags":["x"],"ship":{"city":"Oslo","zip":3}}
"#;

const PIPELINE: &str = "
CREATE TABLE order_lines (
  id INT NOT NULL, customer STRING, sku STRING, units BIGINT, price DECIMAL(10, 2), `at` TIMESTAMP(3), tags ARRAY<STRING>, ship ROW<city STRING, zip INT>
) WITH ('connector' = 'filesystem', 'path' = '${PATH}', 'format' = 'json');
CREATE MATERIALIZED VIEW orders AS SELECT id, customer, sku, units, price, `at`, tags, ship FROM order_lines;
CREATE MATERIALIZED VIEW sales AS SELECT sku, COUNT(*) AS orders, SUM(units) AS units, SUM(units * price) AS revenue FROM order_lines GROUP BY sku;
CREATE MATERIALIZED VIEW per_customer AS SELECT customer, SUM(units) AS units FROM order_lines GROUP BY customer;
";

/// A running server. Everything ends when it is dropped.
pub struct Running {
    pub engine: Engine,
    pub server: Server,
    _dir: tempfile::TempDir,
}

impl Running {
    /// A server with limits that tests can reach.
    pub fn start() -> Self {
        Self::with(
            QueryLimits {
                query_bytes_max: 32 << 20,
                memory_bytes_max: 64 << 20,
                ..QueryLimits::default()
            },
            PgLimits::default(),
        )
    }

    /// A server with limits.
    pub fn with(query_limits: QueryLimits, pg_limits: PgLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders.jsonl");
        std::fs::File::create(&path)
            .unwrap()
            .write_all(ORDERS.as_bytes())
            .unwrap();
        let engine = Engine::new(Config {
            workers: 1,
            ..Config::default()
        });
        engine
            .run(&PIPELINE.replace("${PATH}", path.to_str().unwrap()))
            .unwrap();
        engine.wait_end().unwrap();
        let server = Server::start(
            &engine,
            &ServerConfig {
                query_limits,
                pg_limits,
                ..ServerConfig::default()
            },
        )
        .unwrap();
        Self {
            engine,
            server,
            _dir: dir,
        }
    }

    /// The Postgres port.
    pub fn pg(&self) -> SocketAddr {
        self.server.addresses().pg.unwrap()
    }

    /// A client.
    pub async fn client(&self) -> Client {
        let config = format!(
            "host={} port={} user=shop dbname=millstream",
            self.pg().ip(),
            self.pg().port()
        );
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

/// The rows of the simple protocol, with `|` between columns; NULL is `~`.
pub async fn simple(client: &Client, text: &str) -> Vec<String> {
    rows(client.simple_query(text).await.unwrap())
}

fn rows(messages: Vec<SimpleQueryMessage>) -> Vec<String> {
    let line = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|idx| row.get(idx).unwrap_or("~"))
                .collect::<Vec<_>>()
                .join("|"),
        ),
        _ => None,
    };
    messages.into_iter().filter_map(line).collect()
}

/// The SQLSTATE and the message of a failure.
pub fn refused<T: std::fmt::Debug>(result: Result<T, tokio_postgres::Error>) -> (String, String) {
    let error = result.unwrap_err();
    let found = error
        .as_db_error()
        .unwrap_or_else(|| panic!("not of the server: {error}"));
    (found.code().code().to_owned(), found.message().to_owned())
}

/// The SQLSTATE of a statement that fails.
pub async fn state(client: &Client, text: &str) -> String {
    refused(client.simple_query(text).await).0
}

/// Waits for something that is to become true.
pub async fn eventually(what: &str, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if is().await {
            return;
        }
        tokio::time::timeout(Duration::from_millis(25), std::future::pending::<()>())
            .await
            .unwrap_err();
    }
    panic!("{what}: not within ten seconds");
}
