//! A setting with its origin, and all of them as the types that a job is built of.

use super::keys::Key;
use super::kind;
use super::problem::Problem;
use hubvault_model::ByteSize;
use jiff::tz::TimeZone;
use secrecy::SecretString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The origin of a setting that nobody set.
pub(crate) const DEFAULT: &str = "default";

/// A value and where it was set.
#[derive(Clone)]
pub(crate) struct WithOrigin<T> {
    pub(crate) value: T,
    /// `hubvault.toml line 12`, `default`.
    pub(crate) origin: String,
}

/// A setting in effect.
pub struct Setting {
    /// Its key.
    pub key: &'static Key,
    /// Its value.
    pub value: Value,
    /// `variable POSTGRES_HOST`, `hubvault.toml line 12`, `default`.
    pub origin: String,
    /// Other places that set it and are overridden.
    pub hidden: Vec<String>,
    /// The lines of a list's items, where they are in the file.
    pub(crate) item_lines: Vec<usize>,
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

impl Setting {
    /// The value for people; `none` where nothing is set.
    pub fn shown(&self, none: &str) -> String {
        match &self.value {
            Value::Unset => none.to_owned(),
            Value::List(items) if items.is_empty() => none.to_owned(),
            Value::Secret(_) => "********".to_owned(),
            Value::Text(text) => text.clone(),
            Value::List(items) => items.join(", "),
        }
    }

    /// Whether somebody set it.
    pub(crate) fn is_given(&self) -> bool {
        self.origin != DEFAULT
    }

    /// The text of a plain value; empty where nothing is set.
    pub(crate) fn text(&self) -> &str {
        match &self.value {
            Value::Text(text) => text,
            _ => "",
        }
    }

    pub(crate) fn secret(&self) -> Option<&SecretString> {
        match &self.value {
            Value::Secret(secret) => Some(secret),
            _ => None,
        }
    }
}

/// All settings, in the order of the list of keys. A wrong value was reported when it was resolved; what it is read as
/// here is never used, as no job is made of it.
pub struct Values(pub(crate) Vec<Setting>);

impl Values {
    /// Each setting.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.key.name == key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Setting> {
        self.0.iter_mut().find(|setting| setting.key.name == key)
    }

    /// The text of a plain value; empty where nothing is set.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).map_or("", Setting::text)
    }

    pub(crate) fn list(&self, key: &str) -> &[String] {
        match self.get(key).map(|setting| &setting.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    pub(crate) fn secret(&self, key: &str) -> Option<&SecretString> {
        self.get(key)?.secret()
    }

    /// Every secret that is set.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.iter().filter_map(Setting::secret)
    }

    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        let text = Some(self.text(key)).filter(|text| !text.is_empty());
        text.map(PathBuf::from)
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.text(key) == "true"
    }

    pub(crate) fn number<T: FromStr>(&self, key: &str) -> Option<T> {
        self.text(key).parse().ok()
    }

    /// A number, or another word or value that its type reads; its default where nothing is set.
    pub(crate) fn parsed<T: FromStr + Default>(&self, key: &str) -> T {
        self.number(key).unwrap_or_default()
    }

    pub(crate) fn duration(&self, key: &str) -> Duration {
        kind::duration(self.text(key)).unwrap_or_default()
    }

    /// A size in MiB. Unset and 0 both mean no limit.
    pub(crate) fn mib(&self, key: &str) -> Option<ByteSize> {
        let mib = self.number(key).filter(|mib| *mib > 0);
        mib.map(ByteSize::from_mib)
    }

    /// The zone of schedules, of names and of days.
    pub(crate) fn zone(&self) -> TimeZone {
        kind::zone(self.text("schedule.timezone")).unwrap_or(TimeZone::UTC)
    }

    /// A mistake in the value of `key`.
    pub(crate) fn problem(&self, key: &str, what: impl Into<String>) -> Problem {
        let origin = self.get(key).map_or(DEFAULT, |setting| &setting.origin);
        Problem::new(origin, key, what)
    }
}
