//! Files of this host that belong to the product: compose files, environment files, web servers.

use hubvault_config::DraftFile;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Files that are looked for wherever they are.
const OF_HOST: [&str; 6] = [
    "/etc/nginx/nginx.conf",
    "/etc/nginx/conf.d",
    "/etc/nginx/sites-enabled",
    "/etc/caddy/Caddyfile",
    "/etc/haproxy/haproxy.cfg",
    "/etc/postgresql",
];

/// What is there and can be read, of `directories` and of the host; `wanted` first, and all of it.
pub(super) fn files(directories: &[PathBuf], wanted: &[PathBuf]) -> Vec<DraftFile> {
    let mut found: Vec<DraftFile> = Vec::new();
    for path in wanted {
        add(&mut found, path, true);
    }
    for directory in directories {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| is_of_product(path)) {
            add(&mut found, path, false);
        }
    }
    for path in OF_HOST.map(Path::new) {
        add(&mut found, path, false);
    }
    found
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn is_of_product(path: &Path) -> bool {
    let name = name_of(path);
    let is = |extension: &str| path.extension().is_some_and(|it| it == extension);
    let is_yaml = is("yml") || is("yaml");
    let is_sample = ["example", "sample", "dist", "template"]
        .iter()
        .any(|end| name.ends_with(end));
    let is_compose = name.starts_with("compose.") || name.starts_with("docker-compose.");
    !is_sample
        && (is_yaml && is_compose
            || is_environment(&name)
            || name.starts_with("nginx") && is("conf")
            || name == "Caddyfile")
}

fn is_environment(name: &str) -> bool {
    name == ".env" || name.starts_with(".env.")
}

fn add(found: &mut Vec<DraftFile>, path: &Path, is_wanted: bool) {
    let is_readable = match path.metadata() {
        Ok(meta) if meta.is_dir() => fs::read_dir(path).is_ok_and(|mut all| all.next().is_some()),
        Ok(meta) => meta.is_file() && File::open(path).is_ok(),
        Err(_) => false,
    };
    // What TOML cannot say is not proposed.
    let is_text = path.to_str().is_some();
    if !is_wanted && !is_readable || !is_text || found.iter().any(|one| one.source == path) {
        return;
    }
    let plain = name_of(path);
    let parent = path.parent().map(name_of).unwrap_or_default();
    let numbered = (2..100).map(|n| format!("config/{n}-{plain}"));
    let mut names = [
        format!("config/{plain}"),
        format!("config/{parent}/{plain}"),
    ]
    .into_iter()
    .chain(numbered);
    let is_free = |name: &String| found.iter().all(|one| one.name != *name);
    let Some(name) = names.find(is_free) else {
        return;
    };
    found.push(DraftFile {
        source: path.to_owned(),
        name,
        has_secrets: is_environment(&plain),
        is_wanted,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_product_is_found_each_under_a_name_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let (here, other) = (root.path().join("a"), root.path().join("b"));
        for directory in [&here, &other] {
            fs::create_dir(directory).unwrap();
            for name in [
                ".env",
                ".env.example",
                "compose.yaml",
                "notes.txt",
                "my nginx.conf",
            ] {
                fs::write(directory.join(name), "x").unwrap();
            }
        }
        let wanted = other.join("notes.txt");
        let found = files(&[here, other.clone()], std::slice::from_ref(&wanted));
        let found: Vec<&DraftFile> = found
            .iter()
            .filter(|one| one.source.starts_with(root.path()))
            .collect();
        let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "config/notes.txt",
                "config/.env",
                "config/compose.yaml",
                "config/b/.env",
                "config/b/compose.yaml"
            ]
        );
        assert!(found[0].is_wanted && found[0].source == wanted);
        assert!(found[1].has_secrets && !found[1].is_wanted && !found[2].has_secrets);
    }
}
