//! The cluster of a throwaway server: a copy of one that is kept, under another superuser.

use super::directory::ServerDirectory;
use super::options::ThrowawayOptions;
use super::programs::Users;
use super::template::{Superuser, Templates};
use crate::connect::random_secret::random_secret;
use crate::connect::session::Session;
use crate::connect::settings::ConnectSettings;
use crate::dump::tools::Tool;
use crate::error::PgError;
use hubvault_model::{Cancel, quote_literal};
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::path::Path;

/// Where empty clusters are kept for such a server; only a confined one gets a copy, as it has a password.
pub(super) fn templates(postgres: &Tool, options: &ThrowawayOptions) -> Option<Templates> {
    let directory = options.templates.as_ref()?;
    let environment = options.isolation.environment()?;
    let templates = Templates::of(directory, postgres, environment);
    templates
        .inspect_err(|error| not_kept(directory, error))
        .ok()
}

/// Copies one into a server's directory; `None` where there is none, or that failed.
pub(super) fn copy(
    templates: &Templates,
    home: &ServerDirectory,
    users: Option<Users>,
) -> Option<Superuser> {
    let user = users.map(|users| users.runs);
    let copied = (home.open_data()).and_then(|data| templates.copy_to(&data, user));
    copied.unwrap_or_else(|error| {
        not_kept(templates.directory(), &error);
        None
    })
}

/// Keeps a copy of what `initdb` just made.
pub(super) fn keep(
    templates: Option<&Templates>,
    home: &ServerDirectory,
    superuser: &str,
    password: Option<&SecretString>,
) {
    let (Some(templates), Some(password)) = (templates, password) else {
        return;
    };
    let superuser = Superuser {
        name: superuser.to_owned(),
        password: password.clone(),
    };
    let kept = (home.open_data()).and_then(|data| templates.keep(&data, &superuser));
    if let Err(error) = kept {
        not_kept(templates.directory(), &error);
    }
}

/// Gives the superuser of a copied cluster, who is `first`, the name and password of `settings`. A name that stays the same
/// from drill to drill would be known to those whose code runs here: their archives could name it as an owner.
pub(super) fn take_over(first: Superuser, settings: &ConnectSettings) -> Result<(), PgError> {
    let doing = "naming the superuser of a throwaway server";
    let password = (settings.password.as_ref()).map_or("", |password| password.expose_secret());
    let sql = format!(
        "UPDATE pg_catalog.pg_authid SET rolname = {}, rolpassword = {} WHERE oid = 10",
        quote_literal(&settings.user),
        random_secret(password)
    );
    let settings = ConnectSettings {
        user: first.name,
        password: Some(first.password),
        ..settings.clone()
    };
    let mut session = Session::connect(&settings, &Cancel::new())?;
    // ALTER ROLE RENAME refuses the session's own role, and this is the only one.
    session.simple(doing, "SET allow_system_table_mods = on")?;
    session.simple(doing, &sql)
}

/// A server's cluster is made anew, which only takes longer.
fn not_kept(place: &Path, error: &io::Error) {
    // What is no directory is not ours to remove where somebody configured it.
    if error.kind() == io::ErrorKind::NotADirectory {
        tracing::warn!(
            "no empty cluster is kept in {}: {error}; remove the file of that name",
            place.display()
        );
    } else {
        tracing::debug!("no empty cluster is kept: {}: {error}", place.display());
    }
}
