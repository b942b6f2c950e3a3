//! The status in Prometheus's text format.

use millstream_engine::{
    CheckpointProgress, Progress, SinkProgress, Status, StepTimes, ViewStatus,
};
use std::fmt::Write;

use super::status::{Source, sources, time};

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
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.out, "{}{labels} {value}", self.name);
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// All metrics.
pub(crate) fn text(status: &Status, connections: usize) -> String {
    let mut out = String::new();
    let help = "Clients connected to the Postgres port.";
    Metric::new(&mut out, "millstream_pg_connections", "gauge", help)
        .value(&[], connections as f64);
    let Some(progress) = &status.progress else {
        return out;
    };
    let help = "The last finished step.";
    Metric::new(&mut out, "millstream_step", "counter", help).value(&[], progress.step.0 as f64);
    of_steps(&progress.step_times, &mut out);
    of_checkpoints(&progress.checkpoint, &mut out);
    of_sources(progress, &mut out);
    of_views(&status.views, &mut out);
    of_sinks(&progress.sinks, &mut out);
    of_records(progress, &mut out);
    out
}

fn of_steps(times: &StepTimes, out: &mut String) {
    const NAME: &str = "millstream_step_seconds";
    let help = "How long steps take; the quantiles are those of the last 1024.";
    let mut quantiles = Metric::new(out, NAME, "summary", help);
    quantiles.value(&[("quantile", "0.5")], times.p50.as_secs_f64());
    quantiles.value(&[("quantile", "0.99")], times.p99.as_secs_f64());
    let total = times.total.as_secs_f64();
    let _ = writeln!(out, "{NAME}_sum {total}\n{NAME}_count {}", times.steps);
}

fn of_checkpoints(checkpoint: &CheckpointProgress, out: &mut String) {
    let mut gauge = |name, help, value| Metric::new(out, name, "gauge", help).value(&[], value);
    let help = "The step of the last complete checkpoint.";
    gauge("millstream_checkpoint_step", help, checkpoint.step.0 as f64);
    let help = "The bytes that the last checkpoint wrote.";
    gauge("millstream_checkpoint_bytes", help, checkpoint.bytes as f64);
    let help = "How long naming the last checkpoint took.";
    let took = checkpoint.took.as_secs_f64();
    gauge("millstream_checkpoint_seconds", help, took);
    let help = "The longest time that steps waited for a checkpoint.";
    let pause = checkpoint.pause_max.as_secs_f64();
    gauge("millstream_checkpoint_pause_seconds_max", help, pause);
}

fn of_sources(progress: &Progress, out: &mut String) {
    let sources = sources(progress);
    let mut each = |name, kind, help, value: &dyn Fn(&Source) -> Option<f64>| {
        let mut metric = Metric::new(out, name, kind, help);
        for (table, source) in &sources {
            if let Some(value) = value(source) {
                metric.value(&[("table", table)], value);
            }
        }
    };
    each(
        "millstream_source_rows_total",
        "counter",
        "Rows taken from a table's source.",
        &|source| Some(source.rows as f64),
    );
    let help = "What the source holds beyond what was taken, in the connector's count.";
    each("millstream_source_lag", "gauge", help, &|source| {
        source.lag.map(|lag| lag as f64)
    });
    let help = "How long ago all that a source held had last been taken.";
    each(
        "millstream_source_behind_seconds",
        "gauge",
        help,
        &|source| source.behind_ms.map(|ms| ms as f64 / 1e3),
    );
    let help = "How far event time has come in a source.";
    each(
        "millstream_source_watermark_seconds",
        "gauge",
        help,
        &|source| source.watermark.map(|ms| ms as f64 / 1e3),
    );
    let help = "1 while a source waits for the outside.";
    each("millstream_source_retrying", "gauge", help, &|source| {
        Some(flag(source.retrying.is_some()))
    });
}

fn of_views(views: &[ViewStatus], out: &mut String) {
    let mut each = |name, kind, help, value: &dyn Fn(&ViewStatus) -> Option<f64>| {
        let mut metric = Metric::new(out, name, kind, help);
        for view in views {
            if let Some(value) = value(view) {
                metric.value(&[("view", &view.name)], value);
            }
        }
    };
    each(
        "millstream_view_rows",
        "gauge",
        "Rows of a materialized view.",
        &|view| view.rows.map(|rows| rows as f64),
    );
    each(
        "millstream_view_changes_total",
        "counter",
        "Changes that a view has taken.",
        &|view| Some(view.changes as f64),
    );
    each(
        "millstream_view_failed",
        "gauge",
        "1 when a view is no longer maintained.",
        &|view| Some(flag(view.failure.is_some())),
    );
    let help = "How long ago a view last showed all that its sources held.";
    each("millstream_view_behind_seconds", "gauge", help, &|view| {
        view.behind_ms.map(|ms| ms as f64 / 1e3)
    });
    let help = "How far event time has come in a view.";
    each(
        "millstream_view_watermark_seconds",
        "gauge",
        help,
        &|view| time(view.watermark).map(|ms| ms as f64 / 1e3),
    );
}

fn of_sinks(sinks: &[SinkProgress], out: &mut String) {
    let mut each = |name, kind, help, value: &dyn Fn(&SinkProgress) -> f64| {
        let mut metric = Metric::new(out, name, kind, help);
        sinks
            .iter()
            .for_each(|sink| metric.value(&[("table", &sink.table)], value(sink)));
    };
    each(
        "millstream_sink_rows_total",
        "counter",
        "Rows written to a table's sink.",
        &|sink| sink.rows as f64,
    );
    each(
        "millstream_sink_queued_rows",
        "gauge",
        "Rows that wait for a sink.",
        &|sink| sink.queued_rows as f64,
    );
}

fn of_records(progress: &Progress, out: &mut String) {
    let help = "Records that could not become rows.";
    let mut metric = Metric::new(out, "millstream_bad_records_total", "counter", help);
    for bad in &progress.bad {
        metric.value(
            &[("table", &bad.table), ("reason", &bad.reason)],
            bad.records as f64,
        );
    }
    let help = "Rows that came too late for an operator.";
    let mut metric = Metric::new(out, "millstream_late_rows_total", "counter", help);
    for node in progress.nodes.iter().filter(|node| node.late_rows > 0) {
        metric.value(
            &[("node", &node.id.0.to_string()), ("operator", &node.name)],
            node.late_rows as f64,
        );
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        Metric::new(&mut out, "m", "gauge", "It.").value(&[("a", "x\"y\\z\n")], 1.5);
        assert_eq!(
            out,
            "# HELP m It.\n# TYPE m gauge\nm{a=\"x\\\"y\\\\z\\n\"} 1.5\n"
        );
    }
}
