//! The order in which a restore loads rows and adds what looks at more than one row.

use hubvault_archive::{CheckedKind, LateCheck, LoadOrder, Through};
use hubvault_postgres::{PgError, Session, inspect};

/// Reads it from the source.
pub(crate) fn load_order(session: &mut Session) -> Result<LoadOrder, PgError> {
    let rules = inspect::rules(session)?;
    let late = rules.late_checks.into_iter().map(|check| LateCheck {
        on: if check.of_domain {
            CheckedKind::Domain
        } else {
            CheckedKind::Table
        },
        owner: check.owner,
        constraint: check.name,
    });
    Ok(LoadOrder {
        search_path: inspect::search_path(session)?,
        settings: inspect::ordinary_settings(session)?,
        late_checks: late.collect(),
        after_tables: rules.after_tables,
        after_indexes: rules.after_indexes,
        through: (rules.through.into_iter())
            .map(|(partition, table)| Through { partition, table })
            .collect(),
        bound_by_policies: inspect::bound_by_policies(session)?,
    })
}
