//! Table functions in FROM: reads their calls out of the AST, so that the planner does not have to know how they are carried.
//!
//! `TABLE(f(...))` is a `TableFactor::TableFunction` whose expression is the call; `f(...)` without TABLE is a `TableFactor::Table` with
//! arguments; `LATERAL TABLE(f(...))` is a `TableFactor::Function`. An argument `TABLE t PARTITION BY k` is a call of a function named
//! `TABLE`, and `DESCRIPTOR(c)` a call of one named `DESCRIPTOR`.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident,
    ObjectName, OrderByExpr, Query, Spanned as _, TableAlias, TableFactor,
};
use sqlparser::tokenizer::Span as TokenSpan;

use crate::interval::IntervalValue;
use crate::nearest::did_you_mean;

/// A call of a table function.
#[derive(Debug, Clone, PartialEq)]
pub struct TableCall {
    /// The function's name, in upper case if it was not quoted.
    pub name: String,
    /// Where the name was written.
    pub span: TokenSpan,
    /// Arguments in their order, with the names that were given (in upper case).
    pub args: Vec<(Option<String>, TableArg)>,
    /// `AS t(a, b)` behind it.
    pub alias: Option<TableAlias>,
    /// LATERAL stood before it: the arguments can name columns of the tables before it.
    pub lateral: bool,
}

/// An argument of a table function.
#[derive(Debug, Clone, PartialEq)]
pub enum TableArg {
    /// TABLE t, TABLE (query)
    Table(TableInput),
    /// DESCRIPTOR(a, b)
    Descriptor(Vec<Ident>),
    /// Any other expression.
    Expr(Box<Expr>),
}

/// A table given to a table function.
#[derive(Debug, Clone, PartialEq)]
pub struct TableInput {
    /// The table.
    pub source: TableSource,
    /// PARTITION BY
    pub partition_by: Vec<Expr>,
    /// ORDER BY
    pub order_by: Vec<OrderByExpr>,
}

/// Where the rows of a table argument come from.
#[derive(Debug, Clone, PartialEq)]
pub enum TableSource {
    /// A table or view.
    Name(ObjectName),
    /// A query.
    Query(Box<Query>),
    /// Another table function.
    Call(Box<Function>),
}

impl TableInput {
    /// The table as a relation that can be planned like any in FROM.
    pub fn to_table_factor(&self) -> TableFactor {
        match &self.source {
            TableSource::Name(name) => TableFactor::Table {
                name: name.clone(),
                alias: None,
                args: None,
                with_hints: Vec::new(),
                version: None,
                with_ordinality: false,
                partitions: Vec::new(),
                json_path: None,
                sample: None,
                index_hints: Vec::new(),
            },
            TableSource::Query(query) => TableFactor::Derived {
                lateral: false,
                subquery: query.clone(),
                alias: None,
                sample: None,
            },
            TableSource::Call(call) => TableFactor::TableFunction {
                expr: Expr::Function((**call).clone()),
                alias: None,
            },
        }
    }
}

/// TUMBLE, HOP, CUMULATE or SESSION over a table.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowCall {
    /// The rows; a session window's keys are in its `partition_by`.
    pub input: TableInput,
    /// The time attribute: a column, or the path to a field of it.
    pub time: Vec<Ident>,
    /// Which windows.
    pub window: Window,
    /// `AS t` behind it.
    pub alias: Option<TableAlias>,
    /// Where the function's name was written.
    pub span: TokenSpan,
}

/// The windows of a window function; all lengths are positive, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the functions' parameters")]
pub enum Window {
    Tumble { size: i64, offset: i64 },
    Hop { slide: i64, size: i64, offset: i64 },
    Cumulate { step: i64, size: i64, offset: i64 },
    Session { gap: i64 },
}

/// Why a call of a window function is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: TokenSpan,
    /// What to do.
    pub hint: Option<String>,
}

/// The table function that a relation calls; None for any other relation.
pub fn table_call(factor: &TableFactor) -> Option<TableCall> {
    let (name, args, alias, lateral) = match factor {
        TableFactor::TableFunction {
            expr: Expr::Function(function),
            alias,
        } => {
            let FunctionArguments::List(list) = &function.args else {
                return None;
            };
            (&function.name, &list.args, alias, false)
        }
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            ..
        } => (name, &args.args, alias, false),
        TableFactor::Function {
            lateral,
            name,
            args,
            alias,
            ..
        } => (name, args, alias, *lateral),
        _ => return None,
    };
    let span = name.span();
    let name = match name.0.as_slice() {
        [part] => part.as_ident().map(function_name)?,
        _ => name.to_string(),
    };
    let args = args.iter().map(argument).collect::<Option<Vec<_>>>()?;
    Some(TableCall {
        name,
        span,
        args,
        alias: alias.clone(),
        lateral,
    })
}

