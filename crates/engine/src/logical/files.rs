//! Reads the host's configuration files, again while they change, and packs them for the archive.

use super::file_entry::{MEMORY, ReadError, ReadFile, entry_meta, read_once, summary};
use crate::job::FileSource;
use crate::run::BackupError;
use hubvault_archive::{Compression, EntryBuilder, EntryKind, FileSummary, PackedEntry};
use hubvault_model::{ByteSize, Warning};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How often reading a changing file is tried again.
const TRIES: u32 = 10;
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The files of a run, packed, and warnings about them.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) packed: Vec<PackedEntry>,
    pub(crate) summaries: Vec<FileSummary>,
    pub(crate) warnings: Vec<Warning>,
    stored: u64,
}

/// Reads every source; a missing or unreadable one is a warning unless it is required.
pub(crate) fn read(sources: &[FileSource], compression: Compression) -> Result<Files, BackupError> {
    let mut files = Files::default();
    for source in sources {
        let before = files.warnings.len();
        // The path that the user named may itself be a link (a Kubernetes ConfigMap is one).
        match fs::metadata(&source.source) {
            Ok(meta) if meta.is_dir() => {
                files.tree(source, &source.source, &source.name, &meta, compression)?;
            }
            Ok(meta) => files.plain(&source.source, &source.name, &meta, compression)?,
            Err(error) => files.warn("missing-file", &source.source, &describe(&error)),
        }
        if source.required && files.warnings.len() > before {
            return Err(BackupError::RequiredFile {
                message: files.warnings[before].message.clone(),
            });
        }
    }
    Ok(files)
}

fn describe(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "does not exist".to_owned()
    } else {
        format!("cannot be read ({error})")
    }
}

impl Files {
    fn warn(&mut self, code: &str, path: &Path, what: &str) {
        let message = format!("file {} {what}", path.display());
        self.warnings
            .push(Warning::new(code, path.display(), message));
    }

    /// A directory and all below it, in the order of their names.
    fn tree(
        &mut self,
        source: &FileSource,
        path: &Path,
        name: &str,
        meta: &Metadata,
        compression: Compression,
    ) -> Result<(), BackupError> {
        let listing = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut children = match listing {
            Ok(children) => children,
            Err(error) => {
                self.warn("unreadable-file", path, &describe(&error));
                return Ok(());
            }
        };
        children.sort_by_key(fs::DirEntry::file_name);
        self.pack_bare(
            path,
            &format!("{name}/"),
            EntryKind::Directory,
            None,
            meta,
            compression,
        )?;
        for child in children {
            let path = child.path();
            let Some(child_name) = child.file_name().to_str().map(|n| format!("{name}/{n}")) else {
                self.warn(
                    "odd-file-name",
                    &path,
                    "has a name that is not UTF-8: left out",
                );
                continue;
            };
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_symlink() => {
                    self.link(source, &path, &child_name, &meta, compression)?;
                }
                Ok(meta) if meta.is_dir() => {
                    self.tree(source, &path, &child_name, &meta, compression)?;
                }
                Ok(meta) => self.plain(&path, &child_name, &meta, compression)?,
                Err(error) => self.warn("unreadable-file", &path, &describe(&error)),
            }
        }
        Ok(())
    }

    /// A link is kept as a link when it stays inside the tree, and is never followed.
    fn link(
        &mut self,
        source: &FileSource,
        path: &Path,
        name: &str,
        meta: &Metadata,
        compression: Compression,
    ) -> Result<(), BackupError> {
        let target = match fs::read_link(path) {
            Ok(target) => target,
            Err(error) => {
                self.warn("unreadable-file", path, &describe(&error));
                return Ok(());
            }
        };
        match target.to_str() {
            Some(text) if stays_inside(&source.source, path, &target) => {
                let link = Some(text.to_owned());
                self.pack_bare(path, name, EntryKind::Link, link, meta, compression)
            }
            _ => {
                let what = format!("links to {}, outside its tree: left out", target.display());
                self.warn("link-outside", path, &what);
                Ok(())
            }
        }
    }

    fn plain(
        &mut self,
        path: &Path,
        name: &str,
        meta: &Metadata,
        compression: Compression,
    ) -> Result<(), BackupError> {
        let kind = meta.file_type();
        if !kind.is_file() {
            let what = if kind.is_socket() {
                "is a socket: left out"
            } else if kind.is_fifo() {
                "is a pipe: left out"
            } else {
                "is a device: left out"
            };
            self.warn("not-a-file", path, what);
            return Ok(());
        }
        for _ in 0..TRIES {
            match read_once(path, compression) {
                Ok(Some(read)) => return self.keep(path, name, read),
                Ok(None) => sleep(PAUSE),
                Err(ReadError::Io(error)) => {
                    self.warn("unreadable-file", path, &describe(&error));
                    return Ok(());
                }
                Err(ReadError::TooLarge) => {
                    let what = format!(
                        "is too large for a configuration file (over {} compressed): left out",
                        ByteSize(MEMORY)
                    );
                    self.warn("large-file", path, &what);
                    return Ok(());
                }
                Err(ReadError::Archive(error)) => return Err(error.into()),
            }
        }
        self.warn(
            "changing-file",
            path,
            "kept changing while it was read: left out",
        );
        Ok(())
    }

    fn keep(&mut self, path: &Path, name: &str, read: ReadFile) -> Result<(), BackupError> {
        let stored = read.builder.stored_bytes();
        if self.stored + stored > MEMORY {
            let what = format!(
                "does not fit: all files may take {} compressed",
                ByteSize(MEMORY)
            );
            self.warn("large-file", path, &what);
            return Ok(());
        }
        self.stored += stored;
        let meta = entry_meta(name, EntryKind::Config, None, &read.meta);
        self.summaries.push(FileSummary {
            bytes: read.builder.raw_bytes(),
            sha256: Some(read.sha256),
            ..summary(path, &meta, &read.meta)
        });
        self.packed.push(read.builder.finish(meta)?);
        Ok(())
    }

    fn pack_bare(
        &mut self,
        path: &Path,
        name: &str,
        kind: EntryKind,
        link: Option<String>,
        meta: &Metadata,
        compression: Compression,
    ) -> Result<(), BackupError> {
        let entry = entry_meta(name, kind, link, meta);
        self.summaries.push(summary(path, &entry, meta));
        self.packed
            .push(EntryBuilder::new(compression).finish(entry)?);
        Ok(())
    }
}

