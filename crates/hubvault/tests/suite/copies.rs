//! Copies at several destinations: made after the backup, compared, tried again, looked for.

use crate::hub::{Hub, archives_and_partials, stderr, stdout};
use crate::interrupted::signal;
use crate::keys::Pair;
use crate::retention::next_second;
use hubvault_testkit::{Database, database_with, wait_for};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tempfile::TempDir;

pub(crate) const SMALL: &str =
    "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1)";
/// Some MB that no codec makes smaller.
const LARGE: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, md5(n::text) || md5((-n)::text) || md5((n * 7)::text) FROM generate_series(1, 60000) n";
const WHOLE: &str = "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n";

/// A hub with two directories far away, called `near` and `far`.
pub(crate) struct Copies {
    pub(crate) hub: Hub,
    places: TempDir,
    _database: Database,
}

impl Copies {
    pub(crate) fn new(sql: &str, far: &str) -> Self {
        let database = database_with(sql);
        let mut copies = Self {
            hub: Hub::whole(&database),
            places: tempfile::tempdir().unwrap(),
            _database: database,
        };
        for name in ["near", "far"] {
            std::fs::create_dir(copies.place(name)).unwrap();
        }
        copies.configure(far);
        copies
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.places.path().join(name)
    }

    /// Both destinations, with more settings for `far`.
    pub(crate) fn configure(&mut self, far: &str) {
        let table = |name: &str, more: &str| {
            let url = self.place(name).display().to_string();
            format!("[[destination]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n")
        };
        let toml = format!("{WHOLE}{}{}", table("near", ""), table("far", far));
        self.hub.write(&toml);
    }

    /// The copies of the newest backup at a destination, as recorded.
    pub(crate) fn copy(&self, destination: &str) -> Value {
        let list = [
            "copies",
            "list",
            "latest",
            "--destination",
            destination,
            "--json",
        ];
        let listed = self.hub.run_expecting(0, &list);
        let all: Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
        all[0].clone()
    }

