//! One database with every kind of object that `pg_dump` knows.

use crate::real_server::RealServer;
use crate::trial::{EQUAL, Known, Trial, fill, passed, try_filled};
use std::collections::BTreeSet;

/// What an entry of a dump may be, from `pg_dump.c` of 13 to 18. Those that follow another as its second word are after it.
const KINDS: &[&str] = &[
    "ACCESS METHOD",
    "ACL",
    "AGGREGATE",
    "BLOB",
    "BLOBS",
    "CAST",
    "CHECK CONSTRAINT",
    "COLLATION",
    "COMMENT",
    "CONSTRAINT",
    "CONVERSION",
    "DATABASE",
    "DATABASE PROPERTIES",
    "DEFAULT",
    "DEFAULT ACL",
    "DOMAIN",
    "ENCODING",
    "EVENT TRIGGER",
    "EXTENSION",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "INDEX ATTACH",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "POLICY",
    "PROCEDURAL LANGUAGE",
    "PROCEDURE",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "ROW SECURITY",
    "RULE",
    "SCHEMA",
    "SEARCHPATH",
    "SECURITY LABEL",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SERVER",
    "SHELL TYPE",
    "STATISTICS",
    "STDSTRINGS",
    "SUBSCRIPTION",
    "TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "USER MAPPING",
    "VIEW",
    "BLOB METADATA",
    "STATISTICS DATA",
    "SUBSCRIPTION TABLE",
];

/// Those that the database has not, and why.
const NOT_THERE: &[(&str, &str)] = &[
    (
        "SECURITY LABEL",
        "no package of PostgreSQL has a provider of labels",
    ),
    ("BLOB METADATA", "17 and newer write it in place of BLOB"),
    (
        "STATISTICS DATA",
        "only 18 writes it, and only when it is asked to",
    ),
    ("SUBSCRIPTION TABLE", "only pg_upgrade needs it"),
];

#[test]
fn every_kind_of_object() {
    let server = RealServer::shared();
    let trial = Trial {
        title: "every kind of object",
        special: "each kind of entry that `pg_dump` writes but for security labels, with owner, grants and comment",
        database: "kinds",
        fill: include_str!("kinds.sql"),
        says: &["large objects", "far_table"],
        codes: [3, 0, 0],
        known: KNOWN,
        ..EQUAL
    };
    fill(&server, &trial);
    let mut wrong = Vec::new();
    let found = kinds_of(&server, trial.database);
    for kind in KINDS {
        let excused = NOT_THERE.iter().any(|(not_there, _)| not_there == kind);
        if found.contains(*kind) == excused {
            wrong.push(format!("{kind} is there: {}", !excused));
        }
    }
    wrong.extend(try_filled(&server, &trial));
    passed(&wrong);
}

const KNOWN: &[Known<'_>] = &[
    Known {
        difference: "rows large objects",
        why: "large objects are not in an archive, which it says",
    },
    Known {
        difference: "definition of sub; Type: SUBSCRIPTION",
        why: "a subscription comes back without its slot, which the living one needs",
    },
    Known {
        difference: "missing: sub; Type: SUBSCRIPTION",
        why: "only superusers can dump subscriptions, which `pg_dump` warns of",
    },
    Known {
        difference: "missing: SUBSCRIPTION sub; Type: COMMENT",
        why: "",
    },
    Known {
        difference: "definition of USER MAPPING",
        why: "only superusers can read the options of user mappings",
    },
];

/// The kinds of all entries of a dump.
fn kinds_of(server: &RealServer, database: &str) -> BTreeSet<&'static str> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump");
    let dumped = server
        .program("pg_dump", database)
        .args(["-Fc", "--create", "-f"])
        .arg(&file)
        .status();
    assert!(dumped.unwrap().success());
    let list = server
        .program("pg_restore", database)
        .args(["--list", "--verbose", "--create"])
        .arg(&file)
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    list.lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
        .map(|line| {
            // Number; two numbers, then the kind, which has blanks, too.
            let entry = line.splitn(4, ' ').nth(3).unwrap();
            *KINDS
                .iter()
                .filter(|kind| {
                    entry
                        .strip_prefix(*kind)
                        .is_some_and(|rest| rest.starts_with(' '))
                })
                .max_by_key(|kind| kind.len())
                .unwrap_or_else(|| panic!("a kind that this test does not know: {line}"))
        })
        .collect()
}
