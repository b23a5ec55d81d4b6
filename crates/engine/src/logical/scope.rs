//! Resolves the scope's patterns to tables, with warnings.

use crate::job::{MissingPolicy, Scope, WindowRows};
use hubvault_archive::Coverage;
use hubvault_model::{TablePattern, Warning};
use hubvault_postgres::{Relation, RelationKind};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A scope resolved in one database.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// The tables that hold rows to take, by oid; for a window, its index in the scope.
    pub(crate) chosen: BTreeMap<u32, Choice>,
    pub(crate) warnings: Vec<Warning>,
    /// Named tables that do not exist, when the scope says that this is an error.
    pub(crate) missing: Vec<String>,
    /// Default tables that do not exist.
    absent_defaults: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Whole,
    /// Whole but for rows that the server cannot write as text.
    Writable,
    Window(usize),
    /// Not in the scope, but rows of the scope reference some of its rows.
    Referenced,
}

impl Choice {
    pub(crate) fn coverage(self) -> Coverage {
        match self {
            Self::Whole => Coverage::Whole,
            Self::Window(_) | Self::Writable => Coverage::Window,
            Self::Referenced => Coverage::Referenced,
        }
    }
}

/// Resolves `scope` against everything that the database holds.
///
/// A window wins over a whole-table pattern, so that `tables = ["*"]` with a window takes the
/// window's rows only. A partitioned table means its leaves, a parent its children, as a
/// query that names it would read them.
pub(crate) fn resolve(scope: &Scope, relations: &[Relation]) -> Resolved {
    let children = children_of(relations);
    let by_oid: HashMap<u32, &Relation> = relations.iter().map(|r| (r.oid, r)).collect();
    let mut found = Resolved::default();
    let windows = |by_default| {
        let windows = scope.windows.iter().enumerate();
        let windows = windows.filter(move |(_, window)| window.by_default == by_default);
        windows.flat_map(|(i, window)| window.tables.iter().map(move |p| (p, Choice::Window(i))))
    };
    let whole = scope.tables.iter().map(|p| (p, Choice::Whole));
    for (pattern, choice) in windows(false).chain(whole).chain(windows(true)) {
        let mut hits = 0;
        for relation in relations.iter().filter(|r| pattern.matches(&r.name)) {
            hits += 1;
            for oid in with_descendants(relation.oid, &children) {
                if let Some(relation) = by_oid.get(&oid) {
                    found.take(relation, choice, pattern, &scope.exclude);
                }
            }
        }
        if hits == 0 {
            found.not_there(pattern, choice, scope);
        }
    }
    if scope.by_default {
        found.say_absent_defaults(scope, relations);
    }
    found
}

impl Resolved {
    /// One warning for all default tables that do not exist. A database that has none of them is another product's.
    fn say_absent_defaults(&mut self, scope: &Scope, relations: &[Relation]) {
        let absent = std::mem::take(&mut self.absent_defaults);
        let windows = scope.windows.iter().map(|window| window.tables.len());
        let all = scope.tables.len() + windows.sum::<usize>();
        if absent.is_empty() {
            return;
        }
        let (names, next) = (
            absent.join(", "),
            "name its tables in hubvault.toml, as `hubvault init` does",
        );
        let message = if absent.len() == all {
            let everything = "*".parse::<TablePattern>();
            for (relation, all) in relations.iter().zip(everything.iter().cycle()) {
                self.take(relation, Choice::Whole, all, &scope.exclude);
            }
            format!(
                "this database has none of the default tables ({names}), so all tables are taken; {next}"
            )
        } else {
            let verb = if absent.len() == 1 { "does" } else { "do" };
            format!("of the default tables, {names} {verb} not exist in this database; {next}")
        };
        self.warnings
            .push(Warning::new("missing-table", &absent[0], message));
    }

    fn take(
        &mut self,
        relation: &Relation,
        choice: Choice,
        pattern: &TablePattern,
        exclude: &[TablePattern],
    ) {
        if exclude.iter().any(|p| p.matches(&relation.name)) {
            return;
        }
        let named = pattern.exact().is_some_and(|name| name == relation.name);
        let without_rows = match relation.kind {
            RelationKind::Table => None,
            // Its leaves are relations of their own.
            RelationKind::Partitioned => return,
            RelationKind::MaterializedView | RelationKind::View if !named => return,
            RelationKind::View => Some("is a view: its definition is in the archive"),
            RelationKind::MaterializedView => {
                Some("is a materialized view: a restore fills it by REFRESH")
            }
            RelationKind::Foreign => {
                Some("is a foreign table: its rows live on another server and are not backed up")
            }
        };
        if let Some(why) = without_rows {
            self.warn_once("not-a-table", relation, format!("{} {why}", relation.name));
            return;
        }
        if let Some(extension) = &relation.extension_member {
            self.take_of_extension(relation, extension, choice, named);
            return;
        }
        self.chosen.entry(relation.oid).or_insert(choice);
    }

    pub(super) fn warn_once(&mut self, code: &str, relation: &Relation, message: String) {
        let warning = Warning::new(code, &relation.name, message);
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn not_there(&mut self, pattern: &TablePattern, choice: Choice, scope: &Scope) {
        let by_default = match choice {
            Choice::Window(i) => scope.windows[i].by_default,
            _ => scope.by_default,
        };
        if by_default {
            self.absent_defaults.push(pattern.to_string());
            return;
        }
        if scope.missing == MissingPolicy::Fail {
            self.missing.push(pattern.to_string());
            return;
        }
        let place = match choice {
            Choice::Whole | Choice::Writable | Choice::Referenced => "the scope names it",
            Choice::Window(i) => match &scope.windows[i].rows {
                WindowRows::Recent { .. } => "a window of the scope names it",
                WindowRows::Where(_) => "a where window of the scope names it",
            },
        };
        let message = if pattern.exact().is_some() {
            format!("{pattern} does not exist in this database ({place})")
        } else {
            format!("{pattern} matches no table of this database ({place})")
        };
        self.warnings
            .push(Warning::new("missing-table", pattern, message));
    }
}

/// The direct children of every partitioned or inherited table, by oid.
pub(crate) fn children_of(relations: &[Relation]) -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for relation in relations {
        for parent in &relation.parents {
            children.entry(*parent).or_default().push(relation.oid);
        }
    }
    children
}

/// `oid` and everything below it, each once.
pub(crate) fn with_descendants(oid: u32, children: &HashMap<u32, Vec<u32>>) -> Vec<u32> {
    let mut all = vec![oid];
    let mut seen = HashSet::from([oid]);
    let mut next = 0;
    while next < all.len() {
        for child in children.get(&all[next]).into_iter().flatten() {
            if seen.insert(*child) {
                all.push(*child);
            }
        }
        next += 1;
    }
    all
}
