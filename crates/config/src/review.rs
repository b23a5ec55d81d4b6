//! A change over HTTP under review: what differs, what it makes weaker than file and variables set it, and where to
//! write it on the host instead.

use super::change_rules::{allowed, changeable, is_of_schedule, is_sparser, is_weaker, plain};
use super::kind::Kind;
use super::setting::{Setting, Values};
use super::settings::Settings;
use hubvault_engine::schedule::Schedule;
use jiff::Timestamp;

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub key: &'static str,
    /// The old value.
    pub from: String,
    /// The new value.
    pub to: String,
}

impl Settings {
    /// The changeable settings that differ from those of `before`.
    pub fn differences(&self, before: &Self) -> Vec<Difference> {
        let differs = |key: &'static str| {
            let from = plain(before.values.get(key)?);
            let to = plain(self.values.get(key)?);
            (from != to).then_some(Difference { key, from, to })
        };
        changeable().filter_map(differs).collect()
    }

    /// Of these differences, those that file and variables do not allow and that are weaker than `before`.
    pub fn weaker_than(&self, before: &Self, differences: &[Difference]) -> Vec<Difference> {
        let schedule = Some(&before.job.schedule);
        let mut weaker = differences.to_vec();
        weaker.retain(|it| {
            self.is_weakened(it.key) && self.is_weaker_than(it.key, &before.values, schedule)
        });
        weaker
    }

    /// What is at risk, with the changes over HTTP that an earlier version accepted.
    pub fn with_weakened(&self, mut risks: Vec<String>) -> Vec<String> {
        risks.extend(self.weakened_in_words());
        risks
    }

    /// A sentence for each setting that the overlay makes weaker than file and variables set it.
    pub fn weakened_in_words(&self) -> Vec<String> {
        let weakened = changeable().filter(|key| self.is_weakened(key));
        let sentence = |key: &'static str| {
            let (baseline, current) = (self.baseline(key)?, plain(self.values.get(key)?));
            let (value, origin) = (plain(baseline), &baseline.origin);
            Some(format!(
                "{key} is {current} by overlay.toml, which is weaker than {value} ({origin}); HTTP no longer accepts such a \
                 change: remove the line from overlay.toml in the state directory, or {}",
                self.where_to_set(key, &current)
            ))
        };
        weakened.filter_map(sentence).collect()
    }

    /// Why a change is refused, and where to write `value` if it is intended.
    pub fn refusal(&self, key: &str, value: &str) -> String {
        let (allowed, place) = (allowed(key), self.where_to_set(key, value));
        format!("{allowed}; to do so, {place}")
    }

    /// Whether the overlay sets a key to the value that file and variables set.
    pub fn repeats(&self, key: &str) -> bool {
        let both = self.baseline(key).zip(self.values.get(key));
        both.is_some_and(|(baseline, current)| plain(baseline) == plain(current))
    }

    /// The schedule of file and variables, where something was changed over HTTP.
    pub fn baseline_schedule(&self) -> Option<&Schedule> {
        self.baseline.as_ref()?.schedule.as_ref()
    }

    fn baseline(&self, key: &str) -> Option<&Setting> {
        self.baseline.as_ref()?.values.get(key)
    }

    /// Whether the overlay makes a setting weaker than file and variables set it.
    fn is_weakened(&self, key: &str) -> bool {
        let baseline = self.baseline.as_ref();
        baseline.is_some_and(|it| self.is_weaker_than(key, &it.values, it.schedule.as_ref()))
    }

    /// Whether a setting protects less than in these values, to which this schedule belongs.
    fn is_weaker_than(&self, key: &str, values: &Values, schedule: Option<&Schedule>) -> bool {
        let Some((old, new)) = values.get(key).zip(self.values.get(key)) else {
            return false;
        };
        if !is_of_schedule(key) {
            return is_weaker(old, new);
        }
        // Where one of the two keys is unchanged, the other one is wrong.
        let is_sparser = |old| is_sparser(old, &self.job.schedule, Timestamp::now());
        plain(old) != plain(new) && schedule.is_some_and(is_sparser)
    }

    fn where_to_set(&self, key: &str, value: &str) -> String {
        let Some(setting) = self.baseline(key).or_else(|| self.values.get(key)) else {
            return "set it in hubvault.toml".to_owned();
        };
        if let Some(variable) = setting.origin.strip_prefix("variable ") {
            return format!("set {variable} where hubvault is started, and restart it");
        }
        let file = self.file.as_deref();
        let file = file.map_or("hubvault.toml".into(), |path| path.display().to_string());
        let value = match setting.key.kind {
            Kind::Integer(..) => value.to_owned(),
            kind if kind.is_yes_no() => value.to_owned(),
            Kind::List => {
                let items = value.split(", ").map(|item| format!("{item:?}"));
                format!("[{}]", items.collect::<Vec<_>>().join(", "))
            }
            _ => format!("{value:?}"),
        };
        let (table, name) = key.split_once('.').unwrap_or(("", key));
        let (table, of) = match &self.job_name {
            Some(job) => (format!("job.{table}"), format!(" of the job {job}")),
            None => (table.to_owned(), String::new()),
        };
        format!(
            "write `{name} = {value}` under [{table}]{of} in {file} on the host, and reload it (SIGHUP)"
        )
    }
}
