/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "model/property.h"

#define JOB(object)  ((const struct rfs_job *)(object))
#define RENDER(name) static void name(struct rfs_service *svc, const void *object, struct rfs_text *out)
#define RENDER_NUMBER(name, expression)                                                                      \
    RENDER(name)                                                                                             \
    {                                                                                                        \
        const struct rfs_job *job = JOB(object);                                                             \
        struct rfs_job_progress p;                                                                           \
        rfs_job_progress(job, &p);                                                                           \
        rfs_text_printf(out, "%llu", (unsigned long long)(expression));                                      \
    }
#define RENDER_STRING(name, expression)                                                                      \
    RENDER(name)                                                                                             \
    {                                                                                                        \
        const struct rfs_job *job = JOB(object);                                                             \
        const char *text = (expression);                                                                     \
        if (text)                                                                                            \
            rfs_text_puts(out, text);                                                                        \
    }

static const char *operation_name(const struct rfs_job *job)
{
    return job->operation ? rfs_value_name(&rfs_map_operation, (int)job->operation) : "AttachReplica";
}

static const char *phase_name(const struct rfs_job *job)
{
    static const char *const names[] = {"Starting", "Waiting", "Copying", "Flushing", "Stopping"};
    uint32_t phase;

    if (rfs_job_finished(job))
        return "Ended";
    if (job->job_state == RFS_job_state_SUSPENDED)
        return "Suspended";
    if (!job->relationship || !job->relationship->pair)
        return "Waiting";
    phase = atomic_load(&rfs_pair_stats(job->relationship->pair)->phase);
    return phase < sizeof(names) / sizeof(names[0]) ? names[phase] : "Copying";
}

RENDER_STRING(job_state, rfs_value_name(&rfs_map_job_state, (int)job->job_state))
RENDER_STRING(method_name, job->method_name)
RENDER_STRING(operation, operation_name(job))
RENDER_STRING(phase, phase_name(job))
RENDER_STRING(error_description, job->error_description)
RENDER_NUMBER(percent_complete, p.percent)
RENDER_NUMBER(bytes_done, p.bytes_done)
RENDER_NUMBER(bytes_total, p.bytes_total)
RENDER_NUMBER(bytes_per_second, p.bytes_per_second)
RENDER_NUMBER(error_code, job->error_code)
RENDER_NUMBER(delete_on_completion, job->delete_on_completion)
RENDER_NUMBER(time_before_removal, job->time_before_removal)

RENDER(instance_id)
{
    rfs_text_printf(out, "replicafs:%s", JOB(object)->o.name);
}

/* Finished well is {Completed, OK}, badly {Completed, Error} (reference, section 2.8). */
RENDER(operational_status)
{
    const struct rfs_job *job = JOB(object);

    if (rfs_job_finished(job))
        rfs_text_printf(out, "Completed %s", job->job_state == RFS_job_state_COMPLETED ? "OK" : "Error");
    else if (job->lost)
        rfs_text_puts(out, "LostCommunication");
    else
        rfs_text_puts(out, job->job_state == RFS_job_state_SUSPENDED ? "Dormant" : "OK");
}

RENDER(eta)
{
    struct rfs_job_progress p;

    rfs_job_progress(JOB(object), &p);
    if (rfs_job_finished(JOB(object)))
        rfs_text_puts(out, "0");
    else if (p.eta != UINT64_MAX)
        rfs_text_printf(out, "%llu", (unsigned long long)p.eta);
}

RENDER(elapsed_time)
{
    struct rfs_job_progress p;

    rfs_job_progress(JOB(object), &p);
    rfs_text_printf(out, "%.3f", (double)p.elapsed_ms / 1000.0);
}

RENDER(start_time)
{
    rfs_text_time(out, JOB(object)->start_ms);
}

RENDER(end_time)
{
    rfs_text_time(out, JOB(object)->end_ms);
}

static void bar(unsigned percent, struct rfs_text *out)
{
    unsigned filled = percent * 20 / 100;

    rfs_text_puts(out, "[");
    for (unsigned i = 0; i < 20; i++)
        rfs_text_puts(out, i < filled ? "=" : i == filled && percent < 100 ? ">" : ".");
    rfs_text_puts(out, "]");
}

RENDER(progress)
{
    const struct rfs_job *job = JOB(object);
    struct rfs_job_progress p;

    rfs_job_progress(job, &p);
    bar(p.percent, out);
    rfs_text_printf(out, " %3u%% %llu/%llu MiB", p.percent, (unsigned long long)(p.bytes_done >> 20),
                    (unsigned long long)(p.bytes_total >> 20));
    if (rfs_job_finished(job) || job->job_state == RFS_job_state_SUSPENDED) {
        rfs_text_printf(out, " %s", rfs_value_name(&rfs_map_job_state, (int)job->job_state));
        return;
    }
    rfs_text_printf(out, " %llu MiB/s", (unsigned long long)(p.bytes_per_second >> 20));
    if (p.eta != UINT64_MAX)
        rfs_text_printf(out, " eta %llu:%02llu", (unsigned long long)(p.eta / 60),
                        (unsigned long long)(p.eta % 60));
    rfs_text_printf(out, " %s", job->lost ? "waiting for a LUN" : phase_name(job));
}

static const struct rfs_property rows[] = {
    {"job_state", 0444, RFS_PROP_POLL,
     "JobState: Running, Suspended, Completed, Terminated, Killed, Exception …", job_state},
    {"percent_complete", 0444, RFS_PROP_POLL | RFS_PROP_JSON_NUMBER, "PercentComplete, 0 to 100",
     percent_complete},
    {"method_name", 0444, 0, "MethodName: the method that started it", method_name},
    {"operation", 0444, 0, "the operation that it carries out", operation},
    {"phase", 0444, 0, "Waiting, Copying, Flushing, Stopping, Suspended, Ended", phase},
    {"bytes_done", 0444, RFS_PROP_JSON_NUMBER, "bytes that are on the target for good", bytes_done},
    {"bytes_total", 0444, RFS_PROP_JSON_NUMBER, "bytes that there were to do", bytes_total},
    {"bytes_per_second", 0444, RFS_PROP_JSON_NUMBER, "present rate", bytes_per_second},
    {"eta", 0444, 0, "seconds left at this rate; empty while not known", eta},
    {"elapsed_time", 0444, 0, "ElapsedTime, seconds", elapsed_time},
    {"start_time", 0444, 0, "StartTime", start_time},
    {"end_time", 0444, 0, "when it ended", end_time},
    {"error_code", 0444, RFS_PROP_JSON_NUMBER, "ErrorCode: a method's return value; 0 = none", error_code},
    {"error_description", 0444, 0, "ErrorDescription", error_description},
    {"operational_status", 0444, 0, "OperationalStatus", operational_status},
    {"instance_id", 0444, 0, "InstanceID", instance_id},
    {"delete_on_completion", 0644, RFS_PROP_JSON_NUMBER,
     "DeleteOnCompletion: 1: goes by itself time_before_removal after its end", delete_on_completion},
    {"time_before_removal", 0644, RFS_PROP_JSON_NUMBER, "TimeBeforeRemoval, seconds", time_before_removal},
    {"progress", 0444, RFS_PROP_POLL, "one line: bar, rate, ETA", progress},
};

const struct rfs_property_table rfs_job_properties = {rows, sizeof(rows) / sizeof(rows[0])};
