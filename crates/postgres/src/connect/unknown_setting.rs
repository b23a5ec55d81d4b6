//! `pg_restore` of 17 and newer into older servers: it begins with a setting that they do not know.

/// What `pg_restore` of 17 and newer begins with.
pub(crate) const UNKNOWN_SETTING: &str = "SET transaction_timeout = 0;";

/// Whether `pg_restore` begins with a setting that the server does not know: `transaction_timeout`
/// came with 17, and `pg_restore` sets it whatever server it restores into.
pub(crate) fn is_affected(tool: u32, server: u32) -> bool {
    tool >= 17 && server < 17
}

/// Takes out that error, the statement under it, and the count of errors, which counted it.
pub(crate) fn without_setting_error(said: Vec<String>) -> Vec<String> {
    let known = |line: &str| {
        is_error(line)
            && line.ends_with("unrecognized configuration parameter \"transaction_timeout\"")
    };
    let mut lines = said.into_iter().peekable();
    let mut rest = Vec::new();
    while let Some(line) = lines.next() {
        if known(&line) {
            let _ =
                lines.next_if(|next| next.strip_prefix("Command was: ") == Some(UNKNOWN_SETTING));
        } else if !line.starts_with("pg_restore: warning: errors ignored on restore: ") {
            rest.push(line);
        }
    }
    rest
}

pub(crate) fn is_error(line: &str) -> bool {
    line.starts_with("pg_restore: error: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_an_old_server_does_not_know_is_no_error_and_all_else_is() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let stumble = "pg_restore: error: could not execute query: ERROR:  unrecognized \
            configuration parameter \"transaction_timeout\"\n\
            Command was: SET transaction_timeout = 0;\n";
        let count = "pg_restore: warning: errors ignored on restore: 1\n";
        assert!(without_setting_error(lines(&format!("{stumble}{count}"))).is_empty());
        let real = "pg_restore: error: could not execute query: ERROR:  no\nCommand was: X\n";
        let both = format!("{stumble}pg_restore: warning: w\n{real}{real}{count}");
        let left = without_setting_error(lines(&both));
        assert_eq!(left.len(), 5, "{left:?}");
        assert_eq!(left[0], "pg_restore: warning: w");
        assert!(
            is_affected(18, 13)
                && is_affected(17, 16)
                && !is_affected(17, 17)
                && !is_affected(16, 13)
        );
    }
}
