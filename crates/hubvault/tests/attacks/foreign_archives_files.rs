//! `restore --files` of foreign archives, into directories that another user writes to.

use crate::attacker::{attack, attacker};
use crate::forger::{Forgery, Good};
use crate::hub::stderr;
use hubvault_testkit::{open_directory, server};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// An absolute name, in the directory that Cargo gives these tests.
const ABSOLUTE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/evil");

/// Everything in a directory, with what could be changed of it.
fn snapshot_of(directory: &Path) -> Vec<String> {
    let mut all = vec![];
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        all.push(format!(
            "{} {:o} {} {}",
            path.display(),
            meta.mode(),
            meta.uid(),
            meta.gid()
        ));
        if meta.is_dir() {
            all.extend(snapshot_of(&path));
        }
    }
    all.sort();
    all
}

fn directory_with(name: &str) -> serde_json::Value {
    json!([{ "source": "x", "name": name, "bytes": 5, "sha256": null, "mode": 0o600, "owner": [65_534, 65_534] }])
}

type Lie = (&'static str, fn(&mut Forgery));

fn false_files() -> Vec<Lie> {
    vec![
        ("a link through a link", |a| {
            a.add("d/e/f/keep", "config", b"hello", None);
            a.add("d/e/f/x", "link", b"", Some("../../.."));
            a.add("d/e/f/x/z", "link", b"", Some("../outside"));
            a.add("d/e/f/x/z/evil", "link", b"", Some("anything"));
        }),
        ("a link that leads out through another", |a| {
            a.add("d/e/f/x", "link", b"", Some("../../.."));
            a.add("d/out", "link", b"", Some("e/f/x/../outside"));
        }),
        ("a file through a link", |a| {
            a.add("d/x", "link", b"", Some("../../outside"));
            a.add("d/x/evil", "config", b"hello", None);
        }),
        ("a link that is absolute", |a| {
            a.add("d/x", "link", b"", Some("/etc"));
        }),
        ("a directory through a link", |a| {
            a.add("x", "link", b"", Some("d/.."));
            a.add("x/evil", "directory", b"", None);
        }),
        ("a name that leads out", |a| {
            a.add("d/../../outside/evil", "config", b"hello", None);
        }),
        ("an absolute name", |a| {
            a.add(ABSOLUTE, "config", b"hello", None);
        }),
        ("an owner for what is no file", |a| {
            a.manifest["files"] = directory_with("../outside/victim");
        }),
        ("an owner for what is behind a link", |a| {
            a.add("x", "link", b"", Some("."));
            a.manifest["files"] = directory_with("x/../outside/victim");
        }),
        ("a hard link", |a| {
            a.add("d/x", "config", b"", None);
            let (record, bytes) = a.entries.last_mut().unwrap();
            let mut head = tar::Header::new_gnu();
            head.set_path("d/x").unwrap();
            head.set_link_name("/etc/passwd").unwrap();
            head.set_entry_type(tar::EntryType::Link);
            head.set_size(0);
            head.set_mode(0o600);
            head.set_cksum();
            *bytes = crate::forger::member(hubvault_archive::Codec::Gzip, head.as_bytes());
            record["link"] = json!("/etc/passwd");
        }),
    ]
}

#[test]
fn files_of_an_archive_stay_in_their_directory() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    for (what, lie) in false_files() {
        let world = tempfile::tempdir().unwrap();
        let (target, outside) = (world.path().join("target"), world.path().join("outside"));
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("victim"), "secret").unwrap();
        let before = snapshot_of(&outside);
        let path = good.forge(lie);
        let output = good.run(&path, &["restore"], &["--files", target.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{what}");
        assert_eq!(snapshot_of(&outside), before, "{what}: {}", stderr(&output));
        let others = std::fs::read_dir(world.path()).unwrap().count();
        assert!(others <= 2, "{what}: {:?}", snapshot_of(world.path()));
        assert!(!Path::new(ABSOLUTE).exists(), "{what}");
        // Nor does a link that was made before the error lead anywhere else.
        if target.exists() {
            let all = std::process::Command::new("find")
                .args(["-L"])
                .arg(&target)
                .output()
                .unwrap();
            assert!(
                !String::from_utf8_lossy(&all.stdout).contains("victim"),
                "{what}"
            );
        }
    }
}

#[test]
fn links_and_modes_are_restored_without_special_bits() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    let path = good.forge(|a| {
        a.add("ssl/live/key.pem", "config", b"hello", None);
        a.add("ssl/live/current.pem", "link", b"", Some("key.pem"));
        a.add("ssl/up.pem", "link", b"", Some("live/../live/key.pem"));
    });
    let target = good.place.path().join("target");
    let output = good.run(&path, &["restore"], &["--files", target.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        std::fs::read_to_string(target.join("ssl/up.pem")).unwrap(),
        "hello"
    );
    let link = std::fs::read_link(target.join("ssl/live/current.pem")).unwrap();
    assert_eq!(link, Path::new("key.pem"));
    let path = good.forge(|a| {
        a.add("tool", "config", b"hello", None);
        let (record, bytes) = a.entries.last_mut().unwrap();
        record["mode"] = json!(0o6755);
        let mut head = tar::Header::new_gnu();
        head.set_path("tool").unwrap();
        head.set_size(5);
        head.set_mode(0o6755);
        head.set_mtime(0);
        head.set_cksum();
        let content = [&b"hello"[..], &[0; 507]].concat();
        let member = |content: &[u8]| crate::forger::member(hubvault_archive::Codec::Gzip, content);
        *bytes = [member(head.as_bytes()), member(&content)].concat();
    });
    let target = good.place.path().join("special");
    let output = good.run(&path, &["restore"], &["--files", target.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let mode = target.join("tool").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn restoring_files_follows_no_link_of_another_user() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    let path = good.forge(|a| {
        for number in 0..40 {
            a.add(
                &format!("d{}/file{number}", number % 4),
                "config",
                b"hello",
                None,
            );
        }
    });
    let victim = tempfile::tempdir().unwrap();
    // Links that are there before.
    let world = open_directory();
    for name in ["config", "d0"] {
        symlink(victim.path(), world.path().join(name)).unwrap();
    }
    let output = good.run(
        &path,
        &["restore"],
        &["--files", world.path().to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        snapshot_of(victim.path()),
        Vec::<String>::new(),
        "{}",
        stderr(&output)
    );
    // A link instead of the directory itself.
    let link = world.path().join("target");
    let made = attack(&format!(
        "ln -s {} {}",
        victim.path().display(),
        link.display()
    ));
    assert!(made.status.success());
    let output = good.run(&path, &["restore"], &["--files", link.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        snapshot_of(victim.path()),
        Vec::<String>::new(),
        "{}",
        stderr(&output)
    );
    // A link of our own is ours to make.
    let honest = good.place.path().join("honest");
    let behind = good.place.path().join("behind");
    std::fs::create_dir(&behind).unwrap();
    symlink("behind", &honest).unwrap();
    let output = good.run(&path, &["restore"], &["--files", honest.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(behind.join("d0/file0").is_file());
    // Links that come and go meanwhile.
    let world = open_directory();
    let target = world.path().join("his");
    let (target, victim_path) = (target.display(), victim.path().display());
    assert!(
        attack(&format!("mkdir {target} && chmod 777 {target}"))
            .status
            .success()
    );
    let mut swaps = attacker("sh")
        .arg("-c")
        .arg(format!(
            "cd {target} && while :; do for d in d0 d1 d2 d3; do mv $d $d.$$ && ln -s {victim_path} $d; rm -f $d; \
             mkdir $d; done; done 2>/dev/null"
        ))
        .spawn()
        .unwrap();
    for _ in 0..12 {
        good.run(&path, &["restore"], &["--files", &target.to_string()]);
        assert_eq!(snapshot_of(victim.path()), Vec::<String>::new());
    }
    swaps.kill().unwrap();
    swaps.wait().unwrap();
}
