//! Output, arguments and memory that other users or terminals see; the loss of a terminal.

use crate::attacker::attacker;
use crate::hub::{HUBVAULT, Hub, stderr, stdout};
use crate::local_users::{hub, output_text};
use base64::Engine;
use hubvault_testkit::{server, wait_for};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// What forges a line, clears a screen, or turns the direction of writing.
const FORGED: &str = "x\nerror: forged\n2026-01-01T00:00:00Z  INFO forged\r\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{202e}\u{2028}\u{7f}";

fn assert_no_control_characters(text: &str, of: &str) {
    let hostile = |c: char| {
        c.is_control() && !"\n\t".contains(c) || "\u{202e}\u{2028}\u{2066}\u{200f}".contains(c)
    };
    assert!(!text.contains(hostile), "{of}: {text:?}");
    let forged = text.lines().find(|line| {
        let line = line.trim_start_matches(|c| " !|".contains(c));
        line.starts_with("error: forged") || line.starts_with("2026-01-01T00:00:00Z")
    });
    assert_eq!(forged, None, "{of}: {text:?}");
}

#[test]
fn names_and_server_errors_cannot_forge_terminal_or_log_lines() {
    let database = server().database();
    let name = FORGED.replace('\'', "''");
    database.execute(&format!(
        "CREATE TABLE \"{FORGED}\" (id int PRIMARY KEY); INSERT INTO \"{FORGED}\" VALUES (1); \
         CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1)"
    ));
    let mut hub = Hub::whole(&database);
    let log = hub.config().join("log");
    hub.set("LOG_FILE", log.display().to_string());
    for format in ["text", "json"] {
        hub.set("LOG_FORMAT", format);
        for arguments in [
            &["backup", "--dry-run"][..],
            &["backup"],
            &["list"],
            &["show", "latest"],
            &["status"],
            &["check"],
            &["diff", "latest"],
            &["diff", "latest", "--csv"],
            &["backup", "--json"],
            &["show", "latest", "--json"],
        ] {
            let output = hub.run(arguments);
            assert_no_control_characters(&output_text(&output), &format!("{arguments:?} {format}"));
        }
    }
    // What the server says of a failure is the owner's, too.
    database.execute(&format!(
        "CREATE FUNCTION hostile() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', '{name}' USING DETAIL = \
         '{name}', HINT = '{name}'; END $$; CREATE VIEW broken AS SELECT hostile() AS id; \
         ALTER TABLE users ADD COLUMN at timestamptz DEFAULT now()"
    ));
    hub.write(
        "file = []\n[scope]\ntables = []\n[[scope.window]]\ntables = [\"users\"]\nwhere = \"public.hostile() > 0\"\n",
    );
    let output = hub.run_expecting(1, &["backup"]);
    assert!(
        output_text(&output).contains(r"x\nerror: forged"),
        "{}",
        output_text(&output)
    );
    for arguments in [
        &["backup"][..],
        &["list"],
        &["status"],
        &["check"],
        &["backup", "--dry-run"],
    ] {
        assert_no_control_characters(
            &output_text(&hub.run(arguments)),
            &format!("{arguments:?} of a failure"),
        );
    }
    assert_no_control_characters(&fs::read_to_string(&log).unwrap(), "the log");
    let logs = hub.backups().join(".hubvault/logs");
    for entry in fs::read_dir(logs).unwrap() {
        assert_no_control_characters(
            &fs::read_to_string(entry.unwrap().path()).unwrap(),
            "a run's log",
        );
    }
}

