//! Reading files of the configuration. One that another user can write is refused: it decides what hubvault runs, where
//! it sends, and to whom.

use hubvault_engine::state::ownership::{self, ReadOnlyMount};
use std::io::ErrorKind;
use std::path::Path;

/// More than any file of the configuration needs, in bytes.
const LARGEST: u64 = 8 << 20;

/// The text of a file. A pipe that somebody names is read as it is: `--config <(...)`.
pub(crate) fn text_of(path: &Path, mount: ReadOnlyMount) -> std::io::Result<String> {
    if ["/dev/", "/proc/"].iter().any(|of| path.starts_with(of)) {
        return std::fs::read_to_string(path);
    }
    ownership::read_trusted(path, LARGEST, mount)
}

/// The text of a file that may be missing. Only of one that is there it counts who can change it.
pub(crate) fn existing(path: &Path) -> std::io::Result<Option<String>> {
    let is_missing = |error: &std::io::Error| {
        matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
    };
    match std::fs::metadata(path) {
        Err(error) if is_missing(&error) => return Ok(None),
        _ => {}
    }
    text_of(path, ReadOnlyMount::Trusted).map(Some)
}

/// The text of a file that holds one value, without the line break at its end.
pub(crate) fn read_value(path: &str) -> Result<String, String> {
    let text = text_of(Path::new(path), ReadOnlyMount::Trusted)
        .map_err(|error| format!("reading {path}: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        Err(format!("{path} is empty"))
    } else {
        Ok(text.to_owned())
    }
}
