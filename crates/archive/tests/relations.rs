//! Any change of a valid manifest, with every checksum right, gives an error or an archive that is still correct.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod forged;

use hubvault_archive::*;
use hubvault_model::{RowDigest, RowDigester, RowFormat, TableName};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use std::io::Read;

const ROWS: [&[u8]; 2] = [
    b"COPY t FROM stdin;\n1\ta\n2\tb\n\\.\n",
    b"COPY t FROM stdin;\n3\tc\n\\.\n",
];
const HEADER: usize = 19;
const FOOTER: usize = 3;

fn digest(content: &[u8]) -> RowDigest {
    let mut digester = RowDigester::new(RowFormat::Text);
    digester.update(&content[HEADER..content.len() - FOOTER]);
    digester.finish().unwrap()
}

fn pack(
    name: &str,
    kind: EntryKind,
    content: &[u8],
    link: Option<&str>,
    rows: Option<RowData>,
) -> PackedEntry {
    let mut builder = EntryBuilder::new(Compression::default());
    builder.write(content).unwrap();
    let meta = EntryMeta {
        name: name.to_owned(),
        kind,
        mode: 0o600,
        owner: None,
        mtime: Timestamp::UNIX_EPOCH,
        link: link.map(str::to_owned),
        rows,
    };
    builder.finish(meta).unwrap()
}

/// The entries' bytes of a good archive, and its manifest.
fn valid() -> (Vec<u8>, Value) {
    let table = TableName::new("public", "t");
    let mut writer = ArchiveWriter::new(Vec::new(), Compression::default());
    writer
        .append(pack(
            "BACKUP_INFO.txt",
            EntryKind::Info,
            b"text",
            None,
            None,
        ))
        .unwrap();
    writer
        .append(pack("config/", EntryKind::Directory, b"", None, None))
        .unwrap();
    writer
        .append(pack("config/a", EntryKind::Config, b"hello", None, None))
        .unwrap();
    writer
        .append(pack("config/b", EntryKind::Link, b"", Some("a"), None))
        .unwrap();
    let (mut sum, mut names) = (RowDigest::default(), Vec::new());
    for (number, content) in ROWS.iter().enumerate() {
        let digest = digest(content);
        let name = format!("database/t.{number}.sql");
        let rows = RowData {
            table: table.clone(),
            columns: vec!["id".into(), "name".into()].into(),
            format: RowFormat::Text,
            encoding: None,
            digest,
            header_bytes: HEADER as u64,
            footer_bytes: FOOTER as u64,
        };
        writer
            .append(pack(&name, EntryKind::TableData, content, None, Some(rows)))
            .unwrap();
        sum.merge(digest);
        names.push(name);
    }
    let mut manifest: Value =
        serde_json::from_slice(&forged::manifest(Codec::Gzip, b"", &json!({}))).unwrap();
    manifest["tables"] = json!([{
        "schema": "public", "name": "t", "coverage": "window", "filter": "id >= '2026-01-01 00:00:00+00' OR id IS NULL",
        "window": { "recent": { "column": "id", "from": "2026-01-01 00:00:00+00" } }, "columns": ["id", "name"],
        "format": "text", "rows": sum.rows, "digest": sum.hex(), "added_rows": 1, "bytes": 12, "entries": names,
    }]);
    manifest["sequences"] =
        json!([{ "schema": "public", "name": "s", "last_value": 3, "is_called": true }]);
    manifest["files"] = json!([
        { "source": "/a", "name": "config/", "bytes": 0, "sha256": null, "mode": 0o600, "owner": [0, 0] },
        { "source": "/a/a", "name": "config/a", "bytes": 5, "sha256": null, "mode": 0o600, "owner": [7, 7] },
    ]);
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    let (bytes, manifest) = writer.finish(manifest).unwrap();
    let last = manifest.entries.last().unwrap();
    let end = (last.offset + last.stored_bytes) as usize;
    (
        bytes[..end].to_vec(),
        serde_json::to_value(manifest).unwrap(),
    )
}

/// Opens it and reads everything, as verify and restore do.
fn read(bytes: Vec<u8>) -> Result<Archive<Vec<u8>>, String> {
    let archive = Archive::open(bytes).map_err(|error| error.to_string())?;
    for entry in &archive.manifest().entries {
        archive
            .verify_entry(entry)
            .map_err(|error| error.to_string())?;
    }
    Ok(archive)
}

/// What was read whole says nothing that is not so.
fn is_correct(archive: &Archive<Vec<u8>>) {
    let manifest = archive.manifest();
    for table in &manifest.tables {
        let (mut found, mut entries) = (RowDigest::default(), 0);
        for entry in archive.entries_of(table) {
            let rows = entry.rows.as_ref().unwrap();
            let mut content = Vec::new();
            archive
                .content(entry)
                .unwrap()
                .read_to_end(&mut content)
                .unwrap();
            let mut digester = RowDigester::new(rows.format);
            digester.update(
                &content[rows.header_bytes as usize..content.len() - rows.footer_bytes as usize],
            );
            found.merge(digester.finish().unwrap());
            entries += 1;
        }
        assert_eq!((found, entries), (table.digest, table.entries.len()));
        assert!(table.added_rows <= table.digest.rows);
    }
    for file in &manifest.files {
        let entry = archive.entry(&file.name).unwrap();
        assert!(matches!(
            entry.kind,
            EntryKind::Config | EntryKind::Directory | EntryKind::Link
        ));
        assert_eq!(file.bytes, entry.raw_bytes);
    }
    let raw = manifest.entries.iter().map(|entry| entry.raw_bytes);
    assert!(raw.sum::<u64>() < 1 << 60);
}