fn function_name(ident: &Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_ascii_uppercase()
    }
}

fn argument(arg: &FunctionArg) -> Option<(Option<String>, TableArg)> {
    let (name, arg) = match arg {
        FunctionArg::Named { name, arg, .. } => (Some(name.value.to_ascii_uppercase()), arg),
        FunctionArg::ExprNamed { name, arg, .. } => {
            (Some(name.to_string().to_ascii_uppercase()), arg)
        }
        FunctionArg::Unnamed(arg) => (None, arg),
    };
    let FunctionArgExpr::Expr(expr) = arg else {
        return None;
    };
    Some((name, value(expr)))
}

fn value(expr: &Expr) -> TableArg {
    if let Expr::Subquery(query) = expr {
        let source = TableSource::Query(query.clone());
        return TableArg::Table(TableInput {
            source,
            partition_by: Vec::new(),
            order_by: Vec::new(),
        });
    }
    let Expr::Function(function) = expr else {
        return TableArg::Expr(Box::new(expr.clone()));
    };
    let name = function
        .name
        .0
        .first()
        .and_then(|part| part.as_ident())
        .map(function_name);
    let found = match name.as_deref() {
        Some("TABLE") => table_input(function).map(TableArg::Table),
        Some("DESCRIPTOR") => descriptor(function).map(TableArg::Descriptor),
        _ => None,
    };
    found.unwrap_or_else(|| TableArg::Expr(Box::new(expr.clone())))
}

fn table_input(function: &Function) -> Option<TableInput> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let source = match list.args.first()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => match expr {
            Expr::CompoundIdentifier(parts) => TableSource::Name(ObjectName::from(parts.clone())),
            Expr::Subquery(query) => TableSource::Query(query.clone()),
            Expr::Function(call) => TableSource::Call(Box::new(call.clone())),
            _ => return None,
        },
        _ => return None,
    };
    let partition_by = match list.args.get(1) {
        Some(FunctionArg::Named {
            arg: FunctionArgExpr::Expr(Expr::Tuple(keys)),
            ..
        }) => keys.clone(),
        _ => Vec::new(),
    };
    let order_by = list.clauses.iter().find_map(|clause| match clause {
        FunctionArgumentClause::OrderBy(keys) => Some(keys.clone()),
        _ => None,
    });
    Some(TableInput {
        source,
        partition_by,
        order_by: order_by.unwrap_or_default(),
    })
}

fn descriptor(function: &Function) -> Option<Vec<Ident>> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let mut columns = Vec::new();
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))) => {
                columns.push(ident.clone())
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(path))) => {
                columns.extend(path.clone())
            }
            _ => return None,
        }
    }
    Some(columns)
}

/// The names and the order of a window function's parameters; the last is optional where `OFFSET` is it.
fn parameters(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "TUMBLE" => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
        "HOP" => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
        "CUMULATE" => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
        "SESSION" => &["DATA", "TIMECOL", "GAP"],
        _ => return None,
    })
}

/// The window function that a relation calls; None for any other relation.
///
/// # Errors
/// The call has a missing, doubled, unknown or ill-formed argument.
pub fn window_call(factor: &TableFactor) -> Result<Option<WindowCall>, CallError> {
    let Some(call) = table_call(factor) else {
        return Ok(None);
    };
    let Some(parameters) = parameters(&call.name) else {
        return Ok(None);
    };
    if matches!(factor, TableFactor::Function { .. }) {
        return Err(error(
            &call,
            format!(
                "{} is a function over a table and cannot stand behind LATERAL",
                call.name
            ),
        ));
    }
    let mut given: Vec<Option<TableArg>> = vec![None; parameters.len()];
    for (idx, (name, arg)) in call.args.iter().enumerate() {
        let idx = match name {
            None => idx,
            Some(name) => parameters
                .iter()
                .position(|parameter| parameter == name)
                .ok_or_else(|| {
                    let hint = did_you_mean(name, parameters.iter().copied());
                    let message = format!("{} has no parameter {name}", call.name);
                    CallError {
                        hint: hint.or_else(|| Some(usage(&call.name))),
                        ..error(&call, message)
                    }
                })?,
        };
        match given.get_mut(idx) {
            None => {
                return Err(error(
                    &call,
                    format!("{} has too many arguments", call.name),
                ));
            }
            Some(Some(_)) => {
                return Err(error(
                    &call,
                    format!("{} is given {} twice", call.name, parameters[idx]),
                ));
            }
            Some(place) => *place = Some(arg.clone()),
        }
    }
    Given {
        call: &call,
        parameters,
        given,
    }
    .window()
    .map(Some)
}

