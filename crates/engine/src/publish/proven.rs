//! Content on its way to a store that ends only where it is what was proven.

use super::copy_error::CopyError;
use hubvault_archive::hex;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// What is done once all of it was read and compared, before a store is told that it ends.
type BeforeEnd<'a> = dyn FnMut() -> Result<(), CopyError> + 'a;

/// A stream that fails instead of ending where it is not so many bytes with this SHA-256. No store makes an object of
/// content that fails, so that one reading is enough: nothing else ever has the object's key.
pub(super) struct Proven<'a, R> {
    inner: R,
    hash: Sha256,
    left: u64,
    sha256: &'a str,
    before_end: &'a mut BeforeEnd<'a>,
    end: Option<Result<(), NotProven>>,
}

/// Why it fails instead of ending.
#[derive(Debug)]
pub(super) enum NotProven {
    /// It is something else.
    Differs,
    /// What is done before its end failed.
    BeforeEnd(CopyError),
}

impl<'a, R: Read> Proven<'a, R> {
    /// Nothing was read yet.
    pub(super) fn new(
        inner: R,
        (bytes, sha256): (u64, &'a str),
        before_end: &'a mut BeforeEnd<'a>,
    ) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            left: bytes,
            sha256,
            before_end,
            end: None,
        }
    }

    /// Why it failed, where it was not the reading.
    pub(super) fn into_failure(self) -> Option<NotProven> {
        self.end.and_then(Result::err)
    }

    fn end(&mut self) -> Result<(), NotProven> {
        if self.left > 0 || hex(&self.hash.finalize_reset()) != self.sha256 {
            return Err(NotProven::Differs);
        }
        (self.before_end)().map_err(NotProven::BeforeEnd)
    }
}

impl<R: Read> Read for Proven<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.end.is_none() && !buffer.is_empty() {
            let read = self.inner.read(buffer)?;
            // What is too long is not read to its end.
            if let Some(left) = self.left.checked_sub(read as u64)
                && read > 0
            {
                self.hash.update(&buffer[..read]);
                self.left = left;
                return Ok(read);
            }
            self.end = Some(if read > 0 {
                Err(NotProven::Differs)
            } else {
                self.end()
            });
        }
        match self.end {
            Some(Err(_)) => Err(io::Error::other("it is not what was proven")),
            _ => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> String {
        hex(&Sha256::digest(bytes))
    }

    #[test]
    fn it_ends_only_where_every_byte_is_the_proven_one() {
        let proven = b"what was proven";
        let known = sha256(proven);
        for (content, is_proven) in [
            (&b"what was proven"[..], true),
            (b"what was proveN", false),
            (b"what was prove", false),
            (b"what was proven.", false),
            (b"", false),
        ] {
            let mut calls = 0;
            let mut before = || {
                calls += 1;
                Ok(())
            };
            let mut stream = Proven::new(content, (proven.len() as u64, &known), &mut before);
            let mut read = Vec::new();
            assert_eq!(stream.read_to_end(&mut read).is_ok(), is_proven);
            // Whoever asks once more gets the same answer.
            assert_eq!(stream.read_to_end(&mut read).is_ok(), is_proven);
            let failure = stream.into_failure();
            assert_eq!(failure.is_none(), is_proven, "{failure:?}");
            assert_eq!(
                calls,
                usize::from(is_proven),
                "once, and only for what is proven"
            );
        }
    }

    #[test]
    fn what_grows_after_it_was_compared_has_ended() {
        struct Growing(u8);
        impl Read for Growing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 == 2 {
                    return Ok(0);
                }
                buffer[0] = 7;
                Ok(1)
            }
        }
        let known = sha256(&[7]);
        let mut before = || Ok(());
        let mut stream = Proven::new(Growing(0), (1, &known), &mut before);
        let mut read = Vec::new();
        stream.read_to_end(&mut read).unwrap();
        stream.read_to_end(&mut read).unwrap();
        assert_eq!(read, [7]);
    }

    #[test]
    fn what_fails_before_the_end_is_handed_on() {
        let known = sha256(b"x");
        let mut before = || Err(CopyError::Stopped);
        let mut stream = Proven::new(&b"x"[..], (1, &known), &mut before);
        stream.read_to_end(&mut Vec::new()).unwrap_err();
        let failure = stream.into_failure();
        assert!(matches!(
            failure,
            Some(NotProven::BeforeEnd(CopyError::Stopped))
        ));
    }
}
