//! How the store of a `[[destination]]` is opened: what the environment says, and what the table sets instead.

use super::environment::Environment;
use super::kind;
use super::store_options::store_options;
use super::store_proxy::proxy_for;
use super::table::Table;
use hubvault_store::{Credentials, Encryption, Location, Lock, LockMode, Options};
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;

/// A key of the table, the variable whose value it replaces, and whether it is a secret.
type Instead = (&'static str, &'static str, bool);

const S3: &[Instead] = &[
    ("endpoint", "AWS_ENDPOINT_URL_S3", false),
    ("region", "AWS_REGION", false),
    ("profile", "AWS_PROFILE", false),
    ("access_key", "AWS_ACCESS_KEY_ID", false),
    ("secret_key", "AWS_SECRET_ACCESS_KEY", true),
    ("session_token", "AWS_SESSION_TOKEN", true),
    ("ca_file", "AWS_CA_BUNDLE", false),
];
const GOOGLE: &[Instead] = &[("credentials_file", "GOOGLE_APPLICATION_CREDENTIALS", false)];
const AZURE: &[Instead] = &[
    ("endpoint", "AZURE_STORAGE_SERVICE_ENDPOINT", false),
    ("account", "AZURE_STORAGE_ACCOUNT", false),
    ("account_key", "AZURE_STORAGE_KEY", true),
    ("sas_token", "AZURE_STORAGE_SAS_TOKEN", true),
    ("tenant", "AZURE_TENANT_ID", false),
    ("client", "AZURE_CLIENT_ID", false),
    ("client_secret", "AZURE_CLIENT_SECRET", true),
];
/// What the variables say of whoever asks: none of it is mixed with what a table sets.
const IDENTITY: &[&str] = &[
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_CONNECTION_STRING",
];

/// Keys that only some stores have, with the schemes of those.
const OF_SCHEMES: &[(&str, &[&str])] = &[
    ("endpoint", &["s3", "gs", "az"]),
    ("region", &["s3"]),
    ("profile", &["s3"]),
    ("access_key", &["s3"]),
    ("secret_key", &["s3"]),
    ("secret_key_file", &["s3"]),
    ("session_token", &["s3"]),
    ("session_token_file", &["s3"]),
    ("path_style", &["s3"]),
    ("anonymous", &["s3"]),
    ("encryption", &["s3"]),
    ("kms_key", &["s3"]),
    ("lock", &["s3"]),
    ("lock_mode", &["s3"]),
    ("storage_class", &["s3", "gs", "az"]),
    ("ca_file", &["s3", "gs", "az"]),
    ("proxy", &["s3", "gs", "az"]),
    ("credentials_file", &["gs"]),
    ("account", &["az"]),
    ("account_key", &["az"]),
    ("account_key_file", &["az"]),
    ("sas_token", &["az"]),
    ("sas_token_file", &["az"]),
    ("tenant", &["az"]),
    ("client", &["az"]),
    ("client_secret", &["az"]),
    ("client_secret_file", &["az"]),
    ("key_file", &["sftp"]),
    ("key_passphrase", &["sftp"]),
    ("key_passphrase_file", &["sftp"]),
    ("agent", &["sftp"]),
    ("known_hosts", &["sftp"]),
    ("password_file", &["sftp"]),
];

/// The names of these keys.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    OF_SCHEMES.iter().map(|(key, _)| *key)
}

/// How the store is opened; mistakes are the table's.
pub(crate) fn options(
    environment: &Environment,
    location: &Location,
    table: &mut Table<'_>,
) -> Options {
    let scheme = scheme(location);
    for (key, schemes) in OF_SCHEMES {
        if table.has(key) && !schemes.contains(&scheme) {
            let of: Vec<String> = schemes.iter().map(|it| format!("{it}://")).collect();
            let what = match *key {
                "lock" | "lock_mode" => format!("a store of {scheme}:// cannot lock what it holds"),
                _ => format!("is a setting of {}, not of {scheme}://", of.join(", ")),
            };
            table.problem(key, what);
        }
    }
    let instead = match location {
        Location::S3(_) => S3,
        Location::Gcs(_) => GOOGLE,
        Location::Azure(_) => AZURE,
        Location::Directory(_) | Location::Sftp(_) => &[],
    };
    let environment = replaced(environment, instead, table);
    let mut options = store_options(&environment, location).unwrap_or_else(|problem| {
        table.problem("", format!("{}: {}", problem.origin, problem.what));
        Options::default()
    });
    object(location, &environment, &mut options, table);
    sftp(&mut options, table);
    options.lock = lock(table);
    options
}

