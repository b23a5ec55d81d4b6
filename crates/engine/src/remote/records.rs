//! The records of the backups of a store, and the catalog made anew from them.

use super::archives::{Archives, Listed};
use super::backup::Backup;
use super::error::RemoteError;
use super::merge::{Merged, damaged, merge};
use super::sealed::{self, Beside, Budget};
use crate::catalog::sidecar::Sidecar;
use crate::catalog::{
    BackupCopy, BackupRecord, Catalog, CatalogError, CopyState, DeliveryRecord, ProofRecord,
    RunSummary, published_as,
};
use hubvault_archive::{ArchiveError, Identities};
use hubvault_store::Location;
use jiff::Timestamp;
use std::collections::HashMap;
use std::ops::ControlFlow;

/// What a rebuild from a store found, as [`Catalog::runs`] has it. Each record has the place of its copy there.
#[derive(Debug, Default)]
pub struct Found {
    /// Backups that the catalog did not know.
    pub added: Vec<(BackupRecord, String)>,
    /// Backups of which it did not know this copy.
    pub returned: Vec<(BackupRecord, String)>,
    /// Backups of which it knew this copy.
    pub known: usize,
    /// Archives that are not listed, or are damaged.
    pub unreadable: Vec<Unreadable>,
    /// Sealed archives, made by earlier versions, that were not compared with their sidecars.
    pub unread: usize,
}

/// An archive that cannot be used.
#[derive(Debug)]
pub struct Unreadable {
    /// Where it is.
    pub place: String,
    /// Why, and what to do.
    pub why: String,
    /// Whether its backup is known all the same.
    pub is_listed: bool,
}

/// Backups of which the sidecars are read at once.
const PORTION: usize = 64;

impl Archives {
    /// The records of backups, by their sidecars. Without one, by the archive itself; data is not read back.
    pub fn records(
        &self,
        of: &[Listed],
    ) -> Result<(Vec<BackupRecord>, Vec<Unreadable>), RemoteError> {
        self.records_of(of, None)
    }

    /// The same for the catalog between two runs: with the locks, and sealed archives compared with how they should begin.
    pub(crate) fn records_to_add(
        &self,
        of: &[Listed],
    ) -> Result<(Vec<BackupRecord>, Vec<Unreadable>), RemoteError> {
        self.records_of(of, Some(&Budget::of_heads()))
    }

    /// The same; with `opens` each archive is compared with its sidecar: one that is not sealed is opened.
    fn records_of(
        &self,
        of: &[Listed],
        opens: Option<&Budget>,
    ) -> Result<(Vec<BackupRecord>, Vec<Unreadable>), RemoteError> {
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for part in of.chunks(PORTION) {
            let seen =
                self.each_sidecar(part, |listed, sidecar| self.record(listed, sidecar, opens))?;
            for (listed, record) in part.iter().zip(seen) {
                let place = self.shown(&listed.object.key);
                let (why, is_listed) = match record {
                    Ok(record) => {
                        let damage = record.copies.first().and_then(|copy| copy.error.clone());
                        records.push(record);
                        (damage.as_deref().map(damaged), true)
                    }
                    Err(RemoteError::Archive { source, .. }) if source.is_sealed() => {
                        (Some(SEALED.to_owned()), false)
                    }
                    Err(RemoteError::Archive { source, .. }) => (Some(source.to_string()), false),
                    Err(other @ RemoteError::OtherBackup { .. }) => {
                        (Some(other.to_string()), false)
                    }
                    Err(other) => return Err(other),
                };
                unreadable.extend(why.map(|why| Unreadable {
                    place,
                    why,
                    is_listed,
                }));
            }
        }
        Ok((records, unreadable))
    }

