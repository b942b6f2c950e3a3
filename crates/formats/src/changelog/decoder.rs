//! Envelopes to deltas.

use super::dialect::Dialect;
use super::{Filter, Layout, Sides, Source};
use crate::json::rows::{Rows, Taken};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, RecordBatch, RecordBatchOptions,
    StringViewArray, StructArray,
};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::format::{Decoded, Decoder, Records};
use millstream_dataflow::{Delta, Result};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

const AFTER: usize = 0;
const BEFORE: usize = 1;

/// Decodes the records of one reader.
pub(crate) struct ChangelogDecoder {
    schema: SchemaRef,
    layout: Layout,
    rows: Rows,
    filter: Option<Filter>,
}

/// A row of the outcome.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// The envelope, by its row.
    envelope: usize,
    side: Side,
    weight: i64,
}

/// Where the row of a change stands.
#[derive(Clone, Copy, Debug)]
enum Side {
    After(usize),
    Before(usize),
    /// Columns that the row before lacks are those of the row after.
    Partial {
        before: usize,
        after: usize,
    },
}

/// The rows that envelopes hold.
struct Held {
    after: Vec<ArrayRef>,
    before: Vec<ArrayRef>,
    /// For each column whether the row before has it, if those are partial.
    changed: Vec<BooleanArray>,
    spans: Spans,
}

/// Which rows belong to which envelope.
enum Spans {
    Objects {
        after: BooleanArray,
        before: BooleanArray,
    },
    Lists {
        after: ListArray,
        before: ListArray,
    },
}

impl Spans {
    fn after(&self, envelope: usize) -> Range<usize> {
        match self {
            Self::Objects { after, .. } => object(after, envelope),
            Self::Lists { after, .. } => list(after, envelope),
        }
    }

    fn before(&self, envelope: usize) -> Range<usize> {
        match self {
            Self::Objects { before, .. } => object(before, envelope),
            Self::Lists { before, .. } => list(before, envelope),
        }
    }
}

fn object(there: &BooleanArray, envelope: usize) -> Range<usize> {
    envelope..envelope + usize::from(there.value(envelope))
}

fn list(lists: &ListArray, envelope: usize) -> Range<usize> {
    let offsets = lists.value_offsets();
    offsets[envelope] as usize..offsets[envelope + 1] as usize
}

impl Held {
    fn of(layout: &Layout, columns: &[ArrayRef]) -> Self {
        let width = layout.width;
        let notes = |columns: &[ArrayRef]| -> Vec<BooleanArray> {
            let notes = columns.get(width..).unwrap_or_default();
            notes.iter().map(|note| note.as_boolean().clone()).collect()
        };
        match layout.sides {
            Sides::Objects { after, before } => Self {
                after: columns[..width].to_vec(),
                before: columns[width..2 * width].to_vec(),
                changed: notes(&columns[width..after]),
                spans: Spans::Objects {
                    after: columns[after].as_boolean().clone(),
                    before: columns[before].as_boolean().clone(),
                },
            },
            Sides::Lists { after, before } => {
                let (after, before) = (columns[after].as_list(), columns[before].as_list());
                let rows =
                    |lists: &ListArray| -> StructArray { lists.values().as_struct().clone() };
                let (after_rows, before_rows) = (rows(after), rows(before));
                Self {
                    after: after_rows.columns()[..width].to_vec(),
                    before: before_rows.columns()[..width].to_vec(),
                    changed: notes(before_rows.columns()),
                    spans: Spans::Lists {
                        after: after.clone(),
                        before: before.clone(),
                    },
                }
            }
        }
    }

    fn has_null_item(&self, rows: &Range<usize>) -> bool {
        match &self.spans {
            Spans::Objects { .. } => false,
            Spans::Lists { after, .. } => rows.clone().any(|row| after.values().is_null(row)),
        }
    }

    /// The changes of an envelope.
    fn changes(
        &self,
        dialect: &Dialect,
        op: Option<&str>,
        envelope: usize,
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let Some(op) = op else {
            return Err(format!("`{}` is missing", dialect.op));
        };
        let (after, before) = (self.spans.after(envelope), self.spans.before(envelope));
        let mut push = |side: Side, weight: i64| {
            changes.push(Change {
                envelope,
                side,
                weight,
            });
        };
        let there = |rows: &Range<usize>, field: &str| {
            if rows.is_empty() || self.has_null_item(rows) {
                Err(format!("`{field}` is missing in an operation '{op}'"))
            } else {
                Ok(())
            }
        };
        if dialect.insert.contains(&op) {
            there(&after, dialect.after)?;
            after.for_each(|row| push(Side::After(row), 1));
        } else if op == dialect.update {
            there(&after, dialect.after)?;
            if before.len() != after.len() {
                return Err(format!(
                    "`{}` is missing in an update (a Postgres table needs REPLICA IDENTITY FULL)",
                    dialect.before
                ));
            }
            for (before, after) in before.zip(after) {
                let old = match dialect.partial {
                    true => Side::Partial { before, after },
                    false => Side::Before(before),
                };
                push(old, -1);
                push(Side::After(after), 1);
            }
        } else if op == dialect.delete {
            if dialect.partial {
                there(&after, dialect.after)?;
                after.for_each(|row| push(Side::After(row), -1));
            } else {
                if before.is_empty() {
                    return Err(format!(
                        "`{}` is missing in a delete (a Postgres table needs REPLICA IDENTITY FULL)",
                        dialect.before
                    ));
                }
                before.for_each(|row| push(Side::Before(row), -1));
            }
        } else if !dialect.ignored.contains(&op) {
            return Err(format!("`{}` is '{op}', which is no operation", dialect.op));
        }
        Ok(())
    }

