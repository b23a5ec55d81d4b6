//! `PUT /backup/config`: what may be changed over HTTP, and who is notified of it.
//!
//! Whoever has a token may make the configuration stricter. What weakens it needs the host: a stolen token turns off
//! no drill, shortens no retention and mails no archive to anybody else. Everybody who was notified of runs before
//! the change is notified of it, and of one that was refused.

use super::audit::Caller;
use super::auth::{Audit, too_many};
use super::blocking;
use super::error::ApiError;
use super::notice::{Notice, facts};
use super::of_job::OfJob;
use super::settings::{Config, all};
use crate::logging;
use anyhow::Result;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::{Extension, Json};
use hubvault_config::{
    ChangeBody, Changes, ConfigError, Difference, JsonObject, SCHEDULE_ENABLED, Settings,
    longest_gap,
};
use hubvault_engine::delivery::ChangedSetting;
use hubvault_engine::overview::moment;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What a key of the schedule is refused by when it puts the next run off.
const NEXT_RUN: &str = "schedule.cron";

/// What a body asks for that wants no backups any more; no setting says so.
fn schedule_off() -> Difference {
    Difference {
        key: SCHEDULE_ENABLED,
        from: "true".to_owned(),
        to: "false".to_owned(),
    }
}

const HOW_TO_STOP: &str = "cannot be changed over HTTP, as no backups would be taken; to do so, stop hubvault serve where \
                           hubvault is started";

/// Makes some settings stricter, `{"retention.days": 60}` or `{"retention": {"days": 60}}`; null takes a change back.
///
/// The names of the service before hubvault are understood, too: `schedule.cron_expression`, `schedule.enabled`,
/// `email.recipients`, `email.attachment_threshold_mb`. A setting with two values is refused, and so is a name that is twice in
/// one object.
///
/// They are kept in `overlay.toml` of the state directory and win over file and variables. The whole
/// configuration is tried with them first; if it is not right nothing changes. What would make something weaker than
/// file and variables say is refused: it needs the host. Everybody who is notified of runs is notified of both.
#[cfg_attr(test, utoipa::path(
    put,
    path = "/backup/config",
    params(super::of_job::Which),
    request_body(content = Object, content_type = "application/json"),
    security(("token" = ["admin"])),
    responses(
        (status = 200, description = "The settings in effect", body = Config),
        (status = 400, description = "Not right; `details` says what, by key", body = super::error::ErrorBody),
        (status = 401, description = "No token", body = super::error::ErrorBody),
        (status = 403, description = "The token's role is not admin, or it would weaken something: `details` says what to write where, by key", body = super::error::ErrorBody),
        (status = 429, description = "Too many changes", body = super::error::ErrorBody),
    )
))]
pub(crate) async fn change(
    app: OfJob,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<(Extension<Audit>, Json<Config>), ApiError> {
    let JsonObject(wish) = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad(format!("the body is no JSON object: {error}")))?;
    let wish = ChangeBody::read(&wish).map_err(|error| wrong(&error))?;
    if wish.is_empty() {
        return Err(ApiError::bad(
            "nothing to change; {\"schedule.cron\": \"0 3 * * *\"} or {\"schedule\": {\"cron\": \"0 3 * * *\"}}",
        ));
    }
    blocking(move || {
        // Two at once would lose one's change.
        static CHANGING: Mutex<()> = Mutex::new(());
        // Before the work, and also for what is refused.
        if let Err(seconds) = app.changes.take((), Instant::now()) {
            let what = "too many changes; each is notified to the administrators";
            return Err(too_many(what, seconds));
        }
        let _one = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        let audit = app.try_change(&wish, &caller)?;
        Ok((Extension(Audit(audit)), Json(all(&app.job.settings()))))
    })
    .await
}

impl OfJob {
    /// Makes the change, or says why not; returns what the audit line says.
    fn try_change(&self, body: &ChangeBody, caller: &Caller) -> Result<String, ApiError> {
        let wish = &body.settings;
        let directory = self.state()?;
        let stored = Changes::stored(&directory).map_err(|error| wrong(&error))?;
        let merged = |wish| Changes::merged(&directory, wish).map_err(|error| wrong(&error));
        let tried = self
            .daemon
            .try_with(&self.job, &merged(wish)?)
            .map_err(|error| wrong(&error))?;
        // What only repeats file and variables would win over them when the host changes them.
        let mut lasting = wish.clone();
        for (_, value) in lasting.iter_mut().filter(|(key, _)| tried.repeats(key)) {
            *value = Value::Null;
        }
        let changes = merged(&lasting)?;
        let before = self.job.settings();
        let mut differences = tried.differences(&before);
        if body.stops_schedule {
            differences.push(schedule_off());
        }
        if differences.is_empty() {
            // Nobody is notified of it.
            self.changes.give_back(&());
        }
        self.refuse_what_weakens(&before, &tried, &differences, caller)?;
        changes.write(&directory)?;
        let notices = self.notices(&before, &tried, &differences, caller);
        let notices = notices.or_else(|error| {
            // A change that nobody hears of is none.
            stored.write(&directory)?;
            let what = "nothing was changed, as the messages about it could not be queued";
            Err(error.context(what))
        })?;
        self.daemon.reload().map_err(|error| wrong(&error))?;
        self.daemon.reload_scheduler();
        notices.into_iter().for_each(Notice::send);
        Ok(in_words(&differences))
    }

