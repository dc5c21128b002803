/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "../lib/async.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- error --- */

static void test_rv_table(void **state)
{
    static const struct {
        enum rfs_rv rv;
        int err;
    } rows[] = {
        {RFS_RV_OK, 0},
        {RFS_RV_JOB_STARTED, 0},
        {RFS_RV_NOT_SUPPORTED, EOPNOTSUPP},
        {RFS_RV_TIMEOUT, ETIMEDOUT},
        {RFS_RV_FAILED, EIO},
        {RFS_RV_INVALID_PARAMETER, EINVAL},
        {RFS_RV_IN_USE, EBUSY},
        {RFS_RV_NOT_FOUND, ENOENT},
        {RFS_RV_REQUIRES_FORCE, EPERM},
        {RFS_RV_ACCESS_DENIED, EACCES},
        {RFS_RV_NO_RESOURCES, ENOSPC},
        {RFS_RV_OUT_OF_DATE, ESTALE},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(rfs_rv_errno(rows[i].rv), rows[i].err);
        assert_non_null(rfs_rv_text(rows[i].rv));
    }
    assert_int_equal(rfs_rv_errno((enum rfs_rv)12345), EIO);
    assert_null(rfs_rv_text((enum rfs_rv)12345));
    (void)state;
}

static void test_error(void **state)
{
    struct rfs_error err = RFS_ERROR_INIT;

    assert_int_equal(rfs_fail(&err, RFS_RV_IN_USE, "lun %d\nis busy", 7), -1);
    assert_int_equal(err.err, EBUSY);
    assert_string_equal(err.msg, "lun 7 is busy"); /* one line, whatever came in */
    assert_int_equal(rfs_fail(&err, RFS_RV_FAILED, "again: %s", err.msg), -1);
    assert_string_equal(err.msg, "again: lun 7 is busy");
    assert_int_equal(rfs_error_wrap(&err, "elements/%s", "a"), -1);
    assert_string_equal(err.msg, "elements/a: again: lun 7 is busy");
    assert_int_equal(err.rv, RFS_RV_FAILED);
    rfs_fail_errno(&err, RFS_RV_INVALID_PARAMETER, ENAMETOOLONG, "x");
    assert_int_equal(err.err, ENAMETOOLONG);
    assert_int_equal(rfs_fail(NULL, RFS_RV_FAILED, "nobody cares"), -1);
    assert_int_equal(rfs_fail_sys(NULL, EIO, "nobody cares"), -1);
    assert_int_equal(rfs_error_wrap(NULL, "nobody cares"), -1);
    (void)state;
}

static void test_error_sys(void **state)
{
    static const struct {
        int err;
        enum rfs_rv rv;
    } rows[] = {
        {ENOSPC, RFS_RV_NO_RESOURCES}, {EDQUOT, RFS_RV_NO_RESOURCES}, {EACCES, RFS_RV_ACCESS_DENIED},
        {EROFS, RFS_RV_ACCESS_DENIED}, {ETIMEDOUT, RFS_RV_TIMEOUT},   {EIO, RFS_RV_FAILED},
        {ENOENT, RFS_RV_FAILED},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rfs_error err = RFS_ERROR_INIT;

        rfs_fail_sys(&err, rows[i].err, "open %s", "x");
        assert_int_equal(err.rv, rows[i].rv);
        assert_int_equal(err.err, rows[i].err);
        assert_memory_equal(err.msg, "open x: ", 8);
        assert_string_equal(err.msg + 8, strerror(rows[i].err));
    }
    (void)state;
}

