//! Runs and their logs, looked up: `logs`, parts of `list`, completions where the shell finds them.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{USERS, database_with};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_log_of_a_run_is_printed_and_says_why_it_failed() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    let said = stderr(&hub.run_expecting(1, &["logs"]));
    assert!(said.contains("there was no run"), "{said}");
    let (record, _) = hub.backup();
    let id = record["id"].as_str().unwrap();
    hub.set("POSTGRES_PASSWORD", "hunter2-secret");
    hub.set("POSTGRES_DB", "no_such_database");
    hub.run_expecting(1, &["backup"]);
    for arguments in [&["logs", id][..], &["logs", &id[..8]], &["logs", "latest"]] {
        let log = stdout(&hub.run_expecting(0, arguments));
        assert!(
            log.contains("INFO export") && !log.contains("error:"),
            "{log}"
        );
    }
    for arguments in [&["logs"][..], &["logs", "--follow"]] {
        let log = stdout(&hub.run_expecting(0, arguments));
        let reasons = log.matches("error: postgres@").count();
        assert!(reasons == 1 && !log.contains("hunter2"), "{log}");
    }
    let document = json(&stdout(&hub.run_expecting(0, &["logs", "--json"])));
    assert_eq!(document["state"], "failed");
    assert!(
        document["lines"].is_array() && document["error"].is_string(),
        "{document}"
    );
    let file = document["file"].as_str().unwrap();
    std::fs::remove_file(file).unwrap();
    let said = stderr(&hub.run_expecting(1, &["logs"]));
    assert!(
        said.contains(file) && said.contains("newest 200 runs"),
        "{said}"
    );
}

#[test]
fn the_log_of_a_run_is_followed_until_it_ends() {
    let database = database_with(USERS);
    let place = tempfile::tempdir().unwrap();
    let go = place.path().join("go");
    let hook = format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n[[hook]]\nstage = \"export\"\nwhen = \"before\"\n\
         command = \"until [ -e {} ]; do sleep 0.1; done\"\n",
        go.display()
    );
    let hub = Hub::with(&database, &hook);
    let mut run = hub
        .command(&["backup"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    lines
        .find(|line| line.as_ref().unwrap().contains("files"))
        .unwrap()
        .unwrap();
    let mut follower = hub
        .command(&["logs", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(follower.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    printed.find(|line| line.contains("INFO files")).unwrap();
    assert!(
        follower.try_wait().unwrap().is_none(),
        "it waits for the run"
    );
    std::fs::write(go, "").unwrap();
    printed.find(|line| line.contains("INFO publish")).unwrap();
    assert_eq!(printed.last(), None, "what comes after the last line");
    assert!(follower.wait().unwrap().success());
    lines.for_each(drop);
    // Unproven, as nothing was drilled.
    assert_eq!(run.wait().unwrap().code(), Some(3));
}

#[test]
fn the_list_is_cut_by_number_time_and_outcome() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    let (good, _) = hub.backup();
    hub.set("POSTGRES_DB", "no_such_database");
    hub.run_expecting(1, &["backup"]);
    let listed = |arguments: &[&str]| {
        let all = json(&stdout(
            &hub.run_expecting(0, &[&["list", "--json"], arguments].concat()),
        ));
        let states = all.as_array().unwrap().iter();
        states
            .map(|one| one["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), ["failed", "unproven"]);
    assert_eq!(listed(&["--failed"]), ["failed"]);
    assert_eq!(listed(&["--limit", "1"]), ["failed"]);
    assert_eq!(listed(&["--since", "1h"]).len(), 2);
    assert_eq!(listed(&["--since", "2000-01-01"]).len(), 2);
    let after: jiff::Timestamp = good["started_at"].as_str().unwrap().parse().unwrap();
    let after = after
        .checked_add(jiff::SignedDuration::from_nanos(1))
        .unwrap()
        .to_string();
    assert_eq!(listed(&["--since", &after]), ["failed"]);
    let none = stdout(&hub.run_expecting(0, &["list", "--since", "2999-01-01"]));
    assert!(none.starts_with("no such runs in "), "{none}");
    let said = stderr(&hub.run_expecting(2, &["list", "--since", "yesterday"]));
    assert!(said.contains("2026-01-31"), "{said}");
}

#[test]
fn completions_are_installed_and_never_over_a_foreign_file() {
    let database = database_with("CREATE TABLE users (id int)");
    let mut hub = Hub::whole(&database);
    let home = tempfile::tempdir().unwrap();
    hub.set("HOME", home.path().to_str().unwrap());
    for (shell, place) in [
        ("bash", ".local/share/bash-completion/completions/hubvault"),
        ("fish", ".config/fish/completions/hubvault.fish"),
        ("zsh", ".zfunc/_hubvault"),
    ] {
        let path = home.path().join(place);
        let install = ["completions", shell, "--install"];
        let said = stdout(&hub.run_expecting(0, &install));
        assert!(said.contains(path.to_str().unwrap()), "{said}");
        let printed = stdout(&hub.run_expecting(0, &["completions", shell]));
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.starts_with(printed.trim_end()), "{shell}");
        // Its own is replaced, and a foreign one only by force.
        let again = hub.run_expecting(0, &[&install[..], &["--json"]].concat());
        assert_eq!(json(&stdout(&again))["file"], path.to_str().unwrap());
        std::fs::write(&path, "mine").unwrap();
        let said = stderr(&hub.run_expecting(1, &install));
        assert!(said.contains("--force"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        std::fs::remove_file(&path).unwrap();
        let target = home.path().join("target");
        std::fs::write(&target, &written).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        hub.run_expecting(1, &install);
        hub.run_expecting(0, &[&install[..], &["--force"]].concat());
        assert!(path.symlink_metadata().unwrap().is_file());
    }
    let said = stderr(&hub.run_expecting(1, &["completions", "elvish", "--install"]));
    assert!(said.contains("prints the script"), "{said}");
    hub.run_expecting(2, &["completions", "bash", "--force"]);
}
