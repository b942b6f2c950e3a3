//! What a join derives from its spec once, before it runs: which columns are kept, and where each is found.

use super::{Expiry, Join, Kind, Residual};
use crate::deadline::DeadlinePlan;
use arrow::datatypes::SchemaRef;
use millstream_dataflow::{Error, Result};
use std::sync::Arc;

/// The derived facts.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) inputs: [InputPlan; 2],
    pub(super) residual: Option<Residual>,
    pub(super) residual_schema: SchemaRef,
    pub(super) output: Vec<usize>,
    pub(super) schema: SchemaRef,
    pub(super) kept: Option<Kept>,
    /// Rows without a partner show only when they expire.
    pub(super) padding_at_expiry: bool,
    /// Rows of a closed window are late.
    pub(super) late: bool,
}

/// The side whose rows are the output of a semi or anti join.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) side: usize,
    pub(super) anti: bool,
}

/// The derived facts on a side.
#[derive(Debug)]
pub(super) struct InputPlan {
    /// 0: left, 1: right.
    pub(super) number: usize,
    pub(super) schema: SchemaRef,
    pub(super) keys: Vec<usize>,
    /// The keys in which a NULL matches nothing.
    pub(super) strict: Vec<usize>,
    /// The columns that are kept.
    pub(super) stored: Vec<usize>,
    /// Unmatched rows show, padded.
    pub(super) pads: bool,
    /// Partners are counted.
    pub(super) counts: bool,
    pub(super) append_only: bool,
    /// When rows are past use, if ever.
    pub(super) deadline: Option<DeadlinePlan>,
}

impl Plan {
    pub(super) fn new(join: &Join) -> Result<Self> {
        let split = join.left.fields().len();
        let kept = match join.kind {
            Kind::Inner | Kind::Left | Kind::Right | Kind::Full => None,
            Kind::LeftSemi => Some(Kept {
                side: 0,
                anti: false,
            }),
            Kind::LeftAnti => Some(Kept {
                side: 0,
                anti: true,
            }),
            Kind::RightSemi => Some(Kept {
                side: 1,
                anti: false,
            }),
            Kind::RightAnti => Some(Kept {
                side: 1,
                anti: true,
            }),
        };
        let residual = join.residual.clone();
        let residual_columns = residual.as_ref().map_or(&[][..], |r| &r.columns);
        let fields = residual_columns.iter().map(|column| {
            if *column < split {
                join.left.field(*column).clone().with_nullable(true)
            } else {
                join.right.field(column - split).clone().with_nullable(true)
            }
        });
        for key in &join.keys {
            let (left, right) = (join.left.field(key.left), join.right.field(key.right));
            if left.data_type() != right.data_type() {
                return Err(Error::internal(format!(
                    "the join keys {} {} and {} {} have different types",
                    left.name(),
                    left.data_type(),
                    right.name(),
                    right.data_type()
                )));
            }
        }
        Ok(Self {
            residual_schema: Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>())),
            inputs: [InputPlan::new(join, 0), InputPlan::new(join, 1)],
            residual,
            output: join.output.clone(),
            schema: Arc::clone(&join.schema),
            kept,
            padding_at_expiry: join.padding_at_expiry,
            late: matches!(join.expiry, Some(Expiry::Windows { .. })),
        })
    }

    /// The side of a column of left and right inputs counted through, and its place there.
    pub(super) fn side_of(&self, column: usize) -> (usize, usize) {
        let split = self.inputs[0].schema.fields().len();
        if column < split {
            (0, column)
        } else {
            (1, column - split)
        }
    }
}

impl InputPlan {
    fn new(join: &Join, side: usize) -> Self {
        let split = join.left.fields().len();
        let schema = if side == 0 { &join.left } else { &join.right };
        let key = |key: &super::Key| if side == 0 { key.left } else { key.right };
        let keys: Vec<usize> = join.keys.iter().map(key).collect();
        let strict = join.keys.iter().filter(|key| !key.null_equal);
        let deadline = join.expiry.as_ref().map(|expiry| deadline(expiry, side));
        let mut stored = keys.clone();
        let read = join.residual.iter().flat_map(|residual| &residual.columns);
        let here = |column: &usize| {
            let place = if side == 0 {
                *column
            } else {
                column.wrapping_sub(split)
            };
            (place < schema.fields().len()).then_some(place)
        };
        stored.extend(join.output.iter().chain(read).filter_map(here));
        stored.extend(deadline.map(|deadline| deadline.column));
        stored.sort_unstable();
        stored.dedup();
        let pads = matches!(
            (join.kind, side),
            (Kind::Left | Kind::Full, 0) | (Kind::Right | Kind::Full, 1)
        );
        let kept = matches!(
            (join.kind, side),
            (Kind::LeftSemi | Kind::LeftAnti, 0) | (Kind::RightSemi | Kind::RightAnti, 1)
        );
        Self {
            number: side,
            schema: Arc::clone(schema),
            strict: strict.map(key).collect(),
            keys,
            stored,
            pads,
            counts: pads || kept,
            append_only: join.append_only[side],
            deadline,
        }
    }
}

fn deadline(expiry: &Expiry, side: usize) -> DeadlinePlan {
    match expiry {
        Expiry::Windows { left, right } => {
            DeadlinePlan::window_end(if side == 0 { *left } else { *right })
        }
        Expiry::Interval {
            left,
            right,
            lower_ms,
            upper_ms,
        } => DeadlinePlan {
            column: if side == 0 { *left } else { *right },
            plus_ms: if side == 0 {
                *upper_ms
            } else {
                lower_ms.saturating_neg()
            },
            grain_ms: (upper_ms.saturating_sub(*lower_ms) / 64).max(1),
        },
    }
}
