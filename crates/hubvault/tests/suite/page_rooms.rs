//! The rooms of the page beside backups: coverage, checks and alerts, recipients.

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

/// What a browser makes of escaped text.
pub(crate) fn unescaped(html: &str) -> String {
    let mut text = html.to_owned();
    for (escaped, plain) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#x2f;", "/"),
        ("&amp;", "&"),
    ] {
        text = text.replace(escaped, plain);
    }
    text
}

#[test]
fn a_table_that_is_left_out_is_taken_in_by_the_lines_of_the_page() {
    let database = database_with(
        "CREATE TABLE users (id int PRIMARY KEY); CREATE SCHEMA \"<b>\";
         CREATE TABLE orders (id int, buyer int REFERENCES users);
         CREATE TABLE \"<b>\".\"<script>alert('\"\"')</script>\" (id int REFERENCES users);
         CREATE TABLE audit_a (id int); CREATE TABLE audit_b (id int)",
    );
    let mut hub = hub(&database);
    hub.set("PROOF", "off");
    hub.write(
        "file = []\n[scope]\ntables = [\"users\", \"orders\", \"audit_*\"]\nexclude = [\"audit_*\"]\nwindow = []\n",
    );
    let (read, operate) = (hub.token("ana", "read"), hub.token("bob", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let (looking, browser) = (
        Browser::of(&service, &read),
        Browser::of(&service, &operate),
    );
    let none = is_page(&looking.get("/coverage"), 200);
    assert!(none.contains("No backup yet.") && !none.contains("Look again now</button>"));
    let (record, archive) = hub.backup();
    let page = is_page(&looking.get("/coverage"), 200);
    is_escaped(&page);
    for said in [
        "2 tables in, 0 in part, 3 left out",
        &record["id"].as_str().unwrap()[..8],
        "refers to users",
        "not in the scope",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    let is_refused = is_page(&looking.submit("/coverage/now", ""), 403);
    assert!(is_refused.contains("this needs operate"));
    is_page(&browser.send("/coverage/now", "", &[]), 403);

    // The lines take in what they are for, whatever its name is.
    let out = is_page(&looking.get("/coverage?state=out&find=script"), 200);
    let (_, link) = out.split_once("take=%22").unwrap();
    let link = format!("/coverage?take=%22{}", link.split('#').next().unwrap());
    let page = is_page(&looking.get(&unescaped(&link)), 200);
    is_escaped(&page);
    let (_, lines) = page.split_once("<code>[scope]").unwrap();
    let lines = unescaped(lines.split("</code>").next().unwrap());
    assert!(
        lines.contains("\"users\", \"orders\", \"audit_*\", "),
        "{lines}"
    );
    hub.write(&format!(
        "file = []\n[scope]{lines}\nexclude = [\"audit_*\"]\nwindow = []\n"
    ));
    let plan = hub.run(&["backup", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["tables"].as_array().unwrap().len(), 3, "{plan}");

    // A pattern that leaves out several says so.
    let page = is_page(&looking.get("/coverage?take=audit%5Fa"), 200);
    for said in ["exclude = []", "The same pattern leaves out audit_b."] {
        assert!(page.contains(said), "{said} in {page}");
    }
    let asked = browser.submit("/coverage/now", "");
    assert_eq!(asked.status, 303, "{}", asked.text());
    let page = is_page(&looking.get("/coverage?find=orders"), 200);
    assert!(page.contains("as a backup would take them"), "{page}");
    assert!(page.contains("<td class=\"wrap\">users</td>"), "{page}");
    for (address, said) in [
        ("/coverage?take=%3Cscript%3E", "&lt;script&gt;"),
        ("/coverage?state=x", "is no state"),
        ("/coverage?sort=x", "is no sort"),
    ] {
        assert!(
            is_page(&looking.get(address), 400).contains(said),
            "{address}"
        );
    }
    // Another backup is newer than the plan; without its archive the record says what is inside.
    hub.backup();
    std::fs::remove_file(archive).unwrap();
    let page = is_page(&looking.get("/coverage"), 200);
    assert!(page.contains("as of the backup"), "{page}");
}

#[test]
fn coverage_is_shown_of_2000_tables_and_says_why_the_database_cannot_be_asked() {
    let database = database_with(
        "DO $$ BEGIN FOR n IN 1..2000 LOOP
             EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY)', to_char(n, 'FM0000'));
         END LOOP; END $$",
    );
    let mut hub = hub(&database);
    hub.set("PROOF", "off");
    hub.write("file = []\n[scope]\ntables = [\"t0001\"]\nwindow = []\n");
    let (_, archive) = hub.backup();
    hub.set("POSTGRES_PORT", "1");
    let operate = hub.token("bob", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &operate);
    let page = is_page(&browser.get("/coverage"), 200);
    assert!(
        page.contains("1 to 100 of 2000") && page.contains("Next page"),
        "{page}"
    );
    assert!(page.len() < 150_000, "{}", page.len());
    let last = is_page(&browser.get("/coverage?page=20&sort=taken"), 200);
    assert!(
        last.contains("1901 to 2000 of 2000") && last.contains(">t0001</th>"),
        "{last}"
    );
    let all = is_page(&browser.get("/coverage?find=t19&take=%2A"), 200);
    assert!(
        all.contains("Take in t1900, t1901, t1902, t1903, t1904 and 95 more"),
        "{all}"
    );
    let beyond = is_page(&browser.get("/coverage?page=999"), 200);
    assert!(beyond.contains("No table fits."), "{beyond}");
    let failed = is_page(&browser.submit("/coverage/now", ""), 503);
    assert!(
        failed.contains("This could not be read") && failed.contains("Overview"),
        "{failed}"
    );
    std::fs::remove_file(archive).unwrap();
    let page = is_page(&browser.get("/coverage"), 200);
    assert!(
        page.contains("1 to 1 of 1") && page.contains("Not inside: 1,999 tables"),
        "{page}"
    );
}
