//! The values of a message, from the catalog's records.

use super::digest::DigestFacts;
use super::facts::{
    AlertFacts, ArchiveFacts, ChangeFacts, Facts, FailureFacts, FileFacts, ProofFacts, RunFacts,
    TableFacts,
};
use super::known::Known;
use super::phrases::{change, size_change, took};
use super::previous_run::previous;
use crate::catalog::{BackupCopy, BackupRecord, TableRecord};
use crate::overview::{Overview, copy_text, moment};
use hubvault_archive::Coverage;
use hubvault_model::{ByteSize, counted, grouped};
use jiff::tz::TimeZone;

impl Facts {
    /// The values of a message of type `kind` about a run.
    pub fn new(kind: &str, record: &BackupRecord, known: &Known<'_>) -> Self {
        let (now, zone) = (known.now, known.zone);
        let others = || {
            let of_job = known.history.iter().filter(|other| other.job == record.job);
            of_job.filter(|other| other.id != record.id)
        };
        let before =
            others().find(|other| other.started_at < record.started_at && other.was_published());
        let before = before.map(known.whole);
        let before = before.as_ref();
        let proven = Overview::of_runs(others(), known.look, known.whole).newest_proven;
        let earlier = |other: &BackupRecord| previous(other, now, zone);
        Self {
            kind: kind.to_owned(),
            job: record.job.clone(),
            source: known.source.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: moment(now, zone),
            date: record
                .started_at
                .to_zoned(zone.clone())
                .strftime("%Y-%m-%d")
                .to_string(),
            run: run(record, zone),
            tables: tables(record, before),
            files: record
                .files
                .iter()
                .filter(|file| !file.name.ends_with('/'))
                .map(|file| FileFacts {
                    name: file.name.clone(),
                    size: ByteSize(file.bytes).to_string(),
                })
                .collect(),
            archive: archive(record, before, known),
            proof: proof(record),
            warnings: record.warnings.iter().map(ToString::to_string).collect(),
            next_run: String::new(),
            history_known: true,
            previous: before.map(earlier),
            last_proven: proven.as_ref().map(earlier),
            failure: record.error.as_ref().map(|error| FailureFacts {
                stage: stage(record).to_owned(),
                causes: vec![error.clone()],
                log: Vec::new(),
            }),
            alert: AlertFacts::default(),
            change: ChangeFacts::default(),
            digest: DigestFacts::new(&record.job, known),
        }
    }
}

/// The stage at which a run ended.
fn stage(record: &BackupRecord) -> &str {
    let last = record.stages.last();
    last.map_or("start", |time| time.stage.as_str())
}

fn run(record: &BackupRecord, zone: &TimeZone) -> RunFacts {
    let largest = record
        .tables
        .iter()
        .find(|table| table.name == "users")
        .or_else(|| record.tables.iter().max_by_key(|table| table.rows));
    RunFacts {
        id: record.id.to_string(),
        short: record.id.short(),
        state: record.state.as_str().to_owned(),
        started: moment(record.started_at, zone),
        took: took(record),
        tables: record.tables.len(),
        rows: record.rows(),
        files: record
            .files
            .iter()
            .filter(|file| !file.name.ends_with('/'))
            .count(),
        headline: largest.map_or_else(String::new, |table| {
            format!("{} {}", grouped(table.rows), table.name)
        }),
    }
}

fn tables(record: &BackupRecord, before: Option<&BackupRecord>) -> Vec<TableFacts> {
    let earlier = |name: &str| -> Option<&TableRecord> {
        before?.tables.iter().find(|table| table.name == name)
    };
    record
        .tables
        .iter()
        .map(|table| {
            let rows_before = earlier(&table.name).map(|other| other.rows);
            TableFacts {
                name: table.name.clone(),
                taken: match table.coverage {
                    Coverage::Whole => "whole",
                    Coverage::Window => "window",
                    Coverage::Referenced => "referenced",
                }
                .to_owned(),
                rows: table.rows,
                size: ByteSize(table.bytes).to_string(),
                change: match (rows_before, before) {
                    (Some(rows), _) => change(rows, table.rows),
                    (None, Some(_)) => "new".to_owned(),
                    (None, None) => String::new(),
                },
                rows_before,
            }
        })
        .collect()
}

/// The state of each copy; one alone is in the message anyhow.
fn copies(record: &BackupRecord, known: &Known<'_>) -> Vec<String> {
    let expected: Vec<&BackupCopy> = record
        .copies
        .iter()
        .filter(|copy| copy.is_expected())
        .collect();
    if expected.len() < 2 {
        return Vec::new();
    }
    let line = |copy: &&BackupCopy| {
        let text = copy_text(copy, record, known.now, known.zone);
        format!("{}: {text}", copy.destination)
    };
    expected.iter().map(line).collect()
}

fn archive(
    record: &BackupRecord,
    before: Option<&BackupRecord>,
    known: &Known<'_>,
) -> Option<ArchiveFacts> {
    let path = record.file()?;
    let bytes = record.bytes.unwrap_or_default();
    let name = record.archive_name()?.to_owned();
    let sealed = !record.sealed_to.is_empty();
    let unpack = if sealed {
        format!("mkdir restored && age -d -i KEY {name} | tar -xz -C restored && cd restored")
    } else {
        format!("mkdir restored && tar -xf {name} -C restored && cd restored")
    };
    let unpack = if name.contains(".tar.zst") {
        unpack.replace("tar -xz ", "tar --zstd -x ")
    } else {
        unpack
    };
    Some(ArchiveFacts {
        path: path.display().to_string(),
        size: ByteSize(bytes).to_string(),
        bytes,
        sealed,
        recipients: record.sealed_to.len(),
        change: before
            .and_then(|before| before.bytes)
            .map_or_else(String::new, |before| size_change(before, bytes)),
        attached: false,
        attachment: String::new(),
        copies: copies(record, known),
        link: None,
        part: 0,
        parts: 0,
        join: String::new(),
        restore: vec![
            unpack,
            "createdb hub_restored".to_owned(),
            "PGDATABASE=hub_restored sh restore.sh --create-roles".to_owned(),
        ],
        name,
    })
}

fn proof(record: &BackupRecord) -> ProofFacts {
    let reason = record.proof.reason.clone().unwrap_or_default();
    let text = match &record.proof.drill {
        Some(drill) => format!(
            "restored {} with {} into a throwaway PostgreSQL {} and compared them row by row in {:.1} s",
            counted(drill.tables as u64, "table"),
            counted(drill.rows, "row"),
            drill.server_version,
            drill.seconds
        ),
        None if record.proof.read_back => {
            "the archive was read back from the disk, and not restored".to_owned()
        }
        None => "nothing was proven".to_owned(),
    };
    let text = (record.proof.also_not_rebuilt()).fold(text, |text, object| {
        format!("{text}; not rebuilt: {object}")
    });
    let notes = record.proof.drill.iter().flat_map(|drill| &drill.notes);
    let text = notes.fold(text, |text, note| format!("{text}; note: {note}"));
    ProofFacts {
        proven: record.proof.proven,
        text,
        reason,
    }
}
