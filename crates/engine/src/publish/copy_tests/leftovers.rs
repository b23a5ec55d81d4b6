//! What earlier versions left at a destination beside archives that they removed there.

use super::drills::proven;
use super::places::by_s3;
use super::*;
use crate::publish::remove_unfinished;
use hubvault_testkit::object_store::{HttpFault, HttpFaults, S3Server};

const GONE: &str = "critical_backup_20260130_020000.tar.gz";
const OTHER: &str = "critical_backup_20260129_020000.tar.gz";

impl Fixture {
    /// The record of a backup whose copy at `far` is in this state.
    fn recorded(&self, name: &str, state: CopyState) {
        let at = Timestamp::now() - jiff::SignedDuration::from_hours(48);
        let mut record = BackupRecord::begun(BackupId::random(), "hub", at);
        record.state = State::Proven;
        let far = &self.job.destinations.others()[0];
        let key = Key::parse(name).unwrap();
        let mut copy = BackupCopy::stored(far, &key, 7);
        copy.state = state;
        copy.removed_at = (state == CopyState::Removed).then(Timestamp::now);
        record.copies.push(copy);
        self.catalog.finish(&record).unwrap();
    }

    fn sweep(&self) -> Vec<String> {
        remove_unfinished(&self.job, &self.catalog, &|_| true)
    }
}

#[test]
fn what_lies_beside_own_archives_that_are_gone_is_removed() {
    let fixture = Fixture::new();
    fixture.drill(&proven());
    assert_eq!(fixture.sync(), None);
    assert!(fixture.store().is_empty());
    fixture.recorded(GONE, CopyState::Removed);
    fixture.recorded(OTHER, CopyState::Missing);
    let endings = [".1-00000000.proof", ".pinned", ".manifest.json"];
    let beside =
        |name: &str| endings.map(|ending| fixture.far.path().join(format!("{name}{ending}")));
    let unknown = "critical_backup_20250101_020000.tar.gz";
    for file in [GONE, OTHER, unknown].iter().flat_map(|name| beside(name)) {
        fs::write(file, "x").unwrap();
    }
    let notes = fixture.far.path().join("notes.pinned");
    fs::write(&notes, "x").unwrap();
    let before = fs::read_dir(fixture.far.path()).unwrap().count();
    assert_eq!(fixture.sweep(), [""; 0]);
    assert!(beside(GONE).iter().all(|file| !file.exists()));
    // Others', what is to be made again, and what lies beside the copy that is there.
    assert_eq!(
        fs::read_dir(fixture.far.path()).unwrap().count(),
        before - 3
    );
    // It is there after all: nothing of it is taken.
    for file in beside(GONE) {
        fs::write(file, "x").unwrap();
    }
    fs::write(fixture.far.path().join(GONE), "whole").unwrap();
    assert_eq!(fixture.sweep(), [""; 0]);
    assert!(beside(GONE).iter().all(|file| file.exists()));
}

#[test]
fn what_cannot_be_removed_is_said_once() {
    let server = S3Server::shared();
    server.create_bucket("leftovers", false);
    let proxy = HttpFaults::start(server.port());
    let mut far = by_s3("far", &server, proxy.endpoint(), false);
    far.location = Location::parse("s3://leftovers").unwrap();
    let mut fixture = Fixture::new();
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([far]);
    fixture.recorded(GONE, CopyState::Removed);
    let mark = format!("/leftovers/{GONE}.1-00000000.proof");
    assert_eq!(server.request("PUT", &mark, &[], b"x").0, 200);
    proxy.fail(
        "DELETE",
        ".proof",
        2,
        HttpFault::Refused(403, "AccessDenied"),
    );
    let said = fixture.sweep();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("could not remove a leftover"), "{said:?}");
    assert!(said[0].contains("give the key the right"), "{said:?}");
    assert_eq!(fixture.sweep(), [""; 0]);
    assert_eq!(proxy.left(), 0);
    assert_eq!(fixture.sweep(), [""; 0]);
    assert_eq!(server.request("GET", &mark, &[], b"").0, 404);
}
