//! Threads that share the tasks of one queue and stop at the first error.

use hubvault_model::Cancel;
use hubvault_postgres::PgError;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// An error type with a value for "stopped on request".
pub(crate) trait StopError {
    /// Of work that was asked to stop.
    fn stopped() -> Self;
    /// Whether it says that, instead of a cause.
    fn is_stopped(&self) -> bool;
}

impl StopError for PgError {
    fn stopped() -> Self {
        Self::Cancelled
    }

    fn is_stopped(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

/// A queue of tasks for several workers.
pub(crate) struct Pool<'a, T> {
    queue: Mutex<Queue<T>>,
    /// Tasks were added, or the last one that a worker had is done.
    changed: Condvar,
    cancel: &'a Cancel,
    failed: AtomicBool,
}

struct Queue<T> {
    tasks: VecDeque<T>,
    /// Whether a task may add others: workers without one wait while another has one.
    grows: bool,
    busy: usize,
    idle: usize,
}

impl<'a, T: Send> Pool<'a, T> {
    /// With tasks in the order in which they begin.
    pub(crate) fn new(tasks: impl IntoIterator<Item = T>, cancel: &'a Cancel) -> Self {
        let queue = Queue {
            tasks: tasks.into_iter().collect(),
            grows: false,
            busy: 0,
            idle: 0,
        };
        Self {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            cancel,
            failed: AtomicBool::new(false),
        }
    }

    /// The same, and a task may [`add`](Self::add) others.
    pub(crate) fn growing(tasks: impl IntoIterator<Item = T>, cancel: &'a Cancel) -> Self {
        let pool = Self::new(tasks, cancel);
        pool.lock().grows = true;
        pool
    }

    /// Whether a worker waits for a task.
    pub(crate) fn is_wanting(&self) -> bool {
        let queue = self.lock();
        queue.idle > 0 && queue.tasks.is_empty()
    }

    /// Adds tasks from within a task.
    pub(crate) fn add(&self, tasks: impl IntoIterator<Item = T>) {
        self.lock().tasks.extend(tasks);
        self.changed.notify_all();
    }

    /// An error once a stop was requested or another worker failed. For long tasks, which ask in between.
    pub(crate) fn check_stop<E: StopError>(&self) -> Result<(), E> {
        if self.cancel.is_requested() || self.failed.load(Ordering::Acquire) {
            return Err(E::stopped());
        }
        Ok(())
    }

    /// Does all tasks on at most so many threads. `open` makes what a worker keeps between its tasks, such as a
    /// connection. An error stops all workers; the one that caused the stop is returned. A panic goes on in the caller.
    pub(crate) fn run<S, E: StopError + Send>(
        &self,
        workers: usize,
        open: impl Fn() -> Result<S, E> + Sync,
        task: impl Fn(&mut S, T) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        self.run_beside(workers, open, task, || Ok(()))
    }

