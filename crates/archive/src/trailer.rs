//! The last bytes of an archive, which hold the offset of the manifest.
//!
//! For gzip they are an empty member with an extra field (RFC 1952, 2.3.1.1), for zstd a skippable
//! frame (RFC 8878, 3.1.2): standard tools skip them.

use crate::{ArchiveError, Codec};

/// `HVLT`, the version of this trailer, three zero bytes, offset and length of the tail, its
/// SHA-256, and the CRC-32 of all that.
const PAYLOAD: usize = 4 + 4 + 8 + 8 + 32 + 4;
const MAGIC: [u8; 8] = *b"HVLT\x01\0\0\0";

const GZIP_PREFIX: [u8; 16] = [
    0x1f,
    0x8b,
    8,
    4,
    0,
    0,
    0,
    0,
    0,
    0xff, // header with FEXTRA
    PAYLOAD as u8 + 4,
    0, // XLEN
    b'H',
    b'V',
    PAYLOAD as u8,
    0, // the subfield
];
/// An empty deflate stream with its CRC-32 and length.
const GZIP_SUFFIX: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const ZSTD_PREFIX: [u8; 8] = [0x5e, 0x2a, 0x4d, 0x18, PAYLOAD as u8, 0, 0, 0];

/// The position of the tail: the manifest's entry and the end of the tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) sha256: [u8; 32],
}

fn frame(codec: Codec) -> (&'static [u8], &'static [u8]) {
    match codec {
        Codec::Gzip => (&GZIP_PREFIX, &GZIP_SUFFIX),
        Codec::Zstd => (&ZSTD_PREFIX, &[]),
    }
}

/// The length of a codec's trailer, in bytes.
pub(crate) fn length(codec: Codec) -> usize {
    let (prefix, suffix) = frame(codec);
    prefix.len() + PAYLOAD + suffix.len()
}

impl Trailer {
    pub(crate) fn write(&self, codec: Codec) -> Vec<u8> {
        let (prefix, suffix) = frame(codec);
        let mut payload = Vec::with_capacity(PAYLOAD);
        payload.extend_from_slice(&MAGIC);
        payload.extend_from_slice(&self.offset.to_le_bytes());
        payload.extend_from_slice(&self.length.to_le_bytes());
        payload.extend_from_slice(&self.sha256);
        payload.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        [prefix, &payload, suffix].concat()
    }

    /// Reads the trailer from the last bytes of a file; every byte is checked.
    pub(crate) fn read(codec: Codec, bytes: &[u8]) -> Result<Self, ArchiveError> {
        let foreign = |what: &str| ArchiveError::Foreign(what.to_owned());
        let (prefix, suffix) = frame(codec);
        let payload = bytes
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(suffix))
            .filter(|payload| payload.len() == PAYLOAD && payload.starts_with(&MAGIC))
            .ok_or_else(|| foreign("it does not end with a trailer"))?;
        let (body, crc) = payload.split_at(PAYLOAD - 4);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return Err(foreign("the trailer's checksum is wrong"));
        }
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&body[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(&body[24..56]);
        Ok(Self {
            offset: number(8),
            length: number(16),
            sha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_of_a_trailer_can_flip_unseen() {
        let trailer = Trailer {
            offset: 77,
            length: 1 << 40,
            sha256: [9; 32],
        };
        for codec in [Codec::Gzip, Codec::Zstd] {
            let bytes = trailer.write(codec);
            assert_eq!(bytes.len(), length(codec));
            assert_eq!(Trailer::read(codec, &bytes).unwrap(), trailer);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    Trailer::read(codec, &flipped).is_err(),
                    "{codec:?} bit {bit}"
                );
            }
        }
    }

    #[test]
    fn a_trailer_of_another_version_or_length_is_not_taken() {
        let trailer = Trailer {
            offset: 77,
            length: 78,
            sha256: [9; 32],
        };
        for codec in [Codec::Gzip, Codec::Zstd] {
            let (prefix, suffix) = frame(codec);
            let bytes = trailer.write(codec);
            let mut payload = bytes[prefix.len()..prefix.len() + PAYLOAD].to_vec();
            payload[4] = 2;
            let crc = crc32fast::hash(&payload[..PAYLOAD - 4]).to_le_bytes();
            payload[PAYLOAD - 4..].copy_from_slice(&crc);
            for payload in [payload.as_slice(), MAGIC.as_slice(), &[]] {
                let other = [prefix, payload, suffix].concat();
                assert!(
                    Trailer::read(codec, &other).is_err(),
                    "{codec:?} {payload:?}"
                );
            }
        }
    }
}
