/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "model/relationship.h"

/* One operation under way. Its steps: check the cell; stop the engine's copy; renew the map where everything
 * is owed anew; make the outcome durable; publish; start the copy. A step that fails puts back what was
 * stopped. */
struct operating {
    struct rfs_service *svc;
    struct rfs_relationship *rel;
    uint32_t operation;
    const char *method;
    struct rfs_cell cell;
    bool was_running;
    bool map_failed;
    struct rfs_job *new_job, *old_job;
    struct rfs_error err;
    rfs_operated_fn done;
    void *arg;
};

static void legal_now(const struct rfs_relationship *rel, struct rfs_text *out)
{
    rfs_text_puts(out, "");
    for (size_t i = 0; i < rfs_map_operation.count; i++) {
        int op = rfs_map_operation.values[i].number;
        struct rfs_cell cell = rfs_state_cell(rel->sync_type, rel->copy_state, (uint32_t)op);

        if (cell.legal && op != RFS_operation_UNPREPARE && rfs_state_available(rel->sync_type, (uint32_t)op))
            rfs_text_printf(out, "%s%s%s", out->len ? ", " : "", rfs_map_operation.values[i].name,
                            cell.force ? " (force=1)" : "");
    }
}

static int refuse(const struct rfs_relationship *rel, uint32_t operation, const struct rfs_cell *cell,
                  struct rfs_error *err)
{
    const char *type = rfs_value_name(&rfs_map_sync_type, (int)rel->sync_type);
    const char *name = rfs_value_name(&rfs_map_operation, (int)operation);
    const char *state = rfs_value_name(&rfs_map_copy_state, (int)rel->copy_state);
    struct rfs_text legal = RFS_TEXT_INIT;

    legal_now(rel, &legal);
    if (cell->never)
        rfs_fail(err, RFS_RV_NOT_SUPPORTED, "relationships/%s: %s is never valid for a %s; legal now: %s",
                 rel->o.name, name, type, legal.data);
    else if (!rfs_state_available(rel->sync_type, operation))
        rfs_fail(err, RFS_RV_NOT_SUPPORTED,
                 "relationships/%s: %s of a %s is not available in this version; legal now: %s", rel->o.name,
                 name, type, legal.data);
    else
        rfs_fail(err, RFS_RV_INVALID_STATE, "relationships/%s is %s, in which %s is not legal; legal now: %s",
                 rel->o.name, state, name, legal.data);
    rfs_text_free(&legal);
    return -1;
}

static const char *force_reason(const struct rfs_cell *cell)
{
    return cell->gone ? "the target holds an incomplete copy, which nothing will complete any more"
                      : "the outcome is not known to be consistent";
}

int rfs_relationship_check(const struct rfs_relationship *rel, uint32_t operation, bool force,
                           struct rfs_cell *cell, struct rfs_error *err)
{
    *cell = rfs_state_cell(rel->sync_type, rel->copy_state, operation);
    if (!cell->legal || !rfs_state_available(rel->sync_type, operation))
        return refuse(rel, operation, cell, err);
    if (cell->force && !force)
        return rfs_fail(err, RFS_RV_REQUIRES_FORCE, "relationships/%s is %s: %s needs force=1, because %s",
                        rel->o.name, rfs_value_name(&rfs_map_copy_state, (int)rel->copy_state),
                        rfs_value_name(&rfs_map_operation, (int)operation), force_reason(cell));
    return 0;
}

static void finish(struct operating *op, enum rfs_rv rv, struct rfs_relationship *rel, struct rfs_job *job,
                   const struct rfs_error *err)
{
    if (rel)
        rel->busy = NULL;
    op->done(op->arg, rv, rel, job, err);
    free(op);
}

/* The operation is off: the copy that was stopped for it goes on. */
static void give_up(struct operating *op)
{
    if (op->was_running && rfs_link_attached(op->rel))
        rfs_link_run(op->rel);
    rfs_error_wrap(&op->err, "relationships/%s stays as it is", op->rel->o.name);
    finish(op, op->err.rv, op->rel, NULL, &op->err);
}

/* The daemon is being stopped in the middle: what is durable so far counts at the next start. */
static bool stopping(struct operating *op)
{
    if (!op->svc->stopping)
        return false;
    rfs_fail(&op->err, RFS_RV_FAILED, "the service is stopping");
    op->was_running = false;
    give_up(op);
    return true;
}

