//! Small archives and sidecars that need very much memory when read, or never end.

use crate::forger::{Forgery, Good, ends, member, tar_head};
use crate::hub::{HUBVAULT, Hub, stderr, stdout};
use hubvault_archive::Codec;
use hubvault_testkit::server;
use serde_json::json;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// What a command may take besides the pages of files, in KiB (`RLIMIT_DATA`).
const MEMORY: u32 = 320 << 10;

/// Runs a command with that much memory: it must end by itself.
fn run_with_little_memory(hub: &Hub, arguments: &[&str]) -> std::process::Output {
    let mut command = hub.command_of("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -d {MEMORY} && exec \"$0\" \"$@\""))
        .arg(HUBVAULT)
        .args(arguments);
    ends(command, arguments)
}

const MIB: usize = 1 << 20;

/// An entry of so many MiB of one byte, in a thousandth of the size.
fn add_filled_entry(archive: &mut Forgery, name: &str, mebibytes: usize, byte: u8) {
    let block = member(Codec::Gzip, &vec![byte; MIB]);
    archive.replace(name, &vec![block; mebibytes], (mebibytes * MIB) as u64);
}

#[test]
fn definitions_lists_and_scripts_of_gigabytes_allocate_no_memory() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    let drills = tempfile::tempdir().unwrap();
    for (name, byte) in [
        ("database/schema.dump", 0),
        ("database/schema-post-data.list", b'x'),
        ("database/sequences.sql", b'\n'),
        ("database/foreign-keys.sql", b' '),
        ("BACKUP_INFO.txt", b'x'),
        ("restore.sh", b'#'),
    ] {
        let path = good.forge(|archive| add_filled_entry(archive, name, 1_024, byte));
        let path = path.to_str().unwrap();
        let target = server.database();
        for arguments in [
            &["show", path][..],
            &["diff", path],
            &[
                "restore",
                path,
                "--database",
                target.name(),
                "--no-progress",
            ],
        ] {
            let output = run_with_little_memory(&good.hub, arguments);
            let needs = name.starts_with("database/") && arguments[0] == "restore";
            assert_eq!(
                output.status.code(),
                Some(i32::from(needs)),
                "{name}: {}",
                stderr(&output)
            );
            assert!(
                !needs || stderr(&output).contains("more than the limit of"),
                "{name}: {}",
                stderr(&output)
            );
        }
    }
    let path = good.forge(|archive| add_filled_entry(archive, "database/schema.dump", 4_096, 0));
    let drilled = path.with_file_name("drilled.tar.gz");
    std::fs::rename(&path, &drilled).unwrap();
    // A row that does not end.
    let rows = good.forge(|archive| add_filled_entry(archive, "database/users.sql", 400, b'x'));
    let output = run_with_little_memory(&good.hub, &["verify", rows.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let mut hub = good.hub;
    hub.set("PROOF_DIRECTORY", drills.path().to_str().unwrap());
    let output = run_with_little_memory(&hub, &["drill", drilled.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}

/// An archive whose manifest is this text, `repeated` so many times in the middle.
fn manifest_bomb(good: &Good, field: &str, repeated: &str, times: usize, to: &Path) {
    let mut archive = good.archive.clone();
    archive.manifest[field] = json!("@@");
    archive.manifest["entries"] = json!([]);
    let text = serde_json::to_string(&archive.manifest).unwrap();
    let (start, end) = text.split_once("\"@@\"").unwrap();
    let each = MIB / repeated.len();
    let block = repeated.repeat(each);
    let blocks = times.div_ceil(each);
    let last = repeated.trim_end_matches(',');
    let end = format!("{last}]{end}");
    let size = start.len() + 1 + blocks * block.len() + end.len();
    let mut tail = member(Codec::Gzip, &tar_head("manifest.json", size as u64, b'0'));
    tail.extend(member(Codec::Gzip, format!("{start}[").as_bytes()));
    let block = member(Codec::Gzip, block.as_bytes());
    (0..blocks).for_each(|_| tail.extend(&block));
    let mut end = end.into_bytes();
    end.resize(end.len() + (512 - size % 512) % 512 + 1_024, 0);
    tail.extend(member(Codec::Gzip, &end));
    let bytes = crate::forger::with_trailer(Codec::Gzip, &member(Codec::Gzip, b""), &tail);
    std::fs::write(to, bytes).unwrap();
}

#[test]
fn a_manifest_too_large_for_its_archive_is_not_read() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    let path = good.place.path().join("bomb.tar.gz");
    for (field, repeated, times, commands, words) in [
        // As much as such an archive may have, in the form that takes the most memory.
        (
            "roles",
            "\"xxxxx\",",
            1_000_000,
            &["show"][..],
            "is missing",
        ),
        (
            "unknown",
            "[\"xxxxxxxxxxxx\"],",
            480_000,
            &["show"],
            "is missing",
        ),
        ("roles", "\"\",", 2_700_000, &["show"], "more values"),
        ("job", "[", 470_000_000, &["show", "diff"], "too large"),
        (
            "roles",
            "\"\",",
            150_000_000,
            &["show", "verify"],
            "too large",
        ),
    ] {
        manifest_bomb(&good, field, repeated, times, &path);
        for command in commands {
            let output = run_with_little_memory(&good.hub, &[command, path.to_str().unwrap()]);
            assert_eq!(
                output.status.code(),
                Some(1),
                "{field}: {}",
                stdout(&output)
            );
            let said = stderr(&output);
            assert!(
                said.contains(words) && said.len() < 2_000,
                "{field}: {said}"
            );
        }
    }
    // Those who look after archives only pass over them.
    let bombs = good.hub.backups();
    for number in 0..3 {
        let name = format!("critical_backup_2026010{number}_000000.tar.gz");
        std::fs::copy(&path, bombs.join(name)).unwrap();
    }
    for arguments in [
        &["list"][..],
        &["catalog", "rebuild"],
        &["prune", "--dry-run"],
    ] {
        let output = run_with_little_memory(&good.hub, arguments);
        assert!(
            output.status.code() != Some(1) || arguments[0] != "list",
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn sidecars_of_the_wrong_type_or_size_are_not_read() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    let directory = good.hub.backups();
    let archive = std::fs::read_dir(&directory)
        .unwrap()
        .map(|it| it.unwrap().path());
    let mut archive = archive.filter(|it| it.to_str().unwrap().ends_with(".tar.gz"));
    let archive = archive.next().unwrap();
    let sidecar = std::path::PathBuf::from(format!("{}.manifest.json", archive.display()));
    let pipe = directory.join("critical_backup_20260102_000000.tar.gz");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let device = directory.join("critical_backup_20260103_000000.tar.gz");
    symlink("/dev/zero", &device).unwrap();
    let path = archive.to_str().unwrap();
    let look = |what: &str| {
        for arguments in [
            &["list"][..],
            &["show", path],
            &["catalog", "rebuild"],
            &["status"],
        ] {
            let output = run_with_little_memory(&good.hub, arguments);
            assert!(
                !stderr(&output).contains("memory"),
                "{what}: {}",
                stderr(&output)
            );
        }
        for path in [&pipe, &device] {
            let output = run_with_little_memory(&good.hub, &["verify", path.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(1), "{what}");
        }
    };
    let honest = std::fs::read(&sidecar).unwrap();
    std::fs::remove_file(&sidecar).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&sidecar)
            .status()
            .unwrap()
            .success()
    );
    look("a pipe");
    std::fs::remove_file(&sidecar).unwrap();
    symlink("/dev/zero", &sidecar).unwrap();
    look("an endless device");
    std::fs::remove_file(&sidecar).unwrap();
    let file = std::fs::File::create(&sidecar).unwrap();
    file.set_len(8 << 30).unwrap();
    look("a sparse file");
    // One whose manifest contradicts itself says nothing.
    let mut forged: serde_json::Value = serde_json::from_slice(&honest).unwrap();
    forged["manifest"]["tables"][0]["rows"] = json!(u64::MAX);
    std::fs::write(&sidecar, forged.to_string()).unwrap();
    look("a lie");
    let shown = stdout(&run_with_little_memory(&good.hub, &["show", path]));
    assert!(!shown.contains("18,446,744"), "{shown}");
}

#[test]
fn a_proof_written_by_another_user_is_ignored() {
    let server = server();
    let database = server.database();
    let good = Good::of(&database);
    let mut paths = std::fs::read_dir(good.hub.backups())
        .unwrap()
        .map(|it| it.unwrap().path());
    let sidecar = paths.find(|it| it.to_str().unwrap().ends_with(".manifest.json"));
    let sidecar = sidecar.unwrap();
    let text = std::fs::read_to_string(&sidecar).unwrap();
    assert!(text.contains("\"proven\": false"), "{text}");
    let text = text.replace("\"proven\": false", "\"proven\": true");
    let text = text.replace("\"pinned\": false", "\"pinned\": true");
    std::fs::remove_file(&sidecar).unwrap();
    std::fs::write(&sidecar, text).unwrap();
    let state = |owner: u32| {
        std::os::unix::fs::chown(&sidecar, Some(owner), None).unwrap();
        std::fs::remove_dir_all(good.hub.backups().join(".hubvault")).unwrap();
        let rebuilt = good.hub.run(&["catalog", "rebuild"]);
        assert!(rebuilt.status.success(), "{}", stderr(&rebuilt));
        let listed = good.hub.run(&["list", "--json"]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        listed.to_string().contains("\"state\":\"proven\"")
    };
    assert!(state(0));
    assert!(!state(65_534));
}
