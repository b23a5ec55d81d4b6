//! Which files the server may access (Landlock; see landlock(7)).

use super::readable;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use std::path::Path;

/// The newest rules in use; an older kernel applies those that it knows.
const NEWEST: ABI = ABI::V9;

/// The version of Landlock that the kernel offers; 0 without.
fn offered() -> i64 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with a null pointer and this flag the call only returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            VERSION,
        )
    };
    version.max(0)
}

/// The rules, to be put in force by the process that becomes the server; `None` where the host has none.
pub(super) fn restrict(
    postgres: &Path,
    writable: &[&Path],
    environment: &[(String, String)],
    shares_user: bool,
    missing: &mut Vec<String>,
) -> Result<Option<RulesetCreated>, RulesetError> {
    let version = offered();
    if version < 6 && shares_user {
        missing.push(
            "Landlock older than Linux 6.12: code in the drill's server may signal its user's other programs".into(),
        );
    }
    match version {
        0 => {
            missing.push(
                "no Landlock: only permissions keep the drill's server from other files".into(),
            );
            return Ok(None);
        }
        1 | 2 => missing.push(
            "Landlock older than Linux 6.2: the drill's server could empty files that its user may write to"
                .into(),
        ),
        _ => {}
    }
    let all = AccessFs::from_all(NEWEST);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    for path in readable::paths(postgres, environment) {
        rules = allow(rules, &path, read)?;
    }
    for path in readable::DEVICES {
        rules = allow(
            rules,
            Path::new(path),
            AccessFs::ReadFile | AccessFs::WriteFile,
        )?;
    }
    // What is written there can be loaded by the server itself, and not be run beside it.
    let write = all & !BitFlags::from(AccessFs::Execute);
    for path in writable {
        rules = allow(rules, path, write)?;
    }
    let programs = readable::programs(postgres, missing);
    for path in programs {
        rules = allow(rules, &path, AccessFs::Execute | AccessFs::ReadFile)?;
    }
    for (path, access) in preloaded(environment, missing) {
        rules = allow(rules, &path, access)?;
    }
    Ok(Some(rules))
}

/// What is preloaded into hubvault is preloaded into its server, with the files that lie beside it.
fn preloaded(
    environment: &[(String, String)],
    missing: &mut Vec<String>,
) -> Vec<(std::path::PathBuf, BitFlags<AccessFs>)> {
    let directories = readable::preloaded(environment);
    if !directories.is_empty() {
        missing.push(
            "LD_PRELOAD is set: the drill's server reaches the directory of that library".into(),
        );
    }
    let access = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile;
    directories.into_iter().map(|path| (path, access)).collect()
}

/// A path that is not there needs no rule.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: impl Into<BitFlags<AccessFs>>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(fd) = PathFd::new(path) else {
        return Ok(rules);
    };
    let of_files =
        AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Execute | AccessFs::Truncate;
    let access = if path.is_dir() {
        access.into()
    } else {
        access.into() & of_files
    };
    rules.add_rule(PathBeneath::new(fd, access))
}
