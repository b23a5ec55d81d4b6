//! Clusters that `initdb` made once. A drill's server gets a copy: `initdb` takes longer than the drill of a small archive.
//!
//! `<directory>/<key>/` holds `data`, as `initdb` left it, and `made`: the superuser, its password and the digest of all
//! files. The key stands for everything that `initdb` looks at. What was changed since is found by the digest, thrown away
//! and made again. No other user reaches the directory, and no server ever runs in it.

use super::cluster_copy::{copy, give};
use super::kept_room::{NEW, has_room, make_room, open_own, remove};
use super::nofollow::{bytes_below, create, empty, open_directory, random_name, read_small};
use super::user::ServerUser;
use crate::dump::tools::Tool;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustix::fs::{Mode, mkdirat, renameat};
use rustix::process::geteuid;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Changes with what is stored.
const FORMAT: &str = "2";
const DATA: &str = "data";
const MADE: &str = "made";

/// Where clusters are kept, and which one is meant.
pub(super) struct Templates {
    directory: PathBuf,
    key: String,
}

/// The superuser of a copied cluster, as the next connection needs it.
pub(super) struct Superuser {
    pub(super) name: String,
    pub(super) password: SecretString,
}

impl Templates {
    /// Those of `directory`, for a server of these programs in this environment.
    pub(super) fn of(
        directory: &Path,
        postgres: &Tool,
        environment: &[(String, String)],
    ) -> io::Result<Self> {
        let mut key = Sha256::new();
        let mut add = |what: &str| {
            key.update((what.len() as u64).to_le_bytes());
            key.update(what);
        };
        add(FORMAT);
        add(&postgres.version);
        let initdb = postgres.path.with_file_name("initdb");
        for file in [&postgres.path, &initdb] {
            let meta = fs::metadata(file)?;
            add(&file.display().to_string());
            add(&format!("{} {} {}", meta.ino(), meta.len(), changed(&meta)));
        }
        // Locales, collations' versions and the time zone come from here.
        for place in hosts_places() {
            let seen = fs::metadata(&place).map_or(String::new(), |meta| changed(&meta));
            add(&place.display().to_string());
            add(&seen);
        }
        for (name, value) in environment.iter().filter(|(name, _)| name != "TMPDIR") {
            add(name);
            add(value);
        }
        Ok(Self {
            directory: directory.to_owned(),
            key: format!(
                "{}-{}",
                postgres.major,
                BASE64_URL_SAFE_NO_PAD.encode(key.finalize())
            ),
        })
    }

    /// Copies the cluster into a server's empty directory for its data, and gives it to `user`. `None` when there is none.
    /// One that is not as it was made is removed.
    pub(super) fn copy_to(
        &self,
        data: &OwnedFd,
        user: Option<ServerUser>,
    ) -> io::Result<Option<Superuser>> {
        let Some(directory) = open_own(&self.directory)? else {
            return Ok(None);
        };
        let cluster = match open_directory(&directory, self.key.as_str()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A file is in the way.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                remove(&directory, &self.key)?;
                return Ok(None);
            }
            opened => opened?,
        };
        let copied = copy_made(&cluster, data, user);
        if let Err(error) = &copied {
            tracing::debug!(
                "the empty cluster in {} is made again: {error}",
                self.directory.display()
            );
            empty(data.as_fd())?;
            remove(&directory, &self.key)?;
        }
        Ok(copied.ok())
    }

    /// Where they are kept.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes the cluster, which proved useless.
    pub(super) fn discard(&self) -> io::Result<()> {
        match open_own(&self.directory)? {
            Some(directory) => remove(&directory, &self.key),
            None => Ok(()),
        }
    }

    /// Keeps what `initdb` made in `data`, and no server has used yet.
    pub(super) fn keep(&self, data: &OwnedFd, superuser: &Superuser) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let Some(directory) = open_own(&self.directory)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if !has_room(&directory, bytes_below(data))? {
            return Err(io::Error::other(
                "the disk has too little free space for it",
            ));
        }
        make_room(&directory)?;
        let name = format!("{NEW}{}", random_name(8)?);
        mkdirat(&directory, &name, Mode::RWXU)?;
        let kept = write(&directory, &name, data, superuser)
            .and_then(|()| Ok(renameat(&directory, &name, &directory, &self.key)?));
        if kept.is_err() {
            remove(&directory, &name)?;
        }
        match kept {
            // Another drill was first.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            kept => kept,
        }
    }
}

