/* SPDX-License-Identifier: Apache-2.0
 *
 * The pending map of one relationship: one bit a region; set = "this region of the target is not yet what it
 * has to be" (design section 5 and 6). A lost clear costs a copy; a lost set is corruption: so a set is
 * confirmed only when it is durable, a clear is written when there is time.
 *
 * Two arrays. `dirty` is the truth, in memory: what a copy works through. `durable` is what the file is known
 * to hold, a superset of dirty: what counts after a crash. At most one write of a map page is outstanding; a
 * bit inside an unfinished clear counts as not durable; a set is confirmed only by a sync begun after a write
 * that contained it, with no older write of that page outstanding. After a failed write or sync the file's
 * descriptor is never trusted again (rfs_pmap_error() says so; sets fail from then on).
 *
 * Threads: create and load block and are called on the control thread; everything else on the worker the map
 * was attached to. File writes happen on the committer (an rfs_iothreads of one thread, shared by all maps of
 * a service). Counters may be read from any thread.
 *
 * File: two header pages of 4096 bytes (magic, version, relationship's uuid-like identity, generation, region
 * size, regions, checksum), either of which is enough, then the bits, one a region, in pages of 4096 bytes;
 * written in full at creation. Single bits, each safe alone, survive torn pages. On disk a bit is the inverse:
 * 1 = clean, 0 = dirty. What file systems, repairs and restores leave where data was lost are zeros and holes:
 * they cost a copy and hide no difference.
 */
#ifndef RFS_ENGINE_PENDINGMAP_H
#define RFS_ENGINE_PENDINGMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"

#define RFS_REGION_SIZE_DEFAULT 65536u

struct rfs_pmap;

struct rfs_pmap_identity {
    char owner[64];       /* state folder's uuid and relationship's number, as text */
    uint64_t generation;  /* grows with every mass change; the catalogue names the one that counts */
    uint64_t size;        /* bytes of the volume */
    uint32_t region_size; /* bytes, a power of two, 4 KiB to 16 MiB */
};

/* Writes a new file in full with all bits set or clear, syncs it and its folder. Replaces a file of that
 * name. */
int rfs_pmap_create(const char *path, const struct rfs_pmap_identity *id, bool all_set,
                    struct rfs_error *err);

/* Loads the file. Fails (NOT_FOUND or FAILED with the reason) when it is missing, unreadable, or of another
 * identity: the caller then makes a new one, all set. */
struct rfs_pmap *rfs_pmap_load(const char *path, const struct rfs_pmap_identity *id, struct rfs_error *err);

/* Binds the map to a worker and the committer; before this, only the counters may be read. */
void rfs_pmap_attach(struct rfs_pmap *map, struct rfs_loop *worker, struct rfs_iothreads *committer);

/* A caller that waits for durability; embedded in its request. */
struct rfs_pmap_wait {
    void (*done)(struct rfs_pmap_wait *wait,
                 const struct rfs_error *err); /* on the worker; err NULL = durable */
    struct rfs_pmap_wait *next;                /* private, as all below */
    uint64_t ticket;
    struct rfs_error error;
};

/* Sets the bits of [offset, offset+length). Returns true when all were durable already (done is not called),
 * else false and done comes later. Many waiters share one write and one sync. */
bool rfs_pmap_set(struct rfs_pmap *map, uint64_t offset, uint64_t length, struct rfs_pmap_wait *wait);

/* Clears bits in memory at once and in the file when there is time. The caller has made sure of M2. Only
 * regions wholly inside the range, or reaching the volume's end, are cleared. */
void rfs_pmap_clear(struct rfs_pmap *map, uint64_t offset, uint64_t length);

/* Everything set or cleared so far is in the file and synced. done always comes. */
void rfs_pmap_sync(struct rfs_pmap *map, struct rfs_pmap_wait *wait);

/* Stops the writing: done (on the worker) comes when nothing is outstanding and everything is in the file;
 * then the map is detached and rfs_pmap_free() may be called on any thread. */
void rfs_pmap_detach(struct rfs_pmap *map, struct rfs_pmap_wait *wait);
void rfs_pmap_free(struct rfs_pmap *map); /* never attached, or detached */

/* First dirty run at or after `from`: its start in *offset and length (to the volume's end at most, limited
 * to `max` bytes); false when there is none. */
bool rfs_pmap_next(const struct rfs_pmap *map, uint64_t from, uint64_t max, uint64_t *offset,
                   uint64_t *length);
bool rfs_pmap_test(const struct rfs_pmap *map, uint64_t offset); /* is the region of this byte dirty */

/* Any thread. Bytes whose region is dirty in memory; bytes not yet cleared in the file (what a crash would
 * copy again: never less than the former, and never grows again after a kill: what progress is reported by).
 */
uint64_t rfs_pmap_dirty_bytes(const struct rfs_pmap *map);
uint64_t rfs_pmap_unsaved_bytes(const struct rfs_pmap *map);
const struct rfs_pmap_identity *rfs_pmap_identity(const struct rfs_pmap *map);
/* NULL, or why the file is not trusted any more. The worker only. */
const struct rfs_error *rfs_pmap_error(const struct rfs_pmap *map);

/* Any thread: a coarse picture for map.svg: fills `cells` (n of them) with the share of dirty regions,
 * 0..255; may be slightly out of date. */
void rfs_pmap_sample(const struct rfs_pmap *map, uint8_t *cells, unsigned n);

#endif
