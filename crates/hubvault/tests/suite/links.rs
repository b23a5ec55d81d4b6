//! Links to archives in messages: each opens one archive for a time, and is never logged.

use crate::hub::{Hub, stderr};
use crate::mailing::{NOISE, html, mailing, subject, text, without_tls};
use crate::service_process::{ServiceProcess, signed};
use hubvault_testkit::{
    Answer, Database, HttpSink, MailServer, MailServerOptions, MailTls, Parts, USERS,
    database_with, wait_for,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const TOML: &str = "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n";

fn database() -> Database {
    database_with(USERS)
}

/// A hub whose mails carry links that begin with `base`, for whoever asks the service there.
fn hub_with_links(database: &Database, mail: &MailServer, base: &str) -> Hub {
    let mut hub = mailing(database, mail, MailTls::Plain);
    hub.set("HTTP_ADDR", "127.0.0.1:0");
    hub.set("HTTP_PUBLIC_URL", base);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    hub.set("TZ", "UTC");
    hub
}

/// The one line of a text that is a link, without what it begins with.
fn link(text: &str, base: &str) -> String {
    let all: Vec<&str> = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix(base))
        .collect();
    assert_eq!(all.len(), 1, "{text}");
    assert!(all[0].starts_with("/download/"), "{}", all[0]);
    all[0].to_owned()
}

/// The mails about runs, without those about what the service's checks find.
fn run_mails(mail: &MailServer) -> Vec<Parts> {
    let all = mail.messages().into_iter().map(|message| message.parts());
    all.filter(|parts| subject(parts).contains("UNPROVEN"))
        .collect()
}

fn part<'a>(link: &'a str, name: &str) -> &'a str {
    let (_, value) = link.split_once(&format!("{name}=")).unwrap();
    value.split('&').next().unwrap()
}

