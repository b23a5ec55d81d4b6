//! Definitions that could not be made, as `pg_restore` reports them.

use crate::dump::contents::{DEPENDS, is_object, kind_of};
use crate::dump::hints::hint;
use crate::error::PgError;
use hubvault_model::counted;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A definition that could not be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// Its number in the dump; `None` for a statement that is not of the dump.
    pub(crate) id: Option<u32>,
    /// For people: `index person_plain_idx`.
    pub object: String,
    /// The start of the statement; empty where it is not known.
    pub statement: String,
    /// The server's message.
    pub why: String,
    /// What the server was running when it failed: the first line of its CONTEXT.
    pub(crate) context: String,
    /// How to change the source so that it can be made; empty where that is not known.
    pub cure: String,
    /// How many others failed because they need it.
    pub needed_by: usize,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.cure.is_empty() {
            &self.why
        } else {
            &self.cure
        };
        let hint = hint(why).map_or_else(String::new, |hint| format!("; {hint}"));
        write!(f, "{} ({why}{hint})", self.object)?;
        match self.needed_by {
            0 => Ok(()),
            1 => f.write_str(" and 1 object that needs it"),
            many => write!(f, " and {} that need it", counted(many as u64, "object")),
        }
    }
}

/// What came of a step that makes definitions.
#[derive(Clone, Debug, Default)]
pub struct ToolMessages {
    /// Warnings of the programs.
    pub warnings: Vec<String>,
    /// What could not be made.
    pub failures: Vec<Failure>,
    /// Constraints that today's rows break, made `NOT VALID`, each with those rows.
    pub not_valid: Vec<String>,
    /// What was made another way than the source has it, and is worth knowing.
    pub notes: Vec<String>,
    /// What gives functions to predefined roles, such as `pg_read_server_files`: a superuser does that once no code of the
    /// owners runs any more.
    pub given_last: Vec<String>,
}

impl ToolMessages {
    /// Adds the messages of another step.
    pub fn extend(&mut self, other: Self) {
        self.warnings.extend(other.warnings);
        self.failures.extend(other.failures);
        self.not_valid.extend(other.not_valid);
        self.notes.extend(other.notes);
        self.given_last.extend(other.given_last);
    }
}

impl From<Parsed> for ToolMessages {
    fn from(parsed: Parsed) -> Self {
        Self {
            warnings: parsed.warnings,
            failures: parsed.failures,
            ..Self::default()
        }
    }
}

/// The output of a `pg_restore` that went on after errors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) warnings: Vec<String>,
    pub(crate) failures: Vec<Failure>,
    /// How many errors it counted itself.
    pub(crate) counted: Option<usize>,
}

/// Before the number of errors, in the last line.
const COUNT: &str = "pg_restore: warning: errors ignored on restore: ";

impl Parsed {
    /// Reads the lines that it writes on its standard error with `--verbose`, which names the objects.
    pub(crate) fn of(lines: &[String]) -> Self {
        let mut parsed = Self::default();
        let mut id = None;
        let mut is_error = false;
        for line in lines {
            let Some(said) = line.strip_prefix("pg_restore: ") else {
                if let Some(last) = parsed.failures.last_mut().filter(|_| is_error) {
                    last.goes_on(line);
                }
                continue;
            };
            is_error = false;
            if let Some(entry) = said.strip_prefix("from TOC entry ") {
                id = entry.split(';').next().and_then(|id| id.parse().ok());
            } else if let Some(error) = said.strip_prefix("error: ") {
                is_error = true;
                let error = error.trim_start_matches("could not execute query: ");
                parsed.failures.push(Failure {
                    id,
                    why: error.trim_start_matches("ERROR:  ").to_owned(),
                    ..Failure::default()
                });
            } else if let Some(count) = line.strip_prefix(COUNT) {
                parsed.counted = count.parse().ok();
            } else if said.starts_with("warning: ") {
                parsed.warnings.push(line.clone());
            }
        }
        parsed
    }

    /// Whether every error that was counted is known by its object. Several processes write into each other's lines;
    /// their errors are counted once each, and once more for each object (`parseWorkerResponse`,
    /// `mark_restore_job_done`). What an owner's code says may add errors, but take none away.
    pub(crate) fn is_whole(&self, several: bool) -> bool {
        let ids: BTreeSet<u32> = self.failures.iter().filter_map(|one| one.id).collect();
        let is_known = self.failures.iter().all(|failure| failure.id.is_some());
        let objects = if several { ids.len() } else { 0 };
        is_known && self.counted == Some(self.failures.len() + objects)
    }
}

