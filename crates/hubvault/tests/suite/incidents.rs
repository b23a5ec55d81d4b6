//! An incident shows the state of the newest run, and of what a check found last, whatever was sent late.

use crate::alerts::run_checks;
use crate::clock::Clock;
use crate::hub::{Hub, stdout};
use crate::mail_failures::rewrite;
use crate::mailing::outbox;
use crate::monitor::run_check;
use hubvault_testkit::{Answer, Database, HttpSink, database_with, server};
use serde_json::Value;

const WHOLE: &str =
    "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\npause = \"10 ms\"\ntries = 1\n";
const KEY: &str = "R0xyzzyxyzzyxyzzyxyzzyxyzzyxyzzy";

fn hub_with_incidents(database: &Database, pager: &HttpSink, toml: &str) -> Hub {
    let mut hub = Hub::whole(database);
    hub.write(&format!(
        "{WHOLE}[pagerduty]\nurl = \"{}\"\n{toml}",
        pager.url("")
    ));
    hub.set("PAGERDUTY_ROUTING_KEY", KEY);
    hub
}

/// What an incident was told, in order.
fn actions(pager: &HttpSink, subject: &str) -> Vec<String> {
    let requests = pager.requests().into_iter();
    let bodies = requests.map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
    let of_subject = bodies.filter(|body| {
        let key = body["dedup_key"].as_str().unwrap();
        key.rsplit('/').next() == Some(subject)
    });
    of_subject
        .map(|body| body["event_action"].as_str().unwrap().to_owned())
        .collect()
}

/// The last run crashed before it could notify anybody.
fn crash_before_notification(hub: &Hub) {
    let catalog = hub.backups().join(".hubvault/catalog.sqlite");
    rewrite(
        &catalog,
        "UPDATE backups SET record = json_set(record, '$.delivery', json('null'))
         WHERE rowid = (SELECT max(rowid) FROM backups)",
    );
}

#[test]
fn a_late_success_closes_no_incident_of_a_newer_run() {
    let database = database_with("CREATE TABLE users AS SELECT 1 AS id");
    let (pager, hook) = (HttpSink::start([]), HttpSink::start([]));
    let mut hub = hub_with_incidents(&database, &pager, "");
    let port = database.settings().port.to_string();
    hub.backup();
    crash_before_notification(&hub);
    hub.set("WEBHOOK_URL", hook.url("/hook"));
    hub.set("POSTGRES_PORT", "1");
    hub.run_expecting(1, &["backup"]);
    assert_eq!(actions(&pager, "run"), ["resolve", "trigger"]);
    // Who keeps every message gets both, in their order, the late one with its time.
    let told = |hook: &HttpSink| -> Vec<(String, String)> {
        let requests = hook.requests().into_iter();
        let bodies = requests.map(|request| serde_json::from_slice::<Value>(&request.body));
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        bodies
            .map(|body| body.unwrap())
            .map(|body| (word(&body["event"]), word(&body["text"])))
            .collect()
    };
    let both = told(&hook);
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].0 == "success" && both[0].1.starts_with("late: about the run of 20"));
    assert!(both[1].0 == "failure" && !both[1].1.contains("late:"));
    // And the reverse.
    crash_before_notification(&hub);
    hub.set("POSTGRES_PORT", port);
    hub.backup();
    assert_eq!(actions(&pager, "run"), ["resolve", "trigger", "resolve"]);
    assert_eq!(told(&hook).len(), 4);
}

