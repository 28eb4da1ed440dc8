/* Logs what a process does to the files below SHIM_ROOT, in order, to SHIM_LOG: what of it would survive a power cut
   is for the reader of the log to say. A record is a line, and for W the bytes after it:
     C inode path | M inode path | W inode offset length | T inode size | S inode | R from<TAB>to | U path
   With SHIM_FULL naming a file that exists, writes below SHIM_ROOT fail with ENOSPC, as on a full disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char below[65536];
static int out = -1;

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);

__attribute__((constructor)) static void begin(void) {
    real_open = (void *)dlsym(RTLD_NEXT, "open");
    real_write = (void *)dlsym(RTLD_NEXT, "write");
    const char *log = getenv("SHIM_LOG");
    if (log) out = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int inside(const char *path) {
    const char *root = getenv("SHIM_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static int tracked(int fd) { return fd >= 0 && fd < 65536 && below[fd]; }

static int full(void) {
    const char *mark = getenv("SHIM_FULL");
    return mark && access(mark, F_OK) == 0;
}

static unsigned long inode(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? (unsigned long)found.st_ino : 0;
}

static void say(const void *data, size_t size, const char *format, ...) {
    if (out < 0) return;
    char line[PATH_MAX * 2 + 64];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    pthread_mutex_lock(&lock);
    real_write(out, line, length);
    for (size_t at = 0; at < size;) {
        ssize_t put = real_write(out, (const char *)data + at, size - at);
        if (put <= 0) break;
        at += put;
    }
    pthread_mutex_unlock(&lock);
}

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd < 0 || fd >= 65536) return fd;
    below[fd] = inside(path);
    if (below[fd] && (flags & O_CREAT) && !existed) say(NULL, 0, "C %lu %s\n", inode(fd), path);
    if (below[fd] && (flags & O_TRUNC) && existed) say(NULL, 0, "T %lu 0\n", inode(fd));
    return fd;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        int existed = access(path, F_OK) == 0;                                                                         \
        return opened(((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name))(path, flags, mode), path, flags,      \
                      existed);                                                                                        \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                   \
    int name(int folder, const char *path, int flags, ...) {                                                           \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        int existed = access(path, F_OK) == 0;                                                                         \
        return opened(((int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #name))(folder, path, flags, mode),      \
                      path, flags, existed);                                                                           \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    if (fd >= 0 && fd < 65536) below[fd] = 0;
    return REAL(close)(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
    if (!tracked(fd)) return real_write(fd, data, size);
    if (full()) return errno = ENOSPC, -1;
    off_t at = (fcntl(fd, F_GETFL) & O_APPEND) ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    ssize_t put = real_write(fd, data, size);
    if (put > 0) say(data, put, "W %lu %ld %zd\n", inode(fd), (long)at, put);
    return put;
}

#define PWRITE(name, offset)                                                                                           \
    ssize_t name(int fd, const void *data, size_t size, offset at) {                                                   \
        if (tracked(fd) && full()) return errno = ENOSPC, -1;                                                          \
        ssize_t put = REAL(name)(fd, data, size, at);                                                                  \
        if (put > 0 && tracked(fd)) say(data, put, "W %lu %ld %zd\n", inode(fd), (long)at, put);                       \
        return put;                                                                                                    \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(name, offset)                                                                                         \
    int name(int fd, offset size) {                                                                                    \
        int done = REAL(name)(fd, size);                                                                               \
        if (done == 0 && tracked(fd)) say(NULL, 0, "T %lu %ld\n", inode(fd), (long)size);                              \
        return done;                                                                                                   \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                                                                     \
    int name(int fd) {                                                                                                 \
        if (tracked(fd)) { /* the disk itself need not be bothered: the log says what was asked of it */               \
            say(NULL, 0, "S %lu\n", inode(fd));                                                                        \
            return 0;                                                                                                  \
        }                                                                                                              \
        return REAL(name)(fd);                                                                                         \
    }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
    int done = REAL(rename)(from, to);
    if (done == 0 && inside(from)) say(NULL, 0, "R %s\t%s\n", from, to);
    return done;
}

int unlink(const char *path) {
    int done = REAL(unlink)(path);
    if (done == 0 && inside(path)) say(NULL, 0, "U %s\n", path);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    int done = REAL(mkdir)(path, mode);
    struct stat found;
    if (done == 0 && inside(path) && stat(path, &found) == 0)
        say(NULL, 0, "M %lu %s\n", (unsigned long)found.st_ino, path);
    return done;
}
