//! Restores into the living database that did not end well: a file for each, from before the first change until the restore
//! ends well, or until somebody says that it is resolved.

use super::StateDir;
use super::file::{self, Access};
use super::run_lock::is_locked;
use hubvault_model::{BackupId, TableName};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};

/// More than a mark is, in bytes: it names every table of a restore.
const LARGEST: u64 = 16 << 20;
const BEGINS: &str = "restore-";
const ENDS: &str = ".unfinished";

/// A restore into the living database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivingRestore {
    /// Its id.
    pub id: BackupId,
    /// The backup: its id, or where it was read from.
    pub backup: String,
    /// The database, with its server as it was configured.
    pub database: String,
    /// What tells the database from others, however its server is named; `None` where that is not known.
    #[serde(default)]
    pub identity: Option<String>,
    /// What is restored, and how.
    pub what: String,
    /// The tables that are dropped or restored; `None` in marks of earlier versions.
    #[serde(default)]
    pub tables: Option<BTreeSet<TableName>>,
    /// Whether it drops and makes tables, and is no single transaction.
    pub is_whole: bool,
    /// When it began.
    pub began_at: Timestamp,
    /// Why it failed; `None` where its process ended without saying that.
    pub error: Option<String>,
}

impl LivingRestore {
    /// Whether this one, which ended well, makes good what `known` left: it is of the same database and restores all of its
    /// tables.
    fn makes_good(&self, known: &Self) -> bool {
        let is_same_database = match (&self.identity, &known.identity) {
            (Some(own), Some(other)) => own == other,
            _ => self.database == known.database,
        };
        let covers = match (&self.tables, &known.tables) {
            (Some(own), Some(other)) => own.is_superset(other),
            _ => !self.is_whole || self.backup == known.backup,
        };
        is_same_database && covers && (self.is_whole || self.what == known.what)
    }
}

/// `the restore of backup 3f2a91c0 into the living database db:5432/hub (the whole database)`
impl fmt::Display for LivingRestore {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (backup, database, what) = (&self.backup, &self.database, &self.what);
        write!(
            to,
            "the restore of {backup} into the living database {database} ({what})"
        )
    }
}

/// The mark of a restore at work. The kernel lets go of its lock when the process ends, however it ends; the file stays.
#[derive(Debug)]
pub struct RestoreMark {
    path: PathBuf,
    file: File,
    restore: LivingRestore,
}

impl RestoreMark {
    /// Says that a restore is about to change the living database. Where that fails, no mark is left.
    pub fn begin(state: &StateDir, restore: LivingRestore) -> io::Result<Self> {
        let path = state.file(&format!("{BEGINS}{}{ENDS}", restore.id));
        let file = file::open(&path, Access::ReadWrite)?;
        let mut mark = Self {
            path,
            file,
            restore,
        };
        let mut begin = || {
            flock(&mark.file, FlockOperation::NonBlockingLockExclusive)?;
            mark.write()?;
            // The name outlasts a crash of the machine, too.
            File::open(state.path())?.sync_all()
        };
        if let Err(error) = begin() {
            remove(&mark.path)?;
            return Err(error);
        }
        Ok(mark)
    }

