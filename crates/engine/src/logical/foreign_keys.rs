//! Which rows the rows in the scope refer to, and what this means for the foreign keys of a restore.

use super::closure::Closure;
use super::scope::{Choice, children_of, with_descendants};
use crate::job::Scope;
use hubvault_archive::{Coverage, LeftOut, UncheckedForeignKey};
use hubvault_model::{TableName, Warning, quote_ident};
use hubvault_postgres::{ForeignKey, Relation, RelationKind};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The consequences of foreign keys that cross the edge of the scope.
#[derive(Debug, Default)]
pub struct References {
    /// Tables with rows outside the archive that are related to it, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Foreign keys that a restore creates `NOT VALID`.
    pub not_valid: Vec<UncheckedForeignKey>,
    /// Their `pg_constraint` oids, which `pg_restore` must skip.
    pub skipped: Vec<u32>,
    /// The tables that have them after a restore, with the constraint's name.
    pub late_keys: Vec<(TableName, String)>,
    /// The statements that create them, to be run last.
    pub statements: Vec<String>,
    /// One for each table outside that rows inside refer to.
    pub warnings: Vec<Warning>,
}

/// Checks every foreign key with referencing rows in the archive.
///
/// A foreign key into a table that is not whole in the archive cannot be validated after a
/// restore. `NOT VALID` still checks every later row (`PostgreSQL` manual, "ALTER TABLE").
pub(crate) fn cross(
    relations: &[Relation],
    chosen: &BTreeMap<u32, Choice>,
    keys: &[ForeignKey],
    scope: &Scope,
) -> References {
    let by_oid: HashMap<u32, &Relation> = relations.iter().map(|r| (r.oid, r)).collect();
    let children = children_of(relations);
    let coverage = |oid: u32| coverage_of(oid, chosen, &children, &by_oid);
    let mut refers_to: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut referred_by: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut found = References::default();
    for key in keys.iter().filter(|key| key.parent.is_none()) {
        let (Some(child), Some(parent)) = (by_oid.get(&key.table), by_oid.get(&key.references))
        else {
            continue;
        };
        match (coverage(key.table), coverage(key.references)) {
            (None, Some(_)) => {
                refers_to
                    .entry(key.table)
                    .or_default()
                    .insert(parent.name.to_string());
            }
            (None, None) | (Some(_), Some(Coverage::Whole)) => {}
            // All rows that its rows reference were added.
            (Some(_), _) if is_closed(key.table, chosen, &children, &by_oid, scope) => {}
            (Some(_), outside) => {
                let reason = if outside.is_none() {
                    referred_by
                        .entry(key.references)
                        .or_default()
                        .insert(child.name.to_string());
                    format!("{} is not in the archive", parent.name)
                } else {
                    format!("only some rows of {} are in the archive", parent.name)
                };
                for table in bearers(key, child, &children, &by_oid) {
                    found.statements.push(not_valid_statement(key, table));
                    found.late_keys.push((table.clone(), key.name.clone()));
                }
                found.skipped.push(key.oid);
                found.not_valid.push(UncheckedForeignKey {
                    name: key.name.clone(),
                    table: child.name.clone(),
                    references: parent.name.clone(),
                    reason,
                });
            }
        }
    }
    found.describe(&by_oid, &refers_to, &referred_by);
    found
}

