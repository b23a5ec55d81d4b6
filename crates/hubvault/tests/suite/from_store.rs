//! A machine that has nothing but the program and credentials reads backups in a store.

use crate::hub::{HUBVAULT, Hub, coverage, stderr, stdout};
use crate::keys::Pair;
use hubvault_testkit::object_store::{S3Key, S3Server};
use hubvault_testkit::{Database, SftpServer, database_with, server};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const SHOP: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 200) n;
    CREATE TABLE orders (id int PRIMARY KEY, what text);
    INSERT INTO orders SELECT n, md5(n::text) || md5((n * 7)::text) FROM generate_series(1, 60000) n";

/// An empty home, in which nobody configured anything.
struct Machine {
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    /// One whose user may log in on a server.
    fn with_login(server: &SftpServer) -> Self {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        fs::create_dir(&ssh).unwrap();
        fs::copy(server.key_file(), ssh.join("id_ed25519")).unwrap();
        fs::copy(server.known_hosts(), ssh.join("known_hosts")).unwrap();
        Self {
            home,
            variables: Vec::new(),
        }
    }

    /// One with a key of an S3 server in its environment.
    fn with_key(s3: &S3Server, key: S3Key) -> Self {
        let mut machine = Self {
            home: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        };
        machine.set("AWS_ENDPOINT_URL", &s3.endpoint());
        machine.set("AWS_REGION", "us-east-1");
        machine.set("AWS_ACCESS_KEY_ID", key.id);
        machine.set("AWS_SECRET_ACCESS_KEY", key.secret);
        machine
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(HUBVAULT);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(coverage())
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command.args(arguments).output().unwrap()
    }

    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Copies what a hub made to a directory: the sidecar beside the archive. Returns the archive's name.
fn copied(archive: &Path, to: &Path) -> String {
    fs::create_dir_all(to).unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap().to_owned();
    for file in [name.clone(), format!("{name}.manifest.json")] {
        fs::copy(archive.with_file_name(&file), to.join(&file)).unwrap();
    }
    name
}

/// The same into a bucket of its own. Returns a machine that may read it, and the URL.
fn copied_to_bucket(archive: &Path, s3: &S3Server, bucket: &str) -> (Machine, String) {
    s3.create_bucket(bucket, false);
    let name = archive.file_name().unwrap().to_str().unwrap();
    for file in [name.to_owned(), format!("{name}.manifest.json")] {
        let bytes = fs::read(archive.with_file_name(&file)).unwrap();
        let (status, said) = s3.request("PUT", &format!("/{bucket}/hub/{file}"), &[], &bytes);
        assert_eq!(status, 200, "{said}");
    }
    (
        Machine::with_key(s3, s3.reader()),
        format!("s3://{bucket}/hub"),
    )
}

fn target(database: &Database) -> String {
    let to = database.settings();
    format!(
        "host={} port={} user={} dbname={}",
        to.host, to.port, to.user, to.dbname
    )
}

#[test]
fn a_new_machine_brings_everything_back_from_a_store() {
    let source = database_with(SHOP);
    let mut hub = Hub::whole(&source);
    let _drills = hub.prove();
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven");
    let ssh = SftpServer::start();
    let name = copied(&archive, &ssh.directory().join("hub"));
    let s3 = S3Server::shared();
    let bucket = copied_to_bucket(&archive, &s3, "from-anywhere");
    drop(hub);
    let id = record["id"].as_str().unwrap();
    let by_ssh = (Machine::with_login(&ssh), format!("{}/hub", ssh.url()));
    for (machine, place) in [by_ssh, bucket] {
        backups_are_found(&machine, &place, id, &name);
        rows_come_back(&machine, &format!("{place}/latest"), &source);
    }
}

fn backups_are_found(machine: &Machine, place: &str, id: &str, name: &str) {
    let listed = machine.json(0, &["list", place, "--json"]);
    assert_eq!(listed[0]["id"], id);
    assert_eq!(listed[0]["state"], "proven");
    assert_eq!(listed[0]["copies"][0]["key"], name);
    assert!(listed[0]["missing"].is_null());
    let text = machine.expect(0, &["list", place]);
    let is_listed = text.contains(&id[..8]) && text.contains(&name[..20]);
    assert!(is_listed && !text.contains("MISSING"), "{text}");
    for word in ["latest", &id[..8], id, name] {
        let shown = machine.expect(0, &["show", &format!("{place}/{word}")]);
        assert!(shown.contains(&format!("backup {id}")), "{shown}");
        assert!(shown.contains(&format!("{place}/{name}")), "{shown}");
    }
}

fn rows_come_back(machine: &Machine, latest: &str, source: &Database) {
    let verified = machine.expect(0, &["verify", latest]);
    assert!(
        verified.contains("every checksum and digest equal"),
        "{verified}"
    );
    // One table into the database that lost it.
    source.execute("DELETE FROM users WHERE id <= 50");
    let to = target(source);
    let users = ["--table", "users", "--to", &to];
    let differs = machine.run(&[&["diff", latest][..], &users].concat());
    assert_eq!(differs.status.code(), Some(3), "{}", stderr(&differs));
    assert!(stdout(&differs).contains("50"), "{}", stdout(&differs));
    let missing = [&["restore", latest, "--missing-rows"][..], &users].concat();
    let dry = machine.expect(0, &[&missing[..], &["--dry-run"]].concat());
    assert!(dry.contains("50"), "{dry}");
    machine.expect(0, &missing);
    machine.expect(0, &[&["diff", latest][..], &users].concat());
    source.execute("TRUNCATE users");
    let table = machine.expect(0, &[&["restore", latest, "--verbose"][..], &users].concat());
    assert!(table.contains("the store was asked"), "{table}");
    machine.expect(0, &[&["diff", latest][..], &users].concat());
    // And all of them.
    let empty = server().database();
    let to = target(&empty);
    machine.expect(0, &["restore", latest, "--to", &to]);
    machine.expect(0, &["diff", latest, "--to", &to]);
    let left: Vec<_> = fs::read_dir(machine.home.path()).unwrap().collect();
    assert!(left.len() <= 1, "{left:?}");
}

#[test]
fn a_table_costs_about_its_part_of_the_archive() {
    let source = database_with(
        "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 2000);
         CREATE TABLE blobs AS SELECT n, (SELECT string_agg(md5(n || ' ' || k), '') FROM generate_series(1, 100) k)
             FROM generate_series(1, 12000) n",
    );
    let hub = Hub::whole(&source);
    let (_, archive) = hub.backup();
    let bytes = archive.metadata().unwrap().len();
    assert!(bytes > 18_000_000, "{bytes}");
    let s3 = S3Server::shared();
    let (machine, place) = copied_to_bucket(&archive, &s3, "a-table");
    source.execute("TRUNCATE users");
    let latest = format!("{place}/latest");
    let to = target(&source);
    let words = [
        "restore",
        &latest,
        "--table",
        "users",
        "--to",
        &to,
        "--verbose",
    ];
    let told = machine.expect(0, &words);
    let sent = told
        .lines()
        .find(|line| line.contains("the store was asked"))
        .unwrap();
    // `... and sent 171 kB`: the definitions and the sidecar, too.
    let sent = sent.rsplit("and sent ").next().unwrap();
    let (number, unit) = sent.split_once(' ').unwrap();
    assert_eq!(unit, "kB", "{told}");
    let sent = number.parse::<f64>().unwrap() * 1000.0;
    assert!(sent < bytes as f64 / 100.0, "{told}");
    assert_eq!(source.value("SELECT count(*) FROM users"), "2000");
}

#[test]
fn a_bucket_that_goes_away_is_an_error_that_says_so() {
    let source = database_with("CREATE TABLE users (id int PRIMARY KEY)");
    let hub = Hub::whole(&source);
    let (_, archive) = hub.backup();
    let s3 = S3Server::shared();
    let (mut machine, place) = copied_to_bucket(&archive, &s3, "goes-away");
    let latest = format!("{place}/latest");
    machine.expect(0, &["show", &latest]);
    let said = machine.expect(1, &["show", "s3://no-such-bucket/hub/latest"]);
    assert!(said.contains("s3://no-such-bucket"), "{said}");
    machine.set("AWS_SECRET_ACCESS_KEY", "hunter2");
    let said = machine.expect(1, &["show", &latest]);
    assert!(
        said.contains("goes-away") && !said.contains("hunter2"),
        "{said}"
    );
    machine.set("AWS_ACCESS_KEY_ID", "");
    let said = machine.expect(1, &["show", &latest]);
    assert!(said.contains("set AWS_ACCESS_KEY_ID, too"), "{said}");
}

#[test]
fn a_directory_is_a_place_like_any_other() {
    let source =
        database_with("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2)");
    let mut hub = Hub::whole(&source);
    let (record, archive) = hub.backup();
    let disk = tempfile::tempdir().unwrap();
    let name = copied(&archive, disk.path());
    fs::remove_file(&archive).unwrap();
    let place = format!("file://{}", disk.path().display());
    let id = record["id"].as_str().unwrap();
    let latest = format!("{place}/latest");
    let shown = hub.run_expecting(0, &["show", &latest]);
    assert!(stdout(&shown).contains(&disk.path().join(&name).display().to_string()));
    assert!(stdout(&hub.run_expecting(0, &["list", &place])).contains(&id[..8]));
    hub.run_expecting(0, &["verify", &latest]);

    // The same by the name of a destination, and the record comes back from there.
    let url = format!("[[destination]]\nname = \"usb\"\nurl = \"{place}\"\n");
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n{url}"
    ));
    fs::remove_dir_all(hub.backups().join(".hubvault")).unwrap();
    assert!(
        stdout(&hub.run_expecting(0, &["show", "latest", "--destination", "usb"])).contains(id)
    );
    let unknown = hub.run_expecting(1, &["show", "latest", "--destination", "ubs"]);
    assert!(
        stderr(&unknown).contains("there are: local, usb"),
        "{}",
        stderr(&unknown)
    );
    let brought = hub.run_expecting(0, &["catalog", "rebuild", "--from", "usb"]);
    assert!(stdout(&brought).contains("1 added"), "{}", stdout(&brought));
    let again = hub.run_expecting(0, &["catalog", "rebuild", "--from", "usb", "--json"]);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["known"], 1);
    let records = hub.run_expecting(0, &["list", "--json"]);
    let records: Value = serde_json::from_slice(&records.stdout).unwrap();
    assert_eq!(records[0]["copies"][0]["destination"], "usb");
    assert_eq!(records[0]["id"], id);
    // Its name alone is enough where its only copy is elsewhere.
    for word in ["latest", &id[..8]] {
        hub.run_expecting(0, &["verify", word]);
        assert!(stdout(&hub.run_expecting(0, &["show", word])).contains(id));
    }
    let said = hub.run_expecting(
        0,
        &["restore", "latest", "--to", &target(&server().database())],
    );
    assert!(stderr(&said).contains(&name), "{}", stderr(&said));
    // One that was moved is found where it is now.
    let now = tempfile::tempdir().unwrap();
    let scope = "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n";
    let moved = url.replace(&place, &format!("file://{}", now.path().display()));
    hub.write(&format!("{scope}{moved}"));
    let lost = stderr(&hub.run_expecting(1, &["verify", "latest"]));
    let way = "which is not configured any more; where it was moved to the new URL, `--destination usb` reads it";
    assert!(lost.contains(way), "{lost}");
    for file in fs::read_dir(disk.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), now.path().join(file.file_name())).unwrap();
    }
    hub.run_expecting(0, &["verify", "latest", "--destination", "usb"]);
    hub.run_expecting(0, &["copies", "sync"]);
    hub.run_expecting(0, &["verify", "latest"]);
    hub.write(&format!("{scope}{url}"));
    hub.run_expecting(0, &["copies", "sync"]);
    // A copy that is lost says so.
    fs::write(disk.path().join(&name), "torn").unwrap();
    hub.run_expecting(3, &["copies", "verify"]);
    let lost = stderr(&hub.run_expecting(1, &["verify", "latest"]));
    assert!(
        lost.contains("not on this machine, and it is damaged at usb"),
        "{lost}"
    );
}

