//! Unfolds the elements of an ARRAY, MAP or MULTISET column into rows beside the other columns. Stateless: the rows of a
//! retraction are those of its insertion.

use crate::project;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, StructArray, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Schema, SchemaRef};
use millstream_dataflow::operator::Bound;
use millstream_dataflow::{Delta, Error, Operator, Output, Partitioning, Result, Spec};
use std::fmt;
use std::sync::Arc;

/// Unfolds a column. The output: the kept columns, the element's (a ROW's fields; a MAP's key and value), and its
/// number from 1 if wanted.
#[derive(Clone, Debug)]
pub struct Unnest {
    input: SchemaRef,
    column: usize,
    output: Vec<usize>,
    schema: SchemaRef,
    elements: usize,
    outer: bool,
    multiset: bool,
    ordinality: bool,
}

impl Unnest {
    /// Unfolds `column` of rows with the columns of `input`, beside the columns `output`. `names` renames the
    /// element's first columns.
    ///
    /// # Errors
    /// `Internal` when the column does not exist or is neither list nor map.
    pub fn new(
        input: SchemaRef,
        column: usize,
        output: Vec<usize>,
        names: &[&str],
    ) -> Result<Self> {
        let kept = input.project(&output)?;
        let of = input.project(&[column])?;
        let elements = element_fields(of.field(0).data_type())?;
        let renamed = elements.iter().enumerate().map(|(idx, field)| {
            let field = field.as_ref().clone().with_nullable(true);
            Arc::new(match names.get(idx) {
                Some(name) => field.with_name(*name),
                None => field,
            })
        });
        let fields: Vec<FieldRef> = kept.fields().iter().cloned().chain(renamed).collect();
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            elements: elements.len(),
            input,
            column,
            output,
            outer: false,
            multiset: false,
            ordinality: false,
        })
    }

    /// Keeps rows without elements, with NULLs in their place (LEFT JOIN UNNEST).
    #[must_use]
    pub fn outer(self) -> Self {
        Self {
            outer: true,
            ..self
        }
    }

    /// Takes a MAP of elements to INT counts as a MULTISET: each element comes as often as it counts.
    ///
    /// # Errors
    /// `Internal` when the counts are no INT.
    pub fn multiset(self) -> Result<Self> {
        let place = self.output.len();
        let counts = self.schema.fields().get(place + 1);
        if self.elements != 2 || counts.is_none_or(|field| *field.data_type() != DataType::Int32) {
            return Err(Error::internal("a MULTISET is a MAP to INT"));
        }
        let mut fields: Vec<FieldRef> = self.schema.fields().iter().cloned().collect();
        fields.remove(place + 1);
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            multiset: true,
            elements: 1,
            ..self
        })
    }

    /// Adds a last column, an INT of this name: the number of the element, from 1 (WITH ORDINALITY).
    #[must_use]
    pub fn with_ordinality(self, name: &str) -> Self {
        let mut fields: Vec<FieldRef> = self.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(name, DataType::Int32, true)));
        Self {
            schema: Arc::new(Schema::new(fields)),
            ordinality: true,
            ..self
        }
    }
}

/// The columns that an element of a type is.
fn element_fields(data_type: &DataType) -> Result<Vec<FieldRef>> {
    match data_type {
        DataType::List(element) | DataType::LargeList(element) => match element.data_type() {
            DataType::Struct(fields) => Ok(fields.iter().cloned().collect()),
            _ => Ok(vec![Arc::clone(element)]),
        },
        DataType::Map(entries, _) => element_fields(&DataType::List(Arc::clone(entries))),
        other => Err(Error::internal(format!(
            "{other} has no elements to unfold"
        ))),
    }
}

impl fmt::Display for Unnest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unnest: {}", self.input.field(self.column).name())?;
        if self.outer {
            f.write_str(", outer")?;
        }
        if self.ordinality {
            f.write_str(", with ordinality")?;
        }
        Ok(())
    }
}

impl Spec for Unnest {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn keys(&self, _port: usize) -> Partitioning {
        Partitioning::Any
    }

