/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <utlist.h>

#include "model/object.h"

struct rfs_waiter {
    struct rfs_call *call;
    struct rfs_object *object;
    rfs_verdict_fn verdict;
    uint32_t wanted;
    enum rfs_rv ok_rv;
    uint64_t timeout_ms;
    struct rfs_timer *timer;
    struct rfs_waiter *prev, *next;
};

/* Takes the waiter off its object and answers its call. */
static void finish(struct rfs_waiter *w, enum rfs_rv rv, const struct rfs_error *err)
{
    struct rfs_call *call = w->call;

    DL_DELETE(w->object->waiters, w);
    rfs_timer_destroy(w->timer);
    free(w);
    call->state = NULL;
    rfs_call_finish(call, rv, err);
}

/* Where the object is, and where it should be, in words. */
static void describe(const struct rfs_waiter *w, struct rfs_text *out)
{
    const struct rfs_object *o = w->object;
    const struct rfs_value_map *map = &rfs_map_copy_state;
    const char *folder = "relationships";
    uint32_t now = 0;

    if (o->kind == RFS_KIND_ELEMENT) {
        map = &rfs_map_element_state;
        folder = "elements";
        now = ((const struct rfs_element *)(const void *)o)->state;
    } else if (o->kind == RFS_KIND_JOB) {
        map = &rfs_map_job_state;
        folder = "jobs";
        now = ((const struct rfs_job *)(const void *)o)->job_state;
    } else {
        now = ((const struct rfs_relationship *)(const void *)o)->copy_state;
    }
    rfs_text_printf(out, "%s/%s is %s, not %s", folder, o->name, rfs_value_name(map, (int)now),
                    rfs_value_name(map, (int)w->wanted));
}

static void on_timeout(void *arg)
{
    struct rfs_waiter *w = arg;
    struct rfs_text where = RFS_TEXT_INIT;
    struct rfs_error err;

    describe(w, &where);
    rfs_fail(&err, RFS_RV_TIMEOUT, "%s, after %g s%s", where.data, (double)w->timeout_ms / 1000.0,
             w->ok_rv == RFS_RV_JOB_STARTED ? "; what was started goes on" : "");
    rfs_text_free(&where);
    finish(w, RFS_RV_TIMEOUT, &err);
}

static void on_cancel(struct rfs_call *call)
{
    struct rfs_error err;

    rfs_fail(&err, RFS_RV_TIMEOUT, "the wait was given up");
    finish(call->state, RFS_RV_TIMEOUT, &err);
}

static bool judge(struct rfs_waiter *w)
{
    struct rfs_error err = RFS_ERROR_INIT;

    switch (w->verdict(w->object, w->wanted, &err)) {
    case RFS_WAIT_MORE:
        return false;
    case RFS_WAIT_DONE:
        finish(w, w->ok_rv, NULL);
        return true;
    case RFS_WAIT_NEVER:
        finish(w, err.rv, &err);
        return true;
    }
    return false;
}

void rfs_wait(struct rfs_call *call, struct rfs_object *o, rfs_verdict_fn verdict, uint32_t wanted,
              uint64_t timeout_ms, enum rfs_rv ok_rv)
{
    struct rfs_waiter *w = rfs_xcalloc(1, sizeof(*w));

    *w = (struct rfs_waiter){.call = call,
                             .object = o,
                             .verdict = verdict,
                             .wanted = wanted,
                             .ok_rv = ok_rv,
                             .timeout_ms = timeout_ms};
    DL_APPEND(o->waiters, w);
    if (judge(w))
        return;
    if (!timeout_ms) { /* a look, no wait */
        on_timeout(w);
        return;
    }
    if (timeout_ms != RFS_WAIT_FOREVER) {
        w->timer = rfs_timer_new(call->svc->control, on_timeout, w);
        rfs_timer_start(w->timer, timeout_ms);
    }
    call->state = w;
    call->cancel = on_cancel;
    if (call->abandoned)
        on_cancel(call);
}

void rfs_waiters_check(struct rfs_object *o)
{
    struct rfs_waiter *w, *tmp;

    DL_FOREACH_SAFE (o->waiters, w, tmp)
        judge(w);
}

void rfs_waiters_end(struct rfs_object *o, bool done, const struct rfs_error *err)
{
    while (o->waiters)
        finish(o->waiters, done ? o->waiters->ok_rv : err->rv, done ? NULL : err);
}

static enum rfs_verdict element_verdict(const struct rfs_object *o, uint32_t wanted, struct rfs_error *err)
{
    const struct rfs_element *el = (const struct rfs_element *)(const void *)o;

    if (el->state == wanted)
        return RFS_WAIT_DONE;
    if (el->state == RFS_element_state_UNCONFIGURED) {
        rfs_fail(err, RFS_RV_FAILED, "elements/%s has no url; write one first", o->name);
        return RFS_WAIT_NEVER;
    }
    return RFS_WAIT_MORE;
}

/* States that nothing but another request leads out of, and in which an awaited one is therefore given up. */
static enum rfs_verdict relationship_verdict(const struct rfs_object *o, uint32_t wanted,
                                             struct rfs_error *err)
{
    const struct rfs_relationship *rel = (const struct rfs_relationship *)(const void *)o;

    if (rel->copy_state == wanted)
        return RFS_WAIT_DONE;
    if (rel->copy_state != RFS_copy_state_BROKEN && rel->copy_state != RFS_copy_state_ABORTED &&
        rel->copy_state != RFS_copy_state_INVALID)
        return RFS_WAIT_MORE;
    rfs_fail(err, RFS_RV_FAILED, "relationships/%s is %s and does not become %s by itself%s%s", o->name,
             rfs_value_name(&rfs_map_copy_state, (int)rel->copy_state),
             rfs_value_name(&rfs_map_copy_state, (int)wanted), o->last_error ? ": " : "",
             o->last_error ? o->last_error : "");
    return RFS_WAIT_NEVER;
}

static enum rfs_verdict job_verdict(const struct rfs_object *o, uint32_t wanted, struct rfs_error *err)
{
    const struct rfs_job *job = (const struct rfs_job *)(const void *)o;

    if (job->job_state == wanted)
        return RFS_WAIT_DONE;
    if (!rfs_job_finished(job))
        return RFS_WAIT_MORE;
    rfs_fail(err, RFS_RV_FAILED, "jobs/%s has ended as %s%s%s", o->name,
             rfs_value_name(&rfs_map_job_state, (int)job->job_state), job->error_description ? ": " : "",
             job->error_description ? job->error_description : "");
    return RFS_WAIT_NEVER;
}

const rfs_verdict_fn rfs_verdict_element = element_verdict, rfs_verdict_relationship = relationship_verdict,
                     rfs_verdict_job = job_verdict;
