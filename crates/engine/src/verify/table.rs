//! A table as a batch sees it: the rows that were read, upserts and changes already applied, with the columns that the
//! declaration says.

use arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, StructArray, UInt32Array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use millstream_dataflow::source::dead_letter_schema;
use millstream_dataflow::{Changes, Delta, Error, Result};
use millstream_planner::catalog::DeclaredTable;
use millstream_planner::{from_datafusion, logical};
use std::collections::HashMap;
use std::sync::Arc;

use super::history::History;
use super::read::{Part, Piece};

/// The column of the place of the step in which a row arrived.
pub(crate) const STEP: &str = "\u{1}step";

/// Rows of at least this many go on as they are; fewer are put together.
const BATCH_ROWS: usize = 8_192;

/// A table's rows.
#[derive(Debug)]
pub(crate) struct Table {
    /// The columns that queries want; the step's place is the last where it is known.
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    /// Whether nothing is ever retracted.
    pub(crate) append_only: bool,
    /// Whether the rows are in the order in which they arrived.
    pub(crate) ordered: bool,
    /// Whether steps are known.
    pub(crate) has_steps: bool,
    /// Why the rows may be others.
    pub(crate) doubt: Option<String>,
    /// The columns whose values only the job knows: PROCTIME() without its steps.
    pub(crate) unknown: Vec<usize>,
    /// The bad records, with the columns of a table of dead letters but `raw`.
    pub(crate) letters: RecordBatch,
}

/// Rows as they arrived.
struct Arrived {
    delta: Delta,
    /// The place of the step of all rows.
    step: Option<i64>,
    partition: usize,
}

impl Table {
    /// The table of what was read. `paths` are the columns, and fields inside, that a source of it gives.
    ///
    /// # Errors
    /// `Internal` when what was read does not fit.
    pub(crate) fn new(
        declared: &DeclaredTable,
        changes: &Changes,
        paths: &[Vec<String>],
        parts: &[Part],
        history: Option<&History>,
    ) -> Result<Self> {
        let letters = letters(parts)?;
        let arrived = match history {
            Some(history) => in_order(&declared.table.name, parts, history)?,
            None => as_read(parts),
        };
        let with_rows = parts.iter().filter(|part| !part.pieces.is_empty()).count();
        let ordered = history.is_some() || with_rows <= 1;
        let layout = Layout::new(declared, paths)?;
        let clocks = history.map(History::clocks_ms);
        let mut table = Self {
            schema: layout.schema(history.is_some()),
            batches: Vec::new(),
            append_only: *changes == Changes::AppendOnly,
            ordered: ordered && *changes == Changes::AppendOnly,
            has_steps: history.is_some() && *changes == Changes::AppendOnly,
            doubt: None,
            unknown: if history.is_some() {
                Vec::new()
            } else {
                layout.clocks.clone()
            },
            letters,
        };
        let kept = match changes {
            Changes::AppendOnly => arrived,
            Changes::Upsert(_) => table.last_of_each(&layout, declared, arrived, ordered)?,
            Changes::All => table.summed(arrived)?,
        };
        for piece in kept {
            let batch = layout.batch(&table.schema, &piece, clocks.as_deref())?;
            table.batches.push(batch);
        }
        table.batches = together(&table.schema, std::mem::take(&mut table.batches))?;
        Ok(table)
    }

