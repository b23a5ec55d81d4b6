//! The web page over archives that somebody replaced, cut or forged, in a flood of requests, and for whoever lost a token in
//! the middle of a restore or never had one with the role.

use crate::browser::{Browser, is_page};
use crate::foreign_archives::false_numbers_and_names;
use crate::forger::{Forgery, Good};
use crate::hub::Hub;
use crate::service_process::ServiceProcess;
use hubvault_testkit::{Database, PATIENCE, USERS, database_with, server, wait_for};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

/// A hub of a database with one backup; its id and its archive.
fn backed_up(database: &Database) -> (Hub, String, PathBuf) {
    let mut hub = Hub::whole(database);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    let (record, archive) = hub.backup();
    (hub, record["id"].as_str().unwrap().to_owned(), archive)
}

/// Every page that opens the archive of a backup.
fn looks(id: &str, file: &str) -> Vec<String> {
    [
        "tables/users",
        "tables/users?row=51&live=1",
        "tables/users?column=name&value=user+77",
        "tables/users/value?row=1&column=name",
        &format!("file?name={file}"),
    ]
    .map(|page| format!("/backups/{id}/{page}"))
    .into()
}

/// The addresses of what was started, and of what may be confirmed.
fn location(answer: &crate::service_process::Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    let (_, id) = answer
        .header("location")
        .unwrap()
        .split_once("operations/")
        .unwrap();
    format!("/operations/{id}")
}

/// Waits until an operation ended; its page.
fn ended(service: &ServiceProcess, browser: &Browser<'_>, path: &str) -> String {
    let page = || browser.get(path).text();
    let is_over = || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let page = page();
        !page.contains("http-equiv=\"refresh\"")
    };
    wait_for(is_over, || format!("{path}: {}\n{}", page(), service.log()));
    page()
}

