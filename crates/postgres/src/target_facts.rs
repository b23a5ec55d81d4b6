//! What a restore can do on a server, asked before it begins.

use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::error::PgError;
use crate::inspect;
use crate::target::is_table;
use crate::unplanned;
use hubvault_model::{TableName, quote_literal};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the role of a session may make.
#[derive(Clone, Copy, Debug)]
pub struct MayMake {
    /// Databases.
    pub databases: bool,
    /// Roles.
    pub roles: bool,
    /// Schemas in this database.
    pub schemas: bool,
}

/// Asks for it.
pub fn may_make(session: &mut Session) -> Result<MayMake, PgError> {
    let doing = "asking what the role may make";
    let sql = "SELECT rolsuper OR rolcreatedb, rolsuper OR rolcreaterole,
                      pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
               FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let rows = session.rows(doing, sql)?;
    let row = rows.first().ok_or_else(|| PgError::Query {
        doing: doing.to_owned(),
        why: "the role was dropped meanwhile".to_owned(),
    })?;
    Ok(MayMake {
        databases: row.get(0),
        roles: row.get(1),
        schemas: row.get(2),
    })
}

/// Whether the server has a database of this name.
pub fn has_database(session: &mut Session, name: &str) -> Result<bool, PgError> {
    let name = quote_literal(name);
    let sql = format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = {name})");
    let rows = session.rows("looking for a database", &sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Why a schema of this name cannot be made for tables that no session is to find by itself; `None` where it can.
pub fn schema_in_use(session: &mut Session, name: &str) -> Result<Option<String>, PgError> {
    let literal = quote_literal(name);
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {literal}),
                EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal})"
    );
    let rows = session.rows("looking for a schema", &sql)?;
    let is = |column| rows.first().is_some_and(|row| row.get(column));
    let why = if is(0) {
        "exists"
    } else if is(1) {
        "has the name of a role, whose sessions would find its tables before those of others"
    } else if inspect::is_searched(session, name)? {
        "is named in a search_path, and sessions would find its tables before those of others"
    } else {
        return Ok(None);
    };
    Ok(Some(format!("the schema {name} {why}")))
}

/// All schemas.
pub fn all_schemas(session: &mut Session) -> Result<Vec<String>, PgError> {
    let sql = "SELECT nspname::text FROM pg_catalog.pg_namespace";
    let rows = session.rows("asking for the schemas", sql)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Where a server on this host, reached over its socket, keeps its data; `None` of another, and where the role may not
/// know.
pub fn data_directory(
    session: &mut Session,
    to: &ConnectSettings,
) -> Result<Option<PathBuf>, PgError> {
    if !to.host.starts_with('/') {
        return Ok(None);
    }
    let sql = "SELECT setting FROM pg_catalog.pg_show_all_settings() WHERE name = 'data_directory'";
    let rows = session.rows("asking where the server keeps its data", sql)?;
    let path = rows
        .first()
        .map(|row| PathBuf::from(row.get::<_, String>(0)));
    Ok(path.filter(|path| path.is_dir()))
}

/// The columns of a table that every new row must have a value for, besides `columns`.
pub fn columns_without_value(
    session: &mut Session,
    table: &TableName,
    columns: &[String],
) -> Result<Vec<String>, PgError> {
    let sql = format!(
        "SELECT a.attname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = {}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         AND a.attidentity = '' AND NOT a.atthasdef AND t.typdefault IS NULL
         AND (a.attnotnull OR t.typtype = 'd' AND t.typnotnull) ORDER BY a.attnum",
        quote_literal(&table.sql())
    );
    let rows = session.rows(&format!("looking at {table} in the target"), &sql)?;
    let names = rows.iter().map(|row| row.get::<_, String>(0));
    Ok(names.filter(|name| !columns.contains(name)).collect())
}

/// The privileges that the role lacks to put rows into a table, and to overwrite some with `update`.
pub fn missing_to_write(
    session: &mut Session,
    table: &TableName,
    update: bool,
) -> Result<Vec<String>, PgError> {
    let names = if update {
        "'INSERT', 'UPDATE'"
    } else {
        "'INSERT'"
    };
    let sql = format!(
        "SELECT name FROM unnest(ARRAY[{names}]) name
         WHERE NOT pg_catalog.has_table_privilege({}::pg_catalog.regclass, name)",
        quote_literal(&table.sql())
    );
    let rows = session.rows(&format!("asking for the rights on {table}"), &sql)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The relations that keep some of these from being dropped: views of them, tables with foreign keys to them, with defaults
/// from them or that inherit from them.
pub fn dependents(session: &mut Session, of: &[TableName]) -> Result<Vec<TableName>, PgError> {
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = of.iter().map(|name| quote_literal(&name.sql())).collect();
    let sql = format!(
        "WITH dropped (oid) AS (
             SELECT pg_catalog.to_regclass(name)::oid FROM unnest(ARRAY[{}]::text[]) n (name)
             WHERE pg_catalog.to_regclass(name) IS NOT NULL
         ), found (oid) AS (
             SELECT r.ev_class FROM pg_catalog.pg_depend d JOIN dropped ON dropped.oid = d.refobjid
             JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
             WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.classid = 'pg_catalog.pg_rewrite'::regclass
             UNION
             SELECT f.adrelid FROM pg_catalog.pg_depend d JOIN dropped ON dropped.oid = d.refobjid
             JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid
             WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.classid = 'pg_catalog.pg_attrdef'::regclass
             UNION
             SELECT k.conrelid FROM pg_catalog.pg_constraint k JOIN dropped ON dropped.oid = k.confrelid
             WHERE k.contype = 'f'
             UNION
             SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN dropped ON dropped.oid = i.inhparent
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'f') AND NOT c.relispartition
         )
         SELECT DISTINCT n.nspname::text, c.relname::text FROM found JOIN pg_catalog.pg_class c ON c.oid = found.oid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid NOT IN (SELECT oid FROM dropped) ORDER BY 1, 2",
        names.join(", ")
    );
    let rows = session.rows("looking for what depends on the tables", &sql)?;
    Ok(rows.iter().map(name_of).collect())
}