/// The environment with what the table sets in place of its own.
fn replaced(environment: &Environment, instead: &[Instead], table: &mut Table<'_>) -> Environment {
    let mut environment = environment.clone();
    let mut set = Vec::new();
    for (key, variable, is_secret) in instead {
        let value = if *is_secret {
            table.secret(key)
        } else {
            table.text(key).map(SecretString::from)
        };
        set.extend(value.map(|value| (*variable, value)));
    }
    if set.iter().any(|(variable, _)| IDENTITY.contains(variable)) {
        for variable in IDENTITY {
            environment = environment.without(variable);
        }
    }
    for (variable, value) in set {
        environment = environment.with_setting(variable, value.expose_secret());
    }
    environment
}

fn object(
    location: &Location,
    environment: &Environment,
    options: &mut Options,
    table: &mut Table<'_>,
) {
    let object = &mut options.object;
    if matches!(location, Location::Gcs(_))
        && let Some(endpoint) = table.text("endpoint")
    {
        object.proxy = proxy_for(environment, &endpoint);
        object.endpoint = Some(endpoint);
    }
    if !matches!(location, Location::S3(_))
        && let Some(file) = table.text("ca_file")
    {
        object.ca_file = Some(PathBuf::from(file));
    }
    if let Some(flag) = table.flag("path_style") {
        object.path_style = flag;
    }
    if let Some(flag) = table.flag("anonymous") {
        object.anonymous = flag;
    }
    object.storage_class = table.text("storage_class");
    if let Some(proxy) = table.text("proxy") {
        object.proxy = Some(proxy.into());
    }
    let kms_key = table.text("kms_key");
    object.encryption = match table.word("encryption", &["store", "kms"]) {
        Some(0) => Some(Encryption::StoreKey),
        Some(_) => Some(Encryption::KeyService(kms_key)),
        None if kms_key.is_some() => Some(Encryption::KeyService(kms_key)),
        None => None,
    };
}

fn sftp(options: &mut Options, table: &mut Table<'_>) {
    let sftp = &mut options.sftp;
    sftp.key_file = table.text("key_file").map(PathBuf::from);
    sftp.key_passphrase = table.secret("key_passphrase");
    if let Some(agent) = table.text("agent") {
        sftp.agent = Some(PathBuf::from(agent));
    }
    sftp.known_hosts = table.text("known_hosts").map(PathBuf::from);
    sftp.password = table.secret("password");
}

fn lock(table: &mut Table<'_>) -> Option<Lock> {
    let mode = table.word("lock_mode", &["governance", "compliance"]);
    if mode.is_some() && !table.has("lock") {
        table.problem("lock_mode", "has no effect without lock = \"30 days\"");
    }
    let text = table.text("lock")?;
    let Some(days) = kind::days(&text) else {
        let what = format!("expected whole days such as `30 days`, at most 36500, not {text:?}");
        table.problem("lock", what);
        return None;
    };
    Some(Lock {
        days,
        mode: match mode {
            Some(1) => LockMode::Compliance,
            _ => LockMode::Governance,
        },
    })
}

fn scheme(location: &Location) -> &'static str {
    match location {
        Location::Directory(_) => "file",
        Location::S3(_) => "s3",
        Location::Gcs(_) => "gs",
        Location::Azure(_) => "az",
        Location::Sftp(_) => "sftp",
    }
}

/// What of the options no message may hold.
pub(crate) fn secrets(options: &Options) -> Vec<SecretString> {
    let mut found: Vec<SecretString> = match &options.object.credentials {
        Some(Credentials::Key { secret, token, .. }) => {
            std::iter::once(secret).chain(token).cloned().collect()
        }
        Some(
            Credentials::GoogleJson(secret)
            | Credentials::AzureKey(secret)
            | Credentials::AzureSas(secret)
            | Credentials::AzureClient { secret, .. },
        ) => vec![secret.clone()],
        Some(Credentials::AwsIdentity(_)) | None => Vec::new(),
    };
    found.extend(options.sftp.key_passphrase.clone());
    found.extend(options.sftp.password.clone());
    // `http://user:password@proxy`
    let login = (options.object.proxy.as_ref())
        .and_then(|proxy| proxy.expose_secret().rsplit_once('@'))
        .and_then(|(before, _)| before.rsplit_once(':'));
    found.extend(login.map(|(_, password)| SecretString::from(password)));
    found
}
