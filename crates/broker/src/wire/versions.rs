//! Which APIs are spoken, and in which versions: exactly those that the handlers implement.
//!
//! Not spoken on purpose: transactions of the second kind (KIP-890: EndTxn 5, TxnOffsetCommit 5, Produce 12), the
//! consumer protocol of KIP-848, topic ids in Produce, security.

use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, api_versions_response::ApiVersion};

/// The oldest and newest version of each API.
pub(crate) const SPOKEN: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 11),
    (ApiKey::Fetch, 4, 16),
    (ApiKey::ListOffsets, 1, 10),
    (ApiKey::Metadata, 0, 13),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::FindCoordinator, 0, 5),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 6),
    (ApiKey::ListGroups, 0, 5),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 5),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 4),
    (ApiKey::EndTxn, 0, 4),
    (ApiKey::TxnOffsetCommit, 0, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::AlterConfigs, 0, 2),
    (ApiKey::DescribeLogDirs, 1, 4),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
    (ApiKey::OffsetDelete, 0, 0),
    (ApiKey::DescribeCluster, 0, 2),
    (ApiKey::DescribeProducers, 0, 0),
    (ApiKey::DescribeTransactions, 0, 0),
    (ApiKey::ListTransactions, 0, 1),
];

/// Whether a request can be served.
pub(crate) fn is_spoken(api: ApiKey, version: i16) -> bool {
    SPOKEN
        .iter()
        .any(|(key, oldest, newest)| *key == api && (*oldest..=*newest).contains(&version))
}

/// What the broker says of itself.
pub(crate) fn tell() -> ApiVersionsResponse {
    let tell = |(api, oldest, newest): &(ApiKey, i16, i16)| {
        // Apache Kafka 4 says 0 here and serves 3 as well: older librdkafka compresses only when it sees a 0.
        let oldest = if *api == ApiKey::Produce { 0 } else { *oldest };
        ApiVersion::default()
            .with_api_key(*api as i16)
            .with_min_version(oldest)
            .with_max_version(*newest)
    };
    ApiVersionsResponse::default().with_api_keys(SPOKEN.iter().map(tell).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_crate_knows_everything_that_is_spoken() {
        for (api, oldest, newest) in SPOKEN {
            let known = api.valid_versions();
            assert!(
                known.min <= *oldest && *newest <= known.max,
                "{api:?}: {known}"
            );
        }
    }

    #[test]
    fn only_what_is_listed_is_spoken() {
        assert!(is_spoken(ApiKey::Fetch, 4) && is_spoken(ApiKey::Fetch, 16));
        assert!(!is_spoken(ApiKey::Fetch, 3) && !is_spoken(ApiKey::Fetch, 17));
        assert!(!is_spoken(ApiKey::ShareFetch, 0) && !is_spoken(ApiKey::Produce, 0));
    }
}
