/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "methods/handlers.h"
#include "model/job.h"

static const struct {
    uint32_t requested, operation;
} changes[] = {
    {RFS_requested_state_START, RFS_operation_RESUME},
    {RFS_requested_state_SUSPEND, RFS_operation_SUSPEND},
    {RFS_requested_state_TERMINATE, RFS_operation_ABORT},
    {RFS_requested_state_KILL, RFS_OPERATION_KILL},
};

static struct rfs_job *find_job(struct rfs_call *call)
{
    struct rfs_job *job = rfs_job_by_number(call->svc, call->object);
    struct rfs_error err;

    if (!job) {
        rfs_fail(&err, RFS_RV_NOT_FOUND, "jobs/%llu is gone", (unsigned long long)call->object);
        rfs_call_finish(call, err.rv, &err);
    }
    return job;
}

static void operated(void *arg, enum rfs_rv rv, struct rfs_relationship *rel, struct rfs_job *job,
                     const struct rfs_error *err)
{
    struct rfs_call *call = arg;
    struct rfs_error changed;

    if (!err) {
        rfs_call_finish(call, RFS_RV_OK, NULL);
        return;
    }
    changed = *err;
    if (err->rv == RFS_RV_INVALID_STATE || err->rv == RFS_RV_NOT_SUPPORTED)
        rfs_fail(&changed, RFS_RV_INVALID_TRANSITION, "%s", err->msg);
    rfs_call_finish(call, changed.rv, &changed);
}

static uint32_t operation_for(uint64_t requested)
{
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        if (changes[i].requested == requested)
            return changes[i].operation;
    return 0;
}

static int check_request(const struct rfs_job *job, const struct rfs_request *req, uint32_t operation,
                         struct rfs_error *err)
{
    if (rfs_request_number(req, "timeout_period", 0))
        return rfs_fail(err, RFS_RV_TIMEOUT_UNSUPPORTED,
                        "jobs/%s: timeout_period is not supported; leave it out", job->o.name);
    if (!operation)
        return rfs_fail(err, RFS_RV_INVALID_TRANSITION,
                        "jobs/%s: a job of this service has no service state; ask for "
                        "Start, Suspend, Terminate or Kill",
                        job->o.name);
    if (rfs_job_finished(job) || !job->relationship || job->relationship->job != job)
        return rfs_fail(err, RFS_RV_INVALID_TRANSITION, "jobs/%s has ended as %s", job->o.name,
                        rfs_value_name(&rfs_map_job_state, (int)job->job_state));
    return 0;
}

void rfs_job_request_state(struct rfs_call *call)
{
    struct rfs_job *job = find_job(call);
    uint32_t operation = operation_for(rfs_request_number(&call->request, "requested_state", 0));
    struct rfs_error err;

    if (!job)
        return;
    if (check_request(job, &call->request, operation, &err)) {
        rfs_set_refusal(call->svc, &job->o, err.msg);
        rfs_call_finish(call, err.rv, &err);
        return;
    }
    if (operation == RFS_operation_RESUME && job->job_state == RFS_job_state_RUNNING) {
        rfs_call_finish(call, RFS_RV_OK, NULL); /* so already */
        return;
    }
    rfs_relationship_operate(
        call->svc, job->relationship,
        &(struct rfs_operate){.operation = operation, .force = true, .method = "RequestStateChange"},
        operated, call);
}

void rfs_job_wait(struct rfs_call *call)
{
    struct rfs_job *job = find_job(call);

    if (job)
        rfs_wait(call, &job->o, rfs_verdict_job, (uint32_t)rfs_request_number(&call->request, "state", 0),
                 rfs_request_number(&call->request, "timeout", RFS_WAIT_FOREVER), RFS_RV_OK);
}

static int parse_write(const struct rfs_call *call, struct rfs_job *next, struct rfs_error *err)
{
    uint64_t ms = 300000;

    if (!strcmp(call->attribute, "delete_on_completion")) {
        next->delete_on_completion = true;
        if (*call->value && rfs_parse_bool(call->value, &next->delete_on_completion))
            return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                            "jobs/%s: delete_on_completion takes 0 or 1, not '%.40s'", next->o.name,
                            call->value);
        return 0;
    }
    if (*call->value && rfs_parse_interval(call->value, &ms))
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "jobs/%s: time_before_removal takes seconds, not '%.40s'", next->o.name, call->value);
    next->time_before_removal = ms / 1000;
    return 0;
}

void rfs_job_write(struct rfs_call *call)
{
    struct rfs_job *job = find_job(call), next;
    struct rfs_error err;

    if (!job)
        return;
    next = *job;
    if (parse_write(call, &next, &err) ||
        rfs_publish(call->svc, &(struct rfs_edit){.job = job, .job_next = &next}, &err)) {
        rfs_call_finish(call, err.rv, &err);
        return;
    }
    rfs_jobs_schedule(call->svc);
    rfs_call_finish(call, RFS_RV_OK, NULL);
}

void rfs_job_remove(struct rfs_call *call)
{
    struct rfs_job *job = find_job(call);
    struct rfs_error err;

    if (!job)
        return;
    if (!rfs_job_finished(job)) {
        rfs_fail(&err, RFS_RV_IN_USE, "jobs/%s is %s; only a finished job can be removed", job->o.name,
                 rfs_value_name(&rfs_map_job_state, (int)job->job_state));
        rfs_call_finish(call, err.rv, &err);
        return;
    }
    if (rfs_job_delete(call->svc, job, &err))
        rfs_call_finish(call, err.rv, &err);
    else
        rfs_call_finish(call, RFS_RV_OK, NULL);
}
