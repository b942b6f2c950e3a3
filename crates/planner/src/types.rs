//! Flink's logical types as Arrow's, and back for people.
//!
//! A field remembers in its metadata what Arrow's types do not say: the length of CHAR, VARCHAR, BINARY and VARBINARY, and the
//! digits of a second of TIME and TIMESTAMP.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use arrow::error::ArrowError;
use millstream_sql::{FieldType, Type};
use std::sync::Arc;

/// The metadata key of a field that holds its Flink type where Arrow's says less.
pub const FLINK_TYPE: &str = "millstream.type";

/// A field of a Flink type. TIMESTAMP_LTZ takes the session's time zone.
pub fn field(name: &str, kind: &FieldType, time_zone: &str) -> Field {
    let field = Field::new(name, data_type(&kind.kind, time_zone), kind.nullable);
    match &kind.kind {
        Type::Char(_) | Type::Binary(_) | Type::Time(_) => with_type(field, kind),
        Type::Timestamp(precision) | Type::TimestampLtz(precision)
            if ![3, 6, 9].contains(precision) =>
        {
            with_type(field, kind)
        }
        Type::VarChar(length) | Type::VarBinary(length) if *length != i32::MAX as u32 => {
            with_type(field, kind)
        }
        _ => field,
    }
}

fn with_type(field: Field, kind: &FieldType) -> Field {
    field.with_metadata([(FLINK_TYPE.to_owned(), kind.kind.to_string())].into())
}

/// The Arrow type of a Flink type.
pub fn data_type(kind: &Type, time_zone: &str) -> DataType {
    let inner = |name: &str, kind: &FieldType| Arc::new(field(name, kind, time_zone));
    match kind {
        Type::Boolean => DataType::Boolean,
        Type::TinyInt => DataType::Int8,
        Type::SmallInt => DataType::Int16,
        Type::Int => DataType::Int32,
        Type::BigInt => DataType::Int64,
        Type::Float => DataType::Float32,
        Type::Double => DataType::Float64,
        Type::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
        Type::Char(_) | Type::VarChar(_) => DataType::Utf8View,
        Type::Binary(_) | Type::VarBinary(_) => DataType::BinaryView,
        Type::Date => DataType::Date32,
        Type::Time(precision) if *precision <= 3 => DataType::Time32(TimeUnit::Millisecond),
        Type::Time(_) => DataType::Time64(TimeUnit::Nanosecond),
        Type::Timestamp(precision) => DataType::Timestamp(time_unit(*precision), None),
        Type::TimestampLtz(precision) => {
            DataType::Timestamp(time_unit(*precision), Some(time_zone.into()))
        }
        Type::YearMonthInterval { .. } | Type::DayTimeInterval { .. } => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        Type::Array(element) => DataType::List(inner("item", element)),
        Type::Multiset(element) => {
            let count = FieldType {
                kind: Type::Int,
                nullable: false,
            };
            map(&not_null(element), &count, time_zone)
        }
        Type::Map(key, value) => map(&not_null(key), value, time_zone),
        Type::Row(fields) => DataType::Struct(
            fields
                .iter()
                .map(|part| inner(&part.name, &part.field_type))
                .collect(),
        ),
    }
}

fn not_null(kind: &FieldType) -> FieldType {
    FieldType {
        kind: kind.kind.clone(),
        nullable: false,
    }
}

fn map(key: &FieldType, value: &FieldType, time_zone: &str) -> DataType {
    let entries = Fields::from(vec![
        field("key", key, time_zone),
        field("value", value, time_zone),
    ]);
    DataType::Map(
        Arc::new(Field::new("entries", DataType::Struct(entries), false)),
        false,
    )
}

fn time_unit(precision: u8) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

/// A field's type as Flink prints it.
pub fn name(field: &Field) -> String {
    match field.metadata().get(FLINK_TYPE) {
        Some(name) => name.clone(),
        None => data_type_name(field.data_type()),
    }
}

/// An Arrow type as Flink prints it.
pub fn data_type_name(kind: &DataType) -> String {
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match kind {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => "STRING".into(),
        DataType::BinaryView | DataType::Binary | DataType::LargeBinary => "BYTES".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", digits(unit)),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(unit)),
        DataType::List(element) => format!("ARRAY<{}>", name(element)),
        DataType::Struct(fields) => {
            let parts: Vec<_> = fields
                .iter()
                .map(|f| format!("`{}` {}", f.name(), name(f)))
                .collect();
            format!("ROW<{}>", parts.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) if parts.len() == 2 => {
                format!("MAP<{}, {}>", name(&parts[0]), name(&parts[1]))
            }
            other => format!("MAP<{other}>"),
        },
        other => other.to_string().to_uppercase(),
    }
}

/// The values of a column as CAST to STRING writes them.
pub fn to_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
    let options = millstream_functions::Options {
        time_zone: "UTC".to_owned(),
    };
    let function = millstream_functions::cast::cast_udf(DataType::Utf8View, None, &options);
    let args = ScalarFunctionArgs {
        args: vec![ColumnarValue::Array(Arc::clone(column))],
        arg_fields: vec![Arc::new(Field::new(
            "value",
            column.data_type().clone(),
            true,
        ))],
        number_rows: column.len(),
        return_field: Arc::new(Field::new("text", DataType::Utf8View, true)),
        config_options: Arc::default(),
    };
    let done = function
        .invoke_with_args(args)
        .and_then(|values| values.into_array(column.len()));
    done.map_err(|error| ArrowError::CastError(error.to_string()))
}
