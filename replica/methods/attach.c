/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "methods/handlers.h"
#include "model/element.h"
#include "model/setting.h"

/* One AttachReplica under way: checked; the target brought to the source's worker; looked at for something
 * that would be lost; created. Both elements are busy meanwhile, so nobody else can take them. */
struct attaching {
    struct rfs_call *call;
    struct rfs_element *source, *target;
    struct rfs_settings settings;
    uint32_t copy_type;
    bool force;
    char name[420];
};

static void fail_call(struct rfs_call *call, const struct rfs_error *err)
{
    rfs_call_finish(call, err->rv, err);
}

static void fail(struct attaching *at, const struct rfs_error *err)
{
    struct rfs_service *svc = at->call->svc;

    at->source->busy = NULL;
    at->target->busy = NULL;
    rfs_set_refusal(svc, &at->target->o, err->msg);
    fail_call(at->call, err);
    free(at);
}

/* --- checks --- */

static struct rfs_element *find(struct rfs_call *call, const char *key, struct rfs_error *err)
{
    const char *name = rfs_request_string(&call->request, key, "");
    struct rfs_element *el = rfs_element_by_name(call->svc, name);

    if (!el)
        rfs_fail(err, RFS_RV_NOT_FOUND, "%s: there is no elements/%s; make it with mkdir and write its url",
                 key, name);
    return el;
}

static int check_usable(const struct rfs_element *el, const char *what, struct rfs_error *err)
{
    if (el->busy)
        return rfs_fail(err, RFS_RV_IN_USE, "%s elements/%s is %s; wait until that is done", what, el->o.name,
                        el->busy);
    if (el->state == RFS_element_state_ONLINE)
        return 0;
    if (!el->url)
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "%s elements/%s has no url; write elements/%s/url first", what, el->o.name,
                        el->o.name);
    return rfs_fail(err, RFS_RV_FAILED, "%s elements/%s is %s%s%s; it must be Online", what, el->o.name,
                    rfs_value_name(&rfs_map_element_state, (int)el->state), el->o.last_error ? ": " : "",
                    el->o.last_error ? el->o.last_error : "");
}

/* A volume is written by at most one relationship; chains come with host writes (design G3, G4). */
static int check_roles(const struct rfs_element *source, const struct rfs_element *target,
                       struct rfs_error *err)
{
    if (source == target)
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "elements/%s is named as source and as target; a replica needs another element",
                        source->o.name);
    if (target->as_target)
        return rfs_fail(err, RFS_RV_IN_USE,
                        "target elements/%s is the target of relationships/%s already; detach that first",
                        target->o.name, target->as_target->o.name);
    if (target->as_source)
        return rfs_fail(err, RFS_RV_IN_USE,
                        "target elements/%s is the source of relationships/%s; detach that first",
                        target->o.name, target->as_source->o.name);
    if (source->as_target)
        return rfs_fail(
            err, RFS_RV_IN_USE,
            "source elements/%s is the target of relationships/%s; chains are not available in this version, "
            "detach that first",
            source->o.name, source->as_target->o.name);
    if (target->open_files)
        return rfs_fail(err, RFS_RV_IN_USE, "elements/%s/data is open; close it first", target->o.name);
    return 0;
}

static int check_shape(const struct rfs_element *source, const struct rfs_element *target,
                       struct rfs_error *err)
{
    const struct rfs_device_info *s = &source->info, *t = &target->info;

    if (s->block_size != t->block_size)
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "elements/%s has blocks of %u bytes, elements/%s of %u; both must be the same",
                        source->o.name, s->block_size, target->o.name, t->block_size);
    if (t->size < s->size)
        return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                        "target elements/%s has %llu bytes, source elements/%s %llu; the target must be at "
                        "least as large",
                        target->o.name, (unsigned long long)t->size, source->o.name,
                        (unsigned long long)s->size);
    if (t->write_protected)
        return rfs_fail(err, RFS_RV_ACCESS_DENIED,
                        "target elements/%s is write protected; make the LUN writable", target->o.name);
    return 0;
}

