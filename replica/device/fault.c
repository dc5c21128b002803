/* SPDX-License-Identifier: Apache-2.0
 *
 * The inner device is the medium. Whatever changes the state of the session is done in turn(), a task, so
 * that no event and no done() comes from inside submit. What the inner device works on when the session ends
 * is answered only after the inner one has, and the session comes back only when nothing of the old one is
 * left.
 */
#include "device/fault_priv.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/text.h"

static struct fault *of(struct rfs_device *dev)
{
    return RFS_CONTAINER_OF(dev, struct fault, dev);
}

void rfs_fault_turn_later(struct fault *f)
{
    if (f->turn_posted)
        return;
    f->turn_posted = true;
    rfs_loop_post(f->dev.loop, &f->turn_task);
}

/* --- requests --- */

static struct request *new_request(struct fault *f, struct rfs_io *outer, enum rfs_io_op op)
{
    struct request *r = rfs_xcalloc(1, sizeof(*r));

    r->fault = f;
    r->outer = outer;
    r->io.op = op;
    DL_APPEND(f->all, r);
    return r;
}

static bool is_job(const struct request *r)
{
    return r->job_prev != NULL;
}

void rfs_fault_finish(struct request *r)
{
    struct fault *f = r->fault;
    struct rfs_io *outer = r->outer;

    DL_DELETE(f->all, r);
    if (is_job(r))
        DL_DELETE2(f->jobs, r, job_prev, job_next);
    rfs_timer_destroy(r->delay);
    free(r->vec.iov_base);
    free(r);
    if (f->entries || f->jobs || f->dev.closing || f->dev.state != RFS_DEVICE_ONLINE)
        rfs_fault_turn_later(f);
    if (outer)
        outer->done(outer);
}

void rfs_fault_finish_with(struct request *r, const struct rfs_io *result)
{
    if (r->outer) {
        r->outer->status = result->status;
        r->outer->error = result->error;
        r->outer->extent.length = result->extent.length;
        r->outer->extent.deallocated = result->extent.deallocated;
    }
    rfs_fault_finish(r);
}

static void inner_done(struct rfs_io *io)
{
    struct request *r = RFS_CONTAINER_OF(io, struct request, io);
    struct fault *f = r->fault;

    r->at_inner = false;
    if (r->lost) {
        rfs_fault_turn_later(f);
        return;
    }
    if (io->status == RFS_IO_OK && io->op == RFS_IO_READ)
        rfs_fault_cache_overlay(f, r);
    else if (io->status == RFS_IO_OK && io->op == RFS_IO_EXTENT_STATUS)
        rfs_fault_cache_clip(f, r);
    rfs_fault_finish_with(r, io);
}

void rfs_fault_inner_submit(struct request *r)
{
    r->io.done = inner_done;
    r->at_inner = true;
    rfs_device_submit(r->fault->inner, &r->io);
}

/* --- the session --- */

static void lose_all(struct fault *f)
{
    struct request *r;

    DL_FOREACH (f->all, r)
        r->lost = true;
    rfs_fault_turn_later(f);
}

static void end_session(struct fault *f, enum rfs_device_state state, const struct rfs_error *why)
{
    f->announce = true;
    f->announce_state = state;
    f->why = *why;
    lose_all(f);
}

static void refresh_info(struct fault *f)
{
    f->dev.info = f->inner->info;
    f->dev.info.volatile_cache |= f->cache_on;
}

static void answer_lost(struct fault *f)
{
    struct request *r = f->all;

    while (r) {
        if (!r->lost || r->at_inner) {
            r = r->next;
            continue;
        }
        rfs_io_fail(&r->io, RFS_IO_LOST, "%s: the session ended", rfs_io_op_name(r->io.op));
        rfs_fault_finish_with(r, &r->io);
        r = f->all; /* done() may have changed the list */
    }
}

static void tell_events(struct fault *f)
{
    bool changed = f->tell_changed;

    f->tell_changed = false;
    if (f->announce) {
        f->announce = false;
        rfs_device_set_state(&f->dev, f->announce_state, &f->why);
    }
    if (changed && f->dev.state == RFS_DEVICE_ONLINE && !f->dev.closing && f->dev.events &&
        f->dev.events->changed)
        f->dev.events->changed(f->dev.events_arg);
}

static void come_back(struct fault *f)
{
    if (f->dev.state == RFS_DEVICE_ONLINE || f->down || f->announce || !f->inner_online || f->all ||
        f->stage_busy)
        return;
    refresh_info(f);
    rfs_device_set_state(&f->dev, RFS_DEVICE_ONLINE, NULL);
}

