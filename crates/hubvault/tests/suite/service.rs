//! The service keeps its schedule, whatever happens to the clock and the database.

use crate::clock::Clock;
use crate::hub::{Hub, stderr};
use crate::mailing::{send_mail_to, subject, text, without_tls};
use crate::service_process::{ServiceProcess, runs, wait_for_runs};
use hubvault_testkit::{MailServer, MailTls, USERS, database_with, server, wait_for};
use rustix::process::Signal;
use std::fs;

/// Everything in scope, three quick tries, at half past two in Berlin.
const SCHEDULE: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n\
    [schedule]\ncron = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\"\npause = \"1 s\"\n";

fn started(run: &serde_json::Value) -> &str {
    &run["started_at"].as_str().unwrap()[..13]
}

/// Mails whose subject has all of `words`.
fn mails(office: &MailServer, words: &str) -> usize {
    let is_meant = |subject: &str| {
        let mut all = words.split(' ');
        all.all(|word| subject.split_whitespace().any(|other| other == word))
    };
    let all = office.messages().into_iter().map(|mail| mail.parts());
    all.filter(|mail| is_meant(subject(mail))).count()
}

fn wait_for_mails(office: &MailServer, service: &ServiceProcess, word: &str, count: usize) {
    let subjects = || {
        let all = office.messages().into_iter().map(|mail| mail.parts());
        all.map(|mail| subject(&mail).to_owned())
            .collect::<Vec<_>>()
    };
    wait_for(
        || mails(office, word) >= count,
        || {
            format!(
                "{count} mails with {word:?} in {:?}; the log:\n{}",
                subjects(),
                service.log()
            )
        },
    );
    assert_eq!(mails(office, word), count, "{:?}", subjects());
}

/// The exit code of `hubvault check NAME`.
fn check(hub: &Hub, name: &str) -> Option<i32> {
    hub.run(&["check", name]).status.code()
}

