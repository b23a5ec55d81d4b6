//! Owners, modes and links of configuration files, as they come back by `tar` and by hubvault.

use crate::hub::Hub;
use hubvault_testkit::{database_with, extract};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

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
    let summary = fs::read_to_string(tarred.path().join("BACKUP_INFO.txt")).unwrap();
    assert!(
        summary.contains("ssl/tool, without its set-user-ID and set-group-ID bits)"),
        "{summary}"
    );
    assert_eq!(rights(&tarred.path().join("restore.sh")).2 & 0o6000, 0);
}

/// What a file of the archive has in it, unpacked by `tar` and by hubvault.
fn both(places: &[&Path], name: &str) -> String {
    let [one, other] = places
        .iter()
        .map(|place| {
            let path = place.join("config/ssl").join(name);
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_eq!(one, other, "{name}");
    one
}

#[test]
fn what_links_lead_to_is_taken_where_the_configuration_says_so() {
    let database = database_with("CREATE TABLE users (id int)");
    let etc = tempfile::tempdir().unwrap();
    let at = |path: &str| etc.path().join(path);
    for directory in [
        "letsencrypt/archive/x",
        "letsencrypt/live/x",
        "letsencrypt/open",
        "ssl/..1",
        "away",
    ] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    for (file, text) in [
        ("letsencrypt/archive/x/privkey3.pem", "certbot"),
        ("letsencrypt/open/key", "open"),
        ("ssl/own.pem", "own"),
        ("ssl/..1/tls.key", "mounted"),
        ("away/key", "away"),
    ] {
        fs::write(at(file), text).unwrap();
    }
    // Anybody may put another key there.
    set(&at("letsencrypt/open"), 0o777);
    let fifo = Command::new("mkfifo").arg(at("letsencrypt/fifo")).status();
    assert!(fifo.unwrap().success());
    for (link, target) in [
        (
            "letsencrypt/live/x/privkey.pem",
            "../../archive/x/privkey3.pem",
        ),
        ("letsencrypt/live/x/loop", "../../live"),
        ("ssl/live", "../letsencrypt/live/x"),
        ("ssl/direct.pem", "../letsencrypt/archive/x/privkey3.pem"),
        ("ssl/..data", "..1"),
        ("ssl/tls.key", "..data/tls.key"),
        ("ssl/back.pem", "../ssl/own.pem"),
        ("ssl/circle", "../ssl/circle"),
        ("ssl/around", ".."),
        ("ssl/open", "../letsencrypt/open/key"),
        ("ssl/fifo", "../letsencrypt/fifo"),
        ("ssl/away", "../away/key"),
    ] {
        symlink(target, at(link)).unwrap();
    }
    symlink(at("ssl/own.pem"), at("ssl/absolute.pem")).unwrap();
    let toml = format!(
        "[scope]\ntables = [\"*\"]\nwindow = []\n\
         [[file]]\nsource = \"{0}/ssl\"\nfollow = [\"{0}/letsencrypt\"]\n",
        etc.path().display()
    );
    let hub = Hub::with(&database, &toml);
    let (record, archive) = hub.backup();
    let warnings = record["warnings"].as_array().unwrap();
    let codes: Vec<&str> = warnings
        .iter()
        .map(|it| it["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["not-a-file", "link-outside"], "{record}");
    let outside = warnings[1]["message"].as_str().unwrap();
    assert!(
        outside.starts_with("5 links of ") && outside.contains("follow = ["),
        "{outside}"
    );
    let (tarred, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    extract(&archive, tarred.path());
    let into = ours.path().display().to_string();
    hub.run_expecting(0, &["restore", "latest", "--files", &into]);
    let both = |name: &str| both(&[tarred.path(), ours.path()], name);
    assert_eq!(both("live/privkey.pem"), "certbot");
    assert_eq!(both("live/loop/x/privkey.pem"), "certbot");
    assert_eq!(both("direct.pem"), "certbot");
    assert_eq!(both("tls.key"), "mounted");
    assert_eq!(both("back.pem"), "own");
    assert_eq!(both("absolute.pem"), "own");
    for left in ["away", "open", "around", "circle", "fifo"] {
        let path = tarred.path().join("config/ssl").join(left);
        assert!(fs::symlink_metadata(path).is_err(), "{left}");
    }
    hub.run_expecting(0, &["verify", "latest"]);
}