    /// A column of the outcome.
    fn column(&self, column: usize, changes: &[Change]) -> Result<ArrayRef> {
        let places: Vec<(usize, usize)> = changes
            .iter()
            .map(|change| match change.side {
                Side::After(row) => (AFTER, row),
                Side::Before(row) => (BEFORE, row),
                Side::Partial { before, after } => {
                    let changed = self.changed.get(column);
                    if changed.is_some_and(|changed| changed.value(before)) {
                        (BEFORE, before)
                    } else {
                        (AFTER, after)
                    }
                }
            })
            .collect();
        let (after, before) = (&self.after[column], &self.before[column]);
        let in_place = places.len() == after.len()
            && places
                .iter()
                .enumerate()
                .all(|(at, place)| *place == (AFTER, at));
        if in_place {
            return Ok(Arc::clone(after));
        }
        Ok(compute::interleave(&[after, before], &places)?)
    }
}

impl ChangelogDecoder {
    pub(crate) fn new(
        schema: SchemaRef,
        layout: Layout,
        rows: Rows,
        filter: Option<Filter>,
    ) -> Self {
        Self {
            schema,
            layout,
            rows,
            filter,
        }
    }

    fn batch(&self, held: &Held, taken: &Taken, changes: &[Change]) -> Result<RecordBatch> {
        let envelopes: Vec<(usize, usize)> =
            changes.iter().map(|change| (0, change.envelope)).collect();
        let columns = self
            .layout
            .columns
            .iter()
            .map(|source| match source {
                Source::Row(column) => held.column(*column, changes),
                Source::Envelope(lane) => {
                    Ok(compute::interleave(&[&taken.columns[*lane]], &envelopes)?)
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(changes.len()));
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}

impl Decoder for ChangelogDecoder {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let excluded = match &mut self.filter {
            Some(filter) => filter.excluded(records)?,
            None => BTreeSet::new(),
        };
        let mut taken = self.rows.read(records)?;
        let mut bad = std::mem::take(&mut taken.bad);
        let held = Held::of(&self.layout, &taken.columns);
        let ops: &StringViewArray = taken.columns[self.layout.op].as_string_view();
        let mut changes = Vec::with_capacity(taken.rows);
        for envelope in 0..taken.rows {
            let record = taken.record(envelope);
            if excluded.contains(&record) {
                continue;
            }
            let op = ops.is_valid(envelope).then(|| ops.value(envelope));
            if let Err(why) = held.changes(self.layout.dialect, op, envelope, &mut changes) {
                bad.push((record, why));
            }
        }
        bad.retain(|(record, _)| !excluded.contains(record));
        bad.sort_by_key(|(record, _)| *record);
        let weights: Int64Array = changes
            .iter()
            .map(|change| change.weight)
            .collect::<Vec<_>>()
            .into();
        let batch = self.batch(&held, &taken, &changes)?;
        let origin = changes
            .iter()
            .map(|change| taken.record(change.envelope))
            .collect();
        Ok(Decoded {
            delta: Delta::new(batch, weights)?,
            origin: Some(origin),
            bad,
        })
    }
}

impl Filter {
    /// The records that are of other databases or tables.
    fn excluded(&mut self, records: &Records) -> Result<BTreeSet<u32>> {
        let taken = self.rows.read(records)?;
        let (databases, tables) = (
            taken.columns[0].as_string_view(),
            taken.columns[1].as_string_view(),
        );
        let fits =
            |pattern: &Option<regex::Regex>, names: &StringViewArray, row: usize| match pattern {
                None => true,
                Some(pattern) => names.is_valid(row) && pattern.is_match(names.value(row)),
            };
        Ok((0..taken.rows)
            .filter(|row| {
                !fits(&self.database, databases, *row) || !fits(&self.table, tables, *row)
            })
            .map(|row| taken.record(row))
            .collect())
    }
}
