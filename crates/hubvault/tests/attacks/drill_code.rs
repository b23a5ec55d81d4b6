//! Code of a database's owner, run by a drill.

use crate::hub::{Hub, stderr, stdout};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{Database, database_with, execute, open_directory, server};
use std::path::Path;
use tempfile::TempDir;

/// Functions of an owner who is no superuser. They try everything that a superuser may do to leave a mark outside, as
/// whoever runs them, and as every superuser that they can become. What is refused is passed over.
pub(crate) const HOSTILE: &str = r"
    CREATE FUNCTION leave(mark text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        BEGIN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'echo >> MARKS/program.' || mark);
        EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN EXECUTE format('COPY (SELECT 1) TO %L', 'MARKS/file.' || mark);
        EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN PERFORM lo_export(lo_from_bytea(0, 'x'), 'MARKS/object.' || mark);
        EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN EXECUTE 'CREATE ROLE stepped_up SUPERUSER LOGIN';
            EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'echo >> MARKS/role.' || mark);
        EXCEPTION WHEN OTHERS THEN NULL; END;
    END $$;
    CREATE FUNCTION act(mark text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
    DECLARE who text; BEGIN
        PERFORM public.leave(mark);
        FOR who IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper LOOP
            BEGIN EXECUTE format('SET ROLE %I', who); PERFORM public.leave(mark || '.role');
            EXCEPTION WHEN OTHERS THEN NULL; END;
            BEGIN EXECUTE format('SET SESSION AUTHORIZATION %I', who);
                PERFORM public.leave(mark || '.session');
            EXCEPTION WHEN OTHERS THEN NULL; END;
        END LOOP;
        BEGIN EXECUTE 'RESET ROLE'; PERFORM public.leave(mark || '.reset');
        EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; PERFORM public.leave(mark || '.reset_session');
        EXCEPTION WHEN OTHERS THEN NULL; END;
        RETURN true;
    END $$;
    CREATE FUNCTION w(mark text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN RETURN public.act(mark); END $$;
    CREATE FUNCTION same(mark text, v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM public.act(mark); RETURN v; END $$;
    CREATE FUNCTION equal(a int, b int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM public.act('operator'); RETURN a = b; END $$;
    CREATE FUNCTION below(a int, b int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM public.act('operator-class'); RETURN btint4cmp(a, b); END $$;

    CREATE DOMAIN read AS int CHECK (public.w('literal'));
    CREATE TABLE of_literals (x int DEFAULT (('{1}'::read[])[1]));
    CREATE VIEW of_literal AS SELECT '{1}'::read[] AS x;
    CREATE INDEX ON of_literals (x) WHERE x = ANY ('{1}'::read[]::int[]);
    CREATE RULE of_literal AS ON INSERT TO of_literals WHERE new.x = ANY ('{2}'::read[]::int[]) DO ALSO NOTHING;
    CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
    CREATE TRIGGER of_literal BEFORE INSERT ON of_literals FOR EACH ROW
        WHEN (new.x = ANY ('{1}'::read[]::int[])) EXECUTE FUNCTION fired();
    CREATE FUNCTION in_default(x read[] DEFAULT '{1}') RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE PROCEDURE in_procedure(x read[] DEFAULT '{1}') LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION in_body() RETURNS int[] LANGUAGE sql BEGIN ATOMIC SELECT ('{1}'::read[])::int[]; END;
    CREATE FUNCTION next(read[], int) RETURNS read[] LANGUAGE sql AS 'SELECT $1';
    CREATE AGGREGATE in_aggregate(int) (SFUNC = next, STYPE = read[], INITCOND = '{1}');
    CREATE DOMAIN d AS int CHECK (public.w('domain-check'));
    CREATE TABLE of_domain (x d); INSERT INTO of_domain VALUES (1);
    CREATE TABLE generated (x int, y boolean GENERATED ALWAYS AS (public.w('generated-column')) STORED);
    INSERT INTO generated (x) VALUES (1);
    CREATE TABLE keyed (x text) PARTITION BY LIST ((x || public.w('partition-key')::text));
    CREATE TABLE keyed_one PARTITION OF keyed DEFAULT; INSERT INTO keyed VALUES ('a');
    CREATE TABLE attached (x int) PARTITION BY RANGE (x);
    CREATE TABLE attached_one PARTITION OF attached FOR VALUES FROM (0) TO (9);
    CREATE INDEX ON attached ((x + public.same('attached-index', 1)));
    CREATE TABLE checked (x int CHECK (public.w('table-check'))); INSERT INTO checked VALUES (1);
    CREATE TABLE parted (x int) PARTITION BY LIST (x);
    CREATE TABLE part PARTITION OF parted FOR VALUES IN (1);
    ALTER TABLE part ADD CHECK (public.w('partition-check'));
    INSERT INTO parted VALUES (1);
    CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
    CREATE TABLE child (p int CHECK (public.w('key-check'))); INSERT INTO child VALUES (1);
    ALTER TABLE child ADD FOREIGN KEY (p) REFERENCES parent NOT VALID;
    CREATE TABLE indexed (x int); INSERT INTO indexed SELECT n FROM generate_series(1, 300) n;
    CREATE INDEX ON indexed ((public.same('index-expression', x)));
    CREATE INDEX ON indexed (x) WHERE public.w('index-predicate');
    CREATE STATISTICS on_expression ON (public.same('statistics', x)), x FROM indexed;
    CREATE STATISTICS on_literal ON (x = ANY ('{1}'::read[]::int[])), x FROM indexed;
    CREATE TABLE late (x int); INSERT INTO late VALUES (1);
    ALTER TABLE late ADD CONSTRAINT late CHECK (public.w('late-check')) NOT VALID;
    CREATE MATERIALIZED VIEW filled AS SELECT public.w('view') AS x;
    CREATE MATERIALIZED VIEW above AS SELECT x, public.w('view-above') AS y FROM filled;
    CREATE TABLE ruled (x int); INSERT INTO ruled VALUES (1);
    ALTER TABLE ruled ENABLE ROW LEVEL SECURITY; ALTER TABLE ruled FORCE ROW LEVEL SECURITY;
    CREATE POLICY hostile ON ruled USING (public.w('policy')) WITH CHECK (public.w('policy-check'));
    CREATE POLICY of_literal ON ruled USING (x = ANY ('{1}'::read[]::int[]));
    CREATE TABLE bounded (x read[]) PARTITION BY LIST (x);
    CREATE TABLE bounded_one PARTITION OF bounded FOR VALUES IN ('{1}'); INSERT INTO bounded VALUES ('{1}');
    CREATE TYPE composite AS (x read); CREATE DOMAIN of_composite AS composite DEFAULT '(1)';
    CREATE TYPE described AS (x int); CREATE TABLE typed OF described (x DEFAULT (('{1}'::read[])[1]));
    CREATE TABLE excluded (x int, EXCLUDE USING btree (x WITH =) WHERE (x = ANY ('{1}'::read[]::int[])));
    CREATE TABLE of_values (x int, y int GENERATED ALWAYS AS (x + ('{1}'::read[])[1]) STORED);
    CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = equal);
    CREATE TABLE operated (x int CHECK (x === 1)); INSERT INTO operated VALUES (1);
    -- Without a subtransaction, which would release the locks of the index.
    CREATE FUNCTION apart(a int, b int) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN CREATE ROLE stepped_up SUPERUSER; END IF;
        RETURN a - b; END $$;
    CREATE TYPE span AS RANGE (SUBTYPE = int, SUBTYPE_DIFF = apart); CREATE TYPE of_domain_span AS RANGE (SUBTYPE = read);
    CREATE TABLE spans (x span, y of_domain_span DEFAULT '[1,2]'); CREATE INDEX ON spans USING gist (x);
    INSERT INTO spans SELECT span(n, n + 9), '[3,4]' FROM generate_series(1, 900) n;
    CREATE FUNCTION cast_away(composite) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM public.act('cast'); RETURN 1; END $$;
    CREATE CAST (composite AS int) WITH FUNCTION cast_away(composite) AS IMPLICIT;
    CREATE TABLE cast_default (x int DEFAULT ROW(1)::composite, y composite CHECK (y + 0 = 1));
    INSERT INTO cast_default (y) VALUES (ROW(1));
    CREATE TEXT SEARCH DICTIONARY own_words (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION own (COPY = english);
    ALTER TEXT SEARCH CONFIGURATION own ALTER MAPPING FOR asciiword WITH own_words;
    CREATE TABLE searched (x text, y tsvector GENERATED ALWAYS AS (to_tsvector('public.own', x || public.w('search'))) STORED);
    INSERT INTO searched VALUES ('words'); CREATE INDEX ON searched USING gin (y);
    CREATE FUNCTION on_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.act('trigger'); RETURN new; END $$;
    CREATE TABLE triggered (x int); INSERT INTO triggered VALUES (1);
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON triggered DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION on_row();
    CREATE TRIGGER always BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION on_row();
    ALTER TABLE triggered ENABLE ALWAYS TRIGGER always;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
";

/// A database of `mallory`, who is no superuser, and a role `backup` that may read all of it and nothing more.
pub(crate) struct Owned {
    pub(crate) database: Database,
    pub(crate) hub: Hub,
    drills: TempDir,
    marks: TempDir,
}

pub(crate) fn database_of_an_owner(sql: &str) -> Owned {
    let server = server();
    let database = server.database();
    let marks = open_directory();
    database.execute(
        "DO $$ BEGIN CREATE ROLE mallory LOGIN; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         DO $$ BEGIN CREATE ROLE backup LOGIN BYPASSRLS; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         GRANT pg_read_all_data TO backup; GRANT CREATE ON SCHEMA public TO mallory",
    );
    let mallory = ConnectSettings {
        user: "mallory".into(),
        ..database.settings()
    };
    execute(
        &mallory,
        &sql.replace("MARKS", marks.path().to_str().unwrap()),
    );
    let mut hub = Hub::whole(&database);
    hub.set("POSTGRES_USER", "backup");
    let drills = hub.prove();
    Owned {
        database,
        hub,
        drills,
        marks,
    }
}

impl Owned {
    /// Takes a backup that must be proven.
    pub(crate) fn assert_proven(&self) {
        let output = self.hub.run(&["backup"]);
        let (said, text) = (stderr(&output), stdout(&output));
        assert_eq!(output.status.code(), Some(0), "{said}{text}");
        assert!(text.contains("\nproven: "), "{text}");
        assert_eq!(names(self.drills.path()), [""; 0]);
    }

    /// Drills on the server of the source, by its superuser's login.
    pub(crate) fn drill_on_its_own_server(&mut self) {
        let settings = self.database.settings();
        let url = format!(
            "postgres://{}@/postgres?host={}&port={}",
            settings.user, settings.host, settings.port
        );
        self.hub.set("PROOF_SERVER", url);
    }

    pub(crate) fn assert_no_marks(&self) {
        assert_eq!(names(self.marks.path()), [""; 0]);
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn an_owners_code_gets_no_superuser_in_a_drill() {
    let owned = database_of_an_owner(HOSTILE);
    owned.assert_proven();
    owned.assert_no_marks();
}

#[test]
fn an_owners_code_gets_no_superuser_on_an_external_drill_server() {
    let mut owned = database_of_an_owner(HOSTILE);
    owned.drill_on_its_own_server();
    owned.assert_proven();
    owned.assert_no_marks();
}

#[test]
fn a_superuser_makes_no_function_whose_owner_forges_a_refusal() {
    let owned = database_of_an_owner(
        "CREATE FUNCTION refused() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
             IF current_database() <> 'drill' THEN RETURN true; END IF;
             BEGIN EXECUTE 'CREATE ROLE stepped_up SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
             IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'stepped_up') THEN RETURN true; END IF;
             RAISE EXCEPTION 'permission denied for language c' USING ERRCODE = '42501'; END $$;
         CREATE DOMAIN refusing AS int CHECK (public.refused());
         CREATE FUNCTION one(x refusing[] DEFAULT '{1}') RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE FUNCTION two() RETURNS int[] LANGUAGE sql BEGIN ATOMIC SELECT ('{1}'::refusing[])::int[]; END;
         CREATE TABLE t (x int); INSERT INTO t VALUES (1)",
    );
    let (record, _) = owned.hub.backup();
    let reason = record["proof"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("function one") && reason.contains("permission denied for language c"),
        "{reason}"
    );
    assert!(!reason.contains("superusers"), "{reason}");
}

#[test]
fn tables_of_several_owners_without_read_rights_are_still_proven() {
    let owned = database_of_an_owner(
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
         CREATE TABLE revoked (x int); INSERT INTO revoked VALUES (1);
         REVOKE ALL ON revoked FROM mallory",
    );
    owned.database.execute(
        "DO $$ BEGIN CREATE ROLE \"Trudy o'Neill\"; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         CREATE SCHEMA closed;
         CREATE FUNCTION closed.fine(int) RETURNS bool LANGUAGE sql AS 'SELECT true';
         REVOKE ALL ON FUNCTION closed.fine FROM PUBLIC;
         CREATE TABLE closed.child (p int REFERENCES parent CHECK (closed.fine(p)), n serial);
         INSERT INTO closed.child VALUES (1);
         ALTER TABLE closed.child OWNER TO \"Trudy o'Neill\";
         CREATE TABLE closed.forced (x int); INSERT INTO closed.forced VALUES (1);
         ALTER TABLE closed.forced OWNER TO \"Trudy o'Neill\";
         ALTER TABLE closed.forced ENABLE ROW LEVEL SECURITY;
         ALTER TABLE closed.forced FORCE ROW LEVEL SECURITY;
         CREATE MATERIALIZED VIEW closed.both AS SELECT * FROM parent, closed.child;
         CREATE PUBLICATION everything FOR ALL TABLES;
         CREATE FUNCTION noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION noticed()",
    );
    owned.assert_proven();
}

/// Honest definitions that a login which is no superuser's must be able to make, in an order that needs care.
const HONEST: &str = r#"
    CREATE TABLE base (id int PRIMARY KEY, v text); INSERT INTO base SELECT n, 'v' || n FROM generate_series(1, 9) n;
    CREATE INDEX base_v ON base (v);
    COMMENT ON INDEX base_v IS 'an index'; COMMENT ON CONSTRAINT base_pkey ON base IS 'a key';
    COMMENT ON TABLE base IS 'a table'; COMMENT ON COLUMN base.v IS 'a column';
    CREATE FUNCTION shown(base) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.v';
    CREATE TABLE more (id int PRIMARY KEY, b base); CREATE FUNCTION shown(more) RETURNS text LANGUAGE sql AS 'SELECT $1.id::text';
    CREATE MATERIALIZED VIEW grouped AS SELECT id, v FROM base GROUP BY id;
    CREATE VIEW on_grouped AS SELECT * FROM grouped;
    CREATE SCHEMA "DATA"; CREATE MATERIALIZED VIEW "DATA".m AS SELECT 1 AS x;
    CREATE SCHEMA "ACL"; CREATE TABLE "ACL".t (x int DEFAULT 7); INSERT INTO "ACL".t VALUES (1);
    CREATE ROLE reader_of_base; GRANT SELECT ON base TO reader_of_base;
    CREATE MATERIALIZED VIEW of_reader AS SELECT * FROM base; ALTER MATERIALIZED VIEW of_reader OWNER TO reader_of_base;
    CREATE TABLE of_database (x int); ALTER TABLE of_database OWNER TO pg_database_owner;
    CREATE EXTENSION citext;
"#;

#[test]
fn harmless_definitions_in_any_order_are_still_proven() {
    let database = database_with(HONEST);
    let drills = open_directory();
    let mut hub = Hub::whole(&database);
    hub.set("PROOF", "always");
    hub.set("TMPDIR", drills.path().to_str().unwrap());
    let (record, _) = hub.backup();
    assert_eq!(record["state"], "proven", "{}", record["proof"]);
    database.execute("DROP OWNED BY reader_of_base; DROP ROLE reader_of_base");
}

/// Functions that only a superuser may make, among others that need them. `restore.sh` over another login cannot make them.
const OF_SUPERUSERS: &str = r"
    CREATE FUNCTION native(x int DEFAULT 3) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'int4up';
    CREATE FUNCTION on_native() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT native(1); END;
    CREATE FUNCTION tight(int) RETURNS int LANGUAGE sql IMMUTABLE LEAKPROOF AS 'SELECT 1';
    CREATE FUNCTION quiet() RETURNS int LANGUAGE sql SET log_min_messages = 'error' AS 'SELECT 1';
    CREATE FUNCTION of_predefined() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION of_predefined OWNER TO pg_monitor;
    CREATE AGGREGATE mean(numeric) (SFUNC = numeric_avg_accum, STYPE = internal, FINALFUNC = numeric_avg);
    CREATE TABLE on_functions (x int DEFAULT native(), y int GENERATED ALWAYS AS (native(x)) STORED);
    INSERT INTO on_functions DEFAULT VALUES;
    CREATE VIEW of_aggregate AS SELECT mean(x), tight(1), quiet() FROM on_functions;
";

#[test]
fn functions_of_superusers_are_made_by_one_and_still_proven() {
    let database = database_with(OF_SUPERUSERS);
    let mut hub = Hub::whole(&database);
    let _drills = hub.prove();
    let (record, _) = hub.backup();
    assert_eq!(record["state"], "proven", "{}", record["proof"]);
}

#[test]
fn code_that_ignores_cancellation_ends_with_its_drill() {
    let owned = database_of_an_owner(
        "CREATE FUNCTION stuck(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
             IF current_database() = 'drill' THEN LOOP
                 BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled THEN NULL; END;
             END LOOP; END IF; RETURN true; END $$;
         CREATE TABLE t (x int CHECK (public.stuck(x))); INSERT INTO t VALUES (1)",
    );
    let mut hub = owned.hub;
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[proof]\ntime_limit = \"3 s\"\n");
    let (record, _) = hub.backup();
    assert_eq!(
        record["proof"]["reason"],
        "the drill took longer than its limit of 3 s"
    );
    assert_eq!(names(owned.drills.path()), [""; 0]);
}