    fn partitioning(&self, inputs: &[Partitioning]) -> Partitioning {
        project::remap(inputs.first(), |input| {
            self.output.iter().position(|column| *column == input)
        })
    }

    fn bound(&self) -> Bound {
        Bound::Stateless
    }

    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }
}

/// The rows that come out: which row each is of, which element (NULL: none) and its number.
#[derive(Debug, Default)]
struct Unfolded {
    rows: Vec<u32>,
    elements: Vec<Option<u32>>,
    numbers: Vec<Option<i32>>,
}

impl Unfolded {
    fn push(&mut self, row: usize, element: Option<usize>, number: Option<usize>) {
        self.rows.push(row as u32);
        self.elements.push(element.map(|element| element as u32));
        self.numbers.push(number.map(|number| number as i32 + 1));
    }
}

impl Unnest {
    /// Where each row's elements are, and the elements' columns (with the ROW that they are in, if any).
    fn elements_of(column: &ArrayRef) -> Result<(Vec<(usize, usize)>, ArrayRef)> {
        let (ends, values): (Vec<usize>, ArrayRef) = match column.data_type() {
            DataType::LargeList(_) => {
                let list = column.as_list::<i64>();
                let ends = list.value_offsets().iter().map(|end| *end as usize);
                (ends.collect(), Arc::clone(list.values()))
            }
            DataType::Map(_, _) => {
                let map = column.as_map();
                let ends = map.value_offsets().iter().map(|end| *end as usize);
                (ends.collect(), Arc::new(map.entries().clone()))
            }
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                let ends = list.value_offsets().iter().map(|end| *end as usize);
                (ends.collect(), Arc::clone(list.values()))
            }
            other => {
                return Err(Error::internal(format!(
                    "{other} has no elements to unfold"
                )));
            }
        };
        let spans = (0..column.len()).map(|row| {
            let none = column.is_null(row);
            (ends[row], if none { ends[row] } else { ends[row + 1] })
        });
        Ok((spans.collect(), values))
    }

    fn unfold(&self, spans: &[(usize, usize)], values: &ArrayRef) -> Unfolded {
        let counts: Option<&Int32Array> = self
            .multiset
            .then(|| values.as_struct().column(1).as_primitive::<Int32Type>());
        let missing = |element: usize| values.is_null(element);
        let is_struct = values.as_any().is::<StructArray>();
        let mut unfolded = Unfolded::default();
        for (row, (start, end)) in spans.iter().enumerate() {
            let mut number = 0;
            for element in *start..*end {
                let copies = counts.map_or(1, |counts| counts.value(element).max(0));
                // A ROW that is NULL has NULL fields.
                let source = (!(is_struct && missing(element))).then_some(element);
                for _ in 0..copies {
                    unfolded.push(row, source, Some(number));
                    number += 1;
                }
            }
            if number == 0 && self.outer {
                unfolded.push(row, None, None);
            }
        }
        unfolded
    }
}

