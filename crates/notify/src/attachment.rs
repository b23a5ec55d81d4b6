//! A piece of a file as base64, a few lines at a time, so that its size does not matter.

use crate::error::{Problem, SendError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::SystemTime;

/// Bytes in a full line: 76 characters (RFC 2045, 6.8).
const LINE_BYTES: usize = 57;
/// A full line with its end.
const LINE_ENCODED: usize = 78;
/// Lines in a piece, about 40 kB encoded.
const LINES: usize = 512;

/// A file, or a piece of one, that goes with a message. It is read while it is sent.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The name it is saved under.
    pub name: String,
    /// Its kind, as `application/gzip`.
    pub content_type: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// How many bytes `bytes` of an attachment take in a message: base64 in lines of 76 characters, each with CRLF.
pub fn encoded_attachment_size(bytes: u64) -> u64 {
    bytes.div_ceil(3) * 4 + bytes.div_ceil(LINE_BYTES as u64) * 2
}

/// The lines of one attachment, in order.
pub(crate) struct Lines {
    file: File,
    path: PathBuf,
    left: u64,
    /// Size and time of change when it was opened.
    opened: (u64, Option<SystemTime>),
    raw: Vec<u8>,
    encoded: Vec<u8>,
}

impl Lines {
    /// Opens the file and sees that it holds what was promised.
    pub(crate) fn open(attachment: &Attachment) -> Result<Self, SendError> {
        let failed = |error: &std::io::Error| {
            problem(&attachment.path, error).lasting(error.kind() == ErrorKind::NotFound)
        };
        let mut file = File::open(&attachment.path).map_err(|e| failed(&e))?;
        let meta = file.metadata().map_err(|e| failed(&e))?;
        let end = attachment.offset.checked_add(attachment.length);
        if !meta.is_file() || end.is_none_or(|end| end > meta.len()) {
            return Err(changed(&attachment.path, "holds less than was to be sent"));
        }
        file.seek(SeekFrom::Start(attachment.offset))
            .map_err(|e| failed(&e))?;
        Ok(Self {
            file,
            path: attachment.path.clone(),
            left: attachment.length,
            opened: (meta.len(), meta.modified().ok()),
            raw: vec![0; LINE_BYTES * LINES],
            encoded: vec![0; LINE_ENCODED * LINES],
        })
    }

    /// The next lines, or nothing after the last one.
    ///
    /// An error means that the message must not be ended: what follows is missing, or is of another file than what
    /// was sent already.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, SendError> {
        if self.left == 0 {
            self.unchanged()?;
            return Ok(None);
        }
        let wanted = self.left.min(self.raw.len() as u64) as usize;
        self.file
            .read_exact(&mut self.raw[..wanted])
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => changed(&self.path, "became shorter meanwhile"),
                _ => problem(&self.path, &error),
            })?;
        self.left -= wanted as u64;
        let mut at = 0;
        for line in self.raw[..wanted].chunks(LINE_BYTES) {
            let room = &mut self.encoded[at..at + LINE_ENCODED];
            let written = STANDARD.encode_slice(line, room).map_err(|error| {
                let why = std::io::Error::other(error);
                problem(&self.path, &why)
            })?;
            room[written..written + 2].copy_from_slice(b"\r\n");
            at += written + 2;
        }
        Ok(Some(&self.encoded[..at]))
    }

    fn unchanged(&self) -> Result<(), SendError> {
        let meta = self.file.metadata().map_err(|e| problem(&self.path, &e))?;
        if (meta.len(), meta.modified().ok()) != self.opened {
            return Err(changed(&self.path, "was changed meanwhile"));
        }
        Ok(())
    }
}

fn problem(path: &std::path::Path, error: &std::io::Error) -> SendError {
    SendError::new(
        Problem::Attachment,
        format!("attaching {}", path.display()),
        error.to_string(),
        "nothing was delivered; see that the file is there and can be read",
    )
}

fn changed(path: &std::path::Path, how: &str) -> SendError {
    SendError::new(
        Problem::Attachment,
        format!("attaching {}", path.display()),
        format!("the file {how}"),
        "nothing was delivered; check what writes to the file, verify it and resend the message",
    )
    .lasting(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn attachment(path: &std::path::Path, offset: u64, length: u64) -> Attachment {
        Attachment {
            name: "a.bin".to_owned(),
            content_type: "application/octet-stream".to_owned(),
            path: path.to_owned(),
            offset,
            length,
        }
    }

    fn all(lines: &mut Lines) -> Result<Vec<u8>, SendError> {
        let mut out = Vec::new();
        while let Some(piece) = lines.next()? {
            out.extend_from_slice(piece);
        }
        Ok(out)
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn what_is_promised_as_size_is_what_is_written() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let file = file(&bytes);
        for length in [0, 1, 2, 3, 56, 57, 58, 29_183, 29_184, 29_185, 100_000] {
            let mut lines = Lines::open(&attachment(file.path(), 0, length)).unwrap();
            let encoded = all(&mut lines).unwrap();
            assert_eq!(encoded.len() as u64, encoded_attachment_size(length));
            let joined: Vec<u8> = encoded
                .into_iter()
                .filter(|b| !b"\r\n".contains(b))
                .collect();
            assert_eq!(STANDARD.decode(joined).unwrap(), bytes[..length as usize]);
        }
    }

    #[test]
    fn a_piece_from_the_middle_is_that_piece() {
        let file = file(b"0123456789");
        let mut lines = Lines::open(&attachment(file.path(), 3, 4)).unwrap();
        assert_eq!(all(&mut lines).unwrap(), b"MzQ1Ng==\r\n");
    }

    #[test]
    fn a_file_that_holds_less_than_promised_is_not_begun() {
        let file = file(b"0123456789");
        for (offset, length) in [(0, 11), (8, 3), (u64::MAX, 1)] {
            let error = Lines::open(&attachment(file.path(), offset, length))
                .err()
                .unwrap();
            assert_eq!(error.problem(), Problem::Attachment);
            assert!(error.is_permanent());
        }
        let gone = file.path().with_extension("gone");
        assert!(Lines::open(&attachment(&gone, 0, 1)).is_err());
    }

    #[test]
    fn a_file_that_shrinks_or_grows_meanwhile_is_an_error_and_not_an_attachment() {
        let bytes = vec![7; 100_000];
        let shrinking = file(&bytes);
        let mut lines = Lines::open(&attachment(shrinking.path(), 0, 100_000)).unwrap();
        lines.next().unwrap().unwrap();
        shrinking.as_file().set_len(50_000).unwrap();
        assert!(all(&mut lines).is_err());

        let mut growing = file(&bytes);
        let mut lines = Lines::open(&attachment(growing.path(), 0, 100_000)).unwrap();
        lines.next().unwrap().unwrap();
        growing.write_all(b"more").unwrap();
        assert!(all(&mut lines).is_err());
    }
}
