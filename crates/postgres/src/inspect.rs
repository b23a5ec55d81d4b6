//! What a database holds, asked of its catalogs in a handful of queries whatever its size.

use crate::error::PgError;
use crate::session::Session;
use hubvault_model::{TableName, quote_literal};
use std::collections::HashMap;

pub use crate::planner::{Estimate, estimate};
pub use crate::privileges::missing_privileges;

/// What kind of relation; only tables hold rows of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// An ordinary table, also a leaf partition.
    Table,
    /// A partitioned table: its leaves hold the rows.
    Partitioned,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A table on another server.
    Foreign,
}

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it.
    pub type_name: String,
    /// Whether it is computed from others; COPY leaves it out.
    pub generated: bool,
}

/// One relation of a user's schema.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a column of the catalog query"
)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its name.
    pub name: TableName,
    /// What it is.
    pub kind: RelationKind,
    /// What it is a partition or child of.
    pub parents: Vec<u32>,
    /// Whether it is a partition (and no classic child).
    pub is_partition: bool,
    /// Heap pages, as the file is now.
    pub pages: u64,
    /// Heap bytes.
    pub heap_bytes: u64,
    /// TOAST bytes.
    pub toast_bytes: u64,
    /// Rows as the planner would guess them; `None` when it was never analyzed.
    pub estimated_rows: Option<u64>,
    /// The columns in their order, without dropped ones.
    pub columns: Vec<Column>,
    /// The extension that it belongs to.
    pub extension_member: Option<String>,
    /// Whether a crash empties it.
    pub unlogged: bool,
    /// Whether its access method is heap, which ctid ranges need.
    pub heap: bool,
    /// Whether the role may read all of it.
    pub can_select: bool,
    /// Whether the role may look into its schema.
    pub schema_usage: bool,
    /// Whether row-level security would hide rows from the role.
    pub rls_filters: bool,
    /// Its owner.
    pub owner: String,
}

impl Relation {
    /// Whether `pg_dump` would lock it.
    pub(crate) fn is_lockable(&self) -> bool {
        matches!(self.kind, RelationKind::Table | RelationKind::Partitioned)
            && self.extension_member.is_none()
    }
}

/// User schemas: not the system's, not temporary ones.
const USER_SCHEMA: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// A snapshot may still show what was dropped since; of that, these functions say NULL ("Access Privilege
/// Inquiry Functions"). Not a table that is locked.
const NOT_GONE: &str = "has_table_privilege(c.oid, 'SELECT') IS NOT NULL
               AND has_schema_privilege(n.oid, 'USAGE') IS NOT NULL";

