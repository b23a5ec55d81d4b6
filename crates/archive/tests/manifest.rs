//! A manifest is read back as it was written.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use hubvault_archive::{
    CheckedKind, Codec, Coverage, EntryKind, EntryRecord, FileSummary, LateCheck, LeftOut,
    LoadOrder, Manifest, RowData, ScopeInfo, SequenceState, SnapshotInfo, TableSummary, Through,
    Tool, UncheckedForeignKey,
};
use hubvault_model::{
    BackupId, DatabaseFacts, HostNeeds, RowDigest, RowFormat, TableName, Warning,
};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// Names and texts as people and programs write them, and worse.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{0,12}", "\\PC{0,12}", any::<String>()]
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (-60_000_000_000i64..250_000_000_000, 0i32..1_000_000_000)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap())
}

fn table() -> impl Strategy<Value = TableName> {
    (text(), text()).prop_map(|(schema, name)| TableName::new(schema, name))
}

fn format() -> impl Strategy<Value = RowFormat> {
    select(vec![RowFormat::Text, RowFormat::Csv])
}

fn digest() -> impl Strategy<Value = RowDigest> {
    vec(any::<[u8; 3]>(), 0..4).prop_map(|rows| {
        let mut digest = RowDigest::default();
        for row in &rows {
            digest.add_row(row);
        }
        digest
    })
}

prop_compose! {
    fn tables()(
        name in table(), coverage in select(vec![Coverage::Whole, Coverage::Window, Coverage::Referenced]),
        filter in of(text()), columns in vec(text(), 0..4), format in format(), digest in digest(),
        added_rows in any::<u64>(), bytes in any::<u64>(), entries in vec(text(), 0..4),
        source_digest in of(text()), extension in of(text()),
    ) -> TableSummary {
        TableSummary {
            name, extension, coverage, filter, window: None, columns: columns.into(), format, encoding: None, digest, added_rows, source_digest, computed: None, bytes, entries,
        }
    }
}

prop_compose! {
    fn entry()(
        name in text(), kind in select(vec![
            EntryKind::Info, EntryKind::RestoreScript, EntryKind::Schema, EntryKind::TableData, EntryKind::Sequences,
            EntryKind::ForeignKeys, EntryKind::Config, EntryKind::Directory, EntryKind::Link, EntryKind::Manifest,
        ]),
        numbers in any::<[u64; 5]>(), sums in any::<[String; 2]>(), mode in any::<u32>(), link in of(text()),
        rows in of((table(), vec(text(), 0..4), format(), digest())),
    ) -> EntryRecord {
        let [offset, stored_bytes, raw_bytes, header_bytes, footer_bytes] = numbers;
        let [sha256, stored_sha256] = sums;
        let rows = rows.map(|(table, columns, format, digest)| {
            RowData { table, columns: columns.into(), format, encoding: None, digest, header_bytes, footer_bytes }
        });
        EntryRecord { name, kind, offset, stored_bytes, raw_bytes, sha256, stored_sha256, mode, link, rows }
    }
}

prop_compose! {
    fn file()(
        source in text(), name in text(), bytes in any::<u64>(), sha256 in of(text()), mode in any::<u32>(),
        owner in of(any::<(u32, u32)>()), left_out_bits in any::<u32>(),
    ) -> FileSummary {
        FileSummary { source, name, bytes, sha256, mode, owner, left_out_bits }
    }
}

prop_compose! {
    fn snapshot()(
        texts in any::<[String; 4]>(), taken_at in moment(), server_version_num in any::<u32>(), standby in any::<bool>(),
        system_identifier in of(text()),
    ) -> SnapshotInfo {
        let [id, lsn, database, server_version] = texts;
        SnapshotInfo { id, lsn, taken_at, database, server_version, server_version_num, standby, system_identifier }
    }
}

/// What is missing in an archive or was wrong with it.
type Lacks = (
    Vec<SequenceState>,
    Vec<LeftOut>,
    Vec<UncheckedForeignKey>,
    Vec<Warning>,
);

