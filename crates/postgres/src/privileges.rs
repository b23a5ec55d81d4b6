//! What a role may not do, and the statements that let it.

use crate::error::MissingPrivilege;
use crate::inspect::{Relation, Sequence};
use hubvault_model::{TableName, quote_ident};
use std::collections::BTreeSet;

/// Tables that the role may not lock; `pg_dump` locks every table whose definition it takes, and
/// `LOCK TABLE ... ACCESS SHARE` needs `SELECT` ("LOCK", Notes).
pub(crate) fn unlockable(role: &str, relations: &[Relation]) -> Vec<MissingPrivilege> {
    let mut missing = BTreeSet::new();
    for relation in relations.iter().filter(|relation| relation.is_lockable()) {
        if !relation.schema_usage {
            missing.insert(usage(role, &relation.name.schema));
        }
        if !relation.can_select {
            missing.insert(select(role, "", &relation.name));
        }
    }
    missing.into_iter().collect()
}

/// Everything that is missing for a backup of the tables for which `in_scope` holds.
///
/// Row-level security that would hide rows counts only there: a definition has no rows to hide.
pub fn missing_privileges(
    role: &str,
    relations: &[Relation],
    sequences: &[Sequence],
    in_scope: &dyn Fn(&Relation) -> bool,
) -> Vec<MissingPrivilege> {
    let mut missing: BTreeSet<MissingPrivilege> = unlockable(role, relations).into_iter().collect();
    if let Some(hidden) = relations.iter().find(|r| r.rls_filters && in_scope(r)) {
        missing.insert(MissingPrivilege {
            object: hidden.name.to_string(),
            problem: "row-level security would hide rows".to_owned(),
            statement: format!("ALTER ROLE {} BYPASSRLS;", quote_ident(role)),
        });
    }
    for sequence in sequences
        .iter()
        .filter(|s| !s.can_read && !s.extension_member)
    {
        missing.insert(select(role, "SEQUENCE ", &sequence.name));
    }
    missing.into_iter().collect()
}

fn usage(role: &str, schema: &str) -> MissingPrivilege {
    MissingPrivilege {
        object: schema.to_owned(),
        problem: "no USAGE on the schema".to_owned(),
        statement: format!(
            "GRANT USAGE ON SCHEMA {} TO {};",
            quote_ident(schema),
            quote_ident(role)
        ),
    }
}

fn select(role: &str, kind: &str, name: &TableName) -> MissingPrivilege {
    MissingPrivilege {
        object: name.to_string(),
        problem: "no SELECT".to_owned(),
        statement: format!(
            "GRANT SELECT ON {kind}{} TO {};",
            name.sql(),
            quote_ident(role)
        ),
    }
}
