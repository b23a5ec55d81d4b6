//! Tables that the role may not read and that no backup had before: a run leaves them out and warns, so that a table
//! which somebody makes does not end all backups.

use super::scope::Choice;
use crate::catalog::KnownTables;
use crate::job::{MissingPolicy, Scope};
use crate::run::BackupError;
use hubvault_archive::LeftOut;
use hubvault_model::{TableName, Warning, counted};
use hubvault_postgres::{ForeignKey, MissingPrivilege, Relation, Sequence, Snapshot, inspect};
use std::collections::{BTreeMap, BTreeSet};

/// What a run leaves out of the definitions, too.
#[derive(Clone, Debug, Default)]
pub struct Spared {
    tables: BTreeSet<u32>,
    /// Those of no table.
    sequences: Vec<Sequence>,
    objects: Vec<TableName>,
}

/// So many tables of a schema are named in a warning.
const NAMED: usize = 5;

impl Spared {
    /// Finds them. None before the first backup of this database, and where what is missing is to fail: there the
    /// plan asks for the privileges and no run goes on without them.
    pub fn find(
        snapshot: &mut Snapshot,
        scope: &Scope,
        known: &KnownTables,
    ) -> Result<Self, BackupError> {
        let database = snapshot.info().database.clone();
        let session = snapshot.session();
        if scope.missing == MissingPolicy::Fail || !inspect::is_any_unreadable(session)? {
            return Ok(Self::default());
        }
        let relations = inspect::relations(session)?;
        let sequences = inspect::sequences(session)?;
        let mut found = Self {
            tables: known.new_and_unreadable(&relations, scope, &database),
            sequences: known.new_sequences(&sequences, &database),
            objects: Vec::new(),
        };
        let sequences = sequences.into_iter().filter(|it| found.has_sequence(it));
        let names = relations.iter().filter(|it| found.has(it.oid));
        found.objects = names
            .map(|it| it.name.clone())
            .chain(sequences.map(|it| it.name))
            .collect();
        Ok(found)
    }

    /// The tables and their sequences.
    pub fn objects(&self) -> &[TableName] {
        &self.objects
    }

    pub(super) fn has(&self, table: u32) -> bool {
        self.tables.contains(&table)
    }

    pub(super) fn has_sequence(&self, sequence: &Sequence) -> bool {
        sequence.of_table.is_some_and(|table| self.has(table))
            || self.sequences.iter().any(|it| it.oid == sequence.oid)
    }

