//! The definitions of a restored database, as `pg_dump` writes them.

use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::dump::access::Access;
use crate::dump::definitions::Fingerprint;
use crate::dump::program_version;
use crate::dump::toc::{self, Contents, Definition};
use crate::dump::tools;
use crate::error::PgError;
use crate::new_database::run_each;
use hubvault_model::{Cancel, quote_ident, quote_literal};
use std::collections::{BTreeSet, HashSet};
use std::io::{self, BufReader, Read};
use std::process::Command;

/// Reads those definitions at the start of a dump that `is_kept`, which sees all of them.
pub fn read_definitions(
    dump: impl Read,
    is_kept: impl FnMut(&Definition) -> bool,
) -> Result<Contents, PgError> {
    toc::read(dump, is_kept).map_err(|error| unreadable(&error))
}

/// The numbers of these definitions in a dump, of what belongs to them and of what all of these need.
pub fn needed_definitions(
    dump: impl Read,
    wanted: &[&Definition],
) -> Result<BTreeSet<u32>, PgError> {
    let wanted: HashSet<Fingerprint> = wanted.iter().map(|one| one.fingerprint()).collect();
    let is_wanted = |one: &Definition| wanted.contains(&one.fingerprint());
    toc::closure(dump, is_wanted).map_err(|error| unreadable(&error))
}

fn unreadable(error: &io::Error) -> PgError {
    PgError::Tool {
        program: "pg_dump".to_owned(),
        why: format!("its dump cannot be read: {error}"),
    }
}

/// Takes the definitions of the session's database by a `pg_dump` that is as new as `pg_dump`, where there is one; of
/// these, those that `is_kept`.
pub fn take_definitions(
    login: &ConnectSettings,
    session: &mut Session,
    (server, pg_dump): (u32, u32),
    is_kept: impl FnMut(&Definition) -> bool,
    cancel: &Cancel,
) -> Result<Contents, PgError> {
    let rows = session.rows("asking for the encoding", "SHOW server_encoding")?;
    let of_database: Option<String> = rows.first().map(|row| row.get(0));
    let tool = tools::find_client("pg_dump", pg_dump, login.old_programs)
        .or_else(|_| tools::find_client("pg_dump", server, login.old_programs))?;
    let mut command = Command::new(&tool.path);
    tools::connection(&mut command, login);
    command.args([
        "--schema-only",
        "--format=custom",
        "--no-password",
        program_version::encoding(of_database.as_deref().unwrap_or_default()),
    ]);
    command.env("PGOPTIONS", own_settings(server));
    tools::run_reading(command, cancel, |dump| {
        read_definitions(BufReader::new(dump), is_kept)
    })?
}

/// Undoes what settings of the database would do to the session. Since 17 a login can run an event trigger.
fn own_settings(server: u32) -> String {
    let mut settings = String::from(
        "-c session_preload_libraries= -c local_preload_libraries= -c role=none -c statement_timeout=0 \
         -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c client_min_messages=warning",
    );
    if server >= 17 {
        settings += " -c event_triggers=off -c transaction_timeout=0";
    }
    settings
}

/// Takes back what the logins of a drill were granted to load and check the tables, and gives functions to predefined roles,
/// by the definer's session; the statements that the server refused.
pub fn withdraw_grants(
    access: &Access,
    session: &mut Session,
    given_last: &[String],
) -> Result<Vec<String>, PgError> {
    if !access.is_split() {
        return Ok(Vec::new());
    }
    let joint = &access.checker().user;
    without_event_triggers(session, |session| {
        withdraw(session, joint)?;
        run_each(session, "giving a function to its owner", given_last)
    })
}

fn withdraw(session: &mut Session, joint: &str) -> Result<(), PgError> {
    let doing = "taking back the grants of the drill";
    let sql = format!(
        "SELECT DISTINCT pg_catalog.format('TABLE %I.%I', n.nspname, c.relname)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
              LATERAL pg_catalog.aclexplode(c.relacl) a
         WHERE a.grantee = {0}::pg_catalog.regrole
         UNION
         SELECT pg_catalog.format('SCHEMA %I', n.nspname)
         FROM pg_catalog.pg_namespace n, LATERAL pg_catalog.aclexplode(n.nspacl) a
         WHERE a.grantee = {0}::pg_catalog.regrole",
        quote_literal(&quote_ident(joint))
    );
    let rows = session.rows(doing, &sql)?;
    let joint = quote_ident(joint);
    let revoke = |row: &postgres::Row| {
        let object: &str = row.get(0);
        format!("REVOKE ALL ON {object} FROM {joint};\n")
    };
    session.simple(doing, &rows.iter().map(revoke).collect::<Vec<_>>().concat())
}

/// Does work of a superuser for which no event trigger fires: that is a superuser's, and its function may be an owner's.
fn without_event_triggers<T>(
    session: &mut Session,
    work: impl FnOnce(&mut Session) -> Result<T, PgError>,
) -> Result<T, PgError> {
    let doing = "silencing event triggers";
    let sql =
        "SELECT oid, evtenabled::text FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D'";
    let triggers = session.rows(doing, sql)?;
    let update = "UPDATE pg_catalog.pg_event_trigger SET evtenabled =";
    session.simple(doing, &format!("{update} 'D'"))?;
    let done = work(session)?;
    let enable = |row: &postgres::Row| {
        let (oid, state): (u32, &str) = (row.get(0), row.get(1));
        format!("{update} {} WHERE oid = {oid};\n", quote_literal(state))
    };
    session.simple(doing, &triggers.iter().map(enable).collect::<String>())?;
    Ok(done)
}
