//! The formats of change data capture on JSON: `debezium-json`, `canal-json`, `maxwell-json` and `ogg-json`.
//!
//! Each is one [`Dialect`]: where an envelope keeps the row as it was and as it is, and what its operations are called.
//! An envelope is read as columns, like any JSON, into one lane for each wanted column *before* and one *after*; the
//! changes are then picked from both.

mod decoder;
mod dialect;
mod encoder;
#[cfg(test)]
mod tests;

pub(crate) use dialect::{Dialect, dialect};
pub(crate) use encoder::ChangelogEncoding;

use crate::DecodingFormat;
use crate::framing::{Framing, Input};
use crate::json::fields::Fields;
use crate::json::rows::Rows;
use crate::json::{Settings, schema_of};
use crate::lane::{Lane, Reading};
use crate::time::Style;
use arrow::datatypes::{DataType, SchemaRef};
use decoder::ChangelogDecoder;
use dialect::{Metadata, Shape};
use millstream_dataflow::format::Decoder;
use millstream_dataflow::{Changes, Column, Error, Options, Place, Result};
use regex::Regex;
use std::fmt;
use std::sync::Arc;

/// A changelog format of a source.
#[derive(Debug)]
pub(crate) struct Changelog {
    settings: Settings,
    schema: SchemaRef,
    layout: Layout,
    rows: Rows,
    filter: Option<Filter>,
}

/// Which lane holds what.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) dialect: &'static Dialect,
    /// The operation.
    pub(crate) op: usize,
    /// Where the rows are: objects (and then whether they are there), or lists of them.
    pub(crate) sides: Sides,
    /// For each wanted column its source.
    pub(crate) columns: Vec<Source>,
    /// How many columns each side has.
    pub(crate) width: usize,
}

/// The lanes of the rows before and after a change.
#[derive(Clone, Debug)]
pub(crate) enum Sides {
    /// The lanes that note whether there is a row.
    Objects { after: usize, before: usize },
    /// The lanes that hold lists of rows.
    Lists { after: usize, before: usize },
}

/// Where a wanted column comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// This column of either side.
    Row(usize),
    /// This lane of the envelope.
    Envelope(usize),
}

/// Which databases and tables an envelope may be of.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) database: Option<Regex>,
    pub(crate) table: Option<Regex>,
    /// Reads the names alone, before anything else of an envelope matters.
    pub(crate) rows: Rows,
}

/// Lanes, as they are added.
struct Plan {
    fields: Fields,
    lanes: Vec<Lane>,
    reading: Reading,
    root: Vec<String>,
}

impl Plan {
    fn new(reading: Reading, root: &[&str]) -> Self {
        Self {
            fields: Fields::new("", reading),
            lanes: Vec::new(),
            reading,
            root: root.iter().map(|key| (*key).to_owned()).collect(),
        }
    }

    fn path(&self, path: &[&str]) -> Vec<String> {
        let inner = path.iter().map(|key| (*key).to_owned());
        self.root.iter().cloned().chain(inner).collect()
    }

    fn add(&mut self, path: &[String], lane: Lane) -> usize {
        self.fields.add(path, self.lanes.len());
        self.lanes.push(lane);
        self.lanes.len() - 1
    }

    fn note(&mut self, path: &[String], null: bool) -> usize {
        self.fields.note(path, self.lanes.len(), null);
        self.lanes
            .push(Lane::present(&path.join("."), self.reading));
        self.lanes.len() - 1
    }

    /// Adds the wanted columns of a side, and for a partial one a note for each whether it is there.
    fn add_side(&mut self, prefix: &[String], columns: &[(&[String], Lane)], partial: bool) {
        for (path, lane) in columns {
            self.add(&[prefix, *path].concat(), lane.clone());
        }
        for (path, _) in columns.iter().filter(|_| partial) {
            self.note(&[prefix, &path[..1]].concat(), true);
        }
    }

    fn add_metadata(&mut self, known: &Metadata, lane: Lane, with_schema: bool) {
        match (known.outside, with_schema) {
            (false, _) => self.add(&self.path(known.path), lane),
            (true, true) => self.add(&[known.path[0].to_owned()], lane),
            // Without a schema in the envelope its column is NULL.
            (true, false) => {
                self.lanes.push(lane);
                self.lanes.len()
            }
        };
    }

    /// Adds a list of rows.
    fn add_list(&mut self, key: &str, columns: &[(&[String], Lane)], partial: bool) -> usize {
        let mut row = Plan::new(self.reading, &[]);
        row.add_side(&[], columns, partial);
        let row = Lane::row(key, row.fields, row.lanes, self.reading);
        self.add(&self.path(&[key]), Lane::list(key, row))
    }
}

