//! Events as columns: each leaf of the three ROW columns is one loop over the events.

use crate::columns;
use ::nexmark::event::{Auction, Bid, Event, Person};
use arrow::array::{
    ArrayRef, Int32Array, Int64Array, StringViewArray, StructArray, TimestampMillisecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use millstream_dataflow::options::nearest;
use millstream_dataflow::{Error, Result};
use std::sync::Arc;

/// How one field of an event is read.
enum Leaf<E> {
    Number(fn(&E) -> usize),
    Text(fn(&E) -> &str),
    Time(fn(&E) -> u64),
}

const PERSON: [(&str, Leaf<Person>); 8] = [
    ("id", Leaf::Number(|p| p.id)),
    ("name", Leaf::Text(|p| &p.name)),
    ("emailAddress", Leaf::Text(|p| &p.email_address)),
    ("creditCard", Leaf::Text(|p| &p.credit_card)),
    ("city", Leaf::Text(|p| &p.city)),
    ("state", Leaf::Text(|p| &p.state)),
    ("dateTime", Leaf::Time(|p| p.date_time)),
    ("extra", Leaf::Text(|p| &p.extra)),
];

const AUCTION: [(&str, Leaf<Auction>); 10] = [
    ("id", Leaf::Number(|a| a.id)),
    ("itemName", Leaf::Text(|a| &a.item_name)),
    ("description", Leaf::Text(|a| &a.description)),
    ("initialBid", Leaf::Number(|a| a.initial_bid)),
    ("reserve", Leaf::Number(|a| a.reserve)),
    ("dateTime", Leaf::Time(|a| a.date_time)),
    ("expires", Leaf::Time(|a| a.expires)),
    ("seller", Leaf::Number(|a| a.seller)),
    ("category", Leaf::Number(|a| a.category)),
    ("extra", Leaf::Text(|a| &a.extra)),
];

const BID: [(&str, Leaf<Bid>); 7] = [
    ("auction", Leaf::Number(|b| b.auction)),
    ("bidder", Leaf::Number(|b| b.bidder)),
    ("price", Leaf::Number(|b| b.price)),
    ("channel", Leaf::Text(|b| &b.channel)),
    ("url", Leaf::Text(|b| &b.url)),
    ("dateTime", Leaf::Time(|b| b.date_time)),
    ("extra", Leaf::Text(|b| &b.extra)),
];

/// Refuses a declared column that events cannot fill.
pub(super) fn check(table: &str, field: &Field) -> Result<()> {
    let own = own_field(field.name()).ok_or_else(|| {
        let near = nearest(field.name(), ["event_type", "person", "auction", "bid"]);
        let error = Error::user(format!(
            "table `{table}`: nexmark has no column `{}`",
            field.name()
        ));
        match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("its columns are event_type, person, auction and bid"),
        }
    })?;
    fits(table, field.name(), field.data_type(), own.data_type())
}

fn fits(table: &str, name: &str, wanted: &DataType, own: &DataType) -> Result<()> {
    let refuse = || {
        Error::user(format!(
            "table `{table}`: column `{name}` is declared as {wanted}, but nexmark gives {own}"
        ))
    };
    match (wanted, own) {
        (DataType::Struct(wanted), DataType::Struct(own)) => {
            for field in wanted {
                let path = format!("{name}.{}", field.name());
                let Some((_, leaf)) = own.find(field.name()) else {
                    return Err(Error::user(format!(
                        "table `{table}`: nexmark has no field `{path}`"
                    ))
                    .hint(format!("its fields are {}", names(own))));
                };
                fits(table, &path, field.data_type(), leaf.data_type())?;
            }
            Ok(())
        }
        (DataType::Struct(_), _) | (_, DataType::Struct(_)) => Err(refuse()),
        _ if can_cast_types(own, wanted) => Ok(()),
        _ => Err(refuse()),
    }
}

fn names(fields: &Fields) -> String {
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}

