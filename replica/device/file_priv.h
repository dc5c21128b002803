/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a file: device (file_open.c) and its longer calls (file_io.c), apart from running it. For file.c only.
 * Everything here blocks: it is called on threads of the device's own. The caller owns what rfs_file_try() hands over.
 */
#ifndef RFS_DEVICE_FILE_PRIV_H
#define RFS_DEVICE_FILE_PRIV_H

#include "device/device.h"

/* What the device has to be; as expect_* in struct rfs_device_config. */
struct rfs_file_wanted {
    char *path, *identity;
    uint64_t size;
    uint32_t block_size;
};

struct rfs_file_opened {
    int fd; /* locked; -1 unless state is ONLINE */
    bool block_device;
    enum rfs_device_state state; /* ONLINE, OFFLINE or REFUSED */
    struct rfs_device_info info;
    struct rfs_error error; /* why it is not Online */
};

/* Besides errno numbers, what a call can come to. */
enum {
    RFS_FILE_SHRUNK = -1,  /* the file ends before the range does */
    RFS_FILE_DELETED = -2, /* no name leads to it any more: whatever is written to it goes with the session */
    RFS_FILE_REPLACED = -3, /* the path leads to something else */
};

/* 0 or RFS_FILE_DELETED or RFS_FILE_REPLACED: does the path still lead to what is open? An errno if nobody
 * can say. */
int rfs_file_check_place(int fd, const char *path);

/* READ or WRITE in full; `flags` is for pwritev2 only. errno, RFS_FILE_SHRUNK or 0. */
int rfs_file_transfer(int fd, const struct rfs_io *io, int flags);

/* errno or 0, with io->extent filled. */
int rfs_file_extent_status(int fd, uint64_t block_size, struct rfs_io *io);

void rfs_file_try(const struct rfs_file_wanted *wanted, struct rfs_file_opened *opened);

#endif
