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
    /// As they may be written, the longest first.
    forms: Vec<SecretString>,
}

impl Masks {
    /// Masks these secrets, also where a text quotes them as Rust or JSON do; longer ones first, so that one inside
    /// another leaves no rest.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        let secrets: Vec<SecretString> = secrets
            .into_iter()
            .filter(|secret| secret.expose_secret().trim().len() >= SHORTEST)
            .collect();
        let mut forms: Vec<SecretString> = secrets.iter().flat_map(forms).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.expose_secret().len()));
        Self { secrets, forms }
    }

    /// These and those of another.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::new(self.secrets.iter().chain(&other.secrets).cloned())
    }

    /// The text without them.
    pub fn mask(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| {
            let form = form.expose_secret();
            if text.contains(form) {
                text.replace(form, STARS)
            } else {
                text
            }
        })
    }
}

/// A secret as it is, and as it is written inside quotes: a log line as JSON, a field of it that was quoted before.
fn forms(secret: &SecretString) -> Vec<SecretString> {
    let plain = secret.expose_secret().trim().to_owned();
    let quoted = format!("{plain:?}");
    let quoted = quoted[1..quoted.len() - 1].to_owned();
    let mut forms = vec![in_json(&quoted), in_json(&plain), quoted, plain];
    forms.dedup();
    forms.into_iter().map(SecretString::from).collect()
}

/// What stands between the quotes of a JSON text (RFC 8259, 7), with the short escapes that everybody writes.
fn in_json(text: &str) -> String {
    text.chars().fold(String::new(), |mut json, c| {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            c if c < ' ' => json.push_str(&format!("\\u{:04x}", c as u32)),
            c => json.push(c),
        }
        json
    })
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

    #[test]
    fn a_secret_goes_however_often_it_was_quoted() {
        let secret = "quo\"te\\back\u{1}\ttab";
        let masks = Masks::new([SecretString::from(secret.to_owned())]);
        let quoted = format!("{secret:?}");
        let json = |text: &str| format!("\"{}\"", in_json(text));
        for text in [secret, &quoted, &json(secret), &json(&quoted)] {
            let masked = masks.and(&Masks::default()).mask(text);
            assert!(masked.contains(STARS), "{text} became {masked}");
            assert!(
                !masked.contains("te") && !masked.contains("tab"),
                "{masked}"
            );
        }
    }

    #[test]
    fn json_is_written_as_others_write_it() {
        let text: String = (0..0x80_u8).map(char::from).chain("ü€".chars()).collect();
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(in_json(&text), json[1..json.len() - 1]);
    }
}
