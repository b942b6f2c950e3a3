//! `datagen`: rows made up by Flink's rules, for demos and tests.
//!
//! A value is a pure function of the seed, its column and its row's number, so the same offsets always give the same
//! rows, and only the columns that a query wants are made. The clock is seen only in columns of time types, unless
//! 'start-time' sets them: then row `i` has the time `start-time + i / rows-per-second`.
//!
//! | option | default | |
//! |---|---|---|
//! | `rows-per-second` | 10000 | of all partitions together |
//! | `number-of-rows` | no end | |
//! | `scan.parallelism` | 1 | partitions; row `i` is in partition `i mod n` |
//! | `fields.#.kind` | random | or `sequence` |
//! | `fields.#.min`, `.max` | the type's | random numbers |
//! | `fields.#.max-past` | 0 | random times: how far back |
//! | `fields.#.length` | 100 (3 for collections) | text, bytes and collections |
//! | `fields.#.var-len` | false | lengths from 1 to `length` |
//! | `fields.#.null-rate` | 0 | share of NULLs |
//! | `fields.#.start`, `.end` | | sequences; the table ends with the first that does |
//! | `seed`, `start-time` | 0, now | ours: what makes rows reproducible |
//!
//! A field of a ROW is named `fields.row.field`, the items of an ARRAY `fields.a.element`, those of a MAP
//! `fields.m.key` and `fields.m.value`.

mod values;

use crate::clock::{self, Pace};
use crate::{Capabilities, Connector, Reads, cannot_write, columns};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use millstream_dataflow::source::{Offset, Partition, Polled, Reader, RowOffsets, Source, State};
use millstream_dataflow::{Changes, Column, Delta, Error, Options, Result, Table};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use values::{Cells, Values};

pub(crate) const CONNECTOR: Connector = Connector {
    name: "datagen",
    check,
    source,
    sink: |table, _| Err(cannot_write(table)),
};

/// Rows are made at most so many at a time.
const CHUNK: usize = 8192;

fn check(table: &Table, options: Options) -> Result<Capabilities> {
    let settings = Settings::new(table, options)?;
    Ok(Capabilities {
        source: Some(Reads {
            changes: Changes::AppendOnly,
            bounded: settings.rows.is_some(),
            skips_bad: false,
        }),
        ..Capabilities::default()
    })
}

fn source(table: &Table, options: Options, wanted: &[Column]) -> Result<Arc<dyn Source>> {
    let settings = Arc::new(Settings::new(table, options)?);
    let paths = wanted
        .iter()
        .map(|column| columns::field_path(column).map(<[String]>::to_vec))
        .collect::<Result<_>>()?;
    Ok(Arc::new(Datagen {
        settings,
        paths,
        schema: columns::schema(wanted),
    }))
}

/// The settled options.
#[derive(Debug)]
struct Settings {
    columns: Vec<(String, Values)>,
    rows: Option<u64>,
    per_second: u64,
    parts: u64,
    seed: u64,
    start_ms: Option<i64>,
}

impl Settings {
    fn new(table: &Table, mut options: Options) -> Result<Self> {
        let number: Option<u64> = options.parse("number-of-rows")?;
        let per_second = options.parse("rows-per-second")?.unwrap_or(10_000);
        let parts = options.parse("scan.parallelism")?.unwrap_or(1);
        let seed = options.parse("seed")?.unwrap_or(0);
        let start_ms = options.parse("start-time")?;
        if per_second == 0 || parts == 0 {
            return Err(Error::user(format!(
                "table `{}`: 'rows-per-second' and 'scan.parallelism' must be at least 1",
                table.name
            )));
        }
        let columns = table
            .columns
            .iter()
            .filter(|column| column.metadata.is_none())
            .map(|column| {
                let name = column.field.name();
                let values = Values::new(
                    &mut options,
                    &format!("fields.{name}"),
                    column.field.data_type(),
                )?;
                Ok((name.clone(), values))
            })
            .collect::<Result<Vec<_>>>()?;
        options.finish()?;
        let ends = columns.iter().filter_map(|(_, values)| values.end());
        Ok(Self {
            rows: ends.chain(number).min(),
            columns,
            per_second,
            parts,
            seed,
            start_ms,
        })
    }

    /// How many rows a partition has, if it ends.
    fn length(&self, part: u64) -> Option<u64> {
        self.rows
            .map(|rows| rows.saturating_sub(part).div_ceil(self.parts))
    }

    fn column(
        &self,
        path: &[String],
        wanted: &DataType,
        rows: &[u64],
        now_ms: i64,
    ) -> Result<ArrayRef> {
        let unknown = || Error::internal(format!("datagen has no column `{}`", path.join(".")));
        let (head, rest) = path.split_first().ok_or_else(unknown)?;
        let found = self.columns.iter().find(|(name, _)| name == head);
        let (_, values) = found.ok_or_else(unknown)?;
        let after = |row: &u64| (u128::from(*row) * 1000 / u128::from(self.per_second)) as i64;
        let time = |row: &u64| match self.start_ms {
            Some(start) => start.saturating_add(after(row)),
            None => now_ms,
        };
        let cells = Cells::new(self.seed, head, rows, rows.iter().map(time).collect());
        columns::to_type(values.make_at(&cells, rest)?, wanted)
    }
}

/// Made-up rows as a source.
#[derive(Debug)]
struct Datagen {
    settings: Arc<Settings>,
    paths: Vec<Vec<String>>,
    schema: SchemaRef,
}

impl fmt::Display for Datagen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "datagen of {} rows/s", self.settings.per_second)
    }
}

impl Source for Datagen {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }

    fn bounded(&self) -> bool {
        self.settings.rows.is_some()
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
        let unknown = || Error::internal(format!("datagen has no partition '{}'", partition.name));
        let part: u64 = partition.name.parse().map_err(|_| unknown())?;
        if part >= self.settings.parts {
            return Err(unknown());
        }
        let per_second = self.settings.per_second as f64 / self.settings.parts as f64;
        let until = partition.end.map(|end| end.0.max(0).cast_unsigned());
        Ok(Box::new(Generator {
            settings: Arc::clone(&self.settings),
            paths: self.paths.clone(),
            schema: Arc::clone(&self.schema),
            part,
            at: from.0.max(0).cast_unsigned(),
            end: until.into_iter().chain(self.settings.length(part)).min(),
            pace: Pace::new(per_second),
        }))
    }
}

/// Makes the rows of one partition.
struct Generator {
    settings: Arc<Settings>,
    paths: Vec<Vec<String>>,
    schema: SchemaRef,
    part: u64,
    at: u64,
    end: Option<u64>,
    pace: Pace,
}

impl Reader for Generator {
    fn poll(&mut self, rows_max: usize, wait: Duration) -> Result<Polled> {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.at));
        let rows_max = rows_max
            .min(CHUNK)
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = if rows_max > 0 {
            self.pace.take(rows_max, wait)
        } else {
            0
        };
        let rows: Vec<u64> = (self.at..self.at + count as u64)
            .map(|row| row * self.settings.parts + self.part)
            .collect();
        let now_ms = clock::wall_ms();
        let columns = self
            .paths
            .iter()
            .zip(self.schema.fields())
            .map(|(path, field)| self.settings.column(path, field.data_type(), &rows, now_ms))
            .collect::<Result<_>>()?;
        let batch = columns::batch(&self.schema, columns, count)?;
        let offsets = RowOffsets::Consecutive(Offset(self.at.cast_signed()));
        self.at += count as u64;
        let state = if self.end.is_some_and(|end| self.at >= end) {
            State::End
        } else if count == 0 {
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

#[cfg(test)]
mod tests;
