//! Prepared statements and the portals that run them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use std::sync::Arc;

use super::rows::Layout;
use super::script::Piece;
use crate::query::{Planned, Rows};

/// A statement that was parsed.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The text that the client sent.
    pub text: String,
    /// The one statement in it; `None`: there was none.
    pub piece: Option<Piece>,
    /// The parameters' types as the client declared them.
    pub declared: Vec<Type>,
    /// The plan of a query.
    pub planned: Option<Arc<Planned>>,
}

/// A statement with its parameters.
#[derive(Debug)]
pub(crate) struct Portal {
    pub prepared: Arc<Prepared>,
    /// For a cursor of SQL: what it reads, instead of the statement's own plan.
    pub values: Vec<ScalarValue>,
    pub formats: Vec<i16>,
    pub state: PortalState,
}

/// How far a portal is.
#[derive(Debug)]
pub(crate) enum PortalState {
    /// It has not run.
    New,
    /// It gives rows.
    Running(Box<Reading>),
    /// It has given all.
    Done {
        /// What the command tag says when it is run again.
        tag: &'static str,
    },
}

/// Rows on their way to the client.
#[derive(Debug)]
pub(crate) struct Reading {
    pub layout: Layout,
    pub source: RowSource,
    /// The batch that is being written, and the next row of it.
    pub batch: Option<(RecordBatch, usize)>,
}

/// Where rows come from.
#[derive(Debug)]
pub(crate) enum RowSource {
    /// A running query.
    Query(Rows),
    /// What is there already.
    Batches(std::vec::IntoIter<RecordBatch>),
}

impl Reading {
    /// The rows of a schema from a source.
    pub(crate) fn new(schema: SchemaRef, formats: &[i16], zone: &str, source: RowSource) -> Self {
        Self {
            layout: Layout::new(schema, formats, zone),
            source,
            batch: None,
        }
    }
}
