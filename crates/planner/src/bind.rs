//! SQL to a logical plan: DataFusion's binder with Flink's names, types and functions.

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, DataFusionError, Result, TableReference, ToDFSchema, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, PlannedRelation, PlannerResult, RawAggregateExpr, RawBinaryExpr,
    RawFieldAccessExpr, RawWindowExpr, RelationPlanner, RelationPlannerContext, RelationPlanning,
    TypePlanner,
};
use datafusion::logical_expr::{
    AggregateUDF, Cast, Expr, ExprSchemable, Extension, GetFieldAccess, HigherOrderUDF,
    LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF, lit,
};
use datafusion::sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use millstream_functions::arithmetic::{self, Op};
use millstream_operators::window;
use millstream_sql::{FieldType, Window, window_call};
use sqlparser::ast::{BinaryOperator, TableFactor};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::catalog::{Bound, Catalog};
use crate::error::from_datafusion;
use crate::window_tvf::WindowTvf;
use crate::{aggregates, analyze, dialect, now, types};

/// What names mean while text is bound.
#[derive(Debug)]
pub struct Binder<'a> {
    catalog: &'a Catalog,
    time_zone: String,
    functions: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    relations: Vec<Arc<dyn RelationPlanner>>,
    options: ConfigOptions,
    /// The relations that were named so far.
    named: RefCell<BTreeSet<String>>,
}

impl<'a> Binder<'a> {
    /// A binder over these names, for a session in this time zone (an IANA name or an offset).
    pub fn new(catalog: &'a Catalog, time_zone: &str) -> Self {
        let all = millstream_functions::scalar_functions(&millstream_functions::Options {
            time_zone: time_zone.to_owned(),
        });
        let all = all.into_iter().chain(now::functions(time_zone));
        let named = all.flat_map(|function| {
            let names: Vec<String> = std::iter::once(function.name())
                .chain(function.aliases().iter().map(String::as_str))
                .map(str::to_owned)
                .collect();
            names
                .into_iter()
                .map(move |name| (name, Arc::clone(&function)))
        });
        let functions: HashMap<_, _> = named.collect();
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(Operators {
            functions: functions.clone(),
        })];
        Self {
            catalog,
            time_zone: time_zone.to_owned(),
            functions,
            planners,
            relations: vec![Arc::new(TableFunctions)],
            options: ConfigOptions::default(),
            named: RefCell::default(),
        }
    }

    /// The relations that what was bound so far names.
    pub fn reads(&self) -> BTreeSet<String> {
        self.named.borrow().clone()
    }

    /// Binds and analyzes a query.
    pub fn query(&self, query: &sqlparser::ast::Query) -> millstream_dataflow::Result<LogicalPlan> {
        let mut query = query.clone();
        dialect::rewrite_query(&mut query);
        let statement = sqlparser::ast::Statement::Query(Box::new(query));
        let plan = SqlToRel::new_with_options(self, parser_options())
            .sql_statement_to_plan(statement)
            .map_err(from_datafusion)?;
        analyze::analyze(plan, &self.time_zone).map_err(from_datafusion)
    }

    /// Binds and analyzes an expression over some columns (a computed column, a watermark).
    pub fn expression(
        &self,
        expr: &sqlparser::ast::Expr,
        schema: &SchemaRef,
    ) -> millstream_dataflow::Result<Expr> {
        let mut expr = expr.clone();
        dialect::rewrite_expr(&mut expr);
        let bind = || {
            let schema = Arc::clone(schema).to_dfschema_ref()?;
            let expr = SqlToRel::new_with_options(self, parser_options()).sql_to_expr(
                expr,
                &schema,
                &mut PlannerContext::new(),
            )?;
            analyze::expression(expr, &schema, &self.time_zone)
        };
        bind().map_err(from_datafusion)
    }

    /// The names of all functions, sorted.
    pub fn function_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            [self.udf_names(), self.udaf_names(), self.udwf_names()].concat();
        names.sort();
        names
    }

    /// The session's time zone.
    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }
}

