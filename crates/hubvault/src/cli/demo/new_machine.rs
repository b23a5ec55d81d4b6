//! The machine is lost; a new one restores from the bucket alone, with the commands that a user would type.

use super::compare::{compare, compare_beside};
use super::s3::{S3Server, URL};
use super::{SOURCE, go_on, say, tools};
use crate::text::print;
use anyhow::{Context, Result, bail};
use hubvault_archive::Manifest;
use hubvault_engine::job::Destination;
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, ThrowawayServer};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const TABLE: &str = "users";
const SCHEMA: &str = "from_bucket";
const TARGET: &str = "hub_from_bucket";
/// An empty file, so that a configuration of this host does not count.
const CONFIGURATION: &str = "empty.toml";

/// The machine that is lost: its backup directory, with the catalog in it.
pub(super) fn lost(store: &S3Server) -> PathBuf {
    store.directory().join("lost-machine")
}

/// Deletes the backup directory and restores one table, then everything, out of the bucket.
pub(super) fn recover(
    machine: &Machine<'_>,
    server: &ThrowawayServer,
    manifest: &Manifest,
    key: &Path,
    cancel: &Cancel,
) -> Result<()> {
    say("10. The machine is lost: its archives and its catalog are deleted")?;
    let lost = lost(machine.store);
    print(&format!("$ rm -r {}\n", lost.display()))?;
    fs::remove_dir_all(&lost)
        .with_context(|| format!("deleting the backup directory {}", lost.display()))?;
    print("Left: the copy in the bucket and the administrator's key.\n")?;

    say("11. A new machine: an empty home, no configuration, only hubvault and the credentials")?;
    machine.begin()?;
    machine.hubvault(&["list", URL])?;
    go_on(cancel)?;

    let latest = format!("{URL}/latest");
    let key = key.display().to_string();
    let restore = ["restore", &latest, "--no-progress", "--identity", &key];
    let (live, target) = (server.settings(SOURCE), server.settings(TARGET));
    say("12. One table out of the bucket, beside the live one (hubvault restore --table)")?;
    let one_table = ["--table", TABLE, "--into-schema", SCHEMA, "--verbose"];
    machine.hubvault(&[&restore[..], &one_table, &["--to", &keywords(&live)]].concat())?;
    go_on(cancel)?;
    let (table, is_equal) = compare_beside(manifest, TABLE, SCHEMA, &live, cancel)?;
    print(&table)?;
    if !is_equal {
        bail!("the table from the bucket differs from the source");
    }

    say("13. Everything out of the bucket, into a new database (hubvault restore --create)")?;
    machine.hubvault(&[&restore[..], &["--create", "--to", &keywords(&target)]].concat())?;
    go_on(cancel)?;
    let (table, is_equal) = compare(manifest, &live, &target, cancel)?;
    print(&table)?;
    if !is_equal {
        bail!("the tables from the bucket differ from the source");
    }
    Ok(())
}

/// Brings what the bucket holds into `directory`. Returns the archive.
pub(super) fn fetch(bucket: &Destination, directory: &Path, archive: &Path) -> Result<PathBuf> {
    let store = bucket.open()?;
    for object in store.list("")? {
        let path = directory.join(object.key.as_str());
        let doing = || format!("fetching {} from the bucket", path.display());
        let mut content = store.read_object(&object, 0, object.bytes)?;
        let mut file = File::create(&path).with_context(doing)?;
        io::copy(&mut content, &mut file).with_context(doing)?;
    }
    let name = archive.file_name().context("the archive has no name")?;
    Ok(directory.join(name))
}

/// A machine on which nothing is known of the backups.
pub(super) struct Machine<'a> {
    store: &'a S3Server,
    home: PathBuf,
    /// Where programs are.
    path: &'a str,
}

impl<'a> Machine<'a> {
    pub(super) fn new(store: &'a S3Server, path: Option<&'a str>) -> Result<Self> {
        let home = store.directory().join("new-machine");
        fs::create_dir(&home)?;
        File::create(home.join(CONFIGURATION))?;
        let path = path.unwrap_or_default();
        Ok(Self { store, home, path })
    }

    /// Prints how the credentials get into the environment.
    fn begin(&self) -> Result<()> {
        for (name, value) in self.store.environment() {
            let is_secret = name.contains("SECRET");
            let value = if is_secret { "…" } else { &value };
            print(&format!("$ export {name}={value}\n"))?;
        }
        Ok(())
    }

    /// Prints the command as a user would type it, runs it and prints its output.
    fn hubvault(&self, arguments: &[&str]) -> Result<()> {
        let quoted = |argument: &&str| {
            if argument.contains(' ') {
                format!("'{argument}'")
            } else {
                (*argument).to_owned()
            }
        };
        let line = arguments.iter().map(quoted).collect::<Vec<_>>().join(" ");
        print(&format!("$ hubvault {line}\n"))?;
        let program = std::env::current_exe().context("finding the program hubvault")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.home).env_clear();
        command.env("PATH", self.path);
        command.env("HOME", &self.home).env("TMPDIR", &self.home);
        command.env("HUBVAULT_CONFIG", self.home.join(CONFIGURATION));
        command.envs(self.store.environment());
        let output = tools::finished("hubvault", &mut command)?;
        Ok(print(&String::from_utf8_lossy(&output.stdout))?)
    }
}

/// A database as `--to` takes it.
fn keywords(to: &ConnectSettings) -> String {
    let (host, port, user, name) = (&to.host, to.port, &to.user, &to.dbname);
    format!("host={host} port={port} user={user} dbname={name}")
}
