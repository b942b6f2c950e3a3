//! Leaves: tables, materialized views, values.

use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{EmptyRelation, Expr, TableScan, Values};
use millstream_dataflow::graph::{
    DeadLettersNode, Edge, Node, NodeId, NodeKind, SinkNode, SourceNode, ViewNode,
};
use millstream_dataflow::source::dead_letter_schema;
use millstream_dataflow::{Changes, Error, Partitioning, Result, Table, TableColumn};
use millstream_operators::upsert::Upsert;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Lowering, Planner, Stream, engine_schema, rows};
use crate::catalog::{BadRecords, DeclaredTable, Relation};
use crate::error::from_datafusion;
use crate::expr;
use crate::paths::{self, Layout};
use crate::{source, values};

impl Planner {
    /// The columns of a table, and the fields inside, that its planned source gives: a column's name and the names of the
    /// fields inside. None when no planned query reads the table.
    pub fn table_paths(&self, table: &str) -> Option<&[Vec<String>]> {
        let stream = self.sources.get(table)?.first()?;
        Some(&stream.layout.as_ref()?.paths)
    }
}

impl Lowering<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Stream> {
        let Some(bound) = paths::relation(scan) else {
            return Err(Error::internal(format!(
                "a scan of {} that the catalog does not know",
                scan.table_name
            )));
        };
        match bound.relation.as_ref() {
            Relation::Table(table) => self.table(table),
            Relation::View(_) => Err(Error::internal(format!(
                "the view {} was not replaced by its query",
                bound.name
            ))),
            Relation::Materialized(view) => {
                let Some(stream) = self.planner.views.get(&view.node).cloned() else {
                    return Err(Error::user(format!("`{}` holds no rows yet", bound.name))
                        .hint("read its table first: bad records come from there"));
                };
                self.projected(&stream, scan)
            }
        }
    }

    /// The columns that a scan of a view wants.
    fn projected(&mut self, stream: &Stream, scan: &TableScan) -> Result<Stream> {
        let all: Vec<usize> = (0..stream.schema.fields().len()).collect();
        let columns = scan.projection.as_ref().unwrap_or(&all);
        if *columns == all {
            return Ok(Stream {
                names: Arc::clone(&scan.projected_schema),
                ..stream.clone()
            });
        }
        let exprs = columns
            .iter()
            .map(|idx| expr::column(*idx, stream.schema.field(*idx).name()))
            .collect();
        self.project(
            stream,
            exprs,
            &scan.projected_schema,
            engine_schema(&scan.projected_schema),
        )
    }

    /// A declared table: a source that runs already serves if it gives every wanted column.
    fn table(&mut self, table: &DeclaredTable) -> Result<Stream> {
        let name = &table.table.name;
        let mut wanted = self.wanted.get(name).cloned().unwrap_or_default();
        at_least_one(table, &mut wanted);
        let running = self.planner.sources.get(name).into_iter().flatten();
        let shared = running.into_iter().find(|stream| {
            stream
                .layout
                .as_ref()
                .is_some_and(|layout| layout.covers(&wanted))
        });
        if let Some(stream) = shared {
            return Ok(stream.clone());
        }
        let dead_letters = self.dead_letters(table)?;
        let (node, layout) = source::source(table, &wanted, dead_letters)?;
        let stream = self.source(node, layout, table)?;
        self.planner
            .sources
            .entry(name.clone())
            .or_default()
            .push(stream.clone());
        Ok(stream)
    }

    fn source(
        &mut self,
        node: SourceNode,
        layout: Layout,
        table: &DeclaredTable,
    ) -> Result<Stream> {
        let changes = node.source.changes();
        let id = self.planner.reserve();
        self.graph.nodes.push(Node {
            id,
            inputs: Vec::new(),
            kind: NodeKind::Source(node),
        });
        let key: Option<Vec<usize>> = table
            .primary_key
            .iter()
            .map(|key| layout.index(&[table.schema.field(*key).name().clone()]))
            .collect();
        let key = key.filter(|key| !key.is_empty());
        let raw = Stream {
            node: id,
            names: Arc::clone(&layout.names),
            schema: Arc::clone(&layout.schema),
            layout: Some(Arc::new(layout)),
            partitioning: Partitioning::Any,
            append_only: changes == Changes::AppendOnly,
            // Only a changelog keeps to the key; appended rows may repeat it.
            key: key.clone().filter(|_| changes != Changes::AppendOnly),
            clocked: false,
        };
        let raw = self.stamped_columns(raw, table)?;
        match (changes, key) {
            (Changes::Upsert(_), Some(key)) => {
                let spec = Upsert::new(Arc::clone(&raw.schema), key);
                let (node, partitioning, _) =
                    self.add(format!("{spec:?}"), Arc::new(spec), &[&raw]);
                Ok(Stream {
                    node,
                    partitioning,
                    append_only: false,
                    ..raw
                })
            }
            (Changes::Upsert(_), None) => Err(Error::internal(format!(
                "upserts of table `{}` without its key",
                table.table.name
            ))),
            (Changes::AppendOnly | Changes::All, _) => Ok(raw),
        }
    }

    /// A source's rows with the clock's reading in the columns that are PROCTIME().
    fn stamped_columns(&mut self, raw: Stream, table: &DeclaredTable) -> Result<Stream> {
        let Some(layout) = raw.layout.clone() else {
            return Ok(raw);
        };
        let stamps = layout.paths.iter().enumerate();
        let stamps = stamps.filter(|(_, path)| source::is_proctime(table, path));
        stamps
            .map(|(idx, _)| idx)
            .try_fold(raw, |rows, column| self.stamped(rows, column))
    }

    /// The node of a table's bad records, with the view over them and the topic they also go to.
    fn dead_letters(&mut self, table: &DeclaredTable) -> Result<Option<NodeId>> {
        let name = &table.table.name;
        let (
            BadRecords::DeadLetter {
                table: view_name,
                topic,
            },
            Some((node, view)),
        ) = (
            &table.bad_records,
            self.planner.dead_letters.get(name).copied(),
        )
        else {
            return Ok(None);
        };
        if self.planner.views.contains_key(&view) {
            return Ok(Some(node));
        }
        let schema = dead_letter_schema();
        let edge = Edge {
            from: node,
            exchange: Partitioning::Any,
        };
        self.graph.nodes.push(Node {
            id: node,
            inputs: Vec::new(),
            kind: NodeKind::DeadLetters(DeadLettersNode {
                table: name.clone(),
            }),
        });
        let kept = ViewNode {
            name: view_name.clone(),
            schema: Arc::clone(&schema),
            key: Vec::new(),
        };
        self.graph.nodes.push(Node {
            id: view,
            inputs: vec![edge.clone()],
            kind: NodeKind::View(kept),
        });
        if let Some(topic) = topic {
            let id = self.planner.reserve();
            let sink = SinkNode {
                table: topic.clone(),
                sink: millstream_connectors::sink(&letters_topic(table, topic))?,
            };
            self.graph.nodes.push(Node {
                id,
                inputs: vec![edge],
                kind: NodeKind::Sink(sink),
            });
        }
        let names =
            datafusion::common::DFSchema::try_from(Arc::clone(&schema)).map_err(from_datafusion)?;
        let stream = Stream {
            node: view,
            names: Arc::new(names),
            schema,
            layout: None,
            partitioning: Partitioning::Any,
            append_only: true,
            key: None,
            clocked: false,
        };
        self.planner.views.insert(view, stream);
        Ok(Some(node))
    }

    /// The whole columns of a source, named as the plan names them.
    pub(super) fn whole_columns(
        &mut self,
        stream: &Stream,
        layout: &Layout,
        names: &DFSchemaRef,
    ) -> Result<Stream> {
        if names.fields().is_empty() {
            return Ok(Stream {
                names: Arc::clone(names),
                layout: None,
                key: None,
                ..stream.clone()
            });
        }
        let mut exprs = Vec::new();
        for field in names.fields() {
            let Some(idx) = layout.index(&[field.name().clone()]) else {
                return Err(Error::internal(format!(
                    "the source does not give column `{}`",
                    field.name()
                )));
            };
            exprs.push(expr::column(idx, field.name()));
        }
        self.project(stream, exprs, names, rows::described(names, layout))
    }

    pub(super) fn empty(&mut self, empty: &EmptyRelation) -> Result<Stream> {
        let rows = if empty.produce_one_row {
            vec![Vec::new()]
        } else {
            Vec::new()
        };
        self.constant(&rows, &empty.schema)
    }

    pub(super) fn values(&mut self, values: &Values) -> Result<Stream> {
        self.constant(&values.values, &values.schema)
    }

    fn constant(&mut self, rows: &[Vec<Expr>], names: &DFSchemaRef) -> Result<Stream> {
        let schema = engine_schema(names);
        let node = values::source(rows, &schema)?;
        let id = self.planner.reserve();
        self.graph.nodes.push(Node {
            id,
            inputs: Vec::new(),
            kind: NodeKind::Source(node),
        });
        Ok(Stream {
            node: id,
            names: Arc::clone(names),
            schema,
            layout: None,
            partitioning: Partitioning::Any,
            append_only: true,
            key: None,
            clocked: false,
        })
    }
}

