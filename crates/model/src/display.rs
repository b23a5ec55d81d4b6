//! Makes text from outside (a server's error, a name, a path, a reply) safe to display: it cannot move the cursor, hide
//! what follows, or look like a line of hubvault.

use std::borrow::Cow;
use std::fmt::Write as _;

/// In one line: every control character and every mark that turns the direction of writing is written out (`\n`,
/// `\u001b`). What comes out may stand in a JSON text, too.
///
/// ```
/// assert_eq!(hubvault_model::one_line("no\nerror: forged \u{1b}[2J"), r"no\nerror: forged \u001b[2J");
/// ```
pub fn one_line(text: &str) -> Cow<'_, str> {
    written_out(text, |_| false)
}

/// The same, and no more than the first `most` characters.
///
/// ```
/// assert_eq!(hubvault_model::excerpt("a long\nstory", 8), r"a long\n…");
/// ```
pub fn excerpt(text: &str, most: usize) -> String {
    let text = one_line(text.trim());
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// As [`one_line`] for a text that was put together of lines and columns: line breaks and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    written_out(text, |c| matches!(c, '\n' | '\t'))
}

/// A text of several lines as part of another: every line after the first is indented, so that none can pass for one of
/// the text around it.
///
/// ```
/// let text = "run as the owner:\n  GRANT SELECT ON a TO b\nerror: forged";
/// assert_eq!(
///     hubvault_model::indented(text),
///     "run as the owner:\n  GRANT SELECT ON a TO b\n  error: forged"
/// );
/// ```
pub fn indented(text: &str) -> String {
    let mut lines = text.split('\n');
    let mut out = one_line(lines.next().unwrap_or_default()).into_owned();
    for line in lines {
        out.push('\n');
        if !line.starts_with("  ") && !line.is_empty() {
            out.push_str("  ");
        }
        out.push_str(&one_line(line));
    }
    out
}

/// Whether a character is invisible or changes how text is displayed.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Marks, embeddings, overrides and isolates of the Unicode Bidirectional Algorithm; line and paragraph separator;
            // what some terminals and editors drop.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

fn written_out(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let hostile = |c: char| is_unseen(c) && !stays(c);
    if !text.contains(hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !hostile(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // All of them have four hexadecimal digits at most. Writing to a String cannot fail.
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hostile() -> impl Strategy<Value = String> {
        let one = prop_oneof![
            any::<char>(),
            prop::char::range('\0', '\u{a0}'),
            prop::char::range('\u{2000}', '\u{2070}'),
            Just('\n'),
            Just('\u{1b}'),
        ];
        prop::collection::vec(one, 0..60).prop_map(|all| all.into_iter().collect())
    }

    proptest! {
        #[test]
        fn whatever_comes_from_outside_stays_a_line_and_is_seen(text in hostile()) {
            prop_assert!(!one_line(&text).contains(is_unseen));
            let table = format!("a {text}\nb\n");
            let seen = |c: char| is_unseen(c) && c != '\n' && c != '\t';
            prop_assert!(!printable(&table).contains(seen));
            let several = indented(&text);
            prop_assert!(!several.contains(|c| is_unseen(c) && c != '\n'));
            prop_assert!(several.lines().skip(1).all(|line| line.is_empty() || line.starts_with("  ")));
        }

        #[test]
        fn json_stays_the_same_json(text in hostile()) {
            let json = serde_json::to_string(&text).unwrap();
            let line = one_line(&json);
            prop_assert!(!line.contains(is_unseen));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
