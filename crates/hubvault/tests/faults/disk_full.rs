//! A file system that is full, out of inodes, or read-only, before a run and during it.

use crate::disk::{harness, mail_server};
use crate::disk_consistency::{check_backup, next_is_proven};
use crate::disk_fault::Ran;
use crate::disk_space::{Room, room};
use crate::fault_harness::FaultHarness;
use crate::form::points;
use crate::hub::{stderr, stdout};
use crate::tally::Tally;
use hubvault_testkit::database_with;

/// Rows whose text takes twice the room that they have in the table, so that more is needed than a plan can see.
pub(crate) const GROWING: &str = "CREATE TABLE noise (id int PRIMARY KEY, v bytea);
    ALTER TABLE noise ALTER v SET STORAGE EXTERNAL;
    INSERT INTO noise SELECT n, (SELECT string_agg(sha256((n || ' ' || i)::bytea), '') FROM generate_series(1, 64) i)
        FROM generate_series(1, 1000) n;
    ANALYZE;";

/// Makes a command for `sh -c`.
type InRoom = fn(&Room) -> String;

/// What happens to the file system before a run, or at its hook.
struct Case {
    what: &'static str,
    before: fn(&Room, u64),
    /// A command before this stage.
    hook: Option<(&'static str, InRoom)>,
}

fn nothing(_: &Room, _: u64) {}

fn fills(room: &Room) -> String {
    format!(
        "cat /dev/zero > {} 2> /dev/null; true",
        room.ballast().display()
    )
}

const CASES: [Case; 9] = [
    Case {
        what: "full while the rows are written",
        before: |room, archive| room.leave(archive * 4 / 5),
        hook: None,
    },
    Case {
        what: "read-only from the drill on",
        before: nothing,
        hook: Some(("drill", |room| room.read_only_command(true))),
    },
    Case {
        what: "no inode free",
        before: |room, _| room.take_inodes(),
        hook: None,
    },
    Case {
        what: "too full for what the plan expects",
        before: |room, archive| room.leave(archive / 8),
        hook: None,
    },
    Case {
        what: "not a byte free",
        before: |room, _| room.leave(0),
        hook: None,
    },
    Case {
        what: "full from reading back on",
        before: nothing,
        hook: Some(("integrity", fills)),
    },
    Case {
        what: "full from publishing on",
        before: nothing,
        hook: Some(("publish", fills)),
    },
    Case {
        what: "read-only",
        before: |room, _| room.set_read_only(true),
        hook: None,
    },
    Case {
        what: "read-only from publishing on",
        before: nothing,
        hook: Some(("publish", |room| room.read_only_command(true))),
    },
];

#[test]
fn a_full_or_read_only_file_system_is_reported_correctly() {
    let name = "disk_full::a_full_or_read_only_file_system_is_reported_correctly";
    let Some(room) = room(name, "size=24m,nr_inodes=200") else {
        return;
    };
    let database = database_with(GROWING);
    let mail = mail_server();
    let mut harness = harness(&database, &mail);
    room.takes(&harness);
    let (record, _) = harness.hub.backup();
    harness.hub.backup();
    let archive = record["bytes"].as_u64().unwrap();
    let mut tally = Tally::new("disk-full");
    // In the short form the first three.
    for case in CASES.into_iter().take(points(3, CASES.len())) {
        let (before, known) = (harness.proven(), harness.list().unwrap().len());
        let hook = case.hook.map_or_else(String::new, |(stage, command)| {
            let command = command(&room);
            format!("[[hook]]\nstage = \"{stage}\"\nwhen = \"before\"\ncommand = \"{command}\"\n")
        });
        harness.add(&hook);
        (case.before)(&room, archive);
        let ran = Ran {
            calls: Vec::new(),
            output: harness.hub.run(&["backup", "--json"]),
        };
        let mut read = reads(&harness);
        if case.what.contains("inode") && !finds_inodes(&harness) {
            read = Err("check disk does not see that there is no inode".to_owned());
        }
        room.clear();
        harness.add("");
        let outcome = read.and_then(|()| check_backup(&harness, &ran, &before, known, &mail));
        let outcome = outcome.and_then(|ended| next_is_proven(&harness).map(|()| ended));
        println!("{}: {outcome:?}", case.what);
        match outcome {
            Ok(ended) => tally.passed(case.what, &ended),
            Err(why) => tally.failed(case.what, &why),
        }
    }
    tally.finish();
}

/// Whatever the disk is, what is on it can be looked at and brought back.
fn reads(harness: &FaultHarness) -> Result<(), String> {
    let look: [&[&str]; 4] = [
        &["list", "--json"],
        &["show", "latest"],
        &["verify", "latest"],
        &["check", "disk"],
    ];
    for command in look {
        let output = harness.hub.run(command);
        // A check may find that there is too little room.
        let found = command[0] == "check" && stdout(&output).contains("free in");
        if !output.status.success() && !found {
            return Err(format!("{command:?} meanwhile: {}", stderr(&output)));
        }
    }
    Ok(())
}

fn finds_inodes(harness: &FaultHarness) -> bool {
    let output = harness.hub.run(&["check", "disk"]);
    output.status.code() == Some(1) && stdout(&output).contains("inodes")
}
