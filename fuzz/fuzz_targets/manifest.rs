//! An archive whose manifest and entries somebody made up, with all checksums of the address right, so that what is
//! read is what is inside.
//!
//! The first byte is the codec; then the length of the manifest's text in two bytes, the text, and what the entries
//! are: raw blocks that are compressed, or with the highest bit of the first byte the compressed bytes themselves.

#![no_main]

use hubvault_archive::{Archive, Manifest};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::io::{self, Write};

fn member(zstd: bool, content: &[u8]) -> Vec<u8> {
    if zstd {
        return zstd::bulk::compress(content, 1).expect("in memory");
    }
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(content).expect("in memory");
    out.finish().expect("in memory")
}

fn archive(zstd: bool, before: &[u8], json: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("manifest.json").expect("it fits");
    header.set_size(json.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = [header.as_bytes(), json].concat();
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    let tail = member(zstd, &tar);
    let mut payload = b"HVLT\x01\0\0\0".to_vec();
    payload.extend((before.len() as u64).to_le_bytes());
    payload.extend((tail.len() as u64).to_le_bytes());
    payload.extend(Sha256::digest(&tail));
    payload.extend(crc32fast::hash(&payload).to_le_bytes());
    let (prefix, suffix): (&[u8], &[u8]) = if zstd {
        (b"\x5e\x2a\x4d\x18\x3c\0\0\0", b"")
    } else {
        (
            b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x40\0HV\x3c\0",
            b"\x03\0\0\0\0\0\0\0\0\0",
        )
    };
    [before, &tail, prefix, &payload, suffix].concat()
}

fuzz_target!(|input: &[u8]| {
    let Some(([how, low, high], rest)) = input.split_first_chunk::<3>() else {
        return;
    };
    let zstd = how & 1 == 1;
    let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (json, entries) = rest.split_at(length);
    // What is read is written the same way again.
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(json) {
        let text = serde_json::to_vec(&manifest).expect("a manifest is JSON");
        let again: Manifest = serde_json::from_slice(&text).expect("what was written is read");
        assert_eq!(again, manifest);
    }
    let before = if how & 128 == 128 {
        entries.to_vec()
    } else {
        entries
            .chunks(512)
            .flat_map(|block| member(zstd, block))
            .collect()
    };
    let Ok(archive) = Archive::open(archive(zstd, &before, json)) else {
        return;
    };
    assert!(archive.manifest().check().is_ok(), "opened, but it contradicts itself");
    for entry in &archive.manifest().entries {
        if let Some(rows) = &entry.rows {
            assert!(rows.header_bytes + rows.footer_bytes <= entry.raw_bytes, "{}", entry.name);
        }
        let verified = archive.verify_entry(entry).is_ok();
        let read = archive
            .content(entry)
            .is_ok_and(|mut content| io::copy(&mut content, &mut io::sink()).is_ok());
        assert!(
            read || !verified,
            "verified, but not to be read: {}",
            entry.name
        );
    }
});
