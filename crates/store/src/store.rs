//! The contract of every store.

use crate::error::{ErrorKind, StoreError};
use crate::key::Key;
use crate::usage::Requests;
use jiff::Timestamp;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// An object as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: Key,
    /// Its size.
    pub bytes: u64,
    /// What tells this content of the key from an earlier or later one, where the store has conditional writes.
    pub version: Option<String>,
    /// Until when nobody can change or remove it. Only [`Store::head`] and [`Store::put`] find that out.
    pub locked_until: Option<Timestamp>,
    /// The user on the server who made it, where the server says that and it is neither root, nor who logs in, nor whose
    /// the directory is: whoever else may write there is not believed. Only [`Store::head`] and [`Store::list`] find that
    /// out.
    pub stranger: Option<u32>,
}

impl Object {
    /// An object of a store that has neither versions, nor locks, nor users.
    pub fn plain(key: Key, bytes: u64) -> Self {
        Self {
            key,
            bytes,
            version: None,
            locked_until: None,
            stranger: None,
        }
    }
}

/// The filesystem of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// What it is known by, also after it was mounted again (statvfs(3), `f_fsid`).
    pub id: Option<String>,
    /// What is free for us, in bytes; `None` where it counts nothing, as some that are no disks do.
    pub free: Option<u64>,
}

impl Filesystem {
    /// One that the system describes so: its number, how many blocks it has and how many of them of which size are free. What
    /// is 0 says nothing.
    pub(crate) fn new(id: u64, blocks: u64, (free, size): (u64, u64)) -> Self {
        Self {
            id: (id != 0).then(|| format!("{id:016x}")),
            free: (blocks != 0).then(|| free.saturating_mul(size)),
        }
    }
}

/// What a [`Store::put`] stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The object.
    pub object: Object,
    /// Whether the store said afterwards that it holds an object of this size and checksum. Else only reading it back tells.
    pub is_confirmed: bool,
}

/// An upload that nobody finished, and that takes room although it is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// What it was to become, or the name that it has now.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// How much of it is there, where the store says so.
    pub bytes: Option<u64>,
}

/// A place for objects.
///
/// Objects are whole or not there: nothing reads, lists or counts an unfinished one. They are written once and replaced as
/// a whole, never changed in place. Calls may come from several threads and processes at once.
///
/// A call that returns `Err` changed nothing, unless [`StoreError::is_uncertain`] says that it may have been done. Every
/// call may be made again; which failures are worth it, [`StoreError::may_be_retried`] says. A store sends a part of a
/// large object again itself, for a short while; a whole `put` it cannot, as its content can be read only once: the caller
/// has it, and knows how long to go on.
pub trait Store: Debug + Send + Sync {
    /// Stores what `content` yields, of whatever length, and replaces an object of this key. After `Ok` the object is
    /// durable, and locked where the store was opened with a lock. Of two at once one wins, whole. A failure of `content`
    /// itself is an error of kind [`Content`](ErrorKind::Content), also at its very end: no object is made of it before it
    /// said that it ends. Memory is bounded, however long the content is.
    fn put(&self, key: &Key, content: &mut dyn Read) -> Result<Stored, StoreError>;

    /// Stores a small object (up to 1 MiB), unless there is one of this key: then `None`, and that one stays. Of several
    /// at once exactly one gets `Some`. After an uncertain error, asking again may find the object of the first try. Never
    /// locked. Where a store cannot do this, an error of kind [`Unsupported`](ErrorKind::Unsupported).
    fn put_if_absent(
        &self,
        key: &Key,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError>;

    /// Replaces a small object (up to 1 MiB), if it still is of this version: else `None`, and nothing was done. Of several
    /// at once exactly one gets `Some`. Never locked. Where a store cannot do this, an error of kind
    /// [`Unsupported`](ErrorKind::Unsupported).
    fn replace_if(
        &self,
        key: &Key,
        version: &str,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        let _ = (version, content);
        let why = io::Error::new(
            io::ErrorKind::Unsupported,
            "this store has no conditional writes",
        );
        Err(StoreError::new("replacing", key.as_str(), why).of_kind(ErrorKind::Unsupported))
    }

    /// Stores a finished file of this machine, which the store may move instead of copying. The file must be durable.
    /// After `Ok` it is gone from its place; after an error it is still there, unless the error is uncertain.
    fn adopt(&self, key: &Key, file: &Path) -> Result<Object, StoreError> {
        let failed = |source| StoreError::new("reading", file.display().to_string(), source);
        let mut content = File::open(file).map_err(failed)?;
        let stored = self.put(key, &mut content)?;
        // It is stored: what is left over is of no harm.
        let _ = fs::remove_file(file);
        Ok(stored.object)
    }

    /// Reads at most `length` bytes from `offset`. Beyond the end there is nothing, which is no error; an object that is
    /// not there is one, of kind [`NotFound`](ErrorKind::NotFound). What is yielded is of one object, also where it
    /// is replaced or deleted meanwhile; a reader that ends early with `Ok` is not possible.
    fn read_range(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError>;

    /// The same of an object as [`Store::head`] or [`Store::list`] found it. One that was replaced since is an error of kind
    /// [`Changed`](ErrorKind::Changed), as far as the store tells versions or at least sizes apart.
    fn read_object(
        &self,
        object: &Object,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let is_it = |now: Object| now.bytes == object.bytes && now.version == object.version;
        if self.head(&object.key)?.is_none_or(is_it) {
            return self.read_range(&object.key, offset, length);
        }
        let why = io::Error::other("it was replaced by another one meanwhile; begin again");
        Err(StoreError::new("reading", object.key.as_str(), why).of_kind(ErrorKind::Changed))
    }

    /// The object of this key; `None` where there is none.
    fn head(&self, key: &Key) -> Result<Option<Object>, StoreError>;

    /// Every object whose key begins with `prefix` (empty: all), in the order of the keys' bytes. What is stored or
    /// deleted meanwhile may be in it or not.
    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError>;

    /// Deletes the object of this key; `Ok` also where there is none. After a crash of the machine it may be there again.
    /// One that is locked stays, with an error of kind [`Locked`](ErrorKind::Locked), where the store says so.
    fn delete(&self, key: &Key) -> Result<(), StoreError>;

    /// Ends uploads that began before `before` and that nobody finished; returns them. Those of processes at work are
    /// younger: the caller's choice of `before` says so.
    fn remove_unfinished(&self, before: Timestamp) -> Result<Vec<Unfinished>, StoreError>;

    /// Finds out without storing anything whether the place exists, whether it can be listed, and whether it locks what
    /// is stored where it was opened with a lock.
    fn check(&self) -> Result<(), StoreError>;

    /// On which filesystem the place is; `None` where the store does not say so.
    fn filesystem(&self) -> Result<Option<Filesystem>, StoreError> {
        Ok(None)
    }

    /// What was asked of the store since it was opened, as its owner is billed for it.
    fn requests(&self) -> Requests {
        Requests::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_that_counts_nothing_is_not_full() {
        let [none, some] = [0, 9].map(|blocks| Filesystem::new(0, blocks, (2, 4096)));
        assert_eq!((none.id, none.free), (None, None));
        assert_eq!((some.id, some.free), (None, Some(8192)));
        let huge = Filesystem::new(7, u64::MAX, (u64::MAX, u64::MAX));
        assert_eq!(huge.id.as_deref(), Some("0000000000000007"));
        assert_eq!(huge.free, Some(u64::MAX));
    }
}
