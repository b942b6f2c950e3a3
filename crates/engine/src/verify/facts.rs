//! What is known of one step of a job: the views' rows, and everything that they must follow from.
//!
//! As rows of one table the facts travel over the Postgres port, so that an instance can be verified from outside:
//!
//! | what | view | name | part | from_offset | to_offset | data |
//! |---|---|---|---|---|---|---|
//! | `step` | | | | the step | its clock, in ms | |
//! | `definition` | the view | its statement | | | | |
//! | `failure` | the view | why it has no rows | | | | |
//! | `range` | the view | a table | a partition | first offset read | behind the last | |
//! | `watermark` | the view | some tables, a line each | | that of what follows from just these | | |
//! | `late` | the view | | | rows that were left out as late | | |
//! | `rows` | the view | | | | | a piece of an Arrow IPC stream |

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, Int64Builder, RecordBatch, StringViewBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use millstream_dataflow::source::Offset;
use millstream_dataflow::{Error, Result, Watermark};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::history::History;

/// A step, with all that its views must follow from.
#[derive(Debug, Default)]
pub struct Facts {
    /// The step's number.
    pub(crate) step: u64,
    /// Its reading of the wall clock; `None` before the first step.
    pub(crate) now_ms: Option<i64>,
    /// The views by name.
    pub(crate) views: BTreeMap<String, ViewFacts>,
    /// What each step was made of, if it was written down.
    pub(crate) history: Option<History>,
}

/// A view at a step.
#[derive(Debug)]
pub(crate) struct ViewFacts {
    /// Its rows, or why it has none.
    pub(crate) rows: std::result::Result<Vec<RecordBatch>, String>,
    /// Its statement.
    pub(crate) definition: Option<String>,
    /// What was read of the tables that it follows from.
    pub(crate) ranges: Vec<Range>,
    /// How far event time has come in what follows from some tables and no others.
    pub(crate) watermarks: BTreeMap<BTreeSet<String>, Watermark>,
    /// The rows that were left out as late on the way to it, since the process began.
    pub(crate) late_rows: u64,
}

/// A part of a partition: `start` up to but without `end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Range {
    pub(crate) table: String,
    pub(crate) partition: String,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
}

impl ViewFacts {
    /// The ranges of a table.
    ///
    /// # Errors
    /// `User` when two readers of the table stood at different offsets.
    pub(crate) fn ranges_of(&self, table: &str) -> Result<Vec<Range>> {
        let of_table = self.ranges.iter().filter(|range| range.table == table);
        let ranges: BTreeSet<&Range> = of_table.collect();
        let partitions: BTreeSet<&str> = ranges.iter().map(|r| r.partition.as_str()).collect();
        if partitions.len() < ranges.len() {
            return Err(Error::user(format!(
                "it reads table `{table}` with two readers, which stood at different offsets"
            ))
            .hint("try again when both have caught up"));
        }
        // In the order in which they were told: that of the source.
        let mut in_order: Vec<Range> = Vec::new();
        for range in self.ranges.iter().filter(|range| range.table == table) {
            if !in_order.contains(range) {
                in_order.push(range.clone());
            }
        }
        Ok(in_order)
    }
}

/// The bytes of a piece of a view's rows.
const PIECE_BYTES: usize = 1 << 20;

/// The columns of the facts as rows.
pub(crate) fn schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        Field::new("what", DataType::Utf8View, false),
        field("view", DataType::Utf8View),
        field("name", DataType::Utf8View),
        field("part", DataType::Utf8View),
        field("from_offset", DataType::Int64),
        field("to_offset", DataType::Int64),
        field("data", DataType::BinaryView),
    ]))
}

#[derive(Default)]
struct Rows {
    texts: [StringViewBuilder; 4],
    numbers: [Int64Builder; 2],
    data: BinaryViewBuilder,
}

