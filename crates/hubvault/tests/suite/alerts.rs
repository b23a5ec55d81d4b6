//! Which alerts are sent, when, and to whom.

use crate::clock::Clock;
use crate::hub::{Hub, stderr, stdout};
use crate::mailing::{mailing, subject, text, without_tls};
use crate::monitor::{USERS, assert_fails, assert_passes, run_check};
use hubvault_testkit::{
    Answer, Database, HttpSink, MailServer, MailTls, Parts, database_with, server,
};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const FLAG: &str =
    "[[check]]\nname = \"flag\"\ncommand = \"test -e flag || { echo no flag; exit 1; }\"\n";

/// A hub where nothing is wrong, that mails, and the switch of its own check.
fn hub_with_flag_check(database: &Database, mail: &MailServer) -> (Hub, PathBuf) {
    let mut hub = mailing(database, mail, MailTls::Plain);
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\npause = \"10 ms\"\n{FLAG}"
    ));
    hub.set("EMAIL_ATTACH", "never");
    let flag = hub.backups().parent().unwrap().join("flag");
    std::fs::write(&flag, "").unwrap();
    (hub, flag)
}

/// The notices of one check run: each check and its change.
pub(crate) fn run_checks(hub: &Hub) -> Vec<String> {
    let output = hub.run(&["check", "--alert", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let notices = report["notices"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    notices
        .map(|notice| format!("{} {}", word(&notice["check"]), word(&notice["notice"])))
        .collect()
}

#[test]
fn an_alert_and_its_recovery_are_mailed_once() {
    let database = database_with(USERS);
    let mail = MailServer::start(without_tls());
    let hook = HttpSink::start((0..9).map(|_| Answer::Status(200)));
    let ping = HttpSink::start((0..9).map(|_| Answer::Status(200)));
    let (mut hub, flag) = hub_with_flag_check(&database, &mail);
    hub.set("PROOF", "always");
    hub.backup();
    hub.set("WEBHOOK_URL", hook.url("/hook"));
    hub.set("MONITOR_PING_URL", ping.url("/watcher"));
    assert_eq!(run_checks(&hub), [""; 0]);
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(run_checks(&hub), ["flag firing"]);
    assert_eq!(run_checks(&hub), [""; 0], "it was told");
    std::fs::write(&flag, "").unwrap();
    assert_eq!(run_checks(&hub), ["flag recovered"]);
    assert_eq!(run_checks(&hub), [""; 0]);

    let messages = mail.messages();
    assert_eq!(messages.len(), 3, "of the run, the alert and its end");
    let (alert, end) = (messages[1].parts(), messages[2].parts());
    assert!(
        subject(&alert).starts_with("[hubvault] ALERT"),
        "{}",
        subject(&alert)
    );
    assert!(
        text(&alert).contains("flag: exit code 1: no flag"),
        "{}",
        text(&alert)
    );
    assert!(text(&alert).contains("What to do next: run the command of the check flag by hand"));
    // It is there, and it is the last one.
    assert!(
        text(&alert).contains("The last proven backup is 0 minutes old"),
        "{}",
        text(&alert)
    );
    assert!(subject(&end).starts_with("[hubvault] RECOVERED"));
    assert!(text(&end).contains("flag has recovered"), "{}", text(&end));
    let events: Vec<String> = hook
        .requests()
        .iter()
        .map(|request| request.header("x-hubvault-event").unwrap().to_owned())
        .collect();
    assert_eq!(events, ["alert", "recovered"]);
    // The ping of the monitor is called after every check run, whatever it found.
    let pings: Vec<String> = ping.requests().iter().map(|r| r.target.clone()).collect();
    assert_eq!(pings, ["/watcher"; 5]);
}

#[test]
fn concurrent_checks_send_an_alert_and_its_recovery_once() {
    let database = database_with(USERS);
    let mail = MailServer::start(without_tls());
    let (mut hub, flag) = hub_with_flag_check(&database, &mail);
    hub.set("PROOF", "always");
    hub.backup();
    let told = mail.messages().len();
    let at_once = || {
        // Making a command writes the configuration, which none may read meanwhile.
        let commands = (0..5).map(|_| hub.command(&["check", "--alert", "--json"]));
        let mut commands: Vec<Command> = commands.collect();
        let start = |command: &mut Command| {
            let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let all: Vec<Child> = commands.iter_mut().map(start).collect();
        let reports = all.into_iter().map(|child| {
            let output = child.wait_with_output().unwrap();
            assert_eq!(stderr(&output), "");
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        });
        let notices = reports.map(|report| report["notices"].as_array().unwrap().len());
        notices.sum::<usize>()
    };
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(at_once(), 1);
    std::fs::write(&flag, "").unwrap();
    assert_eq!(at_once(), 1);
    let messages = mail.messages();
    let subjects: Vec<String> = messages[told..]
        .iter()
        .map(|message| subject(&message.parts()).to_owned())
        .collect();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(subjects[0].contains("ALERT") && subjects[1].contains("RECOVERED"));
}

#[test]
fn a_firing_alert_is_repeated_after_its_hours_and_not_before() {
    let server = server();
    let database = server.database();
    let mail = MailServer::start(without_tls());
    let (mut hub, flag) = hub_with_flag_check(&database, &mail);
    let toml = |hours: u32| {
        format!(
            "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\npause = \"10 ms\"\n\
             [monitor]\nreminder_hours = {hours}\n{FLAG}"
        )
    };
    hub.write(&toml(6));
    hub.set("TZ", "UTC");
    let clock = Clock::of(&mut hub, "2040-03-21T12:00:00Z");
    std::fs::remove_file(&flag).unwrap();
    let told = |at: &str| {
        clock.set(at);
        let mut notices = run_checks(&hub);
        notices.retain(|notice| notice.starts_with("flag "));
        notices
    };
    assert_eq!(told("2040-03-21T12:00:00Z"), ["flag firing"]);
    assert_eq!(told("2040-03-21T17:59:00Z"), [""; 0]);
    assert_eq!(told("2040-03-21T18:01:00Z"), ["flag reminder"]);
    assert_eq!(
        told("2040-03-21T23:59:00Z"),
        [""; 0],
        "six hours after that"
    );
    assert_eq!(told("2040-03-22T00:02:00Z"), ["flag reminder"]);
    std::fs::write(&flag, "").unwrap();
    assert_eq!(told("2040-03-22T00:03:00Z"), ["flag recovered"]);
    assert_eq!(told("2040-03-22T12:00:00Z"), [""; 0]);

    // Never, where nobody wants any.
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(told("2040-03-22T12:01:00Z"), ["flag firing"]);
    hub.write(&toml(0));
    clock.set("2040-04-22T12:00:00Z");
    assert!(
        !run_checks(&hub)
            .iter()
            .any(|notice| notice.starts_with("flag "))
    );

    let parts = mail.messages().into_iter().map(|mail| mail.parts());
    let of_flag: Vec<Parts> = parts
        .filter(|mail| subject(mail).contains("flag"))
        .collect();
    let words: Vec<&str> = of_flag.iter().map(subject).collect();
    assert_eq!(of_flag.len(), 5, "{words:?}");
    for (mail, is_reminder) in of_flag.iter().zip([false, true, true, false, false]) {
        let said = text(mail);
        assert_eq!(
            said.contains("flag: still: exit code 1"),
            is_reminder,
            "{said}"
        );
    }
    assert!(
        text(&of_flag[2]).contains("Since 2040-03-21 12:00 UTC."),
        "{}",
        text(&of_flag[2])
    );
}

#[test]
fn a_silenced_check_sends_nothing_until_its_time() {
    let server = server();
    let database = server.database();
    let mail = MailServer::start(without_tls());
    let (mut hub, flag) = hub_with_flag_check(&database, &mail);
    // A first check run notifies of what is always wrong here.
    assert_eq!(run_checks(&hub), ["time firing"]);
    let told = mail.messages().len();
    let silenced = hub.run(&["alert", "silence", "flag", "--for", "2h"]);
    assert!(silenced.status.success(), "{}", stderr(&silenced));
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(run_checks(&hub), [""; 0]);
    let listed = hub.run_expecting(1, &["alert", "list", "--json"]);
    let states: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let state = states
        .as_array()
        .unwrap()
        .iter()
        .find(|state| state["check"] == "flag");
    let state = state.unwrap();
    assert_eq!(state["state"], "failing");
    assert!(
        state["told_at"].is_null() && state["silenced_until"].is_string(),
        "{state}"
    );
    assert!(stdout(&hub.run(&["alert", "list"])).contains("FAILING"));
    hub.run(&["alert", "silence", "flag", "--for", "0s"]);
    assert_eq!(run_checks(&hub), ["flag firing"]);
    assert_eq!(mail.messages().len(), told + 1);
    let unknown = hub.run_expecting(2, &["alert", "silence", "flga", "--for", "2h"]);
    assert!(stderr(&unknown).contains("did you mean flag?"));

    // A test is recorded and printed, and nobody is notified.
    hub.set("TEST_MODE", "true");
    std::fs::write(&flag, "").unwrap();
    let output = hub.run(&["check", "--alert"]);
    assert!(stdout(&output).contains("notified nobody (monitor.test_mode is set): flag recovered"));
    assert!(
        stderr(&output).contains("test mode, not sent: recovered flag"),
        "{}",
        stderr(&output)
    );
    assert_eq!(mail.messages().len(), told + 1);
    hub.run_expecting(1, &["alert", "test"]);
    hub.set("TEST_MODE", "false");
    assert_eq!(run_checks(&hub), [""; 0]);

    // What the user took out of the configuration is forgotten.
    hub.write("file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n");
    run_checks(&hub);
    assert!(!stdout(&hub.run(&["alert", "list"])).contains("flag"));
}

#[test]
fn undelivered_messages_fail_the_delivery_check_and_alerts_can_be_tested() {
    let database = database_with(USERS);
    let mail = MailServer::start(without_tls());
    let (mut hub, _) = hub_with_flag_check(&database, &mail);
    let output = hub.run(&["alert", "test"]);
    assert!(
        stdout(&output).contains("notified ada@hub.example, grace@hub.example"),
        "{}",
        stderr(&output)
    );
    let messages = mail.messages();
    assert_eq!(messages.len(), 2);
    for (message, word) in messages.iter().zip(["ALERT", "RECOVERED"]) {
        let parts = message.parts();
        assert!(subject(&parts).contains(word));
        assert!(text(&parts).contains("this is a test"), "{}", text(&parts));
    }
    assert_passes(&hub, "delivery");
    assert_ne!(run_check(&hub, "seal").0, "failing");

    // Nobody listens there.
    hub.set("SMTP_PORT", "1");
    hub.backup();
    assert_fails(&hub, "delivery", "was not notified of the last run");
    hub.set("SMTP_PORT", mail.port.to_string());
    hub.run_expecting(0, &["mail", "retry"]);
    assert_passes(&hub, "delivery");
    let status = stdout(&hub.run(&["status"]));
    assert!(
        status.contains("last mail      success, sent 0 minutes ago"),
        "{status}"
    );
    hub.set("EMAIL_ATTACH", "always");
    assert_fails(&hub, "seal", "archives are mailed unsealed");
    hub.set("ADMIN_EMAILS", "");
    assert_fails(&hub, "delivery", "nobody is notified");
}
