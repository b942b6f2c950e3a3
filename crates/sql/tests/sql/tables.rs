//! Table functions, hints and MATCH_RECOGNIZE: what the planner reads out of the AST.

use expect_test::{Expect, expect};
use millstream_sql::{
    IntervalValue, Limits, Statement, TableArg, TableSource, Window, match_within, parse_query,
    parse_script, table_call, table_options, window_call,
};
use sqlparser::ast::{SetExpr, TableFactor};

fn first_factor(query: &str) -> TableFactor {
    let parsed = parse_query(query).unwrap_or_else(|error| panic!("{}", error.render(query, "q")));
    match *parsed.ast.body {
        SetExpr::Select(select) => select.from.into_iter().next().unwrap().relation,
        other => panic!("{other}"),
    }
}

fn window(call: &str) -> String {
    let text = format!("SELECT * FROM {call}");
    match parse_query(&text) {
        Err(error) => format!("! {error}"),
        Ok(_) => match window_call(&first_factor(&text)).unwrap() {
            None => "no window".to_string(),
            Some(found) => {
                let source = match &found.input.source {
                    TableSource::Name(name) => name.to_string(),
                    TableSource::Query(query) => format!("({query})"),
                    TableSource::Call(call) => call.to_string(),
                };
                let keys: Vec<String> = found
                    .input
                    .partition_by
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                let time: Vec<String> = found.time.iter().map(ToString::to_string).collect();
                let alias = found
                    .alias
                    .map(|alias| alias.to_string())
                    .unwrap_or_default();
                format!(
                    "{:?} of {source} by {keys:?} on {} {alias}",
                    found.window,
                    time.join(".")
                )
            }
        },
    }
}

