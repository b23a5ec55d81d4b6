//! `hubvault list` and `hubvault catalog rebuild`.

use super::Exit;
use super::list_store::{self, Listing};
use super::select::FromArgs;
use crate::answer;
use crate::text::{Align, Meaning, columns, grouped, in_zone, local, paint, print, time_span};
use anyhow::Result;
use clap::Args;
use hubvault_config::Settings;
use hubvault_engine::catalog;
use hubvault_engine::catalog::{BackupRecord, Catalog, Rebuilt, RunSummary, State, rebuild};
use hubvault_engine::overview::{Presence, by_record, presence};
use hubvault_engine::state::StateDir;
use hubvault_model::ByteSize;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// `hubvault list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// List the backups in this store instead (`s3://bucket/prefix`); no catalog is needed
    #[arg(value_name = "URL", conflicts_with = "failed")]
    pub(crate) place: Option<String>,
    #[command(flatten)]
    from: FromArgs,
    /// Only the newest N of them
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only runs that failed
    #[arg(long)]
    failed: bool,
    /// Only runs that began since: `12h`, `7d`, or a date (2026-01-31), or a time (2026-01-31T02:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
}

/// `hubvault catalog rebuild`
#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// From the archives there and their sidecars: the name of a destination, or a URL (`s3://bucket/prefix`)
    #[arg(long, value_name = "DESTINATION")]
    from: Option<String>,
    /// Also add backups of other database servers than that of the newest backup here
    #[arg(long, requires = "from")]
    every_server: bool,
}

