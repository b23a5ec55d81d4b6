//! What a terminal shows: tables as wide as it is, colours by meaning. Elsewhere a table is as wide as its cells and
//! nothing is coloured, so that programs find every line whole.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table};
use console::{Term, measure_text_width, truncate_str};
use hubvault_model::one_line;

/// What a colour says; the words say it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Good,
    Bad,
    Warning,
}

/// Marks around a text that has a meaning. They are invisible and have no width, so that a table need not know them.
const MARKS: [(char, Meaning, &str); 3] = [
    ('\u{2061}', Meaning::Good, "\u{1b}[32m"),
    ('\u{2062}', Meaning::Bad, "\u{1b}[1;31m"),
    ('\u{2063}', Meaning::Warning, "\u{1b}[1;33m"),
];
const END: char = '\u{2064}';
const RESET: &str = "\u{1b}[0m";

/// Fewer columns than this are taken for a terminal that does not say how many it has.
const NARROWEST: usize = 20;

/// A text with a meaning, for [`coloured`].
pub(crate) fn paint(meaning: Meaning, text: &str) -> String {
    let mark = MARKS.iter().find(|(_, of, _)| *of == meaning);
    mark.map_or_else(
        || text.to_owned(),
        |(mark, ..)| format!("{mark}{text}{END}"),
    )
}

/// The text as standard output takes it: with colours on a terminal, unless `NO_COLOR` is set; without marks elsewhere.
pub(crate) fn coloured(text: &str) -> String {
    with_colours(text, console::colors_enabled())
}

fn with_colours(text: &str, is_coloured: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_on = false;
    for c in text.chars() {
        let colour = MARKS.iter().find(|(mark, ..)| *mark == c);
        match colour {
            Some((.., colour)) if is_coloured => {
                is_on = true;
                out.push_str(colour);
            }
            None if c != END => {
                // A cell that was cut has lost its end.
                if c == '\n' && is_on {
                    is_on = false;
                    out.push_str(RESET);
                }
                out.push(c);
            }
            None if is_on => {
                is_on = false;
                out.push_str(RESET);
            }
            _ => {}
        }
    }
    out
}

/// The columns of the terminal at standard output; `None` where there is none.
pub(crate) fn width() -> Option<usize> {
    let terminal = Term::stdout();
    let (_, columns) = terminal.is_term().then(|| terminal.size_checked())??;
    Some(usize::from(columns)).filter(|columns| *columns >= NARROWEST)
}

/// The text as long as a line of the terminal at standard error, with an ellipsis where it is cut.
pub(crate) fn cut_for_errors(line: &str) -> String {
    let columns = Term::stderr().size_checked();
    columns.map_or_else(
        || line.to_owned(),
        // A terminal may go to the next line once the last column is full.
        |(_, columns)| truncate_str(line, usize::from(columns).saturating_sub(1), "…").into_owned(),
    )
}

/// How a column is aligned, and what happens to it where the terminal is too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
    /// To the left, on several lines if need be.
    Wrap,
    /// To the left, cut with an ellipsis if need be: what is cut is to be found in another place.
    Cut,
    /// To the right, and left out if need be, the last one first: it is to be found in another place.
    Detail,
}

/// As much of a column as is wanted before details are left out.
const ENOUGH: usize = 30;

/// Rows of cells under a header, indented by two spaces.
pub(crate) fn columns(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    columns_in(width(), header, rows)
}

fn columns_in(width: Option<usize>, header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let titles = header.iter().map(|(title, _)| (*title).to_owned());
    let all: Vec<Vec<String>> = std::iter::once(titles.collect())
        .chain(rows.iter().cloned())
        .collect();
    let shown = shown(width, header, &all);
    let mut table = table_in(width.map(|width| width - 1));
    let is_cut = header.iter().any(|(_, align)| *align == Align::Cut);
    for row in &all {
        let cells = shown.iter().filter_map(|column| {
            let cell = Cell::new(one_line(row.get(*column)?));
            Some(cell.set_alignment(match header[*column].1 {
                Align::Right | Align::Detail => CellAlignment::Right,
                _ => CellAlignment::Left,
            }))
        });
        let mut row = Row::from(cells.collect::<Vec<_>>());
        if is_cut {
            row.max_height(1);
        }
        table.add_row(row);
    }
    for (column, number) in table.column_iter_mut().zip(shown) {
        if !matches!(header[number].1, Align::Wrap | Align::Cut) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if header[number].1 == Align::Cut {
            // Anywhere, not only between words: no text has this character.
            column.set_delimiter('\n');
        }
    }
    lines(&table, " ")
}

