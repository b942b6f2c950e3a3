//! Parameters in binary format.

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use postgres_types::Kind;

use super::error::{Result, SqlError};
use super::numeric;
use super::parameters::{cast_value, decimal};
use super::rows::{EPOCH_DAYS, EPOCH_MICROS};
use super::types::arrow_type;

/// A value of a type, from its bytes.
pub(crate) fn from_binary(bytes: &[u8], of: &Type) -> Result<ScalarValue> {
    let malformed = || {
        SqlError::new(
            "22P03",
            format!("incorrect binary data format for type {}", of.name()),
        )
    };
    let text = || {
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\""))
    };
    Ok(match *of {
        Type::BYTEA => ScalarValue::BinaryView(Some(bytes.to_vec())),
        Type::UUID => ScalarValue::Utf8View(Some(uuid(bytes).ok_or_else(malformed)?)),
        Type::JSONB => ScalarValue::Utf8View(Some(
            text()?
                .strip_prefix('\u{1}')
                .ok_or_else(malformed)?
                .to_owned(),
        )),
        _ if is_fixed(of) => fixed(bytes, of).ok_or_else(malformed)?,
        _ => match of.kind() {
            Kind::Array(item) => binary_array(bytes, item)?,
            _ => ScalarValue::Utf8View(Some(text()?)),
        },
    })
}

/// Numbers and times.
fn is_fixed(of: &Type) -> bool {
    let numbers = [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::OID,
        Type::REGCLASS,
        Type::REGTYPE,
        Type::INT8,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::NUMERIC,
    ];
    numbers.contains(of)
        || [
            Type::DATE,
            Type::TIME,
            Type::TIMESTAMP,
            Type::TIMESTAMPTZ,
            Type::INTERVAL,
        ]
        .contains(of)
}

fn fixed(bytes: &[u8], of: &Type) -> Option<ScalarValue> {
    let int8 = || bytes.try_into().ok().map(i64::from_be_bytes);
    let int4 = || bytes.try_into().ok().map(i32::from_be_bytes);
    Some(match *of {
        Type::BOOL => ScalarValue::Boolean(Some(*bytes.first().filter(|_| bytes.len() == 1)? != 0)),
        Type::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(bytes.try_into().ok()?))),
        Type::INT8 => ScalarValue::Int64(Some(int8()?)),
        Type::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(bytes.try_into().ok()?))),
        Type::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(bytes.try_into().ok()?))),
        Type::NUMERIC => decimal(&numeric::from_binary(bytes)?)?,
        Type::DATE => ScalarValue::Date32(Some(int4()?.checked_add(EPOCH_DAYS)?)),
        Type::TIME => ScalarValue::Time64Microsecond(Some(int8()?)),
        Type::TIMESTAMP => {
            ScalarValue::TimestampMicrosecond(Some(int8()?.checked_add(EPOCH_MICROS)?), None)
        }
        Type::TIMESTAMPTZ => ScalarValue::TimestampMicrosecond(
            Some(int8()?.checked_add(EPOCH_MICROS)?),
            Some("UTC".into()),
        ),
        Type::INTERVAL => ScalarValue::IntervalMonthDayNano(Some(interval(bytes)?)),
        _ => ScalarValue::Int32(Some(int4()?)),
    })
}

fn interval(bytes: &[u8]) -> Option<IntervalMonthDayNano> {
    let part = |at: usize| {
        bytes
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(i32::from_be_bytes)
    };
    let micros = bytes
        .get(..8)
        .filter(|_| bytes.len() == 16)?
        .try_into()
        .ok()
        .map(i64::from_be_bytes)?;
    Some(IntervalMonthDayNano {
        months: part(12)?,
        days: part(8)?,
        nanoseconds: micros.checked_mul(1_000)?,
    })
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes.len() == 16).then(|| {
        [
            &digits[..8],
            &digits[8..12],
            &digits[12..16],
            &digits[16..20],
            &digits[20..],
        ]
        .join("-")
    })
}

/// An array of one dimension.
fn binary_array(bytes: &[u8], item: &Type) -> Result<ScalarValue> {
    let malformed = || SqlError::new("22P03", "incorrect binary data format for an array");
    let int = |at: usize| {
        bytes
            .get(at..at + 4)
            .and_then(|part| part.try_into().ok())
            .map(i32::from_be_bytes)
            .ok_or_else(malformed)
    };
    let wanted = arrow_type(item).unwrap_or(DataType::Utf8View);
    let dimensions = int(0)?;
    if dimensions > 1 {
        return Err(SqlError::unsupported(
            "an array of more than one dimension as a parameter",
        ));
    }
    let count = if dimensions == 0 {
        0
    } else {
        usize::try_from(int(12)?).map_err(|_| malformed())?
    };
    let mut values = Vec::new();
    let mut at = 20;
    for _ in 0..count {
        let length = int(at)?;
        at += 4;
        let Ok(length) = usize::try_from(length) else {
            values.push(ScalarValue::try_from(&wanted)?);
            continue;
        };
        let item_bytes = bytes
            .get(at..at.saturating_add(length))
            .ok_or_else(malformed)?;
        values.push(cast_value(&from_binary(item_bytes, item)?, &wanted, item)?);
        at += length;
    }
    Ok(ScalarValue::List(ScalarValue::new_list(
        &values, &wanted, true,
    )))
}
