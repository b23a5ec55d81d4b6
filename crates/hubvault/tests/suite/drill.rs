//! A backup counts once it was restored; what does not come back is never published.

use crate::hub::{Hub, archives_and_partials, stderr, stdout};
use hubvault_archive::{
    Archive, ArchiveWriter, Compression, EntryBuilder, EntryKind, EntryMeta, Identities, Manifest,
};
use hubvault_model::{RowDigester, RowFormat};
use hubvault_testkit::{Database, NASTY, server};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SMALL: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1000) n; ANALYZE;";

/// A hub whose drills happen in a directory of their own.
pub(crate) fn drilling(database: &Database) -> (Hub, tempfile::TempDir) {
    let directory = tempfile::Builder::new()
        .prefix("hv")
        .tempdir_in("/tmp")
        .unwrap();
    open_to_all(directory.path());
    let mut hub = Hub::whole(database);
    hub.set("PROOF", "always");
    hub.set("TMPDIR", directory.path().to_str().unwrap());
    (hub, directory)
}

/// The server runs as another user when we are root.
fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn the_nasty_database_is_proven() {
    let server = server();
    let source = server.database();
    source.execute(NASTY);
    let (hub, drills) = drilling(&source);
    let output = hub.run(&["backup"]);
    let (said, text) = (stderr(&output), stdout(&output));
    assert_eq!(output.status.code(), Some(0), "{said}{text}");
    assert!(
        text.contains("\nproven: ") && text.contains("rows restored and equal"),
        "{text}"
    );
    assert!(is_empty(drills.path()));
    let listed = stdout(&hub.run(&["list"]));
    assert!(
        listed.contains("proven") && !listed.contains("unproven"),
        "{listed}"
    );
}

