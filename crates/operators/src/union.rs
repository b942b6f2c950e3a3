//! UNION ALL: all the rows of all inputs, which arrive at port 0.

use crate::project;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Delta, Operator, Output, Partitioning, Result, Spec};
use std::fmt;
use std::sync::Arc;

/// All the rows of any number of inputs with the same column types.
#[derive(Clone, Debug)]
pub struct Union {
    schema: SchemaRef,
}

impl Union {
    /// A union whose output has these columns; the inputs may name theirs differently.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl fmt::Display for Union {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Union")
    }
}

impl Spec for Union {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _port: usize) -> Partitioning {
        Partitioning::Any
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        match inputs {
            [first, rest @ ..] if rest.iter().all(|input| input == first) => first.clone(),
            _ => Partitioning::Any,
        }
    }

    fn bound(&self) -> Bound {
        Bound::Stateless
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }
}

impl Operator for Union {
    fn step(&mut self, _port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let delta = if Arc::ptr_eq(&delta.schema(), &self.schema) {
            delta
        } else {
            let columns = delta.batch().columns().to_vec();
            delta.with_batch(project::batch(&self.schema, columns, delta.rows())?)?
        };
        out.push(delta);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::testing::{Script, check, delta, schema};

    #[test]
    fn all_rows_of_all_inputs_come_out_under_the_unions_names() {
        let script = Script::new().step(
            vec![
                (0, delta("a bigint", "+1 1 / -1 2")),
                (0, delta("b bigint", "+1 2 / +1 1")),
            ],
            0,
        );
        let union = Union::new(schema("c bigint"));
        assert_eq!(check(&union, &script), "+2 1");
        let keys = Partitioning::Keys(vec![0]);
        assert_eq!(union.partitioning(&[keys.clone(), keys.clone()]), keys);
        assert_eq!(
            union.partitioning(&[keys, Partitioning::Single]),
            Partitioning::Any
        );
    }
}
