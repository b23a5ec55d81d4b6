//! Commands killed before a step or during a stage.

use crate::hub::Hub;
use crate::preload;
use crate::stages::STAGES;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than anything here takes; who waits so long waits in vain.
const PATIENCE: Duration = Duration::from_mins(5);
/// Every process of a run carries this variable, so that one that stays is found.
pub(crate) const MARK: &str = "HUBVAULT_FAULTS_MARK";

/// The stages of a restore, and of a drill, which restores.
pub(crate) const RESTORE_STAGES: [&str; 4] = ["definitions", "rows", "indexes", "compare"];

/// When a process is killed.
#[derive(Clone, Debug)]
pub(crate) enum KillAt {
    /// Before its so many-th step (`steps.c`).
    Step(usize),
    /// Before it removes a file whose path ends so.
    Unlink(String),
    /// So long after it said that a stage begins.
    Stage(String, Duration),
}

/// The outcome of a process that was to be killed.
pub(crate) struct KillOutcome {
    /// False when it ended before its moment came.
    pub(crate) was_killed: bool,
    /// The stage that it was at, as it said itself.
    pub(crate) stage: String,
    /// The step before which it was killed: what and where.
    pub(crate) step: String,
}

/// The library of `steps.c`.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| preload::library("steps"))
}

fn command_with_steps(hub: &Hub, arguments: &[&str], log: &Path) -> Command {
    let mut command = hub.command(arguments);
    // It is appended to.
    let _ = fs::remove_file(log);
    command.env("LD_PRELOAD", library()).env("STEPS_LOG", log);
    command
}

/// Every step of an undisturbed run, `what where`; how it ended.
pub(crate) fn steps(hub: &Hub, arguments: &[&str]) -> (Vec<String>, Output) {
    let log = hub.config().join("steps");
    let output = command_with_steps(hub, arguments, &log).output().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let mut steps: Vec<(usize, String)> = text
        .lines()
        .map(|line| {
            let (number, step) = line.split_once(' ').unwrap();
            (number.parse().unwrap(), step.to_owned())
        })
        .collect();
    steps.sort();
    (steps.into_iter().map(|(_, step)| step).collect(), output)
}

/// So many of the steps (counted from 1), spread over all kinds: of many equal steps in a row, a few are enough.
pub(crate) fn spread(steps: &[String], points: usize) -> Vec<usize> {
    let mut alike = 0;
    let mut candidates = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let same = at > 0 && steps[at - 1] == *step;
        alike = if same { alike + 1 } else { 0 };
        if alike < 3 || alike % 50 == 0 {
            candidates.push(at + 1);
        }
    }
    let all = candidates.len();
    let points = points.min(all);
    (0..points).map(|n| candidates[n * all / points]).collect()
}

/// Starts a command, kills it at its moment, and says where it was. What it said of its stages is read from standard error.
pub(crate) fn kill(hub: &Hub, arguments: &[&str], when: &KillAt) -> KillOutcome {
    let (log, said) = (hub.config().join("steps"), hub.config().join("said"));
    let mut command = match when {
        KillAt::Step(number) => {
            let mut command = command_with_steps(hub, arguments, &log);
            command.env("STEPS_KILL_AT", number.to_string());
            command
        }
        KillAt::Unlink(part) => {
            let mut command = command_with_steps(hub, arguments, &log);
            // No step has this number.
            command
                .env("STEPS_KILL_AT", "-1")
                .env("STEPS_KILL_UNLINK", part);
            command
        }
        KillAt::Stage(..) => {
            let _ = fs::remove_file(&log);
            hub.command(arguments)
        }
    };
    let mut child = command
        .stdout(Stdio::null())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    if let KillAt::Stage(stage, after) = when
        && wait_for_stage(&mut child, &said, stage)
    {
        sleep(*after);
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let said = fs::read_to_string(&said).unwrap();
    KillOutcome {
        was_killed: status.code().is_none(),
        stage: stages(&said)
            .last()
            .cloned()
            .unwrap_or_else(|| "before the first".to_owned()),
        step: fs::read_to_string(&log).unwrap_or_default(),
    }
}

/// False when it ended without that stage.
fn wait_for_stage(child: &mut Child, said: &Path, stage: &str) -> bool {
    let begun = Instant::now();
    loop {
        if stages(&fs::read_to_string(said).unwrap())
            .iter()
            .any(|s| s == stage)
        {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(begun.elapsed() < PATIENCE, "the stage {stage} never came");
        sleep(Duration::from_millis(1));
    }
}

/// A stage is announced in a line of its own: `... INFO export run=2550d90b`.
fn stages(said: &str) -> Vec<String> {
    said.lines()
        .filter_map(|line| line.split_once("INFO ")?.1.split(" run=").next())
        .filter(|what| STAGES.contains(what) || RESTORE_STAGES.contains(what))
        .map(str::to_owned)
        .collect()
}

/// How long each stage of a run took, from its record.
pub(crate) fn stage_durations(record: &Value) -> Vec<(String, Duration)> {
    let stages = record["stages"].as_array().unwrap();
    let length = |stage: &Value| {
        (
            stage["stage"].as_str().unwrap().to_owned(),
            Duration::from_secs_f64(stage["seconds"].as_f64().unwrap()),
        )
    };
    stages.iter().map(length).collect()
}

/// The processes that carry a mark, or work below `directory`: PostgreSQL's processes write over their environment.
fn processes_with_mark(mark: &str, directory: &Path) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let process = entry.path();
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let carries = environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes());
        let below = fs::read_link(process.join("cwd")).is_ok_and(|at| at.starts_with(directory));
        if carries || below {
            let command = fs::read(process.join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(format!("{} {command}", entry.file_name().to_string_lossy()));
        }
    }
    found
}

/// Waits until nothing of a run is left but what is on the disk.
pub(crate) fn wait_for_processes(mark: &str, directory: &Path) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let left = processes_with_mark(mark, directory);
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE / 5 {
            return Err(format!("processes outlived it: {}", left.join("; ")));
        }
        sleep(Duration::from_millis(10));
    }
}
