/* SPDX-License-Identifier: Apache-2.0
 *
 * A wrapper round another device that makes what real hardware cannot be made to do on demand: an error at
 * the Nth call or in a range, a delay, an outage, a flipped byte, a volatile write cache and a power cut. For
 * tests. Rules and threads as in device.h.
 */
#ifndef RFS_DEVICE_FAULT_H
#define RFS_DEVICE_FAULT_H

#include "device/device.h"

struct rfs_fault_rule {
    unsigned ops;            /* bit mask of 1u << rfs_io_op; 0 = all */
    uint64_t offset, length; /* only requests that overlap; length 0 = all */
    uint64_t nth;            /* the Nth matching call from now (1 = next), once; 0 = every matching call */
    enum {
        RFS_FAULT_STATUS, /* completes with `status`, not passed on */
        RFS_FAULT_FLIP, /* WRITE: passed on with one bit of the byte at `at` (offset within device) flipped */
        RFS_FAULT_DELAY, /* passed on after `delay_ms` */
        RFS_FAULT_HANG, /* never answered, until the outage ends it (rfs_fault_outage) or the device is closed
                         */
        RFS_FAULT_LOSE, /* the session ends: this and all in flight complete LOST; device Offline for delay_ms
                         */
    } what;
    enum rfs_io_status status;
    uint64_t at;
    uint64_t delay_ms;
};

/* The returned device is Connecting until `inner`, opened by `open_inner(arg, loop, events, events_arg)`, is
 * Online. NULL with *err if the inner could not be opened. */
struct rfs_device *rfs_fault_open(struct rfs_loop *loop,
                                  struct rfs_device *(*open_inner)(void *arg, struct rfs_loop *loop,
                                                                   const struct rfs_device_events *events,
                                                                   void *events_arg, struct rfs_error *err),
                                  void *arg, const struct rfs_device_events *events, void *events_arg,
                                  struct rfs_error *err);

/* All on the device's loop, `dev` from rfs_fault_open(). Rules are tried in the order of adding; the first
 * that matches acts. */
void rfs_fault_add(struct rfs_device *dev, const struct rfs_fault_rule *rule);
void rfs_fault_clear(struct rfs_device *dev);
uint64_t rfs_fault_calls(const struct rfs_device *dev); /* requests seen so far, of all kinds */

/* Ends the session now and keeps the device Offline for `ms` (UINT64_MAX: until rfs_fault_restore). */
void rfs_fault_outage(struct rfs_device *dev, uint64_t ms);
void rfs_fault_restore(struct rfs_device *dev);

/* With a volatile cache on, writes (without FUA) stay in the wrapper until a flush passes them on; reads see
 * them. info.volatile_cache becomes true. A power cut ends the session and drops the cached writes, of each
 * of which, block by block, `seed` decides whether it got to the medium all the same (0: none did). */
void rfs_fault_volatile_cache(struct rfs_device *dev, bool on);
void rfs_fault_power_cut(struct rfs_device *dev, uint64_t seed, uint64_t offline_ms);

#endif