fn own_field(name: &str) -> Option<Field> {
    let data_type = match name {
        "event_type" => DataType::Int32,
        "person" => DataType::Struct(fields_of(&PERSON)),
        "auction" => DataType::Struct(fields_of(&AUCTION)),
        "bid" => DataType::Struct(fields_of(&BID)),
        _ => return None,
    };
    Some(Field::new(name, data_type, true))
}

fn fields_of<E>(leaves: &[(&str, Leaf<E>)]) -> Fields {
    let field = |(name, leaf): &(&str, Leaf<E>)| {
        let data_type = match leaf {
            Leaf::Number(_) => DataType::Int64,
            Leaf::Text(_) => DataType::Utf8View,
            Leaf::Time(_) => DataType::Timestamp(TimeUnit::Millisecond, None),
        };
        Field::new(*name, data_type, true)
    };
    leaves.iter().map(field).collect()
}

/// The column or field that a path names, one value for each event, NULL for events of another kind.
pub(super) fn column(events: &[Event], path: &[String], wanted: &DataType) -> Result<ArrayRef> {
    let Some((head, rest)) = path.split_first() else {
        return Err(Error::internal("a wanted column has no name"));
    };
    match head.as_str() {
        "event_type" => {
            let kinds = events.iter().map(|event| event.event_type() as i32);
            columns::to_type(Arc::new(Int32Array::from_iter_values(kinds)), wanted)
        }
        "person" => row(events, rest, wanted, &PERSON, |event| match event {
            Event::Person(person) => Some(person),
            Event::Auction(_) | Event::Bid(_) => None,
        }),
        "auction" => row(events, rest, wanted, &AUCTION, |event| match event {
            Event::Auction(auction) => Some(auction),
            Event::Person(_) | Event::Bid(_) => None,
        }),
        "bid" => row(events, rest, wanted, &BID, |event| match event {
            Event::Bid(bid) => Some(bid),
            Event::Person(_) | Event::Auction(_) => None,
        }),
        other => Err(Error::user(format!("nexmark has no column `{other}`"))),
    }
}

fn row<E>(
    events: &[Event],
    path: &[String],
    wanted: &DataType,
    leaves: &[(&str, Leaf<E>)],
    kind: fn(&Event) -> Option<&E>,
) -> Result<ArrayRef> {
    let leaf = |name: &str, wanted: &DataType| {
        let leaf = leaves.iter().find(|(leaf, _)| *leaf == name);
        let (_, leaf) =
            leaf.ok_or_else(|| Error::user(format!("nexmark has no field `{name}`")))?;
        columns::to_type(values(events, leaf, kind), wanted)
    };
    match (path, wanted) {
        ([name], _) => leaf(name, wanted),
        ([], DataType::Struct(fields)) => {
            let columns = fields
                .iter()
                .map(|field| leaf(field.name(), field.data_type()))
                .collect::<Result<_>>()?;
            let nulls: NullBuffer = events.iter().map(|event| kind(event).is_some()).collect();
            let row = StructArray::try_new(fields.clone(), columns, Some(nulls))?;
            Ok(Arc::new(row))
        }
        _ => Err(Error::user(format!(
            "nexmark has no field `{}` of type {wanted}",
            path.join(".")
        ))),
    }
}

fn values<E>(events: &[Event], leaf: &Leaf<E>, kind: fn(&Event) -> Option<&E>) -> ArrayRef {
    let each = events.iter().map(kind);
    match leaf {
        Leaf::Number(get) => Arc::new(Int64Array::from_iter(
            each.map(|event| event.map(|event| get(event) as i64)),
        )),
        Leaf::Text(get) => Arc::new(StringViewArray::from_iter(each.map(|e| e.map(get)))),
        Leaf::Time(get) => Arc::new(TimestampMillisecondArray::from_iter(
            each.map(|event| event.map(|event| get(event).cast_signed())),
        )),
    }
}
