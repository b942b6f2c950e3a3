//! STARTSWITH, ENDSWITH of texts or bytes.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    const ARGUMENTS: &[Kind] = &[Kind::TextOrBytes, Kind::TextOrBytes];
    let boolean =
        |name, eval| Function::new(name, takes(ARGUMENTS), |_| Ok(DataType::Boolean), eval);
    vec![
        boolean("startswith", |call| each(call, <[u8]>::starts_with)).aliases(&["starts_with"]),
        boolean("endswith", |call| each(call, <[u8]>::ends_with)).aliases(&["ends_with"]),
    ]
}

fn each(call: &Call<'_>, test: fn(&[u8], &[u8]) -> bool) -> Result<ArrayRef> {
    let (values, affixes) = (call.bytes(0)?, call.bytes(1)?);
    call.booleans(|row| Some(test(values.get(row)?, affixes.get(row)?)))
}