    fn write(&mut self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.restore)?;
        if text.len() as u64 > LARGEST {
            let why = format!("it would have more than {LARGEST} bytes");
            return Err(io::Error::other(why));
        }
        // What is there is overwritten, so that a full disk does not take it away.
        self.file.rewind()?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()
    }

    /// It ended well: with its mark go those of the restores that it makes good.
    pub fn done(self, state: &StateDir) -> io::Result<()> {
        remove(&self.path)?;
        for (path, known) in marks(state)? {
            if known.is_ok_and(|known| self.restore.makes_good(&known)) && !is_locked(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// It ended before it changed anything.
    pub fn withdraw(self) -> io::Result<()> {
        remove(&self.path)
    }

    /// It failed after it had changed something.
    pub fn failed(mut self, why: String) -> io::Result<()> {
        self.restore.error = Some(why);
        self.write().or_else(|error| {
            self.restore.error = None;
            self.write().and(Err(error))
        })
    }
}

/// What is known of restores that did not end well, the newest first, and whether each still is at work. All in the
/// directory are among them, also where the database was configured under another name.
pub fn unfinished(state: &StateDir) -> io::Result<Vec<(LivingRestore, bool)>> {
    let known = marks(state)?.into_iter().map(|(path, known)| {
        let is_at_work = is_locked(&path);
        (known.unwrap_or_else(|id| unread(&path, id)), is_at_work)
    });
    let mut known: Vec<_> = known.collect();
    known.sort_by_key(|(it, _)| std::cmp::Reverse(it.began_at));
    Ok(known)
}

/// Somebody says that what they left is resolved; which these are. Of `shown`, if only these were. Those at work stay.
pub fn resolve(state: &StateDir, shown: Option<&[BackupId]>) -> io::Result<Vec<LivingRestore>> {
    let mut resolved = Vec::new();
    for (path, known) in marks(state)? {
        let known = known.unwrap_or_else(|id| unread(&path, id));
        if shown.is_none_or(|shown| shown.contains(&known.id)) && !is_locked(&path) {
            remove(&path)?;
            resolved.push(known);
        }
    }
    Ok(resolved)
}

/// The files, each with what it says, or the id in its name where that cannot be read.
fn marks(state: &StateDir) -> io::Result<Vec<(PathBuf, Result<LivingRestore, BackupId>)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(state.path()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(|error| named("reading", state.path(), &error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| named("reading", state.path(), &error))?;
        let name = entry.file_name();
        let id = (name.to_str()).and_then(|name| name.strip_prefix(BEGINS)?.strip_suffix(ENDS));
        let Some(id) = id.and_then(|id| id.parse::<BackupId>().ok()) else {
            continue;
        };
        let text = file::read(&entry.path(), LARGEST).ok();
        let known = text.and_then(|text| serde_json::from_slice::<LivingRestore>(&text).ok());
        let known = known.map(|known| LivingRestore { id, ..known });
        found.push((entry.path(), known.ok_or(id)));
    }
    Ok(found)
}

/// Another process may have removed it before.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(named("removing", path, &error)),
        _ => Ok(()),
    }
}

fn named(doing: &str, path: &Path, error: &io::Error) -> io::Error {
    let what = format!("{doing} {}: {error}", path.display());
    io::Error::new(error.kind(), what)
}

