//! Whether a destination can be used: found out with a tiny object.

use super::held_lease;
use super::same_place::{moved, stored_there};
use crate::catalog::{Catalog, CatalogError};
use crate::job::{Destination, Destinations, Job, LeaseOptions};
use crate::remote::{Probe, impatient, is_locked, shared};
use crate::state::StateDir;
use hubvault_store::{ErrorKind, StoreError};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::io;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long everything may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Why a destination cannot be used.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// The cause, and what to do.
    pub what: String,
    /// Whether it never can be as it is configured: the bucket locks nothing, or it is another destination's place.
    pub is_impossible: bool,
    /// Whether it can be used but for removing, so that everything stays there.
    pub only_keeps: bool,
}

/// Looks at each destination, then stores a tiny object there, reads it, looks for it at the others and deletes it. Where
/// objects are locked, one is stored only to tell two such destinations apart. Each ends within 30 seconds, also where a
/// server is silent. Returns those that cannot be used, or not for removing.
pub fn probe<'a>(all: &'a Destinations, state: &StateDir) -> Vec<(&'a Destination, Unusable)> {
    // What is stored elsewhere is looked for at one whose objects are locked, and not the other way.
    let mut others: Vec<&Destination> = all.others().iter().collect();
    others.sort_by_key(|destination| !is_locked(destination));
    let (mut usable, mut unusable) = (vec![all.first()], Vec::new());
    for destination in others {
        let probed = probe_within(LIMIT, destination, &usable, state);
        if probed.as_ref().map_or_else(|it| it.only_keeps, |()| true) {
            usable.push(destination);
        }
        unusable.extend(probed.err().map(|error| (destination, error)));
    }
    unusable
}

fn probe_within(
    limit: Duration,
    destination: &Destination,
    others: &[&Destination],
    state: &StateDir,
) -> Result<(), Unusable> {
    let impatient = impatient(destination);
    let others: Vec<Destination> = others.iter().map(|other| (*other).clone()).collect();
    let state = state.clone();
    let place = destination.location.to_string();
    let result = within(limit, place, move || try_out(&impatient, &others, &state));
    let unusable = |error: StoreError, only_keeps| Unusable {
        is_impossible: error.kind == ErrorKind::Unsupported,
        what: error.to_string(),
        only_keeps,
    };
    match result {
        Ok(None) => Ok(()),
        Ok(Some(error)) => Err(unusable(error, true)),
        Err(error) => Err(unusable(error, false)),
    }
}

/// What `work` finds, or that it did not end in time.
fn within<T: Send + 'static>(
    limit: Duration,
    place: String,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (sender, result) = channel();
    thread::spawn(move || {
        // Nobody waits any more where this fails.
        let _ = sender.send(work());
    });
    let silent = |_| {
        let text = format!(
            "no result within {} seconds; check the address, the network and the server",
            limit.as_secs()
        );
        let error = io::Error::new(io::ErrorKind::TimedOut, text);
        Err(StoreError::new("testing", place, error))
    };
    result.recv_timeout(limit).unwrap_or_else(silent)
}

/// Why nothing can be removed there, if it can be used for everything else.
fn try_out(
    destination: &Destination,
    others: &[Destination],
    state: &StateDir,
) -> Result<Option<StoreError>, StoreError> {
    let store = destination.open()?;
    store.check()?;
    // One that cannot be asked any more is as if it were another.
    let has_it = |probe: &Probe, other: &Destination| probe.is_at(other).unwrap_or(false);
    if is_locked(destination) {
        let mut locked = others.iter().filter(|other| is_locked(other)).peekable();
        if locked.peek().is_none() {
            return Ok(None);
        }
        let Ok(probe) = Probe::put(&*store, destination, state) else {
            return Ok(None);
        };
        let same = locked.find(|other| has_it(&probe, other));
        // The bucket may have a lock of its own.
        let _ = probe.remove(&*store);
        return same.map_or(Ok(None), |other| Err(shared(destination, other)));
    }
    let probe = Probe::put(&*store, destination, state)?;
    let read = probe.read(&*store);
    let same = others.iter().find(|other| has_it(&probe, other));
    // Also where it could not be read.
    let kept = match probe.remove(&*store) {
        Err(error) if error.kind == ErrorKind::Denied => Some(error),
        removed => removed.map(|()| None)?,
    };
    if read? != probe.text() {
        let error = io::Error::other("what was stored reads back otherwise");
        return Err(StoreError::new(
            "testing",
            destination.location.to_string(),
            error,
        ));
    }
    same.map_or(Ok(kept), |other| Err(shared(destination, other)))
}

