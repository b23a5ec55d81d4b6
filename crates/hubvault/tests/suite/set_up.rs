//! The set-up page of a service on which nothing is configured, from the first look to the first start.

use crate::init::Place;
use crate::page::{Browser, is_page};
use crate::page_restore::form;
use crate::service_process::{Answer, ServiceProcess};
use hubvault_testkit::{Database, MailServer, MailServerOptions, MailTls, database_with};
use rustix::process::Signal;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const HOSTILE: &str = "<script>alert(1)</script>";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "pass-of-the-role\"<script>";
const LISTENING: &str = "listening on http://";

fn shop() -> Database {
    database_with(&format!(
        "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'a'), (2, 'b');
         CREATE TABLE \"{HOSTILE}\" (id int PRIMARY KEY); INSERT INTO \"{HOSTILE}\" VALUES (7)"
    ))
}

/// A free port of this machine: the service listens there again after it was set up.
fn address() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

/// A service with these variables and nothing else.
fn start(place: &Place, variables: &[(&str, &str)], arguments: &[&str]) -> ServiceProcess {
    fs::write(place.path("token"), TOKEN).unwrap();
    let mut command = place.command(&[arguments, &["serve"]].concat());
    command
        .env("HTTP_ADDR", address())
        .env("HTTP_FIRST_TOKEN_FILE", place.path("token"))
        .envs(variables.iter().copied());
    ServiceProcess::of_command(command, place.path("log"))
}

/// Told to read `config/hubvault.toml`.
fn told(place: &Place) -> ServiceProcess {
    let config = place.path("config");
    fs::create_dir(&config).unwrap();
    start(place, &[("CONFIG_DIR", config.to_str().unwrap())], &[])
}

/// What the form asks for, filled in.
fn filled(database: &Database, place: &Place) -> Vec<(&'static str, String)> {
    let settings = database.settings();
    vec![
        ("POSTGRES_HOST", settings.host.clone()),
        ("POSTGRES_PORT", settings.port.to_string()),
        ("POSTGRES_DB", settings.dbname.clone()),
        ("POSTGRES_USER", settings.user.clone()),
        ("POSTGRES_PASSWORD", PASSWORD.to_owned()),
        ("PGSSLMODE", "prefer".to_owned()),
        ("BACKUP_DIR", place.path("backups").display().to_string()),
        ("BACKUP_SCHEDULE", "0 0 29 2 *".to_owned()),
        ("scope", "*".to_owned()),
    ]
}

