/* SPDX-License-Identifier: Apache-2.0
 * The fault device over a memory device, whose bytes the tests see: what is on the medium and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "device/fault.h"
#include "device/memory.h"
#include "../lib/async.h"

#define BLOCK  512u
#define BLOCKS 128u
#define SIZE   (BLOCK * BLOCKS)

struct fixture {
    struct rfs_loop *loop;
    struct async_device d;
    struct rfs_device *inner; /* of open_double: the fault device below the one in use */
    uint8_t medium[SIZE], allocated[BLOCKS];
    uint8_t buf[SIZE];
};

static struct rfs_device *open_inner(void *arg, struct rfs_loop *loop, const struct rfs_device_events *events,
                                     void *events_arg, struct rfs_error *err)
{
    struct fixture *fx = arg;
    struct rfs_memory_options options = {.size = SIZE,
                                         .max_unmap = SIZE,
                                         .max_write_zeroes = SIZE,
                                         .extent_status = true,
                                         .unmapped_reads_zero = true,
                                         .bytes = fx->medium,
                                         .allocated = fx->allocated,
                                         .identity = "inner"};

    (void)err;
    return rfs_memory_open(loop, &options, events, events_arg);
}

static struct rfs_device *open_fault(void *arg, struct rfs_loop *loop, const struct rfs_device_events *events,
                                     void *events_arg, struct rfs_error *err)
{
    return rfs_fault_open(loop, open_inner, arg, events, events_arg, err);
}

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));

    fx->loop = async_loop();
    async_open(&fx->d, fx->loop, open_fault, fx);
    async_wait_state(&fx->d, RFS_DEVICE_ONLINE);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;

    if (fx->d.dev)
        async_close(&fx->d);
    rfs_loop_stop(fx->loop);
    free(fx);
    return 0;
}

/* --- what a test does, on the loop --- */

struct command {
    struct rfs_device *dev;
    enum { ADD, CLEAR, OUTAGE, RESTORE, CACHE, POWER_CUT } what;
    const struct rfs_fault_rule *rule;
    uint64_t number, seed;
};

static void run_command(void *arg)
{
    struct command *c = arg;

    if (c->what == ADD)
        rfs_fault_add(c->dev, c->rule);
    else if (c->what == CLEAR)
        rfs_fault_clear(c->dev);
    else if (c->what == OUTAGE)
        rfs_fault_outage(c->dev, c->number);
    else if (c->what == RESTORE)
        rfs_fault_restore(c->dev);
    else if (c->what == CACHE)
        rfs_fault_volatile_cache(c->dev, c->number);
    else
        rfs_fault_power_cut(c->dev, c->seed, c->number);
}

#define DO_ON(fx, device, ...)                                                                               \
    rfs_loop_call((fx)->loop, run_command, &(struct command){.dev = device, __VA_ARGS__})
#define DO(fx, ...) DO_ON(fx, (fx)->d.dev, __VA_ARGS__)
#define FAULT(...)  (&(const struct rfs_fault_rule){__VA_ARGS__})

static enum rfs_io_status write_byte(struct fixture *fx, unsigned block, unsigned n, uint8_t byte)
{
    memset(fx->buf, byte, n * BLOCK);
    return async_io(&fx->d, RFS_IO_WRITE, block * BLOCK, fx->buf, n * BLOCK);
}

static uint8_t read_byte(struct fixture *fx, unsigned block)
{
    assert_int_equal(async_io(&fx->d, RFS_IO_READ, block * BLOCK, fx->buf, BLOCK), RFS_IO_OK);
    assert_int_equal(memcmp(fx->buf, fx->buf + 1, BLOCK - 1), 0);
    return fx->buf[0];
}

static uint8_t on_medium(const struct fixture *fx, unsigned block)
{
    return fx->medium[block * BLOCK];
}

/* --- rules --- */

