//! What can go wrong with the living database: a restore that ends half-way, and a database that changes after the preview.

use crate::hub::{Hub, stderr, stdout};
use crate::monitor::{assert_fails, assert_passes};
use crate::page::{Browser, is_page};
use crate::page_operations::{kill, with_backup};
use crate::page_restore::{confirm, form, preview, shop};
use crate::service_process::ServiceProcess;
use hubvault_testkit::{Database, Fault, Proxy, wait_for};
use std::io::{Read, Write};
use std::net::TcpStream;

/// An index that is made only after somebody ends the session, where the database has the setting `hub.slow`.
const SLOW: &str = "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    IF pg_catalog.current_setting('hub.slow', true) = 'on' THEN PERFORM pg_catalog.pg_sleep(3600); END IF;
    RETURN i; END $$; CREATE INDEX ON users (slow(id))";

/// A service that may restore into the living database.
fn permitted(database: &Database) -> (Hub, String, String) {
    let (mut hub, id) = with_backup(database);
    hub.set("HTTP_RESTORE_LIVING", "true");
    let token = hub.token("eva", "admin");
    (hub, id, token)
}

/// Restores the whole database into itself, and kills that while an index is made.
fn killed_half_way(
    database: &Database,
    hub: &Hub,
    id: &str,
    service: &ServiceProcess,
    token: &str,
) {
    let name = database.name();
    database.execute(&format!("ALTER DATABASE \"{name}\" SET hub.slow = 'on'"));
    let browser = Browser::of(service, token);
    let shown = preview(&browser, id, &[("what", "living")]);
    let page = service.wait_for_page(&browser, &shown, "Restore now?");
    assert!(page.contains("2 tables with 3 rows"), "{page}");
    let restored = confirm(&browser, &shown, name);
    service.wait_for_page(&browser, &restored, "Stage indexes");
    assert_passes(hub, "restore");
    kill(hub, &restored);
    service.wait_for_page(&browser, &restored, "ended by signal 9");
    database.execute(&format!(
        "ALTER DATABASE \"{name}\" RESET hub.slow; SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    ));
}

#[test]
fn one_that_ended_half_way_is_at_risk_until_it_is_made_good() {
    let database = shop();
    database.client().batch_execute(SLOW).unwrap();
    let (hub, id, token) = permitted(&database);
    let operate = hub.token("bob", "operate");
    let service = ServiceProcess::start_http(&hub);
    killed_half_way(&database, &hub, &id, &service, &token);
    let said = format!(
        "the restore of backup {} into the living database",
        &id[..8]
    );
    assert_fails(&hub, "restore", &said);
    assert!(
        stdout(&hub.run(&["status"]))
            .replace('\n', " ")
            .contains("into the living database")
    );
    let health = service.get("/health", &token).text();
    assert!(
        health.contains("a restore into the living database did not end well"),
        "{health}"
    );
    let (browser, other) = (
        Browser::of(&service, &token),
        Browser::of(&service, &operate),
    );
    let checks = is_page(&browser.get("/checks"), 200);
    assert!(
        checks.contains(&said) && checks.contains("It is resolved"),
        "{checks}"
    );
    assert!(!is_page(&other.get("/checks"), 200).contains("It is resolved"));
    is_page(&other.submit("/checks/resolved", ""), 403);
    is_page(&browser.send("/checks/resolved", "", &[]), 403);

    // A backup of what is left does not look as if all were well.
    let backup = hub.run(&["backup"]);
    assert_eq!(backup.status.code(), Some(3), "{}", stderr(&backup));
    let all = stdout(&hub.run(&["list", "--json"]));
    assert!(all.contains("unfinished-restore"), "{all}");
    let overview = is_page(&browser.get("/"), 200);
    assert!(
        overview.contains("after a restore that did not end well"),
        "{overview}"
    );

    // Rows of one table make it good no more than a restore that does not begin. Whether they can be put back depends on
    // which keys were made.
    hub.run(&["restore", &id, "--table", "users", "--missing-rows"]);
    hub.run_expecting(1, &["restore", &id]);
    assert_fails(&hub, "restore", &said);
    let again = hub.run(&["restore", &id, "--clean", "--yes"]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert_passes(&hub, "restore");
}

/// The server is reached over a socket, and named by another address in `--to`.
#[test]
fn one_over_another_name_of_the_server_is_at_risk_too() {
    let database = shop();
    database.client().batch_execute(SLOW).unwrap();
    let (mut hub, id) = with_backup(&database);
    let name = database.name();
    let proxy = Proxy::start(&database.settings(), Fault::None);
    let to = format!("postgres://postgres@127.0.0.1:{}/{name}", proxy.port());
    database.execute(&format!("ALTER DATABASE \"{name}\" SET hub.slow = 'on'"));
    let mut restore = hub.command(&["restore", &id, "--clean", "--yes", "--to", &to]);
    let mut restore = restore.spawn().unwrap();
    let waits = format!(
        "SELECT 1 FROM pg_stat_activity WHERE datname = '{name}' AND wait_event = 'PgSleep'"
    );
    wait_for(
        || {
            database
                .client()
                .query(&waits, &[])
                .is_ok_and(|rows| !rows.is_empty())
        },
        || "an index that is being made".to_owned(),
    );
    restore.kill().unwrap();
    restore.wait().unwrap();
    database.execute(&format!(
        "ALTER DATABASE \"{name}\" RESET hub.slow; SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    ));
    assert_fails(&hub, "restore", "into the living database");
    // Another database of the same server is not the living one.
    let other = format!("{name}_copy");
    hub.run_expecting(0, &["restore", &id, "--create", "--database", &other]);
    assert_fails(&hub, "restore", "into the living database");
    database.execute(&format!("DROP DATABASE \"{other}\""));

    // Also where the configuration names the server another way now.
    let socket = database.settings().place();
    hub.set("POSTGRES_HOST", "127.0.0.1");
    hub.set("POSTGRES_PORT", proxy.port().to_string());
    let said = format!("into the living database {socket}");
    assert_fails(&hub, "restore", &said);
    hub.run_expecting(0, &["restore", &id, "--clean", "--yes"]);
    assert_passes(&hub, "restore");
}

/// The server drops the tables, and its answer is lost.
#[test]
fn one_that_is_cut_off_in_the_commit_of_its_drops_is_at_risk() {
    let database = shop();
    let (mut hub, id) = with_backup(&database);
    hub.write("[scope]\ntables = [\"users\"]\nwindow = []\n");
    let (small, _) = hub.backup();
    let small = small["id"].as_str().unwrap().to_owned();
    let settings = database.settings();
    let proxy = Proxy::start(&settings, Fault::CutAnswer(b"COMMIT\0"));
    let to = format!(
        "postgres://postgres@127.0.0.1:{}/{}",
        proxy.port(),
        settings.dbname
    );
    let cut = ["restore", &id, "--clean", "--yes", "--to", &to];
    let said = stderr(&hub.run_expecting(1, &cut));
    assert!(said.contains("dropping what the archive holds"), "{said}");
    let there = "SELECT 1 FROM pg_class WHERE relname = 'users'";
    wait_for(
        || {
            database
                .client()
                .query(there, &[])
                .is_ok_and(|rows| rows.is_empty())
        },
        || "the tables that are dropped".to_owned(),
    );
    assert_fails(&hub, "restore", "dropping what the archive holds");

    // An archive of fewer tables does not make it good.
    let less = stderr(&hub.run_expecting(0, &["restore", &small, "--clean", "--yes"]));
    assert!(less.contains("this restore does not make good"), "{less}");
    assert_fails(&hub, "restore", &id[..8]);
    hub.run_expecting(0, &["restore", &id, "--clean", "--yes"]);
    assert_passes(&hub, "restore");
}

/// The server refuses to drop a table that others need.
#[test]
fn one_whose_drops_are_refused_changed_nothing() {
    let database = shop();
    let (hub, id) = with_backup(&database);
    database.execute("CREATE VIEW needs AS SELECT id FROM users");
    hub.run_expecting(1, &["restore", &id, "--clean", "--yes"]);
    assert_passes(&hub, "restore");
}

#[test]
fn marks_that_cannot_be_looked_for_are_not_none() {
    let database = shop();
    let (hub, _) = with_backup(&database);
    let state = hub.backups().join(".hubvault");
    std::fs::rename(&state, hub.backups().join("aside")).unwrap();
    std::fs::write(&state, "").unwrap();
    let said = stderr(&hub.run_expecting(1, &["restore", "--resolved"]));
    assert!(
        said.contains(&format!("reading {}", state.display())),
        "{said}"
    );
}

#[test]
fn somebody_says_that_it_is_resolved() {
    let database = shop();
    database.client().batch_execute(SLOW).unwrap();
    let (hub, id, token) = permitted(&database);
    let service = ServiceProcess::start_http(&hub);
    killed_half_way(&database, &hub, &id, &service, &token);
    assert_fails(&hub, "restore", "ended without a result");
    let browser = Browser::of(&service, &token);
    let checks = is_page(&browser.get("/checks"), 200);
    let shown = checks.split("name=\"shown\" value=\"").nth(1).unwrap();
    let shown = shown.split('"').next().unwrap();
    // One that the page did not show stays.
    let other = "00000000-0000-4000-8000-000000000000";
    browser.submit("/checks/resolved", &form(&[("shown", other)]));
    assert_fails(&hub, "restore", "ended without a result");
    let resolved = browser.submit("/checks/resolved", &form(&[("shown", shown)]));
    assert_eq!(resolved.status, 303, "{}", resolved.text());
    assert_passes(&hub, "restore");
    let said = stdout(&hub.run_expecting(0, &["restore", "--resolved"]));
    assert_eq!(said, "no restore was left unfinished\n");
    let log = service.stop_and_log();
    assert!(
        log.contains("marked 1 unfinished restore as resolved"),
        "{log}"
    );
}

#[test]
fn a_session_that_ended_restores_nothing_and_two_people_restore_once() {
    let database = shop();
    let (hub, id, token) = permitted(&database);
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    database.execute("DELETE FROM users");
    let users = || {
        database
            .client()
            .query("SELECT FROM users", &[])
            .unwrap()
            .len()
    };
    let fields = [("what", "missing-rows"), ("tables", "users")];
    let shown = preview(&browser, &id, &fields);
    service.wait_for_page(&browser, &shown, "Restore now?");
    let form_token = browser.form_token();
    hub.run_expecting(0, &["token", "revoke", "eva"]);
    let sent = form(&[("database", database.name())]);
    let target = format!("{shown}/restore");
    let ended = browser.send(&target, &format!("form_token={form_token}&{sent}"), &[]);
    let to = ended.header("location").unwrap_or_default();
    assert!(
        ended.status == 303 && to.contains("login?"),
        "{} {to}",
        ended.status
    );
    assert_eq!(users(), 0);

    let people: Vec<Browser<'_>> = ["ada", "bea"]
        .map(|name| Browser::of(&service, &hub.token(name, "admin")))
        .into();
    let shown = preview(&people[0], &id, &fields);
    service.wait_for_page(&people[0], &shown, "Restore now?");
    let target = format!("{shown}/restore");
    let requests: Vec<String> = people.iter().map(|one| one.raw(&target, &sent)).collect();
    let host = service.base().trim_start_matches("http://").to_owned();
    let ask = |request: &String| {
        let mut stream = TcpStream::connect(&host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let mut answers: Vec<String> = std::thread::scope(|scope| {
        let ask = &ask;
        let asked = requests
            .iter()
            .map(|request| scope.spawn(move || ask(request)));
        let asked: Vec<_> = asked.collect();
        asked.into_iter().map(|it| it.join().unwrap()).collect()
    });
    answers.sort();
    let began = answers[0].starts_with("HTTP/1.1 303") && answers[1].starts_with("HTTP/1.1 409");
    assert!(began, "{answers:?}");
    let (_, rest) = answers[0].split_once("operations/").unwrap();
    let operation = rest.lines().next().unwrap().trim();
    let operation = format!("/operations/{operation}");
    service.wait_for_page(&people[1], &operation, "Restore: done");
    assert_eq!(users(), 2);
}

#[test]
fn what_changed_since_the_preview_is_not_overwritten() {
    let database = shop();
    let (hub, id, token) = permitted(&database);
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let name = || -> String {
        let mut client = database.client();
        let row = client.query_one("SELECT name FROM users WHERE id = 2", &[]);
        row.unwrap().get(0)
    };
    let fields = [("what", "different-rows"), ("tables", "users")];
    // As many rows differ, with other values; then one more.
    for (before, after, said) in [
        (
            "UPDATE users SET name = 'x' WHERE id = 2",
            "UPDATE users SET name = 'y' WHERE id = 2",
            "have other values now",
        ),
        (
            "SELECT",
            "DELETE FROM users WHERE id = 1",
            "has 1 row to put back",
        ),
    ] {
        database.execute(before);
        let shown = preview(&browser, &id, &fields);
        service.wait_for_page(&browser, &shown, "Restore now?");
        database.execute(after);
        let restored = confirm(&browser, &shown, database.name());
        let page = service.wait_for_page(&browser, &restored, "changed since the preview");
        assert!(
            page.contains(said) && page.contains("make a new preview"),
            "{page}"
        );
        assert_eq!(name(), "y");
    }
    // What is dropped, too.
    let shown = preview(&browser, &id, &[("what", "living")]);
    service.wait_for_page(&browser, &shown, "Restore now?");
    database.execute("INSERT INTO users VALUES (3, 'new')");
    let restored = confirm(&browser, &shown, database.name());
    let page = service.wait_for_page(&browser, &restored, "changed since the preview");
    assert!(page.contains("had 1 row, and has 2 rows now"), "{page}");
    assert_eq!(name(), "y");
    assert_passes(&hub, "restore");

    // Of two previews of one restore the newer one is confirmed.
    let first = preview(&browser, &id, &fields);
    service.wait_for_page(&browser, &first, "Restore now?");
    let second = preview(&browser, &id, &fields);
    service.wait_for_page(&browser, &second, "Restore now?");
    let sent = form(&[("database", database.name())]);
    let older = browser.submit(&format!("{first}/restore"), &sent);
    assert!(is_page(&older, 409).contains("newer preview of the same restore"));
    let restored = confirm(&browser, &second, database.name());
    service.wait_for_page(&browser, &restored, "Restore: done");
    assert_eq!(name(), "b");
}

#[test]
fn a_backup_without_files_restores_none() {
    let database = shop();
    let (hub, id, token) = permitted(&database);
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let shown = preview(&browser, &id, &[("what", "files")]);
    let page = service.wait_for_page(&browser, &shown, "It would not succeed");
    assert!(
        page.contains("no configuration files") && !page.contains("Restore now?"),
        "{page}"
    );
    let to = hub.backups().join("files");
    let refused = hub.run_expecting(1, &["restore", &id, "--files", to.to_str().unwrap()]);
    assert!(
        stderr(&refused).contains("no configuration files"),
        "{}",
        stderr(&refused)
    );
    assert!(!to.exists());
}
