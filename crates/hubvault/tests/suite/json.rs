//! `--json`: one document on standard output, whatever happens.

use crate::hub::{Hub, stderr};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{USERS, database_with};
use serde_json::Value;
use std::process::Output;

/// The one document of a command that ends with `code`.
fn answer(hub: &Hub, arguments: &[&str], code: i32) -> Value {
    let output = hub.run_expecting(code, &[arguments, &["--json"]].concat());
    document(&output, arguments)
}

fn document(output: &Output, arguments: &[&str]) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", stderr(output)))
}

/// A server that is not there.
fn without_server(toml: &str) -> Hub {
    let settings = ConnectSettings {
        host: "/nonexistent".into(),
        ..ConnectSettings::default()
    };
    Hub::at(&settings, toml)
}

#[test]
fn a_command_that_fails_says_why_in_the_same_shape() {
    let hub = without_server("");
    for (arguments, code, kind) in [
        (&["backup"][..], 1, "failed"),
        (&["backup", "--dry-run"], 1, "failed"),
        (&["show", "latest"], 1, "failed"),
        (&["verify"], 1, "failed"),
        (&["drill", "latest"], 1, "failed"),
        (&["drill", "--all"], 1, "failed"),
        (&["restore", "latest"], 1, "failed"),
        (&["diff", "latest"], 1, "failed"),
        (&["pin", "latest"], 1, "failed"),
        (&["unpin", "x"], 1, "failed"),
        (&["mail", "test"], 1, "failed"),
        (&["mail", "preview", "nothing"], 1, "failed"),
        (&["alert", "test"], 1, "failed"),
        (&["token", "revoke", "nobody"], 1, "failed"),
        (&["seal", "check", "--answer", "x"], 1, "failed"),
        (&["check", "dsk"], 2, "usage"),
        (&["alert", "silence", "dsk", "--for", "1h"], 2, "usage"),
        (&["alert", "silence", "disk", "--for", "soon"], 2, "usage"),
        (&["backup", "--frobnicate"], 2, "usage"),
        (&["lits"], 2, "usage"),
        (&["diff", "latest", "--csv"], 2, "usage"),
        (&["serve"], 2, "usage"),
        (&["completions", "bash"], 2, "usage"),
        (&["--config", "/nowhere.toml", "list"], 2, "configuration"),
    ] {
        let output = hub.run_expecting(code, &[arguments, &["--json"]].concat());
        let document = document(&output, arguments);
        let error = &document["error"];
        assert_eq!(error["kind"], kind, "{arguments:?}: {document}");
        assert_eq!(error["exit_code"], code, "{arguments:?}: {document}");
        let message = error["message"].as_str().unwrap();
        assert!(
            !message.is_empty() && !message.starts_with("error"),
            "{message}"
        );
        let first = message.lines().next().unwrap();
        assert!(
            stderr(&output).contains(first),
            "{first}: {}",
            stderr(&output)
        );
    }
    // Nothing of it where it is not asked for, or is a name.
    for arguments in [&["pin", "x"][..], &["pin", "--", "--json"]] {
        assert_eq!(hub.run_expecting(1, arguments).stdout, b"", "{arguments:?}");
    }
}

#[test]
fn a_failed_run_is_in_the_answer_with_its_record() {
    let hub = without_server("");
    let failed = answer(&hub, &["backup"], 1);
    assert_eq!(failed["backup"]["state"], "failed", "{failed}");
    let listed = answer(&hub, &["list"], 0);
    assert_eq!(listed[0]["id"], failed["backup"]["id"]);
    assert!(
        failed["error"]["message"]
            .as_str()
            .unwrap()
            .contains("/nonexistent")
    );
}

#[test]
fn the_mistakes_of_a_configuration_are_listed() {
    let hub = without_server("[databse]\nhost = \"x\"\n[archive]\nlevel = \"high\"\n");
    for command in [&["backup"][..], &["config", "check"], &["status"]] {
        let error = &answer(&hub, command, 2)["error"];
        let mistakes = error["mistakes"].as_array().unwrap();
        assert_eq!(mistakes.len(), 2, "{error:#}");
        assert_eq!(mistakes[0]["key"], "archive.level");
        assert!(
            mistakes[0]["origin"].as_str().unwrap().ends_with("line 5"),
            "{error}"
        );
    }
}

#[test]
fn every_command_answers_with_a_document_of_its_own() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    let drills = hub.prove();
    hub.set("TMPDIR", drills.path().to_str().unwrap());
    let record = answer(&hub, &["backup"], 0);
    let id = record["id"].as_str().unwrap();
    assert_eq!(answer(&hub, &["pin", id], 0)["pinned"], true);
    assert_eq!(answer(&hub, &["unpin", "latest"], 0)["id"], id);
    let drilled = answer(&hub, &["drill", "--all"], 0);
    assert_eq!(drilled[0]["result"], "proven", "{drilled}");
    assert_eq!(drilled[0]["file"], record["file"]);
    assert_eq!(drilled[0]["proof"]["proven"], true);
    assert_eq!(answer(&hub, &["catalog", "rebuild"], 0)["known"], 1);
    assert!(answer(&hub, &["config", "check"], 0)["notices"].is_array());
    let preview = answer(&hub, &["mail", "preview", "success"], 0);
    assert!(preview["html"].as_str().unwrap().contains("<body>"));
    assert_eq!(answer(&hub, &["mail", "retry"], 0), Value::Array(vec![]));
    let silenced = answer(&hub, &["alert", "silence", "disk", "--for", "2h"], 0);
    assert!(silenced["silenced_until"].as_str().unwrap().ends_with('Z'));
    let token = answer(&hub, &["token", "create", "board", "--role", "read"], 0);
    assert!(
        token["token"].is_string() && token["role"] == "read",
        "{token}"
    );
    assert_eq!(answer(&hub, &["token", "list"], 0)[0]["name"], "board");
    assert_eq!(
        answer(&hub, &["token", "revoke", "board"], 0)["revoked"],
        true
    );
    let new = hub.config().join("new.toml");
    let new = new.to_str().unwrap();
    assert_eq!(answer(&hub, &["config", "init", new], 0)["file"], new);
    for listing in [
        &["list"][..],
        &["mail", "outbox"],
        &["prune"],
        &["seal", "check"],
    ] {
        let code = if listing[0] == "seal" { 3 } else { 0 };
        assert!(answer(&hub, listing, code).is_array(), "{listing:?}");
    }
}

#[test]
fn an_archive_that_a_drill_rejects_is_in_the_one_answer() {
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    let _drills = hub.prove();
    let (_, archive) = hub.backup();
    let mut bytes = std::fs::read(&archive).unwrap();
    let (begin, end) = (bytes.len() / 4, bytes.len() * 3 / 4);
    bytes[begin..end].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&archive, bytes).unwrap();
    let drilled = answer(&hub, &["drill", "--all"], 1);
    assert_eq!(drilled[0]["result"], "rejected", "{drilled}");
    assert!(drilled[0]["reason"].is_string() && drilled[0]["proof"].is_null());
    let error = answer(&hub, &["verify"], 1);
    assert_eq!(error["error"]["kind"], "failed", "{error}");
}
