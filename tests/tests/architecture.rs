//! The crates are what ARCHITECTURE.md draws.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

const PREFIX: &str = "millstream-";

/// The table of ARCHITECTURE.md: each crate and what it depends on.
fn drawn() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md"))
        .unwrap();
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| crate |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let names = cells[1]
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty());
        (cells[0].to_owned(), names.collect())
    })
    .collect()
}

/// The crates as cargo sees them.
fn built() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let ours = metadata
        .packages
        .iter()
        .filter(|package| package.manifest_path.as_str().contains("/crates/"));
    ours.map(|package| {
        let normal = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal);
        let names = normal
            .filter_map(|dependency| dependency.name.strip_prefix(PREFIX))
            .map(str::to_owned);
        (
            package.name.strip_prefix(PREFIX).unwrap().to_owned(),
            names.collect(),
        )
    })
    .collect()
}

#[test]
fn every_edge_between_crates_is_drawn() {
    let (drawn, built) = (drawn(), built());
    assert_eq!(
        drawn.keys().collect::<Vec<_>>(),
        built.keys().collect::<Vec<_>>(),
        "the crates"
    );
    for (name, edges) in &built {
        let undrawn: Vec<_> = edges.difference(&drawn[name]).collect();
        assert!(
            undrawn.is_empty(),
            "{name} depends on {undrawn:?}, which ARCHITECTURE.md does not draw"
        );
    }
}

#[test]
fn every_crate_is_under_its_folders_name() {
    for name in built().keys() {
        let folder = format!("{}/../crates/{name}", env!("CARGO_MANIFEST_DIR"));
        assert!(
            std::path::Path::new(&folder).is_dir(),
            "millstream-{name} is not in crates/{name}"
        );
    }
}
