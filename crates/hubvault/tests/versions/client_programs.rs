//! Client programs that are older or newer than the server or the archive.

use crate::hub::{stderr, stdout};
use crate::servers::{Client, MAJORS, Running};
use hubvault_testkit::{execute, extract, restore_at, value};

const SMALL: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1000) n;
    CREATE INDEX ON users (name);";

fn database_of_users(major: u32) -> Running {
    let running = Running::start(major, &[]);
    running.server.create_database("hub").unwrap();
    execute(&running.admin("hub"), SMALL);
    running
}

#[test]
fn a_pg_dump_older_than_the_server_is_refused_with_what_to_install() {
    let old = Client::System.major();
    let newer: Vec<u32> = MAJORS.into_iter().filter(|major| *major > old).collect();
    assert!(
        !newer.is_empty(),
        "the system's pg_dump {old} is older than none of {MAJORS:?}"
    );
    for major in newer {
        let running = database_of_users(major);
        let (hub, drills) = running.hub("hub", Client::System);
        let needed = format!("version {major} or newer is needed");
        let found = format!("found: {old}.");
        let install = format!("postgresql-client-{major}");
        hub.backup_fails(1, &["pg_dump", &needed, &found, &install]);
        assert!(drills.path().read_dir().unwrap().next().is_none());
        // Before the night in which it would have failed.
        let output = hub.run_expecting(1, &["backup", "--dry-run"]);
        assert!(stderr(&output).contains(&needed), "{}", stderr(&output));
    }
}

#[test]
fn definitions_too_new_for_the_clients_pg_restore_are_reported() {
    let old = Client::System.major();
    assert!(
        old < 17,
        "the system's pg_restore {old} reads what the newest pg_dump writes"
    );
    let running = database_of_users(old);
    let (hub, _drills) = running.hub("hub", Client::Newest);
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    let newest = Client::Newest.major();

    let output = hub
        .command(&["restore", "latest", "--database", "back", "--no-progress"])
        .env("PATH", running.path(Client::System))
        .env("POSTGRES_USER", "postgres")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    running.server.create_database("back").unwrap();
    let restore = |client: Client| {
        hub.command(&[
            "restore",
            "latest",
            "--database",
            "back",
            "--create-roles",
            "--no-progress",
        ])
        .env("PATH", running.path(client))
        .env("POSTGRES_USER", "postgres")
        .output()
        .unwrap()
    };
    let output = restore(Client::System);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("pg_restore: version 17 or newer is needed"),
        "{said}"
    );

    let unpacked = tempfile::tempdir().unwrap();
    extract(&archive, unpacked.path());
    let info = std::fs::read_to_string(unpacked.path().join("BACKUP_INFO.txt")).unwrap();
    assert!(info.contains(&format!("pg_dump {newest}.")), "{info}");
    let to = running.admin("back");
    let output = restore_at(
        unpacked.path(),
        &to,
        Some(&running.path(Client::System)),
        &[],
    );
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("which pg_dump {newest}.")) && said.contains("install"),
        "{said}"
    );

    // Neither left anything, and neither says that the archive is bad.
    assert_eq!(
        value(&to, "SELECT count(*) FROM pg_class WHERE oid >= 16384"),
        "0"
    );
    let output = hub
        .command(&["verify", "latest", "--drill"])
        .env("PATH", running.path(Client::System))
        .output()
        .unwrap();
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("unproven") && said.contains("version 17 or newer"),
        "{said}"
    );

    assert_eq!(restore(Client::Newest).status.code(), Some(0));
    assert_eq!(value(&to, "SELECT count(*) FROM users"), "1000");
}

#[test]
fn errors_of_an_older_server_are_reported_although_pg_restore_fails_on_it() {
    let running = database_of_users(MAJORS[0]);
    let (hub, _drills) = running.hub("hub", Client::Newest);
    let (_, archive) = hub.backup();
    running.server.create_database("back").unwrap();
    let to = running.admin("back");
    // In the way of the index, and of nothing before it.
    let in_the_way = "CREATE TABLE other (); CREATE VIEW users_name_idx AS SELECT 1";
    execute(&to, in_the_way);
    let output = hub
        .command(&[
            "restore",
            "latest",
            "--database",
            "back",
            "--create-roles",
            "--no-progress",
        ])
        .env("PATH", running.path(Client::Newest))
        .env("POSTGRES_USER", "postgres")
        .output()
        .unwrap();
    let said = stderr(&output) + &stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("\"users_name_idx\" already exists"), "{said}");
    assert!(!said.contains("transaction_timeout"), "{said}");

    running.server.create_database("again").unwrap();
    let to = running.admin("again");
    execute(&to, in_the_way);
    let unpacked = tempfile::tempdir().unwrap();
    extract(&archive, unpacked.path());
    let output = restore_at(
        unpacked.path(),
        &to,
        Some(&running.path(Client::Newest)),
        &["--create-roles"],
    );
    let said = stderr(&output) + &stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("\"users_name_idx\" already exists"), "{said}");
    assert!(!said.contains("transaction_timeout"), "{said}");
}
