/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a pair. For pair.c, work.c, chunk.c, zero.c, ledger.c, checkpoint.c, extents.c and throttle.c only;
 * all of it on the pair's worker.
 *
 * Words. A *span* is a dirty run of whole regions that has been taken from the map; the *ledger* lists the
 * spans from taking to clearing, in the order of their offsets. A *piece* is what a *slot* works on at one
 * time: part of a span, at most one buffer long, or a whole unmapped run that needs no buffer. A span of
 * small regions is one piece; a region larger than a transfer takes several, and is cleared only when all of
 * them are on the target.
 *
 * The *epoch* is raised whenever the target may have lost what it had acknowledged (session lost, flush
 * failed). A span that was begun in an older epoch is never cleared.
 *
 * One place decides what happens next: rfs_pair_pump(), which everything that completes ends with.
 */
#ifndef RFS_ENGINE_PAIR_PRIV_H
#define RFS_ENGINE_PAIR_PRIV_H

#include <xxhash.h>

#include "engine/pair.h"
#include "engine/rangelock.h"

#define RFS_PAIR_REQUESTS     16u
#define RFS_PAIR_REQUESTS_MAX 256u
#define RFS_PAIR_CHUNK        (1u << 20)
#define RFS_PAIR_CHUNK_MAX    (16u << 20)
#define RFS_PAIR_ZERO_RUN     (64u << 20) /* an unmapped run that one slot deals with */
#define RFS_PAIR_RETRIES      3u
#define RFS_PAIR_IN_VAIN                                                                                     \
    5u /* acknowledged writes lost so often with nothing gained between: it will not end well */
#define RFS_PAIR_PAUSE_MS 20u /* before the first retry; doubled for each further one */
#define RFS_PAIR_PATIENCE 3u  /* passes after which a chunk keeps hosts' writes away while it is copied */

/* --- spans --- */

enum rfs_span_state {
    RFS_SPAN_OPEN,     /* not all of it handed out, or pieces of it in slots */
    RFS_SPAN_WRITTEN,  /* on the target, waiting for a flush */
    RFS_SPAN_FLUSHING, /* covered by the flush under way */
    RFS_SPAN_GONE,     /* cleared, or given up (then its bits are still set) */
};

struct rfs_span {
    uint64_t offset, length;
    uint64_t handed;  /* bytes given to slots so far */
    uint64_t redirty; /* hosts have written there since it was taken: one bit for 1 << unit bytes */
    uint64_t weight;  /* bytes of it that the target had to do something for */
    uint32_t epoch, pieces;
    uint8_t state, unit;
    bool bad; /* a piece was given up */
};

struct rfs_ledger {
    struct rfs_span *ring; /* of cap spans, a power of two; a span's number modulo cap is its place */
    uint64_t head, tail, cap;
};

/* --- slots --- */

enum rfs_slot_state {
    RFS_SLOT_FREE,
    RFS_SLOT_LOCKING, /* waits for the range */
    RFS_SLOT_BUSY,    /* a request is with a volume */
    RFS_SLOT_PAUSED,  /* waits for `due`, then begins again */
};

struct rfs_zero_work {
    uint64_t at, length; /* the part under work: everything before it is zero on the target */
    uint64_t checked;    /* of `length`, read back and found to be zero after WRITE ZEROES */
};

struct rfs_slot {
    struct rfs_pair *pair;
    struct rfs_slot *next; /* free list */
    enum rfs_slot_state state;
    void (*step)(struct rfs_slot *slot); /* what follows when `io` is done */
    enum rfs_side side;                  /* of the request under way */
    struct rfs_io io;
    struct iovec iov;
    uint8_t *buf;
    uint32_t cap;
    uint64_t span; /* number in the ledger */
    uint64_t offset, length, weight;
    bool unmapped;       /* on the source: nothing to read */
    bool verify, detect; /* the settings it was started with */
    bool hold, held;     /* keeps the range until the piece is done; has it */
    uint32_t errors, mismatches;
    uint64_t due;
    XXH128_hash_t digest;
    struct rfs_zero_work zero;
    struct rfs_range range;
};

/* --- helpers' state --- */

