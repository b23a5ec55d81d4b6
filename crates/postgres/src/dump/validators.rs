//! Foreign data wrappers whose validator may be a function of an owner. Only a superuser can create a wrapper, and whoever
//! creates one, or a server of it, runs its validator.

use crate::connect::session::Session;
use crate::dump::contents;
use crate::dump::failures::{Failure, described};
use crate::error::PgError;

const WRAPPER: &str = "FOREIGN DATA WRAPPER ";

/// Takes the wrappers out of a list that a superuser makes, where the database has a function that could be a validator and
/// is no native code; what could not be made.
pub(crate) fn without_validators(
    list: &mut Vec<u8>,
    session: &mut Session,
) -> Result<Vec<Failure>, PgError> {
    let wrappers = contents::lines_of_kinds(list, &[WRAPPER], false);
    if contents::names_nothing(&wrappers) {
        return Ok(Vec::new());
    }
    // Of (text[], oid), and neither in C nor of the server itself.
    let sql = "SELECT pg_catalog.format('%I.%I', n.nspname, p.proname) FROM pg_catalog.pg_proc p
               JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
               WHERE p.proargtypes = '1009 26'::pg_catalog.oidvector AND p.prolang NOT IN (12, 13)";
    let rows = session.rows("looking for validators", sql)?;
    let Some(function) = rows.first().map(|row| row.get::<_, String>(0)) else {
        return Ok(Vec::new());
    };
    *list = contents::lines_of_kinds(list, &[WRAPPER], true);
    let text = String::from_utf8_lossy(&wrappers);
    let lines = text.lines().filter(|line| contents::is_object(line));
    let failure = |line: &str| Failure {
        id: line.split(';').next().and_then(|id| id.parse().ok()),
        object: described(line),
        why: format!("function {function} could be its validator, which a superuser would run"),
        ..Failure::default()
    };
    Ok(lines.map(failure).collect())
}
