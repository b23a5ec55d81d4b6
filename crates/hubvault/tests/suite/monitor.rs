//! The checks of the monitor, each with a real fault.

use crate::hub::{Hub, stderr, stdout};
use crate::retention::next_second;
use hubvault_testkit::{database_with, server};
use serde_json::Value;

pub(crate) const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY);
    INSERT INTO users SELECT generate_series(1, 1000);";
/// Every archive but the newest would go.
const GREEDY: &str =
    "[scope]\ntables = [\"*\"]\nwindow = []\n[retention]\ndays = 0\nkeep_last = 0\n";

fn warnings<'a>(record: &'a Value, code: &str) -> Vec<&'a str> {
    let all = record["warnings"].as_array().unwrap().iter();
    all.filter(|warning| warning["code"] == code)
        .map(|warning| warning["message"].as_str().unwrap())
        .collect()
}

#[test]
fn the_last_archive_with_lost_rows_is_never_removed() {
    let database = database_with(USERS);
    let mut hub = Hub::with(&database, GREEDY);
    hub.set("PROOF", "always");
    let (record, first) = hub.backup();
    assert_eq!(record["state"], "proven");
    next_second();
    // A day like any other keeps nothing.
    let (record, second) = hub.backup();
    assert!(!first.exists() && second.exists());
    assert!(warnings(&record, "rows").is_empty());
    let id = record["id"].as_str().unwrap()[..8].to_owned();

    database.execute("DELETE FROM users WHERE id > 10");
    next_second();
    let (record, third) = hub.backup();
    let said = warnings(&record, "rows");
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with(&format!(
            "users fell from 1,000 rows to 10 since backup {id}; that archive is pinned now"
        )),
        "{said:?}"
    );
    assert!(second.exists() && third.exists());
    assert!(stdout(&hub.run(&["list"])).contains("(pinned)"));
    assert!(stdout(&hub.run(&["status"])).contains("users fell from 1,000"));

    // The next one is compared with the smaller one, and the pin is kept.
    next_second();
    let (record, _) = hub.backup();
    assert!(warnings(&record, "rows").is_empty());
    assert!(second.exists() && !third.exists());
}

/// What one check finds: state, what, next.
pub(crate) fn run_check(hub: &Hub, check: &str) -> (String, String, String) {
    let output = hub.run(&["check", check, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1);
    let text = |key: &str| findings[0][key].as_str().unwrap().to_owned();
    let is_failing = text("state") == "failing";
    assert_eq!(output.status.code(), Some(i32::from(is_failing)));
    assert_eq!(report["ok"], !is_failing);
    assert_eq!(text("next").is_empty(), !is_failing, "{findings:?}");
    (text("state"), text("what"), text("next"))
}

#[track_caller]
pub(crate) fn assert_fails(hub: &Hub, check: &str, word: &str) {
    let (state, what, _) = run_check(hub, check);
    assert_eq!(state, "failing", "{what}");
    assert!(what.contains(word), "{what}");
}

#[track_caller]
pub(crate) fn assert_passes(hub: &Hub, check: &str) {
    let (state, what, _) = run_check(hub, check);
    assert_eq!(state, "ok", "{what}");
}

#[test]
fn a_passed_check_is_one_line_and_exit_code_0() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    hub.set("PROOF", "always");
    let before = hub.run_expecting(1, &["check"]);
    let said = stdout(&before);
    assert!(
        said.contains("FAILING  time      there is no proven backup\n"),
        "{said}"
    );
    assert!(said.contains("-> hubvault backup takes one"), "{said}");
    hub.backup();
    let output = hub.run(&["check"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}{}", stderr(&output));
    let names: Vec<&str> = said
        .lines()
        .map(|line| line[9..].split(' ').next().unwrap())
        .collect();
    assert_eq!(names, hubvault_engine::monitor::NAMES);
    assert!(
        said.contains("skipped  seal      archives are not sealed"),
        "{said}"
    );

    let output = hub.run_expecting(2, &["check", "tme"]);
    assert!(
        stderr(&output).contains("did you mean time?"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn missing_truncated_and_damaged_archives_are_reported() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    let (_, archive) = hub.backup();
    assert_passes(&hub, "files");
    let good = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &good[1..]).unwrap();
    assert_fails(&hub, "files", "and was published with");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&archive, &bad).unwrap();
    assert_fails(&hub, "files", archive.to_str().unwrap());
    std::fs::remove_file(&archive).unwrap();
    assert_fails(&hub, "files", "is missing");
    std::fs::write(&archive, &good).unwrap();
    assert_passes(&hub, "files");
}

#[test]
fn a_removed_archive_is_reported_until_it_is_accepted() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    let run = |arguments: &[&str]| {
        let output = hub.run(arguments);
        (
            output.status.code(),
            stdout(&output) + &stderr(&output),
            output,
        )
    };
    let (record, first) = hub.backup();
    next_second();
    let (_, second) = hub.backup();
    let copy = std::fs::read(&first).unwrap();
    std::fs::remove_file(&first).unwrap();
    let (state, _, next) = run_check(&hub, "files");
    assert_eq!(state, "failing");
    assert!(next.contains("hubvault prune --gone"), "{next}");

    // Neither a plain prune nor a rehearsal ends it.
    run(&["prune"]);
    let (code, said, _) = run(&["prune", "--gone", "--dry-run"]);
    assert!(
        code == Some(0) && said.contains(first.to_str().unwrap()),
        "{said}"
    );
    assert_fails(&hub, "files", first.to_str().unwrap());
    let (code, _, output) = run(&["prune", "--gone", "--json"]);
    assert_eq!(code, Some(0));
    let accepted: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(accepted.as_array().unwrap().len(), 1);
    assert_eq!(
        (&accepted[0]["id"], &accepted[0]["decision"]),
        (&record["id"], &Value::from("gone"))
    );
    assert_passes(&hub, "files");
    let listed = stdout(&hub.run(&["list"]));
    assert!(listed.contains("(missing, accepted)"), "{listed}");
    assert!(second.exists(), "nothing else was touched");

    // It comes back from a copy.
    std::fs::write(&first, &copy[1..]).unwrap();
    assert_passes(&hub, "files");
    std::fs::write(&first, &copy).unwrap();
    let (code, said, _) = run(&["catalog", "rebuild"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("0 added, 1 found again, 1 known already"),
        "{said}"
    );
    let (_, what, _) = run_check(&hub, "files");
    assert!(what.starts_with("2 archives"), "{what}");

    // All are missing: the alert ends, too.
    std::fs::remove_file(&first).unwrap();
    std::fs::remove_file(&second).unwrap();
    assert_fails(&hub, "files", second.to_str().unwrap());
    run(&["prune", "--gone"]);
    assert_passes(&hub, "files");
    let (_, said, _) = run(&["prune", "--gone"]);
    assert!(said.contains("no archive is missing"), "{said}");
}

#[test]
fn archives_of_a_missing_directory_do_not_count_as_removed() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    hub.backup();
    // Its disk is not there, and the catalog is in another place by now.
    let moved = Hub::whole(&database);
    let state = |hub: &Hub| hub.backups().join(".hubvault");
    std::fs::rename(state(&hub), state(&moved)).unwrap();
    drop(hub);
    let output = moved.run_expecting(3, &["prune", "--gone"]);
    assert!(
        stderr(&output).contains("is a disk missing?"),
        "{}",
        stderr(&output)
    );
    assert_fails(&moved, "files", "is missing");
}

