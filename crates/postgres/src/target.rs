//! Queries and statements on the target database of a restore.

use crate::connect::session::Session;
use crate::drift::{Drift, live_columns, made_like};
use crate::error::PgError;
use crate::inspect;
use crate::lock_holders::LIMIT_WAITS;
pub use crate::new_database::{copy_database, create_database, set_properties, set_tablespace};
use crate::plain_types::PlainTypes;
use hubvault_model::{TableName, quote_ident, quote_literal};
use std::collections::{BTreeMap, BTreeSet};

pub use crate::scratch::{
    claim_name, create_owner, drop_database, drop_idle_roles, drop_subscriptions,
    has_subscriptions, silence_event_triggers, unused_databases,
};

/// Which of these tables exist.
pub fn present<'a>(
    session: &mut Session,
    names: impl Iterator<Item = &'a TableName>,
) -> Result<Vec<TableName>, PgError> {
    let mut found = Vec::new();
    for name in names {
        let literal = quote_literal(&name.sql());
        let sql = format!("SELECT pg_catalog.to_regclass({literal}) IS NOT NULL");
        let rows = session.rows("looking for a table", &sql)?;
        if rows.first().is_some_and(|row| row.get(0)) {
            found.push(name.clone());
        }
    }
    Ok(found)
}

/// Ends waits for locks soon, and keeps every view and foreign table of a user from being read in this session, where the
/// server can (`restrict_nonsystem_relation_kind`, since the updates of August 2024): what is called as a table of an
/// archive is may be one in the database, and reading it would run its functions.
pub fn limit_to_tables(session: &mut Session) -> Result<(), PgError> {
    let sql = "SELECT pg_catalog.set_config(name, 'view, foreign-table', false) FROM pg_catalog.pg_show_all_settings()
               WHERE name = 'restrict_nonsystem_relation_kind'";
    session.simple("leaving out views", sql)?;
    session.simple("limiting waits for locks", LIMIT_WAITS)
}

/// Whether a relation is a user's table, with its rows in this database: no view, and not a table of an extension,
/// whose rows may be programs (those of `cron.job` are) and are in no archive.
pub fn is_table(session: &mut Session, name: &TableName) -> Result<bool, PgError> {
    let sql = format!(
        "SELECT c.relkind IN ('r', 'p') AND NOT EXISTS (
             SELECT FROM pg_catalog.pg_depend d
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
         FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({})",
        quote_literal(&name.sql())
    );
    let rows = session.rows("looking for a table", &sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// A table that an extension marks as holding rows of users ("Extension Configuration Tables").
#[derive(Clone, Debug)]
pub struct ConfigTable {
    /// The extension.
    pub extension: String,
    /// Which rows are the users', as the extension of this database says it: nothing, or `WHERE` and a condition.
    pub users_rows: String,
}

/// The tables that extensions mark as holding rows of users.
pub fn config_tables(session: &mut Session) -> Result<BTreeMap<TableName, ConfigTable>, PgError> {
    let sql = "SELECT n.nspname::text, c.relname::text, e.extname::text, coalesce(x.condition, '')
               FROM pg_catalog.pg_extension e CROSS JOIN unnest(e.extconfig, e.extcondition) x (relation, condition)
               JOIN pg_catalog.pg_class c ON c.oid = x.relation
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'r'";
    let rows = session.rows("asking for the tables of extensions", sql)?;
    let table = |row: &postgres::Row| {
        let name = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let (extension, users_rows) = (row.get(2), row.get(3));
        let table = ConfigTable {
            extension,
            users_rows,
        };
        (name, table)
    };
    Ok(rows.iter().map(table).collect())
}

/// Checks that a table has these columns to load. A COPY that fails before its first row leaves a session of the library
/// in which nothing else can be done.
pub fn check_columns(
    session: &mut Session,
    table: &TableName,
    columns: &[String],
) -> Result<(), PgError> {
    let doing = format!("restoring {table}");
    let sql = format!(
        "SELECT attname::text FROM pg_catalog.pg_attribute
         WHERE attrelid = {}::pg_catalog.regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
        quote_literal(&table.sql())
    );
    let rows = session.rows(&doing, &sql)?;
    let there: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    match columns.iter().find(|it| !there.contains(&it.as_str())) {
        None => Ok(()),
        Some(column) => Err(PgError::Query {
            doing,
            why: format!(
                "it has no column {} to load, which the archive has",
                quote_ident(column)
            ),
        }),
    }
}

/// Lets a role load and read a table of an extension, which a superuser owns.
pub fn admit_to(session: &mut Session, table: &TableName, role: &str) -> Result<(), PgError> {
    let (schema, role) = (quote_ident(&table.schema), quote_ident(role));
    let sql = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT ALL ON TABLE {} TO {role}",
        table.sql()
    );
    session.simple(&format!("letting {role} load {table}"), &sql)
}

/// Whether a table of an extension has rows of users. One that cannot be asked without running a function of somebody else
/// counts as one that has.
pub fn has_users_rows(
    session: &mut Session,
    table: &TableName,
    of: &ConfigTable,
) -> Result<bool, PgError> {
    if inspect::planning_runs_code(session, table)? {
        return Ok(true);
    }
    let sql = format!(
        "SELECT 1 FROM ONLY {} {} LIMIT 1",
        table.sql(),
        of.users_rows
    );
    let rows = session.rows(&format!("looking into {table}"), &sql)?;
    Ok(!rows.is_empty())
}

/// How large a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapSize {
    /// Pages of the heap.
    pub pages: u64,
    /// Heap and TOAST, in bytes.
    pub bytes: u64,
}

