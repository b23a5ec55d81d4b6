//! What a restore in a drill showed, and the verdict on it.

use super::drill_result::Verdict;
use crate::catalog::DrillRecord;
use crate::restore::{Compared, Restored};
use hubvault_model::{grouped, one_line};
use hubvault_postgres::Confinement;
use jiff::Timestamp;
use std::time::Instant;

/// How many objects a verdict names.
const NAMED: usize = 5;
/// How many of each kind a record holds.
const RECORDED: usize = 100;

/// What a restore on a throwaway server showed. Nothing of it is wrong: an archive with wrong rows is rejected.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) restored: Restored,
    /// Extensions that the server does not offer.
    pub(super) missing: Vec<String>,
    /// Tables whose rows could not be loaded or read.
    pub(super) not_provable: Vec<String>,
    /// Why, where no definition that is missing explains it.
    pub(super) unloaded: Vec<String>,
    /// What could not be made, each with the reason.
    pub(super) not_rebuilt: Vec<String>,
    /// How the definitions differ from the source's.
    pub(super) differ: Vec<String>,
    /// What was done another way than on the source's server.
    pub(super) notes: Vec<String>,
    /// What the archive's own `restore.sh` could not do.
    pub(super) script_problems: Vec<String>,
    /// The kind of `restore.sh` that brought everything back.
    pub(super) script: Option<String>,
    pub(super) version: String,
    /// Superusers that code of the database made.
    pub(super) intruders: Vec<String>,
}

impl Shown {
    /// Takes over what the restore said.
    pub(super) fn of(restored: Restored, missing: Vec<String>, version: String) -> Self {
        // The extensions that are missing are named once.
        let is_known = |object: &str| {
            let name = object.strip_prefix("extension ");
            name.is_some_and(|name| missing.iter().any(|missing| missing == name))
        };
        let failures = restored.said.failures.iter();
        let failures = failures.filter(|failure| !is_known(&failure.object));
        let computed = restored.other_computed.iter().cloned();
        let not_rebuilt: Vec<String> = (failures.map(ToString::to_string).chain(computed))
            .map(|what| one_line(&what).into_owned())
            .collect();
        let mut shown = Self {
            missing,
            not_provable: Vec::new(),
            unloaded: Vec::new(),
            not_rebuilt,
            differ: Vec::new(),
            notes: restored.said.notes.clone(),
            script_problems: Vec::new(),
            script: None,
            version,
            intruders: Vec::new(),
            restored,
        };
        shown.tables();
        shown
    }

    fn tables(&mut self) {
        let definitions_missing = !self.restored.said.failures.is_empty();
        for table in &self.restored.tables {
            let passed_over = self.restored.passed_over.iter();
            let error = passed_over
                .filter(|one| one.table == table.name)
                .map(|one| &one.error)
                .next();
            let (why, is_of_names) = match (error, &table.found) {
                (Some(error), _) => (
                    format!("the rows of {} could not be loaded: {error}", table.name),
                    error.is_of_names(),
                ),
                (None, Err(why)) => (
                    format!("the rows of {} could not be compared: {why}", table.name),
                    definitions_missing,
                ),
                (None, Ok(_)) => match table.incomparable {
                    Some(why) if table.problem().is_none() => (
                        format!("the rows of {} could not be compared: {why}", table.name),
                        definitions_missing,
                    ),
                    _ => continue,
                },
            };
            self.not_provable.push(table.name.to_string());
            if !(is_of_names && definitions_missing) {
                self.unloaded.push(why);
            }
        }
    }

    /// Tables whose rows are there and differ, or are not as the source wrote them.
    pub(super) fn different(&self) -> Vec<String> {
        let passed_over = self.restored.passed_over.iter();
        let unreadable = passed_over
            .filter(|one| one.error.is_of_rows())
            .map(|one| format!("{}: {}", one.table, one.error));
        let tables = self.restored.tables.iter();
        let read = tables.filter(|table| !self.is_not_provable(table));
        read.filter_map(Compared::problem)
            .chain(unreadable)
            .collect()
    }

    pub(super) fn is_not_provable(&self, table: &Compared) -> bool {
        self.not_provable.contains(&table.name.to_string())
    }

