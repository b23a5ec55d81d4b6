//! How the database is reached.

use super::keys::Key;
use super::kind;
use super::problem::Problem;
use super::setting::Values;
use super::url;
use hubvault_postgres::ConnectSettings;
use secrecy::ExposeSecret;
use std::path::PathBuf;

pub(crate) fn database(values: &Values) -> ConnectSettings {
    ConnectSettings {
        host: values.text("database.host").to_owned(),
        hostaddr: values.number("database.hostaddr"),
        port: values.parsed("database.port"),
        user: values.text("database.user").to_owned(),
        dbname: values.text("database.name").to_owned(),
        password: values.secret("database.password").cloned(),
        passfile: values.path("database.passfile"),
        sslmode: values.parsed("database.sslmode"),
        sslrootcert: values.path("database.sslrootcert"),
        sslcert: values.path("database.sslcert"),
        sslkey: values.path("database.sslkey"),
        connect_timeout: values.duration("database.connect_timeout"),
        attempts: values.parsed("archive.connect_attempts"),
        application_name: "hubvault".to_owned(),
        old_programs: values.flag("database.old_programs"),
        is_own: false,
    }
}

/// The server that a connection string names. What it leaves out is taken from `base`, but never a password for another
/// host or role.
pub(crate) fn connect_to(
    base: &ConnectSettings,
    url: &str,
    origin: &str,
    problems: &mut Vec<Problem>,
) -> ConnectSettings {
    let mut target = base.clone();
    let parts = url::parse(url).unwrap_or_else(|what| {
        problems.push(Problem::new(origin, "", what));
        Vec::new()
    });
    let is_address = |key: &str| matches!(key, "database.host" | "database.user");
    if parts.iter().any(|(key, _)| is_address(key)) {
        target.password = None;
    }
    if parts.iter().any(|(key, _)| *key == "database.host") {
        target.hostaddr = None;
    }
    for (key, value) in parts {
        let text = value.expose_secret();
        if let Some(Err(what)) = Key::named(key).map(|known| known.kind.check(text)) {
            problems.push(Problem::new(origin, key, what));
            continue;
        }
        match key {
            "database.host" => text.clone_into(&mut target.host),
            "database.hostaddr" => target.hostaddr = text.parse().ok(),
            "database.port" => target.port = text.parse().unwrap_or(target.port),
            "database.name" => text.clone_into(&mut target.dbname),
            "database.user" => text.clone_into(&mut target.user),
            "database.password" => target.password = Some(value),
            "database.passfile" => target.passfile = Some(PathBuf::from(text)),
            "database.sslmode" => target.sslmode = text.parse().unwrap_or_default(),
            "database.sslrootcert" => target.sslrootcert = Some(PathBuf::from(text)),
            "database.sslcert" => target.sslcert = Some(PathBuf::from(text)),
            "database.sslkey" => target.sslkey = Some(PathBuf::from(text)),
            _ => target.connect_timeout = kind::duration(text).unwrap_or(target.connect_timeout),
        }
    }
    target
}
