//! A directory for one test, and hubvault run in it as a user would.

use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{Database, server_directory};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// The program.
pub(crate) const HUBVAULT: &str = env!("CARGO_BIN_EXE_hubvault");

/// Where the drills of all tests keep empty clusters.
const EMPTY_CLUSTERS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/empty-clusters");

/// A backup directory and a configuration directory, with hubvault pointed at one database.
pub(crate) struct Hub {
    directory: TempDir,
    variables: Vec<(String, String)>,
    toml: String,
}

impl Hub {
    /// Points at `database` as the superuser, everything in scope.
    pub(crate) fn whole(database: &Database) -> Self {
        Self::with(database, "[scope]\ntables = [\"*\"]\nwindow = []\n")
    }

    /// Points at `database` with a configuration file that says `toml`.
    pub(crate) fn with(database: &Database, toml: &str) -> Self {
        Self::at(&database.settings(), toml)
    }

    /// Points at any database of any server.
    pub(crate) fn at(settings: &ConnectSettings, toml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("backups")).unwrap();
        std::fs::create_dir(directory.path().join("config")).unwrap();
        let variables = [
            ("POSTGRES_HOST", settings.host.clone()),
            ("POSTGRES_PORT", settings.port.to_string()),
            ("POSTGRES_USER", settings.user.clone()),
            ("POSTGRES_DB", settings.dbname.clone()),
            // Most promises are about what is written; those about the drill switch it on.
            ("PROOF", "off".to_owned()),
            // One for all tests: most drill once, and initdb takes longer than that.
            ("PROOF_EMPTY_CLUSTERS", EMPTY_CLUSTERS.to_owned()),
            ("EMAIL_ENABLED", "false".to_owned()),
            // A server that is not there does not come back in a test.
            ("BACKUP_CONNECT_ATTEMPTS", "1".to_owned()),
        ];
        let toml = if toml.contains("[[file]]") {
            toml.to_owned()
        } else {
            format!("file = []\n{toml}")
        };
        Self {
            directory,
            variables: variables
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            toml,
        }
    }

    /// Proves every backup of this hub, in a directory for drills that is returned.
    pub(crate) fn prove(&mut self) -> TempDir {
        let drills = server_directory();
        self.set("PROOF", "always");
        self.set("PROOF_SCRIPT", "off");
        self.set("TMPDIR", drills.path().to_str().unwrap());
        drills
    }

    /// Changes what the configuration file says.
    pub(crate) fn write(&mut self, toml: &str) {
        toml.clone_into(&mut self.toml);
    }

    /// Sets a variable for every command that follows.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
    }

    pub(crate) fn backups(&self) -> PathBuf {
        self.directory.path().join("backups")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    /// The command, ready to run, with nothing of the caller's environment but `PATH`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command_of(HUBVAULT);
        command.args(arguments);
        command
    }

    /// Begins a backup, which says nothing here until it has ended.
    pub(crate) fn start_backup(&self) -> Child {
        let mut command = self.command(&["backup", "--no-progress"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Another program, with the environment that hubvault gets.
    pub(crate) fn command_of(&self, program: impl AsRef<OsStr>) -> Command {
        std::fs::write(self.config().join("hubvault.toml"), &self.toml).unwrap();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("BACKUP_DIR", self.backups())
            .env("CONFIG_DIR", self.config())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(coverage())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must end with `code`.
    pub(crate) fn run_expecting(&self, code: i32, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        output
    }

    /// A new token of the service.
    pub(crate) fn token(&self, name: &str, role: &str) -> String {
        let made = self.run_expecting(0, &["token", "create", name, "--role", role]);
        stdout(&made).trim().to_owned()
    }

    /// A backup that must be published; its record and its archive.
    pub(crate) fn backup(&self) -> (Value, PathBuf) {
        let output = self.run(&["backup", "--json"]);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)), "{code:?}: {}", stderr(&output));
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        let file = PathBuf::from(record["file"].as_str().unwrap());
        assert!(file.is_file());
        (record, file)
    }

    /// A backup that must fail with `code`, saying all of `words`, leaving nothing behind.
    pub(crate) fn backup_fails(&self, code: i32, words: &[&str]) -> String {
        let output = self.run(&["backup"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
        self.nothing_published();
        said
    }

    /// Neither an archive nor a partial one is in the backup directory.
    pub(crate) fn nothing_published(&self) {
        let left = archives_and_partials(&self.backups());
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// Where an instrumented build leaves what it ran: `make coverage` counts the commands of the suite, too.
pub(crate) fn coverage() -> Option<(&'static str, OsString)> {
    let name = "LLVM_PROFILE_FILE";
    std::env::var_os(name).map(|file| (name, file))
}

/// Everything in a backup directory that is or was becoming an archive, without sidecars.
pub(crate) fn archives_and_partials(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap();
            name.contains("critical_backup") && !name.ends_with(".manifest.json")
        })
        .collect()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
