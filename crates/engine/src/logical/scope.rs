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
    let windows = scope
        .windows
        .iter()
        .enumerate()
        .flat_map(|(i, w)| w.tables.iter().map(move |p| (p, Choice::Window(i))));
    for (pattern, choice) in windows.chain(scope.tables.iter().map(|p| (p, Choice::Whole))) {
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
    found
}

impl Resolved {
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
