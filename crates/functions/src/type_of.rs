//! TYPEOF: the name of the argument's type in SQL. A second argument is accepted and changes nothing.

use arrow::datatypes::DataType;

use crate::function::{Function, Kind, takes_optional};
use crate::types::sql_name;

pub(crate) fn functions() -> Vec<Function> {
    let arguments = takes_optional(&[Kind::Any], &[Kind::Boolean]);
    vec![Function::new(
        "typeof",
        arguments,
        |_| Ok(DataType::Utf8View),
        |call| {
            let name = sql_name(call.arg(0)?.array.data_type());
            call.slices(|_| Some(&name))
        },
    )]
}

#[cfg(test)]
mod tests {
    use crate::testing::{dec, eval, i, list, ts};

    #[test]
    fn names_the_type() {
        assert_eq!(eval("typeof", &[dec("1", 10, 2)]), "DECIMAL(10, 2)");
        assert_eq!(eval("typeof", &[list(&[i(1)])]), "ARRAY<INT>");
        assert_eq!(eval("typeof", &[ts("2024-01-01 00:00:00")]), "TIMESTAMP(3)");
    }
}
