/* SPDX-License-Identifier: Apache-2.0
 *
 * A list in order of arrival: there are tens to a few hundreds of ranges at once, and walking so many costs
 * less than keeping a tree. Most walks are saved by two counters: shared requests need none while nobody is
 * exclusive, and a release needs none while nobody waits.
 */
#include "engine/rangelock.h"

#include <limits.h>
#include <stdlib.h>

#include "base/text.h"

#define HELD UINT_MAX /* `blockers` of a range whose owner knows that he has it */

struct rfs_rangelock {
    struct rfs_range *head, *tail;
    unsigned exclusive; /* exclusive ranges, held or waiting */
    unsigned waiting;   /* ranges that are not HELD */
    unsigned ready;     /* of those, the ones without blockers: to be told by release() */
    bool granting;      /* a release() further up the stack is telling */
};

struct rfs_rangelock *rfs_rangelock_new(void)
{
    return rfs_xcalloc(1, sizeof(struct rfs_rangelock));
}

void rfs_rangelock_free(struct rfs_rangelock *rl)
{
    if (rl && rl->head)
        abort(); /* somebody would be told in freed memory */
    free(rl);
}

static uint64_t end_of(const struct rfs_range *r)
{
    uint64_t end = r->offset + r->length;

    return end < r->offset ? UINT64_MAX : end;
}

static bool conflicts(const struct rfs_range *a, const struct rfs_range *b)
{
    return (a->exclusive || b->exclusive) && a->length && b->length && a->offset < end_of(b) &&
           b->offset < end_of(a);
}

static unsigned count_blockers(const struct rfs_rangelock *rl, const struct rfs_range *range, unsigned limit)
{
    unsigned n = 0;

    if (!range->exclusive && !rl->exclusive)
        return 0;
    for (const struct rfs_range *r = rl->head; r && n < limit; r = r->next)
        n += conflicts(r, range);
    return n;
}

static void append(struct rfs_rangelock *rl, struct rfs_range *range, unsigned blockers)
{
    range->blockers = blockers;
    range->next = NULL;
    range->prev = rl->tail;
    if (rl->tail)
        rl->tail->next = range;
    else
        rl->head = range;
    rl->tail = range;
    rl->exclusive += range->exclusive;
    rl->waiting += blockers != HELD;
}

static void unlink_range(struct rfs_rangelock *rl, struct rfs_range *range)
{
    if (range->prev)
        range->prev->next = range->next;
    else
        rl->head = range->next;
    if (range->next)
        range->next->prev = range->prev;
    else
        rl->tail = range->prev;
    rl->exclusive -= range->exclusive;
    rl->waiting -= range->blockers != HELD;
    rl->ready -= range->blockers == 0; /* withdrawn between the unblocking and the telling */
}

bool rfs_rangelock_acquire(struct rfs_rangelock *rl, struct rfs_range *range)
{
    unsigned blockers = count_blockers(rl, range, UINT_MAX);

    append(rl, range, blockers ? blockers : HELD);
    return !blockers;
}

bool rfs_rangelock_try(struct rfs_rangelock *rl, struct rfs_range *range)
{
    if (count_blockers(rl, range, 1))
        return false;
    append(rl, range, HELD);
    return true;
}

/* A callback may acquire, release and withdraw anything, so nothing of the list is remembered across it. */
static void tell_ready(struct rfs_rangelock *rl)
{
    rl->granting = true;
    while (rl->ready) {
        struct rfs_range *r = rl->head;

        while (r->blockers)
            r = r->next;
        r->blockers = HELD;
        rl->ready--;
        rl->waiting--;
        r->granted(r);
    }
    rl->granting = false;
}

void rfs_rangelock_release(struct rfs_rangelock *rl, struct rfs_range *range)
{
    unlink_range(rl, range);
    for (struct rfs_range *r = rl->waiting ? range->next : NULL; r; r = r->next)
        if (r->blockers != HELD && conflicts(range, r) && --r->blockers == 0)
            rl->ready++;
    if (rl->ready && !rl->granting)
        tell_ready(rl);
}

bool rfs_rangelock_empty(const struct rfs_rangelock *rl)
{
    return !rl->head;
}
