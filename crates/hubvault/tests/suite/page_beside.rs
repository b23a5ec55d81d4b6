//! The pages inside a backup that go beyond it: the living rows, the plan of putting rows back, and files.

use crate::hub::Hub;
use crate::page::{Browser, is_page};
use crate::page_inside::{backed_up, encoded, table};
use crate::service_process::ServiceProcess;
use hubvault_testkit::database_with;

#[test]
fn rows_are_shown_beside_the_living_ones() {
    let database = database_with(
        "CREATE TYPE mood AS ENUM ('fine', 'sad'); CREATE DOMAIN code AS char(4);
         CREATE TYPE pair AS (a int, b text);
         CREATE TABLE users (region code, id bigint, email text, mood mood, tags text[], pair pair, at timestamptz,
             share float8, bytes bytea, note text, gone int, twice bigint GENERATED ALWAYS AS (id * 2) STORED,
             PRIMARY KEY (region, id));
         INSERT INTO users SELECT 'eu', n, 'u' || n || '@example.org', 'fine', ARRAY['a', NULL, 'b c'], ROW(n, 'x'::text)::pair,
             '2026-01-01 12:00+00', n / 3.0, '\\xdead', CASE WHEN n = 5 THEN repeat('long', 5000) END, n
         FROM generate_series(1, 6) n;
         CREATE TABLE moods (mood mood PRIMARY KEY, word text); INSERT INTO moods VALUES ('fine', 'a');
         CREATE TABLE keyless (id int); INSERT INTO keyless VALUES (1);
         CREATE FUNCTION ran() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 1; END $$;
         CREATE ROLE page_inside_owner; ALTER FUNCTION ran() OWNER TO page_inside_owner;
         CREATE TABLE coded (id int PRIMARY KEY); CREATE INDEX ON coded ((id + ran())); INSERT INTO coded VALUES (1);
         CREATE TABLE dropped (id int PRIMARY KEY); INSERT INTO dropped VALUES (1);
         CREATE TABLE swapped (id int PRIMARY KEY); INSERT INTO swapped VALUES (1)",
    );
    let (hub, id, _) = backed_up(&database);
    database.execute(
        "UPDATE users SET email = '<script>alert(1)</script>' || U&'\\202E', mood = NULL WHERE id = 2;
         DELETE FROM users WHERE id = 3; UPDATE users SET note = 'short' WHERE id = 4;
         UPDATE users SET at = at + interval '1 second' WHERE id = 6;
         CREATE OR REPLACE FUNCTION ran() RETURNS int LANGUAGE plpgsql IMMUTABLE
             AS $$ BEGIN RAISE EXCEPTION 'it ran'; END $$;
         ALTER TABLE users DROP COLUMN gone; ALTER TABLE users ADD COLUMN later int;
         DROP TABLE dropped, swapped; CREATE VIEW swapped AS SELECT 1 AS id",
    );
    let token = hub.token("ana", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let page = |path: &str| is_page(&browser.get(path), 200);
    let users = table(&id, "users");
    assert!(!page(&users).contains(">Now</th>"));
    let beside = page(&format!("{users}?live=1"));
    let states: Vec<&str> = beside
        .split("<span class=\"state ")
        .skip(1)
        .map(|rest| {
            rest.split_once("</svg>")
                .unwrap()
                .1
                .split_once("</span>")
                .unwrap()
                .0
                .trim()
        })
        .collect();
    assert_eq!(
        states,
        [
            "the same",
            "changed: email, mood",
            "not there any more",
            "changed: note",
            "the same, but too long to compare here: note",
            "changed: at"
        ],
        "{beside}"
    );
    for said in [
        "by the primary key (region, id)",
        "computes them: gone.",
        "&lt;script&gt;alert(1)&lt;&#x2f;script&gt;\\u202e",
        "2026-01-01 12:00:01+00",
        "Without the living rows",
    ] {
        assert!(beside.contains(said), "{said} in {beside}");
    }
    assert!(
        page(&format!(
            "{users}?live=1&column=email&value=u3%40example.org"
        ))
        .contains("not there any more")
    );
    assert!(page(&format!("{}?live=1", table(&id, "moods"))).contains("</svg> the same</span>"));
    for (name, said) in [
        ("keyless", "keyless has no primary key"),
        ("coded", "calls functions of its owner"),
        ("dropped", "there is no table dropped in the database now"),
        ("swapped", "there is no table swapped in the database now"),
    ] {
        let text = page(&format!("{}?live=1", table(&id, name)));
        assert!(
            text.contains(said) && text.contains("<td>1</td>"),
            "{said} in {text}"
        );
    }
    // Somebody's lock holds nobody up for long, and the rows of the archive are shown all the same.
    let mut held = database.client();
    held.batch_execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let locked = page(&format!("{users}?live=1"));
    assert!(
        locked.contains("The living rows are not shown") && locked.contains("lock timeout"),
        "{locked}"
    );
    assert!(locked.contains("u3@example.org"));
}

#[test]
fn the_plan_of_putting_rows_back_begins_with_what_they_refer_to_and_changes_nothing() {
    let database = database_with(
        "CREATE TABLE z_users (id int PRIMARY KEY, name text);
         CREATE TABLE \"<b>orders\" (id int PRIMARY KEY, owner int REFERENCES z_users, price int);
         INSERT INTO z_users SELECT n, 'u' || n FROM generate_series(1, 5) n;
         INSERT INTO \"<b>orders\" SELECT n, (n + 1) / 2, 1 FROM generate_series(1, 10) n;
         CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)",
    );
    let (hub, id, _) = backed_up(&database);
    database.execute(
        "DELETE FROM \"<b>orders\" WHERE owner = 2; DELETE FROM z_users WHERE id = 2;
         UPDATE \"<b>orders\" SET price = 2 WHERE id = 1; DELETE FROM other",
    );
    let before = database.digests();
    let (read, operate) = (hub.token("ana", "read"), hub.token("bob", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &operate);
    let orders = table(&id, "\"<b>orders\"");
    assert!(is_page(&browser.get(&orders), 200).contains("Plan to put missing rows back"));
    let plan = is_page(&browser.submit(&format!("{orders}/plan"), ""), 200);
    let (users, own) = (
        plan.find(">z_users</th>").unwrap(),
        plan.find("&lt;b&gt;orders&quot;</th>").unwrap(),
    );
    assert!(users < own, "{plan}");
    for said in [
        "z_users</th><td class=\"number\">1</td>",
        "&lt;b&gt;orders&quot;</th><td class=\"number\">2</td>",
        "Nothing was changed",
        "foreign keys, are not tried",
        "--table z_users --table &#x27;&quot;&lt;b&gt;orders&quot;&#x27; --missing-rows --dry-run",
    ] {
        assert!(plan.contains(said), "{said} in {plan}");
    }
    assert!(
        !plan.contains(">other<") && !plan.contains("It would not succeed"),
        "{plan}"
    );
    let plan = is_page(&browser.submit(&format!("{orders}/plan"), "update=1"), 200);
    assert!(
        plan.contains("<td class=\"number\">2</td><td class=\"number\">1</td>")
            && plan.contains("--upsert")
    );
    assert_eq!(database.digests(), before);

    // What a form needs.
    let looking = Browser::of(&service, &read);
    is_page(&looking.submit(&format!("{orders}/plan"), ""), 403);
    let foreign = is_page(
        &browser.send(&format!("{orders}/plan"), "update=1", &[]),
        403,
    );
    assert!(foreign.contains("was not sent by a page of this service"));
    is_page(&browser.get(&format!("{orders}/plan")), 405);
    is_page(
        &browser.submit(&format!("{}/plan", table(&id, "nobody")), ""),
        404,
    );
    database.execute("DROP TABLE \"<b>orders\"");
    let gone = is_page(&browser.submit(&format!("{orders}/plan"), ""), 200);
    assert!(
        gone.contains("It would not succeed") && gone.contains("is not in the target"),
        "{gone}"
    );
    let log = service.stop_and_log();
    assert!(log.contains("planned --missing-rows of"), "{log}");
}

#[test]
fn files_are_shown_with_their_secrets_masked_unless_an_administrator_asks() {
    let database = database_with("CREATE TABLE users (id int)");
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    let place = hub.config().join("<script>alert(1)");
    std::fs::create_dir_all(&place).unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = place.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let many_lines = format!("{}ü", "a line of text\n".repeat(20_000));
    let paths = [
        file(
            "app.env",
            b"PORT=80\nDB_PASSWORD=hunter2-and-more\n<img src=x>\n",
        ),
        file("picture", &[0, 159, 146, 150]),
        file("long.txt", many_lines.as_bytes()),
        file("empty", b""),
    ];
    let files: Vec<String> = paths
        .iter()
        .map(|path| format!("[[file]]\nsource = {path:?}\n"))
        .collect();
    hub.write(&format!(
        "{}[scope]\ntables = [\"*\"]\nwindow = []\n",
        files.concat()
    ));
    let (record, _) = hub.backup();
    let id = record["id"].as_str().unwrap();
    let name = |ending: &str| {
        let mut files = record["files"].as_array().unwrap().iter();
        let file = files.find(|it| it["name"].as_str().unwrap().ends_with(ending));
        file.unwrap()["name"].as_str().unwrap().to_owned()
    };
    let tokens = ["read", "operate", "admin"].map(|role| hub.token(role, role));
    let service = ServiceProcess::start_http(&hub);
    let [looking, operating, admin] = tokens.each_ref().map(|token| Browser::of(&service, token));
    let at = |ending: &str| format!("/backups/{id}/file?name={}", encoded(&name(ending)));

    let own = is_page(&operating.get(&format!("/backups/{id}")), 200);
    assert!(own.contains("/file?name="), "{own}");
    assert!(!is_page(&looking.get(&format!("/backups/{id}")), 200).contains("/file?name="));
    is_page(&looking.get(&at("app.env")), 403);
    let masked = is_page(&operating.get(&at("app.env")), 200);
    for said in [
        "PORT=80",
        "DB_PASSWORD=***",
        "&lt;img src=x&gt;",
        "&lt;script&gt;alert(1)",
    ] {
        assert!(masked.contains(said), "{said} in {masked}");
    }
    assert!(
        !masked.contains("hunter2") && !masked.contains("Show the secrets"),
        "{masked}"
    );
    let unmasked = format!("/backups/{id}/file/unmasked");
    let form = format!("name={}", encoded(&name("app.env")));
    let refused = is_page(&operating.submit(&unmasked, &form), 403);
    assert!(refused.contains("this needs admin"), "{refused}");
    assert!(is_page(&admin.get(&at("app.env")), 200).contains("Show the secrets, too"));
    is_page(&admin.send(&unmasked, &form, &[]), 403);
    let shown = is_page(&admin.submit(&unmasked, &form), 200);
    assert!(shown.contains("DB_PASSWORD=hunter2-and-more"), "{shown}");

    assert!(is_page(&operating.get(&at("picture")), 200).contains("not text in UTF-8"));
    assert!(is_page(&operating.get(&at("empty")), 200).contains("The file is empty"));
    let cut = is_page(&operating.get(&at("long.txt")), 200);
    assert!(cut.contains("These are the first 256 KiB") && cut.len() < 300_000);
    for (path, status, said) in [
        (
            format!("/backups/{id}/file?name=%3Cb%3E"),
            404,
            "has no file &lt;b&gt;",
        ),
        (
            format!("/backups/{id}/file?name=manifest.json"),
            404,
            "has no file",
        ),
        (
            format!("/backups/{id}/file?name=database%2Fusers.sql"),
            404,
            "has no file",
        ),
        (format!("/backups/{id}/file"), 400, "is not valid"),
    ] {
        let text = is_page(&operating.get(&path), status);
        assert!(text.contains(said), "{path}: {said} in {text}");
    }
    let log = service.stop_and_log();
    assert!(
        log.contains("audit: admin (admin) POST") && log.contains("with its secrets from"),
        "{log}"
    );
    assert!(
        log.contains("audit: operate (operate) GET") && !log.contains("hunter2"),
        "{log}"
    );
}