/// The paths of all values inside of a value.
fn changeable_values(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                changeable_values(item, &format!("{path}/{number}"), all);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                changeable_values(item, &format!("{path}/{name}"), all);
            }
        }
        _ => {}
    }
}

#[derive(Clone, Debug)]
enum Change {
    To(Value),
    /// The value of another place.
    As(Index),
    Remove,
    Twice,
}

fn change() -> impl Strategy<Value = Change> {
    let numbers = select(vec![
        0_u64,
        1,
        2,
        3,
        5,
        11,
        12,
        13,
        31,
        512,
        1 << 20,
        1 << 31,
        u32::MAX.into(),
        1 << 53,
        1 << 60,
        u64::MAX - 1,
        u64::MAX,
    ]);
    let texts = select(vec![
        "",
        "t",
        "public",
        "config/a",
        "config/b",
        "../x",
        "/etc/passwd",
        "a\0b",
        "config",
        "link",
        "true",
    ]);
    prop_oneof![
        4 => numbers.prop_map(|number| Change::To(json!(number))),
        1 => any::<u64>().prop_map(|number| Change::To(json!(number))),
        2 => texts.prop_map(|text| Change::To(json!(text))),
        1 => Just(Change::To(Value::Null)),
        2 => any::<Index>().prop_map(Change::As),
        1 => Just(Change::Remove),
        1 => Just(Change::Twice),
    ]
}

fn changed(mut manifest: Value, changes: Vec<(Index, Change)>) -> Value {
    for (index, change) in changes {
        let mut all = Vec::new();
        changeable_values(&manifest, "", &mut all);
        let place = &all[index.index(all.len())];
        let (above, last) = place.rsplit_once('/').unwrap_or(("", ""));
        let new = match change {
            Change::To(value) => value,
            Change::As(other) => manifest
                .pointer(&all[other.index(all.len())])
                .unwrap()
                .clone(),
            Change::Remove | Change::Twice => {
                let twice = matches!(change, Change::Twice);
                // The whole document is in no list.
                if let Some(Value::Array(items)) = manifest.pointer_mut(above)
                    && let Ok(at) = last.parse::<usize>()
                {
                    if twice {
                        items.insert(at, items[at].clone());
                    } else {
                        items.remove(at);
                    }
                }
                continue;
            }
        };
        *manifest.pointer_mut(place).unwrap() = new;
    }
    manifest
}

#[test]
fn the_unchanged_archive_is_valid() {
    let (before, manifest) = valid();
    let text = serde_json::to_vec(&manifest).unwrap();
    let bytes = forged::archive(Codec::Gzip, &before, &text, text.len() as u64);
    is_correct(&read(bytes).unwrap());
}

#[test]
fn wrong_rows_and_digests_are_found() {
    let (before, manifest) = valid();
    let said = |rows: [u64; 2], digest: &str| {
        let mut manifest = manifest.clone();
        manifest["entries"][4]["rows"]["rows"] = json!(rows[0]);
        manifest["tables"][0]["rows"] = json!(rows[1]);
        if !digest.is_empty() {
            manifest["entries"][4]["rows"]["digest"] = json!(digest);
            manifest["entries"][5]["rows"]["digest"] = json!("0".repeat(32));
            manifest["tables"][0]["digest"] = json!(digest);
        }
        let text = serde_json::to_vec(&manifest).unwrap();
        read(forged::archive(
            Codec::Gzip,
            &before,
            &text,
            text.len() as u64,
        ))
        .unwrap_err()
    };
    let said_rows = said([1, 2], "");
    assert!(
        said_rows.contains("it holds 2 rows, the manifest says 1"),
        "{said_rows}"
    );
    let said_digest = said([2, 3], &"1".repeat(32));
    assert!(
        said_digest.contains("its row digest differs from the manifest's"),
        "{said_digest}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_changed_manifest_is_refused_or_still_correct(
        changes in proptest::collection::vec((any::<Index>(), change()), 1..4),
    ) {
        let (before, manifest) = valid();
        let text = serde_json::to_vec(&changed(manifest, changes)).unwrap();
        if let Ok(archive) = read(forged::archive(Codec::Gzip, &before, &text, text.len() as u64)) {
            is_correct(&archive);
            let again = serde_json::to_vec(archive.manifest()).unwrap();
            let again: Manifest = from_json(&again[..], 1 << 20).unwrap();
            prop_assert!(again.check().is_ok());
        }
    }
}
