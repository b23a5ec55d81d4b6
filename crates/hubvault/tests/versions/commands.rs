//! Every command that connects to a server, on the oldest and the newest version (all in the long form).

use crate::hub::{Hub, stderr, stdout};
use crate::servers::{Client, MAJORS, Running, long_form};
use hubvault_testkit::{digests, execute, extract, restore_at, value};
use serde_json::Value;
use std::path::Path;

/// hubvault as whoever may write.
fn as_superuser(hub: &Hub, arguments: &[&str], code: i32) -> String {
    let mut command = hub.command(arguments);
    let output = command.env("POSTGRES_USER", "postgres").output().unwrap();
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

#[test]
fn every_restore_command_works_on_every_version() {
    let majors = if long_form() { &MAJORS[..] } else { &[13, 18] };
    for major in majors {
        let running = Running::start(*major, &[]);
        running.nasty_database("hub");
        execute(&running.admin("hub"), PARTITIONS);
        let (hub, _drills) = running.hub("hub", Client::Newest);
        let (_, archive) = hub.backup();
        check_database(&hub);
        check_single_rows(&running, &hub);
        check_partition(&running, &hub);
        check_existing_tables(&running, &hub, &archive);
    }
}

#[test]
fn an_older_server_gets_nothing_of_a_newer_one_unless_it_is_tried() {
    let [old, new] = [13, 14].map(|major| Running::start(major, &[]));
    for one in [&old, &new] {
        one.server.create_database("hub").unwrap();
    }
    execute(&new.admin("hub"), "CREATE TABLE t AS SELECT 1 AS id");
    let (hub, _drills) = new.hub("hub", Client::Newest);
    hub.backup();
    let admin = old.admin("hub");
    let url = format!("host='{}' user='{}' dbname='hub'", admin.host, admin.user);
    let restore = ["restore", "latest", "--to", &url];
    let said = stderr(&hub.run_expecting(1, &restore));
    assert!(
        said.contains("comes from PostgreSQL 14 and the target runs 13")
            && said.contains("--force"),
        "{said}"
    );
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 't'";
    assert_eq!(value(&admin, tables), "0");
    hub.run_expecting(0, &[restore.as_slice(), &["--force"]].concat());
    assert_eq!(value(&admin, "SELECT id FROM t"), "1");
}

/// Before 15, a partition has the triggers of its table as the server's own.
const PARTITIONS: &str = "
    CREATE TABLE pieces (id int, v text) PARTITION BY RANGE (id);
    CREATE TABLE pieces_0 PARTITION OF pieces FOR VALUES FROM (0) TO (10);
    INSERT INTO pieces SELECT n, 'v' || n FROM generate_series(0, 9) n;
    CREATE FUNCTION refuse_pieces() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $q$no rows$q$; END';
    CREATE TRIGGER one BEFORE INSERT ON pieces FOR EACH ROW EXECUTE FUNCTION refuse_pieces();
    ALTER TABLE pieces ENABLE ALWAYS TRIGGER one; ALTER TABLE pieces_0 ENABLE ALWAYS TRIGGER one;";

/// The rows of one partition come back without the triggers that it has from above, which are as they were afterwards.
fn check_partition(running: &Running, hub: &Hub) {
    let admin = running.admin("hub");
    let before = digests(&admin);
    execute(&admin, "TRUNCATE pieces_0");
    as_superuser(hub, &["restore", "latest", "--table", "pieces_0"], 0);
    assert_eq!(digests(&admin), before, "PostgreSQL {}", running.major);
    let enabled = "SELECT string_agg(tgenabled::text, '') FROM pg_trigger WHERE tgname = 'one'";
    assert_eq!(value(&admin, enabled), "AA", "PostgreSQL {}", running.major);
}

fn check_database(hub: &Hub) {
    let output = hub.run(&["check", "database", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    let listed = stdout(&hub.run(&["list"]));
    assert!(listed.contains("proven"), "{listed}");
}

/// Rows that were deleted and changed are found and put back: by primary keys, also one of periods,
/// in tables with columns that are computed and numbers that are given.
fn check_single_rows(running: &Running, hub: &Hub) {
    let admin = running.admin("hub");
    let before = digests(&admin);
    let mut tables = vec!["kinds", "texts"];
    execute(
        &admin,
        "DELETE FROM kinds WHERE id = 2; DELETE FROM texts WHERE id < 4; UPDATE texts SET v = 'other' WHERE id = 9",
    );
    if running.major >= 18 {
        tables.extend(["computed", "rooms"]);
        execute(
            &admin,
            "DELETE FROM computed WHERE a = 3; DELETE FROM rooms WHERE id = 3; UPDATE rooms SET price = 1 WHERE id = 1",
        );
    }
    let mut diff = vec!["diff", "latest", "--no-progress"];
    let mut put_back = vec!["restore", "latest", "--upsert", "--no-progress"];
    for table in &tables {
        diff.extend(["--table", table]);
        put_back.extend(["--table", table]);
    }
    let said = as_superuser(hub, &diff, 3);
    assert!(said.contains("texts"), "{said}");
    as_superuser(hub, &put_back, 0);
    as_superuser(hub, &diff, 0);
    assert_eq!(digests(&admin), before, "PostgreSQL {}", running.major);

    let beside = [
        "restore",
        "latest",
        "--table",
        tables[tables.len() - 1],
        "--into-schema",
        "recovered",
    ];
    as_superuser(hub, &beside, 0);
    execute(&admin, "DROP SCHEMA recovered CASCADE; TRUNCATE texts");
    as_superuser(hub, &["restore", "latest", "--table", "texts"], 0);
    assert_eq!(digests(&admin), before, "PostgreSQL {}", running.major);
}

/// `--clean` drops what is there first, through hubvault and through the archive's own script.
fn check_existing_tables(running: &Running, hub: &Hub, archive: &Path) {
    let admin = running.admin("hub");
    let before = digests(&admin);
    execute(&admin, "DELETE FROM texts; CREATE TABLE later (id int)");
    as_superuser(hub, &["restore", "latest", "--database", "hub"], 1);
    as_superuser(
        hub,
        &["restore", "latest", "--database", "hub", "--clean", "--yes"],
        0,
    );
    execute(&admin, "DROP TABLE later");
    assert_eq!(digests(&admin), before, "PostgreSQL {}", running.major);

    execute(&admin, "DELETE FROM texts");
    let unpacked = tempfile::tempdir().unwrap();
    extract(archive, unpacked.path());
    let path = running.path(Client::Newest);
    for (options, code) in [(&[][..], 1), (&["--clean"], 0)] {
        let output = restore_at(unpacked.path(), &admin, Some(&path), options);
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!(
            output.status.code(),
            Some(code),
            "PostgreSQL {}: {said}",
            running.major
        );
    }
    assert_eq!(digests(&admin), before, "PostgreSQL {}", running.major);
    assert_eq!(value(&admin, "SELECT count(*) FROM texts"), "21");
}
