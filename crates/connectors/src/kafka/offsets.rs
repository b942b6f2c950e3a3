//! Where reading begins and ends: the options `scan.startup.*` and `scan.bounded.*`. Pure: what brokers answer is given
//! by the caller.

use millstream_dataflow::{Options, Result};
use std::collections::BTreeMap;

/// A place that every partition has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The first record that is still there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// What the consumer group has committed.
    Group,
    /// The first record of this time (in milliseconds) or later.
    Timestamp(i64),
    /// Offsets by partition.
    Specific(BTreeMap<i32, i64>),
}

/// The option 'scan.startup.mode' and its values.
pub(super) fn startup(options: &mut Options) -> Result<Place> {
    let word = options.word(
        "scan.startup.mode",
        &[
            "group-offsets",
            "earliest-offset",
            "latest-offset",
            "timestamp",
            "specific-offsets",
        ],
    )?;
    place(options, "scan.startup", &word)
}

/// The option 'scan.bounded.mode' and its values; `None`: reading does not end.
pub(super) fn bounded(options: &mut Options) -> Result<Option<Place>> {
    let word = options.word(
        "scan.bounded.mode",
        &[
            "unbounded",
            "latest-offset",
            "group-offsets",
            "timestamp",
            "specific-offsets",
        ],
    )?;
    match word.as_str() {
        "unbounded" => {
            unused(options, "scan.bounded", "")?;
            Ok(None)
        }
        _ => place(options, "scan.bounded", &word).map(Some),
    }
}

fn place(options: &mut Options, prefix: &str, word: &str) -> Result<Place> {
    let place = match word {
        "earliest-offset" => Place::Earliest,
        "latest-offset" => Place::Latest,
        "timestamp" => {
            let name = format!("{prefix}.timestamp-millis");
            let text = options.required(&name)?;
            let number = text.trim().parse();
            Place::Timestamp(
                number.map_err(|_| options.invalid(&name, &text, "milliseconds since 1970"))?,
            )
        }
        "specific-offsets" => {
            let name = format!("{prefix}.specific-offsets");
            let text = options.required(&name)?;
            let wanted = "offsets in the form 'partition:0,offset:42;partition:1,offset:300'";
            Place::Specific(specific(&text).ok_or_else(|| options.invalid(&name, &text, wanted))?)
        }
        _ => Place::Group,
    };
    unused(options, prefix, word)?;
    Ok(place)
}

/// Refuses the values of modes that were not chosen: they would be without effect.
fn unused(options: &mut Options, prefix: &str, word: &str) -> Result<()> {
    for (mode, value) in [
        ("timestamp", "timestamp-millis"),
        ("specific-offsets", "specific-offsets"),
    ] {
        let name = format!("{prefix}.{value}");
        if mode == word {
            continue;
        }
        if let Some(given) = options.text(&name) {
            let wanted = format!("left out unless '{prefix}.mode' is '{mode}'");
            return Err(options.invalid(&name, &given, &wanted));
        }
    }
    Ok(())
}

/// `partition:0,offset:42;partition:1,offset:300`
fn specific(text: &str) -> Option<BTreeMap<i32, i64>> {
    let mut offsets = BTreeMap::new();
    for each in text
        .split(';')
        .map(str::trim)
        .filter(|each| !each.is_empty())
    {
        let (partition, offset) = each.split_once(',')?;
        let partition = partition
            .trim()
            .strip_prefix("partition:")?
            .trim()
            .parse()
            .ok()?;
        let offset = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        if offset < 0 || offsets.insert(partition, offset).is_some() {
            return None;
        }
    }
    (!offsets.is_empty()).then_some(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        Options::new(
            "t",
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        )
    }

    #[test]
    fn every_mode_has_its_values() {
        assert_eq!(startup(&mut options(&[])).unwrap(), Place::Group);
        let given = [
            ("scan.startup.mode", "timestamp"),
            ("scan.startup.timestamp-millis", "17"),
        ];
        assert_eq!(startup(&mut options(&given)).unwrap(), Place::Timestamp(17));
        let given = [
            ("scan.bounded.mode", "specific-offsets"),
            (
                "scan.bounded.specific-offsets",
                "partition:0,offset:42;partition:1,offset:300",
            ),
        ];
        let wanted = Place::Specific(BTreeMap::from([(0, 42), (1, 300)]));
        assert_eq!(bounded(&mut options(&given)).unwrap(), Some(wanted));
        assert_eq!(bounded(&mut options(&[])).unwrap(), None);
    }

    #[test]
    fn values_without_their_mode_are_refused() {
        let error = startup(&mut options(&[("scan.startup.timestamp-millis", "17")])).unwrap_err();
        assert!(
            error
                .message
                .contains("unless 'scan.startup.mode' is 'timestamp'"),
            "{error}"
        );
        let error = startup(&mut options(&[("scan.startup.mode", "timestamp")])).unwrap_err();
        assert!(
            error.message.contains("scan.startup.timestamp-millis"),
            "{error}"
        );
        let given = [
            ("scan.startup.mode", "specific-offsets"),
            ("scan.startup.specific-offsets", "0:42"),
        ];
        assert!(startup(&mut options(&given)).is_err());
    }
}
