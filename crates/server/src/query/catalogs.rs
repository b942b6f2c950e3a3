//! Postgres's catalogs: those of datafusion-pg-catalog, with the columns that psql asks for and they lack.

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::datasource::{TableType, ViewTable, provider_as_source};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use std::collections::HashMap;
use std::sync::Arc;

const SCHEMA: &str = "pg_catalog";
/// Columns that a catalog should have, lists of texts: always NULL here.
const MISSING: [(&str, &[&str]); 1] = [("pg_class", &["relacl", "reloptions"])];

/// Puts the catalogs beside the views.
pub(crate) fn register(context: &SessionContext) -> Result<()> {
    datafusion_pg_catalog::setup_pg_catalog(
        context,
        millstream_engine::CATALOG,
        EmptyContextProvider,
    )
    .map_err(|error| *error)?;
    let catalog = context.catalog(millstream_engine::CATALOG);
    let Some((catalog, inner)) =
        catalog.and_then(|catalog| catalog.schema(SCHEMA).map(|schema| (catalog, schema)))
    else {
        return Ok(());
    };
    let mut completed = HashMap::new();
    for (name, columns) in MISSING {
        // The catalogs are in memory: nothing is waited for.
        if let Some(table) = futures::executor::block_on(inner.table(name))? {
            completed.insert(name.to_owned(), with_nulls(name, &table, columns)?);
        }
    }
    catalog.register_schema(SCHEMA, Arc::new(Catalogs { inner, completed }))?;
    Ok(())
}

fn with_nulls(
    name: &str,
    table: &Arc<dyn TableProvider>,
    columns: &[&str],
) -> Result<Arc<dyn TableProvider>> {
    let schema = table.schema();
    let known = schema
        .fields()
        .iter()
        .map(|field| Expr::Column(Column::new(Some(name), field.name())));
    let null = ScalarValue::try_from(&DataType::new_list(DataType::Utf8, true))?;
    let nulls = columns
        .iter()
        .filter(|column| schema.index_of(column).is_err())
        .map(|column| lit(null.clone()).alias(*column));
    let plan = LogicalPlanBuilder::scan(name, provider_as_source(Arc::clone(table)), None)?
        .project(known.chain(nulls))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

#[derive(Debug)]
struct Catalogs {
    inner: Arc<dyn SchemaProvider>,
    completed: HashMap<String, Arc<dyn TableProvider>>,
}

#[async_trait]
impl SchemaProvider for Catalogs {
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.completed.get(name) {
            Some(table) => Ok(Some(Arc::clone(table))),
            None => self.inner.table(name).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        self.inner.table_type(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}