fn step(browser: &Browser<'_>, which: &str, fields: &[(&'static str, String)]) -> Answer {
    let mut all: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    all.push(("do", which));
    browser.submit("/set-up", &form(&all))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// Nothing is open without the token.
fn closed_without_the_token(service: &ServiceProcess) {
    let health = service.get("/health", "");
    assert_eq!(health.status, 503, "{}", health.text());
    assert!(
        health.json()["message"]
            .as_str()
            .unwrap()
            .contains("nothing is configured")
    );
    let stranger = Browser::new(service);
    assert_eq!(stranger.get("/").status, 303);
    assert!(!stranger.get("/login").text().contains("Set up"));
    let sent = stranger.send("/set-up", "do=database", &[]);
    assert_eq!(sent.status, 303);
}

#[test]
fn the_first_visit_ends_with_a_service_that_takes_backups() {
    let (database, place) = (shop(), Place::new());
    fs::write(place.path("compose.yaml"), "x").unwrap();
    let service = told(&place);
    service.wait_for_log(LISTENING, 1);
    closed_without_the_token(&service);
    let browser = Browser::of(&service, TOKEN);
    let page = is_page(&browser.get("/"), 200);
    assert!(
        page.contains("Set up hubvault") && page.contains("pg_dump "),
        "{page}"
    );
    assert!(!page.contains("href=\"./backups\""), "{page}");
    let without_token = browser.send("/set-up", "do=database", &[]);
    assert_eq!(without_token.status, 403);

    // A server that is not there is a sentence, beside what was typed.
    let mut fields = filled(&database, &place);
    let wrong: Vec<_> = fields
        .iter()
        .cloned()
        .map(|(name, text)| match name {
            "POSTGRES_HOST" => (name, format!("/nowhere/{HOSTILE}")),
            _ => (name, text),
        })
        .collect();
    let page = is_page(&step(&browser, "database", &wrong), 200);
    assert!(
        page.contains("&lt;script&gt;")
            && page.contains("failed")
            && !page.contains("5. The configuration"),
        "{page}"
    );
    assert!(!page.contains("pass-of-the-role"), "{page}");

    let page = is_page(&step(&browser, "database", &fields), 200);
    for said in [
        "2 tables",
        "a backup would take 2 tables",
        "is a superuser",
        "CREATE ROLE",
        "compose.yaml",
        "hubvault.database_password",
        "[scope]",
        "and start</button>",
        "One was given and is kept",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(!page.contains("pass-of-the-role"), "{page}");
    // What was changed since is looked at first.
    let mut changed = fields.clone();
    changed.push(("exclude", "users".to_owned()));
    is_page(&step(&browser, "write", &changed), 409);
    assert!(!place.path("config/hubvault.toml").exists());

    // A file of the host that was not proposed is not taken.
    fields.push(("file", place.path("compose.yaml").display().to_string()));
    fields.push(("file", "/etc/passwd".to_owned()));
    let page = is_page(&step(&browser, "database", &fields), 200);
    assert!(!page.contains("passwd"), "{page}");
    let done = is_page(&step(&browser, "write", &fields), 200);
    assert!(
        done.contains("hubvault is set up") && !done.contains("pass-of-the-role"),
        "{done}"
    );
    service.wait_for_log(LISTENING, 2);

    let toml = fs::read_to_string(place.path("config/hubvault.toml")).unwrap();
    assert!(
        toml.contains("compose.yaml\"") && !toml.contains("pass-of-the-role"),
        "{toml}"
    );
    let secret = place.path("config/hubvault.database_password");
    assert_eq!(fs::read_to_string(&secret).unwrap(), PASSWORD);
    assert_eq!(
        (mode(&secret), mode(&place.path("config/hubvault.toml"))),
        (0o600, 0o600)
    );
    // The same token, and the page of every day.
    let browser = Browser::of(&service, TOKEN);
    let page = is_page(&browser.get("/"), 200);
    assert!(
        page.contains("Not safe") && page.contains("href=\"./backups\""),
        "{page}"
    );
    assert_eq!(browser.submit("/set-up", "do=write").status, 404);
    assert_eq!(browser.submit("/start", "").status, 303);
    service.wait_for_log("ended with warnings", 1);
    let log = service.stop_and_log();
    assert!(
        log.contains("audit: first (admin) POST /set-up looked at the database at"),
        "{log}"
    );
    assert!(
        log.contains("/config/hubvault.toml from 127.0.0.1: 200"),
        "{log}"
    );
    assert!(
        !log.contains("pass-of-the-role") && !log.contains(TOKEN),
        "{log}"
    );
}

#[test]
fn mail_and_destinations_are_tested_and_no_secret_leaves_for_elsewhere() {
    let place = Place::new();
    let mail = MailServer::start(MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    });
    let service = told(&place);
    let browser = Browser::of(&service, TOKEN);
    let port = mail.port.to_string();
    let to_mail = |port: &str, security: &str| -> Vec<(&'static str, String)> {
        vec![
            ("ADMIN_EMAILS", "ada@hub.example".to_owned()),
            ("SMTP_HOST", "localhost".to_owned()),
            ("SMTP_PORT", port.to_owned()),
            ("SMTP_SECURITY", security.to_owned()),
            ("SMTP_FROM", "backup@hub.example".to_owned()),
        ]
    };
    let page = is_page(&step(&browser, "mail", &to_mail(&port, "none")), 200);
    assert!(page.contains("sent to ada@hub.example"), "{page}");
    assert_eq!(mail.messages().len(), 1);
    let mut with_password = to_mail("1", "starttls");
    with_password.push(("SMTP_USER", "ada".to_owned()));
    with_password.push(("SMTP_PASS", PASSWORD.to_owned()));
    let page = is_page(&step(&browser, "mail", &with_password), 200);
    assert!(
        page.contains("was not notified") && !page.contains("pass-of-the-role"),
        "{page}"
    );
    assert!(page.contains("One was given and is kept"), "{page}");
    // For another server it is asked for again.
    let page = is_page(&step(&browser, "mail", &to_mail(&port, "none")), 200);
    assert!(!page.contains("One was given and is kept"), "{page}");

    let there = place.path("usb");
    fs::create_dir(&there).unwrap();
    let to = |urls: String, directory: &str| {
        vec![
            ("BACKUP_DESTINATIONS", urls),
            ("BACKUP_DIR", directory.to_owned()),
        ]
    };
    let urls = format!("good=file://{},bad=file:///proc/none", there.display());
    let page = is_page(
        &step(&browser, "destinations", &to(urls, "/dev/null/archives")),
        200,
    );
    assert!(page.contains("the destination good"), "{page}");
    assert!(
        page.contains("the destination bad cannot be used"),
        "{page}"
    );
    assert!(page.contains("null is not a directory"), "{page}");
    assert_eq!(
        fs::read_dir(&there).unwrap().count(),
        0,
        "the tiny object is gone"
    );
    let page = is_page(
        &step(
            &browser,
            "destinations",
            &to(format!("nothing://{HOSTILE}"), ""),
        ),
        200,
    );
    assert!(page.contains("&lt;script&gt;"), "{page}");

    // What names a file of the host is no answer.
    let keys = vec![("BACKUP_RECIPIENTS", "/etc/passwd".to_owned())];
    let page = is_page(&step(&browser, "database", &keys), 400);
    assert!(
        page.contains("expected public keys") && page.contains("Nothing was done"),
        "{page}"
    );
    // A person does not need so many.
    let steps = (0..20).map(|_| step(&browser, "destinations", &[]).status);
    let steps: Vec<u16> = steps.collect();
    assert!(steps.contains(&200) && steps.contains(&429), "{steps:?}");
    assert_eq!(browser.get("/").status, 200);
    let log = service.stop_and_log();
    assert!(log.contains("sent a test message over localhost"), "{log}");
    let tested = "tested the destinations: the destination good (";
    assert!(log.contains(tested), "{log}");
    assert!(log.contains("the destination bad cannot be used"), "{log}");
    assert!(!log.contains("pass-of-the-role"), "{log}");
}

#[test]
fn without_a_place_for_the_file_the_page_shows_what_to_save() {
    let (database, place) = (shop(), Place::new());
    let mut service = start(&place, &[], &[]);
    let browser = Browser::of(&service, TOKEN);
    let fields = filled(&database, &place);
    let page = is_page(&step(&browser, "database", &fields), 200);
    assert!(
        page.contains("Nothing names the configuration file")
            && !page.contains("and start</button>"),
        "{page}"
    );
    assert!(page.contains("POSTGRES_PASSWORD_FILE="), "{page}");
    is_page(&step(&browser, "write", &fields), 409);
    assert!(!place.path("hubvault.toml").exists() && !place.path("backups").exists());

    // A reload without a file changes nothing; with one, it is taken up.
    service.signal(Signal::HUP);
    service.wait_for_log("there is no configuration file yet", 1);
    fs::write(place.path("hubvault.toml"), "[database]\nport = \"many\"\n").unwrap();
    service.signal(Signal::HUP);
    service.wait_for_log("the new configuration cannot be used", 1);
    fs::remove_file(place.path("hubvault.toml")).unwrap();
    assert_eq!(browser.get("/").status, 200);
    assert_eq!(service.stop(), Some(0));
    assert!(service.log().contains("stopped"), "{}", service.log());
}

#[test]
fn a_mistake_in_a_configuration_is_no_first_visit() {
    let place = Place::new();
    for (variables, arguments) in [
        (vec![("POSTGRES_PORT", "many")], vec![]),
        (vec![("HTTP_PUBLIC_URL", "nowhere")], vec![]),
        (vec![("HTTP_PAGE", "perhaps")], vec![]),
    ] {
        let mut service = start(&place, &variables, &arguments);
        assert_eq!(
            service.wait_for_end(),
            Some(2),
            "{variables:?}: {}",
            service.log()
        );
    }
}
