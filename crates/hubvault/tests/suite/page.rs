//! The web page for a person, and for somebody who should not be there.

pub(crate) use crate::browser::{Browser, HTML, is_page};
use crate::hub::Hub;
use crate::service_process::ServiceProcess;
use hubvault_testkit::{Database, database_with};

pub(crate) fn database() -> Database {
    database_with("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1), (2)")
}

/// Proves what it takes, and runs when it is asked to alone.
pub(crate) fn hub(database: &Database) -> Hub {
    let mut hub = Hub::whole(database);
    hub.set("PROOF", "always");
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    hub
}

#[test]
fn a_token_opens_the_page_until_it_is_revoked() {
    let database = database();
    let hub = hub(&database);
    let token = hub.token("ana", "read");
    let service = ServiceProcess::start_http(&hub);
    let mut browser = Browser::new(&service);

    // To the login, with the way back.
    let away = browser.get("/?job=x");
    assert_eq!(
        (away.status, away.header("location")),
        (303, Some("./login?next=/%3Fjob%3Dx"))
    );
    let login = is_page(&browser.get("/login?next=/%3Fjob%3Dx"), 200);
    assert!(login.contains("value=\"&#x2f;?job=x\""), "{login}");
    // It says nothing about this installation.
    assert!(!login.contains(database.name()) && !login.contains("ana"));
    let wrong = browser.log_in("hv_wrong", "/");
    assert!(is_page(&wrong, 401).contains("This token is not known"));
    assert!(wrong.header("set-cookie").is_none());

    let inside = browser.log_in(&token, "/%3Fjob%3Dx");
    assert_eq!(
        (inside.status, inside.header("location")),
        (303, Some("./?job=x"))
    );
    let cookie = inside.header("set-cookie").unwrap();
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    for elsewhere in [
        "//evil.example",
        "https://evil.example",
        "/%5Cevil.example",
        "/%0d%0aset-cookie:a=b",
    ] {
        let answer = Browser::new(&service).log_in(&token, elsewhere);
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some("./")),
            "{elsewhere}"
        );
    }
    let page = is_page(&browser.get("/"), 200);
    assert!(
        page.contains("Nothing can be restored: there is no proven backup."),
        "{page}"
    );
    assert!(page.contains("ana") && page.contains("there is no proven backup"));

    hub.run_expecting(0, &["token", "revoke", "ana"]);
    let ended = browser.get("/");
    assert_eq!(
        (ended.status, ended.header("location")),
        (303, Some("./login?next=/&ended=1"))
    );
    assert!(is_page(&browser.get("/login?next=/&ended=1"), 200).contains("Your session has ended"));
    // A new token of the same name is another one.
    hub.token("ana", "admin");
    assert_eq!(browser.get("/").status, 303);
    let log = service.stop_and_log();
    assert!(
        log.contains("audit: ana (read) POST /login began a session from 127.0.0.1: 303"),
        "{log}"
    );
    assert!(
        log.contains("audit: refused POST \\\"/login\\\"")
            || log.contains("audit: refused POST \"/login\""),
        "{log}"
    );
    assert!(!log.contains(&token), "a token is in the log");
}

#[test]
fn a_form_of_another_site_changes_nothing() {
    let database = database();
    let hub = hub(&database);
    let token = hub.token("ana", "operate");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    let right = format!("form_token={}", browser.form_token());
    for (form, headers) in [
        ("", vec![]),
        ("form_token=", vec![]),
        (
            "form_token=0000000000000000000000000000000000000000000000000000000000000000",
            vec![],
        ),
        (right.as_str(), vec![("sec-fetch-site", "cross-site")]),
        (right.as_str(), vec![("sec-fetch-site", "same-site")]),
        (right.as_str(), vec![("origin", "https://evil.example")]),
        (right.as_str(), vec![("origin", "null")]),
    ] {
        let refused = browser.send("/logout", form, &headers);
        let said = is_page(&refused, 403);
        assert!(
            said.contains("was not sent by a page of this service"),
            "{said}"
        );
        assert_eq!(browser.get("/").status, 200, "{form} {headers:?}");
    }
    // Nor does one log somebody in.
    let foreign = [("sec-fetch-site", "cross-site")];
    let refused = browser.send("/login", &format!("token={token}"), &foreign);
    assert!(refused.status == 403 && refused.header("set-cookie").is_none());
    let large = browser.send("/logout", &format!("{right}&x={}", "x".repeat(70_000)), &[]);
    is_page(&large, 413);
    let out = browser.send(
        "/logout",
        &right,
        &[("sec-fetch-site", "same-origin"), ("origin", "null")],
    );
    assert_eq!((out.status, out.header("location")), (303, Some("./login")));
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(
        browser.get("/").status,
        303,
        "the cookie opens nothing any more"
    );
}