    /// The same with `beside` in the caller's own thread, once the workers have started.
    pub(crate) fn run_beside<S, E: StopError + Send>(
        &self,
        workers: usize,
        open: impl Fn() -> Result<S, E> + Sync,
        task: impl Fn(&mut S, T) -> Result<(), E> + Sync,
        beside: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let work = || {
            self.noting(|| {
                let mut state = open()?;
                while let Some(next) = self.next() {
                    let _busy = Busy(self);
                    self.check_stop()?;
                    task(&mut state, next)?;
                }
                Ok(())
            })
        };
        let most = {
            let queue = self.lock();
            // Those that have nothing to do at first get what others add.
            if queue.grows {
                workers
            } else {
                queue.tasks.len()
            }
        };
        let workers = workers.clamp(1, most.max(1));
        let results: Vec<Result<(), E>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let begun = self.noting(beside);
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            let ended = threads.into_iter().map(join);
            std::iter::once(begun).chain(ended).collect()
        });
        let (stopped, causes): (Vec<_>, Vec<_>) =
            (results.into_iter().filter_map(Result::err)).partition(StopError::is_stopped);
        causes.into_iter().chain(stopped).next().map_or(Ok(()), Err)
    }

    fn noting<E>(&self, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let result = work();
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    /// The next task, which makes the worker busy; `None` when there will be no other.
    fn next(&self) -> Option<T> {
        let mut queue = self.lock();
        while queue.tasks.is_empty() && queue.grows && queue.busy > 0 {
            queue.idle += 1;
            let woken = self.changed.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
        let next = queue.tasks.pop_front()?;
        queue.busy += 1;
        Some(next)
    }
}

impl<T> Pool<'_, T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker has a task, until this is dropped.
struct Busy<'a, T>(&'a Pool<'a, T>);

impl<T> Drop for Busy<'_, T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.busy -= 1;
        if queue.busy == 0 {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;
    use std::time::Duration;

    #[derive(Debug, PartialEq)]
    enum Error {
        Cause,
        Stopped,
    }

    impl StopError for Error {
        fn stopped() -> Self {
            Self::Stopped
        }

        fn is_stopped(&self) -> bool {
            *self == Self::Stopped
        }
    }

    #[test]
    fn every_task_is_done_once() {
        let (cancel, sum) = (Cancel::new(), AtomicUsize::new(0));
        let result: Result<(), Error> = Pool::new(1..=100, &cancel).run(
            4,
            || Ok(()),
            |(), task| {
                sum.fetch_add(task, Ordering::Relaxed);
                Ok(())
            },
        );
        assert_eq!((result, sum.into_inner()), (Ok(()), 5050));
    }

    #[test]
    fn an_error_stops_the_others_and_is_the_one_that_is_returned() {
        let cancel = Cancel::new();
        let pool = Pool::new(0..1_000_000, &cancel);
        let result = pool.run(
            4,
            || Ok(()),
            |(), task| match task {
                3 => Err(Error::Cause),
                _ => pool.check_stop(),
            },
        );
        assert_eq!(result, Err(Error::Cause));
        assert!(pool.next().is_some(), "all tasks were done");
    }

    #[test]
    fn a_worker_without_a_task_takes_those_that_another_adds() {
        let cancel = Cancel::new();
        let pool = Pool::growing([0, 1], &cancel);
        let (done, by) = mpsc::channel();
        let by = Mutex::new(by);
        let task = |(): &mut (), task| {
            let me = std::thread::current().id();
            match task {
                0 => {
                    while !pool.is_wanting() {
                        std::thread::yield_now();
                    }
                    pool.add([2]);
                    // By the other worker, as this one waits for it.
                    let other = by.lock().unwrap().recv_timeout(Duration::from_mins(1));
                    assert!(other.is_ok_and(|other| other != me));
                }
                1 => {}
                _ => done.send(me).unwrap(),
            }
            Ok::<_, Error>(())
        };
        assert_eq!(pool.run(2, || Ok(()), task), Ok(()));
        assert!(!pool.is_wanting());
    }

    #[test]
    fn one_task_that_adds_others_keeps_several_workers_busy() {
        let cancel = Cancel::new();
        let pool = Pool::growing([0], &cancel);
        let both = std::sync::Barrier::new(2);
        let task = |(): &mut (), task| {
            if task == 0 {
                pool.add([1, 2]);
            } else {
                // One worker alone would wait for ever.
                both.wait();
            }
            Ok::<_, Error>(())
        };
        assert_eq!(pool.run(2, || Ok(()), task), Ok(()));
    }

    #[test]
    fn an_error_or_a_panic_ends_the_workers_that_wait() {
        for is_panic in [false, true] {
            let cancel = Cancel::new();
            let pool = Pool::growing([0, 1], &cancel);
            let task = |(): &mut (), task| match task {
                0 => {
                    while !pool.is_wanting() {
                        std::thread::yield_now();
                    }
                    assert!(!is_panic, "the task's own");
                    Err(Error::Cause)
                }
                _ => Ok(()),
            };
            let run = || pool.run(2, || Ok(()), task);
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                Ok(ended) => assert_eq!(ended, Err(Error::Cause)),
                Err(_) => assert!(is_panic),
            }
        }
    }

    #[test]
    fn a_request_stops_all_and_what_runs_beside_them_may_fail_too() {
        let cancel = Cancel::new();
        cancel.request();
        let done = |(): &mut (), _| Ok(());
        let stopped = Pool::new(0..9, &cancel).run(2, || Ok(()), done);
        assert_eq!(stopped, Err(Error::Stopped));
        let failed = Pool::new(0..9, &cancel).run_beside(2, || Ok(()), done, || Err(Error::Cause));
        assert_eq!(failed, Err(Error::Cause));
    }
}
