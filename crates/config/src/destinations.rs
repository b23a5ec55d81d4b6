//! Where the copies of a job's backups go: `archive.directory`, `BACKUP_DESTINATIONS` and `[[destination]]`.

use super::destination_list::{Entry, LIST, TABLE, entries, is_name};
use super::destination_options::{self, options};
use super::document::Document;
use super::environment::Environment;
use super::problem::Problem;
use super::setting::{Setting, Values, WithOrigin};
use super::store_options::store_options;
use super::table::Table;
use hubvault_engine::job::{
    CopyRules, CopyWhen, Destination, Destinations, LOCAL, RetentionRules, SealRule,
};
use hubvault_model::ByteSize;
use hubvault_store::{Address, Location, Options};
use std::path::{Path, PathBuf};

/// A limit for numbers of archives, days and the like.
const COUNT: u32 = 36_500;
/// The same for megabytes.
const MEGABYTES: u32 = 1 << 30;

/// All that is configured, in its order. The directory in which archives are made may be one of them.
pub(crate) fn configured(
    environment: &Environment,
    document: &Document,
    values: &Values,
    is_sealed: bool,
    problems: &mut Vec<Problem>,
) -> Vec<WithOrigin<Destination>> {
    let directory = PathBuf::from(values.text("archive.directory"));
    let mut all: Vec<WithOrigin<Destination>> = Vec::new();
    for entry in entries(environment, document) {
        let key = if entry.fields.is_some() { TABLE } else { LIST };
        let built = match &entry.fields {
            None => of_url(environment, &entry).map(Some),
            Some(fields) => {
                let known = known();
                let mut table = Table::new(TABLE, document, fields, &known, problems);
                Ok(of_table(environment, &entry, &mut table))
            }
        };
        let mut wrong = |what: String| problems.push(Problem::new(&entry.origin, key, what));
        let mut destination = match built {
            Ok(Some(destination)) => destination,
            Ok(None) => continue,
            Err(what) => {
                wrong(what);
                continue;
            }
        };
        if let Err(what) = name(&entry, &mut destination, &directory) {
            wrong(what);
        }
        if destination.rules.sealed == SealRule::Required && !is_sealed {
            let what = "sealed is \"required\", and archives are not sealed, so that none could go there; set \
                        seal.recipients (BACKUP_RECIPIENTS)";
            wrong(what.to_owned());
        }
        let mut before = all.iter();
        if let Some(other) = before.find(|other| other.value.name == destination.name) {
            wrong(format!(
                "{} is also the name of the destination in {}; give each a name of its own ({LIST}: \
                 \"name=url\")",
                destination.name, other.origin
            ));
        }
        all.push(WithOrigin {
            value: destination,
            origin: entry.origin,
        });
    }
    all
}

/// All destinations of a job, of what is configured.
pub(crate) fn destinations(
    values: &Values,
    configured: Vec<Destination>,
    problems: &mut Vec<Problem>,
) -> Destinations {
    let directory = PathBuf::from(values.text("archive.directory"));
    let directory_is_given = values
        .get("archive.directory")
        .is_some_and(Setting::is_given);
    let (local, others): (Vec<_>, Vec<_>) =
        (configured.into_iter()).partition(|destination| destination.name == LOCAL);
    let keeps_local = match values.text("archive.keep_local") {
        "" => directory_is_given || !local.is_empty() || others.is_empty(),
        text => text == "true",
    };
    if !keeps_local && others.is_empty() {
        let what = "is false, and there is no other destination for archives; set BACKUP_DESTINATIONS or add a \
                    [[destination]]";
        problems.push(values.problem("archive.keep_local", what));
    }
    let mut all = Destinations::local(directory).with(others);
    if let Some(local) = local.into_iter().next() {
        all = all.with_local_rules(local.rules);
    }
    if keeps_local { all } else { all.spool_only() }
}

/// Every key that a table may have.
fn known() -> Vec<&'static str> {
    let own = [
        "name",
        "url",
        "required",
        "sealed",
        "when",
        "max_mb_per_second",
    ];
    let of_keep = KEEP.map(|(key, _)| key);
    (own.into_iter())
        .chain(of_keep)
        .chain(["keep.max_total_mb"])
        .chain(destination_options::keys())
        .collect()
}

type Rule = fn(&mut RetentionRules) -> &mut u32;

