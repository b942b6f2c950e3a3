//! Damage: a flipped or missing byte anywhere gives the checkpoint before, or an error; never other rows.

use super::faulty::Faulty;
use super::model::{State, add, restore, rows, small, table};
use crate::checkpoint::manifest::{Manifest, SegmentId};
use crate::checkpoint::{Codec, Settings, Store};
use millstream_dataflow::Kind;
use millstream_dataflow::testing::Random;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

struct Saved {
    store: Faulty,
    settings: Settings,
    /// The state at each checkpoint, by what is said about it.
    states: BTreeMap<u64, State>,
    objects: BTreeMap<String, Vec<u8>>,
}

impl Saved {
    /// Some checkpoints, after merges and moves; the last has segments of its own.
    fn new(codec: Codec) -> Self {
        let settings = Settings { codec, ..small() };
        let faulty = Faulty::new();
        let mut store = open(&faulty, &settings);
        store.newest().unwrap();
        let (mut state, mut random) = (State::new(), Random(11));
        let mut states = BTreeMap::new();
        // Old rows that no checkpoint changes.
        add(
            &mut store,
            &mut state,
            &table(3),
            &rows(&mut random, 10, 40),
        );
        for checkpoint in 1_u64..=6 {
            for id in [table(1), table(2)] {
                add(&mut store, &mut state, &id, &rows(&mut random, 10, 40));
            }
            let live = [table(1), table(2), table(3)];
            store.commit(json!(checkpoint), &live).unwrap();
            states.insert(checkpoint, state.clone());
            while store.tidy().unwrap().more {}
        }
        let mut saved = Self {
            store: faulty,
            settings,
            states,
            objects: BTreeMap::new(),
        };
        for (name, _) in saved.store.objects() {
            let path = Path::from(name.as_str());
            let bytes = futures::executor::block_on(async {
                saved.store.inner.get(&path).await?.bytes().await
            });
            saved.objects.insert(name, bytes.unwrap().to_vec());
        }
        saved
    }

    fn put(&self, name: &str, bytes: Option<Vec<u8>>) {
        let path = Path::from(name);
        futures::executor::block_on(async {
            match bytes {
                Some(bytes) => self
                    .store
                    .inner
                    .put(&path, PutPayload::from(bytes))
                    .await
                    .map(|_| ()),
                None => self.store.inner.delete(&path).await,
            }
        })
        .unwrap();
    }

    /// Restores with other bytes of an object. Gives which checkpoint was used; none after an error.
    fn restored(&self, name: &str, bytes: Option<Vec<u8>>) -> Option<u64> {
        self.put(name, bytes);
        let mut store = open(&self.store, &self.settings);
        let found = restore(&mut store);
        let used = match found {
            Ok(found) => {
                let (manifest, state) = found.expect("checkpoints are there");
                let about = manifest.about.as_u64().unwrap();
                assert_eq!(state, self.states[&about], "{name}");
                Some(about)
            }
            Err(error) => {
                assert_eq!(error.kind, Kind::User, "{error}");
                assert!(error.message.contains("none of the checkpoints"), "{error}");
                None
            }
        };
        drop(store);
        self.put(name, Some(self.objects[name].clone()));
        used
    }

    fn named(&self, folder: &str) -> Vec<(&String, &Vec<u8>)> {
        let folder = format!("jobs/one/{folder}/");
        let objects = self.objects.iter();
        objects
            .filter(|(name, _)| name.starts_with(&folder))
            .collect()
    }
}

fn open(faulty: &Faulty, settings: &Settings) -> Store {
    let store: Arc<dyn ObjectStore> = Arc::new(faulty.clone());
    Store::on(store, Path::from("jobs/one"), settings.clone()).unwrap()
}

#[test]
fn a_damaged_manifest_gives_the_checkpoint_before() {
    let saved = Saved::new(Codec::None);
    let manifests = saved.named("manifest");
    assert_eq!(manifests.len(), 3);
    let (name, bytes) = manifests[2];
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(saved.restored(name, Some(flipped)), Some(5));
        if at % 7 == 0 {
            assert_eq!(saved.restored(name, Some(bytes[..at].to_vec())), Some(5));
        }
    }
    assert_eq!(saved.restored(name, None), Some(5), "it was never there");
    assert_eq!(saved.restored(name, Some(bytes.clone())), Some(6));
}

