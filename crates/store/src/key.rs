//! The name of an object in a store.

use std::fmt;

/// The longest part of a key, in bytes: a file name has 255, and an unfinished object needs 37 more.
const PART: usize = 218;
/// The longest key, in bytes; object stores take 1024, and a destination's prefix comes before it.
const WHOLE: usize = 768;
/// What the name of an unfinished object ends with, after 32 random hexadecimal digits.
pub(crate) const UNFINISHED: &str = ".new";
const RANDOM: usize = 32;

/// The name of an object: parts with `/` between them. A part is neither empty nor begins with a dot, holds no control
/// characters, and is not called as an unfinished object is; so no key leads out of its store or names what is not an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// A text that is no key.
#[derive(Debug, thiserror::Error)]
#[error("{key:?} cannot be the key of an object: {why}")]
pub struct InvalidKey {
    key: String,
    why: &'static str,
}

impl Key {
    /// Makes a key of a text.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let why = if text.len() > WHOLE {
            "it is longer than 768 bytes"
        } else {
            match text.split('/').find_map(wrong) {
                None => return Ok(Self(text.to_owned())),
                Some(why) => why,
            }
        };
        Err(InvalidKey {
            key: text.to_owned(),
            why,
        })
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts before the last one, and the last one.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a part of a key.
pub(crate) fn wrong(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        Some("a part of it is empty")
    } else if part.starts_with('.') {
        Some("a part of it begins with a dot")
    } else if part.len() > PART {
        Some("a part of it is longer than 218 bytes")
    } else if part.chars().any(char::is_control) {
        Some("it has control characters")
    } else if is_unfinished(part) {
        Some("unfinished objects are called so")
    } else {
        None
    }
}

/// Whether an object that nobody finished is called so.
pub(crate) fn is_unfinished(part: &str) -> bool {
    part.strip_suffix(UNFINISHED)
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(_, random)| {
            random.len() == RANDOM && random.bytes().all(|c| c.is_ascii_hexdigit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_out_of_its_store() {
        let unfinished = format!("a.{}.new", "0".repeat(32));
        let long = "x".repeat(219);
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "a/../b",
            ".hubvault",
            "a\nb",
            "a\0",
            &unfinished,
            &long,
        ] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
        for text in ["a", "a/b c", "ü%2f'\"$(x)", "a.new", "x..y", "-rf"] {
            assert_eq!(Key::parse(text).unwrap().as_str(), text);
        }
    }
}
