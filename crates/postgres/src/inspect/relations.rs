//! Tables and other relations, and their columns.

use super::{NOT_GONE, USER_SCHEMA};
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{TableName, quote_literal};
use std::collections::HashMap;

/// The kind of a relation; only tables have rows of their own.
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
    /// Whether it is computed from others; COPY leaves it out.
    pub generated: bool,
    /// Whether it is computed and stored, by functions, operators, types or collations that are not built in: what they make
    /// of the same row may be different elsewhere.
    pub computed: bool,
    /// Whether its type is not built in.
    pub own_type: bool,
    /// How many bytes of text the server writes for each byte of a value, at least; 0 where the size of a value is not
    /// known without reading it.
    pub text_bytes: u8,
}

/// Rows of an extension's table that are the user's and no part of the extension ("Extension Configuration Tables").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRows {
    /// What follows the table's name in a query of these rows, `WHERE` included; empty for all rows.
    pub condition: String,
    /// Whether it may run with this role's rights: it is written by a superuser or this role, or this role is no
    /// superuser.
    pub may_run: bool,
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
    /// Its kind.
    pub kind: RelationKind,
    /// The parents of which it is a partition or child.
    pub parents: Vec<u32>,
    /// Whether it is a partition (and no classic child).
    pub is_partition: bool,
    /// Heap pages, as the file is now.
    pub pages: u64,
    /// Heap bytes.
    pub heap_bytes: u64,
    /// TOAST bytes.
    pub toast_bytes: u64,
    /// The planner's row estimate; `None` when it was never analyzed.
    pub estimated_rows: Option<u64>,
    /// The columns in their order, without dropped ones.
    pub columns: Vec<Column>,
    /// The extension that it belongs to.
    pub extension_member: Option<String>,
    /// Which of its rows are the user's, when it belongs to an extension that marks it so.
    pub config_rows: Option<ConfigRows>,
    /// Whether a crash empties it.
    pub unlogged: bool,
    /// Whether its access method is heap, which ctid ranges need.
    pub heap: bool,
    /// Whether the role may read all of it.
    pub can_select: bool,
    /// Whether the role may use its schema.
    pub schema_usage: bool,
    /// Whether row-level security would hide rows from the role.
    pub rls_filters: bool,
    /// Its owner.
    pub owner: String,
    /// Whether merely planning a query of it evaluates functions of somebody who is neither a superuser nor this role:
    /// those in expressions and conditions of its indexes and statistics.
    pub planning_runs_code: bool,
}

impl Relation {
    /// Whether it is to be locked: `pg_dump` would lock it, or it holds rows of an extension's configuration that can
    /// be read.
    pub(crate) fn is_lockable(&self) -> bool {
        matches!(self.kind, RelationKind::Table | RelationKind::Partitioned)
            && (self.extension_member.is_none()
                || (self.config_rows.is_some() && self.is_readable()))
    }

    /// Whether the role can read its rows.
    pub fn is_readable(&self) -> bool {
        self.can_select && self.schema_usage
    }
}

