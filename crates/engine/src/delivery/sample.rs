//! A sample of every value of a message, to check templates and to preview them before the first run.

use super::facts::{AlertFacts, ChangeFacts, ChangedSetting, Facts, LinkFacts};
use super::known::Known;
use crate::catalog::{BackupCopy, BackupRecord, DrillRecord, ProofRecord, State, TableRecord};
use crate::overview::recorded;
use crate::progress::{Stage, StageTime};
use hubvault_archive::{Coverage, FileSummary};
use hubvault_model::{BackupId, Warning};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// 2026-11-23 02:00 UTC.
const MOMENT: i64 = 1_795_399_200;

/// A run with an archive, of the sample hub.
pub fn record(job: &str) -> BackupRecord {
    let started = Timestamp::from_second(MOMENT).unwrap_or_default();
    let table = |name: &str, rows: u64, bytes: u64| TableRecord {
        name: name.to_owned(),
        rows,
        bytes,
        digest: format!("{:032x}", rows * 7_919),
        coverage: if name.ends_with("transactions") {
            Coverage::Window
        } else {
            Coverage::Whole
        },
    };
    let file = |name: &str, bytes| FileSummary {
        name: name.to_owned(),
        source: format!("/config/{name}"),
        bytes,
        sha256: Some("0".repeat(64)),
        mode: 0o600,
        owner: Some((0, 0)),
        left_out_bits: 0,
    };
    BackupRecord {
        copies: copies(23, 11_900_000),
        state: State::Proven,
        finished_at: Some(started + SignedDuration::from_millis(4_100)),
        stages: vec![StageTime {
            stage: Stage::Export,
            seconds: 2.5,
        }],
        bytes: Some(11_900_000),
        tables: vec![
            table("users", 50_000, 9_800_000),
            table("user_roles", 50_005, 1_900_000),
            table("credit_transactions", 75_132, 7_400_000),
            table("billing.invoices", 4_117, 600_000),
        ],
        files: vec![
            file("config/.env.production", 1_204),
            file("config/nginx.prod.conf", 3_310),
        ],
        proof: ProofRecord {
            proven: true,
            read_back: true,
            reason: None,
            drill: Some(DrillRecord {
                drilled_at: started + SignedDuration::from_millis(4_000),
                seconds: 3.0,
                server_version: "15.18".into(),
                tables: 4,
                rows: 179_254,
                ..DrillRecord::default()
            }),
        },
        warnings: vec![
            Warning::new(
                "missing-table",
                "organizations",
                "organizations does not exist in this database (the scope names it)",
            ),
            Warning::new(
                "outside-reference",
                "credit_accounts",
                "credit_accounts is not in the scope and refers to users",
            ),
        ],
        ..BackupRecord::begun(BackupId::from_u128(0x3f2a_91c0 << 96), job, started)
    }
}

/// A check that changed its state.
pub fn alert() -> AlertFacts {
    AlertFacts {
        check: "time".to_owned(),
        what: "the newest proven backup is 49 hours old".to_owned(),
        since: "2026-11-23 02:00 UTC".to_owned(),
        next: "hubvault backup".to_owned(),
    }
}

/// A change of the configuration.
pub fn change() -> ChangeFacts {
    ChangeFacts {
        refused: false,
        who: "deploy".to_owned(),
        role: "admin".to_owned(),
        address: "203.0.113.9".to_owned(),
        settings: vec![ChangedSetting {
            key: "retention.days".to_owned(),
            from: "30".to_owned(),
            to: "60".to_owned(),
        }],
    }
}

fn copies(day: u32, bytes: u64) -> Vec<BackupCopy> {
    let path = format!("/backups/critical_backup_202611{day}_020000.tar.gz");
    vec![BackupCopy::local(path, Some(bytes))]
}

/// The run of the day before.
pub fn before(job: &str) -> BackupRecord {
    let mut record = record(job);
    record.id = BackupId::from_u128(1);
    record.started_at -= SignedDuration::from_hours(24);
    record.finished_at = record
        .finished_at
        .map(|end| end - SignedDuration::from_hours(24));
    record.bytes = Some(11_700_000);
    record.copies = copies(22, 11_700_000);
    for (table, less) in record.tables.iter_mut().zip([120, 0, 812, 3]) {
        table.rows -= less;
    }
    record
}

/// A link to an archive.
pub fn link() -> LinkFacts {
    LinkFacts {
        url: "https://backups.hub.example/download/3f2a91c0-0000-0000-0000-000000000000?expires=1795658400&\
              signature=0000"
            .to_owned(),
        ends: "2026-11-26 02:00 UTC".to_owned(),
        expires_at: "2026-11-26T02:00:00Z".to_owned(),
    }
}

/// Everything at once, so that no name is unknown.
pub(super) fn facts(kind: &str) -> Facts {
    let mut record = record("hub");
    record.error = Some("connecting to db:5432: connection refused".to_owned());
    let known = Known {
        source: "hub on db:5432",
        history: &[record.clone(), before("hub")],
        whole: &BackupRecord::clone,
        outbox: &[],
        look: recorded,
        max_age_hours: 25,
        mails_unsealed: true,
        risks: None,
        now: record.started_at + SignedDuration::from_mins(5),
        zone: &TimeZone::UTC,
    };
    let mut facts = Facts::new(kind, &record, &known)
        .failed_by(
            &["exporting users: the connection was lost".to_owned()],
            &["INFO exporting".to_owned()],
        )
        .of_alert(alert());
    facts.change = change();
    if let Some(archive) = &mut facts.archive {
        archive.attached = true;
        "It is attached to this mail.".clone_into(&mut archive.attachment);
        archive.link = Some(link());
    }
    facts
}
