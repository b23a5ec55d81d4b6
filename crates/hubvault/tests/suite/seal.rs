//! A sealed backup is proven like any other, and opened only by its recipients.

use crate::drill::drilling;
use crate::hub::{Hub, stderr, stdout};
use crate::keys::{Pair, code, open_with_age, text};
use crate::retention::next_second;
use hubvault_testkit::{NASTY, USERS, contains_bytes, database_with, restore_unpacked, server};
use serde_json::Value;
use std::path::{Path, PathBuf};

const ALL: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n";

fn sidecar(archive: &Path) -> PathBuf {
    PathBuf::from(format!("{}.manifest.json", archive.display()))
}

#[test]
fn a_sealed_backup_is_proven_and_opened_by_every_recipient_with_age_or_hubvault() {
    let server = server();
    let source = server.database();
    source.execute(NASTY);
    let keys = tempfile::tempdir().unwrap();
    let pairs = [
        Pair::age(keys.path(), "alice"),
        Pair::ssh(keys.path(), "ed25519", "256", ""),
        Pair::ssh(keys.path(), "rsa", "2048", ""),
    ];
    let (mut hub, _drills) = drilling(&source);
    let publics: Vec<&str> = pairs.iter().map(|pair| pair.public.as_str()).collect();
    hub.set("BACKUP_RECIPIENTS", publics.join(","));
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "proven", "{record}");
    assert!(
        text(&archive).ends_with(".tar.gz.age"),
        "{}",
        archive.display()
    );
    assert_eq!(record["sealed_to"].as_array().unwrap().len(), 3);
    assert_eq!(record["bytes"], archive.metadata().unwrap().len());

    for pair in &pairs {
        let unpacked = tempfile::tempdir().unwrap();
        open_with_age(pair, &archive, "-xz", unpacked.path());
        let target = server.database();
        restore_unpacked(unpacked.path(), &target);
        assert_eq!(source.digests(), target.digests());
        let info = std::fs::read_to_string(unpacked.path().join("BACKUP_INFO.txt")).unwrap();
        assert!(
            info.contains("age -d -i KEY ARCHIVE | tar -xz -C restored"),
            "{info}"
        );

        let target = server.database();
        let words = [
            "restore",
            "latest",
            "--database",
            target.name(),
            "--identity",
        ];
        let restored = hub.run(&[&words[..], &[pair.identity()]].concat());
        assert_eq!(code(&restored), Some(0), "{}", stderr(&restored));
        assert_eq!(source.digests(), target.digests());
        let verified = hub.run(&["verify", "--identity", pair.identity(), "--drill"]);
        assert_eq!(code(&verified), Some(0), "{}", stderr(&verified));
        assert!(
            stdout(&verified).contains("proven: "),
            "{}",
            stdout(&verified)
        );
        let diff = hub.run(&["diff", "latest", "--identity", pair.identity()]);
        assert_eq!(code(&diff), Some(0), "{}", stderr(&diff));
    }
    // Whoever opened it was seen.
    let check = hub.run(&["seal", "check"]);
    assert_eq!(code(&check), Some(0), "{}", stdout(&check));
    assert!(!stdout(&check).contains("never"), "{}", stdout(&check));
}

