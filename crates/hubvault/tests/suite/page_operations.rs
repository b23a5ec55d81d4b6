//! Verify, drill and compare a backup from its page and over HTTP.

use crate::hub::{Hub, archives_and_partials};
use crate::keys::Pair;
use crate::page::{Browser, hub, is_page};
use crate::service_process::ServiceProcess;
use hubvault_testkit::{Database, database_with, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// A table of a name that somebody chose to do harm, and one beside it.
fn hostile() -> Database {
    database_with(
        "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'a'), (2, 'b');
         CREATE TABLE \"<script>alert(1)</script>\" (id int PRIMARY KEY);
         INSERT INTO \"<script>alert(1)</script>\" VALUES (1)",
    )
}

/// A hub with a backup; its id.
pub(crate) fn with_backup(database: &Database) -> (Hub, String) {
    let mut hub = hub(database);
    hub.set("PROOF", "off");
    let (record, _) = hub.backup();
    let id = record["id"].as_str().unwrap().to_owned();
    (hub, id)
}

/// Starts an operation of a backup; the address of its page.
pub(crate) fn start(browser: &Browser<'_>, id: &str, action: &str) -> String {
    let begun = browser.submit(
        &format!("/backups/{id}/operation"),
        &format!("action={action}"),
    );
    assert_eq!(begun.status, 303, "{}", begun.text());
    let (_, path) = begun
        .header("location")
        .unwrap()
        .split_once("operations/")
        .unwrap();
    format!("/operations/{path}")
}

/// Kills the process of the operation whose page this is, as a crash does.
pub(crate) fn kill(hub: &Hub, page: &str) {
    let id = page.rsplit('/').next().unwrap();
    let file = hub
        .backups()
        .join(format!(".hubvault/operations/{id}.progress"));
    let process = || {
        let text = fs::read(&file).ok()?;
        let progress: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Pid::from_raw(progress["process"].as_i64()? as i32)
    };
    wait_for(|| process().is_some(), || format!("{}", file.display()));
    kill_process(process().unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_person_verifies_drills_and_compares_a_backup() {
    let database = hostile();
    let (hub, id) = with_backup(&database);
    let (read, operate) = (hub.token("ana", "read"), hub.token("bob", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let (looking, browser) = (
        Browser::of(&service, &read),
        Browser::of(&service, &operate),
    );
    let one = is_page(&browser.get(&format!("/backups/{id}")), 200);
    assert!(one.contains("value=\"drill\"") && one.contains("value=\"compare\""));
    let path = format!("/backups/{id}/operation");
    assert!(!is_page(&looking.get(&format!("/backups/{id}")), 200).contains("value=\"drill\""));
    is_page(&looking.submit(&path, "action=drill"), 403);
    is_page(&browser.send(&path, "action=drill", &[]), 403);
    is_page(&browser.submit(&path, "action=restore"), 422);

    let verified = start(&browser, &id, "verify");
    let page = service.wait_for_page(&browser, &verified, "Verify: done");
    assert!(page.contains("every checksum and digest equal"), "{page}");
    let drilled = start(&browser, &id, "drill");
    let page = service.wait_for_page(&browser, &drilled, "Drill: done");
    assert!(page.contains("restored and compared"), "{page}");
    let one = is_page(&looking.get(&format!("/backups/{id}")), 200);
    assert!(
        one.contains("Restored and compared") && one.contains(&format!("..{drilled}\"")),
        "{one}"
    );

    let mut client = database.client();
    client
        .batch_execute(
            "DELETE FROM users WHERE id = 1; UPDATE users SET name = 'c'; DELETE FROM \"<script>alert(1)</script>\"",
        )
        .unwrap();
    let compared = start(&browser, &id, "compare");
    let page = service.wait_for_page(&browser, &compared, "done, with warnings");
    assert!(page.contains("2 of 2 tables differ"), "{page}");
    assert!(page.contains("&lt;script&gt;alert"), "{page}");
    is_page(&looking.get(&compared), 200);
    for (path, status) in [
        ("/operations/00000000-0000-4000-8000-000000000000", 404),
        ("/operations/%3Cscript%3E", 400),
    ] {
        is_page(&browser.get(path), status);
    }
    // An archive that is damaged, and one that is gone.
    let mut files = archives_and_partials(&hub.backups()).into_iter();
    let is_archive = |path: &PathBuf| path.to_str().unwrap().ends_with(".tar.gz");
    let archive = files.find(is_archive).unwrap();
    fs::write(&archive, "damaged").unwrap();
    let damaged = start(&browser, &id, "verify");
    let page = service.wait_for_page(&browser, &damaged, "Verify: failed");
    assert!(!page.contains("Result"), "{page}");
    fs::remove_file(&archive).unwrap();
    let gone = start(&browser, &id, "drill");
    let page = service.wait_for_page(&browser, &gone, "Drill: failed");
    assert!(page.contains("is missing"), "{page}");
    let log = service.stop_and_log();
    for said in ["operation started drill", "started by bob ended: done"] {
        assert!(log.contains(said), "{said} in {log}");
    }
}

#[test]
fn one_is_in_progress_at_a_time_and_one_that_crashed_says_so() {
    let database = hostile();
    let (hub, id) = with_backup(&database);
    let token = hub.token("bob", "operate");
    let mut service = ServiceProcess::start_http(&hub);
    // Somebody's lock holds the comparison where it is.
    let mut held = database.client();
    held.batch_execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let browser = Browser::of(&service, &token);
    let first = start(&browser, &id, "compare");
    let page = service.wait_for_page(&browser, &first, "In progress");
    assert!(page.contains("http-equiv=\"refresh\""), "{page}");
    let busy = browser.submit(&format!("/backups/{id}/operation"), "action=verify");
    assert!(
        is_page(&busy, 409).contains("only one at a time"),
        "{}",
        busy.text()
    );
    let body = json!({"action": "verify"}).to_string();
    let busy = service.post(&format!("/backup/{id}/operation"), &token, &body);
    assert_eq!(busy.status, 409, "{}", busy.text());
    let other = busy.json()["details"]["operation"].clone();
    assert!(first.ends_with(other.as_str().unwrap()));
    kill(&hub, &first);
    let page = service.wait_for_page(&browser, &first, "failed");
    assert!(page.contains("ended by signal 9"), "{page}");

    // One that the service did not see end.
    let second = start(&browser, &id, "compare");
    service.wait_for_page(&browser, &second, "In progress");
    service.signal(Signal::KILL);
    service.stop();
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    assert!(is_page(&browser.get(&second), 200).contains("In progress"));
    kill(&hub, &second);
    let page = service.wait_for_page(&browser, &second, "ended without a result");
    assert!(page.contains("Start it again"), "{page}");
    held.batch_execute("ROLLBACK").unwrap();
    let third = start(&browser, &id, "compare");
    service.wait_for_page(&browser, &third, "No differences");
}

#[test]
fn a_program_drills_over_http_and_a_stopped_service_ends_what_runs() {
    let database = hostile();
    let (mut hub, id) = with_backup(&database);
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[service]\nstop_grace = \"1 s\"\n");
    let (read, operate) = (hub.token("ana", "read"), hub.token("bob", "operate"));
    let mut service = ServiceProcess::start_http(&hub);
    let path = format!("/backup/{id}/operation");
    for (token, body, status) in [
        (&read, "{\"action\": \"verify\"}", 403),
        (&operate, "", 400),
        (&operate, "{\"action\": \"restore\"}", 400),
        (&operate, "{\"action\": \"verify\", \"x\": 1}", 400),
    ] {
        let answer = service.post(&path, token, body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let begun = service.post(&path, &operate, "{\"action\": \"drill\"}");
    assert_eq!(begun.status, 202, "{}", begun.text());
    let operation = format!("/operation/{}", begun.json()["id"].as_str().unwrap());
    let ended = service.wait_for_answer(&operation, &read, |one| one["ended_at"].is_string());
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(ended["result"][0]["result"], "proven", "{ended}");
    assert_eq!(service.get("/operation/x", &read).status, 400);
    assert_eq!(service.get(&operation, "").status, 401);

    let mut held = database.client();
    held.batch_execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let begun = service.post(&path, &operate, "{\"action\": \"compare\"}");
    let operation = format!("/operation/{}", begun.json()["id"].as_str().unwrap());
    service.wait_for_answer(&operation, &read, |one| one["progress"].is_object());
    assert_eq!(service.stop(), Some(0));
    let service = ServiceProcess::start_http(&hub);
    let ended = service.get(&operation, &read).json();
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(
        ended["error"].as_str().unwrap().contains("stopped"),
        "{ended}"
    );
}

#[test]
fn a_sealed_backup_is_opened_on_a_host_with_its_key() {
    let database = hostile();
    let mut hub = hub(&database);
    hub.set("PROOF", "off");
    let key = Pair::age(&hub.config(), "key.txt");
    hub.set("BACKUP_RECIPIENTS", key.public);
    let (record, _) = hub.backup();
    let id = record["id"].as_str().unwrap();
    let token = hub.token("bob", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let page = is_page(&browser.get(&format!("/backups/{id}")), 200);
    assert!(page.contains("value=\"verify\"") && !page.contains("value=\"drill\""));
    let refused = browser.submit(&format!("/backups/{id}/operation"), "action=drill");
    let said = is_page(&refused, 409);
    assert!(
        said.contains("hubvault drill") && said.contains("--identity FILE"),
        "{said}"
    );
    let verified = start(&browser, id, "verify");
    let page = service.wait_for_page(&browser, &verified, "with warnings");
    assert!(page.contains("its contents were not checked"), "{page}");
}
