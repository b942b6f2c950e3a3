//! GROUP BY, DISTINCT and their windowed forms.
//!
//! Keys, arguments and filters become columns of a projection first, so that the operators know columns only.

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{self, Distinct, Expr, GroupingSet, LogicalPlan};
use millstream_dataflow::{Error, Result, Spec};
use millstream_operators::aggregate::{self, Call, Function};
use millstream_operators::distinct;
use std::sync::Arc;

use super::rows::unaliased;
use super::{Lowering, Stream, engine_type, shown_schema, unsupported};
use crate::aggregates;
use crate::error::from_datafusion;
use crate::time::{self, Role};

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, plan: &logical_expr::Aggregate) -> Result<Stream> {
        if let [Expr::GroupingSet(sets)] = plan.group_expr.as_slice() {
            return self.grouping_sets(plan, sets);
        }
        if let Some(stream) = self.windowed(plan)? {
            return Ok(stream);
        }
        let input = self.lower_raw(&plan.input)?;
        self.grouped(&input, &plan.group_expr, &plan.aggr_expr, &plan.schema)
    }

    /// Groups a stream by some expressions.
    fn grouped(
        &mut self,
        input: &Stream,
        keys: &[Expr],
        calls: &[Expr],
        names: &DFSchemaRef,
    ) -> Result<Stream> {
        let shown = keys.iter().chain(calls).map(|expr| input.shown(expr));
        let schema = shown_schema(names, shown);
        let mut columns = Columns::new(input);
        let key_columns = keys
            .iter()
            .map(|key| columns.add(key))
            .collect::<Result<Vec<_>>>()?;
        if calls.is_empty() && !keys.is_empty() {
            let rows = columns.finish(self)?;
            return self.distinct_rows(&rows, &key_columns, names, schema);
        }
        let planned = calls
            .iter()
            .zip(&schema.fields()[keys.len()..])
            .map(|(call, field)| columns.call(call, field))
            .collect::<Result<Vec<_>>>()?;
        let rows = columns.finish(self)?;
        let expiry = expiry(&schema, keys.len()).filter(|_| !rows.clocked);
        let spec = aggregate::Aggregate::new(
            Arc::clone(&rows.schema),
            key_columns,
            planned,
            rows.append_only,
            expiry,
        )?;
        let stream = self.stream(Arc::new(spec), &[&rows], names);
        Ok(Stream {
            schema,
            append_only: false,
            key: Some((0..keys.len()).collect()),
            ..stream
        })
    }

    fn distinct_rows(
        &mut self,
        rows: &Stream,
        keys: &[usize],
        names: &DFSchemaRef,
        schema: SchemaRef,
    ) -> Result<Stream> {
        let exprs = keys
            .iter()
            .map(|key| super::rows::column_of(rows, *key))
            .collect();
        let rows = self.project(rows, exprs, names, Arc::clone(&schema))?;
        let columns = (0..schema.fields().len()).collect();
        let spec: Arc<dyn Spec> = match expiry(&schema, keys.len()).filter(|_| !rows.clocked) {
            // An aggregate without calls is the distinct keys, and knows when windows have closed.
            Some(column) => Arc::new(aggregate::Aggregate::new(
                Arc::clone(&schema),
                columns,
                Vec::new(),
                rows.append_only,
                Some(column),
            )?),
            None => Arc::new(distinct::Distinct::new(
                Arc::clone(&schema),
                columns,
                rows.append_only,
            )?),
        };
        let stream = self.stream(spec, &[&rows], names);
        Ok(Stream {
            schema,
            append_only: rows.append_only,
            key: Some((0..keys.len()).collect()),
            ..stream
        })
    }

    pub(super) fn distinct(&mut self, plan: &Distinct) -> Result<Stream> {
        match plan {
            Distinct::All(input) => {
                let rows = self.lower(input)?;
                let (keys, schema) = (
                    (0..rows.schema.fields().len()).collect::<Vec<_>>(),
                    Arc::clone(&rows.schema),
                );
                let names = Arc::clone(input.schema());
                self.distinct_rows(&rows, &keys, &names, schema)
            }
            Distinct::On(_) => Err(unsupported("DISTINCT ON")
                .hint("use ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...) and keep row 1")),
        }
    }

    /// Each set is a grouping of its own over the same rows, the other keys NULL.
    fn grouping_sets(
        &mut self,
        plan: &logical_expr::Aggregate,
        sets: &GroupingSet,
    ) -> Result<Stream> {
        let (all, sets) = match sets {
            GroupingSet::GroupingSets(sets) => (sets_keys(sets), sets.clone()),
            GroupingSet::Rollup(keys) => (
                keys.clone(),
                (0..=keys.len())
                    .rev()
                    .map(|length| keys[..length].to_vec())
                    .collect(),
            ),
            GroupingSet::Cube(keys) => (keys.clone(), subsets(keys)),
        };
        let id_field = Arc::clone(plan.schema.field(all.len()));
        let mut branches = Vec::new();
        for set in &sets {
            branches.push(self.grouping_set(plan, &all, set, &id_field)?);
        }
        let shown = branches.first().into_iter().flat_map(Stream::shown_names);
        let schema = shown_schema(&plan.schema, shown);
        let inputs: Vec<&Stream> = branches.iter().collect();
        let stream = self.stream(
            Arc::new(millstream_operators::union::Union::new(Arc::clone(&schema))),
            &inputs,
            &plan.schema,
        );
        Ok(Stream {
            schema,
            key: Some((0..=all.len()).collect()),
            ..stream
        })
    }

    fn grouping_set(
        &mut self,
        plan: &logical_expr::Aggregate,
        all: &[Expr],
        set: &[Expr],
        id_field: &Field,
    ) -> Result<Stream> {
        let one = logical_expr::Aggregate::try_new(
            Arc::clone(&plan.input),
            set.to_vec(),
            plan.aggr_expr.clone(),
        )
        .map_err(from_datafusion)?;
        let grouped = self.aggregate(&one)?;
        // Bit i, from the right, is set where the key is not in the set.
        let id = all
            .iter()
            .fold(0_i64, |id, key| (id << 1) | i64::from(!set.contains(key)));
        let mut exprs: Vec<Expr> = Vec::new();
        for (key, field) in all.iter().zip(plan.schema.fields()) {
            exprs.push(match set.iter().position(|member| member == key) {
                Some(idx) => column(&one.schema, idx),
                None => logical_expr::cast(
                    logical_expr::lit(datafusion::common::ScalarValue::Null),
                    engine_type(field.data_type()),
                ),
            });
        }
        exprs.push(logical_expr::cast(
            logical_expr::lit(id),
            id_field.data_type().clone(),
        ));
        exprs.extend((set.len()..one.schema.fields().len()).map(|idx| column(&one.schema, idx)));
        self.select(&grouped, &exprs, &plan.schema)
    }
}

