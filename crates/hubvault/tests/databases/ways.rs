//! How a database is backed up, and the two ways back.

use crate::form::sized;
use crate::hub::{Hub, stderr, stdout};
use crate::real_server::{RealServer, connection_value, literal, quoted};
use hubvault_testkit::extract;
use serde_json::Value;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// Who backs up, and with which codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The superuser, with gzip.
    Superuser,
    /// A role with the privileges that the dry run prints and no others, with zstd.
    LeastRole,
}

impl Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superuser => "superuser",
            Self::LeastRole => "least role",
        })
    }
}

/// What a backup came to.
pub(crate) struct Taken {
    database: String,
    hub: Hub,
    _drills: TempDir,
    pub(crate) code: Option<i32>,
    /// `proven` or `unproven`; empty when nothing was published.
    pub(crate) state: String,
    /// The reason, the drill's notes and the warnings.
    pub(crate) said: String,
    /// How long it took, and its drill.
    pub(crate) seconds: (f64, f64),
    archive: Option<PathBuf>,
}

/// A restore: its exit code, what it printed, how long it took.
pub(crate) struct Restored {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
    pub(crate) seconds: f64,
}

fn hub(server: &RealServer, database: &str, role: &str, by: By) -> (Hub, TempDir) {
    let codec = match by {
        By::Superuser => "gzip",
        By::LeastRole => "zstd",
    };
    let limit = sized(5, 30);
    let toml = format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n[archive]\ncodec = \"{codec}\"\ntime_limit = \"{limit} min\"\n"
    );
    let mut settings = server.settings(database);
    if by == By::LeastRole {
        role.clone_into(&mut settings.user);
    }
    let mut hub = Hub::at(&settings, &toml);
    let drills = hub.prove();
    hub.set("PATH", server.path().to_str().unwrap());
    (hub, drills)
}

/// Makes a role and gives it what the dry run asks for, as it is printed.
pub(crate) fn make_least_role(
    server: &RealServer,
    database: &str,
    role: &str,
    besides: &str,
) -> Result<(), String> {
    let (hub, _drills) = hub(server, database, role, By::LeastRole);
    let role = quoted(role);
    server.run("postgres", &format!("CREATE ROLE {role} LOGIN"));
    server.run("postgres", &besides.replace("ROLE", &role));
    for _ in 0..ROUNDS {
        let output = hub.run(&["backup", "--dry-run"]);
        let said = stdout(&output) + &stderr(&output);
        let asked = statements(&said);
        match output.status.code() {
            Some(0 | 3) if asked.is_empty() => return Ok(()),
            _ if asked.is_empty() => return Err(format!("the dry run: {said}")),
            _ => server.run(database, &asked),
        };
    }
    Err(format!(
        "the dry run still asks for privileges after {ROUNDS} rounds"
    ))
}

/// How often the dry run may ask: to be let in, then for all the rest.
const ROUNDS: usize = 3;

/// The statements in what a dry run printed. A name with a line break is indented.
fn statements(said: &str) -> String {
    let mut found = String::new();
    let mut inside = false;
    for line in said.lines() {
        inside |= line.starts_with("  GRANT ") || line.starts_with("  ALTER ROLE ");
        if inside {
            found += line.strip_prefix("  ").unwrap_or(line);
            found.push('\n');
            inside = !line.ends_with(';');
        }
    }
    found
}

/// Takes a backup, with a drill.
pub(crate) fn back_up(server: &RealServer, database: &str, role: &str, by: By) -> Taken {
    let (hub, drills) = hub(server, database, role, by);
    let begun = Instant::now();
    let output = hub.run(&["backup", "--json", "--no-progress"]);
    let seconds = begun.elapsed().as_secs_f64();
    let record: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let published = record["file"].as_str().map(PathBuf::from);
    let said = match &published {
        Some(_) => format!("{:#}\n{:#}", record["proof"], record["warnings"]),
        None => stderr(&output) + &stdout(&output),
    };
    Taken {
        database: database.to_owned(),
        hub,
        _drills: drills,
        code: output.status.code(),
        state: record["state"].as_str().unwrap_or_default().to_owned(),
        said,
        seconds: (
            seconds,
            record["proof"]["drill"]["seconds"]
                .as_f64()
                .unwrap_or_default(),
        ),
        archive: published,
    }
}

impl Taken {
    pub(crate) fn archive(&self) -> Option<&Path> {
        self.archive.as_deref()
    }

    /// `hubvault restore --create`.
    pub(crate) fn restore(&self, server: &RealServer, into: &str) -> Restored {
        let settings = server.settings(into);
        let url = format!(
            "host={} user={} dbname={}",
            connection_value(&settings.host),
            connection_value(&settings.user),
            connection_value(into)
        );
        let archive = self.archive.as_ref().unwrap().to_str().unwrap();
        let arguments = [
            "restore",
            archive,
            "--to",
            &url,
            "--create",
            "--no-progress",
        ];
        ended(&mut self.hub.command(&arguments))
    }

    /// The archive's own script, with `psql` and `pg_restore` alone.
    pub(crate) fn restore_by_script(
        &self,
        source: &RealServer,
        target: &RealServer,
        into: &str,
    ) -> Restored {
        let unpacked = tempfile::tempdir().unwrap();
        extract(self.archive.as_ref().unwrap(), unpacked.path());
        target.create(into, &same_kind(source, &self.database));
        let run = |program: &str, arguments: &[&str]| {
            let mut command = target.program(program, into);
            command.args(arguments).current_dir(unpacked.path());
            ended(command.env_remove("PGOPTIONS"))
        };
        let restored = run("sh", &["restore.sh"]);
        // As `docs/restore.md` says.
        let applied = run(
            "psql",
            &[
                "-X",
                "-v",
                "ON_ERROR_STOP=1",
                "-f",
                "database/properties.sql",
            ],
        );
        if applied.code == Some(0) {
            restored
        } else {
            applied
        }
    }
}

fn ended(command: &mut Command) -> Restored {
    let begun = Instant::now();
    let output = command.output().unwrap();
    Restored {
        code: output.status.code(),
        said: stderr(&output) + &stdout(&output),
        seconds: begun.elapsed().as_secs_f64(),
    }
}

/// `pg_dump | pg_restore`, what the ways back are held against.
pub(crate) fn restore_reference(
    source: &RealServer,
    database: &str,
    target: &RealServer,
    into: &str,
) -> Restored {
    target.create(into, &same_kind(source, database));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump");
    let dumped = ended(
        source
            .program("pg_dump", database)
            .env_remove("PGOPTIONS")
            .arg("-Fc")
            .arg("-f")
            .arg(&file),
    );
    if dumped.code != Some(0) {
        return dumped;
    }
    ended(
        target
            .program("pg_restore", into)
            .env_remove("PGOPTIONS")
            .arg("-d")
            .arg(format!("dbname={}", connection_value(into)))
            .arg(&file),
    )
}

/// Encoding and locale of a database, as options of `CREATE DATABASE`.
fn same_kind(server: &RealServer, database: &str) -> String {
    server.ask(
        "postgres",
        &format!(
            "SELECT format('ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding), datcollate, \
             datctype) FROM pg_database WHERE datname = {}",
            literal(database)
        ),
    )
}