impl Rows {
    fn push(&mut self, texts: [Option<&str>; 4], numbers: [Option<i64>; 2], data: Option<&[u8]>) {
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.append_option(text);
        }
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.append_option(number);
        }
        self.data.append_option(data);
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let texts = self
            .texts
            .iter_mut()
            .map(|column| Arc::new(column.finish()) as ArrayRef);
        let mut columns: Vec<ArrayRef> = texts.collect();
        columns.extend(
            self.numbers
                .iter_mut()
                .map(|column| Arc::new(column.finish()) as ArrayRef),
        );
        columns.push(Arc::new(self.data.finish()));
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

impl Facts {
    /// The facts as rows.
    ///
    /// # Errors
    /// `Internal` when the rows of a view cannot be written.
    pub(crate) fn write(&self) -> Result<RecordBatch> {
        let mut rows = Rows::default();
        let step = Some(i64::try_from(self.step).unwrap_or(i64::MAX));
        rows.push([Some("step"), None, None, None], [step, self.now_ms], None);
        for (name, view) in &self.views {
            view.write(name, &mut rows)?;
        }
        rows.finish()
    }

    /// The facts that rows tell.
    ///
    /// # Errors
    /// `Internal` when they are no facts.
    pub fn read(batches: &[RecordBatch]) -> Result<Self> {
        let mut facts = Self::default();
        let mut streams: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for batch in batches {
            if batch.num_columns() != schema().fields().len() {
                return Err(unreadable("they have other columns"));
            }
            let text = |column: usize, row: usize| {
                let texts = batch.column(column).as_string_view();
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            let number = |column: usize, row: usize| {
                let numbers = batch.column(column).as_primitive::<Int64Type>();
                numbers.is_valid(row).then(|| numbers.value(row))
            };
            for row in 0..batch.num_rows() {
                let fact = Fact {
                    what: text(0, row).unwrap_or_default(),
                    name: text(2, row),
                    part: text(3, row),
                    from: number(4, row),
                    to: number(5, row),
                };
                let Some(view) = text(1, row) else {
                    facts.step = fact.from.unwrap_or_default().unsigned_abs();
                    facts.now_ms = fact.to;
                    continue;
                };
                if fact.what == "rows" {
                    let data = batch.column(6).as_binary_view();
                    streams
                        .entry(view)
                        .or_default()
                        .extend_from_slice(data.value(row));
                    continue;
                }
                facts
                    .views
                    .entry(view)
                    .or_insert_with(ViewFacts::unknown)
                    .take(fact)?;
            }
        }
        for (view, stream) in streams {
            let rows = StreamReader::try_new(stream.as_slice(), None)?;
            let batches = rows.collect::<std::result::Result<Vec<_>, _>>()?;
            let view = facts.views.entry(view).or_insert_with(ViewFacts::unknown);
            view.rows = Ok(batches);
        }
        Ok(facts)
    }
}

fn unreadable(why: &str) -> Error {
    Error::internal(format!("the instance's facts can't be read: {why}"))
        .hint("verify with the version of the program that runs")
}

/// A row of the facts of a view.
struct Fact {
    what: String,
    name: Option<String>,
    part: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
}

impl ViewFacts {
    fn unknown() -> Self {
        Self {
            rows: Err("the instance did not give its rows".to_owned()),
            definition: None,
            ranges: Vec::new(),
            watermarks: BTreeMap::new(),
            late_rows: 0,
        }
    }

