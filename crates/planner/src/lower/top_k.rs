//! Top-N: a filter on ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...), and ORDER BY with LIMIT.

use arrow::datatypes::Schema;
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Filter, Limit, LogicalPlan, Operator, Projection, SkipType, Sort,
    SortExpr, Window, WindowFunctionDefinition,
};
use millstream_dataflow::{Error, Result};
use millstream_operators::top_k::{Order, Rank, TopK};
use std::collections::HashMap;
use std::sync::Arc;

use super::aggregate::Columns;
use super::rows::unaliased;
use super::{Lowering, Stream, shown_schema, unsupported};
use crate::error::from_datafusion;
use crate::time::{self, Role};

/// A filter on a ranking: the rank as the filter names it, the ranking, and a choice of columns between the two.
struct Ranked<'a> {
    rank: Column,
    window: &'a Window,
    chosen: Option<&'a Projection>,
}

impl<'a> Ranked<'a> {
    fn below(filter: &'a Filter) -> Option<Self> {
        let (window, chosen) = match filter.input.as_ref() {
            LogicalPlan::Window(window) => (window, None),
            LogicalPlan::Projection(projection) => match projection.input.as_ref() {
                LogicalPlan::Window(window) => (window, Some(projection)),
                _ => return None,
            },
            _ => return None,
        };
        let [_] = window.window_expr.as_slice() else {
            return None;
        };
        let idx = window.input.schema().fields().len();
        let rank = Column::from(window.schema.qualified_field(idx));
        let Some(projection) = chosen else {
            return Some(Self {
                rank,
                window,
                chosen,
            });
        };
        let is_rank =
            |expr: &Expr| matches!(unaliased(expr), Expr::Column(column) if *column == rank);
        let named = projection.expr.iter().position(is_rank)?;
        let rank = Column::from(projection.schema.qualified_field(named));
        Some(Self {
            rank,
            window,
            chosen,
        })
    }
}

/// The column that a filter ranks by, where it is a filter on a ranking.
pub(crate) fn rank_column(filter: &Filter) -> Option<Column> {
    Ranked::below(filter).map(|ranked| ranked.rank)
}

