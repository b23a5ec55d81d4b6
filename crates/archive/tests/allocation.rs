//! A file with false sizes does not make the reader allocate memory for them. A program of its own, because the address
//! space of the whole process is measured, with what C libraries allocate.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod forged;

use forged::{archive, manifest, member, tar_head, with_trailer};
use hubvault_archive::*;
use serde_json::{Value, json};

/// What reading may add to the process beyond an honest file's, in KiB, however much a header asks for.
const BOUND: u64 = 24 << 10;

/// The largest address space that this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:"));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    words[1].parse().unwrap()
}

/// A frame that asks for a window of 2^`log` bytes and says that it holds `size`; its content is one block of text.
fn zstd_false_size(log: u8, size: u64) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
    // An eight-byte content size, no single segment, no checksum, no dictionary.
    frame.extend([0b1100_0000, (log - 10) << 3]);
    frame.extend(size.to_le_bytes());
    // The last block, raw, of four bytes.
    frame.extend([1 | (4 << 3), 0, 0]);
    frame.extend(b"text");
    frame
}

/// A frame of a single segment: its window is its content, which it says to be `size`.
fn zstd_single_segment(size: u64) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000];
    frame.extend(size.to_le_bytes());
    frame.extend([1 | (4 << 3), 0, 0]);
    frame.extend(b"text");
    frame
}

/// What `verify` does, and a restore, which reads without verifying first.
fn read(bytes: Vec<u8>) -> Result<(), String> {
    let said = |error: ArchiveError| error.to_string();
    let archive = Archive::open(ArchiveFile::open(bytes, &Identities::default()).map_err(said)?);
    let archive = archive.map_err(said)?;
    for entry in &archive.manifest().entries {
        let content = archive.content(entry).map_err(said)?;
        let restored = std::io::copy(&mut { content }, &mut std::io::sink());
        let verified = archive.verify_entry(entry).map_err(said);
        restored.map_err(|error| error.to_string())?;
        verified?;
    }
    Ok(())
}

fn valid_archive(codec: Codec) -> Vec<u8> {
    let member = |content: &[u8]| member(codec, content);
    let content = b"text".iter().copied().chain([0; 508]).collect::<Vec<u8>>();
    let head = tar_head("database/users.sql", 4, b'0');
    let stored = [member(&head), member(&content)].concat();
    let json = manifest(codec, &stored, &json!({}));
    archive(codec, &stored, &json, json.len() as u64)
}