/// The topic that bad records also go to, in JSON, by the connection of the table that they come from.
fn letters_topic(table: &DeclaredTable, topic: &str) -> Table {
    let connection = table.table.options.iter().filter(|(name, _)| {
        name.starts_with("properties.") && name.as_str() != "properties.group.id"
    });
    let fixed = [("connector", "kafka"), ("topic", topic), ("format", "json")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let column = |field: &arrow::datatypes::FieldRef| TableColumn {
        field: field.as_ref().clone(),
        metadata: None,
        is_virtual: false,
    };
    Table {
        name: format!("{}'s dead letters", table.table.name),
        columns: dead_letter_schema().fields().iter().map(column).collect(),
        options: connection
            .map(|(name, value)| (name.clone(), value.clone()))
            .chain(fixed)
            .collect(),
        ..Table::default()
    }
}

/// No column at all would lose the number of rows: COUNT(*) wants one.
fn at_least_one(table: &DeclaredTable, wanted: &mut BTreeSet<paths::Path>) {
    if wanted.is_empty() {
        let narrow = table
            .schema
            .fields()
            .iter()
            .min_by_key(|field| field.data_type().primitive_width().unwrap_or(usize::MAX));
        wanted.extend(narrow.map(|field| vec![field.name().clone()]));
    }
}
