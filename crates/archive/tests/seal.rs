//! A sealed archive is read like an unsealed one, by its recipients and by nobody else.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use hubvault_archive::*;
use jiff::Timestamp;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PUBLIC: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
const SSH: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBIeIJ74+QJ9m4rrjJ1XIs5ab67NfM5YnvucocpO7ArU";
/// A piece of a sealed file, before and after sealing.
const PIECE: usize = 64 << 10;
const SEALED_PIECE: usize = PIECE + 16;

fn recipients() -> Vec<Recipient> {
    vec![PUBLIC.parse().unwrap(), SSH.parse().unwrap()]
}

fn sealed(bytes: &[u8]) -> (Vec<u8>, Identities) {
    let (mut out, identities) = seal(Vec::new(), &recipients()).unwrap();
    out.write_all(bytes).unwrap();
    (out.finish().unwrap().0, identities)
}

fn identities(text: &str) -> Identities {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Identities::read(file.path()).unwrap()
}

fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn manifest(codec: Codec) -> Manifest {
    let json = serde_json::json!({
        "format_version": FORMAT_VERSION, "id": "6f1d6c52-0000-4000-8000-000000000000",
        "job": "hub", "tool": { "name": "hubvault", "version": "0" },
        "started_at": Timestamp::UNIX_EPOCH, "finished_at": Timestamp::UNIX_EPOCH, "codec": codec,
        "snapshot": {
            "id": "1", "lsn": "0/1", "taken_at": Timestamp::UNIX_EPOCH, "database": "hub",
            "server_version": "15", "server_version_num": 150_000, "standby": false,
            "system_identifier": null,
        },
        "scope": { "tables": [], "exclude": [], "windows": [] }, "tables": [], "sequences": [],
        "left_out": [], "not_valid": [], "files": [], "warnings": [], "entries": [],
    });
    serde_json::from_value(json).unwrap()
}

/// An archive with an entry for each content, in the clear.
fn archive(codec: Codec, contents: &[Vec<u8>]) -> Vec<u8> {
    let compression = Compression { codec, level: 1 };
    let mut writer = ArchiveWriter::new(Vec::new(), compression);
    for (i, content) in contents.iter().enumerate() {
        let mut builder = EntryBuilder::new(compression);
        builder.write(content).unwrap();
        let meta = EntryMeta {
            name: format!("e{i}"),
            kind: EntryKind::Config,
            mode: 0o600,
            owner: None,
            mtime: Timestamp::UNIX_EPOCH,
            link: None,
            rows: None,
        };
        writer.append(builder.finish(meta).unwrap()).unwrap();
    }
    writer.finish(manifest(codec)).unwrap().0
}

/// Everything that `verify` does to a file.
fn verify(bytes: Vec<u8>, identities: &Identities) -> Result<(), ArchiveError> {
    let archive = Archive::open(ArchiveFile::open(bytes, identities)?)?;
    for entry in &archive.manifest().entries {
        archive.verify_entry(entry)?;
    }
    Ok(())
}

#[test]
fn only_recipients_and_the_run_itself_can_open_an_archive() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let (bytes, of_run) = sealed(&archive(codec, &[noise(200_000, 1), Vec::new()]));
        verify(bytes.clone(), &of_run).unwrap();
        verify(bytes.clone(), &identities(SECRET)).unwrap();
        let (_, of_another_run) = sealed(b"");
        for (others, words) in [
            (Identities::none(), "--identity FILE"),
            (of_another_run, "(1)"),
        ] {
            let error = verify(bytes.clone(), &others).unwrap_err();
            assert!(error.is_sealed());
            let said = error.to_string();
            assert!(
                said.contains("sealed to 2 recipients") && said.contains(words),
                "{said}"
            );
        }
        // The key that fits may be any of several.
        let mut several = sealed(b"").1;
        several.add(identities(SECRET));
        let file = ArchiveFile::open(bytes, &several).unwrap();
        assert_eq!(file.opened_by(), [PUBLIC.parse().unwrap()]);
    }
}

