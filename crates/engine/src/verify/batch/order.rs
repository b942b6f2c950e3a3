//! Rankings and LIMIT. Of rows with equal order the one that arrived first comes first, where that is known.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{Column, DFSchemaRef};
use datafusion::functions_window::{rank, row_number};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, FetchType, Limit, LogicalPlan, SkipType, Sort, SortExpr, Window,
    WindowFunctionDefinition, cast, lit,
};
use millstream_dataflow::{Error, Result};
use millstream_planner::logical::{Rank, Role};
use millstream_planner::{from_datafusion, logical};
use std::collections::HashMap;
use std::sync::Arc;

use super::{Arrivals, Part, Promise, Walk, Wish, millis, no_batch, role_of};
use crate::verify::marks::Marks;
use crate::verify::table::row_bytes;

/// The column with a row's place in the order of arrival.
const PLACE: &str = "\u{1}place";

/// A ranking function over rows.
struct Ranking<'a> {
    rank: Rank,
    partition: &'a [Expr],
    order: &'a [SortExpr],
}

impl<'a> Ranking<'a> {
    fn of(window: &'a Window) -> Option<Self> {
        let [one] = window.window_expr.as_slice() else {
            return None;
        };
        let call = window_call(one)?;
        let WindowFunctionDefinition::WindowUDF(function) = &call.fun else {
            return None;
        };
        Some(Self {
            rank: logical::ranking(function)?,
            partition: &call.params.partition_by,
            order: &call.params.order_by,
        })
    }
}

/// The call that an expression of a window is.
pub(super) fn window_call(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => window_call(&alias.expr),
        Expr::WindowFunction(call) => Some(call),
        _ => None,
    }
}

impl Walk<'_, '_> {
    pub(super) async fn window(&mut self, window: &Window, rank_max: Option<u64>) -> Result<Part> {
        match Ranking::of(window) {
            Some(ranking) => self.ranked(window, &ranking, rank_max).await,
            None => self.over(window).await,
        }
    }

    async fn ranked(
        &mut self,
        window: &Window,
        ranking: &Ranking<'_>,
        rank_max: Option<u64>,
    ) -> Result<Part> {
        let input = self.part(&window.input, Wish::default()).await?;
        let names = window.input.schema();
        let mut marks = input.marks.clone();
        marks.decide_by(ranking.partition, names);
        let by_arrival = order_role(ranking, names) == Some(Role::Proctime)
            && self.batch.facts.history.is_none();
        if !by_arrival {
            marks.decide_by(ranking.order.iter().map(|order| &order.expr), names);
        }
        let end = ranking
            .partition
            .iter()
            .find(|key| role_of(key, names) == Some(Role::WindowEnd))
            .filter(|_| !input.promise.clocked);
        let at_expiry = end.is_some() && input.promise.append_only;
        let ends: Vec<Expr> = end.into_iter().cloned().collect();
        let mut arrivals = self.arrivals(&window.input, &input, &ends).await?;
        if !ends.is_empty() {
            self.close(&mut arrivals, &input.promise, at_expiry)?;
        }
        let latest_first = is_latest(ranking, names, rank_max);
        if by_arrival && !(arrivals.ordered && rank_max == Some(1)) {
            let why = "the order of PROCTIME(): when a row arrived is known to the job alone";
            marks.doubt(Some(why.to_owned()));
        }
        let plan = self.numbered(&arrivals)?;
        if !arrivals.ordered && ranking.rank == Rank::RowNumber {
            let ties = self.ties(plan.clone(), ranking, rank_max).await?;
            ties.mark(&mut marks, names.fields().len());
        }
        Ok(Part {
            plan: ranks(plan, ranking, by_arrival, latest_first, window)?,
            promise: Promise {
                append_only: at_expiry,
                ordered: false,
                may_lack_late: input.promise.may_lack_late
                    || (end.is_some() && !arrivals.has_steps),
                ..input.promise
            },
            marks,
        })
    }

