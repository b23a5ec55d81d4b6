//! What a scope takes of a database, and what becomes of its foreign keys.

use super::super::scope::{Resolved, resolve};
use super::*;
use crate::job::{MissingPolicy, ReferencePolicy, Window, WindowRows};
use hubvault_model::TablePattern;

fn table(oid: u32, name: &str) -> Relation {
    Relation {
        oid,
        name: TableName::new("public", name),
        kind: RelationKind::Table,
        parents: Vec::new(),
        is_partition: false,
        pages: 0,
        heap_bytes: 0,
        toast_bytes: 0,
        estimated_rows: None,
        columns: Vec::new(),
        extension_member: None,
        config_rows: None,
        unlogged: false,
        heap: true,
        can_select: true,
        schema_usage: true,
        rls_filters: false,
        owner: "owner".to_owned(),
        planning_runs_code: false,
    }
}

fn of_kind(kind: RelationKind, relation: Relation) -> Relation {
    Relation { kind, ..relation }
}

fn below(parents: &[u32], relation: Relation) -> Relation {
    let parents = parents.to_vec();
    Relation {
        parents,
        ..relation
    }
}

fn patterns(names: &[&str]) -> Vec<TablePattern> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Whole tables, and the tables of a window.
fn scope(tables: &[&str], window: &[&str]) -> Scope {
    let window = Window {
        tables: patterns(window),
        rows: WindowRows::Where("open".to_owned()),
        references: ReferencePolicy::Include,
        by_default: false,
    };
    Scope {
        tables: patterns(tables),
        exclude: Vec::new(),
        missing: MissingPolicy::Warn,
        windows: vec![window],
        by_default: false,
    }
}

fn key(oid: u32, table: u32, references: u32) -> ForeignKey {
    ForeignKey {
        oid,
        name: format!("k{oid}"),
        table,
        references,
        columns: vec!["a".to_owned()],
        referenced_columns: vec!["id".to_owned()],
        operators: vec!["OPERATOR(pg_catalog.=)".to_owned()],
        runs_cast: false,
        definition: "FOREIGN KEY (a) REFERENCES public.p(id)".to_owned(),
        validated: true,
        parent: None,
        table_is_partitioned: false,
        comment: None,
    }
}

fn oids(found: &Resolved) -> Vec<u32> {
    found.chosen.keys().copied().collect()
}

fn codes(found: &Resolved) -> Vec<(&str, &str)> {
    let warnings = found.warnings.iter();
    warnings
        .map(|one| (one.code.as_str(), one.message.as_str()))
        .collect()
}

#[test]
fn what_is_below_a_table_is_taken_by_each_of_its_parents_but_for_what_is_excluded() {
    let relations = [
        table(1, "one"),
        table(2, "two"),
        below(&[1, 2], table(3, "child")),
        below(&[3], table(4, "grandchild")),
        table(5, "other"),
    ];
    for parent in ["one", "two"] {
        let found = resolve(&scope(&[parent], &[]), &relations);
        let parent = if parent == "one" { 1 } else { 2 };
        assert_eq!(oids(&found), [parent, 3, 4]);
    }
    let mut scope = scope(&["*"], &[]);
    scope.exclude = patterns(&["grand*", "other"]);
    assert_eq!(oids(&resolve(&scope, &relations)), [1, 2, 3]);
}

#[test]
fn a_window_wins_over_a_pattern() {
    let relations = [table(1, "moves"), table(2, "users")];
    let found = resolve(&scope(&["*"], &["moves"]), &relations);
    assert_eq!(found.chosen[&1], Choice::Window(0));
    assert_eq!(found.chosen[&2], Choice::Whole);
}

#[test]
fn what_is_named_and_not_there_is_a_warning_or_an_error() {
    let relations = [table(1, "users")];
    let mut scope = scope(&["users", "nothing"], &["moves", "x*"]);
    let found = resolve(&scope, &relations);
    let said = [
        (
            "missing-table",
            "moves does not exist in this database (a where window of the scope names it)",
        ),
        (
            "missing-table",
            "x* matches no table of this database (a where window of the scope names it)",
        ),
        (
            "missing-table",
            "nothing does not exist in this database (the scope names it)",
        ),
    ];
    assert_eq!(codes(&found), said);
    scope.missing = MissingPolicy::Fail;
    let found = resolve(&scope, &relations);
    assert!(found.warnings.is_empty());
    assert_eq!(found.missing, ["moves", "x*", "nothing"]);
}

