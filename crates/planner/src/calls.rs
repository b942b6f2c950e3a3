//! Syntax that is a call of one of our functions: the conventions are those of the parser on one side, of the functions on the other.

use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Subscript, Value,
    ValueWithSpan,
};

use crate::dialect::{call, text};

/// `x IS JSON`, JSON_QUERY, JSON_OBJECT and JSON_ARRAY.
pub(crate) fn json(function: &mut Function) -> Option<Expr> {
    let name = function.name.to_string().to_ascii_uppercase();
    let FunctionArguments::List(list) = &mut function.args else {
        return None;
    };
    let mut args: Vec<Expr> = Vec::new();
    for arg in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
            return None;
        };
        args.push(expr.clone());
    }
    if let Some(kind) = name.strip_prefix("IS_JSON_") {
        args.push(text(kind));
        return Some(call("is_json", args));
    }
    match name.as_str() {
        // The parser gives type, wrapper, ON EMPTY, ON ERROR; the function takes the type last.
        "JSON_QUERY" if args.len() > 3 => {
            let returning = args.remove(2);
            args.push(returning);
            Some(call("json_query", args))
        }
        "JSON_OBJECT" => Some(constructor("json_object", "NULL", args, 2)),
        "JSON_OBJECT_ABSENT_ON_NULL" => Some(constructor("json_object", "ABSENT", args, 2)),
        "JSON_ARRAY" => Some(constructor("json_array", "ABSENT", args, 1)),
        "JSON_ARRAY_NULL_ON_NULL" => Some(constructor("json_array", "NULL", args, 1)),
        _ => None,
    }
}

/// A constructor call: what NULLs do, which values are JSON already, then keys and values (`every`th is a value).
fn constructor(name: &'static str, on_null: &str, args: Vec<Expr>, every: usize) -> Expr {
    if matches!(args.first(), Some(Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(first), .. })) if first == on_null)
    {
        // Rewritten already: the visitor comes by again.
        return call(name, args);
    }
    let is_json = |value: &Expr| match value {
        Expr::Function(Function { name, .. }) => matches!(
            name.to_string().as_str(),
            "json_object" | "json_array" | "json" | "JSON"
        ),
        _ => false,
    };
    let flags: String = args
        .iter()
        .skip(every - 1)
        .step_by(every)
        .map(|value| if is_json(value) { 'j' } else { 'v' })
        .collect();
    call(
        name,
        [text(on_null), text(&flags)]
            .into_iter()
            .chain(args)
            .collect(),
    )
}

/// `a LIKE p ESCAPE e`; also without ESCAPE where a backslash in the pattern would be one to DataFusion.
pub(crate) fn like(expr: &Expr) -> Option<Expr> {
    let (name, negated, value, pattern, escape) = match expr {
        Expr::Like {
            negated,
            any: false,
            expr,
            pattern,
            escape_char,
        } => ("like", negated, expr, pattern, escape_char),
        Expr::SimilarTo {
            negated,
            expr,
            pattern,
            escape_char,
        } => ("similar_to", negated, expr, pattern, escape_char),
        _ => return None,
    };
    let is_plain = matches!(pattern.as_ref(), Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) if !text.contains('\\'));
    if name == "like" && escape.is_none() && is_plain {
        return None;
    }
    let escape = escape.clone().map(Expr::Value);
    let found = call(
        name,
        [value.as_ref().clone(), pattern.as_ref().clone()]
            .into_iter()
            .chain(escape)
            .collect(),
    );
    Some(match negated {
        true => Expr::UnaryOp {
            op: sqlparser::ast::UnaryOperator::Not,
            expr: Box::new(found),
        },
        false => found,
    })
}

/// `a[1]`, `m['k']` and `a[1].field` as calls of `item`.
pub(crate) fn access(expr: &Expr) -> Option<Expr> {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else {
        return None;
    };
    let has_item = access_chain
        .iter()
        .any(|access| matches!(access, AccessExpr::Subscript(Subscript::Index { .. })));
    if !has_item {
        return None;
    }
    let mut value = root.as_ref().clone();
    for access in access_chain {
        value = match access {
            AccessExpr::Subscript(Subscript::Index { index }) => {
                call("item", vec![value, index.clone()])
            }
            AccessExpr::Subscript(Subscript::Slice { .. }) => return None,
            AccessExpr::Dot(field) => dotted(value, field)?,
        };
    }
    Some(value)
}

fn dotted(value: Expr, field: &Expr) -> Option<Expr> {
    let Expr::Identifier(field) = field else {
        return None;
    };
    Some(match value {
        Expr::Identifier(first) => Expr::CompoundIdentifier(vec![first, field.clone()]),
        Expr::CompoundIdentifier(mut path) => {
            path.push(field.clone());
            Expr::CompoundIdentifier(path)
        }
        other => Expr::CompoundFieldAccess {
            root: Box::new(other),
            access_chain: vec![AccessExpr::Dot(Expr::Identifier(field.clone()))],
        },
    })
}
