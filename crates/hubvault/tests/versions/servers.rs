//! The servers and client programs of every major version, as `make test-versions` fetched them.

use crate::fetched::{fetched, reachable};
use crate::hub::{Hub, stderr, stdout};
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, ThrowawayOptions, ThrowawayServer};
use hubvault_testkit::{NASTY, execute};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Every version that hubvault supports, oldest first.
pub(crate) const MAJORS: [u32; 6] = [13, 14, 15, 16, 17, 18];

const FEATURES: &str = include_str!("features.sql");

/// Whether everything is tried, or what fits into two minutes.
pub(crate) fn long_form() -> bool {
    match std::env::var("HUBVAULT_VERSIONS").as_deref() {
        Ok("long") => true,
        Ok("short") | Err(_) => false,
        Ok(other) => panic!("HUBVAULT_VERSIONS={other}: short or long"),
    }
}

/// Client programs: `pg_dump`, `pg_restore`, `psql`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Of the system's package.
    System,
    /// Of the newest version.
    Newest,
}

impl Client {
    /// Its major version.
    pub(crate) fn major(self) -> u32 {
        let output = Command::new("pg_dump")
            .arg("--version")
            .env("PATH", self.directory())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let version = said.split(") ").nth(1).unwrap();
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    pub(crate) fn directory(self) -> PathBuf {
        match self {
            Self::System => std::fs::read_dir("/usr/lib/postgresql")
                .unwrap_or_else(|e| panic!("the system's PostgreSQL clients: {e}"))
                .map(|entry| entry.unwrap().path().join("bin"))
                .find(|bin| bin.join("pg_dump").is_file())
                .unwrap(),
            Self::Newest => fetched("client-18").join("bin"),
        }
    }
}

/// A running server of one major version, with nothing of the system's beside it.
pub(crate) struct Running {
    pub(crate) major: u32,
    pub(crate) server: ThrowawayServer,
    bin: PathBuf,
    _copy: Option<TempDir>,
}

impl Running {
    pub(crate) fn start(major: u32, settings: &[(&str, &str)]) -> Self {
        let (bin, copy) = reachable(&fetched(&major.to_string()));
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let options = ThrowawayOptions {
            min_major: major,
            settings: settings.iter().map(own).collect(),
            ..ThrowawayOptions::plain("/tmp")
        };
        let server = ThrowawayServer::start_from(&bin, &options, &Cancel::new())
            .unwrap_or_else(|error| panic!("PostgreSQL {major}: {error}"));
        let admin = server.settings("postgres");
        execute(
            &admin,
            "CREATE ROLE backup LOGIN BYPASSRLS;
             ALTER ROLE backup SET default_transaction_read_only = on",
        );
        if major >= 14 {
            execute(&admin, "GRANT pg_read_all_data TO backup");
        }
        Self {
            major,
            server,
            bin,
            _copy: copy,
        }
    }

    /// As the superuser.
    pub(crate) fn admin(&self, dbname: &str) -> ConnectSettings {
        self.server.settings(dbname)
    }

    /// A database with everything that is nasty, and what this version has beyond the oldest.
    pub(crate) fn nasty_database(&self, name: &str) {
        self.server.create_database(name).unwrap();
        execute(&self.admin(name), NASTY);
        for section in FEATURES.split("\n-- @").skip(1) {
            let (major, sql) = section.split_once('\n').unwrap();
            if major.parse::<u32>().unwrap() <= self.major {
                execute(&self.admin(name), sql);
            }
        }
    }

    /// The role that the documentation names: it may read everything and do nothing else.
    pub(crate) fn reader(&self, dbname: &str) -> ConnectSettings {
        let admin = self.admin(dbname);
        if self.major < 14 {
            execute(&admin, &documented_grants());
        }
        ConnectSettings {
            user: "backup".into(),
            ..admin
        }
    }

    /// A `PATH` with this server's programs, a client's, and the system's.
    pub(crate) fn path(&self, client: Client) -> OsString {
        let system = std::env::var_os("PATH").unwrap_or_default();
        let own = [self.bin.clone(), client.directory()];
        std::env::join_paths(own.into_iter().chain(std::env::split_paths(&system))).unwrap()
    }

    /// `pg_dump`'s definitions of a database, without what differs from one run to the next.
    pub(crate) fn definitions(&self, dbname: &str) -> String {
        let settings = self.admin(dbname);
        let output = Command::new(Client::Newest.directory().join("pg_dump"))
            .args([
                "--schema-only",
                "-h",
                &settings.host,
                "-U",
                &settings.user,
                dbname,
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        let kept =
            |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
        text.lines().filter(kept).collect::<Vec<_>>().join("\n")
    }

    /// hubvault as that role, everything in scope, with the drill, on this version's programs.
    pub(crate) fn hub(&self, dbname: &str, client: Client) -> (Hub, TempDir) {
        self.hub_at(&self.reader(dbname), client)
    }

    pub(crate) fn hub_at(&self, settings: &ConnectSettings, client: Client) -> (Hub, TempDir) {
        let mut hub = Hub::at(settings, "[scope]\ntables = [\"*\"]\nwindow = []\n");
        let drills = hub.prove();
        hub.set("PATH", self.path(client).to_str().unwrap());
        (hub, drills)
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// The statements that docs/configuration.md gives for servers without `pg_read_all_data`.
fn documented_grants() -> String {
    let docs = include_str!("../../../../docs/configuration.md");
    let block = docs
        .split("```sql\n")
        .find(|block| block.starts_with("-- PostgreSQL 13"))
        .unwrap_or_else(|| panic!("docs/configuration.md has no grants for 13"));
    block.split("```").next().unwrap().to_owned()
}
