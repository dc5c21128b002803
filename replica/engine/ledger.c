/* SPDX-License-Identifier: Apache-2.0
 *
 * The spans between being taken from the map and being cleared in it, in a ring, in ascending order of
 * offset: a pass goes through the map once from its start to its end, and the ledger is empty when the next
 * pass begins. So what a host writes to is found by bisection, and nothing is allocated for each chunk.
 */
#include <stdlib.h>

#include "base/text.h"
#include "engine/pair_priv.h"

#define FIRST_CAP 64u
#define FULL      65536u /* one chunk that hangs must not let the others run away for ever */
#define UNITS     64u    /* bits of `redirty` */

struct rfs_span *rfs_ledger_at(struct rfs_ledger *l, uint64_t number)
{
    return &l->ring[number & (l->cap - 1)];
}

bool rfs_ledger_full(const struct rfs_ledger *l)
{
    return l->tail - l->head >= FULL;
}

static void grow(struct rfs_ledger *l)
{
    struct rfs_ledger old = *l;

    l->cap = old.cap ? old.cap * 2 : FIRST_CAP;
    l->ring = rfs_xcalloc(l->cap, sizeof(*l->ring));
    for (uint64_t n = old.head; n != old.tail; n++)
        *rfs_ledger_at(l, n) = *rfs_ledger_at(&old, n);
    free(old.ring);
}

/* The smallest unit of whole regions of which UNITS cover the span. */
static uint8_t unit_for(uint64_t length, uint32_t region)
{
    uint8_t unit = (uint8_t)__builtin_ctz(region);

    while (((length - 1) >> unit) >= UNITS)
        unit++;
    return unit;
}

uint64_t rfs_ledger_open(struct rfs_pair *p, uint64_t offset, uint64_t length)
{
    struct rfs_ledger *l = &p->ledger;

    if (l->tail - l->head == l->cap)
        grow(l);
    *rfs_ledger_at(l, l->tail) = (struct rfs_span){.offset = offset,
                                                   .length = length,
                                                   .epoch = p->epoch,
                                                   .state = RFS_SPAN_OPEN,
                                                   .unit = unit_for(length, p->region)};
    return l->tail++;
}

struct rfs_span *rfs_ledger_unfinished(struct rfs_pair *p)
{
    struct rfs_span *s;

    if (p->ledger.tail == p->ledger.head)
        return NULL;
    s = rfs_ledger_at(&p->ledger, p->ledger.tail - 1);
    return s->state == RFS_SPAN_OPEN && s->handed < s->length ? s : NULL;
}

static void settle_span(struct rfs_pair *p, struct rfs_span *s)
{
    struct rfs_checkpoint *c = &p->check;

    if (s->bad || s->epoch != p->epoch) {
        s->state = RFS_SPAN_GONE;
        return;
    }
    s->state = RFS_SPAN_WRITTEN;
    if (!c->spans++)
        c->since_ms = rfs_mono_ms();
    c->weight += s->weight;
}

void rfs_ledger_close(struct rfs_pair *p)
{
    struct rfs_span *s = rfs_ledger_unfinished(p);

    if (!s)
        return;
    s->handed = s->length;
    s->bad = true;
    if (!s->pieces)
        settle_span(p, s);
}

void rfs_ledger_piece_done(struct rfs_pair *p, uint64_t number, uint64_t weight, bool good)
{
    struct rfs_span *s = rfs_ledger_at(&p->ledger, number);

    s->pieces--;
    s->weight += weight;
    s->bad = s->bad || !good;
    if (!s->pieces && s->handed == s->length)
        settle_span(p, s);
}

static uint64_t last_byte(const struct rfs_span *s)
{
    return s->offset + s->length - 1;
}

/* The first span that ends after `offset`. */
static uint64_t bisect(struct rfs_ledger *l, uint64_t offset)
{
    uint64_t lo = l->head, hi = l->tail;

    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;

        if (last_byte(rfs_ledger_at(l, mid)) < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void mark_span(struct rfs_span *s, uint64_t first, uint64_t last)
{
    uint64_t from = first > s->offset ? (first - s->offset) >> s->unit : 0;
    uint64_t to = ((last < last_byte(s) ? last : last_byte(s)) - s->offset) >> s->unit;

    s->redirty |= (UINT64_MAX << from) & (UINT64_MAX >> (UNITS - 1 - to));
}

void rfs_ledger_mark(struct rfs_ledger *l, uint64_t offset, uint64_t length)
{
    if (!length)
        return;
    for (uint64_t n = bisect(l, offset); n != l->tail; n++) {
        struct rfs_span *s = rfs_ledger_at(l, n);

        if (s->offset > offset + length - 1)
            break;
        mark_span(s, offset, offset + length - 1);
    }
}

void rfs_ledger_sweep(struct rfs_ledger *l)
{
    while (l->head != l->tail && rfs_ledger_at(l, l->head)->state == RFS_SPAN_GONE)
        l->head++;
}

void rfs_ledger_void(struct rfs_pair *p)
{
    struct rfs_ledger *l = &p->ledger;

    p->epoch++;
    for (uint64_t n = l->head; n != l->tail; n++) {
        struct rfs_span *s = rfs_ledger_at(l, n);

        if (s->state == RFS_SPAN_WRITTEN)
            s->state = RFS_SPAN_GONE;
    }
    p->check.spans = 0;
    p->check.weight = 0;
    rfs_ledger_sweep(l);
}

/* Runs of units that no host has written to since. */
static void clear_span(struct rfs_pmap *map, const struct rfs_span *s)
{
    uint64_t units = ((s->length - 1) >> s->unit) + 1;

    for (uint64_t from = 0, to; from < units; from = to + 1) {
        uint64_t end;

        for (to = from; to < units && !(s->redirty >> to & 1);)
            to++;
        end = to << s->unit;
        if (to > from)
            rfs_pmap_clear(map, s->offset + (from << s->unit),
                           (end < s->length ? end : s->length) - (from << s->unit));
    }
}

void rfs_ledger_flushed(struct rfs_pair *p, bool good)
{
    struct rfs_ledger *l = &p->ledger;

    for (uint64_t n = l->head; n != l->tail; n++) {
        struct rfs_span *s = rfs_ledger_at(l, n);

        if (s->state != RFS_SPAN_FLUSHING)
            continue;
        if (good)
            clear_span(p->map, s);
        s->state = RFS_SPAN_GONE;
    }
    rfs_ledger_sweep(l);
}
