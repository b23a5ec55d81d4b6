//! Compares the definitions of the drill's database, and the properties of the database itself, with the archive's.

use super::drill_server::DrillServer;
use super::rebuilt;
use crate::restore::{self, RestoreError};
use hubvault_archive::{AnyArchive, Manifest, UncheckedForeignKey};
use hubvault_model::{Cancel, TableName, counted, one_line};
use hubvault_postgres::{
    Access, DatabaseProperties, Definition, DefinitionContents, DefinitionDifferences, Failure,
    Fingerprint, PgError, Session, shown_definition, take_definitions, target, withdraw_grants,
};
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// How many objects a note names.
const NAMED: usize = 5;

/// What the restore did otherwise than the source has it, and has said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'a> {
    /// Who made and loaded everything.
    pub(super) access: &'a Access,
    /// What could not be made.
    pub(super) failures: &'a [Failure],
    /// Constraints that came back `NOT VALID`, because rows break them: `foreign key k on t (…)`.
    pub(super) not_valid: &'a [String],
    /// Statements for the end, when no code of the owners runs any more.
    pub(super) given_last: &'a [String],
}

impl Circumstances<'_> {
    /// Whether it is a collation in whose place the drill made another, or the comment on one: that is said already.
    fn is_replaced(&self, definition: &Definition) -> bool {
        let name = match definition.kind.as_str() {
            "COLLATION" => definition.name.clone(),
            "COMMENT" => match definition.name.strip_prefix("COLLATION ") {
                Some(quoted) if quoted.starts_with('"') => {
                    quoted[1..].trim_end_matches('"').replace("\"\"", "\"")
                }
                Some(name) => name.to_owned(),
                None => return false,
            },
            _ => return false,
        };
        let object = format!("collation {}", TableName::new(&definition.schema, name));
        self.failures.iter().any(|failure| failure.object == object)
    }

    /// Whether a difference is about one of those constraints: a CHECK is an object of its own then, a foreign key of a
    /// partitioned table is on its partitions.
    fn is_not_valid(&self, difference: &str) -> bool {
        let kinds = ["fk constraint ", "check constraint "];
        let constraint = kinds.iter().find_map(|kind| difference.strip_prefix(kind));
        let name = constraint.and_then(|text| text.split_once(" on "));
        let mut name = name.map(|(name, _)| name);
        // The end of its table's name comes before it, where that has spaces.
        while let Some(here) = name {
            let about = format!(" {here} on ");
            if self.not_valid.iter().any(|told| told.contains(&about)) {
                return true;
            }
            name = here.split_once(' ').map(|(_, rest)| rest);
        }
        false
    }

    /// What the drill did another way and said: tablespaces that it does not have, and constraints that rows break.
    fn is_on_purpose(&self, source: &Definition, found: &Definition) -> bool {
        let is_elsewhere = found.storage[0].is_empty() && found.storage[1] == source.storage[1];
        (is_elsewhere || found.storage == source.storage)
            && (found.sql == source.sql || self.is_for_later_rows(source, found))
    }

    /// Whether two definitions differ by one of those constraints alone: it is `NOT VALID`, or a table or domain is without
    /// its CHECK, which is an object of its own then.
    fn is_for_later_rows(&self, source: &Definition, found: &Definition) -> bool {
        if found.sql.replace(" NOT VALID;", ";") == source.sql {
            return self.is_not_valid(&shown_definition(source));
        }
        let lines = |sql: &str| -> BTreeSet<String> {
            let line = |line: &str| line.trim_end_matches([',', ';']).to_owned();
            sql.lines().map(line).collect()
        };
        let (source, found) = (lines(&source.sql), lines(&found.sql));
        let is_told = |line: &String| {
            let check = line.trim_start().strip_prefix("CONSTRAINT ");
            let name = check.and_then(|check| Some(check.split_once(" CHECK (")?.0));
            let plain = name.map(|name| match name.strip_prefix('"') {
                Some(quoted) => quoted.trim_end_matches('"').replace("\"\"", "\""),
                None => name.to_owned(),
            });
            plain.is_some_and(|name| {
                let about = format!("check constraint {name} on ");
                self.not_valid.iter().any(|told| told.starts_with(&about))
            })
        };
        found.is_subset(&source) && source.difference(&found).all(is_told)
    }
}

