//! An archive put back into a database: definitions, rows, sequences, and the proof that it is
//! equal. The drill restores through here, so that what is proven is what a user gets.

mod error;
mod rows;
mod compare;
mod files;
mod diff;

pub use compare::{Compared, digest};
pub use diff::{PutBack, TableDiff, diff, put_back};
pub use error::RestoreError;
pub use files::files;

use crate::progress::{Progress, Stage};
use hubvault_archive::{Archive, EntryKind, EntryRecord, Manifest, Source, TableSummary};
use hubvault_model::{Cancel, TableName, TablePattern, quote_ident};
use hubvault_postgres::{ConnectSettings, SchemaOptions, SchemaRestore, Session, target};
use std::io::Read;

/// How a restore goes about it.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an answer that a user gives"
)]
pub struct RestoreOptions {
    /// Connections that load rows and build indexes at once.
    pub workers: usize,
    /// Make roles that are missing, without login.
    pub create_roles: bool,
    /// Everything belongs to who restores; nothing is granted.
    pub no_owner: bool,
    /// Try a server that is older than the archive's.
    pub force: bool,
    /// Go on past what cannot be restored; it is in the report.
    pub keep_going: bool,
}

/// What came of a restore.
#[derive(Debug)]
pub struct Restored {
    /// Every table that was meant to come back, as it is now.
    pub tables: Vec<Compared>,
    /// Tables whose rows could not be loaded, where the options said to go on.
    pub passed_over: Vec<TableName>,
    /// What the programs said and what was passed over.
    pub messages: Vec<String>,
}

impl Restored {
    /// An error that names every table that is not equal.
    pub fn all_equal(&self) -> Result<(), RestoreError> {
        let tables: Vec<String> = self.tables.iter().filter_map(Compared::problem).collect();
        if tables.is_empty() {
            Ok(())
        } else {
            Err(RestoreError::Different { tables })
        }
    }
}

/// Restores a whole archive into a database that holds none of its tables, and compares.
///
/// An `Err` may leave a part of it in the target; what differs is in the report, not an `Err`.
pub fn whole<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    options: RestoreOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Restored, RestoreError> {
    let manifest = archive.manifest();
    let major = manifest.snapshot.server_version_num / 10_000;
    let mut session = Session::connect(to, cancel)?;
    let here = session.server_version_num() / 10_000;
    if here < major && !options.force {
        return Err(RestoreError::OlderServer {
            archive: major,
            target: here,
        });
    }
    if !options.no_owner {
        settle_roles(&mut session, manifest, options.create_roles)?;
    }
    let present = target::present(&mut session, manifest.tables.iter().map(|t| &t.name))?;
    if !present.is_empty() {
        let names = present.iter().map(ToString::to_string).collect();
        return Err(RestoreError::NotEmpty { names });
    }
    let schema = SchemaRestore::new(
        &entry(archive, "database/schema.dump")?,
        entry(archive, "database/schema-post-data.list")?,
        major,
    )?;
    let said = SchemaOptions {
        jobs: options.workers,
        no_owner: options.no_owner,
        keep_going: options.keep_going,
    };
    progress.stage(Stage::Definitions, None);
    let mut messages = schema.pre_data(to, said, cancel)?;

    let entries: Vec<&EntryRecord> = manifest
        .entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::TableData)
        .collect();
    let bytes = entries.iter().map(|entry| entry.raw_bytes).sum();
    progress.stage(Stage::Rows, Some(bytes));
    let problems = rows::load(
        archive,
        entries,
        to,
        options.workers,
        options.keep_going,
        progress,
        cancel,
    )?;
    let passed_over = problems.iter().map(|(table, _)| table.clone()).collect();
    messages.extend(
        problems
            .into_iter()
            .map(|(table, why)| format!("{table}: {why}")),
    );

    progress.stage(Stage::Indexes, None);
    let sequences = text(archive, "database/sequences.sql")?;
    tolerate(
        session.simple("setting the sequences", &sequences),
        options,
        &mut messages,
    )?;
    messages.extend(schema.post_data(to, said, cancel)?);
    let keys = text(archive, "database/foreign-keys.sql")?;
    let made = session.simple("making the NOT VALID foreign keys", &keys);
    tolerate(made, options, &mut messages)?;
    for view in &manifest.refresh {
        let sql = format!("REFRESH MATERIALIZED VIEW {}", view.sql());
        tolerate(
            session.simple("filling a materialized view", &sql),
            options,
            &mut messages,
        )?;
    }
    session.simple("gathering statistics", "ANALYZE")?;

    progress.stage(Stage::Compare, None);
    let tables: Vec<&TableSummary> = manifest.tables.iter().collect();
    let tables = compare::compare(&tables, to, options.workers, cancel)?;
    Ok(Restored {
        tables,
        passed_over,
        messages,
    })
}

