//! `hubvault mail`: mail previewed, tested, sent and resent.

use super::Exit;
use crate::answer;
use crate::text::{Align, columns, in_zone, local, print};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use hubvault_config::Settings;
use hubvault_engine::catalog;
use hubvault_engine::catalog::{
    BackupRecord, Catalog, Content, DeliveryRecord, OutboxItem, RecipientState,
};
use hubvault_engine::delivery::{About, DeliveryOutcome, MAIL_TYPES, Notifier, Templates, sample};
use hubvault_engine::job::Job;
use hubvault_engine::monitor::{Look, risks};
use hubvault_engine::overview::archive;
use hubvault_model::Cancel;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;
use std::ffi::OsStr;
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(crate) enum MailCommand {
    /// Print a mail, filled in from the last run; sends nothing
    #[command(after_long_help = "Examples:
  hubvault mail preview success
  hubvault mail preview failure --html > failure.html
  hubvault mail preview digest

Exit codes: 0 printed; 1 no such type; 2 bad configuration; 3 a template has a mistake.")]
    Preview {
        #[arg(help = mail_types_help())]
        kind: String,
        /// Only the HTML part
        #[arg(long)]
        html: bool,
        /// Subject and plain part (the default)
        #[arg(long, conflicts_with = "html")]
        text: bool,
    },
    /// List messages: sent, queued and refused, newest first
    Outbox,
    /// Try to send all queued messages now
    #[command(
        after_long_help = "Exit codes: 0 the queue is empty; 1 the catalog cannot be read; 2 bad \
                           configuration; 3 a message is still queued or was refused."
    )]
    Retry,
    /// Send the administrators a test mail
    #[command(
        after_long_help = "Exit codes: 0 sent to all; 1 sent to nobody; 2 bad configuration; 3 sent to some."
    )]
    Test,
    /// Send the administrators a mail of any type: the weekly digest, or a template of your own
    #[command(after_long_help = "Examples:
  hubvault mail send digest                      # in a crontab: 0 8 * * 1
  hubvault mail send success --backup latest     # again, with the archive if it fits
  hubvault mail send failure --message 'the disk of db2 is dead'

Exit codes: 0 sent to all; 1 sent to nobody, or no such type; 2 bad configuration; 3 sent to some.")]
    Send {
        /// digest, success, failure, or the name of a template in `email.templates_dir` without its
        /// ending
        kind: String,
        /// With success: the backup to report and attach; an id, a prefix of one, a file, or `latest`
        #[arg(long, value_name = "BACKUP", conflicts_with = "message")]
        backup: Option<String>,
        /// With failure: what failed, in your own words
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
    },
}

fn mail_types_help() -> String {
    let names: Vec<&str> = MAIL_TYPES.iter().map(|it| it.name).collect();
    format!("{}, or a template of your own", names.join(", "))
}

impl MailCommand {
    /// `hubvault mail send digest`
    pub(super) fn digest() -> Self {
        Self::Send {
            kind: "digest".to_owned(),
            backup: None,
            message: None,
        }
    }
}

/// Runs one of them.
pub(crate) fn run(settings: &Settings, command: &MailCommand) -> Result<Exit> {
    let job = settings.job();
    let catalog = catalog::current_or_new(job)?;
    let (zone, cancel) = (settings.zone.clone(), Cancel::new());
    let mut notifier = Notifier::new(job, Some(&catalog), &zone, &cancel);
    if let MailCommand::Preview { .. } | MailCommand::Send { .. } = command {
        notifier = notifier.with_risks(known_risks(settings, &catalog)?);
    }
    match command {
        MailCommand::Preview { kind, html, .. } => {
            known(job, kind)?;
            let record = last_run(&catalog, job, kind)?;
            let rendered = notifier.preview(kind, &record);
            for problem in &rendered.problems {
                tracing::warn!("{problem}");
            }
            if answer::is_json() {
                answer::json(&json!({
                    "type": kind, "subject": rendered.subject, "text": rendered.text,
                    "html": rendered.html, "problems": rendered.problems,
                }))?;
            } else if *html {
                print(&rendered.html)?;
            } else {
                print(&format!(
                    "Subject: {}\n\n{}",
                    rendered.subject, rendered.text
                ))?;
            }
            Ok(if rendered.problems.is_empty() {
                Exit::Done
            } else {
                Exit::Warnings
            })
        }
        MailCommand::Outbox => outbox(&catalog, &zone),
        MailCommand::Retry => {
            let tried = notifier.retry()?;
            if answer::is_json() {
                answer::json(&tried)?;
            } else if tried.is_empty() {
                print("no messages are queued\n")?;
            } else {
                print(&table(&tried, &zone))?;
            }
            let missed = tried.iter().any(OutboxItem::is_missed);
            Ok(if missed { Exit::Warnings } else { Exit::Done })
        }
        MailCommand::Test => sent(job, &notifier.without_queue().send("test", None)),
        MailCommand::Send {
            kind,
            backup,
            message,
        } => {
            known(job, kind)?;
            let outcome = match (About::of(kind), backup, message) {
                (About::Success, Some(word), _) => {
                    notifier.resend(&published(&catalog, job, word)?)
                }
                (About::Failure, _, Some(words)) => notifier.report_failure(words),
                (_, None, None) => notifier.send(kind, Some(&last_run(&catalog, job, kind)?)),
                _ => {
                    bail!("--backup goes with success, and --message with failure, not with {kind}")
                }
            };
            sent(job, &outcome)
        }
    }
}

