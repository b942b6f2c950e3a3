//! Tests of the whole; each crate has its own beside its code.