/// Every file of a directory that is text, one after the other.
fn logs(directory: &Path) -> String {
    let files = fs::read_dir(directory).unwrap();
    files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn the_link_in_the_mail_downloads_the_archive_and_is_never_logged() {
    let database = database();
    let mail = MailServer::start(without_tls());
    let mut hub = hub_with_links(&database, &mail, "");
    hub.set("EMAIL_ATTACH", "never");
    hub.set("LOG_LEVEL", "trace");
    // A word of every link.
    hub.set("POSTGRES_PASSWORD", "download");
    hub.set("WEBHOOK_SECRET", "signature");
    let operate = hub.token("ci", "operate");
    let service = ServiceProcess::start_http(&hub);
    let base = service.base().to_owned();

    // By hand, beside the service.
    hub.set("HTTP_PUBLIC_URL", &base);
    let output = hub.run(&["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    let parts = &run_mails(&mail)[0];
    let path = link(text(parts), &base);
    let whole = fs::read(record["file"].as_str().unwrap()).unwrap();
    let had = service.get(&path, "");
    assert!(had.status == 200 && had.body == whole, "{}", had.text());
    assert!(text(parts).contains("Not attached: email.attach is never"));
    assert!(html(parts).contains(&format!("href=\"{base}{}\"", path.replace('&', "&amp;"))));
    let expires: i64 = part(&path, "expires").parse().unwrap();
    let ends = Timestamp::from_second(expires).unwrap();
    let hours = (expires - Timestamp::now().as_second()) as f64 / 3600.0;
    assert!((71.0..=72.0).contains(&hours), "{hours}");
    let ends = ends.to_zoned(jiff::tz::TimeZone::UTC);
    let ends = ends.strftime("until %Y-%m-%d %H:%M").to_string();
    for said in [text(parts), html(parts)] {
        assert!(said.contains(&ends), "{ends}: {said}");
    }

    // What was changed, and what is over.
    let id = record["id"].as_str().unwrap();
    let later = path.replace(&expires.to_string(), &(expires + 1).to_string());
    assert_eq!(service.get(&later, "").status, 403);
    let key = fs::read(hub.backups().join(".hubvault/link.key")).unwrap();
    assert_eq!(service.get(&signed(&key, id, 1), "").status, 410);

    // A run of the service itself, whose configuration names the address since.
    hub.write(&format!(
        "{TOML}[http]\npublic_url = \"{base}/\"\nlink_hours = 1\n"
    ));
    // Writes the file.
    hub.run(&["config", "check"]);
    service.reload();
    let begun = service.post("/backup/trigger", &operate, "{\"force\": true}");
    assert_eq!(begun.status, 202, "{}", begun.text());
    let run = begun.json()["backup_id"].as_str().unwrap().to_owned();
    service.get(&format!("/backup/{run}/events"), &operate);
    wait_for(
        || run_mails(&mail).len() > 1,
        || format!("the mail of the run:\n{}", service.log()),
    );
    let parts = &run_mails(&mail)[1];
    let second = link(text(parts), &base);
    let had = service.get(&second, "");
    assert_eq!(had.status, 200, "{}", had.text());
    let hours = part(&second, "expires").parse::<i64>().unwrap() - Timestamp::now().as_second();
    assert!((1..=3600).contains(&hours), "{hours}");

    let said =
        service.stop_and_log() + &stderr(&output) + &logs(&hub.backups().join(".hubvault/logs"));
    // The log goes by what is a secret here.
    assert!(said.contains("audit: *** of"), "{said}");
    for link in [&path, &second] {
        assert!(!said.contains(part(link, "signature")), "{said}");
    }
}

#[test]
fn each_of_several_jobs_has_links_to_its_own_archives() {
    let database = database();
    let mail = MailServer::start(without_tls());
    let mut hub = hub_with_links(&database, &mail, "");
    hub.write(&format!(
        "{TOML}[[job]]\nname = \"one\"\n[[job]]\nname = \"two\"\n"
    ));
    let service = ServiceProcess::start_http(&hub);
    hub.set("HTTP_PUBLIC_URL", service.base());
    hub.run_expecting(3, &["backup"]);
    let mails = run_mails(&mail);
    assert_eq!(mails.len(), 2);
    let key = |job: &str| fs::read(hub.backups().join(job).join(".hubvault/link.key")).unwrap();
    assert_ne!(key("one"), key("two"));
    for (parts, job) in mails.iter().zip(["one", "two"]) {
        let path = link(text(parts), service.base());
        let had = service.get(&path, "");
        let name = had.header("content-disposition").unwrap();
        let name = name.split('"').nth(1).unwrap();
        let archive = hub.backups().join(job).join(name);
        assert!(had.body == fs::read(archive).unwrap(), "{}", had.text());
        let other = if job == "one" { "two" } else { "one" };
        let crossed = format!("{path}&job={other}");
        assert_eq!(service.get(&crossed, "").status, 403);
    }
}

#[test]
fn every_channel_except_pings_has_the_link() {
    let database = database();
    let mail = MailServer::start(without_tls());
    let sink = HttpSink::start((0..9).map(|_| Answer::Status(200)));
    let mut hub = hub_with_links(&database, &mail, "https://backups.hub.example/in/here/");
    hub.set("WEBHOOK_URL", sink.url("/hook"));
    hub.set("SLACK_WEBHOOK_URL", sink.url("/slack"));
    hub.set("NTFY_URL", sink.url("/ntfy"));
    hub.set("PING_URL", sink.url("/ping"));
    hub.set("POSTGRES_PASSWORD", "download");
    let (record, _) = hub.backup();
    assert_eq!(record["delivery"]["untold"], json!([]), "{record}");
    let base = "https://backups.hub.example/in/here";
    let mailed = link(text(&mail.messages()[0].parts()), base);
    let said = |path: &str| -> String {
        let all = sink.requests();
        let found = all.iter().find(|request| request.target == path);
        String::from_utf8(found.unwrap().body.clone()).unwrap()
    };
    let hook: Value = serde_json::from_str(&said("/hook")).unwrap();
    let linked = &hook["data"]["archive"]["link"];
    let url = linked["url"].as_str().unwrap();
    assert_eq!(url, format!("{base}{mailed}"));
    let expires: Timestamp = linked["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(expires.as_second().to_string(), part(url, "expires"));
    let slack: Value = serde_json::from_str(&said("/slack")).unwrap();
    for text in [
        hook["text"].as_str().unwrap(),
        &slack["text"].as_str().unwrap().replace("&amp;", "&"),
        &said("/ntfy"),
    ] {
        assert!(text.contains(url), "{text}");
    }
    for ping in ["/ping", "/ping/start"] {
        assert!(!said(ping).contains("signature"), "{}", said(ping));
    }
}

#[test]
fn an_archive_too_large_for_the_mail_server_is_linked() {
    let database = database_with(NOISE);
    let mail = MailServer::start(MailServerOptions {
        size_limit: Some(60_000),
        ..without_tls()
    });
    let hub = hub_with_links(&database, &mail, "https://backups.hub.example");
    hub.backup();
    let parts = mail.messages()[0].parts();
    assert!(parts.attachments.is_empty());
    assert!(text(&parts).contains("takes no message this large"));
    link(text(&parts), "https://backups.hub.example");
}

#[test]
fn messages_without_a_downloadable_archive_have_no_link() {
    let database = database();
    let mail = MailServer::start(without_tls());
    let sink = HttpSink::start((0..9).map(|_| Answer::Status(200)));
    let mut hub = hub_with_links(&database, &mail, "https://backups.hub.example");
    hub.set("WEBHOOK_URL", sink.url("/hook"));
    hub.set("BACKUP_MIN_SIZE_MB", "900");
    hub.backup_fails(1, &["BACKUP_MIN_SIZE_MB"]);
    hub.set("BACKUP_MIN_SIZE_MB", "");
    // Only sealed archives may leave, and this one is not.
    hub.set("EMAIL_ATTACH", "sealed");
    hub.backup();
    hub.set("EMAIL_ATTACH", "always");
    // Nobody answers there.
    hub.set("HTTP_ADDR", "");
    let unanswered = hub.run(&["backup"]);
    assert!(
        stderr(&unanswered).contains("http.address (HTTP_ADDR) is not"),
        "{}",
        stderr(&unanswered)
    );
    hub.set("HTTP_PUBLIC_URL", "");
    hub.set("HTTP_ADDR", "127.0.0.1:0");
    hub.backup();
    let messages = mail.messages();
    assert_eq!(messages.len(), 4);
    for message in messages {
        let parts = message.parts();
        for said in [text(&parts), html(&parts)] {
            assert!(!said.contains("/download/"), "{said}");
        }
    }
    assert_eq!(sink.requests().len(), 4);
    for request in sink.requests() {
        let said = String::from_utf8(request.body).unwrap();
        assert!(!said.contains("/download/"), "{said}");
    }
    hub.set("HTTP_PUBLIC_URL", "backups.hub.example");
    let refused = hub.run_expecting(2, &["backup"]);
    let said = stderr(&refused);
    assert!(
        said.contains("variable HTTP_PUBLIC_URL: http.public_url: expected an address such as"),
        "{said}"
    );
}

#[test]
fn without_the_link_key_messages_have_no_link_and_the_run_warns() {
    let database = database();
    let mail = MailServer::start(without_tls());
    let hub = hub_with_links(&database, &mail, "https://backups.hub.example");
    let state = hub.backups().join(".hubvault");
    fs::create_dir_all(state.join("link.key")).unwrap();
    let output = hub.run_expecting(3, &["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    let warnings = record["warnings"].as_array().unwrap();
    let link = warnings.iter().find(|warning| warning["code"] == "link");
    let said = link.unwrap()["message"].as_str().unwrap();
    assert!(said.contains("link.key"), "{record}");
    assert!(!text(&mail.messages()[0].parts()).contains("/download/"));
}
