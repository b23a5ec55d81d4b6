//! The text of a configuration file: settings, or mistakes with their places.

#![no_main]

use hubvault_config::{Environment, Inputs, Settings};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Where this process writes what it reads.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = PathBuf::from("/dev/shm");
    let directory = if directory.is_dir() {
        directory
    } else {
        std::env::temp_dir()
    };
    directory.join(format!("hubvault-fuzz-{}.toml", std::process::id()))
});

fuzz_target!(|text: &str| {
    // Not what could name files of this machine.
    if text.contains("_file") || text.contains('/') && text.contains("dev") {
        return;
    }
    std::fs::write(&*FILE, text).expect("the directory for temporary files is writable");
    let bare = Environment::bare(&Environment::of_process());
    let inputs = Inputs::new(bare, Some(FILE.clone()));
    let all = Settings::load_all(&inputs)
        .map(|all| all.len())
        .map_err(|error| error.to_string());
    let one = Settings::load(&inputs, None).map(|one| {
        let _ = one.masks().mask(text);
        one.job().name.clone()
    });
    let _ = std::fs::remove_file(&*FILE);
    match all {
        // Of one job the two ways are one.
        Ok(1) => assert!(one.is_ok(), "all is well, and one is not"),
        Ok(_) => {}
        Err(mistakes) => assert!(!mistakes.is_empty()),
    }
});