impl Operator for Unnest {
    fn step(&mut self, _port: usize, delta: Delta, out: &mut Output) -> Result<()> {
        let (spans, values) = Self::elements_of(delta.column(self.column))?;
        let unfolded = self.unfold(&spans, &values);
        if unfolded.rows.is_empty() {
            return Ok(());
        }
        let rows = UInt32Array::from(unfolded.rows);
        let mut columns = self
            .output
            .iter()
            .map(|column| Ok(compute::take(delta.column(*column), &rows, None)?))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let elements = UInt32Array::from(unfolded.elements);
        let parts: Vec<ArrayRef> = match values.as_struct_opt() {
            Some(rows) => rows.columns()[..self.elements].to_vec(),
            None => vec![values],
        };
        for part in parts {
            columns.push(compute::take(&part, &elements, None)?);
        }
        if self.ordinality {
            columns.push(Arc::new(Int32Array::from(unfolded.numbers)));
        }
        let batch = project::batch(&self.schema, columns, rows.len())?;
        let weights: Int64Array = rows
            .values()
            .iter()
            .map(|row| delta.weight(*row as usize))
            .collect();
        out.push(Delta::new(batch, weights)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Int32Builder, ListArray, ListBuilder, MapBuilder, MapFieldNames, RecordBatch,
        StringViewArray, StringViewBuilder,
    };
    use arrow::buffer::OffsetBuffer;
    use millstream_dataflow::testing::{Script, check};

    fn input(column: ArrayRef) -> (SchemaRef, Script) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8View, true),
            Field::new("list", column.data_type().clone(), true),
        ]));
        let ids: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b", "c", "d"]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![ids, column]).unwrap();
        let delta = Delta::new(batch, vec![1, 1, 2, -1].into()).unwrap();
        (schema, Script::new().step(vec![(0, delta)], 0))
    }

    #[test]
    fn elements_become_rows() {
        let mut lists = ListBuilder::new(Int32Builder::new());
        lists.append_value([Some(5), None]);
        lists.append_null();
        lists.append_value([]);
        lists.append_value([Some(7), Some(7)]);
        let (schema, script) = input(Arc::new(lists.finish()));
        let unnest = Unnest::new(schema, 1, vec![0], &["n"]).unwrap();
        assert_eq!(check(&unnest, &script), "+1 a 5 / +1 a NULL / -2 d 7");
        let unnest = unnest.outer().with_ordinality("place");
        assert_eq!(
            check(&unnest, &script),
            "+1 a 5 1 / +1 a NULL 2 / +1 b NULL NULL / +2 c NULL NULL / -1 d 7 1 / -1 d 7 2"
        );
        assert_eq!(unnest.to_string(), "Unnest: list, outer, with ordinality");
        let names: Vec<&str> = unnest
            .schema
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect();
        assert_eq!(names, ["id", "n", "place"]);
        assert_eq!(
            unnest.partitioning(&[Partitioning::Keys(vec![0])]),
            Partitioning::Keys(vec![0])
        );
    }

    #[test]
    fn rows_unfold_into_their_fields() {
        let fields = vec![
            Field::new("x", DataType::Int32, true),
            Field::new("y", DataType::Utf8View, true),
        ];
        let rows = StructArray::new(
            fields.into(),
            vec![
                Arc::new(Int32Array::from(vec![Some(1), Some(2), None])),
                Arc::new(StringViewArray::from(vec!["p", "q", "r"])),
            ],
            Some(vec![true, false, true].into()),
        );
        let element = Arc::new(Field::new("item", rows.data_type().clone(), true));
        let ends = OffsetBuffer::from_lengths([2, 0, 1, 0]);
        let (schema, script) = input(Arc::new(ListArray::new(
            element,
            ends,
            Arc::new(rows),
            None,
        )));
        let unnest = Unnest::new(schema, 1, vec![0], &["first"]).unwrap();
        assert_eq!(
            check(&unnest, &script),
            "+1 a 1 p / +1 a NULL NULL / +2 c NULL r"
        );
        assert_eq!(unnest.schema.field(2).name(), "y");
    }

    #[test]
    fn maps_unfold_into_keys_and_values_and_multisets_into_copies() {
        let names = MapFieldNames {
            entry: "entries".to_owned(),
            key: "key".to_owned(),
            value: "value".to_owned(),
        };
        let mut maps = MapBuilder::new(Some(names), StringViewBuilder::new(), Int32Builder::new());
        maps.keys().append_value("x");
        maps.values().append_value(2);
        maps.keys().append_value("y");
        maps.values().append_value(0);
        maps.append(true).unwrap();
        maps.append(true).unwrap();
        maps.append(false).unwrap();
        maps.append(true).unwrap();
        let (schema, script) = input(Arc::new(maps.finish()));
        let unnest = Unnest::new(schema, 1, vec![0], &[]).unwrap();
        assert_eq!(check(&unnest, &script), "+1 a x 2 / +1 a y 0");
        let unnest = unnest.multiset().unwrap();
        assert_eq!(check(&unnest, &script), "+2 a x");
        assert!(Unnest::new(unnest.schema(), 0, vec![], &[]).is_err());
    }
}
