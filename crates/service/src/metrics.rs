//! What the service knows, as numbers in the text format of Prometheus.

use hubvault_engine::catalog::{AlertState, CheckState, OutboxState, State};
use hubvault_engine::overview::Overview;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a job's numbers are made from.
pub(crate) struct Seen {
    pub(crate) job: String,
    /// Whether its catalog could be read; if not, nothing of it is known.
    pub(crate) readable: bool,
    /// What its catalog says, by the names of jobs: one that was renamed is there by both.
    pub(crate) overviews: BTreeMap<String, Overview>,
    pub(crate) outbox: Vec<OutboxState>,
    /// What the checks last found.
    pub(crate) checks: Vec<AlertState>,
    /// How many things are at risk.
    pub(crate) risks: usize,
    pub(crate) free_bytes: Option<u64>,
    pub(crate) started_at: Timestamp,
    pub(crate) next_run: Option<Timestamp>,
    pub(crate) running: bool,
    /// How old the newest proven backup may be.
    pub(crate) max_age_hours: u32,
}

/// Every metric with its help; all are gauges.
const METRICS: &[(&str, &str)] = &[
    ("hubvault_build_info", "The version that runs"),
    ("hubvault_start_timestamp_seconds", "When the service began"),
    (
        "hubvault_next_run_timestamp_seconds",
        "When the next run begins",
    ),
    (
        "hubvault_catalog_readable",
        "1 while the catalog of the job can be read; without it there is nothing about its runs",
    ),
    (
        "hubvault_safe",
        "1 while nothing is at risk, as hubvault status says it",
    ),
    ("hubvault_risks", "How many things are at risk"),
    ("hubvault_running", "1 while a run is active"),
    (
        "hubvault_max_age_seconds",
        "How old the newest proven backup may be",
    ),
    (
        "hubvault_last_attempt_timestamp_seconds",
        "When the newest run began",
    ),
    (
        "hubvault_last_attempt_failed",
        "1 when the newest run that ended failed",
    ),
    (
        "hubvault_last_success_timestamp_seconds",
        "When the newest run that published an archive ended",
    ),
    (
        "hubvault_last_proof_timestamp_seconds",
        "When an archive was last restored and compared",
    ),
    (
        "hubvault_last_proven_backup_timestamp_seconds",
        "The moment that the newest proven archive that is there holds",
    ),
    (
        "hubvault_run_duration_seconds",
        "What the newest run that published took",
    ),
    (
        "hubvault_stage_duration_seconds",
        "What each of its stages took",
    ),
    ("hubvault_table_rows", "Rows of a table in its archive"),
    (
        "hubvault_table_bytes",
        "COPY bytes of a table in its archive",
    ),
    ("hubvault_archive_bytes", "The size of its archive"),
    ("hubvault_warnings", "Its warnings"),
    ("hubvault_runs", "Runs that the catalog knows, by state"),
    ("hubvault_archives", "Archives that are there"),
    ("hubvault_archives_bytes", "What they measure together"),
    ("hubvault_archives_pinned", "Those of them that are pinned"),
    (
        "hubvault_archives_missing",
        "Copies that are missing or damaged and were not removed by hubvault",
    ),
    (
        "hubvault_copies",
        "Copies that should be there, by destination and state",
    ),
    (
        "hubvault_last_proven_backup_copies",
        "Copies of the newest proven backup that are there",
    ),
    ("hubvault_outbox", "Messages, by state"),
    (
        "hubvault_disk_free_bytes",
        "What the archive directory's disk has left",
    ),
    ("hubvault_check_ok", "1 while a check is well"),
    (
        "hubvault_check_timestamp_seconds",
        "When a check was last made",
    ),
];

/// All of them, of all jobs.
pub(crate) fn text(seen: &[Seen]) -> String {
    let mut out = Page::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    out.put("hubvault_build_info", &version, 1.0);
    if let Some(first) = seen.first() {
        let at = seconds(first.started_at);
        out.put("hubvault_start_timestamp_seconds", &[], at);
    }
    for seen in seen {
        of_job(&mut out, seen);
    }
    out.finish()
}