static void test_pass_through(void **state)
{
    struct fixture *fx = *state;

    assert_string_equal(fx->d.dev->info.identity, "inner");
    assert_false(fx->d.dev->info.volatile_cache);
    assert_int_equal(write_byte(fx, 3, 2, 7), RFS_IO_OK);
    assert_int_equal(on_medium(fx, 4), 7);
    assert_int_equal(read_byte(fx, 4), 7);
    assert_int_equal(async_flush(&fx->d), RFS_IO_OK);
    assert_int_equal(async_io(&fx->d, RFS_IO_UNMAP, 4 * BLOCK, NULL, BLOCK), RFS_IO_OK);
    assert_int_equal(fx->allocated[4], 0);
    assert_int_equal(rfs_fault_calls(fx->d.dev), 4);
    assert_true(async_close_in_flight(&fx->d));
}

static void test_status_nth(void **state)
{
    struct fixture *fx = *state;

    DO(fx, .rule = FAULT(.ops = 1u << RFS_IO_WRITE, .nth = 3, .what = RFS_FAULT_STATUS,
                         .status = RFS_IO_NOSPACE));
    assert_int_equal(write_byte(fx, 0, 1, 1), RFS_IO_OK);
    assert_int_equal(read_byte(fx, 0), 1);
    assert_int_equal(write_byte(fx, 1, 1, 2), RFS_IO_OK);
    assert_int_equal(write_byte(fx, 2, 1, 3), RFS_IO_NOSPACE);
    assert_int_equal(on_medium(fx, 2), 0);
    assert_int_equal(write_byte(fx, 2, 1, 4), RFS_IO_OK);
}

static void test_status_range(void **state)
{
    struct fixture *fx = *state;

    DO(fx, .rule = FAULT(.offset = 10 * BLOCK, .length = BLOCK, .what = RFS_FAULT_STATUS,
                         .status = RFS_IO_ERROR));
    assert_int_equal(write_byte(fx, 9, 1, 1), RFS_IO_OK);
    assert_int_equal(write_byte(fx, 9, 2, 1), RFS_IO_ERROR);
    assert_int_equal(async_io(&fx->d, RFS_IO_READ, 10 * BLOCK, fx->buf, BLOCK), RFS_IO_ERROR);
    assert_int_equal(write_byte(fx, 11, 1, 1), RFS_IO_OK);
    assert_int_equal(async_flush(&fx->d), RFS_IO_OK);
    DO(fx, .what = CLEAR);
    assert_int_equal(write_byte(fx, 10, 1, 1), RFS_IO_OK);
}

/* The first rule that matches acts; one that acts once leaves the next in place. */
static void test_rule_order(void **state)
{
    struct fixture *fx = *state;

    DO(fx, .rule = FAULT(.nth = 1, .what = RFS_FAULT_STATUS, .status = RFS_IO_RANGE));
    DO(fx, .rule = FAULT(.nth = 1, .what = RFS_FAULT_STATUS, .status = RFS_IO_PROTECTED));
    assert_int_equal(write_byte(fx, 0, 1, 1), RFS_IO_RANGE);
    assert_int_equal(write_byte(fx, 0, 1, 1), RFS_IO_PROTECTED);
    assert_int_equal(write_byte(fx, 0, 1, 1), RFS_IO_OK);
}

static void test_flip(void **state)
{
    struct fixture *fx = *state;
    unsigned changed = 0;

    DO(fx, .rule = FAULT(.at = 5 * BLOCK + 17, .nth = 1, .what = RFS_FAULT_FLIP));
    assert_int_equal(write_byte(fx, 7, 1, 9), RFS_IO_OK);
    assert_int_equal(write_byte(fx, 4, 3, 9), RFS_IO_OK);
    for (unsigned i = 4 * BLOCK; i < 7 * BLOCK; i++)
        changed += fx->medium[i] != 9;
    assert_int_equal(changed, 1);
    assert_int_equal(__builtin_popcount(fx->medium[5 * BLOCK + 17] ^ 9u), 1);
    assert_int_equal(fx->buf[BLOCK + 17], 9); /* the caller's memory is not touched */
}

static void test_delay(void **state)
{
    struct fixture *fx = *state;
    struct async_io slow, fast;
    uint64_t counter = 0;

    DO(fx, .rule = FAULT(.nth = 1, .what = RFS_FAULT_DELAY, .delay_ms = 50));
    async_prepare(&slow, &fx->d, RFS_IO_WRITE, 0, fx->buf, BLOCK);
    async_prepare(&fast, &fx->d, RFS_IO_WRITE, BLOCK, fx->buf, BLOCK);
    slow.counter = fast.counter = &counter;
    async_start(&slow);
    async_start(&fast);
    assert_int_equal(async_finish(&fast), RFS_IO_OK);
    assert_int_equal(async_finish(&slow), RFS_IO_OK);
    assert_int_equal(fast.order, 1);
}