/// The sizes of all heap tables; nothing on a server that cannot read a range of pages without
/// reading the rest (before 14).
pub fn heap_sizes(session: &mut Session) -> Result<BTreeMap<TableName, HeapSize>, PgError> {
    if session.server_version_num() < 140_000 {
        return Ok(BTreeMap::new());
    }
    let sql = "SELECT n.nspname::text, c.relname::text,
                      pg_catalog.pg_relation_size(c.oid)
                          / pg_catalog.current_setting('block_size')::bigint,
                      pg_catalog.pg_table_size(c.oid)
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'heap'
               WHERE c.relkind = 'r'";
    let rows = session.rows("asking for the tables' sizes", sql)?;
    let size = |row: &postgres::Row| {
        let of = |at| row.get::<_, Option<i64>>(at).unwrap_or(0).max(0) as u64;
        HeapSize {
            pages: of(2),
            bytes: of(3),
        }
    };
    let name =
        |row: &postgres::Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(rows.iter().map(|row| (name(row), size(row))).collect())
}

/// The extensions that can be made ("`pg_available_extensions`").
pub fn extensions(session: &mut Session) -> Result<Vec<String>, PgError> {
    let sql = "SELECT name::text FROM pg_catalog.pg_available_extensions";
    let rows = session.rows("asking for the extensions", sql)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Those of these tablespaces that the session cannot use: they do not exist, or it has no right to.
pub fn lacking_tablespaces(
    session: &mut Session,
    names: &[String],
) -> Result<Vec<String>, PgError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT spcname::text FROM pg_catalog.pg_tablespace
               WHERE pg_catalog.has_tablespace_privilege(oid, 'CREATE')";
    let rows = session.rows("asking for the tablespaces", sql)?;
    let usable: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let lacking = names.iter().filter(|name| !usable.contains(name));
    Ok(lacking.cloned().collect())
}

/// All roles.
pub fn roles(session: &mut Session) -> Result<Vec<String>, PgError> {
    let sql = "SELECT rolname::text FROM pg_catalog.pg_roles";
    let rows = session.rows("asking for the roles", sql)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A sequence's last value and whether it was used; `None` for one that was never called, as in
/// `pg_sequences`.
pub fn sequence(session: &mut Session, name: &TableName) -> Result<Option<(i64, bool)>, PgError> {
    let sql = format!("SELECT last_value, is_called FROM {}", name.sql());
    let rows = session.rows(&format!("reading the sequence {name}"), &sql)?;
    Ok(rows.first().map(|row| (row.get(0), row.get(1))))
}

/// Whether the session is a superuser's.
pub fn is_superuser(session: &mut Session) -> Result<bool, PgError> {
    let sql = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let rows = session.rows("asking what the role may do", sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// The foreign keys that are not validated (`pg_constraint`), each by its table and name, and by the partitioned tables
/// above that table.
pub fn unvalidated_keys(session: &mut Session) -> Result<BTreeSet<(TableName, String)>, PgError> {
    let sql = "WITH RECURSIVE keys(name, oid) AS (
                   SELECT conname, conrelid FROM pg_catalog.pg_constraint
                   WHERE contype = 'f' AND NOT convalidated
                   UNION
                   SELECT keys.name, i.inhparent FROM keys
                   JOIN pg_catalog.pg_inherits i ON i.inhrelid = keys.oid
                   JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)
               SELECT n.nspname::text, c.relname::text, keys.name::text FROM keys
               JOIN pg_catalog.pg_class c ON c.oid = keys.oid
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";
    let rows = session.rows("asking for the foreign keys", sql)?;
    Ok(rows.iter().map(|row| (named(row), row.get(2))).collect())
}

/// A table of which the first two columns are schema and name.
fn named(row: &postgres::Row) -> TableName {
    TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))
}

