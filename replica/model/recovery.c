/* SPDX-License-Identifier: Apache-2.0
 *
 * Relationships at a start, and after something could not be made durable: what is believed, what is tried again.
 */
#include <stdlib.h>
#include <utlist.h>

#include "model/record.h"
#include "model/relationship.h"
#include "model/relationship_priv.h"

/* --- what could not be made durable is tried again --- */

/* A consequence that the state folder would not take: it has not been shown; tried again. */
struct rfs_retry {
    struct rfs_service *svc;
    uint64_t number, map_generation;
    struct rfs_timer *timer;
    rfs_again_fn again;
    struct rfs_error why;
    struct rfs_retry *prev, *next;
};

#define RETRY_MS      2000
#define RETRY_BUSY_MS 50

static void free_retry(struct rfs_retry *r)
{
    DL_DELETE(r->svc->retries, r);
    rfs_timer_destroy(r->timer);
    free(r);
}

static void on_retry(void *arg)
{
    struct rfs_retry *r = arg;
    struct rfs_relationship *rel = rfs_relationship_by_number(r->svc, r->number);

    if (rel && rel->busy) { /* another request is at work; what it leaves is looked at then */
        rfs_timer_start(r->timer, RETRY_BUSY_MS);
        return;
    }
    if (rel && !rfs_link_running(rel) && rel->map_generation == r->map_generation)
        r->again(r->svc, rel, &r->why);
    free_retry(r);
}

void rfs_relationship_retry_later(struct rfs_service *svc, struct rfs_relationship *rel,
                                  const struct rfs_error *failure, rfs_again_fn again,
                                  const struct rfs_error *why)
{
    struct rfs_retry *r = rfs_xcalloc(1, sizeof(*r));

    r->svc = svc;
    r->number = rel->o.number;
    r->map_generation = rel->map_generation;
    r->again = again;
    if (why)
        r->why = *why;
    r->timer = rfs_timer_new(svc->control, on_retry, r);
    DL_APPEND(svc->retries, r);
    rfs_timer_start(r->timer, RETRY_MS);
    rfs_set_last_error(svc, &rel->o, failure->msg);
    rfs_log(svc->log, RFS_LOG_ERROR, "relationships/%s: %s", rel->o.name, failure->msg);
}

void rfs_relationship_retries_end(struct rfs_service *svc)
{
    while (svc->retries)
        free_retry(svc->retries);
}

/* --- starting --- */

/* What is left of a relationship whose map cannot be believed: a mirror owes everything again; a point in time is lost,
 * since nobody can tell any more what the target holds (design section 6). */
static void distrust(const struct rfs_relationship *rel, struct rfs_relationship *next, const char *why)
{
    bool mirror = rel->sync_type == RFS_sync_type_MIRROR;

    next->target_consistent = false;
    next->progress_status = RFS_progress_status_REQUIRES_RESYNC;
    next->requested_copy_state = RFS_copy_state_NOT_APPLICABLE;
    next->copy_state = mirror ? RFS_copy_state_BROKEN : RFS_copy_state_INVALID;
    next->o.last_error = rfs_xstrdup(why);
}

static bool holds_a_copy(const struct rfs_relationship *rel)
{
    return rfs_relationship_needs_copy(rel) || rel->copy_state == RFS_copy_state_SYNCHRONIZED ||
           rel->copy_state == RFS_copy_state_SUSPENDED || rel->target_consistent;
}

static int publish_distrust(struct rfs_service *svc, struct rfs_relationship *rel, const char *why,
                            struct rfs_error *err)
{
    struct rfs_relationship next = *rel;
    struct rfs_job *job = rel->job && !rfs_job_finished(rel->job) ? rel->job : NULL, job_next;
    struct rfs_error ended;

    distrust(rel, &next, why);
    if (job) {
        rfs_fail(&ended, RFS_RV_FAILED, "%s", why);
        job_next = *job;
        rfs_job_end(job, &job_next, RFS_job_state_EXCEPTION, &ended);
        next.last_job_state = RFS_job_state_EXCEPTION;
        next.last_job_error = rfs_xstrdup(why);
    }
    if (rfs_publish(svc, &(struct rfs_edit){.rel = rel, .rel_next = &next, .job = job, .job_next = &job_next},
                    err))
        return -1;
    rfs_relationship_log_state(svc, rel, why);
    return 0;
}

/* A mirror that was being copied, or was in step, is brought in step by itself: its target was going to be that anyway. */
static int publish_start_over(struct rfs_service *svc, struct rfs_relationship *rel, const char *why,
                              struct rfs_error *err)
{
    struct rfs_relationship next = *rel;
    struct rfs_job *job = NULL;

    next.target_consistent = false;
    next.o.last_error = rfs_xstrdup(why);
    if (rel->copy_state == RFS_copy_state_SYNCHRONIZED) {
        next.copy_state = RFS_copy_state_UNSYNCHRONIZED;
        next.requested_copy_state = RFS_copy_state_SYNCHRONIZED;
        next.progress_status = RFS_progress_status_RESYNCING;
        job = rfs_job_new(svc, rel, "ModifyReplicaSynchronization", RFS_operation_RESYNC_REPLICA, rel->size,
                          err);
        if (!job) {
            free(next.o.last_error);
            return -1;
        }
        next.job = job;
        next.last_job_state = RFS_job_state_RUNNING;
    }
    if (rfs_publish(svc, &(struct rfs_edit){.rel = rel, .rel_next = &next, .new_job = job}, err)) {
        rfs_free_job(job);
        return -1;
    }
    rfs_relationship_log_state(svc, rel, why);
    return 0;
}

