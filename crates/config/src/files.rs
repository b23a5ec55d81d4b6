//! `[[file]]`: files and directories of the host that go into the archive.

use super::default_scope::DefaultScope;
use super::document::Document;
use super::problem::Problem;
use super::setting::{DEFAULT, WithOrigin};
use super::table::Table;
use hubvault_engine::job::{FileSource, IfMissing, LINKED, may_follow};
use std::path::{Component, Path, PathBuf};

/// The shell scripts' files, in the configuration directory.
const FILES: [&str; 4] = [
    ".env.production",
    "docker-compose.prod.yml",
    "nginx.prod.conf",
    "ssl",
];

const FOLLOW: &str =
    "expected directories such as [\"/etc/letsencrypt\"], true for config_dir, or false";

/// Reads the files; the default ones where the file does not mention files.
pub(crate) fn files(
    document: &Document,
    config_dir: &Path,
    defaults: DefaultScope,
    problems: &mut Vec<Problem>,
) -> Vec<WithOrigin<FileSource>> {
    let Some(all) = document.array("file") else {
        let if_missing = match defaults {
            DefaultScope::Whole => return Vec::new(),
            DefaultScope::BashSystem => IfMissing::WarnTogether,
            DefaultScope::BashSystemWithFile => IfMissing::Ignore,
        };
        let default = |name: &&str| WithOrigin {
            value: FileSource {
                source: config_dir.join(name),
                name: format!("config/{name}"),
                if_missing,
                follow: follow_default(config_dir),
            },
            origin: DEFAULT.to_owned(),
        };
        return FILES.iter().map(default).collect();
    };
    let mut files: Vec<WithOrigin<FileSource>> = Vec::new();
    for fields in all {
        let known = &["source", "name", "required", "follow"];
        let mut table = Table::new("file", document, fields, known, problems);
        let source = table.required("source", "expected the path of a file or directory");
        let Some(source) = source.map(PathBuf::from) else {
            continue;
        };
        let name = table.text("name").unwrap_or_else(|| name_of(&source));
        if let Err(what) = check_name(&name) {
            table.problem("name", what);
        }
        if let Some(other) = files.iter().find(|other| other.value.name == name) {
            let what = format!(
                "{name:?} is also the name of another file ({})",
                other.origin
            );
            table.problem("name", what);
        }
        let if_missing = match table.flag("required") {
            Some(true) => IfMissing::Fail,
            _ => IfMissing::Warn,
        };
        let follow = follow(&mut table, config_dir);
        files.push(table.located(FileSource {
            source: config_dir.join(source),
            name,
            if_missing,
            follow,
        }));
    }
    files
}

/// Links into the configuration directory are followed, unless it is one that holds all and sundry.
fn follow_default(config_dir: &Path) -> Vec<PathBuf> {
    let root = Some(config_dir).filter(|root| may_follow(root));
    root.map(Path::to_owned).into_iter().collect()
}

fn follow(table: &mut Table<'_>, config_dir: &Path) -> Vec<PathBuf> {
    let Some(roots) = table.switch_or_list("follow", FOLLOW) else {
        return follow_default(config_dir);
    };
    let roots: Vec<PathBuf> = match roots {
        Ok(true) => vec![config_dir.to_owned()],
        Ok(false) => Vec::new(),
        Err(roots) => roots.iter().map(|root| config_dir.join(root)).collect(),
    };
    for root in roots.iter().filter(|root| !may_follow(root)) {
        let what = format!("links into {} are never followed; {FOLLOW}", root.display());
        table.problem("follow", what);
    }
    roots
}

fn name_of(source: &Path) -> String {
    let last = source
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    format!("config/{}", last.unwrap_or_default())
}

/// A relative path that cannot leave the directory where the archive is unpacked, nor fall among
/// hubvault's own entries.
fn check_name(name: &str) -> Result<(), String> {
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain || name.ends_with('/') {
        return Err(format!(
            "expected a relative path such as config/nginx.conf, not {name:?}"
        ));
    }
    let first = name.split('/').next().unwrap_or_default();
    let own = [
        "database",
        LINKED,
        "BACKUP_INFO.txt",
        "restore.sh",
        "manifest.json",
    ];
    if own.contains(&first) {
        return Err(format!(
            "{first} is hubvault's own; choose another name, such as config/{name}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_never_followed_into_everything() {
        for good in ["/etc/letsencrypt", "/config", "/var/run/secrets/tls"] {
            assert!(may_follow(Path::new(good)), "{good}");
        }
        for bad in [
            "/", "/etc", "/etc/", "/proc/1", "/sys", "/dev/shm", "", "ssl",
        ] {
            assert!(!may_follow(Path::new(bad)), "{bad}");
        }
    }

    #[test]
    fn names_stay_inside_the_archive() {
        for good in ["config/ssl", "config/.env", "x", "config/a b/c"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "config/../../x",
            "config/",
            "database/x",
            "linked/x",
            "restore.sh",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
