//! Backups and drills killed with SIGKILL at every stage: the next command finds a consistent state.

use crate::fault_harness::{FaultHarness, ROWS, existing_segments};
use crate::form::{is_long, points};
use crate::hub::{Hub, stderr, stdout};
use crate::stages::STAGES;
use crate::steps::{KillAt, KillOutcome, RESTORE_STAGES, kill, spread, stage_durations, steps};
use crate::tally::Tally;
use hubvault_testkit::{MailServer, MailServerOptions, MailTls, database_with};
use serde_json::Value;
use std::time::Duration;

/// Two archives stay, so that every backup removes one.
const RULES: &str = "[retention]\ndays = 0\nkeep_last = 2\n[delivery]\npause = \"10 ms\"\n";
const BACKUP: [&str; 2] = ["backup", "--json"];

fn start_mail(harness: &mut FaultHarness) -> MailServer {
    let mail = MailServer::start(MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    });
    send_mail_to(&mut harness.hub, mail.port);
    mail
}

/// Notifies Ada by the mail server on a port of this host.
pub(crate) fn send_mail_to(hub: &mut Hub, port: u16) {
    for (name, value) in [
        ("EMAIL_ENABLED", "true"),
        ("SMTP_HOST", "localhost"),
        ("SMTP_PORT", &port.to_string()),
        ("SMTP_FROM", "hubvault <backup@hub.example>"),
        ("SMTP_SECURITY", "none"),
        ("ADMIN_EMAILS", "ada@hub.example"),
    ] {
        hub.set(name, value);
    }
}

/// Every stage at two moments or more, and the steps of a run in equal parts.
fn moments(harness: &FaultHarness, wanted: usize) -> Vec<KillAt> {
    let (record, _) = harness.hub.backup();
    let (steps, output) = steps(&harness.hub, &BACKUP);
    assert!(output.status.success(), "{}", stderr(&output));
    let lengths = stage_durations(&record);
    let in_stages = wanted * 2 / 5;
    let mut moments: Vec<KillAt> = (0..in_stages)
        .map(|n| {
            // Not one after the other, so that a few moments are in the beginning and in the end.
            let (stage, length) = &lengths[n * 3 % lengths.len()];
            let turns = in_stages.div_ceil(lengths.len());
            let part = (n / lengths.len()) as f64 / turns as f64;
            KillAt::Stage(stage.clone(), length.mul_f64(part))
        })
        .collect();
    // What comes after the archive has its name is short, and full of what can be left half done.
    let is_archive =
        |step: &String, what: &str| step.starts_with(what) && step.ends_with(".tar.gz");
    let named = steps
        .iter()
        .position(|step| is_archive(step, "rename"))
        .unwrap();
    let early = (wanted - in_stages) / 2;
    let late = wanted - in_stages - early - 2;
    moments.extend(spread(&steps[..named], early).into_iter().map(KillAt::Step));
    moments.extend(
        spread(&steps[named..], late)
            .into_iter()
            .map(|at| KillAt::Step(at + named)),
    );
    // The old archive, and its sidecar.
    let removals = [".tar.gz", ".tar.gz.manifest.json"];
    moments.extend(removals.map(|outcome| KillAt::Unlink(outcome.to_owned())));
    moments
}

/// The stage, or the step after the archive was published.
fn stage_of(killed: &KillOutcome, published: bool) -> &str {
    match killed.step.split(' ').nth(1) {
        Some("send") => "send",
        Some("unlink") if published && killed.step.contains("/critical_backup_") => "prune",
        Some(_) if published => "record",
        _ => &killed.stage,
    }
}

/// A word for a point in the tally and in what is printed.
fn outcome_of(record: Option<&Value>) -> &'static str {
    match record.and_then(|record| record["state"].as_str()) {
        Some("proven") => "the archive was published, and is proven",
        Some("failed") => "nothing was published, and the run is listed as failed",
        _ => "the run had not begun",
    }
}

#[test]
fn a_backup_killed_at_any_step_leaves_a_consistent_state() {
    let database = database_with(ROWS);
    let mut harness = FaultHarness::new(&database, RULES);
    harness.make_each_cluster();
    let mail = start_mail(&mut harness);
    harness.hub.backup();
    let mut tally = Tally::new("kills-backup");
    for when in moments(&harness, points(10, 110)) {
        let before = harness.proven();
        let killed = kill(&harness.hub, &BACKUP, &when);
        if !killed.was_killed {
            continue;
        }
        let newest = || harness.list().unwrap().into_iter().next();
        let segments = harness.segments();
        let told = harness.check_consistency(&before);
        let first = newest().filter(|record| !before.contains_key(record["id"].as_str().unwrap()));
        let published = first
            .as_ref()
            .is_some_and(|record| record["file"].is_string());
        let kind = format!("backup killed at {}", stage_of(&killed, published));
        let outcome = told.and_then(|()| check_next_run(&harness, &segments));
        match outcome {
            Ok(()) => tally.passed(&kind, outcome_of(first.as_ref())),
            Err(what) => tally.failed(&kind, &format!("{when:?} {}: {what}", killed.step.trim())),
        }
    }
    let met = |stage: &&str| tally.injected(&format!("backup killed at {stage}")) > 0;
    let all = ["before the first", "record", "prune", "send"].into_iter();
    let all = all.chain(STAGES).chain(RESTORE_STAGES);
    let missed: Vec<&str> = all.filter(|stage| !met(stage)).collect();
    check_all_notified(&harness, &mail, &mut tally);
    tally.finish();
    assert!(missed.is_empty() || !is_long(), "never met: {missed:?}");
}

