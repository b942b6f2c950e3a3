//! `millstream plan`: what becomes of views and INSERTs when files change.

use crate::check::read_all;
use crate::cli::Plan;
use crate::run::{StatePlace, engine};
use millstream_engine::{render, saved_files};
use std::io::Write;

/// The setting that names the brokers of tables that name none.
const BROKERS: &str = "kafka.bootstrap.servers";

/// Compares and prints a line for each.
pub(crate) fn plan(plan: &Plan) -> Result<(), String> {
    let (old, new, name) = match (&plan.state, plan.files.as_slice()) {
        (Some(state), files) => {
            let place = StatePlace::new(state)?;
            let old = saved_files(&place.checkpoints).map_err(|error| error.to_string())?;
            let (new, name) = read_all(files)?;
            (old, new, name)
        }
        (None, [old, new]) => {
            let (new, name) = read_all(&[new])?;
            (read_all(&[old])?.0, new, name)
        }
        (None, _) => {
            return Err(
                "name two files, the old one and the new one, or --state DIR and the new files"
                    .to_owned(),
            );
        }
    };
    let engine = engine(None, None, None, &plan.set)?;
    if !plan.set.iter().any(|(key, _)| key == BROKERS) {
        // Nothing is read here, and a command line may name them where the files don't.
        engine
            .set(BROKERS, "localhost:9092")
            .map_err(|error| error.to_string())?;
    }
    let changes = engine
        .compare(&old, &new)
        .map_err(|error| render(&error, &new, &name))?;
    let mut out = std::io::stdout().lock();
    changes
        .iter()
        .try_for_each(|change| writeln!(out, "{change}"))
        .map_err(|error| error.to_string())
}
