/* SPDX-License-Identifier: Apache-2.0
 *
 * Zeros: what is unmapped on the source is not read, what is zero is not written, whatever the target can do, says it
 * can do, or says it has done.
 */
#include "pair_env.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SIZE     (24 * MIB + 512)

/* 16 MiB of holes in two runs, 2 MiB of zeros that are mapped, the rest data. */
static const struct layout {
    uint64_t offset, length;
    bool hole;
} layout[] = {
    {MIB, 2 * MIB, true},
    {4 * MIB + 512, 14 * MIB - 1024, true},
    {20 * MIB, 2 * MIB, false},
    {24 * MIB, 512, false},
};

static void make_zeros(struct env *e)
{
    struct env_side *s = &e->side[RFS_SOURCE];

    for (size_t i = 0; i < COUNT(layout); i++) {
        memset(s->bytes + layout[i].offset, 0, layout[i].length);
        if (layout[i].hole)
            memset(s->allocated + layout[i].offset / 512, 0, layout[i].length / 512);
    }
}

struct variant {
    const char *name;
    struct env_options o;
    struct rfs_fault_rule rule; /* on the target; ops 0 = none */
    bool saves;                 /* fewer bytes written than there are */
};

#define LIE(op)                                                                                              \
    {                                                                                                        \
        .ops = 1u << (op), .what = RFS_FAULT_STATUS, .status = RFS_IO_OK                                     \
    }
#define REFUSE(op, s)                                                                                        \
    {                                                                                                        \
        .ops = 1u << (op), .what = RFS_FAULT_STATUS, .status = (s)                                           \
    }
#define ONCE(op, s)                                                                                          \
    {                                                                                                        \
        .ops = 1u << (op), .what = RFS_FAULT_STATUS, .status = (s), .nth = 2                                 \
    }
#define THIN .target_thin = true, .target_max_unmap = 4 * MIB
#define ALL  .target_thin = true, .target_max_unmap = 4 * MIB, .target_max_zeroes = 8 * MIB

static const struct variant variants[] = {
    {"nothing", {.size = SIZE}, {0}, false},
    {"write zeroes only", {.size = SIZE, .target_max_zeroes = 8 * MIB}, {0}, true},
    {"small write zeroes", {.size = SIZE, .target_max_zeroes = 33 * KIB}, {0}, true},
    {"unmap without proof", {.size = SIZE, .target_max_unmap = 4 * MIB}, {0}, false},
    {"proof only", {.size = SIZE, .target_thin = true}, {0}, false},
    {"thin", {.size = SIZE, THIN}, {0}, true},
    {"thin, large granularity", {.size = SIZE, THIN, .granularity = 96 * KIB}, {0}, true},
    {"granularity above all", {.size = SIZE, THIN, .granularity = 64 * MIB}, {0}, false},
    {"all", {.size = SIZE, ALL}, {0}, true},
    {"all, large granularity", {.size = SIZE, ALL, .granularity = MIB}, {0}, true},
    {"all, small transfers", {.size = SIZE, ALL, .target_max_transfer = 64 * KIB}, {0}, true},
    {"large regions", {.size = SIZE, ALL, .region = 4 * MIB}, {0}, true},
    {"small regions", {.size = SIZE, ALL, .region = 4096}, {0}, true},
    {"unmap lies", {.size = SIZE, THIN}, LIE(RFS_IO_UNMAP), false},
    {"unmap lies, zeroes help", {.size = SIZE, ALL}, LIE(RFS_IO_UNMAP), true},
    {"unmap is refused", {.size = SIZE, ALL}, REFUSE(RFS_IO_UNMAP, RFS_IO_UNSUPPORTED), true},
    {"unmap fails", {.size = SIZE, ALL}, REFUSE(RFS_IO_UNMAP, RFS_IO_ERROR), true},
    {"zeroes lie", {.size = SIZE, .target_max_zeroes = 8 * MIB}, LIE(RFS_IO_WRITE_ZEROES), false},
    {"zeroes lie once", {.size = SIZE, .target_max_zeroes = MIB}, ONCE(RFS_IO_WRITE_ZEROES, RFS_IO_OK), true},
    {"zeroes refused",
     {.size = SIZE, .target_max_zeroes = MIB},
     REFUSE(RFS_IO_WRITE_ZEROES, RFS_IO_UNSUPPORTED),
     false},
    {"zeroes out of range",
     {.size = SIZE, .target_max_zeroes = MIB},
     REFUSE(RFS_IO_WRITE_ZEROES, RFS_IO_RANGE),
     false},
    {"zeroes fail once",
     {.size = SIZE, .target_max_zeroes = MIB},
     ONCE(RFS_IO_WRITE_ZEROES, RFS_IO_ERROR),
     true},
    {"no status", {.size = SIZE, ALL}, REFUSE(RFS_IO_EXTENT_STATUS, RFS_IO_UNSUPPORTED), true},
    {"status fails once", {.size = SIZE, ALL}, ONCE(RFS_IO_EXTENT_STATUS, RFS_IO_ERROR), true},
};

