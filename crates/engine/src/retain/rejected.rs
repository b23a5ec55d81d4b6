//! Archives that failed their proof. They are kept for study: few of them, and not for long.

use jiff::{SignedDuration, Timestamp};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Archives begin with this, as they did under the shell scripts.
pub(crate) const PREFIX: &str = "critical_backup_";
/// An archive that failed its proof ends with this.
pub(crate) const REJECTED: &str = ".rejected";
/// How many are kept,
pub const KEPT: usize = 3;
/// and for how many days.
pub const DAYS: i64 = 14;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The file.
    pub path: PathBuf,
    /// When it was written.
    pub at: Timestamp,
    /// Its size.
    pub bytes: u64,
}

/// Those of a directory, newest first.
pub fn rejected(directory: &Path) -> io::Result<Vec<Rejected>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_rejected) {
            continue;
        }
        // Of the entry itself: a link is none of ours. It may just have been removed.
        let Ok(meta) = entry.metadata() else { continue };
        let written = meta.modified().ok().and_then(|at| at.try_into().ok());
        let Some(at) = written.filter(|_| meta.is_file()) else {
            continue;
        };
        found.push(Rejected {
            path: entry.path(),
            at,
            bytes: meta.len(),
        });
    }
    found.sort_by(|a, b| (b.at, &b.path).cmp(&(a.at, &a.path)));
    Ok(found)
}

/// Removes all but the newest, and those that are too old. Returns what was removed, and what could not be.
pub fn remove_rejected(
    directory: &Path,
    now: Timestamp,
) -> io::Result<(Vec<PathBuf>, Vec<String>)> {
    let (mut removed, mut problems) = (Vec::new(), Vec::new());
    let oldest = now - SignedDuration::from_hours(24 * DAYS);
    for (newer, one) in rejected(directory)?.into_iter().enumerate() {
        if newer < KEPT && one.at >= oldest {
            continue;
        }
        match fs::remove_file(&one.path) {
            Ok(()) => removed.push(one.path),
            Err(error) => {
                problems.push(format!("could not remove {}: {error}", one.path.display()));
            }
        }
    }
    Ok((removed, problems))
}

/// Only names that a run gives: `critical_backup_20261126_021500.tar.gz.rejected`.
fn is_rejected(name: &str) -> bool {
    let rest = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(REJECTED));
    rest.and_then(|rest| rest.split_once(".tar."))
        .is_some_and(|(moment, _)| {
            // Under a lease its number follows.
            let (moment, number) = moment.split_once('.').unwrap_or((moment, ""));
            let (date, time) = moment.split_once('_').unwrap_or_default();
            let all_digits = (moment.bytes().chain(number.bytes()))
                .all(|byte| byte.is_ascii_digit() || byte == b'_');
            date.len() == 8 && time.len() == 6 && all_digits
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    #[test]
    fn the_newest_three_of_two_weeks_stay_and_nothing_else_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let make = |name: &str, days: u64| {
            let file = File::create(directory.path().join(name)).unwrap();
            let ago = Duration::from_secs(days * 86_400);
            file.set_modified(SystemTime::from(now) - ago).unwrap();
        };
        for (hour, days) in [(1, 1), (2, 2), (3, 13), (4, 3), (5, 15)] {
            make(
                &format!("critical_backup_20270101_0{hour}0000.tar.gz.rejected"),
                days,
            );
        }
        make("critical_backup_20270101_070000.12.tar.gz.rejected", 20);
        let others = [
            "critical_backup_20270101_010000.tar.gz",
            "critical_backup_mine.tar.gz.rejected",
            "other.rejected",
        ];
        for other in others {
            make(other, 100);
        }
        let link = directory
            .path()
            .join("critical_backup_20270101_060000.tar.gz.rejected");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let (removed, problems) = remove_rejected(directory.path(), now).unwrap();
        assert!(problems.is_empty());
        let hour =
            |path: &PathBuf| path.to_str().unwrap().split("_0").nth(1).unwrap()[..1].to_owned();
        assert_eq!(
            removed.iter().map(hour).collect::<Vec<_>>(),
            ["3", "5", "7"]
        );
        let left = rejected(directory.path()).unwrap();
        assert_eq!(
            left.iter().map(|one| hour(&one.path)).collect::<Vec<_>>(),
            ["1", "2", "4"]
        );
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            3 + others.len() + 1
        );
    }
}
