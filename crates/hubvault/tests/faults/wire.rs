//! The connection to the server cut, stalled, terminated, cancelled, or lost by a restart.

use crate::fixture::{Fixture, SMALL};
use crate::form::points;
use crate::tally::Tally;
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, Session};
use hubvault_testkit::{
    Database, MessageProxy, Next, Passing, RestartingServer, Shutdown, database_with, server,
    wait_for,
};
use std::process::{Child, Stdio};
use std::time::Duration;

/// One run with every message given to `meddle`; then one without, which must be proven.
fn backup_through(
    tally: &mut Tally,
    kind: &str,
    source: &Database,
    fixture: &mut Fixture,
    recover: bool,
    meddle: impl Fn(&mut Passing<'_>) -> Next + Send + Sync + 'static,
) {
    let proxy = MessageProxy::start(&source.settings(), meddle);
    fixture.connect_through(&proxy.settings(&source.settings()));
    let ended = fixture.backup();
    drop(proxy);
    let recovered = if recover {
        fixture.check_recovery()
    } else {
        Ok(())
    };
    match ended.and_then(|outcome| recovered.map(|()| outcome)) {
        Ok(outcome) => tally.passed(kind, &outcome.what),
        Err(why) => tally.failed(kind, &why),
    }
}

/// How many messages an undisturbed run takes.
fn messages_of_a_run(source: &Database, fixture: &mut Fixture) -> u64 {
    let proxy = MessageProxy::start(&source.settings(), |_| Next::Pass);
    fixture.connect_through(&proxy.settings(&source.settings()));
    assert_eq!(fixture.backup().unwrap().what, "proven");
    proxy.passed()
}

/// `count` of the numbers from 1 to `last`, spread evenly.
fn spread(count: usize, last: u64) -> impl Iterator<Item = u64> {
    (0..count as u64).map(move |n| 1 + n * last / count as u64)
}

#[test]
fn a_connection_cut_after_any_message_never_leaves_a_wrong_archive() {
    let source = database_with(SMALL);
    let mut fixture = Fixture::of(&source);
    let mut tally = Tally::new("wire-cut");
    let all = messages_of_a_run(&source, &mut fixture);
    println!("a run takes {all} messages");
    for (turn, at) in spread(points(16, 500), 500).enumerate() {
        let recover = turn % 10 == 0;
        backup_through(
            &mut tally,
            "cut after a message of the first 500",
            &source,
            &mut fixture,
            recover,
            move |message| {
                if message.number == at {
                    Next::Cut
                } else {
                    Next::Pass
                }
            },
        );
    }
    for (turn, at) in spread(points(5, 100), all.max(501) - 500).enumerate() {
        let recover = turn % 10 == 0;
        backup_through(
            &mut tally,
            "cut after a later message",
            &source,
            &mut fixture,
            recover,
            move |message| {
                if message.number == 500 + at {
                    Next::Cut
                } else {
                    Next::Pass
                }
            },
        );
    }
    tally.finish();
}

#[test]
fn a_stalled_connection_is_ended_and_a_slow_one_is_not() {
    let source = database_with(SMALL);
    let mut fixture = Fixture::of(&source);
    let mut tally = Tally::new("wire-stall");
    let all = messages_of_a_run(&source, &mut fixture);
    let places = points(1, 10);
    for at in spread(places, 500).chain(spread(places / 2, all)) {
        let stalls = move |message: &mut Passing<'_>| {
            if message.number >= at {
                Next::Stall
            } else {
                Next::Pass
            }
        };
        let proxy = MessageProxy::start(&source.settings(), stalls);
        fixture.connect_through(&proxy.settings(&source.settings()));
        let child = start(&fixture);
        wait_for(|| proxy.passed() >= at, || format!("{at} messages"));
        signal(&child, "TERM");
        count(&mut tally, "stalled, then SIGTERM", &fixture, child);
        drop(proxy);
        fixture.hub.set("BACKUP_TIME_LIMIT", "1 s");
        backup_through(
            &mut tally,
            "stalled, with a limit of 1 s",
            &source,
            &mut fixture,
            false,
            stalls,
        );
        fixture.hub.set("BACKUP_TIME_LIMIT", "1 h");
    }
    for at in spread(points(1, 4), all) {
        let slow = move |message: &mut Passing<'_>| {
            if message.number % 400 == at % 400 {
                std::thread::sleep(Duration::from_millis(40));
            }
            Next::Pass
        };
        backup_through(&mut tally, "delayed", &source, &mut fixture, true, slow);
    }
    if let Err(why) = fixture.check_recovery() {
        tally.failed("stalled, with a limit of 1 s", &why);
    }
    tally.finish();
}

fn start(fixture: &Fixture) -> Child {
    let mut command = fixture.hub.command(&["backup", "--json", "--no-progress"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for a run that was disturbed, and counts it.
fn count(tally: &mut Tally, kind: &str, fixture: &Fixture, child: Child) {
    match fixture.check_run(&child.wait_with_output().unwrap()) {
        Ok(outcome) => tally.passed(kind, &outcome.what),
        Err(why) => tally.failed(kind, &why),
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let status = std::process::Command::new("kill")
        .args(["-s", name, &pid])
        .status();
    assert!(status.unwrap().success());
}

/// Makes the rows take long enough to be met.
const SLOWER: &str = "INSERT INTO orders (buyer, price, paid)
    SELECT 1 + n % 200, n, true FROM generate_series(1, 120000) n; ANALYZE;";

#[test]
fn terminated_sessions_and_cancelled_statements_never_leave_a_wrong_archive() {
    let source = database_with(SMALL);
    source.execute(SLOWER);
    let mut fixture = Fixture::of(&source);
    let mut tally = Tally::new("wire-ended");
    let rounds = points(4, 40);
    for (kind, function) in [
        ("every session terminated", "pg_terminate_backend"),
        ("every statement cancelled", "pg_cancel_backend"),
    ] {
        for round in 0..rounds {
            let child = start(&fixture);
            // From the first connection to the drill, which is elsewhere.
            std::thread::sleep(Duration::from_millis(
                20 + 500 * round as u64 / rounds as u64,
            ));
            source.execute(&format!(
                "SELECT {function}(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ));
            count(&mut tally, kind, &fixture, child);
        }
        if let Err(why) = fixture.check_recovery() {
            tally.failed(kind, &why);
        }
    }
    tally.finish();
}

#[test]
fn a_server_restart_never_leaves_a_wrong_archive() {
    let server = server();
    let own = RestartingServer::like(&server);
    let settings: ConnectSettings = own.settings();
    let mut session = Session::connect(&settings, &Cancel::new()).unwrap();
    let sql = format!("SET search_path = public; {SMALL} {SLOWER}");
    session.simple("preparing", &sql).unwrap();
    drop(session);
    let mut fixture = Fixture::at(&settings);
    fixture.record_expected();
    let mut tally = Tally::new("wire-restarts");
    let rounds = points(2, 15);
    for (kind, how) in [
        ("server restarted, fast", Shutdown::Fast),
        ("server restarted, immediately", Shutdown::Immediate),
    ] {
        for round in 0..rounds {
            let child = start(&fixture);
            std::thread::sleep(Duration::from_millis(
                20 + 400 * round as u64 / rounds as u64,
            ));
            own.stop(how);
            own.start();
            count(&mut tally, kind, &fixture, child);
        }
        if let Err(why) = fixture.check_recovery() {
            tally.failed(kind, &why);
        }
    }
    tally.finish();
}
