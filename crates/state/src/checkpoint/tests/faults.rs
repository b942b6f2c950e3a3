//! Stores that fail, disks that are full, and two engines on one folder.

use super::faulty::{Fate, Faulty};
use super::model::{State, add, restore, small, table};
use crate::checkpoint::local::Local;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::place::{Access, Place};
use crate::checkpoint::{Settings, Store};
use millstream_dataflow::Kind;
use millstream_dataflow::testing::Random;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn open(faulty: &Faulty) -> Store {
    Store::on(Arc::new(faulty.clone()), Path::from("jobs/one"), small()).unwrap()
}

fn once(faulty: &Faulty) -> Store {
    let settings = Settings {
        attempts: 1,
        ..small()
    };
    Store::on(Arc::new(faulty.clone()), Path::from("jobs/one"), settings).unwrap()
}

fn set(key: i64) -> Vec<(i64, Option<String>)> {
    vec![(key, Some(format!("value {key}")))]
}

#[test]
fn a_store_that_fails_now_and_then_is_asked_again() {
    let faulty = Faulty::new();
    let mut random = Random(1);
    faulty.decide(move |_, _| match random.below(16) {
        0 => Fate::Lost,
        1 => Fate::Failed,
        _ => Fate::Done,
    });
    let (mut store, mut state) = (open(&faulty), State::new());
    store.newest().unwrap();
    for checkpoint in 1..20 {
        add(&mut store, &mut state, &table(1), &set(checkpoint));
        let saved = store.commit(json!(checkpoint), &[table(1)]).unwrap();
        assert_eq!(saved.sequence, checkpoint as u64);
        store.tidy().unwrap();
    }
    assert_eq!(restore(&mut open(&faulty)).unwrap().unwrap().1, state);
}

#[test]
fn a_store_that_is_away_costs_nothing_but_the_checkpoint() {
    for away in ["segment", "manifest"] {
        let faulty = Faulty::new();
        let (mut store, mut state) = (open(&faulty), State::new());
        store.newest().unwrap();
        add(&mut store, &mut state, &table(1), &set(1));
        store.commit(json!(1), &[table(1)]).unwrap();
        let before = state.clone();
        faulty.decide(
            move |verb, path| match verb == "put" && path.contains(away) {
                true => Fate::Failed,
                false => Fate::Done,
            },
        );
        for key in 2..300 {
            add(&mut store, &mut state, &table(1), &set(key));
        }
        store.abandon().unwrap();
        let error = store.commit(json!(2), &[table(1)]).unwrap_err();
        assert_eq!(error.kind, Kind::Retryable);
        assert_eq!(store.tidy().unwrap().removed, 0);
        // Whoever reads now finds the checkpoint before.
        let found = super::model::read(&store, store.kept.last().unwrap()).unwrap();
        assert_eq!(found, before);
        faulty.heal();
        add(&mut store, &mut state, &table(1), &set(300));
        assert_eq!(store.commit(json!(3), &[table(1)]).unwrap().sequence, 2);
        assert_eq!(store.waiting_bytes(), 0);
        let (manifest, found) = restore(&mut open(&faulty)).unwrap().unwrap();
        assert_eq!((manifest.about, found), (json!(3), state));
    }
}

#[test]
fn an_answer_that_is_lost_for_good_is_found_out_by_the_next_commit() {
    let faulty = Faulty::new();
    let (mut store, mut state) = (once(&faulty), State::new());
    store.newest().unwrap();
    add(&mut store, &mut state, &table(1), &set(1));
    let lose = |verb: &str, path: &str| match verb == "put" && path.contains("manifest") {
        true => Fate::Lost,
        false => Fate::Done,
    };
    faulty.decide(lose);
    let error = store.commit(json!(1), &[table(1)]).unwrap_err();
    assert_eq!(error.kind, Kind::Retryable);
    faulty.heal();
    // The same again: it is there.
    assert_eq!(store.commit(json!(1), &[table(1)]).unwrap().sequence, 1);
    add(&mut store, &mut state, &table(1), &set(2));
    faulty.decide(lose);
    store.commit(json!(2), &[table(1)]).unwrap_err();
    faulty.heal();
    // More since then: the next number.
    add(&mut store, &mut state, &table(1), &set(3));
    assert_eq!(store.commit(json!(3), &[table(1)]).unwrap().sequence, 3);
    let sequences: Vec<u64> = store
        .kept
        .iter()
        .map(|manifest| manifest.sequence)
        .collect();
    assert_eq!(sequences, [1, 2, 3]);
    assert_eq!(restore(&mut open(&faulty)).unwrap().unwrap().1, state);
}

