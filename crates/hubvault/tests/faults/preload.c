/* A disk that fails: calls that write, make durable, name, make or remove files are counted, and one of them, or all from
 * it on, fails. Preloaded. What it is asked, in variables:
 *   LD_DISK_PROGRAM  the program that it happens to, by its short name (others are left alone)
 *   LD_DISK_PLACE    a pattern (fnmatch, * takes / too) of the paths that it happens to
 *   LD_DISK_KINDS    of write, sync, rename, create, open, unlink those that it happens to, with commas
 *   LD_DISK_COUNT    a file of 16 bytes that all processes count in together
 *   LD_DISK_LOG      a file that every such call is written down in (`number kind path`); of an injected fault, only that
 *   LD_DISK_AT       the number of the call that fails, from 1; 0 or absent: none
 *   LD_DISK_ERRNO    what it fails with
 *   LD_DISK_STAYS    present: every later one fails, too
 *   LD_DISK_SHORT    present: a write first takes half of its bytes, and the next one fails */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *place, *kinds;
static long fails_at;
static int fails_with, stays, is_short, log_fd = -1;
static atomic_long *calls;

__attribute__((constructor)) static void begin(void) {
    const char *program = getenv("LD_DISK_PROGRAM"), *count = getenv("LD_DISK_COUNT"), *log = getenv("LD_DISK_LOG");
    const char *at = getenv("LD_DISK_AT"), *error = getenv("LD_DISK_ERRNO");
    if (!program || !count || !log || strcmp(program_invocation_short_name, program) != 0)
        return;
    place = getenv("LD_DISK_PLACE");
    kinds = getenv("LD_DISK_KINDS");
    fails_at = at ? atol(at) : 0;
    fails_with = error ? atoi(error) : ENOSPC;
    stays = getenv("LD_DISK_STAYS") != NULL;
    is_short = getenv("LD_DISK_SHORT") != NULL;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, count, O_RDWR | O_CLOEXEC);
    void *shared = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED || !place || !kinds)
        return;
    calls = shared;
    /* Out of the way of programs that close what they do not know, such as initdb's children. */
    fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CLOEXEC);
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    close(fd);
}

static void note(long number, const char *kind, const char *path) {
    char line[1500];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", number, kind, path);
    if (length > (int)sizeof line)
        length = sizeof line;
    syscall(SYS_write, log_fd, line, length);
}

/* What becomes of a call: 0 it is made, -1 it fails, 1 it is cut in half. */
static int verdict(const char *kind, const char *path) {
    if (!calls || !strstr(kinds, kind) || fnmatch(place, path, 0) != 0)
        return 0;
    long n = atomic_fetch_add(calls, 1) + 1;
    if (fails_at == 0)
        note(n, kind, path);
    if (fails_at == 0 || n < fails_at)
        return 0;
    if (n == fails_at) {
        note(n, kind, path);
        if (is_short && strcmp(kind, "write") == 0)
            return 1;
    } else if (!stays && !(is_short && n == fails_at + 1))
        return 0;
    errno = fails_with;
    return -1;
}

static int of_path(const char *kind, int directory, const char *path) {
    if (!calls || !path)
        return 0;
    char whole[4096], link[64];
    if (path[0] == '/')
        return verdict(kind, path);
    int kept = errno;
    snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, whole, sizeof whole - 1);
    if (length < 0)
        length = 0;
    snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
    errno = kept;
    return verdict(kind, whole);
}

static int of_fd(const char *kind, int fd) {
    if (!calls || fd <= 2)
        return 0;
    char path[4096], link[64];
    int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (length <= 0 || path[0] != '/')
        return 0;
    path[length] = 0;
    return verdict(kind, path);
}

static int of_open(int directory, const char *path, int flags) {
    if (!calls || !(flags & (O_WRONLY | O_RDWR | O_CREAT)))
        return 0;
    int kept = errno;
    int is_new = (flags & O_CREAT) && syscall(SYS_faccessat, directory, path, F_OK) != 0;
    errno = kept;
    return of_path(is_new || (flags & O_TMPFILE) == O_TMPFILE ? "create" : "open", directory, path);
}

#define REAL(type, name, ...)                 \
    static type (*real)(__VA_ARGS__);         \
    if (!real)                                \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define WRITES(name, arguments, real_arguments, halved, ...) \
    ssize_t name arguments {                                 \
        REAL(ssize_t, #name, __VA_ARGS__);                   \
        switch (of_fd("write", fd)) {                        \
        case -1:                                             \
            return -1;                                       \
        case 1:                                              \
            return real halved;                              \
        }                                                    \
        return real real_arguments;                          \
    }

static size_t half(size_t length) { return length > 1 ? length / 2 : length; }
static int halves(int count) { return count > 1 ? count / 2 : count; }

WRITES(write, (int fd, const void *bytes, size_t length), (fd, bytes, length), (fd, bytes, half(length)), int, const void *, size_t)
WRITES(pwrite, (int fd, const void *bytes, size_t length, off_t at), (fd, bytes, length, at), (fd, bytes, half(length), at),
       int, const void *, size_t, off_t)
WRITES(pwrite64, (int fd, const void *bytes, size_t length, off64_t at), (fd, bytes, length, at), (fd, bytes, half(length), at),
       int, const void *, size_t, off64_t)
WRITES(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), (fd, parts, halves(count)),
       int, const struct iovec *, int)