    /// Leaves the rows whose window, which ends in the first added column, has closed (if rows wait for that), and had not when
    /// they came.
    fn close(&self, arrivals: &mut Arrivals, promise: &Promise, wait: bool) -> Result<()> {
        let watermark = self.watermark(&promise.tables)?;
        let before = self.watermarks_before(&promise.tables).unwrap_or_default();
        let ends = arrivals.added.iter().map(|added| millis(&added[0]));
        let ends = ends.collect::<Result<Vec<_>>>()?;
        let steps = arrivals.steps.clone();
        arrivals.retain(|at, row| {
            let Some(end) = ends[at][row] else {
                return !wait;
            };
            let step = steps.get(at).map(|steps| steps[row] as usize);
            let before = step.and_then(|step| before.get(step));
            let is_late = before.is_some_and(|before| end.saturating_sub(1) <= *before);
            !is_late && (!wait || watermark.closes(end))
        })
    }

    /// Rows with their place in the order of arrival as a last column.
    pub(super) fn numbered(&self, arrivals: &Arrivals) -> Result<LogicalPlan> {
        let mut first = 0_i64;
        let mut firsts = Vec::new();
        for batch in &arrivals.batches {
            firsts.push(first);
            first += batch.num_rows() as i64;
        }
        let place = Field::new(PLACE, DataType::Int64, false);
        let (names, batches) = arrivals.with(vec![place], |at| {
            let rows = arrivals.batches[at].num_rows() as i64;
            let places = Int64Array::from_iter_values(firsts[at]..firsts[at] + rows);
            Ok(vec![Arc::new(places) as ArrayRef])
        })?;
        self.held(&names, batches)
    }

    /// Rows of which nobody knows which came first, although that decides their rank.
    async fn ties(
        &mut self,
        rows: LogicalPlan,
        ranking: &Ranking<'_>,
        rank_max: Option<u64>,
    ) -> Result<Ties> {
        let width = rows.schema().fields().len() - 1;
        let rank = call(rank::rank_udwf(), ranking.partition, ranking.order);
        let ranked = Window::try_new(vec![rank], Arc::new(rows)).map_err(from_datafusion)?;
        let ranked = self.with_columns(LogicalPlan::Window(ranked), ranking.partition)?;
        let mut groups: HashMap<Box<[u8]>, Tie> = HashMap::new();
        for batch in self.collect(&ranked).await? {
            let ranks = arrow::compute::cast(batch.column(width + 1), &DataType::Int64)?;
            let mut keys: Vec<ArrayRef> = batch.columns()[width + 2..].to_vec();
            let rows = row_bytes(&batch.columns()[..width], batch.num_rows())?;
            keys.push(Arc::clone(&ranks));
            let keys = row_bytes(&keys, batch.num_rows())?;
            let ranks = ranks.as_primitive::<Int64Type>();
            for (row, (key, bytes)) in keys.into_iter().zip(rows).enumerate() {
                let rank = ranks.value(row).unsigned_abs();
                if rank_max.is_some_and(|most| rank > most) {
                    continue;
                }
                let tie = groups
                    .entry(key)
                    .or_insert_with(|| Tie::new(rank, bytes.clone()));
                tie.rows += 1;
                tie.differs |= tie.first != bytes;
            }
        }
        let mut ties = Ties::default();
        for tie in groups.into_values().filter(|tie| tie.differs) {
            let last = tie.rank + tie.rows - 1;
            match rank_max {
                Some(most) if last > most => ties.at_the_end += 1,
                _ => ties.within += 1,
            }
        }
        Ok(ties)
    }

    /// The rows of a view have no order: only which rows there are counts.
    pub(super) async fn sort(&mut self, sort: &Sort) -> Result<Part> {
        match sort.fetch {
            None => self.part(&sort.input, Wish::default()).await,
            Some(fetch) => self.first(&sort.input, &sort.expr, 0, Some(fetch)).await,
        }
    }

