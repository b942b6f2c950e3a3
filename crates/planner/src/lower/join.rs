//! Joins.

use arrow::datatypes::{Field, Schema};
use datafusion::common::{DFSchema, NullEquality};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{self, Expr, JoinType};
use millstream_dataflow::{Error, Result, Spec};
use millstream_operators::join::{Expiry, Join, Key, Kind, NotIn, Residual};
use std::sync::Arc;

use super::rows::column_of;
use super::{Lowering, Stream, engine_type, shown_schema};
use crate::error::from_datafusion;
use crate::time::{self, Role};
use crate::{expr, interval};

impl Lowering<'_> {
    pub(super) fn join(&mut self, plan: &logical_expr::Join) -> Result<Stream> {
        let left = self.lower(&plan.left)?;
        let right = self.lower(&plan.right)?;
        let (left_on, right_on): (Vec<&Expr>, Vec<&Expr>) =
            plan.on.iter().map(|(left, right)| (left, right)).unzip();
        let (left, left_keys) = self.with_keys(left, &left_on)?;
        let (right, right_keys) = self.with_keys(right, &right_on)?;
        if plan.null_aware && plan.join_type == JoinType::LeftAnti {
            return self.not_in(plan, &left, &right, &left_keys, &right_keys);
        }
        let null_equal = plan.null_equality == NullEquality::NullEqualsNull;
        let keys: Vec<Key> = left_keys
            .iter()
            .zip(&right_keys)
            .map(|(left, right)| Key {
                left: *left,
                right: *right,
                null_equal,
            })
            .collect();
        let kind = kind(plan)?;
        let width = plan.left.schema().fields().len();
        let output = output(
            kind,
            width,
            left.schema.fields().len(),
            plan.right.schema().fields().len(),
        );
        let mut spec = Join::new(
            Arc::clone(&left.schema),
            Arc::clone(&right.schema),
            kind,
            keys.clone(),
        )
        .append_only(left.append_only, right.append_only)
        .output(output)?;
        if let Some(filter) = &plan.filter {
            spec = spec.residual(residual(filter, &left, &right)?);
        }
        let inputs_append = left.append_only && right.append_only;
        let mut append_only = inputs_append && kind == Kind::Inner;
        if let Some(expiry) = Self::expiry(plan, &left, &right, &keys) {
            spec = spec.expiry(expiry);
            // As in Flink: a row without a partner is put out once, when none can come any more.
            if inputs_append {
                spec = spec.padding_at_expiry();
                append_only = true;
            }
        }
        let shown = spec.schema();
        let shown = shown.fields().iter().map(|field| field.name().clone());
        let schema = shown_schema(&plan.schema, shown);
        let stream = self.stream(Arc::new(spec), &[&left, &right], &plan.schema);
        let key = unique(kind, &left, &right, &left_keys, &right_keys, width);
        Ok(Stream {
            schema,
            append_only,
            key,
            ..stream
        })
    }

    /// NOT IN where NULLs can be: no rows at all once the right side has a NULL, and none with a NULL key once it has any row.
    fn not_in(
        &mut self,
        plan: &logical_expr::Join,
        left: &Stream,
        right: &Stream,
        left_keys: &[usize],
        right_keys: &[usize],
    ) -> Result<Stream> {
        let ([left_key], [right_key], None) = (left_keys, right_keys, &plan.filter) else {
            return Err(Error::user("NOT IN over several columns, or correlated, can't be maintained where NULLs can be")
                .hint("write NOT EXISTS, or add IS NOT NULL to the subquery"));
        };
        let spec = NotIn::new(
            Arc::clone(&left.schema),
            *left_key,
            Arc::clone(&right.schema),
            *right_key,
        );
        let rows = self.stream(Arc::new(spec), &[left, right], &left.names);
        let kept = (0..plan.schema.fields().len())
            .map(|idx| column_of(&rows, idx))
            .collect();
        let schema = shown_schema(&plan.schema, left.shown_names());
        let stream = self.project(&rows, kept, &plan.schema, schema)?;
        Ok(Stream {
            append_only: false,
            key: left.key.clone(),
            ..stream
        })
    }

    /// A stream with the join's keys as columns, appended where they are not there yet.
    fn with_keys(&mut self, input: Stream, keys: &[&Expr]) -> Result<(Stream, Vec<usize>)> {
        let planned = keys
            .iter()
            .map(|key| Self::expr(&input, key, None))
            .collect::<Result<Vec<_>>>()?;
        if let Some(columns) = planned
            .iter()
            .map(|key| key.as_column())
            .collect::<Option<Vec<_>>>()
        {
            return Ok((input, columns));
        }
        use datafusion::logical_expr::ExprSchemable;
        let mut exprs: Vec<_> = (0..input.schema.fields().len())
            .map(|idx| column_of(&input, idx))
            .collect();
        let mut fields: Vec<Field> = input
            .schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        let mut named: Vec<_> = input
            .names
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .collect();
        let mut columns = Vec::new();
        for (planned, key) in planned.into_iter().zip(keys) {
            columns.push(match planned.as_column() {
                Some(column) => column,
                None => {
                    let (_, found) = key
                        .to_field(input.names.as_ref())
                        .map_err(from_datafusion)?;
                    let field = Field::new(input.shown(key), engine_type(found.data_type()), true);
                    // A name that no query can have, and that is not in the other side either.
                    let name = format!("\u{1}key {} {}", self.graph.nodes.len(), fields.len());
                    named.push((None, Arc::new(field.clone().with_name(name))));
                    fields.push(field);
                    exprs.push(Self::expr(
                        &input,
                        key,
                        Some(&engine_type(found.data_type())),
                    )?);
                    exprs.len() - 1
                }
            });
        }
        let names = Arc::new(
            DFSchema::new_with_metadata(named, std::collections::HashMap::new())
                .map_err(from_datafusion)?,
        );
        Ok((
            self.project(&input, exprs, &names, Arc::new(Schema::new(fields)))?,
            columns,
        ))
    }

    /// What bounds the state of a join: windows on both sides, or an interval between two event times.
    fn expiry(
        plan: &logical_expr::Join,
        left: &Stream,
        right: &Stream,
        keys: &[Key],
    ) -> Option<Expiry> {
        if left.clocked || right.clocked {
            return None;
        }
        let is_end = |stream: &Stream, idx: usize| {
            time::role(stream.schema.field(idx)) == Some(Role::WindowEnd)
        };
        if let Some(key) = keys
            .iter()
            .find(|key| is_end(left, key.left) && is_end(right, key.right))
        {
            return Some(Expiry::Windows {
                left: key.left,
                right: key.right,
            });
        }
        let condition = conjunction(plan.filter.iter().cloned())?;
        let interval = interval::between(&condition, left, right)?;
        Some(Expiry::Interval {
            left: interval.left,
            right: interval.right,
            lower_ms: interval.lower_ms,
            upper_ms: interval.upper_ms,
        })
    }
}

