//! The rooms of the page beside backups: checks and alerts, recipients.

use crate::hub::Hub;
use crate::page::{Browser, database, hub, is_page};
use crate::service_process::ServiceProcess;
use hubvault_testkit::{Database, HttpSink, database_with, wait_for};
use rustix::fs::{FlockOperation, fcntl_lock};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;

/// A hub whose own check fails with a text that does harm where it is HTML, and the file that makes it pass.
fn hub_with_failing_check(database: &Database) -> (Hub, PathBuf) {
    let mut hub = hub(database);
    let flag = hub.config().join("flag");
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[[check]]\nname = \"flag\"\n\
         command = \"test -e {} || {{ echo '<script>alert(1)</script>\\\" onclick=\\\"x'; exit 1; }}\"\n",
        flag.display()
    ));
    (hub, flag)
}

/// What is recorded of a check.
fn alert(hub: &Hub, check: &str) -> Value {
    let output = hub.run(&["alert", "list", "--json"]);
    let states: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = states.into_iter().filter(|state| state["check"] == check);
    found.next().unwrap_or_default()
}

fn is_escaped(page: &str) {
    for raw in ["<script>", "<img src=x", "<b>", "\" onclick=\""] {
        assert!(!page.contains(raw), "{raw} in {page}");
    }
}