#[test]
fn whoever_opens_a_folder_last_writes_to_it() {
    let faulty = Faulty::new();
    let (mut first, mut state) = (open(&faulty), State::new());
    first.newest().unwrap();
    add(&mut first, &mut state, &table(1), &set(1));
    first.commit(json!(1), &[table(1)]).unwrap();
    let mut second = open(&faulty);
    assert_eq!(restore(&mut second).unwrap().unwrap().1, state);
    let mut other = state.clone();
    add(&mut first, &mut other, &table(1), &set(2));
    for _ in 0..2 {
        let error = first.commit(json!("zombie"), &[table(1)]).unwrap_err();
        assert_eq!(error.kind, Kind::Fenced);
        assert_eq!(first.tidy().unwrap(), super::super::Tidied::default());
    }
    add(&mut second, &mut state, &table(1), &set(3));
    second.commit(json!(2), &[table(1)]).unwrap();
    second.tidy().unwrap();
    let (manifest, found) = restore(&mut open(&faulty)).unwrap().unwrap();
    assert_eq!((manifest.about, found), (json!(2), state));
}

/// The first engine has found itself unfenced and stops; the second opens the folder and writes; the first goes on.
#[test]
fn a_zombies_last_word_is_passed_over() {
    let faulty = Faulty::new();
    let (mut first, mut state) = (open(&faulty), State::new());
    first.newest().unwrap();
    add(&mut first, &mut state, &table(1), &set(1));
    first.commit(json!(1), &[table(1)]).unwrap();
    let mut second = open(&faulty);
    restore(&mut second).unwrap();
    let zombie = Manifest {
        sequence: 2,
        about: json!("zombie"),
        ..first.kept[0].clone()
    };
    let path = Path::from("jobs/one/manifest/00000000000000000002");
    let put = faulty
        .inner
        .put(&path, PutPayload::from(zombie.encode().unwrap()));
    futures::executor::block_on(put).unwrap();
    add(&mut second, &mut state, &table(1), &set(2));
    assert_eq!(second.commit(json!(2), &[table(1)]).unwrap().sequence, 3);
    assert_eq!(first.commit(json!(3), &[]).unwrap_err().kind, Kind::Fenced);
    let (manifest, found) = restore(&mut open(&faulty)).unwrap().unwrap();
    assert_eq!((manifest.about, found), (json!(2), state));
}

#[test]
fn what_a_living_process_uploads_is_not_removed_by_one_that_starts() {
    let faulty = Faulty::new();
    let (mut first, mut state) = (open(&faulty), State::new());
    first.newest().unwrap();
    first.commit(json!(1), &[]).unwrap();
    // It has uploaded segments that no manifest names when a second one opens the folder and sees them.
    let rows = (0..500).map(|key| (key, Some(format!("a text that is long enough, of {key}"))));
    add(&mut first, &mut state, &table(1), &rows.collect());
    let mut second = open(&faulty);
    second.newest().unwrap();
    let orphans = second.known.len();
    assert!(orphans > 1);
    assert_eq!(
        second.tidy().unwrap().removed,
        0,
        "it has not written anything"
    );
    // A third one does, and is later than both.
    let mut third = open(&faulty);
    third.newest().unwrap();
    let mut other = State::new();
    add(&mut third, &mut other, &table(1), &set(9));
    third.commit(json!(2), &[table(1)]).unwrap();
    assert_eq!(
        third.tidy().unwrap().removed,
        orphans + 2,
        "the orphans and two writers"
    );
    let segments = faulty.objects();
    let segments = segments
        .iter()
        .filter(|(name, _)| name.contains("/segment/"));
    assert_eq!(segments.count(), 1);
    assert_eq!(restore(&mut open(&faulty)).unwrap().unwrap().1, other);
}

static FULL: AtomicBool = AtomicBool::new(false);

fn sync(file: &File) -> io::Result<()> {
    match FULL.load(Ordering::Relaxed) {
        true => Err(io::ErrorKind::StorageFull.into()),
        false => file.sync_all(),
    }
}

#[test]
fn a_disk_that_is_full_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut place = Local::open(folder.path().to_owned(), Access::Write).unwrap();
    place.sync = sync;
    let mut store = Store::at(Arc::new(place), small()).unwrap();
    let mut state = State::new();
    store.newest().unwrap();
    add(&mut store, &mut state, &table(1), &set(1));
    FULL.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let error = store.commit(json!(1), &[table(1)]).unwrap_err();
        assert_eq!(error.kind, Kind::Retryable);
        assert!(error.hint.unwrap().contains("disk is full"));
    }
    FULL.store(false, Ordering::Relaxed);
    add(&mut store, &mut state, &table(1), &set(2));
    assert_eq!(store.commit(json!(2), &[table(1)]).unwrap().sequence, 1);
    assert_eq!(restore(&mut store).unwrap().unwrap().1, state);
}

