//! The password file (`PostgreSQL` manual, "The Password File").

use crate::connect::settings::ConnectSettings;
use secrecy::SecretString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The password that the file has for these settings; `None` when there is no file or no line.
///
/// As libpq does, a file that others may read is not used, and that is said.
pub(crate) fn look_up(path: &Path, settings: &ConnectSettings) -> Option<SecretString> {
    let meta = fs::metadata(path).ok()?;
    if !meta.is_file() {
        return None;
    }
    if meta.mode() & 0o077 != 0 {
        tracing::warn!(
            "password file {} is not used because others may read it; run chmod 600 on it",
            path.display()
        );
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    find(&text, settings).map(SecretString::from)
}

fn find(text: &str, settings: &ConnectSettings) -> Option<String> {
    // libpq matches a socket in the default directory as localhost; any socket is close enough.
    let host = if settings.host.starts_with('/') {
        "localhost"
    } else {
        &settings.host
    };
    let port = settings.port.to_string();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let mut fields = fields(line).into_iter();
            let (password, wanted) = (
                fields.nth(4),
                [host, &port, &settings.dbname, &settings.user],
            );
            let given = self::fields(line);
            let fits = given.len() >= 5
                && wanted.iter().zip(&given).all(|(want, have)| {
                    have == "*" || have == want || (*want == host && *have == settings.host)
                });
            password.filter(|_| fits)
        })
}

/// Splits at colons; a backslash takes the next character as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '\\' => fields[last].extend(chars.next()),
            // The password is the rest of the line, but for escapes.
            ':' if fields.len() < 5 => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host: &str) -> ConnectSettings {
        ConnectSettings {
            host: host.into(),
            user: "hub".into(),
            dbname: "prod".into(),
            ..ConnectSettings::default()
        }
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let text = "# comment\nother:5432:*:hub:no\n*:*:prod:hub:a\\:b\\\\c\n*:*:*:*:late";
        assert_eq!(find(text, &settings("db")).unwrap(), "a:b\\c");
        assert!(find("db:1:*:*:x", &settings("db")).is_none());
        assert_eq!(
            find("localhost:*:*:*:x", &settings("/run/pg")).unwrap(),
            "x"
        );
        assert_eq!(find("/run/pg:*:*:*:x", &settings("/run/pg")).unwrap(), "x");
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "*:*:*:*:secret\n").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(look_up(file.path(), &settings("db")).is_none());
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(look_up(file.path(), &settings("db")).is_some());
    }
}
