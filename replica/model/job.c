/* SPDX-License-Identifier: Apache-2.0 */
#include "model/job.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MS      250
#define KEEP_SECONDS 300 /* TimeBeforeRemoval's default */

struct rfs_job *rfs_job_new(struct rfs_service *svc, struct rfs_relationship *rel, const char *method,
                            uint32_t operation, uint64_t total, struct rfs_error *err)
{
    struct rfs_job *job = rfs_xcalloc(1, sizeof(*job));
    char name[24];

    if (rfs_catalogue_number(svc->catalogue, RFS_CAT_JOB, &job->o.number, err)) {
        free(job);
        return NULL;
    }
    snprintf(name, sizeof(name), "%llu", (unsigned long long)job->o.number);
    job->o.kind = RFS_KIND_JOB;
    job->o.name = rfs_xstrdup(name);
    job->o.created_ms = job->o.changed_ms = job->start_ms = rfs_now_ms();
    job->job_state = RFS_job_state_RUNNING;
    job->operation = operation;
    job->method_name = rfs_xstrdup(method);
    job->relationship = rel;
    job->relationship_number = rel->o.number;
    job->relationship_name = rfs_xstrdup(rel->o.name);
    job->source_number = rel->source->o.number;
    job->source_name = rfs_xstrdup(rel->source->o.name);
    job->target_number = rel->target->o.number;
    job->target_name = rfs_xstrdup(rel->target->o.name);
    job->bytes_total = total;
    job->delete_on_completion = true;
    job->time_before_removal = KEEP_SECONDS;
    return job;
}

void rfs_job_end(const struct rfs_job *job, struct rfs_job *next, uint32_t job_state,
                 const struct rfs_error *why)
{
    struct rfs_job_progress p;

    rfs_job_progress(job, &p);
    next->job_state = job_state;
    next->bytes_done = next->high_water =
        job_state == RFS_job_state_COMPLETED ? job->bytes_total : p.bytes_done;
    next->end_ms = rfs_now_ms();
    next->lost = false;
    next->rate = 0;
    if (why) {
        next->error_code = why->rv;
        next->error_description = rfs_xstrdup(why->msg);
    }
}

static bool sample(struct rfs_service *svc, struct rfs_job *job)
{
    struct rfs_job_progress p;
    uint64_t now = rfs_mono_ms(), ms, rate;

    rfs_job_progress(job, &p);
    if (!job->rate_ms) {
        job->rate_ms = now;
        job->rate_bytes = p.bytes_done;
        return false;
    }
    ms = now - job->rate_ms;
    if (ms < TICK_MS / 2)
        return false;
    rate = (p.bytes_done - job->rate_bytes) * 1000 / ms;
    rfs_service_lock(svc);
    job->rate = job->rate ? (job->rate * 3 + rate) / 4 : rate;
    job->high_water = p.bytes_done;
    job->rate_bytes = p.bytes_done;
    job->rate_ms = now;
    rfs_service_unlock(svc);
    return true;
}

void rfs_jobs_tick(void *arg)
{
    struct rfs_service *svc = arg;
    struct rfs_job *job, *tmp;
    bool running = false;

    HASH_ITER (o.by_number, svc->jobs_by_number, job, tmp) {
        if (job->job_state != RFS_job_state_RUNNING)
            continue;
        running = true;
        if (!sample(svc, job) || !svc->observer.changed)
            continue;
        svc->observer.changed(svc->observer.arg, RFS_KIND_JOB, job->o.number, job->o.name, false);
        if (job->relationship)
            svc->observer.changed(svc->observer.arg, RFS_KIND_RELATIONSHIP, job->relationship->o.number,
                                  job->relationship->o.name, false);
    }
    if (running)
        rfs_timer_start(svc->tick, TICK_MS);
}

static bool reapable(const struct rfs_job *job)
{
    return rfs_job_finished(job) && job->delete_on_completion;
}

void rfs_jobs_reap(void *arg)
{
    struct rfs_service *svc = arg;
    struct rfs_job *job, *tmp;
    uint64_t now = rfs_now_ms();

    HASH_ITER (o.by_number, svc->jobs_by_number, job, tmp) {
        struct rfs_error err;

        if (reapable(job) && job->end_ms + job->time_before_removal * 1000 <= now &&
            rfs_job_delete(svc, job, &err))
            rfs_log(svc->log, RFS_LOG_WARNING, "jobs: a finished job could not be removed: %s", err.msg);
    }
    rfs_jobs_schedule(svc);
}

void rfs_jobs_schedule(struct rfs_service *svc)
{
    struct rfs_job *job, *tmp;
    uint64_t now = rfs_now_ms(), next = UINT64_MAX;
    bool running = false;

    if (svc->stopping)
        return;
    HASH_ITER (o.by_number, svc->jobs_by_number, job, tmp) {
        uint64_t due = job->end_ms + job->time_before_removal * 1000;

        running |= job->job_state == RFS_job_state_RUNNING;
        if (reapable(job) && due < next)
            next = due;
    }
    if (running && !rfs_timer_active(svc->tick))
        rfs_timer_start(svc->tick, TICK_MS);
    if (next != UINT64_MAX)
        rfs_timer_start(svc->reaper, next > now ? next - now + 1 : 1000);
}

int rfs_job_delete(struct rfs_service *svc, struct rfs_job *job, struct rfs_error *err)
{
    rfs_catalogue_begin(svc->catalogue);
    rfs_catalogue_delete(svc->catalogue, RFS_CAT_JOB, job->o.number);
    if (rfs_catalogue_commit(svc->catalogue, err))
        return -1;
    rfs_drop_job(svc, job);
    return 0;
}
