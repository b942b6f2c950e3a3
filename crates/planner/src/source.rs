//! A declared table as a node that reads it: which columns its connector shall give, and what is computed of them before any
//! operator sees a row.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute;
use arrow::datatypes::{
    DataType, Field, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use millstream_dataflow::graph::{NodeId, OnBad, SourceNode};
use millstream_dataflow::source::{Prepare, Prepared};
use millstream_dataflow::{Changes, Column, Delta, Error, Expression, Place, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::{BadRecords, DeclaredTable};
use crate::error::from_datafusion;
use crate::expr;
use crate::now;
use crate::paths::{Layout, Path, paths_of};

/// The node that reads a table, and the layout of its output.
///
/// # Errors
/// `User` when the table cannot be read.
pub(crate) fn source(
    table: &DeclaredTable,
    wanted: &BTreeSet<Path>,
    dead_letters: Option<NodeId>,
) -> Result<(SourceNode, Layout)> {
    let name = &table.table.name;
    if table.capabilities.source.is_none() {
        let connector = table
            .table
            .options
            .get("connector")
            .map_or("its", String::as_str);
        return Err(Error::user(format!(
            "table `{name}` can't be read: the connector '{connector}' only writes"
        )));
    }
    let mut wanted = wanted.clone();
    if upsert_key(table).is_some() {
        wanted.extend(
            table
                .primary_key
                .iter()
                .map(|key| vec![table.schema.field(*key).name().clone()]),
        );
    }
    let output = Layout::new(&table.schema, &wanted).map_err(from_datafusion)?;
    let decoded = decoded_paths(table, &output)?;
    let input = Layout::new(&table.schema, &decoded).map_err(from_datafusion)?;
    let mut columns: Vec<Column> = input
        .paths
        .iter()
        .zip(input.schema.fields())
        .map(|(path, field)| column(table, path, field.as_ref().clone()))
        .collect();
    let drift = Drift::of(table, columns.len())?;
    columns.extend(drift.as_ref().map(|(_, column)| column.clone()));
    let source = millstream_connectors::source(&table.table, &columns)?;
    let skips_bad = table
        .capabilities
        .source
        .as_ref()
        .is_some_and(|reads| reads.skips_bad);
    let on_bad = match (&table.bad_records, dead_letters) {
        (BadRecords::DeadLetter { .. }, Some(node)) => OnBad::DeadLetter(node),
        (BadRecords::Fail, _) if !skips_bad => OnBad::Fail,
        (BadRecords::Skip | BadRecords::DeadLetter { .. } | BadRecords::Fail, _) => OnBad::Skip,
    };
    let prepare = Arc::new(Declaration::new(
        table,
        &input,
        &output,
        drift.map(|(drift, _)| drift),
    )?);
    let node = SourceNode {
        table: name.clone(),
        source,
        prepare,
        idle_timeout_ms: table.idle_timeout_ms,
        on_bad,
    };
    Ok((node, output))
}

/// The key of a table whose rows are upserts, by column of its schema.
pub(crate) fn upsert_key(table: &DeclaredTable) -> Option<&[usize]> {
    let reads = table.capabilities.source.as_ref()?;
    matches!(reads.changes, Changes::Upsert(_)).then_some(table.primary_key.as_slice())
}

fn decoded_paths(table: &DeclaredTable, output: &Layout) -> Result<BTreeSet<Path>> {
    let computed = |name: &str| {
        table
            .schema
            .index_of(name)
            .ok()
            .and_then(|idx| table.computed[idx].as_ref())
    };
    let mut paths: BTreeSet<Path> = output.paths.iter().cloned().collect();
    if let Some((column, expr)) = &table.watermark {
        paths_of(expr, &mut paths).map_err(from_datafusion)?;
        paths.insert(vec![table.schema.field(*column).name().clone()]);
    }
    let mut decoded = BTreeSet::new();
    for path in paths {
        match path.first().and_then(|first| computed(first)) {
            Some(expr) => paths_of(expr, &mut decoded).map_err(from_datafusion)?,
            None => drop(decoded.insert(path)),
        }
    }
    Ok(decoded)
}

fn column(table: &DeclaredTable, path: &[String], field: arrow::datatypes::Field) -> Column {
    let metadata = table
        .table
        .columns
        .iter()
        .find(|column| [column.field.name()] == path.iter().collect::<Vec<_>>()[..])
        .and_then(|column| column.metadata.clone());
    let place = metadata.map_or_else(|| Place::Field(path.to_vec()), Place::Metadata);
    Column { field, place }
}

/// What a table's declaration makes of decoded rows.
#[derive(Debug)]
struct Declaration {
    schema: SchemaRef,
    columns: Vec<Arc<dyn Expression>>,
    not_null: Vec<usize>,
    watermark: Option<Watermark>,
    drift: Option<Drift>,
}

/// The watermark of a batch is that of its latest row: `expr` over one row where it is the column less a constant, else over all.
#[derive(Debug)]
struct Watermark {
    column: String,
    time: Time,
    expr: Arc<dyn Expression>,
    is_shifted: bool,
}

/// A row whose time is further ahead of its record's than this is refused: it would push the watermark past all others.
#[derive(Debug)]
struct Drift {
    /// The decoded column with the record's time.
    record_time: usize,
    max_ms: i64,
}

impl Drift {
    /// The cap of a table, and the column that a reader must give for it, behind `columns` others.
    fn of(table: &DeclaredTable, columns: usize) -> Result<Option<(Self, Column)>> {
        let offered = table
            .capabilities
            .metadata
            .iter()
            .find(|metadata| metadata.key == "timestamp");
        let (Some(metadata), Some(_)) = (offered, &table.watermark) else {
            return match table.drift_max_ms {
                Some(_) => Err(Error::user(format!("table `{}` caps the drift of its event time, but its records have no time", table.table.name))
                    .hint("leave 'scan.watermark.drift-max' out: it needs a connector with `timestamp` METADATA, and a watermark")),
                None => Ok(None),
            };
        };
        let max_ms = table.drift_max_ms.unwrap_or(DRIFT_MAX_MS);
        let field = Field::new("\u{1}record time", metadata.data_type.clone(), true);
        let column = Column {
            field,
            place: Place::Metadata(metadata.key.clone()),
        };
        Ok((max_ms > 0).then_some((
            Self {
                record_time: columns,
                max_ms,
            },
            column,
        )))
    }
}

/// A day: more is a broken clock, or seconds taken for milliseconds.
const DRIFT_MAX_MS: i64 = 86_400_000;

type Refused = Vec<(usize, String)>;

impl Declaration {
    fn new(
        table: &DeclaredTable,
        input: &Layout,
        output: &Layout,
        drift: Option<Drift>,
    ) -> Result<Self> {
        let plan = |expr: Expr, wanted: Option<&DataType>| {
            let expr = inline_computed(table, expr)?;
            expr::plan(
                &input.rewrite(expr).map_err(from_datafusion)?,
                &input.names,
                wanted,
            )
        };
        let column_expr =
            |name: &str| Expr::Column(datafusion::common::Column::new_unqualified(name));
        let mut columns = Vec::new();
        for (path, field) in output.paths.iter().zip(output.schema.fields()) {
            match input.index(path) {
                Some(idx) => columns.push(expr::column(idx, field.name())),
                // Stamped in the step, when the clock is read.
                None if is_proctime(table, path) => columns.push(expr::plan(
                    &Expr::Literal(datafusion::common::ScalarValue::Null, None),
                    &input.names,
                    Some(field.data_type()),
                )?),
                None => columns.push(plan(column_expr(&path[0]), Some(field.data_type()))?),
            }
        }
        let is_not_null = |path: &Path| {
            path.len() == 1
                && table
                    .schema
                    .field_with_name(&path[0])
                    .is_ok_and(|field| !field.is_nullable())
        };
        let not_null = output
            .paths
            .iter()
            .enumerate()
            .filter(|(_, path)| is_not_null(path))
            .map(|(idx, _)| idx)
            .collect();
        let watermark = match &table.watermark {
            None => None,
            Some((column, expr)) => {
                let column = table.schema.field(*column).name().clone();
                let time = match output.index(std::slice::from_ref(&column)) {
                    // Computed already: take it from there.
                    Some(idx) => Time::Prepared(idx),
                    None => Time::Decoded(plan(column_expr(&column), None)?),
                };
                Some(Watermark {
                    column,
                    time,
                    expr: plan(expr.clone(), None)?,
                    is_shifted: is_shifted(expr),
                })
            }
        };
        Ok(Self {
            schema: Arc::clone(&output.schema),
            columns,
            not_null,
            watermark,
            drift,
        })
    }

    /// The rows that the declaration refuses, by their place in the batch.
    fn refused(
        &self,
        decoded: &Delta,
        columns: &[ArrayRef],
        times: Option<&ArrayRef>,
    ) -> Result<Refused> {
        let mut refused = Refused::new();
        let mut nulls = |values: &ArrayRef, reason: String| {
            if values.null_count() > 0 {
                let rows = (0..decoded.rows())
                    .filter(|row| values.is_null(*row) && decoded.weight(*row) > 0);
                refused.extend(rows.map(|row| (row, reason.clone())));
            }
        };
        for column in &self.not_null {
            nulls(
                &columns[*column],
                format!(
                    "column `{}` is NULL, and was declared NOT NULL",
                    self.schema.field(*column).name()
                ),
            );
        }
        if let (Some(watermark), Some(times)) = (&self.watermark, times) {
            nulls(
                times,
                format!("the event time `{}` is NULL", watermark.column),
            );
            if let Some(drift) = &self.drift {
                drift.refuse(&watermark.column, times, decoded, &mut refused)?;
            }
        }
        refused.sort();
        refused.dedup_by_key(|(row, _)| *row);
        Ok(refused)
    }
}

impl Drift {
    fn refuse(
        &self,
        column: &str,
        times: &ArrayRef,
        decoded: &Delta,
        refused: &mut Refused,
    ) -> Result<()> {
        let ms = DataType::Timestamp(TimeUnit::Millisecond, None);
        let times = compute::cast(times, &ms)?;
        let records = compute::cast(decoded.column(self.record_time), &ms)?;
        let (times, records) = (
            times.as_primitive::<TimestampMillisecondType>(),
            records.as_primitive::<TimestampMillisecondType>(),
        );
        // Most batches have none: look at the extremes first.
        let (Some(latest), Some(first)) = (compute::max(times), compute::min(records)) else {
            return Ok(());
        };
        if latest <= first.saturating_add(self.max_ms) {
            return Ok(());
        }
        for row in 0..decoded.rows() {
            let ahead_ms = times.value(row).saturating_sub(records.value(row));
            if times.is_valid(row)
                && records.is_valid(row)
                && decoded.weight(row) > 0
                && ahead_ms > self.max_ms
            {
                refused.push((row, format!("the event time `{column}` is {ahead_ms} ms ahead of its record's: more than 'scan.watermark.drift-max' allows")));
            }
        }
        Ok(())
    }
}

/// Where the event time of a batch is.
#[derive(Debug)]
enum Time {
    /// A column of the rows that come out.
    Prepared(usize),
    /// An expression over the decoded columns.
    Decoded(Arc<dyn Expression>),
}

impl Time {
    fn of(&self, decoded: &RecordBatch, columns: &[ArrayRef]) -> Result<ArrayRef> {
        match self {
            Self::Prepared(idx) => Ok(Arc::clone(&columns[*idx])),
            Self::Decoded(expr) => expr.evaluate(decoded),
        }
    }
}

/// Whether a path is a column that is PROCTIME().
pub(crate) fn is_proctime(table: &DeclaredTable, path: &[String]) -> bool {
    let column = path
        .first()
        .and_then(|name| table.schema.index_of(name).ok());
    let computed = column.and_then(|idx| table.computed[idx].as_ref());
    computed.is_some_and(now::is_proctime)
}

/// Replaces computed columns by what computes them.
fn inline_computed(table: &DeclaredTable, expr: Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let inlined = expr.transform_up(|expr| {
        let computed = match &expr {
            Expr::Column(column) => table
                .schema
                .index_of(&column.name)
                .ok()
                .and_then(|idx| table.computed[idx].clone()),
            _ => None,
        };
        Ok(computed.map_or_else(|| Transformed::no(expr), Transformed::yes))
    });
    Ok(inlined.map_err(from_datafusion)?.data)
}

/// Whether an expression is `column` or `column - constant`: then it is greatest where the column is.
fn is_shifted(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Minus | Operator::Plus,
            right,
        }) => {
            matches!(left.as_ref(), Expr::Column(_)) && matches!(right.as_ref(), Expr::Literal(..))
        }
        _ => false,
    }
}