static int check_wait(const struct rfs_request *req, struct rfs_error *err)
{
    static const uint32_t reachable[] = {RFS_copy_state_INITIALIZED,  RFS_copy_state_UNSYNCHRONIZED,
                                         RFS_copy_state_SYNCHRONIZED, RFS_copy_state_INACTIVE,
                                         RFS_copy_state_PREPARED,     RFS_copy_state_NOT_APPLICABLE};
    const struct rfs_token *t = rfs_request_get(req, "wait_for_copy_state");

    for (size_t i = 0; t && i < sizeof(reachable) / sizeof(reachable[0]); i++)
        if (t->number == reachable[i])
            t = NULL;
    if (!t)
        return 0;
    return rfs_fail(
        err, RFS_RV_INVALID_PARAMETER,
        "wait_for_copy_state=%s is not reached by AttachReplica; give Synchronized, UnSynchronized, or "
        "Initialized, Inactive or Prepared to stop there",
        t->value);
}

/* The name asked for must be free; SOURCE-TARGET gets .2, .3 … until it is. */
static int choose_name(struct attaching *at, struct rfs_error *err)
{
    struct rfs_service *svc = at->call->svc;
    const char *asked = rfs_request_string(&at->call->request, "name", NULL);

    if (asked) {
        if (rfs_name_check("relationship", asked, err))
            return -1;
        if (rfs_relationship_by_name(svc, asked))
            return rfs_fail(err, RFS_RV_IN_USE, "relationships/%s exists; give another name=", asked);
        snprintf(at->name, sizeof(at->name), "%s", asked);
        return 0;
    }
    snprintf(at->name, sizeof(at->name), "%.98s-%.98s", at->source->o.name, at->target->o.name);
    for (unsigned n = 2; rfs_relationship_by_name(svc, at->name); n++)
        snprintf(at->name, sizeof(at->name), "%.95s-%.95s.%u", at->source->o.name, at->target->o.name, n);
    return 0;
}

static int check_size_of_map(const struct attaching *at, struct rfs_error *err)
{
    uint64_t regions = at->source->info.size / at->settings.region_size;

    if (regions <= (1ull << 31))
        return 0;
    return rfs_fail(err, RFS_RV_INVALID_PARAMETER,
                    "elements/%s has too many regions of %llu bytes; give a larger setting.region_size",
                    at->source->o.name, (unsigned long long)at->settings.region_size);
}

static int check(struct attaching *at, struct rfs_error *err)
{
    struct rfs_call *call = at->call;

    at->source = find(call, "source_element", err);
    at->target = at->source ? find(call, "target_element", err) : NULL;
    if (!at->target)
        return -1;
    rfs_settings_default(&at->settings);
    at->copy_type = (uint32_t)rfs_request_number(&call->request, "copy_type", 0);
    at->force = rfs_request_number(&call->request, "force", 0);
    return rfs_settings_apply(&at->settings, &call->request, true, err) || check_wait(&call->request, err) ||
                   check_roles(at->source, at->target, err) || check_usable(at->source, "source", err) ||
                   check_usable(at->target, "target", err) || check_shape(at->source, at->target, err) ||
                   check_size_of_map(at, err) || choose_name(at, err)
               ? -1
               : 0;
}

/* --- steps --- */

static uint32_t initial_state(const struct rfs_request *req)
{
    uint32_t wanted = (uint32_t)rfs_request_number(req, "wait_for_copy_state", 0);

    return wanted == RFS_copy_state_INITIALIZED || wanted == RFS_copy_state_INACTIVE ||
                   wanted == RFS_copy_state_PREPARED
               ? wanted
               : 0;
}

static bool is_mirror(uint32_t copy_type)
{
    return copy_type == RFS_copy_type_SYNC || copy_type == RFS_copy_type_ASYNC;
}

