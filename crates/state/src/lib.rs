//! What operators remember, in columns: groups by key, rows by key, views.
//!
//! * [`GroupIndex`]: rows of keys to dense group numbers, a batch at a time.
//! * [`RowLog`] and [`Arrangement`]: rows, and the rows of a key.
//! * [`ViewTable`]: the integral of a view, read through snapshots.
//! * [`checkpoint`]: what changed in all of them, on any object store.

mod arrangement;
pub mod checkpoint;
mod group_index;
mod row_log;
mod view;

pub use arrangement::{Arrangement, HashIndex, Matches, Retention};
pub use group_index::{
    ABSENT, Cells, Codec, Form, GroupIndex, Lane, code_of_float, float_code, float_of_code,
};
pub use row_log::{NONE, Paged, RowEqual, RowLog};
pub use view::{ViewSnapshot, ViewTable};
