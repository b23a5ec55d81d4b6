//! Recipients are checked before anything is read, and prove that they can open archives.

use crate::hub::{Hub, stderr, stdout};
use crate::keys::{Pair, code, text, tool};
use hubvault_testkit::{USERS, contains_bytes, database_with};
use serde_json::Value;
use std::process::Command;

const ALL: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n";

#[test]
fn unusable_recipients_are_refused_before_the_database_is_read() {
    let database = database_with(USERS);
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    let short = Pair::ssh(keys.path(), "rsa", "1024", "");
    let hub = Hub::with(
        &database,
        &format!(
            "{ALL}[seal]\nrecipients = [\n\"{0}\",\n\"{1}\",\n\"{2}\",\n\"recipients.txt\"]\n",
            alice.public,
            short.public,
            &alice.public[..40],
        ),
    );
    let list = hub.config().join("recipients.txt");
    std::fs::write(&list, format!("# who\n{}\n", alice.public)).unwrap();
    let said = hub.backup_fails(2, &["3 mistakes"]);
    for words in [
        "line 8: seal.recipients: this RSA key is shorter than 2048 bits",
        "line 9: seal.recipients: not a public key of age",
        "recipients.txt line 2): seal.recipients: age1",
        "is named twice, here and in hubvault.toml line 7",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
}

#[test]
fn recipients_prove_their_key_by_opening_an_archive_or_by_an_answer() {
    let database = database_with(USERS);
    let keys = tempfile::tempdir().unwrap();
    let alice = Pair::age(keys.path(), "alice");
    let bob = Pair::ssh(keys.path(), "ed25519", "256", "");
    let mut hub = Hub::whole(&database);
    let none = hub.run(&["seal", "check"]);
    assert_eq!(code(&none), Some(3));
    assert!(stdout(&none).contains("in the clear"), "{}", stdout(&none));
    hub.write(&format!(
        "file = []\n{ALL}[[seal.recipient]]\nname = \"alice@example.com\"\nkey = \"{}\"\n\
         [[seal.recipient]]\nkey = \"{}\"\n",
        alice.public, bob.public
    ));
    hub.backup();
    let table = |hub: &Hub| -> Value {
        serde_json::from_slice(&hub.run(&["seal", "check", "--json"]).stdout).unwrap()
    };
    let before = hub.run(&["seal", "check"]);
    assert_eq!(code(&before), Some(3));
    assert_eq!(
        stdout(&before).matches("never").count(),
        2,
        "{}",
        stdout(&before)
    );
    assert_eq!(
        code(&hub.run(&["show", "latest", "--identity", alice.identity()])),
        Some(0)
    );
    let rows = table(&hub);
    assert_eq!(rows[0]["name"], "alice@example.com");
    assert_eq!(rows[0]["kind"], "X25519");
    assert!(
        rows[0]["shown_at"].is_string() && rows[1]["shown_at"].is_null(),
        "{rows}"
    );

    let challenges = keys.path().join("challenges");
    let asked = hub.run(&["seal", "check", "--challenge", text(&challenges)]);
    assert_eq!(code(&asked), Some(3), "{}", stderr(&asked));
    let alices = challenges.join("challenge-1-alice@example.com.txt.age");
    let bobs = challenges.join("challenge-2-admin@hub.txt.age");
    assert!(alices.is_file() && bobs.is_file(), "{}", stdout(&asked));
    // Nobody else reads it.
    let other = Command::new("age")
        .args(["-d", "-i", alice.identity(), text(&bobs)])
        .output();
    assert!(!other.unwrap().status.success());
    let read = stdout(&tool("age", &["-d", "-i", bob.identity(), text(&bobs)]));
    let wrong = hub.run(&["seal", "check", "--answer", "0123456789abcdef"]);
    assert_eq!(code(&wrong), Some(1), "{}", stdout(&wrong));
    let answer = read.trim().lines().last().unwrap();
    let right = hub.run(&["seal", "check", "--answer", answer]);
    assert_eq!(code(&right), Some(0), "{}", stderr(&right));
    assert!(
        stdout(&right).contains("admin@hub can open archives"),
        "{}",
        stdout(&right)
    );
    let again = hub.run(&["seal", "check", "--answer", answer]);
    assert_eq!(code(&again), Some(1), "{}", stdout(&again));
    let catalog = std::fs::read(hub.backups().join(".hubvault/catalog.sqlite")).unwrap();
    assert!(!contains_bytes(&catalog, answer.as_bytes()));
}
