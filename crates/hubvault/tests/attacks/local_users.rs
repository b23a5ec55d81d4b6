//! Other users of the host: what they put where hubvault reads and writes, and what they may read of it.

use crate::attacker::{attack, attacker, open_directory};
use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{Database, server};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The attacker's user and group.
const NOBODY: u32 = 65_534;

fn hub() -> (Database, Hub) {
    let database = server().database();
    database.execute("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1)");
    let hub = Hub::whole(&database);
    (database, hub)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn both(output: &Output) -> String {
    stdout(output) + &stderr(output)
}

/// A command that must be refused, with a command that fixes what is wrong.
fn refused(hub: &Hub, arguments: &[&str], fix: &str) {
    let output = hub.run(arguments);
    let said = stderr(&output);
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "{arguments:?}: {}",
        both(&output)
    );
    assert!(said.contains(fix), "{arguments:?}: {said}");
}

#[test]
fn state_that_another_user_can_write_is_refused_with_the_command_that_fixes_it() {
    let (_database, hub) = hub();
    let state = hub.backups().join(".hubvault");
    // Made by somebody else before hubvault ever ran.
    fs::create_dir(&state).unwrap();
    chown(&state, Some(NOBODY), Some(NOBODY)).unwrap();
    for arguments in [
        &["backup"][..],
        &["list"],
        &["status"],
        &["check"],
        &["prune"],
        &["token", "create", "ops", "--role", "read"],
        &["token", "list"],
    ] {
        refused(&hub, arguments, "chown -R 0 ");
    }
    hub.nothing_published();
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    chown(&state, Some(0), Some(0)).unwrap();
    hub.backup();
    // Left open, with something in it that is not ours.
    mode(&state, 0o777);
    refused(&hub, &["list"], "run chmod go-w ");
    mode(&state, 0o770);
    chown(&state, None, Some(NOBODY)).unwrap();
    refused(&hub, &["list"], "run chmod go-w ");
    chown(&state, None, Some(0)).unwrap();
    mode(&state, 0o700);
    for name in [
        "overlay.toml",
        "tokens.json",
        "link.key",
        "service.lock",
        "run.lock",
        "progress.json",
    ] {
        let path = state.join(name);
        let kept = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        fs::write(&path, "").unwrap();
        chown(&path, Some(NOBODY), None).unwrap();
        refused(&hub, &["list"], "belongs to user nobody");
        chown(&path, Some(0), None).unwrap();
        mode(&path, 0o602);
        refused(&hub, &["list"], "run chmod go-w ");
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        refused(&hub, &["list"], "run rm ");
        fs::remove_file(&path).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        refused(&hub, &["list"], "run rm ");
        fs::remove_file(&path).unwrap();
        if let Some(kept) = kept {
            fs::write(&path, kept).unwrap();
            mode(&path, 0o600);
        }
    }
    let elsewhere = hub.config().join("elsewhere");
    fs::rename(&state, &elsewhere).unwrap();
    symlink(&elsewhere, &state).unwrap();
    refused(&hub, &["backup"], "is a symbolic link");
    fs::remove_file(&state).unwrap();
    fs::rename(&elsewhere, &state).unwrap();
    hub.backup();
}

