//! The format: plain tools read it, and no changed bit stays unnoticed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use hubvault_archive::*;
use hubvault_model::{BackupId, HostNeeds, RowDigester, RowFormat, TableName};
use jiff::Timestamp;
use proptest::prelude::*;
use std::io::Read;
use std::process::Command;

const CODECS: [Codec; 2] = [Codec::Gzip, Codec::Zstd];

fn compression(codec: Codec) -> Compression {
    Compression { codec, level: 1 }
}

fn manifest(codec: Codec) -> Manifest {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    Manifest {
        format_version: FORMAT_VERSION,
        id: "6f1d6c52-0000-4000-8000-000000000000"
            .parse::<BackupId>()
            .unwrap(),
        job: "hub".into(),
        tool: Tool {
            name: "hubvault".into(),
            version: "0".into(),
        },
        started_at: at,
        finished_at: at,
        codec,
        snapshot: SnapshotInfo {
            id: "1".into(),
            lsn: "0/1".into(),
            taken_at: at,
            database: "hub".into(),
            server_version: "15".into(),
            server_version_num: 150_000,
            standby: false,
            system_identifier: None,
        },
        database: None,
        scope: ScopeInfo::default(),
        tables: Vec::new(),
        sequences: Vec::new(),
        roles: Vec::new(),
        refresh: Vec::new(),
        load_order: LoadOrder::default(),
        masked: Vec::new(),
        needs: HostNeeds::default(),
        left_out: Vec::new(),
        not_valid: Vec::new(),
        files: Vec::new(),
        warnings: Vec::new(),
        entries: Vec::new(),
    }
}

fn meta(name: &str, kind: EntryKind) -> EntryMeta {
    EntryMeta {
        name: name.into(),
        kind,
        mode: 0o640,
        owner: None,
        mtime: Timestamp::UNIX_EPOCH,
        link: None,
        rows: None,
    }
}

fn packed(codec: Codec, content: &[u8], meta: EntryMeta) -> PackedEntry {
    let mut builder = EntryBuilder::new(compression(codec));
    for piece in content.chunks(70_001) {
        builder.write(piece).unwrap();
    }
    builder.finish(meta).unwrap()
}

fn archive(codec: Codec, entries: Vec<PackedEntry>) -> Vec<u8> {
    archive_of(codec, entries, Vec::new())
}

fn archive_of(codec: Codec, entries: Vec<PackedEntry>, tables: Vec<TableSummary>) -> Vec<u8> {
    let mut writer = ArchiveWriter::new(Vec::new(), compression(codec));
    for entry in entries {
        writer.append(entry).unwrap();
    }
    let manifest = Manifest {
        tables,
        ..manifest(codec)
    };
    writer.finish(manifest).unwrap().0
}

/// The table whose rows are in one entry alone.
fn table(entry: &str, rows: &RowData) -> TableSummary {
    TableSummary {
        name: rows.table.clone(),
        extension: None,
        coverage: Coverage::Whole,
        filter: None,
        window: None,
        columns: rows.columns.clone(),
        format: rows.format,
        encoding: None,
        digest: rows.digest,
        added_rows: 0,
        source_digest: None,
        computed: None,
        bytes: 0,
        entries: vec![entry.to_owned()],
    }
}

fn rows(text: &str, content: &str) -> RowData {
    let mut digester = RowDigester::new(RowFormat::Text);
    digester.update(text.as_bytes());
    let header = content.find(text).unwrap() as u64;
    RowData {
        table: TableName::new("public", "users"),
        columns: vec!["id".into()].into(),
        format: RowFormat::Text,
        encoding: None,
        digest: digester.finish().unwrap(),
        header_bytes: header,
        footer_bytes: content.len() as u64 - header - text.len() as u64,
    }
}

fn sample(codec: Codec) -> Vec<u8> {
    let text = "1\n2\n3\n";
    let content = format!("COPY public.users (id) FROM stdin;\n{text}\\.\n");
    let rows = rows(text, &content);
    let tables = vec![table("database/users.sql", &rows)];
    let users = EntryMeta {
        rows: Some(rows),
        ..meta("database/users.sql", EntryKind::TableData)
    };
    let link = EntryMeta {
        link: Some("users.sql".into()),
        ..meta("database/l", EntryKind::Link)
    };
    archive_of(
        codec,
        vec![
            packed(codec, b"hello\n", meta("BACKUP_INFO.txt", EntryKind::Info)),
            packed(codec, content.as_bytes(), users),
            packed(codec, b"", meta("config/", EntryKind::Directory)),
            packed(codec, b"", link),
        ],
        tables,
    )
}

