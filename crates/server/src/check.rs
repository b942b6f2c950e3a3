//! `millstream check` and `millstream explain`.

use crate::cli::Check;
use crate::run::engine;
use millstream_engine::render;
use std::io::Write;
use std::path::Path;

/// Plans files. Prints the graph, or that all is well.
pub(crate) fn check(check: &Check, with_graph: bool) -> Result<(), String> {
    let (text, name) = read_all(&check.files.files)?;
    let engine = engine(None, None, None, &check.set)?;
    let (graph, notes) = engine
        .check(&text)
        .map_err(|error| render(&error, &text, &name))?;
    let mut out = std::io::stdout().lock();
    notes
        .iter()
        .for_each(|note| drop(writeln!(std::io::stderr(), "note: {note}")));
    let written = if with_graph {
        write!(out, "{graph}")
    } else {
        writeln!(out, "{name}: ok")
    };
    written.map_err(|error| error.to_string())
}

/// The text of all files, one behind the other, and a name for it.
pub(crate) fn read_all(files: &[impl AsRef<Path>]) -> Result<(String, String), String> {
    let mut text = String::new();
    for file in files {
        let file = file.as_ref();
        let read = std::fs::read_to_string(file)
            .map_err(|error| format!("can't read {}: {error}", file.display()))?;
        text.push_str(&read);
        // A file that forgets its last semicolon must not swallow the next one's first statement.
        text.push_str("\n;\n");
    }
    let names: Vec<String> = files
        .iter()
        .map(|file| file.as_ref().display().to_string())
        .collect();
    Ok((text, names.join(", ")))
}
