/* Counts the calls by which a process changes files below one folder, and at the n-th kills it or lets the call fail.
 *
 * Preloaded into a command and its workers (LD_PRELOAD); they share the counter in a small mapped file that the
 * environment names. See kill.py, which compiles this.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    _Atomic long armed;  /* 0 off, 1 count */
    _Atomic long count;  /* calls so far */
    _Atomic long target; /* act at this one, from 1; 0 never */
    _Atomic long error;  /* 0 kill the process group, else fail with this errno */
    char root[1024];
};

static struct control *shared(void) {
    static struct control *found;
    if (!found) {
        const char *path = getenv("KILL_CONTROL");
        int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
        if (fd < 0) return NULL;
        void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (map == MAP_FAILED) return NULL;
        found = map;
    }
    return found;
}

/* Whether the call may go on; otherwise errno is set. A disk that is full stays full: every later write fails too. */
static int allowed(const char *path, int is_write) {
    struct control *c = shared();
    if (!c || !c->armed || strncmp(path, c->root, strlen(c->root)) != 0) return 1;
    long n = atomic_fetch_add(&c->count, 1) + 1;
    if (!c->target || n < c->target) return 1;
    if (!c->error) {
        kill(0, SIGKILL);
        pause();
    }
    if (!is_write || (c->error == EIO && n != c->target)) return 1;
    errno = (int)c->error;
    return 0;
}

static int allowed_fd(int fd) {
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 1;
    path[size] = 0;
    return allowed(path, 1);
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return allowed_fd(fd) ? real(fd, data, size) : -1;
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    return allowed_fd(fd) ? real(fd, parts, count) : -1;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return allowed_fd(fd) ? real(fd, data, size, at) : -1;
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return allowed_fd(fd) ? real(fd, data, size, at) : -1;
}
int fsync(int fd) {
    REAL(int, "fsync", int);
    return allowed_fd(fd) ? real(fd) : -1;
}
int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return allowed_fd(fd) ? real(fd) : -1;
}
int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    return allowed_fd(fd) ? real(fd, size) : -1;
}
int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    return allowed_fd(fd) ? real(fd, size) : -1;
}
int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return allowed(to, 0) ? real(from, to) : -1;
}
int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return allowed(path, 0) ? real(path) : -1;
}
int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return allowed(path, 0) ? real(path, mode) : -1;
}
