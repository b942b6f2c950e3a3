//! The wire: frames, versions, and one task per connection.

pub(crate) mod connection;
pub(crate) mod refuse;
pub(crate) mod shape;
pub(crate) mod versions;
