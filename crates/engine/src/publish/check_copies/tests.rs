use super::*;
use crate::monitor::tests::job;
use crate::state::StateDir;

#[test]
fn what_another_process_recorded_meanwhile_stays() {
    let here = tempfile::tempdir().unwrap();
    let job = job(here.path());
    let catalog = Catalog::open(&StateDir::at(here.path())).unwrap();
    let mut record = BackupRecord::begun(BackupId::random(), "hub", Timestamp::now());
    record.copies = vec![BackupCopy::local(here.path().join("a"), Some(7))];
    catalog.finish(&record).unwrap();
    let check = Check {
        job: &job,
        catalog: &catalog,
        destination: job.destinations.first(),
        cancel: &Cancel::new(),
    };
    let note = || {
        let found = Found::wrong(CopyState::Missing, "it is not there any more");
        check.note(&record, &record.copies[0], Ok(found)).unwrap();
        let now = catalog.find(&record.id.to_string()).unwrap().unwrap();
        now.copies[0].state
    };
    catalog
        .change(record.id, |record| {
            record.copies[0].state = CopyState::Removed;
            record.copies[0].removed_at = Some(Timestamp::now());
        })
        .unwrap();
    assert_eq!(note(), CopyState::Removed);
    catalog
        .change(record.id, |record| {
            record.copies[0].state = CopyState::Present;
            record.copies[0].removed_at = None;
        })
        .unwrap();
    assert_eq!(note(), CopyState::Missing);
}
