//! After binding: Flink's casts, one text type, and type coercion; then the optimizer rules that hold for plans that are
//! maintained.
//!
//! Left out of DataFusion's rules, because they would make the maintained plan dearer or another one: DISTINCT aggregates as
//! two aggregations, filters on NULL join keys, grouping by constants, limits pushed below.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion, TreeNodeRewriter};
use datafusion::common::{DFSchemaRef, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Cast, Distinct, Expr, ExprSchemable, FetchType, LogicalPlan, LogicalPlanBuilder, Subquery,
    TryCast,
};
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::{TypeCoercion, TypeCoercionRewriter};
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_limit::EliminateLimit;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::extract_leaf_expressions::{
    ExtractLeafExpressions, PushDownLeafProjections,
};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext, OptimizerRule};
use millstream_functions::cast::{self, CharLen, Mode, Target};
use std::sync::Arc;

use crate::types::FLINK_TYPE;
use crate::{aggregates, clock_filter};

/// Gives a bound plan its final types.
pub(crate) fn analyze(plan: LogicalPlan, time_zone: &str) -> Result<LogicalPlan> {
    let casts = Casts {
        time_zone: time_zone.to_owned(),
    };
    let plan = plan
        .transform_up_with_subqueries(|plan| casts.plan(plan))?
        .data;
    let analyzer = Analyzer::with_rules(vec![
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(TypeCoercion::new()),
    ]);
    analyzer.execute_and_check(plan, &ConfigOptions::default(), |_, _| {})
}

/// Gives a bound expression over some columns its final types.
pub(crate) fn expression(expr: Expr, schema: &DFSchemaRef, time_zone: &str) -> Result<Expr> {
    let mut rewriter = Rewriter { schema, time_zone };
    let expr = expr.rewrite(&mut rewriter)?.data;
    Ok(expr.rewrite(&mut TypeCoercionRewriter::new(schema))?.data)
}

/// Optimizes an analyzed plan.
pub(crate) fn optimize(plan: LogicalPlan) -> Result<LogicalPlan> {
    if plan.exists(|plan| Ok(matches!(plan, LogicalPlan::Distinct(Distinct::On(_)))))? {
        return plan_err!(
            "DISTINCT ON can't be maintained\nhint: use ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...) and keep row 1"
        );
    }
    let plan = clock_filter::fix(plan)?;
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateLimit::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(ExtractLeafExpressions::new()),
        Arc::new(PushDownLeafProjections::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let mut config = ConfigOptions::default();
    // A scalar subquery changes as its rows do: it is a join like any other, never a value read once.
    config
        .optimizer
        .enable_physical_uncorrelated_scalar_subquery = false;
    let context = OptimizerContext::new_with_config_options(Arc::new(config));
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}

struct Casts {
    time_zone: String,
}

impl Casts {
    fn plan(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema.merge(scan.projected_schema.as_ref());
        }
        let schema = Arc::new(schema);
        let names = NamePreserver::new(&plan);
        let rewritten = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let mut rewriter = Rewriter {
                schema: &schema,
                time_zone: &self.time_zone,
            };
            expr.rewrite(&mut rewriter)?
                .map_data(|expr| Ok(name.restore(expr)))
        })?;
        rewritten.map_data(LogicalPlan::recompute_schema)
    }
}

struct Rewriter<'a> {
    schema: &'a DFSchemaRef,
    time_zone: &'a str,
}

impl TreeNodeRewriter for Rewriter<'_> {
    type Node = Expr;

    /// The field names of `get_field` are no texts of the query.
    fn f_down(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let is_access = matches!(&expr, Expr::ScalarFunction(call) if call.name() == "get_field");
        if let (true, Expr::ScalarFunction(mut call)) = (is_access, expr.clone()) {
            let base = std::mem::take(&mut call.args[0]);
            call.args[0] = base.rewrite(self)?.data;
            return Ok(Transformed::new(
                Expr::ScalarFunction(call),
                true,
                TreeNodeRecursion::Jump,
            ));
        }
        Ok(Transformed::no(expr))
    }

    fn f_up(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::Literal(ScalarValue::Utf8(text), metadata) => {
                Transformed::yes(Expr::Literal(ScalarValue::Utf8View(text), metadata))
            }
            Expr::Cast(Cast { expr, field }) => self.cast(*expr, field, false)?,
            Expr::TryCast(TryCast { expr, field }) => self.cast(*expr, field, true)?,
            Expr::ScalarSubquery(subquery) => single_value(subquery)?,
            other => Transformed::no(other),
        })
    }
}

impl Rewriter<'_> {
    fn cast(&self, expr: Expr, field: FieldRef, is_try: bool) -> Result<Transformed<Expr>> {
        let from = expr.get_type(self.schema.as_ref())?;
        let name = field.metadata().get(FLINK_TYPE).map_or("", String::as_str);
        let to = Target {
            data_type: field.data_type().clone(),
            char_len: char_len(name),
            fraction: fraction(name),
        };
        let is_plain = to.char_len.is_none()
            && to.fraction.is_none()
            && !cast::needs_flink(&from, &to.data_type);
        if from == DataType::Null || is_plain {
            let expr = Box::new(expr);
            return Ok(Transformed::no(if is_try {
                Expr::TryCast(TryCast { expr, field })
            } else {
                Expr::Cast(Cast { expr, field })
            }));
        }
        let options = millstream_functions::Options {
            time_zone: self.time_zone.to_owned(),
        };
        let mode = if is_try { Mode::Try } else { Mode::Strict };
        Ok(Transformed::yes(
            cast::udf(to, mode, &options).call(vec![expr]),
        ))
    }
}

/// A scalar subquery that could give several rows fails when it does.
fn single_value(subquery: Subquery) -> Result<Transformed<Expr>> {
    if !subquery.outer_ref_columns.is_empty() || gives_one_row(&subquery.subquery) {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let plan = subquery.subquery.as_ref().clone();
    let (Some(column), Some(function)) = (
        plan.schema().columns().into_iter().next(),
        aggregates::aggregate("single_value"),
    ) else {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    };
    let name = column.name.clone();
    let value = function.call(vec![Expr::Column(column)]).alias(name);
    let plan = LogicalPlanBuilder::from(plan)
        .aggregate(Vec::<Expr>::new(), vec![value])?
        .build()?;
    Ok(Transformed::yes(Expr::ScalarSubquery(
        subquery.with_plan(Arc::new(plan)),
    )))
}

fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => gives_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => gives_one_row(&alias.input),
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1))))
        }
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}

/// The digits of a second in `TIME(p)`, `TIMESTAMP(p)` or `TIMESTAMP_LTZ(p)`.
fn fraction(name: &str) -> Option<u8> {
    let digits = ["TIMESTAMP_LTZ(", "TIMESTAMP(", "TIME("]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))?;
    digits.strip_suffix(')')?.parse().ok()
}

fn char_len(name: &str) -> Option<CharLen> {
    let digits = |prefix| name.strip_prefix(prefix)?.strip_suffix(')')?.parse().ok();
    digits("CHAR(")
        .map(CharLen::Char)
        .or_else(|| digits("VARCHAR(").map(CharLen::VarChar))
}
