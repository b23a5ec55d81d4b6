//! Copies on real servers: a bucket with object lock, a server by SFTP; refused, dead, cut in the middle.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::object_store::{HttpFault, HttpFaults, S3Server};
use hubvault_testkit::{Database, SftpServer, USERS, database_with, wait_for};
use serde_json::Value;
use std::process::Stdio;

const WHOLE: &str = "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n";

fn s3(server: &S3Server, bucket: &str, secret: &str, more: &str) -> String {
    let (endpoint, id) = (server.endpoint(), server.owner().id);
    format!(
        "[[destination]]\nname = \"s3\"\nurl = \"s3://{bucket}/hub\"\nendpoint = \"{endpoint}\"\nregion = \"us-east-1\"\n\
         access_key = \"{id}\"\nsecret_key = \"{secret}\"\n{more}\n"
    )
}

fn sftp(server: &SftpServer, more: &str) -> String {
    let (url, key) = (server.url(), server.key_file());
    let (key, known) = (key.display(), server.known_hosts());
    let known = known.display();
    format!(
        "[[destination]]\nname = \"far\"\nurl = \"{url}\"\nkey_file = \"{key}\"\nknown_hosts = \"{known}\"\n{more}\n"
    )
}

fn hub(sql: &str, destinations: &str) -> (Hub, Database) {
    let database = database_with(sql);
    let mut hub = Hub::whole(&database);
    hub.write(&format!("{WHOLE}{destinations}"));
    (hub, database)
}

fn copy(hub: &Hub, destination: &str) -> Value {
    let list = [
        "copies",
        "list",
        "latest",
        "--destination",
        destination,
        "--json",
    ];
    let listed = hub.run_expecting(0, &list);
    let all: Value = serde_json::from_slice(&listed.stdout).unwrap();
    all[0].clone()
}

#[test]
fn a_backup_is_in_a_locked_bucket_and_on_a_server() {
    let (bucket, server) = (S3Server::shared(), SftpServer::start());
    bucket.create_bucket("copies-locked", true);
    let secret = bucket.owner().secret;
    let tables = s3(&bucket, "copies-locked", secret, "lock = \"1 day\"") + &sftp(&server, "");
    let (hub, _database) = hub(USERS, &tables);
    let checked = hub.run(&["config", "check"]);
    let said = stdout(&checked) + &stderr(&checked);
    assert!(!said.contains("cannot be used"), "{said}");
    let (record, archive) = hub.backup();
    for name in ["s3", "far"] {
        let copy = copy(&hub, name);
        assert_eq!(copy["state"], "present", "{record}");
        assert_eq!(copy["bytes"], archive.metadata().unwrap().len());
    }
    let there = copy(&hub, "s3");
    assert!(there["locked_until"].is_string(), "{there}");
    assert!(there["requests"]["writes"].as_u64() >= Some(2), "{there}");
    let file = server.directory().join(archive.file_name().unwrap());
    assert_eq!(
        std::fs::read(file).unwrap(),
        std::fs::read(&archive).unwrap()
    );
    hub.run_expecting(0, &["copies", "verify", "--full"]);
    let locked = hub.run_expecting(1, &["copies", "remove", "latest", "--destination", "s3"]);
    assert!(
        stderr(&locked).contains("is locked until"),
        "{}",
        stderr(&locked)
    );
    assert_eq!(copy(&hub, "s3")["state"], "present");
    for command in [
        &["config", "show"][..],
        &["copies", "list", "--json"],
        &["doctor"],
    ] {
        let output = hub.run(command);
        let said = stdout(&output) + &stderr(&output);
        assert!(!said.contains(secret), "{command:?} says a secret");
    }
}

#[test]
fn a_bucket_that_locks_nothing_is_refused_where_a_lock_is_wanted() {
    let server = S3Server::shared();
    server.create_bucket("copies-open", false);
    let table = s3(
        &server,
        "copies-open",
        server.owner().secret,
        "lock = \"1 day\"",
    );
    let (hub, _database) = hub(USERS, &table);
    let checked = hub.run_expecting(2, &["config", "check"]);
    let said = stdout(&checked);
    assert!(
        said.contains("the destination s3 cannot be used") && said.contains("lock"),
        "{said}"
    );
}