/// The partitions of some of these, at any depth, that are none of these: to drop a partitioned table drops all of them.
pub fn other_partitions(
    session: &mut Session,
    of: &[TableName],
) -> Result<Vec<TableName>, PgError> {
    let names: Vec<String> = of.iter().map(|name| quote_literal(&name.sql())).collect();
    let sql = format!(
        "WITH RECURSIVE known (oid) AS (
             SELECT pg_catalog.to_regclass(name)::oid FROM unnest(ARRAY[{}]::text[]) n (name)
             WHERE pg_catalog.to_regclass(name) IS NOT NULL
         ), found (oid) AS (
             SELECT oid FROM known
             UNION
             SELECT i.inhrelid FROM found JOIN pg_catalog.pg_inherits i ON i.inhparent = found.oid
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f')
         )
         SELECT n.nspname::text, c.relname::text FROM found JOIN pg_catalog.pg_class c ON c.oid = found.oid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid NOT IN (SELECT oid FROM known) ORDER BY 1, 2",
        names.join(", ")
    );
    let rows = session.rows("looking for partitions", &sql)?;
    Ok(rows.iter().map(name_of).collect())
}

/// Of a row with schema and name.
fn name_of(row: &postgres::Row) -> TableName {
    TableName::new(row.get::<_, String>(0), row.get::<_, String>(1))
}

/// How many rows each of these has that is a table, in a transaction of the caller's. Those of which planning a query would
/// run functions of others are counted by reading them.
pub fn row_counts(
    session: &mut Session,
    tables: &[TableName],
) -> Result<BTreeMap<String, u64>, PgError> {
    let mut counts = BTreeMap::new();
    for table in tables {
        // To read a view runs its functions. What a name means does not change while it is locked.
        let lock = format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", table.sql());
        session.simple(&format!("locking {table}"), &lock)?;
        if !is_table(session, table)? {
            continue;
        }
        let count = if inspect::planning_runs_code(session, table)? {
            unplanned::count(session, table)?
        } else {
            let sql = format!("SELECT count(*) FROM ONLY {}", table.sql());
            let rows = session.rows(&format!("counting the rows of {table}"), &sql)?;
            let count = rows.first().map_or(0, |row| row.get::<_, i64>(0));
            count.max(0).unsigned_abs()
        };
        counts.insert(table.to_string(), count);
    }
    Ok(counts)
}

/// The leaves of a partitioned table, which are not locked, where all of them are ordinary tables; nothing of another relation.
pub fn leaves(session: &mut Session, table: &TableName) -> Result<Vec<TableName>, PgError> {
    let sql = format!(
        "WITH RECURSIVE tree AS (
             SELECT oid FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({}) AND relkind = 'p'
             UNION SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid)
         SELECT n.nspname::text, c.relname::text, c.relkind = 'r'
         FROM tree JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind <> 'p'",
        quote_literal(&table.sql())
    );
    let rows = session.rows(&format!("looking at the partitions of {table}"), &sql)?;
    if !rows.iter().all(|row| row.get(2)) {
        return Ok(Vec::new());
    }
    let name =
        |row: &postgres::Row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(rows.iter().map(name).collect())
}
