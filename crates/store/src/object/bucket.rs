//! A bucket as a store.

use super::backend::{Backend, Condition, Meta, Opened, Piece};
use super::failure::{Answer, Failure, NOT_ENCRYPTED};
use super::listing::{Listing, check_size};
use super::parts::Parts;
use super::reader::{CHANGED, Coming, Reader};
use super::tries::{Tries, retried};
use super::upload::{Sent, upload};
use super::waiting::wait;
use crate::error::{ErrorKind, StoreError};
use crate::key::Key;
use crate::location::Bucket;
use crate::store::{Object, Store, Stored, Unfinished};
use crate::usage::Requests;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// The largest object that is stored on a condition.
const SMALL: u64 = 1 << 20;

/// A bucket, or what is below a prefix in it.
#[derive(Debug)]
pub(crate) struct BucketStore<B> {
    backend: Arc<B>,
    /// The bucket as people know it.
    place: String,
    /// Empty, or ends with `/`.
    prefix: String,
    is_locking: bool,
}

impl<B: Backend> BucketStore<B> {
    /// What is below the prefix of `bucket`, which people know as `place`.
    pub(crate) fn new(backend: B, place: String, bucket: &Bucket, is_locking: bool) -> Self {
        let slash = if bucket.prefix.is_empty() { "" } else { "/" };
        Self {
            backend: Arc::new(backend),
            place,
            prefix: format!("{}{slash}", bucket.prefix),
            is_locking,
        }
    }