#[test]
fn a_wrong_or_unusable_identity_is_refused_with_the_reason() {
    let database = database_with(USERS);
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    let mallory = Pair::age(keys.path(), "mallory");
    let locked = Pair::ssh(keys.path(), "ed25519", "256", "secret");
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_RECIPIENTS", &alice.public);
    hub.backup();
    let public = keys.path().join("public");
    std::fs::write(&public, &alice.public).unwrap();
    for command in ["show", "verify", "restore", "diff", "drill"] {
        for (file, words) in [
            (
                mallory.identity(),
                "none of the identities given (1) is one of them",
            ),
            (locked.identity(), "ssh-keygen -p"),
            (text(&public), "line 1: this is a public key"),
            ("/nowhere/key", "reading the identity file /nowhere/key"),
        ] {
            let output = hub.run(&[command, "latest", "--identity", file]);
            let said = stderr(&output);
            assert_eq!(code(&output), Some(1), "{command} {file}: {said}");
            assert!(said.contains(words), "{command} {file}: {said}");
        }
    }
    for command in ["restore", "diff", "drill"] {
        let output = hub.run(&[command, "latest"]);
        let said = stderr(&output);
        assert_eq!(code(&output), Some(1), "{command}: {said}");
        let words =
            "sealed to 1 recipient; name the file of a recipient's private key with --identity";
        assert!(said.contains(words), "{command}: {said}");
    }
    // The key that fits may be one of several.
    let words = [
        "show",
        "latest",
        "--identity",
        mallory.identity(),
        "--identity",
    ];
    let output = hub.run(&[&words[..], &[alice.identity()]].concat());
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
}

#[test]
fn one_table_of_a_sealed_archive_is_restored_without_reading_the_rest() {
    let server = server();
    let source = server.database();
    source.execute(
        "CREATE TABLE users (id int); INSERT INTO users SELECT generate_series(1, 10);
         CREATE TABLE blobs AS SELECT n, (SELECT string_agg(md5(n || ' ' || k), '') FROM generate_series(1, 30) k)
             FROM generate_series(1, 20000) n",
    );
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    let mut hub = Hub::whole(&source);
    hub.set("BACKUP_RECIPIENTS", &alice.public);
    let (_, archive) = hub.backup();
    assert!(archive.metadata().unwrap().len() > 5_000_000);
    source.execute("TRUNCATE users");
    let words = [
        "restore",
        "latest",
        "--table",
        "users",
        "--verbose",
        "--identity",
    ];
    let one = hub.run(&[&words[..], &[alice.identity()]].concat());
    let said = stdout(&one);
    assert_eq!(code(&one), Some(0), "{}", stderr(&one));
    assert!(
        said.contains(" kB of the archive's ") && said.contains(" MB"),
        "{said}"
    );
    assert_eq!(source.value("SELECT count(*) FROM users"), "10");
    // And from a pipe.
    let target = server.database();
    let words = [
        "restore",
        "-",
        "--database",
        target.name(),
        "--identity",
        alice.identity(),
    ];
    let file = std::fs::File::open(&archive).unwrap();
    let output = hub.command(&words).stdin(file).output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert_eq!(source.digests(), target.digests());
}

