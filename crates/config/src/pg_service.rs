//! `PGSERVICE`: a connection of the service file ("The Connection Service File" in libpq's manual).

use super::environment::Environment;
use super::problem::Problem;
use super::trusted_file::text_of;
use super::url::{Parts, set};
use hubvault_engine::state::ownership::ReadOnlyMount;
use std::path::{Path, PathBuf};

/// What the service that `PGSERVICE` names sets, and where that is written.
pub(crate) fn service(environment: &Environment, problems: &mut Vec<Problem>) -> (Parts, String) {
    let none = (Parts::new(), String::new());
    let Some(name) = environment.text("PGSERVICE") else {
        return none;
    };
    let mut tried = Vec::new();
    for path in files(environment) {
        let text = match text_of(&path, ReadOnlyMount::Trusted) {
            Ok(text) => text,
            Err(error) => {
                tried.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        match section(&text, name) {
            Ok(Some(parts)) => return (parts, format!("service {name} of {}", path.display())),
            Ok(None) => tried.push(format!("{} has no [{name}]", path.display())),
            Err(what) => {
                let what = format!("service {name} of {}: {what}", path.display());
                problems.push(Problem::new("variable PGSERVICE", "", what));
                return none;
            }
        }
    }
    let what = format!("the service {name} was not found ({})", tried.join("; "));
    problems.push(Problem::new("variable PGSERVICE", "", what));
    none
}

/// The user's file, then the system's, as libpq has them.
fn files(environment: &Environment) -> Vec<PathBuf> {
    let of_user = environment.text("PGSERVICEFILE").map(PathBuf::from);
    let of_user = of_user.or_else(|| Some(environment.home()?.join(".pg_service.conf")));
    let of_system = environment
        .text("PGSYSCONFDIR")
        .unwrap_or("/etc/postgresql-common");
    let of_system = Path::new(of_system).join("pg_service.conf");
    of_user.into_iter().chain([of_system]).collect()
}

/// The settings of a section, of which the first of a name counts. Errors do not repeat values.
fn section(text: &str, name: &str) -> Result<Option<Parts>, String> {
    let (mut found, mut is_inside) = (None, false);
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix('[') {
            if is_inside {
                break;
            }
            is_inside = title.strip_suffix(']') == Some(name);
            if is_inside {
                found = Some(Parts::new());
            }
            continue;
        }
        let Some(parts) = found.as_mut().filter(|_| is_inside) else {
            continue;
        };
        let (key, value) = line.split_once('=').ok_or("a line is not key=value")?;
        let mut own = Parts::new();
        set(&mut own, key.trim_end(), value.trim_start())?;
        own.retain(|(key, _)| !parts.iter().any(|(known, _)| known == key));
        parts.append(&mut own);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::tests::{load, refused};

    #[test]
    fn a_service_names_the_database_between_the_two_kinds_of_variables() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("service.conf");
        let text = "[other]\nhost=no\n# hub\n[hub]\nhost=db.example\nport=5433\nuser=backup\nuser=late\n\
                    dbname=tenant=7\npassword=p=w d\n\n[last]\nsslmode=bad\ndbname=no\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let with = |more: &[(&'static str, &'static str)]| {
            let mut variables = vec![
                ("PGSERVICEFILE", file),
                ("PGSERVICE", "hub"),
                ("PGHOST", "no"),
            ];
            variables.extend(more);
            load(&variables, "[database]\nname = \"no\"\n").unwrap()
        };
        let settings = with(&[]);
        assert_eq!(
            settings.job().database.to_string(),
            "backup@db.example:5433/tenant=7"
        );
        let host = settings.values.get("database.host").unwrap();
        assert!(
            host.origin.starts_with("service hub of "),
            "{}",
            host.origin
        );
        assert_eq!(host.hidden, ["variable PGHOST"]);
        let own = with(&[("POSTGRES_HOST", "own")]);
        assert_eq!(own.job().database.host, "own");
        refused(
            &[("PGSERVICEFILE", file), ("PGSERVICE", "none")],
            "",
            &["the service none was not found", file],
        );
        refused(
            &[("PGSERVICEFILE", file), ("PGSERVICE", "last")],
            "",
            &["service last of", "sslmode"],
        );
    }
}
