//! Whether the next run could read what it must.

use super::super::{Finding, Look};
use crate::catalog::KnownTables;
use crate::job::{MissingPolicy, Scope};
use hubvault_model::{Cancel, counted};
use hubvault_postgres::{
    ConnectSettings, PgError, Relation, RelationKind, Sequence, Session, inspect,
};
use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

pub(super) const NAME: &str = "database";
/// A look is quick, whatever a run may wait for.
const CONNECT: Duration = Duration::from_secs(3);
/// A server that is being restarted answers the second or third attempt, three seconds later.
const ATTEMPTS: u32 = 3;
/// All of it, with what is tried again.
const LIMIT: Duration = Duration::from_secs(12);
/// How many statements a report has room for.
const STATEMENTS: usize = 3;

pub(super) fn look(look: &Look<'_>, cancel: &Cancel) -> Finding {
    let settings = ConnectSettings {
        connect_timeout: look.job.database.connect_timeout.min(CONNECT),
        attempts: look.job.database.attempts.min(ATTEMPTS),
        ..look.job.database.clone()
    };
    let scope = look.job.scope.clone();
    let known = match look.job.scope.missing {
        MissingPolicy::Warn => match look.catalog.known_tables(&look.job.name) {
            Ok(known) => known,
            Err(error) => return Finding::skipped(NAME, error.to_string()),
        },
        MissingPolicy::Fail => KnownTables::default(),
    };
    // Its own wish to stop: one that hangs is given up, and the run goes on.
    let inner = Cancel::new();
    let (sender, receiver) = channel();
    let theirs = inner.clone();
    let _wake = {
        let inner = inner.clone();
        cancel.on_request(move || inner.request())
    };
    std::thread::spawn(move || {
        // Nobody listens once the time is up.
        let _ = sender.send(readable(&settings, &scope, &known, &theirs));
    });
    let target = &look.job.database;
    let next = "see that the server runs and takes connections from here; hubvault backup --dry-run says more";
    match receiver.recv_timeout(LIMIT) {
        Ok(Ok(Readable { tables, missing })) if missing.is_empty() => Finding::ok(
            NAME,
            format!(
                "{target} answers, {} can be read",
                counted(tables as u64, "table")
            ),
        ),
        Ok(Ok(Readable { missing, .. })) => {
            let what = format!(
                "{} may not read everything in scope of {target}",
                look.job.database.user
            );
            let more = missing.len().saturating_sub(STATEMENTS);
            let more = if more > 0 {
                format!(" and {more} more (hubvault backup --dry-run)")
            } else {
                String::new()
            };
            let first: Vec<&str> = missing
                .iter()
                .take(STATEMENTS)
                .map(String::as_str)
                .collect();
            Finding::failing(NAME, what, format!("{}{more}", first.join(" ")))
        }
        Ok(Err(error)) => Finding::failing(NAME, error.to_string(), next),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            inner.request();
            let what = format!("{target} gave no answer within {} seconds", LIMIT.as_secs());
            Finding::failing(NAME, what, next)
        }
    }
}

/// What a role sees.
struct Readable {
    tables: usize,
    /// Statements that let it see the rest.
    missing: Vec<String>,
}

fn readable(
    settings: &ConnectSettings,
    scope: &Scope,
    known: &KnownTables,
    cancel: &Cancel,
) -> Result<Readable, PgError> {
    let mut session = Session::at_source(settings, cancel)?;
    let relations = inspect::relations(&mut session)?;
    let sequences = inspect::sequences(&mut session)?;
    let database = inspect::current_database(&mut session)?;
    // A run leaves these out and warns.
    let spared = match scope.missing {
        MissingPolicy::Warn
            if relations
                .iter()
                .any(|it| !it.is_readable() || it.rls_filters) =>
        {
            known.new_and_unreadable(&relations, scope, &database)
        }
        _ => BTreeSet::new(),
    };
    let needed = relations.iter().filter(|it| !spared.contains(&it.oid));
    let new = match scope.missing {
        MissingPolicy::Warn => known.new_sequences(&sequences, &database),
        MissingPolicy::Fail => Vec::new(),
    };
    let of_spared = |it: &&Sequence| {
        it.of_table.is_some_and(|table| spared.contains(&table))
            || new.iter().any(|new| new.oid == it.oid)
    };
    let sequences = sequences.iter().filter(|it| !of_spared(it));
    let chosen = |relation: &Relation| scope.takes(&relation.name);
    let missing = inspect::missing_privileges(&settings.user, needed.clone(), sequences, &chosen);
    let has_rows = |relation: &&Relation| {
        relation.kind == RelationKind::Table && relation.extension_member.is_none()
    };
    let all = needed.clone().filter(has_rows).count();
    let taken = needed.filter(|it| has_rows(it) && chosen(it)).count();
    Ok(Readable {
        tables: if scope.by_default && taken == 0 {
            all
        } else {
            taken
        },
        missing: missing
            .into_iter()
            .map(|missing| missing.statement)
            .collect(),
    })
}
