//! A filter on the clock as a node of its own, so that the optimizer leaves it where it was written.
//!
//! Its rows leave as time passes. Below a window that has closed they could not be taken back any more, so it must not be pushed there.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchemaRef, Result, plan_err};
use datafusion::logical_expr::{Expr, Extension, Filter, LogicalPlan, UserDefinedLogicalNodeCore};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::now;

/// Rows while a condition on the clock is true.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClockFilter {
    /// The rows.
    pub(crate) input: LogicalPlan,
    /// The condition.
    pub(crate) predicate: Expr,
}

/// Makes the filters on the clock such nodes.
pub(crate) fn fix(plan: LogicalPlan) -> Result<LogicalPlan> {
    let fixed = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Filter(filter) = &plan else {
            return Ok(Transformed::no(plan));
        };
        if now::called_in(&filter.predicate).is_none() {
            return Ok(Transformed::no(plan));
        }
        let Filter {
            predicate, input, ..
        } = filter.clone();
        let node = ClockFilter {
            input: Arc::unwrap_or_clone(input),
            predicate,
        };
        Ok(Transformed::yes(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        })))
    });
    Ok(fixed?.data)
}

impl UserDefinedLogicalNodeCore for ClockFilter {
    fn name(&self) -> &str {
        "ClockFilter"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.predicate.clone()]
    }

    /// Other filters may pass.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ClockFilter: {}", self.predicate)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.into_iter().next(), inputs.into_iter().next()) {
            (Some(predicate), Some(input)) => Ok(Self { input, predicate }),
            _ => plan_err!("a filter on the clock has one input and one condition"),
        }
    }

    /// All columns: the node has those of its input.
    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.input.schema().fields().len()).collect()])
    }
}

impl PartialOrd for ClockFilter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}
