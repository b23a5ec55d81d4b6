//! Drills compare the rest of a manifest, too: sequences, files, keys, the digest of the source.

use crate::drill::drilling;
use crate::forged::{forged, forged_with};
use crate::hub::{Hub, stderr, stdout};
use hubvault_archive::{Archive, EntryKind, Identities, Manifest, UncheckedForeignKey};
use hubvault_model::TableName;
use hubvault_testkit::{database_with, server};
use std::io::BufRead;

const ROWS: &str = "CREATE TABLE users (id serial PRIMARY KEY, name text);
    INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 50) n; ANALYZE;";

/// What is made of the manifest, how the drill ends, and what it says.
type Lie<'a> = (&'a dyn Fn(&mut Manifest), i32, &'a str);

#[test]
fn false_sequences_files_and_keys_in_a_manifest_are_found() {
    let database = database_with(ROWS);
    let (mut hub, _drills) = drilling(&database);
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"hubvault.toml\"\n");
    let (_, archive) = hub.backup();
    let copy = hub.config().join("forged.tar.gz");
    let moved = |manifest: &mut Manifest| manifest.sequences[0].last_value = Some(7);
    let unused = |manifest: &mut Manifest| manifest.sequences[0].is_called = false;
    let lost = |manifest: &mut Manifest| manifest.files[0].name = "config/lost".to_owned();
    let key = |manifest: &mut Manifest| {
        let users = TableName::new("public", "users");
        manifest.not_valid.push(UncheckedForeignKey {
            name: "to_nowhere".to_owned(),
            table: users.clone(),
            references: users,
            reason: "somebody says so".to_owned(),
        });
    };
    let newer = |manifest: &mut Manifest| manifest.snapshot.server_version_num = 990_000;
    let lies: [Lie<'_>; 5] = [
        (
            &moved,
            1,
            "the sequence users_id_seq does not have the value 7",
        ),
        (
            &unused,
            1,
            "the sequence users_id_seq does not have the value 50",
        ),
        (&lost, 1, "the file config/lost is not in the archive"),
        (&key, 1, "the foreign key to_nowhere on users is missing"),
        // Nothing speaks against that one; it cannot be shown here.
        (&newer, 3, "99"),
    ];
    for (amend, code, words) in lies {
        let path = forged(&archive, &copy, |_| (), amend);
        let output = hub.run(&["verify", path.to_str().unwrap(), "--drill"]);
        let said = stderr(&output) + &stdout(&output);
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        assert!(said.contains(words), "{words:?} is not in {said}");
        assert!(!said.contains("\nproven: "), "{said}");
    }
    // The value of a sequence may be unknown.
    let unread = |manifest: &mut Manifest| manifest.sequences[0].last_value = None;
    let path = forged(&archive, &copy, |_| (), unread);
    hub.run_expecting(0, &["verify", path.to_str().unwrap(), "--drill"]);
    // On a server elsewhere, too, an archive of a newer one cannot be shown.
    let elsewhere = database.settings();
    let host = elsewhere.host.replace('/', "%2F");
    let url = format!(
        "postgres://{}@{host}:{}/postgres",
        elsewhere.user, elsewhere.port
    );
    hub.set("PROOF_SERVER", url);
    let path = forged(&archive, &copy, |_| (), newer);
    let output = hub.run(&["verify", path.to_str().unwrap(), "--drill"]);
    let said = stderr(&output) + &stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("older than 99"), "{said}");
    // Nor one with roles that it does not have.
    let owned = |manifest: &mut Manifest| manifest.roles.push("nobody's".to_owned());
    let path = forged(&archive, &copy, |_| (), owned);
    let output = hub.run_expecting(3, &["verify", path.to_str().unwrap(), "--drill"]);
    let said = stdout(&output);
    assert!(said.contains("lacks the roles nobody's"), "{said}");
}

/// A key that the manifest says is `NOT VALID`.
fn late_key(table: &str, name: &str) -> impl Fn(&mut Manifest) {
    let key = UncheckedForeignKey {
        name: name.to_owned(),
        table: TableName::new("public", table),
        references: TableName::new("public", "p"),
        reason: "somebody says so".to_owned(),
    };
    move |manifest| manifest.not_valid.push(key.clone())
}

