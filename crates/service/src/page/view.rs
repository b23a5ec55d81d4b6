//! HTML from templates. Everything that goes into them is escaped.

use super::assets::NAMES;
use super::shown::percent_encoded;
use crate::http::audit::{Caller, Origin};
use crate::http::error::ApiError;
use crate::token::Role;
use anyhow::Context;
use axum::response::Html;
use hubvault_engine::command::shell_word;
use hubvault_model::printable;
use minijinja::value::Serde;
use minijinja::{Environment, Error, HtmlEscape, Output, State, Value, context, escape_formatter};
use std::borrow::Cow;
use std::sync::OnceLock;

const TEMPLATES: &[(&str, &str)] = &[
    ("layout.html", include_str!("templates/layout.html")),
    ("macros.html", include_str!("templates/macros.html")),
    ("login.html", include_str!("templates/login.html")),
    ("set_up.html", include_str!("templates/set_up.html")),
    (
        "set_up_done.html",
        include_str!("templates/set_up_done.html"),
    ),
    ("error.html", include_str!("templates/error.html")),
    ("overview.html", include_str!("templates/overview.html")),
    ("backups.html", include_str!("templates/backups.html")),
    ("backup.html", include_str!("templates/backup.html")),
    ("restore.html", include_str!("templates/restore.html")),
    (
        "restore_result.html",
        include_str!("templates/restore_result.html"),
    ),
    ("operation.html", include_str!("templates/operation.html")),
    ("table.html", include_str!("templates/table.html")),
    ("value.html", include_str!("templates/value.html")),
    ("plan.html", include_str!("templates/plan.html")),
    ("file.html", include_str!("templates/file.html")),
    ("manifest.html", include_str!("templates/manifest.html")),
    ("sealed.html", include_str!("templates/sealed.html")),
    ("checks.html", include_str!("templates/checks.html")),
    ("coverage.html", include_str!("templates/coverage.html")),
    ("recipients.html", include_str!("templates/recipients.html")),
    ("settings.html", include_str!("templates/settings.html")),
    ("tokens.html", include_str!("templates/tokens.html")),
    ("audit.html", include_str!("templates/audit.html")),
    ("jobs_nav.html", include_str!("templates/jobs_nav.html")),
    ("jobs.html", include_str!("templates/jobs.html")),
];

/// The templates, parsed at the first page: a service that nobody looks at has none in memory.
#[derive(Debug, Default)]
pub(super) struct Views {
    parsed: OnceLock<Environment<'static>>,
}

/// Who looks at which page, and how they came here.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Links are relative, so that a proxy may serve the page below any path.
    pub(super) root: String,
    /// The path of the request, with its query.
    pub(super) here: String,
    /// Who looks; `None` before the login.
    pub(super) caller: Option<Caller>,
    /// From where.
    pub(super) origin: Origin,
    /// The address of the API for programs, without a path.
    pub(super) address: String,
    /// Whether the browser speaks TLS.
    pub(super) secure: bool,
    /// What each form carries.
    pub(super) form_token: String,
    /// The names of all jobs.
    pub(super) jobs: Vec<String>,
}

/// From a path to the page's root: `./` or `../`.
pub(super) fn root(path: &str) -> String {
    match path.matches('/').count() {
        0 | 1 => "./".to_owned(),
        depth => "../".repeat(depth - 1),
    }
}

impl Visit {
    /// The name and the role of whoever looks, for templates.
    fn who(&self) -> Option<Value> {
        let token = self.caller.as_ref()?.token.as_ref()?;
        Some(context! {
            name => token.name.as_str(),
            role => token.role.as_str(),
            may_operate => token.role >= Role::Operate,
            is_admin => token.role >= Role::Admin,
        })
    }
}

impl Views {
    /// A page; `values` are what its template names beside the visit.
    pub(super) fn render(
        &self,
        name: &str,
        visit: &Visit,
        values: Value,
    ) -> Result<Html<String>, ApiError> {
        let frame = context! {
            // Dots and slashes alone.
            root => Value::from_safe_string(visit.root.clone()),
            here => visit.here.as_str(),
            address => visit.address.as_str(),
            who => visit.who(),
            form_token => visit.form_token.as_str(),
            jobs => visit.jobs.clone(),
            assets => Value::from(Serde(&*NAMES)),
            version => env!("CARGO_PKG_VERSION"),
        };
        let environment = self.parsed.get_or_init(parse);
        let made = environment
            .get_template(name)
            .and_then(|template| template.render(context! { ..values, ..frame }));
        let html = made.with_context(|| format!("making the page {name}"))?;
        Ok(Html(html))
    }
}