    pub(super) async fn limit(&mut self, limit: &Limit) -> Result<Part> {
        let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) =
            (limit.get_skip_type(), limit.get_fetch_type())
        else {
            return Err(no_batch("LIMIT of an expression"));
        };
        match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => self.first(&sort.input, &sort.expr, skip, fetch).await,
            input => self.first(input, &[], skip, fetch).await,
        }
    }

    /// The first rows in some order.
    async fn first(
        &mut self,
        input: &LogicalPlan,
        order: &[SortExpr],
        skip: usize,
        fetch: Option<usize>,
    ) -> Result<Part> {
        let part = self.part(input, Wish::default()).await?;
        let mut marks = part.marks.clone();
        marks.decide_by(order.iter().map(|order| &order.expr), input.schema());
        let arrivals = self.arrivals(input, &part, &[]).await?;
        let place = place().sort(true, false);
        let sorted = LogicalPlan::Sort(Sort {
            expr: order.iter().cloned().chain([place]).collect(),
            input: Arc::new(self.numbered(&arrivals)?),
            fetch: None,
        });
        if !arrivals.ordered {
            let ends = [Some(skip), fetch.map(|fetch| skip + fetch)];
            let doubt = self.cut_ties(sorted.clone(), order, ends).await?;
            marks.doubt(doubt);
        }
        let whole = |rows: usize| Box::new(lit(i64::try_from(rows).unwrap_or(i64::MAX)));
        let cut = LogicalPlan::Limit(Limit {
            skip: Some(whole(skip)),
            fetch: fetch.map(whole),
            input: Arc::new(sorted),
        });
        let names: &DFSchemaRef = input.schema();
        let all: Vec<usize> = (0..names.fields().len()).collect();
        Ok(Part {
            plan: super::as_named(cut, names, &all)?,
            promise: Promise {
                append_only: false,
                ordered: false,
                ..part.promise
            },
            marks,
        })
    }

    /// Why a cut behind so many rows goes through rows of equal order.
    async fn cut_ties(
        &mut self,
        sorted: LogicalPlan,
        order: &[SortExpr],
        cuts: [Option<usize>; 2],
    ) -> Result<Option<String>> {
        let width = sorted.schema().fields().len() - 1;
        let keys: Vec<Expr> = order.iter().map(|order| order.expr.clone()).collect();
        let keyed = self.with_columns(sorted, &keys)?;
        let (mut rows, mut orders) = (Vec::new(), Vec::new());
        for batch in self.collect(&keyed).await? {
            rows.extend(row_bytes(&batch.columns()[..width], batch.num_rows())?);
            orders.extend(row_bytes(&batch.columns()[width + 1..], batch.num_rows())?);
        }
        for cut in cuts
            .into_iter()
            .flatten()
            .filter(|cut| *cut > 0 && *cut < rows.len())
        {
            let is_tied = |at: &usize| orders[*at] == orders[cut];
            let tied = (0..rows.len()).filter(is_tied);
            if orders[cut - 1] == orders[cut] && tied.into_iter().any(|at| rows[at] != rows[cut]) {
                return Ok(Some(
                    "LIMIT cuts through rows of equal order: which of them came first is not known here".to_owned(),
                ));
            }
        }
        Ok(None)
    }
}

/// Rows of one partition and rank.
struct Tie {
    rank: u64,
    rows: u64,
    first: Box<[u8]>,
    differs: bool,
}

impl Tie {
    fn new(rank: u64, first: Box<[u8]>) -> Self {
        Self {
            rank,
            rows: 0,
            first,
            differs: false,
        }
    }
}

/// How many ranks are undecided.
#[derive(Default)]
struct Ties {
    /// Some of their rows are kept, others are not.
    at_the_end: u64,
    /// All of their rows are kept, in some order.
    within: u64,
}

