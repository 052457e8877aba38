/* System calls that fail when told to, to be loaded before the C library's.

   The directory that DYNDNS_FAULTS names holds the orders, each a file whose presence counts: CALL-PLACE-ERROR, as
   sync-journal-EIO; the calls are sync, write and remove. A write that is to fail writes the first half all the same. `clock-back` puts the clock back by
   400 days.

   DYNDNS_KILL_AT is how many calls that change names or sync files the process survives; the next kills it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

static int ordered(const char *order)
{
    const char *faults = getenv("DYNDNS_FAULTS");
    char path[4096];
    int before = errno;
    if (!faults)
        return 0;
    snprintf(path, sizeof path, "%s/%s", faults, order);
    int there = access(path, F_OK) == 0;
    errno = before;
    return there;
}

/* The error that this call upon the file at this path is to fail with, or 0. */
static int fault_at(const char *call, const char *file)
{
    static const struct { const char *name; int error; } errors[] =
        { { "EIO", EIO }, { "ENOSPC", ENOSPC }, { "EROFS", EROFS } };
    static const char *const places[] = { "journal", "table", "checkpoint" };
    char part[32], order[64];
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        snprintf(part, sizeof part, "/%s/", places[p]);
        if (!strstr(file, part))
            continue;
        for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
            snprintf(order, sizeof order, "%s-%s-%s", call, places[p], errors[e].name);
            if (ordered(order))
                return errors[e].error;
        }
    }
    return 0;
}

/* The same of an open file. */
static int fault(const char *call, int fd)
{
    char link[64], file[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, file, sizeof file - 1);
    if (length < 0)
        return 0;
    file[length] = 0;
    return fault_at(call, file);
}

#define FAIL_WITH(found) do { int error = found; if (error) { errno = error; return -1; } } while (0)
#define FAIL(call, fd) FAIL_WITH(fault(call, fd))

static void step(void)
{
    static int steps = -1;
    const char *at = getenv("DYNDNS_KILL_AT");
    if (at && ++steps == atoi(at))
        raise(SIGKILL);
}

int rename(const char *from, const char *to)
{
    step();
    return REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    step();
    return REAL(mkdir)(path, mode);
}

int rmdir(const char *path)
{
    step();
    return REAL(rmdir)(path);
}

int unlink(const char *path)
{
    FAIL_WITH(fault_at("remove", path));
    return REAL(unlink)(path);
}

int fdatasync(int fd)
{
    FAIL("sync", fd);
    return REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    step();
    FAIL("sync", fd);
    return REAL(fsync)(fd);
}

int sync_file_range(int fd, off_t at, off_t count, unsigned flags)
{
    FAIL("sync", fd);
    return REAL(sync_file_range)(fd, at, count, flags);
}

ssize_t pwrite64(int fd, const void *octets, size_t count, off_t at)
{
    int error = fault("write", fd);
    if (error) {
        REAL(pwrite64)(fd, octets, count / 2, at);
        errno = error;
        return -1;
    }
    return REAL(pwrite64)(fd, octets, count, at);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int outcome = REAL(clock_gettime)(clock, time);
    if (outcome == 0 && clock == CLOCK_REALTIME && ordered("clock-back"))
        time->tv_sec -= 400 * 86400;
    return outcome;
}