fn missing_rows() -> impl Strategy<Value = Lacks> {
    let sequence =
        (table(), of(any::<i64>()), any::<bool>()).prop_map(|(name, last_value, is_called)| {
            SequenceState {
                name,
                last_value,
                is_called,
            }
        });
    let left =
        (table(), of(any::<u64>()), text()).prop_map(|(name, estimated_rows, reason)| LeftOut {
            name,
            estimated_rows,
            reason,
        });
    let key = (text(), table(), table(), text()).prop_map(|(name, table, references, reason)| {
        UncheckedForeignKey {
            name,
            table,
            references,
            reason,
        }
    });
    let warning = (text(), text(), text())
        .prop_map(|(code, subject, what)| Warning::new(code, subject, what));
    (
        vec(sequence, 0..3),
        vec(left, 0..3),
        vec(key, 0..3),
        vec(warning, 0..3),
    )
}

prop_compose! {
    fn load_order()(
        search_path in vec(text(), 0..3), after_tables in vec(table(), 0..3), after_indexes in vec(table(), 0..3),
        checks in vec((any::<bool>(), table(), text()), 0..3), through in vec((table(), table()), 0..3),
        bound_by_policies in vec(text(), 0..3), settings in vec((text(), text()), 0..3),
    ) -> LoadOrder {
        let late_checks = checks.into_iter().map(|(domain, owner, constraint)| LateCheck {
            on: if domain { CheckedKind::Domain } else { CheckedKind::Table }, owner, constraint,
        });
        LoadOrder { search_path, settings: settings.into_iter().collect(), late_checks: late_checks.collect(), after_tables, after_indexes, through: through.into_iter().map(|(partition, table)| Through { partition, table }).collect(), bound_by_policies }
    }
}

prop_compose! {
    fn database()(texts in any::<[String; 4]>(), locale in of(text()), icu_rules in of(text()), limit in any::<i32>(),
        tablespace in of(text()))
    -> DatabaseFacts {
        let [encoding, provider, collate, ctype] = texts;
        DatabaseFacts { encoding, provider, collate, ctype, locale, icu_rules, connection_limit: limit, tablespace }
    }
}

prop_compose! {
    fn manifest()(
        head in (any::<u128>(), text(), text(), text(), moment(), moment(), select(vec![Codec::Gzip, Codec::Zstd])),
        snapshot in snapshot(), scope in any::<[Vec<String>; 3]>(), tables in vec(tables(), 0..4), lacks in missing_rows(),
        roles in vec(text(), 0..3), refresh in vec(table(), 0..3), files in vec(file(), 0..3), entries in vec(entry(), 0..4),
        load_order in load_order(), masked in vec(text(), 0..3),
        database in of(database()),
    ) -> Manifest {
        let (id, job, name, version, started_at, finished_at, codec) = head;
        let [whole, exclude, windows] = scope;
        let (sequences, left_out, not_valid, warnings) = lacks;
        Manifest {
            format_version: 1, id: BackupId::from_u128(id), job, tool: Tool { name, version }, started_at, finished_at, codec,
            snapshot, database, scope: ScopeInfo { tables: whole, exclude, windows }, tables, sequences, roles, refresh, needs: HostNeeds::default(), load_order, masked, left_out, not_valid,
            files, warnings, entries,
        }
    }
}

proptest! {
    #[test]
    fn a_written_manifest_is_read_back(manifest in manifest()) {
        let json = serde_json::to_vec_pretty(&manifest).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Manifest>(&json).unwrap(), manifest);
    }

    /// Half a manifest is no manifest.
    #[test]
    fn a_truncated_manifest_is_refused(manifest in manifest(), at in any::<prop::sample::Index>()) {
        let json = serde_json::to_vec(&manifest).unwrap();
        let cut = &json[..at.index(json.len())];
        prop_assert!(serde_json::from_slice::<Manifest>(cut).is_err());
    }
}
