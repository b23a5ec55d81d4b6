//! Clients with and without tokens: over HTTP the configuration only gets stricter, a right token is never blocked, and
//! a link ends with the token that created it.

use crate::attacker::attacker;
use crate::hub::{Hub, stdout};
use crate::mailing::{mailing, subject, text, without_tls};
use crate::service_process::{Answer, ServiceProcess, signed};
use hubvault_testkit::{
    Database, HttpSink, MailServer, MailTls, Parts, USERS, database_with, wait_for,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn database() -> Database {
    database_with(USERS)
}

fn hub_with_token(hub: &mut Hub) {
    hub.set("BACKUP_SCHEDULE", "0 2 * * *");
    hub.set("TZ", "UTC");
}

fn setting(config: &Value, key: &str) -> Value {
    let all = config["settings"].as_array().unwrap();
    all.iter().find(|one| one["key"] == key).unwrap()["value"].clone()
}

/// The mails about changes, once there are `count`.
fn change_mails(mail: &MailServer, count: usize) -> Vec<Parts> {
    let about = || {
        let all = mail.messages().into_iter().map(|message| message.parts());
        let all = all.filter(|it| subject(it).contains("configuration"));
        all.collect::<Vec<_>>()
    };
    wait_for(|| about().len() >= count, || format!("{count} mails"));
    about()
}

#[test]
fn a_stolen_admin_token_weakens_nothing_and_everybody_is_notified() {
    let database = database();
    let mail = MailServer::start(without_tls());
    let sink = HttpSink::start((0..99).map(|_| hubvault_testkit::Answer::Status(200)));
    let mut hub = mailing(&database, &mail, MailTls::Plain);
    hub_with_token(&mut hub);
    hub.set("PROOF", "daily");
    hub.set("WEBHOOK_URL", sink.url("/hook"));
    let stolen = hub.token("deploy", "admin");
    let service = ServiceProcess::start_http(&hub);
    let before = service.get("/backup/config", &stolen).text();
    let wishes = [
        json!({"proof.when": "off", "log.level": "error", "monitor.max_age_hours": 87_600}),
        json!({"email.to": ["ada@hub.example", "grace@hub.example", "mallory@evil.example"]}),
        json!({"email.enabled": false, "email.attach": "never"}),
        json!({"retention.days": 0, "retention.keep_last": 0, "retention.max_total_mb": 1}),
        json!({"schedule.cron": "0 0 29 2 *", "archive.min_size_mb": 900}),
        json!({"schedule.cron": "* * * * *", "schedule.jitter": "23 h", "schedule.tries": 1}),
        json!({"schedule.catch_up": "none", "schedule.pause": "20 h", "archive.max_size_mb": 1}),
        // One that is allowed beside one that is not.
        json!({"retention.days": 60, "proof.when": "weekly"}),
    ];
    for wish in &wishes {
        let refused = service.put("/backup/config", &stolen, wish);
        assert_eq!(refused.status, 403, "{wish}: {}", refused.text());
        let details = refused.json()["details"].clone();
        let keys = wish.as_object().unwrap().keys();
        for key in keys.filter(|key| *key != "retention.days" || wish["retention.days"] == 0) {
            let said = details[key].as_str().unwrap_or_default();
            let where_to =
                said.contains("hubvault.toml") || said.contains("where hubvault is started");
            assert!(where_to, "{key}: {details}");
        }
        assert_eq!(service.get("/backup/config", &stolen).text(), before);
    }
    // In tables, and by the names of the service before hubvault.
    let other_shapes = json!({
        "proof": {"when": "off"}, "schedule": {"cron_expression": "0 0 29 2 *", "enabled": false},
        "email": {"recipients": ["mallory@evil.example"], "attachment_threshold_mb": 1000, "enabled": false},
    });
    let refused = service.put("/backup/config", &stolen, &other_shapes);
    assert_eq!(refused.status, 403, "{}", refused.text());
    let details = refused.json()["details"].clone();
    for key in [
        "proof.when",
        "schedule.cron",
        "schedule.enabled",
        "email.to",
        "email.max_message_mb",
        "email.enabled",
    ] {
        assert!(
            details[key].as_str().unwrap_or_default().contains("HTTP"),
            "{key}: {details}"
        );
    }
    let overlay = hub.backups().join(".hubvault/overlay.toml");
    assert!(!overlay.exists());
    // Settings that are in effect anyway do not block the host's next change of them.
    let same = json!({"email.to": ["ada@hub.example", "grace@hub.example"], "proof.when": "daily"});
    assert_eq!(service.put("/backup/config", &stolen, &same).status, 200);
    let stored = std::fs::read_to_string(&overlay).unwrap();
    assert!(
        !stored.contains("ada") && !stored.contains("daily"),
        "{stored}"
    );
    let mails = change_mails(&mail, wishes.len() + 1);
    let first = text(&mails[0]);
    assert!(
        subject(&mails[0]).contains("REFUSED CHANGE"),
        "{}",
        subject(&mails[0])
    );
    for said in ["deploy (admin)", "127.0.0.1", "proof.when: daily -> off"] {
        assert!(first.contains(said), "{said}: {first}");
    }
    for message in mail.messages() {
        assert!(!message.to.iter().any(|to| to.contains("mallory")));
    }
    let hooked = || {
        let all = sink.requests().into_iter();
        all.map(|request| String::from_utf8(request.body).unwrap())
            .any(|said| said.contains("mallory@evil.example"))
    };
    wait_for(hooked, || "every channel to be notified".to_owned());
    let log = service.stop_and_log();
    assert!(
        log.contains(
            "refused change of the configuration by deploy (admin) from 127.0.0.1: log.level"
        ),
        "{log}"
    );
}

#[test]
fn stricter_settings_are_accepted_revertible_and_notified() {
    let database = database();
    let mail = MailServer::start(without_tls());
    let mut hub = mailing(&database, &mail, MailTls::Plain);
    hub_with_token(&mut hub);
    let admin = hub.token("root", "admin");
    let service = ServiceProcess::start_http(&hub);
    let stricter =
        json!({"retention.days": 60, "proof.when": "weekly", "monitor.max_age_hours": 20});
    let changed = service.put("/backup/config", &admin, &stricter);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(setting(&changed.json(), "retention.days"), "60");
    let back = service.put("/backup/config", &admin, &json!({"retention.days": null}));
    assert_eq!(setting(&back.json(), "retention.days"), "30");
    // What was made stricter is no way to make it weaker.
    let weaker = service.put("/backup/config", &admin, &json!({"retention.days": 29}));
    assert_eq!(weaker.status, 403);
    let mails = change_mails(&mail, 3);
    let all: Vec<String> = mails.iter().map(|parts| text(parts).to_owned()).collect();
    for said in [
        "root (admin) changed",
        "retention.days: 30 -> 60",
        "proof.when: off -> weekly",
        "retention.days: 60 -> 30",
        "hubvault token revoke root",
    ] {
        assert!(
            all.iter().any(|text| text.contains(said)),
            "{said}: {all:?}"
        );
    }
    let log = service.stop_and_log();
    assert!(
        log.contains("audit: root (admin) PUT /backup/config retention.days"),
        "{log}"
    );
}

#[test]
fn settings_weakened_by_an_earlier_version_stay_and_are_reported() {
    let database = database();
    let mut hub = Hub::whole(&database);
    hub_with_token(&mut hub);
    hub.backup();
    let overlay = hub.backups().join(".hubvault/overlay.toml");
    let text = "[retention]\ndays = 2\n[email]\nto = [\"mallory@evil.example\"]\n[schedule]\ncron = \"0 2 29 2 *\"\n";
    std::fs::write(&overlay, text).unwrap();
    let shown = stdout(&hub.run(&["config", "show"]));
    let status = stdout(&hub.run(&["status"]));
    for said in [
        "retention.days is 2",
        "email.to is mallory",
        "schedule.cron is 0 2 29 2 *",
    ] {
        assert!(shown.contains(&format!("! {said}")), "{said}: {shown}");
        assert!(status.contains(&format!("! {said}")), "{said}: {status}");
    }
    let admin = hub.token("root", "admin");
    let service = ServiceProcess::start_http(&hub);
    let config = service.get("/backup/config", &admin).json();
    assert_eq!(setting(&config, "retention.days"), "2");
    let back = json!({"retention.days": null, "email.to": null, "schedule.cron": null});
    let back = service.put("/backup/config", &admin, &back);
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(back.json()["notices"], json!([]));
}

#[test]
fn another_clients_wrong_tokens_block_no_right_token_and_flood_no_log() {
    let database = database();
    let mut hub = Hub::whole(&database);
    hub_with_token(&mut hub);
    let right = hub.token("board", "read");
    let service = ServiceProcess::start_http(&hub);
    let wrong: Vec<u16> = (0..300)
        .map(|n| service.get("/backup/status", &format!("hv_{n}")).status)
        .collect();
    assert!(wrong.iter().all(|status| [401, 429].contains(status)));
    assert!(
        wrong.iter().filter(|status| **status == 401).count() < 60,
        "{wrong:?}"
    );
    assert_eq!(service.get("/backup/status", &right).status, 200);
    assert_eq!(
        service.get("/health", "").status,
        503,
        "nothing is proven yet"
    );
    let log = service.stop_and_log();
    let lines = log
        .lines()
        .filter(|line| line.contains("audit: refused"))
        .count();
    assert!((10..40).contains(&lines), "{lines} lines");
    assert!(
        log.contains("from 127.0.0.1: 401 this token is not known"),
        "{log}"
    );
}

#[test]
fn three_hundred_slow_clients_delay_no_answer() {
    let database = database();
    let mut hub = Hub::whole(&database);
    hub_with_token(&mut hub);
    let read = hub.token("board", "read");
    let service = ServiceProcess::start_http(&hub);
    let port = service.base().rsplit(':').next().unwrap().to_owned();
    // Half a request on each, as a user of his own.
    let script = format!(
        "ulimit -n 1000; for n in $(seq 300); do exec {{c}}<>/dev/tcp/127.0.0.1/{port} && printf 'GET /health HTTP/1.1\\r\\nX: ' >&$c; \
         done; echo connected; read _"
    );
    let mut crowd = attacker("bash")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 9];
    crowd
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(service.get("/health", "").status, 503);
        assert_eq!(service.get("/backup/status", &read).status, 200);
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
    }
    crowd.kill().unwrap();
    crowd.wait().unwrap();
}

