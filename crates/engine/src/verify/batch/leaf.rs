//! Tables and views: rows that are there already. And rows with their steps, as far down as that is known.

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::catalog::MemTable;
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, Projection, SubqueryAlias, TableScan, Union, Values, cast,
};
use futures::future::BoxFuture;
use millstream_dataflow::{Error, Result};
use millstream_planner::catalog::{DeclaredTable, Relation};
use millstream_planner::{from_datafusion, logical};
use std::sync::Arc;

use super::{Answer, Part, Promise, Walk, rebuilt, scan_of, step_column, with_fields};
use crate::verify::marks::Marks;
use crate::verify::table::{STEP, Table, letters_schema, together};

impl Walk<'_, '_> {
    pub(super) async fn scan(&mut self, scan: &TableScan) -> Result<Part> {
        match logical::leaf(scan) {
            Some((_, Relation::Table(declared))) => self.table_scan(declared, scan),
            Some((name, Relation::Materialized(_))) => {
                let answer = self.batch.answer(name).await?;
                self.view_scan(&answer, scan)
            }
            Some((name, Relation::View(_))) => Err(Error::internal(format!(
                "the view {name} was not replaced by its query"
            ))),
            None => Err(Error::internal(format!(
                "a scan of {}, which the catalog does not know",
                scan.table_name
            ))),
        }
    }

    fn table_scan(&mut self, declared: &DeclaredTable, scan: &TableScan) -> Result<Part> {
        let name = &declared.table.name;
        let table = self.table(declared)?;
        let places = places(&table.schema, scan)?;
        let mut marks = Marks::default();
        marks.doubt(table.doubt.clone());
        for (column, place) in places.iter().enumerate() {
            if table.unknown.contains(place) {
                let why = format!(
                    "PROCTIME() of table `{name}`: when a row arrived is known to the job alone"
                );
                marks.set(column, Some(why), None);
            }
        }
        let held = MemTable::try_new(Arc::clone(&table.schema), vec![table.batches.clone()]);
        let held = held.map_err(from_datafusion)?;
        Ok(Part {
            plan: scan_of(held, Some(places), &scan.projected_schema),
            promise: Promise {
                tables: [name.clone()].into(),
                append_only: table.append_only,
                ordered: table.ordered,
                ..Promise::default()
            },
            marks,
        })
    }

    fn view_scan(&self, answer: &Answer, scan: &TableScan) -> Result<Part> {
        let places = places(&answer.schema, scan)?;
        let mut marks = Marks {
            rows: answer.marks.rows.clone(),
            ..Marks::default()
        };
        for (column, place) in places.iter().enumerate() {
            let doubt = answer.marks.doubtful.get(place).cloned();
            marks.set(column, doubt, answer.marks.inexact.get(place).copied());
        }
        let schema: SchemaRef = Arc::new(scan.projected_schema.as_arrow().clone());
        let chosen = |batch: &RecordBatch| {
            let columns = places.iter().zip(schema.fields());
            let columns = columns
                .map(|(place, field)| Ok(compute::cast(batch.column(*place), field.data_type())?));
            rebuilt(&schema, columns.collect::<Result<_>>()?, batch.num_rows())
        };
        let rows = answer.batches.iter().map(chosen).collect::<Result<_>>()?;
        Ok(Part {
            plan: self.held(&scan.projected_schema, rows)?,
            promise: answer.promise.clone(),
            marks,
        })
    }

    /// A table's rows, read once for all views that saw the same of it.
    fn table(&mut self, declared: &DeclaredTable) -> Result<Arc<Table>> {
        let name = &declared.table.name;
        let ranges = self.view.ranges_of(name)?;
        let key = (name.clone(), ranges);
        if let Some(known) = self.batch.tables.get(&key) {
            return Ok(Arc::clone(known));
        }
        let history = self.batch.facts.history.as_ref();
        let table = Arc::new(self.batch.pipeline.read(declared, &key.1, history)?);
        self.batch.tables.insert(key, Arc::clone(&table));
        Ok(table)
    }

