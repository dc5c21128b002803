/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a file: device, apart from running it. For file.c only. rfs_file_try() blocks: it is called on a
 * thread of the device's own, and the caller owns what it hands over.
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

void rfs_file_try(const struct rfs_file_wanted *wanted, struct rfs_file_opened *opened);

#endif