/// When a file or directory was changed.
fn changed(meta: &fs::Metadata) -> String {
    format!("{}.{}", meta.mtime(), meta.mtime_nsec())
}

/// Files and directories that change with the host's locales, libraries and time zone.
fn hosts_places() -> Vec<PathBuf> {
    let fixed = [
        "/etc/localtime",
        "/etc/timezone",
        "/usr/lib/locale",
        "/usr/lib/locale/locale-archive",
        "/usr/share/i18n/locales",
        "/usr/share/zoneinfo",
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
    ];
    let mut places: Vec<PathBuf> = fixed.map(PathBuf::from).into();
    // Debian's libraries: `/usr/lib/x86_64-linux-gnu`.
    let below = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut below: Vec<PathBuf> = below
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("-linux-"))
        .collect();
    below.sort();
    places.append(&mut below);
    places
}

fn write(directory: &OwnedFd, name: &str, data: &OwnedFd, superuser: &Superuser) -> io::Result<()> {
    let cluster = open_directory(directory, name)?;
    mkdirat(&cluster, DATA, Mode::RWXU)?;
    let digest = copy(data, &open_directory(&cluster, DATA)?, None)?;
    let password = superuser.password.expose_secret();
    let made = format!("{}\n{password}\n{digest}\n", superuser.name);
    create(&cluster, MADE)?.write_all(made.as_bytes())
}

