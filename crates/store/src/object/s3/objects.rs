//! Requests about objects.

use super::super::backend::{Condition, Meta, Opened, Page, Piece};
use super::super::failure::{Answer, Failure, NOT_A_STORE};
use super::S3;
use super::answers::{ListBucketResult, ObjectLockConfiguration};
use super::request::{Ask, header};
use crate::bounds::LARGEST_OBJECT;
use crate::error::ErrorKind;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use std::sync::Arc;

/// With which key the server encrypts.
pub(crate) const ENCRYPTION: &str = "x-amz-server-side-encryption";
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Statuses of answers that callers ask about.
const NOT_FOUND: u16 = 404;
const BEYOND_THE_END: u16 = 416;

impl S3 {
    /// `PutObject`.
    pub(crate) async fn put_object(
        &self,
        key: &str,
        piece: Piece,
        condition: &Condition,
    ) -> Answer<Option<String>> {
        let mut headers = self.creating.clone();
        headers.push((CHECKSUM, BASE64_STANDARD.encode(piece.sha256)));
        headers.push(("x-amz-sdk-checksum-algorithm", "SHA256".into()));
        match condition {
            Condition::Always => headers.extend(self.locking()),
            Condition::IfAbsent => headers.push(("if-none-match", "*".into())),
            Condition::IfVersion(version) => headers.push(("if-match", version.clone())),
        }
        let ask = Ask::new(Method::PUT, key, &[]).with(headers).body(piece);
        let answer = self.ask(ask).await?;
        let version = header(answer.headers(), "etag");
        if version.is_none() && *condition != Condition::Always {
            // Nothing confirms it later.
            let mut failure = Failure::new(ErrorKind::Failed, NOT_A_STORE);
            failure.is_uncertain = true;
            return Err(failure);
        }
        Ok(version)
    }

    /// `GetObject`.
    pub(crate) async fn get_object(
        &self,
        key: &str,
        from: u64,
        to: u64,
        version: Option<&str>,
    ) -> Answer<Option<Opened>> {
        // Servers count with a sign; what is larger than any object has no end.
        let last = Some(to.saturating_sub(1)).filter(|last| *last < LARGEST_OBJECT);
        let last = last.map_or_else(String::new, |last| last.to_string());
        let mut headers = vec![("range", format!("bytes={from}-{last}"))];
        if let Some(version) = version {
            headers.push(("if-match", version.to_owned()));
        }
        let asked = self
            .ask(Ask::new(Method::GET, key, &[]).with(headers))
            .await;
        let answer = match asked {
            Err(failure) if failure.status == BEYOND_THE_END => return Ok(None),
            asked => asked?,
        };
        let is_range = answer.status() == StatusCode::PARTIAL_CONTENT;
        let bytes = if is_range {
            range(answer.headers(), from)
        } else {
            length(answer.headers()).filter(|_| from == 0)
        };
        let Some(bytes) = bytes else {
            let why = "the store did not answer with the range that was asked for";
            return Err(Failure::new(ErrorKind::Failed, why));
        };
        let version = header(answer.headers(), "etag");
        let counters = Arc::clone(&self.counters);
        let content = self.content(answer.into_body()).inspect(move |more| {
            if let Ok(more) = more {
                counters.received(more.len());
            }
        });
        Ok(Some(Opened {
            bytes,
            version,
            content: content.boxed(),
        }))
    }

    /// `HeadObject`, with what is known of its checksum and lock.
    pub(crate) async fn head_object(&self, key: &str) -> Answer<Option<Meta>> {
        let headers = [("x-amz-checksum-mode", "ENABLED".to_owned())];
        let asked = self
            .ask(Ask::new(Method::HEAD, key, &[]).with(headers))
            .await;
        let answer = match asked {
            Err(failure) if failure.status == NOT_FOUND => return Ok(None),
            asked => asked?,
        };
        let headers = answer.headers();
        let Some(bytes) = length(headers) else {
            return Err(Failure::new(
                ErrorKind::Failed,
                "the store does not say how large it is",
            ));
        };
        let until = header(headers, "x-amz-object-lock-retain-until-date");
        let is_held =
            header(headers, "x-amz-object-lock-legal-hold").is_some_and(|hold| hold == "ON");
        let locked_until = if is_held {
            Some(Timestamp::MAX)
        } else {
            until.and_then(|text| text.parse().ok())
        };
        Ok(Some(Meta {
            bytes,
            version: header(headers, "etag"),
            checksum: header(headers, CHECKSUM),
            encryption: header(headers, ENCRYPTION),
            locked_until,
        }))
    }

    /// `ListObjectsV2`.
    pub(crate) async fn list_objects(&self, prefix: &str, next: Option<&str>) -> Answer<Page> {
        let mut query = vec![("list-type", "2"), ("prefix", prefix)];
        if let Some(next) = next {
            query.insert(0, ("continuation-token", next));
        }
        let ask = Ask::new(Method::GET, "", &query);
        let listed: ListBucketResult = self.answer(ask).await?;
        let next = listed.next_continuation_token;
        let next = next.filter(|token| !token.is_empty());
        if listed.is_truncated && next.is_none() {
            let why = "the store does not say where its list goes on";
            return Err(Failure::new(ErrorKind::Failed, why));
        }
        let objects = listed.contents.into_iter();
        Ok(Page {
            objects: objects
                .map(|object| (object.key, object.size, object.e_tag))
                .collect(),
            next,
        })
    }

    /// `DeleteObject`.
    pub(crate) async fn delete_object(&self, key: &str) -> Answer<()> {
        match self.ask(Ask::new(Method::DELETE, key, &[])).await {
            Err(failure) if failure.code == "NoSuchKey" => Ok(()),
            done => done.map(drop),
        }
    }

    /// Whether it can be listed, and locks.
    pub(crate) async fn check_bucket(&self, prefix: &str) -> Answer<()> {
        let query = [("list-type", "2"), ("max-keys", "1"), ("prefix", prefix)];
        let _: ListBucketResult = self.answer(Ask::new(Method::GET, "", &query)).await?;
        if self.lock.is_none() {
            return Ok(());
        }
        let ask = Ask::new(Method::GET, "", &[("object-lock", "")]);
        let found: ObjectLockConfiguration = self.answer(ask).await.map_err(|mut failure| {
            failure.text = format!(
                "whether the bucket locks objects is not known: {}",
                failure.text
            );
            failure
        })?;
        if found.object_lock_enabled.as_deref() == Some("Enabled") {
            return Ok(());
        }
        let why = "the bucket has no object lock; create one that has, or remove the setting lock";
        Err(Failure::new(ErrorKind::Unsupported, why))
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    header(headers, "content-length")?.parse().ok()
}

/// The whole size out of `bytes 0-9/100`, if it begins where it shall.
fn range(headers: &HeaderMap, from: u64) -> Option<u64> {
    let text = header(headers, "content-range")?;
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (begin, _) = range.split_once('-')?;
    (begin.parse() == Ok(from)).then_some(())?;
    whole.parse().ok()
}
