//! Which of several places decides a setting, and which places it hides.

use super::document::Document;
use super::environment::{Environment, read_value};
use super::keys::{KEYS, Key, Kind};
use super::overlay;
use super::problem::Problem;
use super::url::{self, Parts};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// A setting as it holds.
pub struct Found {
    /// Its key.
    pub key: &'static Key,
    /// Its value.
    pub value: Value,
    /// `variable POSTGRES_HOST`, `hubvault.toml line 12`, `default`.
    pub origin: String,
    /// Other places that say something else or the same, and do not count.
    pub hidden: Vec<String>,
}

/// What a setting holds.
pub enum Value {
    /// Nothing is set and there is no default.
    Unset,
    /// One text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
    /// A text that is never shown.
    Secret(SecretString),
}

impl Found {
    /// True when somebody said something.
    pub fn is_given(&self) -> bool {
        self.origin != DEFAULT
    }

    /// The text of a plain value; empty where nothing is set.
    pub fn text(&self) -> &str {
        match &self.value {
            Value::Text(text) => text,
            _ => "",
        }
    }
}

const DEFAULT: &str = "default";

/// Every setting by its name; mistakes go into `problems`.
///
/// What was changed from afar decides first, then what a job of several says itself (its key, then its URL), then a connection
/// URL in a variable, then the key's own variables in their order, then the file's key, then a URL in the file, then the default.
pub(crate) fn resolve(
    environment: &Environment,
    document: &Document,
    overlay: &Document,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'static str, Found> {
    let mut resolver = Resolver {
        environment,
        document,
        overlay,
        problems,
    };
    let from_variable = resolver.url_of_variable();
    let from_file = resolver.url_of_file();
    KEYS.iter()
        .map(|key| (key.name, resolver.find(key, &from_variable, &from_file)))
        .collect()
}

/// The parts of a connection string and where it stands.
type Url = (Parts, String);

struct Resolver<'a> {
    environment: &'a Environment,
    document: &'a Document,
    overlay: &'a Document,
    problems: &'a mut Vec<Problem>,
}

impl Resolver<'_> {
    fn url_of_variable(&mut self) -> Url {
        // A mistake in reading it is reported once, by `find`.
        let Ok(Some((text, origin))) = self.environment.setting("DATABASE_URL") else {
            return Url::default();
        };
        self.parse_url(&text, origin)
    }

    fn url_of_file(&mut self) -> Url {
        let Some((text, origin)) = self.said_in_file("database.url", true) else {
            return Url::default();
        };
        self.parse_url(&text, origin)
    }

    fn parse_url(&mut self, text: &str, origin: String) -> Url {
        match url::parse(text) {
            Ok(parts) => (parts, origin),
            Err(what) => {
                self.problems
                    .push(Problem::new(origin, "database.url", what));
                Url::default()
            }
        }
    }

    fn find(&mut self, key: &'static Key, from_variable: &Url, from_file: &Url) -> Found {
        let mut places = Vec::new();
        let changed = self.overlay.value(key.name);
        places.extend(changed.map(|(text, _)| (text.to_owned(), overlay::ORIGIN.to_owned())));
        let own = self.is_own(key.name, key.secret);
        let own_url = self.is_own("database.url", true);
        if own {
            places.extend(self.said_in_file(key.name, key.secret));
        }
        if own_url {
            places.extend(part(from_file, key.name));
        }
        if !own && self.is_for_another_address(key.name) {
            return self.first_of(key, places);
        }
        places.extend(part(from_variable, key.name));
        for variable in key.variables {
            match self.environment.setting(variable) {
                Ok(found) => places.extend(found),
                Err(problem) => self.problems.push(Problem {
                    key: key.name.into(),
                    ..problem
                }),
            }
        }
        if !own {
            places.extend(self.said_in_file(key.name, key.secret));
        }
        if !own_url {
            places.extend(part(from_file, key.name));
        }
        self.first_of(key, places)
    }

    /// The strongest of the places decides and hides the others.
    fn first_of(&mut self, key: &'static Key, places: Vec<(String, String)>) -> Found {
        let mut places = places.into_iter();
        let Some((text, origin)) = places.next() else {
            let value = match key.default {
                "" if matches!(key.kind, Kind::List | Kind::Addresses) => Value::List(Vec::new()),
                "" => Value::Unset,
                text => value_of(key, text),
            };
            return Found {
                key,
                value,
                origin: DEFAULT.to_owned(),
                hidden: Vec::new(),
            };
        };
        let hidden = places.map(|(_, origin)| origin).collect();
        let changed = self.overlay.value(key.name);
        let listed = origin.starts_with(&self.document.name) && !self.document.name.is_empty();
        let items = match changed {
            Some(_) => self.overlay.list(key.name),
            None => self.document.list(key.name).filter(|_| listed),
        };
        let value = if let Some(items) = items {
            Value::List(items.to_vec())
        } else {
            if let Err(what) = key.kind.check(&text) {
                self.problems.push(Problem::new(&origin, key.name, what));
            }
            value_of(key, &text)
        };
        Found {
            key,
            value,
            origin,
            hidden,
        }
    }

    /// A secret goes where it was meant to go: a job that says another address itself does not inherit it.
    fn is_for_another_address(&self, secret: &str) -> bool {
        let of: &[&str] = match secret {
            "database.password" => &["database.url", "database.host", "database.user"],
            "email.password" => &["email.host", "email.user"],
            "ntfy.token" => &["ntfy.url"],
            _ => return false,
        };
        of.iter().any(|key| self.is_own(key, true))
    }

    /// Whether the job says this key itself, or for a secret, the file that holds it.
    fn is_own(&self, key: &str, secret: bool) -> bool {
        let by_file = || self.document.is_own(&format!("{key}_file"));
        self.document.is_own(key) || secret && by_file()
    }

    /// What the file says about a key, or, for a secret, the file that it names.
    fn said_in_file(&mut self, key: &str, secret: bool) -> Option<(String, String)> {
        if let Some((text, line)) = self.document.value(key) {
            return Some((text.to_owned(), self.document.origin(line)));
        }
        let by_file = format!("{key}_file");
        let (path, line) = self.document.value(&by_file).filter(|_| secret)?;
        let origin = self.document.origin(line);
        match read_value(path) {
            Ok(text) => Some((text, format!("{origin} ({path})"))),
            Err(what) => {
                let problem = Problem::new(origin, by_file, what);
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
                None
            }
        }
    }
}

fn part((parts, origin): &Url, key: &str) -> Option<(String, String)> {
    let (_, value) = parts.iter().find(|(name, _)| *name == key)?;
    Some((value.expose_secret().to_owned(), origin.clone()))
}

fn value_of(key: &Key, text: &str) -> Value {
    if key.secret {
        return Value::Secret(SecretString::from(text.to_owned()));
    }
    match key.kind {
        Kind::List | Kind::Addresses => {
            Value::List(text.split(',').map(|item| item.trim().to_owned()).collect())
        }
        Kind::Choice(_) => Value::Text(text.to_ascii_lowercase()),
        Kind::Text
        | Kind::Address
        | Kind::Integer(..)
        | Kind::Duration
        | Kind::Cron
        | Kind::Zone
        | Kind::Listen
        | Kind::PublicUrl => Value::Text(text.to_owned()),
    }
}
