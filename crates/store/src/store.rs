//! The contract of every store.

use crate::error::StoreError;
use crate::key::Key;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// An object as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: Key,
    /// Its size.
    pub bytes: u64,
}

/// A place for objects.
///
/// Objects are whole or not there: nothing reads, lists or counts an unfinished one. They are written once and replaced as
/// a whole, never changed in place. Calls may come from several threads and processes at once.
///
/// A call that returns `Err` changed nothing, unless [`StoreError::is_uncertain`] says that it may have been done. Every
/// call may be made again; which failures are worth it, [`StoreError::may_be_retried`] says. A store retries nothing
/// itself, as the content of a `put` can be read only once: the caller has it, and knows how long to go on.
///
/// Conditional replacement (`replace_if`) will need a version in [`Object`]; nothing asks for it yet.
pub trait Store: Debug + Send + Sync {
    /// Stores what `content` yields, of whatever length, and replaces an object of this key. After `Ok` the object is
    /// durable. Of two at once one wins, whole. A failure of `content` itself is an error of kind
    /// [`Content`](crate::ErrorKind::Content).
    fn put(&self, key: &Key, content: &mut dyn Read) -> Result<Object, StoreError>;

    /// The same, unless there is an object of this key: then `None`, and that one stays. Of several at once exactly one
    /// gets `Some`. After an uncertain error, asking again may find the object of the first try.
    fn put_if_absent(
        &self,
        key: &Key,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError>;

    /// Stores a finished file of this machine, which the store may move instead of copying. The file must be durable.
    /// After `Ok` it is gone from its place; after an error it is still there, unless the error is uncertain.
    fn adopt(&self, key: &Key, file: &Path) -> Result<Object, StoreError> {
        let failed = |source| StoreError::new("reading", file.display().to_string(), source);
        let mut content = File::open(file).map_err(failed)?;
        let object = self.put(key, &mut content)?;
        // It is stored: what is left over is of no harm.
        let _ = fs::remove_file(file);
        Ok(object)
    }

    /// Reads at most `length` bytes from `offset`. Beyond the end there is nothing, which is no error; an object that is
    /// not there is one, of kind [`NotFound`](crate::ErrorKind::NotFound). What is yielded is of one object, also where it
    /// is replaced or deleted meanwhile; a reader that ends early with `Ok` is not possible.
    fn read_range(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError>;

    /// The object of this key; `None` where there is none.
    fn head(&self, key: &Key) -> Result<Option<Object>, StoreError>;

    /// Every object whose key begins with `prefix` (empty: all), in the order of the keys' bytes. What is stored or
    /// deleted meanwhile may be in it or not.
    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError>;

    /// Deletes the object of this key; `Ok` also where there is none. After a crash of the machine it may be there again.
    fn delete(&self, key: &Key) -> Result<(), StoreError>;
}
