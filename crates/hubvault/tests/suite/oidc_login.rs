//! Logging in to the page with an identity provider: npm's, and one that lies.

use crate::hub::Hub;
use crate::page::{database, hub};
use crate::page_restore::form;
use crate::service_process::ServiceProcess;
use hubvault_testkit::Database;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use ureq::Agent;

const WHOLE: &str = "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n";
const HTML: (&str, &str) = ("accept", "text/html");

/// An identity provider, until the test ends.
struct Provider {
    child: Child,
    issuer: String,
}

fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tools/oidc")
        .join(name)
}

impl Provider {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new("node")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (said, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let issuer = loop {
            let line = lines.recv_timeout(hubvault_testkit::PATIENCE).unwrap();
            if line.starts_with("http://") {
                break line;
            }
        };
        Self { child, issuer }
    }

    /// npm's `oidc-provider`.
    fn of_npm(redirect: &str) -> Self {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/stores/oidc-provider");
        assert!(
            directory.join("version").is_file(),
            "run tools/fetch-stores.sh oidc-provider"
        );
        let script = tool("provider.mjs");
        Self::start(&[
            script.to_str().unwrap(),
            directory.to_str().unwrap(),
            redirect,
        ])
    }

    fn forger() -> Self {
        Self::start(&[tool("forger.mjs").to_str().unwrap()])
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A hub whose page is at a port that was free, so that its own address is known before it starts.
fn known_address(database: &Database) -> (Hub, String) {
    let mut hub = hub(database);
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let base = format!("http://{free}");
    hub.set("HTTP_ADDR", free.to_string());
    hub.set("HTTP_PUBLIC_URL", &base);
    (hub, base)
}

fn with_oidc(hub: &mut Hub, issuer: &str) {
    for (name, value) in [
        ("HTTP_OIDC_ISSUER", issuer),
        ("HTTP_OIDC_CLIENT_ID", "hubvault"),
        ("HTTP_OIDC_CLIENT_SECRET", "secret-of-the-client"),
        ("HTTP_OIDC_SCOPES", "email,groups"),
        ("HTTP_OIDC_READ_GROUPS", "everybody"),
        ("HTTP_OIDC_ADMIN_GROUPS", "hub-admins"),
    ] {
        hub.set(name, value);
    }
}

/// A browser that follows no link by itself: its cookies by host.
struct Visitor {
    agent: Agent,
    cookies: BTreeMap<(String, String), String>,
}

fn host(url: &str) -> String {
    url.split('/').nth(2).unwrap_or_default().to_owned()
}

impl Visitor {
    fn new() -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(hubvault_testkit::PATIENCE))
            .build()
            .into();
        Self {
            agent,
            cookies: BTreeMap::new(),
        }
    }

    /// The status, where it leads, and the text.
    fn get(&mut self, url: &str) -> (u16, Option<String>, String) {
        let own = self.cookies.iter().filter(|((of, _), _)| *of == host(url));
        let cookies: Vec<String> = own
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let request = self
            .agent
            .get(url)
            .header(HTML.0, HTML.1)
            .header("cookie", cookies.join("; "));
        let mut answer = request.call().unwrap();
        for set in answer.headers().get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies
                .insert((host(url), name.to_owned()), value.to_owned());
        }
        let to = answer
            .headers()
            .get("location")
            .map(|to| to.to_str().unwrap().to_owned());
        let to = to.map(|to| joined(url, &to));
        let mut text = String::new();
        let mut body = answer.body_mut().as_reader();
        body.read_to_string(&mut text).unwrap();
        (answer.status().as_u16(), to, text)
    }

    /// Follows every link; the last address and its page.
    fn follow(&mut self, url: &str) -> (String, String) {
        let mut at = url.to_owned();
        for _ in 0..10 {
            let (status, to, text) = self.get(&at);
            let Some(to) = to else {
                assert!(status < 500, "{at}: {text}");
                return (at, text);
            };
            at = to;
        }
        panic!("it leads nowhere: {at}");
    }
}

fn joined(base: &str, to: &str) -> String {
    if to.starts_with("http") {
        return to.to_owned();
    }
    let (origin, path) = base.split_at(
        base.match_indices('/')
            .nth(2)
            .map_or(base.len(), |(at, _)| at),
    );
    if to.starts_with('/') {
        return format!("{origin}{to}");
    }
    let mut parts: Vec<&str> = path.split('?').next().unwrap().split('/').skip(1).collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("{origin}/{}", parts.join("/"))
}

fn parameter(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(known, _)| *known == name)
        .unwrap()
        .1
        .to_owned()
}

