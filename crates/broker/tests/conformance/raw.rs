//! The protocol itself, request by request: what clients never do by themselves, and the exact error codes.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    messages::*,
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};
use millstream_broker::ErrorCode;
use uuid::Uuid;

use crate::support::*;

/// A connection that speaks one request at a time.
struct Raw(TcpStream);

impl Raw {
    fn connect() -> Raw {
        let stream = TcpStream::connect(bootstrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw(stream)
    }

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let mut body = BytesMut::new();
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(7)
            .with_client_id(Some(StrBytes::from_static_str("raw")));
        header
            .encode(&mut body, R::header_version(version))
            .unwrap();
        request.encode(&mut body, version).unwrap();
        let mut frame = BytesMut::new();
        frame.put_u32(body.len() as u32);
        frame.put(body);
        self.0.write_all(&frame).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer).unwrap();
        let mut answer = Bytes::from(answer);
        ResponseHeader::decode(&mut answer, R::Response::header_version(version)).unwrap();
        let response = R::Response::decode(&mut answer, version).unwrap();
        assert!(!answer.has_remaining());
        response
    }

    /// Asks again while the coordinator is not ready.
    fn ask_until<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> R::Response {
        let mut answer = None;
        eventually("the coordinator is ready", || {
            let told = self.ask(version, request);
            let waiting = [
                ErrorCode::CoordinatorNotAvailable,
                ErrorCode::CoordinatorLoadInProgress,
                ErrorCode::NotCoordinator,
                ErrorCode::ConcurrentTransactions,
            ];
            let ready = waiting.iter().all(|error| error.code() != code(&told));
            answer = Some(told);
            ready
        });
        answer.unwrap()
    }

    /// A producer id and epoch for a new transactional id.
    fn init(&mut self, id: &str) -> (i64, i16) {
        self.find_coordinator(id, 1);
        let told = self.init_as(id, (-1, -1));
        assert_eq!(told.error_code, 0);
        (told.producer_id.0, told.producer_epoch)
    }

    fn init_as(&mut self, id: &str, held: (i64, i16)) -> InitProducerIdResponse {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(id))))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(held.0.into())
            .with_producer_epoch(held.1);
        self.ask_until(4, &request, |told| told.error_code)
    }

    fn find_coordinator(&mut self, key: &str, kind: i8) {
        let request = FindCoordinatorRequest::default()
            .with_key(text(key))
            .with_key_type(kind);
        let told = self.ask_until(2, &request, |told| told.error_code);
        assert_eq!(told.error_code, 0);
    }

    fn produce(&mut self, topic: &str, id: Option<&str>, records: Bytes) -> (i16, i64) {
        self.produce_with(topic, id, records, -1)
    }

    fn produce_with(
        &mut self,
        topic: &str,
        id: Option<&str>,
        records: Bytes,
        acks: i16,
    ) -> (i16, i64) {
        use produce_request::{PartitionProduceData, TopicProduceData};
        let data = PartitionProduceData::default().with_records(Some(records));
        let topic = TopicProduceData::default()
            .with_name(name(topic))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(id.map(|id| TransactionalId(text(id))))
            .with_acks(acks)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let told = self.ask(9, &request);
        let partition = &told.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }

    fn add_partitions(&mut self, id: &str, producer: (i64, i16), topics: &[&str]) -> Vec<i16> {
        use add_partitions_to_txn_request::AddPartitionsToTxnTopic;
        let topics = topics
            .iter()
            .map(|topic| {
                AddPartitionsToTxnTopic::default()
                    .with_name(name(topic))
                    .with_partitions(vec![0])
            })
            .collect();
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(id)))
            .with_v3_and_below_producer_id(producer.0.into())
            .with_v3_and_below_producer_epoch(producer.1)
            .with_v3_and_below_topics(topics);
        let codes = |told: &AddPartitionsToTxnResponse| -> Vec<(String, i16)> {
            let topics = told.results_by_topic_v3_and_below.iter();
            let mut all: Vec<_> = topics
                .map(|topic| {
                    (
                        topic.name.to_string(),
                        topic.results_by_partition[0].partition_error_code,
                    )
                })
                .collect();
            all.sort();
            all
        };
        let told = self.ask_until(3, &request, |told| codes(told)[0].1);
        codes(&told).into_iter().map(|(_, code)| code).collect()
    }

    fn end(&mut self, id: &str, producer: (i64, i16), commit: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(producer.0.into())
            .with_producer_epoch(producer.1)
            .with_committed(commit);
        self.ask_until(3, &request, |told| told.error_code)
            .error_code
    }

    fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        committed: bool,
    ) -> fetch_response::PartitionData {
        let request = fetch_of(topic, partition, offset, committed);
        self.ask(11, &request)
            .responses
            .remove(0)
            .partitions
            .remove(0)
    }
}

