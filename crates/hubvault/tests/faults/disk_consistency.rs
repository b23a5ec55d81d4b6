//! Checks after a run on a failing disk: exit code, record, list, mail, standard error and disk agree.

use crate::disk_fault::Ran;
use crate::fault_harness::{ArchiveFile, FaultHarness};
use crate::hub::stderr;
use hubvault_testkit::MailServer;
use serde_json::Value;
use std::collections::BTreeMap;

/// What an error of the system must be followed by, in whichever words.
const REMEDIES: [&str; 6] = [
    "free some space",
    "quota",
    "mount it writable",
    "the right to",
    "dmesg",
    "server programs",
];

/// A backup is listed as it ended, its mail says the same, and what it says on standard error names what was being done,
/// to what, and what to do. Returns the outcome, in a few words.
pub(crate) fn check_backup(
    harness: &FaultHarness,
    ran: &Ran,
    before: &BTreeMap<String, ArchiveFile>,
    known: usize,
    mail: &MailServer,
) -> Result<String, String> {
    let said = stderr(&ran.output);
    let code = ran.output.status.code();
    let subjects = subjects(mail);
    let (told, ended) = match code {
        Some(0 | 3) => {
            let record: Value = serde_json::from_slice(&ran.output.stdout)
                .map_err(|error| format!("what it printed: {error}"))?;
            let ended = check_published(harness, &record, code, &said)?;
            let subject = match (record["state"].as_str(), code) {
                (Some("proven"), Some(0)) => "OK",
                // What is wrong may have come after the mail was made.
                (Some("proven"), _) => "",
                _ => "UNPROVEN",
            };
            (subject, ended)
        }
        Some(1) => ("FAILED", check_failed(harness, known, &said)?),
        code => return Err(format!("it ended with {code:?}: {said}")),
    };
    if !subjects
        .last()
        .is_some_and(|subject| subject.contains(told))
    {
        return Err(format!(
            "a mail with {told:?} was due; there are {subjects:?}; {said}"
        ));
    }
    harness.check_consistency(before)?;
    Ok(ended)
}

fn check_published(
    harness: &FaultHarness,
    record: &Value,
    code: Option<i32>,
    said: &str,
) -> Result<String, String> {
    let records = harness.list()?;
    let listed = records.iter().find(|listed| listed["id"] == record["id"]);
    if listed.is_none_or(|listed| listed["state"] != record["state"]) {
        return Err(format!("it says {}, listed is {listed:?}", record["state"]));
    }
    let warnings = record["warnings"].as_array().unwrap();
    let is_proven = record["state"] == "proven";
    if (code == Some(0)) != (is_proven && warnings.is_empty()) {
        return Err(format!("it ended with {code:?}, and says {record}"));
    }
    for warning in warnings {
        if !said.contains(warning["message"].as_str().unwrap()) {
            return Err(format!("a warning is not said: {warning}; {said}"));
        }
    }
    let codes: Vec<&str> = warnings
        .iter()
        .map(|warning| warning["code"].as_str().unwrap())
        .collect();
    Ok(match (is_proven, codes.is_empty()) {
        (true, true) if said.contains("is not written") => {
            "proven; the log that is not written is said".to_owned()
        }
        (true, true) => "proven".to_owned(),
        (true, false) => format!("proven, with a warning ({})", codes.join(", ")),
        (false, _) => "unproven, with the reason".to_owned(),
    })
}

fn check_failed(harness: &FaultHarness, known: usize, said: &str) -> Result<String, String> {
    let records = harness.list()?;
    let is_new = records.len() > known;
    if is_new && records[0]["state"] != "failed" {
        return Err(format!("it failed, listed is {}; {said}", records[0]));
    }
    let last = said.split("\nerror: ").nth(1).unwrap_or_default();
    if !last.contains('/') || !REMEDIES.iter().any(|remedy| last.contains(remedy)) {
        return Err(format!("what, where, and what to do? {said}"));
    }
    Ok(if is_new {
        "failed, and listed so".to_owned()
    } else {
        "failed, said and mailed; the catalog could not be written".to_owned()
    })
}

/// The subjects of all mails so far.
pub(crate) fn subjects(mail: &MailServer) -> Vec<String> {
    let messages = mail.messages();
    messages
        .iter()
        .filter_map(|message| {
            let text = String::from_utf8_lossy(&message.raw);
            let line = text.lines().find(|line| line.starts_with("Subject: "))?;
            Some(line.to_owned())
        })
        .collect()
}

/// The next backup is proven and leaves nothing of what was there before it.
pub(crate) fn next_is_proven(harness: &FaultHarness) -> Result<(), String> {
    let before = harness.proven();
    let output = harness.hub.run(&["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if output.status.code() != Some(0) || record["state"] != "proven" {
        let code = output.status.code();
        let said = stderr(&output);
        return Err(format!("the next backup: {code:?} {record} {said}"));
    }
    harness.check_no_leftovers()?;
    harness.check_consistency(&before)
}