/// What else must hold, over just the columns that it reads.
fn residual(filter: &Expr, left: &Stream, right: &Stream) -> Result<Residual> {
    let both = left.names.join(&right.names).map_err(from_datafusion)?;
    let mut columns: Vec<usize> = filter
        .column_refs()
        .into_iter()
        .filter_map(|column| both.maybe_index_of_column(column))
        .collect();
    columns.sort_unstable();
    let read = columns.iter().map(|idx| {
        let (qualifier, field) = both.qualified_field(*idx);
        (qualifier.cloned(), Arc::clone(field))
    });
    let names = DFSchema::new_with_metadata(read.collect(), std::collections::HashMap::new())
        .map_err(from_datafusion)?;
    let fields: Vec<_> = left
        .schema
        .fields()
        .iter()
        .chain(right.schema.fields())
        .collect();
    let shown: Vec<_> = columns.iter().map(|idx| Arc::clone(fields[*idx])).collect();
    Ok(Residual {
        columns,
        predicate: expr::plan_shown(filter, &names, &Schema::new(shown), None)?,
    })
}

fn kind(plan: &logical_expr::Join) -> Result<Kind> {
    Ok(match plan.join_type {
        JoinType::Inner => Kind::Inner,
        JoinType::Left => Kind::Left,
        JoinType::Right => Kind::Right,
        JoinType::Full => Kind::Full,
        JoinType::LeftSemi => Kind::LeftSemi,
        JoinType::LeftAnti => Kind::LeftAnti,
        JoinType::RightSemi => Kind::RightSemi,
        JoinType::RightAnti => Kind::RightAnti,
        JoinType::LeftMark | JoinType::RightMark => {
            return Err(Error::user(format!("{} joins can't be maintained incrementally yet", plan.join_type))
                .hint("EXISTS or IN under OR or in SELECT makes one: write it as a condition joined by AND, or as a LEFT JOIN"));
        }
    })
}

/// The columns of left ++ right that the plan has: the added keys are left out.
fn output(kind: Kind, left: usize, left_wide: usize, right: usize) -> Vec<usize> {
    let from_left = 0..left;
    match kind {
        Kind::LeftSemi | Kind::LeftAnti => from_left.collect(),
        Kind::RightSemi | Kind::RightAnti => (left_wide..left_wide + right).collect(),
        Kind::Inner | Kind::Left | Kind::Right | Kind::Full => {
            from_left.chain(left_wide..left_wide + right).collect()
        }
    }
}

/// The columns that identify a row of a join: those of both sides, or of one where the other has at most one match.
fn unique(
    kind: Kind,
    left: &Stream,
    right: &Stream,
    left_keys: &[usize],
    right_keys: &[usize],
    width: usize,
) -> Option<Vec<usize>> {
    let within = |key: &Option<Vec<usize>>, columns: &[usize]| {
        key.as_ref()
            .is_some_and(|key| key.iter().all(|idx| columns.contains(idx)))
    };
    let shifted = |key: &[usize]| key.iter().map(|idx| idx + width).collect::<Vec<_>>();
    match kind {
        Kind::LeftSemi | Kind::LeftAnti => left.key.clone(),
        Kind::RightSemi | Kind::RightAnti => right.key.clone(),
        Kind::Inner | Kind::Left if within(&right.key, right_keys) => left.key.clone(),
        Kind::Inner | Kind::Right if within(&left.key, left_keys) => {
            right.key.as_deref().map(shifted)
        }
        Kind::Inner | Kind::Left | Kind::Right | Kind::Full => {
            let (left, right) = (left.key.as_ref()?, right.key.as_ref()?);
            Some(left.iter().copied().chain(shifted(right)).collect())
        }
    }
}
