/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct rfs_loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_thread_t thread;
    _Atomic(struct rfs_task *) inbox; /* a stack; the loop takes it whole and turns it round */
    atomic_bool stopping;
    char name[16];
};

static void drain(struct rfs_loop *loop)
{
    struct rfs_task *stack = atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acquire);
    struct rfs_task *queue = NULL;

    while (stack) {
        struct rfs_task *next = stack->next;

        stack->next = queue;
        queue = stack;
        stack = next;
    }
    while (queue) {
        struct rfs_task *task = queue;

        queue = task->next;
        task->run(task);
    }
}

static void on_wake(uv_async_t *wake)
{
    struct rfs_loop *loop = wake->data;

    drain(loop);
    if (atomic_load(&loop->stopping) && !atomic_load(&loop->inbox) && !uv_is_closing((uv_handle_t *)wake))
        uv_close((uv_handle_t *)wake, NULL);
}

static void loop_main(void *arg)
{
    struct rfs_loop *loop = arg;

    pthread_setname_np(pthread_self(), loop->name);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

static struct rfs_loop *start_failed(struct rfs_loop *loop, int code, struct rfs_error *err)
{
    rfs_fail(err, RFS_RV_NO_RESOURCES, "event loop %s: %s", loop->name, uv_strerror(code));
    free(loop);
    return NULL;
}

struct rfs_loop *rfs_loop_start(const char *name, struct rfs_error *err)
{
    struct rfs_loop *loop = rfs_xcalloc(1, sizeof(*loop));
    int code;

    strncpy(loop->name, name, sizeof(loop->name) - 1);
    if ((code = uv_loop_init(&loop->uv)))
        return start_failed(loop, code, err);
    if ((code = uv_async_init(&loop->uv, &loop->wake, on_wake))) {
        uv_loop_close(&loop->uv);
        return start_failed(loop, code, err);
    }
    loop->wake.data = loop;
    if ((code = uv_thread_create(&loop->thread, loop_main, loop))) {
        uv_close((uv_handle_t *)&loop->wake, NULL);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        uv_loop_close(&loop->uv);
        return start_failed(loop, code, err);
    }
    return loop;
}

void rfs_loop_stop(struct rfs_loop *loop)
{
    if (!loop)
        return;
    atomic_store(&loop->stopping, true);
    uv_async_send(&loop->wake);
    uv_thread_join(&loop->thread);
    if (uv_loop_close(&loop->uv))
        abort(); /* a handle was left open: a bug of the caller's */
    free(loop);
}

void rfs_loop_post(struct rfs_loop *loop, struct rfs_task *task)
{
    struct rfs_task *head = atomic_load_explicit(&loop->inbox, memory_order_relaxed);

    do {
        task->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->inbox, &head, task, memory_order_release,
                                                    memory_order_relaxed));
    if (!head) /* whoever made it non-empty wakes the loop; the loop empties it whole */
        uv_async_send(&loop->wake);
}

struct sync_call {
    struct rfs_task task;
    uv_sem_t done;
    void (*fn)(void *);
    void *arg;
};

static void run_call(struct rfs_task *task)
{
    struct sync_call *call = RFS_CONTAINER_OF(task, struct sync_call, task);

    call->fn(call->arg);
    uv_sem_post(&call->done);
}

void rfs_loop_call(struct rfs_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct sync_call call = {.task = {.run = run_call}, .fn = fn, .arg = arg};

    uv_sem_init(&call.done, 0);
    rfs_loop_post(loop, &call.task);
    uv_sem_wait(&call.done);
    uv_sem_destroy(&call.done);
}

bool rfs_loop_is_current(const struct rfs_loop *loop)
{
    uv_thread_t self = uv_thread_self();

    return uv_thread_equal(&self, &loop->thread);
}

uv_loop_t *rfs_loop_uv(struct rfs_loop *loop)
{
    return &loop->uv;
}

struct rfs_timer {
    uv_timer_t uv;
    void (*fn)(void *);
    void *arg;
};

