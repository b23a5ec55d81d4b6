//! Rows of users in tables of extensions are backed up, proven and restored, in every way that brings rows back.

use crate::bad_input::run_statements;
use crate::drill::drilling;
use crate::forged::forged;
use crate::hub::{Hub, stderr, stdout};
use hubvault_archive::Manifest;
use hubvault_testkit::{Database, restore_with_plain_tools, server};
use serde_json::Value;

/// The condition of the first table ends in an order, as `pg_dump` takes it, and has what psql would read as a command.
/// The child's name comes before its parent's.
const CONFIGURATION: &str = r"
    CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman;
    CREATE TABLE event (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
    SELECT partman.create_parent('public.event', 'at', 'native', 'daily');
    INSERT INTO partman.custom_time_partitions VALUES ('not theirs', 'x', '[2026-01-01,2026-01-02)');
    UPDATE pg_extension SET extcondition = (SELECT array_agg(
        CASE WHEN config = 'partman.custom_time_partitions'::regclass
             THEN $$where parent_table <> 'not \! theirs' AND parent_table <> 'not theirs' ORDER BY 1$$ ELSE '' END)
        FROM unnest(extconfig) config) WHERE extname = 'pg_partman';
    INSERT INTO partman.part_config_sub (sub_parent, sub_partition_type, sub_control, sub_partition_interval)
        VALUES ('public.event', 'native', 'id', '10')";

const PARTMAN: &str =
    "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (SELECT c::text FROM partman.part_config c
    UNION ALL SELECT s::text FROM partman.part_config_sub s) rows (line)";

fn what_a_role_lacks_for_them_is_printed(source: &Database, hub: &mut Hub) {
    let role = format!("reader_{}", source.name());
    source.execute(&format!("CREATE ROLE {role} LOGIN"));
    hub.set("POSTGRES_USER", &role);
    let plan = stdout(&hub.run_expecting(3, &["backup", "--dry-run"]));
    let grant = format!("GRANT SELECT ON partman.part_config TO {role};");
    assert!(plan.contains(&grant), "{plan}");
    run_statements(source, &plan);
    let plan = stdout(&hub.run(&["backup", "--dry-run"]));
    assert!(
        !plan.contains("GRANT ") && !plan.contains("part_config,"),
        "{plan}"
    );
    source.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    hub.set("POSTGRES_USER", source.settings().user);
}

fn is_there(database: &Database, extension: &str) -> bool {
    let sql = format!("SELECT count(*) FROM pg_available_extensions WHERE name = '{extension}'");
    let is_there = database.value(&sql) != "0";
    if !is_there {
        eprintln!("skipped: {extension} is not installed");
    }
    is_there
}

