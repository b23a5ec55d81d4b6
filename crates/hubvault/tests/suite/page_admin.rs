//! The rooms of the page for administrators: settings, tokens, the audit log.

use crate::page::{Browser, database, hub, is_page};
use crate::service_process::ServiceProcess;
use hubvault_testkit::{HttpSink, wait_for};

fn is_escaped(page: &str) {
    for raw in ["<script>", "<b>", "\" onclick=\""] {
        assert!(!page.contains(raw), "{raw} in {page}");
    }
}

#[test]
fn settings_are_shown_with_their_origin_and_made_stricter() {
    let database = database();
    let mut hub = hub(&database);
    let hook = HttpSink::start([]);
    hub.set("WEBHOOK_URL", hook.url("/very-secret-path"));
    hub.set("BACKUP_RETENTION_DAYS", "40");
    hub.write("file = []\n[scope]\ntables = [\"*\", '\"<script>\"']\nwindow = []\n");
    let (operate, admin) = (hub.token("bob", "operate"), hub.token("eve", "admin"));
    let service = ServiceProcess::start_http(&hub);
    let (looking, browser) = (
        Browser::of(&service, &operate),
        Browser::of(&service, &admin),
    );
    let page = is_page(&looking.get("/settings"), 200);
    is_escaped(&page);
    for said in [
        "retention.days",
        "variable BACKUP_RETENTION_DAYS",
        "********",
        "&lt;script&gt;",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    for never in [
        "very-secret-path",
        "settings/change",
        ">Tokens</a>",
        ">Audit</a>",
    ] {
        assert!(!page.contains(never), "{never} in {page}");
    }
    let refused = is_page(
        &looking.submit("/settings/change", "key=retention.days&value=60"),
        403,
    );
    assert!(refused.contains("this needs admin"), "{refused}");
    is_page(
        &browser.send("/settings/change", "key=retention.days&value=60", &[]),
        403,
    );

    let changed = browser.submit("/settings/change", "key=retention.days&value=60");
    assert_eq!(
        (changed.status, changed.header("location")),
        (303, Some("../settings?find=retention%2Edays"))
    );
    let page = is_page(&browser.get("/settings?find=retention%2Edays"), 200);
    assert!(
        page.contains(">60</td>") && page.contains("overlay.toml"),
        "{page}"
    );
    wait_for(
        || !hook.requests().is_empty(),
        || "the notice of the change".to_owned(),
    );
    // What weakens something says what to write on the host.
    let weaker = is_page(
        &browser.submit("/settings/change", "key=retention.days&value=1"),
        403,
    );
    for said in [
        "may only be made stricter",
        "retention.days: may only be raised over HTTP",
        "RETENTION_DAYS",
    ] {
        assert!(weaker.contains(said), "{said} in {weaker}");
    }
    for form in [
        "key=retention.days&value=%3Cb%3E",
        "key=%3Cscript%3E&value=1",
        "key=database.host&value=x",
    ] {
        let answer = browser.submit("/settings/change", form);
        assert!(
            [400, 403].contains(&answer.status),
            "{form}: {}",
            answer.status
        );
        is_escaped(&is_page(&answer, answer.status));
    }
    let undone = browser.submit("/settings/change", "key=retention.days&value=60&undo=1");
    assert_eq!(undone.status, 303, "{}", undone.text());
    let page = is_page(
        &browser.get("/settings?find=retention%2Edays&state=set"),
        200,
    );
    assert!(page.contains(">40</td>"), "{page}");
    for address in [
        "/settings?state=%3Cb%3E",
        "/settings?sort=%3Cb%3E",
        "/settings?job=%3Cb%3E",
    ] {
        is_escaped(&is_page(&browser.get(address), 400));
    }
}

#[test]
fn an_administrator_creates_and_revokes_tokens_and_everybody_is_notified() {
    let database = database();
    let mut hub = hub(&database);
    let hook = HttpSink::start([]);
    hub.set("WEBHOOK_URL", hook.url("/hook"));
    let (operate, admin) = (hub.token("bob", "operate"), hub.token("eve", "admin"));
    let service = ServiceProcess::start_http(&hub);
    let (other, browser) = (
        Browser::of(&service, &operate),
        Browser::of(&service, &admin),
    );
    for path in ["/tokens", "/audit"] {
        assert!(is_page(&other.get(path), 403).contains("this needs admin"));
    }
    for path in ["/tokens", "/tokens/revoke"] {
        is_page(&other.submit(path, "name=eve&role=admin"), 403);
        is_page(&browser.send(path, "name=bob&role=admin", &[]), 403);
    }
    let made = browser.submit("/tokens", "name=ci&role=read");
    let page = is_page(&made, 201);
    let (_, text) = page.split_once("<code>hv_").unwrap();
    let token = format!("hv_{}", text.split('<').next().unwrap());
    assert_eq!(service.get("/backup/status", &token).status, 200);
    // It is shown once.
    let page = is_page(&browser.get("/tokens"), 200);
    assert!(
        !page.contains("hv_") && page.contains(">ci") && page.contains("this session"),
        "{page}"
    );
    let body = || -> String {
        let requests = hook.requests();
        requests
            .iter()
            .map(|it| String::from_utf8_lossy(&it.body).into_owned())
            .collect()
    };
    wait_for(|| body().contains("token ci: none -> role read"), body);
    assert!(!body().contains("hv_"), "a token is in a message");
    for (form, status, said) in [
        ("name=ci&role=admin", 409, "there is a token ci already"),
        ("name=%3Cscript%3E&role=read", 409, "&lt;script&gt;"),
        ("name=x&role=root", 422, "is not valid"),
        ("role=read", 422, "is not valid"),
    ] {
        let page = is_page(&browser.submit("/tokens", form), status);
        is_escaped(&page);
        assert!(page.contains(said), "{form}: {said} in {page}");
    }
    is_page(&browser.submit("/tokens/revoke", "name=%3Cscript%3E"), 404);
    let revoked = browser.submit("/tokens/revoke", "name=ci");
    assert_eq!(
        (revoked.status, revoked.header("location")),
        (303, Some("../tokens"))
    );
    assert_eq!(service.get("/backup/status", &token).status, 401);
    wait_for(|| body().contains("token ci: role read -> revoked"), body);
    // Two at once: the other one has revoked it already.
    is_page(&browser.submit("/tokens/revoke", "name=ci"), 404);

    // All of it is in the audit log, and nothing secret.
    service.get_with(
        "/backups/%22%3E%3Cscript%3E",
        &[("accept", "application/json")],
    );
    let page = is_page(&browser.get("/audit"), 200);
    is_escaped(&page);
    for said in [
        "eve (admin) POST &#x2f;tokens created the token ci (read) from 127.0.0.1: 201",
        "revoked the token ci",
        "refused GET",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(!page.contains("hv_"), "{page}");
    let found = is_page(&browser.get("/audit?find=bob&state=refused"), 200);
    assert!(!found.contains("created the token"), "{found}");
    let none = is_page(&browser.get("/audit?day=2001-01-01&find=%3Cb%3E"), 200);
    assert!(none.contains("No line fits."), "{none}");
    is_escaped(&none);
    for address in [
        "/audit?day=%3Cb%3E",
        "/audit?state=x",
        "/tokens?sort=%3Cb%3E",
    ] {
        is_escaped(&is_page(&browser.get(address), 400));
    }
    // Whoever revokes their own token is out.
    assert_eq!(browser.submit("/tokens/revoke", "name=eve").status, 303);
    assert_eq!(browser.get("/tokens").status, 303);
    // The log outlives the service.
    drop(service);
    let again = hub.token("ada", "admin");
    let service = ServiceProcess::start_http(&hub);
    let page = is_page(
        &Browser::of(&service, &again).get("/audit?find=created"),
        200,
    );
    assert!(page.contains("created the token ci"), "{page}");
}
