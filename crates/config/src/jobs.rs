//! `[[job]]`: several jobs in one file. The top of the file and the variables apply to every job; what a job sets itself
//! overrides both.

use super::archive_directory;
use super::document::{AtLine, Document};
use super::environment::Environment;
use super::problem::{Problem, nearest};
use super::setting::{Value, Values};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The jobs' names as the file has them; none where it has no `[[job]]`.
pub(crate) fn names(document: &Document) -> Vec<String> {
    let name = |job: &AtLine<Document>| job.value.job.clone();
    document.jobs.iter().filter_map(name).collect()
}

/// The document of the job that is wanted. `Err` says why there is none.
pub(crate) fn select(document: &Document, wanted: Option<&str>) -> Result<Document, Problem> {
    let names = names(document);
    let what = match (wanted, names.as_slice()) {
        (None, []) => return Ok(document.clone()),
        (None, [only]) => return select(document, Some(only.as_str())),
        (None, _) => format!("there are several jobs; name one of {}", names.join(", ")),
        (Some(_), []) => "the configuration has no [[job]]; leave the option out".to_owned(),
        (Some(wanted), _) => {
            let of_name = |job: &&AtLine<Document>| job.value.job.as_deref() == Some(wanted);
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

/// Mistakes in the names, each with its line. A name is part of a path and of log lines.
pub(crate) fn check_names(document: &Document, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for job in &document.jobs {
        let name = job.value.job.as_deref().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let what = if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            format!("expected up to 63 letters, digits, - and _, not {name:?}")
        } else if let Some(line) = seen.insert(name, job.line) {
            format!("{name:?} is also the name of the job in line {line}")
        } else {
            continue;
        };
        let origin = document.origin(job.line);
        problems.push(Problem::new(origin, "job.name", what));
    }
}

/// Gives the job a directory of its own; returns the one that all jobs share, where the service keeps its own state.
pub(crate) fn set_directory(document: &Document, shared: PathBuf, values: &mut Values) -> PathBuf {
    let path = PathBuf::from(values.text("archive.directory"));
    if document.job.is_none() {
        return path;
    }
    if let Some(setting) = values.get_mut("archive.directory") {
        let own = archive_directory::below(document, &path);
        if own != path {
            setting.origin += ", with the name of the job";
        }
        setting.value = Value::Text(own.display().to_string());
    }
    shared
}

/// Two jobs in one directory would remove each other's archives. Checked for all jobs, whichever is wanted.
pub(crate) fn check_directories(
    environment: &Environment,
    whole: &Document,
    problems: &mut Vec<Problem>,
) {
    let mut seen: BTreeMap<PathBuf, String> = BTreeMap::new();
    for job in &whole.jobs {
        let document = whole.of_job(&job.value);
        let name = job.value.job.clone().unwrap_or_default();
        let path = archive_directory::of_job(environment, &document);
        // Links may lead to the same one.
        let same = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(other) = seen.insert(same, name.clone()) {
            let what = format!(
                "the jobs {other} and {name} share {}; give each a directory of its own",
                path.display()
            );
            let origin = whole.origin(job.line);
            problems.push(Problem::new(origin, "archive.directory", what));
        }
    }
}
