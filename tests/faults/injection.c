/* Faults on purpose, between a process and the C library.
 *
 * Preloaded into a platform's processes, it counts the operations that change files below a folder and makes the n-th and
 * every following one fail, delays them, or kills the process at the n-th. SQLite's own writes and those of libraries pass
 * here like everybody's. What it is to do is in a file that the test shares with the processes; see injection.py.
 */
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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CREATE = 1, WRITE = 2, SYNC = 4, NAME = 8, DESCRIPTOR = 16 };

struct plan {
    _Atomic int error;      /* errno of what fails; 0: nothing does */
    _Atomic int kills;      /* kill the process instead, once */
    _Atomic int kinds;      /* of the operations that count */
    _Atomic int delay_ms;   /* before each of them */
    _Atomic long passes;    /* operations that succeed before the first that fails */
    _Atomic long counted;   /* operations so far */
    _Atomic long failed;    /* of these, that were made to fail */
    char below[512];        /* the folder */
    char part[128];         /* a text in the command line of the processes that are meant; empty: every one */
    char spared[512];       /* a folder inside the other that stays whole */
};

static struct plan *plan;
static char library[512], plan_path[512];

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void start(void) {
    static int (*opens)(const char *, int, ...);
    const char *path = getenv("CLARY_FAULT_PLAN"), *preloaded = getenv("LD_PRELOAD");
    if (path) snprintf(plan_path, sizeof plan_path, "%s", path);
    if (preloaded) snprintf(library, sizeof library, "%s", preloaded);
    char command[4096] = {0};
    opens = real("open");
    int fd = opens("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, command, sizeof command - 1);
    if (fd >= 0) close(fd);
    for (ssize_t i = 0; i < size; i++)
        if (!command[i]) command[i] = ' ';
    if (!strstr(command, "clary up") && !strstr(command, "supervisor")) unsetenv("LD_PRELOAD"); /* not for what they start */
    if (!path) return;
    fd = opens(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    struct plan *found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED && (!found->part[0] || strstr(command, found->part))) plan = found;
}

/* The zygote's environment is made anew, without what the platform does not know: faults reach it all the same. */
int execve(const char *path, char *const argv[], char *const envp[]) {
    static int (*next)(const char *, char *const[], char *const[]);
    static char *extended[512], preload[1024], shared[1024];
    if (!next) next = real("execve");
    int zygote = 0, size = 0;
    for (int i = 0; argv && argv[i]; i++)
        if (strstr(argv[i], "clary.executors")) zygote = 1;
    for (; zygote && envp && envp[size] && size < 500; size++) {
        if (!strncmp(envp[size], "CLARY_FAULT_PLAN=", 17)) zygote = 0;
        extended[size] = envp[size];
    }
    if (!zygote || !*library) return next(path, argv, envp);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
    snprintf(shared, sizeof shared, "CLARY_FAULT_PLAN=%s", plan_path);
    extended[size++] = preload;
    extended[size++] = shared;
    extended[size] = NULL;
    return next(path, argv, extended);
}

/* Whether an operation is to fail: errno is set then. */
static int fails(int kind) {
    if (!(plan->kinds & kind)) return 0;
    int saved = errno;
    int delay = plan->delay_ms;
    if (delay) {
        struct timespec time = {delay / 1000, delay % 1000 * 1000000L};
        nanosleep(&time, NULL);
    }
    long number = atomic_fetch_add(&plan->counted, 1);
    if (number >= plan->passes) {
        int one = 1;
        if (atomic_compare_exchange_strong(&plan->kills, &one, 0)) {
            atomic_fetch_add(&plan->failed, 1);
            kill(getpid(), SIGKILL);
            pause();
        }
        int error = plan->error;
        if (error) {
            atomic_fetch_add(&plan->failed, 1);
            errno = error;
            return 1;
        }
    }
    errno = saved;
    return 0;
}

static int active(void) { return plan && (plan->error || plan->kills || plan->delay_ms || plan->kinds); }

static int starts(const char *path, const char *folder) { return *folder && !strncmp(path, folder, strlen(folder)); }

static int inside(const char *path) { return starts(path, plan->below) && !starts(path, plan->spared); }

static int fd_inside(int fd) {
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return inside(path);
}

static int at_inside(int folder, const char *path) {
    return path[0] == '/' ? inside(path) : folder == AT_FDCWD ? 0 : fd_inside(folder);
}

static int opening(int folder, const char *path, int flags) {
    if (!active()) return 0;
    if (fails(DESCRIPTOR)) return 1;
    return (flags & O_CREAT) && at_inside(folder, path) && fails(CREATE);
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        static int (*next)(const char *, int, ...); \
        if (!next) next = real(#name); \
        MODE(flags, mode) \
        return opening(AT_FDCWD, path, flags) ? -1 : next(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        static int (*next)(int, const char *, int, ...); \
        if (!next) next = real(#name); \
        MODE(flags, mode) \
        return opening(folder, path, flags) ? -1 : next(folder, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* An operation on a descriptor: its type, name, parameters as declared and as passed on, and its kind. */
#define ON_FD(type, name, declared, passed, kind) \
    type name declared { \
        static type(*next) declared; \
        if (!next) next = real(#name); \
        if (active() && (plan->kinds & kind) && fd_inside(fd) && fails(kind)) return -1; \
        return next passed; \
    }
ON_FD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), WRITE)
ON_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), WRITE)
ON_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), WRITE)
ON_FD(ssize_t, writev, (int fd, const struct iovec *data, int count), (fd, data, count), WRITE)
ON_FD(int, ftruncate, (int fd, off_t size), (fd, size), WRITE)
ON_FD(int, ftruncate64, (int fd, off64_t size), (fd, size), WRITE)
ON_FD(int, fsync, (int fd), (fd), SYNC)
ON_FD(int, fdatasync, (int fd), (fd), SYNC)

ssize_t copy_file_range(int in, off64_t *in_at, int fd, off64_t *at, size_t size, unsigned flags) {
    static ssize_t (*next)(int, off64_t *, int, off64_t *, size_t, unsigned);
    if (!next) next = real("copy_file_range");
    if (active() && (plan->kinds & WRITE) && fd_inside(fd) && fails(WRITE)) return -1;
    return next(in, in_at, fd, at, size, flags);
}

/* An operation on a path. */
#define ON_PATH(name, declared, passed, where) \
    int name declared { \
        static int(*next) declared; \
        if (!next) next = real(#name); \
        if (active() && (plan->kinds & NAME) && (where) && fails(NAME)) return -1; \
        return next passed; \
    }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), inside(path))
