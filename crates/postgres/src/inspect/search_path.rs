//! The `search_path` of ordinary sessions: functions that name others without their schema rely on it.

use super::USER_SCHEMA;
use crate::connect::session::Session;
use crate::error::PgError;

/// The existing schemas that sessions of this database search: by the database's setting or else the server's, then by
/// the settings of the roles that own something.
pub fn search_path(session: &mut Session) -> Result<Vec<String>, PgError> {
    let doing = "reading the search_path of ordinary sessions";
    let settings = session.rows(
        doing,
        "WITH owner AS (
             SELECT r.oid, r.rolname FROM pg_roles r WHERE r.oid IN (
                 SELECT relowner FROM pg_class WHERE oid >= 16384
                 UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
                 UNION SELECT proowner FROM pg_proc WHERE oid >= 16384)),
         setting AS (
             SELECT s.setdatabase, s.setrole, substr(line, length('search_path=') + 1) AS value
             FROM pg_db_role_setting s, unnest(s.setconfig) line WHERE line LIKE 'search\\_path=%')
         SELECT value, owners FROM (
             SELECT 0 AS place, coalesce(
                        (SELECT value FROM setting s JOIN pg_database d ON d.oid = s.setdatabase
                         WHERE d.datname = current_database() AND s.setrole = 0),
                        (SELECT reset_val FROM pg_catalog.pg_show_all_settings() WHERE name = 'search_path')) AS value,
                    ARRAY(SELECT rolname::text FROM owner ORDER BY 1) AS owners
             UNION ALL
             SELECT CASE WHEN s.setdatabase = 0 THEN 2 ELSE 1 END, s.value, ARRAY[o.rolname::text]
             FROM setting s JOIN owner o ON o.oid = s.setrole
             WHERE s.setdatabase = 0
                OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())) found
         ORDER BY place, owners",
    )?;
    let schemas = session.rows(doing, "SELECT nspname::text FROM pg_namespace")?;
    let schemas: Vec<String> = schemas.iter().map(|row| row.get(0)).collect();
    let mut path: Vec<String> = Vec::new();
    for row in &settings {
        let (value, owners): (String, Vec<String>) = (row.get(0), row.get(1));
        for name in names(&value) {
            let of_user = name == "$user";
            let meant = if of_user { owners.clone() } else { vec![name] };
            path.extend(meant.into_iter().filter(|name| schemas.contains(name)));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    path.retain(|name| !name.starts_with("pg_") && seen.insert(name.clone()));
    Ok(path)
}

/// The schemas that are not the system's.
pub fn schemas(session: &mut Session) -> Result<Vec<String>, PgError> {
    let sql = format!("SELECT n.nspname::text FROM pg_namespace n WHERE {USER_SCHEMA}");
    let rows = session.rows("listing the schemas", &sql)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether any `search_path` names a schema, there or not: of the server, a database, a role or a function.
pub fn is_searched(session: &mut Session, schema: &str) -> Result<bool, PgError> {
    let rows = session.rows(
        "looking for a schema in every search_path",
        "SELECT setting FROM pg_catalog.pg_show_all_settings() WHERE name = 'search_path'
         UNION SELECT reset_val FROM pg_catalog.pg_show_all_settings() WHERE name = 'search_path'
         UNION SELECT substr(line, length('search_path=') + 1) FROM (
             SELECT unnest(setconfig) FROM pg_catalog.pg_db_role_setting
             UNION ALL SELECT unnest(proconfig) FROM pg_catalog.pg_proc) config (line)
         WHERE line ILIKE 'search\\_path=%'",
    )?;
    let lists = rows
        .iter()
        .filter_map(|row| row.get::<_, Option<String>>(0));
    Ok(lists
        .flat_map(|list| names(&list))
        .any(|name| name == schema))
}

/// The names of a list as `SplitIdentifierString` of the server reads it: those without quotes are in lower case.
fn names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list.trim_start();
    while !rest.is_empty() {
        let mut name = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            while let Some((before, after)) = quoted.split_once('"') {
                name += before;
                quoted = after;
                match quoted.strip_prefix('"') {
                    Some(after) => quoted = after,
                    None => break,
                }
                name.push('"');
            }
            rest = quoted.split_once(',').map_or("", |(_, after)| after);
        } else {
            let (before, after) = rest.split_once(',').unwrap_or((rest, ""));
            name = before.trim_end().to_ascii_lowercase();
            rest = after;
        }
        names.push(name);
        rest = rest.trim_start();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_list_of_names_is_read_as_the_server_reads_it() {
        assert_eq!(
            names("\"$user\", Public,\"Odd, \"\"name\"\"\" , x"),
            ["$user", "public", "Odd, \"name\"", "x"]
        );
        assert_eq!(names("\"\""), [""]);
        assert!(names(" ").is_empty());
    }
}
