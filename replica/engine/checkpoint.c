/* SPDX-License-Identifier: Apache-2.0
 *
 * Flushes that let bits be cleared (M2): only spans that were complete before the flush was issued, and only
 * if the target cannot have lost anything since (the epoch).
 *
 * M2 wants both legs flushed. The source needs it where it has a volatile cache and hosts write to it through
 * this daemon: once in a run for what was written before, and each time when writes have been noted by this
 * pair.
 */
#include <string.h>

#include "base/text.h"
#include "engine/pair_priv.h"

#define WEIGHT_MIN (16u << 20)
#define WEIGHT_MAX (256u << 20)
#define AGE_MS     1000u

static uint64_t enough(const struct rfs_pair *p)
{
    uint64_t share = p->size / 256;

    if (share > WEIGHT_MAX)
        share = WEIGHT_MAX;
    return share > WEIGHT_MIN ? share : WEIGHT_MIN;
}

uint64_t rfs_checkpoint_when(const struct rfs_pair *p)
{
    const struct rfs_checkpoint *c = &p->check;
    uint64_t when;

    if (c->pending || !c->spans)
        return 0;
    when = c->weight >= enough(p) ? c->since_ms : c->since_ms + AGE_MS;
    return when > c->not_before ? when : c->not_before;
}

bool rfs_checkpoint_due(const struct rfs_pair *p, uint64_t now)
{
    uint64_t when = rfs_checkpoint_when(p);

    return when && when <= now;
}

static void take_written(struct rfs_pair *p)
{
    for (uint64_t n = p->ledger.head; n != p->ledger.tail; n++) {
        struct rfs_span *s = rfs_ledger_at(&p->ledger, n);

        if (s->state == RFS_SPAN_WRITTEN)
            s->state = RFS_SPAN_FLUSHING;
    }
    p->check.spans = 0;
    p->check.weight = 0;
}

/* A failed flush says nothing about which of the acknowledged writes are gone: none of them counts. */
static void on_failed(struct rfs_pair *p, enum rfs_side side, const struct rfs_io *io)
{
    struct rfs_checkpoint *c = &p->check;

    c->failed = true;
    if (c->epoch == p->epoch)
        rfs_ledger_void(p);
    if (!rfs_pair_retryable(p, side, io))
        return;
    if (c->failures++ >= rfs_pair_max_retries(p)) {
        rfs_pair_fail(p, side, &io->error);
        return;
    }
    rfs_pair_count(&p->stats.retries, 1);
    c->not_before = rfs_mono_ms() + rfs_pair_pause(c->failures);
}

static void on_flushed(struct rfs_pair *p, enum rfs_side side)
{
    struct rfs_checkpoint *c = &p->check;

    if (c->io[side].status != RFS_IO_OK)
        on_failed(p, side, &c->io[side]);
    if (--c->pending)
        return;
    if (!c->failed && c->epoch == p->epoch) {
        rfs_ledger_flushed(p, true);
        c->source_done = true;
        c->failures = 0;
        p->losses = p->in_vain = 0;
    } else {
        rfs_ledger_flushed(p, false);
    }
    rfs_pair_pump(p);
}

static void on_source_flushed(struct rfs_io *io)
{
    on_flushed(RFS_CONTAINER_OF(io, struct rfs_pair, check.io[RFS_SOURCE]), RFS_SOURCE);
}

static void on_target_flushed(struct rfs_io *io)
{
    on_flushed(RFS_CONTAINER_OF(io, struct rfs_pair, check.io[RFS_TARGET]), RFS_TARGET);
}

static void submit_flush(struct rfs_pair *p, enum rfs_side side, void (*done)(struct rfs_io *io))
{
    struct rfs_io *io = &p->check.io[side];

    p->check.pending++;
    memset(io, 0, sizeof(*io));
    io->op = RFS_IO_FLUSH;
    io->done = done;
    rfs_volume_submit(p->volumes[side], io);
}

void rfs_checkpoint_start(struct rfs_pair *p)
{
    struct rfs_checkpoint *c = &p->check;

    c->failed = false;
    c->epoch = p->epoch;
    take_written(p);
    submit_flush(p, RFS_TARGET, on_target_flushed);
    if (rfs_volume_info(p->volumes[RFS_SOURCE])->volatile_cache && (p->source_written || !c->source_done))
        submit_flush(p, RFS_SOURCE, on_source_flushed);
}
