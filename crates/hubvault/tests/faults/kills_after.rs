//! Prunes, restores and mails killed with SIGKILL at any step.

use crate::clocks::run_at;
use crate::fault_harness::{FaultHarness, ROWS, copy};
use crate::form::points;
use crate::hub::{Hub, stderr, stdout};
use crate::kills::send_mail_to;
use crate::steps::{KillAt, RESTORE_STAGES, kill, spread, steps};
use crate::tally::Tally;
use hubvault_testkit::{Database, MailServer, MailServerOptions, MailTls, database_with, server};
use serde_json::Value;
use std::net::TcpListener;
use std::time::Duration;

const SMALL: &str = "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2)";

#[test]
fn a_prune_killed_at_any_step_loses_no_kept_archive() {
    let database = database_with(SMALL);
    let mut harness = FaultHarness::new(&database, "[retention]\nkeep_last = 1\n");
    harness.hub.set("BACKUP_RETENTION_DAYS", "30");
    for _ in 0..4 {
        harness.hub.backup();
    }
    harness.hub.set("BACKUP_RETENTION_DAYS", "0");
    harness.hub.set("PROOF", "off");
    let (backups, kept) = (harness.hub.backups(), harness.hub.config().join("kept"));
    copy(&backups, &kept);
    let before = harness.proven();
    let (steps, output) = steps(&harness.hub, &["prune"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut tally = Tally::new("kills-prune");
    for number in spread(&steps, points(3, 30)) {
        copy(&kept, &backups);
        let killed = kill(&harness.hub, &["prune"], &KillAt::Step(number));
        if !killed.was_killed {
            continue;
        }
        let again = || {
            harness.check_consistency(&before)?;
            let output = harness.hub.run(&["prune"]);
            if !output.status.success() {
                return Err(format!("the next prune: {}", stderr(&output)));
            }
            harness.check_consistency(&before)?;
            let left = harness.proven().len();
            if left != 1 {
                return Err(format!(
                    "{left} proven archives are left, and one stays by the rules"
                ));
            }
            harness.hub.backup();
            harness.check_no_leftovers()
        };
        let what = killed.step.split(' ').nth(1).unwrap_or_default();
        match again() {
            Ok(()) => tally.passed(
                &format!("prune killed before a {what}"),
                "the list is true; the next prune does the rest",
            ),
            Err(why) => tally.failed(
                &format!("prune killed before a {what}"),
                &format!("{}: {why}", killed.step.trim()),
            ),
        }
    }
    tally.finish();
}

/// Where a restore is killed: parts of the length that each stage has here, in a debug build some tenths of a second.
fn restore_kill_points(points: usize) -> impl Iterator<Item = (&'static str, Duration)> {
    (0..points).map(|n| {
        (
            RESTORE_STAGES[n % 4],
            Duration::from_millis(7 * (n as u64 / 4) * (n as u64 / 4)),
        )
    })
}

#[test]
fn a_restore_killed_at_any_step_can_be_repeated_as_documented() {
    let server = server();
    let source = server.database();
    source.execute(ROWS);
    let harness = FaultHarness::new(&source, "");
    harness.hub.backup();
    let digests = source.digests();
    let mut tally = Tally::new("kills-restore");
    for (stage, after) in restore_kill_points(points(4, 28)) {
        let target = server.database();
        let whole = ["restore", "latest", "--database", target.name()];
        let killed = kill(
            &harness.hub,
            &whole,
            &KillAt::Stage(stage.to_owned(), after),
        );
        if !killed.was_killed {
            continue;
        }
        let kind = format!("restore killed at {}", killed.stage);
        let again = harness.ended().and_then(|()| {
            let output = harness
                .hub
                .run(&[&whole[..], &["--clean", "--yes"]].concat());
            if !output.status.success() {
                return Err(format!("with --clean: {}", stderr(&output)));
            }
            if target.digests() != digests {
                return Err("what came back differs".to_owned());
            }
            Ok(())
        });
        match again {
            Ok(()) => tally.passed(
                &kind,
                "part of it may be there; again with --clean it is all there and equal",
            ),
            Err(why) => tally.failed(&kind, &format!("{after:?}: {why}")),
        }
    }
    tally.finish();
}

#[test]
fn a_restore_of_tables_killed_at_any_step_restores_all_or_nothing() {
    let server = server();
    let source = server.database();
    source.execute(ROWS);
    let harness = FaultHarness::new(&source, "");
    harness.hub.backup();
    let target = server.database();
    let output = harness
        .hub
        .run(&["restore", "latest", "--database", target.name()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let digests = source.digests();
    let tables = [
        "restore",
        "latest",
        "--table",
        "users",
        "--table",
        "purchases",
        "--database",
        target.name(),
    ];
    let mut tally = Tally::new("kills-restore-tables");
    for (stage, after) in restore_kill_points(points(4, 20))
        .filter(|(stage, _)| *stage == "rows" || *stage == "compare")
    {
        target.execute("TRUNCATE users, purchases");
        let killed = kill(
            &harness.hub,
            &tables,
            &KillAt::Stage(stage.to_owned(), after),
        );
        if !killed.was_killed {
            continue;
        }
        let again = harness.ended().and_then(|()| {
            wait_for_disconnect(&target);
            if target.value("SELECT count(*) FROM users") == "0" {
                let output = harness.hub.run(&tables);
                if !output.status.success() {
                    return Err(format!("again: {}", stderr(&output)));
                }
            }
            if target.digests() != digests {
                return Err("what came back is neither nothing nor all".to_owned());
            }
            Ok(())
        });
        let kind = format!("restore of tables killed at {}", killed.stage);
        match again {
            Ok(()) => tally.passed(&kind, "all rows or none; then all, and equal"),
            Err(why) => tally.failed(&kind, &format!("{after:?}: {why}")),
        }
    }
    tally.finish();
}

/// Waits until the server has noticed that nobody is there any more.
fn wait_for_disconnect(target: &Database) {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    hubvault_testkit::wait_for(
        || target.value(others) == "0",
        || "the server to let go of a dead client".to_owned(),
    );
}

#[test]
fn a_message_is_delivered_although_its_sender_was_killed() {
    let database = database_with(SMALL);
    let mut harness = FaultHarness::new(&database, "[delivery]\ntries = 1\n");
    harness.hub.set("PROOF", "off");
    let mail = MailServer::start(MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    });
    send_mail_to(&mut harness.hub, mail.port);
    queue_a_message(&mut harness.hub, &mail);
    let (steps, output) = steps(&harness.hub, &["mail", "retry"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut tally = Tally::new("kills-mail");
    // Every line that goes to the mail server in the long form, and what is recorded around them.
    let sends: Vec<usize> = (1..=steps.len())
        .filter(|at| steps[at - 1].starts_with("send"))
        .collect();
    let sends = sends.into_iter().take(points(2, usize::MAX));
    for number in sends.chain(spread(&steps, points(2, 30))) {
        let id = queue_a_message(&mut harness.hub, &mail);
        let killed = kill(&harness.hub, &["mail", "retry"], &KillAt::Step(number));
        if !killed.was_killed {
            continue;
        }
        let what = killed.step.split(' ').nth(1).unwrap_or_default();
        match count_deliveries(&harness.hub, &mail, &id) {
            Ok(times) => tally.passed(
                &format!("mail retry killed before a {what}"),
                if times == 1 {
                    "it arrived once"
                } else {
                    "it arrived twice, with one Message-ID"
                },
            ),
            Err(why) => tally.failed(
                &format!("mail retry killed before a {what}"),
                &format!("{}: {why}", killed.step.trim()),
            ),
        }
    }
    tally.finish();
}

/// A backup whose notification cannot be sent now; its message's id.
fn queue_a_message(hub: &mut Hub, mail: &MailServer) -> String {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    hub.set("SMTP_PORT", nobody.to_string());
    hub.backup();
    hub.set("SMTP_PORT", mail.port.to_string());
    let item = &outbox(hub)[0];
    assert_eq!(item["state"], "waiting", "{item}");
    item["id"].as_str().unwrap().to_owned()
}

fn outbox(hub: &Hub) -> Vec<Value> {
    serde_json::from_slice(&hub.run(&["mail", "outbox", "--json"]).stdout).unwrap()
}

/// The next retry, once the dead one's time is over, sends it; how often it arrived.
fn count_deliveries(hub: &Hub, mail: &MailServer, id: &str) -> Result<usize, String> {
    let late = jiff::Timestamp::now() + Duration::from_hours(2);
    let retried = run_at(hub, &late.to_string(), &["mail", "retry"]);
    if !retried.status.success() {
        return Err(format!(
            "the next retry: {}{}",
            stdout(&retried),
            stderr(&retried)
        ));
    }
    let item = outbox(hub)
        .into_iter()
        .find(|item| item["id"] == id)
        .unwrap();
    if item["state"] != "sent" {
        return Err(format!("it is not called sent: {item}"));
    }
    let newest: Vec<Value> = serde_json::from_slice(&hub.run(&["list", "--json"]).stdout).unwrap();
    if newest[0]["delivery"]["untold"]
        .as_array()
        .is_none_or(|untold| !untold.is_empty())
    {
        return Err(format!(
            "the record says otherwise: {}",
            newest[0]["delivery"]
        ));
    }
    let wanted = format!("<{id}@");
    let times = mail
        .messages()
        .iter()
        .filter(|m| String::from_utf8_lossy(&m.raw).contains(&wanted))
        .count();
    if times == 0 {
        Err("it never arrived".to_owned())
    } else {
        Ok(times)
    }
}
