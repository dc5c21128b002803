/* SPDX-License-Identifier: Apache-2.0 */
#include "pair_env.h"

struct listener {
    struct rfs_volume_listener l;
    struct env *env;
    unsigned told;
    struct listener *leaves; /* who leaves when this one is told: itself or another */
    char name, *order;
};

static void on_changed(struct rfs_volume_listener *l, struct rfs_volume *vol)
{
    struct listener *me = RFS_CONTAINER_OF(l, struct listener, l);

    me->told++;
    me->order[strlen(me->order)] = me->name;
    if (me->leaves)
        rfs_volume_unlisten(vol, &me->leaves->l);
    me->leaves = NULL;
}

struct choir {
    struct env env;
    struct listener who[4];
    char order[64];
};

static void listen_all(void *arg)
{
    struct choir *c = arg;

    for (int i = 0; i < 4; i++) {
        c->who[i] = (struct listener){
            .l.changed = on_changed, .env = &c->env, .name = (char)('a' + i), .order = c->order};
        rfs_volume_listen(c->env.side[0].vol, &c->who[i].l);
    }
}

static void outage(void *arg)
{
    struct choir *c = arg;

    rfs_fault_outage(c->env.side[0].fault, 1);
}

static bool is_offline(void *arg)
{
    struct choir *c = arg;

    return rfs_volume_state(c->env.side[0].vol) == RFS_DEVICE_OFFLINE || strlen(c->order) > 4;
}

static bool is_online(void *arg)
{
    return env_both_online(&((struct choir *)arg)->env);
}

static void unlisten_left(void *arg)
{
    struct choir *c = arg;

    rfs_volume_unlisten(c->env.side[0].vol, &c->who[0].l);
    rfs_volume_unlisten(c->env.side[0].vol, &c->who[3].l);
}

/* In the order of registration; who leaves, or is made to leave, while they are told is not told any more. */
static void test_listeners(void **state)
{
    static const struct env_options o = {.size = MIB};
    struct choir c = {.order = ""};

    (void)state;
    env_begin(&c.env, &o);
    rfs_loop_call(c.env.loop, listen_all, &c);
    c.who[1].leaves = &c.who[1];
    c.who[0].leaves = &c.who[2];
    rfs_loop_call(c.env.loop, outage, &c);
    async_wait(c.env.loop, is_offline, &c, "Offline");
    async_wait(c.env.loop, is_online, &c, "Online");
    assert_string_equal(c.order, "abdad");
    assert_int_equal(atomic_load(&rfs_volume_stats(c.env.side[0].vol)->reconnects), 1);
    rfs_loop_call(c.env.loop, unlisten_left, &c);
    env_end(&c.env);
}

/* --- requests --- */

struct request {
    struct env *env;
    struct rfs_io io;
    struct iovec vec;
    uint8_t data[4096];
    bool in_submit, inside;
    sem_t done;
};

static void on_done(struct rfs_io *io)
{
    struct request *r = RFS_CONTAINER_OF(io, struct request, io);

    r->inside = r->in_submit;
    sem_post(&r->done);
}

static void submit(void *arg)
{
    struct request *r = arg;

    r->in_submit = true;
    rfs_volume_submit(r->env->side[0].vol, &r->io);
    r->in_submit = false;
}

static void start(struct request *r, struct env *e, enum rfs_io_op op, uint64_t length)
{
    memset(r, 0, sizeof(*r));
    r->env = e;
    r->vec = (struct iovec){r->data, length};
    r->io = (struct rfs_io){.op = op, .length = length, .iov = &r->vec, .niov = 1, .done = on_done};
    sem_init(&r->done, 0, 0);
    rfs_loop_call(e->loop, submit, r);
}

static enum rfs_io_status finish(struct request *r)
{
    async_sem_wait(&r->done, "request");
    sem_destroy(&r->done);
    assert_false(r->inside);
    return r->io.status;
}

static void test_counters(void **state)
{
    static const struct env_options o = {.size = MIB};
    struct rfs_volume_stats *s;
    struct request r;
    struct env e;

    (void)state;
    env_begin(&e, &o);
    s = rfs_volume_stats(e.side[0].vol);
    for (int i = 0; i < 3; i++) {
        start(&r, &e, RFS_IO_READ, 1024);
        assert_int_equal(finish(&r), RFS_IO_OK);
        assert_memory_equal(r.data, e.side[0].bytes, 1024);
    }
    start(&r, &e, RFS_IO_WRITE, 512);
    assert_int_equal(finish(&r), RFS_IO_OK);
    start(&r, &e, RFS_IO_FLUSH, 0);
    assert_int_equal(finish(&r), RFS_IO_OK);
    start(&r, &e, RFS_IO_UNMAP, 512);
    assert_int_equal(finish(&r), RFS_IO_UNSUPPORTED);
    assert_int_equal(atomic_load(&s->errors), 0);
    start(&r, &e, RFS_IO_READ, 1);
    assert_int_equal(finish(&r), RFS_IO_ERROR);
    assert_string_not_equal(r.io.error.msg, "");
    assert_int_equal(atomic_load(&s->errors), 1);
    assert_int_equal(atomic_load(&s->read_ops), 3);
    assert_int_equal(atomic_load(&s->read_bytes), 3 * 1024);
    assert_int_equal(atomic_load(&s->write_ops), 1);
    assert_int_equal(atomic_load(&s->write_bytes), 512);
    assert_int_equal(atomic_load(&s->flush_ops), 1);
    env_end(&e);
}

/* What hangs when the volume is closed comes back LOST before closed(). */
static void test_close(void **state)
{
    static const struct env_options o = {.size = MIB};
    struct request r[3];
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_fault(&e, RFS_SOURCE, (struct rfs_fault_rule){.what = RFS_FAULT_HANG});
    for (int i = 0; i < 3; i++)
        start(&r[i], &e, RFS_IO_READ, 512);
    env_end(&e);
    for (int i = 0; i < 3; i++) {
        int done = 0;

        sem_getvalue(&r[i].done, &done);
        assert_int_equal(done, 1);
        assert_int_equal(finish(&r[i]), RFS_IO_LOST);
    }
}

static void open_bad(void *arg)
{
    struct rfs_error err = RFS_ERROR_INIT;
    struct rfs_device_config config = {.name = "x", .url = "ftp://nowhere"};

    assert_null(rfs_volume_open(arg, &config, NULL, NULL, &err));
    assert_int_equal(err.rv, RFS_RV_INVALID_PARAMETER);
}

static void test_bad_url(void **state)
{
    struct rfs_loop *loop = async_loop();

    (void)state;
    rfs_loop_call(loop, open_bad, loop);
    rfs_loop_stop(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_bad_url),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
