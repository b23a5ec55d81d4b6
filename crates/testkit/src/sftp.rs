//! An SSH server with SFTP: Debian's `sshd`, one process a connection, as inetd starts it.

use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";
const HOSTILE: &str = include_str!("hostile_sftp.py");

/// What is special about a server.
#[derive(Clone, Debug, Default)]
pub struct SftpServerOptions {
    /// The requests of SFTP that it does not have, as `sftp-server -P` takes them: `posix-rename,fsync`.
    pub without: &'static str,
    /// Each connection sees an empty file system of so many bytes in the directory (as root only).
    pub room: Option<u64>,
    /// What it lies about, instead of serving the directory: a mode of `hostile_sftp.py`.
    pub hostile: Option<&'static str>,
    /// The user's password on it (as root only); keys are accepted, too.
    pub password: Option<&'static str>,
}

/// A connection that is served.
struct Served {
    child: Child,
    socket: TcpStream,
}

#[derive(Default)]
struct State {
    served: Mutex<Vec<Served>>,
    accepted: AtomicUsize,
    is_stopped: AtomicBool,
}

/// An SSH server on a port of loopback, with a host key and a directory of its own, which one key may use. It ends with
/// the value, and with the process.
pub struct SftpServer {
    directory: TempDir,
    port: u16,
    state: Arc<State>,
    listening: Option<JoinHandle<()>>,
}

impl SftpServer {
    /// Starts one with everything that `OpenSSH` has.
    pub fn start() -> Self {
        Self::with(&SftpServerOptions::default())
    }

