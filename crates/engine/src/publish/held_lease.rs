//! The lease of a run: taken before it, renewed beside it, given back after it.

use super::lease::{self, Holder, Lease, LeaseError, Taken};
use crate::job::{Job, LeaseOptions};
use crate::run::{BackupError, Run};
use crate::state::StateDir;
use crate::state::lease_wait::Waiting;
use hubvault_model::{BackupId, Cancel};
use hubvault_store::{Key, Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// The object that is the lease, below the destination's prefix.
const KEY: &str = "hubvault-lease.json";
/// The longest pause between two looks at a lease that another one holds.
const LONGEST_POLL: Duration = Duration::from_secs(5);
/// How often the holder asks the clock whether its time is over.
const TICK: Duration = Duration::from_millis(500);
/// What a store gets for giving the lease back. It may not answer.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// The lease of a run in progress; given back when dropped.
#[derive(Debug)]
pub(crate) struct HeldLease {
    number: u64,
    term: Arc<Term>,
    stop: Cancel,
    ended: Receiver<()>,
}

/// How long a lease is certainly held.
#[derive(Debug)]
pub struct Term {
    /// On the clock of [`now`].
    until: Mutex<Duration>,
    lasts: Duration,
    lost: OnceLock<String>,
    /// Stops the run.
    work: Cancel,
    /// Why it was not renewed.
    failure: Mutex<Option<String>>,
}

/// A clock that nobody sets and that also counts while the machine sleeps.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

impl HeldLease {
    /// Takes the lease of a job that has one. A run of the schedule waits until the other machine's run ends or crashes;
    /// a run by hand only as long as it takes to see which.
    pub(crate) fn take(job: &Job, run: &Run) -> Result<Option<Self>, BackupError> {
        let Some(options) = &job.lease else {
            return Ok(None);
        };
        let (store, key) = place(job, options)?;
        let lasts = options.lasts;
        let own = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX);
        let name = holder(&format!("run {}", run.id));
        let mut seen: Option<(Holder, Duration)> = None;
        let state = StateDir::of(job.state_root());
        let mut waiting = Waiting::begin(&state, run.id, &options.destination);
        let mut failing_since = None;
        loop {
            let asked = now();
            let over = |(found, since): &&(Holder, Duration)| {
                let theirs = Duration::try_from(found.lasts).unwrap_or_default();
                asked.saturating_sub(*since) >= theirs.max(lasts)
            };
            let ended = seen.as_ref().filter(over).map(|(found, _)| found);
            let taken = Lease::take(&*store, &key, &name, own, Timestamp::now(), ended);
            if taken.is_ok() {
                failing_since = None;
            }
            match taken {
                Ok(Taken::Held(lease)) => {
                    tracing::debug!("holding the lease of {}", options.destination);
                    return Ok(Some(Self::start(lease, store, asked, lasts, &run.work)));
                }
                Ok(Taken::By(found)) => match &seen {
                    Some((known, _)) if known.is_unchanged(&found) => {}
                    // It was renewed: its holder is at work.
                    Some(_) if run.request.due.is_none() => return Err(held(options, &found)),
                    known => {
                        if known.is_none() {
                            log_holder(options, &found);
                        }
                        waiting.held_by(&found.name);
                        seen = Some((found, now()));
                    }
                },
                Err(LeaseError::Store(error)) => {
                    let since = *failing_since.get_or_insert(asked);
                    // Who waits for another machine loses nothing by an outage.
                    let waits = seen.is_some() && !is_over(job, run);
                    // What passes within the lease's length is not worth a failed run.
                    let passes = waits || asked.saturating_sub(since) < lasts;
                    if !error.may_be_retried() || !passes {
                        return Err(LeaseError::Store(placed(error, job, options)).into());
                    }
                    if since == asked {
                        tracing::warn!("could not ask for the lease, trying again: {error}");
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if run.cancel.wait((lasts / 6).min(LONGEST_POLL)) {
                return Err(BackupError::Cancelled);
            }
        }
    }

    /// The same for what is not a run; it waits for nobody. `work` is requested when the lease is lost.
    pub(super) fn take_at_once(job: &Job, work: &Cancel) -> Result<Option<Self>, BackupError> {
        let Some(options) = &job.lease else {
            return Ok(None);
        };
        let (store, key) = place(job, options)?;
        let asked = now();
        let lasts = SignedDuration::try_from(options.lasts).unwrap_or(SignedDuration::MAX);
        let name = holder(&format!("copies {}", BackupId::random()));
        let taken = Lease::take(&*store, &key, &name, lasts, Timestamp::now(), None);
        match taken.map_err(|error| match error {
            LeaseError::Store(error) => placed(error, job, options).into(),
            lost @ LeaseError::Lost { .. } => lost,
        })? {
            Taken::Held(lease) => Ok(Some(Self::start(lease, store, asked, options.lasts, work))),
            Taken::By(found) => Err(held(options, &found)),
        }
    }

    fn start(
        lease: Lease,
        store: Arc<dyn Store>,
        asked: Duration,
        lasts: Duration,
        work: &Cancel,
    ) -> Self {
        let number = lease.number();
        let term = Arc::new(Term {
            until: Mutex::new(asked + certain(lasts)),
            lasts,
            lost: OnceLock::new(),
            work: work.clone(),
            failure: Mutex::default(),
        });
        let (stop, (ending, ended)) = (Cancel::new(), channel());
        let (renewed, stopped) = (Arc::clone(&term), stop.clone());
        // Not joined: each may wait for a store that does not answer.
        thread::spawn(move || renew(lease, &*store, &renewed, &stopped, &ending));
        let (watched, stopped) = (Arc::clone(&term), stop.clone());
        thread::spawn(move || while !stopped.wait(TICK) && watched.check().is_ok() {});
        Self {
            number,
            term,
            stop,
            ended,
        }
    }

    /// How many held the lease, this one included: part of the name of what is made under it.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Fails once the lease may be another one's.
    pub(crate) fn check(&self) -> Result<(), BackupError> {
        self.term.check().map_err(|why| BackupError::LeaseLost {
            why: why.to_owned(),
        })
    }

    /// What ended a run whose work was stopped: the loss of the lease, where it was lost.
    pub(crate) fn in_place_of(&self, error: BackupError) -> BackupError {
        let is_stopped = error.is_cancelled() || matches!(error, BackupError::TooLong { .. });
        match self.term.lost.get() {
            Some(why) if is_stopped => BackupError::LeaseLost { why: why.clone() },
            _ => error,
        }
    }

    /// What uploads ask before they begin.
    pub(crate) fn term(&self) -> Arc<Term> {
        Arc::clone(&self.term)
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.stop.request();
        if self.term.lost.get().is_none() {
            // Where the store does not answer, the lease ends by itself.
            let _ = self.ended.recv_timeout(LAST_MOMENT);
        }
    }
}

impl Term {
    /// Why the lease may be another one's, if it may.
    pub(crate) fn check(&self) -> Result<(), &str> {
        if let Some(why) = self.lost.get() {
            return Err(why);
        }
        if now() < *locked(&self.until) {
            return Ok(());
        }
        let cause = locked(&self.failure).as_ref().map(|it| format!(": {it}"));
        let cause = cause.unwrap_or_default();
        Err(self.lose(format!("it could not be renewed in time{cause}")))
    }

    fn lose(&self, why: String) -> &str {
        let why = self.lost.get_or_init(|| why);
        self.work.request();
        why
    }

    fn renewed(&self, asked: Duration) {
        *locked(&self.until) = asked + certain(self.lasts);
        *locked(&self.failure) = None;
    }
}

/// Renews the lease until the run ends, and gives it back.
fn renew(mut lease: Lease, store: &dyn Store, term: &Term, stop: &Cancel, _ended: &Sender<()>) {
    let mut pause = term.lasts / 3;
    while !stop.wait(pause) {
        let asked = now();
        if term.check().is_err() {
            return;
        }
        match lease.renew(store, Timestamp::now()) {
            Ok(()) => {
                term.renewed(asked);
                pause = term.lasts / 3;
            }
            Err(LeaseError::Lost { holder, .. }) => {
                term.lose(format!("{holder} took it"));
                return;
            }
            Err(LeaseError::Store(error)) => {
                let failure = locked(&term.failure).replace(error.to_string());
                if failure.is_none() {
                    tracing::warn!("could not renew the lease, trying again: {error}");
                }
                pause = term.lasts / 12;
            }
        }
    }
    if term.check().is_ok()
        && let Err(error) = lease.release(store, Timestamp::now())
    {
        tracing::warn!("could not give the lease back, it ends by itself: {error}");
    }
}

/// How long a holder is certain of it. What it began before that has some time to arrive at the store.
fn certain(lasts: Duration) -> Duration {
    lasts * 3 / 4
}

/// Whether the lease of a job can be kept where it is configured.
pub(super) fn try_out(job: &Job, options: &LeaseOptions) -> Result<(), StoreError> {
    let (store, key) = place(job, options)?;
    lease::check(&*store, &key).map_err(|error| placed(error, job, options))
}

/// An error of a lease, with the place where it is.
fn placed(error: StoreError, job: &Job, options: &LeaseOptions) -> StoreError {
    match job.destinations.named(&options.destination) {
        Some(at) if error.place == KEY => StoreError {
            place: format!("{}/{KEY}", at.location),
            ..error
        },
        _ => error,
    }
}

fn place(job: &Job, options: &LeaseOptions) -> Result<(Arc<dyn Store>, Key), StoreError> {
    let name = &options.destination;
    let wrong =
        |what: String| StoreError::new("keeping the lease at", name, io::Error::other(what));
    let destination = job.destinations.named(name);
    let no_such = || wrong("there is no such destination".to_owned());
    let mut impatient = destination.ok_or_else(no_such)?.clone();
    // A renewal that is answered too late is of no use.
    let object = &mut impatient.options.object;
    object.patience = Some(object.patience().min(options.lasts / 3));
    let key = Key::parse(KEY).map_err(|error| wrong(error.to_string()))?;
    Ok((Arc::from(impatient.open()?), key))
}

/// Who does this, for people and for other machines.
fn holder(work: &str) -> String {
    let host = rustix::system::uname();
    format!("{}, {work}", host.nodename().to_string_lossy())
}

/// Whether a run is not worth waiting for any more: it is one by hand, or the next one is due.
fn is_over(job: &Job, run: &Run) -> bool {
    run.request.due.is_none_or(|due| {
        let next = job.schedule.next_after(&job.name, due);
        next.is_some_and(|next| next <= Timestamp::now())
    })
}

fn log_holder(options: &LeaseOptions, found: &Holder) {
    let (place, holder) = (&options.destination, &found.name);
    let (until, length) = (found.until, found.lasts);
    tracing::info!(
        "waiting for the lease of {place}, which {holder} holds until {until:.0}; it ends once it is not renewed for {length:#}"
    );
}

fn held(options: &LeaseOptions, found: &Holder) -> BackupError {
    BackupError::LeaseHeld {
        place: options.destination.clone(),
        holder: found.name.clone(),
        until: found.until,
    }
}

impl From<LeaseError> for BackupError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost { holder, .. } => Self::LeaseLost {
                why: format!("{holder} took it"),
            },
            LeaseError::Store(error) => Self::Store(error),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