impl Prepare for Declaration {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn watermarked(&self) -> bool {
        self.watermark.is_some()
    }

    fn prepare(&self, delta: Delta) -> Result<Prepared> {
        let columns = self
            .columns
            .iter()
            .map(|column| column.evaluate(delta.batch()))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let times = self
            .watermark
            .as_ref()
            .map(|watermark| watermark.time.of(delta.batch(), &columns))
            .transpose()?;
        let refused = self.refused(&delta, &columns, times.as_ref())?;
        let options = RecordBatchOptions::new().with_row_count(Some(delta.rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let prepared = delta.with_batch(batch)?;
        if refused.is_empty() {
            let watermark_ms = self.watermark_of(delta.batch(), times.as_ref())?;
            return Ok(Prepared {
                delta: prepared,
                watermark_ms,
                refused,
            });
        }
        let is_kept = |row: &u32| {
            refused
                .binary_search_by_key(&(*row as usize), |(row, _)| *row)
                .is_err()
        };
        let keep: UInt32Array = (0..delta.rows() as u32)
            .filter(is_kept)
            .collect::<Vec<_>>()
            .into();
        let times = times
            .map(|times| compute::take(&times, &keep, None))
            .transpose()?;
        let watermark_ms = self.watermark_of(delta.take(&keep)?.batch(), times.as_ref())?;
        Ok(Prepared {
            delta: prepared.take(&keep)?,
            watermark_ms,
            refused,
        })
    }
}

impl Declaration {
    fn watermark_of(&self, decoded: &RecordBatch, times: Option<&ArrayRef>) -> Result<Option<i64>> {
        let (Some(watermark), Some(times)) = (&self.watermark, times) else {
            return Ok(None);
        };
        if !watermark.is_shifted {
            return Ok(latest(&watermark.expr.evaluate(decoded)?)?.map(|(_, ms)| ms));
        }
        match latest(times)? {
            Some((row, _)) => {
                Ok(latest(&watermark.expr.evaluate(&decoded.slice(row, 1))?)?.map(|(_, ms)| ms))
            }
            None => Ok(None),
        }
    }
}

/// The greatest time of a column: its row and its milliseconds (rounded down).
fn latest(times: &ArrayRef) -> Result<Option<(usize, i64)>> {
    let DataType::Timestamp(unit, _) = times.data_type() else {
        return Err(Error::internal(format!(
            "a watermark of type {}",
            times.data_type()
        )));
    };
    let per_ms = match unit {
        TimeUnit::Second => None,
        TimeUnit::Millisecond => Some(1),
        TimeUnit::Microsecond => Some(1_000),
        TimeUnit::Nanosecond => Some(1_000_000),
    };
    let (max, position) = match unit {
        TimeUnit::Second => greatest::<TimestampSecondType>(times),
        TimeUnit::Millisecond => greatest::<TimestampMillisecondType>(times),
        TimeUnit::Microsecond => greatest::<TimestampMicrosecondType>(times),
        TimeUnit::Nanosecond => greatest::<TimestampNanosecondType>(times),
    };
    Ok(max.map(|max| {
        (
            position,
            per_ms.map_or(max * 1000, |per_ms| max.div_euclid(per_ms)),
        )
    }))
}

fn greatest<T: arrow::array::ArrowPrimitiveType<Native = i64>>(
    times: &ArrayRef,
) -> (Option<i64>, usize) {
    let times = times.as_primitive::<T>();
    let max = compute::max(times);
    let position =
        (0..times.len()).find(|row| times.is_valid(*row) && Some(times.value(*row)) == max);
    (max, position.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use arrow::array::{Int32Array, TimestampMillisecondArray};
    use arrow::datatypes::Schema;
    use millstream_sql::Statement;

    const DAY_MS: i64 = 86_400_000;

    fn prepare(options: &str, rows: &[(Option<i64>, i64)]) -> Prepared {
        let sql = format!(
            "CREATE TABLE t (id INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
             WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'nowhere:9092', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json' {options})"
        );
        let statements = millstream_sql::parse(&sql).unwrap();
        let Statement::CreateTable(create) = &statements[0].node else {
            panic!("no table")
        };
        let table = crate::declare(&Catalog::default(), create, "UTC").unwrap();
        let wanted = BTreeSet::from([vec!["id".to_owned()], vec!["ts".to_owned()]]);
        let (node, _) = source(&table, &wanted, None).unwrap();
        let schema = node.source.schema();
        let columns: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .map(|field| -> ArrayRef {
                match field.name().as_str() {
                    "id" => Arc::new(Int32Array::from_iter_values(0..rows.len() as i32)),
                    "ts" => Arc::new(
                        rows.iter()
                            .map(|row| row.0)
                            .collect::<TimestampMillisecondArray>(),
                    ),
                    _ => {
                        let times = rows
                            .iter()
                            .map(|row| Some(row.1))
                            .collect::<TimestampMillisecondArray>();
                        compute::cast(&times, field.data_type()).unwrap()
                    }
                }
            })
            .collect();
        let schema = Schema::new(schema.fields().clone());
        let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
        node.prepare.prepare(Delta::inserts(batch)).unwrap()
    }

    #[test]
    fn an_absurd_time_is_refused_and_does_not_move_the_watermark() {
        let rows = [
            (Some(5_000), 5_000),
            (Some(5_000 + 2 * DAY_MS), 5_000),
            (None, 5_000),
            (Some(4_000), 5_000),
        ];
        let prepared = prepare("", &rows);
        assert_eq!(prepared.watermark_ms, Some(4_000));
        assert_eq!(prepared.delta.rows(), 2);
        let refused: Vec<usize> = prepared.refused.iter().map(|(row, _)| *row).collect();
        assert_eq!(refused, [1, 2]);
        assert!(
            prepared.refused[0].1.contains("172800000 ms ahead"),
            "{:?}",
            prepared.refused
        );
    }

    #[test]
    fn the_cap_can_be_lifted() {
        let rows = [(Some(5_000 + 2 * DAY_MS), 5_000)];
        let prepared = prepare(", 'scan.watermark.drift-max' = '0 s'", &rows);
        assert_eq!(prepared.watermark_ms, Some(4_000 + 2 * DAY_MS));
        assert!(prepared.refused.is_empty());
    }
}
