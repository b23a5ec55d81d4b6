//! The HTTP API for a dashboard, a script and a stranger.

use crate::hub::{Hub, stdout};
use crate::service_process::{Answer, ServiceProcess};
use hubvault_testkit::{Database, database_with};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

fn database() -> Database {
    database_with("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2)")
}

/// Proves what it takes, and runs when it is asked to alone.
fn hub(database: &Database) -> Hub {
    let toml = "[scope]\ntables = [\"*\"]\nwindow = []\n[database]\nlock_timeout = \"2 min\"\n";
    let mut hub = Hub::with(database, toml);
    hub.set("PROOF", "always");
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    hub
}

/// One shape, whatever went wrong.
fn is_error(answer: &Answer, status: u16, code: &str, path: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error = answer.json();
    assert_eq!(error["error"], code, "{error}");
    assert_eq!(error["path"], path, "{error}");
    assert!(!error["message"].as_str().unwrap().is_empty());
    assert!(error["timestamp"].as_str().unwrap().ends_with('Z'));
    error
}

#[test]
fn every_path_needs_a_token_of_its_role() {
    let database = database();
    let hub = hub(&database);
    let (read, operate) = (hub.token("board", "read"), hub.token("ci", "operate"));
    let service = ServiceProcess::start_http(&hub);
    for path in [
        "/backup/status",
        "/metrics",
        "/backup/config",
        "/nothing",
        "/",
    ] {
        is_error(&service.get(path, ""), 401, "unauthorized", path);
    }
    is_error(
        &service.get("/backup/status", "hv_wrong"),
        401,
        "unauthorized",
        "/backup/status",
    );
    is_error(
        &service.get("/nothing", &read),
        404,
        "not_found",
        "/nothing",
    );
    let refused = service.post("/backup/trigger", &read, "{}");
    let said = is_error(&refused, 403, "forbidden", "/backup/trigger");
    assert!(said["message"].as_str().unwrap().contains("needs operate"));
    let refused = service.put("/backup/config", &operate, &json!({"retention.days": 3}));
    is_error(&refused, 403, "forbidden", "/backup/config");
    let not_here = service.put("/backup/status", &hub.token("root", "admin"), &json!({}));
    is_error(&not_here, 405, "method_not_allowed", "/backup/status");
    assert_eq!(not_here.header("allow"), Some("GET,HEAD"));
    let large = format!("{{\"force\": \"{}\"}}", "x".repeat(70_000));
    let large = service.post("/backup/trigger", &operate, &large);
    is_error(&large, 413, "payload_too_large", "/backup/trigger");
    let bad = service.post("/backup/trigger", &operate, "{\"forced\": true}");
    is_error(&bad, 400, "bad_request", "/backup/trigger");
    for (path, plain) in [
        ("/backup/history?limit=0", "/backup/history"),
        ("/backup/history?limit=101", "/backup/history"),
        ("/backup/history?limit=x", "/backup/history"),
        ("/backup/not-an-id", "/backup/not-an-id"),
    ] {
        is_error(&service.get(path, &read), 400, "bad_request", plain);
    }
    let nobody = "/backup/00000000-0000-4000-8000-000000000000";
    is_error(&service.get(nobody, &read), 404, "not_found", nobody);
    is_error(
        &service.get(&format!("{nobody}/events"), &read),
        404,
        "not_found",
        &format!("{nobody}/events"),
    );

    // A revoked token ends at once.
    assert_eq!(service.get("/backup/status", &read).status, 200);
    hub.run_expecting(0, &["token", "revoke", "board"]);
    is_error(
        &service.get("/backup/status", &read),
        401,
        "unauthorized",
        "/backup/status",
    );
    let listed = stdout(&hub.run(&["token", "list", "--json"]));
    assert!(
        listed.contains("\"ci\"") && !listed.contains("board"),
        "{listed}"
    );
    assert!(!listed.contains("sha256") && !listed.contains(&operate[3..]));
    let open: Value = service.get("/openapi.json", "").json();
    assert!(open["paths"]["/backup/trigger"]["post"].is_object());
}

