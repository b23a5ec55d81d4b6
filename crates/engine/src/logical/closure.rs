//! Windows that close over their references: the rows that a window's rows point to, the rows that
//! those point to, and so on, so that every foreign key of a restored window holds.

use super::scope::{Choice, children_of, with_descendants};
use crate::job::{ReferencePolicy, Scope};
use crate::run::BackupError;
use hubvault_model::quote_ident;
use hubvault_postgres::{
    ForeignKey, LIMIT_CATALOGS, Relation, RelationKind, RowAddress, Session, UNLIMIT_STATEMENTS,
    inspect,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Rows to include besides those of the scope, by the oid of their table. They are addresses in the
/// snapshot: while it is held, no row moves.
pub(crate) type Added = BTreeMap<u32, BTreeSet<RowAddress>>;

/// Addresses in one query.
const BATCH: usize = 5_000;

/// The input of the search.
pub(crate) struct Closure<'a> {
    by_oid: HashMap<u32, &'a Relation>,
    children: HashMap<u32, Vec<u32>>,
    chosen: &'a BTreeMap<u32, Choice>,
    /// The condition of every window's table.
    filters: &'a BTreeMap<u32, String>,
    /// By the referencing table.
    keys: HashMap<u32, Vec<&'a ForeignKey>>,
}

impl<'a> Closure<'a> {
    pub(crate) fn new(
        relations: &'a [Relation],
        chosen: &'a BTreeMap<u32, Choice>,
        filters: &'a BTreeMap<u32, String>,
        keys: &'a [ForeignKey],
    ) -> Self {
        let mut by_table: HashMap<u32, Vec<&ForeignKey>> = HashMap::new();
        for key in keys.iter().filter(|key| !key.table_is_partitioned) {
            by_table.entry(key.table).or_default().push(key);
        }
        Self {
            by_oid: relations
                .iter()
                .map(|relation| (relation.oid, relation))
                .collect(),
            children: children_of(relations),
            chosen,
            filters,
            keys: by_table,
        }
    }

    /// Whether the references of a choice are followed.
    pub(crate) fn follows(choice: Choice, scope: &Scope) -> bool {
        match choice {
            Choice::Window(window) => scope.windows[window].references == ReferencePolicy::Include,
            Choice::Whole | Choice::Writable => false,
            Choice::Referenced => true,
        }
    }

    /// Every table of which rows could be added: those that can be reached from a window.
    pub(crate) fn reachable(&self, scope: &Scope) -> BTreeSet<u32> {
        let mut next = self.seeds(scope);
        let mut found = BTreeSet::new();
        while let Some(table) = next.pop() {
            for key in self.keys_of(table) {
                for parent in self.parents(key) {
                    if found.insert(parent) {
                        next.push(parent);
                    }
                }
            }
        }
        found
    }

    /// Searches the rows, level by level, until no new row is referenced. Reading rows may take its time.
    pub(crate) fn search(
        &self,
        session: &mut Session,
        scope: &Scope,
    ) -> Result<Added, BackupError> {
        session.simple("permitting long reads", UNLIMIT_STATEMENTS)?;
        let added = self.levels(session, scope)?;
        session.simple("limiting statements", LIMIT_CATALOGS)?;
        Ok(added)
    }

    fn levels(&self, session: &mut Session, scope: &Scope) -> Result<Added, BackupError> {
        let mut added = Added::new();
        let mut fresh = Added::new();
        for table in self.seeds(scope) {
            let Some(filter) = self.filters.get(&table) else {
                continue;
            };
            self.follow(session, table, filter, &mut added, &mut fresh)?;
        }
        while !fresh.is_empty() {
            for (table, rows) in std::mem::take(&mut fresh) {
                let rows: Vec<RowAddress> = rows.into_iter().collect();
                for batch in rows.chunks(BATCH) {
                    let among = among(batch);
                    self.follow(session, table, &among, &mut added, &mut fresh)?;
                }
            }
        }
        Ok(added)
    }

