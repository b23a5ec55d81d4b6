//! A mail connection cut after any byte, in either direction: record, outbox and `list` agree with what the mail server
//! has.

use crate::fixture::Fixture;
use crate::form::points;
use crate::tally::Tally;
use hubvault_testkit::{MailServer, MailServerOptions, MailTls, database_with};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const SMALL: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, 300) n; ANALYZE;";

/// Passes on to a mail server and cuts each connection after so many bytes of one direction.
struct Cutter {
    port: u16,
    sent: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Cutter {
    fn start(to: u16, sent_limit: u64, answered_limit: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self {
            port: listener.local_addr().unwrap().port(),
            sent: Arc::default(),
            answered: Arc::default(),
            stop: Arc::default(),
        };
        let (sent, answered) = (Arc::clone(&this.sent), Arc::clone(&this.answered));
        let stop = Arc::clone(&this.stop);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                pass(&client, &server, sent_limit, &sent);
                pass(&server, &client, answered_limit, &answered);
            }
        });
        this
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass(from: &TcpStream, to: &TcpStream, limit: u64, counted: &Arc<AtomicU64>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let counted = Arc::clone(counted);
    std::thread::spawn(move || {
        let (mut left, mut buffer) = (limit, vec![0; 4096]);
        while left > 0 {
            let most = buffer.len().min(left.try_into().unwrap_or(usize::MAX));
            let n = from.read(&mut buffer[..most]).unwrap_or(0);
            if n == 0 || to.write_all(&buffer[..n]).is_err() {
                break;
            }
            left -= n as u64;
            counted.fetch_add(n as u64, Ordering::Relaxed);
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn hub_with_mail(fixture: &mut Fixture, mail: &MailServer, port: u16) {
    for (name, value) in [
        ("EMAIL_ENABLED", "true"),
        ("SMTP_HOST", "localhost"),
        ("SMTP_SECURITY", "none"),
        ("SMTP_FROM", "backup@hub.example"),
        ("ADMIN_EMAILS", "ada@hub.example"),
        ("PROOF", "off"),
    ] {
        fixture.hub.set(name, value);
    }
    fixture
        .hub
        .set("SMTP_CA_FILE", mail.ca_file.display().to_string());
    fixture.hub.set("SMTP_PORT", port.to_string());
    fixture.hub.write(
        "file = []\n[scope]\ntables = [\"*\"]\nwindow = []\n[delivery]\ntries = 1\npause = \"10 ms\"\n\
         [email]\ntimeout = \"3 s\"\n",
    );
}

fn start() -> MailServer {
    MailServer::start(MailServerOptions {
        tls: MailTls::Plain,
        ..MailServerOptions::default()
    })
}

#[test]
fn a_mail_connection_cut_at_any_byte_loses_no_message() {
    let source = database_with(SMALL);
    let mut fixture = Fixture::of(&source);
    let mut tally = Tally::new("mail");
    let mail = start();
    let all = Cutter::start(mail.port, u64::MAX, u64::MAX);
    hub_with_mail(&mut fixture, &mail, all.port);
    fixture.backup().unwrap();
    assert_eq!(mail.messages().len(), 1);
    let sent = all.sent.load(Ordering::Relaxed);
    let answered = all.answered.load(Ordering::Relaxed);
    for (kind, bytes, count) in [
        ("cut after a byte that was sent", sent, points(6, 70)),
        ("cut after a byte of an answer", answered, points(4, 40)),
    ] {
        for n in 0..count as u64 {
            // The last ones are beyond the end, as sizes change a little.
            let at = 1 + n * (bytes + bytes / 20) / count as u64;
            let limits = if bytes == sent {
                (at, u64::MAX)
            } else {
                (u64::MAX, at)
            };
            match only_message(&mut fixture, limits) {
                Ok(what) => tally.passed(kind, what),
                Err(why) => tally.failed(kind, &why),
            }
        }
    }
    tally.finish();
}

/// One backup whose mail is cut, and then a retry that is not.
fn only_message(
    fixture: &mut Fixture,
    (sent, answered): (u64, u64),
) -> Result<&'static str, String> {
    let mail = start();
    let cutter = Cutter::start(mail.port, sent, answered);
    hub_with_mail(fixture, &mail, cutter.port);
    let output = fixture.hub.run(&["backup", "--json", "--no-progress"]);
    fixture.check_run(&output)?;
    let record: Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let told = record["delivery"]["told"] == serde_json::json!(["ada@hub.example"]);
    let held = mail.messages().len();
    let id = record["id"].as_str().unwrap_or_default();
    let newest = |fixture: &Fixture| {
        outbox(fixture)
            .into_iter()
            .find(|item| item["backup"] == id)
    };
    let item =
        newest(fixture).ok_or_else(|| format!("the outbox: {:?}", outbox(fixture).first()))?;
    let state = item["state"].as_str().unwrap_or_default();
    if told != (state == "sent") || (told && held != 1) {
        return Err(format!(
            "told {told}, in the outbox {state}, the server holds {held}"
        ));
    }
    let undelivered = fixture.listed()?[0]["delivery"]["untold"] != serde_json::json!([]);
    if undelivered == told {
        return Err(format!(
            "told {told}, and list says undelivered {undelivered}"
        ));
    }
    if told {
        return Ok("told, and the server has it");
    }
    let what = if held == 0 {
        "not told, waits; told by the retry"
    } else {
        "not known, waits; told again with the same Message-ID"
    };
    fixture.hub.set("SMTP_PORT", mail.port.to_string());
    let retried: Output = fixture.hub.run(&["mail", "retry"]);
    let messages = mail.messages();
    let state = newest(fixture).map(|item| item["state"].to_string());
    if retried.status.code() != Some(0) || state.as_deref() != Some("\"sent\"") {
        return Err(format!("the retry: {}, {state:?}", retried.status));
    }
    let ids: Vec<String> = messages
        .iter()
        .map(|message| message.parts().header("Message-ID").to_owned())
        .collect();
    let whole = messages
        .iter()
        .all(|message| message.parts().attachments.len() == 1);
    if messages.len() != held + 1 || ids.iter().any(|other| *other != ids[0]) || !whole {
        return Err(format!(
            "{} messages after the retry: {ids:?}, whole: {whole}",
            messages.len()
        ));
    }
    Ok(what)
}

fn outbox(fixture: &Fixture) -> Vec<Value> {
    let output = fixture.hub.run(&["mail", "outbox", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}
