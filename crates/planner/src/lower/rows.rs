//! Row by row: projections, filters, unions, aliases, UNNEST.

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, SubqueryAlias, Union};
use millstream_dataflow::{Expression, Result};
use millstream_operators::stamp::Stamp;
use millstream_operators::{filter, project, union, unnest};
use std::sync::Arc;

use super::aggregate::Columns;
use super::{Lowering, Stream, engine_schema, engine_type, shown_schema, top_k, unsupported};
use crate::paths::Layout;
use crate::unnest::Unnest;
use crate::{expr, now, time};

impl Lowering<'_> {
    pub(super) fn projection(&mut self, projection: &Projection) -> Result<Stream> {
        if let Some(stream) = self.unranked(projection)? {
            return Ok(stream);
        }
        let input = self.lower_raw(&projection.input)?;
        self.select(&input, &projection.expr, &projection.schema)
    }

    /// A projection of a stream.
    pub(super) fn select(
        &mut self,
        input: &Stream,
        exprs: &[Expr],
        names: &DFSchemaRef,
    ) -> Result<Stream> {
        let schema = shown_schema(names, exprs.iter().map(|expr| input.shown(expr)));
        let is_stamp = |expr: &Expr| now::is_proctime(unaliased(expr));
        let planned = exprs
            .iter()
            .zip(schema.fields())
            .map(|(expr, field)| match is_stamp(expr) {
                true => Self::expr(
                    input,
                    &Expr::Literal(ScalarValue::Null, None),
                    Some(field.data_type()),
                ),
                false => Self::expr(input, unaliased(expr), Some(field.data_type())),
            });
        let planned = planned.collect::<Result<Vec<_>>>()?;
        let rows = self.project(input, planned, names, schema)?;
        let stamps = exprs.iter().enumerate().filter(|(_, expr)| is_stamp(expr));
        stamps
            .map(|(idx, _)| idx)
            .try_fold(rows, |rows, column| self.stamped(rows, column))
    }

    /// Rows with the clock's reading in a column.
    pub(super) fn stamped(&mut self, rows: Stream, column: usize) -> Result<Stream> {
        if !rows.append_only {
            return Err(
                unsupported("PROCTIME() of rows that are updated or deleted")
                    .hint("add it to the table whose rows are only appended: p AS PROCTIME()"),
            );
        }
        let spec = Stamp::new(Arc::clone(&rows.schema), column);
        let (node, partitioning, _) = self.add(format!("{spec:?}"), Arc::new(spec), &[&rows]);
        Ok(Stream {
            node,
            partitioning,
            ..rows
        })
    }

    /// A projection by planned expressions; none where it would give what is there.
    pub(super) fn project(
        &mut self,
        input: &Stream,
        exprs: Vec<Arc<dyn Expression>>,
        names: &DFSchemaRef,
        schema: SchemaRef,
    ) -> Result<Stream> {
        let columns: Vec<Option<usize>> = exprs.iter().map(|expr| expr.as_column()).collect();
        let key = input.key.as_ref().and_then(|key| {
            key.iter()
                .map(|key| columns.iter().position(|column| *column == Some(*key)))
                .collect()
        });
        if columns
            .iter()
            .enumerate()
            .all(|(idx, column)| *column == Some(idx))
            && columns.len() == input.schema.fields().len()
        {
            return Ok(Stream {
                names: Arc::clone(names),
                schema,
                layout: None,
                key,
                ..input.clone()
            });
        }
        let types: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.data_type())
            .collect();
        let what = format!("Project {exprs:?} {types:?}");
        let stream = self.stream_of(
            what,
            Arc::new(project::Project::new(schema, exprs)?),
            &[input],
            names,
        );
        Ok(Stream { key, ..stream })
    }

    pub(super) fn filter(&mut self, filter: &Filter) -> Result<Stream> {
        if let Some(stream) = self.top_k(filter, true)? {
            return Ok(stream);
        }
        let input = self.lower_raw(&filter.input)?;
        self.filtered(&input, &filter.predicate)
    }

    /// The rows of a plan while a condition on the clock is true; what it says besides is an ordinary filter.
    pub(super) fn while_true(&mut self, plan: &LogicalPlan, predicate: &Expr) -> Result<Stream> {
        let input = self.lower_raw(plan)?;
        let (timed, plain): (Vec<&Expr>, Vec<&Expr>) = split_conjunction(predicate)
            .into_iter()
            .partition(|expr| super::temporal::has_now(expr));
        let filtered = match conjunction(plain.into_iter().cloned()) {
            Some(predicate) => self.filtered(&input, &predicate)?,
            None => input,
        };
        self.temporal(&filtered, &timed)
    }

    /// The rows of a stream where a predicate is true.
    pub(super) fn filtered(&mut self, input: &Stream, predicate: &Expr) -> Result<Stream> {
        let planned = Self::expr(input, predicate, None)?;
        let spec = filter::Filter::new(Arc::clone(&input.schema), planned);
        let (node, partitioning, schema) = self.add(format!("{spec:?}"), Arc::new(spec), &[input]);
        Ok(Stream {
            node,
            partitioning,
            schema,
            ..input.clone()
        })
    }

    pub(super) fn alias(&mut self, alias: &SubqueryAlias) -> Result<Stream> {
        let input = self.lower_raw(&alias.input)?;
        if input.layout.is_some() {
            return Ok(input);
        }
        Ok(Stream {
            names: Arc::clone(&alias.schema),
            ..input
        })
    }

    pub(super) fn union(&mut self, plan: &Union) -> Result<Stream> {
        let mut schema = engine_schema(&plan.schema);
        let mut inputs = Vec::new();
        for input in &plan.inputs {
            let stream = self.lower(input)?;
            if inputs.is_empty() {
                schema = shown_schema(&plan.schema, stream.shown_names());
            }
            let exprs = input
                .schema()
                .columns()
                .into_iter()
                .map(Expr::Column)
                .collect::<Vec<_>>();
            let cast = exprs
                .iter()
                .zip(schema.fields())
                .map(|(expr, field)| Self::expr(&stream, expr, Some(field.data_type())));
            let cast = cast.collect::<Result<Vec<_>>>()?;
            inputs.push(self.project(&stream, cast, &plan.schema, Arc::clone(&schema))?);
        }
        let inputs: Vec<&Stream> = inputs.iter().collect();
        Ok(self.stream(Arc::new(union::Union::new(schema)), &inputs, &plan.schema))
    }

    pub(super) fn unnest(&mut self, plan: &Unnest) -> Result<Stream> {
        let input = self.lower(&plan.input)?;
        let width = input.schema.fields().len();
        let mut columns = Columns::new(&input);
        for column in input.names.columns() {
            columns.add(&Expr::Column(column))?;
        }
        let collection = columns.add(&plan.collection)?;
        let rows = columns.finish(self)?;
        let names = plan.added();
        let output = (0..width).collect();
        let mut spec = unnest::Unnest::new(Arc::clone(&rows.schema), collection, output, &names)?;
        if plan.kind.is_outer {
            spec = spec.outer();
        }
        if let (true, Some(name)) = (plan.kind.is_numbered, names.last()) {
            spec = spec.with_ordinality(name);
        }
        let names = datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(plan);
        let stream = self.stream(Arc::new(spec), &[&rows], names);
        Ok(Stream {
            schema: shown_schema(names, input.shown_names()),
            ..stream
        })
    }

    /// A projection that leaves a rank out: the Top-N need not keep it right.
    fn unranked(&mut self, projection: &Projection) -> Result<Option<Stream>> {
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else {
            return Ok(None);
        };
        let Some(rank) = top_k::rank_column(filter) else {
            return Ok(None);
        };
        if projection
            .expr
            .iter()
            .any(|expr| expr.column_refs().contains(&rank))
        {
            return Ok(None);
        }
        match self.top_k(filter, false)? {
            Some(input) => self
                .select(&input, &projection.expr, &projection.schema)
                .map(Some),
            None => Ok(None),
        }
    }
}

/// What an alias stands for.
pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// The engine's columns of a plan over a source, with what the source says of their time.
pub(super) fn described(names: &DFSchema, layout: &Layout) -> SchemaRef {
    let fields = names.fields().iter().map(|field| {
        let plain = Field::new(field.name(), engine_type(field.data_type()), true)
            .with_metadata(field.metadata().clone());
        let role = layout
            .index(&[field.name().clone()])
            .and_then(|idx| time::role(layout.schema.field(idx)));
        role.map_or(plain.clone(), |role| time::with_role(plain, role))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A column of a stream as an expression.
pub(super) fn column_of(stream: &Stream, idx: usize) -> Arc<dyn Expression> {
    expr::column(idx, stream.schema.field(idx).name())
}
