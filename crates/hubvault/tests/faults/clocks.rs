//! Clocks that jump, and two machines that use one directory.

use crate::clock::{UNCHANGED, library, offset};
use crate::fault_harness::FaultHarness;
use crate::hub::{HUBVAULT, Hub, stderr, stdout};
use crate::state::{SMALL, code};
use crate::tally::Tally;
use hubvault_testkit::{database_with, wait_for};
use jiff::Timestamp;
use serde_json::Value;
use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// A run that waits before its export until `go` is there; with three archives to stay.
fn configuration_that_waits(go: &std::path::Path) -> String {
    format!(
        "[retention]\ndays = 30\nkeep_last = 3\n[[hook]]\nstage = \"export\"\nwhen = \"before\"\ntimeout = \"2 min\"\n\
         command = \"while [ ! -e {} ]; do sleep 0.05; done\"\n",
        go.display()
    )
}

/// Runs one command whose clock says `at` when it starts.
pub(crate) fn run_at(hub: &Hub, at: &str, arguments: &[&str]) -> Output {
    hub.command(arguments)
        .env("LD_PRELOAD", library())
        .env("FAKETIME", offset(at))
        .envs(UNCHANGED)
        .output()
        .unwrap()
}

fn log(hub: &Hub) -> String {
    fs::read_to_string(hub.config().join("said")).unwrap_or_default()
}

/// Starts a backup and waits until its export is next.
fn start_until_export(hub: &Hub, mut command: Command) -> Child {
    let file = fs::File::create(hub.config().join("said")).unwrap();
    let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
    wait_for(
        || log(hub).contains("INFO export"),
        || "a run to come to its export".to_owned(),
    );
    child
}

