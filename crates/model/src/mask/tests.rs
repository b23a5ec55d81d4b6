use super::*;
use proptest::prelude::*;

fn masks(secrets: &[&str]) -> Masks {
    Masks::new(secrets.iter().map(|s| SecretString::from((*s).to_owned())))
}

/// As everybody else encodes it.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let all = three
            .iter()
            .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for at in 0..4 {
            let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let letter = letters[(all >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= three.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

#[test]
fn secrets_go_whole_and_short_ones_stay() {
    let masks = masks(&["hunter2", "hunter2-and-more", "abc", ""]);
    assert_eq!(
        masks.mask("abc: hunter2-and-more, then hunter2"),
        "abc: ***, then ***"
    );
    assert!(!format!("{masks:?}").contains("hunter2"));
}

#[test]
fn a_secret_goes_however_often_it_was_quoted() {
    let secret = "quo\"te\\back\u{1}\ttab";
    let masks = masks(&[secret]);
    let quoted = format!("{secret:?}");
    let json = |text: &str| serde_json::to_string(text).unwrap();
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
fn an_echo_of_a_login_goes_with_all_that_is_encoded_beside_it() {
    let masks = masks(&["correct-horse"]);
    let echo = base64(b"\0backup@example.org\0correct-horse");
    for user in ["", "u", "us", "use"] {
        let echo = base64(format!("\0{user}\0correct-horse").as_bytes());
        let said = masks.mask(&format!("535 5.7.8 AUTH PLAIN {echo} is wrong"));
        assert_eq!(said, "535 5.7.8 AUTH PLAIN *** is wrong");
    }
    let (half, rest) = echo.split_at(echo.len() - 9);
    for broken in [
        format!("{half}\r\n {rest}"),
        format!("{half}\n535-{rest}"),
        format!("{half}\\n{rest}"),
        format!("\"{half}\" \"{rest}\""),
    ] {
        let said = masks.mask(&broken);
        assert!(!said.contains(&rest[..8]), "{broken} became {said}");
    }
    // A piece alone.
    assert_eq!(masks.mask(rest), "***");
    let for_url = base64(b"\xff\xfe?correct-horse")
        .replace('+', "-")
        .replace('/', "_");
    assert_eq!(masks.mask(&for_url), "***");
}

#[test]
fn other_codes_and_breaks_hide_nothing() {
    let masks = masks(&["p&ss w/rd <é>"]);
    for text in [
        "user:p%26ss%20w%2Frd%20%3C%C3%A9%3E@host",
        "p%26ss+w%2frd+%3c%c3%a9%3e",
        "p&amp;ss w/rd &lt;é&gt;",
        "p&#38;ss w&#x2F;rd &lt;é&gt;",
        r"p\u0026ss w\/rd \u003c\u00e9\u003e",
        "p&ss w/\nrd <é>",
        "702673732077 2f72 64203cc3a93e",
        "702673732077 2F7264203CC3A93E",
        "p&ss=20w/rd=20<=C3=A9>",
    ] {
        let masked = masks.mask(text);
        assert!(masked.contains(STARS), "{text} became {masked}");
        assert!(
            !masked.contains("rd") && !masked.contains("2f72"),
            "{masked}"
        );
    }
}

#[test]
fn words_that_make_a_short_secret_by_chance_stay() {
    let masks = masks(&["test", "a backup"]);
    let text = "the best est backup of te st: dGVz";
    assert_eq!(masks.mask(text), text);
}

proptest! {
    #[test]
    fn no_text_breaks_it(text in "\\PC{0,60}|[%&=\\\\+;#xu{}0-9a-f\\n]{0,60}", secret in "\\PC{4,12}") {
        let masked = masks(&[&secret]).mask(&format!("{text}{secret}{text}"));
        prop_assert!(!masked.contains(secret.trim()) || secret.trim().len() < SHORTEST || STARS.contains(secret.trim()));
    }

    #[test]
    fn every_place_in_base64_is_found(before in prop::collection::vec(any::<u8>(), 0..9), secret in "[ -~]{8,40}", after in prop::collection::vec(any::<u8>(), 0..9)) {
        let secret = secret.trim();
        prop_assume!(secret.len() >= 8);
        let all = [&before, secret.as_bytes(), &after].concat();
        let said = masks(&[secret]).mask(&format!("x {} y", base64(&all)));
        prop_assert_eq!(said, "x *** y");
    }
}
