//! What the pages show, and what a person does with them.

use crate::page::{Browser, database, hub, is_page};
use crate::service_process::{Answer, ServiceProcess};
use hubvault_testkit::{database_with, wait_for};

/// Every backup's page, and the list, for names, errors and addresses that somebody chose to do harm.
#[test]
fn hostile_names_and_errors_are_text() {
    let database = database_with(
        "CREATE TABLE \"<script>alert(1)</script>\" (id int); CREATE TABLE \"\"\"><img src=x>\" (id int)",
    );
    let mut hub = hub(&database);
    hub.set("PROOF", "off");
    let (record, _) = hub.backup();
    let id = record["id"].as_str().unwrap().to_owned();
    hub.set("POSTGRES_DB", "<b onclick=\"x\">&");
    hub.run_expecting(1, &["backup"]);
    let token = hub.token("ana", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    for (path, status, shown) in [
        ("/", 200, "&lt;b onclick="),
        ("/backups", 200, "&lt;b onclick="),
        (
            format!("/backups/{id}").as_str(),
            200,
            "&lt;script&gt;alert(1)&lt;&#x2f;script&gt;",
        ),
        ("/backups?state=%3Cscript%3E", 400, "&lt;script&gt;"),
        ("/backups?day=%22%3E%3Cscript%3E", 400, "&lt;script&gt;"),
        ("/backups?sort=%3Cscript%3E", 400, "&lt;script&gt;"),
        ("/?job=%3Cscript%3E", 400, "&lt;script&gt;"),
        ("/backups/%3Cscript%3E", 400, "&lt;script&gt;"),
        ("/backups?page=x", 400, "is not valid"),
    ] {
        let page = is_page(&browser.get(path), status);
        assert!(page.contains(shown), "{path}: {shown} in {page}");
        for raw in ["<script>", "<img src=x", "<b onclick"] {
            assert!(!page.contains(raw), "{path}: {raw} in {page}");
        }
    }
    for path in ["/backups/00000000-0000-4000-8000-000000000000", "/backups/"] {
        is_page(&browser.get(path), 404);
    }
}

#[test]
fn a_person_takes_a_backup_looks_into_it_links_to_it_and_pins_it() {
    let database = database();
    let hub = hub(&database);
    let (read, operate) = (hub.token("ana", "read"), hub.token("bob", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let (looking, browser) = (
        Browser::of(&service, &read),
        Browser::of(&service, &operate),
    );
    let calm = is_page(&looking.get("/"), 200);
    assert!(
        calm.contains("Not safe") && !calm.contains("Back up now"),
        "{calm}"
    );
    let refused = looking.submit("/start", "");
    assert!(is_page(&refused, 403).contains("ana has the role read; this needs operate"));

    // Somebody's lock holds the run where it is.
    let mut held = database.client();
    held.batch_execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let started = browser.submit("/start", "");
    assert_eq!(
        (started.status, started.header("location")),
        (303, Some("./")),
        "{}",
        started.text()
    );
    service.wait_for_page(&browser, "/", "A backup runs");
    let busy = browser.submit("/start", "");
    assert!(is_page(&busy, 409).contains("a backup runs already"));
    held.batch_execute("ROLLBACK").unwrap();
    let page = service.wait_for_page(&browser, "/", "1 archive<");
    assert!(
        page.contains("can be restored.") && page.contains("1 proven</title>"),
        "{page}"
    );

    let id = hub_id(&page);
    let day = page
        .split_once("backups?job=")
        .unwrap()
        .1
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    for path in [
        "/backups",
        "/backups?state=proven&sort=size&up=1",
        &format!("/backups?job={day}"),
    ] {
        assert!(is_page(&browser.get(path), 200).contains(&id), "{path}");
    }
    assert!(!is_page(&browser.get("/backups?state=failed"), 200).contains(&id));
    assert!(!is_page(&browser.get("/backups?until=2020-01-01"), 200).contains(&id));
    let one = is_page(&looking.get(&format!("/backups/{id}")), 200);
    for said in [
        "Restored and compared",
        "<th scope=\"row\" class=\"wrap\">users</th>",
        "integrity",
        "hubvault drill",
    ] {
        assert!(one.contains(said), "{said} in {one}");
    }
    assert!(!one.contains("Make a link"));

    let link = is_page_of(
        &browser.submit(&format!("/backups/{id}/link"), "hours=1"),
        201,
    );
    let path = link.split_once("&#x2f;download").unwrap().1;
    let path = path.split('"').next().unwrap();
    let path = path.replace("&amp;", "&").replace("&#x2f;", "/");
    let path = format!("/download{path}");
    let archive = service.get(&path, "");
    assert!(archive.status == 200 && !archive.body.is_empty());
    is_page(
        &browser.submit(&format!("/backups/{id}/link"), "hours=1000"),
        400,
    );
    is_page(&looking.submit(&format!("/backups/{id}/link"), ""), 403);
    is_page(&looking.submit(&format!("/backups/{id}/pin"), ""), 403);
    let pinned = browser.submit(&format!("/backups/{id}/pin"), "");
    assert_eq!(pinned.status, 303, "{}", pinned.text());
    let page = is_page(&browser.get(&format!("/backups/{id}")), 200);
    assert!(
        page.contains(">pinned</span>") && page.contains("hubvault unpin"),
        "{page}"
    );
    assert!(is_page(&browser.get("/backups?pinned=1"), 200).contains(&id));
    let log = service.stop_and_log();
    for said in ["POST /start started", "link link to", "pin pinned"] {
        assert!(
            log.contains("audit: bob (operate)") && log.contains(said),
            "{said} in {log}"
        );
    }
}

#[test]
fn a_table_shows_how_its_rows_grew() {
    let database = database();
    let mut hub = hub(&database);
    hub.set("PROOF", "off");
    let ids = [0, 3, -4].map(|more: i32| {
        let sql = if more < 0 {
            "DELETE FROM users WHERE id > 1".to_owned()
        } else {
            format!("INSERT INTO users SELECT n + 10 FROM generate_series(1, {more}) n")
        };
        database.client().batch_execute(&sql).unwrap();
        let (record, _) = hub.backup();
        record["id"].as_str().unwrap().to_owned()
    });
    let token = hub.token("ana", "read");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let page = |id: &str| is_page(&browser.get(&format!("/backups/{id}")), 200);
    assert!(!page(&ids[0]).contains("<polyline"));
    assert!(page(&ids[1]).contains("2 to 5 rows in 2 backups"));
    let last = page(&ids[2]);
    assert!(
        last.contains("2 to 1 rows in 3 backups, at most 5"),
        "{last}"
    );
}

/// The link is shown to whoever made it.
fn is_page_of(answer: &Answer, status: u16) -> String {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    text
}

/// The id of the newest proven backup.
fn hub_id(page: &str) -> String {
    let (_, rest) = page.split_once("href=\"./backups/").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

impl ServiceProcess {
    /// Loads a page until it says something.
    pub(crate) fn wait_for_page(&self, browser: &Browser<'_>, path: &str, words: &str) -> String {
        let last = std::cell::RefCell::new(String::new());
        let says = || {
            // More requests than a few a second of one token are refused.
            std::thread::sleep(std::time::Duration::from_millis(200));
            last.replace(browser.get(path).text());
            last.borrow().contains(words)
        };
        wait_for(says, || {
            format!("{words:?} on {path} of {}: {}", self.base(), last.borrow())
        });
        last.into_inner()
    }
}

#[test]
fn a_catalog_that_cannot_be_read_is_a_sentence_and_a_way_on() {
    let database = database();
    let hub = hub(&database);
    let token = hub.token("ana", "read");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let catalog = hub.backups().join(".hubvault/catalog.sqlite");
    let healthy = std::fs::read(&catalog).unwrap();
    is_page(&browser.get("/"), 200);
    std::fs::write(
        &catalog,
        b"no catalog at all, but text that somebody put here; long enough for a header",
    )
    .unwrap();
    for path in ["/", "/backups"] {
        let page = is_page(&browser.get(path), 503);
        for said in ["This could not be read", "catalog.sqlite", "Try again"] {
            assert!(page.contains(said), "{path}: {said} in {page}");
        }
        assert!(!page.contains("panicked") && !page.contains("backtrace"));
    }
    std::fs::write(&catalog, healthy).unwrap();
    is_page(&browser.get("/"), 200);
}

#[test]
fn several_jobs_are_a_list_and_one_that_cannot_be_read_hides_no_other() {
    let database = database();
    let mut hub = hub(&database);
    let disk = hub.config().join("disk");
    std::fs::write(&disk, "not mounted yet").unwrap();
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n\
         [[job]]\nname = \"late\"\n[job.archive]\ndirectory = \"{}/late\"\n[[job]]\nname = \"well\"\n",
        disk.display()
    ));
    let token = hub.token("ana", "read");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let all = is_page(&browser.get("/"), 200);
    for said in [
        "href=\"./?job=late\"",
        "href=\"./?job=well\"",
        "Unknown",
        "Not safe",
    ] {
        assert!(all.contains(said), "{said} in {all}");
    }
    let well = is_page(&browser.get("/?job=well"), 200);
    assert!(
        well.contains("aria-current=\"true\"") && well.contains("hubvault --job well status"),
        "{well}"
    );
    is_page(&browser.get("/?job=late"), 503);
    assert!(is_page(&browser.get("/backups?job=well"), 200).contains("No run yet"));
    is_page(&browser.get("/backups?job=nobody"), 400);
}
