//! One place under two names that do not show it.

use super::*;
use crate::catalog::DeliveryRecord;
use crate::publish::{leave_spool, probe};
use crate::remote::check_alone;
use hubvault_store::{Credentials, Lock, LockMode, ObjectOptions};
use hubvault_testkit::SftpServer;
use hubvault_testkit::object_store::{HttpFault, HttpFaults, S3Server};

/// The directory of a server by another name.
pub(super) fn by_sftp(server: &SftpServer) -> Destination {
    let mut again = Destination::new("again", Location::parse(&server.url()).unwrap());
    again.options.sftp.key_file = Some(server.key_file());
    again.options.sftp.known_hosts = Some(server.known_hosts());
    again
}

#[test]
fn a_silent_store_is_asked_for_one_thing_only() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far = Destination::new("far", Location::parse("s3://bucket").unwrap());
    far.options.object = ObjectOptions {
        endpoint: Some(format!("http://{}", silent.local_addr().unwrap())),
        anonymous: true,
        patience: Some(std::time::Duration::from_secs(1)),
        ..ObjectOptions::default()
    };
    let mut fixture = Fixture::new();
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([far]);
    let outcomes = fixture.outcomes();
    let error = outcomes[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("no answer within 1 second"), "{error}");
    silent.set_nonblocking(true).unwrap();
    assert_eq!(silent.incoming().map_while(Result::ok).count(), 2);
}

#[test]
fn one_place_under_two_names_is_found_out_and_holds_one_copy() {
    let server = SftpServer::start();
    let mut fixture = Fixture::new();
    let again = by_sftp(&server);
    let location = Location::Directory(server.directory().clone());
    let far = Destination::new("far", location);
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([far, again.clone()]);
    let same = "again is in the same place as far";
    let unusable = probe(&fixture.job.destinations, fixture.catalog.state());
    assert_eq!(unusable.len(), 1, "{unusable:?}");
    let (destination, unusable) = &unusable[0];
    assert_eq!(destination.name, "again");
    assert!(unusable.is_impossible && unusable.what.contains(same));

    let outcomes = fixture.outcomes();
    let failed: Vec<_> = outcomes.iter().filter_map(|it| it.error.clone()).collect();
    assert_eq!(failed.len(), 1, "{outcomes:?}");
    assert!(failed[0].contains(same), "{failed:?}");
    let there = server.directory().join(NAME);
    assert_eq!(fs::read(&there).unwrap(), fixture.whole);
    // Nothing else is left there.
    assert_eq!(fs::read_dir(server.directory()).unwrap().count(), 2);

    // What an earlier version recorded as two copies is one.
    let set = |copy: &mut BackupCopy| {
        copy.state = CopyState::Present;
        copy.location = Some(again.location.to_string());
        copy.error = None;
    };
    fixture.change("again", set);
    let error = fixture.remove("again").unwrap_err();
    assert!(error.contains(same), "{error}");
    fs::remove_file(fixture.local()).unwrap();
    let error = fixture.remove("far").unwrap_err();
    assert!(error.contains("is the only one"), "{error}");
    let checked = fixture.verify();
    let state = |name: &str| {
        let of = checked.iter().find(|it| it.destination == name);
        (
            of.unwrap().state,
            of.unwrap().error.clone().unwrap_or_default(),
        )
    };
    assert_eq!(state("far").0, CopyState::Present);
    assert!(state("again").1.contains(same), "{checked:?}");
    assert_eq!(state("again").0, CopyState::Missing);
    assert!(there.exists());
}

#[test]
fn an_archive_leaves_no_spool_for_the_same_place() {
    let server = SftpServer::start();
    let mut fixture = Fixture::new();
    let archive = server.directory().join(NAME);
    fs::write(&archive, &fixture.whole).unwrap();
    let again = by_sftp(&server);
    let (key, bytes) = (Key::parse(NAME).unwrap(), fixture.whole.len() as u64);
    let set = |record: &mut BackupRecord| {
        *record = record.found(&archive, bytes);
        record.copies[0].until_copied = true;
        record.copies.push(BackupCopy::stored(&again, &key, bytes));
        record.delivery = Some(DeliveryRecord::default());
    };
    fixture.catalog.change(fixture.id, set).unwrap();
    let spool = Destinations::local(server.directory()).spool_only();
    fixture.job.destinations = spool.with([again]);
    leave_spool(&fixture.job, &fixture.catalog).unwrap();
    assert!(archive.exists());
    assert_eq!(fixture.state("local"), CopyState::Present);
}

