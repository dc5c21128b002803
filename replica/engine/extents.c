/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks the source ahead of the copy what is unmapped, one question at a time, each about up to a window. An
 * answer counts only while no host's write to the range has begun since the question: a question is asked
 * when no write is going on there (the range could be had), and rfs_pair_note_write() cuts off what was
 * learnt.
 *
 * Questions must not cost more than reading: short dirty runs are not asked about, an answer settles GRAIN
 * bytes at least, and unmapped runs shorter than that are read.
 */
#include <string.h>

#include "engine/pair_priv.h"

#define WINDOW RFS_PAIR_ZERO_RUN
#define AHEAD  (1ull << 30)
#define GRAIN  (256u << 10)

static bool usable(const struct rfs_pair *p)
{
    const struct rfs_device_info *info = rfs_volume_info(p->volumes[RFS_SOURCE]);

    return !p->extents.off && p->settings.detect_zeroes && info->extent_status && info->unmapped_reads_zero;
}

void rfs_extents_reset(struct rfs_pair *p)
{
    p->extents.next = p->cursor;
    p->extents.head = 0;
    p->extents.count = 0;
}

static void remember(struct rfs_pair *p, uint64_t from, uint64_t to)
{
    struct rfs_extents *e = &p->extents;
    uint64_t align = rfs_pair_block(p);
    unsigned at = (e->head + e->count) % RFS_EXTENT_RUNS;

    from = (from + align - 1) / align * align;
    to -= to % align;
    if (to <= from || to - from < GRAIN)
        return;
    e->runs[at].offset = from;
    e->runs[at].length = to - from;
    e->count++;
}

static void learn(struct rfs_pair *p, const struct rfs_io *io)
{
    struct rfs_extents *e = &p->extents;
    uint64_t length = io->extent.length < io->length ? io->extent.length : io->length;

    if (!e->spoiled && io->extent.deallocated)
        remember(p, io->offset, io->offset + length);
    e->next = io->offset + (length > GRAIN ? length : GRAIN);
    e->next -= e->next % rfs_pair_block(p); /* the pieces end there */
}

static void on_answer(struct rfs_io *io)
{
    struct rfs_pair *p = RFS_CONTAINER_OF(io, struct rfs_pair, extents.io);

    p->extents.asking = false;
    if (io->status == RFS_IO_OK)
        learn(p, io);
    else if (io->status == RFS_IO_LOST || io->status == RFS_IO_TIMEOUT)
        rfs_pair_lose(p, RFS_SOURCE, &io->error);
    else
        p->extents.off = true; /* an optimisation: what it cannot tell is read */
    rfs_pair_pump(p);
}

/* No host's write is going on there at this moment. */
static bool is_quiet(struct rfs_pair *p, uint64_t offset, uint64_t length)
{
    struct rfs_range range = {.offset = offset, .length = length};
    struct rfs_rangelock *ranges = rfs_volume_ranges(p->volumes[RFS_SOURCE]);

    if (!rfs_rangelock_try(ranges, &range))
        return false;
    rfs_rangelock_release(ranges, &range);
    return true;
}

static void submit(struct rfs_pair *p, uint64_t offset, uint64_t length)
{
    struct rfs_extents *e = &p->extents;

    e->asking = true;
    e->spoiled = false;
    e->next = offset;
    memset(&e->io, 0, sizeof(e->io));
    e->io.op = RFS_IO_EXTENT_STATUS;
    e->io.offset = offset;
    e->io.length = length;
    e->io.done = on_answer;
    rfs_volume_submit(p->volumes[RFS_SOURCE], &e->io);
}

void rfs_extents_ask(struct rfs_pair *p)
{
    struct rfs_extents *e = &p->extents;
    uint64_t offset, length;

    if (e->asking || e->count == RFS_EXTENT_RUNS || !usable(p))
        return;
    if (e->next < p->cursor)
        e->next = p->cursor;
    while (e->next < p->cursor + AHEAD && rfs_pmap_next(p->map, e->next, WINDOW, &offset, &length)) {
        if (offset < e->next) { /* a run is given from its region's start */
            length -= e->next - offset < length ? e->next - offset : length;
            offset = e->next;
        }
        if (length >= GRAIN && is_quiet(p, offset, length)) {
            submit(p, offset, length);
            return;
        }
        e->next = offset + (length > GRAIN ? GRAIN : length);
        if (!length)
            return;
    }
}

static void forget_before(struct rfs_extents *e, uint64_t offset)
{
    while (e->count && e->runs[e->head].offset + e->runs[e->head].length <= offset) {
        e->head = (e->head + 1) % RFS_EXTENT_RUNS;
        e->count--;
    }
}

bool rfs_extents_look(struct rfs_pair *p, uint64_t offset, uint64_t *length, bool *unmapped)
{
    struct rfs_extents *e = &p->extents;

    forget_before(e, offset);
    *unmapped = false;
    *length = UINT64_MAX - offset;
    if (e->asking && offset >= e->next)
        return false;
    if (e->count && e->runs[e->head].offset > offset) {
        *length = e->runs[e->head].offset - offset;
    } else if (e->count) {
        *unmapped = true;
        *length = e->runs[e->head].offset + e->runs[e->head].length - offset;
    } else if (e->asking) {
        *length = e->next - offset;
    }
    return true;
}

void rfs_extents_spoil(struct rfs_pair *p, uint64_t offset, uint64_t length)
{
    struct rfs_extents *e = &p->extents;

    if (e->asking && offset < e->io.offset + e->io.length && e->io.offset < offset + length)
        e->spoiled = true;
    for (unsigned i = 0; i < e->count; i++) {
        unsigned at = (e->head + i) % RFS_EXTENT_RUNS;
        uint64_t keep = offset > e->runs[at].offset ? offset - e->runs[at].offset : 0;

        if (offset + length > e->runs[at].offset && keep < e->runs[at].length)
            e->runs[at].length = keep - keep % p->region;
    }
}