#[test]
fn a_copy_that_was_stored_without_a_lock_counts_and_is_locked_where_the_bucket_can() {
    let server = S3Server::shared();
    for (bucket, locks) in [("copies-lock-later", true), ("copies-lock-never", false)] {
        server.create_bucket(bucket, locks);
        let secret = server.owner().secret;
        let (mut hub, _database) = hub(USERS, &s3(&server, bucket, secret, ""));
        let (_, archive) = hub.backup();
        let before = copy(&hub, "s3");
        assert_eq!(
            (&before["state"], &before["locked_until"]),
            (&"present".into(), &Value::Null)
        );
        let name = archive.file_name().unwrap().to_str().unwrap();
        let sidecar = format!("/{bucket}/hub/{name}.manifest.json");
        assert_eq!(server.request("DELETE", &sidecar, &[], b"").0, 204);
        hub.run_expecting(3, &["copies", "verify"]);
        let table = s3(&server, bucket, secret, "lock = \"1 day\"");
        hub.write(&format!("{WHOLE}{table}"));
        let code = if locks { 0 } else { 3 };
        let synced = hub.run_expecting(code, &["copies", "sync", "--no-progress"]);
        let now = copy(&hub, "s3");
        assert_eq!(now["state"], "present", "{now}");
        if locks {
            assert!(now["locked_until"].is_string(), "{now}");
            hub.run_expecting(0, &["copies", "verify", "--full"]);
        } else {
            let said = stderr(&synced);
            assert!(said.contains("without the lock"), "{said}");
        }
    }
}

#[test]
fn a_copy_elsewhere_that_was_never_compared_is_read_before_another_is_removed() {
    let server = S3Server::shared();
    server.create_bucket("copies-rotten", false);
    let table = s3(&server, "copies-rotten", server.owner().secret, "");
    let (hub, _database) = hub(USERS, &table);
    let (_, archive) = hub.backup();
    let name = archive.file_name().unwrap().to_str().unwrap();
    let whole = std::fs::read(&archive).unwrap();
    let mut rotten = whole.clone();
    rotten[whole.len() / 2] ^= 1;
    let key = format!("/copies-rotten/hub/{name}");
    assert_eq!(server.request("PUT", &key, &[], &rotten).0, 200);
    // A new catalog knows what is there, and nothing of its content.
    std::fs::remove_dir_all(hub.backups().join(".hubvault")).unwrap();
    hub.run_expecting(0, &["catalog", "rebuild"]);
    hub.run_expecting(0, &["catalog", "rebuild", "--from", "s3"]);
    let there = copy(&hub, "s3");
    assert_eq!(
        (&there["state"], &there["checked_at"]),
        (&"present".into(), &Value::Null)
    );
    let remove = ["copies", "remove", "latest", "--destination", "local"];
    let refused = hub.run_expecting(1, &remove);
    assert!(
        stderr(&refused).contains("is the only one"),
        "{}",
        stderr(&refused)
    );
    assert!(archive.exists());
    assert_eq!(server.request("PUT", &key, &[], &whole).0, 200);
    hub.run_expecting(0, &remove);
    assert!(!archive.exists());
}

#[test]
fn one_object_that_cannot_be_read_holds_up_no_other() {
    let server = S3Server::shared();
    let network = HttpFaults::start(server.port());
    server.create_bucket("copies-unreadable", false);
    let table = s3(&server, "copies-unreadable", server.owner().secret, "");
    let table = table.replace(&server.endpoint(), &network.endpoint());
    let (hub, _database) = hub(USERS, &table);
    let names = [(); 2].map(|()| {
        let (_, archive) = hub.backup();
        archive.file_name().unwrap().to_str().unwrap().to_owned()
    });
    let sidecars = names
        .each_ref()
        .map(|name| format!("/copies-unreadable/hub/{name}.manifest.json"));
    for sidecar in &sidecars {
        assert_eq!(server.request("DELETE", sidecar, &[], b"").0, 204);
    }
    hub.run_expecting(3, &["copies", "verify"]);
    let denied = HttpFault::Refused(403, "AccessDenied");
    network.fail("GET", &names[1], usize::MAX, denied);
    let synced = hub.run_expecting(3, &["copies", "sync", "--no-progress"]);
    assert!(
        stdout(&synced).contains("0 copies made, 1 found there, 1 failed"),
        "{}",
        stdout(&synced)
    );
    let status = |sidecar: &str| server.request("HEAD", sidecar, &[], b"").0;
    assert_eq!(sidecars.each_ref().map(|it| status(it)), [200, 404]);
    let verify = [
        "copies",
        "verify",
        "--full",
        "--destination",
        "s3",
        "--json",
    ];
    let found = hub.run_expecting(3, &verify);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let read = [0, 1].map(|at| found[at]["read_back"].as_bool());
    assert_eq!(read, [Some(false), Some(true)], "{found}");
    // A bucket that lets nobody in is asked once.
    network.fail(
        "HEAD",
        "",
        usize::MAX,
        HttpFault::Refused(403, "AccessDenied"),
    );
    network.fail(
        "GET",
        "",
        usize::MAX,
        HttpFault::Refused(403, "AccessDenied"),
    );
    let found = hub.run_expecting(3, &verify);
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
}

