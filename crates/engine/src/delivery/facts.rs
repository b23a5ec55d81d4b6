//! What a message may say: every value that a template can name (docs/mail.md lists them).

use super::change::ChangeFacts;
use super::digest::DigestFacts;
use super::phrases::{change, moment, size_change, took};
use super::previous_run::{PreviousFacts, previous};
use crate::catalog::{BackupRecord, OutboxItem, State, TableRecord};
use hubvault_archive::Coverage;
use hubvault_model::{ByteSize, Masks, grouped, indented, one_line};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::borrow::Cow;

/// Everything about one message. Texts are for people; numbers are plain.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// The template's name.
    pub kind: String,
    /// The job's name.
    pub job: String,
    /// The database on its host: `hub on db:5432`.
    pub source: String,
    /// hubvault's version.
    pub version: String,
    /// When this was written, to the minute, with the zone.
    pub now: String,
    /// The date of the run, `2026-11-23`.
    pub date: String,
    /// The run.
    pub run: RunFacts,
    /// The tables with their rows.
    pub tables: Vec<TableFacts>,
    /// The configuration files.
    pub files: Vec<FileFacts>,
    /// The archive; `none` when the run failed.
    pub archive: Option<ArchiveFacts>,
    /// What was proven.
    pub proof: ProofFacts,
    /// Everything that was wrong, in sentences.
    pub warnings: Vec<String>,
    /// When the next run is due; empty where no service made this one.
    pub next_run: String,
    /// Whether what ran before could be looked up; where not, the next two are `none`.
    pub history_known: bool,
    /// The last run before this one that left an archive.
    pub previous: Option<PreviousFacts>,
    /// The newest proven backup that is still there.
    pub last_proven: Option<PreviousFacts>,
    /// Why the run failed.
    pub failure: Option<FailureFacts>,
    /// The check that an alert or a recovery speaks of.
    pub alert: AlertFacts,
    /// A change of the configuration over HTTP.
    pub change: ChangeFacts,
    /// The last seven days.
    pub digest: DigestFacts,
}

/// The run.
#[derive(Clone, Debug, Serialize)]
pub struct RunFacts {
    /// Its id.
    pub id: String,
    /// The first eight digits of it.
    pub short: String,
    /// `proven`, `unproven`, `failed`.
    pub state: String,
    /// When it began.
    pub started: String,
    /// How long it took, `4.1 s`.
    pub took: String,
    /// Tables in the archive.
    pub tables: usize,
    /// Rows in the archive.
    pub rows: u64,
    /// Configuration files in the archive.
    pub files: usize,
    /// What the subject says first: the largest whole table, `50,000 users`.
    pub headline: String,
}

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct TableFacts {
    /// Its name.
    pub name: String,
    /// `whole`, `window` (its recent rows) or `referenced` (rows that others point to).
    pub taken: String,
    /// Rows.
    pub rows: u64,
    /// COPY bytes, `1.2 MB`.
    pub size: String,
    /// Against the run before, `+12`, `-3`, `same`; empty when there is none.
    pub change: String,
    /// Rows of the run before.
    pub rows_before: Option<u64>,
}

/// One configuration file.
#[derive(Clone, Debug, Serialize)]
pub struct FileFacts {
    /// Its path in the archive.
    pub name: String,
    /// Its size.
    pub size: String,
}

/// The archive.
#[derive(Clone, Debug, Serialize)]
pub struct ArchiveFacts {
    /// Its name.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// Its size.
    pub size: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether only the recipients can open it.
    pub sealed: bool,
    /// To how many.
    pub recipients: usize,
    /// Against the run before, `+1.2 MB`; empty when there is none.
    pub change: String,
    /// Whether it goes along.
    pub attached: bool,
    /// In words: attached, or why not and how to fetch it.
    pub attachment: String,
    /// A link that downloads it; `none` where links are not made.
    pub link: Option<LinkFacts>,
    /// The part that this message carries, of `parts`; 0 when it is not cut.
    pub part: usize,
    /// How many parts there are.
    pub parts: usize,
    /// How parts become one file again; empty when it is not cut.
    pub join: String,
    /// How to restore it, a line each.
    pub restore: Vec<String>,
}

/// A link that downloads an archive. Whoever has it has the archive.
#[derive(Clone, Debug, Serialize)]
pub struct LinkFacts {
    /// The whole address.
    pub url: String,
    /// Until when it opens, for people.
    pub ends: String,
    /// The same for programs, RFC 3339 in UTC.
    pub expires_at: String,
}

/// What was proven.
#[derive(Clone, Debug, Serialize)]
pub struct ProofFacts {
    /// Whether every row came back equal.
    pub proven: bool,
    /// In a sentence.
    pub text: String,
    /// Why it is not proven.
    pub reason: String,
}

/// Why a run failed.
#[derive(Clone, Debug, Serialize)]
pub struct FailureFacts {
    /// The stage that it was at.
    pub stage: String,
    /// What went wrong, the outermost first.
    pub causes: Vec<String>,
    /// The last lines of its log.
    pub log: Vec<String>,
}

