//! The way of a new user, as docs/first-backup.md says it: the commands of the page, run one after the other.

use crate::hub::{HUBVAULT, coverage, stderr, stdout};
use hubvault_postgres::ConnectSettings;
use hubvault_testkit::{
    MailServer, MailServerOptions, MailTls, USERS, database_with, digests, open_directory,
};
use std::path::Path;
use std::process::{Command, Output};

const PAGE: &str = include_str!("../../../../docs/first-backup.md");

/// The shell commands of the page under one of its marks.
fn commands(mark: &str) -> &'static str {
    let (_, after) = PAGE
        .split_once(&format!("<!-- first-backup: {mark} -->\n```sh\n"))
        .unwrap();
    after.split_once("\n```").unwrap().0
}

/// A connection as a URL of one word.
fn url(settings: &ConnectSettings, database: &str) -> String {
    let host = settings.host.replace('/', "%2F");
    format!(
        "postgres://{}@{host}:{}/{database}",
        settings.user, settings.port
    )
}

fn run(script: &str, place: &Path, temporary: &Path) -> Output {
    let programs = Path::new(HUBVAULT).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path)));
    Command::new("sh")
        .args(["-c", script])
        .env_clear()
        .env("PATH", path.unwrap())
        .env("HOME", place)
        .env("TMPDIR", temporary)
        .envs(coverage())
        .current_dir(place)
        .output()
        .unwrap()
}

#[test]
fn where_nothing_is_configured_the_command_that_does_it_is_named() {
    let (place, temporary) = (tempfile::tempdir().unwrap(), open_directory());
    let nowhere = place.path().join("nowhere");
    let ways = |command: &str| format!("BACKUP_DIR={} hubvault {command}", nowhere.display());
    for command in ["status", "list"] {
        let output = run(&ways(command), place.path(), temporary.path());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("nothing is configured") && said.contains("hubvault init"),
            "{said}"
        );
    }
    let named = format!("POSTGRES_DB=shop {}", ways("status"));
    let said = stderr(&run(&named, place.path(), temporary.path()));
    assert!(!said.contains("nothing is configured"), "{said}");
    // What an argument names, or a service.
    let file = place.path().join("hubvault.toml");
    let init = format!(
        "hubvault init --yes --url postgres://u@127.0.0.1:1/shop --output {}",
        file.display()
    );
    let child = format!(
        "printf '\"copies\"\\n[archive]\\ndirectory = \"%s\"\\n' {} | hubvault child copies",
        nowhere.display()
    );
    for (command, cause) in [
        (init, "connecting to u@"),
        (child, "nowhere does not exist"),
    ] {
        let said = stderr(&run(&command, place.path(), temporary.path()));
        assert!(
            said.contains(cause) && !said.contains("nothing is configured"),
            "{said}"
        );
    }
}

#[test]
fn the_page_leads_to_a_proven_backup_that_somebody_is_notified_of_and_a_copy_elsewhere() {
    let mail = MailServer::start(MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    });
    let source = database_with(USERS);
    let (place, temporary) = (tempfile::tempdir().unwrap(), open_directory());
    let elsewhere = place.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let settings = source.settings();
    let restored = format!("{}_restored", source.name());
    // The page's names, and what they are here. The role's name is the page's: no other test makes it.
    let here = |commands: &str| {
        let smtp = format!("localhost --smtp-port {} --smtp-security none", mail.port);
        commands
            .replace(
                "postgres://postgres@localhost/shop_restored",
                &url(&settings, &restored),
            )
            .replace(
                "postgres://postgres@localhost/shop",
                &url(&settings, source.name()),
            )
            .replace(
                "/srv/backups",
                &place.path().join("backups").display().to_string(),
            )
            .replace("/mnt/elsewhere", &elsewhere.display().to_string())
            .replace("smtp.example.com", &smtp)
    };
    let all = ["commands", "copy", "restore"].map(commands);
    let joined = all.join("\n").replace("\\\n", "");
    let count = joined.lines().filter(|line| {
        ["age-keygen", "hubvault", "cat"]
            .iter()
            .any(|program| line.starts_with(program))
    });
    assert!(count.count() < 10, "{all:?}");

    let mut said = String::new();
    for part in all {
        let output = run(&here(part), place.path(), temporary.path());
        said += &(stdout(&output) + &stderr(&output));
        assert_eq!(output.status.code(), Some(0), "{part}\n{said}");
    }
    assert!(said.contains("SAFE") && !said.contains("AT RISK"), "{said}");
    assert!(
        said.contains("proven: 1 table, 1,000 rows restored and equal"),
        "{said}"
    );
    assert!(
        said.contains("notified ada@example.com; the archive: attached"),
        "{said}"
    );
    // The test mail, the first backup, the second one.
    let messages = mail.messages();
    assert_eq!(messages.len(), 3, "{said}");
    let attached = &messages[2].parts().attachments[0].bytes;
    let copies = std::fs::read_dir(&elsewhere)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut copies: Vec<_> = copies.collect();
    copies.sort();
    let [archive, _sidecar] = copies.as_slice() else {
        panic!("{copies:?}")
    };
    assert!(
        archive.extension().is_some_and(|end| end == "age"),
        "{archive:?}"
    );
    assert_eq!(&std::fs::read(archive).unwrap(), attached);
    let target = ConnectSettings {
        dbname: restored.clone(),
        ..settings.clone()
    };
    assert_eq!(digests(&target), source.digests());
    let config = std::fs::read_to_string(place.path().join("hubvault.toml")).unwrap();
    assert!(config.contains("hubvault_backup"), "{config}");
    source.execute(&format!("DROP DATABASE {restored}"));
    source.execute("DROP OWNED BY hubvault_backup; DROP ROLE hubvault_backup");
}
