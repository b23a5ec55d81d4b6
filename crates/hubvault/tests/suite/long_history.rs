//! The memory of commands beside a catalog of many runs.

use crate::copies::Copies;
use crate::mail_failures::rewrite;
use crate::memory::most_of;

const RUNS: u64 = 300;
const TABLES: u64 = 2_000;

/// Adds runs to the catalog that are like the one in it, an hour apart, each with many tables. Their copies were
/// removed; some are pinned.
fn history() -> String {
    let removed = |copy: usize| {
        format!(
            "'$.copies[{copy}].key', new, '$.copies[{copy}].state', 'removed', '$.copies[{copy}].removed_at', at"
        )
    };
    let copies = [0, 1, 2].map(removed).join(", ");
    format!(
        "WITH RECURSIVE
             n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {RUNS}),
             t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < {TABLES}),
             many(tables) AS MATERIALIZED (SELECT json_group_array(json_object('name', printf('app.many_%04d', i),
                 'rows', i, 'bytes', 10 * i, 'digest', printf('%032x', i), 'coverage', 'whole')) FROM t),
             runs AS MATERIALIZED (SELECT i, printf('%08x-0000-4000-8000-000000000000', i) AS new,
                 strftime('%Y-%m-%dT%H:%M:%SZ', started_at, printf('-%d hours', i)) AS at, one.* FROM n, (SELECT * FROM backups LIMIT 1) AS one)
         INSERT INTO backups SELECT new, job, state, NULL, at, at, bytes, json_set(record, '$.id', new,
             '$.started_at', at, '$.finished_at', at, '$.tables', json(tables), '$.delivery.untold', json('[]'),
             '$.pinned', json(iif(i % 50 = 0, 'true', 'false')), '$.pin', json('{{\"machine\": \"<script>\"}}'),
             '$.file', new, '$.removed_at', at, {copies})
         FROM runs, many"
    )
}

/// What commands do with the history of a job may not take more memory with every run of it.
#[test]
fn a_long_history_takes_no_memory() {
    let commands: [&[&str]; _] = [
        &["list"],
        &["status"],
        &["check", "clock"],
        &["doctor"],
        &["config", "check"],
        &["logs"],
        &["mail", "preview", "digest"],
        &["mail", "retry"],
        &["prune", "--dry-run"],
        &["copies", "list"],
        &["copies", "sync"],
        &["pin", "latest"],
        &["backup"],
    ];
    let copies = Copies::new("CREATE TABLE users (id int PRIMARY KEY)", "");
    copies.hub.run_expecting(3, &["backup"]);
    let measure = || commands.map(|arguments| most_of(&copies.hub, arguments));
    let before = measure();
    let catalog = copies.hub.backups().join(".hubvault/catalog.sqlite");
    rewrite(&catalog, &history());
    let after = measure();
    // Of a short command the last look at its memory may come too early, of one of all of them not.
    let most = before.into_iter().max().unwrap();
    for (arguments, after) in commands.iter().zip(after) {
        println!("{arguments:?}: {after} kB beside {RUNS} runs, at most {most} kB alone");
        // All of their records at once were four times as much.
        let more = after.saturating_sub(most);
        assert!(more < 24_000, "{arguments:?} takes {more} kB more");
    }
}
