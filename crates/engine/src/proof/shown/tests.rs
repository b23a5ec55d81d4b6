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

fn refused() -> RestoreError {
    let (doing, why) = ("reading".to_owned(), "no".to_owned());
    RestoreError::Postgres(PgError::Query { doing, why })
}

#[test]
fn with_superusers_that_code_made_nothing_is_shown() {
    let mut shown = shown(vec![], vec![], vec![], &[]);
    shown.intruders = vec!["mallory".to_owned()];
    match shown.verdict(Instant::now(), None) {
        Verdict::Unproven {
            reason,
            drill: None,
        } => assert!(reason.contains("superusers on the drill's server (mallory)")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn definitions_that_could_not_be_compared_are_not_proven() {
    let of = |compared| {
        let mut shown = shown(vec![], vec![], vec![], &[]);
        shown.definitions(compared);
        shown.reason()
    };
    assert_eq!(of(Ok(DefinitionsCompared::default())), None);
    let differ = DefinitionsCompared {
        differ: vec!["index i is missing".to_owned()],
        ..DefinitionsCompared::default()
    };
    assert!(of(Ok(differ)).unwrap().contains("index i is missing"));
    let unread = of(Err(refused())).unwrap();
    assert!(
        unread.starts_with("the definitions could not be compared: "),
        "{unread}"
    );
}

#[test]
fn only_a_script_that_ran_and_brought_all_back_is_remembered() {
    let of = |ran: Result<Ran, RestoreError>| {
        let mut shown = shown(vec![], vec![], vec![], &[]);
        shown.by_script(ran, "shape".to_owned());
        let is_noted = shown.notes.iter().any(|note| note.contains("restore.sh"));
        (shown.reason(), shown.script, is_noted)
    };
    let ran = |problems: &[&str], unshown: &[&str]| {
        let list = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        Ok(Ran {
            problems: list(problems),
            unshown: list(unshown),
        })
    };
    assert_eq!(of(ran(&[], &[])), (None, Some("shape".to_owned()), false));
    assert_eq!(of(ran(&[], &["CAST c"])), (None, None, true));
    let absent = "restore.sh: psql is needed and was not found";
    assert_eq!(of(ran(&[absent], &[])), (None, None, true));
    // What the database says is a failure.
    let said = format!("FUNCTION f: ERROR:  {absent}");
    assert!(of(ran(&[&said], &[])).0.is_some());
    assert!(of(ran(&[absent, &said], &[])).0.is_some());
    for failed in [ran(&["INDEX i"], &[]), Err(refused())] {
        let (reason, script, _) = of(failed);
        assert!(reason.unwrap().contains("not brought back by restore.sh"));
        assert_eq!(script, None);
    }
}
