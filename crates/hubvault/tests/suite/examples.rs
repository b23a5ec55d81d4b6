//! Every configuration of `examples/`, and what `deploy/` runs it with, passes `hubvault config check`.

use crate::hub::{coverage, stderr, stdout};
use crate::keys::Pair;
use hubvault_testkit::SftpServer;
use hubvault_testkit::object_store::S3Server;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const COMPOSE: &str = include_str!("../../../../docker-compose.prod.yml");
const COMPOSE_VALUES: &str = include_str!("../../../../.env.example");
const UNIT: &str = include_str!("../../../../deploy/hubvault.service");
const DEPLOYMENT: &str = include_str!("../../../../deploy/kubernetes/deployment.yaml");
const CRON_JOB: &str = include_str!("../../../../deploy/kubernetes/cronjob.yaml");

/// Directories of the examples that the test makes in a directory of its own.
const PLACES: [&str; 5] = [
    "/run/secrets",
    "/etc/hubvault",
    "/config",
    "/var/backups",
    "/backups",
];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn example(name: &str) -> String {
    std::fs::read_to_string(examples().join(name)).unwrap()
}

/// A host as the examples expect it: the secrets, the public keys and the certificate that they name.
struct Host {
    root: TempDir,
    variables: Vec<(String, String)>,
}

impl Host {
    fn new(variables: &[(String, String)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let keys = tempfile::tempdir().unwrap();
        let public = |name| Pair::age(keys.path(), name).public;
        for (file, content) in [
            ("run/secrets/postgres_password", "sesame".to_owned()),
            ("run/secrets/smtp_password", "sesame".to_owned()),
            (
                "run/secrets/hubvault/postgres_password",
                "sesame".to_owned(),
            ),
            ("run/secrets/hubvault/smtp_password", "sesame".to_owned()),
            (
                "etc/hubvault/secrets/postgres_password",
                "sesame".to_owned(),
            ),
            ("etc/hubvault/secrets/smtp_password", "sesame".to_owned()),
            ("etc/hubvault/secrets/ntfy_token", "sesame".to_owned()),
            (
                "etc/hubvault/secrets/shop_url",
                "postgres://backup:sesame@shop.example.com/shop".to_owned(),
            ),
            (
                "etc/hubvault/secrets/slack_url",
                "https://hooks.example.com/1".to_owned(),
            ),
            (
                "etc/hubvault/secrets/ping_url",
                "https://ping.example.com/1".to_owned(),
            ),
            (
                "etc/hubvault/secrets/ntfy_url",
                "https://ntfy.example.com/hub".to_owned(),
            ),
            ("etc/hubvault/recipients/ada.pub", public("ada")),
            ("etc/hubvault/recipients/grace.pub", public("grace")),
            ("etc/hubvault/db-ca.pem", String::new()),
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let mut host = Self {
            root,
            variables: Vec::new(),
        };
        for (name, value) in variables {
            let value = host.placed(value);
            host.variables.push((name.clone(), value));
        }
        host
    }

    /// A text with the directories of the examples below the root.
    fn placed(&self, text: &str) -> String {
        let mut text = format!("\n{text}");
        for place in PLACES {
            let below = format!("{}{place}", self.root.path().display());
            for before in ["\"", "\n"] {
                text = text.replace(&format!("{before}{place}"), &format!("{before}{below}"));
            }
        }
        text.split_off(1)
    }

    /// `hubvault config check`, which must have nothing to say but what each may decide: who can open what is mailed, and
    /// whether one disk is enough. What it printed.
    fn check(&self, toml: Option<&str>) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hubvault"));
        command
            .args(["config", "check"])
            .env_clear()
            .envs(coverage());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.root.path());
        if let Some(toml) = toml {
            let file = self.root.path().join("etc/hubvault/hubvault.toml");
            std::fs::write(&file, self.placed(toml)).unwrap();
            command.env("HUBVAULT_CONFIG", file);
        }
        let output = command.output().unwrap();
        let printed = stdout(&output);
        let warnings: Vec<&str> = printed
            .lines()
            .filter(|line| line.trim_start().starts_with("! "))
            .collect();
        let ends_with = if warnings.is_empty() { 0 } else { 3 };
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(ends_with), "{printed}{said}");
        let is_expected = |line: &&&str| {
            line.contains("are mailed unsealed") || line.contains("on the disk of the database")
        };
        assert_eq!(
            warnings.iter().filter(is_expected).count(),
            warnings.len(),
            "{printed}"
        );
        printed
    }
}

