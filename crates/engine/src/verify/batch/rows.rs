//! Row by row: projections, filters, aliases, unions, UNNEST, conditions on the clock.

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, RecordBatch, StructArray, UInt32Array, new_null_array,
};
use arrow::compute;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, LogicalPlan, Projection, SubqueryAlias, Union, cast,
};
use millstream_dataflow::{Error, Result};
use millstream_planner::{from_datafusion, logical};
use std::sync::Arc;

use super::{Part, Promise, Walk, Wish, rebuilt};
use crate::verify::marks::Marks;

/// What an UNNEST unfolds.
#[derive(Clone, Copy)]
pub(super) struct Unnest<'a> {
    pub(super) collection: &'a Expr,
    pub(super) is_outer: bool,
    pub(super) is_numbered: bool,
}

/// An expression with NULL in the place of PROCTIME().
pub(super) fn without_clock(expr: &Expr) -> Expr {
    if !is_clock(expr) {
        return expr.clone();
    }
    let kind = expr.get_type(&datafusion::common::DFSchema::empty());
    let null = Expr::Literal(ScalarValue::Null, None);
    let null = cast(null, kind.unwrap_or(DataType::Null));
    match expr {
        Expr::Alias(alias) => null.alias_qualified(alias.relation.clone(), alias.name.clone()),
        _ => null,
    }
}

fn is_clock(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_clock(&alias.expr),
        other => logical::is_proctime(other),
    }
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

impl Walk<'_, '_> {
    pub(super) async fn projection(&mut self, projection: &Projection, wish: Wish) -> Result<Part> {
        let input = self.part(&projection.input, wish).await?;
        let names = projection.input.schema();
        let mut marks = Marks {
            rows: input.marks.rows.clone(),
            ..Marks::default()
        };
        let fields = projection.schema.fields();
        for (column, (expr, field)) in projection.expr.iter().zip(fields).enumerate() {
            let doubt = match is_clock(expr) {
                true => Some("PROCTIME(): when a row arrived is known to the job alone".to_owned()),
                false => input.marks.doubt_of(expr, names),
            };
            let off = input.marks.inexactness_of(expr, names);
            marks.set(column, doubt, off.filter(|_| is_float(field.data_type())));
        }
        let exprs = projection.expr.iter().map(without_clock).collect();
        Ok(Part {
            plan: super::renamed(input.plan, exprs, &projection.schema)?,
            promise: input.promise,
            marks,
        })
    }

    pub(super) async fn filter(&mut self, filter: &Filter) -> Result<Part> {
        let wish = Wish {
            rank_max: logical::top_n(filter).map(|(_, rank)| rank),
            ..Wish::default()
        };
        let mut input = self.part(&filter.input, wish).await?;
        input
            .marks
            .decide_by([&filter.predicate], filter.input.schema());
        let filtered = Filter::try_new(filter.predicate.clone(), Arc::new(input.plan));
        Ok(Part {
            plan: LogicalPlan::Filter(filtered.map_err(from_datafusion)?),
            ..input
        })
    }

    pub(super) async fn alias(&mut self, alias: &SubqueryAlias, wish: Wish) -> Result<Part> {
        let input = self.part(&alias.input, wish).await?;
        let aliased = SubqueryAlias::try_new(Arc::new(input.plan), alias.alias.clone());
        Ok(Part {
            plan: LogicalPlan::SubqueryAlias(aliased.map_err(from_datafusion)?),
            ..input
        })
    }

    pub(super) async fn union(&mut self, union: &Union) -> Result<Part> {
        let (mut inputs, mut marks) = (Vec::new(), Marks::default());
        let mut promise = Promise {
            append_only: true,
            ..Promise::default()
        };
        for input in &union.inputs {
            let part = self.part(input, Wish::default()).await?;
            promise = promise.joined(part.promise);
            marks = marks.beside(part.marks, 0);
            inputs.push(Arc::new(part.plan));
        }
        let schema = Arc::clone(&union.schema);
        let all = LogicalPlan::Union(Union { inputs, schema });
        // Held, so that there is one partition of them.
        let batches = self.collect(&all).await?;
        Ok(Part {
            plan: self.held(&union.schema, batches)?,
            promise: Promise {
                ordered: false,
                ..promise
            },
            marks,
        })
    }

    /// Rows while a condition on the clock is true: those of which it is true now.
    pub(super) async fn while_true(
        &mut self,
        input: &LogicalPlan,
        predicate: &Expr,
    ) -> Result<Part> {
        let mut part = self.part(input, Wish::default()).await?;
        part.marks.decide_by([predicate], input.schema());
        let now_ms = self.batch.facts.now_ms.ok_or_else(|| {
            Error::user("a condition on NOW(), but no step has run since the job was started")
                .hint("try again in a moment")
        })?;
        let predicate = logical::at_clock(predicate.clone(), now_ms)?;
        let filtered = Filter::try_new(predicate, Arc::new(part.plan)).map_err(from_datafusion)?;
        Ok(Part {
            plan: LogicalPlan::Filter(filtered),
            promise: Promise {
                append_only: false,
                clocked: true,
                ..part.promise
            },
            marks: part.marks,
        })
    }

