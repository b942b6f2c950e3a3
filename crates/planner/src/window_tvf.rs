//! TUMBLE, HOP, CUMULATE and SESSION over a table, as a node of the logical plan: the input's columns, then
//! `window_start`, `window_end` and `window_time`.

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use millstream_operators::window::Window;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::time::{self, Role};

/// The columns that a window function adds.
pub(crate) const COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// A window function over a table.
#[derive(Clone, Debug)]
pub(crate) struct WindowTvf {
    /// The rows.
    pub input: LogicalPlan,
    /// The event-time column.
    pub time: Expr,
    /// SESSION's PARTITION BY.
    pub partition: Vec<Expr>,
    /// Which windows.
    pub kind: Window,
    schema: DFSchemaRef,
}

impl WindowTvf {
    /// Windows over `input` by its column `time`.
    ///
    /// # Errors
    /// When `time` is no TIMESTAMP.
    pub(crate) fn try_new(
        input: LogicalPlan,
        time: Expr,
        partition: Vec<Expr>,
        kind: Window,
    ) -> Result<Self> {
        use datafusion::logical_expr::ExprSchemable;
        let (_, field) = time.to_field(input.schema())?;
        let DataType::Timestamp(_, _) = field.data_type() else {
            return plan_err!(
                "the window's DESCRIPTOR column `{}` is {}\nhint: it must be a TIMESTAMP column with a watermark (WATERMARK FOR in CREATE TABLE)",
                field.name(),
                crate::types::name(&field)
            );
        };
        if time::role(&field).is_none() {
            return plan_err!(
                "the window's DESCRIPTOR column `{}` is no event time\nhint: declare WATERMARK FOR it in CREATE TABLE, and pass it on unchanged",
                field.name()
            );
        }
        // The bounds are local times. They tell what the watermark, an instant, has closed only where the two are the same.
        let role = time::role(&field);
        let is_event_time = role == Some(Role::Rowtime);
        let is_utc =
            is_event_time && zone(field.data_type()).is_none_or(|zone| zone.as_ref() == "UTC");
        let bound = |name: &str, role| {
            let field = Field::new(
                name,
                DataType::Timestamp(TimeUnit::Millisecond, None),
                false,
            );
            if is_utc {
                time::with_role(field, role)
            } else {
                field
            }
        };
        let rowtime = Field::new(
            COLUMNS[2],
            DataType::Timestamp(TimeUnit::Millisecond, zone(field.data_type())),
            false,
        );
        let added = [
            bound(COLUMNS[0], Role::WindowStart),
            bound(COLUMNS[1], Role::WindowEnd),
            time::with_role(rowtime, role.unwrap_or(Role::Rowtime)),
        ];
        let fields = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let fields = fields
            .chain(added.into_iter().map(|field| (None, Arc::new(field))))
            .collect();
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(Self {
            input,
            time,
            partition,
            kind,
            schema: Arc::new(schema),
        })
    }
}

fn zone(kind: &DataType) -> Option<Arc<str>> {
    match kind {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    }
}

impl UserDefinedLogicalNodeCore for WindowTvf {
    fn name(&self) -> &str {
        "Windows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(self.time.clone())
            .chain(self.partition.iter().cloned())
            .collect()
    }

    /// A filter on a row's own columns may go below: the same rows fall into the same windows. Not for SESSION, where
    /// a row keeps its neighbours together.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        match self.kind {
            Window::Session { .. } => self
                .schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
            Window::Tumble { .. } | Window::Hop { .. } | Window::Cumulate { .. } => {
                COLUMNS.map(str::to_owned).into()
            }
        }
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Windows: {} of {}", self.kind, self.time)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (mut exprs, mut inputs) = (exprs.into_iter(), inputs.into_iter());
        match (exprs.next(), inputs.next()) {
            (Some(time), Some(input)) => Self::try_new(input, time, exprs.collect(), self.kind),
            _ => plan_err!("a window function has one input and one time column"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let exprs = self.expressions();
        let needed = exprs
            .iter()
            .flat_map(Expr::column_refs)
            .filter_map(|column| self.input.schema().maybe_index_of_column(column));
        let mut columns: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|idx| *idx < width)
            .chain(needed)
            .collect();
        columns.sort_unstable();
        columns.dedup();
        Some(vec![columns])
    }
}

impl PartialEq for WindowTvf {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.time == other.time
            && self.partition == other.partition
            && self.input == other.input
    }
}

impl Eq for WindowTvf {}

impl Hash for WindowTvf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.time.hash(state);
        self.partition.hash(state);
    }
}

impl PartialOrd for WindowTvf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}
