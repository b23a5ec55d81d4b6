//! The archive's own `restore.sh` is drilled, too.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{NASTY, server};

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
