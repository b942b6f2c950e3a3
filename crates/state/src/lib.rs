//! millstream-state

mod arrangement;
mod group_index;
mod row_log;
mod view;

pub use arrangement::{Arrangement, HashIndex, Matches, Retention};
pub use group_index::{
    ABSENT, Cells, Codec, Form, GroupIndex, Lane, code_of_float, float_code, float_of_code,
};
pub use row_log::{NONE, Paged, RowEqual, RowLog};
pub use view::{ViewSnapshot, ViewTable};