/// Which of a table and its partitions have a foreign key of this name themselves.
pub fn tables_with_key(
    session: &mut Session,
    table: &TableName,
    key: &str,
) -> Result<Vec<TableName>, PgError> {
    let sql = format!(
        "WITH RECURSIVE tree(oid) AS (
             SELECT pg_catalog.to_regclass({})::pg_catalog.oid
             UNION
             SELECT c.oid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)
         SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_constraint k
         JOIN tree ON tree.oid = k.conrelid
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conname = {}",
        quote_literal(&table.sql()),
        quote_literal(key)
    );
    let rows = session.rows("looking for a foreign key", &sql)?;
    Ok(rows.iter().map(named).collect())
}

/// A COPY of these columns into a table.
pub fn copy_into(table: &TableName, columns: &[String]) -> String {
    let list = match columns {
        [] => String::new(),
        columns => format!(" ({})", list(columns)),
    };
    format!("COPY {}{list} FROM STDIN", table.sql())
}

/// Whether a table that is emptied and filled in one transaction is filled without WAL, as
/// `wal_level = minimal` allows ("Populating a Database", 14.4.7).
pub fn writes_no_wal(session: &mut Session) -> Result<bool, PgError> {
    let rows = session.rows("asking for wal_level", "SHOW wal_level")?;
    Ok(rows
        .first()
        .is_some_and(|row| row.get::<_, &str>(0) == "minimal"))
}

/// Creates an empty table with an archive's columns, and the schema if it is missing: of the types of another table,
/// texts where that has no such column, and those in `as_text`. Domains are the types below them.
pub fn create_like(
    session: &mut Session,
    like: &TableName,
    name: &TableName,
    columns: &[String],
    as_text: &[String],
) -> Result<(), PgError> {
    let plain = PlainTypes::of(session, like)?;
    let as_text = plain.with_texts(as_text);
    let drift = Drift::between(columns, &live_columns(session, like)?, &as_text);
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS {}; CREATE TABLE {} AS {}",
        quote_ident(&name.schema),
        name.sql(),
        made_like(like, columns, &drift, &plain)
    );
    session.simple(&format!("making {name}"), &sql)?;
    PlainTypes::none_in(session, name)
}

/// Disables a table's own triggers; returns the SQL that enables those which were enabled, each as it was, and is empty
/// where there are none. Before 15, those that a partition has from its parent count as the system's, and can be
/// disabled by name only.
pub fn disable_triggers(session: &mut Session, table: &TableName) -> Result<String, PgError> {
    let doing = format!("switching off the triggers of {table}");
    let sql = format!(
        "SELECT pg_catalog.format('ALTER TABLE ONLY %s ENABLE %s TRIGGER %I;', {0},
             CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, tgname),
             pg_catalog.format('ALTER TABLE ONLY %s DISABLE TRIGGER %I;', {0}, tgname)
         FROM pg_catalog.pg_trigger
         WHERE tgrelid = {0}::regclass AND tgenabled <> 'D'
             AND (NOT tgisinternal OR (tgparentid <> 0 AND tgconstraint = 0))",
        quote_literal(&table.sql())
    );
    let rows = session.rows(&doing, &sql)?;
    let all = |column| -> String {
        rows.iter()
            .map(|row| row.get::<_, String>(column))
            .collect()
    };
    let (enable, disable) = (all(0), all(1));
    if !disable.is_empty() {
        session.simple(&doing, &disable)?;
    }
    Ok(enable)
}

/// Undoes [`disable_triggers`] with what it returned.
pub fn enable_triggers(
    session: &mut Session,
    table: &TableName,
    enable: &str,
) -> Result<(), PgError> {
    if enable.is_empty() {
        return Ok(());
    }
    session.simple(&format!("switching on the triggers of {table}"), enable)
}

pub(crate) fn list(columns: &[String]) -> String {
    columns
        .iter()
        .map(|column| quote_ident(column))
        .collect::<Vec<_>>()
        .join(", ")
}
