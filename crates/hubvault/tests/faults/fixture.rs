//! A hub whose source does not change, and checks that every report after a fault is true.

use crate::hub::{Hub, archives_and_partials, stderr};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::Database;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Tables of several kinds, so small that a run is over in a moment.
pub(crate) const SMALL: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, mood mood, born date, data jsonb);
    CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                         buyer int NOT NULL REFERENCES users, price numeric(12, 2), paid bool);
    CREATE VIEW happy AS SELECT name FROM users WHERE mood = 'happy';
    INSERT INTO users SELECT n, 'user ' || n, (enum_range(NULL::mood))[1 + n % 3],
        date '1970-01-01' + n, jsonb_build_object('n', n) FROM generate_series(1, 200) n;
    INSERT INTO orders (buyer, price, paid)
        SELECT 1 + n % 200, n * 1.25, n % 2 = 0 FROM generate_series(1, 300) n;
    ANALYZE;";

/// The outcome of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// In a few words that repeat.
    pub(crate) what: String,
    /// Everything that it said on standard error.
    pub(crate) said: String,
}

/// A hub, where its drills happen, and what its source holds.
pub(crate) struct Fixture {
    pub(crate) hub: Hub,
    drills: TempDir,
    source: ConnectSettings,
    /// Rows and digest of every table.
    truth: Option<BTreeMap<String, (u64, String)>>,
}

impl Fixture {
    /// A hub whose source stays as it is.
    pub(crate) fn of(source: &Database) -> Self {
        let mut fixture = Self::at(&source.settings());
        let digests = source.digests().into_iter();
        let truth = digests.map(|(name, digest)| (name.to_string(), (digest.rows, digest.hex())));
        fixture.truth = Some(truth.collect());
        fixture
    }

    /// A hub whose source may change at any time.
    pub(crate) fn at(source: &ConnectSettings) -> Self {
        let mut hub = Hub::at(source, "[scope]\ntables = [\"*\"]\nwindow = []\n");
        hub.set("PGSSLMODE", "disable");
        let drills = hub.prove();
        Self {
            hub,
            drills,
            source: source.clone(),
            truth: None,
        }
    }

    /// An undisturbed run records what the source has from now on.
    pub(crate) fn record_expected(&mut self) {
        self.truth = None;
        assert_eq!(self.backup().unwrap().what, "proven");
        let listed = self.listed().unwrap();
        let tables = listed[0]["tables"].as_array().unwrap().iter().map(|table| {
            let text = |key: &str| table[key].as_str().unwrap().to_owned();
            (
                text("name"),
                (table["rows"].as_u64().unwrap(), text("digest")),
            )
        });
        self.truth = Some(tables.collect());
    }

    /// The source is reached by another way from now on.
    pub(crate) fn connect_through(&mut self, settings: &ConnectSettings) {
        self.hub.set("POSTGRES_HOST", settings.host.clone());
        self.hub.set("POSTGRES_PORT", settings.port.to_string());
    }

    /// The source is reached as it should be again.
    pub(crate) fn connect_directly(&mut self) {
        let settings = self.source.clone();
        self.connect_through(&settings);
    }

    /// Takes a backup and judges how it ended; an `Err` says what is not true or was left behind.
    pub(crate) fn backup(&self) -> Result<Outcome, String> {
        self.check_run(&self.hub.run(&["backup", "--json", "--no-progress"]))
    }

    /// The same of a backup that was run already, with `backup --json`.
    pub(crate) fn check_run(&self, output: &Output) -> Result<Outcome, String> {
        let said = stderr(output);
        let code = output.status.code();
        let what = match code {
            Some(0 | 3) => self.published(output),
            Some(1) => self.failed(&said, &said),
            Some(130 | 143) => self.failed(&said, "stopped on request; nothing was published"),
            _ => Err(format!("ended with {}", output.status)),
        };
        let what = what.map_err(|why| format!("{why} (exit {code:?}; it said: {said})"))?;
        self.check_no_leftovers(&said)?;
        Ok(Outcome { what, said })
    }

    /// The undisturbed run after a fault is proven.
    pub(crate) fn check_recovery(&mut self) -> Result<(), String> {
        self.connect_directly();
        let outcome = self.backup()?;
        if outcome.what == "proven" {
            return Ok(());
        }
        Err(format!("the next run: {}: {}", outcome.what, outcome.said))
    }

    /// What `list` says, newest first.
    pub(crate) fn listed(&self) -> Result<Vec<Value>, String> {
        let output = self.hub.run(&["list", "--json"]);
        let all: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        all.and_then(|all| all.as_array().cloned())
            .ok_or_else(|| format!("list: {}", stderr(&output)))
    }

