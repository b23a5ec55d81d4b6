//! How much is tried: small databases in every build, large ones for `docs/reliability.md`.

/// `long` when `HUBVAULT_DATABASES=long`, else `short`.
pub(crate) fn sized(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

/// The long form.
pub(crate) fn is_long() -> bool {
    match std::env::var("HUBVAULT_DATABASES").as_deref() {
        Ok("long") => true,
        Ok("short") | Err(_) => false,
        Ok(other) => panic!("HUBVAULT_DATABASES={other}: short or long"),
    }
}

/// Whether a database is tried: those whose titles hold one of the words of `HUBVAULT_DATABASE`, or all.
pub(crate) fn is_chosen(title: &str) -> bool {
    let words = std::env::var("HUBVAULT_DATABASE").unwrap_or_default();
    words.is_empty() || words.split(',').any(|word| title.contains(word))
}

/// Says that something was not tried, and why.
pub(crate) fn skip(what: &str, why: &str) {
    println!("skipped: {what}: {why}");
}