#[test]
fn sealed_archives_are_listed_checked_and_pruned_without_a_key() {
    let database = database_with(USERS);
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    let mut hub = Hub::with(
        &database,
        &format!("{ALL}[retention]\ndays = 0\nkeep_last = 0\n"),
    );
    hub.set("BACKUP_RECIPIENTS", &alice.public);
    let (record, first) = hub.backup();
    let beside: Value = serde_json::from_slice(&std::fs::read(sidecar(&first)).unwrap()).unwrap();
    let sum = std::process::Command::new("sh")
        .args(["-c", "head -c 4096 \"$1\" | sha256sum | cut -c1-64", "sh"])
        .arg(&first)
        .output()
        .unwrap();
    assert_eq!(beside["head_sha256"], stdout(&sum).trim(), "{beside}");

    let shown = hub.run(&["show", "latest"]);
    assert_eq!(code(&shown), Some(0), "{}", stderr(&shown));
    let said = stdout(&shown);
    assert!(
        said.contains("sealed to 1 recipient") && said.contains("read from the sidecar"),
        "{said}"
    );
    assert!(said.contains("users") && said.contains("1,000"), "{said}");
    let opened = stdout(&hub.run(&["show", "latest", "--identity", alice.identity()]));
    assert!(
        opened.contains("sealed to 1 recipient") && !opened.contains("sidecar"),
        "{opened}"
    );

    let verified = hub.run(&["verify", "latest"]);
    assert_eq!(code(&verified), Some(3), "{}", stderr(&verified));
    let said = stdout(&verified);
    assert!(said.contains("contents were not checked"), "{said}");
    let json = hub.run(&["verify", "latest", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["checked"], &json["ok"]),
        (&Value::from("file"), &Value::Null)
    );
    let drill = hub.run(&["verify", "latest", "--drill"]);
    assert_eq!(code(&drill), Some(1), "{}", stdout(&drill));
    let all = hub.run(&["drill", "--all"]);
    assert_eq!(code(&all), Some(3), "{}", stderr(&all));
    assert!(
        stdout(&all).contains("tar.gz.age: sealed, not drilled"),
        "{}",
        stdout(&all)
    );

    assert_eq!(code(&hub.run(&["pin", "latest"])), Some(0));
    std::fs::remove_file(hub.backups().join(".hubvault/catalog.sqlite")).unwrap();
    let rebuilt = hub.run(&["catalog", "rebuild"]);
    assert_eq!(code(&rebuilt), Some(0), "{}", stderr(&rebuilt));
    let listed: Value = serde_json::from_slice(&hub.run(&["list", "--json"]).stdout).unwrap();
    for key in [
        "id",
        "file",
        "tables",
        "bytes",
        "warnings",
        "sealed_to",
        "state",
    ] {
        assert_eq!(listed[0][key], record[key], "{key}");
    }
    assert_eq!(listed[0]["pinned"], true);
    // The sidecar still says how it is sealed.
    assert_eq!(code(&hub.run(&["verify", "latest"])), Some(3));
    assert_eq!(code(&hub.run(&["unpin", "latest"])), Some(0));

    next_second();
    let (_, second) = hub.backup();
    assert!(!first.exists() && !sidecar(&first).exists() && second.exists());

    // A changed file is found by its checksum, and one that took its place stays.
    let mut bytes = std::fs::read(&second).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&second, &bytes).unwrap();
    for words in [
        &["verify", "latest"][..],
        &["verify", "latest", "--identity", alice.identity()],
    ] {
        let output = hub.run(words);
        assert_eq!(code(&output), Some(1), "{words:?}: {}", stdout(&output));
    }
    std::fs::write(&second, [&bytes[..], b"more"].concat()).unwrap();
    next_second();
    let (record, third) = hub.backup();
    assert!(
        record["warnings"]
            .to_string()
            .contains("is another archive now; not removed"),
        "{record}"
    );
    assert!(second.exists() && third.exists());
    std::fs::remove_file(sidecar(&second)).unwrap();
    let rebuilt = hub.run(&["catalog", "rebuild"]);
    assert_eq!(code(&rebuilt), Some(3), "{}", stdout(&rebuilt));
    assert!(
        stderr(&rebuilt).contains("it is sealed, and its sidecar"),
        "{}",
        stderr(&rebuilt)
    );
}

#[test]
fn zstd_archives_are_sealed_too() {
    let server = server();
    let source = server.database();
    source.execute(NASTY);
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    let mut hub = Hub::with(
        &source,
        &format!(
            "{ALL}[archive]\ncodec = \"zstd\"\n[[seal.recipient]]\nname = \"alice\"\nkey = \"{}\"\n",
            alice.public
        ),
    );
    let (_, archive) = hub.backup();
    assert!(
        text(&archive).ends_with(".tar.zst.age"),
        "{}",
        archive.display()
    );
    let unpacked = tempfile::tempdir().unwrap();
    open_with_age(&alice, &archive, "--zstd -x", unpacked.path());
    let target = server.database();
    restore_unpacked(unpacked.path(), &target);
    assert_eq!(source.digests(), target.digests());
    let verified = hub.run(&["verify", "--identity", alice.identity()]);
    assert_eq!(code(&verified), Some(0), "{}", stderr(&verified));
    // Switched off, the next one is in the clear again.
    hub.write(&format!("file = []\n{ALL}"));
    next_second();
    let (record, archive) = hub.backup();
    assert!(text(&archive).ends_with(".tar.gz"), "{record}");
    assert_eq!(record["sealed_to"].to_string(), "[]");
}

