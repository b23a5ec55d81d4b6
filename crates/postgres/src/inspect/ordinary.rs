//! Settings of ordinary sessions: functions of generated columns and views that read them give other values without.

use crate::connect::session::Session;
use crate::error::PgError;
use std::collections::BTreeMap;

/// Settings that change how values are written or what a day is, and not how rows of an archive are read.
pub(crate) const WITH_SETTINGS: [&str; 5] = [
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "bytea_output",
    "extra_float_digits",
];

/// `TimeZone`, `DateStyle` and the like as sessions of this database have them: by the database's setting or else the
/// server's.
pub fn ordinary_settings(session: &mut Session) -> Result<BTreeMap<String, String>, PgError> {
    let names = WITH_SETTINGS.map(|name| format!("('{name}')")).join(", ");
    let rows = session.rows(
        "reading the settings of ordinary sessions",
        &format!(
            "SELECT w.name, coalesce(
                 (SELECT substr(line, length(w.name) + 2)
                  FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) line
                  WHERE d.datname = current_database() AND s.setrole = 0
                    AND lower(line) LIKE lower(replace(w.name, '_', '\\_')) || '=%' LIMIT 1),
                 (SELECT reset_val FROM pg_catalog.pg_show_all_settings() p WHERE lower(p.name) = lower(w.name)))
             FROM (VALUES {names}) w (name)"
        ),
    )?;
    let known = |row: &postgres::Row| Some((row.get(0), row.get::<_, Option<String>>(1)?));
    Ok(rows.iter().filter_map(known).collect())
}
