//! All tables of an archive show one moment, whatever is written meanwhile.

use crate::hub::Hub;
use hubvault_testkit::{restore_with_plain_tools, server};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[test]
fn money_moved_during_the_backup_is_neither_lost_nor_doubled() {
    let server = server();
    let source = server.database();
    // Two tables, so that a transfer crosses the tables, and rows enough for several extents.
    source.execute(
        "CREATE TABLE left_bank (id int PRIMARY KEY, balance int NOT NULL, filler text);
         CREATE TABLE right_bank (id int PRIMARY KEY, balance int NOT NULL, filler text);
         INSERT INTO left_bank SELECT n, 1000, repeat(md5(n::text), 20) FROM generate_series(1, 60000) n;
         INSERT INTO right_bank SELECT n, 1000, repeat(md5(n::text), 20) FROM generate_series(1, 60000) n;
         ANALYZE;",
    );
    let stop = AtomicBool::new(false);
    let transfers = AtomicU32::new(0);
    let (archive, during) = std::thread::scope(|scope| {
        for seed in 0..2 {
            let (source, stop, transfers) = (&source, &stop, &transfers);
            scope.spawn(move || {
                let mut client = source.client();
                let mut n = seed;
                while !stop.load(Ordering::Relaxed) {
                    n = (n * 31 + 7) % 60_000;
                    let sql = format!(
                        "BEGIN;
                         UPDATE left_bank SET balance = balance - 1 WHERE id = {n} + 1;
                         UPDATE right_bank SET balance = balance + 1 WHERE id = {n} + 1;
                         COMMIT;"
                    );
                    client.batch_execute(&sql).unwrap();
                    transfers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while transfers.load(Ordering::Relaxed) < 100 {
            std::thread::yield_now();
        }
        let before = transfers.load(Ordering::Relaxed);
        let hub = Hub::whole(&source);
        let (_, archive) = hub.backup();
        let during = transfers.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        let kept = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(archive, kept.path()).unwrap();
        (kept, during)
    });
    assert!(during > 0, "no transfer happened while the backup ran");
    let target = server.database();
    restore_with_plain_tools(archive.path(), &target);
    let sum = "SELECT (SELECT sum(balance) FROM left_bank) + (SELECT sum(balance) FROM right_bank)";
    assert_eq!(target.value(sum), "120000000");
    let moved = "SELECT 60000000 - sum(balance) FROM left_bank";
    assert_ne!(
        target.value(moved),
        "0",
        "the snapshot saw no transfer at all"
    );
}