struct rfs_checkpoint {
    struct rfs_io io[2]; /* one a side */
    unsigned pending;    /* of io[] */
    bool failed;
    uint32_t epoch;    /* when it was issued */
    uint64_t spans;    /* WRITTEN now */
    uint64_t weight;   /* of those */
    uint64_t since_ms; /* the oldest of those */
    uint64_t not_before;
    uint32_t failures; /* in a row */
    bool source_done;  /* the source was flushed once in this run */
};

#define RFS_EXTENT_RUNS 16u

struct rfs_extents {
    struct rfs_io io;
    bool off;      /* the source cannot say, or the settings do not want to know */
    bool asking;   /* io is with the source */
    bool spoiled;  /* a host wrote to what io asks about */
    uint64_t next; /* everything before it is known: unmapped if in runs[], else to be read */
    struct {
        uint64_t offset, length;
    } runs[RFS_EXTENT_RUNS]; /* unmapped ones, ascending */
    unsigned head, count;
};

/* Tokens are thousandths of a byte, so that a millisecond of any rate is a whole number of them. */
struct rfs_throttle {
    uint64_t rate;
    int64_t tokens;
    uint64_t at_ms;
};

enum rfs_pair_end { RFS_END_NONE, RFS_END_STOP, RFS_END_FAIL };

struct rfs_pair {
    struct rfs_volume *volumes[2];
    struct rfs_volume_listener listeners[2];
    struct rfs_pmap *map;
    struct rfs_pair_settings settings;
    const struct rfs_pair_events *events;
    void *arg;
    struct rfs_pair_stats stats;
    struct rfs_loop *loop;
    uint64_t size;
    uint32_t region;
    bool source_written; /* hosts write to it through this daemon */

    /* of a run */
    enum rfs_pair_phase phase;
    bool checked; /* both were Online and fit each other since the last outage */
    bool waiting; /* a side was lost; nothing new until both are Online */
    bool told;    /* of that, by lost() */
    bool synced;  /* the map, after everything else */
    bool syncing;
    bool ended; /* the terminal event is due, from `task` */
    bool kicked;
    enum rfs_pair_end end;
    enum rfs_side lost_side, failed_side;
    struct rfs_error lost_why, failure;
    void (*stopped)(void *arg, bool complete);
    void *stopped_arg;
    uint32_t epoch, pass, losses;
    uint32_t in_vain; /* times the target lost what it had acknowledged since the last flush that went well */
    uint32_t writes_lost; /* rfs_volume_writes_lost() of the target, as last seen */
    uint64_t resume_ms;
    uint64_t cursor; /* regions before it have been taken in this pass */
    struct rfs_ledger ledger;
    struct rfs_slot *slots[RFS_PAIR_REQUESTS_MAX], *free_slots;
    uint32_t made, busy;
    bool no_unmap, no_zeroes, no_extents; /* the target does not do it, or does not do what it says */
    uint32_t unmaps_in_vain;
    struct rfs_checkpoint check;
    struct rfs_extents extents;
    struct rfs_throttle throttle;
    struct rfs_timer *timer;
    uint64_t timer_ms; /* when it is due; 0 = not started */
    struct rfs_pmap_wait sync;
    struct rfs_task task;
};

/* pair.c */
void rfs_pair_pump(struct rfs_pair *p);
void rfs_pair_kick(struct rfs_pair *p); /* pump on a later turn */
/* A side's session was lost, or one of its requests was. */
void rfs_pair_lose(struct rfs_pair *p, enum rfs_side side, const struct rfs_error *why);
void rfs_pair_fail(struct rfs_pair *p, enum rfs_side side, const struct rfs_error *why);
bool rfs_pair_halting(const struct rfs_pair *p); /* nothing new is begun */
bool rfs_pair_online(const struct rfs_pair *p, enum rfs_side side);
uint32_t rfs_pair_max_retries(const struct rfs_pair *p);
uint32_t rfs_pair_block(const struct rfs_pair *p); /* what offsets are multiples of on both sides */
uint64_t rfs_pair_pause(uint32_t tries);           /* ms before the next try */
void rfs_pair_count(_Atomic uint64_t *counter, uint64_t n);

