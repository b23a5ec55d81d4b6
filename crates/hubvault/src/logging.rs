//! Log lines on standard error, for people or as JSON.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging; `level` and `format` were checked by the configuration.
pub(crate) fn start(level: &str, format: &str) {
    // What libraries say about themselves matters only to those who ask for everything.
    let libraries = if level == "trace" { "debug" } else { "warn" };
    let ours = [
        "hubvault",
        "hubvault_engine",
        "hubvault_postgres",
        "hubvault_archive",
    ];
    let directives = ours.map(|name| format!("{name}={level}")).join(",");
    let filter = EnvFilter::new(format!("{libraries},{directives}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start, which only tests could make, changes nothing.
    let _ = if format == "json" {
        builder.json().try_init()
    } else {
        let builder = builder.with_target(false);
        // On a terminal the library decides by itself, heeding NO_COLOR.
        if std::io::stderr().is_terminal() {
            builder.try_init()
        } else {
            builder.with_ansi(false).try_init()
        }
    };
}