/// Destinations that are not where their copies were stored, in sentences: a disk may not be mounted. Each ends within 30
/// seconds; one that cannot be asked is not among them.
pub fn moved_destinations(job: &Job, catalog: &Catalog) -> Result<Vec<String>, CatalogError> {
    let records = catalog.runs(&job.name)?;
    let find = |destination: &Destination| {
        let stored = stored_there(destination, &records);
        if stored.is_empty() {
            return None;
        }
        let (impatient, place) = (impatient(destination), destination.location.to_string());
        let look = move || {
            let store = impatient.open()?;
            Ok(moved(&impatient, &*store, &stored))
        };
        let why = within(LIMIT, place, look).ok()??;
        let why = job.delivery.masks.mask(&why);
        Some(format!("nothing is copied to {}: {why}", destination.name))
    };
    Ok(job.destinations.others().iter().filter_map(find).collect())
}

/// Whether the lease of a job can be kept where it is configured: whether a tiny object is stored there only where there is
/// none, or the same one still. It ends within 30 seconds.
pub fn probe_lease(job: &Job, options: &LeaseOptions) -> Result<(), Unusable> {
    probe_lease_within(LIMIT, job, options)
}

fn probe_lease_within(limit: Duration, job: &Job, options: &LeaseOptions) -> Result<(), Unusable> {
    let at = job.destinations.named(&options.destination);
    let place = at.map_or_else(String::new, |at| at.location.to_string());
    let (job, options) = (job.clone(), options.clone());
    let tested = within(limit, place, move || held_lease::try_out(&job, &options));
    tested.map_err(|error| Unusable {
        is_impossible: error.kind == ErrorKind::Unsupported,
        what: error.to_string(),
        only_keeps: false,
    })
}

/// Why no archive can be made in a directory, which may not exist yet; nothing is created.
pub fn unusable_directory(directory: &Path) -> Option<String> {
    let nearest = directory.ancestors().find(|path| {
        // A link that leads nowhere is there, too.
        !path.as_os_str().is_empty() && path.symlink_metadata().is_ok()
    });
    let nearest = nearest.unwrap_or(Path::new("."));
    let shown = nearest.display();
    let why = match nearest.metadata() {
        Err(error) => format!("{shown}: {error}"),
        Ok(meta) if !meta.is_dir() => format!("{shown} is not a directory"),
        Ok(_) => {
            let access = Access::WRITE_OK | Access::EXEC_OK;
            let error = accessat(CWD, nearest, access, AtFlags::EACCESS).err()?;
            format!("{shown} cannot be written: {}", io::Error::from(error))
        }
    };
    Some(if nearest == directory {
        why
    } else {
        format!("it does not exist and cannot be created, as {why}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubvault_store::{Credentials, Location};
    use std::net::TcpListener;

    /// A bucket at a server that says nothing, and the server.
    fn silent() -> (TcpListener, Destination) {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut destination = Destination::new("s3", Location::parse("s3://bucket").unwrap());
        let object = &mut destination.options.object;
        object.endpoint = Some(format!("http://{}", silent.local_addr().unwrap()));
        object.credentials = Some(Credentials::Key {
            id: "K".into(),
            secret: "S".to_owned().into(),
            token: None,
        });
        object.patience = Some(Duration::from_hours(1));
        (silent, destination)
    }

    #[test]
    fn a_silent_server_ends_the_probe_by_its_limit() {
        let (_server, destination) = silent();
        let limit = Duration::from_millis(100);
        let here = tempfile::tempdir().unwrap();
        let state = StateDir::at(here.path());
        let unusable = probe_within(limit, &destination, &[], &state).unwrap_err();
        assert!(unusable.what.contains("no result within"), "{unusable:?}");
        assert!(!unusable.is_impossible);
        let mut job = crate::monitor::tests::job(here.path());
        job.destinations = Destinations::local(here.path()).with([destination]);
        let options = LeaseOptions {
            destination: "s3".to_owned(),
            lasts: Duration::from_hours(1),
        };
        let unusable = probe_lease_within(limit, &job, &options).unwrap_err();
        assert!(unusable.what.contains("no result within"), "{unusable:?}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_and_not_made() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(unusable_directory(&here.path().join("a/b")), None);
        assert!(!here.path().join("a").exists());
        let under = unusable_directory(&file.join("b")).unwrap();
        assert!(under.contains("cannot be created, as"), "{under}");
        assert!(under.contains("is not a directory"), "{under}");
        let itself = unusable_directory(&file).unwrap();
        assert!(itself.ends_with("is not a directory"), "{itself}");
        if !rustix::process::geteuid().is_root() {
            let etc = unusable_directory(Path::new("/etc/hubvault/backups")).unwrap();
            assert!(etc.contains("/etc cannot be written"), "{etc}");
        }
    }
}
