//! `hubvault status`: am I safe? In one screen.

use super::Exit;
use crate::answer;
use crate::text::{Meaning, bullets, grid, paint, paragraph, plain, print};
use anyhow::Result;
use hubvault_config::{Administrator, Settings};
use hubvault_engine::catalog;
use hubvault_engine::catalog::{BackupCopy, BackupRecord, Catalog, OutboxItem, OutboxState};
use hubvault_engine::disk::free_bytes;
use hubvault_engine::job::{Destination, Job};
use hubvault_engine::monitor::{self, Look};
use hubvault_engine::overview::{Assurance, age, copy_text, lacking, moment, moved_text};
use hubvault_engine::retain::{self, DAYS, KEPT, Rejected};
use hubvault_engine::state::StateDir;
use hubvault_engine::state::lease_wait::{LeaseWait, waiting};
use hubvault_model::{ByteSize, counted, indented};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize)]
struct Status {
    job: String,
    /// Nothing is at risk.
    safe: bool,
    newest_proven: Option<BackupRecord>,
    last_run: Option<BackupRecord>,
    /// When the next run is due, where a schedule is known.
    next_run: Option<Timestamp>,
    archives: usize,
    archives_bytes: u64,
    #[serde(skip)]
    archives_here: (usize, u64),
    archives_sealed: usize,
    /// Archives that failed their proof and are kept for study.
    rejected: usize,
    free_bytes: Option<u64>,
    /// What the database role may do that a backup does not need; empty where it can only read, null before a run.
    role: Option<String>,
    /// Who can open the archives; empty where they are not sealed.
    sealed_to: Vec<Opener>,
    /// The copies of the newest proven backup.
    copies: Vec<CopyStatus>,
    /// The run that waits for the lease of another machine.
    waiting_for_lease: Option<LeaseWait>,
    /// Messages that are queued.
    waiting: usize,
    /// The newest mail.
    last_mail: Option<LastMail>,
    /// What is at risk, in sentences.
    risks: Vec<String>,
    /// The newest of those that failed their proof; for people.
    #[serde(skip)]
    newest_rejected: Option<Rejected>,
    /// What can be restored; for people.
    #[serde(skip)]
    assurance: Option<Assurance>,
}

/// A mail and its state.
#[derive(Debug, Serialize)]
struct LastMail {
    kind: String,
    at: Timestamp,
    state: OutboxState,
}

impl LastMail {
    fn of(item: &OutboxItem) -> Self {
        Self {
            kind: item.kind.clone(),
            at: item.tried_at.unwrap_or(item.created_at),
            state: item.state,
        }
    }
}

/// A copy of the newest proven backup.
#[derive(Debug, Serialize)]
struct CopyStatus {
    destination: String,
    /// Whether it is there.
    present: bool,
    /// Its state in words.
    text: String,
    /// Whether its destination is configured; others do not count.
    #[serde(skip)]
    counts: bool,
}

fn copies(look: &Look<'_>) -> Vec<CopyStatus> {
    let Some(newest) = &look.overview.newest_proven else {
        return Vec::new();
    };
    let lacks = |name: &str| {
        let mut lacking = lacking(newest, &look.job.destinations);
        lacking.any(|destination| destination.name == name)
    };
    let one = |copy: &BackupCopy| {
        // One line of a destination that has another place now.
        let is_moved = copy.is_unconfigured() && lacks(&copy.destination);
        CopyStatus {
            destination: copy.destination.clone(),
            present: copy.is_there(),
            text: if is_moved {
                moved_text(copy)
            } else {
                copy_text(copy, newest, look.now, look.zone)
            },
            counts: is_moved || !copy.is_unconfigured(),
        }
    };
    let known = newest.copies.iter().filter(|copy| copy.is_expected());
    let is_new = |it: &&Destination| newest.copy_at(&it.name).is_none();
    let without = lacking(newest, &look.job.destinations).filter(is_new);
    let without = without.map(|destination| CopyStatus {
        destination: destination.name.clone(),
        present: false,
        text: "no copy; hubvault copies sync makes it".to_owned(),
        counts: true,
    });
    known.map(one).chain(without).collect()
}

/// A recipient, and when their private key last opened an archive.
#[derive(Debug, Serialize)]
struct Opener {
    name: String,
    shown_at: Option<Timestamp>,
}

