//! A backup is restored equal with plain tools alone.

use crate::hub::{Hub, stderr, stdout};
use hubvault_testkit::{
    NASTY, NASTY_LARGE, extract, restore_with_plain_tools, run_restore_script, server,
};
use std::process::Command;

fn restore_accepted_by(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{program} complains");
}

#[test]
fn the_nasty_database_is_restored_equal() {
    let server = server();
    let source = server.database();
    source.execute(NASTY);
    let hub = Hub::whole(&source);
    let (record, archive) = hub.backup();
    assert_eq!(record["state"], "unproven");
    let path = archive.to_str().unwrap();
    restore_accepted_by("gzip", &["-t", path]);
    restore_accepted_by("tar", &["-tzf", path]);

    let target = server.database();
    restore_with_plain_tools(&archive, &target);
    assert_eq!(source.digests(), target.digests());
}

#[test]
fn sequences_views_and_other_objects_are_restored() {
    let server = server();
    let source = server.database();
    source.execute(NASTY);
    let hub = Hub::whole(&source);
    let (_, archive) = hub.backup();
    let target = server.database();
    restore_with_plain_tools(&archive, &target);
    for what in [
        "SELECT string_agg(format('%s %s', oid::regclass, relkind), ',' ORDER BY oid::regclass::text) FROM pg_class WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')",
        "SELECT string_agg(format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)), ',' ORDER BY conrelid::regclass::text, conname) FROM pg_constraint WHERE connamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')",
        "SELECT string_agg(format('%s.%s %s', schemaname, sequencename, last_value), ',' ORDER BY 1) FROM (SELECT * FROM pg_sequences ORDER BY 1, 2) s",
        "SELECT string_agg(pg_get_triggerdef(oid), ',' ORDER BY pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT string_agg(format('%s', p), ',' ORDER BY p::text) FROM pg_policies p",
        "SELECT string_agg(indexdef, ',' ORDER BY indexdef) FROM pg_indexes WHERE schemaname !~ '^pg_'",
        "SELECT string_agg(definition, ',' ORDER BY definition) FROM pg_views WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    ] {
        assert_eq!(source.value(what), target.value(what), "{what}");
    }
}

#[test]
fn large_tables_are_restored_from_several_extents_in_both_codecs() {
    let server = server();
    let source = server.database();
    source.execute(NASTY_LARGE);
    let digests = source.digests();
    let mut hub = Hub::whole(&source);
    let (_, gzip) = hub.backup();
    let target = server.database();
    restore_with_plain_tools(&gzip, &target);
    assert_eq!(digests, target.digests());
    drop(target);

    hub = Hub::with(
        &source,
        "[scope]\ntables = [\"*\"]\nwindow = []\n[archive]\ncodec = \"zstd\"\n",
    );
    let (record, zstd) = hub.backup();
    let shown = hub.run(&["show", "latest", "--json"]);
    let manifest: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let parts = manifest["tables"].as_array().unwrap().iter();
    assert!(
        parts.map(|t| t["entries"].as_array().unwrap().len()).max() > Some(3),
        "{record}"
    );
    let target = server.database();
    restore_with_plain_tools(&zstd, &target);
    assert_eq!(digests, target.digests());
}

