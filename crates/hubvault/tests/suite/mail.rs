//! What comes of a run reaches its people, or they hear that it did not.

use crate::drill::drilling;
use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{
    Answer, Database, HttpSink, MailFault, MailServer, MailServerOptions, MailTls, Parts,
    restore_with_plain_tools, server,
};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const SMALL: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1000) n; ANALYZE;";
/// Text that does not compress, so that the archive has about as many bytes as its rows.
const NOISE: &str = "CREATE TABLE noise (id int PRIMARY KEY, v text);
    INSERT INTO noise SELECT n, (SELECT string_agg(md5(n::text || i), '')
        FROM generate_series(1, 64) i) FROM generate_series(1, 2000) n; ANALYZE;";
const PASSWORD: &str = "correct-horse-battery";

/// A hub whose mails go to `server`, for ada and grace.
fn mailing(database: &Database, server: &MailServer, tls: MailTls) -> Hub {
    let mut hub = Hub::whole(database);
    tell(&mut hub, server, tls);
    hub
}

fn tell(hub: &mut Hub, server: &MailServer, tls: MailTls) {
    for (name, value) in [
        ("EMAIL_ENABLED", "true"),
        ("SMTP_HOST", "localhost"),
        ("SMTP_FROM", "hubvault <backup@hub.example>"),
        ("ADMIN_EMAILS", "ada@hub.example, grace@hub.example"),
        (
            "SMTP_SECURITY",
            match tls {
                MailTls::StartTls => "starttls",
                MailTls::Implicit => "tls",
                MailTls::Plain => "none",
            },
        ),
    ] {
        hub.set(name, value);
    }
    hub.set("SMTP_PORT", server.port.to_string());
    hub.set("SMTP_CA_FILE", server.ca_file.display().to_string());
}

/// The same with quick tries.
fn hasty(database: &Database, server: &MailServer) -> Hub {
    let mut hub = mailing(database, server, MailTls::Plain);
    hub.write(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\npause = \"10 ms\"\n\
         [email]\ntimeout = \"2 s\"\ntime_limit = \"20 s\"\n",
    );
    hub
}

fn plain() -> MailServerOptions {
    MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    }
}

fn only(server: &MailServer) -> Parts {
    let messages = server.messages();
    assert_eq!(messages.len(), 1, "one mail");
    messages[0].parts()
}

fn text(parts: &Parts) -> &str {
    parts.text.as_deref().unwrap()
}

fn html(parts: &Parts) -> &str {
    parts.html.as_deref().unwrap()
}

fn subject(parts: &Parts) -> &str {
    parts.header("Subject")
}

