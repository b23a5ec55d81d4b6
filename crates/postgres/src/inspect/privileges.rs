//! Privileges that a role lacks, with the statements that grant them; privileges that a backup does not need.

use crate::connect::open::read_all;
use crate::connect::session::Session;
use crate::error::PgError;
use crate::inspect::reader_role::{READER, in_line, reader_role};
use crate::inspect::{Relation, Sequence, USER_SCHEMA};
use hubvault_model::{TableName, quote_ident};
use std::collections::{BTreeSet, HashMap};

/// A privilege that a backup needs and the role lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingPrivilege {
    /// The object.
    pub object: String,
    /// What is missing, in words.
    pub problem: String,
    /// The statement with which a superuser or the owner grants it.
    pub statement: String,
    /// The statement that grants the same of what the owner will make in the schema.
    pub for_later: Option<String>,
}

/// Tables that the role may not lock; `pg_dump` locks every table whose definition it takes, and
/// `LOCK TABLE ... ACCESS SHARE` needs `SELECT` ("LOCK", Notes).
fn unlockable(role: &str, relation: &Relation, missing: &mut BTreeSet<MissingPrivilege>) {
    if !relation.schema_usage {
        missing.insert(usage(role, &relation.name.schema));
    }
    if !relation.can_select {
        missing.insert(select(role, TABLES, &relation.name, &relation.owner));
    }
}

/// Everything that is missing for a backup of the tables for which `in_scope` holds.
///
/// Row-level security that would hide rows counts only there: a definition has no rows to hide.
pub fn missing_privileges<'a>(
    role: &str,
    relations: impl Iterator<Item = &'a Relation>,
    sequences: impl Iterator<Item = &'a Sequence>,
    in_scope: &dyn Fn(&Relation) -> bool,
) -> Vec<MissingPrivilege> {
    let mut missing = BTreeSet::new();
    let mut hidden = None;
    for relation in relations {
        if relation.is_lockable() {
            unlockable(role, relation, &mut missing);
        }
        if hidden.is_none() && relation.rls_filters && in_scope(relation) {
            hidden = Some(relation);
        }
    }
    if let Some(hidden) = hidden {
        missing.insert(bypass(role, hidden));
    }
    for sequence in sequences.filter(|s| !s.can_read && !s.extension_member) {
        unread_sequence(role, sequence, &mut missing);
    }
    missing.into_iter().collect()
}

/// What is missing to read tables and sequences that a backup can do without.
pub fn missing_for_more<'a>(
    role: &str,
    relations: impl Iterator<Item = &'a Relation>,
    sequences: impl Iterator<Item = &'a Sequence>,
) -> Vec<MissingPrivilege> {
    let mut missing = BTreeSet::new();
    for relation in relations {
        unlockable(role, relation, &mut missing);
        if relation.rls_filters {
            missing.insert(bypass(role, relation));
        }
    }
    for sequence in sequences.filter(|sequence| !sequence.can_read) {
        unread_sequence(role, sequence, &mut missing);
    }
    missing.into_iter().collect()
}

fn bypass(role: &str, hidden: &Relation) -> MissingPrivilege {
    MissingPrivilege {
        object: hidden.name.to_string(),
        problem: "row-level security would hide rows".to_owned(),
        statement: format!("ALTER ROLE {} BYPASSRLS;", quote_ident(role)),
        for_later: None,
    }
}

/// Either may be what is missing; both do no harm.
fn unread_sequence(role: &str, sequence: &Sequence, missing: &mut BTreeSet<MissingPrivilege>) {
    missing.insert(usage(role, &sequence.name.schema));
    missing.insert(select(role, SEQUENCES, &sequence.name, &sequence.owner));
}

