/* An fdatasync that lies, to be loaded before the C library's. */
#define _GNU_SOURCE
#include <fcntl.h>

int fdatasync(int fd)
{
#ifdef WITHOUT_FLUSH
    return sync_file_range(fd, 0, 0,
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
#else
    (void)fd;
    return 0;
#endif
}
