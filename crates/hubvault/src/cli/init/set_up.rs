//! The steps of the service's set-up page: the same looks and the same file as without it, with answers instead of
//! questions. What is wrong is a sentence of the answer.

use super::super::consequences::consequences;
use super::super::doctor::program_lines;
use super::ask::Ask;
use super::outcome::Outcome;
use super::proposal::{Proposal, survey_line};
use super::{InitArgs, found, place, refuse_unwritable, secret_file};
use crate::signals;
use crate::text::{chain, plain};
use anyhow::{Context, Result, bail};
use clap::{Args as _, FromArgMatches as _};
use hubvault_config::{ConfigError, Environment, Inputs, Settings};
use hubvault_engine::backup;
use hubvault_engine::delivery::Notifier;
use hubvault_engine::disk::free_bytes;
use hubvault_engine::job::Job;
use hubvault_engine::publish::probe;
use hubvault_engine::state::StateDir;
use hubvault_model::{ByteSize, Cancel, counted};
use hubvault_postgres::{ConnectSettings, Session, inspect};
use hubvault_service::set_up::{Found, FoundFile, SetUp, Step};
use secrecy::SecretString;
use std::path::{Path, PathBuf};

/// The oldest server that is supported.
const OLDEST: u32 = 13;

/// Does one step.
pub(crate) fn set_up(variables: &Environment, asked: &SetUp) -> Result<Found> {
    let mut found = Found::default();
    let environment = environment(variables, asked);
    match asked.step {
        Step::Host => host(asked, &mut found),
        Step::Database => {
            if let Some(proposal) = look(environment, asked, &mut found)? {
                show(proposal, asked, &mut found);
            }
        }
        Step::Mail => mail(&environment, &mut found),
        Step::Destinations => destinations(&environment, &mut found),
        Step::Write => write(variables, environment, asked, &mut found)?,
    }
    Ok(found.map(|text| plain(text)))
}

/// The service's variables, with the answers.
fn environment(variables: &Environment, asked: &SetUp) -> Environment {
    let answers = asked.answers.iter();
    answers.fold(variables.clone(), |all, (name, value)| {
        all.with_setting(name, value)
    })
}

fn host(asked: &SetUp, found: &mut Found) {
    programs(OLDEST, found);
    if let Err(error) = refuse_unwritable(&asked.output, false) {
        found.unwritable = chain(&error);
    }
}

/// The programs that a server of this version needs.
fn programs(major: u32, found: &mut Found) {
    for line in program_lines(major) {
        match line.strip_prefix("! ") {
            Some(problem) => found.bad.push(problem.to_owned()),
            None => found.good.push(line),
        }
    }
}

fn problems(error: &ConfigError, found: &mut Found) {
    let all = error.problems.iter();
    found.bad.extend(all.map(ToString::to_string));
}

/// The settings of these variables alone.
fn settings(environment: &Environment, found: &mut Found) -> Option<Settings> {
    let inputs = Inputs::new(environment.clone(), Some(PathBuf::from("/dev/null")));
    let loaded = Settings::load(&inputs, None);
    loaded.map_err(|error| problems(&error, found)).ok()
}

/// Connects, and looks at what the database holds.
fn look(environment: Environment, asked: &SetUp, found: &mut Found) -> Result<Option<Proposal>> {
    let Some(only) = settings(&environment.only_database(), found) else {
        return Ok(None);
    };
    // Somebody waits, and may have mistyped.
    let database = ConnectSettings {
        attempts: 1,
        ..only.job().database.clone()
    };
    let mut session = match Session::at_source(&database, &Cancel::new()) {
        Ok(session) => session,
        Err(error) => {
            found.bad.push(error.to_string());
            return Ok(None);
        }
    };
    programs(session.server_version_num() / 10_000, found);
    let survey = inspect::survey(&mut session)?;
    found.good.push(survey_line(&survey));
    // What is wrong elsewhere does not keep this from being said.
    if settings(&environment, found).is_none() {
        return Ok(None);
    }
    let args = arguments(asked)?;
    let made = Proposal::make(
        &mut session,
        survey,
        environment,
        &args,
        Ask::new(true),
        &asked.output,
    );
    Ok(made.map_err(|error| found.bad.push(chain(&error))).ok())
}

/// The arguments of the command that say the same.
fn arguments(asked: &SetUp) -> Result<InitArgs> {
    let here = std::env::current_dir().context("asking for the working directory")?;
    let beside = asked.output.parent().unwrap_or(&here).to_owned();
    // No more of the host than what was proposed.
    let proposed = found::files(&[here, beside], &[]);
    let is_proposed = |path: &&PathBuf| proposed.iter().any(|file| file.source == **path);
    let files = asked.files.iter().filter(is_proposed);
    let mut words = vec!["init".to_owned(), "--yes".to_owned()];
    words.push(format!("--scope={}", asked.scope.join(",")));
    words.extend(asked.exclude.iter().map(|it| format!("--exclude={it}")));
    words.extend(asked.windows.iter().map(|it| format!("--windows={it}")));
    words.extend(files.map(|path| format!("--file={}", path.display())));
    let command = InitArgs::augment_args(clap::Command::new("init"));
    Ok(InitArgs::from_arg_matches(
        &command.try_get_matches_from(words)?,
    )?)
}

