//! Preloaded libraries, compiled from C by the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes `<name>.so` of `<name>.c` of this directory; where it is, every user may read it.
pub(crate) fn library(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/faults/{name}.c"));
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.so"));
    let compiled = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([made.as_os_str(), source.as_os_str(), "-ldl".as_ref()])
        .status()
        .unwrap();
    assert!(
        compiled.success(),
        "a C compiler is needed: make tools installs it"
    );
    made
}