#[test]
fn a_key_that_is_missing_is_found_beside_one_of_its_name_and_beside_other_failures() {
    let server = server();
    let database = server.database();
    let keys = "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1);
        CREATE TABLE a (p int CONSTRAINT k REFERENCES p); CREATE TABLE b (p int CONSTRAINT k REFERENCES p);
        CREATE TABLE c (id int, p int CONSTRAINT k REFERENCES p) PARTITION BY LIST (id);
        CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1) PARTITION BY LIST (p);
        CREATE TABLE c11 PARTITION OF c1 FOR VALUES IN (1);
        INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1, 1)";
    database.execute(keys);
    let (mut hub, _drills) = drilling(&database);
    // The keys of b and c lead out and come back NOT VALID; a comes back without rows, and with its key.
    hub.write("[scope]\ntables = [\"b\", \"c\"]\nwindow = []\n");
    let output = hub.run_expecting(3, &["backup", "--json"]);
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["state"], "proven", "{record}");
    let archive = std::path::PathBuf::from(record["file"].as_str().unwrap());
    let copy = hub.config().join("forged.tar.gz");
    let path = forged(&archive, &copy, |_| (), late_key("a", "k"));
    let output = hub.run_expecting(1, &["verify", path.to_str().unwrap(), "--drill"]);
    let said = stderr(&output);
    assert!(
        said.contains("the foreign key k on a is missing") && !said.contains("on b"),
        "{said}"
    );
    // A key that the server refuses is named, and what else is missing then.
    let no_index = |name: &str, content: &mut Vec<u8>| {
        if name == "database/schema-post-data.list" {
            let text = String::from_utf8(content.clone()).unwrap();
            let lines = text.split_inclusive('\n');
            let kept = lines.filter(|line| !line.contains("public p p_pkey"));
            *content = kept.collect::<String>().into_bytes();
        }
    };
    let path = forged_with(&archive, &copy, no_index, |_| (), |_| ());
    let output = hub.run_expecting(3, &["verify", path.to_str().unwrap(), "--drill"]);
    let said = stdout(&output);
    assert!(said.contains("public.b ADD CONSTRAINT k ("), "{said}");
    // Where definitions could not be made, that may be why.
    database.execute(
        "CREATE TABLE d (id int); INSERT INTO d VALUES (1), (1); CREATE INDEX d_id ON d (id);
         UPDATE pg_index SET indisunique = true WHERE indexrelid = 'd_id'::regclass",
    );
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n");
    let (_, archive) = hub.backup();
    let path = forged(&archive, &copy, |_| (), late_key("d", "to_nowhere"));
    let output = hub.run_expecting(3, &["verify", path.to_str().unwrap(), "--drill"]);
    let said = stdout(&output);
    assert!(
        said.contains("not rebuilt: index d_id")
            && said.contains("the foreign key to_nowhere on d is missing"),
        "{said}"
    );
}

#[test]
fn a_file_that_rotted_is_found_by_a_drill_alone() {
    let database = database_with(ROWS);
    let (mut hub, _drills) = drilling(&database);
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"hubvault.toml\"\n");
    let (_, archive) = hub.backup();
    let open = Archive::open_path(&archive, &Identities::none()).unwrap();
    let entries = &open.manifest().entries;
    let file = entries.iter().find(|it| it.kind == EntryKind::Config);
    let (begin, size) = file.map(|it| (it.offset, it.stored_bytes)).unwrap();
    let mut bytes = std::fs::read(&archive).unwrap();
    let last_quarter = (begin + size - size / 4) as usize..(begin + size) as usize;
    bytes[last_quarter]
        .iter_mut()
        .for_each(|byte| *byte ^= 0xff);
    std::fs::write(&archive, bytes).unwrap();
    let output = hub.run_expecting(1, &["drill", archive.to_str().unwrap()]);
    assert!(stdout(&output).contains("REJECTED"), "{}", stdout(&output));
}

#[test]
fn a_backup_whose_drill_is_not_due_is_unproven() {
    let database = database_with(ROWS);
    let (mut hub, drills) = drilling(&database);
    hub.set("PROOF", "daily");
    let (first, _) = hub.backup();
    assert_eq!(first["state"], "proven", "{first}");
    let (second, _) = hub.backup();
    assert_eq!(second["state"], "unproven", "{second}");
    let reason = second["proof"]["reason"].as_str().unwrap();
    assert_eq!(reason, "drilled daily, and the last drill is not that old");
    // A drill that waits for another can be stopped; its time limit starts when it runs.
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[proof]\ntime_limit = \"1 s\"\n");
    let _turn = hubvault_postgres::DrillLock::try_take(drills.path()).unwrap();
    let mut child = hub
        .command(&["verify", "latest", "--drill"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let waits = format!("waiting for another drill in {}", drills.path().display());
    let line = said.find_map(|line| line.ok().filter(|line| line.contains(&waits)));
    let line = line.unwrap();
    let who = format!("(process {})", std::process::id());
    assert!(line.contains(&who), "{line}");
    let killed = std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status();
    assert!(killed.unwrap().success());
    let ended = child.wait_with_output().unwrap().status.code();
    assert_eq!(ended, Some(143), "128 and SIGTERM");
}

#[test]
fn the_digest_made_by_the_source_is_compared_in_any_encoding() {
    let server = server();
    let database = server.database();
    let name = format!("{}_latin", database.name());
    database.execute(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    ));
    let latin = server.settings(&name);
    // More than ASCII, and what a row's text quotes.
    hubvault_testkit::execute(
        &latin,
        "CREATE TABLE names (id int PRIMARY KEY, name text, code \"char\", part char(9));
         INSERT INTO names VALUES (1, U&'J\\00FCrgen \\00A0 d\\0027\\00C9t\\00E9', 'x', 'é'), (2, '', NULL, '(,\"\\)'),
                                  (3, NULL, '(', ' ');
         CREATE TABLE nothing (id int)",
    );
    let mut hub = Hub::at(&latin, "[scope]\ntables = [\"*\"]\nwindow = []\n");
    hub.set("PROOF", "always");
    hub.set("PROOF_SOURCE_DIGEST", "always");
    let (summary, archive) = hub.backup();
    assert_eq!(summary["state"], "proven", "{summary}");
    let digest = |at: usize| {
        Archive::open_path(&archive, &Identities::none())
            .unwrap()
            .manifest()
            .tables[at]
            .source_digest
            .clone()
            .unwrap()
    };
    assert!(
        digest(0).starts_with("utf8:") && digest(1) == "utf8:0",
        "{} {}",
        digest(0),
        digest(1)
    );
    // Another row than the one that the source spoke of.
    let of = |manifest: &mut Manifest| manifest.tables[0].source_digest = Some("utf8:1".to_owned());
    let copy = hub.config().join("forged.tar.gz");
    let path = forged(&archive, &copy, |_| (), of);
    let said = stderr(&hub.run(&["verify", path.to_str().unwrap(), "--drill"]));
    assert!(said.contains("differ from the source's digest"), "{said}");
}
