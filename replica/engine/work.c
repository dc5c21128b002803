/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes work from the map and gives it to slots: spans in the order of their offsets, piece by piece.
 */
#include "engine/pair_priv.h"

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Bytes of the run at `offset` that make one span: whole regions, one transfer's worth; more where the source
 * is unmapped and the target can be made so at once. 0: not known yet. */
static uint64_t span_length(struct rfs_pair *p, uint64_t offset, uint64_t run)
{
    uint64_t max = rfs_chunk_size(p) - rfs_chunk_size(p) % p->region, same, whole;
    bool unmapped;

    if (!rfs_extents_look(p, offset, &same, &unmapped))
        return 0;
    max = max ? max : p->region;
    whole = offset + same >= p->size ? run : same - same % p->region;
    if (unmapped && rfs_zero_proves(p) && whole > max)
        return smaller(run, whole);
    if (!unmapped && same < max) /* what is unmapped there begins a span of its own */
        max = (same + p->region - 1) / p->region * p->region;
    return smaller(run, max);
}

static struct rfs_span *next_span(struct rfs_pair *p)
{
    struct rfs_span *s = rfs_ledger_unfinished(p);
    uint64_t offset, run, length;

    if (s || rfs_ledger_full(&p->ledger))
        return s;
    if (!rfs_pmap_next(p->map, p->cursor, RFS_PAIR_ZERO_RUN, &offset, &run)) {
        p->cursor = p->size;
        return NULL;
    }
    length = span_length(p, offset, run);
    if (!length)
        return NULL;
    p->cursor = offset + length;
    return rfs_ledger_at(&p->ledger, rfs_ledger_open(p, offset, length));
}

static bool start_piece(struct rfs_pair *p)
{
    struct rfs_span *s = next_span(p);
    uint64_t offset, length, same, max = rfs_chunk_size(p);
    struct rfs_slot *slot;
    bool unmapped;

    if (!s)
        return false;
    offset = s->offset + s->handed;
    if (!rfs_extents_look(p, offset, &same, &unmapped) || !(slot = rfs_slot_get(p)))
        return false;
    if (unmapped && rfs_zero_proves(p))
        max = RFS_PAIR_ZERO_RUN;
    length = smaller(smaller(s->length - s->handed, same), max);
    s->handed += length;
    s->pieces++;
    if (!unmapped)
        rfs_throttle_spend(&p->throttle, length);
    rfs_chunk_start(slot, p->ledger.tail - 1, offset, length, unmapped);
    return true;
}

static uint32_t max_requests(const struct rfs_pair *p)
{
    uint32_t n = p->settings.max_requests ? p->settings.max_requests : RFS_PAIR_REQUESTS;

    return n < RFS_PAIR_REQUESTS_MAX ? n : RFS_PAIR_REQUESTS_MAX;
}

void rfs_work_fill(struct rfs_pair *p, uint64_t now)
{
    for (uint32_t i = 0; i < p->made; i++)
        rfs_chunk_wake(p->slots[i], now);
    do
        rfs_extents_ask(p);
    while (p->busy < max_requests(p) && !rfs_throttle_when(&p->throttle, now) && start_piece(p));
}

void rfs_work_drop(struct rfs_pair *p)
{
    rfs_ledger_close(p);
    for (uint32_t i = 0; i < p->made; i++)
        rfs_chunk_drop(p->slots[i]);
}