#[test]
fn a_service_survives_a_week_of_faults_and_reports_each_once() {
    let database = database_with(USERS);
    let office = MailServer::start(without_tls());
    let watched = format!("{SCHEDULE}[monitor]\ninterval = \"1 s\"\n");
    let mut hub = Hub::with(&database, &watched);
    send_mail_to(&mut hub, &office, MailTls::Plain);
    hub.set("PROOF", "always");
    let clock = Clock::of(&mut hub, "2040-03-21T12:00:00Z");
    hub.set("HTTP_ADDR", "127.0.0.1:0");
    let token = hub.token("watcher", "read");
    let mut service = ServiceProcess::start(&hub);
    service.wait_for_log("next run at 2040-03-22 02:30:00 CET", 1);
    assert_eq!(
        service.get("/health", "").status,
        503,
        "nothing is proven yet"
    );
    assert!(
        runs(&hub).is_empty(),
        "nothing was missed before the first run"
    );
    wait_for_mails(&office, &service, "ALERT time", 1);

    clock.set("2040-03-22T01:29:59Z");
    let first = wait_for_runs(&hub, &service, 1);
    assert_eq!(first[0]["state"], "proven", "{}", service.log());
    wait_for_mails(&office, &service, "RECOVERED time", 1);
    let health = service.get("/health", "");
    assert_eq!(health.status, 200, "{}", health.text());
    clock.set("2040-03-23T01:30:00Z");
    wait_for_runs(&hub, &service, 2);

    // Stopped for a day and a half: one run replaces the missed ones. That nothing runs shows by the age alone, as cron
    // may have taken over.
    assert_eq!(service.stop(), Some(0), "{}", service.log());
    clock.set("2040-03-24T10:00:00Z");
    assert_eq!(check(&hub, "schedule"), Some(0));
    assert_eq!(check(&hub, "time"), Some(1));
    service = ServiceProcess::start(&hub);
    service.wait_for_log("starting it now", 1);
    let missed = wait_for_runs(&hub, &service, 3);
    assert_eq!(started(&missed[0]), "2040-03-24T10");
    assert_eq!(check(&hub, "schedule"), Some(0));
    service.wait_for_log("next run at 2040-03-25 03:00:00 CEST", 1);

    // The night without half past two.
    clock.set("2040-03-25T01:00:00Z");
    let spring = wait_for_runs(&hub, &service, 4);
    assert_eq!(started(&spring[0]), "2040-03-25T01");
    service.wait_for_log("next run at 2040-03-26 02:30:00 CEST", 1);
    wait_for_mails(&office, &service, "OK", 4);

    // A database that cannot be reached: three tries, one mail; and the watcher says it, too.
    database.refuse_connections(true);
    wait_for_mails(&office, &service, "ALERT database", 1);
    clock.set("2040-03-26T00:30:00Z");
    let dead = wait_for_runs(&hub, &service, 7);
    assert!(dead[..3].iter().all(|run| run["state"] == "failed"));
    wait_for_mails(&office, &service, "FAILED", 1);
    let failure = office.messages().into_iter().map(|mail| mail.parts());
    let failure = failure
        .into_iter()
        .find(|mail| subject(mail).contains("FAILED"))
        .unwrap();
    assert!(
        text(&failure).contains("The next run is due 2040-03-27 02:30 CEST."),
        "{}",
        text(&failure)
    );
    database.refuse_connections(false);
    wait_for_mails(&office, &service, "RECOVERED database", 1);

    // Most users were lost: the archive that still has them is kept, and an alert is sent.
    database.execute("DELETE FROM users WHERE id > 100; ANALYZE");
    clock.set("2040-03-27T00:30:00Z");
    let lost = wait_for_runs(&hub, &service, 8);
    assert_eq!(lost[0]["state"], "proven");
    assert_eq!(lost[4]["pinned"], true, "the last one with all users");
    wait_for_mails(&office, &service, "ALERT rows", 1);
    assert_eq!(check(&hub, "rows"), Some(1));
    let failing = |check: &str| {
        let metrics = service.get("/metrics", &token).text();
        let name = format!("check=\"{check}\"");
        let is_meant = |line: &&str| line.starts_with("hubvault_check_ok") && line.contains(&name);
        let line = metrics
            .lines()
            .find(is_meant)
            .unwrap_or_else(|| panic!("{metrics}"));
        line.ends_with(" 0")
    };
    assert!(failing("rows") && !failing("database"));

    // No room for the next one.
    hub.write(&format!("{watched}min_free_mb = 900000000\n"));
    assert_eq!(check(&hub, "disk"), Some(1));
    service.signal(Signal::HUP);
    wait_for_mails(&office, &service, "ALERT disk", 1);
    assert!(failing("disk"));
    hub.run_expecting(3, &["status"]);
    hub.write(&watched);
    assert_eq!(check(&hub, "disk"), Some(0));
    service.signal(Signal::HUP);
    wait_for_mails(&office, &service, "RECOVERED disk", 1);

    // The clock is set back: the same night's run counts, nothing runs twice.
    clock.set("2040-03-27T00:20:00Z");
    service.wait_for_log("the clock was set back", 1);
    clock.set("2040-03-27T00:31:00Z");
    service.wait_for_log("was already done as backup", 1);
    assert_eq!(runs(&hub).len(), 8);
    assert_eq!(service.stop(), Some(0));
}

#[test]
fn two_services_make_each_run_once() {
    let database = database_with(USERS);
    let mut hub = Hub::with(&database, SCHEDULE);
    let clock = Clock::of(&mut hub, "2026-05-01T12:00:00Z");
    let mut old = ServiceProcess::start(&hub);
    let mut new = ServiceProcess::start(&hub);
    for service in [&old, &new] {
        service.wait_for_log("next run at 2026-05-02 02:30:00 CEST", 1);
    }
    clock.set("2026-05-02T00:30:00Z");
    wait_for_runs(&hub, &new, 1);
    // Whoever came second waits for the lock, or finds the run made.
    let logs = || old.log() + &new.log();
    wait_for(
        || {
            ["was already done as backup", "another run holds the lock"]
                .map(|words| logs().contains(words))
                .contains(&true)
        },
        logs,
    );
    old.stop();
    new.stop();
    assert_eq!(runs(&hub).len(), 1, "{}", new.log());
}

