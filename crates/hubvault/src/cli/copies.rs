//! `hubvault copies`: the copies of backups at every destination.

use super::Exit;
use super::copies_sync::{sync, warn_of};
use crate::text::{Align, columns, in_zone, local, print};
use crate::{answer, signals};
use anyhow::{Result, bail};
use clap::Subcommand;
use clap::error::ErrorKind;
use hubvault_config::Settings;
use hubvault_engine::catalog::{self, BackupCopy, BackupRecord, Catalog, CopyState};
use hubvault_engine::overview::spooled_text;
use hubvault_engine::publish::{self, CheckedCopy, Depth, Removed, check_copies, remove_copy};
use hubvault_model::{ByteSize, Cancel, counted};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(crate) enum CopiesCommand {
    /// List the copies of every backup, newest first
    List {
        /// Only those of this backup: an id, an unambiguous prefix of one, a file name, or `latest`
        backup: Option<String>,
        /// Only those at this destination
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
    },
    /// Copy what is missing at a destination, newest first
    ///
    /// It lists each destination: a copy that somebody deleted there is made again. An archive that is missing or damaged
    /// in the archive directory (local) is brought back from a copy elsewhere.
    #[command(after_long_help = "Examples:
  hubvault copies sync
  hubvault copies sync --destination s3    # also fills a new destination

Exit codes: 0 everything is copied; 1 failed; 2 bad usage or configuration; 3 a copy is still missing, or a destination \
cannot be used.")]
    Sync {
        /// Only to this destination
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
        /// No progress bar and no progress lines
        #[arg(long)]
        no_progress: bool,
    },
    /// Look for every copy, and read copies back
    ///
    /// Without options it looks whether each copy is there with its size.
    #[command(after_long_help = "Examples:
  hubvault copies verify
  hubvault copies verify --sample              # read some back, as the service does once a day
  hubvault copies verify --full --destination s3

Exit codes: 0 all are there; 1 failed; 2 bad usage or configuration; 3 a copy is missing or damaged, or a destination \
does not answer.")]
    Verify {
        /// Only at this destination
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
        /// Read every copy back whole and compare its checksum
        #[arg(long)]
        full: bool,
        /// Read back those that were not for the longest time, within the budget of a day
        #[arg(long, conflicts_with = "full")]
        sample: bool,
    },
    /// Remove one copy of a backup, unless it is the last one
    Remove {
        /// An id, an unambiguous prefix of one, a file name, or `latest`
        backup: String,
        /// Where the copy is
        #[arg(long, value_name = "NAME")]
        destination: String,
    },
}

/// Lists, copies, looks or removes.
pub(crate) fn run(settings: &Settings, command: &CopiesCommand) -> Result<Exit> {
    let job = settings.job();
    let catalog = catalog::current(job)?;
    match command {
        CopiesCommand::List {
            backup,
            destination,
        } => list(
            settings,
            &catalog,
            backup.as_deref(),
            destination.as_deref(),
        ),
        CopiesCommand::Sync {
            destination,
            no_progress,
        } => {
            check_name(settings, destination.as_deref())?;
            sync(settings, &catalog, destination.as_deref(), *no_progress)
        }
        CopiesCommand::Verify {
            destination,
            full,
            sample,
        } => {
            check_name(settings, destination.as_deref())?;
            let depth = match (full, sample) {
                (true, _) => Depth::Full,
                (false, true) => Depth::Sample(job.monitor.read_back),
                (false, false) => Depth::Look,
            };
            let cancel = Cancel::new();
            let _signals = signals::watch(cancel.clone(), || {})?;
            let only = destination.as_deref();
            if let Err(error) = publish::adopt(job, &catalog, &cancel) {
                tracing::warn!("could not look for what other machines made and removed: {error}");
            }
            let checked = check_copies(job, &catalog, only, depth, &cancel)?;
            verified(&checked)
        }
        CopiesCommand::Remove {
            backup,
            destination,
        } => remove(settings, &catalog, backup, destination),
    }
}

fn remove(settings: &Settings, catalog: &Catalog, backup: &str, name: &str) -> Result<Exit> {
    let record = find(catalog, backup)?;
    // One that is not configured any more has a record yet.
    if record.copy_at(name).is_none() {
        check_name(settings, Some(name))?;
    }
    let removed = remove_copy(settings.job(), catalog, &record, name)?;
    let id = record.id;
    if answer::is_json() {
        let is_removed = removed != Removed::Record;
        answer::json(&json!({ "id": id, "destination": name, "removed": is_removed }))?;
        return Ok(Exit::Done);
    }
    let id = id.short();
    print(&match removed {
        Removed::Copy => format!("removed the copy of backup {id} at {name}\n"),
        Removed::Queued => format!("removed the copy of backup {id} at {name} from the queue\n"),
        Removed::Record => format!(
            "removed the record of the copy of backup {id} at {name}; its place is not configured any more, and nothing was \
             touched there\n"
        ),
    })?;
    Ok(Exit::Done)
}

/// What the service does between two runs.
pub(super) fn tend(settings: &Settings) -> Result<Exit> {
    let job = settings.job();
    let catalog = catalog::current(job)?;
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let tended = publish::tend(job, &catalog, &settings.zone, &cancel)?;
    let mut is_wrong = !tended.problems.is_empty();
    for problem in &tended.problems {
        tracing::warn!("{problem}");
    }
    for outcome in &tended.copied {
        is_wrong |= outcome.error.is_some();
        warn_of(outcome);
    }
    for copy in tended.checked.iter().filter(|copy| is_bad(copy)) {
        is_wrong = true;
        tracing::warn!("{}", sentence(copy));
    }
    Ok(if is_wrong { Exit::Warnings } else { Exit::Done })
}

