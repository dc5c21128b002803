/* SPDX-License-Identifier: Apache-2.0 */
#include "model/relationship.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/events.h"
#include "model/record.h"
#include "model/relationship_priv.h"

static void path_of(const struct rfs_relationship *rel, char path[240])
{
    snprintf(path, 240, "relationships/%s", rel->o.name);
}

void rfs_relationship_event(struct rfs_service *svc, const struct rfs_relationship *rel, const char *type,
                            const char *message)
{
    char path[240], fields[160];

    path_of(rel, path);
    snprintf(fields, sizeof(fields), "\"copy_state\":\"%s\",\"job\":\"jobs/%llu\"",
             rfs_value_name(&rfs_map_copy_state, (int)rel->copy_state),
             rel->job ? (unsigned long long)rel->job->o.number : 0ull);
    if (!rel->job)
        *strstr(fields, ",\"job\"") = '\0';
    rfs_event(svc->events, type, path, fields, "%s", message);
}

void rfs_relationship_log_state(struct rfs_service *svc, const struct rfs_relationship *rel, const char *why)
{
    char message[1100];

    snprintf(message, sizeof(message), "%s%s%s", rfs_value_name(&rfs_map_copy_state, (int)rel->copy_state),
             why ? ": " : "", why ? why : "");
    rfs_log(svc->log, RFS_LOG_NOTICE, "relationships/%s: %s", rel->o.name, message);
    rfs_relationship_event(svc, rel, "CopyState", message);
}

/* --- engine events --- */

static bool vanishes(const struct rfs_relationship *rel)
{
    return rel->copy_type == RFS_copy_type_UNSYNC_UNASSOC;
}

struct vanish {
    struct rfs_service *svc;
    struct rfs_relationship *rel;
    uint64_t generation;
};

static void vanished(void *arg)
{
    struct vanish *v = arg;

    rfs_link_map_remove(v->svc, v->rel, v->generation);
    rfs_drop_relationship(v->svc, v->rel, true, NULL);
    rfs_jobs_schedule(v->svc);
    free(v);
}

/* The relationship of a clone that does not stay associated goes with its completion; its job stays to be
 * read. */
static void vanish(struct rfs_service *svc, struct rfs_relationship *rel)
{
    struct vanish *v = rfs_xcalloc(1, sizeof(*v));

    *v = (struct vanish){svc, rel, rel->map_generation};
    rel->busy = "being dissolved";
    rfs_link_detach(rel, vanished, v);
}

bool rfs_relationship_needs_copy(const struct rfs_relationship *rel)
{
    return rel->copy_state == RFS_copy_state_UNSYNCHRONIZED || rel->copy_state == RFS_copy_state_PARTITIONED;
}

static void copied(struct rfs_service *svc, struct rfs_relationship *rel, const struct rfs_error *unused)
{
    struct rfs_relationship next = *rel;
    struct rfs_job *job = rel->job && !rfs_job_finished(rel->job) ? rel->job : NULL, job_next;
    struct rfs_error err;
    struct rfs_edit edit = {.rel = rel, .rel_next = &next, .job = job, .job_next = &job_next};

    if (!rfs_relationship_needs_copy(rel))
        return; /* a retry that a request has overtaken */
    next.copy_state = RFS_copy_state_SYNCHRONIZED;
    next.requested_copy_state = RFS_copy_state_NOT_APPLICABLE;
    next.progress_status = RFS_progress_status_COMPLETED;
    next.target_consistent = true;
    next.o.last_error = NULL;
    next.when_synchronized = rfs_now_ms();
    next.when_synced = rel->sync_type == RFS_sync_type_MIRROR ? next.when_synchronized : rel->when_activated;
    if (job) {
        job_next = *job;
        rfs_job_end(job, &job_next, RFS_job_state_COMPLETED, NULL);
        next.last_job_state = RFS_job_state_COMPLETED;
        next.last_job_error = NULL;
    }
    if (vanishes(rel))
        edit.gone = rel;
    if (rfs_publish(svc, &edit, &err)) {
        rfs_relationship_retry_later(svc, rel, &err, copied, NULL);
        return;
    }
    rel->waiting = false;
    rfs_relationship_log_state(svc, rel, NULL);
    rfs_jobs_schedule(svc);
    if (vanishes(rel))
        vanish(svc, rel);
}

void rfs_relationship_on_copied(struct rfs_service *svc, struct rfs_relationship *rel)
{
    copied(svc, rel, NULL);
}

