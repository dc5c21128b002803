/* SPDX-License-Identifier: Apache-2.0
 *
 * The way of one piece: range, read, write, read back. Each slot is a state machine of its own; none waits
 * for another.
 *
 * The range of the source is taken shared, so that host reads go on, and in ordinary passes it is let go of
 * at once: having had it proves that no host's write that began earlier is still under way, and one that
 * begins later calls rfs_pair_note_write(), after which this piece clears nothing there. So no host waits for
 * a copy (M5). In a pass that is needed only because hosts keep writing to the same places, the range is kept
 * until the piece is on the target.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/pair_priv.h"

#define PAGE 4096u

bool rfs_is_zero(const uint8_t *data, size_t size)
{
    return !size || (!data[0] && !memcmp(data, data + 1, size - 1));
}

static uint32_t bounded(uint32_t size, const struct rfs_volume *vol)
{
    uint32_t max = rfs_volume_info(vol)->max_transfer;

    return max && max < size ? max : size;
}

uint32_t rfs_chunk_size(const struct rfs_pair *p)
{
    uint32_t size = p->settings.max_transfer ? p->settings.max_transfer : RFS_PAIR_CHUNK;
    uint32_t block = rfs_pair_block(p);

    if (size > RFS_PAIR_CHUNK_MAX)
        size = RFS_PAIR_CHUNK_MAX;
    size = bounded(bounded(size, p->volumes[RFS_SOURCE]), p->volumes[RFS_TARGET]);
    return size < block ? block : size - size % block;
}

/* --- slots --- */

struct rfs_slot *rfs_slot_get(struct rfs_pair *p)
{
    struct rfs_slot *slot = p->free_slots;

    if (slot) {
        p->free_slots = slot->next;
        return slot;
    }
    if (p->made == RFS_PAIR_REQUESTS_MAX)
        return NULL;
    slot = rfs_xcalloc(1, sizeof(*slot));
    slot->pair = p;
    p->slots[p->made++] = slot;
    return slot;
}

void rfs_slots_free(struct rfs_pair *p)
{
    for (uint32_t i = 0; i < p->made; i++) {
        free(p->slots[i]->buf);
        free(p->slots[i]);
        p->slots[i] = NULL;
    }
    p->made = 0;
    p->free_slots = NULL;
}

/* Kept for the run: in the steady state nothing is allocated. */
void rfs_chunk_buffer(struct rfs_slot *slot, uint32_t size)
{
    if (slot->cap >= size)
        return;
    free(slot->buf);
    slot->buf = aligned_alloc(PAGE, (size + PAGE - 1) / PAGE * PAGE);
    if (!slot->buf)
        abort(); /* as rfs_xmalloc */
    slot->cap = size;
}

/* --- requests --- */

static void on_io(struct rfs_io *io)
{
    struct rfs_slot *slot = RFS_CONTAINER_OF(io, struct rfs_slot, io);
    struct rfs_pair *p = slot->pair;

    slot->step(slot);
    rfs_pair_pump(p);
}

void rfs_chunk_submit(struct rfs_slot *slot, enum rfs_side side, enum rfs_io_op op, uint64_t offset,
                      uint64_t length, void (*step)(struct rfs_slot *slot))
{
    slot->state = RFS_SLOT_BUSY;
    slot->step = step;
    slot->side = side;
    slot->iov.iov_base = slot->buf;
    slot->iov.iov_len = length;
    slot->io.op = op;
    slot->io.fua = false;
    slot->io.offset = offset;
    slot->io.length = length;
    slot->io.iov = &slot->iov;
    slot->io.niov = 1;
    slot->io.done = on_io;
    rfs_volume_submit(slot->pair->volumes[side], &slot->io);
}

static void let_go(struct rfs_slot *slot)
{
    if (slot->held)
        rfs_rangelock_release(rfs_volume_ranges(slot->pair->volumes[RFS_SOURCE]), &slot->range);
    slot->held = false;
}

void rfs_chunk_end(struct rfs_slot *slot, bool good)
{
    struct rfs_pair *p = slot->pair;

    slot->state = RFS_SLOT_FREE;
    slot->next = p->free_slots;
    p->free_slots = slot;
    p->busy--;
    if (!slot->unmapped)
        atomic_fetch_sub_explicit(&p->stats.in_flight_bytes, slot->length, memory_order_relaxed);
    else if (good)
        rfs_pair_count(&p->stats.bytes_skipped, slot->length);
    rfs_ledger_piece_done(p, slot->span, slot->weight, good);
    let_go(slot);
}

void rfs_chunk_retry(struct rfs_slot *slot, uint32_t tries)
{
    if (rfs_pair_halting(slot->pair)) {
        rfs_chunk_end(slot, false);
        return;
    }
    rfs_pair_count(&slot->pair->stats.retries, 1);
    slot->state = RFS_SLOT_PAUSED;
    slot->due = rfs_mono_ms() + rfs_pair_pause(tries);
    let_go(slot);
}

/* The piece is never re-issued from its buffer: after a pause it is read again. */
void rfs_chunk_error(struct rfs_slot *slot)
{
    struct rfs_pair *p = slot->pair;

    if (!rfs_pair_retryable(p, slot->side, &slot->io)) {
        rfs_chunk_end(slot, false);
    } else if (slot->errors++ < rfs_pair_max_retries(p)) {
        rfs_chunk_retry(slot, slot->errors);
    } else {
        rfs_pair_fail(p, slot->side, &slot->io.error);
        rfs_chunk_end(slot, false);
    }
}