/* Until the truth can be made durable: nothing more is claimed than is known. */
static void claim_nothing(struct rfs_service *svc, struct rfs_relationship *rel, const char *why)
{
    struct rfs_relationship next = *rel;

    if (!rel->truth.held)
        next.truth = (struct rfs_truth){true, rel->copy_state, rel->progress_status, rel->target_consistent};
    distrust(rel, &next, why);
    rfs_publish_volatile(svc, &(struct rfs_edit){.rel = rel, .rel_next = &next});
}

static void recall(struct rfs_service *svc, struct rfs_relationship *rel)
{
    struct rfs_relationship next = *rel;

    if (!rel->truth.held)
        return;
    next.copy_state = rel->truth.copy_state;
    next.progress_status = rel->truth.progress_status;
    next.target_consistent = rel->truth.target_consistent;
    next.truth.held = false;
    next.o.last_error = NULL;
    rfs_publish_volatile(svc, &(struct rfs_edit){.rel = rel, .rel_next = &next});
}

static bool job_goes_on(const struct rfs_relationship *rel)
{
    return rfs_relationship_needs_copy(rel) && rel->job && rel->job->job_state == RFS_job_state_RUNNING;
}

/* CopyRecoveryMode Manual: what was lost before the restart waits for Resume, as it would have without one. */
static bool waits_for_resume(const struct rfs_relationship *rel)
{
    return rel->settings.copy_recovery_mode == RFS_copy_recovery_mode_MANUAL && job_goes_on(rel) &&
           rel->job->lost;
}

static void go_on(struct rfs_service *svc, struct rfs_relationship *rel)
{
    if (waits_for_resume(rel)) {
        rfs_relationship_operate(svc, rel, &(struct rfs_operate){.operation = RFS_operation_SUSPEND},
                                 rfs_relationship_suspended_by_loss, svc);
    } else if (job_goes_on(rel)) {
        rel->waiting = true; /* until the engine has seen both volumes Online */
        rfs_link_run(rel);
        rfs_jobs_schedule(svc);
    }
}

static void restart_again(struct rfs_service *svc, struct rfs_relationship *rel, const struct rfs_error *why);

static void settle_truth(struct rfs_service *svc, struct rfs_relationship *rel,
                         const struct rfs_error *unused)
{
    static const char lost[] = "the pending map was missing or damaged; everything counts as not copied";
    static const char old[] =
        "the state folder was restored from a backup or copied, so that nobody knows what has been "
        "written since; look at both sides, then ResyncReplica copies everything";
    const char *why = svc->folder_is_copy ? old : lost;
    bool by_itself = !svc->folder_is_copy && rel->sync_type == RFS_sync_type_MIRROR;
    struct rfs_error err;

    recall(svc, rel);
    if (by_itself ? publish_start_over(svc, rel, why, &err) : publish_distrust(svc, rel, why, &err)) {
        claim_nothing(svc, rel, why);
        rfs_relationship_retry_later(svc, rel, &err, settle_truth, NULL);
        return;
    }
    go_on(svc, rel);
}

static int attach_map(struct rfs_service *svc, struct rfs_relationship *rel, bool *lost_map,
                      struct rfs_error *err)
{
    if (rel->map_lost && rfs_link_map_create(svc, rel, true, err))
        return -1;
    *lost_map = rel->map_lost;
    return rfs_link_attach(svc, rel, lost_map, err);
}

/* Volumes and map are there, or are tried for again until they are. */
static void attach_engine(struct rfs_service *svc, struct rfs_relationship *rel)
{
    struct rfs_error err;
    bool lost_map;

    if (attach_map(svc, rel, &lost_map, &err)) {
        claim_nothing(svc, rel, err.msg);
        rfs_relationship_retry_later(svc, rel, &err, restart_again, NULL);
        return;
    }
    rel->map_lost = false;
    recall(svc, rel);
    if (lost_map && holds_a_copy(rel))
        settle_truth(svc, rel, NULL);
    else
        go_on(svc, rel);
}

static void restart_again(struct rfs_service *svc, struct rfs_relationship *rel,
                          const struct rfs_error *unused)
{
    if (!rfs_link_attached(rel) && rfs_link_is_open(rel->source) && rfs_link_is_open(rel->target))
        attach_engine(svc, rel);
}

void rfs_relationship_reattach_later(struct rfs_service *svc, struct rfs_relationship *rel,
                                     const struct rfs_error *why)
{
    rfs_relationship_retry_later(svc, rel, why, restart_again, NULL);
}

void rfs_relationship_restart(struct rfs_service *svc, struct rfs_relationship *rel)
{
    if (rel->copy_state == RFS_copy_state_PARTITIONED)
        rel->copy_state = RFS_copy_state_UNSYNCHRONIZED;
    rel->map_lost = svc->folder_is_copy;
    if (!rfs_link_is_open(rel->source) || !rfs_link_is_open(rel->target))
        return;
    attach_engine(svc, rel);
}
