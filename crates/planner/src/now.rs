//! The step's clock in SQL: NOW(), CURRENT_TIMESTAMP and their kin are the clock reading of the step. In a filter they make a
//! temporal filter; anywhere else the answer would have to change without input, and the query is refused.

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use std::sync::Arc;

use crate::time::{self, Role};

/// A function of the step's clock.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Now {
    name: &'static str,
    aliases: Vec<String>,
    kind: DataType,
    time_zone: String,
    signature: Signature,
}

/// The functions of the step's clock, for a session in this time zone.
pub(crate) fn functions(time_zone: &str) -> Vec<Arc<ScalarUDF>> {
    let instant = DataType::Timestamp(TimeUnit::Millisecond, Some(time_zone.into()));
    let local = DataType::Timestamp(TimeUnit::Millisecond, None);
    let make = |name, aliases: &[&str], kind| {
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        // Volatile: the optimizer must neither fold nor move it.
        let signature = Signature::nullary(Volatility::Volatile);
        Arc::new(ScalarUDF::new_from_impl(Now {
            name,
            aliases,
            kind,
            time_zone: time_zone.to_owned(),
            signature,
        }))
    };
    vec![
        make(
            "now",
            &["current_timestamp", "current_row_timestamp"],
            instant,
        ),
        make(
            PROCTIME,
            &[],
            DataType::Timestamp(TimeUnit::Millisecond, Some(time_zone.into())),
        ),
        make("localtimestamp", &[], local),
        make("current_date", &[], DataType::Date32),
    ]
}

/// The time attribute of the wall clock: it stamps rows, and does not change afterwards.
const PROCTIME: &str = "proctime";

/// Whether an expression is PROCTIME().
pub(crate) fn is_proctime(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if is_now(expr) && call.name() == PROCTIME)
}

/// Whether an expression is a call of such a function.
pub(crate) fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Now>().is_some())
}

/// The function of the clock that an expression calls, if it does.
pub(crate) fn called_in(expr: &Expr) -> Option<String> {
    let mut found = None;
    let walked = expr.apply(|expr| {
        if is_now(expr) {
            found = Some(expr.to_string().to_uppercase());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.ok().and(found)
}

/// The session's time zone of a call of the current time (not of the current date).
pub(crate) fn zone(expr: &Expr) -> Option<String> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let now = call.func.inner().downcast_ref::<Now>()?;
    matches!(now.kind, DataType::Timestamp(_, _)).then(|| now.time_zone.clone())
}

/// The type of a call of such a function, and the session's time zone.
pub(crate) fn kind(expr: &Expr) -> Option<(DataType, String)> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let now = call.func.inner().downcast_ref::<Now>()?;
    Some((now.kind.clone(), now.time_zone.clone()))
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(self.kind.clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::new(self.name, self.kind.clone(), true);
        Ok(Arc::new(match self.name {
            PROCTIME => time::with_role(field, Role::Proctime),
            _ => field,
        }))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{} outside a temporal filter", self.name.to_uppercase())
    }
}