#[test]
fn a_wrong_key_or_a_dead_server_is_a_queued_copy_that_says_why() {
    let server = S3Server::shared();
    server.create_bucket("copies-denied", false);
    // Nobody listens there any more.
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let alive = SftpServer::start();
    let gone = sftp(&alive, "").replace(&format!(":{}", alive.port()), &format!(":{dead}"));
    let tables = s3(&server, "copies-denied", "not-the-key", "") + &gone;
    let (mut hub, _database) = hub(USERS, &tables);
    let (record, _) = hub.backup();
    let warnings = record["warnings"].as_array().unwrap();
    let of_copies = warnings.iter().filter(|it| it["code"] == "copy");
    assert_eq!(of_copies.count(), 2, "{record}");
    for name in ["s3", "far"] {
        let copy = copy(&hub, name);
        assert_eq!(copy["state"], "pending", "{copy}");
        let error = copy["error"].as_str().unwrap();
        assert!(
            !error.is_empty() && !error.contains("not-the-key"),
            "{error}"
        );
    }
    // The backup itself is as good as ever.
    hub.run_expecting(0, &["verify", "latest"]);
    hub.write(&format!(
        "{WHOLE}{}{}",
        s3(&server, "copies-denied", server.owner().secret, ""),
        sftp(&alive, "")
    ));
    hub.run_expecting(0, &["copies", "sync", "--no-progress"]);
    assert_eq!(copy(&hub, "s3")["state"], "present");
    assert_eq!(copy(&hub, "far")["state"], "present");
}

#[test]
fn an_upload_that_is_cut_is_made_again_and_is_whole() {
    let server = SftpServer::start();
    let sql = "CREATE TABLE users (id int PRIMARY KEY, name text);
        INSERT INTO users SELECT n, md5(n::text) || md5((-n)::text) FROM generate_series(1, 60000) n";
    let (hub, _database) = hub(sql, &sftp(&server, "max_mb_per_second = 1"));
    let child = hub
        .command(&["backup", "--json", "--no-progress"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_on_its_way = || {
        let entries = std::fs::read_dir(server.directory()).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.any(|path| {
            let is_new = path.extension().is_some_and(|ending| ending == "new");
            let is_archive = !path.to_string_lossy().contains(".manifest.json");
            is_new && is_archive && path.metadata().is_ok_and(|meta| meta.len() > 0)
        })
    };
    wait_for(is_on_its_way, || "a copy on its way".to_owned());
    server.kill();
    let output = child.wait_with_output().unwrap();
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    let there = copy(&hub, "far");
    assert_eq!(there["state"], "present", "{record}");
    let name = there["key"].as_str().unwrap();
    let file = server.directory().join(name);
    let local = hub.backups().join(name);
    assert_eq!(std::fs::read(file).unwrap(), std::fs::read(local).unwrap());
}

#[test]
fn what_is_damaged_after_its_proof_is_never_sent() {
    let server = SftpServer::start();
    let (mut hub, _database) = hub(USERS, "");
    let partial = hub.backups().join(".critical_backup_*.partial");
    let hook = format!(
        "[[hook]]\nstage = \"publish\"\nwhen = \"before\"\n\
         command = 'printf XYZ | dd of=$(ls {}) bs=1 seek=200 conv=notrunc'\n",
        partial.display()
    );
    hub.write(&format!("{WHOLE}{hook}{}", sftp(&server, "")));
    let (record, _) = hub.backup();
    let warnings = record["warnings"].to_string();
    assert!(
        warnings.contains("not what was proven any more"),
        "{record}"
    );
    let there = std::fs::read_dir(server.directory()).unwrap();
    assert_eq!(there.count(), 0);
    assert_eq!(copy(&hub, "local")["state"], "damaged");
}
