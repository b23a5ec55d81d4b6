//! A window's condition in structured form, so that no SQL from an archive has to be run.

use hubvault_model::{quote_ident, quote_literal};
use serde::{Deserialize, Serialize};

/// Which rows of a table a window takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// Those whose column is not before a moment, or NULL.
    Recent {
        /// A date or timestamp column.
        column: String,
        /// The moment, as the server writes it in UTC.
        from: String,
    },
    /// Those for which an SQL expression of the configuration is true.
    Where(String),
}

impl Window {
    /// Parses a condition: every version wrote date conditions in the same form, and copied all others from the
    /// configuration.
    pub fn of(filter: &str) -> Self {
        recent(filter).unwrap_or_else(|| Self::Where(filter.to_owned()))
    }

    /// The condition as SQL. That of [`Window::Recent`] is made of a quoted name and a literal.
    pub fn sql(&self) -> String {
        match self {
            Self::Recent { column, from } => {
                let (column, from) = (quote_ident(column), quote_literal(from));
                format!("{column} >= {from} OR {column} IS NULL")
            }
            Self::Where(condition) => condition.clone(),
        }
    }
}

/// Matches exactly `column >= 'moment' OR column IS NULL`.
fn recent(filter: &str) -> Option<Window> {
    let (column, rest) = identifier(filter)?;
    let (from, rest) = rest.strip_prefix(" >= '")?.split_once('\'')?;
    let (again, rest) = identifier(rest.strip_prefix(" OR ")?)?;
    (again == column && rest == " IS NULL" && is_moment(from)).then(|| Window::Recent {
        column,
        from: from.to_owned(),
    })
}

/// The identifier at the start of a text, and the rest.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let end = text.find(|c| !plain(c)).unwrap_or(text.len());
        let begins = text.starts_with(|c: char| plain(c) && !c.is_ascii_digit());
        return begins.then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        let Some(doubled) = after.strip_prefix('"') else {
            let sound = !name.is_empty() && !name.contains('\0');
            return sound.then_some((name, after));
        };
        name.push('"');
        rest = doubled;
    }
}

/// A `timestamptz` as text, in UTC and ISO style.
pub(crate) fn is_moment(text: &str) -> bool {
    let known = |c: char| c.is_ascii_digit() || "-:.+ BC".contains(c);
    matches!(text, "infinity" | "-infinity")
        || (text.starts_with(|c: char| c.is_ascii_digit())
            && text.len() <= 64
            && text.chars().all(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_every_version_wrote_is_read_and_all_else_is_a_condition() {
        for (filter, column) in [
            ("at >= '2026-01-01 00:00:00+00' OR at IS NULL", "at"),
            (
                "\"At \"\"\" >= '2026-01-01 00:00:00.123456+00' OR \"At \"\"\" IS NULL",
                "At \"",
            ),
            (
                "\"end\" >= '0044-03-15 00:00:00+00 BC' OR \"end\" IS NULL",
                "end",
            ),
            ("at >= '-infinity' OR at IS NULL", "at"),
        ] {
            let window = Window::of(filter);
            assert!(
                matches!(&window, Window::Recent { column: found, .. } if found == column),
                "{filter}"
            );
            assert_eq!(window.sql(), filter);
        }
        for filter in [
            "",
            "true",
            "at >= '2026-01-01' OR at IS NULL OR f()",
            "at >= '2026-01-01' OR f() IS NULL",
            "at >= '2026-01-01' OR b IS NULL",
            "f() >= '2026-01-01' OR f() IS NULL",
            "a.b >= '2026-01-01' OR a.b IS NULL",
            "at >= 'x''||f()||''' OR at IS NULL",
            "at >= '2026\\' OR at IS NULL",
            "at >=  '2026-01-01' OR at IS NULL",
            "\"at >= '2026-01-01' OR \"at IS NULL",
            "\"\" >= '2026-01-01' OR \"\" IS NULL",
            "9 >= '2026-01-01' OR 9 IS NULL",
        ] {
            assert_eq!(Window::of(filter), Window::Where(filter.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_column_is_called_its_window_is_read_again(
            column in "[a-zA-Z0-9 \"'\\\\;-]{1,12}|\\PC{1,12}", at in "[0-9]{4}-[0-9]{2}-[0-9]{2} 00:00:00\\+00",
        ) {
            let window = Window::Recent { column, from: at };
            prop_assert_eq!(Window::of(&window.sql()), window);
        }
    }
}