/// A destination at a bucket, by this endpoint.
pub(super) fn by_s3(name: &str, server: &S3Server, endpoint: String, lock: bool) -> Destination {
    let url = "s3://places-of-two-names/hub";
    let mut destination = Destination::new(name, Location::parse(url).unwrap());
    let key = server.owner();
    destination.options.object = ObjectOptions {
        endpoint: Some(endpoint),
        region: Some("us-east-1".into()),
        path_style: true,
        credentials: Some(Credentials::Key {
            id: key.id.into(),
            secret: key.secret.into(),
            token: None,
        }),
        ..ObjectOptions::default()
    };
    let mode = LockMode::Governance;
    destination.options.lock = lock.then_some(Lock { days: 1, mode });
    destination
}

#[test]
fn one_bucket_of_two_servers_is_found_out_with_locks_and_without() {
    let server = S3Server::shared();
    let proxy = HttpFaults::start(server.port());
    server.create_bucket("places-of-two-names", true);
    for locks in [[false, false], [true, false], [false, true], [true, true]] {
        let fixture = Fixture::new();
        let endpoints = [server.endpoint(), proxy.endpoint()];
        let [one, other] = ["one", "other"];
        let all = Destinations::local(fixture.here.path()).with([
            by_s3(one, &server, endpoints[0].clone(), locks[0]),
            by_s3(other, &server, endpoints[1].clone(), locks[1]),
        ]);
        let refused = if locks == [false, true] { one } else { other };
        let unusable = probe(&all, fixture.catalog.state());
        assert_eq!(unusable.len(), 1, "{locks:?} {unusable:?}");
        assert_eq!(unusable[0].0.name, refused, "{locks:?}");
        for destination in all.others() {
            let store = destination.open().unwrap();
            let alone = check_alone(destination, &*store, &all, fixture.catalog.state());
            assert_eq!(alone.is_err(), destination.name == refused, "{locks:?}");
        }
    }
}

#[test]
fn a_key_that_may_not_delete_is_enough_for_copies_and_leaves_one_tiny_object() {
    let server = S3Server::shared();
    server.create_bucket("nothing-is-deleted", false);
    let proxy = HttpFaults::start(server.port());
    proxy.fail("DELETE", "", 100, HttpFault::Refused(403, "AccessDenied"));
    let mut fixture = Fixture::new();
    let mut s3 = by_s3("s3", &server, proxy.endpoint(), false);
    s3.location = Location::parse("s3://nothing-is-deleted/hub").unwrap();
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([s3]);
    let all = &fixture.job.destinations;
    for _ in 0..3 {
        let unusable = probe(all, fixture.catalog.state());
        assert_eq!(unusable.len(), 1);
        let unusable = &unusable[0].1;
        assert!(
            unusable.only_keeps && !unusable.is_impossible,
            "{unusable:?}"
        );
        assert!(unusable.what.contains("deleting"), "{unusable:?}");
    }
    assert_eq!(fixture.sync(), None);
    fixture.verify();
    let store = all.others()[0].open().unwrap();
    let keys: Vec<_> = store
        .list("")
        .unwrap()
        .into_iter()
        .map(|it| it.key.to_string())
        .collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    // Once it may delete, nothing is left.
    let mut s3 = all.others()[0].clone();
    s3.options.object.endpoint = Some(server.endpoint());
    let all = Destinations::local(fixture.here.path()).with([s3]);
    assert!(probe(&all, fixture.catalog.state()).is_empty());
    assert_eq!(store.list("").unwrap().len(), 2);
}

#[test]
fn two_places_that_became_one_hold_one_copy() {
    let server = SftpServer::start();
    let mut fixture = Fixture::new();
    let deep = server.directory().join("deep");
    fs::create_dir(&deep).unwrap();
    let mut again = by_sftp(&server);
    again.location = again.location.below("deep");
    let location = Location::Directory(fixture.far.path().to_owned());
    let far = Destination::new("far", location);
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([far, again]);
    let outcomes = fixture.outcomes();
    assert!(outcomes.iter().all(|it| it.is_stored), "{outcomes:?}");
    fs::remove_file(fixture.local()).unwrap();
    // Now the server leads elsewhere.
    fs::rename(&deep, server.directory().join("before")).unwrap();
    std::os::unix::fs::symlink(fixture.far.path(), &deep).unwrap();
    let error = fixture.remove("far").unwrap_err();
    assert!(error.contains("is the only one"), "{error}");
    let error = fixture.remove("again").unwrap_err();
    assert!(error.contains("in the same place"), "{error}");
    assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
    fixture.verify();
    assert_eq!(fixture.state("far"), CopyState::Present);
    assert_eq!(fixture.state("again"), CopyState::Missing);
}

#[test]
fn two_places_are_compared_once() {
    let fixture = Fixture::new();
    let all = &fixture.job.destinations;
    let far = &all.others()[0];
    let store = far.open().unwrap();
    let open = || check_alone(far, &*store, all, fixture.catalog.state()).unwrap();
    open();
    let known = fixture.catalog.state().file("place-far");
    let before = fs::metadata(&known).unwrap().modified().unwrap();
    open();
    assert_eq!(fs::metadata(&known).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read_dir(fixture.far.path()).unwrap().count(), 0);
}