/// From when on.
#[derive(Clone, Copy, Debug)]
enum Since {
    Ago(SignedDuration),
    /// Its beginning where the job's schedule is.
    Day(Date),
    At(Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    let ago = time_span(text).map(Since::Ago);
    ago.or_else(|_| text.parse().map(Since::At))
        .or_else(|_| text.parse().map(Since::Day))
        .map_err(|_| {
            "expected a time such as `12h` or `7d`, a date such as 2026-01-31, or a time as in RFC 3339".to_owned()
        })
}

impl Since {
    fn begin(self, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
        Ok(match self {
            Self::Ago(span) => now.checked_sub(span)?,
            Self::Day(day) => day.to_zoned(zone.clone())?.timestamp(),
            Self::At(at) => at,
        })
    }
}

/// Lists the runs, newest first.
pub(crate) fn run(settings: &Settings, args: &ListArgs) -> Result<Exit> {
    let (job, zone) = (settings.job(), &settings.zone);
    let since = args.since.map(|since| since.begin(Timestamp::now(), zone));
    let since = since.transpose()?;
    let (url, from) = (args.place.as_deref(), &args.from);
    let stored = list_store::records(settings, url, from, args.limit, since)?;
    if let Some(stored) = stored {
        return print_stored(&stored, zone);
    }
    let catalog = catalog::current(job)?;
    let limit = args.limit.unwrap_or(usize::MAX);
    let (mut runs, mut rows) = (Vec::new(), Vec::new());
    catalog.each_summary(None, |summary| {
        if runs.len() + rows.len() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        let run = &summary.run;
        let is_late = since.is_none_or(|since| run.started_at >= since);
        if !is_late || (args.failed && run.state != State::Failed) {
            return Ok(ControlFlow::Continue(()));
        }
        if answer::is_json() {
            runs.push(summary.run);
        } else {
            rows.push(line(&summary, zone, presence));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if answer::is_json() {
        let one = |run: &BackupRecord| as_json(&catalog.whole(run)?, presence);
        let all: Vec<Value> = runs.iter().map(one).collect::<Result<_>>()?;
        answer::json(&all)?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        let directory = job.local_directory().display();
        let is_part = args.failed || since.is_some() || args.limit.is_some();
        let text = if is_part {
            format!("no such runs in {directory}\n")
        } else {
            format!("no backups in {directory} yet; `hubvault backup` takes the first\n")
        };
        print(&text)?;
        return Ok(Exit::Done);
    }
    print_table(&rows, zone)?;
    Ok(Exit::Done)
}

/// The backups of a store. What cannot be read was complained of already.
fn print_stored(stored: &Listing, zone: &TimeZone) -> Result<Exit> {
    let exit = if stored.unreadable.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    };
    let (place, records) = (&stored.place, &stored.records);
    let unreadable = stored.unlisted().count();
    if answer::is_json() {
        let mut all: Vec<Value> = (records.iter())
            .map(|record| as_json(record, by_record))
            .collect::<Result<_>>()?;
        all.extend(stored.unlisted());
        answer::json(&all)?;
    } else if !records.is_empty() {
        let one = |record| line(&RunSummary::of(record), zone, by_record);
        print_table(&records.iter().map(one).collect::<Vec<_>>(), zone)?;
    } else if unreadable > 0 {
        let text = match unreadable {
            1 => format!("the only archive in {place} cannot be read\n"),
            many => format!("none of the {many} archives in {place} can be read\n"),
        };
        print(&text)?;
    } else {
        print(&format!("no such backups in {place}\n"))?;
    }
    Ok(exit)
}

fn print_table(rows: &[Vec<String>], zone: &TimeZone) -> Result<()> {
    let started = in_zone("started", zone);
    let header = [
        ("id", Align::Left),
        (started.as_str(), Align::Left),
        ("state", Align::Left),
        ("tables", Align::Detail),
        ("rows", Align::Detail),
        ("size", Align::Right),
        ("warnings", Align::Detail),
        ("archive", Align::Cut),
    ];
    Ok(print(&columns(&header, rows))?)
}

/// The record, and whether its archive is missing.
fn as_json(record: &BackupRecord, look: fn(&BackupRecord) -> Presence) -> Result<Value> {
    let mut json = serde_json::to_value(record)?;
    if look(record) == Presence::Missing {
        json["missing"] = Value::Bool(true);
    }
    Ok(json)
}

/// The state in its colour; one that needs nobody has none.
pub(super) fn state_painted(record: &BackupRecord) -> String {
    let text = record.state_text();
    match record.state {
        State::Proven if text == State::Proven.as_str() => paint(Meaning::Good, &text),
        State::Failed if record.was_stopped() => text,
        State::Failed => paint(Meaning::Bad, &text),
        State::Proven | State::Unproven => paint(Meaning::Warning, &text),
        State::Running => text,
    }
}

/// An error without the `role@host:port/database` that it begins with: all runs of the list have the same.
fn without_place(error: &str) -> &str {
    let is_place = |start: &str| start.contains('@') && !start.contains(' ');
    let parts = error.split_once(": ").filter(|(start, _)| is_place(start));
    parts.map_or(error, |(_, rest)| rest)
}

fn line(summary: &RunSummary, zone: &TimeZone, look: fn(&BackupRecord) -> Presence) -> Vec<String> {
    let record = &summary.run;
    let archive = match (record.archive_name(), &record.error) {
        (Some(name), _) => {
            let note = match look(record) {
                Presence::Removed if record.is_lost() => "(missing, accepted) ".to_owned(),
                Presence::Removed => "(removed by retention) ".to_owned(),
                Presence::Missing => paint(Meaning::Bad, "(FILE IS MISSING) "),
                Presence::Present if record.pinned => "(pinned) ".to_owned(),
                Presence::Present | Presence::NeverMade => String::new(),
            };
            note + name
        }
        (None, Some(error)) => match error.split_once('\n') {
            Some((first, _)) => format!("{} …", without_place(first)),
            None => without_place(error).to_owned(),
        },
        (None, None) => "-".to_owned(),
    };
    let made = record.state != State::Failed && record.state != State::Running;
    let number = |text: String| if made { text } else { "-".to_owned() };
    vec![
        record.id.short(),
        local(record.started_at, zone),
        state_painted(record),
        number(summary.tables.to_string()),
        number(grouped(summary.rows)),
        record
            .bytes
            .map_or_else(|| "-".to_owned(), |bytes| ByteSize(bytes).to_string()),
        summary.warnings.to_string(),
        archive,
    ]
}

/// Rebuilds the catalog from the archives in the directory, or in a store.
pub(crate) fn rebuild_catalog(settings: &Settings, args: &RebuildArgs) -> Result<Exit> {
    if let Some(from) = &args.from {
        return list_store::rebuild_catalog(settings, from, args.every_server);
    }
    let job = settings.job();
    let catalog = Catalog::open(&StateDir::open(job.state_root())?)?;
    let found = rebuild(&catalog, job.local_directory())?;
    for line in found.unreadable_in_words() {
        tracing::warn!("{line}");
    }
    let exit = if found.unreadable.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    };
    if answer::is_json() {
        answer::json(&rebuilt_json(&found))?;
        return Ok(exit);
    }
    let mut out = String::new();
    let added = found.added.iter().map(|record| ("added", record));
    let returned = found.returned.iter().map(|record| ("found again", record));
    for (word, record) in added.chain(returned) {
        let file = record.file().map(|file| file.display().to_string());
        out += &format!(
            "{word} {}  {}\n",
            record.id.short(),
            file.unwrap_or_default()
        );
    }
    let again = match found.returned.len() {
        0 => String::new(),
        count => format!("{count} found again, "),
    };
    print(&format!(
        "{out}{} added, {again}{} known already\n",
        found.added.len(),
        found.known
    ))?;
    Ok(exit)
}

fn rebuilt_json(found: &Rebuilt) -> Value {
    let all = |records: &[BackupRecord]| -> Vec<Value> {
        let one = |record: &BackupRecord| json!({ "id": record.id, "file": record.file() });
        records.iter().map(one).collect()
    };
    let unreadable = found
        .unreadable
        .iter()
        .map(|(path, error)| json!({ "file": path, "error": error.to_string() }));
    json!({
        "added": all(&found.added), "returned": all(&found.returned), "known": found.known,
        "unreadable": unreadable.collect::<Vec<_>>(),
    })
}