#[test]
fn a_check_that_fails_is_looked_at_and_silenced_for_a_while() {
    let database = database();
    let (mut hub, flag) = hub_with_failing_check(&database);
    let hook = HttpSink::start([]);
    hub.set("WEBHOOK_URL", hook.url("/hook"));
    let (read, operate) = (hub.token("ana", "read"), hub.token("bob", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let (looking, browser) = (
        Browser::of(&service, &read),
        Browser::of(&service, &operate),
    );
    // The service has checked once by itself, and notified of it.
    let is_notified = || !hook.requests().is_empty() && !alert(&hub, "flag").is_null();
    wait_for(is_notified, || "the alert of the flag".to_owned());
    let page = is_page(&looking.get("/checks?state=failing"), 200);
    is_escaped(&page);
    for said in [
        "&lt;script&gt;alert(1)&lt;&#x2f;script&gt;",
        "hubvault check flag says what to do",
        "there is no proven backup",
        "hubvault alert list",
        "alert</span> flag:",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    for hidden in [
        "Check now",
        "checks/silence",
        "aria-label=\"List of checks\">ok",
    ] {
        assert!(!page.contains(hidden), "{hidden} in {page}");
    }

    let asked = browser.submit("/checks/now", "");
    assert_eq!(
        (asked.status, asked.header("location")),
        (303, Some("../checks"))
    );
    let page = is_page(&browser.get("/checks"), 200);
    assert!(
        page.contains("run the command of the check flag by hand"),
        "{page}"
    );
    let sent = hook.requests().len();

    let silenced = browser.submit("/checks/silence", "check=flag&hours=4");
    assert_eq!(silenced.status, 303, "{}", silenced.text());
    assert!(alert(&hub, "flag")["silenced_until"].is_string());
    let page = is_page(&browser.get("/checks"), 200);
    assert!(
        page.contains("ends <time") && page.contains("--for 0s"),
        "{page}"
    );
    wait_for(
        || hook.requests().len() > sent,
        || "the notice of the silence".to_owned(),
    );
    let notice = String::from_utf8_lossy(&hook.requests()[sent].body).into_owned();
    assert!(
        notice.contains("bob (operate)")
            && notice.contains("silence of the check flag: none -> until"),
        "{notice}"
    );
    let ended = browser.submit("/checks/silence", "check=flag&hours=0");
    assert_eq!(ended.status, 303);
    assert!(!is_page(&browser.get("/checks"), 200).contains("ends <time"));

    // A check that recovers is no more in the list of those that fail.
    std::fs::write(&flag, "").unwrap();
    assert_eq!(browser.submit("/checks/now", "").status, 303);
    let page = is_page(&browser.get("/checks?state=failing"), 200);
    assert!(!page.contains("value=\"flag\""), "{page}");
    let log = service.stop_and_log();
    for said in [
        "POST /checks/now",
        "silenced flag until",
        "ended the silence of flag",
    ] {
        assert!(log.contains(said), "{said} in {log}");
    }
}

#[test]
fn what_is_wrong_in_a_form_of_the_checks_changes_nothing() {
    let database = database();
    let (hub, _) = hub_with_failing_check(&database);
    let (read, operate) = (hub.token("ana", "read"), hub.token("bob", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let (looking, browser) = (
        Browser::of(&service, &read),
        Browser::of(&service, &operate),
    );
    for (form, status, said) in [
        ("check=%3Cscript%3E&hours=1", 400, "&lt;script&gt;"),
        ("check=disk&hours=73", 400, "at most 72 hours"),
        ("check=disk&hours=-1", 400, "at most 72 hours"),
        ("check=disk&hours=x", 422, "is not valid"),
        ("check=disk&hours=1&job=%3Cb%3E", 400, "there is no job"),
    ] {
        let page = is_page(&browser.submit("/checks/silence", form), status);
        is_escaped(&page);
        assert!(page.contains(said), "{form}: {said} in {page}");
    }
    for path in ["/checks/silence", "/checks/now"] {
        is_page(&browser.send(path, "check=disk&hours=1", &[]), 403);
        let refused = is_page(&looking.submit(path, "check=disk&hours=1"), 403);
        assert!(refused.contains("this needs operate"), "{refused}");
    }
    for address in [
        "/checks?state=%3Cb%3E",
        "/checks?sort=%3Cb%3E",
        "/recipients?state=%3Cb%3E",
        "/recipients?sort=x",
    ] {
        is_escaped(&is_page(&browser.get(address), 400));
    }
    assert!(alert(&hub, "disk")["silenced_until"].is_null());
    // Two at once: one looks, the other is told so or comes after it.
    let request = browser.raw("/checks/now", "");
    let host = service.base().trim_start_matches("http://").to_owned();
    let send = || {
        let mut stream = TcpStream::connect(&host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status).unwrap();
        status.split(' ').nth(1).unwrap().to_owned()
    };
    let statuses = std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(send));
        both.map(|one| one.join().unwrap())
    });
    assert!(
        statuses.iter().any(|status| status == "303")
            && statuses
                .iter()
                .all(|status| ["303", "409"].contains(&status.as_str())),
        "{statuses:?}"
    );
}

#[test]
fn a_catalog_that_another_process_has_locked_is_a_sentence() {
    let database = database();
    let hub = hub(&database);
    let token = hub.token("bob", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    // Without its catalog the service does not start.
    service.wait_for_log("next run at", 1);
    is_page(&browser.get("/checks"), 200);
    let form = format!("form_token={}&check=disk&hours=1", browser.form_token());
    let catalog = hub.backups().join(".hubvault/catalog.sqlite");
    let locked = std::fs::File::options()
        .read(true)
        .write(true)
        .open(catalog)
        .unwrap();
    fcntl_lock(&locked, FlockOperation::LockExclusive).unwrap();
    let page = is_page(&browser.get("/checks"), 503);
    assert!(
        page.contains("catalog.sqlite") && page.contains("Try again"),
        "{page}"
    );
    let page = is_page(&browser.send("/checks/silence", &form, &[]), 503);
    assert!(
        page.contains("catalog.sqlite") && page.contains("Overview"),
        "{page}"
    );
    drop(locked);
    is_page(&browser.get("/checks"), 200);
}

#[test]
fn recipients_are_named_with_what_reached_them() {
    let database = database_with("CREATE TABLE \"<script>\" (id int)");
    let mut hub = hub(&database);
    let hook = HttpSink::start([]);
    hub.set("WEBHOOK_URL", hook.url("/secret-path"));
    hub.set("PROOF", "off");
    let (key, other) = (
        "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa",
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
    );
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n\
         [[seal.recipient]]\nname = \"<b>Ana</b>\"\nkey = \"{key}\"\n\
         [[seal.recipient]]\nname = \"Bob\"\nkey = \"{other}\"\n"
    ));
    hub.backup();
    let token = hub.token("ana", "read");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let page = browser.get("/recipients");
    let text = page.text();
    assert_eq!(page.status, 200, "{text}");
    is_escaped(&text);
    for said in [
        "&lt;b&gt;Ana&lt;&#x2f;b&gt;",
        "Bob",
        "webhook",
        "never",
        "hubvault seal check --challenge DIR",
        "127.0.0.1",
        "sent</span>",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(!text.contains("secret-path"), "{text}");
    let none = browser.get("/recipients?state=queued").text();
    assert!(none.contains("No message fits."), "{none}");
    let none = browser.get("/recipients?find=%3Cscript%3E").text();
    is_escaped(&none);
    assert!(
        none.contains("No message fits.") && none.contains("&lt;script&gt;"),
        "{none}"
    );
    let past = is_page(&browser.get("/recipients?page=900&state=queued"), 200);
    assert!(
        past.contains("Previous page") || past.contains("No message fits."),
        "{past}"
    );
}
