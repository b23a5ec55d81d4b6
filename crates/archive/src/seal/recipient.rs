//! Public keys that an archive can be sealed to.

use crate::entry::hex;
use age::ssh::ParseRecipientKeyError;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A public key that an archive can be sealed to: `age1...`, `ssh-ed25519 ...`, `ssh-rsa ...`.
/// Written and compared by its text, without a comment.
#[derive(Clone)]
pub struct Recipient {
    text: String,
    key: Key,
}

#[derive(Clone)]
enum Key {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// A text is not a public key that an archive can be sealed to. The message never quotes the text: it
/// may be a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecipient {
    /// It is a private key.
    #[error(
        "this is a private key, which must never be here: name its public key (`age-keygen -y \
         FILE` prints it; for SSH it is in the .pub file), and make a new pair if others could read \
         this one"
    )]
    Private,
    /// An RSA key that is too weak.
    #[error("this RSA key is shorter than 2048 bits, which is not safe; use an ed25519 or age key")]
    ShortRsa,
    /// An RSA key that standard tools reject.
    #[error("this RSA key is longer than any that age reads; use an ed25519 or age key")]
    LongRsa,
    /// A key for other purposes.
    #[error(
        "keys of the kind {0} cannot be sealed to; use an age key (age1...), ssh-ed25519 or ssh-rsa"
    )]
    Unsupported(String),
    /// Not a key, or a damaged one.
    #[error("not a public key of age (age1...) or SSH (ssh-ed25519 ..., ssh-rsa ...): {0}")]
    Malformed(&'static str),
}

impl Recipient {
    /// `X25519`, `ssh-ed25519` or `ssh-rsa`.
    pub fn kind(&self) -> &'static str {
        match &self.key {
            Key::X25519(_) => "X25519",
            Key::Ssh(age::ssh::Recipient::SshEd25519(..)) => "ssh-ed25519",
            Key::Ssh(age::ssh::Recipient::SshRsa(..)) => "ssh-rsa",
        }
    }

    /// A short form of the key for display.
    pub fn short(&self) -> String {
        let (begin, end) = match &self.key {
            Key::X25519(_) => (&self.text[..8], &self.text[self.text.len() - 6..]),
            Key::Ssh(_) => {
                let end = self.text.trim_end_matches('=');
                ("", &end[end.len() - 10..])
            }
        };
        format!("{begin}…{end}")
    }

    pub(super) fn as_age(&self) -> &dyn age::Recipient {
        match &self.key {
            Key::X25519(key) => key,
            Key::Ssh(key) => key,
        }
    }

    pub(super) fn of_x25519(key: age::x25519::Recipient) -> Self {
        Self {
            text: key.to_string(),
            key: Key::X25519(key),
        }
    }

    pub(super) fn of_ssh(key: age::ssh::Recipient) -> Self {
        Self {
            text: key.to_string(),
            key: Key::Ssh(key),
        }
    }
}

impl FromStr for Recipient {
    type Err = BadRecipient;

    /// Reads a public key; the comment that may follow an SSH key is left out.
    fn from_str(text: &str) -> Result<Self, BadRecipient> {
        let text = text.trim();
        let mut words = text.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        let upper = first.to_ascii_uppercase();
        if upper.starts_with("AGE-SECRET-KEY-") || upper.starts_with("AGE-PLUGIN-") {
            return Err(BadRecipient::Private);
        }
        if text.starts_with("-----BEGIN") {
            return Err(if text.contains("PRIVATE KEY") {
                BadRecipient::Private
            } else {
                BadRecipient::Malformed("an SSH public key is one line that begins with ssh-")
            });
        }
        match (first.starts_with("age1"), words.next()) {
            (true, None) => x25519(first),
            (true, Some(_)) => Err(BadRecipient::Malformed("something follows the age key")),
            (false, Some(blob)) => ssh(first, blob),
            (false, None) if first.is_empty() => Err(BadRecipient::Malformed("it is empty")),
            (false, None) => Err(BadRecipient::Malformed("it is one word")),
        }
    }
}