static void copy_variant(const struct variant *v, bool source_thin, enum rfs_verify verify)
{
    struct env_options o = v->o;
    struct env e;

    o.source_thin = source_thin;
    env_begin(&e, &o);
    make_zeros(&e);
    e.settings.verify = verify;
    if (v->rule.ops)
        env_fault(&e, RFS_TARGET, v->rule);
    env_copy(&e);
    if (!e.copied)
        print_error("%s: %s\n", v->name, e.why.msg);
    assert_int_equal(e.copied, 1);
    assert_int_equal(e.mismatches, 0);
    env_check_copied(&e);
    if (v->saves ? STAT(&e, bytes_written) >= SIZE - 4 * MIB : STAT(&e, bytes_written) != SIZE)
        fail_msg("%s: %llu bytes written", v->name, (unsigned long long)STAT(&e, bytes_written));
    assert_int_equal(STAT(&e, bytes_read) + STAT(&e, bytes_skipped), SIZE);
    assert_true(!source_thin || STAT(&e, bytes_skipped) > 15 * MIB);
    env_end(&e);
}

static void test_variants(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(variants); i++) {
        copy_variant(&variants[i], i % 2, RFS_VERIFY_COPIED);
        copy_variant(&variants[i], !(i % 2), RFS_VERIFY_NONE);
    }
}

/* What is unmapped on the target already is not touched. */
static void test_already_unmapped(void **state)
{
    struct env_options o = {.size = SIZE, .source_thin = true, ALL};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    make_zeros(&e);
    memcpy(e.side[1].bytes, e.side[0].bytes, SIZE);
    memcpy(e.side[1].allocated, e.side[0].allocated, SIZE / 512);
    env_fault(&e, RFS_TARGET,
              (struct rfs_fault_rule){.ops = 1u << RFS_IO_UNMAP,
                                      .offset = MIB,
                                      .length = 2 * MIB,
                                      .what = RFS_FAULT_STATUS,
                                      .status = RFS_IO_PROTECTED});
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(STAT(&e, bytes_zeroed) + STAT(&e, bytes_written), SIZE);
    env_check_copied(&e);
    env_end(&e);
}

static void test_no_detection(void **state)
{
    struct env_options o = {.size = SIZE, .source_thin = true, ALL};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    make_zeros(&e);
    e.settings.detect_zeroes = false;
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(STAT(&e, bytes_written), SIZE);
    assert_int_equal(STAT(&e, bytes_read), SIZE);
    assert_int_equal(STAT(&e, bytes_skipped) + STAT(&e, bytes_zeroed), 0);
    env_check_copied(&e);
    env_end(&e);
}

/* A source that cannot say what is unmapped (any more) is read. */
static void test_source_refuses(void **state)
{
    struct env_options o = {.size = SIZE, .source_thin = true, ALL};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    make_zeros(&e);
    env_fault(&e, RFS_SOURCE, (struct rfs_fault_rule)REFUSE(RFS_IO_EXTENT_STATUS, RFS_IO_ERROR));
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(STAT(&e, bytes_read), SIZE);
    env_check_copied(&e);
    env_end(&e);
}

