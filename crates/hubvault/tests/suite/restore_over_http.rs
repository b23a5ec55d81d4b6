//! A program restores a backup over HTTP in two steps, and operations are stopped.

use crate::page::Browser;
use crate::page_operations::with_backup;
use crate::service_process::ServiceProcess;
use hubvault_testkit::{Database, database_with};
use serde_json::{Value, json};

const HOSTILE: &str = "<script>alert(1)</script>";

fn shop() -> Database {
    database_with(&format!(
        "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'a'), (2, 'b');
         CREATE TABLE \"{HOSTILE}\" (id int PRIMARY KEY); INSERT INTO \"{HOSTILE}\" VALUES (7)"
    ))
}

/// Starts an operation; the path of its answer.
fn begin(service: &ServiceProcess, token: &str, path: &str, body: &Value) -> String {
    let begun = service.post(path, token, &body.to_string());
    assert_eq!(begun.status, 202, "{}", begun.text());
    format!("/operation/{}", begun.json()["id"].as_str().unwrap())
}

fn ended(service: &ServiceProcess, token: &str, path: &str, state: &str) -> Value {
    let answer = service.wait_for_answer(path, token, |answer| {
        !["starting", "running"].contains(&answer["state"].as_str().unwrap_or_default())
    });
    assert_eq!(answer["state"], state, "{answer}");
    answer
}

