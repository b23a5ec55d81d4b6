//! What is true of a database, asked with `psql` and `pg_dump` alone: definitions, rows, sequences, properties.

use crate::definitions::{Compared, Definitions, compare, definitions};
use crate::real_server::RealServer;
use std::collections::{BTreeMap, BTreeSet};

/// A count and a sum of hashes a table, the value of each sequence, what is unfilled, large objects.
/// Columns by name: those of a child may come back in another order, with `pg_dump` alone, too.
const ROWS: &str = r#"
-- Functions that are called without their schema, while a table with such an index is planned, are there.
SET search_path = pg_catalog, public;
SET row_security = off;
WITH relation AS (
    SELECT c.oid, relkind, format('%I.%I', nspname, relname) AS name, NOT relispopulated AS unfilled,
        (SELECT string_agg(format('t.%I', attname), ', ' ORDER BY attname) FROM pg_attribute
         WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema' AND relkind IN ('r', 'm', 'S', 'p')
        AND (NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
            OR EXISTS (SELECT FROM pg_extension WHERE c.oid = ANY (extconfig))))
SELECT CASE
        WHEN unfilled THEN format('SELECT %L, %L', name, 'unfilled')
        WHEN relkind = 'S' THEN format('SELECT %L, last_value, is_called FROM %s', name, name)
        ELSE format('SELECT %L, count(*), sum(hashtextextended(ROW(%s)::text COLLATE "C", 0)) FROM %s %s t',
            name, columns, CASE relkind WHEN 'p' THEN '' ELSE 'ONLY' END, name)
    END FROM relation ORDER BY name COLLATE "C" \gexec
SELECT 'large objects', count(*), sum(hashtextextended(encode(lo_get(oid), 'hex'), 0)) FROM pg_largeobject_metadata;
"#;

/// Settings, owner, grants, comment, label, encoding, locale, limits; neither name nor numbers of its own.
const PROPERTIES: &str = r"
SET search_path = pg_catalog;
SELECT 'setting ' || coalesce(rolname, 'of all') || ' ' || setting, '' FROM pg_db_role_setting s
    LEFT JOIN pg_roles r ON r.oid = setrole, unnest(setconfig) setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database());
SELECT 'grant ' || coalesce(r.rolname, 'PUBLIC') || ' ' || privilege_type || ' ' || is_grantable, g.rolname
    FROM pg_database d, aclexplode(coalesce(datacl, acldefault('d', datdba)))
    LEFT JOIN pg_roles r ON r.oid = grantee LEFT JOIN pg_roles g ON g.oid = grantor WHERE datname = current_database();
SELECT 'comment', shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database();
SELECT 'owner', pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database();
SELECT key, value FROM pg_database d, jsonb_each_text(to_jsonb(d)) WHERE datname = current_database()
    AND key IN ('encoding', 'datcollate', 'datctype', 'datlocprovider', 'daticulocale', 'datlocale', 'datconnlimit',
        'datistemplate', 'datallowconn');
";

/// All that is compared.
pub(crate) struct Facts {
    dump: String,
    definitions: Definitions,
    /// Name and what is in it.
    rows: BTreeMap<String, String>,
    properties: BTreeMap<String, String>,
}

impl Facts {
    /// Of a database of the server.
    pub(crate) fn of(server: &RealServer, database: &str) -> Self {
        let dump = server
            .program("pg_dump", database)
            .arg("--schema-only")
            // A setting of the database changes how a dump writes the same text.
            .env("PGOPTIONS", "-c standard_conforming_strings=on")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&dump.stderr);
        assert!(dump.status.success(), "pg_dump of {database}: {said}");
        // Bytes of a database in SQL_ASCII are no UTF-8: each becomes a letter of its own.
        let text: String = dump.stdout.iter().map(|byte| char::from(*byte)).collect();
        // The key of each dump is another.
        let kept =
            |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
        let dump = text.lines().filter(kept).collect::<Vec<_>>().join("\n");
        Self {
            definitions: definitions(&dump),
            dump,
            rows: server.pairs(database, ROWS),
            properties: server.pairs(database, PROPERTIES),
        }
    }

    /// How many tables, materialized views and sequences were read.
    pub(crate) fn relations(&self) -> usize {
        self.rows.len()
    }

    /// What is otherwise in a restored database. `reference` was restored by `pg_restore` alone.
    pub(crate) fn compare(&self, found: &Self, reference: &Self) -> Compared {
        let same = self.dump == found.dump;
        let mut compared = compare(
            &self.definitions,
            &found.definitions,
            &reference.definitions,
        );
        assert!(!same || compared.differences.is_empty() && compared.own == 0);
        for (what, was, is) in [
            ("rows", &self.rows, &found.rows),
            ("property", &self.properties, &found.properties),
        ] {
            let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
            let other = names
                .into_iter()
                .filter(|name| was.get(*name) != is.get(*name));
            compared.differences.extend(other.map(|name| {
                let value = |of: &BTreeMap<String, String>| {
                    of.get(name)
                        .map_or("(nothing)".to_owned(), |value| format!("{value:?}"))
                };
                format!("{what} {name}: {} came back as {}", value(was), value(is))
            }));
        }
        compared
    }
}
