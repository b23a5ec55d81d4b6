//! The examples of docs/extending.md do what the page says.

use crate::hub::{HUBVAULT, Hub, stderr, stdout};
use crate::mailing::{send_mail_to, subject, text, without_tls};
use hubvault_testkit::{MailServer, MailTls, database_with};
use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../../../docs/extending.md");
const TABLE: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users VALUES (1, 'ada'), (2, 'grace');";

/// One block that is marked with a comment line before it.
struct Block {
    example: String,
    part: String,
    text: String,
}

/// `<!-- example: NAME, PART -->`, and the fenced block after it.
fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let Some(mark) = line.strip_prefix("<!-- example: ") else {
            continue;
        };
        let (example, part) = mark.strip_suffix(" -->").unwrap().split_once(", ").unwrap();
        assert!(lines.next().unwrap().starts_with("```"), "no block: {mark}");
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        found.push(Block {
            example: example.to_owned(),
            part: part.to_owned(),
            text: text.join("\n") + "\n",
        });
    }
    found
}

/// Runs an example; what its commands printed, once every line that the page shows was found there.
fn run(example: &str, prepare: impl FnOnce(&mut Hub)) -> String {
    let blocks: Vec<Block> = blocks()
        .into_iter()
        .filter(|b| b.example == example)
        .collect();
    let part = |name: &str| {
        blocks
            .iter()
            .find(|b| b.part == name)
            .map(|b| b.text.as_str())
    };
    let database = database_with(part("sql").unwrap_or(TABLE));
    let mut toml = part("toml").unwrap().to_owned();
    if !toml.contains("[scope]") {
        toml += "[scope]\ntables = [\"*\"]\nwindow = []\n";
    }
    let mut hub = Hub::with(&database, &toml);
    hub.set("PROOF", "always");
    prepare(&mut hub);
    let mut shell = hub.command_of("sh");
    let directory = shell.get_current_dir().unwrap().to_owned();
    for block in blocks.iter().filter(|block| block.part.contains('/')) {
        let path = directory.join(&block.part);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &block.text).unwrap();
    }
    shell.args(["-eu", "-c", part("sh").unwrap()]);
    let beside = Path::new(HUBVAULT).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    shell.env("PATH", format!("{}:{path}", beside.display()));
    let output = shell.output().unwrap();
    let printed = stdout(&output);
    let code = output.status.code();
    assert_eq!(code, Some(0), "{example}: {printed}{}", stderr(&output));
    for line in part("prints").unwrap().lines() {
        assert!(
            printed.contains(line),
            "{example}: {line:?} is not in\n{printed}"
        );
    }
    printed
}

#[test]
fn a_table_is_added_as_the_page_says() {
    run("table", |_| {});
}

#[test]
fn a_file_is_added_as_the_page_says() {
    run("file", |_| {});
}

#[test]
fn a_source_and_a_hook_are_added_as_the_page_says() {
    run("source", |_| {});
}

#[test]
fn a_mail_type_is_added_as_the_page_says() {
    let mail = MailServer::start(without_tls());
    run("mail", |hub| send_mail_to(hub, &mail, MailTls::Plain));
    let messages = mail.messages();
    let parts = messages.last().unwrap().parts();
    assert!(
        subject(&parts).ends_with("this week's backup is proven"),
        "{}",
        subject(&parts)
    );
    assert!(text(&parts).contains("users"), "{}", text(&parts));
}

#[test]
fn a_check_is_added_as_the_page_says() {
    run("check", |_| {});
}

#[test]
fn an_alert_is_added_as_the_page_says() {
    let mail = MailServer::start(without_tls());
    run("alert", |hub| send_mail_to(hub, &mail, MailTls::Plain));
    let messages = mail.messages();
    let parts: Vec<_> = messages
        .iter()
        .map(hubvault_testkit::Received::parts)
        .collect();
    let begun = parts
        .iter()
        .position(|parts| subject(parts).ends_with("queue needs somebody"));
    let begun = begun.unwrap();
    assert!(text(&parts[begun]).contains("the mail queue is stuck"));
    let ended = parts[begun..]
        .iter()
        .any(|parts| subject(parts).contains("queue") && !subject(parts).contains("needs"));
    assert!(ended, "no mail of its end");
}

#[test]
fn every_example_of_the_page_is_run() {
    let marked: BTreeSet<String> = blocks().into_iter().map(|block| block.example).collect();
    let run: Vec<&str> = marked.iter().map(String::as_str).collect();
    assert_eq!(run, ["alert", "check", "file", "mail", "source", "table"]);
    let fences = PAGE.lines().filter(|line| line.starts_with("```")).count();
    assert_eq!(fences, 2 * blocks().len(), "a block is not marked");
}
