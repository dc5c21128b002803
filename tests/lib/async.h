/* SPDX-License-Identifier: Apache-2.0
 *
 * For unit tests: a test's own thread drives loops, devices and requests, and waits with a deadline.
 *
 * Everything here is called from the test's thread, never from a loop. What cannot be finished in time ends
 * the program: a request under way points into the test's stack, so there is no way back into the test.
 */
#ifndef RFS_TESTS_ASYNC_H
#define RFS_TESTS_ASYNC_H

#include <errno.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/text.h"

#define ASYNC_DEADLINE_MS 30000

#define ASYNC_INLINE static inline __attribute__((unused))

ASYNC_INLINE void async_die(const char *what)
{
    fprintf(stderr, "async: not in time: %s\n", what);
    abort();
}

ASYNC_INLINE struct rfs_loop *async_loop(void)
{
    struct rfs_error err = RFS_ERROR_INIT;
    struct rfs_loop *loop = rfs_loop_start("test", &err);

    if (!loop)
        async_die(err.msg);
    return loop;
}

ASYNC_INLINE void async_sem_wait(sem_t *sem, const char *what)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ASYNC_DEADLINE_MS / 1000;
    while (sem_timedwait(sem, &until))
        if (errno != EINTR)
            async_die(what);
}

/* --- a condition that is true sooner or later --- */

struct async_probe {
    bool (*condition)(void *arg);
    void *arg;
    bool result;
};

ASYNC_INLINE void async_run_probe(void *arg)
{
    struct async_probe *probe = arg;

    probe->result = probe->condition(probe->arg);
}

/* Evaluates condition(arg) on the loop's thread. */
ASYNC_INLINE bool async_ask(struct rfs_loop *loop, bool (*condition)(void *arg), void *arg)
{
    struct async_probe probe = {condition, arg, false};

    rfs_loop_call(loop, async_run_probe, &probe);
    return probe.result;
}

/* Until condition(arg), evaluated on the loop's thread, is true; false when `ms` have passed. */
ASYNC_INLINE bool async_wait_ms(struct rfs_loop *loop, bool (*condition)(void *arg), void *arg, uint64_t ms)
{
    uint64_t end = rfs_mono_ms() + ms;

    while (!async_ask(loop, condition, arg)) {
        if (rfs_mono_ms() >= end)
            return false;
        usleep(500);
    }
    return true;
}

ASYNC_INLINE void async_wait(struct rfs_loop *loop, bool (*condition)(void *arg), void *arg, const char *what)
{
    if (!async_wait_ms(loop, condition, arg, ASYNC_DEADLINE_MS))
        async_die(what);
}

#ifdef RFS_DEVICE_DEVICE_H /* include device/device.h first to have the rest */

/* --- a device and what it said --- */

typedef struct rfs_device *(*async_open_fn)(void *arg, struct rfs_loop *loop,
                                            const struct rfs_device_events *events, void *events_arg,
                                            struct rfs_error *err);

struct async_device {
    struct rfs_device *dev;
    struct rfs_loop *loop;
    async_open_fn open;
    void *open_arg;
    struct rfs_error open_error;
    struct rfs_error why; /* of the last Offline or Refused */
    unsigned events, online, changed;
    bool in_call; /* inside open or close: no event may come */
    bool broke_rule;
    sem_t closed;
    enum rfs_device_state awaited;
};

ASYNC_INLINE void async_on_state(void *arg, enum rfs_device_state state, const struct rfs_error *why)
{
    struct async_device *d = arg;
    bool has_why = state == RFS_DEVICE_OFFLINE || state == RFS_DEVICE_REFUSED;

    if (d->in_call || has_why != (why != NULL) || !rfs_loop_is_current(d->loop) || d->dev->state != state)
        d->broke_rule = true;
    if (why)
        d->why = *why;
    d->events++;
    d->online += state == RFS_DEVICE_ONLINE;
}

ASYNC_INLINE void async_on_changed(void *arg)
{
    ((struct async_device *)arg)->changed++;
}

static const struct rfs_device_events async_events = {.state = async_on_state, .changed = async_on_changed};

ASYNC_INLINE void async_run_open(void *arg)
{
    struct async_device *d = arg;

    d->in_call = true;
    d->dev = d->open(d->open_arg, d->loop, &async_events, d, &d->open_error);
    d->in_call = false;
}

/* Opens on the loop and returns at once; d->dev is NULL and d->open_error set if the url was refused. */
ASYNC_INLINE void async_open(struct async_device *d, struct rfs_loop *loop, async_open_fn open, void *arg)
{
    memset(d, 0, sizeof(*d));
    d->loop = loop;
    d->open = open;
    d->open_arg = arg;
    sem_init(&d->closed, 0, 0);
    rfs_loop_call(loop, async_run_open, d);
}

ASYNC_INLINE bool async_is_state(void *arg)
{
    struct async_device *d = arg;

    return d->dev->state == d->awaited;
}

ASYNC_INLINE void async_wait_state(struct async_device *d, enum rfs_device_state state)
{
    d->awaited = state;
    async_wait(d->loop, async_is_state, d, rfs_device_state_name(state));
}

ASYNC_INLINE void async_on_closed(void *arg)
{
    struct async_device *d = arg;

    if (d->in_call)
        d->broke_rule = true;
    sem_post(&d->closed);
}

ASYNC_INLINE void async_run_close(void *arg)
{
    struct async_device *d = arg;

    d->in_call = true;
    rfs_device_close(d->dev, async_on_closed, d);
    d->in_call = false;
}