#[test]
fn wrong_tokens_are_throttled_and_right_ones_are_not() {
    let database = database();
    let hub = hub(&database);
    let right = hub.token("board", "read");
    let service = ServiceProcess::start_http(&hub);
    let tried: Vec<u16> = (0..20)
        .map(|i| service.get("/backup/status", &format!("hv_{i}")).status)
        .collect();
    assert_eq!(tried[0], 401);
    let last = service.get("/backup/status", "hv_another");
    is_error(&last, 429, "too_many_requests", "/backup/status");
    assert!(last.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    // Whoever shares the address keeps nobody out.
    assert_eq!(service.get("/backup/status", &right).status, 200);
    assert_eq!(
        service.get("/health", "").status,
        503,
        "what is open stays open"
    );
}

#[test]
fn a_run_is_triggered_followed_and_listed() {
    let database = database();
    let hub = hub(&database);
    let operate = hub.token("ci", "operate");
    let service = ServiceProcess::start_http(&hub);
    let ill = service.get("/health", "");
    assert_eq!(
        (ill.status, ill.json()["status"].as_str()),
        (503, Some("unhealthy"))
    );
    assert_eq!(ill.json()["error"], "there is no proven backup");

    // Somebody's lock holds the run where it is.
    let mut held = database.client();
    held.batch_execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let begun = service.post("/backup/trigger", &operate, "");
    assert_eq!(begun.status, 202, "{}", begun.text());
    let id = begun.json()["backup_id"].as_str().unwrap().to_owned();
    let busy = service.post("/backup/trigger", &operate, "{\"force\": true}");
    is_error(&busy, 409, "conflict", "/backup/trigger");
    assert!(busy.json()["details"].get("progress").is_some());
    held.batch_execute("ROLLBACK").unwrap();

    let events = service.get(&format!("/backup/{id}/events"), &operate);
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    let text = events.text();
    let ended = text.rsplit("event: ended\ndata: ").next().unwrap();
    let ended: Value = serde_json::from_str(ended.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&ended["id"], &ended["state"]),
        (&json!(id), &json!("proven")),
        "{text}"
    );

    let history = service.get("/backup/history?limit=1", &operate).json();
    assert_eq!(
        (&history["total"], &history["backups"][0]["id"]),
        (&json!(1), &json!(id))
    );
    let past = service.get("/backup/history?offset=1", &operate).json();
    assert_eq!(
        (&past["total"], &past["limit"], &past["backups"]),
        (&json!(1), &json!(30), &json!([]))
    );
    let one = service.get(&format!("/backup/{id}"), &operate).json();
    assert_eq!(one["backup"]["proof"]["proven"], true, "{one}");
    assert_eq!(one["manifest"]["tables"].as_array().unwrap().len(), 1);
    let well = service.get("/health", "");
    assert_eq!((well.status, &well.json()["error"]), (200, &Value::Null));
    let status = service.get("/backup/status", &operate).json();
    assert_eq!(status["disk"]["archives"], 1, "{status}");
    assert_eq!(status["newest_proven"]["id"], json!(id));
    assert_eq!(status["schedule"]["cron"], "0 0 29 2 *");
    assert!(status["schedule"]["next_run"].is_string());
    let metrics = service.get("/metrics", &operate).text();
    let job = database.name();
    for line in [
        format!("hubvault_table_rows{{job=\"{job}\",table=\"users\"}} 2\n"),
        format!("hubvault_runs{{job=\"{job}\",state=\"proven\"}} 1\n"),
        format!("hubvault_last_attempt_failed{{job=\"{job}\"}} 0\n"),
        format!("hubvault_archives{{job=\"{job}\"}} 1\n"),
    ] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    // The same wish again within a minute is one wish.
    let again = service.post("/backup/trigger", &operate, "{}");
    is_error(&again, 409, "conflict", "/backup/trigger");
    let log = service.stop_and_log();
    assert!(
        log.contains("audit: ci (operate) POST /backup/trigger"),
        "{log}"
    );
    assert!(!log.contains(&operate), "a token is in the log");
}

