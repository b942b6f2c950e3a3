//! INET_ATON, INET_NTOA: IPv4 addresses as numbers and back; NULL of what is no address.

use std::net::Ipv4Addr;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::call::Call;
use crate::error::Result;
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "inet_aton",
            takes(&[Kind::Text]),
            |_| Ok(DataType::Int64),
            aton,
        ),
        Function::new(
            "inet_ntoa",
            takes(&[Kind::Long]),
            |_| Ok(DataType::Utf8View),
            ntoa,
        ),
    ]
}

fn aton(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.longs(|row| Some(u32::from(texts.get(row)?.trim().parse::<Ipv4Addr>().ok()?).into()))
}

fn ntoa(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = call.long(0)?;
    call.texts(|row, out| {
        let Some(number) = numbers
            .get(row)
            .and_then(|number| u32::try_from(number).ok())
        else {
            return Ok(false);
        };
        out.push_str(&Ipv4Addr::from(number).to_string());
        Ok(true)
    })
}
