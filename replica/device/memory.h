/* SPDX-License-Identifier: Apache-2.0
 *
 * A device in memory, for tests of what stands above devices. Rules and threads as in device.h.
 */
#ifndef RFS_DEVICE_MEMORY_H
#define RFS_DEVICE_MEMORY_H

#include "device/device.h"

struct rfs_memory_options {
    uint64_t size;       /* bytes, a multiple of block_size */
    uint32_t block_size; /* 0 = 512 */
    uint64_t max_unmap, max_write_zeroes;
    bool extent_status, unmapped_reads_zero; /* tracks deallocation per block when extent_status */
    const char *identity;                    /* NULL: made from the address */
    void *
        bytes; /* the caller's memory of `size` bytes, which outlives the device; NULL: own, zeroed, freed at close */
    uint8_t *allocated; /* with extent_status and caller's bytes: one byte a block, 1 = allocated; caller's */
};

/* Becomes Online on the loop's next turn. Cannot fail. */
struct rfs_device *rfs_memory_open(struct rfs_loop *loop, const struct rfs_memory_options *options,
                                   const struct rfs_device_events *events, void *arg);

#endif
