//! The memory of the service over many runs: whoever may start one does not fill it.

use crate::hub::Hub;
use crate::service_process::ServiceProcess;
use hubvault_testkit::{USERS, database_with, wait_for};
use std::fs;

/// What only this process has in memory, in kB.
fn own(process: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Private_Dirty:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

/// Runs that fail at once, as what starts and ends them is the same; the database of each is not there.
#[test]
fn the_service_keeps_nothing_of_a_run_that_ended() {
    const RUNS: usize = 40;
    let database = database_with(USERS);
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    let token = hub.token("ops", "operate");
    let service = ServiceProcess::start_http(&hub);
    let ended = |count: usize| {
        let log = service.log();
        log.lines().filter(|line| line.contains(" ended")).count() >= count
    };
    let run = |done: usize| {
        for n in done..done + RUNS {
            let begun = service.post("/backup/trigger", &token, "{}");
            assert!(begun.status < 300, "{}", begun.text());
            wait_for(|| ended(n + 1), || service.log());
        }
        own(service.id())
    };
    // The first ones fill caches and the allocator's reserves.
    let before = run(0);
    let after = run(RUNS);
    println!(
        "{before} kB after {RUNS} runs, {after} kB after {}",
        RUNS * 2
    );
    let most = before + RUNS as u64 * 16;
    assert!(
        after < most,
        "{before} kB, then {after} kB: something of each run is kept"
    );
}