/* --- sessions --- */

static bool is_back(void *arg)
{
    return ((struct async_device *)arg)->online == 2;
}

static void test_hang_until_outage(void **state)
{
    struct fixture *fx = *state;
    struct async_io hung, slow;

    DO(fx, .rule = FAULT(.nth = 1, .what = RFS_FAULT_HANG));
    DO(fx, .rule = FAULT(.nth = 1, .what = RFS_FAULT_DELAY, .delay_ms = 3600000));
    async_prepare(&hung, &fx->d, RFS_IO_WRITE, 0, fx->buf, BLOCK);
    async_prepare(&slow, &fx->d, RFS_IO_READ, 0, fx->buf, BLOCK);
    async_start(&hung);
    async_start(&slow);
    assert_int_equal(async_flush(&fx->d), RFS_IO_OK);
    assert_false(async_is_done(&hung) || async_is_done(&slow));
    DO(fx, .what = OUTAGE, .number = UINT64_MAX);
    assert_int_equal(async_finish(&hung), RFS_IO_LOST);
    assert_int_equal(async_finish(&slow), RFS_IO_LOST);
    assert_int_equal(fx->d.dev->state, RFS_DEVICE_OFFLINE);
    assert_true(fx->d.why.msg[0]);
    assert_int_equal(write_byte(fx, 0, 1, 1), RFS_IO_LOST);
    DO(fx, .what = RESTORE);
    async_wait_state(&fx->d, RFS_DEVICE_ONLINE);
    assert_int_equal(write_byte(fx, 0, 1, 1), RFS_IO_OK);
    assert_int_equal(fx->d.events, 3);
}

/* The session ends at the third of many requests: that one, those before and those behind are all answered.
 */
static void test_lose(void **state)
{
    enum { N = 8 };
    struct fixture *fx = *state;
    static struct async_io ios[N];

    DO(fx, .rule = FAULT(.ops = 1u << RFS_IO_WRITE, .nth = 3, .what = RFS_FAULT_LOSE, .delay_ms = 5));
    for (unsigned i = 0; i < N; i++)
        async_prepare(&ios[i], &fx->d, RFS_IO_WRITE, i * BLOCK, fx->buf, BLOCK);
    for (unsigned i = 0; i < N; i++)
        async_start(&ios[i]);
    for (unsigned i = 0; i < N; i++) {
        enum rfs_io_status status = async_finish(&ios[i]);

        assert_true(status == RFS_IO_LOST || (i != 2 && status == RFS_IO_OK));
    }
    async_wait(fx->loop, is_back, &fx->d, "the end of the outage");
    assert_int_equal(write_byte(fx, 0, 1, 1), RFS_IO_OK);
}

static void test_close_hung(void **state)
{
    struct fixture *fx = *state;
    struct async_io hung;

    DO(fx, .rule = FAULT(.nth = 1, .what = RFS_FAULT_HANG));
    DO(fx, .rule = FAULT(.nth = 10, .what = RFS_FAULT_DELAY, .delay_ms = 3600000));
    async_prepare(&hung, &fx->d, RFS_IO_WRITE, 0, fx->buf, BLOCK);
    async_start(&hung);
    assert_true(async_close_in_flight(&fx->d));
    assert_int_equal(async_finish(&hung), RFS_IO_LOST);
}

static void run_outage_and_close(void *arg)
{
    struct fixture *fx = arg;

    rfs_fault_outage(fx->d.dev, 0);
    async_run_close(&fx->d);
}

static void test_close_in_outage(void **state)
{
    struct fixture *fx = *state;

    rfs_loop_call(fx->loop, run_outage_and_close, fx);
    async_close_end(&fx->d);
    assert_int_equal(fx->d.events, 1); /* none after the close */
}

