//! What a restore in a drill showed, and the verdict on it.

use super::definitions::DefinitionsCompared;
use super::drill_result::Verdict;
use super::script_outcome::{Ran, not_shown};
use crate::catalog::DrillRecord;
use crate::restore::{Compared, RestoreError, Restored};
use hubvault_model::{grouped, one_line};
use hubvault_postgres::Confinement;
use jiff::Timestamp;
use std::time::Instant;

/// How many objects a verdict names.
const NAMED: usize = 5;
/// How many of each kind a record holds.
const RECORDED: usize = 100;

/// What a restore on a throwaway server showed. Nothing of it is wrong: an archive with wrong rows is rejected.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) restored: Restored,
    /// Extensions that the server does not offer.
    pub(super) missing: Vec<String>,
    /// Tables whose rows could not be loaded or read.
    pub(super) not_provable: Vec<String>,
    /// Why, where no definition that is missing explains it.
    pub(super) unloaded: Vec<String>,
    /// What could not be made, each with the reason.
    pub(super) not_rebuilt: Vec<String>,
    /// How the definitions differ from the source's.
    pub(super) differ: Vec<String>,
    /// What was done another way than on the source's server.
    pub(super) notes: Vec<String>,
    /// What the archive's own `restore.sh` could not do.
    pub(super) script_problems: Vec<String>,
    /// The kind of `restore.sh` that brought everything back.
    pub(super) script: Option<String>,
    pub(super) version: String,
    /// Superusers that code of the database made.
    pub(super) intruders: Vec<String>,
}

impl Shown {
    /// Takes over what the restore said.
    pub(super) fn of(restored: Restored, missing: Vec<String>, version: String) -> Self {
        // The extensions that are missing are named once.
        let is_known = |object: &str| {
            let name = object.strip_prefix("extension ");
            name.is_some_and(|name| missing.iter().any(|missing| missing == name))
        };
        let failures = restored.said.failures.iter();
        let failures = failures.filter(|failure| !is_known(&failure.object));
        let computed = restored.other_computed.iter().cloned();
        let not_rebuilt: Vec<String> = (failures.map(ToString::to_string).chain(computed))
            .map(|what| one_line(&what).into_owned())
            .collect();
        let mut shown = Self {
            missing,
            not_provable: Vec::new(),
            unloaded: Vec::new(),
            not_rebuilt,
            differ: Vec::new(),
            notes: restored.said.notes.clone(),
            script_problems: Vec::new(),
            script: None,
            version,
            intruders: Vec::new(),
            restored,
        };
        shown.tables();
        shown
    }

    fn tables(&mut self) {
        let definitions_missing = !self.restored.said.failures.is_empty();
        for table in &self.restored.tables {
            let passed_over = self.restored.passed_over.iter();
            let error = passed_over
                .filter(|one| one.table == table.name)
                .map(|one| &one.error)
                .next();
            let (why, is_of_names) = match (error, &table.found) {
                (Some(error), _) => (
                    format!("the rows of {} could not be loaded: {error}", table.name),
                    error.is_of_names(),
                ),
                (None, Err(why)) => (
                    format!("the rows of {} could not be compared: {why}", table.name),
                    definitions_missing,
                ),
                (None, Ok(_)) => match table.incomparable {
                    Some(why) if table.problem().is_none() => (
                        format!("the rows of {} could not be compared: {why}", table.name),
                        definitions_missing,
                    ),
                    _ => continue,
                },
            };
            self.not_provable.push(table.name.to_string());
            if !(is_of_names && definitions_missing) {
                self.unloaded.push(why);
            }
        }
    }

    /// Tables whose rows are there and differ, or are not as the source wrote them.
    pub(super) fn different(&self) -> Vec<String> {
        let passed_over = self.restored.passed_over.iter();
        let unreadable = passed_over
            .filter(|one| one.error.is_of_rows())
            .map(|one| format!("{}: {}", one.table, one.error));
        let tables = self.restored.tables.iter();
        let read = tables.filter(|table| !self.is_not_provable(table));
        read.filter_map(Compared::problem)
            .chain(unreadable)
            .collect()
    }

    pub(super) fn is_not_provable(&self, table: &Compared) -> bool {
        self.not_provable.contains(&table.name.to_string())
    }