#[test]
fn a_program_restores_what_a_preview_showed() {
    let database = shop();
    let (mut hub, id) = with_backup(&database);
    hub.set("HTTP_RESTORE_LIVING", "true");
    let (admin, operate) = (hub.token("eva", "admin"), hub.token("bob", "operate"));
    let service = ServiceProcess::start_http(&hub);
    let path = format!("/backup/{id}/restore");
    let name = format!("{}_restored", database.name());
    let wanted = json!({"what": "new-database", "database": name});
    assert_eq!(
        service.post(&path, &operate, &wanted.to_string()).status,
        403
    );
    assert_eq!(service.post(&path, "", &wanted.to_string()).status, 401);
    for wrong in [
        json!({"what": "new-database", "database": database.name()}),
        json!({"what": "new-database", "database": "host=evil dbname=x"}),
        json!({"what": "everything"}),
        json!({"what": "new-schema", "schema": "pg_evil", "tables": ["users"]}),
        json!({"what": "missing-rows", "tables": ["users\nother"]}),
        json!({"what": "missing-rows", "to": "postgres://evil/"}),
        json!("new-database"),
    ] {
        let answer = service.post(&path, &admin, &wrong.to_string());
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
    let shown = begin(&service, &admin, &path, &wanted);
    let answer = ended(&service, &admin, &shown, "done");
    assert!(
        answer["action"] == "preview" && !answer["result"].is_null(),
        "{answer}"
    );
    let confirm = format!("{shown}/restore");
    assert_eq!(service.post(&confirm, &operate, "").status, 403);
    let restored = begin(&service, &admin, &confirm, &json!({}));
    ended(&service, &admin, &restored, "done");
    let again = service.post(&confirm, &admin, "");
    assert_eq!(again.status, 409, "{}", again.text());
    let of_restore = service.post(&format!("{restored}/restore"), &admin, "");
    assert_eq!(of_restore.status, 409, "{}", of_restore.text());
    hub.run_expecting(0, &["diff", &id, "--database", &name]);

    // The living database wants its name.
    database.execute("DELETE FROM users WHERE id = 1");
    let wanted = json!({"what": "missing-rows", "tables": ["users", HOSTILE]});
    let shown = begin(&service, &admin, &path, &wanted);
    ended(&service, &admin, &shown, "done");
    let confirm = format!("{shown}/restore");
    for wrong in ["", "{\"database\":\"\"}", "{\"database\":\"<script>\"}"] {
        assert_eq!(service.post(&confirm, &admin, wrong).status, 400, "{wrong}");
    }
    assert_eq!(database.value("SELECT count(*) FROM users"), "1");
    let typed = json!({"database": database.name()});
    let restored = begin(&service, &admin, &confirm, &typed);
    ended(&service, &admin, &restored, "done");
    assert_eq!(database.value("SELECT count(*) FROM users"), "2");
    let late = service.post(&format!("{restored}/stop"), &admin, "");
    assert_eq!(late.status, 409, "{}", late.text());
    database.execute(&format!("DROP DATABASE {name}"));

    drop(service);
    hub.set("HTTP_RESTORE", "false");
    let service = ServiceProcess::start_http(&hub);
    assert_eq!(service.post(&path, &admin, &wanted.to_string()).status, 403);
    assert_eq!(
        service.post(&confirm, &admin, &typed.to_string()).status,
        403
    );
}

#[test]
fn a_stopped_operation_ends_and_says_who_stopped_it() {
    let database = shop();
    let name = database.name().to_owned();
    // In another database than its own, an index takes until somebody ends it.
    database.execute(&format!(
        "CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             IF pg_catalog.current_database() <> '{name}' THEN PERFORM pg_catalog.pg_sleep(3600); END IF;
             RETURN i; END $$; CREATE INDEX ON users (slow(id))"
    ));
    let (hub, id) = with_backup(&database);
    let (admin, operate) = (hub.token("eva", "admin"), hub.token("bob", "operate"));
    let read = hub.token("ana", "read");
    let service = ServiceProcess::start_http(&hub);
    let copy = format!("{name}_copy");
    let wanted = json!({"what": "new-database", "database": copy});
    let shown = begin(&service, &admin, &format!("/backup/{id}/restore"), &wanted);
    ended(&service, &admin, &shown, "done");
    let restored = begin(&service, &admin, &format!("{shown}/restore"), &json!({}));
    service.wait_for_answer(&restored, &admin, |it| it["progress"]["stage"] == "indexes");
    let (stop, page) = (
        format!("{restored}/stop"),
        restored.replace("/operation/", "/operations/"),
    );
    for refused in [&read, &operate] {
        assert_eq!(service.post(&stop, refused, "").status, 403);
    }
    let browser = Browser::of(&service, &operate);
    assert!(!browser.get(&page).text().contains("/stop\""));
    assert_eq!(browser.submit(&format!("{page}/stop"), "").status, 403);
    let browser = Browser::of(&service, &admin);
    assert!(browser.get(&page).text().contains("/stop\""));
    assert_eq!(browser.send(&format!("{page}/stop"), "", &[]).status, 403);
    let sent = browser.submit(&format!("{page}/stop"), "");
    assert_eq!(sent.status, 303, "{}", sent.text());
    let answer = ended(&service, &admin, &restored, "stopped");
    assert_eq!(answer["error"], "stopped by eva", "{answer}");
    let said = browser.get(&page).text();
    assert!(
        said.contains("stopped by eva") && said.contains(&format!("DROP DATABASE {copy}")),
        "{said}"
    );
    // Nothing of it is at work any more, and it is not stopped twice.
    let at_work = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{copy}'");
    hubvault_testkit::wait_for(|| database.value(&at_work) == "0", || at_work.clone());
    assert_eq!(service.post(&stop, &admin, "").status, 409);
    database.execute(&format!("DROP DATABASE {copy}"));

    // A drill is stopped by whoever may start one, also at once.
    let drilled = begin(
        &service,
        &operate,
        &format!("/backup/{id}/operation"),
        &json!({"action": "drill"}),
    );
    let stopped = service.post(&format!("{drilled}/stop"), &operate, "");
    assert_eq!(stopped.status, 202, "{}", stopped.text());
    let answer = ended(&service, &operate, &drilled, "stopped");
    assert_eq!(answer["error"], "stopped by bob", "{answer}");
    assert_eq!(service.post("/operation/x/stop", &operate, "").status, 400);
    let verified = begin(
        &service,
        &operate,
        &format!("/backup/{id}/operation"),
        &json!({"action": "verify"}),
    );
    ended(&service, &operate, &verified, "done");
    let log = service.stop_and_log();
    for said in [
        "was stopped by eva",
        "was stopped by bob",
        "audit: eva (admin) POST",
        "audit: bob (operate) POST",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
}
