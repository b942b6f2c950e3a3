//! DISTINCT: a row is there once, as long as the input has it at all.

use crate::aggregate::Aggregate;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Operator, Partitioning, Result, Spec};
use std::fmt;

/// The distinct values of some columns: +1 when the first row with them comes, -1 when the last goes.
///
/// It is a GROUP BY of nothing but keys.
#[derive(Clone, Debug)]
pub struct Distinct(Aggregate);

impl Distinct {
    /// The distinct values of `columns` of `input`, which are the output. `append_only_input` says that no row is ever
    /// retracted: less state is kept.
    ///
    /// # Errors
    /// `User` when a column's type cannot be compared.
    pub fn new(input: SchemaRef, columns: Vec<usize>, append_only_input: bool) -> Result<Self> {
        Aggregate::new(input, columns, Vec::new(), append_only_input, None).map(Self)
    }
}

impl fmt::Display for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.0.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        write!(f, "Distinct [{}]", names.join(", "))
    }
}

impl Spec for Distinct {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn keys(&self, port: usize) -> Partitioning {
        self.0.keys(port)
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        self.0.partitioning(inputs)
    }

    fn bound(&self) -> Bound {
        self.0.bound()
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        self.0.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::{oracle, script};
    use millstream_dataflow::testing::{check, schema};

    #[test]
    fn each_row_is_there_once() {
        let columns = "a text, b int, c decimal(10,2)";
        for (append_only, kept) in [
            (true, vec![0, 1, 2]),
            (false, vec![0, 1, 2]),
            (false, vec![1]),
        ] {
            let spec = Distinct::new(schema(columns), kept.clone(), append_only).unwrap();
            for seed in 1..=4 {
                let script = script(columns, seed, append_only);
                let expected = oracle::aggregate(&kept, &script.port(0), &[]);
                assert_eq!(check(&spec, &script), expected, "seed {seed}");
            }
        }
        let spec = Distinct::new(schema(columns), vec![0, 2], true).unwrap();
        assert_eq!(spec.to_string(), "Distinct [a, c]");
    }
}
