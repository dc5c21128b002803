/* SPDX-License-Identifier: Apache-2.0
 *
 * A volume: one element's device as the engine sees it, on its home worker, with whoever wants to know about
 * it.
 *
 * Threads: every call on the worker's loop, except where it says any thread. The volume owns its device.
 * Listeners are told about state changes in the order of registration and may remove themselves while being
 * told.
 */
#ifndef RFS_ENGINE_VOLUME_H
#define RFS_ENGINE_VOLUME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "device/device.h"
#include "engine/rangelock.h"

struct rfs_volume;

struct rfs_volume_listener {
    void (*changed)(struct rfs_volume_listener *l,
                    struct rfs_volume *vol); /* state or info; see rfs_volume_state() */
    struct rfs_volume_listener *prev, *next;
};

/* Any thread. */
struct rfs_volume_stats {
    _Atomic uint64_t read_ops, write_ops, flush_ops, read_bytes, write_bytes, errors, reconnects;
};

/* Opens the device (rfs_device_open) on `loop`. NULL with *err only for an impossible url. For tests `open`
 * makes the device instead; NULL = rfs_device_open with `config`. */
typedef struct rfs_device *(*rfs_volume_open_fn)(void *arg, struct rfs_loop *loop,
                                                 const struct rfs_device_events *events, void *events_arg,
                                                 struct rfs_error *err);
struct rfs_volume *rfs_volume_open(struct rfs_loop *loop, const struct rfs_device_config *config,
                                   rfs_volume_open_fn open, void *open_arg, struct rfs_error *err);

/* No listener and no request may be left from the caller's side; requests in flight complete LOST first. Then
 * closed(arg) on the loop, and the volume is gone. */
void rfs_volume_close(struct rfs_volume *vol, void (*closed)(void *arg), void *arg);

void rfs_volume_listen(struct rfs_volume *vol,
                       struct rfs_volume_listener *l); /* not called for the present state */
void rfs_volume_unlisten(struct rfs_volume *vol, struct rfs_volume_listener *l);

/* As rfs_device_submit, counted in the stats. */
void rfs_volume_submit(struct rfs_volume *vol, struct rfs_io *io);

enum rfs_device_state rfs_volume_state(const struct rfs_volume *vol);
const struct rfs_error *rfs_volume_why(const struct rfs_volume *vol); /* of Offline and Refused */
const struct rfs_device_info *rfs_volume_info(const struct rfs_volume *vol);
uint32_t rfs_volume_writes_lost(const struct rfs_volume *vol); /* the device's count */
struct rfs_loop *rfs_volume_loop(const struct rfs_volume *vol);
struct rfs_volume_stats *rfs_volume_stats(struct rfs_volume *vol); /* any thread while the volume lives */
struct rfs_rangelock *
rfs_volume_ranges(struct rfs_volume *vol); /* the component's table: the source's, for a pair */

#endif
