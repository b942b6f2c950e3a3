//! TRIM, LTRIM, RTRIM, BTRIM: they take away spaces, or any of the characters of a second argument.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes_optional};

pub(crate) fn functions() -> Vec<Function> {
    let trim = |name, eval| {
        Function::new(
            name,
            takes_optional(&[Kind::Text], &[Kind::Text]),
            |_| Ok(DataType::Utf8View),
            eval,
        )
    };
    vec![
        trim("btrim", |call| each(call, true, true)).aliases(&["trim"]),
        trim("ltrim", |call| each(call, true, false)),
        trim("rtrim", |call| each(call, false, true)),
    ]
}

fn each(call: &Call<'_>, left: bool, right: bool) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    if call.len() == 1 {
        return call.slices(|row| Some(strip(texts.get(row)?, |c| c == ' ', left, right)));
    }
    let sets = call.text(1)?;
    call.slices(|row| {
        let set = sets.get(row)?;
        Some(strip(texts.get(row)?, |c| set.contains(c), left, right))
    })
}

fn strip(text: &str, away: impl Fn(char) -> bool, left: bool, right: bool) -> &str {
    let text = if left {
        text.trim_start_matches(&away)
    } else {
        text
    };
    if right {
        text.trim_end_matches(&away)
    } else {
        text
    }
}
