//! The answer to a program: with `--json` one document on standard output, also where the command fails (docs/json.md).

use crate::text::{print_data, print_with};
use serde::Serialize;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static IS_JSON: AtomicBool = AtomicBool::new(false);
static IS_GIVEN: AtomicBool = AtomicBool::new(false);

/// Why a command failed, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The arguments are wrong.
    Usage,
    /// The configuration is wrong.
    Configuration,
    /// A signal ended it.
    Interrupted,
    /// Anything else.
    Failed,
}

/// Reads from the arguments, before anything can be wrong with them, whether JSON is asked for.
pub(crate) fn choose(arguments: impl Iterator<Item = OsString>) {
    let mut options = arguments.take_while(|argument| argument != "--");
    let is_json = options.any(|argument| argument == OsStr::new("--json"));
    IS_JSON.store(is_json, Ordering::Release);
}

/// Whether the answer is JSON.
pub(crate) fn is_json() -> bool {
    IS_JSON.load(Ordering::Acquire)
}

/// Prints the one document.
pub(crate) fn json(document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document)? + "\n";
    IS_GIVEN.store(true, Ordering::Release);
    print_data(&text)
}

/// Prints the document that `write` makes piece by piece.
pub(crate) fn stream(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    IS_GIVEN.store(true, Ordering::Release);
    print_with(write)
}

/// Prints why there is no answer, with what else is known of it, unless JSON is not asked for or an answer was begun.
pub(crate) fn failed(kind: Kind, message: &str, exit_code: u8, more: Value) {
    if !is_json() || IS_GIVEN.swap(true, Ordering::AcqRel) {
        return;
    }
    let mut error = json!({ "kind": kind, "message": message, "exit_code": exit_code });
    let mut document = json!({});
    if let Value::Object(more) = more {
        for (key, value) in more {
            // The mistakes of a configuration are parts of the error, all else is beside it.
            let place = if key == "mistakes" {
                &mut error
            } else {
                &mut document
            };
            place[key] = value;
        }
    }
    document["error"] = error;
    // There is no other place to say it, and standard error has it, too.
    let _ = json(&document);
}
