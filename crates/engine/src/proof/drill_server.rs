//! The server of a drill: a throwaway server, or a scratch database on an existing server.

use super::preload::{DATABASE, Preload};
use crate::job::ProofOptions;
use crate::restore::Target;
use hubvault_archive::{AnyArchive, Manifest};
use hubvault_model::{BackupId, Cancel};
use hubvault_postgres::{
    Confinement, ConnectSettings, DrillLock, Isolation, PgError, Session, Swept, ThrowawayOptions,
    ThrowawayServer, target,
};
use secrecy::SecretString;
use std::path::Path;
use std::sync::Mutex;

/// Locks that a server of ours has for each of its hundred connections: `pg_dump` locks all tables at once, those above
/// partitions, too.
fn locks(relations: usize) -> String {
    (64 + relations / 25).to_string()
}

/// Scratch databases begin with this.
const PREFIX: &str = "hubvault_drill_";

/// An empty database to restore into; gone when dropped.
pub(crate) enum DrillServer {
    Throwaway(ThrowawayServer),
    Scratch {
        server: ConnectSettings,
        /// The database's name, and that of the role that owns it where `server` is a superuser's login.
        name: String,
        lesser: Option<SecretString>,
        /// Holds the claim on the name: a drill is not always connected to its database, and another would drop it.
        _claim: Box<Mutex<Session>>,
    },
}

