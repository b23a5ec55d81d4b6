//! Libraries that the source's server preloads: the drill's server gets those that its archive needs.

use crate::restore::{RestoreError, schema};
use hubvault_archive::AnyArchive;
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, PgError, ThrowawayOptions, ThrowawayServer};

/// The database that a throwaway server's drill restores into.
pub(super) const DATABASE: &str = "drill";

/// Those that start processes of their own, with the settings that keep them from working. Their extensions cannot be
/// created without them.
const QUIETED: [(&str, &[(&str, &str)]); 2] = [
    (
        "pg_cron",
        &[
            ("cron.database_name", DATABASE),
            ("cron.launch_active_jobs", "off"),
            ("cron.max_running_jobs", "0"),
        ],
    ),
    (
        "timescaledb",
        &[
            ("timescaledb.max_background_workers", "0"),
            ("timescaledb.telemetry_level", "off"),
        ],
    ),
];

/// Those that start processes which run jobs or reach other servers, and have no setting against it.
const LEFT_OUT: [&str; 7] = [
    "bdr",
    "citus",
    "pg_net",
    "pg_squeeze",
    "pgactive",
    "pglogical",
    "spock",
];

/// The libraries for a drill's server.
#[derive(Debug, Default)]
pub(super) struct Preload {
    libraries: Vec<String>,
    notes: Vec<String>,
}

impl Preload {
    /// What the archive needs: extensions of their libraries' names, and all of them where it has security labels, as
    /// nothing says whose library checks a label. The names come from an archive, which may be hostile. The backup's
    /// role may not have seen what the source preloads; its extensions say that these were.
    pub(super) fn of(archive: &AnyArchive, cancel: &Cancel) -> Result<Self, RestoreError> {
        // Only its contents are read here, and no server is asked.
        let nowhere = ConnectSettings {
            old_programs: true,
            ..ConnectSettings::default()
        };
        let schema = schema(archive, &nowhere)?;
        let (extensions, labels) = (schema.extensions(cancel)?, schema.has_labels(cancel)?);
        let seen = &archive.manifest().needs.preloaded;
        Ok(Self::needed(seen, &extensions, labels))
    }

    fn needed(seen: &[String], extensions: &[String], labels: bool) -> Self {
        let must = QUIETED.map(|(name, _)| name.to_owned());
        let unseen = must
            .iter()
            .filter(|name| !seen.contains(name) && extensions.contains(name));
        let needed = seen.iter().filter(|name| is_plain(name));
        let needed = needed.filter(|name| labels || extensions.contains(name));
        let (left_out, libraries): (Vec<String>, _) = needed
            .chain(unseen)
            .cloned()
            .partition(|name: &String| LEFT_OUT.contains(&name.as_str()));
        let note = |name: &String| {
            format!(
                "the library {name}, which the source's server preloads, is not loaded in a drill: it runs jobs or \
                 reaches other servers"
            )
        };
        let notes = left_out.iter().map(note).collect();
        Self { libraries, notes }
    }

    /// Starts a server with as many of them as it can load. Returns what it does without, too.
    pub(super) fn start(
        mut self,
        options: &ThrowawayOptions,
        cancel: &Cancel,
    ) -> Result<(ThrowawayServer, Vec<String>), PgError> {
        loop {
            let options = ThrowawayOptions {
                settings: (options.settings.iter().cloned())
                    .chain(self.settings())
                    .collect(),
                ..options.clone()
            };
            match ThrowawayServer::start(&options, cancel) {
                Err(error) if !self.libraries.is_empty() && !cancel.is_requested() => {
                    self.leave_out(&error.to_string());
                }
                started => return started.map(|server| (server, self.notes)),
            }
        }
    }

    fn settings(&self) -> Vec<(String, String)> {
        let quieted = QUIETED.into_iter();
        let quieted = quieted.filter(|(name, _)| self.libraries.iter().any(|one| one == name));
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut settings: Vec<_> = quieted.flat_map(|(_, all)| all.iter().map(own)).collect();
        if !self.libraries.is_empty() {
            let list = self.libraries.join(",");
            settings.push(("shared_preload_libraries".to_owned(), list));
        }
        settings
    }

    /// Leaves out the library that an error names, or all of them where it names none.
    fn leave_out(&mut self, error: &str) {
        let is_named = |name: &String| error.contains(&format!("could not access file \"{name}\""));
        let is_any_named = self.libraries.iter().any(is_named);
        let why = if is_any_named {
            "is not installed where the drill runs"
        } else {
            "cannot be loaded where the drill runs"
        };
        let all = std::mem::take(&mut self.libraries);
        for name in all {
            if is_any_named && !is_named(&name) {
                self.libraries.push(name);
            } else {
                let note = format!("the library {name}, which the source's server preloads, {why}");
                self.notes.push(note);
            }
        }
    }
}

/// A bare file of the server's own directory.
fn is_plain(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() < 64 && name.bytes().all(is_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_reach_a_command_line() {
        for name in [
            "",
            "/tmp/evil",
            "../x",
            "a,b",
            "a b",
            "$libdir/x",
            "x\n",
            &"x".repeat(64),
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert!(is_plain("pg_stat_statements") && is_plain("postgis-3"));
    }

    #[test]
    fn what_extensions_or_labels_need_is_loaded_unless_it_runs_jobs_or_has_an_odd_name() {
        let seen = ["anon", "pglogical", "auto_explain", "../evil"].map(str::to_owned);
        let needed = |extensions: &[&str], labels| {
            let extensions: Vec<String> = extensions.iter().map(|it| (*it).to_owned()).collect();
            Preload::needed(&seen, &extensions, labels)
        };
        let of_extensions = needed(&["anon", "pglogical", "../evil", "pg_cron"], false);
        assert_eq!(of_extensions.libraries, ["anon", "pg_cron"]);
        assert!(
            of_extensions.notes.len() == 1 && of_extensions.notes[0].contains("pglogical"),
            "{:?}",
            of_extensions.notes
        );
        assert_eq!(needed(&[], true).libraries, ["anon", "auto_explain"]);
        assert!(needed(&[], false).libraries.is_empty());
    }

    #[test]
    fn what_cannot_be_loaded_is_left_out_and_said() {
        let libraries = ["pg_cron", "anon", "timescaledb"]
            .map(str::to_owned)
            .to_vec();
        let notes = Vec::new();
        let mut preload = Preload { libraries, notes };
        let value = |preload: &Preload, name: &str| {
            let settings = preload.settings();
            settings
                .into_iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value)
        };
        assert_eq!(value(&preload, "cron.max_running_jobs").unwrap(), "0");
        preload.leave_out("FATAL:  could not access file \"anon\": No such file or directory");
        let list = "shared_preload_libraries";
        assert_eq!(value(&preload, list).unwrap(), "pg_cron,timescaledb");
        assert!(
            preload.notes[0].contains("anon, which the source's server preloads, is not installed")
        );
        preload.leave_out("FATAL:  something else");
        assert!(preload.settings().is_empty());
        assert_eq!(preload.notes.len(), 3);
    }
}
