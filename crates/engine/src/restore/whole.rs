//! Restores a whole archive: definitions, rows, sequences and indexes, then compares everything.

use super::compare::{Compared, Comparison, compare};
use super::early::EarlyIndexes;
use super::error::RestoreError;
use super::extension_rows;
use super::lacking;
use super::locks::in_turns;
use super::order::{late_checks, search_path};
use super::previewed::{Previewed, lock_dropped, other_partitions};
use super::properties::{contents, relations};
use super::refused::without_checks;
use super::rows::{NotLoaded, Transactions, load};
use super::statements::{Statements, analyze_beside};
use super::units::{Unit, units};
use super::unlike::other_computed;
use super::{RestoreOptions, Restored, Target, definitions, entry};
use crate::progress::{Progress, Stage};
use hubvault_archive::{Archive, EntryKind, EntryRecord, LoadGroup, Manifest, Source};
use hubvault_model::{Cancel, TableName, quote_ident};
use hubvault_postgres::{
    Access, ConnectSettings, LateChecks, SchemaOptions, SchemaRestore, Session, TableLogins,
    ToolMessages, WAIT_SHORTLY, target,
};

/// The archive's tables that exist in a database.
pub fn present<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    cancel: &Cancel,
) -> Result<Vec<TableName>, RestoreError> {
    let mut session = Session::connect(to, cancel)?;
    extension_rows::present(&mut session, archive.manifest())
}

/// Restores a whole archive into a database that holds none of its tables, and compares.
///
/// An `Err` may leave a part of it in the target, once `progress` was told that it changes; what differs is in the report, not an
/// `Err`. Nothing is done where what is dropped is other than `previewed`.
pub fn whole<S: Source>(
    archive: &Archive<S>,
    target: &Target,
    (options, previewed): (RestoreOptions, Option<&Previewed>),
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Restored, RestoreError> {
    let schema = schema(archive, target.definer())?;
    let options = (options, previewed);
    whole_with(archive, schema, target, options, progress, cancel)
}

/// The definitions of an archive, for a restore over this login.
pub(crate) fn schema<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
) -> Result<SchemaRestore, RestoreError> {
    let major = archive.manifest().snapshot.server_version_num / 10_000;
    let list = entry(archive, "database/schema-post-data.list")?;
    Ok(SchemaRestore::new(definitions(archive)?, list, major, to)?)
}