fn fetch_of(topic: &str, partition: i32, offset: i64, committed: bool) -> FetchRequest {
    use fetch_request::{FetchPartition, FetchTopic};
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_isolation_level(i8::from(committed))
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

/// A batch of so many records by a producer; -1 is no producer.
fn batch(producer: (i64, i16), sequence: i32, count: i32, transactional: bool) -> Bytes {
    let record = |at: i32| Record {
        transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer.0,
        producer_epoch: producer.1,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(at),
        sequence: sequence + at,
        timestamp: 1_700_000_000_000,
        key: None,
        value: Some(Bytes::from_static(b"value")),
        headers: IndexMap::new(),
    };
    let records: Vec<Record> = (0..count).map(record).collect();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.freeze()
}

fn plain(count: i32) -> Bytes {
    batch((-1, -1), -1, count, false)
}

fn codes(errors: &[ErrorCode]) -> Vec<i16> {
    errors.iter().map(ErrorCode::code).collect()
}

#[test]
fn sequences_are_checked() {
    let topic = topic(&bootstrap(), "sequences", 1);
    let mut raw = Raw::connect();
    let told = raw.ask_until(
        4,
        &InitProducerIdRequest::default().with_transactional_id(None),
        |told| told.error_code,
    );
    let id = told.producer_id.0;
    assert_eq!((told.error_code, told.producer_epoch), (0, 0));
    let mut send = |epoch, sequence, count| {
        raw.produce(&topic, None, batch((id, epoch), sequence, count, false))
    };
    let out_of_order = (ErrorCode::OutOfOrderSequenceNumber.code(), -1);
    assert_eq!(send(0, 0, 2), (0, 0));
    assert_eq!(send(0, 0, 2), (0, 0), "repeated");
    assert_eq!(send(0, 2, 1), (0, 2));
    assert_eq!(send(0, 0, 2), (0, 0), "repeated later");
    assert_eq!(send(0, 9, 1), out_of_order, "a gap");
    assert_eq!(send(0, 1, 1), out_of_order, "a part of an earlier batch");
    assert_eq!(send(1, 5, 1), out_of_order, "a new epoch begins at 0");
    assert_eq!(send(1, 0, 1), (0, 3));
    assert_eq!(
        send(0, 3, 1),
        (ErrorCode::InvalidProducerEpoch.code(), -1),
        "an old epoch"
    );
    for sequence in 1..7 {
        assert_eq!(send(1, sequence, 1), (0, 3 + i64::from(sequence)));
    }
    assert_eq!(send(1, 2, 1), (0, 5), "the fifth from the end");
    assert_eq!(
        send(1, 1, 1).0,
        out_of_order.0,
        "the sixth from the end is forgotten"
    );
}

#[test]
fn bad_batches_are_refused() {
    let topic = topic(&bootstrap(), "bad", 1);
    let mut raw = Raw::connect();
    let mut flipped = plain(1).to_vec();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    assert_eq!(
        raw.produce(&topic, None, flipped.into()).0,
        ErrorCode::CorruptMessage.code()
    );
    let two = Bytes::from([plain(1), plain(1)].concat());
    assert_eq!(
        raw.produce(&topic, None, two).0,
        ErrorCode::InvalidRecord.code()
    );
    assert_eq!(
        raw.produce_with(&topic, None, plain(1), 2).0,
        ErrorCode::InvalidRequiredAcks.code()
    );
    assert_eq!(
        raw.produce("no-such-topic", None, plain(1)).0,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    assert_eq!(raw.produce(&topic, None, plain(1)), (0, 0));
}

#[test]
fn records_need_their_partition_in_the_transaction() {
    let topic = topic(&bootstrap(), "verified", 1);
    let id = unique("tx");
    let mut raw = Raw::connect();
    let producer = raw.init(&id);
    let records = batch(producer, 0, 1, true);
    assert_eq!(
        raw.produce(&topic, Some(&id), records.clone()).0,
        ErrorCode::InvalidTxnState.code()
    );
    assert_eq!(raw.add_partitions(&id, producer, &[&topic]), [0]);
    assert_eq!(raw.produce(&topic, Some(&id), records), (0, 0));
    assert_eq!(raw.end(&id, producer, true), 0);
    // Apache Kafka answers before it has written the markers.
    eventually("the marker is written", || {
        watermarks(&bootstrap(), &topic, 0).1 == 2
    });
    let late = batch(producer, 1, 1, true);
    assert_eq!(
        raw.produce(&topic, Some(&id), late).0,
        ErrorCode::InvalidTxnState.code()
    );
}

#[test]
fn a_transaction_ends_once() {
    let topic = topic(&bootstrap(), "ends", 1);
    let id = unique("tx");
    let mut raw = Raw::connect();
    let producer = raw.init(&id);
    assert_eq!(
        raw.end(&id, producer, true),
        ErrorCode::InvalidTxnState.code(),
        "nothing is open"
    );
    assert_eq!(raw.add_partitions(&id, producer, &[&topic]), [0]);
    assert_eq!(raw.end(&id, producer, true), 0);
    assert_eq!(raw.end(&id, producer, true), 0, "repeated");
    assert_eq!(
        raw.end(&id, producer, false),
        ErrorCode::InvalidTxnState.code(),
        "decided otherwise"
    );
    assert_eq!(
        raw.end(&id, (producer.0, producer.1 + 1), true),
        ErrorCode::ProducerFenced.code()
    );
    assert_eq!(
        raw.end(&id, (producer.0 + 1, producer.1), true),
        ErrorCode::InvalidProducerIdMapping.code()
    );
    assert_eq!(
        raw.end(&unique("other"), producer, true),
        ErrorCode::InvalidProducerIdMapping.code()
    );
    eventually("one marker, though there was no record", || {
        watermarks(&bootstrap(), &topic, 0) == (0, 1)
    });
}

#[test]
fn epochs_are_bumped_by_their_holder_only() {
    let id = unique("tx");
    let mut raw = Raw::connect();
    let (producer, first) = raw.init(&id);
    let bumped = raw.init_as(&id, (producer, first));
    assert_eq!((bumped.error_code, bumped.producer_epoch), (0, first + 1));
    let repeated = raw.init_as(&id, (producer, first));
    assert_eq!(
        (repeated.error_code, repeated.producer_epoch),
        (0, first + 1),
        "the answer was lost"
    );
    let newcomer = raw.init_as(&id, (-1, -1));
    assert_eq!(
        (newcomer.error_code, newcomer.producer_epoch),
        (0, first + 2)
    );
    assert_eq!(
        raw.init_as(&id, (producer, first + 1)).error_code,
        ErrorCode::ProducerFenced.code()
    );
    let endless = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(&id))))
        .with_transaction_timeout_ms(i32::MAX);
    assert_eq!(
        raw.ask(2, &endless).error_code,
        ErrorCode::InvalidTransactionTimeout.code()
    );
}

