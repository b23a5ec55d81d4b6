//! Where the week is played: a shop's database, hubvault with one configuration, and what was on the terminal.

use super::mask;
use crate::clock::Clock;
use crate::hub::Hub;
use crate::mailing::{send_mail_to, subject, text, without_tls};
use crate::terminal::on_terminal;
use hubvault_testkit::{Fault, MailServer, MailTls, Proxy, Server, execute, server};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tempfile::TempDir;

const SHOP: &str = "CREATE TABLE customers (id int PRIMARY KEY, name text, mail text);
    CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, total numeric);
    CREATE TABLE products (id int PRIMARY KEY, name text, price numeric);
    INSERT INTO customers SELECT n, 'customer ' || n, n || '@example.com' FROM generate_series(1, 1200) n;
    INSERT INTO orders SELECT n, n % 1200 + 1, n * 1.5 FROM generate_series(1, 4000) n;
    INSERT INTO products SELECT n, 'product ' || n, n FROM generate_series(1, 300) n;
    GRANT USAGE ON SCHEMA public TO shop_backup; GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_backup; ANALYZE;";

const DAILY: &str = "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[archive]\nworkers = 2\n[delivery]\npause = \"10 ms\"\n";

/// The names of the database and of its role; no other test of the suite has them.
const SHOP_NAMES: (&str, &str) = ("shop", "shop_backup");

pub(super) struct Desk {
    pub(super) hub: Hub,
    pub(super) mail: MailServer,
    pub(super) columns: u16,
    clock: Clock,
    now: String,
    proxy: Proxy,
    server: Arc<Server>,
    transcript: String,
    read: usize,
    drills: TempDir,
}

impl Desk {
    pub(super) fn new() -> Self {
        let server = server();
        let (database, role) = SHOP_NAMES;
        execute(
            &server.settings("postgres"),
            &format!("CREATE DATABASE {database}"),
        );
        execute(
            &server.settings(database),
            &format!("CREATE ROLE {role} LOGIN; {SHOP}"),
        );
        let proxy = Proxy::start(&server.settings(database), Fault::None);
        let mail = MailServer::start(without_tls());
        let settings = proxy.settings(&server.settings(database));
        let mut hub = Hub::at(&settings, "");
        // As at home: nothing of the tests is in what is printed.
        hub.set("PROOF_EMPTY_CLUSTERS", "");
        send_mail_to(&mut hub, &mail, MailTls::Plain);
        for (name, value) in [
            ("POSTGRES_USER", role),
            // Names in the output are as long on every machine.
            ("BACKUP_DIR", "backups"),
            ("CONFIG_DIR", "config"),
            ("EMAIL_ATTACH", "never"),
            ("BACKUP_SCHEDULE", "0 0 29 2 *"),
            ("NO_COLOR", "1"),
        ] {
            hub.set(name, value);
        }
        hub.write(DAILY);
        let drills = hub.prove();
        let clock = Clock::of(&mut hub, "2027-03-01T09:00:00Z");
        Self {
            hub,
            mail,
            columns: 80,
            clock,
            now: String::new(),
            proxy,
            server,
            transcript: String::new(),
            read: 0,
            drills,
        }
    }

    /// The moment of everything until the next one.
    pub(super) fn begin(&mut self, at: &str) {
        at.clone_into(&mut self.now);
    }

    /// The database's owner, as `--to` takes it.
    pub(super) fn owner(&self) -> String {
        let user = self.server.settings("postgres").user;
        format!(
            "--to postgres://{user}@127.0.0.1:{}/{}",
            self.proxy.port(),
            SHOP_NAMES.0
        )
    }

    /// Adds to the configuration of every day.
    pub(super) fn toml(&mut self, more: &str) {
        self.hub.write(&format!("{DAILY}{more}"));
        if !more.is_empty() {
            self.transcript += &format!("hubvault.toml has:\n{more}\n");
        }
    }

    pub(super) fn sql(&mut self, sql: &str) {
        execute(&self.server.settings(SHOP_NAMES.0), sql);
        self.transcript += &format!("# {sql}\n\n");
    }

    /// The mails since the last time.
    pub(super) fn mails(&mut self) {
        let all = self.mail.messages();
        if all.len() == self.read {
            self.transcript += "(no mail)\n\n";
        }
        for message in &all[self.read..] {
            let parts = message.parts();
            self.transcript += &format!(
                "Subject: {}\n\n{}\n(end of the mail)\n\n",
                subject(&parts),
                text(&parts)
            );
        }
        self.read = all.len();
    }

    /// What was on the terminal since the last time.
    pub(super) fn end(&mut self) -> String {
        let text = self.masked();
        self.transcript.clear();
        text
    }

    /// A command at the terminal that ends with `code`.
    pub(super) fn shell(&mut self, command: &str, code: i32) {
        let now: Timestamp = self.now.parse().unwrap();
        self.now = (now + SignedDuration::from_mins(12)).to_string();
        self.clock.set(&self.now);
        let arguments: Vec<&str> = command.split(' ').collect();
        let (text, ended) = on_terminal(&self.hub, self.columns, &arguments);
        println!("$ hubvault {command}\n{text}");
        assert_eq!(ended, Some(code), "{command}: {text}");
        let lines = text.split_inclusive('\n').map(|line| {
            // What is left of the progress bar's line.
            line.rsplit("\u{1b}[2K").next().unwrap()
        });
        let text: String = lines.collect();
        self.transcript += &format!("$ hubvault {command}\n{text}[exit code {code}]\n\n");
    }

    /// The transcript with names of this run of the test replaced by others that are as long.
    fn masked(&self) -> String {
        let listed = self.hub.run(&["list", "--json"]).stdout;
        let mut text = self
            .transcript
            .replace(&self.proxy.port().to_string(), "54320");
        text = text.replace(&self.mail.port.to_string(), "54325");
        for (path, masked) in [
            (self.drills.path(), "/tmp/drills"),
            (&self.mail.ca_file, "/tmp/mail/ca.pem"),
        ] {
            text = text.replace(path.to_str().unwrap(), masked);
        }
        let runs: Vec<serde_json::Value> = serde_json::from_slice(&listed).unwrap_or_default();
        for (number, run) in runs.iter().rev().enumerate() {
            let id = run["id"].as_str().unwrap();
            let masked = format!("{:08x}", 0xa000_0001 + number as u32);
            text = text.replace(id, &format!("{masked}-0000-4000-8000-000000000000"));
            text = text.replace(&id[..8], &masked);
        }
        let outbox: Vec<serde_json::Value> = crate::mailing::outbox(&self.hub);
        for (number, message) in outbox.iter().rev().enumerate() {
            let id = &message["id"].as_str().unwrap()[..8];
            text = text.replace(id, &format!("{:08x}", 0xb000_0001 + number as u32));
        }
        mask::masked(&text)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let (database, role) = SHOP_NAMES;
        if std::thread::panicking() {
            return;
        }
        let of = |sql: String| execute(&self.server.settings("postgres"), &sql);
        of(format!("DROP DATABASE {database} WITH (FORCE)"));
        of(format!("DROP ROLE {role}"));
    }
}