impl Failure {
    /// Of a statement that is not of the dump.
    pub fn of_statement(object: String, error: &PgError) -> Self {
        let said = match error {
            PgError::Query { why, .. } => why.clone(),
            other => other.to_string(),
        };
        // What follows the code is in the server's words, of which the context is of use.
        let (why, rest) = said.split_once(" (SQLSTATE ").unwrap_or((&said, ""));
        let is_context = |part: &&str| {
            let kinds = ["SQL function ", "PL/pgSQL function "];
            kinds.iter().any(|kind| part.starts_with(kind))
        };
        Self {
            object,
            why: why.to_owned(),
            context: rest
                .split("; ")
                .find(is_context)
                .unwrap_or_default()
                .to_owned(),
            ..Self::default()
        }
    }

    /// Of objects that `pg_restore` did not name.
    pub(crate) fn unknown() -> Self {
        Self {
            object: "some definitions".to_owned(),
            why: "the messages of pg_restore do not say which".to_owned(),
            ..Self::default()
        }
    }

    /// Whether the object is there already.
    pub(crate) fn is_there(&self) -> bool {
        self.why.contains(" already exists") || self.why.starts_with("multiple primary keys for ")
    }

    /// Takes in a line that follows the message.
    fn goes_on(&mut self, line: &str) {
        if let Some(statement) = line.strip_prefix("Command was: ") {
            statement.clone_into(&mut self.statement);
        } else if !self.statement.is_empty() {
            // The rest of the statement.
        } else if let Some(context) = line.strip_prefix("CONTEXT:  ") {
            context.clone_into(&mut self.context);
        } else if let Some(detail) = line.strip_prefix("DETAIL:  ") {
            // Rows are not printed, keys are.
            if !detail.starts_with("Failing row contains") {
                self.why += "; ";
                self.why += detail.trim_end_matches('.');
            }
        }
    }
}

/// The text of an entry of a list for people: its kind in small letters, its name, and its schema outside `public`.
pub(crate) fn described(line: &str) -> String {
    let entry = kind_of(line);
    // The owner comes last.
    let entry = entry.rsplit_once(' ').map_or(entry, |(entry, _)| entry);
    let is_kind = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
    let kind: Vec<&str> = entry.split(' ').take_while(is_kind).collect();
    let rest: Vec<&str> = entry.split(' ').skip(kind.len()).collect();
    let kind = kind.join(" ").to_lowercase();
    let (schema, name) = match rest.split_first() {
        Some((schema, name)) if !name.is_empty() => (*schema, name),
        _ => ("-", rest.as_slice()),
    };
    let place = match schema {
        "-" | "public" => String::new(),
        other => format!("{other}."),
    };
    let of_table = [
        "constraint",
        "fk constraint",
        "check constraint",
        "trigger",
        "policy",
        "rule",
        "default",
    ];
    match (kind.as_str(), name) {
        ("comment" | "acl", name) => format!("{kind} on {place}{}", name.join(" ")),
        (of, [table, name @ ..]) if of_table.contains(&of) && !name.is_empty() => {
            let of = of.replace("fk constraint", "foreign key");
            format!("{of} {} on {place}{table}", name.join(" "))
        }
        (kind, name) => format!("{kind} {place}{}", name.join(" ")),
    }
}

/// Counts what failed only because another failed before under that one, and describes the rest; `contents` is the
/// list of all, with who needs whom.
pub(crate) fn roots(failures: Vec<Failure>, contents: &[u8]) -> Vec<Failure> {
    let text = String::from_utf8_lossy(contents);
    let graph = Graph::of(&text);
    let mut failures = merged(failures);
    let failed: BTreeMap<u32, usize> = (failures.iter().enumerate())
        .filter_map(|(at, failure)| Some((failure.id?, at)))
        .collect();
    let mut roots = BTreeSet::new();
    let mut needed_by = vec![0; failures.len()];
    for (at, failure) in failures.iter().enumerate() {
        match failure.id.and_then(|id| graph.root(id, &failed)) {
            Some(root) => needed_by[root] += 1,
            None => drop(roots.insert(at)),
        }
    }
    for (failure, needed_by) in failures.iter_mut().zip(needed_by) {
        failure.needed_by = needed_by;
        if failure.object.is_empty() {
            let line = failure.id.and_then(|id| graph.lines.get(&id));
            failure.object = line.map_or_else(|| "a definition".to_owned(), |line| described(line));
        }
    }
    let mut at = 0..;
    failures.retain(|_| at.next().is_some_and(|at| roots.contains(&at)));
    failures
}

/// One failure for each object: its first, of which the others come (no owner for what was not made).
pub(crate) fn merged(failures: Vec<Failure>) -> Vec<Failure> {
    let mut known = BTreeSet::new();
    let is_new = |failure: &Failure| failure.id.is_none_or(|id| known.insert(id));
    failures.into_iter().filter(is_new).collect()
}

/// Who needs whom.
struct Graph<'a> {
    lines: BTreeMap<u32, &'a str>,
    needs: BTreeMap<u32, Vec<u32>>,
}

