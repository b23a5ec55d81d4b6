//! One look that tells: every check, what is remembered of it, and who hears of a change.

use super::alert::{Notice, decide, remember, remember_unreached};
use super::of_runs::{of_runs, reminder};
use super::{AlertState, CheckState, Finding, Look, checks, examine};
use crate::catalog::{Catalog, CatalogError};
use crate::delivery::{AlertFacts, DeliveryOutcome, Notifier};
use crate::job::Job;
use crate::overview::moment;
use crate::state::notify_lock::NotifyLock;
use hubvault_model::Cancel;
use hubvault_notify::{Event, EventKind};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use uuid::Uuid;

/// What came of a look.
#[derive(Debug, Default)]
pub struct Watched {
    /// What every check found.
    pub findings: Vec<Finding>,
    /// What somebody was told, or would have been in test mode.
    pub notices: Vec<Noticed>,
    /// Whether it was only rehearsed (`monitor.test_mode`).
    pub test_mode: bool,
    /// Who has it and who has not; nobody in test mode.
    pub delivery: DeliveryOutcome,
    /// What went wrong with looking itself: a catalog that cannot be written, a ping that was refused.
    pub problems: Vec<String>,
}

/// One thing that somebody was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Noticed {
    /// The check.
    pub check: String,
    /// What about it.
    pub notice: Notice,
}

/// Runs all checks, tells what changed since the last look, and remembers it in the catalog. At the end
/// the dead-man's switch of `monitor.ping_url` is called, whatever was found: it says that somebody looks.
///
/// One at a time does that for a job, as a service and a crontab may look at the same moment: who comes
/// second waits, and goes by what the first remembered. Where that takes too long it only looks.
///
/// What is told is recorded in the outbox first. Should the process die before the state is
/// recorded, it is told once more: better twice than never.
pub fn watch(
    job: &Job,
    catalog: &Catalog,
    zone: &TimeZone,
    cancel: &Cancel,
) -> Result<Watched, CatalogError> {
    let turn = NotifyLock::take(catalog.state(), &job.name, cancel);
    let look = &Look::new(job, catalog, Timestamp::now(), zone)?;
    let mut watched = Watched {
        findings: examine(look, cancel, &|_| true),
        test_mode: job.monitor.test_mode,
        ..Watched::default()
    };
    if cancel.is_requested() {
        // What they found then is that they were stopped.
        watched.problems.push("stopped on request".to_owned());
        return Ok(watched);
    }
    match turn {
        NotifyLock::Ours(_lock) => tell(look, cancel, &mut watched),
        NotifyLock::Unknown(what) => {
            watched.problems.push(what);
            tell(look, cancel, &mut watched);
        }
        NotifyLock::Theirs => watched.problems.push(
            "another process is sending the notifications of these checks, so this one notified nobody; the next \
             check sends what is left"
                .to_owned(),
        ),
    }
    ping(look, &watched.findings, &mut watched.problems);
    Ok(watched)
}

/// Tells what changed, and remembers it.
fn tell(look: &Look<'_>, cancel: &Cancel, watched: &mut Watched) {
    let known = look.catalog.alerts(&look.job.name).unwrap_or_else(|error| {
        watched.problems.push(error.to_string());
        Vec::new()
    });
    let mut facts = Vec::new();
    let mut states = Vec::new();
    for finding in &watched.findings {
        let previous = known.iter().find(|state| state.check == finding.check);
        let runs = of_runs(look, finding);
        let decision = decide(previous, finding, look.now, reminder(look, finding), runs);
        let state = remember(&look.job.name, previous, finding, decision, look.now);
        let aloud = decision.filter(|decision| !decision.by_run);
        if let Some(notice) = aloud.map(|decision| decision.notice) {
            facts.push(facts_of(look, notice, previous, finding, &state));
            watched.notices.push(Noticed {
                check: finding.check.clone(),
                notice,
            });
        }
        states.push(state);
    }
    if watched.test_mode {
        for (kind, alert) in &facts {
            let (kind, check) = (kind.as_str(), &alert.check);
            tracing::warn!("test mode, not sent: {kind} {check}: {}", alert.what);
        }
    } else if !facts.is_empty() {
        let notifier = Notifier::new(look.job, Some(look.catalog), look.zone, cancel);
        let outcome = notifier.alerts(&facts, look.overview.last_run.as_ref());
        watched.delivery = outcome.delivery;
        for state in &mut states {
            let noticed = watched.notices.iter().find(|it| it.check == state.check);
            if let Some(noticed) = noticed.filter(|it| outcome.unreached.contains(&it.check)) {
                let previous = known.iter().find(|known| known.check == state.check);
                *state = remember_unreached(state.clone(), previous, noticed.notice, look.now);
            }
        }
    }
    record(look, &known, &states, &mut watched.problems);
}

fn facts_of(
    look: &Look<'_>,
    notice: Notice,
    previous: Option<&AlertState>,
    finding: &Finding,
    state: &AlertState,
) -> (EventKind, AlertFacts) {
    let since = match notice {
        Notice::Recovered => previous.map_or(state.since, |previous| previous.since),
        Notice::Firing | Notice::Reminder => state.since,
    };
    let (kind, what) = match notice {
        Notice::Firing => (EventKind::Alert, finding.what.clone()),
        Notice::Reminder => (EventKind::Alert, format!("still: {}", finding.what)),
        Notice::Recovered => (EventKind::Recovered, finding.what.clone()),
    };
    let alert = AlertFacts {
        check: finding.check.clone(),
        what,
        since: moment(since, look.zone),
        next: finding.next.clone(),
    };
    (kind, alert)
}

fn record(
    look: &Look<'_>,
    known: &[AlertState],
    states: &[AlertState],
    problems: &mut Vec<String>,
) {
    let all = checks(look.job);
    // A check of the user's that is configured no more.
    let is_over = |state: &&AlertState| !all.iter().any(|check| check.name() == state.check);
    let put = states.iter().map(|state| look.catalog.put_alert(state));
    let forget = known
        .iter()
        .filter(is_over)
        .map(|state| look.catalog.forget_alert(&look.job.name, &state.check));
    for error in put.chain(forget).filter_map(Result::err) {
        let text = error.to_string();
        if !problems.contains(&text) {
            problems.push(text);
        }
    }
}

fn ping(look: &Look<'_>, findings: &[Finding], problems: &mut Vec<String>) {
    let Some(channel) = &look.job.monitor.ping else {
        return;
    };
    let failing: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.state == CheckState::Failing)
        .map(|finding| finding.check.as_str())
        .collect();
    let text = if failing.is_empty() {
        "nothing is wrong".to_owned()
    } else {
        format!("failing: {}", failing.join(", "))
    };
    let event = Event {
        id: Uuid::new_v4().to_string(),
        kind: EventKind::Success,
        title: format!("{} is watched", look.job.name),
        text,
        body: serde_json::Value::Null,
    };
    if let Err(error) = channel.post(&event) {
        let text = format!("monitor.ping_url: {error}");
        problems.push(look.job.delivery.masks.mask(&text));
    }
}
