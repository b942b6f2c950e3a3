//! What is saved comes back, by way of every codec and place.

use super::faulty::Faulty;
use super::model::{State, add, read, restore, rows, small, table};
use crate::checkpoint::{Codec, Settings, Store, TableId};
use millstream_dataflow::Kind;
use millstream_dataflow::testing::{Random, delta, show};
use object_store::path::Path;
use serde_json::json;
use std::sync::Arc;

fn on(faulty: &Faulty, settings: Settings) -> Store {
    Store::on(Arc::new(faulty.clone()), Path::from("jobs/one"), settings).unwrap()
}

#[test]
fn a_folder_on_disk_gives_back_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain").display().to_string();
    let url = format!("file://{}/a%20b", folder.path().display());
    for (codec, url) in [(Codec::None, plain), (Codec::Lz4, url)] {
        let settings = Settings { codec, ..small() };
        let (mut state, mut random) = (State::new(), Random(7));
        let mut store = Store::open(&url, settings.clone()).unwrap();
        assert!(store.newest().unwrap().manifest.is_none());
        let live = [table(1), table(2)];
        for checkpoint in 1..=20 {
            for id in &live {
                add(&mut store, &mut state, id, &rows(&mut random, 40, 300));
            }
            let saved = store.commit(json!({"step": checkpoint}), &live).unwrap();
            assert_eq!(saved.sequence, checkpoint);
            assert!(saved.bytes > 0 && saved.segments > 0);
            store.tidy().unwrap();
        }
        drop(store);
        let mut store = Store::open(&url, settings).unwrap();
        let (manifest, restored) = restore(&mut store).unwrap().unwrap();
        assert_eq!(manifest.about, json!({"step": 20}));
        assert_eq!(restored, state);
        store.verify(&manifest).unwrap();
        assert!(store.newest().unwrap().notes.is_empty());
    }
    assert!(folder.path().join("a b/manifest").is_dir());
}

#[test]
fn tables_that_no_longer_live_are_left_out() {
    let faulty = Faulty::new();
    let mut store = on(&faulty, small());
    store.newest().unwrap();
    let mut state = State::new();
    let rows = vec![(1, Some("x".to_owned()))];
    add(&mut store, &mut state, &table(1), &rows);
    add(&mut store, &mut state, &table(2), &rows);
    store
        .commit(json!(1), &[table(1), table(2), table(3)])
        .unwrap();
    add(&mut store, &mut state, &table(2), &rows);
    store.commit(json!(2), &[table(1), table(3)]).unwrap();
    let (manifest, state) = restore(&mut on(&faulty, small())).unwrap().unwrap();
    let tables: Vec<&TableId> = manifest.tables().collect();
    assert_eq!(tables, [&table(1), &table(3)]);
    assert_eq!(state[&table(1)].len(), 1);
    assert!(state[&table(3)].is_empty());
    assert_eq!(manifest.size(&table(1)).0, 1);
}

#[test]
fn a_replaced_table_is_what_was_added_since() {
    let faulty = Faulty::new();
    let mut store = on(&faulty, small());
    store.newest().unwrap();
    let live = [table(1)];
    let set = |key: i64| vec![(key, Some(format!("value {key}")))];
    let mut state = State::new();
    add(&mut store, &mut state, &table(1), &set(1));
    store.commit(json!(1), &live).unwrap();
    add(&mut store, &mut state, &table(1), &set(2));
    store.replace(&table(1));
    // Another layout is fine now.
    let wide = delta("a text, b text, n bigint", "+1 x y 1 / +1 x z 2");
    store.add(&table(1), 2, wide).unwrap();
    store.commit(json!(2), &live).unwrap();
    let mut store = on(&faulty, small());
    let manifest = store.newest().unwrap().manifest.unwrap();
    let mut found = Vec::new();
    let mut each = |change| {
        found.push(show(&change));
        Ok(())
    };
    store.read(&manifest, &table(1), &mut each).unwrap();
    assert_eq!(found, ["+1 x y 1 / +1 x z 2"]);
    let other = delta("a text, b text, n bigint", "+1 x y 1");
    let error = store.add(&table(1), 1, other).unwrap_err();
    assert_eq!(error.kind, Kind::Internal);
}

