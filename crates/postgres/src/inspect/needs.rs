//! What the server has beyond a fresh one, as far as the definitions need it.

use super::USER_SCHEMA;
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{HostNeeds, NeededCollation};

/// Reads it.
pub fn host_needs(session: &mut Session) -> Result<HostNeeds, PgError> {
    let doing = "asking what the definitions need of the server";
    let tablespaces = format!(
        "SELECT DISTINCT t.spcname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE {USER_SCHEMA} ORDER BY 1"
    );
    let tablespaces = session.rows(doing, &tablespaces)?;
    let collations = session.rows(doing, COLLATIONS)?;
    let libraries = session.rows(doing, LIBRARIES)?;
    Ok(HostNeeds {
        tablespaces: tablespaces.iter().map(|row| row.get(0)).collect(),
        preloaded: libraries
            .iter()
            .flat_map(|row| plain_names(row.get(0)))
            .collect(),
        collations: collations.iter().map(collation).collect(),
        row_roles: Vec::new(),
    })
}

fn collation(row: &postgres::Row) -> NeededCollation {
    NeededCollation {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        provider: row.get(3),
        locale: row.get(4),
        deterministic: row.get(5),
    }
}

/// The collations of the database, and those of the host that something uses. Every version names the locale in another
/// column. What initdb made is pinned or has dependencies, by the version.
const COLLATIONS: &str = "
    SELECT * FROM (
        SELECT c.oid, n.nspname::text AS schema, c.collname::text AS name,
               CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END AS provider,
               coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', to_jsonb(c) ->> 'collcollate')
                   AS locale,
               c.collisdeterministic
        FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
        WHERE c.collprovider <> 'd' AND n.nspname <> 'information_schema'
          AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_collation'::regclass AND e.objid = c.oid
                          AND e.deptype = 'e')
          AND (c.oid >= 16384
               OR EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid
                          AND d.classid <> 0 AND d.objid >= 16384))) c
    WHERE locale IS NOT NULL AND NOT (provider = 'libc' AND locale IN ('C', 'POSIX')) ORDER BY schema, name, oid";

/// Only a member of `pg_read_all_settings` sees them.
const LIBRARIES: &str = "
    SELECT setting FROM pg_catalog.pg_show_all_settings() WHERE name IN ('shared_preload_libraries', 'session_preload_libraries')
    ORDER BY name DESC";

/// The libraries of a list that lie in the server's own directory, without it. A path can be anything and is left out.
fn plain_names(list: &str) -> Vec<String> {
    let names = list.split(',').map(|name| name.trim().trim_matches('"'));
    let names = names.map(|name| name.strip_prefix("$libdir/").unwrap_or(name));
    let names = names.map(|name| name.strip_suffix(".so").unwrap_or(name));
    let is_plain = |name: &&str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !name.is_empty() && name.bytes().all(is_known)
    };
    names.filter(is_plain).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_libraries_are_named() {
        let list = "pg_stat_statements, \"auto_explain\",$libdir/anon.so, /tmp/evil, ../x, $libdir/plugins/y,";
        assert_eq!(
            plain_names(list),
            ["pg_stat_statements", "auto_explain", "anon"]
        );
        assert!(plain_names("").is_empty());
    }
}
