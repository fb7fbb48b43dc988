// Loaded before libc: the kernel is asked to write half of what was to be written to a file, and says so, as it may at any time.
// Each time one more byte stands in the file that TASTYPOD_SHORT_WRITES names.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t shortened(int file, size_t size) {
    struct stat stat;
    const char *count = getenv("TASTYPOD_SHORT_WRITES");
    if (size < 2 || !count || fstat(file, &stat) || !S_ISREG(stat.st_mode)) return size;
    int counter = open(count, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (counter < 0 || syscall(SYS_write, counter, ".", 1) != 1) abort();
    close(counter);
    return size / 2;
}

ssize_t write(int file, const void *data, size_t size) { return syscall(SYS_write, file, data, shortened(file, size)); }

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    return syscall(SYS_pwrite64, file, data, shortened(file, size), at);
}

ssize_t pwrite64(int file, const void *data, size_t size, off_t at) { return pwrite(file, data, size, at); }
