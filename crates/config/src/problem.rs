//! What is wrong with a configuration: where, which key, what was expected.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `hubvault.toml line 12`, `variable POSTGRES_PORT`.
    pub origin: String,
    /// `database.port`; empty where no key is concerned.
    pub key: String,
    /// What was expected, and the nearest known key where one is unknown. Never a secret's text.
    pub what: String,
}

impl Problem {
    /// A mistake `what` in `key`, read from `origin`.
    pub fn new(origin: impl Into<String>, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            key: key.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.what)
        } else {
            write!(f, "{}: {}: {}", self.origin, self.key, self.what)
        }
    }
}

/// All mistakes of a configuration, found in one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// All of them, in the order in which they were found.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "configuration: {one}"),
            many => {
                write!(f, "configuration: {} mistakes", many.len())?;
                many.iter()
                    .try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// A longer text than this is near to no word, and comparing it would take long.
const LONGEST_MISTAKE: usize = 100;

/// `; did you mean "host"?` where one of `known` is close to what was written.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    if written.len() > LONGEST_MISTAKE {
        return String::new();
    }
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(written, word), word))
        .min()
        .filter(|(distance, word)| *distance <= (word.len() / 2).clamp(1, 4))
        .map_or_else(String::new, |(_, word)| format!("; did you mean {word}?"))
}