impl<'a> Graph<'a> {
    fn of(text: &'a str) -> Self {
        let (mut lines, mut needs) = (BTreeMap::new(), BTreeMap::new());
        let mut last = None;
        for line in text.lines() {
            if let (Some(all), Some(id)) = (line.strip_prefix(DEPENDS), last) {
                let all = all.split(' ').filter_map(|id| id.parse().ok());
                needs.insert(id, all.collect::<Vec<u32>>());
            } else if is_object(line) {
                last = line.split(';').next().and_then(|id| id.parse().ok());
                lines.extend(last.map(|id| (id, line)));
            }
        }
        Self { lines, needs }
    }

    /// The failed object that needs no other failed one, and that this one needs; `None` where there is none.
    fn root(&self, id: u32, failed: &BTreeMap<u32, usize>) -> Option<usize> {
        let mut root = None;
        let (mut seen, mut left) = (BTreeSet::from([id]), vec![id]);
        while let Some(id) = left.pop() {
            for needed in self.needs.get(&id).into_iter().flatten() {
                if !seen.insert(*needed) {
                    continue;
                }
                // What is needed most comes first in a dump.
                root = match (root, failed.get(needed)) {
                    (Some(known), Some(other)) => Some(*other.min(&known)),
                    (known, other) => known.or(other.copied()),
                };
                left.push(*needed);
            }
        }
        root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const SAID: &str = "pg_restore: creating INDEX \"public.person_plain_idx\"\n\
        pg_restore: while PROCESSING TOC:\n\
        pg_restore: from TOC entry 3205; 1259 16412 INDEX person_plain_idx postgres\n\
        pg_restore: error: could not execute query: ERROR:  function unaccent(text) does not exist\n\
        LINE 1: SELECT unaccent($1);\n\
        HINT:  No function matches the given name and argument types.\n\
        CONTEXT:  SQL function \"plain\" during inlining\n\
        Command was: CREATE INDEX person_plain_idx\n\
        DETAIL:  is of the statement\n\
        pg_restore: from TOC entry 3206; 2606 16413 FK CONSTRAINT c c_p_fkey postgres\n\
        pg_restore: error: could not execute query: ERROR:  violates\n\
        DETAIL:  Key (p)=(42) is not present in table \"p\".\n\
        Command was: ALTER TABLE ONLY public.c\n\
        pg_restore: warning: errors ignored on restore: 2\n";

    #[test]
    fn errors_are_read_with_their_objects_and_what_code_adds_is_noticed() {
        let parsed = Parsed::of(&lines(SAID));
        assert!(parsed.is_whole(false) && !parsed.is_whole(true));
        let twice = SAID.replace("on restore: 2", "on restore: 4");
        assert!(Parsed::of(&lines(&twice)).is_whole(true));
        let [first, second] = &parsed.failures[..] else {
            panic!("{parsed:?}")
        };
        assert_eq!(
            (first.id, first.why.as_str(), first.context.as_str()),
            (
                Some(3205),
                "function unaccent(text) does not exist",
                "SQL function \"plain\" during inlining"
            )
        );
        assert_eq!(
            second.why,
            "violates; Key (p)=(42) is not present in table \"p\""
        );
        let added = SAID.replace(
            "HINT:",
            "pg_restore: from TOC entry 7; x\npg_restore: error: no\nHINT:",
        );
        let parsed = Parsed::of(&lines(&added));
        assert!(!parsed.is_whole(true) && !parsed.is_whole(false));
        assert!(!Parsed::of(&lines("garbled")).is_whole(false));
    }

    #[test]
    fn what_needs_a_failed_object_is_counted_under_it() {
        let list = b"1; 1247 16390 DOMAIN sales word app\n\
            2; 1259 16385 TABLE public t app\n\
            ;\tdepends on: 1\n\
            3; 2606 16412 CONSTRAINT public t t_pkey app\n\
            ;\tdepends on: 2\n\
            4; 0 0 COMMENT public CONSTRAINT t_pkey ON t app\n\
            ;\tdepends on: 3 2\n\
            5; 2606 16413 FK CONSTRAINT public a a_b_fkey app\n";
        let failed = [1, 3, 4, 4, 5].map(|id| Failure {
            id: Some(id),
            why: "no".into(),
            ..Failure::default()
        });
        let roots = roots(failed.to_vec(), list);
        let said: Vec<String> = roots.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "domain sales.word (no) and 2 objects that need it",
                "foreign key a_b_fkey on a (no)"
            ]
        );
        assert_eq!(
            described("4; 0 0 COMMENT public CONSTRAINT t_pkey ON t app"),
            "comment on CONSTRAINT t_pkey ON t"
        );
        assert_eq!(
            described("2; 3079 16386 EXTENSION - citext "),
            "extension citext"
        );
    }
}
