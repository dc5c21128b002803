/* SPDX-License-Identifier: Apache-2.0
 *
 * Every device call of a small copy fails in turn, in every way; bytes that change on the way; devices that
 * hang. What has to hold after each: no clear bit where the sides differ, and the next run makes them equal.
 */
#include "pair_env.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Four chunks, two at a time, the last of them short; holes and zeros so that all kinds of calls are made. */
static void begin_small(struct env *e)
{
    static const struct env_options o = {.size = 4 * 128 * KIB - 512,
                                         .source_thin = true,
                                         .target_thin = true,
                                         .target_max_unmap = 64 * KIB,
                                         .target_max_zeroes = 128 * KIB};

    env_begin(e, &o);
    memset(e->side[0].bytes + 128 * KIB, 0, 128 * KIB);
    e->settings.max_transfer = 128 * 1024;
    e->settings.max_requests = 2;
}

static const enum rfs_io_status statuses[] = {RFS_IO_ERROR, RFS_IO_LOST, RFS_IO_TIMEOUT, RFS_IO_NOSPACE,
                                              RFS_IO_PROTECTED};

/* What a source answers to questions about its extents is never the end: then it is read. */
static bool ends_it(enum rfs_side side, enum rfs_io_status status, uint64_t errors)
{
    return (status == RFS_IO_NOSPACE || status == RFS_IO_PROTECTED) && (side == RFS_TARGET || errors);
}

/* One fault at the nth call; true when there was no nth call. */
static bool fail_nth(enum rfs_side side, enum rfs_io_status status, uint64_t nth, uint32_t retries)
{
    struct env e;
    bool missed;

    begin_small(&e);
    e.settings.max_retries = retries;
    env_fault(&e, side, (struct rfs_fault_rule){.nth = nth, .what = RFS_FAULT_STATUS, .status = status});
    env_copy(&e);
    missed = rfs_fault_calls(e.side[side].fault) < nth;
    env_check_state(&e);
    assert_int_equal(e.failed, !missed && ends_it(side, status, STAT(&e, errors)));
    assert_int_equal(e.copied, !e.failed);
    if (e.failed)
        assert_int_equal(e.failed_side, side);
    if (!missed && (status == RFS_IO_LOST || status == RFS_IO_TIMEOUT)) {
        assert_int_equal(e.lost, 1);
        assert_int_equal(e.resumed, 1);
        assert_int_equal(e.lost_side, side);
    }
    env_on_loop(&e, env_clear_faults);
    if (e.failed)
        env_copy(&e);
    env_check_copied(&e);
    env_end(&e);
    return missed;
}

static void fail_all(enum rfs_side side)
{
    for (size_t i = 0; i < COUNT(statuses); i++) {
        uint64_t nth = 1;

        while (!fail_nth(side, statuses[i], nth, 3))
            nth++;
        assert_in_range(nth, 4, 100);
    }
}

static void test_source_calls(void **state)
{
    (void)state;
    fail_all(RFS_SOURCE);
}

static void test_target_calls(void **state)
{
    (void)state;
    fail_all(RFS_TARGET);
}

/* The session really ends at the nth call, with a cache that is lost. */
static bool cut_nth(enum rfs_side side, uint64_t nth)
{
    struct env e;
    bool missed;

    begin_small(&e);
    env_fault(&e, side, (struct rfs_fault_rule){.nth = nth, .what = RFS_FAULT_LOSE, .delay_ms = 5});
    env_copy(&e);
    missed = rfs_fault_calls(e.side[side].fault) < nth;
    assert_int_equal(e.copied, 1);
    assert_int_equal(e.lost, !missed);
    assert_int_equal(e.resumed, !missed);
    env_check_copied(&e);
    env_end(&e);
    return missed;
}

static void test_sessions_end(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++)
        for (uint64_t nth = 1; !cut_nth(side ? RFS_TARGET : RFS_SOURCE, nth);)
            nth++;
}

/* --- the same fault again and again --- */

static const struct {
    enum rfs_side side;
    unsigned ops;
    const char *says;
} stubborn[] = {
    {RFS_SOURCE, 1u << RFS_IO_READ, "read"},
    {RFS_TARGET, 1u << RFS_IO_WRITE, "write"},
    {RFS_TARGET, 1u << RFS_IO_READ, "read"},
    {RFS_TARGET, 1u << RFS_IO_FLUSH, "flush"},
};

static void test_gives_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(stubborn); i++) {
        struct env_options o = {.size = 2 * MIB};
        struct env e;

        env_begin(&e, &o);
        e.settings.max_retries = 2;
        env_fault(&e, stubborn[i].side,
                  (struct rfs_fault_rule){
                      .ops = stubborn[i].ops, .what = RFS_FAULT_STATUS, .status = RFS_IO_ERROR});
        env_copy(&e);
        assert_int_equal(e.failed, 1);
        assert_int_equal(e.copied, 0);
        assert_int_equal(e.failed_side, stubborn[i].side);
        assert_non_null(strstr(e.why.msg, stubborn[i].says));
        assert_int_equal(rfs_pmap_dirty_bytes(e.map), o.size);
        assert_true(STAT(&e, retries) >= 2);
        env_check_state(&e);
        env_on_loop(&e, env_clear_faults);
        env_copy(&e);
        env_check_copied(&e);
        env_end(&e);
    }
}

