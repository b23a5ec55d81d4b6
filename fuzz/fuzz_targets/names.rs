//! Short texts that people and databases write: patterns, names, sizes, ids, addresses, keys, schedules.

#![no_main]

use hubvault_archive::Recipient;
use hubvault_engine::schedule::Schedule;
use hubvault_model::{BackupId, ByteSize, TableName, TablePattern, quote_ident, quote_literal};
use jiff::{Timestamp, tz::TimeZone};
use libfuzzer_sys::fuzz_target;
use std::hint::black_box;

fuzz_target!(|text: &str| {
    let (schema, name) = text.split_once('.').unwrap_or(("public", text));
    let table = TableName::new(schema, name);
    // A name never leaves the folder that it is unpacked into.
    let path = table.path();
    assert!(
        !path.contains('\0') && path.split('/').all(|part| part != ".." && part != "."),
        "{path:?}"
    );
    if let Ok(pattern) = text.parse::<TablePattern>() {
        black_box(pattern.matches(&table));
        if let Some(exact) = pattern.exact() {
            assert!(pattern.matches(&exact), "{text:?} is not itself");
        }
    }
    // Quoted as a pattern, a name means itself.
    if !name.is_empty() && !schema.is_empty() {
        let quoted = format!("{}.{}", quoted(schema), quoted(name));
        let pattern: TablePattern = quoted.parse().expect("a quoted name is a pattern");
        assert_eq!(pattern.exact(), Some(table));
    }
    assert!(quote_ident(text).len() >= text.len());
    assert!(quote_literal(text).len() >= text.len() + 2);
    black_box((
        text.parse::<ByteSize>().is_ok(),
        text.parse::<BackupId>().is_ok(),
    ));
    if let Ok(recipient) = text.parse::<Recipient>() {
        assert!(recipient.to_string().parse::<Recipient>().is_ok());
        black_box((recipient.kind(), recipient.short()));
    }
    black_box(hubvault_notify::check_address(text).is_ok());
    if let Ok(schedule) = Schedule::new(text, TimeZone::UTC) {
        let now = Timestamp::from_second(1_800_000_000).expect("within bounds");
        if let Some(next) = schedule.next_after("hub", now) {
            assert!(next > now, "{text:?}: {next}");
        }
    }
});

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
