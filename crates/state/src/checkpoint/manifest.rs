//! What a checkpoint consists of, and how that is written down.
//!
//! ```text
//! millstream checkpoint 1 <bytes of the JSON> <CRC-32C of version and JSON>\n
//! {"sequence":42,"writer":7,"about":...,"segments":[...],"tables":[...]}
//! ```
//!
//! Invariant: the first line keeps this form in every format version, so that a later version is told from damage.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The version of manifests, segments and blocks that is written and read.
const VERSION: u32 = 1;

const MAGIC: &str = "millstream checkpoint ";

/// A table of an operator's state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId {
    /// The node of the job's graph.
    pub node: u32,
    /// The worker.
    pub worker: u32,
    /// The name of the table, unique in its operator.
    pub table: String,
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.node, self.table, self.worker)
    }
}

/// What a checkpoint consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The number of the checkpoint; later ones have higher numbers.
    pub sequence: u64,
    /// What the caller of [`commit`](super::Store::commit) said about it. Whole numbers, texts and lists of them come
    /// back as they were; a fraction may come back as its neighbour.
    pub about: Value,
    /// The writer that made it.
    pub(super) writer: u64,
    pub(super) tables: BTreeMap<TableId, Table>,
    /// The sizes of the segments that its blocks are in.
    pub(super) segments: BTreeMap<SegmentId, u64>,
}

impl Manifest {
    /// The tables that it holds, those without rows too.
    pub fn tables(&self) -> impl Iterator<Item = &TableId> {
        self.tables.keys()
    }

    /// How many changes a table has, and how many bytes they take in the store.
    pub fn size(&self, id: &TableId) -> (u64, u64) {
        let blocks = self.tables.get(id).into_iter().flat_map(Table::blocks);
        blocks.fold((0, 0), |(rows, bytes), block| {
            (rows + block.rows, bytes + block.bytes)
        })
    }
}

/// The blocks of a table, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// How many leading columns identify a row.
    pub(super) key_columns: usize,
    pub(super) runs: Vec<Run>,
}

impl Table {
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.runs.iter().flat_map(|run| &run.blocks)
    }
}

/// Blocks that were written together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// Whether no key is in two of its rows: it came out of a merge.
    pub(super) merged: bool,
    pub(super) blocks: Vec<Block>,
}

impl Run {
    pub(super) fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| block.rows).sum()
    }

    pub(super) fn removals(&self) -> u64 {
        self.blocks.iter().map(|block| block.removals).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.bytes).sum()
    }
}

/// Encoded changes of a table, and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct Block {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// The bytes before compression; 0 if there was none.
    pub(super) raw: u64,
    pub(super) rows: u64,
    /// How many of the rows are removals.
    pub(super) removals: u64,
    /// The CRC-32C of its bytes.
    pub(super) checksum: u32,
}

/// A block as a list of numbers: manifests are written often.
type Written = (u64, u32, u64, u64, u64, u64, u64, u32);

impl From<Written> for Block {
    fn from(written: Written) -> Self {
        let (writer, number, offset, bytes, raw, rows, removals, checksum) = written;
        Self {
            segment: SegmentId { writer, number },
            offset,
            bytes,
            raw,
            rows,
            removals,
            checksum,
        }
    }
}

impl From<Block> for Written {
    fn from(block: Block) -> Self {
        let SegmentId { writer, number } = block.segment;
        (
            writer,
            number,
            block.offset,
            block.bytes,
            block.raw,
            block.rows,
            block.removals,
            block.checksum,
        )
    }
}

/// The name of a segment: no two writers give the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentId {
    pub(super) writer: u64,
    pub(super) number: u32,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-{:06}", self.writer, self.number)
    }
}

impl SegmentId {
    /// The segment of this name, if it is one.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (writer, number) = name.split_once('-')?;
        let id = Self {
            writer: writer.parse().ok()?,
            number: number.parse().ok()?,
        };
        (id.to_string() == name).then_some(id)
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    sequence: u64,
    writer: u64,
    about: Value,
    segments: Vec<(u64, u32, u64)>,
    tables: Vec<(TableId, usize, Vec<Run>)>,
}

/// Why a manifest cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Its bytes are not those that were written.
    Damaged(String),
    /// It is whole, and of another format version.
    Version(u32),
}