WRITES(pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at), (fd, parts, halves(count), at),
       int, const struct iovec *, int, off_t)
WRITES(pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at),
       (fd, parts, halves(count), at), int, const struct iovec *, int, off64_t)
WRITES(copy_file_range, (int from, off64_t *a, int fd, off64_t *b, size_t length, unsigned flags),
       (from, a, fd, b, length, flags), (from, a, fd, b, half(length), flags), int, off64_t *, int, off64_t *, size_t, unsigned)
WRITES(sendfile, (int fd, int from, off_t *at, size_t length), (fd, from, at, length), (fd, from, at, half(length)),
       int, int, off_t *, size_t)
WRITES(sendfile64, (int fd, int from, off64_t *at, size_t length), (fd, from, at, length), (fd, from, at, half(length)),
       int, int, off64_t *, size_t)
WRITES(splice, (int from, off64_t *a, int fd, off64_t *b, size_t length, unsigned flags),
       (from, a, fd, b, length, flags), (from, a, fd, b, half(length), flags), int, off64_t *, int, off64_t *, size_t, unsigned)

/* These say their error themselves. */
#define ALLOCATES(name, type)                                \
    int name(int fd, type at, type length) {                 \
        REAL(int, #name, int, type, type);                   \
        return of_fd("write", fd) == -1 ? errno : real(fd, at, length); \
    }
ALLOCATES(posix_fallocate, off_t)
ALLOCATES(posix_fallocate64, off64_t)

#define SYNCS(name)                                          \
    int name(int fd) {                                       \
        REAL(int, #name, int);                               \
        return of_fd("sync", fd) == -1 ? -1 : real(fd);      \
    }
SYNCS(fsync)
SYNCS(fdatasync)
SYNCS(syncfs)

int sync_file_range(int fd, off64_t at, off64_t length, unsigned flags) {
    REAL(int, "sync_file_range", int, off64_t, off64_t, unsigned);
    return of_fd("sync", fd) == -1 ? -1 : real(fd, at, length, flags);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return of_path("rename", AT_FDCWD, to) ? -1 : real(from, to);
}

int renameat(int a, const char *from, int b, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    return of_path("rename", b, to) ? -1 : real(a, from, b, to);
}

int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    return of_path("rename", b, to) ? -1 : real(a, from, b, to, flags);
}

int link(const char *from, const char *to) {
    REAL(int, "link", const char *, const char *);
    return of_path("create", AT_FDCWD, to) ? -1 : real(from, to);
}

int symlink(const char *from, const char *to) {
    REAL(int, "symlink", const char *, const char *);
    return of_path("create", AT_FDCWD, to) ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    /* What is there already costs nothing. */
    int is_new = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    return is_new && of_path("create", AT_FDCWD, path) ? -1 : real(path, mode);
}

int mkdirat(int directory, const char *path, mode_t mode) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    return of_path("create", directory, path) ? -1 : real(directory, path, mode);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return of_path("unlink", AT_FDCWD, path) ? -1 : real(path);
}

int unlinkat(int directory, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    return of_path("unlink", directory, path) ? -1 : real(directory, path, flags);
}

int rmdir(const char *path) {
    REAL(int, "rmdir", const char *);
    return of_path("unlink", AT_FDCWD, path) ? -1 : real(path);
}

#define OPENS(name)                                                          \
    int name(const char *path, int flags, ...) {                             \
        REAL(int, #name, const char *, int, ...);                            \
        va_list rest;                                                        \
        va_start(rest, flags);                                               \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                        \
        return of_open(AT_FDCWD, path, flags) ? -1 : real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                       \
    int name(int directory, const char *path, int flags, ...) {              \
        REAL(int, #name, int, const char *, int, ...);                       \
        va_list rest;                                                        \
        va_start(rest, flags);                                               \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                        \
        return of_open(directory, path, flags) ? -1 : real(directory, path, flags, mode); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

/* initdb and the server write their small files through stdio, whose own calls go past us. */
#define OPENS_STREAM(name)                                                   \
    FILE *name(const char *path, const char *mode) {                         \
        REAL(FILE *, #name, const char *, const char *);                     \
        int flags = mode[0] == 'r' && !strchr(mode, '+') ? O_RDONLY : O_WRONLY | (mode[0] == 'r' ? 0 : O_CREAT); \
        return of_open(AT_FDCWD, path, flags) ? NULL : real(path, mode);     \
    }
OPENS_STREAM(fopen)
OPENS_STREAM(fopen64)

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream) {
    REAL(size_t, "fwrite", const void *, size_t, size_t, FILE *);
    return of_fd("write", fileno(stream)) == -1 ? 0 : real(bytes, size, count, stream);
}
