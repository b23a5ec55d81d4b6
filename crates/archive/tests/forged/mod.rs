//! Forged archives whose checksums are all right.

use hubvault_archive::{Codec, hex};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;

/// One member or frame.
pub(crate) fn member(codec: Codec, content: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(content).unwrap();
            // The header of ours: no time, no system.
            let mut member = out.finish().unwrap();
            member[4..10].copy_from_slice(&[0, 0, 0, 0, 0, 0xff]);
            member
        }
        Codec::Zstd => zstd::bulk::compress(content, 3).unwrap(),
    }
}

/// A tar header; `size` is what it says.
pub(crate) fn tar_head(name: &str, size: u64, kind: u8) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o640);
    header.set_mtime(0);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// An archive with this manifest's text and these bytes before it.
pub(crate) fn archive(codec: Codec, before: &[u8], json: &[u8], said: u64) -> Vec<u8> {
    let mut tar = tar_head("manifest.json", said, b'0');
    tar.extend(json);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    let tail = member(codec, &tar);
    with_trailer(codec, before, &tail)
}

pub(crate) fn with_trailer(codec: Codec, before: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut payload = b"HVLT\x01\0\0\0".to_vec();
    payload.extend((before.len() as u64).to_le_bytes());
    payload.extend((tail.len() as u64).to_le_bytes());
    payload.extend(Sha256::digest(tail));
    payload.extend(crc32fast::hash(&payload).to_le_bytes());
    let (prefix, suffix): (&[u8], &[u8]) = match codec {
        Codec::Gzip => (
            b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x40\0HV\x3c\0",
            b"\x03\0\0\0\0\0\0\0\0\0",
        ),
        Codec::Zstd => (b"\x5e\x2a\x4d\x18\x3c\0\0\0", b""),
    };
    [before, tail, prefix, &payload, suffix].concat()
}

/// The text of a manifest with one entry, which is `change` where that says something.
pub(crate) fn manifest(codec: Codec, stored: &[u8], change: &Value) -> Vec<u8> {
    let mut entry = json!({
        "name": "database/users.sql", "kind": "table-data", "offset": 0, "stored_bytes": stored.len(),
        "raw_bytes": 4, "sha256": hex(&Sha256::digest(b"text")), "stored_sha256": hex(&Sha256::digest(stored)),
        "mode": 0o640, "link": null, "rows": null,
    });
    for (key, value) in change.as_object().unwrap() {
        entry[key] = value.clone();
    }
    // The table that has those rows.
    let tables: Vec<Value> = (entry["rows"].as_object().into_iter())
        .map(|rows| {
            json!({
                "schema": rows["table"]["schema"], "name": rows["table"]["name"], "coverage": "whole", "filter": null,
                "columns": rows["columns"], "format": rows["format"], "rows": rows["rows"], "digest": rows["digest"],
                "bytes": 0, "entries": [entry["name"]],
            })
        })
        .collect();
    let at = "2026-01-01T00:00:00Z";
    serde_json::to_vec(&json!({
        "format_version": 1, "id": "6f1d6c52-0000-4000-8000-000000000000", "job": "hub",
        "tool": { "name": "hubvault", "version": "0" }, "started_at": at, "finished_at": at, "codec": codec,
        "snapshot": {
            "id": "1", "lsn": "0/1", "taken_at": at, "database": "hub", "server_version": "15",
            "server_version_num": 150_000, "standby": false, "system_identifier": null,
        },
        "scope": { "tables": [], "exclude": [], "windows": [] }, "tables": tables, "sequences": [],
        "left_out": [], "not_valid": [], "files": [], "warnings": [], "entries": [entry],
    }))
    .unwrap()
}
