//! Terminal, HTTP, metrics and mail give one answer to "am I safe?".

use crate::hub::{Hub, stdout};
use crate::service_process::ServiceProcess;
use hubvault_engine::catalog::{BackupCopy, BackupRecord, Catalog, State};
use hubvault_engine::state::StateDir;
use hubvault_model::BackupId;
use hubvault_testkit::server;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A run so many hours ago; an archive is on the disk unless `lost`.
struct Ran {
    hours_ago: i64,
    state: State,
    lost: bool,
    pinned: bool,
}

fn ran(hours_ago: i64, state: State) -> Ran {
    Ran {
        hours_ago,
        state,
        lost: false,
        pinned: false,
    }
}

impl Ran {
    fn record(&self, hub: &Hub, job: &str) -> BackupRecord {
        // Whole seconds, as some of the answers have no more.
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let began = now - SignedDuration::from_hours(self.hours_ago);
        let mut record = BackupRecord::begun(BackupId::random(), job, began);
        record.state = self.state;
        record.finished_at = Some(began + SignedDuration::from_mins(1));
        record.pinned = self.pinned;
        if self.state == State::Failed {
            record.error = Some("connection refused".to_owned());
            return record;
        }
        let file = hub.backups().join(format!(
            "critical_backup_20260101_{:06}.tar.gz",
            self.hours_ago
        ));
        if !self.lost {
            std::fs::write(&file, vec![0; 1_000]).unwrap();
        }
        record.copies = vec![BackupCopy::local(file, Some(1_000))];
        record.bytes = Some(1_000);
        record
    }
}

/// All five answers about a history are about the run at `newest`.
#[track_caller]
fn all_say(history: &[Ran], newest: Option<usize>) {
    let source = server().database();
    let mut hub = Hub::whole(&source);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    let catalog = Catalog::open(&StateDir::open(&hub.backups()).unwrap()).unwrap();
    let records: Vec<BackupRecord> = history
        .iter()
        .map(|ran| ran.record(&hub, &source.settings().dbname))
        .collect();
    for record in records.iter().rev() {
        catalog.finish(record).unwrap();
    }
    let newest = newest.map(|at| &records[at]);
    let id = newest.map_or(Value::Null, |record| record.id.to_string().into());
    let began = newest.map(|record| record.started_at);

    let status: Value = serde_json::from_slice(&hub.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["newest_proven"]["id"], id, "terminal: {status}");

    let digest = stdout(&hub.run(&["mail", "preview", "digest"]));
    let file = newest.and_then(|record| record.archive_name());
    let expected = file.unwrap_or("There is NO proven backup.");
    assert!(digest.contains(expected), "digest: {digest}");

    let token = stdout(&hub.run(&["token", "create", "board", "--role", "read"]));
    let token = token.trim();
    let service = ServiceProcess::start_http(&hub);
    let http = service.get("/backup/status", token).json();
    assert_eq!(http["newest_proven"]["id"], id, "HTTP: {http}");

    let health = service.get("/health", "").json();
    let last = health["last_backup"].as_str();
    let last = last.map(|text| text.parse::<Timestamp>().unwrap());
    assert_eq!(last, began, "health: {health}");

    let metrics = service.get("/metrics", token).text();
    let name = "hubvault_last_proven_backup_timestamp_seconds{";
    let line = metrics.lines().find(|line| line.starts_with(name));
    let seconds = line.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap());
    assert_eq!(seconds, began.map(Timestamp::as_second), "{metrics}");

    // And about how safe that is: the same risks, wherever they are shown.
    assert_eq!(http["risks"], status["risks"], "HTTP");
    assert_eq!(http["safe"], status["safe"]);
    let of_risks = status["risks"].as_array().unwrap();
    let is_safe = of_risks.is_empty();
    assert_eq!(status["safe"], is_safe);
    let metric = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(metric("hubvault_safe{"), usize::from(is_safe));
    assert_eq!(metric("hubvault_risks{"), of_risks.len());
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for risk in of_risks {
        let risk = words(risk.as_str().unwrap());
        assert!(
            words(&digest).contains(&risk),
            "{risk:?} is not in {digest}"
        );
    }
    let screen = stdout(&hub.run(&["status"]));
    let verdict = if is_safe { ": SAFE" } else { " SAFE" };
    assert_eq!(screen.contains(": SAFE"), is_safe, "{verdict}: {screen}");
    let risks = status["risks"].to_string();
    let error = health["error"].as_str();
    if let Some(said) = error {
        assert!(risks.contains(said), "{said:?} is not in {risks}");
        assert!(digest.contains(said), "{said:?} is not in {digest}");
    }
    let is_old = began.is_none_or(|at| Timestamp::now().duration_since(at).as_hours() >= 25);
    assert_eq!(error.is_some(), is_old, "health: {health}");
    for file in records.iter().filter_map(BackupRecord::file) {
        let missing = format!("{} is missing", file.display());
        assert_eq!(risks.contains(&missing), !file.exists(), "{risks}");
        assert_eq!(digest.contains(&missing), !file.exists(), "{digest}");
    }
}

#[test]
fn one_newest_proven_backup_wherever_somebody_asks() {
    use State::{Failed, Proven, Unproven};
    all_say(&[], None);
    all_say(&[ran(1, Failed), ran(2, Failed)], None);
    all_say(&[ran(1, Failed), ran(2, Proven), ran(3, Proven)], Some(1));
    all_say(&[ran(1, Unproven), ran(2, Proven)], Some(1));
    let lost = |hours_ago| Ran {
        lost: true,
        ..ran(hours_ago, Proven)
    };
    all_say(&[lost(1), ran(2, Proven)], Some(1));
    all_say(&[lost(1), lost(2)], None);
    let pinned = Ran {
        pinned: true,
        ..ran(80, Proven)
    };
    all_say(&[ran(30, Proven), pinned], Some(0));
}
