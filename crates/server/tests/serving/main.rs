//! The ports of a running server, as clients meet them.

mod catalogs;
mod ddl;
mod hostile;
mod pages;
mod parameters;
mod queries;
mod replayed;
mod support;
mod transactions;
