/* A mount that keeps no modes: whatever is made gets MOUNT_MODE, and setting another one changes nothing, or fails where
 * MOUNT_REFUSES is set. Preloaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

static mode_t given(void) {
    return (mode_t)strtol(getenv("MOUNT_MODE"), NULL, 8);
}

static int set(void) {
    if (getenv("MOUNT_REFUSES")) {
        errno = EPERM;
        return -1;
    }
    return 0;
}

int chmod(const char *path, mode_t mode) { return set(); }
int fchmod(int fd, mode_t mode) { return set(); }
int fchmodat(int at, const char *path, mode_t mode, int flags) { return set(); }

static int opened(int at, const char *path, int flags) {
    int (*next)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat");
    return next(at, path, flags, given());
}

int open(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags); }
int openat(int at, const char *path, int flags, ...) { return opened(at, path, flags); }
int openat64(int at, const char *path, int flags, ...) { return opened(at, path, flags); }

int mkdirat(int at, const char *path, mode_t mode) {
    int (*next)(int, const char *, mode_t) = dlsym(RTLD_NEXT, "mkdirat");
    return next(at, path, given());
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