#[test]
fn a_request_whose_client_disconnects_is_still_logged() {
    let database = database();
    let mut hub = Hub::whole(&database);
    hub_with_token(&mut hub);
    let stolen = hub.token("ci", "operate");
    let service = ServiceProcess::start_http(&hub);
    let request = format!(
        "POST /backup/trigger HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stolen}\r\n\
         Content-Length: 23\r\n\r\n{{\"notification\": false}}"
    );
    let mut looks = 0;
    service.wait_for_answer("/backup/history", &stolen, |history| {
        // A server that notices the end before the request does nothing with it, and it is sent again.
        if looks % 100 == 0 {
            let base = service.base().trim_start_matches("http://");
            let mut stream = TcpStream::connect(base).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
        }
        looks += 1;
        history["total"] != 0
    });
    let log = service.stop_and_log();
    assert!(
        log.contains("audit: ci (operate) POST /backup/trigger started"),
        "{log}"
    );
}

#[test]
fn a_link_ends_with_the_token_that_created_it_and_every_download_is_logged() {
    let database = database();
    let mut hub = Hub::whole(&database);
    hub_with_token(&mut hub);
    let (record, file) = hub.backup();
    let id = record["id"].as_str().unwrap();
    let (leaver, stayer) = (
        hub.token("leaver", "operate"),
        hub.token("stayer", "operate"),
    );
    let service = ServiceProcess::start_http(&hub);
    let made = |token: &str| -> String {
        let made = service.post(&format!("/backup/{id}/link"), token, "{\"hours\": 168}");
        made.json()["path"].as_str().unwrap().to_owned()
    };
    let (his, other) = (made(&leaver), made(&stayer));
    let whole = std::fs::read(&file).unwrap();
    assert!(service.get(&his, "").body == whole);
    hub.run_expecting(0, &["token", "revoke", "leaver"]);
    let over = service.get(&his, "");
    assert_eq!(over.status, 410, "{}", over.text());
    assert!(over.text().contains("revoked"), "{}", over.text());
    // Neither another of the same name nor another's maker in it opens it.
    hub.token("leaver", "operate");
    assert_eq!(service.get(&his, "").status, 410);
    let by = |link: &str| {
        link.split('&')
            .find(|part| part.starts_with("by="))
            .unwrap()
            .to_owned()
    };
    for changed in [
        his.replace(&by(&his), &by(&other)),
        his.replace(&by(&his), "by=message"),
        his.replace(&format!("&{}", by(&his)), ""),
    ] {
        assert_eq!(service.get(&changed, "").status, 403, "{changed}");
    }
    assert_eq!(service.get(&other, "").status, 200);
    // A link of an earlier version opens for its time.
    let key = std::fs::read(hub.backups().join(".hubvault/link.key")).unwrap();
    let old = signed(&key, id, Timestamp::now().as_second() + 60);
    let had: Answer = service.get(&old, "");
    assert!(had.status == 200 && had.body == whole);
    let log = service.stop_and_log();
    let bytes = whole.len();
    for line in [
        format!(
            "audit: leaver (operate) POST /backup/{id}/link link to {id} ({bytes} bytes) for 168 hours from 127.0.0.1: 201"
        ),
        format!("audit: download of {id} to 127.0.0.1, link of leaver began: {bytes} bytes"),
        format!("audit: download of {id} to 127.0.0.1, link of leaver ended: {bytes} bytes"),
        format!(
            "audit: download of {id} to 127.0.0.1, link of an earlier version ended: {bytes} bytes"
        ),
        format!(
            "audit: refused link to {id} from 127.0.0.1: 410, the token that made this link was revoked"
        ),
        format!("audit: refused link to {id} from 127.0.0.1: 403, this link was not made here"),
    ] {
        assert!(log.contains(&line), "{line}\n{log}");
    }
    assert!(!log.contains("signature"), "{log}");
}