static void failed(struct rfs_service *svc, struct rfs_relationship *rel, const struct rfs_error *why)
{
    struct rfs_relationship next = *rel;
    struct rfs_job *job = rel->job && !rfs_job_finished(rel->job) ? rel->job : NULL, job_next;
    struct rfs_error err;

    next.copy_state = RFS_copy_state_BROKEN;
    next.requested_copy_state = RFS_copy_state_NOT_APPLICABLE;
    next.progress_status = RFS_progress_status_REQUIRES_RESYNC;
    next.o.last_error = rfs_xstrdup(why->msg);
    if (job) {
        job_next = *job;
        rfs_job_end(job, &job_next, RFS_job_state_EXCEPTION, why);
        next.last_job_state = RFS_job_state_EXCEPTION;
        next.last_job_error = rfs_xstrdup(why->msg);
    }
    if (rfs_publish(svc, &(struct rfs_edit){.rel = rel, .rel_next = &next, .job = job, .job_next = &job_next},
                    &err)) {
        rfs_relationship_retry_later(svc, rel, &err, failed, why);
        return;
    }
    rel->waiting = false;
    rfs_relationship_log_state(svc, rel, why->msg);
    rfs_jobs_schedule(svc);
}

void rfs_relationship_on_failed(struct rfs_service *svc, struct rfs_relationship *rel, enum rfs_side side,
                                const struct rfs_error *why)
{
    struct rfs_error err = *why;

    rfs_error_wrap(&err, "%s elements/%s", side == RFS_SOURCE ? "source" : "target",
                   side == RFS_SOURCE ? rel->source->o.name : rel->target->o.name);
    failed(svc, rel, &err);
}

static void keep_loss(struct rfs_service *svc, const struct rfs_relationship *rel, const struct rfs_job *job)
{
    struct rfs_error err;

    rfs_catalogue_begin(svc->catalogue);
    rfs_record_put_relationship(svc, rel);
    if (job)
        rfs_record_put_job(svc, job);
    if (rfs_catalogue_commit(svc->catalogue, &err))
        rfs_log(svc->log, RFS_LOG_ERROR, "relationships/%s: %s", rel->o.name, err.msg);
}

/* Not durable, since after a restart the connection is tried anew; but where recovery is Manual the loss is, so that a
 * restart does not stand in for Resume. */
static void partition(struct rfs_service *svc, struct rfs_relationship *rel, const char *why)
{
    struct rfs_relationship next = *rel;
    struct rfs_job *job = rel->job && !rfs_job_finished(rel->job) ? rel->job : NULL, job_next;

    next.copy_state = RFS_copy_state_PARTITIONED;
    next.progress_status = RFS_progress_status_PENDING;
    next.o.last_error = rfs_xstrdup(why);
    if (job) {
        job_next = *job;
        job_next.lost = true;
        job_next.rate = 0;
    }
    rfs_publish_volatile(
        svc, &(struct rfs_edit){.rel = rel, .rel_next = &next, .job = job, .job_next = &job_next});
    if (rel->settings.copy_recovery_mode == RFS_copy_recovery_mode_MANUAL)
        keep_loss(svc, rel, job);
    rfs_relationship_log_state(svc, rel, why);
}

static const struct rfs_element *side_of(const struct rfs_relationship *rel, enum rfs_side side)
{
    return side == RFS_SOURCE ? rel->source : rel->target;
}

void rfs_relationship_on_lost(struct rfs_service *svc, struct rfs_relationship *rel, enum rfs_side side,
                              const struct rfs_error *why)
{
    struct rfs_error err = *why;

    rel->waiting = true;
    rel->waiting_for = side;
    if (side_of(rel, side)->state == RFS_element_state_CONNECTING)
        return; /* the first attempt of a start is not a loss; if it fails, the element's state tells */
    rfs_error_wrap(&err, "%s elements/%s", side == RFS_SOURCE ? "source" : "target",
                   side_of(rel, side)->o.name);
    partition(svc, rel, err.msg);
}

void rfs_relationships_of_element_changed(struct rfs_service *svc, struct rfs_element *el,
                                          const struct rfs_error *why)
{
    struct rfs_relationship *rel;

    if (el->state != RFS_element_state_OFFLINE && el->state != RFS_element_state_REFUSED)
        return;
    for (rel = el->as_source; rel; rel = rel->next_of_source)
        if (rel->waiting && rel->waiting_for == RFS_SOURCE &&
            rel->copy_state == RFS_copy_state_UNSYNCHRONIZED)
            partition(svc, rel, why ? why->msg : "the source is not Online");
    rel = el->as_target;
    if (rel && rel->waiting && rel->waiting_for == RFS_TARGET &&
        rel->copy_state == RFS_copy_state_UNSYNCHRONIZED)
        partition(svc, rel, why ? why->msg : "the target is not Online");
}

static void resume_automatic(struct rfs_service *svc, struct rfs_relationship *rel)
{
    struct rfs_relationship next = *rel;
    struct rfs_job *job = rel->job && !rfs_job_finished(rel->job) ? rel->job : NULL, job_next;

    next.copy_state = RFS_copy_state_UNSYNCHRONIZED;
    next.progress_status = RFS_progress_status_RESYNCING;
    next.o.last_error = NULL;
    if (job) {
        job_next = *job;
        job_next.lost = false;
    }
    rfs_publish_volatile(
        svc, &(struct rfs_edit){.rel = rel, .rel_next = &next, .job = job, .job_next = &job_next});
    rfs_relationship_log_state(svc, rel, "both LUNs are there again, the copy goes on");
    rfs_jobs_schedule(svc);
}

