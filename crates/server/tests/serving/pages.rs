//! The status page and what programs read of it.

use crate::support::Running;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn get(running: &Running, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(running.server.addresses().http.unwrap())
        .await
        .unwrap();
    stream
        .write_all(
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_the_outside_world() {
    let running = Running::start();
    let (code, page) = get(&running, "/").await;
    assert_eq!(code, 200);
    assert!(
        page.contains("status.json") && !page.contains("http://") && !page.contains("https://")
    );
    assert_eq!(get(&running, "/nosuch").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_counts_what_happened() {
    let running = Running::start();
    let (_, body) = get(&running, "/status.json").await;
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    let view = |name: &str| {
        status["views"]
            .as_array()
            .unwrap()
            .iter()
            .find(|view| view["name"] == name)
            .cloned()
            .unwrap()
    };
    assert_eq!(
        (
            view("sales")["rows"].as_u64(),
            view("orders")["rows"].as_u64()
        ),
        (Some(3), Some(4))
    );
    assert_eq!(status["sources"][0]["table"], "order_lines");
    assert_eq!(status["sources"][0]["rows"], 4);
    assert_eq!(status["errors"].as_array().unwrap().len(), 0);
    assert_eq!(view("sales")["behind_ms"], 0);
    assert_eq!(status["sources"][0]["behind_ms"], 0);
    let (p50, p99) = (&status["step_ms"]["p50"], &status["step_ms"]["p99"]);
    assert!(p50.as_f64().unwrap() > 0.0 && p99.as_f64() >= p50.as_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health() {
    let running = Running::start();
    let (_, metrics) = get(&running, "/metrics").await;
    assert!(
        metrics.contains("millstream_view_rows{view=\"sales\"} 3\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("millstream_source_rows_total{table=\"order_lines\"} 4\n"),
        "{metrics}"
    );
    assert!(metrics.contains("millstream_view_behind_seconds{view=\"sales\"} 0\n"));
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix("millstream_step_seconds_count "));
    assert!(count.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");
    assert_eq!(get(&running, "/healthz").await, (200, "ok\n".to_owned()));
}