#[test]
fn a_configuration_that_another_user_can_write_runs_nothing() {
    let (_database, mut hub) = hub();
    let theirs = open_directory();
    let proof = theirs.path().join("was-here");
    let hook = format!(
        "file = []\n[scope]\ntables = [\"*\"]\n[[hook]]\nstage = \"run\"\nwhen = \"before\"\ncommand = \"id > {}\"\n",
        proof.display()
    );
    let script = format!(
        "mkdir {0}/home && cd {0}/home && cat > hubvault.toml <<'E'\n{hook}\nE\nchmod 644 hubvault.toml",
        theirs.path().display()
    );
    assert!(attack(&script).status.success());
    let home = theirs.path().join("home");
    let here = |hub: &Hub, directory: &Path| {
        let output = hub
            .command(&["backup"])
            .current_dir(directory)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", both(&output));
        assert!(!proof.exists(), "the hook ran");
        stderr(&output)
    };
    let said = here(&hub, &home);
    assert!(
        said.contains("user nobody") && said.contains("chown"),
        "{said}"
    );
    // The file is root's, the directory is not.
    chown(home.join("hubvault.toml"), Some(0), Some(0)).unwrap();
    assert!(here(&hub, &home).contains("may put another file in the place of"));
    // As /tmp is: the file counts.
    assert!(
        attack(&format!(
            "cp {0}/hubvault.toml {1}/",
            home.display(),
            theirs.path().display()
        ))
        .status
        .success()
    );
    here(&hub, theirs.path());
    fs::remove_file(theirs.path().join("hubvault.toml")).unwrap();
    // Their link to a file of root that says something else than it was meant to.
    assert!(
        attack(&format!(
            "ln -s home/hubvault.toml {}/",
            theirs.path().display()
        ))
        .status
        .success()
    );
    here(&hub, theirs.path());
    // A pipe holds nobody up.
    fs::remove_file(theirs.path().join("hubvault.toml")).unwrap();
    assert!(
        attack(&format!("mkfifo {}/hubvault.toml", theirs.path().display()))
            .status
            .success()
    );
    here(&hub, theirs.path());
    // Named, or where it always lies: writable is writable.
    let config = hub.config().join("hubvault.toml");
    hub.write(&hook);
    hub.command(&["list"]);
    for wrong in [0o646, 0o666] {
        mode(&config, wrong);
        let named = hub.run(&["backup", "--config", config.to_str().unwrap()]);
        assert_eq!(named.status.code(), Some(2), "{}", both(&named));
        assert!(
            stderr(&named).contains("run chmod go-w "),
            "{}",
            both(&named)
        );
        refused(&hub, &["backup"], "run chmod go-w ");
    }
    assert!(!proof.exists());
}

#[test]
fn what_a_configuration_includes_is_held_to_the_same() {
    let (_database, mut hub) = hub();
    let secret = hub.config().join("secret");
    fs::write(&secret, "hunter2-hunter2\n").unwrap();
    hub.set("SMTP_PASS_FILE", secret.display().to_string());
    // As Docker and Kubernetes give them.
    mode(&secret, 0o444);
    assert!(hub.run(&["config", "check"]).status.code() != Some(2));
    let data = hub.config().join("..2026");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("secret"), "hunter2-hunter2\n").unwrap();
    fs::remove_file(&secret).unwrap();
    symlink("..2026", hub.config().join("..data")).unwrap();
    symlink("..data/secret", &secret).unwrap();
    assert!(hub.run(&["config", "check"]).status.code() != Some(2));
    mode(&data.join("secret"), 0o666);
    refused(&hub, &["config", "check"], "run chmod go-w ");
    mode(&data.join("secret"), 0o644);
    chown(&data, Some(NOBODY), None).unwrap();
    refused(&hub, &["config", "check"], "may put another file");
    chown(&data, Some(0), None).unwrap();
    for name in ["PGSSLROOTCERT", "PGPASSFILE", "SMTP_CA_FILE"] {
        let (_database, mut hub) = self::hub();
        let file = hub.config().join("file");
        fs::write(&file, "").unwrap();
        chown(&file, Some(NOBODY), None).unwrap();
        hub.set(name, file.display().to_string());
        refused(&hub, &["config", "check"], "belongs to user nobody");
    }
    let recipients = hub.config().join("recipients");
    fs::write(&recipients, "age1x\n").unwrap();
    mode(&recipients, 0o666);
    hub.set("BACKUP_RECIPIENTS", recipients.display().to_string());
    refused(&hub, &["config", "check"], "run chmod go-w ");
}

