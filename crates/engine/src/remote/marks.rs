//! Marks of drills beside archives in a store: `<archive>.<mark>.proof`.

use crate::catalog::Marks;
use crate::catalog::drill_mark::{ENDING, sort, split};
use crate::catalog::marks_beside::{LIMIT, Looked};
use crate::job::Destination;
use hubvault_model::BackupId;
use hubvault_store::{ErrorKind, Key, Location, Object, Store, StoreError};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

/// The names of the marks beside each archive of a store.
#[derive(Debug, Default)]
pub(crate) struct MarkNames(HashMap<String, Vec<String>>);

impl MarkNames {
    /// Those among objects that were listed.
    pub(crate) fn of<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut names = Self::default();
        for object in objects {
            names.add(object.key.as_str());
        }
        names
    }

    /// Those beside one archive.
    pub(crate) fn beside(store: &dyn Store, archive: &Key) -> Result<Vec<String>, StoreError> {
        let listed = store.list(&format!("{archive}."))?;
        Ok(Self::of(&listed).take(archive))
    }

    /// Whether a key is that of a mark.
    pub(super) fn add(&mut self, key: &str) -> bool {
        let Some((archive, name)) = split(key) else {
            return false;
        };
        let names = self.0.entry(archive.to_owned()).or_default();
        names.push(name.to_owned());
        true
    }

    /// Those of an archive.
    pub(crate) fn of_archive(&self, key: &str) -> Vec<String> {
        self.0.get(key).cloned().unwrap_or_default()
    }

    /// Those of an archive, the latest first.
    pub(crate) fn take(&mut self, archive: &Key) -> Vec<String> {
        let mut names = self.0.remove(archive.as_str()).unwrap_or_default();
        sort(&mut names);
        names
    }
}

fn mark_key(archive: &Key, name: &str) -> Result<Key, StoreError> {
    let text = format!("{archive}.{name}{ENDING}");
    Key::parse(&text)
        .map_err(|error| StoreError::new("naming the mark of", text, io::Error::other(error)))
}

/// Reads the latest of the marks of these names beside an archive.
pub(crate) fn read_marks(
    store: &dyn Store,
    at: &Destination,
    archive: &Key,
    id: BackupId,
    names: &[String],
) -> Result<Marks, StoreError> {
    if let Some(path) = at.path(archive) {
        return Ok(Marks::beside(&path, names.to_vec(), id));
    }
    Marks::read(names.to_vec(), |name| {
        let key = mark_key(archive, name)?;
        if matches!(at.location, Location::Sftp(_)) && is_strange(store, at, &key)? {
            return Ok(Looked::Gone);
        }
        let mut text = Vec::new();
        match store.read_range(&key, 0, LIMIT) {
            Ok(content) => content
                .take(LIMIT)
                .read_to_end(&mut text)
                .map_err(|error| StoreError::new("reading", key.as_str(), error))?,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(Looked::Gone),
            Err(error) => return Err(error),
        };
        Ok(Looked::parse(name, &text, id))
    })
}

/// Whether another user of the server made it, who is not believed. The first at each destination is a warning.
fn is_strange(store: &dyn Store, at: &Destination, key: &Key) -> Result<bool, StoreError> {
    static WARNED: Mutex<BTreeSet<(String, u32)>> = Mutex::new(BTreeSet::new());
    let Some(user) = store.head(key)?.and_then(|object| object.stranger) else {
        return Ok(false);
    };
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.insert((at.location.to_string(), user)) {
        tracing::warn!(
            "{}/{key} belongs to another user of the server (uid {user}): this mark of a drill, and all others of that user \
             there, are ignored; remove them, and let only hubvault write there",
            at.location
        );
    }
    Ok(true)
}

/// Stores a mark. It is never locked where the store can do that.
pub(crate) fn put_mark(
    store: &dyn Store,
    archive: &Key,
    name: &str,
    text: &[u8],
) -> Result<(), StoreError> {
    let key = mark_key(archive, name)?;
    match store.put_if_absent(&key, &mut &text[..]) {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::Unsupported => {
            store.put(&key, &mut &text[..]).map(|_| ())
        }
        Err(error) => Err(error),
    }
}

/// Deletes marks of an archive; `Ok` also where they are not there.
pub(crate) fn delete_marks(
    store: &dyn Store,
    archive: &Key,
    names: &[String],
) -> Result<(), StoreError> {
    for name in names {
        store.delete(&mark_key(archive, name)?)?;
    }
    Ok(())
}