    /// Takes over how the definitions differ, or why they could not be compared.
    pub(super) fn definitions(&mut self, compared: Result<DefinitionsCompared, RestoreError>) {
        match compared {
            Ok(compared) => {
                self.differ = compared.differ;
                self.notes.extend(compared.notes);
            }
            Err(error) => {
                let why = format!("the definitions could not be compared: {error}");
                self.unloaded.push(why);
            }
        }
    }

    /// Takes over what a run of `restore.sh` of this `shape` showed.
    pub(super) fn by_script(&mut self, ran: Result<Ran, RestoreError>, shape: String) {
        match ran {
            Ok(ran) if ran.problems.is_empty() => {
                // What it did not show is tried again with the next drill.
                self.script = ran.unshown.is_empty().then_some(shape);
                self.notes.extend(not_shown(&ran.unshown));
            }
            Ok(ran) if ran.lacks_a_program() => {
                let why = ran.problems.join("; ");
                self.notes.push(format!("restore.sh was not run: {why}"));
            }
            Ok(ran) => self.script_problems = ran.problems,
            Err(error) => self.script_problems = vec![error.to_string()],
        }
    }

    /// The verdict, with everything in the record.
    pub(super) fn verdict(&self, begun: Instant, confinement: Option<Confinement>) -> Verdict {
        if !self.intruders.is_empty() {
            return Verdict::nothing_shown(format!(
                "code of the database created superusers on the drill's server ({}): the result of the drill is not \
                 reliable; check the functions that its tables use, and report this",
                self.intruders.join(", ")
            ));
        }
        let equal = || {
            let tables = self.restored.tables.iter();
            tables.filter(|table| table.is_equal() && !self.is_not_provable(table))
        };
        let record = DrillRecord {
            drilled_at: Timestamp::now(),
            seconds: begun.elapsed().as_secs_f64(),
            server_version: self.version.clone(),
            tables: equal().map(|table| table.tables).sum(),
            rows: equal().map(|table| table.expected.rows).sum(),
            not_provable: self.not_provable.clone(),
            not_rebuilt: first(&self.not_rebuilt, RECORDED),
            not_valid: first(&self.restored.said.not_valid, RECORDED),
            notes: first(&self.notes, RECORDED),
            script: self.script.clone(),
            confinement,
        };
        match self.reason() {
            None => Verdict::Proven(record),
            Some(reason) => Verdict::Unproven {
                reason,
                drill: Some(record),
            },
        }
    }

    /// Why it is not proven; `None` when it is.
    pub(super) fn reason(&self) -> Option<String> {
        let names = self.missing.join(", ");
        let mut reasons: Vec<String> = match self.missing.len() {
            0 => Vec::new(),
            1 => vec![format!(
                "extension {names} is not installed where the drill runs"
            )],
            _ => vec![format!(
                "extensions {names} are not installed where the drill runs"
            )],
        };
        reasons.extend(first(&self.unloaded, NAMED));
        if !self.not_rebuilt.is_empty() {
            let equal = if self.not_provable.is_empty() {
                "rows equal; "
            } else {
                ""
            };
            let objects = first(&self.not_rebuilt, NAMED).join("; ");
            reasons.push(format!("{equal}not rebuilt: {objects}"));
        }
        if !self.differ.is_empty() {
            let differences = first(&self.differ, NAMED).join("; ");
            let equal = if reasons.is_empty() && self.not_provable.is_empty() {
                "rows equal; "
            } else {
                ""
            };
            reasons.push(format!("{equal}definitions differ: {differences}"));
        }
        if !self.script_problems.is_empty() {
            let problems = first(&self.script_problems, NAMED).join("; ");
            reasons.push(format!(
                "rows equal; not brought back by restore.sh: {problems}"
            ));
        }
        if reasons.is_empty() && !self.not_provable.is_empty() {
            let tables = first(&self.not_provable, NAMED).join(", ");
            reasons.push(format!("the rows of {tables} were not compared"));
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// The first of them, and how many more there are.
fn first(all: &[String], most: usize) -> Vec<String> {
    let mut first: Vec<String> = all.iter().take(most).cloned().collect();
    if let Some(more) = all.len().checked_sub(most).filter(|more| *more > 0) {
        first.push(format!("and {} more", grouped(more as u64)));
    }
    first
}

#[cfg(test)]
mod tests;
