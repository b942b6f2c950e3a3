//! Messages of one partition, taken from librdkafka many at a time. It is unsafe code because the safe consumer
//! of the `rdkafka` crate takes them one by one, at a third of the speed.
//!
//! Invariants: a queue and its messages do not outlive the client (the consumer is held beside them); every message is
//! destroyed exactly once, when its batch is used up or dropped; what a [`Message`] borrows lives as long as its batch.

#![allow(unsafe_code, reason = "librdkafka's batch calls have no safe wrapper")]

use super::client::{Consumer, Watch};
use rdkafka::bindings as ffi;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

/// The queue that the messages of one partition arrive in.
pub(super) struct Queue {
    queue: *mut ffi::rd_kafka_queue_t,
    topic: CString,
    partition: i32,
    consumer: Arc<Consumer>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}

impl Queue {
    /// Separates a partition's messages from those of the consumer's other partitions; before it is assigned.
    pub(super) fn new(consumer: &Arc<Consumer>, topic: &str, partition: i32) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        let client = native(&consumer.client);
        // SAFETY: the client is alive, the topic a C string. Forwarding to nowhere keeps messages in this queue.
        let queue = unsafe {
            let queue = ffi::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if queue.is_null() {
                return None;
            }
            ffi::rd_kafka_queue_forward(queue, ptr::null_mut());
            queue
        };
        Some(Self {
            queue,
            topic,
            partition,
            consumer: Arc::clone(consumer),
        })
    }

    /// Replaces the batch by what has arrived, at most `max` messages; waits up to `wait` for the first.
    pub(super) fn take(&self, batch: &mut Batch, max: usize, wait: Duration) {
        batch.clear();
        batch.messages.reserve(max);
        // The call returns when it has all it was asked for or the time is over: first one, then what else is there.
        let wait_ms = i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        if self.append(batch, 1, wait_ms) > 0 && max > 1 {
            self.append(batch, max - 1, 0);
        }
    }

    fn append(&self, batch: &mut Batch, max: usize, wait_ms: i32) -> usize {
        let messages = &mut batch.messages;
        messages.reserve(max);
        let length = messages.len();
        // SAFETY: there is room for `max` pointers behind `length`, and as many as were written are made part of it.
        unsafe {
            let room = messages.as_mut_ptr().add(length);
            let taken = ffi::rd_kafka_consume_batch_queue(self.queue, wait_ms, room, max);
            let taken = usize::try_from(taken).unwrap_or(0);
            messages.set_len(length + taken);
            taken
        }
    }

    /// Where the partition ended when the broker last answered; asks nobody.
    pub(super) fn high_watermark(&self) -> Option<i64> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive, the topic a C string, and both places are written before the call returns.
        let error = unsafe {
            ffi::rd_kafka_get_watermark_offsets(
                native(&self.consumer.client),
                self.topic.as_ptr(),
                self.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        let known = error == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0;
        known.then_some(high)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue was got once and is given back once, before the consumer goes.
        unsafe { ffi::rd_kafka_queue_destroy(self.queue) };
    }
}

fn native(client: &BaseConsumer<Watch>) -> *mut ffi::rd_kafka_t {
    client.client().native_ptr()
}

/// Messages that were taken, and how many of them were used.
#[derive(Default)]
pub(super) struct Batch {
    messages: Vec<*mut ffi::rd_kafka_message_t>,
    used: usize,
}

// SAFETY: messages may be read and destroyed from any thread.
unsafe impl Send for Batch {}

impl Batch {
    /// Gives the messages back.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        for message in self.messages.drain(..) {
            // SAFETY: each was given by librdkafka, and leaves the list as it is destroyed.
            unsafe { ffi::rd_kafka_message_destroy(message) };
        }
    }

    /// Whether no message is left to be used.
    pub(super) fn is_used_up(&self) -> bool {
        self.used == self.messages.len()
    }

    /// The messages that are left, in order, errors among them.
    pub(super) fn rest(&self) -> impl Iterator<Item = Message<'_>> {
        let rest = self.messages[self.used..].iter();
        // SAFETY: the pointers are not null, and their messages live until the batch is cleared, which needs `&mut`.
        rest.map(|message| Message(unsafe { &**message }))
    }

    /// Says that so many more messages were used.
    pub(super) fn advance(&mut self, messages: usize) {
        self.used = (self.used + messages).min(self.messages.len());
        if self.is_used_up() {
            self.clear();
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A message, or an error that came in its place.
#[derive(Clone, Copy)]
pub(super) struct Message<'a>(&'a ffi::rd_kafka_message_t);

impl<'a> Message<'a> {
    /// The error that this is.
    pub(super) fn error(&self) -> Option<(RDKafkaErrorCode, String)> {
        if self.0.err == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: the text belongs to the message, and is copied.
        let text = unsafe {
            let text = ffi::rd_kafka_message_errstr(self.0);
            match text.is_null() {
                true => String::new(),
                false => CStr::from_ptr(text).to_string_lossy().into_owned(),
            }
        };
        Some((self.0.err.into(), text))
    }

    /// Its offset; of the end of a partition: the offset of the next message.
    pub(super) fn offset(&self) -> i64 {
        self.0.offset
    }

    /// Its value; `None` is a tombstone.
    pub(super) fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: the message says where its value is and how long.
        unsafe { bytes(self.0.payload, self.0.len) }
    }

    /// Its key.
    pub(super) fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: the message says where its key is and how long.
        unsafe { bytes(self.0.key, self.0.key_len) }
    }

    /// Its timestamp in milliseconds, and Flink's name of where that is from.
    pub(super) fn timestamp(&self) -> (Option<i64>, &'static str) {
        use ffi::rd_kafka_timestamp_type_t as Type;
        let mut kind = Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and the type is written before the call returns.
        let time = unsafe { ffi::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        match kind {
            Type::RD_KAFKA_TIMESTAMP_CREATE_TIME => (Some(time), "CreateTime"),
            Type::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => (Some(time), "LogAppendTime"),
            Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => (None, "NoTimestampType"),
        }
    }

    /// The epoch of the leader that took it.
    pub(super) fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: the message is alive.
        let epoch = unsafe { ffi::rd_kafka_message_leader_epoch(self.0) };
        (epoch >= 0).then_some(epoch)
    }

    /// Its headers, in order.
    pub(super) fn headers(&self) -> Vec<(String, Option<&'a [u8]>)> {
        let mut found = Vec::new();
        let mut headers = ptr::null_mut();
        // SAFETY: headers belong to the message; names are copied, values borrowed for as long as the message.
        unsafe {
            let error = ffi::rd_kafka_message_headers(self.0, &raw mut headers);
            if error != ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return found;
            }
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            while ffi::rd_kafka_header_get_all(
                headers,
                found.len(),
                &raw mut name,
                &raw mut value,
                &raw mut length,
            ) == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                let name = CStr::from_ptr(name).to_string_lossy().into_owned();
                found.push((name, bytes(value.cast_mut(), length)));
            }
        }
        found
    }
}

/// SAFETY: `start` is null, or begins `length` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
}
