//! Servers by SFTP: on which filesystem the copies are, whose files are believed, and whether there is room.

use super::drills::{failed, proven};
use super::places::by_sftp;
use super::*;
use crate::disk::filesystem;
use crate::publish::local_copies::no_room;
use crate::publish::{find_absent, moved_destinations};
use crate::remote::Archives;
use hubvault_testkit::{SftpServer, SftpServerOptions};
use jiff::SignedDuration;
use std::os::unix::fs::chown;

/// `nobody`.
const STRANGER: u32 = 65534;

/// A backup here, and a server by SFTP called `again`.
fn with_server(options: &SftpServerOptions) -> (Fixture, SftpServer) {
    let server = SftpServer::with(options);
    let mut fixture = Fixture::new();
    fixture.job.destinations = Destinations::local(fixture.here.path()).with([by_sftp(&server)]);
    (fixture, server)
}

impl Fixture {
    fn moved(&self) -> Vec<String> {
        moved_destinations(&self.job, &self.catalog).unwrap()
    }

    /// One more backup, a day older.
    fn older(&self) -> BackupId {
        let id = BackupId::random();
        let (bytes, manifest) = archive(id);
        let local = self
            .here
            .path()
            .join("critical_backup_20260130_020000.tar.gz");
        fs::write(&local, &bytes).unwrap();
        sidecar(manifest).write(&local).unwrap();
        let at = Timestamp::now() - SignedDuration::from_hours(24);
        let mut record = BackupRecord::begun(id, "hub", at).found(&local, bytes.len() as u64);
        record.state = State::Proven;
        record.bytes = Some(bytes.len() as u64);
        record.pinned = true;
        self.catalog.finish(&record).unwrap();
        id
    }
}

#[test]
fn nothing_is_copied_beside_a_disk_that_is_not_mounted_on_a_server() {
    let (fixture, server) = with_server(&SftpServerOptions::default());
    assert_eq!(fixture.sync(), None);
    let known = || {
        fixture
            .record()
            .copy_at("again")
            .unwrap()
            .filesystem
            .clone()
    };
    let here = format!("{:016x}", filesystem(&server.directory()).unwrap());
    assert_eq!(known(), Some(here.clone()));
    assert_eq!(fixture.moved(), [""; 0]);
    // The same disk under another number: what was stored is there.
    fixture.change("again", |copy| copy.filesystem = Some("another".to_owned()));
    assert_eq!(fixture.moved(), [""; 0]);
    let (there, disk) = (
        server.directory(),
        server.directory().with_extension("disk"),
    );
    fs::rename(&there, &disk).unwrap();
    fs::create_dir(&there).unwrap();
    let other = fixture.older();
    assert!(fixture.outcomes().iter().all(|it| !it.is_stored));
    let record = fixture.catalog.find(&other.to_string()).unwrap().unwrap();
    let why = record.copy_at("again").unwrap().error.clone().unwrap();
    assert!(why.contains("is its disk mounted?"), "{why}");
    assert_eq!(fs::read_dir(&there).unwrap().count(), 0);
    let [said] = &fixture.moved()[..] else {
        panic!("{:?}", fixture.moved());
    };
    for words in [
        "nothing is copied to again: sftp://",
        "mount it and run hubvault copies sync",
    ] {
        assert!(said.contains(words), "{said}");
    }
    // Mounted again.
    fs::remove_dir(&there).unwrap();
    fs::rename(&disk, &there).unwrap();
    assert!(fixture.outcomes().iter().all(|it| it.is_stored));
    let record = fixture.catalog.find(&other.to_string()).unwrap().unwrap();
    assert_eq!(record.copy_at("again").unwrap().filesystem, Some(here));
}

#[test]
fn a_server_that_tells_no_filesystem_takes_copies_all_the_same() {
    let (fixture, server) = with_server(&SftpServerOptions {
        without: "statvfs",
        ..SftpServerOptions::default()
    });
    assert_eq!(fixture.sync(), None);
    assert_eq!(fixture.record().copy_at("again").unwrap().filesystem, None);
    assert_eq!(fixture.moved(), [""; 0]);
    fs::remove_file(server.directory().join(NAME)).unwrap();
    find_absent(&fixture.job, &fixture.catalog, None, &Cancel::new()).unwrap();
    assert_eq!(fixture.state("again"), CopyState::Missing);
    assert_eq!(fixture.sync(), None);
}

#[test]
fn what_another_user_of_a_server_left_proves_nothing() {
    let (fixture, server) = with_server(&SftpServerOptions::default());
    fixture.drill(&proven());
    assert_eq!(fixture.sync(), None);
    assert!(fixture.store().is_empty());
    let there = server.directory().join(NAME);
    let mark = fixture.put_beside(&there, "99-aaaaaaaa", &failed());
    // Only root can give a file away.
    if chown(&mark, Some(STRANGER), None).is_err() {
        return;
    }
    fixture.learn();
    assert!(fixture.is_proven());
    let archives =
        || Archives::open(&fixture.job.destinations.others()[0], &Cancel::new()).unwrap();
    let sidecar = || {
        let archives = archives();
        archives
            .sidecar(&archives.list().unwrap()[0])
            .unwrap()
            .unwrap()
    };
    assert!(sidecar().proof.proven);
    chown(Sidecar::path(&there), Some(STRANGER), None).unwrap();
    let proof = sidecar().proof;
    let why = proof.reason.unwrap_or_default();
    assert!(
        !proof.proven && why.contains("another user (uid 65534)"),
        "{why}"
    );
    // Whose the directory is, is believed.
    chown(server.directory(), Some(STRANGER), None).unwrap();
    assert!(sidecar().proof.proven);
    fixture.learn();
    assert!(!fixture.is_proven());
}

#[test]
fn what_a_disk_has_no_room_for_is_not_sent() {
    // Only root can make one that is small.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (fixture, server) = with_server(&SftpServerOptions {
        room: Some(8 << 10),
        ..SftpServerOptions::default()
    });
    let error = fixture.sync().unwrap();
    assert!(
        error.contains("and the archive needs") && error.contains(" kB is free there"),
        "{error}"
    );
    assert_eq!(fixture.state("again"), CopyState::Pending);
    assert!(!server.directory().join(NAME).exists());
    // Nor is anything brought back that the directory here has no room for.
    let mut task = fixture.task(None);
    let here = fixture.job.destinations.first();
    assert_eq!(no_room(here, std::slice::from_ref(&task)), None);
    task.bytes = u64::MAX / 4;
    let why = no_room(here, &[task]).unwrap();
    assert!(
        why.contains("free, and bringing archives back needs"),
        "{why}"
    );
}
