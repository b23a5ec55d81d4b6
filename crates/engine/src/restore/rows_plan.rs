//! What putting missing rows of a table back would do: to the table, and to those that its rows refer to.

use super::error::RestoreError;
use super::locks::with_holders;
use super::order::parents_first;
use super::preview::Preview;
use crate::progress::Silent;
use hubvault_archive::{Archive, Source, TableSummary};
use hubvault_model::{ByteSize, Cancel, TableName, TablePattern};
use hubvault_postgres::{ConnectSettings, ForeignKey, Session, inspect, target};
use std::collections::{BTreeMap, BTreeSet};

/// The plan of putting rows back.
#[derive(Debug)]
pub struct RowsPlan {
    /// The tables in the order in which their rows are put back: those that others refer to come first.
    pub tables: Vec<TableName>,
    /// What would be done, without foreign keys being tried.
    pub preview: Preview,
}

/// Compares the rows of a table, and of the tables in the archive that its foreign keys lead to, with the living database.
/// They are loaded into temporary tables there, no more than `most` bytes of them.
pub fn plan_rows<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    table: &TableSummary,
    update: bool,
    most: u64,
    cancel: &Cancel,
) -> Result<RowsPlan, RestoreError> {
    // Somebody waits for the answer.
    let to = ConnectSettings {
        attempts: 1,
        ..to.clone()
    };
    let mut session = Session::connect(&to, cancel)?;
    target::limit_to_tables(&mut session)?;
    let names = with_parents(&mut session, &table.name);
    let name = std::slice::from_ref(&table.name);
    let names = names.map_err(|error| with_holders(error, &mut session, name))?;
    let tables = archive.manifest().tables.iter();
    let of_extension = |table: &&TableSummary| table.extension.is_some();
    let tables = tables.filter(|it| names.contains(&it.name) && !of_extension(it));
    let tables: Vec<_> = tables.collect();
    let tables = parents_first(&mut session, &tables);
    let tables = tables.map_err(|error| with_holders(error, &mut session, name))?;
    drop(session);
    let bytes = tables.iter().map(|table| table.bytes);
    let bytes = bytes.fold(0, u64::saturating_add);
    if bytes > most {
        return Err(RestoreError::TooMuch {
            bytes: ByteSize(bytes),
            most: ByteSize(most),
        });
    }
    let names: Vec<TableName> = tables.iter().map(|table| table.name.clone()).collect();
    let patterns = names
        .iter()
        .filter_map(|name| name.to_string().parse().ok());
    let patterns: Vec<TablePattern> = patterns.collect();
    let mut preview = Preview::rows(archive, &to, &patterns, update, &Silent, cancel)?;
    let place = |name: &String| names.iter().position(|it| it.to_string() == *name);
    preview.tables.sort_by_key(|table| place(&table.table));
    Ok(RowsPlan {
        tables: names,
        preview,
    })
}

/// A table and all that its rows refer to, over any number of foreign keys of the living database.
fn with_parents(
    session: &mut Session,
    table: &TableName,
) -> Result<BTreeSet<TableName>, RestoreError> {
    let relations = inspect::relations(session)?;
    let names: BTreeMap<u32, &TableName> = relations
        .iter()
        .map(|relation| (relation.oid, &relation.name))
        .collect();
    let keys = inspect::foreign_keys(session)?;
    let edge = |key: &ForeignKey| Some((*names.get(&key.table)?, *names.get(&key.references)?));
    let edges: Vec<(&TableName, &TableName)> = keys.iter().filter_map(edge).collect();
    let mut found = BTreeSet::from([table.clone()]);
    loop {
        let next = edges.iter().filter(|(child, _)| found.contains(*child));
        let next: Vec<TableName> = next.map(|(_, parent)| (*parent).clone()).collect();
        let known = found.len();
        found.extend(next);
        if found.len() == known {
            return Ok(found);
        }
    }
}
