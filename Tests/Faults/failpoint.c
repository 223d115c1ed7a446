// Loaded before libc (LD_PRELOAD): counts the writes and syncs of one file family and lets the n-th one go wrong.
//
//   HDS_FAIL_PATH   files whose path begins with this are watched
//   HDS_FAIL_AT     the number of the operation that goes wrong, from 1; 0: none, only counted
//   HDS_FAIL_HOW    kill   the process ends before the operation
//                   torn   half of what is to be written is written, then the process ends
//                   power  the process ends, and each write that no sync followed is taken back or not, by HDS_FAIL_SEED
//                   eio, enospc   the operation fails with that error, and all later ones work
//   HDS_FAIL_COUNT  a file to which the number of operations is written when the process ends by itself
//   HDS_FAIL_PORT   besides, what is sent to this TCP port of any machine counts as an operation (kill only)
//   HDS_FAIL_ARMED  nothing counts before this file is there; without it everything counts
//
// One lock guards everything: a watched file is written by few threads, and tests do not ask for speed.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct undo {
    char path[512];
    off_t at;
    size_t count;
    char *old;
    struct undo *earlier;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct undo *unsynced;
static long operations;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_send)(int, const void *, size_t, int);
static int (*real_fdatasync)(int), (*real_fsync)(int), (*real_ftruncate)(int, off_t);

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static int watched(int fd, char path[512]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, 511);
    const char *prefix = setting("HDS_FAIL_PATH");
    if (count <= 0 || !*prefix) return 0;
    path[count] = 0;
    // The index of the log is made anew after every crash.
    if (count > 4 && !strcmp(path + count - 4, "-shm")) return 0;
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

__attribute__((constructor)) static void start(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_send = dlsym(RTLD_NEXT, "send");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
}

__attribute__((destructor)) static void end(void) {
    FILE *file = *setting("HDS_FAIL_COUNT") ? fopen(setting("HDS_FAIL_COUNT"), "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld\n", operations);
    fclose(file);
}

// Newest first, so that what is taken back twice ends as it was before both. Where a file grew, zeros stay.
static void power_cut(void) {
    uint64_t random = strtoull(setting("HDS_FAIL_SEED"), NULL, 10) * 2654435769u + 1;
    for (struct undo *write = unsynced; write; write = write->earlier) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        if (random >> 63) continue;
        int fd = open(write->path, O_WRONLY);
        if (fd < 0) continue;
        real_pwrite(fd, write->old, write->count, write->at);
        close(fd);
    }
}

// Once armed, for ever.
static int is_armed(void) {
    static int armed;
    const char *file = setting("HDS_FAIL_ARMED");
    if (!armed) armed = !*file || access(file, F_OK) == 0;
    return armed;
}

// Whether the operation is the one that goes wrong with an error; does not return when the process is to end.
static int goes_wrong(int fd, const void *bytes, size_t count, off_t at) {
    if (!is_armed()) return 0;
    operations++;
    if (operations != atol(setting("HDS_FAIL_AT"))) return 0;
    const char *how = setting("HDS_FAIL_HOW");
    if (!strcmp(how, "eio")) return EIO;
    if (!strcmp(how, "enospc")) return ENOSPC;
    if (!strcmp(how, "torn") && bytes) real_pwrite(fd, bytes, count / 2, at);
    if (!strcmp(how, "power")) power_cut();
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void remember(int fd, const char *path, size_t count, off_t at) {
    struct undo *write = calloc(1, sizeof *write);
    if (!write || !(write->old = calloc(1, count ? count : 1))) abort();
    strncpy(write->path, path, sizeof write->path - 1);
    write->at = at;
    write->count = count;
    // Shorter at the end of the file: the rest is zeros.
    if (pread(fd, write->old, count, at) < 0) abort();
    write->earlier = unsynced;
    unsynced = write;
}

static void forget(const char *path) {
    struct undo **link = &unsynced;
    while (*link) {
        struct undo *write = *link;
        if (strcmp(write->path, path)) {
            link = &write->earlier;
            continue;
        }
        *link = write->earlier;
        free(write->old);
        free(write);
    }
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) {
    char path[512];
    if (!watched(fd, path)) return real_pwrite(fd, bytes, count, at);
    pthread_mutex_lock(&lock);
    int error = goes_wrong(fd, bytes, count, at);
    ssize_t written = -1;
    if (!error) {
        remember(fd, path, count, at);
        written = real_pwrite(fd, bytes, count, at);
    }
    pthread_mutex_unlock(&lock);
    if (error) errno = error;
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

static int sync_file(int fd, int (*real)(int)) {
    char path[512];
    if (!watched(fd, path)) return real(fd);
    pthread_mutex_lock(&lock);
    int error = goes_wrong(fd, NULL, 0, 0);
    int result = error ? -1 : real(fd);
    if (result == 0) forget(path);
    pthread_mutex_unlock(&lock);
    if (error) errno = error;
    return result;
}

int fdatasync(int fd) { return sync_file(fd, real_fdatasync); }
int fsync(int fd) { return sync_file(fd, real_fsync); }

int ftruncate64(int fd, off_t size) {
    char path[512];
    if (!watched(fd, path)) return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    int error = goes_wrong(fd, NULL, 0, 0);
    int result = error ? -1 : real_ftruncate(fd, size);
    pthread_mutex_unlock(&lock);
    if (error) errno = error;
    return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

ssize_t send(int fd, const void *bytes, size_t count, int flags) {
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    long port = atol(setting("HDS_FAIL_PORT"));
    if (port && getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
        ntohs(peer.sin_port) == port) {
        pthread_mutex_lock(&lock);
        goes_wrong(fd, NULL, 0, 0);
        pthread_mutex_unlock(&lock);
    }
    return real_send(fd, bytes, count, flags);
}
