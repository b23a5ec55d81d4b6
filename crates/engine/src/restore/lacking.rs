//! What the target of a restore lacks, and what was done instead.

use super::RestoreOptions;
use super::error::RestoreError;
use hubvault_archive::Manifest;
use hubvault_model::{one_line, quote_ident};
use hubvault_postgres::{Session, target};

/// The roles that the target lacks. Without owners and grants, rows alone need some.
pub(super) fn roles(
    session: &mut Session,
    manifest: &Manifest,
    no_owner: bool,
) -> Result<Vec<String>, RestoreError> {
    let needed = if no_owner {
        &manifest.needs.row_roles
    } else {
        &manifest.roles
    };
    let known = target::roles(session)?;
    let missing = needed.iter().filter(|role| !known.contains(role));
    Ok(missing.cloned().collect())
}

/// That they are to be created.
pub(super) fn refused_roles(names: Vec<String>, no_owner: bool) -> RestoreError {
    if no_owner {
        RestoreError::RowRoles { names }
    } else {
        RestoreError::Roles { names }
    }
}

/// Tells which roles were created that only rows name.
pub(super) fn created_for_rows(created: &[String], manifest: &Manifest) -> Option<String> {
    let of_rows = &manifest.needs.row_roles;
    let names: Vec<String> = (created.iter().filter(|role| of_rows.contains(role)))
        .map(|name| one_line(name).into_owned())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "roles that only rows name were created without login: {}",
            names.join(", ")
        )
    })
}

/// Tells where the tables of tablespaces went that the target lacks.
pub(super) fn tablespaces(lacking: &[String]) -> Option<String> {
    let names: Vec<String> = lacking
        .iter()
        .map(|name| one_line(name).into_owned())
        .collect();
    let (what, verb, whose) = match names.len() {
        0 => return None,
        1 => ("tablespace", "is", "its"),
        _ => ("tablespaces", "are", "their"),
    };
    Some(format!(
        "{what} {} {verb} not on the target, or not usable by the role: {whose} tables and indexes were restored into \
         the default one",
        names.join(", ")
    ))
}

/// Tells which passwords the archive does not have, as its makers chose.
pub(super) fn passwords(masked: &[String]) -> Option<String> {
    let names: Vec<String> = masked
        .iter()
        .map(|name| one_line(name).into_owned())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "passwords that are masked in the archive were neither restored nor compared, and have to be set again: {}",
            names.join(", ")
        )
    })
}

/// The code of a backup's warning that generated columns will not be compared.
pub(crate) const NOT_COMPARED: &str = "not-compared";

/// Tells which generated columns nothing of the source is known of.
pub(super) fn not_compared(manifest: &Manifest) -> impl Iterator<Item = String> {
    let said = manifest.warnings.iter();
    let said = said.filter(|warning| warning.code == NOT_COMPARED);
    said.map(|warning| one_line(&warning.message).into_owned())
}

/// Creates the roles that are missing, where the options say so, and returns them.
pub(super) fn create_roles(
    session: &mut Session,
    manifest: &Manifest,
    options: RestoreOptions,
) -> Result<Vec<String>, RestoreError> {
    let missing = roles(session, manifest, options.no_owner)?;
    if !missing.is_empty() && !options.create_roles {
        return Err(refused_roles(missing, options.no_owner));
    }
    for role in &missing {
        session.simple(
            "making a role",
            &format!("CREATE ROLE {} NOLOGIN", quote_ident(role)),
        )?;
    }
    Ok(missing)
}
