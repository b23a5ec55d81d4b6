//! Owners, modes and links of configuration files, as they come back by `tar` and by hubvault.

use crate::hub::Hub;
use hubvault_testkit::{database_with, extract};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Owner, group and mode.
fn rights(path: &Path) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

#[test]
fn tar_gives_files_their_owners_and_makes_no_set_user_id_program() {
    let database = database_with("CREATE TABLE users (id int)");
    let etc = tempfile::tempdir().unwrap();
    let ssl = etc.path().join("ssl");
    fs::create_dir_all(ssl.join("shared")).unwrap();
    for (name, owner, mode) in [
        ("tool", 1001, 0o4755),
        ("rootly", 0, 0o6755),
        ("key", 3_000_000_000, 0o600),
        ("shared", 1001, 0o2750),
    ] {
        if name != "shared" {
            fs::write(ssl.join(name), name).unwrap();
        }
        // Only root can give files away; otherwise they are those of the user who tests.
        let _ = chown(ssl.join(name), Some(owner), Some(owner));
        set(&ssl.join(name), mode);
    }
    let toml = format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n[[file]]\nsource = \"{}\"\n",
        ssl.display()
    );
    let hub = Hub::with(&database, &toml);
    let (record, archive) = hub.backup();
    assert_eq!(record["warnings"], serde_json::json!([]), "{record}");
    let (tarred, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    extract(&archive, tarred.path());
    let into = ours.path().display().to_string();
    hub.run_expecting(0, &["restore", "latest", "--files", &into]);
    for name in ["tool", "rootly", "key", "shared"] {
        let (user, group, mode) = rights(&ssl.join(name));
        let restored = rights(&tarred.path().join("config/ssl").join(name));
        let kept = if name == "shared" { 0o7777 } else { 0o777 };
        assert_eq!(restored, (user, group, mode & kept), "{name}");
        let restored = rights(&ours.path().join("config/ssl").join(name));
        assert_eq!(restored, (user, group, mode & 0o777), "{name}");
    }
    let info = fs::read_to_string(tarred.path().join("BACKUP_INFO.txt")).unwrap();
    assert!(
        info.contains("ssl/tool, without its set-user-ID and set-group-ID bits)"),
        "{info}"
    );
    assert_eq!(rights(&tarred.path().join("restore.sh")).2 & 0o6000, 0);
}
