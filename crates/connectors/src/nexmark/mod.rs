//! `nexmark`: the events of the Nexmark benchmark in one table, as Flink's suite has them: `event_type` (0 person,
//! 1 auction, 2 bid) and one ROW column for each, of which one is not NULL.
//!
//! Events are a pure function of their number, so a partition is just a number: event `i` belongs to partition
//! `i mod parts`, and the offset in a partition counts its events. With 'preload' all events are made when the source
//! is opened and handed out from memory, so that a benchmark measures the engine and not the generator.
//!
//! | option | default | |
//! |---|---|---|
//! | `events` | no end | how many events there are in all partitions |
//! | `rate` | 10000 | events per second of event time |
//! | `first-event.time` | 1704067200000 | event time of the first event, in milliseconds since 1970 |
//! | `parts` | 1 | partitions |
//! | `seed` | 0 | another stretch of the benchmark's events |
//! | `next-event.rate` | as fast as read | events per second of wall-clock time |
//! | `preload` | false | make all events when opened |

mod events;

use crate::clock::Pace;
use crate::{Capabilities, Connector, Reads, cannot_write, columns};
use ::nexmark::EventGenerator;
use ::nexmark::config::NexmarkConfig;
use ::nexmark::event::Event;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::source::{Offset, Partition, Polled, Reader, RowOffsets, Source, State};
use millstream_dataflow::{Changes, Column, Delta, Error, Options, Result, Table};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "nexmark",
    check,
    source,
    sink: |table, _| Err(cannot_write(table)),
};

/// Events are made at most so many at a time.
const CHUNK: usize = 8192;

/// Events in one round of the benchmark's proportions (1 person, 3 auctions, 46 bids): a seed skips whole rounds.
const ROUND: u64 = 50;

/// Stretches of the benchmark's events are a million rounds apart.
const SEED_MAX: u64 = 1_000_000;

fn check(table: &Table, options: Options) -> Result<Capabilities> {
    let settings = Settings::new(options)?;
    for column in table.columns.iter().filter(|c| c.metadata.is_none()) {
        events::check(&table.name, &column.field)?;
    }
    Ok(Capabilities {
        source: Some(Reads {
            changes: Changes::AppendOnly,
            bounded: settings.events.is_some(),
            skips_bad: false,
        }),
        ..Capabilities::default()
    })
}

fn source(_: &Table, options: Options, wanted: &[Column]) -> Result<Arc<dyn Source>> {
    let settings = Settings::new(options)?;
    let paths = wanted
        .iter()
        .map(|column| columns::field_path(column).map(<[String]>::to_vec))
        .collect::<Result<_>>()?;
    let parts = settings.parts;
    Ok(Arc::new(Nexmark {
        settings,
        wanted: Arc::new(Wanted {
            paths,
            schema: columns::schema(wanted),
        }),
        preloaded: (0..parts).map(|_| OnceLock::new()).collect(),
    }))
}

/// The settled options.
#[derive(Clone, Debug)]
struct Settings {
    events: Option<u64>,
    rate: usize,
    parts: u64,
    seed: u64,
    pace: Option<f64>,
    first_ms: u64,
    preload: bool,
}

impl Settings {
    fn new(mut options: Options) -> Result<Self> {
        let settings = Self {
            events: options.parse("events")?,
            rate: options.parse("rate")?.unwrap_or(10_000),
            parts: options.parse("parts")?.unwrap_or(1),
            seed: options.parse("seed")?.unwrap_or(0),
            pace: options.parse("next-event.rate")?,
            first_ms: options
                .parse("first-event.time")?
                .unwrap_or(1_704_067_200_000),
            preload: options.flag("preload", false)?,
        };
        let refuse = |name: &str, wanted: &str| {
            Err(Error::user(format!(
                "table `{}`: option '{name}' must be {wanted}",
                options.owner()
            )))
        };
        if settings.rate == 0 || settings.parts == 0 {
            return refuse("rate' and 'parts", "at least 1");
        }
        if settings
            .pace
            .is_some_and(|pace| pace.is_nan() || pace <= 0.0)
        {
            return refuse("next-event.rate", "above 0");
        }
        if settings.seed > SEED_MAX {
            return refuse("seed", &format!("at most {SEED_MAX}"));
        }
        if settings.preload && settings.events.is_none() {
            return refuse("events", "given with 'preload', which has to end");
        }
        options.finish()?;
        Ok(settings)
    }

    /// How many events a partition has, if it ends.
    fn length(&self, part: u64) -> Option<u64> {
        self.events
            .map(|events| events.saturating_sub(part).div_ceil(self.parts))
    }

    fn generator(&self, part: u64, from: u64) -> EventGenerator {
        let mut config = NexmarkConfig {
            base_time: self.first_ms,
            first_rate: self.rate,
            next_rate: self.rate,
            first_event_id: usize::try_from(self.seed * ROUND * 1_000_000).unwrap_or(0),
            ..NexmarkConfig::default()
        };
        // The suite's queries ask for 'OR', 'ID', 'CA'.
        for state in &mut config.us_states {
            *state = state.to_uppercase();
        }
        EventGenerator::new(config)
            .with_offset(part + from * self.parts)
            .with_step(self.parts)
    }
}

