//! Makes definitions again that could not be made: with the source's `search_path`, functions that only a superuser may
//! make, and what rows break `NOT VALID`.

use crate::connect::session::Session;
use crate::dump::access::Access;
use crate::dump::dump_file::{DumpFile, SchemaOptions};
use crate::dump::failures::{Failure, ToolMessages, merged};
use crate::dump::not_valid;
use crate::dump::privileged;
use crate::error::PgError;
use hubvault_model::{Cancel, one_line, quote_ident, quote_literal};
use postgres::error::{DbError, SqlState};

/// What is said of a foreign key that a partitioned table lost. restore.sh says it with the same words.
const ONLY_ON_PARTITIONS: &str =
    "rows break it; its partitions have it NOT VALID; new partitions will not get it";

/// Makes what failed over [`Access::checker`] again, in the order of the dump.
pub(crate) fn cure(
    dump: &DumpFile,
    access: &Access,
    failed: Vec<Failure>,
    options: SchemaOptions,
    cancel: &Cancel,
) -> Result<ToolMessages, PgError> {
    let mut cured = ToolMessages::default();
    if failed.is_empty() {
        return Ok(cured);
    }
    let mut session = access.as_at_source(access.checker(), cancel)?;
    let mut definer = None;
    let mut failed = merged(failed);
    dump.sort(&mut failed, cancel)?;
    for mut failure in failed {
        let Some(id) = failure.id else {
            cured.failures.push(failure);
            continue;
        };
        let text = dump.statements_of(id, options, cancel)?;
        let object = dump.described(id, cancel)?;
        if let Some(statement) = given_last(&failure, &text, access) {
            cured.given_last.push(statement);
            continue;
        }
        let error = match run(&mut session, &text)? {
            Ok(()) if missing_name(&failure.why).is_some() => {
                // The index of a partition says it already.
                if !object.starts_with("index attach ") {
                    failure.explain(&mut session, access)?;
                    cured.notes.push(failure.with_path(&object));
                }
                continue;
            }
            // What it needs was made before.
            Ok(()) => continue,
            Err(error) if is_superusers_function(&object, &text, &error) => {
                let mut superuser = match definer.take() {
                    Some(session) => session,
                    None => Session::connect(access.definer(), cancel)?,
                };
                let made = run(&mut superuser, &text)?;
                definer = Some(superuser);
                match made {
                    Ok(()) => continue,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if let Some(made) = not_valid::make(&mut session, &text, &error)? {
            cured.not_valid.push(format!("{object} ({})", made.problem));
            if made.is_on_partitions {
                let why = ONLY_ON_PARTITIONS.to_owned();
                cured.failures.push(Failure { why, ..failure });
            }
        } else {
            failure.is_now(&error);
            failure.explain(&mut session, access)?;
            cured.failures.push(failure);
        }
    }
    Ok(cured)
}

/// Runs statements all or nothing. The outer error is that of the connection.
fn run(session: &mut Session, sql: &str) -> Result<Result<(), DbError>, PgError> {
    let Err(error) = session.client().batch_execute(sql) else {
        return Ok(Ok(()));
    };
    match error.as_db_error() {
        Some(said)
            if !session
                .failed("making a definition", &error)
                .is_environment() =>
        {
            Ok(Err(said.clone()))
        }
        _ => Err(session.failed("making a definition", &error)),
    }
}

/// What gives a function to a predefined role, which failed alone, as no login of the owners is a member of that role.
fn given_last(failure: &Failure, text: &str, access: &Access) -> Option<String> {
    let refused = [
        "must be member of role \"pg_",
        "must be able to SET ROLE \"pg_",
    ];
    let is_refused = refused.iter().any(|words| failure.why.starts_with(words));
    (access.is_split() && is_refused)
        .then(|| privileged::given_to_predefined(text))
        .flatten()
}

/// Whether the server refused to make a function because of its language or another property that only a superuser may
/// give it. It does so before it reads any expression of the function. What code of an owner says while a literal is read
/// has a context or a position, whatever its words are. A parameter of a library that is not loaded is refused to its
/// owner, too: such a function is made only where it has no expressions.
fn is_superusers_function(object: &str, text: &str, error: &DbError) -> bool {
    const OF_FUNCTIONS: [&str; 3] = [
        "permission denied for language ",
        "only superuser can define a leakproof function",
        "must be superuser to specify a support function",
    ];
    let says = |words: &str| error.message().starts_with(words);
    let is_of_kind = |kind: &str| object.starts_with(kind);
    let is_refused = if is_of_kind("aggregate ") {
        says("aggregate transition data type cannot be ")
    } else if is_of_kind("function ") || is_of_kind("procedure ") {
        let has_expressions = [" DEFAULT ", "BEGIN ATOMIC"]
            .iter()
            .any(|words| text.contains(words));
        OF_FUNCTIONS.iter().any(|words| says(words))
            || (says("permission denied to set parameter ") && !has_expressions)
    } else {
        false
    };
    is_refused && error.where_().is_none() && error.position().is_none()
}

impl Failure {
    /// The note for an object that only the source's `search_path` could make.
    pub fn with_path(&self, object: &str) -> String {
        let why = if self.cure.is_empty() {
            &self.why
        } else {
            &self.cure
        };
        format!("{object} needs the source's search_path ({why})")
    }

    /// Says which function names what without a schema, and how to change that, where the server's message shows it.
    /// Each name after the missing one needs its schema, too: the function gets the whole path of the source.
    pub fn explain(&mut self, session: &mut Session, access: &Access) -> Result<(), PgError> {
        session.with_empty_path(|session| self.look_up(session, access))
    }

    fn look_up(&mut self, session: &mut Session, access: &Access) -> Result<(), PgError> {
        let Some(missing) = missing_name(&self.why) else {
            return Ok(());
        };
        let Some(function) = running_function(&self.context) else {
            return Ok(());
        };
        let doing = "looking for a function";
        let own = "n.nspname !~ '^pg_(catalog|toast|temp)' AND n.nspname <> 'information_schema'";
        let sql = format!(
            "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(p.proname) || '('
                    || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', p.prokind = 'p', p.proname::text
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
             WHERE {own} AND p.proname = {}",
            quote_literal(&function)
        );
        let functions = session.rows(doing, &sql)?;
        let name = quote_literal(missing.name);
        let sql = format!(
            "SELECT n.nspname::text FROM pg_catalog.pg_namespace n WHERE {own} AND (
                 EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.pronamespace = n.oid AND p.proname = {name})
                 OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = {name})
                 OR EXISTS (SELECT FROM pg_catalog.pg_operator o WHERE o.oprnamespace = n.oid AND o.oprname = {name})
                 OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typnamespace = n.oid AND t.typname = {name}))
             ORDER BY 1"
        );
        let schemas = session.rows(doing, &sql)?;
        let schemas: Vec<String> = schemas.iter().map(|row| row.get(0)).collect();
        let (what, full) = (missing.what, missing.full);
        self.cure = format!("function {function}() names {what}{full} without a schema");
        if let ([function], false) = (functions.as_slice(), schemas.is_empty()) {
            let kind = if function.get(1) {
                "PROCEDURE"
            } else {
                "FUNCTION"
            };
            let (signature, path): (&str, _) =
                (function.get(0), path(&access.search_path, &schemas));
            let cure = format!("; ALTER {kind} {signature} SET search_path = {path}");
            self.cure += &one_line(&cure);
        }
        Ok(())
    }

    /// Takes over why it failed the second time. What is half there keeps its first reason.
    fn is_now(&mut self, error: &DbError) {
        let exists = [
            SqlState::DUPLICATE_TABLE,
            SqlState::DUPLICATE_OBJECT,
            SqlState::DUPLICATE_FUNCTION,
            SqlState::DUPLICATE_COLUMN,
            SqlState::DUPLICATE_SCHEMA,
            SqlState::INVALID_TABLE_DEFINITION,
        ];
        if exists.contains(error.code()) {
            return;
        }
        self.why = one_line(error.message()).into_owned();
        if let Some(detail) = error.detail()
            && !is_of_rows(error.code())
        {
            self.why += &format!("; {}", one_line(detail).trim_end_matches('.'));
        }
        let context = error.where_().and_then(|text| text.lines().next());
        self.context = context.map_or_else(String::new, |line| one_line(line).into_owned());
    }
}