fn x25519(text: &str) -> Result<Recipient, BadRecipient> {
    // `age1yubikey1...`: keys of plugins have the plugin's name there.
    let kind = text.rsplit_once('1').map_or("", |(kind, _)| kind);
    if kind != "age" && kind.starts_with("age1") {
        let plain: String = kind.chars().filter(char::is_ascii_alphanumeric).collect();
        return Err(BadRecipient::Unsupported(plain));
    }
    let key = age::x25519::Recipient::from_str(text).map_err(|_| {
        BadRecipient::Malformed("its checksum is wrong, so that it was cut short or mistyped")
    })?;
    let recipient = Recipient::of_x25519(key);
    if is_of_low_order(&recipient.text) {
        return Err(BadRecipient::Malformed("no private key belongs to it"));
    }
    Ok(recipient)
}

fn ssh(kind: &str, blob: &str) -> Result<Recipient, BadRecipient> {
    const DAMAGED: BadRecipient =
        BadRecipient::Malformed("its base64 part was cut short or mistyped");
    let known = ["ssh-", "ecdsa-", "sk-"];
    if !known.iter().any(|start| kind.starts_with(start)) {
        return Err(BadRecipient::Malformed("it begins like none of them"));
    }
    let plain: String = kind.chars().filter(char::is_ascii_graphic).collect();
    let bytes = base64(blob).ok_or(DAMAGED)?;
    let fields = fields(&bytes).ok_or(DAMAGED)?;
    if fields.first() != Some(&kind.as_bytes()) {
        return Err(DAMAGED);
    }
    // The library expects numbers other than 0.
    if kind == "ssh-rsa"
        && (fields.len() != 3
            || fields
                .iter()
                .any(|field| field.iter().all(|byte| *byte == 0)))
    {
        return Err(DAMAGED);
    }
    // The library reads on behind the key; nothing may follow it.
    let key: age::ssh::Recipient =
        format!("{kind} {blob} -")
            .parse()
            .map_err(|error| match error {
                ParseRecipientKeyError::RsaModulusTooSmall => BadRecipient::ShortRsa,
                ParseRecipientKeyError::RsaModulusTooLarge => BadRecipient::LongRsa,
                ParseRecipientKeyError::Unsupported(_) => BadRecipient::Unsupported(plain.clone()),
                _ => DAMAGED,
            })?;
    let recipient = Recipient::of_ssh(key);
    let whole = recipient.text.split_once(' ').map(|(_, blob)| blob);
    if whole.map(|whole| whole.trim_end_matches('=')) != Some(blob.trim_end_matches('=')) {
        return Err(DAMAGED);
    }
    Ok(recipient)
}

/// The fields of an SSH key (RFC 4251, 5: `string`), which fill it.
fn fields(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        fields.push(rest.get(..length)?);
        bytes = &rest[length..];
    }
    bytes.is_empty().then_some(fields)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').bytes().map(|digit| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    packed(digits, 6)
}

