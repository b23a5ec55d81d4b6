//! State that is changed behind hubvault's back: its catalog, its archives, their sidecars. What is said afterwards is what lies
//! on the disk, or an error that names the cure.

use crate::form::points;
use crate::hub::{Hub, stderr, stdout};
use crate::keys::Pair;
use crate::tally::Tally;
use crate::ward::Ward;
use hubvault_testkit::server;
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

/// What a list says of each archive, but not of who was told: nothing on the disk knows that.
fn known(list: &[Value]) -> Vec<Value> {
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

/// xorshift64 (Marsaglia, 2003).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next().to_le_bytes()[3]);
    }
}

/// What every command says of a catalog that cannot be read: its path and the cure. Then the cure.
fn is_refused_and_cured(ward: &Ward, before: &[Value]) {
    let path = catalog(&ward.hub);
    for words in [
        &["list"][..],
        &["status"],
        &["check"],
        &["backup"],
        &["prune"],
        &["show", "latest"],
    ] {
        let output = ward.hub.run(words);
        let said = stderr(&output);
        assert_eq!(code(&output), Some(1), "{words:?}: {said}");
        assert!(said.contains(path.to_str().unwrap()), "{words:?}: {said}");
        assert!(
            said.contains("move it away") && said.contains("catalog rebuild"),
            "{words:?}: {said}"
        );
    }
    fs::rename(&path, path.with_extension("away")).unwrap();
    let rebuilt = ward.hub.run(&["catalog", "rebuild"]);
    assert_eq!(code(&rebuilt), Some(0), "{}", stderr(&rebuilt));
    assert_eq!(known(&ward.list().unwrap()), known(before));
}

#[test]
fn a_catalog_that_is_lost_or_damaged_is_noticed_and_made_anew() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    let ward = Ward::new(&database, "");
    ward.hub.backup();
    ward.hub.backup();
    assert_eq!(code(&ward.hub.run(&["pin", "latest"])), Some(0));
    let (before, proven) = (ward.list().unwrap(), ward.proven());
    let path = catalog(&ward.hub);
    let whole = fs::read(&path).unwrap();
    let mut tally = Tally::new("state-catalog");

    fs::remove_file(&path).unwrap();
    assert_eq!(known(&ward.list().unwrap()), known(&before));
    ward.tells_the_truth(&proven).unwrap();
    tally.well(
        "catalog deleted",
        "every archive is known again, proven and pinned as before",
    );

    fs::write(&path, "").unwrap();
    assert_eq!(known(&ward.list().unwrap()), known(&before));
    tally.well(
        "catalog emptied",
        "every archive is known again, proven and pinned as before",
    );

    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut noise = whole.clone();
    chance.fill(&mut noise);
    for damaged in [&noise[..], b"SQLite format 3\0 and then something else"] {
        fs::write(&path, damaged).unwrap();
        is_refused_and_cured(&ward, &before);
        tally.well(
            "catalog overwritten",
            "every command refuses, names it and the cure; the cure brings everything back",
        );
    }
    for at in 0..points(3, 40) {
        fs::write(&path, &whole[..=at * (whole.len() - 1) / points(3, 40)]).unwrap();
        never_lies(&ward, &before, "catalog cut short", &mut tally);
    }
    let pages = whole.len() / 4096;
    for page in (0..pages).step_by(points(pages / 3, 1).max(1)) {
        let mut damaged = whole.clone();
        chance.fill(&mut damaged[page * 4096..][..4096]);
        fs::write(&path, damaged).unwrap();
        never_lies(
            &ward,
            &before,
            "a page of the catalog overwritten",
            &mut tally,
        );
    }
    fs::remove_file(&path).unwrap();
    ward.hub.backup();
    ward.tells_the_truth(&proven).unwrap();
    tally.close();
}

/// A list of a damaged catalog is an error, or nothing was damaged that it needs.
fn never_lies(ward: &Ward, before: &[Value], kind: &str, tally: &mut Tally) {
    match ward.list() {
        Ok(list) if known(&list) == known(before) => {
            tally.well(
                kind,
                "the list is true: what was damaged is not what it reads, or was made anew",
            );
        }
        Ok(list) => tally.badly(kind, &format!("the list lies: {list:?}")),
        Err(said) if said.contains("catalog rebuild") => {
            tally.well(kind, "the list is refused, with the cure");
        }
        Err(said) => tally.badly(kind, &format!("it is refused without the cure: {said}")),
    }
}

#[test]
fn an_archive_that_is_gone_is_missed_by_everybody() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    let ward = Ward::new(&database, "");
    ward.hub.backup();
    let (gone, archive) = ward.hub.backup();
    fs::remove_file(&archive).unwrap();
    let name = archive.to_str().unwrap();
    let mut tally = Tally::new("state-archive-gone");

    let list = ward.list().unwrap();
    assert_eq!(
        (&list[0]["id"], &list[0]["missing"]),
        (&gone["id"], &Value::Bool(true))
    );
    assert_eq!(list[1]["missing"], Value::Null);
    assert!(stdout(&ward.hub.run(&["list"])).contains("FILE IS MISSING"));
    let status = ward.hub.run(&["status"]);
    assert_eq!(code(&status), Some(3));
    assert!(
        stdout(&status).contains(&format!("{name} is missing")),
        "{}",
        stdout(&status)
    );
    let json: Value = serde_json::from_slice(&ward.hub.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(json["newest_proven"]["id"], list[1]["id"]);
    assert_eq!(json["archives"], 1);
    let check = ward.hub.run(&["check", "files"]);
    assert_eq!(code(&check), Some(1));
    assert!(stdout(&check).contains(name), "{}", stdout(&check));
    for words in [
        ["show", "latest"],
        ["verify", "latest"],
        ["drill", "latest"],
    ] {
        let output = ward.hub.run(&words);
        assert_eq!(code(&output), Some(1), "{words:?}");
        assert!(
            stderr(&output).contains(name),
            "{words:?}: {}",
            stderr(&output)
        );
    }
    assert!(
        !stdout(&ward.hub.run(&["prune", "--dry-run"]))
            .contains(&gone["id"].as_str().unwrap()[..8])
    );
    let next = ward.hub.run(&["backup", "--json"]);
    assert_eq!(code(&next), Some(0), "{}", stderr(&next));
    assert!(!sidecar(&archive).exists(), "its sidecar is swept");
    assert_eq!(ward.list().unwrap()[1]["missing"], Value::Bool(true));
    tally.well(
        "archive deleted",
        "list, status, check, show, verify, drill and prune say or know that it is gone; the next backup is proven",
    );
    tally.close();
}