/// Restores the rows of some tables into the same tables of a living database, which must be
/// there and empty; and compares.
pub fn tables<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    wanted: &[TablePattern],
    options: RestoreOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Restored, RestoreError> {
    let manifest = archive.manifest();
    let chosen = chosen(manifest, wanted)?;
    let mut session = Session::connect(to, cancel)?;
    for table in &chosen {
        if !target::is_empty(&mut session, &table.name)? {
            return Err(RestoreError::HasRows {
                table: table.name.clone(),
            });
        }
    }
    let entries: Vec<&EntryRecord> = manifest
        .entries
        .iter()
        .filter(|entry| {
            chosen
                .iter()
                .any(|table| table.entries.contains(&entry.name))
        })
        .collect();
    progress.stage(
        Stage::Rows,
        Some(entries.iter().map(|entry| entry.raw_bytes).sum()),
    );
    let problems = rows::load(
        archive,
        entries,
        to,
        options.workers,
        options.keep_going,
        progress,
        cancel,
    )?;
    let passed_over = problems.iter().map(|(table, _)| table.clone()).collect();
    let messages = problems
        .into_iter()
        .map(|(table, why)| format!("{table}: {why}"))
        .collect();
    progress.stage(Stage::Compare, None);
    let tables = compare::compare(&chosen, to, options.workers, cancel)?;
    Ok(Restored {
        tables,
        passed_over,
        messages,
    })
}

/// The tables of an archive that are wanted; all of them when nothing is said.
fn chosen<'a>(
    manifest: &'a Manifest,
    wanted: &[TablePattern],
) -> Result<Vec<&'a TableSummary>, RestoreError> {
    for pattern in wanted {
        if !manifest
            .tables
            .iter()
            .any(|table| pattern.matches(&table.name))
        {
            return Err(RestoreError::NoSuchTable {
                word: pattern.to_string(),
            });
        }
    }
    let meant = |table: &&TableSummary| {
        wanted.is_empty() || wanted.iter().any(|pattern| pattern.matches(&table.name))
    };
    Ok(manifest.tables.iter().filter(meant).collect())
}

/// Extensions that the archive needs and the server does not offer.
pub(crate) fn missing_extensions<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    cancel: &Cancel,
) -> Result<Vec<String>, RestoreError> {
    let major = archive.manifest().snapshot.server_version_num / 10_000;
    let schema = SchemaRestore::new(&entry(archive, "database/schema.dump")?, Vec::new(), major)?;
    let offered = target::extensions(&mut Session::connect(to, cancel)?)?;
    let needed = schema.extensions(cancel)?;
    Ok(needed
        .into_iter()
        .filter(|name| !offered.contains(name))
        .collect())
}

fn settle_roles(
    session: &mut Session,
    manifest: &Manifest,
    create: bool,
) -> Result<(), RestoreError> {
    let known = target::roles(session)?;
    let missing: Vec<&String> = manifest
        .roles
        .iter()
        .filter(|role| !known.contains(role))
        .collect();
    if !missing.is_empty() && !create {
        return Err(RestoreError::Roles {
            names: missing.into_iter().cloned().collect(),
        });
    }
    for role in missing {
        session.simple(
            "making a role",
            &format!("CREATE ROLE {} NOLOGIN", quote_ident(role)),
        )?;
    }
    Ok(())
}

fn tolerate(
    result: Result<(), hubvault_postgres::PgError>,
    options: RestoreOptions,
    messages: &mut Vec<String>,
) -> Result<(), RestoreError> {
    match result {
        Err(error) if options.keep_going => {
            messages.push(error.to_string());
            Ok(())
        }
        other => Ok(other?),
    }
}

fn entry<S: Source>(archive: &Archive<S>, name: &'static str) -> Result<Vec<u8>, RestoreError> {
    let missing = |why: String| RestoreError::Entry { name, why };
    let record = archive
        .entry(name)
        .ok_or_else(|| missing("it is not there".to_owned()))?;
    let mut bytes = Vec::new();
    archive
        .content(record)?
        .read_to_end(&mut bytes)
        .map_err(|error| missing(error.to_string()))?;
    Ok(bytes)
}

fn text<S: Source>(archive: &Archive<S>, name: &'static str) -> Result<String, RestoreError> {
    String::from_utf8(entry(archive, name)?).map_err(|error| RestoreError::Entry {
        name,
        why: error.to_string(),
    })
}
