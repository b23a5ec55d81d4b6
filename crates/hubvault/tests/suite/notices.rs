//! What has one cause is one message, and it comes when the run has ended.

use crate::alerts::run_checks;
use crate::clock::Clock;
use crate::hub::{Hub, stderr, stdout};
use crate::interrupted::{MIDDLE, signal, slow};
use crate::mailing::{mailing, outbox, subject, text, without_tls};
use crate::monitor::USERS;
use crate::service_process::ServiceProcess;
use hubvault_engine::catalog::{BackupRecord, Catalog, State};
use hubvault_engine::run::RunRequest;
use hubvault_engine::state::StateDir;
use hubvault_model::{BackupId, Warning};
use hubvault_testkit::{Database, MailServer, MailTls, database_with, wait_for};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

const NONE: [&str; 0] = [];

/// A hub that mails, no archives, and proves what it takes.
fn mailing_hub(database: &Database, mail: &MailServer, toml: &str) -> Hub {
    let mut hub = mailing(database, mail, MailTls::Plain);
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\npause = \"10 ms\"\n{toml}"
    ));
    hub.set("EMAIL_ATTACH", "never");
    hub.set("PROOF", "always");
    hub.set("PROOF_SCRIPT", "off");
    hub
}

fn subjects(mail: &MailServer) -> Vec<String> {
    let messages = mail.messages();
    let words = messages.iter().map(|message| {
        let parts = message.parts();
        let subject = subject(&parts).to_owned();
        subject.split(' ').nth(1).unwrap().to_owned()
    });
    words.collect()
}

fn status(hub: &Hub) -> Value {
    serde_json::from_slice(&hub.run(&["status", "--json"]).stdout).unwrap()
}

