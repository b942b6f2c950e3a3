//! Types as written, and as printed.

use expect_test::expect;
use millstream_sql::{FieldType, Type, parse_expression, parse_type};

#[test]
fn prints_as_flink_does() {
    let types = [
        "boolean",
        "TINYINT",
        "SMALLINT",
        "INT",
        "INTEGER NOT NULL",
        "BIGINT NULL",
        "FLOAT",
        "DOUBLE",
        "DOUBLE PRECISION",
        "DECIMAL",
        "DEC(5)",
        "NUMERIC(10,2)",
        "CHAR",
        "CHARACTER(3)",
        "CHAR VARYING(4)",
        "VARCHAR",
        "VARCHAR(20)",
        "VARCHAR(2147483647)",
        "STRING",
        "BINARY",
        "BINARY(2)",
        "VARBINARY(9)",
        "BINARY VARYING(5)",
        "VARBINARY",
        "BYTES",
        "DATE",
        "TIME",
        "TIME(3) WITHOUT TIME ZONE",
        "TIMESTAMP",
        "TIMESTAMP(3)",
        "TIMESTAMP(9) WITHOUT TIME ZONE",
        "TIMESTAMP_LTZ",
        "TIMESTAMP_LTZ(3)",
        "TIMESTAMP(3) WITH LOCAL TIME ZONE",
        "INTERVAL YEAR",
        "INTERVAL YEAR(4) TO MONTH",
        "INTERVAL MONTH",
        "INTERVAL DAY",
        "INTERVAL DAY(3) TO SECOND(3)",
        "INTERVAL HOUR TO MINUTE",
        "INTERVAL SECOND(3)",
        "ARRAY<INT>",
        "ARRAY<ARRAY<STRING NOT NULL>>",
        "INT ARRAY",
        "STRING MULTISET",
        "MULTISET<STRING>",
        "MAP<STRING, ARRAY<INT NOT NULL>>",
        "ROW<a INT, b STRING>",
        "ROW(a INT NOT NULL, `b c` ROW<value STRING>)",
        "ROW<a ARRAY<ROW<b MAP<STRING, INT>>>> NOT NULL",
        "ROW<a INT 'it''s a'>",
    ];
    let printed: Vec<String> = types
        .iter()
        .map(|text| format!("{text}: {}", parse_type(text).unwrap()))
        .collect();
    expect![[r#"
        boolean: BOOLEAN
        TINYINT: TINYINT
        SMALLINT: SMALLINT
        INT: INT
        INTEGER NOT NULL: INT NOT NULL
        BIGINT NULL: BIGINT
        FLOAT: FLOAT
        DOUBLE: DOUBLE
        DOUBLE PRECISION: DOUBLE
        DECIMAL: DECIMAL(10, 0)
        DEC(5): DECIMAL(5, 0)
        NUMERIC(10,2): DECIMAL(10, 2)
        CHAR: CHAR(1)
        CHARACTER(3): CHAR(3)
        CHAR VARYING(4): VARCHAR(4)
        VARCHAR: STRING
        VARCHAR(20): VARCHAR(20)
        VARCHAR(2147483647): STRING
        STRING: STRING
        BINARY: BINARY(1)
        BINARY(2): BINARY(2)
        VARBINARY(9): VARBINARY(9)
        BINARY VARYING(5): VARBINARY(5)
        VARBINARY: BYTES
        BYTES: BYTES
        DATE: DATE
        TIME: TIME(0)
        TIME(3) WITHOUT TIME ZONE: TIME(3)
        TIMESTAMP: TIMESTAMP(6)
        TIMESTAMP(3): TIMESTAMP(3)
        TIMESTAMP(9) WITHOUT TIME ZONE: TIMESTAMP(9)
        TIMESTAMP_LTZ: TIMESTAMP_LTZ(6)
        TIMESTAMP_LTZ(3): TIMESTAMP_LTZ(3)
        TIMESTAMP(3) WITH LOCAL TIME ZONE: TIMESTAMP_LTZ(3)
        INTERVAL YEAR: INTERVAL YEAR(2)
        INTERVAL YEAR(4) TO MONTH: INTERVAL YEAR(4) TO MONTH
        INTERVAL MONTH: INTERVAL MONTH
        INTERVAL DAY: INTERVAL DAY(2)
        INTERVAL DAY(3) TO SECOND(3): INTERVAL DAY(3) TO SECOND(3)
        INTERVAL HOUR TO MINUTE: INTERVAL HOUR TO MINUTE
        INTERVAL SECOND(3): INTERVAL SECOND(3)
        ARRAY<INT>: ARRAY<INT>
        ARRAY<ARRAY<STRING NOT NULL>>: ARRAY<ARRAY<STRING NOT NULL>>
        INT ARRAY: ARRAY<INT>
        STRING MULTISET: MULTISET<STRING>
        MULTISET<STRING>: MULTISET<STRING>
        MAP<STRING, ARRAY<INT NOT NULL>>: MAP<STRING, ARRAY<INT NOT NULL>>
        ROW<a INT, b STRING>: ROW<a INT, b STRING>
        ROW(a INT NOT NULL, `b c` ROW<value STRING>): ROW<a INT NOT NULL, `b c` ROW<`value` STRING>>
        ROW<a ARRAY<ROW<b MAP<STRING, INT>>>> NOT NULL: ROW<a ARRAY<ROW<b MAP<STRING, INT>>>> NOT NULL
        ROW<a INT 'it''s a'>: ROW<a INT 'it''s a'>"#]].assert_eq(&printed.join("\n"));
    for text in types {
        let found = parse_type(text).unwrap();
        assert_eq!(parse_type(&found.to_string()).unwrap(), found, "{text}");
        assert_eq!(FieldType::from_sql(&found.to_sql()), Some(found), "{text}");
    }
}

#[test]
fn literals_have_sqlparsers_types() {
    let typed = |text: &str| match parse_expression(text).unwrap().ast {
        sqlparser::ast::Expr::TypedString(typed) => {
            FieldType::from_sql(&typed.data_type).map(|found| found.kind)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(typed("DATE '2024-01-01'"), Some(Type::Date));
    assert_eq!(typed("TIME '10:00:00'"), Some(Type::Time(0)));
    assert_eq!(
        typed("TIMESTAMP '2024-01-01 00:00:00'"),
        Some(Type::Timestamp(6))
    );
}
