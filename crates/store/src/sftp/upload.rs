//! A file written to a server, several writes in flight.

use super::failure::Failure;
use super::session::{FSYNC, Session};
use crate::error::ErrorKind;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use std::io::{self, Read};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Writes in flight: 4 MiB with the largest portions, which fills a link of 1 Gbit/s at 30 ms.
const WINDOW: usize = 16;

/// A failure of an upload: of the content or of the server.
pub(super) enum Broken {
    Content(io::Error),
    Server(Failure),
}

/// A new file that is written to.
pub(super) struct Upload<'a> {
    pub(super) runtime: &'static Runtime,
    pub(super) session: &'a Arc<Session>,
    /// The server's name for the open file.
    pub(super) handle: String,
}

/// Makes a file that nobody else reads.
pub(super) async fn create(session: &Session, path: &str) -> Result<String, Failure> {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
    let private = FileAttributes {
        permissions: Some(0o600),
        ..FileAttributes::default()
    };
    let opened = session.ask(session.sftp.open(path, flags, private)).await?;
    Ok(opened.handle)
}

impl Upload<'_> {
    /// Sends all of the content; returns how much it was. Afterwards it is durable, where the server can do that.
    pub(super) fn send(self, content: &mut dyn Read) -> Result<u64, Broken> {
        let sent = self.stream(content);
        let Self {
            runtime,
            session,
            handle,
        } = self;
        match sent {
            Ok(bytes) => runtime
                .block_on(finish(session, &handle, bytes))
                .map_err(Broken::Server)?,
            // A connection that is lost answers nothing more.
            Err(_) if !session.is_usable() => {}
            Err(_) => {
                // Its error is the one to report.
                let _ = runtime.block_on(session.ask(session.sftp.close(handle)));
            }
        }
        sent
    }

    fn stream(&self, content: &mut dyn Read) -> Result<u64, Broken> {
        let (runtime, session) = (self.runtime, self.session);
        let mut window = JoinSet::new();
        let mut offset = 0;
        loop {
            let portion = read(content, session.portion as usize).map_err(Broken::Content)?;
            if portion.is_empty() {
                break;
            }
            if window.len() >= WINDOW {
                let written = runtime.block_on(next(session, &mut window));
                written.map_err(Broken::Server)?;
            }
            let bytes = portion.len() as u64;
            let (to, handle) = (Arc::clone(session), self.handle.clone());
            window.spawn_on(
                async move { to.sftp.write(handle, offset, portion).await.map(drop) },
                runtime.handle(),
            );
            offset += bytes;
        }
        while !window.is_empty() {
            let written = runtime.block_on(next(session, &mut window));
            written.map_err(Broken::Server)?;
        }
        Ok(offset)
    }
}

/// Waits for one of the writes in flight.
async fn next(
    session: &Session,
    window: &mut JoinSet<Result<(), SftpError>>,
) -> Result<(), Failure> {
    match timeout(session.patience, window.join_next()).await {
        Ok(Some(Ok(written))) => written.map_err(|error| session.failure(error)),
        Ok(Some(Err(error))) => Err(Failure::lost(error.to_string())),
        Ok(None) => Ok(()),
        Err(_) => Err(session.give_up(session.patience)),
    }
}

/// As much as one write takes; less only at the end.
fn read(content: &mut dyn Read, most: usize) -> io::Result<Vec<u8>> {
    let mut portion = Vec::with_capacity(most);
    content.take(most as u64).read_to_end(&mut portion)?;
    Ok(portion)
}

/// Makes what was written durable, and compares its size.
async fn finish(session: &Session, handle: &str, bytes: u64) -> Result<(), Failure> {
    let synced = async {
        if !session.has(FSYNC) {
            return Ok(());
        }
        match session.ask_disk(session.sftp.fsync(handle)).await {
            // Some file systems cannot.
            Err(failure) if failure.code == Some(StatusCode::OpUnsupported) => Ok(()),
            other => other.map(drop),
        }
    };
    // The server does one after the other; there is no need to wait in between.
    let (synced, size, closed) = tokio::join!(
        synced,
        session.ask_disk(session.sftp.fstat(handle)),
        session.ask_disk(session.sftp.close(handle)),
    );
    synced?;
    let size = size?.attrs.size;
    closed?;
    if size.is_some_and(|size| size != bytes) {
        return Err(Failure::new(
            ErrorKind::Failed,
            format!(
                "{bytes} bytes were written, and the server has {}",
                size.unwrap_or_default()
            ),
        ));
    }
    Ok(())
}
