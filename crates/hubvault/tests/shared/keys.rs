//! Private keys, made by the tools that administrators use.

use crate::hub::{stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A private key in a file, and its public key.
pub(crate) struct Pair {
    file: PathBuf,
    pub(crate) public: String,
}

impl Pair {
    pub(crate) fn age(directory: &Path, name: &str) -> Self {
        let file = directory.join(name);
        tool("age-keygen", &["-o", text(&file)]);
        let public = stdout(&tool("age-keygen", &["-y", text(&file)]));
        let public = public.trim().to_owned();
        Self { file, public }
    }

    pub(crate) fn ssh(directory: &Path, kind: &str, bits: &str, passphrase: &str) -> Self {
        let file = directory.join(format!("{kind}{bits}{passphrase}"));
        let words = [
            "-q",
            "-t",
            kind,
            "-b",
            bits,
            "-N",
            passphrase,
            "-C",
            "admin@hub",
            "-f",
        ];
        tool("ssh-keygen", &[&words[..], &[text(&file)]].concat());
        let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
        let public = public.trim().to_owned();
        Self { file, public }
    }

    pub(crate) fn identity(&self) -> &str {
        text(&self.file)
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn tool(program: &str, words: &[&str]) -> Output {
    let output = Command::new(program).args(words).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; make tools installs it"));
    assert!(output.status.success(), "{program}: {}", stderr(&output));
    output
}

/// `age -d -i KEY ARCHIVE | tar FLAGS -C DIRECTORY`, as the documents have it.
pub(crate) fn open_with_age(key: &Pair, archive: &Path, flags: &str, directory: &Path) {
    let pipe = format!("set -e; age -d -i \"$1\" \"$2\" | tar {flags} -C \"$3\"");
    tool(
        "sh",
        &[
            "-c",
            &pipe,
            "sh",
            key.identity(),
            text(archive),
            text(directory),
        ],
    );
}

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}