#[test]
fn a_queued_message_never_overtakes_a_newer_one_about_the_same_subject() {
    let database = database_with("CREATE TABLE users AS SELECT 1 AS id");
    let down = || Answer::Status(503);
    // The success is not taken.
    let pager = HttpSink::start([down()]);
    let mut hub = hub_with_incidents(&database, &pager, "");
    let port = database.settings().port.to_string();
    hub.backup();
    hub.set("POSTGRES_PORT", "1");
    hub.run_expecting(1, &["backup"]);
    assert_eq!(actions(&pager, "run"), ["resolve", "trigger"]);
    // The delivery check recovers or not: this is about the runs.
    hub.run_expecting(0, &["mail", "retry"]);
    assert_eq!(actions(&pager, "run"), ["resolve", "trigger"]);
    let items = outbox(&hub);
    let first = items.last().unwrap();
    assert_eq!(
        (&first["state"], &first["superseded"]),
        (&Value::from("failed"), &Value::from(true))
    );
    let table = stdout(&hub.run(&["mail", "outbox"]));
    assert!(
        table.contains("superseded") && !table.contains("REFUSED"),
        "{table}"
    );
    // Nobody misses it.
    assert_ne!(run_check(&hub, "delivery").0, "failing");
    hub.set("POSTGRES_PORT", port);
    hub.backup();
    assert_eq!(actions(&pager, "run"), ["resolve", "trigger", "resolve"]);
}

#[test]
fn an_alert_that_was_queued_is_not_sent_after_its_recovery() {
    let database = database_with("CREATE TABLE users AS SELECT 1 AS id");
    let pager = HttpSink::start([]);
    let flag = "[[check]]\nname = \"flag\"\ncommand = \"test -e flag\"\n";
    let mut hub = hub_with_incidents(&database, &pager, flag);
    hub.backup();
    let file = hub.backups().parent().unwrap().join("flag");
    let dead = HttpSink::start((0..9).map(|_| Answer::Status(503)));
    hub.write(&format!(
        "{WHOLE}[pagerduty]\nurl = \"{}\"\n{flag}",
        dead.url("")
    ));
    assert!(run_checks(&hub).contains(&"flag firing".to_owned()));
    assert_eq!(actions(&dead, "flag"), ["trigger"]);
    std::fs::write(file, "").unwrap();
    hub.write(&format!(
        "{WHOLE}[pagerduty]\nurl = \"{}\"\n{flag}",
        pager.url("")
    ));
    assert!(run_checks(&hub).contains(&"flag recovered".to_owned()));
    hub.run(&["mail", "retry"]);
    assert_eq!(actions(&pager, "flag"), ["resolve"]);
}

#[test]
fn an_alert_that_every_recipient_refused_is_sent_again_after_a_pause() {
    let server = server();
    let database = server.database();
    let refusing = HttpSink::start((0..50).map(|_| Answer::Status(404)));
    let flag =
        "[monitor]\nreminder_hours = 0\n[[check]]\nname = \"flag\"\ncommand = \"test -e flag\"\n";
    let mut hub = hub_with_incidents(&database, &refusing, flag);
    let clock = Clock::of(&mut hub, "2040-03-21T12:00:00Z");
    let told = |hub: &Hub, at: &str| {
        clock.set(at);
        run_checks(hub).contains(&"flag firing".to_owned())
    };
    assert!(told(&hub, "2040-03-21T12:00:00Z"));
    assert!(!told(&hub, "2040-03-21T12:10:00Z"), "not at every look");
    assert!(told(&hub, "2040-03-21T12:16:00Z"));
    assert_eq!(actions(&refusing, "flag"), ["trigger", "trigger"]);
    let (_, _, finding) = run_check(&hub, "delivery");
    assert!(
        finding.contains("hubvault alert test") && !finding.contains("mail retry"),
        "{finding}"
    );
    let outbox = stdout(&hub.run(&["mail", "outbox"]));
    assert!(outbox.contains("404"), "{outbox}");
    // Somebody corrects the address.
    let pager = HttpSink::start([]);
    hub.write(&format!(
        "{WHOLE}[pagerduty]\nurl = \"{}\"\n{flag}",
        pager.url("")
    ));
    assert!(told(&hub, "2040-03-21T12:35:00Z"));
    assert!(!told(&hub, "2040-03-21T13:35:00Z"));
    assert_eq!(actions(&pager, "flag"), ["trigger"]);
}
