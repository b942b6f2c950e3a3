//! INSERT INTO: a query's rows as a table's.

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::LogicalPlan;
use millstream_dataflow::graph::{Edge, Node, NodeKind, SinkNode};
use millstream_dataflow::{Changes, Error, Partitioning, Result};
use millstream_operators::project::Project;
use std::sync::Arc;

use super::{Lowering, Stream};
use crate::catalog::DeclaredTable;
use crate::{expr, types};

impl Lowering<'_> {
    pub(super) fn insert(&mut self, name: &str, plan: &LogicalPlan) -> Result<()> {
        let table = self.declared(name)?;
        let Some(changes) = &table.capabilities.sink else {
            let connector = table
                .table
                .options
                .get("connector")
                .map_or("its", String::as_str);
            return Err(Error::user(format!(
                "table `{name}` can't be written: the connector '{connector}' only reads"
            )));
        };
        let rows = self
            .lower(plan)
            .map_err(|error| error.context(format!("INSERT INTO `{name}`")))?;
        if *changes == Changes::AppendOnly && !rows.append_only {
            return Err(Error::user(format!("table `{name}` takes inserts only, but the query also updates or deletes rows it gave before"))
                .hint("write to 'upsert-kafka', or a format that carries changes such as 'debezium-json', or aggregate over windows, whose results are final"));
        }
        let rows = self.as_columns_of(&table, &rows)?;
        let sink = millstream_connectors::sink(&table.table)?;
        let exchange = match changes {
            // The changes of one key stay in their order.
            Changes::Upsert(key) => {
                super::needed(&Partitioning::Keys(key.clone()), &rows.partitioning)
            }
            Changes::AppendOnly | Changes::All => Partitioning::Any,
        };
        let id = self.planner.reserve();
        let kind = NodeKind::Sink(SinkNode {
            table: name.to_owned(),
            sink,
        });
        self.graph.nodes.push(Node {
            id,
            inputs: vec![Edge {
                from: rows.node,
                exchange,
            }],
            kind,
        });
        Ok(())
    }

    fn as_columns_of(&mut self, table: &DeclaredTable, rows: &Stream) -> Result<Stream> {
        let columns: Vec<&Field> = table
            .table
            .columns
            .iter()
            .filter(|column| !column.is_virtual)
            .map(|column| &column.field)
            .collect();
        let name = &table.table.name;
        if columns.len() != rows.schema.fields().len() {
            return Err(Error::user(format!(
                "INSERT INTO `{name}` gives {} columns, but the table has {}",
                rows.schema.fields().len(),
                columns.len()
            ))
            .detail(format!(
                "table: {}; query: {}",
                list(columns.iter().copied()),
                list(rows.schema.fields().iter().map(AsRef::as_ref))
            )));
        }
        let mut exprs = Vec::new();
        for (idx, (column, given)) in columns.iter().zip(rows.schema.fields()).enumerate() {
            if !fits(given.data_type(), column.data_type()) {
                return Err(Error::user(format!(
                    "INSERT INTO `{name}`: column `{}` is {}, but the query gives {}",
                    column.name(),
                    types::name(column),
                    types::name(given)
                ))
                .hint(format!(
                    "write CAST(`{}` AS {})",
                    given.name(),
                    types::name(column)
                )));
            }
            let read = datafusion::logical_expr::Expr::Column(rows.names.columns()[idx].clone());
            exprs.push(expr::plan_shown(
                &read,
                &rows.names,
                &rows.schema,
                Some(column.data_type()),
            )?);
        }
        let schema = Arc::new(Schema::new(
            columns
                .into_iter()
                .cloned()
                .map(|field| field.with_nullable(true))
                .collect::<Vec<_>>(),
        ));
        // Always a projection: the sink writes the table's names, and those of the query end here.
        let what = format!("Project {exprs:?} {schema:?}");
        let spec = Project::new(schema, exprs)?;
        Ok(self.stream_of(what, Arc::new(spec), &[rows], &rows.names))
    }
}

/// Whether a value of one type can be stored as another without losing anything but fraction digits of a time.
fn fits(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    let width = |kind: &DataType| match kind {
        D::Int8 => Some(1),
        D::Int16 => Some(2),
        D::Int32 => Some(3),
        D::Int64 => Some(4),
        D::Decimal128(_, _) => Some(5),
        D::Float32 => Some(6),
        D::Float64 => Some(7),
        _ => None,
    };
    match (from, to) {
        (D::Timestamp(_, from), D::Timestamp(_, to)) => from.is_some() == to.is_some(),
        (D::Struct(from), D::Struct(to)) => {
            from.len() == to.len()
                && from
                    .iter()
                    .zip(to)
                    .all(|(from, to)| fits(from.data_type(), to.data_type()))
        }
        (D::List(from), D::List(to)) | (D::Map(from, _), D::Map(to, _)) => {
            fits(from.data_type(), to.data_type())
        }
        _ => {
            from == to
                || width(from)
                    .zip(width(to))
                    .is_some_and(|(from, to)| from <= to)
        }
    }
}

fn list<'a>(fields: impl Iterator<Item = &'a Field>) -> String {
    fields
        .map(|field| format!("{} {}", field.name(), types::name(field)))
        .collect::<Vec<_>>()
        .join(", ")
}