#[test]
fn partitions_join_a_transaction_together_or_not_at_all() {
    let topic = topic(&bootstrap(), "a-together", 1);
    let id = unique("tx");
    let mut raw = Raw::connect();
    let producer = raw.init(&id);
    assert_eq!(
        raw.add_partitions(&id, producer, &[&topic, "no-such-topic"]),
        codes(&[
            ErrorCode::OperationNotAttempted,
            ErrorCode::UnknownTopicOrPartition
        ])
    );
    assert_eq!(
        raw.end(&id, producer, true),
        ErrorCode::InvalidTxnState.code()
    );
    let other = (producer.0, producer.1 + 1);
    assert_eq!(
        raw.add_partitions(&id, other, &[&topic]),
        codes(&[ErrorCode::ProducerFenced])
    );
}

#[test]
fn a_fetch_tells_what_was_aborted() {
    let topic = topic(&bootstrap(), "aborted", 1);
    let mut raw = Raw::connect();
    let (first_id, second_id) = (unique("tx"), unique("tx"));
    let (first, second) = (raw.init(&first_id), raw.init(&second_id));
    raw.add_partitions(&first_id, first, &[&topic]);
    raw.add_partitions(&second_id, second, &[&topic]);
    assert_eq!(
        raw.produce(&topic, Some(&first_id), batch(first, 0, 2, true)),
        (0, 0)
    );
    assert_eq!(
        raw.produce(&topic, Some(&second_id), batch(second, 0, 1, true)),
        (0, 2)
    );
    assert_eq!(raw.end(&second_id, second, false), 0);
    eventually("the marker is written", || {
        watermarks(&bootstrap(), &topic, 0).1 == 4
    });
    let open = raw.fetch(&topic, 0, 0, true);
    assert_eq!((open.high_watermark, open.last_stable_offset), (4, 0));
    assert!(open.records.unwrap_or_default().is_empty());
    assert_eq!(raw.end(&first_id, first, false), 0);
    eventually("the marker is written", || {
        watermarks(&bootstrap(), &topic, 0).1 == 5
    });
    let told = |data: fetch_response::PartitionData| -> Vec<(i64, i64)> {
        let aborted = data.aborted_transactions.unwrap_or_default();
        let mut all: Vec<_> = aborted
            .iter()
            .map(|one| (one.first_offset, one.producer_id.0))
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(
        told(raw.fetch(&topic, 0, 0, true)),
        [(0, first.0), (2, second.0)]
    );
    assert_eq!(told(raw.fetch(&topic, 0, 4, true)), [(0, first.0)]);
    assert_eq!(told(raw.fetch(&topic, 0, 0, false)), []);
}

#[test]
fn a_fetch_tells_what_is_wrong() {
    let topic = topic(&bootstrap(), "fetch", 1);
    let mut raw = Raw::connect();
    assert_eq!(
        raw.fetch(&topic, 0, 1, false).error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
    assert_eq!(
        raw.fetch(&topic, 9, 0, false).error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    let mut by_id = fetch_of("", 0, 0, false);
    by_id.topics[0].topic_id = Uuid::from_u128(77);
    let told = raw.ask(13, &by_id);
    assert_eq!(
        told.responses[0].partitions[0].error_code,
        ErrorCode::UnknownTopicId.code()
    );
    let session = fetch_of(&topic, 0, 0, false)
        .with_session_id(99)
        .with_session_epoch(5);
    assert_eq!(
        raw.ask(11, &session).error_code,
        ErrorCode::FetchSessionIdNotFound.code()
    );
    let mut newer = fetch_of(&topic, 0, 0, false);
    newer.topics[0].partitions[0].current_leader_epoch = 40;
    let told = raw.ask(11, &newer);
    assert_eq!(
        told.responses[0].partitions[0].error_code,
        ErrorCode::UnknownLeaderEpoch.code()
    );
}

#[test]
fn an_epoch_ends_at_the_end_of_the_log() {
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let topic = topic(&bootstrap(), "epoch", 1);
    let mut raw = Raw::connect();
    assert_eq!(raw.produce(&topic, None, plain(3)), (0, 0));
    let mut end_of = |epoch, current| {
        let partition = OffsetForLeaderPartition::default()
            .with_leader_epoch(epoch)
            .with_current_leader_epoch(current);
        let of = OffsetForLeaderTopic::default()
            .with_topic(name(&topic))
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![of]);
        let told = raw.ask(4, &request).topics.remove(0).partitions.remove(0);
        (told.error_code, told.leader_epoch, told.end_offset)
    };
    assert_eq!(end_of(0, -1), (0, 0, 3));
    assert_eq!(end_of(0, 0), (0, 0, 3));
    assert_eq!(end_of(5, -1), (0, -1, -1));
    assert_eq!(end_of(0, 5).0, ErrorCode::UnknownLeaderEpoch.code());
}

#[test]
fn strangers_are_told_that_they_are() {
    let group = unique("group");
    let mut raw = Raw::connect();
    raw.find_coordinator(&group, 0);
    let heartbeat = HeartbeatRequest::default()
        .with_group_id(group_id(&group))
        .with_member_id(text("m"));
    let told = raw.ask_until(3, &heartbeat, |told| told.error_code);
    assert_eq!(told.error_code, ErrorCode::UnknownMemberId.code());
    let sync = SyncGroupRequest::default()
        .with_group_id(group_id(&group))
        .with_member_id(text("m"));
    assert_eq!(
        raw.ask(3, &sync).error_code,
        ErrorCode::UnknownMemberId.code()
    );
    let leave = LeaveGroupRequest::default()
        .with_group_id(group_id(&group))
        .with_member_id(text("m"));
    assert_eq!(
        raw.ask(2, &leave).error_code,
        ErrorCode::UnknownMemberId.code()
    );
    let describe = DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]);
    let told = raw.ask(5, &describe);
    assert_eq!(
        (
            told.groups[0].error_code,
            told.groups[0].group_state.as_str()
        ),
        (0, "Dead")
    );
    assert_eq!(
        raw.ask(6, &describe).groups[0].error_code,
        ErrorCode::GroupIdNotFound.code()
    );
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group)]);
    assert_eq!(
        raw.ask(2, &delete).results[0].error_code,
        ErrorCode::GroupIdNotFound.code()
    );
    let offsets = OffsetDeleteRequest::default().with_group_id(group_id(&group));
    assert_eq!(
        raw.ask(0, &offsets).error_code,
        ErrorCode::GroupIdNotFound.code()
    );
}

