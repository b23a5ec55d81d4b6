//! Tables with rows that the server cannot write as text: they are named, and all others are taken.

use super::scope::{Choice, Resolved};
use hubvault_model::{ByteSize, Warning, counted};
use hubvault_postgres::{PgError, Relation, Session, WritableRows, inspect};
use std::collections::BTreeMap;

/// Adds to the tables' conditions that a row can be written, where a chosen table has others, and a warning.
pub(super) fn leave_out(
    session: &mut Session,
    relations: &[Relation],
    found: &mut Resolved,
    filters: &mut BTreeMap<u32, String>,
) -> Result<(), PgError> {
    for relation in relations {
        let Some(choice) = found.chosen.get_mut(&relation.oid) else {
            continue;
        };
        // What the role may not read ends the run later, with the statements that grant it.
        if !relation.is_readable() || relation.rls_filters {
            continue;
        }
        let Some(rows) = inspect::writable_rows(session, relation)? else {
            continue;
        };
        if *choice == Choice::Whole {
            *choice = Choice::Writable;
        }
        let condition = filters
            .entry(relation.oid)
            .or_insert_with(|| "true".to_owned());
        *condition = match condition.as_str() {
            "true" => rows.condition.clone(),
            others => format!("({others}) AND {}", rows.condition),
        };
        found.warnings.push(warning(relation, &rows));
    }
    Ok(())
}

fn warning(relation: &Relation, rows: &WritableRows) -> Warning {
    let named: Vec<String> = rows
        .named
        .iter()
        .map(|(key, bytes)| format!("{key} ({} as text)", ByteSize(*bytes)))
        .collect();
    let name = &relation.name;
    let message = format!(
        "{} of {name} left out: the server cannot write a row of more than 1 GB as text, nor can pg_dump: {}{}; \
         split the values, or keep them out with `where` in [[scope.window]]",
        counted(rows.others, "row"),
        named.join(", "),
        if rows.others > named.len() as u64 {
            ", ..."
        } else {
            ""
        },
    );
    Warning::new("huge-row", name, message)
}