/* --- the relationship goes --- */

static void detached_gone(void *arg)
{
    struct operating *op = arg;
    struct rfs_relationship *rel = op->rel;
    struct rfs_error err;

    rfs_fail(&err, RFS_RV_NOT_FOUND, "relationships/%s was %s", rel->o.name,
             op->operation == RFS_operation_DETACH ? "detached" : "dissolved");
    rfs_link_map_remove(op->svc, rel, rel->map_generation);
    rfs_relationship_event(op->svc, rel, "Removed", err.msg);
    rfs_log(op->svc->log, RFS_LOG_NOTICE, "%s", err.msg);
    rfs_drop_relationship(op->svc, rel, false, &err);
    rfs_jobs_schedule(op->svc);
    finish(op, RFS_RV_OK, NULL, NULL, NULL);
}

static struct rfs_job *live_job(const struct rfs_relationship *rel)
{
    return rel->job && !rfs_job_finished(rel->job) ? rel->job : NULL;
}

static void make_gone(struct operating *op)
{
    struct rfs_job *job = live_job(op->rel), job_next;

    if (job) {
        job_next = *job;
        rfs_job_end(job, &job_next, RFS_job_state_TERMINATED, NULL);
    }
    if (rfs_publish(op->svc, &(struct rfs_edit){.gone = op->rel, .job = job, .job_next = &job_next},
                    &op->err))
        give_up(op);
    else
        rfs_link_detach(op->rel, detached_gone, op);
}

/* --- the relationship changes --- */

static const struct ends {
    uint32_t operation, progress, job_state;
} ends[] = {
    {RFS_operation_ABORT, RFS_progress_status_REQUIRES_RESYNC, RFS_job_state_TERMINATED},
    {RFS_operation_DEACTIVATE, RFS_progress_status_DORMANT, RFS_job_state_TERMINATED},
    {RFS_operation_SUSPEND, RFS_progress_status_DORMANT, RFS_job_state_SUSPENDED},
    {RFS_operation_PREPARE, RFS_progress_status_REQUIRES_ACTIVATE, RFS_job_state_TERMINATED},
    {RFS_operation_UNPREPARE, RFS_progress_status_REQUIRES_ACTIVATE, RFS_job_state_TERMINATED},
    {RFS_OPERATION_KILL, RFS_progress_status_REQUIRES_RESYNC, RFS_job_state_KILLED},
};

static const struct ends *find_ends(uint32_t operation)
{
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (ends[i].operation == operation)
            return &ends[i];
    return NULL;
}

/* Everything is owed anew: Prepare, a clone's new point in time, and where the map's file has failed. */
static bool renews_map(const struct operating *op)
{
    if (op->map_failed)
        return true;
    if (op->operation == RFS_operation_PREPARE || op->operation == RFS_operation_UNPREPARE)
        return true;
    return op->cell.new_point && op->operation != RFS_operation_RESUME;
}

static void stamp(const struct operating *op, struct rfs_relationship *next)
{
    uint64_t now = rfs_now_ms();

    if (op->cell.via == RFS_copy_state_UNSYNCHRONIZED)
        next->when_activated = now;
    if (op->operation == RFS_operation_DEACTIVATE)
        next->when_deactivated = now;
    if (op->operation == RFS_operation_SUSPEND)
        next->when_suspended = now;
}

static int next_job(struct operating *op, struct rfs_relationship *next, struct rfs_job *job_next)
{
    struct rfs_job *job = live_job(op->rel);
    const struct ends *end = find_ends(op->operation);

    op->old_job = job;
    if (job) {
        *job_next = *job;
        if (op->operation == RFS_operation_RESUME && job->job_state == RFS_job_state_SUSPENDED) {
            job_next->job_state = RFS_job_state_RUNNING;
            job_next->rate_ms = 0;
        } else if (end && end->job_state == RFS_job_state_SUSPENDED) {
            job_next->job_state = RFS_job_state_SUSPENDED;
            job_next->suspended_ms = rfs_now_ms();
            job_next->rate = 0;
        } else {
            rfs_job_end(job, job_next, end ? end->job_state : RFS_job_state_TERMINATED, NULL);
        }
        job_next->lost = false;
        next->last_job_state = job_next->job_state;
    }
    if (op->cell.via != RFS_copy_state_UNSYNCHRONIZED ||
        (job && job_next->job_state == RFS_job_state_RUNNING))
        return 0;
    op->new_job = rfs_job_new(op->svc, op->rel, op->method, op->operation,
                              renews_map(op) ? op->rel->size : rfs_pmap_dirty_bytes(op->rel->map), &op->err);
    if (!op->new_job)
        return -1;
    next->job = op->new_job;
    next->last_job_state = RFS_job_state_RUNNING;
    next->last_job_error = NULL;
    return 0;
}

