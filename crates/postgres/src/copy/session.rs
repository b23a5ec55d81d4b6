//! A connection for `COPY ... TO STDOUT`, at the speed of the server.

use crate::connect::open::{PINNED, persistently};
use crate::connect::pooler;
use crate::connect::settings::ConnectSettings;
use crate::connect::wire::{self, Wire, WireError};
use crate::copy::rows::{Rows, unreadable};
use crate::error::PgError;
use hubvault_model::{Cancel, CancelGuard};
use postgres_protocol::message::backend::Message;
use std::io;
use std::sync::Arc;

/// Rows are handed on once there are this many bytes of them; four times as many are read at once,
/// at most.
const BATCH: usize = 64 << 10;

/// A pinned connection that reads tables.
pub struct CopySession {
    wire: Wire,
    buffer: Vec<u8>,
    cancel: Cancel,
    interrupt: Arc<dyn Fn() + Send + Sync>,
    /// A COPY was left in the middle: nothing else can be asked.
    left: bool,
    _wake: CancelGuard,
}

impl CopySession {
    /// Connects and pins the settings, as [`Session::connect`](crate::Session::connect) does.
    pub fn connect(settings: &ConnectSettings, cancel: &Cancel) -> Result<Self, PgError> {
        let wire = persistently(settings, cancel, || Wire::open(settings))?;
        pooler::refuse(settings, cancel)?;
        let (key, target) = (wire.key(), settings.clone());
        let interrupt: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            if let Some(key) = key {
                wire::cancel(&target, key);
            }
        });
        let wake = cancel.on_request({
            let interrupt = Arc::clone(&interrupt);
            move || interrupt()
        });
        let mut session = Self {
            wire,
            buffer: Vec::new(),
            cancel: cancel.clone(),
            interrupt,
            left: false,
            _wake: wake,
        };
        session.simple("pinning the session's settings", PINNED)?;
        Ok(session)
    }

    /// Runs statements and passes over what they return.
    pub fn simple(&mut self, doing: &str, sql: &str) -> Result<(), PgError> {
        self.check_usable(doing)?;
        self.wire
            .simple(sql)
            .map_err(|error| error.during(doing, self.cancel.is_requested()))
    }

    /// Runs a `COPY ... TO STDOUT` and hands its bytes on, some ten thousand at a time. A piece
    /// ends with a message, which is a row, unless a row alone is larger than the buffer. Returns
    /// how many rows the server says that it sent.
    ///
    /// When `each` fails, the server's query is cancelled and the session can no longer be used:
    /// a COPY that is merely left would be sent to its end.
    pub fn copy_out<E: From<PgError>>(
        &mut self,
        doing: &str,
        sql: &str,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.check_usable(doing)?;
        let cancel = self.cancel.clone();
        let failed = |error: WireError| E::from(error.during(doing, cancel.is_requested()));
        self.begin(sql).map_err(failed)?;
        let mut rows = Rows::begin(&mut self.buffer, BATCH, self.wire.input());
        while let Some(piece) = rows.next(&mut self.wire).map_err(failed)? {
            if let Err(error) = each(piece) {
                self.left = true;
                (self.interrupt)();
                return Err(error);
            }
        }
        let sent = rows.sent;
        // Nothing is expected there, but a notice may come at any time.
        let ahead = rows.unread();
        self.wire.input().extend_from_slice(ahead);
        sent.ok_or_else(|| failed(unreadable("no word of how many rows it sent")))
    }

    /// Whether what the server sends cannot be changed on its way unnoticed: it does not leave this host, or is
    /// under TLS.
    pub fn is_guarded(&self) -> bool {
        self.wire.is_guarded()
    }

    fn begin(&mut self, sql: &str) -> Result<(), WireError> {
        self.wire.query(sql)?;
        loop {
            match self.wire.message() {
                Ok(Message::CopyOutResponse(_)) => return Ok(()),
                Ok(Message::ReadyForQuery(_)) => {
                    let what = "the server did not begin to copy";
                    return Err(io::Error::other(what).into());
                }
                Ok(_) => {}
                Err(error @ WireError::Server { .. }) => {
                    // The statement's error is what counts, not whether the server is ready.
                    let _ = self.wire.until_ready();
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn check_usable(&self, doing: &str) -> Result<(), PgError> {
        if self.left {
            let why = "an earlier COPY was left in the middle".to_owned();
            return Err(PgError::classify(
                doing,
                None,
                why,
                self.cancel.is_requested(),
            ));
        }
        Ok(())
    }
}

impl Drop for CopySession {
    fn drop(&mut self) {
        self.wire.close();
    }
}

impl std::fmt::Debug for CopySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopySession")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
