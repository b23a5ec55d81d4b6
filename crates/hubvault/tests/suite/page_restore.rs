//! A backup restored from the page, step by step, without JavaScript.

use crate::hub::{Hub, stderr};
use crate::page::{Browser, is_page};
use crate::page_operations::{kill, with_backup};
use crate::service_process::ServiceProcess;
use hubvault_testkit::{Database, database_with};
use std::fs;

const HOSTILE: &str = "<script>alert(1)</script>";

pub(crate) fn shop() -> Database {
    database_with(&format!(
        "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'a'), (2, 'b');
         CREATE TABLE \"{HOSTILE}\" (id int PRIMARY KEY); INSERT INTO \"{HOSTILE}\" VALUES (7)"
    ))
}

/// The text of a form, whatever is in it.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| -> String {
        let bytes: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        bytes.concat()
    };
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn location(answer: &crate::service_process::Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    let to = answer.header("location").unwrap();
    let (_, id) = to.split_once("operations/").unwrap();
    format!("/operations/{id}")
}

/// Asks what a restore would do; the address of the page that says it.
pub(crate) fn preview(browser: &Browser<'_>, id: &str, fields: &[(&str, &str)]) -> String {
    location(&browser.submit(&format!("/backups/{id}/restore"), &form(fields)))
}

pub(crate) fn confirm(browser: &Browser<'_>, preview: &str, database: &str) -> String {
    let sent = form(&[("database", database)]);
    location(&browser.submit(&format!("{preview}/restore"), &sent))
}

fn diff_is_empty(hub: &Hub, id: &str, database: &str) {
    let compared = hub.run(&["diff", id, "--database", database]);
    assert_eq!(compared.status.code(), Some(0), "{}", stderr(&compared));
}

#[test]
fn a_new_database_is_restored_and_equal() {
    let database = shop();
    let (hub, id) = with_backup(&database);
    let token = hub.token("eva", "admin");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let name = format!("{}_restored", database.name());
    let first = is_page(&browser.get(&format!("/backups/{id}")), 200);
    assert!(
        first.contains(&format!("backups/{id}/restore\"")),
        "{first}"
    );
    let page = is_page(&browser.get(&format!("/backups/{id}/restore")), 200);
    assert!(page.contains("value=\"new-database\" checked") && page.contains(&name));
    assert!(page.contains("&lt;script&gt;alert") && !page.contains("value=\"living\""));
    // What cannot be a new database is said beside what was typed.
    for (wrong, said) in [
        (database.name(), "exists"),
        ("host=evil dbname=x", "is a letter or _"),
        ("<script>", "is a letter or _"),
    ] {
        let fields = [("what", "new-database"), ("database", wrong)];
        let page = is_page(
            &browser.submit(&format!("/backups/{id}/restore"), &form(&fields)),
            400,
        );
        assert!(
            page.contains(said) && page.contains("Nothing was done"),
            "{page}"
        );
    }

    let shown = preview(
        &browser,
        &id,
        &[("what", "new-database"), ("database", &name)],
    );
    let page = service.wait_for_page(&browser, &shown, "Restore now?");
    for said in [
        format!("create the database {name}"),
        "create 2 tables".to_owned(),
        "Room: about".to_owned(),
        "by the role".to_owned(),
        "hubvault restore".to_owned(),
    ] {
        assert!(page.contains(&said), "{said} in {page}");
    }
    let restored = confirm(&browser, &shown, "");
    let page = service.wait_for_page(&browser, &restored, "Restored and compared");
    assert!(page.contains("2 tables, 3 rows, every row equal"), "{page}");
    diff_is_empty(&hub, &id, &name);

    // Once is enough.
    let again = browser.submit(&format!("{shown}/restore"), "");
    assert!(is_page(&again, 409).contains("a restore began after this preview"));
    diff_is_empty(&hub, &id, &name);
    let log = service.stop_and_log();
    let said = format!("into the new database {name}, started by eva");
    assert!(
        log.contains("audit: eva (admin) POST") && log.contains(&said),
        "{log}"
    );
    assert!(log.contains("ended: done"), "{log}");
}