#[test]
fn where_no_default_table_is_there_everything_is_taken_and_said() {
    let mut scope = scope(&["users", "money"], &[]);
    scope.by_default = true;
    let found = resolve(&scope, &[table(1, "orders"), table(2, "lines")]);
    assert_eq!(oids(&found), [1, 2]);
    assert!(codes(&found)[0].1.contains("so all tables are taken"));
    let found = resolve(&scope, &[table(1, "orders"), table(2, "users")]);
    assert_eq!(oids(&found), [2]);
    assert!(codes(&found)[0].1.contains("money does not exist"));
}

#[test]
fn what_has_no_rows_of_its_own_is_said_and_tables_of_extensions_are_left_to_them() {
    let relations = [
        of_kind(RelationKind::View, table(1, "v")),
        of_kind(RelationKind::MaterializedView, table(2, "m")),
        of_kind(RelationKind::Foreign, table(3, "f")),
        Relation {
            extension_member: Some("postgis".to_owned()),
            ..table(4, "spatial_ref_sys")
        },
        table(5, "t"),
    ];
    let said = |tables: &[&str]| {
        let found = resolve(&scope(tables, &[]), &relations);
        assert!(!found.chosen.contains_key(&4));
        let codes = codes(&found);
        codes
            .iter()
            .map(|(_, message)| message.split_once(':').unwrap().0.to_owned())
            .collect::<Vec<_>>()
    };
    // By a pattern only what somebody could take for rows.
    assert_eq!(said(&["*"]), ["f is a foreign table"]);
    let named = [
        "v is a view",
        "m is a materialized view",
        "f is a foreign table",
    ];
    assert_eq!(said(&["v", "m", "f"]), named);
}

/// The outcome for these relations and keys.
fn crossed(scope: &Scope, relations: &[Relation], keys: &[ForeignKey]) -> References {
    let chosen = resolve(scope, relations).chosen;
    cross(relations, &chosen, keys, scope)
}

#[test]
fn a_key_to_a_table_outside_comes_back_not_valid_and_is_said() {
    let relations = [table(1, "c"), table(2, "p"), table(3, "r")];
    // c refers to p, r to c.
    let keys = [
        ForeignKey {
            comment: Some("it's a \\ and\nmore".to_owned()),
            ..key(10, 1, 2)
        },
        key(11, 3, 1),
    ];
    let found = crossed(&scope(&["c"], &[]), &relations, &keys);
    assert_eq!(found.skipped, [10]);
    assert_eq!(
        found.statements,
        [
            "ALTER TABLE ONLY public.c ADD CONSTRAINT k10 FOREIGN KEY (a) REFERENCES public.p(id) NOT VALID; \
             COMMENT ON CONSTRAINT k10 ON public.c IS E'it''s a \\\\ and\\nmore';"
        ]
    );
    assert_eq!(
        found.late_keys,
        [(TableName::new("public", "c"), "k10".to_owned())]
    );
    assert_eq!(found.not_valid[0].reason, "p is not in the archive");
    let left: Vec<(&str, &str)> = found
        .left_out
        .iter()
        .map(|one| (one.name.name.as_str(), one.reason.as_str()))
        .collect();
    assert_eq!(left, [("p", "c refers to it"), ("r", "refers to c")]);
    assert_eq!(found.warnings.len(), 1);
    assert!(found.warnings[0].message.contains("c refers to it"));
    // Nothing of this where both are whole, nor where neither is inside.
    for tables in [&["c", "p", "r"][..], &[]] {
        let found = crossed(&scope(tables, &[]), &relations, &keys);
        assert!(found.skipped.is_empty() && found.statements.is_empty());
        assert!(found.left_out.is_empty() && found.warnings.is_empty());
    }
    // A key that was NOT VALID already is that once.
    let already = ForeignKey {
        definition: "FOREIGN KEY (a) REFERENCES public.p(id) NOT VALID".to_owned(),
        ..key(10, 1, 2)
    };
    let found = crossed(&scope(&["c"], &[]), &relations, &[already]);
    assert!(found.statements[0].ends_with("(id) NOT VALID;"));
}

#[test]
fn a_partitioned_table_is_as_whole_as_its_least_partition() {
    let parted = |oid, name| of_kind(RelationKind::Partitioned, table(oid, name));
    let relations = [
        table(1, "c"),
        parted(2, "p"),
        below(&[2], table(3, "p1")),
        below(&[2], table(4, "p2")),
    ];
    let reason = |tables: &[&str]| {
        let found = crossed(&scope(tables, &[]), &relations, &[key(10, 1, 2)]);
        found.not_valid.first().map(|one| one.reason.clone())
    };
    assert_eq!(reason(&["c", "p"]), None);
    assert_eq!(
        reason(&["c", "p1"]).unwrap(),
        "only some rows of p are in the archive"
    );
    assert_eq!(reason(&["c"]).unwrap(), "p is not in the archive");
}

