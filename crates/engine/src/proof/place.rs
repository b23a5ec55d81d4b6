//! Where a drill runs: in memory, where it is small and the machine has memory to spare.

use super::drill_result::Verdict;
use crate::disk::free_bytes;
use crate::job::ProofOptions;
use std::fs;
use std::path::Path;

/// A drill that needs more than this runs on the disk, in bytes.
const LARGEST: u64 = 256 << 20;
/// So many times what a drill needs must be free: the product needs memory, too.
const SPARE: u64 = 4;
/// So many times what it needs it may take, as that is an estimate.
pub(super) const MOST: u64 = 2;
/// What statfs(2) calls a file system in memory.
const TMPFS: i64 = 0x0102_1994;

/// The directory in memory for a drill that needs so many bytes; `None` where it is to run on the disk.
pub(super) fn in_memory(options: &ProofOptions, needed: u64) -> Option<&Path> {
    let directory = options.memory.as_deref()?;
    let is_memory = rustix::fs::statfs(directory).is_ok_and(|of| of.f_type == TMPFS);
    let has_room = |free: Option<u64>| free.is_some_and(|free| free / SPARE >= needed);
    let fits = needed <= LARGEST && has_room(free_bytes(directory).ok()) && has_room(memory());
    (options.server.is_none() && is_memory && fits).then_some(directory)
}

/// Whether a drill in memory may have failed for want of it, so that the disk is to decide.
pub(super) fn may_be_why(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Proven(_) => false,
        // Texts of the database are at the end of these.
        Verdict::Unproven {
            reason,
            drill: None,
        } => OF_THE_PLACE.iter().any(|words| reason.starts_with(words)),
        // A text of the database that says so costs a second drill, which decides.
        Verdict::Unproven { reason, .. } => OF_MEMORY.iter().any(|words| reason.contains(words)),
    }
}

/// How a drill begins to say that it showed nothing for what was there, and not for the archive.
const OF_THE_PLACE: [&str; 5] = [
    "no server to drill on: ",
    "the drill left ",
    "the drill took ",
    "the drill was interrupted: ",
    "the drill's server was lost: ",
];
/// What programs and servers say of memory, and of files that are in it.
const OF_MEMORY: [&str; 3] = ["No space left on device", "out of memory", "SQLSTATE 53"];

/// What the machine can give, or the group of processes that this one is in, in bytes.
pub(super) fn memory() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok();
    // A service that sees nothing but processes in /proc is told less: what caches hold is not in it.
    let free = || {
        let system = rustix::system::sysinfo();
        u64::from(system.mem_unit).checked_mul(system.freeram as u64)
    };
    let of_machine = meminfo.as_deref().and_then(available).or_else(free)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut least = of_machine;
    for (limit, taken) in limits(&groups) {
        let number = |path: String| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        // Without a limit there is no number.
        if let (Some(limit), Some(taken)) = (number(limit), number(taken)) {
            least = least.min(limit.saturating_sub(taken));
        }
    }
    Some(least)
}

/// What proc(5) says of the memory that is available, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = (meminfo.lines()).find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The files with a group's limit and what it has taken, of the group and of all above it (cgroups(7), both versions).
fn limits(groups: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, names, taken) = match controllers {
            // Above the second it is slowed down.
            "" => (
                "/sys/fs/cgroup",
                ["memory.max", "memory.high"].as_slice(),
                "memory.current",
            ),
            "memory" => (
                "/sys/fs/cgroup/memory",
                ["memory.limit_in_bytes"].as_slice(),
                "memory.usage_in_bytes",
            ),
            _ => continue,
        };
        for above in Path::new(group).ancestors() {
            let at = format!("{root}{}", above.display());
            let at = at.trim_end_matches('/');
            let limits = names.iter().map(|name| format!("{at}/{name}"));
            files.extend(limits.map(|limit| (limit, format!("{at}/{taken}"))));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::DrillRecord;

    #[test]
    fn what_is_available_is_read_in_bytes_and_nothing_is_guessed() {
        let text = "MemTotal:  8000 kB\nMemFree:  10 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available(text), Some(2 << 20));
        assert_eq!(available("MemTotal:  8000 kB\n"), None);
        assert!(memory().is_some());
    }

    #[test]
    fn the_disk_decides_where_memory_may_be_why_and_never_after_an_attack() {
        let unproven = |reason: &str| Verdict::nothing_shown(reason.to_owned());
        for reason in [
            "the drill's server was lost: connection refused; rows differ",
            "the drill left less than 64.0 MB of the machine's memory",
            "the drill was interrupted: could not extend file",
        ] {
            assert!(may_be_why(&unproven(reason)), "{reason}");
        }
        for reason in [
            "code of the database created superusers on the drill's server (the drill left )",
            "the drill's server runs PostgreSQL 15, older than 18",
        ] {
            assert!(!may_be_why(&unproven(reason)), "{reason}");
        }
        let later = |reason: &str| Verdict::Unproven {
            reason: reason.to_owned(),
            drill: Some(DrillRecord::default()),
        };
        assert!(may_be_why(&later(
            "not rebuilt: index i (No space left on device)"
        )));
        assert!(!may_be_why(&later(
            "not rebuilt: index i (division by zero)"
        )));
    }

    #[test]
    fn the_limits_of_all_groups_above_count() {
        let paths = |groups: &str| {
            let files = limits(groups).into_iter().map(|(limit, _)| limit);
            files.collect::<Vec<_>>()
        };
        assert_eq!(
            paths("0::/system.slice/hubvault.service\n"),
            [
                "/sys/fs/cgroup/system.slice/hubvault.service/memory.max",
                "/sys/fs/cgroup/system.slice/hubvault.service/memory.high",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/system.slice/memory.high",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory.high",
            ]
        );
        assert_eq!(paths("0::/\n")[0], "/sys/fs/cgroup/memory.max");
        assert_eq!(
            paths("5:cpu:/x\n4:memory:/docker/7\n"),
            [
                "/sys/fs/cgroup/memory/docker/7/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert!(paths("").is_empty() && paths("nonsense").is_empty());
    }
}
