//! Expressions: as written, and the AST as sqlparser prints it.

use expect_test::{Expect, expect};
use millstream_sql::{IntervalValue, parse_expression, parse_query};

fn check(expressions: &[&str], expected: &Expect) {
    let lines: Vec<String> = expressions
        .iter()
        .map(|text| match parse_expression(text) {
            Ok(parsed) => {
                assert_eq!(parsed.text, *text);
                format!("{text}\n  {}", parsed.ast)
            }
            Err(error) => format!("{text}\n  ! {error}"),
        })
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn casts() {
    check(
        &[
            "CAST(a AS STRING)",
            "cast(a as row<x int, y array<string>>)",
            "TRY_CAST(s AS DECIMAL(6,2))",
            "CAST(a AS TIMESTAMP_LTZ(3))",
            "CAST(NULL AS BYTES)",
            "CAST(a AS INTERVAL DAY TO SECOND)",
            "CAST(a AS VARCHAR(3)) || CAST(b AS CHAR(4))",
        ],
        &expect![[r#"
            CAST(a AS STRING)
              CAST(a AS FLINK(STRING))
            cast(a as row<x int, y array<string>>)
              CAST(a AS FLINK(ROW<x INT, y ARRAY<STRING>>))
            TRY_CAST(s AS DECIMAL(6,2))
              TRY_CAST(s AS FLINK(DECIMAL(6, 2)))
            CAST(a AS TIMESTAMP_LTZ(3))
              CAST(a AS FLINK(TIMESTAMP_LTZ(3)))
            CAST(NULL AS BYTES)
              CAST(NULL AS FLINK(BYTES))
            CAST(a AS INTERVAL DAY TO SECOND)
              CAST(a AS FLINK(INTERVAL DAY(2) TO SECOND(6)))
            CAST(a AS VARCHAR(3)) || CAST(b AS CHAR(4))
              CAST(a AS FLINK(VARCHAR(3))) || CAST(b AS FLINK(CHAR(4)))"#]],
    );
}

#[test]
fn distinct_from_binds_like_a_comparison() {
    use sqlparser::ast::{BinaryOperator, Expr};
    for text in [
        "a IS DISTINCT FROM b OR c",
        "a IS NOT DISTINCT FROM b AND c",
        "NOT a IS DISTINCT FROM b + 1 OR c = d",
        "a = 1 AND b IS DISTINCT FROM c AND d",
        "a is not distinct from b = c",
    ] {
        let ast = parse_expression(text).unwrap().ast;
        let Expr::BinaryOp { right, op, .. } = &ast else {
            panic!("{text}: {ast:?}");
        };
        assert!(
            matches!(
                op,
                BinaryOperator::Or | BinaryOperator::And | BinaryOperator::Eq
            ),
            "{text}"
        );
        assert!(!right.to_string().contains("DISTINCT"), "{text}: {right}");
    }
    let ast = parse_expression("a IS DISTINCT FROM (b OR c)").unwrap().ast;
    assert!(matches!(ast, Expr::IsDistinctFrom(..)), "{ast:?}");
}

#[test]
fn intervals() {
    check(
        &[
            "INTERVAL '10' MINUTE",
            "INTERVAL '10' MINUTES",
            "INTERVAL '1.5' SECOND",
            "INTERVAL '1' DAY(3)",
            "INTERVAL -'5' SECOND(2, 3)",
            "INTERVAL '-5' DAY",
            "INTERVAL - '-5' DAY",
            "INTERVAL '2' WEEK",
            "INTERVAL '1' QUARTER",
            "INTERVAL '1-6' YEAR TO MONTH",
            "INTERVAL '1 02:03:04' DAY TO SECOND",
            "INTERVAL '1 02:03:04.567' DAY TO SECOND(3)",
            "INTERVAL '-1 02' DAY TO HOUR",
            "INTERVAL '10:20' MINUTE TO SECOND",
            "INTERVAL '01:30' HOUR TO MINUTE",
            "interval + 1",
            "`interval`",
            "interval",
            "ts - INTERVAL '5' SECOND * 2",
            "INTERVAL '1' FORTNIGHT",
            "INTERVAL 'x' DAY",
            "INTERVAL '1.5' DAY",
            "INTERVAL x DAY",
            "INTERVAL (x + 1) DAY",
            "INTERVAL '1 2' DAY TO SECOND",
            "INTERVAL '1' SECOND TO DAY",
            "INTERVAL 5 MINUTE",
        ],
        &expect![[r#"
            INTERVAL '10' MINUTE
              INTERVAL '10' MINUTE
            INTERVAL '10' MINUTES
              INTERVAL '10' MINUTE
            INTERVAL '1.5' SECOND
              INTERVAL '1.5' SECOND
            INTERVAL '1' DAY(3)
              INTERVAL '1' DAY
            INTERVAL -'5' SECOND(2, 3)
              INTERVAL '-5' SECOND
            INTERVAL '-5' DAY
              INTERVAL '-5' DAY
            INTERVAL - '-5' DAY
              INTERVAL '5' DAY
            INTERVAL '2' WEEK
              INTERVAL '14' DAY
            INTERVAL '1' QUARTER
              INTERVAL '3' MONTH
            INTERVAL '1-6' YEAR TO MONTH
              INTERVAL '18' MONTH
            INTERVAL '1 02:03:04' DAY TO SECOND
              INTERVAL '93784' SECOND
            INTERVAL '1 02:03:04.567' DAY TO SECOND(3)
              INTERVAL '93784.567' SECOND
            INTERVAL '-1 02' DAY TO HOUR
              INTERVAL '-93600' SECOND
            INTERVAL '10:20' MINUTE TO SECOND
              INTERVAL '620' SECOND
            INTERVAL '01:30' HOUR TO MINUTE
              INTERVAL '5400' SECOND
            interval + 1
              interval + 1
            `interval`
              `interval`
            interval
              interval
            ts - INTERVAL '5' SECOND * 2
              ts - INTERVAL '5' SECOND * 2
            INTERVAL '1' FORTNIGHT
              ! expected the interval's unit, found `FORTNIGHT` at line 1, column 14 (one of YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND)
            INTERVAL 'x' DAY
              ! the value of INTERVAL 'x' DAY must be a whole number such as '10' at line 1, column 10
            INTERVAL '1.5' DAY
              ! the value of INTERVAL '1.5' DAY must be a whole number such as '10' at line 1, column 10
            INTERVAL x DAY
              ! INTERVAL needs a literal: INTERVAL '10' MINUTE at line 1, column 1 (for an interval that is computed, multiply: x * INTERVAL '1' MINUTE)
            INTERVAL (x + 1) DAY
              ! INTERVAL needs a literal: INTERVAL '10' MINUTE at line 1, column 1 (for an interval that is computed, multiply: x * INTERVAL '1' MINUTE)
            INTERVAL '1 2' DAY TO SECOND
              ! the value of INTERVAL '1 2' DAY TO SECOND must have the form 'd h:m:s' at line 1, column 10
            INTERVAL '1' SECOND TO DAY
              ! an interval cannot go from SECOND to DAY at line 1, column 10
            INTERVAL 5 MINUTE
              INTERVAL '5' MINUTE"#]],
    );
}

#[test]
fn interval_values() {
    let value = |text: &str| IntervalValue::of(&parse_expression(text).unwrap().ast);
    assert_eq!(
        value("INTERVAL '10' MINUTES"),
        Some(IntervalValue::Nanos(600_000_000_000))
    );
    assert_eq!(
        value("INTERVAL '-1.5' SECOND"),
        Some(IntervalValue::Nanos(-1_500_000_000))
    );
    assert_eq!(
        value("INTERVAL '1 00:00:01.25' DAY TO SECOND"),
        Some(IntervalValue::Nanos(86_401_250_000_000))
    );
    assert_eq!(
        value("INTERVAL '1-6' YEAR TO MONTH"),
        Some(IntervalValue::Months(18))
    );
    assert_eq!(value("INTERVAL '2' YEAR"), Some(IntervalValue::Months(24)));
    assert_eq!(value("INTERVAL '9999999999' DAY"), None);
    assert_eq!(value("1"), None);
}

#[test]
fn units() {
    check(
        &[
            "FLOOR(ts TO HOUR)",
            "CEIL(ts TO DAY)",
            "CEILING(x)",
            "FLOOR(x)",
            "floor(x, 2)",
            "TIMESTAMPDIFF(SECOND, a, b)",
            "TIMESTAMPADD(minutes, 5, ts)",
            "TIMESTAMPDIFF(SQL_TSI_DAY, a, b)",
            "EXTRACT(MINUTE FROM ts)",
            "EXTRACT(EPOCH FROM ts)",
            "FLOOR(ts TO HUOR)",
            "TIMESTAMPDIFF(FURLONG, a, b)",
            "TIMESTAMPDIFF(SECOND, a)",
        ],
        &expect![[r#"
            FLOOR(ts TO HOUR)
              FLOOR_TO(ts, 'HOUR')
            CEIL(ts TO DAY)
              CEIL_TO(ts, 'DAY')
            CEILING(x)
              CEIL(x)
            FLOOR(x)
              FLOOR(x)
            floor(x, 2)
              FLOOR(x, 2)
            TIMESTAMPDIFF(SECOND, a, b)
              TIMESTAMPDIFF('SECOND', a, b)
            TIMESTAMPADD(minutes, 5, ts)
              TIMESTAMPADD('MINUTE', 5, ts)
            TIMESTAMPDIFF(SQL_TSI_DAY, a, b)
              TIMESTAMPDIFF('DAY', a, b)
            EXTRACT(MINUTE FROM ts)
              EXTRACT(MINUTE FROM ts)
            EXTRACT(EPOCH FROM ts)
              EXTRACT(EPOCH FROM ts)
            FLOOR(ts TO HUOR)
              ! expected a unit of time, found `HUOR` at line 1, column 13 (did you mean HOUR?)
            TIMESTAMPDIFF(FURLONG, a, b)
              ! expected a unit of time, found `FURLONG` at line 1, column 15 (one of MILLENNIUM, CENTURY, DECADE, YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND, MILLISECOND, MICROSECOND, NANOSECOND)
            TIMESTAMPDIFF(SECOND, a)
              ! TIMESTAMPDIFF takes a unit and two values at line 1, column 1 (write TIMESTAMPDIFF(SECOND, a, b))"#]],
    );
}

#[test]
fn predicates() {
    check(
        &[
            "x BETWEEN 1 AND 2",
            "x BETWEEN ASYMMETRIC 1 AND 2",
            "x NOT BETWEEN ASYMMETRIC 1 AND 2 AND y",
            "x BETWEEN SYMMETRIC 2 AND 1 OR z",
            "x NOT BETWEEN SYMMETRIC a + 1 AND b",
            "x BETWEEN SYMMETRIC 1 AND (y BETWEEN SYMMETRIC 2 AND 3)",
            "x IS DISTINCT FROM y AND z",
            "x IS NOT DISTINCT FROM y",
            "x IS JSON",
            "x IS NOT JSON ARRAY AND y",
            "a || b IS JSON OBJECT",
            "x IS JSON SCALAR",
            "x IS NOT UNKNOWN",
            "x LIKE 'a!_%' ESCAPE '!'",
            "x NOT SIMILAR TO 'a|b'",
            "x IN (1, 2) AND (a, b) IN (SELECT c, d FROM t)",
            "NOT EXISTS (SELECT 1 FROM t)",
            "x > ALL (SELECT y FROM t)",
            "x = ANY (SELECT y FROM t)",
        ],
        &expect![[r#"
            x BETWEEN 1 AND 2
              x BETWEEN 1 AND 2
            x BETWEEN ASYMMETRIC 1 AND 2
              x BETWEEN 1 AND 2
            x NOT BETWEEN ASYMMETRIC 1 AND 2 AND y
              x NOT BETWEEN 1 AND 2 AND y
            x BETWEEN SYMMETRIC 2 AND 1 OR z
              (x BETWEEN 2 AND 1 OR x BETWEEN 1 AND 2) OR z
            x NOT BETWEEN SYMMETRIC a + 1 AND b
              NOT (x BETWEEN a + 1 AND b OR x BETWEEN b AND a + 1)
            x BETWEEN SYMMETRIC 1 AND (y BETWEEN SYMMETRIC 2 AND 3)
              ! BETWEEN SYMMETRIC inside the operands of BETWEEN SYMMETRIC is not supported at line 1, column 11
            x IS DISTINCT FROM y AND z
              x IS DISTINCT FROM y AND z
            x IS NOT DISTINCT FROM y
              x IS NOT DISTINCT FROM y
            x IS JSON
              IS_JSON_VALUE(x)
            x IS NOT JSON ARRAY AND y
              NOT IS_JSON_ARRAY(x) AND y
            a || b IS JSON OBJECT
              IS_JSON_OBJECT(a || b)
            x IS JSON SCALAR
              IS_JSON_SCALAR(x)
            x IS NOT UNKNOWN
              x IS NOT UNKNOWN
            x LIKE 'a!_%' ESCAPE '!'
              x LIKE 'a!_%' ESCAPE '!'
            x NOT SIMILAR TO 'a|b'
              x NOT SIMILAR TO 'a|b'
            x IN (1, 2) AND (a, b) IN (SELECT c, d FROM t)
              x IN (1, 2) AND (a, b) IN (SELECT c, d FROM t)
            NOT EXISTS (SELECT 1 FROM t)
              NOT EXISTS (SELECT 1 FROM t)
            x > ALL (SELECT y FROM t)
              x > ALL(SELECT y FROM t)
            x = ANY (SELECT y FROM t)
              x = ANY(SELECT y FROM t)"#]],
    );
}

#[test]
fn json() {
    check(
        &[
            "JSON_VALUE(x, '$.a')",
            "JSON_VALUE(x, 'lax $.a' RETURNING INT)",
            "JSON_VALUE(x, '$.a' RETURNING DECIMAL(10,2) NULL ON EMPTY DEFAULT -1 ON ERROR)",
            "JSON_VALUE(x, '$' ERROR ON ERROR)",
            "JSON_EXISTS(x, '$.a')",
            "JSON_EXISTS(x, '$.a' TRUE ON ERROR)",
            "JSON_QUERY(x, '$.a')",
            "JSON_QUERY(x, '$.a' WITH WRAPPER)",
            "JSON_QUERY(x, '$.a' RETURNING ARRAY<STRING> WITH CONDITIONAL ARRAY WRAPPER EMPTY ARRAY ON EMPTY NULL ON ERROR)",
            "JSON_QUERY(x, '$.a' WITHOUT ARRAY WRAPPER EMPTY OBJECT ON ERROR)",
            "JSON_OBJECT()",
            "JSON_OBJECT('a' VALUE 1, KEY 'b' VALUE x + 1)",
            "JSON_OBJECT('a' : 1, 'b' : x)",
            "JSON_OBJECT(KEY 'a' VALUE b ABSENT ON NULL)",
            "JSON_OBJECT('a' VALUE 1 NULL ON NULL)",
            "JSON_ARRAY()",
            "JSON_ARRAY(1, x)",
            "JSON_ARRAY(1, x NULL ON NULL)",
            "JSON_ARRAY(1 ABSENT ON NULL)",
            "JSON_OBJECTAGG(KEY k VALUE v)",
            "JSON_OBJECTAGG(k VALUE v ABSENT ON NULL) FILTER (WHERE k IS NOT NULL)",
            "JSON_ARRAYAGG(v NULL ON NULL)",
            "JSON_VALUE(x)",
            "JSON_VALUE(x, '$' NUL ON EMPTY)",
            "JSON_STRING(x)",
        ],
        &expect![[r#"
            JSON_VALUE(x, '$.a')
              JSON_VALUE(x, '$.a')
            JSON_VALUE(x, 'lax $.a' RETURNING INT)
              JSON_VALUE(x, 'lax $.a', 'INT', 'NULL', NULL, 'NULL', NULL)
            JSON_VALUE(x, '$.a' RETURNING DECIMAL(10,2) NULL ON EMPTY DEFAULT -1 ON ERROR)
              JSON_VALUE(x, '$.a', 'DECIMAL(10, 2)', 'NULL', NULL, 'DEFAULT', -1)
            JSON_VALUE(x, '$' ERROR ON ERROR)
              JSON_VALUE(x, '$', 'STRING', 'NULL', NULL, 'ERROR', NULL)
            JSON_EXISTS(x, '$.a')
              JSON_EXISTS(x, '$.a')
            JSON_EXISTS(x, '$.a' TRUE ON ERROR)
              JSON_EXISTS(x, '$.a', 'TRUE')
            JSON_QUERY(x, '$.a')
              JSON_QUERY(x, '$.a')
            JSON_QUERY(x, '$.a' WITH WRAPPER)
              JSON_QUERY(x, '$.a', 'STRING', 'UNCONDITIONAL', 'NULL', 'NULL')
            JSON_QUERY(x, '$.a' RETURNING ARRAY<STRING> WITH CONDITIONAL ARRAY WRAPPER EMPTY ARRAY ON EMPTY NULL ON ERROR)
              JSON_QUERY(x, '$.a', 'ARRAY<STRING>', 'CONDITIONAL', 'EMPTY ARRAY', 'NULL')
            JSON_QUERY(x, '$.a' WITHOUT ARRAY WRAPPER EMPTY OBJECT ON ERROR)
              JSON_QUERY(x, '$.a', 'STRING', 'WITHOUT', 'NULL', 'EMPTY OBJECT')
            JSON_OBJECT()
              JSON_OBJECT()
            JSON_OBJECT('a' VALUE 1, KEY 'b' VALUE x + 1)
              JSON_OBJECT('a', 1, 'b', x + 1)
            JSON_OBJECT('a' : 1, 'b' : x)
              JSON_OBJECT('a', 1, 'b', x)
            JSON_OBJECT(KEY 'a' VALUE b ABSENT ON NULL)
              JSON_OBJECT_ABSENT_ON_NULL('a', b)
            JSON_OBJECT('a' VALUE 1 NULL ON NULL)
              JSON_OBJECT('a', 1)
            JSON_ARRAY()
              JSON_ARRAY()
            JSON_ARRAY(1, x)
              JSON_ARRAY(1, x)
            JSON_ARRAY(1, x NULL ON NULL)
              JSON_ARRAY_NULL_ON_NULL(1, x)
            JSON_ARRAY(1 ABSENT ON NULL)
              JSON_ARRAY(1)
            JSON_OBJECTAGG(KEY k VALUE v)
              JSON_OBJECTAGG(k, v)
            JSON_OBJECTAGG(k VALUE v ABSENT ON NULL) FILTER (WHERE k IS NOT NULL)
              JSON_OBJECTAGG_ABSENT_ON_NULL(k, v) FILTER (WHERE k IS NOT NULL)
            JSON_ARRAYAGG(v NULL ON NULL)
              JSON_ARRAYAGG_NULL_ON_NULL(v)
            JSON_VALUE(x)
              ! expected `,`, found `)` at line 1, column 13
            JSON_VALUE(x, '$' NUL ON EMPTY)
              ! expected `)`, or NULL, ERROR and ON EMPTY or ON ERROR, found `NUL` at line 1, column 19
            JSON_STRING(x)
              JSON_STRING(x)"#]],
    );
}

#[test]
fn values_and_access() {
    check(
        &[
            "ARRAY[1, 2]",
            "ARRAY[]",
            "MAP['k', 1, 'l', x]",
            "MAP['k']",
            "ROW(1, 'x', NULL)",
            "(1, 2)",
            "a[1]",
            "m['k']",
            "r.x",
            "t.r.x.y",
            "t.a[1].b",
            "`dateTime`",
            "\"dateTime\"",
            "person.`dateTime`",
            "'it''s'",
            "1.5e0",
            "2e10",
            "-x",
            ".5",
            "U&'\\00e9'",
            "x % 2",
            "TRUE",
            "a <> b",
            "a != b",
            "row < 5",
        ],
        &expect![[r#"
            ARRAY[1, 2]
              ARRAY[1, 2]
            ARRAY[]
              ARRAY[]
            MAP['k', 1, 'l', x]
              MAP {'k': 1, 'l': x}
            MAP['k']
              ! MAP needs a value for each key at line 1, column 1 (write MAP['key', value, ...])
            ROW(1, 'x', NULL)
              ROW(1, 'x', NULL)
            (1, 2)
              (1, 2)
            a[1]
              a[1]
            m['k']
              m['k']
            r.x
              r.x
            t.r.x.y
              t.r.x.y
            t.a[1].b
              t.a[1].b
            `dateTime`
              `dateTime`
            "dateTime"
              "dateTime"
            person.`dateTime`
              person.`dateTime`
            'it''s'
              'it''s'
            1.5e0
              1.5e0
            2e10
              2e10
            -x
              -x
            .5
              .5
            U&'\00e9'
              U&'\00E9'
            x % 2
              x % 2
            TRUE
              true
            a <> b
              a <> b
            a != b
              a <> b
            row < 5
              ! expected an expression, found the type `row` at line 1, column 1 (a type can stand in CAST(x AS type); a column of this name needs back quotes)"#]],
    );
}

#[test]
fn calls() {
    check(
        &[
            "COUNT(*)",
            "COUNT(DISTINCT a)",
            "COUNT(*) FILTER (WHERE a > 1)",
            "LISTAGG(a, ',')",
            "COLLECT(a)",
            "FIRST_VALUE(a)",
            "SUM(a) OVER (PARTITION BY b ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW)",
            "SUM(a) OVER w",
            "LAG(a, 1) IGNORE NULLS OVER w",
            "PROCTIME()",
            "CURRENT_TIMESTAMP",
            "LOCALTIME",
            "CURRENT_ROW_TIMESTAMP()",
            "`LEFT`(a, 1)",
            "LEFT(a, 1)",
            "IF(a, b, c)",
            "TRIM(LEADING 'x' FROM a)",
            "TRIM(a)",
            "SUBSTRING(a FROM 2 FOR 3)",
            "SUBSTRING(a, 2)",
            "OVERLAY(a PLACING 'x' FROM 2 FOR 1)",
            "POSITION('e' IN a)",
            "TRUNCATE(a, 2)",
            "REPLACE(a, 'b', 'c')",
            "TUMBLE_START(ts, INTERVAL '1' MINUTE)",
            "CASE a WHEN 1 THEN 'x' ELSE 'y' END",
            "CARDINALITY(a)",
            "ELEMENT(a)",
            "GROUPING_ID(a, b)",
            "DATE_FORMAT(ts, 'yyyy')",
            "FINAL LAST(a.x)",
            "RUNNING LAST(a.x) + 1",
            "final",
            "CURRENT_WATERMARK(ts)",
            "TO_TIMESTAMP_LTZ(a, 3)",
            "MAP(a, b)",
            "ROW(a)",
            "YEAR(ts)",
            "MINUTE(ts)",
            "f(a => 1, b => 'x')",
        ],
        &expect![[r#"
            COUNT(*)
              COUNT(*)
            COUNT(DISTINCT a)
              COUNT(DISTINCT a)
            COUNT(*) FILTER (WHERE a > 1)
              COUNT(*) FILTER (WHERE a > 1)
            LISTAGG(a, ',')
              LISTAGG(a, ',')
            COLLECT(a)
              COLLECT(a)
            FIRST_VALUE(a)
              FIRST_VALUE(a)
            SUM(a) OVER (PARTITION BY b ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW)
              SUM(a) OVER (PARTITION BY b ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW)
            SUM(a) OVER w
              SUM(a) OVER w
            LAG(a, 1) IGNORE NULLS OVER w
              LAG(a, 1) IGNORE NULLS OVER w
            PROCTIME()
              PROCTIME()
            CURRENT_TIMESTAMP
              CURRENT_TIMESTAMP
            LOCALTIME
              LOCALTIME
            CURRENT_ROW_TIMESTAMP()
              CURRENT_ROW_TIMESTAMP()
            `LEFT`(a, 1)
              `LEFT`(a, 1)
            LEFT(a, 1)
              LEFT(a, 1)
            IF(a, b, c)
              IF(a, b, c)
            TRIM(LEADING 'x' FROM a)
              TRIM(LEADING 'x' FROM a)
            TRIM(a)
              TRIM(a)
            SUBSTRING(a FROM 2 FOR 3)
              SUBSTRING(a FROM 2 FOR 3)
            SUBSTRING(a, 2)
              SUBSTRING(a, 2)
            OVERLAY(a PLACING 'x' FROM 2 FOR 1)
              OVERLAY(a PLACING 'x' FROM 2 FOR 1)
            POSITION('e' IN a)
              POSITION('e' IN a)
            TRUNCATE(a, 2)
              TRUNCATE(a, 2)
            REPLACE(a, 'b', 'c')
              REPLACE(a, 'b', 'c')
            TUMBLE_START(ts, INTERVAL '1' MINUTE)
              TUMBLE_START(ts, INTERVAL '1' MINUTE)
            CASE a WHEN 1 THEN 'x' ELSE 'y' END
              CASE a WHEN 1 THEN 'x' ELSE 'y' END
            CARDINALITY(a)
              CARDINALITY(a)
            ELEMENT(a)
              ELEMENT(a)
            GROUPING_ID(a, b)
              GROUPING_ID(a, b)
            DATE_FORMAT(ts, 'yyyy')
              DATE_FORMAT(ts, 'yyyy')
            FINAL LAST(a.x)
              FINAL(LAST(a.x))
            RUNNING LAST(a.x) + 1
              RUNNING(LAST(a.x)) + 1
            final
              final
            CURRENT_WATERMARK(ts)
              CURRENT_WATERMARK(ts)
            TO_TIMESTAMP_LTZ(a, 3)
              TO_TIMESTAMP_LTZ(a, 3)
            MAP(a, b)
              MAP(a, b)
            ROW(a)
              ROW(a)
            YEAR(ts)
              YEAR(ts)
            MINUTE(ts)
              MINUTE(ts)
            f(a => 1, b => 'x')
              f(a => 1, b => 'x')"#]],
    );
}

fn check_queries(queries: &[&str], expected: &Expect) {
    let lines: Vec<String> = queries
        .iter()
        .map(|text| match parse_query(text) {
            Ok(parsed) => {
                assert_eq!(parsed.text, *text);
                format!("{text}\n  {}", parsed.ast)
            }
            Err(error) => format!("{text}\n  ! {error}"),
        })
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn queries() {
    check_queries(
        &[
            "TABLE t",
            "(TABLE db.t) UNION ALL TABLE u",
            "VALUES (1, 'a'), (2, 'b')",
            "SELECT * FROM (VALUES (1, 'a')) AS t(a, b)",
            "SELECT a.* FROM a, LATERAL TABLE(split(a.x, ',')) AS t(w)",
            "SELECT * FROM a LEFT JOIN LATERAL TABLE(split(x)) AS t(w) ON TRUE",
            "SELECT * FROM a CROSS JOIN UNNEST(a.items) WITH ORDINALITY AS t(i, n)",
            "SELECT * FROM o, UNNEST(items) AS t (sku, qty)",
            "SELECT * FROM o JOIN p FOR SYSTEM_TIME AS OF o.ts AS p ON o.k = p.k",
            "SELECT * FROM p FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00'",
            "SELECT a FROM t ORDER BY a OFFSET 5 ROWS FETCH NEXT 3 ROWS ONLY",
            "SELECT a FROM t FETCH FIRST ROW ONLY",
            "SELECT a FROM t LIMIT 3 OFFSET 5",
            "SELECT a, COUNT(*) FROM t GROUP BY GROUPING SETS ((a), (a, b), ())",
            "SELECT 1 FROM t GROUP BY ROLLUP (a, b), CUBE (c)",
            "SELECT SUM(x) OVER w FROM t WINDOW w AS (PARTITION BY a ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
            "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1",
            "WITH a AS (SELECT 1 AS x), b(y) AS (SELECT x FROM a) SELECT * FROM b",
            "SELECT * FROM a INTERSECT SELECT * FROM b EXCEPT ALL SELECT * FROM c",
            "SELECT DISTINCT a FROM t WHERE a IN (SELECT b FROM u)",
            "SELECT t.a AS `order` FROM `my table` AS t NATURAL JOIN u",
            "SELECT a FROM t1 FULL OUTER JOIN t2 USING (k)",
            "SELECT * FROM t PIVOT (SUM(x) FOR y IN ('a'))",
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
            "SELECT * FROM t FOR UPDATE",
            "SELECT a FROM ((SELECT 1 AS a) UNION ALL (SELECT 2)) q",
            "SELECT * FROM (a JOIN b ON a.x = b.x)",
            "SELECT TUMBLE_START(ts, INTERVAL '1' DAY) FROM t GROUP BY TUMBLE(ts, INTERVAL '1' DAY)",
        ],
        &expect![[r#"
            TABLE t
              SELECT * FROM `t`
            (TABLE db.t) UNION ALL TABLE u
              (SELECT * FROM `db`.`t`) UNION ALL SELECT * FROM `u`
            VALUES (1, 'a'), (2, 'b')
              VALUES (1, 'a'), (2, 'b')
            SELECT * FROM (VALUES (1, 'a')) AS t(a, b)
              SELECT * FROM (VALUES (1, 'a')) AS t (a, b)
            SELECT a.* FROM a, LATERAL TABLE(split(a.x, ',')) AS t(w)
              SELECT a.* FROM a, LATERAL split(a.x, ',') AS t (w)
            SELECT * FROM a LEFT JOIN LATERAL TABLE(split(x)) AS t(w) ON TRUE
              SELECT * FROM a LEFT JOIN LATERAL split(x) AS t (w) ON true
            SELECT * FROM a CROSS JOIN UNNEST(a.items) WITH ORDINALITY AS t(i, n)
              SELECT * FROM a CROSS JOIN UNNEST(a.items) WITH ORDINALITY AS t (i, n)
            SELECT * FROM o, UNNEST(items) AS t (sku, qty)
              SELECT * FROM o, UNNEST(items) AS t (sku, qty)
            SELECT * FROM o JOIN p FOR SYSTEM_TIME AS OF o.ts AS p ON o.k = p.k
              SELECT * FROM o JOIN p AS p FOR SYSTEM_TIME AS OF o.ts ON o.k = p.k
            SELECT * FROM p FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00'
              SELECT * FROM p FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00'
            SELECT a FROM t ORDER BY a OFFSET 5 ROWS FETCH NEXT 3 ROWS ONLY
              SELECT a FROM t ORDER BY a LIMIT 3 OFFSET 5 ROWS
            SELECT a FROM t FETCH FIRST ROW ONLY
              SELECT a FROM t LIMIT 1
            SELECT a FROM t LIMIT 3 OFFSET 5
              SELECT a FROM t LIMIT 3 OFFSET 5
            SELECT a, COUNT(*) FROM t GROUP BY GROUPING SETS ((a), (a, b), ())
              SELECT a, COUNT(*) FROM t GROUP BY GROUPING SETS ((a), (a, b), ())
            SELECT 1 FROM t GROUP BY ROLLUP (a, b), CUBE (c)
              SELECT 1 FROM t GROUP BY ROLLUP (a, b), CUBE (c)
            SELECT SUM(x) OVER w FROM t WINDOW w AS (PARTITION BY a ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
              SELECT SUM(x) OVER w FROM t WINDOW w AS (PARTITION BY a ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
            SELECT * FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1
              SELECT * FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1
            WITH a AS (SELECT 1 AS x), b(y) AS (SELECT x FROM a) SELECT * FROM b
              WITH a AS (SELECT 1 AS x), b (y) AS (SELECT x FROM a) SELECT * FROM b
            SELECT * FROM a INTERSECT SELECT * FROM b EXCEPT ALL SELECT * FROM c
              SELECT * FROM a INTERSECT SELECT * FROM b EXCEPT ALL SELECT * FROM c
            SELECT DISTINCT a FROM t WHERE a IN (SELECT b FROM u)
              SELECT DISTINCT a FROM t WHERE a IN (SELECT b FROM u)
            SELECT t.a AS `order` FROM `my table` AS t NATURAL JOIN u
              SELECT t.a AS `order` FROM `my table` AS t NATURAL JOIN u
            SELECT a FROM t1 FULL OUTER JOIN t2 USING (k)
              SELECT a FROM t1 FULL JOIN t2 USING(k)
            SELECT * FROM t PIVOT (SUM(x) FOR y IN ('a'))
              ! PIVOT and UNPIVOT are not supported at line 1, column 15 (use one aggregate with FILTER per column)
            WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x
              ! a query cannot write: only SELECT, VALUES and TABLE can stand here at line 1, column 22
            SELECT * FROM t FOR UPDATE
              ! FOR at the end of a query is not supported at line 1, column 1
            SELECT a FROM ((SELECT 1 AS a) UNION ALL (SELECT 2)) q
              SELECT a FROM ((SELECT 1 AS a) UNION ALL (SELECT 2)) q
            SELECT * FROM (a JOIN b ON a.x = b.x)
              SELECT * FROM (a JOIN b ON a.x = b.x)
            SELECT TUMBLE_START(ts, INTERVAL '1' DAY) FROM t GROUP BY TUMBLE(ts, INTERVAL '1' DAY)
              SELECT TUMBLE_START(ts, INTERVAL '1' DAY) FROM t GROUP BY TUMBLE(ts, INTERVAL '1' DAY)"#]],
    );
}

#[test]
fn words_of_sql_as_names() {
    check_queries(
        &[
            "SELECT value, timestamp, date, day, time, name, type, key, `order`, position FROM t",
            "SELECT status AS state, t.date, count(*) AS count FROM t GROUP BY status, t.date",
            "SELECT * FROM user AS u, \"Big Table\" b",
            "SELECT CamelCase FROM MyTable AS T WHERE T.Id = $1 AND b = ?",
        ],
        &expect![[r#"
            SELECT value, timestamp, date, day, time, name, type, key, `order`, position FROM t
              SELECT value, timestamp, date, day, time, name, type, key, `order`, position FROM t
            SELECT status AS state, t.date, count(*) AS count FROM t GROUP BY status, t.date
              SELECT status AS state, t.date, count(*) AS count FROM t GROUP BY status, t.date
            SELECT * FROM user AS u, "Big Table" b
              SELECT * FROM user AS u, "Big Table" b
            SELECT CamelCase FROM MyTable AS T WHERE T.Id = $1 AND b = ?
              SELECT CamelCase FROM MyTable AS T WHERE T.Id = $1 AND b = ?"#]],
    );
}