#[test]
fn a_page_of_an_archive_that_lies_is_an_error_in_words() {
    let server = server();
    let database = server.database();
    let mut good = Good::of(&database);
    good.hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    let token = good.hub.token("ana", "admin");
    let archive = good.archive_path.clone();
    let (id, file) = (good.text("/id"), good.text("/files/0/name"));
    let whole = fs::read(&archive).unwrap();
    let service = ServiceProcess::start_http(&good.hub);
    let browser = Browser::of(&service, &token);
    for path in looks(&id, &file) {
        is_page(&browser.get(&path), 200);
    }
    for (what, lie) in false_numbers_and_names() {
        fs::copy(good.forge(lie), &archive).unwrap();
        // One token has so many requests at once and no more.
        for path in looks(&id, &file).iter().rev().step_by(4) {
            let page = is_page(&browser.get(path), 500);
            assert!(page.contains("hubvault verify"), "{what}: {path}: {page}");
        }
    }
    fs::copy(good.forge(false_numbers_and_names()[1].1), &archive).unwrap();
    for path in looks(&id, &file) {
        is_page(&browser.get(&path), 500);
    }
    is_page(
        &browser.submit(&format!("/backups/{id}/tables/users/plan"), ""),
        500,
    );
    // What a person starts over it fails in words, and changes nothing.
    fs::copy(good.forge(false_numbers_and_names()[0].1), &archive).unwrap();
    for action in ["verify", "drill", "compare"] {
        let begun = browser.submit(
            &format!("/backups/{id}/operation"),
            &format!("action={action}"),
        );
        let page = ended(&service, &browser, &location(&begun));
        assert!(page.to_lowercase().contains("fail"), "{action}: {page}");
    }
    let form = "what=new-database&database=from_a_lie";
    let begun = browser.submit(&format!("/backups/{id}/restore"), form);
    let preview = location(&begun);
    ended(&service, &browser, &preview);
    is_page(&browser.submit(&format!("{preview}/restore"), ""), 409);
    let made = "SELECT count(*) FROM pg_database WHERE datname = 'from_a_lie'";
    assert_eq!(database.value(made), "0");
    fs::write(&archive, whole).unwrap();
    is_page(&browser.get(&looks(&id, &file)[0]), 200);
    let log = service.stop_and_log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn an_archive_that_was_replaced_between_two_looks_is_not_taken_for_the_first() {
    let database = database_with(USERS);
    let (hub, id, archive) = backed_up(&database);
    database.execute("UPDATE users SET name = 'of the second'");
    let (second, other) = hub.backup();
    let (first, second_id) = (fs::read(&archive).unwrap(), second["id"].as_str().unwrap());
    let token = hub.token("ana", "admin");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let users = format!("/backups/{id}/tables/users");
    is_page(&browser.get(&users), 200);
    fs::copy(&other, &archive).unwrap();
    for path in looks(&id, "").iter().take(4) {
        let answer = browser.get(path);
        let page = is_page(&answer, 500);
        assert!(!page.contains("of the second"), "{page}");
        assert!(
            page.contains(second_id),
            "it says whose archive it is: {page}"
        );
    }
    // Sealed to nobody that this service knows, a directory, a pipe: an answer at once.
    for replace in [
        |path: &PathBuf| fs::create_dir(path).unwrap(),
        |path: &PathBuf| {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
        },
        |path: &PathBuf| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
    ] {
        fs::remove_file(&archive)
            .or_else(|_| fs::remove_dir(&archive))
            .unwrap();
        replace(&archive);
        for path in looks(&id, "").iter().take(4) {
            let answer = browser.get(path);
            assert!(
                [404, 500].contains(&answer.status),
                "{path}: {}",
                answer.text()
            );
            is_page(&answer, answer.status);
        }
    }
    fs::remove_file(&archive).unwrap();
    fs::write(&archive, first).unwrap();
    is_page(&browser.get(&users), 200);
    let log = service.stop_and_log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_flood_of_looks_and_operations_keeps_nobody_else_from_an_answer() {
    let database = database_with(USERS);
    let (hub, id, _) = backed_up(&database);
    let (flood, other) = (hub.token("flood", "operate"), hub.token("other", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let (flooding, browser) = (Browser::of(&service, &flood), Browser::of(&service, &other));
    let address = service.base().trim_start_matches("http://").to_owned();
    let look = format!(
        "GET /backups/{id}/tables/users?column=name&value=nobody HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\n\
         cookie: {}\r\nconnection: close\r\n\r\n",
        flooding.cookie
    );
    let operate = flooding.raw(&format!("/backups/{id}/operation"), "action=verify");
    let requests: Vec<&str> = (0..120)
        .map(|n| if n % 2 == 0 { look.as_str() } else { &operate })
        .collect();
    let statuses = std::thread::scope(|scope| {
        let each = |request: &&str| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer.split(' ').nth(1).unwrap_or_default().to_owned()
        };
        let all: Vec<_> = requests
            .iter()
            .map(|request| scope.spawn(move || each(request)))
            .collect();
        // Meanwhile.
        is_page(&browser.get(&format!("/backups/{id}/tables/users")), 200);
        assert_eq!(service.get("/health", "").status, 503, "nothing is proven");
        all.into_iter()
            .map(|one| one.join().unwrap())
            .collect::<Vec<String>>()
    });
    let known = ["200", "303", "409", "429"];
    assert!(
        statuses
            .iter()
            .all(|status| known.contains(&status.as_str())),
        "{statuses:?}"
    );
    assert!(
        statuses.iter().any(|status| status == "429"),
        "{statuses:?}"
    );
    // At most one of a kind is at work, and few are remembered.
    let operations = fs::read_dir(hub.backups().join(".hubvault/operations")).unwrap();
    assert!(operations.count() <= 200);
    is_page(&browser.get(&format!("/backups/{id}")), 200);
    let log = service.stop_and_log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn whoever_lost_the_token_between_preview_and_confirmation_restores_nothing() {
    let database = database_with(USERS);
    let (hub, id, _) = backed_up(&database);
    let (leaver, lesser) = (hub.token("leaver", "admin"), hub.token("lesser", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let (leaving, operating) = (
        Browser::of(&service, &leaver),
        Browser::of(&service, &lesser),
    );
    let name = format!("{}_kept_out", database.name());
    let form = format!("what=new-database&database={name}");
    let preview = location(&leaving.submit(&format!("/backups/{id}/restore"), &form));
    let page = ended(&service, &leaving, &preview);
    assert!(page.contains("Restore now?"), "{page}");
    let (stale, confirm) = (leaving.form_token(), format!("{preview}/restore"));
    is_page(&operating.submit(&confirm, ""), 403);
    hub.run_expecting(0, &["token", "revoke", "leaver"]);
    // The session is over: to the login, and the form is not sent again by itself.
    let refused = leaving.send(&confirm, &format!("form_token={stale}"), &[]);
    assert_eq!(refused.status, 303, "{}", refused.text());
    assert!(refused.header("location").unwrap().contains("login"));
    // Another token of the same name is another, and its session has other form tokens.
    let again = hub.token("leaver", "admin");
    let new = Browser::of(&service, &again);
    is_page(
        &new.send(&confirm, &format!("form_token={stale}"), &[]),
        403,
    );
    assert_eq!(leaving.get("/").status, 303);
    let made = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(database.value(&made), "0");
    let log = service.stop_and_log();
    assert!(
        log.contains("audit: refused POST") && !log.contains("restore of"),
        "{log}"
    );
}

#[test]
fn no_form_does_more_than_the_role_or_the_configuration_permits() {
    let database = database_with(USERS);
    let (mut hub, id, _) = backed_up(&database);
    hub.set("PROOF", "daily");
    let tokens = ["read", "operate", "admin"].map(|role| hub.token(role, role));
    let service = ServiceProcess::start_http(&hub);
    let browsers: Vec<Browser<'_>> = tokens
        .iter()
        .map(|token| Browser::of(&service, token))
        .collect();
    let overlay = hub.backups().join(".hubvault/overlay.toml");
    let known = fs::read(hub.backups().join(".hubvault/tokens.json")).ok();
    for (path, form) in [
        ("/tokens", "name=mine&role=admin"),
        ("/tokens/revoke", "name=admin"),
        ("/settings/change", "key=proof.when&value=always"),
    ] {
        for browser in &browsers[..2] {
            is_page(&browser.submit(path, form), 403);
        }
        for browser in &browsers {
            // Without what a form carries, from elsewhere, and as another kind of content.
            is_page(&browser.send(path, form, &[]), 403);
            let elsewhere = [
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "cross-site"),
            ];
            let with_token = format!("form_token={}&{form}", browser.form_token());
            is_page(&browser.send(path, &with_token, &elsewhere), 403);
        }
        // Another session's.
        let foreign = format!("form_token={}&{form}", browsers[0].form_token());
        is_page(&browsers[2].send(path, &foreign, &[]), 403);
    }
    // An administrator makes nothing weaker, and writes nothing that is no setting.
    for form in [
        "key=proof.when&value=off",
        "key=email.to&value=mallory%40evil.example",
        "key=retention.days&value=0",
        "key=http.restore_living&value=true",
        "key=hooks.before&value=id",
        "key=__proto__&value=1",
        "key=proof.when%0Aproof.server&value=always",
        "key=&value=",
        "key=proof.when&value=always%0A[hooks]",
    ] {
        let answer = browsers[2].submit("/settings/change", form);
        assert!(
            [400, 403, 404, 422].contains(&answer.status),
            "{form}: {}",
            answer.text()
        );
    }
    assert!(
        !overlay.exists(),
        "{}",
        fs::read_to_string(&overlay).unwrap_or_default()
    );
    let huge = format!("name={}&role=read", "x".repeat(70_000));
    assert_eq!(browsers[2].submit("/tokens", &huge).status, 413);
    let names = stdout_of(&hub, &["token", "list"]);
    assert!(!names.contains("mine"), "{names}");
    assert_eq!(
        fs::read(hub.backups().join(".hubvault/tokens.json")).ok(),
        known
    );
    is_page(&browsers[2].get(&format!("/backups/{id}")), 200);
    let log = service.stop_and_log();
    assert!(!log.contains("panicked"), "{log}");
}

fn stdout_of(hub: &Hub, arguments: &[&str]) -> String {
    crate::hub::stdout(&hub.run_expecting(0, arguments))
}

/// The forgery is of the backup's own id: what it says of itself is all that is known.
#[test]
fn rows_of_a_forged_archive_are_text_and_nothing_of_it_is_run() {
    let server = server();
    let database = server.database();
    let mut good = Good::of(&database);
    good.hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    database.execute("CREATE SEQUENCE ran");
    let (token, archive) = (good.hub.token("ana", "admin"), good.archive_path.clone());
    let (id, file) = (good.text("/id"), good.text("/files/0/name"));
    let service = ServiceProcess::start_http(&good.hub);
    let browser = Browser::of(&service, &token);
    let act = "pg_catalog.nextval('public.ran') > 0";
    let lies: [fn(&mut Forgery, &str); 3] = [
        |archive, act| {
            archive.manifest["tables"][0]["coverage"] = json!("window");
            archive.manifest["tables"][0]["filter"] = json!(act);
        },
        |archive, act| {
            archive.manifest["tables"][0]["coverage"] = json!("window");
            archive.manifest["tables"][0]["window"] = json!({ "where": act });
        },
        |archive, act| archive.manifest["database"] = json!({ "name": act, "encoding": act }),
    ];
    for lie in lies {
        fs::copy(good.forge(|forgery| lie(forgery, act)), &archive).unwrap();
        for path in looks(&id, &file) {
            let answer = browser.get(&path);
            is_page(&answer, answer.status);
        }
        browser.submit(&format!("/backups/{id}/tables/users/plan"), "update=1");
        for form in [
            "what=missing-rows&tables=users",
            "what=new-schema&tables=users&schema=beside_it",
        ] {
            let begun = browser.submit(&format!("/backups/{id}/restore"), form);
            if begun.status == 303 {
                ended(&service, &browser, &location(&begun));
            }
        }
    }
    assert_eq!(database.value("SELECT is_called FROM ran"), "f");
    let log = service.stop_and_log();
    assert!(!log.contains("panicked"), "{log}");
}