/// What a member sends, once it has an id.
struct Hand {
    group: GroupId,
    topic: TopicName,
    member_id: StrBytes,
}

impl Hand {
    fn join(&self) -> JoinGroupRequest {
        use join_group_request::JoinGroupRequestProtocol;
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(b"meta"));
        JoinGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_member_id(self.member_id.clone())
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }

    fn sync(&self) -> SyncGroupRequest {
        use sync_group_request::SyncGroupRequestAssignment;
        let assigned = SyncGroupRequestAssignment::default()
            .with_member_id(self.member_id.clone())
            .with_assignment(Bytes::from_static(b"mine"));
        SyncGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(1)
            .with_member_id(self.member_id.clone())
            .with_assignments(vec![assigned])
    }

    fn heartbeat(&self, raw: &mut Raw, generation: i32) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(generation)
            .with_member_id(self.member_id.clone());
        raw.ask(3, &request).error_code
    }

    fn commit(&self, raw: &mut Raw, generation: i32) -> i16 {
        use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
        let of = OffsetCommitRequestTopic::default()
            .with_name(self.topic.clone())
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group.clone())
            .with_member_id(self.member_id.clone())
            .with_generation_id_or_member_epoch(generation)
            .with_topics(vec![of]);
        raw.ask(7, &request).topics[0].partitions[0].error_code
    }
}

