//! Which columns are in a record's key and which in its value: 'key.fields', 'key.fields-prefix' and
//! 'value.fields-include'.

use millstream_dataflow::{Column, Error, Options, Place, Result, Table};

/// The key's columns and what the value holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyFields {
    /// The table's columns that are in the key, by name, in their order.
    pub(super) names: Vec<String>,
    /// What comes before the names of the key's fields in the table.
    pub(super) prefix: String,
    /// Whether the value has the key's columns too.
    pub(super) in_value: bool,
}

impl KeyFields {
    /// The options of `kafka`: no key without 'key.format'.
    pub(super) fn of_kafka(table: &Table, options: &mut Options, has_format: bool) -> Result<Self> {
        let text = options.text("key.fields");
        let names: Vec<String> = text
            .iter()
            .flat_map(|text| text.split(';'))
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        match (has_format, names.is_empty()) {
            (true, true) => Err(Error::user(format!(
                "table `{}` has 'key.format', but 'key.fields' does not say which columns are in the key",
                table.name
            ))),
            (false, false) => Err(Error::user(format!(
                "table `{}` has 'key.fields', but no 'key.format'",
                table.name
            ))),
            _ => Self::new(table, options, names),
        }
    }

    /// The options of `upsert-kafka`: the key is the primary key.
    pub(super) fn of_primary_key(table: &Table, options: &mut Options) -> Result<Self> {
        if table.primary_key.is_empty() {
            let message = format!(
                "table `{}` of connector 'upsert-kafka' has no primary key",
                table.name
            );
            return Err(Error::user(message)
                .hint("declare PRIMARY KEY (...) NOT ENFORCED: it is the key of the messages"));
        }
        let name = |idx: &usize| table.columns[*idx].field.name().clone();
        Self::new(table, options, table.primary_key.iter().map(name).collect())
    }

    fn new(table: &Table, options: &mut Options, names: Vec<String>) -> Result<Self> {
        let prefix = options.text("key.fields-prefix").unwrap_or_default();
        let in_value = options.word("value.fields-include", &["all", "except_key"])? == "all";
        if in_value && !prefix.is_empty() {
            return Err(Error::user(format!(
                "table `{}`: 'key.fields-prefix' needs 'value.fields-include' = 'EXCEPT_KEY', as columns of both cannot have two names",
                table.name
            )));
        }
        for name in &names {
            let physical = |c: &&millstream_dataflow::TableColumn| {
                c.metadata.is_none() && c.field.name() == name
            };
            if !table.columns.iter().any(|column| physical(&column)) {
                let message = format!(
                    "table `{}`: 'key.fields' names `{name}`, which is no column",
                    table.name
                );
                return Err(Error::user(message));
            }
            if !name.starts_with(&prefix) {
                return Err(Error::user(format!(
                    "table `{}`: the key's column `{name}` does not begin with the prefix '{prefix}'",
                    table.name
                )));
            }
        }
        Ok(Self {
            names,
            prefix,
            in_value,
        })
    }

    /// Whether a column is in the key.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|key| key == name)
    }

    /// Whether a column is in the value.
    pub(super) fn value_contains(&self, name: &str) -> bool {
        self.in_value || !self.contains(name)
    }

    /// A column of the key under the name that it has in the key.
    pub(super) fn in_key(&self, column: &Column) -> Column {
        let mut column = column.clone();
        if let Place::Field(path) = &mut column.place
            && let Some(head) = path.first_mut()
        {
            *head = head[self.prefix.len()..].to_owned();
        }
        column
    }

    /// The table as the key's format sees it: the key's columns under the names that they have there.
    pub(super) fn key_table(&self, table: &Table) -> Table {
        let mut key = table.clone();
        key.columns
            .retain(|c| c.metadata.is_none() && self.contains(c.field.name()));
        // In the order of 'key.fields', which is the order of a csv key.
        key.columns
            .sort_by_key(|c| self.names.iter().position(|name| name == c.field.name()));
        for column in &mut key.columns {
            let name = column.field.name()[self.prefix.len()..].to_owned();
            column.field = column.field.clone().with_name(name);
        }
        key.primary_key.clear();
        key.partitioned_by.clear();
        key
    }

    /// The table as the value's format sees it.
    pub(super) fn value_table(&self, table: &Table) -> Table {
        let mut value = table.clone();
        value
            .columns
            .retain(|c| c.metadata.is_none() && self.value_contains(c.field.name()));
        let position = |idx: &usize| {
            let name = table.columns[*idx].field.name();
            value.columns.iter().position(|c| c.field.name() == name)
        };
        value.primary_key = table.primary_key.iter().filter_map(position).collect();
        value.partitioned_by.clear();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};
    use millstream_dataflow::TableColumn;

    fn table() -> Table {
        let column = |name: &str| TableColumn {
            field: Field::new(name, DataType::Int64, true),
            metadata: None,
            is_virtual: false,
        };
        Table {
            name: "t".into(),
            columns: vec![column("k_id"), column("qty"), column("k_sku")],
            ..Table::default()
        }
    }

    fn fields(pairs: &[(&str, &str)], has_format: bool) -> Result<KeyFields> {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        KeyFields::of_kafka(&table(), &mut Options::new("t", pairs), has_format)
    }

    #[test]
    fn a_prefix_is_of_the_table_and_not_of_the_key() {
        let given = [
            ("key.fields", "k_sku;k_id"),
            ("key.fields-prefix", "k_"),
            ("value.fields-include", "EXCEPT_KEY"),
        ];
        let fields = fields(&given, true).unwrap();
        let names = |table: Table| -> Vec<String> {
            table
                .columns
                .iter()
                .map(|c| c.field.name().clone())
                .collect()
        };
        assert_eq!(names(fields.key_table(&table())), ["sku", "id"]);
        assert_eq!(names(fields.value_table(&table())), ["qty"]);
        let column = fields.in_key(&Column::whole("k_id", DataType::Int64));
        assert_eq!(column.place, Place::Field(vec!["id".into()]));
    }

    #[test]
    fn half_a_key_is_refused() {
        assert!(
            fields(&[], true)
                .unwrap_err()
                .message
                .contains("'key.fields'")
        );
        assert!(
            fields(&[("key.fields", "k_id")], false)
                .unwrap_err()
                .message
                .contains("'key.format'")
        );
        assert!(
            fields(&[("key.fields", "none")], true)
                .unwrap_err()
                .message
                .contains("`none`")
        );
        let prefixed = [("key.fields", "k_id"), ("key.fields-prefix", "k_")];
        assert!(
            fields(&prefixed, true)
                .unwrap_err()
                .message
                .contains("EXCEPT_KEY")
        );
    }
}
