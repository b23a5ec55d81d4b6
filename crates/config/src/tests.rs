//! What a whole configuration comes to.

mod destinations;
mod jobs;
mod mistakes;
mod properties;

use super::keys::KEYS;
use super::kind::Kind;
use super::*;
use hubvault_engine::job::{Job, WindowRows};
use hubvault_engine::state::StateDir;
use secrecy::ExposeSecret;
use std::path::Path;

pub(crate) const ALICE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
pub(crate) const BOB: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBIeIJ74+QJ9m4rrjJ1XIs5ab67NfM5YnvucocpO7ArU";

/// The settings of these variables and this file.
pub(crate) fn load(variables: &[(&str, &str)], toml: &str) -> Result<Settings, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hubvault.toml");
    std::fs::write(&path, toml).unwrap();
    let inputs = Inputs::new(Environment::of(variables), Some(path));
    Settings::load(&inputs, None)
}

/// The mistakes in these variables and this file.
pub(crate) fn mistakes(variables: &[(&str, &str)], toml: &str) -> String {
    load(variables, toml).err().unwrap().to_string()
}

/// Asserts that they are refused, and that the error has each of these parts.
pub(crate) fn refused(variables: &[(&str, &str)], toml: &str, parts: &[&str]) {
    let error = mistakes(variables, toml);
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
}

#[test]
fn the_variables_of_the_bash_system_alone_mean_its_tables_windows_and_files() {
    let settings = load(&[("POSTGRES_HOST", "localhost")], "# only a comment\n").unwrap();
    let job = settings.job();
    assert_eq!(job.local_directory(), Path::new("/backups"));
    assert_eq!(job.scope.tables.len(), 10);
    assert_eq!(job.scope.windows.len(), 1);
    assert_eq!(job.scope.windows[0].tables.len(), 3);
    let recent = WindowRows::Recent {
        column: "created_at".into(),
        length: "3 months".into(),
        midnight: Some(jiff::tz::TimeZone::system()),
    };
    assert_eq!(job.scope.windows[0].rows, recent);
    let files: Vec<String> = job
        .files
        .iter()
        .map(|f| f.source.display().to_string())
        .collect();
    assert_eq!(
        files,
        [
            "/config/.env.production",
            "/config/docker-compose.prod.yml",
            "/config/nginx.prod.conf",
            "/config/ssl"
        ]
    );
    assert_eq!(job.database.to_string(), "postgres@localhost:5432/postgres");
}

#[test]
fn variables_win_over_the_file_and_say_what_they_hide() {
    let toml = "[database]\nhost = \"toml\"\nport = 1111\n";
    let variables = [
        ("DATABASE_URL", "postgres://u:p@url/d"),
        ("POSTGRES_HOST", "bash"),
        ("PGHOST", "libpq"),
        ("PGPORT", "2222"),
    ];
    let settings = load(&variables, toml).unwrap();
    assert_eq!(settings.job().database.to_string(), "u@url:2222/d");
    let host = settings.values.get("database.host").unwrap();
    assert_eq!(host.origin, "variable DATABASE_URL");
    assert_eq!(
        host.hidden,
        [
            "variable POSTGRES_HOST",
            "variable PGHOST",
            "hubvault.toml line 2"
        ]
    );
    let bash = load(&variables[1..], toml).unwrap();
    assert_eq!(bash.job().database.host, "bash");
}

#[test]
fn elsewhere_the_whole_database_is_backed_up() {
    let all = |variables: &[(&str, &str)], toml: &str| {
        let settings = load(variables, toml).unwrap();
        let scope = &settings.job().scope;
        assert!(!scope.by_default);
        let tables: Vec<String> = scope.tables.iter().map(ToString::to_string).collect();
        (
            tables.join(","),
            scope.windows.len(),
            settings.job().files.len(),
        )
    };
    assert_eq!(all(&[], ""), ("*".to_owned(), 0, 0));
    let libpq = [
        ("PGHOST", "db"),
        ("BACKUP_DIR", "/b"),
        ("DATABASE_URL", "postgres://u@h/d"),
    ];
    assert_eq!(all(&libpq, ""), ("*".to_owned(), 0, 0));
    assert_eq!(
        all(&[], "[log]\nlevel = \"warn\"\n"),
        ("*".to_owned(), 0, 0)
    );
    // Beside a file, what the Bash system took is still taken where it exists.
    let bash = [("POSTGRES_USER", "backup")];
    assert_eq!(
        all(&bash, "[log]\nlevel = \"warn\"\n"),
        ("*".to_owned(), 0, 4)
    );
    let named = "[scope]\ntables = [\"users\"]\n";
    assert_eq!(all(&bash, named), ("users".to_owned(), 1, 4));
    assert_eq!(all(&[], named), ("users".to_owned(), 0, 0));
}

