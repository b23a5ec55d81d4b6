//! What a restore can do on a server, asked before it begins.

use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::error::PgError;
use hubvault_model::quote_literal;
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
    let sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'";
    let rows = session.rows("asking where the server keeps its data", sql)?;
    let path = rows
        .first()
        .map(|row| PathBuf::from(row.get::<_, String>(0)));
    Ok(path.filter(|path| path.is_dir()))
}