#[test]
fn sealing_without_recipients_is_refused() {
    assert!(seal(Vec::new(), &[]).is_err());
}

#[test]
fn the_checksum_of_a_sealed_file_is_that_of_its_bytes() {
    use sha2::{Digest, Sha256};
    let (mut out, _) = seal(Vec::new(), &recipients()).unwrap();
    out.write_all(&noise(3 * PIECE, 2)).unwrap();
    let (bytes, sha256) = out.finish().unwrap();
    assert_eq!(sha256, hex(&Sha256::digest(&bytes)));
}

#[test]
fn every_truncation_and_every_flipped_bit_of_a_sealed_archive_is_found() {
    let (whole, of_run) = sealed(&archive(Codec::Gzip, &[b"hello\n".to_vec()]));
    verify(whole.clone(), &of_run).unwrap();
    for keep in 0..whole.len() {
        assert!(
            verify(whole[..keep].to_vec(), &of_run).is_err(),
            "{keep} bytes"
        );
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(verify(longer, &of_run).is_err());
    // One bit of every byte.
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(
            verify(flipped, &of_run).is_err(),
            "byte {at} of {}",
            whole.len()
        );
    }
}

#[test]
fn removed_or_changed_pieces_of_a_sealed_archive_are_found() {
    let clear = archive(Codec::Zstd, &[noise(300_000, 3), noise(100_000, 4)]);
    let (whole, of_run) = sealed(&clear);
    let head = whole.len() - clear.len() - clear.len().div_ceil(PIECE) * 16;
    verify(whole.clone(), &of_run).unwrap();
    for pieces in 0..clear.len() / PIECE {
        // Where a piece ends, and beside that.
        let end = head + pieces * SEALED_PIECE;
        for keep in [end - 1, end, end + 1, end + 17] {
            assert!(
                verify(whole[..keep].to_vec(), &of_run).is_err(),
                "{keep} bytes"
            );
        }
        let without = [&whole[..end], &whole[end + SEALED_PIECE..]].concat();
        assert!(verify(without, &of_run).is_err(), "without piece {pieces}");
    }
    for at in (0..whole.len()).step_by(1_999) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(verify(flipped, &of_run).is_err(), "byte {at}");
    }
}

/// A source that counts what is read of it.
struct Counting {
    bytes: Vec<u8>,
    read: Arc<AtomicU64>,
}

impl Source for Counting {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let n = self.bytes.read_at(buffer, offset)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn size(&self) -> std::io::Result<u64> {
        self.bytes.size()
    }
}

#[test]
fn one_entry_of_a_sealed_archive_is_read_without_the_rest() {
    let contents = [noise(8 << 20, 5), noise(1_000, 6), noise(8 << 20, 7)];
    let (bytes, of_run) = sealed(&archive(Codec::Gzip, &contents));
    let size = bytes.len() as u64;
    let read = Arc::new(AtomicU64::new(0));
    let source = Counting {
        bytes,
        read: Arc::clone(&read),
    };
    let archive = Archive::open(ArchiveFile::open(source, &of_run).unwrap()).unwrap();
    assert_eq!(archive.size(), size);
    let mut content = Vec::new();
    let entry = archive.entry("e1").unwrap();
    archive
        .content(entry)
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    assert_eq!(content, contents[1]);
    let read = read.load(Ordering::Relaxed);
    assert!(
        read < 8 * SEALED_PIECE as u64,
        "{read} of {size} bytes were read"
    );
}

