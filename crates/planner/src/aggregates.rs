//! Aggregate and window functions as the binder needs them: names and types. They are maintained by our own operators, so
//! none of them can be executed here.

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::function::{
    AccumulatorArgs, PartitionEvaluatorArgs, StateFieldsArgs, WindowUDFFieldArgs,
};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, PartitionEvaluator, Signature, Volatility,
    WindowUDF, WindowUDFImpl,
};
use millstream_operators::aggregate::Function;
use std::sync::Arc;

use crate::error::to_datafusion;

/// An aggregate function that [`millstream_operators::aggregate`] maintains.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Aggregate {
    name: String,
    signature: Signature,
}

/// Aggregate functions, for hints.
pub(crate) const NAMES: [&str; 7] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "first_value",
    "last_value",
];

/// The aggregate function of this name, if there is one.
pub(crate) fn aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    if matches!(name, "grouping" | "grouping_id") {
        // Resolved to a column by an analyzer rule, never computed.
        return Some(datafusion::functions_aggregate::grouping::grouping_udaf());
    }
    Function::parse(name)?;
    let signature = Signature::variadic_any(Volatility::Immutable);
    let signature = Signature::one_of(
        vec![
            signature.type_signature,
            datafusion::logical_expr::TypeSignature::Nullary,
        ],
        Volatility::Immutable,
    );
    Some(Arc::new(AggregateUDF::new_from_impl(Aggregate {
        name: name.to_owned(),
        signature,
    })))
}

impl Aggregate {
    /// The operator's function.
    pub(crate) fn function(&self) -> Option<Function> {
        Function::parse(&self.name)
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match self.function() {
            Some(function) => function
                .return_type(args)
                .map_err(|error| to_datafusion(&error)),
            None => not_impl_err!("the aggregate function {}", self.name),
        }
    }

    fn is_nullable(&self) -> bool {
        self.name != "count"
    }

    /// With the arguments in full: DataFusion's own name leaves casts out, and AVG(i) would be AVG(CAST(i AS DOUBLE)).
    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        let AggregateFunctionParams {
            args,
            distinct,
            filter,
            order_by,
            null_treatment: _,
        } = params;
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let distinct = if *distinct { "DISTINCT " } else { "" };
        let filter = filter
            .as_ref()
            .map(|filter| format!(" FILTER ({filter})"))
            .unwrap_or_default();
        let order: Vec<String> = order_by.iter().map(ToString::to_string).collect();
        let order = if order.is_empty() {
            String::new()
        } else {
            format!(" ORDER BY {}", order.join(", "))
        };
        Ok(format!(
            "{}({distinct}{}{order}){filter}",
            self.name,
            args.join(", ")
        ))
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} outside a continuous query", self.name)
    }

    fn state_fields(&self, _args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        not_impl_err!("{} outside a continuous query", self.name)
    }

    /// What a correlated scalar subquery gives where no row matches.
    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        match self.name.as_str() {
            "count" => ScalarValue::new_zero(data_type),
            _ => ScalarValue::try_from(data_type),
        }
    }
}

/// A ranking function; gives BIGINT, as in Flink.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ranking {
    name: &'static str,
    signature: Signature,
}

/// The ranking functions.
pub(crate) const RANKINGS: [&str; 3] = ["row_number", "rank", "dense_rank"];

/// The ranking function of this name, if there is one.
pub(crate) fn ranking(name: &str) -> Option<Arc<WindowUDF>> {
    let name = RANKINGS.into_iter().find(|known| *known == name)?;
    Some(Arc::new(WindowUDF::new_from_impl(Ranking {
        name,
        signature: Signature::nullary(Volatility::Immutable),
    })))
}

impl WindowUDFImpl for Ranking {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        not_impl_err!("{} outside a continuous query", self.name)
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Int64, false)))
    }
}
