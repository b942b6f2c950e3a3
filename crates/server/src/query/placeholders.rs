//! The types of parameters that DataFusion leaves open.

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, DataFusionError};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use std::collections::HashMap;
use std::sync::Arc;

/// The types of a plan's parameters by name, `None` where nothing says.
pub(crate) fn types(
    plan: &LogicalPlan,
) -> Result<HashMap<String, Option<DataType>>, DataFusionError> {
    let mut types = plan.get_parameter_types()?;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            let counts = [limit.skip.as_deref(), limit.fetch.as_deref()];
            counts
                .into_iter()
                .flatten()
                .for_each(|count| set(&mut types, count, || Some(DataType::Int64)));
        }
        let schema = inputs(node);
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                from_context(expr, &schema, &mut types);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
}

/// What a node's expressions are over.
pub(crate) fn inputs(node: &LogicalPlan) -> DFSchemaRef {
    match node.inputs().first() {
        Some(input) => Arc::clone(input.schema()),
        None => Arc::clone(node.schema()),
    }
}

/// `x = ANY($1)` is `array_has($1, x)`: a list of what x is. `CAST($1 AS t)` takes any text.
fn from_context(expr: &Expr, schema: &DFSchemaRef, types: &mut HashMap<String, Option<DataType>>) {
    if let Expr::ScalarFunction(call) = expr
        && let ("array_has", [list, item]) = (call.name(), call.args.as_slice())
    {
        set(types, list, || {
            Some(DataType::List(Arc::new(Field::new_list_field(
                item.get_type(schema).ok()?,
                true,
            ))))
        });
    }
}

fn set(
    types: &mut HashMap<String, Option<DataType>>,
    expr: &Expr,
    of: impl FnOnce() -> Option<DataType>,
) {
    if let Expr::Placeholder(placeholder) = expr
        && let Some(found @ None) = types.get_mut(&placeholder.id)
    {
        *found = of();
    }
}