/// Tables that `pg_dump` would lock, that the role may lock and that this session does not hold, as the transaction's
/// snapshot shows them: created or renamed since the list for the locks was made.
pub(crate) fn unlocked(session: &mut Session) -> Result<Vec<String>, PgError> {
    let rows = session.rows(
        "looking for tables that are not locked",
        &format!(
            "SELECT format('%I.%I', n.nspname, c.relname)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {USER_SCHEMA}
               AND has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
               AND (NOT EXISTS (SELECT FROM pg_depend d
                                WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                  AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
                    OR c.oid IN (SELECT unnest(e.extconfig) FROM pg_extension e))
               AND NOT EXISTS (SELECT FROM pg_locks l
                               WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
                                 AND l.relation = c.oid AND l.mode = 'AccessShareLock' AND l.granted)
             ORDER BY 1"
        ),
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Locked tables whose name in the transaction's snapshot now means another relation or none: names are resolved as of
/// now, not as of the snapshot.
pub(crate) fn renamed(session: &mut Session, doing: &str) -> Result<Vec<String>, PgError> {
    let rows = session.rows(
        doing,
        &format!(
            "SELECT format('%I.%I', n.nspname, c.relname)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'r' AND {USER_SCHEMA} AND c.oid IN (
                 SELECT l.relation FROM pg_locks l
                 WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted)
               AND to_regclass(format('%I.%I', n.nspname, c.relname))::oid IS DISTINCT FROM c.oid
             ORDER BY 1"
        ),
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Expressions depend on the functions and operators in them (`pg_depend`); those of the system are not listed there.
/// One list for the whole query.
const PLANNING_RUNS_CODE: &str = "c.oid IN (
    WITH foreign_code AS (
        SELECT d.classid, d.objid FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid
        JOIN pg_roles r ON r.oid = p.proowner
        WHERE d.refclassid = 'pg_proc'::regclass AND NOT r.rolsuper AND r.rolname <> current_user
        UNION ALL
        SELECT d.classid, d.objid FROM pg_depend d JOIN pg_operator o ON o.oid = d.refobjid
        JOIN pg_proc p ON p.oid = o.oprcode JOIN pg_roles r ON r.oid IN (o.oprowner, p.proowner)
        WHERE d.refclassid = 'pg_operator'::regclass AND NOT r.rolsuper AND r.rolname <> current_user)
    SELECT i.indrelid FROM foreign_code f JOIN pg_index i
        ON f.classid = 'pg_class'::regclass AND f.objid = i.indexrelid
        WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
    UNION ALL
    SELECT s.stxrelid FROM foreign_code f JOIN pg_statistic_ext s
        ON f.classid = 'pg_statistic_ext'::regclass AND f.objid = s.oid)";

/// Whether merely planning a query of a table runs code of others: [`Relation::planning_runs_code`] of one.
pub fn planning_runs_code(session: &mut Session, table: &TableName) -> Result<bool, PgError> {
    let sql = format!(
        "SELECT {PLANNING_RUNS_CODE} FROM pg_class c WHERE c.oid = {}::regclass",
        quote_literal(&table.sql())
    );
    let rows = session.rows("looking at the indexes of a table", &sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// A database without an encoding may have names that are no text, which the server refuses to send as such.
fn of_names(error: PgError) -> PgError {
    match error {
        PgError::Query { doing, why } if why.contains("22021") => PgError::Query {
            doing,
            why: format!(
                "{why}; a table, column or role has a name with bytes that are not UTF-8: rename it"
            ),
        },
        other => other,
    }
}

/// Every relation of the users' schemas.
pub fn relations(session: &mut Session) -> Result<Vec<Relation>, PgError> {
    let doing = "listing the tables";
    let mut columns = columns(session).map_err(of_names)?;
    let sql = format!(
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
                    row_security_active(c.oid), pg_get_userbyid(c.relowner)::text,
                    {PLANNING_RUNS_CODE}, g.condition, g.may_run
             FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN (SELECT x.relation, x.condition, r.rolsuper OR r.rolname = current_user OR NOT me.rolsuper AS may_run
                        FROM pg_extension e CROSS JOIN unnest(e.extconfig, e.extcondition) x (relation, condition)
                        JOIN pg_roles r ON r.oid = e.extowner
                        JOIN pg_roles me ON me.rolname = current_user) g ON g.relation = c.oid
             LEFT JOIN pg_am am ON am.oid = c.relam
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
               AND {USER_SCHEMA} AND {NOT_GONE}
             ORDER BY n.nspname, c.relname"
    );
    let mut relations = Vec::new();
    session
        .for_each(doing, &sql, |row| {
            let oid: u32 = row.get(0);
            let block: i64 = row.get(8);
            let heap_bytes = unsigned(row.get(6));
            let pages = heap_bytes / unsigned(Some(block)).max(1);
            relations.push(Relation {
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
                config_rows: row
                    .get::<_, Option<String>>(19)
                    .map(|condition| ConfigRows {
                        condition,
                        may_run: row.get(20),
                    }),
                unlogged: row.get(12),
                heap: row.get(13),
                can_select: row.get(14),
                schema_usage: row.get(15),
                rls_filters: row.get(16),
                owner: row.get(17),
                planning_runs_code: row.get(18),
            });
            Ok::<_, PgError>(())
        })
        .map_err(of_names)?;
    Ok(relations)
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

/// The first oid that is not PostgreSQL's own (`access/transam.h`, `FirstNormalObjectId`).
const FIRST_OWN: u32 = 16_384;

fn columns(session: &mut Session) -> Result<HashMap<u32, Vec<Column>>, PgError> {
    let sql = format!(
            "SELECT a.attrelid, a.attname::text,
                    a.attgenerated <> '',
                    t.typnamespace IS DISTINCT FROM 'pg_catalog'::regnamespace,
                    CASE coalesce(nullif(t.typbasetype, 0), t.oid)
                        WHEN 'bytea'::regtype THEN 2
                        WHEN 'text'::regtype THEN 1 WHEN 'varchar'::regtype THEN 1 WHEN 'bpchar'::regtype THEN 1
                        ELSE 0 END,
                    a.attgenerated = 's' AND EXISTS (
                        SELECT FROM pg_attrdef f
                        -- Before 15 what the expression needs is needed by the column itself.
                        JOIN pg_depend d ON (d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid)
                             OR (d.classid = 'pg_class'::regclass AND d.objid = a.attrelid AND d.objsubid = a.attnum)
                        WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum
                          AND d.refobjid >= {FIRST_OWN} AND d.refclassid <> 'pg_class'::regclass)
             FROM pg_attribute a
             LEFT JOIN pg_type t ON t.oid = a.atttypid
             JOIN pg_class c ON c.oid = a.attrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE a.attnum > 0 AND NOT a.attisdropped
               AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {USER_SCHEMA}
             ORDER BY a.attrelid, a.attnum"
    );
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    // One by one: a large database has a million.
    session.for_each("listing the columns", &sql, |row| {
        columns.entry(row.get(0)).or_default().push(Column {
            name: row.get(1),
            generated: row.get(2),
            computed: row.get(5),
            own_type: row.get(3),
            text_bytes: u8::try_from(row.get::<_, i32>(4)).unwrap_or(0),
        });
        Ok::<_, PgError>(())
    })?;
    Ok(columns)
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