#[test]
fn a_streamed_entry_equals_the_one_packed_in_memory() {
    for codec in CODECS {
        for size in [0, 1, 511, 512, (1 << 20) - 1, 1 << 20, (2 << 20) + 700] {
            let content: Vec<u8> = (0..size).map(|n: usize| (n * n / 7) as u8).collect();
            let meta = || meta("sources/a", EntryKind::Config);
            let mut writer = ArchiveWriter::new(Vec::new(), compression(codec));
            let written = writer.append_from(meta(), size as u64, &mut &content[..]);
            let streamed = writer.finish(manifest(codec)).unwrap();
            assert_eq!(streamed.1.entries[0].sha256, written.unwrap());
            let whole = archive(codec, vec![packed(codec, &content, meta())]);
            assert!(streamed.0 == whole, "{codec:?} {size}");
        }
    }
    let mut writer = ArchiveWriter::new(Vec::new(), compression(Codec::Gzip));
    let short = writer.append_from(meta("a", EntryKind::Config), 3, &mut &b"ab"[..]);
    assert!(matches!(short, Err(ArchiveError::Content { .. })));
}

/// Everything that `verify` does to a file.
fn verify(bytes: Vec<u8>) -> Result<(), ArchiveError> {
    let archive = Archive::open(bytes)?;
    for entry in &archive.manifest().entries {
        archive.verify_entry(entry)?;
    }
    Ok(())
}

#[test]
fn every_flipped_bit_and_every_truncation_is_found() {
    for codec in CODECS {
        let whole = sample(codec);
        verify(whole.clone()).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                verify(flipped).is_err(),
                "{codec:?}: bit {bit} of {}",
                whole.len() * 8
            );
        }
        for keep in 0..whole.len() {
            assert!(
                verify(whole[..keep].to_vec()).is_err(),
                "{codec:?}: {keep} bytes"
            );
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(verify(longer).is_err());
    }
}

#[test]
fn every_byte_that_is_put_in_is_found() {
    for codec in CODECS {
        let bytes = sample(codec);
        for at in 0..=bytes.len() {
            let mut longer = bytes.clone();
            longer.insert(at, 0);
            assert!(verify(longer).is_err(), "{codec:?}, before byte {at}");
        }
    }
}

#[test]
fn content_is_that_of_its_record_and_entries_of_a_table_are_in_the_order_of_the_file() {
    let part = |number: u32| {
        let text = format!("{number}\n");
        let content = format!("COPY public.users (id) FROM stdin;\n{text}\\.\n");
        let name = format!("database/users.{number:05}.sql");
        let rows = rows(&text, &content);
        let described = EntryMeta {
            rows: Some(rows.clone()),
            ..meta(&name, EntryKind::TableData)
        };
        (rows, packed(Codec::Zstd, content.as_bytes(), described))
    };
    let ((first, one), (second, two)) = (part(1), part(2));
    let mut users = table("database/users.00002.sql", &second);
    users.digest.merge(first.digest);
    users.entries.push("database/users.00001.sql".to_owned());
    let archive = Archive::open(archive_of(Codec::Zstd, vec![one, two], vec![users])).unwrap();
    let entries = archive.entries_of(&archive.manifest().tables[0]);
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(
        names,
        ["database/users.00001.sql", "database/users.00002.sql"]
    );
    assert!(archive.content(entries[0]).is_ok());
    let other = EntryRecord {
        mode: entries[0].mode ^ 1,
        ..entries[0].clone()
    };
    assert!(archive.content(&other).is_err());
}

#[test]
fn plain_tools_read_an_archive_without_warnings() {
    let directory = tempfile::tempdir().unwrap();
    for codec in CODECS {
        let path = directory.path().join(format!("a.{}", codec.extension()));
        std::fs::write(&path, sample(codec)).unwrap();
        let out = directory.path().join(format!("{codec:?}"));
        std::fs::create_dir(&out).unwrap();
        let path = path.to_str().unwrap();
        let tar = ["-xf", path, "-C", out.to_str().unwrap()];
        let mut commands = vec![("tar", tar.to_vec())];
        if codec == Codec::Gzip {
            commands.push(("gzip", vec!["-t", path]));
        }
        for (program, arguments) in commands {
            let output = Command::new(program).args(arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() && said.is_empty(),
                "{program}: {said}"
            );
        }
        assert_eq!(
            std::fs::read(out.join("BACKUP_INFO.txt")).unwrap(),
            b"hello\n"
        );
        let json = std::fs::read(out.join("manifest.json")).unwrap();
        let manifest: Manifest = serde_json::from_slice(&json).unwrap();
        assert_eq!(manifest.entries.len(), 4);
        assert_eq!(
            std::fs::read_link(out.join("database/l")).unwrap().to_str(),
            Some("users.sql")
        );
    }
}

