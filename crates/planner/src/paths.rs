//! Which columns, and which fields inside ROW columns, a plan wants of each table: so that a source decodes just these.
//!
//! A *path* is a column's name and the names of fields inside: `["bid", "price"]`. A source's output has one column for each
//! wanted path, named by joining it with dots.

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use millstream_dataflow::graph::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Bound, Relation};

/// A column's name and the names of the fields inside.
pub(crate) type Path = Vec<String>;

/// The wanted paths of each table.
pub(crate) type Wanted = BTreeMap<String, BTreeSet<Path>>;

/// Adds what a plan wants.
pub(crate) fn collect(plan: &LogicalPlan, wanted: &mut Wanted) -> Result<()> {
    match plan {
        LogicalPlan::Projection(projection) if scan_below(&projection.input).is_some() => {
            let mut exprs: Vec<&Expr> = projection.expr.iter().collect();
            let mut below: &LogicalPlan = &projection.input;
            let scan = loop {
                match below {
                    LogicalPlan::Filter(filter) => {
                        exprs.push(&filter.predicate);
                        below = &filter.input;
                    }
                    LogicalPlan::SubqueryAlias(alias) => below = &alias.input,
                    LogicalPlan::TableScan(scan) => break scan,
                    _ => return Ok(()),
                }
            };
            let paths = wanted.entry(table_name(scan)).or_default();
            exprs.into_iter().try_for_each(|expr| paths_of(expr, paths))
        }
        LogicalPlan::TableScan(scan) => {
            let names = scan
                .projected_schema
                .fields()
                .iter()
                .map(|field| vec![field.name().clone()]);
            wanted.entry(table_name(scan)).or_default().extend(names);
            Ok(())
        }
        other => other
            .inputs()
            .into_iter()
            .try_for_each(|input| collect(input, wanted)),
    }
}

/// The scan of a declared table below nothing but filters and aliases.
pub(crate) fn scan_below(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::Filter(filter) => scan_below(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => scan_below(&alias.input),
        LogicalPlan::TableScan(scan) if is_declared(scan) => Some(scan),
        _ => None,
    }
}

/// Whether a scan reads a declared table (and not a materialized view).
pub(crate) fn is_declared(scan: &TableScan) -> bool {
    matches!(relation(scan), Some(Bound { relation, .. }) if matches!(relation.as_ref(), Relation::Table(_)))
}

/// What a scan reads.
pub(crate) fn relation(scan: &TableScan) -> Option<&Bound> {
    scan.source.downcast_ref::<Bound>()
}

/// Whether a plan reads the materialized view of a node.
pub fn reads_view(plan: &LogicalPlan, node: NodeId) -> bool {
    let mut found = false;
    // The visitor itself does not fail.
    let _ = plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan
            && let Some(bound) = relation(scan)
            && let Relation::Materialized(view) = bound.relation.as_ref()
        {
            found |= view.node == node;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn table_name(scan: &TableScan) -> String {
    relation(scan).map_or_else(
        || scan.table_name.table().to_owned(),
        |bound| bound.name.clone(),
    )
}

/// Adds the paths that an expression reads.
pub(crate) fn paths_of(expr: &Expr, paths: &mut BTreeSet<Path>) -> Result<()> {
    expr.apply(|expr| {
        Ok(match path(expr) {
            Some(path) => {
                paths.insert(path);
                TreeNodeRecursion::Jump
            }
            None => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(())
}

/// The path that an expression is, if it is nothing else.
fn path(expr: &Expr) -> Option<Path> {
    match expr {
        Expr::Column(column) => Some(vec![column.name.clone()]),
        Expr::ScalarFunction(call) if call.name() == "get_field" => {
            let (base, names) = call.args.split_first()?;
            let mut path = path(base)?;
            for name in names {
                match name {
                    Expr::Literal(
                        ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name)),
                        _,
                    ) => path.push(name.clone()),
                    _ => return None,
                }
            }
            Some(path)
        }
        _ => None,
    }
}

/// The columns of a source's output: one for each path.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The paths, sorted.
    pub paths: Vec<Path>,
    /// The columns.
    pub schema: SchemaRef,
    /// The columns as the binder names them.
    pub names: DFSchemaRef,
}

impl Layout {
    /// The layout of some paths into a table's columns. A path that a wider one contains keeps a column of its own.
    pub(crate) fn new(table: &SchemaRef, paths: &BTreeSet<Path>) -> Result<Self> {
        let fields = paths
            .iter()
            .filter_map(|path| leaf(table, path))
            .collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        let names = Arc::new(DFSchema::from_unqualified_fields(
            schema.fields().clone(),
            std::collections::HashMap::new(),
        )?);
        Ok(Self {
            paths: paths.iter().cloned().collect(),
            schema,
            names,
        })
    }

    /// The column that holds a path.
    pub(crate) fn index(&self, path: &[String]) -> Option<usize> {
        self.paths.iter().position(|known| known == path)
    }

    /// Whether all these paths have columns.
    pub(crate) fn covers(&self, paths: &BTreeSet<Path>) -> bool {
        paths.iter().all(|path| self.index(path).is_some())
    }

    /// An expression over the table's columns as one over this layout's.
    pub(crate) fn rewrite(&self, expr: Expr) -> Result<Expr> {
        let rewritten = expr.transform_down(|expr| {
            Ok(match path(&expr) {
                Some(path) if self.index(&path).is_some() => Transformed::new(
                    Expr::Column(Column::new_unqualified(path.join("."))),
                    true,
                    TreeNodeRecursion::Jump,
                ),
                _ => Transformed::no(expr),
            })
        })?;
        Ok(rewritten.data)
    }
}

fn leaf(table: &SchemaRef, path: &[String]) -> Option<Field> {
    let (first, rest) = path.split_first()?;
    let mut field: FieldRef = Arc::new(table.field_with_name(first).ok()?.clone());
    for name in rest {
        let DataType::Struct(fields) = field.data_type() else {
            return None;
        };
        field = Arc::clone(fields.iter().find(|part| part.name() == name)?);
    }
    Some(
        field
            .as_ref()
            .clone()
            .with_name(path.join("."))
            .with_nullable(true),
    )
}
