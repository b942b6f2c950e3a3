//! The log on a real folder: rolling, recovering from every torn end, deleting.

use std::collections::BTreeMap;

use bytes::BytesMut;
use kafka_protocol::{
    indexmap::IndexMap,
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};

use super::*;

fn config(settings: &[(&str, &str)]) -> TopicConfig {
    let own = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    TopicConfig::read(&own, &BTreeMap::new()).unwrap()
}

/// A batch of records with these timestamps, by producer 7 when `sequence` is given.
fn batch(times: &[i64], sequence: Option<i32>, transactional: bool) -> Vec<u8> {
    let records: Vec<Record> = times
        .iter()
        .enumerate()
        .map(|(at, timestamp)| Record {
            transactional,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: if sequence.is_some() { 7 } else { -1 },
            producer_epoch: if sequence.is_some() { 0 } else { -1 },
            timestamp_type: TimestampType::Creation,
            offset: at as i64,
            sequence: sequence.unwrap_or(-1) + at as i32,
            timestamp: *timestamp,
            key: None,
            value: Some(bytes::Bytes::from(vec![b'v'; 50])),
            headers: IndexMap::new(),
        })
        .collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::Lz4,
    };
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.to_vec()
}

fn append(log: &mut PartitionLog, config: &TopicConfig, bytes: &[u8]) -> i64 {
    append_at(log, config, bytes, 0)
}

fn append_at(log: &mut PartitionLog, config: &TopicConfig, bytes: &[u8], now_ms: i64) -> i64 {
    let header = batch::verify_produced(bytes).unwrap();
    log.append(bytes, &header, config, now_ms)
        .unwrap()
        .base_offset
}

/// The offsets of all batches, as a reader finds them.
fn offsets(log: &PartitionLog) -> Vec<i64> {
    let (mut offset, mut all) = (log.bounds().start, Vec::new());
    while let Some((slice, _)) = log.locate(offset) {
        let bytes = slice.read(offset, log.bounds().end, 200, true).unwrap();
        let header = batch::verify(&bytes).unwrap();
        all.push(header.base_offset);
        offset = header.next_offset();
    }
    all
}

fn files(dir: &Path, extension: &str) -> Vec<i64> {
    recovery::offsets_of(dir, extension).unwrap()
}

#[test]
fn rolls_and_is_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let small = config(&[("segment.bytes", "300")]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    assert_eq!(
        log.bounds(),
        Bounds {
            start: 0,
            stable: 0,
            end: 0
        }
    );
    assert_eq!(
        files(dir.path(), "log"),
        [0_i64; 0],
        "an unused partition has no file"
    );
    for round in 0..10 {
        append(
            &mut log,
            &small,
            &batch(&[round * 10, round * 10 + 5], Some(round as i32 * 2), false),
        );
    }
    assert!(files(dir.path(), "log").len() > 2);
    let before = (
        log.bounds(),
        log.producers.clone(),
        log.size(),
        offsets(&log),
    );
    assert_eq!(
        before.3,
        (0..10).map(|round| round * 2).collect::<Vec<i64>>()
    );
    drop(log);
    let log = PartitionLog::open(dir.path().into()).unwrap();
    assert_eq!(
        (
            log.bounds(),
            log.producers.clone(),
            log.size(),
            offsets(&log)
        ),
        before
    );
    // Without what only makes the start faster.
    drop(log);
    for extension in ["index", "producers"] {
        for offset in files(dir.path(), extension) {
            fs::remove_file(dir.path().join(format!("{offset:020}.{extension}"))).unwrap();
        }
    }
    let log = PartitionLog::open(dir.path().into()).unwrap();
    assert_eq!(
        (
            log.bounds(),
            log.producers.clone(),
            log.size(),
            offsets(&log)
        ),
        before
    );
}

#[test]
fn a_torn_end_is_cut_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(&[]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    append(&mut log, &settings, &batch(&[1, 2], Some(0), true));
    let producers = log.producers.clone();
    let path = dir.path().join("00000000000000000000.log");
    let intact = fs::read(&path).unwrap();
    append(&mut log, &settings, &batch(&[3, 4, 5], Some(2), true));
    let whole = fs::read(&path).unwrap();
    drop(log);
    for length in intact.len()..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let log = PartitionLog::open(dir.path().into()).unwrap();
        assert_eq!(
            log.bounds(),
            Bounds {
                start: 0,
                stable: 0,
                end: 2
            },
            "{length} bytes"
        );
        assert_eq!(log.producers, producers);
        assert_eq!(fs::metadata(&path).unwrap().len(), intact.len() as u64);
    }
    // Bytes that were reserved and never written, too.
    fs::write(&path, [&whole[..], &[0; 5000]].concat()).unwrap();
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    assert_eq!(log.bounds().end, 5);
    assert_eq!(append(&mut log, &settings, &batch(&[6], Some(5), true)), 5);
}

#[test]
fn damage_in_the_middle_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let small = config(&[("segment.bytes", "200")]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    for time in 0..6 {
        append(&mut log, &small, &batch(&[time], None, false));
    }
    drop(log);
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 5;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    for extension in ["index", "producers"] {
        for offset in files(dir.path(), extension) {
            fs::remove_file(dir.path().join(format!("{offset:020}.{extension}"))).unwrap();
        }
    }
    let error = PartitionLog::open(dir.path().into())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("00000000000000000000.log") && error.contains("checksum"),
        "{error}"
    );
}

