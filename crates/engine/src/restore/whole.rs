//! A whole archive into a database: definitions, rows, sequences, indexes, and all compared.

use super::compare::compare;
use super::error::RestoreError;
use super::rows::{Transactions, load};
use super::{RestoreOptions, Restored, definitions, entry, text};
use crate::progress::{Progress, Stage};
use hubvault_archive::{Archive, EntryKind, EntryRecord, Manifest, Source, TableSummary};
use hubvault_model::{Cancel, TableName, quote_ident};
use hubvault_postgres::{
    ConnectSettings, PgError, Said, SchemaOptions, SchemaRestore, Session, target,
};

/// The archive's tables that a database holds already.
pub fn present<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    cancel: &Cancel,
) -> Result<Vec<TableName>, RestoreError> {
    let mut session = Session::connect(to, cancel)?;
    Ok(target::present(
        &mut session,
        archive.manifest().tables.iter().map(|table| &table.name),
    )?)
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
    let schema = SchemaRestore::new(
        definitions(archive)?,
        entry(archive, "database/schema-post-data.list")?,
        major,
    )?;
    let there = target::present(
        &mut session,
        manifest.tables.iter().map(|table| &table.name),
    )?;
    if !there.is_empty() {
        if !options.clean {
            let names = there.iter().map(ToString::to_string).collect();
            return Err(RestoreError::NotEmpty { names });
        }
        drop_all(&mut session, &schema, manifest, cancel)?;
    }
    let said = SchemaOptions {
        jobs: options.workers,
        no_owner: options.no_owner,
        keep_going: options.keep_going,
        server: here,
    };
    progress.stage(Stage::Definitions, None);
    let Said {
        mut warnings,
        errors: mut failures,
    } = schema.pre_data(to, said, cancel)?;

    let entries: Vec<&EntryRecord> = manifest
        .entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::TableData)
        .collect();
    let transactions = if target::writes_no_wal(&mut session)? {
        Transactions::Table
    } else {
        Transactions::Entry
    };
    let bytes = entries.iter().map(|entry| entry.raw_bytes).sum();
    progress.stage(Stage::Rows, Some(bytes));
    let problems = load(
        archive,
        entries,
        transactions,
        to,
        options,
        progress,
        cancel,
    )?;
    let passed_over = problems.iter().map(|(table, _)| table.clone()).collect();
    failures.extend(
        problems
            .into_iter()
            .map(|(table, why)| format!("{table}: {why}")),
    );

    progress.stage(Stage::Indexes, None);
    let sequences = text(archive, "database/sequences.sql")?;
    tolerate(
        session.simple("setting the sequences", &sequences),
        options,
        &mut failures,
    )?;
    let after = schema.post_data(to, said, cancel)?;
    warnings.extend(after.warnings);
    failures.extend(after.errors);
    let keys = text(archive, "database/foreign-keys.sql")?;
    let made = session.simple("making the NOT VALID foreign keys", &keys);
    tolerate(made, options, &mut failures)?;
    for view in &manifest.refresh {
        let sql = format!("REFRESH MATERIALIZED VIEW {}", view.sql());
        tolerate(
            session.simple("filling a materialized view", &sql),
            options,
            &mut failures,
        )?;
    }
    session.simple("gathering statistics", "ANALYZE")?;

    progress.stage(Stage::Compare, None);
    let tables: Vec<&TableSummary> = manifest.tables.iter().collect();
    let tables = compare(&tables, to, options.workers, cancel)?;
    Ok(Restored {
        tables,
        passed_over,
        warnings,
        failures,
    })
}

/// Extensions that the archive needs and the server does not offer.
pub(crate) fn missing_extensions<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    cancel: &Cancel,
) -> Result<Vec<String>, RestoreError> {
    let major = archive.manifest().snapshot.server_version_num / 10_000;
    let schema = SchemaRestore::new(definitions(archive)?, Vec::new(), major)?;
    let offered = target::extensions(&mut Session::connect(to, cancel)?)?;
    let needed = schema.extensions(cancel)?;
    Ok(needed
        .into_iter()
        .filter(|name| !offered.contains(name))
        .collect())
}

/// All or nothing, and never by CASCADE: what hangs on these tables and is not in the archive stops
/// the whole.
fn drop_all(
    session: &mut Session,
    schema: &SchemaRestore,
    manifest: &Manifest,
    cancel: &Cancel,
) -> Result<(), RestoreError> {
    let mut sql = String::from("BEGIN;\n");
    for key in &manifest.not_valid {
        for table in target::bearers(session, &key.name)? {
            let (table, key) = (table.sql(), quote_ident(&key.name));
            sql += &format!("ALTER TABLE ONLY {table} DROP CONSTRAINT {key};\n");
        }
    }
    sql += &schema.drop_statements(cancel)?;
    sql += "\nCOMMIT";
    let dropped = session.simple("dropping what the archive holds", &sql);
    if dropped.is_err() {
        // The error that counts is the one above.
        let _ = session.simple("giving up", "ROLLBACK");
    }
    Ok(dropped?)
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
    result: Result<(), PgError>,
    options: RestoreOptions,
    failures: &mut Vec<String>,
) -> Result<(), RestoreError> {
    match result {
        Err(error) if options.keep_going => {
            failures.push(error.to_string());
            Ok(())
        }
        other => Ok(other?),
    }
}
