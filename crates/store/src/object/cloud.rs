//! Google's and Azure's stores, by the clients of `object_store`.

use super::backend::{Backend, Condition, Meta, Opened, Page, Part, Piece, Upload};
use super::cause::{chain, is_timeout, is_unconnected, plain, tls};
use super::client::{Counters, ENDLESS};
use super::failure::{Answer, Failure, LONGEST, NOT_A_STORE, UNCONNECTED, refused_by_proxy};
use crate::bounds::{Bounds, LARGEST_OBJECT};
use crate::error::ErrorKind;
use futures_util::{StreamExt, TryStreamExt};
use hubvault_model::excerpt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, UpdateVersion,
};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A client of `object_store`.
pub(crate) trait Client: ObjectStore + MultipartStore {}
impl<T: ObjectStore + MultipartStore> Client for T {}

/// A bucket of Google's, or a container of Azure's.
#[derive(Debug)]
pub(crate) struct Cloud {
    client: Arc<dyn Client>,
    counters: Arc<Counters>,
    patience: Duration,
    /// Google's conditions are on numbers and not on tags.
    has_generations: bool,
    attributes: Attributes,
}

impl Cloud {
    /// Asks `client`, whose requests `counters` counts.
    pub(crate) fn new(
        client: Arc<dyn Client>,
        counters: Arc<Counters>,
        patience: Duration,
        has_generations: bool,
        storage_class: Option<&String>,
    ) -> Self {
        let class = storage_class.map(|class| (Attribute::StorageClass, class.clone()));
        Self {
            client,
            counters,
            patience,
            has_generations,
            attributes: class.into_iter().collect(),
        }
    }

    /// Waits for an answer to a request that sends so many bytes.
    async fn ask<T>(
        &self,
        bytes: usize,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Answer<T> {
        let limit = self.patience + Duration::from_secs(bytes as u64 >> 16);
        match timeout(limit, request).await {
            Ok(answer) => answer.map_err(|error| failure(&error)),
            Err(_) => Err(Failure::stalled(limit)),
        }
    }

    async fn mode(&self, path: &Path, condition: &Condition) -> Answer<PutMode> {
        Ok(match condition {
            Condition::Always => PutMode::Overwrite,
            Condition::IfAbsent => PutMode::Create,
            Condition::IfVersion(tag) if !self.has_generations => PutMode::Update(UpdateVersion {
                e_tag: Some(tag.clone()),
                version: None,
            }),
            Condition::IfVersion(tag) => {
                let now = self.ask(0, self.client.get_opts(path, head())).await?.meta;
                if now.e_tag.as_ref() != Some(tag) {
                    return Err(Failure::answered(412, "", "it has another version"));
                }
                PutMode::Update(UpdateVersion {
                    e_tag: None,
                    version: now.version,
                })
            }
        })
    }
}

fn head() -> GetOptions {
    GetOptions {
        head: true,
        ..GetOptions::default()
    }
}

fn path(key: &str) -> Answer<Path> {
    Path::parse(key).map_err(|error| Failure::new(ErrorKind::Unsupported, chain(&error)))
}

/// The longest path that every key with this prefix is below of.
fn above(prefix: &str) -> Option<Path> {
    let (above, _) = prefix.rsplit_once('/')?;
    Path::parse(above).ok().or_else(|| self::above(above))
}

impl Backend for Cloud {
    fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn checksum_of(&self, _: &[[u8; 32]], _: bool) -> Option<String> {
        // They know other sums than SHA-256.
        None
    }

    async fn put(&self, key: &str, piece: Piece, condition: &Condition) -> Answer<Option<String>> {
        let path = path(key)?;
        let options = PutOptions {
            mode: self.mode(&path, condition).await?,
            attributes: self.attributes.clone(),
            ..PutOptions::default()
        };
        let bytes = piece.bytes.len();
        let put = self.client.put_opts(&path, piece.bytes.into(), options);
        Ok(self.ask(bytes, put).await?.e_tag)
    }

