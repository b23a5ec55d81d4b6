//! `[[scope.window]]`: the tables of which some rows are taken.

use super::default_scope::DefaultScope;
use super::document::Document;
use super::problem::Problem;
use super::setting::{DEFAULT, WithOrigin};
use super::table::Table;
use hubvault_engine::job::{ReferencePolicy, Window, WindowRows};
use jiff::tz::TimeZone;

/// The shell scripts' windows.
const TABLES: [&str; 3] = ["credit_transactions", "point_transactions", "purchases"];
const COLUMN: &str = "created_at";
const LENGTH: &str = "3 months";

/// Reads the windows; the default ones where the file does not mention windows.
pub(crate) fn windows(
    document: &Document,
    defaults: DefaultScope,
    zone: &TimeZone,
    problems: &mut Vec<Problem>,
) -> Vec<WithOrigin<Window>> {
    let Some(all) = document.array("scope.window") else {
        let of_file = || document.value("scope.tables").is_some();
        match defaults {
            DefaultScope::BashSystem => {}
            DefaultScope::BashSystemWithFile if of_file() => {}
            // All tables are taken, or those that are named.
            DefaultScope::BashSystemWithFile | DefaultScope::Whole => return Vec::new(),
        }
        let tables = TABLES.iter().filter_map(|name| name.parse().ok()).collect();
        let (column, length) = (COLUMN.to_owned(), LENGTH.to_owned());
        let value = Window {
            tables,
            // As theirs began.
            rows: WindowRows::Recent {
                column,
                length,
                midnight: Some(zone.clone()),
            },
            references: ReferencePolicy::default(),
            by_default: true,
        };
        let origin = DEFAULT.to_owned();
        return vec![WithOrigin { value, origin }];
    };
    let known = &["tables", "column", "length", "cut", "where", "references"];
    let mut windows = Vec::new();
    for fields in all {
        let mut table = Table::new("scope.window", document, fields, known, problems);
        let tables = table.patterns("tables");
        let rows = rows(&mut table, zone);
        let references = match table.word("references", &["include", "warn"]) {
            None | Some(0) => ReferencePolicy::Include,
            Some(_) => ReferencePolicy::Warn,
        };
        windows.push(table.located(Window {
            tables,
            rows,
            references,
            by_default: false,
        }));
    }
    windows
}

fn rows(table: &mut Table<'_>, zone: &TimeZone) -> WindowRows {
    let cut = table.word("cut", &["moment", "midnight"]);
    let (column, length) = (table.text("column"), table.text("length"));
    match (column, length, table.text("where")) {
        (None, None, Some(condition)) => {
            if cut.is_some() {
                table.problem("cut", "is for column and length, not for where");
            }
            WindowRows::Where(condition)
        }
        (Some(column), Some(length), None) => {
            if let Err(what) = check_interval(&length) {
                table.problem("length", what);
            }
            WindowRows::Recent {
                column,
                length,
                midnight: (cut == Some(1)).then(|| zone.clone()),
            }
        }
        _ => {
            table.problem("", "give either column and length, or where");
            WindowRows::Where(String::new())
        }
    }
}

/// Numbers with units, as in `3 months` or `1 year 6 months`; `PostgreSQL` reads the interval
/// itself, this is so that a mistake has its line.
fn check_interval(text: &str) -> Result<(), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let unit = |word: &str| {
        let word = word.strip_suffix('s').unwrap_or(word);
        ["hour", "day", "week", "month", "year"].contains(&word)
    };
    let pair = |pair: &[&str]| {
        pair.len() == 2 && pair[0].parse::<u32>().is_ok_and(|n| n > 0) && unit(pair[1])
    };
    if !words.is_empty() && words.chunks(2).all(pair) {
        Ok(())
    } else {
        Err(format!(
            "expected a length such as `3 months` or `90 days`, not {text:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_numbers_with_units() {
        for good in [
            "3 months",
            "90 days",
            "1 year 6 months",
            "1 day",
            "2 weeks",
            "36 hours",
        ] {
            assert_eq!(check_interval(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "months",
            "3",
            "3 moons",
            "-3 days",
            "0 days",
            "3 months;",
            "1 day 2",
        ] {
            assert!(check_interval(bad).is_err(), "{bad}");
        }
    }
}
