//! Backups to a mount that keeps no modes of its own.

use crate::hub::{HUBVAULT, Hub, stderr, stdout};
use hubvault_testkit::database_with;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The library that makes every directory such a mount.
fn library() -> PathBuf {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/mount_modes.c");
    let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mount_modes.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([made.as_os_str(), here.as_ref(), "-ldl".as_ref()])
        .status();
    assert!(status.unwrap().success());
    made
}

fn on_mount(hub: &Hub, library: &str, mode: &str, arguments: &[&str]) -> Output {
    let set = format!("umask 0; export MOUNT_MODE={mode} LD_PRELOAD={library}; exec \"$0\" \"$@\"");
    let mut shell = hub.command_of("sh");
    shell.args(["-c", &set, HUBVAULT]).args(arguments);
    shell.output().unwrap()
}

#[test]
fn a_mount_without_modes_is_one_warning_and_can_be_accepted() {
    let database = database_with("CREATE TABLE users (id int)");
    let library = library().display().to_string();
    let code = |output: &Output| output.status.code();
    for refuses in [false, true] {
        let mut hub = Hub::whole(&database);
        if refuses {
            hub.set("MOUNT_REFUSES", "1");
        }
        let run = |hub: &Hub, mode: &str| on_mount(hub, &library, mode, &["backup", "--json"]);
        // Others can read.
        for _ in 0..2 {
            let output = run(&hub, "0755");
            let record: Value = serde_json::from_slice(&output.stdout).unwrap();
            let warnings = record["warnings"].as_array().unwrap();
            assert_eq!((code(&output), warnings.len()), (Some(3), 1), "{record}");
            let warning = warnings[0]["message"].as_str().unwrap();
            for word in ["the mount /", "file_mode=0600", "dmask=0077", "as-mounted"] {
                assert!(warning.contains(word), "{warning}");
            }
            let log = stderr(&output);
            assert!(
                !log.contains("closed") && !log.contains("chmod go"),
                "{log}"
            );
        }
        // Others can write.
        let mut open = Hub::whole(&database);
        if refuses {
            open.set("MOUNT_REFUSES", "1");
        }
        let refused = run(&open, "0777");
        assert_eq!(code(&refused), Some(1), "{}", stdout(&refused));
        assert!(
            stderr(&refused).contains("as-mounted"),
            "{}",
            stderr(&refused)
        );
        for (hub, mode) in [(&mut hub, "0755"), (&mut open, "0777")] {
            hub.set("BACKUP_PERMISSIONS", "as-mounted");
            let output = run(hub, mode);
            let record: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(record["warnings"], serde_json::json!([]), "{record}");
            let listed = on_mount(hub, &library, mode, &["list"]);
            assert_eq!(code(&listed), Some(0), "{}", stderr(&listed));
        }
        // Where modes can be set, nothing is accepted.
        std::fs::set_permissions(
            open.backups().join(".hubvault"),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .unwrap();
        let refused = stderr(&open.run_expecting(2, &["backup"]));
        assert!(refused.contains("run chmod go-w"), "{refused}");
    }
}
