//! Rows of an archive, some at a time: by their numbers, by a value, over several entries, and out of a damaged archive.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hubvault_archive::{
    Archive, ArchiveWriter, Codec, Columns, Compression, Coverage, EntryBuilder, EntryKind,
    EntryMeta, Manifest, RowData, TableSummary,
};
use hubvault_engine::restore::{Browsed, Filter, RestoreError, Wish, browse};
use hubvault_model::{BackupId, Cancel, RowDigest, RowDigester, RowFormat, TableName};
use jiff::Timestamp;
use serde_json::json;
use std::time::{Duration, Instant};

const HEADER: &[u8] = b"COPY public.users FROM stdin;\n";

/// An archive of one table with two columns, an entry for each of these texts.
fn archive(codec: Codec, format: RowFormat, texts: &[String]) -> (Vec<u8>, TableSummary) {
    let compression = Compression { codec, level: 1 };
    let mut writer = ArchiveWriter::new(Vec::new(), compression);
    let name = TableName::new("public", "users");
    let columns = Columns::from(vec!["id".to_owned(), "word".to_owned()]);
    let (mut digest, mut entries) = (RowDigest::default(), Vec::new());
    for (at, text) in texts.iter().enumerate() {
        let mut digester = RowDigester::new(format);
        digester.update(text.as_bytes());
        let own = digester.finish().unwrap();
        digest.merge(own);
        let mut builder = EntryBuilder::new(compression);
        builder.write(HEADER).unwrap();
        builder.write(text.as_bytes()).unwrap();
        entries.push(format!("database/users.{at}.sql"));
        let meta = EntryMeta {
            name: entries[at].clone(),
            kind: EntryKind::TableData,
            mode: 0o600,
            owner: None,
            mtime: Timestamp::UNIX_EPOCH,
            link: None,
            rows: Some(RowData {
                table: name.clone(),
                columns: columns.clone(),
                format,
                encoding: None,
                digest: own,
                header_bytes: HEADER.len() as u64,
                footer_bytes: 0,
            }),
        };
        writer.append(builder.finish(meta).unwrap()).unwrap();
    }
    let table = TableSummary {
        name,
        extension: None,
        coverage: Coverage::Whole,
        filter: None,
        window: None,
        columns,
        format,
        encoding: None,
        digest,
        added_rows: 0,
        source_digest: None,
        computed: None,
        bytes: 0,
        entries,
    };
    let at = Timestamp::UNIX_EPOCH;
    let manifest: Manifest = serde_json::from_value(json!({
        "format_version": 1, "id": BackupId::random(), "job": "hub",
        "tool": { "name": "hubvault", "version": "0" }, "started_at": at, "finished_at": at, "codec": codec,
        "snapshot": {
            "id": "1", "lsn": "0/1", "taken_at": at, "database": "hub", "server_version": "15",
            "server_version_num": 150_000, "standby": false, "system_identifier": null,
        },
        "scope": { "tables": [], "exclude": [], "windows": [] }, "tables": [table.clone()], "sequences": [],
        "left_out": [], "not_valid": [], "files": [], "warnings": [], "entries": [],
    }))
    .unwrap();
    (writer.finish(manifest).unwrap().0, table)
}

fn wish() -> Wish {
    Wish {
        from: 0,
        most: 3,
        filter: None,
        keep: 20,
        bytes: u64::MAX,
        until: Instant::now() + Duration::from_hours(1),
    }
}

/// The numbers of the rows that are shown, their first values, and where it goes on.
fn seen(found: &Browsed) -> (Vec<u64>, Vec<String>, Option<u64>) {
    let rows = found.rows.iter();
    let values = rows.clone().map(|row| row.values[0].text.clone().unwrap());
    (
        rows.map(|row| row.number).collect(),
        values.collect(),
        found.next,
    )
}

fn texts() -> Vec<String> {
    ["1\ta\n2\tb\n", "3\ta\n", "", "4\t\\N\n5\ta\n"]
        .map(str::to_owned)
        .into()
}

#[test]
fn rows_are_shown_page_by_page_over_all_entries() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let (bytes, table) = archive(codec, RowFormat::Text, &texts());
        let archive = Archive::open(bytes).unwrap();
        let page = |wish: Wish| seen(&browse(&archive, &table, &wish, &Cancel::new()).unwrap());
        let own = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            page(wish()),
            (vec![0, 1, 2], own(&["1", "2", "3"]), Some(3))
        );
        let rest = Wish { from: 3, ..wish() };
        assert_eq!(page(rest), (vec![3, 4], own(&["4", "5"]), None));
        let middle = Wish {
            from: 1,
            most: 1,
            ..wish()
        };
        assert_eq!(page(middle), (vec![1], own(&["2"]), Some(2)));
        let beyond = Wish { from: 9, ..wish() };
        assert_eq!(page(beyond), (vec![], vec![], None));
    }
}