#[test]
fn open_transactions_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let small = config(&[("segment.bytes", "200")]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    append(&mut log, &small, &batch(&[1], Some(0), true));
    log.append_marker(7, 0, false, &small, 2).unwrap();
    append(&mut log, &small, &batch(&[3], Some(1), true));
    append(&mut log, &small, &batch(&[4], None, false));
    drop(log);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    assert_eq!(
        log.bounds(),
        Bounds {
            start: 0,
            stable: 2,
            end: 4
        }
    );
    let aborted = log.aborted_in(0, 4);
    assert_eq!(
        aborted,
        [Aborted {
            producer_id: 7,
            first_offset: 0,
            last_offset: 1
        }]
    );
    log.append_marker(7, 0, true, &small, 5).unwrap();
    assert_eq!(log.bounds().stable, 5);
}

#[test]
fn a_repeated_batch_gets_the_offset_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(&[]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    append(&mut log, &settings, &batch(&[1, 2], None, false));
    let repeated = batch(&[3, 4], Some(0), false);
    assert_eq!(append(&mut log, &settings, &repeated), 2);
    drop(log);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    assert_eq!(append(&mut log, &settings, &repeated), 2);
    assert_eq!(log.bounds().end, 4);
}

#[test]
fn retention_by_time_and_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let by_time = config(&[("segment.bytes", "150"), ("retention.ms", "100")]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    for time in 0..10 {
        append(&mut log, &by_time, &batch(&[time * 100], None, false));
    }
    log.retain(&by_time, 950).unwrap();
    assert_eq!(
        log.bounds(),
        Bounds {
            start: 9,
            stable: 10,
            end: 10
        }
    );
    log.retain(&by_time, 2000).unwrap();
    assert_eq!(
        log.bounds(),
        Bounds {
            start: 10,
            stable: 10,
            end: 10
        },
        "the last segment expires, too"
    );
    assert_eq!(append(&mut log, &by_time, &batch(&[2000], None, false)), 10);

    let by_size = config(&[
        ("segment.bytes", "150"),
        ("retention.ms", "-1"),
        ("retention.bytes", "300"),
    ]);
    for time in 0..10 {
        append(&mut log, &by_size, &batch(&[time], None, false));
    }
    log.retain(&by_size, 0).unwrap();
    assert!(
        log.size() >= 300 && log.size() < 300 + 150,
        "{}",
        log.size()
    );
    let kept = config(&[("cleanup.policy", "compact"), ("retention.ms", "0")]);
    let before = log.bounds();
    log.retain(&kept, 1_000_000).unwrap();
    assert_eq!(log.bounds(), before);
}

#[test]
fn replayed_history_is_kept_as_long_as_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(&[("segment.bytes", "150"), ("retention.ms", "1000")]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    for time in 0..5 {
        append_at(
            &mut log,
            &settings,
            &batch(&[time], None, false),
            100_000 + time,
        );
    }
    log.retain(&settings, 101_002).unwrap();
    assert_eq!(log.bounds().start, 2);
}

#[test]
fn an_open_transaction_is_not_deleted_from_under_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(&[("segment.bytes", "150"), ("retention.ms", "0")]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    append(&mut log, &settings, &batch(&[1], None, false));
    append(&mut log, &settings, &batch(&[1], Some(0), true));
    append(&mut log, &settings, &batch(&[1], None, false));
    log.retain(&settings, 1000).unwrap();
    assert_eq!(
        log.bounds(),
        Bounds {
            start: 1,
            stable: 1,
            end: 3
        }
    );
}

#[test]
fn deleting_records_moves_the_start_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let small = config(&[("segment.bytes", "150")]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    for time in 0..5 {
        append(&mut log, &small, &batch(&[time, time], None, false));
    }
    log.delete_before(5).unwrap();
    assert_eq!(log.bounds().start, 5);
    assert_eq!(files(dir.path(), "log").first(), Some(&4));
    drop(log);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    assert_eq!(log.bounds().start, 5);
    log.delete_before(3).unwrap();
    assert_eq!(log.bounds().start, 5);
}

#[test]
fn finds_offsets_by_time_within_compressed_batches() {
    let dir = tempfile::tempdir().unwrap();
    let small = config(&[("segment.bytes", "400")]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    for round in 0..20 {
        append(
            &mut log,
            &small,
            &batch(
                &[round * 100, round * 100 + 70, round * 100 + 50],
                None,
                false,
            ),
        );
    }
    assert_eq!(log.find_time(0, 60).unwrap(), Some((0, 0)));
    assert_eq!(log.find_time(760, 60).unwrap(), Some((22, 770)));
    assert_eq!(log.find_time(1971, 60).unwrap(), None);
    assert_eq!(
        log.find_time(760, 20).unwrap(),
        None,
        "beyond what may be read"
    );
    assert_eq!(log.find_max_time(60).unwrap(), Some((58, 1970)));
}

#[test]
fn a_small_window_still_gives_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(&[]);
    let mut log = PartitionLog::open(dir.path().into()).unwrap();
    let size = batch(&[0], None, false).len();
    for time in 0..200 {
        append(&mut log, &settings, &batch(&[time], None, false));
    }
    let read = |offset, end, bytes_max, at_least_one| {
        let (slice, _) = log.locate(offset).unwrap();
        slice
            .read(offset, end, bytes_max, at_least_one)
            .unwrap()
            .len()
    };
    assert_eq!(read(0, 200, 1, true), size);
    assert_eq!(read(0, 200, 1, false), 0);
    assert_eq!(read(150, 200, size * 3 + 1, false), size * 3);
    assert_eq!(read(150, 152, 1_000_000, false), size * 2);
    assert_eq!(read(150, 200, 1_000_000, false), size * 50);
}