impl Ties {
    fn mark(&self, marks: &mut Marks, rank: usize) {
        let why = |ties: u64| {
            format!("{ties} ties of ROW_NUMBER(): which row came first is not known here")
        };
        if self.at_the_end > 0 {
            marks.doubt(Some(why(self.at_the_end)));
        }
        if self.within > 0 {
            marks.set(rank, Some(why(self.within)), None);
        }
    }
}

fn order_role(ranking: &Ranking<'_>, names: &DFSchemaRef) -> Option<Role> {
    match ranking.order {
        [one] => role_of(&one.expr, names),
        _ => None,
    }
}

/// Deduplication that keeps the last row by its time keeps the later arrival among rows of one time, as in Flink.
fn is_latest(ranking: &Ranking<'_>, names: &DFSchemaRef, rank_max: Option<u64>) -> bool {
    let by_time = matches!(
        order_role(ranking, names),
        Some(Role::Rowtime | Role::Proctime)
    );
    rank_max == Some(1) && by_time && ranking.order.iter().all(|order| !order.asc)
}

fn call(
    function: Arc<datafusion::logical_expr::WindowUDF>,
    partition: &[Expr],
    order: &[SortExpr],
) -> Expr {
    let fun = WindowFunctionDefinition::WindowUDF(function);
    let plain = WindowFunction::new(fun, Vec::new());
    let params = WindowFunctionParams {
        partition_by: partition.to_vec(),
        order_by: order.to_vec(),
        ..plain.params
    };
    Expr::WindowFunction(Box::new(WindowFunction {
        params,
        fun: plain.fun,
    }))
}

/// Rows with their rank, under the names of the plan.
fn ranks(
    rows: LogicalPlan,
    ranking: &Ranking<'_>,
    by_arrival: bool,
    latest_first: bool,
    window: &Window,
) -> Result<LogicalPlan> {
    let mut order = if by_arrival {
        Vec::new()
    } else {
        ranking.order.to_vec()
    };
    let function = match ranking.rank {
        Rank::RowNumber => {
            order.push(place().sort(!latest_first, false));
            row_number::row_number_udwf()
        }
        Rank::Rank => rank::rank_udwf(),
        Rank::DenseRank => rank::dense_rank_udwf(),
    };
    let width = rows.schema().fields().len() - 1;
    let rank = call(function, ranking.partition, &order);
    let ranked = Window::try_new(vec![rank], Arc::new(rows)).map_err(from_datafusion)?;
    let columns = ranked.schema.columns();
    let column = |at: usize| Expr::Column(columns[at].clone());
    let rank = cast(column(width + 1), DataType::Int64);
    let exprs = (0..width).map(column).chain([rank]).collect();
    super::renamed(LogicalPlan::Window(ranked), exprs, &window.schema)
}

/// The column with a row's place in the order of arrival.
pub(super) fn place() -> Expr {
    Expr::Column(Column::new_unqualified(PLACE))
}

/// Whether rows agree in some columns with others.
pub(super) fn has_ties(batches: &[RecordBatch], keys: &[Vec<ArrayRef>]) -> Result<bool> {
    let mut seen: HashMap<Box<[u8]>, Box<[u8]>> = HashMap::new();
    for (batch, keys) in batches.iter().zip(keys) {
        let rows = row_bytes(batch.columns(), batch.num_rows())?;
        for (key, row) in row_bytes(keys, batch.num_rows())?.into_iter().zip(rows) {
            match seen.get(&key) {
                Some(known) if *known != row => return Ok(true),
                Some(_) => {}
                None => drop(seen.insert(key, row)),
            }
        }
    }
    Ok(false)
}

/// The column of whole numbers at a place.
pub(super) fn integers(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let numbers = arrow::compute::cast(column, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    if numbers.len() != column.len() {
        return Err(Error::internal("a cast lost rows"));
    }
    Ok(numbers.iter().collect())
}
