//! The facts of a running engine as a table function, so that whoever reaches the Postgres port can verify its views.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::datasource::TableType;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use std::fmt;
use std::sync::Arc;

use super::facts;
use crate::engine::Engine;

/// The function's name: `SELECT * FROM millstream_snapshot('view', ...)`.
pub const SNAPSHOT: &str = "millstream_snapshot";

/// Lets a session call the function.
pub(crate) fn register(session: &SessionContext, engine: &Engine) {
    let engine = engine.clone();
    session.register_udtf(SNAPSHOT, Arc::new(Function { engine }));
}

struct Function {
    engine: Engine,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SNAPSHOT)
    }
}

impl TableFunctionImpl for Function {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let name = |expr: &Expr| match expr {
            Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
            _ => None,
        };
        let Some(views) = args
            .exprs()
            .iter()
            .map(name)
            .collect::<Option<Vec<String>>>()
        else {
            return plan_err!("{SNAPSHOT} takes the names of views, as texts");
        };
        Ok(Arc::new(Snapshot {
            engine: self.engine.clone(),
            views,
        }))
    }
}

/// The facts of the step that has ended when they are read.
struct Snapshot {
    engine: Engine,
    views: Vec<String>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SNAPSHOT}({})", self.views.join(", "))
    }
}

#[async_trait]
impl TableProvider for Snapshot {
    fn schema(&self) -> SchemaRef {
        facts::schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let facts = self.engine.facts(&self.views);
        let rows = facts
            .and_then(|facts| facts.write())
            .map_err(|error| DataFusionError::Execution(error.to_string()))?;
        // Pieces of a megabyte: batches of few rows.
        let pieces = (0..rows.num_rows()).step_by(PIECES);
        let batches: Vec<_> = pieces
            .map(|from| rows.slice(from, PIECES.min(rows.num_rows() - from)))
            .collect();
        let exec =
            MemorySourceConfig::try_new_exec(&[batches], self.schema(), projection.cloned())?;
        Ok(exec)
    }
}

/// Rows of a batch.
const PIECES: usize = 16;
