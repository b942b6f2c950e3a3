//! The shape of each request, known just well enough to check that what it counts can be there.
//!
//! The decoder reserves memory for as many elements as an array says that it has, before it looks for them; a few
//! wrong bytes would make it ask for more than there is, which ends the process. So a request is walked first: an
//! array of more elements than there are bytes left, or a request that ends too early, is refused here.

use kafka_protocol::messages::ApiKey;

/// One field, in the order of the wire. Tagged fields are not listed: every flexible struct ends with them.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// So many bytes.
    Fixed(usize),
    /// Text with its length, or null.
    Text,
    /// Bytes with their length, or null.
    Blob,
    /// An array of structs.
    Each(&'static [Field]),
    /// An array of something simple.
    Many(&'static Field),
    /// Only from this version on.
    Since(i16, &'static Field),
    /// Only up to this version.
    Until(i16, &'static Field),
}

use Field::{Blob, Each, Fixed, Many, Since, Text, Until};

const I8: Field = Fixed(1);
const I16: Field = Fixed(2);
const I32: Field = Fixed(4);
const I64: Field = Fixed(8);
const ID: Field = Fixed(16);
const TEXTS: Field = Many(&Text);
const NUMBERS: Field = Many(&I32);
/// Topics, each with the numbers of partitions.
const PARTITIONS: Field = Each(&[Text, NUMBERS]);

/// What a topic is called: a name until version 12, an id after it.
const NAME_UNTIL_12: Field = Until(12, &Text);
const ID_SINCE_13: Field = Since(13, &ID);

const PRODUCE: &[Field] = &[
    Text,
    I16,
    I32,
    Each(&[NAME_UNTIL_12, ID_SINCE_13, Each(&[I32, Blob])]),
];

const FETCH: &[Field] = &[
    Until(14, &I32),
    I32,
    I32,
    I32,
    I8,
    Since(7, &I32),
    Since(7, &I32),
    Each(&[NAME_UNTIL_12, ID_SINCE_13, Each(FETCH_PARTITION)]),
    Since(7, &Each(&[NAME_UNTIL_12, ID_SINCE_13, NUMBERS])),
    Since(11, &Text),
];

const FETCH_PARTITION: &[Field] = &[
    I32,
    Since(9, &I32),
    I64,
    Since(12, &I32),
    Since(5, &I64),
    I32,
];

const OFFSET_COMMIT: &[Field] = &[
    Text,
    I32,
    Text,
    Since(7, &Text),
    Until(4, &I64),
    Each(&[Text, Each(&[I32, I64, Since(6, &I32), Text])]),
];

const OFFSET_FETCH: &[Field] = &[
    Until(7, &Text),
    Until(7, &PARTITIONS),
    Since(
        8,
        &Each(&[Text, Since(9, &Text), Since(9, &I32), PARTITIONS]),
    ),
    Since(7, &I8),
];

const JOIN_GROUP: &[Field] = &[
    Text,
    I32,
    Since(1, &I32),
    Text,
    Since(5, &Text),
    Text,
    Each(&[Text, Blob]),
    Since(8, &Text),
];

const SYNC_GROUP: &[Field] = &[
    Text,
    I32,
    Text,
    Since(3, &Text),
    Since(5, &Text),
    Since(5, &Text),
    Each(&[Text, Blob]),
];

const TXN_OFFSET_COMMIT: &[Field] = &[
    Text,
    Text,
    I64,
    I16,
    Since(3, &I32),
    Since(3, &Text),
    Since(3, &Text),
    Each(&[Text, Each(&[I32, I64, Since(2, &I32), Text])]),
];

const CREATE_TOPICS: &[Field] = &[
    Each(&[Text, I32, I16, Each(&[I32, NUMBERS]), Each(&[Text, Text])]),
    I32,
    I8,
];

/// The fields of a request, in the versions that are spoken.
const fn fields(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::Produce => PRODUCE,
        ApiKey::Fetch => FETCH,
        ApiKey::ListOffsets => &[
            I32,
            Since(2, &I8),
            Each(&[Text, Each(&[I32, Since(4, &I32), I64])]),
            Since(10, &I32),
        ],
        ApiKey::Metadata => &[
            Each(&[Since(10, &ID), Text]),
            Since(4, &I8),
            Since(8, &Until(10, &I8)),
            Since(8, &I8),
        ],
        ApiKey::OffsetCommit => OFFSET_COMMIT,
        ApiKey::OffsetFetch => OFFSET_FETCH,
        ApiKey::FindCoordinator => &[Until(3, &Text), Since(1, &I8), Since(4, &TEXTS)],
        ApiKey::JoinGroup => JOIN_GROUP,
        ApiKey::SyncGroup => SYNC_GROUP,
        ApiKey::Heartbeat => &[Text, I32, Text, Since(3, &Text)],
        ApiKey::LeaveGroup => &[
            Text,
            Until(2, &Text),
            Since(3, &Each(&[Text, Text, Since(5, &Text)])),
        ],
        ApiKey::DescribeGroups => &[TEXTS, Since(3, &I8)],
        ApiKey::ListGroups => &[Since(4, &TEXTS), Since(5, &TEXTS)],
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::DeleteTopics => &[Since(6, &Each(&[Text, ID])), Until(5, &TEXTS), I32],
        ApiKey::DeleteRecords => &[Each(&[Text, Each(&[I32, I64])]), I32],
        ApiKey::InitProducerId => &[Text, I32, Since(3, &I64), Since(3, &I16)],
        ApiKey::OffsetForLeaderEpoch => &[Since(3, &I32), Each(&[Text, Each(&[I32, I32, I32])])],
        ApiKey::AddPartitionsToTxn => &[Text, I64, I16, PARTITIONS],
        ApiKey::AddOffsetsToTxn => &[Text, I64, I16, Text],
        ApiKey::EndTxn => &[Text, I64, I16, I8],
        ApiKey::TxnOffsetCommit => TXN_OFFSET_COMMIT,
        ApiKey::DescribeConfigs => &[Each(&[I8, Text, TEXTS]), I8, Since(3, &I8)],
        ApiKey::AlterConfigs => &[Each(&[I8, Text, Each(&[Text, Text])]), I8],
        ApiKey::IncrementalAlterConfigs => &[Each(&[I8, Text, Each(&[Text, I8, Text])]), I8],
        ApiKey::DescribeLogDirs | ApiKey::DescribeProducers => &[PARTITIONS],
        ApiKey::CreatePartitions => &[Each(&[Text, I32, Each(&[NUMBERS])]), I32, I8],
        ApiKey::DeleteGroups | ApiKey::DescribeTransactions => &[TEXTS],
        ApiKey::OffsetDelete => &[Text, Each(&[Text, Each(&[I32])])],
        ApiKey::DescribeCluster => &[I8, Since(1, &I8), Since(2, &I8)],
        ApiKey::ListTransactions => &[TEXTS, Many(&I64), Since(1, &I64)],
        ApiKey::ApiVersions => &[Since(3, &Text), Since(3, &Text)],
        _ => return None,
    })
}

/// Whether the body of a request can be decoded without asking for more memory than its own size justifies.
pub(crate) fn fits(api: ApiKey, version: i16, body: &[u8]) -> bool {
    let mut walk = Walk {
        rest: body,
        version,
        flexible: api.request_header_version(version) >= 2,
    };
    fields(api).is_some_and(|fields| walk.fields(fields).is_some())
}

/// What is left of a body; a step gives `None` when it leads beyond the end.
struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        for field in fields {
            self.field(*field)?;
        }
        if self.flexible {
            self.tagged()
        } else {
            Some(())
        }
    }

    fn field(&mut self, field: Field) -> Option<()> {
        match field {
            Fixed(size) => self.skip(size),
            Text => {
                let length = if self.flexible {
                    self.compact()?
                } else {
                    i64::from(self.i16()?)
                };
                self.skip(usize::try_from(length).unwrap_or(0))
            }
            Blob => {
                let length = self.count()?;
                self.skip(usize::try_from(length).unwrap_or(0))
            }
            Each(fields) => (0..self.elements()?).try_for_each(|_| self.fields(fields)),
            Many(field) => (0..self.elements()?).try_for_each(|_| self.field(*field)),
            Since(version, field) if self.version >= version => self.field(*field),
            Until(version, field) if self.version <= version => self.field(*field),
            Since(..) | Until(..) => Some(()),
        }
    }

    /// How many elements follow, none for null. Each takes a byte at least, so there cannot be more than bytes.
    fn elements(&mut self) -> Option<usize> {
        let count = usize::try_from(self.count()?).unwrap_or(0);
        (count <= self.rest.len()).then_some(count)
    }

    /// The length of an array or of bytes; -1 is null.
    fn count(&mut self) -> Option<i64> {
        if self.flexible {
            self.compact()
        } else {
            self.i32().map(i64::from)
        }
    }

    /// A compact length: an unsigned varint that is one more, so that 0 is null.
    fn compact(&mut self) -> Option<i64> {
        Some(i64::from(self.varint()?) - 1)
    }

    fn tagged(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.skip(size as usize)?;
        }
        Some(())
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn i16(&mut self) -> Option<i16> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(i16::from_be_bytes(*bytes))
    }

    fn i32(&mut self) -> Option<i32> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(i32::from_be_bytes(*bytes))
    }

    fn skip(&mut self, size: usize) -> Option<()> {
        self.rest = self.rest.get(size..)?;
        Some(())
    }
}