#[test]
fn damaged_segments_give_the_checkpoint_before_or_an_error() {
    for codec in [Codec::None, Codec::Lz4] {
        let saved = Saved::new(codec);
        let segments = saved.named("segment");
        let (_, newest) = saved.named("manifest")[2];
        let newest = Manifest::decode(newest).unwrap().segments;
        let own = newest.keys().max().unwrap();
        let mut used = BTreeMap::new();
        for (name, bytes) in segments {
            let id = SegmentId::parse(name.rsplit('/').next().unwrap()).unwrap();
            for at in (0..bytes.len()).step_by(29) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                let found = saved.restored(name, Some(flipped));
                *used.entry(found).or_insert(0) += 1;
                if id == *own {
                    assert!(found >= Some(5), "{found:?}");
                }
            }
            let whole = !newest.contains_key(&id);
            for at in (0..bytes.len()).step_by(211) {
                let found = saved.restored(name, Some(bytes[..at].to_vec()));
                assert_eq!(found == Some(6), whole);
            }
            assert_eq!(saved.restored(name, None) == Some(6), whole);
        }
        // Padding is nobody's, the newest blocks are the last checkpoint's, older ones several have.
        let mut times = |found| used.remove(&found).unwrap_or(0);
        let (last, before) = (times(Some(6)), times(Some(5)));
        let earlier: u32 = used.values().sum();
        assert!(
            last.min(before).min(earlier) > 10,
            "{last} {before} {earlier}"
        );
    }
}

#[test]
fn what_was_skipped_is_said() {
    let saved = Saved::new(Codec::None);
    let (name, bytes) = saved.named("manifest")[2];
    saved.put(name, Some(bytes[..bytes.len() - 1].to_vec()));
    let mut store = open(&saved.store, &saved.settings);
    let found = store.newest().unwrap();
    assert_eq!(found.manifest.unwrap().sequence, 5);
    let [note] = found.notes.as_slice() else {
        panic!("{:?}", found.notes);
    };
    assert!(
        note.starts_with("checkpoint 6 is damaged: of its manifest: it has"),
        "{note}"
    );
    assert!(note.ends_with("checkpoint 5 is used"), "{note}");
    // The number is not given out again.
    assert_eq!(
        store
            .commit(json!(7), &[table(1), table(2)])
            .unwrap()
            .sequence,
        7
    );
    assert_eq!(
        open(&saved.store, &saved.settings)
            .newest()
            .unwrap()
            .notes
            .len(),
        0
    );
}

#[test]
fn a_manifest_of_another_version_is_refused() {
    let saved = Saved::new(Codec::None);
    let json = br#"{"something":"else"}"#;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&9_u32.to_le_bytes()), json);
    let line = format!("millstream checkpoint 9 {} {sum:08x}\n", json.len());
    let name = "jobs/one/manifest/00000000000000000007";
    saved.put(name, Some([line.as_bytes(), json].concat()));
    let error = open(&saved.store, &saved.settings).newest().unwrap_err();
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.contains("format version 9"), "{error}");
}

#[test]
fn damage_that_a_merge_meets_is_told() {
    let saved = Saved::new(Codec::None);
    let mut store = open(&saved.store, &saved.settings);
    store.newest().unwrap();
    for (name, bytes) in saved.named("segment") {
        saved.put(name, Some(vec![7; bytes.len()]));
    }
    let mut random = Random(5);
    let error = loop {
        let mut state = State::new();
        add(
            &mut store,
            &mut state,
            &table(1),
            &rows(&mut random, 30, 40),
        );
        store.commit(json!(7), &[table(1)]).unwrap();
        if let Err(error) = store.tidy() {
            break error;
        }
    };
    assert_eq!(error.kind, Kind::BadData);
    // The remedy: all of the table again.
    store.replace(&table(1));
    let mut state = State::new();
    add(
        &mut store,
        &mut state,
        &table(1),
        &rows(&mut random, 30, 40),
    );
    store.commit(json!(8), &[table(1)]).unwrap();
    assert_eq!(
        restore(&mut open(&saved.store, &saved.settings))
            .unwrap()
            .unwrap()
            .1,
        state
    );
}
