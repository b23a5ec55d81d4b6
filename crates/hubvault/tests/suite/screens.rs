//! What people see on terminals of 80 and 120 columns, and what programs get.

use crate::hub::{Hub, stdout};
use crate::terminal::on_terminal;
use hubvault_testkit::database_with;

const WIDTHS: [u16; 2] = [80, 120];
const ROWS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1200) n;
    CREATE TABLE \"表テーブル\" (id int PRIMARY KEY);
    CREATE TABLE \"a\u{1b}[2Jb\" (id int PRIMARY KEY);
    CREATE TABLE a_table_with_a_name_that_is_as_long_as_a_name_may_be_in_sql (id int PRIMARY KEY);
    INSERT INTO \"表テーブル\" VALUES (1);";

/// A hub with a proven backup, a failed one and one whose file is missing, and a database that differs.
fn busy() -> (Hub, hubvault_testkit::Database, tempfile::TempDir) {
    let database = database_with(ROWS);
    let mut hub = Hub::whole(&database);
    let drills = hub.prove();
    let (first, archive) = hub.backup();
    std::fs::remove_file(archive).unwrap();
    crate::retention::next_second();
    hub.backup();
    assert_eq!(first["state"], "proven");
    hub.set("POSTGRES_DB", "a_database_that_is_not_there");
    hub.run_expecting(1, &["backup"]);
    hub.set("POSTGRES_DB", database.settings().dbname);
    hub.run(&["check", "--alert"]);
    database.execute("DELETE FROM users WHERE id < 12; UPDATE users SET name = 'x' WHERE id = 20");
    (hub, database, drills)
}

/// How many columns a line takes, without colours.
fn columns_of(line: &str) -> usize {
    console::measure_text_width(line)
}

/// Ids, names of temporary directories and digits as they are always.
fn masked(text: &str) -> String {
    let random = "hubvault-throwaway-";
    let mut parts = text.split(random);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest: String = part.chars().skip(8).collect();
        out += &format!("{random}xxxxxxxx{rest}");
    }
    let is_hex = |word: &str| word.len() == 8 && word.chars().all(|c| c.is_ascii_hexdigit());
    let lines = out.lines().map(|line| match line.get(2..10) {
        Some(id) if is_hex(id) => format!("  00000000{}\n", &line[10..]),
        _ => format!("{line}\n"),
    });
    let digit = |c: char| if c.is_ascii_digit() { '0' } else { c };
    lines.collect::<String>().chars().map(digit).collect()
}

#[test]
fn screens_keep_to_the_terminal_and_say_all_of_it_to_programs() {
    let (hub, _database, _drills) = busy();
    let looks: [&[&str]; 9] = [
        &["list"],
        &["status"],
        &["check"],
        &["show", "latest"],
        &["diff", "latest", "--no-progress"],
        &["backup", "--no-progress"],
        &["alert", "list"],
        &["prune", "--dry-run"],
        &["config", "show"],
    ];
    for columns in WIDTHS {
        for arguments in looks {
            let (text, _) = on_terminal(&hub, columns, arguments);
            assert!(text.lines().count() > 1, "{arguments:?}: {text}");
            // Log lines, which are for files, too, are as long as they are.
            let screen = text.lines().filter(|line| !line.contains("\u{1b}[2m20"));
            for line in screen {
                assert!(
                    columns_of(line) <= usize::from(columns),
                    "{arguments:?}: {line}"
                );
            }
            assert!(!text.contains("\u{1b}[2J"), "{text}");
        }
    }
    let list = stdout(&hub.run_expecting(0, &["list"]));
    assert!(
        list.contains("database \"a_database_that_is_not_there\" does not exist"),
        "{list}"
    );
    assert!(!list.contains('…') && !list.contains('\u{1b}'), "{list}");
}

#[test]
fn colours_say_what_words_say_and_can_be_switched_off() {
    let (mut hub, _database, _drills) = busy();
    let (colour, _) = on_terminal(&hub, 120, &["list"]);
    assert!(colour.contains("\u{1b}[1;31mfailed\u{1b}[0m"), "{colour:?}");
    assert!(colour.contains("\u{1b}[32mproven\u{1b}[0m"), "{colour:?}");
    let plain = console::strip_ansi_codes(&colour).into_owned();
    hub.set("NO_COLOR", "1");
    assert_eq!(on_terminal(&hub, 120, &["list"]).0, plain);
    for columns in WIDTHS {
        let show = |arguments: &[&str]| {
            let (text, _) = on_terminal(&hub, columns, arguments);
            // What is above the table is as long as the server's version is.
            let table = text.find("\n  table  ").map_or(0, |end| end + 1);
            masked(&text[table..])
        };
        insta::assert_snapshot!(format!("list_{columns}"), show(&["list"]));
        insta::assert_snapshot!(format!("show_{columns}"), show(&["show", "latest"]));
        let diff = show(&["diff", "latest", "--no-progress"]);
        insta::assert_snapshot!(format!("diff_{columns}"), diff);
    }
}

/// The percentages of the lines that were drawn, in their order.
fn percentages(drawn: &str) -> Vec<u32> {
    let before = drawn.split(" % [").map(str::trim_end);
    let mut all: Vec<u32> = before
        .filter_map(|text| text.rsplit(' ').next()?.parse().ok())
        .collect();
    // What is after the last one is no percentage.
    all.truncate(drawn.matches(" % [").count());
    all
}

#[test]
fn progress_is_one_line_that_never_goes_back_and_knows_what_is_left() {
    let database = database_with(ROWS);
    let mut hub = Hub::whole(&database);
    let _drills = hub.prove();
    for is_first in [true, false] {
        crate::retention::next_second();
        let (drawn, code) = on_terminal(&hub, 80, &["backup"]);
        assert_eq!(code, Some(0), "{drawn}");
        let all = percentages(&drawn);
        assert!(all.len() > 8, "{all:?}: {drawn:?}");
        assert!(all.is_sorted(), "{all:?}");
        assert!(all.last().is_some_and(|last| *last > 80), "{all:?}");
        // Only an earlier run says how long the rest takes.
        assert_eq!(drawn.contains(" s left"), !is_first, "{drawn:?}");
        for line in drawn.split(['\r', '\n']) {
            let is_log = line.contains("\u{1b}[2m20");
            assert!(is_log || columns_of(line) <= 80, "{line:?}");
        }
        let last = drawn.rsplit("\u{1b}[2K").next().unwrap();
        assert!(!last.contains(" % ["), "it is cleared: {last:?}");
    }
    let (drawn, _) = on_terminal(&hub, 80, &["drill", "--all"]);
    let all = percentages(&drawn);
    let backwards = all.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert_eq!(backwards, 1, "once, for the second archive: {all:?}");
}