/// The result of the comparison.
#[derive(Debug, Default)]
pub(super) struct DefinitionsCompared {
    /// Each difference, for people.
    pub(super) differ: Vec<String>,
    /// What could not be compared, and differences that are PostgreSQL's own.
    pub(super) notes: Vec<String>,
}

impl DefinitionsCompared {
    fn not_compared(why: &str) -> Self {
        Self {
            differ: Vec::new(),
            notes: vec![format!("the definitions were not compared: {why}")],
        }
    }
}

/// Compares everything that was restored. It is the last step of a drill: the database gets the properties of the
/// source's, which may keep others from connecting.
pub(super) fn compare(
    archive: &AnyArchive,
    server: &DrillServer,
    restored: Circumstances<'_>,
    cancel: &Cancel,
) -> Result<DefinitionsCompared, RestoreError> {
    if !server.is_ours() {
        return Ok(DefinitionsCompared::not_compared(
            "on the server that proof.server names, everything belongs to the drill's role",
        ));
    }
    // Of most objects a fingerprint is enough.
    let mut unmatched: HashMap<Fingerprint, u32> = HashMap::new();
    let count = |one: &Definition| {
        *unmatched.entry(one.fingerprint()).or_default() += 1;
        DatabaseProperties::are_in(one)
    };
    let source = match restore::contents(archive, count) {
        Ok(source) => source,
        Err(error) => return Ok(DefinitionsCompared::not_compared(&error.to_string())),
    };
    let begun = Instant::now();
    let login = server.settings();
    let mut session = Session::connect(&login, cancel)?;
    let here = session.server_version_num() / 10_000;
    if here != source.server {
        let from = source.server;
        let why =
            format!("the drill's server runs PostgreSQL {here}, the source PostgreSQL {from}");
        return Ok(DefinitionsCompared::not_compared(&why));
    }
    let properties = DatabaseProperties::of(&source.definitions);
    let mut compared = DefinitionsCompared::default();
    compared.apply(&properties, &login.dbname, &mut session, cancel)?;
    let refused = withdraw_grants(restored.access, &mut session, restored.given_last)?;
    compared.differ.extend(refused);
    let mut is_left = |one: &Definition| !is_matched(&mut unmatched, one);
    let is_kept = |one: &Definition| is_left(one) || DatabaseProperties::are_in(one);
    let programs = (here, source.pg_dump);
    let found = take_definitions(&login, &mut session, programs, is_kept, cancel)?;
    if found.pg_dump != source.pg_dump {
        let (one, other) = (source.pg_dump, found.pg_dump);
        let why = format!("the backup was made by pg_dump {one}, and here is pg_dump {other}");
        return Ok(DefinitionsCompared::not_compared(&why));
    }
    compared.properties(&properties, &found, &login.dbname);
    let expected = restore::contents(archive, |one| is_matched(&mut unmatched, one))?;
    compared.objects(archive, restored, (expected, found), cancel)?;
    let seconds = begun.elapsed().as_secs_f64();
    tracing::debug!("compared the definitions in {seconds:.2} s");
    Ok(compared)
}

/// Whether one more definition is among those that were counted and not matched yet.
fn is_matched(unmatched: &mut HashMap<Fingerprint, u32>, definition: &Definition) -> bool {
    let left = unmatched.get_mut(&definition.fingerprint());
    let left = left.filter(|left| **left > 0);
    left.map(|left| *left -= 1).is_some()
}

impl DefinitionsCompared {
    /// Applies the properties of the source's database to the drill's.
    fn apply(
        &mut self,
        properties: &DatabaseProperties,
        database: &str,
        session: &mut Session,
        cancel: &Cancel,
    ) -> Result<(), RestoreError> {
        for failed in target::set_properties(session, &properties.for_database(database))? {
            if cancel.is_requested() {
                return Err(PgError::Cancelled.into());
            }
            self.differ.push(failed);
        }
        Ok(())
    }

