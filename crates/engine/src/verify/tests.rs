//! Views against their batch: equal where they should be, and found out where they are not.

mod live;

use super::{Facts, Pipeline, Side, Verdict, Verified};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use millstream_dataflow::testing::Random;
use std::fmt::Write as _;
use std::sync::Arc;

/// A folder of rows, and a pipeline over them.
struct Case {
    dir: tempfile::TempDir,
    views: String,
}

/// Orders out of order, a second or two, in several files; every 40th comes much too late.
fn orders(random: &mut Random, rows: usize, first: usize, late: bool) -> String {
    let mut text = String::new();
    for row in 0..rows {
        let id = first + row * 2;
        let drift = random.below(3) as i64;
        let behind = if late && row % 40 == 39 { 30 } else { drift };
        let second = (100 + row as i64 / 4 - behind).max(0);
        let customer = match random.below(9) {
            0 => "null".to_owned(),
            n => format!("\"c{}\"", n % 5),
        };
        let price = format!("{}.{:02}", random.below(40), random.below(4) * 25);
        let tags = ["[]", "null", "[\"a\"]", "[\"a\",\"b\"]"][random.below(4)];
        let _ = writeln!(
            text,
            r#"{{"id":{id},"customer":{customer},"sku":"s{}","units":{},"price":{price},"weight":{}.5,"tags":{tags},"at":"2026-01-01 10:{:02}:{:02}"}}"#,
            random.below(6),
            random.below(9) as i64 - 1,
            random.below(7),
            second / 60,
            second % 60,
        );
    }
    text
}

