//! Where programs of `PostgreSQL` are: on the PATH, or where packages put them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian has a directory for each major version here.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Where packages put the programs of each major version.
pub(super) fn package_directories() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = entries(Path::new(VERSIONS))
        .map(|path| path.join("bin"))
        .collect();
    let has_name = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pgsql-")
    };
    directories.extend(
        entries(Path::new("/usr"))
            .filter(has_name)
            .map(|path| path.join("bin")),
    );
    directories.push("/usr/local/pgsql/bin".into());
    directories
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// The first program of that name on the PATH.
pub(super) fn on_path(name: &Path) -> Option<PathBuf> {
    let output = Command::new("sh")
        .arg("-c")
        .arg("command -v \"$0\"")
        .arg(name)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(text.trim())).filter(|path| path.is_absolute())
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// How a program is started: by its name where the PATH leads to it. Debian's PATH leads to `pg_wrapper`, a script in Perl
/// that takes seven times as long as `pg_dump --version`, and says the version of the cluster on port 5432 there, but runs
/// the newest one for a server that is named. That newest one is started without it.
pub(super) fn started_as(program: &str) -> PathBuf {
    let wrapped = on_path(Path::new(program)).filter(|path| is_wrapper(path));
    let behind = wrapped.and_then(|_| newest(Path::new(VERSIONS), program));
    behind.unwrap_or_else(|| program.into())
}

fn is_wrapper(path: &Path) -> bool {
    let real = path.canonicalize();
    real.is_ok_and(|real| real.file_name().is_some_and(|name| name == "pg_wrapper"))
}

/// The program of the newest version below such a directory.
fn newest(versions: &Path, program: &str) -> Option<PathBuf> {
    let of_version = |path: PathBuf| {
        let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
        let program = path.join("bin").join(program);
        is_program(&program).then_some((version, program))
    };
    let found = entries(versions).filter_map(of_version).max();
    found.map(|(_, program)| program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn behind_a_wrapper_the_newest_program_is_found() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for version in ["9", "9.6", "15", "17", "18", "common"] {
            fs::create_dir_all(at(version).join("bin")).unwrap();
            // 18 has only a server.
            let name = if version == "18" {
                "postgres"
            } else {
                "pg_dump"
            };
            let program = at(version).join("bin").join(name);
            fs::write(&program, "").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let found = newest(root.path(), "pg_dump");
        assert_eq!(found, Some(at("17/bin/pg_dump")));
        assert_eq!(newest(root.path(), "psql"), None);
        assert_eq!(newest(&at("nowhere"), "pg_dump"), None);

        fs::write(at("pg_wrapper"), "").unwrap();
        symlink(at("pg_wrapper"), at("pg_dump")).unwrap();
        symlink(at("17/bin/pg_dump"), at("pg_dump-17")).unwrap();
        assert!(is_wrapper(&at("pg_dump")));
        assert!(!is_wrapper(&at("pg_dump-17")) && !is_wrapper(&at("psql")));
    }

    #[test]
    fn a_name_that_nothing_has_stays_a_name() {
        assert_eq!(started_as("no-such-program"), Path::new("no-such-program"));
        assert_eq!(on_path(Path::new("no-such-program")), None);
        assert!(on_path(Path::new("sh")).is_some_and(|path| path.is_absolute()));
    }
}
