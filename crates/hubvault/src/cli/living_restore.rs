//! Marks the living database while a restore changes it, until the restore ends well.

use super::Exit;
use super::restore_args::RestoreArgs;
use crate::answer;
use crate::text::{chain, plain, print};
use anyhow::{Result, anyhow};
use hubvault_archive::Manifest;
use hubvault_config::Settings;
use hubvault_engine::progress::{Progress, Stage};
use hubvault_engine::state::StateDir;
use hubvault_engine::state::restore_mark::{self, LivingRestore, RestoreMark};
use hubvault_model::{BackupId, Cancel, Masks, TableName, counted, remedy};
use hubvault_postgres::{ConnectSettings, database_identity};
use jiff::Timestamp;
use serde_json::json;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// A restore, which may be one into the living database.
pub(super) struct RestoreWatch {
    mark: Option<(StateDir, RestoreMark)>,
    masks: Masks,
    is_changed: AtomicBool,
}

impl RestoreWatch {
    /// Before anything is changed. A restore that cannot be marked goes on: what it brings back is needed.
    pub(super) fn begin(
        settings: &Settings,
        args: &RestoreArgs,
        manifest: &Manifest,
        to: &ConnectSettings,
        cancel: &Cancel,
    ) -> Self {
        let job = settings.job();
        let database = job.database.place();
        // Without a directory of backups nobody looks after this database from here.
        let may_be = !args.create && job.state_root().is_dir();
        let (is_living, identity) = if may_be {
            living_identity(to, &job.database, cancel)
        } else {
            (false, None)
        };
        let names = manifest.tables.iter().map(|table| &table.name);
        let is_meant = |name: &&TableName| {
            args.tables.is_empty() || args.tables.iter().any(|it| it.matches(name))
        };
        let restore = || LivingRestore {
            id: BackupId::random(),
            backup: format!("backup {}", manifest.id.short()),
            database,
            identity,
            what: args.what(),
            tables: Some(names.filter(is_meant).cloned().collect()),
            is_whole: args.is_whole(),
            began_at: Timestamp::now(),
            error: None,
        };
        let begin = || {
            let state = StateDir::open(job.state_root()).map_err(io::Error::other)?;
            let mark = RestoreMark::begin(&state, restore())?;
            Ok::<_, io::Error>((state, mark))
        };
        let mark = is_living.then(begin).and_then(|begun| {
            let complaint = "could not record that this restore begins, so that nothing warns if it does not end well";
            begun.inspect_err(|error| tracing::warn!("{complaint}: {error}")).ok()
        });
        Self {
            mark,
            masks: job.delivery.masks.clone(),
            is_changed: AtomicBool::new(false),
        }
    }

    /// Is notified of the first change of a whole restore. One of rows is a transaction: whatever its end says, no table has a part
    /// of them.
    pub(super) fn progress<'a>(&'a self, inner: &'a dyn Progress) -> impl Progress + 'a {
        FirstChange { watch: self, inner }
    }

    /// It ended like this.
    pub(super) fn end(self, ended: Result<Exit>) -> Result<Exit> {
        let Some((state, mark)) = self.mark else {
            return ended;
        };
        let recorded = match &ended {
            Ok(_) => mark.done(&state).and_then(|()| warn_of_others(&state)),
            Err(error) if self.is_changed.into_inner() => {
                mark.failed(self.masks.mask(&chain(error)))
            }
            Err(_) => mark.withdraw(),
        };
        if let Err(error) = recorded {
            tracing::warn!("could not record how this restore ended: {error}");
        }
        ended
    }
}

/// Those that this restore did not make good.
fn warn_of_others(state: &StateDir) -> io::Result<()> {
    for (other, is_at_work) in restore_mark::unfinished(state)? {
        if !is_at_work {
            tracing::warn!(
                "this restore does not make good {other}, which did not end well: that one had other tables, rows or another \
                 database; restore that backup again, or run hubvault restore --resolved where nothing is missing"
            );
        }
    }
    Ok(())
}

/// Whether the target is the living database, also where its server is named another way, and its identity,
/// where that is known.
fn living_identity(
    to: &ConnectSettings,
    living: &ConnectSettings,
    cancel: &Cancel,
) -> (bool, Option<String>) {
    let identity = |of: &ConnectSettings| {
        let once = ConnectSettings {
            attempts: 1,
            ..of.clone()
        };
        database_identity(&once, cancel)
    };
    if to.place() == living.place() {
        let known = identity(to).ok();
        return (true, known.and_then(|known| known.lasting()));
    }
    if to.dbname != living.dbname {
        return (false, None);
    }
    let same = identity(living).and_then(|known| {
        let is_same = known == identity(to)?;
        Ok((is_same, known.lasting()))
    });
    same.unwrap_or_else(|error| {
        tracing::warn!(
            "could not compare the target with the living database: {error}; if they are the same, nothing warns if this \
             restore does not end well"
        );
        (false, None)
    })
}

struct FirstChange<'a> {
    watch: &'a RestoreWatch,
    inner: &'a dyn Progress,
}

impl Progress for FirstChange<'_> {
    fn stage(&self, stage: Stage, expected_bytes: Option<u64>) {
        self.inner.stage(stage, expected_bytes);
    }

    fn advance(&self, table: Option<&TableName>, rows: u64, bytes: u64) {
        self.inner.advance(table, rows, bytes);
    }

    fn changes(&self) {
        self.watch.is_changed.store(true, Ordering::Release);
    }
}

/// `hubvault restore --resolved`
pub(super) fn resolve(settings: &Settings) -> Result<Exit> {
    let state = StateDir::of(settings.job().state_root());
    let resolved = restore_mark::resolve(&state, None).map_err(|error| {
        let help = remedy(&error);
        anyhow!("removing the marks of unfinished restores: {error}{help}")
    })?;
    let number = resolved.len() as u64;
    if answer::is_json() {
        let restores: Vec<String> = resolved.iter().map(ToString::to_string).collect();
        answer::json(&json!({ "resolved": number, "restores": restores }))?;
    } else if number == 0 {
        print("no restore was left unfinished\n")?;
    } else {
        for restore in resolved {
            print(&format!("{}\n", plain(restore)))?;
        }
        let restores = counted(number, "unfinished restore");
        print(&format!("{restores} marked as resolved\n"))?;
    }
    Ok(Exit::Done)
}