    fn whole(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    fn shown(&self, key: &Key) -> String {
        format!("{}/{}{key}", self.place, self.prefix)
    }

    fn all(&self) -> String {
        format!("{}/{}", self.place, self.prefix)
    }

    fn failed(&self, doing: &'static str, key: &Key) -> impl Fn(Failure) -> StoreError {
        let place = self.shown(key);
        move |failure| failure.into_error(doing, &place)
    }

    fn ask_head(&self, key: &Key) -> Answer<Option<Meta>> {
        let (backend, whole) = (Arc::clone(&self.backend), self.whole(key));
        let asked = wait(async move { retried(&*backend, || backend.head(&whole)).await });
        let meta = asked.map_err(Failure::of_read)?;
        if let Some(meta) = &meta {
            check_size(key.as_str(), meta.bytes)?;
        }
        Ok(meta)
    }

    fn store(&self, key: &Key, content: &mut dyn Read, parts: Parts) -> Result<Stored, StoreError> {
        let sent = upload(&self.backend, &self.whole(key), content, parts)
            .map_err(self.failed("storing", key))?;
        self.confirm(key, &sent)
            .map_err(self.failed("confirming that the store holds", key))
    }

    /// Asks the store what it holds now.
    fn confirm(&self, key: &Key, sent: &Sent) -> Answer<Stored> {
        let wrong = |text: String| {
            let mut failure = Failure::new(ErrorKind::Failed, text);
            failure.is_uncertain = true;
            Err(failure)
        };
        let mut object = Object::plain(key.clone(), sent.bytes);
        object.version.clone_from(&sent.version);
        let mut is_confirmed = false;
        match self.ask_head(key) {
            // Reading back would only wait as long.
            Err(mut failure) if failure.is_silence() => {
                failure.is_uncertain = true;
                return Err(failure);
            }
            // It may store and not look: reading back tells, or does not.
            Err(failure) if self.is_locking => return wrong(failure.text),
            Err(_) => {}
            Ok(None) => return wrong("it is not there although it was stored".into()),
            // Somebody else has replaced it already.
            Ok(Some(meta)) if sent.version.is_some() && meta.version != sent.version => {}
            Ok(Some(meta)) => {
                if meta.bytes != sent.bytes {
                    return wrong(format!(
                        "it has {} bytes instead of {}",
                        meta.bytes, sent.bytes
                    ));
                }
                if meta.checksum.is_some() && meta.checksum != sent.checksum {
                    return wrong("its checksum is not that of what was sent".into());
                }
                let asked = self.backend.encryption();
                if asked.is_some() && meta.encryption.as_deref() != asked {
                    return wrong(NOT_ENCRYPTED.into());
                }
                is_confirmed = meta.checksum.is_some();
                object.version = meta.version;
                object.locked_until = meta.locked_until;
                if self.is_locking && object.locked_until.is_none() {
                    return wrong(
                        "it is not locked; check the bucket's object lock and the right to read it"
                            .into(),
                    );
                }
            }
        }
        Ok(Stored {
            object,
            is_confirmed,
        })
    }

    /// Reads a range, of this object if one is given.
    fn read(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
        found: Option<&Object>,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let failed = self.failed("reading", key);
        let end = offset.saturating_add(length);
        let Some(opened) = self.open(key, offset, end, found).map_err(&failed)? else {
            return Ok(Box::new(io::empty()));
        };
        let coming = Coming {
            backend: Arc::clone(&self.backend),
            key: self.whole(key),
            version: opened.version,
            bytes: opened.bytes,
            at: offset,
            end: end.min(opened.bytes),
            content: Some(opened.content),
            failure: None,
        };
        let reader = Reader::new(self.shown(key), coming).map_err(failed)?;
        Ok(Box::new(reader))
    }

    fn open(
        &self,
        key: &Key,
        from: u64,
        to: u64,
        found: Option<&Object>,
    ) -> Answer<Option<Opened>> {
        let changed = || Failure::new(ErrorKind::Changed, CHANGED);
        let missing = || Failure::new(ErrorKind::NotFound, "there is no such object");
        if from == to {
            let now = self.ask_head(key)?.ok_or_else(missing)?;
            let is_it = found.is_none_or(|object| object.version == now.version);
            return if is_it { Ok(None) } else { Err(changed()) };
        }
        let (backend, whole) = (Arc::clone(&self.backend), self.whole(key));
        let version = found.and_then(|object| object.version.clone());
        let asked = wait(async move {
            retried(&*backend, || {
                backend.get(&whole, from, to, version.as_deref())
            })
            .await
        });
        match asked {
            Ok(Some(opened)) if found.is_some_and(|object| object.bytes != opened.bytes) => {
                Err(changed())
            }
            Ok(Some(opened)) => check_size(key.as_str(), opened.bytes).map(|()| Some(opened)),
            // Some say so, too, where there is none any more.
            Err(failure) if failure.status == 412 => Err(match self.ask_head(key)? {
                Some(_) => changed(),
                None => missing(),
            }),
            asked => asked.map_err(Failure::of_read),
        }
    }

    /// Stores a small object on a condition. It is sent again only where it was surely not stored.
    fn store_if(
        &self,
        key: &Key,
        content: &mut dyn Read,
        condition: Condition,
    ) -> Result<Option<Object>, StoreError> {
        let failed = self.failed("storing", key);
        let mut bytes = Vec::new();
        content
            .take(SMALL + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| {
                failed(Failure::new(
                    ErrorKind::Content,
                    format!("reading what is to be stored: {error}"),
                ))
            })?;
        let length = bytes.len() as u64;
        if length > SMALL {
            return Err(failed(Failure::new(
                ErrorKind::Failed,
                "it is larger than 1 MiB",
            )));
        }
        let sha256 = Sha256::digest(&bytes).into();
        let piece = Piece {
            bytes: bytes.into(),
            sha256,
        };
        let (backend, whole) = (Arc::clone(&self.backend), self.whole(key));
        let version = wait(async move {
            let mut tries = Tries::of(&*backend);
            loop {
                let failure = match backend.put(&whole, piece.clone(), &condition).await {
                    Ok(version) => return Ok(Some(version)),
                    Err(failure) => failure,
                };
                let is_gone =
                    failure.kind == ErrorKind::NotFound && condition != Condition::IfAbsent;
                if failure.status == 412 || is_gone {
                    return Ok(None);
                }
                if failure.is_uncertain || !tries.pause(&failure).await {
                    return Err(failure);
                }
            }
        });
        let stored = version.map_err(failed)?;
        Ok(stored.map(|version| Object {
            version,
            ..Object::plain(key.clone(), length)
        }))
    }
}

impl<B: Backend> Store for BucketStore<B> {
    fn put(&self, key: &Key, content: &mut dyn Read) -> Result<Stored, StoreError> {
        self.store(key, content, Parts::Growing)
    }

