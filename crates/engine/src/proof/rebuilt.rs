//! Differences of definitions that are PostgreSQL's own: the source's definitions, made again without anything else,
//! become the same text.

use crate::restore::{self, RestoreError};
use hubvault_archive::AnyArchive;
use hubvault_model::Cancel;
use hubvault_postgres::{
    Access, ConnectSettings, Definition, PgError, SchemaOptions, Session, ToolMessages,
    needed_definitions, shown_definition, take_definitions, target, withdraw_grants,
};
use std::collections::HashSet;

/// The databases in which differing definitions are made again: they with what they need, and all.
const DATABASES: [(&str, bool); 2] = [("rebuilt", true), ("rebuilt whole", false)];

/// Names the definitions whose text PostgreSQL writes differently after any restore, and those that differ otherwise.
///
/// Most differ for the first reason, and to make only them, with what they need, is much faster than to make a large
/// database again. Those that are different then, too, are compared with all of it.
pub(super) fn sort_out(
    archive: &AnyArchive,
    login: &ConnectSettings,
    pg_dump: u32,
    texts: Vec<(Definition, Definition)>,
    cancel: &Cancel,
) -> Result<(Vec<String>, Vec<String>), RestoreError> {
    let rebuild = |made: Made<'_>, see: &mut dyn FnMut(&Definition)| {
        rebuild(archive, login, made, pg_dump, see, cancel)
    };
    sorted(texts, rebuild, cancel)
}

/// A database, and the definitions that are made in it; all, where none are named.
type Made<'a> = (&'a str, Option<&'a [&'a Definition]>);

fn sorted(
    texts: Vec<(Definition, Definition)>,
    make: impl Fn(Made<'_>, &mut dyn FnMut(&Definition)) -> Result<(), RestoreError>,
    cancel: &Cancel,
) -> Result<(Vec<String>, Vec<String>), RestoreError> {
    let (mut own, mut left) = (Vec::new(), texts);
    for (database, is_part) in DATABASES {
        if left.is_empty() {
            break;
        }
        let wanted: Vec<&Definition> = left.iter().map(|(source, _)| source).collect();
        let wanted = is_part.then_some(&wanted[..]);
        let mut rebuilt = HashSet::new();
        let mut note = |one: &Definition| {
            rebuilt.insert(one.fingerprint());
        };
        match make((database, wanted), &mut note) {
            Err(_) if is_part && !cancel.is_requested() => continue,
            result => result?,
        }
        let is_own = |(_, found): &(Definition, Definition)| rebuilt.contains(&found.fingerprint());
        let (here, others): (Vec<_>, Vec<_>) = left.into_iter().partition(is_own);
        own.extend(here.iter().map(|(source, _)| shown_definition(source)));
        left = others;
    }
    let other = left.iter().map(|(source, _)| shown_definition(source));
    Ok((own, other.collect()))
}

/// Makes the definitions of the archive once more, all or those that are wanted, and shows `see` what `pg_dump` says of
/// them.
fn rebuild(
    archive: &AnyArchive,
    login: &ConnectSettings,
    (database, wanted): Made<'_>,
    pg_dump: u32,
    see: &mut dyn FnMut(&Definition),
    cancel: &Cancel,
) -> Result<(), RestoreError> {
    let manifest = archive.manifest();
    // The drill's own database has the settings of the source's now.
    let elsewhere = ConnectSettings {
        dbname: "postgres".to_owned(),
        ..login.clone()
    };
    let mut session = Session::connect(&elsewhere, cancel)?;
    let server = session.server_version_num() / 10_000;
    target::create_database(&mut session, database, manifest.database.as_ref())?;
    let login = ConnectSettings {
        dbname: database.to_owned(),
        ..login.clone()
    };
    let mut session = Session::connect(&login, cancel)?;
    let mut schema = restore::schema(archive, &login)?;
    if let Some(wanted) = wanted {
        let needed = needed_definitions(restore::dump(archive)?, wanted)?;
        schema.keep(&needed, cancel)?;
    }
    let superusers = schema.superusers(&manifest.roles, cancel)?;
    let access = Access::of_owners(&login, &mut session, &manifest.roles, superusers)?;
    let options = SchemaOptions {
        jobs: 1,
        no_owner: false,
        no_tablespaces: true,
        server,
    };
    schema.pre_data(&access, &mut session, options, cancel)?;
    let nothing = |_: &mut ToolMessages| Ok::<(), PgError>(());
    schema.post_data(&access, &mut session, options, cancel, nothing)?;
    schema.event_triggers(&access, &mut session, options, cancel)?;
    withdraw_grants(&access, &mut session, &[])?;
    let is_kept = |one: &Definition| {
        see(one);
        false
    };
    take_definitions(&login, &mut session, (server, pg_dump), is_kept, cancel)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, sql: &str) -> Definition {
        Definition {
            kind: "VIEW".into(),
            schema: "public".into(),
            name: name.into(),
            sql: sql.into(),
            ..Definition::default()
        }
    }

    #[test]
    fn what_differs_when_it_is_made_alone_is_made_with_all_others() {
        let texts = || {
            let text = |name| (view(name, "source"), view(name, "restored"));
            vec![text("alone"), text("among"), text("never")]
        };
        let sort_out = |part_fails: bool, whole_fails: bool| {
            let failed = || RestoreError::Different { tables: vec![] };
            let rebuild = |(_, wanted): Made<'_>, see: &mut dyn FnMut(&Definition)| {
                if wanted.is_some() {
                    see(&view("alone", "restored"));
                    return if part_fails { Err(failed()) } else { Ok(()) };
                }
                for name in ["alone", "among"] {
                    see(&view(name, "restored"));
                }
                if whole_fails { Err(failed()) } else { Ok(()) }
            };
            sorted(texts(), rebuild, &Cancel::new())
        };
        for part_fails in [false, true] {
            let (own, other) = sort_out(part_fails, false).unwrap();
            assert_eq!(own, ["view public.alone", "view public.among"]);
            assert_eq!(other, ["view public.never"]);
        }
        assert!(sort_out(false, true).is_err());
    }
}
