//! `hubvault alert`: alerts listed, silenced and tested.

use super::Exit;
use super::check::known;
use crate::answer;
use crate::text::{Align, Meaning, columns, paint, print, time_span};
use anyhow::{Result, bail};
use clap::Subcommand;
use hubvault_config::Settings;
use hubvault_engine::catalog::{AlertState, Catalog, CheckState};
use hubvault_engine::delivery::{AlertFacts, Notifier};
use hubvault_engine::job::Job;
use hubvault_engine::overview::{age, moment};
use hubvault_engine::state::StateDir;
use hubvault_model::Cancel;
use hubvault_notify::EventKind;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// List what `hubvault check --alert` last found, who was notified, and what is silenced
    #[command(
        after_long_help = "Exit codes: 0 nothing is wrong; 1 something is; 2 bad configuration."
    )]
    List,
    /// Silence a check for a while; its recovery is still reported
    #[command(after_long_help = "Examples:
  hubvault alert silence disk --for 2h
  hubvault alert silence disk --for 0s    # end the silence

Exit codes: 0 silenced; 1 the catalog cannot be written; 2 no such check, or bad configuration.")]
    Silence {
        /// The check
        check: String,
        /// How long: 30 min, 2h, 3d
        #[arg(long = "for", value_name = "TIME", value_parser = time_span)]
        length: SignedDuration,
    },
    /// Send an alert and its recovery, marked as a test, to all recipients
    #[command(
        after_long_help = "Exit codes: 0 sent to all; 1 sent to nobody; 2 bad configuration; 3 sent to some."
    )]
    Test,
}

/// Runs one of them.
pub(crate) fn run(settings: &Settings, command: &AlertCommand) -> Result<Exit> {
    let job = settings.job();
    if let AlertCommand::Silence { check, .. } = command {
        known(job, check)?;
    }
    let catalog = Catalog::open(&StateDir::open(job.state_root())?)?;
    match command {
        AlertCommand::List => list(job, &catalog, &settings.zone),
        AlertCommand::Silence { check, length } => {
            let now = Timestamp::now();
            let until = now.checked_add(*length)?;
            catalog.silence(&job.name, check, until, now)?;
            if answer::is_json() {
                answer::json(&json!({ "check": check, "silenced_until": until }))?;
            } else {
                let what = if until > now {
                    format!("silenced until {}", moment(until, &settings.zone))
                } else {
                    "no longer silenced".to_owned()
                };
                print(&format!("{check}: {what}\n"))?;
            }
            Ok(Exit::Done)
        }
        AlertCommand::Test => test(job, &catalog, &settings.zone),
    }
}

/// What a cell has where there is nothing.
const NONE: &str = "-";
/// Columns that are left out where all of their cells have nothing, the last one first.
const NOTIFIED: usize = 4;
const SILENCED: usize = 3;

fn list(job: &Job, catalog: &Catalog, zone: &TimeZone) -> Result<Exit> {
    let states = catalog.alerts(&job.name)?;
    let now = Timestamp::now();
    if answer::is_json() {
        answer::json(&states)?;
    } else if states.is_empty() {
        print("no checks recorded yet; run hubvault check --alert\n")?;
    } else {
        let mut rows: Vec<Vec<String>> =
            states.iter().map(|state| line(state, now, zone)).collect();
        let mut header = vec![
            ("check", Align::Left),
            ("state", Align::Left),
            ("since", Align::Left),
            ("silenced until", Align::Left),
            ("notified", Align::Detail),
            ("what", Align::Wrap),
        ];
        for number in [NOTIFIED, SILENCED] {
            if rows.iter().all(|row| row[number] == NONE) {
                header.remove(number);
                for row in &mut rows {
                    row.remove(number);
                }
            }
        }
        print(&columns(&header, &rows))?;
    }
    let is_failing = |state: &AlertState| state.state == CheckState::Failing;
    Ok(if states.iter().any(is_failing) {
        Exit::Failing
    } else {
        Exit::Done
    })
}

fn line(state: &AlertState, now: Timestamp, zone: &TimeZone) -> Vec<String> {
    let ago = |at| format!("{} ago", age(at, now));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let silenced = state.silenced_until.filter(|until| now < *until);
    vec![
        state.check.clone(),
        match state.state {
            CheckState::Failing => paint(Meaning::Bad, "FAILING"),
            CheckState::Ok => paint(Meaning::Good, state.state.as_str()),
            CheckState::Skipped => state.state.as_str().to_owned(),
        },
        ago(state.since),
        or_none(silenced.map(|until| moment(until, zone))),
        or_none(state.told_at.map(ago)),
        state.what.replace('\n', " | "),
    ]
}

fn test(job: &Job, catalog: &Catalog, zone: &TimeZone) -> Result<Exit> {
    if job.monitor.test_mode {
        bail!("nothing was sent: monitor.test_mode (TEST_MODE) is set");
    }
    let cancel = Cancel::new();
    let alert = AlertFacts {
        check: "test".to_owned(),
        what: "this is a test of hubvault alert test; nothing is wrong".to_owned(),
        since: moment(Timestamp::now(), zone),
        next: "nothing: this is only a test".to_owned(),
    };
    let both = [
        (EventKind::Alert, alert.clone()),
        (EventKind::Recovered, alert),
    ];
    let last = catalog.newest(Some(&job.name), |_| true)?;
    let notifier = Notifier::new(job, Some(catalog), zone, &cancel).without_queue();
    let outcome = notifier.alerts(&both, last.as_ref()).delivery;
    for warning in outcome.warnings() {
        tracing::warn!("{warning}");
    }
    if outcome.record.notified.is_empty() {
        bail!("no recipient was reached; hubvault status lists the recipients");
    }
    if answer::is_json() {
        answer::json(&outcome.record)?;
    } else {
        let people = outcome.record.notified.join(", ");
        print(&format!("notified {people}\n"))?;
    }
    Ok(if outcome.record.is_complete() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}
