//! The plain tools that bring an archive back, called as a user would.

use anyhow::{Context, Result, bail};
use hubvault_postgres::ConnectSettings;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a mail program does: the text is shown, what is attached is saved.
const READ_MAIL: &str = "
import email, email.policy, os, sys
message = email.message_from_file(open(sys.argv[1]), policy=email.policy.default)
for name in ('From', 'To', 'Subject'):
    print(f'{name}: {message[name]}')
for part in message.iter_attachments():
    path = os.path.join(sys.argv[2], os.path.basename(part.get_filename()))
    with open(path, 'wb') as file:
        file.write(part.get_payload(decode=True))
    print(f'Attached: {os.path.basename(path)} ({os.path.getsize(path):,} bytes)')
print()
print(message.get_body(('plain',)).get_content())
";

/// A key pair of age.
pub(super) struct Key {
    pub(super) file: PathBuf,
    pub(super) public: String,
}

/// The administrator's key, made with `age-keygen` in `directory` when it is not there.
pub(super) fn key(directory: &Path) -> Result<Key> {
    let file = directory.join("administrator-key.txt");
    if !file.exists() {
        finished(
            "age-keygen",
            Command::new("age-keygen").arg("-o").arg(&file),
        )?;
    }
    let shown = finished(
        "age-keygen",
        Command::new("age-keygen").arg("-y").arg(&file),
    )?;
    let public = String::from_utf8_lossy(&shown.stdout).trim().to_owned();
    Ok(Key { file, public })
}

/// The text of a message, and the file that was attached, saved into `directory`.
pub(super) fn read_mail(message: &Path, directory: &Path) -> Result<(String, PathBuf)> {
    let mut python = Command::new("python3");
    let output = finished(
        "python3",
        python.args(["-c", READ_MAIL]).arg(message).arg(directory),
    )?;
    let saved = std::fs::read_dir(directory)?.next();
    let saved = saved.context("nothing is attached to the mail")??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((text, saved.path()))
}

/// `age -d -i KEY SEALED`, into a file.
pub(super) fn open(key: &Path, sealed: &Path, into: &Path) -> Result<()> {
    let mut age = Command::new("age");
    let arguments = age.args(["-d", "-i"]).arg(key).arg("-o").arg(into);
    finished("age", arguments.arg(sealed))?;
    Ok(())
}

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

/// Runs a program to its end; one that fails is an error with what it said.
pub(super) fn finished(what: &str, command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("starting {what}; `make tools` installs what is missing"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{what} ended with {}: {}", output.status, said.trim());
    }
    Ok(output)
}