/// Tables that `pg_dump` would lock and that this session does not hold, as the transaction's snapshot shows
/// them: made, or given their names, since the list for the locks was made up.
pub(crate) fn unlocked(session: &mut Session) -> Result<Vec<String>, PgError> {
    let rows = session.rows(
        "looking for tables that are not locked",
        &format!(
            "SELECT format('%I.%I', n.nspname, c.relname)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {USER_SCHEMA}
               AND NOT EXISTS (SELECT FROM pg_depend d
                               WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                 AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
               AND NOT EXISTS (SELECT FROM pg_locks l
                               WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
                                 AND l.relation = c.oid AND l.mode = 'AccessShareLock' AND l.granted)
             ORDER BY 1"
        ),
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Every relation of the users' schemas.
pub fn relations(session: &mut Session) -> Result<Vec<Relation>, PgError> {
    let doing = "listing the tables";
    let mut columns = columns(session)?;
    let rows = session.rows(
        doing,
        &format!(
            "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text,
                    ARRAY(SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = c.oid),
                    c.relispartition,
                    CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) END,
                    CASE WHEN c.reltoastrelid <> 0 THEN pg_relation_size(c.reltoastrelid) END,
                    current_setting('block_size')::int8,
                    c.reltuples::float8, c.relpages::int8,
                    (SELECT e.extname::text FROM pg_depend d
                       JOIN pg_extension e ON e.oid = d.refobjid
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
                    c.relpersistence = 'u', coalesce(am.amname = 'heap', false),
                    has_table_privilege(c.oid, 'SELECT'), has_schema_privilege(n.oid, 'USAGE'),
                    row_security_active(c.oid), pg_get_userbyid(c.relowner)::text
             FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN pg_am am ON am.oid = c.relam
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
               AND {USER_SCHEMA} AND {NOT_GONE}
             ORDER BY n.nspname, c.relname"
        ),
    )?;
    Ok(rows
        .iter()
        .map(|row| {
            let oid: u32 = row.get(0);
            let block: i64 = row.get(8);
            let heap_bytes = unsigned(row.get(6));
            let pages = heap_bytes / unsigned(Some(block)).max(1);
            Relation {
                oid,
                name: TableName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
                kind: kind(row.get(3)),
                parents: row.get(4),
                is_partition: row.get(5),
                pages,
                heap_bytes,
                toast_bytes: unsigned(row.get(7)),
                estimated_rows: estimated_rows(row.get(9), row.get(10), pages),
                columns: columns.remove(&oid).unwrap_or_default(),
                extension_member: row.get(11),
                unlogged: row.get(12),
                heap: row.get(13),
                can_select: row.get(14),
                schema_usage: row.get(15),
                rls_filters: row.get(16),
                owner: row.get(17),
            }
        })
        .collect())
}

fn unsigned(number: Option<i64>) -> u64 {
    number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

fn kind(relkind: &str) -> RelationKind {
    match relkind {
        "p" => RelationKind::Partitioned,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::Foreign,
        _ => RelationKind::Table,
    }
}

/// The density at the last ANALYZE times the pages of today, as the planner does it ("How the
/// Planner Uses Statistics"). `reltuples` is -1, before 14 also 0 on no pages, when unknown.
fn estimated_rows(reltuples: f64, relpages: i64, pages: u64) -> Option<u64> {
    if pages == 0 {
        return Some(0);
    }
    if reltuples < 0.0 || relpages <= 0 {
        return None;
    }
    Some((reltuples / relpages as f64 * pages as f64).round() as u64)
}

fn columns(session: &mut Session) -> Result<HashMap<u32, Vec<Column>>, PgError> {
    let rows = session.rows(
        "listing the columns",
        &format!(
            "SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod),
                    a.attgenerated <> ''
             FROM pg_attribute a
             JOIN pg_class c ON c.oid = a.attrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE a.attnum > 0 AND NOT a.attisdropped
               AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {USER_SCHEMA}
             ORDER BY a.attrelid, a.attnum"
        ),
    )?;
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in &rows {
        columns.entry(row.get(0)).or_default().push(Column {
            name: row.get(1),
            type_name: row.get(2),
            generated: row.get(3),
        });
    }
    Ok(columns)
}

/// One foreign key.
#[derive(Clone, Debug)]
pub struct ForeignKey {
    /// `pg_constraint.oid`.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// The table that bears it.
    pub table: u32,
    /// The table that it points to.
    pub references: u32,
    /// Its columns.
    pub columns: Vec<String>,
    /// The columns that they point to, in the same order.
    pub referenced_columns: Vec<String>,
    /// How they are compared, as SQL that needs no search path; the referenced column on the left.
    pub operators: Vec<String>,
    /// As `pg_get_constraintdef` writes it.
    pub definition: String,
    /// Whether all present rows are known to keep it.
    pub validated: bool,
    /// The partitioned table's constraint that it was made for.
    pub parent: Option<u32>,
    /// Whether the table that bears it is partitioned.
    pub table_is_partitioned: bool,
}

/// Every foreign key.
pub fn foreign_keys(session: &mut Session) -> Result<Vec<ForeignKey>, PgError> {
    let names = |key: &str, relation: &str| {
        format!(
            "ARRAY(SELECT a.attname::text FROM unnest(k.{key}) WITH ORDINALITY u (attnum, at)
                   JOIN pg_attribute a ON a.attrelid = k.{relation} AND a.attnum = u.attnum
                   ORDER BY u.at)"
        )
    };
    let rows = session.rows(
        "listing the foreign keys",
        &format!(
            "SELECT k.oid, k.conname::text, k.conrelid, k.confrelid, {}, {},
                    pg_get_constraintdef(k.oid), k.convalidated, nullif(k.conparentid, 0),
                    c.relkind = 'p',
                    ARRAY(SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
                          FROM unnest(k.conpfeqop) WITH ORDINALITY u (operator, at)
                          JOIN pg_operator o ON o.oid = u.operator
                          JOIN pg_namespace n ON n.oid = o.oprnamespace ORDER BY u.at)
             FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
             WHERE k.contype = 'f' ORDER BY k.conrelid, k.conname",
            names("conkey", "conrelid"),
            names("confkey", "confrelid")
        ),
    )?;
    Ok(rows
        .iter()
        .map(|row| ForeignKey {
            oid: row.get(0),
            name: row.get(1),
            table: row.get(2),
            references: row.get(3),
            columns: row.get(4),
            referenced_columns: row.get(5),
            definition: row.get(6),
            validated: row.get(7),
            parent: row.get(8),
            table_is_partitioned: row.get(9),
            operators: row.get(10),
        })
        .collect())
}

/// One sequence and where it stands.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its name.
    pub name: TableName,
    /// Its value; `None` when the role may not read it.
    pub last_value: Option<i64>,
    /// Whether that value was given out.
    pub is_called: bool,
    /// Whether the role may read it.
    pub can_read: bool,
    /// Whether an extension made it.
    pub extension_member: bool,
    /// Its owner.
    pub owner: String,
}

/// Every sequence with its value. Values are not part of a snapshot: they are at least as far as
/// the rows of the moment need.
pub fn sequences(session: &mut Session) -> Result<Vec<Sequence>, PgError> {
    let doing = "reading the sequences";
    let rows = session.rows(
        doing,
        &format!(
            "SELECT n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text,
                    has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'),
                    EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                              AND d.deptype = 'e')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {USER_SCHEMA} AND {NOT_GONE}
             ORDER BY 1, 2"
        ),
    )?;
    let mut sequences: Vec<Sequence> = rows
        .iter()
        .map(|row| Sequence {
            name: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            last_value: None,
            is_called: false,
            can_read: row.get(3),
            extension_member: row.get(4),
            owner: row.get(2),
        })
        .collect();
    for batch in sequences.chunks_mut(200) {
        let selects: Vec<String> = batch
            .iter()
            .enumerate()
            .filter(|(_, sequence)| sequence.can_read)
            .map(|(i, s)| {
                let said_twice = format!("concat_ws(' ', {i}, last_value, is_called)");
                format!(
                    "SELECT {i}, last_value, is_called, {said_twice} FROM {}",
                    s.name.sql()
                )
            })
            .collect();
        if selects.is_empty() {
            continue;
        }
        for row in session.rows(doing, &selects.join(" UNION ALL "))? {
            let at: i32 = row.get(0);
            let (value, is_called): (i64, bool) = (row.get(1), row.get(2));
            let flag = if is_called { "t" } else { "f" };
            PgError::unless_said_twice(doing, row.get(3), &format!("{at} {value} {flag}"))?;
            if let Some(sequence) = usize::try_from(at).ok().and_then(|at| batch.get_mut(at)) {
                sequence.last_value = Some(value);
                sequence.is_called = is_called;
            }
        }
    }
    Ok(sequences)
}

/// The materialized views that hold rows, each after those that it reads, also through views.
pub fn materialized_views(session: &mut Session) -> Result<Vec<TableName>, PgError> {
    let rows = session.rows(
        "listing the materialized views",
        &format!(
            "WITH RECURSIVE reads AS (
                 SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation
                 FROM pg_depend d JOIN pg_rewrite r
                   ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class),
             depth AS (
                 SELECT c.oid, 0 AS level FROM pg_class c
                 WHERE c.relkind IN ('v', 'm') AND c.oid >= 16384
                 UNION
                 SELECT reads.view, depth.level + 1 FROM depth
                 JOIN reads ON reads.relation = depth.oid)
             SELECT n.nspname::text, c.relname::text
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'm' AND c.relispopulated AND {USER_SCHEMA}
             ORDER BY (SELECT max(level) FROM depth WHERE depth.oid = c.oid), 1, 2"
        ),
    )?;
    Ok(rows
        .iter()
        .map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)))
        .collect())
}

