//! `hubvault restore`: a whole database, the rows of some tables, or the configuration files.

use super::Exit;
use super::living_restore::{self, RestoreWatch};
use super::restore_args::RestoreArgs;
use super::restore_plan;
use super::restored::{report, report_rows};
use super::seal::witness;
use super::select::{backup_of, target_of};
use crate::answer;
use crate::progress::{self, Of};
use crate::signals;
use crate::text::{plain, print};
use anyhow::{Context, Result, anyhow, bail};
use hubvault_archive::{AnyArchive, Archive, ArchiveFile, Identities, Source};
use hubvault_config::Settings;
use hubvault_engine::disk::unnamed_file;
use hubvault_engine::progress::Progress;
use hubvault_engine::remote::Backup;
use hubvault_engine::restore::{self, Previewed, RestoreError, RestoreOptions, Restored, Target};
use hubvault_model::{ByteSize, Cancel, TableName, counted, remedy};
use hubvault_postgres::{ConnectSettings, PgError, RestoreLock, Session, target};
use serde_json::json;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Restores and says what came back.
pub(crate) fn run(settings: &Settings, args: &RestoreArgs) -> Result<Exit> {
    if args.resolved {
        return living_restore::resolve(settings);
    }
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let read = Arc::new(AtomicU64::new(0));
    let backup = match args.backup.as_deref().context("there is no backup named")? {
        "-" => None,
        word => Some(backup_of(settings, &args.from, word, &cancel)?),
    };
    let archive = open(settings, backup.as_ref(), &args.identity.read()?, &read)?;
    if args.dry_run {
        return restore_plan::run(settings, args, &archive, &cancel);
    }
    witness(settings, &archive.source().opened_by());
    if let Some(directory) = &args.files {
        let files = restore::files(&archive, directory)?;
        let directory = directory.display();
        if answer::is_json() {
            answer::json(&json!({ "directory": args.files, "files": files }))?;
        } else {
            print(&format!(
                "{} (directories included) restored into {directory}\n",
                counted(files.len() as u64, "file")
            ))?;
        }
        return Ok(Exit::Done);
    }
    let to = target_of(settings, args.to.as_deref(), args.database.as_deref())?;
    let previewed = args.as_previewed.as_deref().map(previewed).transpose()?;
    if args.create {
        create(&archive, &to, &cancel)?;
    }
    if args.clean && !args.yes {
        ask(&restore::present(&archive, &to, &cancel)?, &to)?;
    }
    // Before the mark: what another restore leaves is not this one's.
    let _lock = RestoreLock::take(&to, &cancel)
        .map_err(|error| not_there(RestoreError::from(error).into()))?;
    let watch = RestoreWatch::begin(settings, args, archive.manifest(), &to, &cancel);
    let begun = Begun {
        settings,
        args,
        archive: &archive,
        to: &to,
        previewed: previewed.as_ref(),
        watch: &watch,
        cancel: &cancel,
    };
    let ended = begun.bring_back(|| {
        let read = ByteSize(read.load(Ordering::Relaxed));
        tell_cost(read, ByteSize(archive.size()), backup.as_ref())
    });
    watch.end(ended).map_err(not_there)
}

/// A restore into a database that is there.
struct Begun<'a> {
    settings: &'a Settings,
    args: &'a RestoreArgs,
    archive: &'a AnyArchive,
    to: &'a ConnectSettings,
    previewed: Option<&'a Previewed>,
    watch: &'a RestoreWatch,
    cancel: &'a Cancel,
}

impl Begun<'_> {
    /// Restores and says what came back; `tell_cost` what was read for it.
    fn bring_back(&self, tell_cost: impl FnOnce() -> Result<()>) -> Result<Exit> {
        let (args, to, cancel) = (self.args, self.to, self.cancel);
        if args.missing_rows || args.upsert {
            let bar = progress::choose(args.no_progress);
            let (tables, how) = (&args.tables, (args.upsert, self.previewed));
            let done = restore::put_back(self.archive, to, tables, how, bar.as_ref(), cancel)?;
            drop(bar);
            return report_rows(&done);
        }
        let bar = progress::choose_for(self.settings, Of::Restore, args.no_progress);
        let restored = self.load(&self.watch.progress(bar.as_ref()))?;
        drop(bar);
        if args.verbose && !answer::is_json() {
            tell_cost()?;
        }
        // Also where not all rows were loaded.
        let properties = set_properties(self.archive, to, args, cancel);
        let exit = report(&restored, to)?;
        match properties? {
            Exit::Done => Ok(exit),
            refused => Ok(refused),
        }
    }

    /// Restores everything, or the tables that were named.
    fn load(&self, progress: &dyn Progress) -> Result<Restored, RestoreError> {
        let (args, archive, cancel) = (self.args, self.archive, self.cancel);
        if args.tables.is_empty() {
            let target = Target::Login(self.to.clone());
            let how = (self.options(), self.previewed);
            return restore::whole(archive, &target, how, progress, cancel);
        }
        let (tables, schema) = (&args.tables, args.into_schema.as_deref());
        let keep_going = args.keep_going;
        restore::tables(
            archive, self.to, tables, schema, keep_going, progress, cancel,
        )
    }

    fn options(&self) -> RestoreOptions {
        let args = self.args;
        RestoreOptions {
            workers: self.settings.job().workers,
            create_roles: args.create_roles,
            no_owner: args.no_owner,
            force: args.force,
            isolated: false,
            clean: args.clean,
            // Rows that one table refuses cost no other table of a whole restore.
            keep_going: args.keep_going || args.tables.is_empty(),
            compare: args.compare.into(),
        }
    }
}