    /// The last row of each key.
    fn last_of_each(
        &mut self,
        layout: &Layout,
        declared: &DeclaredTable,
        arrived: Vec<Arrived>,
        ordered: bool,
    ) -> Result<Vec<Arrived>> {
        let keys = layout.places_of(declared, &declared.primary_key)?;
        let mut last: HashMap<Box<[u8]>, (usize, usize)> = HashMap::new();
        let mut elsewhere = 0_u64;
        for (at, piece) in arrived.iter().enumerate() {
            let columns: Vec<ArrayRef> = keys
                .iter()
                .map(|key| Arc::clone(piece.delta.column(*key)))
                .collect();
            for (row, key) in row_bytes(&columns, piece.delta.rows())?
                .into_iter()
                .enumerate()
            {
                if let Some((before, _)) = last.insert(key, (at, row)) {
                    elsewhere += u64::from(arrived[before].partition != piece.partition);
                }
            }
        }
        if elsewhere > 0 && !ordered {
            self.doubt = Some(format!(
                "table `{}` has rows of one key in several partitions: which came last depends on the order of their arrival",
                declared.table.name
            ));
        }
        let mut kept: Vec<Vec<u32>> = vec![Vec::new(); arrived.len()];
        for (at, row) in last.into_values() {
            if arrived[at].delta.weight(row) > 0 {
                kept[at].push(row as u32);
            }
        }
        arrived
            .into_iter()
            .zip(kept)
            .map(|(piece, mut rows)| {
                rows.sort_unstable();
                piece.taken(&UInt32Array::from(rows))
            })
            .collect()
    }

    /// Rows by the sum of their weights.
    fn summed(&mut self, arrived: Vec<Arrived>) -> Result<Vec<Arrived>> {
        let mut sums: HashMap<Box<[u8]>, (usize, usize, i64)> = HashMap::new();
        for (at, piece) in arrived.iter().enumerate() {
            let columns = piece.delta.batch().columns();
            for (row, bytes) in row_bytes(columns, piece.delta.rows())?
                .into_iter()
                .enumerate()
            {
                sums.entry(bytes).or_insert((at, row, 0)).2 += piece.delta.weight(row);
            }
        }
        let mut kept: Vec<Vec<u32>> = vec![Vec::new(); arrived.len()];
        let mut owed = 0_u64;
        for (at, row, weight) in sums.into_values() {
            let copies = usize::try_from(weight).unwrap_or_default();
            kept[at].extend(std::iter::repeat_n(row as u32, copies));
            owed += u64::from(weight < 0);
        }
        if owed > 0 {
            self.doubt = Some(format!(
                "{owed} rows of its changes are taken back more often than they were given"
            ));
        }
        arrived
            .into_iter()
            .zip(kept)
            .map(|(piece, mut rows)| {
                rows.sort_unstable();
                piece.taken(&UInt32Array::from(rows))
            })
            .collect()
    }
}

impl Arrived {
    fn taken(&self, rows: &UInt32Array) -> Result<Self> {
        let batch = compute::take_record_batch(self.delta.batch(), rows)?;
        Ok(Self {
            delta: Delta::inserts(batch),
            ..*self
        })
    }
}

/// Rows as bytes that are equal as the rows are.
pub(crate) fn row_bytes(columns: &[ArrayRef], rows: usize) -> Result<Vec<Box<[u8]>>> {
    if columns.is_empty() {
        return Ok(vec![Box::default(); rows]);
    }
    let fields = columns
        .iter()
        .map(|column| SortField::new(column.data_type().clone()));
    let converted = RowConverter::new(fields.collect())?.convert_columns(columns)?;
    Ok(converted.iter().map(|row| Box::from(row.data())).collect())
}

fn as_read(parts: &[Part]) -> Vec<Arrived> {
    let pieces = |(partition, part): (usize, &Part)| {
        let arrived = move |piece: &Piece| Arrived {
            delta: piece.delta.clone(),
            step: None,
            partition,
        };
        part.pieces.iter().map(arrived).collect::<Vec<_>>()
    };
    parts.iter().enumerate().flat_map(pieces).collect()
}

