//! A host on which nothing is configured yet: there is no file, and no variable names a database.

use super::archive_directory;
use super::document::Document;
use super::input::Inputs;
use super::resolve::resolve;
use super::service::{Service, service};
use hubvault_engine::state::StateDir;
use std::path::PathBuf;

/// What is known there: how to serve the set-up page.
#[derive(Clone, Debug)]
pub struct Unconfigured {
    /// What the variables say of the service.
    pub service: Service,
    /// The file that the service reads, where something names it; it does not exist yet.
    pub file: Option<PathBuf>,
}

/// Whether there is no configuration file, and no variable names a database.
pub fn is_nothing_configured(inputs: &Inputs) -> bool {
    inputs.is_without_file() && inputs.environment.of_database().is_empty()
}

/// `None` where something is configured, a backup was taken with the defaults, or no page is asked for.
pub fn unconfigured(inputs: &Inputs) -> Option<Unconfigured> {
    let environment = &inputs.environment;
    if !is_nothing_configured(inputs) {
        return None;
    }
    let (document, mut problems) = (Document::default(), Vec::new());
    let values = resolve(environment, &document, &document, &mut problems);
    let directory = archive_directory::configured(environment, &document);
    let service = service(&values, directory);
    let is_used = StateDir::of(&service.directory)
        .file("catalog.sqlite")
        .exists();
    let has_page = service.http_address.is_some() && service.http_page;
    // A mistake is reported where the settings are loaded.
    (problems.is_empty() && has_page && !is_used).then(|| Unconfigured {
        service,
        file: inputs.configured_path(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    #[test]
    fn only_a_page_without_file_database_and_catalog_is_a_first_visit() {
        let place = tempfile::tempdir().unwrap();
        let text = |name: &str| place.path().join(name).display().to_string();
        let (config, backups) = (text("config"), text("backups"));
        let always = [
            ("HTTP_ADDR", "127.0.0.1:0"),
            ("CONFIG_DIR", config.as_str()),
            ("BACKUP_DIR", backups.as_str()),
        ];
        let with = |more: &[(&str, &str)], file: Option<PathBuf>| {
            let environment = Environment::of(&[&always, more].concat());
            unconfigured(&Inputs::new(environment, file))
        };
        let found = with(&[], None).unwrap();
        assert_eq!(found.file, Some(place.path().join("config/hubvault.toml")));
        let named = place.path().join("named.toml");
        let found = with(&[], Some(named.clone())).unwrap();
        assert_eq!(found.file.as_ref(), Some(&named));
        for other in [
            ("HTTP_PAGE", "false"),
            ("HTTP_ADDR", ""),
            ("HTTP_PUBLIC_URL", "no address"),
            ("POSTGRES_HOST", "db"),
            ("DATABASE_URL_FILE", "/run/secrets/url"),
            ("PGSERVICE", "hub"),
        ] {
            assert!(with(&[other], None).is_none(), "{other:?}");
        }
        std::fs::write(&named, "").unwrap();
        assert!(with(&[], Some(named)).is_none(), "the file exists");
        let state = place.path().join("backups/.hubvault");
        std::fs::create_dir_all(&state).unwrap();
        assert!(with(&[], None).is_some());
        std::fs::write(state.join("catalog.sqlite"), "").unwrap();
        assert!(with(&[], None).is_none(), "backups were taken here");
    }
}
