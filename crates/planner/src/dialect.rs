//! What Flink's SQL means where sqlparser's AST or DataFusion's binder would read something else: a pass over the AST
//! before binding.
//!
//! * a whole number is INT where it fits (the binder would say BIGINT), `1e0` is DOUBLE (the binder: DECIMAL);
//! * an expression without a name in SELECT is `EXPR$i`;
//! * EXTRACT, TRIM, POSITION, OVERLAY, SUBSTRING and others with a syntax of their own are plain calls of our functions.

use millstream_sql::Type;
use sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, LimitClause, NamedWindowDefinition, NamedWindowExpr,
    ObjectName, OrderByKind, Query, Select, SelectItem, TableFactor, TimezoneInfo, TrimWhereField,
    TypedString, Value, ValueWithSpan, VisitMut, VisitorMut, WindowFrameBound, WindowSpec,
    WindowType,
};
use std::ops::ControlFlow;

use crate::{calls, group_windows, unnest};

/// Rewrites a query in place.
pub(crate) fn rewrite_query(query: &mut Query) {
    let _ = query.visit(&mut Rewriter);
}

/// Rewrites an expression in place (a computed column, a watermark).
pub(crate) fn rewrite_expr(expr: &mut Expr) {
    let _ = expr.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(order) = &mut query.order_by
            && let OrderByKind::Expressions(exprs) = &mut order.kind
        {
            exprs
                .iter_mut()
                .for_each(|order| keep_number(&mut order.expr));
        }
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                limit.iter_mut().for_each(keep_number);
                offset
                    .iter_mut()
                    .for_each(|offset| keep_number(&mut offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                [offset, limit].into_iter().for_each(keep_number)
            }
            None => {}
        }
        if let Some(quantity) = query
            .fetch
            .as_mut()
            .and_then(|fetch| fetch.quantity.as_mut())
        {
            keep_number(quantity);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        // Names are given before the window's bounds become columns that have some.
        let mut tables = Vec::new();
        for from in &select.from {
            tables.extend(
                std::iter::once(&from.relation)
                    .chain(from.joins.iter().map(|join| &join.relation))
                    .filter_map(known_as),
            );
        }
        for (idx, item) in select.projection.iter_mut().enumerate() {
            name_item(idx, item, &tables);
        }
        unnest::rewrite(select);
        group_windows::rewrite(select);
        keep_named_frames(select, true);
        // After the window of a GROUP BY has become columns: positions are bare numbers.
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(keep_number);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        keep_named_frames(select, false);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Interval(interval) = expr {
            interval.leading_precision = None;
            interval.fractional_seconds_precision = None;
            keep_number(&mut interval.value);
        }
        if let Expr::Function(Function {
            over: Some(WindowType::WindowSpec(window)),
            ..
        }) = expr
        {
            keep_frame(window, true);
        }
        if let Expr::TypedString(literal) = expr {
            time_literal(literal);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(Function {
            over: Some(WindowType::WindowSpec(window)),
            ..
        }) = expr
        {
            keep_frame(window, false);
        }
        if let Some(cast) = typed_number(expr) {
            *expr = cast;
        } else if let Some(call) = calls::access(expr)
            .or_else(|| calls::like(expr))
            .or_else(|| plain_call(expr))
        {
            *expr = call;
        }
        ControlFlow::Continue(())
    }
}

/// Marks a number that is a position or a count and must stay a bare literal.
fn keep_number(expr: &mut Expr) {
    if let Expr::Value(ValueWithSpan {
        value: Value::Number(_, kept),
        ..
    }) = expr
    {
        *kept = true;
    }
}

fn keep_named_frames(select: &mut Select, kept: bool) {
    for NamedWindowDefinition(_, window) in &mut select.named_window {
        if let NamedWindowExpr::WindowSpec(window) = window {
            keep_frame(window, kept);
        }
    }
}

/// The numbers of `ROWS n PRECEDING` are counts: kept while the visitor is below, and bare again for the binder.
fn keep_frame(window: &mut WindowSpec, kept: bool) {
    let Some(frame) = &mut window.window_frame else {
        return;
    };
    for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
        let (WindowFrameBound::Preceding(Some(rows)) | WindowFrameBound::Following(Some(rows))) =
            bound
        else {
            continue;
        };
        if let Expr::Value(ValueWithSpan {
            value: Value::Number(_, mark),
            ..
        }) = rows.as_mut()
        {
            *mark = kept;
        }
    }
}