#[test]
fn latest_and_ids_never_mean_a_file_that_lies_where_somebody_works() {
    let (_database, hub) = hub();
    let (record, archive) = hub.backup();
    let theirs = open_directory();
    let short = &record["id"].as_str().unwrap()[..8];
    let name = archive.file_name().unwrap().to_str().unwrap();
    for trap in ["latest", short, name] {
        assert!(
            attack(&format!("echo trap > {}/{trap}", theirs.path().display()))
                .status
                .success()
        );
        for command in ["show", "verify"] {
            let output = hub
                .command(&[command, trap])
                .current_dir(theirs.path())
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{command} {trap}: {}",
                both(&output)
            );
        }
    }
    let here = hub
        .command(&["show", "./latest"])
        .current_dir(theirs.path())
        .output()
        .unwrap();
    assert_eq!(here.status.code(), Some(1), "{}", both(&here));
}

#[test]
fn nothing_that_lies_in_an_open_backup_directory_is_followed_or_waited_for() {
    let (_database, mut hub) = hub();
    let shared = open_directory();
    let victim = hub.config().join("victim");
    fs::write(&victim, "precious").unwrap();
    mode(&victim, 0o644);
    hub.set("BACKUP_DIR", shared.path().display().to_string());
    let (at, victim_at) = (shared.path().display(), victim.display());
    let plant = format!(
        "cd {at} && for name in .last_backup_success .last_backup_size_mb; do ln -s {victim_at} $name.new; mkdir $name; \
         done; mkdir -p .critical_backup_20260101_000000.tar.gz.partial/full; \
         ln -s {victim_at} .critical_backup_20260101_000001.tar.gz.partial; \
         mkfifo critical_backup_20260101_000002.tar.gz critical_backup_20260101_000002.tar.gz.manifest.json \
         critical_backup_20260101_000003.tar.gz.manifest.new; \
         ln -s /dev/zero critical_backup_20260101_000004.tar.gz.manifest.json"
    );
    assert!(attack(&plant).status.success());
    let begun = Instant::now();
    let (_, archive) = hub.backup();
    for arguments in [
        &["list"][..],
        &["status"],
        &["check"],
        &["verify"],
        &["prune"],
    ] {
        let output = hub.run(arguments);
        assert!(
            matches!(output.status.code(), Some(0 | 1 | 3)),
            "{arguments:?}: {}",
            both(&output)
        );
    }
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "something was waited for"
    );
    assert!(archive.is_file());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    let mark = fs::symlink_metadata(shared.path().join(".last_backup_success")).unwrap();
    assert!(mark.is_file() && mark.uid() == 0, "{mark:?}");
    // A log where others may write.
    let log = shared.path().join("hubvault.log");
    for trap in [
        format!("ln -s {victim_at} {0}", log.display()),
        format!("mkfifo {}", log.display()),
    ] {
        assert!(attack(&trap).status.success());
        hub.set("LOG_FILE", log.display().to_string());
        let output = hub.run(&["prune"]);
        assert!(
            stderr(&output).contains("is not written"),
            "{}",
            both(&output)
        );
        fs::remove_file(&log).unwrap();
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

/// What forges a line, clears a screen, or turns the direction of writing.
const FORGED: &str = "x\nerror: forged\n2026-01-01T00:00:00Z  INFO forged\r\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{202e}\u{2028}\u{7f}";

fn shows_no_control(text: &str, of: &str) {
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
fn no_name_and_no_error_of_the_server_forges_a_line_of_a_terminal_or_a_log() {
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
            shows_no_control(&both(&output), &format!("{arguments:?} {format}"));
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
    let output = hub.run(&["backup"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(
        both(&output).contains(r"x\nerror: forged"),
        "{}",
        both(&output)
    );
    for arguments in [
        &["backup"][..],
        &["list"],
        &["status"],
        &["check"],
        &["backup", "--dry-run"],
    ] {
        shows_no_control(
            &both(&hub.run(arguments)),
            &format!("{arguments:?} of a failure"),
        );
    }
    shows_no_control(&fs::read_to_string(&log).unwrap(), "the log");
    let logs = hub.backups().join(".hubvault/logs");
    for entry in fs::read_dir(logs).unwrap() {
        shows_no_control(
            &fs::read_to_string(entry.unwrap().path()).unwrap(),
            "a run's log",
        );
    }
}

#[test]
fn a_command_is_named_and_its_arguments_are_nowhere() {
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
        assert!(output.status.code() != Some(2), "{}", both(&output));
        assert!(
            !both(&output).contains(secret),
            "{arguments:?}: {}",
            both(&output)
        );
        said += &both(&output);
    }
    assert!(said.contains("the command sh ..."), "{said}");
    let leaks = Command::new("grep")
        .args(["-rlaF", secret])
        .arg(hub.backups())
        .output()
        .unwrap();
    assert_eq!(stdout(&leaks), "", "it is in these files");
}

/// Waits until a file is there.
fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{} is not there",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A run that waits in a hook until `go` is there.
fn waiting(hub: &mut Hub) -> (std::path::PathBuf, std::path::PathBuf) {
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
fn a_run_outlives_sighup_and_its_terminal() {
    let (_database, mut hub) = hub();
    hub.set("PROOF", "always");
    let (here, go) = waiting(&mut hub);
    // On a terminal of its own, which is lost.
    let line = hub.command(&["backup"]);
    let mut shell = format!("exec {}", line.get_program().display());
    shell += " backup";
    let mut command = Command::new("script");
    command
        .args(["-qec", &shell, "/dev/null"])
        .env_clear()
        .envs(
            line.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(hub.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0);
    let mut terminal = command.spawn().unwrap();
    wait_for(&here);
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
    let begun = Instant::now();
    while Path::new(&format!("/proc/{process}")).exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it hangs");
        std::thread::sleep(Duration::from_millis(20));
    }
    let listed = hub.run(&["list", "--json"]);
    let records: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(records[0]["state"], "proven", "{records}");
    assert_eq!(records.as_array().unwrap().len(), 1);
}

#[test]
fn a_backup_whose_outputs_nobody_takes_is_published_all_the_same() {
    let (_database, hub) = hub();
    let mut shell = Command::new("sh");
    let line = hub.command(&["backup"]);
    // Nobody reads the pipe on standard output or standard error.
    let (out, err) = (std::io::pipe().unwrap().1, std::io::pipe().unwrap().1);
    shell
        .args(["-c", "exec \"$0\" backup"])
        .arg(line.get_program())
        .env_clear()
        .envs(
            line.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(hub.config())
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
fn nobody_of_the_same_user_reads_memory_and_environment() {
    let (_database, mut hub) = hub();
    let (here, go) = waiting(&mut hub);
    // Whoever runs hubvault and whoever looks are one user: that of the server, whose socket is its own.
    let ids = |flag: &str| -> u32 {
        let output = Command::new("id")
            .args([flag, "postgres"])
            .output()
            .unwrap();
        stdout(&output).trim().parse().unwrap()
    };
    let (user, group) = (ids("-u"), ids("-g"));
    let line = hub.command(&["backup"]);
    for path in [
        hub.config(),
        hub.config().join("hubvault.toml"),
        hub.backups(),
        hub.config().parent().unwrap().to_owned(),
    ] {
        chown(&path, Some(user), Some(group)).unwrap();
    }
    let said = fs::File::create(hub.config().join("said")).unwrap();
    let mut run = attacker(line.get_program().to_str().unwrap())
        .uid(user)
        .gid(group)
        .args(line.get_args())
        .env_clear()
        .envs(
            line.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("SMTP_PASS", "s3cr3t-of-the-mail")
        .current_dir(hub.config())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap();
    wait_for(&here);
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
