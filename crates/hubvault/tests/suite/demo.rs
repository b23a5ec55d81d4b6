//! The demonstration with an S3 server: everything comes back from the bucket alone, and nothing else stays.

use crate::hub::{stderr, stdout};
use hubvault_testkit::open_directory;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_demonstration_restores_from_a_bucket_alone() {
    let temp = open_directory();
    let kept = tempfile::tempdir().unwrap();
    let weed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/stores/seaweedfs/weed");
    let output = Command::new(env!("CARGO_BIN_EXE_hubvault"))
        .args(["demo", "--users", "100", "--no-progress", "--s3-server"])
        .arg(weed)
        .current_dir(kept.path())
        .env("TMPDIR", temp.path())
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{text}\n{}", stderr(&output));
    let (_, from_bucket) = text.split_once("== 10.").unwrap();
    // One table, then all 13.
    let equal = from_bucket.lines().filter(|line| line.ends_with("  equal"));
    assert_eq!(equal.count(), 14, "{text}");

    let names = |directory: &Path| {
        let names = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(temp.path()), [""; 0]);
    let kept = names(&kept.path().join("demo-backups"));
    let [key, archive, sidecar] = &kept[..] else {
        panic!("{kept:?}");
    };
    assert_eq!(key, "administrator-key.txt");
    assert_eq!(sidecar, &format!("{archive}.manifest.json"));
    assert!(archive.ends_with(".tar.gz.age"), "{archive}");
}

#[test]
fn the_page_of_the_demonstration_stays_until_it_is_ended() {
    let temp = open_directory();
    let kept = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_hubvault"))
        .args(["demo", "--users", "100", "--no-progress", "--keep"])
        .current_dir(kept.path())
        .env("TMPDIR", temp.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let address = loop {
        if let Some(address) = next().strip_prefix("http://") {
            break address.trim_end_matches('/').to_owned();
        }
    };
    while next() != "Log in with the token" {}
    let form = format!("token={}", next());
    let ask = |head: &str, body: &str| {
        let mut service = TcpStream::connect(&address).unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: {address}\r\naccept: text/html\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n"
        );
        write!(service, "{request}\r\n{body}").unwrap();
        let mut answer = String::new();
        service.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("POST /login", "token=another").starts_with("HTTP/1.1 401"));
    let answer = ask("POST /login", &form);
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let (_, cookie) = answer.split_once("set-cookie: ").unwrap();
    let (cookie, _) = cookie.split_once(';').unwrap();
    let page = ask(
        &format!("GET / HTTP/1.1\r\ncookie: {cookie}\r\nx-rest:"),
        "",
    );
    assert!(page.contains("can be restored. Proven at"), "{page}");
    let pid = Pid::from_raw(demo.id().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(&address).is_err(), "the service goes on");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}
