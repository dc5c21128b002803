/* SPDX-License-Identifier: Apache-2.0
 *
 * The system calls of a file: device that take more than a line. On its I/O threads.
 */
#include "device/file_priv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define IOV_WINDOW 64

/* The part of io's vector that begins `skip` bytes in; at most IOV_WINDOW entries. */
static int window(const struct rfs_io *io, uint64_t skip, struct iovec *out)
{
    int n = 0;

    for (int i = 0; i < io->niov && n < IOV_WINDOW; i++) {
        size_t len = io->iov[i].iov_len;

        if (skip >= len) {
            skip -= len;
            continue;
        }
        out[n++] = (struct iovec){(char *)io->iov[i].iov_base + skip, len - skip};
        skip = 0;
    }
    return n;
}

int rfs_file_transfer(int fd, const struct rfs_io *io, int flags)
{
    struct iovec iov[IOV_WINDOW];
    uint64_t done = 0;

    while (done < io->length) {
        int n = window(io, done, iov);
        off_t at = (off_t)(io->offset + done);
        ssize_t got = io->op == RFS_IO_READ ? preadv(fd, iov, n, at)
                      : flags               ? pwritev2(fd, iov, n, at, flags)
                                            : pwritev(fd, iov, n, at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            return RFS_FILE_SHRUNK;
        done += (uint64_t)got;
    }
    return 0;
}

/* A hole counts from its first to its last whole block: what a block shares with data is data. */
int rfs_file_extent_status(int fd, uint64_t bs, struct rfs_io *io)
{
    uint64_t end = io->offset + io->length;
    off_t data, hole;

    data = lseek(fd, (off_t)io->offset, SEEK_DATA);
    if (data < 0 && errno != ENXIO)
        return errno;
    io->extent.deallocated = data < 0 || (uint64_t)data >= io->offset + bs;
    if (io->extent.deallocated) {
        io->extent.length =
            data < 0 || (uint64_t)data >= end ? io->length : (uint64_t)data / bs * bs - io->offset;
        return 0;
    }
    hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0)
        return errno;
    hole = (off_t)(((uint64_t)hole + bs - 1) / bs * bs);
    io->extent.length = (uint64_t)hole >= end ? io->length : (uint64_t)hole - io->offset;
    return 0;
}

static bool is_same(const struct stat *open, const struct stat *named)
{
    if (S_ISBLK(open->st_mode)) /* device nodes come and go, of the same device */
        return S_ISBLK(named->st_mode) && open->st_rdev == named->st_rdev;
    return open->st_dev == named->st_dev && open->st_ino == named->st_ino;
}

int rfs_file_check_place(int fd, const char *path)
{
    struct stat open, named;

    if (fstat(fd, &open))
        return errno;
    if (!S_ISBLK(open.st_mode) && open.st_nlink == 0)
        return RFS_FILE_DELETED;
    return stat(path, &named) || !is_same(&open, &named) ? RFS_FILE_REPLACED : 0;
}
