//! What a server says, in one line and without the content of rows.

use hubvault_model::one_line;

/// The whole of an error: its Display alone hides what the server said. In one line: whoever owns a
/// function or a table decides what stands there.
pub(crate) fn full_text(error: &postgres::Error) -> String {
    let Some(said) = error.as_db_error() else {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        return one_line(&text).into_owned();
    };
    as_text(
        said.message(),
        said.code().code(),
        &[said.detail(), said.hint(), said.where_()],
    )
}

/// A server's error in one line: what, its SQLSTATE, and what else it said, but for rows.
pub(crate) fn as_text(message: &str, code: &str, more: &[Option<&str>]) -> String {
    let mut text = format!("{message} (SQLSTATE {code})");
    for more in more.iter().flatten().filter_map(|more| without_row(more)) {
        text = format!("{text}; {more}");
    }
    one_line(&text).into_owned()
}

/// Leaves out what a server says of the content of a row: messages are mailed and stored.
fn without_row(said: &str) -> Option<&str> {
    if said.starts_with("Failing row contains ") {
        return None;
    }
    // `COPY t, line 1, column a: "…"` is the last line of a context, and the row may have lines of its own.
    let copy = if said.starts_with("COPY ") {
        Some(0)
    } else {
        said.find("\nCOPY ").map(|at| at + 1)
    };
    let Some((at, row)) = copy.and_then(|at| Some((at, said[at..].find(": \"")?))) else {
        return Some(said);
    };
    Some(&said[..at + row])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_no_message() {
        let said = as_text(
            "violates",
            "23514",
            &[
                Some("Failing row contains (1, secret)."),
                None,
                Some("PL/pgSQL function f() line 1\nCOPY t, line 1: \"1\tsecret\nsecret\""),
            ],
        );
        assert_eq!(
            said,
            "violates (SQLSTATE 23514); PL/pgSQL function f() line 1\\nCOPY t, line 1"
        );
        assert_eq!(without_row("COPY t, line 3"), Some("COPY t, line 3"));
    }
}
