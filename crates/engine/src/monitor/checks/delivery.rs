//! Whether recipients are notified of the runs.

use super::super::{Finding, Look};
use crate::catalog::{OutboxItem, OutboxState};
use crate::delivery::{nobody_notified, what_to_do};
use hubvault_model::Cancel;
use jiff::SignedDuration;

pub(super) const NAME: &str = "delivery";
/// What is younger and was not tried yet may be on its way.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_mins(10);
/// What was refused longer ago has been reported often enough.
const FAILED_FOR: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    if let Some(nobody) = nobody_notified(look.job) {
        return Finding::failing(NAME, nobody.message, "hubvault config check");
    }
    let delivery = &look.job.delivery;
    let mut wrong: Vec<String> = Vec::new();
    let mut say = |line: String| {
        if !wrong.contains(&line) {
            wrong.push(line);
        }
    };
    for item in look.outbox.iter().filter(|item| is_stuck(look, item)) {
        let why = item.why_not().unwrap_or("not tried yet");
        let how = if item.is_open() {
            "is queued"
        } else {
            "was refused"
        };
        say(format!("a message by {} {how}: {why}", item.channel));
    }
    let last = look.overview.last_run.as_ref();
    let last = last.and_then(|record| record.delivery.as_ref());
    for one in last.iter().flat_map(|delivery| &delivery.undelivered) {
        say(format!(
            "{} was not notified of the last run: {}",
            one.to, one.reason
        ));
    }
    if !wrong.is_empty() {
        let is_queued = look.outbox.iter().any(OutboxItem::is_open);
        return Finding::failing(NAME, wrong.join("; "), what_to_do(is_queued));
    }
    if delivery.mail.is_none() && delivery.channels.is_empty() {
        return Finding::skipped(NAME, "nobody is to be notified (email.enabled is false)");
    }
    let what = match last {
        Some(_) => "no messages are queued; everybody was notified of the last run",
        None => "no messages are queued",
    };
    Finding::ok(NAME, what)
}

fn is_stuck(look: &Look<'_>, item: &OutboxItem) -> bool {
    let old = look.since(item.created_at);
    match item.state {
        OutboxState::Waiting | OutboxState::Sending => item.error.is_some() || old > ON_ITS_WAY,
        OutboxState::Failed => old < FAILED_FOR && !item.superseded,
        OutboxState::Sent => false,
    }
}
