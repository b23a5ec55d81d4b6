//! An operation in a line.

use super::shown::Clock;
use crate::http::of_job::OfJob;
use crate::http::operations::word;
use crate::operation::{Action, Operation, Standing};
use minijinja::value::Serde;
use minijinja::{Value, context};

/// The line, for a template.
pub(super) fn in_a_line(of: &OfJob, operation: &Operation, clock: &Clock) -> Value {
    let standing = of.job.standing(operation);
    context! {
        id => operation.id.to_string(),
        title => title(&operation.action),
        by => operation.by.clone(),
        at => Value::from(Serde(clock.when(operation.requested_at))),
        mark => mark(&standing),
        state_text => in_words(&standing),
    }
}

/// What is done.
pub(super) fn title(action: &Action) -> &'static str {
    match action {
        Action::Verify => "Verify",
        Action::Drill => "Drill",
        Action::Compare => "Compare with the living database",
        Action::Preview(_) => "Preview of a restore",
        Action::Restore(_) => "Restore",
    }
}

/// The mark of where it is.
pub(super) fn mark(standing: &Standing) -> &'static str {
    match word(standing) {
        "starting" | "running" => "running",
        "done" => "proven",
        "warnings" => "unproven",
        _ => "failed",
    }
}

/// Where it is.
pub(super) fn in_words(standing: &Standing) -> &'static str {
    match word(standing) {
        "starting" => "begins",
        "running" => "is running",
        "done" => "done",
        "warnings" => "done, with warnings",
        "failed" => "failed",
        "stopped" => "stopped",
        _ => "ended without a result",
    }
}