/// Whether a link at `link` to `target` leads to a path below `root`, judging by the text alone.
fn stays_inside(root: &Path, link: &Path, target: &Path) -> bool {
    if target.is_absolute() {
        return false;
    }
    let Some(inside) = link.parent().and_then(|p| p.strip_prefix(root).ok()) else {
        return false;
    };
    let mut place = PathBuf::from(inside);
    for part in target.components() {
        match part {
            Component::Normal(name) => place.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !place.pop() {
                    return false;
                }
            }
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_archive::Codec;
    use std::os::unix::fs::symlink;

    fn compression() -> Compression {
        Compression {
            codec: Codec::Gzip,
            level: 1,
        }
    }

    fn source(path: &Path, required: bool) -> FileSource {
        FileSource {
            source: path.to_owned(),
            name: "config/x".into(),
            required,
        }
    }

    #[test]
    fn a_missing_file_is_a_warning_and_a_required_one_an_error() {
        let gone = Path::new("/nonexistent/file");
        let files = read(&[source(gone, false)], compression()).unwrap();
        assert_eq!(files.warnings[0].code, "missing-file");
        assert!(read(&[source(gone, true)], compression()).is_err());
    }

    #[test]
    fn links_stay_inside_and_sockets_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("live")).unwrap();
        fs::write(root.join("key.pem"), "secret").unwrap();
        symlink("../key.pem", root.join("live/key.pem")).unwrap();
        symlink("../../etc/passwd", root.join("live/up.pem")).unwrap();
        symlink("/etc/passwd", root.join("passwd")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("sock")).unwrap();
        let files = read(&[source(root, false)], compression()).unwrap();
        let names: Vec<&str> = files.summaries.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "config/x/",
                "config/x/key.pem",
                "config/x/live/",
                "config/x/live/key.pem"
            ]
        );
        let codes: Vec<&str> = files.warnings.iter().map(|w| w.code.as_str()).collect();
        assert_eq!(codes, ["link-outside", "link-outside", "not-a-file"]);
    }

    #[test]
    fn a_file_that_never_holds_still_is_left_out_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busy");
        fs::write(&path, "start").unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 0u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    n += 1;
                    let next = dir.path().join("next");
                    fs::write(&next, format!("{n}").repeat(200_000)).unwrap();
                    fs::rename(&next, &path).unwrap();
                }
            });
            let files = read(&[source(&path, false)], compression());
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let files = files.unwrap();
            // Either it was caught between two changes and is whole, or it was left out aloud.
            assert_eq!(files.summaries.len() + files.warnings.len(), 1);
        });
    }
}
