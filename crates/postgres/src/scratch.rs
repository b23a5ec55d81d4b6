//! Scratch databases of drills on a shared server, with their roles and subscriptions.

use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{quote_ident, quote_literal};
use secrecy::{ExposeSecret, SecretString};

/// Makes a role that can log in, owns the database of its name, and may do nothing else. In that database row security
/// must hide nothing from it.
pub fn create_owner(
    session: &mut Session,
    name: &str,
    password: &SecretString,
) -> Result<(), PgError> {
    let sql = format!(
        "CREATE ROLE {0} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS PASSWORD {1};
         ALTER DATABASE {0} OWNER TO {0}",
        quote_ident(name),
        quote_literal(password.expose_secret())
    );
    session.simple("making the drill's role", &sql)
}

/// Keeps event triggers from firing on a server that is nobody else's: one may fire when somebody logs in (17), and may be an
/// owner's function in the sessions of a superuser.
pub fn silence_event_triggers(session: &mut Session) -> Result<(), PgError> {
    if session.server_version_num() < 170_000 {
        return Ok(());
    }
    let sql = "ALTER ROLE ALL SET event_triggers = off";
    session.simple("silencing event triggers", sql)
}

/// Drops the roles whose names begin with `prefix` and that have no database of their name any more. What another drill
/// drops at the same moment, or still needs, is left to it.
pub fn drop_idle_roles(session: &mut Session, prefix: &str) -> Result<(), PgError> {
    let sql = format!(
        "SELECT rolname::text FROM pg_catalog.pg_roles r WHERE pg_catalog.starts_with(rolname::text, {})
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datname = r.rolname)",
        quote_literal(prefix)
    );
    for row in session.rows("looking for roles", &sql)? {
        let name: String = row.get(0);
        let drop = format!("DROP ROLE IF EXISTS {}", quote_ident(&name));
        if let Err(error) = session.simple("dropping a role", &drop) {
            tracing::info!("could not remove {name}, leftover of a crashed drill: {error}");
        }
    }
    Ok(())
}

/// Drops a database with everything in it, sessions too ("DROP DATABASE", FORCE).
pub fn drop_database(session: &mut Session, name: &str) -> Result<(), PgError> {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_ident(name));
    session.simple("dropping a database", &sql)
}

/// Whether a database, reached through another, has subscriptions, which keep it from being dropped.
pub fn has_subscriptions(session: &mut Session, database: &str) -> Result<bool, PgError> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription s
                        JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = {})",
        quote_literal(database)
    );
    let rows = session.rows("looking for subscriptions", &sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Drops the subscriptions of the session's database and leaves their slots on the other servers alone: those are of the
/// database that was backed up.
pub fn drop_subscriptions(session: &mut Session) -> Result<(), PgError> {
    let sql =
        "SELECT s.subname::text FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d
               ON d.oid = s.subdbid WHERE d.datname = current_database()";
    for row in session.rows("looking for subscriptions", sql)? {
        let name = quote_ident(row.get(0));
        let statements = [
            format!("ALTER SUBSCRIPTION {name} DISABLE"),
            format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {name}"),
        ];
        for sql in statements {
            session.simple("dropping a subscription", &sql)?;
        }
    }
    Ok(())
}

/// Marks a name as in use for as long as this session lives, so that [`unused_databases`] leaves its database alone. The
/// lock is an advisory one of the session's database ("Advisory Locks", 13.3.5).
pub fn claim_name(session: &mut Session, name: &str) -> Result<(), PgError> {
    let sql = format!("SELECT pg_catalog.pg_advisory_lock({})", name_key(name));
    session.simple("claiming a name for the drill", &sql)
}

/// Databases whose names begin with `prefix`, that nobody is connected to and whose name no session has claimed.
pub fn unused_databases(session: &mut Session, prefix: &str) -> Result<Vec<String>, PgError> {
    let sql = format!(
        "SELECT datname::text FROM pg_catalog.pg_database d
         WHERE pg_catalog.starts_with(datname::text, {})
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)",
        quote_literal(prefix)
    );
    let rows = session.rows("looking for databases", &sql)?;
    let mut unused = Vec::new();
    for row in &rows {
        let name: String = row.get(0);
        let key = name_key(&name);
        // Released at once: a claim comes before its database, and no two drills have the same name.
        let sql = format!(
            "SELECT pg_catalog.pg_try_advisory_lock({key}) AND pg_catalog.pg_advisory_unlock({key})"
        );
        let free = session.rows("looking for a running drill", &sql)?;
        if free.first().is_some_and(|row| row.get(0)) {
            unused.push(name);
        }
    }
    Ok(unused)
}

fn name_key(name: &str) -> String {
    format!("pg_catalog.hashtextextended({}, 0)", quote_literal(name))
}
