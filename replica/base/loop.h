/* SPDX-License-Identifier: Apache-2.0
 *
 * An event loop on a thread of its own (libuv), and how other threads reach it.
 *
 * Everything that a loop owns is touched by its thread only; others hand it tasks. A task is embedded in its
 * owner's object, is posted by anybody, runs once on the loop's thread and may be posted again from there on.
 * Tasks of one poster run in the order of posting. Posting takes no lock and allocates nothing.
 */
#ifndef RFS_BASE_LOOP_H
#define RFS_BASE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

#define RFS_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

struct rfs_loop;

struct rfs_task {
    struct rfs_task *next;              /* owned by the queue from post to run */
    void (*run)(struct rfs_task *task); /* on the loop's thread; may free the task's owner */
};

/* Starts the thread; `name` (at most 15 bytes) is the thread's name. NULL with *err set on failure. */
struct rfs_loop *rfs_loop_start(const char *name, struct rfs_error *err);

/* Runs what has been posted, then ends and joins the thread and frees the loop. All timers and handles on it
 * must have been closed. Not from the loop's own thread. */
void rfs_loop_stop(struct rfs_loop *loop);

/* Any thread. The task runs later, never inside the call. */
void rfs_loop_post(struct rfs_loop *loop, struct rfs_task *task);

/* Runs fn(arg) on the loop's thread and waits for its return. For start, stop and tests; not from the loop
 * itself, not with a lock held that the loop may want. */
void rfs_loop_call(struct rfs_loop *loop, void (*fn)(void *arg), void *arg);

bool rfs_loop_is_current(const struct rfs_loop *loop);
uv_loop_t *rfs_loop_uv(struct rfs_loop *loop); /* the loop's thread only */

/* A timer of a loop; every call on the loop's thread. Destroying inside its own callback is allowed; after
 * rfs_timer_destroy() the callback does not run any more. One shot: start it again to repeat. */
struct rfs_timer;
struct rfs_timer *rfs_timer_new(struct rfs_loop *loop, void (*fn)(void *arg), void *arg);
void rfs_timer_start(struct rfs_timer *timer, uint64_t ms);
void rfs_timer_stop(struct rfs_timer *timer);
bool rfs_timer_active(const struct rfs_timer *timer);
void rfs_timer_destroy(struct rfs_timer *timer); /* NULL is fine */

/* Threads for blocking calls (a disk, a resolver), never shared between things that must not stop each other:
 * each owner has its own set. Threads are started as needed, up to `max`. */
struct rfs_iothreads;

struct rfs_work {
    struct rfs_work *next;
    struct rfs_task task;                /* private */
    struct rfs_loop *loop;               /* where done() is to run; NULL: on the I/O thread itself */
    void (*run)(struct rfs_work *work);  /* on an I/O thread; may block */
    void (*done)(struct rfs_work *work); /* then on `loop`; may free the owner; NULL: nothing */
};

struct rfs_iothreads *rfs_iothreads_new(const char *name, unsigned max);
void rfs_iothreads_submit(struct rfs_iothreads *io, struct rfs_work *work); /* first come, first served */
/* Waits for what was submitted, ends the threads, frees. Not from one of its threads. */
void rfs_iothreads_free(struct rfs_iothreads *io);

#endif
