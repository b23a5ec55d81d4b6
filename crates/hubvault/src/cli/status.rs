//! `hubvault status`: am I safe? In one screen.

use super::Exit;
use crate::text::{entry, grouped, plain, print};
use anyhow::Result;
use hubvault_config::{Administrator, Settings};
use hubvault_engine::catalog;
use hubvault_engine::catalog::{BackupRecord, Catalog, OutboxItem, OutboxState, State};
use hubvault_engine::delivery::{age, moment};
use hubvault_engine::disk::free_bytes;
use hubvault_engine::job::{AttachWhen, Job};
use hubvault_engine::monitor::{CheckState, Finding, Look, examine};
use hubvault_model::{ByteSize, Cancel};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize)]
struct Status {
    job: String,
    /// Nothing is at risk.
    safe: bool,
    newest_proven: Option<BackupRecord>,
    last_run: Option<BackupRecord>,
    /// When the next one is due, where a schedule is known.
    next_run: Option<Timestamp>,
    archives: usize,
    archives_bytes: u64,
    free_bytes: Option<u64>,
    /// What the database role may do that a backup does not need; empty where it can only read, absent before a run.
    role: Option<String>,
    /// Who can open the archives; empty where they are in the clear.
    sealed_to: Vec<Opener>,
    /// Messages that wait in the outbox.
    waiting: usize,
    /// The newest mail.
    last_mail: Option<LastMail>,
    /// What is at risk, in sentences.
    risks: Vec<String>,
}

/// A mail, and what came of it.
#[derive(Debug, Serialize)]
struct LastMail {
    kind: String,
    at: Timestamp,
    state: OutboxState,
}

impl LastMail {
    fn of(item: &OutboxItem) -> Self {
        Self {
            kind: item.kind.clone(),
            at: item.tried_at.unwrap_or(item.created_at),
            state: item.state,
        }
    }
}

/// The checks that are quick and say what is at risk; the seal is told with names here, and the
/// others take their time (`hubvault check`).
const CHECKS: &[&str] = &[
    "time", "size", "disk", "rows", "proof", "delivery", "schedule", "clock",
];
/// Warnings of a run whose state now is a check's matter.
const TOLD_BY_CHECKS: &[&str] = &["nobody-told", "undelivered", "rows"];

/// A recipient, and when their private key was last shown to be at hand.
#[derive(Debug, Serialize)]
struct Opener {
    name: String,
    shown_at: Option<Timestamp>,
}

