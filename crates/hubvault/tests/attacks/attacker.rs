//! A local user who runs neither hubvault nor the throwaway server, and what he can do.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

/// `nobody`: no file of hubvault or of the throwaway server is his.
const UID: u32 = 65_534;

/// A program that the attacker runs.
pub(crate) fn attacker(program: &str) -> Command {
    assert!(
        rustix::process::geteuid().is_root(),
        "the attacks need root: the attacker is another user"
    );
    let mut command = Command::new(program);
    command.uid(UID).gid(UID).current_dir("/");
    command
}

/// A shell script that the attacker runs to its end.
pub(crate) fn attack(script: &str) -> Output {
    attacker("sh").arg("-c").arg(script).output().unwrap()
}
