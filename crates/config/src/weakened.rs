//! What an overlay makes weaker than file and variables say, and where to write it for whoever means it.

use super::Settings;
use super::document::Document;
use super::environment::Environment;
use super::keys::Kind;
use super::overlay::CHANGEABLE;
use super::resolve::{Found, resolve};
use super::schedule::schedule;
use super::strictness::{allowed, is_of_schedule, is_sparser, is_weaker, plain};
use hubvault_engine::schedule::Schedule;
use jiff::Timestamp;

/// What holds without the overlay; empty where there is none.
#[derive(Default)]
pub(super) struct Floor {
    found: Vec<Found>,
    schedule: Option<Schedule>,
}

impl Floor {
    pub(super) fn of(environment: &Environment, document: &Document, overlay: &Document) -> Self {
        if !CHANGEABLE.iter().any(|key| overlay.value(key).is_some()) {
            return Self::default();
        }
        // Mistakes in file and variables are reported where the overlay counts, too.
        let mut all = resolve(environment, document, &Document::default(), &mut Vec::new());
        let schedule = schedule(&all);
        let found = CHANGEABLE.iter().filter_map(|key| all.remove(key));
        Self {
            found: found.collect(),
            schedule,
        }
    }
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub key: &'static str,
    /// What it was.
    pub from: String,
    /// What it is then.
    pub to: String,
}

impl Settings {
    /// The changeable settings that differ from those of `before`.
    pub fn differences(&self, before: &Self) -> Vec<Difference> {
        let differs = |key: &&'static str| {
            let (from, to) = (plain(before.setting(key)?), plain(self.setting(key)?));
            (from != to).then_some(Difference { key, from, to })
        };
        CHANGEABLE.iter().filter_map(differs).collect()
    }

    /// Of these differences, those that file and variables do not allow and that make weaker what held `before`.
    pub fn weaker_than(&self, before: &Self, differences: &[Difference]) -> Vec<Difference> {
        let weakened = self.weakened();
        let mut weaker = differences.to_vec();
        weaker.retain(|difference| {
            weakened.iter().any(|(key, _)| *key == difference.key)
                && self.is_weaker_in(difference.key, before)
        });
        weaker
    }

    fn is_weaker_in(&self, key: &str, before: &Self) -> bool {
        if is_of_schedule(key) {
            let (old, new) = (&before.job.schedule, &self.job.schedule);
            return match (old, new) {
                (Some(old), Some(new)) => is_sparser(old, new, Timestamp::now()),
                _ => true,
            };
        }
        match (before.setting(key), self.setting(key)) {
            (Some(old), Some(new)) => is_weaker(old, new),
            _ => false,
        }
    }

    /// The settings that the overlay makes weaker than file and variables say, each with what these say.
    fn weakened(&self) -> Vec<(&'static str, &Found)> {
        let is_weak = |floor: &&Found| {
            let key = floor.key.name;
            let holds = self.setting(key);
            if is_of_schedule(key) {
                let (old, new) = (&self.floor.schedule, &self.job.schedule);
                // Where one of the two keys is as it was, the other one is what is wrong.
                let differs = holds.is_some_and(|holds| plain(holds) != plain(floor));
                return differs
                    && matches!((old, new), (Some(old), Some(new)) if is_sparser(old, new, Timestamp::now()));
            }
            holds.is_some_and(|holds| is_weaker(floor, holds))
        };
        let weak = self.floor.found.iter().filter(is_weak);
        weak.map(|floor| (floor.key.name, floor)).collect()
    }

    /// The same in sentences.
    pub fn weakened_in_words(&self) -> Vec<String> {
        let one = |(key, floor): (&'static str, &Found)| {
            let holds = self.setting(key).map_or_else(String::new, plain);
            let (said, origin) = (plain(floor), &floor.origin);
            format!(
                "{key} is {holds} by overlay.toml, which is weaker than {said} ({origin}); such a change is no longer \
                 taken over HTTP: remove the line from overlay.toml in the state directory, or {}",
                self.where_to_say(key, &holds)
            )
        };
        self.weakened().into_iter().map(one).collect()
    }

    /// What may be done with a key over HTTP, and where to write `value` for whoever means it.
    pub fn refusal(&self, key: &str, value: &str) -> String {
        format!(
            "{}; to do so, {}",
            allowed(key),
            self.where_to_say(key, value)
        )
    }

    fn where_to_say(&self, key: &str, value: &str) -> String {
        let floor = self.floor.found.iter().find(|found| found.key.name == key);
        let Some(floor) = floor.or_else(|| self.setting(key)) else {
            return "set it in hubvault.toml".to_owned();
        };
        if let Some(variable) = floor.origin.strip_prefix("variable ") {
            return format!("set {variable} where hubvault is started, and restart it");
        }
        let (table, name) = key.split_once('.').unwrap_or(("", key));
        let file = self.file.as_ref().map_or_else(
            || "hubvault.toml".to_owned(),
            |path| path.display().to_string(),
        );
        let value = match floor.key.kind {
            Kind::Integer(..) => value.to_owned(),
            Kind::Choice(words) if words.contains(&"true") => value.to_owned(),
            Kind::List | Kind::Addresses => {
                let items: Vec<String> =
                    value.split(", ").map(|item| format!("{item:?}")).collect();
                format!("[{}]", items.join(", "))
            }
            _ => format!("{value:?}"),
        };
        let (table, of) = match &self.job_name {
            Some(job) => (format!("job.{table}"), format!(" of the job {job}")),
            None => (table.to_owned(), String::new()),
        };
        format!(
            "write `{name} = {value}` under [{table}]{of} in {file} on the host, and reload it (SIGHUP)"
        )
    }

    /// Whether the overlay says of a key what file and variables say.
    pub fn repeats(&self, key: &str) -> bool {
        let mut floor = self.floor.found.iter();
        let floor = floor.find(|found| found.key.name == key);
        matches!((floor, self.setting(key)), (Some(floor), Some(holds)) if plain(floor) == plain(holds))
    }

    /// The schedule of file and variables, where something was changed over HTTP.
    pub fn floor_schedule(&self) -> Option<&Schedule> {
        self.floor.schedule.as_ref()
    }

    fn setting(&self, key: &str) -> Option<&Found> {
        self.found.iter().find(|found| found.key.name == key)
    }
}
