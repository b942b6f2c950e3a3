//! COALESCE, IFNULL, IF. The optimizer makes a CASE of them, so that what is not chosen is not computed.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{is_not_null, kernels::zip::zip};
use arrow::datatypes::DataType;
use datafusion_expr::{Case, Expr};

use crate::call::Call;
use crate::error::Result;
use crate::function::{Arguments, Function, Given, arity, common_of};

pub(crate) fn functions() -> Vec<Function> {
    let first = |given: &Given<'_>| Ok(given.data_type(0).clone());
    vec![
        Function::new(
            "coalesce",
            Arguments::Own(|given| same("coalesce", given, 1, usize::MAX)),
            first,
            coalesce,
        )
        .rewritten(coalesce_case),
        Function::new(
            "ifnull",
            Arguments::Own(|given| same("ifnull", given, 2, 2)),
            first,
            coalesce,
        )
        .rewritten(coalesce_case),
        Function::new(
            "if",
            Arguments::Own(if_types),
            |given| Ok(given.data_type(1).clone()),
            choose,
        )
        .rewritten(if_case),
    ]
}

fn same(name: &str, given: &[DataType], least: usize, most: usize) -> Result<Vec<DataType>> {
    arity(name, given, least, most)?;
    Ok(vec![common_of(name, given)?; given.len()])
}

fn if_types(given: &[DataType]) -> Result<Vec<DataType>> {
    arity("if", given, 3, 3)?;
    let common = common_of("if", &given[1..])?;
    Ok(vec![DataType::Boolean, common.clone(), common])
}

fn coalesce(call: &Call<'_>) -> Result<ArrayRef> {
    let mut result = call.column(call.len().saturating_sub(1))?;
    for idx in (0..call.len().saturating_sub(1)).rev() {
        let column = call.column(idx)?;
        if column.null_count() == 0 && !column.data_type().is_null() {
            result = column;
        } else {
            result = zip(&is_not_null(&column)?, &column, &result)?;
        }
    }
    Ok(result)
}

fn choose(call: &Call<'_>) -> Result<ArrayRef> {
    let conditions = call.column(0)?;
    let conditions = conditions.as_boolean();
    // An unknown condition is not met.
    let met: BooleanArray = conditions
        .iter()
        .map(|met| Some(met == Some(true)))
        .collect();
    Ok(zip(&met, &call.column(1)?, &call.column(2)?)?)
}

fn coalesce_case(mut args: Vec<Expr>) -> Expr {
    let Some(last) = args.pop() else {
        return Expr::Literal(datafusion_common::ScalarValue::Null, None);
    };
    if args.is_empty() {
        return last;
    }
    let when = args
        .into_iter()
        .map(|arg| (Box::new(arg.clone().is_not_null()), Box::new(arg)))
        .collect();
    Expr::Case(Case::new(None, when, Some(Box::new(last))))
}

fn if_case(args: Vec<Expr>) -> Expr {
    let mut args = args.into_iter();
    let null = || Expr::Literal(datafusion_common::ScalarValue::Null, None);
    let mut next = || Box::new(args.next().unwrap_or_else(null));
    let (condition, then, otherwise) = (next(), next(), next());
    Expr::Case(Case::new(None, vec![(condition, then)], Some(otherwise)))
}
