//! The web page as a browser gets it.

use super::service_process::{Answer, ServiceProcess};

/// What a browser accepts.
pub(crate) const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");

/// A browser: its cookie, and the token of its forms.
pub(crate) struct Browser<'a> {
    service: &'a ServiceProcess,
    pub(crate) cookie: String,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(service: &'a ServiceProcess) -> Self {
        Self {
            service,
            cookie: String::new(),
        }
    }

    /// Logged in.
    pub(crate) fn of(service: &'a ServiceProcess, token: &str) -> Self {
        let mut browser = Self::new(service);
        let answer = browser.log_in(token, "/");
        assert_eq!(answer.status, 303, "{}", answer.text());
        browser
    }

    pub(crate) fn log_in(&mut self, token: &str, next: &str) -> Answer {
        let answer = self.send("/login", &format!("token={token}&next={next}"), &[]);
        if let Some(set) = answer.header("set-cookie") {
            set.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let headers = [HTML, ("cookie", &self.cookie)];
        self.service.get_with(path, &headers)
    }

    /// A form, as it is, with more headers.
    pub(crate) fn send(&self, path: &str, form: &str, more: &[(&str, &str)]) -> Answer {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let mut headers = vec![HTML, kind, ("cookie", self.cookie.as_str())];
        headers.extend(more);
        self.service.request("POST", path, &headers, form)
    }

    /// What its forms carry.
    pub(crate) fn form_token(&self) -> String {
        let page = self.get("/").text();
        let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// A form with its token as the bytes of a request, for what sends several at once.
    pub(crate) fn raw(&self, path: &str, form: &str) -> String {
        let form = format!("form_token={}&{form}", self.form_token());
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\ncookie: {}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            self.cookie,
            form.len()
        )
    }

    /// A form with its token.
    pub(crate) fn submit(&self, path: &str, form: &str) -> Answer {
        let form = format!("form_token={}&{form}", self.form_token());
        self.send(path, &form, &[])
    }
}

/// What every page must have, whatever it says.
pub(crate) fn is_page(answer: &Answer, status: u16) -> String {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    let header = |name| answer.header(name).unwrap_or_default();
    let policy = header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("referrer-policy"), "same-origin");
    assert_eq!(header("cache-control"), "no-store");
    for never in [
        " style=\"",
        "<script>",
        " onclick=\"",
        "http://",
        "https://",
    ] {
        assert!(!text.contains(never), "{never} in {text}");
    }
    text
}
