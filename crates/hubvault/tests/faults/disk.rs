//! Disk faults under a backup, at every call: full, failing, read-only, no permission.

use crate::disk_consistency::{check_backup, next_is_proven};
use crate::disk_fault::{Calls, EACCES, EDQUOT, EIO, ENOSPC, EROFS, Fault, count, inject};
use crate::fault_harness::FaultHarness;
use crate::form::points;
use crate::hub::{stderr, stdout};
use crate::keys::Pair;
use crate::kills::send_mail_to;
use crate::tally::Tally;
use hubvault_testkit::{Database, MailServer, MailServerOptions, MailTls, database_with};

pub(crate) const SMALL: &str = "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, 1000) n; ANALYZE;";
const BACKUP: [&str; 2] = ["backup", "--json"];

/// Calls that go wrong in the same ways.
struct Site {
    /// For the table of what happened.
    what: &'static str,
    kinds: &'static str,
    /// A pattern of paths.
    place: &'static str,
    errnos: &'static [i32],
}

const fn site(
    what: &'static str,
    kinds: &'static str,
    place: &'static str,
    errnos: &'static [i32],
) -> Site {
    Site {
        what,
        kinds,
        place,
        errnos,
    }
}

const FULL: &[i32] = &[ENOSPC, EDQUOT];
const DENIED: &[i32] = &[EACCES, EROFS];

/// All that a backup does to its own directory and to its log.
const SITES: [Site; 21] = [
    site("archive: disk full", "write", "*/.critical_backup_*", FULL),
    site(
        "archive: write fails",
        "write",
        "*/.critical_backup_*",
        &[EIO],
    ),
    site(
        "archive: fsync fails",
        "sync",
        "*/.critical_backup_*",
        &[EIO],
    ),
    site(
        "archive: cannot be made",
        "create",
        "*/.critical_backup_*",
        &[ENOSPC, EACCES, EROFS],
    ),
    site(
        "archive: cannot be named",
        "rename",
        "*/critical_backup_*.tar.gz",
        &[EIO, ENOSPC, EACCES],
    ),
    site("backup directory: fsync fails", "sync", "*/backups", &[EIO]),
    site("sidecar: disk full", "write", "*.manifest.*", FULL),
    site("sidecar: fsync fails", "sync", "*.manifest.*", &[EIO]),
    site(
        "sidecar: cannot be made or named",
        "create,rename",
        "*.manifest.*",
        &[ENOSPC, EACCES, EIO],
    ),
    site(
        "marks: disk full, or denied",
        "write,create,rename",
        "*/.last_backup_*",
        &[ENOSPC, EACCES],
    ),
    site("catalog: disk full", "write", "*/catalog.sqlite*", FULL),
    site("catalog: fsync fails", "sync", "*/catalog.sqlite*", &[EIO]),
    site(
        "catalog: denied",
        "open,create,unlink",
        "*/catalog.sqlite*",
        DENIED,
    ),
    site(
        "state directory: fsync fails",
        "sync",
        "*/.hubvault",
        &[EIO],
    ),
    site(
        "run lock: cannot be opened or written",
        "open,create,write",
        "*/run.lock",
        &[ENOSPC, EACCES, EROFS],
    ),
    site(
        "progress: not written",
        "create,write,rename",
        "*/progress.json*",
        &[ENOSPC, EACCES],
    ),
    site(
        "log of the run: not written",
        "create,write",
        "*/.hubvault/logs/*",
        &[ENOSPC, EROFS],
    ),
    site(
        "LOG_FILE: not written",
        "create,open,write,rename",
        "*/log/hub.log*",
        &[ENOSPC, EACCES, EIO],
    ),
    site(
        "old archive: cannot be removed",
        "unlink",
        "*/critical_backup_*",
        &[EACCES, EROFS, EIO],
    ),
    site("inodes exhausted", "create", "*/backups/*", &[ENOSPC]),
    site(
        "directory turns read-only",
        "write,sync,rename,create,open,unlink",
        "*/backups*",
        &[EROFS],
    ),
];

/// What is otherwise where an archive is sealed.
const SEALED: [Site; 4] = [
    site(
        "sealed archive: disk full",
        "write",
        "*/.critical_backup_*",
        FULL,
    ),
    site(
        "sealed archive: write fails",
        "write",
        "*/.critical_backup_*",
        &[EIO],
    ),
    site(
        "sealed archive: fsync fails",
        "sync",
        "*/.critical_backup_*",
        &[EIO],
    ),
    site(
        "sealed archive: cannot be named",
        "rename",
        "*/critical_backup_*.tar.gz.age",
        &[EIO, ENOSPC, EACCES],
    ),
];

