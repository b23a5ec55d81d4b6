//! Whether a restore into the living database did not end well: then the database may lack what every backup from now on
//! lacks, too.

use super::super::{Finding, Look};
use crate::overview::{age, moment};
use crate::state::StateDir;
use crate::state::restore_mark::{LivingRestore, unfinished};
use hubvault_model::Cancel;

pub(super) const NAME: &str = "restore";

pub(super) fn look(look: &Look<'_>, _: &Cancel) -> Finding {
    let state = StateDir::of(look.job.state_root());
    let all = match unfinished(&state) {
        Ok(all) => all,
        Err(error) => {
            let what = format!("could not look for unfinished restores: {error}");
            let next = format!(
                "run hubvault as the user that makes the backups, or let it read {}",
                state.path().display()
            );
            return Finding::failing(NAME, what, next);
        }
    };
    let mut ended = all.iter().filter(|(_, is_at_work)| !is_at_work);
    let Some((restore, _)) = ended.next() else {
        let at_work = all.first();
        let what = at_work.map_or_else(
            || "no restore into the living database was left unfinished".to_owned(),
            |(restore, _)| format!("a restore began {} ago", age(restore.began_at, look.now)),
        );
        return Finding::ok(NAME, what);
    };
    let left = if restore.is_whole {
        "tables may be missing, or have a part of their rows"
    } else {
        "each table has all of the rows that were to be put back, or none"
    };
    let why = restore.error.as_ref();
    let how = why.map_or_else(
        || "ended without a result".to_owned(),
        |why| format!("failed: {why}"),
    );
    let began = |of: &LivingRestore| moment(of.began_at, look.zone);
    let what = format!("{restore} that began at {} {how}; {left}", began(restore));
    let what = ended.fold(what, |what, (more, _)| {
        format!("{what}; also {more} that began at {}", began(more))
    });
    let next = "restore again; where the database is as it should be without that: hubvault restore --resolved";
    Finding::failing(NAME, what, next)
}