#[test]
fn rows_that_an_extension_marks_as_the_users_come_back() {
    let server = server();
    let source = server.database();
    if !is_there(&source, "pg_partman") {
        return;
    }
    source.execute(CONFIGURATION);
    let (mut hub, _drills) = drilling(&source);
    what_a_role_lacks_for_them_is_printed(&source, &mut hub);
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let shown = hub.run_expecting(0, &["show", "latest", "--json"]);
    let manifest: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let tables = manifest["tables"].as_array().unwrap().iter();
    let of_partman: Vec<(&str, u64)> = tables
        .filter(|table| table["extension"] == "pg_partman")
        .map(|table| {
            (
                table["name"].as_str().unwrap(),
                table["rows"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("custom_time_partitions", 0),
        ("part_config", 1),
        ("part_config_sub", 1),
    ];
    assert_eq!(of_partman, expected);

    let target = server.database();
    restore_with_plain_tools(&archive, &target);
    assert_eq!(source.value(PARTMAN), target.value(PARTMAN));
    let target = server.database();
    hub.run_expecting(0, &["restore", "latest", "--database", target.name()]);
    assert_eq!(source.value(PARTMAN), target.value(PARTMAN));
    let refused = hub.run(&["restore", "latest", "--database", target.name()]);
    assert!(
        stderr(&refused).contains("already holds"),
        "{}",
        stderr(&refused)
    );
    let off = "SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O'";
    assert_eq!(target.value(off), "0", "triggers are enabled again");
    // Its rows alone are there, too.
    target.execute("DROP TABLE event CASCADE; DROP TABLE IF EXISTS partman.template_public_event");
    let refused = hub.run(&["restore", "latest", "--database", target.name()]);
    assert!(
        stderr(&refused).contains("already holds tables of this archive: partman.part_config"),
        "{}",
        stderr(&refused)
    );
    let one = [
        "restore",
        "latest",
        "--table",
        "partman.part_config",
        "--database",
        target.name(),
    ];
    let refused = hub.run(&one);
    assert!(
        stderr(&refused).contains("is not an ordinary table"),
        "{}",
        stderr(&refused)
    );

    // A narrower scope names what it leaves out; a condition that does not work costs its own table alone.
    hub.write("[scope]\ntables = [\"event\"]\nwindow = []\n");
    let plan = stdout(&hub.run(&["backup", "--dry-run"]));
    assert!(
        plan.contains("the extension pg_partman marks rows of it"),
        "{plan}"
    );
    assert!(!plan.contains("every table is included"), "{plan}");
    source.execute(
        "UPDATE pg_extension SET extcondition = array_fill('WHERE nothing_there()'::text, '{3}')
                    WHERE extname = 'pg_partman'",
    );
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n");
    let plan = stdout(&hub.run(&["backup", "--dry-run"]));
    assert!(plan.contains("nothing_there() does not exist"), "{plan}");
}

#[test]
fn rows_that_an_extension_makes_stay_and_those_of_the_user_take_their_place() {
    let server = server();
    let source = server.database();
    if !is_there(&source, "address_standardizer_data_us") {
        return;
    }
    // Of us_gaz every row is the user's, also those that CREATE EXTENSION makes.
    source.execute(
        "CREATE EXTENSION address_standardizer_data_us; DELETE FROM us_gaz WHERE id % 2 = 0;
         INSERT INTO us_lex (seq, word, stdword, token) VALUES (1, 'mine', 'MINE', 1);
         UPDATE pg_extension SET extcondition = (
             SELECT array_agg(CASE config WHEN 'us_gaz'::regclass THEN '' ELSE condition END)
             FROM unnest(extconfig, extcondition) marked (config, condition))
         WHERE extname = 'address_standardizer_data_us'",
    );
    let (mut hub, _drills) = drilling(&source);
    hub.set("PROOF_SCRIPT", "always");
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let target = server.database();
    hub.run_expecting(0, &["restore", "latest", "--database", target.name()]);
    for table in ["us_gaz", "us_lex"] {
        let rows =
            format!("SELECT count(*) || md5(string_agg(t::text, ',' ORDER BY id)) FROM {table} t");
        assert_eq!(source.value(&rows), target.value(&rows), "{table}");
    }
    // Rows are for the extension that marks the table where they come, whatever an archive says.
    let other = |manifest: &mut Manifest| {
        let mut tables = manifest.tables.iter_mut();
        let table = tables.find(|table| table.name.name == "us_lex").unwrap();
        table.extension = Some("another".to_owned());
    };
    let copy = hub.config().join("forged.tar.gz");
    let path = forged(&archive, &copy, |_| (), other);
    let output = hub.run_expecting(3, &["verify", path.to_str().unwrap(), "--drill"]);
    let said = stdout(&output);
    let expected = "us_lex is no table of users' rows of the extension another here";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_table_of_an_extension_that_refuses_its_rows_costs_no_other() {
    let server = server();
    let source = server.database();
    if !is_there(&source, "pg_partman") {
        return;
    }
    // The extension's CHECK is gone at the source alone.
    source.execute(
        "CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman;
         CREATE TABLE event (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
         SELECT partman.create_parent('public.event', 'at', 'native', 'daily');
         INSERT INTO partman.custom_time_partitions VALUES ('public.event', 'x', '[2026-01-01,2026-01-02)');
         DO $$ DECLARE name name; BEGIN FOR name IN SELECT conname FROM pg_constraint
             WHERE conrelid = 'partman.part_config'::regclass AND contype = 'c' LOOP
             EXECUTE format('ALTER TABLE partman.part_config DROP CONSTRAINT %I', name); END LOOP; END $$;
         UPDATE partman.part_config SET partition_type = 'of another kind'",
    );
    let (hub, _drills) = drilling(&source);
    let output = hub.run_expecting(3, &["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    let reason = record["proof"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("the rows of partman.part_config could not be loaded: ")
            && !reason.contains("custom_time_partitions"),
        "{reason}"
    );
    assert_eq!(record["state"], "unproven", "{record}");
}