/// The numbers of the columns that there is room for.
fn shown(width: Option<usize>, header: &[(&str, Align)], rows: &[Vec<String>]) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..header.len()).collect();
    let Some(width) = width else { return shown };
    let wanted = |column: &usize| {
        let cells = rows.iter().filter_map(|row| row.get(*column));
        let widest = cells.map(|cell| measure_text_width(&one_line(cell))).max();
        let is_fixed = !matches!(header[*column].1, Align::Wrap | Align::Cut);
        // With the blanks before it.
        2 + widest.map_or(
            0,
            |widest| if is_fixed { widest } else { widest.min(ENOUGH) },
        )
    };
    let is_detail = |column: &usize| header[*column].1 == Align::Detail;
    while shown.iter().map(wanted).sum::<usize>() > width {
        let Some(last) = shown.iter().rposition(is_detail) else {
            break;
        };
        shown.remove(last);
    }
    shown
}

/// A text that is wrapped between words; its lines stay lines.
pub(crate) fn paragraph(text: &str) -> String {
    grid(&[vec![text.trim_end().to_owned()]], &[])
}

/// Rows without a header; the last column takes as many lines as it needs. Its text may have lines, the others are one.
pub(crate) fn grid(rows: &[Vec<String>], gaps: &[u16]) -> String {
    grid_in(width(), rows, gaps)
}

fn grid_in(width: Option<usize>, rows: &[Vec<String>], gaps: &[u16]) -> String {
    let mut table = table_in(width);
    for row in rows {
        table.add_row(row);
    }
    for (number, column) in table.column_iter_mut().enumerate() {
        let gap = gaps.get(number);
        column.set_padding((0, gap.copied().unwrap_or_default()));
        if gap.is_some() {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    lines(&table, "")
}

/// A list of warnings: `  ! text`, further lines below the text.
pub(crate) fn bullets(texts: impl Iterator<Item = String>) -> String {
    let mark = paint(Meaning::Warning, "!");
    let rows: Vec<Vec<String>> = texts.map(|text| vec![format!("  {mark}"), text]).collect();
    grid(&rows, &[1])
}

fn table_in(width: Option<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    match width {
        Some(width) => table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(width).unwrap_or(u16::MAX)),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

fn lines(table: &Table, before: &str) -> String {
    table.lines().fold(String::new(), |out, line| {
        out + before + line.trim_end() + "\n"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(rows: &[&[&str]]) -> Vec<Vec<String>> {
        let row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
        rows.iter().map(row).collect()
    }

    const HEADER: [(&str, Align); 3] = [
        ("table", Align::Left),
        ("rows", Align::Right),
        ("archive", Align::Cut),
    ];

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = cells(&[&["users", "5", "a"], &["é", "1,000", "one\nline"]]);
        assert_eq!(
            columns_in(None, &HEADER, &rows),
            "  table   rows  archive\n  users      5  a\n  é      1,000  one\\nline\n"
        );
        let wide = cells(&[&["表", "1", "x"], &["ab", "2", "y"]]);
        let text = columns_in(Some(80), &HEADER, &wide);
        assert_eq!(
            text,
            "  table  rows  archive\n  表        1  x\n  ab        2  y\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_with_an_ellipsis_and_only_what_may_be_cut() {
        let rows = cells(&[&[
            "users",
            "5",
            "connecting to db.example: connection refused, and more",
        ]]);
        let text = columns_in(Some(40), &HEADER, &rows);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.contains("users     5  connecting") && text.contains('…'),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 40),
            "{text}"
        );
        let long = cells(&[&["users", "5", &"a".repeat(90)]]);
        let text = columns_in(Some(40), &HEADER, &long);
        assert!(text.trim_end().ends_with("a…"), "{text}");
        assert!(columns_in(None, &HEADER, &long).contains(&"a".repeat(90)));
    }

    #[test]
    fn texts_wrap_below_their_beginning_and_keep_their_lines() {
        let rows = cells(&[&[
            "FAILING ",
            "disk",
            "only little room is left on this disk\n  GRANT a TO b",
        ]]);
        assert_eq!(
            grid_in(Some(40), &rows, &[1, 2]),
            "FAILING  disk  only little room is left\n               on this disk\n                 GRANT a TO b\n"
        );
        assert_eq!(
            grid_in(None, &rows, &[1, 2]),
            "FAILING  disk  only little room is left on this disk\n                 GRANT a TO b\n"
        );
    }

    #[test]
    fn colours_end_with_their_line_and_have_no_width() {
        let good = paint(Meaning::Good, "proven");
        let rows = vec![vec![
            good.clone(),
            "1".to_owned(),
            paint(Meaning::Bad, "a b c d e f g h i j k l m n o"),
        ]];
        let text = columns_in(Some(30), &HEADER, &rows);
        let plain = with_colours(&text, false);
        assert!(plain.contains("  proven     1  a b c"), "{plain}");
        let colours = with_colours(&text, true);
        let line = colours.lines().last().unwrap();
        assert!(
            line.contains("\u{1b}[32mproven\u{1b}[0m") && line.ends_with(RESET),
            "{line:?}"
        );
        assert_eq!(with_colours(&good, false), "proven");
    }
}