#[test]
fn an_archive_that_cannot_be_restored_is_set_aside_and_never_counts() {
    let server = server();
    let database = server.database();
    // As people write them: the check looks into another table, by a name that needs a search path.
    database.execute(
        "CREATE TABLE plans (id int); INSERT INTO plans VALUES (1);
         CREATE FUNCTION known(int) RETURNS bool LANGUAGE plpgsql AS
             $$ BEGIN RETURN EXISTS (SELECT 1 FROM plans WHERE id = $1); END $$;
         CREATE TABLE users (id int, plan int CHECK (known(plan)));
         INSERT INTO users VALUES (1, 1)",
    );
    let (hub, drills) = drilling(&database);
    let output = hub.run(&["backup"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("does not withstand the drill") && said.contains(".rejected"),
        "{said}"
    );
    let left = archives_and_partials(&hub.backups());
    assert!(
        left.len() == 1 && left[0].to_str().unwrap().ends_with(".rejected"),
        "{left:?}"
    );
    assert!(stdout(&hub.run(&["list"])).contains("failed"));
    assert_eq!(hub.run(&["verify", "latest"]).status.code(), Some(1));
    assert!(!hub.backups().join(".last_backup_success").exists());
    assert!(is_empty(drills.path()));
}

#[test]
fn a_missing_extension_leaves_the_rest_proven_and_says_so() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    // The name is changed behind the server's back: a dump asks for an extension that no server has.
    database.execute(
        "CREATE EXTENSION citext; CREATE TABLE mails (address citext); INSERT INTO mails VALUES ('a@b');
         UPDATE pg_extension SET extname = 'nosuchext' WHERE extname = 'citext'",
    );
    let (hub, _drills) = drilling(&database);
    let output = hub.run(&["backup", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["state"], "unproven");
    let reason = record["proof"]["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "extension nosuchext is not installed where the drill runs"
    );
    assert_eq!(record["proof"]["drill"]["rows"], 1000);
    assert_eq!(record["proof"]["drill"]["not_provable"][0], "mails");
    database.execute(
        "CREATE EXTENSION hstore; UPDATE pg_extension SET extname = 'neither' WHERE extname = 'hstore'",
    );
    let (summary, _) = hub.backup();
    let reason = summary["proof"]["reason"].as_str().unwrap();
    assert_eq!(
        reason,
        "extensions neither, nosuchext are not installed where the drill runs"
    );
}

#[test]
fn a_drill_over_its_time_limit_leaves_the_backup_unproven() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    let toml = "[scope]\ntables = [\"*\"]\nwindow = []\n[proof]\ntime_limit = \"50 ms\"\n";
    let mut hub = Hub::with(&database, toml);
    hub.set("PROOF", "always");
    let output = hub.run(&["backup"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stdout(&output).contains("unproven: the drill took longer than its limit"));

    // An old backup can be drilled later, and the catalog knows.
    let listed = || stdout(&hub.run(&["list"]));
    assert!(listed().contains("unproven"));
    let short = hub.run(&["verify", "latest", "--drill"]);
    assert_eq!(short.status.code(), Some(3), "{}", stdout(&short));
    let mut patient = Hub::with(&database, "[scope]\ntables = [\"*\"]\nwindow = []\n");
    patient.set("BACKUP_DIR", hub.backups().to_str().unwrap());
    let drilled = patient.run(&["verify", "latest", "--drill"]);
    assert_eq!(drilled.status.code(), Some(0), "{}", stderr(&drilled));
    assert!(
        stdout(&drilled).contains("proven: 1 table"),
        "{}",
        stdout(&drilled)
    );
    assert!(!listed().contains("unproven"), "{}", listed());
    // And knows it again when the catalog is lost.
    std::fs::remove_file(hub.backups().join(".hubvault/catalog.sqlite")).unwrap();
    assert!(hub.run(&["catalog", "rebuild"]).status.success());
    assert!(
        listed().contains("proven") && !listed().contains("unproven"),
        "{}",
        listed()
    );
}

#[test]
fn a_drill_without_a_usable_directory_leaves_the_backup_unproven() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    let mut hub = Hub::whole(&database);
    hub.set("PROOF", "always");
    // A directory that is not there, and one on a filesystem that never has room.
    for (directory, reason) in [
        (
            "/nonexistent",
            "no place to drill: /nonexistent: No such file",
        ),
        ("/proc", "in /proc, which has 0 B free"),
    ] {
        hub.set("TMPDIR", directory);
        let output = hub.run(&["backup"]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        let text = stdout(&output);
        assert!(
            text.contains("unproven: ") && text.contains(reason),
            "{text}"
        );
    }
    let listed = stdout(&hub.run(&["list"]));
    assert!(
        !listed.contains("failed") && !listed.contains(" proven"),
        "{listed}"
    );
}

#[test]
fn a_crash_of_the_drill_server_leaves_the_backup_unproven() {
    let server = server();
    let database = server.database();
    // Its rows take for ever, but only where the drill loads them.
    database.execute(
        "CREATE FUNCTION slow(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
             IF current_database() = 'drill' THEN PERFORM pg_sleep(600); END IF; RETURN true; END $$;
         CREATE TABLE users (id int CHECK (public.slow(id))); INSERT INTO users VALUES (1)",
    );
    let (hub, drills) = drilling(&database);
    let child = hub
        .command(&["backup", "--no-progress"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    kill_server_when_it_sleeps(drills.path());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("unproven: the drill broke off"), "{text}");
    assert!(
        text.contains("the connection to the server was lost"),
        "{text}"
    );
    assert!(is_empty(drills.path()));
}

/// A drill's server whose rows are being loaded: the process that others are children of, and where its socket is.
pub(crate) struct Loading {
    pub(crate) server: String,
    pub(crate) process: rustix::process::Pid,
    pub(crate) socket: std::path::PathBuf,
}

/// Waits until a drill in this directory loads rows.
pub(crate) fn loading(drills: &Path) -> Loading {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_mins(1), "no drill began");
        std::thread::sleep(Duration::from_millis(20));
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
            let title = String::from_utf8_lossy(&read("cmdline")).into_owned();
            let loads = title.starts_with("postgres: ") && title.contains(" drill [local] COPY");
            let Ok(data) = std::fs::read_link(process.path().join("cwd")) else {
                continue;
            };
            if !loads || !data.starts_with(drills) {
                continue;
            }
            let status = String::from_utf8_lossy(&read("status")).into_owned();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            let id = process.file_name().to_str().unwrap().parse().unwrap();
            return Loading {
                process: rustix::process::Pid::from_raw(id).unwrap(),
                server: parent.unwrap().trim().to_owned(),
                socket: data.parent().unwrap().join("s"),
            };
        }
    }
}

