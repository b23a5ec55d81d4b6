//! A bit flips between the server and hubvault, as it may where no TLS is: what is published holds what the server
//! sent, or nothing is published.

use crate::form::points;
use crate::scene::{SMALL, Scene};
use crate::tally::Tally;
use hubvault_testkit::{Database, MessageProxy, Next, Passing, Side, server};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const COPY_DATA: u8 = b'd';
const DATA_ROW: u8 = b'D';
/// Where the second column stands, after the count of columns and a number of four bytes, both with their lengths.
const SEQUENCE: std::ops::Range<usize> = 19..27;
/// Tag and length.
const HEAD: usize = 5;

/// Numbers that look like chance and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's MMIX; its high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

/// Which messages of the server a flip may hit.
type Kind = fn(&Passing<'_>) -> bool;

fn is_row(message: &Passing<'_>) -> bool {
    message.side == Side::Server && message.tag == COPY_DATA
}

fn is_no_row(message: &Passing<'_>) -> bool {
    message.side == Side::Server && message.tag != COPY_DATA
}

/// Where the only sequence stands: a number to find it by, a flag, and both again.
fn is_sequence(message: &Passing<'_>) -> bool {
    message.side == Side::Server
        && message.tag == DATA_ROW
        && message.bytes.get(SEQUENCE) == Some(300_i64.to_be_bytes().as_slice())
}

/// The snapshot: its name, position and time, and all of them again.
fn is_snapshot(message: &Passing<'_>) -> bool {
    message.side == Side::Server
        && message.tag == DATA_ROW
        && contains(message.bytes, b" f ")
        && contains(message.bytes, b"-1")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// How many messages of a kind a run takes.
fn how_many(source: &Database, scene: &mut Scene, kind: Kind) -> u64 {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let proxy = MessageProxy::start(&source.settings(), move |message| {
        count.fetch_add(u64::from(kind(message)), Ordering::Relaxed);
        Next::Pass
    });
    scene.reach(&proxy.settings(&source.settings()));
    assert_eq!(scene.backup().unwrap().what, "proven");
    seen.load(Ordering::Relaxed)
}

/// Flips bits of one message of a run: `place` says which byte, of so many.
fn flips(
    tally: &mut Tally,
    name: &str,
    source: &Database,
    scene: &mut Scene,
    count: usize,
    kind: Kind,
    place: fn(&mut Chance, usize) -> usize,
) {
    let begun = Instant::now();
    let all = how_many(source, scene, kind);
    // What a message of an enormous length would bring is waited for: several times what a run takes.
    let limit = 4 * begun.elapsed().as_secs() + 4;
    scene.hub.set("BACKUP_TIME_LIMIT", format!("{limit} s"));
    let truth = definitions(scene);
    let mut chance = Chance(all);
    for _ in 0..count {
        let (at, bit, seed) = (chance.below(all), chance.below(8), chance.below(1 << 30));
        let count_of_kind = AtomicU64::new(0);
        let proxy = MessageProxy::start(&source.settings(), move |message| {
            if kind(message) && count_of_kind.fetch_add(1, Ordering::Relaxed) == at {
                let byte = place(&mut Chance(seed), message.bytes.len());
                message.bytes[byte] ^= 1 << bit;
            }
            Next::Pass
        });
        scene.reach(&proxy.settings(&source.settings()));
        let ended = scene.backup();
        drop(proxy);
        let ended = ended.and_then(|ending| {
            if ending.what == "proven" && definitions(scene) != truth {
                return Err("FALSE DEFINITIONS".to_owned());
            }
            Ok(ending)
        });
        match ended {
            Ok(ending) => tally.well(name, &ending.what),
            Err(why) => tally.badly(name, &format!("{why:.200}")),
        }
    }
}

/// The definitions in the newest archive and where its sequences stand, without what differs from run to run.
fn definitions(scene: &Scene) -> Vec<String> {
    let listed = scene.listed().unwrap();
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
fn a_bit_that_flips_on_its_way_from_the_server() {
    let server = server();
    let source = server.database();
    source.execute(SMALL);
    let mut scene = Scene::of(&source);
    // As it is where rows come over a network without TLS; the proxy listens on loopback.
    scene.hub.set("PROOF_SOURCE_DIGEST", "always");
    let mut tally = Tally::new("wire-flips");
    let inside =
        |chance: &mut Chance, length: usize| HEAD + chance.below((length - HEAD) as u64) as usize;
    flips(
        &mut tally,
        "a bit of a row",
        &source,
        &mut scene,
        points(5, 150),
        is_row,
        inside,
    );
    let tag = |_: &mut Chance, _| 0;
    flips(
        &mut tally,
        "a bit of the tag of a row",
        &source,
        &mut scene,
        points(4, 32),
        is_row,
        tag,
    );
    let length = |chance: &mut Chance, _| 1 + chance.below(4) as usize;
    flips(
        &mut tally,
        "a bit of the length of a row",
        &source,
        &mut scene,
        points(1, 24),
        is_row,
        length,
    );
    let anywhere = |chance: &mut Chance, length: usize| chance.below(length as u64) as usize;
    flips(
        &mut tally,
        "a bit of another message",
        &source,
        &mut scene,
        points(4, 120),
        is_no_row,
        anywhere,
    );
    let where_it_stands = |chance: &mut Chance, _| SEQUENCE.start + chance.below(8) as usize;
    flips(
        &mut tally,
        "a bit of where a sequence stands",
        &source,
        &mut scene,
        points(4, 64),
        is_sequence,
        where_it_stands,
    );
    flips(
        &mut tally,
        "a bit of the snapshot's name, position and time",
        &source,
        &mut scene,
        points(4, 64),
        is_snapshot,
        inside,
    );
    if let Err(why) = scene.recovers() {
        tally.badly("a bit of another message", &why);
    }
    tally.close();
}