/* What to do about a request that did not go well: true = try again (ERROR, and what only some operations
 * answer); false = seen to (lost() or failed() is on its way). */
bool rfs_pair_retryable(struct rfs_pair *p, enum rfs_side side, const struct rfs_io *io);

/* work.c */
void rfs_work_fill(struct rfs_pair *p, uint64_t now); /* as much as may be in flight */
void rfs_work_drop(struct rfs_pair *p);               /* what waits for a time or a range is given up */

/* chunk.c */
struct rfs_slot *rfs_slot_get(struct rfs_pair *p); /* NULL: all are busy */
void rfs_slots_free(struct rfs_pair *p);
/* Works on `offset` to `offset + length` of the ledger's span `number`. */
void rfs_chunk_start(struct rfs_slot *slot, uint64_t number, uint64_t offset, uint64_t length, bool unmapped);
void rfs_chunk_wake(struct rfs_slot *slot, uint64_t now); /* PAUSED: begins again when it is time */
void rfs_chunk_drop(struct rfs_slot *slot);               /* PAUSED or LOCKING: given up */
void rfs_chunk_submit(struct rfs_slot *slot, enum rfs_side side, enum rfs_io_op op, uint64_t offset,
                      uint64_t length, void (*step)(struct rfs_slot *slot));
void rfs_chunk_end(struct rfs_slot *slot, bool good);
void rfs_chunk_retry(struct rfs_slot *slot, uint32_t tries);
void rfs_chunk_error(struct rfs_slot *slot);
void rfs_chunk_mismatch(struct rfs_slot *slot, uint64_t offset, uint64_t length);
void rfs_chunk_buffer(struct rfs_slot *slot, uint32_t size);
bool rfs_is_zero(const uint8_t *data, size_t size);
uint32_t rfs_chunk_size(const struct rfs_pair *p);

/* zero.c */
bool rfs_zero_useful(const struct rfs_pair *p); /* can the target be made zero without data? */
bool rfs_zero_proves(const struct rfs_pair *p); /* can it say that it is? */
void rfs_zero_start(struct rfs_slot *slot);     /* the piece has to read as zero; ends with rfs_chunk_end() */

/* ledger.c */
struct rfs_span *rfs_ledger_at(struct rfs_ledger *l, uint64_t number);
uint64_t rfs_ledger_open(struct rfs_pair *p, uint64_t offset, uint64_t length); /* the new span's number */
struct rfs_span *rfs_ledger_unfinished(struct rfs_pair *p); /* the last one, if not handed out */
void rfs_ledger_close(struct rfs_pair *p);                  /* the last one gets no more pieces */
void rfs_ledger_piece_done(struct rfs_pair *p, uint64_t number, uint64_t weight, bool good);
void rfs_ledger_mark(struct rfs_ledger *l, uint64_t offset, uint64_t length);
void rfs_ledger_void(struct rfs_pair *p);               /* a new epoch */
void rfs_ledger_flushed(struct rfs_pair *p, bool good); /* FLUSHING spans: cleared, or given up */
void rfs_ledger_sweep(struct rfs_ledger *l);
bool rfs_ledger_full(const struct rfs_ledger *l);

/* checkpoint.c */
void rfs_checkpoint_start(struct rfs_pair *p);
bool rfs_checkpoint_due(const struct rfs_pair *p, uint64_t now);
uint64_t rfs_checkpoint_when(const struct rfs_pair *p); /* 0: nothing to wait for */

/* extents.c */
void rfs_extents_reset(struct rfs_pair *p);
void rfs_extents_ask(struct rfs_pair *p);
/* False: the answer for `offset` is under way. Else *length (>= 1) of what is the same from there on. */
bool rfs_extents_look(struct rfs_pair *p, uint64_t offset, uint64_t *length, bool *unmapped);
void rfs_extents_spoil(struct rfs_pair *p, uint64_t offset, uint64_t length);

/* throttle.c */
void rfs_throttle_set(struct rfs_throttle *t, uint64_t rate, uint64_t now);
/* 0: go; else the time to come back at. */
uint64_t rfs_throttle_when(struct rfs_throttle *t, uint64_t now);
void rfs_throttle_spend(struct rfs_throttle *t, uint64_t bytes);

#endif
