//! What others put beside an archive takes no proof away, and hides none; what failed is said of the right thing.

use super::drills::{failed, proven};
use super::*;
use crate::publish::{Rejection, drill_rejected};
use crate::remote::Backup;
use hubvault_archive::Identities;
use std::os::unix::fs::chown;

/// `nobody`.
const STRANGER: u32 = 65534;

impl Fixture {
    fn junk(&self, count: usize) {
        for number in 0..count {
            let name = format!("{}.99-{number:08}.proof", self.there().display());
            fs::write(name, "x").unwrap();
        }
    }

    fn rejected(&self, backup: &Backup, of_file: bool) -> Option<Rejection> {
        let said = (of_file, "rows of users differ");
        drill_rejected(&self.job, &self.catalog, backup, said, &Cancel::new()).unwrap()
    }

    /// With a drill that proved it, whose mark is beside both copies.
    fn drilled() -> Self {
        let fixture = Self::new();
        fixture.drill(&proven());
        assert_eq!(fixture.sync(), None);
        assert_eq!(fixture.store().len(), 0);
        fixture
    }

    fn is_proven_everywhere(&self) {
        assert!(self.is_proven() && self.other_machine().is_proven());
        assert_eq!(self.record().unread_marks(), 0);
        for path in [self.local(), self.there()] {
            let known = Backup::at(path).contents(&Identities::none()).unwrap();
            assert!(known.proof.unwrap().proven);
        }
    }

    fn is_untouched(&self) {
        let record = self.record();
        assert_eq!(record.state, State::Proven, "{:?}", record.proof);
        assert!(record.drill_mark.is_none());
        assert_eq!(self.store().len(), 0);
        let marks = [self.local(), self.there()].map(|it| Self::marks(&it).len());
        assert_eq!(marks, [0, 0]);
    }
}

#[test]
fn what_is_no_mark_hides_none_that_failed() {
    for (count, looks) in [(8, 0), (100, 0), (300, 2)] {
        let fixture = Fixture::drilled();
        fixture.put("1-cccccccc", &[], &failed());
        fixture.junk(count);
        let other = fixture.other_machine();
        for _ in 0..looks {
            // As long as it is not read, it is said.
            assert!(other.is_proven() && other.record().unread_marks() > 0);
            other.learn();
        }
        assert!(!other.is_proven(), "{count}");
        assert_eq!(other.record().unread_marks(), 0, "{count}");
    }
}

#[test]
fn a_mark_of_another_user_says_nothing_and_goes_nowhere() {
    let fixture = Fixture::drilled();
    let own = fixture.record().drill_mark.unwrap().name;
    for number in 0..200 {
        let mark = fixture.put(&format!("{}-aaaaaaaa", 10 + number), &[], &failed());
        // Only root can give a file away.
        if chown(&mark, Some(STRANGER), None).is_err() {
            return;
        }
    }
    fixture.learn();
    fixture.is_proven_everywhere();
    // What we know besides is taken into account all the same, and nothing of theirs is in it.
    fixture.put("1-cccccccc", &[], &failed());
    fixture.learn();
    assert!(!fixture.is_proven());
    fixture.drill(&proven());
    assert_eq!(fixture.store().len(), 0);
    fixture.is_proven_everywhere();
    assert_eq!(Fixture::marks(&fixture.local()).len(), 1);
    let mut after = fixture.record().drill_mark.unwrap().after;
    after.retain(|name| *name != own);
    assert_eq!(after, ["1-cccccccc"]);
    // They are removed with their archive.
    fixture.remove("far").unwrap();
    assert_eq!(Fixture::marks(&fixture.there()).len(), 0);
}

#[test]
fn more_marks_than_are_read_are_recorded_until_drills_saw_them() {
    let fixture = Fixture::drilled();
    for number in 0..150 {
        fixture.put(&format!("{}-aaaaaaaa", 10 + number), &[], &failed());
    }
    fixture.learn();
    assert!(!fixture.is_proven() && fixture.record().unread_marks() > 0);
    fixture.drill(&proven());
    fixture.store();
    assert!(!fixture.is_proven());
    for _ in 0..2 {
        fixture.learn();
        fixture.drill(&proven());
        assert_eq!(fixture.store().len(), 0);
    }
    fixture.is_proven_everywhere();
}