    fn write(&self, name: &str, rows: &mut Rows) -> Result<()> {
        let view = Some(name);
        if let Some(definition) = &self.definition {
            rows.push(
                [Some("definition"), view, Some(definition), None],
                [None; 2],
                None,
            );
        }
        for range in &self.ranges {
            let names = [
                Some("range"),
                view,
                Some(&*range.table),
                Some(&*range.partition),
            ];
            rows.push(names, [Some(range.start.0), Some(range.end.0)], None);
        }
        for (tables, watermark) in &self.watermarks {
            let tables = tables
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join("\n");
            let names = [Some("watermark"), view, Some(tables.as_str()), None];
            rows.push(names, [Some(watermark.0), None], None);
        }
        let late = i64::try_from(self.late_rows).unwrap_or(i64::MAX);
        rows.push([Some("late"), view, None, None], [Some(late), None], None);
        match &self.rows {
            Err(why) => rows.push([Some("failure"), view, Some(why), None], [None; 2], None),
            Ok(batches) => {
                for piece in stream(batches)?.chunks(PIECE_BYTES) {
                    rows.push([Some("rows"), view, None, None], [None; 2], Some(piece));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, fact: Fact) -> Result<()> {
        let name = fact.name.unwrap_or_default();
        match fact.what.as_str() {
            "definition" => self.definition = Some(name),
            "failure" => self.rows = Err(name),
            "range" => self.ranges.push(Range {
                table: name,
                partition: fact.part.unwrap_or_default(),
                start: Offset(fact.from.unwrap_or_default()),
                end: Offset(fact.to.unwrap_or_default()),
            }),
            "watermark" => {
                let tables = name.lines().map(str::to_owned).collect();
                let watermark = Watermark(fact.from.unwrap_or(Watermark::MIN.0));
                self.watermarks.insert(tables, watermark);
            }
            "late" => self.late_rows = fact.from.unwrap_or_default().unsigned_abs(),
            other => return Err(unreadable(&format!("one is of the unknown kind '{other}'"))),
        }
        Ok(())
    }
}

/// Batches as an Arrow IPC stream; of none, nothing is known but that there are no rows.
fn stream(batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let schema = batches
        .first()
        .map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_dataflow::Delta;
    use millstream_dataflow::testing::{delta, show};

    fn range(partition: &str, end: i64) -> Range {
        Range {
            table: "t".into(),
            partition: partition.into(),
            start: Offset(0),
            end: Offset(end),
        }
    }

    #[test]
    fn facts_come_back_as_they_were() {
        let rows = delta("a text, n bigint", "+1 x 1 / +1 y 2");
        let view = ViewFacts {
            rows: Ok(vec![rows.batch().clone()]),
            definition: Some("CREATE ...".into()),
            ranges: vec![range("t/1", 7), range("t/0", 9)],
            watermarks: [(["t".to_owned(), "u".to_owned()].into(), Watermark(5))].into(),
            late_rows: 3,
        };
        let failed = ViewFacts {
            rows: Err("division by zero".into()),
            ..ViewFacts::unknown()
        };
        let views = [("v".to_owned(), view), ("w".to_owned(), failed)].into();
        let facts = Facts {
            step: 12,
            now_ms: Some(34),
            views,
            history: None,
        };
        let read = Facts::read(&[facts.write().unwrap()]).unwrap();
        assert_eq!((read.step, read.now_ms), (12, Some(34)));
        let v = &read.views["v"];
        let batch = v.rows.as_ref().unwrap()[0].clone();
        assert_eq!(show(&Delta::inserts(batch)), "+1 x 1 / +1 y 2");
        assert_eq!(v.definition.as_deref(), Some("CREATE ..."));
        assert_eq!(v.ranges, [range("t/1", 7), range("t/0", 9)]);
        assert_eq!(v.late_rows, 3);
        let (tables, watermark) = v.watermarks.first_key_value().unwrap();
        assert_eq!((tables.len(), *watermark), (2, Watermark(5)));
        assert_eq!(
            read.views["w"].rows.as_ref().unwrap_err(),
            "division by zero"
        );
    }

    #[test]
    fn two_readers_of_a_table_must_agree() {
        let mut view = ViewFacts::unknown();
        view.ranges = vec![range("t/0", 9), range("t/1", 5), range("t/0", 9)];
        assert_eq!(view.ranges_of("t").unwrap().len(), 2);
        view.ranges.push(range("t/0", 8));
        assert!(
            view.ranges_of("t")
                .unwrap_err()
                .message
                .contains("two readers")
        );
    }
}