fn parser_options() -> ParserOptions {
    ParserOptions {
        parse_float_as_decimal: true,
        enable_ident_normalization: false,
        support_varchar_with_length: true,
        enable_options_value_normalization: false,
        collect_spans: true,
        map_string_types_to_utf8view: true,
        default_null_ordering: NullOrdering::NullsMin,
    }
}

impl ContextProvider for Binder<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let relation = self
            .catalog
            .require(name.table())
            .map_err(|error| crate::error::to_datafusion(&error))?;
        self.named.borrow_mut().insert(name.table().to_owned());
        Ok(Arc::new(Bound {
            name: name.table().to_owned(),
            relation: Arc::clone(relation),
        }))
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        _schema: SchemaRef,
    ) -> Result<Arc<dyn TableSource>> {
        plan_err!("WITH RECURSIVE `{name}` can't be maintained incrementally yet")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types {
            time_zone: self.time_zone.clone(),
        }))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(&name.to_lowercase()).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        aggregates::aggregate(&name.to_lowercase())
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        aggregates::ranking(&name.to_lowercase())
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        aggregates::NAMES
            .iter()
            .map(|name| (*name).to_owned())
            .collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        aggregates::RANKINGS
            .iter()
            .map(|name| (*name).to_owned())
            .collect()
    }
}

/// Operators and literals with a syntax of their own.
#[derive(Debug)]
struct Operators {
    functions: HashMap<String, Arc<ScalarUDF>>,
}

impl Operators {
    fn call<T>(&self, name: &str, args: Vec<Expr>) -> Result<PlannerResult<T>> {
        match self.functions.get(name) {
            Some(function) => Ok(PlannerResult::Planned(Expr::ScalarFunction(
                ScalarFunction::new_udf(Arc::clone(function), args),
            ))),
            None => plan_err!("the function {name} is not available"),
        }
    }
}

impl ExprPlanner for Operators {
    /// Decimals have Flink's precision and scale.
    fn plan_binary_op(
        &self,
        raw: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let op = match raw.op {
            BinaryOperator::Plus => Op::Plus,
            BinaryOperator::Minus => Op::Minus,
            BinaryOperator::Multiply => Op::Multiply,
            BinaryOperator::Divide => Op::Divide,
            BinaryOperator::Modulo => Op::Modulo,
            _ => return Ok(PlannerResult::Original(raw)),
        };
        let (left, right) = (raw.left.get_type(schema)?, raw.right.get_type(schema)?);
        if op == Op::Multiply
            && (matches!(left, DataType::Interval(_)) || matches!(right, DataType::Interval(_)))
        {
            let args = if matches!(left, DataType::Interval(_)) {
                vec![raw.left, raw.right]
            } else {
                vec![raw.right, raw.left]
            };
            return self.call("interval_multiply", args);
        }
        if let Some(function) = arithmetic::binary(op, &left, &right) {
            return Ok(PlannerResult::Planned(
                function.call(vec![raw.left, raw.right]),
            ));
        }
        let decimal = |kind: &DataType| matches!(kind, DataType::Decimal128(..));
        let double = |expr: Expr, kind: &DataType| {
            if decimal(kind) {
                Expr::Cast(Cast::new(Box::new(expr), DataType::Float64))
            } else {
                expr
            }
        };
        Ok(PlannerResult::Original(RawBinaryExpr {
            op: raw.op,
            left: double(raw.left, &left),
            right: double(raw.right, &right),
        }))
    }

    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        match raw.field_access {
            GetFieldAccess::NamedStructField { name } => {
                Ok(PlannerResult::Planned(field_of(raw.expr, lit(name))))
            }
            GetFieldAccess::ListIndex { key } => self.call("item", vec![raw.expr, *key]),
            GetFieldAccess::ListRange { .. } => {
                plan_err!("a range of an ARRAY is not supported\nhint: use ARRAY_SLICE")
            }
        }
    }

    fn plan_array_literal(
        &self,
        exprs: Vec<Expr>,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<Vec<Expr>>> {
        self.call("array", exprs)
    }

    fn plan_make_map(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        self.call("map", args)
    }

    fn plan_struct_literal(
        &self,
        args: Vec<Expr>,
        _is_named: bool,
    ) -> Result<PlannerResult<Vec<Expr>>> {
        self.call("row", args)
    }

    fn plan_compound_identifier(
        &self,
        field: &arrow::datatypes::Field,
        qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let column = Expr::Column(datafusion::common::Column::from((qualifier, field)));
        Ok(PlannerResult::Planned(
            nested_names
                .iter()
                .fold(column, |expr, name| field_of(expr, lit(name.clone()))),
        ))
    }

    /// COUNT(*) counts a constant.
    fn plan_aggregate(&self, mut raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if raw.func.name() == "count" && is_star(&raw.args) {
            raw.args = vec![lit(1_i64)];
        }
        Ok(PlannerResult::Original(raw))
    }

    fn plan_window(&self, mut raw: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        if raw.func_def.name() == "count" && is_star(&raw.args) {
            raw.args = vec![lit(1_i64)];
        }
        Ok(PlannerResult::Original(raw))
    }
}

