//! What a step was made of. With the same records, the same steps can be run again.

use crate::watermark::NodeTime;
use millstream_dataflow::graph::NodeId;
use millstream_dataflow::source::Offset;
use millstream_dataflow::{Error, Result, Step, Watermark};
use std::fmt::Debug;
use std::sync::Arc;

/// The input of one step, by reference to where it can be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// The step.
    pub step: Step,
    /// Its reading of the wall clock.
    pub now_ms: i64,
    /// What was taken, in the order in which it was fed.
    pub ranges: Vec<Range>,
    /// The time of each source whose time changed in this step.
    pub times: Vec<(NodeId, NodeTime)>,
    /// The sources that could not be read any further from this step on.
    pub failed: Vec<NodeId>,
}

/// A part of a partition: `from` up to but without `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The source.
    pub source: NodeId,
    /// The partition's name.
    pub partition: Arc<str>,
    /// The first offset.
    pub from: Offset,
    /// Behind the last offset.
    pub to: Offset,
}

/// Is told of each step before it runs.
pub trait Recorder: Debug + Send + Sync {
    /// A step is about to run.
    fn record(&self, step: &StepRecord);
}

/// The version of the bytes of a record, which is their first byte.
const VERSION: u8 = 1;

type RangeFields<'a> = (u32, &'a str, i64, i64);
type Fields<'a> = (
    u64,
    i64,
    Vec<RangeFields<'a>>,
    Vec<(u32, i64, bool)>,
    Vec<u32>,
);

impl StepRecord {
    /// The record as bytes, to be kept.
    ///
    /// # Errors
    /// `Internal`; there is none to expect.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let range = |range: &Range| {
            let (from, to) = (range.from.0, range.to.0);
            (range.source.0, Arc::clone(&range.partition), from, to)
        };
        let ranges: Vec<(u32, Arc<str>, i64, i64)> = self.ranges.iter().map(range).collect();
        let fields: Fields<'_> = (
            self.step.0,
            self.now_ms,
            ranges
                .iter()
                .map(|(source, name, from, to)| (*source, name.as_ref(), *from, *to))
                .collect(),
            self.times
                .iter()
                .map(|(node, time)| (node.0, time.watermark.0, time.idle))
                .collect(),
            self.failed.iter().map(|node| node.0).collect(),
        );
        postcard::to_extend(&fields, vec![VERSION])
            .map_err(|error| Error::internal(format!("a step cannot be recorded: {error}")))
    }

    /// A record from bytes.
    ///
    /// # Errors
    /// `User` for bytes of another version, `Internal` for bytes that are no record.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let fields = match bytes.split_first() {
            Some((&VERSION, fields)) => fields,
            Some((version, _)) => {
                return Err(Error::user(format!(
                    "the records of steps are of version {version}, this program reads version {VERSION}"
                ))
                .hint("go on with the program that wrote them"));
            }
            None => return Err(Error::internal("a record of a step is empty")),
        };
        let (step, now_ms, ranges, times, failed): Fields<'_> = postcard::from_bytes(fields)
            .map_err(|error| Error::internal(format!("a record of a step is damaged: {error}")))?;
        Ok(Self {
            step: Step(step),
            now_ms,
            ranges: ranges
                .into_iter()
                .map(|(source, partition, from, to)| Range {
                    source: NodeId(source),
                    partition: partition.into(),
                    from: Offset(from),
                    to: Offset(to),
                })
                .collect(),
            times: times
                .into_iter()
                .map(|(node, watermark, idle)| {
                    let watermark = Watermark(watermark);
                    (NodeId(node), NodeTime { watermark, idle })
                })
                .collect(),
            failed: failed.into_iter().map(NodeId).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = StepRecord {
            step: Step(7),
            now_ms: -3,
            ranges: vec![Range {
                source: NodeId(2),
                partition: "orders/0".into(),
                from: Offset(5),
                to: Offset(i64::MAX),
            }],
            times: vec![(NodeId(2), NodeTime::END)],
            failed: vec![NodeId(9)],
        };
        let bytes = record.encode().unwrap();
        assert_eq!(StepRecord::decode(&bytes).unwrap(), record);
        for length in 0..bytes.len() {
            assert!(StepRecord::decode(&bytes[..length]).is_err());
        }
    }
}