#[test]
fn tables_of_hostile_names_go_into_a_new_schema() {
    let database = shop();
    let (hub, id) = with_backup(&database);
    let token = hub.token("eva", "admin");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let mut client = database.client();
    client.batch_execute("DELETE FROM users").unwrap();
    let tables = format!("users\r\n\"{HOSTILE}\"\r\n");
    let fields = [
        ("what", "new-schema"),
        ("schema", "rescued"),
        ("tables", &tables),
    ];
    let shown = preview(&browser, &id, &fields);
    let page = service.wait_for_page(&browser, &shown, "Restore now?");
    assert!(page.contains("create the schema rescued"), "{page}");
    assert!(page.contains("&lt;script&gt;alert"), "{page}");
    let restored = confirm(&browser, &shown, "");
    service.wait_for_page(&browser, &restored, "2 tables, 3 rows, every row equal");
    let rows = client.query(
        &format!("SELECT FROM rescued.users, rescued.\"{HOSTILE}\""),
        &[],
    );
    assert_eq!(rows.unwrap().len(), 2);
    is_page(&browser.get(&format!("/backups/{id}")), 200);

    // A schema that sessions would look into: it is there, or is somebody's own.
    client.batch_execute("DO 'BEGIN CREATE ROLE page_restore_app; EXCEPTION WHEN duplicate_object THEN NULL; END'").unwrap();
    let settings = format!(
        "ALTER DATABASE \"{}\" SET search_path = later, public;
         CREATE FUNCTION guarded() RETURNS int LANGUAGE sql SET search_path TO infunctions, public AS 'SELECT 1'",
        database.name()
    );
    client.batch_execute(&settings).unwrap();
    for (schema, said) in [
        ("rescued", "exists"),
        ("page_restore_app", "name of a role"),
        ("later", "search_path"),
        ("infunctions", "search_path"),
    ] {
        let fields = [
            ("what", "new-schema"),
            ("schema", schema),
            ("tables", "users"),
        ];
        let shown = preview(&browser, &id, &fields);
        let page = service.wait_for_page(&browser, &shown, "name another schema");
        assert!(
            page.contains(said) && !page.contains("Restore now?"),
            "{page}"
        );
    }
    for (schema, tables) in [
        ("pg_x", "users"),
        ("x", ""),
        ("x", "\"<script>"),
        ("x", "a.b.c"),
    ] {
        let fields = [
            ("what", "new-schema"),
            ("schema", schema),
            ("tables", tables),
        ];
        is_page(
            &browser.submit(&format!("/backups/{id}/restore"), &form(&fields)),
            400,
        );
    }
    // A table that the backup does not have.
    let fields = [("what", "new-schema"), ("schema", "x"), ("tables", "<img*")];
    let shown = preview(&browser, &id, &fields);
    let page = service.wait_for_page(&browser, &shown, "no table of the archive matches");
    assert!(page.contains("&lt;img"), "{page}");
}

#[test]
fn only_an_administrator_restores_and_the_living_database_needs_more() {
    let database = shop();
    let (mut hub, id) = with_backup(&database);
    let (read, operate) = (hub.token("ana", "read"), hub.token("bob", "operate"));
    let admin = hub.token("eva", "admin");
    let path = format!("/backups/{id}/restore");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &admin);
    let shown = preview(&browser, &id, &[("what", "files")]);
    for token in [&read, &operate] {
        let other = Browser::of(&service, token);
        assert!(is_page(&other.get(&path), 403).contains("this needs admin"));
        is_page(&other.submit(&path, "what=files"), 403);
        is_page(&other.submit(&format!("{shown}/restore"), ""), 403);
        let page = service.wait_for_page(&other, &shown, "Preview of a restore");
        assert!(!page.contains("Restore now?"), "{page}");
        assert!(!is_page(&other.get(&format!("/backups/{id}")), 200).contains("/restore\""));
    }
    // Without the token of its form, and without a session.
    is_page(&browser.send(&path, "what=files", &[]), 403);
    let ended = Browser::new(&service).send(&format!("{shown}/restore"), "", &[]);
    assert_eq!(ended.status, 303);
    let next = format!("login?next={shown}");
    assert!(ended.header("location").unwrap().ends_with(&next));
    for what in ["living", "missing-rows", "different-rows", "all-rows"] {
        let fields = form(&[("what", what), ("tables", "users")]);
        let said = is_page(&browser.submit(&path, &fields), 403);
        assert!(said.contains("HTTP_RESTORE_LIVING"), "{what}: {said}");
    }
    drop(service);
    hub.set("HTTP_RESTORE", "false");
    hub.set("HTTP_RESTORE_LIVING", "true");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &admin);
    for answer in [browser.get(&path), browser.submit(&path, "what=living")] {
        assert!(is_page(&answer, 403).contains("switched off"));
    }
    is_page(&browser.submit(&format!("{shown}/restore"), ""), 403);
}

#[test]
fn the_living_database_is_changed_after_its_name_was_typed() {
    let database = shop();
    let (mut hub, id) = with_backup(&database);
    hub.set("HTTP_RESTORE_LIVING", "true");
    let token = hub.token("eva", "admin");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let mut client = database.client();
    client
        .batch_execute("DELETE FROM users WHERE id = 1; UPDATE users SET name = 'changed'")
        .unwrap();
    let shown = preview(
        &browser,
        &id,
        &[("what", "different-rows"), ("tables", "users")],
    );
    let page = service.wait_for_page(&browser, &shown, "Restore now?");
    assert!(page.contains("insert 1 row and overwrite 1"), "{page}");
    assert!(page.contains("This changes the living database"), "{page}");
    for wrong in ["", "x", "<script>", &database.name().to_uppercase()] {
        let sent = form(&[("database", wrong)]);
        let said = is_page(&browser.submit(&format!("{shown}/restore"), &sent), 400);
        assert!(said.contains("nothing was done"), "{said}");
    }
    assert_eq!(client.query("SELECT FROM users", &[]).unwrap().len(), 1);
    let restored = confirm(&browser, &shown, database.name());
    service.wait_for_page(&browser, &restored, "Restore: done");
    diff_is_empty(&hub, &id, database.name());
    let again = browser.submit(
        &format!("{shown}/restore"),
        &form(&[("database", database.name())]),
    );
    assert!(is_page(&again, 409).contains("a restore began after this preview"));

    client.batch_execute("DROP TABLE users").unwrap();
    let shown = preview(&browser, &id, &[("what", "living")]);
    let page = service.wait_for_page(&browser, &shown, "Restore now?");
    assert!(page.contains("Dropped first, with all rows"), "{page}");
    let restored = confirm(&browser, &shown, database.name());
    service.wait_for_page(&browser, &restored, "2 tables, 3 rows, every row equal");
    diff_is_empty(&hub, &id, database.name());
}

