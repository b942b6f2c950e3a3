//! `millstream eval`: bounded sources to their end, then the rows of a query that was maintained over the run.

use crate::cli::Eval;
use crate::print;
use crate::progress::Watcher;
use millstream_engine::{Config, Engine, render};
use std::io::Write;

/// Evaluates a file. Nothing but the result goes to standard output.
pub(crate) fn eval(eval: &Eval) -> Result<(), String> {
    let name = eval.file.display().to_string();
    let text = std::fs::read_to_string(&eval.file)
        .map_err(|error| format!("can't read {name}: {error}"))?;
    let default = Config::default();
    let config = Config {
        workers: eval.workers.unwrap_or(default.workers),
        step_rows_max: eval.step_rows,
        checkpoints: None,
    };
    millstream_connectors::print::set_output(Box::new(std::io::stderr()));
    let engine = Engine::new(config);
    let started = match &eval.query {
        Some(query) => engine.run_with_query(&text, query),
        None => engine.run(&text),
    };
    let notes = started.map_err(|error| render(&error, &text, &name))?;
    notes
        .iter()
        .for_each(|note| drop(writeln!(std::io::stderr(), "note: {note}")));
    let watcher = Watcher::start(&engine);
    let ended = engine.wait_end();
    watcher.stop();
    ended.map_err(|failures| {
        let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
        failures.join("\nerror: ")
    })?;
    if let Some(query) = &eval.query {
        let (schema, batches) = engine.query_rows().map_err(|error| error.to_string())?;
        let batches = print::ordered(&schema, batches, query).map_err(|error| error.to_string())?;
        print::print(&schema, &batches, eval.format, &eval.null)
            .map_err(|error| error.to_string())?;
    }
    engine.stop();
    Ok(())
}
