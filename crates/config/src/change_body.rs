//! The body of a change over HTTP: dotted keys, `{"retention.days": 60}`, and tables, `{"retention": {"days": 60}}`, also
//! with the names of the service before hubvault. Every name becomes a key of the configuration, so that one set
//! of rules holds for all of them.

use super::keys::{KEYS, Key};
use super::kind::Kind;
use super::problem::{ConfigError, Problem};
use serde_json::{Map, Value};

/// Names of the earlier service, and what they are called now.
pub(crate) const ALIASES: &[(&str, &str)] = &[
    ("schedule.cron_expression", "schedule.cron"),
    ("email.recipients", "email.to"),
    ("email.attachment_threshold_mb", "email.max_message_mb"),
];

const ORIGIN: &str = "PUT /backup/config";

/// More bytes than any name of a setting has.
const LONGEST_NAME: usize = 100;

/// The earlier service could be told to take no backups; hubvault is stopped instead.
pub const SCHEDULE_ENABLED: &str = "schedule.enabled";

/// What the earlier service called a setting, where that is another name.
pub fn old_name(key: &str) -> Option<&'static str> {
    let alias = ALIASES.iter().find(|(_, now)| *now == key);
    alias.map(|(alias, _)| *alias)
}

/// Whether the text of a setting is that of a number, or true or false, in JSON.
pub fn is_number_or_yes_no(key: &str) -> bool {
    let kind = Key::named(key).map(|key| key.kind);
    kind.is_some_and(|kind| kind.is_yes_no() || matches!(kind, Kind::Integer(..)))
}

/// What a body asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeBody {
    /// The settings by their keys; null takes a change back.
    pub settings: Map<String, Value>,
    /// Whether no backups are to be taken any more.
    pub stops_schedule: bool,
}

impl ChangeBody {
    /// Reads one. A setting that has two values in it is an error.
    pub fn read(body: &Map<String, Value>) -> Result<Self, ConfigError> {
        let mut named = Vec::new();
        flatten("", body, &mut named).map_err(|what| ConfigError {
            problems: vec![Problem::new(ORIGIN, "", what)],
        })?;
        let (mut found, mut problems) = (Self::default(), Vec::new());
        for (name, value) in named {
            if name == SCHEDULE_ENABLED {
                match value {
                    Value::Bool(is_on) => found.stops_schedule |= !is_on,
                    Value::Null => {}
                    _ => problems.push(Problem::new(ORIGIN, name, "expected true or false")),
                }
                continue;
            }
            let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
            let key = alias.map_or(name.as_str(), |(_, key)| *key).to_owned();
            match found.settings.get(&key) {
                Some(other) if other != value => {
                    let what = "is in the body twice, with different values (dotted, in a table, or by its old name)";
                    problems.push(Problem::new(ORIGIN, key, what));
                }
                _ => drop(found.settings.insert(key, value.clone())),
            }
        }
        if problems.is_empty() {
            Ok(found)
        } else {
            Err(ConfigError { problems })
        }
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && !self.stops_schedule
    }
}

/// Refuses at once what cannot be a change, however much of it there is in a body.
fn flatten<'a>(
    before: &str,
    body: &'a Map<String, Value>,
    named: &mut Vec<(String, &'a Value)>,
) -> Result<(), String> {
    let most = KEYS.len() + ALIASES.len() + 1;
    for (name, value) in body {
        if before.len() + name.len() > LONGEST_NAME {
            return Err(format!(
                "a name has more than {LONGEST_NAME} bytes, and no setting has; remove it"
            ));
        }
        if named.len() >= most {
            return Err(format!(
                "more than {most} settings, and there are not so many; send those that are to change"
            ));
        }
        let name = format!("{before}{name}");
        match value {
            // A reader of JSON bounds how deep they are. A table in the place of a value is refused with the other values.
            Value::Object(table) if !is_setting(&name) => {
                flatten(&format!("{name}."), table, named)?;
            }
            value => named.push((name, value)),
        }
    }
    Ok(())
}

fn is_setting(name: &str) -> bool {
    let is_old = ALIASES.iter().any(|(alias, _)| *alias == name);
    is_old || name == SCHEDULE_ENABLED || Key::named(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<ChangeBody, String> {
        let Value::Object(body) = body else {
            panic!("{body}")
        };
        ChangeBody::read(&body).map_err(|error| error.to_string())
    }

    #[test]
    fn every_shape_is_the_same_change() {
        let expected = json!({"schedule.cron": "0 3 * * *", "email.to": ["a@b.example"], "retention.days": 60});
        for body in [
            expected.clone(),
            json!({"schedule": {"cron": "0 3 * * *", "enabled": true}, "email.to": ["a@b.example"],
                   "retention": {"days": 60}}),
            json!({"schedule": {"cron_expression": "0 3 * * *"}, "email": {"recipients": ["a@b.example"]},
                   "retention.days": 60, "retention": {"days": 60}}),
        ] {
            let found = read(body).unwrap();
            assert_eq!(Value::Object(found.settings), expected);
            assert!(!found.stops_schedule);
        }
    }

    #[test]
    fn what_cannot_be_a_change_is_refused_before_it_is_copied() {
        let many = |count: usize| -> Map<String, Value> {
            (0..count).map(|n| (n.to_string(), json!(1))).collect()
        };
        let long = "x".repeat(32_000);
        for body in [
            json!({ &long: many(3_900) }),
            json!({ &long: 1 }),
            json!({ "a": { &long[..99]: 1 } }),
        ] {
            let error = read(body).unwrap_err();
            assert!(
                error.contains("more than 100 bytes") && error.len() < 200,
                "{error}"
            );
        }
        let error = read(json!({ "a": many(3_900) })).unwrap_err();
        assert!(
            error.contains("settings, and there are not so many"),
            "{error}"
        );
        // Every setting fits.
        let all = KEYS.iter().map(|key| (key.name.to_owned(), json!(1)));
        assert!(read(Value::Object(all.collect())).is_ok());
        let longest = KEYS.iter().map(|key| key.name.len()).max().unwrap();
        assert!(longest <= LONGEST_NAME);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for body in [
            json!({"schedule": {"cron": "0 3 * * *"}, "schedule.cron": "0 4 * * *"}),
            json!({"schedule": {"cron": "0 3 * * *", "cron_expression": "0 4 * * *"}}),
            json!({"schedule.cron": null, "schedule": {"cron": "0 4 * * *"}}),
        ] {
            assert!(
                read(body)
                    .unwrap_err()
                    .contains("schedule.cron: is in the body twice")
            );
        }
        assert!(read(json!({"schedule": {"enabled": "no"}})).is_err());
        let off = json!({"schedule": {"enabled": false}, "schedule.enabled": true});
        assert!(read(off).unwrap().stops_schedule);
        assert!(read(json!({"email": {}})).unwrap().is_empty());
        // Ignored, it would look like a change that was made.
        let table = read(json!({"email": {"recipients": {}}, "retention.days": {"a": 1}})).unwrap();
        let expected = json!({"email.to": {}, "retention.days": {"a": 1}});
        assert_eq!(Value::Object(table.settings), expected);
        assert!(read(json!({"schedule": {"enabled": {}}})).is_err());
    }
}
