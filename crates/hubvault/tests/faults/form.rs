//! How many faults are injected: a few in every build, all for the figures of `docs/reliability.md`.

/// How many faults to inject: `long` when `HUBVAULT_FAULTS=long`, else `short`.
pub(crate) fn points(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

/// Everything is injected, and every stage must have been met.
pub(crate) fn is_long() -> bool {
    std::env::var_os("HUBVAULT_FAULTS").is_some_and(|form| form == "long")
}
