//! A server for an hour: for the demonstration, the tests and the drill.

use crate::error::PgError;
use crate::session::Session;
use crate::settings::{ConnectSettings, SslMode};
use crate::tools::{self, Tool};
use hubvault_model::{Cancel, quote_ident};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

const PREFIX: &str = "hubvault-throwaway-";
/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// What kind of server.
#[derive(Clone, Debug)]
pub struct ThrowawayOptions {
    /// The oldest major version that will do; the oldest that is installed is taken.
    pub min_major: u32,
    /// Where its directory is made; short, because a socket's path is limited to 107 bytes.
    pub parent_dir: PathBuf,
    /// Further settings, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// The name of its superuser.
    pub superuser: String,
}

impl ThrowawayOptions {
    /// The port, also of the socket; another than the usual one for a server that listens.
    fn port(&self) -> u16 {
        let port = self.settings.iter().find(|(name, _)| name == "port");
        port.and_then(|(_, value)| value.parse().ok())
            .unwrap_or(5432)
    }
}

/// A running server. Dropping it stops it and removes its directory.
pub struct ThrowawayServer {
    directory: PathBuf,
    postgres: Tool,
    superuser: String,
    port: u16,
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl ThrowawayServer {
    /// Makes a cluster and starts a server on a socket of its own, no TCP, and nothing durable:
    /// whatever it holds is gone with it.
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
        let user = ServerUser::choose()?;
        let directory = make_directory(&options.parent_dir, user.as_ref())?;
        let mut server = Self {
            directory,
            postgres,
            superuser: options.superuser.clone(),
            port: options.port(),
            stop: None,
            keeper: None,
        };
        server.initdb(user.as_ref(), cancel)?;
        server.launch(options, user.as_ref())?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn initdb(&self, user: Option<&ServerUser>, cancel: &Cancel) -> Result<(), PgError> {
        let initdb = |locale: &str| {
            let mut command = Command::new(self.bin_dir().join("initdb"));
            tools::bare(&mut command);
            command
                .arg("-D")
                .arg(self.data())
                .current_dir(&self.directory);
            command.args([
                "-U",
                &self.superuser,
                "-E",
                "UTF8",
                "-A",
                "trust",
                "--no-sync",
            ]);
            command.arg(format!("--locale={locale}"));
            as_user(&mut command, user);
            tools::run(command, &[], cancel)
        };
        // Older systems do not have C.UTF-8.
        initdb("C.UTF-8").or_else(|_| initdb("C")).map(|_| ())
    }

    fn launch(
        &mut self,
        options: &ThrowawayOptions,
        user: Option<&ServerUser>,
    ) -> Result<(), PgError> {
        let log_path = self.directory.join("log");
        let log = File::create(&log_path).map_err(|source| PgError::Io {
            doing: "creating",
            path: log_path,
            source,
        })?;
        let mut command = Command::new(&self.postgres.path);
        tools::bare(&mut command);
        command
            .arg("-D")
            .arg(self.data())
            .current_dir(&self.directory)
            .process_group(0);
        let directory = self.directory.display().to_string();
        let fixed = [
            ("listen_addresses", ""),
            ("unix_socket_directories", &directory),
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
            ("wal_level", "minimal"),
            ("max_wal_senders", "0"),
            ("shared_buffers", "128MB"),
            ("logging_collector", "off"),
        ];
        let further = options
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in fixed.into_iter().chain(further) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        as_user(&mut command, user);
        // Killed, it would leave its shared memory behind for as long as the machine runs.
        tools::die_with_parent(&mut command, Signal::QUIT);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let (stop, stopped) = channel();
        let (started, result) = channel();
        // The kernel kills the server when the thread that forked it ends: it gets a thread of
        // its own, which lives as long as this value.
        self.keeper = Some(std::thread::spawn(move || match command.spawn() {
            Ok(child) => {
                let _ = started.send(Ok(()));
                keep(child, &stopped);
            }
            Err(error) => {
                let _ = started.send(Err(error.to_string()));
            }
        }));
        self.stop = Some(stop);
        let outcome = result.recv().unwrap_or_else(|error| Err(error.to_string()));
        outcome.map_err(|why| self.failed("starting it", &why))?;
        self.wait_until_ready()
    }

    /// The eighth line of `postmaster.pid` says `ready` once connections are accepted.
    fn wait_until_ready(&self) -> Result<(), PgError> {
        let begun = Instant::now();
        let pid_file = self.data().join("postmaster.pid");
        loop {
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            if text
                .lines()
                .nth(7)
                .is_some_and(|status| status.trim() == "ready")
            {
                return Ok(());
            }
            let ended = self.keeper.as_ref().is_none_or(JoinHandle::is_finished);
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
    }

    fn failed(&self, doing: &str, why: &str) -> PgError {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n");
        PgError::Throwaway {
            doing: doing.to_owned(),
            why: format!("{why}\n{tail}"),
        }
    }

    /// How to reach one of its databases.
    pub fn settings(&self, dbname: &str) -> ConnectSettings {
        ConnectSettings {
            host: self.directory.display().to_string(),
            port: self.port,
            user: self.superuser.clone(),
            dbname: dbname.to_owned(),
            sslmode: SslMode::Disable,
            ..ConnectSettings::default()
        }
    }

    /// Where its programs are.
    pub fn bin_dir(&self) -> &Path {
        self.postgres.path.parent().unwrap_or(Path::new("/"))
    }

    /// Its directory, which also holds the socket.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes an empty database.
    pub fn create_database(&self, name: &str) -> Result<(), PgError> {
        let mut session = Session::connect(&self.settings("postgres"), &Cancel::new())?;
        let sql = format!("CREATE DATABASE {} TEMPLATE template0", quote_ident(name));
        session.simple("making a database", &sql)
    }

    /// Stops it and removes its directory, and says what could not be removed.
    pub fn stop(mut self) -> Result<(), PgError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), PgError> {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            // A panic of that thread has ended the server, too.
            let _ = keeper.join();
        }
        if !self.directory.exists() {
            return Ok(());
        }
        fs::remove_dir_all(&self.directory).map_err(|source| PgError::Io {
            doing: "removing the throwaway server's directory",
            path: self.directory.clone(),
            source,
        })
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
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Waits until the server ends by itself or its owner lets go of the other end of `stopped`.
fn keep(mut child: Child, stopped: &Receiver<()>) {
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        match stopped.recv_timeout(Duration::from_millis(200)) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            _ => break,
        }
    }
    // Immediate shutdown ("Shutting Down the Server"): nothing in it is worth a checkpoint.
    signal(&child, Signal::QUIT);
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begun.elapsed() > Duration::from_secs(10) {
            signal(&child, Signal::KILL);
        }
        sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// Whom the server runs as when we are root, which it refuses to be.
struct ServerUser {
    uid: u32,
    gid: u32,
}

impl ServerUser {
    fn choose() -> Result<Option<Self>, PgError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = ["postgres", "nobody"]
            .iter()
            .find_map(|name| find_user(&passwd, name));
        user.map(Some).ok_or_else(|| PgError::Throwaway {
            doing: "choosing whom it runs as".into(),
            why: "there is no user postgres; PostgreSQL refuses to run as root".into(),
        })
    }
}

