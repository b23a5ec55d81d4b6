//! The pages inside a backup: rows of a table as they were, for whoever may download the archive.

use crate::hub::{Hub, stderr, stdout};
use crate::keys::Pair;
use crate::page::{Browser, is_page};
use crate::service_process::ServiceProcess;
use hubvault_testkit::{Database, database_with};
use std::fmt::Write as _;
use std::path::PathBuf;

/// A hub without drills, one backup of this database, and that backup's id.
pub(crate) fn backed_up(database: &Database) -> (Hub, String, PathBuf) {
    let mut hub = Hub::whole(database);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    let (record, archive) = hub.backup();
    (hub, record["id"].as_str().unwrap().to_owned(), archive)
}

/// A value for an address.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "%{byte:02X}");
        out
    })
}

/// The address of a table by its name as it is shown.
pub(crate) fn table(id: &str, name: &str) -> String {
    format!("/backups/{id}/tables/{}", encoded(name))
}

#[test]
fn rows_are_shown_as_they_were_a_page_at_a_time_and_found_by_a_value() {
    let database = database_with(
        "CREATE TABLE users (id int PRIMARY KEY, name text, note text);
         INSERT INTO users SELECT n, 'user ' || n, CASE WHEN n % 40 = 0 THEN NULL ELSE '' END
         FROM generate_series(1, 120) n;
         INSERT INTO users VALUES (121, 'last', repeat('long ', 100000));
         CREATE TABLE nothing (id int)",
    );
    let (hub, id, _) = backed_up(&database);
    database.execute("DELETE FROM users");
    let (read, operate) = (hub.token("ana", "read"), hub.token("bob", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &operate);
    let users = table(&id, "users");
    let page = |path: &str| is_page(&browser.get(path), 200);

    assert!(page(&format!("/backups/{id}")).contains("tables/users\">users</a>"));
    let first = page(&users);
    for said in [
        "1 to 50 of 121",
        "<td>user 50</td>",
        "NULL",
        "empty",
        "?row=51",
    ] {
        assert!(first.contains(said), "{said} in {first}");
    }
    assert!(!first.contains("<td>user 51</td>") && !first.contains("Previous page"));
    let second = page(&format!("{users}?row=51"));
    assert!(second.contains("51 to 100 of 121") && second.contains("<td>user 51</td>"));
    assert!(second.contains("?row=1\"") && second.contains("?row=101\""));
    let third = page(&format!("{users}?row=101&column="));
    assert!(
        third.contains("101 to 121 of 121") && !third.contains("Next page"),
        "{third}"
    );
    // The long value is cut, and whole on a page of its own.
    assert!(third.len() < 30_000, "{}", third.len());
    let whole = page(&format!("{users}/value?row=121&column=note"));
    assert!(whole.contains("<h1 class=\"wrap\">note <span"), "{whole}");
    assert!(whole.contains(&"long ".repeat(100_000)) && !whole.contains("first 1 MiB"));
    assert!(page(&format!("{users}/value?row=40&column=note")).contains("NULL"));

    let found = page(&format!("{users}?column=name&value=user+77"));
    assert!(
        found.contains("1 row found; searched rows 1 to 121 of 121"),
        "{found}"
    );
    assert!(found.contains("<option selected>name</option>"), "{found}");
    assert!(found.contains("<td>user 77</td>") && !found.contains("<td>user 78</td>"));
    let nulls = page(&format!("{users}?column=note&null=1&row=41"));
    assert!(
        nulls.contains("2 rows found; searched rows 41 to 121 of 121"),
        "{nulls}"
    );
    let none = page(&format!("{users}?column=name&value=user"));
    assert!(none.contains("0 rows found"), "{none}");
    assert!(page(&format!("{users}?row=500")).contains("none from row 500 on"));
    assert!(page(&table(&id, "nothing")).contains("The table is empty"));
    // Rows are for whoever may download the archive.
    let looking = Browser::of(&service, &read);
    assert!(!is_page(&looking.get(&format!("/backups/{id}")), 200).contains("tables/users"));
    for path in [users.clone(), format!("{users}/value?row=1&column=name")] {
        let refused = is_page(&looking.get(&path), 403);
        assert!(
            refused.contains("ana has the role read; this needs operate"),
            "{refused}"
        );
    }
    assert_eq!(Browser::new(&service).get(&users).status, 303);
    let log = service.stop_and_log();
    let line = format!(
        "GET {users} showed 50 rows between 51 and 100 of users of {id} from 127.0.0.1: 200"
    );
    assert!(
        log.contains(&format!("audit: bob (operate) {line}")),
        "{line} in {log}"
    );
    assert!(log.contains("showed a value of row 121 of users"), "{log}");
    assert!(
        log.contains("audit: refused GET") && !log.contains("user 77"),
        "{log}"
    );
}

#[test]
fn an_address_of_nothing_is_a_sentence() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1), (2)");
    let (hub, id, _) = backed_up(&database);
    let token = hub.token("bob", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let users = table(&id, "users");
    for (path, status, said) in [
        (format!("{users}?row=0"), 400, "row is the number of a row"),
        (format!("{users}?row=x"), 400, "row is the number of a row"),
        (
            format!("{users}?column=%3Cb%3E"),
            400,
            "no column &lt;b&gt;",
        ),
        (
            format!("{users}/value?row=999&column=id"),
            404,
            "has 2 rows",
        ),
        // No way around the role.
        (
            format!("/backups/{id}/%74ables/users"),
            404,
            "there is no page at this address",
        ),
        (table(&id, "secrets"), 404, "no rows of a table secrets"),
        (
            table("00000000-0000-4000-8000-000000000000", "users"),
            404,
            "no backup with this id",
        ),
    ] {
        let text = is_page(&browser.get(&path), status);
        assert!(text.contains(said), "{path}: {said} in {text}");
    }
}

