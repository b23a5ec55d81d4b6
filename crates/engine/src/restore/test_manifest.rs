//! A manifest for tests.

use hubvault_archive::{LoadOrder, Manifest};
use serde_json::{Value, json};

/// One of these tables, and of nothing else.
pub(super) fn manifest(tables: &[Value], load_order: LoadOrder) -> Manifest {
    let at = "2026-01-01T00:00:00Z";
    let mut manifest: Manifest = serde_json::from_value(json!({
        "format_version": 1, "id": "6f1d6c52-0000-4000-8000-000000000000", "job": "hub",
        "tool": { "name": "hubvault", "version": "0" }, "started_at": at, "finished_at": at, "codec": "gzip",
        "snapshot": {
            "id": "1", "lsn": "0/1", "taken_at": at, "database": "hub", "server_version": "15",
            "server_version_num": 150_000, "standby": false, "system_identifier": null,
        },
        "scope": { "tables": [], "exclude": [], "windows": [] }, "tables": tables, "sequences": [],
        "left_out": [], "not_valid": [], "files": [], "warnings": [], "entries": [],
    }))
    .unwrap();
    manifest.load_order = load_order;
    manifest
}