/// The rows in the order of the steps.
fn in_order(table: &str, parts: &[Part], history: &History) -> Result<Vec<Arrived>> {
    // Of each partition, the piece and the row that come next.
    let mut next = vec![(0, 0); parts.len()];
    let mut arrived = Vec::new();
    for (step, range) in history.arrivals(table) {
        let named = |part: &Part| *part.range.partition == *range.partition;
        let Some(partition) = parts.iter().position(named) else {
            return Err(Error::internal(format!(
                "partition {} was not read again",
                range.partition
            )));
        };
        let (piece_at, row_at) = &mut next[partition];
        while let Some(piece) = parts[partition].pieces.get(*piece_at) {
            let end = piece.offsets.partition_point(|offset| *offset < range.to.0);
            if end > *row_at {
                arrived.push(Arrived {
                    delta: piece.delta.slice(*row_at, end - *row_at),
                    step: Some(step),
                    partition,
                });
            }
            if end < piece.offsets.len() {
                *row_at = end.max(*row_at);
                break;
            }
            (*piece_at, *row_at) = (*piece_at + 1, 0);
        }
    }
    Ok(arrived)
}

/// Where the declared columns come from.
struct Layout {
    fields: Vec<FieldRef>,
    origins: Vec<Origin>,
    /// The columns that are PROCTIME(), by place in `fields`.
    clocks: Vec<usize>,
}

/// Where a column, or a field inside, comes from.
#[derive(Debug)]
enum Origin {
    /// The column at this place.
    Whole(usize),
    /// A ROW of which only these fields were read; the others are NULL.
    Fields(Vec<(FieldRef, Option<Origin>)>),
}

impl Layout {
    fn new(declared: &DeclaredTable, paths: &[Vec<String>]) -> Result<Self> {
        let mut layout = Self {
            fields: Vec::new(),
            origins: Vec::new(),
            clocks: Vec::new(),
        };
        for (idx, field) in declared.schema.fields().iter().enumerate() {
            let Some(origin) = Origin::of(field, &[field.name().clone()], paths)? else {
                continue;
            };
            let computed = declared.computed.get(idx).and_then(Option::as_ref);
            if computed.is_some_and(logical::is_proctime) {
                layout.clocks.push(layout.fields.len());
            }
            layout.fields.push(Arc::clone(field));
            layout.origins.push(origin);
        }
        Ok(layout)
    }

    fn schema(&self, with_steps: bool) -> SchemaRef {
        let step = with_steps.then(|| Arc::new(Field::new(STEP, DataType::Int64, false)));
        Arc::new(Schema::new(
            self.fields.iter().cloned().chain(step).collect::<Vec<_>>(),
        ))
    }

    /// Where some columns of the table were read.
    fn places_of(&self, declared: &DeclaredTable, columns: &[usize]) -> Result<Vec<usize>> {
        let place = |column: &usize| {
            let name = declared.schema.field(*column).name();
            let at = self.fields.iter().position(|field| field.name() == name);
            match at.map(|at| &self.origins[at]) {
                Some(Origin::Whole(place)) => Ok(*place),
                _ => Err(Error::internal(format!("the key `{name}` is not read"))),
            }
        };
        columns.iter().map(place).collect()
    }

