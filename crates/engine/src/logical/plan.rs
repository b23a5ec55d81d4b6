//! The plan of a run, made before anything is exported: tables, windows, extents, what is left out, and
//! warnings.

use super::closure::{Added, Closure};
use super::extensions;
use super::extent::{Extent, PlannedTable, cut, of_rows};
use super::foreign_keys::{self, References};
use super::huge_rows;
use super::load_order;
use super::needs;
use super::relation_facts::{RelationFacts, relation_facts};
use super::scope::{self, Choice, Resolved};
use super::spared::Spared;
use super::window_filters::filters;
use crate::job::{Job, Scope, Window};
use crate::run::BackupError;
use hubvault_archive::{Columns, Coverage, LeftOut, LoadOrder};
use hubvault_model::{DatabaseFacts, HostNeeds, RowFormat, TableName, Warning};
use hubvault_postgres::{
    Advice, ForeignKey, MissingPrivilege, PERMIT_VIEWS, PgError, REFUSE_VIEWS, Relation,
    Requirements, Sequence, Session, Snapshot, SnapshotFacts, encoding_of_rows, inspect,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Everything that a run will include, and everything that it will not.
#[derive(Debug)]
pub struct Plan {
    /// The snapshot.
    pub snapshot: SnapshotFacts,
    /// What the database was created with.
    pub database: DatabaseFacts,
    /// The tables in the archive, by name.
    pub tables: Vec<PlannedTable>,
    /// The units of work, largest first.
    pub extents: Vec<Extent>,
    /// All sequences with their values.
    pub sequences: Vec<Sequence>,
    /// Foreign keys across the edge of the scope.
    pub references: References,
    /// Tables with rows that are not related to the archive.
    pub outside: Vec<LeftOut>,
    /// Tables without rows or definition in the archive, because the role may not read them and no backup had them.
    pub unreadable: Vec<LeftOut>,
    /// Tables of extensions with rows that are not in the archive.
    pub of_extensions: Vec<LeftOut>,
    /// Tables of extensions with rows that are, in the order in which they are loaded.
    pub extension_tables: Vec<TableName>,
    /// Size and references of every table, taken or not, by the name for people.
    pub relations: BTreeMap<String, RelationFacts>,
    /// Materialized views to fill after a restore, in order.
    pub refresh: Vec<TableName>,
    /// What a restore loads and adds when.
    pub load_order: LoadOrder,
    /// What a restore needs of the server.
    pub host: HostNeeds,
    /// Roles that a restore needs.
    pub roles: Vec<String>,
    /// What else a restore needs.
    pub needs: Requirements,
    /// Privileges that the backup's role lacks; a run refuses to start while there are any.
    pub privileges: Vec<MissingPrivilege>,
    /// Privileges that it lacks for what the run leaves out with a warning.
    pub more_privileges: Vec<MissingPrivilege>,
    /// Privileges of the role that a backup does not need. Not a warning: the backup is as good.
    pub advice: Option<Advice>,
    /// Warnings.
    pub warnings: Vec<Warning>,
}

impl Plan {
    /// Makes the plan from the database as of the snapshot, without what is spared.
    pub fn make(snapshot: &mut Snapshot, job: &Job, spared: &Spared) -> Result<Self, BackupError> {
        let facts = snapshot.info().clone();
        let session = snapshot.session();
        let relations = inspect::relations(session)?;
        let mut keys = inspect::foreign_keys(session)?;
        let mut sequences = inspect::sequences(session)?;
        let unread = inspect::read_sequences(session, &mut sequences)?;
        let mut found = resolved(job, spared, &relations, &mut keys)?;
        let role = &job.database.user;
        let more_privileges = spared.more_privileges(role, &relations, &sequences, &found.chosen);
        let filters = conditions(session, job, facts.taken_at, &relations, &mut found)?;
        let closure = Closure::new(&relations, &found.chosen, &filters, &keys);
        let reachable = closure.reachable(&job.scope);
        let privileges = spared.privileges(role, &relations, &sequences, &|relation| {
            found.chosen.contains_key(&relation.oid) || reachable.contains(&relation.oid)
        });
        sequences.retain(|it| it.is_taken() && !spared.has_sequence(it));
        // A condition of the configuration may name views.
        let own_conditions = job.scope.windows.iter().any(Window::has_own_condition);
        when(own_conditions, session, PERMIT_VIEWS)?;
        // Without the privileges this would fail with a less helpful error.
        let added = if privileges.is_empty() {
            closure.search(session, &job.scope)?
        } else {
            Added::new()
        };
        for table in added.keys() {
            found.chosen.entry(*table).or_insert(Choice::Referenced);
        }
        let references = foreign_keys::cross(&relations, &found.chosen, &keys, &job.scope);
        let mut plan = Self {
            tables: Vec::new(),
            extents: Vec::new(),
            outside: references.outside(&relations, |oid| {
                found.chosen.contains_key(&oid) || spared.has(oid)
            }),
            unreadable: spared.left_out(&relations),
            extension_tables: extensions::parents_first(&relations, &found.chosen, &keys),
            of_extensions: extensions::left_out(&relations, &found.chosen, &found.warnings),
            relations: relation_facts(&relations, &keys),
            refresh: inspect::materialized_views(session)?,
            load_order: load_order::load_order(session)?,
            host: inspect::host_needs(session)?,
            roles: inspect::roles(session)?,
            database: inspect::database(session)?,
            needs: inspect::requirements(session)?,
            advice: hubvault_postgres::advice(session)?,
            warnings: found.warnings,
            snapshot: facts,
            sequences,
            references,
            privileges,
            more_privileges,
        };
        plan.advise_of_code(&relations, &found.chosen);
        let passwords = needs::unsealed_passwords(job, &plan.needs);
        plan.warnings.extend(passwords);
        plan.warn(&unread, inspect::large_objects(session)?);
        plan.add_tables(
            session,
            &job.scope,
            &relations,
            &found.chosen,
            &filters,
            &added,
        )?;
        when(own_conditions, session, REFUSE_VIEWS)?;
        plan.refuse_nothing()?;
        Ok(plan)
    }

    /// Without any table there is no backup. Those that were spared are needed then.
    fn refuse_nothing(&mut self) -> Result<(), BackupError> {
        if !self.tables.is_empty() {
            return Ok(());
        }
        if self.unreadable.is_empty() {
            return Err(BackupError::NothingInScope);
        }
        self.privileges.append(&mut self.more_privileges);
        Ok(())
    }

    fn warn(&mut self, unread_sequences: &[String], large_objects: u64) {
        let references = self.references.warnings.iter().cloned();
        let unread = unread_sequences
            .iter()
            .map(|why| Warning::new("sequence", "sequences", why));
        self.warnings.extend(references.chain(unread));
        if large_objects > 0 {
            let what = format!(
                "{large_objects} large objects are not in the archive; move them into bytea \
                 columns, or back them up with pg_dump --large-objects"
            );
            let database = &self.snapshot.database;
            self.warnings
                .push(Warning::new("large-objects", database, what));
        }
    }

    /// Names the tables that a query plans with a powerful role's rights: planning evaluates their index expressions.
    fn advise_of_code(&mut self, relations: &[Relation], chosen: &BTreeMap<u32, Choice>) {
        let Some(advice) = &mut self.advice else {
            return;
        };
        let is_planned = |relation: &&Relation| {
            relation.planning_runs_code
                && matches!(
                    chosen.get(&relation.oid),
                    Some(Choice::Window(_) | Choice::Referenced)
                )
        };
        let names: Vec<String> = relations
            .iter()
            .filter(is_planned)
            .map(|relation| relation.name.to_string())
            .collect();
        if !names.is_empty() {
            advice.problem += &format!(
                "; reading some rows of {} runs functions in its indexes now",
                names.join(", ")
            );
        }
    }

    /// The statements that grant all that is missing, also for what is left out without it.
    pub fn grants(&self, role: &str) -> Vec<String> {
        let missing: Vec<&MissingPrivilege> = self.missing().collect();
        inspect::grants(role, &missing, self.snapshot.server_version_num)
    }

    /// All privileges that are missing.
    pub fn missing(&self) -> impl Iterator<Item = &MissingPrivilege> {
        self.privileges.iter().chain(&self.more_privileges)
    }

    /// The expected size of all extents, in bytes of heap and TOAST.
    pub fn estimated_bytes(&self) -> u64 {
        self.extents.iter().map(|e| e.estimated_bytes).sum()
    }

    fn add_tables(
        &mut self,
        session: &mut Session,
        scope: &Scope,
        relations: &[Relation],
        chosen: &BTreeMap<u32, Choice>,
        filters: &BTreeMap<u32, String>,
        added: &Added,
    ) -> Result<(), BackupError> {
        let mut taken: Vec<(&Relation, Choice)> = relations
            .iter()
            .filter_map(|r| chosen.get(&r.oid).map(|choice| (r, *choice)))
            .collect();
        taken.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        self.add_row_roles(session, &taken, filters)?;
        for (relation, choice) in taken {
            let index = self.tables.len();
            let filter = filters.get(&relation.oid);
            let (mut table, mut extents) = planned(session, relation, choice, filter, index)?;
            table.place = self.load_order.place_of(&table.name).clone();
            table.encoding = encoding_of_rows(&self.snapshot.encoding);
            table.own_condition = matches!(choice, Choice::Window(window)
                if scope.windows[window].has_own_condition());
            if let Some(rows) = added.get(&relation.oid) {
                table.added_rows = rows.len() as u64;
                extents.extend(of_rows(index, relation, rows));
                table.extents = extents.len();
                table.estimated_bytes = extents.iter().map(|e| e.estimated_bytes).sum();
                if choice == Choice::Referenced {
                    table.estimated_rows = Some(table.added_rows);
                }
            }
            self.tables.push(table);
            self.extents.extend(extents);
        }
        // Stable: the extents of one table stay in the order of its pages.
        self.extents
            .sort_by_key(|e| std::cmp::Reverse(e.estimated_bytes));
        Ok(())
    }

    /// Adds the roles that only rows name: without them a server takes no such row.
    fn add_row_roles(
        &mut self,
        session: &mut Session,
        taken: &[(&Relation, Choice)],
        filters: &BTreeMap<u32, String>,
    ) -> Result<(), BackupError> {
        let tables = taken
            .iter()
            .map(|(table, _)| (*table, filters.get(&table.oid)));
        let mut named = inspect::row_roles(session, &tables.collect::<Vec<_>>())?;
        named.retain(|role| !self.roles.contains(role));
        self.roles.extend(named.iter().cloned());
        self.roles.sort();
        self.host.row_roles = named;
        Ok(())
    }
}

/// The scope's tables that are not spared, with warnings; also `keys` are those between others.
fn resolved(
    job: &Job,
    spared: &Spared,
    relations: &[Relation],
    keys: &mut Vec<ForeignKey>,
) -> Result<Resolved, BackupError> {
    let mut found = scope::resolve(&job.scope, relations);
    if !found.missing.is_empty() {
        return Err(BackupError::MissingTables {
            names: found.missing,
        });
    }
    let unreadable = spared.warnings(&job.database.user, relations, keys);
    found.warnings.extend(unreadable);
    found.chosen.retain(|table, _| !spared.has(*table));
    keys.retain(|key| !spared.has(key.references) && !spared.has(key.table));
    Ok(found)
}

/// Permits or refuses views where conditions of the configuration may name them.
fn when(own_conditions: bool, session: &mut Session, sql: &str) -> Result<(), PgError> {
    if own_conditions {
        session.simple("permitting or refusing views", sql)?;
    }
    Ok(())
}

/// The condition of every table of which not all rows are taken, as SQL.
fn conditions(
    session: &mut Session,
    job: &Job,
    at: Timestamp,
    relations: &[Relation],
    found: &mut Resolved,
) -> Result<BTreeMap<u32, String>, BackupError> {
    let of_extensions = extensions::conditions(session, relations, found)?;
    let mut conditions = filters(session, job, at, relations, &found.chosen)?;
    conditions.extend(of_extensions);
    huge_rows::leave_out(session, relations, found, &mut conditions)?;
    Ok(conditions)
}

/// What is compared after a restore, though it is not inside. A query is planned, which must run no code of others.
fn computed(relation: &Relation) -> Columns {
    let columns = relation.columns.iter().filter(|column| column.computed);
    let columns = columns.filter(|_| !relation.planning_runs_code);
    columns.map(|column| column.name.clone()).collect()
}

fn planned(
    session: &mut Session,
    relation: &Relation,
    choice: Choice,
    filter: Option<&String>,
    index: usize,
) -> Result<(PlannedTable, Vec<Extent>), BackupError> {
    let bytes = relation.heap_bytes + relation.toast_bytes;
    let columns = relation
        .columns
        .iter()
        .filter(|c| !c.generated)
        .map(|c| c.name.clone());
    let mut table = PlannedTable {
        name: relation.name.clone(),
        place: relation.name.clone(),
        extension: relation.extension_member.clone(),
        coverage: choice.coverage(),
        filter: None,
        own_condition: false,
        columns: columns.collect(),
        computed: computed(relation),
        format: RowFormat::Text,
        encoding: None,
        estimated_rows: relation.estimated_rows,
        estimated_bytes: bytes,
        added_rows: 0,
        extents: 1,
    };
    // Before 14 a condition on ctid reads the whole table once for every range (release notes of
    // PostgreSQL 14, "Allow efficient heap scanning of a range of TIDs").
    // A plain COPY of the whole table is not planned, and planning evaluates its index expressions.
    let mut may_cut =
        relation.heap && !relation.planning_runs_code && session.server_version_num() >= 140_000;
    if choice == Choice::Referenced {
        // Its rows are added one by one.
        return Ok((table, Vec::new()));
    }
    if let Some(filter) = filter {
        table.filter = Some(filter.clone());
        table.coverage = Coverage::Window;
        if matches!(choice, Choice::Window(_)) {
            table.format = RowFormat::Csv;
        }
        if !relation.is_readable() || relation.rls_filters {
            // What its condition takes is known once the role may read it.
            table.estimated_rows = None;
            return Ok((table, cut(index, relation.pages, bytes, false)));
        }
        let estimate = inspect::estimate(session, &Extent::window_query(&table))?;
        let share = relation
            .estimated_rows
            .filter(|rows| *rows > 0)
            .map_or(1.0, |rows| (estimate.rows as f64 / rows as f64).min(1.0));
        table.estimated_bytes = (bytes as f64 * share) as u64;
        table.estimated_rows = Some(estimate.rows);
        may_cut &= !estimate.uses_index;
    }
    let extents = cut(index, relation.pages, table.estimated_bytes, may_cut);
    table.extents = extents.len();
    Ok((table, extents))
}
