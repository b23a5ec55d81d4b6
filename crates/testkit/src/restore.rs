//! Restores an archive with `tar`, `psql` and `pg_restore` alone, as its own text says.

use crate::Database;
use hubvault_postgres::ConnectSettings;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// Unpacks an archive with GNU tar into `directory`.
///
/// # Panics
/// When tar says anything at all.
pub fn extract(archive: &Path, directory: &Path) {
    let output = Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(directory)
        .output()
        .unwrap_or_else(|error| panic!("running tar: {error}"));
    assert!(
        output.status.success(),
        "tar: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.stderr.is_empty(),
        "tar: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs the archive's own script in `directory` against `target`.
///
/// # Panics
/// When sh cannot be started.
pub fn run_restore_script(directory: &Path, target: &Database, options: &[&str]) -> Output {
    restore_at(directory, &target.settings(), None, options)
}

/// The same against any database of any server, with the programs of a `PATH` of its own.
///
/// # Panics
/// When sh cannot be started.
pub fn restore_at(
    directory: &Path,
    settings: &ConnectSettings,
    path: Option<&OsStr>,
    options: &[&str],
) -> Output {
    let mut command = Command::new("sh");
    if let Some(path) = path {
        command.env("PATH", path);
    }
    command
        .arg("restore.sh")
        .args(options)
        .current_dir(directory)
        .env("PGHOST", &settings.host)
        .env("PGPORT", settings.port.to_string())
        .env("PGUSER", &settings.user)
        .env("PGDATABASE", &settings.dbname)
        .output()
        .unwrap_or_else(|error| panic!("running restore.sh: {error}"))
}

/// Extracts and restores; both must succeed.
///
/// # Panics
/// When they do not.
pub fn restore_with_plain_tools(archive: &Path, target: &Database) -> String {
    let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("tempdir: {error}"));
    extract(archive, directory.path());
    restore_unpacked(directory.path(), target)
}

/// Restores what was extracted into `directory`; it must succeed.
///
/// # Panics
/// When it does not.
pub fn restore_unpacked(directory: &Path, target: &Database) -> String {
    let output = run_restore_script(directory, target, &["--create-roles"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "restore.sh: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}
