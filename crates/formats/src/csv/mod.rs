//! The `csv` format: the table's columns by position, or by name where the file has a header.

mod decoder;
mod encoder;
mod settings;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use encoder::CsvEncoding;
pub(crate) use settings::Settings;

use crate::framing::{Framing, Input};
use crate::json::schema_of;
use crate::lane::{Lane, Reading};
use crate::time::Style;
use crate::value::type_name;
use crate::{DecodingFormat, wanted_path};
use arrow::datatypes::{DataType, SchemaRef};
use decoder::CsvDecoder;
use millstream_dataflow::format::Decoder;
use millstream_dataflow::{Changes, Column, Error, Options, Result, Table};
use split::Split;
use std::fmt;
use std::sync::Arc;

/// `csv` as a source's format.
#[derive(Debug)]
pub(crate) struct Csv {
    settings: Settings,
    schema: SchemaRef,
    /// The names of the file's fields, as the table declares them.
    names: Vec<String>,
    /// A lane for each of the table's columns that something is wanted of, with its position.
    lanes: Vec<(usize, Lane)>,
    outputs: Vec<Output>,
}

/// Where a wanted column comes from.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) lane: usize,
    /// The way into a ROW, by position.
    pub(crate) path: Vec<usize>,
}

impl Csv {
    /// Takes the options and settles where each wanted column stands.
    ///
    /// # Errors
    /// `User` for a bad option, a metadata column or a type that CSV cannot hold.
    pub(crate) fn new(options: &mut Options, table: &Table, wanted: &[Column]) -> Result<Self> {
        let settings = Settings::take(options)?;
        let reading = Reading {
            style: Style::Any,
            lenient: settings.ignore_parse_errors,
            strict: false,
        };
        let in_file = |idx: &usize| {
            table.columns[*idx].metadata.is_none() && !table.partitioned_by.contains(idx)
        };
        let columns: Vec<_> = (0..table.columns.len())
            .filter(in_file)
            .map(|idx| &table.columns[idx].field)
            .collect();
        let mut lanes: Vec<(usize, Lane)> = Vec::new();
        let mut outputs = Vec::with_capacity(wanted.len());
        for column in wanted {
            let path = wanted_path("csv", column)?;
            let root = path.first().map_or("", String::as_str);
            let Some(at) = columns.iter().position(|field| field.name() == root) else {
                return Err(Error::user(format!(
                    "table `{}` has no column `{root}` in its records",
                    table.name
                )));
            };
            let data_type = columns[at].data_type();
            refuse_maps(root, data_type)?;
            let lane = match lanes.iter().position(|(place, _)| *place == at) {
                Some(lane) => lane,
                None => {
                    lanes.push((at, Lane::new(root, data_type, reading)?));
                    lanes.len() - 1
                }
            };
            let path = positions(data_type, &path[1..]).ok_or_else(|| {
                Error::user(format!("column `{}` does not exist", path.join(".")))
            })?;
            outputs.push(Output { lane, path });
        }
        Ok(Self {
            settings,
            schema: schema_of(wanted),
            names: columns.iter().map(|field| field.name().clone()).collect(),
            lanes,
            outputs,
        })
    }

    /// For each lane the position of its field in a file with this header, and how many fields there are.
    fn by_header(&self, header: &[u8]) -> Result<(Vec<usize>, usize)> {
        let mut split = Split::default();
        let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header);
        let end = decoder::without_line_end(header, header.len());
        split
            .record(header, 0, end, &self.settings)
            .map_err(|why| Error::user(format!("the header of the file is bad: {why}")))?;
        let names: Vec<_> = split
            .fields
            .iter()
            .map(|field| String::from_utf8_lossy(split.text(header, *field).trim_ascii()))
            .collect();
        let position = |(at, _): &(usize, Lane)| {
            let name = &self.names[*at];
            names.iter().position(|known| known == name).ok_or_else(|| {
                Error::user(format!("the header of the file has no column `{name}`"))
                    .detail(format!("it has: {}", names.join(", ")))
            })
        };
        let places = self
            .lanes
            .iter()
            .map(position)
            .collect::<Result<Vec<_>>>()?;
        Ok((places, names.len()))
    }
}

fn refuse_maps(name: &str, data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::Map(_, _) => Err(Error::user(format!(
            "column `{name}` has the type {}, which csv cannot hold",
            type_name(data_type)
        ))),
        DataType::List(item) => refuse_maps(name, item.data_type()),
        DataType::Struct(fields) => fields
            .iter()
            .try_for_each(|field| refuse_maps(name, field.data_type())),
        _ => Ok(()),
    }
}

/// The positions of the fields of a path into nested ROWs.
fn positions(data_type: &DataType, path: &[String]) -> Option<Vec<usize>> {
    let mut inner = data_type;
    path.iter()
        .map(|name| {
            let DataType::Struct(fields) = inner else {
                return None;
            };
            let (at, field) = fields.find(name)?;
            inner = field.data_type();
            Some(at)
        })
        .collect()
}

impl DecodingFormat for Csv {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn changes(&self) -> Changes {
        Changes::AppendOnly
    }

    fn framing(&self) -> Framing {
        let settings = &self.settings;
        Framing::csv(
            settings.header,
            settings.delimiter,
            settings.quote,
            settings.escape,
            settings.comments,
        )
    }

    fn skips_bad(&self) -> bool {
        self.settings.ignore_parse_errors
    }

    fn open(&self, input: &Input<'_>) -> Result<Box<dyn Decoder>> {
        let (places, width) = match input {
            Input::File {
                header: Some(header),
            } => self.by_header(header)?,
            Input::File { header: None } | Input::Messages => {
                let places = self.lanes.iter().map(|(at, _)| *at).collect();
                (places, self.names.len())
            }
        };
        let lanes = self.lanes.iter().map(|(_, lane)| lane.clone()).collect();
        Ok(Box::new(CsvDecoder::new(
            self.settings.clone(),
            Arc::clone(&self.schema),
            (places, width),
            lanes,
            self.outputs.clone(),
        )))
    }
}

impl fmt::Display for Csv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "csv{}", self.settings)
    }
}