struct rfs_timer *rfs_timer_new(struct rfs_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct rfs_timer *timer = rfs_xcalloc(1, sizeof(*timer));

    uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
    timer->fn = fn;
    timer->arg = arg;
    return timer;
}

static void on_timer(uv_timer_t *uv)
{
    struct rfs_timer *timer = uv->data;

    timer->fn(timer->arg);
}

void rfs_timer_start(struct rfs_timer *timer, uint64_t ms)
{
    uv_update_time(timer->uv.loop); /* the loop's clock may be as old as its last wait */
    uv_timer_start(&timer->uv, on_timer, ms, 0);
}

void rfs_timer_stop(struct rfs_timer *timer)
{
    uv_timer_stop(&timer->uv);
}

bool rfs_timer_active(const struct rfs_timer *timer)
{
    return uv_is_active((const uv_handle_t *)&timer->uv);
}

static void free_timer(uv_handle_t *handle)
{
    free(handle->data);
}

void rfs_timer_destroy(struct rfs_timer *timer)
{
    if (timer)
        uv_close((uv_handle_t *)&timer->uv, free_timer);
}

struct rfs_iothreads {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct rfs_work *head, **tail; /* protected by lock, as all below */
    unsigned max, started, idle, queued;
    bool stopping;
    pthread_t *threads;
    char name[16];
};

static void work_done(struct rfs_task *task)
{
    struct rfs_work *work = RFS_CONTAINER_OF(task, struct rfs_work, task);

    work->done(work);
}

static void run_work(struct rfs_work *work)
{
    work->run(work);
    if (!work->done)
        return;
    work->task.run = work_done;
    if (work->loop)
        rfs_loop_post(work->loop, &work->task);
    else
        work->done(work);
}

static void *io_main(void *arg)
{
    struct rfs_iothreads *io = arg;

    pthread_setname_np(pthread_self(), io->name);
    pthread_mutex_lock(&io->lock);
    for (;;) {
        struct rfs_work *work = io->head;

        if (!work && io->stopping)
            break;
        if (!work) {
            io->idle++;
            pthread_cond_wait(&io->more, &io->lock);
            io->idle--;
            continue;
        }
        io->head = work->next;
        io->queued--;
        if (!io->head)
            io->tail = &io->head;
        pthread_mutex_unlock(&io->lock);
        run_work(work);
        pthread_mutex_lock(&io->lock);
    }
    pthread_mutex_unlock(&io->lock);
    return NULL;
}

struct rfs_iothreads *rfs_iothreads_new(const char *name, unsigned max)
{
    struct rfs_iothreads *io = rfs_xcalloc(1, sizeof(*io));

    pthread_mutex_init(&io->lock, NULL);
    pthread_cond_init(&io->more, NULL);
    io->tail = &io->head;
    io->max = max ? max : 1;
    io->threads = rfs_xcalloc(io->max, sizeof(pthread_t));
    strncpy(io->name, name, sizeof(io->name) - 1);
    return io;
}

void rfs_iothreads_submit(struct rfs_iothreads *io, struct rfs_work *work)
{
    work->next = NULL;
    pthread_mutex_lock(&io->lock);
    *io->tail = work;
    io->tail = &work->next;
    io->queued++;
    if (io->queued > io->idle &&
        io->started < io->max) { /* a thread that was signalled still counts as idle */
        if (pthread_create(&io->threads[io->started], NULL, io_main, io) == 0)
            io->started++;
        else if (!io->started)
            abort(); /* not one thread: nothing would ever answer */
    }
    pthread_cond_signal(&io->more);
    pthread_mutex_unlock(&io->lock);
}

void rfs_iothreads_free(struct rfs_iothreads *io)
{
    if (!io)
        return;
    pthread_mutex_lock(&io->lock);
    io->stopping = true;
    pthread_cond_broadcast(&io->more);
    pthread_mutex_unlock(&io->lock);
    for (unsigned i = 0; i < io->started; i++)
        pthread_join(io->threads[i], NULL);
    pthread_cond_destroy(&io->more);
    pthread_mutex_destroy(&io->lock);
    free(io->threads);
    free(io);
}
