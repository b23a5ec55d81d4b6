//! The user's own checks.

use super::super::{Finding, Look};
use crate::job::UserCommand;
use hubvault_model::Cancel;

/// How much of a command's output is in the finding, in characters.
const MAX_OUTPUT: usize = 500;

pub(super) fn run(check: &UserCommand, look: &Look<'_>, cancel: &Cancel) -> Finding {
    let UserCommand {
        name,
        command,
        timeout,
    } = check;
    let next = format!("run the command of the check {name} by hand");
    let ended = match command.run(&[], *timeout, cancel) {
        Ok(ended) => ended,
        Err(error) => {
            let what = format!("{command} cannot be started: {error}");
            return Finding::failing(name, what, next);
        }
    };
    if cancel.is_requested() {
        return Finding::skipped(name, "stopped on request");
    }
    if ended.is_success() {
        return Finding::ok(name, format!("exit code 0 in {:.1} s", ended.seconds));
    }
    let how = match (ended.timed_out, ended.code) {
        (true, _) => format!("no answer within {:.1} s", timeout.as_secs_f64()),
        (false, Some(code)) => format!("exit code {code}"),
        (false, None) => "ended by a signal".to_owned(),
    };
    // Before it is cut, or half of a secret would not be known as one.
    let output = look.job.delivery.masks.mask(ended.output.trim());
    let from = output
        .char_indices()
        .rev()
        .nth(MAX_OUTPUT - 1)
        .map_or(0, |(at, _)| at);
    let said = &output[from..];
    let what = if said.is_empty() {
        how
    } else {
        format!("{how}: {said}")
    };
    Finding::failing(name, what, next)
}
