//! From what a reader polled to what a step takes: the table's declaration is applied, rows that it refuses become bad
//! records. Runs on the reader's thread and depends on nothing but the rows.

use crate::queue::Item;
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream_dataflow::source::{BadRecord, Offset, Polled, Prepare, Prepared, State};
use millstream_dataflow::{Delta, Kind, Result, Watermark};

/// Prepares what was polled from `from` on.
pub(crate) fn item(prepare: &dyn Prepare, polled: Polled, from: Offset) -> Result<Item> {
    let Polled {
        delta,
        offsets,
        mut bad,
        position,
        state: _,
    } = polled;
    let prepared = prepare_rows(prepare, &delta)?;
    if !prepared.refused.is_empty() {
        for (row, reason) in prepared.refused {
            bad.push(BadRecord {
                bytes: text_of(&delta.batch().slice(row, 1)).into_bytes(),
                offset: offsets.get(row),
                reason,
            });
        }
        bad.sort_by_key(|record| record.offset);
    }
    Ok(Item {
        delta: prepared.delta,
        from,
        to: position,
        watermark: prepared.watermark_ms.map(Watermark),
        bad,
    })
}

/// The part of a poll before an offset, and the rest.
pub(crate) fn cut(polled: Polled, at: Offset) -> (Polled, Polled) {
    let rows = polled.delta.rows();
    let before = polled.offsets.before(at, rows);
    let (bad, bad_rest) = polled
        .bad
        .into_iter()
        .partition(|record| record.offset < at);
    let first = Polled {
        delta: polled.delta.slice(0, before),
        offsets: polled.offsets.slice(0, before),
        bad,
        position: at,
        state: State::More,
    };
    let rest = Polled {
        delta: polled.delta.slice(before, rows - before),
        offsets: polled.offsets.slice(before, rows - before),
        bad: bad_rest,
        position: polled.position,
        state: polled.state,
    };
    (first, rest)
}

/// Prepares rows; when a value fails all of them, finds out which rows are at fault by halving.
fn prepare_rows(prepare: &dyn Prepare, delta: &Delta) -> Result<Prepared> {
    if delta.is_empty() {
        return Ok(Prepared {
            delta: Delta::empty(prepare.schema()),
            watermark_ms: None,
            refused: Vec::new(),
        });
    }
    let rows = delta.rows();
    match prepare.prepare(delta.clone()) {
        Err(error) if error.kind == Kind::BadData && rows == 1 => Ok(Prepared {
            delta: Delta::empty(prepare.schema()),
            watermark_ms: None,
            refused: vec![(0, error.to_string())],
        }),
        Err(error) if error.kind == Kind::BadData => {
            let half = rows / 2;
            let left = prepare_rows(prepare, &delta.slice(0, half))?;
            let right = prepare_rows(prepare, &delta.slice(half, rows - half))?;
            let shifted = right
                .refused
                .into_iter()
                .map(|(row, why)| (row + half, why));
            Ok(Prepared {
                delta: Delta::concat(&prepare.schema(), &[left.delta, right.delta])?,
                watermark_ms: left.watermark_ms.max(right.watermark_ms),
                refused: left.refused.into_iter().chain(shifted).collect(),
            })
        }
        outcome => outcome,
    }
}

/// A row as JSON, or in words where JSON has none for its types.
fn text_of(row: &RecordBatch) -> String {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    if writer.write(row).is_ok() && writer.finish().is_ok() {
        let text = String::from_utf8_lossy(&writer.into_inner())
            .trim_end()
            .to_owned();
        if !text.is_empty() {
            return text;
        }
    }
    let options = FormatOptions::default().with_null("null");
    let schema = row.schema();
    let pairs = schema
        .fields()
        .iter()
        .zip(row.columns())
        .map(|(field, column)| {
            let value = ArrayFormatter::try_new(column, &options)
                .and_then(|formatter| formatter.value(0).try_to_string());
            format!("{}: {}", field.name(), value.unwrap_or_default())
        });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::SchemaRef;
    use millstream_dataflow::Error;
    use millstream_dataflow::source::RowOffsets;
    use millstream_dataflow::testing::{delta, schema, show};

    /// Fails on batches that hold a 13, refuses a 7.
    #[derive(Debug)]
    struct Superstitious;

    impl Prepare for Superstitious {
        fn schema(&self) -> SchemaRef {
            schema("n int")
        }
        fn watermarked(&self) -> bool {
            true
        }
        fn prepare(&self, delta: Delta) -> Result<Prepared> {
            let words = show(&delta);
            if words.contains(" 13") {
                return Err(Error::bad_data("thirteen"));
            }
            let seven = words.split(" / ").position(|word| word == "+1 7");
            let keep = (0..delta.rows())
                .map(|row| Some(Some(row) != seven))
                .collect();
            Ok(Prepared {
                watermark_ms: Some(delta.rows() as i64),
                delta: delta.filter(&keep)?,
                refused: seven
                    .into_iter()
                    .map(|row| (row, "seven".to_owned()))
                    .collect(),
            })
        }
    }

    #[test]
    fn a_bad_row_between_good_ones_changes_nothing_else() {
        let polled = Polled {
            delta: delta("n int", "+1 1 / +1 13 / +1 2 / +1 7 / +1 13 / +1 3"),
            offsets: RowOffsets::Each(vec![100, 102, 103, 104, 105, 106]),
            bad: vec![BadRecord {
                bytes: vec![b'x'],
                offset: Offset(101),
                reason: "broken".into(),
            }],
            position: Offset(107),
            state: State::More,
        };
        let item = item(&Superstitious, polled, Offset(100)).unwrap();
        assert_eq!(show(&item.delta), "+1 1 / +1 2 / +1 3");
        let bad: Vec<_> = item
            .bad
            .iter()
            .map(|b| {
                (
                    b.offset.0,
                    b.reason.as_str(),
                    String::from_utf8_lossy(&b.bytes).into_owned(),
                )
            })
            .collect();
        let thirteen = r#"{"n":13}"#.to_owned();
        assert_eq!(
            bad,
            [
                (101, "broken", "x".to_owned()),
                (102, "thirteen", thirteen.clone()),
                (104, "seven", r#"{"n":7}"#.to_owned()),
                (105, "thirteen", thirteen),
            ]
        );
    }

    #[test]
    fn a_poll_is_cut_at_an_offset() {
        let polled = Polled {
            delta: delta("n int", "+1 1 / +1 2 / -1 2 / +1 3"),
            offsets: RowOffsets::Each(vec![100, 103, 103, 105]),
            bad: vec![BadRecord {
                bytes: vec![b'x'],
                offset: Offset(101),
                reason: "broken".into(),
            }],
            position: Offset(109),
            state: State::CaughtUp,
        };
        let (first, rest) = cut(polled, Offset(103));
        assert_eq!(show(&first.delta), "+1 1");
        assert_eq!((first.bad.len(), first.position), (1, Offset(103)));
        let (second, rest) = cut(rest, Offset(105));
        assert_eq!(show(&second.delta), "+1 2 / -1 2");
        assert_eq!(show(&rest.delta), "+1 3");
        assert_eq!(
            (rest.bad.len(), rest.position, rest.state),
            (0, Offset(109), State::CaughtUp)
        );
    }
}
