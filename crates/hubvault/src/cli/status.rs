//! `hubvault status`: am I safe? In one screen.

use super::Exit;
use crate::config::{Administrator, Settings};
use crate::text::{grouped, print};
use anyhow::Result;
use hubvault_engine::backup::{RunLock, state_directory};
use hubvault_engine::catalog::{BackupRecord, Catalog, OutboxItem, State};
use hubvault_engine::deliver::{age, nobody_told};
use hubvault_engine::disk::free_bytes;
use hubvault_engine::job::{AttachWhen, Job};
use hubvault_model::ByteSize;
use jiff::Timestamp;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize)]
struct Status {
    job: String,
    /// Nothing is at risk.
    safe: bool,
    newest_proven: Option<BackupRecord>,
    last_run: Option<BackupRecord>,
    archives: usize,
    archives_bytes: u64,
    free_bytes: Option<u64>,
    /// Who can open the archives; empty where they are in the clear.
    sealed_to: Vec<Opener>,
    /// Messages that wait in the outbox.
    waiting: usize,
    /// What is at risk, in sentences.
    risks: Vec<String>,
}

/// A recipient, and when their private key was last shown to be at hand.
#[derive(Debug, Serialize)]
struct Opener {
    name: String,
    shown_at: Option<Timestamp>,
}

/// Prints it; 3 when something is at risk.
pub(crate) fn run(settings: &Settings, json: bool) -> Result<Exit> {
    let job = settings.job();
    let catalog = Catalog::open(&state_directory(&job.directory)?)?;
    let max_age: i64 = settings.text("monitor.max_age_hours").parse().unwrap_or(25);
    let mut status = look(&job, &catalog, max_age, Timestamp::now())?;
    add_seal(&mut status, settings, &job, &catalog)?;
    if json {
        print(&(serde_json::to_string_pretty(&status)? + "\n"))?;
    } else {
        print(&text(&job, &status, Timestamp::now()))?;
    }
    Ok(if status.safe {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

fn look(job: &Job, catalog: &Catalog, max_age_hours: i64, now: Timestamp) -> Result<Status> {
    let records: Vec<BackupRecord> = catalog
        .list()?
        .into_iter()
        .filter(|record| record.job == job.name)
        .collect();
    let outbox = catalog.outbox()?;
    let there = |record: &&BackupRecord| record.file.as_ref().is_some_and(|file| file.is_file());
    let newest_proven = records
        .iter()
        .filter(|record| record.state == State::Proven)
        .find(there);
    let last_run = records.first();
    let mut risks = Vec::new();
    match newest_proven {
        None => risks.push("there is no proven backup".to_owned()),
        Some(record) if now.duration_since(record.started_at).as_hours() >= max_age_hours => {
            risks.push(format!(
                "the newest proven backup is {} old, more than the {max_age_hours} hours that \
                 BACKUP_MAX_AGE_HOURS allows",
                age(record.started_at, now)
            ));
        }
        Some(_) => {}
    }
    if let Some(record) = last_run {
        risks.extend(of_last_run(record));
        risks.extend(untold(record));
        risks.extend(died(record, job));
    }
    for record in &records {
        let gone = record.removed_at.is_none() && record.file.is_some();
        if gone && !there(&record) {
            let file = record.file.as_ref().map(|file| file.display().to_string());
            risks.push(format!("{} is gone", file.unwrap_or_default()));
        }
    }
    risks.extend(nobody_told(job).map(|warning| warning.message));
    let waiting = outbox.iter().filter(|item| item.is_open()).count();
    risks.extend(undelivered(&outbox));
    let stored: Vec<&BackupRecord> = records.iter().filter(there).collect();
    Ok(Status {
        job: job.name.clone(),
        safe: risks.is_empty(),
        newest_proven: newest_proven.cloned(),
        last_run: last_run.cloned(),
        archives: stored.len(),
        archives_bytes: stored.iter().filter_map(|record| record.bytes).sum(),
        free_bytes: free_bytes(&job.directory).ok(),
        sealed_to: Vec::new(),
        waiting,
        risks,
    })
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

fn of_last_run(record: &BackupRecord) -> Vec<String> {
    match record.state {
        State::Failed => {
            let why = record.error.as_deref().unwrap_or("it is not known why");
            vec![format!("the last run failed: {why}")]
        }
        State::Unproven => {
            let why = record.proof.reason.as_deref().unwrap_or("not drilled");
            vec![format!("the last backup is unproven: {why}")]
        }
        State::Running | State::Proven => record
            .warnings
            .iter()
            .filter(|warning| !["nobody-told", "undelivered"].contains(&warning.code.as_str()))
            .map(|warning| format!("the last run warned: {warning}"))
            .collect(),
    }
}

/// What the record says now, which a later try may have changed.
fn untold(record: &BackupRecord) -> Vec<String> {
    let untold = record.delivery.iter().flat_map(|delivery| &delivery.untold);
    untold
        .map(|untold| {
            format!(
                "{} was not told of the last run: {}",
                untold.to, untold.reason
            )
        })
        .collect()
}

/// A record that is called running although nobody holds the lock is that of a process that died.
fn died(record: &BackupRecord, job: &Job) -> Option<String> {
    let state = state_directory(&job.directory).ok()?;
    let is_dead = record.state == State::Running && RunLock::take(&state, record.id).is_ok();
    is_dead.then(|| "the last run died before it ended; hubvault backup takes another".to_owned())
}

/// One line for each cause, not for each message.
fn undelivered(outbox: &[OutboxItem]) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for item in outbox.iter().filter(|item| item.is_open()) {
        let why = item.error.as_deref().unwrap_or("it was not tried yet");
        let line = format!("a message by {} waits: {why}", item.channel);
        if !said.contains(&line) {
            said.push(line);
        }
    }
    said
}

fn text(job: &Job, status: &Status, now: Timestamp) -> String {
    let verdict = match (status.safe, &status.newest_proven) {
        (true, _) => "SAFE",
        (false, Some(_)) => "AT RISK",
        (false, None) => "NOT SAFE",
    };
    let mut out = format!("{}: {verdict}\n\n", status.job);
    let mut line = |name: &str, what: String| out += &format!("  {name:<14} {what}\n");
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
    line("told", told(job, status));
    if !status.risks.is_empty() {
        out += "\nAt risk\n";
        for risk in &status.risks {
            out += &format!("  ! {risk}\n");
        }
    }
    out
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
