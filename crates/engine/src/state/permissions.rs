//! Who else can get at what is ours. New files are made for their owner alone, whatever the umask; what is wider was
//! copied there, or made by something else.

use super::mounts;
use super::ownership::is_own;
use hubvault_model::Warning;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Permissions of a group and of all others.
const OF_OTHERS: u32 = 0o077;
/// Of a directory: all others may make, remove and rename in it, and not only what is theirs.
const WRITABLE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Takes from all others what they may do in the state directory, which nobody but hubvault has to do with; says so in
/// the log. A directory of another owner is left alone, and named.
pub fn close_directory(state: &Path) {
    if let Ok(meta) = fs::symlink_metadata(state) {
        close(state, &meta);
    }
}

/// The same for everything in it: catalog, locks, tokens, keys, logs.
pub fn close_all(state: &Path) {
    close_directory(state);
    // What cannot be read is said where it is needed.
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            close_all(&entry.path());
        } else if meta.is_file() {
            close(&entry.path(), &meta);
        }
    }
}

/// Says in the log whose a backup directory is, where it is somebody else's: what is made there now is not for them.
pub(crate) fn say_owner(directory: &Path) {
    if let Ok(meta) = fs::metadata(directory)
        && !is_own(meta.uid())
    {
        tracing::warn!(
            "{} belongs to another user (uid {}), who may remove and replace archives there, and whose own hubvault \
             cannot use the state that is made there now; run hubvault as that user",
            directory.display(),
            meta.uid()
        );
    }
}

fn close(path: &Path, meta: &Metadata) {
    let mode = meta.mode() & 0o7777;
    if mode & OF_OTHERS == 0 {
        return;
    }
    let narrow = mode & !OF_OTHERS;
    let path_shown = path.display();
    let closed = fs::set_permissions(path, Permissions::from_mode(narrow));
    let after = fs::symlink_metadata(path).map_or(mode, |meta| meta.mode());
    let directory = if meta.is_dir() {
        Some(path)
    } else {
        path.parent()
    };
    match closed {
        Ok(()) if after & OF_OTHERS == 0 => tracing::warn!(
            "{path_shown} was open to others (mode {mode:04o}); it is closed now ({narrow:04o})"
        ),
        // A run says it, once for the whole mount.
        _ if directory.is_some_and(|directory| !mounts::keeps_modes(directory)) => {
            tracing::debug!("{path_shown} is open to others (mode {mode:04o}) by its mount");
        }
        closed => {
            let why = closed
                .err()
                .map_or_else(String::new, |error| format!(": {error}"));
            tracing::warn!(
                "{path_shown} is open to others (mode {mode:04o}) and cannot be closed{why}; run \
                 chmod go-rwx {path_shown} as its owner"
            );
        }
    }
}

/// What others may do to archives and sidecars of a backup directory, with the command that cures it. Nothing is
/// changed: whoever made it so may have meant it.
pub fn look(
    directory: &Path,
    state: &Path,
    is_ours: impl Fn(&Path) -> bool,
) -> io::Result<Vec<Warning>> {
    let warning = |what: String| Warning::new("modes", directory.display(), what);
    let shown = directory.display();
    let mut warnings = Vec::new();
    let mode = fs::metadata(directory)?.mode() & 0o7777;
    if mode & WRITABLE != 0 && mode & STICKY == 0 {
        warnings.push(warning(format!(
            "everybody may remove and replace archives in {shown} (mode {mode:04o}); run chmod o-w {shown}"
        )));
    }
    let mut open = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_file() && meta.mode() & OF_OTHERS != 0 && is_ours(&entry.path()) {
            open.push((entry.file_name(), meta.mode() & 0o7777));
        }
    }
    open.sort();
    if let [(name, mode), rest @ ..] = open.as_slice() {
        let name = name.display();
        let others = match rest.len() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        warnings.push(warning(format!(
            "others than its owner may read {name} (mode {mode:04o}){others}; run chmod go-rwx \
             {shown}/critical_backup_*"
        )));
    }
    let state_mode = fs::metadata(state).map_or(0, |meta| meta.mode() & 0o7777);
    if (state_mode & OF_OTHERS != 0 || !warnings.is_empty()) && !mounts::keeps_modes(state) {
        warnings.clear();
        if !mounts::is_accepted(state) {
            let fix = mounts::fix(directory);
            warnings.push(warning(format!(
                "others than its owner may get at {shown} (its state has mode {state_mode:04o}): {fix}"
            )));
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_state_directory_is_closed_with_all_that_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join(".hubvault");
        fs::create_dir_all(state.join("logs")).unwrap();
        fs::write(state.join("logs/one.log"), "").unwrap();
        fs::write(state.join("tokens.json"), "").unwrap();
        for (name, mode) in [
            ("", 0o755),
            ("logs", 0o755),
            ("logs/one.log", 0o644),
            ("tokens.json", 0o666),
        ] {
            set(&state.join(name), mode);
        }
        close_all(&state);
        for (name, mode) in [
            ("", 0o700),
            ("logs", 0o700),
            ("logs/one.log", 0o600),
            ("tokens.json", 0o600),
        ] {
            assert_eq!(mode_of(&state.join(name)), mode, "{name}");
        }
    }

    #[test]
    fn what_others_can_read_is_said_with_the_cure_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        set(directory.path(), 0o755);
        let archives = [
            "critical_backup_1.tar.gz",
            "critical_backup_2.tar.gz",
            "other",
        ];
        for name in archives {
            fs::write(directory.path().join(name), "").unwrap();
            set(&directory.path().join(name), 0o600);
        }
        let ours = |path: &Path| path.to_string_lossy().contains("critical_backup_");
        assert!(
            look(directory.path(), directory.path(), ours)
                .unwrap()
                .is_empty()
        );
        for name in archives {
            set(&directory.path().join(name), 0o640);
        }
        set(directory.path(), 0o777);
        let said = look(directory.path(), directory.path(), ours).unwrap();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].message.contains("mode 0777") && said[0].message.contains("chmod o-w "));
        assert!(
            said[1]
                .message
                .contains("critical_backup_1.tar.gz (mode 0640) and 1 more")
        );
        assert_eq!(mode_of(&directory.path().join(archives[0])), 0o640);
        // As /tmp has it.
        set(directory.path(), 0o1777);
        assert_eq!(
            look(directory.path(), directory.path(), ours)
                .unwrap()
                .len(),
            1
        );
    }
}
