//! UNNEST of a collection of the row beside it: in the AST, and as a node of the logical plan.
//!
//! `t, UNNEST(t.items) AS i (sku, qty)` reads columns of what stands before it, which the binder knows no relation for. So the AST
//! gets one that holds what stands before it too: an `Unpivot` of it, which Flink does not have, named `$UNNEST`.

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, DFSchemaRef, Result, TableReference, plan_err};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, LogicalPlan, UserDefinedLogicalNodeCore,
};
use sqlparser::ast::{
    self, Ident, Join, JoinOperator, Select, TableAlias, TableFactor, TableWithJoins,
};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

const INNER: &str = "$UNNEST";
const OUTER: &str = "$LEFT UNNEST";
const NUMBERED: &str = " WITH ORDINALITY";

/// Rewrites the UNNESTs of a FROM.
pub(crate) fn rewrite(select: &mut Select) {
    let mut from: Vec<TableWithJoins> = Vec::new();
    for item in select.from.drain(..) {
        let before = if unnested(&item.relation) {
            together(&mut from)
        } else {
            None
        };
        let mut left = alone(match before {
            Some(before) => carrier(before, item.relation, false),
            None => item.relation,
        });
        for join in item.joins {
            if unnested(&join.relation) {
                let is_outer = matches!(
                    join.join_operator,
                    JoinOperator::Left(_) | JoinOperator::LeftOuter(_)
                );
                left = alone(carrier(nested(left), join.relation, is_outer));
            } else {
                left.joins.push(join);
            }
        }
        from.push(left);
    }
    select.from = from;
}

fn unnested(relation: &TableFactor) -> bool {
    matches!(relation, TableFactor::UNNEST { array_exprs, .. } if array_exprs.len() == 1)
}

fn alone(relation: TableFactor) -> TableWithJoins {
    TableWithJoins {
        relation,
        joins: Vec::new(),
    }
}

fn nested(tables: TableWithJoins) -> TableFactor {
    if tables.joins.is_empty() {
        return tables.relation;
    }
    TableFactor::NestedJoin {
        table_with_joins: Box::new(tables),
        alias: None,
    }
}

/// All tables of a FROM, which are some, as one: their cross join.
fn together(from: &mut Vec<TableWithJoins>) -> Option<TableFactor> {
    let mut tables = from.drain(..).map(nested);
    let mut left = alone(tables.next()?);
    left.joins.extend(tables.map(|relation| Join {
        relation,
        global: false,
        join_operator: JoinOperator::CrossJoin(ast::JoinConstraint::None),
    }));
    Some(nested(left))
}

fn carrier(table: TableFactor, unnest: TableFactor, is_outer: bool) -> TableFactor {
    let TableFactor::UNNEST {
        alias,
        mut array_exprs,
        with_ordinality,
        ..
    } = unnest
    else {
        return table;
    };
    let name = if is_outer { OUTER } else { INNER };
    let name = if with_ordinality {
        format!("{name}{NUMBERED}")
    } else {
        name.to_owned()
    };
    TableFactor::Unpivot {
        table: Box::new(table),
        value: array_exprs.remove(0),
        name: Ident::new(name),
        columns: Vec::new(),
        null_inclusion: None,
        alias,
    }
}

/// Plans the relation that [`rewrite`] makes; `None` for any other.
pub(crate) fn plan(
    relation: &TableFactor,
    context: &mut dyn RelationPlannerContext,
) -> Result<Option<LogicalPlan>> {
    let TableFactor::Unpivot {
        table,
        value,
        name,
        alias,
        ..
    } = relation
    else {
        return Ok(None);
    };
    let input = context.plan(table.as_ref().clone())?;
    let collection = context.sql_to_expr(value.clone(), input.schema())?;
    let kind = Kind {
        is_outer: name.value.starts_with(OUTER),
        is_numbered: name.value.ends_with(NUMBERED),
    };
    let node = Unnest::try_new(input, collection, Names::of(alias.as_ref()), kind)?;
    Ok(Some(LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    })))
}

/// How an UNNEST is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// LEFT JOIN: rows without elements stay.
    pub(crate) is_outer: bool,
    /// WITH ORDINALITY.
    pub(crate) is_numbered: bool,
}