/* One bad place: what else was copied by then is kept. */
static void test_bad_sector(void **state)
{
    struct env_options o = {.size = 8 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    e.settings.max_requests = 1;
    env_fault(&e, RFS_SOURCE,
              (struct rfs_fault_rule){
                  .offset = 5 * MIB + 512, .length = 512, .what = RFS_FAULT_STATUS, .status = RFS_IO_ERROR});
    env_copy(&e);
    assert_int_equal(e.failed, 1);
    assert_int_equal(rfs_pmap_dirty_bytes(e.map), 3 * MIB);
    env_check_state(&e);
    env_end(&e);
}

/* --- bytes that change on the way --- */

static void test_flip_once(void **state)
{
    struct env_options o = {.size = 4 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_fault(&e, RFS_TARGET, (struct rfs_fault_rule){.nth = 1, .what = RFS_FAULT_FLIP, .at = 2 * MIB + 777});
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(e.mismatches, 1);
    assert_int_equal(STAT(&e, mismatches), 1);
    assert_int_equal(e.mismatch_offset, 2 * MIB);
    assert_int_equal(e.mismatch_length, MIB);
    assert_int_equal(STAT(&e, bytes_read), o.size + MIB);
    env_check_copied(&e);
    env_end(&e);
}

static void test_flips_always(void **state)
{
    struct env_options o = {.size = 4 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_fault(&e, RFS_TARGET, (struct rfs_fault_rule){.what = RFS_FAULT_FLIP, .at = 2 * MIB + 777});
    env_copy(&e);
    assert_int_equal(e.failed, 1);
    assert_int_equal(e.failed_side, RFS_TARGET);
    assert_int_equal(e.mismatches, 4);
    assert_non_null(strstr(e.why.msg, "verification found different bytes 4 times at 2097152"));
    assert_int_equal(rfs_pmap_dirty_bytes(e.map), MIB);
    env_check_state(&e);
    env_end(&e);
}

/* What verify=none is: it does not notice. */
static void test_flip_unverified(void **state)
{
    struct env_options o = {.size = 4 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    e.settings.verify = RFS_VERIFY_NONE;
    env_fault(&e, RFS_TARGET, (struct rfs_fault_rule){.nth = 1, .what = RFS_FAULT_FLIP, .at = 2 * MIB + 777});
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(e.side[0].bytes[2 * MIB + 777] ^ e.side[1].bytes[2 * MIB + 777], 1);
    e.side[1].bytes[2 * MIB + 777] ^= 1;
    env_check_copied(&e);
    env_end(&e);
}

/* --- devices that hang --- */

static void end_hang(struct env *e)
{
    rfs_fault_outage(e->side[RFS_TARGET].fault, 1);
}

static bool has_written(void *arg)
{
    return STAT((struct env *)arg, bytes_read) == 4 * MIB;
}

/* A stop waits for the device, which ends its session some time; here a test does. */
static void test_stop_while_hanging(void **state)
{
    static const unsigned ops[] = {1u << RFS_IO_WRITE, 1u << RFS_IO_READ, 1u << RFS_IO_FLUSH};

    (void)state;
    for (size_t i = 0; i < COUNT(ops); i++) {
        struct env_options o = {.size = 4 * MIB};
        struct env e;

        env_begin(&e, &o);
        env_fault(&e, RFS_TARGET, (struct rfs_fault_rule){.ops = ops[i], .what = RFS_FAULT_HANG});
        env_start(&e);
        async_wait(e.loop, has_written, &e, "reads");
        env_on_loop(&e, env_stop);
        assert_int_equal(env_phase(&e), RFS_PAIR_STOPPING);
        env_on_loop(&e, end_hang);
        env_await_end(&e);
        assert_int_equal(e.stopped, 1);
        assert_false(e.complete);
        assert_int_equal(e.copied + e.failed, 0);
        env_on_loop(&e, env_clear_faults);
        env_check_state(&e);
        env_copy(&e);
        env_check_copied(&e);
        env_end(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_calls),       cmocka_unit_test(test_target_calls),
        cmocka_unit_test(test_sessions_end),       cmocka_unit_test(test_gives_up),
        cmocka_unit_test(test_bad_sector),         cmocka_unit_test(test_flip_once),
        cmocka_unit_test(test_flips_always),       cmocka_unit_test(test_flip_unverified),
        cmocka_unit_test(test_stop_while_hanging),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
