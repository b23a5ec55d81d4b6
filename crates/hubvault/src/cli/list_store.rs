//! The backups of a store, for `hubvault list` and `hubvault catalog rebuild --from`.

use super::Exit;
use super::select::{FromArgs, archives_at, is_url, named};
use crate::text::print;
use crate::{answer, signals};
use anyhow::{Context, Result, bail};
use hubvault_config::Settings;
use hubvault_engine::catalog::{BackupRecord, Catalog};
use hubvault_engine::remote::{Archives, Unreadable, rebuild_from};
use hubvault_engine::state::StateDir;
use hubvault_model::{Cancel, counted};
use jiff::Timestamp;
use serde_json::{Value, json};

/// How many are listed where nobody says how many, as each costs a request.
const USUAL: usize = 50;

/// The store that a URL or `--destination` names; `None` where neither does.
fn opened(
    settings: &Settings,
    url: Option<&str>,
    from: &FromArgs,
    cancel: &Cancel,
) -> Result<Option<Archives>> {
    match (url, &from.destination) {
        (None, None) => Ok(None),
        (None, Some(name)) => Ok(Some(Archives::open(named(settings, name)?, cancel)?)),
        (Some(url), None) if is_url(url) => Ok(Some(archives_at(settings, url, cancel)?)),
        (Some(word), None) => bail!("{word:?} is no URL such as s3://bucket/prefix"),
        (Some(url), Some(name)) => {
            bail!("{url} says where the backups are; leave --destination {name} out")
        }
    }
}

/// The backups of a store, newest first.
pub(super) struct Listing {
    pub(super) place: String,
    pub(super) records: Vec<BackupRecord>,
    pub(super) unreadable: Vec<Unreadable>,
}

impl Listing {
    /// The archives that are not among the records, as `--json` prints them.
    pub(super) fn unlisted(&self) -> impl Iterator<Item = Value> {
        let unlisted = self.unreadable.iter().filter(|one| !one.is_listed);
        unlisted.map(
            |one| json!({ "id": null, "file": one.place, "state": "unreadable", "error": one.why }),
        )
    }
}

/// The backups of a store; `None` where none is named. Says on standard error what is wrong with them.
pub(super) fn records(
    settings: &Settings,
    url: Option<&str>,
    from: &FromArgs,
    limit: Option<usize>,
    since: Option<Timestamp>,
) -> Result<Option<Listing>> {
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let Some(archives) = opened(settings, url, from, &cancel)? else {
        return Ok(None);
    };
    let all = archives.list()?;
    let is_bounded = limit.is_some() || since.is_some() || answer::is_json();
    let most = limit.unwrap_or(if is_bounded { usize::MAX } else { USUAL });
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for part in all[..most.min(all.len())].chunks(USUAL) {
        let (records, unreadable) = archives.records(part)?;
        complain_of(&unreadable);
        wrong.extend(unreadable);
        let before = found.len();
        let is_late = |record: &BackupRecord| since.is_none_or(|at| record.started_at >= at);
        found.extend(records.into_iter().filter(is_late));
        // What follows is older still.
        if since.is_some() && found.len() == before {
            break;
        }
    }
    if !is_bounded && all.len() > most {
        let older = counted((all.len() - most) as u64, "older backup");
        let place = archives.place();
        tracing::warn!("{place} has {older}; --limit {} lists all", all.len());
    }
    Ok(Some(Listing {
        place: archives.place().to_string(),
        records: found,
        unreadable: wrong,
    }))
}

fn complain_of(unreadable: &[Unreadable]) {
    for one in unreadable {
        let what = if one.is_listed { "" } else { " is not listed" };
        tracing::warn!("{}{what}: {}", one.place, one.why);
    }
}

/// Brings the records of the backups of a store back into the catalog.
pub(super) fn rebuild_catalog(settings: &Settings, from: &str, every_server: bool) -> Result<Exit> {
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let archives = if is_url(from) {
        archives_at(settings, from, &cancel)?
    } else {
        Archives::open(named(settings, from)?, &cancel)?
    };
    let job = settings.job();
    let open = || Catalog::open(&StateDir::open(job.state_root())?);
    let found = rebuild_from(open, &archives, every_server)
        .with_context(|| format!("rebuilding the catalog in {}", job.state_root().display()))?;
    complain_of(&found.unreadable);
    if found.unread > 0 {
        tracing::warn!(
            "not compared with their sidecars: {}; `hubvault copies verify --full` reads them back",
            counted(found.unread as u64, "sealed archive")
        );
    }
    let exit = if found.unreadable.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    };
    if answer::is_json() {
        let all = |records: &[(BackupRecord, String)]| -> Vec<Value> {
            let one = |(record, place): &(BackupRecord, String)| json!({ "id": record.id, "file": place });
            records.iter().map(one).collect()
        };
        let unreadable =
            (found.unreadable.iter()).map(|one| json!({ "file": one.place, "error": one.why }));
        answer::json(&json!({
            "added": all(&found.added), "returned": all(&found.returned), "known": found.known,
            "unreadable": unreadable.collect::<Vec<_>>(), "not_read_back": found.unread,
        }))?;
        return Ok(exit);
    }
    let mut out = String::new();
    let added = found.added.iter().map(|record| ("added", record));
    let returned = found.returned.iter().map(|record| ("found again", record));
    for (word, (record, place)) in added.chain(returned) {
        out += &format!("{word} {}  {place}\n", record.id.short());
    }
    print(&format!(
        "{out}{} added, {} found again, {} known already\n",
        found.added.len(),
        found.returned.len(),
        found.known
    ))?;
    Ok(exit)
}