    fn batch(
        &self,
        schema: &SchemaRef,
        piece: &Arrived,
        clocks_ms: Option<&[i64]>,
    ) -> Result<RecordBatch> {
        let rows = piece.delta.rows();
        let read = piece.delta.batch().columns();
        let columns = self.origins.iter().zip(&self.fields);
        let columns = columns.map(|(origin, field)| origin.array(field, read, rows));
        let mut columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let step = piece.step.unwrap_or_default();
        if let Some(now) = clocks_ms.and_then(|clocks| clocks.get(step as usize)) {
            for clock in &self.clocks {
                let data_type = self.fields[*clock].data_type();
                columns[*clock] = compute::cast(&clock_column(*now, rows)?, data_type)?;
            }
        }
        if schema.fields().len() > columns.len() {
            columns.push(Arc::new(Int64Array::from_value(step, rows)));
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

fn clock_column(now_ms: i64, rows: usize) -> Result<ArrayRef> {
    let column: ArrayRef = Arc::new(Int64Array::from_value(now_ms, rows));
    let instant = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    Ok(compute::cast(&column, &instant)?)
}

impl Origin {
    /// Where the value at `path` comes from; `None` when nothing of it is read.
    fn of(field: &Field, path: &[String], paths: &[Vec<String>]) -> Result<Option<Self>> {
        if let Some(place) = paths.iter().position(|known| known == path) {
            return Ok(Some(Self::Whole(place)));
        }
        if !paths.iter().any(|known| known.starts_with(path)) {
            return Ok(None);
        }
        let DataType::Struct(parts) = field.data_type() else {
            return Err(Error::internal(format!(
                "a field of `{}`, which is no ROW, is read",
                path.join(".")
            )));
        };
        let parts = parts.iter().map(|part| {
            let inner: Vec<String> = path.iter().chain([part.name()]).cloned().collect();
            Ok((Arc::clone(part), Self::of(part, &inner, paths)?))
        });
        Ok(Some(Self::Fields(parts.collect::<Result<_>>()?)))
    }

    fn array(&self, field: &Field, read: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        match self {
            Self::Whole(place) if read[*place].data_type() == field.data_type() => {
                Ok(Arc::clone(&read[*place]))
            }
            Self::Whole(place) => Ok(compute::cast(&read[*place], field.data_type())?),
            Self::Fields(parts) => row_of(parts, read, rows),
        }
    }
}

/// A ROW of which some fields were read.
fn row_of(
    parts: &[(FieldRef, Option<Origin>)],
    read: &[ArrayRef],
    rows: usize,
) -> Result<ArrayRef> {
    let mut nulls: Option<NullBuffer> = None;
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (part, origin) in parts {
        let array = match origin {
            Some(origin) => origin.array(part, read, rows)?,
            None if part.is_nullable() => new_null_array(part.data_type(), rows),
            None => ScalarValue::new_default(part.data_type())
                .and_then(|value| value.to_array_of_size(rows))
                .map_err(from_datafusion)?,
        };
        if !part.is_nullable() {
            // A field that is never NULL is NULL only where the whole ROW is.
            nulls = NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref());
        }
        arrays.push(array);
    }
    let fields = parts.iter().map(|(part, _)| Arc::clone(part));
    Ok(Arc::new(StructArray::try_new_with_length(
        fields.collect(),
        arrays,
        nulls,
        rows,
    )?))
}

/// Puts small batches together.
pub(crate) fn together(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let (mut out, mut run, mut rows) = (Vec::new(), Vec::new(), 0);
    for batch in batches {
        if batch.num_rows() == 0 {
            continue;
        }
        rows += batch.num_rows();
        run.push(batch);
        if rows >= BATCH_ROWS {
            out.push(one(schema, &std::mem::take(&mut run))?);
            rows = 0;
        }
    }
    if !run.is_empty() {
        out.push(one(schema, &run)?);
    }
    Ok(out)
}

fn one(schema: &SchemaRef, run: &[RecordBatch]) -> Result<RecordBatch> {
    match run {
        [one] => Ok(one.clone()),
        run => Ok(compute::concat_batches(schema, run)?),
    }
}

/// The columns of dead letters that follow from the records alone.
pub(crate) fn letters_schema() -> SchemaRef {
    let whole = dead_letter_schema();
    Arc::new(Schema::new(whole.fields()[1..].to_vec()))
}

fn letters(parts: &[Part]) -> Result<RecordBatch> {
    use arrow::array::{Int64Builder, StringViewBuilder};
    let (mut sources, mut offsets, mut reasons) = (
        StringViewBuilder::new(),
        Int64Builder::new(),
        StringViewBuilder::new(),
    );
    for part in parts {
        for bad in &part.bad {
            sources.append_value(&part.range.partition);
            offsets.append_value(bad.offset.0);
            reasons.append_value(&bad.reason);
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(sources.finish()),
        Arc::new(offsets.finish()),
        Arc::new(reasons.finish()),
    ];
    Ok(RecordBatch::try_new(letters_schema(), columns)?)
}
