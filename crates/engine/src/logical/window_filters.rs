//! The conditions of windows as SQL.

use super::scope::Choice;
use crate::job::{Job, WindowRows, midnight_before};
use crate::run::BackupError;
use hubvault_model::{quote_ident, quote_literal};
use hubvault_postgres::{Relation, Session, inspect};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The condition of every window's table as SQL, with the moment fixed once for all connections.
pub(super) fn filters(
    session: &mut Session,
    job: &Job,
    at: Timestamp,
    relations: &[Relation],
    chosen: &BTreeMap<u32, Choice>,
) -> Result<BTreeMap<u32, String>, BackupError> {
    let scope = &job.scope;
    let mut moments: Vec<Option<String>> = Vec::new();
    for window in &scope.windows {
        let WindowRows::Recent {
            length, midnight, ..
        } = &window.rows
        else {
            moments.push(None);
            continue;
        };
        let zone = midnight.as_ref();
        let midnight = zone.and_then(|zone| midnight_before(at, length, zone));
        moments.push(Some(match midnight {
            // As the server writes it in UTC.
            Some(midnight) => midnight.strftime("%Y-%m-%d %H:%M:%S+00").to_string(),
            None => inspect::moment_before(session, length)?,
        }));
    }
    let mut filters = BTreeMap::new();
    for relation in relations {
        if let Some(Choice::Window(window)) = chosen.get(&relation.oid) {
            let moment = moments[*window].as_deref();
            refuse_foreign_cast(session, &scope.windows[*window].rows, relation)?;
            filters.insert(
                relation.oid,
                filter(&scope.windows[*window].rows, moment, relation)?,
            );
        }
    }
    Ok(filters)
}

/// The time is compared with a column of a built-in type, or without casts that others defined.
fn refuse_foreign_cast(
    session: &mut Session,
    rows: &WindowRows,
    relation: &Relation,
) -> Result<(), BackupError> {
    let WindowRows::Recent { column, .. } = rows else {
        return Ok(());
    };
    let of_own_type = relation
        .columns
        .iter()
        .any(|c| c.name == *column && c.own_type);
    if of_own_type && inspect::has_foreign_casts(session)? {
        return Err(BackupError::ForeignCast {
            what: format!("the window's column {}", quote_ident(column)),
            table: relation.name.clone(),
            instead: "name another column in [[scope.window]]",
        });
    }
    Ok(())
}

/// Rows without a date are included: leaving them out would go unnoticed.
fn filter(
    rows: &WindowRows,
    moment: Option<&str>,
    relation: &Relation,
) -> Result<String, BackupError> {
    match (rows, moment) {
        (WindowRows::Where(condition), _) => Ok(condition.clone()),
        (WindowRows::Recent { column, .. }, Some(moment))
            if relation.columns.iter().any(|c| c.name == *column) =>
        {
            let (column, moment) = (quote_ident(column), quote_literal(moment));
            Ok(format!("{column} >= {moment} OR {column} IS NULL"))
        }
        (WindowRows::Recent { column, .. }, _) => Err(BackupError::NoWindowColumn {
            table: relation.name.clone(),
            column: column.clone(),
        }),
    }
}
