//! Rules about rows that look at more than the row: CHECKs and generated columns that call functions, and values that
//! name other objects. A restore loads and adds these in an order.

use super::USER_SCHEMA;
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{TableName, quote_literal};

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whether it belongs to a domain, else to a table.
    pub of_domain: bool,
    /// The table or domain.
    pub owner: TableName,
    /// Its name.
    pub name: String,
}

/// What cannot simply be loaded before all else.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// CHECKs that call functions; of those that are inherited, only the parents', which come first.
    pub late_checks: Vec<Check>,
    /// Tables whose rows cannot be written without functions: their columns are computed by some, or have domains
    /// whose CHECK cannot be added later.
    pub after_tables: Vec<TableName>,
    /// Tables with values that may name an index.
    pub after_indexes: Vec<TableName>,
    /// Partitions by the hash of something that has another number in another database, each with the highest table above
    /// it that is partitioned so.
    pub through: Vec<(TableName, TableName)>,
}

/// Reads them.
pub fn rules(session: &mut Session) -> Result<Rules, PgError> {
    let contains = contains(session);
    let late_checks = session.rows(
        "listing the CHECK constraints that call functions",
        &late_checks(&contains),
    )?;
    Ok(Rules {
        late_checks: late_checks.iter().map(check).collect(),
        after_tables: tables(
            session,
            "listing the tables whose rows need functions",
            &after_tables(&contains),
        )?,
        after_indexes: tables(
            session,
            "listing the tables with values that name relations",
            &after_indexes(&contains),
        )?,
        through: through(session, &contains)?,
    })
}

fn check(row: &postgres::Row) -> Check {
    Check {
        of_domain: row.get(0),
        owner: TableName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
        name: row.get(3),
    }
}

/// The CHECK of a table, or of the tables that it inherits from, or of a domain, that a message of the server names.
/// Parents' come first, as theirs cannot be dropped from the table alone.
pub fn refusing_check(
    session: &mut Session,
    table: &TableName,
    message: &str,
) -> Result<Option<Check>, PgError> {
    let (table, message) = (quote_literal(&table.sql()), quote_literal(message));
    let sql = format!(
        "WITH RECURSIVE up(oid) AS (
             SELECT to_regclass({table})::oid
             UNION SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.oid)
         SELECT k.contypid <> 0, n.nspname::text, coalesce(c.relname, t.typname)::text, k.conname::text
         FROM pg_constraint k
         LEFT JOIN pg_class c ON c.oid = k.conrelid
         LEFT JOIN pg_type t ON t.oid = k.contypid
         JOIN pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace)
         WHERE k.contype = 'c' AND k.coninhcount = 0 AND strpos({message}, '\"' || k.conname || '\"') > 0
           AND (k.conrelid IN (SELECT oid FROM up)
                OR k.contypid <> 0 AND (strpos({message}, ' ' || format_type(k.contypid, NULL) || ' ') > 0
                                        OR strpos({message}, ' ' || quote_ident(t.typname) || ' ') > 0))
         ORDER BY k.contypid, k.conrelid LIMIT 1"
    );
    let rows = session.rows("looking for the CHECK that refused rows", &sql)?;
    Ok(rows.first().map(check))
}

fn tables(session: &mut Session, doing: &str, sql: &str) -> Result<Vec<TableName>, PgError> {
    let rows = session.rows(doing, sql)?;
    let name =
        |row: &postgres::Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(rows.iter().map(name).collect())
}

/// Whether an expression calls a function that is not of the system. Functions of operators are in its text, too.
fn calls_foreign_code(expression: &str, or: &str) -> String {
    format!(
        "EXISTS (SELECT FROM regexp_matches({expression}::text, ':(?:op)?funcid ([0-9]+)', 'g') m
                 JOIN pg_proc p ON p.oid = m[1]::oid
                 WHERE p.oid >= 16384 OR p.pronamespace <> 'pg_catalog'::regnamespace {or})"
    )
}

