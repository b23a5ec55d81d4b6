//! Content into a bucket: one request for what is small, else parts, several at once, in bounded memory.

use super::backend::{Backend, Condition, Part, Piece};
use super::failure::{Answer, Failure};
use super::parts::{MIB, Parts};
use super::tries::{Tries, retried};
use super::waiting::{Begun, begin, wait};
use crate::error::ErrorKind;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

/// How much is being sent at most while the next part is read, unless a single part is larger.
const IN_FLIGHT: usize = 32 * MIB;

/// What was stored.
#[derive(Debug)]
pub(crate) struct Sent {
    /// How much.
    pub(crate) bytes: u64,
    /// The version that the store gave it.
    pub(crate) version: Option<String>,
    /// Its checksum as the store writes it.
    pub(crate) checksum: Option<String>,
}

/// Stores what `content` yields.
pub(crate) fn upload<B: Backend>(
    backend: &Arc<B>,
    key: &str,
    content: &mut dyn Read,
    parts: Parts,
) -> Answer<Sent> {
    let mut source = Source { content, bytes: 0 };
    let size = part_size(parts, 1)?;
    let first = source.piece(size)?;
    if first.bytes.len() < size {
        let checksum = backend.checksum_of(&[first.sha256], true);
        let version = put(backend, key, first)?;
        return Ok(source.sent(version, checksum));
    }
    let id = {
        let (backend, key) = (Arc::clone(backend), key.to_owned());
        wait(async move { retried(&*backend, || backend.begin(&key)).await })?
    };
    let multipart = Multipart {
        backend: Arc::clone(backend),
        key: key.to_owned(),
        id,
    };
    let sent = multipart.send(&mut source, first, parts);
    match sent {
        Ok((version, checksum)) => Ok(source.sent(version, checksum)),
        Err(failure) => {
            // What this cannot end, `remove_unfinished` does later.
            let _ = multipart.abort(failure.status != 0);
            Err(failure)
        }
    }
}

fn put<B: Backend>(backend: &Arc<B>, key: &str, piece: Piece) -> Answer<Option<String>> {
    let (backend, key) = (Arc::clone(backend), key.to_owned());
    wait(async move {
        retried(&*backend, || {
            backend.put(&key, piece.clone(), &Condition::Always)
        })
        .await
    })
}

fn part_size(parts: Parts, number: usize) -> Answer<usize> {
    let why = "it is larger than the 5 TiB that a store takes";
    let too_large = || Failure::new(ErrorKind::Failed, why);
    parts.size(number).ok_or_else(too_large)
}

/// The content as it is read.
struct Source<'a> {
    content: &'a mut dyn Read,
    bytes: u64,
}

impl Source<'_> {
    /// The next bytes: so many, or fewer at the end.
    fn piece(&mut self, size: usize) -> Answer<Piece> {
        // At once, as a buffer that grows is there twice for a moment; what is not written takes no memory.
        let mut bytes = Vec::with_capacity(size);
        let read = self.content.take(size as u64).read_to_end(&mut bytes);
        read.map_err(|error| {
            let text = format!("reading what is to be stored: {error}");
            Failure::new(ErrorKind::Content, text)
        })?;
        self.bytes += bytes.len() as u64;
        let sha256 = Sha256::digest(&bytes).into();
        Ok(Piece {
            bytes: bytes.into(),
            sha256,
        })
    }

    fn sent(self, version: Option<String>, checksum: Option<String>) -> Sent {
        Sent {
            bytes: self.bytes,
            version,
            checksum,
        }
    }
}

/// An upload in parts.
struct Multipart<B> {
    backend: Arc<B>,
    key: String,
    id: String,
}

/// A part on its way.
struct Flying {
    part: Begun<Answer<String>>,
    sha256: [u8; 32],
    bytes: usize,
}

impl<B: Backend> Multipart<B> {
    fn send(
        &self,
        source: &mut Source<'_>,
        first: Piece,
        parts: Parts,
    ) -> Answer<(Option<String>, Option<String>)> {
        let (mut flying, mut in_flight) = (VecDeque::<Flying>::new(), 0);
        let (mut done, mut piece, mut number) = (Vec::new(), first, 1);
        while !piece.bytes.is_empty() {
            let bytes = piece.bytes.len();
            while in_flight + bytes > IN_FLIGHT {
                let Some(oldest) = flying.pop_front() else {
                    break;
                };
                in_flight -= oldest.bytes;
                done.push(oldest.land()?);
            }
            in_flight += bytes;
            flying.push_back(self.start(number, piece)?);
            number += 1;
            piece = source.piece(part_size(parts, number)?)?;
        }
        for last in flying {
            done.push(last.land()?);
        }
        let sums: Vec<_> = done.iter().map(|part| part.sha256).collect();
        let checksum = self.backend.checksum_of(&sums, false);
        let version = self.complete(done, source.bytes, checksum.clone())?;
        Ok((version, checksum))
    }

    fn start(&self, number: usize, piece: Piece) -> Answer<Flying> {
        let (sha256, bytes) = (piece.sha256, piece.bytes.len());
        let (backend, key, id) = (Arc::clone(&self.backend), self.key.clone(), self.id.clone());
        let part = begin(async move {
            retried(&*backend, || backend.send(&key, &id, number, piece.clone())).await
        })?;
        Ok(Flying {
            part,
            sha256,
            bytes,
        })
    }

    /// Makes the object. Where an answer is lost, the object itself is asked whether it is this one.
    fn complete(
        &self,
        parts: Vec<Part>,
        bytes: u64,
        checksum: Option<String>,
    ) -> Answer<Option<String>> {
        let (backend, key, id) = (Arc::clone(&self.backend), self.key.clone(), self.id.clone());
        wait(async move {
            let (mut tries, mut is_uncertain) = (Tries::of(&*backend), false);
            loop {
                let mut failure = match backend.complete(&key, &id, &parts).await {
                    Ok(version) => return Ok(version),
                    Err(failure) => failure,
                };
                is_uncertain |= failure.is_uncertain;
                let found = match failure.is_silence() {
                    true => backend.head(&key).await,
                    false if is_uncertain => tries.retried(|| backend.head(&key)).await,
                    false => Ok(None),
                };
                failure.is_uncertain = is_uncertain;
                match found {
                    Ok(Some(meta))
                        if meta.bytes == bytes
                            && meta.checksum.is_some()
                            && meta.checksum == checksum =>
                    {
                        return Ok(meta.version);
                    }
                    // Silent twice.
                    Err(error) if error.is_silence() => return Err(failure),
                    _ => {}
                }
                if !tries.pause(&failure).await {
                    return Err(failure);
                }
            }
        })
    }

    /// Ends the upload; once where the store did not even answer before.
    fn abort(&self, is_answering: bool) -> Answer<()> {
        let (backend, key, id) = (Arc::clone(&self.backend), self.key.clone(), self.id.clone());
        wait(async move {
            if is_answering {
                retried(&*backend, || backend.abort(&key, &id)).await
            } else {
                backend.abort(&key, &id).await
            }
        })
    }
}

impl Flying {
    fn land(self) -> Answer<Part> {
        // Nothing but a part can be there of it, which is no object.
        let id = self.part.wait()?.map_err(Failure::of_read)?;
        Ok(Part {
            id,
            sha256: self.sha256,
        })
    }
}
