//! Names that are commands somewhere, through the real script.

use super::*;
use proptest::prelude::*;

#[test]
fn the_script_holds_no_place_for_a_name() {
    assert!(!RESTORE_SCRIPT.contains("@@"));
}

#[test]
fn no_name_ends_its_record() {
    let mut list = List::default();
    list.record(&["table", "a\tb", "c\nend\n$(d)%", "1"]);
    assert_eq!(list.0, "table\ta%09b\tc%0Aend%0A$(d)%25\t1\n");
}

#[test]
fn a_sequence_that_was_never_called_stays_so() {
    let sequence = Sequence {
        of_table: None,
        is_used: false,
        oid: 16_384,
        name: TableName::new("public", "Odd seq"),
        last_value: Some(7),
        is_called: false,
        can_read: true,
        extension_member: false,
        is_config: false,
        owner: "o".into(),
    };
    assert!(
        sequences_sql(&[sequence])
            .contains("setval('public.\"Odd seq\"'::pg_catalog.regclass, 7, false)")
    );
}

/// Pieces of names that are commands for a shell, awk, sed, psql or a terminal, or end a record of the list.
const PIECES: [&str; 28] = [
    "$(touch pwned)",
    "`touch pwned`",
    "';touch pwned;'",
    "\";touch pwned;\"",
    "\n\\! touch pwned\n",
    "\nend\n",
    "\t",
    "\r",
    "\n",
    "\\",
    "\\\\",
    "'",
    "\"",
    "%",
    "%0A",
    "%s",
    "&",
    "\u{1b}[2K",
    "\u{9b}",
    "\u{202e}",
    "é",
    "@@COUNTS@@",
    ":'x'",
    "\n-- Name: ",
    "\\gexec",
    "a",
    "Z",
    " ",
];

/// Answers that send the script through every step; what psql is to run goes to a file, a NUL after each session.
const PSQL: &str = r#"#!/bin/sh
[ "$1" != --version ] || { echo 'psql (PostgreSQL) 18.1'; exit 0; }
case "$*" in
*'SHOW server_version_num'*) echo 180001 ;;
*'-f -')
    sql=$(cat; echo .)
    printf '%s\000' "${sql%.}" >>"$SEEN"
    case $sql in
    "SELECT E'CREATE ROLE "*) ;;
    *'WHERE NOT EXISTS'*) echo missing ;;
    *to_regclass*) echo present ;;
    esac ;;
esac
"#;
const PG_RESTORE: &str =
    "#!/bin/sh\n[ \"$1\" != --version ] || echo 'pg_restore (PostgreSQL) 18.1'\n";

/// As the server quotes, written a second time and in another way.
fn identifier(name: &str) -> String {
    let inner: String = name
        .chars()
        .flat_map(|c| if c == '"' { vec![c, c] } else { vec![c] })
        .collect();
    format!("\"{inner}\"")
}

fn literal(text: &str) -> String {
    let twice = |c| {
        if c == '\'' || c == '\\' {
            vec![c, c]
        } else {
            vec![c]
        }
    };
    format!("E'{}'", text.chars().flat_map(twice).collect::<String>())
}

/// Runs the script over one name of each kind; what psql was given.
fn run_script(schema: &str, name: &str, column: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for inside in ["database", "bin"] {
        std::fs::create_dir(at(inside)).unwrap();
    }
    let mut list = List::default();
    for record in [
        &["hubvault-restore", "1"][..],
        &["server", "18"],
        &["pg_dump", column],
        &["role", name],
        &["table", schema, name, "1"],
        &["key", schema, name, column],
        &["search_path", schema, name],
        &["check", "table", schema, name, column],
        &["rows", "first"],
    ] {
        list.record(record);
    }
    list.0.push_str("csv\tdatabase/x.csv\t9\t");
    list.record(&[schema, name, column, name]);
    list.record(&["refresh", schema, name]);
    list.record(&["end"]);
    for (file, content) in [
        ("restore.sh", RESTORE_SCRIPT),
        ("database/restore.list", &list.0),
        ("database/x.csv", "a,b\n1,2\n"),
        ("database/schema-post-data.list", ""),
        ("bin/psql", PSQL),
        ("bin/pg_restore", PG_RESTORE),
    ] {
        std::fs::write(at(file), content).unwrap();
    }
    for program in ["bin/psql", "bin/pg_restore"] {
        std::fs::set_permissions(
            at(program),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let output = std::process::Command::new("sh")
        .args(["restore.sh", "--create-roles", "--clean"])
        .current_dir(directory.path())
        .env("PATH", format!("{}:{path}", at("bin").display()))
        .env("PGDATABASE", name)
        .env("SEEN", at("seen"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!at("pwned").exists() && !at("database/pwned").exists());
    std::fs::read_to_string(at("seen")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_name_reaches_psql_as_itself_and_nothing_else_happens(
        schema in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..5),
        name in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..5),
        column in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..5),
    ) {
        let (schema, name, column) = (schema.concat(), name.concat(), column.concat());
        let relation = format!("{}.{}", identifier(&schema), identifier(&name));
        let seen = run_script(&schema, &name, &column);
        for sql in [
            format!("rolname = {})", literal(&name)),
            format!("SELECT {} WHERE", literal(&format!("CREATE ROLE {} NOLOGIN", identifier(&name)))),
            format!("pg_catalog.to_regclass({}) IS NOT NULL;", literal(&relation)),
            format!("ALTER TABLE IF EXISTS ONLY {relation} DROP CONSTRAINT IF EXISTS {};", identifier(&column)),
            format!(
                "COPY {relation} ({}, {}) FROM STDIN WITH (FORMAT csv, HEADER true);\na,b\n1,2\n\\.\n",
                identifier(&column),
                identifier(&name)
            ),
            format!("REFRESH MATERIALIZED VIEW {relation};"),
            format!("SET search_path = {}, {};", identifier(&schema), identifier(&name)),
            format!("conname = {} AND conrelid = to_regclass({})", literal(&column), literal(&relation)),
            format!("FROM (SELECT count(*) AS n FROM ONLY {relation}) counted;"),
        ] {
            prop_assert!(seen.contains(&sql), "{sql:?} is not in {seen:?}");
        }
    }
}