#[test]
fn one_that_is_killed_or_stopped_in_the_middle_says_so_and_the_way_on() {
    let database = shop();
    let name = database.name().to_owned();
    // In another database than its own, an index takes until somebody ends it.
    let slow = format!(
        "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             IF pg_catalog.current_database() <> '{name}' THEN PERFORM pg_catalog.pg_sleep(3600); END IF;
             RETURN i; END $$; CREATE INDEX ON users (slow(id))"
    );
    database.client().batch_execute(&slow).unwrap();
    let (mut hub, id) = with_backup(&database);
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[service]\nstop_grace = \"1 s\"\n");
    let token = hub.token("eva", "admin");
    let mut service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let begin = |service: &ServiceProcess, browser: &Browser<'_>, name: &str| {
        let shown = preview(
            browser,
            &id,
            &[("what", "new-database"), ("database", name)],
        );
        service.wait_for_page(browser, &shown, "Restore now?");
        let restored = confirm(browser, &shown, "");
        service.wait_for_page(browser, &restored, "Stage indexes");
        restored
    };
    let first = format!("{name}_first");
    let restored = begin(&service, &browser, &first);
    let fields = form(&[("what", "new-database"), ("database", "another")]);
    let busy = browser.submit(&format!("/backups/{id}/restore"), &fields);
    let said = is_page(&busy, 409);
    assert!(
        said.contains("only one at a time") && said.contains("started by eva"),
        "{said}"
    );
    kill(&hub, &restored);
    let page = service.wait_for_page(&browser, &restored, "ended by signal 9");
    let drop = format!("DROP DATABASE {first}");
    assert!(page.contains(&drop), "{page}");
    // The name is taken until somebody removes it.
    let shown = preview(
        &browser,
        &id,
        &[("what", "new-database"), ("database", &first)],
    );
    let page = service.wait_for_page(&browser, &shown, "It would not succeed");
    assert!(
        page.contains("exists") && !page.contains("Restore now?"),
        "{page}"
    );
    is_page(&browser.submit(&format!("{shown}/restore"), ""), 409);

    let second = format!("{name}_second");
    let restored = begin(&service, &browser, &second);
    assert_eq!(service.stop(), Some(0));
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let page = is_page(&browser.get(&restored), 200);
    assert!(
        page.contains("stopped on request") && page.contains("What to do"),
        "{page}"
    );
    let log = service.stop_and_log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn files_go_into_a_new_directory() {
    let database = shop();
    let (mut hub, _) = with_backup(&database);
    hub.write("[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"app.toml\"\n");
    fs::write(hub.config().join("app.toml"), "a = 1\n").unwrap();
    let (record, _) = hub.backup();
    let id = record["id"].as_str().unwrap();
    let token = hub.token("eva", "admin");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let shown = preview(&browser, id, &[("what", "files")]);
    service.wait_for_page(&browser, &shown, "Restore now?");
    let restored = confirm(&browser, &shown, "");
    service.wait_for_page(&browser, &restored, "on the host of the service");
    let mut all = fs::read_dir(hub.backups().join("restored-files")).unwrap();
    let directory = all.next().unwrap().unwrap().path();
    let archived = directory.join("config/app.toml");
    assert_eq!(fs::read_to_string(archived).unwrap(), "a = 1\n");
    assert!(all.next().is_none());
    hub.run_expecting(0, &["list"]);
}

#[test]
fn a_role_that_can_only_read_is_said_with_the_statement_that_grants_more() {
    let database = shop();
    let role = format!("{}_reader", database.name());
    database.execute(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let (mut hub, id) = with_backup(&database);
    hub.set("POSTGRES_USER", &role);
    let token = hub.token("eva", "admin");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let name = database.name();
    for (what, said) in [
        ("new-database", format!("ALTER ROLE {role} CREATEDB")),
        (
            "new-schema",
            format!("GRANT CREATE ON DATABASE {name} TO {role}"),
        ),
    ] {
        let fields = [
            ("what", what),
            ("database", "rescued"),
            ("schema", "rescued"),
            ("tables", "users"),
        ];
        let shown = preview(&browser, &id, &fields);
        let page = service.wait_for_page(&browser, &shown, "It would not succeed");
        assert!(
            page.contains(&said) && !page.contains("Restore now?"),
            "{page}"
        );
    }
}