impl Lowering<'_> {
    /// A filter on a rank, if `filter` is one; with the rank among the columns or without.
    pub(super) fn top_k(&mut self, filter: &Filter, with_rank: bool) -> Result<Option<Stream>> {
        let Some(Ranked {
            rank,
            window,
            chosen,
        }) = Ranked::below(filter)
        else {
            return Ok(None);
        };
        let mut limit = None;
        let mut rest = Vec::new();
        for condition in split_conjunction(&filter.predicate) {
            match at_most(condition, &rank) {
                Some(n) => limit = Some(limit.map_or(n, |known: u64| known.min(n))),
                None => rest.push(condition.clone()),
            }
        }
        let needs_rank = with_rank || rest.iter().any(|expr| expr.column_refs().contains(&rank));
        let Some(limit) = limit else { return Ok(None) };
        let mut ranked = self.ranking(window, Some(limit), needs_rank)?;
        if let Some(projection) = chosen {
            ranked = self.choose(&ranked, projection, (!needs_rank).then_some(&rank))?;
        }
        match conjunction(rest) {
            Some(rest) => self.filtered(&ranked, &rest).map(Some),
            None => Ok(Some(ranked)),
        }
    }

    /// A projection of ranked rows, without the rank if that is not there.
    fn choose(
        &mut self,
        ranked: &Stream,
        projection: &Projection,
        left_out: Option<&Column>,
    ) -> Result<Stream> {
        let columns = projection.schema.iter().zip(&projection.expr);
        let kept = columns.filter(|((table, field), _)| {
            left_out
                != Some(&Column::new(
                    table.map(|table| (*table).clone()),
                    field.name(),
                ))
        });
        let (fields, exprs): (Vec<_>, Vec<Expr>) = kept
            .map(|((table, field), expr)| ((table.cloned(), Arc::clone(field)), expr.clone()))
            .unzip();
        let names = DFSchema::new_with_metadata(fields, HashMap::new()).map_err(from_datafusion)?;
        self.select(ranked, &exprs, &Arc::new(names))
    }

    /// Rows with their rank.
    pub(super) fn ranking(
        &mut self,
        window: &Window,
        limit: Option<u64>,
        with_rank: bool,
    ) -> Result<Stream> {
        let (function, params) = match window.window_expr.as_slice() {
            [one] => match unaliased(one) {
                Expr::WindowFunction(call) => {
                    let WindowFunction { fun, params } = call.as_ref();
                    (fun, params)
                }
                other => return Err(unsupported(&other.to_string())),
            },
            _ => return Err(unsupported("several OVER windows in one SELECT")),
        };
        let rank = match function {
            WindowFunctionDefinition::WindowUDF(function) => match function.name() {
                "row_number" => Rank::RowNumber,
                "rank" => Rank::Rank,
                "dense_rank" => Rank::DenseRank,
                other => return Err(unsupported(&format!("{other} OVER"))),
            },
            WindowFunctionDefinition::AggregateUDF(function) => {
                return Err(unsupported(&format!(
                    "{} OVER",
                    function.name().to_uppercase()
                )));
            }
        };
        let input = self.lower(&window.input)?;
        let shown = window.window_expr.first().filter(|_| with_rank);
        let shown = shown.map(|call| input.shown(call));
        let names = if with_rank {
            Arc::clone(&window.schema)
        } else {
            Arc::clone(window.input.schema())
        };
        self.ranked(
            &input,
            &names,
            &Ranking {
                partition: &params.partition_by,
                order: &params.order_by,
                rank,
                shown,
                limit,
                offset: 0,
            },
        )
    }

    fn ranked(
        &mut self,
        input: &Stream,
        names: &DFSchemaRef,
        ranking: &Ranking<'_>,
    ) -> Result<Stream> {
        let mut columns = Columns::new(input);
        let width = input.schema.fields().len();
        for column in input.names.columns() {
            columns.add(&Expr::Column(column))?;
        }
        let partition = columns.add_all(ranking.partition)?;
        let mut order = Vec::new();
        for sort in ranking.order {
            order.push(Order {
                column: columns.add(&sort.expr)?,
                descending: !sort.asc,
                nulls_first: sort.nulls_first,
            });
        }
        let rows = columns.finish(self)?;
        let window_end = partition
            .iter()
            .copied()
            .find(|idx| time::role(rows.schema.field(*idx)) == Some(Role::WindowEnd))
            .filter(|_| !rows.clocked);
        let limit = ranking.limit.unwrap_or(u64::MAX);
        let is_latest = keeps_latest(&rows.schema, &order, limit);
        // Columns that only order or partition are left out again; the rank is last.
        let mut spec = TopK::new(Arc::clone(&rows.schema), partition.clone(), order, limit)
            .offset(ranking.offset)
            .rank(ranking.rank)
            .output((0..width).collect());
        if let Some(name) = &ranking.shown {
            spec = spec.show_rank(name);
        }
        if rows.append_only {
            spec = spec.append_only();
        }
        if is_latest {
            spec = spec.later_first();
        }
        if let Some(column) = window_end {
            spec = spec.window_end(column);
        }
        // As in Flink: the rows of a window are put out once, when it closes.
        let append_only = window_end.is_some() && rows.append_only;
        if append_only {
            spec = spec.at_expiry();
        }
        let stream = self.stream(Arc::new(spec), &[&rows], names);
        let key = match (limit, ranking.rank) {
            (1, Rank::RowNumber) => Some(partition),
            (_, Rank::RowNumber) if ranking.shown.is_some() => {
                Some(partition.into_iter().chain([width]).collect())
            }
            (_, Rank::RowNumber | Rank::Rank | Rank::DenseRank) => input.key.clone(),
        };
        let key = key.filter(|key: &Vec<usize>| key.iter().all(|idx| *idx < names.fields().len()));
        Ok(Stream {
            schema: shown_schema(names, input.shown_names().chain(ranking.shown.clone())),
            append_only,
            key,
            ..stream
        })
    }

    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Stream> {
        let (Ok(SkipType::Literal(offset)), Ok(FetchType::Literal(fetch))) =
            (limit.get_skip_type(), limit.get_fetch_type())
        else {
            return Err(Error::user("LIMIT and OFFSET take whole numbers"));
        };
        let (input, order): (&LogicalPlan, &[SortExpr]) = match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => (&sort.input, &sort.expr),
            other => (other, &[]),
        };
        let rows = self.lower(input)?;
        let names = Arc::clone(limit.input.schema());
        let ranking = Ranking {
            partition: &[],
            order,
            rank: Rank::RowNumber,
            shown: None,
            limit: fetch.map(|n| n as u64),
            offset: offset as u64,
        };
        self.ranked(&rows, &names, &ranking)
    }

    /// The rows of a view have no order: readers give theirs.
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<Stream> {
        match sort.fetch {
            None => self.lower(&sort.input),
            Some(fetch) => {
                let rows = self.lower(&sort.input)?;
                let ranking = Ranking {
                    partition: &[],
                    order: &sort.expr,
                    rank: Rank::RowNumber,
                    shown: None,
                    limit: Some(fetch as u64),
                    offset: 0,
                };
                self.ranked(&rows, sort.input.schema(), &ranking)
            }
        }
    }
}

struct Ranking<'a> {
    partition: &'a [Expr],
    order: &'a [SortExpr],
    rank: Rank,
    /// What people call the rank, if it is a column.
    shown: Option<String>,
    limit: Option<u64>,
    offset: u64,
}

/// Deduplication that keeps the last row by event time keeps the later arrival among rows of one time, as in Flink.
fn keeps_latest(schema: &Schema, order: &[Order], limit: u64) -> bool {
    match order {
        [one] => {
            limit == 1
                && one.descending
                && matches!(
                    time::role(schema.field(one.column)),
                    Some(Role::Rowtime | Role::Proctime)
                )
        }
        _ => false,
    }
}

/// The `n` of `rank <= n`, `rank < n + 1`, `rank = 1`.
pub(crate) fn at_most(condition: &Expr, rank: &Column) -> Option<u64> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
        return None;
    };
    let (op, bound) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), bound) if column == rank => (*op, bound),
        (bound, Expr::Column(column)) if column == rank => (op.swap()?, bound),
        _ => return None,
    };
    let Expr::Literal(value, _) = bound else {
        return None;
    };
    let ScalarValue::Int64(Some(bound)) = value.cast_to(&arrow::datatypes::DataType::Int64).ok()?
    else {
        return None;
    };
    let limit = match op {
        Operator::LtEq => bound,
        Operator::Lt => bound - 1,
        Operator::Eq if bound == 1 => 1,
        _ => return None,
    };
    u64::try_from(limit).ok()
}