/// What the page shows of a name, and what its forms send.
fn shown_column(name: &str) -> String {
    let name = name.replace('\n', "\\n").replace('\t', "\\t");
    name.replace('\u{202e}', "\\u202e")
        .replace('\u{7}', "\\u0007")
}

#[test]
fn hostile_names_and_values_are_text() {
    let names = [
        "<script>alert(1)</script>",
        "\"><img src=x>",
        "a'b\"c",
        "new\nline\ttab",
        "back\\slash/and..%2e?#&",
        "\u{202e}turned\u{7}",
        "..",
    ];
    let mut sql = String::new();
    for name in names {
        let quoted = name.replace('"', "\"\"");
        let literal = name.replace('\'', "''").replace('\\', "\\\\");
        let _ = write!(
            sql,
            "CREATE TABLE \"{quoted}\" (\"{quoted}\" text);
             INSERT INTO \"{quoted}\" VALUES (E'{literal}'), (repeat(E'{literal}', 400));"
        );
    }
    let database = database_with(&sql);
    let (hub, id, _) = backed_up(&database);
    let token = hub.token("ana", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let manifest = is_page(&browser.get(&format!("/backups/{id}/manifest")), 200);
    for raw in ["<script>alert", "<img src=x", "\u{202e}", "\u{7}"] {
        assert!(!manifest.contains(raw), "{raw} in {manifest}");
    }
    for name in names {
        let shown = format!("\"{}\"", name.replace('"', "\"\""));
        let path = table(&id, &shown);
        let column = encoded(name);
        for path in [
            path.clone(),
            format!("{path}?column={column}&value={column}"),
            format!("{path}/value?row=1&column={column}"),
            format!("{path}/value?row=2&column={column}"),
            format!(
                "{path}?column={}&value={column}",
                encoded(&shown_column(name))
            ),
        ] {
            let page = is_page(&browser.get(&path), 200);
            assert!(!page.contains("0 rows found"), "{path}: {page}");
            // The field has what was asked for, as it is.
            let (before, field) = page
                .split_once("<input id=\"value\"")
                .unwrap_or((&page, ">"));
            let page = format!("{before}{}", field.split_once('>').unwrap().1);
            for raw in [
                "<script>alert",
                "<img src=x",
                "\u{202e}",
                "\u{7}",
                "value=\"\"\"",
            ] {
                assert!(!page.contains(raw), "{path}: {raw} in {page}");
            }
        }
    }
    let log = service.stop_and_log();
    assert!(
        !log.contains('\u{202e}') && !log.contains("panicked"),
        "{log}"
    );
}

#[test]
fn what_cannot_be_read_is_a_sentence_and_a_way_on() {
    let database = database_with(
        "CREATE TABLE users (id int, word text);
         INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, 60000) n",
    );
    let (hub, id, archive) = backed_up(&database);
    let token = hub.token("ana", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let users = table(&id, "users");
    is_page(&browser.get(&format!("{users}?row=59990")), 200);
    let manifest = format!("/backups/{id}/manifest");
    let page = is_page(&browser.get(&manifest), 200);
    assert!(page.contains("&quot;server_version_num&quot;"), "{page}");
    let reading = Browser::of(&service, &hub.token("eve", "read"));
    is_page(&reading.get(&manifest), 403);

    // In the middle of the rows, which are nearly all of the file.
    let healthy = std::fs::read(&archive).unwrap();
    let mut damaged = healthy.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0x55);
    std::fs::write(&archive, &damaged).unwrap();
    let page = is_page(&browser.get(&format!("{users}?row=59990")), 500);
    for said in ["entry database&#x2f;users", "hubvault verify", "Try again"] {
        assert!(page.contains(said), "{said} in {page}");
    }
    std::fs::write(&archive, &healthy[..middle]).unwrap();
    let page = is_page(&browser.get(&users), 500);
    assert!(page.contains("cut short or damaged"), "{page}");
    std::fs::write(&archive, b"").unwrap();
    is_page(&browser.get(&users), 500);
    is_page(&browser.get(&manifest), 500);
    std::fs::remove_file(&archive).unwrap();
    is_page(&browser.get(&manifest), 404);
    let page = is_page(&browser.get(&users), 404);
    assert!(page.contains("no copy of the archive of backup"), "{page}");
    std::fs::write(&archive, &healthy).unwrap();
    is_page(&browser.get(&users), 200);
    let log = service.stop_and_log();
    assert!(
        !log.contains("panicked") && !log.contains("backtrace"),
        "{log}"
    );
}

