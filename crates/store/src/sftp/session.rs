//! A connection to a server, and requests over it that end.

use super::failure::{Failure, LONGEST};
use super::known_hosts::KnownHost;
use super::login::{login, user};
use crate::error::ErrorKind;
use crate::location::Server;
use crate::options::SftpOptions;
use crate::store::Filesystem;
use hubvault_model::{counted, excerpt};
use russh::client::{self, DisconnectReason, Handle};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{ChannelMsg, Preferred, SshId};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::rawsession::Limits;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, Packet, StatusCode};
use rustix::net::sockopt::set_tcp_user_timeout;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// How long a silent server is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How many times longer for what takes as long as the disk needs.
const SLOW: u32 = 20;
/// The most that is read or written by a request; servers that say nothing take 32 KiB.
const LARGEST: u64 = 255 << 10;
const SMALLEST: u64 = 32 << 10;
/// A server that takes less at once is not used: each request would cost more than what it carries.
const LEAST: u64 = 1 << 10;

pub(super) const POSIX_RENAME: &str = "posix-rename@openssh.com";
pub(super) const HARDLINK: &str = "hardlink@openssh.com";
pub(super) const FSYNC: &str = "fsync@openssh.com";
const STATVFS: &str = "statvfs@openssh.com";
const LIMITS: &str = "limits@openssh.com";

/// A connection, logged in, with SFTP begun.
pub(super) struct Session {
    /// The requests. To be made by [`Session::ask`], which ends.
    pub(super) sftp: RawSftpSession,
    handle: Handle<Guard>,
    extensions: HashMap<String, String>,
    /// The most bytes of one read, and of one write.
    pub(super) portion: u32,
    /// How long the server may be silent.
    pub(super) patience: Duration,
    /// Nothing is asked over it any more.
    is_given_up: AtomicBool,
    /// Who is believed on the server, once it was asked.
    pub(super) owners: OnceCell<Vec<u32>>,
    why: Reason,
}

/// Why a connection ended, where it is known.
type Reason = Arc<Mutex<Option<Failure>>>;

/// Answers for a connection what the library asks.
struct Guard {
    known: KnownHost,
    why: Reason,
    patience: Duration,
}

fn note(why: &Reason, failure: Failure) {
    let mut why = why.lock().unwrap_or_else(PoisonError::into_inner);
    why.get_or_insert(failure);
}

impl client::Handler for Guard {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let key = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            PublicKeyOrCertificate::Certificate(certificate) => {
                PublicKey::new(certificate.public_key().clone(), "")
            }
        };
        let checked = self.known.check(&key);
        Ok(checked.map_err(|failure| note(&self.why, failure)).is_ok())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<Self::Error>,
    ) -> Result<(), Self::Error> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let text = format!(
                    "the server ended the connection: {:?}",
                    excerpt(&info.message, LONGEST)
                );
                note(&self.why, Failure::lost(text));
                Ok(())
            }
            DisconnectReason::Error(russh::Error::KeepaliveTimeout) => {
                note(&self.why, Failure::silent(self.patience));
                Err(russh::Error::KeepaliveTimeout)
            }
            DisconnectReason::Error(error) => {
                note(
                    &self.why,
                    Failure::lost(format!("the connection broke: {error}")),
                );
                Err(error)
            }
        }
    }
}

impl Session {
    /// Connects, checks who answers, logs in and begins SFTP.
    pub(super) async fn open(server: &Server, options: &SftpOptions) -> Result<Self, Failure> {
        let patience = options.patience.unwrap_or(PATIENCE);
        let user = user(server)?;
        let known = KnownHost::read(server, options)?;
        let address = (server.host.as_str(), server.port);
        let stream = match timeout(patience, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(|error| {
                let text = format!(
                    "connecting to {} port {}: {error}; check the name, the port, the network and that the server runs",
                    server.host, server.port
                );
                Failure::unconnected(text)
            })?,
            Err(_) => return Err(Failure::silent(patience)),
        };
        // Requests are small and wait for answers.
        let _ = stream.set_nodelay(true);
        // Nor is a connection kept that was given up while it could not take more.
        let limit = u32::try_from(patience.as_millis() * 2).unwrap_or(u32::MAX);
        let _ = set_tcp_user_timeout(&stream, limit);
        let why = Reason::default();
        let config = Arc::new(config(&known, patience));
        let guard = Guard {
            known,
            why: Arc::clone(&why),
            patience,
        };
        let opened = timeout(patience * 2, async {
            let mut handle = client::connect_stream(config, stream, guard)
                .await
                .map_err(|error| greeted(&error))?;
            login(&mut handle, &user, options).await?;
            begin(handle, patience, Arc::clone(&why)).await
        });
        let opened = opened.await;
        // Whether its key is known says more than that the connection therefore ended.
        let refusal = why.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (opened, refusal) {
            (Ok(Ok(session)), _) => Ok(session),
            (_, Some(refusal)) if refusal.kind == ErrorKind::Denied => Err(refusal),
            (Ok(Err(failure)), _) => Err(failure),
            (Err(_), _) => Err(Failure::silent(patience * 2)),
        }
    }

