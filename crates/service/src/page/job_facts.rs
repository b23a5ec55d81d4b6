//! What the overview says of one job: the sentence of `hubvault status`, what is at risk, what runs and what is next.

use super::calendar::{Calendar, calendar};
use super::run_row::RunRow;
use super::shown::{Clock, When, percent_encoded, span};
use super::timeline::{Timeline, timeline};
use crate::http::of_job::OfJob;
use crate::logging;
use anyhow::Result;
use hubvault_config::Settings;
use hubvault_engine::disk::free_bytes;
use hubvault_engine::monitor::{self, Look};
use hubvault_engine::state::lease_wait::waiting;
use hubvault_engine::state::progress_file::{RunProgress, running};
use hubvault_model::{ByteSize, counted, excerpt, grouped};
use minijinja::Value;
use serde::Serialize;

/// So many of the last runs are shown.
const RUNS: usize = 8;

/// So many risks are named, and so much is said of each, in characters: a page has to arrive.
const RISKS: usize = 20;
const LONGEST: usize = 2_000;

/// The state of a job, for a template.
#[derive(Clone, Debug, Serialize)]
pub(super) struct JobFacts {
    name: String,
    /// Of the mark: `proven`, `unproven`, `failed`.
    mark: &'static str,
    verdict: &'static str,
    sentence: String,
    risks: Vec<Advice>,
    /// Those that are not named.
    more_risks: usize,
    /// The newest proven backup.
    newest: Option<Newest>,
    next_run: Option<When>,
    schedule: String,
    archives: String,
    bytes: String,
    directory: String,
    free: Option<String>,
    usually: Option<String>,
    queued: Option<String>,
    runs: Vec<RunRow>,
    full_in: Option<String>,
    calendar: Calendar,
    timeline: Option<Timeline>,
}

/// What is at risk, and what to do about it.
#[derive(Clone, Debug, Serialize)]
struct Advice {
    what: String,
    next: String,
}

/// The newest proven backup.
#[derive(Clone, Debug, Serialize)]
struct Newest {
    id: String,
    began: When,
    contents: String,
}

/// A run at work.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Running {
    id: String,
    began: When,
    stage: String,
    table: Option<String>,
    percent: Option<u64>,
    rows: String,
}

/// A run that waits for a lease.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Waiting {
    at: String,
    holder: String,
    since: When,
}

impl Waiting {
    /// The run of a job that waits now.
    pub(super) fn now(of: &OfJob) -> Option<Self> {
        let wait = waiting(&of.job.state())?;
        Some(Self {
            at: wait.destination,
            holder: wait.holder,
            since: now(of).when(wait.since),
        })
    }
}

fn now(of: &OfJob) -> Clock {
    Clock::of(&of.job.settings())
}

impl Running {
    /// The run of a job that is at work now.
    pub(super) fn now(of: &OfJob) -> Option<Self> {
        running(&of.job.state()).map(|progress| Self::of(&progress, &now(of)))
    }

    fn of(progress: &RunProgress, clock: &Clock) -> Self {
        let expected = progress.expected_bytes.filter(|bytes| *bytes > 0);
        Self {
            id: progress.id.to_string(),
            began: clock.when(progress.started_at),
            stage: progress
                .stage
                .map_or("beginning".to_owned(), |stage| stage.as_str().to_owned()),
            table: progress.table.clone(),
            percent: expected.map(|all| (progress.bytes.saturating_mul(100) / all).min(100)),
            rows: grouped(progress.rows),
        }
    }
}

impl JobFacts {
    /// The picture of the calendar, which is not escaped.
    pub(super) fn picture(&self) -> Value {
        self.calendar.picture()
    }

    /// The picture of what can be recovered, which is not escaped.
    pub(super) fn timeline(&self) -> Option<Value> {
        self.timeline.as_ref().map(Timeline::picture)
    }

    /// Reads them from the catalog and the state directory.
    pub(super) fn read(of: &OfJob) -> Result<Self> {
        let settings = of.job.settings();
        let job = settings.job();
        let clock = Clock::of(&settings);
        let catalog = of.catalog()?;
        let look = Look::new(job, &catalog, clock.now, &clock.zone)?;
        let mut risks = advice(&settings, &look)?;
        let is_safe = risks.is_empty();
        let more_risks = risks.len().saturating_sub(RISKS);
        risks.truncate(RISKS);
        let overview = &look.overview;
        let assurance = overview.assurance(&job.destinations);
        let (mark, verdict) = match (is_safe, &assurance) {
            (true, _) => ("proven", "Safe"),
            (false, Some(_)) => ("unproven", "At risk"),
            (false, None) => ("failed", "Not safe"),
        };
        let sentence = assurance.map_or_else(
            || "Nothing can be restored: there is no proven backup.".to_owned(),
            |assurance| assurance.text(clock.now, &clock.zone),
        );
        let free = free_bytes(job.spool()).ok();
        let full_in = free.and_then(|free| overview.space.full_in_days(free, clock.now));
        let queued = look.outbox.iter().filter(|item| item.is_open()).count();
        Ok(Self {
            name: job.name.clone(),
            mark,
            verdict,
            sentence,
            risks,
            more_risks,
            newest: overview.newest_proven.as_ref().map(|record| Newest {
                id: record.id.to_string(),
                began: clock.when(record.started_at),
                contents: format!(
                    "{}, {} rows",
                    counted(record.tables.len() as u64, "table"),
                    grouped(record.rows())
                ),
            }),
            next_run: of.job.next_run().map(|at| clock.when(at)),
            schedule: job.schedule.expression().to_owned(),
            archives: counted(overview.archives as u64, "archive"),
            bytes: ByteSize(overview.archives_bytes).to_string(),
            directory: job.local_directory().display().to_string(),
            free: free.map(|free| ByteSize(free).to_string()),
            full_in: full_in.map(|days| counted(days, "day")),
            calendar: calendar(&overview.marks, &clock, &day_link(&job.name)),
            timeline: timeline(
                &overview.recoverable,
                job.monitor.max_age_hours,
                &clock,
                &percent_encoded(&job.name),
            ),
            usually: overview.durations.backup().map(span),
            queued: (queued > 0).then(|| counted(queued as u64, "message")),
            runs: look
                .runs
                .iter()
                .take(RUNS)
                .map(|run| RunRow::of(run, &clock))
                .collect(),
        })
    }
}

/// Up to the date, in HTML.
fn day_link(job: &str) -> String {
    format!("./backups?job={}&amp;day=", percent_encoded(job))
}

/// Everything at risk, the worst first.
fn advice(settings: &Settings, look: &Look<'_>) -> Result<Vec<Advice>> {
    let one = |(what, next): (String, String)| Advice {
        what: excerpt(&logging::masked(&what), LONGEST),
        next: excerpt(&logging::masked(&next), LONGEST),
    };
    let weakened = settings.with_weakened(Vec::new());
    let weakened = weakened.into_iter().map(|what| (what, String::new()));
    let found = monitor::advice(look)?.into_iter();
    Ok(found.chain(weakened).map(one).collect())
}
