//! Runs `pg_dump` for the definitions in parallel with the plan, the files and the first rows.

use crate::job::ArchiveOptions;
use hubvault_model::{Cancel, CancelGuard, TableName};
use hubvault_postgres::{ConnectSettings, Definitions, PgError, SchemaDump, SnapshotFacts};
use std::thread::JoinHandle;

/// A running `pg_dump`. Dropping it ends the program and waits for its end.
pub(crate) struct Dumping {
    thread: Option<JoinHandle<Result<Definitions, PgError>>>,
    cancel: Cancel,
    _follows: CancelGuard,
}

impl Dumping {
    /// Starts `pg_dump` on the snapshot for all but the tables and sequences in `without`, `twice` to compare the results; ends when the run must stop.
    pub(crate) fn start(
        settings: &ConnectSettings,
        at: &SnapshotFacts,
        without: &[TableName],
        twice: bool,
        run: &Cancel,
    ) -> Self {
        let cancel = Cancel::new();
        let follower = cancel.clone();
        let follows = run.on_request(move || follower.request());
        let (settings, at, stop) = (settings.clone(), at.clone(), cancel.clone());
        let without = without.to_vec();
        let thread = std::thread::spawn(move || {
            let dumped = Definitions::dump(&settings, &at, &without, &stop)?;
            if twice {
                let again = Definitions::dump(&settings, &at, &without, &stop)?;
                dumped.confirm(&again, &stop)?;
            }
            Ok(dumped)
        });
        Self {
            thread: Some(thread),
            cancel,
            _follows: follows,
        }
    }

    /// Waits for it and gives `keep` its files; foreign keys in `skipped` (oids) are left out, and so are passwords where
    /// the options say so.
    pub(crate) fn finish<E: From<PgError>>(
        mut self,
        skipped: &[u32],
        options: ArchiveOptions,
        keep: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<SchemaDump, E> {
        let Some(thread) = self.thread.take() else {
            return Err(PgError::Cancelled.into());
        };
        let mut dumped = thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if options.mask_passwords {
            dumped.mask()?;
        }
        dumped.convert(skipped, &self.cancel, keep)
    }
}

impl Drop for Dumping {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.cancel.request();
            // Whoever drops it has an error of its own.
            let _ = thread.join();
        }
    }
}