/// `contains(part, whole, is_domain)`: types that are made of others. Whoever walks this ends: a type is visited once.
fn contains(session: &Session) -> String {
    let multirange = if session.server_version_num() >= 140_000 {
        "UNION ALL SELECT rngtypid, rngmultitypid, false FROM pg_range"
    } else {
        ""
    };
    format!(
        "contains(part, whole, is_domain) AS MATERIALIZED (
             SELECT typelem, oid, false FROM pg_type WHERE typelem <> 0 AND typlen = -1
             UNION ALL SELECT typbasetype, oid, true FROM pg_type WHERE typbasetype <> 0
             UNION ALL SELECT rngsubtype, rngtypid, false FROM pg_range
             {multirange}
             UNION ALL SELECT DISTINCT a.atttypid, c.reltype, false
                 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                 WHERE c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped AND c.oid >= 16384)"
    )
}

/// Domains with such a CHECK, every type that has such a domain in it, and whether it is boxed: inside an array, a
/// composite or a range. The server adds no CHECK to a domain that is boxed in some column, or in a view or rule.
fn domains(contains: &str) -> String {
    let late = is_late();
    format!(
        "{contains},
         late(oid) AS MATERIALIZED (SELECT k.oid FROM pg_constraint k WHERE k.contype = 'c' AND k.convalidated AND {late}),
         has(seed, type, boxed) AS (
             SELECT k.contypid, k.contypid, false FROM pg_constraint k JOIN late ON late.oid = k.oid
             WHERE k.contypid <> 0
             UNION
             SELECT has.seed, contains.whole, has.boxed OR NOT contains.is_domain
             FROM has JOIN contains ON contains.part = has.type),
         boxed(seed) AS MATERIALIZED (
             SELECT DISTINCT has.seed FROM has JOIN pg_attribute a ON a.atttypid = has.type
             JOIN pg_class c ON c.oid = a.attrelid
             WHERE has.boxed AND c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped
             UNION SELECT has.seed FROM has JOIN pg_depend d ON d.refobjid = has.type
             WHERE has.boxed AND d.refclassid = 'pg_type'::regclass AND d.classid = 'pg_rewrite'::regclass)"
    )
}

/// Whether a CHECK may hold today and not tomorrow, or only with other rows: by a function that is not the system's or
/// not immutable, the time, or names of other objects.
fn is_late() -> String {
    let calls = calls_foreign_code("k.conbin", "OR p.provolatile <> 'i'");
    format!(
        "({calls} OR k.conbin::text LIKE '%{{SQLVALUEFUNCTION%'
          OR k.conbin::text ~ '[{{]COERCEVIAIO .*:resulttype (2202|2203|2204|2205|2206|3734|3769|4089|4096|4191) ')"
    )
}

/// Objects of extensions come with them.
fn of_extension(class: &str, oid: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{class}'::regclass AND e.objid = {oid}
                 AND e.refclassid = 'pg_extension'::regclass AND e.deptype = 'e')"
    )
}

fn late_checks(contains: &str) -> String {
    let domains = domains(contains);
    let (of_table, of_type) = (
        of_extension("pg_class", "k.conrelid"),
        of_extension("pg_type", "k.contypid"),
    );
    format!(
        "WITH RECURSIVE {domains}
         SELECT k.contypid <> 0, n.nspname::text, coalesce(c.relname, t.typname)::text, k.conname::text
         FROM pg_constraint k JOIN late ON late.oid = k.oid
         LEFT JOIN pg_class c ON c.oid = k.conrelid
         LEFT JOIN pg_type t ON t.oid = k.contypid
         JOIN pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace)
         WHERE k.conislocal AND (c.relkind IN ('r', 'p') OR k.contypid <> 0)
           AND k.contypid NOT IN (SELECT seed FROM boxed) AND {USER_SCHEMA}
           AND NOT {of_table} AND NOT {of_type}
         ORDER BY 1 DESC, CASE WHEN k.coninhcount > 0 THEN (
             WITH RECURSIVE up(oid, level) AS (
                 SELECT k.conrelid, 0 UNION
                 SELECT i.inhparent, up.level + 1 FROM up JOIN pg_inherits i ON i.inhrelid = up.oid)
             SELECT max(level) FROM up) ELSE 0 END, 2, 3, 4"
    )
}

