/* Counts what hubvault changes outside of itself (files, names, bytes to a mail server), and kills it with SIGKILL before
 * the step STEPS_KILL_AT, or before the first unlink of a path that ends with STEPS_KILL_UNLINK. Preloaded; STEPS_LOG names the file that says which steps there were, or which one it was. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long steps, unlinked;
static long kill_at;
static const char *kill_unlink;
static int log_fd = -1;

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("STEPS_LOG"), *at = getenv("STEPS_KILL_AT");
    /* Children are killed by nobody but their parent's end. */
    if (!log || strcmp(program_invocation_short_name, "hubvault") != 0)
        return;
    kill_at = at ? atol(at) : 0;
    kill_unlink = getenv("STEPS_KILL_UNLINK");
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), most = strlen(end);
    return length >= most && !strcmp(text + length - most, end);
}

static void step(const char *what, const char *where) {
    if (log_fd < 0)
        return;
    int kept = errno;
    long n = atomic_fetch_add(&steps, 1) + 1;
    int now = n == kill_at || (kill_unlink && !strcmp(what, "unlink") && ends_with(where, kill_unlink));
    if (kill_at == 0 || now) {
        char line[1500];
        int length = snprintf(line, sizeof line, "%ld %s %s\n", n, what, where);
        if (length > (int)sizeof line)
            length = sizeof line;
        syscall(SYS_write, log_fd, line, length);
    }
    if (now) {
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
        for (;;)
            pause();
    }
    errno = kept;
}

/* Standard output and error are no state. */
static void step_of(const char *what, int fd) {
    if (log_fd < 0 || fd <= 2)
        return;
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    if (path[0] == '/')
        step(what, path);
}

/* A path below a directory, whole. */
static void whole_path(char *whole, size_t most, int directory, const char *path) {
    char link[64];
    whole[0] = 0;
    int kept = errno;
    size_t length = 0;
    if (path[0] != '/') {
        snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
        ssize_t read = readlink(link, whole, most - 2);
        length = read < 0 ? 0 : (size_t)read;
        whole[length++] = '/';
    }
    snprintf(whole + length, most - length, "%s", path);
    errno = kept;
}

static void step_at(const char *what, int directory, const char *path) {
    char whole[1024];
    if (log_fd < 0)
        return;
    whole_path(whole, sizeof whole, directory, path);
    step(what, whole);
}

#define REAL(type, name, ...)                         \
    static type (*real)(__VA_ARGS__);                 \
    if (!real)                                        \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    step("rename", to);
    return real(from, to);
}

int renameat(int a, const char *from, int b, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    step_at("rename", b, to);
    return real(a, from, b, to);
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    step_at("rename", b, to);
    return real(a, from, b, to, flags);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    step("unlink", path);
    return real(path);
}

int unlinkat(int directory, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    if (strstr(path, "critical_backup_"))
        step_at("unlink", directory, path);
    /* Of a server's directory with its thousand files, some. */
    else if (atomic_fetch_add(&unlinked, 1) % 100 == 0)
        step("unlinkat", path);
    return real(directory, path, flags);
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    step_of("fsync", fd);
    return real(fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    step_of("fdatasync", fd);
    return real(fd);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    step_of("write", fd);
    return real(fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    step_of("pwrite", fd);
    return real(fd, bytes, length, at);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
    REAL(ssize_t, "send", int, const void *, size_t, int);
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.ss_family != AF_UNIX)
        step("send", "to a server");
    return real(fd, bytes, length, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    step("mkdir", path);
    return real(path, mode);
}

int open64(const char *path, int flags, ...) {
    REAL(int, "open64", const char *, int, ...);
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
        step("create", path);
    }
    return real(path, flags, mode);
}

static int create_at(int directory, const char *path, int flags, mode_t mode) {
    REAL(int, "openat64", int, const char *, int, ...);
    if (flags & O_CREAT)
        step_at("create", directory, path);
    return real(directory, path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    return create_at(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    return create_at(directory, path, flags, mode);
}
