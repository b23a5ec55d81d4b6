//! Whether two destinations are one place under two names. Where names do not show it, a tiny object does: what is stored
//! at one and is found at the other.

use crate::job::{Destination, Destinations};
use crate::state::StateDir;
use crate::state::file::{Access, Durability, open, read, replace};
use hubvault_store::{Address, ErrorKind, Key, Store, StoreError};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// How long a silent server is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A tiny object that nothing else is called like. Where nothing can be deleted, one is left and used again.
pub(crate) struct Probe {
    key: Key,
    text: String,
    /// Where the name of the one is that is left.
    left: PathBuf,
    /// Held, so that no other process of this machine stores the same one with another text.
    _alone: Option<File>,
}

impl Probe {
    /// Stores one, which is never locked: it is to be deleted.
    pub(crate) fn put(
        store: &dyn Store,
        destination: &Destination,
        state: &StateDir,
    ) -> Result<Self, StoreError> {
        let text = format!("hubvault-probe-{}", Uuid::new_v4().simple());
        let wrong = |error| {
            let place = destination.location.to_string();
            StoreError::new("testing", place, error)
        };
        let left = state.file(&format!("probe-{}", destination.name));
        if is_locked(destination) {
            let key = Key::parse(&text).map_err(|error| wrong(io::Error::other(error)))?;
            store.put_if_absent(&key, &mut text.as_bytes())?;
            return Ok(Self {
                key,
                text,
                left,
                _alone: None,
            });
        }
        let (mut name, mut alone) = (text.clone(), None);
        if let Ok(used) = read(&left, LIMIT) {
            let file = open(&left.with_extension("lock"), Access::Append).map_err(wrong)?;
            file.lock().map_err(wrong)?;
            alone = Some(file);
            String::from_utf8_lossy(&used).trim().clone_into(&mut name);
        }
        let key = Key::parse(&name).map_err(|error| wrong(io::Error::other(error)))?;
        store.put(&key, &mut text.as_bytes())?;
        Ok(Self {
            key,
            text,
            left,
            _alone: alone,
        })
    }

    /// Deletes it. Where that is denied, the next one has its name.
    pub(crate) fn remove(&self, store: &dyn Store) -> Result<(), StoreError> {
        let removed = store.delete(&self.key);
        let noted = match &removed {
            Err(error) if error.kind == ErrorKind::Denied => {
                let name = self.key.as_str().as_bytes();
                replace(&self.left, name, 0o600, Durability::Passing)
            }
            Ok(()) if self.left.exists() => fs::remove_file(&self.left),
            _ => Ok(()),
        };
        if let Err(error) = noted {
            tracing::debug!("writing {}: {error}", self.left.display());
        }
        removed
    }

    /// What is in it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What is under its name at a destination; nothing where there is none.
    pub(crate) fn read(&self, store: &dyn Store) -> Result<String, StoreError> {
        let length = self.text.len() as u64 + 1;
        let mut text = String::new();
        match store.read_range(&self.key, 0, length) {
            Ok(content) => content
                .take(length)
                .read_to_string(&mut text)
                .map(|_| text)
                .map_err(|error| StoreError::new("reading", self.key.as_str(), error)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(text),
            Err(error) => Err(error),
        }
    }

    /// Whether it is at another destination, too.
    pub(crate) fn is_at(&self, other: &Destination) -> Result<bool, StoreError> {
        let found = self.read(&*impatient(other).open()?)?;
        Ok(found == self.text)
    }
}

/// The same, which waits for a silent server for a short time only.
pub(crate) fn impatient(destination: &Destination) -> Destination {
    let mut impatient = destination.clone();
    let (object, sftp) = (&mut impatient.options.object, &mut impatient.options.sftp);
    object.patience.get_or_insert(PATIENCE);
    sftp.patience.get_or_insert(PATIENCE);
    impatient
}

/// Those that keep a place which they share with `destination`: those whose objects are locked, then what is configured
/// first. In a bucket with locks nothing ever goes away, so that a tiny object is stored there only for another such one.
fn rivals<'a>(
    destination: &Destination,
    all: &'a Destinations,
) -> impl Iterator<Item = &'a Destination> {
    let at = all.configured().position(|it| it.name == destination.name);
    let is_before = move |index| at.is_some_and(|at| index < at);
    let own_locked = is_locked(destination);
    let rivals = all.configured().enumerate().filter(move |(index, other)| {
        match (own_locked, is_locked(other)) {
            (true, true) | (false, false) => is_before(*index),
            (own_locked, _) => !own_locked,
        }
    });
    rivals.map(|(_, other)| other)
}

