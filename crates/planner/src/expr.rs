//! DataFusion's physical expressions as the operators' expressions.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, TableReference};
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
use crate::{now, text, types};

/// An expression over the columns of a batch. `Debug` leaves the names of columns out: expressions that compute the same of the
/// same columns print the same, which is how equal sub-plans are found.
struct Physical {
    expr: Arc<dyn PhysicalExpr>,
    column: Option<usize>,
    /// As SQL.
    text: String,
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
    plan_shown(expr, schema, schema.as_arrow(), wanted)
}

/// The same; EXPLAIN shows the columns by their names in `shown`.
pub(crate) fn plan_shown(
    expr: &Expr,
    schema: &DFSchema,
    shown: &Schema,
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
    let mut text = sql(expr, schema, shown);
    let physical = match wanted {
        Some(wanted) if *wanted != found => {
            let (from, to) = (types::data_type_name(&found), types::data_type_name(wanted));
            if from != to && found != DataType::Null {
                text = format!("CAST({text} AS {to})");
            }
            Arc::new(CastExpr::new(physical, wanted.clone(), None)) as Arc<dyn PhysicalExpr>
        }
        _ => physical,
    };
    let column = physical.downcast_ref::<Column>().map(Column::index);
    Ok(Arc::new(Physical {
        expr: physical,
        column,
        text,
    }))
}

/// An expression over the columns of `schema` as SQL, with the columns' names in `shown`.
pub(crate) fn sql(expr: &Expr, schema: &DFSchema, shown: &Schema) -> String {
    text::sql(expr, &|column| {
        let idx = schema.maybe_index_of_column(column);
        let field = idx.and_then(|idx| shown.fields().get(idx));
        let name = field.map_or(&column.name, |field| field.name());
        let named_so = |field: &&FieldRef| field.name() == name;
        let table = column.relation.as_ref().map(TableReference::table);
        match table.filter(|table| !text::is_made_up(table)) {
            Some(table) if shown.fields().iter().filter(named_so).count() > 1 => {
                format!("{table}.{name}")
            }
            _ => name.clone(),
        }
    })
}

/// The column at an index.
pub(crate) fn column(idx: usize, name: &str) -> Arc<dyn Expression> {
    Arc::new(Physical {
        expr: Arc::new(Column::new(name, idx)),
        column: Some(idx),
        text: name.to_owned(),
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
        f.write_str(&self.text)
    }
}
