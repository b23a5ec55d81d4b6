//! Definitions, and the properties of the database itself, come back as they were.

use crate::drill::drilling;
use crate::forged::forged_with;
use crate::hub::{Hub, stderr, stdout};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{database_with, execute, extract, restore_at, server, value};
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
             COMMENT ON DATABASE {name} IS E'it''s; \\\\ :\"DBNAME\"\n-- ON DATABASE y';
             ALTER DATABASE {name} SET standard_conforming_strings = off;
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

    let script_back = format!("{back} 2");
    let output = restore_at(
        directory.path(),
        &server.settings(&script_back),
        None,
        &["--create"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(properties(&postgres, &script_back), expected);

    // Without owners it has the settings alone.
    let unowned = format!("{back} 3");
    let restore = [
        "restore",
        "latest",
        "--database",
        &unowned,
        "--create",
        "--no-owner",
    ];
    hub.run_expecting(0, &restore);
    let roles = "SELECT concat_ws(' ', pg_get_userbyid(datdba) = current_user, datacl) FROM pg_database WHERE datname";
    let roles = format!("{roles} = '{unowned}'");
    assert_eq!(value(&postgres, &roles), "t");
    assert!(properties(&postgres, &unowned).contains("Asia/Tokyo"));

    // A database that was there keeps its own, and this is said.
    let there = database_with("");
    let output = hub.run_expecting(0, &["restore", "latest", "--database", there.name()]);
    assert!(stderr(&output).contains("keeps its owner, grants and settings"));
    for name in [source, back, &script_back, &unowned] {
        execute(&postgres, &format!("DROP DATABASE {}", quoted(name)));
    }
}

/// Definitions that come back only if nothing is lost on the way, and one whose text PostgreSQL writes otherwise.
const DEFINITIONS: &str = "CREATE ROLE one; CREATE ROLE two;
    CREATE TABLE a (id int CONSTRAINT a_pk PRIMARY KEY, u int CONSTRAINT a_u UNIQUE, r int REFERENCES a,
        v varchar CHECK (v IN ('x', 'y')));
    INSERT INTO a VALUES (1, 1, 1); CREATE INDEX a_i ON a (u) WHERE u > 1; ALTER TABLE a CLUSTER ON a_pk;
    COMMENT ON CONSTRAINT a_pk ON a IS 'the key'; COMMENT ON CONSTRAINT a_u ON a IS 'the unique';
    COMMENT ON CONSTRAINT a_r_fkey ON a IS 'the fk'; COMMENT ON INDEX a_pk IS 'the index';
    CREATE POLICY two_roles ON a TO two, one USING (u > 0);
    COMMENT ON TABLE a IS E'x\n-- Name: b; Type: TABLE; Schema: public; Owner: me\nCREATE TABLE b ();';
    CREATE TABLE \"o d\nd\" (\"c c\" int); GRANT SELECT (\"c c\") ON \"o d\nd\" TO one;
    CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER \"t\nt\" BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION t();
    ALTER TABLE a DISABLE TRIGGER \"t\nt\"; ALTER TABLE a REPLICA IDENTITY FULL;
    ALTER DEFAULT PRIVILEGES FOR ROLE two GRANT SELECT ON TABLES TO one;
    CREATE EXTENSION citext; COMMENT ON EXTENSION citext IS NULL";

#[test]
fn a_definition_that_a_restore_loses_is_a_failed_proof() {
    let database = database_with(DEFINITIONS);
    let name = database.name();
    database.execute(&format!(
        "ALTER DATABASE {name} SET statement_timeout = '9min'; ALTER DATABASE {name} OWNER TO two;
         ALTER DATABASE {name} SET default_transaction_read_only = on; REVOKE ALL ON DATABASE {name} FROM PUBLIC"
    ));
    let (hub, _drills) = drilling(&database);
    let (record, archive) = hub.backup();
    let notes = record["proof"]["drill"]["notes"].to_string();
    assert_eq!(record["state"], "proven", "{record}");
    assert!(notes.contains("1 definition whose text PostgreSQL writes differently after any restore: table public.a"), "{record}");

    let lost = [
        "COMMENT public CONSTRAINT a_pk",
        "INDEX public a_i",
        "TRIGGER public a t",
        "POLICY public a",
    ];
    let without = |name: &str, content: &mut Vec<u8>| {
        if name == "database/schema-post-data.list" {
            let text = String::from_utf8(content.clone()).unwrap();
            let lines = text.split_inclusive('\n');
            let kept = lines.filter(|line| !lost.iter().any(|lost| line.contains(lost)));
            *content = kept.collect::<String>().into_bytes();
        }
    };
    let copy = hub.config().join("lost.tar.gz");
    let drilled = |change: &dyn Fn(&str, &mut Vec<u8>)| {
        let forged = forged_with(&archive, &copy, change, |_| (), |_| ());
        stdout(&hub.run_expecting(3, &["verify", forged.to_str().unwrap(), "--drill"]))
    };
    let said = drilled(&without);
    let expected = "unproven: rows equal; definitions differ: comment on constraint a_pk on public.a is missing; \
                    index public.a_i is missing; policy two_roles on public.a is missing; trigger t\\nt on public.a is \
                    missing";
    assert!(said.contains(expected), "{said}");

    // A property that the drill's server refuses.
    let (time, no_time) = (b"'9min'", b"'9mim'");
    let refused = |name: &str, content: &mut Vec<u8>| {
        let found = content.windows(time.len()).position(|it| it == time);
        if let Some(at) = found.filter(|_| name == "database/schema.dump") {
            content[at..at + time.len()].copy_from_slice(no_time);
        }
    };
    let said = drilled(&refused);
    let expected = "SET statement_timeout TO '9mim'; (invalid value for parameter \"statement_timeout\": \"9mim\"";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_definition_that_code_of_the_database_changes_is_a_failed_proof() {
    // Whoever fills the view changes the text of another, adds a comment, and drops a sequence, and a function that its owner
    // is given last.
    let database = database_with(
        "GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE TABLE t (v int); CREATE VIEW seen AS SELECT 1 AS one;
         CREATE FUNCTION change() RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE MATERIALIZED VIEW changed AS SELECT change();
         CREATE OR REPLACE FUNCTION change() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
             CREATE OR REPLACE VIEW public.seen AS SELECT 2 AS one; COMMENT ON TABLE public.t IS 'new';
             DROP FUNCTION given.g(); DROP SEQUENCE public.numbers; RETURN 1; END $$;
         CREATE SEQUENCE numbers; SELECT nextval('numbers'); CREATE SCHEMA given; CREATE FUNCTION given.g() RETURNS int LANGUAGE sql AS 'SELECT 1';
         ALTER FUNCTION given.g() OWNER TO pg_read_server_files",
    );
    let (hub, _drills) = drilling(&database);
    let said = stdout(&hub.run_expecting(3, &["backup"]));
    for differs in [
        "unproven: rows equal; not rebuilt: sequence numbers (relation \"public.numbers\" does not exist",
        "; definitions differ: ",
        "comment on table public.t is not in the source",
        "view public.seen differs",
        "ALTER FUNCTION given.g() OWNER TO pg_read_server_files; (function given.g() does not exist",
    ] {
        assert!(said.contains(differs), "{differs:?} is not in {said}");
    }
}
