//! Mail addresses, checked before anything is sent to them.

use lettre::message::Mailbox;
use std::str::FromStr;

/// Whether a text is a mail address, with or without a name before it: `Ada <ada@example.com>`.
///
/// An `Err` says what is wrong with it (RFC 5321, 4.1.2; RFC 5322, 3.4).
pub fn check_address(text: &str) -> Result<(), String> {
    if text.trim() != text || text.contains(['\r', '\n']) {
        return Err("it begins or ends with a space, or holds a line break".to_owned());
    }
    let mailbox = Mailbox::from_str(text).map_err(|error| error.to_string())?;
    // The grammar allows more than anybody's mail server does.
    if mailbox.email.domain().contains(' ') || mailbox.email.user().is_empty() {
        return Err("there is nothing before or after the @".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_what_is_none() {
        for good in [
            "a@b.example",
            "Ada Lovelace <ada@b.example>",
            "x+y@localhost",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a",
            "a@",
            "@b",
            "a b@c",
            "a@b\r\nBcc: c@d",
            " a@b.example",
        ] {
            assert!(check_address(bad).is_err(), "{bad:?}");
        }
    }
}