#[test]
fn a_sealed_archive_stays_closed_and_the_page_names_the_command() {
    let database =
        database_with("CREATE TABLE \"my users\" (id int); INSERT INTO \"my users\" VALUES (1)");
    let keys = tempfile::tempdir().unwrap();
    let pair = Pair::age(keys.path(), "alice");
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    hub.set("BACKUP_RECIPIENTS", &pair.public);
    let (record, _) = hub.backup();
    let id = record["id"].as_str().unwrap();
    let token = hub.token("ana", "admin");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let page = is_page(&browser.get(&table(id, "\"my users\"")), 409);
    for said in [
        "The key stays with its owner",
        "--rows &#x27;&quot;my users&quot;&#x27; --identity FILE",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    let page = is_page(&browser.get(&format!("/backups/{id}/manifest")), 409);
    assert!(page.contains("--json --identity FILE"), "{page}");
}

#[test]
fn an_archive_that_is_only_elsewhere_is_read_there() {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (4711)");
    let away = tempfile::tempdir().unwrap();
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    hub.write(&format!(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[[destination]]\nname = \"away\"\nurl = \"file://{}\"\n",
        away.path().display()
    ));
    let (record, archive) = hub.backup();
    std::fs::remove_file(&archive).unwrap();
    let token = hub.token("ana", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let id = record["id"].as_str().unwrap();
    is_page(&browser.get(&format!("/backups/{id}/manifest")), 200);
    let page = is_page(&browser.get(&table(id, "users")), 200);
    let place = away.path().display().to_string().replace('/', "&#x2f;");
    assert!(
        page.contains("<td>4711</td>") && page.contains(&place),
        "{page}"
    );
}

#[test]
fn every_one_of_2000_tables_and_of_many_columns_has_its_page() {
    let columns: Vec<String> = (0..400).map(|n| format!("c{n} text")).collect();
    let database = database_with(&format!(
        "DO $$ BEGIN FOR n IN 1..2000 LOOP EXECUTE format('CREATE TABLE t%s (id int)', n); END LOOP; END $$;
         INSERT INTO t1999 VALUES (1); CREATE TABLE wide ({});
         INSERT INTO wide (c399) SELECT repeat('x', 3000) FROM generate_series(1, 60)",
        columns.join(", ")
    ));
    let (hub, id, _) = backed_up(&database);
    let token = hub.token("ana", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let all = is_page(&browser.get(&format!("/backups/{id}?tables=all")), 200);
    assert_eq!(all.matches("/tables/t").count(), 2000);
    assert!(is_page(&browser.get(&table(&id, "t1999")), 200).contains("<td>1</td>"));
    let manifest = is_page(&browser.get(&format!("/backups/{id}/manifest")), 200);
    assert!(manifest.contains("first 256 KiB") && manifest.len() < 1 << 20);
    let wide = is_page(&browser.get(&table(&id, "wide")), 200);
    assert!(wide.contains(&"x".repeat(52)) && !wide.contains(&"x".repeat(53)));
}

#[test]
fn the_command_line_prints_the_same_rows() {
    let database = database_with(
        "CREATE TABLE users (id int, word text); INSERT INTO users SELECT n, CASE WHEN n <> 7 THEN E'w\\n' || n END
         FROM generate_series(1, 60) n",
    );
    let (hub, id, _) = backed_up(&database);
    let text = |arguments: &[&str]| {
        let all = [&["show", &id, "--rows", "users"], arguments].concat();
        stdout(&hub.run_expecting(0, &all))
    };
    let first = text(&[]);
    assert!(
        first.contains("w\\n50") && !first.contains("w\\n51"),
        "{first}"
    );
    assert!(
        first.contains("of 60 rows; --from-row 51 goes on"),
        "{first}"
    );
    let last = text(&["--from-row", "59", "--limit", "5"]);
    assert!(
        last.contains("w\\n60") && !last.contains("w\\n58") && last.ends_with("of 60 rows\n"),
        "{last}"
    );
    assert!(text(&["--where", "word"]).contains("NULL"));
    let json: serde_json::Value =
        serde_json::from_str(&text(&["--where", "id=7", "--json"])).unwrap();
    assert_eq!(
        json["rows"],
        serde_json::json!([{ "row": 7, "values": { "id": "7", "word": null } }])
    );
    for (arguments, code, said) in [
        (["--rows", "user*", "--where", "x=1"], 1, "has no column"),
        (
            ["--rows", "nobody", "--limit", "1"],
            1,
            "no rows of a table nobody",
        ),
        (["--limit", "1", "--from-row", "2"], 2, "--rows"),
    ] {
        let all = [&["show", &id][..], &arguments].concat();
        let output = hub.run_expecting(code, &all);
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}