fn column(schema: &DFSchema, idx: usize) -> Expr {
    Expr::Column(Column::from(schema.qualified_field(idx)))
}

fn sets_keys(sets: &[Vec<Expr>]) -> Vec<Expr> {
    let mut keys: Vec<Expr> = Vec::new();
    for key in sets.iter().flatten() {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

fn subsets(keys: &[Expr]) -> Vec<Vec<Expr>> {
    let chosen = |bits: u32| {
        keys.iter()
            .enumerate()
            .filter(|(idx, _)| bits & (1 << idx) != 0)
            .map(|(_, key)| key.clone())
            .collect()
    };
    (0..1_u32 << keys.len()).rev().map(chosen).collect()
}

/// The key column, among the first `keys`, that holds the end of a window: the watermark bounds the state.
pub(super) fn expiry(schema: &Schema, keys: usize) -> Option<usize> {
    (0..keys).find(|idx| time::role(schema.field(*idx)) == Some(Role::WindowEnd))
}

/// The columns that an operator needs of its input, each expression once.
pub(super) struct Columns<'a> {
    input: &'a Stream,
    exprs: Vec<(Expr, Arc<dyn millstream_dataflow::Expression>, Field)>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(input: &'a Stream) -> Self {
        Self {
            input,
            exprs: Vec::new(),
        }
    }

    /// The column that will hold an expression.
    pub(super) fn add(&mut self, expr: &Expr) -> Result<usize> {
        let expr = unaliased(expr);
        if let Some(idx) = self.exprs.iter().position(|(known, _, _)| known == expr) {
            return Ok(idx);
        }
        use datafusion::logical_expr::ExprSchemable;
        let names = self
            .input
            .layout
            .as_ref()
            .map_or(&self.input.names, |layout| &layout.names);
        let over = match &self.input.layout {
            Some(layout) => layout.rewrite(expr.clone()).map_err(from_datafusion)?,
            None => expr.clone(),
        };
        let (_, found) = over.to_field(names.as_ref()).map_err(from_datafusion)?;
        let shown = self.input.shown(expr);
        let field = Field::new(shown, engine_type(found.data_type()), true)
            .with_metadata(found.metadata().clone());
        let planned = Lowering::expr(self.input, expr, Some(field.data_type()))?;
        self.exprs.push((expr.clone(), planned, field));
        Ok(self.exprs.len() - 1)
    }

    /// The columns that will hold some expressions.
    pub(super) fn add_all<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
    ) -> Result<Vec<usize>> {
        exprs.into_iter().map(|expr| self.add(expr)).collect()
    }

    /// A call of an aggregate function over columns to be.
    pub(super) fn call(&mut self, expr: &Expr, output: &Field) -> Result<Call> {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(expr) else {
            return Err(Error::internal(format!(
                "{expr} where an aggregate function belongs"
            )));
        };
        let Some(function) = func
            .inner()
            .downcast_ref::<aggregates::Aggregate>()
            .and_then(aggregates::Aggregate::function)
        else {
            return Err(unsupported(&format!(
                "the aggregate function {}",
                func.name()
            )));
        };
        if !params.order_by.is_empty() {
            return Err(unsupported(&format!(
                "{} with ORDER BY inside",
                func.name().to_uppercase()
            ))
            .hint("values are taken in the order of their arrival"));
        }
        // COUNT(*) counts a constant, which is no column.
        let is_star =
            function == Function::Count && matches!(params.args.as_slice(), [Expr::Literal(..)]);
        let exprs: &[Expr] = if is_star { &[] } else { &params.args };
        let args = self.add_all(exprs)?;
        let filter = params
            .filter
            .as_ref()
            .map(|filter| self.add(filter))
            .transpose()?;
        Ok(Call {
            function,
            args,
            filter,
            distinct: params.distinct,
            output: output.clone(),
        })
    }

    /// The projection that gives the columns.
    pub(super) fn finish(self, lowering: &mut Lowering<'_>) -> Result<Stream> {
        if self.exprs.is_empty() {
            return Ok(Stream {
                layout: None,
                key: None,
                ..self.input.clone()
            });
        }
        let schema = Arc::new(Schema::new(
            self.exprs
                .iter()
                .map(|(_, _, field)| field.clone())
                .collect::<Vec<_>>(),
        ));
        let exprs = self
            .exprs
            .into_iter()
            .map(|(_, planned, _)| planned)
            .collect();
        // The columns are addressed by index from here on.
        let names = Arc::clone(&self.input.names);
        lowering.project(self.input, exprs, &names, schema)
    }
}

/// Whether a plan is a projection of something, or an alias.
pub(super) fn below(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    match plan {
        LogicalPlan::Projection(projection) => Some(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => Some(&alias.input),
        _ => None,
    }
}
