//! The aggregate functions of a bound query as DataFusion runs them, with Flink's meaning, and nothing of the operators: from all
//! values of a group at once.
//!
//! ```text
//! COUNT, MIN, MAX      DataFusion's own
//! SUM, AVG             total: a sum of all values
//! all others           values: the values themselves, in their order
//! ```

mod moments;
mod total;
mod values;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, not_impl_err};
use datafusion::functions_aggregate::{count, min_max};
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, GroupsAccumulator, Signature,
    WindowFunctionDefinition,
};
use millstream_planner::logical::{self, Function};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use total::{GroupTotals, Total};
use values::Values;

/// Counts the groups in which the order of values would have decided, and is not known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undecided(Arc<AtomicU64>);

impl Undecided {
    /// The groups so far.
    pub(crate) fn groups(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Whether the result depends on the order of the values.
pub(crate) fn in_order(function: Function) -> bool {
    matches!(
        function,
        Function::FirstValue | Function::LastValue | Function::ListAgg | Function::ArrayAgg
    )
}

/// How far off results of floats may be, relatively.
pub(crate) fn inexactness(function: Function, result: &DataType) -> Option<f64> {
    let off = match (function, result) {
        (_, DataType::Float32) => 1e-5,
        (Function::Sum | Function::Sum0 | Function::Avg, DataType::Float64) => 1e-9,
        (_, DataType::Float64) => 1e-6,
        _ => return None,
    };
    matches!(
        function,
        Function::Sum
            | Function::Sum0
            | Function::Avg
            | Function::StddevPop
            | Function::StddevSamp
            | Function::VarPop
            | Function::VarSamp
            | Function::Percentile
    )
    .then_some(off)
}

/// The functions of the aggregates that an expression calls.
pub(crate) fn called(expr: &Expr) -> Option<Function> {
    match expr {
        Expr::Alias(alias) => called(&alias.expr),
        Expr::AggregateFunction(call) => logical::function(&call.func),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => logical::function(function),
            WindowFunctionDefinition::WindowUDF(_) => None,
        },
        _ => None,
    }
}

/// An expression with functions that can be run in the place of those that a binder names. `undecided`: set where the order of
/// values is not known.
///
/// # Errors
/// For a function that is none of ours.
pub(crate) fn runnable(expr: Expr, undecided: Option<&Undecided>) -> Result<Expr> {
    let replaced = expr.transform_up(|expr| match expr {
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            let func = Batch::of(&func, undecided)?;
            let call = AggregateFunction { func, params };
            Ok(Transformed::yes(Expr::AggregateFunction(call)))
        }
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                let fun = WindowFunctionDefinition::AggregateUDF(Batch::of(function, undecided)?);
                let params = call.params;
                let call = Box::new(WindowFunction { fun, params });
                Ok(Transformed::yes(Expr::WindowFunction(call)))
            }
            WindowFunctionDefinition::WindowUDF(_) => {
                Ok(Transformed::no(Expr::WindowFunction(call)))
            }
        },
        other => Ok(Transformed::no(other)),
    });
    Ok(replaced?.data)
}

/// A function with the name and the types of the one that a binder knows.
#[derive(Debug)]
struct Batch {
    bound: Arc<AggregateUDF>,
    function: Function,
    undecided: Option<Undecided>,
}

impl Batch {
    fn of(bound: &Arc<AggregateUDF>, undecided: Option<&Undecided>) -> Result<Arc<AggregateUDF>> {
        let Some(function) = logical::function(bound) else {
            return not_impl_err!("the aggregate function {} in a batch", bound.name());
        };
        Ok(Arc::new(AggregateUDF::new_from_impl(Self {
            bound: Arc::clone(bound),
            function,
            undecided: undecided.filter(|_| in_order(function)).cloned(),
        })))
    }

    /// DataFusion's function, where it means the same.
    fn native(&self, args: &AccumulatorArgs<'_>, slides: bool) -> Option<Arc<AggregateUDF>> {
        match self.function {
            Function::Count if args.exprs.len() == 1 && !(slides && args.is_distinct) => {
                Some(count::count_udaf())
            }
            Function::Min => Some(min_max::min_udaf()),
            Function::Max => Some(min_max::max_udaf()),
            _ => None,
        }
    }

    fn has_total(&self, args: &AccumulatorArgs<'_>) -> bool {
        let adds = matches!(
            self.function,
            Function::Sum | Function::Sum0 | Function::Avg
        );
        let null = args
            .expr_fields
            .iter()
            .any(|field| field.data_type().is_null());
        adds && !args.is_distinct && !null
    }

    fn values(&self, args: &AccumulatorArgs<'_>) -> Values {
        Values::new(
            self.function,
            args.is_distinct,
            args.expr_fields
                .iter()
                .map(|field| field.data_type().clone())
                .collect(),
            args.return_field.data_type().clone(),
            self.undecided.clone(),
        )
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        self.bound == other.bound && self.undecided.is_none() == other.undecided.is_none()
    }
}

impl Eq for Batch {}

impl Hash for Batch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bound.hash(state);
    }
}

impl AggregateUDFImpl for Batch {
    fn name(&self) -> &str {
        self.bound.name()
    }

    fn signature(&self) -> &Signature {
        self.bound.signature()
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.bound.return_type(args)
    }

    fn is_nullable(&self) -> bool {
        self.bound.is_nullable()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.bound.schema_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.bound.window_function_schema_name(params)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if let Some(native) = self.native(&args, false) {
            return native.accumulator(args);
        }
        if self.has_total(&args) {
            let result = args.return_field.data_type();
            let total = Total::new(self.function, args.expr_fields[0].data_type(), result);
            return Ok(Box::new(total));
        }
        Ok(Box::new(self.values(&args)))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.native(&args, true) {
            Some(native) => native.create_sliding_accumulator(args),
            None => Ok(Box::new(self.values(&args))),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match self.native(&args, false) {
            Some(native) => native.groups_accumulator_supported(args),
            None => self.has_total(&args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if let Some(native) = self.native(&args, false) {
            return native.create_groups_accumulator(args);
        }
        let (argument, result) = (
            args.expr_fields[0].data_type(),
            args.return_field.data_type(),
        );
        Ok(Box::new(GroupTotals::new(self.function, argument, result)))
    }

    /// A batch is aggregated in one go: there is no state between parts of it.
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format!("{}[{}]", args.name, self.name());
        let field = args.return_field.as_ref().clone().with_name(name);
        Ok(vec![Arc::new(field)])
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.bound.default_value(data_type)
    }
}
