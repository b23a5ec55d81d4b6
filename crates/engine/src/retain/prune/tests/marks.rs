//! What drills of other machines showed, wherever that is stored.

use super::*;
use crate::catalog::{FoundMark, ProofRecord};

/// Of each decision: the destination, the day, and whether it stays.
type Decisions = Vec<(String, i64, bool)>;

impl Fixture {
    /// The same, where the second one keeps everything.
    fn with_longer_rules() -> Self {
        let mut fixture = Self::new();
        let mut others = fixture.destinations.others().to_vec();
        others[1].rules.keep = Some(RetentionRules {
            keep_last: 100,
            ..RetentionRules::default()
        });
        let home = fixture.root.path().join("home");
        fixture.destinations = Destinations::local(&home).with(others);
        fixture
    }

    /// What another machine found at a destination.
    fn disprove(&self, record: &BackupRecord, destination: &str, day: i64) {
        let mark = serde_json::from_value(json!({ "name": "1-00000000" })).unwrap();
        let proof = ProofRecord::rejected("rows of users differ");
        let text = FoundMark { mark, proof }.text(record.id, false).unwrap();
        let archive = self.file(destination, day);
        fs::write(format!("{}.1-00000000.proof", archive.display()), text).unwrap();
    }

    /// Lets a destination not answer, or answer again.
    fn toggle(&self, destination: &str) {
        let here = self.root.path().join(destination);
        let away = self.root.path().join(format!("{destination}-away"));
        let (from, to) = if here.exists() {
            (here, away)
        } else {
            (away, here)
        };
        fs::rename(from, to).unwrap();
    }

    /// Without a copy at the second one.
    fn only_at_one(&self, record: &BackupRecord) {
        let forget = |record: &mut BackupRecord| record.copies.retain(|it| it.destination != "two");
        self.catalog.change(record.id, forget).unwrap();
    }

    fn days_at(&self, destination: &str) -> Vec<i64> {
        (-20..10)
            .filter(|day| self.file(destination, *day).exists())
            .collect()
    }
}

fn decisions(decided: &Decided<'_>) -> Decisions {
    let one = |it: &Pruned| {
        let since = it.record.started_at.as_second() - at(0).as_second();
        (it.destination.clone(), since / DAY, it.decision.keep)
    };
    decided.plan.iter().map(one).collect()
}

#[test]
fn what_is_decided_is_what_is_done_also_with_the_drills_and_pins_of_others() {
    let fixture = Fixture::new();
    let (_, pinned) = (fixture.stored(0), fixture.stored(1));
    let (_, new) = (fixture.stored(2), fixture.stored(8));
    fixture.disprove(&new, "one", 8);
    let pin = Pin::now("on another machine").text(pinned.id).unwrap();
    fs::write(format!("{}.pinned", fixture.file("two", 1).display()), pin).unwrap();
    let decided = fixture.decided();
    let all = decisions(&decided);
    for destination in ["one", "two"] {
        let here = all.iter().filter(|it| it.0 == destination);
        let kept: Vec<i64> = here.filter(|it| it.2).map(|it| it.1).collect();
        assert_eq!(kept, [8, 2, 1]);
        assert_eq!(fixture.days_at(destination), [0, 1, 2, 8]);
    }
    let disproved = decided.plan.iter().find(|it| it.record.id == new.id);
    assert_eq!(disproved.unwrap().record.state, State::Unproven);
    let applied = apply(&fixture.catalog, decided, at(9), &TimeZone::UTC).unwrap();
    assert_eq!((applied.removed, applied.problems.len()), (2, 0));
    for destination in ["one", "two"] {
        assert_eq!(fixture.days_at(destination), [1, 2, 8]);
    }
}

#[test]
fn a_destination_where_nothing_is_removed_is_asked_as_well() {
    let fixture = Fixture::with_longer_rules();
    fixture.stored(1);
    fixture.stored(2);
    let new = fixture.stored(8);
    fixture.disprove(&new, "two", 8);
    let applied = fixture.prune();
    assert_eq!((applied.removed, applied.problems.len()), (1, 0));
    assert_eq!(fixture.days_at("one"), [2, 8]);
    assert_eq!(fixture.days_at("two"), [1, 2, 8]);
    let known = fixture.catalog.find(&new.id.to_string()).unwrap().unwrap();
    assert_eq!(known.state, State::Unproven);
}

#[test]
fn while_one_does_not_answer_the_next_proven_one_and_the_last_that_is_beyond_doubt_stay() {
    let fixture = Fixture::with_longer_rules();
    for day in [1, 2] {
        fixture.only_at_one(&fixture.stored(day));
    }
    for day in [6, 7, 8] {
        fixture.stored(day);
    }
    fixture.toggle("two");
    for _ in 0..2 {
        let applied = fixture.prune();
        assert_eq!(fixture.days_at("one"), [2, 7, 8]);
        let [asked, next, sure] = applied.problems.as_slice() else {
            panic!("{applied:?}");
        };
        let why = "could not ask the destination two what drills of other machines showed: ";
        assert!(asked.starts_with(why), "{asked}");
        let why = "is kept at one until two can be asked whether newer backups failed a drill";
        assert!(next.ends_with(why) && sure.ends_with(why), "{applied:?}");
    }
    // A newer one that nobody else can have drilled is sufficient.
    fixture.toggle("two");
    fixture.only_at_one(&fixture.stored(9));
    fixture.toggle("two");
    let applied = fixture.prune();
    assert_eq!((applied.removed, applied.problems.len()), (3, 0));
    assert_eq!(fixture.days_at("one"), [9]);
    fixture.toggle("two");
    assert_eq!(fixture.days_at("two"), [1, 2, 6, 7, 8, 9]);
}

#[test]
fn what_was_kept_meanwhile_stays_if_the_newer_one_failed() {
    let fixture = Fixture::with_longer_rules();
    for day in [1, 2] {
        fixture.stored(day);
    }
    fixture.disprove(&fixture.stored(8), "two", 8);
    fixture.toggle("two");
    fixture.prune();
    assert_eq!(fixture.days_at("one"), [2, 8]);
    fixture.toggle("two");
    let applied = fixture.prune();
    assert_eq!((applied.removed, applied.problems.len()), (0, 0));
    assert_eq!(fixture.days_at("one"), [2, 8]);
}