/// More than a dry run of any database has.
const MOST_PREVIEWED: ByteSize = ByteSize(64 << 20);

/// What a dry run answered.
fn previewed(path: &Path) -> Result<Previewed> {
    let doing = || format!("reading the dry run {}", path.display());
    if !std::fs::metadata(path).with_context(doing)?.is_file() {
        bail!("{}: it is no regular file", doing());
    }
    let (mut text, file) = (Vec::new(), File::open(path).with_context(doing)?);
    file.take(MOST_PREVIEWED.0 + 1)
        .read_to_end(&mut text)
        .with_context(doing)?;
    if text.len() as u64 > MOST_PREVIEWED.0 {
        bail!("{}: it has more than {MOST_PREVIEWED}", doing());
    }
    serde_json::from_slice(&text).with_context(doing)
}

/// What was read, and of a store also what it was asked for.
fn tell_cost(read: ByteSize, size: ByteSize, backup: Option<&Backup>) -> Result<()> {
    print(&format!("read {read} of the archive's {size}\n"))?;
    if let Some(asked) = backup.and_then(Backup::requests) {
        print(&format!(
            "the store was asked {} and sent {}\n",
            counted(asked.reads + asked.writes, "time"),
            ByteSize(asked.bytes_received)
        ))?;
    }
    Ok(())
}

/// Creates the database as the source's was created.
fn create(archive: &AnyArchive, to: &ConnectSettings, cancel: &Cancel) -> Result<()> {
    let server = ConnectSettings {
        dbname: "postgres".to_owned(),
        ..to.clone()
    };
    let mut session = Session::connect(&server, cancel)?;
    let like = archive.manifest().database.as_ref();
    let made = target::create_database(&mut session, &to.dbname, like);
    let notes = [
        made.map_err(not_created)?,
        target::set_tablespace(&mut session, &to.dbname, like)?,
    ];
    for note in notes.iter().flatten() {
        tracing::warn!("{note}");
    }
    Ok(())
}

/// What can be done where the server refuses to create a database.
fn not_created(error: PgError) -> anyhow::Error {
    match &error {
        PgError::Query { why, .. } if why.contains("(SQLSTATE 42P04)") => anyhow!(
            "{error}; name another database, or use --clean instead of --create to replace what is in this one"
        ),
        _ => RestoreError::from(error).with_role().into(),
    }
}

/// What can be done where the database is not there.
fn not_there(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(RestoreError::Postgres(PgError::NoSuchDatabase { target, why })) => anyhow!(
            "{target}: {why}; check its name (psql -l lists the databases), or make it with --create"
        ),
        _ => error,
    }
}

/// Gives a database that was created the properties of the source's; says that an existing one keeps its own.
fn set_properties(
    archive: &AnyArchive,
    to: &ConnectSettings,
    args: &RestoreArgs,
    cancel: &Cancel,
) -> Result<Exit> {
    if !args.create {
        if args.tables.is_empty() && restore::properties(archive)?.are_special() {
            tracing::info!(
                "the database existed and keeps its owner, grants and settings; --create applies those of the source, \
                 which are in database/properties.sql"
            );
        }
        return Ok(Exit::Done);
    }
    let refused = restore::set_properties(archive, to, args.no_owner, cancel)?;
    for statement in &refused {
        tracing::warn!("a property of the database was not set: {statement}");
    }
    Ok(if refused.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

/// An archive that counts what is read of it; without a backup that of standard input, which is kept in a file without
/// a name, as the table of contents comes last.
fn open(
    settings: &Settings,
    backup: Option<&Backup>,
    identities: &Identities,
    read: &Arc<AtomicU64>,
) -> Result<AnyArchive> {
    let counting = |source| -> Box<dyn Source> {
        let read = Arc::clone(read);
        Box::new(Counting { source, read })
    };
    if let Some(backup) = backup {
        return Ok(backup.open_source(counting(backup.source()?), identities)?);
    }
    let input = counting(Box::new(keep_input(&settings.temp_dir)?));
    ArchiveFile::open(input, identities)
        .and_then(Archive::open)
        .context("opening standard input")
}

fn keep_input(directory: &Path) -> Result<File> {
    let keep = || {
        let mut file = unnamed_file(directory)?;
        std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
        Ok::<_, std::io::Error>(file)
    };
    keep().map_err(|error| {
        let (place, help) = (directory.display(), remedy(&error));
        anyhow!(
            "keeping standard input in {place}: {error}{help}, or set TMPDIR to another directory"
        )
    })
}

struct Counting {
    source: Box<dyn Source>,
    read: Arc<AtomicU64>,
}

impl Source for Counting {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let n = self.source.read_at(buffer, offset)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn size(&self) -> std::io::Result<u64> {
        self.source.size()
    }

    fn will_read(&self, offset: u64, length: u64) {
        self.source.will_read(offset, length);
    }
}

/// Names what will be dropped, and goes on only after a yes.
fn ask(present: &[TableName], to: &ConnectSettings) -> Result<()> {
    if present.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = present.iter().map(plain).collect();
    let names = names.join(", ");
    if answer::is_json() || !std::io::stdin().is_terminal() {
        bail!("--clean would drop from {to}: {names}; add --yes to confirm");
    }
    print(&format!(
        "This drops from {to}, with all rows: {names}\nContinue? [y/N] "
    ))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        bail!("nothing was done");
    }
    Ok(())
}
