//! Tests of the view's table: against a model, through the operators' harness, and for what readers hold on to.

use super::*;
use millstream_dataflow::operator::{Bound, Checkpointed, Operator, Output, Partitioning, Spec};
use millstream_dataflow::testing::{
    Random, Saved, Script, check, delta, delta_of, schema, show_sum,
};
use millstream_dataflow::{StepTime, Weights};
use std::fmt;

const COLUMNS: &str = "sku text, qty int, note text";

fn table(key: &[usize]) -> ViewTable {
    ViewTable::new(schema(COLUMNS), key.to_vec())
}

fn show(table: &mut ViewTable) -> String {
    let batches = table.snapshot().unwrap().batches().unwrap();
    assert_eq!(
        batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
        table.rows()
    );
    show_sum(&batches.into_iter().map(Delta::inserts).collect::<Vec<_>>())
}

fn apply(table: &mut ViewTable, rows: &str) {
    table.apply(&[delta(COLUMNS, rows)]).unwrap();
}

#[test]
fn an_update_may_come_in_any_order() {
    let mut view = table(&[0]);
    apply(&mut view, "+1 a 1 NULL / +1 b 2 x");
    apply(&mut view, "+1 a 5 NULL / -1 a 1 NULL");
    apply(&mut view, "-1 b 2 x / +1 b 3 x");
    assert_eq!(show(&mut view), "+1 a 5 NULL / +1 b 3 x");
}

#[test]
fn a_weight_of_n_is_n_rows() {
    let mut view = table(&[]);
    apply(&mut view, "+3 a 1 x / +1 b 1 x");
    apply(&mut view, "-2 a 1 x");
    assert_eq!(show(&mut view), "+1 a 1 x / +1 b 1 x");
    assert_eq!(view.rows(), 2);
}

#[test]
fn a_row_that_is_not_there_cannot_be_retracted() {
    let mut view = table(&[0]);
    apply(&mut view, "+1 a 1 x");
    let error = view.apply(&[delta(COLUMNS, "-1 a 2 x")]).unwrap_err();
    assert!(error.to_string().contains("does not hold"), "{error}");
}

#[test]
fn a_snapshot_does_not_change() {
    let mut view = table(&[0]);
    apply(&mut view, "+1 a 1 x / +1 b 2 x / +1 c 3 x");
    apply(&mut view, "-1 b 2 x");
    let before = view.snapshot().unwrap();
    apply(&mut view, "-1 a 1 x / +1 d 4 x");
    let held: Vec<Delta> = before
        .batches()
        .unwrap()
        .into_iter()
        .map(Delta::inserts)
        .collect();
    assert_eq!(show_sum(&held), "+1 a 1 x / +1 c 3 x");
    assert_eq!(before.rows(), 2);
    assert_eq!(show(&mut view), "+1 c 3 x / +1 d 4 x");
}

#[test]
fn a_lookup_finds_rows_by_key() {
    let mut view = table(&[1, 0]);
    apply(&mut view, "+1 a 1 x / +1 b 2 y / +1 NULL 3 z / +1 c 1 w");
    apply(&mut view, "-1 b 2 y / +1 b 2 yy");
    let keys = delta(
        "qty bigint, sku text",
        "+1 2 b / +1 1 c / +1 7 a / +1 3 NULL",
    );
    let found = view.lookup(keys.batch()).unwrap();
    assert_eq!(
        show_sum(&[Delta::inserts(found)]),
        "+1 NULL 3 z / +1 b 2 yy / +1 c 1 w"
    );
    assert!(view.lookup(delta("sku text", "+1 a").batch()).is_err());
    assert!(table(&[]).lookup(keys.batch()).is_err());
}

#[test]
fn long_text_does_not_keep_the_input_alive() {
    let long = "x".repeat(100);
    let rows: Vec<String> = (0..4096)
        .map(|row| format!("+1 {row}{long} {row} {long}"))
        .collect();
    let block = delta(COLUMNS, &rows.join(" / "));
    let mut view = table(&[0]);
    view.apply(&[block.slice(1000, 2)]).unwrap();
    assert!(view.bytes() < 4096, "{} bytes held", view.bytes());
}

#[test]
fn nested_columns_are_copied_and_compared() {
    use arrow::array::{Int32Builder, ListBuilder, MapBuilder, StringViewBuilder, StructArray};
    use arrow::datatypes::{Field, Schema};
    let long = "y".repeat(50);
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    let mut maps = MapBuilder::new(None, StringViewBuilder::new(), Int32Builder::new());
    for row in 0..3 {
        lists.append_value([Some(format!("{row}{long}")), None]);
        maps.keys().append_value(format!("{long}{row}"));
        maps.values().append_value(row);
        maps.append(true).unwrap();
    }
    let list: ArrayRef = Arc::new(lists.finish());
    let map: ArrayRef = Arc::new(maps.finish());
    let inner = Field::new("l", list.data_type().clone(), true);
    let structure: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(inner),
        Arc::clone(&list),
    )]));
    let columns = vec![list, map, structure];
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true))
        .collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut view = ViewTable::new(rows.schema(), Vec::new());
    view.apply(&[Delta::inserts(rows.clone())]).unwrap();
    view.apply(&[Delta::retractions(rows.slice(1, 1))]).unwrap();
    let left = view.snapshot().unwrap().batches().unwrap();
    let expected =
        compute::concat_batches(&rows.schema(), [&rows.slice(0, 1), &rows.slice(2, 1)]).unwrap();
    assert_eq!(
        compute::concat_batches(&rows.schema(), &left).unwrap(),
        expected
    );
}

