/* SPDX-License-Identifier: Apache-2.0 */
#include "model/call.h"

#include <stdlib.h>

#include "model/events.h"
#include "model/model.h"

struct rfs_call *rfs_call_new(struct rfs_service *svc, void (*handler)(struct rfs_call *call))
{
    struct rfs_call *call = rfs_xcalloc(1, sizeof(*call));

    call->svc = svc;
    call->handler = handler;
    return call;
}

void rfs_call_free(struct rfs_call *call)
{
    if (!call)
        return;
    free(call->value);
    rfs_request_free(&call->request);
    rfs_text_free(&call->reply);
    free(call);
}

static void refuse_stopping(struct rfs_call *call)
{
    struct rfs_error err;

    rfs_fail(&err, RFS_RV_FAILED, "the service is stopping; ask again when it runs");
    rfs_call_finish(call, RFS_RV_FAILED, &err);
}

static void run(struct rfs_task *task)
{
    struct rfs_call *call = RFS_CONTAINER_OF(task, struct rfs_call, task);

    if (call->svc->stopping)
        refuse_stopping(call);
    else
        call->handler(call);
}

void rfs_call_submit(struct rfs_call *call)
{
    call->task.run = run;
    rfs_loop_post(call->svc->control, &call->task);
}

static void run_abandon(struct rfs_task *task)
{
    struct rfs_abandon *abandon = RFS_CONTAINER_OF(task, struct rfs_abandon, task);
    struct rfs_call *call = abandon->call;

    call->abandoned = true;
    if (call->cancel)
        call->cancel(call); /* may finish the call */
    abandon->gone(abandon);
}

void rfs_call_abandon(struct rfs_abandon *abandon)
{
    abandon->task.run = run_abandon;
    rfs_loop_post(abandon->call->svc->control, &abandon->task);
}

void rfs_call_finish(struct rfs_call *call, enum rfs_rv rv, const struct rfs_error *err)
{
    call->cancel = NULL;
    call->rv = rv;
    if (err) {
        call->error = *err;
        rfs_event(call->svc->events, "Refused", NULL, NULL, "%s", err->msg);
    }
    call->finished(call);
}
