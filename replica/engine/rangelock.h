/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte-range locks of one component (design G1): one table for all volumes that are tied by relationships,
 * since they share offsets. Used on the component's worker only, so there is no lock inside.
 *
 * A request takes its range once, at entry, at its final width and mode. Never nested, never upgraded; first
 * come, first served: a request waits for every earlier one (held or waiting) that overlaps and of which
 * either is exclusive. So chains and snapshots cannot deadlock.
 */
#ifndef RFS_ENGINE_RANGELOCK_H
#define RFS_ENGINE_RANGELOCK_H

#include <stdbool.h>
#include <stdint.h>

struct rfs_rangelock;

/* Embedded in the request that wants the range; belongs to it until released. */
struct rfs_range {
    uint64_t offset, length; /* bytes; set by the caller */
    bool exclusive;
    void (*granted)(
        struct rfs_range *range);  /* called when it had to wait and is now held; never from acquire() */
    struct rfs_range *prev, *next; /* private */
    unsigned blockers;             /* private: earlier conflicting ranges still there */
};

struct rfs_rangelock *rfs_rangelock_new(void);
void rfs_rangelock_free(struct rfs_rangelock *rl); /* must be empty */

/* true: held at once (granted() is not called). false: waits; granted() comes from inside some later
 * release(). */
bool rfs_rangelock_acquire(struct rfs_rangelock *rl, struct rfs_range *range);
/* Takes it only if nothing is in the way; never waits. */
bool rfs_rangelock_try(struct rfs_rangelock *rl, struct rfs_range *range);
/* Releases a held range, or withdraws a waiting one. */
void rfs_rangelock_release(struct rfs_rangelock *rl, struct rfs_range *range);
bool rfs_rangelock_empty(const struct rfs_rangelock *rl);

#endif