/// A hub that mails, drills on a server that is there, writes a log and keeps two archives.
pub(crate) fn harness(database: &Database, mail: &MailServer) -> FaultHarness {
    let settings = database.settings();
    let mut harness = FaultHarness::new(database, "[retention]\ndays = 0\nkeep_last = 2\n");
    let on = format!(
        "host={} port={} dbname=postgres",
        settings.host, settings.port
    );
    harness.hub.set("PROOF_SERVER", on);
    send_mail_to(&mut harness.hub, mail.port);
    let log = harness.hub.config().join("log/hub.log");
    std::fs::create_dir(log.parent().unwrap()).unwrap();
    harness.hub.set("LOG_FILE", log.display().to_string());
    harness
}

pub(crate) fn mail_server() -> MailServer {
    MailServer::start(MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    })
}

impl Site {
    fn calls(&self) -> Calls {
        Calls {
            program: "hubvault",
            kinds: self.kinds,
            place: self.place.to_owned(),
        }
    }

    /// Whether a call, `kind path`, is one of this site's.
    fn has(&self, call: &str) -> bool {
        let (kind, path) = call.split_once(' ').unwrap();
        self.kinds.split(',').any(|one| one == kind) && fits(self.place, path)
    }

    /// The faults at this site, of which there are so many calls: each once, of many alike 24 in equal distances, and every
    /// error once.
    fn faults(&self, calls: usize) -> Vec<Fault> {
        let few = points(1, calls.max(self.errnos.len()).min(24));
        (0..few)
            .map(|n| Fault {
                // In the middle of as many parts.
                at: 1 + (2 * n + 1) * calls / (2 * few),
                errno: self.errnos[n % self.errnos.len()],
                stays: self.what.contains("turns") || self.what.contains("inodes") || n % 2 == 0,
                is_short: self.kinds == "write" && n % 3 == 0,
            })
            .collect()
    }
}

/// As fnmatch(3) does it, with `*` alone.
fn fits(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((before, rest)) => path.strip_prefix(before).is_some_and(|path| {
            (0..=path.len()).any(|at| path.get(at..).is_some_and(|path| fits(rest, path)))
        }),
    }
}

/// What a backup that goes well does to any file.
fn calls_of(harness: &FaultHarness) -> Vec<String> {
    let everything = Calls {
        program: "hubvault",
        kinds: "write,sync,rename,create,open,unlink",
        place: "*".to_owned(),
    };
    let whole = count(&harness.hub, &everything, &BACKUP);
    let said = stderr(&whole.output) + &stdout(&whole.output);
    assert!(whole.output.status.success(), "{said}");
    whole.calls
}

/// Every fault of some sites, whose calls are those of a run that went well.
fn inject_all(
    tally: &mut Tally,
    harness: &FaultHarness,
    mail: &MailServer,
    calls: &[String],
    sites: &[Site],
) {
    for site in sites {
        let there = calls.iter().filter(|call| site.has(call));
        for fault in site.faults(there.count()) {
            let (before, known) = (harness.proven(), harness.list().unwrap().len());
            let ran = inject(&harness.hub, &site.calls(), fault, &BACKUP);
            if ran.calls.is_empty() {
                continue;
            }
            let outcome = check_backup(harness, &ran, &before, known, mail);
            let outcome = outcome.and_then(|ended| next_is_proven(harness).map(|()| ended));
            println!("{}: {fault:?} {:?}: {outcome:?}", site.what, ran.calls);
            match outcome {
                Ok(ended) => tally.passed(site.what, &ended),
                Err(why) => tally.failed(site.what, &format!("{fault:?} {:?}: {why}", ran.calls)),
            }
        }
        assert!(
            tally.injected(site.what) > 0,
            "{} never happened",
            site.what
        );
    }
}

#[test]
fn a_failing_disk_under_a_backup_is_reported_correctly() {
    let database = database_with(SMALL);
    let mail = mail_server();
    let harness = harness(&database, &mail);
    for _ in 0..2 {
        harness.hub.backup();
    }
    let mut tally = Tally::new("disk-backup");
    let calls = calls_of(&harness);
    inject_all(&mut tally, &harness, &mail, &calls, &SITES);
    tally.finish();
}

#[test]
fn a_failing_disk_under_a_sealed_backup_is_reported_correctly() {
    let database = database_with(SMALL);
    let mail = mail_server();
    let mut harness = harness(&database, &mail);
    let keys = tempfile::tempdir().unwrap();
    let pair = Pair::age(keys.path(), "administrator");
    harness.hub.set("BACKUP_RECIPIENTS", &pair.public);
    harness.identity = Some(pair.identity().to_owned());
    for _ in 0..2 {
        harness.hub.backup();
    }
    let mut tally = Tally::new("disk-backup-sealed");
    let calls = calls_of(&harness);
    inject_all(&mut tally, &harness, &mail, &calls, &SEALED);
    tally.finish();
}