static void test_error_long(void **state)
{
    struct rfs_error err = RFS_ERROR_INIT;
    char text[3000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    rfs_fail_sys(&err, EIO, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
    rfs_error_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
    (void)state;
}

/* --- text --- */

static void test_text(void **state)
{
    struct rfs_text t = RFS_TEXT_INIT;

    rfs_text_append(&t, "", 0);
    assert_string_equal(t.data, "");
    for (int i = 0; i < 1000; i++)
        rfs_text_printf(&t, "%03d,", i);
    assert_int_equal(t.len, 4000);
    assert_memory_equal(t.data + 3996, "999,", 5);
    rfs_text_clear(&t);
    assert_string_equal(t.data, "");
    rfs_text_printf(&t, "%0500d", 1); /* longer than what is there */
    assert_int_equal(strlen(t.data), 500);
    rfs_text_free(&t);
    assert_null(t.data);
    rfs_text_clear(&t);
    (void)state;
}

static void test_json(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\n\t\r\x01\x7f", "\"\\n\\t\\u000d\\u0001\\u007f\""},
        {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
        {"\xe2\x82\xac", "\"\xe2\x82\xac\""},
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},
        {"x\xff", "\"x\xef\xbf\xbd\""},
        {"\xc3", "\"\xef\xbf\xbd\""},                                                 /* cut off */
        {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                                 /* cut off */
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                                 /* overlong */
        {"\xe0\x80\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong */
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},                 /* surrogate */
        {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* beyond U+10FFFF */
        {"\xc3(", "\"\xef\xbf\xbd(\""},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rfs_text t = RFS_TEXT_INIT;

        rfs_text_json(&t, rows[i].in);
        assert_string_equal(t.data, rows[i].out);
        rfs_text_free(&t);
    }
    (void)state;
}

static void test_pair(void **state)
{
    static const struct {
        const char *value, *out;
    } rows[] = {
        {"plain", "k=plain\n"},
        {"a=b/c:d,e", "k=a=b/c:d,e\n"},
        {"gr\xc3\xbc\xc3\x9f", "k=gr\xc3\xbc\xc3\x9f\n"},
        {"", "k=\"\"\n"},
        {"two words", "k=\"two words\"\n"},
        {"a\"b", "k=\"a\\\"b\"\n"},
        {"a\\b", "k=\"a\\\\b\"\n"},
        {"a\nb\tc", "k=\"a\\nb\\tc\"\n"},
        {"\x1b", "k=\"\\x1b\"\n"},
    };
    struct rfs_text t = RFS_TEXT_INIT;

    for (size_t i = 0; i < COUNT(rows); i++) {
        rfs_text_clear(&t);
        rfs_text_pair(&t, "k", rows[i].value);
        assert_string_equal(t.data, rows[i].out);
    }
    rfs_text_clear(&t);
    rfs_text_pair(&t, "k", NULL);
    assert_int_equal(t.len, 0);
    rfs_text_free(&t);
    (void)state;
}

static void test_time(void **state)
{
    struct rfs_text t = RFS_TEXT_INIT;
    uint64_t before = rfs_now_ms();

    rfs_text_time(&t, 0);
    assert_int_equal(t.len, 0);
    rfs_text_time(&t, 1709210096007ull);
    assert_string_equal(t.data, "2024-02-29T12:34:56.007Z");
    rfs_text_free(&t);
    assert_true(rfs_now_ms() >= before && rfs_now_ms() - before < 60000);
    (void)state;
}

/* --- loop --- */

#define POSTERS 4
#define POSTS   2000

struct numbered {
    struct rfs_task task;
    unsigned poster, number;
    struct order *order;
};

struct order {
    struct rfs_loop *loop;
    unsigned next[POSTERS], total; /* the loop's */
    bool wrong;
    struct numbered tasks[POSTERS][POSTS];
};

static void run_numbered(struct rfs_task *task)
{
    struct numbered *n = RFS_CONTAINER_OF(task, struct numbered, task);
    struct order *o = n->order;

    if (n->number != o->next[n->poster] || !rfs_loop_is_current(o->loop))
        o->wrong = true;
    o->next[n->poster] = n->number + 1;
    o->total++;
}

static void *post_all(void *arg)
{
    struct numbered *tasks = arg;

    for (unsigned i = 0; i < POSTS; i++)
        rfs_loop_post(tasks->order->loop, &tasks[i].task);
    return NULL;
}

static bool all_have_run(void *arg)
{
    return ((struct order *)arg)->total == POSTERS * POSTS;
}

static void test_posting_order(void **state)
{
    struct order *o = calloc(1, sizeof(*o));
    pthread_t threads[POSTERS];

    o->loop = async_loop();
    assert_false(rfs_loop_is_current(o->loop));
    for (unsigned p = 0; p < POSTERS; p++)
        for (unsigned i = 0; i < POSTS; i++)
            o->tasks[p][i] = (struct numbered){{NULL, run_numbered}, p, i, o};
    for (unsigned p = 0; p < POSTERS; p++)
        assert_int_equal(pthread_create(&threads[p], NULL, post_all, o->tasks[p]), 0);
    for (unsigned p = 0; p < POSTERS; p++)
        pthread_join(threads[p], NULL);
    async_wait(o->loop, all_have_run, o, "all tasks");
    assert_false(o->wrong);
    rfs_loop_stop(o->loop);
    free(o);
    (void)state;
}

struct reposter {
    struct rfs_task task;
    struct rfs_loop *loop;
    unsigned runs;
    bool inside, nested;
};

static void run_reposter(struct rfs_task *task)
{
    struct reposter *r = RFS_CONTAINER_OF(task, struct reposter, task);

    r->nested = r->nested || r->inside;
    r->inside = true;
    if (++r->runs < 100)
        rfs_loop_post(r->loop, &r->task);
    r->inside = false;
}

/* A task posts itself from within: later, never inside; and what was posted before the stop still runs. */
static void test_repost_and_stop(void **state)
{
    struct reposter r = {.task = {.run = run_reposter}, .loop = async_loop()};

    rfs_loop_post(r.loop, &r.task);
    rfs_loop_stop(r.loop);
    assert_int_equal(r.runs, 100);
    assert_false(r.nested);
    rfs_loop_stop(NULL);
    (void)state;
}

/* --- timers --- */

struct timers {
    struct rfs_loop *loop;
    struct rfs_timer *early, *late, *never, *own;
    char log[16];
    bool active;
};

static void note(struct timers *t, char c)
{
    size_t len = strlen(t->log);

    assert_true(len < sizeof(t->log) - 1);
    t->log[len] = c;
}

static void on_early(void *arg)
{
    note(arg, 'e');
}

static void on_late(void *arg)
{
    note(arg, 'l');
}

static void on_never(void *arg)
{
    note(arg, 'n');
}

static void on_own(void *arg)
{
    struct timers *t = arg;

    note(t, 'o');
    if (strlen(t->log) < 6) {
        rfs_timer_start(t->own, 1);
        return;
    }
    rfs_timer_destroy(t->own);
    t->own = NULL;
}

static void start_timers(void *arg)
{
    struct timers *t = arg;

    t->early = rfs_timer_new(t->loop, on_early, t);
    t->late = rfs_timer_new(t->loop, on_late, t);
    t->never = rfs_timer_new(t->loop, on_never, t);
    t->own = rfs_timer_new(t->loop, on_own, t);
    t->active = rfs_timer_active(t->early);
    rfs_timer_start(t->late, 40);
    rfs_timer_start(t->early, 10);
    rfs_timer_start(t->never, 20);
    t->active = !t->active && rfs_timer_active(t->never);
    rfs_timer_stop(t->never);
    t->active = t->active && !rfs_timer_active(t->never);
    rfs_timer_start(t->own, 60);
}

static bool timers_are_over(void *arg)
{
    return !((struct timers *)arg)->own;
}

static void stop_timers(void *arg)
{
    struct timers *t = arg;

    rfs_timer_start(t->never, 0);
    rfs_timer_destroy(t->never); /* does not run any more */
    rfs_timer_destroy(t->early);
    rfs_timer_destroy(t->late);
    rfs_timer_destroy(NULL);
}

static void test_timers(void **state)
{
    struct timers t = {.loop = async_loop()};
    uint64_t begin = rfs_mono_ms();

    rfs_loop_call(t.loop, start_timers, &t);
    async_wait(t.loop, timers_are_over, &t, "timers");
    assert_true(rfs_mono_ms() - begin >= 60);
    rfs_loop_call(t.loop, stop_timers, &t);
    rfs_loop_stop(t.loop);
    assert_true(t.active);
    assert_string_equal(t.log, "eloooo");
    (void)state;
}

/* --- I/O threads --- */

#define WORKS 200

struct job {
    struct rfs_work work;
    struct pool *pool;
    unsigned number;
};

struct pool {
    struct rfs_loop *loop;
    struct job jobs[WORKS];
    atomic_uint running, most, ran, done;
    unsigned order[WORKS]; /* of running, with one thread */
    bool wrong;            /* the loop's */
    pthread_barrier_t barrier;
};

static void run_job(struct rfs_work *work)
{
    struct job *j = RFS_CONTAINER_OF(work, struct job, work);
    struct pool *p = j->pool;
    unsigned now = atomic_fetch_add(&p->running, 1) + 1, most = atomic_load(&p->most);

    while (now > most && !atomic_compare_exchange_weak(&p->most, &most, now))
        ;
    p->order[j->number] = atomic_fetch_add(&p->ran, 1);
    atomic_fetch_sub(&p->running, 1);
}

static void on_loop(struct rfs_work *work)
{
    struct pool *p = RFS_CONTAINER_OF(work, struct job, work)->pool;

    if (!rfs_loop_is_current(p->loop))
        p->wrong = true;
    atomic_fetch_add(&p->done, 1);
}

static void on_thread(struct rfs_work *work)
{
    atomic_fetch_add(&RFS_CONTAINER_OF(work, struct job, work)->pool->done, 1);
}

static bool all_done(void *arg)
{
    return atomic_load(&((struct pool *)arg)->done) == WORKS;
}

static void submit_all(struct pool *p, struct rfs_iothreads *io, struct rfs_loop *loop,
                       void (*done)(struct rfs_work *work))
{
    for (unsigned i = 0; i < WORKS; i++) {
        p->jobs[i] = (struct job){{.loop = loop, .run = run_job, .done = done}, p, i};
        rfs_iothreads_submit(io, &p->jobs[i].work);
    }
}

static void test_iothreads_on_loop(void **state)
{
    struct pool *p = calloc(1, sizeof(*p));
    struct rfs_iothreads *io = rfs_iothreads_new("test", 3);

    p->loop = async_loop();
    submit_all(p, io, p->loop, on_loop);
    async_wait(p->loop, all_done, p, "all works");
    rfs_iothreads_free(io);
    rfs_loop_stop(p->loop);
    assert_false(p->wrong);
    assert_in_range(atomic_load(&p->most), 1, 3);
    free(p);
    (void)state;
}

/* One thread: in order; freeing waits for what was submitted; done() may be on the thread, or not at all. */
static void test_iothreads_in_order(void **state)
{
    struct pool *p = calloc(1, sizeof(*p));
    struct rfs_iothreads *io = rfs_iothreads_new("a name that is too long", 0);

    submit_all(p, io, NULL, on_thread);
    rfs_iothreads_free(io);
    assert_int_equal(atomic_load(&p->done), WORKS);
    for (unsigned i = 0; i < WORKS; i++)
        assert_int_equal(p->order[i], i);
    io = rfs_iothreads_new("none", 1);
    submit_all(p, io, NULL, NULL);
    rfs_iothreads_free(io);
    assert_int_equal(atomic_load(&p->ran), 2 * WORKS);
    assert_int_equal(atomic_load(&p->done), WORKS);
    rfs_iothreads_free(rfs_iothreads_new("unused", 4));
    rfs_iothreads_free(NULL);
    free(p);
    (void)state;
}

static void meet(struct rfs_work *work)
{
    pthread_barrier_wait(&RFS_CONTAINER_OF(work, struct job, work)->pool->barrier);
}

/* Works that wait for each other come to an end only if there are as many threads as were promised. */
static void test_iothreads_are_parallel(void **state)
{
    struct pool *p = calloc(1, sizeof(*p));
    struct rfs_iothreads *io = rfs_iothreads_new("test", 4);

    pthread_barrier_init(&p->barrier, NULL, 4);
    /* Of the first burst each work starts a thread; in the later ones threads are idle, and one that was woken but does
     * not run yet must not be counted twice. The first rounds have one work, so that few threads are there to begin. */
    for (unsigned round = 0; round < 20; round++) {
        unsigned works = round < 2 ? 1 : 4;
        unsigned before = atomic_load(&p->done);

        for (unsigned i = 0; i < works; i++) {
            p->jobs[i] = (struct job){{.run = works == 1 ? run_job : meet, .done = on_thread}, p, i};
            rfs_iothreads_submit(io, &p->jobs[i].work);
        }
        while (atomic_load(&p->done) < before + works)
            sched_yield();
    }
    rfs_iothreads_free(io);
    pthread_barrier_destroy(&p->barrier);
    free(p);
    (void)state;
}

static void test_log_without_log(void **state)
{
    rfs_log(NULL, RFS_LOG_ERROR, "nothing %s", "happens");
    rfs_log_free(NULL);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rv_table),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_error_sys),
        cmocka_unit_test(test_error_long),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_pair),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_posting_order),
        cmocka_unit_test(test_repost_and_stop),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_iothreads_on_loop),
        cmocka_unit_test(test_iothreads_in_order),
        cmocka_unit_test(test_iothreads_are_parallel),
        cmocka_unit_test(test_log_without_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