    fn seeds(&self, scope: &Scope) -> Vec<u32> {
        let follows = |choice: &Choice| Self::follows(*choice, scope);
        self.chosen
            .iter()
            .filter(|(_, choice)| follows(choice))
            .map(|(oid, _)| *oid)
            .collect()
    }

    fn keys_of(&self, table: u32) -> impl Iterator<Item = &'a ForeignKey> + '_ {
        self.keys.get(&table).into_iter().flatten().copied()
    }

    /// The tables with the rows that a key references, unless they are whole in the archive.
    fn parents(&self, key: &ForeignKey) -> Vec<u32> {
        let partitioned = |oid: &u32| {
            self.by_oid
                .get(oid)
                .is_some_and(|relation| relation.kind == RelationKind::Partitioned)
        };
        let tables = if partitioned(&key.references) {
            with_descendants(key.references, &self.children)
        } else {
            vec![key.references]
        };
        tables
            .into_iter()
            .filter(|oid| !partitioned(oid))
            .filter(|oid| !matches!(self.chosen.get(oid), Some(Choice::Whole | Choice::Writable)))
            .collect()
    }

    /// Adds the rows that the rows of `table` reference for which `condition` is true.
    fn follow(
        &self,
        session: &mut Session,
        table: u32,
        condition: &str,
        added: &mut Added,
        fresh: &mut Added,
    ) -> Result<(), BackupError> {
        let Some(child) = self.by_oid.get(&table) else {
            return Ok(());
        };
        for key in self.keys_of(table) {
            for oid in self.parents(key) {
                let Some(parent) = self.by_oid.get(&oid) else {
                    continue;
                };
                if key.runs_cast {
                    return Err(BackupError::ForeignCast {
                        what: format!("the foreign key {}", key.name),
                        table: child.name.clone(),
                        instead: "set references = \"warn\" for this window",
                    });
                }
                let doing = format!(
                    "following {} of {} to {}",
                    key.name, child.name, parent.name
                );
                let sql = self.sql(key, child, condition, parent);
                for row in inspect::addresses(session, &doing, &sql)? {
                    if added.entry(oid).or_default().insert(row) {
                        fresh.entry(oid).or_default().insert(row);
                    }
                }
            }
        }
        Ok(())
    }

    /// A NULL in any of the columns references nothing, as a join has it, too (MATCH SIMPLE and
    /// MATCH FULL alike; "CREATE TABLE", REFERENCES). The operators are the constraint's own: with
    /// an empty search path `=` could be another.
    fn sql(
        &self,
        key: &ForeignKey,
        child: &Relation,
        condition: &str,
        parent: &Relation,
    ) -> String {
        let list = |columns: &[String]| {
            columns
                .iter()
                .map(|column| quote_ident(column))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let joined: Vec<String> = key
            .columns
            .iter()
            .zip(&key.referenced_columns)
            .zip(&key.operators)
            .map(|((from, to), equals)| {
                format!("p.{} {equals} t.{}", quote_ident(to), quote_ident(from))
            })
            .collect();
        // The rows of the parent's own window are in the archive already.
        let rest = self
            .filters
            .get(&parent.oid)
            .map_or_else(String::new, |filter| {
                format!(" WHERE ({filter}) IS NOT TRUE")
            });
        format!(
            "SELECT DISTINCT p.ctid::text FROM (SELECT {} FROM ONLY {} WHERE {condition}) t \
             JOIN (SELECT ctid, {} FROM ONLY {}{rest}) p ON {}",
            list(&key.columns),
            child.name.sql(),
            list(&key.referenced_columns),
            parent.name.sql(),
            joined.join(" AND ")
        )
    }
}

/// A condition that is true for these rows only.
pub(crate) fn among(rows: &[RowAddress]) -> String {
    let rows: Vec<String> = rows.iter().map(|row| format!("\"{row}\"")).collect();
    format!("ctid = ANY ('{{{}}}'::pg_catalog.tid[])", rows.join(","))
}
