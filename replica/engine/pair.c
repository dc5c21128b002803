/* SPDX-License-Identifier: Apache-2.0
 *
 * What a pair does next. A run goes through the map in passes: each takes what is dirty from the volume's
 * start to its end, and when it is on the target and flushed, and hosts have dirtied nothing meanwhile, the
 * run is over. After an outage everything that was not flushed is taken again, from the start.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "engine/pair_priv.h"

#define PAUSE_MAX_MS 1000u

/* --- small things --- */

void rfs_pair_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

uint32_t rfs_pair_max_retries(const struct rfs_pair *p)
{
    return p->settings.max_retries ? p->settings.max_retries : RFS_PAIR_RETRIES;
}

uint64_t rfs_pair_pause(uint32_t tries)
{
    uint64_t ms = (uint64_t)RFS_PAIR_PAUSE_MS << (tries > 6 ? 6 : tries ? tries - 1 : 0);

    return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

static uint32_t block_of(const struct rfs_pair *p, enum rfs_side side)
{
    uint32_t block = rfs_volume_info(p->volumes[side])->block_size;

    return block ? block : 512;
}

uint32_t rfs_pair_block(const struct rfs_pair *p)
{
    uint32_t source = block_of(p, RFS_SOURCE), target = block_of(p, RFS_TARGET);

    return source > target ? source : target;
}

bool rfs_pair_online(const struct rfs_pair *p, enum rfs_side side)
{
    return rfs_volume_state(p->volumes[side]) == RFS_DEVICE_ONLINE;
}

static bool both_online(const struct rfs_pair *p)
{
    return rfs_pair_online(p, RFS_SOURCE) && rfs_pair_online(p, RFS_TARGET);
}

bool rfs_pair_halting(const struct rfs_pair *p)
{
    return p->waiting || p->end != RFS_END_NONE;
}

static void set_phase(struct rfs_pair *p, enum rfs_pair_phase phase)
{
    p->phase = phase;
    atomic_store_explicit(&p->stats.phase, phase, memory_order_relaxed);
}

static bool is_dirty(const struct rfs_pair *p)
{
    uint64_t offset, length;

    return rfs_pmap_next(p->map, 0, p->size, &offset, &length);
}

void rfs_pair_kick(struct rfs_pair *p)
{
    if (p->kicked)
        return;
    p->kicked = true;
    rfs_loop_post(p->loop, &p->task);
}

/* --- what went wrong --- */

void rfs_pair_fail(struct rfs_pair *p, enum rfs_side side, const struct rfs_error *why)
{
    if (p->end == RFS_END_FAIL)
        return; /* the first is the cause */
    p->end = RFS_END_FAIL;
    p->failed_side = side;
    p->failure = *why;
    set_phase(p, RFS_PAIR_STOPPING);
}

/* An outage ends some day. A target that keeps losing what it acknowledged would be written to again and again. */
static void check_vain(struct rfs_pair *p, const struct rfs_error *why)
{
    uint32_t lost = rfs_volume_writes_lost(p->volumes[RFS_TARGET]);
    struct rfs_error err = RFS_ERROR_INIT;

    if (lost == p->writes_lost)
        return;
    p->writes_lost = lost;
    if (++p->in_vain < RFS_PAIR_IN_VAIN)
        return;
    rfs_fail(&err, RFS_RV_FAILED,
             "the target lost writes it had acknowledged, %u times with nothing gained in between; check its "
             "medium: %s",
             p->in_vain, why ? why->msg : "it does not say why");
    rfs_pair_fail(p, RFS_TARGET, &err);
}

/* The source's loss counts for what was copied where its cache may have held what was read. */
void rfs_pair_lose(struct rfs_pair *p, enum rfs_side side, const struct rfs_error *why)
{
    if (side == RFS_TARGET || rfs_volume_info(p->volumes[side])->volatile_cache)
        rfs_ledger_void(p);
    p->checked = false;
    if (side == RFS_TARGET)
        check_vain(p, why);
    if (p->waiting)
        return;
    p->waiting = true;
    p->lost_side = side;
    if (why)
        p->lost_why = *why;
    else
        rfs_fail(&p->lost_why, RFS_RV_FAILED, "the %s is %s", side == RFS_SOURCE ? "source" : "target",
                 rfs_device_state_name(rfs_volume_state(p->volumes[side])));
    p->resume_ms = rfs_mono_ms() + rfs_pair_pause(++p->losses);
    if (p->end == RFS_END_NONE)
        set_phase(p, RFS_PAIR_WAITING);
}

bool rfs_pair_retryable(struct rfs_pair *p, enum rfs_side side, const struct rfs_io *io)
{
    rfs_pair_count(&p->stats.errors, 1);
    switch (io->status) {
    case RFS_IO_LOST:
    case RFS_IO_TIMEOUT:
        rfs_pair_lose(p, side, &io->error);
        return false;
    case RFS_IO_NOSPACE:
    case RFS_IO_PROTECTED:
    case RFS_IO_RANGE:
        rfs_pair_fail(p, side, &io->error);
        return false;
    default:
        return true;
    }
}

/* --- are both sides fit to go on? --- */

static bool fits(struct rfs_pair *p, enum rfs_side side, struct rfs_error *err)
{
    const struct rfs_device_info *info = rfs_volume_info(p->volumes[side]);
    const char *name = side == RFS_SOURCE ? "source" : "target";
    uint32_t block = block_of(p, side);

    if (info->size < p->size)
        rfs_fail(err, RFS_RV_FAILED, "the %s has %llu bytes, the relationship %llu: it shrank", name,
                 (unsigned long long)info->size, (unsigned long long)p->size);
    else if (p->size % block || p->region % block)
        rfs_fail(
            err, RFS_RV_INVALID_PARAMETER,
            "the %s has blocks of %u bytes, of which neither regions of %u bytes nor %llu bytes in all are "
            "multiples; use a %s with the other side's block size",
            name, block, p->region, (unsigned long long)p->size, name);
    else if (side == RFS_TARGET && info->write_protected)
        rfs_fail(err, RFS_RV_ACCESS_DENIED, "the target is write protected");
    else
        return true;
    return false;
}

static bool check_side(struct rfs_pair *p, enum rfs_side side)
{
    struct rfs_volume *vol = p->volumes[side];
    struct rfs_error err = RFS_ERROR_INIT;

    if (rfs_volume_state(vol) == RFS_DEVICE_REFUSED && rfs_volume_why(vol)) {
        rfs_pair_fail(p, side, rfs_volume_why(vol));
        return false;
    }
    if (rfs_volume_state(vol) != RFS_DEVICE_ONLINE) {
        rfs_pair_lose(p, side, rfs_volume_why(vol));
        return false;
    }
    if (fits(p, side, &err))
        return true;
    rfs_pair_fail(p, side, &err);
    return false;
}

static void check_sides(struct rfs_pair *p)
{
    if (!p->checked && !rfs_pair_halting(p))
        p->checked = check_side(p, RFS_SOURCE) && check_side(p, RFS_TARGET);
}

static void on_volume(struct rfs_pair *p, enum rfs_side side)
{
    const struct rfs_error *why = rfs_volume_why(p->volumes[side]);

    if (!rfs_pair_online(p, side))
        rfs_pair_lose(p, side, why);
    if (rfs_volume_state(p->volumes[side]) == RFS_DEVICE_REFUSED && why)
        rfs_pair_fail(p, side, why);
    p->checked = false;
    rfs_pair_pump(p);
}

static void on_source(struct rfs_volume_listener *l, struct rfs_volume *vol)
{
    (void)vol;
    on_volume(RFS_CONTAINER_OF(l, struct rfs_pair, listeners[RFS_SOURCE]), RFS_SOURCE);
}

static void on_target(struct rfs_volume_listener *l, struct rfs_volume *vol)
{
    (void)vol;
    on_volume(RFS_CONTAINER_OF(l, struct rfs_pair, listeners[RFS_TARGET]), RFS_TARGET);
}

/* --- when nothing is in flight --- */

static void resume(struct rfs_pair *p)
{
    p->waiting = false;
    p->synced = false;
    p->cursor = 0;
    rfs_extents_reset(p);
    set_phase(p, RFS_PAIR_COPYING);
    rfs_pair_kick(p);
    if (p->told && p->events->resumed) {
        p->told = false;
        p->events->resumed(p->arg);
    }
    p->told = false;
}

static void next_pass(struct rfs_pair *p)
{
    p->pass++;
    p->synced = false;
    p->cursor = 0;
    rfs_extents_reset(p);
    set_phase(p, RFS_PAIR_COPYING);
    rfs_pair_kick(p);
}

static void on_synced(struct rfs_pmap_wait *wait, const struct rfs_error *err)
{
    struct rfs_pair *p = RFS_CONTAINER_OF(wait, struct rfs_pair, sync);

    p->syncing = false;
    p->synced = true;
    if (err)
        rfs_pair_fail(p, RFS_TARGET, err);
    rfs_pair_kick(p); /* not from here: the end may free what the map is still busy with */
}

static void sync_map(struct rfs_pair *p)
{
    if (p->end == RFS_END_NONE)
        set_phase(p, RFS_PAIR_FLUSHING);
    p->syncing = true;
    p->sync.done = on_synced;
    rfs_pmap_sync(p->map, &p->sync);
}

/* Everything that could be cleared is: sync, then the end, or another round. */
static void conclude(struct rfs_pair *p)
{
    if (p->end == RFS_END_NONE && is_dirty(p)) {
        next_pass(p);
    } else if (!p->synced && !rfs_pmap_error(p->map)) {
        sync_map(p);
    } else {
        p->ended = true;
        rfs_pair_kick(p);
    }
}

static bool is_quiet(const struct rfs_pair *p)
{
    return !p->busy && !p->extents.asking && !p->check.pending && !p->syncing;
}

static void last_checkpoint(struct rfs_pair *p)
{
    if (!rfs_pair_halting(p))
        set_phase(p, RFS_PAIR_FLUSHING);
    rfs_checkpoint_start(p);
}

static void settle(struct rfs_pair *p, uint64_t now)
{
    if (!is_quiet(p))
        return;
    if (!rfs_pair_halting(p) && (p->cursor < p->size || rfs_ledger_unfinished(p)))
        return;
    if (p->check.spans && rfs_pair_online(p, RFS_TARGET)) {
        if (p->end != RFS_END_NONE || p->check.not_before <= now)
            last_checkpoint(p);
    } else if (p->end != RFS_END_NONE || !p->waiting) {
        conclude(p);
    } else if (both_online(p) && p->resume_ms <= now) {
        resume(p);
    }
}

/* --- the one place --- */

static void earliest(uint64_t *when, uint64_t candidate)
{
    if (candidate && (!*when || candidate < *when))
        *when = candidate;
}

static uint64_t next_deadline(struct rfs_pair *p, uint64_t now)
{
    uint64_t when = 0;

    if (p->waiting && both_online(p))
        earliest(&when, p->resume_ms);
    if (rfs_pair_online(p, RFS_TARGET))
        earliest(&when, rfs_checkpoint_when(p));
    if (rfs_pair_halting(p))
        return when;
    for (uint32_t i = 0; i < p->made; i++)
        if (p->slots[i]->state == RFS_SLOT_PAUSED)
            earliest(&when, p->slots[i]->due);
    earliest(&when, rfs_throttle_when(&p->throttle, now));
    return when;
}

/* A timer that fires for nothing costs less than one that is set anew for each request. */
static void arm(struct rfs_pair *p, uint64_t now)
{
    uint64_t when = next_deadline(p, now);

    if (!when || (p->timer_ms && p->timer_ms <= when))
        return;
    p->timer_ms = when;
    rfs_timer_start(p->timer, when > now ? when - now : 1);
}

static void tell_lost(struct rfs_pair *p)
{
    if (!p->waiting || p->told || p->end != RFS_END_NONE)
        return;
    p->told = true;
    if (p->events->lost)
        p->events->lost(p->arg, p->lost_side, &p->lost_why);
}

void rfs_pair_pump(struct rfs_pair *p)
{
    uint64_t now;

    if (p->phase == RFS_PAIR_IDLE || p->ended)
        return;
    now = rfs_mono_ms();
    if (rfs_pmap_error(p->map))
        rfs_pair_fail(p, RFS_TARGET, rfs_pmap_error(p->map));
    check_sides(p);
    if (!rfs_pair_halting(p) && !p->syncing)
        rfs_work_fill(p, now);
    else
        rfs_work_drop(p);
    rfs_ledger_sweep(&p->ledger);
    tell_lost(p);
    if (rfs_checkpoint_due(p, now) && rfs_pair_online(p, RFS_TARGET))
        rfs_checkpoint_start(p);
    settle(p, now);
    arm(p, now);
}

static void on_timer(void *arg)
{
    struct rfs_pair *p = arg;

    p->timer_ms = 0;
    rfs_pair_pump(p);
}

/* --- a run's beginning and end --- */

static void begin_run(struct rfs_pair *p)
{
    p->checked = p->waiting = p->told = p->synced = p->ended = false;
    p->end = RFS_END_NONE;
    p->pass = p->losses = p->in_vain = 0;
    p->writes_lost = rfs_volume_writes_lost(p->volumes[RFS_TARGET]);
    p->cursor = 0;
    p->no_unmap = p->no_zeroes = p->no_extents = false;
    p->unmaps_in_vain = 0;
    memset(&p->check, 0, sizeof(p->check));
    p->extents.off = false;
    rfs_extents_reset(p);
    p->throttle.rate = 0;
    rfs_throttle_set(&p->throttle, p->settings.rate_limit, rfs_mono_ms());
    p->timer = rfs_timer_new(p->loop, on_timer, p);
    p->timer_ms = 0;
    rfs_volume_listen(p->volumes[RFS_SOURCE], &p->listeners[RFS_SOURCE]);
    rfs_volume_listen(p->volumes[RFS_TARGET], &p->listeners[RFS_TARGET]);
}

static void end_run(struct rfs_pair *p)
{
    rfs_volume_unlisten(p->volumes[RFS_SOURCE], &p->listeners[RFS_SOURCE]);
    rfs_volume_unlisten(p->volumes[RFS_TARGET], &p->listeners[RFS_TARGET]);
    rfs_timer_destroy(p->timer);
    p->timer = NULL;
    rfs_slots_free(p);
    free(p->ledger.ring);
    memset(&p->ledger, 0, sizeof(p->ledger));
    p->ended = false;
    set_phase(p, RFS_PAIR_IDLE);
}

static void tell_stopped(struct rfs_pair *p)
{
    void (*stopped)(void *arg, bool complete) = p->stopped;

    p->stopped = NULL;
    stopped(p->stopped_arg, !is_dirty(p) && !rfs_pmap_error(p->map));
}

/* The receiver may free the pair or start it again: nothing comes after telling. */
static void finish(struct rfs_pair *p)
{
    struct rfs_error failure = p->failure;

    if (p->end == RFS_END_NONE && is_dirty(p)) { /* a host was faster */
        p->ended = false;
        next_pass(p);
        return;
    }
    end_run(p);
    if (p->stopped)
        tell_stopped(p);
    else if (p->end == RFS_END_FAIL)
        p->events->failed(p->arg, p->failed_side, &failure);
    else
        p->events->copied(p->arg);
}

static void on_task(struct rfs_task *task)
{
    struct rfs_pair *p = RFS_CONTAINER_OF(task, struct rfs_pair, task);

    p->kicked = false;
    if (p->phase == RFS_PAIR_IDLE && p->stopped)
        tell_stopped(p);
    else if (p->phase != RFS_PAIR_IDLE && p->ended)
        finish(p);
    else
        rfs_pair_pump(p);
}

/* --- what callers see --- */

struct rfs_pair *rfs_pair_new(struct rfs_volume *source, struct rfs_volume *target, struct rfs_pmap *map,
                              const struct rfs_pair_settings *settings, const struct rfs_pair_events *events,
                              void *arg)
{
    struct rfs_pair *p = rfs_xcalloc(1, sizeof(*p));

    p->volumes[RFS_SOURCE] = source;
    p->volumes[RFS_TARGET] = target;
    p->listeners[RFS_SOURCE].changed = on_source;
    p->listeners[RFS_TARGET].changed = on_target;
    p->map = map;
    p->settings = *settings;
    p->events = events;
    p->arg = arg;
    p->loop = rfs_volume_loop(source);
    p->size = rfs_pmap_identity(map)->size;
    p->region = rfs_pmap_identity(map)->region_size;
    p->task.run = on_task;
    return p;
}

void rfs_pair_free(struct rfs_pair *pair)
{
    if (!pair)
        return;
    if (pair->phase != RFS_PAIR_IDLE || pair->kicked)
        abort(); /* something would come back to freed memory */
    free(pair);
}

void rfs_pair_configure(struct rfs_pair *pair, const struct rfs_pair_settings *settings)
{
    pair->settings = *settings;
    if (pair->phase == RFS_PAIR_IDLE)
        return;
    rfs_throttle_set(&pair->throttle, settings->rate_limit, rfs_mono_ms());
    rfs_pair_kick(pair);
}

void rfs_pair_run(struct rfs_pair *pair)
{
    if (pair->phase != RFS_PAIR_IDLE || pair->stopped)
        return;
    begin_run(pair);
    set_phase(pair, both_online(pair) ? RFS_PAIR_COPYING : RFS_PAIR_WAITING);
    rfs_pair_kick(pair);
}

void rfs_pair_stop(struct rfs_pair *pair, void (*stopped)(void *arg, bool complete), void *arg)
{
    pair->stopped = stopped;
    pair->stopped_arg = arg;
    if (pair->phase != RFS_PAIR_IDLE) {
        if (pair->end == RFS_END_NONE)
            pair->end = RFS_END_STOP;
        set_phase(pair, RFS_PAIR_STOPPING);
    }
    rfs_pair_kick(pair);
}

void rfs_pair_note_write(struct rfs_pair *pair, uint64_t offset, uint64_t length)
{
    pair->source_written = true;
    if (pair->phase == RFS_PAIR_IDLE || !length)
        return;
    rfs_ledger_mark(&pair->ledger, offset, length);
    rfs_extents_spoil(pair, offset, length);
}

const struct rfs_pair_stats *rfs_pair_stats(const struct rfs_pair *pair)
{
    return &pair->stats;
}
