//! What a job's transactions say of themselves in its progress topic, and what follows from it. Pure.
//!
//! ```text
//! opening a 0 | commit a 1 | commit a 2 (two parts) | opening b 0 | commit b 1 | mark b 2 | commit b 3
//!              \_ the records of the steps ________/ \_ from here on a is fenced        \_ after an error: is commit 1 there?
//! ```
//!
//! Each message is of an *instance* (a job as one process opened it) and has the instance's next number. All are written in
//! transactions, so a reader of what is committed finds a commit's parts together or not at all; an instance that finds
//! its own message with a number knows that all that it began before has been decided.

use millstream_dataflow::{Error, Result};
use std::collections::VecDeque;

/// The version of the messages' form.
const VERSION: u8 = 1;

/// Version, kind, instance, number.
const HEAD: usize = 1 + 1 + 16 + 8;

/// A message of the progress topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) instance: u128,
    pub(super) number: u64,
    pub(super) note: Note,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The instance has taken the job's place.
    Opening { process: u64, who: String },
    /// The instance looks where it stands.
    Mark,
    /// A transaction with output; its records' bytes, a part of them.
    Commit {
        part: u32,
        last: bool,
        bytes: Vec<u8>,
    },
}

impl Message {
    /// The message as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, 0];
        bytes.extend(self.instance.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        match &self.note {
            Note::Opening { process, who } => {
                bytes.extend(process.to_le_bytes());
                bytes.extend(who.as_bytes());
            }
            Note::Mark => bytes[1] = 1,
            Note::Commit {
                part,
                last,
                bytes: of_records,
            } => {
                bytes[1] = if *last { 3 } else { 2 };
                bytes.extend(part.to_le_bytes());
                bytes.extend(of_records);
            }
        }
        bytes
    }

    /// The message that bytes are.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        if head[0] != VERSION {
            return None;
        }
        let note = match head[1] {
            0 => {
                let (process, who) = rest.split_first_chunk()?;
                Note::Opening {
                    process: u64::from_le_bytes(*process),
                    who: String::from_utf8_lossy(who).into_owned(),
                }
            }
            1 => Note::Mark,
            kind @ (2 | 3) => {
                let (part, bytes) = rest.split_first_chunk()?;
                Note::Commit {
                    part: u32::from_le_bytes(*part),
                    last: kind == 3,
                    bytes: bytes.to_vec(),
                }
            }
            _ => return None,
        };
        Some(Self {
            instance: u128::from_le_bytes(head[2..18].try_into().ok()?),
            number: u64::from_le_bytes(head[18..].try_into().ok()?),
            note,
        })
    }
}

/// The notes of a transaction with these records, none longer than `part_max` bytes.
pub(super) fn notes(records: &[Vec<u8>], part_max: usize) -> Vec<Note> {
    let mut all = Vec::new();
    for record in records {
        all.extend((record.len() as u64).to_le_bytes());
        all.extend(record);
    }
    let parts = all.len().div_ceil(part_max).max(1);
    let part = |part: usize| {
        let end = all.len().min((part + 1) * part_max);
        Note::Commit {
            part: part as u32,
            last: part + 1 == parts,
            bytes: all[part * part_max..end].to_vec(),
        }
    };
    (0..parts).map(part).collect()
}

/// The records that bytes hold.
fn records(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (record, rest) = rest.split_at_checked(length)?;
        records.push(record.to_vec());
        bytes = rest;
    }
    Some(records)
}

/// What an instance has read of its job's progress.
#[derive(Debug)]
pub(super) struct Ledger {
    instance: u128,
    /// Where reading goes on; `None`: from the beginning.
    pub(super) position: Option<i64>,
    /// How many records there were.
    total: u64,
    /// For each commit that was not let go: how many records there were with its own, and the offset behind it.
    ends: VecDeque<(u64, i64)>,
    /// The number of the last own message.
    seen: Option<u64>,
    /// The number of the last own commit.
    committed: Option<u64>,
    /// Who took this instance's place.
    successor: Option<Successor>,
    /// The parts of a commit that is not complete.
    parts: Vec<u8>,
    /// The part that comes next; `None`: reading began, and may have begun inside a commit.
    parts_next: Option<u32>,
}

