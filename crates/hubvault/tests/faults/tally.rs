//! Injected faults, how many of each, and their outcomes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Counts of one test, by kind of fault.
pub(crate) struct Tally {
    name: &'static str,
    kinds: BTreeMap<String, Count>,
}

#[derive(Default)]
struct Count {
    injected: usize,
    ended_well: usize,
    happened: BTreeMap<String, usize>,
}

impl Tally {
    /// Counts for a table that is written to `target/reliability/<name>.md`.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            kinds: BTreeMap::new(),
        }
    }

    /// A fault of this kind ended well; `happened` is the outcome, in a few words that repeat.
    pub(crate) fn passed(&mut self, kind: &str, happened: &str) {
        self.count(kind, happened).ended_well += 1;
    }

    /// A fault of this kind ended with a false statement or something left behind; the test fails at its end.
    pub(crate) fn failed(&mut self, kind: &str, happened: &str) {
        eprintln!("FAILED: {kind}: {happened}");
        self.count(kind, happened);
    }

    fn count(&mut self, kind: &str, happened: &str) -> &mut Count {
        let count = self.kinds.entry(kind.to_owned()).or_default();
        count.injected += 1;
        *count.happened.entry(happened.to_owned()).or_default() += 1;
        count
    }

    /// How often a kind was injected.
    pub(crate) fn injected(&self, kind: &str) -> usize {
        self.kinds.get(kind).map_or(0, |count| count.injected)
    }

    /// Prints and writes the table, and fails when a fault did not end well or none was injected.
    pub(crate) fn finish(self) {
        let table = self.table();
        println!("{table}");
        let file = directory().join(format!("{}.md", self.name));
        std::fs::create_dir_all(directory()).unwrap();
        std::fs::write(file, &table).unwrap();
        assert!(!self.kinds.is_empty(), "nothing was injected");
        let bad = self.kinds.values().any(|c| c.ended_well < c.injected);
        assert!(!bad, "faults that failed:\n{table}");
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "| fault | injected | ended well | what happened |\n|---|---:|---:|---|\n",
        );
        for (kind, count) in &self.kinds {
            let happened: Vec<String> = count
                .happened
                .iter()
                .map(|(what, times)| format!("{times} × {what}"))
                .collect();
            let _ = writeln!(
                text,
                "| {kind} | {} | {} | {} |",
                count.injected,
                count.ended_well,
                happened.join("; ").replace('|', "\\|")
            );
        }
        text
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("reliability")
}