#[test]
fn a_clock_jump_removes_no_backup_and_is_reported() {
    let database = database_with(SMALL);
    let harness = FaultHarness::new(&database, "[retention]\ndays = 30\nkeep_last = 3\n");
    for _ in 0..4 {
        harness.hub.backup();
    }
    let before = harness.proven();
    let mut tally = Tally::new("state-clock");

    let yesterday = (Timestamp::now() - DAY).to_string();
    let output = run_at(&harness.hub, &yesterday, &["backup"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    harness.check_consistency(&before).unwrap();
    assert_eq!(harness.proven().len(), 5, "nothing is removed");
    let check = run_at(&harness.hub, &yesterday, &["check", "clock"]);
    assert_eq!(code(&check), Some(1), "{}", stdout(&check));
    let status = run_at(&harness.hub, &yesterday, &["status"]);
    assert_eq!(code(&status), Some(3), "{}", stdout(&status));
    tally.passed(
        "clock back a day between runs",
        "the backup is proven, nothing is removed, status and check say that the clock is wrong",
    );

    let next_year = (Timestamp::now() + DAY * 365).to_string();
    let before = harness.proven();
    let output = run_at(&harness.hub, &next_year, &["backup"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    harness.check_consistency(&before).unwrap();
    assert_eq!(
        harness.proven().len(),
        3,
        "keep_last holds whatever the clock says"
    );
    let check = harness.hub.run(&["check", "clock"]);
    assert_eq!(code(&check), Some(1), "{}", stdout(&check));
    let before = harness.proven();
    let output = harness.hub.run(&["backup"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    harness.check_consistency(&before).unwrap();
    assert!(before.keys().all(|id| harness.proven().contains_key(id)));
    tally.passed(
        "clock forward a year between runs, and back",
        "what the rules let go is removed and listed so, the last three proven stay; check says that the newest run is from the future",
    );
    tally.finish();
}

#[test]
fn a_clock_jump_during_a_run_does_no_harm() {
    let database = database_with(SMALL);
    let mut tally = Tally::new("state-clock-during");
    for (jump, kind) in [
        ("-86400", "clock back a day during a run"),
        ("+31536000", "clock forward a year during a run"),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (go, clock) = (place.path().join("go"), place.path().join("clock"));
        let harness = FaultHarness::new(&database, &configuration_that_waits(&go));
        fs::write(&go, "").unwrap();
        for _ in 0..3 {
            harness.hub.backup();
        }
        fs::remove_file(&go).unwrap();
        let before = harness.proven();
        fs::write(&clock, "+0\n").unwrap();
        let mut command = harness.hub.command(&["backup"]);
        command
            .env("LD_PRELOAD", library())
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .envs(UNCHANGED);
        let mut run = start_until_export(&harness.hub, command);
        fs::write(clock.with_extension("next"), format!("{jump}\n")).unwrap();
        fs::rename(clock.with_extension("next"), &clock).unwrap();
        fs::write(&go, "").unwrap();
        assert_eq!(
            run.wait().unwrap().code(),
            Some(0),
            "{kind}: {}",
            log(&harness.hub)
        );
        harness.check_consistency(&before).unwrap();
        harness.check_no_leftovers().unwrap();
        assert_eq!(harness.list().unwrap()[0]["state"], "proven");
        let newest = harness.hub.run(&["verify", "latest", "--drill"]);
        assert_eq!(code(&newest), Some(0), "{kind}: {}", stderr(&newest));
        assert!(harness.proven().len() >= 3, "{kind}");
        harness.hub.backup();
        harness.check_consistency(&harness.proven()).unwrap();
        tally.passed(
            kind,
            "the backup is proven, and proven again later; the last three proven stay",
        );
    }
    tally.finish();
}

/// A command of another machine: with a host name of its own, where we may give it one.
fn on_another_machine(hub: &Hub, arguments: &[&str]) -> Command {
    if other_host() == host_name() {
        return hub.command(arguments);
    }
    let mut other = hub.command_of(UNSHARE);
    other.args(ELSEWHERE).arg(HUBVAULT).args(arguments);
    other
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    name.trim().to_owned()
}

/// The name of the other machine: ours, where only root may give out names and we are not root.
fn other_host() -> String {
    let may = Command::new(UNSHARE)
        .args(ELSEWHERE)
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success());
    if may {
        "elsewhere".to_owned()
    } else {
        host_name()
    }
}

/// Runs a program, given as further arguments, in a namespace of host names.
const UNSHARE: &str = "/usr/bin/unshare";
const ELSEWHERE: [&str; 4] = [
    "--uts",
    "sh",
    "-c",
    "hostname elsewhere && exec \"$0\" \"$@\"",
];

#[test]
fn two_machines_never_run_at_once_on_one_volume() {
    let database = database_with(SMALL);
    let place = tempfile::tempdir().unwrap();
    let go = place.path().join("go");
    let harness = FaultHarness::new(&database, &configuration_that_waits(&go));
    let mut tally = Tally::new("state-two-machines");

    let mut run = start_until_export(&harness.hub, harness.hub.command(&["backup"]));
    for words in [&["backup"][..], &["prune"]] {
        let output = on_another_machine(&harness.hub, words).output().unwrap();
        assert_eq!(code(&output), Some(1), "{words:?}: {}", stderr(&output));
        let holder = format!("process {} on {}", run.id(), host_name());
        assert!(
            stderr(&output).contains(&holder),
            "{holder}: {}",
            stderr(&output)
        );
    }
    let seen = on_another_machine(&harness.hub, &["list", "--json"])
        .output()
        .unwrap();
    let seen: Vec<Value> = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!(
        seen[0]["state"], "running",
        "a living run of another machine is no dead one"
    );
    fs::write(&go, "").unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0), "{}", log(&harness.hub));
    tally.passed(
        "backup and prune on another machine meanwhile",
        "refused, naming run, process and host; its list calls the run running",
    );

    let before = harness.proven();
    fs::remove_file(&go).unwrap();
    let mut there = start_until_export(&harness.hub, on_another_machine(&harness.hub, &["backup"]));
    let output = harness.hub.run(&["backup"]);
    assert_eq!(code(&output), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains(&format!(" on {}", other_host())),
        "{}",
        stderr(&output)
    );
    fs::write(&go, "").unwrap();
    assert_eq!(
        there.wait().unwrap().code(),
        Some(0),
        "{}",
        log(&harness.hub)
    );
    harness.check_consistency(&before).unwrap();
    assert_eq!(harness.proven().len(), 2);
    tally.passed(
        "backup here while another machine's runs",
        "refused, naming run, process and host; afterwards both archives are known here",
    );
    tally.finish();
}
