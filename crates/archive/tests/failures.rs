//! Failing disks, false manifests and duplicate names are errors that say what is wrong.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod forged;

use forged::{archive, manifest, member, tar_head, with_trailer};
use hubvault_archive::*;
use hubvault_model::{RowDigester, RowFormat};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

const PUBLIC: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const GZIP: Compression = Compression {
    codec: Codec::Gzip,
    level: 1,
};

fn meta(name: &str) -> EntryMeta {
    EntryMeta {
        name: name.into(),
        kind: EntryKind::Config,
        mode: 0o640,
        owner: None,
        mtime: Timestamp::UNIX_EPOCH,
        link: None,
        rows: None,
    }
}

fn packed(meta: EntryMeta) -> Result<PackedEntry, ArchiveError> {
    let mut builder = EntryBuilder::new(GZIP);
    builder.write(b"text")?;
    builder.finish(meta)
}

/// The members of one entry that holds `text`, and what the manifest says of it.
fn entry_members(codec: Codec) -> Vec<u8> {
    let content = [&b"text"[..], &[0; 508]].concat();
    let head = tar_head("database/users.sql", 4, b'0');
    [member(codec, &head), member(codec, &content)].concat()
}

fn forged(codec: Codec, change: &Value) -> Vec<u8> {
    let json = manifest(codec, &entry_members(codec), change);
    archive(codec, &entry_members(codec), &json, json.len() as u64)
}

fn opened(bytes: Vec<u8>) -> Result<Archive<Vec<u8>>, ArchiveError> {
    Archive::open(bytes)
}

/// What `verify` says, and what reading the content says.
fn read(bytes: Vec<u8>) -> (String, String) {
    let archive = match opened(bytes) {
        Ok(archive) => archive,
        Err(error) => return (error.to_string(), error.to_string()),
    };
    let entry = &archive.manifest().entries[0];
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let verified = archive
        .verify_entry(entry)
        .map_or_else(|e| said(&e), |_| String::new());
    let mut all = Vec::new();
    let content = archive.content(entry).map_or_else(
        |error| said(&error),
        |mut content| {
            content
                .read_to_end(&mut all)
                .map_or_else(|e| said(&e), |_| String::new())
        },
    );
    (verified, content)
}

/// Opens what a manifest's text was changed to.
fn refused(codec: Codec, from: &str, to: &str) -> String {
    let json = String::from_utf8(manifest(codec, &entry_members(codec), &json!({}))).unwrap();
    assert!(json.contains(from), "{from} is not in {json}");
    let json = json.replace(from, to);
    let bytes = archive(
        codec,
        &entry_members(codec),
        json.as_bytes(),
        json.len() as u64,
    );
    opened(bytes).unwrap_err().to_string()
}

#[test]
fn a_false_manifest_is_refused_with_the_reason() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        assert_eq!(
            read(forged(codec, &json!({}))),
            (String::new(), String::new())
        );
        let newer = refused(codec, "\"format_version\":1", "\"format_version\":2");
        assert!(
            newer.contains("format version 2; this hubvault reads up to 1"),
            "{newer}"
        );
        let name = serde_json::to_string(&codec).unwrap();
        let other = if codec == Codec::Gzip {
            "\"zstd\""
        } else {
            "\"gzip\""
        };
        let other = refused(
            codec,
            &format!("\"codec\":{name}"),
            &format!("\"codec\":{other}"),
        );
        assert!(other.contains("its codec differs"), "{other}");
        let gap = refused(codec, "\"offset\":0", "\"offset\":1");
        assert!(
            gap.contains("does not begin where the last one ends"),
            "{gap}"
        );
        let length = format!("\"stored_bytes\":{}", entry_members(codec).len());
        let short = refused(codec, &length, "\"stored_bytes\":3");
        assert!(short.contains("do not fill the file"), "{short}");
        let [first, second] = [u64::MAX, 1].map(|length| {
            let text = manifest(
                codec,
                &entry_members(codec),
                &json!({ "stored_bytes": length }),
            );
            serde_json::from_slice::<Value>(&text).unwrap()["entries"][0].clone()
        });
        let mut second = second;
        second["offset"] = json!(u64::MAX);
        second["name"] = json!("another");
        let mut endless: Value = serde_json::from_slice(&manifest(codec, b"", &json!({}))).unwrap();
        endless["entries"] = json!([first, second]);
        let endless = endless.to_string();
        let bytes = archive(
            codec,
            &entry_members(codec),
            endless.as_bytes(),
            endless.len() as u64,
        );
        let endless = opened(bytes).unwrap_err().to_string();
        assert!(endless.contains("another has no end"), "{endless}");
    }
}

