//! Large tables with and without scans of a range of pages, temporal keys of 18, objects that `pg_dump` cannot restore,
//! and a role without rights.

use crate::hub::{stderr, stdout};
use crate::servers::{Client, MAJORS, Running, long_form};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{execute, value};
use serde_json::Value;

#[test]
fn a_large_table_is_read_in_ranges_where_the_server_can() {
    let majors = if long_form() {
        &MAJORS[..]
    } else {
        &[13, 14, 18]
    };
    for major in majors {
        let running = Running::start(*major, &[]);
        running.server.create_database("hub").unwrap();
        execute(
            &running.admin("hub"),
            "CREATE TABLE large (id bigint, payload text);
             INSERT INTO large SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 110000) n;
             DELETE FROM large WHERE id BETWEEN 20000 AND 50000; ANALYZE",
        );
        let plan = "EXPLAIN SELECT * FROM large WHERE ctid >= '(100,0)' AND ctid < '(200,0)'";
        let scan = value(&running.admin("hub"), plan);
        assert_eq!(
            scan.contains("Tid Range Scan"),
            *major >= 14,
            "{major}: {scan}"
        );
        let (hub, _drills) = running.hub("hub", Client::Newest);
        let (record, _) = hub.backup();
        assert_eq!(record["state"], "proven", "{record}");
        assert_eq!(record["tables"][0]["rows"], 79_999);
        let output = hub.run(&["backup", "--dry-run", "--json"]);
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        let extents = plan["tables"][0]["extents"].as_u64().unwrap();
        assert_eq!(extents > 1, *major >= 14, "{major}: {extents} extents");
    }
}

#[test]
fn a_window_includes_the_periods_that_its_rows_reference() {
    let running = Running::start(18, &[]);
    running.nasty_database("hub");
    let (mut hub, _drills) = running.hub("hub", Client::Newest);
    // One stay of three months in room 1, and none of rooms 2 and 3.
    hub.write(
        "[scope]\ntables = [\"multi\"]\n[[scope.window]]\ntables = [\"stays\"]\nwhere = \"room = 1\"\n",
    );
    let (record, _) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let tables = record["tables"].as_array().unwrap();
    let of = |name: &str| tables.iter().find(|table| table["name"] == name).unwrap();
    assert_eq!(
        (&of("stays")["rows"], &of("rooms")["rows"]),
        (&1.into(), &3.into())
    );
}

#[test]
fn objects_that_pg_dump_cannot_restore_are_never_proven() {
    // PostgreSQL does not compare exclusion constraints when an index is attached to the one above
    // (CompareIndexInfo), which the definitions of such a partitioned table ask for.
    let with_17 = "CREATE TABLE apart (k int4range, during tsrange, EXCLUDE USING gist (k WITH =, during WITH &&))
        PARTITION BY RANGE (k);
        CREATE TABLE apart_all PARTITION OF apart FOR VALUES FROM (MINVALUE) TO (MAXVALUE)";
    let with_18 =
        "CREATE TABLE apart (k int4range, during tsrange, PRIMARY KEY (k, during WITHOUT OVERLAPS))
        PARTITION BY RANGE (k);
        CREATE TABLE apart_all PARTITION OF apart FOR VALUES FROM (MINVALUE) TO (MAXVALUE)";
    for (major, sql) in [(17, with_17), (18, with_18)] {
        let running = Running::start(major, &[]);
        running.server.create_database("hub").unwrap();
        execute(&running.admin("hub"), sql);
        let (hub, _drills) = running.hub("hub", Client::Newest);
        let output = hub.run(&["backup"]);
        let said = stdout(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains("unproven: rows equal; not rebuilt")
                && said.contains("cannot attach index"),
            "{said}"
        );
    }
}

#[test]
fn a_not_null_constraint_that_rows_break_comes_back_as_it_was() {
    let running = Running::start(18, &[]);
    running.server.create_database("hub").unwrap();
    let rows = "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, NULL), (2, 2);
        ALTER TABLE t ADD CONSTRAINT v_set NOT NULL v NOT VALID;
        CREATE TABLE parted (k int, v int) PARTITION BY LIST (k);
        CREATE TABLE part PARTITION OF parted FOR VALUES IN (1); INSERT INTO parted VALUES (1, NULL);
        ALTER TABLE parted ADD CONSTRAINT v_set NOT NULL v NOT VALID";
    execute(&running.admin("hub"), rows);
    let (mut hub, _drills) = running.hub_at(&running.admin("hub"), Client::Newest);
    hub.set("PROOF_SCRIPT", "always");
    let (record, _) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    assert!(record["proof"]["drill"]["script"].is_string(), "{record}");
    let back = ["restore", "latest", "--create", "--database", "back"];
    hub.run_expecting(0, &back);
    let made = "SELECT string_agg(conrelid::regclass::text || convalidated, ' ' ORDER BY conrelid::regclass::text) FROM pg_constraint
        WHERE conname = 'v_set'";
    let expected = value(&running.admin("hub"), made);
    assert_eq!(value(&running.admin("back"), made), expected);
    assert!(expected.contains("tfalse"), "{expected}");
}

#[test]
fn a_role_without_rights_gets_the_statements_that_it_lacks() {
    for major in [MAJORS[0], MAJORS[5]] {
        let running = Running::start(major, &[]);
        running.nasty_database("hub");
        let admin = running.admin("hub");
        // The statements are read line by line here.
        execute(&admin, "DROP TABLE \"line\nbreak\"");
        execute(
            &admin,
            "CREATE ROLE bare LOGIN; ALTER ROLE bare SET default_transaction_read_only = on",
        );
        let bare = ConnectSettings {
            user: "bare".into(),
            ..admin.clone()
        };
        let (hub, _drills) = running.hub_at(&bare, Client::Newest);
        let mut rounds = 0;
        loop {
            let output = hub.run(&["backup", "--dry-run"]);
            let said = format!("{}{}", stdout(&output), stderr(&output));
            let missing: Vec<&str> = said
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with("GRANT ") || line.starts_with("ALTER ROLE "))
                .collect();
            if missing.is_empty() {
                assert_eq!(output.status.code(), Some(0), "{said}");
                break;
            }
            execute(&admin, &missing.join("\n"));
            rounds += 1;
            // First what hinders the definitions, then what hinders the rows.
            assert!(rounds <= 2, "{said}");
        }
        assert!(
            rounds > 0,
            "PostgreSQL {major}: the role may read what nobody let it"
        );
        let (record, _) = hub.backup();
        assert_eq!(record["state"], "proven", "PostgreSQL {major}: {record}");
        assert_eq!(
            value(
                &admin,
                "SELECT rolsuper FROM pg_roles WHERE rolname = 'bare'"
            ),
            "f"
        );
    }
}
