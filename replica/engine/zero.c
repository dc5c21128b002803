/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes a piece of the target read as zero with as little data as can be trusted: nothing where the target
 * says it is unmapped (and unmapped reads as zero); UNMAP, and asked again, for UNMAP is a hint; WRITE
 * ZEROES, always read back, for there are targets that answer GOOD without having done it; else plain zeros.
 * What is refused, or turns out not to be so, is not tried again in this run.
 *
 * The piece is worked through from zero.at on; each step settles one run of it.
 */
#include <string.h>

#include "engine/pair_priv.h"

#define VAIN_MAX 4u /* UNMAPs in a row that left the blocks mapped */

static const struct rfs_device_info *target(const struct rfs_pair *p)
{
    return rfs_volume_info(p->volumes[RFS_TARGET]);
}

static uint64_t block(const struct rfs_pair *p)
{
    return target(p)->block_size ? target(p)->block_size : 512;
}

bool rfs_zero_proves(const struct rfs_pair *p)
{
    return !p->no_extents && target(p)->extent_status && target(p)->unmapped_reads_zero;
}

static uint64_t write_zeroes_max(const struct rfs_pair *p)
{
    uint64_t max = p->no_zeroes ? 0 : target(p)->max_write_zeroes;

    return max - max % block(p);
}