/// The source's `search_path` for a function; if the missing name is in none of its schemas, with those that have it.
fn path(of_source: &[String], has_name: &[String]) -> String {
    let is_there = has_name.iter().any(|schema| of_source.contains(schema));
    let after: &[String] = if is_there { &[] } else { has_name };
    let path: Vec<String> = of_source
        .iter()
        .chain(after)
        .map(|name| quote_ident(name))
        .collect();
    path.join(", ")
}

/// Whether the details of an error hold a whole row ("Failing row contains").
fn is_of_rows(code: &SqlState) -> bool {
    [SqlState::CHECK_VIOLATION, SqlState::NOT_NULL_VIOLATION].contains(code)
}

/// What a server did not find.
#[derive(Debug, PartialEq, Eq)]
struct Missing<'a> {
    /// For people, before its name: `table `.
    what: &'static str,
    /// Its bare name.
    name: &'a str,
    /// Its name for people: `unaccent()`.
    full: String,
}

/// From `function unaccent(text) does not exist` the name, unless that has a schema.
fn missing_name(why: &str) -> Option<Missing<'_>> {
    let (before, _) = why.split_once(" does not exist")?;
    let quoted = |rest: &'_ str| rest.trim_matches('"').to_owned();
    for (start, what) in [("relation ", "table "), ("type ", "type ")] {
        if let Some(rest) = before.strip_prefix(start) {
            let name = rest.trim_matches('"');
            let full = quoted(rest);
            return (!name.contains('.')).then_some(Missing { what, name, full });
        }
    }
    if let Some(rest) = before.strip_prefix("function ") {
        let (name, _) = rest.split_once('(')?;
        let full = format!("{name}()");
        let what = "";
        return (!name.contains('.')).then_some(Missing { what, name, full });
    }
    let operator = before
        .strip_prefix("operator does not exist: ")
        .or_else(|| {
            // The server says it the other way round.
            why.strip_prefix("operator does not exist: ")
        })?;
    let name = operator.split(' ').nth(1)?;
    let (what, full) = ("operator ", name.to_owned());
    Some(Missing { what, name, full })
}

