//! A query's columns under other names, or in a table's order.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use millstream_dataflow::{Error, Result};

use crate::catalog::Relation;
use crate::error::from_datafusion;

/// The query with its columns named anew.
///
/// # Errors
/// `User` when there are more or fewer names than columns.
pub fn rename(plan: LogicalPlan, names: &[&str]) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    if columns.len() != names.len() {
        return Err(Error::user(format!(
            "{} column names for a query of {} columns",
            names.len(),
            columns.len()
        )));
    }
    let exprs = columns
        .into_iter()
        .zip(names)
        .map(|(column, name)| Expr::Column(column).alias(*name));
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// The query's columns, which are for the named columns of a table, in the table's order; NULL for the others.
///
/// # Errors
/// `User` when a name is not a column of the table, or a column that is left out is NOT NULL.
pub fn arrange(
    plan: LogicalPlan,
    names: &[&str],
    relation: &Relation,
    table: &str,
) -> Result<LogicalPlan> {
    let Relation::Table(declared) = relation else {
        return Err(Error::user(format!(
            "`{table}` is a {}, and can't be written",
            relation.kind()
        )));
    };
    let given = plan.schema().columns();
    if given.len() != names.len() {
        return Err(Error::user(format!(
            "INSERT INTO `{table}` names {} columns for a query of {}",
            names.len(),
            given.len()
        )));
    }
    let columns: Vec<_> = declared
        .table
        .columns
        .iter()
        .filter(|column| !column.is_virtual)
        .collect();
    if let Some(unknown) = names
        .iter()
        .find(|name| !columns.iter().any(|column| column.field.name() == **name))
    {
        return Err(Error::user(format!(
            "table `{table}` has no column `{unknown}` that can be written"
        )));
    }
    let mut exprs = Vec::new();
    for column in columns {
        let name = column.field.name();
        exprs.push(match names.iter().position(|known| known == name) {
            Some(idx) => Expr::Column(given[idx].clone()).alias(name),
            None if column.field.is_nullable() => {
                cast(lit(ScalarValue::Null), column.field.data_type().clone()).alias(name)
            }
            None => {
                return Err(Error::user(format!(
                    "INSERT INTO `{table}` leaves out column `{name}`, which is NOT NULL"
                )));
            }
        });
    }
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}