/* A wrapper round a wrapper: the inner one's outage is the outer one's. */
static struct rfs_device *open_kept(void *arg, struct rfs_loop *loop, const struct rfs_device_events *events,
                                    void *events_arg, struct rfs_error *err)
{
    struct fixture *fx = arg;

    return fx->inner = open_fault(arg, loop, events, events_arg, err);
}

static struct rfs_device *open_double(void *arg, struct rfs_loop *loop,
                                      const struct rfs_device_events *events, void *events_arg,
                                      struct rfs_error *err)
{
    return rfs_fault_open(loop, open_kept, arg, events, events_arg, err);
}

static void test_inner_outage(void **state)
{
    struct fixture *fx = *state;
    struct async_device outer;
    struct async_io hung;

    async_open(&outer, fx->loop, open_double, fx);
    async_wait_state(&outer, RFS_DEVICE_ONLINE);
    DO_ON(fx, fx->inner, .rule = FAULT(.nth = 1, .what = RFS_FAULT_HANG));
    async_prepare(&hung, &outer, RFS_IO_WRITE, 0, fx->buf, BLOCK);
    async_start(&hung);
    DO_ON(fx, fx->inner, .what = OUTAGE, .number = 5);
    assert_int_equal(async_finish(&hung), RFS_IO_LOST);
    async_wait(fx->loop, is_back, &outer, "the end of the inner outage");
    assert_int_equal(async_flush(&outer), RFS_IO_OK);
    async_close(&outer);
}

/* --- the volatile cache --- */

static void cache_on(struct fixture *fx)
{
    DO(fx, .what = CACHE, .number = 1);
    assert_true(fx->d.dev->info.volatile_cache);
}

static void power_cut(struct fixture *fx, uint64_t seed)
{
    DO(fx, .what = POWER_CUT, .seed = seed, .number = 0);
    async_wait(fx->loop, is_back, &fx->d, "power");
}

static void test_cache_reads_and_flush(void **state)
{
    struct fixture *fx = *state;

    cache_on(fx);
    assert_int_equal(write_byte(fx, 0, 8, 1), RFS_IO_OK);
    assert_int_equal(write_byte(fx, 2, 2, 2), RFS_IO_OK);
    assert_int_equal(async_io(&fx->d, RFS_IO_WRITE_ZEROES, 3 * BLOCK, NULL, BLOCK), RFS_IO_OK);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(on_medium(fx, i), 0);
        assert_int_equal(read_byte(fx, i), i == 2 ? 2 : i == 3 ? 0 : 1);
    }
    assert_int_equal(async_flush(&fx->d), RFS_IO_OK);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(on_medium(fx, i), i == 2 ? 2 : i == 3 ? 0 : 1);
    assert_int_equal(fx->d.changed, 1);
}

/* FUA is for its own blocks and says nothing about others, but an older write must not come later. */
static void test_cache_fua(void **state)
{
    struct fixture *fx = *state;

    cache_on(fx);
    assert_int_equal(write_byte(fx, 0, 2, 1), RFS_IO_OK);
    assert_int_equal(write_byte(fx, 9, 1, 3), RFS_IO_OK);
    memset(fx->buf, 2, BLOCK);
    assert_int_equal(async_write_fua(&fx->d, 0, fx->buf, BLOCK), RFS_IO_OK);
    assert_int_equal(on_medium(fx, 0), 2);
    assert_int_equal(on_medium(fx, 9), 0);
    assert_int_equal(async_flush(&fx->d), RFS_IO_OK);
    assert_int_equal(on_medium(fx, 0), 2);
    assert_int_equal(on_medium(fx, 9), 3);
}

static void test_cache_unmap_and_extents(void **state)
{
    struct fixture *fx = *state;
    struct async_io a;

    cache_on(fx);
    assert_int_equal(write_byte(fx, 10, 4, 1), RFS_IO_OK);
    async_prepare(&a, &fx->d, RFS_IO_EXTENT_STATUS, 0, NULL, SIZE);
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_true(a.io.extent.deallocated && a.io.extent.length == 10 * BLOCK);
    a.io.offset = 11 * BLOCK;
    a.io.length = 20 * BLOCK;
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_true(!a.io.extent.deallocated && a.io.extent.length == 3 * BLOCK);
    assert_int_equal(async_io(&fx->d, RFS_IO_UNMAP, 10 * BLOCK, NULL, 2 * BLOCK), RFS_IO_OK);
    assert_int_equal(read_byte(fx, 10), 0);
    assert_int_equal(read_byte(fx, 12), 1);
    assert_int_equal(fx->allocated[10], 0);
}