#[test]
fn several_mistakes_are_reported_together() {
    refused(
        &[("POSTGRES_PORT", "0"), ("BACKUP_MIN_SIZE_MB", "ten")],
        "[archive]\nlevel = 99\ncodec = \"gzp\"\n[scope]\ntables = [\"a.b.c\"]\n",
        &[
            "5 mistakes",
            "variable POSTGRES_PORT: database.port: expected a whole number from 1 to 65535",
            "hubvault.toml line 2: archive.level: expected a whole number from 1 to 19",
            "hubvault.toml line 3: archive.codec: expected one of gzip, zstd, not \"gzp\"; did you \
         mean gzip?",
            "variable BACKUP_MIN_SIZE_MB: archive.min_size_mb: expected a whole number",
            "hubvault.toml line 5: scope.tables: \"a.b.c\" has more than",
        ],
    );
}

#[test]
fn windows_take_a_length_or_an_expression() {
    let toml = "[[scope.window]]\ntables = [\"a\"]\ncolumn = \"at\"\nlength = \"90 days\"\n\
                [[scope.window]]\ntables = [\"b\"]\nwhere = \"paid\"\n";
    assert_eq!(load(&[], toml).unwrap().job().scope.windows.len(), 2);
    refused(
        &[],
        "[[scope.window]]\ntables = [\"b\"]\nwhere = \"x\"\nlength = \"1 day\"\n",
        &["either column and length, or where"],
    );
    refused(
        &[],
        "[[scope.window]]\ntable = [\"b\"]\nwhere = \"x\"\n",
        &["line 2: scope.window.table: no such key; did you mean tables?"],
    );
    assert!(
        load(&[], "[scope]\nwindow = []\n")
            .unwrap()
            .job()
            .scope
            .windows
            .is_empty()
    );
}

#[test]
fn what_has_no_effect_is_noticed() {
    let settings = load(&[("BACKUP_DRI", "/b")], "").unwrap();
    let notices = settings.notices.join("\n");
    assert!(notices.contains("did you mean BACKUP_DIR?"), "{notices}");
    assert!(load(&[], "").unwrap().notices.is_empty());
}