fn check(calls: &[&str], expected: &Expect) {
    let lines: Vec<String> = calls
        .iter()
        .map(|call| format!("{call}\n  {}", window(call)))
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn windows() {
    check(
        &[
            "TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '10' MINUTES))",
            "TABLE(tumble(TABLE db.o, DESCRIPTOR(`ts`), INTERVAL '1' DAY, INTERVAL '8' HOURS)) AS w",
            "TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL -'8' HOUR)) w",
            "TABLE(TUMBLE(DATA => TABLE o, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' MINUTES))",
            "TABLE(HOP(TABLE o, DESCRIPTOR(ts), INTERVAL '5' MINUTES, INTERVAL '10' MINUTES))",
            "TABLE(HOP(TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' MINUTES, SLIDE => INTERVAL '5' MINUTES, DATA => TABLE o))",
            "TABLE(CUMULATE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY))",
            "TABLE(SESSION(TABLE o PARTITION BY usr, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
            "TABLE(SESSION(TABLE o PARTITION BY (usr, r.sku), DESCRIPTOR(r.ts), INTERVAL '1' MINUTE))",
            "TABLE(SESSION(TABLE o PARTITION BY usr, sku, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
            "TABLE(SESSION(DATA => TABLE o PARTITION BY usr, TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '1' MINUTE))",
            "TABLE(SESSION(TABLE o, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
            "TABLE(TUMBLE(TABLE (SELECT * FROM o WHERE a > 1), DESCRIPTOR(ts), INTERVAL '1' HOUR))",
            "TABLE(TUMBLE((SELECT * FROM o), DESCRIPTOR(ts), INTERVAL '1' HOUR))",
            "TABLE(TUMBLE(TABLE (TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' MINUTE)), DESCRIPTOR(window_time), INTERVAL '1' HOUR))",
            "TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR) AS w",
            "TABLE(f(1))",
            "o",
        ],
        &expect![[r#"
            TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '10' MINUTES))
              Tumble { size: 600000000000, offset: 0 } of o by [] on ts 
            TABLE(tumble(TABLE db.o, DESCRIPTOR(`ts`), INTERVAL '1' DAY, INTERVAL '8' HOURS)) AS w
              Tumble { size: 86400000000000, offset: 28800000000000 } of db.o by [] on `ts` AS w
            TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' DAY, INTERVAL -'8' HOUR)) w
              Tumble { size: 86400000000000, offset: -28800000000000 } of o by [] on ts w
            TABLE(TUMBLE(DATA => TABLE o, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' MINUTES))
              Tumble { size: 600000000000, offset: 0 } of o by [] on ts 
            TABLE(HOP(TABLE o, DESCRIPTOR(ts), INTERVAL '5' MINUTES, INTERVAL '10' MINUTES))
              Hop { slide: 300000000000, size: 600000000000, offset: 0 } of o by [] on ts 
            TABLE(HOP(TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' MINUTES, SLIDE => INTERVAL '5' MINUTES, DATA => TABLE o))
              Hop { slide: 300000000000, size: 600000000000, offset: 0 } of o by [] on ts 
            TABLE(CUMULATE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY))
              Cumulate { step: 3600000000000, size: 86400000000000, offset: 0 } of o by [] on ts 
            TABLE(SESSION(TABLE o PARTITION BY usr, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
              Session { gap: 60000000000 } of o by ["usr"] on ts 
            TABLE(SESSION(TABLE o PARTITION BY (usr, r.sku), DESCRIPTOR(r.ts), INTERVAL '1' MINUTE))
              Session { gap: 60000000000 } of o by ["usr", "r.sku"] on r.ts 
            TABLE(SESSION(TABLE o PARTITION BY usr, sku, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
              Session { gap: 60000000000 } of o by ["usr", "sku"] on ts 
            TABLE(SESSION(DATA => TABLE o PARTITION BY usr, TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '1' MINUTE))
              Session { gap: 60000000000 } of o by ["usr"] on ts 
            TABLE(SESSION(TABLE o, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
              Session { gap: 60000000000 } of o by [] on ts 
            TABLE(TUMBLE(TABLE (SELECT * FROM o WHERE a > 1), DESCRIPTOR(ts), INTERVAL '1' HOUR))
              Tumble { size: 3600000000000, offset: 0 } of (SELECT * FROM o WHERE a > 1) by [] on ts 
            TABLE(TUMBLE((SELECT * FROM o), DESCRIPTOR(ts), INTERVAL '1' HOUR))
              Tumble { size: 3600000000000, offset: 0 } of (SELECT * FROM o) by [] on ts 
            TABLE(TUMBLE(TABLE (TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' MINUTE)), DESCRIPTOR(window_time), INTERVAL '1' HOUR))
              Tumble { size: 3600000000000, offset: 0 } of TUMBLE(TABLE(o), DESCRIPTOR(ts), INTERVAL '1' MINUTE) by [] on window_time 
            TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR) AS w
              Tumble { size: 3600000000000, offset: 0 } of o by [] on ts AS w
            TABLE(f(1))
              no window
            o
              no window"#]],
    );
}

#[test]
fn window_errors() {
    check(
        &[
            "TABLE(TUMBLE(o, DESCRIPTOR(ts), INTERVAL '1' HOUR))",
            "TABLE(TUMBLE(TABLE o, ts, INTERVAL '1' HOUR))",
            "TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts)))",
            "TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' MONTH))",
            "TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), 60))",
            "TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '0' HOUR))",
            "TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), SIZ => INTERVAL '1' HOUR))",
            "TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR, SIZE => INTERVAL '1' HOUR))",
            "TABLE(HOP(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR))",
            "TABLE(CUMULATE(TABLE o, DESCRIPTOR(ts), INTERVAL '7' HOUR, INTERVAL '1' DAY))",
            "TABLE(SESSION(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR, 1))",
            "a, LATERAL TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR))",
            "TABLE(TUMBLE(TABLE, DESCRIPTOR(ts), INTERVAL '1' HOUR))",
        ],
        &expect![[r#"
            TABLE(TUMBLE(o, DESCRIPTOR(ts), INTERVAL '1' HOUR))
              ! the first argument of TUMBLE must be a table at line 1, column 21 (write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES))
            TABLE(TUMBLE(TABLE o, ts, INTERVAL '1' HOUR))
              ! the second argument of TUMBLE must be DESCRIPTOR(time column) at line 1, column 21 (write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES))
            TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts)))
              ! TUMBLE needs SIZE at line 1, column 21 (write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES))
            TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' MONTH))
              ! SIZE of TUMBLE must be an interval of days to seconds at line 1, column 53 (write INTERVAL '10' MINUTES)
            TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), 60))
              ! SIZE of TUMBLE must be an interval of days to seconds at line 1, column 53 (write INTERVAL '10' MINUTES)
            TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '0' HOUR))
              ! SIZE of TUMBLE must be positive at line 1, column 21 (write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES))
            TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), SIZ => INTERVAL '1' HOUR))
              ! TUMBLE has no parameter SIZ at line 1, column 21 (did you mean SIZE?)
            TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR, SIZE => INTERVAL '1' HOUR))
              ! TUMBLE is given SIZE twice at line 1, column 21 (write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES))
            TABLE(HOP(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR))
              ! HOP needs SIZE at line 1, column 21 (write HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' MINUTES, INTERVAL '10' MINUTES))
            TABLE(CUMULATE(TABLE o, DESCRIPTOR(ts), INTERVAL '7' HOUR, INTERVAL '1' DAY))
              ! the size of CUMULATE must be a multiple of its step at line 1, column 21 (write CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '1' DAY))
            TABLE(SESSION(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR, 1))
              ! SESSION has too many arguments at line 1, column 21 (write SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' MINUTES))
            a, LATERAL TABLE(TUMBLE(TABLE o, DESCRIPTOR(ts), INTERVAL '1' HOUR))
              ! TUMBLE is a function over a table and cannot stand behind LATERAL at line 1, column 32 (write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES))
            TABLE(TUMBLE(TABLE, DESCRIPTOR(ts), INTERVAL '1' HOUR))
              ! the first argument of TUMBLE must be a table at line 1, column 21 (write TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES))"#]],
    );
}

