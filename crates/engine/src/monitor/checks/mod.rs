//! The checks: a file each, and a line each in the table.
//!
//! A check changes nothing, neither here nor on the server, and ends by itself within seconds, or soon after `cancel` is
//! raised. It never fails as such: if it cannot look, that is a finding ([`CheckState::Failing`] where that is a danger of
//! its own, such as a server that does not answer, else [`CheckState::Skipped`] with the reason). A finding holds no
//! secret.
//!
//! [`CheckState::Failing`]: super::CheckState::Failing
//! [`CheckState::Skipped`]: super::CheckState::Skipped

mod time;
mod size;
mod files;
mod copies;
mod disk;
mod database;
mod rows;
mod restore;
mod proof;
mod delivery;
mod schedule;
mod seal;
mod clock;
mod user;

use super::{Finding, Look};
use crate::job::{Job, UserCommand};
use hubvault_model::Cancel;

type CheckFn = fn(&Look<'_>, &Cancel) -> Finding;

/// The built-in checks, in the order of their reports.
const BUILT_IN: &[(&str, CheckFn)] = &[
    (time::NAME, time::look),
    (size::NAME, size::look),
    (files::NAME, files::look),
    (copies::NAME, copies::look),
    (disk::NAME, disk::look),
    (database::NAME, database::look),
    (rows::NAME, rows::look),
    (restore::NAME, restore::look),
    (proof::NAME, proof::look),
    (delivery::NAME, delivery::look),
    (schedule::NAME, schedule::look),
    (seal::NAME, seal::look),
    (clock::NAME, clock::look),
];

/// The names of the built-in checks, in the order of their reports.
pub const NAMES: [&str; BUILT_IN.len()] = {
    let mut names = [""; BUILT_IN.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = BUILT_IN[n].0;
        n += 1;
    }
    names
};

/// A check of a job.
#[derive(Clone, Copy)]
pub enum Check<'a> {
    /// One of hubvault's own.
    BuiltIn(&'static str, CheckFn),
    /// A command of the configuration (`[[check]]`).
    Command(&'a UserCommand),
}

impl<'a> Check<'a> {
    /// Its name in reports, alerts and settings.
    pub fn name(&self) -> &'a str {
        match self {
            Self::BuiltIn(name, _) => name,
            Self::Command(check) => &check.name,
        }
    }

    /// Runs it once.
    pub(super) fn run(&self, look: &Look<'_>, cancel: &Cancel) -> Finding {
        match self {
            Self::BuiltIn(_, function) => function(look, cancel),
            Self::Command(check) => user::run(check, look, cancel),
        }
    }
}

/// Every check of a job: the built-in ones, then the user's.
pub fn checks(job: &Job) -> Vec<Check<'_>> {
    let built_in = (BUILT_IN.iter()).map(|&(name, function)| Check::BuiltIn(name, function));
    let users = job.monitor.checks.iter().map(Check::Command);
    built_in.chain(users).collect()
}