/// What a digest says of what is at risk.
fn known_risks(settings: &Settings, catalog: &Catalog) -> Result<Vec<String>> {
    let look = Look::new(settings.job(), catalog, Timestamp::now(), &settings.zone)?;
    Ok(settings.with_weakened(risks(&look)?))
}

/// The run of an archive that still is there.
fn published(catalog: &Catalog, job: &Job, word: &str) -> Result<BackupRecord> {
    // The catalog knows archives by name; whoever gives a path means the file.
    let name = Path::new(word)
        .file_name()
        .map_or(word.into(), OsStr::to_string_lossy);
    let record = catalog.find(&name)?.with_context(|| {
        format!(
            "no backup {word:?} in {}; `hubvault list` lists them, and `hubvault catalog rebuild` \
             adds archives that the catalog does not have",
            job.local_directory().display()
        )
    })?;
    match record.file() {
        Some(_) if archive(&record).is_some() => Ok(record),
        Some(file) => bail!(
            "the archive {} is missing and cannot be sent",
            file.display()
        ),
        None => bail!(
            "backup {} has no archive, so there is no success to report",
            record.id.short()
        ),
    }
}

fn known(job: &Job, kind: &str) -> Result<()> {
    let types = Templates::new(job.delivery.templates.as_deref()).types();
    if !types.contains(kind) {
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        bail!(
            "there is no mail type {kind:?}; there are {}, and a file {kind}.txt in \
             email.templates_dir makes one",
            types.join(", ")
        );
    }
    Ok(())
}

/// The run that a mail of this type would report; a sample before the first.
fn last_run(catalog: &Catalog, job: &Job, kind: &str) -> Result<BackupRecord> {
    let found = catalog.newest(Some(&job.name), |it| match About::of(kind) {
        About::Failure => it.run.error.is_some(),
        About::Success => it.run.was_published(),
        _ => it.run.finished_at.is_some(),
    })?;
    Ok(found.unwrap_or_else(|| {
        tracing::info!("there is no such run yet; showing a sample");
        let mut record = sample::record(&job.name);
        if About::of(kind) == About::Failure {
            record.copies.clear();
            record.error = Some("connecting to db:5432: connection refused".to_owned());
        }
        record
    }))
}

fn sent(job: &Job, outcome: &DeliveryOutcome) -> Result<Exit> {
    if job.delivery.mail.is_none() {
        let why = job.delivery.missing.as_deref();
        bail!(
            "no mail is configured: {}",
            why.unwrap_or("email.enabled is false")
        );
    }
    let DeliveryRecord {
        notified: names,
        undelivered,
        ..
    } = outcome.record.clone();
    if !names.is_empty() && answer::is_json() {
        answer::json(&outcome.record)?;
    } else if !names.is_empty() {
        print(&format!("sent to {}\n", names.join(", ")))?;
    }
    let warnings = outcome.warnings();
    if names.is_empty() {
        let whys: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        bail!("{}", whys.join("; "));
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Ok(if undelivered.is_empty() && warnings.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

fn table(items: &[OutboxItem], zone: &TimeZone) -> String {
    let when = in_zone("when", zone);
    let header = [
        ("id", Align::Left),
        (when.as_str(), Align::Left),
        ("type", Align::Wrap),
        ("by", Align::Left),
        ("state", Align::Left),
        ("tries", Align::Detail),
        ("to", Align::Wrap),
    ];
    let rows: Vec<Vec<String>> = items.iter().map(|item| line(item, zone)).collect();
    columns(&header, &rows)
}

fn outbox(catalog: &Catalog, zone: &TimeZone) -> Result<Exit> {
    if answer::is_json() {
        answer::json(&catalog.outbox()?)?;
        return Ok(Exit::Done);
    }
    let items = catalog.messages()?;
    if items.is_empty() {
        print("no messages yet\n")?;
        return Ok(Exit::Done);
    }
    let mut out = table(&items, zone);
    let errors = items.iter().filter(|item| item.is_missed());
    for (item, error) in errors.filter_map(|item| Some((item, item.error.as_ref()?))) {
        out += &format!("\n  {}: {error}\n", short(item));
    }
    print(&out)?;
    Ok(Exit::Done)
}

fn short(item: &OutboxItem) -> String {
    item.id.chars().take(8).collect()
}

fn line(item: &OutboxItem, zone: &TimeZone) -> Vec<String> {
    let kind = match &item.content {
        Content::Email {
            enclosure: Some(enclosure),
            ..
        } => format!("{} with {}", item.kind, enclosure.name),
        _ => item.kind.clone(),
    };
    let to: Vec<String> = item
        .recipients
        .iter()
        .map(|recipient| match recipient.state {
            RecipientState::Accepted => recipient.address.clone(),
            RecipientState::Waiting => format!("{} (queued)", recipient.address),
            RecipientState::Refused if item.superseded => {
                format!("{} (superseded)", recipient.address)
            }
            RecipientState::Refused => format!("{} (REFUSED)", recipient.address),
        })
        .collect();
    vec![
        short(item),
        local(item.created_at, zone),
        kind,
        item.channel.clone(),
        item.state.as_str().to_owned(),
        item.tries.to_string(),
        to.join(", "),
    ]
}
