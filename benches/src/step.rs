//! `step`: what a step of one row costs, from a source over five operators into a materialized view.

use crate::memory::measure;
use crate::{Result, say};
use millstream_engine::{Config, Engine};

/// Filter, project, aggregate, filter on its result, project; then the view.
const PIPELINE: &str = "
CREATE TABLE events (
  event_type INT,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT>
) WITH ('connector' = 'nexmark', 'events' = '${EVENTS}', 'preload' = 'true');
CREATE MATERIALIZED VIEW spent AS
  SELECT bidder, bids, total / bids AS mean
  FROM (
    SELECT bidder, COUNT(*) AS bids, SUM(euros) AS total
    FROM (SELECT bid.bidder AS bidder, bid.price * 100 / 108 AS euros FROM events WHERE event_type = 2 OR bid.price > 100)
    GROUP BY bidder
  )
  WHERE total > 1000;
";

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Step {
    /// Rows, each a step of its own
    #[arg(long, default_value_t = 200_000)]
    rows: u64,
    /// Threads that run steps
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

impl Step {
    pub(crate) fn run(&self) -> Result<()> {
        let text = PIPELINE.replace("${EVENTS}", &self.rows.to_string());
        let config = Config {
            workers: self.workers,
            step_rows_max: Some(1),
            ..Config::default()
        };
        let measured = measure(&Engine::new(config), &text, "step")?;
        say(&measured.to_string())
    }
}