#[test]
fn wrong_row_counts_and_checksums_are_found() {
    let mut digester = RowDigester::new(RowFormat::Text);
    digester.update(b"text\n");
    let other = digester.finish().unwrap();
    let rows = |rows: u64, digest: &str| {
        json!({ "rows": {
            "table": { "schema": "public", "name": "users" }, "columns": ["id"], "format": "text",
            "rows": rows, "digest": digest, "header_bytes": 0, "footer_bytes": 4,
        } })
    };
    for (change, words) in [
        (json!({ "sha256": "0".repeat(64) }), "SHA-256 differs"),
        (
            json!({ "stored_sha256": "0".repeat(64) }),
            "differ from what was written",
        ),
        (json!({ "mode": 0 }), "different name, size, mode, link"),
        (
            rows(3, &other.hex()),
            "its number of rows does not fit its size",
        ),
        (
            rows(0, &other.hex()),
            "its number of rows does not fit its size",
        ),
    ] {
        let (verified, _) = read(forged(Codec::Zstd, &change));
        assert!(verified.contains(words), "{change}: {verified}");
    }
    let (_, content) = read(forged(Codec::Gzip, &json!({ "sha256": "0".repeat(64) })));
    assert_eq!(content, "the SHA-256 of database/users.sql differs");
}

#[test]
fn nothing_but_zeros_may_follow_an_entrys_content() {
    let wrong = "data other than padding follows its content";
    for (padding, said) in [
        (vec![0; 508], ""),
        ([vec![0; 507], vec![1]].concat(), wrong),
        (vec![0; 508 + 512], wrong),
        (vec![0; 507], wrong),
        (Vec::new(), wrong),
    ] {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let head = tar_head("database/users.sql", 4, b'0');
            let content = [b"text".as_slice(), &padding].concat();
            let stored = [member(codec, &head), member(codec, &content)].concat();
            let json = manifest(codec, &stored, &json!({}));
            let (verified, _) = read(archive(codec, &stored, &json, json.len() as u64));
            assert!(
                verified.ends_with(said) && verified.is_empty() == said.is_empty(),
                "{} bytes: {verified}",
                padding.len()
            );
        }
    }
}

#[test]
fn the_last_entry_must_be_the_manifest() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let before = entry_members(codec);
        let json = manifest(codec, &before, &json!({}));
        let mut tar = tar_head("manifest.jso_", json.len() as u64, b'0');
        tar.extend(&json);
        tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
        let error = opened(with_trailer(codec, &before, &member(codec, &tar))).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("not called manifest.json"), "{said}");
    }
}

#[test]
fn how_large_a_manifest_may_be_depends_on_its_archive() {
    assert_eq!(manifest_limit(0), 8 << 20);
    assert_eq!(manifest_limit(1 << 20), 136 << 20);
    assert_eq!(manifest_limit(u64::MAX), 256 << 20);
    opened(forged(Codec::Gzip, &json!({}))).unwrap();
}

#[test]
fn links_with_long_targets_are_restored() {
    let target = "t/".repeat(80);
    let mut writer = ArchiveWriter::new(Vec::new(), GZIP);
    let link = EntryMeta {
        kind: EntryKind::Link,
        link: Some(target.clone()),
        ..meta("link")
    };
    writer
        .append(EntryBuilder::new(GZIP).finish(link).unwrap())
        .unwrap();
    assert!(writer.bytes_written() > 0);
    let manifest: Manifest =
        serde_json::from_slice(&manifest(Codec::Gzip, b"", &json!({}))).unwrap();
    let archive = opened(writer.finish(manifest).unwrap().0).unwrap();
    let entry = &archive.manifest().entries[0];
    assert!(entry.is_bare());
    assert_eq!(entry.link.as_deref(), Some(target.as_str()));
    archive.verify_entry(entry).unwrap();
}

#[test]
fn entry_names_are_unique_and_stay_inside_the_archive() {
    let mut writer = ArchiveWriter::new(Vec::new(), GZIP);
    writer.append(packed(meta("a")).unwrap()).unwrap();
    let again = writer.append(packed(meta("a")).unwrap());
    assert!(matches!(again, Err(ArchiveError::DuplicateName(name)) if name == "a"));
    let again = writer.append_from(meta("a"), 1, &mut &b"x"[..]);
    assert!(matches!(again, Err(ArchiveError::DuplicateName(name)) if name == "a"));
    for name in ["../a", "a\0b"] {
        assert!(
            matches!(packed(meta(name)), Err(ArchiveError::Header { .. })),
            "{name:?}"
        );
    }
    let to_nowhere = EntryMeta {
        link: Some("a\0b".to_owned()),
        ..meta("link")
    };
    assert!(matches!(
        packed(to_nowhere),
        Err(ArchiveError::Header { .. })
    ));
}

/// A place with room for some bytes, and then none.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.0);
        self.0 -= n;
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn written(room: usize, sealed: bool) -> Result<usize, ArchiveError> {
    let json: Manifest = serde_json::from_slice(&manifest(Codec::Gzip, b"", &json!({}))).unwrap();
    let entry = packed(meta("a"))?;
    if !sealed {
        let mut writer = ArchiveWriter::new(Room(room), GZIP);
        writer.append(entry)?;
        return Ok(room - writer.finish(json)?.0.0);
    }
    let (out, _) = seal(Room(room), &[PUBLIC.parse().unwrap()])?;
    let mut writer = ArchiveWriter::new(out, GZIP);
    writer.append(entry)?;
    let out = writer.finish(json)?.0;
    let full = |source| ArchiveError::Write {
        what: "the end".to_owned(),
        source,
    };
    Ok(room - out.finish().map_err(full)?.0.0)
}