#[test]
fn a_sidecar_that_is_gone_or_that_of_another_proves_nothing() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    let ward = Ward::new(&database, "");
    let (_, first) = ward.hub.backup();
    let (_, second) = ward.hub.backup();
    let before = ward.list().unwrap();
    let mut tally = Tally::new("state-sidecar");

    fs::remove_file(sidecar(&second)).unwrap();
    let verified = ward.hub.run(&["verify", second.to_str().unwrap()]);
    assert_eq!(code(&verified), Some(0), "{}", stderr(&verified));
    assert_eq!(
        known(&ward.list().unwrap()),
        known(&before),
        "the catalog proved it"
    );
    let drilled = ward.hub.run(&["drill", second.to_str().unwrap()]);
    assert_eq!(code(&drilled), Some(0), "{}", stderr(&drilled));
    ward.tells_the_truth(&ward.proven()).unwrap();
    tally.well(
        "sidecar deleted",
        "the archive is read without it, and the next drill writes it anew",
    );

    fs::remove_file(sidecar(&second)).unwrap();
    fs::remove_file(catalog(&ward.hub)).unwrap();
    let list = ward.list().unwrap();
    let states = (&list[0]["state"], &list[1]["state"]);
    assert_eq!(states, (&"unproven".into(), &"proven".into()), "{list:?}");
    tally.well(
        "sidecar and catalog deleted",
        "the archive is listed as unproven until it is drilled",
    );

    fs::copy(sidecar(&first), sidecar(&second)).unwrap();
    fs::remove_file(catalog(&ward.hub)).unwrap();
    let list = ward.list().unwrap();
    assert_eq!(list[0]["state"], "unproven", "{list:?}");
    assert_eq!(list[0]["id"], before[0]["id"]);
    let verified = ward.hub.run(&["verify", second.to_str().unwrap()]);
    assert_eq!(code(&verified), Some(0), "{}", stderr(&verified));
    let drilled = ward.hub.run(&["drill", second.to_str().unwrap()]);
    assert_eq!(code(&drilled), Some(0), "{}", stderr(&drilled));
    ward.tells_the_truth(&ward.proven()).unwrap();
    tally.well(
        "sidecar of another archive",
        "it proves nothing; the next drill writes the right one",
    );
    tally.close();
}

#[test]
fn a_sealed_archive_is_never_known_by_the_sidecar_of_another() {
    let server = server();
    let database = server.database();
    database.execute(SMALL);
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    let mut ward = Ward::new(&database, "");
    ward.hub.set("BACKUP_RECIPIENTS", &alice.public);
    let (_, first) = ward.hub.backup();
    let (_, second) = ward.hub.backup();
    let mut tally = Tally::new("state-sidecar-sealed");

    fs::copy(sidecar(&first), sidecar(&second)).unwrap();
    for words in [&["verify"][..], &["verify", "--identity", alice.identity()]] {
        let output = ward.hub.run(&[words, &[second.to_str().unwrap()]].concat());
        let with_key = words.len() > 1;
        assert_eq!(
            code(&output),
            Some(i32::from(!with_key)),
            "{words:?}: {}",
            stderr(&output)
        );
    }
    let check = ward.hub.run(&["check", "files"]);
    assert_eq!(code(&check), Some(1), "{}", stdout(&check));
    fs::remove_file(catalog(&ward.hub)).unwrap();
    let output = ward.hub.run(&["list", "--json"]);
    let list: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(list[0]["file"], first.to_str().unwrap());
    let said = stderr(&output);
    assert!(
        said.contains(second.to_str().unwrap()) && said.contains("not listed"),
        "{said}"
    );
    tally.well(
        "sidecar of another sealed archive",
        "verify and check find it by the file's SHA-256; without the catalog it is not listed, and that is said",
    );

    fs::remove_file(sidecar(&second)).unwrap();
    let verified = ward.hub.run(&["verify", second.to_str().unwrap()]);
    assert_eq!(code(&verified), Some(1), "{}", stdout(&verified));
    assert!(
        stderr(&verified).contains("--identity"),
        "{}",
        stderr(&verified)
    );
    let opened = ward.hub.run(&[
        "verify",
        second.to_str().unwrap(),
        "--identity",
        alice.identity(),
    ]);
    assert_eq!(code(&opened), Some(0), "{}", stderr(&opened));
    tally.well(
        "sidecar of a sealed archive deleted",
        "it is not listed without a key, which is said; with the key it is whole",
    );
    tally.close();
}