#[test]
fn commands_are_named_without_their_arguments() {
    let (_database, mut hub) = hub();
    let secret = "s3cr3t-of-the-source";
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\n[[source]]\nname = \"one\"\ncommand = \"PW={secret} sh -c 'echo data'\"\n\
         [[source]]\nname = \"two\"\nrequired = false\ncommand = [\"sh\", \"-xc\", \"echo --token={secret} >&2; false\"]\n\
         [[hook]]\nstage = \"run\"\nwhen = \"before\"\non_failure = \"warn\"\ncommand = \"echo {secret} >/dev/null; false\"\n\
         [[check]]\nname = \"mine\"\ncommand = \"curl -u me:{secret} file:///nowhere; false\"\n"
    ));
    let mut said = String::new();
    for arguments in [
        &["backup", "--json"][..],
        &["backup", "--dry-run"],
        &["backup", "--dry-run", "--json"],
        &["list", "--json"],
        &["show", "latest"],
        &["show", "latest", "--json"],
        &["check"],
        &["config", "show"],
        &["config", "show", "--json"],
    ] {
        let output = hub.run(arguments);
        assert!(output.status.code() != Some(2), "{}", output_text(&output));
        assert!(
            !output_text(&output).contains(secret),
            "{arguments:?}: {}",
            output_text(&output)
        );
        said += &output_text(&output);
    }
    assert!(said.contains("the command sh ..."), "{said}");
    let leaks = Command::new("grep")
        .args(["-rlaF", secret])
        .arg(hub.backups())
        .output()
        .unwrap();
    assert_eq!(stdout(&leaks), "", "it is in these files");
}

/// A mail server that repeats the login it was given, over two lines of its refusal; and sends it back in hexadecimal
/// digits and as a URL has it.
fn server_that_repeats(listener: &TcpListener) {
    let (stream, _) = listener.accept().unwrap();
    let mut out = stream.try_clone().unwrap();
    out.write_all(b"220 hub\r\n").unwrap();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        let reply = match line.split_once(' ') {
            Some(("EHLO", _)) => "250-hub\r\n250 AUTH PLAIN LOGIN\r\n".to_owned(),
            Some(("AUTH", login)) => {
                let (first, rest) = login.split_at(login.len() - 11);
                let hex = bytes(PASSWORD, |byte| format!("{byte:02X}"));
                let url = bytes(PASSWORD, |byte| format!("%{byte:02x}"));
                format!(
                    "535-5.7.8 AUTH {login} \u{1b}[2J is wrong\r\n535-{first}\r\n535-{rest}\r\n535-{hex}\r\n535 {url}\r\n"
                )
            }
            _ => "221 bye\r\n".to_owned(),
        };
        if out.write_all(reply.as_bytes()).is_err() || reply.starts_with("221") {
            return;
        }
    }
}

/// Every byte of a text in another form.
fn bytes(text: &str, form: impl Fn(u8) -> String) -> String {
    let all: Vec<String> = text.bytes().map(form).collect();
    all.concat()
}

const PASSWORD: &str = "c0rrect-horse/battery+staple";

#[test]
fn a_login_repeated_by_the_mail_server_is_never_shown() {
    let (_database, mut hub) = hub();
    for user in ["u", "us", "use"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let log = hub.config().join("log");
        for (name, value) in [
            ("EMAIL_ENABLED", "true"),
            ("SMTP_HOST", "127.0.0.1"),
            ("SMTP_PORT", &port),
            ("SMTP_SECURITY", "none"),
            ("SMTP_USER", user),
            ("SMTP_PASS", PASSWORD),
            ("SMTP_FROM", "hub@example.org"),
            ("ADMIN_EMAILS", "ops@example.org"),
            ("LOG_LEVEL", "trace"),
            ("LOG_FILE", log.to_str().unwrap()),
        ] {
            hub.set(name, value);
        }
        let server = std::thread::spawn(move || server_that_repeats(&listener));
        let output = hub.run(&["mail", "test"]);
        server.join().unwrap();
        let plain =
            base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
        let hex = bytes(PASSWORD, |byte| format!("{byte:02X}"));
        let outbox = hub.run(&["mail", "retry", "--dry-run"]);
        let said =
            output_text(&output) + &output_text(&outbox) + &fs::read_to_string(&log).unwrap();
        assert!(said.contains("535 5.7.8 AUTH"), "{said}");
        for secret in [
            PASSWORD,
            &plain[8..],
            &plain[plain.len() - 12..],
            &hex[4..20],
            "%72%72%65%63%74",
        ] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
        assert_no_control_characters(&said, "what a mail server says");
    }
}

