//! Machines with the same job and one bucket, at which a lease says whose turn it is.

use crate::clock::Clock;
use crate::hub::{Hub, archives_and_partials, stderr, stdout};
use crate::interrupted::signal;
use crate::service_process::{ServiceProcess, runs};
use hubvault_testkit::object_store::{HttpFault, HttpFaults, S3Server};
use hubvault_testkit::{Database, USERS, database_with, wait_for};
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::process::Child;
use std::sync::Arc;

/// A bucket, and the database that every machine backs up.
pub(crate) struct Shared {
    pub(crate) server: Arc<S3Server>,
    pub(crate) bucket: &'static str,
    database: Database,
}

impl Shared {
    pub(crate) fn new(bucket: &'static str) -> Self {
        let server = S3Server::shared();
        server.create_bucket(bucket, false);
        Self {
            server,
            bucket,
            database: database_with(USERS),
        }
    }

    /// Another machine: its own directories, and the same job. Its runs wait before the export where there is a file `hold`.
    pub(crate) fn machine(&self, endpoint: &str, length: &str, minutes: &str) -> Hub {
        let mut hub = Hub::whole(&self.database);
        let (bucket, key) = (self.bucket, self.server.owner());
        let (config, id, secret) = (hub.config(), key.id, key.secret);
        let config = config.display();
        hub.write(&format!(
            "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[monitor]\ninterval = \"1 h\"\n\
             [schedule]\ncron = \"{minutes} * * * *\"\ntimezone = \"UTC\"\n[lease]\ndestination = \"s3\"\nlength = \"{length}\"\n\
             [[destination]]\nname = \"s3\"\nurl = \"s3://{bucket}/hub\"\nendpoint = \"{endpoint}\"\nregion = \"us-east-1\"\n\
             access_key = \"{id}\"\nsecret_key = \"{secret}\"\n\
             [[hook]]\nstage = \"export\"\nwhen = \"before\"\n\
             command = \"touch '{config}/begun'; while [ -e '{config}/hold' ]; do sleep 0.05; done\"\n"
        ));
        hub.set("LOG_LEVEL", "debug");
        hub
    }

    /// The archives in the bucket.
    pub(crate) fn archives(&self) -> Vec<String> {
        self.objects(".tar.gz")
    }

    /// The objects in the bucket whose keys end so.
    fn objects(&self, ending: &str) -> Vec<String> {
        let path = format!("/{}?list-type=2&prefix=hub/", self.bucket);
        let (status, body) = self.server.request("GET", &path, &[], b"");
        assert_eq!(status, 200, "{body}");
        let keys = body.split("<Key>").skip(1);
        let keys = keys.filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()));
        keys.filter(|key| key.ends_with(ending)).collect()
    }
}

