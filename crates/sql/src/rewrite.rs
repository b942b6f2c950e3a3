//! Brings a query that sqlparser has read to the forms that DataFusion binds, and refuses what neither Flink nor DataFusion has.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Fetch, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    LimitClause, ObjectName, ObjectNamePart, Query, Select, SetExpr, Spanned as _, Table,
    TableFactor, VisitMut, VisitorMut, helpers::attached_token::AttachedToken,
};
use sqlparser::ast::{
    GroupByExpr, SelectFlavor, SelectItem, TableWithJoins, WildcardAdditionalOptions,
};
use sqlparser::tokenizer::Span as TokenSpan;

use crate::cursor::string;
use crate::dialect::Fault;
use crate::hint::TableHints;
use crate::table;

/// Rewrites a query or an expression in place.
pub(crate) fn rewrite(node: &mut impl VisitMut, hints: &mut TableHints) -> Result<(), Fault> {
    match node.visit(&mut Rewriter { hints }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(fault) => Err(fault),
    }
}

struct Rewriter<'h> {
    hints: &'h mut TableHints,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Fault;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Fault> {
        if let Err(fault) = body(&mut query.body) {
            return ControlFlow::Break(fault);
        }
        if let Some(fetch) = query.fetch.take() {
            match limit_of(fetch, query.limit_clause.take()) {
                Ok(limit) => query.limit_clause = Some(limit),
                Err(message) => return refuse(message, query.span(), None),
            }
        }
        if !query.locks.is_empty() || query.for_clause.is_some() {
            return refuse(
                "FOR at the end of a query is not supported",
                query.span(),
                None,
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Fault> {
        unwrap_lateral_table(factor);
        if let TableFactor::Table {
            name, with_hints, ..
        } = factor
        {
            if !with_hints.is_empty() {
                return refuse(
                    "WITH (...) behind a table's name is not supported",
                    name.span(),
                    Some("write /*+ OPTIONS('k' = 'v') */"),
                );
            }
            let end = name
                .0
                .last()
                .and_then(ObjectNamePart::as_ident)
                .map(|ident| ident.span.end);
            if let Some(hint) = end.and_then(|end| self.hints.remove(&end)) {
                let property = |(key, value)| Expr::BinaryOp {
                    left: Box::new(string(key, hint.span)),
                    op: BinaryOperator::Eq,
                    right: Box::new(string(value, hint.span)),
                };
                *with_hints = hint.options.into_iter().map(property).collect();
            }
        }
        if matches!(
            factor,
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. }
        ) {
            return refuse(
                "PIVOT and UNPIVOT are not supported",
                factor.span(),
                Some("use one aggregate with FILTER per column"),
            );
        }
        match table::window_call(factor) {
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => refuse(&error.message, error.span, error.hint.as_deref()),
        }
    }
}

fn refuse(message: &str, span: TokenSpan, hint: Option<&str>) -> ControlFlow<Fault> {
    ControlFlow::Break(Fault {
        span,
        message: message.to_string(),
        hint: hint.map(str::to_string),
    })
}

/// `LATERAL TABLE(f(x))`, which sqlparser takes for a function called TABLE, becomes `LATERAL f(x)`.
fn unwrap_lateral_table(factor: &mut TableFactor) {
    let TableFactor::Function { name, args, .. } = factor else {
        return;
    };
    let is_table = matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)]
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("TABLE"));
    if !is_table {
        return;
    }
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(function)))] =
        args.as_mut_slice()
    else {
        return;
    };
    let inner = match std::mem::replace(&mut function.args, FunctionArguments::None) {
        FunctionArguments::List(list) => list.args,
        FunctionArguments::None | FunctionArguments::Subquery(_) => Vec::new(),
    };
    *name = std::mem::replace(&mut function.name, ObjectName(Vec::new()));
    *args = inner;
}

/// `TABLE t` becomes `SELECT * FROM t`; a query that writes is refused.
fn body(body: &mut SetExpr) -> Result<(), Fault> {
    let mut rest = vec![body];
    while let Some(body) = rest.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                rest.extend([left.as_mut(), right.as_mut()])
            }
            SetExpr::Table(table) => {
                let select = select_all(table);
                *body = SetExpr::Select(Box::new(select));
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                let message = "a query cannot write: only SELECT, VALUES and TABLE can stand here"
                    .to_string();
                return Err(Fault {
                    span: body.span(),
                    message,
                    hint: None,
                });
            }
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
        }
    }
    Ok(())
}

fn select_all(table: &Table) -> Select {
    let parts = [&table.schema_name, &table.table_name]
        .into_iter()
        .flatten();
    let relation = TableFactor::Table {
        name: ObjectName::from(
            parts
                .map(|part| Ident::with_quote('`', part))
                .collect::<Vec<_>>(),
        ),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())],
        exclude: None,
        into: None,
        from: vec![TableWithJoins {
            relation,
            joins: Vec::new(),
        }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// `FETCH FIRST n ROWS ONLY` is `LIMIT n`.
fn limit_of(fetch: Fetch, limit: Option<LimitClause>) -> Result<LimitClause, &'static str> {
    if fetch.with_ties || fetch.percent {
        return Err("FETCH ... PERCENT and WITH TIES are not supported");
    }
    let quantity = fetch.quantity.or_else(|| {
        Some(Expr::value(sqlparser::ast::Value::Number(
            "1".to_string(),
            false,
        )))
    });
    match limit {
        None => Ok(LimitClause::LimitOffset {
            limit: quantity,
            offset: None,
            limit_by: Vec::new(),
        }),
        Some(LimitClause::LimitOffset {
            limit: None,
            offset,
            limit_by,
        }) => Ok(LimitClause::LimitOffset {
            limit: quantity,
            offset,
            limit_by,
        }),
        Some(_) => Err("LIMIT and FETCH cannot stand in one query"),
    }
}
