//! Keeps the configuration's secrets out of everything that leaves the process: plain, encoded, quoted, and broken
//! over lines.

mod view;

use secrecy::{ExposeSecret, SecretString};
use std::ops::Range;
use view::View;

/// The replacement for a secret.
const STARS: &str = "***";
/// Masking a shorter secret would hide much other text, and it protects nothing.
const SHORTEST: usize = 4;
/// A shorter text is not searched across spaces and line breaks, where it may occur by accident.
const SHORTEST_BROKEN: usize = 8;
/// Letters of a secret in base64 or hexadecimal that reveal a part of it: six or four bytes.
const FRAGMENT: usize = 8;

/// Replaces secrets wherever they appear in a text.
#[derive(Clone, Debug, Default)]
pub struct Masks {
    secrets: Vec<SecretString>,
    /// The search texts without encoding.
    plain: Vec<SecretString>,
    /// The search texts in base64, at every alignment.
    base64: Vec<SecretString>,
    /// The search texts in lower-case hexadecimal.
    hex: Vec<SecretString>,
}

impl Masks {
    /// Masks these secrets.
    pub fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        let secrets: Vec<SecretString> = secrets
            .into_iter()
            .filter(|secret| secret.expose_secret().trim().len() >= SHORTEST)
            .collect();
        let trimmed = || secrets.iter().map(|secret| secret.expose_secret().trim());
        let secret = |text: String| SecretString::from(text);
        Self {
            plain: trimmed().map(str::to_owned).map(secret).collect(),
            base64: trimmed().flat_map(in_base64).map(secret).collect(),
            hex: trimmed().map(in_hex).map(secret).collect(),
            secrets,
        }
    }

    /// The secrets of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::new(self.secrets.iter().chain(&other.secrets).cloned())
    }

    /// The text with the secrets replaced.
    pub fn mask(&self, text: &str) -> String {
        if self.secrets.is_empty() {
            return text.to_owned();
        }
        let mut found = Vec::new();
        let as_it_is = View::of(text);
        let unbroken = View::unbroken(text);
        self.look_in(&as_it_is, SHORTEST, &mut found);
        self.look_in(&unbroken, SHORTEST_BROKEN, &mut found);
        for decoded in View::decoded(text) {
            self.look_in(&decoded, SHORTEST, &mut found);
        }
        for view in [&as_it_is, &unbroken] {
            self.look_for_base64(view, text, &mut found);
        }
        without(text, found)
    }

    /// Matches that are plain or in hexadecimal.
    fn look_in(&self, view: &View, shortest: usize, found: &mut Vec<Range<usize>>) {
        let long = |secret: &&SecretString| secret.expose_secret().len() >= shortest;
        for secret in self.plain.iter().filter(long) {
            let secret = secret.expose_secret();
            if view.is_unbroken() {
                view.find(View::unbroken(secret).bytes(), found);
            } else {
                view.find(secret.as_bytes(), found);
            }
        }
        let lower = view.in_lower_case();
        for secret in self.hex.iter().filter(long) {
            for fragment in fragments(secret.expose_secret().as_bytes()) {
                lower.find(fragment, found);
            }
        }
    }

    /// The whole of a word of base64 goes: what stands beside the secret in it is its user, and shares letters with it.
    fn look_for_base64(&self, view: &View, text: &str, found: &mut Vec<Range<usize>>) {
        let mut here = Vec::new();
        for secret in &self.base64 {
            for fragment in fragments(secret.expose_secret().as_bytes()) {
                view.find(fragment, &mut here);
            }
        }
        let bytes = text.as_bytes();
        let of_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte);
        found.extend(here.into_iter().map(|range| {
            let before = bytes[..range.start]
                .iter()
                .rev()
                .take_while(|b| of_base64(b));
            let after = bytes[range.end..].iter().take_while(|b| of_base64(b));
            range.start - before.count()..range.end + after.count()
        }));
    }
}

/// The text with these parts replaced.
fn without(text: &str, mut found: Vec<Range<usize>>) -> String {
    found.sort_by_key(|range| (range.start, range.end));
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for range in found {
        if range.start >= at {
            out.push_str(&text[at..range.start]);
            out.push_str(STARS);
        }
        at = at.max(range.end);
    }
    out + &text[at..]
}

/// All fragments of the shortest revealing length; a shorter text is one fragment.
fn fragments(whole: &[u8]) -> impl Iterator<Item = &[u8]> {
    whole.windows(FRAGMENT.min(whole.len()).max(1))
}

/// The letters that stand for a text alone wherever it begins in what is encoded (RFC 4648, 4 and 5): the first ones and
/// the last one may depend on what is beside it.
fn in_base64(text: &str) -> Vec<String> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let at = |before: usize| -> String {
        let bits: Vec<u8> = std::iter::repeat_n(0, before)
            .chain(text.bytes())
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
            .collect();
        let letters = bits.chunks_exact(6).map(|six| {
            let index = six.iter().fold(0, |sum, bit| sum << 1 | usize::from(*bit));
            char::from(LETTERS[index])
        });
        letters.skip((before * 8).div_ceil(6)).collect()
    };
    let mut all: Vec<String> = (0..3)
        .map(at)
        .filter(|form| form.len() >= SHORTEST)
        .collect();
    let for_urls = all
        .iter()
        .map(|form| form.replace('+', "-").replace('/', "_"));
    all.extend(for_urls.collect::<Vec<_>>());
    all.sort();
    all.dedup();
    all
}

fn in_hex(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
mod tests;
