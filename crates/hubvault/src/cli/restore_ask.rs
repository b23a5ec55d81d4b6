//! `hubvault restore` without a backup, on a terminal: asks what is to be restored where, and shows the command that says
//! the same.

use super::restore_args::RestoreArgs;
use crate::signals;
use crate::text::{plain, print};
use anyhow::{Context, Result, anyhow, bail};
use dialoguer::{Confirm, Input, Select};
use hubvault_config::Settings;
use hubvault_engine::catalog::{self, BackupRecord, RunSummary};
use hubvault_engine::command::shell_word;
use hubvault_engine::overview::moment;
use hubvault_model::{ByteSize, counted};
use std::io::ErrorKind;
use std::ops::ControlFlow;

/// So many of the newest backups are offered.
const OFFERED: usize = 30;

/// The arguments that are missing, after a last yes.
pub(super) fn ask(settings: &Settings, args: &RestoreArgs) -> Result<Vec<String>> {
    signals::while_asking()?;
    let record = backup(settings)?;
    let mut words = vec![record.id.short()];
    if !record.sealed_to.is_empty() && args.identity.is_empty() {
        let key = text("File of the private key that opens it", None)?;
        words.extend(["--identity".to_owned(), key]);
    }
    if !args.says_what() {
        what(settings, &mut words)?;
    }
    let command: Vec<String> = std::env::args().skip(1).chain(words.clone()).collect();
    let command: Vec<String> = command.iter().map(|word| shell_word(word)).collect();
    print(&format!(
        "\nThe same without questions:\n  hubvault {}\n\n",
        command.join(" ")
    ))?;
    let is_upsert = args.upsert || words.iter().any(|word| word == "--upsert");
    let (question, is_harmless) = if is_upsert {
        ("Rows that differ are overwritten. Run it now?", false)
    } else {
        ("Run it now?", true)
    };
    if !yes(question, is_harmless)? {
        bail!("nothing was done");
    }
    Ok(words)
}

/// The backup, of those whose archives are there.
fn backup(settings: &Settings) -> Result<BackupRecord> {
    let job = settings.job();
    let mut there = Vec::new();
    catalog::current(job)?.each_summary(Some(&job.name), |summary| {
        there.extend(summary.run.archive().is_some().then_some(summary));
        Ok(if there.len() < OFFERED {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    let line = |RunSummary {
                    run, tables, rows, ..
                }: &RunSummary| {
        format!(
            "{}  {}  {}, {}, {}  {}",
            moment(run.started_at, &settings.zone),
            run.state.as_str(),
            counted(*tables as u64, "table"),
            counted(*rows, "row"),
            ByteSize(run.bytes.unwrap_or_default()),
            run.id.short()
        )
    };
    let lines: Vec<String> = there.iter().map(line).collect();
    if lines.is_empty() {
        bail!(
            "no archives in {} yet; `hubvault backup` makes the first",
            job.local_directory().display()
        );
    }
    let at = select("Backup", &lines)?;
    let chosen = there.into_iter().nth(at);
    chosen
        .map(|summary| summary.run)
        .context("there is no such backup")
}

fn what(settings: &Settings, words: &mut Vec<String>) -> Result<()> {
    let choices = [
        "The whole database",
        "Rows that are missing; nothing is overwritten",
        "Rows that are missing or differ; those that differ are overwritten",
        "The rows of some tables, into new tables beside them",
        "The configuration files",
    ];
    match select("Restore", &choices.map(str::to_owned))? {
        0 => return whole(settings, words),
        1 => words.push("--missing-rows".to_owned()),
        2 => words.push("--upsert".to_owned()),
        3 => {
            tables(
                "Tables (names or patterns, separated by commas)",
                false,
                words,
            )?;
            let schema = text("New schema", Some("restored"))?;
            words.extend(["--into-schema".to_owned(), schema]);
            return place(settings, words);
        }
        _ => {
            let directory = text("Directory", Some("restored-files"))?;
            words.extend(["--files".to_owned(), directory]);
            return Ok(());
        }
    }
    let question = "Tables (names or patterns, separated by commas; nothing for all)";
    tables(question, true, words)?;
    place(settings, words)
}

fn tables(question: &str, may_be_all: bool, words: &mut Vec<String>) -> Result<()> {
    let input = Input::<String>::new().with_prompt(question);
    let input = input.allow_empty(may_be_all).interact_text();
    let input = input.map_err(stopped)?;
    for name in input.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        words.extend(["--table".to_owned(), name.to_owned()]);
    }
    Ok(())
}

fn whole(settings: &Settings, words: &mut Vec<String>) -> Result<()> {
    let database = &settings.job().database;
    let choices = [
        "Into a new database of the configured server".to_owned(),
        format!(
            "Into {}: what the backup holds is dropped there first",
            plain(database)
        ),
        "Into an empty database elsewhere".to_owned(),
    ];
    match select("Where", &choices)? {
        0 => {
            let name = text("Its name", Some(&format!("{}_restored", database.dbname)))?;
            words.extend(["--database".to_owned(), name, "--create".to_owned()]);
        }
        1 => words.push("--clean".to_owned()),
        _ => elsewhere(words)?,
    }
    Ok(())
}

fn place(settings: &Settings, words: &mut Vec<String>) -> Result<()> {
    let configured = format!("In {}", plain(&settings.job().database));
    let choices = [configured, "In a database elsewhere".to_owned()];
    match select("Where", &choices)? {
        0 => Ok(()),
        _ => elsewhere(words),
    }
}

fn elsewhere(words: &mut Vec<String>) -> Result<()> {
    let url = text(
        "Its address (postgres://... or name=value pairs, without a password)",
        None,
    )?;
    words.extend(["--to".to_owned(), url]);
    Ok(())
}

fn select(question: &str, choices: &[String]) -> Result<usize> {
    let select = Select::new().with_prompt(question).items(choices);
    select.default(0).interact().map_err(stopped)
}

fn text(question: &str, default: Option<&str>) -> Result<String> {
    let mut input = Input::<String>::new().with_prompt(question);
    if let Some(default) = default {
        input = input.default(default.to_owned());
    }
    input.interact_text().map_err(stopped)
}

fn yes(question: &str, default: bool) -> Result<bool> {
    let confirm = Confirm::new().with_prompt(question).default(default);
    confirm.interact().map_err(stopped)
}

/// Ctrl-C, or a terminal that was closed.
fn stopped(error: dialoguer::Error) -> anyhow::Error {
    let dialoguer::Error::IO(error) = error;
    match error.kind() {
        ErrorKind::Interrupted => {
            signals::interrupted_a_question();
            anyhow!("stopped; nothing was done")
        }
        _ => anyhow!(error).context("reading an answer from the terminal"),
    }
}