/// Prints it; 3 when something is at risk.
pub(crate) fn run(settings: &Settings, json: bool) -> Result<Exit> {
    let job = settings.job();
    let catalog = catalog::current(&job.directory)?;
    let mut status = status_of(&Look::new(
        &job,
        &catalog,
        Timestamp::now(),
        &settings.zone,
    )?);
    status.role = catalog.role_advice(&job.name)?;
    // What somebody changed over HTTP when that was still taken.
    status.risks.extend(settings.weakened_in_words());
    add_seal(&mut status, settings, &job, &catalog)?;
    if json {
        print(&(serde_json::to_string_pretty(&status)? + "\n"))?;
    } else {
        print(&text(&job, &status, Timestamp::now(), &settings.zone))?;
    }
    Ok(if status.safe {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

fn status_of(look: &Look<'_>) -> Status {
    let job = look.job;
    let last_run = look.records.first();
    let findings = examine(look, &Cancel::new(), &|name| CHECKS.contains(&name));
    let failing = |finding: &&Finding| finding.state == CheckState::Failing;
    let mut risks: Vec<String> = findings
        .iter()
        .filter(failing)
        .map(|finding| finding.what.clone())
        .collect();
    if let Some(record) = last_run {
        let is_told = |name: &str| findings.iter().filter(failing).any(|f| f.check == name);
        risks.extend(of_last_run(record, is_told("proof")));
    }
    for (_, file) in look.known().filter(|(_, file)| !file.is_file()) {
        risks.push(format!("{} is gone", file.display()));
    }
    let last_mail = look.outbox.iter().find(|item| item.channel == "mail");
    Status {
        job: job.name.clone(),
        safe: risks.is_empty(),
        newest_proven: look.newest_proven().cloned(),
        last_run: last_run.cloned(),
        next_run: look.next_due,
        archives: look.archives().count(),
        archives_bytes: look.archives().filter_map(|(record, _)| record.bytes).sum(),
        free_bytes: free_bytes(&job.directory).ok(),
        role: None,
        sealed_to: Vec::new(),
        waiting: look.outbox.iter().filter(|item| item.is_open()).count(),
        last_mail: last_mail.map(LastMail::of),
        risks,
    }
}

/// Archives that travel in the clear are at risk, and so are those that nobody may be able to open.
fn add_seal(status: &mut Status, settings: &Settings, job: &Job, catalog: &Catalog) -> Result<()> {
    let shown = catalog.shown_recipients()?;
    let opener = |administrator: &Administrator| Opener {
        name: administrator.label(),
        shown_at: shown.get(&administrator.recipient.to_string()).copied(),
    };
    status.sealed_to = settings.administrators().map(opener).collect();
    let mail = job.delivery.mail.as_ref();
    let travels = mail.is_some_and(|mail| mail.attach == AttachWhen::Always);
    if status.sealed_to.is_empty() && travels {
        status.risks.push(
            "archives travel by mail unsealed, with secrets and password hashes; set BACKUP_RECIPIENTS \
             to an age or SSH public key of each administrator"
                .to_owned(),
        );
    }
    let never = |opener: &&Opener| opener.shown_at.is_none();
    for opener in status.sealed_to.iter().filter(never) {
        status.risks.push(format!(
            "{} was never shown to be able to open an archive; `hubvault seal check` says how",
            opener.name
        ));
    }
    status.safe = status.risks.is_empty();
    Ok(())
}

fn sealed(status: &Status, now: Timestamp) -> String {
    if status.sealed_to.is_empty() {
        return "no: whoever has an archive can read it".to_owned();
    }
    let one = |opener: &Opener| match opener.shown_at {
        Some(at) => format!("{} (shown {} ago)", opener.name, age(at, now)),
        None => format!("{} (never shown)", opener.name),
    };
    let all: Vec<String> = status.sealed_to.iter().map(one).collect();
    format!("to {}", all.join(", "))
}

/// What the checks do not say of it; the record keeps warnings that no look finds again.
fn of_last_run(record: &BackupRecord, unproven_is_told: bool) -> Vec<String> {
    match record.state {
        State::Unproven if !unproven_is_told => {
            let why = record.proof.reason.as_deref().unwrap_or("not drilled");
            vec![format!("the last backup is unproven: {why}")]
        }
        State::Running | State::Proven => record
            .warnings
            .iter()
            .filter(|warning| !TOLD_BY_CHECKS.contains(&warning.code.as_str()))
            .map(|warning| format!("the last run warned: {warning}"))
            .collect(),
        State::Failed | State::Unproven => Vec::new(),
    }
}

fn text(job: &Job, status: &Status, now: Timestamp, zone: &TimeZone) -> String {
    let verdict = match (status.safe, &status.newest_proven) {
        (true, _) => "SAFE",
        (false, Some(_)) => "AT RISK",
        (false, None) => "NOT SAFE",
    };
    let mut out = format!("{}: {verdict}\n\n", status.job);
    let mut line = |name: &str, what: String| out += &format!("  {name:<14} {}\n", plain(what));
    line(
        "proven",
        match &status.newest_proven {
            Some(record) => format!(
                "{} ago, {} tables, {} rows, {}",
                age(record.started_at, now),
                record.tables.len(),
                grouped(record.rows()),
                record
                    .file
                    .as_ref()
                    .map(|file| file.display().to_string())
                    .unwrap_or_default()
            ),
            None => "never".to_owned(),
        },
    );
    line(
        "last run",
        match &status.last_run {
            Some(record) => format!(
                "{} ago, {}",
                age(record.started_at, now),
                record.state_text()
            ),
            None => "there was none; hubvault backup takes the first".to_owned(),
        },
    );
    if let Some(missing) = confinement(status) {
        line("confinement", missing);
    }
    if let Some(at) = status.next_run {
        line("next run", moment(at, zone));
    }
    let free = status
        .free_bytes
        .map_or_else(String::new, |free| format!(", {} free", ByteSize(free)));
    line(
        "archives",
        format!(
            "{} with {} in {}{free}",
            status.archives,
            ByteSize(status.archives_bytes),
            job.directory.display()
        ),
    );
    line("sealed", sealed(status, now));
    match status.role.as_deref() {
        Some("") => line("role", format!("{}, can only read", job.database.user)),
        Some(problem) => line("role", problem.to_owned()),
        None => {}
    }
    line("told", told(job, status));
    if let Some(mail) = &status.last_mail {
        let (kind, state) = (&mail.kind, mail.state.as_str());
        line(
            "last mail",
            format!("{kind}, {state} {} ago", age(mail.at, now)),
        );
    }
    if !status.risks.is_empty() {
        out += "\nAt risk\n";
        for risk in &status.risks {
            out += &format!("  ! {}\n", entry(risk));
        }
    }
    out
}

/// What the host lacked to confine the newest drill; `None` when nothing is missing.
fn confinement(status: &Status) -> Option<String> {
    let mut records = [&status.last_run, &status.newest_proven]
        .into_iter()
        .flatten();
    let drill = records.find_map(|record| record.proof.drill.as_ref())?;
    let missing = &drill.confinement.as_ref()?.missing;
    (!missing.is_empty()).then(|| missing.join("; "))
}

fn told(job: &Job, status: &Status) -> String {
    let mut who: Vec<String> = Vec::new();
    if let Some(mail) = &job.delivery.mail {
        who.push(mail.to.join(", "));
    }
    for channel in &job.delivery.channels {
        who.push(format!("{} ({})", channel.kind.as_str(), channel.host()));
    }
    let who = if who.is_empty() {
        "nobody".to_owned()
    } else {
        who.join(", ")
    };
    match status.waiting {
        0 => who,
        1 => format!("{who}; 1 message waits"),
        many => format!("{who}; {many} messages wait"),
    }
}
