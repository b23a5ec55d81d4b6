//! A server that is not there yet, and one that never answers.

use crate::hub::{Hub, stderr};
use hubvault_testkit::{RestartingServer, Shutdown, server, wait_for};
use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Stdio};

/// A backup whose log is a file.
struct Started {
    child: Child,
    log: std::path::PathBuf,
}

impl Started {
    fn new(hub: &Hub, arguments: &[&str]) -> Self {
        let log = hub.config().join("log");
        let child = hub
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn waits_for(&self, words: &str) {
        wait_for(|| self.log().contains(words), || self.log());
    }

    fn code(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.log())
    }
}

const WHOLE: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n";

#[test]
fn a_server_that_is_restarted_is_waited_for() {
    let restarted = RestartingServer::like(&server());
    let mut hub = Hub::at(&restarted.settings(), WHOLE);
    let mut admin =
        hubvault_postgres::Session::connect(&restarted.settings(), &hubvault_model::Cancel::new())
            .unwrap();
    admin
        .simple(
            "preparing a test",
            "CREATE TABLE public.users AS SELECT 1 AS id",
        )
        .unwrap();
    drop(admin);
    restarted.stop(Shutdown::Fast);
    hub.set("BACKUP_CONNECT_ATTEMPTS", "100");
    let backup = Started::new(&hub, &["backup", "--no-progress"]);
    backup.waits_for("attempt 2 of 100 in 1 s");
    restarted.start();
    let (code, log) = backup.code();
    assert_eq!(code, Some(3), "{log}");
    hub.set("BACKUP_CONNECT_ATTEMPTS", "2");
    restarted.stop(Shutdown::Fast);
    let output = hub.run_expecting(1, &["backup"]);
    let said = stderr(&output);
    assert!(said.contains("; tried 2 times within "), "{said}");
    // A look does not wait in silence either.
    let output = hub.run_expecting(1, &["backup", "--dry-run"]);
    assert!(stderr(&output).contains("attempt 2 of 2 in 1 s"));
}

#[test]
fn a_stop_request_ends_the_waiting_for_a_server() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = hubvault_postgres::ConnectSettings {
        host: "127.0.0.1".to_owned(),
        port: free.local_addr().unwrap().port(),
        ..hubvault_postgres::ConnectSettings::default()
    };
    drop(free);
    let mut hub = Hub::at(&nobody, WHOLE);
    hub.set("BACKUP_CONNECT_ATTEMPTS", "100");
    let backup = Started::new(&hub, &["backup", "--no-progress"]);
    // The last pause of all is 15 s.
    backup.waits_for("attempt 4 of 100 in 4 s");
    let pid = rustix::process::Pid::from_raw(backup.child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, log) = backup.code();
    assert_eq!(code, Some(130), "{log}");
    assert!(log.contains("stopped on request"), "{log}");
    assert!(!log.contains("attempt 5"), "{log}");
    assert!(!log.contains("did not answer"), "nothing hung: {log}");
}

#[test]
fn a_server_that_never_answers_the_login_holds_up_no_run() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = hubvault_postgres::ConnectSettings {
        host: "127.0.0.1".to_owned(),
        port: silent.local_addr().unwrap().port(),
        ..hubvault_postgres::ConnectSettings::default()
    };
    for sslmode in ["disable", "prefer", "require"] {
        let mut hub = Hub::at(&settings, WHOLE);
        hub.set("PGCONNECT_TIMEOUT", "200ms");
        hub.set("PGSSLMODE", sslmode);
        hub.backup_fails(1, &["the server did not answer the login within 0.6 s"]);
    }
}

#[test]
fn a_first_run_that_reaches_no_database_creates_no_directory() {
    let database = hubvault_testkit::database_with("CREATE TABLE users AS SELECT 1 AS id");
    let mail = hubvault_testkit::MailServer::start(crate::mailing::without_tls());
    let mut hub = crate::mailing::mailing(&database, &mail, hubvault_testkit::MailTls::Plain);
    hub.set("POSTGRES_PORT", "1");
    std::fs::remove_dir(hub.backups()).unwrap();
    let output = hub.run_expecting(1, &["backup"]);
    assert!(
        stderr(&output).contains("connecting to"),
        "{}",
        stderr(&output)
    );
    assert!(!hub.backups().exists());
    let told = mail.messages();
    assert_eq!(told.len(), 1, "the failure is mailed all the same");
    hub.set("POSTGRES_PORT", database.settings().port.to_string());
    hub.set("EMAIL_ENABLED", "false");
    hub.run(&["backup"]);
    assert!(hub.backups().is_dir());
}

#[test]
fn moments_are_in_the_zone_of_the_archives_names() {
    let database = hubvault_testkit::database_with("CREATE TABLE users AS SELECT 1 AS id");
    let mut hub = Hub::whole(&database);
    hub.set("TZ", "Pacific/Kiritimati");
    let (_, archive) = hub.backup();
    let name = archive.file_name().unwrap().to_str().unwrap();
    // critical_backup_20260131_160000.tar.gz
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    let moment = digits(name);
    for arguments in [
        ["list", "--limit", "1"],
        ["prune", "--dry-run", "--after-failed-run"],
    ] {
        let shown = crate::hub::stdout(&hub.run(&arguments));
        assert!(shown.contains("(Pacific/Kiritimati)"), "{shown}");
        assert!(
            digits(&shown).contains(&moment),
            "{moment} is not in {shown}"
        );
    }
}