/// Prints it; 3 when something is at risk.
pub(crate) fn run(settings: &Settings) -> Result<Exit> {
    let job = settings.job();
    let catalog = catalog::current(job)?;
    let look = Look::new(job, &catalog, Timestamp::now(), &settings.zone)?;
    let risks = settings.with_weakened(monitor::risks(&look)?);
    let mut status = status_of(&look, risks);
    status.role = catalog.role_advice(&job.name)?;
    add_openers(&mut status, settings, &catalog)?;
    if answer::is_json() {
        answer::json(&status)?;
    } else {
        print(&text(job, &status, Timestamp::now(), &settings.zone))?;
    }
    Ok(if status.safe {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

fn status_of(look: &Look<'_>, risks: Vec<String>) -> Status {
    let job = look.job;
    let overview = &look.overview;
    let rejected = retain::rejected(job.local_directory()).unwrap_or_default();
    let last_mail = look.outbox.iter().find(|item| item.channel == "mail");
    Status {
        job: job.name.clone(),
        safe: risks.is_empty(),
        newest_proven: overview.newest_proven.clone(),
        last_run: overview.last_run.clone(),
        next_run: look.next_due,
        archives: overview.archives,
        archives_bytes: overview.archives_bytes,
        archives_here: overview.archives_here,
        archives_sealed: overview.archives_sealed,
        rejected: rejected.len(),
        newest_rejected: rejected.into_iter().next(),
        free_bytes: free_bytes(job.spool()).ok(),
        role: None,
        sealed_to: Vec::new(),
        waiting: look.outbox.iter().filter(|item| item.is_open()).count(),
        last_mail: last_mail.map(LastMail::of),
        risks,
        assurance: overview.assurance(&job.destinations),
        copies: copies(look),
        waiting_for_lease: waiting(&StateDir::of(job.state_root())),
    }
}

/// Who can open the archives that the next run seals.
fn add_openers(status: &mut Status, settings: &Settings, catalog: &Catalog) -> Result<()> {
    let shown = catalog.shown_recipients()?;
    let opener = |administrator: &Administrator| Opener {
        name: administrator.label(),
        shown_at: shown.get(&administrator.recipient.to_string()).copied(),
    };
    status.sealed_to = settings.administrators().map(opener).collect();
    Ok(())
}

fn sealed(status: &Status, now: Timestamp) -> String {
    let unsealed = status.archives - status.archives_sealed;
    if status.sealed_to.is_empty() {
        return match (status.archives_sealed, unsealed) {
            (0, _) => "no: anybody who has an archive can read it".to_owned(),
            (sealed, 0) => format!(
                "{} yes, the next one no: there is no recipient any more",
                counted(sealed as u64, "archive")
            ),
            (sealed, _) => format!(
                "{sealed} of {}; the next one not: there is no recipient any more",
                counted(status.archives as u64, "archive")
            ),
        };
    }
    let one = |opener: &Opener| match opener.shown_at {
        Some(at) => format!("{} (confirmed {} ago)", opener.name, age(at, now)),
        None => format!("{} (never confirmed)", opener.name),
    };
    let all: Vec<String> = status.sealed_to.iter().map(one).collect();
    let earlier = match unsealed {
        0 => String::new(),
        many => format!("; {} made before that not", counted(many as u64, "archive")),
    };
    format!("to {}{earlier}", all.join(", "))
}

/// The screen: the answer, its details, what is at risk.
fn text(job: &Job, status: &Status, now: Timestamp, zone: &TimeZone) -> String {
    let verdict = match (status.safe, &status.newest_proven) {
        (true, _) => paint(Meaning::Good, "SAFE"),
        (false, Some(_)) => paint(Meaning::Warning, "AT RISK"),
        (false, None) => paint(Meaning::Bad, "NOT SAFE"),
    };
    let mut out = format!("{}: {verdict}\n\n", status.job);
    if let Some(assurance) = &status.assurance {
        out += &(paragraph(&assurance.text(now, zone)) + "\n");
    }
    let backups = of_backups(job, status, now, zone);
    let all = backups.into_iter().chain(of_recipients(job, status, now));
    let rows = all.map(|(name, what)| vec![format!("  {name:<14}"), plain(what)]);
    out += &grid(&rows.collect::<Vec<_>>(), &[1]);
    if !status.risks.is_empty() {
        out += "\nAt risk\n";
        out += &bullets(status.risks.iter().map(|risk| indented(risk)));
    }
    out
}

type Line = (&'static str, String);

fn of_backups(job: &Job, status: &Status, now: Timestamp, zone: &TimeZone) -> Vec<Line> {
    let proven = status.newest_proven.as_ref();
    let proven = proven.map_or_else(
        || "never".to_owned(),
        |record| {
            let file = record.archive();
            let file = file.map_or_else(String::new, |file| format!(", {}", file.display()));
            format!(
                "{} ago, {}, {}{file}",
                age(record.started_at, now),
                counted(record.tables.len() as u64, "table"),
                counted(record.rows(), "row"),
            )
        },
    );
    let last_run = status.last_run.as_ref();
    let last_run = last_run.map_or_else(
        || "none yet; hubvault backup takes the first".to_owned(),
        |record| {
            let (age, state) = (age(record.started_at, now), record.state_text());
            format!("{age} ago, {state}")
        },
    );
    let mut lines = vec![("proven", proven), ("last run", last_run)];
    lines.extend(status.waiting_for_lease.as_ref().map(|wait| {
        let (id, since) = (wait.id.short(), moment(wait.since, zone));
        let (place, holder) = (&wait.destination, &wait.holder);
        let what = format!("run {id} for the lease of {place}, since {since}: {holder} holds it");
        ("waiting", what)
    }));
    if status.copies.len() > 1 {
        lines.push(("copies", copies_line(status)));
    }
    let outside = status.newest_proven.as_ref().or(status.last_run.as_ref());
    lines.extend(outside.and_then(|record| {
        let outside = record.outside.as_ref()?;
        Some(("not inside", outside.text(record.id)))
    }));
    lines.extend(confinement(status).map(|missing| ("confinement", missing)));
    lines.extend(status.next_run.map(|at| ("next run", moment(at, zone))));
    let free = status
        .free_bytes
        .map_or_else(String::new, |free| format!(", {} free", ByteSize(free)));
    let size = match status.archives_here {
        (0, _) => "none".to_owned(),
        (many, bytes) => format!("{many} with {}", ByteSize(bytes)),
    };
    let elsewhere = match status.archives - status.archives_here.0 {
        0 => String::new(),
        many => format!(", {many} only elsewhere"),
    };
    let directory = job.local_directory().display();
    let archives = format!("{size} in {directory}{elsewhere}{free}");
    lines.push(("archives", archives));
    if let Some(newest) = &status.newest_rejected {
        let many = counted(status.rejected as u64, "rejected archive");
        let (at, file) = (moment(newest.at, zone), newest.path.display());
        let kept = format!("the newest {KEPT} are kept for {DAYS} days");
        lines.push(("rejected", format!("{many}, newest {at}: {file}; {kept}")));
    }
    lines
}

/// `2 of 3; local: present; s3: pending since 02:00`, or that one fire takes them all.
fn copies_line(status: &Status) -> String {
    let there = status.copies.iter().filter(|copy| copy.present).count();
    let one = |copy: &CopyStatus| format!("{}: {}", copy.destination, copy.text);
    let all: Vec<String> = status.copies.iter().map(one).collect();
    let places = status.assurance.as_ref().map_or(0, |known| known.places);
    let notice = if there > 1 && places == 1 {
        ", all in one place"
    } else {
        ""
    };
    let of = status.copies.iter().filter(|copy| copy.counts).count();
    format!("{there} of {of}{notice}; {}", all.join("; "))
}

/// Who can open the archives, who may read the database, who is notified.
fn of_recipients(job: &Job, status: &Status, now: Timestamp) -> Vec<Line> {
    let mut lines = vec![("sealed", sealed(status, now))];
    lines.extend(status.role.as_deref().map(|problem| match problem {
        "" => ("role", format!("{}, can only read", job.database.user)),
        problem => ("role", problem.to_owned()),
    }));
    lines.push(("notified", notified(job, status)));
    lines.extend(status.last_mail.as_ref().map(|mail| {
        let (kind, state) = (&mail.kind, mail.state.as_str());
        let age = age(mail.at, now);
        ("last mail", format!("{kind}, {state} {age} ago"))
    }));
    lines
}

/// What the host lacked to confine the newest drill; `None` when nothing is missing.
fn confinement(status: &Status) -> Option<String> {
    let mut records = [&status.last_run, &status.newest_proven]
        .into_iter()
        .flatten();
    let drill = records.find_map(|record| record.proof.drill.as_ref())?;
    let missing = &drill.confinement.as_ref()?.missing;
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// The recipients of notifications, and how many messages are queued for them.
fn notified(job: &Job, status: &Status) -> String {
    let delivery = &job.delivery;
    let mail = delivery.mail.iter().map(|mail| mail.to.join(", "));
    let channels = delivery
        .channels
        .iter()
        .map(|channel| format!("{} ({})", channel.kind.as_str(), channel.host()));
    let mut who: Vec<String> = mail.chain(channels).collect();
    if who.is_empty() {
        who.push("nobody".to_owned());
    }
    let who = who.join(", ");
    match status.waiting {
        0 => who,
        1 => format!("{who}; 1 message is queued"),
        many => format!("{who}; {} are queued", counted(many as u64, "message")),
    }
}
