//! Restores into the living database that did not end well: a file for each, from before the first change until the restore
//! ends well, or until somebody says that it is resolved.

use super::StateDir;
use super::file::{self, Access};
use super::run_lock::is_locked;
use hubvault_model::BackupId;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

/// More than a mark is, in bytes.
const LARGEST: u64 = 64 << 10;
const BEGINS: &str = "restore-";
const ENDS: &str = ".unfinished";

/// A restore into the living database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivingRestore {
    /// Its id.
    pub id: BackupId,
    /// The backup: its id, or where it was read from.
    pub backup: String,
    /// The database, with its server.
    pub database: String,
    /// What is restored, and how.
    pub what: String,
    /// Whether it drops and makes tables, and is no single transaction.
    pub is_whole: bool,
    /// When it began.
    pub began_at: Timestamp,
    /// Why it failed; `None` where its process ended without saying that.
    pub error: Option<String>,
}

/// The mark of a restore at work. The kernel lets go of its lock when the process ends, however it ends; the file stays.
#[derive(Debug)]
pub struct RestoreMark {
    path: PathBuf,
    file: File,
    restore: LivingRestore,
}

impl RestoreMark {
    /// Says that a restore is about to change the living database.
    pub fn begin(state: &StateDir, restore: LivingRestore) -> io::Result<Self> {
        let path = state.file(&format!("{BEGINS}{}{ENDS}", restore.id));
        let file = file::open(&path, Access::ReadWrite)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut mark = Self {
            path,
            file,
            restore,
        };
        mark.write()?;
        // The name outlasts a crash of the machine, too.
        File::open(state.path())?.sync_all()?;
        Ok(mark)
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&serde_json::to_vec(&self.restore)?)?;
        self.file.sync_all()
    }

    /// It ended well: with its mark go those of the restores that it makes good. A whole one makes good all of its database,
    /// and what cannot be read.
    pub fn done(self, state: &StateDir) -> io::Result<()> {
        for (path, known) in marks(state) {
            let (restore, is_whole) = (&self.restore, self.restore.is_whole);
            let is_made_good = known.as_ref().map_or(is_whole, |known| {
                known.database == restore.database && (is_whole || known.what == restore.what)
            });
            if is_made_good && !is_locked(&path) {
                fs::remove_file(path)?;
            }
        }
        fs::remove_file(&self.path)
    }

    /// It ended before it changed anything.
    pub fn withdraw(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// It failed after it had changed something.
    pub fn failed(mut self, why: String) -> io::Result<()> {
        self.restore.error = Some(why);
        self.write()
    }
}

/// What is known of restores that did not end well, the newest first, and whether each still is at work. Those into another
/// database than `database` are not among them.
pub fn unfinished(state: &StateDir, database: &str) -> Vec<(LivingRestore, bool)> {
    let known = marks(state).into_iter().map(|(path, known)| {
        let is_at_work = is_locked(&path);
        (known.unwrap_or_else(|| unread(&path, database)), is_at_work)
    });
    let mut known: Vec<_> = known.filter(|(it, _)| it.database == database).collect();
    known.sort_by_key(|(it, _)| std::cmp::Reverse(it.began_at));
    known
}

/// Somebody says that what they left is resolved; how many there were. Those at work stay.
pub fn resolve(state: &StateDir) -> io::Result<usize> {
    let paths = marks(state).into_iter().map(|(path, _)| path);
    let paths: Vec<PathBuf> = paths.filter(|path| !is_locked(path)).collect();
    for path in &paths {
        fs::remove_file(path)?;
    }
    Ok(paths.len())
}

/// The files, each with what it says where that can be read.
fn marks(state: &StateDir) -> Vec<(PathBuf, Option<LivingRestore>)> {
    let entries = fs::read_dir(state.path()).into_iter().flatten();
    let paths = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let id = name.to_str()?.strip_prefix(BEGINS)?.strip_suffix(ENDS)?;
        id.parse::<BackupId>().is_ok().then(|| entry.path())
    });
    let known = |path: &Path| serde_json::from_slice(&file::read(path, LARGEST).ok()?).ok();
    paths.map(|path| (path.clone(), known(&path))).collect()
}

/// One that crashed while it wrote its mark, or whose mark another user made.
fn unread(path: &Path, database: &str) -> LivingRestore {
    let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let changed = changed.ok().and_then(|at| Timestamp::try_from(at).ok());
    LivingRestore {
        id: BackupId::random(),
        backup: "unknown".to_owned(),
        database: database.to_owned(),
        what: format!("{} cannot be read", path.display()),
        is_whole: true,
        began_at: changed.unwrap_or_else(Timestamp::now),
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restore(what: &str, is_whole: bool) -> LivingRestore {
        LivingRestore {
            id: BackupId::random(),
            backup: "3f2a91c0".to_owned(),
            database: "hub at db:5432".to_owned(),
            what: what.to_owned(),
            is_whole,
            began_at: Timestamp::now(),
            error: None,
        }
    }

    fn found(state: &StateDir) -> Vec<(Option<String>, bool)> {
        let all = unfinished(state, "hub at db:5432").into_iter();
        all.map(|(one, at_work)| (one.error, at_work)).collect()
    }

    #[test]
    fn a_mark_stays_until_its_restore_ended_well_or_is_resolved() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        let begin =
            |what: &str, is_whole| RestoreMark::begin(&state, restore(what, is_whole)).unwrap();
        let crashed = begin("everything", true);
        assert_eq!(found(&state), [(None, true)]);
        assert_eq!(unfinished(&state, "other"), []);
        assert_eq!(resolve(&state).unwrap(), 0, "it is at work");
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
        assert_eq!(resolve(&state).unwrap(), 1);
        assert_eq!(found(&state), []);
    }

    #[test]
    fn a_whole_restore_makes_no_other_database_good() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        drop(RestoreMark::begin(&state, restore("everything", true)).unwrap());
        let other = LivingRestore {
            database: "shop at db:5432".to_owned(),
            ..restore("everything", true)
        };
        let other = RestoreMark::begin(&state, other).unwrap();
        other.done(&state).unwrap();
        assert_eq!(found(&state), [(None, false)]);
    }

    #[test]
    fn a_mark_that_cannot_be_read_counts() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::at(directory.path());
        drop(RestoreMark::begin(&state, restore("everything", true)).unwrap());
        let (path, _) = marks(&state).remove(0);
        fs::write(&path, "{").unwrap();
        assert_eq!(found(&state), [(None, false)]);
        assert_eq!(resolve(&state).unwrap(), 1);
    }
}