/// A run that waits in a hook until `go` is there.
fn run_that_waits(hub: &mut Hub) -> (std::path::PathBuf, std::path::PathBuf) {
    let (here, go) = (hub.config().join("here"), hub.config().join("go"));
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\n[[hook]]\nstage = \"export\"\nwhen = \"before\"\n\
         command = \"touch {}; while [ ! -e {} ]; do sleep 0.05; done\"\n",
        here.display(),
        go.display()
    ));
    (here, go)
}

#[test]
fn a_run_survives_sighup_and_the_loss_of_its_terminal() {
    let (_database, mut hub) = hub();
    hub.set("PROOF", "always");
    let (here, go) = run_that_waits(&mut hub);
    // On a terminal of its own, which is lost.
    let mut command = hub.command_of("script");
    command
        .args(["-qec", &format!("exec {HUBVAULT} backup"), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0);
    let mut terminal = command.spawn().unwrap();
    wait_for(|| here.exists(), || "the hook".to_owned());
    let lock = fs::read_to_string(hub.backups().join(".hubvault/run.lock")).unwrap();
    let process = lock
        .split("process ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert!(
        Command::new("kill")
            .args(["-HUP", &process])
            .status()
            .unwrap()
            .success()
    );
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    fs::write(&go, "").unwrap();
    wait_for(
        || !Path::new(&format!("/proc/{process}")).exists(),
        || "the end of the run".to_owned(),
    );
    let listed = hub.run(&["list", "--json"]);
    let records: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(records[0]["state"], "proven", "{records}");
    assert_eq!(records.as_array().unwrap().len(), 1);
}

#[test]
fn a_backup_with_closed_outputs_is_still_published() {
    let (_database, hub) = hub();
    let mut shell = hub.command_of("sh");
    // Nobody reads the pipe on standard output or standard error.
    let (out, err) = (std::io::pipe().unwrap().1, std::io::pipe().unwrap().1);
    shell
        .args(["-c", "exec \"$0\" backup", HUBVAULT])
        .stdout(out)
        .stderr(err);
    let status = shell.status().unwrap();
    assert!(
        matches!(status.code(), Some(0 | 3)),
        "{status:?} {:?}",
        status.signal()
    );
    let full = Stdio::from(
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap(),
    );
    let mut command = hub.command(&["backup"]);
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(stdout(&hub.run(&["list"])).lines().count(), 3);
}

#[test]
fn other_processes_of_the_same_user_cannot_read_memory_or_environment() {
    let (_database, mut hub) = hub();
    let (here, go) = run_that_waits(&mut hub);
    // Whoever runs hubvault and whoever looks are one user: that of the server, whose socket is its own.
    let ids = |flag: &str| -> u32 {
        let output = Command::new("id")
            .args([flag, "postgres"])
            .output()
            .unwrap();
        stdout(&output).trim().parse().unwrap()
    };
    let (user, group) = (ids("-u"), ids("-g"));
    let mut run = hub.command(&["backup"]);
    for path in [
        hub.config(),
        hub.config().join("hubvault.toml"),
        hub.backups(),
        hub.config().parent().unwrap().to_owned(),
    ] {
        chown(&path, Some(user), Some(group)).unwrap();
    }
    let said = fs::File::create(hub.config().join("said")).unwrap();
    let mut run = run
        .uid(user)
        .gid(group)
        .env("SMTP_PASS", "s3cr3t-of-the-mail")
        .current_dir(hub.config())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap();
    wait_for(|| here.exists(), || "the hook".to_owned());
    let script = format!(
        "cat /proc/{0}/environ; head -c1 /proc/{0}/mem; cat /proc/{0}/maps; ls /proc/{0}/fd",
        run.id()
    );
    let read = attacker("sh")
        .uid(user)
        .gid(group)
        .args(["-c", &script])
        .output()
        .unwrap();
    fs::write(&go, "").unwrap();
    let status = run.wait().unwrap();
    let said = fs::read_to_string(hub.config().join("said")).unwrap();
    assert!(matches!(status.code(), Some(0 | 3)), "{status:?}: {said}");
    assert_eq!(stdout(&read), "", "{}", stderr(&read));
}
