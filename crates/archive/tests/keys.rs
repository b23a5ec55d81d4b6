//! Which keys are read, and the errors of the others.

use hubvault_archive::{BadRecipient, Identities, Recipient};

const PUBLIC: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

#[test]
fn invalid_keys_are_refused_and_valid_keys_are_ordered() {
    let [first, second] = [
        PUBLIC,
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
    ]
    .map(|key| key.parse::<Recipient>().unwrap());
    assert!(first < second && first.cmp(&second).is_lt());
    for (text, words) in [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private"),
        (
            "-----BEGIN SSH2 PUBLIC KEY-----",
            "one line that begins with ssh-",
        ),
        // Of another kind inside than its first word says.
        (
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIBIeIJ74+QJ9m4rrjJ1XIs5ab67NfM5YnvucocpO7ArU",
            "cut short or mistyped",
        ),
        // A part too many, a part too few.
        (
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAA==",
            "cut short or mistyped",
        ),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "cut short or mistyped"),
    ] {
        let error = text.parse::<Recipient>().unwrap_err().to_string();
        assert!(error.to_lowercase().contains(words), "{text}: {error}");
    }
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let four = |three: &[u8]| {
        let [a, b, c] = [0, 1, 2].map(|n| u32::from(three.get(n).copied().unwrap_or_default()));
        let all = a << 16 | b << 8 | c;
        let letter = |n: usize| match n {
            n if n > three.len() => '=',
            n => char::from(LETTERS[(all >> (18 - 6 * n) & 63) as usize]),
        };
        [0, 1, 2, 3].map(letter)
    };
    bytes.chunks(3).flat_map(four).collect()
}

fn of_ssh(kind: &str, fields: &[&[u8]]) -> String {
    let mut blob = Vec::new();
    for field in [&[kind.as_bytes()], fields].concat() {
        blob.extend((field.len() as u32).to_be_bytes());
        blob.extend(field);
    }
    format!("{kind} {}", base64(&blob))
}

#[test]
fn ssh_keys_are_complete_and_of_a_length_that_age_reads() {
    // The base point of the curve (RFC 8032, 5.1).
    let mut ed25519 = [0x66; 32];
    ed25519[0] = 0x58;
    of_ssh("ssh-ed25519", &[&ed25519])
        .parse::<Recipient>()
        .unwrap();
    let more = of_ssh("ssh-ed25519", &[&ed25519, b"more"]);
    assert!(matches!(
        more.parse::<Recipient>(),
        Err(BadRecipient::Malformed(_))
    ));
    let modulus = |bytes: usize| [&[0][..], &vec![0xff; bytes]].concat();
    let rsa = |bytes: usize| of_ssh("ssh-rsa", &[&[1, 0, 1], &modulus(bytes)]).parse::<Recipient>();
    rsa(256).unwrap();
    assert!(matches!(rsa(128), Err(BadRecipient::ShortRsa)));
    assert!(matches!(rsa(2_048), Err(BadRecipient::LongRsa)));
}

#[test]
fn a_key_of_an_unsupported_type_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ecdsa", "-N", "", "-f"])
        .arg(&file)
        .status();
    assert!(made.unwrap().success());
    let error = Identities::read(&file).unwrap_err().to_string();
    assert!(
        error.contains("ecdsa") && error.contains("ssh-ed25519 or ssh-rsa"),
        "{error}"
    );
    let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
    let error = public.parse::<Recipient>().unwrap_err().to_string();
    assert!(error.contains("ecdsa"), "{error}");
}
