//! Lists in the order and with the filter of their address, and the commands beside the forms.

use crate::hub::Hub;
use crate::page::{Browser, is_page};
use crate::service_process::ServiceProcess;
use hubvault_testkit::{HttpSink, database_with};

/// Where each word is in the page, in this order.
fn in_order(page: &str, words: &[&str]) -> bool {
    let places: Option<Vec<usize>> = words.iter().map(|word| page.find(word)).collect();
    places.is_some_and(|places| places.is_sorted())
}

fn hub() -> (Hub, String) {
    let database = database_with("CREATE TABLE users (id int)");
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    hub.set("PROOF", "off");
    let hook = HttpSink::start([]);
    hub.set("WEBHOOK_URL", hook.url("/x"));
    let files: Vec<String> = [("a <script>", 9), ("b \"q\"", 5), ("c", 7)]
        .iter()
        .map(|(name, bytes)| {
            let path = hub.config().join(name);
            std::fs::write(&path, "x".repeat(*bytes)).unwrap();
            format!("[[file]]\nsource = {:?}\n", path.display().to_string())
        })
        .collect();
    let all = format!("{}[scope]\ntables = [\"*\"]\nwindow = []\n", files.concat());
    hub.write(&all);
    let (record, _) = hub.backup();
    let id = record["id"].as_str().unwrap().to_owned();
    (hub, id)
}

#[test]
fn files_copies_tokens_messages_and_the_audit_log_are_sorted_and_found() {
    let (hub, id) = hub();
    let token = hub.token("zoe", "admin");
    hub.token("ana", "read");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let get = |path: &str| {
        let page = is_page(&browser.get(path), 200);
        assert!(!page.contains("<script>"), "{path}: {page}");
        page
    };
    let backup = format!("/backups/{id}");
    let (nine, seven, five) = (">9 B<", ">7 B<", ">5 B<");
    for (query, order) in [
        ("?sort=file", [seven, five, nine]),
        ("?sort=file&up=1", [nine, five, seven]),
        ("?sort=from", [seven, five, nine]),
        ("?sort=bytes", [nine, seven, five]),
        ("?sort=bytes&up=1", [five, seven, nine]),
    ] {
        let page = get(&format!("{backup}{query}"));
        assert!(in_order(&page, &order), "{query}: {page}");
        assert!(page.contains("aria-sort"), "{query}");
    }
    let found = get(&format!("{backup}?file=%3CSCRIPT"));
    assert!(found.contains(nine) && !found.contains(five), "{found}");
    let empty = get(&format!("{backup}?file=nothing&copy=nothing"));
    assert!(
        empty.contains("No file fits") && empty.contains("No copy fits"),
        "{empty}"
    );
    assert!(get(&format!("{backup}?copy=local&sort=destination")).contains(">local<"));
    assert!(get(&format!("{backup}?sort=where&up=1")).contains("aria-sort"));
    // The messages about a backup are on its page, and found by its id among all.
    let page = get(&backup);
    assert!(page.contains("Messages about it"), "{page}");
    let found = get(&format!("/recipients?find={id}"));
    assert!(
        found.contains("1 to ") && found.contains("No recipient fits"),
        "{found}"
    );
    let other = get("/recipients?find=%3Cscript%3E");
    assert!(other.contains("No message fits"), "{other}");

    let (ana, zoe) = ("wrap\">ana<", "wrap\">zoe ");
    assert!(in_order(&get("/tokens?sort=name"), &[zoe, ana]));
    assert!(in_order(&get("/tokens?sort=name&up=1"), &[ana, zoe]));
    let only = get("/tokens?state=read&find=AN");
    assert!(only.contains(ana) && !only.contains(zoe), "{only}");
    assert!(get("/tokens?find=nobody").contains("No token fits"));

    is_page(&browser.get("/tokens?state=boss"), 400);
    for path in [
        "/recipients?sort=state",
        "/recipients?sort=last&up=1",
        "/recipients?sort=channel",
    ] {
        assert!(get(path).contains("aria-sort"), "{path}");
    }
    assert_eq!(browser.submit("/checks/now", "").status, 303);
    let (login, check) = ("POST &#x2f;login", "POST &#x2f;checks&#x2f;now");
    assert!(in_order(&get("/audit"), &[check, login]));
    assert!(in_order(&get("/audit?up=1"), &[login, check]));
    for path in ["/audit", "/recipients", "/tokens", backup.as_str()] {
        let path = format!("{path}?sort=%3Cscript%3E");
        assert!(!is_page(&browser.get(&path), 400).contains("<script>"));
    }
}

#[test]
fn what_only_a_service_does_has_its_request_beside_the_form() {
    let (hub, id) = hub();
    let (admin, read) = (hub.token("zoe", "admin"), hub.token("ana", "read"));
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &admin);
    let base = service.base().replace('/', "&#x2f;");
    let backup = is_page(&browser.get(&format!("/backups/{id}")), 200);
    for said in [
        format!("{base}&#x2f;backup&#x2f;{id}&#x2f;link -d"),
        format!(
            "hubvault restore {id} --create --to postgres:&#x2f;&#x2f;OWNER@HOST&#x2f;NAME --dry-run"
        ),
    ] {
        assert!(backup.contains(&said), "{said}: {backup}");
    }
    let settings = is_page(&browser.get("/settings?find=retention.days"), 200);
    assert!(
        settings.contains("curl -sX PUT") && settings.contains("&quot;retention.days&quot;: VALUE"),
        "{settings}"
    );
    let restore = is_page(&browser.get(&format!("/backups/{id}/restore")), 200);
    for said in ["--create --dry-run", "--into-schema", "--files"] {
        assert!(restore.contains(said), "{said}: {restore}");
    }
    assert!(!restore.contains("--missing-rows"), "{restore}");
    let reading = Browser::of(&service, &read);
    let backup = is_page(&reading.get(&format!("/backups/{id}")), 200);
    assert!(!backup.contains("&#x2f;link -d"), "{backup}");
}