fn is_star(args: &[Expr]) -> bool {
    #[expect(deprecated, reason = "the binder still makes it for COUNT(*)")]
    let is_star = matches!(args, [Expr::Wildcard { .. }] | []);
    is_star
}

fn field_of(expr: Expr, name: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(
        datafusion::functions::core::get_field(),
        vec![expr, name],
    ))
}

/// Flink's types inside CAST.
#[derive(Debug)]
struct Types {
    time_zone: String,
}

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &sqlparser::ast::DataType) -> Result<Option<FieldRef>> {
        let known = FieldType::from_sql(sql_type);
        Ok(known.map(|kind| {
            Arc::new(types::field(
                "",
                &FieldType {
                    nullable: true,
                    ..kind
                },
                &self.time_zone,
            ))
        }))
    }
}

/// TABLE(TUMBLE(...)) and its kin.
#[derive(Debug)]
struct TableFunctions;

impl RelationPlanner for TableFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        if let Some(plan) = crate::unnest::plan(&relation, context)? {
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation {
                plan,
                alias: None,
            })));
        }
        let call = window_call(&relation).map_err(|error| {
            let hint = error
                .hint
                .map(|hint| format!("\nhint: {hint}"))
                .unwrap_or_default();
            DataFusionError::Plan(format!("{}{hint}", error.message))
        })?;
        if let TableFactor::Table {
            name,
            version: Some(_),
            ..
        } = &relation
        {
            return plan_err!(
                "`{name}` FOR SYSTEM_TIME AS OF: temporal joins can't be maintained yet\nhint: join the current version: JOIN `{name}` ON ..."
            );
        }
        let Some(call) = call else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let input = context.plan(call.input.to_table_factor())?;
        let time = match call.time.as_slice() {
            [one] => sqlparser::ast::Expr::Identifier(one.clone()),
            path => sqlparser::ast::Expr::CompoundIdentifier(path.to_vec()),
        };
        let time = context.sql_to_expr(time, input.schema())?;
        let partition = call
            .input
            .partition_by
            .into_iter()
            .map(|key| context.sql_to_expr(key, input.schema()))
            .collect::<Result<_>>()?;
        let node = WindowTvf::try_new(input, time, partition, kind(call.window)?)?;
        let plan = LogicalPlanBuilder::from(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
        .build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation {
            plan,
            alias: call.alias,
        })))
    }
}

fn kind(window: Window) -> Result<window::Window> {
    let ms = |nanos: i64| match nanos % 1_000_000 {
        0 => Ok(nanos / 1_000_000),
        _ => plan_err!("a window's length must be whole milliseconds, and is {nanos} ns"),
    };
    Ok(match window {
        Window::Tumble { size, offset } => window::Window::Tumble {
            size_ms: ms(size)?,
            offset_ms: ms(offset)?,
        },
        Window::Hop {
            slide,
            size,
            offset,
        } => window::Window::Hop {
            slide_ms: ms(slide)?,
            size_ms: ms(size)?,
            offset_ms: ms(offset)?,
        },
        Window::Cumulate { step, size, offset } => window::Window::Cumulate {
            step_ms: ms(step)?,
            max_ms: ms(size)?,
            offset_ms: ms(offset)?,
        },
        Window::Session { gap } => window::Window::Session { gap_ms: ms(gap)? },
    })
}
