//! The engine's views as DataFusion's tables: as names while a query is planned, as rows when it runs.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::{TableType, provider_as_source, source_as_provider};
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableScan, TableSource};
use datafusion::physical_plan::ExecutionPlan;
use millstream_dataflow::graph::NodeId;
use millstream_planner::catalog::Relation;
use std::sync::Arc;

use crate::engine::{Engine, State};

/// The catalog that views are in.
pub const CATALOG: &str = "millstream";
/// The schema that views are in.
pub const SCHEMA: &str = "public";

/// A session over an engine's views.
pub(crate) fn session(engine: &Engine) -> SessionContext {
    let config = SessionConfig::new()
        .with_information_schema(true)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_target_partitions(1)
        .with_collect_statistics(false);
    let context = SessionContext::new_with_config(config);
    if let Some(catalog) = context.catalog(CATALOG) {
        // The in-memory catalog takes any schema.
        let _ = catalog.register_schema(
            SCHEMA,
            Arc::new(Views {
                engine: engine.clone(),
            }),
        );
    }
    crate::verify::register(&context, engine);
    context
}

/// The materialized views by name.
struct Views {
    engine: Engine,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Views")
    }
}

#[async_trait]
impl SchemaProvider for Views {
    fn table_names(&self) -> Vec<String> {
        self.engine.with_state(|state| {
            let views = state
                .declared
                .catalog
                .iter()
                .filter(|(_, relation)| matches!(relation.as_ref(), Relation::Materialized(_)));
            views.map(|(name, _)| name.to_owned()).collect()
        })
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let found = self.engine.with_state(|state| ViewTable::of(state, name));
        Ok(found.map(|view| Arc::new(view) as _))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.engine.with_state(|state| {
            state
                .declared
                .catalog
                .get(name)
                .is_some_and(|relation| matches!(relation.as_ref(), Relation::Materialized(_)))
        })
    }
}

/// A view: while a query over it is planned, a name; when it runs, rows.
#[derive(Clone, Debug)]
pub(crate) struct ViewTable {
    pub name: String,
    pub node: NodeId,
    pub schema: SchemaRef,
    pub key: Vec<usize>,
    /// The rows at a step.
    pub rows: Option<Vec<RecordBatch>>,
}

impl ViewTable {
    /// What a name means now.
    pub(crate) fn of(state: &State, name: &str) -> Option<Self> {
        let Relation::Materialized(view) = state.declared.catalog.get(name)?.as_ref() else {
            return None;
        };
        let key = state.declared.planner.view_key(view.node);
        Some(Self {
            name: name.to_owned(),
            node: view.node,
            schema: Arc::clone(&view.schema),
            key: key.map(|(key, _)| key.to_vec()).unwrap_or_default(),
            rows: None,
        })
    }
}

/// The view that a scan reads.
pub(crate) fn view_of(scan: &TableScan) -> Option<ViewTable> {
    let provider = source_as_provider(&scan.source).ok()?;
    let view: &ViewTable = provider.downcast_ref::<ViewTable>()?;
    Some(view.clone())
}

/// A view with its rows, as a scan reads it.
pub(crate) fn frozen(view: ViewTable, rows: Vec<RecordBatch>) -> Arc<dyn TableSource> {
    provider_as_source(Arc::new(ViewTable {
        rows: Some(rows),
        ..view
    }))
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    /// Conditions on the key choose the rows that are asked for; they are checked again all the same.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(rows) = &self.rows else {
            return internal_err!("the view {} is read before it is frozen", self.name);
        };
        let exec = MemorySourceConfig::try_new_exec(
            std::slice::from_ref(rows),
            Arc::clone(&self.schema),
            projection.cloned(),
        )?;
        Ok(exec)
    }
}