#[test]
fn a_sealed_archive_is_shown_by_its_sidecar_and_opened_by_its_key() {
    let source =
        database_with("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2)");
    let directory = tempfile::tempdir().unwrap();
    let key = Pair::age(directory.path(), "key");
    let mut hub = Hub::whole(&source);
    hub.set("BACKUP_RECIPIENTS", &key.public);
    let (_, archive) = hub.backup();
    let ssh = SftpServer::start();
    copied(&archive, &ssh.directory());
    let machine = Machine::with_login(&ssh);
    let latest = format!("{}/latest", ssh.url());
    assert!(machine.expect(0, &["show", &latest]).contains("sealed"));
    assert!(
        machine
            .expect(3, &["verify", &latest])
            .contains("is the one that was published")
    );
    machine.expect(0, &["verify", &latest, "--identity", key.identity()]);
    let empty = server().database();
    machine.expect(
        0,
        &[
            "restore",
            &latest,
            "--to",
            &target(&empty),
            "--identity",
            key.identity(),
        ],
    );
    let without = machine.expect(1, &["restore", &latest, "--to", &target(&empty)]);
    assert!(without.contains("sealed"), "{without}");
}

#[test]
fn what_is_wrong_with_a_store_says_what_to_do() {
    let source = database_with("CREATE TABLE users (id int PRIMARY KEY)");
    let hub = Hub::whole(&source);
    let (_, archive) = hub.backup();
    let ssh = SftpServer::start();
    let machine = Machine::with_login(&ssh);
    let place = ssh.url();
    let said = machine.expect(1, &["show", &format!("{place}/latest")]);
    assert!(said.contains("there are no archives in sftp://"), "{said}");
    let name = copied(&archive, &ssh.directory().join("eu"));
    let said = machine.expect(1, &["list", &place]);
    assert!(
        said.contains(&format!("there are some in {place}/eu")),
        "{said}"
    );
    for (word, expected) in [
        ("beef", "no backup \"beef\""),
        (&name[..20], "no backup"),
        ("", "add /latest"),
    ] {
        let said = machine.expect(1, &["verify", &format!("{place}/eu/{word}")]);
        assert!(said.contains(expected), "{said}");
    }
    // Damage is found where it is.
    let file = ssh.directory().join("eu").join(&name);
    let mut bytes = fs::read(&file).unwrap();
    bytes[300] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let said = machine.expect(1, &["verify", &format!("{place}/eu/latest")]);
    assert!(said.contains(&format!("{place}/eu/{name}")), "{said}");
    // Where nothing can be read, that is said of the store.
    let junk = tempfile::tempdir().unwrap();
    for day in [1, 2] {
        let name = format!("critical_backup_2026010{day}_020000.tar.gz");
        fs::write(junk.path().join(name), "not an archive").unwrap();
    }
    let at = format!("file://{}", junk.path().display());
    let said = machine.expect(3, &["list", &at]);
    let expected = format!("none of the 2 archives in {at} can be read");
    assert!(
        said.contains(&expected) && !said.contains("/backups"),
        "{said}"
    );
    let listed = machine.json(3, &["list", &at, "--json"]);
    assert_eq!(listed[1]["state"], "unreadable");
    assert_eq!(listed.as_array().unwrap().len(), 2);
    // Another key is refused, and no secret is told.
    let stranger = Machine::with_login(&SftpServer::start());
    fs::copy(
        ssh.known_hosts(),
        stranger.home.path().join(".ssh/known_hosts"),
    )
    .unwrap();
    stranger.expect(1, &["list", &place]);
    let usage = machine.expect(1, &["list", "backups"]);
    assert!(
        usage.contains("is no URL such as s3://bucket/prefix"),
        "{usage}"
    );
}
