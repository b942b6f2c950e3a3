//! The status in Prometheus's text format.

use millstream_engine::Status;
use std::fmt::Write;

use super::status::{sources, time};

/// One metric: its name, what it is, and a line for each value.
struct Metric<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl<'a> Metric<'a> {
    fn new(out: &'a mut String, name: &'static str, kind: &str, help: &str) -> Self {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Self { out, name }
    }

    fn value(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.out, "{}{labels} {value}", self.name);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// All metrics.
pub(crate) fn text(status: &Status, connections: usize) -> String {
    let mut out = String::new();
    Metric::new(&mut out, "millstream_pg_connections", "gauge", "Clients connected to the Postgres port.").value(&[], connections as f64);
    let Some(progress) = &status.progress else { return out };
    Metric::new(&mut out, "millstream_step", "counter", "The last finished step.").value(&[], progress.step.0 as f64);
    let sources = sources(progress);
    let mut metric = Metric::new(&mut out, "millstream_source_rows_total", "counter", "Rows taken from a table's source.");
    sources.iter().for_each(|(table, source)| metric.value(&[("table", table)], source.rows as f64));
    let mut metric = Metric::new(&mut out, "millstream_source_lag", "gauge", "What the source holds beyond what was taken, in the connector's count.");
    sources.iter().filter_map(|(table, source)| Some((table, source.lag?))).for_each(|(table, lag)| metric.value(&[("table", table)], lag as f64));
    let mut metric = Metric::new(&mut out, "millstream_source_watermark_seconds", "gauge", "How far event time has come in a source.");
    sources.iter().filter_map(|(table, source)| Some((table, source.watermark?))).for_each(|(table, ms)| metric.value(&[("table", table)], ms as f64 / 1e3));
    let mut metric = Metric::new(&mut out, "millstream_source_retrying", "gauge", "1 while a source waits for the outside.");
    sources.iter().for_each(|(table, source)| metric.value(&[("table", table)], f64::from(u8::from(source.retrying.is_some()))));
    views(status, &mut out);
    let mut metric = Metric::new(&mut out, "millstream_sink_rows_total", "counter", "Rows written to a table's sink.");
    progress.sinks.iter().for_each(|sink| metric.value(&[("table", &sink.table)], sink.rows as f64));
    let mut metric = Metric::new(&mut out, "millstream_sink_queued_rows", "gauge", "Rows that wait for a sink.");
    progress.sinks.iter().for_each(|sink| metric.value(&[("table", &sink.table)], sink.queued_rows as f64));
    let mut metric = Metric::new(&mut out, "millstream_bad_records_total", "counter", "Records that could not become rows.");
    progress.bad.iter().for_each(|bad| metric.value(&[("table", &bad.table), ("reason", &bad.reason)], bad.records as f64));
    let mut metric = Metric::new(&mut out, "millstream_late_rows_total", "counter", "Rows that came too late for an operator.");
    let late = progress.nodes.iter().filter(|node| node.late_rows > 0);
    late.for_each(|node| metric.value(&[("node", &node.id.0.to_string()), ("operator", &node.name)], node.late_rows as f64));
    out
}

fn views(status: &Status, out: &mut String) {
    let mut metric = Metric::new(out, "millstream_view_rows", "gauge", "Rows of a materialized view.");
    status.views.iter().filter_map(|view| Some((view, view.rows?))).for_each(|(view, rows)| metric.value(&[("view", &view.name)], rows as f64));
    let mut metric = Metric::new(out, "millstream_view_changes_total", "counter", "Changes that a view has taken.");
    status.views.iter().for_each(|view| metric.value(&[("view", &view.name)], view.changes as f64));
    let mut metric = Metric::new(out, "millstream_view_failed", "gauge", "1 when a view is no longer maintained.");
    status.views.iter().for_each(|view| metric.value(&[("view", &view.name)], f64::from(u8::from(view.failure.is_some()))));
    let mut metric = Metric::new(out, "millstream_view_watermark_seconds", "gauge", "How far event time has come in a view.");
    status.views.iter().filter_map(|view| Some((view, time(view.watermark)?))).for_each(|(view, ms)| metric.value(&[("view", &view.name)], ms as f64 / 1e3));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        Metric::new(&mut out, "m", "gauge", "It.").value(&[("a", "x\"y\\z\n")], 1.5);
        assert_eq!(out, "# HELP m It.\n# TYPE m gauge\nm{a=\"x\\\"y\\\\z\\n\"} 1.5\n");
    }
}
