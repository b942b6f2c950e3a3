//! Reads one partition of a topic.

use super::batch::{Batch, Queue};
use super::client::{Consumer, code_error};
use super::rows::Rows;
use arrow::array::RecordBatch;
use millstream_dataflow::source::{Offset, Polled, Reader, State};
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
    // Dropped in this order: messages, their queue, the consumer.
    batch: Batch,
    queue: Queue,
    consumer: Arc<Consumer>,
    rows: Rows,
    position: i64,
    /// The position that the group was told last.
    stored: i64,
    end: Option<i64>,
    /// An error that came behind messages, for the next poll.
    pending: Option<Error>,
    /// How many messages of the last one's size are taken at a time.
    chunk: usize,
}

impl PartitionReader {
    /// Begins to read a partition at an offset.
    pub(super) fn new(
        consumer: &Arc<Consumer>,
        rows: Rows,
        from: i64,
        end: Option<i64>,
    ) -> Result<Self> {
        let (topic, partition) = (&rows.topic, rows.partition);
        let queue = Queue::new(consumer, topic, partition)
            .ok_or_else(|| Error::user(format!("'{topic}' is no name of a topic")))?;
        if end.is_none_or(|end| from < end) {
            consumer.assign(topic, partition, from)?;
        }
        Ok(Self {
            batch: Batch::default(),
            queue,
            consumer: Arc::clone(consumer),
            rows,
            position: from,
            stored: from,
            end,
            pending: None,
            chunk: CHUNK,
        })
    }

    fn at_end(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    fn polled(&self, delta: Delta, caught_up: bool) -> Polled {
        Polled {
            delta,
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
        self.polled(Delta::inserts(batch), true)
    }

    /// How many of the messages taken are rows, where that leads, and whether nothing more is there for now.
    fn survey(&mut self) -> (usize, i64, bool) {
        let mut count = 0;
        let mut position = self.position;
        for message in self.batch.iter() {
            if let Some((code, text)) = message.error() {
                if code == RDKafkaErrorCode::PartitionEOF {
                    // Aborted records and the marks of transactions have offsets too: the end may be behind the last record.
                    return (count, position.max(message.offset()), true);
                }
                let what = format!(
                    "'{}/{}' cannot be read at offset {position}",
                    self.rows.topic, self.rows.partition
                );
                self.pending = Some(code_error(&what, code, &text));
                return (count, position, false);
            }
            if self.end.is_some_and(|end| message.offset() >= end) {
                return (count, self.end.unwrap_or(position), false);
            }
            position = message.offset() + 1;
            count += 1;
        }
        (count, position, false)
    }

    /// Fewer messages at a time where they are large.
    fn adapt(&mut self, messages: usize) {
        if messages > 0 {
            let sizes = self.batch.iter().take(messages);
            let bytes: usize = sizes
                .map(|message| message.value().map_or(0, <[u8]>::len))
                .sum();
            self.chunk = (CHUNK_BYTES / (bytes / messages).max(1)).clamp(16, CHUNK);
        }
    }
}

impl Reader for PartitionReader {
    fn poll(&mut self, rows_max: usize, wait: Duration) -> Result<Polled> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        // Being asked again says that what was given before was taken.
        if self.position > self.stored {
            self.consumer
                .store(&self.rows.topic, self.rows.partition, self.position);
            self.stored = self.position;
        }
        if self.at_end() || rows_max == 0 {
            return Ok(self.nothing());
        }
        self.queue
            .take(&mut self.batch, rows_max.min(self.chunk), wait);
        if self.batch.len() == 0 {
            self.consumer.serve()?;
            return Ok(self.nothing());
        }
        let (messages, position, caught_up) = self.survey();
        if messages == 0
            && let Some(error) = self.pending.take()
        {
            return Err(error);
        }
        let made = self.rows.make(&self.batch, messages).map_err(|error| {
            error.context(format_args!(
                "'{}/{}'",
                self.rows.topic, self.rows.partition
            ))
        })?;
        self.adapt(messages);
        self.batch.clear();
        self.position = position;
        Ok(Polled {
            bad: made.bad,
            ..self.polled(made.delta, caught_up)
        })
    }

    fn end(&mut self) -> Option<Offset> {
        self.end.or_else(|| self.queue.high_watermark()).map(Offset)
    }
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        self.batch.clear();
        self.consumer
            .unassign(&self.rows.topic, self.rows.partition);
    }
}
