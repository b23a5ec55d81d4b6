//! Whether backups at a destination are of the server of this job: another server may have a database of the same name.

use crate::catalog::{BackupCopy, BackupRecord, Catalog, CatalogError};
use crate::job::{Destination, Job};
use crate::remote::RemoteError;
use crate::state::file::{Durability, replace};
use hubvault_model::{Cancel, counted};
use hubvault_postgres::{Session, system_identifier};
use hubvault_store::{ErrorKind, StoreError};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::ops::ControlFlow;

/// The servers that people were warned of, one a line.
const WARNED: &str = "other-servers";

/// The servers whose backups are this job's.
pub(super) struct SameServer<'a> {
    job: &'a Job,
    catalog: &'a Catalog,
    cancel: &'a Cancel,
    /// By their system identifiers; `None` until they are needed.
    own: Option<HashSet<String>>,
    was_asked: bool,
    /// The others that were found since the last warning, and how many backups each has.
    others: HashMap<String, u64>,
}

impl<'a> SameServer<'a> {
    pub(super) fn of(job: &'a Job, catalog: &'a Catalog, cancel: &'a Cancel) -> Self {
        Self {
            job,
            catalog,
            cancel,
            own: None,
            was_asked: false,
            others: HashMap::new(),
        }
    }

    /// Those of a job's backups at a destination that its own server has. The others are left, and [`SameServer::warn`] says it.
    pub(super) fn only(
        &mut self,
        records: Vec<BackupRecord>,
        at: &Destination,
    ) -> Result<Vec<BackupRecord>, RemoteError> {
        let mut own = Vec::new();
        for record in records {
            if self.has_made(&record, at)? {
                own.push(record);
            } else {
                let server = server_of(&record).unwrap_or("?").to_owned();
                *self.others.entry(server).or_default() += 1;
            }
        }
        Ok(own)
    }

    fn has_made(&mut self, record: &BackupRecord, at: &Destination) -> Result<bool, RemoteError> {
        // Only a machine with a lease gives such a name.
        let is_leased = || record.copies.iter().any(|copy| number(copy).is_some());
        let Some(server) = server_of(record) else {
            return Ok(is_leased());
        };
        // What the record has is this job's, also from before an upgrade or a restore.
        if self.own()?.contains(server) {
            return Ok(true);
        }
        self.ask(at)?;
        let own = self.own()?;
        Ok(own.contains(server) || (own.is_empty() && is_leased()))
    }

    fn own(&mut self) -> Result<&mut HashSet<String>, CatalogError> {
        if let Some(own) = self.own.take() {
            return Ok(self.own.insert(own));
        }
        let mut own = HashSet::new();
        self.catalog.each(|record| {
            let server = server_of(&record).filter(|_| record.job == self.job.name);
            own.extend(server.map(str::to_owned));
            ControlFlow::Continue(())
        })?;
        Ok(self.own.insert(own))
    }

    /// Asks the server itself, once.
    fn ask(&mut self, at: &Destination) -> Result<(), RemoteError> {
        if self.was_asked {
            return Ok(());
        }
        let server = Session::at_source(&self.job.database, self.cancel)
            .and_then(|mut session| system_identifier(&mut session))
            .map_err(|error| {
                let doing = "comparing the server with that of the backups at";
                let error = io::Error::other(error.to_string());
                StoreError::new(doing, &at.name, error).of_kind(ErrorKind::Unavailable)
            })?;
        self.own()?.extend(server);
        self.was_asked = true;
        Ok(())
    }

    /// Once for each server: they stay there, and are found again each time.
    pub(super) fn warn(&mut self, at: &Destination) {
        let others = std::mem::take(&mut self.others);
        if others.is_empty() {
            return;
        }
        let file = self.catalog.state().file(WARNED);
        let mut warned = fs::read_to_string(&file).unwrap_or_default();
        for (server, count) in others {
            let line = format!("{} {server}", at.name);
            if warned.lines().any(|known| known == line) {
                continue;
            }
            let backups = counted(count, "backup");
            let (name, job) = (&at.name, &self.job.name);
            tracing::warn!(
                "{backups} of a job {job:?} at {name} are of another PostgreSQL server (system identifier {server}) and \
                 count as nothing here; give each server's job a prefix of its own, or if they are of this database \
                 before it was moved, add them with `hubvault catalog rebuild --from {name} --every-server`"
            );
            warned.push_str(&line);
            warned.push('\n');
        }
        // Else the warning comes again.
        let _ = replace(&file, warned.as_bytes(), 0o600, Durability::Durable);
    }
}

fn server_of(record: &BackupRecord) -> Option<&str> {
    record.snapshot.as_ref()?.system_identifier.as_deref()
}

/// The number of the lease under which an archive was made: `critical_backup_20261126_020000.7.tar.gz`.
pub(super) fn number(copy: &BackupCopy) -> Option<u64> {
    copy.key.split('.').nth(1)?.parse().ok()
}
