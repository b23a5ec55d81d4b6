//! A throwaway server: for the demonstration, the tests and the drill.

use super::directory::ServerDirectory;
use super::empty_cluster;
use super::nofollow::random_name;
use super::options::ThrowawayOptions;
use super::programs::{self, Running, Users};
use super::sandbox::{Confinement, Sandbox};
use super::user::ServerUser;
use crate::connect::session::Session;
use crate::connect::settings::{ConnectSettings, SslMode};
use crate::dump::tools::{self, Tool};
use crate::error::PgError;
use hubvault_model::{Cancel, quote_ident};
use rustix::process::geteuid;
use secrecy::SecretString;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server. Dropping it stops it and removes its directory.
pub struct ThrowawayServer {
    directory: ServerDirectory,
    postgres: Tool,
    superuser: String,
    password: Option<SecretString>,
    port: u16,
    running: Option<Running>,
    is_removed: bool,
    /// What the host does not offer, as far as it is known before the server ends.
    confinement: Confinement,
}

impl ThrowawayServer {
    /// Creates a cluster and starts a server on a socket of its own, without TCP. Nothing is durable: its
    /// data is removed with it.
    pub fn start(options: &ThrowawayOptions, cancel: &Cancel) -> Result<Self, PgError> {
        Self::launch_with(tools::find_server(options.min_major)?, options, cancel)
    }

    /// The same with the server programs of one directory, whatever else is installed.
    pub fn start_from(
        programs: &Path,
        options: &ThrowawayOptions,
        cancel: &Cancel,
    ) -> Result<Self, PgError> {
        Self::launch_with(tools::server_in(programs)?, options, cancel)
    }

    fn launch_with(
        postgres: Tool,
        options: &ThrowawayOptions,
        cancel: &Cancel,
    ) -> Result<Self, PgError> {
        let is_confined = options.isolation.environment().is_some();
        let mut missing = Vec::new();
        let (directory, users) = make_directory(options, &mut missing)?;
        let password = is_confined
            .then(|| random_name(32))
            .transpose()
            .map_err(|error| failed("making its password", &error.to_string()))?;
        let mut server = Self {
            directory,
            postgres,
            superuser: options.superuser.clone(),
            password: password.map(SecretString::from),
            port: options.port(),
            running: None,
            is_removed: false,
            confinement: Confinement::default(),
        };
        let templates = empty_cluster::templates(&server.postgres, options);
        let home = &server.directory;
        let copied = templates
            .as_ref()
            .and_then(|templates| empty_cluster::copy(templates, home, users));
        if copied.is_none() {
            let (bin, password) = (server.bin_dir(), server.password.as_ref());
            programs::initdb(bin, home, options, password, users.as_ref(), cancel)?;
            empty_cluster::keep(templates.as_ref(), home, &server.superuser, password);
            if let Some(users) = users.filter(|users| users.makes != users.runs) {
                home.give_data(users.makes, users.runs)?;
            }
        }
        let launched = server.launch(options, users, missing);
        let (Some(templates), Some(first)) = (templates, copied) else {
            return launched.map(|()| server);
        };
        match launched.and_then(|()| empty_cluster::take_over(first, &server.settings("postgres")))
        {
            Ok(()) => Ok(server),
            Err(error) if cancel.is_requested() || options.preloads() => Err(error),
            Err(error) => {
                tracing::warn!("a copied empty cluster is of no use, it is made again: {error}");
                let _ = templates.discard();
                let postgres = server.postgres.clone();
                drop(server);
                let options = ThrowawayOptions {
                    templates: None,
                    ..options.clone()
                };
                Self::launch_with(postgres, &options, cancel)
            }
        }
    }

    fn launch(
        &mut self,
        options: &ThrowawayOptions,
        users: Option<Users>,
        mut missing: Vec<String>,
    ) -> Result<(), PgError> {
        let command = programs::postgres(&self.postgres, &self.directory, options, users.as_ref())
            .map_err(|error| failed("starting it", &error.to_string()))?;
        let mut sandbox = None;
        if let Some(environment) = options.isolation.environment() {
            let has_own_user = users.is_some_and(|users| users.makes != users.runs);
            let writable = [self.directory.data(), self.directory.socket()];
            let mut made = Sandbox::prepare(
                &self.postgres.path,
                &[&writable[0], &writable[1]],
                environment,
                has_own_user,
                users.is_some(),
            )?;
            made.missing.append(&mut missing);
            sandbox = Some(made);
        }
        let running = Running::start(command, sandbox, users);
        self.running = Some(running.map_err(|why| self.failed("starting it", &why))?);
        let user = users.map_or_else(|| geteuid().as_raw(), |users| users.runs.uid);
        self.wait_until_ready(user)
    }

