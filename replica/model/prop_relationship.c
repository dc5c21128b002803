/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "model/property.h"

#define REL(object)  ((const struct rfs_relationship *)(object))
#define RENDER(name) static void name(struct rfs_service *svc, const void *object, struct rfs_text *out)
#define RENDER_NUMBER(name, expression)                                                                      \
    RENDER(name)                                                                                             \
    {                                                                                                        \
        const struct rfs_relationship *rel = REL(object);                                                    \
        rfs_text_printf(out, "%llu", (unsigned long long)(expression));                                      \
    }
#define RENDER_VALUE(name, map)                                                                              \
    RENDER(name)                                                                                             \
    {                                                                                                        \
        rfs_text_puts(out, rfs_value_name(&rfs_map_##map, (int)REL(object)->name));                          \
    }
#define RENDER_TIME(name)                                                                                    \
    RENDER(name)                                                                                             \
    {                                                                                                        \
        rfs_text_time(out, REL(object)->name);                                                               \
    }

static uint64_t pending(const struct rfs_relationship *rel)
{
    return rel->map ? rfs_pmap_unsaved_bytes(rel->map) : 0;
}

/* Work towards Synchronized; 100 only when the target has it all, flushed. */
static unsigned percent(const struct rfs_relationship *rel)
{
    uint64_t left = pending(rel), done;

    if (!rel->size || !rel->map)
        return 0;
    done = left < rel->size ? rel->size - left : 0;
    if (!rel->target_consistent && left == 0)
        return 99;
    return (unsigned)((double)done * 100.0 / (double)rel->size);
}

RENDER(type)
{
    rfs_text_puts(out, "StorageSynchronized");
}

RENDER_VALUE(sync_type, sync_type)
RENDER_VALUE(mode, mode)
RENDER_VALUE(copy_type, copy_type)
RENDER_VALUE(copy_state, copy_state)
RENDER_VALUE(requested_copy_state, copy_state)
RENDER_VALUE(progress_status, progress_status)
RENDER_TIME(when_established)
RENDER_TIME(when_activated)
RENDER_TIME(when_deactivated)
RENDER_TIME(when_suspended)
RENDER_TIME(when_synced)
RENDER_TIME(when_synchronized)
RENDER_NUMBER(generation, rel->o.generation)
RENDER_NUMBER(target_consistent, rel->target_consistent)
RENDER_NUMBER(percent_synced, percent(rel))
RENDER_NUMBER(size, rel->size)
RENDER_NUMBER(pending_bytes, pending(rel))
RENDER_NUMBER(in_flight_bytes, rel->pair ? atomic_load(&rfs_pair_stats(rel->pair)->in_flight_bytes) : 0)
RENDER_NUMBER(mismatch_count, rel->mismatch_count)
RENDER_NUMBER(sync_maintained,
              rel->sync_type == RFS_sync_type_MIRROR && rel->copy_state == RFS_copy_state_SYNCHRONIZED)

/* Two LUNs behind one portal are local to each other (reference, section 6). */
static size_t portal(const char *url)
{
    const char *end = url ? strstr(url, "://") : NULL;

    return end ? strcspn(end + 3, "/") + (size_t)(end + 3 - url) : 0;
}

static bool local(const struct rfs_relationship *rel)
{
    const char *a = rel->source->url, *b = rel->target->url;

    return !a || !b || (portal(a) == portal(b) && !strncmp(a, b, portal(a)));
}

RENDER(locality)
{
    rfs_text_puts(out, local(REL(object)) ? "LocalOnly" : "RemoteOnly");
}

RENDER(replica_type)
{
    rfs_text_puts(out, rfs_value_name(&rfs_map_replica_type, RFS_replica_type_FULL_COPY));
}

/* A refused request stands here until one is not refused; what is wrong with the object itself shows through else. */
RENDER(last_error)
{
    const struct rfs_object *o = &REL(object)->o;
    const char *text = o->last_refusal ? o->last_refusal : o->last_error;

    if (text)
        rfs_text_puts(out, text);
}

RENDER(last_job_state)
{
    if (REL(object)->last_job_state)
        rfs_text_puts(out, rfs_value_name(&rfs_map_job_state, (int)REL(object)->last_job_state));
}

RENDER(last_job_error)
{
    if (REL(object)->last_job_error)
        rfs_text_puts(out, REL(object)->last_job_error);
}

RENDER(statistics)
{
    const struct rfs_relationship *rel = REL(object);
    const struct rfs_pair_stats *s = rel->pair ? rfs_pair_stats(rel->pair) : NULL;
#define COUNTER(name)                                                                                        \
    rfs_text_printf(out, #name "=%llu\n", s ? (unsigned long long)atomic_load(&s->name) : 0ull)
    COUNTER(bytes_read);
    COUNTER(bytes_written);
    COUNTER(bytes_zeroed);
    COUNTER(bytes_verified);
    COUNTER(bytes_skipped);
    COUNTER(mismatches);
    COUNTER(retries);
    COUNTER(errors);
#undef COUNTER
}

static const struct rfs_property rows[] = {
    {"type", 0444, 0, "StorageSynchronized", type},
    {"sync_type", 0444, 0, "SyncType: Mirror or Clone", sync_type},
    {"mode", 0444, 0, "Mode: Synchronous or Asynchronous", mode},
    {"copy_type", 0444, 0, "CopyType that AttachReplica was given", copy_type},
    {"locality", 0444, 0, "LocalOnly: both LUNs behind one portal; RemoteOnly otherwise", locality},
    {"replica_type", 0444, 0, "ReplicaType: FullCopy", replica_type},
    {"copy_state", 0444, RFS_PROP_POLL, "CopyState: where the relationship is", copy_state},
    {"requested_copy_state", 0444, RFS_PROP_POLL,
     "RequestedCopyState: where it is going; NotApplicable when it is there", requested_copy_state},
    {"progress_status", 0444, RFS_PROP_POLL,
     "ProgressStatus: what is being done, or has to be asked for next", progress_status},
    {"percent_synced", 0444, RFS_PROP_POLL | RFS_PROP_JSON_NUMBER, "PercentSynced, 0 to 100", percent_synced},
    {"target_consistent", 0444, RFS_PROP_POLL | RFS_PROP_JSON_NUMBER,
     "1: the target alone is a usable copy; durable", target_consistent},
    {"sync_maintained", 0444, RFS_PROP_JSON_NUMBER, "SyncMaintained", sync_maintained},
    {"size", 0444, RFS_PROP_JSON_NUMBER, "bytes that are replicated", size},
    {"pending_bytes", 0444, RFS_PROP_POLL | RFS_PROP_JSON_NUMBER,
     "bytes of the target that are not yet what they have to be", pending_bytes},
    {"in_flight_bytes", 0444, RFS_PROP_JSON_NUMBER, "bytes being copied at this moment", in_flight_bytes},
    {"mismatch_count", 0444, RFS_PROP_JSON_NUMBER,
     "read-backs that differed from what was written, since the daemon's start or the last durable change",
     mismatch_count},
    {"when_established", 0444, 0, "WhenEstablished", when_established},
    {"when_activated", 0444, 0, "WhenActivated: for a clone the point in time", when_activated},
    {"when_deactivated", 0444, 0, "WhenDeactivated", when_deactivated},
    {"when_suspended", 0444, 0, "WhenSuspended", when_suspended},
    {"when_synced", 0444, 0, "WhenSynced: the instant at which both were equal", when_synced},
    {"when_synchronized", 0444, 0, "WhenSynchronized: when CopyState last became Synchronized",
     when_synchronized},
    {"last_job_state", 0444, RFS_PROP_POLL, "JobState of the latest job, also when it is gone",
     last_job_state},
    {"last_job_error", 0444, 0, "its error, if it had one", last_job_error},
    {"last_error", 0444, RFS_PROP_POLL,
     "what is wrong now, or why the last request was refused; empty when all is well", last_error},
    {"generation", 0444, RFS_PROP_JSON_NUMBER, "grows with every change, progress apart", generation},
    {"statistics", 0444, RFS_PROP_TABLE, "counters of the copy since the daemon's start", statistics},
};

const struct rfs_property_table rfs_relationship_properties = {rows, sizeof(rows) / sizeof(rows[0])};