impl References {
    /// Ordinary tables that are neither in the archive nor related to it.
    pub(crate) fn outside(
        &self,
        relations: &[Relation],
        is_listed: impl Fn(u32) -> bool,
    ) -> Vec<LeftOut> {
        let mut tables: Vec<LeftOut> = relations
            .iter()
            .filter(|r| r.kind == RelationKind::Table && r.extension_member.is_none())
            .filter(|r| !is_listed(r.oid))
            .filter(|r| !self.left_out.iter().any(|left| left.name == r.name))
            .map(|r| LeftOut {
                name: r.name.clone(),
                estimated_rows: r.estimated_rows,
                reason: LeftOut::NOT_IN_SCOPE.to_owned(),
            })
            .collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    fn describe(
        &mut self,
        by_oid: &HashMap<u32, &Relation>,
        refers_to: &BTreeMap<u32, BTreeSet<String>>,
        referred_by: &BTreeMap<u32, BTreeSet<String>>,
    ) {
        let outside: BTreeSet<&u32> = refers_to.keys().chain(referred_by.keys()).collect();
        for oid in outside {
            let Some(relation) = by_oid.get(oid) else {
                continue;
            };
            let mut reasons = Vec::new();
            if let Some(tables) = refers_to.get(oid) {
                reasons.push(format!("refers to {}", join(tables)));
            }
            if let Some(tables) = referred_by.get(oid) {
                reasons.push(format!("{} refers to it", join(tables)));
                let message = format!(
                    "{} is not in the scope and {} refers to it: the foreign keys come back NOT \
                     VALID; add it to [scope] tables to keep them whole",
                    relation.name,
                    join(tables)
                );
                self.warnings
                    .push(Warning::new("reference-left-out", &relation.name, message));
            }
            self.left_out.push(LeftOut {
                name: relation.name.clone(),
                estimated_rows: relation.estimated_rows,
                reason: reasons.join("; "),
            });
        }
    }
}

fn join(names: &BTreeSet<String>) -> String {
    names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

/// How much of a table's rows is in the archive; of a partitioned one, the least of its leaves.
fn coverage_of(
    oid: u32,
    chosen: &BTreeMap<u32, Choice>,
    children: &HashMap<u32, Vec<u32>>,
    by_oid: &HashMap<u32, &Relation>,
) -> Option<Coverage> {
    let partitioned = by_oid
        .get(&oid)
        .is_some_and(|r| r.kind == RelationKind::Partitioned);
    if !partitioned {
        return chosen.get(&oid).map(|choice| choice.coverage());
    }
    let leaves: Vec<Option<Coverage>> = with_descendants(oid, children)
        .into_iter()
        .filter(|o| {
            by_oid
                .get(o)
                .is_some_and(|r| r.kind != RelationKind::Partitioned)
        })
        .map(|o| chosen.get(&o).map(|choice| choice.coverage()))
        .collect();
    if leaves.iter().all(Option::is_none) && !leaves.is_empty() {
        None
    } else if leaves.iter().all(|c| *c == Some(Coverage::Whole)) {
        Some(Coverage::Whole)
    } else {
        Some(Coverage::Window)
    }
}

/// Whether the references of all rows that are in the archive were followed.
fn is_closed(
    oid: u32,
    chosen: &BTreeMap<u32, Choice>,
    children: &HashMap<u32, Vec<u32>>,
    by_oid: &HashMap<u32, &Relation>,
    scope: &Scope,
) -> bool {
    let partitioned = |oid: &u32| {
        by_oid
            .get(oid)
            .is_some_and(|relation| relation.kind == RelationKind::Partitioned)
    };
    let tables = if partitioned(&oid) {
        with_descendants(oid, children)
    } else {
        vec![oid]
    };
    tables
        .iter()
        .filter(|oid| !partitioned(oid))
        .filter_map(|oid| chosen.get(oid))
        .all(|choice| Closure::follows(*choice, scope))
}

/// The tables that get a `NOT VALID` key: a partitioned table cannot have one before
/// `PostgreSQL` 18, its leaves can.
fn bearers<'a>(
    key: &ForeignKey,
    child: &'a Relation,
    children: &HashMap<u32, Vec<u32>>,
    by_oid: &HashMap<u32, &'a Relation>,
) -> Vec<&'a TableName> {
    if !key.table_is_partitioned {
        return vec![&child.name];
    }
    with_descendants(key.table, children)
        .into_iter()
        .filter_map(|oid| by_oid.get(&oid))
        .filter(|relation| relation.kind == RelationKind::Table)
        .map(|relation| &relation.name)
        .collect()
}

fn not_valid_statement(key: &ForeignKey, table: &TableName) -> String {
    let suffix = if key.definition.ends_with("NOT VALID") {
        ""
    } else {
        " NOT VALID"
    };
    let (table, name) = (table.sql(), quote_ident(&key.name));
    let definition = &key.definition;
    let statement = format!("ALTER TABLE ONLY {table} ADD CONSTRAINT {name} {definition}{suffix};");
    let Some(comment) = &key.comment else {
        return statement;
    };
    // In one line, as each is made by itself.
    let comment = comment.replace('\\', "\\\\").replace('\'', "''");
    let comment = comment.replace('\n', "\\n").replace('\r', "\\r");
    format!("{statement} COMMENT ON CONSTRAINT {name} ON {table} IS E'{comment}';")
}

#[cfg(test)]
mod tests;
