//! Channels as they are configured: their addresses, secrets, and commands.

use crate::hub::{Hub, stderr, stdout};
use crate::mailing::outbox;
use hubvault_testkit::{HttpSink, database_with};
use serde_json::Value;
use std::fs;

const WHOLE: &str =
    "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\npause = \"10 ms\"\n";
const TOKEN: &str = "123456:AAxyzzyxyzzyxyzzy";
const KEY: &str = "R0xyzzyxyzzyxyzzyxyzzyxyzzyxyzzy";

#[test]
fn a_chat_and_an_incident_have_their_addresses_and_their_secrets_stay_secret() {
    let database = database_with("CREATE TABLE users AS SELECT 1 AS id");
    let sink = HttpSink::start([]);
    let mut hub = Hub::whole(&database);
    let base = sink.url("");
    hub.write(&format!(
        "{WHOLE}[telegram]\nurl = \"{base}/\"\nchat = \"-100123\"\n[pagerduty]\nurl = \"{base}\"\n"
    ));
    hub.set("TELEGRAM_BOT_TOKEN", TOKEN);
    hub.set("PAGERDUTY_ROUTING_KEY", KEY);
    hub.set("DISCORD_WEBHOOK_URL", sink.url("/api/webhooks/1/xyzzy"));
    hub.set("TEAMS_WEBHOOK_URL", sink.url("/workflows/xyzzy?sig=xyzzy"));
    hub.set("POSTGRES_PORT", "1");
    let output = hub.run_expecting(1, &["backup"]);
    let mut targets: Vec<String> = sink.requests().into_iter().map(|r| r.target).collect();
    targets.sort();
    let telegram = format!("/bot{TOKEN}/sendMessage");
    assert_eq!(
        targets,
        [
            "/api/webhooks/1/xyzzy",
            &telegram,
            "/v2/enqueue",
            "/workflows/xyzzy?sig=xyzzy"
        ]
    );
    let mut said = stdout(&output) + &stderr(&output);
    for arguments in [
        &["status"] as &[&str],
        &["config", "show"],
        &["mail", "outbox", "--json"],
        &["list", "--json"],
    ] {
        let output = hub.run(arguments);
        said += &(stdout(&output) + &stderr(&output));
    }
    assert!(
        said.contains("telegram") && said.contains("pagerduty"),
        "{said}"
    );
    assert!(!said.contains("xyzzy"), "{said}");
}

#[test]
fn a_bot_without_a_chat_is_a_mistake() {
    let database = database_with("CREATE TABLE users AS SELECT 1 AS id");
    let mut hub = Hub::whole(&database);
    hub.set("TELEGRAM_BOT_TOKEN", TOKEN);
    let output = hub.run_expecting(2, &["config", "check"]);
    let said = stdout(&output) + &stderr(&output);
    assert!(
        said.contains("telegram.chat is missing") || said.contains("telegram.chat: is missing"),
        "{said}"
    );
    assert!(said.contains("TELEGRAM_CHAT_ID"), "{said}");
}

#[test]
fn a_command_gets_the_event_as_json_and_its_words_in_the_environment() {
    let database = database_with("CREATE TABLE \"$(touch pwned)\" AS SELECT 1 AS id");
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().display();
    let mut hub = Hub::whole(&database);
    hub.write(&format!(
        "{WHOLE}[[notify]]\nname = \"pager\"\ncommand = [\"sh\", \"-c\", 'cat > {at}/$HUBVAULT_EVENT.json; \
         echo \"$HUBVAULT_TITLE\" > {at}/title-$HUBVAULT_EVENT; test -n \"$HUBVAULT_TEXT\"']\n\
         [[notify]]\nname = \"broken\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo no network; exit 7\"]\n"
    ));
    let output = hub.run_expecting(3, &["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        record["delivery"]["told"],
        serde_json::json!(["command (pager)"])
    );
    let undelivered = &record["delivery"]["untold"][0];
    assert_eq!(undelivered["to"], "command (broken)");
    let reason = undelivered["reason"].as_str().unwrap();
    assert!(
        reason.contains("ended with exit code 7: no network"),
        "{reason}"
    );
    let json = fs::read(directory.path().join("success.json")).unwrap();
    let event: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(event["event"], "success");
    assert_eq!(event["data"]["job"], database.settings().dbname);
    let title = fs::read_to_string(directory.path().join("title-success")).unwrap();
    assert!(event["title"] == title.trim(), "{title}");
    // What could not be delivered is tried again by its name.
    let queued = outbox(&hub);
    let queued: Vec<&Value> = queued
        .iter()
        .filter(|item| item["state"] == "waiting")
        .collect();
    assert_eq!(queued.len(), 1, "{queued:?}");
    hub.write(&format!(
        "{WHOLE}[[notify]]\nname = \"broken\"\ncommand = [\"sh\", \"-c\", \"cat > {at}/later.json\"]\n"
    ));
    hub.run_expecting(0, &["mail", "retry"]);
    assert!(directory.path().join("later.json").is_file());
    assert!(!hub.backups().parent().unwrap().join("pwned").exists());
}

#[test]
fn a_command_that_hangs_is_ended() {
    let database = database_with("CREATE TABLE users AS SELECT 1 AS id");
    let mut hub = Hub::whole(&database);
    hub.write(&format!(
        "{WHOLE}tries = 1\n[[notify]]\nname = \"slow\"\ntimeout = \"200 ms\"\ncommand = [\"sleep\", \"600\"]\n"
    ));
    let output = hub.run_expecting(3, &["backup"]);
    let said = stdout(&output);
    assert!(said.contains("did not end within 0.2 s"), "{said}");
}