    fn record(
        &self,
        listed: &Listed,
        sidecar: Option<Sidecar>,
        opens: Option<&Budget>,
    ) -> Result<BackupRecord, RemoteError> {
        let object = &listed.object;
        let mut copy = BackupCopy::stored(&self.destination, &object.key, object.bytes);
        copy.locked_until = object.locked_until;
        if opens.is_some() && matches!(self.destination.location, Location::S3(_)) {
            // No listing says it.
            let found = self.head(&object.key)?;
            copy.locked_until = found.and_then(|object| object.locked_until);
        }
        let backup = Backup::of(self.clone(), listed.clone());
        let Some(mut sidecar) = sidecar else {
            let known = backup.contents(&Identities::none())?;
            let record = published_as(copy, &known);
            return self.with_marks(listed, record);
        };
        let own = listed.sidecar.as_ref().map_or(u64::MAX, |own| own.bytes);
        let damage = damage(&backup, &mut sidecar, (object.bytes, own), opens, &mut copy)?;
        if let Some(damage) = damage {
            // Its content decides later, and not the size that it has now.
            copy.bytes = None;
            copy.state = CopyState::Damaged;
            copy.since = Some(Timestamp::now());
            sidecar.proof = ProofRecord {
                reason: Some(damage.clone()),
                ..ProofRecord::default()
            };
            copy.error = Some(damage);
        }
        let is_damaged = copy.state == CopyState::Damaged;
        let sealed_to = sidecar.seal.map(|seal| seal.sealed_to);
        let record = BackupRecord {
            pinned: sidecar.pinned,
            sealed_to: sealed_to.unwrap_or_default(),
            ..BackupRecord::published(&sidecar.manifest, copy, sidecar.proof)
        };
        let record = BackupRecord {
            bytes: record.bytes.filter(|_| !is_damaged),
            ..record
        };
        self.with_marks(listed, record)
    }

    /// With its pin, and what drills showed after it was stored.
    fn with_marks(
        &self,
        listed: &Listed,
        mut record: BackupRecord,
    ) -> Result<BackupRecord, RemoteError> {
        if let Some(pin) = self.pin(listed, record.id)? {
            record.learn_pin(&self.destination.name, &pin);
        }
        let copy = record.copies.first();
        let is_damaged = copy.is_some_and(|copy| copy.state == CopyState::Damaged);
        let is_other = record.proof.reason.as_deref() == Some(OTHER_ENTRIES);
        let mut marks = self.marks(listed, record.id, &listed.marks)?;
        // Where its sidecar is not believed, no mark is that says it is proven.
        let is_believed = |proven: bool| !proven || !(is_damaged || is_other);
        marks.found.retain(|one| is_believed(one.proof.proven));
        record.learn_marks(&self.destination.name, &marks.found);
        record.note_marks(&self.destination.name, &marks);
        Ok(record)
    }
}

const OTHERS: &str = "it is not the archive that its sidecar describes; put its own sidecar beside it, or read it with --identity FILE";

/// How much is read back of archives that were sealed by earlier versions: 1 GiB.
const READ_BACK: u64 = 1 << 30;

const SEALED: &str =
    "it is sealed, and it has no sidecar that says what is in it; read it with --identity FILE";

const OTHER_ENTRIES: &str = "its sidecar describes other entries than it has";

