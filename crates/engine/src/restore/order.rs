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
    tables: &[&'a TableSummary],
) -> Result<Vec<&'a TableSummary>, RestoreError> {
    let works: Vec<_> = tables.iter().map(|table| vec![&table.name]).collect();
    let order = order_of(session, &works)?;
    Ok(order.into_iter().map(|at| tables[at]).collect())
}

/// The same of works that are each about some tables: their places in the list, in the order of work.
pub(super) fn order_of(
    session: &mut Session,
    works: &[Vec<&TableName>],
) -> Result<Vec<usize>, RestoreError> {
    let relations = inspect::relations(session)?;
    let about = works.iter().enumerate();
    let work_of: BTreeMap<&TableName, usize> = about
        .flat_map(|(at, tables)| tables.iter().map(move |table| (*table, at)))
        .collect();
    let of_oid: BTreeMap<u32, usize> = relations
        .iter()
        .filter_map(|relation| Some((relation.oid, *work_of.get(&relation.name)?)))
        .collect();
    let keys = inspect::foreign_keys(session)?;
    let points_to =
        |key: &ForeignKey| Some((*of_oid.get(&key.table)?, *of_oid.get(&key.references)?));
    Ok(sorted(works.len(), keys.iter().filter_map(points_to)))
}

/// Numbers below `count`, each after those that it points to, in their own order otherwise.
fn sorted(count: usize, points_to: impl Iterator<Item = (usize, usize)>) -> Vec<usize> {
    let mut parents = vec![BTreeSet::new(); count];
    for (child, parent) in points_to.filter(|(child, parent)| child != parent) {
        parents[child].insert(parent);
    }
    let mut left: Vec<usize> = (0..count).collect();
    let (mut is_done, mut ordered) = (vec![false; count], Vec::new());
    while !left.is_empty() {
        let is_free = |at: &usize| parents[*at].iter().all(|parent| is_done[*parent]);
        let next = left.remove(left.iter().position(is_free).unwrap_or(0));
        is_done[next] = true;
        ordered.push(next);
    }
    ordered
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

#[cfg(test)]
mod tests {
    use super::super::test_manifest;
    use super::*;
    use hubvault_archive::LoadOrder;
    use serde_json::json;

    fn manifest(load_order: LoadOrder) -> Manifest {
        let table = |schema: &str| {
            json!({
                "schema": schema, "name": "t", "coverage": "whole", "filter": null, "columns": [], "format": "text",
                "rows": 0, "digest": "0".repeat(32), "bytes": 0, "entries": [],
            })
        };
        test_manifest::manifest(&["b", "a", "b"].map(table), load_order)
    }

    #[test]
    fn parents_come_before_children_and_a_circle_ends() {
        let order = |count, edges: &[(usize, usize)]| sorted(count, edges.iter().copied());
        assert_eq!(order(3, &[]), [0, 1, 2]);
        assert_eq!(order(3, &[(0, 2), (1, 1)]), [1, 2, 0]);
        assert_eq!(order(3, &[(0, 1), (1, 0), (2, 1)]), [0, 1, 2]);
    }

    #[test]
    fn an_archive_that_does_not_say_the_search_path_has_that_of_its_tables() {
        let said = LoadOrder {
            search_path: vec!["app".to_owned(), "public".to_owned()],
            ..LoadOrder::default()
        };
        assert_eq!(search_path(&manifest(said)), ["app", "public"]);
        let unsaid = manifest(LoadOrder::default());
        assert_eq!(search_path(&unsaid), ["public", "b", "a"]);
    }
}