    pub(super) async fn unnest(
        &mut self,
        input: &LogicalPlan,
        unnest: Unnest<'_>,
        names: &DFSchemaRef,
    ) -> Result<Part> {
        let part = self.part(input, Wish::default()).await?;
        let before = input.schema().fields().len();
        let mut marks = part.marks;
        let doubt = marks.doubt_of(unnest.collection, input.schema());
        marks.doubt(doubt);
        let plan = self.unfolded(part.plan, unnest, names, before).await?;
        Ok(Part {
            plan: super::as_named(plan, names, &(0..names.fields().len()).collect::<Vec<_>>())?,
            promise: part.promise,
            marks,
        })
    }

    /// The rows of `input`, whose first `before` columns are those of the plan, with their elements.
    pub(super) async fn unfolded(
        &self,
        input: LogicalPlan,
        unnest: Unnest<'_>,
        names: &DFSchemaRef,
        before: usize,
    ) -> Result<LogicalPlan> {
        let width = input.schema().fields().len();
        let input_names = Arc::clone(input.schema());
        let collections = self.with_columns(input, std::slice::from_ref(unnest.collection))?;
        let added: Vec<_> = names.fields()[before..]
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        let all = super::with_fields(&input_names, added)?;
        let schema = Arc::new(all.as_arrow().clone());
        let mut batches = Vec::new();
        for batch in self.collect(&collections).await? {
            let rows = unfold(&batch, width, unnest)?;
            let columns = rows.columns.iter().zip(schema.fields());
            let columns =
                columns.map(|(column, field)| Ok(compute::cast(column, field.data_type())?));
            batches.push(rebuilt(
                &schema,
                columns.collect::<Result<_>>()?,
                rows.rows,
            )?);
        }
        self.held(&all, batches)
    }
}

impl Promise {
    /// What is known of rows of both.
    pub(super) fn joined(mut self, other: Self) -> Self {
        self.tables.extend(other.tables);
        Self {
            tables: self.tables,
            append_only: self.append_only && other.append_only,
            clocked: self.clocked || other.clocked,
            ordered: self.ordered && other.ordered,
            may_lack_late: self.may_lack_late || other.may_lack_late,
        }
    }
}

struct Unfolded {
    columns: Vec<ArrayRef>,
    rows: usize,
}

/// Each row once for each element of the collection in column `width`.
fn unfold(batch: &RecordBatch, width: usize, unnest: Unnest<'_>) -> Result<Unfolded> {
    let collection = batch.column(width);
    let (offsets, elements): (Vec<usize>, ArrayRef) = match collection.data_type() {
        DataType::Map(_, _) => {
            let map = collection.as_map();
            let offsets = map.value_offsets().iter().map(|offset| *offset as usize);
            (offsets.collect(), Arc::new(map.entries().clone()))
        }
        DataType::List(_) => {
            let list = collection.as_list::<i32>();
            let offsets = list.value_offsets().iter().map(|offset| *offset as usize);
            (offsets.collect(), Arc::clone(list.values()))
        }
        other => return Err(Error::internal(format!("UNNEST of {other}"))),
    };
    let (mut rows, mut picks, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..batch.num_rows() {
        let is_there = collection.is_valid(row) && offsets[row] < offsets[row + 1];
        if !is_there {
            if unnest.is_outer {
                rows.push(row as u32);
                picks.push(None);
                numbers.push(None);
            }
            continue;
        }
        for (number, element) in (offsets[row]..offsets[row + 1]).enumerate() {
            rows.push(row as u32);
            picks.push(Some(element as u32));
            numbers.push(Some(number as i32 + 1));
        }
    }
    let taken = UInt32Array::from(rows);
    let mut columns = compute::take_arrays(&batch.columns()[..width], &taken, None)?;
    columns.extend(parts_of(&elements, &UInt32Array::from(picks))?);
    if unnest.is_numbered {
        columns.push(Arc::new(Int32Array::from(numbers)));
    }
    let rows = taken.len();
    Ok(Unfolded { columns, rows })
}

/// Elements as columns: those of a ROW are its fields, NULL where the ROW is.
fn parts_of(elements: &ArrayRef, picks: &UInt32Array) -> Result<Vec<ArrayRef>> {
    let Some(row) = elements.as_any().downcast_ref::<StructArray>() else {
        return Ok(vec![compute::take(elements, picks, None)?]);
    };
    let is_null = |pick: Option<u32>| pick.filter(|at| row.is_valid(*at as usize));
    let picks: UInt32Array = picks.iter().map(is_null).collect();
    let part = |column: &ArrayRef| {
        if column.is_empty() {
            return Ok(new_null_array(column.data_type(), picks.len()));
        }
        Ok(compute::take(column, &picks, None)?)
    };
    row.columns().iter().map(part).collect()
}