impl Changelog {
    /// Takes the options and settles where each wanted column stands in an envelope.
    ///
    /// # Errors
    /// `User` for a bad option, an unknown metadata key or a type that JSON cannot hold.
    pub(crate) fn new(
        dialect: &'static Dialect,
        options: &mut Options,
        wanted: &[Column],
    ) -> Result<Self> {
        let settings = Settings::take(dialect.name, options)?;
        let reading = settings.reading();
        let with_schema = dialect.has_schema
            && options.flag(&format!("{}.schema-include", dialect.name), false)?;
        let filter = Filter::take(dialect, options, reading)?;
        let mut plan = Plan::new(reading, if with_schema { &["payload"] } else { &[] });
        let mut inside: Vec<(&[String], Lane)> = Vec::new();
        let mut metadata = Vec::new();
        let mut columns = Vec::with_capacity(wanted.len());
        for column in wanted {
            match &column.place {
                Place::Field(path) => {
                    columns.push(Source::Row(inside.len()));
                    inside.push((path, crate::json::lane(path, column, reading)?));
                }
                Place::Metadata(key) => {
                    columns.push(Source::Envelope(metadata.len()));
                    metadata.push(dialect.metadata(key, column)?);
                }
            }
        }
        let sides = match dialect.shape {
            Shape::Objects => {
                let (after, before) = (plan.path(&[dialect.after]), plan.path(&[dialect.before]));
                plan.add_side(&after, &inside, false);
                plan.add_side(&before, &inside, dialect.partial);
                Sides::Objects {
                    after: plan.note(&after, false),
                    before: plan.note(&before, false),
                }
            }
            Shape::Lists => Sides::Lists {
                after: plan.add_list(dialect.after, &inside, false),
                before: plan.add_list(dialect.before, &inside, dialect.partial),
            },
        };
        let op = Lane::new(dialect.op, &DataType::Utf8View, reading)?;
        let op = plan.add(&plan.path(&[dialect.op]), op);
        let first = plan.lanes.len();
        for (known, column) in metadata.into_iter().zip(wanted_metadata(wanted)) {
            plan.add_metadata(known, envelope_lane(known, column, reading)?, with_schema);
        }
        for column in &mut columns {
            if let Source::Envelope(lane) = column {
                *lane += first;
            }
        }
        Ok(Self {
            settings,
            schema: schema_of(wanted),
            layout: Layout {
                dialect,
                op,
                sides,
                columns,
                width: inside.len(),
            },
            rows: Rows::new(plan.fields, plan.lanes),
            filter,
        })
    }
}

fn wanted_metadata(wanted: &[Column]) -> impl Iterator<Item = &Column> {
    wanted
        .iter()
        .filter(|column| matches!(column.place, Place::Metadata(_)))
}

fn envelope_lane(known: &Metadata, column: &Column, reading: Reading) -> Result<Lane> {
    let reading = Reading {
        style: Style::Any,
        ..reading
    };
    let lane = Lane::new(known.key, column.field.data_type(), reading)?;
    Ok(match known.units_per_second {
        Some(units) => lane.counted_from_epoch(units),
        None => lane,
    })
}

impl Filter {
    fn take(dialect: &Dialect, options: &mut Options, reading: Reading) -> Result<Option<Self>> {
        if !dialect.filters {
            return Ok(None);
        }
        let mut pattern = |what: &str| {
            let name = format!("{}.{what}.include", dialect.name);
            let Some(text) = options.text(&name) else {
                return Ok(None);
            };
            let whole = Regex::new(&format!("^(?:{text})$"));
            whole.map(Some).map_err(|error| {
                options
                    .invalid(&name, &text, "a regular expression")
                    .detail(error.to_string())
            })
        };
        let (database, table) = (pattern("database")?, pattern("table")?);
        if database.is_none() && table.is_none() {
            return Ok(None);
        }
        let lenient = Reading {
            lenient: true,
            ..reading
        };
        let mut plan = Plan::new(lenient, &[]);
        for key in ["database", "table"] {
            let lane = Lane::new(key, &DataType::Utf8View, lenient)?;
            plan.add(&[key.to_owned()], lane);
        }
        Ok(Some(Self {
            database,
            table,
            rows: Rows::new(plan.fields, plan.lanes),
        }))
    }
}

impl DecodingFormat for Changelog {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn changes(&self) -> Changes {
        Changes::All
    }

    fn framing(&self) -> Framing {
        Framing::lines()
    }

    fn skips_bad(&self) -> bool {
        self.settings.ignore_parse_errors
    }

    fn open(&self, _input: &Input<'_>) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(ChangelogDecoder::new(
            Arc::clone(&self.schema),
            self.layout.clone(),
            self.rows.clone(),
            self.filter.clone(),
        )))
    }
}

impl fmt::Display for Changelog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.layout.dialect.name, self.settings)?;
        if let Some(filter) = &self.filter {
            let patterns = [("database", &filter.database), ("table", &filter.table)];
            for (name, pattern) in patterns {
                if let Some(pattern) = pattern {
                    write!(f, " {name}={pattern}")?;
                }
            }
        }
        Ok(())
    }
}

impl Dialect {
    fn metadata(&self, key: &str, column: &Column) -> Result<&'static Metadata> {
        self.metadata
            .iter()
            .find(|known| known.key == key)
            .ok_or_else(|| {
                let keys: Vec<_> = self.metadata.iter().map(|known| known.key).collect();
                Error::user(format!(
                    "column `{}`: the format '{}' has no metadata '{key}'",
                    column.field.name(),
                    self.name
                ))
                .hint(format!("it has: {}", keys.join(", ")))
            })
    }
}
