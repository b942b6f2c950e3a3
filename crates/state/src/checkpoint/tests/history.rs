//! Histories at random: changes, commits, failures, tidying, crashes. After each the store is compared with a plain map
//! of every checkpoint that it may hold.

use super::faulty::{Fate, Faulty};
use super::model::{State, add, read, restore, rows, small, table};
use crate::checkpoint::manifest::{SegmentId, Table};
use crate::checkpoint::{Codec, Settings, Store, TableId};
use millstream_dataflow::Kind;
use millstream_dataflow::testing::Random;
use object_store::path::Path;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

const TABLES: u32 = 4;

struct History {
    faulty: Faulty,
    settings: Settings,
    random: Random,
    store: Store,
    state: State,
    /// The state at each commit that was tried, by its number.
    tried: BTreeMap<u64, State>,
    /// The last commit that was confirmed; after it came those that may be there.
    confirmed: Option<u64>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed * 2 + 1);
        let settings = Settings {
            keep: random.below(3) + 1,
            attempts: random.below(2) as u32 + 1,
            codec: [Codec::None, Codec::Lz4][random.below(2)],
            ..small()
        };
        let faulty = Faulty::new();
        let mut store = open(&faulty, &settings);
        store.newest().unwrap();
        Self {
            faulty,
            settings,
            random,
            store,
            state: State::new(),
            tried: BTreeMap::new(),
            confirmed: None,
        }
    }

    /// From now on a part of all requests fails, before or after it was done.
    fn break_store(&mut self) {
        let seed = self.random.below(1 << 20) as u64 + 1;
        let random = Mutex::new(Random(seed));
        self.faulty
            .decide(move |_, _| match random.lock().unwrap().below(6) {
                0 => Fate::Failed,
                1 => Fate::Lost,
                _ => Fate::Done,
            });
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0..=5 => self.change(),
            6..=8 => self.commit(),
            9 => self.tidy(),
            10 if self.random.below(3) == 0 => self.crash(),
            10 if self.random.below(2) == 0 => self.die(),
            10 => self.store.abandon().unwrap(),
            _ if self.random.below(2) == 0 => self.break_store(),
            _ => self.faulty.heal(),
        }
    }

    fn change(&mut self) {
        let id = table(self.random.below(TABLES as usize) as u32);
        let count = [1, 5, 60][self.random.below(3)];
        if self.random.below(12) == 0 {
            self.store.replace(&id);
            self.state.remove(&id);
        }
        let rows = rows(&mut self.random, count, 90);
        add(&mut self.store, &mut self.state, &id, &rows);
    }

    fn commit(&mut self) {
        let number = self.tried.last_key_value().map_or(1, |(last, _)| last + 1);
        let mut live: BTreeSet<TableId> = self.state.keys().cloned().collect();
        if self.random.below(8) == 0 {
            live.pop_first();
        }
        let mut state = self.state.clone();
        state.retain(|id, _| live.contains(id));
        self.tried.insert(number, state.clone());
        let live: Vec<TableId> = live.into_iter().collect();
        match self.store.commit(json!(number), &live) {
            Ok(_) => {
                self.confirmed = Some(number);
                self.state = state;
            }
            // It is as if the tables still lived: the next try may say so.
            Err(error) => assert_eq!(error.kind, Kind::Retryable, "{error}"),
        }
        self.check();
    }

    fn tidy(&mut self) {
        match self.store.tidy() {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind, Kind::Retryable, "{error}"),
        }
        self.check();
    }

    /// The process ends within a commit or a tidying: none of its requests after some is made, the last maybe without its
    /// answer.
    fn die(&mut self) {
        let mut left = self.random.below(16);
        let last = [Fate::Done, Fate::Lost][self.random.below(2)];
        self.faulty.decide(move |_, _| {
            left = left.saturating_sub(1);
            match left {
                0 => Fate::Failed,
                1 => last,
                _ => Fate::Done,
            }
        });
        self.change();
        self.commit();
        if self.random.below(2) == 0 {
            self.tidy();
        }
        self.crash();
    }

    /// The process ends, and another one restores what is there.
    fn crash(&mut self) {
        self.faulty.heal();
        self.store = open(&self.faulty, &self.settings);
        let found = restore(&mut self.store).unwrap();
        assert!(
            self.store.newest().unwrap().notes.is_empty(),
            "nothing is damaged"
        );
        let Some((manifest, state)) = found else {
            assert_eq!(self.confirmed, None, "a checkpoint is lost");
            self.state = State::new();
            return;
        };
        let number = manifest.about.as_u64().unwrap();
        assert!(self.confirmed <= Some(number), "an old checkpoint");
        assert_eq!(state, self.tried[&number]);
        self.confirmed = Some(number);
        self.state = state;
        if self.random.below(2) == 0 {
            // Tables that were restored give everything first.
            for (id, rows) in self.state.clone() {
                self.store.replace(&id);
                let rows = rows.into_iter().map(|(key, value)| (key, Some(value)));
                self.state.remove(&id);
                add(&mut self.store, &mut self.state, &id, &rows.collect());
            }
        }
    }

    /// All that is to be kept can be read, and is what it was.
    fn check(&self) {
        let healthy = self.faulty.clone();
        let broken = healthy.suspend();
        let mut kept = 0;
        for manifest in &self.store.kept {
            let number = manifest.about.as_u64().unwrap();
            let state = read(&self.store, manifest).unwrap();
            assert_eq!(state, self.tried[&number]);
            kept += 1;
        }
        let commits = self.store.next.unwrap() as usize - 1;
        assert!(
            kept >= self.settings.keep.min(commits),
            "{kept} of {commits}"
        );
        healthy.resume(broken);
    }

    /// Without faults, nothing is there but what is named.
    fn check_garbage(&mut self) {
        self.faulty.heal();
        self.commit();
        while self.store.tidy().unwrap().more {
            self.commit();
        }
        self.store.tidy().unwrap();
        let mut named: BTreeSet<SegmentId> = BTreeSet::new();
        for manifest in &self.store.kept {
            named.extend(manifest.segments.keys());
        }
        let blocks = self.store.base.values().flat_map(Table::blocks);
        named.extend(blocks.map(|block| block.segment));
        let objects = self.faulty.objects();
        let leaves = |folder: &str| {
            let folder = format!("one/{folder}/");
            let names = objects
                .iter()
                .filter_map(move |(name, _)| name.strip_prefix(&folder).map(str::to_owned));
            names.collect::<Vec<String>>()
        };
        let there: BTreeSet<SegmentId> = leaves("segment")
            .iter()
            .map(|leaf| SegmentId::parse(leaf).unwrap())
            .collect();
        assert_eq!(there, named);
        assert_eq!(leaves("manifest").len(), self.store.kept.len());
        assert!(self.store.kept.len() <= self.settings.keep);
        assert_eq!(leaves("writer").len(), 1);
    }
}

fn open(faulty: &Faulty, settings: &Settings) -> Store {
    Store::on(
        Arc::new(faulty.clone()),
        Path::from("one"),
        settings.clone(),
    )
    .unwrap()
}

fn run(seed: u64, steps: usize) {
    let mut history = History::new(seed);
    for _ in 0..steps {
        history.step();
    }
    history.crash();
    history.check_garbage();
}

/// `SEEDS=1000` tries more of them.
#[test]
fn random_histories_lose_nothing_and_leave_nothing() {
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(20) {
        let ran = std::panic::catch_unwind(|| run(seed, 150));
        assert!(ran.is_ok(), "seed {seed}");
    }
}
