//! State changed from outside: catalog, archives, sidecars. Reports afterwards agree with the disk, or an error says
//! how to fix it.

use crate::fault_harness::FaultHarness;
use crate::form::points;
use crate::hub::{Hub, stderr, stdout};
use crate::keys::Pair;
use crate::tally::Tally;
use hubvault_testkit::{database_with, noise};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

pub(crate) const SMALL: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, 500) n; ANALYZE";

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn catalog(hub: &Hub) -> PathBuf {
    hub.backups().join(".hubvault/catalog.sqlite")
}

fn sidecar(archive: &Path) -> PathBuf {
    PathBuf::from(format!("{}.manifest.json", archive.display()))
}

fn mark(archive: &Path, drill: &str) -> PathBuf {
    PathBuf::from(format!("{}.{drill}.proof", archive.display()))
}

/// What a list says of each archive, without who was notified: that is not on the disk.
fn archives_of(list: &[Value]) -> Vec<Value> {
    let keys = [
        "id",
        "file",
        "state",
        "bytes",
        "tables",
        "pinned",
        "sealed_to",
    ];
    let of = |record: &Value| keys.iter().map(|key| record[key].clone()).collect();
    list.iter().map(of).collect()
}

/// What every command says of a catalog that cannot be read: its path and the cure. Then the cure.
fn check_refused_and_repaired(harness: &FaultHarness, before: &[Value]) {
    let path = catalog(&harness.hub);
    for words in [
        &["list"][..],
        &["status"],
        &["check"],
        &["backup"],
        &["prune"],
        &["show", "latest"],
    ] {
        let output = harness.hub.run(words);
        let said = stderr(&output);
        assert_eq!(code(&output), Some(1), "{words:?}: {said}");
        assert!(said.contains(path.to_str().unwrap()), "{words:?}: {said}");
        assert!(
            said.contains("move it away") && said.contains("catalog rebuild"),
            "{words:?}: {said}"
        );
    }
    fs::rename(&path, path.with_extension("away")).unwrap();
    let rebuilt = harness.hub.run(&["catalog", "rebuild"]);
    assert_eq!(code(&rebuilt), Some(0), "{}", stderr(&rebuilt));
    assert_eq!(archives_of(&harness.list().unwrap()), archives_of(before));
}

#[test]
fn a_lost_or_damaged_catalog_is_noticed_and_rebuilt() {
    let database = database_with(SMALL);
    let harness = FaultHarness::new(&database, "");
    harness.hub.backup();
    harness.hub.backup();
    assert_eq!(code(&harness.hub.run(&["pin", "latest"])), Some(0));
    let (before, proven) = (harness.list().unwrap(), harness.proven());
    let path = catalog(&harness.hub);
    let whole = fs::read(&path).unwrap();
    let mut tally = Tally::new("state-catalog");

    fs::remove_file(&path).unwrap();
    assert_eq!(archives_of(&harness.list().unwrap()), archives_of(&before));
    harness.check_consistency(&proven).unwrap();
    tally.passed(
        "catalog deleted",
        "every archive is known again, proven and pinned as before",
    );

    fs::write(&path, "").unwrap();
    assert_eq!(archives_of(&harness.list().unwrap()), archives_of(&before));
    tally.passed(
        "catalog emptied",
        "every archive is known again, proven and pinned as before",
    );

    for damaged in [
        &noise(whole.len())[..],
        b"SQLite format 3\0 and then something else",
    ] {
        fs::write(&path, damaged).unwrap();
        check_refused_and_repaired(&harness, &before);
        tally.passed(
            "catalog overwritten",
            "every command refuses, names it and the cure; the cure brings everything back",
        );
    }
    for at in 0..points(3, 40) {
        fs::write(&path, &whole[..=at * (whole.len() - 1) / points(3, 40)]).unwrap();
        check_refused_or_correct(&harness, &before, "catalog cut short", &mut tally);
    }
    let pages = whole.len() / 4096;
    for page in (0..pages).step_by(points(pages / 3, 1).max(1)) {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..4096].copy_from_slice(&noise(4096));
        fs::write(&path, damaged).unwrap();
        check_refused_or_correct(
            &harness,
            &before,
            "a page of the catalog overwritten",
            &mut tally,
        );
    }
    fs::remove_file(&path).unwrap();
    harness.hub.backup();
    harness.check_consistency(&proven).unwrap();
    tally.finish();
}

