//! A command that notifies somebody: the event as JSON on its standard input, its words in the environment. Nothing of an
//! event is ever part of a command line.

use crate::job::UserCommand;
use hubvault_model::{Cancel, Masks};
use hubvault_notify::{Event, command_input};

/// A text at most, in bytes; Linux takes no longer one than 128 KiB.
const TEXT_BYTES: usize = 60_000;
/// How much of its output an error has, in characters.
const OUTPUT: usize = 300;

/// Runs it to its end. `Err` says what went wrong, and what to do.
pub(super) fn run(
    own: &UserCommand,
    event: &Event,
    masks: &Masks,
    cancel: &Cancel,
) -> Result<(), String> {
    let UserCommand {
        name,
        command,
        timeout,
    } = own;
    let job = event.body["job"].as_str().unwrap_or_default();
    let environment = [
        ("HUBVAULT_EVENT", event.kind.as_str()),
        ("HUBVAULT_JOB", job),
        ("HUBVAULT_TITLE", &event.title),
        ("HUBVAULT_TEXT", cut(&event.text)),
    ];
    // No text of a variable can have it.
    let environment = environment.map(|(name, text)| (name.to_owned(), text.replace('\0', "")));
    let failed = |why: &str| {
        Err(format!(
            "running the command {name} of [[notify]]: {command} {why}; run it by hand"
        ))
    };
    let ended = match command.run_with(command_input(event), &environment, *timeout, cancel) {
        Ok(ended) => ended,
        Err(error) => return failed(&format!("cannot be started: {error}")),
    };
    if ended.is_success() {
        return Ok(());
    }
    let how = match (ended.timed_out, ended.code) {
        (true, _) => format!("did not end within {} s", timeout.as_secs_f64()),
        (false, Some(code)) => format!("ended with exit code {code}"),
        (false, None) => "ended by a signal".to_owned(),
    };
    // Before it is cut, or half of a secret would not be known as one.
    let output = masks.mask(ended.output.trim());
    let said: String = output.chars().take(OUTPUT).collect();
    match said.as_str() {
        "" => failed(&how),
        said => failed(&format!("{how}: {said}")),
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
