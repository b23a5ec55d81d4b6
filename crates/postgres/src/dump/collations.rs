//! Collations whose locale the server of a drill does not have: others take their names there, so that the tables that
//! use them can be made and all rows be shown.

use crate::connect::session::Session;
use crate::dump::access::Access;
use crate::dump::contents;
use crate::dump::dump_file::SchemaOptions;
use crate::dump::failures::{Failure, ToolMessages};
use crate::dump::pg_restore::{MADE_BEFORE, SchemaRestore};
use crate::error::PgError;
use hubvault_model::{Cancel, NeededCollation, TableName, one_line, quote_ident, quote_literal};

impl SchemaRestore {
    /// Makes others in the place of those `needed` that the server cannot make, over the definer's
    /// `session`. The schemas come before them.
    pub fn replace_collations(
        &mut self,
        needed: &[NeededCollation],
        access: &Access,
        session: &mut Session,
        options: SchemaOptions,
        cancel: &Cancel,
    ) -> Result<ToolMessages, PgError> {
        let mut said = ToolMessages::default();
        let missing = missing(session, needed)?;
        if missing.is_empty() {
            return Ok(said);
        }
        if !self.has_extensions {
            let schema = &MADE_BEFORE[..1];
            let schemas = contents::lines_of_kinds(self.dump.contents(cancel)?, schema, false);
            let login = access.definer();
            said = self.section(("pre-data", Some(&schemas)), access, login, options, cancel)?;
            let is_schema = |line: &str| contents::kind_of(line).starts_with(schema[0]);
            self.dump.leave_out(is_schema, cancel)?;
        }
        let (failures, replaced) = replace(session, &missing);
        said.failures.extend(failures);
        let is_replaced = |line: &str| is_one_of(&replaced, line);
        self.dump.leave_out(is_replaced, cancel)?;
        self.is_cut = true;
        Ok(said)
    }
}

/// Those of `needed` that the server cannot make.
fn missing(
    session: &mut Session,
    needed: &[NeededCollation],
) -> Result<Vec<NeededCollation>, PgError> {
    let mut missing = Vec::new();
    for collation in needed {
        let is_there = if collation.schema == "pg_catalog" {
            exists(session, &collation.name)?
        } else {
            let name = format!("pg_temp.{}", quote_ident("hubvault_probe"));
            is_possible(session, &create(&name, collation))?
        };
        if !is_there {
            missing.push(collation.clone());
        }
    }
    Ok(missing)
}

/// Replaces collations; returns what is said of them, and the oids of those that have their name now.
fn replace(session: &mut Session, missing: &[NeededCollation]) -> (Vec<Failure>, Vec<u32>) {
    let (mut failures, mut replaced) = (Vec::new(), Vec::new());
    for collation in missing {
        if replace_one(session, collation) {
            failures.push(failure(collation));
            replaced.push(collation.oid);
        }
    }
    (failures, replaced)
}

/// Whether a line of a list is about one of these collations: `pg_collation` has the oid 3456 (`pg_collation.h`).
fn is_one_of(oids: &[u32], line: &str) -> bool {
    let (_, object) = line.split_once("; ").unwrap_or_default();
    oids.iter()
        .any(|oid| object.starts_with(&format!("3456 {oid} COLLATION ")))
}

/// Makes another collation of the same name; whether the server has one that can take its place. The nearest is ICU's of
/// the same language: C sorts otherwise, and the bounds of partitions would refuse rows.
fn replace_one(session: &mut Session, missing: &NeededCollation) -> bool {
    let language = missing.locale.split(['.', '@']).next().unwrap_or_default();
    let language = language.replace('_', "-");
    let name = format!(
        "{}.{}",
        quote_ident(&missing.schema),
        quote_ident(&missing.name)
    );
    let instead = |provider: &str, locale: &str, deterministic| NeededCollation {
        provider: provider.to_owned(),
        locale: locale.to_owned(),
        deterministic,
        ..missing.clone()
    };
    let candidates = [
        instead("icu", &language, missing.deterministic),
        instead("icu", "und", missing.deterministic),
        instead("libc", "C", true),
    ];
    let mut make = |candidate| {
        let sql = create(&name, candidate);
        session.simple("replacing a collation", &sql).is_ok()
    };
    candidates.iter().any(&mut make)
}

/// What is said of one that was replaced.
fn failure(missing: &NeededCollation) -> Failure {
    let locale = one_line(&missing.locale);
    let how = match missing.provider.as_str() {
        "icu" => "use a PostgreSQL there that is built with ICU, as most packages are",
        _ => "install it: apt install locales, then locale-gen",
    };
    let name = TableName::new(&missing.schema, &missing.name);
    Failure {
        object: format!("collation {name}"),
        why: format!("the locale {locale} is not available where the drill runs; {how}"),
        ..Failure::default()
    }
}

fn create(name: &str, collation: &NeededCollation) -> String {
    let locale = quote_literal(&collation.locale);
    // No other provider is known: whatever an archive names, nothing else gets into the statement.
    let provider = match collation.provider.as_str() {
        "icu" => "icu",
        "builtin" => "builtin",
        _ => "libc",
    };
    let deterministic = if collation.deterministic {
        ""
    } else {
        ", deterministic = false"
    };
    format!("CREATE COLLATION {name} (provider = {provider}, locale = {locale}{deterministic})")
}

fn exists(session: &mut Session, name: &str) -> Result<bool, PgError> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_collation
                        WHERE collnamespace = 'pg_catalog'::pg_catalog.regnamespace AND collname = {}
                          AND collencoding IN (-1, pg_catalog.pg_char_to_encoding(pg_catalog.getdatabaseencoding())))",
        quote_literal(name)
    );
    let rows = session.rows("looking for a collation", &sql)?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Tries a statement and takes it back.
fn is_possible(session: &mut Session, sql: &str) -> Result<bool, PgError> {
    session.simple("beginning", "BEGIN")?;
    let tried = session.simple("trying a collation", sql);
    session.simple("taking it back", "ROLLBACK")?;
    match tried {
        Ok(()) => Ok(true),
        Err(PgError::Query { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
