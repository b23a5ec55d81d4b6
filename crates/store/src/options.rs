//! How a store is opened: everything but where it is.

use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// How a store is opened. What is `None` is left to the store's own ways: the identity of the machine, the region of the
/// bucket.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// S3, Google's and Azure's stores.
    pub object: ObjectOptions,
    /// Servers by SFTP.
    pub sftp: SftpOptions,
    /// Every object that [`Store::put`](crate::Store::put) stores is locked for so long.
    pub lock: Option<Lock>,
}

/// How long an object is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Days from when it is stored.
    pub days: u32,
    /// Who can end it earlier.
    pub mode: LockMode,
}

/// Who can end a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has a special right.
    Governance,
    /// Nobody, the owner of the account included.
    Compliance,
}

/// S3, Google's and Azure's stores.
#[derive(Clone, Debug, Default)]
pub struct ObjectOptions {
    /// The server, where it is not the provider's own: `https://s3.example.com:9000`.
    pub endpoint: Option<String>,
    /// S3: the region.
    pub region: Option<String>,
    /// S3: the bucket is in the path and not in the host's name, as most servers but Amazon's want it.
    pub path_style: bool,
    /// Who asks. `None`: whom the machine is (instance role, workload identity, metadata server).
    pub credentials: Option<Credentials>,
    /// S3: nobody; the bucket is open to everyone.
    pub anonymous: bool,
    /// The storage class, in the store's own words.
    pub storage_class: Option<String>,
    /// S3: encryption by the server.
    pub encryption: Option<Encryption>,
    /// Azure: the account.
    pub account: Option<String>,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// A proxy: `http://proxy:3128`. It may hold a password.
    pub proxy: Option<SecretString>,
    /// How long an answer, or more of one, is waited for; for 64 kB of what is sent a second longer. `None`: 30 seconds.
    pub patience: Option<Duration>,
}

impl ObjectOptions {
    /// How long a silent store is waited for: as set, else half a minute.
    pub fn patience(&self) -> Duration {
        self.patience.unwrap_or(Duration::from_secs(30))
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// S3: a key and its secret.
    Key {
        /// The key's id.
        id: String,
        /// The key.
        secret: SecretString,
        /// What a temporary key needs beside it.
        token: Option<SecretString>,
    },
    /// S3: what a container or a pod was given, by the variables of AWS. The values are no secrets, the files are.
    AwsIdentity(Vec<(String, String)>),
    /// Google: the key of a service account, or what `gcloud` stored, as JSON.
    GoogleJson(SecretString),
    /// Azure: the account's key.
    AzureKey(SecretString),
    /// Azure: a shared access signature.
    AzureSas(SecretString),
    /// Azure: an application.
    AzureClient {
        /// The directory.
        tenant: String,
        /// The application.
        client: String,
        /// Its secret.
        secret: SecretString,
    },
}

/// Encryption by the server of an S3 store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// With the store's own key (SSE-S3).
    StoreKey,
    /// With a key of the key service (SSE-KMS), its default one or this.
    KeyService(Option<String>),
}

/// Servers by SFTP.
#[derive(Clone, Debug, Default)]
pub struct SftpOptions {
    /// The private key (OpenSSH or PEM). `None`: the agent of `agent`, then the usual files of the user.
    pub key_file: Option<PathBuf>,
    /// What opens the private key.
    pub key_passphrase: Option<SecretString>,
    /// The socket of an SSH agent.
    pub agent: Option<PathBuf>,
    /// A password, where the server has nothing better.
    pub password: Option<SecretString>,
    /// Where known host keys are. `None`: those of the user and of the system.
    pub known_hosts: Option<PathBuf>,
    /// The user's home, for the usual files.
    pub home: Option<PathBuf>,
    /// How long a silent server is waited for. `None`: 30 seconds.
    pub patience: Option<Duration>,
}