#[test]
fn a_service_stopped_during_a_run_reports_its_outcome() {
    let database = database_with(USERS);
    let mut hub = Hub::with(
        &database,
        &format!("{SCHEDULE}[service]\nstop_grace = \"200 ms\"\n"),
    );
    let clock = Clock::of(&mut hub, "2026-05-01T12:00:00Z");
    let mut service = ServiceProcess::start(&hub);
    service.wait_for_log("next run at", 1);
    // A lock keeps the run from going on, and is waited for much longer than the grace period.
    hub.write(&format!(
        "{SCHEDULE}[service]\nstop_grace = \"200 ms\"\n[database]\nlock_timeout = \"50 s\"\n"
    ));
    // Writes the file.
    hub.run(&["config", "check"]);
    service.signal(Signal::HUP);
    service.wait_for_log("configuration reloaded", 1);
    let mut blocker = database.client();
    blocker.batch_execute("BEGIN; LOCK TABLE users").unwrap();
    clock.set("2026-05-02T00:30:00Z");
    service.wait_for_log("snapshot", 1);
    assert_eq!(service.stop(), Some(0));
    drop(blocker);
    let log = service.log();
    assert!(log.contains("was stopped; nothing was published"), "{log}");
    hub.nothing_published();
}

#[test]
fn an_invalid_configuration_is_refused_and_the_previous_one_is_kept() {
    let database = database_with(USERS);
    let mut hub = Hub::with(&database, SCHEDULE);
    let clock = Clock::of(&mut hub, "2026-05-01T12:00:00Z");
    let mut service = ServiceProcess::start(&hub);
    service.wait_for_log("next run at 2026-05-02 02:30:00 CEST", 1);
    hub.write("[schedule]\ncron = \"thrice a day\"\n");
    hub.run_expecting(2, &["config", "check"]);
    service.signal(Signal::HUP);
    service.wait_for_log("reload failed, keeping the previous configuration", 1);
    // The run uses the settings in effect, not what the file says now.
    clock.set("2026-05-02T00:30:00Z");
    service.wait_for_log("ended with warnings", 1);
    hub.write(&SCHEDULE.replace("30 2", "15 4"));
    hub.run_expecting(0, &["config", "check"]);
    service.signal(Signal::HUP);
    service.wait_for_log("next run at 2026-05-02 04:15:00 CEST", 1);
    assert_eq!(service.stop(), Some(0));
    assert_eq!(runs(&hub).len(), 1);
}

#[test]
fn each_log_line_of_a_run_has_its_id_and_is_kept() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    let log = hub.config().join("backup.log");
    hub.set("LOG_FILE", log.display().to_string());
    hub.set("LOG_FORMAT", "json");
    let (record, _) = hub.backup();
    let id = record["id"].as_str().unwrap();
    let lines = fs::read_to_string(&log).unwrap();
    assert!(lines.lines().count() > 3);
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["run"], id);
    }
    let own = hub.backups().join(format!(".hubvault/logs/{id}.log"));
    assert_eq!(fs::read_to_string(own).unwrap(), lines);
}

#[test]
fn an_idle_service_is_small_and_an_invalid_time_zone_is_refused() {
    let server = server();
    let database = server.database();
    let mut hub = Hub::with(&database, SCHEDULE);
    let mut service = ServiceProcess::start(&hub);
    service.wait_for_log("next run at", 1);
    let status = fs::read_to_string(format!("/proc/{}/status", service.id())).unwrap();
    let resident = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .unwrap();
    let kilobytes: u64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    // The rest is the program's file, which is far larger with debug information.
    assert!(kilobytes < 10_000, "{resident}");
    assert_eq!(service.stop(), Some(0));
    hub.set("TZ", "Mars/Olympus");
    let output = hub.run_expecting(2, &["serve"]);
    assert!(
        stderr(&output).contains("expected a time zone"),
        "{}",
        stderr(&output)
    );
}
