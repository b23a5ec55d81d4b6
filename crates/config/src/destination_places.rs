//! No two destinations are one place, neither of a job nor of two: each would take the other's archives for its own.

use super::archive_directory;
use super::destination_list::{LIST, TABLE, entries};
use super::destinations::address;
use super::document::Document;
use super::environment::Environment;
use super::problem::Problem;
use hubvault_store::{Address, Location, Options};

/// A place with what says of it that it is one.
struct Place {
    /// `the destination s3 of the job shop`.
    label: String,
    origin: String,
    key: &'static str,
    location: Location,
    address: Address,
    /// Whether it is the directory in which archives are made.
    is_made_in: bool,
    job: usize,
}

/// Checks those of all jobs, whichever is wanted.
pub(crate) fn check(environment: &Environment, whole: &Document, problems: &mut Vec<Problem>) {
    let places: Vec<Place> = if whole.jobs.is_empty() {
        of_job(environment, whole, 0)
    } else {
        let jobs = whole.jobs.iter().enumerate();
        jobs.flat_map(|(at, job)| of_job(environment, &whole.of_job(&job.value), at))
            .collect()
    };
    for (at, place) in places.iter().enumerate() {
        let mut before = places[..at].iter();
        if let Some(other) = before.find(|other| are_one(place, other)) {
            let how = if place.address == other.address {
                "is in the same place as"
            } else {
                "lies in the place, or around the place, of"
            };
            let what = format!(
                "{} ({}) {how} {} ({}); give each a directory or prefix of its own",
                place.label, place.location, other.label, other.location
            );
            let problem = Problem::new(&place.origin, place.key, what);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
}

fn are_one(place: &Place, other: &Place) -> bool {
    if !place.address.overlaps(&other.address) {
        return false;
    }
    match (place.is_made_in, other.is_made_in) {
        // Directories of jobs may lie in one another.
        (true, true) => false,
        // Such a destination is the directory itself.
        (true, false) | (false, true) => place.job != other.job || place.address != other.address,
        (false, false) => true,
    }
}

/// The places of one job; a mistake in one is reported where it is built.
fn of_job(environment: &Environment, document: &Document, job: usize) -> Vec<Place> {
    let of = match &document.job {
        Some(name) => format!(" of the job {name}"),
        None => String::new(),
    };
    let directory = archive_directory::of_job(environment, document);
    let location = Location::Directory(directory);
    let mut places = vec![Place {
        label: format!("archive.directory{of}"),
        origin: document.name.clone(),
        key: "archive.directory",
        address: Address::of(&location, &Options::default()),
        location,
        is_made_in: true,
        job,
    }];
    for entry in entries(environment, document) {
        let address = address(environment, document, &entry);
        let (Ok(location), Some(address)) = (entry.location(), address) else {
            continue;
        };
        let name = entry.name.as_deref();
        let name = name.unwrap_or_else(|| super::destination_list::Entry::usual_name(&location));
        places.push(Place {
            label: format!("the destination {name}{of}"),
            key: if entry.fields.is_some() { TABLE } else { LIST },
            address,
            location,
            origin: entry.origin,
            is_made_in: false,
            job,
        });
    }
    places
}
