//! Verifies one entry: reads it whole and recomputes everything that the manifest says about its content.

use crate::Codec;
use crate::codec::decoder;
use crate::entry::TarHead;
use crate::manifest::{EntryRecord, RowData};
use crate::writer::sha256_hex;
use hubvault_model::RowDigester;
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, Read};

/// Bytes that are read from the file at once.
pub(crate) const CHUNK: usize = 128 << 10;

pub(crate) fn verify_content(
    codec: Codec,
    stored: &mut (impl Read + Send),
    record: &EntryRecord,
    stop: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut decoded = decoder(codec, BufReader::with_capacity(CHUNK, stored))?;
    agree(&TarHead::read(&mut decoded)?, record)?;
    let mut hash = Sha256::new();
    let mut rows = record
        .rows
        .as_ref()
        .map(|data| Rows::new(data, record.raw_bytes));
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < record.raw_bytes {
        let want = usize::try_from(record.raw_bytes - at)
            .unwrap_or(CHUNK)
            .min(CHUNK);
        let n = decoded.read(&mut buffer[..want])?;
        if n == 0 {
            return Err(invalid(format!(
                "it ends {} bytes early",
                record.raw_bytes - at
            )));
        }
        if stop() {
            return Err(invalid("stopped on request"));
        }
        hash.update(&buffer[..n]);
        if let Some(rows) = &mut rows {
            rows.take(&buffer[..n], at);
        }
        at += n as u64;
    }
    if sha256_hex(hash) != record.sha256 {
        return Err(invalid(
            "its content is not what was written (SHA-256 differs)",
        ));
    }
    if let Some(rows) = rows {
        rows.finish()?;
    }
    padding(&mut decoded, record.raw_bytes)
}

pub(crate) fn agree(head: &TarHead, record: &EntryRecord) -> io::Result<()> {
    if head.name != record.name
        || head.size != record.raw_bytes
        || head.mode != record.mode
        || head.link != record.link
        || head.kind != record.kind.in_tar()
    {
        return Err(invalid(format!(
            "its tar header has a different name, size, mode, link or type: {}",
            head.name
        )));
    }
    Ok(())
}

pub(crate) fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// The rest of the last block is zeros, and nothing comes after.
fn padding(decoded: &mut impl Read, raw_bytes: u64) -> io::Result<()> {
    let mut rest = Vec::new();
    decoded.take(513).read_to_end(&mut rest)?;
    if rest.len() as u64 != (512 - raw_bytes % 512) % 512 || rest.iter().any(|byte| *byte != 0) {
        return Err(invalid("data other than padding follows its content"));
    }
    Ok(())
}

/// Counts the rows of an entry while its content passes.
struct Rows<'a> {
    data: &'a RowData,
    digester: RowDigester,
    begin: u64,
    end: Option<u64>,
}

impl<'a> Rows<'a> {
    fn new(data: &'a RowData, raw_bytes: u64) -> Self {
        let end = raw_bytes
            .checked_sub(data.footer_bytes)
            .filter(|end| *end >= data.header_bytes);
        Self {
            data,
            digester: RowDigester::new(data.format),
            begin: data.header_bytes,
            end,
        }
    }

    /// `piece` lies at `at` in the content.
    fn take(&mut self, piece: &[u8], at: u64) {
        let Some(end) = self.end else { return };
        let within = |place: u64| {
            usize::try_from(place.saturating_sub(at))
                .unwrap_or(usize::MAX)
                .min(piece.len())
        };
        let (from, to) = (within(self.begin), within(end));
        if from < to {
            self.digester.update(&piece[from..to]);
        }
    }

    fn finish(self) -> io::Result<()> {
        if self.end.is_none() {
            return Err(invalid("its header and footer are longer than its content"));
        }
        let found = self.digester.finish().map_err(|e| invalid(e.to_string()))?;
        let said = self.data.digest;
        if found.rows != said.rows {
            return Err(invalid(format!(
                "it holds {} rows, the manifest says {}",
                found.rows, said.rows
            )));
        }
        if found != said {
            return Err(invalid("its row digest differs from the manifest's"));
        }
        Ok(())
    }
}
