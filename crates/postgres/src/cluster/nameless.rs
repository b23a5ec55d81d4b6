//! `initdb` by a user id that has no name, as containers have on `OpenShift`: `initdb` asks for the name and ends without
//! one. The server itself needs none.

use super::sandbox::OwnUser;
use crate::error::PgError;
use rustix::process::{getegid, geteuid};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How `initdb` gets a name.
#[derive(Clone, Debug)]
pub(super) enum Name {
    /// The system knows one.
    Known,
    /// This library answers (`nss_wrapper(1)`), from files in this directory.
    Wrapped { library: PathBuf, files: PathBuf },
    /// A user namespace in which the process has the id of a user that has a name.
    Mapped { id: u32 },
}

impl Name {
    /// What can be tried when the system knows none.
    pub(super) fn others(directory: &Path) -> Vec<Self> {
        let files = directory.to_owned();
        let wrapped = wrapper().map(|library| Self::Wrapped { library, files });
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let ids = passwd.lines().filter_map(|line| line.split(':').nth(2));
        let id = ids.filter_map(|id| id.parse().ok()).find(|id| *id != 0);
        let mapped = id.map(|id| Self::Mapped { id });
        wrapped.into_iter().chain(mapped).collect()
    }

    /// Has a command run with it.
    pub(super) fn apply(&self, command: &mut Command) -> Result<(), PgError> {
        match self {
            Self::Known => {}
            Self::Wrapped { library, files } => {
                let (user, group) = (geteuid().as_raw(), getegid().as_raw());
                let texts = [
                    (
                        "passwd",
                        format!("hubvault:x:{user}:{group}::/:/bin/false\n"),
                    ),
                    ("group", format!("hubvault:x:{group}:\n")),
                ];
                for (name, text) in texts {
                    let path = files.join(name);
                    fs::write(&path, text).map_err(|source| PgError::Io {
                        doing: "writing",
                        path: path.clone(),
                        source,
                    })?;
                    command.env(format!("NSS_WRAPPER_{}", name.to_uppercase()), path);
                }
                command.env("LD_PRELOAD", library);
            }
            Self::Mapped { id } => {
                let user = OwnUser::with_id(*id);
                // SAFETY: only system calls on values that were made before the fork.
                unsafe {
                    command.pre_exec(move || user.enter());
                }
            }
        }
        Ok(())
    }
}

/// Whether `initdb` ended because the user has no name.
pub(super) fn is_cause(error: &PgError) -> bool {
    error
        .to_string()
        .contains("could not look up effective user ID")
}

/// What to do where no way works.
pub(super) fn error() -> PgError {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    PgError::Throwaway {
        doing: "making its data".to_owned(),
        why: format!(
            "initdb needs a name for the user id {user}, which /etc/passwd does not have, and this container permits no \
             user namespaces: install libnss-wrapper (nss_wrapper), or have the container's start write a name: \
             echo 'hubvault:x:{user}:{group}::/:/bin/false' >> /etc/passwd"
        ),
    }
}

/// The library, where it is installed.
fn wrapper() -> Option<PathBuf> {
    let multiarch = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let multiarch = multiarch.map(|entry| entry.path());
    let directories = ["/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from);
    directories
        .into_iter()
        .chain(multiarch)
        .map(|directory| directory.join("libnss_wrapper.so"))
        .find(|library| library.is_file())
}
