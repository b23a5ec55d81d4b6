//! `hubvault check`: every check with what it found and what to do next.

use super::{Cli, Exit};
use crate::text::{Meaning, grid, paint, plain, print};
use crate::{answer, signals};
use anyhow::{Result, bail};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use hubvault_config::{Settings, nearest};
use hubvault_engine::catalog;
use hubvault_engine::job::Job;
use hubvault_engine::monitor::{Check, CheckState, Finding, Look, Watched, checks, examine, watch};
use hubvault_model::{Cancel, indented};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `hubvault check`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  hubvault check
  hubvault check time disk
  */5 * * * *  hubvault check --alert > /dev/null    # in a crontab
  hubvault check --json | jq -r '.findings[] | select(.state == \"failing\") | .what'

Changes nothing without --alert. With it, run it every few minutes from cron or a timer: each \
change is notified once. docs/operations.md says what each check means and what to do.

Exit codes: 0 nothing is wrong; 1 something is, or the catalog cannot be read; 2 no such check, \
or bad configuration.")]
pub(crate) struct CheckArgs {
    /// Only these checks: built-in ones, or those of `[[check]]`
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Notify the recipients of what changed since the last check, and call the ping of `[monitor]`
    #[arg(long, conflicts_with = "names")]
    alert: bool,
}

impl CheckArgs {
    /// `hubvault check --alert`
    pub(super) fn alert() -> Self {
        Self {
            names: Vec::new(),
            alert: true,
        }
    }
}

/// Runs the checks once; 1 if one fails.
pub(crate) fn run(settings: &Settings, args: &CheckArgs) -> Result<Exit> {
    let job = settings.job();
    for name in &args.names {
        known(job, name)?;
    }
    let catalog = if args.alert {
        catalog::current_or_new(job)?
    } else {
        catalog::current(job)?
    };
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|n| n == name);
    let watched = if args.alert {
        watch(job, &catalog, &settings.zone, &cancel)?
    } else {
        let look = Look::new(job, &catalog, Timestamp::now(), &settings.zone)?;
        Watched {
            findings: examine(&look, &cancel, &wanted),
            ..Watched::default()
        }
    };
    let findings = &watched.findings;
    if cancel.is_requested() {
        bail!("stopped on request");
    }
    let all_well = findings.iter().all(|f| f.state != CheckState::Failing);
    if answer::is_json() {
        let mut report = json!({ "job": job.name, "ok": all_well, "findings": findings });
        if args.alert {
            report["notices"] = json!(watched.notices);
            report["test_mode"] = json!(watched.test_mode);
            report["told"] = json!(watched.delivery.record.notified);
            report["untold"] = json!(watched.delivery.record.undelivered);
        }
        answer::json(&report)?;
    } else {
        print(&(findings_text(findings) + &notices_text(&watched)))?;
    }
    for warning in watched.delivery.warnings() {
        tracing::warn!("{warning}");
    }
    for problem in &watched.problems {
        tracing::warn!("{problem}");
    }
    Ok(if all_well { Exit::Done } else { Exit::Failing })
}

/// What all checks find now, for the service; notifies nobody.
pub(super) fn examined(settings: &Settings) -> Result<Value> {
    let job = settings.job();
    let catalog = catalog::current(job)?;
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let look = Look::new(job, &catalog, Timestamp::now(), &settings.zone)?;
    Ok(json!(examine(&look, &cancel, &|_| true)))
}

/// Wrong usage where there is no check of this name.
pub(super) fn known(job: &Job, name: &str) -> Result<()> {
    let all = checks(job);
    let mut names = all.iter().map(Check::name);
    if names.clone().any(|known| known == name) {
        return Ok(());
    }
    let hint = nearest(name, names.clone());
    let known: Vec<&str> = names.by_ref().collect();
    let what = format!(
        "there is no check {name:?}{hint} (there are {})",
        known.join(", ")
    );
    Err(Cli::command().error(ErrorKind::InvalidValue, what).into())
}

/// Which notices were sent, and to whom.
fn notices_text(watched: &Watched) -> String {
    if watched.notices.is_empty() {
        return String::new();
    }
    let all: Vec<String> = watched
        .notices
        .iter()
        .map(|noticed| format!("{} {}", noticed.check, noticed.notice.as_str()))
        .collect();
    let notified = &watched.delivery.record.notified;
    let who = match (watched.test_mode, notified.is_empty()) {
        (true, _) => "nobody (monitor.test_mode is set)".to_owned(),
        (false, true) => "nobody".to_owned(),
        (false, false) => notified.join(", "),
    };
    format!("\nnotified {who}: {}\n", all.join(", "))
}

/// A line a check, and what to do under those that fail.
pub(super) fn findings_text(findings: &[Finding]) -> String {
    let row = |finding: &Finding| {
        let word = match finding.state {
            CheckState::Ok => paint(Meaning::Good, "ok      "),
            CheckState::Failing => paint(Meaning::Bad, "FAILING "),
            CheckState::Skipped => "skipped ".to_owned(),
        };
        let mut text = plain(finding.what.replace('\n', " | "));
        if !finding.next.is_empty() {
            text += &format!("\n-> {}", indented(&finding.next).replace('\n', "\n   "));
        }
        vec![word, plain(&finding.check), text]
    };
    grid(&findings.iter().map(row).collect::<Vec<_>>(), &[1, 2])
}