    /// The bad records of a table.
    pub(super) fn letters(&mut self, name: &str) -> Result<Answer> {
        let declared = self.batch.pipeline.declared(name)?.clone();
        let table = self.table(&declared)?;
        Ok(Answer {
            schema: letters_schema(),
            batches: vec![table.letters.clone()],
            marks: Marks::default(),
            may_lack_late: false,
            promise: Promise {
                tables: [name.to_owned()].into(),
                append_only: true,
                ..Promise::default()
            },
        })
    }

    /// A plan with the place of each row's step as its last column, the rows in the order of their arrival; `None` where that is
    /// not known.
    pub(super) fn stepped<'s>(
        &'s mut self,
        plan: &'s LogicalPlan,
    ) -> BoxFuture<'s, Result<Option<LogicalPlan>>> {
        Box::pin(async move {
            if self.batch.facts.history.is_none() {
                return Ok(None);
            }
            match plan {
                LogicalPlan::TableScan(scan) => self.stepped_scan(scan).await,
                LogicalPlan::Projection(projection) => {
                    let Some(input) = self.stepped(&projection.input).await? else {
                        return Ok(None);
                    };
                    let columns = projection.expr.iter().map(super::rows::without_clock);
                    let columns = columns.chain([step_column()]).collect();
                    let projected = Projection::try_new(columns, Arc::new(input));
                    let projected = projected.map_err(from_datafusion)?;
                    Ok(Some(LogicalPlan::Projection(projected)))
                }
                LogicalPlan::Filter(filter) => {
                    let Some(input) = self.stepped(&filter.input).await? else {
                        return Ok(None);
                    };
                    let filtered = Filter::try_new(filter.predicate.clone(), Arc::new(input));
                    let filtered = filtered.map_err(from_datafusion)?;
                    Ok(Some(LogicalPlan::Filter(filtered)))
                }
                LogicalPlan::SubqueryAlias(alias) => {
                    let Some(input) = self.stepped(&alias.input).await? else {
                        return Ok(None);
                    };
                    let alias = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone());
                    let alias = alias.map_err(from_datafusion)?;
                    Ok(Some(LogicalPlan::SubqueryAlias(alias)))
                }
                LogicalPlan::Union(union) => self.stepped_union(union).await,
                LogicalPlan::Extension(extension) => match logical::node(extension) {
                    Some(node) => self.stepped_node(plan, node).await,
                    None => Ok(None),
                },
                _ => Ok(None),
            }
        })
    }

    async fn stepped_node(
        &mut self,
        plan: &LogicalPlan,
        node: logical::Node<'_>,
    ) -> Result<Option<LogicalPlan>> {
        match node {
            logical::Node::Windows {
                input, time, kind, ..
            } if !matches!(kind, logical::Window::Session { .. }) => {
                let Some(input) = self.stepped(input).await? else {
                    return Ok(None);
                };
                let width = plan.schema().fields().len();
                let assigned = self.assigned(input, time, kind, plan.schema()).await?;
                // The step stands before the window's bounds now.
                let last = width - 3;
                let places = (0..last).chain(last + 1..=width).chain([last]);
                let names = with_step(plan)?;
                super::as_named(assigned, &names, &places.collect::<Vec<_>>()).map(Some)
            }
            logical::Node::Unnest {
                input,
                collection,
                is_outer,
                is_numbered,
            } => {
                let before = input.schema().fields().len();
                let Some(input) = self.stepped(input).await? else {
                    return Ok(None);
                };
                let unnest = super::rows::Unnest {
                    collection,
                    is_outer,
                    is_numbered,
                };
                let unfolded = self.unfolded(input, unnest, plan.schema(), before).await?;
                let width = plan.schema().fields().len();
                let places = (0..before).chain(before + 1..=width).chain([before]);
                let names = with_step(plan)?;
                super::as_named(unfolded, &names, &places.collect::<Vec<_>>()).map(Some)
            }
            logical::Node::Windows { .. } | logical::Node::WhileTrue { .. } => Ok(None),
        }
    }

    async fn stepped_scan(&mut self, scan: &TableScan) -> Result<Option<LogicalPlan>> {
        match logical::leaf(scan) {
            Some((_, Relation::Table(declared))) => {
                let table = self.table(declared)?;
                if !table.has_steps {
                    return Ok(None);
                }
                let mut places = places(&table.schema, scan)?;
                places.push(table.schema.fields().len() - 1);
                let names = with_fields(&scan.projected_schema, vec![step_field()])?;
                let rows = vec![table.batches.clone()];
                let held = MemTable::try_new(Arc::clone(&table.schema), rows);
                let held = held.map_err(from_datafusion)?;
                Ok(Some(scan_of(held, Some(places), &names)))
            }
            Some((name, Relation::Materialized(view))) => {
                if self.batch.pipeline.letters_of(name).is_some() {
                    return Ok(None);
                }
                let query = self.batch.pipeline.query(name)?.0.clone();
                let Some(rows) = self.stepped(&query).await? else {
                    return Ok(None);
                };
                let columns = rows.schema().columns();
                let places = places(&view.schema, scan)?;
                let typed = places.iter().zip(scan.projected_schema.fields());
                let typed = typed.map(|(place, field)| {
                    cast(
                        Expr::Column(columns[*place].clone()),
                        field.data_type().clone(),
                    )
                });
                let names = with_fields(&scan.projected_schema, vec![step_field()])?;
                let exprs = typed.chain([step_column()]).collect();
                super::renamed(rows, exprs, &names).map(Some)
            }
            Some((_, Relation::View(_))) | None => Ok(None),
        }
    }

    /// In a step the rows of one input come before those of the next.
    async fn stepped_union(&mut self, union: &Union) -> Result<Option<LogicalPlan>> {
        let names = with_fields(&union.schema, vec![step_field()])?;
        let schema: SchemaRef = Arc::new(names.as_arrow().clone());
        let mut batches: Vec<RecordBatch> = Vec::new();
        for input in &union.inputs {
            let Some(input) = self.stepped(input).await? else {
                return Ok(None);
            };
            for batch in self.collect(&input).await? {
                let columns = batch.columns().iter().zip(schema.fields());
                let columns =
                    columns.map(|(column, field)| Ok(compute::cast(column, field.data_type())?));
                let columns = columns.collect::<Result<_>>()?;
                batches.push(rebuilt(&schema, columns, batch.num_rows())?);
            }
        }
        let all = compute::concat_batches(&schema, &batches)?;
        let last = all.num_columns() - 1;
        let steps = all.column(last).as_primitive::<Int64Type>();
        let mut rows: Vec<u32> = (0..all.num_rows() as u32).collect();
        rows.sort_by_key(|row| steps.value(*row as usize));
        let sorted = compute::take_record_batch(&all, &UInt32Array::from(rows))?;
        let sorted = together(&schema, vec![sorted])?;
        self.held(&names, sorted).map(Some)
    }
}

/// Constant rows, their values of the types that the plan says.
pub(super) fn constants(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Values(Values { schema, values }) = plan else {
        return Ok(plan.clone());
    };
    let typed = |row: &Vec<Expr>| {
        let cells = row.iter().zip(schema.fields());
        let cells = cells.map(|(cell, field)| cast(cell.clone(), field.data_type().clone()));
        cells.collect()
    };
    Ok(LogicalPlan::Values(Values {
        schema: Arc::clone(schema),
        values: values.iter().map(typed).collect(),
    }))
}

fn step_field() -> Field {
    Field::new(STEP, DataType::Int64, false)
}

/// The names of a plan, and the step's behind them.
fn with_step(plan: &LogicalPlan) -> Result<datafusion::common::DFSchemaRef> {
    with_fields(plan.schema(), vec![step_field()])
}

/// Where the columns of a scan are among those that are there.
fn places(schema: &Schema, scan: &TableScan) -> Result<Vec<usize>> {
    let fields = scan.projected_schema.fields().iter();
    let place = fields.map(|field| Ok(schema.index_of(field.name())?));
    place.collect()
}
