//! The lease that keeps machines with the same job from running at once: `[lease]`.

use super::problem::Problem;
use super::setting::Values;
use hubvault_engine::job::{CopyWhen, Destinations, LeaseOptions};
use hubvault_store::Location;
use std::time::Duration;

const DESTINATION: &str = "lease.destination";
const LENGTH: &str = "lease.length";
/// Shorter ones end while a store takes its time to answer.
const SHORTEST: Duration = Duration::from_secs(3);
/// The longest one: so long nobody takes over.
const LONGEST: Duration = Duration::from_hours(24);

/// The lease of a job, where one is configured.
pub(crate) fn lease(
    values: &Values,
    destinations: &Destinations,
    problems: &mut Vec<Problem>,
) -> Option<LeaseOptions> {
    let name = Some(values.text(DESTINATION)).filter(|name| !name.is_empty())?;
    let lasts = values.duration(LENGTH);
    if lasts < SHORTEST {
        problems.push(values.problem(
            LENGTH,
            "is shorter than 3 s, the shortest length of a lease",
        ));
    }
    if lasts > LONGEST {
        problems.push(values.problem(LENGTH, "is longer than 24 h, the longest length of a lease"));
    }
    let known = destinations.named(name);
    let wrong = match known.map(|destination| &destination.location) {
        Some(Location::S3(_) | Location::Gcs(_) | Location::Azure(_)) => {
            let is_whole = known.is_some_and(|it| it.rules.when == CopyWhen::Always);
            (!is_whole).then(|| {
                format!("{name} does not take every backup, by which other machines see what is done; set its `when` to \"always\"")
            })
        }
        Some(Location::Directory(_)) => Some(format!(
            "{name} is a directory, which has no conditional writes; runs of one machine exclude each other without a \
             lease, and several machines need an object store for it"
        )),
        Some(Location::Sftp(_)) => Some(format!(
            "{name} is reached by SFTP, which has no conditional writes; keep the lease at an object store"
        )),
        None => {
            let all = destinations.others().iter().map(|it| it.name.as_str());
            let all = all.collect::<Vec<_>>().join(", ");
            Some(format!(
                "{name:?} is no destination of this job{}; set it to the name of an object store in BACKUP_DESTINATIONS or \
                 [[destination]]",
                if all.is_empty() {
                    all
                } else {
                    format!(" ({all})")
                }
            ))
        }
    };
    problems.extend(wrong.map(|what| values.problem(DESTINATION, what)));
    Some(LeaseOptions {
        destination: name.to_owned(),
        lasts,
    })
}
