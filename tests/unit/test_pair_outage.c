/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions that end while a pair copies: it waits and goes on by itself, and never believes that the target has what it
 * may have lost (power cuts with a volatile cache, at random moments; the seed is printed).
 */
#include "pair_env.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool has_lost(void *arg)
{
    return ((struct env *)arg)->lost > 0;
}

static bool has_read_half(void *arg)
{
    struct env *e = arg;

    return STAT(e, bytes_read) >= e->o.size / 2;
}

static void source_out(struct env *e)
{
    rfs_fault_outage(e->side[RFS_SOURCE].fault, UINT64_MAX);
}

static void target_out(struct env *e)
{
    rfs_fault_outage(e->side[RFS_TARGET].fault, UINT64_MAX);
}

static void both_out(struct env *e)
{
    source_out(e);
    target_out(e);
}

static void restore(struct env *e)
{
    rfs_fault_restore(e->side[RFS_SOURCE].fault);
    rfs_fault_restore(e->side[RFS_TARGET].fault);
}

static void volatile_source(struct env *e)
{
    rfs_fault_volatile_cache(e->side[RFS_SOURCE].fault, true);
}

static void (*const outages[])(struct env *e) = {source_out, target_out, both_out};

static void slow_down(struct env *e)
{
    env_fault(e, RFS_SOURCE, (struct rfs_fault_rule){.what = RFS_FAULT_DELAY, .delay_ms = 2});
    e->settings.max_requests = 4;
    e->settings.max_transfer = 128 * 1024;
}

static void test_outage(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(outages); i++) {
        struct env_options o = {.size = 8 * MIB};
        struct env e;

        env_begin(&e, &o);
        slow_down(&e);
        env_start(&e);
        async_wait(e.loop, has_read_half, &e, "half of it");
        env_on_loop(&e, outages[i]);
        async_wait(e.loop, has_lost, &e, "lost()");
        assert_int_equal(env_phase(&e), RFS_PAIR_WAITING);
        assert_int_equal(e.resumed, 0);
        env_on_loop(&e, restore);
        env_await_end(&e);
        assert_int_equal(e.copied, 1);
        assert_int_equal(e.lost, 1);
        assert_int_equal(e.resumed, 1);
        env_check_copied(&e);
        env_end(&e);
    }
}

static bool is_quiet(void *arg)
{
    return STAT((struct env *)arg, in_flight_bytes) == 0;
}

