/* LD_PRELOAD: makes one call on a file of the queue fail, in a relay that runs; test_faulty_disk.py compiles and steers it.
 *
 * FAULTY_DISK names a file of `struct order`, mapped before master forks, so that all its children see what the
 * test writes there. Armed, the `skip`th matching call after that fails with `error`; error 0: a write is cut short;
 * error -N: an fdatasync takes N milliseconds more. An open that makes the file is a "create".
 * With BTRFS_DISK set, file systems say that they are btrfs: nothing is zero-filled, segments are made by ftruncate.
 * Only what is below a directory named "fastrelay" counts: shards ("dir"), files that end in `suffix` (empty: all).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

struct order { int32_t armed, skip, error, failed; char call[16]; char suffix[16]; };
static struct order *order;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("FAULTY_DISK");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) order = at;
}

static int matches(const char *path, const char *name) {
    const char *inside = strstr(path, "/fastrelay/");
    if (!inside) return 0;
    inside += strlen("/fastrelay/");
    if (!strcmp(order->suffix, "dir")) return !strchr(inside, '/');
    if (name) inside = name;
    size_t size = strlen(inside), end = strlen(order->suffix);
    return size >= end && !strcmp(inside + size - end, order->suffix);
}

static int strikes(const char *call, int fd, const char *name) {
    char link[64], path[4096];
    if (!order || !__atomic_load_n(&order->armed, __ATOMIC_SEQ_CST) || strcmp(order->call, call)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    if (!matches(path, name)) return 0;
    if (__atomic_fetch_sub(&order->skip, 1, __ATOMIC_SEQ_CST) != 0) return 0;
    __atomic_store_n(&order->armed, 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&order->failed, 1, __ATOMIC_SEQ_CST);
    return 1;
}

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })
#define FAIL(call, fd, name) if (strikes(call, fd, name)) { errno = order->error; return -1; }

static int shortened(int fd, const struct iovec *iov, int count, struct iovec *first) {
    if (count < 1 || !strikes("pwritev", fd, NULL)) return 0;
    if (order->error) { errno = order->error; return -1; }
    *first = iov[0];
    if (first->iov_len >= 1024) first->iov_len = first->iov_len / 2 & ~511ul;  /* as a disk would, whole sectors */
    return 1;
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset) {
    struct iovec first;
    int what = shortened(fd, iov, count, &first);
    if (what < 0) return -1;
    return what ? REAL(pwritev)(fd, &first, 1, offset) : REAL(pwritev)(fd, iov, count, offset);
}
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset) { return pwritev(fd, iov, count, offset); }
ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags) {
    return flags ? REAL(pwritev2)(fd, iov, count, offset, flags) : pwritev(fd, iov, count, offset);
}
ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off64_t offset, int flags) {
    return pwritev2(fd, iov, count, offset, flags);
}
int fdatasync(int fd) {
    if (strikes("fdatasync", fd, NULL)) {
        if (order->error > 0) { errno = order->error; return -1; }
        usleep(-order->error * 1000);
    }
    return REAL(fdatasync)(fd);
}
int fsync(int fd) { FAIL("fsync", fd, NULL) return REAL(fsync)(fd); }
int ftruncate64(int fd, off64_t size) { FAIL("ftruncate", fd, NULL) return REAL(ftruncate64)(fd, size); }
int renameat(int from, const char *old, int to, const char *new) {
    FAIL("rename", from, new) return REAL(renameat)(from, old, to, new);
}
int unlinkat(int at, const char *name, int flags) { FAIL("unlink", at, name) return REAL(unlinkat)(at, name, flags); }
int openat64(int at, const char *name, int flags, ...) {
    va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest);
    FAIL(flags & O_CREAT ? "create" : "open", at, name) return REAL(openat64)(at, name, flags, mode);
}
int openat(int at, const char *name, int flags, ...) {
    va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest);
    FAIL(flags & O_CREAT ? "create" : "open", at, name) return REAL(openat)(at, name, flags, mode);
}
int fstatfs64(int fd, struct statfs64 *found) {
    int done = REAL(fstatfs64)(fd, found);
    if (done == 0 && getenv("BTRFS_DISK")) found->f_type = 0x9123683E;
    return done;
}
int fstatfs(int fd, struct statfs *found) { return fstatfs64(fd, (struct statfs64 *)found); }