/// Archives that lie, each with what it lies about.
fn false_sizes() -> Vec<(String, Vec<u8>)> {
    let mut lies = Vec::new();
    for codec in [Codec::Gzip, Codec::Zstd] {
        let member = |content: &[u8]| member(codec, content);
        let head = |size| member(&tar_head("database/users.sql", size, b'0'));
        let mut lie = |what: &str, bytes| lies.push((format!("{what}, {codec:?}"), bytes));
        let entry = |stored: &[u8], change: Value| {
            let json = manifest(codec, stored, &change);
            archive(codec, stored, &json, json.len() as u64)
        };
        let stored = [head(4), member(b"text")].concat();
        for said in [512 << 20, 1 << 40, (1 << 60) - 1] {
            let json = manifest(codec, &stored, &json!({}));
            lie("the manifest's size", archive(codec, &stored, &json, said));
        }
        // The largest size that the tar's octal digits hold.
        for size in [1 << 30, 0o777_7777_7777] {
            let stored = [head(size), member(b"text")].concat();
            lie(
                "an entry's size",
                entry(&stored, json!({ "raw_bytes": size })),
            );
        }
        for size in [1_u64 << 40, u64::MAX] {
            lie("raw bytes", entry(&stored, json!({ "raw_bytes": size })));
            lie(
                "stored bytes",
                entry(&stored, json!({ "stored_bytes": size })),
            );
            let rows = json!({
                "table": { "schema": "public", "name": "users" }, "columns": ["id"], "format": "text",
                "rows": size, "digest": "0".repeat(32), "header_bytes": size, "footer_bytes": size,
            });
            lie("header and footer", entry(&stored, json!({ "rows": rows })));
        }
        for (what, kind) in [("a long name", b'L'), ("a long link", b'K')] {
            for size in [64 << 10, 65 << 10, 1 << 30] {
                let stored = [member(&tar_head("x", size, kind)), member(b"text")].concat();
                lie(what, entry(&stored, json!({})));
            }
        }
        let many = vec![tar_head("x", 0, b'L'); 2_000].concat();
        lie("names without end", entry(&member(&many), json!({})));
        for (offset, length) in [(0, u64::MAX), (u64::MAX, 0), (1 << 62, 1 << 62)] {
            let mut bytes = valid_archive(codec);
            let end = bytes.len() - if codec == Codec::Gzip { 10 } else { 0 };
            let payload = &mut bytes[end - 60..end];
            payload[8..16].copy_from_slice(&u64::to_le_bytes(offset));
            payload[16..24].copy_from_slice(&u64::to_le_bytes(length));
            let crc = crc32fast::hash(&payload[..56]).to_le_bytes();
            payload[56..].copy_from_slice(&crc);
            lie("the manifest's place", bytes);
        }
    }
    let json = |stored: &[u8]| manifest(Codec::Zstd, stored, &json!({}));
    for log in [24, 27, 30, 31, 40] {
        let frame = zstd_false_size(log, 1 << 40);
        let bytes = archive(
            Codec::Zstd,
            &frame,
            &json(&frame),
            json(&frame).len() as u64,
        );
        lies.push((format!("a window of 2^{log}"), bytes));
        lies.push((format!("a window of 2^{log} in the tail"), {
            let before = member(Codec::Zstd, b"text");
            with_trailer(Codec::Zstd, &before, &frame)
        }));
    }
    for size in [16 << 20, 1 << 30, 1 << 40, u64::MAX - 2] {
        let frame = zstd_single_segment(size);
        let bytes = archive(
            Codec::Zstd,
            &frame,
            &json(&frame),
            json(&frame).len() as u64,
        );
        lies.push((format!("a frame of {size} bytes"), bytes));
    }
    // A gzip header with a name that does not end.
    let mut endless = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff".to_vec();
    endless.resize(8 << 20, b'n');
    let json = manifest(Codec::Gzip, &endless, &json!({}));
    let bytes = archive(Codec::Gzip, &endless, &json, json.len() as u64);
    lies.push(("a gzip header without end".to_owned(), bytes));
    lies.extend(sealed_false_sizes());
    lies
}

/// Files that say that they are sealed.
fn sealed_false_sizes() -> Vec<(String, Vec<u8>)> {
    let start = "age-encryption.org/v1\n";
    let stanza = "-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\n";
    [
        (
            "a header without end",
            start.to_owned() + &stanza.repeat(200_000),
        ),
        (
            "a stanza without end",
            format!("{start}{stanza}{}", "A".repeat(16 << 20)),
        ),
        (
            "a seal without lines",
            start.to_owned() + &"\n".repeat(16 << 20),
        ),
        (
            "many stanzas",
            format!("{start}{}--- {}\n", stanza.repeat(3_000), "A".repeat(43)),
        ),
    ]
    .map(|(what, text)| (what.to_owned(), text.into_bytes()))
    .into()
}

#[test]
fn a_file_with_false_sizes_allocates_no_memory_for_them() {
    let lies = false_sizes();
    let largest = lies.iter().map(|(_, bytes)| bytes.len()).max();
    for codec in [Codec::Gzip, Codec::Zstd] {
        read(valid_archive(codec)).unwrap();
    }
    // The copies below are the test's own.
    drop(vec![1_u8; largest.unwrap_or_default()]);
    for (what, bytes) in lies {
        let (before, copy) = (peak(), bytes.clone());
        let refused = read(copy);
        let taken = peak() - before;
        assert!(refused.is_err(), "{what} was believed");
        assert!(taken <= BOUND, "{what}: {taken} KiB more; {refused:?}");
    }
    // The measure sees what it is there to see.
    let before = peak();
    drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 30)));
    assert!(peak() - before > BOUND);
}
