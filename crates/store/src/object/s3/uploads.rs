//! Requests about uploads in parts.

use super::super::backend::{Backend, Condition, Meta, Opened, Page, Part, Piece, Upload};
use super::super::client::Counters;
use super::super::failure::{Answer, Failure};
use super::super::listing::REPEATED;
use super::S3;
use super::answers::{
    self, CompleteMultipartUploadResult, InitiateMultipartUploadResult, ListMultipartUploadsResult,
    ListPartsResult, read, root,
};
use super::objects::ENCRYPTION;
use super::request::{Ask, failure_of, header};
use crate::bounds::Bounds;
use crate::error::ErrorKind;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{Method, StatusCode};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

impl S3 {
    fn completion(parts: &[Part]) -> Piece {
        let mut text = String::from("<CompleteMultipartUpload>");
        for (n, part) in parts.iter().enumerate() {
            let tag = quick_xml::escape::escape(&part.id);
            let checksum = BASE64_STANDARD.encode(part.sha256);
            let number = n + 1;
            let _ = write!(
                text,
                "<Part><ETag>{tag}</ETag><ChecksumSHA256>{checksum}</ChecksumSHA256><PartNumber>{number}</PartNumber></Part>"
            );
        }
        text.push_str("</CompleteMultipartUpload>");
        let sha256 = Sha256::digest(text.as_bytes()).into();
        Piece {
            bytes: text.into(),
            sha256,
        }
    }
}

impl Backend for S3 {
    fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn checksum_of(&self, parts: &[[u8; 32]], is_whole: bool) -> Option<String> {
        if is_whole {
            return parts.first().map(|whole| BASE64_STANDARD.encode(whole));
        }
        let sum = BASE64_STANDARD.encode(Sha256::digest(parts.concat()));
        Some(format!("{sum}-{}", parts.len()))
    }

    fn encryption(&self) -> Option<&str> {
        let asked = self.creating.iter().find(|(name, _)| *name == ENCRYPTION);
        asked.map(|(_, method)| method.as_str())
    }

    async fn put(&self, key: &str, piece: Piece, condition: &Condition) -> Answer<Option<String>> {
        self.put_object(key, piece, condition).await
    }

    async fn begin(&self, key: &str) -> Answer<String> {
        let mut headers = self.creating.clone();
        headers.push(("x-amz-checksum-algorithm", "SHA256".into()));
        headers.push(("x-amz-checksum-type", "COMPOSITE".into()));
        headers.extend(self.locking());
        let ask = Ask::new(Method::POST, key, &[("uploads", "")]).with(headers);
        let begun: InitiateMultipartUploadResult = self.answer(ask).await?;
        Ok(begun.upload_id)
    }

    async fn send(&self, key: &str, upload: &str, number: usize, piece: Piece) -> Answer<String> {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload)];
        let headers = [
            (
                "x-amz-checksum-sha256",
                BASE64_STANDARD.encode(piece.sha256),
            ),
            ("x-amz-sdk-checksum-algorithm", "SHA256".into()),
        ];
        let ask = Ask::new(Method::PUT, key, &query).with(headers).body(piece);
        let answer = self.ask(ask).await?;
        let missing = || Failure::new(ErrorKind::Failed, "the store did not name the part");
        header(answer.headers(), "etag").ok_or_else(missing)
    }

    async fn complete(&self, key: &str, upload: &str, parts: &[Part]) -> Answer<Option<String>> {
        let query = [("uploadId", upload)];
        let ask = Ask::new(Method::POST, key, &query);
        let answer = self.ask(ask.body(Self::completion(parts))).await?;
        let text = self.text(answer.into_body()).await?;
        match read::<CompleteMultipartUploadResult>(&text) {
            Ok(completed) if completed.e_tag.is_some() => Ok(completed.e_tag),
            Err(mut failure) if root(&text).is_some_and(|root| root != b"Error") => {
                failure.is_uncertain = true;
                Err(failure)
            }
            // The status came before the work was done.
            _ => Err(failure_of(StatusCode::INTERNAL_SERVER_ERROR, &text)),
        }
    }

    async fn abort(&self, key: &str, upload: &str) -> Answer<()> {
        let query = [("uploadId", upload)];
        let ask = Ask::new(Method::DELETE, key, &query);
        match self.ask(ask).await {
            Err(failure) if failure.status == 404 && failure.code == "NoSuchUpload" => Ok(()),
            done => done.map(drop),
        }
    }

    async fn get(
        &self,
        key: &str,
        from: u64,
        to: u64,
        version: Option<&str>,
    ) -> Answer<Option<Opened>> {
        self.get_object(key, from, to, version).await
    }

    async fn head(&self, key: &str) -> Answer<Option<Meta>> {
        self.head_object(key).await
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Answer<Page> {
        self.list_objects(prefix, next).await
    }

    async fn delete(&self, key: &str) -> Answer<()> {
        self.delete_object(key).await
    }

    async fn unfinished(&self, prefix: &str) -> Answer<Vec<Upload>> {
        let (mut found, mut after) = (Vec::new(), (String::new(), String::new()));
        let mut bounds = Bounds::new(self.patience);
        loop {
            let mut query = vec![("prefix", prefix), ("uploads", "")];
            if !after.0.is_empty() {
                query.insert(0, ("key-marker", &after.0));
                query.push(("upload-id-marker", &after.1));
            }
            let ask = Ask::new(Method::GET, "", &query);
            let page: ListMultipartUploadsResult = self.answer(ask).await?;
            let length = |upload: &answers::Upload| upload.key.len() + upload.id.len();
            bounds.add(page.uploads.len(), page.uploads.iter().map(length).sum())?;
            found.extend(page.uploads.into_iter().map(|upload| Upload {
                key: upload.key,
                id: upload.id,
                // One of which that cannot be read is not known to be old.
                began: upload.initiated.parse().unwrap_or(Timestamp::MAX),
            }));
            let next = (page.next_key_marker, page.next_upload_id_marker);
            match next {
                (Some(key), upload) if page.is_truncated && !key.is_empty() => {
                    let next = (key, upload.unwrap_or_default());
                    if next == after {
                        return Err(Failure::new(ErrorKind::Failed, REPEATED));
                    }
                    after = next;
                }
                _ => return Ok(found),
            }
        }
    }

    async fn uploaded(&self, upload: &Upload) -> Answer<Option<u64>> {
        let (mut bytes, mut after) = (0_u64, String::new());
        let mut bounds = Bounds::new(self.patience);
        loop {
            let mut query = vec![("uploadId", upload.id.as_str())];
            if !after.is_empty() {
                query.insert(0, ("part-number-marker", &after));
            }
            let ask = Ask::new(Method::GET, &upload.key, &query);
            let page: ListPartsResult = self.answer(ask).await?;
            bounds.add(page.parts.len(), 0)?;
            bytes = (page.parts.iter()).fold(bytes, |sum, part| sum.saturating_add(part.size));
            match page.next_part_number_marker {
                Some(next) if page.is_truncated && next != after => after = next,
                _ => return Ok(Some(bytes)),
            }
        }
    }

    async fn check(&self, prefix: &str) -> Answer<()> {
        self.check_bucket(prefix).await
    }
}
