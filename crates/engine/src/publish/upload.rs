//! One archive to one destination: compared while it is sent, then its sidecar, and only then it is there.

use super::compare::read_back;
use super::paced::Paced;
use super::proven::{NotProven, Proven};
use super::sidecars::{There, another, check_sidecar, put_sidecar};
use super::source::{CopyError, NO_SOURCE, ONLY_SEALED, Task, hash};
use super::whole::whole;
use crate::job::{Destination, LOCAL, SealRule};
use crate::remote::{self, Owner, Wanted, owner};
use hubvault_model::{ByteSize, Cancel};
use hubvault_store::{ErrorKind, Object, Store, StoreError};
use jiff::Timestamp;
use std::io::{self, Read};
use std::sync::Arc;

/// So many bytes of a sealed archive are its seal's, or more.
const SEAL: u64 = 200;

/// An archive that is at its destination, compared.
#[derive(Debug)]
pub(super) struct Uploaded {
    pub(super) sha256: String,
    pub(super) locked_until: Option<Timestamp>,
    /// Whether it was there before, and was not sent.
    pub(super) was_there: bool,
    /// What is wrong with what it was to be read from, where it was there before, whole.
    pub(super) damaged_source: Option<String>,
    /// What is wrong with it, although it is whole.
    pub(super) flaw: Option<String>,
}

/// Copies an archive. What is sent is compared with what was proven before the store makes an object of it, in one reading.
/// It counts only once the store said that it holds what was sent, or it was read back. What is there is replaced only where
/// it was shown to be this backup's, and to be damaged.
pub(super) fn upload(
    store: &Arc<dyn Store>,
    destination: &Destination,
    task: &Task,
    cancel: &Cancel,
    sent: &dyn Fn(u64),
) -> Result<Uploaded, CopyError> {
    if destination.rules.sealed == SealRule::Required && !task.is_sealed {
        return Err(CopyError::Refused(format!(
            "the archive is not sealed, and {ONLY_SEALED}; hubvault copies remove {} --destination {} takes it from the queue",
            task.backup.short(),
            destination.name
        )));
    }
    let of_object = |error: CopyError| error.of_object(&**store);
    let before = store
        .head(&task.key)
        .map_err(|error| of_object(error.into()))?;
    let mut proven = None;
    if let Some(object) = &before {
        check_owner(store, destination, task, object, cancel).map_err(of_object)?;
        let known = match &task.sha256 {
            Some(known) => Ok(known.clone()),
            None => task.prove(cancel),
        };
        if let Some(mut found) = there(store, task, object, &known, cancel).map_err(of_object)? {
            task.check_lease()?;
            found.locked_until = object.locked_until;
            if destination.options.lock.is_some() && object.locked_until.is_none() {
                lock(store, destination, task, &mut found, (cancel, sent))?;
            }
            if found.flaw.is_none() {
                found.flaw = put_sidecar(store, destination, task, There::Whole(object), cancel)?;
                put_pin(store, task)?;
                check_sidecar(&**store, destination, task)?;
            }
            return Ok(found);
        }
        if task.sha256.is_none() && !task.is_of(destination) {
            proven = Some(known?);
        }
    }
    if task.is_of(destination) {
        return Err(CopyError::Source(NO_SOURCE.to_owned()));
    }
    let sha256 = match proven {
        Some(sha256) => sha256,
        None => task.proven_sha256(cancel)?,
    };
    send(
        store,
        destination,
        task,
        (sha256, before.is_none()),
        (cancel, sent),
    )
}

/// Sends an archive, with its sidecar before the store makes an object of it.
fn send(
    store: &Arc<dyn Store>,
    destination: &Destination,
    task: &Task,
    (sha256, is_new): (String, bool),
    work: (&Cancel, &dyn Fn(u64)),
) -> Result<Uploaded, CopyError> {
    task.check_lease()?;
    check_room(&**store, task)?;
    let there = if is_new {
        // Before all is sent in vain.
        check_sidecar(&**store, destination, task)?;
        There::Nothing
    } else {
        There::Damaged
    };
    let mut flaw = None;
    let mut before_end = || {
        task.check_lease()?;
        flaw = put_sidecar(store, destination, task, there, work.0)?;
        // Before the archive, which a machine that does not know it is pinned could remove.
        put_pin(store, task)?;
        task.check_lease()
    };
    let of = (sha256.as_str(), is_new);
    let locked_until = put(store, destination, task, of, &mut before_end, work)?;
    check_sidecar(&**store, destination, task)?;
    if destination.name == LOCAL
        && let Some(object) = store.head(&task.key)?
    {
        // A run may have taken it for that of a crashed one meanwhile.
        put_sidecar(store, destination, task, There::Whole(&object), work.0)?;
    }
    Ok(Uploaded {
        sha256,
        locked_until,
        was_there: false,
        damaged_source: None,
        flaw,
    })
}

/// Refuses what the disk there has no room for, before any of it is sent. What is not known is found out by sending it.
fn check_room(store: &dyn Store, task: &Task) -> Result<(), CopyError> {
    let free = store.filesystem().ok().flatten().and_then(|it| it.free);
    let Some(free) = free.filter(|free| *free < task.bytes) else {
        return Ok(());
    };
    let text = format!(
        "{} is free there, and the archive needs {}; make room there, or keep fewer backups there (keep)",
        ByteSize(free),
        ByteSize(task.bytes)
    );
    let full = StoreError::new("storing", task.key.as_str(), io::Error::other(text));
    Err(full.of_kind(ErrorKind::Full).into())
}