    /// Whether requests can be made over it.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_given_up.load(Ordering::Relaxed) && !self.handle.is_closed()
    }

    /// Whether the server has an extension.
    pub(super) fn has(&self, extension: &str) -> bool {
        self.extensions.contains_key(extension)
    }

    /// Waits for the answer to a request, not for ever.
    pub(super) async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, SftpError>>,
    ) -> Result<T, Failure> {
        self.wait(self.patience, request).await
    }

    /// The same for what takes as long as the server's disk needs; whether the server is there is known meanwhile.
    pub(super) async fn ask_disk<T>(
        &self,
        request: impl Future<Output = Result<T, SftpError>>,
    ) -> Result<T, Failure> {
        self.wait(self.patience * SLOW, request).await
    }

    async fn wait<T>(
        &self,
        patience: Duration,
        request: impl Future<Output = Result<T, SftpError>>,
    ) -> Result<T, Failure> {
        match timeout(patience, request).await {
            Ok(answer) => answer.map_err(|error| self.failure(error)),
            Err(_) => Err(self.give_up(patience)),
        }
    }

    /// Nothing came for so long: the next call connects again.
    pub(super) fn give_up(&self, patience: Duration) -> Failure {
        self.is_given_up.store(true, Ordering::Relaxed);
        Failure::silent(patience)
    }

    /// What an error of the library means.
    pub(super) fn failure(&self, error: SftpError) -> Failure {
        match error {
            SftpError::Status(status) => {
                Failure::answered(status.status_code, &status.error_message)
            }
            SftpError::Limited(text) => Failure::new(ErrorKind::Failed, text),
            other => {
                self.is_given_up.store(true, Ordering::Relaxed);
                let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
                why.take()
                    .unwrap_or_else(|| Failure::lost(format!("the connection was lost ({other})")))
            }
        }
    }

    /// What is there by this name itself, links not followed; `None`: nothing.
    pub(super) async fn lstat(&self, path: &str) -> Result<Option<FileAttributes>, Failure> {
        match self.ask(self.sftp.lstat(path)).await {
            Ok(answer) => Ok(Some(answer.attrs)),
            Err(failure) if failure.code == Some(StatusCode::NoSuchFile) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Removes a file; `Ok` also where there is none.
    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        match self.ask(self.sftp.remove(path)).await {
            Err(failure) if failure.code != Some(StatusCode::NoSuchFile) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Removes a file that nothing counts, where the connection is still usable. There is a more important error to
    /// report, or none.
    pub(super) async fn drop_file(&self, path: &str) {
        if self.is_usable() {
            let _ = self.remove(path).await;
        }
    }

    /// Gives a file another name, in place of what has that name.
    pub(super) async fn posix_rename(&self, from: &str, to: &str) -> Result<(), Failure> {
        let data =
            [from, to].map(|path| [&(path.len() as u32).to_be_bytes(), path.as_bytes()].concat());
        let request = self.sftp.extended(POSIX_RENAME, data.concat());
        match self.ask_disk(request).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(self.failure(SftpError::Status(status))),
            _ => Err(self.failure(SftpError::UnexpectedPacket)),
        }
    }

    /// What the server says of the filesystem of a directory; `None` where it does not say such things.
    pub(super) async fn filesystem(&self, directory: &str) -> Result<Option<Filesystem>, Failure> {
        if !self.has(STATVFS) {
            return Ok(None);
        }
        match self.ask(self.sftp.statvfs(directory)).await {
            Ok(disk) => {
                let free = (disk.blocks_avail, disk.fragment_size);
                Ok(Some(Filesystem::new(disk.fs_id, disk.blocks, free)))
            }
            Err(failure) if failure.code == Some(StatusCode::OpUnsupported) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The failure to write there, told apart where the server's disk is full.
    pub(super) async fn why_not_written(&self, failure: Failure, directory: &str) -> Failure {
        if failure.code != Some(StatusCode::Failure) || !self.has(STATVFS) {
            return failure;
        }
        let Ok(disk) = self.ask(self.sftp.statvfs(directory)).await else {
            return failure;
        };
        let free = disk.blocks_avail.saturating_mul(disk.fragment_size);
        if free < u64::from(self.portion) * 2 {
            let text = format!(
                "the server's disk is full ({free} bytes are free); free some space there or use a larger disk"
            );
            return Failure::new(ErrorKind::Full, text);
        }
        if disk.inodes > 0 && disk.inodes_avail == 0 {
            let text = "no inodes are left on the server's disk; remove files there";
            return Failure::new(ErrorKind::Full, text);
        }
        failure
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

fn config(known: &KnownHost, patience: Duration) -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-hubvault")),
        preferred: Preferred {
            key: Cow::Owned(known.prefer(&Preferred::DEFAULT.key)),
            ..Preferred::DEFAULT
        },
        // More than is ever asked for at once: what is in flight is bounded by that.
        window_size: 8 << 20,
        // A connection over which nothing comes is asked, and ended when that is not answered either.
        keepalive_interval: Some(patience / 4),
        keepalive_max: 3,
        ..client::Config::default()
    }
}

fn greeted(error: &russh::Error) -> Failure {
    match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => Failure::denied(format!(
            "the server offers no {kind:?} algorithm that is still safe (it has {}); update the server",
            theirs.join(", ")
        )),
        russh::Error::Version => Failure::new(
            ErrorKind::Failed,
            "what answers is no SSH server; check the port",
        ),
        other => Failure::lost(format!("the server did not begin SSH: {other}")),
    }
}

async fn begin(handle: Handle<Guard>, patience: Duration, why: Reason) -> Result<Session, Failure> {
    let no_sftp = |error: russh::Error| {
        Failure::denied(format!(
            "the server lets the user log in but not use SFTP ({error}); enable it there (sshd_config: Subsystem sftp)"
        ))
    };
    let mut channel = handle.channel_open_session().await.map_err(no_sftp)?;
    let asked = channel.request_subsystem(true, "sftp").await;
    asked.map_err(no_sftp)?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => break,
            Some(ChannelMsg::Failure) | None => {
                return Err(no_sftp(russh::Error::RequestDenied));
            }
            Some(_) => {}
        }
    }
    let config = Config {
        // Waits end by `Session::ask`.
        request_timeout_secs: 86_400,
        max_packet_len: 1 << 20,
        ..Config::default()
    };
    let mut sftp = RawSftpSession::new_with_config(channel.into_stream(), config);
    let not_begun = |error: SftpError| {
        Failure::denied(format!(
            "the server begins no SFTP ({error}); its Subsystem sftp (sshd_config) or the user's shell may print something"
        ))
    };
    let version = sftp.init().await.map_err(not_begun)?;
    let mut portion = SMALLEST;
    if version.extensions.contains_key(LIMITS) {
        let limits = sftp.limits().await.map_err(not_begun)?;
        let given = |limit: u64| if limit == 0 { LARGEST } else { limit };
        portion = (given(limits.max_read_len).min(given(limits.max_write_len))).min(LARGEST);
        if portion < LEAST {
            return Err(Failure::denied(format!(
                "the server takes or gives only {} at once, which is too little for backups; raise its limit",
                counted(portion, "byte")
            )));
        }
        sftp.set_limits(Limits::from(limits));
    }
    Ok(Session {
        sftp,
        handle,
        extensions: version.extensions,
        portion: u32::try_from(portion).unwrap_or(u32::MAX),
        patience,
        is_given_up: AtomicBool::new(false),
        owners: OnceCell::new(),
        why,
    })
}
