//! No secret of the configuration is in anything that leaves the process: arguments, the environment of programs that
//! do not need it, logs, mails, messages, archives, sidecars, the catalog, files left behind, a core file.

use crate::clock::Clock;
use crate::drill::drilling;
use crate::hub::{Hub, stderr, stdout};
use crate::keys::{Pair, open_with_age};
use crate::mailing::{html, send_mail_to, text};
use crate::process_observer::{ProcessObserver, Processes};
use crate::service_process::{ServiceProcess, runs, wait_for_runs};
use base64::prelude::{BASE64_STANDARD, Engine};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{
    Answer, Database, HttpSink, MailServer, MailServerOptions, MailTls, USERS, contains_bytes,
    database_with, server,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A value for each secret of the configuration; quotes and backslashes are written in other ways in JSON.
fn secrets(database: &Database, sink: &HttpSink) -> Vec<(&'static str, String)> {
    let settings = database.settings();
    let proof = server_url(&settings, "postgres", "proof-secret-9");
    vec![
        ("SMTP_PASS", "mail\"er\\secret-0".to_owned()),
        ("POSTGRES_PASSWORD", "postgres-secret-1".to_owned()),
        ("WEBHOOK_URL", sink.url("/webhook-secret-2")),
        ("WEBHOOK_SECRET", "web\\hook\"secret-3".to_owned()),
        ("SLACK_WEBHOOK_URL", sink.url("/slack-secret-4")),
        ("NTFY_URL", sink.url("/ntfy-secret-5")),
        ("NTFY_TOKEN", "ntfy-secret-6".to_owned()),
        ("DISCORD_WEBHOOK_URL", sink.url("/discord-secret-10")),
        ("TEAMS_WEBHOOK_URL", sink.url("/teams-secret-11")),
        ("PING_URL", sink.url("/ping-secret-7")),
        ("MONITOR_PING_URL", sink.url("/monitor-secret-8")),
        ("PROOF_SERVER", proof),
    ]
}

fn server_url(of: &ConnectSettings, database: &str, password: &str) -> String {
    let host = of.host.replace('/', "%2F");
    format!(
        "postgres://{}:{password}@{host}:{}/{database}",
        of.user, of.port
    )
}

/// What of a value nobody may see, in every way that it could be written.
fn encodings(value: &str) -> Vec<String> {
    let secret = value.rsplit_once("://").map_or(value, |(_, rest)| {
        let (login, _) = rest.split_once('@').unwrap_or((rest, ""));
        login.rsplit(['/', ':']).next().unwrap()
    });
    let json = serde_json::to_string(secret).unwrap();
    let percent: String = secret
        .bytes()
        .map(|byte| match byte {
            b'-' | b'0'..=b'9' | b'a'..=b'z' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let mut forms = vec![
        secret.to_owned(),
        json[1..json.len() - 1].to_owned(),
        percent,
    ];
    // In the middle of something that was encoded it begins at any of three places.
    for before in 0..3 {
        let encoded = BASE64_STANDARD.encode([&b"xx"[..before], secret.as_bytes()].concat());
        let inner = encoded.trim_end_matches('=');
        forms.push(inner[4 * before.min(1)..inner.len() - 2].to_owned());
    }
    forms
}

/// What is to be searched, with what it is.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn add(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((what.into(), bytes.into()));
    }

    fn directory(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.directory(&path);
            } else if path.is_file() {
                self.add(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }

    fn mails(&mut self, mail: &MailServer) {
        for message in mail.messages() {
            let parts = message.parts();
            self.add("a mail", format!("{}{}", text(&parts), html(&parts)));
            for attached in &parts.attachments {
                self.add("an attachment", attached.bytes.clone());
                if attached.name.ends_with(".tar.gz") {
                    self.add("an attached archive", unpacked(&attached.bytes));
                }
            }
            self.add("a mail's source", message.raw);
        }
    }

    fn messages(&mut self, sink: &HttpSink) {
        for request in sink.requests() {
            self.add("the body of a message", request.body);
        }
    }

    /// Fails when a secret is in anything.
    fn assert_no_secret(&self, secrets: &[(&str, String)]) {
        for (name, value) in secrets {
            for form in encodings(value) {
                for (what, bytes) in &self.0 {
                    let found = contains_bytes(bytes, form.as_bytes());
                    assert!(
                        !found,
                        "{name} is in {what} as {form}: {}",
                        String::from_utf8_lossy(bytes)
                    );
                }
            }
        }
    }
}

/// Everything in an archive, one file after the other.
fn unpacked(archive: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive.tar.gz");
    fs::write(&file, archive).unwrap();
    let output = Command::new("tar")
        .arg("-xOzf")
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Adds what may not hold a secret: all arguments, and the environments of PostgreSQL's programs.
fn search(processes: Processes, seen: &mut Seen, expected: &[&str]) {
    for arguments in processes.arguments {
        seen.add("arguments", arguments);
    }
    for program in expected {
        assert!(
            processes.environments.contains_key(*program),
            "{program} was not seen"
        );
    }
    for (program, environments) in processes.environments {
        // Hubvault's own, and the user's commands, which have it by intention.
        if ["hubvault", "sh", "dash", "bash", "sleep", "cat"].contains(&program.as_str()) {
            continue;
        }
        for environment in environments {
            // How to log in, for the program that does (on Debian a script finds the newest one).
            let told = ["postgres-secret-1", "proof-secret-9", "url-secret-10"]
                .map(|password| format!("PGPASSWORD={password}"));
            let is_told = |line: &&str| {
                (program.starts_with("pg_") || program == "perl")
                    && told.iter().any(|told| told == line)
            };
            let others: Vec<_> = environment.lines().filter(|line| !is_told(line)).collect();
            seen.add(format!("the environment of {program}"), others.join("\n"));
        }
    }
}

const SCOPE: &str = "[scope]\ntables = [\"*\", \"gone\"]\nwindow = []\n[delivery]\ntries = 1\n\
    [[source]]\nname = \"a.txt\"\ncommand = \"echo text\"\n\
    [[hook]]\nstage = \"files\"\nwhen = \"after\"\ncommand = \"printf '%s, ' \\\"$SMTP_PASS\\\" \
    \\\"$WEBHOOK_SECRET\\\" \\\"$NTFY_URL\\\"; exit 3\"\non_failure = \"warn\"\n";

fn start_mail_server() -> MailServer {
    MailServer::start(MailServerOptions {
        auth: Some(("backup".into(), "mail\"er\\secret-0".into())),
        refuse: vec!["grace@hub.example".into()],
        ..MailServerOptions::default()
    })
}

/// Runs a command under a watch.
fn observe_command(
    hub: &Hub,
    arguments: &[&str],
    seen: &mut Seen,
    expected: &[&str],
) -> Option<i32> {
    let child = hub
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let watch = ProcessObserver::of(child.id());
    let output = child.wait_with_output().unwrap();
    search(watch.end(), seen, expected);
    seen.add(arguments.join(" "), stdout(&output) + &stderr(&output));
    output.status.code()
}

#[test]
fn a_run_never_passes_writes_or_sends_a_secret() {
    let mail = start_mail_server();
    let sink = HttpSink::start((0..8).map(|_| Answer::Status(500)));
    let source = database_with(USERS);
    for (log_format, elsewhere) in [("json", false), ("text", true)] {
        let (mut hub, drills) = drilling(&source);
        send_mail_to(&mut hub, &mail, MailTls::StartTls);
        hub.write(&format!("file = []\n{SCOPE}"));
        hub.set("SMTP_USER", "backup");
        let mut secrets = secrets(&source, &sink);
        secrets.retain(|(name, _)| *name != "PROOF_SERVER" || elsewhere);
        for (name, value) in &secrets {
            hub.set(name, value.clone());
        }
        hub.set("LOG_LEVEL", "trace");
        hub.set("LOG_FORMAT", log_format);
        hub.set(
            "LOG_FILE",
            hub.config().join("hubvault.log").display().to_string(),
        );
        let mut seen = Seen::default();
        let server = if elsewhere {
            &["pg_dump"][..]
        } else {
            &["pg_dump", "postgres"]
        };
        assert_eq!(
            observe_command(&hub, &["backup"], &mut seen, server),
            Some(3)
        );
        let said = String::from_utf8_lossy(&seen.0.last().unwrap().1).into_owned();
        assert!(said.contains("***, ***, ***"), "the hook's output: {said}");
        for arguments in [
            &["status"][..],
            &["check"],
            &["mail", "outbox", "--json"],
            &["mail", "retry"],
            &["config", "show"],
            &["doctor"],
            &["doctor", "--json"],
            &["show", "latest"],
            &["verify", "latest", "--drill"],
        ] {
            observe_command(&hub, arguments, &mut seen, &[]);
        }
        let target = server_of_a_restore(&source, &hub, &mut seen);
        assert_eq!(source.digests(), target.digests());
        let archive = PathBuf::from(runs(&hub)[0]["file"].as_str().unwrap());
        seen.add("the archive", unpacked(&fs::read(archive).unwrap()));
        seen.mails(&mail);
        seen.messages(&sink);
        seen.directory(&hub.backups());
        seen.directory(&hub.config());
        seen.directory(drills.path());
        assert!(seen.0.len() > 30);
        seen.assert_no_secret(&secrets);
    }
}

/// Restores the newest archive into a new database, whose address is given with a password.
fn server_of_a_restore(source: &Database, hub: &Hub, seen: &mut Seen) -> Database {
    let target = server().database();
    let words = ["restore", "latest", "--database", target.name()];
    let code = observe_command(hub, &words, seen, &["pg_restore"]);
    assert_eq!(
        code,
        Some(0),
        "{:?}",
        seen.0.last().map(|(_, said)| String::from_utf8_lossy(said))
    );
    assert_ne!(source.name(), target.name());
    target
}

#[test]
fn a_service_never_passes_writes_or_sends_a_secret() {
    let mail = start_mail_server();
    let sink = HttpSink::start([]);
    let source = database_with(USERS);
    let (mut hub, drills) = drilling(&source);
    send_mail_to(&mut hub, &mail, MailTls::StartTls);
    // The whole address as one secret, in the file, and an archive that only a key opens.
    let url = server_url(&source.settings(), source.name(), "url-secret-10");
    hub.write(&format!(
        "file = []\ndatabase.url = {url:?}\n{SCOPE}[schedule]\ncron = \"30 2 * * *\"\ntimezone = \"UTC\"\n\
         [monitor]\ninterval = \"1 s\"\n"
    ));
    for name in [
        "POSTGRES_HOST",
        "POSTGRES_PORT",
        "POSTGRES_USER",
        "POSTGRES_DB",
    ] {
        hub.set(name, "");
    }
    hub.set("SMTP_USER", "backup");
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    hub.set("BACKUP_RECIPIENTS", &alice.public);
    let mut secrets = secrets(&source, &sink);
    secrets.retain(|(name, _)| !["PROOF_SERVER", "POSTGRES_PASSWORD"].contains(name));
    for (name, value) in &secrets {
        hub.set(name, value.clone());
    }
    secrets.push(("database.url", url));
    hub.set("LOG_LEVEL", "trace");
    let clock = Clock::of(&mut hub, "2040-03-21T12:00:00Z");
    let mut service = ServiceProcess::start(&hub);
    service.wait_for_log("next run at 2040-03-22 02:30:00", 1);
    let limits = fs::read_to_string(format!("/proc/{}/limits", service.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let soft = core.unwrap().split_whitespace().nth(4);
    assert_eq!(soft, Some("0"), "a crash would leave a core file: {core:?}");
    let watch = ProcessObserver::of(service.id());
    clock.set("2040-03-22T02:29:59Z");
    let runs = wait_for_runs(&hub, &service, 1);
    assert_eq!(runs[0]["state"], "proven", "{}", service.log());
    let mut seen = Seen::default();
    assert_eq!(service.stop(), Some(0));
    search(watch.end(), &mut seen, &["hubvault", "pg_dump", "postgres"]);
    let archive = PathBuf::from(runs[0]["file"].as_str().unwrap());
    let opened = tempfile::tempdir().unwrap();
    open_with_age(&alice, &archive, "-xz", opened.path());
    seen.directory(opened.path());
    seen.mails(&mail);
    seen.messages(&sink);
    seen.directory(&hub.backups());
    seen.directory(drills.path());
    seen.add("the service's log", service.log());
    assert!(service.log().contains("***, ***, ***"), "{}", service.log());
    seen.assert_no_secret(&secrets);
}
