//! Files inside a crate or a wing: `lib.rs` and `mod.rs` list modules in the order of the flow, and a file imports only
//! siblings that are listed before it. `mod.rs` itself may import all of its own, and they what it defines.
//!
//! The engine and the binary list their wings from the top down; what these may import is checked by their floors.

use super::{CRATES, code, crates, sources};
use std::collections::BTreeMap;
use std::path::Path;

/// Wings whose files still import one another both ways. The list only shrinks.
const UNORDERED: &[&str] = &[];

/// Crates whose own list of modules is of wings.
const WITH_FLOORS: &[&str] = &["engine", "hubvault"];

/// A module by its path below the crate, such as `["cluster", "sandbox"]`; the crate itself is empty.
type Module = Vec<String>;

/// What one source file says about modules.
#[derive(Default)]
struct Source {
    /// Its own modules, in the order of the file.
    modules: Vec<String>,
    /// Names that its `use` lines bring in, with their paths.
    names: BTreeMap<String, Vec<String>>,
    /// Every path that begins with `crate` or `super`.
    paths: Vec<Vec<String>>,
}

fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if !first.is_whitespace() {
            found.push(token);
        }
        rest = after;
    }
    found
}

/// The paths of the tree of names that `tokens` begin with, such as `a::{b, c::D as E}`, and how many tokens it has.
fn tree(tokens: &[&str]) -> (Vec<Vec<String>>, usize) {
    let mut path: Vec<String> = Vec::new();
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(&"{") => {
                let mut paths = Vec::new();
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    let (below, taken) = tree(&tokens[at..]);
                    paths.extend(below.into_iter().map(|end| [path.clone(), end].concat()));
                    // At least the comma, or whatever is no name.
                    at += taken.max(1);
                }
                return (paths, at + 1);
            }
            Some(word) if word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
                path.push((*word).to_owned());
                at += 1;
            }
            _ => return (vec![path], at),
        }
        if tokens.get(at) == Some(&"as") {
            at += 2;
        }
        if tokens.get(at) != Some(&"::") {
            return (vec![path], at);
        }
        at += 1;
    }
}

fn read(path: &Path) -> Source {
    let code = code(path);
    let tokens = tokens(&code);
    let mut source = Source::default();
    for at in 0..tokens.len() {
        match tokens[at] {
            "mod" if tokens.get(at + 2) == Some(&";") => {
                source.modules.push(tokens[at + 1].to_owned());
            }
            "use" => {
                for path in tree(&tokens[at + 1..]).0 {
                    let name = path.last().cloned().unwrap_or_default();
                    source.names.insert(name, path);
                }
            }
            "crate" | "super" if at == 0 || tokens[at - 1] != "::" => {
                source.paths.extend(tree(&tokens[at..]).0);
            }
            _ => {}
        }
    }
    source
}

/// All source files of a crate by their modules.
fn modules(tree: &Path) -> BTreeMap<Module, Source> {
    let mut found = BTreeMap::new();
    for path in sources(tree) {
        let inside = path.strip_prefix(tree).unwrap().with_extension("");
        let mut module: Module = inside
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if ["lib", "main", "mod"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        found.insert(module, read(&path));
    }
    found
}

/// The module that a path names, seen from `from`: as far as it goes through modules, and where it ends at a name that
/// another module only passes on, that one.
fn resolve(all: &BTreeMap<Module, Source>, from: &[String], path: &[String], depth: u8) -> Module {
    let mut module = from.to_vec();
    let mut rest = path;
    if rest.first().is_some_and(|first| first == "crate") {
        module.clear();
        rest = &rest[1..];
    }
    while rest.first().is_some_and(|first| first == "super") {
        module.pop();
        rest = &rest[1..];
    }
    for name in rest {
        let Some(source) = all.get(&module) else {
            break;
        };
        if source.modules.contains(name) {
            module.push(name.clone());
            continue;
        }
        let passed_on = source.names.get(name).filter(|path| {
            let first = path.first().map_or("", String::as_str);
            depth < 5 && (first == "crate" || source.modules.iter().any(|own| own == first))
        });
        return match passed_on {
            Some(path) => resolve(all, &module, path, depth + 1),
            None => module,
        };
    }
    module
}

/// Imports of siblings that are not listed before the file that imports them.
fn upward(name: &str) -> Vec<(String, String)> {
    let all = modules(&crates().join(name).join("src"));
    let mut found = Vec::new();
    for (module, source) in &all {
        for path in &source.paths {
            let target = resolve(&all, module, path, 0);
            let common = (module.iter().zip(&target))
                .take_while(|(a, b)| a == b)
                .count();
            let (Some(from), Some(to)) = (module.get(common), target.get(common)) else {
                continue;
            };
            if common == 0 && WITH_FLOORS.contains(&name) {
                continue;
            }
            let wing = &module[..common];
            let listed = |module| all[wing].modules.iter().position(|other| other == module);
            if listed(from) < listed(to) {
                let wing = std::iter::once(name.to_owned()).chain(wing.iter().cloned());
                let wing = wing.collect::<Vec<_>>().join("/");
                found.push((
                    wing,
                    format!("{} imports {}", module.join("/"), target.join("/")),
                ));
            }
        }
    }
    found
}

#[test]
fn a_file_imports_only_siblings_that_are_listed_before_it() {
    let found: Vec<(String, String)> = CRATES.iter().flat_map(|(name, _)| upward(name)).collect();
    let is_open = |wing: &str| UNORDERED.contains(&wing);
    let wrong: Vec<String> = found
        .iter()
        .filter(|(wing, _)| !is_open(wing))
        .map(|(wing, what)| format!("{wing}: {what}, which is listed after it"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for wing in UNORDERED {
        let is_needed = found.iter().any(|(other, _)| other == wing);
        assert!(
            is_needed,
            "{wing} is in order now: remove it from UNORDERED"
        );
    }
}
