//! A failing disk under a restore, a prune or a pin: the command reports it, and the next try succeeds.

use crate::disk::SMALL;
use crate::disk_fault::{Calls, Disk, EACCES, EDQUOT, EIO, ENOSPC, EROFS, Fault, count, inject};
use crate::fault_harness::{FaultHarness, copy};
use crate::form::points;
use crate::hub::{Hub, stderr};
use crate::tally::Tally;
use hubvault_testkit::database_with;
use std::fs::{self, File};
use std::path::Path;

const KINDS: &str = "write,sync,rename,create,open,unlink";

/// So many faults, spread over so many calls.
fn faults(few: usize, calls: usize, errnos: &'static [i32]) -> impl Iterator<Item = Fault> {
    let wanted = points(few, 24).min(calls);
    (0..wanted).map(move |n| Fault {
        at: 1 + (2 * n + 1) * calls / (2 * wanted),
        errno: errnos[n % errnos.len()],
        stays: n % 2 == 0,
        is_short: n % 3 == 0,
    })
}

/// It failed, and says what, where, and what to do.
fn check_error(said: &str, code: Option<i32>) -> Result<(), String> {
    let last = said.split("error: ").nth(1).unwrap_or_default();
    if code != Some(1) || !last.contains('/') || !last.contains("; ") {
        return Err(format!("{code:?}: {said}"));
    }
    Ok(())
}

/// The files below a directory, with their content.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = fs::read_dir(directory)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                contents(&path)
            } else {
                vec![(
                    path.file_name().unwrap().to_string_lossy().into_owned(),
                    fs::read(&path).unwrap(),
                )]
            }
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_failing_disk_under_restored_files_is_reported() {
    let database = database_with(SMALL);
    let mut hub = Hub::with(
        &database,
        "[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"files\"\n",
    );
    let source = hub.config().join("files");
    fs::create_dir(&source).unwrap();
    for (name, size) in [("a.conf", 10), ("b.pem", 3_000), ("large", 300_000)] {
        fs::write(source.join(name), vec![b'x'; size]).unwrap();
    }
    hub.set("PROOF", "off");
    let (_, archive) = hub.backup();
    let into = hub.config().join("restored");
    let restore = ["restore", "latest", "--files", into.to_str().unwrap()];
    let calls = Calls {
        program: "hubvault",
        kinds: KINDS,
        place: format!("{}*", into.display()),
    };
    let whole = count(&hub, &calls, &restore);
    assert!(whole.output.status.success(), "{}", stderr(&whole.output));
    assert_eq!(contents(&into), contents(&source));
    let mut tally = Tally::new("disk-restore");
    for fault in faults(2, whole.calls.len(), &[ENOSPC, EIO, EACCES, EDQUOT, EROFS]) {
        fs::remove_dir_all(&into).unwrap();
        let ran = inject(&hub, &calls, fault, &restore);
        let call = ran.calls.concat();
        let outcome = check_error(&stderr(&ran.output), ran.output.status.code()).and_then(|()| {
            let _ = fs::remove_dir_all(&into);
            let again = hub.run(&restore);
            if !again.status.success() || contents(&into) != contents(&source) {
                return Err(format!("again: {}", stderr(&again)));
            }
            Ok(())
        });
        let what = format!("restore --files: {} fails", call.split(' ').next().unwrap());
        match outcome {
            Ok(()) => tally.passed(&what, "failed, said so; the next one is whole"),
            Err(why) => tally.failed(&what, &format!("{fault:?} {call}: {why}")),
        }
    }
    from_a_pipe(&hub, &archive, &mut tally);
    tally.finish();
}

/// An archive on standard input is kept in a file of the temporary directory.
fn from_a_pipe(hub: &Hub, archive: &Path, tally: &mut Tally) {
    let calls = Calls {
        program: "hubvault",
        kinds: "create,write,unlink",
        place: "*/hubvault-input-*".to_owned(),
    };
    for (at, errno) in [(1, EACCES), (2, EROFS), (3, ENOSPC)] {
        let fault = Fault {
            at,
            errno,
            stays: true,
            is_short: false,
        };
        let disk = Disk::new(&calls, Some(fault));
        let into = hub.config().join("piped");
        let ran = disk.run_with(
            hub,
            &["restore", "-", "--files", into.to_str().unwrap()],
            |command| {
                command.stdin(File::open(archive).unwrap());
            },
        );
        let what = "restore from a pipe: the copy of it fails";
        // A copy that the system makes without these calls is not seen, and no fault.
        if ran.calls.is_empty() {
            continue;
        }
        let outcome = check_error(&stderr(&ran.output), ran.output.status.code());
        match outcome {
            Ok(()) => tally.passed(what, "failed, said so"),
            Err(why) => tally.failed(what, &format!("{fault:?}: {why}")),
        }
    }
}

#[test]
fn a_failing_disk_under_prune_and_pin_loses_nothing() {
    let database = database_with(SMALL);
    let mut harness = FaultHarness::new(&database, "[retention]\nkeep_last = 1\n");
    let settings = database.settings();
    let on = format!(
        "host={} port={} dbname=postgres",
        settings.host, settings.port
    );
    harness.hub.set("PROOF_SERVER", on);
    harness.hub.set("BACKUP_RETENTION_DAYS", "30");
    for _ in 0..3 {
        harness.hub.backup();
    }
    harness.hub.set("BACKUP_RETENTION_DAYS", "0");
    let (backups, kept) = (harness.hub.backups(), harness.hub.config().join("kept"));
    copy(&backups, &kept);
    let before = harness.proven();
    let mut tally = Tally::new("disk-prune");
    for (command, few) in [(["prune"].as_slice(), 2), (["pin", "latest"].as_slice(), 1)] {
        copy(&kept, &backups);
        let calls = Calls {
            program: "hubvault",
            kinds: KINDS,
            place: format!("{}*", backups.display()),
        };
        let whole = count(&harness.hub, &calls, command);
        assert!(whole.output.status.success(), "{}", stderr(&whole.output));
        for fault in faults(few, whole.calls.len(), &[EACCES, EIO, ENOSPC, EROFS]) {
            copy(&kept, &backups);
            let ran = inject(&harness.hub, &calls, fault, command);
            let call = ran.calls.concat();
            let code = ran.output.status.code();
            let outcome = harness.check_consistency(&before).and_then(|()| {
                if code != Some(0) {
                    check_error(&stderr(&ran.output), code)?;
                }
                let again = harness.hub.run(command);
                if !again.status.success() {
                    return Err(format!("again: {}", stderr(&again)));
                }
                harness.check_consistency(&before)
            });
            let (kind, _) = call.split_once(' ').unwrap_or_default();
            let what = format!("{}: {kind} fails", command[0]);
            match outcome {
                Ok(()) if code == Some(0) => tally.passed(&what, "did not matter"),
                Ok(()) => tally.passed(&what, "failed, said so; the next one does the rest"),
                Err(why) => tally.failed(&what, &format!("{fault:?} {call}: {why}")),
            }
        }
    }
    tally.finish();
}
