//! What a column means in event time, carried in the field's metadata through the binder: projections keep it, any
//! computation drops it, as in Flink.

use arrow::datatypes::Field;

const KEY: &str = "millstream.time";

/// What a column means in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The event time that the watermark is about.
    Rowtime,
    /// The wall clock's reading when the row arrived.
    Proctime,
    /// The start of the window that the row belongs to.
    WindowStart,
    /// The end (exclusive) of that window.
    WindowEnd,
}

impl Role {
    const ALL: [Self; 4] = [
        Self::Rowtime,
        Self::Proctime,
        Self::WindowStart,
        Self::WindowEnd,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Rowtime => "rowtime",
            Self::Proctime => "proctime",
            Self::WindowStart => "window_start",
            Self::WindowEnd => "window_end",
        }
    }
}

/// The column's meaning, if it has one.
pub(crate) fn role(field: &Field) -> Option<Role> {
    let name = field.metadata().get(KEY)?;
    Role::ALL.into_iter().find(|role| role.name() == name)
}

/// The field with this meaning.
pub(crate) fn with_role(field: Field, role: Role) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(KEY.to_owned(), role.name().to_owned());
    field.with_metadata(metadata)
}