    fn refuse_what_weakens(
        &self,
        before: &Settings,
        tried: &Settings,
        differences: &[Difference],
        caller: &Caller,
    ) -> Result<(), ApiError> {
        let weaker = tried.weaker_than(before, differences);
        let detail = |it: &Difference| (it.key.to_owned(), json!(tried.refusal(it.key, &it.to)));
        let mut details: Map<String, Value> = weaker.iter().map(detail).collect();
        if differences.contains(&schedule_off()) {
            details.insert(SCHEDULE_ENABLED.to_owned(), json!(HOW_TO_STOP));
        }
        let is_of_schedule = |it: &Difference| it.key.starts_with("schedule.");
        if details.is_empty()
            && differences.iter().any(is_of_schedule)
            && let Some(what) = self.puts_off(before, tried)?
        {
            details.insert(NEXT_RUN.to_owned(), json!(what));
        }
        if details.is_empty() {
            return Ok(());
        }
        // All of them, as whoever reads it should know all that was wanted.
        tracing::warn!(
            "audit: refused change of the configuration by {caller} from {}: {}",
            caller.origin,
            in_words(differences)
        );
        match Notice::queue(self, before, facts(settings(differences), caller, true)) {
            Ok(notice) => notice.send(),
            Err(error) => tracing::error!("notifying of a refused change: {error:#}"),
        }
        let what = "over HTTP the configuration may only be made stricter than its file and variables; nothing was \
                    changed, and the administrators are notified. with this comes what to write where on the host";
        let details = logging::masked(&Value::Object(details).to_string());
        let details = serde_json::from_str(&details).unwrap_or_default();
        Err(ApiError::new(StatusCode::FORBIDDEN, what).with(details))
    }

    /// Whether the next run would come later than the longest gap after the last one: whoever does that again and
    /// again has no backup ever.
    fn puts_off(&self, before: &Settings, tried: &Settings) -> Result<Option<String>> {
        let (old, new) = (before.job(), tried.job());
        let now = Timestamp::now();
        let last = self.catalog()?.newest(Some(&new.name), |_| true)?;
        let last = last.map_or(self.daemon.started_at(), |record| record.started_at);
        let next_old = old.schedule.next_after(&old.name, now);
        let next_new = new.schedule.next_after(&new.name, now);
        let gap = longest_gap(tried.baseline_schedule().unwrap_or(&old.schedule), now);
        let (Some(next_old), Some(next_new)) = (next_old, next_new) else {
            return Ok(None);
        };
        if !is_put_off(next_old, next_new, last, gap) {
            return Ok(None);
        }
        let at = |moment_of| moment(moment_of, &tried.zone);
        Ok(Some(format!(
            "the next run would be at {} instead of {}, too long after the last one of {}; change it once that run \
             is done",
            at(next_new),
            at(next_old),
            at(last)
        )))
    }

    /// The messages about a change: to those who were notified before it, and where it concerns them to those
    /// after it.
    fn notices(
        &self,
        before: &Arc<Settings>,
        tried: &Settings,
        differences: &[Difference],
        caller: &Caller,
    ) -> Result<Vec<Notice>> {
        if differences.is_empty() {
            return Ok(Vec::new());
        }
        let facts = facts(settings(differences), caller, false);
        let mut notices = vec![Notice::queue(self, before, facts.clone())?];
        if differences.iter().any(|it| it.key.starts_with("email.")) {
            notices.push(Notice::queue(self, tried, facts)?);
        }
        if notices.iter().all(Notice::is_empty) {
            tracing::warn!(
                "nobody is notified of this change of the configuration: no mail and no channel is configured"
            );
        }
        Ok(notices)
    }
}

/// Whether a next run comes later than it would have, and longer than `gap` after the last one.
fn is_put_off(
    next_old: Timestamp,
    next_new: Timestamp,
    last: Timestamp,
    gap: SignedDuration,
) -> bool {
    next_new > next_old && next_new > last.checked_add(gap).unwrap_or(Timestamp::MAX)
}

fn settings(differences: &[Difference]) -> Vec<ChangedSetting> {
    let setting = |it: &Difference| ChangedSetting {
        key: it.key.to_owned(),
        from: it.from.clone(),
        to: it.to.clone(),
    };
    differences.iter().map(setting).collect()
}

fn in_words(differences: &[Difference]) -> String {
    // `{:?}` as a value may hold anything.
    let one = |it: &Difference| format!("{}: {:?} -> {:?}", it.key, it.from, it.to);
    let all: Vec<String> = differences.iter().map(one).collect();
    match all.as_slice() {
        [] => "nothing differs".to_owned(),
        all => all.join(", "),
    }
}

fn wrong(error: &ConfigError) -> ApiError {
    let details: Map<String, Value> = error
        .problems
        .iter()
        .map(|problem| (problem.key.clone(), json!(logging::masked(&problem.what))))
        .collect();
    ApiError::bad("this configuration would not be right; nothing was changed")
        .with(Value::Object(details))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_due_cannot_be_put_off_again_and_again() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let day = SignedDuration::from_hours(25);
        let last = at("2026-11-24T02:00:00Z");
        let off = |old, new| is_put_off(at(old), at(new), last, day);
        // A minute before it is due, to tomorrow.
        assert!(off("2026-11-25T02:00:00Z", "2026-11-26T01:00:00Z"));
        // Within what the schedule of file and variables leaves, or sooner.
        assert!(!off("2026-11-25T02:00:00Z", "2026-11-25T03:00:00Z"));
        assert!(!off("2026-11-28T02:00:00Z", "2026-11-27T02:00:00Z"));
    }
}