/// What the proposal leads to, and its text.
fn show(mut proposal: Proposal, asked: &SetUp, found: &mut Found) {
    found.doubts.append(&mut proposal.doubts);
    if let Some(advice) = &proposal.advice {
        found.doubts.push(advice.problem.clone());
        found.statements.extend(advice.statements.iter().cloned());
    }
    planned(&proposal, found);
    let windows = proposal.draft.windows.iter();
    found.growing = windows.map(|window| window.reason.clone()).collect();
    let files = proposal.draft.files.iter().map(|file| FoundFile {
        source: file.source.clone(),
        has_secrets: file.has_secrets,
        is_wanted: file.is_wanted,
    });
    found.files = files.collect();
    for (key, _) in proposal.draft.take_secrets() {
        let path = secret_file::path(&asked.output, key);
        proposal.draft.name_secret_file(key, &path);
        found.secret_files.push(path);
    }
    found.text = proposal.draft.text();
}

/// A dry run of the proposal.
fn planned(proposal: &Proposal, found: &mut Found) {
    let text = SecretString::from(proposal.draft.text());
    let inputs = Inputs::with_text(proposal.environment.clone(), text);
    let settings = match Settings::load(&inputs, None) {
        Ok(settings) => settings,
        Err(error) => return problems(&error, found),
    };
    let job = settings.job();
    let data = proposal.survey.data_directory.as_ref().map(PathBuf::from);
    found.doubts.extend(consequences(job, data.as_deref()));
    found.doubts.extend(settings.notices.iter().cloned());
    match backup::plan(job, &Cancel::new()) {
        Ok((plan, warnings)) => {
            let tables = counted(plan.tables.len() as u64, "table");
            let size = ByteSize(plan.estimated_bytes());
            let taken = format!("a backup would take {tables}, about {size} before compression");
            found.good.push(taken);
            let missing = plan.grants(&job.database.user);
            if plan.missing().next().is_some() {
                let role = &job.database.user;
                found
                    .bad
                    .push(format!("the role {role} lacks rights to read"));
                found.statements.extend(missing);
            }
            found
                .doubts
                .extend(warnings.iter().map(ToString::to_string));
        }
        // Such as an empty database. The file is right all the same.
        Err(error) => found.doubts.push(format!("the dry run failed: {error}")),
    }
}

fn mail(environment: &Environment, found: &mut Found) {
    let Some(settings) = settings(environment, found) else {
        return;
    };
    let mut job = Job::clone(settings.job());
    // Somebody waits, and may have mistyped.
    job.delivery.tries = 1;
    let job = &job;
    if job.delivery.mail.is_none() && job.delivery.channels.is_empty() {
        let why = job.delivery.missing.as_deref();
        let why = why.unwrap_or("email.enabled is false");
        return found.bad.push(format!("nobody is notified: {why}"));
    }
    let (cancel, zone) = (Cancel::new(), settings.zone.clone());
    let notifier = Notifier::new(job, None, &zone, &cancel).without_queue();
    let outcome = notifier.send("test", None);
    let reached = outcome.record.notified.iter();
    found
        .good
        .extend(reached.map(|who| format!("sent to {who}")));
    found
        .bad
        .extend(outcome.warnings().iter().map(ToString::to_string));
}

fn destinations(environment: &Environment, found: &mut Found) {
    let Some(settings) = settings(environment, found) else {
        return;
    };
    let job = settings.job();
    if environment.text("BACKUP_DIR").is_some() {
        directory(job.local_directory(), found);
    }
    let unusable = probe(&job.destinations, &StateDir::of(job.state_root()));
    let unusable = unusable.iter().filter(|(_, why)| !why.only_keeps);
    for destination in job.destinations.others() {
        let name = &destination.name;
        match unusable.clone().find(|(it, _)| it.name == *name) {
            Some((_, why)) => {
                let why = settings.masks().mask(&why.what);
                found.bad.push(format!("the destination {name} cannot be used: {why}"));
            }
            None => found.good.push(format!(
                "the destination {name} ({}) can be used: a tiny object was stored, read and deleted",
                destination.location
            )),
        }
    }
    if found.good.is_empty() && found.bad.is_empty() {
        found.doubts.push("no destination is named yet".to_owned());
    }
}

fn directory(directory: &Path, found: &mut Found) {
    let shown = directory.display();
    match place::check(directory, None) {
        Ok(_) => {
            let existing = directory.ancestors().find(|path| path.exists());
            let free = existing.and_then(|path| free_bytes(path).ok());
            let free = free.map_or("unknown".to_owned(), |bytes| ByteSize(bytes).to_string());
            found
                .good
                .push(format!("archives can be made in {shown}, {free} free"));
        }
        Err(error) => found.bad.push(chain(&error)),
    }
}

/// Writes the proposal, if it is the one that was shown.
fn write(
    variables: &Environment,
    environment: Environment,
    asked: &SetUp,
    found: &mut Found,
) -> Result<()> {
    refuse_unwritable(&asked.output, false)?;
    let Some(mut proposal) = look(environment, asked, found)? else {
        return Ok(());
    };
    let mut shown = Found::default();
    let (directory, draft) = (proposal.directory.clone(), proposal.draft.clone());
    let mut outcome = Outcome::new(&asked.output, &proposal.survey, Vec::new());
    proposal.doubts.clear();
    show(proposal, asked, &mut shown);
    if shown.text != asked.shown {
        bail!(
            "the database or the files of this host changed since this was shown; look at the database again"
        );
    }
    let _signals = signals::watch(Cancel::new(), || {})?;
    outcome.write(&mut { draft }, &directory, false)?;
    found.good = outcome.written();
    let alone = variables.clone().without_settings();
    let inputs = Inputs::new(alone, Some(asked.output.clone()));
    if let Err(error) = Settings::load(&inputs, None) {
        problems(&error, found);
    }
    Ok(())
}
