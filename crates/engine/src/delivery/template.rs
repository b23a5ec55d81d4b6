//! Templates of messages: the built-in ones, and a user's own files of the same or other names.

use super::facts::Facts;
use crate::state::ownership::{ReadOnlyMount, read_trusted};
use hubvault_model::{counted, grouped};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A built-in type of mail: two files in `templates/`, and a line in [`MAIL_TYPES`].
pub struct MailType {
    /// Its name, and that of its files.
    pub name: &'static str,
    /// What it is about.
    pub about: About,
    text: &'static str,
    html: &'static str,
}

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A run that left an archive.
    Success,
    /// A run that failed.
    Failure,
    /// A check.
    Alert,
    /// A run, or none.
    Anything,
}

macro_rules! mail_type {
    ($name:literal, $about:ident) => {
        MailType {
            name: $name,
            about: About::$about,
            text: include_str!(concat!("templates/", $name, ".txt")),
            html: include_str!(concat!("templates/", $name, ".html")),
        }
    };
}

/// The built-in types of mail.
pub const MAIL_TYPES: &[MailType] = &[
    mail_type!("success", Success),
    mail_type!("failure", Failure),
    mail_type!("alert", Alert),
    mail_type!("recovered", Alert),
    mail_type!("changed", Anything),
    mail_type!("digest", Anything),
    mail_type!("test", Anything),
];

impl About {
    /// Of a type of mail, built-in or a user's own.
    pub fn of(mail_type: &str) -> Self {
        let built_in = MAIL_TYPES.iter().find(|it| it.name == mail_type);
        built_in.map_or(Self::Anything, |it| it.about)
    }
}

/// What the HTML parts have in common.
const LAYOUT: &str = include_str!("templates/layout.html");
/// A template larger than this is refused, in bytes.
const LARGEST: u64 = 256 << 10;

/// Something rendered, ready to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The subject, one line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The mistakes of a template that was replaced by the built-in one.
    pub problems: Vec<String>,
}

/// A mistake in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateProblem {
    /// The file and the line.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// The templates in use.
#[derive(Debug)]
pub struct Templates {
    directory: Option<PathBuf>,
    own: Environment<'static>,
    built_in: Environment<'static>,
}

impl Templates {
    /// The built-in templates; a file of the same name in `directory` replaces one.
    pub fn new(directory: Option<&Path>) -> Self {
        let place = directory.map(Path::to_owned);
        let mut own = environment();
        own.set_loader(move |name| match place.as_deref() {
            Some(place) => Ok(read(place, name)?.or_else(|| built_in(name))),
            None => Ok(built_in(name)),
        });
        let mut plain = environment();
        plain.set_loader(|name| Ok(built_in(name)));
        Self {
            directory: directory.map(Path::to_owned),
            own,
            built_in: plain,
        }
    }

    /// Every type, the built-in ones and the user's.
    pub fn types(&self) -> BTreeSet<String> {
        let type_of = |name: &str| {
            let name = name.strip_suffix(".txt")?;
            Some(name.to_owned())
        };
        let mut types: BTreeSet<String> =
            (MAIL_TYPES.iter()).map(|it| it.name.to_owned()).collect();
        types.extend(self.files().iter().filter_map(|name| type_of(name)));
        types
    }

    /// Renders a type. A mistake in a user's file never loses the message: the built-in template of the type, or the
    /// plainest there is, replaces it, and the message says so.
    pub fn render(&self, kind: &str, facts: &Facts) -> Rendered {
        let facts = Value::from(Serde(facts));
        match render(&self.own, kind, &facts) {
            Ok(rendered) => rendered,
            Err(error) => {
                let problem = format!("{}: {}", place(&error, kind), describe(&error));
                let said = format!(
                    "The template {kind} has a mistake, so this is the built-in one. {problem}"
                );
                // A type of the user's own has none.
                let mut rendered =
                    render(&self.built_in, kind, &facts).unwrap_or_else(|_| Rendered {
                        subject: format!("[hubvault] {kind}"),
                        html: "<!doctype html><html><body></body></html>".to_owned(),
                        ..Rendered::default()
                    });
                rendered.text += &format!("\n{said}\n");
                let paragraph = format!("<p><strong>{}</strong></p></body>", escaped(&said));
                rendered.html = rendered.html.replacen("</body>", &paragraph, 1);
                rendered.problems.push(problem);
                rendered
            }
        }
    }

