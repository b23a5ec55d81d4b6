//! Each mistake in a file is reported with its line and what was expected.

use super::refused;

#[test]
fn values_of_another_kind_are_named_as_what_they_are() {
    for (toml, words) in [
        (
            "scope = 1.5",
            "scope: expected a table [scope], not a number with a point",
        ),
        (
            "scope = true",
            "expected a table [scope], not true or false",
        ),
        ("scope = 2026-01-01", "expected a table [scope], not a date"),
        ("scope = []", "expected a table [scope], not an array"),
        (
            "job = 1",
            "job: expected an array of tables, written [[job]]",
        ),
        ("job = [1]", "job: expected a table, written [[job]]"),
        (
            "[[job]]\nname = 5",
            "job.name: expected text in quotes, not",
        ),
        (
            "file = 5",
            "file: expected an array of tables, written [[file]]",
        ),
        ("file = [5]", "file: expected a table, written [[file]]"),
        (
            "[[file]]\nsource = 5",
            "file.source: expected a text, a list or true/false, not",
        ),
        (
            "[[file]]\nsource = [5]",
            "expected a text in the array, not",
        ),
        (
            "[[file]]\nname = \"a\"",
            "source is missing; expected the path",
        ),
        (
            "[[file]]\nsource = \"\"",
            "expected a text in quotes that is not empty",
        ),
        (
            "[[file]]\nsource = \"/a\"\nname = \"x\"\n[[file]]\nsource = \"/b\"\nname = \"x\"",
            "\"x\" is also the name of another file",
        ),
        (
            "archive.codec = \"gzip\"\narchive.level = 15",
            "line 2: archive.level",
        ),
        (
            "archive.min_size_mb = 5\narchive.max_size_mb = 4",
            "archive.min_size_mb: is larger than archive.max_size_mb",
        ),
        (
            "archive.directory = {}",
            "archive.directory: expected text in quotes, not a table",
        ),
        (
            "database.connect_timeout = []",
            "text such as \"5 s\", or a number of seconds",
        ),
    ] {
        refused(&[], toml, &[words]);
    }
}

#[test]
fn an_empty_item_of_a_list_is_refused() {
    let variables = [("ADMIN_EMAILS", "a@b.example,,c@d.example")];
    refused(&variables, "", &["variable ADMIN_EMAILS: email.to"]);
}

#[test]
fn windows_say_which_rows_in_one_way() {
    let both = "give either column and length, or where";
    for (text, words) in [
        ("", both),
        ("column = \"c\"", both),
        ("column = \"c\"\nlength = \"1 day\"\nwhere = \"true\"", both),
        (
            "column = \"c\"\nlength = \"for ever\"",
            "scope.window.length",
        ),
        (
            "where = \"true\"\nreferences = \"fail\"",
            "expected one of include, warn, not \"fail\"",
        ),
    ] {
        let toml = format!("[[scope.window]]\ntables = [\"a\"]\n{text}");
        refused(&[], &toml, &[words]);
    }
}
