/* What native code tries from inside a confined server. Made by confined.rs; the few declarations of PostgreSQL's that it
 * needs stand here, as its headers may not be installed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

typedef uintptr_t Datum;
typedef struct { int api_version; } Pg_finfo_record;
#define CALLED(name) const Pg_finfo_record *pg_finfo_##name(void) { static const Pg_finfo_record one = {1}; return &one; }

/* The block that every library shows (fmgr.h); MAJOR is the server's version times 100. */
struct abi {
    int version, funcmaxargs, indexmaxkeys, namedatalen, float8byval;
#if MAJOR >= 1500
    char extra[32];
#endif
};
struct magic {
    int len;
    struct abi abi;
#if MAJOR >= 1800
    const char *name, *version;
#endif
};
const struct magic *Pg_magic_func(void) {
    static const struct magic magic = {
        sizeof(struct magic),
        {MAJOR, 100, 32, 64, 1
#if MAJOR >= 1500
         , "PostgreSQL"
#endif
        }
#if MAJOR >= 1800
        , NULL, NULL
#endif
    };
    return &magic;
}

static char told[8192];

/* A way out that worked. */
static void escaped(const char *way) {
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s; ", way);
}

static int socket_to(int family, int type, const struct sockaddr *to, socklen_t length) {
    int fd = socket(family, type, 0);
    if (fd < 0)
        return 0;
    int done = type == SOCK_STREAM ? connect(fd, to, length) == 0 : sendto(fd, "x", 1, 0, to, length) == 1;
    close(fd);
    return done;
}

static void sockets(const char *path, int port) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strncpy(un.sun_path, path, sizeof un.sun_path - 1);
    if (socket_to(AF_INET, SOCK_STREAM, (void *)&in, sizeof in))
        escaped("TCP");
    if (socket_to(AF_INET, SOCK_DGRAM, (void *)&in, sizeof in))
        escaped("UDP");
    if (socket_to(AF_UNIX, SOCK_STREAM, (void *)&un, sizeof un))
        escaped("another server's socket");
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0)
        escaped("a pair of datagram sockets");
    if (socket(AF_NETLINK, SOCK_RAW, 0) >= 0)
        escaped("netlink");
    char parameters[256] = {0};
    if (syscall(SYS_io_uring_setup, 8, parameters) >= 0)
        escaped("io_uring");
}

static void files(const char *outside) {
    char buffer[64];
    int fd = open(outside, O_RDONLY);
    if (fd >= 0 && read(fd, buffer, sizeof buffer) > 0)
        escaped("reading a file");
    if (open(outside, O_WRONLY) >= 0)
        escaped("writing a file");
    if (truncate(outside, 0) == 0)
        escaped("emptying a file");
    if (unlink(outside) == 0)
        escaped("removing a file");
    if (link(outside, "taken") == 0)
        escaped("a hard link into the data directory");
    if (symlink(outside, "way") == 0 && open("way", O_RDONLY) >= 0)
        escaped("a link out of the data directory");
    unlink("way");
    chmod(outside, 0777);
    syscall(SYS_fchmodat, AT_FDCWD, outside, 0777);
    struct stat stat_;
    if (stat(outside, &stat_) == 0 && (stat_.st_mode & 07777) == 0777)
        escaped("the mode of a file");
    if (syscall(452, AT_FDCWD, outside, 0777, 0) == 0)
        escaped("the mode of a file by a newer call");
    if (utimensat(AT_FDCWD, outside, NULL, 0) == 0)
        escaped("the times of a file");
    if (setxattr(outside, "user.x", "x", 1, 0) == 0)
        escaped("an attribute of a file");
    if (open("/proc/self/environ", O_RDONLY) >= 0 || open("/proc/1/mem", O_RDWR) >= 0)
        escaped("/proc");
    if (open("/dev/shm", O_RDONLY) >= 0)
        escaped("/dev/shm");
    /* Landlock stays whatever is opened without rights. */
    if (openat(open("/", O_PATH), "etc/shadow", O_RDONLY) >= 0)
        escaped("a path's descriptor");
    for (fd = 3; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0) {
            char name[64], path[512] = {0};
            snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
            if (readlink(name, path, sizeof path - 1) > 0 && strstr(path, "hubvault-") && strstr(path, "memfd"))
                escaped("an inherited file");
        }
}

static void processes(int hubvault) {
    if (kill(hubvault, 0) == 0)
        escaped("a signal to hubvault");
    if (kill(-1, 0) == 0 && getpid() > 100000)
        escaped("signals to all");
    if (ptrace(PTRACE_ATTACH, hubvault, 0, 0) == 0)
        escaped("ptrace");
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)4096, 1};
    if (process_vm_readv(hubvault, &here, 1, &there, 1, 0) >= 0 || errno != EPERM)
        escaped("another process's memory");
    if (unshare(CLONE_NEWUSER) == 0 || unshare(CLONE_NEWNS) == 0)
        escaped("namespaces");
    if (syscall(SYS_clone3, NULL, 0) == 0 || errno != ENOSYS)
        escaped("clone3");
    if (syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) >= 0)
        escaped("a namespace by clone");
    if (setuid(0) == 0)
        escaped("root");
}

static void programs(void) {
    static char *arguments[] = {"sh", "-c", "exit 42", NULL}, *none[] = {NULL};
    const char *tried[] = {"/bin/sh", "/usr/bin/env", "program", NULL};
    for (int n = 0; tried[n]; n++) {
        pid_t child = fork();
        if (child == 0) {
            execve(tried[n], arguments, none);
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (status != 0)
            escaped("running a program");
    }
}

extern char *text_to_cstring(const void *);
extern void *cstring_to_text(const char *);
extern void *pg_detoast_datum_packed(void *);

/* The arguments of a function, as PostgreSQL hands them over (fmgr.h). */
struct argument { Datum value; char isnull; };
struct call { void *flinfo, *context, *resultinfo; uint32_t collation; char isnull; short nargs; struct argument args[]; };

CALLED(attack)
/* attack(a file outside, a socket outside, a port, hubvault's id) returns every way out that worked. */
Datum attack(struct call *call) {
    char *outside = text_to_cstring(pg_detoast_datum_packed((void *)call->args[0].value));
    char *path = text_to_cstring(pg_detoast_datum_packed((void *)call->args[1].value));
    told[0] = 0;
    files(outside);
    sockets(path, (int)call->args[2].value);
    processes((int)call->args[3].value);
    programs();
    return (Datum)cstring_to_text(told);
}

CALLED(linger)
/* Leaves processes that outlive their parents and hear no signal. */
Datum linger(struct call *call) {
    for (int n = 0; n < 3; n++) {
        pid_t child = fork();
        if (child == 0) {
            setsid();
            if (fork() == 0) {
                for (int signal_ = 1; signal_ < 65; signal_++)
                    signal(signal_, SIG_IGN);
                for (int fd = 0; fd < 1024; fd++)
                    close(fd);
                for (;;)
                    pause();
            }
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    return 0;
}
