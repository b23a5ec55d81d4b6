//! What a server must have before a database can be restored there, and which secrets its definitions hold.

use super::USER_SCHEMA;
use crate::connect::session::Session;
use crate::error::PgError;

/// What a restore needs of its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Encoding, collation and character classes of the database.
    pub locale: String,
    /// The extensions with their versions.
    pub extensions: Vec<String>,
    /// Tablespaces besides the default one.
    pub tablespaces: Vec<String>,
    /// Procedural languages that no extension brings.
    pub languages: Vec<String>,
    /// Collations of users' schemas, with their provider.
    pub collations: Vec<String>,
    /// Files with the code of functions in C.
    pub libraries: Vec<String>,
    /// What the server loads when it starts; empty where the role may not see it.
    pub preloaded: Vec<String>,
    /// Foreign servers, with the wrapper of each.
    pub foreign_servers: Vec<String>,
    /// User mappings.
    pub user_mappings: i64,
    /// Those of them whose options hold a secret.
    pub mappings_with_secret: i64,
    /// Those of them whose options the role may not see.
    pub mappings_hidden: i64,
    /// Subscriptions.
    pub subscriptions: Vec<String>,
    /// Those of them whose connection has a password, as far as the role may see it.
    pub subscriptions_with_secret: i64,
}

const LISTS: &str = "SELECT
    (SELECT concat(pg_encoding_to_char(d.encoding), ', collation ', d.datcollate, ', character classes ', d.datctype)
     FROM pg_database d WHERE d.datname = current_database()),
    ARRAY(SELECT concat(e.extname, ' ', e.extversion) FROM pg_extension e WHERE e.extname <> 'plpgsql' ORDER BY 1),
    ARRAY(SELECT t.spcname::text FROM pg_tablespace t WHERE t.spcname NOT IN ('pg_default', 'pg_global')
          AND (t.oid IN (SELECT c.reltablespace FROM pg_class c)
               OR t.oid = (SELECT d.dattablespace FROM pg_database d WHERE d.datname = current_database())) ORDER BY 1),
    ARRAY(SELECT l.lanname::text FROM pg_language l WHERE l.lanispl AND l.oid >= 16384 AND NOT EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = 'pg_language'::regclass AND d.objid = l.oid AND d.deptype = 'e')
          ORDER BY 1),
    ARRAY(SELECT format('%I.%I (%s)', n.nspname, c.collname, CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'c' THEN 'libc'
                 ELSE 'builtin' END)
          FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE {USER_SCHEMA} ORDER BY 1),
    ARRAY(SELECT DISTINCT p.probin FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
          WHERE l.lanname = 'c' AND p.probin IS NOT NULL AND p.oid >= 16384 AND NOT EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
          ORDER BY 1),
    ARRAY(SELECT DISTINCT trim(u.name) FROM pg_catalog.pg_show_all_settings() s, unnest(string_to_array(s.setting, ',')) u (name)
          WHERE s.name IN ('shared_preload_libraries', 'session_preload_libraries') AND trim(u.name) <> '' ORDER BY 1),
    ARRAY(SELECT concat(s.srvname, ' (', w.fdwname, ')') FROM pg_foreign_server s
          JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw ORDER BY 1),
    (SELECT count(*) FROM pg_user_mappings),
    (SELECT count(*) FROM pg_user_mappings m WHERE EXISTS (
        SELECT FROM unnest(m.umoptions) o (text) WHERE o.text ~* '^[^=]*(pass|secret|token|key)[^=]*=')),
    (SELECT count(*) FROM pg_user_mappings m WHERE m.umoptions IS NULL AND NOT r.rolsuper),
    ARRAY(SELECT s.subname::text FROM pg_subscription s
          WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1),
    has_column_privilege('pg_subscription', 'subconninfo', 'SELECT')
    FROM pg_roles r WHERE r.rolname = current_user";

/// What a restore of this database needs.
pub fn requirements(session: &mut Session) -> Result<Requirements, PgError> {
    let doing = "listing what a restore needs";
    let rows = session.rows(doing, &LISTS.replace("{USER_SCHEMA}", USER_SCHEMA))?;
    let Some(row) = rows.first() else {
        return Ok(Requirements::default());
    };
    let subscriptions: Vec<String> = row.get(11);
    let with_secret = if subscriptions.is_empty() || !row.get::<_, bool>(12) {
        0
    } else {
        let sql = "SELECT count(*) FROM pg_subscription s WHERE s.subconninfo ~* 'password'
                   AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
        session
            .rows(doing, sql)?
            .first()
            .map_or(0, |row| row.get(0))
    };
    Ok(Requirements {
        locale: row.get(0),
        extensions: row.get(1),
        tablespaces: row.get(2),
        languages: row.get(3),
        collations: row.get(4),
        libraries: row.get(5),
        preloaded: row.get(6),
        foreign_servers: row.get(7),
        user_mappings: row.get(8),
        mappings_with_secret: row.get(9),
        mappings_hidden: row.get(10),
        subscriptions,
        subscriptions_with_secret: with_secret,
    })
}
