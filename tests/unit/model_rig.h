/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole service without a mount, on devices in memory behind fault wrappers, for unit tests of model and
 * methods. Requests are made as the tree makes them: a line to a method.
 */
#ifndef RFS_TESTS_MODEL_RIG_H
#define RFS_TESTS_MODEL_RIG_H

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/fault.h"
#include "device/memory.h"
#include "methods/handlers.h"
#include "model/element.h"
#include "model/events.h"
#include "model/link.h"
#include "model/service.h"

#define RIG_DEVICES 8

struct rig_device {
    char name[32];
    uint64_t size;
    uint8_t *bytes;
    struct rfs_device *fault; /* the wrapper while it is open; on its loop */
    struct rfs_loop *loop;
    struct rfs_device *inner_of;
};

struct rig {
    struct rfs_volume_maker maker; /* first */
    char dir[64];
    struct rfs_service *svc;
    struct rig_device devices[RIG_DEVICES];
    unsigned count;
};

static struct rig_device *rig_find(struct rig *rig, const char *name)
{
    for (unsigned i = 0; i < rig->count; i++)
        if (!strcmp(rig->devices[i].name, name))
            return &rig->devices[i];
    return NULL;
}

static struct rfs_device *rig_inner(void *arg, struct rfs_loop *loop, const struct rfs_device_events *events,
                                    void *events_arg, struct rfs_error *err)
{
    struct rig_device *d = arg;
    struct rfs_memory_options options = {.size = d->size, .bytes = d->bytes, .identity = d->name};

    return rfs_memory_open(loop, &options, events, events_arg);
}

static struct rfs_device *rig_open(struct rfs_volume_maker *maker, const char *element, struct rfs_loop *loop,
                                   const struct rfs_device_events *events, void *events_arg,
                                   struct rfs_error *err)
{
    struct rig_device *d = rig_find((struct rig *)maker, element);

    if (!d) {
        rfs_fail(err, RFS_RV_NOT_FOUND, "no such test device");
        return NULL;
    }
    d->loop = loop;
    d->fault = rfs_fault_open(loop, rig_inner, d, events, events_arg, err);
    return d->fault;
}

static void rig_start(struct rig *rig)
{
    struct rfs_service_options options = {.state_dir = rig->dir, .workers = 2, .volume_maker = &rig->maker};
    struct rfs_error err = RFS_ERROR_INIT;

    rig->maker.open = rig_open;
    if (!rig->dir[0]) {
        strcpy(rig->dir, "/tmp/rfs-rig-XXXXXX");
        assert_non_null(mkdtemp(rig->dir));
    }
    rig->svc = rfs_service_start(&options, &err);
    if (!rig->svc)
        fail_msg("service: %s", err.msg);
}

static void rig_stop(struct rig *rig)
{
    rfs_service_stop(rig->svc);
    rig->svc = NULL;
}

static void rig_free(struct rig *rig)
{
    char command[128];

    if (rig->svc)
        rig_stop(rig);
    for (unsigned i = 0; i < rig->count; i++)
        free(rig->devices[i].bytes);
    snprintf(command, sizeof(command), "rm -rf '%s'", rig->dir);
    assert_int_equal(system(command), 0);
    free(rig);
}

/* --- requests --- */

struct rig_answer {
    sem_t done;
    enum rfs_rv rv;
    struct rfs_error err;
    char reply[4096];
};

static void rig_finished(struct rfs_call *call)
{
    struct rig_answer *answer = call->owner;

    answer->rv = call->rv;
    answer->err = call->error;
    snprintf(answer->reply, sizeof(answer->reply), "%s", call->reply.data ? call->reply.data : "");
    rfs_call_free(call);
    sem_post(&answer->done);
}

static void rig_submit(struct rfs_call *call, struct rig_answer *answer)
{
    struct timespec deadline;

    sem_init(&answer->done, 0, 0);
    call->owner = answer;
    call->finished = rig_finished;
    rfs_call_submit(call);
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 60;
    if (sem_timedwait(&answer->done, &deadline))
        fail_msg("a request was not answered within 60 s");
    sem_destroy(&answer->done);
}

static enum rfs_rv rig_method(struct rig *rig, enum rfs_method_place place, const char *name, uint64_t object,
                              const char *line, struct rig_answer *answer)
{
    const struct rfs_method *m = rfs_method_find(place, name);
    struct rfs_call *call;

    assert_non_null(m);
    memset(answer, 0, sizeof(*answer));
    call = rfs_call_new(rig->svc, m->handler);
    call->object = object;
    if (rfs_request_parse(m->params, m->flags & RFS_METHOD_SETTINGS, NULL, line, strlen(line), &call->request,
                          &answer->err)) {
        rfs_call_free(call);
        return answer->rv = answer->err.rv;
    }
    rig_submit(call, answer);
    return answer->rv;
}

static enum rfs_rv rig_service(struct rig *rig, const char *name, const char *line, struct rig_answer *answer)
{
    return rig_method(rig, RFS_PLACE_SERVICE, name, 0, line, answer);
}

static enum rfs_rv rig_value(struct rig *rig, void (*handler)(struct rfs_call *call), uint64_t object,
                             const char *attribute, const char *value, struct rig_answer *answer)
{
    struct rfs_call *call = rfs_call_new(rig->svc, handler);

    memset(answer, 0, sizeof(*answer));
    call->object = object;
    call->attribute = attribute;
    call->value = rfs_xstrdup(value);
    rig_submit(call, answer);
    return answer->rv;
}

static uint64_t rig_element(struct rig *rig, const char *name)
{
    struct rfs_element *el;
    uint64_t number;

    rfs_service_lock(rig->svc);
    el = rfs_element_by_name(rig->svc, name);
    number = el ? el->o.number : 0;
    rfs_service_unlock(rig->svc);
    return number;
}

static uint64_t rig_relationship(struct rig *rig, const char *name)
{
    struct rfs_relationship *rel;
    uint64_t number;

    rfs_service_lock(rig->svc);
    rel = rfs_relationship_by_name(rig->svc, name);
    number = rel ? rel->o.number : 0;
    rfs_service_unlock(rig->svc);
    return number;
}

/* A device of that name and size, filled with random bytes, and its element, Online. */
static struct rig_device *rig_add(struct rig *rig, const char *name, uint64_t size, unsigned seed)
{
    struct rig_device *d = &rig->devices[rig->count++];
    struct rig_answer answer;

    snprintf(d->name, sizeof(d->name), "%s", name);
    d->size = size;
    d->bytes = rfs_xmalloc(size);
    for (uint64_t i = 0; i < size; i++)
        d->bytes[i] = seed ? (uint8_t)rand_r(&seed) : 0;
    assert_int_equal(rig_value(rig, rfs_element_create, 0, NULL, name, &answer), RFS_RV_OK);
    if (rig_value(rig, rfs_element_write, rig_element(rig, name), "url", "file:/test", &answer))
        fail_msg("element %s: %s", name, answer.err.msg);
    return d;
}

/* Runs fn(arg) on the device's loop. */
static void rig_on_device(struct rig_device *d, void (*fn)(void *arg), void *arg)
{
    rfs_loop_call(d->loop, fn, arg);
}

static uint32_t rig_copy_state(struct rig *rig, const char *name)
{
    struct rfs_relationship *rel;
    uint32_t state;

    rfs_service_lock(rig->svc);
    rel = rfs_relationship_by_name(rig->svc, name);
    state = rel ? rel->copy_state : 0;
    rfs_service_unlock(rig->svc);
    return state;
}

#endif