/// The columns that are made of events.
#[derive(Debug)]
struct Wanted {
    paths: Vec<Vec<String>>,
    schema: SchemaRef,
}

impl Wanted {
    fn batch(&self, events: &[Event]) -> Result<RecordBatch> {
        let columns = self
            .paths
            .iter()
            .zip(self.schema.fields())
            .map(|(path, field)| events::column(events, path, field.data_type()))
            .collect::<Result<_>>()?;
        columns::batch(&self.schema, columns, events.len())
    }
}

/// The events as a source.
#[derive(Debug)]
struct Nexmark {
    settings: Settings,
    wanted: Arc<Wanted>,
    preloaded: Vec<OnceLock<Result<Arc<[RecordBatch]>>>>,
}

impl fmt::Display for Nexmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nexmark")?;
        match self.settings.events {
            Some(events) => write!(f, " of {events} events"),
            None => Ok(()),
        }
    }
}

impl Nexmark {
    /// All batches of a partition, made once.
    fn preloaded(&self, part: u64) -> Result<Arc<[RecordBatch]>> {
        let make = || {
            let length = self.settings.length(part).unwrap_or(0);
            let mut generator = self.settings.generator(part, 0);
            let mut left = length as usize;
            let mut batches = Vec::with_capacity(left.div_ceil(CHUNK));
            while left > 0 {
                let events: Vec<Event> = generator.by_ref().take(left.min(CHUNK)).collect();
                left -= events.len();
                batches.push(self.wanted.batch(&events)?);
            }
            Ok(batches.into())
        };
        self.preloaded[part as usize].get_or_init(make).clone()
    }
}

impl Source for Nexmark {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.wanted.schema)
    }

    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }

    fn bounded(&self) -> bool {
        self.settings.events.is_some()
    }

    fn partitions(&self) -> Result<Vec<Partition>> {
        let partition = |part: u64| Partition {
            name: part.to_string(),
            start: Offset(0),
            end: self
                .settings
                .length(part)
                .map(|length| Offset(length.cast_signed())),
        };
        Ok((0..self.settings.parts).map(partition).collect())
    }

    fn open(&self, partition: &Partition, from: Offset) -> Result<Box<dyn Reader>> {
        let unknown = || Error::internal(format!("nexmark has no partition '{}'", partition.name));
        let part: u64 = partition.name.parse().map_err(|_| unknown())?;
        if part >= self.settings.parts {
            return Err(unknown());
        }
        let at = from.0.max(0).cast_unsigned();
        let until = partition.end.map(|end| end.0.max(0).cast_unsigned());
        let events = if self.settings.preload {
            Events::Made(self.preloaded(part)?)
        } else {
            Events::Generated(Box::new(self.settings.generator(part, at)))
        };
        let parts = self.settings.parts as f64;
        Ok(Box::new(Generator {
            wanted: Arc::clone(&self.wanted),
            events,
            at,
            end: until.into_iter().chain(self.settings.length(part)).min(),
            pace: self.settings.pace.map(|pace| Pace::new(pace / parts)),
        }))
    }
}

/// Where a reader has its events from.
enum Events {
    Generated(Box<EventGenerator>),
    Made(Arc<[RecordBatch]>),
}

/// Reads one partition.
struct Generator {
    wanted: Arc<Wanted>,
    events: Events,
    at: u64,
    end: Option<u64>,
    pace: Option<Pace>,
}

impl Reader for Generator {
    fn poll(&mut self, rows_max: usize, wait: Duration) -> Result<Polled> {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.at));
        let mut rows = rows_max
            .min(CHUNK)
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        if let (Some(pace), true) = (&mut self.pace, rows > 0) {
            rows = pace.take(rows, wait);
        }
        let batch = match &mut self.events {
            Events::Generated(generator) => {
                let events: Vec<Event> = generator.by_ref().take(rows).collect();
                self.wanted.batch(&events)?
            }
            Events::Made(batches) => made(batches, self.at, rows)
                .unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.wanted.schema))),
        };
        let offsets = RowOffsets::Consecutive(Offset(self.at.cast_signed()));
        self.at += batch.num_rows() as u64;
        let state = if self.end.is_some_and(|end| self.at >= end) {
            State::End
        } else if batch.num_rows() == 0 {
            State::CaughtUp
        } else {
            State::More
        };
        Ok(Polled {
            delta: Delta::inserts(batch),
            offsets,
            bad: Vec::new(),
            position: Offset(self.at.cast_signed()),
            state,
        })
    }

    fn end(&mut self) -> Option<Offset> {
        self.end.map(|end| Offset(end.cast_signed()))
    }
}

/// The rows from `at` on that stand in one batch: at most `rows`, without a copy.
fn made(batches: &[RecordBatch], at: u64, rows: usize) -> Option<RecordBatch> {
    let at = at as usize;
    let batch = batches.get(at / CHUNK)?;
    let from = at % CHUNK;
    Some(batch.slice(from, rows.min(batch.num_rows() - from)))
}

#[cfg(test)]
mod tests;