/// From `SQL function "plain" during inlining` or `PL/pgSQL function public.fine(integer) line 1 at RETURN` the bare name.
fn running_function(context: &str) -> Option<String> {
    let (_, rest) = context.split_once(" function ")?;
    if let Some(rest) = rest.strip_prefix('"') {
        return Some(rest.split_once("\" ")?.0.to_owned());
    }
    let (name, _) = rest.split_once('(')?;
    let bare = name.rsplit('.').next()?;
    Some(bare.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_gets_the_whole_path_in_its_order() {
        let of = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let source = of(&["b", "Oth er", "a"]);
        assert_eq!(path(&source, &of(&["Oth er"])), "b, \"Oth er\", a");
        assert_eq!(path(&source, &of(&["a", "b"])), "b, \"Oth er\", a");
        assert_eq!(path(&source, &of(&["z"])), "b, \"Oth er\", a, z");
    }

    #[test]
    fn names_are_read_from_messages() {
        let missing = |why| missing_name(why).map(|it| (it.what, it.full));
        for (why, found) in [
            (
                "function unaccent(text) does not exist",
                Some(("", "unaccent()")),
            ),
            (
                "relation \"plans\" does not exist; x",
                Some(("table ", "plans")),
            ),
            ("type \"citext\" does not exist", Some(("type ", "citext"))),
            (
                "operator does not exist: public.citext @@@ text",
                Some(("operator ", "@@@")),
            ),
            ("relation \"public.plans\" does not exist", None),
            ("division by zero", None),
        ] {
            let found = found.map(|(what, full)| (what, full.to_owned()));
            assert_eq!(missing(why), found, "{why}");
        }
        for (context, found) in [
            ("SQL function \"plain\" during inlining", "plain"),
            ("SQL function \"plain\" statement 1", "plain"),
            (
                "PL/pgSQL function public.fine(integer) line 1 at RETURN",
                "fine",
            ),
            (
                "PL/pgSQL function public.\"Fine\"(integer) line 1 at RETURN",
                "Fine",
            ),
        ] {
            assert_eq!(running_function(context).as_deref(), Some(found));
        }
        assert_eq!(running_function("COPY t, line 1"), None);
    }
}
