//! What a person wants restored, and where to: what a form says, and the arguments of `hubvault restore` that say the same.

use hubvault_config::Service;
use hubvault_model::{BackupId, TablePattern};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// The longest name of a database or a schema (`NAMEDATALEN` - 1).
const LONGEST_NAME: usize = 63;
/// So many tables can be named at once.
const TABLES: usize = 500;

/// Where the configuration permits no restore at all.
pub(crate) const OFF: &str =
    "restoring over HTTP is switched off (http.restore = false); run hubvault restore on the host";

/// A restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestoreRequest {
    /// The whole database, into a new one of this name.
    NewDatabase {
        /// Its name.
        name: String,
        /// Whether everything belongs to the role that restores.
        no_owner: bool,
    },
    /// The rows of tables, into new tables of a new schema of the living database.
    NewSchema {
        /// Its name.
        name: String,
        /// The tables, as names or patterns.
        tables: Vec<String>,
    },
    /// The configuration files, into a new directory of this host.
    Files {
        /// The directory.
        directory: PathBuf,
    },
    /// The whole database, into the living one: what the archive holds is dropped there first.
    Living {
        /// Whether everything belongs to the role that restores.
        no_owner: bool,
    },
    /// Rows, into tables of the living database.
    Rows {
        /// Which rows.
        which: Rows,
        /// The tables, as names or patterns; all without one, but for [`Rows::All`].
        tables: Vec<String>,
    },
}

/// Which rows are put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rows {
    /// All, into tables that are empty.
    All,
    /// Those that are missing.
    Missing,
    /// Those that are missing or differ; rows that differ are overwritten.
    Different,
}

/// What can be chosen.
const KINDS: [&str; 7] = [
    "new-database",
    "new-schema",
    "files",
    "missing-rows",
    "different-rows",
    "all-rows",
    "living",
];

/// What the form of a restore says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RestoreForm {
    what: String,
    database: String,
    schema: String,
    tables: String,
    no_owner: Option<String>,
}

impl RestoreForm {
    /// What it proposes at first.
    pub(crate) fn first(living: &str) -> Self {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == '-';
        let of: String = living.chars().filter(is_plain).take(50).collect();
        Self {
            what: "new-database".to_owned(),
            database: format!("{of}_restored"),
            schema: "restored".to_owned(),
            ..Self::default()
        }
    }

    /// The same for everything that can be chosen, with a word in place of tables that are not named.
    pub(crate) fn of_every_kind(&self) -> impl Iterator<Item = Self> + '_ {
        let tables = match self.tables.trim() {
            "" => "TABLE",
            tables => tables,
        };
        KINDS.into_iter().map(move |what| Self {
            what: what.to_owned(),
            tables: tables.to_owned(),
            ..self.clone()
        })
    }

    /// What a program asks for.
    pub(crate) fn of(
        what: &str,
        database: &str,
        schema: &str,
        tables: &[String],
        no_owner: bool,
    ) -> Result<Self, String> {
        // Each is a line of the form.
        if let Some(table) = tables.iter().find(|table| table.contains(['\n', '\r'])) {
            return Err(format!(
                "{table:?}: a name with a line break cannot be restored over HTTP"
            ));
        }
        Ok(Self {
            what: what.to_owned(),
            database: database.to_owned(),
            schema: schema.to_owned(),
            tables: tables.join("\n"),
            no_owner: no_owner.then(|| "on".to_owned()),
        })
    }

    /// The restore that it asks for, or what is wrong with it. `living` is the living database, `archives` the directory
    /// of the archives.
    pub(crate) fn request(
        &self,
        living: &str,
        archives: &Path,
        backup: BackupId,
    ) -> Result<RestoreRequest, String> {
        let no_owner = self.no_owner.is_some();
        let rows = |which, tables| Ok(RestoreRequest::Rows { which, tables });
        match self.what.as_str() {
            "new-database" => {
                let name = new_name(&self.database, "database")?;
                let is_taken = [living, "postgres", "template0", "template1"].contains(&name);
                if is_taken {
                    return Err(format!("the database {name} exists; name a new one"));
                }
                let name = name.to_owned();
                Ok(RestoreRequest::NewDatabase { name, no_owner })
            }
            "new-schema" => {
                let name = new_name(&self.schema, "schema")?;
                if name.starts_with("pg_") {
                    return Err("names of schemas that begin with pg_ are PostgreSQL's own".into());
                }
                Ok(RestoreRequest::NewSchema {
                    name: name.to_owned(),
                    tables: self.some_tables()?,
                })
            }
            "files" => {
                let name = format!("{}-{}", backup.short(), BackupId::random().short());
                Ok(RestoreRequest::Files {
                    directory: archives.join("restored-files").join(name),
                })
            }
            "living" => Ok(RestoreRequest::Living { no_owner }),
            "all-rows" => rows(Rows::All, self.some_tables()?),
            "missing-rows" => rows(Rows::Missing, self.tables()?),
            "different-rows" => rows(Rows::Different, self.tables()?),
            _ => Err("choose what is to be restored, and where to".to_owned()),
        }
    }

    fn some_tables(&self) -> Result<Vec<String>, String> {
        let tables = self.tables()?;
        if tables.is_empty() {
            return Err("name the tables, one in each line".to_owned());
        }
        Ok(tables)
    }

    /// A table in each line.
    fn tables(&self) -> Result<Vec<String>, String> {
        let lines = self.tables.lines().map(str::trim);
        let tables: Vec<String> =
            (lines.filter(|line| !line.is_empty()).map(str::to_owned)).collect();
        if tables.len() > TABLES {
            return Err(format!(
                "at most {TABLES} lines can name tables; use patterns"
            ));
        }
        for table in &tables {
            (table.parse::<TablePattern>()).map_err(|error| error.to_string())?;
        }
        Ok(tables)
    }
}