pub(crate) fn is_locked(destination: &Destination) -> bool {
    destination.options.lock.is_some()
}

/// Why nothing is stored at a destination, and nothing is removed there.
pub(crate) fn shared(destination: &Destination, other: &Destination) -> StoreError {
    let what = format!(
        "{} is in the same place as {}; give each destination a directory or prefix of its own",
        destination.name, other.name
    );
    let place = destination.location.to_string();
    StoreError::new("opening", place, io::Error::other(what)).of_kind(ErrorKind::Unsupported)
}

/// Refuses the store of a destination if it is another one's, too.
pub(crate) fn check_alone(
    destination: &Destination,
    store: &dyn Store,
    all: &Destinations,
    state: &StateDir,
) -> Result<(), StoreError> {
    let same = find_same(destination, store, all, state, true)?;
    same.map_or(Ok(()), |other| Err(shared(destination, other)))
}

/// Opens the store of a destination, unless it is another one's, too, for removing something, or for what may be removed because of what is there: two places may have become one
/// since they were compared.
pub(crate) fn open_alone_now(
    destination: &Destination,
    all: &Destinations,
    state: &StateDir,
) -> Result<Box<dyn Store>, StoreError> {
    let store = destination.open()?;
    let same = same_as(destination, &*store, all, state)?;
    same.map_or(Ok(store), |other| Err(shared(destination, other)))
}

/// The destination that is in the same place now. An error where this one is silent, as every call would be.
pub(crate) fn same_as<'a>(
    destination: &Destination,
    store: &dyn Store,
    all: &'a Destinations,
    state: &StateDir,
) -> Result<Option<&'a Destination>, StoreError> {
    find_same(destination, store, all, state, false)
}

/// The same. With `remembers` that is found out once for each two places; where a place cannot be asked, at the next time.
fn find_same<'a>(
    destination: &Destination,
    store: &dyn Store,
    all: &'a Destinations,
    state: &StateDir,
    remembers: bool,
) -> Result<Option<&'a Destination>, StoreError> {
    let own = destination.address();
    let rivals: Vec<(&Destination, Address)> = rivals(destination, all)
        .map(|other| (other, other.address()))
        .collect();
    if let Some((other, _)) = rivals.iter().find(|(_, address)| *address == own) {
        return Ok(Some(other));
    }
    let file = state.file(&format!("place-{}", destination.name));
    let mut known = Known::read(file, &own);
    if !remembers {
        known.lines.truncate(1);
    }
    let unknown: Vec<_> = rivals
        .iter()
        .filter(|(_, address)| !known.has(address))
        .collect();
    if unknown.is_empty() {
        return Ok(None);
    }
    let probe = match Probe::put(store, destination, state) {
        Ok(probe) => probe,
        Err(error) if error.is_unreachable() => return Err(error),
        // A store that takes nothing says so where something is to be stored.
        Err(_) => return Ok(None),
    };
    let mut same = None;
    for (other, address) in unknown {
        match probe.is_at(other) {
            Ok(true) => same = same.or(Some(*other)),
            Ok(false) => known.add(address),
            Err(error) => tracing::debug!("could not compare {} with it: {error}", other.name),
        }
    }
    if let Err(error) = probe.remove(store)
        && error.kind != ErrorKind::Denied
    {
        tracing::warn!("could not remove a tiny object that tested a destination: {error}");
    }
    known.write();
    Ok(same)
}

/// Places that are known to be others than a destination's, a line each after its own.
struct Known {
    file: PathBuf,
    lines: Vec<String>,
}

/// More is no list of places.
const LIMIT: u64 = 1 << 20;

impl Known {
    fn read(file: PathBuf, own: &Address) -> Self {
        let own = line(own);
        let text = read(&file, LIMIT).unwrap_or_default();
        let lines = String::from_utf8_lossy(&text);
        let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        if lines.first() != Some(&own) {
            lines = vec![own];
        }
        Self { file, lines }
    }

    fn has(&self, address: &Address) -> bool {
        self.lines[1..].contains(&line(address))
    }

    fn add(&mut self, address: &Address) {
        self.lines.push(line(address));
    }

    fn write(&self) {
        let text = self.lines.join("\n") + "\n";
        if let Err(error) = replace(&self.file, text.as_bytes(), 0o600, Durability::Passing) {
            tracing::debug!("writing {}: {error}", self.file.display());
        }
    }
}

fn line(address: &Address) -> String {
    // Whatever is in a path, it is one line.
    format!("{address:?}")
}
