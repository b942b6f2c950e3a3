//! Statements, printed and parsed again.

use expect_test::{Expect, expect};
use millstream_sql::{Statement, parse};

/// Parses, prints, parses what was printed, and compares.
fn check(texts: &[&str], expected: &Expect) {
    let mut printed = Vec::new();
    for text in texts {
        let statements =
            parse(text).unwrap_or_else(|error| panic!("{}", error.render(text, "t.sql")));
        for statement in statements {
            let once = statement.node.to_string();
            let again = parse(&once)
                .unwrap_or_else(|error| panic!("{}", error.render(&once, "printed.sql")));
            assert_eq!(again.len(), 1, "{once}");
            assert_eq!(again[0].node.to_string(), once);
            printed.push(once);
        }
    }
    expected.assert_eq(&printed.join(";\n\n"));
}

#[test]
fn create_table() {
    check(
        &[
            "CREATE TABLE t (a INT) WITH ('connector' = 'datagen')",
            "create temporary table if not exists c.d.`my table` (
               id BIGINT NOT NULL COMMENT 'the id', name STRING, price DECIMAL(10, 2), at_ts TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL,
               `partition` BIGINT METADATA VIRTUAL, headers MAP<STRING, BYTES> METADATA COMMENT 'kafka''s', total AS price * 2 COMMENT 'x', pt AS PROCTIME(),
               r ROW<a INT, b ARRAY<ROW<c STRING>>>, watermark for at_ts as at_ts - INTERVAL '5' SECOND,
               CONSTRAINT pk PRIMARY KEY (id, name) NOT ENFORCED
             ) COMMENT 'orders' PARTITIONED BY (name) WITH ('connector' = 'kafka', 'topic' = 'o''x', 'value.format' = 'json')",
            "CREATE TABLE u (id INT PRIMARY KEY NOT ENFORCED, v INT, WATERMARK FOR r.ts AS r.ts)",
            "CREATE TABLE v (extra INT) WITH ('k' = 'v') LIKE t (INCLUDING ALL EXCLUDING OPTIONS OVERWRITING WATERMARKS)",
            "CREATE TABLE w LIKE t",
            "CREATE TABLE x WITH ('connector' = 'print') AS SELECT a, b -- both\n FROM t",
            "CREATE TABLE e (a INT) WITH ()",
        ],
        &expect![[r#"
            CREATE TABLE `t` (
              `a` INT
            )
            WITH (
              'connector' = 'datagen'
            );

            CREATE TEMPORARY TABLE IF NOT EXISTS `c`.`d`.`my table` (
              `id` BIGINT NOT NULL COMMENT 'the id',
              `name` STRING,
              `price` DECIMAL(10, 2),
              `at_ts` TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL,
              `partition` BIGINT METADATA VIRTUAL,
              `headers` MAP<STRING, BYTES> METADATA COMMENT 'kafka''s',
              `total` AS price * 2 COMMENT 'x',
              `pt` AS PROCTIME(),
              `r` ROW<a INT, b ARRAY<ROW<c STRING>>>,
              WATERMARK FOR `at_ts` AS at_ts - INTERVAL '5' SECOND,
              CONSTRAINT `pk` PRIMARY KEY (`id`, `name`) NOT ENFORCED
            )
            COMMENT 'orders'
            PARTITIONED BY (`name`)
            WITH (
              'connector' = 'kafka',
              'topic' = 'o''x',
              'value.format' = 'json'
            );

            CREATE TABLE `u` (
              `id` INT,
              `v` INT,
              WATERMARK FOR `r`.`ts` AS r.ts,
              PRIMARY KEY (`id`) NOT ENFORCED
            );

            CREATE TABLE `v` (
              `extra` INT
            )
            WITH (
              'k' = 'v'
            )
            LIKE `t` (
              INCLUDING ALL
              EXCLUDING OPTIONS
              OVERWRITING WATERMARKS
            );

            CREATE TABLE `w`
            LIKE `t`;

            CREATE TABLE `x`
            WITH (
              'connector' = 'print'
            )
            AS SELECT a, b -- both
             FROM t;

            CREATE TABLE `e` (
              `a` INT
            )"#]],
    );
}

#[test]
fn views() {
    check(
        &[
            "CREATE VIEW v AS SELECT 1",
            "CREATE OR REPLACE TEMPORARY VIEW IF NOT EXISTS a.v (x COMMENT 'c', `y z`) COMMENT 'view' AS SELECT a, b FROM t WHERE c = 'x;y'",
            "CREATE MATERIALIZED VIEW m AS SELECT a, COUNT(*) FROM t GROUP BY a",
            "CREATE OR REPLACE MATERIALIZED VIEW IF NOT EXISTS m (a, n) COMMENT 'm' WITH ('history' = '1 d') AS TABLE t",
            "ALTER TABLE t RENAME TO u; ALTER TABLE t RENAME a TO b; ALTER TABLE IF EXISTS t SET ('k' = 'v'); ALTER TABLE t RESET ('k', 'l')",
            "ALTER VIEW v RENAME TO w; ALTER VIEW v AS SELECT 2; ALTER MATERIALIZED VIEW m SET ('k' = 'v')",
            "DROP TABLE t; DROP TEMPORARY VIEW IF EXISTS a.v; DROP MATERIALIZED VIEW m; DROP DATABASE d CASCADE; DROP CATALOG c",
            "CREATE CATALOG c WITH ('type' = 'x'); CREATE DATABASE IF NOT EXISTS d COMMENT 'x'",
        ],
        &expect![[r#"
            CREATE VIEW `v`
            AS SELECT 1;

            CREATE OR REPLACE TEMPORARY VIEW IF NOT EXISTS `a`.`v` (`x` COMMENT 'c', `y z`)
            COMMENT 'view'
            AS SELECT a, b FROM t WHERE c = 'x;y';

            CREATE MATERIALIZED VIEW `m`
            AS SELECT a, COUNT(*) FROM t GROUP BY a;

            CREATE OR REPLACE MATERIALIZED VIEW IF NOT EXISTS `m` (`a`, `n`)
            COMMENT 'm'
            WITH (
              'history' = '1 d'
            )
            AS TABLE t;

            ALTER TABLE `t` RENAME TO `u`;

            ALTER TABLE `t` RENAME `a` TO `b`;

            ALTER TABLE IF EXISTS `t` SET ('k' = 'v');

            ALTER TABLE `t` RESET ('k', 'l');

            ALTER VIEW `v` RENAME TO `w`;

            ALTER VIEW `v` AS SELECT 2;

            ALTER MATERIALIZED VIEW `m` SET ('k' = 'v');

            DROP TABLE `t`;

            DROP TEMPORARY VIEW IF EXISTS `a`.`v`;

            DROP MATERIALIZED VIEW `m`;

            DROP DATABASE `d` CASCADE;

            DROP CATALOG `c`;

            CREATE CATALOG `c`
            WITH (
              'type' = 'x'
            );

            CREATE DATABASE IF NOT EXISTS `d`
            COMMENT 'x'"#]],
    );
}

#[test]
fn writes() {
    check(
        &[
            "INSERT INTO t SELECT * FROM s",
            "INSERT OVERWRITE t PARTITION (day = '2024-01-01', h = 1) (a, `b c`) SELECT a, b FROM s",
            "INSERT INTO t VALUES (1, 'a'), (2, NULL)",
            "INSERT INTO t (SELECT 1)",
            "INSERT INTO t ((SELECT 1) UNION ALL SELECT 2)",
            "INSERT INTO t /*+ OPTIONS('k'='v') */ (a) SELECT 1",
            "INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x",
            "EXECUTE INSERT INTO t SELECT 1",
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;",
            "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END; SELECT 3",
            "EXPLAIN CHANGELOG_MODE, ESTIMATED_COST STATEMENT SET BEGIN INSERT INTO a SELECT 1; END",
            "EXPLAIN STATEMENT SET BEGIN INSERT INTO a SELECT 1; END",
        ],
        &expect![[r#"
            INSERT INTO `t`
            SELECT * FROM s;

            INSERT OVERWRITE `t` PARTITION (`day` = '2024-01-01', `h` = 1) (`a`, `b c`)
            SELECT a, b FROM s;

            INSERT INTO `t`
            VALUES (1, 'a'), (2, NULL);

            INSERT INTO `t`
            (SELECT 1);

            INSERT INTO `t`
            ((SELECT 1) UNION ALL SELECT 2);

            INSERT INTO `t` /*+ OPTIONS('k' = 'v') */ (`a`)
            SELECT 1;

            INSERT INTO `t`
            WITH x AS (SELECT 1) SELECT * FROM x;

            INSERT INTO `t`
            SELECT 1;

            EXECUTE STATEMENT SET BEGIN
            INSERT INTO `a`
            SELECT 1;
            INSERT INTO `b`
            SELECT 2;
            END;

            EXECUTE STATEMENT SET BEGIN
            INSERT INTO `a`
            SELECT 1;
            INSERT INTO `b`
            SELECT 2;
            END;

            SELECT 3;

            EXPLAIN CHANGELOG_MODE, ESTIMATED_COST STATEMENT SET BEGIN
            INSERT INTO `a`
            SELECT 1;
            END;

            EXPLAIN STATEMENT SET BEGIN
            INSERT INTO `a`
            SELECT 1;
            END"#]],
    );
}

#[test]
fn other() {
    check(
        &[
            "SET; SET 'execution.runtime-mode' = 'streaming'; SET parallelism.default = 2; SET table.exec.state.ttl = 1 h; SET a.b-c = 'x y'",
            "RESET; RESET 'k'; RESET a.b",
            "EXPLAIN SELECT 1; EXPLAIN PLAN FOR SELECT 1; EXPLAIN JSON_EXECUTION_PLAN INSERT INTO a SELECT 1; EXPLAIN CREATE MATERIALIZED VIEW m AS SELECT 1",
            "SHOW TABLES; SHOW TABLES FROM d LIKE 'a%'; SHOW VIEWS NOT LIKE 'x'; SHOW MATERIALIZED VIEWS; SHOW CREATE TABLE a.b; SHOW CREATE VIEW v",
            "SHOW CREATE MATERIALIZED VIEW m; SHOW COLUMNS FROM t; SHOW COLUMNS IN t NOT ILIKE 'a%'; SHOW FUNCTIONS; SHOW USER FUNCTIONS; SHOW CATALOGS",
            "SHOW DATABASES; SHOW JOBS; SHOW CURRENT CATALOG; SHOW CURRENT DATABASE",
            "DESCRIBE t; DESC EXTENDED a.t; USE d; USE CATALOG c; USE c.d",
            ";;SELECT 1;; /* c ; */ -- d ;\n(SELECT 2);VALUES (1);TABLE t;",
        ],
        &expect![[r#"
            SET;

            SET 'execution.runtime-mode' = 'streaming';

            SET 'parallelism.default' = '2';

            SET 'table.exec.state.ttl' = '1 h';

            SET 'a.b-c' = 'x y';

            RESET;

            RESET 'k';

            RESET 'a.b';

            EXPLAIN SELECT 1;

            EXPLAIN SELECT 1;

            EXPLAIN JSON_EXECUTION_PLAN INSERT INTO `a`
            SELECT 1;

            EXPLAIN CREATE MATERIALIZED VIEW `m`
            AS SELECT 1;

            SHOW TABLES;

            SHOW TABLES FROM `d` LIKE 'a%';

            SHOW VIEWS NOT LIKE 'x';

            SHOW MATERIALIZED VIEWS;

            SHOW CREATE TABLE `a`.`b`;

            SHOW CREATE VIEW `v`;

            SHOW CREATE MATERIALIZED VIEW `m`;

            SHOW COLUMNS FROM `t`;

            SHOW COLUMNS FROM `t` NOT ILIKE 'a%';

            SHOW FUNCTIONS;

            SHOW FUNCTIONS;

            SHOW CATALOGS;

            SHOW DATABASES;

            SHOW JOBS;

            SHOW CURRENT CATALOG;

            SHOW CURRENT DATABASE;

            DESCRIBE `t`;

            DESCRIBE EXTENDED `a`.`t`;

            USE `d`;

            USE CATALOG `c`;

            USE `c`.`d`;

            SELECT 1;

            (SELECT 2);

            VALUES (1);

            TABLE t;"#]],
    );
}

#[test]
fn spans_cover_the_text() {
    let text = "-- é\nSELECT 1;\n  BEGIN STATEMENT SET;\nINSERT INTO a SELECT 'é';\nEND;\nSELECT 2";
    let found: Vec<&str> = parse(text)
        .unwrap()
        .iter()
        .map(|statement| &text[statement.span.range()])
        .collect();
    assert_eq!(
        found,
        [
            "SELECT 1",
            "BEGIN STATEMENT SET;\nINSERT INTO a SELECT 'é';\nEND",
            "SELECT 2"
        ]
    );
    let statements =
        parse("CREATE TABLE t (a INT, b AS a + 1) WITH ('k' = 'é', 'l' = 'v')").unwrap();
    let Statement::CreateTable(table) = &statements[0].node else {
        panic!()
    };
    let source = "CREATE TABLE t (a INT, b AS a + 1) WITH ('k' = 'é', 'l' = 'v')";
    assert_eq!(&source[table.options[1].key.span.range()], "'l'");
    assert_eq!(&source[table.columns[1].name.span.range()], "b");
    assert_eq!(&source[table.name.span.range()], "t");
}

#[test]
fn empty_text_has_no_statements() {
    assert!(parse("").unwrap().is_empty());
    assert!(parse(" ; -- nothing\n ;").unwrap().is_empty());
}
