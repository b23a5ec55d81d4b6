//! What a kind of object store can do; everything else is the same for all of them.

use super::client::Counters;
use super::failure::Answer;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Content as it comes.
pub(crate) type Content = BoxStream<'static, Answer<Bytes>>;

/// Whether an object is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// In any case, and locked where the store was opened with a lock.
    Always,
    /// If there is none of this key.
    IfAbsent,
    /// If the one that is there has this version.
    IfVersion(String),
}

/// What one request sends.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// Their SHA-256.
    pub(crate) sha256: [u8; 32],
}

/// A part that the store has.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What the store calls it.
    pub(crate) id: String,
    /// Its SHA-256.
    pub(crate) sha256: [u8; 32],
}

/// What a store says of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Its size.
    pub(crate) bytes: u64,
    /// What tells one content from another.
    pub(crate) version: Option<String>,
    /// Its SHA-256, or that of its parts' in the store's way of writing.
    pub(crate) checksum: Option<String>,
    /// With whose key the store encrypts it, where it says so.
    pub(crate) encryption: Option<String>,
    /// Until when it is locked.
    pub(crate) locked_until: Option<Timestamp>,
}

/// Objects of one answer.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Key, size and version of each.
    pub(crate) objects: Vec<(String, u64, Option<String>)>,
    /// With what to ask for more.
    pub(crate) next: Option<String>,
}

/// An upload that was not finished.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    /// The key.
    pub(crate) key: String,
    /// What the store calls it.
    pub(crate) id: String,
    /// When it began.
    pub(crate) began: Timestamp,
}

/// The beginning of an object's content.
pub(crate) struct Opened {
    /// The object's whole size.
    pub(crate) bytes: u64,
    /// Its version.
    pub(crate) version: Option<String>,
    /// What was asked for of it.
    pub(crate) content: Content,
}

/// A kind of object store. Each call is one request, sent once; keys are whole, with the prefix.
pub(crate) trait Backend: Debug + Send + Sync + 'static {
    /// What was asked so far.
    fn counters(&self) -> &Arc<Counters>;
    /// How long a silent store is waited for.
    fn patience(&self) -> Duration;
    /// How the store writes the checksum of an object of one piece, or of parts; `None` where it has none.
    fn checksum_of(&self, parts: &[[u8; 32]], is_whole: bool) -> Option<String>;
    /// With whose key the store was asked to encrypt.
    fn encryption(&self) -> Option<&str> {
        None
    }

    /// Stores a small object; its version.
    fn put(
        &self,
        key: &str,
        piece: Piece,
        condition: &Condition,
    ) -> impl Future<Output = Answer<Option<String>>> + Send;
    /// Begins an upload; its id.
    fn begin(&self, key: &str) -> impl Future<Output = Answer<String>> + Send;
    /// Sends a part; what it is called.
    fn send(
        &self,
        key: &str,
        upload: &str,
        number: usize,
        piece: Piece,
    ) -> impl Future<Output = Answer<String>> + Send;
    /// Makes an object of the parts; its version.
    fn complete(
        &self,
        key: &str,
        upload: &str,
        parts: &[Part],
    ) -> impl Future<Output = Answer<Option<String>>> + Send;
    /// Ends an upload without an object.
    fn abort(&self, key: &str, upload: &str) -> impl Future<Output = Answer<()>> + Send;
    /// Opens an object's content from `from` up to `to`, of this version if one is named; `None` beyond its end.
    fn get(
        &self,
        key: &str,
        from: u64,
        to: u64,
        version: Option<&str>,
    ) -> impl Future<Output = Answer<Option<Opened>>> + Send;
    /// What is known of an object.
    fn head(&self, key: &str) -> impl Future<Output = Answer<Option<Meta>>> + Send;
    /// Objects whose keys begin with `prefix`.
    fn list(&self, prefix: &str, next: Option<&str>) -> impl Future<Output = Answer<Page>> + Send;
    /// Deletes an object.
    fn delete(&self, key: &str) -> impl Future<Output = Answer<()>> + Send;
    /// Uploads below `prefix` that were not finished.
    fn unfinished(&self, prefix: &str) -> impl Future<Output = Answer<Vec<Upload>>> + Send;
    /// How many bytes an unfinished upload has.
    fn uploaded(&self, upload: &Upload) -> impl Future<Output = Answer<Option<u64>>> + Send;
    /// Whether objects below `prefix` can be listed, and are locked where they shall be.
    fn check(&self, prefix: &str) -> impl Future<Output = Answer<()>> + Send;
}
