/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "methods/handlers.h"
#include "model/setting.h"

static void fail_call(struct rfs_call *call, const struct rfs_error *err)
{
    rfs_call_finish(call, err->rv, err);
}

void rfs_legal_operations(const struct rfs_relationship *rel, struct rfs_text *out)
{
    rfs_text_puts(out, "");
    for (size_t i = 0; i < rfs_map_operation.count; i++) {
        uint32_t op = (uint32_t)rfs_map_operation.values[i].number;
        struct rfs_cell cell = rfs_state_cell(rel->sync_type, rel->copy_state, op);

        if (cell.legal && op != RFS_operation_UNPREPARE && rfs_state_available(rel->sync_type, op))
            rfs_text_printf(out, "%s%s\n", rfs_map_operation.values[i].name, cell.force ? " force=1" : "");
    }
}

static bool wants_wait(const struct rfs_request *req)
{
    const struct rfs_token *t = rfs_request_get(req, "wait_for_copy_state");

    return t && t->number != RFS_copy_state_NOT_APPLICABLE;
}

void rfs_finish_operated(struct rfs_call *call, enum rfs_rv rv, struct rfs_relationship *rel,
                         struct rfs_job *job)
{
    uint32_t wanted = (uint32_t)rfs_request_number(&call->request, "wait_for_copy_state", 0);

    if (job)
        rfs_text_printf(&call->reply, "job=jobs/%s\n", job->o.name);
    if (rel)
        rfs_text_printf(&call->reply, "synchronization=relationships/%s\n", rel->o.name);
    if (!rel || !wants_wait(&call->request)) {
        rfs_call_finish(call, rv, NULL);
        return;
    }
    /* Having waited for the end of the work, the call has completed with no job left to follow. */
    rfs_wait(call, &rel->o, rfs_verdict_relationship, wanted,
             rfs_request_number(&call->request, "timeout", RFS_WAIT_FOREVER),
             wanted == RFS_copy_state_SYNCHRONIZED ? RFS_RV_OK : rv);
}

static void operated(void *arg, enum rfs_rv rv, struct rfs_relationship *rel, struct rfs_job *job,
                     const struct rfs_error *err)
{
    struct rfs_call *call = arg;

    if (err) {
        if (rel)
            rfs_set_refusal(call->svc, &rel->o, err->msg);
        fail_call(call, err);
        return;
    }
    if (rel)
        rfs_set_refusal(call->svc, &rel->o, NULL);
    rfs_finish_operated(call, rv, rel, job);
}

/* A state that the operation does not lead to would be waited for in vain. */
static int check_wait(const struct rfs_relationship *rel, const struct rfs_cell *cell,
                      const struct rfs_request *req, struct rfs_error *err)
{
    uint32_t wanted = (uint32_t)rfs_request_number(req, "wait_for_copy_state", RFS_copy_state_NOT_APPLICABLE);

    if (wanted == RFS_copy_state_NOT_APPLICABLE || wanted == cell->final || wanted == cell->via)
        return 0;
    if (cell->same && rel->copy_state == RFS_copy_state_UNSYNCHRONIZED &&
        wanted == RFS_copy_state_SYNCHRONIZED)
        return 0;
    return rfs_fail(
        err, RFS_RV_INVALID_PARAMETER,
        "relationships/%s: wait_for_copy_state=%s is not a state that this operation leads to%s%s",
        rel->o.name, rfs_value_name(&rfs_map_copy_state, (int)wanted), cell->gone ? "" : "; it leads to ",
        cell->gone ? "" : rfs_value_name(&rfs_map_copy_state, (int)cell->final));
}

/* Settings of a modifying request are for this call only; none of the operations that are there takes any
 * that is not a setting of the relationship, so they are refused where they would be lost. */
static int check_settings(const struct rfs_relationship *rel, const struct rfs_request *req,
                          struct rfs_error *err)
{
    struct rfs_settings copy = rel->settings;

    if (rfs_settings_apply(&copy, req, false, err))
        return -1;
    if (memcmp(&copy, &rel->settings, sizeof(copy)))
        return rfs_fail(
            err, RFS_RV_NOT_SUPPORTED,
            "relationships/%s: settings for one call only are not available in this version; write "
            "relationships/%s/settings/NAME",
            rel->o.name, rel->o.name);
    return 0;
}

static int check_modify(const struct rfs_relationship *rel, uint32_t operation, const struct rfs_request *req,
                        struct rfs_error *err)
{
    struct rfs_cell cell;