#[test]
fn a_rotten_file_says_nothing_of_its_backup() {
    for (is_recorded, of_file) in [(true, true), (true, false), (false, true), (false, false)] {
        let fixture = Fixture::new();
        if is_recorded {
            assert_eq!(fixture.sync(), None);
        }
        fs::write(fixture.local(), fixture.rotten()).unwrap();
        let said = fixture.rejected(&Backup::at(fixture.local()), of_file);
        let Some(Rejection::Copy { destination, .. }) = said else {
            panic!("{said:?}");
        };
        assert_eq!(destination, "local");
        assert_eq!(fixture.state("local"), CopyState::Damaged);
        if is_recorded {
            fixture.is_untouched();
            assert_eq!(fixture.state("far"), CopyState::Present);
        }
        assert_eq!(fixture.record().state, State::Proven);
        assert_eq!(
            fixture.record().state_text().contains("0 of 1"),
            !is_recorded
        );
    }
}

#[test]
fn a_rotten_copy_elsewhere_is_damaged_and_made_again() {
    for whole in [false, true] {
        let fixture = Fixture::new();
        assert_eq!(fixture.sync(), None);
        let archives = fixture.stored();
        let backup = Backup::of(archives.clone(), archives.find(NAME).unwrap());
        let content = if whole {
            &fixture.rotten()[..]
        } else {
            b"no archive"
        };
        fs::write(fixture.there(), content).unwrap();
        let said = fixture.rejected(&backup, true);
        assert!(
            matches!(&said, Some(Rejection::Copy { destination, .. }) if destination == "far"),
            "{said:?}"
        );
        fixture.is_untouched();
        assert_eq!(fixture.state("far"), CopyState::Damaged);
        assert_eq!(fixture.sync(), None);
        assert_eq!(fs::read(fixture.there()).unwrap(), fixture.whole);
        assert_eq!(fixture.state("far"), CopyState::Present);
    }
}

#[test]
fn only_what_was_stored_and_cannot_be_restored_makes_a_backup_unproven() {
    for is_recorded in [true, false] {
        let fixture = Fixture::new();
        if is_recorded {
            assert_eq!(fixture.sync(), None);
        }
        let here = Backup::at(fixture.local());
        // Reading it failed, and does not any more.
        let said = fixture.rejected(&here, true);
        assert!(matches!(said, Some(Rejection::Nothing { .. })), "{said:?}");
        assert_eq!(fixture.record().state, State::Proven);
        let said = fixture.rejected(&here, false);
        assert_eq!(said, Some(Rejection::Backup(fixture.id)));
        assert!(!fixture.is_proven());
        assert_eq!(fixture.state("local"), CopyState::Present);
        assert_eq!(fixture.store().len(), 0);
        assert_eq!(Fixture::marks(&fixture.local()).len(), 1);
    }
}

#[test]
fn another_archive_in_its_place_says_nothing_of_the_backup() {
    let fixture = Fixture::new();
    // Whole by itself, and no checksum of the one that was made is recorded: its sidecar describes another one.
    fs::write(fixture.local(), samples::archive(fixture.id, &[30_000]).0).unwrap();
    let said = fixture.rejected(&Backup::at(fixture.local()), false);
    assert!(matches!(said, Some(Rejection::Copy { .. })), "{said:?}");
    assert_eq!(fixture.state("local"), CopyState::Damaged);
    assert!(fixture.record().copy_at("local").unwrap().sha256.is_none());
    assert_eq!(fixture.record().state, State::Proven);
    // A file that is no copy of it says nothing at all.
    let elsewhere = fixture.here.path().join("elsewhere.tar.gz");
    fs::write(&elsewhere, &fixture.whole).unwrap();
    assert_eq!(fixture.rejected(&Backup::at(elsewhere), false), None);
}