#[test]
fn a_full_disk_and_an_unreadable_database_are_reported() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    assert_passes(&hub, "disk");
    assert_passes(&hub, "database");
    let scope = "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n";
    hub.write(&format!("{scope}[monitor]\nmin_free_mb = 1000000000\n"));
    assert_fails(&hub, "disk", "monitor.min_free_mb");
    hub.write(scope);
    assert_passes(&hub, "disk");

    let role = format!("watcher_{}", database.name());
    database.execute(&format!("CREATE ROLE {role} LOGIN"));
    hub.set("POSTGRES_USER", role.as_str());
    let (state, what, next) = run_check(&hub, "database");
    assert_eq!(state, "failing", "{what}");
    assert!(next.contains("GRANT SELECT ON"), "{next}");
    database.execute(&format!("GRANT SELECT ON users TO {role}"));
    assert_passes(&hub, "database");
    hub.set("POSTGRES_DB", "nothere");
    assert_fails(&hub, "database", "nothere");
    hub.set("POSTGRES_DB", database.name());
    assert_passes(&hub, "database");
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn lost_rows_are_reported_until_they_are_the_new_baseline() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    hub.backup();
    database.execute("DELETE FROM users WHERE id > 10");
    next_second();
    hub.backup();
    assert_fails(&hub, "rows", "users fell from 1,000 rows to 10");
    next_second();
    hub.backup();
    assert_passes(&hub, "rows");
}

#[test]
fn custom_checks_are_limited_and_masked() {
    let server = server();
    let database = server.database();
    let mut hub = Hub::whole(&database);
    hub.set("SMTP_PASS", "hunter2-hunter2");
    hub.write(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n\
         [[check]]\nname = \"flag\"\ncommand = \"test -e flag || { echo no hunter2-hunter2 flag; exit 7; }\"\n\
         [[check]]\nname = \"slow\"\ncommand = [\"sleep\", \"1000\"]\ntimeout = \"300 ms\"\n\
         [[check]]\nname = \"none\"\ncommand = [\"/nowhere/at-all\"]\n",
    );
    let (state, what, next) = run_check(&hub, "flag");
    assert_eq!(state, "failing");
    assert!(
        what.starts_with("exit code 7: no ") && what.ends_with(" flag"),
        "{what}"
    );
    assert!(
        !what.contains("hunter2") && !next.contains("hunter2"),
        "{what} {next}"
    );
    std::fs::write(hub.backups().parent().unwrap().join("flag"), "").unwrap();
    assert_passes(&hub, "flag");
    let shown = stdout(&hub.run(&["config", "show"]));
    assert!(shown.contains("slow: sleep ..."), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_fails(&hub, "slow", "no answer within 0.3 s");
    assert_fails(&hub, "none", "cannot be started");

    hub.write(
        "file = []\n[[check]]\nname = \"time\"\ncommand = \"true\"\n[[check]]\nname = \"a b\"\n",
    );
    let output = hub.run_expecting(2, &["check"]);
    let said = stderr(&output);
    for word in [
        "line 3: check.name: time is a built-in check of hubvault",
        "line 5: check: command is missing",
    ] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

#[test]
fn every_check_is_documented() {
    let page = include_str!("../../../../docs/operations.md");
    for name in hubvault_engine::monitor::NAMES {
        assert!(
            page.contains(&format!("\n### `{name}`\n\n")),
            "{name} is not explained"
        );
    }
}