#[test]
fn a_secret_is_in_no_message() {
    for url in [
        "postgres://u:hunter2@h:99999/d?hunter2=1",
        "mysql://u:hunter2@h/d",
    ] {
        let error = mistakes(&[("DATABASE_URL", url)], "");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_secret_may_be_in_a_file_that_the_file_names() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hunter2\n").unwrap();
    let toml = format!(
        "[database]\npassword_file = \"{}\"\n",
        secret.path().display()
    );
    let password = load(&[], &toml)
        .unwrap()
        .job()
        .database
        .password
        .clone()
        .unwrap();
    assert_eq!(password.expose_secret(), "hunter2");
    refused(
        &[],
        "[database]\npassword_file = \"/nowhere\"\n",
        &["line 2: database.password_file: reading /nowhere"],
    );
}

/// A variable that nobody reads would be a promise that nobody keeps.
#[test]
fn what_the_deployment_files_set_is_read() {
    let files = [
        include_str!("../../../docker-compose.dev.yml"),
        include_str!("../../../docker-compose.prod.yml"),
        include_str!("../../../deploy/kubernetes/deployment.yaml"),
        include_str!("../../../deploy/kubernetes/replicas.yaml"),
        include_str!("../../../deploy/kubernetes/cronjob.yaml"),
    ];
    let is_name =
        |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let mut found = 0;
    for line in files.iter().flat_map(|file| file.lines()) {
        let line = line.trim_start().trim_start_matches("- {name: ");
        let name = line.split([':', ',']).next().unwrap_or_default();
        if !is_name(name) || ["TZ", "TMPDIR", "PG_MAJOR"].contains(&name) {
            continue;
        }
        found += 1;
        let bare = name.strip_suffix("_FILE").unwrap_or(name);
        let known = KEYS.iter().any(|key| key.variables.contains(&bare));
        assert!(known, "{name} is read by nobody: {line}");
    }
    assert!(found > 30, "only {found} variables were found");
}

/// Every option that the example shows in a comment is uncommented here, so that it stays true.
#[test]
fn the_example_is_a_configuration_with_every_option_in_it() {
    let example = include_str!("../../../hubvault.example.toml");
    load(&[], example).unwrap();
    let is_option = |line: &str| {
        line.strip_prefix("# ").is_some_and(|rest| {
            let name = rest.split('=').next().unwrap_or_default().trim();
            (rest.starts_with("[[") || rest.starts_with("[job.")) && rest.trim_end().ends_with(']')
                || rest.contains('=')
                    && !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
    };
    let all: Vec<&str> = example
        .lines()
        .map(|line| if is_option(line) { &line[2..] } else { line })
        // The value of a secret file must exist.
        // Files that are not here.
        .filter(|line| !line.contains("/run/secrets/") && !line.starts_with("templates_dir"))
        .collect();
    // Nobody should seal to a key from an example.
    let all = all
        .join("\n")
        .replace(
            "age1...",
            "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa",
        )
        .replace(
            "AAAA...",
            "AAAAC3NzaC1lZDI1NTE5AAAAIBIeIJ74+QJ9m4rrjJ1XIs5ab67NfM5YnvucocpO7ArU",
        );
    load(&[], &all).unwrap_or_else(|error| panic!("{error}\n{all}"));
    for key in KEYS {
        let name = key.name.rsplit('.').next().unwrap();
        assert!(example.contains(name), "{} is not in the example", key.name);
        for variable in key.variables {
            assert!(
                example.contains(variable),
                "{variable} is not in the example"
            );
        }
    }
}

#[test]
fn what_was_changed_from_afar_wins_for_harmless_keys_alone() {
    let backups = tempfile::tempdir().unwrap();
    let state = StateDir::of(backups.path());
    std::fs::create_dir(state.path()).unwrap();
    let directory = backups.path().to_str().unwrap();
    let variables = [("BACKUP_DIR", directory), ("BACKUP_RETENTION_DAYS", "5")];
    let toml = "[retention]\ndays = 6\n";
    let changes = |json: &str| Changes::merged(&state, &serde_json::from_str(json).unwrap());
    let first = changes(r#"{"retention.days": 7, "email.to": ["a@b.example"]}"#).unwrap();
    first.write(&state).unwrap();
    let settings = load(&variables, toml).unwrap();
    assert_eq!(settings.values.text("retention.days"), "7");
    let days = settings.values.get("retention.days");
    let hidden = &days.unwrap().hidden;
    assert_eq!(
        hidden,
        &["variable BACKUP_RETENTION_DAYS", "hubvault.toml line 2"]
    );
    changes(r#"{"retention.days": null}"#)
        .unwrap()
        .write(&state)
        .unwrap();
    let settings = load(&variables, toml).unwrap();
    assert_eq!(settings.values.text("retention.days"), "5");
    assert!(settings.values.list("email.to") == ["a@b.example"]);

    let bad = changes(r#"{"archive.directory": "/x", "retention.dayz": 1}"#);
    let said = bad.unwrap_err().to_string();
    assert!(said.contains("cannot be changed over HTTP") && said.contains("retention.days"));
    std::fs::write(state.file("overlay.toml"), "[database]\nhost = \"evil\"\n").unwrap();
    refused(&variables, toml, &["database.host: cannot be set here"]);
}

#[test]
fn no_secret_is_handed_to_the_programs_of_postgresql() {
    // Those of stores are read there, and are no settings.
    let of_stores = [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AZURE_CLIENT_SECRET",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
    ];
    let secret = KEYS.iter().filter(|key| key.is_secret());
    let secret = secret.flat_map(|key| key.variables);
    for variable in secret.chain(&of_stores) {
        // A password of libpq's own name is replaced by that of the connection.
        let gone =
            hubvault_postgres::SECRET_VARIABLES.contains(variable) || *variable == "PGPASSWORD";
        assert!(gone, "{variable}");
    }
}
