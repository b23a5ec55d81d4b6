//! What is known of copies that were found at a destination.

use super::places::by_s3;
use super::*;
use crate::job::LeaseOptions;
use crate::publish::adopt;
use crate::remote::{Archives, rebuild_from};
use hubvault_archive::{hex, seal};
use hubvault_testkit::object_store::S3Server;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::Duration;

const PUBLIC: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

#[test]
fn a_rebuild_knows_the_locks_of_what_it_finds() {
    let server = S3Server::shared();
    server.create_bucket("rebuilt-locks", true);
    let mut fixture = Fixture::new();
    let mut s3 = by_s3("s3", &server, server.endpoint(), true);
    s3.location = Location::parse("s3://rebuilt-locks/hub").unwrap();
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([s3.clone()]);
    assert_eq!(fixture.sync(), None);
    let lock = |catalog: &Catalog| {
        let record = catalog.find(&fixture.id.to_string()).unwrap().unwrap();
        record.copy_at("s3").unwrap().locked_until
    };
    let known = lock(&fixture.catalog);
    assert!(known.is_some());
    // A new catalog, and one that knew the copy without its lock.
    let other = tempfile::tempdir().unwrap();
    let other = Catalog::open(&crate::state::StateDir::at(other.path())).unwrap();
    fixture.change("s3", |copy| copy.locked_until = None);
    for catalog in [&other, &fixture.catalog] {
        let archives = Archives::open(&s3, &Cancel::new()).unwrap();
        let open = || Ok(Catalog::open(catalog.state()).unwrap());
        rebuild_from(open, &archives, false).unwrap();
        assert_eq!(lock(catalog), known);
    }
}

/// Two sealed archives of one size with each other's sidecars, and a third one with its own.
#[test]
fn a_machine_with_the_lease_believes_no_sidecar_of_another_sealed_archive() {
    let mut fixture = Fixture::new();
    fixture.job.lease = Some(LeaseOptions {
        destination: "far".to_owned(),
        lasts: Duration::from_mins(1),
    });
    let made: Vec<_> = (0..3)
        .map(|_| {
            let id = BackupId::random();
            let (bytes, manifest) = archive(id);
            let (mut writer, _) = seal(Vec::new(), &[PUBLIC.parse().unwrap()]).unwrap();
            writer.write_all(&bytes).unwrap();
            let (bytes, sha256) = writer.finish().unwrap();
            let seal = Seal {
                sealed_to: vec![PUBLIC.to_owned()],
                sha256,
                head_sha256: Some(hex(&Sha256::digest(&bytes[..4096]))),
            };
            let mut sidecar = sidecar(manifest);
            sidecar.proof = drills::proven();
            sidecar.seal = Some(seal);
            (id, bytes, sidecar)
        })
        .collect();
    for (at, (of, beside)) in [(0, 1), (1, 0), (2, 2)].into_iter().enumerate() {
        let name = format!("critical_backup_2026020{}_020000.7.tar.gz.age", at + 1);
        let file = fixture.far.path().join(name);
        fs::write(&file, &made[of].1).unwrap();
        made[beside].2.write(&file).unwrap();
    }
    adopt(&fixture.job, &fixture.catalog, &Cancel::new()).unwrap();
    for (at, (id, ..)) in made.iter().enumerate() {
        let record = fixture.catalog.find(&id.to_string()).unwrap().unwrap();
        let is_its = at == 2;
        let (state, proof) = (record.copies[0].state, record.state);
        assert_eq!(state == CopyState::Present, is_its, "{record:?}");
        assert_eq!(proof == State::Proven, is_its, "{record:?}");
    }
}