#[test]
fn a_member_by_hand() {
    let group = unique("group");
    let mut raw = Raw::connect();
    raw.find_coordinator(&group, 0);
    let mut hand = Hand {
        group: group_id(&group),
        topic: name(&topic(&bootstrap(), "by-hand", 1)),
        member_id: StrBytes::default(),
    };
    let first = raw.ask_until(5, &hand.join(), |told| told.error_code);
    assert_eq!(first.error_code, ErrorCode::MemberIdRequired.code());
    assert!(!first.member_id.is_empty());
    hand.member_id = first.member_id;
    let joined = raw.ask(5, &hand.join());
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!(
        (&joined.leader, joined.members.len()),
        (&joined.member_id, 1)
    );
    assert_eq!(
        joined.protocol_name.as_ref().map(StrBytes::as_str),
        Some("range")
    );
    let early = hand.commit(&mut raw, 1);
    assert_eq!(
        early,
        ErrorCode::RebalanceInProgress.code(),
        "before the assignment"
    );
    let synced = raw.ask(3, &hand.sync());
    assert_eq!(
        (synced.error_code, synced.assignment),
        (0, Bytes::from_static(b"mine"))
    );
    assert_eq!(hand.commit(&mut raw, 1), 0);
    assert_eq!(
        hand.commit(&mut raw, 9),
        ErrorCode::IllegalGeneration.code()
    );
    assert_eq!(hand.heartbeat(&mut raw, 1), 0);
    assert_eq!(
        hand.heartbeat(&mut raw, 2),
        ErrorCode::IllegalGeneration.code()
    );
    let leave = LeaveGroupRequest::default()
        .with_group_id(hand.group.clone())
        .with_member_id(hand.member_id.clone());
    assert_eq!(raw.ask(2, &leave).error_code, 0);
    assert_eq!(
        hand.heartbeat(&mut raw, 1),
        ErrorCode::UnknownMemberId.code()
    );
}