#[test]
fn a_valid_change_of_the_configuration_is_kept_after_a_restart() {
    let database = database();
    let mut hub = hub(&database);
    hub.set("SMTP_PASS", "never-shown-7");
    let admin = hub.token("root", "admin");
    let service = ServiceProcess::start_http(&hub);
    let bad = service.put(
        "/backup/config",
        &admin,
        &json!({"schedule.cron": "at noon", "retention.dayz": 3, "archive.directory": "/tmp"}),
    );
    let details = is_error(&bad, 400, "bad_request", "/backup/config")["details"].clone();
    assert!(
        details["retention.dayz"]
            .as_str()
            .unwrap()
            .contains("retention.days"),
        "{details}"
    );
    assert!(
        details["archive.directory"]
            .as_str()
            .unwrap()
            .contains("over HTTP")
    );
    let bad = service.put(
        "/backup/config",
        &admin,
        &json!({"schedule.cron": "at noon", "retention.days": "x"}),
    );
    let details = is_error(&bad, 400, "bad_request", "/backup/config")["details"].clone();
    assert!(
        details["schedule.cron"]
            .as_str()
            .unwrap()
            .contains("five fields"),
        "{details}"
    );
    assert!(details["retention.days"].is_string());
    for (body, words) in [
        (
            "{\"retention.days\": 31, \"retention.days\": 31}".to_owned(),
            "twice",
        ),
        (too_much(), "more than 100 bytes"),
    ] {
        let bearer = format!("Bearer {admin}");
        let refused = service.request(
            "PUT",
            "/backup/config",
            &[("authorization", &bearer)],
            &body,
        );
        is_error(&refused, 400, "bad_request", "/backup/config");
        let said = refused.text();
        assert!(said.contains(words) && said.len() < 1000, "{said}");
    }
    let overlay = hub.backups().join(".hubvault/overlay.toml");
    assert!(!overlay.exists());

    // Over HTTP it is only made stricter.
    let change = json!({"schedule.cron": "0 4 28 2 *", "retention.days": 31});
    let changed = service.put("/backup/config", &admin, &change);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert!(!changed.text().contains("never-shown-7"));
    let settings = changed.json();
    let of = |settings: &Value, key: &str| {
        let all = settings["settings"].as_array().unwrap();
        all.iter().find(|one| one["key"] == key).unwrap().clone()
    };
    let cron = of(&settings, "schedule.cron");
    assert_eq!(cron["value"], "0 4 28 2 *");
    assert_eq!(cron["origin"], "overlay.toml (PUT /backup/config)");
    assert_eq!(cron["hides"], json!(["variable BACKUP_SCHEDULE"]));
    assert_eq!(
        overlay.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    service.wait_for_answer("/backup/status", &admin, |status| {
        status["schedule"]["next_run"]
            .as_str()
            .is_some_and(|at| at.contains("-02-28T"))
    });
    let shown = stdout(&hub.run(&["config", "show"]));
    assert!(
        shown.contains("overlay.toml (PUT /backup/config) (hides variable BACKUP_SCHEDULE)"),
        "{shown}"
    );
    let taken_back = service.put("/backup/config", &admin, &json!({"schedule.cron": null}));
    assert_eq!(
        of(&taken_back.json(), "schedule.cron")["value"],
        "0 0 29 2 *"
    );
    assert_eq!(of(&taken_back.json(), "retention.days")["value"], "31");
    let log = service.stop_and_log();
    assert!(
        log.contains("audit: root (admin) PUT /backup/config"),
        "{log}"
    );
}

/// Thousands of names under one that is very long.
fn too_much() -> String {
    let many: Vec<String> = (0..3_000).map(|n| format!("\"{n:x}\":1")).collect();
    format!("{{\"{}\":{{{}}}}}", "x".repeat(30_000), many.join(","))
}

#[test]
fn an_archive_is_downloaded_only_by_its_own_link() {
    let database = database();
    let hub = hub(&database);
    let (record, file) = hub.backup();
    let id = record["id"].as_str().unwrap();
    let operate = hub.token("ci", "operate");
    let service = ServiceProcess::start_http(&hub);
    let made = service.post(&format!("/backup/{id}/link"), &operate, "{\"hours\": 1}");
    assert_eq!(made.status, 201, "{}", made.text());
    let path = made.json()["path"].as_str().unwrap().to_owned();
    let whole = std::fs::read(&file).unwrap();
    let had = service.get(&path, "");
    assert!(had.status == 200 && had.body == whole);
    assert!(
        had.header("content-disposition")
            .unwrap()
            .contains("critical_backup_")
    );
    let part = service.get_with(&path, &[("range", "bytes=10-19")]);
    assert!(part.status == 206 && part.body == whole[10..20]);
    let beyond = service.get_with(&path, &[("range", "bytes=999999999-")]);
    is_error(
        &beyond,
        416,
        "range_not_satisfiable",
        &format!("/download/{id}"),
    );

    let plain = format!("/download/{id}");
    let forged = path.replace("expires=", "expires=9");
    is_error(&service.get(&forged, ""), 403, "forbidden", &plain);
    let other = path.replace(&id[..8], "00000000");
    assert_eq!(service.get(&other, "").status, 403);
    is_error(&service.get(&plain, ""), 400, "bad_request", &plain);
    let link = |hours: i64| json!({"hours": hours}).to_string();
    for hours in [0, -1, 169] {
        assert_eq!(
            service
                .post(&format!("/backup/{id}/link"), &operate, &link(hours))
                .status,
            400
        );
    }
    // What this service signed, and is over: signed with its own key.
    let key = std::fs::read(hub.backups().join(".hubvault/link.key")).unwrap();
    let over = crate::service_process::signed(&key, id, 1);
    is_error(&service.get(&over, ""), 410, "gone", &plain);
    std::fs::remove_file(&file).unwrap();
    is_error(&service.get(&path, ""), 404, "not_found", &plain);
}

#[test]
fn tables_and_the_names_of_the_service_before_hubvault_are_understood() {
    let database = database();
    let mut hub = hub(&database);
    hub.set("HTTP_PUBLIC_URL", "https://backups.example.com/hub/");
    let admin = hub.token("root", "admin");
    hub.backup();
    let service = ServiceProcess::start_http(&hub);
    let put = |body: Value| service.put("/backup/config", &admin, &body);
    let body = json!({
        "schedule": {"cron_expression": "0 4 28 2 *", "enabled": true}, "retention": {"days": 31},
    });
    let changed = put(body);
    assert_eq!(changed.status, 200, "{}", changed.text());
    let shown = service.get("/backup/config", &admin).json();
    assert_eq!(shown, changed.json());
    let config = &shown["config"];
    assert_eq!(config["schedule"]["cron"], "0 4 28 2 *", "{config}");
    assert_eq!(config["schedule"]["cron_expression"], "0 4 28 2 *");
    assert_eq!(config["schedule"]["enabled"], true);
    assert_eq!(config["retention"]["days"], 31);
    assert_eq!(config["email"]["recipients"], config["email"]["to"]);
    assert_eq!(config["email"]["enabled"], false);
    let twice = put(json!({"retention": {"days": 32}, "retention.days": 33}));
    let details = is_error(&twice, 400, "bad_request", "/backup/config")["details"].clone();
    let said = details["retention.days"].as_str().unwrap();
    assert!(said.contains("twice"), "{details}");
    let unknown = put(json!({"schedule": {"cron_expresion": "0 3 * * *"}}));
    let details = is_error(&unknown, 400, "bad_request", "/backup/config")["details"].clone();
    let said = details["schedule.cron_expresion"].as_str().unwrap();
    assert!(said.contains("schedule.cron_expression"), "{details}");
    let link = service.post("/backup/latest/link", &admin, "").json();
    let url = link["url"].as_str().unwrap();
    assert!(
        url.starts_with("https://backups.example.com/hub/download/"),
        "{link}"
    );
    assert_eq!(link["hint"], Value::Null);
}