impl DrillServer {
    /// On a server of its own below `directory`, which is private. Code of the archive may run there. Returns, too, what
    /// is different about the database.
    pub(crate) fn throwaway(
        archive: &AnyArchive,
        proof: &ProofOptions,
        directory: &Path,
        cancel: &Cancel,
    ) -> Result<(Self, Vec<String>), PgError> {
        let manifest = archive.manifest();
        let relations = [manifest.tables.len(), manifest.left_out.len()];
        let relations = relations.iter().sum::<usize>() + manifest.sequences.len();
        let options = ThrowawayOptions {
            min_major: manifest.snapshot.server_version_num / 10_000,
            parent_dir: directory.to_owned(),
            // What it may take of the machine's memory: its buffers, and this much for each sort.
            settings: [
                ("maintenance_work_mem", "64MB"),
                ("work_mem", "16MB"),
                ("max_wal_size", "256MB"),
                // Nothing here lives long enough for either to be worth it.
                ("autovacuum", "off"),
                ("jit", "off"),
                ("max_locks_per_transaction", &locks(relations)),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            // A name that no role of an archive has: those are no superusers here.
            superuser: format!("hubvault_{}", BackupId::random().short()),
            isolation: Isolation::Confined {
                environment: proof.environment.clone(),
            },
            templates: proof.empty_clusters.clone(),
        };
        // Definitions that cannot be read reject the archive where they are restored.
        let preload = Preload::of(archive, cancel).unwrap_or_default();
        let (server, mut notes) = preload.start(&options, cancel)?;
        let mut session = Session::connect(&server.settings("postgres"), cancel)?;
        target::silence_event_triggers(&mut session)?;
        let like = manifest.database.as_ref();
        notes.extend(target::copy_database(&mut session, DATABASE, like)?);
        Ok((Self::Throwaway(server), notes))
    }

    /// On an existing server. Leftovers of crashed drills are dropped first.
    ///
    /// What is restored may be hostile, and the server is others', too: where `server` is a superuser's login, a role
    /// that owns the database and may do nothing else is made for the drill.
    pub(crate) fn scratch(
        manifest: &Manifest,
        server: &ConnectSettings,
        cancel: &Cancel,
    ) -> Result<(Self, Vec<String>), PgError> {
        let mut session = Session::connect(server, cancel)?;
        for name in target::unused_databases(&mut session, PREFIX)? {
            drop_scratch(server, &mut session, &name)?;
        }
        let name = format!("{PREFIX}{}", BackupId::random().short());
        let is_superuser = target::is_superuser(&mut session)?;
        if is_superuser {
            target::drop_idle_roles(&mut session, PREFIX)?;
        }
        let secret = || SecretString::from(BackupId::random().to_string());
        let mut claim = Session::connect(server, cancel)?;
        target::claim_name(&mut claim, &name)?;
        let drill_server = Self::Scratch {
            server: server.clone(),
            name: name.clone(),
            lesser: is_superuser.then(secret),
            _claim: Box::new(Mutex::new(claim)),
        };
        // The database comes before its role: another drill takes a role without a database for a leftover.
        let note = target::create_database(&mut session, &name, manifest.database.as_ref())?;
        if let Self::Scratch {
            lesser: Some(secret),
            ..
        } = &drill_server
        {
            target::create_owner(&mut session, &name, secret)?;
        }
        Ok((drill_server, note.into_iter().collect()))
    }

    /// Another empty database on a server of ours, for a role that owns it and may do nothing else: a superuser's login
    /// and that role's.
    pub(super) fn second(
        &self,
        manifest: &Manifest,
        cancel: &Cancel,
    ) -> Result<Option<(ConnectSettings, ConnectSettings)>, PgError> {
        let Self::Throwaway(server) = self else {
            return Ok(None);
        };
        let name = format!("hubvault_script_{}", BackupId::random().short());
        let secret = SecretString::from(BackupId::random().to_string());
        let mut session = Session::connect(&server.settings("postgres"), cancel)?;
        target::copy_database(&mut session, &name, manifest.database.as_ref())?;
        target::create_owner(&mut session, &name, &secret)?;
        let superuser = ConnectSettings {
            old_programs: true,
            ..server.settings(&name)
        };
        let login = ConnectSettings {
            user: name,
            password: Some(secret),
            ..superuser.clone()
        };
        Ok(Some((superuser, login)))
    }

    /// Where the programs of a server of ours are.
    pub(super) fn bin_dir(&self) -> Option<&Path> {
        match self {
            Self::Throwaway(server) => Some(server.bin_dir()),
            Self::Scratch { .. } => None,
        }
    }

    /// How to reach the empty database.
    pub(crate) fn settings(&self) -> ConnectSettings {
        self.target().definer().clone()
    }

    /// The same, with everybody who works on it.
    pub(crate) fn target(&self) -> Target {
        match self {
            // What lies in the archive is refused or warned about where it is made. Here pg_restore speaks to a
            // server that is thrown away, and writes nothing for psql.
            Self::Throwaway(server) => Target::Owners(ConnectSettings {
                old_programs: true,
                ..server.settings(DATABASE)
            }),
            Self::Scratch {
                server,
                name,
                lesser,
                ..
            } => {
                let superuser = ConnectSettings {
                    dbname: name.clone(),
                    ..server.clone()
                };
                match lesser {
                    None => Target::Login(superuser),
                    Some(secret) => Target::Lesser {
                        login: ConnectSettings {
                            user: name.clone(),
                            password: Some(secret.clone()),
                            ..superuser.clone()
                        },
                        superuser,
                    },
                }
            }
        }
    }

    /// Ends a server of ours, and what was started in it; says how far it was confined.
    pub(crate) fn finish(&mut self) -> Option<Confinement> {
        match self {
            Self::Throwaway(server) => Some(server.halt()),
            Self::Scratch { .. } => None,
        }
    }

    /// Ends every session in the place from any thread. Code of a database may pass over the wish to stop.
    pub(crate) fn ender(&self) -> Box<dyn Fn() + Send + Sync> {
        match self {
            Self::Throwaway(server) => server.ender(),
            Self::Scratch { server, name, .. } => {
                let (server, name) = (server.clone(), name.clone());
                Box::new(move || {
                    let dropped = Session::connect(&server, &Cancel::new())
                        .and_then(|mut session| drop_scratch(&server, &mut session, &name));
                    if let Err(error) = dropped {
                        tracing::warn!("could not end the drill on {server}: {error}");
                    }
                })
            }
        }
    }

    /// Whether roles may be made there.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Throwaway(_))
    }
}