fn next_person(provider: &Provider, json: &str) {
    let agent: Agent = Agent::config_builder().build().into();
    agent
        .post(format!("{}/next", provider.issuer))
        .send(json)
        .unwrap();
}

#[test]
fn people_log_in_with_their_groups_and_are_named_in_the_audit_log() {
    let database = database();
    let (mut hub, base) = known_address(&database);
    let provider = Provider::of_npm(&format!("{base}/login/oidc/callback"));
    with_oidc(&mut hub, &provider.issuer);
    hub.set("HTTP_OIDC_ADMIN_GROUPS", "");
    hub.write(&format!(
        "{WHOLE}[http]\noidc_admin_groups = [\"hub-admins\"]\n"
    ));
    let token = hub.token("eva", "read");
    let service = ServiceProcess::start(&hub);
    service.base();
    let mut ana = Visitor::new();
    let (_, page) = ana.follow(&format!("{base}/backups"));
    assert!(
        page.contains("Log in with single sign-on") && !page.contains(&provider.issuer),
        "{page}"
    );
    let (at, page) = ana.follow(&format!("{base}/login/oidc?next=/backups"));
    assert_eq!(at, format!("{base}/backups"));
    assert!(
        page.contains("oidc:ana@hub.example") && page.contains(">admin<"),
        "{page}"
    );
    assert_eq!(ana.get(&format!("{base}/tokens")).0, 200);
    // Nowhere else.
    let mut other = Visitor::new();
    let (at, _) = other.follow(&format!("{base}/login/oidc?next=//evil.example/x"));
    assert_eq!(at, format!("{base}/"));

    // Another person, with another role, and another address of the same one.
    next_person(&provider, r#"{"who": "bob"}"#);
    let mut bob = Visitor::new();
    let (_, page) = bob.follow(&format!("{base}/login/oidc"));
    assert!(
        page.contains("oidc:bob@hub.example") && page.contains(">read<"),
        "{page}"
    );
    assert_eq!(bob.get(&format!("{base}/tokens")).0, 403);
    next_person(
        &provider,
        r#"{"who": "ana", "claims": {"email": "eva@hub.example", "groups": ["everybody"]}}"#,
    );
    let mut changed = Visitor::new();
    let (_, page) = changed.follow(&format!("{base}/login/oidc"));
    assert!(
        page.contains("oidc:eva@hub.example") && page.contains(">read<"),
        "{page}"
    );
    // Out of every group, and in again.
    next_person(&provider, r#"{"who": "ana", "claims": {"groups": []}}"#);
    let (at, page) = Visitor::new().follow(&format!("{base}/login/oidc"));
    assert!(
        at.contains("/callback") && page.contains("None of your groups"),
        "{at}: {page}"
    );

    // What the configuration says of groups holds at once for sessions, too.
    assert_eq!(ana.get(&format!("{base}/tokens")).0, 200);
    hub.write(WHOLE);
    hub.run_expecting(0, &["config", "show"]);
    service.reload();
    assert_eq!(ana.get(&format!("{base}/tokens")).0, 403);
    drop(provider);
    // Without the provider, tokens work.
    let (at, page) = Visitor::new().follow(&format!("{base}/login/oidc"));
    assert!(
        at.contains("/login/oidc") && page.contains("does not answer as it should"),
        "{at}: {page}"
    );
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let sent = service.request("POST", "/login", &[HTML, kind], &form(&[("token", &token)]));
    assert_eq!(sent.status, 303, "{}", sent.text());
    let log = service.stop_and_log();
    for said in [
        "audit: oidc:ana@hub.example (admin) GET /login/oidc/callback began a session as the subject \\\"ana\\\"",
        "audit: oidc:eva@hub.example (read) GET /login/oidc/callback began a session as the subject \\\"ana\\\"",
        "has no group that gives a role",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert!(!log.contains("secret-of-the-client"), "{log}");
}

#[test]
fn what_a_provider_forges_opens_nothing() {
    let database = database();
    let (mut hub, base) = known_address(&database);
    let provider = Provider::forger();
    with_oidc(&mut hub, &provider.issuer);
    hub.set("HTTP_OIDC_SCOPES", "email");
    let service = ServiceProcess::start(&hub);
    service.base();
    let begin = |visitor: &mut Visitor| {
        // Ten at once are more than a person needs.
        loop {
            let (status, to, text) = visitor.get(&format!("{base}/login/oidc?next=/backups"));
            match status {
                303 => break to.unwrap(),
                429 => std::thread::sleep(std::time::Duration::from_millis(500)),
                other => panic!("{other}: {text}"),
            }
        }
    };
    let back = |url: &str, how: &str| {
        let (state, nonce) = (parameter(url, "state"), parameter(url, "nonce"));
        assert_eq!(parameter(url, "code_challenge_method"), "S256");
        let challenge = parameter(url, "code_challenge");
        format!("{base}/login/oidc/callback?state={state}&code={how}.{nonce}.{challenge}")
    };
    for how in [
        "issuer",
        "audience",
        "audiences",
        "expired",
        "nonce",
        "no-nonce",
        "none",
        "hmac",
        "key",
        "refused",
        "large",
    ] {
        let mut visitor = Visitor::new();
        let url = begin(&mut visitor);
        let (status, _, text) = visitor.get(&back(&url, how));
        assert_eq!(status, 401, "{how}: {text}");
        assert!(text.contains("could not be confirmed"), "{how}: {text}");
        assert_eq!(visitor.get(&format!("{base}/backups")).0, 303, "{how}");
    }
    // The right one, and then the same again; in another browser; with a state of nobody; refused by the provider.
    let mut visitor = Visitor::new();
    let url = begin(&mut visitor);
    let (status, to, _) = visitor.get(&back(&url, "right"));
    assert_eq!((status, to), (303, Some(format!("{base}/backups"))));
    assert_eq!(visitor.get(&format!("{base}/backups")).0, 200);
    let mut again = Visitor::new();
    again.cookies = visitor.cookies.clone();
    again
        .cookies
        .retain(|(_, name), _| name == "hubvault_login");
    let url_of_another = begin(&mut Visitor::new());
    for address in [
        back(&url, "right"),
        back(&url_of_another, "right"),
        format!("{base}/login/oidc/callback?state=x&code=y"),
        format!("{base}/login/oidc/callback"),
    ] {
        let (status, _, text) = again.get(&address);
        assert!(
            status == 401 && text.contains("This login is over"),
            "{address}: {status} {text}"
        );
    }
    let mut refused = Visitor::new();
    let url = begin(&mut refused);
    let state = parameter(&url, "state");
    let (status, _, text) = refused.get(&format!(
        "{base}/login/oidc/callback?state={state}&error=%3Cscript%3E"
    ));
    assert!(
        status == 401 && text.contains("did not let you in") && !text.contains("<script>"),
        "{text}"
    );

    // Nobody gets in without a group.
    for how in ["no-groups", "odd-groups"] {
        let mut nobody = Visitor::new();
        let url = begin(&mut nobody);
        let (status, _, text) = nobody.get(&back(&url, how));
        assert!(
            status == 401 && text.contains("None of your groups"),
            "{how}: {status} {text}"
        );
        assert_eq!(nobody.get(&format!("{base}/backups")).0, 303, "{how}");
    }

    // A name is text, and never that of a token, nor an address that nobody verified.
    let mut odd = Visitor::new();
    let url = begin(&mut odd);
    let (_, page) = odd.follow(&back(&url, "odd-name"));
    assert!(page.contains("oidc:_script___xxx"), "{page}");
    let mut named = Visitor::new();
    let url = begin(&mut named);
    let (_, page) = named.follow(&back(&url, "no-email"));
    assert!(page.contains("oidc:ana_hub.example<"), "{page}");
    let log = service.stop_and_log();
    assert!(
        log.contains("Invalid nonce") && log.contains("Expired"),
        "{log}"
    );
    assert!(!log.contains("secret-of-the-client"), "{log}");
}

#[test]
fn settings_of_single_sign_on_that_could_not_work_are_refused() {
    let database = database();
    for (name, value, said) in [
        ("HTTP_OIDC_ISSUER", "http://id.example.com", "unencrypted"),
        ("HTTP_OIDC_CLIENT_ID", "", "http.oidc_client_id"),
        ("HTTP_PUBLIC_URL", "", "http.public_url"),
        ("HTTP_OIDC_ADMIN_GROUPS", "", "nobody could log in"),
    ] {
        let mut hub = hub(&database);
        hub.set("HTTP_ADDR", "127.0.0.1:0");
        hub.set("HTTP_PUBLIC_URL", "https://vault.example");
        with_oidc(&mut hub, "https://id.example.com");
        hub.set("HTTP_OIDC_READ_GROUPS", "");
        hub.set(name, value);
        let output = hub.run_expecting(2, &["config", "check"]);
        let error = crate::hub::stderr(&output);
        assert!(error.contains(said), "{said}: {error}");
    }
}