    if (rfs_check_generation(&rel->o, "relationships", req, err) || check_settings(rel, req, err))
        return -1;
    if (rel->busy)
        return 0; /* refused, with its reason, by the operation itself */
    return rfs_relationship_check(rel, operation, rfs_request_number(req, "force", 0), &cell, err) ||
                   check_wait(rel, &cell, req, err)
               ? -1
               : 0;
}

static void modify(struct rfs_call *call, struct rfs_relationship *rel)
{
    uint32_t operation = (uint32_t)rfs_request_number(&call->request, "operation", 0);
    struct rfs_operate what = {.operation = operation,
                               .method = "ModifyReplicaSynchronization",
                               .force = rfs_request_number(&call->request, "force", 0)};
    struct rfs_error err;

    if (check_modify(rel, operation, &call->request, &err))
        operated(call, err.rv, rel, NULL, &err);
    else
        rfs_relationship_operate(call->svc, rel, &what, operated, call);
}

static void no_relationship(struct rfs_call *call, const char *name)
{
    struct rfs_error err;

    rfs_fail(&err, RFS_RV_NOT_FOUND, "there is no relationships/%s; ls relationships/ lists them", name);
    fail_call(call, &err);
}

void rfs_modify_replica_synchronization(struct rfs_call *call)
{
    const char *name = rfs_request_string(&call->request, "synchronization", "");
    struct rfs_relationship *rel = rfs_relationship_by_name(call->svc, name);

    if (rel)
        modify(call, rel);
    else
        no_relationship(call, name);
}

void rfs_relationship_operation(struct rfs_call *call)
{
    struct rfs_relationship *rel = rfs_relationship_by_number(call->svc, call->object);

    if (rel)
        modify(call, rel);
    else
        no_relationship(call, "(removed)");
}

/* States that something in this version leads to; any other would be waited for in vain. */
static bool ever_reached(uint32_t state)
{
    static const uint32_t states[] = {RFS_copy_state_INITIALIZED,  RFS_copy_state_UNSYNCHRONIZED,
                                      RFS_copy_state_SYNCHRONIZED, RFS_copy_state_BROKEN,
                                      RFS_copy_state_INACTIVE,     RFS_copy_state_SUSPENDED,
                                      RFS_copy_state_PREPARED,     RFS_copy_state_ABORTED,
                                      RFS_copy_state_PARTITIONED,  RFS_copy_state_INVALID};

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (states[i] == state)
            return true;
    return false;
}

void rfs_relationship_wait(struct rfs_call *call)
{
    struct rfs_relationship *rel = rfs_relationship_by_number(call->svc, call->object);
    uint32_t wanted = (uint32_t)rfs_request_number(&call->request, "state", 0);
    struct rfs_error err;

    if (!rel) {
        no_relationship(call, "(removed)");
    } else if (!ever_reached(wanted)) {
        rfs_fail(&err, RFS_RV_INVALID_PARAMETER,
                 "relationships/%s never becomes %s in this version; wait for a state that it can reach, for "
                 "example Synchronized",
                 rel->o.name, rfs_value_name(&rfs_map_copy_state, (int)wanted));
        fail_call(call, &err);
    } else
        rfs_wait(call, &rel->o, rfs_verdict_relationship,
                 (uint32_t)rfs_request_number(&call->request, "state", 0),
                 rfs_request_number(&call->request, "timeout", RFS_WAIT_FOREVER), RFS_RV_OK);
}

static void set_failed(struct rfs_call *call, struct rfs_relationship *rel, const struct rfs_error *err)
{
    rfs_set_refusal(call->svc, &rel->o, err->msg);
    fail_call(call, err);
}

void rfs_relationship_write(struct rfs_call *call)
{
    struct rfs_relationship *rel = rfs_relationship_by_number(call->svc, call->object), next;
    struct rfs_error err;

    if (!rel) {
        no_relationship(call, "(removed)");
        return;
    }
    next = *rel;
    if (rfs_settings_set(&next.settings, call->attribute, call->value, false, &err)) {
        rfs_error_wrap(&err, "relationships/%s", rel->o.name);
        set_failed(call, rel, &err);
        return;
    }
    if (memcmp(&next.settings, &rel->settings, sizeof(next.settings))) {
        if (rfs_publish(call->svc, &(struct rfs_edit){.rel = rel, .rel_next = &next}, &err)) {
            set_failed(call, rel, &err);
            return;
        }
        rfs_link_configure(rel);
    }
    rfs_set_refusal(call->svc, &rel->o, NULL);
    rfs_call_finish(call, RFS_RV_OK, NULL);
}
