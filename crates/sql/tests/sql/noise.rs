//! Damaged texts: whatever is left of a statement, the parser answers with statements or an error, never with a panic.

use millstream_sql::parse;

const TEXTS: &[&str] = &[
    "CREATE TEMPORARY TABLE t (a ROW<b ARRAY<INT>> NOT NULL COMMENT 'x', b AS a + 1, c INT METADATA FROM 'k' VIRTUAL, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, PRIMARY KEY (a, b) NOT ENFORCED) PARTITIONED BY (a) WITH ('connector' = 'é') LIKE u (INCLUDING ALL)",
    "SELECT a, CAST(b AS MAP<STRING, INT>), CASE WHEN x IS NOT JSON ARRAY THEN 'é' ELSE MAP['k', 1]['k'] END FROM TABLE(TUMBLE(TABLE t PARTITION BY (a), DESCRIPTOR(ts), SIZE => INTERVAL '1' DAY)) AS w (x, y) GROUP BY ROLLUP (a), b HAVING COUNT(*) FILTER (WHERE a > 1) > 2",
    "SELECT * FROM e /*+ OPTIONS('k'='v') */ MATCH_RECOGNIZE (PARTITION BY a ORDER BY ts MEASURES A.x AS x ONE ROW PER MATCH AFTER MATCH SKIP TO LAST C PATTERN (A B*? (C | D){2,3}) WITHIN INTERVAL '1' HOUR DEFINE A AS A.x BETWEEN SYMMETRIC 1 AND 2) AS m",
    "BEGIN STATEMENT SET; INSERT INTO a (x, y) SELECT JSON_VALUE(x, '$' RETURNING INT DEFAULT 1 ON ERROR), y FROM b JOIN c FOR SYSTEM_TIME AS OF b.ts AS d ON b.k = d.k; INSERT OVERWRITE b PARTITION (a = 1) VALUES (1, 2); END; SHOW TABLES LIKE 'x'; SET 'a' = 'b';",
    "WITH q AS (SELECT 1 AS x UNION ALL (SELECT 2)) SELECT x, SUM(y) OVER (PARTITION BY z ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW) FROM q, LATERAL TABLE(f(x)) AS t(y), UNNEST(items) WITH ORDINALITY ORDER BY 1 OFFSET 2 ROWS FETCH NEXT 3 ROWS ONLY",
];

const PIECES: &[&str] = &[
    "(",
    ")",
    ",",
    ";",
    "'",
    "`",
    "\"",
    "<",
    ">",
    ">>",
    "[",
    "]",
    "{",
    "}",
    ".",
    ":",
    "::",
    "=>",
    "->",
    "*",
    "?",
    "$",
    "@",
    "#",
    "!",
    "\\",
    "--",
    "/*",
    "*/",
    "/*+",
    "NOT",
    "NULL",
    "AS",
    "TABLE",
    "SELECT",
    "FROM",
    "INTERVAL",
    "CASE",
    "END",
    "DEFINE",
    "PATTERN (",
    "WITHIN",
    "ROW",
    "ARRAY",
    "1",
    "1e",
    "é",
    "\u{0}",
    "U&'",
    "x'",
    "\n",
    "\r",
    "IS",
    "ON",
    "VALUES",
];

/// A generator of numbers below a bound.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// Words, blanks and single symbols.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if c.is_alphanumeric() && word.chars().all(char::is_alphanumeric) => {
                word.push(c)
            }
            _ => words.push(c.to_string()),
        }
    }
    words
}

#[test]
fn damaged_statements_do_not_panic() {
    let rounds = std::env::var("MILLSTREAM_NOISE_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(2_000);
    let mut noise = Noise(7);
    let mut refused = 0;
    for _ in 0..rounds {
        let mut words = words(TEXTS[noise.below(TEXTS.len())]);
        for _ in 0..=noise.below(4) {
            if words.len() < 2 {
                break;
            }
            let at = noise.below(words.len());
            match noise.below(5) {
                0 => drop(words.remove(at)),
                1 => words.insert(at, PIECES[noise.below(PIECES.len())].to_string()),
                2 => words[at] = PIECES[noise.below(PIECES.len())].to_string(),
                3 => words.truncate(at + 1),
                _ => {
                    let other = noise.below(words.len());
                    words.swap(at, other);
                }
            }
        }
        let text = words.concat();
        match parse(&text) {
            Ok(statements) => assert!(
                statements
                    .iter()
                    .all(|statement| text.get(statement.span.range()).is_some())
            ),
            Err(error) => {
                refused += 1;
                assert!(
                    text.get(error.diagnostic.span.range()).is_some(),
                    "{text}\n{error:?}"
                );
                assert!(error.render(&text, "n.sql").contains("error: "));
            }
        }
    }
    assert!(refused > rounds / 2);
}