/* Broken and Aborted never stand without a reason. */
static char *ended_by_hand(const struct operating *op)
{
    struct rfs_text why = RFS_TEXT_INIT;
    const struct rfs_job *job = live_job(op->rel);

    if (op->operation != RFS_OPERATION_KILL && op->operation != RFS_operation_ABORT)
        return NULL;
    rfs_text_printf(&why, "jobs/%s was %s by request; ResyncReplica copies what is left",
                    job ? job->o.name : "(none)", op->operation == RFS_OPERATION_KILL ? "killed" : "aborted");
    return why.data;
}

static void next_state(const struct operating *op, struct rfs_relationship *next)
{
    const struct ends *end = find_ends(op->operation);
    bool copying = op->cell.via == RFS_copy_state_UNSYNCHRONIZED;

    next->copy_state = copying ? RFS_copy_state_UNSYNCHRONIZED : op->cell.final;
    next->requested_copy_state = copying ? op->cell.final : RFS_copy_state_NOT_APPLICABLE;
    next->progress_status = copying ? RFS_progress_status_RESYNCING
                            : end   ? end->progress
                                    : RFS_progress_status_COMPLETED;
    next->o.last_error = ended_by_hand(op);
    if (renews_map(op))
        next->target_consistent = false;
    stamp(op, next);
}

static void start_copy(struct operating *op)
{
    struct rfs_relationship *rel = op->rel;

    if (rel->copy_state != RFS_copy_state_UNSYNCHRONIZED)
        return;
    rel->waiting = false;
    rfs_link_run(rel);
}

static void conclude(struct operating *op)
{
    struct rfs_job *job = op->new_job ? op->new_job : op->old_job;
    bool started = op->rel->copy_state == RFS_copy_state_UNSYNCHRONIZED;

    start_copy(op);
    rfs_jobs_schedule(op->svc);
    rfs_log(op->svc->log, RFS_LOG_NOTICE, "relationships/%s: %s", op->rel->o.name,
            rfs_value_name(&rfs_map_copy_state, (int)op->rel->copy_state));
    rfs_relationship_event(op->svc, op->rel, "CopyState",
                           rfs_value_name(&rfs_map_copy_state, (int)op->rel->copy_state));
    finish(op, started ? RFS_RV_JOB_STARTED : RFS_RV_OK, op->rel, started ? job : NULL, NULL);
}

static int publish_change(struct operating *op, uint64_t map_generation)
{
    struct rfs_relationship next = *op->rel;
    struct rfs_job job_next;

    next_state(op, &next);
    next.map_generation = map_generation;
    if (next_job(op, &next, &job_next))
        return -1;
    if (rfs_publish(op->svc,
                    &(struct rfs_edit){.rel = op->rel,
                                       .rel_next = &next,
                                       .job = op->old_job,
                                       .job_next = &job_next,
                                       .new_job = op->new_job},
                    &op->err)) {
        rfs_free_job(op->new_job);
        return -1;
    }
    return 0;
}

/* --- with a new map --- */

static int reattach(struct operating *op)
{
    bool lost_map;

    return rfs_link_attach(op->svc, op->rel, &lost_map, &op->err);
}

/* Engine and old map are let go; the new file is complete before the transaction that names it. */
static void detached_for_map(void *arg)
{
    struct operating *op = arg;
    uint64_t old = op->rel->map_generation;
    struct rfs_relationship next = *op->rel;
    struct rfs_error err;

    if (stopping(op))
        return;
    next.map_generation = old + 1;
    if (rfs_link_map_create(op->svc, &next, true, &op->err) || publish_change(op, old + 1)) {
        rfs_link_map_remove(op->svc, op->rel, old + 1);
        err = op->err;
        if (reattach(op))
            rfs_relationship_reattach_later(op->svc, op->rel, &op->err);
        op->err = err;
        give_up(op);
        return;
    }
    rfs_link_map_remove(op->svc, op->rel, old);
    if (reattach(op)) { /* it is done all the same; the copy starts when the engine has been attached */
        rfs_relationship_reattach_later(op->svc, op->rel, &op->err);
        finish(op, op->new_job ? RFS_RV_JOB_STARTED : RFS_RV_OK, op->rel, op->new_job, NULL);
        return;
    }
    conclude(op);
}