fn kill_server_when_it_sleeps(drills: &Path) {
    let killed = std::process::Command::new("kill")
        .args(["-9", &loading(drills).server])
        .status();
    assert!(killed.unwrap().success());
}

#[test]
fn a_scratch_database_on_another_server_works_and_is_dropped() {
    let server = server();
    let database = server.database();
    database.execute(NASTY);
    let (mut hub, drills) = drilling(&database);
    let place = server.settings("postgres");
    hub.set(
        "PROOF_SERVER",
        format!("host={} user=postgres dbname=postgres", place.host),
    );
    // What a drill that died would have left.
    database.execute("CREATE DATABASE hubvault_drill_old");
    let output = hub.run(&["backup"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert!(
        stdout(&output).contains("\nproven: "),
        "{}",
        stdout(&output)
    );
    let left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'hubvault_drill_%'";
    assert_eq!(database.value(left), "0");
    assert!(is_empty(drills.path()));
    hub.set("PROOF_SERVER", "postgres://postgres@localhost:1/postgres");
    let away = hub.run(&["backup"]);
    assert_eq!(away.status.code(), Some(3), "{}", stderr(&away));
    assert!(
        stdout(&away).contains("unproven: no server to drill on"),
        "{}",
        stdout(&away)
    );
}

#[test]
fn a_random_sample_of_old_archives_is_drilled_and_the_damaged_one_is_named() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    let (mut hub, _drills) = drilling(&database);
    hub.set("PROOF", "off");
    let (_, archive) = hub.backup();
    let one = hub.run(&["drill", "--all", "--sample", "1"]);
    assert_eq!(one.status.code(), Some(0), "{}", stderr(&one));
    assert!(
        stdout(&one).contains("proven: 1 table, 1,000 rows"),
        "{}",
        stdout(&one)
    );
    assert!(stdout(&hub.run(&["list"])).contains(" proven"));
    let twice = |content: &mut Vec<u8>| {
        let text = String::from_utf8(content.clone()).unwrap();
        *content = text.replace("2\tuser 2\n", "1\tuser 1\n").into_bytes();
    };
    let copy = hub.config().join("forged.tar.gz");
    forged(&archive, &copy, twice, |_| ());
    std::fs::copy(&copy, &archive).unwrap();
    let bad = hub.run(&["drill", "--all"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(stdout(&bad).contains("REJECTED"), "{}", stdout(&bad));
    let record = || -> Value {
        let listed: Value = serde_json::from_slice(&hub.run(&["list", "--json"]).stdout).unwrap();
        listed[0].clone()
    };
    let is_rejected = |record: &Value| {
        let reason = record["proof"]["reason"].as_str().unwrap_or_default();
        record["state"] == "unproven" && reason.starts_with("a drill rejected it: ")
    };
    assert!(is_rejected(&record()), "{}", record());
    // The same where it cannot be opened any more.
    let proven = hub.backup().1;
    hub.run(&["drill", "latest"]);
    assert_eq!(record()["state"], "proven");
    std::fs::write(&proven, "no archive").unwrap();
    assert_eq!(hub.run(&["drill", "latest"]).status.code(), Some(1));
    assert!(is_rejected(&record()), "{}", record());
}

#[test]
fn leftovers_of_a_killed_drill_are_removed_by_the_next() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    let (hub, drills) = drilling(&database);
    for wait in [10, 60, 200, 400, 700, 1_000, 1_300] {
        let mut child = hub
            .command(&["backup", "--no-progress"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(wait) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven");
    assert!(
        is_empty(drills.path()),
        "{:?}",
        std::fs::read_dir(drills.path()).unwrap().next()
    );
    assert!(archives_and_partials(&hub.backups()).contains(&archive));
    assert!(
        !archives_and_partials(&hub.backups())
            .iter()
            .any(|path| { path.file_name().unwrap().to_str().unwrap().starts_with('.') })
    );
    let servers = std::process::Command::new("pgrep")
        .args(["-f", drills.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(stdout(&servers), "", "a server of a killed drill lives on");
}

/// A copy of an archive with its rows and its manifest changed, whole by every checksum.
pub(crate) fn forged(
    archive: &Path,
    to: &Path,
    change: impl Fn(&mut Vec<u8>),
    amend: impl Fn(&mut Manifest),
) -> PathBuf {
    let archive = Archive::open_path(archive, &Identities::none()).unwrap();
    let compression = Compression::default();
    let mut writer = ArchiveWriter::new(std::fs::File::create(to).unwrap(), compression);
    let mut manifest = archive.manifest().clone();
    for record in &archive.manifest().entries {
        let mut content = Vec::new();
        if !record.is_bare() {
            archive
                .content(record)
                .unwrap()
                .read_to_end(&mut content)
                .unwrap();
        }
        let mut rows = record.rows.clone();
        if let Some(rows) = rows
            .as_mut()
            .filter(|_| record.kind == EntryKind::TableData)
        {
            change(&mut content);
            let end = content.len() - rows.footer_bytes as usize;
            let mut digester = RowDigester::new(RowFormat::Text);
            digester.update(&content[rows.header_bytes as usize..end]);
            rows.digest = digester.finish().unwrap();
            let mut tables = manifest.tables.iter_mut();
            let table = tables.find(|table| table.name == rows.table).unwrap();
            table.digest = rows.digest;
        }
        let mut builder = EntryBuilder::new(compression);
        builder.write(&content).unwrap();
        let meta = EntryMeta {
            name: record.name.clone(),
            kind: record.kind,
            mode: record.mode,
            mtime: manifest.snapshot.taken_at,
            link: record.link.clone(),
            rows,
        };
        writer.append(builder.finish(meta).unwrap()).unwrap();
    }
    amend(&mut manifest);
    writer.finish(manifest).unwrap();
    to.to_owned()
}

#[test]
fn forged_archives_are_rejected_by_verify_or_by_the_drill() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    let (mut hub, _drills) = drilling(&database);
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"hubvault.toml\"\n");
    let (_, archive) = hub.backup();
    let copy = hub.config().join("forged.tar.gz");
    let rejected = |path: &Path, word: &str| {
        let output = hub.run(&["verify", path.to_str().unwrap(), "--drill"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}{}", stdout(&output));
        assert!(said.contains(word), "{word:?} is not in {said}");
    };
    // The control: a faithful copy is proven.
    let faithful = forged(&archive, &copy, |_| (), |_| ());
    let output = hub.run(&["verify", faithful.to_str().unwrap(), "--drill"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let fewer = |manifest: &mut Manifest| manifest.tables[0].digest.rows -= 1;
    rejected(&forged(&archive, &copy, |_| (), fewer), "999 rows");
    let swapped = |manifest: &mut Manifest| manifest.tables[0].digest.sum ^= 1;
    rejected(&forged(&archive, &copy, |_| (), swapped), "digest");
    let renamed = |manifest: &mut Manifest| manifest.files[0].sha256 = Some("0".repeat(64));
    rejected(
        &forged(&archive, &copy, |_| (), renamed),
        "another checksum",
    );
    // Consistent in itself, and yet no backup: a row twice, against the primary key.
    let twice = |content: &mut Vec<u8>| {
        let text = String::from_utf8(content.clone()).unwrap();
        *content = text.replace("2\tuser 2\n", "1\tuser 1\n").into_bytes();
    };
    rejected(&forged(&archive, &copy, twice, |_| ()), "users_pkey");
    // Nor one whose rows are taken, and are others then.
    let other = |content: &mut Vec<u8>| {
        let text = String::from_utf8(content.clone()).unwrap();
        *content = text.replace("\n2\tuser 2\n", "\n02\tuser 2\n").into_bytes();
    };
    rejected(&forged(&archive, &copy, other, |_| ()), "users: ");
}
