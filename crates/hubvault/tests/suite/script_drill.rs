//! The archive's own `restore.sh` is drilled, too.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{NASTY, database_with, extract, run_restore_script, server};

/// Materialized views of an owner whom policies bind, and of one with BYPASSRLS; one policy needs a setting.
const POLICIES: &str = "CREATE ROLE \"bound; 'x\" LOGIN; CREATE ROLE passing BYPASSRLS; GRANT \"bound; 'x\", passing TO CURRENT_USER;
    CREATE TABLE seen (id int); CREATE TABLE missing (id int); CREATE TABLE passed (id int);
    INSERT INTO seen VALUES (1), (2); INSERT INTO missing VALUES (1); INSERT INTO passed VALUES (1);
    CREATE MATERIALIZED VIEW of_seen AS SELECT * FROM seen; CREATE MATERIALIZED VIEW of_passed AS SELECT * FROM passed;
    CREATE VIEW between AS SELECT * FROM missing; CREATE MATERIALIZED VIEW of_missing AS SELECT * FROM between;
    CREATE FUNCTION tenant() RETURNS int LANGUAGE sql STABLE AS $$ SELECT current_setting('app.tenant')::int $$;
    DO $$ DECLARE t name; BEGIN FOREACH t IN ARRAY ARRAY['seen', 'missing', 'passed'] LOOP
        EXECUTE format('ALTER TABLE %I OWNER TO %I', t, CASE t WHEN 'passed' THEN 'passing' ELSE 'bound; ''x' END);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    END LOOP; END $$;
    ALTER TABLE between OWNER TO \"bound; 'x\"; ALTER MATERIALIZED VIEW of_seen OWNER TO \"bound; 'x\";
    ALTER MATERIALIZED VIEW of_missing OWNER TO \"bound; 'x\"; ALTER MATERIALIZED VIEW of_passed OWNER TO passing;
    CREATE POLICY p ON seen USING (id = coalesce(current_setting('app.tenant', true), '1')::int);
    CREATE POLICY p ON passed USING (id = tenant());";

#[test]
fn the_script_of_an_archive_is_run_once_a_week_and_what_it_cannot_do_is_unproven() {
    let server = server();
    let source = server.database();
    source.execute(NASTY);
    let mut hub = Hub::whole(&source);
    let drills = hub.prove();
    hub.set("PROOF_SCRIPT", "weekly");
    let (first, _) = hub.backup();
    assert_eq!(first["state"], "proven", "{first}");
    assert!(first["proof"]["drill"]["script"].is_string(), "{first}");
    let (second, _) = hub.backup();
    assert_eq!(second["state"], "proven", "{second}");
    assert!(second["proof"]["drill"]["script"].is_null(), "{second}");
    // What its list has changed, so that it is due.
    source.execute(
        "CREATE FUNCTION no_psql(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
             BEGIN IF pg_catalog.current_setting('application_name') = 'psql' THEN RAISE 'not by psql'; END IF; RETURN $1; END $$;
         CREATE TABLE by_hand (v int, w int GENERATED ALWAYS AS (no_psql(v)) STORED);
         INSERT INTO by_hand VALUES (1)",
    );
    let output = hub.run(&["backup"]);
    let said = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("unproven: rows equal; not brought back by restore.sh: "),
        "{said}"
    );
    assert!(std::fs::read_dir(drills.path()).unwrap().next().is_none());
}

#[test]
fn rows_that_the_script_brings_back_otherwise_are_not_proven() {
    // Code of the database changes rows while psql fills a view.
    let source = database_with(
        "CREATE TABLE t (v text); INSERT INTO t VALUES ('a');
         CREATE FUNCTION change() RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE MATERIALIZED VIEW changed AS SELECT change();
         CREATE OR REPLACE FUNCTION change() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
             IF current_setting('application_name') = 'psql' THEN UPDATE public.t SET v = v || v; END IF; RETURN 1; END $$",
    );
    let mut hub = Hub::whole(&source);
    let _drills = hub.prove();
    hub.set("PROOF_SCRIPT", "always");
    let said = stdout(&hub.run_expecting(3, &["backup"]));
    let expected = "not brought back by restore.sh: t: row counts match, contents differ";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_drill_fills_views_with_the_rights_of_their_owners_as_both_restores_do() {
    let server = server();
    let source = server.database();
    source.execute(POLICIES);
    let mut hub = Hub::whole(&source);
    let _drills = hub.prove();
    hub.set("PROOF_SCRIPT", "always");
    // No policy fails: everything is brought back, also over the owner that passes them.
    let (good, _) = hub.backup();
    assert_eq!(good["state"], "proven", "{good}");
    source.execute("CREATE POLICY p ON missing USING (id = tenant())");
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "unproven", "{record}");
    let reason = record["proof"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("the rows of materialized view of_missing (unrecognized configuration parameter \"app.tenant\"")
            && reason.contains("current_setting('...', true)"),
        "{reason}"
    );
    assert!(
        !reason.contains("of_seen") && !reason.contains("of_passed"),
        "{reason}"
    );

    let target = server.database();
    let output = hub.run_expecting(3, &["restore", "latest", "--database", target.name()]);
    let said = stdout(&output) + &stderr(&output);
    let directory = tempfile::tempdir().unwrap();
    extract(&archive, directory.path());
    let second = server.database();
    let output = run_restore_script(directory.path(), &second, &[]);
    assert_eq!(output.status.code(), Some(3));
    let of_psql = stdout(&output) + &stderr(&output);
    for (said, restored) in [(said, target), (of_psql, second)] {
        assert!(
            said.contains("of_missing") && !said.contains("of_seen"),
            "{said}"
        );
        let filled = restored.value("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'm' AND relispopulated");
        assert_eq!(filled, "of_passed of_seen");
    }
}