/// The next backup goes well and leaves nothing of what was there before it.
fn check_next_run(harness: &FaultHarness, segments: &[String]) -> Result<(), String> {
    let before = harness.proven();
    let output = harness.hub.run(&BACKUP);
    if !output.status.success() {
        return Err(format!(
            "the next backup: {:?} {}",
            output.status.code(),
            stderr(&output)
        ));
    }
    harness.check_no_leftovers()?;
    let held = existing_segments(segments);
    if !held.is_empty() {
        return Err(format!(
            "shared memory of a dead server stays: {}",
            held.join(", ")
        ));
    }
    harness.check_consistency(&before)
}

/// Each run is notified by one mail or more; the killed ones by the next run.
fn check_all_notified(harness: &FaultHarness, mail: &MailServer, tally: &mut Tally) {
    let late = (jiff::Timestamp::now() + Duration::from_hours(2)).to_string();
    let retried = crate::clocks::run_at(&harness.hub, &late, &["mail", "retry"]);
    assert!(
        retried.status.success(),
        "{}{}",
        stdout(&retried),
        stderr(&retried)
    );
    let mails: Vec<String> = mail
        .messages()
        .iter()
        .map(|message| String::from_utf8_lossy(&message.raw).replace("=\r\n", ""))
        .collect();
    for record in harness.list().unwrap() {
        let id = record["id"].as_str().unwrap();
        let told = record["delivery"]["told"]
            .as_array()
            .is_some_and(|told| !told.is_empty());
        let arrived = mails.iter().any(|mail| mail.contains(&id[..8]));
        let kind = "a run's mail, after all kills";
        if told && arrived {
            tally.passed(kind, "it arrived, and the record says so");
        } else {
            tally.failed(kind, &format!("{id}: told {told}, arrived {arrived}"));
        }
    }
}

#[test]
fn a_drill_killed_at_any_step_leaves_a_consistent_state() {
    let database = database_with(ROWS);
    let mut harness = FaultHarness::new(&database, RULES);
    harness.make_each_cluster();
    let (record, file) = harness.hub.backup();
    let drill = ["drill", file.to_str().unwrap()];
    let (steps, output) = steps(&harness.hub, &drill);
    assert!(output.status.success(), "{}", stderr(&output));
    let wanted = points(2, 20);
    let mut moments: Vec<KillAt> = spread(&steps, wanted / 2)
        .into_iter()
        .map(KillAt::Step)
        .collect();
    let lengths: Vec<_> = stage_durations(&record)
        .into_iter()
        .filter(|(stage, _)| stage == "drill" || RESTORE_STAGES.contains(&stage.as_str()))
        .collect();
    moments.extend((0..wanted - wanted / 2).map(|n| {
        let (stage, length) = &lengths[n % lengths.len()];
        KillAt::Stage(
            stage.clone(),
            length.mul_f64(0.2 + 0.6 * n as f64 / wanted as f64),
        )
    }));
    let mut tally = Tally::new("kills-drill");
    for when in moments {
        let before = harness.proven();
        let killed = kill(&harness.hub, &drill, &when);
        if !killed.was_killed {
            continue;
        }
        let segments = harness.segments();
        let again = || {
            harness.check_consistency(&before)?;
            let output = harness.hub.run(&drill);
            if !output.status.success() {
                return Err(format!("the next drill: {}", stderr(&output)));
            }
            harness.check_no_leftovers()?;
            let held = existing_segments(&segments);
            if !held.is_empty() {
                return Err(format!(
                    "shared memory of a dead server stays: {}",
                    held.join(", ")
                ));
            }
            harness.check_consistency(&before)
        };
        let kind = format!("drill killed at {}", killed.stage);
        match again() {
            Ok(()) => tally.passed(
                &kind,
                "the archive stays proven, the next drill proves it again",
            ),
            Err(what) => tally.failed(&kind, &format!("{when:?} {}: {what}", killed.step.trim())),
        }
    }
    tally.finish();
}