/// An instance that came after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Successor {
    pub(super) process: u64,
    pub(super) who: String,
    /// When, in milliseconds since 1970.
    pub(super) at_ms: Option<i64>,
}

impl Ledger {
    /// Nothing has been read.
    pub(super) fn new(instance: u128) -> Self {
        Self {
            instance,
            position: None,
            total: 0,
            ends: VecDeque::new(),
            seen: None,
            committed: None,
            successor: None,
            parts: Vec::new(),
            parts_next: None,
        }
    }

    /// Takes the next message of the topic. Gives the records of a commit that ends with it.
    ///
    /// # Errors
    /// `User`: it is no message of a job's progress, or one of another version.
    pub(super) fn take(
        &mut self,
        offset: i64,
        at_ms: Option<i64>,
        bytes: &[u8],
    ) -> Result<Vec<Vec<u8>>> {
        let foreign = || {
            Error::user(format!(
                "the message at offset {offset} of the job's progress topic is not one that this version writes"
            ))
        };
        let message = Message::decode(bytes).ok_or_else(foreign)?;
        self.position = Some(offset + 1);
        let own = message.instance == self.instance;
        let is_whole = !matches!(message.note, Note::Commit { last: false, .. });
        if own && is_whole {
            self.seen = Some(message.number);
        }
        match message.note {
            Note::Mark => Ok(Vec::new()),
            Note::Opening { process, who } => {
                // Those before the own opening are history.
                if !own && self.seen.is_some() {
                    self.successor = Some(Successor {
                        process,
                        who,
                        at_ms,
                    });
                }
                Ok(Vec::new())
            }
            Note::Commit { part, last, bytes } => {
                if part == 0 {
                    self.parts.clear();
                    self.parts_next = Some(0);
                }
                let Some(next) = self.parts_next else {
                    return Ok(Vec::new());
                };
                if part != next {
                    return Err(foreign());
                }
                self.parts_next = Some(next + 1);
                self.parts.extend(bytes);
                if !last {
                    return Ok(Vec::new());
                }
                let records = records(&std::mem::take(&mut self.parts)).ok_or_else(foreign)?;
                self.total += records.len() as u64;
                self.ends.push_back((self.total, offset + 1));
                if own {
                    self.committed = Some(message.number);
                }
                Ok(records)
            }
        }
    }

    /// Whether the own message with this number has been read.
    pub(super) fn has_seen(&self, number: u64) -> bool {
        self.seen.is_some_and(|seen| seen >= number)
    }

    /// Whether the own commit with this number has been read, or one that came after it.
    pub(super) fn has_committed(&self, number: u64) -> bool {
        self.committed.is_some_and(|committed| committed >= number)
    }

    /// Who took this instance's place.
    pub(super) fn successor(&self) -> Option<&Successor> {
        self.successor.as_ref()
    }