bool rfs_zero_useful(const struct rfs_pair *p)
{
    return rfs_zero_proves(p) || write_zeroes_max(p);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t left(const struct rfs_slot *slot)
{
    return slot->offset + slot->length - slot->zero.at;
}

static void submit(struct rfs_slot *slot, enum rfs_io_op op, uint64_t offset, uint64_t length,
                   void (*step)(struct rfs_slot *slot))
{
    rfs_chunk_submit(slot, RFS_TARGET, op, offset, length, step);
}

/* The session's end and what makes further tries pointless are seen to; everything else only means that this
 * command will not do. */
static bool is_refusal(struct rfs_slot *slot)
{
    if (slot->io.status == RFS_IO_ERROR || slot->io.status == RFS_IO_RANGE ||
        slot->io.status == RFS_IO_UNSUPPORTED)
        return true; /* RANGE: tgt answers so to legal ranges */
    rfs_chunk_error(slot);
    return false;
}

/* `length` bytes at zero.at are zero now: on to the rest. */
static void advance(struct rfs_slot *slot, uint64_t length)
{
    slot->zero.at += length;
    slot->errors = slot->mismatches = 0;
    rfs_zero_start(slot);
}

static void zeroed(struct rfs_slot *slot, uint64_t length)
{
    rfs_pair_count(&slot->pair->stats.bytes_zeroed, length);
    advance(slot, length);
}

/* --- plain zeros --- */

static void on_plain_read_back(struct rfs_slot *slot)
{
    uint64_t length = slot->io.length;

    if (slot->io.status != RFS_IO_OK) {
        rfs_chunk_error(slot);
    } else if (!rfs_is_zero(slot->buf, length)) {
        rfs_chunk_mismatch(slot, slot->zero.at, length);
    } else {
        rfs_pair_count(&slot->pair->stats.bytes_verified, length);
        advance(slot, length);
    }
}

static void on_plain(struct rfs_slot *slot)
{
    uint64_t length = slot->io.length;

    if (slot->io.status != RFS_IO_OK) {
        rfs_chunk_error(slot);
        return;
    }
    rfs_pair_count(&slot->pair->stats.bytes_written, length);
    slot->weight += length;
    if (slot->verify)
        submit(slot, RFS_IO_READ, slot->zero.at, length, on_plain_read_back);
    else
        advance(slot, length);
}

static void write_plain(struct rfs_slot *slot)
{
    struct rfs_pair *p = slot->pair;
    uint64_t length = smaller(slot->zero.length, rfs_chunk_size(p));

    rfs_chunk_buffer(slot, (uint32_t)length);
    memset(slot->buf, 0, length);
    if (slot->unmapped) /* what was read has been paid for */
        rfs_throttle_spend(&p->throttle, length);
    submit(slot, RFS_IO_WRITE, slot->zero.at, length, on_plain);
}

/* --- WRITE ZEROES --- */

static void read_back(struct rfs_slot *slot);

static void on_zeroes_read_back(struct rfs_slot *slot)
{
    struct rfs_pair *p = slot->pair;

    if (slot->io.status != RFS_IO_OK) {
        rfs_chunk_error(slot);
        return;
    }
    if (!rfs_is_zero(slot->buf, slot->io.length)) {
        p->no_zeroes = true;
        write_plain(slot);
        return;
    }
    rfs_pair_count(&p->stats.bytes_verified, slot->io.length);
    slot->zero.checked += slot->io.length;
    if (slot->zero.checked == slot->zero.length)
        zeroed(slot, slot->zero.length);
    else if (rfs_pair_halting(p))
        rfs_chunk_end(slot, false);
    else
        read_back(slot);
}

static void read_back(struct rfs_slot *slot)
{
    uint64_t length = smaller(slot->zero.length - slot->zero.checked, rfs_chunk_size(slot->pair));

    rfs_chunk_buffer(slot, (uint32_t)length);
    submit(slot, RFS_IO_READ, slot->zero.at + slot->zero.checked, length, on_zeroes_read_back);
}

static void on_zeroes(struct rfs_slot *slot)
{
    if (slot->io.status == RFS_IO_OK) {
        slot->weight += slot->zero.length;
        slot->zero.checked = 0;
        read_back(slot);
        return;
    }
    if (!is_refusal(slot))
        return;
    if (slot->io.status == RFS_IO_UNSUPPORTED)
        slot->pair->no_zeroes = true;
    write_plain(slot);
}

static void write_zeroes(struct rfs_slot *slot)
{
    uint64_t max = write_zeroes_max(slot->pair);

    if (!max) {
        write_plain(slot);
        return;
    }
    slot->zero.length = smaller(slot->zero.length, max);
    submit(slot, RFS_IO_WRITE_ZEROES, slot->zero.at, slot->zero.length, on_zeroes);
}

/* --- UNMAP --- */

static void in_vain(struct rfs_pair *p)
{
    if (++p->unmaps_in_vain >= VAIN_MAX)
        p->no_unmap = true;
}

static void on_unmap_proof(struct rfs_slot *slot)
{
    uint64_t run = smaller(slot->io.extent.length, slot->zero.length);

    if (slot->io.status == RFS_IO_OK && slot->io.extent.deallocated && run) {
        slot->pair->unmaps_in_vain = 0;
        zeroed(slot, run);
        return;
    }
    if (slot->io.status != RFS_IO_OK && !is_refusal(slot))
        return;
    in_vain(slot->pair);
    if (slot->io.status == RFS_IO_OK && run)
        slot->zero.length = run;
    write_zeroes(slot);
}

static void on_unmapped(struct rfs_slot *slot)
{
    if (slot->io.status == RFS_IO_OK) {
        slot->weight += slot->zero.length;
        submit(slot, RFS_IO_EXTENT_STATUS, slot->zero.at, slot->zero.length, on_unmap_proof);
        return;
    }
    if (!is_refusal(slot))
        return;
    in_vain(slot->pair);
    if (slot->io.status == RFS_IO_UNSUPPORTED)
        slot->pair->no_unmap = true;
    write_zeroes(slot);
}

/* Cuts the run to what one UNMAP can free: from a multiple of the granularity to another. A head or a run
 * that has none is left to the next means; a tail is met again. */
static void unmap(struct rfs_slot *slot)
{
    struct rfs_pair *p = slot->pair;
    struct rfs_zero_work *z = &slot->zero;
    uint64_t grain = target(p)->unmap_granularity ? target(p)->unmap_granularity : block(p);
    uint64_t from = (z->at + grain - 1) / grain * grain;
    uint64_t max = smaller(z->at + z->length, from + target(p)->max_unmap) / grain * grain;

    if (p->no_unmap || !target(p)->max_unmap || max <= from || from % block(p) || max % block(p)) {
        write_zeroes(slot);
        return;
    }
    if (from > z->at) {
        z->length = from - z->at;
        write_zeroes(slot);
        return;
    }
    z->length = max - from;
    submit(slot, RFS_IO_UNMAP, from, z->length, on_unmapped);
}

/* --- what is there already --- */

static void on_status(struct rfs_slot *slot)
{
    uint64_t run = smaller(slot->io.extent.length, slot->zero.length);

    if (slot->io.status != RFS_IO_OK) {
        if (!is_refusal(slot))
            return;
        slot->pair->no_extents = true;
        write_zeroes(slot);
        return;
    }
    run -= run % block(slot->pair);
    if (run && slot->io.extent.deallocated) {
        zeroed(slot, run);
        return;
    }
    if (run)
        slot->zero.length = run;
    unmap(slot);
}

void rfs_zero_start(struct rfs_slot *slot)
{
    struct rfs_pair *p = slot->pair;

    slot->zero.length = left(slot);
    if (!slot->zero.length)
        rfs_chunk_end(slot, true);
    else if (rfs_pair_halting(p))
        rfs_chunk_end(slot, false);
    else if (rfs_zero_proves(p))
        submit(slot, RFS_IO_EXTENT_STATUS, slot->zero.at, slot->zero.length, on_status);
    else
        write_zeroes(slot);
}