#[test]
fn other_table_functions() {
    let call = table_call(&first_factor("SELECT * FROM TABLE(ML_PREDICT(TABLE o PARTITION BY (a) ORDER BY ts DESC, DESCRIPTOR(x, y), k => 3)) AS p")).unwrap();
    assert_eq!(call.name, "ML_PREDICT");
    let [
        (None, TableArg::Table(input)),
        (None, TableArg::Descriptor(columns)),
        (Some(k), TableArg::Expr(_)),
    ] = call.args.as_slice()
    else {
        panic!("{call:?}");
    };
    assert_eq!(
        (
            input.partition_by.len(),
            input.order_by.len(),
            columns.len(),
            k.as_str()
        ),
        (1, 1, 2, "K")
    );
    assert_eq!(input.to_table_factor().to_string(), "o");
    let lateral = parse_query("SELECT * FROM a, LATERAL TABLE(f(a.x)) AS t(y)").unwrap();
    let SetExpr::Select(select) = *lateral.ast.body else {
        panic!()
    };
    let call = table_call(&select.from[1].relation).unwrap();
    assert!(
        call.lateral && call.name == "F" && call.args.len() == 1,
        "{call:?}"
    );
}

#[test]
fn hints() {
    let text = "INSERT INTO s /*+ OPTIONS('sink.parallelism'='1') */ SELECT /*+ STATE_TTL('a'='1d') */ * \
                FROM a /*+ OPTIONS('k'='v', 'l'='w') */ AS x JOIN `b` /*+ OPTIONS('k'='v') */ ON TRUE";
    let script = parse_script(text, &Limits::default()).unwrap();
    let Statement::Insert(insert) = &script.statements[0].node else {
        panic!()
    };
    assert_eq!(insert.options[0].key.node, "sink.parallelism");
    let SetExpr::Select(select) = insert.query.ast.body.as_ref() else {
        panic!()
    };
    let pairs = |factor| {
        table_options(factor)
            .into_iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(pairs(&select.from[0].relation), "k=v l=w");
    assert_eq!(pairs(&select.from[0].joins[0].relation), "k=v");
    assert_eq!(script.notes.len(), 1);
    expect![[r#"
        note: the hint STATE_TTL is ignored
         --> f.sql:1:61
          |
        1 | INSERT INTO s /*+ OPTIONS('sink.parallelism'='1') */ SELECT /*+ STATE_TTL('a'='1d') */ * FROM a /*+ OPTIONS('k'='v', 'l'='w') */ AS x JOIN `b` /*+ OPTIONS('k'='...
          |                                                             ^^^^^^^^^^^^^^^^^^^^^^^^^^
          = hint: this engine picks its own strategy"#]].assert_eq(&script.notes[0].render_as("note", text, "f.sql"));
}

#[test]
fn match_recognize() {
    let text = "SELECT * FROM e MATCH_RECOGNIZE (
      PARTITION BY usr ORDER BY ts
      MEASURES V.id AS v_id, FINAL LAST(C.id) AS c_id, MATCH_ROWTIME() AS mt
      ONE ROW PER MATCH
      AFTER MATCH SKIP TO LAST C
      PATTERN (V X*? C{2,3} (A | B)+ D?) WITHIN INTERVAL '10' MINUTE
      DEFINE V AS V.kind = 'view', C AS C.kind = 'cart' AND LAST(C.price, 1) < C.price
    ) AS m";
    let TableFactor::MatchRecognize {
        symbols,
        pattern,
        measures,
        alias,
        ..
    } = first_factor(text)
    else {
        panic!()
    };
    let (within, symbols) = match_within(&symbols);
    assert_eq!(
        within.and_then(IntervalValue::of),
        Some(IntervalValue::Nanos(600_000_000_000))
    );
    assert_eq!((symbols.len(), measures.len()), (2, 3));
    assert_eq!(pattern.to_string(), "V X*? C{2,3} ( A | B )+ D?");
    assert_eq!(alias.unwrap().to_string(), "AS m");
    let without = text.replace("WITHIN INTERVAL '10' MINUTE", "");
    let TableFactor::MatchRecognize { symbols, .. } = first_factor(&without) else {
        panic!()
    };
    assert_eq!((match_within(&symbols).0, symbols.len()), (None, 2));
}

#[test]
fn window_lengths() {
    let factor = first_factor(
        "SELECT * FROM TABLE(HOP(TABLE o, DESCRIPTOR(ts), INTERVAL '1.5' SECOND, INTERVAL '3' SECOND))",
    );
    let found = window_call(&factor).unwrap().unwrap();
    assert_eq!(
        found.window,
        Window::Hop {
            slide: 1_500_000_000,
            size: 3_000_000_000,
            offset: 0
        }
    );
}
