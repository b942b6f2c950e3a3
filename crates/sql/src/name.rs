//! Names of catalogs, databases, tables, views and columns, and when they need back quotes.

use std::fmt;

use sqlparser::ast::{Ident, ObjectName};

use crate::span::Span;

/// A name of one to three parts (`[catalog.][database.]object`), in the case it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The parts, outermost first; never empty.
    pub parts: Vec<String>,
    /// Where it was written.
    pub span: Span,
}

impl Name {
    /// The last part: the object's own name.
    pub fn object(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    /// The name as sqlparser's AST has it, each part quoted so that its case is kept.
    pub fn to_object_name(&self) -> ObjectName {
        ObjectName::from(
            self.parts
                .iter()
                .map(|part| Ident::with_quote('`', part))
                .collect::<Vec<_>>(),
        )
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, part) in self.parts.iter().enumerate() {
            let dot = if idx > 0 { "." } else { "" };
            write!(f, "{dot}{}", quoted(part))?;
        }
        Ok(())
    }
}

/// A name in back quotes.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string in single quotes.
pub fn text_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as it must be written inside a type: quoted unless it is a plain word that Flink does not reserve.
pub(crate) fn quoted_if_needed(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    let reserved = || {
        RESERVED
            .split(' ')
            .any(|word| word.eq_ignore_ascii_case(name))
    };
    if plain && !reserved() {
        name.to_string()
    } else {
        quoted(name)
    }
}

/// Words that Flink reserves and that a column could well be called.
const RESERVED: &str = "\
    ABS ALL ALTER AND ANY ARE ARRAY AS ASYMMETRIC AT AVG BEGIN BETWEEN BIGINT BINARY BIT BLOB \
    BOOLEAN BOTH BY BYTES CALL CARDINALITY CASE CAST CATALOGS CEIL CHAR CHARACTER CHECK \
    CLASSIFIER CLOSE COALESCE COLLECT COLUMN COLUMNS COMMENT COMMIT CONDITION CONNECT CONSTRAINT \
    CONTAINS CONVERT COUNT CREATE CROSS CUBE CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP \
    CURSOR CYCLE DATABASES DATE DAY DEC DECIMAL DECLARE DEFAULT DEFINE DELETE DESCRIBE DISTINCT \
    DOUBLE DROP DYNAMIC EACH ELEMENT ELSE EMPTY END EQUALS ESCAPE EVERY EXCEPT EXEC EXECUTE \
    EXISTS EXPLAIN EXTEND EXTERNAL EXTRACT FALSE FETCH FILTER FLOAT FLOOR FOR FROM FULL FUNCTION \
    FUNCTIONS GET GLOBAL GRANT GROUP GROUPING GROUPS HAVING HOLD HOUR IDENTITY IF IMPORT IN \
    INITIAL INNER INOUT INSERT INT INTEGER INTERSECT INTERVAL INTO IS JOIN LAG LANGUAGE LARGE \
    LATERAL LEAD LEADING LEFT LIKE LIMIT LOCAL MATCH MATCHES MAX MEASURES MEMBER MERGE METHOD \
    MIN MINUTE MOD MODIFIES MODULE MODULES MONTH MULTISET NATIONAL NATURAL NEW NEXT NO NONE NOT \
    NULL NUMERIC OF OFFSET OLD OMIT ON ONE ONLY OPEN OR ORDER OUT OUTER OVER OVERLAPS OVERLAY \
    PARAMETER PARTITION PARTITIONED PATTERN PER PERCENT PERIOD PORTION POSITION POWER PRECEDES \
    PRECISION PREPARE PREV PRIMARY PROCEDURE RANGE RANK RAW READS REAL REF RELEASE RENAME RESET \
    RESULT RETURN RETURNS REVOKE RIGHT ROLLBACK ROLLUP ROW ROWS SCOPE SCROLL SEARCH SECOND SEEK \
    SELECT SET SHOW SIMILAR SKIP SMALLINT SOME SPECIFIC SQL START STATEMENT STATIC STREAM STRING \
    SUBSET SUBSTRING SUM SYMMETRIC SYSTEM SYSTEM_TIME TABLE TABLES THEN TIME TIMESTAMP \
    TIMESTAMP_LTZ TINYINT TO TRAILING TRANSLATE TREAT TRIGGER TRIM TRUE TRUNCATE UESCAPE UNION \
    UNIQUE UNKNOWN UNNEST UPDATE UPPER UPSERT USE USER USING VALUE VALUES VARBINARY VARCHAR \
    VARYING VERSIONING VIEW VIEWS WATERMARK WATERMARKS WEEK WHEN WHERE WINDOW WITH WITHIN \
    WITHOUT YEAR";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_quoted() {
        assert!(RESERVED.split(' ').all(|word| !word.is_empty()));
        assert_eq!(quoted_if_needed("sku"), "sku");
        assert_eq!(quoted_if_needed("value"), "`value`");
        assert_eq!(quoted_if_needed("a b`"), "`a b```");
    }
}
