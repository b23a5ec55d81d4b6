//! Reading an archive back finds a manifest whose tables, rows and entries do not fit together, and a file that is not
//! the one that was written. It stops when cancelled and keeps limits of size.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hubvault_archive::{
    AnyArchive, ArchiveFile, ArchiveWriter, Codec, Compression, Coverage, EntryBuilder, EntryKind,
    EntryMeta, Identities, Manifest, Recipient, RowData, Source, TableSummary, seal,
};
use hubvault_engine::catalog::sidecar::Seal;
use hubvault_engine::job::SizeLimits;
use hubvault_engine::proof::integrity::{check, read_back, read_back_open, same_file};
use hubvault_engine::proof::{IntegrityError, WrittenArchive};
use hubvault_model::{ByteSize, Cancel, RowDigest, RowDigester, RowFormat, TableName};
use jiff::Timestamp;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const ROWS: &[u8] = b"1\n2\n3\n";

fn digest() -> RowDigest {
    let mut digester = RowDigester::new(RowFormat::Text);
    digester.update(ROWS);
    digester.finish().unwrap()
}

fn users() -> TableName {
    TableName::new("public", "users")
}

fn rows() -> RowData {
    RowData {
        table: users(),
        columns: vec!["id".into()].into(),
        format: RowFormat::Text,
        encoding: None,
        digest: digest(),
        header_bytes: 0,
        footer_bytes: 0,
    }
}

fn table() -> TableSummary {
    TableSummary {
        name: users(),
        extension: None,
        coverage: Coverage::Whole,
        filter: None,
        window: None,
        columns: vec!["id".into()].into(),
        format: RowFormat::Text,
        encoding: None,
        digest: digest(),
        added_rows: 0,
        source_digest: None,
        computed: None,
        bytes: ROWS.len() as u64,
        entries: vec!["database/users.sql".into()],
    }
}

fn manifest(tables: Vec<TableSummary>) -> Manifest {
    let at = Timestamp::UNIX_EPOCH;
    let mut manifest: Manifest = serde_json::from_value(json!({
        "format_version": 1, "id": "6f1d6c52-0000-4000-8000-000000000000", "job": "hub",
        "tool": { "name": "hubvault", "version": "0" }, "started_at": at, "finished_at": at, "codec": "gzip",
        "snapshot": {
            "id": "1", "lsn": "0/1", "taken_at": at, "database": "hub", "server_version": "15",
            "server_version_num": 150_000, "standby": false, "system_identifier": null,
        },
        "scope": { "tables": [], "exclude": [], "windows": [] }, "tables": [], "sequences": [],
        "left_out": [], "not_valid": [], "files": [], "warnings": [], "entries": [],
    }))
    .unwrap();
    manifest.tables = tables;
    manifest
}

/// An archive of one entry with rows, and a manifest that says this of its tables.
fn write(path: &Path, rows: Option<RowData>, tables: Vec<TableSummary>) -> Manifest {
    let compression = Compression {
        codec: Codec::Gzip,
        level: 1,
    };
    let mut builder = EntryBuilder::new(compression);
    builder.write(ROWS).unwrap();
    let entry = builder.finish(EntryMeta {
        name: "database/users.sql".into(),
        kind: EntryKind::TableData,
        mode: 0o600,
        owner: None,
        mtime: Timestamp::UNIX_EPOCH,
        link: None,
        rows,
    });
    let mut writer = ArchiveWriter::new(Vec::new(), compression);
    writer.append(entry.unwrap()).unwrap();
    let (bytes, manifest) = writer.finish(manifest(tables)).unwrap();
    std::fs::write(path, bytes).unwrap();
    manifest
}

fn temporary_file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar.gz");
    (directory, path)
}

