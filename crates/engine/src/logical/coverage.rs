//! Every table of the database: whether its rows are in a backup, and what it refers to. From the manifest of an archive,
//! or from the plan of a run.

use super::extent::{PlannedTable, describe_coverage, describe_rows};
use super::plan::Plan;
use crate::catalog::TableRecord;
use crate::job::Scope;
use hubvault_archive::{Coverage, LeftOut, Manifest, TableSummary};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many of a table's rows a backup has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Taken {
    /// All.
    In,
    /// Some: those of a window, or those that others refer to.
    Window,
    /// None.
    Out,
}

impl Taken {
    /// The word in every report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Window => "window",
            Self::Out => "left out",
        }
    }
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCoverage {
    /// The name for people, which is also a pattern that matches it alone.
    pub name: String,
    /// How many of its rows are taken.
    pub taken: Taken,
    /// Which rows, or why none.
    pub how: String,
    /// The rows that are taken; of a table that is left out, those that it has. `None` where nobody knows.
    pub rows: Option<u64>,
    /// Whether these are the planner's estimate.
    pub is_estimate: bool,
    /// Their bytes, as far as known.
    pub bytes: Option<u64>,
    /// The tables that its foreign keys refer to.
    pub refers_to: Vec<String>,
    /// The pattern of `[scope] exclude` that leaves it out.
    pub excluded_by: Option<String>,
    /// Whether naming it in the scope would take it in.
    pub can_be_taken: bool,
}

impl TableCoverage {
    fn of_left_out(left: &LeftOut, scope: &Scope) -> Self {
        let mut exclude = scope.exclude.iter();
        Self {
            name: left.name.to_string(),
            taken: Taken::Out,
            how: left.reason.clone(),
            rows: left.estimated_rows,
            is_estimate: true,
            bytes: None,
            refers_to: Vec::new(),
            excluded_by: exclude
                .find(|pattern| pattern.matches(&left.name))
                .map(ToString::to_string),
            can_be_taken: left.reason != LeftOut::NOT_READABLE,
        }
    }

    fn of_archived(table: &TableSummary) -> Self {
        Self {
            how: describe_rows(
                table.extension.as_deref(),
                table.coverage,
                table.filter.as_deref(),
                table.added_rows,
            ),
            rows: Some(table.digest.rows),
            is_estimate: false,
            bytes: Some(table.bytes),
            ..Self::inside(&table.name, table.coverage)
        }
    }

    fn of_planned(table: &PlannedTable) -> Self {
        Self {
            how: describe_coverage(table),
            rows: table.estimated_rows,
            bytes: Some(table.estimated_bytes),
            ..Self::inside(&table.name, table.coverage)
        }
    }

    /// What the record of a backup says.
    pub fn of_record(table: &TableRecord) -> Self {
        Self {
            how: match table.coverage {
                Coverage::Whole => "whole",
                Coverage::Window => "rows of a window",
                Coverage::Referenced => "only rows that others refer to",
            }
            .to_owned(),
            rows: Some(table.rows),
            is_estimate: false,
            bytes: Some(table.bytes),
            ..Self::inside(&table.name, table.coverage)
        }
    }

    fn inside(name: &impl ToString, coverage: Coverage) -> Self {
        Self {
            name: name.to_string(),
            taken: match coverage {
                Coverage::Whole => Taken::In,
                Coverage::Window | Coverage::Referenced => Taken::Window,
            },
            how: String::new(),
            rows: None,
            is_estimate: true,
            bytes: None,
            refers_to: Vec::new(),
            excluded_by: None,
            can_be_taken: false,
        }
    }
}

/// What an archive has. Of foreign keys its manifest names those that cannot be validated after a restore.
pub fn coverage_of_archive(manifest: &Manifest, scope: &Scope) -> Vec<TableCoverage> {
    let inside = manifest.tables.iter().map(TableCoverage::of_archived);
    let outside = manifest.left_out.iter();
    let outside = outside.map(|left| TableCoverage::of_left_out(left, scope));
    let mut refers_to: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for key in &manifest.not_valid {
        let of = refers_to.entry(key.table.to_string()).or_default();
        of.insert(key.references.to_string());
    }
    let mut all: Vec<TableCoverage> = inside.chain(outside).collect();
    for table in &mut all {
        let found = refers_to.remove(&table.name).unwrap_or_default();
        table.refers_to = found.into_iter().collect();
    }
    all
}

/// What a run would take now.
pub fn coverage_of_plan(plan: &Plan, scope: &Scope) -> Vec<TableCoverage> {
    let inside = plan.tables.iter().map(TableCoverage::of_planned);
    let related = plan.references.left_out.iter().chain(&plan.of_extensions);
    let outside = related.chain(&plan.outside).chain(&plan.unreadable);
    let outside = outside.map(|left| TableCoverage::of_left_out(left, scope));
    let mut all: Vec<TableCoverage> = inside.chain(outside).collect();
    for table in &mut all {
        let Some(facts) = plan.relations.get(&table.name) else {
            continue;
        };
        table.bytes = table.bytes.or(Some(facts.bytes));
        table.refers_to = facts.refers_to.iter().cloned().collect();
    }
    all
}
