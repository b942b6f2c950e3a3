//! Reading blocks: those that lie together in one piece, several pieces at once.

use super::block;
use super::manifest::Block;
use super::place::{Place, Span};
use super::{SEGMENTS, named};
use arrow::buffer::Buffer;
use millstream_dataflow::{Delta, Result};
use std::sync::mpsc::sync_channel;

/// Blocks are read in one piece up to so many bytes.
const PIECE_BYTES: u64 = 16 << 20;

/// So many bytes are read at once, while as many are taken.
const AHEAD_BYTES: u64 = 32 << 20;

/// Blocks that are apart by less than this are read in one piece.
const GAP_BYTES: u64 = 4 << 10;

/// The changes of some blocks, in their order.
///
/// # Errors
/// `BadData` when a byte of them is not as it was written.
pub(super) fn changes(place: &dyn Place, blocks: &[Block]) -> Result<Vec<Delta>> {
    let read = bytes(place, blocks)?.into_iter();
    read.zip(blocks)
        .map(|(bytes, block)| block::decode(bytes, block))
        .collect()
}

/// The bytes of some blocks, in their order, unchecked.
pub(super) fn bytes(place: &dyn Place, blocks: &[Block]) -> Result<Vec<Buffer>> {
    let mut spans: Vec<Span> = Vec::new();
    let mut within = Vec::with_capacity(blocks.len());
    let mut last = None;
    for block in blocks {
        let end = block.offset + block.bytes;
        match spans.last_mut() {
            Some((_, range))
                if last == Some(block.segment)
                    && block.offset >= range.end
                    && block.offset - range.end <= GAP_BYTES
                    && end - range.start <= PIECE_BYTES =>
            {
                range.end = end;
            }
            _ => spans.push((named(SEGMENTS, block.segment), block.offset..end)),
        }
        last = Some(block.segment);
        within.push(spans.len() - 1);
    }
    let read = place.spans(&spans)?;
    let own = within.into_iter().zip(blocks).map(|(span, block)| {
        let start = block.offset - spans[span].1.start;
        read[span].slice_with_length(start as usize, block.bytes as usize)
    });
    Ok(own.collect())
}

/// Gives some blocks to `each` in their order, while those behind them are being read. Reading ends at the first error, which
/// `each` is given too.
pub(super) fn ahead(
    place: &dyn Place,
    blocks: &[Block],
    each: &mut dyn FnMut(Result<Buffer>, &Block) -> Result<()>,
) -> Result<()> {
    let mut give = |group: &[Block], read: Result<Vec<Buffer>>| match read {
        Ok(read) => {
            let mut read = read.into_iter().zip(group);
            read.try_for_each(|(bytes, block)| each(Ok(bytes), block))
        }
        Err(error) => each(Err(error), &group[0]),
    };
    let groups: Vec<&[Block]> = groups(blocks, AHEAD_BYTES).collect();
    if let [] | [_] = groups.as_slice() {
        let mut groups = groups.into_iter();
        return groups.try_for_each(|group| give(group, bytes(place, group)));
    }
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(1);
        scope.spawn(move || {
            for group in groups {
                let read = bytes(place, group);
                let failed = read.is_err();
                if send.send((group, read)).is_err() || failed {
                    return;
                }
            }
        });
        let mut read = receive.into_iter();
        read.try_for_each(|(group, read)| give(group, read))
    })
}

/// Blocks cut into groups, each of which may be read at once without taking much memory.
pub(super) fn groups(blocks: &[Block], bytes: u64) -> impl Iterator<Item = &[Block]> {
    let mut left = blocks;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |block: &&Block| {
            sum += block.bytes;
            sum <= bytes
        };
        let count = left.iter().take_while(fits).count().max(1).min(left.len());
        let (group, rest) = left.split_at(count);
        left = rest;
        (!group.is_empty()).then_some(group)
    })
}