fn put_pin(store: &Arc<dyn Store>, task: &Task) -> Result<(), CopyError> {
    let pin = task.pin.as_ref();
    let put = pin.map(|pin| remote::put_pin(&**store, &task.key, task.backup, pin));
    Ok(put.unwrap_or(Ok(()))?)
}

/// Stores a whole copy again that was stored before its destination asked for a lock. It counts also where that fails.
fn lock(
    store: &Arc<dyn Store>,
    destination: &Destination,
    task: &Task,
    found: &mut Uploaded,
    (cancel, sent): (&Cancel, &dyn Fn(u64)),
) -> Result<(), CopyError> {
    let put_again = || {
        store.check()?;
        let sha256 = task.proven_sha256(cancel)?;
        let mut before_end = || task.check_lease();
        let work = (cancel, sent);
        put(
            store,
            destination,
            task,
            (&sha256, false),
            &mut before_end,
            work,
        )
    };
    match put_again() {
        Ok(until) => {
            found.locked_until = until;
            found.was_there = false;
        }
        Err(error @ (CopyError::Stopped | CopyError::Differs(_))) => return Err(error),
        Err(error) => {
            let what = format!(
                "it is whole, but without the lock that this destination asks for: {error}"
            );
            found.flaw = Some(what);
        }
    }
    Ok(())
}

/// Refuses a key that is another backup's, or nobody knows whose.
fn check_owner(
    store: &Arc<dyn Store>,
    destination: &Destination,
    task: &Task,
    object: &Object,
    cancel: &Cancel,
) -> Result<(), CopyError> {
    let wanted = Wanted {
        id: task.backup,
        bytes: task.bytes,
        sha256: task.sha256.as_deref(),
        was_stored: task.was_stored,
    };
    let is_this = match owner(store, object, &wanted, cancel)? {
        Owner::This => true,
        // An upload that another program cut: its bytes are this one's. No two seals begin in the same way.
        Owner::Unknown if object.bytes <= task.bytes => {
            let most = if task.is_sealed { SEAL } else { u64::MAX };
            let same = object.bytes.min(most);
            let mut content = store.read_object(object, 0, same)?;
            let (_, there) = hash(&mut content, cancel)?;
            hash(&mut task.open()?.take(same), cancel)?.1 == there
        }
        Owner::Other | Owner::Unknown => false,
    };
    if is_this {
        Ok(())
    } else {
        Err(another(destination, task))
    }
}

/// What is there already, if it is whole. An error of the store says nothing of it, and ends the try.
fn there(
    store: &Arc<dyn Store>,
    task: &Task,
    object: &Object,
    known: &Result<String, CopyError>,
    cancel: &Cancel,
) -> Result<Option<Uploaded>, CopyError> {
    let found = |sha256, damaged_source| {
        Ok(Some(Uploaded {
            sha256,
            locked_until: None,
            was_there: true,
            damaged_source,
            flaw: None,
        }))
    };
    if let Ok(known) = known {
        match read_back(&**store, &task.key, task.bytes, known, cancel) {
            Ok(()) => return found(known.clone(), None),
            Err(CopyError::Differs(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if task.sha256.is_some() || task.is_sealed || matches!(known, Err(CopyError::Stopped)) {
        return Ok(None);
    }
    // No checksum was recorded: what is whole by its own manifest is kept.
    match whole(store, object, task.backup, cancel)? {
        Ok(sha256) => {
            let wrong = known.as_ref().err();
            let is_damaged = |error: &&CopyError| matches!(error, CopyError::Damaged(_));
            found(sha256, wrong.filter(is_damaged).map(ToString::to_string))
        }
        Err(_) => Ok(None),
    }
}

/// Sends the archive, and compares what is there then. `before_end` is called once all of it was read and compared, before
/// the store makes an object of it.
fn put<'a>(
    store: &Arc<dyn Store>,
    destination: &Destination,
    task: &'a Task,
    (sha256, is_new): (&'a str, bool),
    before_end: &'a mut (dyn FnMut() -> Result<(), CopyError> + 'a),
    (cancel, sent): (&Cancel, &dyn Fn(u64)),
) -> Result<Option<Timestamp>, CopyError> {
    let content = task.open()?;
    let content = Paced::new(content, destination.rules.bytes_per_second, cancel, sent);
    let mut content = Proven::new(content, (task.bytes, sha256), before_end);
    let stored = match store.put(&task.key, &mut content) {
        Ok(stored) => stored,
        Err(_) if cancel.is_requested() => return Err(CopyError::Stopped),
        Err(error) => return Err(why_not(task, content.into_failure(), error, cancel)),
    };
    let compared = if stored.object.bytes == task.bytes && stored.is_confirmed {
        Ok(())
    } else {
        read_back(&**store, &task.key, task.bytes, sha256, cancel)
    };
    compared.inspect_err(|error| {
        // Nothing counts it, and this try made it. What cannot be removed is replaced by the next try.
        if is_new && matches!(error, CopyError::Differs(_)) {
            let _ = store.delete(&task.key);
        }
    })?;
    Ok(stored.object.locked_until)
}

/// Why an archive was not stored.
fn why_not(
    task: &Task,
    failure: Option<NotProven>,
    error: StoreError,
    cancel: &Cancel,
) -> CopyError {
    match failure {
        Some(NotProven::BeforeEnd(error)) => error,
        // Read once more, as it makes a difference what it is now.
        Some(NotProven::Differs) => match task.prove(cancel) {
            Err(error) => error,
            Ok(_) => CopyError::Source(format!(
                "{} changed while it was copied; run hubvault verify {}",
                task.key,
                task.backup.short()
            )),
        },
        None if error.kind == ErrorKind::Content => CopyError::Source(error.to_string()),
        None => error.into(),
    }
}
