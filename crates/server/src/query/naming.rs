//! Names of columns that a query does not name, as Postgres gives them: clients find `count`, not `count(*)`.

use datafusion::sql::sqlparser::ast::{Expr, ObjectNamePart, SelectItem, SetExpr, Statement};

/// The names of a query's columns, `None` where the planner's name is right; nothing when a `*` stands for unknown many.
pub(crate) fn names(statement: &Statement) -> Vec<Option<String>> {
    let Statement::Query(query) = statement else {
        return Vec::new();
    };
    let mut body = query.body.as_ref();
    // A union has the names of its first part.
    loop {
        match body {
            SetExpr::SetOperation { left, .. } => body = left.as_ref(),
            SetExpr::Query(query) => body = query.body.as_ref(),
            SetExpr::Select(select) => {
                return select
                    .projection
                    .iter()
                    .map(item)
                    .collect::<Option<_>>()
                    .unwrap_or_default();
            }
            _ => return Vec::new(),
        }
    }
}

/// `None`: unknown many columns.
#[allow(
    clippy::option_option,
    reason = "no answer differs from the answer that the name stays"
)]
fn item(item: &SelectItem) -> Option<Option<String>> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(name(expr)),
        SelectItem::ExprWithAlias { .. } => Some(None),
        _ => None,
    }
}

fn name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. } => {
            None
        }
        Expr::Function(call) => match call.name.0.last() {
            Some(ObjectNamePart::Identifier(name)) => Some(name.value.to_lowercase()),
            _ => None,
        },
        Expr::Nested(inner) => name(inner),
        Expr::Cast {
            expr: inner,
            data_type,
            ..
        } => match inner.as_ref() {
            Expr::Value(_) => Some(data_type.to_string().to_lowercase()),
            Expr::Identifier(column) => Some(column.value.clone()),
            inner => name(inner),
        },
        Expr::Case { .. } => Some("case".to_owned()),
        Expr::Exists { .. } => Some("exists".to_owned()),
        Expr::Extract { .. } => Some("extract".to_owned()),
        Expr::Substring { .. } => Some("substring".to_owned()),
        Expr::Trim { .. } => Some("btrim".to_owned()),
        Expr::Array(_) => Some("array".to_owned()),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => select.projection.first().and_then(|first| match first {
                SelectItem::UnnamedExpr(expr) => name(expr),
                SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
                _ => None,
            }),
            _ => None,
        },
        _ => Some("?column?".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn of(text: &str) -> Vec<String> {
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, text)
            .unwrap()
            .remove(0);
        names(&statement)
            .into_iter()
            .map(|name| name.unwrap_or_else(|| "-".to_owned()))
            .collect()
    }

    #[test]
    fn as_postgres_names_them() {
        assert_eq!(
            of(
                "SELECT count(*), a, a AS b, 1 + 1, 'x', (max(c)), pg_catalog.version(), CASE WHEN a THEN 1 END, 1::int"
            ),
            [
                "count", "-", "-", "?column?", "?column?", "max", "version", "case", "int"
            ]
        );
        assert_eq!(of("SELECT sum(a) FROM t UNION SELECT 2"), ["sum"]);
        assert!(of("SELECT *, 1 FROM t").is_empty());
    }
}