/// The roles that the definitions name: owners, those with grants, those of policies.
pub fn roles(session: &mut Session) -> Result<Vec<String>, PgError> {
    // The bootstrap superuser is pinned and so not in pg_shdepend; hence the owners.
    let rows = session.rows(
        "listing the roles that own or may use something",
        "SELECT r.rolname::text FROM pg_roles r
         WHERE r.rolname !~ '^pg_' AND r.oid IN (
             SELECT d.refobjid FROM pg_shdepend d
             WHERE d.refclassid = 'pg_authid'::regclass
               AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
             UNION SELECT relowner FROM pg_class WHERE oid >= 16384
             UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
             UNION SELECT proowner FROM pg_proc WHERE oid >= 16384
             UNION SELECT typowner FROM pg_type WHERE oid >= 16384)
         ORDER BY 1",
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The moment `length` (a `PostgreSQL` interval) before the transaction began, as text with its
/// zone: one value for all connections of a run.
pub fn moment_before(session: &mut Session, length: &str) -> Result<String, PgError> {
    let sql = format!(
        "SELECT (transaction_timestamp() - CAST({} AS interval))::text",
        quote_literal(length)
    );
    let rows = session.rows(&format!("subtracting {length:?} from now"), &sql)?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}

/// Where a row lies: page and item, as `ctid` has them ("System Columns"). Good while the snapshot
/// that saw it and a lock on its table are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowAddress {
    /// The heap page.
    pub page: u32,
    /// The line pointer on it.
    pub item: u16,
}

impl std::fmt::Display for RowAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({},{})", self.page, self.item)
    }
}

