//! A full disk under a service: the run fails, people are notified once, all reports agree, and it recovers when there
//! is room again.

use crate::clock::Clock;
use crate::disk::mail_server;
use crate::disk_consistency::subjects;
use crate::disk_full::GROWING;
use crate::disk_space::room;
use crate::fault_harness::FaultHarness;
use crate::kills::send_mail_to;
use crate::service_process::{ServiceProcess, wait_for_runs};
use crate::tally::Tally;
use hubvault_testkit::{MailServer, database_with, wait_for};

const RULES: &str = "[retention]\ndays = 0\nkeep_last = 2\n\
    [schedule]\ncron = \"30 2 * * *\"\ntimezone = \"UTC\"\ntries = 1\n[monitor]\ninterval = \"1 s\"\nmax_age_hours = 25\nreminder_hours = 900\n";

fn mails(mail: &MailServer, words: &str) -> usize {
    let is_meant = |subject: &&String| words.split(' ').all(|word| subject.contains(word));
    subjects(mail).iter().filter(is_meant).count()
}

fn wait_for_mail(mail: &MailServer, service: &ServiceProcess, words: &str, count: usize) {
    wait_for(
        || mails(mail, words) >= count,
        || format!("{words:?} in {:?}; {}", subjects(mail), service.log()),
    );
}

/// The value of a metric, by the beginning of its line and by one of its labels.
fn metric(service: &ServiceProcess, token: &str, name: &str, label: &str) -> i64 {
    let text = service.get("/metrics", token).text();
    let is_meant = |line: &&str| line.starts_with(name) && line.contains(label);
    let line = text.lines().find(is_meant);
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .unwrap_or_else(|| panic!("{name}: {text}"))
        .parse::<f64>()
        .unwrap() as i64
}

#[test]
fn a_service_reports_a_full_disk_once_and_recovers() {
    let name = "disk_service::a_service_reports_a_full_disk_once_and_recovers";
    let Some(room) = room(name, "size=24m,nr_inodes=300") else {
        return;
    };
    let database = database_with(GROWING);
    let mail = mail_server();
    let mut harness = FaultHarness::new(&database, RULES);
    room.takes(&harness);
    send_mail_to(&mut harness.hub, mail.port);
    let clock = Clock::of(&mut harness.hub, "2040-03-01T12:00:00Z");
    harness.hub.set("HTTP_ADDR", "127.0.0.1:0");
    let token = harness.hub.token("watcher", "read");
    let mut service = ServiceProcess::start(&harness.hub);
    service.wait_for_log("next run at", 1);
    // Checks notify nobody of what a run at work may change.
    wait_for_mail(&mail, &service, "ALERT time", 1);
    clock.set("2040-03-02T02:30:00Z");
    let runs = wait_for_runs(&harness.hub, &service, 1);
    assert_eq!(runs[0]["state"], "proven", "{}", service.log());
    wait_for_mail(&mail, &service, "RECOVERED time", 1);
    let archive = runs[0]["bytes"].as_u64().unwrap();
    assert_eq!(service.get("/health", "").status, 200);
    let before = harness.proven();

    // Room for most of an archive, and the alert comes before the night.
    room.leave(archive * 4 / 5);
    wait_for_mail(&mail, &service, "ALERT disk", 1);
    harness.hub.run_expecting(1, &["check", "disk"]);
    assert_eq!(metric(&service, &token, "hubvault_check_ok", "\"disk\""), 0);
    clock.set("2040-03-03T02:30:00Z");
    let runs = wait_for_runs(&harness.hub, &service, 2);
    assert_eq!(runs[0]["state"], "failed");
    wait_for_mail(&mail, &service, "FAILED", 1);
    assert_eq!(
        metric(&service, &token, "hubvault_last_attempt_failed", ""),
        1
    );
    assert_eq!(
        service.get("/health", "").status,
        200,
        "the archive of last night is young enough"
    );

    // Not a byte is left in the next night, and nothing is young any more.
    room.leave(0);
    clock.set("2040-03-04T04:30:00Z");
    wait_for_mail(&mail, &service, "FAILED", 2);
    wait_for_mail(&mail, &service, "ALERT time", 2);
    assert_eq!(service.get("/health", "").status, 503);
    harness.hub.run_expecting(1, &["check", "time"]);
    // However often it checks, it notifies of each once.
    let looked = || {
        metric(
            &service,
            &token,
            "hubvault_check_timestamp_seconds",
            "\"disk\"",
        )
    };
    let now = looked();
    wait_for(|| looked() > now + 3, || service.log());
    assert_eq!(mails(&mail, "ALERT disk"), 1, "{:?}", subjects(&mail));
    assert_eq!(mails(&mail, "ALERT time"), 2, "{:?}", subjects(&mail));

    room.clear();
    wait_for_mail(&mail, &service, "RECOVERED disk", 1);
    clock.set("2040-03-05T02:30:00Z");
    wait_for_mail(&mail, &service, "RECOVERED time", 2);
    assert_eq!(service.get("/health", "").status, 200);
    assert_eq!(
        metric(&service, &token, "hubvault_last_attempt_failed", ""),
        0
    );
    assert_eq!(service.stop(), Some(0));
    let mut tally = Tally::new("disk-service");
    let what = "disk full under the service";
    match harness
        .check_consistency(&before)
        .and_then(|()| harness.check_no_leftovers())
    {
        Ok(()) => tally.passed(
            what,
            "failures mailed, alerts told once, reports agree, then proven and recovered",
        ),
        Err(why) => tally.failed(what, &why),
    }
    tally.finish();
}
