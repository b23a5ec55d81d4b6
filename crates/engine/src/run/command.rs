//! What sources and hooks have in common: their environment variables, and the message of a failed one.

use super::Run;
use crate::command::Ended;
use crate::job::Job;
use hubvault_model::Masks;
use std::io;
use std::time::Duration;

/// How much of what a command said last is repeated, in bytes.
const LAST_WORDS: usize = 500;

/// The variables that every command of a backup has.
pub(crate) fn environment(job: &Job, run: &Run) -> Vec<(String, String)> {
    variables([
        ("HUBVAULT_RUN_ID", run.id.to_string()),
        ("HUBVAULT_JOB", job.name.clone()),
    ])
}

/// Variables as a command takes them.
pub(crate) fn variables<const N: usize>(all: [(&str, String); N]) -> Vec<(String, String)> {
    all.map(|(name, value)| (name.to_owned(), value)).into()
}

/// What is wrong with how a command ended, with its last words; `None` when nothing is.
pub(crate) fn fault(ended: &io::Result<Ended>, limit: Duration, masks: &Masks) -> Option<String> {
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return Some(format!("cannot be started ({error})")),
    };
    let what = match ended.code {
        _ if ended.timed_out => {
            let seconds = limit.as_secs_f64();
            format!("was killed after its timeout of {seconds} s")
        }
        Some(0) => return None,
        Some(code) => format!("ended with exit code {code}"),
        None => "was killed by a signal".to_owned(),
    };
    let words = last_words(ended, masks);
    Some(if words.is_empty() {
        format!("{what} without output")
    } else {
        format!("{what}: {words}")
    })
}

/// The end of what a command said, without secrets.
pub(crate) fn last_words(ended: &Ended, masks: &Masks) -> String {
    // Before the cut, which could leave a secret's half.
    let words = masks.mask(&ended.output);
    let words = words.trim();
    let from = words.ceil_char_boundary(words.len().saturating_sub(LAST_WORDS));
    words[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_short_and_without_secrets() {
        let masks = Masks::new(["hunter2".to_owned().into()]);
        let mut ended = Ended {
            code: Some(1),
            timed_out: false,
            output: "é".repeat(400) + "hunter2\n",
            seconds: 0.0,
        };
        let words = last_words(&ended, &masks);
        assert!(
            words.len() <= LAST_WORDS && words.ends_with("é***"),
            "{words}"
        );
        ended.code = Some(0);
        ended.timed_out = true;
        let what = fault(&Ok(ended), Duration::from_secs(2), &masks).unwrap();
        assert!(what.starts_with("was killed after its timeout of 2 s: é"));
    }
}
