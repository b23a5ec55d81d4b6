//! Which differences of definitions are excused, and which are not.

use super::*;
use hubvault_postgres::ConnectSettings;

#[test]
fn one_constraint_that_rows_break_excuses_no_other_loss() {
    let access = Access::single(ConnectSettings::default());
    let not_valid = ["check constraint of day on booking (1 row breaks it)".to_owned()];
    let restored = Circumstances {
        access: &access,
        failures: &[],
        not_valid: &not_valid,
        given_last: &[],
    };
    let table = |columns: &[&str]| Definition {
        kind: "TABLE".into(),
        schema: "public".into(),
        name: "booking".into(),
        sql: format!(
            "CREATE TABLE public.booking (\n{}\n);\n",
            columns.join(",\n")
        ),
        ..Definition::default()
    };
    let (day, told, other) = (
        "    day date DEFAULT now()",
        "    CONSTRAINT \"of day\" CHECK ((day > now()))",
        "    CONSTRAINT other CHECK ((day > now()))",
    );
    let source = table(&[day, other, told]);
    assert!(restored.is_on_purpose(&source, &source));
    assert!(restored.is_on_purpose(&source, &table(&[day, other])));
    for lost in [vec![day, told], vec![other, told], vec![day], vec![]] {
        assert!(!restored.is_on_purpose(&source, &table(&lost)), "{lost:?}");
    }
    let key = |schema: &str, sql: &str| Definition {
        kind: "FK CONSTRAINT".into(),
        schema: schema.into(),
        name: "booking k".into(),
        sql: sql.into(),
        ..Definition::default()
    };
    // It is not said of this one.
    let (whole, later) = (key("a", "… k;"), key("a", "… k NOT VALID;"));
    assert!(!restored.is_on_purpose(&whole, &later));
}

#[test]
fn a_late_key_is_known_by_its_table_and_name() {
    let key = |schema: &str, name: &str| Definition {
        kind: "FK CONSTRAINT".into(),
        schema: schema.into(),
        name: name.into(),
        ..Definition::default()
    };
    let late = UncheckedForeignKey {
        name: "k".into(),
        table: TableName::new("a", "t"),
        references: TableName::new("a", "p"),
        reason: String::new(),
    };
    let is_late = |one: &Definition| is_of(&late, one);
    assert!(is_late(&key("a", "t k")));
    for other in [key("b", "t k"), key("a", "u k"), key("a", "t kk")] {
        assert!(!is_late(&other), "{other:?}");
    }
}

fn circumstances<'a>(
    access: &'a Access,
    failures: &'a [Failure],
    not_valid: &'a [String],
) -> Circumstances<'a> {
    Circumstances {
        access,
        failures,
        not_valid,
        given_last: &[],
    }
}

#[test]
fn a_lost_tablespace_is_on_purpose_and_another_access_method_is_not() {
    let access = Access::single(ConnectSettings::default());
    let restored = circumstances(&access, &[], &[]);
    let table = |tablespace: &str, method: &str| Definition {
        kind: "TABLE".into(),
        sql: "CREATE TABLE public.t ();".into(),
        storage: [tablespace.into(), method.into()],
        ..Definition::default()
    };
    let source = table("fast", "heap");
    assert!(restored.is_on_purpose(&source, &table("", "heap")));
    for other in [table("slow", "heap"), table("", "columnar")] {
        assert!(!restored.is_on_purpose(&source, &other), "{other:?}");
    }
}

#[test]
fn a_line_that_the_source_does_not_have_is_never_excused() {
    let access = Access::single(ConnectSettings::default());
    let not_valid = ["check constraint c on t (1 row breaks it)".to_owned()];
    let restored = circumstances(&access, &[], &not_valid);
    let table = |lines: &str| Definition {
        kind: "TABLE".into(),
        sql: format!("CREATE TABLE public.t (\n{lines}\n);\n"),
        ..Definition::default()
    };
    let source = table("    a integer,\n    CONSTRAINT c CHECK ((a > 0))");
    assert!(restored.is_on_purpose(&source, &table("    a integer")));
    assert!(!restored.is_on_purpose(&source, &table("    a integer,\n    b integer")));
}

#[test]
fn only_the_collation_that_was_replaced_is_excused() {
    let access = Access::single(ConnectSettings::default());
    let mut failure = Failure::default();
    failure.object = format!("collation {}", TableName::new("s", "d e"));
    let failures = [failure];
    let restored = circumstances(&access, &failures, &[]);
    let of = |kind: &str, name: &str| Definition {
        kind: kind.into(),
        schema: "s".into(),
        name: name.into(),
        ..Definition::default()
    };
    for one in [of("COLLATION", "d e"), of("COMMENT", "COLLATION \"d e\"")] {
        assert!(restored.is_replaced(&one), "{one:?}");
    }
    for other in [
        of("COLLATION", "fr"),
        of("COMMENT", "COLLATION fr"),
        of("COMMENT", "TABLE \"d e\""),
        of("TABLE", "d e"),
    ] {
        assert!(!restored.is_replaced(&other), "{other:?}");
    }
}

#[test]
fn a_property_that_is_lost_and_one_that_is_new_are_differences() {
    let settings = |statements: &str| {
        let one = Definition {
            kind: "DATABASE PROPERTIES".into(),
            name: "d".into(),
            sql: statements.into(),
            ..Definition::default()
        };
        DefinitionContents {
            definitions: vec![one],
            ..DefinitionContents::default()
        }
    };
    let compared = |source: &str, found: &str| {
        let mut compared = DefinitionsCompared::default();
        let source = DatabaseProperties::of(&settings(source).definitions);
        compared.properties(&source, &settings(found), "d");
        compared.differ
    };
    let (time, zone) = (
        "ALTER DATABASE d SET statement_timeout TO '9min';\n",
        "ALTER DATABASE d SET \"TimeZone\" TO 'UTC';\n",
    );
    let both = [time, zone].concat();
    assert!(compared(&both, &both).is_empty());
    let lost = compared(&both, zone);
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(
        lost[0].starts_with("the database lacks a property: ") && lost[0].contains("9min"),
        "{lost:?}"
    );
    let more = compared(zone, &both);
    assert_eq!(more.len(), 1, "{more:?}");
    assert!(
        more[0].contains("does not have: ") && more[0].contains("9min"),
        "{more:?}"
    );
}

#[test]
fn a_definition_matches_as_often_as_it_was_counted() {
    let one = Definition {
        kind: "TABLE".into(),
        ..Definition::default()
    };
    let other = Definition {
        kind: "VIEW".into(),
        ..Definition::default()
    };
    let mut unmatched = HashMap::from([(one.fingerprint(), 2)]);
    let seen = [&other, &one, &one, &one].map(|one| is_matched(&mut unmatched, one));
    assert_eq!(seen, [false, true, true, false]);
}
