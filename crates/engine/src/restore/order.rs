//! The order of work: largest tables first, and parents before their children.

use super::error::RestoreError;
use hubvault_archive::{CheckedKind, LateCheck, Manifest, TableSummary};
use hubvault_model::TableName;
use hubvault_postgres::{Check, ForeignKey, Session, inspect};
use std::collections::{BTreeMap, BTreeSet};

/// Below this many bytes of rows the order of tables does not matter.
const SMALL: u64 = 1 << 20;

/// The sort key of tables, the largest first, so that workers end at about the same time. Small ones are
/// equal: those of the same owner can follow each other over one connection.
pub(crate) fn in_order(bytes: u64) -> u64 {
    if bytes < SMALL { 0 } else { bytes }
}

/// Parents before children, by the foreign keys of the live database; tables of a cycle in any order.
pub(crate) fn parents_first<'a>(
    session: &mut Session,
    tables: Vec<&'a TableSummary>,
) -> Result<Vec<&'a TableSummary>, RestoreError> {
    let relations = inspect::relations(session)?;
    let names: BTreeMap<u32, &TableName> = relations
        .iter()
        .map(|relation| (relation.oid, &relation.name))
        .collect();
    let keys = inspect::foreign_keys(session)?;
    let points_to =
        |key: &ForeignKey| Some((*names.get(&key.table)?, *names.get(&key.references)?));
    let edges: Vec<(&TableName, &TableName)> = keys.iter().filter_map(points_to).collect();
    let mut left = tables;
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waiting: BTreeSet<&TableName> = left.iter().map(|table| &table.name).collect();
        let free = |table: &&TableSummary| {
            !edges.iter().any(|(child, parent)| {
                **child == table.name && **parent != table.name && waiting.contains(parent)
            })
        };
        let at = left.iter().position(free).unwrap_or(0);
        ordered.push(left.remove(at));
    }
    Ok(ordered)
}

/// The CHECK constraints that are added after the rows.
pub(super) fn late_checks(manifest: &Manifest) -> Vec<Check> {
    let check = |late: &LateCheck| Check {
        of_domain: late.on == CheckedKind::Domain,
        owner: late.owner.clone(),
        name: late.constraint.clone(),
    };
    manifest.load_order.late_checks.iter().map(check).collect()
}

/// The schemas of the source's `search_path`; where the archive does not say them, those of its tables, `public` first.
pub(super) fn search_path(manifest: &Manifest) -> Vec<String> {
    if !manifest.load_order.search_path.is_empty() {
        return manifest.load_order.search_path.clone();
    }
    let mut schemas = vec!["public".to_owned()];
    for table in &manifest.tables {
        if !schemas.contains(&table.name.schema) {
            schemas.push(table.name.schema.clone());
        }
    }
    schemas
}
