//! Waits for a producer's records to be acknowledged. The `rdkafka` crate's own wait sleeps in steps of a tenth of a
//! second; librdkafka's returns with the last acknowledgement, and meanwhile lets no record linger for others.

#![allow(
    unsafe_code,
    reason = "the safe flush never hands librdkafka the time to wait"
)]

use super::producer::Deliveries;
use crate::clock;
use rdkafka::bindings as ffi;
use rdkafka::producer::{BaseProducer, Producer as _};
use std::time::Duration;

/// Failed deliveries count as not acknowledged until they are heard of, which is looked to so often.
const HEAR_EVERY: Duration = Duration::from_millis(20);

/// Waits until nothing is on its way any more; `false` if for as long as `wait` nothing arrived.
pub(super) fn drain(producer: &BaseProducer<Deliveries>, wait: Duration) -> bool {
    let mut heard = clock::now();
    let mut waiting = producer.in_flight_count();
    loop {
        let left = wait.saturating_sub(heard.elapsed()).min(HEAR_EVERY);
        let left_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client is alive for as long as its producer, and may be flushed from any thread.
        let flushed = unsafe { ffi::rd_kafka_flush(producer.client().native_ptr(), left_ms) };
        if flushed == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return true;
        }
        // One call hears of one batch.
        for _ in 0..64 {
            producer.poll(Duration::ZERO);
        }
        let before = std::mem::replace(&mut waiting, producer.in_flight_count());
        if waiting == 0 {
            return true;
        }
        if waiting < before {
            heard = clock::now();
        } else if heard.elapsed() >= wait {
            return false;
        }
    }
}