    /// What the service does for copies between two runs.
    fn tend(&self) -> Output {
        let mut child = self
            .hub
            .command(&["child", "copies"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let toml = std::fs::read(self.hub.config().join("hubvault.toml")).unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"\"copies\"\n").unwrap();
        input.write_all(&toml).unwrap();
        drop(input);
        child.wait_with_output().unwrap()
    }

    pub(crate) fn far(&self) -> Vec<PathBuf> {
        archives_and_partials(&self.place("far"))
    }
}

fn sidecar(archive: &Path) -> PathBuf {
    PathBuf::from(format!("{}.manifest.json", archive.display()))
}

fn copy_warnings(record: &Value) -> Vec<String> {
    let warnings = record["warnings"].as_array().unwrap();
    (warnings.iter().filter(|it| it["code"] == "copy"))
        .map(|it| format!("{} {}", it["subject"], it["message"]))
        .collect()
}

#[test]
fn a_backup_is_copied_everywhere_and_compared() {
    let copies = Copies::new(SMALL, "");
    let (record, archive) = copies.hub.backup();
    assert!(copy_warnings(&record).is_empty(), "{record}");
    assert_eq!(record["copies"].as_array().unwrap().len(), 3, "{record}");
    let name = archive.file_name().unwrap();
    for destination in ["near", "far"] {
        let there = copies.place(destination).join(name);
        assert_eq!(
            std::fs::read(&there).unwrap(),
            std::fs::read(&archive).unwrap()
        );
        let both = [sidecar(&there), sidecar(&archive)];
        let [one, other] = both.map(|path| std::fs::read(path).unwrap());
        assert_eq!(one, other);
        let copy = copies.copy(destination);
        assert_eq!(copy["state"], "present", "{copy}");
        assert_eq!(copy["sha256"].as_str().unwrap().len(), 64);
        assert!(
            copy["checked_at"].is_string() && copy["error"].is_null(),
            "{copy}"
        );
    }
    // It can be restored from there, with nothing else.
    copies.hub.run_expecting(
        0,
        &["verify", copies.place("far").join(name).to_str().unwrap()],
    );
    let listed = stdout(&copies.hub.run_expecting(0, &["copies", "list"]));
    for word in ["local", "near", "far", "present", "compared 20"] {
        assert!(listed.contains(word), "{listed}");
    }
    let said = stdout(
        &copies
            .hub
            .run_expecting(0, &["copies", "sync", "--no-progress"]),
    );
    assert_eq!(said, "0 copies made, 0 failed\n");
    copies.hub.run_expecting(0, &["check", "copies"]);
    let nope = ["copies", "sync", "--destination", "nope"];
    copies.hub.run_expecting(2, &nope);
}

#[test]
fn what_cannot_be_copied_is_queued_and_a_sync_makes_it() {
    let mut copies = Copies::new(SMALL, "");
    std::fs::remove_dir(copies.place("far")).unwrap();
    let (record, _) = copies.hub.backup();
    let warnings = copy_warnings(&record).join("\n");
    for word in ["far", "is queued", "hubvault copies sync", "No such file"] {
        assert!(warnings.contains(word), "{word}: {record}");
    }
    let copy = copies.copy("far");
    assert_eq!(
        (&copy["state"], &copy["attempts"]),
        (&"pending".into(), &1.into())
    );
    assert!(
        copy["next_try_at"].is_string() && copy["error"].is_string(),
        "{copy}"
    );
    assert_eq!(copies.copy("near")["state"], "present");
    let failed = copies
        .hub
        .run_expecting(3, &["copies", "sync", "--no-progress"]);
    assert!(stdout(&failed).contains("1 failed"), "{}", stdout(&failed));
    assert_eq!(copies.copy("far")["attempts"], 2);
    // A destination that is not required is no warning of the run.
    copies.configure("required = false");
    next_second();
    let (record, _) = copies.hub.backup();
    assert!(copy_warnings(&record).is_empty(), "{record}");
    assert_eq!(copies.copy("far")["state"], "pending");
    std::fs::create_dir(copies.place("far")).unwrap();
    let said = stdout(
        &copies
            .hub
            .run_expecting(0, &["copies", "sync", "--no-progress"]),
    );
    assert_eq!(said, "2 copies made, 0 failed\n");
    assert_eq!(copies.far().len(), 2);
    assert_eq!(copies.copy("far")["state"], "present");
    assert!(copies.copy("far")["error"].is_null());
}

#[test]
fn a_place_that_is_gone_fails_a_sync_and_a_lost_sidecar_is_no_lost_copy() {
    let copies = Copies::new(SMALL, "");
    copies.hub.backup();
    std::fs::remove_file(sidecar(&copies.far()[0])).unwrap();
    let verify = || stdout(&copies.hub.run_expecting(3, &["copies", "verify"]));
    assert!(verify().contains("at far: present, but its sidecar"));
    let sync = |code| copies.hub.run_expecting(code, &["copies", "sync"]);
    sync(0);
    std::fs::remove_dir_all(copies.place("far")).unwrap();
    sync(3);
    assert!(verify().contains("at far: could not be checked: "));
}

#[test]
fn the_next_run_copies_what_the_one_before_could_not() {
    let copies = Copies::new(SMALL, "");
    std::fs::remove_dir(copies.place("far")).unwrap();
    copies.hub.backup();
    std::fs::create_dir(copies.place("far")).unwrap();
    next_second();
    let (record, _) = copies.hub.backup();
    assert!(copy_warnings(&record).is_empty(), "{record}");
    assert_eq!(copies.far().len(), 2);
}

#[test]
fn an_unsealed_archive_never_goes_where_sealing_is_required() {
    let mut copies = Copies::new(SMALL, "");
    std::fs::remove_dir(copies.place("far")).unwrap();
    copies.hub.backup();
    std::fs::create_dir(copies.place("far")).unwrap();
    let keys = tempfile::tempdir().unwrap();
    copies
        .hub
        .set("BACKUP_RECIPIENTS", Pair::age(keys.path(), "ada").public);
    copies.configure("sealed = \"required\"");
    let refused = copies
        .hub
        .run_expecting(3, &["copies", "sync", "--no-progress"]);
    assert!(
        stderr(&refused).contains("takes only sealed ones"),
        "{}",
        stderr(&refused)
    );
    assert_eq!(std::fs::read_dir(copies.place("far")).unwrap().count(), 0);
    next_second();
    let (_, sealed) = copies.hub.backup();
    let there: Vec<_> = copies.far();
    assert_eq!(
        there,
        [copies.place("far").join(sealed.file_name().unwrap())]
    );
}

#[test]
fn a_spool_directory_keeps_an_archive_only_until_it_is_copied() {
    let mut copies = Copies::new(SMALL, "");
    copies.hub.set("BACKUP_KEEP_LOCAL", "false");
    std::fs::remove_dir(copies.place("far")).unwrap();
    let (_, archive) = copies.hub.backup();
    assert!(
        archive.is_file(),
        "one destination that is required has no copy"
    );
    std::fs::create_dir(copies.place("far")).unwrap();
    copies
        .hub
        .run_expecting(0, &["copies", "sync", "--no-progress"]);
    assert!(!archive.exists() && !sidecar(&archive).exists());
    next_second();
    let output = copies.hub.run(&["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(copy_warnings(&record).is_empty(), "{record}");
    assert_eq!(record["copies"][0]["state"], "removed", "{record}");
    assert!(archives_and_partials(&copies.hub.backups()).is_empty());
    assert_eq!(copies.far().len(), 2);
    // From where the copies are a further destination is filled.
    let third = copies.place("third");
    std::fs::create_dir(&third).unwrap();
    copies
        .hub
        .set("BACKUP_DESTINATIONS", format!("third={}", third.display()));
    let said = stdout(
        &copies
            .hub
            .run_expecting(0, &["copies", "sync", "--no-progress"]),
    );
    assert_eq!(said, "2 copies made, 0 failed\n");
    let mut both = [third, copies.place("near")].map(|place| {
        let mut names: Vec<_> = std::fs::read_dir(place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    });
    let [one, other] = &mut both;
    assert_eq!(one, other);
}

#[test]
fn the_first_of_a_week_goes_to_a_weekly_destination() {
    let copies = Copies::new(SMALL, "when = \"weekly\"");
    let (_, first) = copies.hub.backup();
    next_second();
    let (record, _) = copies.hub.backup();
    assert!(copy_warnings(&record).is_empty(), "{record}");
    assert_eq!(record["copies"].as_array().unwrap().len(), 2, "{record}");
    copies
        .hub
        .run_expecting(0, &["copies", "sync", "--no-progress"]);
    assert_eq!(
        copies.far(),
        [copies.place("far").join(first.file_name().unwrap())]
    );
}

#[test]
fn a_copy_that_is_lost_or_damaged_is_found_and_made_again() {
    let copies = Copies::new(SMALL, "");
    let (_, archive) = copies.hub.backup();
    let there = copies.place("far").join(archive.file_name().unwrap());
    let whole = std::fs::read(&there).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&there, &damaged).unwrap();
    copies.hub.run_expecting(0, &["copies", "verify"]);
    let full = copies.hub.run_expecting(3, &["copies", "verify", "--full"]);
    let said = stdout(&full);
    assert!(
        said.contains("at far: damaged") && said.contains("1 wrong"),
        "{said}"
    );
    assert_eq!(copies.copy("far")["state"], "damaged");
    copies.hub.run_expecting(1, &["check", "copies"]);
    copies
        .hub
        .run_expecting(0, &["copies", "sync", "--no-progress"]);
    assert_eq!(std::fs::read(&there).unwrap(), whole);
    std::fs::remove_file(&there).unwrap();
    let look = copies
        .hub
        .run_expecting(3, &["copies", "verify", "--destination", "far"]);
    assert!(stdout(&look).contains("missing"), "{}", stdout(&look));
    copies
        .hub
        .run_expecting(0, &["copies", "sync", "--no-progress"]);
    assert_eq!(std::fs::read(&there).unwrap(), whole);
    copies
        .hub
        .run_expecting(0, &["copies", "verify", "--sample"]);
    let near = copies.place("near").join(archive.file_name().unwrap());
    for file in [&archive, &there, &near] {
        std::fs::remove_file(file).unwrap();
    }
    copies.hub.run_expecting(3, &["copies", "verify"]);
    let synced = copies
        .hub
        .run_expecting(3, &["copies", "sync", "--no-progress"]);
    let said = stderr(&synced);
    assert_eq!(said.matches("no whole copy is left").count(), 2, "{said}");
}

#[test]
fn one_copy_is_removed_and_never_the_last() {
    let copies = Copies::new(SMALL, "");
    let (_, archive) = copies.hub.backup();
    let remove = |from: &str| {
        copies
            .hub
            .run(&["copies", "remove", "latest", "--destination", from])
    };
    assert_eq!(remove("far").status.code(), Some(0));
    assert!(copies.far().is_empty());
    // It does not come back.
    copies
        .hub
        .run_expecting(0, &["copies", "sync", "--no-progress"]);
    assert!(copies.far().is_empty());
    assert_eq!(remove("near").status.code(), Some(0));
    let last = remove("local");
    assert!(
        stderr(&last).contains("is the only one"),
        "{}",
        stderr(&last)
    );
    assert!(archive.is_file());
    let unknown = stderr(&remove("fra"));
    assert!(unknown.contains("did you mean far?"), "{unknown}");
}

#[test]
fn another_archive_of_that_name_is_left_alone() {
    let copies = Copies::new(SMALL, "");
    std::fs::remove_dir(copies.place("far")).unwrap();
    let (_, archive) = copies.hub.backup();
    std::fs::create_dir(copies.place("far")).unwrap();
    let there = copies.place("far").join(archive.file_name().unwrap());
    std::fs::write(&there, "somebody else's").unwrap();
    let refused = copies
        .hub
        .run_expecting(3, &["copies", "sync", "--no-progress"]);
    assert!(
        stderr(&refused).contains("another archive's already"),
        "{}",
        stderr(&refused)
    );
    assert_eq!(std::fs::read(&there).unwrap(), b"somebody else's");
}

#[test]
fn the_service_reads_copies_back_once_a_day() {
    let copies = Copies::new(SMALL, "");
    let (_, archive) = copies.hub.backup();
    let there = copies.place("far").join(archive.file_name().unwrap());
    let mut damaged = std::fs::read(&there).unwrap();
    let half = damaged.len() / 2;
    damaged[half] ^= 1;
    std::fs::write(&there, damaged).unwrap();
    let found = copies.tend();
    assert_eq!(found.status.code(), Some(3), "{}", stderr(&found));
    assert!(
        stderr(&found).contains("at far: damaged"),
        "{}",
        stderr(&found)
    );
    // Not again on the same day.
    assert_eq!(copies.tend().status.code(), Some(0));
    assert_eq!(copies.copy("far")["state"], "damaged");
}

/// Starts a backup whose copy to `far` takes long, and waits until it is on the way.
#[test]
fn an_upload_that_nobody_finished_is_removed_by_a_sync_and_once_a_day_by_a_backup() {
    let copies = Copies::new(SMALL, "");
    let unfinished = |name: &str| {
        let random = "0123456789abcdef".repeat(2);
        let path = copies.place("far").join(format!("{name}.{random}.new"));
        let file = std::fs::File::create(&path).unwrap();
        let days = std::time::Duration::from_hours(48);
        file.set_modified(std::time::SystemTime::now() - days)
            .unwrap();
        path
    };
    let first = unfinished("first");
    copies.hub.backup();
    assert!(!first.exists());
    let second = unfinished("second");
    copies.hub.backup();
    assert!(second.exists());
    copies
        .hub
        .run_expecting(0, &["copies", "sync", "--destination", "near"]);
    assert!(second.exists());
    let synced = copies.hub.run_expecting(0, &["copies", "sync"]);
    assert!(!second.exists(), "{}", stderr(&synced));
}

fn start_until_it_copies(copies: &Copies) -> std::process::Child {
    let child = copies.hub.start_backup();
    let is_on_its_way = || {
        let mut entries = std::fs::read_dir(copies.place("far")).unwrap();
        entries.any(|entry| {
            let path = entry.unwrap().path();
            let name = path.to_string_lossy();
            let is_archive = !name.contains(".manifest.json") && !name.contains("hubvault-probe");
            let is_new = path.extension().is_some_and(|ending| ending == "new");
            is_archive && is_new && path.metadata().is_ok_and(|meta| meta.len() > 0)
        })
    };
    wait_for(is_on_its_way, || "a copy on its way".to_owned());
    child
}

#[test]
fn a_process_that_is_killed_leaves_no_half_copy_and_the_next_makes_it_whole() {
    let mut copies = Copies::new(LARGE, "max_mb_per_second = 1");
    let mut child = start_until_it_copies(&copies);
    signal(&child, "KILL");
    child.wait().unwrap();
    // Known by its record, and there, and not at its destination.
    let copy = copies.copy("far");
    assert_eq!(copy["state"], "pending", "{copy}");
    copies.hub.run_expecting(0, &["verify", "latest"]);
    let key = copies.place("far").join(copy["key"].as_str().unwrap());
    assert!(!key.exists());
    // What the service does between two runs.
    copies.configure("");
    let whole = copies.tend();
    assert_eq!(whole.status.code(), Some(0), "{}", stderr(&whole));
    assert_eq!(copies.copy("far")["state"], "present");
    let local = copies.hub.backups().join(copy["key"].as_str().unwrap());
    assert_eq!(std::fs::read(&key).unwrap(), std::fs::read(local).unwrap());
}

#[test]
fn a_signal_ends_an_upload_and_the_backup_stays() {
    let copies = Copies::new(LARGE, "max_mb_per_second = 1");
    let child = start_until_it_copies(&copies);
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert!(
        matches!(output.status.code(), Some(3 | 143)),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        std::fs::read_dir(copies.place("far")).unwrap().count(),
        0,
        "nothing is left: {}",
        stderr(&output)
    );
    let copy = copies.copy("far");
    assert_eq!(copy["state"], "pending", "{copy}");
    copies.hub.run_expecting(0, &["verify", "latest"]);
    assert_eq!(archives_and_partials(&copies.hub.backups()).len(), 1);
}
