//! Every check with what it found and what to do, and the alerts that were sent. What asks the server or runs a command
//! is shown as it was found last, unless somebody asks for all checks now.

use super::Page;
use super::actions::caller;
use super::guard::see_other;
use super::messages::{History, history};
use super::shown::{Clock, When, percent_encoded};
use super::view::Visit;
use super::wish::{Wish, bad, one_of};
use crate::child::Task;
use crate::http::auth::{Audit, too_many};
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::http::notice::{Notice, facts};
use crate::http::of_job::{OfJob, Which, choose};
use crate::logging::masked;
use anyhow::Context;
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Response};
use hubvault_engine::catalog::{AlertState, CheckState};
use hubvault_engine::delivery::ChangedSetting;
use hubvault_engine::monitor::{Finding, Look, checks, quick};
use hubvault_engine::overview::moment;
use hubvault_engine::state::restore_mark::{resolve, unfinished};
use hubvault_model::{BackupId, counted, excerpt};
use jiff::{SignedDuration, Timestamp};
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

const PATH: &str = "checks";
/// So much is said of a check, in characters.
const LONGEST: usize = 2_000;
/// A silence over HTTP is no longer than this, in hours.
const MOST_HOURS: i64 = 72;

/// One check, for a template.
#[derive(Debug, Serialize)]
struct CheckRow {
    name: String,
    mark: &'static str,
    state: &'static str,
    what: String,
    next: String,
    since: Option<When>,
    looked: Option<When>,
    notified: Option<When>,
    by_run: bool,
    silenced: Option<When>,
    #[serde(skip)]
    began: Timestamp,
    #[serde(skip)]
    notified_at: Option<Timestamp>,
}

impl CheckRow {
    /// Of what was found at a moment, and what is remembered.
    fn new(finding: Finding, at: Timestamp, known: Option<&AlertState>, clock: &Clock) -> Self {
        let lasting = known.filter(|known| known.state == finding.state);
        let shown = |text: &str| excerpt(&masked(text), LONGEST);
        Self {
            mark: match finding.state {
                CheckState::Ok => "proven",
                CheckState::Failing => "failed",
                CheckState::Skipped => "none",
            },
            state: finding.state.as_str(),
            what: shown(&finding.what),
            next: shown(&finding.next),
            since: lasting.map(|known| clock.when(known.since)),
            looked: (at != Timestamp::UNIX_EPOCH).then(|| clock.when(at)),
            notified: known.and_then(|known| Some(clock.when(known.told_at?))),
            notified_at: known.and_then(|known| known.told_at),
            by_run: known.is_some_and(|known| known.by_run),
            silenced: known
                .and_then(|known| known.silenced_until)
                .filter(|until| clock.now < *until)
                .map(|until| clock.when(until)),
            began: lasting.map_or(at, |known| known.since),
            name: finding.check,
        }
    }
}

/// All checks of a job.
pub(super) async fn list(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Query(mut wish): Query<Wish>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let of = wish.choose(&page, &visit)?;
        one_of("state", &wish.state, &["ok", "failing", "skipped"])?;
        let settings = of.job.settings();
        let clock = Clock::of(&settings);
        let catalog = of.catalog()?;
        let job = settings.job();
        let look = Look::new(job, &catalog, clock.now, &clock.zone).map_err(anyhow::Error::new)?;
        let known = catalog.alerts(&job.name).map_err(anyhow::Error::new)?;
        // Before the checks, which say what there is: only what the page shows can be resolved on it.
        let unfinished = unfinished(&of.job.state()).unwrap_or_default();
        let unfinished = unfinished.iter().map(|(restore, _)| restore.id.to_string());
        let unfinished: Vec<String> = unfinished.collect();
        let mut rows = rows(&page, &of, &look, &known, &clock);
        let failing = rows.iter().filter(|row| row.state == "failing").count();
        rows.retain(|row| wish.state.is_empty() || row.state == wish.state);
        rows.retain(|row| wish.finds(&row.name) || wish.finds(&row.what));
        sort(&mut rows, &wish)?;
        let history: Vec<History> = history(&look.outbox, &clock, &wish);
        let values = context! {
            at => PATH,
            job => of.job.name(),
            rows => Value::from(Serde(rows)),
            history => Value::from(Serde(history)),
            failing,
            unfinished => unfinished.join(" "),
            test_mode => job.monitor.test_mode,
            ..wish.order(PATH, &["name", "since", "notified", "when", "what"])
        };
        let html = page.views.render("checks.html", &visit, values)?;
        Ok(html.into_response())
    })
    .await
}

/// Each check as the newest look at it found it.
fn rows(
    page: &Page,
    of: &OfJob,
    look: &Look<'_>,
    known: &[AlertState],
    clock: &Clock,
) -> Vec<CheckRow> {
    let now = quick(look);
    let asked = page.asked.latest::<Vec<Finding>>(of, &Task::Examine);
    let (asked_at, asked) = asked.unwrap_or_default();
    let one = |name: &str| {
        let of_name = |finding: &&Finding| finding.check == name;
        let known = known.iter().find(|state| state.check == name);
        if let Some(finding) = now.iter().find(of_name) {
            return CheckRow::new(finding.clone(), clock.now, known, clock);
        }
        let asked = asked.iter().find(of_name);
        match (asked, known) {
            (Some(finding), known) if known.is_none_or(|known| known.looked_at <= asked_at) => {
                CheckRow::new(finding.clone(), asked_at, known, clock)
            }
            (_, Some(known)) => {
                let finding = remembered(known);
                CheckRow::new(finding, known.looked_at, Some(known), clock)
            }
            (_, None) => {
                let finding = Finding::skipped(name, "not looked at yet");
                CheckRow::new(finding, Timestamp::UNIX_EPOCH, None, clock)
            }
        }
    };
    let all = checks(look.job);
    all.iter().map(|check| one(check.name())).collect()
}

