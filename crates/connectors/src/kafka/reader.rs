//! Reads one partition of a topic.

use super::batch::{Batch, Message, Queue};
use super::client::{Claim, code_error};
use super::rows::Rows;
use arrow::array::RecordBatch;
use millstream_dataflow::source::{Offset, Polled, Reader, RowOffsets, State};
use millstream_dataflow::{Delta, Error, Result};
use rdkafka::error::RDKafkaErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// Messages are taken at most so many at a time,
const CHUNK: usize = 8192;

/// and about so many bytes.
const CHUNK_BYTES: usize = 4 << 20;

/// Reads one partition.
pub(super) struct PartitionReader {
    // Dropped in this order: messages, their queue, the right to read.
    batch: Batch,
    queue: Queue,
    claim: Claim,
    rows: Rows,
    position: i64,
    /// The position that the group was told last.
    stored: i64,
    end: Option<i64>,
    /// How many doubts about partitions were looked into.
    doubts_seen: u64,
    /// An error that came behind messages, for the next poll.
    pending: Option<Error>,
    /// How many messages of the last ones' size are taken at a time.
    chunk: usize,
}

impl PartitionReader {
    /// Begins to read a partition at an offset.
    pub(super) fn new(mut claim: Claim, rows: Rows, from: i64, end: Option<i64>) -> Result<Self> {
        let (topic, partition) = (&rows.topic, rows.partition);
        let queue = Queue::new(&claim.consumer, topic, partition)
            .ok_or_else(|| Error::user(format!("'{topic}' is no name of a topic")))?;
        if end.is_none_or(|end| from < end) {
            claim.assign(from)?;
        }
        Ok(Self {
            batch: Batch::default(),
            queue,
            claim,
            rows,
            position: from,
            stored: from,
            end,
            doubts_seen: 0,
            pending: None,
            chunk: CHUNK,
        })
    }

    fn at_end(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    fn polled(&self, delta: Delta, offsets: RowOffsets, caught_up: bool) -> Polled {
        Polled {
            delta,
            offsets,
            bad: Vec::new(),
            position: Offset(self.position),
            state: match (self.at_end(), caught_up) {
                (true, _) => State::End,
                (false, true) => State::CaughtUp,
                (false, false) => State::More,
            },
        }
    }

    fn nothing(&self) -> Polled {
        let batch = RecordBatch::new_empty(Arc::clone(&self.rows.schema));
        let offsets = RowOffsets::Consecutive(Offset(self.position));
        self.polled(Delta::inserts(batch), offsets, true)
    }

    /// Being asked again says that what was given before was taken.
    fn store(&mut self) {
        if self.position > self.stored {
            self.claim.store(self.position);
            self.stored = self.position;
        }
    }
}

impl Reader for PartitionReader {
    fn poll(&mut self, rows_max: usize, wait: Duration) -> Result<Polled> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        self.store();
        if self.at_end() || rows_max == 0 {
            return Ok(self.nothing());
        }
        if self.batch.is_used_up() {
            let max = rows_max.min(self.chunk);
            self.queue.take(&mut self.batch, max, wait);
        }
        if self.batch.is_used_up() {
            let consumer = &self.claim.consumer;
            consumer.serve()?;
            consumer.verify(&self.rows.topic, self.rows.partition, &mut self.doubts_seen)?;
            return Ok(self.nothing());
        }
        let run = Run::of(&self.batch, rows_max, self.position, self.end);
        let place = || format!("'{}/{}'", self.rows.topic, self.rows.partition);
        self.pending = run.error.as_ref().map(|(code, text)| {
            let what = format!("{} cannot be read at offset {}", place(), run.position);
            code_error(&what, *code, text)
        });
        let context = place();
        let made = self.rows.make(&run.messages);
        let made = made.map_err(|error| error.context(context))?;
        self.chunk = run.chunk().unwrap_or(self.chunk);
        self.position = run.position;
        let (used, caught_up, rows) = (run.used, run.caught_up, run.messages.len());
        self.batch.advance(used);
        if rows == 0
            && let Some(error) = self.pending.take()
        {
            return Err(error);
        }
        Ok(Polled {
            bad: made.bad,
            ..self.polled(made.delta, made.offsets, caught_up)
        })
    }

    fn end(&mut self) -> Option<Offset> {
        self.end.or_else(|| self.queue.high_watermark()).map(Offset)
    }
}

/// The messages of a batch that are rows, up to an error or as many as are wanted.
struct Run<'a> {
    messages: Vec<Message<'a>>,
    /// How many of the batch's messages these are, with those that are no rows.
    used: usize,
    /// Where they lead.
    position: i64,
    /// Whether nothing more was there behind them.
    caught_up: bool,
    error: Option<(RDKafkaErrorCode, String)>,
}

impl<'a> Run<'a> {
    fn of(batch: &'a Batch, max: usize, position: i64, end: Option<i64>) -> Self {
        let mut run = Self {
            messages: Vec::new(),
            used: 0,
            position,
            caught_up: false,
            error: None,
        };
        for message in batch.rest() {
            if run.messages.len() == max {
                break;
            }
            run.used += 1;
            match message.error() {
                Some((RDKafkaErrorCode::PartitionEOF, _)) => {
                    // Aborted records and the marks of transactions have offsets too: the end may be behind the last
                    // record.
                    run.position = run.position.max(message.offset());
                    run.caught_up = true;
                }
                Some(error) => {
                    run.error = Some(error);
                    break;
                }
                None if end.is_some_and(|end| message.offset() >= end) => {
                    run.position = run.position.max(end.unwrap_or(0));
                    break;
                }
                None => {
                    run.position = message.offset() + 1;
                    run.caught_up = false;
                    run.messages.push(message);
                }
            }
        }
        run
    }

    /// How many messages of this size make a poll.
    fn chunk(&self) -> Option<usize> {
        let bytes = |message: &Message<'_>| message.value().map_or(0, <[u8]>::len);
        let bytes: usize = self.messages.iter().map(bytes).sum();
        let mean = bytes.checked_div(self.messages.len())?;
        Some((CHUNK_BYTES / mean.max(1)).clamp(16, CHUNK))
    }
}