    fn put_if_absent(
        &self,
        key: &Key,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        self.store_if(key, content, Condition::IfAbsent)
    }

    fn replace_if(
        &self,
        key: &Key,
        version: &str,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        self.store_if(key, content, Condition::IfVersion(version.to_owned()))
    }

    fn adopt(&self, key: &Key, file: &Path) -> Result<Object, StoreError> {
        let failed = |source| StoreError::new("reading", file.display().to_string(), source);
        let mut content = File::open(file).map_err(failed)?;
        let bytes = content.metadata().map_err(failed)?.len();
        let stored = self.store(key, &mut content, Parts::of(bytes))?;
        // It is stored: what is left over is of no harm.
        let _ = fs::remove_file(file);
        Ok(stored.object)
    }

    fn read_range(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        self.read(key, offset, length, None)
    }

    fn read_object(
        &self,
        object: &Object,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        self.read(&object.key, offset, length, Some(object))
    }

    fn head(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let meta = self
            .ask_head(key)
            .map_err(self.failed("looking for", key))?;
        Ok(meta.map(|meta| Object {
            key: key.clone(),
            bytes: meta.bytes,
            version: meta.version,
            locked_until: meta.locked_until,
            stranger: None,
        }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let (backend, whole) = (
            Arc::clone(&self.backend),
            format!("{}{prefix}", self.prefix),
        );
        let mut listing = Listing::new(&self.prefix, self.backend.patience());
        let listed = wait(async move {
            loop {
                let page = retried(&*backend, || backend.list(&whole, listing.next())).await?;
                if !listing.add(page)? {
                    return Ok(listing.into_objects());
                }
            }
        });
        listed.map_err(|failure| failure.of_read().into_error("listing", &self.all()))
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let failed = self.failed("deleting", key);
        // In a bucket with versions deleting a locked object would only hide it.
        match self.ask_head(key).map_err(&failed)? {
            None => return Ok(()),
            Some(meta) => {
                if let Some(until) = meta.locked_until.filter(|until| *until > Timestamp::now()) {
                    let text = if until == Timestamp::MAX {
                        "a legal hold is on it".to_owned()
                    } else {
                        format!("it is locked until {until}")
                    };
                    return Err(failed(Failure::new(ErrorKind::Locked, text)));
                }
            }
        }
        let (backend, whole) = (Arc::clone(&self.backend), self.whole(key));
        wait(async move { retried(&*backend, || backend.delete(&whole)).await }).map_err(failed)
    }

    fn remove_unfinished(&self, before: Timestamp) -> Result<Vec<Unfinished>, StoreError> {
        let (backend, prefix) = (Arc::clone(&self.backend), self.prefix.clone());
        let removed = wait(async move {
            let mut removed = Vec::new();
            for upload in retried(&*backend, || backend.unfinished(&prefix)).await? {
                let name = upload.key.strip_prefix(&prefix).map(Key::parse);
                let Some(Ok(name)) = name.filter(|_| upload.began < before) else {
                    continue;
                };
                // How much it was is not worth leaving it there.
                let bytes = backend.uploaded(&upload).await.unwrap_or(None);
                retried(&*backend, || backend.abort(&upload.key, &upload.id)).await?;
                removed.push(Unfinished {
                    name: name.to_string(),
                    began: upload.began,
                    bytes,
                });
            }
            Ok(removed)
        });
        removed.map_err(|failure| {
            failure
                .of_read()
                .into_error("ending unfinished uploads in", &self.all())
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        let (backend, prefix) = (Arc::clone(&self.backend), self.prefix.clone());
        wait(async move { retried(&*backend, || backend.check(&prefix)).await })
            .map_err(|failure| failure.of_read().into_error("checking", &self.all()))
    }

    fn requests(&self) -> Requests {
        self.backend.counters().requests()
    }
}