    fn wait_until_ready(&self, user: u32) -> Result<(), PgError> {
        let begun = Instant::now();
        while !self.directory.is_ready(user) {
            let ended = self.running.as_ref().is_none_or(Running::has_ended);
            if ended || begun.elapsed() > PATIENCE {
                let what = if ended {
                    "it ended at once"
                } else {
                    "it took too long"
                };
                return Err(self.failed("waiting for it", what));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn failed(&self, doing: &str, why: &str) -> PgError {
        failed(doing, &format!("{why}\n{}", self.directory.log_tail()))
    }

    /// How to reach one of its databases.
    pub fn settings(&self, dbname: &str) -> ConnectSettings {
        ConnectSettings {
            host: self.directory.socket().display().to_string(),
            port: self.port,
            user: self.superuser.clone(),
            password: self.password.clone(),
            dbname: dbname.to_owned(),
            sslmode: SslMode::Disable,
            is_own: true,
            ..ConnectSettings::default()
        }
    }

    /// Where its programs are.
    pub fn bin_dir(&self) -> &Path {
        self.postgres.path.parent().unwrap_or(Path::new("/"))
    }

    /// Its directory. The server may write only to directories below it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Makes an empty database.
    pub fn create_database(&self, name: &str) -> Result<(), PgError> {
        let mut session = Session::connect(&self.settings("postgres"), &Cancel::new())?;
        let sql = format!("CREATE DATABASE {} TEMPLATE template0", quote_ident(name));
        session.simple("making a database", &sql)
    }

    /// Ends it at once from any thread, whatever its sessions do; its directory stays until this value is dropped.
    pub fn ender(&self) -> Box<dyn Fn() + Send + Sync> {
        match &self.running {
            Some(running) => Box::new(running.ender()),
            None => Box::new(|| ()),
        }
    }

    /// Stops it and removes its directory, and says what could not be removed.
    pub fn stop(mut self) -> Result<(), PgError> {
        self.end()
    }

    /// Stops it, and everything that was started in it; says how far it was confined. The directory stays until this value
    /// is dropped.
    pub fn halt(&mut self) -> Confinement {
        if let Some(running) = self.running.take() {
            self.confinement = running.end();
        }
        self.confinement.clone()
    }

    fn end(&mut self) -> Result<(), PgError> {
        self.halt();
        if std::mem::replace(&mut self.is_removed, true) {
            return Ok(());
        }
        self.directory.remove()
    }
}

/// Makes the directory for whoever will make and run the server. A confined server of root gets a user of its own where
/// the host has one.
fn make_directory(
    options: &ThrowawayOptions,
    missing: &mut Vec<String>,
) -> Result<(ServerDirectory, Option<Users>), PgError> {
    let parent = &options.parent_dir;
    let is_confined = options.isolation.environment().is_some();
    if is_confined && let Some(shared) = parent.parent().filter(|shared| may_be_renamed(shared)) {
        missing.push(format!(
            "every user may rename files in {}: chmod +t prevents that",
            shared.display()
        ));
    }
    let Some(makes) = ServerUser::choose()? else {
        let directory = ServerDirectory::make(parent, is_confined, None, None)?;
        return Ok((directory, None));
    };
    let make = |runs: ServerUser| {
        let directory = ServerDirectory::make(parent, is_confined, Some(makes), Some(runs));
        directory.map(|directory| (directory, Some(Users { makes, runs })))
    };
    if is_confined {
        // In a container some ids may not exist.
        if let Some(Ok(made)) = ServerUser::unused().map(make) {
            return Ok(made);
        }
        missing.push(
            "no unused user id: the drill's server has the rights of the user postgres".to_owned(),
        );
    }
    make(makes)
}

/// Whether other users can replace our directory.
fn may_be_renamed(shared: &Path) -> bool {
    rustix::fs::stat(shared).is_ok_and(|stat| stat.st_mode & 0o1002 == 0o002)
}

fn failed(doing: &str, why: &str) -> PgError {
    PgError::Throwaway {
        doing: doing.to_owned(),
        why: why.to_owned(),
    }
}

impl Drop for ThrowawayServer {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!("{error}");
        }
    }
}

impl std::fmt::Debug for ThrowawayServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThrowawayServer")
            .field("directory", &self.directory.path())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::template::{Superuser, Templates};
    use crate::cluster::{DrillLock, Isolation, nofollow, sweep};