/// Digits of so many bits as bytes; remaining bits are dropped.
fn packed(digits: impl Iterator<Item = Option<u8>>, width: u32) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in digits {
        bits = bits << width | u32::from(digit?);
        count += width;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// Points with which every exchange gives the same secret (libsodium, `has_small_order`; RFC 7748,
/// 6.1, on the all-zero output), without their top bit. Sealing to one of them would be sealing to
/// everybody, and the library panics on it.
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn is_of_low_order(text: &str) -> bool {
    const DIGITS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let value = |digit: u8| {
        let at = DIGITS.iter().position(|known| *known == digit);
        at.map(|at| at as u8)
    };
    let key = packed(text.bytes().skip("age1".len()).map(value), 5);
    key.is_some_and(|mut key| {
        key.truncate(32);
        if let Some(last) = key.last_mut() {
            *last &= 0x7f;
        }
        LOW_ORDER.contains(&hex(&key).as_str())
    })
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Recipient {}

impl PartialOrd for Recipient {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Recipient {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AGE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBIeIJ74+QJ9m4rrjJ1XIs5ab67NfM5YnvucocpO7ArU";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCrxH8Z9ZfBqY3XWg13evP63j/qQR6vJm333Zxmedvh\
        H78rFV7/KZc+UCSR192v0KAdxBLaRpDiS5761p/fc6QiHna2Fz15bjPlP5ODiuSxfZP4315JthjtLQCm8+tUgUjbumrHvH\
        muEpQjvGqYJcv9Lsjgv0NMgzwAUYS63dtZrK+TPUjTpOuMiCsEMRU1mbjFFiSXFJWfSWkZRmDI0i+P+qJkC/iB5sGQgAA+\
        kITKN9V4R8YYGlt6mLYk9PHDI3e8svWnLbpDPXayshRkRT2cGRBQD95xh9vniAW0KmI/Ylpoln1MtKtpjIXAQ+78e5OAou\
        W1zLxtporPl+lqJMwP";
    const SHORT_RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCTFZ8x7t8MF3RzZ5DPweSHR9Z6Pf2+bgXanaF5\
        HPTz17sQnnRb4ij0ONEBniXC/vNgMWH/8qvf2VxJewEKyZXQL3rg3Whv9ZQ5p1oNMvwBnOdu4jSK36p1Y7HwW8RcImDgwO\
        zi/7Q7nIurTbqgT3Rq52Lqa7+pWk8XUY5G+O+C2w==";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCnBdxGd\
        0WcDBBMFsDHxfjR5k5rgxP6KarARWKs1rDct6rmLACqh3aRMOk08Tld/Dcjcg0w60YUd5E/F+1wJZyQ=";

    fn read(text: &str) -> Result<Recipient, BadRecipient> {
        text.parse()
    }

    #[test]
    fn three_kinds_are_read_and_a_comment_is_left_out() {
        for (text, kind) in [(AGE, "X25519"), (ED25519, "ssh-ed25519"), (RSA, "ssh-rsa")] {
            let recipient = read(&format!("  {text}\r\n")).unwrap();
            assert_eq!(recipient.to_string(), text);
            assert_eq!(recipient.kind(), kind);
            assert!(text.ends_with(recipient.short().split_once('…').unwrap().1));
        }
        let commented = read(&format!("{ED25519} alice of the hub")).unwrap();
        assert_eq!(commented.to_string(), ED25519);
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said() {
        assert_eq!(read(SHORT_RSA), Err(BadRecipient::ShortRsa));
        let unsupported = |kind: &str| Err(BadRecipient::Unsupported(kind.to_owned()));
        assert_eq!(read(ECDSA), unsupported("ecdsa-sha2-nistp256"));
        assert_eq!(
            read("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t"),
            unsupported("age1yubikey")
        );
        let secret = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        let error = read(secret).unwrap_err();
        assert_eq!(error, BadRecipient::Private);
        assert!(!error.to_string().contains("GQ9778"));
        for bad in [
            "",
            "alice",
            "alice@example.com",
            "age1",
            "age1ql3z7hjy",
            &AGE[..AGE.len() - 1],
            &AGE.replace("t7rx", "t7rz"),
            &format!("{AGE} alice"),
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &ED25519[..ED25519.len() - 2],
            &format!("{ED25519}AAAA"),
            &RSA[..RSA.len() - 4],
            &ED25519.replace("ssh-ed25519", "ssh-rsa"),
            // Numbers that are 0.
            "ssh-rsa AAAAB3NzaC1yc2EAAAABAAAAAAEA",
            "-----BEGIN PUBLIC KEY-----",
        ] {
            assert!(
                matches!(read(bad), Err(BadRecipient::Malformed(_))),
                "{bad:?}: {:?}",
                read(bad)
            );
        }
    }

    #[test]
    fn a_key_that_everybody_could_open_is_refused() {
        for text in [
            "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z",
            "age1ur4h5lpmgxu2u9jku0a0r87ydtdqnr0tnsetrlvxvgz3vh6fhzqqxqejhu",
            "age1ahlllllllllllllllllllllllllllllllllllllllllllllllalsn46ayy",
        ] {
            assert_eq!(
                read(text),
                Err(BadRecipient::Malformed("no private key belongs to it"))
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(ssh-rsa |ssh-ed25519 |ecdsa-x |age1|AGE)?[A-Za-z0-9+/=]{0,80}( \\PC*)?", at in 0usize..400, with in "\\PC") {
            let _ = read(&text);
            for key in [AGE, ED25519, RSA, SHORT_RSA, ECDSA] {
                let mut changed: Vec<char> = key.chars().collect();
                let at = at % changed.len();
                changed[at] = with.chars().next().unwrap_or('x');
                if let Ok(recipient) = read(&changed.into_iter().collect::<String>()) {
                    recipient.seal_text("text").unwrap();
                }
            }
        }
    }
}
