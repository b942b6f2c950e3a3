//! DataFusion's physical expressions as the operators' expressions.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_plan::PhysicalExpr;
use millstream_dataflow::{Error, Expression, Kind, Result};
use std::fmt;
use std::sync::Arc;

use crate::error::from_datafusion;
use crate::now;

/// An expression over the columns of a batch. `Debug` leaves the names of columns out: expressions that compute the same of the
/// same columns print the same, which is how equal sub-plans are found.
struct Physical {
    expr: Arc<dyn PhysicalExpr>,
    column: Option<usize>,
}

impl fmt::Debug for Physical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unnamed = Arc::clone(&self.expr).transform(|expr| {
            Ok(match expr.downcast_ref::<Column>() {
                Some(column) => Transformed::yes(
                    Arc::new(Column::new("", column.index())) as Arc<dyn PhysicalExpr>
                ),
                None => Transformed::no(expr),
            })
        });
        match unnamed {
            Ok(unnamed) => write!(f, "{:?}", unnamed.data),
            Err(_) => write!(f, "{:?}", self.expr),
        }
    }
}

/// Plans an expression over the columns of `schema`, with a cast where its type is not `wanted`.
pub(crate) fn plan(
    expr: &Expr,
    schema: &DFSchema,
    wanted: Option<&DataType>,
) -> Result<Arc<dyn Expression>> {
    if let Some(clock) = now::called_in(expr) {
        return Err(Error::user(format!(
            "{clock} stands where its value would have to change without input"
        ))
        .hint(
            "compare it with a time in WHERE: expires_at > NOW(), ts > NOW() - INTERVAL '1' HOUR",
        ));
    }
    let physical = create_physical_expr(
        expr,
        schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )
    .map_err(from_datafusion)?;
    let found = physical
        .data_type(schema.as_arrow())
        .map_err(from_datafusion)?;
    let physical = match wanted {
        Some(wanted) if *wanted != found => {
            Arc::new(CastExpr::new(physical, wanted.clone(), None)) as Arc<dyn PhysicalExpr>
        }
        _ => physical,
    };
    let column = physical.downcast_ref::<Column>().map(Column::index);
    Ok(Arc::new(Physical {
        expr: physical,
        column,
    }))
}

/// The column at an index.
pub(crate) fn column(idx: usize, name: &str) -> Arc<dyn Expression> {
    Arc::new(Physical {
        expr: Arc::new(Column::new(name, idx)),
        column: Some(idx),
    })
}

impl Expression for Physical {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        if let Some(idx) = self.column {
            return Ok(Arc::clone(batch.column(idx)));
        }
        let values = self
            .expr
            .evaluate(batch)
            .and_then(|values| values.into_array(batch.num_rows()));
        values.map_err(|error| {
            let error = from_datafusion(error);
            // At run time it is a value that is at fault, not the text of the query.
            if error.kind == Kind::User {
                Error {
                    kind: Kind::BadData,
                    ..error
                }
            } else {
                error
            }
        })
    }

    fn as_column(&self) -> Option<usize> {
        self.column
    }
}

impl fmt::Display for Physical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expr)
    }
}
