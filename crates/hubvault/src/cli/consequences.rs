//! What a configuration that is right will lead to, in sentences that say what to do.

use hubvault_engine::job::{AttachWhen, Hook, HookWhen, Job, MailOptions, ProofWhen};
use hubvault_engine::overview::{SEAL_REMEDY, mail_risk};
use hubvault_engine::progress::Stage;
use hubvault_notify::ChannelKind;
use hubvault_postgres::programs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The oldest server that is supported.
const OLDEST: u32 = 13;

/// Names of this host.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Where packages put the sockets of servers,
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/run/postgresql"];
/// and their data.
const DATA: [&str; 3] = [
    "/var/lib/postgresql",
    "/var/lib/pgsql",
    "/usr/local/pgsql/data",
];

/// All of them. Asks the disk and the programs of this host, no database; `data` is where its files are, if that is known.
pub(super) fn consequences(job: &Job, data: Option<&Path>) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(nobody_is_notified(job));
    if let Some(risk) = mail_risk(job) {
        all.push(format!(
            "{risk}; {SEAL_REMEDY}, or set email.attach = \"sealed\" (EMAIL_ATTACH)"
        ));
    }
    all.extend(no_proof(job));
    all.extend(keeps_one(job));
    if goes_elsewhere(job) {
        return all;
    }
    let host = job.database.host.as_str();
    let data: Vec<PathBuf> = match data {
        Some(data) if job.database.is_local() || LOOPBACK.contains(&host) => vec![data.to_owned()],
        // Where packages start their server.
        None if [&SOCKETS[..], &LOOPBACK].concat().contains(&host) => {
            DATA.iter().map(PathBuf::from).collect()
        }
        Some(_) | None => Vec::new(),
    };
    all.extend(same_disk(job.local_directory(), &data));
    all
}

/// Whether archives may get elsewhere: by mail, by a command, to another destination.
fn goes_elsewhere(job: &Job) -> bool {
    let is_attached = |mail: &MailOptions| match mail.attach {
        AttachWhen::Always => true,
        AttachWhen::Sealed => !job.seal.is_empty(),
        AttachWhen::Never => false,
    };
    let is_copied = |hook: &Hook| {
        hook.when == HookWhen::After && matches!(hook.stage, None | Some(Stage::Publish))
    };
    job.delivery.mail.as_ref().is_some_and(is_attached)
        || job.hooks.iter().any(is_copied)
        || !job.destinations.others().is_empty()
}

/// Whom a failure reaches, unless the configuration says that nobody is intended. Pings alone say that something is wrong,
/// not what.
fn nobody_is_notified(job: &Job) -> Option<String> {
    let channels = &job.delivery.channels;
    if job.delivery.missing.is_none() || channels.iter().any(|one| one.kind != ChannelKind::Ping) {
        return None;
    }
    let what = if channels.is_empty() {
        "nobody is notified when a backup fails or warns"
    } else {
        "only a ping says that a backup failed, and nobody is notified why"
    };
    Some(format!(
        "{what}; set email.host, email.from and email.to (SMTP_HOST, SMTP_FROM, ADMIN_EMAILS), or the URL of a webhook, \
         Slack or ntfy, then run `hubvault alert test`; or set email.enabled = false if that is intended"
    ))
}

fn no_proof(job: &Job) -> Vec<String> {
    let missing = |name: &str| {
        let all = programs(OLDEST);
        let found = all.into_iter().find(|(known, _)| *known == name);
        found
            .and_then(|(_, program)| program.err())
            .map(|error| error.to_string())
    };
    let mut all = Vec::new();
    for program in ["pg_dump", "pg_restore"] {
        all.extend(missing(program).map(|why| format!("no backup is possible: {why}")));
    }
    if job.proof.when != ProofWhen::Off
        && job.proof.server.is_none()
        && let Some(why) = missing("postgres")
    {
        let why = why.replace("postgresql-client-", "postgresql-");
        all.push(format!(
            "no backup can be restored and compared here, so all will be unproven: {why}, or name a server for drills in \
             proof.server (PROOF_SERVER)"
        ));
    }
    all
}

fn keeps_one(job: &Job) -> Option<String> {
    let rules = &job.retention;
    let kept = [
        rules.days,
        rules.keep_last.saturating_sub(1),
        rules.daily,
        rules.weekly,
        rules.monthly,
        rules.yearly,
    ];
    kept.iter().all(|kept| *kept == 0).then(|| {
        "each backup removes the one before it; set retention.days (BACKUP_RETENTION_DAYS), or retention.keep_last \
         to 2 or more"
            .to_owned()
    })
}

/// That one disk holds both, where that can be seen; `data` is where the database may be.
fn same_disk(archives: &Path, data: &[PathBuf]) -> Option<String> {
    let device = |path: &Path| path.metadata().ok().map(|meta| meta.dev());
    let of_archives = archives.ancestors().find_map(device)?;
    let data = data.iter().find(|data| device(data) == Some(of_archives))?;
    Some(format!(
        "the archives ({}) are on the disk of the database ({}): if it is lost, both are; name a directory on another \
         disk or host in archive.directory (BACKUP_DIR), or have them sent elsewhere (docs/first-backup.md)",
        archives.display(),
        data.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disk_for_both_is_seen_also_before_the_directory_is_made() {
        let disk = tempfile::tempdir().unwrap();
        let data = disk.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let archives = disk.path().join("not/yet/made");
        let said = same_disk(&archives, std::slice::from_ref(&data)).unwrap();
        assert!(
            said.contains("not/yet/made") && said.contains("/data"),
            "{said}"
        );
        assert_eq!(same_disk(Path::new("/proc"), &[data]), None);
        assert_eq!(same_disk(&archives, &[]), None);
    }
}