/// One that crashed while it wrote its mark, or whose mark another user made.
fn unread(path: &Path, id: BackupId) -> LivingRestore {
    let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let changed = changed.ok().and_then(|at| Timestamp::try_from(at).ok());
    LivingRestore {
        id,
        backup: "an unknown backup".to_owned(),
        database: "of an unknown name".to_owned(),
        identity: None,
        what: format!("{} cannot be read", path.display()),
        tables: None,
        is_whole: true,
        began_at: changed.unwrap_or_else(Timestamp::now),
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: [&str; 2] = ["users", "roles"];

    fn restore(what: &str, is_whole: bool) -> LivingRestore {
        let tables = TABLES.map(|name| TableName::new("public", name));
        LivingRestore {
            id: BackupId::random(),
            backup: "3f2a91c0".to_owned(),
            database: "db:5432/hub".to_owned(),
            identity: Some("7 16384".to_owned()),
            what: what.to_owned(),
            tables: Some(tables.into()),
            is_whole,
            began_at: Timestamp::now(),
            error: None,
        }
    }

    fn found(state: &StateDir) -> Vec<(Option<String>, bool)> {
        let all = unfinished(state).unwrap().into_iter();
        all.map(|(one, at_work)| (one.error, at_work)).collect()
    }

    fn resolved(state: &StateDir) -> usize {
        resolve(state, None).unwrap().len()
    }

    /// How many are left after `done` ended well.
    fn left_after(known: &LivingRestore, done: LivingRestore) -> usize {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        drop(RestoreMark::begin(&state, known.clone()).unwrap());
        let done = RestoreMark::begin(&state, done).unwrap();
        done.done(&state).unwrap();
        found(&state).len()
    }

    #[test]
    fn a_mark_stays_until_its_restore_ended_well_or_is_resolved() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        let begin =
            |what: &str, is_whole| RestoreMark::begin(&state, restore(what, is_whole)).unwrap();
        let crashed = begin("everything", true);
        assert_eq!(found(&state), [(None, true)]);
        assert_eq!(resolved(&state), 0, "it is at work");
        drop(crashed);
        assert_eq!(found(&state), [(None, false)]);
        begin("users", false).failed("why".to_owned()).unwrap();
        assert_eq!(found(&state).len(), 2);
        // Rows of another table make nothing good.
        begin("roles", false).done(&state).unwrap();
        assert_eq!(found(&state).len(), 2);
        begin("users", false).done(&state).unwrap();
        assert_eq!(found(&state), [(None, false)]);
        begin("everything", true).withdraw().unwrap();
        assert_eq!(found(&state).len(), 1);
        begin("everything", true).done(&state).unwrap();
        assert_eq!(found(&state), []);
        drop(begin("everything", true));
        assert_eq!(resolved(&state), 1);
        assert_eq!(found(&state), []);
    }

    #[test]
    fn only_a_restore_of_the_same_database_makes_it_good_however_it_is_named() {
        let known = restore("everything", true);
        let named = |database: &str, identity: Option<&str>| LivingRestore {
            database: database.to_owned(),
            identity: identity.map(str::to_owned),
            ..restore("everything", true)
        };
        assert_eq!(
            left_after(&known, named("127.0.0.1:5432/hub", Some("7 16384"))),
            0
        );
        assert_eq!(left_after(&known, named("db:5432/hub", Some("8 16384"))), 1);
        assert_eq!(left_after(&known, named("db:5432/hub", None)), 0);
        assert_eq!(left_after(&known, named("127.0.0.1:5432/hub", None)), 1);
    }

    #[test]
    fn only_a_restore_of_all_its_tables_makes_it_good() {
        let known = restore("everything", true);
        let of = |tables: &[&str]| LivingRestore {
            backup: "00000000".to_owned(),
            tables: Some(
                tables
                    .iter()
                    .map(|name| TableName::new("public", *name))
                    .collect(),
            ),
            ..restore("everything", true)
        };
        assert_eq!(left_after(&known, of(&["users"])), 1);
        assert_eq!(left_after(&known, of(&["users", "roles", "more"])), 0);
        // A mark of an earlier version says no tables: the same backup has them.
        let text = format!(
            r#"{{"id":"{}","backup":"3f2a91c0","database":"db:5432/hub","what":"everything","is_whole":true,
               "began_at":"2026-11-26T08:00:00Z","error":null}}"#,
            BackupId::random()
        );
        let known: LivingRestore = serde_json::from_str(&text).unwrap();
        assert_eq!(left_after(&known, of(&["users", "roles", "more"])), 1);
        assert_eq!(left_after(&known, restore("everything", true)), 0);
    }

    #[test]
    fn a_mark_that_cannot_be_read_counts_until_it_is_resolved() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        let known = restore("everything", true);
        drop(RestoreMark::begin(&state, known.clone()).unwrap());
        let (path, _) = marks(&state).unwrap().remove(0);
        fs::write(&path, "{").unwrap();
        let again = RestoreMark::begin(&state, restore("everything", true)).unwrap();
        again.done(&state).unwrap();
        assert_eq!(found(&state), [(None, false)]);
        assert_eq!(resolve(&state, Some(&[])).unwrap(), []);
        assert_eq!(resolve(&state, Some(&[known.id])).unwrap().len(), 1);
    }

    #[test]
    fn a_mark_that_cannot_be_written_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        let large = LivingRestore {
            what: "x".repeat(LARGEST as usize),
            ..restore("everything", true)
        };
        let error = RestoreMark::begin(&state, large).unwrap_err().to_string();
        assert!(error.contains("more than 16777216 bytes"), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_no_directory_without_marks() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(
            found(&StateDir::of(directory.path())),
            [],
            "it is not there"
        );
        let path = directory.path().join(".hubvault");
        fs::write(&path, "").unwrap();
        let state = StateDir::of(directory.path());
        let said = format!("reading {}: ", path.display());
        let error = unfinished(&state).unwrap_err().to_string();
        assert!(error.starts_with(&said), "{error}");
        assert!(
            resolve(&state, None)
                .unwrap_err()
                .to_string()
                .starts_with(&said)
        );
    }
}