fn find_user(passwd: &str, name: &str) -> Option<ServerUser> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(ServerUser {
        uid: fields.next()?.parse().ok()?,
        gid: fields.next()?.parse().ok()?,
    })
}

fn as_user(command: &mut Command, user: Option<&ServerUser>) {
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
}

fn make_directory(parent: &Path, user: Option<&ServerUser>) -> Result<PathBuf, PgError> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let pid = std::process::id();
    let path = parent.join(format!(
        "{PREFIX}{pid}-{}",
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    let make = || {
        DirBuilder::new().mode(0o700).create(&path)?;
        fs::write(path.join("owner"), owner(pid).unwrap_or_default())?;
        user.map_or(Ok(()), |user| chown(&path, Some(user.uid), Some(user.gid)))
    };
    make().map_err(|source| PgError::Io {
        doing: "making the throwaway server's directory",
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// A process as `id start`: ids come again, the start in clock ticks since boot does not
/// (proc(5), `/proc/[pid]/stat`, field 22). `None` when it is gone.
fn owner(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field may hold spaces and is the only one in parentheses.
    let since_boot = stat.rsplit_once(") ")?.1.split(' ').nth(19)?;
    Some(format!("{pid} {since_boot}"))
}

/// What became of the directories that servers left whose owner died.
#[derive(Debug, Default)]
pub struct Swept {
    /// Gone.
    pub removed: Vec<PathBuf>,
    /// Still there: another user's in a shared directory, for one.
    pub stuck: Vec<PgError>,
}

/// Removes the directories of servers whose owner died. An `Err` means that `parent` cannot be read.
pub fn sweep(parent: &Path) -> Result<Swept, PgError> {
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| PgError::Io {
            doing,
            path,
            source,
        }
    };
    let mut swept = Swept::default();
    for entry in fs::read_dir(parent)
        .map_err(io("reading", parent))?
        .flatten()
    {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        // Another user's directory, or one that is just being made.
        let Ok(recorded) = fs::read_to_string(path.join("owner")) else {
            continue;
        };
        let pid = recorded.split(' ').next().and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| owner(pid).as_deref() == Some(recorded.as_str())) {
            continue;
        }
        match fs::remove_dir_all(&path).map_err(io("removing", &path)) {
            Ok(()) => swept.removed.push(path),
            Err(error) => swept.stuck.push(error),
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_serves_and_leaves_nothing() {
        let parent = std::env::temp_dir();
        let options = ThrowawayOptions {
            min_major: 13,
            parent_dir: parent.clone(),
            settings: Vec::new(),
            superuser: "boss".into(),
        };
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
    fn what_cannot_be_swept_is_told_and_stops_nobody() {
        let parent = tempfile::tempdir().unwrap();
        let open = |path: &Path, mode| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(parent.path(), 0o777);
        let left = parent.path().join(format!("{PREFIX}1-1"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("owner"), "1 0").unwrap();
        open(&left, 0o555);
        // Root may remove anything: this thread is somebody else then.
        let swept = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                if geteuid().is_root() {
                    let nobody = rustix::process::Uid::from_raw(65_534);
                    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                }
                sweep(parent.path()).unwrap()
            });
            other.join().unwrap()
        });
        open(&left, 0o755);
        assert!(swept.removed.is_empty());
        let told = swept.stuck[0].to_string();
        assert!(told.contains(left.to_str().unwrap()), "{told}");
    }

    #[test]
    fn what_a_dead_owner_left_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join(format!("{PREFIX}1-1"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("owner"), "1 0").unwrap();
        assert_eq!(sweep(parent.path()).unwrap().removed, [left]);
    }
}