#[test]
fn a_disk_that_is_full_at_any_byte_is_an_error() {
    for sealed in [false, true] {
        let needed = written(1 << 20, sealed).unwrap();
        for room in (0..=needed).step_by(if sealed { 7 } else { 1 }) {
            match written(room, sealed) {
                Err(ArchiveError::Write { .. }) => {}
                // The header of a seal is now longer, now shorter (age, C2SP, "grease").
                Ok(used) => assert!(sealed && used <= room, "{used} of {room} of {needed}"),
                Err(error) => panic!("{room} of {needed}: {error}"),
            }
        }
        // Flushing needs room, too, here.
        written(needed + 1_000, sealed).unwrap();
    }
    assert!(seal(Vec::new(), &[]).is_err());
}

/// Bytes whose reading fails from the nth time on, and whose size is what somebody says.
struct Failing {
    bytes: Vec<u8>,
    left: AtomicUsize,
}

impl Source for Failing {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let spent = |left: usize| left.checked_sub(1);
        match self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent)
        {
            Ok(_) => self.bytes.read_at(buffer, offset),
            Err(_) => Err(io::Error::other("the disk fails")),
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }
}

#[test]
fn a_file_that_is_too_short_is_said_to_be_and_a_pipe_is_not_waited_for() {
    for bytes in [&b""[..], b"\x1f\x8b\x08"] {
        let error = opened(bytes.to_vec()).unwrap_err().to_string();
        assert!(error.contains("empty or too short"), "{error}");
    }
    let error = opened(b"text".to_vec()).unwrap_err().to_string();
    assert!(error.contains("neither gzip nor zstd"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let error = open_regular(&pipe).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

#[test]
fn a_disk_that_fails_at_any_read_is_an_error() {
    let clear = forged(Codec::Zstd, &json!({}));
    let (mut sealing, key) = seal(Vec::new(), &[PUBLIC.parse().unwrap()]).unwrap();
    sealing.write_all(&clear).unwrap();
    let sealed = sealing.finish().unwrap().0;
    for bytes in [clear, sealed] {
        let read = |reads: usize| -> Result<(), ArchiveError> {
            let source = Failing {
                bytes: bytes.clone(),
                left: AtomicUsize::new(reads),
            };
            let archive = Archive::open(ArchiveFile::open(source, &key)?)?;
            let entry = &archive.manifest().entries[0];
            archive.verify_entry(entry).map(|_| ())
        };
        let mut reads = 0;
        while let Err(error) = read(reads) {
            assert!(
                error.to_string().contains("the disk fails"),
                "{reads}: {error}"
            );
            reads += 1;
        }
        assert!(reads > 5, "{reads}");
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    #[derive(Debug)]
    struct Shrinking(Vec<u8>);
    impl Source for Shrinking {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            self.0.read_at(buffer, offset)
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64 + 20)
        }
    }
    let error = Archive::open(Shrinking(forged(Codec::Gzip, &json!({})))).unwrap_err();
    assert!(error.to_string().contains("it ends too early"), "{error}");
}

#[test]
fn a_manifest_that_is_larger_than_any_is_not_read() {
    // A file with a hole takes no room.
    let mut file = tempfile::tempfile().unwrap();
    let tail_at = entry_members(Codec::Gzip).len() as u64;
    let length = 513 << 20;
    file.write_all(&entry_members(Codec::Gzip)).unwrap();
    file.seek(SeekFrom::Start(tail_at + length)).unwrap();
    let mut end = with_trailer(Codec::Gzip, b"", b"");
    let payload = &mut end[16..76];
    payload[8..16].copy_from_slice(&tail_at.to_le_bytes());
    payload[16..24].copy_from_slice(&length.to_le_bytes());
    let crc = crc32fast::hash(&payload[..56]).to_le_bytes();
    payload[56..].copy_from_slice(&crc);
    file.write_all(&end).unwrap();
    let error = Archive::<File>::open(file).unwrap_err().to_string();
    assert!(error.contains("it is too large"), "{error}");
}

#[test]
fn debug_output_never_shows_content() {
    let mut builder = EntryBuilder::new(GZIP);
    builder.write(b"text").unwrap();
    let writer = ArchiveWriter::new(Vec::new(), GZIP);
    let (sealing, key) = seal(Vec::new(), &[PUBLIC.parse().unwrap()]).unwrap();
    let archive = opened(forged(Codec::Gzip, &json!({}))).unwrap();
    let content = archive.content(&archive.manifest().entries[0]).unwrap();
    let printed = format!("{builder:?} {writer:?} {sealing:?} {key:?} {content:?}");
    let sealed = ArchiveFile::open(sealing.finish().unwrap().0, &key).unwrap();
    let printed = format!("{printed} {sealed:?}");
    assert!(!printed.contains("text"), "{printed}");
    for word in [
        "EntryBuilder",
        "SealedWriter",
        "ContentReader",
        "database/users.sql",
        "length: 0",
    ] {
        assert!(printed.contains(word), "{word} is not in {printed}");
    }
}
