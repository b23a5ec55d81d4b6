//! Which of several places decides a setting, and which places it overrides.

use super::document::{Document, Field};
use super::environment::Environment;
use super::keys::{KEYS, Key};
use super::kind::Kind;
use super::overlay;
use super::pg_service;
use super::problem::Problem;
use super::setting::{DEFAULT, Setting, Value, Values};
use super::trusted_file::read_value;
use super::url::{self, Parts};
use secrecy::{ExposeSecret, SecretString};

/// Every setting; mistakes go into `problems`.
///
/// What was changed over HTTP decides first, then what a job of several sets itself (its key, then its URL), then a
/// connection URL in a variable, then the key's own variables in their order (between ours and libpq's the service that
/// `PGSERVICE` names), then the file's key, then a URL in the
/// file, then the default.
pub(crate) fn resolve(
    environment: &Environment,
    document: &Document,
    overlay: &Document,
    problems: &mut Vec<Problem>,
) -> Values {
    let mut resolver = Resolver {
        environment,
        document,
        overlay,
        problems,
    };
    // A mistake in reading the variable is reported once, by `find`.
    let in_variable = environment.setting("DATABASE_URL").ok().flatten();
    let in_variable = resolver.parse_url(in_variable.map(|(text, origin)| Place::of(text, origin)));
    let in_service = pg_service::service(environment, resolver.problems);
    let in_file = resolver.in_file("database.url", true);
    let in_file = resolver.parse_url(in_file);
    let keys = KEYS.iter();
    Values(
        keys.map(|key| resolver.find(key, [&in_variable, &in_service, &in_file]))
            .collect(),
    )
}

/// The parts of a connection string and where it is.
type Url = (Parts, String);

/// One place that sets a key.
struct Place {
    field: Field,
    origin: String,
}

impl Place {
    fn of(text: String, origin: String) -> Self {
        let field = Field::Text(text);
        Self { field, origin }
    }
}

struct Resolver<'a> {
    environment: &'a Environment,
    document: &'a Document,
    overlay: &'a Document,
    problems: &'a mut Vec<Problem>,
}

impl Resolver<'_> {
    fn parse_url(&mut self, place: Option<Place>) -> Url {
        let Some(Place { field, origin }) = place else {
            return Url::default();
        };
        match url::parse(&field.text()) {
            Ok(parts) => (parts, origin),
            Err(what) => {
                let problem = Problem::new(origin, "database.url", what);
                self.problems.push(problem);
                Url::default()
            }
        }
    }

    fn find(&mut self, key: &'static Key, urls: [&Url; 3]) -> Setting {
        let [in_variable, in_service, in_file] = urls;
        let (name, secret) = (key.name, key.is_secret());
        let mut places = Vec::new();
        places.extend(self.overlay.value(name).map(|field| Place {
            field: field.value.clone(),
            origin: overlay::ORIGIN.to_owned(),
        }));
        let own = self.is_own(name, secret);
        let own_url = self.is_own("database.url", true);
        if own {
            places.extend(self.in_file(name, secret));
        }
        if own_url {
            places.extend(part(in_file, name));
        }
        if own || !self.is_for_another_address(name) {
            places.extend(part(in_variable, name));
            // As in libpq, a service wins over its variables.
            let (of_libpq, ours): (Vec<&str>, Vec<&str>) =
                (key.variables.iter().copied()).partition(|variable| variable.starts_with("PG"));
            places.extend(self.in_variables(name, &ours));
            places.extend(part(in_service, name));
            places.extend(self.in_variables(name, &of_libpq));
            if !own {
                places.extend(self.in_file(name, secret));
            }
            if !own_url {
                places.extend(part(in_file, name));
            }
        }
        self.first_of(key, places)
    }

    fn in_variables(&mut self, key: &str, variables: &[&str]) -> Vec<Place> {
        let mut places = Vec::new();
        for variable in variables {
            match self.environment.setting(variable) {
                Ok(found) => places.extend(found.map(|(text, origin)| Place::of(text, origin))),
                Err(problem) => self.problems.push(Problem {
                    key: key.into(),
                    ..problem
                }),
            }
        }
        places
    }

    /// The first of the places decides and overrides the others.
    fn first_of(&mut self, key: &'static Key, places: Vec<Place>) -> Setting {
        let mut places = places.into_iter();
        let default = || Place::of(key.default.to_owned(), DEFAULT.to_owned());
        let Place { field, origin } = places.next().unwrap_or_else(default);
        let hidden = places.map(|place| place.origin).collect();
        let is_default = origin == DEFAULT;
        let mut item_lines = Vec::new();
        let value = match field {
            _ if is_default && key.default.is_empty() => match key.kind {
                Kind::List => Value::List(Vec::new()),
                _ => Value::Unset,
            },
            Field::List(items) => {
                item_lines = items.iter().map(|item| item.line).collect();
                Value::List(items.into_iter().map(|item| item.value).collect())
            }
            field => {
                let text = field.text();
                if !is_default && let Err(what) = key.kind.check(&text) {
                    self.problems.push(Problem::new(&origin, key.name, what));
                }
                value_of(key, text)
            }
        };
        Setting {
            key,
            value,
            origin,
            hidden,
            item_lines,
        }
    }

    /// A secret goes only where it was meant to go: a job that sets another address does not inherit it.
    fn is_for_another_address(&self, secret: &str) -> bool {
        let of: &[&str] = match secret {
            "database.password" => &["database.url", "database.host", "database.user"],
            "database.hostaddr" => &["database.url", "database.host"],
            "email.password" => &["email.host", "email.user"],
            "ntfy.token" => &["ntfy.url"],
            "telegram.token" => &["telegram.url"],
            "pagerduty.key" => &["pagerduty.url"],
            _ => return false,
        };
        of.iter().any(|key| self.is_own(key, true))
    }

    /// Whether the job sets this key itself, or for a secret, the file that holds it.
    fn is_own(&self, key: &str, secret: bool) -> bool {
        let by_file = || self.document.is_own(&format!("{key}_file"));
        self.document.is_own(key) || secret && by_file()
    }

    /// What the file sets a key to, or, for a secret, the file that it names.
    fn in_file(&mut self, key: &str, secret: bool) -> Option<Place> {
        if let Some(field) = self.document.value(key) {
            return Some(Place {
                field: field.value.clone(),
                origin: self.document.origin(field.line),
            });
        }
        let by_file = format!("{key}_file");
        let path = self.document.value(&by_file).filter(|_| secret)?;
        let origin = self.document.origin(path.line);
        let path = path.value.text();
        match read_value(&path) {
            Ok(text) => Some(Place::of(text, format!("{origin} ({path})"))),
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

fn part((parts, origin): &Url, key: &str) -> Option<Place> {
    let (_, value) = parts.iter().find(|(name, _)| *name == key)?;
    Some(Place::of(value.expose_secret().to_owned(), origin.clone()))
}

fn value_of(key: &Key, text: String) -> Value {
    match key.kind {
        Kind::Secret => Value::Secret(SecretString::from(text)),
        Kind::List => Value::List(text.split(',').map(|item| item.trim().to_owned()).collect()),
        Kind::Choice(_) => Value::Text(text.to_ascii_lowercase()),
        _ => Value::Text(text),
    }
}
