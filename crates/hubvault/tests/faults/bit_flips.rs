//! Bits flipped between the server and hubvault, as may happen without TLS: a published archive has what the server
//! sent, or nothing is published.

use crate::fixture::{Fixture, SMALL};
use crate::form::points;
use crate::tally::Tally;
use hubvault_testkit::{
    Database, MessageProxy, Next, Passing, Random, Side, contains_bytes, database_with,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const COPY_DATA: u8 = b'd';
const DATA_ROW: u8 = b'D';
/// Where the second column is, after the count of columns and a number of four bytes, both with their lengths.
const SEQUENCE: std::ops::Range<usize> = 19..27;
/// Tag and length.
const HEAD: usize = 5;

/// Which messages of the server a flip may hit.
type Kind = fn(&Passing<'_>) -> bool;

fn is_row(message: &Passing<'_>) -> bool {
    message.side == Side::Server && message.tag == COPY_DATA
}

fn is_other_than_a_row(message: &Passing<'_>) -> bool {
    message.side == Side::Server && message.tag != COPY_DATA
}

/// The value of the only sequence: a number to find it by, a flag, and both again.
fn is_sequence(message: &Passing<'_>) -> bool {
    message.side == Side::Server
        && message.tag == DATA_ROW
        && message.bytes.get(SEQUENCE) == Some(300_i64.to_be_bytes().as_slice())
}

/// The snapshot: its name, position and time, and all of them again.
fn is_snapshot(message: &Passing<'_>) -> bool {
    message.side == Side::Server
        && message.tag == DATA_ROW
        && contains_bytes(message.bytes, b" f ")
        && contains_bytes(message.bytes, b"-1")
}

/// How many messages of a kind a run takes.
fn count_messages(source: &Database, fixture: &mut Fixture, kind: Kind) -> u64 {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let proxy = MessageProxy::start(&source.settings(), move |message| {
        count.fetch_add(u64::from(kind(message)), Ordering::Relaxed);
        Next::Pass
    });
    fixture.connect_through(&proxy.settings(&source.settings()));
    assert_eq!(fixture.backup().unwrap().what, "proven");
    seen.load(Ordering::Relaxed)
}

/// Flips bits of one message of a run: `place` says which byte, of so many.
fn flips(
    tally: &mut Tally,
    name: &str,
    source: &Database,
    fixture: &mut Fixture,
    count: usize,
    kind: Kind,
    place: fn(&mut Random, usize) -> usize,
) {
    let begun = Instant::now();
    let all = count_messages(source, fixture, kind);
    // What a message of an enormous length would bring is waited for: several times what a run takes.
    let limit = 4 * begun.elapsed().as_secs() + 4;
    fixture.hub.set("BACKUP_TIME_LIMIT", format!("{limit} s"));
    let truth = definitions(fixture);
    let mut random = Random(all);
    for _ in 0..count {
        let (at, bit, seed) = (random.below(all), random.below(8), random.below(1 << 30));
        let count_of_kind = AtomicU64::new(0);
        let proxy = MessageProxy::start(&source.settings(), move |message| {
            if kind(message) && count_of_kind.fetch_add(1, Ordering::Relaxed) == at {
                let byte = place(&mut Random(seed), message.bytes.len());
                message.bytes[byte] ^= 1 << bit;
            }
            Next::Pass
        });
        fixture.connect_through(&proxy.settings(&source.settings()));
        let ended = fixture.backup();
        drop(proxy);
        let ended = ended.and_then(|outcome| {
            if outcome.what == "proven" && definitions(fixture) != truth {
                return Err("FALSE DEFINITIONS".to_owned());
            }
            Ok(outcome)
        });
        match ended {
            Ok(outcome) => tally.passed(name, &outcome.what),
            Err(why) => tally.failed(name, &format!("{why:.200}")),
        }
    }
}

/// The definitions in the newest archive and the values of its sequences, without what differs from run to run.
fn definitions(fixture: &Fixture) -> Vec<String> {
    let listed = fixture.listed().unwrap();
    let output = std::process::Command::new("tar")
        .args(["--wildcards", "-xzOf", listed[0]["file"].as_str().unwrap()])
        .args(["database/schema-*.sql", "database/sequences.sql"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| !line.contains("restrict "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_bit_flipped_on_the_way_from_the_server_is_found() {
    let source = database_with(SMALL);
    let mut fixture = Fixture::of(&source);
    // As it is where rows come over a network without TLS; the proxy listens on loopback.
    fixture.hub.set("PROOF_SOURCE_DIGEST", "always");
    let mut tally = Tally::new("wire-flips");
    let inside =
        |random: &mut Random, length: usize| HEAD + random.below((length - HEAD) as u64) as usize;
    flips(
        &mut tally,
        "a bit of a row",
        &source,
        &mut fixture,
        points(5, 150),
        is_row,
        inside,
    );
    let tag = |_: &mut Random, _| 0;
    flips(
        &mut tally,
        "a bit of the tag of a row",
        &source,
        &mut fixture,
        points(4, 32),
        is_row,
        tag,
    );
    let length = |random: &mut Random, _| 1 + random.below(4) as usize;
    flips(
        &mut tally,
        "a bit of the length of a row",
        &source,
        &mut fixture,
        points(1, 24),
        is_row,
        length,
    );
    let anywhere = |random: &mut Random, length: usize| random.below(length as u64) as usize;
    flips(
        &mut tally,
        "a bit of another message",
        &source,
        &mut fixture,
        points(4, 120),
        is_other_than_a_row,
        anywhere,
    );
    let value = |random: &mut Random, _| SEQUENCE.start + random.below(8) as usize;
    flips(
        &mut tally,
        "a bit of where a sequence stands",
        &source,
        &mut fixture,
        points(4, 64),
        is_sequence,
        value,
    );
    flips(
        &mut tally,
        "a bit of the snapshot's name, position and time",
        &source,
        &mut fixture,
        points(4, 64),
        is_snapshot,
        inside,
    );
    if let Err(why) = fixture.check_recovery() {
        tally.failed("a bit of another message", &why);
    }
    tally.finish();
}
