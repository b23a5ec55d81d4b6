//! `[[job]]`: several jobs in one file. What stands at the top of the file, and the variables, are every
//! job's; what a job says itself wins over both.

use super::document::{Document, Placed};
use super::environment::Environment;
use super::place;
use super::problem::{Problem, nearest};
use super::resolve::{Found, Value};
use super::{Settings, text};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The jobs' names as the file has them; none where it has no `[[job]]`.
pub(super) fn names(document: &Document) -> Vec<String> {
    let name = |job: &Placed<Document>| job.value.job.clone();
    document.jobs.iter().filter_map(name).collect()
}

/// The document of the one that is wanted. `Err` says why there is none.
pub(super) fn chosen(document: &Document, wanted: Option<&str>) -> Result<Document, Problem> {
    let names = names(document);
    let what = match (wanted, names.as_slice()) {
        (None, []) => return Ok(document.clone()),
        (None, [only]) => return chosen(document, Some(only.as_str())),
        (None, _) => format!("there are several jobs; name one of {}", names.join(", ")),
        (Some(_), []) => "the configuration has no [[job]]; leave it out".to_owned(),
        (Some(wanted), _) => {
            let of_name = |job: &&Placed<Document>| job.value.job.as_deref() == Some(wanted);
            if let Some(job) = document.jobs.iter().find(of_name) {
                return Ok(document.of_job(&job.value));
            }
            let hint = nearest(wanted, names.iter().map(String::as_str));
            format!(
                "there is no job {wanted:?}{hint} (there are {})",
                names.join(", ")
            )
        }
    };
    Err(Problem::new("--job", "", what))
}

/// Mistakes in the names, each where it stands. A name is part of a path and of a line in a log.
pub(super) fn check_names(document: &Document, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for job in &document.jobs {
        let name = job.value.job.as_deref().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let what = if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            format!("expected up to 63 letters, digits, - and _, not {name:?}")
        } else if let Some(line) = seen.insert(name, job.line) {
            format!("{name:?} is the job of line {line}, too")
        } else {
            continue;
        };
        let origin = document.origin(job.line);
        problems.push(Problem::new(origin, "job.name", what));
    }
}

/// Gives the job its directory in the settings; returns the directory that is all jobs', where the service keeps what is its own.
pub(super) fn settle_directory(
    document: &Document,
    shared: PathBuf,
    found: &mut BTreeMap<&'static str, Found>,
) -> PathBuf {
    let path = PathBuf::from(text(found, "archive.directory"));
    if document.job.is_none() {
        return path;
    }
    if let Some(said) = found.get_mut("archive.directory") {
        let own = place::in_shared(document, &path);
        if own != path {
            said.origin += ", with the name of the job";
        }
        said.value = Value::Text(own.display().to_string());
    }
    shared
}

/// Two jobs in one directory would remove each other's archives, whichever of them is looked at.
pub(super) fn check_directories(
    environment: &Environment,
    whole: &Document,
    problems: &mut Vec<Problem>,
) {
    let mut seen: BTreeMap<PathBuf, String> = BTreeMap::new();
    for job in &whole.jobs {
        let document = whole.of_job(&job.value);
        let name = job.value.job.clone().unwrap_or_default();
        let path = place::archives(environment, &document);
        // By another name it is the same one.
        let same = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(other) = seen.insert(same, name.clone()) {
            let what = format!(
                "the jobs {other} and {name} both have {}; each needs one of its own",
                path.display()
            );
            let origin = whole.origin(job.line);
            problems.push(Problem::new(origin, "archive.directory", what));
        }
    }
}

/// What is worth a word about jobs that are each right.
pub(super) fn notices(jobs: &[Settings]) -> Vec<String> {
    let mut notices = Vec::new();
    for key in ["ping.url", "monitor.ping_url"] {
        for (n, job) in jobs.iter().enumerate() {
            let ours = secret(job, key);
            let mut before = jobs.iter().take(n);
            let same = before.find(|other| ours.is_some() && secret(other, key) == ours);
            if let Some(other) = same {
                notices.push(format!(
                    "the jobs {} and {} call the same {key}, so that one that is well hides one that is not; give \
                     each one of its own",
                    other.job.name, job.job.name
                ));
            }
        }
    }
    let Some(first) = jobs.first().filter(|first| first.job_name.is_some()) else {
        return notices;
    };
    let shared = &first.service.directory;
    let is_nobodys = jobs.iter().all(|job| job.job.directory != *shared);
    if is_nobodys && shared.join(".hubvault/catalog.sqlite").exists() {
        notices.push(format!(
            "{} has archives that belong to no job: nothing lists, checks or prunes them; say [job.archive] \
             directory for the job whose they are",
            shared.display()
        ));
    }
    notices
}

fn secret<'a>(settings: &'a Settings, key: &str) -> Option<&'a str> {
    let found = settings.found.iter().find(|found| found.key.name == key)?;
    match &found.value {
        Value::Secret(text) => Some(text.expose_secret()),
        _ => None,
    }
}
