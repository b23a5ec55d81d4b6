//! The configuration's secrets, kept out of whatever leaves the process.

use secrecy::{ExposeSecret, SecretString};

/// What stands in a secret's place.
const STARS: &str = "***";
/// A shorter secret would take half of every sentence with it, and protects nothing.
const SHORTEST: usize = 4;

/// Replaces secrets wherever they appear in a text.
#[derive(Clone, Debug, Default)]
pub struct Masks {
    secrets: Vec<SecretString>,
}

impl Masks {
    /// Masks these secrets; longer ones first, so that one inside another leaves no rest.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        let mut secrets: Vec<SecretString> = secrets
            .into_iter()
            .filter(|secret| secret.expose_secret().trim().len() >= SHORTEST)
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self { secrets }
    }

    /// These and those of another.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::new(self.secrets.iter().chain(&other.secrets).cloned())
    }

    /// The text without them.
    pub fn mask(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            let secret = secret.expose_secret().trim();
            if text.contains(secret) {
                text.replace(secret, STARS)
            } else {
                text
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_whole_and_short_ones_stay() {
        let secrets = ["hunter2", "hunter2-and-more", "abc", ""];
        let masks = Masks::new(secrets.map(|s| SecretString::from(s.to_owned())));
        assert_eq!(
            masks.mask("abc: hunter2-and-more, then hunter2"),
            "abc: ***, then ***"
        );
        assert!(!format!("{masks:?}").contains("hunter2"));
    }
}