/// The partitioned `c` of `c1` and `c2`, and two tables; and its key to one of them.
fn parted() -> ([Relation; 5], ForeignKey) {
    let relations = [
        of_kind(RelationKind::Partitioned, table(1, "c")),
        below(&[1], table(2, "c1")),
        below(&[1], table(3, "c2")),
        table(4, "p"),
        table(5, "w"),
    ];
    let whole = ForeignKey {
        table_is_partitioned: true,
        ..key(10, 1, 4)
    };
    (relations, whole)
}

#[test]
fn the_key_of_a_partitioned_table_comes_back_on_its_partitions() {
    let (relations, whole) = parted();
    let of_partition = ForeignKey {
        parent: Some(10),
        ..key(11, 2, 4)
    };
    let found = crossed(&scope(&["c"], &[]), &relations, &[whole, of_partition]);
    assert_eq!(found.skipped, [10]);
    let on: Vec<&str> = found
        .late_keys
        .iter()
        .map(|(table, _)| table.name.as_str())
        .collect();
    assert_eq!(on, ["c1", "c2"]);
    assert_eq!(found.statements.len(), 2);
}

#[test]
fn a_key_holds_where_all_rows_of_its_table_were_followed() {
    let (relations, whole) = parted();
    let keys = [whole, key(11, 5, 4)];
    let skipped = |tables: &[&str], window: &[&str], references| {
        let mut scope = scope(tables, window);
        scope.windows[0].references = references;
        crossed(&scope, &relations, &keys).skipped
    };
    let (include, warn) = (ReferencePolicy::Include, ReferencePolicy::Warn);
    assert!(skipped(&[], &["c", "w"], include).is_empty());
    assert_eq!(skipped(&[], &["c", "w"], warn), [10, 11]);
    // One partition is whole, and what its rows refer to was not followed.
    assert_eq!(skipped(&["c1"], &["c2", "w"], include), [10]);
}

#[test]
fn a_table_of_which_rows_were_left_out_or_added_is_not_whole() {
    let relations = [table(1, "c"), table(2, "p"), table(3, "q")];
    let scope = scope(&["c", "p"], &[]);
    let mut chosen = resolve(&scope, &relations).chosen;
    let keys = [key(10, 1, 2), key(11, 2, 3)];
    chosen.insert(2, Choice::Writable);
    chosen.insert(3, Choice::Referenced);
    let found = cross(&relations, &chosen, &keys, &scope);
    assert_eq!(found.skipped, [10, 11]);
    // All that added rows refer to was added.
    chosen.insert(2, Choice::Referenced);
    let found = cross(&relations, &chosen, &keys, &scope);
    assert_eq!(found.skipped, [10]);
}

#[test]
fn rows_can_be_added_to_what_is_referenced_at_any_distance_and_is_not_whole() {
    let parted = of_kind(RelationKind::Partitioned, table(3, "parted"));
    let relations = [
        table(1, "w"),
        table(2, "next"),
        parted,
        below(&[3], table(4, "leaf")),
        table(5, "whole"),
        table(6, "far"),
    ];
    let keys = [
        key(10, 1, 2),
        key(11, 2, 3),
        key(12, 4, 6),
        key(13, 1, 5),
        key(14, 5, 6),
    ];
    let scope = scope(&["whole"], &["w"]);
    let chosen = resolve(&scope, &relations).chosen;
    let filters = BTreeMap::new();
    let closure = Closure::new(&relations, &chosen, &filters, &keys);
    let reachable: Vec<u32> = closure.reachable(&scope).into_iter().collect();
    assert_eq!(reachable, [2, 4, 6]);
}

#[test]
fn what_is_outside_is_listed_but_for_tables_of_extensions_and_what_is_listed_already() {
    let relations = [
        table(1, "c"),
        table(2, "p"),
        table(3, "z"),
        table(4, "b"),
        Relation {
            extension_member: Some("postgis".to_owned()),
            ..table(5, "spatial_ref_sys")
        },
        of_kind(RelationKind::View, table(6, "v")),
    ];
    let found = crossed(&scope(&["c"], &[]), &relations, &[key(10, 1, 2)]);
    let outside = found.outside(&relations, |oid| oid == 1);
    let names: Vec<&str> = outside.iter().map(|one| one.name.name.as_str()).collect();
    assert_eq!(names, ["b", "z"]);
}
