//! `hubvault doctor`: one report to attach to a bug. Nothing secret is in it.

use super::Exit;
use super::config::{of_other_disks, rows};
use super::consequences::consequences;
use super::proof::confinement_text;
use crate::text::{plain, print};
use crate::{answer, signals};
use anyhow::Result;
use clap::Args;
use hubvault_config::{Inputs, Settings};
use hubvault_engine::catalog::{self, BackupRecord, RunSummary};
use hubvault_engine::disk::free_bytes;
use hubvault_engine::job::Job;
use hubvault_engine::monitor::{CheckState, Look, examine};
use hubvault_engine::state::StateDir;
use hubvault_model::{ByteSize, Cancel, Masks, counted, indented};
use hubvault_postgres::{Session, inspect, programs, sandbox_lacks};
use hubvault_service::logging;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

/// How many failed runs are in it.
const FAILURES: usize = 5;
/// The oldest server that is supported.
const OLDEST: u32 = 13;

/// `hubvault doctor`
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  hubvault doctor > doctor.txt    # read it before you send it: it names hosts, tables and files

Exit codes: 0 printed, whatever is wrong; 1 could not be printed.")]
pub(crate) struct DoctorArgs {}

/// A title and its lines; a part that could not be made has the reason in its place.
type Section = (&'static str, Vec<String>);

/// Collects all of it. What is wrong is a line of the report, and no error: the report is for when something is wrong.
pub(crate) fn run(inputs: &Inputs, job: Option<&str>) -> Result<Exit> {
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let mut sections: Vec<Section> = vec![("hubvault", versions())];
    let masks = match Settings::load(inputs, job) {
        Ok(settings) => {
            logging::start_for(&settings);
            of_settings(&settings, &cancel, &mut sections);
            settings.masks().clone()
        }
        Err(error) => {
            sections.push(("programs", program_lines(OLDEST)));
            let problems = error.problems.iter().map(|problem| format!("! {problem}"));
            sections.push(("configuration", problems.collect()));
            Masks::default()
        }
    };
    let sections: Vec<(&str, Vec<String>)> = sections
        .into_iter()
        .map(|(title, lines)| (title, lines.iter().map(|line| masks.mask(line)).collect()))
        .collect();
    if answer::is_json() {
        let all: Map<String, Value> = sections
            .into_iter()
            .map(|(title, lines)| (title.replace(' ', "_"), json!(lines)))
            .collect();
        answer::json(&all)?;
        return Ok(Exit::Done);
    }
    let mut out = String::new();
    for (number, (title, lines)) in sections.into_iter().enumerate() {
        let gap = if number == 0 { "" } else { "\n" };
        out += &format!("{gap}{title}\n");
        for line in lines {
            out += &format!("  {}\n", indented(&line));
        }
    }
    print(&out)?;
    Ok(Exit::Done)
}

fn of_settings(settings: &Settings, cancel: &Cancel, sections: &mut Vec<Section>) {
    let mut job = Job::clone(settings.job());
    // A server that does not answer is what the report says.
    job.database.attempts = 1;
    let job = &job;
    let (server, version) = server(job, cancel);
    sections.push(("database server", server));
    sections.push((
        "programs",
        program_lines(version.map_or(OLDEST, |version| version / 10_000)),
    ));
    sections.push(("sandbox of drills", sandbox(job)));
    let mut lines: Vec<String> = settings
        .file
        .iter()
        .map(|file| format!("read {}", file.display()))
        .collect();
    let (set, unset): (Vec<_>, Vec<_>) = rows(settings).partition(|row| row.origin != "default");
    lines.extend(set.iter().map(|row| {
        let value = one_line(&row.value);
        format!("{} = {value}  ({})", row.key, row.origin)
    }));
    lines.push(format!(
        "{} more at their defaults",
        counted(unset.len() as u64, "setting")
    ));
    sections.push(("configuration", lines));
    let warnings = settings
        .notices
        .iter()
        .cloned()
        .chain(consequences(job, None));
    sections.push(("warnings", warnings.map(|text| one_line(&text)).collect()));
    let (checks, runs) = history(settings, job, cancel).unwrap_or_else(|error| {
        let text = format!("! {}", one_line(&logging::chain(&error)));
        (vec![text.clone()], vec![text])
    });
    sections.push(("checks", checks));
    sections.push(("last runs", runs));
    sections.push(("disks", disks(job)));
}

fn one_line(text: &str) -> String {
    plain(text.replace('\n', " | "))
}

fn versions() -> Vec<String> {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let distribution = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let distribution = distribution.map_or("unknown", |name| name.trim_matches('"'));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = rustix::system::sysinfo();
    let memory = ByteSize(memory.totalram as u64 * u64::from(memory.mem_unit));
    let who = if rustix::process::geteuid().is_root() {
        "root"
    } else {
        "a user"
    };
    vec![
        format!(
            "hubvault {} ({})",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::ARCH
        ),
        format!("kernel {} {}", text(name.sysname()), text(name.release())),
        format!("distribution {}", plain(distribution)),
        format!("{cores} cores, {memory} of memory, run as {who}"),
        format!("at {:.0}", Timestamp::now()),
    ]
}

/// The programs that a server of this version needs, a line each; `! ` begins one that is missing.
pub(super) fn program_lines(major: u32) -> Vec<String> {
    let all = programs(major).into_iter();
    all.map(|(name, program)| match program {
        Ok(program) => format!("{name} {} ({})", program.version, program.path.display()),
        Err(error) => format!("! {}", one_line(&error.to_string())),
    })
    .collect()
}

/// What the server says of itself, and its version as a number.
fn server(job: &Job, cancel: &Cancel) -> (Vec<String>, Option<u32>) {
    let failed =
        |error: &dyn std::fmt::Display| vec![format!("! {}", one_line(&error.to_string()))];
    let mut session = match Session::at_source(&job.database, cancel) {
        Ok(session) => session,
        Err(error) => return (failed(&error), None),
    };
    let version = session.server_version_num();
    let lines = match inspect::survey(&mut session) {
        Ok(survey) => {
            let size = survey
                .bytes
                .map_or("unknown".to_owned(), |bytes| ByteSize(bytes).to_string());
            let unreadable = survey
                .tables
                .iter()
                .filter(|table| !table.is_readable)
                .count();
            vec![
                format!("PostgreSQL {}", survey.server_version),
                format!(
                    "{} ({unreadable} not readable), {size}",
                    counted(survey.tables.len() as u64, "table")
                ),
            ]
        }
        Err(error) => failed(&error),
    };
    let advice = hubvault_postgres::advice(&mut session).ok().flatten();
    let advice = advice.map(|advice| format!("! {}", one_line(&advice.problem)));
    (lines.into_iter().chain(advice).collect(), Some(version))
}

fn sandbox(job: &Job) -> Vec<String> {
    if job.proof.server.is_some() {
        return vec!["drills use the server of proof.server".to_owned()];
    }
    match sandbox_lacks(&job.proof.environment) {
        Ok(missing) if missing.is_empty() => vec!["this host offers all of it".to_owned()],
        Ok(missing) => missing
            .iter()
            .map(|text| format!("! {}", one_line(text)))
            .collect(),
        Err(error) => vec![format!("! {}", one_line(&error.to_string()))],
    }
}

/// What the checks say, and the last runs, with why they failed.
fn history(settings: &Settings, job: &Job, cancel: &Cancel) -> Result<(Vec<String>, Vec<String>)> {
    let catalog = catalog::current(job)?;
    let look = Look::new(job, &catalog, Timestamp::now(), &settings.zone)?;
    let findings = examine(&look, cancel, &|_| true);
    let findings = findings.iter().map(|finding| {
        let mark = if finding.state == CheckState::Failing {
            "! "
        } else {
            ""
        };
        format!("{mark}{}: {}", finding.check, one_line(&finding.what))
    });
    let (mut count, mut runs) = (0, Vec::new());
    catalog.each_summary(None, |RunSummary { run, .. }| {
        if count == 0 || (run.error.is_some() && runs.len() <= FAILURES) {
            runs.push(run_line(&catalog.whole(&run)?));
        }
        count += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    runs.insert(0, format!("{count} in the catalog"));
    Ok((findings.collect(), runs))
}

fn run_line(record: &BackupRecord) -> String {
    let error = record
        .error
        .as_deref()
        .map(|error| format!(": {}", one_line(error)));
    let warnings = record
        .warnings
        .iter()
        .map(|warning| format!("; {}", one_line(&warning.to_string())));
    let drill = record
        .proof
        .drill
        .as_ref()
        .map_or_else(String::new, confinement_text);
    format!(
        "{:.0} {} {}{}{}{}",
        record.started_at,
        record.id.short(),
        if record.was_stopped() {
            "stopped"
        } else {
            record.state.as_str()
        },
        error.unwrap_or_default(),
        warnings.collect::<String>(),
        if drill.is_empty() {
            drill
        } else {
            format!("; {}", one_line(drill.trim_end()))
        },
    )
}

fn disks(job: &Job) -> Vec<String> {
    let line = |name: &str, path: &Path| {
        let free = free_bytes(path).map(|bytes| ByteSize(bytes).to_string());
        let free = free.unwrap_or_else(|error| error.to_string());
        format!("{name} {}: {free} free", path.display())
    };
    let mut lines = vec![
        line("archives", job.local_directory()),
        line("drills", &job.proof.directory),
    ];
    lines.extend((job.proof.memory.iter()).map(|at| line("small drills", at)));
    let others = job.destinations.others().iter();
    lines.extend(others.filter_map(|at| Some(line(&at.name, at.location.directory()?))));
    let moved = of_other_disks(job, &StateDir::of(job.state_root()));
    lines.extend(moved.iter().map(|text| format!("! {}", one_line(text))));
    lines
}