impl Manifest {
    pub(super) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let segments = self.segments.iter();
        let tables = self.tables.iter();
        let document = Document {
            sequence: self.sequence,
            writer: self.writer,
            about: self.about.clone(),
            segments: segments
                .map(|(id, bytes)| (id.writer, id.number, *bytes))
                .collect(),
            tables: tables
                .map(|(id, table)| (id.clone(), table.key_columns, table.runs.clone()))
                .collect(),
        };
        Ok(framed(VERSION, &serde_json::to_vec(&document)?))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let json = unframed(bytes)?;
        let document: Document =
            serde_json::from_slice(json).map_err(|error| Unreadable::Damaged(error.to_string()))?;
        let segments = document.segments.into_iter();
        let tables = document.tables.into_iter();
        let manifest = Self {
            sequence: document.sequence,
            writer: document.writer,
            about: document.about,
            segments: segments
                .map(|(writer, number, bytes)| (SegmentId { writer, number }, bytes))
                .collect(),
            tables: tables
                .map(|(id, key_columns, runs)| (id, Table { key_columns, runs }))
                .collect(),
        };
        let inside = |block: &Block| {
            let end = block.offset.checked_add(block.bytes);
            end.is_some_and(|end| Some(&end) <= manifest.segments.get(&block.segment))
        };
        if !manifest.tables.values().flat_map(Table::blocks).all(inside) {
            let why = "it names a block outside of its segment".to_owned();
            return Err(Unreadable::Damaged(why));
        }
        Ok(manifest)
    }
}

fn framed(version: u32, json: &[u8]) -> Vec<u8> {
    let checksum = checksum(version, json);
    let line = format!("{MAGIC}{version} {} {checksum:08x}\n", json.len());
    [line.as_bytes(), json].concat()
}

fn unframed(bytes: &[u8]) -> Result<&[u8], Unreadable> {
    let damaged = |what: &str| Unreadable::Damaged(what.to_owned());
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (line, rest) = bytes.split_at(end.ok_or_else(|| damaged("it has no first line"))?);
    let json = &rest[1..];
    let line = std::str::from_utf8(line).ok();
    let fields: Option<Vec<&str>> = line
        .and_then(|line| line.strip_prefix(MAGIC))
        .map(|rest| rest.split(' ').collect());
    let Some([version, length, sum]) = fields.as_deref() else {
        return Err(damaged("its first line is not one of a checkpoint"));
    };
    let version: u32 = version
        .parse()
        .map_err(|_| damaged("its version is no number"))?;
    if length.parse() != Ok(json.len()) {
        return Err(Unreadable::Damaged(format!(
            "it has {} bytes and should have {length}",
            json.len()
        )));
    }
    if *sum != format!("{:08x}", checksum(version, json)) {
        return Err(damaged("its checksum is wrong"));
    }
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    Ok(json)
}

fn checksum(version: u32, json: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&version.to_le_bytes()), json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest() -> Manifest {
        let segment = SegmentId {
            writer: 7,
            number: 12,
        };
        let block = Block {
            segment,
            offset: 64,
            bytes: 900,
            raw: 0,
            rows: 10,
            removals: 3,
            checksum: 5,
        };
        let id = TableId {
            node: 3,
            worker: 1,
            table: "rows".to_owned(),
        };
        let run = Run {
            merged: true,
            blocks: vec![block],
        };
        let table = Table {
            key_columns: 2,
            runs: vec![run],
        };
        Manifest {
            sequence: 42,
            about: json!({"step": 17, "offsets": [["orders", 3, 9_007_199_254_740_993_i64]]}),
            writer: 7,
            tables: BTreeMap::from([(id, table)]),
            segments: BTreeMap::from([(segment, 1000)]),
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was() {
        let bytes = manifest().encode().unwrap();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_damage() {
        let bytes = manifest().encode().unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let read = Manifest::decode(&flipped);
                assert!(matches!(read, Err(Unreadable::Damaged(_))), "{at} {read:?}");
            }
            let read = Manifest::decode(&bytes[..at]);
            assert!(matches!(read, Err(Unreadable::Damaged(_))), "{at} {read:?}");
        }
    }

    #[test]
    fn another_version_is_not_damage() {
        let json = br#"{"whatever":1}"#;
        let read = Manifest::decode(&framed(2, json));
        assert_eq!(read, Err(Unreadable::Version(2)));
    }

    #[test]
    fn a_segments_name_comes_back() {
        let id = SegmentId {
            writer: 7,
            number: 12,
        };
        assert_eq!(SegmentId::parse(&id.to_string()), Some(id));
        assert_eq!(SegmentId::parse("7-12"), None);
        assert_eq!(SegmentId::parse("lock"), None);
    }
}
