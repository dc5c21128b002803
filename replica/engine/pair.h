/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's side of one relationship: a source volume, a target volume and the pending map between them,
 * and the copy that empties the map.
 *
 * The way of a chunk (up to the best transfer size, neighbours merged), with no hand-over and no copy of its
 * bytes: range lock -> extent status of the source (windows of many chunks are asked at once) -> read the
 * source into the slot's buffer -> XXH3-128 digest, zero test -> write the target (or UNMAP with proof, or
 * WRITE SAME) -> read back into the same buffer and compare digests (verify=copied) -> wait for the next
 * target flush that was issued after the write completed -> clear the bits (M2). A chunk that fails,
 * mismatches or loses its session is read again from the source, never re-issued from its buffer. Flushes
 * (checkpoints) overlap with further chunks.
 *
 * Threads: every call on the worker both volumes are homed on, except where it says any thread. Events come
 * on the worker and never from inside a call made to the pair.
 */
#ifndef RFS_ENGINE_PAIR_H
#define RFS_ENGINE_PAIR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/pendingmap.h"
#include "engine/volume.h"

struct rfs_pair;

enum rfs_verify { RFS_VERIFY_NONE, RFS_VERIFY_COPIED };

/* What may be changed while it runs (rfs_pair_configure). */
struct rfs_pair_settings {
    enum rfs_verify verify;
    uint64_t rate_limit;   /* bytes of source range per second; 0 = none */
    uint32_t max_requests; /* chunks in flight; 0 = 16 */
    uint32_t max_transfer; /* bytes of a chunk; 0 = 1 MiB, bounded by both devices' limits */
    uint32_t max_retries;  /* of one chunk for errors and mismatches in a row; 0 = 3 */
    bool detect_zeroes; /* unmapped and zero data are not written where the target proves to be zero otherwise
                         */
};

enum rfs_pair_phase {
    RFS_PAIR_IDLE,    /* not copying */
    RFS_PAIR_WAITING, /* a volume is not Online; goes on by itself when both are */
    RFS_PAIR_COPYING,
    RFS_PAIR_FLUSHING, /* everything copied; last flush and map sync */
    RFS_PAIR_STOPPING,
};

/* Any thread. Counters grow over the life of the pair (a daemon's run). */
struct rfs_pair_stats {
    _Atomic uint64_t bytes_read;    /* from the source */
    _Atomic uint64_t bytes_written; /* to the target, as data */
    _Atomic uint64_t
        bytes_zeroed; /* made zero on the target without data (UNMAP, WRITE SAME, or zero already) */
    _Atomic uint64_t bytes_verified; /* read back and equal */
    _Atomic uint64_t bytes_skipped;  /* unmapped on the source: not read */
    _Atomic uint64_t mismatches;     /* read-backs that differed */
    _Atomic uint64_t retries, errors;
    _Atomic uint64_t in_flight_bytes;
    _Atomic uint32_t phase; /* enum rfs_pair_phase */
};

enum rfs_side { RFS_SOURCE = 0, RFS_TARGET = 1 };

struct rfs_pair_events {
    /* The map is empty, the target flushed, the map synced: the copy that rfs_pair_run() started has ended
     * well. */
    void (*copied)(void *arg);
    /* A side is not Online: copying waits (in phase WAITING) and will go on by itself. Called once per
     * outage. */
    void (*lost)(void *arg, enum rfs_side side, const struct rfs_error *why);
    /* Both are Online again after lost(): copying goes on. */
    void (*resumed)(void *arg);
    /* Cannot be done: a chunk failed max_retries times in a row, the target is write protected or full, a LUN
     * was refused (another LUN, shrunk), the map's file is not trusted any more. Everything in flight has
     * been drained, what was copied and flushed is cleared; the pair is IDLE. */
    void (*failed)(void *arg, enum rfs_side side, const struct rfs_error *why);
    /* A read-back differed at this range; it will be copied again. */
    void (*mismatch)(void *arg, uint64_t offset, uint64_t length);
};

/* The pair uses the map and volumes until rfs_pair_free(); `map` is attached to the volumes' worker by the
 * caller. */
struct rfs_pair *rfs_pair_new(struct rfs_volume *source, struct rfs_volume *target, struct rfs_pmap *map,
                              const struct rfs_pair_settings *settings, const struct rfs_pair_events *events,
                              void *arg);
void rfs_pair_free(struct rfs_pair *pair); /* IDLE only */

void rfs_pair_configure(struct rfs_pair *pair, const struct rfs_pair_settings *settings);

/* Copies until the map is empty; ends with copied() or failed(). Starts waiting where a volume is not Online
 * (then lost() is called). Already running: no effect. */
void rfs_pair_run(struct rfs_pair *pair);

/* Ends copying: no new chunks; in-flight ones are drained; what was written is flushed and cleared if the
 * target can be reached; the map synced; then stopped(arg). No event comes after that until the next run.
 * IDLE: stopped() comes on a later turn. If copied() or failed() is due in the meantime it is not delivered;
 * *complete says whether the map is empty and flushed. */
void rfs_pair_stop(struct rfs_pair *pair, void (*stopped)(void *arg, bool complete), void *arg);

/* A host's write to the source is about to be issued: nothing that was copied of [offset, offset+length) so
 * far clears its bits (M5), and what the source said about its extents there is forgotten. To be called for
 * every write to the source while the pair lives, running or not (it also decides whether the source has to
 * be flushed before bits are cleared). The order that makes it safe, and that the host's write has to keep
 * to:
 *   1. have the range in rfs_volume_ranges(source), exclusive, until the write has completed;
 *   2. rfs_pair_note_write();
 *   3. rfs_pmap_set(), and wait until it is durable (M1); a clear that was due can no longer come in between,
 * since 2;
 *   4. issue the write.
 * The copy takes the same range shared before it reads. In the first passes it lets go of it at once (it only
 * waits for the writes that began before), so a host never waits for a copy; what is still re-dirtied in the
 * fourth pass and later is copied with the range held until it is on the target. Costs a bisection; nothing
 * while the pair is IDLE. */
void rfs_pair_note_write(struct rfs_pair *pair, uint64_t offset, uint64_t length);

const struct rfs_pair_stats *
rfs_pair_stats(const struct rfs_pair *pair); /* any thread while the pair lives */

#endif
