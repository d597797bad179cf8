/* Writes down, in order, what a process does to the files of a folder, or kills it before one of these operations.

   Loaded by LD_PRELOAD; see cuts.py. CUTS_FOLDER is the folder, CUTS_LOG the file to write to, CUTS_DIES the number of the
   operation, from 1, that is not made any more. A record is: kind, length of the path, offset, length of the data (all
   as 64 bits), path, data. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paths[MOST];
static int appends[MOST];
static const char *folder;
static long dies, count;
static int out = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("CUTS_LOG"), *number = getenv("CUTS_DIES");
    folder = getenv("CUTS_FOLDER");
    dies = number ? atol(number) : 0;
    if (folder && name)
        out = REAL(open)(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    unsetenv("LD_PRELOAD");
}

static int is_ours(const char *path) {
    size_t size = folder ? strlen(folder) : 0;
    return out >= 0 && path && !strncmp(path, folder, size) && (path[size] == '/' || !path[size]);
}

static void put(const void *data, size_t size) {
    while (size) {
        ssize_t done = REAL(write)(out, data, size);
        if (done <= 0)
            abort();
        data = (const char *)data + done;
        size -= done;
    }
}

static void note(char kind, const char *path, uint64_t offset, const void *data, uint64_t size) {
    uint64_t head[4] = {(uint64_t)kind, strlen(path), offset, size};
    if (++count == dies)
        kill(getpid(), SIGKILL);
    put(head, sizeof head);
    put(path, head[1]);
    if (data)
        put(data, size);
}

static const char *path_of(int fd) { return fd >= 0 && fd < MOST ? paths[fd] : NULL; }

static int opened(const char *path, int flags, int fd, int was_there) {
    if (fd >= 0 && fd < MOST && is_ours(path)) {
        if (!was_there)
            note('C', path, 0, NULL, 0);
        else if (flags & O_TRUNC)
            note('T', path, 0, NULL, 0);
        free(paths[fd]);
        paths[fd] = strdup(path);
        appends[fd] = flags & O_APPEND;
    }
    return fd;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        pthread_mutex_lock(&lock);                                                                                     \
        int was_there = !is_ours(path) || !access(path, F_OK);                                                         \
        int fd = opened(path, flags, REAL(name)(path, flags, mode), was_there);                                        \
        pthread_mutex_unlock(&lock);                                                                                   \
        return fd;                                                                                                     \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (path_of(fd)) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    int done = REAL(close)(fd);
    pthread_mutex_unlock(&lock);
    return done;
}

/* Notes an operation on an open file, if it is one of the folder, and makes it. */
#define ON_FILE(fd, kind, offset, data, size, call)                                                                    \
    pthread_mutex_lock(&lock);                                                                                         \
    if (path_of(fd))                                                                                                   \
        note(kind, paths[fd], offset, data, size);                                                                     \
    __auto_type done = call;                                                                                           \
    pthread_mutex_unlock(&lock);                                                                                       \
    return done;

static uint64_t place(int fd) {
    struct stat found;
    if (path_of(fd) && appends[fd] && !fstat(fd, &found))
        return found.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *data, size_t size) {
    ON_FILE(fd, 'W', place(fd), data, size, REAL(write)(fd, data, size))
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    ON_FILE(fd, 'W', at, data, size, REAL(pwrite)(fd, data, size, at))
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    ON_FILE(fd, 'W', at, data, size, REAL(pwrite64)(fd, data, size, at))
}
int ftruncate(int fd, off_t size) { ON_FILE(fd, 'T', size, NULL, 0, REAL(ftruncate)(fd, size)) }
int ftruncate64(int fd, off64_t size) { ON_FILE(fd, 'T', size, NULL, 0, REAL(ftruncate64)(fd, size)) }
int fsync(int fd) { ON_FILE(fd, 'S', 0, NULL, 0, REAL(fsync)(fd)) }
int fdatasync(int fd) { ON_FILE(fd, 'S', 0, NULL, 0, REAL(fdatasync)(fd)) }

/* The same of operations on names. */
#define ON_NAME(path, kind, data, size, call)                                                                          \
    pthread_mutex_lock(&lock);                                                                                         \
    if (is_ours(path))                                                                                                 \
        note(kind, path, 0, data, size);                                                                               \
    int done = call;                                                                                                   \
    pthread_mutex_unlock(&lock);                                                                                       \
    return done;

int unlink(const char *path) { ON_NAME(path, 'U', NULL, 0, REAL(unlink)(path)) }
int rename(const char *path, const char *to) { ON_NAME(path, 'R', to, strlen(to), REAL(rename)(path, to)) }
int link(const char *path, const char *to) { ON_NAME(path, 'L', to, strlen(to), REAL(link)(path, to)) }