    async fn begin(&self, key: &str) -> Answer<String> {
        let path = path(key)?;
        let options = PutMultipartOptions {
            attributes: self.attributes.clone(),
            ..PutMultipartOptions::default()
        };
        let begun = self.client.create_multipart_opts(&path, options);
        self.ask(0, begun).await
    }

    async fn send(&self, key: &str, upload: &str, number: usize, piece: Piece) -> Answer<String> {
        let (path, id, bytes) = (path(key)?, upload.to_owned(), piece.bytes.len());
        let part = self
            .client
            .put_part(&path, &id, number - 1, piece.bytes.into());
        Ok(self.ask(bytes, part).await?.content_id)
    }

    async fn complete(&self, key: &str, upload: &str, parts: &[Part]) -> Answer<Option<String>> {
        let (path, id) = (path(key)?, upload.to_owned());
        let parts = parts.iter().map(|part| PartId {
            content_id: part.id.clone(),
        });
        let done = self.client.complete_multipart(&path, &id, parts.collect());
        Ok(self.ask(0, done).await?.e_tag)
    }

    async fn abort(&self, key: &str, upload: &str) -> Answer<()> {
        let (path, id) = (path(key)?, upload.to_owned());
        self.ask(0, self.client.abort_multipart(&path, &id)).await
    }

    async fn get(
        &self,
        key: &str,
        from: u64,
        to: u64,
        version: Option<&str>,
    ) -> Answer<Option<Opened>> {
        let path = path(key)?;
        let range = if to < LARGEST_OBJECT {
            GetRange::Bounded(from..to)
        } else {
            GetRange::Offset(from)
        };
        let options = GetOptions {
            range: Some(range),
            if_match: version.map(str::to_owned),
            ..GetOptions::default()
        };
        let opened = match self.ask(0, self.client.get_opts(&path, options)).await {
            // Each answers in its own way, and the library does not tell, that there is nothing from there on.
            Err(failure) if matches!(failure.status, 0 | 416) && !failure.may_be_retried() => {
                let now = self.head(key).await?;
                let is_beyond = now.is_some_and(|now| now.bytes <= from);
                return if is_beyond { Ok(None) } else { Err(failure) };
            }
            opened => opened?,
        };
        if opened.range.start != from {
            let why = "the store did not answer with the range that was asked for";
            return Err(Failure::new(ErrorKind::Failed, why));
        }
        let (bytes, version) = (opened.meta.size, opened.meta.e_tag.clone());
        let (counters, patience) = (Arc::clone(&self.counters), self.patience);
        let content = futures_util::stream::unfold(Some(opened.into_stream()), move |stream| {
            let counters = Arc::clone(&counters);
            async move {
                let mut stream = stream?;
                match timeout(patience, stream.next()).await {
                    Ok(None) => None,
                    Ok(Some(Ok(more))) => {
                        counters.received(more.len());
                        Some((Ok(more), Some(stream)))
                    }
                    Ok(Some(Err(error))) => {
                        let mut failure = failure(&error);
                        failure.kind = ErrorKind::Unavailable;
                        Some((Err(failure), None))
                    }
                    Err(_) => Some((Err(Failure::stalled(patience)), None)),
                }
            }
        });
        Ok(Some(Opened {
            bytes,
            version,
            content: content.boxed(),
        }))
    }

