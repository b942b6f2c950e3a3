//! Verifies maintained views: each is computed again as a batch over the same input, and compared.
//!
//! ```text
//! file ──> pipeline ──run──────────────> facts <── snapshot ── a running engine (its Postgres port)
//!             │   (bounded, to its end)    │   one step: offsets, clock, watermarks, the views' rows
//!             │                            v
//!             └──────> read ──> table ──> batch (DataFusion) ──> compare ──> equal, different, or why neither can be said
//! ```
//! The two sides share the file, the connectors and the functions on values. Operators, state and steps are on one side only.

mod batch;
mod compare;
mod facts;
mod functions;
mod history;
mod marks;
mod pipeline;
mod read;
mod run;
mod snapshot;
mod table;
mod zone;

#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::{Error, Result};

pub use compare::{Difference, Differences, Side};
pub use facts::Facts;
pub use pipeline::Pipeline;
pub use snapshot::SNAPSHOT;
pub(crate) use snapshot::register;

use batch::{Answer, Batch};
use compare::{Rules, compare};
use facts::ViewFacts;

/// What was found of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The view.
    pub view: String,
    /// What was found.
    pub verdict: Verdict,
}

/// Whether a view is what a batch computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is, with so many rows.
    Equal {
        /// The rows of the view.
        rows: u64,
    },
    /// It is not.
    Different(Differences),
    /// It can't be said.
    Unverified {
        /// Why.
        reason: String,
        /// Where the two differ, if they could be compared.
        differences: Option<Differences>,
    },
}

impl Verdict {
    fn unverified(reason: impl Into<String>) -> Self {
        Self::Unverified {
            reason: reason.into(),
            differences: None,
        }
    }
}

impl Pipeline {
    /// Verifies the wanted views at a step; `done` is called with each result as it is found. At most `rows_max` differences of
    /// a view are kept.
    pub async fn verify(
        &self,
        facts: &Facts,
        rows_max: usize,
        mut done: impl FnMut(&Verified),
    ) -> Vec<Verified> {
        let mut batch = Batch::new(self, facts);
        let mut all = Vec::new();
        for name in self.wanted() {
            let verdict = match facts.views.get(name) {
                None => Verdict::unverified("the instance has no such view"),
                Some(view) => self
                    .verdict(name, view, &mut batch, rows_max)
                    .await
                    .unwrap_or_else(|error| Verdict::unverified(error.to_string())),
            };
            let verified = Verified {
                view: name.clone(),
                verdict,
            };
            done(&verified);
            all.push(verified);
        }
        all
    }

    async fn verdict(
        &self,
        name: &str,
        view: &ViewFacts,
        batch: &mut Batch<'_>,
        rows_max: usize,
    ) -> Result<Verdict> {
        if let (Some(given), Some(own)) = (&view.definition, &self.views()[name].definition)
            && squeezed(given) != squeezed(own)
        {
            return Ok(Verdict::unverified(format!(
                "the instance has another view of this name: {given}"
            )));
        }
        let rows = match &view.rows {
            Ok(rows) => rows,
            Err(why) => return Ok(Verdict::unverified(why.as_str())),
        };
        let answer = batch.answer(name).await?;
        let rows = columns_of(&answer.schema, rows)?;
        let rules = Rules {
            inexact: answer.marks.inexact.clone(),
            left_out: Vec::new(),
            key: self.key(name),
            rows_max,
        };
        match compare(&answer.schema, &rows, &answer.batches, &rules)? {
            None => Ok(Verdict::Equal {
                rows: rows.iter().map(|batch| batch.num_rows() as u64).sum(),
            }),
            Some(differences) => self.explained(view, &answer, &rows, rules, differences, batch),
        }
    }

    /// What differences mean: some cannot be told from the order of arrival, or from rows that came late.
    fn explained(
        &self,
        view: &ViewFacts,
        answer: &Answer,
        rows: &[RecordBatch],
        rules: Rules,
        mut differences: Differences,
        batch: &Batch<'_>,
    ) -> Result<Verdict> {
        let mut reason = answer.marks.rows.clone();
        if let (None, Some((column, why))) = (&reason, answer.marks.doubtful.first_key_value()) {
            let name = answer.schema.field(*column).name();
            let without = Rules {
                left_out: answer.marks.doubtful.keys().copied().collect(),
                ..rules
            };
            match compare(&answer.schema, rows, &answer.batches, &without)? {
                None => reason = Some(format!("it is equal but for column `{name}`: {why}")),
                Some(others) => differences = others,
            }
        }
        if reason.is_none() && answer.may_lack_late {
            reason = batch.late(view)?;
        }
        Ok(match reason {
            None => Verdict::Different(differences),
            Some(reason) => Verdict::Unverified {
                reason,
                differences: Some(differences),
            },
        })
    }
}

/// A statement without what means nothing in it.
fn squeezed(sql: &str) -> String {
    let words = sql.trim().trim_end_matches(';').split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

/// The columns of a view that a batch computes: of dead letters, those that follow from the records alone.
fn columns_of(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let chosen = |batch: &RecordBatch| {
        if batch.num_columns() == schema.fields().len() {
            return Ok(batch.clone());
        }
        let places = schema
            .fields()
            .iter()
            .map(|field| batch.schema().index_of(field.name()));
        let places = places
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|_| Error::user("the view has other columns than the file says"))?;
        Ok(batch.project(&places)?)
    };
    let same = |batch: RecordBatch| {
        let fields = batch.schema_ref().fields().iter().zip(schema.fields());
        let mut others = fields.filter(|(given, own)| given.data_type() != own.data_type());
        match others.next() {
            None => Ok(batch.clone()),
            Some((given, own)) => Err(Error::user(format!(
                "the view's column `{}` is {}, but the file makes it {}",
                own.name(),
                given.data_type(),
                own.data_type()
            ))),
        }
    };
    rows.iter()
        .map(|batch| chosen(batch).and_then(same))
        .collect()
}