/* --- a host writes to what the source said was unmapped --- */

static bool has_asked(void *arg)
{
    return rfs_fault_calls(((struct env *)arg)->side[RFS_SOURCE].fault) > 0;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void write_to_hole(struct env *e)
{
    rfs_pair_note_write(e->pair, 10 * MIB, 512);
    memset(e->side[0].bytes + 10 * MIB, 0x42, 512);
    memset(e->side[0].allocated + 10 * MIB / 512, 1, 1);
}

/* At several points of the copy: while the question is out, when it is answered, when the hole is being dealt with. */
static void host_writes(uint64_t delay_ms, uint64_t after_ms)
{
    struct env_options o = {.size = SIZE, .source_thin = true, ALL};
    struct env e;

    env_begin(&e, &o);
    make_zeros(&e);
    e.settings.max_requests = 1;
    env_fault(&e, RFS_SOURCE,
              (struct rfs_fault_rule){
                  .ops = 1u << RFS_IO_EXTENT_STATUS, .what = RFS_FAULT_DELAY, .delay_ms = delay_ms});
    env_fault(&e, RFS_TARGET, (struct rfs_fault_rule){.what = RFS_FAULT_DELAY, .delay_ms = 2});
    env_start(&e);
    async_wait(e.loop, has_asked, &e, "the question");
    async_wait_ms(e.loop, never, NULL, after_ms);
    if (rfs_pmap_dirty_bytes(e.map) == SIZE)
        env_on_loop(&e, write_to_hole);
    env_await_end(&e);
    assert_int_equal(e.copied, 1);
    env_check_copied(&e);
    env_end(&e);
}

static void test_host_writes(void **state)
{
    (void)state;
    for (uint64_t delay = 0; delay <= 10; delay += 10)
        for (uint64_t after = 0; after < 60; after += 6)
            host_writes(delay, after);
}

/* --- a host's write that began before the question, and ends after the answer --- */

struct slow_write {
    struct env *env;
    struct rfs_range range;
};

static void slow_begin(void *arg)
{
    struct slow_write *w = arg;

    w->range = (struct rfs_range){.offset = 10 * MIB, .length = 512, .exclusive = true};
    assert_true(rfs_rangelock_acquire(rfs_volume_ranges(w->env->side[0].vol), &w->range));
    rfs_pair_note_write(w->env->pair, w->range.offset, w->range.length);
}

static void slow_end(void *arg)
{
    struct slow_write *w = arg;

    memset(w->env->side[0].bytes + w->range.offset, 0x42, w->range.length);
    memset(w->env->side[0].allocated + w->range.offset / 512, 1, w->range.length / 512);
    rfs_rangelock_release(rfs_volume_ranges(w->env->side[0].vol), &w->range);
}

static bool all_but_a_chunk(void *arg)
{
    struct env *e = arg;

    return STAT(e, bytes_read) + STAT(e, bytes_skipped) >= SIZE - MIB;
}

static void test_slow_write(void **state)
{
    struct env_options o = {.size = SIZE, .source_thin = true, ALL};
    struct slow_write w;
    struct env e;

    (void)state;
    env_begin(&e, &o);
    make_zeros(&e);
    w.env = &e;
    rfs_loop_call(e.loop, slow_begin, &w);
    env_start(&e);
    async_wait_ms(e.loop, all_but_a_chunk, &e, 3000);
    rfs_loop_call(e.loop, slow_end, &w);
    env_await_end(&e);
    assert_int_equal(e.copied, 1);
    env_check_copied(&e);
    env_end(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variants),     cmocka_unit_test(test_already_unmapped),
        cmocka_unit_test(test_no_detection), cmocka_unit_test(test_source_refuses),
        cmocka_unit_test(test_host_writes),  cmocka_unit_test(test_slow_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
