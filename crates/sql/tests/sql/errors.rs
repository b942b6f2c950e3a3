//! Bad texts and what the user reads.

use expect_test::{Expect, expect};
use millstream_sql::parse;

fn check(texts: &[&str], expected: &Expect) {
    let rendered: Vec<String> = texts
        .iter()
        .map(|text| match parse(text) {
            Ok(statements) => panic!("parsed: {text}\n{statements:?}"),
            Err(error) => error.render(text, "f.sql"),
        })
        .collect();
    expected.assert_eq(&rendered.join("\n\n"));
}

#[test]
fn statements() {
    check(
        &[
            "SELEC 1",
            "SELECT 1 2",
            "CREAT TABLE t (a INT)",
            "CREATE TABEL t (a INT)",
            "DROP t",
            "UPDATE t SET a = 1",
            "CREATE FUNCTION f AS 'x'",
            "CREATE OR REPLACE TABLE t (a INT)",
            "CREATE MATERIALIZED TABLE t AS SELECT 1",
            "CREATE TEMPORARY MATERIALIZED VIEW t AS SELECT 1",
            "CREATE VIEW v WITH ('a' = 'b') AS SELECT 1",
            "INSERT t SELECT 1",
            "INSERT INTO t",
            "SET a b",
            "SHOW TABEL",
            "EXPLAIN DROP TABLE t",
            "BEGIN STATEMENT SET; INSERT INTO a SELECT 1;",
            "BEGIN STATEMENT SET; END;",
            "BEGIN STATEMENT SET; SELECT 1; END",
            "END",
            "42",
            "SELECT 1;\nSELECT 2;\n  FROM t",
            "ALTER TABLE t ADD COLUMN a INT",
            "BEGIN",
        ],
        &expect![[r#"
            error: unknown statement `SELEC`
             --> f.sql:1:1
              |
            1 | SELEC 1
              | ^^^^^
              = hint: did you mean SELECT?

            error: expected the end of the statement, found `2`
             --> f.sql:1:10
              |
            1 | SELECT 1 2
              |          ^

            error: unknown statement `CREAT`
             --> f.sql:1:1
              |
            1 | CREAT TABLE t (a INT)
              | ^^^^^
              = hint: did you mean CREATE?

            error: expected TABLE, VIEW, MATERIALIZED, FUNCTION, CATALOG, DATABASE or MODEL, found `TABEL`
             --> f.sql:1:8
              |
            1 | CREATE TABEL t (a INT)
              |        ^^^^^
              = hint: did you mean TABLE?

            error: expected TABLE, VIEW, MATERIALIZED, CATALOG, DATABASE or FUNCTION, found `t`
             --> f.sql:1:6
              |
            1 | DROP t
              |      ^

            error: UPDATE is not supported
             --> f.sql:1:1
              |
            1 | UPDATE t SET a = 1
              | ^^^^^^
              = hint: tables change only through their connectors; a view updates itself

            error: CREATE FUNCTION is not supported
             --> f.sql:1:8
              |
            1 | CREATE FUNCTION f AS 'x'
              |        ^^^^^^^^
              = hint: all functions are built in

            error: CREATE OR REPLACE TABLE is not supported
             --> f.sql:1:8
              |
            1 | CREATE OR REPLACE TABLE t (a INT)
              |        ^^
              = hint: write DROP TABLE IF EXISTS before it

            error: there are no materialized tables
             --> f.sql:1:8
              |
            1 | CREATE MATERIALIZED TABLE t AS SELECT 1
              |        ^^^^^^^^^^^^
              = hint: write CREATE MATERIALIZED VIEW: it is kept up to date with every change of its sources

            error: a materialized view cannot be temporary
             --> f.sql:1:8
              |
            1 | CREATE TEMPORARY MATERIALIZED VIEW t AS SELECT 1
              |        ^^^^^^^^^
              = hint: write CREATE TEMPORARY VIEW, or leave out TEMPORARY

            error: a view has no options
             --> f.sql:1:15
              |
            1 | CREATE VIEW v WITH ('a' = 'b') AS SELECT 1
              |               ^^^^
              = hint: options belong to CREATE TABLE and CREATE MATERIALIZED VIEW

            error: expected INTO or OVERWRITE, found `t`
             --> f.sql:1:8
              |
            1 | INSERT t SELECT 1
              |        ^

            error: expected SELECT, VALUES, or a subquery in the query body, found the end of the statement
             --> f.sql:1:14
              |
            1 | INSERT INTO t
              |              ^

            error: expected `=`, found the end of the statement
             --> f.sql:1:8
              |
            1 | SET a b
              |        ^
              = hint: write SET 'key' = 'value'

            error: expected TABLES, VIEWS, MATERIALIZED, CREATE, COLUMNS, USER, FUNCTIONS, CATALOGS, DATABASES, CURRENT or JOBS, found `TABEL`
             --> f.sql:1:6
              |
            1 | SHOW TABEL
              |      ^^^^^

            error: this statement has no plan
             --> f.sql:1:9
              |
            1 | EXPLAIN DROP TABLE t
              |         ^^^^
              = hint: EXPLAIN takes a query, an INSERT, a STATEMENT SET or a CREATE MATERIALIZED VIEW

            error: the statement set has no end
             --> f.sql:1:1
              |
            1 | BEGIN STATEMENT SET; INSERT INTO a SELECT 1;
              | ^^^^^
              = hint: end it with END;

            error: the statement set is empty
             --> f.sql:1:1
              |
            1 | BEGIN STATEMENT SET; END;
              | ^^^^^
              = hint: put INSERT statements before END

            error: expected INSERT in the statement set, found `SELECT`
             --> f.sql:1:22
              |
            1 | BEGIN STATEMENT SET; SELECT 1; END
              |                      ^^^^^^
              = hint: end the set with END; before other statements

            error: END without a statement set
             --> f.sql:1:1
              |
            1 | END
              | ^^^
              = hint: open it with BEGIN STATEMENT SET;

            error: expected a statement, found `42`
             --> f.sql:1:1
              |
            1 | 42
              | ^^

            error: unknown statement `FROM`
             --> f.sql:3:3
              |
            3 |   FROM t
              |   ^^^^
              = hint: a statement starts with SELECT, INSERT, CREATE, DROP, ALTER, WITH, VALUES, SET, RESET, EXPLAIN, SHOW, DESCRIBE, USE, EXECUTE, BEGIN, END, TABLE

            error: expected RENAME, SET or RESET, found `ADD`
             --> f.sql:1:15
              |
            1 | ALTER TABLE t ADD COLUMN a INT
              |               ^^^

            error: expected STATEMENT, found the end of the statement
             --> f.sql:1:6
              |
            1 | BEGIN
              |      ^"#]],
    );
}

#[test]
fn tables() {
    check(
        &[
            "CREATE TABLE t (a INTT)",
            "CREATE TABLE t (a TEXT)",
            "CREATE TABLE t (a DECIMAL(50, 2))",
            "CREATE TABLE t (a TIMESTAMP(12))",
            "CREATE TABLE t (a ROW<b INT)",
            "CREATE TABLE t (a ARRAY<INT>>)",
            "CREATE TABLE t (a MAP<INT>)",
            "CREATE TABLE t (a TIMESTAMP(3) WITH TIME ZONE)",
            "CREATE TABLE t (a INT, a INT)",
            "CREATE TABLE t (a INT, )",
            "CREATE TABLE t (a INT b INT)",
            "CREATE TABLE t (a)",
            "CREATE TABLE t",
            "CREATE TABLE t ()",
            "CREATE TABLE t (a INT, PRIMARY KEY (a))",
            "CREATE TABLE t (a INT, UNIQUE (a))",
            "CREATE TABLE t (a INT UNIQUE)",
            "CREATE TABLE t (a INT DEFAULT 1)",
            "CREATE TABLE t (a INT PRIMARY KEY NOT ENFORCED, PRIMARY KEY (a) NOT ENFORCED)",
            "CREATE TABLE t (a INT, WATERMARK FOR a AS a, WATERMARK FOR a AS a)",
            "CREATE TABLE t (a INT, WATERMAK FOR a AS a)",
            "CREATE TABLE t (a INT) WITH ('a' = 'b' 'c' = 'd')",
            "CREATE TABLE t (a INT) WITH (a = 'b')",
            "CREATE TABLE t (a INT) WITH ('a' = 1)",
            "CREATE TABLE t (a INT) WITH ('a' = 'b', 'a' = 'c')",
            "CREATE TABLE t (a INT) DISTRIBUTED BY (a)",
            "CREATE TABLE t (a INT) LIKE u (OVERWRITING ALL)",
            "CREATE TABLE t (a INT) LIKE u (INCLUDING OPTION)",
            "CREATE TABLE t (order INT, b)",
            "CREATE TABLE t (a ROW<b INT, b INT>)",
            "CREATE TABLE t (\n  a INT,\n  b AS a +\n)",
            "CREATE TABLE t (a INT) AS SELECT 1 LIKE",
        ],
        &expect![[r#"
            error: unknown type `INTT`
             --> f.sql:1:19
              |
            1 | CREATE TABLE t (a INTT)
              |                   ^^^^
              = hint: did you mean INT?

            error: unknown type `TEXT`
             --> f.sql:1:19
              |
            1 | CREATE TABLE t (a TEXT)
              |                   ^^^^
              = hint: did you mean STRING?

            error: the precision of DECIMAL must be between 1 and 38
             --> f.sql:1:27
              |
            1 | CREATE TABLE t (a DECIMAL(50, 2))
              |                           ^^

            error: a precision must be between 0 and 9
             --> f.sql:1:29
              |
            1 | CREATE TABLE t (a TIMESTAMP(12))
              |                             ^^

            error: expected `>`, found `)`
             --> f.sql:1:28
              |
            1 | CREATE TABLE t (a ROW<b INT)
              |                            ^

            error: one `>` too many
             --> f.sql:1:28
              |
            1 | CREATE TABLE t (a ARRAY<INT>>)
              |                            ^^

            error: expected `,` between the key's and the value's type, found `>`
             --> f.sql:1:26
              |
            1 | CREATE TABLE t (a MAP<INT>)
              |                          ^

            error: TIMESTAMP WITH TIME ZONE is not a type of Flink's SQL
             --> f.sql:1:32
              |
            1 | CREATE TABLE t (a TIMESTAMP(3) WITH TIME ZONE)
              |                                ^^^^
              = hint: did you mean TIMESTAMP_LTZ(3)?

            error: the table has two columns `a`
             --> f.sql:1:24
              |
            1 | CREATE TABLE t (a INT, a INT)
              |                        ^

            error: expected a column after the comma, found `)`
             --> f.sql:1:24
              |
            1 | CREATE TABLE t (a INT, )
              |                        ^
              = hint: leave out the comma

            error: expected `,` or `)` after a column, found `b`
             --> f.sql:1:23
              |
            1 | CREATE TABLE t (a INT b INT)
              |                       ^

            error: the column `a` has no type
             --> f.sql:1:17
              |
            1 | CREATE TABLE t (a)
              |                 ^
              = hint: write `a` STRING, or another type

            error: the table has no columns
             --> f.sql:1:15
              |
            1 | CREATE TABLE t
              |               ^
              = hint: write CREATE TABLE `t` (id BIGINT, ...)

            error: the table has no columns
             --> f.sql:1:18
              |
            1 | CREATE TABLE t ()
              |                  ^
              = hint: write CREATE TABLE `t` (id BIGINT, ...)

            error: a PRIMARY KEY cannot be enforced
             --> f.sql:1:24
              |
            1 | CREATE TABLE t (a INT, PRIMARY KEY (a))
              |                        ^^^^^^^
              = hint: write NOT ENFORCED after it: the source must keep the key unique

            error: UNIQUE, CHECK and FOREIGN KEY constraints are not supported
             --> f.sql:1:24
              |
            1 | CREATE TABLE t (a INT, UNIQUE (a))
              |                        ^^^^^^
              = hint: only PRIMARY KEY (...) NOT ENFORCED can be declared: the engine does not own the data and cannot enforce others

            error: UNIQUE, CHECK and FOREIGN KEY constraints are not supported
             --> f.sql:1:23
              |
            1 | CREATE TABLE t (a INT UNIQUE)
              |                       ^^^^^^
              = hint: only PRIMARY KEY (...) NOT ENFORCED can be declared: the engine does not own the data and cannot enforce others

            error: columns have no DEFAULT
             --> f.sql:1:23
              |
            1 | CREATE TABLE t (a INT DEFAULT 1)
              |                       ^^^^^^^
              = hint: give the value in the query that writes, or with COALESCE in the one that reads

            error: a table can have only one PRIMARY KEY
             --> f.sql:1:49
              |
            1 | CREATE TABLE t (a INT PRIMARY KEY NOT ENFORCED, PRIMARY KEY (a) NOT ENFORCED)
              |                                                 ^^^^^^^

            error: a table can have only one WATERMARK
             --> f.sql:1:46
              |
            1 | CREATE TABLE t (a INT, WATERMARK FOR a AS a, WATERMARK FOR a AS a)
              |                                              ^^^^^^^^^

            error: unknown type `FOR`
             --> f.sql:1:33
              |
            1 | CREATE TABLE t (a INT, WATERMAK FOR a AS a)
              |                                 ^^^
              = hint: did you mean WATERMARK instead of `WATERMAK`?

            error: expected `,` or `)`, found 'c'
             --> f.sql:1:40
              |
            1 | CREATE TABLE t (a INT) WITH ('a' = 'b' 'c' = 'd')
              |                                        ^^^

            error: expected an option's key in single quotes, found `a`
             --> f.sql:1:30
              |
            1 | CREATE TABLE t (a INT) WITH (a = 'b')
              |                              ^
              = hint: write 'key' = 'value'

            error: expected the option's value in single quotes, found `1`
             --> f.sql:1:36
              |
            1 | CREATE TABLE t (a INT) WITH ('a' = 1)
              |                                    ^
              = hint: write 'key' = 'value'

            error: the option 'a' is given twice
             --> f.sql:1:41
              |
            1 | CREATE TABLE t (a INT) WITH ('a' = 'b', 'a' = 'c')
              |                                         ^^^

            error: DISTRIBUTED is not supported
             --> f.sql:1:24
              |
            1 | CREATE TABLE t (a INT) DISTRIBUTED BY (a)
              |                        ^^^^^^^^^^^
              = hint: leave it out: rows are distributed by the keys that the plan needs

            error: this cannot be overwritten
             --> f.sql:1:44
              |
            1 | CREATE TABLE t (a INT) LIKE u (OVERWRITING ALL)
              |                                            ^^^
              = hint: OVERWRITING goes with GENERATED, METADATA, OPTIONS and WATERMARKS

            error: expected ALL, CONSTRAINTS, DISTRIBUTION, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS, found `OPTION`
             --> f.sql:1:42
              |
            1 | CREATE TABLE t (a INT) LIKE u (INCLUDING OPTION)
              |                                          ^^^^^^
              = hint: did you mean OPTIONS?

            error: the column `b` has no type
             --> f.sql:1:28
              |
            1 | CREATE TABLE t (order INT, b)
              |                            ^
              = hint: write `b` STRING, or another type

            error: the row has two fields `b`
             --> f.sql:1:30
              |
            1 | CREATE TABLE t (a ROW<b INT, b INT>)
              |                              ^

            error: expected an expression, found `)`
             --> f.sql:4:1
              |
            4 | )
              | ^

            error: expected an expression, found the end of the statement
             --> f.sql:1:40
              |
            1 | CREATE TABLE t (a INT) AS SELECT 1 LIKE
              |                                        ^"#]],
    );
}

#[test]
fn queries() {
    check(
        &[
            "SELECT a FRM t",
            "SELECT a FROM t WHER a = 1",
            "SELECT a, FROM t",
            "SELECT a FROM",
            "SELECT (a FROM t",
            "SELECT a) FROM t",
            "SELECT 'abc FROM t",
            "SELECT `a FROM t",
            "SELECT a FROM (SELECT b FRM u WHERE x = 1) q",
            "SELECT * FROM t JOIN u ON",
            "SELECT CAST(a AS STRNG) FROM t",
            "SELECT CAST(a STRING) FROM t",
            "SELECT a FROM t GROUP a",
            "SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HUOR))",
            "SELECT * FROM TABLE(TUMBEL(TABLE t, DESCRIPTOR(ts)",
            "SELECT CASE WHEN a THEN b FROM t",
            "SELECT /*+ OPTION('a'='b') */ 1",
            "SELECT 1 + /*+ OPTIONS('a'='b') */ 2",
            "SELECT * FROM t /*+ OPTIONS(a=b) */",
            "SELECT a FROM t WHERE x IN (1, 2",
            "SELECT /* never closed",
            "SELECT a FROM t\nWHERE b = 1\n  AND c == == d\nGROUP BY a",
            "SELECT COUNT(*) FILTER (WHERE) FROM t",
            "SELECT * FROM e MATCH_RECOGNIZE (PATTERN (A B) WITHIN INTERVAL '1' HOURR DEFINE A AS TRUE)",
            "SELECT ARRAY<INT> FROM t",
            "SELECT 'été', x y z FROM t",
            "WITH a AS SELECT 1 SELECT 2",
            "SELECT a FROM t UNION SELECT",
            "SELECT * FROM t ORDER BY",
        ],
        &expect![[r#"
            error: expected the end of the statement, found `t`
             --> f.sql:1:14
              |
            1 | SELECT a FRM t
              |              ^
              = hint: did you mean FROM instead of `FRM`?

            error: expected the end of the statement, found `a`
             --> f.sql:1:22
              |
            1 | SELECT a FROM t WHER a = 1
              |                      ^
              = hint: did you mean WHERE instead of `WHER`?

            error: expected an expression, found `FROM`
             --> f.sql:1:16
              |
            1 | SELECT a, FROM t
              |                ^

            error: expected identifier, found the end of the statement
             --> f.sql:1:14
              |
            1 | SELECT a FROM
              |              ^

            error: expected `)`, found `FROM`
             --> f.sql:1:11
              |
            1 | SELECT (a FROM t
              |           ^^^^

            error: expected the end of the statement, found `)`
             --> f.sql:1:9
              |
            1 | SELECT a) FROM t
              |         ^

            error: unterminated string literal
             --> f.sql:1:8
              |
            1 | SELECT 'abc FROM t
              |        ^

            error: expected close delimiter '`' before EOF
             --> f.sql:1:8
              |
            1 | SELECT `a FROM t
              |        ^

            error: expected `)`, found `u`
             --> f.sql:1:29
              |
            1 | SELECT a FROM (SELECT b FRM u WHERE x = 1) q
              |                             ^
              = hint: did you mean FROM instead of `FRM`?

            error: expected an expression, found the end of the statement
             --> f.sql:1:26
              |
            1 | SELECT * FROM t JOIN u ON
              |                          ^

            error: unknown type `STRNG`
             --> f.sql:1:18
              |
            1 | SELECT CAST(a AS STRNG) FROM t
              |                  ^^^^^
              = hint: did you mean STRING?

            error: expected AS, found `STRING`
             --> f.sql:1:15
              |
            1 | SELECT CAST(a STRING) FROM t
              |               ^^^^^^

            error: expected the end of the statement, found `GROUP`
             --> f.sql:1:17
              |
            1 | SELECT a FROM t GROUP a
              |                 ^^^^^
              = hint: write GROUP BY

            error: expected the interval's unit, found `HUOR`
             --> f.sql:1:66
              |
            1 | SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HUOR))
              |                                                                  ^^^^
              = hint: did you mean HOUR?

            error: expected `)`, found the end of the statement
             --> f.sql:1:51
              |
            1 | SELECT * FROM TABLE(TUMBEL(TABLE t, DESCRIPTOR(ts)
              |                                                   ^

            error: expected END, found `FROM`
             --> f.sql:1:27
              |
            1 | SELECT CASE WHEN a THEN b FROM t
              |                           ^^^^

            error: unknown hint OPTION
             --> f.sql:1:8
              |
            1 | SELECT /*+ OPTION('a'='b') */ 1
              |        ^^^^^^^^^^^^^^^^^^^^^^
              = hint: did you mean OPTIONS?

            error: the OPTIONS hint is not behind a table's name
             --> f.sql:1:12
              |
            1 | SELECT 1 + /*+ OPTIONS('a'='b') */ 2
              |            ^^^^^^^^^^^^^^^^^^^^^^^

            error: the OPTIONS hint needs quoted keys and values
             --> f.sql:1:17
              |
            1 | SELECT * FROM t /*+ OPTIONS(a=b) */
              |                 ^^^^^^^^^^^^^^^^^^^
              = hint: write OPTIONS('key' = 'value')

            error: expected `)`, found the end of the statement
             --> f.sql:1:33
              |
            1 | SELECT a FROM t WHERE x IN (1, 2
              |                                 ^

            error: unexpected EOF while in a multi-line comment
             --> f.sql:1:23
              |
            1 | SELECT /* never closed
              |                       ^

            error: expected an expression, found `==`
             --> f.sql:3:12
              |
            3 |   AND c == == d
              |            ^^

            error: expected an expression, found `)`
             --> f.sql:1:30
              |
            1 | SELECT COUNT(*) FILTER (WHERE) FROM t
              |                              ^

            error: expected the interval's unit, found `HOURR`
             --> f.sql:1:68
              |
            1 | SELECT * FROM e MATCH_RECOGNIZE (PATTERN (A B) WITHIN INTERVAL '1' HOURR DEFINE A AS TRUE)
              |                                                                    ^^^^^
              = hint: did you mean HOUR?

            error: expected an expression, found the type `ARRAY`
             --> f.sql:1:8
              |
            1 | SELECT ARRAY<INT> FROM t
              |        ^^^^^
              = hint: a type can stand in CAST(x AS type); a column of this name needs back quotes

            error: expected the end of the statement, found `z`
             --> f.sql:1:19
              |
            1 | SELECT 'été', x y z FROM t
              |                   ^

            error: expected `(`, found `SELECT`
             --> f.sql:1:11
              |
            1 | WITH a AS SELECT 1 SELECT 2
              |           ^^^^^^

            error: expected an expression, found the end of the statement
             --> f.sql:1:29
              |
            1 | SELECT a FROM t UNION SELECT
              |                             ^

            error: expected an expression, found the end of the statement
             --> f.sql:1:25
              |
            1 | SELECT * FROM t ORDER BY
              |                         ^"#]],
    );
}