    fn published(&self, output: &Output) -> Result<String, String> {
        let record: Value =
            serde_json::from_slice(&output.stdout).map_err(|e| format!("no record: {e}"))?;
        let listed = self.listed()?;
        let newest = listed.first().ok_or("list is empty")?;
        for key in ["id", "state", "file", "bytes", "tables", "proof"] {
            same(newest, &record, key)?;
        }
        let file = PathBuf::from(record["file"].as_str().ok_or("no file")?);
        let bytes = std::fs::metadata(&file).map_err(|e| e.to_string())?.len();
        if record["bytes"] != bytes {
            return Err(format!("{} has {bytes} bytes", file.display()));
        }
        let verified = self.hub.run(&["verify", file.to_str().unwrap()]);
        if verified.status.code() != Some(0) {
            return Err(format!("verify: {}", stderr(&verified)));
        }
        self.check_digests(&record)?;
        let proven = record["proof"]["proven"] == true;
        let (state, code) = (record["state"].as_str().unwrap(), output.status.code());
        if (state == "proven") != proven || (!proven && code != Some(3)) {
            return Err(format!("{state}, {code:?}, and its proof says {proven}"));
        }
        let reason = record["proof"]["reason"].as_str().unwrap_or_default();
        Ok(match reason.split(['(', ':']).next() {
            Some(class) if !proven => format!("unproven, {class}"),
            _ => "proven".to_owned(),
        })
    }

    /// The record's digests against those of another library over another connection.
    fn check_digests(&self, record: &Value) -> Result<(), String> {
        let Some(truth) = &self.truth else {
            return Ok(());
        };
        let tables = record["tables"].as_array().ok_or("no tables")?;
        if tables.len() != truth.len() {
            return Err(format!("{} tables of {}", tables.len(), truth.len()));
        }
        for (name, (rows, digest)) in truth {
            let table = tables.iter().find(|table| table["name"] == *name);
            let table = table.ok_or_else(|| format!("{name} is not in the archive"))?;
            if table["rows"] != *rows || table["digest"] != *digest {
                return Err(format!(
                    "FALSE ROWS of {name}: {table}, not {rows}, {digest}"
                ));
            }
        }
        Ok(())
    }

    /// `reason` holds the first line of the record's error.
    fn failed(&self, said: &str, reason: &str) -> Result<String, String> {
        let listed = self.listed()?;
        let newest = listed.first().ok_or("list is empty")?;
        if newest["state"] != "failed" || newest["file"] != Value::Null {
            return Err(format!("list says {newest}"));
        }
        let error = newest["error"].as_str().unwrap_or_default();
        let line = error.lines().next().unwrap_or_default();
        if line.is_empty() || !reason.contains(line) || !said.contains("error: ") {
            return Err(format!("the record says {error:?}"));
        }
        if error.contains("stopped on request") {
            return Ok("stopped on request".to_owned());
        }
        if error.contains("took longer than") {
            return Ok("failed at the limit".to_owned());
        }
        Ok(if error.contains("failed the drill") {
            "rejected by the drill".to_owned()
        } else {
            "failed, with the reason".to_owned()
        })
    }

    /// No file that the catalog does not know, no directory of a drill, no process.
    fn check_no_leftovers(&self, said: &str) -> Result<(), String> {
        let known: BTreeSet<String> = self
            .listed()?
            .iter()
            .filter(|record| record["removed_at"] == Value::Null)
            .filter_map(|record| Some(record["file"].as_str()?.to_owned()))
            .collect();
        let found = archives_and_partials(&self.hub.backups());
        let there: BTreeSet<String> = found
            .iter()
            .filter(|path| !path.to_string_lossy().contains(".rejected"))
            .map(|path| path.display().to_string())
            .collect();
        if there != known {
            return Err(format!(
                "on disk {there:?}, in the catalog {known:?}; {said}"
            ));
        }
        for path in found
            .iter()
            .filter(|path| !there.contains(path.to_str().unwrap()))
        {
            // Kept for study, and said; room for those to come.
            std::fs::remove_file(path).unwrap();
        }
        if let Some(left) = std::fs::read_dir(self.drills.path()).unwrap().next() {
            let left = left.unwrap().path();
            return Err(format!("left behind: {}; {said}", left.display()));
        }
        let begun = Instant::now();
        loop {
            let left = processes_with(self.drills.path());
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(5) {
                return Err(format!("processes left behind: {left:?}; {said}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn same(left: &Value, right: &Value, key: &str) -> Result<(), String> {
    if left[key] == right[key] {
        return Ok(());
    }
    Err(format!(
        "{key}: list has {}, the run said {}",
        left[key], right[key]
    ))
}

/// Processes that hubvault started, or itself: its temporary directory is in their environment.
fn processes_with(mark: &Path) -> Vec<String> {
    let mark = format!("TMPDIR={}\0", mark.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(&mark) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(format!("{} {command}", entry.file_name().display()));
        }
    }
    found
}
