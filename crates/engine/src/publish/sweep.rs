//! Leftovers of crashed runs in the directory in which archives are made.

use crate::catalog::marks_beside;
use crate::catalog::sidecar;
use crate::retain::PREFIX;
use crate::run::BackupError;
use crate::state::StateDir;
use crate::state::file::{Durability, replace};
use std::fs;
use std::path::{Path, PathBuf};

/// What the marks of the shell scripts begin with.
pub(super) const MARK: &str = ".last_backup_";
/// An archive that is not finished ends with this and begins with a dot.
pub(super) const PARTIAL: &str = ".partial";

/// Whether this is a mark that nobody finished writing; older versions named it without the random part.
fn is_mark_unfinished(name: &str) -> bool {
    name.starts_with(MARK)
        && Path::new(name)
            .extension()
            .is_some_and(|ending| ending == "new")
}

/// Removes what runs that died left behind. Only under the run lock, or it would take the
/// `.partial` of a living run. Returns what was removed. What cannot be is said once.
pub(crate) fn sweep(directory: &Path, state: &StateDir) -> Result<Vec<PathBuf>, BackupError> {
    let entries = fs::read_dir(directory).map_err(BackupError::io("reading", directory))?;
    let (mut removed, mut problems) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry.map_err(BackupError::io("reading", directory))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = entry.path();
        let partial = name.starts_with(&format!(".{PREFIX}")) && name.ends_with(PARTIAL);
        if !(partial
            || is_mark_unfinished(name)
            || sidecar::is_stray(&path)
            || marks_beside::is_stray(&path)
            || sidecar::is_unfinished(&path))
        {
            continue;
        }
        match fs::remove_file(&path) {
            Ok(()) => removed.push(path),
            // Whoever may write here could otherwise stop all backups with a directory of that name.
            Err(error) => problems.push(format!(
                "could not remove {}, which is called like the leftover of a crashed run: {error}",
                path.display()
            )),
        }
    }
    for problem in unsaid(state, "leftovers", problems) {
        tracing::warn!("{problem}");
    }
    Ok(removed)
}

/// Those that were not said the last time, too, by what is in a file of this name.
pub(super) fn unsaid(state: &StateDir, name: &str, problems: Vec<String>) -> Vec<String> {
    let file = state.file(name);
    let before = fs::read_to_string(&file).unwrap_or_default();
    // Whatever is in a path, it is a line.
    let now: Vec<String> = problems.iter().map(|it| format!("{it:?}")).collect();
    if before.lines().ne(&now) {
        let text = now.join("\n") + "\n";
        // Else they are said again.
        let _ = replace(&file, text.as_bytes(), 0o600, Durability::Passing);
    }
    let is_new = |line: &String| !before.lines().any(|known| known == line);
    let unsaid = problems
        .into_iter()
        .zip(now)
        .filter(|(_, line)| is_new(line));
    unsaid.map(|(problem, _)| problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_marks_of_archives_that_are_gone_are_swept_and_what_stays_is_said_once() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        let (gone, there) = ("critical_backup_1.tar.gz", "critical_backup_2.tar.gz");
        let files = [
            format!("{gone}.1-00000000.proof"),
            format!("{gone}.pinned"),
            there.to_owned(),
            format!("{there}.1-00000000.proof"),
            format!("{there}.pinned"),
            "other.pinned".to_owned(),
            "notes.1-00000000.proof".to_owned(),
        ];
        for file in &files {
            fs::write(directory.path().join(file), "").unwrap();
        }
        let mut removed = sweep(directory.path(), &state).unwrap();
        removed.sort();
        let expected: Vec<PathBuf> = files[..2]
            .iter()
            .map(|it| directory.path().join(it))
            .collect();
        assert_eq!(removed, expected);
        assert!(
            files[2..]
                .iter()
                .all(|it| directory.path().join(it).exists())
        );
        let problems = || vec!["could not remove a\nb".to_owned(), "c".to_owned()];
        assert_eq!(unsaid(&state, "x", problems()), problems());
        assert_eq!(unsaid(&state, "x", problems()), [""; 0]);
        // One that was solved, and is there again, is said again.
        assert_eq!(unsaid(&state, "x", vec!["c".to_owned()]), [""; 0]);
        assert_eq!(unsaid(&state, "x", problems()), ["could not remove a\nb"]);
    }
}
