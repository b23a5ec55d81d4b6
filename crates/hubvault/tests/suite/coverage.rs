//! What a backup says of what it does not hold, and of what its restore needs.

use crate::hub::{Hub, stdout};
use crate::keys::{text, tool};
use hubvault_testkit::{database_with, restore_with_plain_tools, server};

const SHOP: &str = "
    CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1);
    CREATE TABLE credit_accounts (id int PRIMARY KEY, owner int REFERENCES users);
    INSERT INTO credit_accounts SELECT n, 1 FROM generate_series(1, 5000) n;
    CREATE TABLE logs AS SELECT n FROM generate_series(1, 300) n;
    ANALYZE;";

#[test]
fn what_is_outside_is_said_by_backup_status_and_show() {
    let database = database_with(SHOP);
    let hub = Hub::with(&database, "[scope]\ntables = [\"users\"]\nwindow = []\n");
    let said = stdout(&hub.run_expecting(3, &["backup"]));
    let line = "not inside: 2 tables with about 5,300 rows (credit_accounts refers to users); `hubvault show ";
    assert!(said.contains(line), "{said}");
    let status = stdout(&hub.run(&["status"]));
    assert!(
        status.contains("2 tables with about 5,300 rows"),
        "{status}"
    );
    let shown = stdout(&hub.run(&["show", "latest"]));
    for part in [
        line,
        "credit_accounts, about 5,000 rows: refers to users",
        "logs, about 300 rows: not in the scope",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (record, _) = Hub::whole(&database).backup();
    assert!(record.get("outside").is_none(), "{record}");
}

#[test]
fn a_restored_subscription_has_no_slot_and_secrets_in_definitions_are_said() {
    let database = database_with(
        "CREATE TABLE users (id int PRIMARY KEY); CREATE EXTENSION postgres_fdw;
         CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
         CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'u', password 'geheim');
         CREATE SUBSCRIPTION living CONNECTION 'host=nowhere.invalid password=geheim' PUBLICATION p
             WITH (connect = false, slot_name = 'living_slot')",
    );
    let mut hub = Hub::whole(&database);
    let _drills = hub.prove();
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let info = tool("tar", &["-xOf", text(&archive), "BACKUP_INFO.txt"]);
    let info = stdout(&info);
    for part in [
        "A RESTORE NEEDS",
        "postgres_fdw 1.",
        "far (postgres_fdw)",
        "1 user mapping and 1 subscription hold a password: the archive is as secret",
        "disabled and without a slot",
    ] {
        assert!(info.contains(part), "{part}: {info}");
    }
    let slots = "SELECT count(*) FILTER (WHERE subslotname IS NOT NULL) || ' of ' || count(*) FROM pg_subscription
                 WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let by_script = server().database();
    restore_with_plain_tools(&archive, &by_script);
    assert_eq!(by_script.value(slots), "0 of 1");
    let by_hubvault = server().database();
    hub.run_expecting(0, &["restore", "latest", "--database", by_hubvault.name()]);
    assert_eq!(by_hubvault.value(slots), "0 of 1");
    for database in [&database, &by_script, &by_hubvault] {
        database
            .execute("ALTER SUBSCRIPTION living SET (slot_name = NONE); DROP SUBSCRIPTION living");
    }
}
