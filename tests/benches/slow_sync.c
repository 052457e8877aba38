/* Syncs that take longer, as on a slower disk, to be loaded before the C library's.

   After each sync its thread sleeps for SYNC_DELAY microseconds: after fsync, fdatasync, sync, syncfs, msync with MS_SYNC,
   and a write to a file that was opened with O_DSYNC or O_SYNC, as LMDB writes its meta pages. Not after
   sync_file_range, which leaves the disk's own cache and the metadata as they are. It sleeps, for a disk takes
   no processor either.

   SYNC_COUNT names a file of eight octets that counts them, so that whoever measures sees that this was in force. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ({ static typeof(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name); real; })

static struct timespec delay;
static uint64_t uncounted, *count = &uncounted;

__attribute__((constructor)) static void begin(void)
{
    const char *microseconds = getenv("SYNC_DELAY"), *file = getenv("SYNC_COUNT");
    long long length = microseconds ? atoll(microseconds) : 0;
    delay.tv_sec = length / 1000000;
    delay.tv_nsec = length % 1000000 * 1000;
    /* A thread has that of the one that began it. By default the kernel takes 50 microseconds more. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    int fd = file ? open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    void *page = MAP_FAILED;
    if (ftruncate(fd, sizeof *count) == 0)
        page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED)
        count = page;
    close(fd);
}

static void wait_for_disk(void)
{
    struct timespec left = delay;
    int before = errno;
    __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
    errno = before;
}

static int is_synced(int fd)
{
    int before = errno, flags = fcntl(fd, F_GETFL);
    errno = before;
    return flags >= 0 && flags & O_DSYNC;
}

#define SLOWER(type, name, parameters, arguments, when) \
    type name parameters \
    { \
        type outcome = REAL(name) arguments; \
        if (when) \
            wait_for_disk(); \
        return outcome; \
    }

SLOWER(int, fsync, (int fd), (fd), 1)
SLOWER(int, fdatasync, (int fd), (fd), 1)
SLOWER(int, syncfs, (int fd), (fd), 1)
SLOWER(int, msync, (void *at, size_t length, int flags), (at, length, flags), flags & MS_SYNC)
SLOWER(ssize_t, write, (int fd, const void *octets, size_t length), (fd, octets, length), is_synced(fd))
SLOWER(ssize_t, pwrite, (int fd, const void *octets, size_t length, off_t at), (fd, octets, length, at), is_synced(fd))
SLOWER(ssize_t, pwrite64, (int fd, const void *octets, size_t length, off64_t at), (fd, octets, length, at), is_synced(fd))
SLOWER(ssize_t, writev, (int fd, const struct iovec *parts, int length), (fd, parts, length), is_synced(fd))
SLOWER(ssize_t, pwritev, (int fd, const struct iovec *parts, int length, off_t at), (fd, parts, length, at), is_synced(fd))
SLOWER(ssize_t, pwritev64, (int fd, const struct iovec *parts, int length, off64_t at), (fd, parts, length, at), is_synced(fd))

void sync(void)
{
    REAL(sync)();
    wait_for_disk();
}