const KEEP: [(&str, Rule); 6] = [
    ("keep.days", |rules| &mut rules.days),
    ("keep.keep_last", |rules| &mut rules.keep_last),
    ("keep.daily", |rules| &mut rules.daily),
    ("keep.weekly", |rules| &mut rules.weekly),
    ("keep.monthly", |rules| &mut rules.monthly),
    ("keep.yearly", |rules| &mut rules.yearly),
];

fn of_url(environment: &Environment, entry: &Entry<'_>) -> Result<Destination, String> {
    let location = entry.location()?;
    let options = store_options(environment, &location)
        .map_err(|problem| format!("{}: {}", problem.origin, problem.what))?;
    let destination = Destination::new("", location);
    Ok(Destination {
        options,
        ..destination
    })
}

fn of_table(
    environment: &Environment,
    entry: &Entry<'_>,
    table: &mut Table<'_>,
) -> Option<Destination> {
    let expected = "expected a URL such as s3://bucket/prefix, or an absolute path";
    table.required("url", expected)?;
    let location = match entry.location() {
        Ok(location) => location,
        Err(what) => {
            table.problem("url", what);
            return None;
        }
    };
    // A mistake in it is the table's.
    let _ = table.text("name");
    let destination = Destination::new("", location);
    Some(Destination {
        options: options(environment, &destination.location, table),
        rules: rules(table),
        ..destination
    })
}

fn rules(table: &mut Table<'_>) -> CopyRules {
    let limit = table.number("max_mb_per_second", MEGABYTES);
    CopyRules {
        sealed: match table.word("sealed", &["optional", "required"]) {
            Some(1) => SealRule::Required,
            _ => SealRule::Optional,
        },
        keep: keep(table),
        bytes_per_second: limit
            .filter(|mib| *mib > 0)
            .map(|mib| ByteSize::from_mib(mib.into())),
        when: match table.word("when", &["always", "daily", "weekly"]) {
            Some(1) => CopyWhen::Daily,
            Some(2) => CopyWhen::Weekly,
            _ => CopyWhen::Always,
        },
        required: table.flag("required").unwrap_or(true),
    }
}

/// The retention of one that has its own. Rules that it leaves out keep nothing.
fn keep(table: &mut Table<'_>) -> Option<RetentionRules> {
    let mut rules = RetentionRules::default();
    let mut is_given = false;
    for (key, rule) in KEEP {
        if let Some(number) = table.number(key, COUNT) {
            *rule(&mut rules) = number;
            is_given = true;
        }
    }
    if let Some(mib) = table.number("keep.max_total_mb", MEGABYTES) {
        rules.max_total = (mib > 0).then(|| ByteSize::from_mib(mib.into()));
        is_given = true;
    }
    is_given.then_some(rules)
}

/// Gives it its name. The directory in which archives are made is called `local`, and nothing else is.
fn name(entry: &Entry<'_>, destination: &mut Destination, directory: &Path) -> Result<(), String> {
    let is_local = is_directory(&destination.location, directory);
    let usual = if is_local {
        LOCAL
    } else {
        Entry::usual_name(&destination.location)
    };
    destination.name = entry.name.as_deref().unwrap_or(usual).to_owned();
    let name = &destination.name;
    if !is_name(name) {
        return Err(format!(
            "expected a name of up to 63 letters, digits, - and _, not {name:?}"
        ));
    }
    let directory = directory.display();
    match (is_local, name == LOCAL) {
        (true, false) => Err(format!(
            "{directory} is archive.directory (BACKUP_DIR), which is called {LOCAL}; call it so, or leave the name out"
        )),
        (false, true) => Err(format!(
            "{LOCAL} is the name of archive.directory (BACKUP_DIR), which is {directory}; set that to the same \
             directory, or choose another name"
        )),
        _ => Ok(()),
    }
}

/// Whether a place is this directory.
fn is_directory(location: &Location, directory: &Path) -> bool {
    let of = |location: &Location| Address::of(location, &Options::default());
    location.directory().is_some() && of(location) == of(&Location::Directory(directory.to_owned()))
}

/// Where an entry is, in one form; `None` for one with a mistake, which is reported where it is built.
pub(crate) fn address(
    environment: &Environment,
    document: &Document,
    entry: &Entry<'_>,
) -> Option<Address> {
    let mut problems = Vec::new();
    let destination = match entry.fields {
        None => of_url(environment, entry).ok(),
        Some(fields) => {
            let mut table = Table::new(TABLE, document, fields, &known(), &mut problems);
            of_table(environment, entry, &mut table)
        }
    };
    destination.map(|destination| destination.address())
}