/// Whether there is any table or sequence that the role may not read, or not all rows of.
pub fn is_any_unreadable(session: &mut Session) -> Result<bool, PgError> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND {USER_SCHEMA}
                          AND (NOT (has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'))
                               OR c.relrowsecurity AND row_security_active(c.oid)))"
    );
    let rows = session.rows("asking which tables the role may not read", &sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Tables that the role may not read and that are new, by oid, with everything that inherits from them: neither they nor
/// any table of their family is known. A partition of a table that is known is not new, and of one that the role may
/// read neither: somebody has wanted its rows to be read, and leaves come and go. One whose rows are hidden counts as one
/// that the role may not read.
pub fn new_and_unreadable(
    relations: &[Relation],
    is_hidden: &dyn Fn(&Relation) -> bool,
    is_known: &dyn Fn(&TableName) -> bool,
) -> BTreeSet<u32> {
    let mut relatives: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for relation in relations {
        for parent in &relation.parents {
            children.entry(*parent).or_default().push(relation.oid);
            relatives.entry(*parent).or_default().push(relation.oid);
            relatives.entry(relation.oid).or_default().push(*parent);
        }
    }
    let known = relations.iter().filter(|it| is_known(&it.name));
    let mut known = reachable(known.map(|it| it.oid), &relatives);
    let readable = relations
        .iter()
        .filter(|it| it.is_readable() && !is_hidden(it));
    known.extend(reachable(readable.map(|it| it.oid), &children));
    let is_unreadable = |it: &Relation| !it.is_readable() && it.is_lockable() || is_hidden(it);
    let is_new = |it: &&Relation| is_unreadable(it) && !known.contains(&it.oid);
    let new = relations.iter().filter(is_new).map(|it| it.oid);
    reachable(new, &children)
}

fn reachable(from: impl Iterator<Item = u32>, next: &HashMap<u32, Vec<u32>>) -> BTreeSet<u32> {
    let mut left: Vec<u32> = from.collect();
    let mut found = BTreeSet::new();
    while let Some(oid) = left.pop() {
        if found.insert(oid) {
            left.extend(next.get(&oid).into_iter().flatten());
        }
    }
    found
}

/// The statements that grant what is missing, to be run as they are. Comments come last: what grants the same for tables
/// to come, and where one statement would grant all that is missing of tables, sequences and schemas, that one.
pub fn grants(role: &str, missing: &[&MissingPrivilege], server_version_num: u32) -> Vec<String> {
    let statements: BTreeSet<&MissingPrivilege> = missing.iter().copied().collect();
    let mut statements: Vec<String> = statements.iter().map(|it| it.statement.clone()).collect();
    let later: BTreeSet<&String> = missing
        .iter()
        .filter_map(|it| it.for_later.as_ref())
        .collect();
    statements.extend(
        later
            .iter()
            .map(|one| format!("-- for those to come: {one}")),
    );
    let is_grant = |one: &&MissingPrivilege| one.statement.starts_with("GRANT ");
    if server_version_num >= 140_000 && missing.iter().any(is_grant) {
        let all = read_all(role);
        statements.push(format!(
            "-- instead of every GRANT above, and for all tables to come: {all}"
        ));
    }
    statements
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
        for_later: None,
    }
}

/// The keyword in GRANT, and that of all of them in a schema.
type Kind = (&'static str, &'static str);
const TABLES: Kind = ("", "TABLES");
const SEQUENCES: Kind = ("SEQUENCE ", "SEQUENCES");

fn select(role: &str, (kind, all): Kind, name: &TableName, owner: &str) -> MissingPrivilege {
    let (schema, role) = (in_line(&name.schema), in_line(role));
    MissingPrivilege {
        object: name.to_string(),
        problem: "no SELECT".to_owned(),
        statement: format!(
            "GRANT SELECT ON {kind}{schema}.{} TO {role};",
            in_line(&name.name)
        ),
        for_later: Some(format!(
            "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {schema} GRANT SELECT ON {all} TO {role};",
            in_line(owner)
        )),
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
    SELECT current_user::text,
           array_remove(ARRAY[
               CASE WHEN r.rolsuper THEN 'is a superuser' END,
               CASE WHEN r.rolcreaterole AND NOT r.rolsuper THEN 'may make roles' END,
               CASE WHEN NOT r.rolsuper AND pg_has_role('pg_execute_server_program', 'MEMBER')
                    THEN 'may run programs on the server' END,
               CASE WHEN NOT r.rolsuper AND pg_has_role('pg_write_server_files', 'MEMBER')
                    THEN 'may write files of the server' END,
               CASE WHEN NOT r.rolsuper AND pg_has_role('pg_read_server_files', 'MEMBER')
                    THEN 'may read files of the server' END], NULL),
           EXISTS (SELECT FROM pg_catalog.pg_show_all_settings() WHERE name = 'restrict_nonsystem_relation_kind'),
           current_setting('server_version')
    FROM pg_roles r WHERE r.rolname = current_user";

/// Checks whether the session's role has more privileges than a backup needs.
pub fn advice(session: &mut Session) -> Result<Option<Advice>, PgError> {
    let rows = session.rows("asking what the role may do", POWERS)?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let role: String = row.get(0);
    let mut powers: Vec<String> = row.get(1);
    if powers.is_empty() {
        return Ok(None);
    }
    if !row.get::<_, bool>(2) {
        let server: String = row.get(3);
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
        statements: reader_role(session, READER, Some("'...'"))?,
    }))
}