ASYNC_INLINE void async_close_begin(struct async_device *d)
{
    rfs_loop_call(d->loop, async_run_close, d);
}

/* The device is freed then; aborts if a rule of device.h was broken meanwhile. */
ASYNC_INLINE void async_close_end(struct async_device *d)
{
    async_sem_wait(&d->closed, "close");
    d->dev = NULL;
    if (d->broke_rule) {
        fprintf(stderr, "async: the device broke a rule of device.h about events\n");
        abort();
    }
    sem_destroy(&d->closed);
}

ASYNC_INLINE void async_close(struct async_device *d)
{
    async_close_begin(d);
    async_close_end(d);
}

/* --- requests --- */

struct async_io {
    struct rfs_io io;
    struct iovec vec;
    struct async_device *d;
    bool submitting;
    sem_t done;
    uint64_t order;    /* 1 for the first that was done, where `counter` is set */
    uint64_t *counter; /* counts completions; the loop's */
};

ASYNC_INLINE void async_io_done(struct rfs_io *io)
{
    struct async_io *a = RFS_CONTAINER_OF(io, struct async_io, io);

    if (a->submitting)
        a->d->broke_rule = true;
    if (a->counter)
        a->order = ++*a->counter;
    sem_post(&a->done);
}

ASYNC_INLINE void async_run_submit(void *arg)
{
    struct async_io *a = arg;

    a->submitting = true;
    rfs_device_submit(a->d->dev, &a->io);
    a->submitting = false;
}

/* Prepares; `buf` may be NULL where there is no data. a->io can be changed before async_start(). */
ASYNC_INLINE void async_prepare(struct async_io *a, struct async_device *d, enum rfs_io_op op,
                                uint64_t offset, void *buf, uint64_t length)
{
    memset(a, 0, sizeof(*a));
    a->d = d;
    a->vec = (struct iovec){buf, length};
    a->io = (struct rfs_io){.op = op,
                            .offset = offset,
                            .length = length,
                            .iov = &a->vec,
                            .niov = buf != NULL,
                            .done = async_io_done};
    sem_init(&a->done, 0, 0);
}

ASYNC_INLINE void async_start(struct async_io *a)
{
    rfs_loop_call(a->d->loop, async_run_submit, a);
}

ASYNC_INLINE enum rfs_io_status async_finish(struct async_io *a)
{
    async_sem_wait(&a->done, rfs_io_op_name(a->io.op));
    return a->io.status;
}

ASYNC_INLINE bool async_is_done(struct async_io *a)
{
    int value = 0;

    sem_getvalue(&a->done, &value);
    return value > 0;
}

/* One request, waited for. */
ASYNC_INLINE enum rfs_io_status async_io(struct async_device *d, enum rfs_io_op op, uint64_t offset,
                                         void *buf, uint64_t length)
{
    struct async_io a;

    async_prepare(&a, d, op, offset, buf, length);
    async_start(&a);
    return async_finish(&a);
}

ASYNC_INLINE enum rfs_io_status async_write_fua(struct async_device *d, uint64_t offset, void *buf,
                                                uint64_t length)
{
    struct async_io a;

    async_prepare(&a, d, RFS_IO_WRITE, offset, buf, length);
    a.io.fua = true;
    async_start(&a);
    return async_finish(&a);
}

ASYNC_INLINE enum rfs_io_status async_flush(struct async_device *d)
{
    return async_io(d, RFS_IO_FLUSH, 0, NULL, 0);
}

ASYNC_INLINE void async_fill(uint8_t *buf, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        buf[i] = (uint8_t)rand_r(&seed);
}

#define ASYNC_CLOSE_IOS 100

struct async_close_with_io {
    struct async_device *d;
    struct async_io ios[ASYNC_CLOSE_IOS + 1]; /* the last is submitted after the close */
    uint8_t bufs[ASYNC_CLOSE_IOS + 1][4096];
};

ASYNC_INLINE void async_run_submit_and_close(void *arg)
{
    struct async_close_with_io *c = arg;

    for (unsigned i = 0; i < ASYNC_CLOSE_IOS; i++)
        async_run_submit(&c->ios[i]);
    async_run_close(c->d);
    async_run_submit(&c->ios[ASYNC_CLOSE_IOS]);
}

/* Submits many requests to the first 32 KiB and closes in the same turn of the loop. True if all were
 * answered with LOST, and those from before the close before closed() was called. */
ASYNC_INLINE bool async_close_in_flight(struct async_device *d)
{
    struct async_close_with_io *c = rfs_xcalloc(1, sizeof(*c));
    bool good = true;

    c->d = d;
    for (unsigned i = 0; i <= ASYNC_CLOSE_IOS; i++) {
        enum rfs_io_op op = i % 10 == 7 ? RFS_IO_FLUSH : i % 2 ? RFS_IO_READ : RFS_IO_WRITE;

        async_prepare(&c->ios[i], d, op, i % 8 * 4096, c->bufs[i], op == RFS_IO_FLUSH ? 0 : 4096);
        c->ios[i].io.fua = i % 6 == 0;
    }
    rfs_loop_call(d->loop, async_run_submit_and_close, c);
    async_close_end(d);
    for (unsigned i = 0; i <= ASYNC_CLOSE_IOS; i++) {
        good = good && (i == ASYNC_CLOSE_IOS || async_is_done(&c->ios[i]));
        good = async_finish(&c->ios[i]) == RFS_IO_LOST && good;
    }
    free(c);
    return good;
}

#endif
#endif