    async fn head(&self, key: &str) -> Answer<Option<Meta>> {
        let path = path(key)?;
        match self.ask(0, self.client.get_opts(&path, head())).await {
            Ok(found) => Ok(Some(Meta {
                bytes: found.meta.size,
                version: found.meta.e_tag,
                ..Meta::default()
            })),
            Err(failure) if failure.kind == ErrorKind::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn list(&self, prefix: &str, _: Option<&str>) -> Answer<Page> {
        // Its prefixes are whole parts of keys.
        let above = above(prefix);
        let mut listed = self.client.list(above.as_ref());
        let mut objects = Vec::new();
        let mut bounds = Bounds::new(self.patience);
        while let Some(ObjectMeta {
            location,
            size,
            e_tag,
            ..
        }) = self.ask(0, listed.try_next()).await.map_err(of_bucket)?
        {
            let key = String::from(location);
            bounds.add(1, key.len() + e_tag.as_ref().map_or(0, String::len))?;
            if key.starts_with(prefix) {
                objects.push((key, size, e_tag));
            }
        }
        Ok(Page {
            objects,
            next: None,
        })
    }

    async fn delete(&self, key: &str) -> Answer<()> {
        let path = path(key)?;
        let one = futures_util::stream::once(async move { Ok(path) }).boxed();
        let mut deleted = self.client.delete_stream(one);
        match self.ask(0, deleted.try_next()).await {
            Err(failure) if failure.kind == ErrorKind::NotFound => Ok(()),
            done => done.map(drop),
        }
    }

    async fn unfinished(&self, _: &str) -> Answer<Vec<Upload>> {
        // Azure forgets them after a week by itself; Google by a rule of the bucket (docs/destinations.md).
        Ok(Vec::new())
    }

    async fn uploaded(&self, _: &Upload) -> Answer<Option<u64>> {
        Ok(None)
    }

    async fn check(&self, prefix: &str) -> Answer<()> {
        let above = above(prefix);
        let mut listed = self.client.list(above.as_ref());
        let first = self.ask(0, listed.try_next()).await;
        first.map(drop).map_err(of_bucket)
    }
}

/// A bucket that is not there is no missing object.
fn of_bucket(mut failure: Failure) -> Failure {
    if failure.kind == ErrorKind::NotFound {
        failure.kind = ErrorKind::Failed;
        failure
            .text
            .push_str("; create the bucket, or correct its name");
    }
    failure
}

/// What the library's error says, which is only text.
fn failure(error: &object_store::Error) -> Failure {
    use object_store::Error as E;
    let text = chain(error);
    let between = |from: &str, to: &str| {
        let (_, after) = text.split_once(from)?;
        Some(after.split_once(to)?.0.to_owned())
    };
    let code = between("<Code>", "</Code>").unwrap_or_default();
    let message = between("<Message>", "</Message>").unwrap_or_default();
    let status = match error {
        E::NotFound { .. } => 404,
        E::AlreadyExists { .. } | E::Precondition { .. } => 412,
        E::PermissionDenied { .. } => 403,
        E::Unauthenticated { .. } => 401,
        _ => between("status code: ", " ")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
    };
    let mut failure = Failure::answered(status, &code, &message);
    if code.is_empty() && message.is_empty() && !(300..400).contains(&status) {
        failure.text = excerpt(&plain(&text), LONGEST);
    }
    if status == 0
        && let Some(text) = tls(error)
    {
        return Failure::new(ErrorKind::Failed, text);
    }
    if let Some(failure) = refused_by_proxy(&text) {
        return failure;
    }
    match error {
        E::NotSupported { .. } | E::NotImplemented { .. } => failure.kind = ErrorKind::Unsupported,
        _ if status != 0 => {}
        _ if text.contains(NOT_A_STORE) || text.contains(ENDLESS) => failure.is_uncertain = true,
        _ if text.contains("HTTP error") => {
            failure.kind = ErrorKind::Unavailable;
            failure.is_uncertain = !is_unconnected(&text);
            if !failure.is_uncertain {
                failure.cause = io::ErrorKind::NotConnected;
                failure.text = format!("cannot connect: {}; {UNCONNECTED}", failure.text);
            } else if is_timeout(error) {
                failure.cause = io::ErrorKind::TimedOut;
            }
        }
        _ => {}
    }
    failure
}
