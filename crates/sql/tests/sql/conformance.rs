//! Parses every pipeline of a conformance folder, where one is given.

use std::path::{Path, PathBuf};

use millstream_sql::parse;

/// Every `.sql` file in a folder and the folders in it.
fn sql_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sql_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            found.push(path);
        }
    }
}

/// `MILLSTREAM_CONFORMANCE` names the folder (or several, separated by `:`).
#[test]
fn all_pipelines_parse() {
    let Ok(folders) = std::env::var("MILLSTREAM_CONFORMANCE") else {
        return;
    };
    let mut files = Vec::new();
    for folder in folders.split(':') {
        sql_files(Path::new(folder), &mut files);
    }
    assert!(!files.is_empty(), "no .sql files in {folders}");
    let mut errors = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file)
            .unwrap()
            .replace("${SINK}", "'connector' = 'blackhole'");
        if let Err(error) = parse(&text) {
            errors.push(error.render(&text, &file.to_string_lossy()));
        }
    }
    assert!(
        errors.is_empty(),
        "{} of {} files:\n{}",
        errors.len(),
        files.len(),
        errors.join("\n\n")
    );
}