ON_PATH(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), at_inside(folder, path))
ON_PATH(rename, (const char *from, const char *to), (from, to), inside(to))
ON_PATH(renameat, (int folder, const char *from, int other, const char *to), (folder, from, other, to), at_inside(other, to))
ON_PATH(link, (const char *from, const char *to), (from, to), inside(to))
ON_PATH(linkat, (int folder, const char *from, int other, const char *to, int flags), (folder, from, other, to, flags), at_inside(other, to))
ON_PATH(symlink, (const char *from, const char *to), (from, to), inside(to))
ON_PATH(mkfifo, (const char *path, mode_t mode), (path, mode), inside(path))

/* What takes a descriptor and is no file. */
#define DESCRIPTOR_OF(type, name, declared, passed) \
    type name declared { \
        static type(*next) declared; \
        if (!next) next = real(#name); \
        if (active() && fails(DESCRIPTOR)) return -1; \
        return next passed; \
    }
DESCRIPTOR_OF(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
DESCRIPTOR_OF(int, accept4, (int fd, struct sockaddr *address, socklen_t *size, int flags), (fd, address, size, flags))
DESCRIPTOR_OF(int, pipe2, (int ends[2], int flags), (ends, flags))
DESCRIPTOR_OF(int, pipe, (int ends[2]), (ends))
DESCRIPTOR_OF(int, dup, (int fd), (fd))