#[test]
fn rows_with_a_value_are_found_in_every_entry_and_a_search_can_go_on() {
    let (bytes, table) = archive(Codec::Gzip, RowFormat::Text, &texts());
    let archive = Archive::open(bytes).unwrap();
    let search = |wish: Wish| seen(&browse(&archive, &table, &wish, &Cancel::new()).unwrap());
    let of = |value: Option<&str>| {
        let value = value.map(str::to_owned);
        Some(Filter { column: 1, value })
    };
    let filtered = |value| Wish {
        filter: of(value),
        ..wish()
    };
    assert_eq!(search(filtered(Some("a"))).0, [0, 2, 4]);
    assert_eq!(search(filtered(None)).0, [3]);
    assert_eq!(search(filtered(Some("\\N"))).0, Vec::<u64>::new());
    assert_eq!(search(filtered(Some("c"))), (vec![], vec![], None));
    // Each search looks at one row at least, so that it comes to an end.
    let mut next = Some(0);
    let mut found = Vec::new();
    while let Some(from) = next {
        let (numbers, _, on) = search(Wish {
            from,
            bytes: 0,
            ..filtered(Some("a"))
        });
        assert!(on.is_none_or(|on| on == from + 1));
        found.extend(numbers);
        next = on;
    }
    assert_eq!(found, [0, 2, 4]);
    let late = Wish {
        until: Instant::now(),
        ..filtered(Some("a"))
    };
    assert_eq!(search(late).2, Some(1));
}

#[test]
fn values_of_a_window_are_those_of_csv_and_long_ones_are_cut() {
    let text = format!(
        "1,\"two\nlines, \"\"quoted\"\"\"\n2,\n3,\"\"\n4,{}\n",
        "x".repeat(50_000_000 / 25)
    );
    let (bytes, table) = archive(Codec::Gzip, RowFormat::Csv, &[text]);
    let archive = Archive::open(bytes).unwrap();
    let all = Wish {
        most: 9,
        keep: 24,
        ..wish()
    };
    let found = browse(&archive, &table, &all, &Cancel::new()).unwrap();
    let words: Vec<(Option<&str>, bool)> = found
        .rows
        .iter()
        .map(|row| (row.values[1].text.as_deref(), row.values[1].is_cut))
        .collect();
    let cut = "x".repeat(24);
    assert_eq!(
        words,
        [
            (Some("two\nlines, \"quoted\""), false),
            (None, false),
            (Some(""), false),
            (Some(cut.as_str()), true)
        ]
    );
}

#[test]
fn a_damaged_member_shows_no_row_that_is_in_it() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        // Two members of rows, and digits that are stored as they are.
        let row = |n: u64| format!("{n:08}\t{:016x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let text: String = (0..60_000).map(row).collect();
        let (healthy, table) = archive(codec, RowFormat::Text, &[text]);
        let record = Archive::open(healthy.clone()).unwrap().manifest().entries[0].clone();
        let mut shown = 0;
        for part in 1..8 {
            let mut bytes = healthy.clone();
            bytes[(record.offset + record.stored_bytes * part / 8) as usize] ^= 0x10;
            let archive = Archive::open(bytes).unwrap();
            for from in [0, 59_990] {
                let wish = Wish { from, ..wish() };
                match browse(&archive, &table, &wish, &Cancel::new()) {
                    Ok(found) => {
                        shown += 1;
                        assert!(found.rows.iter().all(|it| {
                            let text: Vec<&str> = it
                                .values
                                .iter()
                                .map(|it| it.text.as_deref().unwrap())
                                .collect();
                            format!("{}\n", text.join("\t")) == row(it.number)
                        }));
                    }
                    Err(RestoreError::Archive(error)) => {
                        assert!(
                            error.to_string().contains("entry database/users.0.sql"),
                            "{error}"
                        );
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert!((1..8).contains(&shown), "{shown}");
    }
}

#[test]
fn a_look_that_takes_too_long_is_stopped() {
    let (bytes, table) = archive(Codec::Gzip, RowFormat::Text, &texts());
    let archive = Archive::open(bytes).unwrap();
    let cancel = Cancel::new();
    cancel.request();
    let stopped = browse(&archive, &table, &Wish { from: 1, ..wish() }, &cancel);
    assert!(
        stopped
            .unwrap_err()
            .to_string()
            .contains("row 2 is in the middle of one entry")
    );
    let stopped = browse(&archive, &table, &wish(), &cancel);
    assert!(matches!(stopped, Err(RestoreError::Cancelled)));
}
