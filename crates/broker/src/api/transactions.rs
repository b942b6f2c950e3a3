//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, and looking at transactions.

use std::collections::BTreeMap;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
        AddPartitionsToTxnResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
        EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
        ListTransactionsRequest, ListTransactionsResponse, TopicName, TransactionalId,
        add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
        },
        describe_transactions_response::{self, TopicData},
        list_transactions_response,
    },
};

use super::{Call, code};
use crate::{
    broker::Shared,
    clock::now_ms,
    codec::wire,
    log::partition_log::Refused,
    transactions::{
        coordinator::Asking,
        state::{Phase, Transaction},
    },
};

/// Older versions of an API do not know the error of a fenced producer.
fn fenced_for(code: i16, version: i16, since: i16) -> i16 {
    if code == ResponseError::ProducerFenced.code() && version < since {
        ResponseError::InvalidProducerEpoch.code()
    } else {
        code
    }
}

/// Gives out producer ids and epochs.
pub(crate) fn init(
    shared: &Shared,
    call: &Call,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    let told = InitProducerIdResponse::default();
    let outcome = match &request.transactional_id {
        None => shared
            .transactions
            .fresh_id()
            .map(|id| (id, 0))
            .map_err(Refused::Disk),
        Some(id) if id.is_empty() => Err(Refused::Answer(ResponseError::InvalidRequest)),
        Some(id) => {
            let held = (request.producer_id.0, request.producer_epoch);
            let held = (call.version >= 3 && held.0 >= 0).then_some(held);
            let asking = Asking {
                held,
                timeout_ms: request.transaction_timeout_ms,
                now_ms: now_ms(),
            };
            shared.transactions.init(id, asking)
        }
    };
    match outcome {
        Ok((id, epoch)) => told.with_producer_id(id.into()).with_producer_epoch(epoch),
        Err(refused) => {
            let code = fenced_for(code(refused), call.version, 4);
            told.with_error_code(code)
                .with_producer_id((-1).into())
                .with_producer_epoch(-1)
        }
    }
}

/// Takes partitions into a transaction: all of them or none.
pub(crate) fn add_partitions(
    shared: &Shared,
    call: &Call,
    request: &AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let asked: Vec<(String, i32)> = request
        .v3_and_below_topics
        .iter()
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|index| (topic.name.to_string(), *index))
        })
        .collect();
    let missing = |(name, index): &(String, i32)| shared.topics.partition(name, *index).is_none();
    let any_missing = asked.iter().any(missing);
    let outcome = if any_missing {
        ResponseError::OperationNotAttempted.code()
    } else {
        let producer = (
            request.v3_and_below_producer_id.0,
            request.v3_and_below_producer_epoch,
        );
        let id = &request.v3_and_below_transactional_id;
        let added = shared
            .transactions
            .add(id, producer, asked, Vec::new(), now_ms());
        added
            .err()
            .map_or(0, |refused| fenced_for(code(refused), call.version, 2))
    };
    let results = request.v3_and_below_topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            let code = if missing(&(topic.name.to_string(), *index)) {
                ResponseError::UnknownTopicOrPartition.code()
            } else {
                outcome
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

/// Takes a group's offsets into a transaction.
pub(crate) fn add_offsets(
    shared: &Shared,
    call: &Call,
    request: &AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let producer = (request.producer_id.0, request.producer_epoch);
    let groups = vec![request.group_id.to_string()];
    let added = shared.transactions.add(
        &request.transactional_id,
        producer,
        Vec::new(),
        groups,
        now_ms(),
    );
    let code = added
        .err()
        .map_or(0, |refused| fenced_for(code(refused), call.version, 2));
    AddOffsetsToTxnResponse::default().with_error_code(code)
}

/// Commits or aborts.
pub(crate) fn end(shared: &Shared, call: &Call, request: &EndTxnRequest) -> EndTxnResponse {
    let producer = (request.producer_id.0, request.producer_epoch);
    let ended = shared.transactions.end(
        &request.transactional_id,
        producer,
        request.committed,
        now_ms(),
    );
    let code = ended
        .err()
        .map_or(0, |refused| fenced_for(code(refused), call.version, 2));
    EndTxnResponse::default().with_error_code(code)
}

fn phase_name(transaction: &Transaction) -> &'static str {
    match transaction.phase {
        Phase::Empty => "Empty",
        Phase::Ongoing => "Ongoing",
        Phase::Preparing { commit: true } => "PrepareCommit",
        Phase::Preparing { commit: false } => "PrepareAbort",
        Phase::Complete { commit: true } => "CompleteCommit",
        Phase::Complete { commit: false } => "CompleteAbort",
    }
}

/// Tells all about some transactional ids.
pub(crate) fn describe(
    shared: &Shared,
    request: &DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.iter().map(|id| {
        let told = describe_transactions_response::TransactionState::default()
            .with_transactional_id(id.clone());
        let Some(transaction) = shared.transactions.describe(id) else {
            return told.with_error_code(ResponseError::TransactionalIdNotFound.code());
        };
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (name, index) in &transaction.partitions {
            topics.entry(name).or_default().push(*index);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            TopicData::default()
                .with_topic(TopicName(wire(name)))
                .with_partitions(partitions)
        });
        told.with_transaction_state(wire(phase_name(&transaction)))
            .with_transaction_timeout_ms(transaction.timeout_ms)
            .with_transaction_start_time_ms(transaction.started_ms)
            .with_producer_id(transaction.producer_id.into())
            .with_producer_epoch(transaction.epoch)
            .with_topics(topics.collect())
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

/// Lists transactional ids by state, producer and age.
pub(crate) fn list(shared: &Shared, request: &ListTransactionsRequest) -> ListTransactionsResponse {
    let now_ms = now_ms();
    let wanted = |transaction: &Transaction| {
        let state = phase_name(transaction);
        let states = &request.state_filters;
        let producers = &request.producer_id_filters;
        (states.is_empty() || states.iter().any(|wanted| wanted.as_str() == state))
            && (producers.is_empty() || producers.contains(&transaction.producer_id.into()))
            && (request.duration_filter < 0
                || (transaction.phase == Phase::Ongoing
                    && now_ms - transaction.started_ms > request.duration_filter))
    };
    let mut states = Vec::new();
    for (id, entry) in shared.transactions.list() {
        let transaction = entry.lock().clone();
        if wanted(&transaction) {
            states.push(
                list_transactions_response::TransactionState::default()
                    .with_transactional_id(TransactionalId(wire(&id)))
                    .with_producer_id(transaction.producer_id.into())
                    .with_transaction_state(wire(phase_name(&transaction))),
            );
        }
    }
    ListTransactionsResponse::default().with_transaction_states(states)
}