void rfs_relationship_suspended_by_loss(void *arg, enum rfs_rv rv, struct rfs_relationship *rel,
                                        struct rfs_job *job, const struct rfs_error *err)
{
    struct rfs_service *svc = arg;

    if (err)
        rfs_log(svc->log, RFS_LOG_ERROR, "suspending after a loss: %s", err->msg);
}

void rfs_relationship_on_resumed(struct rfs_service *svc, struct rfs_relationship *rel)
{
    bool was_partitioned = rel->copy_state == RFS_copy_state_PARTITIONED;

    rel->waiting = false;
    if (!was_partitioned)
        return;
    resume_automatic(svc, rel);
    if (rel->settings.copy_recovery_mode == RFS_copy_recovery_mode_MANUAL)
        rfs_relationship_operate(svc, rel, &(struct rfs_operate){.operation = RFS_operation_SUSPEND},
                                 rfs_relationship_suspended_by_loss, svc);
}

void rfs_relationship_on_mismatch(struct rfs_service *svc, struct rfs_relationship *rel, uint64_t offset,
                                  uint64_t length)
{
    struct rfs_relationship next = *rel;
    char message[200];

    snprintf(message, sizeof(message),
             "verification read back other bytes than were written at %llu, length %llu; the range is copied "
             "again",
             (unsigned long long)offset, (unsigned long long)length);
    next.mismatch_count++;
    next.o.last_error = rfs_xstrdup(message);
    rfs_publish_volatile(svc, &(struct rfs_edit){.rel = rel, .rel_next = &next});
    rfs_log(svc->log, RFS_LOG_WARNING, "relationships/%s: %s", rel->o.name, message);
    rfs_relationship_event(svc, rel, "Mismatch", message);
}

/* --- creation and restart --- */

static struct rfs_relationship *new_object(const struct rfs_relationship_spec *spec, uint64_t number)
{
    struct rfs_relationship *rel = rfs_xcalloc(1, sizeof(*rel));
    uint64_t now = rfs_now_ms();
    bool start = !spec->initial;

    rel->o = (struct rfs_object){.kind = RFS_KIND_RELATIONSHIP,
                                 .number = number,
                                 .name = rfs_xstrdup(spec->name),
                                 .created_ms = now,
                                 .changed_ms = now};
    rel->source = spec->source;
    rel->target = spec->target;
    rel->size = spec->source->info.size;
    rel->sync_type = spec->sync_type;
    rel->mode = spec->mode;
    rel->copy_type = spec->copy_type;
    rel->copy_state = start ? RFS_copy_state_UNSYNCHRONIZED : spec->initial;
    rel->requested_copy_state = start ? RFS_copy_state_SYNCHRONIZED : RFS_copy_state_NOT_APPLICABLE;
    rel->progress_status = start ? RFS_progress_status_SYNCHRONIZING : RFS_progress_status_DORMANT;
    rel->settings = spec->settings;
    rel->when_established = now;
    rel->when_activated = start ? now : 0;
    rel->map_generation = 1;
    return rel;
}

static int first_job(struct rfs_service *svc, struct rfs_relationship *rel, const char *method,
                     struct rfs_job **job, struct rfs_error *err)
{
    if (rel->copy_state != RFS_copy_state_UNSYNCHRONIZED)
        return 0;
    *job = rfs_job_new(svc, rel, method, 0, rel->size, err);
    rel->job = *job;
    rel->last_job_state = RFS_job_state_RUNNING;
    return *job ? 0 : -1;
}

struct rfs_relationship *rfs_relationship_create(struct rfs_service *svc,
                                                 const struct rfs_relationship_spec *spec,
                                                 struct rfs_error *err)
{
    struct rfs_relationship *rel;
    struct rfs_job *job = NULL;
    bool lost_map;
    uint64_t number;

    if (rfs_catalogue_number(svc->catalogue, RFS_CAT_RELATIONSHIP, &number, err))
        return NULL;
    rel = new_object(spec, number);
    if (rfs_link_map_create(svc, rel, true, err))
        goto fail;
    if (first_job(svc, rel, spec->method, &job, err) ||
        rfs_publish(svc, &(struct rfs_edit){.new_rel = rel, .new_job = job}, err))
        goto fail_map;
    if (rfs_link_attach(svc, rel, &lost_map, err)) {
        /* The map was written a moment ago and cannot be read: the relationship stands, Broken, with the
         * reason. */
        failed(svc, rel, err);
        return rel;
    }
    if (job)
        rfs_link_run(rel);
    rfs_jobs_schedule(svc);
    rfs_relationship_log_state(svc, rel, NULL);
    return rel;

fail_map:
    rfs_link_map_remove(svc, rel, rel->map_generation);
fail:
    rfs_free_job(job);
    rfs_free_relationship(rel);
    return NULL;
}
