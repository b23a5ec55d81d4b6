//! A command that failed: the reason on standard error, and with `--json` on standard output, too; the exit code.

use crate::answer::{self, Kind};
use crate::{signals, text};
use hubvault_config::ConfigError;
use hubvault_service::logging::masked;
use serde_json::{Value, json};

/// Reports it and returns the exit code.
pub(crate) fn report(error: &anyhow::Error) -> u8 {
    report_with(error, json!({}))
}

/// The same with more keys for programs, such as the record of a run that failed.
pub(crate) fn report_with(error: &anyhow::Error, more: Value) -> u8 {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        return of_usage(usage);
    }
    let message = masked(&text::chain(error));
    text::complain(&format!("error: {}", hubvault_model::indented(&message)));
    let (kind, code, more) = match (signals::exit_code(), error.downcast_ref()) {
        (Some(code), _) => (Kind::Interrupted, code, more),
        (None, Some(configuration)) => (Kind::Configuration, 2, mistakes(configuration)),
        (None, None) => (Kind::Failed, 1, more),
    };
    answer::failed(kind, &message, code, more);
    code
}

/// Also what `--help` prints, which is no failure.
fn of_usage(usage: &clap::Error) -> u8 {
    // A closed standard error changes nothing.
    let _ = usage.print();
    let code = u8::try_from(usage.exit_code()).unwrap_or(2);
    if code != 0 {
        let text = usage.to_string();
        let message = text.split("\n\nUsage:").next().unwrap_or_default();
        let message = message.trim_start_matches("error: ").trim_end();
        answer::failed(Kind::Usage, message, code, json!({}));
    }
    code
}

fn mistakes(error: &ConfigError) -> Value {
    let one = |problem: &hubvault_config::Problem| json!({ "origin": problem.origin, "key": problem.key, "what": masked(&problem.what) });
    json!({ "mistakes": error.problems.iter().map(one).collect::<Vec<_>>() })
}
