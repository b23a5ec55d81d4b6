use super::*;

fn operation() -> Operation {
    Operation::new(BackupId::random(), Action::Drill, "ana")
}

#[test]
fn an_operation_is_known_from_its_files_until_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let all = Operations::of(StateDir::at(directory.path()));
    let one = operation();
    all.record(&one).unwrap();
    assert_eq!(all.find(one.id).as_ref(), Some(&one));
    assert_eq!(all.standing(&one, true), Standing::Starting);
    assert_eq!(all.standing(&one, false), Standing::Crashed);
    let lock = all.lock(&one).unwrap();
    assert_eq!(all.at_work("check"), Some(one.clone()));
    assert_eq!(all.standing(&one, false), Standing::Running(None));
    assert!(all.lock(&operation()).is_err());
    all.end(one.id, Outcome::Failed, Some("why".to_owned()))
        .unwrap();
    let Standing::Ended(ended) = all.standing(&one, true) else {
        panic!("it ended");
    };
    assert_eq!(ended.error.as_deref(), Some("why"));
    drop(lock);
    assert_eq!(all.at_work("check"), None);
}

#[test]
fn what_fails_after_somebody_stopped_it_says_who() {
    let directory = tempfile::tempdir().unwrap();
    let all = Operations::of(StateDir::at(directory.path()));
    let one = operation();
    all.record(&one).unwrap();
    all.stop(one.id, "eva").unwrap();
    all.end(one.id, Outcome::Done, None).unwrap();
    assert_eq!(all.ended(one.id).unwrap().outcome, Outcome::Done);
    all.end(one.id, Outcome::Failed, None).unwrap();
    let ended = all.ended(one.id).unwrap();
    assert_eq!(
        (ended.outcome, ended.error.as_deref()),
        (Outcome::Stopped, Some("stopped by eva"))
    );
}

#[test]
fn the_oldest_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let all = Operations::of(StateDir::at(directory.path()));
    let first = operation();
    all.record(&first).unwrap();
    all.answer_file(first.id).unwrap();
    for _ in 0..=KEPT {
        all.record(&operation()).unwrap();
    }
    assert!(all.find(first.id).is_none());
    assert!(!all.file(first.id, "answer").exists());
    assert_eq!(all.list().len(), KEPT + 1);
}