    /// The verdict, with everything in the record.
    pub(super) fn verdict(&self, begun: Instant, confinement: Option<Confinement>) -> Verdict {
        let equal = || {
            let tables = self.restored.tables.iter();
            tables.filter(|table| table.is_equal() && !self.is_not_provable(table))
        };
        let record = DrillRecord {
            drilled_at: Timestamp::now(),
            seconds: begun.elapsed().as_secs_f64(),
            server_version: self.version.clone(),
            tables: equal().map(|table| table.tables).sum(),
            rows: equal().map(|table| table.expected.rows).sum(),
            not_provable: self.not_provable.clone(),
            not_rebuilt: first(&self.not_rebuilt, RECORDED),
            not_valid: first(&self.restored.said.not_valid, RECORDED),
            notes: first(&self.notes, RECORDED),
            script: self.script.clone(),
            confinement,
        };
        match self.reason() {
            None => Verdict::Proven(record),
            Some(reason) => Verdict::Unproven {
                reason,
                drill: Some(record),
            },
        }
    }

    /// Why it is not proven; `None` when it is.
    pub(super) fn reason(&self) -> Option<String> {
        let names = self.missing.join(", ");
        let mut reasons: Vec<String> = match self.missing.len() {
            0 => Vec::new(),
            1 => vec![format!(
                "extension {names} is not installed where the drill runs"
            )],
            _ => vec![format!(
                "extensions {names} are not installed where the drill runs"
            )],
        };
        reasons.extend(first(&self.unloaded, NAMED));
        if !self.not_rebuilt.is_empty() {
            let equal = if self.not_provable.is_empty() {
                "rows equal; "
            } else {
                ""
            };
            let objects = first(&self.not_rebuilt, NAMED).join("; ");
            reasons.push(format!("{equal}not rebuilt: {objects}"));
        }
        if !self.differ.is_empty() {
            let differences = first(&self.differ, NAMED).join("; ");
            let equal = if reasons.is_empty() && self.not_provable.is_empty() {
                "rows equal; "
            } else {
                ""
            };
            reasons.push(format!("{equal}definitions differ: {differences}"));
        }
        if !self.script_problems.is_empty() {
            let problems = first(&self.script_problems, NAMED).join("; ");
            reasons.push(format!(
                "rows equal; not brought back by restore.sh: {problems}"
            ));
        }
        if reasons.is_empty() && !self.not_provable.is_empty() {
            let tables = first(&self.not_provable, NAMED).join(", ");
            reasons.push(format!("the rows of {tables} were not compared"));
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// The first of them, and how many more there are.
fn first(all: &[String], most: usize) -> Vec<String> {
    let mut first: Vec<String> = all.iter().take(most).cloned().collect();
    if let Some(more) = all.len().checked_sub(most).filter(|more| *more > 0) {
        first.push(format!("and {} more", grouped(more as u64)));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::{Comparison, Found, NotLoaded, RestoreError};
    use hubvault_model::{RowDigest, TableName};
    use hubvault_postgres::{Access, ConnectSettings, Failure, PgError, TableLogins, ToolMessages};

    const ROWS: RowDigest = RowDigest { rows: 2, sum: 7 };

    fn table(name: &str, found: Result<Found, String>) -> Compared {
        Compared {
            name: TableName::new("public", name),
            tables: 1,
            expected: ROWS,
            found,
            incomparable: None,
        }
    }

    fn failed(object: &str) -> Failure {
        let mut failure = Failure::default();
        object.clone_into(&mut failure.object);
        "it cannot be made".clone_into(&mut failure.why);
        failure
    }

    fn not_loaded(name: &str, why: &str) -> NotLoaded {
        let (doing, why) = (format!("restoring {name}"), why.to_owned());
        NotLoaded {
            table: TableName::new("public", name),
            error: RestoreError::Postgres(PgError::Query { doing, why }),
            entries: Vec::new(),
        }
    }

    fn shown(
        tables: Vec<Compared>,
        passed_over: Vec<NotLoaded>,
        failures: Vec<Failure>,
        missing: &[&str],
    ) -> Shown {
        let login = ConnectSettings::default();
        let restored = Restored {
            tables,
            compared: Comparison::Rows,
            passed_over,
            said: ToolMessages {
                failures,
                ..ToolMessages::default()
            },
            other_computed: Vec::new(),
            access: Access::single(login.clone()),
            logins: TableLogins::single(login),
        };
        let missing = missing.iter().map(|name| (*name).to_owned());
        Shown::of(restored, missing.collect(), "15.1".to_owned())
    }

    fn drilled(shown: &Shown) -> (bool, DrillRecord) {
        match shown.verdict(Instant::now(), None) {
            Verdict::Proven(record) => (true, record),
            Verdict::Unproven { drill, .. } => (false, drill.unwrap()),
        }
    }

    #[test]
    fn only_what_was_compared_and_is_equal_counts_and_is_proven() {
        let equal = || table("a", Ok(Found::Rows(ROWS)));
        let (is_proven, record) = drilled(&shown(vec![equal()], vec![], vec![], &[]));
        assert!(is_proven && (record.tables, record.rows) == (1, 2));
        let counted = Compared {
            incomparable: Some("other columns"),
            ..table("b", Ok(Found::Count(2)))
        };
        let unread = table("c", Err("no".to_owned()));
        let tables = vec![equal(), counted, unread];
        let shown = shown(tables, vec![], vec![], &[]);
        let (is_proven, record) = drilled(&shown);
        assert!(!is_proven && (record.tables, record.rows) == (1, 2));
        assert_eq!(record.not_provable, ["b", "c"]);
        assert_eq!(
            shown.reason().unwrap(),
            "the rows of b could not be compared: other columns; the rows of c could not be compared: no"
        );
        assert!(shown.different().is_empty());
    }

    #[test]
    fn other_rows_and_rows_that_no_column_can_have_are_wrong() {
        let other = table("a", Ok(Found::Rows(RowDigest { sum: 8, ..ROWS })));
        let torn = RestoreError::Different {
            tables: vec!["3 rows for 2".to_owned()],
        };
        let torn = NotLoaded {
            error: torn,
            ..not_loaded("b", "")
        };
        let refused = not_loaded("c", "null value");
        let gone = |name| table(name, Ok(Found::Rows(RowDigest::default())));
        let tables = vec![other, gone("b"), gone("c")];
        let wrong = shown(tables, vec![torn, refused], vec![], &[]).different();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert_eq!(wrong[0], "a: row counts match, contents differ");
        assert!(wrong[1].starts_with("b: "), "{wrong:?}");
    }

    #[test]
    fn each_loss_is_a_reason_and_only_compared_rows_are_called_equal() {
        let of = |failures, tables| shown(tables, vec![], failures, &[]);
        let all = of(vec![failed("view v")], vec![]).reason().unwrap();
        assert!(all.starts_with("rows equal; not rebuilt: view v"), "{all}");
        let unread = || vec![table("t", Err("no".to_owned()))];
        let some = of(vec![failed("view v")], unread()).reason().unwrap();
        assert!(
            some.contains("not rebuilt: view v") && !some.contains("equal"),
            "{some}"
        );
        let mut differs = of(vec![], vec![]);
        differs.differ = (1..=7).map(|n| format!("index i{n} differs")).collect();
        let said = differs.reason().unwrap();
        assert!(
            said.starts_with("rows equal; definitions differ: index i1"),
            "{said}"
        );
        assert!(said.ends_with("index i5 differs; and 2 more"), "{said}");
        let mut both = of(vec![], unread());
        both.differ = vec!["index i differs".to_owned()];
        let said = both.reason().unwrap();
        assert!(
            said.contains("definitions differ: ") && !said.contains("equal"),
            "{said}"
        );
        let mut script = of(vec![], vec![]);
        script.script_problems = vec!["INDEX i".to_owned()];
        let said = script.reason().unwrap();
        assert_eq!(said, "rows equal; not brought back by restore.sh: INDEX i");
        assert!(of(vec![], vec![]).reason().is_none());
    }

    #[test]
    fn an_extension_that_is_missing_is_named_once() {
        let failures = vec![failed("extension one"), failed("extension two")];
        let said = shown(vec![], vec![], failures, &["one"]).reason().unwrap();
        assert!(
            said.starts_with("extension one is not installed where the drill runs; "),
            "{said}"
        );
        assert_eq!(said.matches("extension one").count(), 1, "{said}");
        assert!(said.contains("not rebuilt: extension two"), "{said}");
    }
}