impl std::str::FromStr for RowAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = text
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'));
        let parse = |(page, item): (&str, &str)| {
            Some(Self {
                page: page.parse().ok()?,
                item: item.parse().ok()?,
            })
        };
        inner
            .and_then(|inner| inner.split_once(','))
            .and_then(parse)
            .ok_or_else(|| format!("{text:?} is not the address of a row"))
    }
}

/// The addresses that a query gives as text in its only column.
pub fn addresses(
    session: &mut Session,
    doing: &str,
    sql: &str,
) -> Result<Vec<RowAddress>, PgError> {
    let parse = |row: &postgres::Row| {
        row.get::<_, &str>(0).parse().map_err(|why| PgError::Query {
            doing: doing.to_owned(),
            why,
        })
    };
    session.rows(doing, sql)?.iter().map(parse).collect()
}

/// How many large objects the database holds ("Large Objects", `pg_largeobject_metadata`).
pub fn large_objects(session: &mut Session) -> Result<u64, PgError> {
    let sql = "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata";
    let rows = session.rows("counting the large objects", sql)?;
    Ok(rows.first().map_or(0, |row| unsigned(Some(row.get(0)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_grows_with_the_table() {
        assert_eq!(estimated_rows(1_000.0, 10, 20), Some(2_000));
        assert_eq!(estimated_rows(-1.0, 0, 20), None);
        assert_eq!(estimated_rows(-1.0, 0, 0), Some(0));
    }
}
