//! The checks, one file each.

mod time;
mod size;
mod files;
mod disk;
mod database;
mod rows;
mod proof;
mod delivery;
mod schedule;
mod seal;
mod clock;
mod user;

use super::{Check, Finding, Look};
use crate::job::Job;
use hubvault_model::Cancel;

type LookFn = fn(&Look<'_>, &Cancel) -> Finding;

/// A check that is a function.
struct BuiltIn {
    name: &'static str,
    look: LookFn,
}

impl Check for BuiltIn {
    fn name(&self) -> &str {
        self.name
    }

    fn look(&self, look: &Look<'_>, cancel: &Cancel) -> Finding {
        (self.look)(look, cancel)
    }
}

/// The names of the built-in checks, in the order of their reports.
pub const NAMES: &[&str] = &[
    time::NAME,
    size::NAME,
    files::NAME,
    disk::NAME,
    database::NAME,
    rows::NAME,
    proof::NAME,
    delivery::NAME,
    schedule::NAME,
    seal::NAME,
    clock::NAME,
];

const LOOKS: &[LookFn] = &[
    time::look,
    size::look,
    files::look,
    disk::look,
    database::look,
    rows::look,
    proof::look,
    delivery::look,
    schedule::look,
    seal::look,
    clock::look,
];

/// Every check of a job: the built-in ones, then the user's.
pub fn checks(job: &Job) -> Vec<Box<dyn Check>> {
    let built_in = NAMES
        .iter()
        .zip(LOOKS)
        .map(|(name, look)| Box::new(BuiltIn { name, look: *look }) as Box<dyn Check>);
    let users = job.monitor.checks.iter().cloned();
    built_in
        .chain(users.map(|check| Box::new(user::Command(check)) as Box<dyn Check>))
        .collect()
}