    /// Compares the properties, statement by statement.
    fn properties(
        &mut self,
        source: &DatabaseProperties,
        found: &DefinitionContents,
        database: &str,
    ) {
        let mut found = DatabaseProperties::of(&found.definitions).for_database(database);
        for statement in source.for_database(database) {
            match found.iter().position(|other| *other == statement) {
                Some(at) => drop(found.swap_remove(at)),
                None => self.differ.push(format!(
                    "the database lacks a property: {}",
                    one_line(&statement)
                )),
            }
        }
        let more = found.iter().map(|statement| {
            let statement = one_line(statement);
            format!("the database has a property that the source does not have: {statement}")
        });
        self.differ.extend(more);
    }

    /// Compares the objects that are not the same here and there.
    fn objects(
        &mut self,
        archive: &AnyArchive,
        restored: Circumstances<'_>,
        (source, found): (DefinitionContents, DefinitionContents),
        cancel: &Cancel,
    ) -> Result<(), RestoreError> {
        let manifest = archive.manifest();
        let (mut expected, mut found, pg_dump) =
            (source.definitions, found.definitions, source.pg_dump);
        expected.retain(|one| !is_late_key(one, manifest) && !restored.is_replaced(one));
        let is_late_here = |one: &Definition| {
            is_named_like_late_key(one, manifest) && !expected.iter().any(|it| it.is_of(one))
        };
        // CREATE EXTENSION comments on it by itself, also where the source's comment was removed.
        let is_extensions_own = |one: &Definition| {
            let is_comment = one.kind == "COMMENT" && one.name.starts_with("EXTENSION ");
            is_comment && !expected.iter().any(|it| it.is_of(one))
        };
        found.retain(|one| {
            !is_late_here(one) && !restored.is_replaced(one) && !is_extensions_own(one)
        });
        let DefinitionDifferences {
            missing,
            other,
            texts,
        } = DefinitionDifferences::between(&expected, &found);
        // What could not be made is named already, and so is what needs it.
        let unexpected = |text: &String| !restored.is_not_valid(text);
        if restored.failures.is_empty() {
            self.differ.extend(missing.into_iter().filter(unexpected));
        }
        self.differ.extend(other.into_iter().filter(unexpected));
        let mut texts: Vec<(Definition, Definition)> = texts;
        texts.retain(|(source, found)| !restored.is_on_purpose(source, found));
        if texts.is_empty() {
            return Ok(());
        }
        let login = restored.access.definer();
        let (own, other) = rebuilt::sort_out(archive, login, pg_dump, texts, cancel)?;
        let differs = |name: String| format!("{name} differs");
        self.differ.extend(other.into_iter().map(differs));
        self.notes.extend(own_notation(&own));
        Ok(())
    }
}

/// Whether it is a foreign key that comes back `NOT VALID`, as it leads out of the archive.
fn is_late_key(definition: &Definition, manifest: &Manifest) -> bool {
    manifest.not_valid.iter().any(|key| is_of(key, definition))
}

fn is_of(key: &UncheckedForeignKey, definition: &Definition) -> bool {
    let TableName { schema, name } = &key.table;
    definition.kind == "FK CONSTRAINT"
        && *schema == definition.schema
        && definition.name == format!("{name} {}", key.name)
}

/// Whether it may be one where it was restored: a partitioned table's is on its partitions.
fn is_named_like_late_key(definition: &Definition, manifest: &Manifest) -> bool {
    let is_this = |key: &UncheckedForeignKey| {
        let before = definition.name.strip_suffix(key.name.as_str());
        before.is_some_and(|before| before.ends_with(' '))
    };
    definition.kind == "FK CONSTRAINT" && manifest.not_valid.iter().any(is_this)
}

/// Says which definitions PostgreSQL writes differently once they were restored.
fn own_notation(names: &[String]) -> Option<String> {
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = if names.len() > NAMED { ", …" } else { "" };
    (!names.is_empty()).then(|| {
        format!(
            "{} whose text PostgreSQL writes differently after any restore: {}{more}",
            counted(names.len() as u64, "definition"),
            first.join(", ")
        )
    })
}

#[cfg(test)]
mod tests;
