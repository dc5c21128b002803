/* SPDX-License-Identifier: Apache-2.0
 *
 * One request to the service, from the write(2) that carried it to its answer.
 *
 * A FUSE thread makes the call, fills it in and submits it; from then on it belongs to the control thread,
 * which runs the handler. The handler, or whatever it set in motion, ends with exactly one rfs_call_finish(),
 * which calls finished() on the control thread and gives the call back. A handler that waits keeps the call
 * and holds no thread.
 */
#ifndef RFS_MODEL_CALL_H
#define RFS_MODEL_CALL_H

#include "base/error.h"
#include "base/loop.h"
#include "base/text.h"
#include "model/request.h"

struct rfs_service;

struct rfs_call {
    struct rfs_task task; /* private */
    struct rfs_service *svc;
    void (*handler)(struct rfs_call *call); /* on the control thread */
    uint64_t object;       /* number of the object whose file was written; 0 for the service */
    const char *attribute; /* attribute writes: its name (constant); else NULL */
    char *value;           /* attribute writes: the raw line less one newline; mkdir: the new name; owned */
    struct rfs_request request; /* method requests: parsed; owned */

    enum rfs_rv rv; /* outcome, valid in finished() */
    struct rfs_error
        error; /* rv and errno 0 where it went well; its msg may still say something (`message=`) */
    struct rfs_text reply; /* key=value lines without return_value and message; owned */

    void (*finished)(
        struct rfs_call *call); /* control thread, exactly once; may free the call with rfs_call_free() */
    void *owner;                /* the submitter's */

    void (*cancel)(
        struct rfs_call *call); /* set by a handler that waits: ends the wait soon (control thread) */
    void *state;                /* handler's */
    bool abandoned;             /* nobody reads the answer any more (control thread) */
};

struct rfs_call *rfs_call_new(struct rfs_service *svc, void (*handler)(struct rfs_call *call));
void rfs_call_free(struct rfs_call *call);

/* Any thread. */
void rfs_call_submit(struct rfs_call *call);
/* Any thread: nobody will read the answer: a wait is given up, the operation itself goes on, finished() still
 * comes. The caller must make sure that finished() has not been called yet or cannot free the call meanwhile;
 * `task` must stay alive until it ran. */
struct rfs_abandon {
    struct rfs_task task;
    struct rfs_call *call;
    void (*gone)(struct rfs_abandon *abandon); /* on the control thread, after the cancel */
};
void rfs_call_abandon(struct rfs_abandon *abandon);

/* Control thread. Well ended with rv 0 or 4096; `err` NULL then. */
void rfs_call_finish(struct rfs_call *call, enum rfs_rv rv, const struct rfs_error *err);

#endif
