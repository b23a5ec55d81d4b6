//! Options of a throwaway server.

use std::path::PathBuf;

/// How far a server is isolated, by whose code it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Trusted code: no password on its socket, and the rights of its user.
    Plain,
    /// Untrusted code: a random password, and a sandbox around all its processes. Its parent directory must be
    /// private ([`super::DrillLock::directory`]).
    Confined {
        /// The whole environment of its programs.
        environment: Vec<(String, String)>,
    },
}

impl Isolation {
    pub(super) fn environment(&self) -> Option<&[(String, String)]> {
        match self {
            Self::Plain => None,
            Self::Confined { environment } => Some(environment),
        }
    }
}

/// Options of a throwaway server.
#[derive(Clone, Debug)]
pub struct ThrowawayOptions {
    /// The oldest acceptable major version; the oldest installed one is used.
    pub min_major: u32,
    /// Where its directory is made; short, because a socket's path is limited to 107 bytes.
    pub parent_dir: PathBuf,
    /// Further settings, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// The name of its superuser.
    pub superuser: String,
    /// Whose code it runs.
    pub isolation: Isolation,
    /// Where empty clusters are kept, of which a confined server gets a copy; its parent must exist. `None`: each server's
    /// is made anew.
    pub templates: Option<PathBuf>,
}

impl ThrowawayOptions {
    /// A server for trusted code, of any supported version, with the superuser `postgres`.
    pub fn plain(parent_dir: impl Into<PathBuf>) -> Self {
        Self {
            min_major: 13,
            parent_dir: parent_dir.into(),
            settings: Vec::new(),
            superuser: "postgres".to_owned(),
            isolation: Isolation::Plain,
            templates: None,
        }
    }

    /// Whether libraries are loaded when it starts.
    pub(super) fn preloads(&self) -> bool {
        let mut names = self.settings.iter().map(|(name, _)| name);
        names.any(|name| name == "shared_preload_libraries")
    }

    /// The port, also of the socket; another than the usual one for a server that listens.
    pub(super) fn port(&self) -> u16 {
        let port = self.settings.iter().find(|(name, _)| name == "port");
        port.and_then(|(_, value)| value.parse().ok())
            .unwrap_or(5432)
    }
}
