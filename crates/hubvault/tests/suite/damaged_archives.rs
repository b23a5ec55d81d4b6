//! A damaged or foreign file is refused with the place of the damage.

use crate::hub::{Hub, stderr};
use hubvault_testkit::database_with;
use std::path::Path;

fn refused(hub: &Hub, command: &str, path: &Path, words: &[&str]) {
    let output = hub.run(&[command, path.to_str().unwrap()]);
    let said = stderr(&output);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{command} {}: {said}",
        path.display()
    );
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn truncated_damaged_and_foreign_files_are_refused() {
    let database = database_with(
        "CREATE TABLE users (id int PRIMARY KEY, name text);
         INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, 5000) n",
    );
    let hub = Hub::whole(&database);
    let (_, archive) = hub.backup();
    hub.run_expecting(0, &["verify", "latest"]);
    hub.run_expecting(0, &["verify"]);
    let bytes = std::fs::read(&archive).unwrap();
    let copy = hub.config().join("copy.tar.gz");
    for keep in [0, 1, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&copy, &bytes[..keep]).unwrap();
        refused(&hub, "verify", &copy, &[]);
        refused(&hub, "show", &copy, &[]);
    }
    // Spread over the file; a prime step meets every kind of entry.
    for at in (0..bytes.len()).step_by(bytes.len() / 199) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&copy, &flipped).unwrap();
        refused(&hub, "verify", &copy, &[]);
    }
    std::fs::write(
        &copy,
        b"just some text that is no archive at all, but long enough".repeat(10),
    )
    .unwrap();
    refused(&hub, "verify", &copy, &["not a hubvault archive"]);
    refused(&hub, "show", &copy, &["not a hubvault archive"]);
    refused(
        &hub,
        "verify",
        Path::new("/nonexistent.tar.gz"),
        &["no file"],
    );
}
