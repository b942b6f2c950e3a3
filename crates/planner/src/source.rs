//! A declared table as a node that reads it: which columns its connector shall give, and what is computed of them before any
//! operator sees a row.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::{
    DataType, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
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
    let columns: Vec<Column> = input
        .paths
        .iter()
        .zip(input.schema.fields())
        .map(|(path, field)| column(table, path, field.as_ref().clone()))
        .collect();
    let source = millstream_connectors::source(&table.table, &columns)?;
    let on_bad = match (&table.bad_records, dead_letters) {
        (BadRecords::DeadLetter { .. }, Some(node)) => OnBad::DeadLetter(node),
        (BadRecords::Skip | BadRecords::DeadLetter { .. }, _) => OnBad::Skip,
        (BadRecords::Fail, _) => OnBad::Fail,
    };
    let prepare = Arc::new(Declaration::new(table, &input, &output)?);
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
}

/// The watermark of a batch is that of its latest row: `expr` over one row where it is the column less a constant, else over all.
#[derive(Debug)]
struct Watermark {
    time: Arc<dyn Expression>,
    expr: Arc<dyn Expression>,
    is_shifted: bool,
}

impl Declaration {
    fn new(table: &DeclaredTable, input: &Layout, output: &Layout) -> Result<Self> {
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
                None => columns.push(plan(column_expr(&path[0]), Some(field.data_type()))?),
            }
        }
        let not_null = output.paths.iter().enumerate().filter(|(_, path)| {
            path.len() == 1
                && table
                    .schema
                    .field_with_name(&path[0])
                    .is_ok_and(|field| !field.is_nullable())
        });
        let not_null = not_null.map(|(idx, _)| idx).collect();
        let watermark = match &table.watermark {
            None => None,
            Some((column, expr)) => Some(Watermark {
                time: plan(column_expr(table.schema.field(*column).name()), None)?,
                expr: plan(expr.clone(), None)?,
                is_shifted: is_shifted(expr),
            }),
        };
        Ok(Self {
            schema: Arc::clone(&output.schema),
            columns,
            not_null,
            watermark,
        })
    }

    fn refuse_nulls(&self, delta: Delta) -> Result<(Delta, Vec<(usize, String)>)> {
        let mut refused = Vec::new();
        for column in &self.not_null {
            let values = delta.column(*column);
            if values.null_count() > 0 {
                let name = self.schema.field(*column).name();
                let nulls =
                    (0..delta.rows()).filter(|row| values.is_null(*row) && delta.weight(*row) > 0);
                refused.extend(nulls.map(|row| {
                    (
                        row,
                        format!("column `{name}` is NULL, and was declared NOT NULL"),
                    )
                }));
            }
        }
        if refused.is_empty() {
            return Ok((delta, refused));
        }
        refused.sort();
        refused.dedup_by_key(|(row, _)| *row);
        let keep: Vec<u32> = (0..delta.rows())
            .filter(|row| refused.binary_search_by_key(row, |(row, _)| *row).is_err())
            .map(|row| row as u32)
            .collect();
        Ok((delta.take(&UInt32Array::from(keep))?, refused))
    }
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
        let watermark_ms = match &self.watermark {
            Some(watermark) if !delta.is_empty() => watermark.of(delta.batch())?,
            _ => None,
        };
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(delta.rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let (delta, refused) = self.refuse_nulls(delta.with_batch(batch)?)?;
        Ok(Prepared {
            delta,
            watermark_ms,
            refused,
        })
    }
}

impl Watermark {
    fn of(&self, batch: &RecordBatch) -> Result<Option<i64>> {
        if !self.is_shifted {
            return latest(&self.expr.evaluate(batch)?).map(|found| found.map(|(_, ms)| ms));
        }
        match latest(&self.time.evaluate(batch)?)? {
            Some((row, _)) => {
                Ok(latest(&self.expr.evaluate(&batch.slice(row, 1))?)?.map(|(_, ms)| ms))
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