    /// Renders every type with `facts`; the mistakes in the user's files.
    pub fn check(&self, facts: &Facts) -> Vec<TemplateProblem> {
        let Some(directory) = &self.directory else {
            return Vec::new();
        };
        if let Err(error) = fs::read_dir(directory) {
            return vec![TemplateProblem {
                place: directory.display().to_string(),
                what: format!("reading the templates: {error}"),
            }];
        }
        let facts = Value::from(Serde(facts));
        let mut problems = Vec::new();
        for kind in self.types() {
            if let Err(error) = render(&self.own, &kind, &facts) {
                let problem = TemplateProblem {
                    place: format!("{}/{}", directory.display(), place(&error, &kind)),
                    what: describe(&error),
                };
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        problems
    }

    fn files(&self) -> Vec<String> {
        let Some(directory) = &self.directory else {
            return Vec::new();
        };
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // A misspelt name is a mistake and no empty place.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|name| {
        if Path::new(name).extension().is_some_and(|e| e == "html") {
            AutoEscape::Html
        } else {
            AutoEscape::None
        }
    });
    environment.add_filter("grouped", grouped);
    environment.add_filter("counted", |number: u64, noun: &str| counted(number, noun));
    environment.add_filter("sentence", sentence);
    environment.add_filter("pad", |text: String, width: usize| {
        format!("{text:<width$}")
    });
    environment.add_filter("lead", |text: String, width: usize| {
        format!("{text:>width$}")
    });
    environment
}

fn built_in(name: &str) -> Option<String> {
    let (mail_type, ending) = name.split_once('.')?;
    let text = match (MAIL_TYPES.iter().find(|it| it.name == mail_type), ending) {
        (Some(found), "txt") => found.text,
        (Some(found), "html") => found.html,
        (None, "html") if mail_type == "layout" => LAYOUT,
        _ => return None,
    };
    Some(text.to_owned())
}

/// A file of the directory itself; a name with a path in it is none.
fn read(directory: &Path, name: &str) -> Result<Option<String>, Error> {
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Ok(None);
    }
    let path = directory.join(name);
    let failed = |what: String| {
        let what = format!("reading {}: {what}", path.display());
        Error::new(ErrorKind::InvalidOperation, what)
    };
    match read_trusted(&path, LARGEST, ReadOnlyMount::Trusted) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn render(environment: &Environment<'_>, kind: &str, facts: &Value) -> Result<Rendered, Error> {
    let text = environment
        .get_template(&format!("{kind}.txt"))?
        .render(facts.clone())?;
    let (subject, text) = text.split_once('\n').unwrap_or((text.as_str(), ""));
    let subject = subject.trim();
    if subject.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("the first line of {kind}.txt is the subject, and it is empty"),
        ));
    }
    let text = format!("{}\n", text.trim_matches('\n'));
    let html = match environment.get_template(&format!("{kind}.html")) {
        Ok(template) => template.render(facts.clone())?,
        // Optional for a type of the user's.
        Err(error) if error.kind() == ErrorKind::TemplateNotFound => preformatted(&text),
        Err(error) => return Err(error),
    };
    Ok(Rendered {
        subject: subject.to_owned(),
        text,
        html,
        problems: Vec::new(),
    })
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn preformatted(text: &str) -> String {
    let escaped = escaped(text);
    format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" \
         content=\"light dark\"></head><body><pre style=\"white-space:pre-wrap\">{escaped}</pre>\
         </body></html>\n"
    )
}

fn place(error: &Error, kind: &str) -> String {
    let name = error
        .name()
        .map_or_else(|| format!("{kind}.txt"), str::to_owned);
    match error.line() {
        Some(line) => format!("{name} line {line}"),
        None => name,
    }
}

fn describe(error: &Error) -> String {
    let detail = error.detail().unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::UndefinedError => {
            "it names a value that does not exist; docs/mail.md lists them".to_owned()
        }
        ErrorKind::TemplateNotFound => "there is no such template".to_owned(),
        kind => kind.to_string(),
    };
    if detail.is_empty() {
        what
    } else {
        format!("{what} ({detail})")
    }
}

/// With a capital first letter; the others are left alone, as in `PostgreSQL`.
fn sentence(text: String) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => text,
    }
}