#[test]
fn a_second_engine_on_a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().display().to_string();
    let store = Store::open(&url, small()).unwrap();
    let error = Store::open(&url, small()).err().unwrap();
    assert_eq!(error.kind, Kind::User);
    assert!(
        error
            .message
            .contains("another process has the checkpoints in"),
        "{error}"
    );
    drop(store);
    Store::open(&url, small()).unwrap();
}

#[test]
fn others_may_look_while_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().display().to_string();
    let error = Store::look(&url, small()).err().unwrap();
    assert!(error.message.contains("no checkpoints in"), "{error}");
    let (mut store, mut state) = (Store::open(&url, small()).unwrap(), State::new());
    store.newest().unwrap();
    add(&mut store, &mut state, &table(1), &set(1));
    store.commit(json!(1), &[table(1)]).unwrap();
    let mut other = Store::look(&url, small()).unwrap();
    assert_eq!(restore(&mut other).unwrap().unwrap().1, state);
    assert_eq!(
        other.commit(json!(2), &[]).unwrap_err().kind,
        Kind::Internal
    );
    store.commit(json!(2), &[table(1)]).unwrap();
    assert_eq!(other.newest().unwrap().manifest.unwrap().sequence, 2);
}

/// One thread writes, others may read what it restores.
#[test]
fn a_store_goes_to_other_threads() {
    let faulty = Faulty::new();
    let (mut store, mut state) = (open(&faulty), State::new());
    store.newest().unwrap();
    let rows = (0..500).map(|key| (key, Some(format!("a text that is long enough, of {key}"))));
    add(&mut store, &mut state, &table(1), &rows.collect());
    let mut store = std::thread::spawn(move || {
        store.commit(json!(1), &[table(1)]).unwrap();
        store
    })
    .join()
    .unwrap();
    let manifest = store.newest().unwrap().manifest.unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(super::model::read(&store, &manifest).unwrap(), state);
                }
            });
        }
    });
}

/// A place that counts what is asked of it.
struct Counted(Local, std::sync::Mutex<BTreeMap<&'static str, usize>>);

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Counted {
    fn count(&self, verb: &'static str, by: usize) {
        *self.1.lock().unwrap().entry(verb).or_default() += by;
    }
}

impl Place for Counted {
    fn list(&self, folder: &str) -> millstream_dataflow::Result<BTreeMap<String, u64>> {
        self.count("list", 1);
        self.0.list(folder)
    }

    fn read(&self, name: &str) -> millstream_dataflow::Result<Option<arrow::buffer::Buffer>> {
        self.0.read(name)
    }

    fn spans(
        &self,
        spans: &[crate::checkpoint::place::Span],
    ) -> millstream_dataflow::Result<Vec<arrow::buffer::Buffer>> {
        let bytes: u64 = spans.iter().map(|(_, range)| range.end - range.start).sum();
        self.count("bytes read", bytes as usize);
        self.0.spans(spans)
    }

    fn write(&self, name: &str, parts: &[bytes::Bytes]) -> millstream_dataflow::Result<()> {
        self.count("write", 1);
        self.count("bytes written", parts.iter().map(bytes::Bytes::len).sum());
        self.0.write(name, parts)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> millstream_dataflow::Result<bool> {
        self.count("bytes written", bytes.len());
        self.0.create(name, bytes)
    }

    fn remove(&self, names: &[String]) -> millstream_dataflow::Result<()> {
        self.0.remove(names)
    }
}

#[test]
fn a_checkpoint_costs_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::open(folder.path().to_owned(), Access::Write).unwrap();
    let place = Arc::new(Counted(local, std::sync::Mutex::default()));
    let mut store = Store::at(Arc::clone(&place) as Arc<dyn Place>, Settings::default()).unwrap();
    store.newest().unwrap();
    let mut state = State::new();
    let rows = (0..20_000).map(|key| (key, Some(format!("a text that is long enough, of {key}"))));
    add(&mut store, &mut state, &table(1), &rows.collect());
    store.commit(json!(1), &[table(1)]).unwrap();
    let all = place.1.lock().unwrap()["bytes written"];
    assert!(all > 1_000_000);
    place.1.lock().unwrap().clear();
    for checkpoint in 2..30 {
        add(&mut store, &mut state, &table(1), &set(checkpoint));
        store.commit(json!(checkpoint), &[table(1)]).unwrap();
        while store.tidy().unwrap().more {}
    }
    let counts = place.1.lock().unwrap().clone();
    assert!(counts["bytes written"] < all / 10, "{counts:?}");
    assert!(
        counts.get("bytes read").is_none_or(|read| *read < all / 10),
        "{counts:?}"
    );
    assert_eq!(restore(&mut store).unwrap().unwrap().1, state);
}