static void test_power_cut_drops(void **state)
{
    struct fixture *fx = *state;

    cache_on(fx);
    write_byte(fx, 0, 4, 1);
    assert_int_equal(async_flush(&fx->d), RFS_IO_OK);
    write_byte(fx, 2, 4, 2);
    power_cut(fx, 0);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(read_byte(fx, i), i < 4 ? 1 : 0);
}

/* An outage alone drops nothing. */
static void test_outage_keeps_cache(void **state)
{
    struct fixture *fx = *state;

    cache_on(fx);
    write_byte(fx, 0, 1, 1);
    DO(fx, .what = OUTAGE, .number = 1);
    async_wait(fx->loop, is_back, &fx->d, "the end of the outage");
    assert_int_equal(read_byte(fx, 0), 1);
    assert_int_equal(on_medium(fx, 0), 0);
}

/* Each block of each write is decided for itself; of several writes to a block the last that got through
 * counts; the same seed decides the same. */
static void test_power_cut_seeded(void **state)
{
    struct fixture *fx = *state;
    static uint8_t first[SIZE];
    unsigned seen[4] = {0};

    for (unsigned round = 0; round < 2; round++) {
        if (round) {
            async_close(&fx->d);
            memset(fx->medium, 0, SIZE);
            async_open(&fx->d, fx->loop, open_fault, fx);
            async_wait_state(&fx->d, RFS_DEVICE_ONLINE);
        }
        cache_on(fx);
        for (uint8_t value = 1; value <= 3; value++)
            assert_int_equal(write_byte(fx, 0, BLOCKS, value), RFS_IO_OK);
        power_cut(fx, 42);
        if (!round)
            memcpy(first, fx->medium, SIZE);
    }
    assert_memory_equal(first, fx->medium, SIZE);
    for (unsigned i = 0; i < BLOCKS; i++)
        seen[on_medium(fx, i)]++;
    /* 1/2 of the last write, 1/4, 1/8, and 1/8 nothing at all: far from certain bounds */
    assert_in_range(seen[3], BLOCKS / 4, BLOCKS * 3 / 4);
    assert_in_range(seen[2], BLOCKS / 16, BLOCKS / 2);
    assert_in_range(seen[1], 1, BLOCKS / 3);
    assert_in_range(seen[0], 1, BLOCKS / 3);
}

/* The power goes while a flush is under way: it is LOST, and what had been flushed before stays. */
static void test_power_cut_in_flush(void **state)
{
    struct fixture *fx = *state;
    struct async_io flush, write;
    uint8_t buf[BLOCK];

    cache_on(fx);
    write_byte(fx, 0, 1, 1);
    async_flush(&fx->d);
    for (unsigned i = 1; i < 50; i++)
        write_byte(fx, i, 1, 1);
    memset(buf, 2, sizeof(buf));
    async_prepare(&flush, &fx->d, RFS_IO_FLUSH, 0, NULL, 0);
    async_prepare(&write, &fx->d, RFS_IO_WRITE, 0, buf, BLOCK);
    write.io.fua = true;
    async_start(&flush);
    async_start(&write);
    DO(fx, .what = POWER_CUT, .seed = 7, .number = 0);
    if (async_finish(&flush) == RFS_IO_OK)
        for (unsigned i = 1; i < 50; i++)
            assert_int_equal(on_medium(fx, i), 1);
    async_finish(&write);
    async_wait(fx->loop, is_back, &fx->d, "power");
    assert_in_range(read_byte(fx, 0), 1, 2);
}