#[test]
fn a_second_restore_needs_clean_and_gives_the_same_result() {
    let server = server();
    let source = server.database();
    source.execute(NASTY);
    let hub = Hub::whole(&source);
    let (_, archive) = hub.backup();
    let directory = tempfile::tempdir().unwrap();
    extract(&archive, directory.path());
    let target = server.database();
    let first = run_restore_script(directory.path(), &target, &["--create-roles"]);
    assert!(first.status.success(), "{}", stderr(&first));
    let refused = run_restore_script(directory.path(), &target, &["--create-roles"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("--clean"), "{}", stderr(&refused));
    let again = run_restore_script(directory.path(), &target, &["--create-roles", "--clean"]);
    assert!(
        again.status.success(),
        "{}{}",
        stdout(&again),
        stderr(&again)
    );
    assert_eq!(source.digests(), target.digests());
}

#[test]
fn the_restore_script_says_what_is_not_as_it_was() {
    let server = server();
    let source = server.database();
    source.execute(
        "CREATE TABLE users (id int PRIMARY KEY, up int REFERENCES users, name text);
         INSERT INTO users SELECT n, NULL, 'user ' || n FROM generate_series(1, 9) n",
    );
    let hub = Hub::whole(&source);
    let (_, archive) = hub.backup();
    let from = "2\t\\N\tuser 2\n";
    for (to, code, word) in [
        ("1\t\\N\tuser 2\n", 3, "users_pkey postgres: ERROR"),
        (
            "2\t77\tuser 2\n",
            3,
            "users_up_fkey on public.users: 1 row breaks it, the first: (2)",
        ),
        ("x\t\\N\tuser 2\n", 1, "loading database/users.sql failed"),
        ("", 1, "another number of rows"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        extract(&archive, directory.path());
        let file = directory.path().join("database/users.sql");
        let rows = std::fs::read_to_string(&file).unwrap();
        assert!(rows.contains(from), "{rows}");
        std::fs::write(&file, rows.replace(from, to)).unwrap();
        let target = server.database();
        let output = run_restore_script(directory.path(), &target, &[]);
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{word}: {said}");
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

const SCOPED: &str = "
CREATE TABLE users (id int PRIMARY KEY, name text);
CREATE TABLE accounts (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE purchases (id int PRIMARY KEY, account_id int REFERENCES accounts, note text,
    created_at timestamptz);
CREATE TABLE refunds (id int PRIMARY KEY, purchase_id int REFERENCES purchases,
    created_at date);
INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 100) n;
INSERT INTO accounts SELECT n, n FROM generate_series(1, 100) n;
INSERT INTO purchases SELECT n, n % 100 + 1,
    CASE n % 4 WHEN 0 THEN E'two\\n\\\\.\\nlines, \"quoted\"' WHEN 1 THEN '' WHEN 2 THEN NULL ELSE 'plain' END,
    CASE WHEN n <= 900 THEN now() - (n || ' days')::interval END
    FROM generate_series(1, 1000) n;
INSERT INTO refunds SELECT n, n, current_date - n FROM generate_series(1, 400) n;
ANALYZE;
";

#[test]
fn a_window_takes_its_rows_and_reports_what_it_leaves_out() {
    let server = server();
    let source = server.database();
    source.execute(SCOPED);
    let hub = Hub::with(
        &source,
        "[scope]\ntables = [\"users\", \"organizations\"]\n[[scope.window]]\n\
         tables = [\"purchases\", \"refunds\"]\ncolumn = \"created_at\"\nlength = \"90 days\"\nreferences = \"warn\"\n",
    );
    let (record, archive) = hub.backup();
    let warnings = record["warnings"].to_string();
    assert!(
        warnings.contains("organizations does not exist"),
        "{warnings}"
    );
    assert!(
        warnings.contains("accounts is not in the scope"),
        "{warnings}"
    );

    let target = server.database();
    let directory = tempfile::tempdir().unwrap();
    extract(&archive, directory.path());
    let info = std::fs::read_to_string(directory.path().join("BACKUP_INFO.txt")).unwrap();
    assert!(info.contains("organizations does not exist"), "{info}");
    assert!(info.contains("NOT VALID"), "{info}");
    let restored = run_restore_script(directory.path(), &target, &[]);
    assert!(
        restored.status.success(),
        "{}{}",
        stdout(&restored),
        stderr(&restored)
    );

    let recent = "SELECT count(*) || ' ' || md5(string_agg(p::text, ',' ORDER BY id)) FROM purchases p \
                  WHERE created_at >= now() - interval '90 days' OR created_at IS NULL";
    assert_eq!(source.value(recent), target.value(recent));
    assert_eq!(target.value("SELECT count(*) FROM accounts"), "0");
    assert_eq!(target.value("SELECT count(*) FROM users"), "100");
    let checked = "SELECT string_agg(conname || ' ' || convalidated, ', ' ORDER BY conname) \
                   FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(
        target.value(checked),
        "accounts_user_id_fkey true, purchases_account_id_fkey false, refunds_purchase_id_fkey false"
    );
}

#[test]
fn a_partitioned_table_without_its_referenced_tables_is_restored_with_not_valid_keys() {
    let server = server();
    let source = server.database();
    source.execute(
        "CREATE TABLE owners (id int PRIMARY KEY);
         INSERT INTO owners VALUES (1);
         CREATE TABLE events (id int, owner int REFERENCES owners) PARTITION BY RANGE (id);
         CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
         CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20);
         INSERT INTO events SELECT n, 1 FROM generate_series(1, 15) n;",
    );
    let hub = Hub::with(&source, "[scope]\ntables = [\"events\"]\nwindow = []\n");
    let (record, archive) = hub.backup();
    assert_eq!(record["tables"].as_array().unwrap().len(), 2);
    let target = server.database();
    restore_with_plain_tools(&archive, &target);
    assert_eq!(target.value("SELECT count(*) FROM events"), "15");
    assert_eq!(
        target.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated"),
        "2"
    );
}
