//! A pooler in the way: one whose sessions stay is as good as the server; one that hands every
//! transaction to another session is refused before anything is set there.
//!
//! A snapshot lives in a session, and so do the settings that make the same rows the same bytes. In
//! a session of many they would be set for strangers, too: `search_path`, for one.

use crate::connect::open::persistently;
use crate::connect::settings::ConnectSettings;
use crate::connect::wire::{Wire, WireError};
use crate::error::PgError;
use hubvault_model::Cancel;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Targets that were checked: once per process is enough.
static CHECKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// How often two connections are compared: in a busy pool others may use the session in question between
/// two steps, but not every time.
const ROUNDS: u32 = 40;

/// Looks, once for a process and a target, whether sessions stay; for whoever has just logged in
/// there.
pub(crate) fn refuse(settings: &ConnectSettings, cancel: &Cancel) -> Result<(), PgError> {
    if settings.is_own {
        return Ok(());
    }
    let target = settings.to_string();
    let good = || CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    if good().contains(&target) {
        return Ok(());
    }
    look(settings, cancel)?;
    good().insert(target);
    Ok(())
}

/// The evidence that two connections were given the same session in turn.
const SHARED: &str = "it gives every transaction another session (pool_mode = transaction), and a \
                      snapshot lives in a session that stays";

fn look(settings: &ConnectSettings, cancel: &Cancel) -> Result<(), PgError> {
    let failed = |error: WireError| error.during("looking for a pooler", cancel.is_requested());
    let refused = |why: &str| {
        Err(PgError::Pooler {
            target: settings.to_string(),
            why: why.to_owned(),
        })
    };
    let mut first = persistently(settings, cancel, || Wire::open(settings))?;
    let own = process(&mut first).map_err(failed)?;
    // A pooler says numbers of its own at the login, as it passes on what cancels a statement
    // ("Message Flow", BackendKeyData).
    if own.is_some() && own == first.key().map(|(process, _)| process.to_string()) {
        first.close();
        return Ok(());
    }
    let mut second = persistently(settings, cancel, || Wire::open(settings))?;
    for _ in 0..ROUNDS {
        match second.simple("BEGIN") {
            Ok(()) => {}
            Err(WireError::Server { text, .. }) => return refused(&text),
            Err(error) => return Err(failed(error)),
        }
        // While the second is in a transaction it has a session for itself: the one that the first
        // was given a moment ago, when that one was only lent.
        let others = process(&mut second).map_err(failed)?;
        if others == own || process(&mut first).map_err(failed)? != own {
            return refused(SHARED);
        }
        second.simple("ROLLBACK").map_err(failed)?;
    }
    second.close();
    first.close();
    Ok(())
}

/// The number of the server's process, as that process has it.
fn process(wire: &mut Wire) -> Result<Option<String>, WireError> {
    wire.value("SELECT pg_catalog.pg_backend_pid()")
}
