//! How far event time has come: of a partition, a source, an operator. Pure functions.
//!
//! One rule at every level, over the parts that have not ended: the minimum of those that are not idle; when all are
//! idle, the whole is idle and stands at the maximum of what they promised (so that it does not matter which of them
//! fell idle first); when all have ended, [`Watermark::MAX`].

use millstream_dataflow::Watermark;

/// The time of a source or an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTime {
    /// No row up to here is expected.
    pub watermark: Watermark,
    /// Whether everything behind it is idle, so that it holds nobody back.
    pub idle: bool,
}

impl NodeTime {
    /// All input has ended.
    pub const END: Self = Self {
        watermark: Watermark::MAX,
        idle: false,
    };
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartitionTime {
    /// The largest value of the watermark expression so far; `MIN` when no row has come yet.
    pub(crate) watermark: Watermark,
    /// When a row last came, or the partition was added.
    pub(crate) active_ms: i64,
    /// Whether rows are waiting to be taken: then it is not idle however long ago the last one was taken.
    pub(crate) waiting: bool,
    /// Whether it has ended for good.
    pub(crate) ended: bool,
}

/// The time of a part or a source that is made of others.
pub(crate) fn merge(parts: impl Iterator<Item = NodeTime>) -> NodeTime {
    let (mut active, mut idle) = (None::<Watermark>, None::<Watermark>);
    for part in parts.filter(|part| part.watermark != Watermark::MAX) {
        if part.idle {
            idle = Some(idle.map_or(part.watermark, |most| most.max(part.watermark)));
        } else {
            active = Some(active.map_or(part.watermark, |least| least.min(part.watermark)));
        }
    }
    match (active, idle) {
        (Some(watermark), _) => NodeTime {
            watermark,
            idle: false,
        },
        (None, Some(watermark)) => NodeTime {
            watermark,
            idle: true,
        },
        (None, None) => NodeTime::END,
    }
}

/// The time of a partition. `idle_timeout_ms`: after how long without rows it is idle; `None`: never.
pub(crate) fn of_partition(
    partition: &PartitionTime,
    now_ms: i64,
    idle_timeout_ms: Option<u64>,
) -> NodeTime {
    if partition.ended {
        return NodeTime::END;
    }
    let idle = !partition.waiting
        && idle_at(partition, idle_timeout_ms).is_some_and(|idle_at| now_ms >= idle_at);
    // A row at the end of time must not pass for the end of the input.
    let watermark = partition.watermark.min(Watermark(i64::MAX - 1));
    NodeTime { watermark, idle }
}

/// When a partition falls idle if no row comes.
pub(crate) fn idle_at(partition: &PartitionTime, idle_timeout_ms: Option<u64>) -> Option<i64> {
    let timeout = i64::try_from(idle_timeout_ms?).unwrap_or(i64::MAX);
    (!partition.ended).then_some(partition.active_ms.saturating_add(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(watermark: i64, active_ms: i64) -> PartitionTime {
        PartitionTime {
            watermark: Watermark(watermark),
            active_ms,
            waiting: false,
            ended: false,
        }
    }

    fn source(partitions: &[PartitionTime], now_ms: i64, timeout: Option<u64>) -> NodeTime {
        merge(
            partitions
                .iter()
                .map(|partition| of_partition(partition, now_ms, timeout)),
        )
    }

    fn at(watermark: i64) -> NodeTime {
        NodeTime {
            watermark: Watermark(watermark),
            idle: false,
        }
    }

    #[test]
    fn the_slowest_partition_decides() {
        assert_eq!(source(&[partition(5, 0), partition(3, 0)], 10, None), at(3));
    }

    #[test]
    fn a_partition_without_rows_holds_back_until_it_is_idle() {
        let parts = [partition(5, 0), partition(i64::MIN, 0)];
        assert_eq!(source(&parts, 99, Some(100)), at(i64::MIN));
        let parts = [partition(5, 90), partition(i64::MIN, 0)];
        assert_eq!(source(&parts, 100, Some(100)), at(5));
    }

    #[test]
    fn an_idle_partition_counts_again_with_its_next_row() {
        let parts = [partition(50, 900), partition(7, 0)];
        assert_eq!(source(&parts, 950, Some(100)), at(50));
        let parts = [partition(50, 900), partition(8, 950)];
        assert_eq!(source(&parts, 950, Some(100)), at(8));
    }

    #[test]
    fn rows_that_wait_keep_a_partition_from_idling() {
        let mut waiting = partition(7, 0);
        waiting.waiting = true;
        assert_eq!(
            source(&[partition(50, 900), waiting], 950, Some(100)),
            at(7)
        );
    }

    #[test]
    fn when_all_are_idle_the_order_of_falling_idle_does_not_matter() {
        let parts = [partition(50, 0), partition(7, 10)];
        assert_eq!(source(&parts, 105, Some(100)), at(7));
        let together = source(&parts, 200, Some(100));
        assert_eq!(
            together,
            NodeTime {
                watermark: Watermark(50),
                idle: true
            }
        );
    }

    #[test]
    fn an_ended_partition_holds_nothing_back_and_pushes_nothing() {
        let mut ended = partition(2, 0);
        ended.ended = true;
        assert_eq!(source(&[ended, partition(7, 0)], 0, None), at(7));
        assert_eq!(
            source(&[ended, partition(7, 0)], 500, Some(100)).watermark,
            Watermark(7)
        );
        assert_eq!(source(&[ended, ended], 0, None), NodeTime::END);
    }

    #[test]
    fn a_partition_that_was_added_holds_back_like_any_without_rows() {
        let parts = [partition(50, 900), partition(i64::MIN, 940)];
        assert_eq!(source(&parts, 950, Some(100)), at(i64::MIN));
    }

    #[test]
    fn a_row_at_the_end_of_time_is_not_the_end_of_input() {
        assert_eq!(source(&[partition(i64::MAX, 0)], 0, None), at(i64::MAX - 1));
    }

    #[test]
    fn idle_and_ended_inputs_do_not_hold_an_operator() {
        let idle = NodeTime {
            watermark: Watermark(3),
            idle: true,
        };
        assert_eq!(merge([at(9), idle].into_iter()), at(9));
        assert_eq!(merge([NodeTime::END, idle].into_iter()), idle);
        assert_eq!(merge([NodeTime::END, at(4)].into_iter()), at(4));
    }
}
