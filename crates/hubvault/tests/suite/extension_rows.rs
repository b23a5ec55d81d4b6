//! Rows of users in tables of extensions are backed up, proven and restored, in every way that brings rows back.

use crate::bad_input::run_statements;
use crate::drill::drilling;
use crate::hub::{Hub, stderr, stdout};
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

#[test]
fn rows_that_an_extension_marks_as_the_users_come_back() {
    let server = server();
    let source = server.database();
    if source.value("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_partman'") == "0"
    {
        eprintln!("skipped: pg_partman is not installed");
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
