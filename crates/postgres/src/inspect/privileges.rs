//! Privileges that a role lacks, with the statements that grant them; privileges that a backup does not need.

use crate::connect::open::read_all;
use crate::connect::session::Session;
use crate::error::{MissingPrivilege, PgError};
use crate::inspect::{Relation, Sequence};
use hubvault_model::{TableName, is_unseen, quote_ident};
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
        // Either may be what is missing; both do no harm.
        missing.insert(usage(role, &sequence.name.schema));
        missing.insert(select(role, "SEQUENCE ", &sequence.name));
    }
    missing.into_iter().collect()
}

/// The statements that grant what is missing, to be run as they are. Where one statement would grant all that is missing
/// of tables, sequences and schemas, it comes last, as a comment.
pub fn grants(role: &str, missing: &[MissingPrivilege], server_version_num: u32) -> Vec<String> {
    let mut statements: Vec<String> = missing.iter().map(|one| one.statement.clone()).collect();
    if server_version_num >= 140_000
        && missing
            .iter()
            .any(|one| one.statement.starts_with("GRANT "))
    {
        let all = read_all(role);
        statements.push(format!(
            "-- instead of every GRANT above, and for all tables to come: {all}"
        ));
    }
    statements
}

/// A name in a statement that is shown: what a screen does not show as it is, such as a line break, is written as an
/// escape ("Lexical Structure", Identifiers and Key Words), so that the statement can be run as it is shown.
fn in_line(name: &str) -> String {
    if !name.contains(is_unseen) {
        return quote_ident(name);
    }
    let mut escaped = String::from("U&\"");
    for c in name.chars() {
        match c {
            '"' => escaped += "\"\"",
            '\\' => escaped += "\\\\",
            c if is_unseen(c) => escaped += &format!("\\+{:06x}", u32::from(c)),
            c => escaped.push(c),
        }
    }
    escaped + "\""
}

fn usage(role: &str, schema: &str) -> MissingPrivilege {
    MissingPrivilege {
        object: schema.to_owned(),
        problem: "no USAGE on the schema".to_owned(),
        statement: format!(
            "GRANT USAGE ON SCHEMA {} TO {};",
            in_line(schema),
            in_line(role)
        ),
    }
}

fn select(role: &str, kind: &str, name: &TableName) -> MissingPrivilege {
    MissingPrivilege {
        object: name.to_string(),
        problem: "no SELECT".to_owned(),
        statement: format!(
            "GRANT SELECT ON {kind}{}.{} TO {};",
            in_line(&name.schema),
            in_line(&name.name),
            in_line(role)
        ),
    }
}

/// Privileges of a role that a backup does not need, and how to create a role without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The problem, as in `the role postgres is a superuser; ...`.
    pub problem: String,
    /// The statements for a role that can only read.
    pub statements: Vec<String>,
}

/// Predefined roles that a database's owner could abuse by making the backup's role run his code ("Predefined Roles").
const POWERS: &str = "
    SELECT current_user::text, current_database()::text, current_setting('server_version_num')::int4,
           array_remove(ARRAY[
               CASE WHEN r.rolsuper THEN 'is a superuser' END,
               CASE WHEN r.rolcreaterole AND NOT r.rolsuper THEN 'may make roles' END,
               CASE WHEN NOT r.rolsuper AND pg_has_role('pg_execute_server_program', 'MEMBER')
                    THEN 'may run programs on the server' END,
               CASE WHEN NOT r.rolsuper AND pg_has_role('pg_write_server_files', 'MEMBER')
                    THEN 'may write files of the server' END,
               CASE WHEN NOT r.rolsuper AND pg_has_role('pg_read_server_files', 'MEMBER')
                    THEN 'may read files of the server' END], NULL),
           EXISTS (SELECT FROM pg_class c WHERE c.relrowsecurity),
           ARRAY(SELECT DISTINCT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                 ORDER BY 1),
           EXISTS (SELECT FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'),
           current_setting('server_version')
    FROM pg_roles r WHERE r.rolname = current_user";

/// Checks whether the session's role has more privileges than a backup needs.
pub fn advice(session: &mut Session) -> Result<Option<Advice>, PgError> {
    let rows = session.rows("asking what the role may do", POWERS)?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let (role, database): (String, String) = (row.get(0), row.get(1));
    let version: i32 = row.get(2);
    let mut powers: Vec<String> = row.get(3);
    if powers.is_empty() {
        return Ok(None);
    }
    if !row.get::<_, bool>(6) {
        let server: String = row.get(7);
        powers.push(format!(
            "reads from a server ({server}) that lacks the fix of CVE-2024-7348"
        ));
    }
    Ok(Some(Advice {
        problem: format!(
            "the role {} {}, and a backup needs only to read: code of whoever owns a table may run with its rights",
            quote_ident(&role),
            powers.join(" and "),
        ),
        statements: lesser_role(&database, version, row.get(4), row.get(5)),
    }))
}

/// The statements for a role that can read a database and nothing else.
fn lesser_role(
    database: &str,
    version: i32,
    row_security: bool,
    schemas: Vec<String>,
) -> Vec<String> {
    const ROLE: &str = "hubvault_backup";
    let mut statements = vec![
        format!("CREATE ROLE {ROLE} LOGIN PASSWORD '...';"),
        format!(
            "GRANT CONNECT ON DATABASE {} TO {ROLE};",
            quote_ident(database)
        ),
    ];
    if version >= 140_000 {
        statements.push(format!("GRANT pg_read_all_data TO {ROLE};"));
    } else {
        for schema in schemas {
            let schema = quote_ident(&schema);
            statements.push(format!(
                "GRANT USAGE ON SCHEMA {schema} TO {ROLE}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {ROLE}; \
                 GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {ROLE};"
            ));
        }
    }
    if row_security {
        statements.push(format!("ALTER ROLE {ROLE} BYPASSRLS;"));
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesser_role_is_made_in_one_round() {
        let schemas = || vec!["public".to_owned(), "Odd".to_owned()];
        let new = lesser_role("hub", 150_018, true, schemas());
        assert_eq!(
            new[1..],
            [
                "GRANT CONNECT ON DATABASE hub TO hubvault_backup;",
                "GRANT pg_read_all_data TO hubvault_backup;",
                "ALTER ROLE hubvault_backup BYPASSRLS;"
            ]
        );
        let old = lesser_role("hub", 130_000, false, schemas());
        assert!(
            old[3].starts_with("GRANT USAGE ON SCHEMA \"Odd\" TO"),
            "{old:?}"
        );
        assert_eq!(old.len(), 4);
    }
}