/// The same as [`whole`] with definitions that are there already.
pub(crate) fn whole_with<S: Source>(
    archive: &Archive<S>,
    mut schema: SchemaRestore,
    target: &Target,
    (options, previewed): (RestoreOptions, Option<&Previewed>),
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Restored, RestoreError> {
    let manifest = archive.manifest();
    let to = target.definer();
    let (mut session, server, created) = ready(manifest, to, options, cancel)?;
    let dropping = (options.clean, previewed);
    drop_existing(archive, &mut session, &schema, dropping, (progress, cancel))?;
    progress.stage(Stage::Definitions, None);
    let lacking = target::lacking_tablespaces(&mut session, &manifest.needs.tablespaces)?;
    let access = access_of(target, &mut session, &schema, manifest, cancel)?;
    let mut superuser = match target {
        Target::Lesser { superuser, .. } => Some(Session::connect(superuser, cancel)?),
        _ => None,
    };
    let restore = Restore {
        archive,
        access: &access,
        options,
        progress,
        cancel,
    };
    let said = SchemaOptions {
        jobs: options.workers,
        no_owner: options.no_owner,
        // A drill's server has none, whatever an archive of an earlier version does not say.
        no_tablespaces: options.isolated || !lacking.is_empty(),
        server,
    };
    let mut report = first_notes(manifest, &created, &lacking);
    if let Some(superuser) = &mut superuser {
        report.extend(schema.make_extensions(superuser, to, said, cancel)?);
    }
    if options.isolated {
        let needed = &manifest.needs.collations;
        report.extend(schema.replace_collations(needed, &access, &mut session, said, cancel)?);
    }
    report.extend(schema.pre_data(&access, &mut session, said, cancel)?);
    let logins = access.of_tables(&mut session)?;
    if let Some(superuser) = &mut superuser {
        extension_rows::admit(superuser, manifest, &to.user)?;
    }
    let passed_over = restore.fill(&mut session, &logins, &mut schema, said, &mut report)?;
    if let Some(superuser) = &mut superuser {
        report.extend(schema.make_event_triggers(superuser, cancel)?);
    }
    report.failures = schema.roots(report.failures, cancel)?;

    let (tables, other_computed) = restore.compared(&logins, &mut report)?;
    report
        .warnings
        .extend(tables.iter().filter_map(Compared::only_counted));
    Ok(Restored {
        tables,
        compared: options.compare,
        passed_over,
        said: report,
        other_computed,
        access,
        logins,
    })
}

/// What is known before anything is made.
fn first_notes(manifest: &Manifest, created: &[String], lacking: &[String]) -> ToolMessages {
    let mut report = ToolMessages::default();
    (report.notes).extend(lacking::created_for_rows(created, manifest));
    report.notes.extend(lacking::tablespaces(lacking));
    report.notes.extend(lacking::passwords(&manifest.masked));
    report.notes.extend(lacking::not_compared(manifest));
    let units = units(manifest);
    report
        .notes
        .extend(units.iter().filter_map(Unit::half_computed));
    report
}

/// The logins of a restore.
fn access_of(
    target: &Target,
    session: &mut Session,
    schema: &SchemaRestore,
    manifest: &Manifest,
    cancel: &Cancel,
) -> Result<Access, RestoreError> {
    let to = target.definer();
    let access = if let Target::Owners(_) = target {
        let superusers = schema.superusers(&manifest.roles, cancel)?;
        Access::of_owners(to, session, &manifest.roles, superusers)?
    } else {
        Access::single(to.clone())
    };
    let access = access.with_settings(session, &manifest.load_order.settings)?;
    Ok(access.with_search_path(&search_path(manifest)))
}

/// Checks that the target can hold the archive; returns a session on it, its major version and the roles that were created.
fn ready(
    manifest: &Manifest,
    to: &ConnectSettings,
    options: RestoreOptions,
    cancel: &Cancel,
) -> Result<(Session, u32, Vec<String>), RestoreError> {
    let archive = manifest.snapshot.server_version_num / 10_000;
    let mut session = Session::connect(to, cancel)?;
    let target = session.server_version_num() / 10_000;
    if target < archive && !options.force {
        return Err(RestoreError::OlderServer { archive, target });
    }
    let created = lacking::create_roles(&mut session, manifest, options)?;
    Ok((session, target, created))
}

/// Refuses a target that has tables of the archive, or drops them.
fn drop_existing<S: Source>(
    archive: &Archive<S>,
    session: &mut Session,
    schema: &SchemaRestore,
    (clean, previewed): (bool, Option<&Previewed>),
    watched: (&dyn Progress, &Cancel),
) -> Result<(), RestoreError> {
    let manifest = archive.manifest();
    let there = extension_rows::present(session, manifest)?;
    if there.is_empty() {
        watched.0.changes();
        return Ok(());
    }
    if !clean {
        let names = there.iter().map(ToString::to_string).collect();
        return Err(RestoreError::NotEmpty { names });
    }
    let sql = drop_statements(session, schema, manifest, watched.1)?;
    let known = relations(&contents(archive, |_| true)?.definitions);
    in_turns(session, &known, watched, |session| {
        session.simple("beginning to drop", &format!("BEGIN; {WAIT_SHORTLY}"))?;
        lock_dropped(session, &known)?;
        other_partitions(session, &known)?.map_or(Ok(()), Err)?;
        previewed.map_or(Ok(()), |it| it.compare_dropped(session, &there))?;
        let doing = "dropping what the archive holds";
        session.simple(doing, &sql)?;
        // Until here a lost connection is a ROLLBACK; what became of a COMMIT without an answer is not known.
        watched.0.changes();
        Ok(session.simple(doing, "COMMIT")?)
    })
}

/// A running restore.
struct Restore<'a, S: Source> {
    archive: &'a Archive<S>,
    access: &'a Access,
    options: RestoreOptions,
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

impl<S: Source> Restore<'_, S> {
    /// Rows, sequences, indexes, constraints, all other definitions and materialized views, in the order of
    /// the archive ([`hubvault_archive::LoadOrder`]), which `restore.sh` follows, too; the tables that were passed over.
    fn fill(
        &self,
        session: &mut Session,
        logins: &TableLogins,
        schema: &mut SchemaRestore,
        said: SchemaOptions,
        report: &mut ToolMessages,
    ) -> Result<Vec<NotLoaded>, RestoreError> {
        let manifest = self.archive.manifest();
        let mut late = LateChecks::drop(session, &late_checks(manifest))?;
        let transactions = if target::writes_no_wal(session)? {
            Transactions::Table
        } else {
            Transactions::Entry
        };
        let entries = self.entries();
        let bytes = entries.iter().map(|(_, entry)| entry.raw_bytes).sum();
        self.progress.stage(Stage::Rows, Some(bytes));
        let mut passed_over = extension_rows::load(
            self.archive,
            (self.access, &mut *session),
            self.options,
            self.progress,
            self.cancel,
        )?;
        let (early, none) = (self.early(schema, said, &entries)?, EarlyIndexes::default());
        let rows = |group, early, late: &mut LateChecks| {
            let is_of = |of, _: &EntryRecord| of == group;
            let refused = self.rows((&entries, early), &is_of, transactions, logins)?;
            without_checks(refused, late, (self.access, self.cancel), |names| {
                let is_named = |_, entry: &EntryRecord| names.contains(&entry.name);
                self.rows((&entries, &none), &is_named, Transactions::Entry, logins)
            })
        };
        passed_over.extend(rows(LoadGroup::First, &early, &mut late)?);
        passed_over.extend(rows(LoadGroup::AfterTables, &none, &mut late)?);
        schema.leave_out(&early.built());
        if early.is_news() {
            self.progress.stage(Stage::Indexes, None);
        }
        let mut statements = Statements::new(self.access, self.cancel)?;
        statements.sequences(self.archive, report)?;
        let after_indexes = |report: &mut ToolMessages| -> Result<(), RestoreError> {
            passed_over.extend(rows(LoadGroup::AfterIndexes, &none, &mut late)?);
            Ok(late.add(self.access, report, self.cancel)?)
        };
        report.extend(schema.post_data(self.access, session, said, self.cancel, after_indexes)?);
        statements.foreign_keys(self.archive, report)?;
        let bound = &manifest.load_order.bound_by_policies;
        self.access.bound_by_policies(bound, self.cancel, || {
            statements.refresh(manifest, self.options.isolated, report)
        })?;
        report.extend(schema.event_triggers(self.access, session, said, self.cancel)?);
        Ok(passed_over)
    }

    /// What can be built while rows are loaded. Without tablespaces `pg_restore` takes what the role or the database has.
    fn early(
        &self,
        schema: &SchemaRestore,
        said: SchemaOptions,
        entries: &[(LoadGroup, &EntryRecord)],
    ) -> Result<EarlyIndexes, RestoreError> {
        if said.no_tablespaces && !self.options.isolated {
            return Ok(EarlyIndexes::default());
        }
        EarlyIndexes::of(self.archive, schema, entries, self.cancel)
    }

    /// Compares, and gathers statistics meanwhile. Nothing that a drill asks afterwards is planned better with them, and
    /// nobody uses its database.
    fn compared(
        &self,
        logins: &TableLogins,
        report: &mut ToolMessages,
    ) -> Result<(Vec<Compared>, Vec<String>), RestoreError> {
        let (how, cancel) = (self.options.compare, self.cancel);
        if how != Comparison::Off {
            self.progress.stage(Stage::Compare, None);
        }
        let units = units(self.archive.manifest());
        let how = (how, self.options.workers);
        let compared = || {
            let tables = compare(&units, self.access.definer(), logins, how, cancel)?;
            let other = other_computed(&units, &tables, logins, how.1, cancel)?;
            Ok((tables, other))
        };
        if self.options.isolated {
            return compared();
        }
        let (tables, other) = analyze_beside((self.access, cancel), report, compared)?;
        report.warnings.extend(other.iter().cloned());
        Ok((tables, other))
    }

    /// The entries with rows, each with when it is loaded.
    fn entries(&self) -> Vec<(LoadGroup, &EntryRecord)> {
        let manifest = self.archive.manifest();
        let group = |entry: &EntryRecord| {
            let rows = entry.rows.as_ref();
            rows.map_or(LoadGroup::First, |rows| {
                manifest.load_order.group_of(&rows.table)
            })
        };
        let entries = manifest.entries.iter();
        let entries = entries
            .filter(|entry| entry.kind == EntryKind::TableData)
            .filter(|entry| !extension_rows::holds(self.archive, entry));
        entries.map(|entry| (group(entry), entry)).collect()
    }

    /// Loads the entries that are chosen; the tables that were passed over.
    fn rows(
        &self,
        (entries, early): (&[(LoadGroup, &EntryRecord)], &EarlyIndexes),
        is_chosen: &dyn Fn(LoadGroup, &EntryRecord) -> bool,
        transactions: Transactions,
        logins: &TableLogins,
    ) -> Result<Vec<NotLoaded>, RestoreError> {
        let entries = entries.iter().filter(|(of, entry)| is_chosen(*of, entry));
        load(
            self.archive,
            (entries.map(|(_, entry)| *entry).collect(), early),
            transactions,
            (self.access, logins),
            self.options,
            self.progress,
            self.cancel,
        )
    }
}

/// Extensions that the archive needs and the server does not offer.
pub(crate) fn missing_extensions(
    schema: &SchemaRestore,
    to: &ConnectSettings,
    cancel: &Cancel,
) -> Result<Vec<String>, RestoreError> {
    let offered = target::extensions(&mut Session::connect(to, cancel)?)?;
    let needed = schema.extensions(cancel)?;
    Ok(needed
        .into_iter()
        .filter(|name| !offered.contains(name))
        .collect())
}

/// All or nothing, and never with CASCADE: objects that depend on these tables and are not in the archive
/// are an error.
fn drop_statements(
    session: &mut Session,
    schema: &SchemaRestore,
    manifest: &Manifest,
    cancel: &Cancel,
) -> Result<String, RestoreError> {
    let mut sql = String::new();
    for key in &manifest.not_valid {
        for table in target::tables_with_key(session, &key.table, &key.name)? {
            let (table, key) = (table.sql(), quote_ident(&key.name));
            sql += &format!("ALTER TABLE ONLY {table} DROP CONSTRAINT {key};\n");
        }
    }
    Ok(sql + &schema.drop_statements(cancel)?)
}
