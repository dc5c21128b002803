/* SPDX-License-Identifier: Apache-2.0 */
#include "model/property.h"

#define SERVICE(object) ((const struct rfs_service *)(object))
#define RENDER(name_)   static void name_(struct rfs_service *svc, const void *object, struct rfs_text *out)

RENDER(name)
{
    rfs_text_puts(out, "replicafs");
}

RENDER(uptime)
{
    rfs_text_printf(out, "%llu", (unsigned long long)((rfs_now_ms() - SERVICE(object)->started_ms) / 1000));
}

RENDER(initiator_name)
{
    rfs_text_puts(out, SERVICE(object)->initiator);
}

RENDER(state_dir)
{
    rfs_text_puts(out, SERVICE(object)->state_dir);
}

RENDER(generation)
{
    rfs_text_printf(out, "%llu", (unsigned long long)SERVICE(object)->generation);
}

RENDER(statistics)
{
    const struct rfs_service *s = SERVICE(object);
    const struct rfs_job *job;
    unsigned running = 0;

    for (job = s->jobs_by_number; job; job = job->o.by_number.next)
        running += job->job_state == RFS_job_state_RUNNING;
    rfs_text_printf(out, "elements=%u\nrelationships=%u\njobs=%u\njobs_running=%u\nworkers=%u\n",
                    HASH_CNT(o.by_number, s->elements_by_number),
                    HASH_CNT(o.by_number, s->relationships_by_number),
                    HASH_CNT(o.by_number, s->jobs_by_number), running, s->worker_count);
}

static const struct rfs_property rows[] = {
    {"name", 0444, 0, "Name of the replication service", name},
    {"uptime", 0444, RFS_PROP_JSON_NUMBER, "seconds since the daemon's start", uptime},
    {"initiator_name", 0444, 0, "iSCSI initiator name, for the targets' access lists", initiator_name},
    {"state_dir", 0444, 0, "the state folder", state_dir},
    {"generation", 0444, RFS_PROP_JSON_NUMBER, "grows with every change of anything", generation},
    {"statistics", 0444, RFS_PROP_TABLE, "how many of what", statistics},
};

const struct rfs_property_table rfs_service_properties = {rows, sizeof(rows) / sizeof(rows[0])};
