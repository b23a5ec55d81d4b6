//! Which system calls the server may make (seccomp(2)). Landlock does not see some ways out: the socket files of other
//! servers, to which `peer` authentication would let the server's user log in, and the modes of files.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};
use std::collections::BTreeMap;
use std::io;

/// Calls that are refused whatever they are asked: other programs' sockets, processes, memory, keys and events; mounts,
/// namespaces and the machine itself; owners, modes, times and attributes of files, which Landlock leaves alone.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_connect,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_inotify_init1,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_mq_open,
    libc::SYS_vhangup,
    // fchmodat2, setxattrat and removexattrat: the same numbers everywhere.
    452,
    463,
    466,
];

/// Older forms, which newer machines do not have.
#[cfg(target_arch = "x86_64")]
const REFUSED_OLD: &[libc::c_long] = &[
    libc::SYS_inotify_init,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_OLD: &[libc::c_long] = &[];

/// Calls that do nothing and say that they did: the server sets the mode of its socket and would not start otherwise. The
/// mode that it was made with is the narrower one.
#[cfg(target_arch = "x86_64")]
const IDLE: &[libc::c_long] = &[libc::SYS_chmod, libc::SYS_fchmodat];
#[cfg(not(target_arch = "x86_64"))]
const IDLE: &[libc::c_long] = &[libc::SYS_fchmodat];

/// Flags of clone(2) that make a namespace.
const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;

/// The type of a socket without its flags.
const SOCKET_TYPE: u64 = 0xf;

/// A filter, ready to be put in force.
pub(super) struct Filter(BpfProgram);

impl Filter {
    /// Puts it in force for the calling thread and what it starts, for ever.
    pub(super) fn apply(&self) -> io::Result<()> {
        apply_filter(&self.0).map_err(|_| io::ErrorKind::PermissionDenied.into())
    }
}

/// The filters; none where the host has none.
pub(super) fn filters(missing: &mut Vec<String>) -> Vec<Filter> {
    let made = is_offered().then(programs).flatten();
    if made.is_none() {
        missing.push(
            "no filter of system calls (seccomp): the drill's server reaches sockets of other programs"
                .into(),
        );
    }
    let programs = made.unwrap_or_default();
    programs.into_iter().map(Filter).collect()
}

fn programs() -> Option<Vec<BpfProgram>> {
    let idle = IDLE.iter().map(|call| (*call, Vec::new())).collect();
    Some(vec![
        of_other_forms(),
        filter(refused().ok()?, SeccompAction::Errno(libc::EPERM as u32))?,
        filter(idle, SeccompAction::Errno(0))?,
        // Its flags cannot be seen; without it the C library makes processes and threads by clone.
        filter(
            [(libc::SYS_clone3, Vec::new())].into(),
            SeccompAction::Errno(libc::ENOSYS as u32),
        )?,
    ])
}

/// Whether the kernel filters calls (seccomp(2), `SECCOMP_GET_ACTION_AVAIL`).
fn is_offered() -> bool {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    const RET_ERRNO: u32 = 0x0005_0000;
    let action = RET_ERRNO;
    // SAFETY: the call reads the number that it gets a pointer to.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            GET_ACTION_AVAIL,
            0 as libc::c_uint,
            std::ptr::from_ref(&action),
        )
    };
    outcome == 0
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn filter(rules: Rules, action: SeccompAction) -> Option<BpfProgram> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, machine).ok()?;
    filter.try_into().ok()
}

fn refused() -> Result<Rules, seccompiler::BackendError> {
    use SeccompCmpArgLen::Dword;
    use SeccompCmpOp::{MaskedEq, Ne};
    let when = |conditions: Vec<SeccompCondition>| SeccompRule::new(conditions);
    let calls = REFUSED.iter().chain(REFUSED_OLD);
    let mut rules: Rules = calls.map(|call| (*call, Vec::new())).collect();
    // Sockets: the server's own are streams of this machine. One of datagrams could be sent anywhere.
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(
            call,
            vec![
                when(vec![SeccompCondition::new(
                    0,
                    Dword,
                    Ne,
                    libc::AF_UNIX as u64,
                )?])?,
                when(vec![SeccompCondition::new(
                    1,
                    Dword,
                    MaskedEq(SOCKET_TYPE),
                    libc::SOCK_DGRAM as u64,
                )?])?,
                when(vec![SeccompCondition::new(
                    1,
                    Dword,
                    MaskedEq(SOCKET_TYPE),
                    libc::SOCK_SEQPACKET as u64,
                )?])?,
                when(vec![SeccompCondition::new(
                    1,
                    Dword,
                    MaskedEq(SOCKET_TYPE),
                    libc::SOCK_RAW as u64,
                )?])?,
            ],
        );
    }
    let mut clones = Vec::new();
    for bit in (0..64)
        .map(|bit| 1_u64 << bit)
        .filter(|bit| NAMESPACES & bit != 0)
    {
        clones.push(when(vec![SeccompCondition::new(
            0,
            Dword,
            MaskedEq(bit),
            bit,
        )?])?);
    }
    rules.insert(libc::SYS_clone, clones);
    // Its own limits only.
    rules.insert(
        libc::SYS_prlimit64,
        vec![when(vec![SeccompCondition::new(0, Dword, Ne, 0)?])?],
    );
    Ok(rules)
}

/// Refuses the second set of calls that some kernels have on `x86_64`, by numbers of its own ("x32").
fn of_other_forms() -> BpfProgram {
    const LOAD: u16 = 0x20;
    const IS_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const RET_ERRNO: u32 = 0x0005_0000;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        instruction(LOAD, 0, 0, 0),
        instruction(IS_AT_LEAST, 0, 1, 0x4000_0000),
        instruction(RETURN, 0, 0, RET_ERRNO | libc::ENOSYS as u32),
        instruction(RETURN, 0, 0, ALLOW),
    ]
}

/// No file that is open here stays open in another program, whoever forgot to say so.
pub(super) fn close_inherited() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call sets a flag of descriptors, and closes none.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}
