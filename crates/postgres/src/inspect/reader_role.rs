//! A role that can read one database and nothing else.

use super::USER_SCHEMA;
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{is_unseen, quote_ident, quote_literal};
use postgres_protocol::password::scram_sha_256;

/// The name that is proposed for it.
pub const READER: &str = "hubvault_backup";

/// What the statements depend on: the database, the version, whether row-level security may hide rows, the schemas, and
/// who owns what is in them.
const PLACES: &str = "
    SELECT current_database()::text, current_setting('server_version_num')::int4,
           EXISTS (SELECT FROM pg_class c WHERE c.relrowsecurity),
           ARRAY(SELECT DISTINCT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p', 'S') AND {USER_SCHEMA} ORDER BY 1),
           ARRAY(SELECT DISTINCT pg_get_userbyid(c.relowner)::text
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p', 'S') AND {USER_SCHEMA} ORDER BY 1)";

/// The statements that make the role `role` in the session's database, to be run as they are by a superuser. `password`
/// is a literal of SQL: see [`password_literal`]. Without one, the role exists and only gets its rights.
pub fn reader_role(
    session: &mut Session,
    role: &str,
    password: Option<&str>,
) -> Result<Vec<String>, PgError> {
    let sql = PLACES.replace("{USER_SCHEMA}", USER_SCHEMA);
    let rows = session.rows("asking which schemas there are", &sql)?;
    let Some(row) = rows.first() else {
        return Ok(Vec::new());
    };
    let create = password.map(|password| {
        let role = in_line(role);
        format!("CREATE ROLE {role} LOGIN PASSWORD {password};")
    });
    let (database, schemas): (String, Vec<String>) = (row.get(0), row.get(3));
    let places = Places {
        database: &database,
        version: row.get(1),
        row_security: row.get(2),
        schemas: &schemas,
        owners: row.get(4),
    };
    Ok(create.into_iter().chain(rights(role, &places)).collect())
}

/// Whether a role of this name exists.
pub fn role_exists(session: &mut Session, role: &str) -> Result<bool, PgError> {
    let role = quote_literal(role);
    let sql = format!("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = {role})");
    let rows = session.rows("looking for the role", &sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// A password as the server keeps it (SCRAM-SHA-256, "Password Authentication"), as a literal of SQL. Neither the
/// statement nor the server's log then has the password itself.
pub fn password_literal(password: &str) -> String {
    quote_literal(&scram_sha_256(password.as_bytes()))
}

/// A name in a statement that is shown: what a screen does not show as it is, such as a line break, is written as an
/// escape ("Lexical Structure", Identifiers and Key Words), so that the statement can be run as it is shown.
pub(super) fn in_line(name: &str) -> String {
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

struct Places<'a> {
    database: &'a str,
    version: i32,
    row_security: bool,
    schemas: &'a [String],
    owners: Vec<String>,
}

fn rights(role: &str, places: &Places<'_>) -> Vec<String> {
    let role = in_line(role);
    let mut statements = vec![format!(
        "GRANT CONNECT ON DATABASE {} TO {role};",
        in_line(places.database)
    )];
    if places.version >= 140_000 {
        statements.push(format!("GRANT pg_read_all_data TO {role};"));
    } else {
        for schema in places.schemas {
            let schema = in_line(schema);
            statements.push(format!(
                "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}; \
                 GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};"
            ));
        }
        // For what they create later.
        for owner in &places.owners {
            let of = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}", in_line(owner));
            statements.push(format!(
                "{of} GRANT USAGE ON SCHEMAS TO {role}; {of} GRANT SELECT ON TABLES TO {role}; \
                 {of} GRANT SELECT ON SEQUENCES TO {role};"
            ));
        }
    }
    if places.row_security {
        statements.push(format!("ALTER ROLE {role} BYPASSRLS;"));
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_rights_are_given_in_one_round_also_for_tables_to_come() {
        let schemas = ["public".to_owned(), "My Shop".to_owned()];
        let mut places = Places {
            database: "a=b",
            version: 150_018,
            row_security: true,
            schemas: &schemas,
            owners: vec!["app".to_owned()],
        };
        assert_eq!(
            rights(READER, &places),
            [
                "GRANT CONNECT ON DATABASE \"a=b\" TO hubvault_backup;",
                "GRANT pg_read_all_data TO hubvault_backup;",
                "ALTER ROLE hubvault_backup BYPASSRLS;"
            ]
        );
        (places.version, places.row_security) = (130_000, false);
        let old = rights("Odd", &places);
        assert_eq!(old.len(), 4);
        assert!(
            old[2].starts_with("GRANT USAGE ON SCHEMA \"My Shop\" TO \"Odd\";"),
            "{old:?}"
        );
        assert!(
            old[3].contains(
                "ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO \"Odd\";"
            ),
            "{old:?}"
        );
    }

    #[test]
    fn the_password_is_not_in_the_statement() {
        let literal = password_literal("hunter2");
        assert!(literal.starts_with("'SCRAM-SHA-256$4096:") && !literal.contains("hunter2"));
    }
}