fn copy_made(cluster: &OwnedFd, data: &OwnedFd, user: Option<ServerUser>) -> io::Result<Superuser> {
    let made = read_small(cluster, MADE, &[geteuid().as_raw()])?;
    let mut lines = made.lines();
    let mut line = || {
        let missing = || io::Error::other("its description is cut off");
        lines.next().ok_or_else(missing)
    };
    let (name, password, digest) = (line()?.to_owned(), SecretString::from(line()?), line()?);
    if copy(&open_directory(cluster, DATA)?, data, user)? != digest {
        return Err(io::Error::other("its files were changed"));
    }
    // Only now: initdb could not use it.
    give(data, user)?;
    Ok(Superuser { name, password })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kept_room::{KEPT, remove_empty_clusters};
    use rustix::fs::CWD;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tool() -> Tool {
        Tool {
            path: std::env::current_exe().unwrap(),
            major: 15,
            version: "15.1".to_owned(),
        }
    }

    /// What stands for a cluster, and templates of programs that lie in a directory.
    fn made(root: &Path) -> (OwnedFd, Templates) {
        let (data, programs) = (root.join("made by initdb"), root.join("bin"));
        fs::create_dir_all(data.join("base/1")).unwrap();
        fs::write(data.join("PG_VERSION"), "15\n").unwrap();
        fs::write(data.join("base/1/empty"), "").unwrap();
        let mut segment = vec![0; 1 << 20];
        segment[300_000] = 7;
        fs::write(data.join("base/1/wal"), segment).unwrap();
        fs::create_dir(&programs).unwrap();
        for name in ["initdb", "postgres"] {
            fs::write(programs.join(name), name).unwrap();
        }
        let tool = Tool {
            path: programs.join("postgres"),
            ..tool()
        };
        let templates = Templates::of(&root.join("kept"), &tool, &[]).unwrap();
        (open_directory(CWD, &data).unwrap(), templates)
    }

    fn superuser() -> Superuser {
        Superuser {
            name: "first".to_owned(),
            password: SecretString::from("secret"),
        }
    }

    fn copied(templates: &Templates, root: &Path, name: &str) -> Option<(PathBuf, Superuser)> {
        let to = root.join(name);
        fs::create_dir(&to).unwrap();
        let opened = open_directory(CWD, &to).unwrap();
        let superuser = templates.copy_to(&opened, None).unwrap()?;
        Some((to, superuser))
    }

    #[test]
    fn a_copy_is_what_was_made_and_holes_stay_holes() {
        let root = tempfile::tempdir().unwrap();
        let (data, templates) = made(root.path());
        assert!(copied(&templates, root.path(), "none yet").is_none());
        templates.keep(&data, &superuser()).unwrap();
        // A second drill that made one at the same time.
        templates.keep(&data, &superuser()).unwrap();
        let (to, first) = copied(&templates, root.path(), "a").unwrap();
        assert_eq!(
            (first.name.as_str(), first.password.expose_secret()),
            ("first", "secret")
        );
        let wal = fs::metadata(to.join("base/1/wal")).unwrap();
        assert!(
            wal.len() == 1 << 20 && wal.blocks() * 512 < 1 << 18,
            "{wal:?}"
        );
        assert_eq!(fs::read(to.join("base/1/wal")).unwrap()[300_000], 7);
        assert_eq!(fs::read(to.join("PG_VERSION")).unwrap(), b"15\n");
        assert!(to.join("base/1/empty").exists());
        let kept: Vec<_> = fs::read_dir(root.path().join("kept")).unwrap().collect();
        assert_eq!(kept.len(), 1);
    }

    #[test]
    fn what_was_changed_is_not_used_and_goes() {
        for (number, change) in [
            |at: &Path| fs::write(at.join("data/PG_VERSION"), "16\n").unwrap(),
            |at: &Path| fs::write(at.join("data/base/1/more"), "").unwrap(),
            |at: &Path| fs::remove_file(at.join("data/base/1/empty")).unwrap(),
            |at: &Path| fs::write(at.join("made"), "first\nsecret\n").unwrap(),
            |at: &Path| symlink("/etc/passwd", at.join("data/base/1/link")).unwrap(),
            |at: &Path| {
                fs::remove_dir_all(at.join("data")).unwrap();
                symlink("/etc", at.join("data")).unwrap();
            },
        ]
        .into_iter()
        .enumerate()
        {
            let root = tempfile::tempdir().unwrap();
            let (data, templates) = made(root.path());
            templates.keep(&data, &superuser()).unwrap();
            let at = root.path().join("kept").join(&templates.key);
            change(&at);
            assert!(
                copied(&templates, root.path(), "a").is_none(),
                "change {number}"
            );
            assert_eq!(
                fs::read_dir(root.path().join("a")).unwrap().count(),
                0,
                "change {number}"
            );
            assert!(!at.exists(), "change {number}");
        }
    }

    #[test]
    fn a_directory_that_others_enter_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let (data, templates) = made(root.path());
        templates.keep(&data, &superuser()).unwrap();
        let kept = root.path().join("kept");
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(templates.copy_to(&data, None).is_err());
        assert!(templates.keep(&data, &superuser()).is_err());
        fs::rename(&kept, root.path().join("elsewhere")).unwrap();
        symlink(root.path().join("elsewhere"), &kept).unwrap();
        assert!(templates.keep(&data, &superuser()).is_err());
    }

    #[test]
    fn other_programs_get_another_cluster_and_the_oldest_go() {
        let root = tempfile::tempdir().unwrap();
        let (data, templates) = made(root.path());
        let kept = root.path().join("kept");
        templates.keep(&data, &superuser()).unwrap();
        fs::create_dir(kept.join("new-left")).unwrap();
        for length in 1..=KEPT {
            let programs = root.path().join("bin/initdb");
            fs::write(&programs, "x".repeat(100 + length)).unwrap();
            let tool = Tool {
                path: programs.with_file_name("postgres"),
                ..tool()
            };
            let newer = Templates::of(&kept, &tool, &[]).unwrap();
            assert_ne!(newer.key, templates.key);
            newer.keep(&data, &superuser()).unwrap();
        }
        assert!(!kept.join(&templates.key).exists());
        let left = fs::read_dir(&kept).unwrap().count();
        assert_eq!(
            left,
            KEPT + 1,
            "with the one that somebody may still be making"
        );
    }

    #[test]
    fn it_gives_way_to_backups_and_a_file_gives_way_to_it() {
        let root = tempfile::tempdir().unwrap();
        let (data, templates) = made(root.path());
        let kept = root.path().join("kept");
        let at = kept.join(&templates.key);
        let opened = open_directory(CWD, root.path()).unwrap();
        assert!(has_room(&opened, 1).unwrap());
        assert!(!has_room(&opened, u64::MAX / 4).unwrap());
        templates.keep(&data, &superuser()).unwrap();
        fs::write(kept.join("somebody's"), "").unwrap();
        remove_empty_clusters(&kept).unwrap();
        assert!(!at.exists());
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 1);
        fs::write(&at, "in the way").unwrap();
        assert!(copied(&templates, root.path(), "a").is_none());
        templates.keep(&data, &superuser()).unwrap();
        assert!(at.is_dir());
        assert!(copied(&templates, root.path(), "b").is_some());
        remove_empty_clusters(&root.path().join("nowhere")).unwrap();
    }
}