/// Drops a scratch database, with subscriptions that were restored into it.
fn drop_scratch(
    server: &ConnectSettings,
    session: &mut Session,
    name: &str,
) -> Result<(), PgError> {
    if target::has_subscriptions(session, name)? {
        let database = ConnectSettings {
            dbname: name.to_owned(),
            ..server.clone()
        };
        target::drop_subscriptions(&mut Session::connect(&database, &Cancel::new())?)?;
    }
    target::drop_database(session, name)
}

/// Removes what crashed drills left in a directory, unless one is at work there.
pub(crate) fn sweep_leftovers(directory: &Path) {
    // Held, as a drill's server may belong to a process that cannot be seen from here.
    match DrillLock::try_take(directory) {
        Ok(Some(lock)) => sweep_and_log(&lock),
        Ok(None) => {}
        Err(error) => tracing::warn!(
            "could not remove leftovers of crashed drills: {}: {error}",
            directory.display()
        ),
    }
}

/// The same by who has the lock. Says what was removed, and what could not be: that takes room, and no more.
pub(super) fn sweep_and_log(lock: &DrillLock) {
    match lock.sweep() {
        Ok(swept) => log(&swept),
        Err(error) => tracing::warn!("could not remove leftovers of crashed drills: {error}"),
    }
}

fn log(swept: &Swept) {
    for leftover in &swept.removed {
        tracing::info!(
            "removed {}, leftover of a crashed drill",
            leftover.display()
        );
    }
    for error in &swept.stuck {
        tracing::warn!("could not remove a leftover of a crashed drill: {error}");
    }
}

impl Drop for DrillServer {
    fn drop(&mut self) {
        let Self::Scratch {
            server,
            name,
            lesser,
            ..
        } = self
        else {
            return;
        };
        // Not with the run's wish to stop, or nothing would be dropped after a signal.
        let dropped = Session::connect(server, &Cancel::new()).and_then(|mut session| {
            drop_scratch(server, &mut session, name)?;
            if lesser.is_some() {
                target::drop_idle_roles(&mut session, name)?;
            }
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::warn!(
                "could not drop the scratch database {name} on {server}; the next drill will: {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_dump_of_many_tables_has_its_locks() {
        let all = |relations| locks(relations).parse::<usize>().unwrap() * 100;
        assert_eq!(all(10), 6_400);
        assert!(all(20_000) > 2 * 20_000 + 6_000);
    }

    #[test]
    fn what_a_dead_drill_left_goes_when_nobody_drills_there() {
        let directory = tempfile::tempdir().unwrap();
        let left = directory.path().join("hubvault-throwaway-1-1");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("owner"), "1 0").unwrap();
        let lock = DrillLock::try_take(directory.path()).unwrap();
        sweep_leftovers(directory.path());
        assert!(left.exists(), "somebody drills there");
        drop(lock);
        sweep_leftovers(directory.path());
        assert!(!left.exists());
    }

    #[test]
    fn what_cannot_be_removed_is_told_and_holds_up_no_drill() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::fmt()
            .with_writer(Arc::new(Said(Arc::clone(&said))))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            sweep_leftovers(Path::new("/nonexistent"));
            log(&Swept {
                removed: Vec::new(),
                stuck: vec![PgError::Cancelled],
            });
        });
        let said = String::from_utf8(said.lock().unwrap().clone()).unwrap();
        assert!(
            said.contains("could not remove leftovers of crashed drills: /nonexistent"),
            "{said}"
        );
        assert!(
            said.contains("could not remove a leftover of a crashed drill"),
            "{said}"
        );
    }

    struct Said(Arc<Mutex<Vec<u8>>>);

    impl io::Write for &Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