/// How many bytes of a body its shape leaves over: none, when the shape is right.
#[cfg(test)]
pub(crate) fn rest_of(api: ApiKey, version: i16, body: &[u8]) -> Option<usize> {
    let flexible = api.request_header_version(version) >= 2;
    let mut walk = Walk {
        rest: body,
        version,
        flexible,
    };
    walk.fields(fields(api)?)?;
    Some(walk.rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::versions;

    #[test]
    fn every_request_that_is_spoken_has_a_shape() {
        for (api, _, _) in versions::SPOKEN {
            assert!(fields(*api).is_some(), "{api:?}");
        }
    }

    #[test]
    fn an_array_cannot_have_more_elements_than_bytes() {
        assert!(fits(ApiKey::Metadata, 1, &(-1_i32).to_be_bytes()));
        assert!(fits(ApiKey::Metadata, 1, &0_i32.to_be_bytes()));
        assert!(fits(ApiKey::Metadata, 1, &[0, 0, 0, 1, 0, 1, b't']));
        assert!(!fits(ApiKey::Metadata, 1, &[0, 0, 0, 1, 0, 2, b't']));
        assert!(!fits(ApiKey::Metadata, 1, &i32::MAX.to_be_bytes()));
        assert!(!fits(ApiKey::Metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]));
        assert!(!fits(
            ApiKey::Metadata,
            9,
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]
        ));
        assert!(!fits(ApiKey::Metadata, 9, &[]));
    }
}