void rfs_chunk_mismatch(struct rfs_slot *slot, uint64_t offset, uint64_t length)
{
    struct rfs_pair *p = slot->pair;
    struct rfs_error err = RFS_ERROR_INIT;

    rfs_pair_count(&p->stats.mismatches, 1);
    slot->mismatches++;
    if (p->events->mismatch && !p->stopped)
        p->events->mismatch(p->arg, offset, length);
    if (slot->mismatches <= rfs_pair_max_retries(p)) {
        rfs_chunk_retry(slot, slot->mismatches);
        return;
    }
    rfs_fail(
        &err, RFS_RV_FAILED,
        "verification found different bytes %u times at %llu (%llu bytes): the target does not keep what is "
        "written to it; check its medium and the path to it",
        slot->mismatches, (unsigned long long)offset, (unsigned long long)length);
    rfs_pair_fail(p, RFS_TARGET, &err);
    rfs_chunk_end(slot, false);
}

/* --- the way of the data --- */

static void on_read_back(struct rfs_slot *slot)
{
    struct rfs_pair *p = slot->pair;

    if (slot->io.status != RFS_IO_OK) {
        rfs_chunk_error(slot);
    } else if (!XXH128_isEqual(slot->digest, XXH3_128bits(slot->buf, slot->length))) {
        rfs_chunk_mismatch(slot, slot->offset, slot->length);
    } else {
        rfs_pair_count(&p->stats.bytes_verified, slot->length);
        rfs_chunk_end(slot, true);
    }
}

static void on_written(struct rfs_slot *slot)
{
    struct rfs_pair *p = slot->pair;

    if (slot->io.status != RFS_IO_OK) {
        rfs_chunk_error(slot);
        return;
    }
    rfs_pair_count(&p->stats.bytes_written, slot->length);
    slot->weight = slot->length;
    if (!slot->verify)
        rfs_chunk_end(slot, true);
    else if (p->waiting || p->end == RFS_END_FAIL)
        rfs_chunk_end(slot, false); /* unverified is not copied */
    else
        rfs_chunk_submit(slot, RFS_TARGET, RFS_IO_READ, slot->offset, slot->length, on_read_back);
}

static void on_read(struct rfs_slot *slot)
{
    struct rfs_pair *p = slot->pair;

    if (slot->io.status != RFS_IO_OK) {
        rfs_chunk_error(slot);
        return;
    }
    rfs_pair_count(&p->stats.bytes_read, slot->length);
    if (rfs_pair_halting(p)) {
        rfs_chunk_end(slot, false);
        return;
    }
    if (slot->detect && rfs_zero_useful(p) && rfs_is_zero(slot->buf, slot->length)) {
        slot->zero.at = slot->offset;
        rfs_zero_start(slot);
        return;
    }
    if (slot->verify)
        slot->digest = XXH3_128bits(slot->buf, slot->length);
    rfs_chunk_submit(slot, RFS_TARGET, RFS_IO_WRITE, slot->offset, slot->length, on_written);
}

static void begin(struct rfs_slot *slot)
{
    slot->held = true;
    if (!slot->hold)
        let_go(slot);
    if (slot->unmapped) {
        rfs_zero_start(slot);
        return;
    }
    rfs_chunk_buffer(slot, (uint32_t)slot->length);
    rfs_chunk_submit(slot, RFS_SOURCE, RFS_IO_READ, slot->offset, slot->length, on_read);
}

static void on_granted(struct rfs_range *range)
{
    begin(RFS_CONTAINER_OF(range, struct rfs_slot, range));
}

static void lock(struct rfs_slot *slot)
{
    slot->state = RFS_SLOT_LOCKING;
    slot->range = (struct rfs_range){.offset = slot->offset, .length = slot->length, .granted = on_granted};
    if (rfs_rangelock_acquire(rfs_volume_ranges(slot->pair->volumes[RFS_SOURCE]), &slot->range))
        begin(slot);
}

void rfs_chunk_start(struct rfs_slot *slot, uint64_t number, uint64_t offset, uint64_t length, bool unmapped)
{
    struct rfs_pair *p = slot->pair;

    slot->span = number;
    slot->offset = offset;
    slot->length = length;
    slot->unmapped = unmapped;
    slot->weight = 0;
    slot->errors = slot->mismatches = 0;
    slot->verify = p->settings.verify == RFS_VERIFY_COPIED;
    slot->detect = p->settings.detect_zeroes;
    slot->hold = p->pass >= RFS_PAIR_PATIENCE;
    slot->held = false;
    slot->zero.at = offset;
    p->busy++;
    if (!unmapped)
        rfs_pair_count(&p->stats.in_flight_bytes, length);
    lock(slot);
}

void rfs_chunk_wake(struct rfs_slot *slot, uint64_t now)
{
    if (slot->state == RFS_SLOT_PAUSED && slot->due <= now)
        lock(slot);
}

void rfs_chunk_drop(struct rfs_slot *slot)
{
    if (slot->state != RFS_SLOT_PAUSED && slot->state != RFS_SLOT_LOCKING)
        return;
    slot->held = slot->state == RFS_SLOT_LOCKING; /* withdrawn by the same call */
    rfs_chunk_end(slot, false);
}