#[test]
fn many_threads_read_one_sealed_archive() {
    let contents: Vec<Vec<u8>> = (0..40).map(|n| noise(40_000 * n, n as u64)).collect();
    let (bytes, of_run) = sealed(&archive(Codec::Zstd, &contents));
    let archive = Archive::open(ArchiveFile::open(bytes, &of_run).unwrap()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let (archive, contents) = (&archive, &contents);
            scope.spawn(move || {
                for n in 0..contents.len() {
                    let n = (n * 7 + thread * 11) % contents.len();
                    let entry = archive.entry(&format!("e{n}")).unwrap();
                    let mut content = Vec::new();
                    archive
                        .content(entry)
                        .unwrap()
                        .read_to_end(&mut content)
                        .unwrap();
                    assert!(content == contents[n]);
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn random_reads_of_a_sealed_file_equal_those_of_the_plain_one(
        pieces in 0usize..5,
        more in prop_oneof![Just(0usize), Just(1), 0..PIECE],
        seed in any::<u64>(),
        reads in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..200_000, -2i64..3), 1..60),
    ) {
        let plain = noise(pieces * PIECE + more, seed);
        let (bytes, of_run) = sealed(&plain);
        let file = ArchiveFile::open(bytes, &of_run).unwrap();
        prop_assert_eq!(file.size().unwrap(), plain.len() as u64);
        let mut last = 0;
        for (index, length, near) in reads {
            let offset = match near {
                // Where the last read ended, at the border of a piece, or anywhere.
                -2 => last,
                -1 => index.index(pieces + 1) * PIECE,
                _ => index.index(plain.len() + 20),
            };
            let mut buffer = vec![0; length];
            let n = file.read_at(&mut buffer, offset as u64).unwrap();
            let rest = plain.get(offset..).unwrap_or_default();
            prop_assert_eq!(&buffer[..n], &rest[..n]);
            prop_assert!(n > 0 || length == 0 || rest.is_empty());
            last = offset + n;
        }
    }

    #[test]
    fn a_hostile_sealed_file_never_makes_the_reader_panic(
        lines in proptest::collection::vec("(-> )?(X25519|ssh-ed25519|ssh-rsa|scrypt|---)?[ A-Za-z0-9+/]{0,70}", 0..8),
        tail in proptest::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let mut bytes = b"age-encryption.org/v1\n".to_vec();
        for line in lines {
            bytes.extend(line.bytes());
            bytes.push(b'\n');
        }
        bytes.extend(tail);
        prop_assert!(verify(bytes, &identities(SECRET)).is_err());
    }
}

/// Takes some bytes at a time and, after so many, none: a file on a disk that fills.
struct Disk {
    room: usize,
    written: Vec<u8>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.written.len() == self.room {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let some = bytes.len().min(7).min(self.room - self.written.len());
        self.written.extend_from_slice(&bytes[..some]);
        Ok(some)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_at_any_byte_of_a_seal_is_an_error_and_short_writes_continue() {
    let content = b"two chunks".repeat(10_000);
    let seal_to = |room| {
        let disk = Disk {
            room,
            written: Vec::new(),
        };
        let (mut sealing, of_run) = seal(disk, &recipients()).unwrap();
        sealing.write_all(&content)?;
        Ok::<_, std::io::Error>((sealing.finish()?.0.written, of_run))
    };
    let (whole, of_run) = seal_to(usize::MAX).unwrap();
    let opened = ArchiveFile::open(whole.clone(), &of_run).unwrap();
    assert_eq!(opened.size().unwrap(), content.len() as u64);
    // The header has another length each time.
    let rooms = (0..2_000)
        .step_by(97)
        .chain((2_000..whole.len() - 1_000).step_by(10_000));
    for room in rooms {
        let error = seal_to(room).err().unwrap();
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::StorageFull,
            "{room} bytes: {error}"
        );
    }
}

#[test]
fn a_full_disk_under_a_large_seal_header_is_an_error() {
    let disk = Disk {
        room: 0,
        written: Vec::new(),
    };
    let crowd: Vec<Recipient> = (0..2_000).map(|_| PUBLIC.parse().unwrap()).collect();
    let error = seal(disk, &crowd).err().unwrap();
    assert!(matches!(error, ArchiveError::Write { .. }), "{error}");
    assert!(error.to_string().contains("the seal"), "{error}");
}