/// How a window function is called.
fn usage(name: &str) -> String {
    let lengths = match name {
        "TUMBLE" => "INTERVAL '10' MINUTES",
        "HOP" => "INTERVAL '5' MINUTES, INTERVAL '10' MINUTES",
        "CUMULATE" => "INTERVAL '1' HOUR, INTERVAL '1' DAY",
        _ => {
            return "write SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' MINUTES)"
                .to_string();
        }
    };
    format!("write {name}(TABLE t, DESCRIPTOR(ts), {lengths})")
}

fn error(call: &TableCall, message: String) -> CallError {
    CallError {
        message,
        span: call.span,
        hint: Some(usage(&call.name)),
    }
}

/// The arguments in the order of the parameters.
struct Given<'c> {
    call: &'c TableCall,
    parameters: &'static [&'static str],
    given: Vec<Option<TableArg>>,
}

impl Given<'_> {
    fn window(mut self) -> Result<WindowCall, CallError> {
        let name = &self.call.name;
        let input = match self.take("DATA") {
            Some(TableArg::Table(input)) => input,
            _ => {
                return Err(error(
                    self.call,
                    format!("the first argument of {name} must be a table"),
                ));
            }
        };
        let time = match self.take("TIMECOL") {
            Some(TableArg::Descriptor(path)) if !path.is_empty() => path,
            _ => {
                return Err(error(
                    self.call,
                    format!("the second argument of {name} must be DESCRIPTOR(time column)"),
                ));
            }
        };
        let window = match name.as_str() {
            "TUMBLE" => Window::Tumble {
                size: self.length("SIZE")?,
                offset: self.offset()?,
            },
            "HOP" => Window::Hop {
                slide: self.length("SLIDE")?,
                size: self.length("SIZE")?,
                offset: self.offset()?,
            },
            "CUMULATE" => {
                let (step, size) = (self.length("STEP")?, self.length("SIZE")?);
                if size % step != 0 {
                    return Err(error(
                        self.call,
                        "the size of CUMULATE must be a multiple of its step".to_string(),
                    ));
                }
                Window::Cumulate {
                    step,
                    size,
                    offset: self.offset()?,
                }
            }
            _ => Window::Session {
                gap: self.length("GAP")?,
            },
        };
        Ok(WindowCall {
            input,
            time,
            window,
            alias: self.call.alias.clone(),
            span: self.call.span,
        })
    }

    fn take(&mut self, parameter: &str) -> Option<TableArg> {
        let idx = self.parameters.iter().position(|name| *name == parameter)?;
        self.given.get_mut(idx).and_then(Option::take)
    }

    fn nanos(&mut self, parameter: &str) -> Result<Option<i64>, CallError> {
        match self.take(parameter) {
            None => Ok(None),
            Some(TableArg::Expr(expr)) => match signed_nanos(&expr) {
                Some(nanos) => Ok(Some(nanos)),
                None => {
                    let message = format!(
                        "{parameter} of {} must be an interval of days to seconds",
                        self.call.name
                    );
                    let hint = Some("write INTERVAL '10' MINUTES".to_string());
                    Err(CallError {
                        message,
                        span: expr.span(),
                        hint,
                    })
                }
            },
            Some(_) => Err(error(
                self.call,
                format!("{parameter} of {} must be an interval", self.call.name),
            )),
        }
    }

    fn length(&mut self, parameter: &str) -> Result<i64, CallError> {
        match self.nanos(parameter)? {
            Some(nanos) if nanos > 0 => Ok(nanos),
            Some(_) => Err(error(
                self.call,
                format!("{parameter} of {} must be positive", self.call.name),
            )),
            None => Err(error(
                self.call,
                format!("{} needs {parameter}", self.call.name),
            )),
        }
    }

    fn offset(&mut self) -> Result<i64, CallError> {
        Ok(self.nanos("OFFSET")?.unwrap_or(0))
    }
}

fn signed_nanos(expr: &Expr) -> Option<i64> {
    use sqlparser::ast::UnaryOperator;
    match expr {
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => signed_nanos(expr).and_then(i64::checked_neg),
        Expr::Nested(expr) => signed_nanos(expr),
        expr => match IntervalValue::of(expr)? {
            IntervalValue::Nanos(nanos) => Some(nanos),
            IntervalValue::Months(_) => None,
        },
    }
}

/// The OPTIONS hint of a table in FROM: keys and values.
pub fn table_options(factor: &TableFactor) -> Vec<(String, String)> {
    let TableFactor::Table { with_hints, .. } = factor else {
        return Vec::new();
    };
    let text = |expr: &Expr| match expr {
        Expr::Value(value) => value.value.clone().into_string(),
        _ => None,
    };
    let pair = |hint: &Expr| match hint {
        Expr::BinaryOp { left, right, .. } => text(left).zip(text(right)),
        _ => None,
    };
    with_hints.iter().filter_map(pair).collect()
}
