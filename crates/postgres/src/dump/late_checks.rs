//! CHECK constraints whose result depends on more than the row: dropped before the rows, added after all of them.

use crate::connect::session::Session;
use crate::dump::access::Access;
use crate::dump::failures::{Failure, ToolMessages};
use crate::dump::not_valid;
use crate::error::PgError;
use crate::inspect::Check;
use hubvault_model::{Cancel, TableName, quote_ident, quote_literal};

/// Constraints that were dropped, and what makes them again.
#[derive(Debug, Default)]
pub struct LateChecks {
    dropped: Vec<Dropped>,
    /// Statements for the comments on them.
    comments: Vec<String>,
}

#[derive(Debug)]
struct Dropped {
    of_domain: bool,
    owner: TableName,
    name: String,
    definition: String,
}

impl LateChecks {
    /// Drops those that are there. What is not, for one because the dump adds it after the rows by itself, stays as it is.
    pub fn drop(session: &mut Session, checks: &[Check]) -> Result<Self, PgError> {
        let mut late = Self::default();
        if checks.is_empty() {
            return Ok(late);
        }
        let row = |(at, check): (usize, &Check)| {
            let (owner, name) = (
                quote_literal(&check.owner.sql()),
                quote_literal(&check.name),
            );
            format!("({at}, {}, {owner}, {name})", check.of_domain)
        };
        let wanted: Vec<String> = checks.iter().enumerate().map(row).collect();
        let doing = "reading the CHECK constraints that are added after the rows";
        let found = session.rows(
            doing,
            &format!(
                "WITH wanted (at, of_domain, owner, name) AS (VALUES {})
                 SELECT w.at, pg_get_constraintdef(k.oid), NULL::text
                 FROM wanted w JOIN pg_constraint k ON k.contype = 'c' AND k.conname = w.name
                  AND CASE WHEN w.of_domain THEN k.contypid = to_regtype(w.owner)
                           ELSE k.conrelid = to_regclass(w.owner) END
                 UNION ALL
                 SELECT NULL, NULL, format('COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname,
                        CASE k.contypid WHEN 0 THEN k.conrelid::regclass::text
                                        ELSE 'DOMAIN ' || k.contypid::regtype END, d.description)
                 FROM pg_constraint k JOIN pg_description d
                   ON d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid
                 WHERE k.contype = 'c' AND k.conname IN (SELECT name FROM wanted)
                 ORDER BY 1",
                wanted.join(", ")
            ),
        )?;
        for row in &found {
            late.comments.extend(row.get::<_, Option<String>>(2));
            let at: Option<i32> = row.get(0);
            let Some(check) = at.and_then(|at| checks.get(usize::try_from(at).ok()?)) else {
                continue;
            };
            let dropped = Dropped {
                of_domain: check.of_domain,
                owner: check.owner.clone(),
                name: check.name.clone(),
                definition: row.get(1),
            };
            match session.simple(
                "dropping a CHECK constraint",
                &dropped.statement("DROP", ""),
            ) {
                Ok(()) => late.dropped.push(dropped),
                // It stays, and the rows are checked while they are loaded.
                Err(PgError::Query { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(late)
    }

    /// With others; whether there were any.
    pub fn extend(&mut self, others: Self) -> bool {
        let is_any = !others.dropped.is_empty();
        self.dropped.extend(others.dropped);
        self.comments.extend(others.comments);
        is_any
    }

    /// Adds them over the login that checks constraints: with the source's `search_path` if the empty one fails, and
    /// `NOT VALID` if rows break them.
    pub fn add(
        &self,
        access: &Access,
        report: &mut ToolMessages,
        cancel: &Cancel,
    ) -> Result<(), PgError> {
        if self.dropped.is_empty() {
            return Ok(());
        }
        let mut session = access.session(access.checker(), cancel)?;
        let mut as_at_source = None;
        for check in &self.dropped {
            let object = format!("check constraint {} on {}", check.name, check.owner);
            let sql = check.statement("ADD", &check.definition);
            let Some(first) = refused(&mut session, &sql)? else {
                continue;
            };
            let other = match &mut as_at_source {
                Some(session) => session,
                none => none.insert(access.as_at_source(access.checker(), cancel)?),
            };
            match refused(other, &sql)? {
                None => {
                    let mut failure = Failure::of_statement(object, &first);
                    failure.explain(other, access)?;
                    report.notes.push(failure.with_path(&failure.object));
                }
                Some(error) if error.is_of_check() => match check.not_valid(other)? {
                    Some(problem) => report.not_valid.push(format!("{object} ({problem})")),
                    None => report.failures.push(Failure::of_statement(object, &error)),
                },
                Some(error) => report.failures.push(Failure::of_statement(object, &error)),
            }
        }
        for comment in &self.comments {
            // Its constraint may be one that could not be added, which is reported already.
            refused(&mut session, comment)?;
        }
        Ok(())
    }
}

impl Dropped {
    fn statement(&self, verb: &str, definition: &str) -> String {
        let kind = if self.of_domain { "DOMAIN" } else { "TABLE" };
        let (owner, name) = (self.owner.sql(), quote_ident(&self.name));
        format!("ALTER {kind} {owner} {verb} CONSTRAINT {name} {definition}")
    }

    /// Adds it for later rows only; what breaks it, or `None` when that failed, too.
    fn not_valid(&self, session: &mut Session) -> Result<Option<String>, PgError> {
        if self.of_domain {
            let sql = self.statement("ADD", &format!("{} NOT VALID", self.definition));
            let added = refused(session, &sql)?.is_none();
            return Ok(added.then(|| "values of rows break it".to_owned()));
        }
        not_valid::add(session, &self.owner, &self.name, &self.definition)
    }
}

/// The server's refusal of a statement; another error is the connection's.
fn refused(session: &mut Session, sql: &str) -> Result<Option<PgError>, PgError> {
    match session.simple("adding a CHECK constraint", sql) {
        Ok(()) => Ok(None),
        Err(error @ PgError::Query { .. }) if !error.is_environment() => Ok(Some(error)),
        Err(error) => Err(error),
    }
}