/// A name that is one wherever it is written.
fn new_name<'a>(name: &'a str, of: &str) -> Result<&'a str, String> {
    let name = name.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    if name.len() <= LONGEST_NAME && name.chars().all(is_plain) && name.starts_with(begins) {
        return Ok(name);
    }
    Err(format!(
        "the name of the new {of} is a letter or _, and then letters, digits, _ and -, at most {LONGEST_NAME} in all"
    ))
}

impl RestoreRequest {
    /// Whether it changes tables of the living database.
    pub fn is_into_living(&self) -> bool {
        matches!(self, Self::Living { .. } | Self::Rows { .. })
    }

    /// Whether the configuration permits it over HTTP; else what to do.
    pub fn permitted(&self, service: &Service) -> Result<(), String> {
        if !service.http_restore {
            return Err(OFF.to_owned());
        }
        if self.is_into_living() && !service.http_restore_living {
            let what = "restoring into the living database over HTTP is not permitted (http.restore_living, \
                        HTTP_RESTORE_LIVING); restore into a new database or schema, or run hubvault restore on the host";
            return Err(what.to_owned());
        }
        Ok(())
    }

    /// The arguments of `hubvault restore` that say the same, after the backup.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        let named = |tables: &[String]| -> Vec<String> {
            tables.iter().map(|it| format!("--table={it}")).collect()
        };
        match self {
            Self::NewDatabase { name, .. } => {
                words.extend([format!("--database={name}"), "--create".to_owned()]);
            }
            Self::NewSchema { name, tables } => {
                words.extend(named(tables));
                words.push(format!("--into-schema={name}"));
            }
            Self::Files { directory } => words.push(format!("--files={}", directory.display())),
            Self::Living { .. } => words.push("--clean".to_owned()),
            Self::Rows { which, tables } => {
                match which {
                    Rows::All => {}
                    Rows::Missing => words.push("--missing-rows".to_owned()),
                    Rows::Different => words.push("--upsert".to_owned()),
                }
                words.extend(named(tables));
            }
        }
        if let Self::NewDatabase { no_owner: true, .. } | Self::Living { no_owner: true } = self {
            words.push("--no-owner".to_owned());
        }
        words
    }
}

/// Where it goes to, for a log line.
impl fmt::Display for RestoreRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, tables) = match self {
            Self::NewDatabase { name, .. } => {
                return write!(f, "into the new database {name}");
            }
            Self::Files { directory } => {
                return write!(f, "files into {}", directory.display());
            }
            Self::Living { .. } => {
                return f.write_str("into the living database, dropping what is there");
            }
            Self::NewSchema { name, tables } => {
                (format!("rows into the new schema {name}"), tables)
            }
            Self::Rows { which, tables } => {
                let which = match which {
                    Rows::All => "all rows",
                    Rows::Missing => "missing rows",
                    Rows::Different => "missing and different rows",
                };
                (format!("{which} into the living database"), tables)
            }
        };
        // The operation's own file has all of them.
        let shown = tables.iter().take(5).cloned().collect::<Vec<_>>();
        let rest = if tables.len() > shown.len() {
            ", …"
        } else {
            ""
        };
        if shown.is_empty() {
            return write!(f, "{what} (all tables)");
        }
        write!(f, "{what} ({}{rest})", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(what: &str, name: &str, tables: &str) -> Result<RestoreRequest, String> {
        let form = RestoreForm {
            what: what.to_owned(),
            database: name.to_owned(),
            schema: name.to_owned(),
            tables: tables.to_owned(),
            no_owner: None,
        };
        form.request("hub", Path::new("/backups"), BackupId::random())
    }

    #[test]
    fn a_form_asks_for_one_restore() {
        let database = form("new-database", " hub_restored ", "").unwrap();
        assert_eq!(
            database.arguments(),
            ["--database=hub_restored", "--create"]
        );
        let schema = form("new-schema", "restored", "users\r\n\r\n-x*\n").unwrap();
        assert_eq!(
            schema.arguments(),
            ["--table=users", "--table=-x*", "--into-schema=restored"]
        );
        let files = form("files", "", "").unwrap().arguments();
        assert!(files[0].starts_with("--files=/backups/restored-files/"));
        let rows = form("different-rows", "", "").unwrap();
        assert_eq!(rows.arguments(), ["--upsert"]);
        assert!(rows.is_into_living() && !database.is_into_living());
        assert!(form("living", "", "").unwrap().is_into_living());
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for name in [
            "",
            "hub",
            "postgres",
            "template1",
            "a b",
            "a=b",
            "host=evil",
            "postgres://evil/x",
            "\"a\"",
            "a;b",
            "-a",
            "1a",
            "ä",
            "a\nb",
        ] {
            assert!(form("new-database", name, "").is_err(), "{name:?}");
        }
        assert!(form("new-database", &"a".repeat(64), "").is_err());
        for (what, name, tables) in [
            ("new-schema", "pg_x", "users"),
            ("new-schema", "x", ""),
            ("new-schema", "x", "\"open"),
            ("new-schema", "x", "a.b.c"),
            ("all-rows", "", " \n "),
            ("", "", ""),
            ("everything", "", ""),
        ] {
            assert!(form(what, name, tables).is_err(), "{what} {name} {tables}");
        }
        assert!(form("missing-rows", "", &"t\n".repeat(TABLES + 1)).is_err());
    }
}
