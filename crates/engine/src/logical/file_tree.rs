//! Directories of configuration files, and what links in them lead to.
//!
//! A link that stays inside its tree is kept as it is. What another one leads to is taken beside the tree, below
//! `linked/`, if the configuration permits it, and the link then leads there. Only root and hubvault's own user may be
//! able to change anything on the way: whoever else could would choose what is read with hubvault's rights.

use super::file_pack::{Files, describe};
use crate::job::{FileSource, LINKED};
use crate::run::BackupError;
use crate::state::ownership::trusted_way;
use hubvault_archive::{Compression, EntryKind, is_entry_name};
use hubvault_model::Warning;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// A directory that is taken.
pub(super) struct Tree<'a> {
    source: &'a FileSource,
    top: &'a Path,
    /// Whether only a link leads here.
    linked: bool,
    compression: Compression,
}

/// Why a link is left out.
type Refusal = String;

impl<'a> Tree<'a> {
    /// The directory that a source names.
    pub(super) fn of(source: &'a FileSource, compression: Compression) -> Self {
        Self {
            source,
            top: &source.source,
            linked: false,
            compression,
        }
    }
}

impl Files {
    /// A directory and all below it, in the order of their names.
    pub(super) fn tree(
        &mut self,
        tree: &Tree<'_>,
        path: &Path,
        name: &str,
        meta: &Metadata,
    ) -> Result<(), BackupError> {
        let directory = format!("{name}/");
        if self.names.contains(&directory) {
            return Ok(());
        }
        if self.is_of_archives(meta) {
            self.warn(
                "archive-directory",
                path,
                "is where archives are kept: left out",
            );
            return Ok(());
        }
        let listing = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut children = match listing {
            Ok(children) => children,
            Err(error) => {
                self.warn("unreadable-file", path, &describe(&error));
                return Ok(());
            }
        };
        children.sort_by_key(fs::DirEntry::file_name);
        let (kind, compression) = (EntryKind::Directory, tree.compression);
        self.pack_bare(path, &directory, kind, None, meta, compression)?;
        for child in children {
            let path = child.path();
            let Some(name) = child.file_name().to_str().map(|n| format!("{name}/{n}")) else {
                let what = "has a name that is not UTF-8: left out";
                self.warn("odd-file-name", &path, what);
                continue;
            };
            // Whoever may write below the tree must not make an archive that no reader takes.
            if !is_entry_name(&name) {
                self.warn("odd-file-name", &path, "lies too deep: left out");
                continue;
            }
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_symlink() => self.link(tree, &path, &name, &meta)?,
                Ok(meta) if meta.is_dir() => match trusted_way(&path) {
                    Err(error) if tree.linked => {
                        self.left_out.push(format!("{} ({error})", path.display()));
                    }
                    _ => self.tree(tree, &path, &name, &meta)?,
                },
                Ok(meta) => {
                    self.plain(
                        &path,
                        &name,
                        &meta,
                        |path| fs::symlink_metadata(path),
                        compression,
                    )?;
                }
                Err(error) => self.warn("unreadable-file", &path, &describe(&error)),
            }
        }
        Ok(())
    }

    /// Whether it is the directory of the archives, however it was reached: each archive would hold those before it.
    fn is_of_archives(&self, meta: &Metadata) -> bool {
        let archives = self.backups.as_ref().and_then(|at| fs::metadata(at).ok());
        archives.is_some_and(|it| (it.dev(), it.ino()) == (meta.dev(), meta.ino()))
    }

    fn link(
        &mut self,
        tree: &Tree<'_>,
        path: &Path,
        name: &str,
        meta: &Metadata,
    ) -> Result<(), BackupError> {
        let target = match fs::read_link(path) {
            Ok(target) => target,
            Err(error) => {
                self.warn("unreadable-file", path, &describe(&error));
                return Ok(());
            }
        };
        let kept = match target.to_str() {
            Some(text) if stays_inside(tree.top, path, &target) => Ok(text.to_owned()),
            _ => self.lead(tree, path)?.map(|to| relative(name, &to)),
        };
        match kept {
            Ok(link) => {
                let link = Some(link);
                self.pack_bare(path, name, EntryKind::Link, link, meta, tree.compression)
            }
            Err(why) => {
                let (path, target) = (path.display(), target.display());
                self.left_out.push(format!("{path} -> {target} ({why})"));
                Ok(())
            }
        }
    }

    /// The name of what a link leads to in the archive, where it is taken if it is not there yet.
    fn lead(
        &mut self,
        tree: &Tree<'_>,
        link: &Path,
    ) -> Result<Result<String, Refusal>, BackupError> {
        let real = match fs::canonicalize(link) {
            Ok(real) => real,
            Err(error) => return Ok(Err(format!("what it leads to {}", describe(&error)))),
        };
        if let Some(name) = self.name_of(&real) {
            return Ok(Ok(name));
        }
        if let Some(backups) = &self.backups
            && (real.starts_with(backups) || backups.starts_with(&real))
        {
            return Ok(Err("archives are kept there".to_owned()));
        }
        let mut roots = tree.source.roots();
        if !roots.any(|root| real.starts_with(root)) {
            let around = real.parent().unwrap_or(&real).display();
            return Ok(Err(format!(
                "outside; to take it, add follow = [\"{around}\"] to its [[file]]"
            )));
        }
        match trusted_way(link) {
            Ok(way) if way == real => self.take(tree, &real),
            Ok(_) => Ok(Err("it was changed meanwhile".to_owned())),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// The name of a path in the archive, if it is a source's or below one.
    fn name_of(&self, real: &Path) -> Option<String> {
        let around = self.places.iter();
        let around = around.filter(|(place, _)| real.starts_with(place));
        let (place, name) = around.max_by_key(|(place, _)| place.components().count())?;
        let below = real.strip_prefix(place).ok()?.to_str()?;
        Some(format!("{name}/{below}").trim_end_matches('/').to_owned())
    }

    fn take(
        &mut self,
        tree: &Tree<'_>,
        real: &Path,
    ) -> Result<Result<String, Refusal>, BackupError> {
        let meta = match fs::symlink_metadata(real) {
            Ok(meta) => meta,
            Err(error) => return Ok(Err(format!("what it leads to {}", describe(&error)))),
        };
        let Some(name) = real.to_str().map(|path| format!("{LINKED}{path}")) else {
            return Ok(Err("its name is not UTF-8".to_owned()));
        };
        if !is_entry_name(&name) {
            return Ok(Err("it lies too deep".to_owned()));
        }
        if meta.is_dir() {
            if self.places.iter().any(|(place, _)| place.starts_with(real)) {
                return Ok(Err(
                    "a directory around files of the configuration".to_owned()
                ));
            }
            let linked = Tree {
                top: real,
                linked: true,
                ..*tree
            };
            self.tree(&linked, real, &name, &meta)?;
        } else {
            let look = |path: &Path| fs::symlink_metadata(path);
            self.plain(real, &name, &meta, look, tree.compression)?;
        }
        let is_taken = self.names.contains(&name) || self.names.contains(&format!("{name}/"));
        Ok(is_taken
            .then_some(name)
            .ok_or_else(|| "what it leads to is left out".to_owned()))
    }

    /// One warning for all links of a source.
    pub(super) fn say_left_out(&mut self, source: &Path) {
        let all = std::mem::take(&mut self.left_out);
        let [first, rest @ ..] = all.as_slice() else {
            return;
        };
        let source = source.display();
        let message = match rest.len() {
            0 => format!("1 link of {source} is left out: {first}"),
            n => format!(
                "{} links of {source} are left out: {first}, and {n} more",
                n + 1
            ),
        };
        self.warnings
            .push(Warning::new("link-outside", source, message));
    }
}

/// The way from a link to a path; both are names in the archive.
fn relative(link: &str, to: &str) -> String {
    let mut from: Vec<&str> = link.split('/').collect();
    from.pop();
    let to: Vec<&str> = to.split('/').collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut parts = vec![".."; from.len() - shared];
    parts.extend(&to[shared..]);
    if parts.is_empty() {
        return ".".to_owned();
    }
    parts.join("/")
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

    #[test]
    fn a_link_leads_from_where_it_is() {
        for (link, to, way) in [
            (
                "config/ssl/live/key",
                "linked/etc/key",
                "../../../linked/etc/key",
            ),
            ("config/ssl/up", "config/ssl", "."),
            ("config/ssl/a/up", "config/ssl", ".."),
            ("config/ssl/a/x", "config/ssl/b/x", "../b/x"),
            ("x", "y", "y"),
        ] {
            assert_eq!(relative(link, to), way);
        }
    }
}