/// Rows are written into the partitions themselves, where the server computes their keys again.
fn after_tables(contains: &str) -> String {
    let domains = domains(contains);
    let (generated, key) = (
        calls_foreign_code("d.adbin", ""),
        calls_foreign_code("x.partexprs", ""),
    );
    format!(
        "WITH RECURSIVE {domains},
         keyed(oid) AS (
             SELECT x.partrelid FROM pg_partitioned_table x WHERE x.partexprs IS NOT NULL AND {key}
             UNION SELECT i.inhrelid FROM keyed JOIN pg_inherits i ON i.inhparent = keyed.oid)
         SELECT n.nspname::text, c.relname::text
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND {USER_SCHEMA} AND c.oid IN (
             SELECT d.adrelid FROM pg_attrdef d
                 JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                 WHERE a.attgenerated = 's' AND {generated}
             UNION ALL SELECT oid FROM keyed
             UNION ALL SELECT a.attrelid FROM pg_attribute a JOIN has ON has.type = a.atttypid
                 JOIN boxed ON boxed.seed = has.seed WHERE a.attnum > 0 AND NOT a.attisdropped)
         ORDER BY 1, 2"
    )
}

fn after_indexes(contains: &str) -> String {
    format!(
        "WITH RECURSIVE {contains},
         has(type) AS (
             SELECT 'regclass'::regtype::oid
             UNION SELECT contains.whole FROM has JOIN contains ON contains.part = has.type)
         SELECT n.nspname::text, c.relname::text
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND {USER_SCHEMA} AND c.oid IN (
             SELECT a.attrelid FROM pg_attribute a JOIN has ON has.type = a.atttypid
             WHERE a.attnum > 0 AND NOT a.attisdropped)
         ORDER BY 1, 2"
    )
}

/// The hash of a value of an enum is that of the value's oid; those of names of objects are, too.
fn through(session: &mut Session, contains: &str) -> Result<Vec<(TableName, TableName)>, PgError> {
    let sql = format!(
        "WITH RECURSIVE {contains},
         has(type) AS (
             SELECT oid FROM pg_type
             WHERE typtype = 'e' OR oid IN (2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191)
             UNION SELECT contains.whole FROM has JOIN contains ON contains.part = has.type),
         keyed(oid) AS MATERIALIZED (
             SELECT x.partrelid FROM pg_partitioned_table x WHERE x.partstrat = 'h' AND (
                 EXISTS (SELECT FROM pg_attribute a JOIN has ON has.type = a.atttypid
                         WHERE a.attrelid = x.partrelid AND a.attnum = ANY (x.partattrs))
                 OR x.partexprs IS NOT NULL AND EXISTS (
                     SELECT FROM pg_opclass o WHERE o.oid = ANY (x.partclass) AND o.opcintype IN (
                         SELECT oid FROM pg_type WHERE typtype = 'p' OR oid IN (SELECT type FROM has)))))
         SELECT n.nspname::text, c.relname::text, m.nspname::text, t.relname::text
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         CROSS JOIN LATERAL (
             SELECT a.relid FROM pg_partition_ancestors(c.oid) WITH ORDINALITY a (relid, level)
             WHERE a.relid IN (SELECT oid FROM keyed) ORDER BY a.level DESC LIMIT 1) top
         JOIN pg_class t ON t.oid = top.relid JOIN pg_namespace m ON m.oid = t.relnamespace
         WHERE c.relkind = 'r' AND c.relispartition AND EXISTS (SELECT FROM keyed) AND {USER_SCHEMA}
         ORDER BY 1, 2"
    );
    let rows = session.rows("listing the partitions by hashes of names", &sql)?;
    let name = |row: &postgres::Row, at: usize| {
        TableName::new(row.get::<_, String>(at), row.get::<_, String>(at + 1))
    };
    Ok(rows
        .iter()
        .map(|row| (name(row, 0), name(row, 2)))
        .collect())
}
