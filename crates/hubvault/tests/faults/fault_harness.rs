//! A hub for faults, and checks afterwards that its reports agree with its disk.

use crate::hub::{Hub, stderr};
use crate::steps::{MARK, wait_for_processes};
use hubvault_testkit::Database;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;
use tempfile::TempDir;

/// Tables of some megabytes, so that every stage takes its time.
pub(crate) const ROWS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT n, repeat(md5(n::text), 3) FROM generate_series(1, 30000) n;
    CREATE TABLE purchases (id int PRIMARY KEY, buyer int NOT NULL REFERENCES users, note text);
    INSERT INTO purchases SELECT n, 1 + n % 30000, md5(n::text) FROM generate_series(1, 40000) n;
    CREATE INDEX ON purchases (note);
    CREATE TYPE mood AS ENUM ('well', 'unwell');
    CREATE TABLE moods (id serial PRIMARY KEY, mood mood);
    INSERT INTO moods (mood) SELECT 'well' FROM generate_series(1, 100);
    ANALYZE;";

/// A hub with a place for its drills, watched.
pub(crate) struct FaultHarness {
    pub(crate) hub: Hub,
    mark: String,
    drills: TempDir,
    /// What was read back whole already, as it lay there.
    verified: RefCell<BTreeSet<(PathBuf, u64, SystemTime)>>,
    toml: String,
    /// The file of the key that opens its archives, where they are sealed.
    pub(crate) identity: Option<String>,
}

/// An archive as it was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveFile {
    file: PathBuf,
    bytes: u64,
}

