//! Between hubvault and the server: cut, stalled, ended, restarted, cancelled, and bits that flip.

use crate::form::{is_long, points};
use crate::scene::{SMALL, Scene};
use crate::tally::Tally;
use hubvault_testkit::{Database, MessageProxy, Next, Passing, server};

/// One run with every message given to `meddle`; then one without, which must be proven.
fn disturbed(
    tally: &mut Tally,
    kind: &str,
    source: &Database,
    scene: &mut Scene,
    recover: bool,
    meddle: impl Fn(&mut Passing<'_>) -> Next + Send + Sync + 'static,
) {
    let proxy = MessageProxy::start(&source.settings(), meddle);
    scene.reach(&proxy.settings(&source.settings()));
    let ended = scene.backup();
    drop(proxy);
    let recovered = if recover { scene.recovers() } else { Ok(()) };
    match ended.and_then(|ending| recovered.map(|()| ending)) {
        Ok(ending) => tally.well(kind, &ending.what),
        Err(why) => tally.badly(kind, &why),
    }
}

/// How many messages an undisturbed run takes.
fn messages_of_a_run(source: &Database, scene: &mut Scene) -> u64 {
    let proxy = MessageProxy::start(&source.settings(), |_| Next::Pass);
    scene.reach(&proxy.settings(&source.settings()));
    assert_eq!(scene.backup().unwrap().what, "proven");
    proxy.passed()
}

/// `count` of the numbers from 1 to `last`, spread evenly.
fn spread(count: usize, last: u64) -> impl Iterator<Item = u64> {
    (0..count as u64).map(move |n| 1 + n * last / count as u64)
}

#[test]
fn a_connection_that_is_cut_after_any_message() {
    let server = server();
    let source = server.database();
    source.execute(SMALL);
    let mut scene = Scene::of(&source);
    let mut tally = Tally::new("wire-cut");
    let all = messages_of_a_run(&source, &mut scene);
    println!("a run takes {all} messages");
    for (turn, at) in spread(points(20, 500), 500).enumerate() {
        let recover = is_long() || turn % 5 == 0;
        disturbed(&mut tally, "cut after a message of the first 500", &source, &mut scene, recover, move |message| {
            if message.number == at { Next::Cut } else { Next::Pass }
        });
    }
    for (turn, at) in spread(points(6, 100), all.max(501) - 500).enumerate() {
        let recover = is_long() || turn % 5 == 0;
        disturbed(&mut tally, "cut after a later message", &source, &mut scene, recover, move |message| {
            if message.number == 500 + at { Next::Cut } else { Next::Pass }
        });
    }
    tally.close();
}
