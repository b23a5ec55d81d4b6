//! Compresses blocks into independent members, and reads them back.

use crate::ArchiveError;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read};

/// Raw bytes in one member: small enough that a member fits a cache, large enough that cutting
/// costs next to nothing in size.
pub(crate) const BLOCK: usize = 1 << 20;

/// The first ten bytes of every gzip member that hubvault writes (RFC 1952, 2.3): no flags, no time, no extra
/// information, unknown system. A reader may require them, so that every flipped bit is noticed.
pub(crate) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The gzip level for which another library is faster than libdeflate.
const FASTEST: i32 = 1;

/// The compression of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// gzip members (RFC 1952).
    #[default]
    Gzip,
    /// zstd frames (RFC 8878).
    Zstd,
}

impl Codec {
    /// The ending of an archive's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => "tar.gz",
            Self::Zstd => "tar.zst",
        }
    }
}

/// A codec with its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The codec.
    pub codec: Codec,
    /// gzip 1 to 12, zstd 1 to 19.
    pub level: i32,
}

impl Compression {
    /// The default level: gzip's fastest, which takes a third of the next level's processor time and is at most 6 %
    /// larger (docs/performance.md), and zstd's own default.
    pub fn default_level(codec: Codec) -> i32 {
        match codec {
            Codec::Gzip => FASTEST,
            Codec::Zstd => 3,
        }
    }

    /// Whether the codec has this level.
    pub fn check_level(self) -> Result<(), ArchiveError> {
        if (1..=self.highest_level()).contains(&self.level) {
            return Ok(());
        }
        Err(self.no_level())
    }

    fn highest_level(self) -> i32 {
        match self.codec {
            Codec::Gzip => 12,
            Codec::Zstd => 19,
        }
    }

    fn no_level(self) -> ArchiveError {
        ArchiveError::Level {
            codec: match self.codec {
                Codec::Gzip => "gzip",
                Codec::Zstd => "zstd",
            },
            level: self.level,
            most: self.highest_level(),
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        let codec = Codec::default();
        Self {
            codec,
            level: Self::default_level(codec),
        }
    }
}

/// Makes members from blocks; one for each thread, reused for every block.
pub(crate) enum Compressor {
    Gzip {
        deflate: Deflate,
        scratch: Vec<u8>,
    },
    Zstd {
        context: zstd::bulk::Compressor<'static>,
    },
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> Result<Self, ArchiveError> {
        compression.check_level()?;
        match compression.codec {
            Codec::Gzip => Ok(Self::Gzip {
                deflate: Deflate::new(compression)?,
                scratch: Vec::new(),
            }),
            Codec::Zstd => {
                let make = || {
                    let mut context = zstd::bulk::Compressor::new(compression.level)?;
                    context.include_checksum(true)?;
                    context.include_contentsize(true)?;
                    Ok(context)
                };
                let context = make().map_err(ArchiveError::Compress)?;
                Ok(Self::Zstd { context })
            }
        }
    }

    /// One member that holds `block` (at most [`BLOCK`] bytes).
    pub(crate) fn member(&mut self, block: &[u8]) -> Result<Vec<u8>, ArchiveError> {
        match self {
            Self::Gzip { deflate, scratch } => {
                scratch.resize(block.len() + block.len() / 8 + 256, 0);
                let length = deflate.compress(block, scratch)?;
                let mut member = Vec::with_capacity(length + 18);
                member.extend_from_slice(&GZIP_HEADER);
                member.extend_from_slice(&scratch[..length]);
                member.extend_from_slice(&crc32fast::hash(block).to_le_bytes());
                member.extend_from_slice(&(block.len() as u32).to_le_bytes());
                Ok(member)
            }
            Self::Zstd { context } => {
                let mut member = context.compress(block).map_err(ArchiveError::Compress)?;
                member.shrink_to_fit();
                Ok(member)
            }
        }
    }
}

/// Two libraries, each where it is the faster one.
pub(crate) enum Deflate {
    /// At the size of libdeflate's level 1, in a third of its time or less. Its further levels are no smaller.
    Isal,
    Libdeflate(libdeflater::Compressor),
}

impl Deflate {
    fn new(compression: Compression) -> Result<Self, ArchiveError> {
        if compression.level == FASTEST {
            return Ok(Self::Isal);
        }
        let level = libdeflater::CompressionLvl::new(compression.level)
            .map_err(|_| compression.no_level())?;
        Ok(Self::Libdeflate(libdeflater::Compressor::new(level)))
    }

    /// The bytes of `block` as one stream (RFC 1951) in `out`, which has room for what cannot be made smaller: the number
    /// of bytes written.
    fn compress(&mut self, block: &[u8], out: &mut [u8]) -> Result<usize, ArchiveError> {
        let written = match self {
            Self::Isal => isal::compress_into(
                block,
                out,
                isal::CompressionLevel::One,
                isal::Codec::Deflate,
            )
            .map_err(std::io::Error::other),
            Self::Libdeflate(deflate) => deflate
                .deflate_compress(block, out)
                .map_err(std::io::Error::other),
        };
        written.map_err(ArchiveError::Compress)
    }
}

/// Decompresses the members of `stored`, one after the other, to its end.
pub(crate) fn decoder<'a, R: BufRead + Send + 'a>(
    codec: Codec,
    stored: R,
) -> std::io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match codec {
        // GzDecoder would stop after the first member.
        Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stored)),
        Codec::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
            // hubvault's frames hold at most a block; one that needs more memory is foreign.
            decoder.window_log_max(23)?;
            Box::new(decoder)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing, little, what compresses to almost nothing, and what does not compress at all.
    fn blocks() -> Vec<Vec<u8>> {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        vec![
            Vec::new(),
            vec![b'x'],
            b"42\tname\t2026-01-01\n".repeat(BLOCK / 20),
            vec![0; BLOCK],
            noise.take(BLOCK).collect(),
        ]
    }

    #[test]
    fn every_level_of_both_codecs_gives_back_every_block() {
        for (codec, highest) in [(Codec::Gzip, 12), (Codec::Zstd, 19)] {
            for level in 1..=highest {
                let mut compressor = Compressor::new(Compression { codec, level }).unwrap();
                for block in blocks() {
                    let member = compressor.member(&block).unwrap();
                    assert!(
                        member.len() < block.len() + block.len() / 500 + 64,
                        "{codec:?} {level}"
                    );
                    let mut back = Vec::new();
                    decoder(codec, member.as_slice())
                        .unwrap()
                        .read_to_end(&mut back)
                        .unwrap();
                    assert!(back == block, "{codec:?} {level}: {} bytes", block.len());
                }
            }
        }
    }
}