const TABLES: &str = "
CREATE TABLE orders (
  id INT NOT NULL, customer STRING, sku STRING, units BIGINT, price DECIMAL(10, 2), weight DOUBLE, tags ARRAY<STRING>, `at` TIMESTAMP(3),
  p AS PROCTIME(), WATERMARK FOR `at` AS `at` - INTERVAL '2' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${DIR}/orders', 'format' = 'json', 'bad-records' = 'dead-letter');
CREATE TABLE more (
  id INT NOT NULL, customer STRING, sku STRING, units BIGINT, price DECIMAL(10, 2), `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '2' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${DIR}/more', 'format' = 'json');
CREATE TABLE stock (sku STRING, place STRING, units INT)
  WITH ('connector' = 'filesystem', 'path' = '${DIR}/stock', 'format' = 'debezium-json');
";

impl Case {
    fn new(seed: u64, late: bool, views: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut random = Random(seed);
        let folder = |name: &str| {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let (one, two) = (folder("orders"), folder("more"));
        let mut first = orders(&mut random, 160, 0, late);
        first.push_str("{\"id\": \"no number\"}\n");
        std::fs::write(one.join("a.jsonl"), first).unwrap();
        std::fs::write(one.join("b.jsonl"), orders(&mut random, 140, 1, late)).unwrap();
        std::fs::write(two.join("a.jsonl"), orders(&mut random, 120, 0, late)).unwrap();
        let mut changes = String::new();
        for number in 0..60 {
            let sku = number % 7;
            let row = |units: usize| {
                format!(
                    r#"{{"sku":"s{sku}","place":"p{}","units":{units}}}"#,
                    sku % 2
                )
            };
            let before = if number < 7 {
                "null".to_owned()
            } else {
                row(number - 7)
            };
            let (op, after) = match number {
                0..7 => ("c", row(number)),
                57.. => ("d", "null".to_owned()),
                _ => ("u", row(number)),
            };
            let _ = writeln!(
                changes,
                r#"{{"before":{before},"after":{after},"op":"{op}"}}"#
            );
        }
        std::fs::write(folder("stock").join("a.jsonl"), changes).unwrap();
        Self {
            dir,
            views: views.to_owned(),
        }
    }

    fn pipeline(&self) -> Pipeline {
        self.pipeline_of(&[])
    }

    fn pipeline_of(&self, views: &[&str]) -> Pipeline {
        let views: Vec<String> = views.iter().map(|view| (*view).to_owned()).collect();
        let dir = self.dir.path().to_str().unwrap();
        let text = format!("{}{}", TABLES.replace("${DIR}", dir), self.views);
        Pipeline::new(&text, &[], &views).unwrap().0
    }
}

/// What verifying comes to, view by view.
pub(super) fn verified(pipeline: &Pipeline, facts: &Facts) -> Vec<Verified> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(16 << 20)
        .build();
    runtime
        .unwrap()
        .block_on(pipeline.verify(facts, 10, |_| {}))
}

/// What is wrong with any view.
pub(super) fn faults(pipeline: &Pipeline, facts: &Facts) -> Vec<String> {
    let all = verified(pipeline, facts).into_iter();
    let wrong = all.filter(|one| !matches!(one.verdict, Verdict::Equal { .. }));
    wrong
        .map(|one| format!("{}: {:#?}", one.view, one.verdict))
        .collect()
}

const EVERYTHING: &str = "
CREATE MATERIALIZED VIEW plain AS SELECT id, UPPER(sku) AS sku, units * price AS revenue FROM orders WHERE units > 0;
CREATE MATERIALIZED VIEW per_sku AS SELECT sku, COUNT(*) AS n, COUNT(customer) AS cs, SUM(units) AS units, SUM(price) AS revenue, AVG(units) AS au,
  AVG(price) AS ap, MIN(price) AS lo, MAX(`at`) AS hi, SUM(weight) AS w, AVG(weight) AS aw, COUNT(DISTINCT customer) AS buyers,
  SUM(DISTINCT units) AS du, VAR_SAMP(weight) AS vw, STDDEV_POP(price) AS sp, VAR_POP(units) AS vu, COLLECT(units) AS cu,
  SUM(units) FILTER (WHERE price > 20) AS dear FROM orders GROUP BY sku;
CREATE MATERIALIZED VIEW ordered AS SELECT sku, FIRST_VALUE(id) AS f, LAST_VALUE(customer) AS l, LISTAGG(customer, '-') AS cs, ARRAY_AGG(units) AS us
  FROM orders GROUP BY sku;
CREATE MATERIALIZED VIEW total AS SELECT COUNT(*) AS n, SUM(price) AS revenue FROM orders;
CREATE MATERIALIZED VIEW none AS SELECT COUNT(*) AS n FROM orders WHERE units > 1000;
CREATE MATERIALIZED VIEW big AS SELECT sku, units FROM per_sku WHERE units > (SELECT AVG(units) FROM per_sku);
CREATE MATERIALIZED VIEW tumble AS SELECT window_start, window_end, window_time, sku, COUNT(*) AS n, SUM(price) AS revenue, FIRST_VALUE(id) AS f
  FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, window_time, sku;
CREATE MATERIALIZED VIEW hop AS SELECT window_end, COUNT(*) AS n
  FROM TABLE(HOP(TABLE orders, DESCRIPTOR(`at`), INTERVAL '2' SECOND, INTERVAL '6' SECOND)) GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW cumulate AS SELECT window_start, window_end, SUM(units) AS units
  FROM TABLE(CUMULATE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW session AS SELECT customer, window_start, window_end, COUNT(*) AS n
  FROM TABLE(SESSION(TABLE orders PARTITION BY customer, DESCRIPTOR(`at`), INTERVAL '1' SECOND)) GROUP BY customer, window_start, window_end;
CREATE VIEW small AS SELECT window_time AS rt, sku, n FROM tumble;
CREATE MATERIALIZED VIEW cascade AS SELECT window_start, window_end, SUM(n) AS n, COUNT(*) AS skus
  FROM TABLE(TUMBLE(TABLE small, DESCRIPTOR(rt), INTERVAL '20' SECOND)) GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW in_windows AS SELECT id, window_start FROM TABLE(HOP(TABLE orders, DESCRIPTOR(`at`), INTERVAL '2' SECOND, INTERVAL '4' SECOND));
CREATE MATERIALIZED VIEW sets AS SELECT window_end, sku, customer, COUNT(*) AS n, GROUPING_ID(sku, customer) AS g
  FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '20' SECOND)) GROUP BY window_start, window_end, GROUPING SETS ((sku, customer), (sku), ());
CREATE MATERIALIZED VIEW rolled AS SELECT sku, customer, SUM(units) AS units FROM orders GROUP BY ROLLUP (sku, customer);
CREATE MATERIALIZED VIEW in_window AS SELECT w, COUNT(*) AS n FROM
  (SELECT window_end AS w, customer, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '5' SECOND))
   WHERE window_end > TIMESTAMP '2026-01-01 10:01:50' GROUP BY window_end, customer) GROUP BY w;
CREATE MATERIALIZED VIEW best AS SELECT sku, id, price, rn FROM
  (SELECT *, ROW_NUMBER() OVER (PARTITION BY sku ORDER BY price DESC) AS rn FROM orders) WHERE rn <= 3;
CREATE MATERIALIZED VIEW ranked AS SELECT sku, id, r FROM (SELECT *, RANK() OVER (PARTITION BY sku ORDER BY price) AS r FROM orders) WHERE r <= 4;
CREATE MATERIALIZED VIEW latest AS SELECT customer, id, units FROM
  (SELECT *, ROW_NUMBER() OVER (PARTITION BY customer ORDER BY `at` DESC) AS rn FROM orders) WHERE rn = 1;
CREATE MATERIALIZED VIEW first_come AS SELECT customer, id FROM
  (SELECT *, ROW_NUMBER() OVER (PARTITION BY customer ORDER BY p) AS rn FROM orders) WHERE rn = 1;
CREATE MATERIALIZED VIEW window_best AS SELECT window_end, id, rn FROM
  (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY price DESC, id) AS rn
   FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '5' SECOND))) WHERE rn <= 2;
CREATE MATERIALIZED VIEW top AS SELECT id, price FROM orders ORDER BY price DESC LIMIT 7;
CREATE MATERIALIZED VIEW some AS SELECT id FROM orders LIMIT 5;
CREATE MATERIALIZED VIEW over_rows AS SELECT id, SUM(units) OVER (PARTITION BY sku ORDER BY `at` ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s FROM orders;
CREATE MATERIALIZED VIEW over_range AS SELECT id, COUNT(*) OVER w AS n, COUNT(DISTINCT customer) OVER w AS c, MAX(price) OVER w AS m, AVG(units) OVER w AS a
  FROM orders WINDOW w AS (PARTITION BY sku ORDER BY `at` RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW);
CREATE MATERIALIZED VIEW over_all AS SELECT id, SUM(price) OVER (PARTITION BY customer ORDER BY `at`) AS s FROM orders;
CREATE MATERIALIZED VIEW over_arrival AS SELECT id, SUM(units) OVER (PARTITION BY sku ORDER BY p ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM orders;
CREATE MATERIALIZED VIEW stamped AS SELECT id, p FROM orders;
CREATE MATERIALIZED VIEW joined AS SELECT o.id, m.id AS mid, o.sku FROM orders o JOIN more m ON o.customer = m.customer AND o.units = m.units;
CREATE MATERIALIZED VIEW left_joined AS SELECT o.id, s.units FROM orders o LEFT JOIN stock s ON o.sku = s.sku;
CREATE MATERIALIZED VIEW full_joined AS SELECT a.sku AS a, b.sku AS b, a.n FROM (SELECT sku, COUNT(*) AS n FROM orders GROUP BY sku) a FULL JOIN stock b ON a.sku = b.sku;
CREATE MATERIALIZED VIEW interval_joined AS SELECT o.id, m.id AS mid FROM orders o LEFT JOIN more m
  ON o.customer = m.customer AND m.`at` BETWEEN o.`at` - INTERVAL '1' SECOND AND o.`at` + INTERVAL '2' SECOND;
CREATE MATERIALIZED VIEW window_joined AS SELECT l.id, r.id AS rid, l.window_end FROM
  (SELECT * FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '5' SECOND))) l LEFT JOIN
  (SELECT * FROM TABLE(TUMBLE(TABLE more, DESCRIPTOR(`at`), INTERVAL '5' SECOND))) r
  ON l.customer = r.customer AND l.window_start = r.window_start AND l.window_end = r.window_end;
CREATE MATERIALIZED VIEW with_stock AS SELECT id FROM orders WHERE sku IN (SELECT sku FROM stock WHERE units > 50);
CREATE MATERIALIZED VIEW without AS SELECT id FROM orders o WHERE NOT EXISTS (SELECT 1 FROM more m WHERE m.customer = o.customer AND m.units = o.units);
CREATE MATERIALIZED VIEW not_in AS SELECT id FROM orders WHERE customer NOT IN (SELECT customer FROM more WHERE customer IS NOT NULL AND units > 5);
CREATE MATERIALIZED VIEW per_place AS SELECT place, SUM(units) AS units, COUNT(*) AS n, MAX(sku) AS m FROM stock GROUP BY place;
CREATE MATERIALIZED VIEW both AS SELECT customer, units FROM orders UNION ALL SELECT customer, units FROM more;
CREATE MATERIALIZED VIEW both_windows AS SELECT window_end, COUNT(*) AS n FROM
  TABLE(TUMBLE(TABLE (SELECT id, `at` FROM orders UNION ALL SELECT id, `at` FROM more), DESCRIPTOR(`at`), INTERVAL '5' SECOND)) GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW distinct_pairs AS SELECT DISTINCT customer, sku FROM orders;
CREATE MATERIALIZED VIEW common AS SELECT sku, units FROM orders INTERSECT SELECT sku, units FROM more;
CREATE MATERIALIZED VIEW only_first AS SELECT sku, units FROM orders EXCEPT SELECT sku, units FROM more;
CREATE MATERIALIZED VIEW tagged AS SELECT id, tag FROM orders CROSS JOIN UNNEST(tags) AS t (tag);
CREATE MATERIALIZED VIEW tagged_or_not AS SELECT id, tag FROM orders LEFT JOIN UNNEST(tags) AS t (tag) ON TRUE;
CREATE MATERIALIZED VIEW constants AS SELECT a, COUNT(*) AS n FROM (VALUES (1, 'x'), (2, 'y'), (2, 'z')) AS v (a, b) GROUP BY a;
CREATE MATERIALIZED VIEW still AS SELECT id FROM orders WHERE `at` < NOW() - INTERVAL '1' DAY;
CREATE MATERIALIZED VIEW bad AS SELECT reason, COUNT(*) AS n FROM orders_dead_letters GROUP BY reason;
";

#[test]
fn all_that_can_be_maintained_is_equal_however_it_is_cut() {
    for (seed, workers, step_rows, late) in [
        (1, 1, None, false),
        (2, 2, Some(7), false),
        (3, 2, Some(11), true),
        (4, 1, Some(1), true),
    ] {
        let case = Case::new(seed, late, EVERYTHING);
        let pipeline = case.pipeline();
        let facts = pipeline.run(workers, step_rows).unwrap();
        let faults = faults(&pipeline, &facts);
        assert!(faults.is_empty(), "seed {seed}: {}", faults.join("\n"));
    }
}

const FEW: &str = "
CREATE MATERIALIZED VIEW per_sku AS SELECT sku, COUNT(*) AS n FROM orders GROUP BY sku;
CREATE MATERIALIZED VIEW plain AS SELECT id, sku FROM orders;
";

/// A view's rows, changed.
fn damage(facts: &mut Facts, view: &str, change: impl Fn(&RecordBatch) -> RecordBatch) {
    let rows = facts.views.get_mut(view).unwrap().rows.as_mut().unwrap();
    for batch in rows.iter_mut().take(1) {
        *batch = change(batch);
    }
}

#[test]
fn a_damaged_view_is_found_out_and_the_others_are_not() {
    let case = Case::new(5, false, FEW);
    let pipeline = case.pipeline();
    let mut facts = pipeline.run(1, None).unwrap();
    damage(&mut facts, "per_sku", |batch| {
        let n = batch.column(1).as_primitive::<Int64Type>().values();
        let n = n.iter().enumerate().map(|(row, n)| n + i64::from(row == 0));
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(n));
        RecordBatch::try_new(batch.schema(), vec![Arc::clone(batch.column(0)), n]).unwrap()
    });
    let all = verified(&pipeline, &facts);
    let Verdict::Different(differences) = &all[0].verdict else {
        panic!("{all:?}")
    };
    assert_eq!((differences.only_view, differences.only_batch), (1, 1));
    let [one, other] = differences.first.as_slice() else {
        panic!("{differences:?}")
    };
    assert_eq!((one.side, other.side), (Side::View, Side::Batch));
    let n = |row: &str| row.split("n=").nth(1).unwrap().parse::<i64>().unwrap();
    assert_eq!(n(&one.row), n(&other.row) + 1);
    assert_eq!(one.row.split(' ').next(), other.row.split(' ').next());
    assert!(
        matches!(all[1].verdict, Verdict::Equal { rows: 300 }),
        "{all:?}"
    );
}

#[test]
fn rows_that_are_lost_or_doubled_are_counted() {
    let case = Case::new(6, false, FEW);
    let pipeline = case.pipeline();
    let mut facts = pipeline.run(1, None).unwrap();
    damage(&mut facts, "plain", |batch| {
        batch.slice(3, batch.num_rows() - 3)
    });
    let lost = &verified(&pipeline, &facts)[1].verdict;
    let Verdict::Different(differences) = lost else {
        panic!("{lost:?}")
    };
    assert_eq!((differences.only_view, differences.only_batch), (0, 3));
    let rows = facts.views.get_mut("plain").unwrap().rows.as_mut().unwrap();
    let batch = rows[0].clone();
    rows.push(batch.slice(0, 5));
    let doubled = &verified(&pipeline, &facts)[1].verdict;
    let Verdict::Different(differences) = doubled else {
        panic!("{doubled:?}")
    };
    assert_eq!((differences.only_view, differences.only_batch), (5, 3));
}

#[test]
fn what_cannot_be_told_is_said() {
    let views = "
CREATE MATERIALIZED VIEW firsts AS SELECT sku, FIRST_VALUE(id) AS f, COUNT(*) AS n FROM orders GROUP BY sku;
CREATE MATERIALIZED VIEW windows AS SELECT window_end, COUNT(*) AS n
  FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '5' SECOND)) GROUP BY window_start, window_end;
CREATE MATERIALIZED VIEW broken AS SELECT id, 1 / (units - units) AS x FROM orders;";
    let case = Case::new(7, true, views);
    let pipeline = case.pipeline_of(&["firsts", "windows", "broken"]);
    let mut facts = pipeline.run(1, Some(5)).unwrap();
    assert!(facts.views["windows"].late_rows > 0);
    // As if the steps were not known: of a running instance they are not.
    facts.history = None;
    let reasons: Vec<String> = verified(&pipeline, &facts)
        .into_iter()
        .map(|one| match one.verdict {
            Verdict::Unverified { reason, .. } => reason,
            other => panic!("{}: {other:?}", one.view),
        })
        .collect();
    assert!(
        reasons[0].contains("equal but for column `f`: FIRST_VALUE takes values"),
        "{reasons:?}"
    );
    assert!(
        reasons[1].contains("late rows were left out"),
        "{reasons:?}"
    );
    assert!(
        reasons[2].to_lowercase().contains("divide by zero"),
        "{reasons:?}"
    );
}

#[test]
fn what_is_gone_cannot_be_verified() {
    let case = Case::new(8, false, FEW);
    let pipeline = case.pipeline();
    let facts = pipeline.run(1, None).unwrap();
    let file = case.dir.path().join("orders/a.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    let gone = &verified(&pipeline, &facts)[0].verdict;
    let Verdict::Unverified { reason, .. } = gone else {
        panic!("{gone:?}")
    };
    assert!(reason.contains("ends at"), "{reason}");
}