    #[test]
    fn a_server_starts_serves_and_leaves_nothing() {
        let parent = std::env::temp_dir();
        let options = ThrowawayOptions::plain(&parent);
        let server = ThrowawayServer::start(&options, &Cancel::new()).unwrap();
        server.create_database("Odd \"name\"").unwrap();
        let settings = server.settings("Odd \"name\"");
        let mut session = Session::connect(&settings, &Cancel::new()).unwrap();
        let zone = session.rows("asking", "SHOW TimeZone").unwrap();
        assert_eq!(zone[0].get::<_, String>(0), "UTC");
        let directory = server.directory().to_owned();
        sweep(&parent).unwrap();
        assert!(directory.exists(), "a living server was swept");
        server.stop().unwrap();
        assert!(!directory.exists());
    }

    #[test]
    fn a_server_that_crashed_does_not_serve_again() {
        let options = ThrowawayOptions::plain(std::env::temp_dir());
        let server = ThrowawayServer::start(&options, &Cancel::new()).unwrap();
        let of_server = std::fs::read_to_string(server.directory().join("data/postmaster.pid"));
        let of_server = of_server.unwrap();
        let running = Path::new("/proc").join(of_server.lines().next().unwrap());
        let mut session = Session::connect(&server.settings("postgres"), &Cancel::new()).unwrap();
        let asked = session.rows("asking", "SELECT pg_backend_pid()").unwrap();
        let pid = rustix::process::Pid::from_raw(asked[0].get(0)).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        // With empty unlogged tables, which a comparison would believe.
        let begun = std::time::Instant::now();
        while running.exists() {
            assert!(begun.elapsed().as_secs() < 300, "it goes on");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        superusers(&server.settings("postgres")).unwrap_err();
    }

    fn confined(parent: &Path, templates: &Path, superuser: &str) -> ThrowawayServer {
        let path = std::env::var("PATH").unwrap_or_default();
        let options = ThrowawayOptions {
            superuser: superuser.to_owned(),
            isolation: Isolation::Confined {
                environment: vec![("PATH".to_owned(), path)],
            },
            templates: Some(templates.to_owned()),
            ..ThrowawayOptions::plain(parent)
        };
        ThrowawayServer::start(&options, &Cancel::new()).unwrap()
    }

    fn superusers(settings: &ConnectSettings) -> Result<Vec<String>, PgError> {
        let mut session = Session::connect(settings, &Cancel::new())?;
        let asked = "SELECT rolname::text FROM pg_roles WHERE rolsuper";
        let rows = session.rows("asking", asked)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    #[test]
    fn a_copied_cluster_has_a_superuser_of_its_own_and_a_useless_one_is_made_anew() {
        let parent = tempfile::tempdir().unwrap();
        let lock = DrillLock::try_take(parent.path()).unwrap().unwrap();
        let kept = parent.path().join("kept");
        let first = confined(&lock.directory(), &kept, "first");
        let of_first = first.settings("postgres");
        assert_eq!(superusers(&of_first).unwrap(), ["first"]);
        first.stop().unwrap();
        let is_kept = || std::fs::read_dir(&kept).unwrap().count() == 1;
        assert!(is_kept());
        let second = confined(&lock.directory(), &kept, "second's own");
        let settings = second.settings("postgres");
        assert_eq!(superusers(&settings).unwrap(), ["second's own"]);
        second.create_database("drill").unwrap();
        let old = ConnectSettings {
            host: settings.host,
            ..of_first
        };
        superusers(&old).unwrap_err();
        second.stop().unwrap();
        // It was of use.
        assert!(is_kept());

        // Whole by its digest, and no cluster.
        let postgres = tools::find_server(13).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let templates = Templates::of(&kept, &postgres, &[("PATH".to_owned(), path)]).unwrap();
        templates.discard().unwrap();
        let nothing = tempfile::tempdir().unwrap();
        let nothing = nofollow::open_directory(rustix::fs::CWD, nothing.path()).unwrap();
        let nobody = Superuser {
            name: "first".to_owned(),
            password: SecretString::from("secret"),
        };
        templates.keep(&nothing, &nobody).unwrap();
        assert!(is_kept());
        let third = confined(&lock.directory(), &kept, "third");
        assert_eq!(superusers(&third.settings("postgres")).unwrap(), ["third"]);
        assert!(!is_kept());
    }
}
