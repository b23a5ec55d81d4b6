//! What `pg_dump --schema-only` says of a database, object by object.

use std::collections::{BTreeMap, BTreeSet};

/// The objects by name, kind and schema; several have the same where functions are overloaded.
pub(crate) type Definitions = BTreeMap<String, Vec<String>>;

/// Kinds that lie in a tablespace or have an access method.
const PLACED: [&str; 4] = ["TABLE", "INDEX", "MATERIALIZED VIEW", "CONSTRAINT"];

/// Takes a dump's text apart.
pub(crate) fn definitions(dump: &str) -> Definitions {
    let mut found = Definitions::new();
    let (mut tablespace, mut method) = ("", "");
    for block in dump.split("\n--\n-- ").skip(1) {
        let (title, text) = block.split_once('\n').unwrap_or((block, ""));
        let is_placed = |kind: &&str| title.contains(&format!("; Type: {kind};"));
        let placed = if PLACED.iter().any(is_placed) {
            format!("{tablespace}{method}")
        } else {
            String::new()
        };
        let mut kept = Vec::new();
        for line in text.lines() {
            // Said once, for the objects that follow.
            if line.starts_with("SET default_tablespace = ") {
                tablespace = line;
            } else if line.starts_with("SET default_table_access_method = ") {
                method = line;
            } else {
                kept.push(line);
            }
        }
        let Some(name) = title.strip_prefix("Name: ") else {
            continue;
        };
        let (key, owner) = name.split_once("; Owner: ").unwrap_or((name, ""));
        let text = kept.join("\n");
        let text = text.trim_matches(['\n', '-', ' ']);
        found
            .entry(key.to_owned())
            .or_default()
            .push(format!("owner {owner}\n{text}\n{placed}"));
    }
    for texts in found.values_mut() {
        texts.sort();
    }
    found
}

/// What came back otherwise, and how much of it comes back so from `pg_dump | pg_restore` alone, too.
pub(crate) struct Compared {
    /// One line for each difference that is not PostgreSQL's own.
    pub(crate) differences: Vec<String>,
    /// Objects whose text PostgreSQL itself changes.
    pub(crate) own: usize,
}

/// Compares with the source; `reference` is what `pg_restore` alone makes of the source's dump.
pub(crate) fn compare(
    source: &Definitions,
    found: &Definitions,
    reference: &Definitions,
) -> Compared {
    let names: BTreeSet<&String> = source.keys().chain(found.keys()).collect();
    let mut compared = Compared {
        differences: Vec::new(),
        own: 0,
    };
    for name in names {
        match (source.get(name), found.get(name)) {
            (Some(was), Some(is)) if was == is => {}
            (Some(_), Some(is)) if reference.get(name) == Some(is) => compared.own += 1,
            (Some(was), Some(is)) => {
                let change = first_change(&was.join("\n"), &is.join("\n"));
                let line = format!("definition of {name}: {change}");
                compared.differences.push(line);
            }
            (Some(_), None) => compared.differences.push(format!("missing: {name}")),
            (None, _) => compared
                .differences
                .push(format!("not in the source: {name}")),
        }
    }
    compared
}

fn first_change(was: &str, is: &str) -> String {
    let mut lines = is.lines();
    for line in was.lines() {
        let other = lines.next().unwrap_or("(nothing)");
        if line != other {
            return format!("{line:?} came back as {other:?}");
        }
    }
    format!("{:?} was added", lines.next().unwrap_or_default())
}
