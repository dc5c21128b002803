/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <errno.h>
#include <string.h>

void rfs_service_lock(struct rfs_service *svc)
{
    pthread_mutex_lock(&svc->lock);
}

void rfs_service_unlock(struct rfs_service *svc)
{
    pthread_mutex_unlock(&svc->lock);
}

struct rfs_element *rfs_element_by_name(struct rfs_service *svc, const char *name)
{
    struct rfs_element *el = NULL;

    HASH_FIND(o.by_name, svc->elements_by_name, name, strlen(name), el);
    return el;
}

struct rfs_element *rfs_element_by_number(struct rfs_service *svc, uint64_t number)
{
    struct rfs_element *el = NULL;

    HASH_FIND(o.by_number, svc->elements_by_number, &number, sizeof(number), el);
    return el;
}

struct rfs_relationship *rfs_relationship_by_name(struct rfs_service *svc, const char *name)
{
    struct rfs_relationship *rel = NULL;

    HASH_FIND(o.by_name, svc->relationships_by_name, name, strlen(name), rel);
    return rel;
}

struct rfs_relationship *rfs_relationship_by_number(struct rfs_service *svc, uint64_t number)
{
    struct rfs_relationship *rel = NULL;

    HASH_FIND(o.by_number, svc->relationships_by_number, &number, sizeof(number), rel);
    return rel;
}

struct rfs_job *rfs_job_by_number(struct rfs_service *svc, uint64_t number)
{
    struct rfs_job *job = NULL;

    HASH_FIND(o.by_number, svc->jobs_by_number, &number, sizeof(number), job);
    return job;
}

bool rfs_job_finished(const struct rfs_job *job)
{
    return job->job_state == RFS_job_state_COMPLETED || job->job_state == RFS_job_state_TERMINATED ||
           job->job_state == RFS_job_state_KILLED || job->job_state == RFS_job_state_EXCEPTION;
}

/* While a job lives its relationship's map says how far it is; `unsaved` and not `dirty`, because what a kill
 * could undo must not be shown. */
static uint64_t bytes_done(const struct rfs_job *job)
{
    uint64_t left;

    if (rfs_job_finished(job) || !job->relationship || !job->relationship->map ||
        job->relationship->job != job)
        return job->bytes_done;
    left = rfs_pmap_unsaved_bytes(job->relationship->map);
    return left < job->bytes_total ? job->bytes_total - left : 0;
}

static unsigned percent(uint64_t done, uint64_t total, bool completed)
{
    if (completed || !total)
        return completed ? 100 : 0;
    unsigned p = (unsigned)((double)done * 100.0 / (double)total);

    return p > 99 ? 99 : p; /* 100 is said when the last flush is through */
}

void rfs_job_progress(const struct rfs_job *job, struct rfs_job_progress *out)
{
    uint64_t end = rfs_job_finished(job) ? job->end_ms : rfs_now_ms();

    out->bytes_total = job->bytes_total;
    out->bytes_done = bytes_done(job);
    if (out->bytes_done < job->high_water)
        out->bytes_done = job->high_water;
    out->percent = percent(out->bytes_done, out->bytes_total, job->job_state == RFS_job_state_COMPLETED);
    out->bytes_per_second = rfs_job_finished(job) ? 0 : job->rate;
    out->elapsed_ms = job->start_ms && end > job->start_ms ? end - job->start_ms : 0;
    out->eta = UINT64_MAX;
    if (out->bytes_per_second && out->bytes_total >= out->bytes_done)
        out->eta = (out->bytes_total - out->bytes_done) / out->bytes_per_second;
}

static bool name_byte(unsigned char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           (!first && (c == '.' || c == '-'));
}

int rfs_name_check(const char *what, const char *name, struct rfs_error *err)
{
    size_t len = strlen(name);

    if (len > 200)
        return rfs_fail_errno(err, RFS_RV_INVALID_PARAMETER, ENAMETOOLONG,
                              "%s name of %zu bytes is too long; at most 200 are allowed", what, len);
    for (size_t i = 0; i < len; i++)
        if (!name_byte((unsigned char)name[i], i == 0))
            return rfs_fail(
                err, RFS_RV_INVALID_PARAMETER,
                "%s name has the byte 0x%02x at position %zu; names are made of A-Z a-z 0-9 _ . - and "
                "begin with a letter, a digit or _",
                what, (unsigned char)name[i], i + 1);
    if (!len)
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER, "%s name is empty; give one", what);
    return 0;
}
