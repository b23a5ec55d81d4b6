//! Directories of other users where hubvault lists or reads: very deep ones, closed ones, very many zeros.

use crate::attacker::attack;
use crate::hub::{HUBVAULT, stderr};
use crate::local_users::{hub, output_text};
use hubvault_testkit::open_directory;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// More than the files that a process usually may open.
const LEVELS: usize = 3_000;
const FILES: usize = 1_024;

/// A directory of directories, removed when dropped.
struct Deep(std::path::PathBuf);

impl Deep {
    fn below(directory: &Path) -> Self {
        let top = directory.join("deep");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        std::fs::create_dir(&top).unwrap();
        let mut at = openat(CWD, &top, flags, Mode::empty()).unwrap();
        for _ in 0..LEVELS {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        Self(top)
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        let removed = Command::new("rm").arg("-rf").arg(&self.0).status();
        assert!(removed.unwrap().success());
    }
}

#[test]
fn deep_directories_of_others_at_a_destination_stop_nothing() {
    let (_database, mut hub) = hub();
    let place = open_directory();
    hub.set(
        "BACKUP_DESTINATIONS",
        format!("file://{}", place.path().display()),
    );
    let _deep = Deep::below(place.path());
    for arguments in [
        &["backup"][..],
        &["copies", "sync"],
        &["copies", "list"],
        &["list"],
        &["catalog", "rebuild"],
        &["prune"],
    ] {
        let mut command = hub.command_of("sh");
        let limited = format!("ulimit -n {FILES} && exec \"$0\" \"$@\"");
        command.args(["-c", &limited, HUBVAULT]).args(arguments);
        let output = command.output().unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{arguments:?}: {:?} {}",
            output.status,
            output_text(&output)
        );
        assert!(
            !stderr(&output).contains("could not"),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn closed_directories_of_others_hide_no_copies() {
    let (_database, mut hub) = hub();
    let place = open_directory();
    let id = |flag: &str| -> u32 {
        let output = Command::new("id").args([flag, "postgres"]).output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        said.trim().parse().unwrap()
    };
    let (user, group) = (id("-u"), id("-g"));
    hub.set(
        "BACKUP_DESTINATIONS",
        format!("file://{}", place.path().display()),
    );
    // As `lost+found` is, which is root's.
    let made = attack(&format!("mkdir -m 000 {}/closed", place.path().display()));
    assert!(made.status.success());
    drop(hub.command(&["list"]));
    for path in [
        hub.config(),
        hub.config().join("hubvault.toml"),
        hub.backups(),
        hub.config().parent().unwrap().to_owned(),
    ] {
        chown(&path, Some(user), Some(group)).unwrap();
    }
    for arguments in [&["backup"][..], &["copies", "sync"]] {
        let mut command = hub.command(arguments);
        let output = command.uid(user).gid(group).output().unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{arguments:?}: {}",
            output_text(&output)
        );
        assert!(
            !stderr(&output).contains("could not"),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn what_others_put_among_files_that_are_backed_up_stops_no_backup() {
    let (_database, mut hub) = hub();
    let place = open_directory();
    let at = place.path().display();
    let planted = attack(&format!(
        "cd {at} && mkfifo pipe && ln -s /dev/zero zero && ln -s .. up && mkdir -m 000 closed && echo kept > kept &&
         printf x > \"$(printf 'a\\nb\\033[2J')\" && touch -d '2400-01-01' late && touch -d '1901-12-14' early &&
         ln -s \"$(head -c 4000 /dev/zero | tr '\\0' y)\" long"
    ));
    assert!(planted.status.success(), "{planted:?}");
    let _deep = Deep::below(place.path());
    hub.write(&format!(
        "[scope]\ntables = [\"*\"]\n[[file]]\nsource = \"{at}\"\n"
    ));
    let (record, archive) = hub.backup();
    let warnings = record["warnings"].to_string();
    assert!(warnings.contains("lies too deep"), "{warnings:.2000}");
    let shown = hub.run_expecting(0, &["show", archive.to_str().unwrap()]);
    assert!(
        output_text(&shown).contains("/kept "),
        "{}",
        output_text(&shown)
    );
    let verified = hub.run(&["verify", archive.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", stderr(&verified));
}