impl FaultHarness {
    /// Backs up all of `database`, with drills and with `more` in its configuration.
    pub(crate) fn new(database: &Database, more: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        // The drill's server belongs to another user, who must get there.
        let drills = tempfile::Builder::new()
            .prefix("hv-f-")
            .tempdir_in("/tmp")
            .unwrap();
        fs::set_permissions(drills.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let toml = format!(
            "[scope]\ntables = [\"*\"]\nwindow = []\n[proof]\ndirectory = \"{}\"\n{more}",
            drills.path().display()
        );
        let mut hub = Hub::with(database, &toml);
        let mark = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        hub.set(MARK, &mark);
        hub.set("PROOF", "always");
        let verified = RefCell::default();
        Self {
            hub,
            mark,
            drills,
            verified,
            toml: format!("file = []\n{toml}"),
            identity: None,
        }
    }

    /// Each drill runs `initdb`: it is killed or fails there, too, and makes the same calls as the one before.
    pub(crate) fn make_each_cluster(&mut self) {
        self.hub.set("PROOF_EMPTY_CLUSTERS", "off");
    }

    /// Adds to what the configuration says, instead of what was added before.
    pub(crate) fn add(&mut self, more: &str) {
        self.hub.write(&format!("{}{more}", self.toml));
    }

    /// What `list` says.
    pub(crate) fn list(&self) -> Result<Vec<Value>, String> {
        let output = self.hub.run(&["list", "--json"]);
        if !output.status.success() {
            return Err(format!(
                "list ended with {:?}: {}",
                output.status.code(),
                stderr(&output)
            ));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("list: {error}"))
    }

    /// The proven archives, by id.
    pub(crate) fn proven(&self) -> BTreeMap<String, ArchiveFile> {
        let records = self.list().unwrap();
        let there = records
            .iter()
            .filter(|record| record["state"] == "proven" && record["removed_at"].is_null());
        there
            .map(|record| {
                let known = ArchiveFile {
                    file: record["file"].as_str().unwrap().into(),
                    bytes: record["bytes"].as_u64().unwrap(),
                };
                (record["id"].as_str().unwrap().to_owned(), known)
            })
            .collect()
    }

    /// What must be true when nothing is running: no process is left; every archive on the disk is listed, every one that
    /// is listed is there, no run is called running; what is called proven reads back whole, and its sidecar says so;
    /// and of those `before`, only retention removed any.
    pub(crate) fn check_consistency(
        &self,
        before: &BTreeMap<String, ArchiveFile>,
    ) -> Result<(), String> {
        wait_for_processes(&self.mark, self.drills.path())?;
        let records = self.list()?;
        let mut listed = BTreeSet::new();
        for record in &records {
            let id = &record["id"];
            if record["state"] == "running" {
                return Err(format!("{id} is called running and nothing runs"));
            }
            let Some(file) = record["file"].as_str().map(PathBuf::from) else {
                continue;
            };
            match (file.exists(), record["removed_at"].is_null()) {
                (false, true) => {
                    return Err(format!("{id} is listed and {} is gone", file.display()));
                }
                (true, false) => {
                    return Err(format!(
                        "{id} is called removed and {} is there",
                        file.display()
                    ));
                }
                (false, false) => {}
                (true, true) => {
                    self.check_archive(record, &file)?;
                    listed.insert(file);
                }
            }
        }
        let there = archives(&self.hub.backups());
        if there != listed {
            return Err(format!("on the disk: {there:?}; listed: {listed:?}"));
        }
        for (id, known) in before {
            let record = records.iter().find(|record| record["id"] == id.as_str());
            let Some(record) = record else {
                return Err(format!("the proven {id} is not listed any more"));
            };
            let same = record["state"] == "proven"
                && fs::metadata(&known.file).is_ok_and(|meta| meta.len() == known.bytes);
            if !same && record["removed_at"].is_null() {
                return Err(format!("the proven {id} is lost: {record}"));
            }
        }
        Ok(())
    }

    fn check_archive(&self, record: &Value, file: &Path) -> Result<(), String> {
        let name = file.display();
        if record["bytes"] != fs::metadata(file).unwrap().len() {
            return Err(format!("{name} has another size than its record says"));
        }
        let sidecar = fs::read(format!("{name}.manifest.json"))
            .map_err(|error| format!("the sidecar of {name}: {error}"))?;
        let sidecar: Value = serde_json::from_slice(&sidecar)
            .map_err(|error| format!("the sidecar of {name}: {error}"))?;
        if sidecar["manifest"]["id"] != record["id"] {
            return Err(format!("the sidecar of {name} is that of another"));
        }
        let proven = record["state"] == "proven";
        if proven && sidecar["proof"]["proven"] != true {
            return Err(format!(
                "{name} is listed as proven, and its sidecar says no"
            ));
        }
        let meta = fs::metadata(file).unwrap();
        let seen = (file.to_owned(), meta.len(), meta.modified().unwrap());
        if self.verified.borrow().contains(&seen) {
            return Ok(());
        }
        let name = name.to_string();
        let mut words = vec!["verify", &name, "--json"];
        if let Some(identity) = &self.identity {
            words.extend(["--identity", identity]);
        }
        let verified = self.hub.run(&words);
        if !verified.status.success() {
            return Err(format!("{name} is damaged: {}", stderr(&verified)));
        }
        self.verified.borrow_mut().insert(seen);
        Ok(())
    }

    /// What must be true after the next backup: there are no leftovers of a crashed run.
    pub(crate) fn check_no_leftovers(&self) -> Result<(), String> {
        wait_for_processes(&self.mark, self.drills.path())?;
        let left: Vec<String> = names(&self.hub.backups())
            .into_iter()
            .filter(|name| {
                let sidecar = name.strip_suffix(".manifest.json");
                match sidecar {
                    Some(archive) => !self.hub.backups().join(archive).exists(),
                    None => {
                        name.contains(".partial")
                            || name.contains(".new")
                            || name.contains(".rejected")
                    }
                }
            })
            .chain(names(self.drills.path()))
            .chain(
                names(&self.hub.backups().join(".hubvault"))
                    .into_iter()
                    .filter(|name| name.contains(".next")),
            )
            .collect();
        if !left.is_empty() {
            return Err(format!("left behind: {}", left.join(", ")));
        }
        let lock = fs::File::open(self.hub.backups().join(".hubvault/run.lock")).unwrap();
        lock.try_lock()
            .map_err(|error| format!("the run lock: {error}"))
    }

    /// The processes that this harness's commands started are over.
    pub(crate) fn ended(&self) -> Result<(), String> {
        wait_for_processes(&self.mark, self.drills.path())
    }

    /// The System V segments of servers that drills left behind, by the server's own word; those that are still there.
    pub(crate) fn segments(&self) -> Vec<String> {
        let servers = names(self.drills.path());
        let files = servers
            .iter()
            .map(|name| self.drills.path().join(name).join("data/postmaster.pid"));
        files
            .filter_map(|file| {
                let text = fs::read_to_string(file).ok()?;
                // The seventh line: the key and the id of the segment.
                Some(text.lines().nth(6)?.split_whitespace().nth(1)?.to_owned())
            })
            .collect()
    }
}

/// Those of the segments that still exist.
pub(crate) fn existing_segments(segments: &[String]) -> Vec<String> {
    let all = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let ids: BTreeSet<&str> = all
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    segments
        .iter()
        .filter(|id| ids.contains(id.as_str()))
        .cloned()
        .collect()
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

/// The archives of a directory, by what they are called.
fn archives(directory: &Path) -> BTreeSet<PathBuf> {
    names(directory)
        .into_iter()
        .filter(|name| {
            name.starts_with("critical_backup_")
                && [".tar.gz", ".tar.zst", ".tar.gz.age"]
                    .iter()
                    .any(|end| name.ends_with(end))
        })
        .map(|name| directory.join(name))
        .collect()
}

/// A directory as it was, once more.
pub(crate) fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let copied = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success());
}