/// What to do is not recorded.
fn remembered(known: &AlertState) -> Finding {
    let next = match known.state {
        CheckState::Failing => format!("hubvault check {} says what to do", known.check),
        CheckState::Ok | CheckState::Skipped => String::new(),
    };
    Finding {
        check: known.check.clone(),
        state: known.state,
        what: known.what.clone(),
        next,
    }
}

/// What fails comes first where no order is asked for.
fn sort(rows: &mut [CheckRow], wish: &Wish) -> Result<(), ApiError> {
    match wish.sort.as_str() {
        "" => rows.sort_by_key(|row| row.state != "failing"),
        "name" => rows.sort_by(|a, b| b.name.cmp(&a.name)),
        "since" => rows.sort_by_key(|row| std::cmp::Reverse(row.began)),
        "notified" => rows.sort_by_key(|row| std::cmp::Reverse(row.notified_at)),
        // Of the alerts.
        "when" | "what" => {
            rows.sort_by_key(|row| row.state != "failing");
            return Ok(());
        }
        text => return Err(bad("sort", text)),
    }
    if !wish.up.is_empty() {
        rows.reverse();
    }
    Ok(())
}

/// What the forms of this page send.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    job: Option<String>,
    #[serde(default)]
    check: String,
    #[serde(default)]
    hours: i64,
    /// The ids of the unfinished restores that the page showed.
    #[serde(default)]
    shown: String,
}

/// Runs all checks now, as `hubvault check` does, and notifies nobody.
pub(super) async fn now(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Form(form): Form<Asked>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let of = choose(&page.app, Which { job: form.job }, None, false)?;
        page.asked.ask(&of, &Task::Examine)?;
        Ok(back(&visit, &of))
    })
    .await
}

/// Somebody says that a restore that did not end well is resolved, as `hubvault restore --resolved` does.
pub(super) async fn resolved(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Form(form): Form<Asked>,
) -> Result<Response, ApiError> {
    blocking(move || {
        let of = choose(&page.app, Which { job: form.job }, None, false)?;
        let shown = form.shown.split(' ').filter_map(|id| id.parse().ok());
        let shown: Vec<BackupId> = shown.collect();
        let resolved = resolve(&of.job.state(), Some(&shown))
            .context("removing the marks of unfinished restores")?;
        let restores = counted(resolved.len() as u64, "unfinished restore");
        let names: Vec<String> = resolved.iter().map(ToString::to_string).collect();
        let names = names.join("; ");
        let audit = Extension(Audit(format!("marked {restores} as resolved: {names}")));
        Ok((audit, back(&visit, &of)).into_response())
    })
    .await
}

/// Silences a check for some hours, or ends that with 0, as `hubvault alert silence` does. Whoever is notified of runs is
/// notified of a silence: it could hide what somebody with a stolen token does.
pub(super) async fn silence(
    State(page): State<Arc<Page>>,
    Extension(visit): Extension<Visit>,
    Form(form): Form<Asked>,
) -> Result<Response, ApiError> {
    let caller = caller(&visit)?;
    blocking(move || {
        let of = choose(&page.app, Which { job: form.job }, None, false)?;
        let (settings, check) = (of.job.settings(), form.check);
        if !checks(settings.job()).iter().any(|known| known.name() == check) {
            return Err(bad("check", &check));
        }
        if !(0..=MOST_HOURS).contains(&form.hours) {
            let what = format!("over HTTP a check can be silenced for at most {MOST_HOURS} hours; for longer: hubvault alert silence");
            return Err(ApiError::bad(what));
        }
        let (now, name) = (Timestamp::now(), of.job.name());
        let until = now + SignedDuration::from_hours(form.hours);
        let catalog = of.catalog()?;
        let before = catalog.alerts(&name).map_err(anyhow::Error::new)?;
        let before = before.iter().find(|state| state.check == check);
        let before = before.and_then(|state| state.silenced_until).filter(|until| now < *until);
        let silence = |until| catalog.silence(&name, &check, until, now).map_err(anyhow::Error::new);
        if form.hours == 0 {
            silence(until)?;
            let audit = Extension(Audit(format!("ended the silence of {check}")));
            return Ok((audit, back(&visit, &of)).into_response());
        }
        if let Err(seconds) = of.changes.take((), Instant::now()) {
            return Err(too_many("too many changes; each is notified to the administrators", seconds));
        }
        silence(until)?;
        let shown = |until| format!("until {}", moment(until, &settings.zone));
        let changed = ChangedSetting {
            key: format!("silence of the check {check}"),
            from: before.map_or("none".to_owned(), shown),
            to: shown(until),
        };
        let notice = Notice::queue(&of, &settings, facts(vec![changed], &caller, false));
        let notice = notice.or_else(|error| {
            silence(before.unwrap_or(now))?;
            Err(error.context("nothing was silenced, as the messages about it could not be queued"))
        })?;
        notice.send();
        let audit = Extension(Audit(format!("silenced {check} until {until}")));
        Ok((audit, back(&visit, &of)).into_response())
    })
    .await
}

fn back(visit: &Visit, of: &OfJob) -> Response {
    let job = if visit.jobs.len() > 1 {
        format!("?job={}", percent_encoded(&of.job.name()))
    } else {
        String::new()
    };
    see_other(&format!("{}{PATH}{job}", visit.root))
}