#[test]
fn no_private_key_is_written_anywhere() {
    let database = database_with(USERS);
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    let (mut hub, drills) = drilling(&database);
    hub.set("BACKUP_RECIPIENTS", &alice.public);
    hub.set("LOG_LEVEL", "trace");
    let output = hub.run(&["backup"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert!(!(stdout(&output) + &stderr(&output)).contains("AGE-SECRET-KEY"));
    let mut looked_at = 0;
    let mut folders = vec![hub.backups(), hub.config(), drills.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let secret = bytes
                .windows(14)
                .any(|w| w.eq_ignore_ascii_case(b"AGE-SECRET-KEY"));
            assert!(!secret, "{}", path.display());
            // Rows do not lie there in the clear either.
            assert!(!contains_bytes(&bytes, b"user 999"), "{}", path.display());
            looked_at += 1;
        }
    }
    assert!(looked_at >= 4, "{looked_at}");
}

/// What a directory has in the clear: everything but archives and what is hidden.
fn clear_texts(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let texts =
        paths.filter(|path| path.is_file() && path.extension().is_none_or(|it| it != "age"));
    texts
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn nothing_that_quotes_rows_is_beside_a_sealed_archive() {
    let source = server().database();
    source.execute(
        "CREATE TABLE z (v text); INSERT INTO z VALUES ('1');
         CREATE MATERIALIZED VIEW number AS SELECT v::int AS n FROM z; UPDATE z SET v = 'topsecret'",
    );
    let (keys, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pair = Pair::age(keys.path(), "alice");
    let (mut hub, _drills) = drilling(&source);
    hub.set("BACKUP_RECIPIENTS", &pair.public);
    let place = text(far.path());
    hub.write(&format!(
        "{ALL}[[source]]\nname = \"notes\"\ncommand = [\"sh\", \"-c\", \"echo topsecret >&2; exit 1\"]\nrequired = false\n\
         [[destination]]\nname = \"far\"\nurl = \"{place}\"\n"
    ));
    hub.run_expecting(3, &["backup"]);
    let archives = || clear_texts(&hub.backups()) + &clear_texts(far.path());
    let stored = archives();
    assert!(stored.contains("have the details"), "{stored}");
    assert!(stored.contains("source-failed"), "{stored}");
    assert!(!stored.contains("topsecret"), "{stored}");
    hub.run_expecting(3, &["drill", "latest", "--identity", pair.identity()]);
    let stored = archives();
    assert!(stored.contains("\"machine\""), "there is a mark: {stored}");
    assert!(!stored.contains("topsecret"), "{stored}");
    // Who drilled it sees all of it.
    for command in [["list", "--json"], ["show", "latest"]] {
        let said = stdout(&hub.run_expecting(0, &command));
        assert!(said.contains("topsecret"), "{command:?}: {said}");
    }
    // Nor is a sidecar sent as an earlier version wrote it.
    let mut archives = crate::hub::archives_and_partials(&hub.backups());
    archives.retain(|path| path.extension().is_some_and(|it| it == "age"));
    let archive = archives.remove(0);
    let mut earlier: Value =
        serde_json::from_str(&std::fs::read_to_string(sidecar(&archive)).unwrap()).unwrap();
    earlier["proof"]["reason"] = "not rebuilt: number (topsecret)".into();
    earlier["newer"] = true.into();
    std::fs::write(sidecar(&archive), earlier.to_string()).unwrap();
    for entry in std::fs::read_dir(far.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    hub.run(&["copies", "sync"]);
    let stored = clear_texts(far.path());
    assert!(stored.contains("\"newer\""), "{stored}");
    assert!(!stored.contains("topsecret"), "{stored}");
}