fn record(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(output)))
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn outbox(hub: &Hub) -> Vec<Value> {
    let output = hub.run(&["mail", "outbox", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_proven_backup_arrives_with_its_archive_and_restores_from_the_mail() {
    let mail = MailServer::start(MailServerOptions {
        auth: Some(("backup".into(), PASSWORD.into())),
        ..MailServerOptions::default()
    });
    let source = server().database();
    source.execute(SMALL);
    let (mut hub, _drills) = drilling(&source);
    tell(&mut hub, &mail, MailTls::StartTls);
    hub.set("SMTP_USER", "backup");
    hub.set("SMTP_PASS", PASSWORD);
    let output = hub.run(&["backup", "--json"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let record = record(&output);
    assert_eq!(record["delivery"]["attachment"], "attached");
    assert_eq!(record["delivery"]["untold"], serde_json::json!([]));

    assert_eq!(
        mail.messages()[0].to,
        ["ada@hub.example", "grace@hub.example"]
    );
    let parts = only(&mail);
    assert!(
        subject(&parts).starts_with("[hubvault] OK  ") && subject(&parts).contains("1,000 users"),
        "{}",
        subject(&parts)
    );
    for (name, value) in [
        ("Auto-Submitted", "auto-generated"),
        ("List-Id", "hubvault"),
    ] {
        assert!(parts.header(name).contains(value), "{name}");
    }
    for words in ["proven", "restore.sh", "NOT SEALED", "BACKUP_RECIPIENTS"] {
        assert!(text(&parts).contains(words), "{words}: {}", text(&parts));
    }
    assert!(html(&parts).contains("not sealed") && !html(&parts).contains("<script"));
    // As an administrator would: save what is attached, unpack it, run its script.
    let directory = tempfile::tempdir().unwrap();
    let attached = &parts.attachments[0];
    let archive = directory.path().join(&attached.name);
    std::fs::write(&archive, &attached.bytes).unwrap();
    let target = server().database();
    restore_with_plain_tools(&archive, &target);
    assert_eq!(source.digests(), target.digests());
}

#[test]
fn a_sealed_archive_arrives_sealed_and_only_its_key_opens_it() {
    let mail = MailServer::start(MailServerOptions {
        tls: MailTls::Implicit,
        ..MailServerOptions::default()
    });
    let source = server().database();
    source.execute(SMALL);
    let mut hub = mailing(&source, &mail, MailTls::Implicit);
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key.txt");
    let words = |words: &[&str]| Command::new("age-keygen").args(words).output().unwrap();
    words(&["-o", key.to_str().unwrap()]);
    let public = stdout(&words(&["-y", key.to_str().unwrap()]));
    hub.set("BACKUP_RECIPIENTS", public.trim());
    hub.set("EMAIL_ATTACH", "sealed");
    hub.backup();
    let parts = only(&mail);
    assert!(!text(&parts).contains("NOT SEALED"), "{}", text(&parts));
    assert!(text(&parts).contains("age -d -i KEY"), "{}", text(&parts));
    let archive = keys.path().join(&parts.attachments[0].name);
    std::fs::write(&archive, &parts.attachments[0].bytes).unwrap();
    let shown = hub.run(&[
        "show",
        archive.to_str().unwrap(),
        "--identity",
        key.to_str().unwrap(),
    ]);
    assert!(stdout(&shown).contains("users"), "{}", stderr(&shown));
    assert_eq!(code(&shown), Some(0));
}

#[test]
fn an_archive_in_the_clear_is_not_attached_where_only_sealed_ones_may_be() {
    let mail = MailServer::start(plain());
    let source = server().database();
    source.execute(SMALL);
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    hub.set("EMAIL_ATTACH", "sealed");
    let (record, archive) = hub.backup();
    let said = record["delivery"]["attachment"].as_str().unwrap();
    assert!(
        said.contains("not attached") && said.contains("sealed"),
        "{said}"
    );
    let parts = only(&mail);
    assert!(parts.attachments.is_empty());
    assert!(
        text(&parts).contains(archive.to_str().unwrap()),
        "{}",
        text(&parts)
    );
}

#[test]
fn what_is_too_large_for_the_server_goes_without_and_says_where_it_is() {
    let mail = MailServer::start(MailServerOptions {
        size_limit: Some(60_000),
        ..plain()
    });
    let source = server().database();
    source.execute(NOISE);
    let hub = mailing(&source, &mail, MailTls::Plain);
    let (_, archive) = hub.backup();
    let parts = only(&mail);
    assert!(parts.attachments.is_empty());
    assert!(
        text(&parts).contains("takes no message this large"),
        "{}",
        text(&parts)
    );
    assert!(
        text(&parts).contains(archive.to_str().unwrap()),
        "{}",
        text(&parts)
    );
}

#[test]
fn an_archive_in_parts_is_joined_by_the_line_in_the_mail() {
    let mail = MailServer::start(plain());
    let source = server().database();
    source.execute(NOISE);
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    hub.set("EMAIL_MAX_MESSAGE_MB", "1");
    hub.set("EMAIL_SPLIT", "true");
    let (record, archive) = hub.backup();
    let messages = mail.messages();
    assert!(messages.len() > 1, "{}", record["delivery"]);
    let directory = tempfile::tempdir().unwrap();
    let mut join = String::new();
    for (at, message) in messages.iter().enumerate() {
        assert!(message.raw.len() <= 1 << 20, "{}", message.raw.len());
        let parts = message.parts();
        let part = format!("(part {} of {})", at + 1, messages.len());
        assert!(subject(&parts).contains(&part), "{}", subject(&parts));
        let attached = &parts.attachments[0];
        std::fs::write(directory.path().join(&attached.name), &attached.bytes).unwrap();
        let line = text(&parts)
            .lines()
            .find(|line| line.trim().starts_with("cat "));
        line.unwrap().trim().clone_into(&mut join);
    }
    let joined = Command::new("sh")
        .args(["-c", &join])
        .current_dir(directory.path())
        .status();
    assert!(joined.unwrap().success());
    let name = archive.file_name().unwrap();
    assert!(
        std::fs::read(directory.path().join(name)).unwrap() == std::fs::read(&archive).unwrap()
    );
}

#[test]
fn a_busy_server_is_tried_again_and_nobody_gets_it_twice() {
    let mail = MailServer::start(MailServerOptions {
        busy_first: 2,
        ..plain()
    });
    let source = server().database();
    source.execute(SMALL);
    let hub = hasty(&source, &mail);
    let (record, _) = hub.backup();
    assert_eq!(record["delivery"]["told"].as_array().unwrap().len(), 2);
    assert_eq!(mail.messages().len(), 1);
    assert_eq!(outbox(&hub)[0]["tries"], 3);
    let retry = hub.run(&["mail", "retry"]);
    assert_eq!((code(&retry), mail.messages().len()), (Some(0), 1));
}

#[test]
fn one_refused_administrator_does_not_keep_it_from_the_other() {
    let mail = MailServer::start(MailServerOptions {
        refuse: vec!["grace@hub.example".into()],
        ..plain()
    });
    let source = server().database();
    source.execute(SMALL);
    let hub = hasty(&source, &mail);
    let output = hub.run(&["backup", "--json"]);
    assert_eq!(code(&output), Some(3));
    let record = record(&output);
    assert_eq!(
        record["delivery"]["told"],
        serde_json::json!(["ada@hub.example"])
    );
    let untold = &record["delivery"]["untold"][0];
    assert_eq!(untold["to"], "grace@hub.example");
    assert_eq!(untold["waiting"], false);
    assert!(
        untold["reason"].as_str().unwrap().contains("550"),
        "{untold}"
    );
    assert_eq!(mail.messages()[0].to, ["ada@hub.example"]);
    assert_eq!(mail.messages().len(), 1);
    assert!(stdout(&hub.run(&["list"])).contains("undelivered"));
}

#[test]
fn a_dead_mail_server_leaves_the_backup_whole_and_the_mail_waiting() {
    let source = server().database();
    source.execute(SMALL);
    let sink = HttpSink::start([Answer::Status(200), Answer::Status(200)]);
    let dead = MailServer::start(plain());
    let port = dead.port;
    let mut hub = hasty(&source, &dead);
    drop(dead);
    hub.set("WEBHOOK_URL", sink.url("/hook"));
    let output = hub.run(&["backup", "--json"]);
    assert_eq!(code(&output), Some(3), "{}", stderr(&output));
    let record = record(&output);
    assert!(Path::new(record["file"].as_str().unwrap()).is_file());
    for untold in record["delivery"]["untold"].as_array().unwrap() {
        assert_eq!(untold["waiting"], true, "{untold}");
        let reason = untold["reason"].as_str().unwrap();
        assert!(reason.contains(&port.to_string()), "{reason}");
    }
    // Whoever listens elsewhere hears of the backup, and that it was not mailed.
    let events: Vec<String> = sink
        .requests()
        .iter()
        .map(|request| request.header("x-hubvault-event").unwrap().to_owned())
        .collect();
    assert_eq!(events, ["success", "alert"]);
    let status = hub.run(&["status"]);
    assert_eq!(code(&status), Some(3));
    assert!(stdout(&status).contains("waits"), "{}", stdout(&status));
    // The server is back, elsewhere.
    let back = MailServer::start(plain());
    hub.set("SMTP_PORT", back.port.to_string());
    assert_eq!(code(&hub.run(&["mail", "retry"])), Some(0));
    assert_eq!(only(&back).attachments.len(), 1);
    assert!(outbox(&hub).iter().all(|item| item["state"] == "sent"));
}

#[test]
fn a_connection_cut_after_the_last_byte_is_repeated_with_the_same_message_id() {
    let mail = MailServer::start(MailServerOptions {
        fault: Some(MailFault::CutAfterData),
        ..plain()
    });
    let source = server().database();
    source.execute(SMALL);
    let mut hub = hasty(&source, &mail);
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(3), "{}", stderr(&output));
    let good = MailServer::start(plain());
    hub.set("SMTP_PORT", good.port.to_string());
    hub.run(&["mail", "retry"]);
    let first = mail.messages()[0].parts();
    let again = only(&good);
    assert_eq!(first.header("Message-ID"), again.header("Message-ID"));
}

#[test]
fn a_silent_server_and_one_that_cuts_hold_up_nothing_and_get_no_shorter_archive() {
    let source = server().database();
    source.execute(SMALL);
    for fault in [MailFault::Stall, MailFault::CutInData, MailFault::Closing] {
        let mail = MailServer::start(MailServerOptions {
            fault: Some(fault),
            ..plain()
        });
        let mut hub = hasty(&source, &mail);
        hub.write("file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\ntries = 1\n[email]\ntimeout = \"1 s\"\n");
        let output = hub.run(&["backup", "--json"]);
        assert_eq!(code(&output), Some(3), "{fault:?}: {}", stderr(&output));
        assert_eq!(mail.messages().len(), 0, "{fault:?}");
        assert_eq!(outbox(&hub)[0]["state"], "waiting", "{fault:?}");
    }
}

#[test]
fn a_failed_backup_is_told_with_its_stage_causes_and_log_and_without_a_secret() {
    let mail = MailServer::start(plain());
    let source = server().database();
    source.execute(SMALL);
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    hub.backup();
    hub.set("POSTGRES_DB", "no_such_database");
    // The job is called after the database; its history is the hub's.
    hub.set("POSTGRES_PASSWORD", PASSWORD);
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(1));
    let messages = mail.messages();
    let parts = messages[messages.len() - 1].parts();
    assert!(
        subject(&parts).starts_with("[hubvault] FAILED"),
        "{}",
        subject(&parts)
    );
    assert!(
        subject(&parts).ends_with("at snapshot"),
        "{}",
        subject(&parts)
    );
    for words in [
        "no_such_database",
        "WHAT TO DO NEXT",
        "Nothing was published",
    ] {
        assert!(text(&parts).contains(words), "{words}: {}", text(&parts));
    }
    assert!(parts.attachments.is_empty());
    for message in &messages {
        assert!(!String::from_utf8_lossy(&message.raw).contains(PASSWORD));
    }
}

#[test]
fn no_secret_of_the_configuration_is_in_a_mail_a_log_an_archive_or_the_catalog() {
    let mail = MailServer::start(MailServerOptions {
        auth: Some(("backup".into(), PASSWORD.into())),
        refuse: vec!["grace@hub.example".into()],
        ..MailServerOptions::default()
    });
    let sink = HttpSink::start((0..8).map(|_| Answer::Status(500)));
    let source = server().database();
    source.execute(SMALL);
    let mut hub = mailing(&source, &mail, MailTls::StartTls);
    hub.write(
        "file = []\n[scope]\ntables = [\"*\", \"gone\"]\nwindow = []\n[delivery]\ntries = 1\n",
    );
    hub.set("SMTP_USER", "backup");
    let secrets = [
        ("SMTP_PASS", PASSWORD.to_owned()),
        ("POSTGRES_PASSWORD", "postgres-secret-1".to_owned()),
        ("WEBHOOK_URL", sink.url("/webhook-secret-2")),
        ("WEBHOOK_SECRET", "webhook-secret-3".to_owned()),
        ("SLACK_WEBHOOK_URL", sink.url("/slack-secret-4")),
        ("NTFY_URL", sink.url("/ntfy-secret-5")),
        ("NTFY_TOKEN", "ntfy-secret-6".to_owned()),
        ("PING_URL", sink.url("/ping-secret-7")),
        ("LOG_LEVEL", "trace".to_owned()),
    ];
    for (name, value) in &secrets {
        hub.set(name, value.clone());
    }
    let mut said = Vec::new();
    for arguments in [
        &["backup"][..],
        &["status"],
        &["mail", "outbox", "--json"],
        &["mail", "retry"],
        &["config", "show"],
    ] {
        let output = hub.run(arguments);
        said.push(stdout(&output) + &stderr(&output));
    }
    for message in mail.messages() {
        let parts = message.parts();
        said.push(String::from_utf8_lossy(&message.raw).into_owned());
        said.push(format!("{}{}", text(&parts), html(&parts)));
        for attached in &parts.attachments {
            said.push(unpacked(&attached.bytes));
        }
    }
    for file in files(&hub.backups()) {
        said.push(String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned());
    }
    assert!(said.len() > 8);
    for (name, value) in secrets.iter().filter(|(name, _)| *name != "LOG_LEVEL") {
        let secret = value.rsplit('/').next().unwrap();
        for text in &said {
            assert!(!text.contains(secret), "{name} is in: {text}");
        }
    }
}

/// Everything in an archive, as text.
fn unpacked(archive: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive.tar.gz");
    std::fs::write(&file, archive).unwrap();
    let output = Command::new("tar")
        .arg("-xOzf")
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_run_of_which_nobody_would_hear_says_so_unless_that_is_meant() {
    let source = server().database();
    source.execute(SMALL);
    let (mut hub, _drills) = drilling(&source);
    hub.set("EMAIL_ENABLED", "true");
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(3));
    assert!(
        stdout(&output).contains("nobody is told"),
        "{}",
        stdout(&output)
    );
    assert!(stdout(&hub.run(&["status"])).contains("nobody is told"));
    hub.set("EMAIL_ENABLED", "false");
    assert_eq!(code(&hub.run(&["backup"])), Some(0));
}

#[test]
fn mistakes_about_mail_are_refused_at_start_with_their_place() {
    let source = server().database();
    let templates = tempfile::tempdir().unwrap();
    std::fs::write(templates.path().join("success.txt"), "OK {{ jop }}\n\nx\n").unwrap();
    let directory = templates.path().to_str().unwrap();
    for (set, words) in [
        (
            vec![("ADMIN_EMAILS", "ada@hub.example,ada hub.example")],
            &["variable ADMIN_EMAILS", "ada hub.example"][..],
        ),
        (
            vec![("ADMIN_EMAILS", "a@b.example,A@b.example")],
            &["twice"],
        ),
        (
            vec![("SMTP_SECURITY", "none"), ("SMTP_HOST", "mail.example")],
            &["in the clear"],
        ),
        (vec![("SMTP_FROM", "")], &["email.from", "SMTP_FROM"]),
        (vec![("SMTP_USER", "backup")], &["no password"]),
        (
            vec![("EMAIL_TEMPLATES_DIR", directory)],
            &["success.txt line 1", "docs/mail.md"],
        ),
    ] {
        let mail = MailServer::start(plain());
        let mut hub = mailing(&source, &mail, MailTls::Plain);
        for (name, value) in set {
            hub.set(name, value);
        }
        hub.backup_fails(2, words);
    }
}

#[test]
fn a_template_that_fails_only_when_it_is_used_does_not_lose_the_mail() {
    let mail = MailServer::start(plain());
    let source = server().database();
    source.execute(SMALL);
    let mut hub = mailing(&source, &mail, MailTls::Plain);
    let templates = tempfile::tempdir().unwrap();
    // The sample has a failure, so that only a real success shows the mistake.
    let mistaken = "OK\n\n{{ failure.stage }}\n";
    std::fs::write(templates.path().join("success.txt"), mistaken).unwrap();
    std::fs::write(
        templates.path().join("monday.txt"),
        "Monday of {{ job }}\n\nhello\n",
    )
    .unwrap();
    hub.set("EMAIL_TEMPLATES_DIR", templates.path().to_str().unwrap());
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(3), "{}", stderr(&output));
    let parts = only(&mail);
    assert!(
        text(&parts).contains("this is the built-in one"),
        "{}",
        text(&parts)
    );
    assert_eq!(parts.attachments.len(), 1);
    // A type of the user's own.
    assert_eq!(code(&hub.run(&["mail", "send", "monday"])), Some(0));
    let sent = mail.messages()[1].parts();
    assert!(subject(&sent).starts_with("Monday of "));
    let unknown = hub.run(&["mail", "send", "tuesday"]);
    assert_eq!(code(&unknown), Some(1));
    assert!(stderr(&unknown).contains("monday"), "{}", stderr(&unknown));
}

#[test]
fn a_ping_hears_the_start_and_the_end() {
    let source = server().database();
    source.execute(SMALL);
    let sink = HttpSink::start((0..4).map(|_| Answer::Status(200)));
    let mut hub = Hub::whole(&source);
    hub.set("PING_URL", sink.url("/uuid"));
    hub.backup();
    hub.set("POSTGRES_DB", "no_such_database");
    hub.run(&["backup"]);
    let targets: Vec<String> = sink.requests().iter().map(|r| r.target.clone()).collect();
    assert_eq!(
        targets,
        ["/uuid/start", "/uuid", "/uuid/start", "/uuid/fail"]
    );
}

#[test]
fn a_backup_that_cannot_even_begin_is_told() {
    let mail = MailServer::start(plain());
    let source = server().database();
    let mut hub = hasty(&source, &mail);
    hub.set("BACKUP_DIR", "/dev/null/backups");
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(1));
    let parts = only(&mail);
    assert!(
        text(&parts).contains("/dev/null/backups"),
        "{}",
        text(&parts)
    );
}

#[test]
fn errors_of_a_connection_are_named_apart_with_the_next_step() {
    let mail = MailServer::start(MailServerOptions {
        auth: Some(("backup".into(), PASSWORD.into())),
        ..MailServerOptions::default()
    });
    let source = server().database();
    let test = |set: &[(&str, &str)]| {
        let mut hub = mailing(&source, &mail, MailTls::StartTls);
        hub.write("file = []\n[delivery]\ntries = 1\n");
        for (name, value) in [("SMTP_USER", "backup"), ("SMTP_PASS", PASSWORD)]
            .iter()
            .chain(set)
        {
            hub.set(name, *value);
        }
        let output = hub.run(&["mail", "test"]);
        (code(&output), stderr(&output))
    };
    assert_eq!(test(&[]).0, Some(0));
    for (set, words) in [
        (("SMTP_PASS", "wrong-password"), "SMTP_PASS"),
        (("SMTP_CA_FILE", ""), "ca_file"),
        (
            ("SMTP_HOST", "no-such-host.invalid"),
            "no-such-host.invalid",
        ),
    ] {
        let (code, said) = test(&[set]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("wrong-password"), "{said}");
    }
}
