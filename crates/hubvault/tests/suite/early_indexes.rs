//! Indexes over columns alone are built while other tables are loaded; all others have their usual place.

use crate::hub::{Hub, archives_and_partials, stderr, stdout};
use hubvault_testkit::{database_with, extract, run_restore_script, server};

const SOURCE: &str = "
CREATE TABLE plans (id int PRIMARY KEY, name text UNIQUE, price numeric);
INSERT INTO plans SELECT n, 'plan ' || n, n FROM generate_series(1, 2000) n;
CREATE INDEX plain ON plans (price DESC, name);
CREATE INDEX expression ON plans (lower(name));
CREATE INDEX partial ON plans (price) WHERE price > 3;
CREATE INDEX remembered ON plans (name);
COMMENT ON INDEX remembered IS 'a comment goes with its object';
CREATE INDEX clustered ON plans (id, name);
ALTER TABLE plans CLUSTER ON clustered;
CREATE TABLE \"Odd; (table)\" (\"a, b\" int PRIMARY KEY, v int REFERENCES plans);
INSERT INTO \"Odd; (table)\" SELECT n, n FROM generate_series(1, 2000) n;
CREATE TABLE parts (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX parts_at ON parts (at);
INSERT INTO parts SELECT n, date '2026-01-01' + n % 300 FROM generate_series(1, 2000) n;
CREATE TABLE empty (id int PRIMARY KEY);
";

/// Who made an index in a database: `pg_restore` checks no bodies of functions.
const WATCH: &str = "
CREATE SCHEMA watch;
CREATE TABLE watch.made (what text, by text);
CREATE FUNCTION watch.note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO watch.made SELECT object_identity,
        CASE current_setting('check_function_bodies') WHEN 'off' THEN 'pg_restore' ELSE 'hubvault' END
    FROM pg_event_trigger_ddl_commands() WHERE command_tag IN ('CREATE INDEX', 'ALTER TABLE')
         AND object_type IN ('index', 'table');
END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE INDEX', 'ALTER TABLE')
    EXECUTE FUNCTION watch.note();
";

const INDEXES: &str = "SELECT string_agg(i, E'\\n' ORDER BY i) FROM (
    SELECT concat_ws(' ', indrelid::regclass, pg_get_indexdef(indexrelid), indisvalid, indisclustered,
                     obj_description(indexrelid, 'pg_class'), (SELECT pg_get_constraintdef(oid) FROM pg_constraint
                     WHERE conindid = indexrelid AND contype IN ('p', 'u')))
    FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE relnamespace = 'public'::regnamespace) all_of_them (i)";

/// By which programs an index of this name was made.
fn by(index: &str) -> String {
    format!("SELECT string_agg(DISTINCT by, ' ') FROM watch.made WHERE what = 'public.{index}'")
}

#[test]
fn plain_indexes_are_built_with_the_rows_and_all_come_back() {
    let source = database_with(SOURCE);
    let mut hub = Hub::whole(&source);
    hub.set("PROOF", "always");
    hub.run_expecting(0, &["backup"]);

    let target = server().database();
    target.execute(WATCH);
    hub.run_expecting(0, &["restore", "latest", "--database", target.name()]);
    assert_eq!(source.value(INDEXES), target.value(INDEXES));
    for (index, program) in [
        ("plain", "hubvault"),
        ("parts_1_at_idx", "hubvault"),
        ("expression", "pg_restore"),
        ("partial", "pg_restore"),
        ("remembered", "pg_restore"),
        ("clustered", "pg_restore"),
        ("parts_at", "pg_restore"),
    ] {
        assert_eq!(target.value(&by(index)), program, "{index}");
    }
}

/// A function that compares may look at other tables. `PostgreSQL` permits operator classes to superusers only.
#[test]
fn with_operator_classes_of_its_own_no_index_is_early() {
    let source = database_with(
        "CREATE TABLE ranks (id int PRIMARY KEY, rank int);
         INSERT INTO ranks SELECT n, -n FROM generate_series(1, 100) n;
         CREATE FUNCTION by_rank(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             RETURN sign((SELECT rank FROM public.ranks WHERE id = $1) - (SELECT rank FROM public.ranks WHERE id = $2));
         END $$;
         CREATE OPERATOR CLASS ranked FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =,
             OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 by_rank(int, int);
         CREATE TABLE a_ranked (id int);
         INSERT INTO a_ranked SELECT n FROM generate_series(1, 100) n;
         CREATE INDEX by_their_ranks ON a_ranked (id ranked);
         CREATE INDEX plain ON a_ranked (id);",
    );
    let mut hub = Hub::whole(&source);
    hub.set("PROOF", "always");
    let said = stdout(&hub.run_expecting(0, &["backup"]));
    // The drill's restore.sh makes no operator class, and what needs one. A superuser's does.
    assert!(
        said.contains("without superuser rights") && said.contains("by_their_ranks"),
        "{said}"
    );
    let target = server().database();
    target.execute(WATCH);
    hub.run_expecting(0, &["restore", "latest", "--database", target.name()]);
    let directory = tempfile::tempdir().unwrap();
    extract(&archives_and_partials(&hub.backups())[0], directory.path());
    let scripted = server().database();
    let output = run_restore_script(directory.path(), &scripted, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    for restored in [&target, &scripted] {
        assert_eq!(source.value(INDEXES), restored.value(INDEXES));
    }
    for index in ["by_their_ranks", "plain"] {
        assert_eq!(target.value(&by(index)), "pg_restore", "{index}");
    }
}

/// The target refuses what the source has: it is told once, in the usual place.
#[test]
fn what_cannot_be_built_early_is_told_as_before() {
    let source = database_with(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT n, n FROM generate_series(1, 50) n;
         CREATE INDEX refused ON t (v); CREATE INDEX permitted ON t (v, id);",
    );
    let hub = Hub::whole(&source);
    hub.run_expecting(3, &["backup"]);
    let target = server().database();
    target.execute(
        "CREATE SCHEMA watch;
         CREATE FUNCTION watch.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'public.refused')
             THEN RAISE 'not this one'; END IF; END $$;
         CREATE EVENT TRIGGER refuse ON ddl_command_end WHEN TAG IN ('CREATE INDEX')
             EXECUTE FUNCTION watch.refuse();",
    );
    let output = hub.run_expecting(3, &["restore", "latest", "--database", target.name()]);
    let said = stdout(&output) + &stderr(&output);
    assert_eq!(said.matches("not this one").count(), 1, "{said}");
    let there = "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid::regclass::text) FROM pg_index
        WHERE indrelid = 't'::regclass";
    assert_eq!(target.value(there), "permitted t_pkey");
}