static void test_cache_off_and_close(void **state)
{
    struct fixture *fx = *state;

    cache_on(fx);
    write_byte(fx, 0, 1, 1);
    DO(fx, .what = CACHE, .number = 0);
    assert_false(fx->d.dev->info.volatile_cache);
    assert_int_equal(write_byte(fx, 1, 1, 2), RFS_IO_OK); /* through, and behind the cached one */
    assert_int_equal(on_medium(fx, 0), 1);
    assert_int_equal(on_medium(fx, 1), 2);
    cache_on(fx);
    write_byte(fx, 2, 1, 3);
    async_close(&fx->d); /* not a power cut */
    assert_int_equal(on_medium(fx, 2), 3);
}

/* A flush that fails leaves the writes where they are; the next one may succeed. */
static void test_cache_flush_fails(void **state)
{
    struct fixture *fx = *state;
    struct async_device outer;
    uint8_t buf[BLOCK];

    async_open(&outer, fx->loop, open_double, fx);
    async_wait_state(&outer, RFS_DEVICE_ONLINE);
    DO_ON(fx, outer.dev, .what = CACHE, .number = 1);
    memset(buf, 5, sizeof(buf));
    assert_int_equal(async_io(&outer, RFS_IO_WRITE, 0, buf, BLOCK), RFS_IO_OK);
    DO_ON(fx, fx->inner, .rule = FAULT(.nth = 1, .what = RFS_FAULT_STATUS, .status = RFS_IO_NOSPACE));
    assert_int_equal(async_flush(&outer), RFS_IO_NOSPACE);
    assert_int_equal(on_medium(fx, 0), 0);
    assert_int_equal(async_flush(&outer), RFS_IO_OK);
    assert_int_equal(on_medium(fx, 0), 5);
    async_close(&outer);
}

/* --- against a model: without a power cut the cache cannot be seen --- */

#define DEPTH 16

static void model_step(struct fixture *fx, uint8_t *model, unsigned *seed)
{
    static struct async_io ios[DEPTH];
    static uint8_t bufs[DEPTH][8 * BLOCK];

    for (unsigned i = 0; i < DEPTH; i++) { /* each in an eighth of its own: nothing in flight overlaps */
        unsigned block = i * (BLOCKS / DEPTH) + (unsigned)rand_r(seed) % 4,
                 n = (unsigned)rand_r(seed) % 4 + 1;
        enum rfs_io_op op = (enum rfs_io_op)(rand_r(seed) % 3);
        uint8_t byte = (uint8_t)rand_r(seed);

        memset(bufs[i], byte, n * BLOCK);
        async_prepare(&ios[i], &fx->d, op == RFS_IO_FLUSH && i % 4 ? RFS_IO_READ : op, block * BLOCK, bufs[i],
                      n * BLOCK);
        ios[i].io.fua = rand_r(seed) % 4 == 0;
        if (op == RFS_IO_WRITE)
            memset(model + block * BLOCK, byte, n * BLOCK);
        async_start(&ios[i]);
    }
    for (unsigned i = 0; i < DEPTH; i++) {
        assert_int_equal(async_finish(&ios[i]), RFS_IO_OK);
        if (ios[i].io.op == RFS_IO_READ)
            assert_memory_equal(bufs[i], model + ios[i].io.offset, ios[i].io.length);
    }
}

static void test_cache_random(void **state)
{
    struct fixture *fx = *state;
    static uint8_t model[SIZE];
    unsigned seed = 1;

    cache_on(fx);
    for (unsigned step = 0; step < 100; step++) {
        model_step(fx, model, &seed);
        if (step % 30 == 29)
            DO(fx, .what = CACHE, .number = step % 60 != 29);
    }
    assert_int_equal(async_flush(&fx->d), RFS_IO_OK);
    assert_memory_equal(fx->medium, model, SIZE);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_pass_through),
        T(test_status_nth),
        T(test_status_range),
        T(test_rule_order),
        T(test_flip),
        T(test_delay),
        T(test_hang_until_outage),
        T(test_lose),
        T(test_close_hung),
        T(test_close_in_outage),
        T(test_inner_outage),
        T(test_cache_reads_and_flush),
        T(test_cache_fua),
        T(test_cache_unmap_and_extents),
        T(test_power_cut_drops),
        T(test_outage_keeps_cache),
        T(test_power_cut_seeded),
        T(test_power_cut_in_flush),
        T(test_cache_off_and_close),
        T(test_cache_flush_fails),
        T(test_cache_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
