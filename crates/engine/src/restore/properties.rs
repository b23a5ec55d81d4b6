//! Gives a database that was created for a restore the properties of the source's: owner, grants, comment, settings.

use super::{DUMP_LIMIT, RestoreError, record};
use hubvault_archive::{Archive, Source};
use hubvault_model::{Cancel, TableName};
use hubvault_postgres::{
    ConnectSettings, DatabaseProperties, Definition, DefinitionContents, Session, read_definitions,
    target,
};
use std::io::Read;

/// Those definitions of an archive that `is_kept`, which sees all of them, object by object.
pub(crate) fn contents<S: Source>(
    archive: &Archive<S>,
    is_kept: impl FnMut(&Definition) -> bool,
) -> Result<DefinitionContents, RestoreError> {
    Ok(read_definitions(dump(archive)?, is_kept)?)
}

/// The names of the relations that definitions make.
pub(super) fn relations(definitions: &[Definition]) -> Vec<TableName> {
    let is_relation = |it: &&Definition| {
        let kinds = [
            "TABLE",
            "VIEW",
            "MATERIALIZED VIEW",
            "FOREIGN TABLE",
            "SEQUENCE",
        ];
        kinds.contains(&it.kind.as_str())
    };
    let relations = definitions.iter().filter(is_relation);
    let name = |it: &Definition| TableName::new(it.schema.clone(), it.name.clone());
    relations.map(name).collect()
}

/// The dump that they are in.
pub(crate) fn dump<S: Source>(archive: &Archive<S>) -> Result<impl Read, RestoreError> {
    let record = record(archive, "database/schema.dump", DUMP_LIMIT)?;
    Ok(archive.content(record)?)
}

/// The properties of the source's database.
pub fn properties<S: Source>(archive: &Archive<S>) -> Result<DatabaseProperties, RestoreError> {
    let about = contents(archive, DatabaseProperties::are_in)?;
    Ok(DatabaseProperties::of(&about.definitions))
}

/// Applies them to a database that holds everything else already: settings may stop a restore. Without owners only what
/// concerns no role. Returns the statements that the server refused.
pub fn set_properties<S: Source>(
    archive: &Archive<S>,
    to: &ConnectSettings,
    no_owner: bool,
    cancel: &Cancel,
) -> Result<Vec<String>, RestoreError> {
    let mut properties = properties(archive)?;
    if no_owner {
        properties = properties.without_roles();
    }
    let statements = properties.for_database(&to.dbname);
    let mut session = Session::connect(to, cancel)?;
    Ok(target::set_properties(&mut session, &statements)?)
}