    /// The tables, for the list of what is not in the archive.
    pub(super) fn left_out(&self, relations: &[Relation]) -> Vec<LeftOut> {
        let mut tables: Vec<LeftOut> = self
            .relations(relations)
            .map(|relation| LeftOut {
                name: relation.name.clone(),
                estimated_rows: relation.estimated_rows,
                reason: LeftOut::NOT_READABLE.to_owned(),
            })
            .collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    pub(super) fn relations<'a>(
        &'a self,
        relations: &'a [Relation],
    ) -> impl Iterator<Item = &'a Relation> {
        relations.iter().filter(|relation| self.has(relation.oid))
    }

    /// What is missing for everything else.
    pub(super) fn privileges(
        &self,
        role: &str,
        relations: &[Relation],
        sequences: &[Sequence],
        in_scope: &dyn Fn(&Relation) -> bool,
    ) -> Vec<MissingPrivilege> {
        let relations = relations.iter().filter(|it| !self.has(it.oid));
        let sequences = sequences.iter().filter(|it| !self.has_sequence(it));
        inspect::missing_privileges(role, relations, sequences, in_scope)
    }

    /// What is missing for these tables, and for those of extensions, which are left out with a warning, too.
    pub(super) fn more_privileges(
        &self,
        role: &str,
        relations: &[Relation],
        sequences: &[Sequence],
        chosen: &BTreeMap<u32, Choice>,
    ) -> Vec<MissingPrivilege> {
        let of_extension =
            |it: &&Relation| it.extension_member.is_some() && chosen.contains_key(&it.oid);
        let of_extension = relations.iter().filter(of_extension);
        let relations = self.relations(relations).chain(of_extension);
        let sequences = sequences
            .iter()
            .filter(|it| self.has_sequence(it) || (it.extension_member && it.is_config));
        inspect::missing_for_more(role, relations, sequences)
    }

    /// One warning for each schema, with the statements.
    pub(super) fn warnings(
        &self,
        role: &str,
        relations: &[Relation],
        keys: &[ForeignKey],
    ) -> Vec<Warning> {
        let mut schemas: BTreeMap<&str, Vec<&Relation>> = BTreeMap::new();
        for relation in self.relations(relations) {
            let schema = relation.name.schema.as_str();
            schemas.entry(schema).or_default().push(relation);
        }
        let warning = |(schema, tables): (&str, Vec<&Relation>)| {
            let names: Vec<String> = tables.iter().map(|it| it.name.to_string()).collect();
            let missing = inspect::missing_for_more(role, tables.iter().copied(), [].iter());
            let message = format!(
                "the role {role} may not read {}, which no backup holds: neither definition nor rows are in the \
                 archive, and what uses it (views, functions, columns of its type) cannot be restored either{}; grant it: {}",
                some(&names, ", "),
                lost_keys(&tables, relations, keys),
                statements(&missing)
            );
            Warning::new("unreadable-table", schema, message)
        };
        let of_tables = schemas.into_iter().map(warning);
        of_tables.chain(self.of_sequences(role)).collect()
    }

    fn of_sequences(&self, role: &str) -> Option<Warning> {
        let names: Vec<String> = self
            .sequences
            .iter()
            .map(|it| it.name.to_string())
            .collect();
        let missing = inspect::missing_for_more(role, [].iter(), self.sequences.iter());
        let message = format!(
            "the role {role} may not read {} {}, which the last backup does not hold: neither definition nor value is in \
             the archive; grant it: {}",
            if names.len() == 1 {
                "the sequence"
            } else {
                "the sequences"
            },
            some(&names, ", "),
            statements(&missing)
        );
        let first = names.first()?;
        Some(Warning::new("unreadable-sequence", first, message))
    }
}

/// Foreign keys of other tables that cannot be made without these.
fn lost_keys(tables: &[&Relation], relations: &[Relation], keys: &[ForeignKey]) -> String {
    let is_of = |oid| tables.iter().any(|table| table.oid == oid);
    let lost = keys
        .iter()
        .filter(|key| is_of(key.references) && !is_of(key.table) && key.parent.is_none());
    let names: Vec<String> = lost
        .filter_map(|key| {
            let table = relations.iter().find(|it| it.oid == key.table)?;
            Some(format!("{} on {}", key.name, table.name))
        })
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(", nor these foreign keys: {}", some(&names, ", "))
}

/// The statements for the first tables, and those for tables to come.
fn statements(missing: &[MissingPrivilege]) -> String {
    let now: Vec<String> = missing.iter().map(|it| it.statement.clone()).collect();
    let later: BTreeSet<&String> = missing
        .iter()
        .filter_map(|it| it.for_later.as_ref())
        .collect();
    let later: Vec<String> = later.into_iter().cloned().collect();
    let all = if now.len() > NAMED {
        " (hubvault backup --dry-run prints all)"
    } else {
        ""
    };
    let later = if later.is_empty() {
        String::new()
    } else {
        format!(" for tables to come: {}", some(&later, " "))
    };
    format!("{}{all}{later}", some(&now, " "))
}

fn some(all: &[String], between: &str) -> String {
    let named = &all[..all.len().min(NAMED)];
    match all.len() - named.len() {
        0 => named.join(between),
        more => format!(
            "{}{between}and {}",
            named.join(between),
            counted(more as u64, "other")
        ),
    }
}