/// The command that sends this request of the API, for what only a service does.
fn api(state: &State<'_, '_>, method: &str, path: &str, body: Option<&str>) -> String {
    let address = state.lookup("address").unwrap_or_default();
    let body = body.map(|body| format!(" -d {}", shell_word(body)));
    let to = shell_word(&format!("{address}{path}"));
    let body = body.unwrap_or_default();
    format!("curl -sX {method} -H \"Authorization: Bearer $TOKEN\" {to}{body}")
}

/// Writes a text without what nobody sees, and without what turns the text around it.
fn write_out(
    output: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let text = value.as_str().filter(|_| !value.is_safe());
    match text.map(printable) {
        Some(Cow::Owned(text)) => escape_formatter(output, state, &Value::from(text)),
        _ => escape_formatter(output, state, value),
    }
}

/// A text that a form sends back, as it is.
fn exact(value: &Value) -> Value {
    let escaped = |text: &str| Value::from_safe_string(HtmlEscape(text).to_string());
    value.as_str().map_or_else(|| value.clone(), escaped)
}

fn parse() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_formatter(write_out);
    environment.add_filter("exact", exact);
    environment.add_filter("url", percent_encoded);
    environment.add_function("api", api);
    for (name, text) in TEMPLATES {
        // Whether each can be parsed is a test.
        if let Err(error) = environment.add_template(name, text) {
            tracing::error!("http: the template {name}: {error:#}");
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_parsed() {
        for (name, text) in TEMPLATES {
            let parsed = Environment::new().add_template(name, text);
            assert!(parsed.is_ok(), "{name}: {parsed:?}");
        }
    }

    #[test]
    fn an_operation_that_says_nothing_yet_has_not_crashed() {
        let page = |is_live: bool| {
            let running = is_live.then(|| context! {});
            let values = context! {
                is_live, running, action => "verify", mark => "running", assets => Value::from(Serde(&*NAMES)),
                asked_at => (), ended => (), who => context! {},
            };
            let environment = parse();
            environment
                .get_template("operation.html")
                .unwrap()
                .render(values)
                .unwrap()
        };
        let (live, crashed) = (page(true), page(false));
        assert!(
            live.contains("It begins") && !live.contains("left no result"),
            "{live}"
        );
        assert!(
            !crashed.contains("It begins") && crashed.contains("left no result"),
            "{crashed}"
        );
    }

    /// A form's address, with a star for each value, and what of the command is in the same template.
    const COMMANDS: &[(&str, &[&str])] = &[
        ("*start", &["\"backup\""]),
        ("*backups/*/link", &["/link\""]),
        (
            "*backups/*/operation",
            &["\"verify \"", "\"drill \"", "\"diff \""],
        ),
        ("*backups/*/pin", &["\"pin \""]),
        ("*backups/*/restore", &["commands_list"]),
        ("*/*/plan", &["commands_list"]),
        ("*/file/unmasked", &["commands_list"]),
        ("*operations/*/stop", &["/stop\""]),
        ("*operations/*/restore", &["confirm_command", "/restore\""]),
        ("*checks/now", &["}}check</code>"]),
        ("*checks/silence", &["}}alert silence "]),
        ("*checks/resolved", &["}}restore --resolved"]),
        ("*coverage/now", &["}}backup --dry-run"]),
        ("*settings/change", &["\"/backup/config\""]),
        ("*tokens", &["hubvault token create"]),
        ("*tokens/revoke", &["hubvault token revoke"]),
        ("*set-up", &["hubvault init"]),
        // What a browser alone has.
        ("*login", &[]),
        ("*logout", &[]),
    ];

    #[test]
    fn every_form_is_beside_the_command_that_does_the_same() {
        for (name, text) in TEMPLATES {
            for form in text.split("<form").skip(1) {
                let (form, _) = form.split_once('>').unwrap();
                if !form.contains("method=\"post\"") {
                    continue;
                }
                let (_, address) = form.split_once("action=\"").unwrap();
                let (address, _) = address.split_once('"').unwrap();
                let address: String = address
                    .split("{{")
                    .map(|part| {
                        part.split_once("}}")
                            .map_or(part.to_owned(), |(_, rest)| format!("*{rest}"))
                    })
                    .collect();
                let known = COMMANDS.iter().find(|(known, _)| *known == address);
                let (_, commands) =
                    known.unwrap_or_else(|| panic!("{name}: {address} has no command"));
                for command in *commands {
                    assert!(text.contains(command), "{name}: {address}: {command}");
                }
            }
        }
    }

    #[test]
    fn links_lead_from_every_depth_to_the_root() {
        let roots = ["/", "/backups", "/backups/x", "/a/b/c"].map(root);
        assert_eq!(roots, ["./", "./", "../", "../../"]);
    }
}