#[test]
fn a_wrong_port_is_one_message_and_its_end_another() {
    let database = database_with(USERS);
    let mail = MailServer::start(without_tls());
    let mut hub = mailing_hub(&database, &mail, "");
    hub.set("POSTGRES_PORT", "1");
    hub.run_expecting(1, &["backup"]);
    assert_eq!(subjects(&mail), ["FAILED"]);
    // The schedule's check, that of the database and that of the age all fail of it.
    assert_eq!(run_checks(&hub), NONE);
    assert_eq!(run_checks(&hub), NONE);
    assert!(stdout(&hub.run(&["alert", "list"])).contains("FAILING"));
    assert_eq!(subjects(&mail), ["FAILED"]);
    hub.set("POSTGRES_PORT", database.settings().port.to_string());
    hub.run_expecting(0, &["backup"]);
    assert_eq!(run_checks(&hub), NONE);
    assert_eq!(run_checks(&hub), NONE);
    let told = subjects(&mail);
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_failure_of_which_nobody_was_notified_is_an_alert() {
    let database = database_with(USERS);
    let mail = MailServer::start(without_tls());
    let mut hub = mailing_hub(&database, &mail, "");
    hub.backup();
    hub.set("EMAIL_ENABLED", "false");
    hub.set("POSTGRES_PORT", "1");
    hub.run_expecting(1, &["backup"]);
    hub.set("EMAIL_ENABLED", "true");
    assert_eq!(run_checks(&hub), ["database firing", "schedule firing"]);
    // What was an alert of its own recovers by a message of its own.
    hub.set("POSTGRES_PORT", database.settings().port.to_string());
    hub.run_expecting(0, &["backup"]);
    assert_eq!(
        run_checks(&hub),
        ["database recovered", "schedule recovered"]
    );
}

#[test]
fn a_run_that_was_stopped_by_hand_alerts_nobody_until_the_newest_backup_is_too_old() {
    let database = database_with(MIDDLE);
    let mail = MailServer::start(without_tls());
    let mut hub = mailing_hub(&database, &mail, "");
    hub.run_expecting(0, &["backup"]);
    assert_eq!(run_checks(&hub), NONE);
    let first = hub.backups().read_dir().unwrap().count();
    let child = {
        slow(&mut hub);
        let child = hub
            .command(&["backup", "--no-progress"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(
            || hub.backups().read_dir().unwrap().count() > first,
            || "a partial file".to_owned(),
        );
        child
    };
    signal(&child, "INT");
    let code = child.wait_with_output().unwrap().status.code();
    assert_eq!(code, Some(130));
    assert_eq!(run_checks(&hub), NONE);
    let told = subjects(&mail);
    assert_eq!(told.len(), 1, "{told:?}");
    // It is recorded, and no risk.
    let status = status(&hub);
    assert_eq!(status["last_run"]["stopped"], true, "{status}");
    assert_eq!(status["safe"], true, "{status}");
    let late = Timestamp::now() + SignedDuration::from_hours(40);
    let _clock = Clock::of(&mut hub, &late.to_string());
    assert_eq!(run_checks(&hub), ["time firing"]);
}

/// A run as the service starts it.
fn child_run(hub: &Hub, request: &RunRequest) -> Child {
    let task = serde_json::json!({ "backup": request });
    let mut child = hub
        .command(&["child", "backup"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let toml = std::fs::read_to_string(hub.config().join("hubvault.toml")).unwrap();
    let mut input = child.stdin.take().unwrap();
    write!(input, "{task}\n{toml}").unwrap();
    child
}

#[test]
fn failed_attempts_stay_pending_when_the_last_one_is_stopped() {
    let database = database_with(MIDDLE);
    let mail = MailServer::start(without_tls());
    let mut hub = mailing_hub(&database, &mail, "");
    hub.run_expecting(0, &["backup"]);
    let first = hub.backups().read_dir().unwrap().count();
    hub.set("POSTGRES_PORT", "1");
    let attempt = RunRequest {
        retry_after: Some(Duration::from_mins(5)),
        ..RunRequest::by_hand()
    };
    child_run(&hub, &attempt).wait().unwrap();
    hub.set("POSTGRES_PORT", database.settings().port.to_string());
    slow(&mut hub);
    let last = RunRequest {
        failed_attempts: vec![attempt.id],
        ..RunRequest::by_hand()
    };
    let mut child = child_run(&hub, &last);
    wait_for(
        || hub.backups().read_dir().unwrap().count() > first,
        || "a partial file".to_owned(),
    );
    signal(&child, "TERM");
    child.wait().unwrap();
    let listed = stdout(&hub.run(&["list", "--json"]));
    assert!(listed.contains(&last.id.to_string()), "{listed}");
    assert_eq!(subjects(&mail), ["OK"]);
    hub.set("BACKUP_MAX_MB_PER_SECOND", "0");
    hub.run_expecting(0, &["backup"]);
    assert_eq!(subjects(&mail), ["OK", "FAILED", "OK"]);
    let failed = mail.messages()[1].parts();
    assert!(text(&failed).contains(&attempt.id.to_string()));
}

#[test]
fn alerts_wait_for_the_end_of_a_run() {
    let database = database_with(USERS);
    let mail = MailServer::start(without_tls());
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let hook = format!(
        "[[hook]]\nstage = \"publish\"\nwhen = \"before\"\ntimeout = \"5 min\"\n\
         command = \"cd {}; touch begun; until test -e go; do sleep 0.05; done\"\n\
         [monitor]\nmin_free_mb = 900000000\n",
        directory.display()
    );
    let hub = mailing_hub(&database, &mail, &hook);
    let run = hub
        .command(&["backup"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(
        || directory.join("begun").exists(),
        || "the run to begin".to_owned(),
    );
    // Neither of the disk nor that there is no proven backup yet.
    assert_eq!(run_checks(&hub), NONE);
    assert_eq!(subjects(&mail), NONE);
    std::fs::write(directory.join("go"), "").unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(run_checks(&hub), ["disk firing"]);
}

#[test]
fn alerts_wait_for_the_next_attempt_at_a_run() {
    let database = database_with(USERS);
    let mail = MailServer::start(without_tls());
    let hub = mailing_hub(&database, &mail, "");
    let job = &database.settings().dbname;
    let state = StateDir::open(&hub.backups()).unwrap();
    let catalog = Catalog::open(&state).unwrap();
    let minutes_ago = |minutes| Timestamp::now() - SignedDuration::from_mins(minutes);
    let mut failed = BackupRecord::begun(BackupId::random(), job, minutes_ago(2));
    failed.state = State::Failed;
    failed.error = Some("connection refused".to_owned());
    failed.finished_at = Some(minutes_ago(1));
    failed.warnings = vec![Warning::new("tried-again", "hub", "next attempt in 300 s")];
    catalog.finish(&failed).unwrap();
    assert_eq!(run_checks(&hub), NONE);
    // Nobody made it: the service is gone.
    failed.finished_at = Some(minutes_ago(24 * 60));
    catalog.finish(&failed).unwrap();
    assert_eq!(run_checks(&hub), ["time firing", "schedule firing"]);
}

#[test]
fn unsealed_archives_are_an_alert_once_and_stay_a_risk() {
    let database = database_with(USERS);
    let mail = MailServer::start(without_tls());
    let mut hub = mailing_hub(&database, &mail, "[monitor]\nreminder_hours = 6\n");
    hub.set("EMAIL_ATTACH", "always");
    let clock = Clock::of(&mut hub, "2040-03-21T12:00:00Z");
    hub.run_expecting(0, &["backup"]);
    assert_eq!(run_checks(&hub), ["seal firing"]);
    clock.set("2040-03-21T19:00:00Z");
    assert_eq!(run_checks(&hub), NONE);
    let unsealed = "archives are mailed unsealed";
    assert!(stdout(&hub.run(&["status"])).contains(unsealed));
    let digest = stdout(&hub.run(&["mail", "preview", "digest"]));
    assert!(digest.contains(unsealed), "{digest}");
}

#[test]
fn a_test_that_fails_is_not_sent_later() {
    let database = database_with(USERS);
    let mail = MailServer::start(without_tls());
    let mut hub = mailing_hub(&database, &mail, "");
    hub.set("SMTP_PORT", "1");
    for arguments in [["mail", "test"], ["alert", "test"]] {
        let output = hub.run_expecting(1, &arguments);
        let said = stderr(&output);
        assert!(
            !said.contains("queued") && !said.contains("retry"),
            "{said}"
        );
    }
    assert_eq!(outbox(&hub).len(), 0);
    hub.set("SMTP_PORT", mail.port.to_string());
    hub.run(&["mail", "retry"]);
    assert_eq!(subjects(&mail), NONE);
}

#[test]
fn a_run_that_asked_for_more_than_is_free_fails_the_check_of_the_disk() {
    let database = database_with(USERS);
    let hub = Hub::whole(&database);
    let state = StateDir::open(&hub.backups()).unwrap();
    let catalog = Catalog::open(&state).unwrap();
    let mut failed = BackupRecord::begun(
        BackupId::random(),
        &database.settings().dbname,
        Timestamp::now(),
    );
    failed.state = State::Failed;
    failed.finished_at = Some(Timestamp::now());
    failed.error = Some("no space".to_owned());
    failed.needed_bytes = Some(u64::MAX / 4);
    catalog.finish(&failed).unwrap();
    let output = hub.run_expecting(1, &["check", "disk"]);
    assert!(
        stdout(&output).contains("(what the last run needed)"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_service_that_was_killed_is_missed_and_one_that_was_stopped_is_not() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    let is_missed = || {
        let risks = status(&hub)["risks"].to_string();
        risks.contains("the service that ran the schedule")
    };
    let mut service = ServiceProcess::start(&hub);
    service.wait_for_log("next run at", 1);
    assert!(!is_missed());
    assert_eq!(service.stop(), Some(0));
    assert!(!is_missed());
    let lock = hub.backups().join(".hubvault/service.lock");
    let is_at_work = || fs::metadata(&lock).is_ok_and(|lock| lock.len() > 0);
    assert!(!is_at_work());
    let killed = ServiceProcess::start(&hub);
    wait_for(is_at_work, || "the service to take its lock".to_owned());
    killed.signal(rustix::process::Signal::KILL);
    wait_for(is_missed, || "the service to be missed".to_owned());
    // Another one takes its place, and is stopped.
    let mut service = ServiceProcess::start(&hub);
    wait_for(
        || !is_missed(),
        || "another service to be at work".to_owned(),
    );
    assert_eq!(service.stop(), Some(0));
    assert!(!is_missed());
}

#[test]
fn what_a_check_found_is_a_risk_wherever_somebody_asks() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    let drills = hub.prove();
    hub.write(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n\
         [[check]]\nname = \"flag\"\ncommand = \"echo no flag; exit 1\"\n",
    );
    hub.set("EMAIL_ENABLED", "false");
    hub.run(&["backup"]);
    assert_eq!(status(&hub)["safe"], true, "it was not looked at yet");
    assert_eq!(run_checks(&hub), ["flag firing"]);
    let risk = "the check flag failed 0 minutes ago: exit code 1: no flag";
    assert_eq!(status(&hub)["risks"], serde_json::json!([risk]));
    let digest = stdout(&hub.run(&["mail", "preview", "digest"]));
    assert!(digest.contains(risk), "{digest}");
    let token = hub.token("board", "read");
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    let service = ServiceProcess::start_http(&hub);
    let http = service.get("/backup/status", &token).json();
    assert_eq!(http["safe"], false);
    let metrics = service.get("/metrics", &token).text();
    assert!(metrics.contains("\nhubvault_safe{job=\"") && metrics.contains("\nhubvault_risks{"));
    assert!(
        !metrics.contains("hubvault_safe{job=\"hub\"} 1"),
        "{metrics}"
    );
    drop(drills);
}