fn typed_number(expr: &Expr) -> Option<Expr> {
    let Expr::Value(ValueWithSpan {
        value: Value::Number(text, false),
        ..
    }) = expr
    else {
        return None;
    };
    let data_type = if text.contains(['e', 'E']) {
        DataType::Double(sqlparser::ast::ExactNumberInfo::None)
    } else if text.parse::<i32>().is_ok() {
        DataType::Int(None)
    } else {
        return None;
    };
    let kept = Expr::Value(Value::Number(text.clone(), true).into());
    Some(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(kept),
        data_type,
        format: None,
        array: false,
    })
}

/// The name by which a relation's columns can be qualified.
fn known_as(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table {
            alias: Some(alias), ..
        }
        | TableFactor::Derived {
            alias: Some(alias), ..
        }
        | TableFactor::TableFunction {
            alias: Some(alias), ..
        }
        | TableFactor::Function {
            alias: Some(alias), ..
        }
        | TableFactor::UNNEST {
            alias: Some(alias), ..
        } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident()).cloned(),
        _ => None,
    }
}

/// `TIMESTAMP '...'` has as many digits of a second as were written.
fn time_literal(literal: &mut TypedString) {
    let (DataType::Timestamp(None, TimezoneInfo::None), Value::SingleQuotedString(text)) =
        (&literal.data_type, &literal.value.value)
    else {
        return;
    };
    let digits = text
        .split_once('.')
        .map_or(0, |(_, digits)| digits.len().min(9)) as u8;
    literal.data_type = Type::Timestamp(digits).nullable().to_sql();
}

/// Flink calls an unnamed column after its last field name, or `EXPR$i`.
fn name_item(idx: usize, item: &mut SelectItem, tables: &[Ident]) {
    let SelectItem::UnnamedExpr(expr) = item else {
        return;
    };
    let name = match expr {
        Expr::Identifier(_) => return,
        Expr::CompoundIdentifier(path) => match path.as_slice() {
            [table, _] if tables.iter().any(|known| known.value == table.value) => return,
            // A field inside a ROW column.
            [.., field] => field.value.clone(),
            [] => return,
        },
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(sqlparser::ast::AccessExpr::Dot(Expr::Identifier(field))) => field.value.clone(),
            _ => format!("EXPR${idx}"),
        },
        _ => format!("EXPR${idx}"),
    };
    *item = SelectItem::ExprWithAlias {
        expr: expr.clone(),
        alias: Ident::with_quote('`', name),
    };
}

fn plain_call(expr: &mut Expr) -> Option<Expr> {
    Some(match expr {
        Expr::Extract { field, expr, .. } => call(
            "extract",
            vec![text(&field.to_string().to_uppercase()), take(expr)],
        ),
        Expr::Position { expr, r#in } => call("position", vec![take(expr), take(r#in)]),
        Expr::Trim {
            expr,
            trim_where,
            trim_what,
            ..
        } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                Some(TrimWhereField::Both) | None => "btrim",
            };
            call(
                name,
                std::iter::once(take(expr))
                    .chain(trim_what.as_mut().map(take))
                    .collect(),
            )
        }
        Expr::Overlay {
            expr,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            let args = [expr, overlay_what, overlay_from]
                .into_iter()
                .map(take)
                .chain(overlay_for.as_mut().map(take));
            call("overlay", args.collect())
        }
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            let bounds = [substring_from, substring_for]
                .into_iter()
                .filter_map(|bound| bound.as_mut().map(take));
            call(
                "substring",
                std::iter::once(take(expr)).chain(bounds).collect(),
            )
        }
        Expr::Function(function) => return calls::json(function),
        _ => return None,
    })
}

fn take(expr: &mut Box<Expr>) -> Expr {
    std::mem::replace(expr.as_mut(), Expr::Value(Value::Null.into()))
}

/// A text literal.
pub(crate) fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}

/// A call of a function.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
        .collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