fn check_name(settings: &Settings, name: Option<&str>) -> Result<()> {
    let destinations = &settings.job().destinations;
    match name {
        Some(name) if destinations.named(name).is_none() => {
            let names: Vec<&str> = destinations.iter().map(|it| it.name.as_str()).collect();
            let hint = hubvault_config::nearest(name, names.iter().copied());
            let names = names.join(", ");
            bad_usage(&format!(
                "there is no destination {name:?}{hint} (there are {names})"
            ))
        }
        _ => Ok(()),
    }
}

fn bad_usage(what: &str) -> Result<()> {
    Err(clap::Error::raw(ErrorKind::InvalidValue, format!("{what}\n")).into())
}

fn find(catalog: &Catalog, backup: &str) -> Result<BackupRecord> {
    match catalog.find(backup)? {
        Some(record) => Ok(record),
        None => bail!("no backup {backup:?}; hubvault list lists them"),
    }
}

fn list(
    settings: &Settings,
    catalog: &Catalog,
    backup: Option<&str>,
    destination: Option<&str>,
) -> Result<Exit> {
    let records = match backup {
        Some(backup) => vec![find(catalog, backup)?],
        None => catalog.runs(&settings.job().name)?,
    };
    let job = settings.job();
    let mut all: Vec<(&BackupRecord, &BackupCopy)> = Vec::new();
    for record in records.iter().filter(|record| record.job == job.name) {
        let copies = record.copies.iter();
        let wanted = copies.filter(|it| destination.is_none_or(|only| it.destination == only));
        all.extend(wanted.map(|copy| (record, copy)));
    }
    if all.is_empty() {
        // One that is not configured any more is listed, too.
        check_name(settings, destination)?;
    }
    if backup.is_none() {
        all.retain(|(_, copy)| copy.is_expected());
    }
    if answer::is_json() {
        let of = |(record, copy): &(&BackupRecord, &BackupCopy)| {
            let mut value = json!(copy);
            value["id"] = json!(record.id);
            value["started_at"] = json!(record.started_at);
            value
        };
        answer::json(&all.iter().map(of).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    let zone = &settings.zone;
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|(record, copy)| {
            vec![
                record.id.short(),
                local(record.started_at, zone),
                copy.destination.clone(),
                copy.state.as_str().to_owned(),
                copy.bytes
                    .map_or_else(String::new, |bytes| ByteSize(bytes).to_string()),
                details(copy, record, zone),
            ]
        })
        .collect();
    let started = in_zone("started", zone);
    let header = [
        ("id", Align::Left),
        (started.as_str(), Align::Left),
        ("at", Align::Left),
        ("state", Align::Left),
        ("size", Align::Right),
        ("", Align::Wrap),
    ];
    print(&columns(&header, &rows))?;
    Ok(Exit::Done)
}

fn details(copy: &BackupCopy, of: &BackupRecord, zone: &jiff::tz::TimeZone) -> String {
    let mut parts = Vec::new();
    if copy.is_unconfigured() {
        let url = copy.place();
        let url = url.map_or_else(String::new, |url| format!(" ({url})"));
        parts.push(format!("not configured any more{url}"));
    }
    if let Some(at) = copy.checked_at {
        parts.push(format!("compared {}", local(at, zone)));
    }
    if let Some(until) = copy.locked_until {
        parts.push(format!("locked until {}", local(until, zone)));
    }
    if copy.is_present() {
        parts.extend(spooled_text(copy, of).map(str::to_owned));
    }
    if let Some(at) = copy
        .next_try_at
        .filter(|_| copy.state == CopyState::Pending)
    {
        parts.push(format!("next try {}", local(at, zone)));
    }
    parts.extend(copy.error.clone());
    parts.join("; ")
}

fn is_bad(copy: &CheckedCopy) -> bool {
    copy.error.is_some() || copy.state != CopyState::Present
}

fn sentence(copy: &CheckedCopy) -> String {
    let (id, name) = (copy.backup.short(), &copy.destination);
    let what = match copy.state {
        _ if !copy.is_checked => "could not be checked:".to_owned(),
        CopyState::Present => "present, but".to_owned(),
        other => format!("{}:", other.as_str()),
    };
    let why = copy.error.as_deref().unwrap_or_default();
    format!("the copy of backup {id} at {name}: {what} {why}")
}

fn verified(checked: &[CheckedCopy]) -> Result<Exit> {
    let bad: Vec<&CheckedCopy> = checked.iter().filter(|copy| is_bad(copy)).collect();
    if answer::is_json() {
        let of = |copy: &CheckedCopy| {
            json!({
                "id": copy.backup, "destination": copy.destination, "state": copy.state,
                "read_back": copy.read_back, "error": copy.error,
            })
        };
        answer::json(&checked.iter().map(of).collect::<Vec<_>>())?;
    } else {
        for copy in &bad {
            print(&format!("{}\n", sentence(copy)))?;
        }
        let read = checked.iter().filter(|copy| copy.read_back).count();
        let all = counted(checked.len() as u64, "copy");
        print(&format!(
            "{all} looked for, {read} read back, {} wrong\n",
            bad.len()
        ))?;
    }
    Ok(if bad.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}
