//! Archives for tests that are about anything but their content.

use hubvault_archive::{
    ArchiveWriter, Codec, Compression, EntryBuilder, EntryKind, EntryMeta, Manifest,
};
use hubvault_model::BackupId;
use jiff::Timestamp;
use serde_json::json;

/// Bytes that do not compress.
pub(crate) fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u64 + 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// An archive of files of these sizes.
pub(crate) fn archive(id: BackupId, sizes: &[usize]) -> (Vec<u8>, Manifest) {
    let compression = Compression {
        codec: Codec::Gzip,
        level: 1,
    };
    let mut writer = ArchiveWriter::new(Vec::new(), compression);
    for (at, size) in sizes.iter().enumerate() {
        let mut builder = EntryBuilder::new(compression);
        builder.write(&noise(at, *size)).unwrap();
        let meta = EntryMeta {
            name: format!("files/{at}"),
            kind: EntryKind::Config,
            mode: 0o600,
            owner: None,
            mtime: Timestamp::UNIX_EPOCH,
            link: None,
            rows: None,
        };
        writer.append(builder.finish(meta).unwrap()).unwrap();
    }
    let at = Timestamp::UNIX_EPOCH;
    let manifest: Manifest = serde_json::from_value(json!({
        "format_version": 1, "id": id, "job": "hub",
        "tool": { "name": "hubvault", "version": "0" }, "started_at": at, "finished_at": at, "codec": "gzip",
        "snapshot": {
            "id": "1", "lsn": "0/1", "taken_at": at, "database": "hub", "server_version": "15",
            "server_version_num": 150_000, "standby": false, "system_identifier": null,
        },
        "scope": { "tables": [], "exclude": [], "windows": [] }, "tables": [], "sequences": [],
        "left_out": [], "not_valid": [], "files": [], "warnings": [], "entries": [],
    }))
    .unwrap();
    writer.finish(manifest).unwrap()
}
