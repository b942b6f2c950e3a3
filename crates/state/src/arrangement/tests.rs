//! An arrangement against a plain multiset of rows.

use super::*;
use arrow::array::{Int64Array, StringViewArray};
use millstream_dataflow::testing::{Random, Saved, schema};
use std::collections::BTreeMap;
use std::sync::Arc;

type Model = BTreeMap<(i64, String), i64>;

fn arrays(rows: &[(i64, String)]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringViewArray::from_iter_values(
            rows.iter().map(|row| &row.1),
        )),
    ]
}

fn contents(arrangement: &mut Arrangement, keys: &[i64]) -> Model {
    let probe: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(keys.to_vec()))];
    let mut hashes = Vec::new();
    hash::rows(&probe, keys.len(), &mut hashes).unwrap();
    let (mut matches, mut at) = (Matches::default(), 0);
    while at < keys.len() {
        at = arrangement
            .probe(
                &probe,
                &hashes,
                |_| false,
                at,
                matches.len() + 100,
                &mut matches,
            )
            .unwrap();
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        pairs.extend(
            matches
                .rows
                .iter()
                .copied()
                .zip(matches.ids.iter().copied()),
        );
        assert!(pairs.is_sorted());
    }
    let numbers = arrangement.log().gather(0, &matches.ids).unwrap();
    let texts = arrangement.log().gather(1, &matches.ids).unwrap();
    let mut model = Model::new();
    use arrow::array::AsArray;
    for (pair, id) in matches.ids.iter().enumerate() {
        let key = numbers
            .as_primitive::<arrow::datatypes::Int64Type>()
            .value(pair);
        assert_eq!(key, keys[matches.rows[pair] as usize]);
        let text = texts.as_string_view().value(pair).to_owned();
        *model.entry((key, text)).or_default() += arrangement.log().weight(*id);
    }
    model.retain(|_, weight| *weight != 0);
    model
}

/// Hot keys make chains too long to walk; negative weights come before the rows that they take back.
#[test]
fn weighted_rows_settle_under_any_order() {
    for (seed, keys) in [(1, 2), (2, 50), (3, 4000)] {
        let columns = schema("k bigint, v text");
        let new = || Arrangement::new("rows", &columns, &[0], 0, Retention::Removable).unwrap();
        let (mut arrangement, mut random) = (new(), Random(seed));
        let mut model = Model::new();
        let mut saved = Saved::default();
        arrangement.track().unwrap();
        for _ in 0..60 {
            let rows: Vec<(i64, String)> = (0..random.below(300))
                .map(|_| {
                    let text = format!("{}-some-longer-text", random.below(200));
                    (random.below(keys) as i64, text)
                })
                .collect();
            let weights: Vec<i64> = rows
                .iter()
                .map(|_| [1, 1, 2, -1, -3, 1][random.below(6)])
                .collect();
            for (row, weight) in rows.iter().zip(&weights) {
                *model.entry(row.clone()).or_default() += weight;
            }
            let columns = arrays(&rows);
            let mut hashes = Vec::new();
            hash::rows(&columns[..1], rows.len(), &mut hashes).unwrap();
            let mut ids = Vec::new();
            arrangement
                .apply(&columns, &hashes, &weights, &mut ids)
                .unwrap();
            model.retain(|_, weight| *weight != 0);
            let all: Vec<i64> = (0..keys as i64).collect();
            assert_eq!(contents(&mut arrangement, &all), model);
            if random.below(5) == 0 {
                saved.save(&mut arrangement);
                arrangement = new();
                saved.restore(&mut arrangement, &mut random);
                arrangement.track().unwrap();
                assert_eq!(contents(&mut arrangement, &all), model);
            }
        }
        assert!(!model.is_empty());
    }
}