fn of_job(out: &mut Page, seen: &Seen) {
    let of = [("job", seen.job.as_str())];
    if let Some(at) = seen.next_run {
        out.put("hubvault_next_run_timestamp_seconds", &of, seconds(at));
    }
    out.put("hubvault_running", &of, flag(seen.running));
    let max_age = f64::from(seen.max_age_hours) * 3600.0;
    out.put("hubvault_max_age_seconds", &of, max_age);
    out.put("hubvault_catalog_readable", &of, flag(seen.readable));
    if !seen.readable {
        return;
    }
    out.put("hubvault_safe", &of, flag(seen.risks == 0));
    out.put("hubvault_risks", &of, seen.risks as f64);
    for (job, overview) in &seen.overviews {
        runs(out, job, overview);
        archives(out, job, overview);
    }
    for state in [
        OutboxState::Waiting,
        OutboxState::Sending,
        OutboxState::Sent,
        OutboxState::Failed,
    ] {
        let in_state = seen.outbox.iter().filter(|one| **one == state);
        let labels = [("job", seen.job.as_str()), ("state", state.as_str())];
        out.put("hubvault_outbox", &labels, in_state.count() as f64);
    }
    if let Some(free) = seen.free_bytes {
        out.put("hubvault_disk_free_bytes", &of, free as f64);
    }
    checks(out, &seen.checks);
}

/// One that could not be looked at is neither well nor ill, and left out.
fn checks(out: &mut Page, checks: &[AlertState]) {
    for check in checks {
        let labels = [("job", check.job.as_str()), ("check", check.check.as_str())];
        let looked_at = seconds(check.looked_at);
        out.put("hubvault_check_timestamp_seconds", &labels, looked_at);
        if check.state != CheckState::Skipped {
            let ok = check.state == CheckState::Ok;
            out.put("hubvault_check_ok", &labels, flag(ok));
        }
    }
}

fn runs(out: &mut Page, job: &str, overview: &Overview) {
    let of = [("job", job)];
    let mut at = |name, at: Option<Timestamp>| {
        if let Some(at) = at {
            out.put(name, &of, seconds(at));
        }
    };
    let last = overview.last_run.as_ref();
    at(
        "hubvault_last_attempt_timestamp_seconds",
        last.map(|run| run.started_at),
    );
    at("hubvault_last_proof_timestamp_seconds", overview.last_drill);
    let published = overview.last_published.as_ref();
    at(
        "hubvault_last_success_timestamp_seconds",
        published.and_then(|run| run.finished_at),
    );
    if let Some(ended) = &overview.last_ended {
        let failed = flag(ended.state == State::Failed);
        out.put("hubvault_last_attempt_failed", &of, failed);
    }
    for state in [
        State::Running,
        State::Proven,
        State::Unproven,
        State::Failed,
    ] {
        let labels = [("job", job), ("state", state.as_str())];
        out.put("hubvault_runs", &labels, overview.runs(state) as f64);
    }
    let Some(newest) = published else {
        return;
    };
    if let Some(took) = newest.seconds() {
        out.put("hubvault_run_duration_seconds", &of, took);
    }
    for time in &newest.stages {
        let labels = [("job", job), ("stage", time.stage.as_str())];
        out.put("hubvault_stage_duration_seconds", &labels, time.seconds);
    }
    for table in &newest.tables {
        let labels = [("job", job), ("table", table.name.as_str())];
        out.put("hubvault_table_rows", &labels, table.rows as f64);
        out.put("hubvault_table_bytes", &labels, table.bytes as f64);
    }
    if let Some(bytes) = newest.bytes {
        out.put("hubvault_archive_bytes", &of, bytes as f64);
    }
    out.put("hubvault_warnings", &of, newest.warnings.len() as f64);
}

