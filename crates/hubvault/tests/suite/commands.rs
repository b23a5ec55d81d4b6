//! `[[source]]` and `[[hook]]`: the output of commands is archived, and commands run around the stages.

use crate::hub::{Hub, stderr, stdout};
use crate::keys::{Pair, open_with_age, text};
use crate::stages::STAGES;
use hubvault_testkit::{
    Database, HttpSink, contains_bytes, database_with, extract, noise, wait_for,
};
use serde_json::Value;
use std::iter;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

const SCOPE: &str = "[scope]\ntables = [\"*\"]\nwindow = []\n";

fn hub(toml: &str) -> (Hub, Database) {
    let database = database_with("CREATE TABLE users (id int); INSERT INTO users VALUES (1)");
    let hub = Hub::with(&database, &format!("{SCOPE}{toml}"));
    (hub, database)
}

/// Waits for the end of the process whose number is in a file.
fn wait_for_end(pid_file: &Path) {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    wait_for(
        || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(" Z ")),
        || "the command to end".to_owned(),
    );
}

#[test]
fn the_output_of_a_source_is_restored_byte_for_byte() {
    let origin = tempfile::tempdir().unwrap();
    // Below, at and above the size of the archive's members, and one that no memory bound would take.
    let sizes = [1, 1 << 20, (1 << 20) + 513, 30 << 20];
    let mut toml = String::new();
    for size in sizes {
        let path = origin.path().join(size.to_string());
        std::fs::write(&path, noise(size)).unwrap();
        let path = path.display();
        toml += &format!("[[source]]\nname = \"made/{size}\"\ncommand = [\"cat\", \"{path}\"]\n");
    }
    toml += "[[source]]\nname = \"nothing\"\ncommand = \"true\"\n\
             [[source]]\nname = \"job\"\ncommand = 'printf \"%s\\000\\377%s\" $HUBVAULT_JOB $HUBVAULT_RUN_ID'\n";
    let (mut hub, _database) = hub(&toml);
    for codec in ["gzip", "zstd"] {
        hub.write(&format!(
            "file = []\n[archive]\ncodec = \"{codec}\"\n{SCOPE}{toml}"
        ));
        let (record, archive) = hub.backup();
        let out = tempfile::tempdir().unwrap();
        extract(&archive, out.path());
        let back = tempfile::tempdir().unwrap();
        let to = back.path().join("to");
        let restore = ["restore", "latest", "--files", to.to_str().unwrap()];
        let output = hub.run(&restore);
        assert!(output.status.success(), "{}", stderr(&output));
        let id = record["id"].as_str().unwrap();
        let job = record["job"].as_str().unwrap();
        let said = [job.as_bytes(), b"\0\xff", id.as_bytes()].concat();
        let mut expected = vec![
            ("sources/nothing".to_owned(), Vec::new()),
            ("sources/job".to_owned(), said),
        ];
        expected.extend(sizes.map(|size| (format!("sources/made/{size}"), noise(size))));
        for (name, bytes) in expected {
            for place in [out.path(), &to] {
                let path = place.join(&name);
                assert!(std::fs::read(&path).unwrap() == bytes, "{name} is another");
                let mode = path.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{name}");
            }
        }
        let warnings = record["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0]["code"], "source-empty");
        assert_eq!(warnings[0]["subject"], "sources/nothing");
        assert_eq!(record["stages"][0]["stage"], "sources");
        let file = record["files"].as_array().unwrap().last().unwrap();
        assert_eq!(file["name"], "sources/job");
        assert_eq!(file["sha256"].as_str().map(str::len), Some(64), "{file}");
        let info = std::fs::read_to_string(out.path().join("BACKUP_INFO.txt")).unwrap();
        assert!(
            info.contains("sources/nothing  (from the command true)"),
            "{info}"
        );
        hub.run_expecting(0, &["verify", "latest"]);
        assert!(stdout(&hub.run(&["show", "latest"])).contains("sources/made/1048576"));
    }
    let plan = stdout(&hub.run(&["backup", "--dry-run"]));
    assert!(plan.contains("  true -> sources/nothing\n"), "{plan}");
}

#[test]
fn the_output_of_a_source_is_sealed_like_everything_else() {
    const SECRET: &str = "the plain words of a source";
    let keys = tempfile::tempdir().unwrap();
    let pair = Pair::age(keys.path(), "alice");
    let large = keys.path().join("large");
    std::fs::write(&large, noise(5 << 20)).unwrap();
    let toml = format!(
        "[[source]]\nname = \"words\"\ncommand = \"echo {SECRET}\"\n\
         [[source]]\nname = \"large\"\ncommand = [\"cat\", \"{}\"]\n",
        large.display()
    );
    let (mut hub, _database) = hub(&toml);
    hub.set("PROOF", "always");
    hub.set("BACKUP_RECIPIENTS", &pair.public);
    for codec in ["gzip", "zstd"] {
        hub.write(&format!(
            "file = []\n[archive]\ncodec = \"{codec}\"\n{SCOPE}{toml}"
        ));
        crate::retention::next_second();
        let (record, archive) = hub.backup();
        assert_eq!(record["state"], "proven", "{record}");
        let place = tempfile::tempdir().unwrap();
        let (by_age, by_us) = (place.path().join("age"), place.path().join("us"));
        std::fs::create_dir(&by_age).unwrap();
        let flags = if codec == "gzip" { "-xz" } else { "--zstd -x" };
        open_with_age(&pair, &archive, flags, &by_age);
        let restore = ["restore", "latest", "--files", text(&by_us)];
        let keyless = hub.run(&restore);
        assert_ne!(keyless.status.code(), Some(0));
        assert!(!by_us.join("sources").exists());
        let output = hub.run(&[&restore[..], &["--identity", pair.identity()]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        for place in [&by_age, &by_us] {
            let words = std::fs::read_to_string(place.join("sources/words")).unwrap();
            assert_eq!(words, format!("{SECRET}\n"));
            assert!(std::fs::read(place.join("sources/large")).unwrap() == noise(5 << 20));
        }
        let verify = ["verify", "latest", "--identity", pair.identity()];
        assert!(hub.run(&verify).status.success());
    }
    // Neither an archive nor what was written on the way to it.
    let mut directories = vec![hub.backups()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            // The record names the command, of which the words are a part.
            let plain = format!("{SECRET}\n");
            assert!(
                !contains_bytes(&bytes, plain.as_bytes()),
                "{}",
                path.display()
            );
            assert!(!contains_bytes(&bytes, &noise(64)), "{}", path.display());
        }
    }
}

#[test]
fn a_failing_source_fails_the_run_unless_it_is_optional() {
    let command = "echo partial; echo the socket is hunter2-gone >&2; exit 7";
    let toml = format!("[[source]]\nname = \"redis\"\ncommand = \"{command}\"\n");
    let (mut hub, _database) = hub(&toml);
    hub.set("POSTGRES_PASSWORD", "hunter2-gone");
    let words = [
        "the source sources/redis failed",
        "ended with exit code 7: the socket is ***",
        "required = false",
    ];
    let said = hub.backup_fails(1, &words);
    assert!(!said.contains("hunter2"), "{said}");
    hub.write(&format!("file = []\n{SCOPE}{toml}required = false\n"));
    let (record, archive) = hub.backup();
    assert_eq!(record["warnings"][0]["code"], "source-failed", "{record}");
    let out = tempfile::tempdir().unwrap();
    extract(&archive, out.path());
    assert!(!out.path().join("sources").exists());
    let program = "[\"/nowhere/at-all\"]";
    hub.write(&format!(
        "file = []\n{SCOPE}[[source]]\nname = \"x\"\ncommand = {program}\n"
    ));
    let output = hub.run_expecting(1, &["backup"]);
    assert!(
        stderr(&output).contains("/nowhere/at-all cannot be started"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_hanging_source_is_killed_at_its_timeout_and_with_the_run() {
    let place = tempfile::tempdir().unwrap();
    let pid = place.path().join("pid");
    let command = format!(
        "sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait",
        pid.display()
    );
    let source = format!("[[source]]\nname = \"slow\"\ncommand = \"{command}\"\n");
    let (mut hub, _database) = hub(&format!("{source}timeout = \"2 s\"\n"));
    hub.backup_fails(1, &["was killed after its timeout of 2 s"]);
    wait_for_end(&pid);

    std::fs::remove_file(&pid).unwrap();
    hub.write(&format!("file = []\n{SCOPE}{source}"));
    let mut child = hub.command(&["backup"]);
    let mut child = child
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| pid.exists(), || "the source to run".to_owned());
    let pid_text = child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid_text]).status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    wait_for_end(&pid);
    hub.nothing_published();
}

#[test]
fn a_hanging_hook_is_killed_at_its_timeout_with_its_children() {
    let place = tempfile::tempdir().unwrap();
    let pid = place.path().join("pid");
    let hanging = |stage: &str, when: &str, more: &str| {
        let pid = pid.display();
        format!(
            "[[hook]]\nstage = \"{stage}\"\nwhen = \"{when}\"\ntimeout = \"1 s\"\n\
             command = \"sleep 1000 & echo $! > {pid}.new; mv {pid}.new {pid}; wait\"\n{more}\n"
        )
    };
    let notes = place.path().join("notes");
    let told = hook_that_notes(&notes, "run", "after");
    let (mut hub, _database) = hub(&(hanging("export", "before", "") + &told));
    let killed = "was killed after its timeout of 1 s";
    hub.backup_fails(1, &["the hook before export", killed]);
    wait_for_end(&pid);
    let told_lines = std::fs::read_to_string(&notes).unwrap();
    assert!(told_lines.contains("|failed||the hook before export") && told_lines.contains(killed));

    for (when, more) in [("after", ""), ("before", "on_failure = \"warn\"")] {
        std::fs::remove_file(&pid).unwrap();
        let hook = hanging("publish", when, more);
        hub.write(&format!("file = []\n{SCOPE}{hook}"));
        crate::retention::next_second();
        let (record, _) = hub.backup();
        let warning = &record["warnings"][0];
        assert_eq!(warning["code"], "hook-failed", "{record}");
        assert!(
            warning["message"].as_str().unwrap().contains(killed),
            "{record}"
        );
        wait_for_end(&pid);
    }
}

/// A hook that appends its variables to a file.
fn hook_that_notes(notes: &Path, stage: &str, when: &str) -> String {
    let told = "$HUBVAULT_WHEN $HUBVAULT_STAGE $HUBVAULT_JOB $HUBVAULT_RUN_ID";
    let outcome = "$HUBVAULT_STATE|$HUBVAULT_FILE|$HUBVAULT_ERROR";
    format!(
        "[[hook]]\nstage = \"{stage}\"\nwhen = \"{when}\"\n\
         command = 'echo \"{told}|{outcome}\" >> {}'\n",
        notes.display()
    )
}

fn hook_that_fails(stage: &str, when: &str, more: &str) -> String {
    format!(
        "[[hook]]\nstage = \"{stage}\"\nwhen = \"{when}\"\n\
         command = 'echo say hunter2-mask; exit 4'\n{more}\n"
    )
}

#[test]
fn hooks_run_in_the_order_of_the_stages_and_know_their_stage() {
    let place = tempfile::tempdir().unwrap();
    let notes = place.path().join("notes");
    let mut toml = "[[source]]\nname = \"x\"\ncommand = \"echo x\"\n".to_owned();
    for stage in ["run", "sources"].iter().chain(&STAGES) {
        toml += &hook_that_notes(&notes, stage, "after");
        toml += &hook_that_notes(&notes, stage, "before");
    }
    let (mut hub, _database) = hub(&toml);
    hub.set("PROOF", "always");
    let output = hub.run_expecting(0, &["backup", "--json"]);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (id, job) = (
        record["id"].as_str().unwrap(),
        record["job"].as_str().unwrap(),
    );
    let file = record["file"].as_str().unwrap();
    let mut expected = vec![format!("before run {job} {id}|||")];
    for stage in iter::once(&"sources").chain(&STAGES) {
        expected.push(format!("before {stage} {job} {id}|||"));
        expected.push(format!("after {stage} {job} {id}|||"));
    }
    expected.push(format!("after run {job} {id}|proven|{file}|"));
    let told_lines = std::fs::read_to_string(&notes).unwrap();
    assert_eq!(told_lines.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_password_of_a_command_is_in_no_message_about_it() {
    let sink = HttpSink::start([]);
    let command =
        "command = \"false --user=backup:xyzzyxyzzy || { echo refused: xyzzyxyzzy; exit 4; }\"\n";
    let toml = format!(
        "[[check]]\nname = \"upload\"\n{command}[[hook]]\nstage = \"run\"\nwhen = \"before\"\n{command}"
    );
    let (mut hub, _database) = hub(&toml);
    hub.set("WEBHOOK_URL", sink.url("/hook"));
    let said = hub.backup_fails(1, &["refused: ***"]);
    let checked = hub.run(&["check", "--alert"]);
    let said = said + &stdout(&checked) + &stderr(&checked);
    let sent = sink.requests().into_iter().map(|request| request.body);
    let sent: Vec<String> = sent.map(|body| String::from_utf8(body).unwrap()).collect();
    assert!(
        sent.iter().any(|body| body.contains("refused: ***")),
        "{sent:?}"
    );
    assert!(!(said + &sent.concat()).contains("xyzzy"), "{sent:?}");
}

#[test]
fn a_failing_hook_before_a_stage_ends_the_run_and_the_last_hook_is_run() {
    let place = tempfile::tempdir().unwrap();
    let notes = place.path().join("notes");
    for stage in ["run", "export", "publish"] {
        let toml = hook_that_fails(stage, "before", "") + &hook_that_notes(&notes, "run", "after");
        let (mut hub, _database) = hub(&(toml + &hook_that_notes(&notes, "publish", "after")));
        hub.set("POSTGRES_PASSWORD", "hunter2-mask");
        let what = format!("the hook before {stage} (echo ...) ended with exit code 4: say ***");
        let said = hub.backup_fails(1, &[&what, "on_failure = \"warn\""]);
        assert!(!said.contains("hunter2"), "{said}");
        let told_lines = std::fs::read_to_string(&notes).unwrap();
        let told_lines: Vec<&str> = told_lines.lines().collect();
        assert!(
            matches!(&told_lines[..], [one] if one.starts_with("after run ")),
            "{told_lines:?}"
        );
        assert!(
            told_lines[0].contains(&format!("|failed||{what}")),
            "{told_lines:?}"
        );
        std::fs::remove_file(&notes).unwrap();
    }
}

#[test]
fn a_failing_hook_after_a_stage_is_a_warning_unless_it_says_fail() {
    let fail = "on_failure = \"fail\"";
    let warn = "on_failure = \"warn\"";
    let afters = ["plan", "publish", "run"].map(|stage| hook_that_fails(stage, "after", ""));
    let (mut hub, _database) = hub(&(hook_that_fails("files", "before", warn) + &afters.concat()));
    hub.set("POSTGRES_PASSWORD", "hunter2-mask");
    let (record, _) = hub.backup();
    let warnings = record["warnings"].as_array().unwrap();
    let of = |key: &'static str| {
        warnings
            .iter()
            .map(move |w| w[key].as_str().unwrap().to_owned())
    };
    let subjects: Vec<String> = of("subject").collect();
    assert_eq!(
        subjects,
        ["after plan", "before files", "after publish", "after run"]
    );
    assert!(of("code").all(|code| code == "hook-failed"), "{record}");
    assert!(
        of("message").all(|said| said.ends_with("exit code 4: say ***")),
        "{record}"
    );
    assert!(!record.to_string().contains("hunter2"));
    let listed = stdout(&hub.run(&["list", "--json"]));
    assert!(
        listed.contains("after run"),
        "the catalog knows it: {listed}"
    );

    let place = tempfile::tempdir().unwrap();
    let toml = hook_that_fails("export", "after", fail)
        + &hook_that_notes(&place.path().join("notes"), "run", "after");
    let (mut other, _database) = self::hub(&toml);
    other.set("POSTGRES_PASSWORD", "hunter2-mask");
    other.backup_fails(1, &["the hook after export"]);
}
