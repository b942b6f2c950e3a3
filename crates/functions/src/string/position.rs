//! POSITION, LOCATE, INSTR: where a text occurs in another; 0 is nowhere.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::{characters, count, long};
use crate::call::Call;
use crate::error::{Error, Result};
use crate::function::{Function, Kind, takes, takes_optional};

pub(crate) fn functions() -> Vec<Function> {
    let int = |name, arguments, eval| Function::new(name, arguments, |_| Ok(DataType::Int32), eval);
    vec![
        int("position", takes(&[Kind::Text, Kind::Text]), |call| {
            locate(call, 0, 1)
        }),
        int(
            "locate",
            takes_optional(&[Kind::Text, Kind::Text], &[Kind::Long]),
            |call| locate(call, 0, 1),
        ),
        int(
            "instr",
            takes_optional(&[Kind::Text, Kind::Text], &[Kind::Long, Kind::Long]),
            instr,
        ),
    ]
}

fn locate(call: &Call<'_>, needle: usize, text: usize) -> Result<ArrayRef> {
    let (needles, texts) = (call.text(needle)?, call.text(text)?);
    if call.len() == 2 {
        return call.longs(|row| Some(find(texts.get(row)?, needles.get(row)?, 1)));
    }
    let starts = call.long(2)?;
    call.longs(|row| Some(find(texts.get(row)?, needles.get(row)?, starts.get(row)?)))
}

/// The first position at or behind the start. An empty needle is found at 1.
fn find(text: &str, needle: &str, start: i64) -> i64 {
    if needle.is_empty() {
        return 1;
    }
    let skipped = usize::try_from(start.saturating_sub(1)).unwrap_or(0);
    let rest = characters(text, skipped, usize::MAX);
    rest.find(needle)
        .map_or(0, |at| long(skipped + count(&rest[..at]) + 1))
}

fn instr(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, needles) = (call.text(0)?, call.text(1)?);
    if call.len() == 2 {
        return call.longs(|row| Some(find(texts.get(row)?, needles.get(row)?, 1)));
    }
    let starts = call.long(2)?;
    let nths = if call.len() > 3 {
        Some(call.long(3)?)
    } else {
        None
    };
    if let Some(nths) = &nths
        && (0..call.rows).any(|row| nths.get(row).is_some_and(|nth| nth <= 0))
    {
        return Err(
            Error::argument(call.name, "the number of the appearance must be positive").into(),
        );
    }
    call.longs(|row| {
        let nth = nths.as_ref().map_or(Some(1), |nths| nths.get(row))?;
        Some(nth_from(
            texts.get(row)?,
            needles.get(row)?,
            starts.get(row)?,
            nth,
        ))
    })
}

/// A negative start counts and searches from the end.
fn nth_from(text: &str, needle: &str, start: i64, nth: i64) -> i64 {
    if start < 0 {
        let reversed = |text: &str| text.chars().rev().collect::<String>();
        let found = nth_from(
            &reversed(text),
            &reversed(needle),
            start.saturating_neg(),
            nth,
        );
        return if found == 0 {
            0
        } else {
            long(count(text)) + 2 - found - long(count(needle))
        };
    }
    if start == 0 {
        return 0;
    }
    let mut from = start;
    let mut found = 0;
    for _ in 0..nth {
        found = find(text, needle, from);
        if found == 0 || needle.is_empty() {
            break;
        }
        from = found + 1;
    }
    found
}