    /// The offset before which nothing is needed, when the first `count` records are not.
    pub(super) fn needed_from(&mut self, count: u64) -> Option<i64> {
        let mut from = None;
        while let Some((total, end)) = self.ends.front()
            && *total <= count
        {
            from = Some(*end);
            self.ends.pop_front();
        }
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(instance: u128, number: u64, note: Note) -> Message {
        Message {
            instance,
            number,
            note,
        }
    }

    fn opening(who: &str) -> Note {
        Note::Opening {
            process: 7,
            who: who.into(),
        }
    }

    /// Gives the messages to a ledger, from offset 10 on, every second one.
    fn read(ledger: &mut Ledger, messages: &[Message]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        for (idx, message) in messages.iter().enumerate() {
            let offset = 10 + 2 * idx as i64;
            records.extend(ledger.take(offset, Some(5), &message.encode()).unwrap());
        }
        records
    }

    fn commits(instance: u128, number: u64, records: &[&[u8]], part_max: usize) -> Vec<Message> {
        let records: Vec<Vec<u8>> = records.iter().map(|record| record.to_vec()).collect();
        notes(&records, part_max)
            .into_iter()
            .map(|note| message(instance, number, note))
            .collect()
    }

    #[test]
    fn records_come_back_however_they_are_cut_into_parts() {
        for part_max in [1, 3, 8, 1000] {
            let messages = commits(1, 1, &[b"first", b"", b"third"], part_max);
            let mut ledger = Ledger::new(1);
            let (last, before) = messages.split_last().unwrap();
            read(&mut ledger, before);
            assert!(!ledger.has_seen(1) && !ledger.has_committed(1));
            read(&mut ledger, std::slice::from_ref(last));
            assert!(ledger.has_seen(1) && ledger.has_committed(1));
            let found = read(&mut Ledger::new(1), &messages);
            assert_eq!(found, [b"first".to_vec(), b"".to_vec(), b"third".to_vec()]);
        }
        let empty = commits(1, 1, &[], 10);
        assert_eq!(empty.len(), 1, "a commit without records is seen too");
        assert_eq!(read(&mut Ledger::new(1), &empty), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_later_opening_is_a_successor_and_an_earlier_one_is_not() {
        let mut ledger = Ledger::new(2);
        let history = [message(1, 0, opening("one")), message(2, 0, opening("two"))];
        read(&mut ledger, &history);
        assert!(ledger.has_seen(0) && ledger.successor().is_none());
        read(&mut ledger, &[message(1, 1, Note::Mark)]);
        assert!(
            ledger.successor().is_none(),
            "a zombie that looks where it stands"
        );
        read(&mut ledger, &[message(3, 0, opening("three"))]);
        assert_eq!(ledger.successor().unwrap().who, "three");
    }

    #[test]
    fn a_lost_commit_is_decided_by_what_is_there() {
        let mut ledger = Ledger::new(1);
        let mut messages = vec![message(1, 0, opening("one"))];
        messages.extend(commits(1, 1, &[b"a"], 10));
        messages.push(message(1, 3, Note::Mark));
        read(&mut ledger, &messages);
        assert!(ledger.has_committed(1) && !ledger.has_committed(2) && ledger.has_seen(3));
    }

    #[test]
    fn whole_commits_are_let_go() {
        let mut ledger = Ledger::new(1);
        let mut messages = commits(1, 1, &[b"a", b"b"], 10);
        messages.extend(commits(1, 2, &[b"c"], 100));
        messages.extend(commits(1, 3, &[], 100));
        let first = messages.len() as i64 - 2;
        read(&mut ledger, &messages);
        assert_eq!(ledger.needed_from(1), None);
        assert_eq!(ledger.needed_from(2), Some(10 + 2 * (first - 1) + 1));
        assert_eq!(ledger.needed_from(2), None);
        assert_eq!(ledger.needed_from(3), Some(10 + 2 * (first + 1) + 1));
    }

    #[test]
    fn what_is_no_progress_is_refused() {
        let good = commits(1, 1, &[b"a", b"b"], 10);
        let mut other = good[0].encode();
        other[0] = VERSION + 1;
        let ledger = || Ledger::new(1);
        for bad in [
            &other,
            &good[0].encode()[..20].to_vec(),
            &b"{\"id\":1}".to_vec(),
        ] {
            assert!(ledger().take(0, None, bad).is_err());
        }
        let mut twice = ledger();
        twice.take(0, None, &good[0].encode()).unwrap();
        twice.take(1, None, &good[1].encode()).unwrap();
        assert!(twice.take(2, None, &good[1].encode()).is_err());
    }

    #[test]
    fn a_commit_whose_beginning_was_let_go_is_none() {
        let messages = commits(1, 1, &[b"a", b"b"], 10);
        let found = read(&mut Ledger::new(1), &messages[1..]);
        assert_eq!(found, Vec::<Vec<u8>>::new());
    }
}