#[test]
fn small_changes_become_one_block_and_a_large_one_many() {
    let faulty = Faulty::new();
    let mut store = on(&faulty, small());
    store.newest().unwrap();
    let mut state = State::new();
    for round in 0..10 {
        let rows = (0..5).map(|key| (key, Some(format!("{round}")))).collect();
        add(&mut store, &mut state, &table(1), &rows);
    }
    let rows = (0..500).map(|key| (key, Some(format!("a text that is long enough, of {key}"))));
    add(&mut store, &mut state, &table(2), &rows.collect());
    store.commit(json!(1), &[table(1), table(2)]).unwrap();
    let manifest = store.newest().unwrap().manifest.unwrap();
    let blocks = |id| manifest.tables[&table(id)].blocks().count();
    assert_eq!((blocks(1), manifest.size(&table(1)).0), (1, 5));
    assert!(blocks(2) > 10);
    let largest = manifest.tables[&table(2)]
        .blocks()
        .map(|block| block.bytes)
        .max();
    assert!(largest < Some(4000), "{largest:?}");
    assert_eq!(read(&store, &manifest).unwrap(), state);
    assert!(manifest.segments.len() > 3, "uploaded as it came");
}

#[test]
fn a_table_that_only_grows_is_read_once_and_one_that_changes_at_most_twice() {
    let faulty = Faulty::new();
    let settings = Settings {
        tidy_bytes: u64::MAX,
        ..small()
    };
    let mut store = on(&faulty, settings);
    store.newest().unwrap();
    let (mut state, mut random) = (State::new(), Random(3));
    let live = [table(1), table(2)];
    for checkpoint in 0..60 {
        let text = |key: i64| (key, Some(format!("a text that is long enough, of {key}")));
        let grown = (0..50).map(|row| text(checkpoint * 50 + row)).collect();
        add(&mut store, &mut state, &table(1), &grown);
        add(
            &mut store,
            &mut state,
            &table(2),
            &rows(&mut random, 50, 400),
        );
        store.commit(json!(checkpoint), &live).unwrap();
        while store.tidy().unwrap().more {}
    }
    store.commit(json!("last"), &live).unwrap();
    let manifest = store.newest().unwrap().manifest.unwrap();
    assert_eq!(read(&store, &manifest).unwrap(), state);
    assert_eq!(manifest.size(&table(1)).0, 60 * 50);
    let (rows, _) = manifest.size(&table(2));
    let live = state[&table(2)].len() as u64;
    assert!(rows < 3 * live, "{rows} changes of {live} rows");
}

#[test]
fn blocks_of_other_columns_stay_as_they_are_and_that_is_said() {
    for (columns, why) in [
        ("a text, n int", "its columns"),
        ("a int, n bigint", "its keys"),
    ] {
        stay_as_they_are(columns, why);
    }
}

fn stay_as_they_are(columns: &str, why: &str) {
    let settings = Settings {
        block_bytes: 1 << 20,
        ..small()
    };
    let mut store = on(&Faulty::new(), settings);
    store.newest().unwrap();
    let mut notes = Vec::new();
    for round in 0..8 {
        let columns = ["a text, n bigint", columns][round / 4];
        let change = delta(columns, &format!("+1 {round} {round}"));
        store.add(&table(1), 1, change).unwrap();
        store.commit(json!(round), &[table(1)]).unwrap();
        notes.extend(store.tidy().unwrap().notes);
    }
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("table 1.rows.0 cannot be merged") && notes[0].contains(why));
    let manifest = store.newest().unwrap().manifest.unwrap();
    let mut found = Vec::new();
    let mut each = |change| {
        found.push(show(&change));
        Ok(())
    };
    store.read(&manifest, &table(1), &mut each).unwrap();
    assert_eq!(found.last().unwrap(), "+1 7 7");
}

#[test]
fn a_commit_needs_to_know_the_newest() {
    let mut store = on(&Faulty::new(), small());
    assert_eq!(
        store.commit(json!(1), &[]).unwrap_err().kind,
        Kind::Internal
    );
    store.newest().unwrap();
    store.commit(json!(1), &[]).unwrap();
}
