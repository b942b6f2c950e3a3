//! The bounded queue between the reader of a partition and the steps.
//!
//! The bound is soft: a reader looks before it polls, so one poll more than the bound may wait.

use crate::bell::Bell;
use crate::meter::LaneMeter;
use millstream_dataflow::source::{BadRecord, Offset};
use millstream_dataflow::{Delta, Error, Watermark};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

/// A poll's rows, ready for the operators.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) delta: Delta,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) watermark: Option<Watermark>,
    pub(crate) bad: Vec<BadRecord>,
}

/// What a reader has to say.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Rows.
    Item(Item),
    /// The partition has ended for good.
    End,
    /// The reader has come to where it was told to stop.
    Reached,
    /// The partition cannot be read any further.
    Failed(Error),
}

#[derive(Debug)]
pub(crate) struct Queue {
    entries: Mutex<VecDeque<Entry>>,
    rows: AtomicUsize,
    items: AtomicUsize,
    rows_max: usize,
    items_max: usize,
    closed: AtomicBool,
    /// Rung when there is room again, or the queue closes.
    reader: Arc<Bell>,
    /// Rung when there is something to take.
    stepper: Arc<Bell>,
    pub(crate) meter: Arc<LaneMeter>,
}

/// How much may wait in a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rows: usize,
    pub(crate) items: usize,
}

impl Queue {
    pub(crate) fn new(
        limits: Limits,
        reader: Arc<Bell>,
        stepper: Arc<Bell>,
        meter: Arc<LaneMeter>,
    ) -> Self {
        Self {
            entries: Mutex::new(VecDeque::new()),
            rows: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            rows_max: limits.rows,
            items_max: limits.items,
            closed: AtomicBool::new(false),
            reader,
            stepper,
            meter,
        }
    }

    pub(crate) fn push(&self, entry: Entry) {
        if let Entry::Item(item) = &entry {
            self.rows.fetch_add(item.delta.rows(), SeqCst);
        }
        self.entries.lock().push_back(entry);
        self.items.fetch_add(1, SeqCst);
        self.stepper.ring();
    }

    /// Takes the next entry if it has no more rows than this (or none).
    pub(crate) fn pop(&self, rows_max: usize) -> Pop {
        if self.is_empty() {
            return Pop::Empty;
        }
        let mut entries = self.entries.lock();
        let rows = match entries.front() {
            None => return Pop::Empty,
            Some(Entry::Item(item)) => item.delta.rows(),
            Some(Entry::End | Entry::Reached | Entry::Failed(_)) => 0,
        };
        if rows > rows_max {
            return Pop::TooLarge;
        }
        let Some(entry) = entries.pop_front() else {
            return Pop::Empty;
        };
        drop(entries);
        let was_full = self.is_full();
        self.items.fetch_sub(1, SeqCst);
        self.rows.fetch_sub(rows, SeqCst);
        if was_full && !self.is_full() {
            self.reader.ring();
        }
        Pop::Entry(entry)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.load(SeqCst) == 0
    }

    /// Whether everything that the partition held when it was last asked has been taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_empty()
            && self.meter.caught_up.load(Relaxed)
            && self.meter.retrying.lock().is_none()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.load(SeqCst) >= self.rows_max || self.items.load(SeqCst) >= self.items_max
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.load(SeqCst)
    }

    /// Tells the reader to stop.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.reader.ring();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }
}

/// What [`Queue::pop`] found.
#[derive(Debug)]
pub(crate) enum Pop {
    /// The next entry.
    Entry(Entry),
    /// Nothing waits.
    Empty,
    /// The next entry has too many rows.
    TooLarge,
}