static void create(struct attaching *at)
{
    struct rfs_call *call = at->call;
    struct rfs_relationship_spec spec = {
        .name = at->name,
        .source = at->source,
        .target = at->target,
        .sync_type = is_mirror(at->copy_type) ? RFS_sync_type_MIRROR : RFS_sync_type_CLONE,
        .mode = at->copy_type == RFS_copy_type_SYNC ? RFS_mode_SYNCHRONOUS : RFS_mode_ASYNCHRONOUS,
        .copy_type = at->copy_type,
        .initial = initial_state(&call->request),
        .settings = at->settings,
        .method = "AttachReplica",
    };
    struct rfs_relationship *rel;
    struct rfs_error err;

    rel = rfs_relationship_create(call->svc, &spec, &err);
    if (!rel) {
        rfs_error_wrap(&err, "elements/%s and elements/%s stay as they are", at->source->o.name,
                       at->target->o.name);
        fail(at, &err);
        return;
    }
    at->source->busy = NULL;
    at->target->busy = NULL;
    rfs_set_refusal(call->svc, &at->source->o, NULL);
    rfs_set_refusal(call->svc, &at->target->o, NULL);
    free(at);
    rfs_finish_operated(call, rel->job ? RFS_RV_JOB_STARTED : RFS_RV_OK, rel, rel->job);
}

/* The world may have moved on while a step was under way. */
static bool still_good(struct attaching *at)
{
    const char *source_busy = at->source->busy, *target_busy = at->target->busy;
    struct rfs_error err;
    int rc;

    if (at->call->svc->stopping) {
        rfs_fail(&err, RFS_RV_FAILED, "the service is stopping");
        fail(at, &err);
        return false;
    }
    at->source->busy = at->target->busy = NULL;
    rc = check_usable(at->source, "source", &err) || check_usable(at->target, "target", &err) ||
         check_shape(at->source, at->target, &err) || choose_name(at, &err);
    at->source->busy = source_busy;
    at->target->busy = target_busy;
    if (rc)
        fail(at, &err);
    return !rc;
}

static void looked_at(void *arg, int found, const char *what, const struct rfs_error *why)
{
    struct attaching *at = arg;
    struct rfs_error err;

    if (!still_good(at))
        return;
    if (found < 0) {
        err = *why;
        rfs_error_wrap(&err, "target elements/%s could not be looked at for data that would be overwritten",
                       at->target->o.name);
        fail(at, &err);
    } else if (found) {
        rfs_fail(&err, RFS_RV_REQUIRES_FORCE,
                 "target elements/%s has data on it (%s), which would be overwritten; give force=1 if that "
                 "is meant",
                 at->target->o.name, what);
        fail(at, &err);
    } else {
        create(at);
    }
}

static void look(struct attaching *at)
{
    if (at->force)
        create(at);
    else
        rfs_link_signature(at->call->svc, at->target, looked_at, at);
}

static void moved(void *arg, const struct rfs_error *why)
{
    struct attaching *at = arg;
    struct rfs_error err;

    if (why) {
        err = *why;
        rfs_error_wrap(&err, "target elements/%s", at->target->o.name);
        fail(at, &err);
    } else if (still_good(at)) {
        look(at);
    }
}

void rfs_attach_replica(struct rfs_call *call)
{
    struct attaching *at = rfs_xcalloc(1, sizeof(*at));
    struct rfs_error err;

    at->call = call;
    if (check(at, &err)) {
        if (at->target && at->source != at->target)
            rfs_set_refusal(call->svc, &at->target->o, err.msg);
        fail_call(call, &err);
        free(at);
        return;
    }
    at->source->busy = at->target->busy = "being attached by another request";
    if (at->target->home != at->source->home)
        rfs_element_rehome(call->svc, at->target, at->source->home, moved, at);
    else
        look(at);
}
