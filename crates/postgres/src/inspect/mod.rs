//! Reads a database's catalogs, in a fixed number of queries.

use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{DatabaseFacts, quote_literal};

pub(crate) mod planner;
mod relations;
mod huge_rows;
mod keys;
mod sequences;
mod requirements;
mod views;
mod needs;
mod remote;
mod reader_role;
mod known_role;
pub(crate) mod privileges;
mod row_roles;
mod rules;
mod search_path;
mod ordinary;
mod survey;

pub use huge_rows::{WritableRows, writable_rows};
pub use keys::{ForeignKey, foreign_keys};
pub use known_role::{is_password_of_a_role, why_not_ours};
pub use needs::host_needs;
pub(crate) use ordinary::WITH_SETTINGS;
pub use ordinary::ordinary_settings;
pub use planner::{Estimate, estimate, works};
pub use privileges::{
    MissingPrivilege, grants, is_any_unreadable, missing_for_more, missing_privileges,
    new_and_unreadable,
};
pub use reader_role::{READER, password_literal, reader_role, role_exists};
pub use relations::{Column, ConfigRows, Relation, RelationKind, planning_runs_code, relations};
pub(crate) use relations::{renamed, unlocked};
pub use remote::{RemoteView, analyze_statement, remote_views};
pub use requirements::{Requirements, requirements};
pub use row_roles::row_roles;
pub use rules::{Check, Rules, refusing_check, rules};
pub use search_path::{is_searched, schemas, search_path};
pub use sequences::{Sequence, read_sequences, sequences};
pub use survey::{GrowingTable, Survey, SurveyedTable, growing, survey};
pub use views::{bound_by_policies, materialized_views};

/// User schemas: not the system's, not temporary ones.
const USER_SCHEMA: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// A snapshot may still show objects that were dropped since; for these the functions return NULL ("Access Privilege
/// Inquiry Functions"). Never a locked table.
const NOT_GONE: &str = "has_table_privilege(c.oid, 'SELECT') IS NOT NULL
               AND has_schema_privilege(n.oid, 'USAGE') IS NOT NULL";

/// Whether the database has implicit casts of somebody who is neither a superuser nor this role, which is one: whoever
/// owns a type can make a comparison of it run his function.
pub fn has_foreign_casts(session: &mut Session) -> Result<bool, PgError> {
    let rows = session.rows(
        "asking for casts",
        "SELECT EXISTS (SELECT FROM pg_cast x JOIN pg_proc p ON p.oid = x.castfunc
                        JOIN pg_roles r ON r.oid = p.proowner
                        WHERE x.castcontext = 'i' AND NOT r.rolsuper AND r.rolname <> current_user)
            AND (SELECT me.rolsuper FROM pg_roles me WHERE me.rolname = current_user)",
    )?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// The name that the server knows the database by; a pooler may have another.
pub fn current_database(session: &mut Session) -> Result<String, PgError> {
    let sql = "SELECT current_database()::text";
    let rows = session.rows("asking for the database", sql)?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}

/// What the database was created with. The columns of the locale have other names in every second major version.
pub fn database(session: &mut Session) -> Result<DatabaseFacts, PgError> {
    let doing = "reading the properties of the database";
    let rows = session.rows(
        doing,
        "SELECT pg_encoding_to_char(encoding)::text,
                CASE to_jsonb(d) ->> 'datlocprovider'
                    WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
                datcollate::text, datctype::text,
                coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
                to_jsonb(d) ->> 'daticurules', datconnlimit,
                (SELECT t.spcname::text FROM pg_tablespace t WHERE t.oid = d.dattablespace AND t.spcname <> 'pg_default')
         FROM pg_database d WHERE datname = current_database()",
    )?;
    let row = rows.first().ok_or_else(|| PgError::Query {
        doing: doing.to_owned(),
        why: "it was dropped or renamed meanwhile; start the backup again".to_owned(),
    })?;
    Ok(DatabaseFacts {
        encoding: row.get(0),
        provider: row.get(1),
        collate: row.get(2),
        ctype: row.get(3),
        locale: row.get(4),
        icu_rules: row.get(5),
        connection_limit: row.get(6),
        tablespace: row.get(7),
    })
}

/// The roles that the definitions name: owners, those with grants, those of policies, and those of the database itself.
pub fn roles(session: &mut Session) -> Result<Vec<String>, PgError> {
    // The bootstrap superuser is pinned and so not in pg_shdepend; hence the owners.
    let rows = session.rows(
        "listing the roles that own or may use something",
        "SELECT r.rolname::text FROM pg_roles r
         WHERE r.rolname !~ '^pg_' AND r.oid IN (
             SELECT d.refobjid FROM pg_shdepend d
             WHERE d.refclassid = 'pg_authid'::regclass
               AND (SELECT b.oid FROM pg_database b WHERE datname = current_database()) IN
                   (d.dbid, CASE WHEN d.classid = 'pg_database'::regclass THEN d.objid END)
             UNION SELECT datdba FROM pg_database WHERE datname = current_database()
             UNION SELECT s.setrole FROM pg_db_role_setting s JOIN pg_database b ON b.oid = s.setdatabase
                   WHERE b.datname = current_database()
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

/// The address of a row: page and item, as in `ctid` ("System Columns"). Valid while the snapshot and a
/// lock on its table are held.
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
    Ok(rows
        .first()
        .map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
}
