//! Flink's older windows, `GROUP BY TUMBLE(ts, INTERVAL ...)` with TUMBLE_START and its kin, as window functions over a table:
//!
//! ```text
//! SELECT TUMBLE_START(ts, i), k, COUNT(*) FROM t WHERE w GROUP BY TUMBLE(ts, i), k
//! SELECT window_start, k, COUNT(*) FROM TABLE(TUMBLE(TABLE (SELECT * FROM t WHERE w), DESCRIPTOR(ts), i)) AS t
//!     GROUP BY window_start, window_end, window_time, k
//! ```

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments,
    GroupByExpr, Ident, Query, Select, SetExpr, TableAlias, TableFactor, TableWithJoins, VisitMut,
    VisitorMut,
};
use std::ops::ControlFlow;

use crate::dialect::call;
use crate::window_tvf::COLUMNS;

const NAMES: [&str; 3] = ["TUMBLE", "HOP", "SESSION"];

/// Rewrites a SELECT that groups by such a window; leaves any other as it is.
pub(crate) fn rewrite(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else {
        return;
    };
    let found = keys
        .iter()
        .enumerate()
        .find_map(|(at, key)| window(key).map(|(name, args)| (at, name, args)));
    let (Some((at, name, args)), Some(alias)) = (found, sole_relation(&select.from)) else {
        return;
    };
    let (Some((time, lengths)), Some(rows)) = (
        args.split_first(),
        rows(select.from.clone(), select.selection.clone()),
    ) else {
        return;
    };
    let others: Vec<Expr> = keys
        .iter()
        .enumerate()
        .filter(|(idx, _)| *idx != at)
        .map(|(_, key)| unqualified(key.clone()))
        .collect();
    keys.splice(at..=at, COLUMNS.map(column));
    let mut data = call("TABLE", vec![Expr::Subquery(Box::new(rows))]);
    if name == "SESSION" && !others.is_empty() {
        add_partition(&mut data, others);
    }
    let descriptor = call("DESCRIPTOR", vec![unqualified(time.clone())]);
    let expr = call(
        name,
        [data, descriptor]
            .into_iter()
            .chain(lengths.iter().cloned())
            .collect(),
    );
    select.from = vec![TableWithJoins {
        relation: TableFactor::TableFunction { expr, alias },
        joins: Vec::new(),
    }];
    select.selection = None;
    let mut bounds = Bounds { name };
    let _ = select.projection.visit(&mut bounds);
    let _ = select.having.visit(&mut bounds);
}

/// The window that a key is.
fn window(key: &Expr) -> Option<(&'static str, Vec<Expr>)> {
    let (name, args) = called(key)?;
    Some((NAMES.into_iter().find(|known| *known == name)?, args))
}

/// The name, in upper case, and the arguments of a call.
fn called(expr: &Expr) -> Option<(String, Vec<Expr>)> {
    let Expr::Function(Function {
        name,
        args: FunctionArguments::List(list),
        over: None,
        ..
    }) = expr
    else {
        return None;
    };
    let args = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    Some((
        name.to_string().to_ascii_uppercase(),
        args.collect::<Option<_>>()?,
    ))
}

/// The name under which the one relation of a FROM is known; `None` if there are several.
fn sole_relation(from: &[TableWithJoins]) -> Option<Option<TableAlias>> {
    let [TableWithJoins { relation, joins }] = from else {
        return None;
    };
    if !joins.is_empty() {
        return None;
    }
    Some(match relation {
        TableFactor::Table {
            name,
            alias: None,
            args: None,
            ..
        } => {
            let name = name.0.last().and_then(|part| part.as_ident())?.clone();
            Some(TableAlias {
                explicit: true,
                name,
                columns: Vec::new(),
                at: None,
            })
        }
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. } => alias.clone(),
        _ => None,
    })
}

/// `SELECT * FROM from WHERE selection`.
fn rows(from: Vec<TableWithJoins>, selection: Option<Expr>) -> Option<Query> {
    let mut query = millstream_sql::parse_query("SELECT * FROM t").ok()?.ast;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    select.from = from;
    select.selection = selection;
    Some(*query)
}

fn add_partition(data: &mut Expr, keys: Vec<Expr>) {
    if let Expr::Function(Function {
        args: FunctionArguments::List(list),
        ..
    }) = data
    {
        let arg = FunctionArgExpr::Expr(Expr::Tuple(keys));
        list.args.push(FunctionArg::Named {
            name: Ident::new("PARTITION_BY"),
            arg,
            operator: FunctionArgOperator::RightArrow,
        });
    }
}

fn column(name: &str) -> Expr {
    Expr::Identifier(Ident::new(name))
}

/// A column without its table: inside the window function there is one table only.
fn unqualified(expr: Expr) -> Expr {
    match expr {
        Expr::CompoundIdentifier(mut path) if path.len() == 2 => Expr::Identifier(path.remove(1)),
        other => other,
    }
}

/// Replaces `TUMBLE_START(...)` and its kin by the window's columns.
struct Bounds {
    name: &'static str,
}

impl VisitorMut for Bounds {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Some((name, _)) = called(expr) else {
            return ControlFlow::Continue(());
        };
        let bound = match name.strip_prefix(self.name) {
            Some("_START") => COLUMNS[0],
            Some("_END") => COLUMNS[1],
            Some("_ROWTIME") => COLUMNS[2],
            _ => return ControlFlow::Continue(()),
        };
        *expr = column(bound);
        ControlFlow::Continue(())
    }
}