fn error_text(path: &Path) -> String {
    let read = read_back(path, &Identities::none(), 2, &|_| {}, &Cancel::new());
    read.map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn tables_with_wrong_counts_are_named() {
    let (_directory, path) = temporary_file();
    let other = TableName::new("public", "others");
    let nothing = RowDigest::default();
    let mut turned = digest();
    turned.add_row(b"4");
    let turned = RowDigest { rows: 3, ..turned };
    for (rows_of_entry, tables, words) in [
        (Some(rows()), vec![table()], ""),
        (
            None,
            vec![table()],
            "users: its entry database/users.sql is missing",
        ),
        (
            Some(RowData {
                table: other.clone(),
                ..rows()
            }),
            vec![table()],
            "is missing or belongs to another table",
        ),
        (
            Some(rows()),
            vec![TableSummary {
                columns: vec!["name".into()].into(),
                ..table()
            }],
            "has different columns or a different format",
        ),
        (
            Some(rows()),
            vec![TableSummary {
                digest: nothing,
                ..table()
            }],
            "the manifest says 0 rows, its entries hold 3",
        ),
        (
            Some(rows()),
            vec![TableSummary {
                digest: turned,
                ..table()
            }],
            "row digest is not the sum of its entries'",
        ),
        (
            Some(rows()),
            Vec::new(),
            "users: holds rows in an entry that the manifest's tables do not name",
        ),
        // One entry for two tables.
        (
            Some(rows()),
            vec![
                table(),
                TableSummary {
                    name: other,
                    ..table()
                },
            ],
            "others: its entry database/users.sql is missing",
        ),
    ] {
        write(&path, rows_of_entry, tables);
        let said = error_text(&path);
        assert!(
            said.contains(words) && said.is_empty() == words.is_empty(),
            "{words}: {said}"
        );
    }
}

#[test]
fn the_check_reads_the_archive_that_was_written() {
    let (_directory, path) = temporary_file();
    let manifest = write(&path, Some(rows()), vec![table()]);
    let bytes = path.metadata().unwrap().len();
    let checked = |manifest: &Manifest, limits: SizeLimits| {
        let written = WrittenArchive {
            path: path.clone(),
            manifest_sha256: manifest.sha256().unwrap(),
            bytes,
            sha256: None,
            seal: None,
            identities: Identities::none(),
        };
        check(written, limits, 1, &|_| {}, &Cancel::new()).map(|_| ())
    };
    let none = SizeLimits {
        min: None,
        max: None,
    };
    checked(&manifest, none).unwrap();
    let exactly = SizeLimits {
        min: Some(ByteSize(bytes)),
        max: Some(ByteSize(bytes)),
    };
    checked(&manifest, exactly).unwrap();
    let other = Manifest {
        job: "another".into(),
        ..manifest.clone()
    };
    assert!(matches!(
        checked(&other, none),
        Err(IntegrityError::OtherManifest)
    ));
    for (limits, words) in [
        (
            SizeLimits {
                min: Some(ByteSize(bytes + 1)),
                max: None,
            },
            ["less than", "BACKUP_MIN_SIZE_MB"],
        ),
        (
            SizeLimits {
                min: None,
                max: Some(ByteSize(bytes - 1)),
            },
            ["more than", "BACKUP_MAX_SIZE_MB"],
        ),
    ] {
        let error = checked(&manifest, limits).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn a_cancelled_check_stops() {
    let (_directory, path) = temporary_file();
    write(&path, Some(rows()), vec![table()]);
    let cancel = Cancel::new();
    cancel.request();
    let read = read_back(&path, &Identities::none(), 2, &|_| {}, &cancel);
    assert!(matches!(read, Err(IntegrityError::Cancelled)), "{read:?}");
    let seal = Seal {
        sealed_to: Vec::new(),
        sha256: String::new(),
        head_sha256: None,
    };
    let same = same_file(&path, &seal, &|_| {}, &cancel);
    assert!(matches!(same, Err(IntegrityError::Cancelled)), "{same:?}");
}

/// An archive that asks to stop as soon as it is read after it was opened.
struct Stopping {
    bytes: Vec<u8>,
    cancel: Cancel,
    is_open: Arc<AtomicBool>,
}

impl Source for Stopping {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        if self.is_open.load(Ordering::Relaxed) {
            self.cancel.request();
        }
        self.bytes.read_at(buffer, offset)
    }

    fn size(&self) -> std::io::Result<u64> {
        self.bytes.size()
    }
}

#[test]
fn a_stop_in_the_middle_of_an_entry_is_no_damage() {
    let (_directory, path) = temporary_file();
    write(&path, Some(rows()), vec![table()]);
    let (cancel, is_open) = (Cancel::new(), Arc::new(AtomicBool::new(false)));
    let source: Box<dyn Source> = Box::new(Stopping {
        bytes: std::fs::read(&path).unwrap(),
        cancel: cancel.clone(),
        is_open: Arc::clone(&is_open),
    });
    let file = ArchiveFile::open(source, &Identities::none()).unwrap();
    let archive = AnyArchive::open(file).unwrap();
    is_open.store(true, Ordering::Relaxed);
    let read = read_back_open(archive, &path, 1, &|_| {}, &cancel);
    assert!(matches!(read, Err(IntegrityError::Cancelled)), "{read:?}");
}

#[test]
fn the_keys_that_opened_a_sealed_archive_are_named() {
    let (directory, path) = temporary_file();
    write(&path, Some(rows()), vec![table()]);
    let (public, secret) = (
        "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa",
        "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33",
    );
    let key = directory.path().join("key");
    std::fs::write(&key, secret).unwrap();
    let public: Recipient = public.parse().unwrap();
    let (mut sealed, _) = seal(Vec::new(), std::slice::from_ref(&public)).unwrap();
    sealed.write_all(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::write(&path, sealed.finish().unwrap().0).unwrap();
    let keys = Identities::read(&key).unwrap();
    let read = read_back(&path, &keys, 1, &|_| {}, &Cancel::new()).unwrap();
    assert_eq!(read.opened_by, [public]);
}

#[test]
fn a_file_with_another_checksum_is_rejected() {
    let (directory, path) = temporary_file();
    std::fs::write(&path, b"abc").unwrap();
    let seal = |sha256: &str| Seal {
        sealed_to: Vec::new(),
        sha256: sha256.to_owned(),
        head_sha256: None,
    };
    let cancel = Cancel::new();
    // FIPS 180-2, B.1.
    let right = seal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(same_file(&path, &right, &|_| {}, &cancel).unwrap(), 3);
    let wrong = same_file(&path, &seal(""), &|_| {}, &cancel);
    assert!(
        matches!(wrong, Err(IntegrityError::OtherFile { .. })),
        "{wrong:?}"
    );
    for path in [
        directory.path().join("missing"),
        directory.path().to_owned(),
    ] {
        let unread = same_file(&path, &right, &|_| {}, &cancel)
            .unwrap_err()
            .to_string();
        assert!(unread.contains(path.to_str().unwrap()), "{unread}");
    }
}
