//! Flink's types as Arrow types: their names in SQL and the least restrictive type of several.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};

/// The widest DECIMAL.
pub(crate) const PRECISION_MAX: u8 = 38;

/// `ARRAY<element>` as every function of this crate makes it.
#[must_use]
pub fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

/// `MAP<key, value>` as every function of this crate makes it.
#[must_use]
pub fn map_of(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ]);
    DataType::Map(
        Arc::new(Field::new("entries", DataType::Struct(entries), false)),
        false,
    )
}

/// Whether the type is one of the three text types.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Whether the type is one of the binary types.
pub(crate) fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

/// The precision and scale of an exact number, integers included.
pub(crate) fn exact(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Int8 => Some((3, 0)),
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::UInt8 => Some((3, 0)),
        DataType::UInt16 => Some((5, 0)),
        DataType::UInt32 => Some((10, 0)),
        DataType::UInt64 => Some((20, 0)),
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// The value type of a list of any layout.
pub(crate) fn element_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            Some(field.data_type())
        }
        _ => None,
    }
}

/// The key and value types of a map.
pub(crate) fn entry_types(data_type: &DataType) -> Option<(&DataType, &DataType)> {
    let DataType::Map(entries, _) = data_type else {
        return None;
    };
    let DataType::Struct(fields) = entries.data_type() else {
        return None;
    };
    match fields.as_ref() {
        [key, value] => Some((key.data_type(), value.data_type())),
        _ => None,
    }
}

/// The type with every text in it as `Utf8View` and every BYTES as `BinaryView`, the engine's layouts.
pub(crate) fn canonical(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(field) => DataType::List(canonical_field(field)),
        DataType::Map(field, sorted) => DataType::Map(canonical_field(field), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(canonical_field).collect()),
        other => other.clone(),
    }
}

fn canonical_field(field: &Arc<Field>) -> Arc<Field> {
    let data_type = canonical(field.data_type());
    if &data_type == field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The least restrictive type that holds values of both types, or `None` where SQL has none.
#[must_use]
pub fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType as T;
    if left == right {
        return Some(canonical(left));
    }
    match (left, right) {
        (T::Null, other) | (other, T::Null) => Some(canonical(other)),
        (l, r) if is_text(l) && is_text(r) => Some(T::Utf8View),
        (l, r) if is_binary(l) && is_binary(r) => Some(T::BinaryView),
        (l, r) if l.is_numeric() && r.is_numeric() => common_number(l, r),
        (T::Timestamp(lu, lz), T::Timestamp(ru, rz)) => Some(T::Timestamp(
            finer(*lu, *ru),
            lz.clone().or_else(|| rz.clone()),
        )),
        (T::Date32, T::Timestamp(unit, zone)) | (T::Timestamp(unit, zone), T::Date32) => {
            Some(T::Timestamp(*unit, zone.clone()))
        }
        (T::Time32(_), T::Time64(unit)) | (T::Time64(unit), T::Time32(_)) => Some(T::Time64(*unit)),
        (T::List(l), T::List(r)) => Some(list_of(common_type(l.data_type(), r.data_type())?)),
        (T::Map(..), T::Map(..)) => {
            let ((lk, lv), (rk, rv)) = (entry_types(left)?, entry_types(right)?);
            Some(map_of(common_type(lk, rk)?, common_type(lv, rv)?))
        }
        (T::Struct(l), T::Struct(r)) if l.len() == r.len() => {
            let fields: Option<Fields> = l
                .iter()
                .zip(r.iter())
                .map(|(l, r)| common_field(l, r))
                .collect();
            fields.map(T::Struct)
        }
        _ => None,
    }
}

fn common_field(left: &Field, right: &Field) -> Option<Field> {
    Some(Field::new(
        left.name(),
        common_type(left.data_type(), right.data_type())?,
        true,
    ))
}