/// `AS t (a, b)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Names {
    table: Option<String>,
    columns: Vec<String>,
}

impl Names {
    fn of(alias: Option<&TableAlias>) -> Self {
        let columns = |alias: &TableAlias| {
            alias
                .columns
                .iter()
                .map(|column| column.name.value.clone())
                .collect()
        };
        Self {
            table: alias.map(|alias| alias.name.value.clone()),
            columns: alias.map(columns).unwrap_or_default(),
        }
    }
}

/// Each row once for each element of a collection of its own, with the element as further columns.
#[derive(Clone, Debug)]
pub(crate) struct Unnest {
    pub(crate) input: LogicalPlan,
    pub(crate) collection: Expr,
    pub(crate) kind: Kind,
    names: Names,
    schema: DFSchemaRef,
}

impl Unnest {
    fn try_new(input: LogicalPlan, collection: Expr, names: Names, kind: Kind) -> Result<Self> {
        let elements = elements(&collection.get_type(input.schema())?)?;
        let wanted = elements.len() + usize::from(kind.is_numbered);
        if !names.columns.is_empty() && names.columns.len() != wanted {
            return plan_err!(
                "UNNEST gives {wanted} columns, but {} are named",
                names.columns.len()
            );
        }
        let number = Field::new("ORDINALITY", DataType::Int32, true);
        let added = elements
            .into_iter()
            .chain(kind.is_numbered.then_some(number));
        let added = added
            .enumerate()
            .map(|(idx, field)| match names.columns.get(idx) {
                Some(name) => field.with_name(name),
                None => field,
            });
        let qualifier = names.table.clone().map(TableReference::bare);
        let before = input
            .schema()
            .iter()
            .map(|(table, field)| (table.cloned(), Arc::clone(field)));
        let added = added.map(|field| (qualifier.clone(), Arc::new(field.with_nullable(true))));
        let fields = before.chain(added).collect();
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(Self {
            input,
            collection,
            kind,
            names,
            schema: Arc::new(schema),
        })
    }

    /// The names of the added columns.
    pub(crate) fn added(&self) -> Vec<&str> {
        let before = self.input.schema().fields().len();
        self.schema.fields()[before..]
            .iter()
            .map(|field| field.name().as_str())
            .collect()
    }
}

/// The columns that an element of a collection is.
fn elements(kind: &DataType) -> Result<Vec<Field>> {
    let element = |field: &Field| match field.data_type() {
        DataType::Struct(parts) => parts.iter().map(|part| part.as_ref().clone()).collect(),
        _ => vec![field.clone().with_name("EXPR$0")],
    };
    match kind {
        DataType::List(field) => Ok(element(field)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) => Ok(parts.iter().map(|part| part.as_ref().clone()).collect()),
            other => plan_err!("UNNEST of a map of {other}"),
        },
        other => plan_err!(
            "UNNEST takes an ARRAY, MAP or MULTISET, and is given {}",
            crate::types::data_type_name(other)
        ),
    }
}

impl UserDefinedLogicalNodeCore for Unnest {
    fn name(&self) -> &str {
        "Unnest"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.collection.clone()]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.added().into_iter().map(str::to_owned).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Unnest: {}", self.collection)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.into_iter().next(), inputs.into_iter().next()) {
            (Some(collection), Some(input)) => {
                Self::try_new(input, collection, self.names.clone(), self.kind)
            }
            _ => plan_err!("UNNEST has one input and one collection"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let read = self.collection.column_refs();
        let read = read
            .into_iter()
            .filter_map(|column| schema.maybe_index_of_column(column));
        let kept = output_columns
            .iter()
            .copied()
            .filter(|idx| *idx < schema.fields().len());
        let mut columns: Vec<usize> = kept.chain(read).collect();
        columns.sort_unstable();
        columns.dedup();
        Some(vec![columns])
    }
}

impl PartialEq for Unnest {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.names == other.names
            && self.collection == other.collection
            && self.input == other.input
    }
}

impl Eq for Unnest {}

impl Hash for Unnest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.collection.hash(state);
        self.names.hash(state);
        self.kind.hash(state);
    }
}

impl PartialOrd for Unnest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}