/// A list of a damaged catalog is an error, or nothing was damaged that it needs.
fn check_refused_or_correct(
    harness: &FaultHarness,
    before: &[Value],
    kind: &str,
    tally: &mut Tally,
) {
    match harness.list() {
        Ok(list) if archives_of(&list) == archives_of(before) => {
            tally.passed(
                kind,
                "the list is true: what was damaged is not what it reads, or was made anew",
            );
        }
        Ok(list) => tally.failed(kind, &format!("the list lies: {list:?}")),
        Err(said) if said.contains("catalog rebuild") => {
            tally.passed(kind, "the list is refused, with the cure");
        }
        Err(said) => tally.failed(kind, &format!("it is refused without the cure: {said}")),
    }
}

#[test]
fn a_missing_archive_is_reported_by_every_command() {
    let database = database_with(SMALL);
    let harness = FaultHarness::new(&database, "");
    harness.hub.backup();
    let (gone, archive) = harness.hub.backup();
    fs::remove_file(&archive).unwrap();
    let name = archive.to_str().unwrap();
    let mut tally = Tally::new("state-archive-gone");

    let list = harness.list().unwrap();
    assert_eq!(
        (&list[0]["id"], &list[0]["missing"]),
        (&gone["id"], &Value::Bool(true))
    );
    assert_eq!(list[1]["missing"], Value::Null);
    assert!(stdout(&harness.hub.run(&["list"])).contains("FILE IS MISSING"));
    let status = harness.hub.run(&["status"]);
    assert_eq!(code(&status), Some(3));
    assert!(
        stdout(&status).contains(&format!("{name} is missing")),
        "{}",
        stdout(&status)
    );
    let json: Value =
        serde_json::from_slice(&harness.hub.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(json["newest_proven"]["id"], list[1]["id"]);
    assert_eq!(json["archives"], 1);
    let check = harness.hub.run(&["check", "files"]);
    assert_eq!(code(&check), Some(1));
    assert!(stdout(&check).contains(name), "{}", stdout(&check));
    for words in [
        ["show", "latest"],
        ["verify", "latest"],
        ["drill", "latest"],
    ] {
        let output = harness.hub.run(&words);
        assert_eq!(code(&output), Some(1), "{words:?}");
        assert!(
            stderr(&output).contains(name),
            "{words:?}: {}",
            stderr(&output)
        );
    }
    assert!(
        !stdout(&harness.hub.run(&["prune", "--dry-run"]))
            .contains(&gone["id"].as_str().unwrap()[..8])
    );
    let next = harness.hub.run(&["backup", "--json"]);
    assert_eq!(code(&next), Some(0), "{}", stderr(&next));
    assert!(!sidecar(&archive).exists(), "its sidecar is swept");
    assert_eq!(harness.list().unwrap()[1]["missing"], Value::Bool(true));
    tally.passed(
        "archive deleted",
        "list, status, check, show, verify, drill and prune say or know that it is gone; the next backup is proven",
    );
    tally.finish();
}

#[test]
fn a_missing_or_foreign_sidecar_proves_nothing() {
    let database = database_with(SMALL);
    let harness = FaultHarness::new(&database, "");
    let (_, first) = harness.hub.backup();
    let (_, second) = harness.hub.backup();
    let before = harness.list().unwrap();
    let mut tally = Tally::new("state-sidecar");

    fs::remove_file(sidecar(&second)).unwrap();
    let verified = harness.hub.run(&["verify", second.to_str().unwrap()]);
    assert_eq!(code(&verified), Some(0), "{}", stderr(&verified));
    assert_eq!(
        archives_of(&harness.list().unwrap()),
        archives_of(&before),
        "the catalog proved it"
    );
    let drilled = harness.hub.run(&["drill", second.to_str().unwrap()]);
    assert_eq!(code(&drilled), Some(0), "{}", stderr(&drilled));
    harness.check_consistency(&harness.proven()).unwrap();
    tally.passed(
        "sidecar deleted",
        "the archive is read without it, and the next drill writes it anew",
    );

    fs::remove_file(sidecar(&second)).unwrap();
    fs::remove_file(catalog(&harness.hub)).unwrap();
    let list = harness.list().unwrap();
    let states = (&list[0]["state"], &list[1]["state"]);
    assert_eq!(states, (&"proven".into(), &"proven".into()), "{list:?}");
    let drill = &list[0]["drill_mark"]["name"];
    assert!(drill.is_string() && list[0]["id"] == before[0]["id"]);
    tally.passed(
        "sidecar and catalog deleted, the mark of the drill left",
        "the archive is listed as proven, by that drill",
    );

    fs::remove_file(mark(&second, drill.as_str().unwrap())).unwrap();
    fs::remove_file(catalog(&harness.hub)).unwrap();
    let list = harness.list().unwrap();
    let states = (&list[0]["state"], &list[1]["state"]);
    assert_eq!(states, (&"unproven".into(), &"proven".into()), "{list:?}");
    tally.passed(
        "sidecar, mark and catalog deleted",
        "the archive is listed as unproven until it is drilled",
    );

    fs::copy(sidecar(&first), sidecar(&second)).unwrap();
    fs::remove_file(catalog(&harness.hub)).unwrap();
    let list = harness.list().unwrap();
    assert_eq!(list[0]["state"], "unproven", "{list:?}");
    assert_eq!(list[0]["id"], before[0]["id"]);
    let verified = harness.hub.run(&["verify", second.to_str().unwrap()]);
    assert_eq!(code(&verified), Some(0), "{}", stderr(&verified));
    let drilled = harness.hub.run(&["drill", second.to_str().unwrap()]);
    assert_eq!(code(&drilled), Some(0), "{}", stderr(&drilled));
    harness.check_consistency(&harness.proven()).unwrap();
    tally.passed(
        "sidecar of another archive",
        "it proves nothing; the next drill writes the right one",
    );
    tally.finish();
}

#[test]
fn a_sealed_archive_is_never_identified_by_a_foreign_sidecar() {
    let database = database_with(SMALL);
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    let mut harness = FaultHarness::new(&database, "");
    harness.hub.set("BACKUP_RECIPIENTS", &alice.public);
    let (_, first) = harness.hub.backup();
    let (_, second) = harness.hub.backup();
    let mut tally = Tally::new("state-sidecar-sealed");

    fs::copy(sidecar(&first), sidecar(&second)).unwrap();
    for words in [&["verify"][..], &["verify", "--identity", alice.identity()]] {
        let output = harness
            .hub
            .run(&[words, &[second.to_str().unwrap()]].concat());
        let with_key = words.len() > 1;
        assert_eq!(
            code(&output),
            Some(i32::from(!with_key)),
            "{words:?}: {}",
            stderr(&output)
        );
    }
    let check = harness.hub.run(&["check", "files"]);
    assert_eq!(code(&check), Some(1), "{}", stdout(&check));
    fs::remove_file(catalog(&harness.hub)).unwrap();
    let output = harness.hub.run(&["list", "--json"]);
    let list: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(list[0]["file"], first.to_str().unwrap());
    let said = stderr(&output);
    assert!(
        said.contains(second.to_str().unwrap()) && said.contains("not listed"),
        "{said}"
    );
    tally.passed(
        "sidecar of another sealed archive",
        "verify and check find it by the file's SHA-256; without the catalog it is not listed, and that is said",
    );

    fs::remove_file(sidecar(&second)).unwrap();
    let verified = harness.hub.run(&["verify", second.to_str().unwrap()]);
    assert_eq!(code(&verified), Some(1), "{}", stdout(&verified));
    assert!(
        stderr(&verified).contains("--identity"),
        "{}",
        stderr(&verified)
    );
    let opened = harness.hub.run(&[
        "verify",
        second.to_str().unwrap(),
        "--identity",
        alice.identity(),
    ]);
    assert_eq!(code(&opened), Some(0), "{}", stderr(&opened));
    tally.passed(
        "sidecar of a sealed archive deleted",
        "it is not listed without a key, which is said; with the key it is whole",
    );
    tally.finish();
}