/// Exact with exact is exact, as wide as both need; FLOAT or DOUBLE with DECIMAL is DOUBLE.
fn common_number(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType as T;
    match (exact(left), exact(right)) {
        (Some((lp, ls)), Some((rp, rs))) => {
            let either_decimal =
                matches!(left, T::Decimal128(..)) || matches!(right, T::Decimal128(..));
            if !either_decimal {
                return Some(if rp > lp { right.clone() } else { left.clone() });
            }
            let (lp, ls, rp, rs) = (i16::from(lp), i16::from(ls), i16::from(rp), i16::from(rs));
            let whole = (lp - ls).max(rp - rs).min(i16::from(PRECISION_MAX));
            let scale = ls.max(rs).min(i16::from(PRECISION_MAX) - whole);
            Some(T::Decimal128(
                u8::try_from(whole + scale).ok()?,
                i8::try_from(scale).ok()?,
            ))
        }
        (None, None) => Some(if left == &T::Float64 || right == &T::Float64 {
            T::Float64
        } else {
            left.clone()
        }),
        (Some(_), None) => Some(approximate_with(left, right)),
        (None, Some(_)) => Some(approximate_with(right, left)),
    }
}

fn approximate_with(exact: &DataType, approximate: &DataType) -> DataType {
    if matches!(exact, DataType::Decimal128(..)) {
        DataType::Float64
    } else {
        approximate.clone()
    }
}

fn finer(left: TimeUnit, right: TimeUnit) -> TimeUnit {
    if left > right { left } else { right }
}

/// The name of the type in Flink's SQL.
#[must_use]
pub fn sql_name(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Null => "NULL".into(),
        T::Boolean => "BOOLEAN".into(),
        T::Int8 => "TINYINT".into(),
        T::Int16 => "SMALLINT".into(),
        T::Int32 => "INT".into(),
        T::Int64 => "BIGINT".into(),
        T::Float32 => "FLOAT".into(),
        T::Float64 => "DOUBLE".into(),
        T::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "STRING".into(),
        T::Binary | T::LargeBinary | T::BinaryView => "BYTES".into(),
        T::FixedSizeBinary(size) => format!("BINARY({size})"),
        T::Date32 | T::Date64 => "DATE".into(),
        T::Time32(_) => "TIME(3)".into(),
        T::Time64(_) => "TIME(9)".into(),
        T::Timestamp(unit, None) => format!("TIMESTAMP({})", fraction_digits(*unit)),
        T::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", fraction_digits(*unit)),
        T::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH".into(),
        T::Interval(_) | T::Duration(_) => "INTERVAL DAY TO SECOND".into(),
        T::Struct(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|f| format!("`{}` {}", f.name(), sql_name(f.data_type())))
                .collect();
            format!("ROW<{}>", fields.join(", "))
        }
        T::Map(..) => match entry_types(data_type) {
            Some((key, value)) => format!("MAP<{}, {}>", sql_name(key), sql_name(value)),
            None => "MAP".into(),
        },
        other => match element_type(other) {
            Some(element) => format!("ARRAY<{}>", sql_name(element)),
            None => other.to_string(),
        },
    }
}

/// How many digits of a second the unit holds.
pub(crate) fn fraction_digits(unit: TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_numbers_widen_to_hold_both() {
        let decimal = DataType::Decimal128(12, 4);
        assert_eq!(
            common_type(&decimal, &DataType::Int32),
            Some(DataType::Decimal128(14, 4))
        );
        assert_eq!(
            common_type(&decimal, &DataType::Float32),
            Some(DataType::Float64)
        );
        assert_eq!(
            common_type(&DataType::Int64, &DataType::Float32),
            Some(DataType::Float32)
        );
        assert_eq!(
            common_type(&DataType::Int8, &DataType::Int64),
            Some(DataType::Int64)
        );
        assert_eq!(
            common_type(&DataType::Decimal128(38, 0), &DataType::Decimal128(10, 5)),
            Some(DataType::Decimal128(38, 0))
        );
    }

    #[test]
    fn text_and_numbers_have_nothing_in_common() {
        assert_eq!(common_type(&DataType::Utf8, &DataType::Int32), None);
        assert_eq!(
            common_type(&DataType::Utf8, &DataType::Utf8View),
            Some(DataType::Utf8View)
        );
    }

    #[test]
    fn names_are_those_of_sql() {
        assert_eq!(sql_name(&list_of(DataType::Int32)), "ARRAY<INT>");
        assert_eq!(
            sql_name(&map_of(DataType::Utf8View, DataType::Date32)),
            "MAP<STRING, DATE>"
        );
    }
}
