//! Types that run no code of their owners when a COPY fills a column: the CHECK of a domain runs over the role that
//! loads a value.

use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{TableName, quote_literal};
use std::collections::HashMap;

/// Columns of a table whose values are checked by a domain, each with the type to use instead: that below its domains, and
/// none where a domain is inside an array, a row or a range.
#[derive(Debug, Default)]
pub(crate) struct PlainTypes(HashMap<String, Option<String>>);

impl PlainTypes {
    /// Those of a table.
    pub(crate) fn of(session: &mut Session, table: &TableName) -> Result<Self, PgError> {
        // A multirange of a user is over a range that may be over a domain; older servers know none.
        let sql = format!(
            "WITH RECURSIVE base (attname, oid, typmod, is_domain) AS (
                 SELECT attname, atttypid, -1, false FROM pg_catalog.pg_attribute
                 WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped
                 UNION ALL
                 SELECT b.attname, t.typbasetype, t.typtypmod, true
                 FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid AND t.typtype = 'd'),
             inside (attname, oid) AS (
                 SELECT b.attname, b.oid FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid WHERE t.typtype <> 'd'
                 UNION
                 SELECT i.attname, n.oid FROM inside i JOIN pg_catalog.pg_type t ON t.oid = i.oid, LATERAL (
                     SELECT t.typelem WHERE t.typelem <> 0 AND t.typlen = -1
                     UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
                     WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
                     UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r
                     WHERE t.typtype = 'r' AND r.rngtypid = t.oid
                 ) n (oid)),
             hidden AS (
                 SELECT DISTINCT i.attname FROM inside i JOIN pg_catalog.pg_type t ON t.oid = i.oid
                 WHERE t.typtype = 'd' OR t.typtype = 'm' AND t.oid >= 16384)
             SELECT b.attname::text, CASE WHEN h.attname IS NULL THEN pg_catalog.format_type(b.oid, b.typmod) END
             FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid LEFT JOIN hidden h ON h.attname = b.attname
             WHERE t.typtype <> 'd' AND (b.is_domain OR h.attname IS NOT NULL)",
            quote_literal(&table.sql())
        );
        let rows = session.rows(&format!("looking at the types of {table}"), &sql)?;
        let all = rows.iter().map(|row| (row.get(0), row.get(1)));
        Ok(Self(all.collect()))
    }

    /// The type to use instead of a column's own one.
    pub(crate) fn instead(&self, column: &str) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// These columns, and those that only texts can stand for.
    pub(crate) fn with_texts(&self, columns: &[String]) -> Vec<String> {
        let hidden = self.0.iter().filter(|(_, plain)| plain.is_none());
        let hidden = hidden.map(|(column, _)| column);
        let new = hidden.filter(|column| !columns.contains(column));
        let mut all: Vec<String> = columns.iter().chain(new).cloned().collect();
        all.sort();
        all
    }

    /// Checks that a table that was just made has none: the definition of the one that it was made after may have changed
    /// meanwhile.
    pub(crate) fn none_in(session: &mut Session, table: &TableName) -> Result<(), PgError> {
        if Self::of(session, table)?.0.is_empty() {
            return Ok(());
        }
        Err(PgError::Query {
            doing: format!("making {table}"),
            why: "the types of the live table's columns changed meanwhile; try again".to_owned(),
        })
    }
}