/// The lines `NAME=value` of an env file.
fn env_file(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What the compose file makes of `.env`: `NAME: text`, `NAME: ${NAME:-default}` or `NAME: ${NAME:?message}`.
fn compose_variables() -> Vec<(String, String)> {
    let values = env_file(COMPOSE_VALUES);
    let (_, block) = COMPOSE.split_once("    environment:\n").unwrap();
    let lines = block.lines().take_while(|line| line.starts_with("      "));
    let pairs = lines.filter_map(|line| line.trim().split_once(": "));
    pairs
        .filter(|(name, _)| !name.starts_with('#'))
        .map(|(name, value)| {
            let inner = value
                .strip_prefix("${")
                .and_then(|rest| rest.strip_suffix('}'));
            let Some((variable, default)) = inner.and_then(|rest| rest.split_once(':')) else {
                return (name.to_owned(), value.trim_matches('"').to_owned());
            };
            let set = values
                .iter()
                .find(|(known, value)| known == variable && !value.is_empty());
            let default = default.strip_prefix('-');
            let value = set.map(|(_, value)| value.as_str()).or(default);
            let value = value.unwrap_or_else(|| panic!("{variable} is not in .env.example"));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// The lines `- {name: NAME, value: text}` of a Kubernetes object.
fn object_variables(text: &str) -> Vec<(String, String)> {
    let lines = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- {name: "));
    let pairs = lines.filter_map(|line| line.strip_suffix('}')?.split_once(", value: "));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// The lines `Environment=NAME=text NAME=text` of a systemd unit.
fn unit_variables(text: &str) -> Vec<(String, String)> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    lines
        .flat_map(str::split_whitespace)
        .flat_map(env_file)
        .collect()
}

#[test]
fn the_variables_of_the_bash_system_are_enough() {
    let printed = Host::new(&env_file(&example("bash-system.env"))).check(None);
    assert!(printed.contains("backup@postgres:5432/hub"), "{printed}");
}

#[test]
fn one_host_with_compose_is_env_example_and_one_file() {
    let variables = compose_variables();
    assert!(variables.len() > 15, "{variables:?}");
    let host = Host::new(&variables);
    let printed = host.check(Some(&example("one-host.toml")));
    assert!(
        printed.contains("6 table patterns, 3 table patterns in windows; 3 files"),
        "{printed}"
    );
    // Without a file of its own it is complete, too.
    host.check(None);
}

#[test]
fn one_host_with_systemd_is_the_unit_and_one_file() {
    let variables = unit_variables(UNIT);
    assert!(
        variables.iter().any(|(name, _)| name == "BACKUP_DIR"),
        "{variables:?}"
    );
    let printed = Host::new(&variables).check(Some(&example("systemd.toml")));
    assert!(printed.contains("/var/backups/hubvault"), "{printed}");
}

#[test]
fn kubernetes_is_an_object_and_one_file() {
    for object in [DEPLOYMENT, CRON_JOB] {
        let variables = object_variables(object);
        assert!(variables.len() > 3, "{variables:?}");
        Host::new(&variables).check(Some(&example("kubernetes.toml")));
    }
}

#[test]
fn several_databases_are_three_jobs() {
    let printed = Host::new(&[]).check(Some(&example("several-databases.toml")));
    for database in ["/hub", "shop.example.com:5432/shop", "/wiki"] {
        assert!(printed.contains(database), "{database} is not in {printed}");
    }
}

#[test]
fn sealed_to_two_has_two_recipients() {
    let printed = Host::new(&[]).check(Some(&example("sealed-to-two.toml")));
    assert!(printed.contains("sealed to 2 recipients"), "{printed}");
}

#[test]
fn copies_elsewhere_has_a_bucket_a_server_and_a_lease() {
    let (bucket, server) = (S3Server::shared(), SftpServer::start());
    bucket.create_bucket("acme-backups", true);
    let key = bucket.owner();
    let host = Host::new(&[]);
    let at = |file: &str| host.root.path().join("etc/hubvault").join(file);
    std::fs::write(at("secrets/s3_secret_key"), key.secret).unwrap();
    std::fs::copy(server.key_file(), at("vault_key")).unwrap();
    std::fs::copy(server.known_hosts(), at("known_hosts")).unwrap();
    let mut toml = example("copies-elsewhere.toml");
    let region = |name| format!("region = \"{name}\"");
    let endpoint = format!("\nendpoint = \"{}\"", bucket.endpoint());
    for (named, local) in [
        (region("eu-central-1"), region("us-east-1") + &endpoint),
        ("AKIA0000000000000000".to_owned(), key.id.to_owned()),
        (
            "sftp://vault@vault.example.com/~/hub".to_owned(),
            server.url(),
        ),
    ] {
        assert!(toml.contains(&named), "{named}");
        toml = toml.replace(&named, &local);
    }
    let printed = host.check(Some(&toml));
    assert!(printed.contains("sealed to 2 recipients"), "{printed}");
    let lease = "# [lease]\n# destination = \"bucket\"\n# length = \"60 s\"\n";
    assert!(toml.contains(lease));
    host.check(Some(&toml.replace(lease, &lease.replace("# ", ""))));
}

#[test]
fn hooks_and_sources_are_complete() {
    Host::new(&[]).check(Some(&example("hooks-and-sources.toml")));
}

#[test]
fn every_example_is_checked_and_listed() {
    let all: BTreeSet<String> = std::fs::read_dir(examples())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    let (source, list) = (include_str!("examples.rs"), example("README.md"));
    for name in all {
        assert!(
            source.contains(&format!("example(\"{name}\")")),
            "{name} is not checked"
        );
        assert!(list.contains(&format!("({name})")), "{name} is not listed");
    }
}