/// The ids of the backups that a machine knows, newest first.
pub(crate) fn backups(hub: &Hub) -> Vec<String> {
    let made = runs(hub)
        .into_iter()
        .filter(|run| run["state"] == "unproven");
    made.map(|run| run["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Starts a run, which stays in its middle until `go`.
fn start(hub: &Hub) -> Child {
    fs::write(hub.config().join("hold"), "").unwrap();
    let child = hub.start_backup();
    let begun = hub.config().join("begun");
    wait_for(|| begun.exists(), || "the middle of the run".to_owned());
    child
}

fn go(hub: &Hub) {
    fs::remove_file(hub.config().join("hold")).unwrap();
}

fn lost(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: lost the lease: "), "{said}");
    said
}

#[test]
fn of_two_machines_one_runs_and_the_other_one_says_which() {
    let shared = Shared::new("lease-two");
    let endpoint = shared.server.endpoint();
    let (one, other) = (
        shared.machine(&endpoint, "30 s", "0"),
        shared.machine(&endpoint, "30 s", "0"),
    );
    let checked = one.run(&["config", "check"]);
    assert!(!stderr(&checked).contains("lease"), "{}", stderr(&checked));
    let running = start(&one);
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    other.backup_fails(
        1,
        &[
            "another machine holds the lease of s3",
            &host,
            "wait for its run to end",
        ],
    );
    go(&one);
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    // It was given back: nobody waits.
    other.backup();
    assert_eq!(shared.archives().len(), 2);
    assert_eq!(backups(&one).len(), 1);
    assert_eq!(backups(&other).len(), 2, "it knows what the other one made");
    // Most rows were lost, so that the archive which has them is pinned; each machine does it.
    shared
        .database
        .execute("DELETE FROM users WHERE id > 100; ANALYZE");
    one.backup();
    other.backup();
    for hub in [&one, &other] {
        let runs = runs(hub);
        let pinned = runs.iter().filter(|run| run["pinned"] == true);
        let pinned: Vec<_> = pinned.map(|run| &run["id"]).collect();
        assert_eq!(pinned, [&backups(&other)[2]], "{runs:?}");
    }
    // So was that of a run that was stopped.
    let running = start(&one);
    signal(&running, "TERM");
    running.wait_with_output().unwrap();
    let said = stderr(&other.run(&["backup"]));
    assert!(!said.contains("waiting for the lease"), "{said}");
}

#[test]
fn what_one_machine_pinned_no_other_one_removes_until_it_is_released() {
    let shared = Shared::new("lease-pin");
    let endpoint = shared.server.endpoint();
    let [mut one, mut other] = [(); 2].map(|()| shared.machine(&endpoint, "30 s", "0"));
    for hub in [&mut one, &mut other] {
        // It writes its file.
        hub.run(&["config", "check"]);
        let config = fs::read_to_string(hub.config().join("hubvault.toml")).unwrap();
        let rules = "[retention]\ndays = 0\nkeep_last = 1\n[monitor]";
        hub.write(&config.replace("[monitor]", rules));
    }
    let archive = |hub: &Hub, id: &str| {
        let known = runs(hub).into_iter().find(|run| run["id"] == id).unwrap();
        let copies = known["copies"].as_array().unwrap().clone();
        let at = copies.iter().find(|copy| copy["destination"] == "s3");
        let key = at.unwrap()["key"].as_str().unwrap().to_owned();
        shared.archives().contains(&format!("hub/{key}"))
    };
    // One that has rows which the later ones lack is pinned by the machine that sees it.
    other.backup();
    let whole = backups(&other)[0].clone();
    shared
        .database
        .execute("DELETE FROM users WHERE id > 100; ANALYZE");
    let (record, _) = one.backup();
    assert!(
        record["warnings"]
            .to_string()
            .contains("is pinned now and is kept"),
        "{record}"
    );
    // One is pinned by hand, for no reason that another machine could see.
    let by_hand = backups(&one)[0].clone();
    one.run_expecting(0, &["pin", &by_hand]);
    for _ in 0..3 {
        other.backup();
    }
    for id in [&whole, &by_hand] {
        assert!(archive(&other, id), "{:?}", shared.archives());
        let known = runs(&other).into_iter().find(|run| run["id"] == **id);
        assert_eq!(known.unwrap()["pinned"], true);
    }
    assert_eq!(shared.archives().len(), 3, "{:?}", shared.archives());
    one.run_expecting(0, &["unpin", &by_hand]);
    other.backup();
    assert!(archive(&other, &whole) && !archive(&other, &by_hand));
}

#[test]
fn what_one_machine_drilled_later_the_rules_of_another_one_know() {
    let shared = Shared::new("lease-drill");
    let endpoint = shared.server.endpoint();
    let [mut one, mut other] = [(); 2].map(|()| shared.machine(&endpoint, "30 s", "0"));
    let _drills = one.prove();
    one.set("PROOF", "off");
    let (_, archive) = one.backup();
    let drilled = backups(&one)[0].clone();
    other.backup();
    let known = |hub: &Hub, id: &str| runs(hub).into_iter().find(|run| run["id"] == id).unwrap();
    assert_eq!(known(&other, &drilled)["state"], "unproven");
    one.run_expecting(0, &["drill", &drilled]);
    assert_eq!(shared.objects(".proof").len(), 1);
    other.run(&["config", "check"]);
    let config = fs::read_to_string(other.config().join("hubvault.toml")).unwrap();
    let rules = "[retention]\ndays = 0\nkeep_last = 1\n[monitor]";
    other.write(&config.replace("[monitor]", rules));
    // Of the three only the oldest is proven: it and the newest stay.
    other.backup();
    let record = known(&other, &drilled);
    assert_eq!(
        (&record["state"], &record["proof"]["proven"]),
        (&"proven".into(), &true.into())
    );
    let shown = other.run_expecting(0, &["show", "--destination", "s3", &drilled]);
    assert!(
        stdout(&shown).contains("proven: 1 table"),
        "{}",
        stdout(&shown)
    );
    assert_eq!(shared.archives().len(), 2, "{:?}", shared.archives());
    // A file that cannot be opened says nothing of the copy in the store.
    fs::write(&archive, "no archive").unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap().to_owned();
    one.run_expecting(1, &["drill", &drilled]);
    let marks = shared.objects(".proof");
    assert!(
        marks.len() == 1 && marks[0].contains(".tar.gz.1-"),
        "{marks:?}"
    );
    other.run_expecting(0, &["prune"]);
    assert_eq!(known(&other, &drilled)["state"], "proven");
    let kept = shared.archives();
    assert!(kept.iter().any(|key| key.ends_with(&name)), "{kept:?}");
    // A drill of what only the store has is known, too. What is removed takes its mark with it.
    other.backup();
    one.run(&["prune"]);
    let newest = backups(&other)[0].clone();
    one.run_expecting(0, &["drill", "--destination", "s3", &newest]);
    assert_eq!(shared.objects(".proof").len(), 2);
    other.run_expecting(0, &["prune"]);
    assert_eq!(
        (shared.archives().len(), shared.objects(".proof").len()),
        (1, 1)
    );
    assert_eq!(known(&other, &newest)["state"], "proven");
}

#[test]
fn a_machine_without_its_network_ends_its_run_and_another_one_takes_over() {
    let shared = Shared::new("lease-cut");
    let network = HttpFaults::start(shared.server.port());
    let one = shared.machine(&network.endpoint(), "12 s", "0");
    let other = shared.machine(&shared.server.endpoint(), "12 s", "0");
    let running = start(&one);
    for method in ["PUT", "GET", "HEAD"] {
        network.fail(method, "", usize::MAX, HttpFault::Cut);
    }
    let said = lost(running);
    assert!(said.contains("it could not be renewed in time"), "{said}");
    one.nothing_published();
    let (record, _) = other.backup();
    assert_eq!(record["state"], "unproven", "{record}");
    assert_eq!(shared.archives().len(), 1);
}

#[test]
fn a_machine_that_slept_notices_before_it_publishes() {
    let shared = Shared::new("lease-slept");
    let endpoint = shared.server.endpoint();
    let (one, other) = (
        shared.machine(&endpoint, "12 s", "0"),
        shared.machine(&endpoint, "12 s", "0"),
    );
    let running = start(&one);
    signal(&running, "STOP");
    // Nobody renews the lease: it ends.
    other.backup();
    go(&one);
    signal(&running, "CONT");
    lost(running);
    one.nothing_published();
    assert!(archives_and_partials(&other.backups()).len() == 1);
    assert_eq!(shared.archives().len(), 1);
}

#[test]
fn what_was_not_copied_in_time_is_not_copied_after_the_run_of_another_machine() {
    let shared = Shared::new("lease-queue");
    let network = HttpFaults::start(shared.server.port());
    let mut one = shared.machine(&network.endpoint(), "30 s", "0");
    let other = shared.machine(&shared.server.endpoint(), "30 s", "0");
    for method in ["PUT", "POST"] {
        network.fail(method, "critical_backup", usize::MAX, HttpFault::Cut);
    }
    one.backup();
    assert!(shared.archives().is_empty());
    let config = fs::read_to_string(one.config().join("hubvault.toml")).unwrap();
    one.write(&config.replace(&network.endpoint(), &shared.server.endpoint()));
    // Nobody made the run instead.
    one.run_expecting(0, &["copies", "sync", "--no-progress"]);
    assert_eq!(shared.archives().len(), 1);
    one.write(&config);
    one.backup();
    other.backup();
    one.write(&config.replace(&network.endpoint(), &shared.server.endpoint()));
    let synced = one.run_expecting(0, &["copies", "sync", "--no-progress"]);
    let said = stderr(&synced);
    assert!(
        said.contains("another machine made the run instead"),
        "{said}"
    );
    let archives = shared.archives();
    assert_eq!(archives.len(), 2, "{archives:?}");
    let listed = one.run_expecting(0, &["copies", "list", "--json"]);
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(
        listed.iter().all(|copy| copy["state"] == "present"),
        "{listed:?}"
    );
    one.run_expecting(0, &["verify", "latest"]);
}

/// Two machines whose services have the same schedule, and the clock of both.
struct Services {
    hubs: [Hub; 2],
    clocks: [Clock; 2],
    processes: [ServiceProcess; 2],
    /// When the schedule is due, soon: a store refuses requests of a clock that is wrong by a quarter of an hour.
    due: [Timestamp; 2],
}

impl Services {
    fn start(shared: &Shared, length: &str, prepare: impl Fn(&Hub)) -> Self {
        let minute = |minutes: i64| {
            let at = Timestamp::now() + SignedDuration::from_mins(minutes);
            Timestamp::from_second(at.as_second() / 60 * 60).unwrap()
        };
        let due = [minute(3), minute(6)];
        let cron = due.map(|at| (at.as_second() / 60 % 60).to_string());
        let (endpoint, cron) = (shared.server.endpoint(), cron.join(","));
        let mut hubs = [(); 2].map(|()| shared.machine(&endpoint, length, &cron));
        let now = Timestamp::now().to_string();
        let clocks = hubs.each_mut().map(|hub| Clock::of(hub, &now));
        hubs.iter().for_each(prepare);
        let processes = hubs.each_ref().map(ServiceProcess::start);
        for service in &processes {
            service.wait_for_log("next run at", 1);
        }
        Self {
            hubs,
            clocks,
            processes,
            due,
        }
    }

    fn set_clocks(&self, at: Timestamp) {
        for clock in &self.clocks {
            clock.set(&at.to_string());
        }
    }

    /// The first run: which machine is in its middle, and which one waits.
    fn begin(&self) -> (usize, usize) {
        self.set_clocks(self.due[0]);
        let has_begun = |hub: &Hub| hub.config().join("begun").exists();
        self.wait(|| self.hubs.iter().any(has_begun));
        let first = usize::from(has_begun(&self.hubs[1]));
        self.processes[1 - first].wait_for_log("waiting for the lease of s3", 1);
        (first, 1 - first)
    }

    fn logs(&self) -> String {
        self.processes.each_ref().map(ServiceProcess::log).concat()
    }

    fn wait(&self, condition: impl FnMut() -> bool) {
        wait_for(condition, || self.logs());
    }
}

#[test]
fn of_two_services_one_makes_each_run_and_both_know_it() {
    let shared = Shared::new("lease-services");
    let two = Services::start(&shared, "30 s", |_| ());
    for (due, runs) in two.due.into_iter().zip(1..) {
        two.set_clocks(due);
        two.wait(|| two.hubs.iter().all(|hub| backups(hub).len() >= runs));
        assert_eq!(backups(&two.hubs[0]), backups(&two.hubs[1]));
        assert_eq!(shared.archives().len(), runs, "{}", two.logs());
        let words = "was already done as backup";
        two.wait(|| two.logs().matches(words).count() >= runs);
    }
}

#[test]
fn a_service_in_a_new_directory_knows_which_run_was_missed() {
    let shared = Shared::new("lease-missed");
    let endpoint = shared.server.endpoint();
    // The run before was made by a machine that is no more.
    shared.machine(&endpoint, "30 s", "0").backup();
    let due = Timestamp::now() + SignedDuration::from_mins(2);
    let minute = (due.as_second() / 60 % 60).to_string();
    let mut hub = shared.machine(&endpoint, "30 s", &minute);
    let _clock = Clock::of(&mut hub, &(due + SignedDuration::from_mins(2)).to_string());
    let service = ServiceProcess::start(&hub);
    service.wait_for_log("missed the run due at", 1);
    wait_for(|| shared.archives().len() == 2, || service.log());
    assert_eq!(backups(&hub).len(), 2);
}

#[test]
fn who_waits_for_a_lease_waits_through_an_outage_that_is_longer_than_it() {
    let shared = Shared::new("lease-outage");
    let network = HttpFaults::start(shared.server.port());
    let one = shared.machine(&shared.server.endpoint(), "3 s", "0");
    let due = Timestamp::now() + SignedDuration::from_mins(2);
    let minute = (due.as_second() / 60 % 60).to_string();
    let mut other = shared.machine(&network.endpoint(), "3 s", &minute);
    let clock = Clock::of(&mut other, &Timestamp::now().to_string());
    let service = ServiceProcess::start(&other);
    service.wait_for_log("next run at", 1);
    let running = start(&one);
    clock.set(&due.to_string());
    service.wait_for_log("waiting for the lease of s3", 1);
    let status = stdout(&other.run(&["status"]));
    let status = status.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(status.contains("for the lease of s3, since 20"), "{status}");
    let status: Value = serde_json::from_slice(&other.run(&["status", "--json"]).stdout).unwrap();
    let wait = &status["waiting_for_lease"];
    let holder = wait["holder"].as_str().unwrap();
    assert!(holder.contains(", run "), "{wait}");
    network.fail("HEAD", "hubvault-lease", 40, HttpFault::Cut);
    wait_for(|| network.left() == 0, || service.log());
    go(&one);
    running.wait_with_output().unwrap();
    wait_for(|| shared.archives().len() == 2, || service.log());
    let log = service.log();
    assert!(!log.contains("failed"), "{log}");
    let status: Value = serde_json::from_slice(&other.run(&["status", "--json"]).stdout).unwrap();
    assert!(status["waiting_for_lease"].is_null(), "{status}");
}

/// Sends a signal to a service and to the process of its run, as if it were to the machine.
fn signal_all(hub: &Hub, service: &ServiceProcess, signal: Signal) {
    service.signal(signal);
    let lock = fs::read_to_string(hub.backups().join(".hubvault/run.lock")).unwrap();
    let (_, rest) = lock.split_once("process ").unwrap();
    let process = rest.split(' ').next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
}

#[test]
fn a_machine_that_crashes_in_its_run_is_replaced_by_another_one() {
    let shared = Shared::new("lease-crash");
    let two = Services::start(&shared, "12 s", |hub| {
        fs::write(hub.config().join("hold"), "").unwrap();
    });
    let (crashed, other) = two.begin();
    signal_all(&two.hubs[crashed], &two.processes[crashed], Signal::KILL);
    go(&two.hubs[other]);
    two.wait(|| !shared.archives().is_empty());
    assert_eq!(backups(&two.hubs[other]).len(), 1, "{}", two.logs());
    assert!(backups(&two.hubs[crashed]).is_empty());
    assert!(
        shared.archives()[0].ends_with(".2.tar.gz"),
        "the number of its lease"
    );
}

/// A machine that sleeps, until this is dropped.
struct Asleep<'a>(&'a Hub, &'a ServiceProcess);

impl<'a> Asleep<'a> {
    fn new(hub: &'a Hub, service: &'a ServiceProcess) -> Self {
        signal_all(hub, service, Signal::STOP);
        Self(hub, service)
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        signal_all(self.0, self.1, Signal::CONT);
    }
}

#[test]
fn a_machine_that_sleeps_in_its_run_doubles_nothing_when_it_wakes() {
    let shared = Shared::new("lease-wakes");
    let two = Services::start(&shared, "12 s", |hub| {
        fs::write(hub.config().join("hold"), "").unwrap();
    });
    let (sleeping, other) = two.begin();
    let (hub, service) = (&two.hubs[sleeping], &two.processes[sleeping]);
    let asleep = Asleep::new(hub, service);
    go(&two.hubs[other]);
    two.wait(|| !shared.archives().is_empty());
    go(hub);
    drop(asleep);
    service.wait_for_log("lost the lease", 1);
    service.wait_for_log("next attempt in 300 s", 1);
    hub.nothing_published();
    assert_eq!(shared.archives().len(), 1);
    two.set_clocks(two.due[1]);
    two.wait(|| two.hubs.iter().all(|hub| backups(hub).len() == 2));
    assert_eq!(backups(&two.hubs[0]), backups(&two.hubs[1]));
    assert_eq!(shared.archives().len(), 2, "{}", two.logs());
}