/// What is wrong with an archive that has this sidecar. What the archive says of itself counts.
fn damage(
    backup: &Backup,
    sidecar: &mut Sidecar,
    (bytes, own): (u64, u64),
    opens: Option<&Budget>,
    copy: &mut BackupCopy,
) -> Result<Option<String>, RemoteError> {
    let least = sidecar.least_bytes();
    if bytes < least {
        return Ok(Some(format!(
            "it has {bytes} bytes there, and its entries alone need {least}"
        )));
    }
    let most = sidecar.most_bytes(own);
    if bytes > most {
        return Ok(Some(format!(
            "it has {bytes} bytes there, and the archive of its sidecar had at most {most}: the sidecar is another one's"
        )));
    }
    let Some(budget) = opens.filter(|it| sidecar.seal.is_some() || !it.only_sealed) else {
        return Ok(None);
    };
    let wanted = backup.clone().wanted(sidecar.manifest.id);
    match wanted.open(&Identities::none()) {
        Ok(archive) => {
            let manifest = archive.into_manifest();
            if manifest.entries != sidecar.manifest.entries {
                sidecar.proof = ProofRecord {
                    reason: Some(OTHER_ENTRIES.to_owned()),
                    ..ProofRecord::default()
                };
            }
            sidecar.manifest = manifest;
            sidecar.seal = None;
            Ok(None)
        }
        Err(RemoteError::Archive { source, .. })
            if source.is_sealed()
                && let Some(seal) = &sidecar.seal =>
        {
            let beside = sealed::compare(backup, seal, bytes, budget)?;
            if beside == Beside::ReadBack {
                copy.sha256 = Some(seal.sha256.clone());
                copy.checked_at = Some(Timestamp::now());
            }
            Ok((beside == Beside::Others).then(|| OTHERS.to_owned()))
        }
        Err(RemoteError::Archive { source, .. })
            if !source.is_sealed() && !matches!(source, ArchiveError::Read { .. }) =>
        {
            Ok(Some(source.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// Brings back into the catalog what the archives of a store and their sidecars say: backups that it does not know, and
/// copies. What it knows of a copy stays: only reading it back shows that it is whole.
///
/// A backup of another database server than the newest in the catalog is another host's, which retention here must not
/// remove: it is added only with `every_server`.
///
/// The catalog is opened once there is something to record.
pub fn rebuild_from(
    open: impl Fn() -> Result<Catalog, CatalogError>,
    archives: &Archives,
    every_server: bool,
) -> Result<Found, RemoteError> {
    let all = archives.list()?;
    let budget = Budget::of(READ_BACK);
    let mut found = Found::default();
    let mut opened = None;
    for part in all.chunks(PORTION) {
        let (records, unreadable) = archives.records_of(part, Some(&budget))?;
        found.unreadable.extend(unreadable);
        for record in records {
            let key = record.copies.first().map(|copy| copy.key.clone());
            let place = format!("{}/{}", archives.place(), key.unwrap_or_default());
            let (catalog, servers) = if let Some(opened) = opened.take() {
                opened
            } else {
                let catalog = open()?;
                let servers = servers(&catalog)?;
                (catalog, servers)
            };
            let (catalog, servers) = &*opened.insert((catalog, servers));
            let foreign = of_other_server(&record, servers).filter(|_| !every_server);
            if let Some(why) = foreign
                && catalog.find(&record.id.to_string())?.is_none()
            {
                found.unreadable.push(Unreadable {
                    place,
                    why,
                    is_listed: false,
                });
                continue;
            }
            let mut merged = Merged::Known;
            let known = catalog.change(record.id, |known| merged = merge(known, &record))?;
            match (known, merged) {
                (None, _) => {
                    let record = BackupRecord {
                        // Who was notified of it then is not known, and nobody needs to be now.
                        delivery: Some(DeliveryRecord::default()),
                        ..record
                    };
                    catalog.finish(&record)?;
                    found.added.push((RunSummary::of(&record).run, place));
                }
                (Some(known), Merged::Returned) => {
                    found.returned.push((RunSummary::of(&known).run, place));
                }
                (Some(_), Merged::Known) => found.known += 1,
                (Some(_), Merged::Doubtful(why)) => {
                    found.known += 1;
                    if !found.unreadable.iter().any(|one| one.place == place) {
                        found.unreadable.push(Unreadable {
                            place,
                            why,
                            is_listed: true,
                        });
                    }
                }
            }
        }
    }
    found.unread = budget.unread();
    Ok(found)
}

/// The database server of each job's newest backup.
fn servers(catalog: &Catalog) -> Result<HashMap<String, String>, CatalogError> {
    let mut servers = HashMap::new();
    catalog.each_summary(None, |summary| {
        if summary.has_snapshot()
            && !servers.contains_key(&summary.run.job)
            && let Some(server) = server_of(&catalog.whole(&summary.run)?)
        {
            servers.insert(summary.run.job, server.to_owned());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(servers)
}

fn server_of(record: &BackupRecord) -> Option<&str> {
    record.snapshot.as_ref()?.system_identifier.as_deref()
}

/// Why a backup is another host's.
fn of_other_server(record: &BackupRecord, servers: &HashMap<String, String>) -> Option<String> {
    let (found, own) = (server_of(record)?, servers.get(&record.job)?);
    (found != own).then(|| {
        format!(
            "it is of the database server {found}, and the newest backup here is of {own}: give every host a prefix of its \
             own; where this server took the place of that one, --every-server adds it"
        )
    })
}