/// A check that changed its state.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AlertFacts {
    /// The check's name.
    pub check: String,
    /// What is wrong, or right again.
    pub what: String,
    /// Since when.
    pub since: String,
    /// What to do next.
    pub next: String,
}

impl Facts {
    /// Everything that is known about a run of the database `source`. `history` and `outbox` are the catalog's, newest first.
    pub fn new(
        kind: &str,
        source: &str,
        record: &BackupRecord,
        history: &[BackupRecord],
        outbox: &[OutboxItem],
        now: Timestamp,
        zone: &TimeZone,
    ) -> Self {
        let of_job = || history.iter().filter(|other| other.job == record.job);
        let before = of_job().find(|other| {
            other.id != record.id && other.started_at < record.started_at && other.file.is_some()
        });
        let proven = of_job().find(|other| {
            other.id != record.id && other.state == State::Proven && other.removed_at.is_none()
        });
        let earlier = |other: &BackupRecord| previous(other, now, zone);
        Self {
            kind: kind.to_owned(),
            job: record.job.clone(),
            source: source.to_owned(),
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
            archive: archive(record, before),
            proof: proof(record),
            warnings: record.warnings.iter().map(ToString::to_string).collect(),
            next_run: String::new(),
            history_known: true,
            previous: before.map(earlier),
            last_proven: proven.map(earlier),
            failure: record.error.as_ref().map(|error| FailureFacts {
                stage: record
                    .stages
                    .last()
                    .map_or("start", |time| time.stage.as_str())
                    .to_owned(),
                causes: vec![error.clone()],
                log: Vec::new(),
            }),
            alert: AlertFacts::default(),
            change: ChangeFacts::default(),
            digest: DigestFacts::new(&record.job, history, outbox, now, zone),
        }
    }

    /// With the causes of a failure, outermost first, and the last lines of its log.
    #[must_use]
    pub fn failed_by(mut self, causes: &[String], log: &[String]) -> Self {
        if let Some(failure) = &mut self.failure {
            if !causes.is_empty() {
                failure.causes = causes.to_vec();
            }
            failure.log = log.to_vec();
        }
        self
    }

    /// Without secrets: before it is rendered, as HTML would write some of their letters otherwise.
    #[must_use]
    pub fn masked(mut self, masks: &Masks) -> Self {
        let alert = &mut self.alert;
        let digest = &mut self.digest;
        let mut texts: Vec<&mut String> = vec![
            &mut self.proof.text,
            &mut self.proof.reason,
            &mut alert.what,
            &mut alert.next,
        ];
        texts.extend(&mut self.warnings);
        texts.extend(&mut digest.failed);
        texts.extend(&mut digest.risks);
        texts.extend(&mut digest.undelivered);
        if let Some(failure) = &mut self.failure {
            texts.extend(&mut failure.causes);
            texts.extend(&mut failure.log);
        }
        for text in texts {
            *text = indented(&masks.mask(text));
        }
        self.in_lines()
    }

    /// Names and log lines, each in one line.
    fn in_lines(mut self) -> Self {
        let mut texts = vec![
            &mut self.job,
            &mut self.source,
            &mut self.run.headline,
            &mut self.alert.check,
        ];
        texts.extend(self.tables.iter_mut().map(|table| &mut table.name));
        texts.extend(self.files.iter_mut().map(|file| &mut file.name));
        if let Some(archive) = &mut self.archive {
            texts.extend([&mut archive.name, &mut archive.path]);
            texts.extend(&mut archive.restore);
        }
        if let Some(failure) = &mut self.failure {
            texts.extend(&mut failure.log);
        }
        for text in texts {
            if let Cow::Owned(line) = one_line(text) {
                *text = line;
            }
        }
        self
    }

    /// With the moment of the next run, where a service knows it.
    #[must_use]
    pub fn before(mut self, next: Option<Timestamp>, zone: &TimeZone) -> Self {
        self.next_run = next.map_or_else(String::new, |next| moment(next, zone));
        self
    }

    /// About a check.
    #[must_use]
    pub fn of_alert(mut self, alert: AlertFacts) -> Self {
        self.alert = alert;
        self
    }
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

fn archive(record: &BackupRecord, before: Option<&BackupRecord>) -> Option<ArchiveFacts> {
    let path = record.file.as_ref()?;
    let bytes = record.bytes.unwrap_or_default();
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
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
            "{} tables with {} rows were restored into a throwaway PostgreSQL {} and compared row by \
             row in {:.1} s",
            drill.tables,
            grouped(drill.rows),
            drill.server_version,
            drill.seconds
        ),
        None if record.proof.read_back => "it was read back whole from the disk".to_owned(),
        None => "nothing was proven".to_owned(),
    };
    ProofFacts {
        proven: record.proof.proven,
        text,
        reason,
    }
}
