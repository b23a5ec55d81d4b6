//! A run outlives the terminal that it was started from.

use crate::hub::{HUBVAULT, Hub, stdout};
use crate::interrupted::MIDDLE;
use hubvault_testkit::{database_with, wait_for};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

/// A hub whose run stands still in its hook after `begun` until there is `go`.
fn hub_that_waits(hub: &mut Hub, directory: &Path) {
    let at = directory.display();
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[[hook]]\nstage = \"export\"\nwhen = \"before\"\n\
         timeout = \"5 min\"\ncommand = \"cd {at}; touch begun; until test -e go; do sleep 0.05; done\"\n"
    ));
}

fn runs(hub: &Hub) -> Vec<Value> {
    serde_json::from_slice(&hub.run(&["list", "--json"]).stdout).unwrap_or_default()
}

/// Lets the run go on, and waits until it has ended as a run that nothing disturbed.
#[track_caller]
fn goes_on(hub: &Hub, directory: &Path) {
    fs::write(directory.join("go"), "").unwrap();
    let state = || {
        runs(hub)[0]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    wait_for(|| state() != "running", || stdout(&hub.run(&["list"])));
    assert_eq!(
        state(),
        "proven",
        "{}",
        stdout(&hub.run(&["show", "latest"]))
    );
}

fn begins(directory: &Path) {
    wait_for(
        || directory.join("begun").exists(),
        || "the run to begin".to_owned(),
    );
}

/// A backup on a terminal of its own, as its session's leader: `script` is what holds the terminal.
fn on_a_terminal(hub: &Hub, arguments: &str) -> Child {
    hub.command_of("script")
        .args(["-qec", &format!("exec {HUBVAULT} {arguments}"), "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_run_goes_on_when_its_terminal_is_closed() {
    let database = database_with(MIDDLE);
    for arguments in ["backup", "backup --no-progress", "backup --json"] {
        let directory = tempfile::tempdir().unwrap();
        let mut hub = Hub::whole(&database);
        hub_that_waits(&mut hub, directory.path());
        let _drills = hub.prove();
        let mut terminal = on_a_terminal(&hub, arguments);
        begins(directory.path());
        // As a connection that is lost: nobody says good-bye. The kernel hangs up on everybody in the session.
        terminal.kill().unwrap();
        terminal.wait().unwrap();
        goes_on(&hub, directory.path());
    }
}

#[test]
fn a_hang_up_of_the_whole_process_group_ends_no_run() {
    let database = database_with(MIDDLE);
    let directory = tempfile::tempdir().unwrap();
    let mut hub = Hub::whole(&database);
    hub_that_waits(&mut hub, directory.path());
    let _drills = hub.prove();
    let mut run = hub
        .command(&["backup"])
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let group = Pid::from_raw(run.id().cast_signed()).unwrap();
    let hang_up = || kill_process_group(group, Signal::HUP).unwrap();
    begins(directory.path());
    hang_up();
    fs::write(directory.path().join("go"), "").unwrap();
    // And again and again: the workers, pg_dump, the drill's server and pg_restore are all met.
    let ended = loop {
        if let Some(status) = run.try_wait().unwrap() {
            break status;
        }
        hang_up();
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    assert_eq!(ended.code(), Some(0));
    assert_eq!(runs(&hub)[0]["state"], "proven");
}

#[test]
fn nobody_who_reads_its_output_is_no_reason_to_end_a_run() {
    let database = database_with("CREATE TABLE users AS SELECT 1 AS id");
    let mut hub = Hub::whole(&database);
    let _drills = hub.prove();
    hub.set("LOG_LEVEL", "debug");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut run = hub
        .command(&["backup"])
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_eq!(runs(&hub)[0]["state"], "proven");
}
