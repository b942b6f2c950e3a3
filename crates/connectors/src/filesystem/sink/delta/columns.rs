//! Columns as Delta Lake knows them: their types in a table's definition, and what its files hold.

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use serde_json::{Value, json};
use std::sync::Arc;

/// A column in a table's definition. Notes whether a TIMESTAMP without a time zone is in it.
///
/// # Errors
/// Delta has no such type.
pub(super) fn field_of(field: &Field, has_ntz: &mut bool) -> Result<Value, String> {
    let of_type = type_of(field.data_type(), has_ntz)
        .map_err(|reason| format!("column `{}`: {reason}", field.name()))?;
    Ok(
        json!({"name": field.name(), "type": of_type, "nullable": field.is_nullable(), "metadata": {}}),
    )
}

fn type_of(data_type: &DataType, has_ntz: &mut bool) -> Result<Value, String> {
    use DataType as D;
    Ok(match data_type {
        D::Boolean => json!("boolean"),
        D::Int8 => json!("byte"),
        D::Int16 => json!("short"),
        D::Int32 => json!("integer"),
        D::Int64 => json!("long"),
        D::Float32 => json!("float"),
        D::Float64 => json!("double"),
        D::Decimal128(precision, scale) => json!(format!("decimal({precision},{scale})")),
        D::Utf8 | D::LargeUtf8 | D::Utf8View => json!("string"),
        D::Binary | D::LargeBinary | D::BinaryView => json!("binary"),
        D::Date32 => json!("date"),
        D::Timestamp(TimeUnit::Nanosecond, _) => {
            return Err("Delta's times have microseconds: declare TIMESTAMP(6)".to_owned());
        }
        D::Timestamp(_, Some(_)) => json!("timestamp"),
        D::Timestamp(_, None) => {
            *has_ntz = true;
            json!("timestamp_ntz")
        }
        D::Struct(fields) => {
            let fields: Vec<Value> = fields
                .iter()
                .map(|field| field_of(field, has_ntz))
                .collect::<Result<_, _>>()?;
            json!({"type": "struct", "fields": fields})
        }
        D::List(item) => json!({
            "type": "array", "elementType": type_of(item.data_type(), has_ntz)?, "containsNull": item.is_nullable(),
        }),
        D::Map(entries, _) => match entries.data_type() {
            D::Struct(fields) if fields.len() == 2 => json!({
                "type": "map",
                "keyType": type_of(fields[0].data_type(), has_ntz)?,
                "valueType": type_of(fields[1].data_type(), has_ntz)?,
                "valueContainsNull": fields[1].is_nullable(),
            }),
            other => return Err(format!("Delta has no type for {other}")),
        },
        other => return Err(format!("Delta has no type for {other}")),
    })
}

/// The columns as Delta's files hold them: times in microseconds.
pub(in super::super::super) fn stored(schema: &Schema) -> Schema {
    Schema::new(stored_fields(schema.fields()))
}

fn stored_fields(fields: &Fields) -> Fields {
    fields.iter().map(stored_field).collect()
}

fn stored_field(field: &Arc<Field>) -> Arc<Field> {
    let data_type = match field.data_type() {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Struct(fields) => DataType::Struct(stored_fields(fields)),
        DataType::List(item) => DataType::List(stored_field(item)),
        DataType::Map(entries, sorted) => DataType::Map(stored_field(entries), *sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_deltas_names() {
        let of = |data_type| type_of(&data_type, &mut false).map(|of_type| of_type.to_string());
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let list = DataType::List(Arc::new(field("item", DataType::Int16)));
        let row = DataType::Struct(vec![field("a", DataType::Utf8View), field("b", list)].into());
        assert_eq!(
            of(DataType::Decimal128(12, 3)).unwrap(),
            r#""decimal(12,3)""#
        );
        assert_eq!(
            of(row).unwrap(),
            concat!(
                r#"{"type":"struct","fields":[{"name":"a","type":"string","nullable":true,"metadata":{}},"#,
                r#"{"name":"b","type":{"type":"array","elementType":"short","containsNull":true},"nullable":true,"metadata":{}}]}"#
            )
        );
        let time = DataType::Time32(TimeUnit::Millisecond);
        assert!(of(time).unwrap_err().contains("no type for"));
        let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
        assert!(of(nanoseconds).unwrap_err().contains("TIMESTAMP(6)"));
    }

    #[test]
    fn times_are_stored_in_microseconds_wherever_they_are() {
        let time = |unit| DataType::Timestamp(unit, None);
        let nested = |unit| {
            let field = Field::new("at", time(unit), true);
            let list = DataType::List(Arc::new(Field::new("item", time(unit), true)));
            DataType::Struct(vec![field, Field::new("all", list, true)].into())
        };
        let schema = |unit| Schema::new(vec![Field::new("x", nested(unit), true)]);
        assert_eq!(
            stored(&schema(TimeUnit::Millisecond)),
            schema(TimeUnit::Microsecond)
        );
    }
}
