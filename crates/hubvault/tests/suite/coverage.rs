//! What a backup says of what it does not hold, and of what its restore needs.

use crate::hub::{Hub, stderr, stdout};
use crate::keys::{text, tool};
use hubvault_testkit::{
    Database, database_with, extract, restore_at, restore_with_plain_tools, server,
};
use std::fs;

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

const SECRETS: &str = "CREATE TABLE users (id int PRIMARY KEY); CREATE EXTENSION postgres_fdw;
    CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
    CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'u', password 'geheim');
    CREATE SUBSCRIPTION living CONNECTION 'host=nowhere.invalid password=geheim' PUBLICATION p
        WITH (connect = false, slot_name = 'living_slot')";

#[test]
fn a_restored_subscription_has_no_slot_and_secrets_in_definitions_are_said() {
    let database = database_with(SECRETS);
    let mut hub = Hub::whole(&database);
    let _drills = hub.prove();
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let warnings = record["warnings"].to_string();
    assert!(
        warnings.contains("1 subscription hold a password, which the archive shows"),
        "{warnings}"
    );
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
    drop_subscriptions(&[&database, &by_script, &by_hubvault]);
}

fn drop_subscriptions(databases: &[&Database]) {
    for database in databases {
        database
            .execute("ALTER SUBSCRIPTION living SET (slot_name = NONE); DROP SUBSCRIPTION living");
    }
}

#[test]
fn masked_passwords_are_nowhere_in_an_archive_and_are_named_by_whoever_restores_it() {
    let database = database_with(SECRETS);
    // A wrapper that nobody knows, with options in places of their own.
    database.execute(
        "CREATE FOREIGN DATA WRAPPER own OPTIONS (token 'geheim');
         CREATE SERVER \"o wn\" FOREIGN DATA WRAPPER own OPTIONS (api_key 'geheim', region 'x', note 'Pwd = geheim', uri 'https://u:geheim@h/');
         CREATE FOREIGN TABLE leaf (id int OPTIONS (secret 'geheim')) SERVER \"o wn\" OPTIONS (\"Pass Word\" 'ge''heim');
         CREATE USER MAPPING FOR PUBLIC SERVER \"o wn\" OPTIONS (id 'geheim')",
    );
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_MASK_PASSWORDS", "true");
    let _drills = hub.prove();
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let all = [
        "foreign data wrapper own",
        "server o wn",
        "foreign table public.leaf",
        "user mapping public SERVER o wn",
        "user mapping postgres SERVER far",
        "subscription living",
    ];
    let says_all = |text: &str| {
        for object in all {
            assert!(text.contains(object), "{object:?} is not in {text}");
        }
    };
    says_all(&record["proof"]["drill"]["notes"].to_string());
    says_all(&stdout(&hub.run(&["show", "latest"])));
    let directory = tempfile::tempdir().unwrap();
    extract(&archive, directory.path());
    assert!(
        !record["warnings"].to_string().contains("password"),
        "{record}"
    );
    says_all(&fs::read_to_string(directory.path().join("BACKUP_INFO.txt")).unwrap());
    let search = "! grep -rlE \"geheim|ge''heim\" \"$0\"";
    tool("sh", &["-c", search, text(directory.path())]);

    let values = "SELECT string_agg(o, ' ' ORDER BY o) FROM (
        SELECT unnest(umoptions) FROM pg_user_mappings UNION ALL SELECT unnest(srvoptions) FROM pg_foreign_server
        UNION ALL SELECT unnest(fdwoptions) FROM pg_foreign_data_wrapper UNION ALL SELECT unnest(ftoptions) FROM pg_foreign_table
        UNION ALL SELECT unnest(attfdwoptions) FROM pg_attribute UNION ALL SELECT subconninfo FROM pg_subscription
            WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())) all_of (o)";
    let expected = "Pass Word=**** api_key=**** host=nowhere.invalid password=**** id=**** note=**** password=**** region=x secret=**** \
                    token=**** uri=**** user=u";
    let by_script = server().database();
    let output = restore_at(directory.path(), &by_script.settings(), None, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    says_all(&stdout(&output));
    let by_hubvault = server().database();
    let words = ["restore", "latest", "--database", by_hubvault.name()];
    says_all(&stderr(&hub.run_expecting(0, &words)));
    for database in [&by_script, &by_hubvault] {
        assert_eq!(database.value(values), expected);
    }
    drop_subscriptions(&[&database, &by_script, &by_hubvault]);
}