/// Random inserts and retractions, small and large, against a plain list; saved and restored on the way.
#[test]
fn a_long_life_equals_a_plain_list() {
    for (seed, key) in [(1, vec![]), (2, vec![]), (3, vec![0]), (4, vec![0])] {
        long_life(seed, &key);
    }
}

fn long_life(seed: u64, key: &[usize]) {
    let columns = schema("k int, v int");
    let mut random = Random(seed);
    let mut view = ViewTable::new(Arc::clone(&columns), key.to_vec());
    let mut model: Vec<(i32, i32)> = Vec::new();
    let mut saved = Saved::default();
    view.track().unwrap();
    let mut fresh = 0;
    for round in 0..400 {
        let size = if random.below(20) == 0 {
            3000
        } else {
            random.below(40)
        };
        let mut rows = Vec::new();
        for _ in 0..size {
            if !model.is_empty() && random.below(100) < 48 {
                let gone = model.swap_remove(random.below(model.len()));
                rows.push((gone, -1));
            } else {
                fresh += 1;
                let k = if key.is_empty() {
                    random.below(50) as i32
                } else {
                    fresh
                };
                model.push((k, random.below(3) as i32));
                rows.push((*model.last().unwrap(), 1));
            }
        }
        view.apply(&[of(&columns, &rows)]).unwrap();
        if round % 37 == 0 {
            saved.save(&mut view);
            let mut restored = ViewTable::new(Arc::clone(&columns), key.to_vec());
            saved.restore(&mut restored, &mut random);
            restored.track().unwrap();
            assert_eq!(restored.rows(), model.len());
            view = restored;
        }
    }
    let mut held: Vec<(i32, i32)> = Vec::new();
    for batch in view.snapshot().unwrap().batches().unwrap() {
        let column = |at: usize| {
            batch
                .column(at)
                .as_any()
                .downcast_ref::<arrow::array::Int32Array>()
                .unwrap()
                .clone()
        };
        held.extend(
            column(0)
                .values()
                .iter()
                .copied()
                .zip(column(1).values().iter().copied()),
        );
    }
    held.sort_unstable();
    model.sort_unstable();
    assert_eq!(held, model);
    assert!(view.chunks.len() < 40, "{} chunks", view.chunks.len());
}

fn of(columns: &SchemaRef, rows: &[((i32, i32), i64)]) -> Delta {
    let column = |pick: fn(&(i32, i32)) -> i32| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|(row, _)| Some(pick(row)))
                .collect::<arrow::array::Int32Array>(),
        )
    };
    let batch =
        RecordBatch::try_new(Arc::clone(columns), vec![column(|r| r.0), column(|r| r.1)]).unwrap();
    let weights: Vec<i64> = rows.iter().map(|(_, weight)| *weight).collect();
    Delta::new(batch, weights.into()).unwrap()
}

/// A view as an operator: puts out how its snapshot changed, so that the harness compares snapshots.
#[derive(Debug)]
struct Shown(Vec<usize>);

struct Showing {
    view: ViewTable,
    shown: Vec<RecordBatch>,
    restored: bool,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl Spec for Shown {
    fn schema(&self) -> SchemaRef {
        schema(COLUMNS)
    }
    fn keys(&self, _port: usize) -> Partitioning {
        Partitioning::Keys(vec![0])
    }
    fn bound(&self) -> Bound {
        Bound::Rows("input".into())
    }
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Showing {
            view: table(&self.0),
            shown: Vec::new(),
            restored: true,
        }))
    }
}

impl Operator for Showing {
    fn step(&mut self, _port: usize, delta: Delta, _out: &mut Output) -> Result<()> {
        self.restored = false;
        self.view.apply(&[delta])
    }
    fn advance(&mut self, _time: StepTime, out: &mut Output) -> Result<()> {
        let now = self.view.snapshot()?.batches()?;
        if !self.restored {
            now.iter()
                .for_each(|batch| out.push(Delta::inserts(batch.clone())));
            self.shown
                .iter()
                .for_each(|batch| out.push(Delta::retractions(batch.clone())));
        }
        self.shown = now;
        Ok(())
    }
    fn tables(&mut self) -> Vec<&mut dyn Checkpointed> {
        vec![&mut self.view]
    }
}

#[test]
fn the_harness_finds_no_difference() {
    let script = Script::new()
        .step(
            vec![(
                0,
                delta_of(&schema(COLUMNS), "+1 a 1 x / +1 b 2 NULL / +1 c 3 y"),
            )],
            0,
        )
        .step(
            vec![(
                0,
                delta_of(&schema(COLUMNS), "-1 a 1 x / +1 a 2 x / -1 c 3 y"),
            )],
            1,
        )
        .step(
            vec![(
                0,
                delta_of(&schema(COLUMNS), "+1 d 9 '' / -1 b 2 NULL / +1 c 4 z"),
            )],
            2,
        );
    for key in [vec![], vec![0]] {
        assert_eq!(
            check(&Shown(key), &script),
            "+1 a 2 x / +1 c 4 z / +1 d 9 ''"
        );
    }
    assert!(matches!(
        delta(COLUMNS, "+1 a 1 x").weights(),
        Weights::AllOne
    ));
}