#[test]
fn an_independent_reader_needs_only_the_format_document() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar.gz");
    std::fs::write(&path, sample(Codec::Gzip)).unwrap();
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader.py");
    let output = Command::new("python3")
        .args([reader, path.to_str().unwrap(), "database/users.sql"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["rows"], 3);
    assert_eq!(
        found["content"],
        "COPY public.users (id) FROM stdin;\n1\n2\n3\n\\.\n"
    );
    assert!(found["bytes_read"].as_u64() < Some(path.metadata().unwrap().len()));
}

#[test]
fn long_and_odd_names_are_restored() {
    let names = [
        "a/".repeat(90) + "deep.sql",
        "database/Ünï/таблица %22x%22.sql".to_owned(),
        format!("config/{}", "n".repeat(250)),
    ];
    let directory = tempfile::tempdir().unwrap();
    for codec in CODECS {
        let entries = names
            .iter()
            .map(|name| packed(codec, name.as_bytes(), meta(name, EntryKind::Config)))
            .collect();
        let bytes = archive(codec, entries);
        verify(bytes.clone()).unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, bytes).unwrap();
        let listed = Command::new("tar")
            .args(["--quoting-style=literal", "-tf", path.to_str().unwrap()])
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        for name in &names {
            assert!(
                listed.lines().any(|line| line == name),
                "{name} not in {listed}"
            );
        }
    }
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let mut gzip = Vec::from([0x1f, 0x8b, 8, 0]);
    gzip.extend([7; 500]);
    for foreign in [Vec::new(), b"some text".repeat(100), gzip] {
        let error = Archive::open(foreign).unwrap_err();
        assert!(
            error.to_string().starts_with("not a hubvault archive"),
            "{error}"
        );
    }
}

#[test]
fn a_name_that_leaves_its_directory_is_refused() {
    for name in ["../x", "/etc/passwd", "a/../../x", "a//b", "manifest.json"] {
        let entry = packed(Codec::Gzip, b"x", meta("harmless", EntryKind::Config));
        let mut writer = ArchiveWriter::new(Vec::new(), compression(Codec::Gzip));
        writer.append(entry).unwrap();
        // The manifest is what names are believed from, so a lie in it must not pass.
        let (bytes, written) = writer.finish(manifest(Codec::Gzip)).unwrap();
        let json = serde_json::to_string(&written)
            .unwrap()
            .replace("harmless", name);
        let lie: Manifest = serde_json::from_str(&json).unwrap();
        let mut forged = bytes[..written.entries[0].stored_bytes as usize].to_vec();
        forged.extend(tail_of(&lie, forged.len() as u64));
        let error = Archive::open(forged).unwrap_err().to_string();
        assert!(error.contains("not allowed"), "{name}: {error}");
    }
}

/// The end of an archive for a manifest that somebody made up.
fn tail_of(manifest: &Manifest, offset: u64) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let json = serde_json::to_vec(manifest).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("manifest.json").unwrap();
    header.set_size(json.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend(json);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    let mut tail = Vec::new();
    let mut gzip = flate2::GzBuilder::new().write(&mut tail, flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    gzip.finish().unwrap();
    let mut payload = b"HVLT\x01\0\0\0".to_vec();
    payload.extend(offset.to_le_bytes());
    payload.extend((tail.len() as u64).to_le_bytes());
    payload.extend(Sha256::digest(&tail));
    payload.extend(crc32fast::hash(&payload).to_le_bytes());
    tail.extend([
        0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 64, 0, b'H', b'V', 60, 0,
    ]);
    tail.extend(payload);
    tail.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    tail
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_written_is_what_is_read(
        contents in proptest::collection::vec((any::<u8>(), 0usize..2_500_000), 1..5),
        zstd in any::<bool>(),
    ) {
        let codec = if zstd { Codec::Zstd } else { Codec::Gzip };
        let contents: Vec<Vec<u8>> = contents
            .into_iter()
            .map(|(seed, size)| (0..size).map(|i| (i / 7 * usize::from(seed)) as u8).collect())
            .collect();
        let entries = contents
            .iter()
            .enumerate()
            .map(|(i, content)| packed(codec, content, meta(&format!("e{i}"), EntryKind::Config)))
            .collect();
        let archive = Archive::open(archive(codec, entries)).unwrap();
        // Backwards: every entry is read without the others.
        for (record, content) in archive.manifest().entries.iter().zip(&contents).rev() {
            let mut read = Vec::new();
            archive.content(record).unwrap().read_to_end(&mut read).unwrap();
            prop_assert!(&read == content);
            archive.verify_entry(record).unwrap();
        }
    }

    #[test]
    fn a_hostile_file_never_makes_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..2_000), kind in 0u8..3) {
        let start: &[u8] = match kind { 0 => &[0x1f, 0x8b, 8, 0], 1 => &[0x28, 0xb5, 0x2f, 0xfd], _ => &[] };
        bytes.splice(0..0, start.iter().copied());
        prop_assert!(verify(bytes).is_err());
    }
}