static void inner_closed(void *arg)
{
    struct fault *f = arg;

    f->inner = NULL;
    rfs_fault_turn_later(f);
}

static void free_fault(struct fault *f)
{
    rfs_device_closed(&f->dev);
    rfs_timer_destroy(f->outage);
    rfs_fault_clear(&f->dev);
    rfs_fault_cache_clear(f);
    free(f);
}

static void close_step(struct fault *f)
{
    if (!f->inner_closing && !f->stage_busy && (!f->inner_online || rfs_fault_cache_drain(f))) {
        f->inner_closing = true;
        rfs_device_close(f->inner, inner_closed, f);
    }
    if (!f->inner && !f->all && !f->stage_busy && !f->turn_posted)
        free_fault(f);
}

static void turn(struct rfs_task *task)
{
    struct fault *f = RFS_CONTAINER_OF(task, struct fault, turn_task);

    f->turn_posted = false;
    tell_events(f);
    answer_lost(f);
    if (!f->cut)
        rfs_fault_cache_forget(f);
    if (f->cut && (f->stage_busy || f->all || !rfs_fault_cache_cut(f)))
        return;
    if (f->dev.closing)
        close_step(f);
    else {
        rfs_fault_cache_run(f);
        come_back(f);
    }
}

static void inner_state(void *arg, enum rfs_device_state state, const struct rfs_error *why)
{
    struct fault *f = arg;

    f->inner_online = state == RFS_DEVICE_ONLINE;
    f->dev.writes_lost = f->inner ? f->inner->writes_lost : 0;
    if (f->inner_online)
        rfs_fault_turn_later(f);
    else if (state != RFS_DEVICE_CONNECTING)
        end_session(f, state, why);
}

static void inner_changed(void *arg)
{
    struct fault *f = arg;

    refresh_info(f);
    f->tell_changed = true;
    rfs_fault_turn_later(f);
}

static const struct rfs_device_events inner_events = {.state = inner_state, .changed = inner_changed};

/* --- rules --- */

static bool matches(const struct rfs_fault_rule *rule, const struct rfs_io *io)
{
    if (rule->ops && !(rule->ops & (1u << io->op)))
        return false;
    if (rule->length &&
        (io->op == RFS_IO_FLUSH || !rfs_fault_overlaps(rule->offset, rule->length, io->offset, io->length)))
        return false;
    return rule->what != RFS_FAULT_FLIP ||
           (io->op == RFS_IO_WRITE && rule->at >= io->offset && rule->at - io->offset < io->length);
}

/* The rule that acts, copied, for it may be gone after its one time. */
static bool find_rule(struct fault *f, const struct rfs_io *io, struct rfs_fault_rule *out)
{
    struct rule *rule, *next;

    DL_FOREACH_SAFE (f->rules, rule, next) {
        if (!matches(&rule->rule, io) || (rule->rule.nth && --rule->left))
            continue;
        *out = rule->rule;
        if (rule->rule.nth) {
            DL_DELETE(f->rules, rule);
            free(rule);
        }
        return true;
    }
    return false;
}

static void pass_on(struct request *r)
{
    struct fault *f = r->fault;

    r->number = ++f->clock;
    if (f->cache_on || f->entries || f->jobs)
        rfs_fault_cache_submit(r);
    else
        rfs_fault_inner_submit(r);
}

static void delay_over(void *arg)
{
    struct request *r = arg;

    if (!r->lost)
        pass_on(r);
}

static void delay(struct request *r, uint64_t ms)
{
    r->delay = rfs_timer_new(r->fault->dev.loop, delay_over, r);
    rfs_timer_start(r->delay, ms);
}

static void flip(struct request *r, uint64_t at)
{
    uint8_t *copy = rfs_xmalloc(r->io.length), *p = copy;

    for (int i = 0; i < r->io.niov; i++)
        p = r->io.iov[i].iov_len ? (uint8_t *)mempcpy(p, r->io.iov[i].iov_base, r->io.iov[i].iov_len) : p;
    copy[at - r->io.offset] ^= 1;
    r->vec = (struct iovec){copy, r->io.length};
    r->io.iov = &r->vec;
    r->io.niov = 1;
    pass_on(r);
}

static void act(struct request *r, const struct rfs_fault_rule *rule)
{
    switch (rule->what) {
    case RFS_FAULT_STATUS:
        rfs_io_fail(&r->io, rule->status, "%s: injected fault", rfs_io_op_name(r->io.op));
        rfs_io_complete_later(&r->fault->dev, r->outer, rule->status, "%s", r->io.error.msg);
        r->outer = NULL;
        rfs_fault_finish(r);
        break;
    case RFS_FAULT_FLIP:
        flip(r, rule->at);
        break;
    case RFS_FAULT_DELAY:
        delay(r, rule->delay_ms);
        break;
    case RFS_FAULT_HANG:
        break;
    case RFS_FAULT_LOSE:
        rfs_fault_outage(&r->fault->dev, rule->delay_ms);
        break;
    }
}

