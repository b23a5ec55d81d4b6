//! Reads the host's configuration files, again while they change, and packs them for the archive.

use super::file_pack::{Files, describe};
use super::file_tree::Tree;
use crate::job::{FileSource, IfMissing};
use crate::run::BackupError;
use hubvault_archive::Compression;
use hubvault_model::Warning;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads every source; a missing or unreadable one is a warning unless it is required. The directory of the archives,
/// `backups`, is left out wherever it is: each would hold those before it.
pub(crate) fn read(
    sources: &[FileSource],
    backups: &Path,
    compression: Compression,
) -> Result<Files, BackupError> {
    let places = sources.iter().filter_map(|source| {
        let real = fs::canonicalize(&source.source).ok()?;
        Some((real, source.name.clone()))
    });
    let mut files = Files {
        places: places.collect(),
        backups: fs::canonicalize(backups).ok(),
        ..Files::default()
    };
    let mut absent = Vec::new();
    for source in sources {
        let before = files.warnings.len();
        // The path that the user named may itself be a link (a Kubernetes ConfigMap is one).
        match fs::metadata(&source.source) {
            Ok(meta) if meta.is_dir() => {
                let tree = Tree::of(source, compression);
                files.tree(&tree, &source.source, &source.name, &meta)?;
                files.say_left_out(&source.source);
            }
            Ok(meta) => {
                let (path, name) = (&source.source, &source.name);
                files.plain(path, name, &meta, |path| fs::metadata(path), compression)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => match source.if_missing {
                IfMissing::Ignore => {}
                IfMissing::WarnTogether => absent.push(&source.source),
                IfMissing::Fail | IfMissing::Warn => {
                    files.warn("missing-file", &source.source, &describe(&error));
                }
            },
            Err(error) => files.warn("missing-file", &source.source, &describe(&error)),
        }
        if source.is_required() && files.warnings.len() > before {
            return Err(BackupError::RequiredFile {
                message: files.warnings[before].message.clone(),
            });
        }
    }
    files.warnings.extend(defaults_missing(&absent));
    Ok(files)
}

/// One warning for all default files that do not exist.
fn defaults_missing(absent: &[&PathBuf]) -> Option<Warning> {
    let first = absent.first()?;
    let names: Vec<String> = absent
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let what = match names.len() {
        1 => "the default file does",
        _ => "default files do",
    };
    let message = format!(
        "{what} not exist: {}; name others with [[file]] in hubvault.toml, or write `file = []`",
        names.join(", ")
    );
    Some(Warning::new("missing-file", first.display(), message))
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

    fn nowhere() -> &'static Path {
        Path::new("/nonexistent")
    }

    fn source(path: &Path, required: bool) -> FileSource {
        let if_missing = if required {
            IfMissing::Fail
        } else {
            IfMissing::Warn
        };
        FileSource {
            source: path.to_owned(),
            name: "config/x".into(),
            if_missing,
            follow: Vec::new(),
        }
    }

    #[test]
    fn a_missing_file_is_a_warning_and_a_required_one_an_error() {
        let gone = Path::new("/nonexistent/file");
        let files = read(&[source(gone, false)], nowhere(), compression()).unwrap();
        assert_eq!(files.warnings[0].code, "missing-file");
        assert!(read(&[source(gone, true)], nowhere(), compression()).is_err());
    }

    #[test]
    fn default_files_that_do_not_exist_are_one_warning_or_none() {
        let of = |if_missing| {
            let named = |name: &str| FileSource {
                if_missing,
                ..source(&Path::new("/nonexistent").join(name), false)
            };
            let files = read(&[named("a"), named("b")], nowhere(), compression()).unwrap();
            files
                .warnings
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let together = of(IfMissing::WarnTogether);
        assert_eq!(together.len(), 1, "{together:?}");
        assert!(
            together[0].contains("/nonexistent/a, /nonexistent/b"),
            "{together:?}"
        );
        assert_eq!(of(IfMissing::Warn).len(), 2);
        assert!(of(IfMissing::Ignore).is_empty());
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
        let files = read(&[source(root, false)], nowhere(), compression()).unwrap();
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
        assert_eq!(codes, ["not-a-file", "link-outside"]);
        assert!(
            files.warnings[1].message.starts_with("2 links"),
            "{:?}",
            files.warnings
        );
    }

    #[test]
    fn no_link_leads_to_the_archives() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (tree, backups) = (root.join("tree"), root.join("data/backups"));
        fs::create_dir(&tree).unwrap();
        fs::create_dir_all(&backups).unwrap();
        for (name, to) in [("itself", "../data/backups"), ("above", "../data")] {
            symlink(to, tree.join(name)).unwrap();
        }
        let source = FileSource {
            follow: vec![root.clone()],
            ..source(&tree, false)
        };
        let files = read(&[source], &backups, compression()).unwrap();
        assert_eq!(files.summaries.len(), 1, "{:?}", files.summaries);
        let said = &files.warnings[0].message;
        assert!(said.contains("archives are kept there"), "{said}");
    }

    #[test]
    fn a_tree_around_the_archives_is_taken_without_them() {
        let dir = tempfile::tempdir().unwrap();
        let backups = dir.path().join("data/backups");
        fs::create_dir_all(backups.join("deeper")).unwrap();
        for at in ["data/kept", "data/backups/archive", "data/backups/deeper/x"] {
            fs::write(dir.path().join(at), "").unwrap();
        }
        let read = |top: &Path| {
            let files = read(&[source(top, false)], &backups, compression()).unwrap();
            let names = files.summaries.into_iter().map(|file| file.name);
            (names.collect::<Vec<_>>(), files.warnings)
        };
        let (names, warnings) = read(dir.path());
        assert_eq!(names, ["config/x/", "config/x/data/", "config/x/data/kept"]);
        let said = &warnings[0].message;
        assert!(
            said.contains("data/backups is where archives are kept"),
            "{said}"
        );
        assert_eq!(read(&backups).0, [""; 0]);
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
            let files = read(&[source(&path, false)], nowhere(), compression());
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let files = files.unwrap();
            // Either it was caught between two changes and is whole, or it was left out aloud.
            assert_eq!(files.summaries.len() + files.warnings.len(), 1);
        });
    }
}
