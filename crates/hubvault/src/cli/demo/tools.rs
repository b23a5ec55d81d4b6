//! The plain tools that bring an archive back, called as a user would.

use anyhow::{Context, Result, bail};
use hubvault_postgres::ConnectSettings;
use std::path::Path;
use std::process::{Command, Output};

/// `tar -tf`, as tar prints it.
pub(super) fn list(archive: &Path) -> Result<String> {
    let output = finished("tar", Command::new("tar").arg("-tvf").arg(archive))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `tar -xf` into a directory.
pub(super) fn extract(archive: &Path, into: &Path) -> Result<()> {
    finished(
        "tar",
        Command::new("tar")
            .arg("-xf")
            .arg(archive)
            .arg("-C")
            .arg(into),
    )?;
    Ok(())
}

/// The archive's own script.
pub(super) fn restore(unpacked: &Path, target: &ConnectSettings, bin_dir: &Path) -> Result<String> {
    let output = finished(
        "restore.sh",
        Command::new("sh")
            // psql may be beside the server's programs and nowhere else.
            .args([
                "-c",
                "PATH=\"$PATH:$1\" exec sh restore.sh --create-roles",
                "sh",
            ])
            .arg(bin_dir)
            .current_dir(unpacked)
            .env("PGHOST", &target.host)
            .env("PGPORT", target.port.to_string())
            .env("PGUSER", &target.user)
            .env("PGDATABASE", &target.dbname),
    )?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn finished(what: &str, command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("starting {what}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{what} ended with {}: {}", output.status, said.trim());
    }
    Ok(output)
}