static void fault_submit(struct rfs_device *dev, struct rfs_io *io)
{
    struct fault *f = of(dev);
    struct rfs_fault_rule rule;
    struct request *r;

    f->calls++;
    if (f->down || f->announce || !f->inner_online) {
        rfs_io_complete_later(dev, io, RFS_IO_LOST, "%s: the session has ended", rfs_io_op_name(io->op));
        return;
    }
    r = new_request(f, io, io->op);
    r->io.fua = io->fua;
    r->io.offset = io->offset;
    r->io.length = io->length;
    r->io.iov = io->iov;
    r->io.niov = io->niov;
    if (find_rule(f, io, &rule))
        act(r, &rule);
    else
        pass_on(r);
}

static void fault_close(struct rfs_device *dev)
{
    struct fault *f = of(dev);

    rfs_timer_stop(f->outage);
    lose_all(f);
    if (f->inner && !f->entries && !f->inner_closing) {
        f->inner_closing = true;
        rfs_device_close(f->inner, inner_closed, f);
    }
}

/* --- what tests call --- */

static const struct rfs_device_ops fault_ops = {
    .kind = "fault", .submit = fault_submit, .close = fault_close};

static void outage_over(void *arg)
{
    rfs_fault_restore(arg);
}

struct rfs_device *rfs_fault_open(struct rfs_loop *loop,
                                  struct rfs_device *(*open_inner)(void *arg, struct rfs_loop *loop,
                                                                   const struct rfs_device_events *events,
                                                                   void *events_arg, struct rfs_error *err),
                                  void *arg, const struct rfs_device_events *events, void *events_arg,
                                  struct rfs_error *err)
{
    struct fault *f = rfs_xcalloc(1, sizeof(*f));

    f->dev = (struct rfs_device){.ops = &fault_ops, .loop = loop, .events = events, .events_arg = events_arg};
    f->turn_task.run = turn;
    f->inner = open_inner(arg, loop, &inner_events, f, err);
    if (!f->inner) {
        free(f);
        return NULL;
    }
    f->outage = rfs_timer_new(loop, outage_over, &f->dev);
    return &f->dev;
}

void rfs_fault_add(struct rfs_device *dev, const struct rfs_fault_rule *rule)
{
    struct rule *copy = rfs_xcalloc(1, sizeof(*copy));

    copy->rule = *rule;
    copy->left = rule->nth;
    DL_APPEND(of(dev)->rules, copy);
}

void rfs_fault_clear(struct rfs_device *dev)
{
    struct rule *rule, *next;

    DL_FOREACH_SAFE (of(dev)->rules, rule, next) {
        DL_DELETE(of(dev)->rules, rule);
        free(rule);
    }
}

uint64_t rfs_fault_calls(const struct rfs_device *dev)
{
    return ((const struct fault *)dev)->calls; /* its first member */
}

void rfs_fault_outage(struct rfs_device *dev, uint64_t ms)
{
    struct fault *f = of(dev);
    struct rfs_error why;

    f->down = true;
    rfs_fail(&why, RFS_RV_FAILED, "injected fault: the session ended");
    end_session(f, RFS_DEVICE_OFFLINE, &why);
    if (ms == UINT64_MAX)
        rfs_timer_stop(f->outage);
    else
        rfs_timer_start(f->outage, ms);
}

void rfs_fault_restore(struct rfs_device *dev)
{
    struct fault *f = of(dev);

    rfs_timer_stop(f->outage);
    f->down = false;
    rfs_fault_turn_later(f);
}

void rfs_fault_volatile_cache(struct rfs_device *dev, bool on)
{
    struct fault *f = of(dev);

    if (f->cache_on && !on && f->entries) {
        struct request *r = new_request(f, NULL, RFS_IO_FLUSH);

        r->number = ++f->clock;
        rfs_fault_cache_job(f, r);
    }
    f->cache_on = on;
    dev->info.volatile_cache = on || f->inner->info.volatile_cache;
    f->tell_changed = true;
    rfs_fault_turn_later(f);
}

void rfs_fault_power_cut(struct rfs_device *dev, uint64_t seed, uint64_t offline_ms)
{
    struct fault *f = of(dev);

    rfs_fault_outage(dev, offline_ms);
    f->cut = true;
    f->seed = seed;
    f->cut_at = f->entries;
    f->cut_done = 0;
}