/* What the target had when the source went is flushed and counts. */
static void test_source_lost_keeps(void **state)
{
    struct env_options o = {.size = 8 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    slow_down(&e);
    env_start(&e);
    async_wait(e.loop, has_read_half, &e, "half of it");
    env_on_loop(&e, source_out);
    async_wait(e.loop, has_lost, &e, "lost()");
    async_wait(e.loop, is_quiet, &e, "nothing in flight");
    env_halt(&e);
    assert_true(rfs_pmap_dirty_bytes(e.map) < o.size * 2 / 3);
    env_check_state(&e);
    env_on_loop(&e, restore);
    async_wait(e.loop, env_both_online, &e, "Online");
    env_copy(&e);
    env_check_copied(&e);
    env_end(&e);
}

static void test_volatile_source(void **state)
{
    struct env_options o = {.size = 8 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_on_loop(&e, volatile_source);
    slow_down(&e);
    env_start(&e);
    async_wait(e.loop, has_read_half, &e, "half of it");
    env_on_loop(&e, source_out);
    async_wait(e.loop, has_lost, &e, "lost()");
    async_wait(e.loop, is_quiet, &e, "nothing in flight");
    assert_int_equal(rfs_pmap_dirty_bytes(e.map), o.size);
    env_on_loop(&e, restore);
    env_await_end(&e);
    env_check_copied(&e);
    env_end(&e);
}

static void test_run_offline(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_on_loop(&e, target_out);
    env_start(&e);
    async_wait(e.loop, has_lost, &e, "lost()");
    assert_int_equal(e.lost_side, RFS_TARGET);
    env_on_loop(&e, restore);
    env_await_end(&e);
    assert_int_equal(e.lost, 1);
    assert_int_equal(e.resumed, 1);
    env_check_copied(&e);
    env_end(&e);
}

/* Run before the first connection has been made. */
static void test_run_connecting(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct env e;

    (void)state;
    env_begin_offline(&e, &o);
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    env_check_copied(&e);
    env_end(&e);
}

static void test_stop_waiting(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(outages); i++) {
        struct env_options o = {.size = 8 * MIB};
        struct env e;

        env_begin(&e, &o);
        slow_down(&e);
        env_start(&e);
        async_wait(e.loop, has_read_half, &e, "half of it");
        env_on_loop(&e, outages[i]);
        async_wait(e.loop, has_lost, &e, "lost()");
        env_halt(&e);
        assert_int_equal(e.stopped, 1);
        assert_false(e.complete);
        assert_int_equal(e.resumed + e.copied + e.failed, 0);
        env_check_state(&e);
        env_on_loop(&e, restore);
        async_wait(e.loop, env_both_online, &e, "Online");
        assert_int_equal(e.resumed, 0);
        env_copy(&e);
        env_check_copied(&e);
        env_end(&e);
    }
}

/* --- a target that loses what it acknowledged --- */

static void betray(struct env *e)
{
    struct rfs_error why;

    e->side[RFS_TARGET].inner->writes_lost++;
    rfs_fail(&why, RFS_RV_FAILED, "a write that had been acknowledged has failed");
    rfs_device_set_state(e->side[RFS_TARGET].inner, RFS_DEVICE_OFFLINE, &why);
}

static void accept_again(struct env *e)
{
    rfs_device_set_state(e->side[RFS_TARGET].inner, RFS_DEVICE_ONLINE, NULL);
}

struct loss {
    struct env *env;
    unsigned before; /* lost() came so often */
};

static bool is_got_over_or_failed(void *arg)
{
    struct loss *l = arg;

    return l->env->failed || (l->env->lost > l->before && l->env->resumed == l->env->lost);
}

static void lose_often(struct env *e, void (*lose)(struct env *e), unsigned times)
{
    for (unsigned i = 0; i < times && !e->failed; i++) {
        struct loss l = {e, e->lost};

        env_on_loop(e, lose);
        env_on_loop(e, accept_again);
        env_on_loop(e, restore);
        async_wait(e->loop, is_got_over_or_failed, &l, "resumed or failed");
    }
}

/* Outages, however many, are got over; this is not. */
static void test_writes_lost_in_vain(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_fault(&e, RFS_TARGET, (struct rfs_fault_rule){.ops = 1u << RFS_IO_FLUSH, .what = RFS_FAULT_HANG});
    env_start(&e);
    lose_often(&e, target_out, 7);
    assert_int_equal(e.failed, 0);
    lose_often(&e, betray, 4);
    assert_int_equal(e.failed, 0);
    lose_often(&e, betray, 1);
    env_await_end(&e);
    assert_int_equal(e.failed, 1);
    assert_int_equal(e.failed_side, RFS_TARGET);
    assert_non_null(strstr(e.why.msg, "lost writes it had acknowledged, 5 times"));
    assert_non_null(strstr(e.why.msg, "has failed"));
    env_on_loop(&e, env_clear_faults);
    async_wait(e.loop, env_both_online, &e, "Online");
    env_check_state(&e);
    env_copy(&e); /* and a new run begins to count anew */
    env_check_copied(&e);
    env_end(&e);
}

static void refuse(struct env *e)
{
    struct rfs_error why;

    rfs_fail(&why, RFS_RV_FAILED, "another LUN answers here");
    rfs_device_set_state(e->side[RFS_TARGET].inner, RFS_DEVICE_REFUSED, &why);
}

static void test_refused(void **state)
{
    struct env_options o = {.size = 8 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    slow_down(&e);
    env_start(&e);
    async_wait(e.loop, has_read_half, &e, "half of it");
    env_on_loop(&e, refuse);
    env_await_end(&e);
    assert_int_equal(e.failed, 1);
    assert_int_equal(e.failed_side, RFS_TARGET);
    assert_non_null(strstr(e.why.msg, "another LUN"));
    env_check_state(&e);
    env_on_loop(&e, accept_again);
    async_wait(e.loop, env_both_online, &e, "Online");
    env_copy(&e);
    env_check_copied(&e);
    env_end(&e);
}

/* --- checkpoints --- */

static bool has_cleared(void *arg)
{
    struct env *e = arg;

    return rfs_pmap_dirty_bytes(e->map) < e->o.size;
}

/* After a second what was written is flushed, however little. */
static void test_checkpoint_by_age(void **state)
{
    struct env_options o = {.size = 4 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    e.settings.rate_limit = 512 * KIB;
    e.settings.max_transfer = 64 * 1024;
    env_start(&e);
    async_wait(e.loop, has_cleared, &e, "a checkpoint");
    assert_int_equal(env_phase(&e), RFS_PAIR_COPYING);
    env_on_loop(&e, env_check_promises);
    env_halt(&e);
    env_check_state(&e);
    env_end(&e);
}

/* After 16 MiB too, though the copy is in full swing. */
static void test_checkpoint_by_amount(void **state)
{
    struct env_options o = {.size = 40 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_fault(&e, RFS_SOURCE,
              (struct rfs_fault_rule){.offset = 30 * MIB, .length = 1, .what = RFS_FAULT_HANG});
    env_start(&e);
    async_wait_ms(e.loop, has_cleared, &e, 900);
    assert_true(rfs_pmap_dirty_bytes(e.map) <= 24 * MIB);
    env_on_loop(&e, env_clear_faults);
    env_on_loop(&e, source_out);
    env_on_loop(&e, restore);
    env_await_end(&e);
    env_check_copied(&e);
    env_end(&e);
}

/* --- power cuts --- */

struct cuts {
    struct env *env;
    uint64_t seed;
    unsigned left, useful; /* made while something was cleared and something not */
    uint64_t dirty;        /* at the last one */
    uint64_t at;           /* bytes written when the next one is due: time would depend on the machine */
    bool over;
    struct rfs_timer *timer;
};

static void cut(struct cuts *c)
{
    struct env *e = c->env;
    uint64_t dirty = rfs_pmap_dirty_bytes(e->map);

    env_check_promises(e);
    c->useful += dirty && dirty < e->o.size;
    c->dirty = dirty;
    c->left--;
    rfs_fault_power_cut(e->side[RFS_TARGET].fault, env_random(&c->seed) % 3 ? env_random(&c->seed) : 0,
                        env_random(&c->seed) % 4);
    c->at = STAT(e, bytes_written) + env_random(&c->seed) % (12 * MIB);
}

static void on_turn(void *arg)
{
    struct cuts *c = arg;
    struct env *e = c->env;

    if (!c->left || e->copied || e->failed) {
        rfs_timer_destroy(c->timer);
        c->over = true;
        return;
    }
    /* every second one waits for a checkpoint */
    if (STAT(e, bytes_written) >= c->at && e->lost == e->resumed &&
        (c->left % 2 || rfs_pmap_dirty_bytes(e->map) < c->dirty))
        cut(c);
    rfs_timer_start(c->timer, 1);
}

static void begin_cuts(void *arg)
{
    struct cuts *c = arg;

    rfs_fault_volatile_cache(c->env->side[RFS_TARGET].fault, true);
    c->timer = rfs_timer_new(c->env->loop, on_turn, c);
    c->at = env_random(&c->seed) % (12 * MIB);
    on_turn(c);
    env_run(c->env);
}

static bool cuts_are_over(void *arg)
{
    return ((struct cuts *)arg)->over;
}

/* With a slow flush much is written behind it. */
static unsigned cut_at_random(uint64_t seed, enum rfs_verify verify, uint64_t flush_ms)
{
    struct env_options o = {.size = 64 * MIB};
    struct cuts c = {.seed = seed, .dirty = o.size, .left = 10};
    struct env e;

    env_begin(&e, &o);
    c.env = &e;
    e.settings.verify = verify;
    e.settings.max_requests = 4;
    e.settings.max_transfer = 512 * 1024;
    env_fault(&e, RFS_SOURCE, (struct rfs_fault_rule){.what = RFS_FAULT_DELAY, .delay_ms = 3});
    if (flush_ms)
        env_fault(&e, RFS_TARGET,
                  (struct rfs_fault_rule){
                      .ops = 1u << RFS_IO_FLUSH, .what = RFS_FAULT_DELAY, .delay_ms = flush_ms});
    rfs_loop_call(e.loop, begin_cuts, &c);
    env_await_end(&e);
    async_wait(e.loop, cuts_are_over, &c, "the last cut");
    assert_int_equal(e.copied, 1);
    assert_int_equal(e.lost, e.resumed);
    env_check_copied(&e);
    env_end(&e);
    return c.useful;
}

static void test_power_cuts(void **state)
{
    uint64_t seed = rfs_mono_ms();
    unsigned useful = 0;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 4; i++)
        useful += cut_at_random(seed + i, i % 2 ? RFS_VERIFY_COPIED : RFS_VERIFY_NONE, i / 2 * 80);
    print_message("%u cuts between checkpoints\n", useful);
    assert_true(useful > 0);
}

/* A flush that fails: none of what was acknowledged before counts, though the session goes on. */
static void test_flush_fails(void **state)
{
    struct env_options o = {.size = 4 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_fault(&e, RFS_TARGET,
              (struct rfs_fault_rule){
                  .ops = 1u << RFS_IO_FLUSH, .nth = 1, .what = RFS_FAULT_STATUS, .status = RFS_IO_ERROR});
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(e.lost, 0);
    assert_int_equal(STAT(&e, bytes_written), 2 * o.size);
    env_check_copied(&e);
    env_end(&e);
}

/* So it is with what had been written but not yet read back when that flush failed. */
static void test_flush_fails_beside(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_fault(&e, RFS_TARGET,
              (struct rfs_fault_rule){.ops = 1u << RFS_IO_READ,
                                      .offset = MIB,
                                      .length = 1,
                                      .nth = 1,
                                      .what = RFS_FAULT_DELAY,
                                      .delay_ms = 1500});
    env_fault(&e, RFS_TARGET,
              (struct rfs_fault_rule){
                  .ops = 1u << RFS_IO_FLUSH, .nth = 1, .what = RFS_FAULT_STATUS, .status = RFS_IO_ERROR});
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(STAT(&e, bytes_written), 2 * o.size);
    env_check_copied(&e);
    env_end(&e);
}

static bool all_but_the_last(void *arg)
{
    struct env *e = arg;

    return STAT(e, bytes_verified) == e->o.size - MIB;
}

static void slow_power_cut(struct env *e)
{
    env_clear_faults(e);
    e->settings.rate_limit = MIB;
    rfs_pair_configure(e->pair, &e->settings);
    rfs_fault_power_cut(e->side[RFS_TARGET].fault, 0, 1);
    rfs_fault_outage(e->side[RFS_SOURCE].fault, 1);
}

static void volatile_target(struct env *e)
{
    rfs_fault_volatile_cache(e->side[RFS_TARGET].fault, true);
}

/* Much is written and not flushed; the cache is lost; then the copy goes on so slowly that the next flush comes long
 * before it gets there again. */
static void test_unflushed_is_forgotten(void **state)
{
    struct env_options o = {.size = 12 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_on_loop(&e, volatile_target);
    env_fault(&e, RFS_SOURCE,
              (struct rfs_fault_rule){.offset = 11 * MIB, .length = 1, .what = RFS_FAULT_HANG});
    env_start(&e);
    async_wait(e.loop, all_but_the_last, &e, "all but the last chunk");
    env_on_loop(&e, slow_power_cut);
    async_wait(e.loop, has_cleared, &e, "a checkpoint");
    assert_true(rfs_pmap_dirty_bytes(e.map) >= o.size - 4 * MIB);
    env_on_loop(&e, env_check_promises);
    env_halt(&e);
    env_check_state(&e);
    env_end(&e);
}

static void forget_cache(struct env *e)
{
    env_clear_faults(e);
    rfs_fault_power_cut(e->side[RFS_TARGET].fault, 0, 1);
}

/* The first flush is refused for good, with a chunk that was acknowledged but not read back yet; the one that the end of
 * the run tries answers well, but what the refused one was about is not kept: none of it may count. */
static void refuse_flush(enum rfs_io_status status)
{
    struct env_options o = {.size = 2 * MIB};
    struct env e;

    env_begin(&e, &o);
    env_on_loop(&e, volatile_target);
    env_fault(&e, RFS_TARGET,
              (struct rfs_fault_rule){.ops = 1u << RFS_IO_READ,
                                      .offset = MIB,
                                      .length = 1,
                                      .nth = 1,
                                      .what = RFS_FAULT_DELAY,
                                      .delay_ms = 1500});
    env_fault(&e, RFS_TARGET,
              (struct rfs_fault_rule){
                  .ops = 1u << RFS_IO_FLUSH, .nth = 1, .what = RFS_FAULT_STATUS, .status = status});
    env_fault(
        &e, RFS_TARGET,
        (struct rfs_fault_rule){.ops = 1u << RFS_IO_FLUSH, .what = RFS_FAULT_STATUS, .status = RFS_IO_OK});
    env_copy(&e);
    assert_int_equal(e.failed, 1);
    assert_int_equal(e.failed_side, RFS_TARGET);
    env_on_loop(&e, forget_cache);
    async_wait(e.loop, env_both_online, &e, "Online");
    env_check_state(&e);
    assert_int_equal(rfs_pmap_dirty_bytes(e.map), o.size);
    env_copy(&e);
    env_check_copied(&e);
    env_end(&e);
}

static void test_flush_refused(void **state)
{
    (void)state;
    refuse_flush(RFS_IO_NOSPACE);
    refuse_flush(RFS_IO_PROTECTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outage),
        cmocka_unit_test(test_source_lost_keeps),
        cmocka_unit_test(test_volatile_source),
        cmocka_unit_test(test_run_offline),
        cmocka_unit_test(test_run_connecting),
        cmocka_unit_test(test_stop_waiting),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_writes_lost_in_vain),
        cmocka_unit_test(test_checkpoint_by_age),
        cmocka_unit_test(test_checkpoint_by_amount),
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_flush_fails),
        cmocka_unit_test(test_flush_fails_beside),
        cmocka_unit_test(test_unflushed_is_forgotten),
        cmocka_unit_test(test_flush_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
