//! Definitions, and the properties of the database itself, come back as they were.

use crate::hub::{Hub, stderr};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{database_with, execute, extract, server, value};
use std::fs;

/// What is said about a database outside of it.
fn properties(postgres: &ConnectSettings, name: &str) -> String {
    let name = name.replace('\'', "''");
    let sql = format!(
        "SELECT jsonb_pretty(jsonb_build_array(pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit,
                datdba::regrole, (SELECT jsonb_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),
                shobj_description(oid, 'pg_database'),
                (SELECT jsonb_agg(jsonb_build_array(setrole::regrole, setconfig) ORDER BY setrole::regrole::text)
                 FROM pg_db_role_setting WHERE setdatabase = d.oid)))
         FROM pg_database d WHERE datname = '{name}'"
    );
    value(postgres, &sql)
}

#[test]
fn a_created_database_has_the_properties_of_the_source() {
    let server = server();
    let postgres = server.settings("postgres");
    let (source, back) = ("so=\"ur;ce\nON DATABASE x", "ba\"c k");
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let name = quoted(source);
    execute(&postgres, "CREATE ROLE \"owner; of\"; CREATE ROLE guest");
    let options = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' CONNECTION LIMIT 9";
    execute(&postgres, &format!("CREATE DATABASE {name} {options}"));
    let settings = server.settings(source);
    let rows = "CREATE SCHEMA app; CREATE TABLE app.t AS SELECT 1 AS id; CREATE TABLE public.properties ()";
    execute(&settings, rows);
    execute(
        &postgres,
        &format!(
            "ALTER DATABASE {name} OWNER TO \"owner; of\";
             REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO guest;
             REVOKE TEMPORARY ON DATABASE {name} FROM \"owner; of\";
             COMMENT ON DATABASE {name} IS 'it''s; :\"DBNAME\"\n-- ON DATABASE y';
             ALTER DATABASE {name} SET search_path = app, \"$user\", 'o''dd; name';
             ALTER DATABASE {name} SET timezone = 'Asia/Tokyo';
             ALTER DATABASE {name} SET default_transaction_read_only = on;
             ALTER DATABASE {name} SET nowhere.loaded = E'a ''quoted'' \\\\ \"text\"';
             ALTER ROLE guest IN DATABASE {name} SET work_mem = '7MB'"
        ),
    );
    let hub = Hub::at(&settings, "[scope]\ntables = [\"*\"]\n");
    let (_, archive) = hub.backup();
    let restore = ["restore", "latest", "--database", back, "--create"];
    hub.run_expecting(0, &restore);
    let expected = properties(&postgres, source);
    assert_eq!(properties(&postgres, back), expected);
    assert!(
        expected.contains("LATIN1") && expected.contains("7MB"),
        "{expected}"
    );

    // The file says the same to psql, which fills in the name.
    let directory = tempfile::tempdir().unwrap();
    extract(&archive, directory.path());
    let script = fs::read_to_string(directory.path().join("database/properties.sql")).unwrap();
    assert!(script.contains("ALTER DATABASE :\"DBNAME\" SET \"nowhere.loaded\" TO"));
    assert!(!script.contains("so=\"\"ur"), "{script}");

    // A database that was there keeps its own, and this is said.
    let there = database_with("");
    let output = hub.run_expecting(0, &["restore", "latest", "--database", there.name()]);
    assert!(stderr(&output).contains("keeps its owner, grants and settings"));
    for name in [source, back] {
        execute(&postgres, &format!("DROP DATABASE {}", quoted(name)));
    }
}
