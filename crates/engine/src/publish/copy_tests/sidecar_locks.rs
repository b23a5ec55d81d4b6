//! A sidecar that is locked longer than its archive.

use super::places::by_s3;
use super::*;
use hubvault_testkit::object_store::S3Server;

#[test]
fn a_sidecar_that_is_locked_longer_than_its_archive_waits_for_the_end_of_its_lock() {
    let server = S3Server::shared();
    server.create_bucket("locked-sidecar", true);
    for by_hand in [true, false] {
        let mut fixture = Fixture::new();
        let mut s3 = by_s3("s3", &server, server.endpoint(), true);
        s3.location = Location::parse(&format!("s3://locked-sidecar/{by_hand}")).unwrap();
        fixture.job.destinations = Destinations::local(fixture.here.path()).with([s3]);
        assert_eq!(fixture.sync(), None);
        let lock = || fixture.record().copy_at("s3").unwrap().locked_until;
        assert!(lock().is_some());
        let key = format!("/locked-sidecar/{by_hand}/{NAME}");
        assert_eq!(server.request("PUT", &key, &[], &fixture.whole).0, 200);
        assert!(fixture.verify().iter().all(|it| it.error.is_none()));
        assert_eq!(lock(), None);
        if by_hand {
            assert_eq!(fixture.remove("s3"), Ok(Removed::Copy));
        } else {
            fixture.change("s3", |copy| {
                copy.state = CopyState::Removed;
                copy.next_try_at = Some(Timestamp::now());
            });
        }
        assert_eq!(fixture.prune(), [""; 0]);
        assert_eq!(fixture.prune(), [""; 0]);
        assert_eq!(fixture.state("s3"), CopyState::Removed);
        assert_eq!(server.request("HEAD", &key, &[], &[]).0, 404);
        let now = Timestamp::now();
        let plan = retain::plan(&fixture.catalog, &fixture.job, false, now, &TimeZone::UTC);
        let plan = plan.unwrap();
        let at_s3 = plan.iter().find(|it| it.destination == "s3").unwrap();
        let reason = &at_s3.decision.reason;
        assert!(
            reason.contains("but for its sidecar: locked until"),
            "{reason}"
        );
    }
}
