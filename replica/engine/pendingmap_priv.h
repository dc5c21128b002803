/* SPDX-License-Identifier: Apache-2.0
 *
 * What pendingmap.c (bits, rounds of writing; the worker) and pendingmap_file.c (the file; the control thread
 * and the committer) share, and the seam by which tests make a disk fail or lose what was not synced. Nobody
 * else includes this but tests.
 *
 * Two arrays of bits, 1 = dirty in both. Between the writes of a page, `file` says what the page as it was written last does; while one is
 * outstanding, `file` is what is set in the old content *and* the new, for either may be found after a crash.
 * A page marked PAGE_UNSURE may have bits in the file that no sync has covered (it was loaded: nobody knows
 * what the process before had synced), so none of its bits counts as durable until the page has been written
 * and synced.
 */
#ifndef RFS_ENGINE_PENDINGMAP_PRIV_H
#define RFS_ENGINE_PENDINGMAP_PRIV_H

#include <endian.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "engine/pendingmap.h"

#define PMAP_PAGE       4096u
#define PMAP_HEADERS    2u
#define PMAP_PAGE_BITS  (PMAP_PAGE * 8u)
#define PMAP_PAGE_WORDS (PMAP_PAGE / 8u)
#define PMAP_BATCH      64u /* pages of one trip to the committer: bounds the memory of a write */

enum {
    PAGE_SET = 1,    /* holds sets that wait for a write and a sync */
    PAGE_CLEAR = 2,  /* holds clears to be written when there is time */
    PAGE_UNSURE = 4, /* see above */
};

/* 64 regions between memory (1 = dirty) and the file (little-endian, 1 = clean). */
static inline uint64_t rfs_pmap_to_disk(uint64_t dirty)
{
    return htole64(~dirty);
}

static inline uint64_t rfs_pmap_from_disk(uint64_t stored)
{
    return ~le64toh(stored);
}

/* The system calls that make bits durable; all on the committer. */
struct rfs_pmap_io {
    ssize_t (*pwrite)(void *arg, int fd, const void *data, size_t length, off_t offset);
    int (*fdatasync)(void *arg, int fd);
    void *arg;
};

/* One trip to the committer: up to PMAP_BATCH pages, then perhaps a sync. Lives only while it is outstanding.
 */
struct rfs_pmap_batch {
    struct rfs_work work;
    struct rfs_pmap *map;
    int fd;
    struct rfs_pmap_io io;
    bool sync;
    unsigned n;
    uint32_t pages[PMAP_BATCH]; /* ascending */
    uint64_t *images;           /* n pages, as in the file: rfs_pmap_to_disk() */
    uint64_t *olds;             /* n pages: `file` before */
    int err;                    /* errno of what failed */
    bool sync_failed;
};

struct rfs_pmap_list {
    struct rfs_pmap_wait *head, **tail;
};

struct rfs_pmap {
    struct rfs_pmap_identity id;
    char *path;
    int fd;
    struct rfs_pmap_io io;
    uint64_t regions, words;
    uint32_t pages;
    _Atomic uint64_t *dirty; /* written by the worker only; read by anybody for the picture */
    uint64_t *file;
    uint8_t *flags; /* one a page */
    _Atomic uint64_t dirty_bytes, unsaved_bytes;

    struct rfs_loop *worker; /* NULL: not attached */
    struct rfs_iothreads *committer;
    struct rfs_timer *timer; /* of lazy clears; made when first needed */
    struct rfs_task kick;
    struct rfs_pmap_batch *batch;
    struct rfs_pmap_list now, next; /* waiters that this round, the next round serves */
    struct rfs_pmap_wait *detaching;
    struct rfs_error *error;
    uint64_t cleared_at; /* when clears were last written, ms */
    uint32_t cursor;     /* of the round */
    bool in_round;
    bool kicked;        /* kick is posted */
    bool sets_wanted;   /* some page has PAGE_SET, or sync_wanted */
    bool clears_wanted; /* some page has PAGE_CLEAR */
    bool clears_due;    /* write them in the next round */
    bool sync_wanted;   /* the next round ends with a sync whatever it writes */
    bool round_clears, round_sync;
    bool unsynced; /* something was written since the last sync, or the file was just loaded */
};

/* As rfs_pmap_load(), with other system calls (copied). */
struct rfs_pmap *rfs_pmap_load_with(const char *path, const struct rfs_pmap_identity *id,
                                    const struct rfs_pmap_io *io, struct rfs_error *err);

/* Writes the batch's pages and syncs, on the calling thread; the outcome is in batch->err. */
void rfs_pmap_batch_run(struct rfs_pmap_batch *batch);

#endif
