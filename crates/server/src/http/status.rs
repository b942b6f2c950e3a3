//! The status as JSON.

use millstream_dataflow::Watermark;
use millstream_engine::{Progress, Status};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A source: its partitions together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Source {
    pub rows: u64,
    pub partitions: u64,
    /// Behind the end of its partitions, in the connector's count; `None` when no partition knows.
    pub lag: Option<u64>,
    /// How long ago all that was there had last been taken, in milliseconds; `None`: never.
    pub behind_ms: Option<u64>,
    pub queued_rows: u64,
    /// The smallest of the partitions that are not idle.
    pub watermark: Option<i64>,
    pub ended: bool,
    pub retrying: Option<String>,
}

/// The sources by table. A table that several queries read is several nodes only where they read it apart.
pub(crate) fn sources(progress: &Progress) -> BTreeMap<String, Source> {
    let mut sources: BTreeMap<String, Source> = BTreeMap::new();
    for partition in &progress.partitions {
        let source = sources
            .entry(partition.table.clone())
            .or_insert_with(|| Source {
                ended: true,
                behind_ms: Some(0),
                ..Source::default()
            });
        source.rows += partition.rows;
        source.partitions += 1;
        source.queued_rows += partition.queued_rows as u64;
        source.lag = match (source.lag, partition.lag) {
            (Some(sum), Some(lag)) => Some(sum + lag),
            (sum, lag) => sum.or(lag),
        };
        source.behind_ms = source
            .behind_ms
            .zip(partition.behind_ms)
            .map(|(a, b)| a.max(b));
        if !partition.idle {
            source.watermark = match (source.watermark, time(partition.watermark)) {
                (Some(least), Some(time)) => Some(least.min(time)),
                (least, time) => least.or(time),
            };
        }
        source.ended &= partition.ended;
        source.retrying = source
            .retrying
            .take()
            .or_else(|| partition.retrying.clone());
    }
    sources
}

/// A watermark in milliseconds, if it is a time.
pub(crate) fn time(watermark: Watermark) -> Option<i64> {
    (watermark != Watermark::MIN && watermark != Watermark::MAX).then_some(watermark.0)
}

/// Why parts of the job have stopped, each said once.
pub(crate) fn failures(status: &Status) -> Vec<String> {
    let nodes = status.progress.iter().flat_map(|progress| &progress.nodes);
    let mut failures: Vec<String> = nodes
        .filter_map(|node| node.failure.as_ref())
        .map(ToString::to_string)
        .collect();
    failures.sort();
    failures.dedup();
    failures
}

/// All of it.
pub(crate) fn json(status: &Status, connections: usize) -> Value {
    let Some(progress) = &status.progress else {
        return json!({ "running": false, "connections": connections, "sources": [], "views": [], "sinks": [], "bad_records": [], "errors": [] });
    };
    let sources: Vec<Value> = sources(progress)
        .into_iter()
        .map(|(table, source)| {
            json!({
                "table": table, "rows": source.rows, "partitions": source.partitions, "lag": source.lag, "behind_ms": source.behind_ms, "queued_rows": source.queued_rows,
                "watermark_ms": source.watermark, "ended": source.ended, "retrying": source.retrying,
            })
        })
        .collect();
    let views: Vec<Value> = status
        .views
        .iter()
        .map(|view| {
            json!({
                "name": view.name, "rows": view.rows, "changes": view.changes, "watermark_ms": time(view.watermark),
                "behind_ms": view.behind_ms, "catching_up": view.catching_up, "failure": view.failure,
            })
        })
        .collect();
    let sinks: Vec<Value> = progress
        .sinks
        .iter()
        .map(|sink| {
            json!({
                "table": sink.table, "rows": sink.rows, "queued_rows": sink.queued_rows, "queued_steps": sink.queued_steps,
                "committed_step": sink.committed.0, "retrying": sink.retrying,
            })
        })
        .collect();
    let bad: Vec<Value> = progress
        .bad
        .iter()
        .map(|bad| json!({ "table": bad.table, "reason": bad.reason, "records": bad.records }))
        .collect();
    let (times, ms) = (&progress.step_times, |took: Duration| {
        took.as_secs_f64() * 1e3
    });
    let late: u64 = progress.nodes.iter().map(|node| node.late_rows).sum();
    json!({
        "running": true, "step": progress.step.0, "rows": progress.rows, "rows_per_second": progress.rows_per_second,
        "step_ms": { "p50": ms(times.p50), "p99": ms(times.p99) }, "ended": progress.ended,
        "late_rows": late, "connections": connections, "sources": sources, "views": views, "sinks": sinks, "bad_records": bad,
        "errors": failures(status),
    })
}