fn archives(out: &mut Page, job: &str, overview: &Overview) {
    let of = [("job", job)];
    let mut count = |name, count: usize| out.put(name, &of, count as f64);
    count("hubvault_archives", overview.archives);
    count("hubvault_archives_pinned", overview.archives_pinned);
    count("hubvault_archives_missing", overview.missing.len());
    let bytes = overview.archives_bytes;
    out.put("hubvault_archives_bytes", &of, bytes as f64);
    if let Some(proven) = &overview.newest_proven {
        let at = seconds(proven.started_at);
        out.put("hubvault_last_proven_backup_timestamp_seconds", &of, at);
        let copies = overview.newest_at().count();
        out.put("hubvault_last_proven_backup_copies", &of, copies as f64);
    }
    for ((destination, state), count) in &overview.copies {
        let labels = [
            ("job", job),
            ("destination", destination.as_str()),
            ("state", state),
        ];
        out.put("hubvault_copies", &labels, *count as f64);
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// Samples by metric, as the format wants those of one together.
#[derive(Default)]
struct Page {
    samples: Vec<(&'static str, String)>,
}

impl Page {
    fn put(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        self.samples
            .push((name, format!("{name}{labels} {value}\n")));
    }

    fn finish(&self) -> String {
        let mut out = String::new();
        for (name, help) in METRICS {
            let mut lines = self.samples.iter().filter(|(of, _)| of == name).peekable();
            if lines.peek().is_some() {
                // Writing to a String cannot fail.
                let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
            }
            lines.for_each(|(_, line)| out.push_str(line));
        }
        out
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_engine::catalog::{BackupCopy, BackupRecord, TableRecord};
    use hubvault_engine::overview::looked_for;
    use hubvault_model::BackupId;
    use std::collections::BTreeSet;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn page() -> String {
        let mut record = BackupRecord::begun(BackupId::random(), "hu\"b", at(10));
        record.state = State::Proven;
        record.finished_at = Some(at(15));
        record.bytes = Some(7);
        record.copies = vec![BackupCopy::local("/nowhere/archive", Some(7))];
        record.tables = vec![TableRecord {
            name: "users".to_owned(),
            rows: 3,
            bytes: 30,
            digest: String::new(),
            coverage: serde_json::from_str("\"whole\"").unwrap(),
        }];
        text(&[Seen {
            job: "hub".to_owned(),
            readable: true,
            overviews: [(record.job.clone(), Overview::of([&record], looked_for))].into(),
            outbox: Vec::new(),
            checks: Vec::new(),
            risks: 0,
            free_bytes: Some(1),
            started_at: at(1),
            next_run: Some(at(20)),
            running: false,
            max_age_hours: 1,
        }])
    }

    #[test]
    fn a_page_has_each_metric_once_with_its_help_and_escapes_labels() {
        let page = page();
        assert!(
            page.contains("hubvault_table_rows{job=\"hu\\\"b\",table=\"users\"} 3\n"),
            "{page}"
        );
        assert!(page.contains("hubvault_run_duration_seconds{job=\"hu\\\"b\"} 5\n"));
        assert!(page.contains("hubvault_archives_missing{job=\"hu\\\"b\"} 1\n"));
        let copies = "hubvault_copies{job=\"hu\\\"b\",destination=\"local\",state=\"missing\"} 1\n";
        assert!(page.contains(copies), "{page}");
        let types = page.lines().filter(|line| line.starts_with("# TYPE"));
        let names: Vec<&str> = types.collect();
        let once: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), once.len());
        let told = page.lines().filter(|line| !line.starts_with('#'));
        for line in told {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(METRICS.iter().any(|(known, _)| *known == name), "{line}");
        }
    }

    #[test]
    fn rules_and_board_name_only_metrics_that_there_are() {
        for file in ["alert-rules.yml", "grafana.json"] {
            let path = format!("{}/../../deploy/{file}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let named: BTreeSet<&str> = text
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .filter(|word| word.starts_with("hubvault_"))
                .collect();
            assert!(named.len() > 5, "{file} names {named:?}");
            for name in named {
                assert!(
                    METRICS.iter().any(|(known, _)| *known == name),
                    "{file}: {name}"
                );
            }
        }
    }
}