#[test]
fn a_link_in_a_web_mail_does_not_ask_for_the_token_again() {
    let database = database();
    let hub = hub(&database);
    let service = ServiceProcess::start_http(&hub);
    // Browsers send no strict cookie with a link of another site, but with the reload of our own page.
    let followed = service.get_with("/", &[HTML, ("sec-fetch-site", "cross-site")]);
    let text = is_page(&followed, 200);
    assert!(
        text.contains("http-equiv=\"refresh\" content=\"0\"") && !text.contains(database.name()),
        "{text}"
    );
    assert_eq!(
        service
            .get_with("/", &[HTML, ("sec-fetch-site", "same-origin")])
            .status,
        303
    );
}

#[test]
fn wrong_tokens_at_the_login_count_as_in_the_api() {
    let database = database();
    let hub = hub(&database);
    let token = hub.token("ana", "read");
    let service = ServiceProcess::start_http(&hub);
    let mut browser = Browser::new(&service);
    let tried: Vec<u16> = (0..20)
        .map(|n| browser.log_in(&format!("hv_{n}"), "/").status)
        .collect();
    assert_eq!(tried[0], 401);
    let last = browser.log_in("hv_x", "/");
    assert!(is_page(&last, 429).contains("Too many requests"));
    assert!(last.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(service.get("/backup/status", "hv_another").status, 429);
    // The right one is not kept out.
    assert_eq!(browser.log_in(&token, "/").status, 303);
}

#[test]
fn the_page_leaves_the_api_as_it_is_and_can_be_switched_off() {
    let database = database();
    let mut hub = hub(&database);
    let token = hub.token("ana", "read");
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &token);
    // A session is no token.
    assert_eq!(browser.get("/backup/status").status, 401);
    assert_eq!(browser.get("/metrics").status, 401);
    assert_eq!(browser.get("/health").json()["status"], "unhealthy");
    // What asks for no page gets the API's answers.
    assert_eq!(service.get("/", "").json()["error"], "unauthorized");
    assert_eq!(service.get("/", &token).json()["error"], "not_found");
    assert_eq!(
        service.get_with("/", &[("cookie", &browser.cookie)]).json()["error"],
        "unauthorized"
    );
    let lost = is_page(&browser.get("/nothing/%3Cb%3E"), 404);
    assert!(
        lost.contains("there is no page at this address.") && lost.contains("href=\"../\""),
        "{lost}"
    );
    let refused = browser.submit("/", "");
    assert!(is_page(&refused, 403).contains("ana has the role read; this needs operate"));

    let page = browser.get("/").text();
    let (_, style) = page.split_once("rel=\"stylesheet\" href=\"./").unwrap();
    let style = format!("/{}", style.split('"').next().unwrap());
    let style = service.get(&style, "");
    assert_eq!(
        (style.status, style.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    assert!(style.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(service.get_with("/assets/style.css", &[HTML]).status, 404);
    drop(service);

    hub.set("HTTP_PAGE", "false");
    let service = ServiceProcess::start_http(&hub);
    for path in ["/", "/login", "/assets/x"] {
        assert_eq!(
            service.get_with(path, &[HTML]).json()["error"],
            "unauthorized"
        );
    }
}

#[test]
fn a_new_installation_has_a_token_to_log_in_with() {
    let database = database();
    let mut hub = hub(&database);
    let given = hub.config().join("first-token");
    std::fs::write(&given, "short\n").unwrap();
    hub.set("HTTP_FIRST_TOKEN_FILE", given.display().to_string());
    let said = ServiceProcess::start_http(&hub).stop_and_log();
    assert!(
        said.contains("does not hold a token") && said.contains("openssl rand"),
        "{said}"
    );
    let text = "0123456789abcdef".repeat(4);
    std::fs::write(&given, format!("{text}\n")).unwrap();
    let service = ServiceProcess::start_http(&hub);
    assert_eq!(Browser::of(&service, &text).get("/").status, 200);
    assert_eq!(service.get("/backup/status", &text).status, 200);
    let log = service.stop_and_log();
    assert!(
        log.contains("created the token `first` (role admin) with the text in")
            && !log.contains(&text),
        "{log}"
    );

    // After the last one was revoked, none is made.
    hub.run_expecting(0, &["token", "revoke", "first"]);
    hub.set("HTTP_FIRST_TOKEN_FILE", "");
    let service = ServiceProcess::start_http(&hub);
    assert!(!service.stop_and_log().contains("the token first"));

    // Without a file it is shown once, and several services at once make one.
    std::fs::remove_file(hub.backups().join(".hubvault/tokens.json")).unwrap();
    let service = ServiceProcess::start_http(&hub);
    let log = service.log();
    let (_, token) = log.split_once("to log in with: ").unwrap();
    let token = token.split(';').next().unwrap();
    assert!(token.starts_with("hv_") && token.len() == 67, "{token}");
    assert_eq!(Browser::of(&service, token).get("/").status, 200);
    drop(service);
    assert!(
        !ServiceProcess::start_http(&hub)
            .stop_and_log()
            .contains("hv_")
    );
}
