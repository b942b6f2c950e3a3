//! Arrays as Postgres writes them in texts: `'{1,2}'::int[]`, `x = ANY('{1,2}')`.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use pgwire::api::Type;

use crate::pgwire::parameters::Parameter;

/// A plan with such texts as lists.
pub(crate) fn as_lists(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let schema = super::placeholders::inputs(&node);
        node.map_expressions(|expr| {
            let name = expr.schema_name().to_string();
            let changed = expr.transform_up(|expr| match expr {
                Expr::Cast(cast) => {
                    let wanted = cast.field.data_type().clone();
                    Ok(list(&cast.expr, &wanted)
                        .map_or_else(|| Transformed::no(Expr::Cast(cast)), Transformed::yes))
                }
                Expr::ScalarFunction(mut call)
                    if call.name() == "array_has" && call.args.len() == 2 =>
                {
                    let item = call.args[1].get_type(&schema)?;
                    match list(&call.args[0], &DataType::new_list(item, true)) {
                        Some(list) => {
                            call.args[0] = list;
                            Ok(Transformed::yes(Expr::ScalarFunction(call)))
                        }
                        None => Ok(Transformed::no(Expr::ScalarFunction(call))),
                    }
                }
                other => Ok(Transformed::no(other)),
            })?;
            // A column keeps the name by which the plan above knows it.
            Ok(if changed.transformed {
                Transformed::yes(named(changed.data, &name))
            } else {
                changed
            })
        })
    });
    Ok(rewritten?.data)
}

fn named(expr: Expr, name: &str) -> Expr {
    match expr {
        Expr::Alias(_) => expr,
        expr if expr.schema_name().to_string() == name => expr,
        expr => expr.alias(name),
    }
}

fn list(expr: &Expr, wanted: &DataType) -> Option<Expr> {
    let (Expr::Literal(value, _), DataType::List(_)) = (expr, wanted) else {
        return None;
    };
    let (ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) = value else {
        return None;
    };
    let parameter = Parameter {
        sent: Type::TEXT_ARRAY,
        wanted: wanted.clone(),
    };
    let value = parameter
        .value(
            Some(&text.clone().into_bytes().into()),
            crate::pgwire::Format::Text,
        )
        .ok()?;
    Some(Expr::Literal(value, None))
}