    /// Starts one.
    ///
    /// # Panics
    /// When `sshd` (Debian: openssh-server) or `ssh-keygen` is missing.
    pub fn with(options: &SftpServerOptions) -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: install openssh-server"
        );
        let directory = TempDir::with_prefix("hv-sftp-").unwrap_or_else(|e| panic!("{e}"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("{e}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let mut server = Self {
            directory,
            port,
            state: Arc::default(),
            listening: None,
        };
        server
            .prepare(options)
            .unwrap_or_else(|error| panic!("preparing an SSH server: {error}"));
        let (state, script) = (Arc::clone(&server.state), server.path("serve"));
        let log = server.path("log");
        server.listening = Some(thread::spawn(move || {
            for client in listener.incoming() {
                if state.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(served) = client.and_then(|socket| serve(socket, &script, &log)) {
                    state.accepted.fetch_add(1, Ordering::SeqCst);
                    lock(&state.served).push(served);
                }
            }
        }));
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn prepare(&self, options: &SftpServerOptions) -> io::Result<()> {
        let at = self.directory.path().display();
        fs::create_dir(self.directory())?;
        make_key(&self.path("host_key"), "ed25519", "");
        make_key(&self.path("host_key_ecdsa"), "ecdsa", "");
        make_key(&self.key_file(), "ed25519", "");
        fs::copy(self.path("key.pub"), self.path("authorized_keys"))?;
        fs::write(self.known_hosts(), format!("{}\n", self.host_line()))?;
        let without = match options.without {
            "" => String::new(),
            requests => format!(" -P {requests}"),
        };
        let subsystem = match options.hostile {
            None => format!("internal-sftp -d {at}/files{without}"),
            Some(mode) => {
                fs::write(self.path("hostile.py"), HOSTILE)?;
                format!("/usr/bin/env python3 {at}/hostile.py {mode} {at}/asked")
            }
        };
        let password = if options.password.is_some() {
            "yes"
        } else {
            "no"
        };
        let config = format!(
            "HostKey {at}/host_key\nHostKey {at}/host_key_ecdsa\nAuthorizedKeysFile {at}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\n\
             PermitRootLogin yes\nPasswordAuthentication {password}\nKbdInteractiveAuthentication no\nUseDNS no\n\
             Subsystem sftp {subsystem}\n"
        );
        fs::write(self.path("config"), config)?;
        // What only this server is to see is mounted where no other process sees it.
        let mut mounts = String::new();
        if let Some(room) = options.room {
            mounts += &format!("mount -t tmpfs -o size={room} tmpfs {at}/files && ");
        }
        if let Some(password) = options.password {
            let hash = Command::new("perl")
                .args(["-e", "print crypt(shift, '$6$hubvault$')", password])
                .output()?;
            let hash = String::from_utf8_lossy(&hash.stdout).trim().to_owned();
            fs::write(
                self.path("shadow"),
                format!("{}:{hash}:20000:0:99999:7:::\n", user()),
            )?;
            mounts += &format!("mount --bind {at}/shadow /etc/shadow && ");
        }
        let private = if mounts.is_empty() { "" } else { "unshare -m " };
        // As root it wants this directory, which the package's own service makes.
        let script = format!(
            "#!/bin/sh\n[ -d /run/sshd ] || mkdir -p /run/sshd 2>/dev/null\n\
             exec {private}sh -c '{mounts}exec {SSHD} -i -e -f {at}/config'\n"
        );
        fs::write(self.path("serve"), script)
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory that a login begins in.
    pub fn directory(&self) -> PathBuf {
        self.path("files")
    }

    /// The directory as a URL.
    pub fn url(&self) -> String {
        let at = self.directory();
        format!("sftp://{}@127.0.0.1:{}{}", user(), self.port, at.display())
    }

    /// The private key that may log in.
    pub fn key_file(&self) -> PathBuf {
        self.path("key")
    }

    /// The keys that may log in, a line each.
    pub fn authorized_keys(&self) -> PathBuf {
        self.path("authorized_keys")
    }

    /// A file with its host key.
    pub fn known_hosts(&self) -> PathBuf {
        self.path("known_hosts")
    }

    /// Its host key as a line of `known_hosts`: the one that clients prefer.
    pub fn host_line(&self) -> String {
        self.line_of("host_key.pub")
    }

    /// Its other host key.
    pub fn other_host_line(&self) -> String {
        self.line_of("host_key_ecdsa.pub")
    }

    fn line_of(&self, file: &str) -> String {
        let key = fs::read_to_string(self.path(file)).unwrap_or_else(|e| panic!("{e}"));
        let parts: Vec<&str> = key.split(' ').take(2).collect();
        format!("[127.0.0.1]:{} {}", self.port, parts.join(" "))
    }

    /// Connections that were taken so far.
    pub fn connections(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// What a hostile one was asked to change, a line each.
    pub fn asked(&self) -> String {
        fs::read_to_string(self.path("asked")).unwrap_or_default()
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Kills the processes that serve connections. New ones are served.
    pub fn kill(&self) {
        for served in lock(&self.state.served).drain(..) {
            served.end();
        }
    }

    /// Stops them without a sign to the other side: as a network that is cut, or a disk that hangs.
    ///
    /// # Panics
    /// When there is none.
    pub fn freeze(&self) {
        let served = lock(&self.state.served);
        assert!(!served.is_empty(), "no connection to freeze");
        for served in served.iter() {
            let frozen = Command::new("kill")
                .args(["-STOP", &served.child.id().to_string()])
                .status();
            assert!(frozen.is_ok_and(|status| status.success()));
        }
    }
}

impl Served {
    fn end(mut self) {
        let _ = self.child.kill();
        // What it started holds the socket, too.
        let _ = self.socket.shutdown(Shutdown::Both);
        let _ = self.child.wait();
    }
}

impl Drop for SftpServer {
    fn drop(&mut self) {
        self.state.is_stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for the next one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        self.kill();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(socket: TcpStream, script: &Path, log: &Path) -> io::Result<Served> {
    let (input, output) = (socket.try_clone()?, socket.try_clone()?);
    let log = fs::File::options().create(true).append(true).open(log)?;
    let child = Command::new("sh")
        .arg(script)
        .stdin(Stdio::from(OwnedFd::from(input)))
        .stdout(Stdio::from(OwnedFd::from(output)))
        .stderr(log)
        .spawn()?;
    Ok(Served { child, socket })
}

/// Makes a key pair: the file, and one beside it that ends with `.pub`.
///
/// # Panics
/// When `ssh-keygen` is missing or fails.
pub fn make_key(file: &Path, kind: &str, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "", "-f"])
        .arg(file)
        .status();
    assert!(
        made.as_ref().is_ok_and(std::process::ExitStatus::success),
        "ssh-keygen: {made:?}"
    );
}

/// The user that this process is.
fn user() -> String {
    let id = Command::new("id").arg("-un").output();
    let id = id.unwrap_or_else(|error| panic!("id: {error}"));
    String::from_utf8_lossy(&id.stdout).trim().to_owned()
}