#[test]
fn an_offset_in_an_open_transaction_is_unstable() {
    use offset_fetch_request::OffsetFetchRequestTopic;
    use txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
    let topic = topic(&bootstrap(), "unstable", 1);
    let (group, id) = (unique("group"), unique("tx"));
    let mut raw = Raw::connect();
    raw.find_coordinator(&group, 0);
    let producer = raw.init(&id);
    let commit = {
        let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(5);
        let of = TxnOffsetCommitRequestTopic::default()
            .with_name(name(&topic))
            .with_partitions(vec![partition]);
        TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(text(&id)))
            .with_group_id(group_id(&group))
            .with_producer_id(producer.0.into())
            .with_producer_epoch(producer.1)
            .with_topics(vec![of])
    };
    let add = AddOffsetsToTxnRequest::default()
        .with_transactional_id(TransactionalId(text(&id)))
        .with_producer_id(producer.0.into())
        .with_producer_epoch(producer.1)
        .with_group_id(group_id(&group));
    assert_eq!(raw.ask_until(3, &add, |told| told.error_code).error_code, 0);
    let committed = raw.ask_until(3, &commit, |told| told.topics[0].partitions[0].error_code);
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    let mut fetch = |stable| {
        let of = OffsetFetchRequestTopic::default()
            .with_name(name(&topic))
            .with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(&group))
            .with_require_stable(stable)
            .with_topics(Some(vec![of]));
        let told = raw.ask(7, &request);
        let partition = &told.topics[0].partitions[0];
        (partition.error_code, partition.committed_offset)
    };
    assert_eq!(fetch(true), (ErrorCode::UnstableOffsetCommit.code(), -1));
    assert_eq!(fetch(false), (0, -1));
    assert_eq!(Raw::connect().end(&id, producer, true), 0);
    eventually("the offset is committed", || fetch(true) == (0, 5));
}