/* The sum of the work of a job that ends now must be taken while its map is there. */
static void renew_map(struct operating *op)
{
    struct rfs_job *job = live_job(op->rel);

    if (job) {
        struct rfs_job_progress p;

        rfs_job_progress(job, &p);
        rfs_service_lock(op->svc);
        job->bytes_done = job->high_water = p.bytes_done;
        rfs_service_unlock(op->svc);
    }
    rfs_link_detach(op->rel, detached_for_map, op);
}

/* --- the steps --- */

static void quiet(void *arg, bool complete)
{
    struct operating *op = arg;

    op->map_failed = rfs_link_map_failed(op->rel);
    if (stopping(op))
        return;
    if (op->cell.gone)
        make_gone(op);
    else if (renews_map(op))
        renew_map(op);
    else if (publish_change(op, op->rel->map_generation))
        give_up(op);
    else
        conclude(op);
}

static int check_busy(const struct rfs_relationship *rel, uint32_t operation, struct rfs_error *err)
{
    if (!rel->busy)
        return 0;
    return rfs_fail(err, RFS_RV_IN_USE, "relationships/%s is %s; wait until that is done", rel->o.name,
                    rel->busy);
}

static int check_kill(const struct rfs_relationship *rel, struct rfs_cell *cell, struct rfs_error *err)
{
    if (!live_job(rel))
        return rfs_fail(err, RFS_RV_INVALID_TRANSITION, "relationships/%s has no running job", rel->o.name);
    *cell = (struct rfs_cell){.legal = true, .final = RFS_copy_state_BROKEN};
    return 0;
}

static void stop_engine(struct operating *op)
{
    if (rfs_link_attached(op->rel))
        rfs_link_stop(op->rel, quiet, op);
    else
        quiet(op, false);
}

/* Before the first copy of a relationship that was created resting: something may have been put on the target since. */
static void looked_at(void *arg, int found, const char *what, const struct rfs_error *why)
{
    struct operating *op = arg;
    const char *target = op->rel->target->o.name;

    if (stopping(op))
        return;
    if (found < 0) {
        op->err = *why;
        rfs_error_wrap(
            &op->err, "target elements/%s could not be looked at for data that would be overwritten", target);
    } else if (found) {
        rfs_fail(&op->err, RFS_RV_REQUIRES_FORCE,
                 "target elements/%s has data on it (%s), which would be overwritten; give force=1 if that "
                 "is meant",
                 target, what);
    } else {
        stop_engine(op);
        return;
    }
    give_up(op);
}

static bool must_look(const struct operating *op, bool force)
{
    return !force && op->cell.via == RFS_copy_state_UNSYNCHRONIZED && !op->rel->when_activated &&
           op->rel->target->volume;
}

void rfs_relationship_operate(struct rfs_service *svc, struct rfs_relationship *rel,
                              const struct rfs_operate *what, rfs_operated_fn done, void *arg)
{
    struct operating *op;
    struct rfs_cell cell;
    struct rfs_error err;

    if (check_busy(rel, what->operation, &err) ||
        (what->operation == RFS_OPERATION_KILL
             ? check_kill(rel, &cell, &err)
             : rfs_relationship_check(rel, what->operation, what->force, &cell, &err))) {
        done(arg, err.rv, rel, NULL, &err);
        return;
    }
    if (cell.same) {
        done(arg, RFS_RV_OK, rel, live_job(rel), NULL);
        return;
    }
    op = rfs_xcalloc(1, sizeof(*op));
    *op = (struct operating){.svc = svc,
                             .rel = rel,
                             .operation = what->operation,
                             .method = what->method,
                             .cell = cell,
                             .was_running = rfs_link_running(rel),
                             .done = done,
                             .arg = arg};
    if (!rfs_link_attached(rel) && !cell.gone) {
        rfs_fail(&op->err, RFS_RV_FAILED,
                 "the engine has no volumes for it; look at the states of its elements");
        give_up(op);
        return;
    }
    rel->busy = "being changed by another request";
    if (must_look(op, what->force))
        rfs_link_signature(svc, rel->target, looked_at, op);
    else
        stop_engine(op);
}
