//! MD5, SHA1, SHA224, SHA256, SHA384, SHA512, SHA2: the digest of a text's UTF-8 as lower-case hexadecimal digits.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::codec::write_hex;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::function::{Function, Kind, takes};

pub(crate) fn functions() -> Vec<Function> {
    let hash = |name, eval| {
        Function::new(
            name,
            takes(&[Kind::TextOrBytes]),
            |_| Ok(DataType::Utf8View),
            eval,
        )
    };
    vec![
        hash("md5", |call| each(call, digest::<Md5>)),
        hash("sha1", |call| each(call, digest::<Sha1>)),
        hash("sha224", |call| each(call, digest::<Sha224>)),
        hash("sha256", |call| each(call, digest::<Sha256>)),
        hash("sha384", |call| each(call, digest::<Sha384>)),
        hash("sha512", |call| each(call, digest::<Sha512>)),
        Function::new(
            "sha2",
            takes(&[Kind::TextOrBytes, Kind::Long]),
            |_| Ok(DataType::Utf8View),
            sha2,
        ),
    ]
}

type Hash = fn(&[u8], &mut String);

fn digest<D: Digest>(bytes: &[u8], out: &mut String) {
    write_hex(&D::digest(bytes), b"0123456789abcdef", out);
}

fn each(call: &Call<'_>, hash: Hash) -> Result<ArrayRef> {
    let values = call.bytes(0)?;
    call.texts(|row, out| {
        let Some(value) = values.get(row) else {
            return Ok(false);
        };
        hash(value, out);
        Ok(true)
    })
}

fn sha2(call: &Call<'_>) -> Result<ArrayRef> {
    let (values, lengths) = (call.bytes(0)?, call.long(1)?);
    call.texts(|row, out| {
        let (Some(value), Some(bits)) = (values.get(row), lengths.get(row)) else {
            return Ok(false);
        };
        let hash: Hash = match bits {
            224 => digest::<Sha224>,
            256 => digest::<Sha256>,
            384 => digest::<Sha384>,
            512 => digest::<Sha512>,
            other => {
                let message = format!("the length is 224, 256, 384 or 512 bits, not {other}");
                return Err(Error::argument(call.name, message).into());
            }
        };
        hash(value, out);
        Ok(true)
    })
}
