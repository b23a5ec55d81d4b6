//! Statements after the rows that are of hubvault and not of the dump: each may fail, and the others go on.

use super::error::RestoreError;
use super::text;
use hubvault_archive::{Archive, Manifest, Source};
use hubvault_model::{Cancel, quote_literal};
use hubvault_postgres::{Access, Failure, PgError, Session, ToolMessages, inspect};

/// The session that runs them, which is no superuser's where owners have logins.
pub(crate) struct Statements<'a> {
    access: &'a Access,
    cancel: &'a Cancel,
    session: Session,
}

impl<'a> Statements<'a> {
    pub(crate) fn new(access: &'a Access, cancel: &'a Cancel) -> Result<Self, RestoreError> {
        let session = access.session(access.checker(), cancel)?;
        Ok(Self {
            access,
            cancel,
            session,
        })
    }

    /// Sets the sequences to their values.
    pub(crate) fn sequences<S: Source>(
        &mut self,
        archive: &Archive<S>,
        report: &mut ToolMessages,
    ) -> Result<(), RestoreError> {
        let sql = text(archive, "database/sequences.sql")?;
        if passed(self.session.simple("setting the sequences", &sql))?.is_none() {
            return Ok(());
        }
        // One of them could not be made: the others get their values.
        for sequence in &archive.manifest().sequences {
            let name = quote_literal(&sequence.name.sql());
            let (value, called) = (sequence.last_value, sequence.is_called);
            let Some(value) = value else { continue };
            let sql = format!("SELECT pg_catalog.setval({name}, {value}, {called})");
            let object = format!("the value of sequence {}", sequence.name);
            if let Some(error) = passed(self.session.simple("setting a sequence", &sql))? {
                report.failures.push(Failure::of_statement(object, &error));
            }
        }
        Ok(())
    }

    /// Makes the foreign keys that lead out of the archive, `NOT VALID`.
    pub(crate) fn foreign_keys<S: Source>(
        &mut self,
        archive: &Archive<S>,
        report: &mut ToolMessages,
    ) -> Result<(), RestoreError> {
        let sql = text(archive, "database/foreign-keys.sql")?;
        let doing = "making the NOT VALID foreign keys";
        if passed(self.session.simple(doing, &sql))?.is_none() {
            return Ok(());
        }
        for statement in sql.split_inclusive(";\n") {
            let Some(error) = passed(self.session.simple(doing, statement))? else {
                continue;
            };
            let start = statement.find("ALTER TABLE ").unwrap_or(0);
            let object = statement[start..].split(" FOREIGN KEY ").next();
            let object = format!("foreign key: {}", object.unwrap_or_default());
            report.failures.push(Failure::of_statement(object, &error));
        }
        Ok(())
    }

    /// Fills the materialized views; where no other server may be reached, those that rest on one stay empty.
    pub(crate) fn refresh(
        &mut self,
        manifest: &Manifest,
        isolated: bool,
        report: &mut ToolMessages,
    ) -> Result<(), RestoreError> {
        let remote = if isolated && !manifest.refresh.is_empty() {
            inspect::remote_views(&mut self.session)?
        } else {
            Vec::new()
        };
        let unfilled = |view, why: &str| {
            format!(
                "materialized view {view} was not filled, as a drill reaches no other server: {why}"
            )
        };
        let mut is_any_unfilled = false;
        for view in &manifest.refresh {
            if let Some(remote) = remote.iter().find(|remote| remote.name == *view) {
                let why = format!("it rests on {}", remote.rests_on);
                report.notes.push(unfilled(view, &why));
                is_any_unfilled = true;
                continue;
            }
            // As at the source: where its owner is bound by policies, it shows the rows that they let through.
            let sql = format!(
                "SET row_security = on; REFRESH MATERIALIZED VIEW {}",
                view.sql()
            );
            let doing = format!("filling materialized view {view}");
            let Some((error, is_done)) = self.either(&doing, &sql)? else {
                continue;
            };
            let object = format!("the rows of materialized view {view}");
            let why = error.to_string();
            // A view that is not filled is `object_not_in_prerequisite_state`.
            let needs_other = is_any_unfilled && why.contains("(SQLSTATE 55000)");
            if isolated && (error.is_of_other_server() || needs_other) {
                report.notes.push(unfilled(view, &why));
                is_any_unfilled = true;
                continue;
            }
            let mut failure = Failure::of_statement(object, &error);
            failure.explain(&mut self.session, self.access)?;
            if is_done {
                report.notes.push(failure.with_path(&doing));
            } else {
                report.failures.push(failure);
            }
        }
        Ok(())
    }

    /// Runs a statement, and with the source's `search_path` where a name is not found with the empty one. The first
    /// error, and whether it was done after it.
    fn either(&mut self, doing: &str, sql: &str) -> Result<Option<(PgError, bool)>, RestoreError> {
        let Some(error) = passed(self.session.simple(doing, sql))? else {
            return Ok(None);
        };
        if !error.is_of_names() {
            return Ok(Some((error, false)));
        }
        let mut session = (self.access).as_at_source(self.access.checker(), self.cancel)?;
        Ok(Some(match passed(session.simple(doing, sql))? {
            None => (error, true),
            Some(second) if second.is_of_other_server() => (second, false),
            Some(_) => (error, false),
        }))
    }
}

/// Gathers statistics, which are no part of what is restored, over a connection of its own while `work` is done.
pub(crate) fn analyze_beside<T>(
    (access, cancel): (&Access, &Cancel),
    report: &mut ToolMessages,
    work: impl FnOnce() -> Result<T, RestoreError>,
) -> Result<T, RestoreError> {
    let (done, refused) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| analyze(access, cancel));
        let done = work();
        let refused = beside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (done, refused)
    });
    let (done, refused) = (done?, refused?);
    let note = |error| format!("not all statistics could be gathered, run ANALYZE: {error}");
    report.notes.extend(refused.map(note));
    Ok(done)
}

/// Why not all statistics could be gathered.
fn analyze(access: &Access, cancel: &Cancel) -> Result<Option<PgError>, RestoreError> {
    let mut statements = Statements::new(access, cancel)?;
    let Some(sql) = inspect::analyze_statement(&mut statements.session)? else {
        return Ok(None);
    };
    let refused = statements.either("gathering statistics", &sql)?;
    Ok(refused.and_then(|(error, is_done)| (!is_done).then_some(error)))
}

/// The server's refusal of a statement; another error is one of the restore.
fn passed(result: Result<(), PgError>) -> Result<Option<PgError>, RestoreError> {
    match result {
        Ok(()) => Ok(None),
        Err(error @ PgError::Query { .. })
            if !error.is_environment() || error.is_of_other_server() =>
        {
            Ok(Some(error))
        }
        Err(error) => Err(error.into()),
    }
}
