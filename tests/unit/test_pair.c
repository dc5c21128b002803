/* SPDX-License-Identifier: Apache-2.0
 *
 * The copy between two volumes in memory: what is equal in the end whatever the shape of the volumes, how it
 * is begun, stopped, limited and changed while it runs, and what hosts' writes in between do to it.
 */
#include "pair_env.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- shapes --- */

static const struct shape {
    const char *name;
    struct env_options o;
    uint32_t max_transfer, max_requests;
} shapes[] = {
    {"plain", {.size = 8 * MIB}, 0, 0},
    {"tail shorter than a region", {.size = 3 * MIB + 5 * 512}, 0, 0},
    {"smaller than a region", {.size = 512}, 0, 0},
    {"blocks of 4096", {.size = 4 * MIB + 4096, .block = 4096}, 0, 0},
    {"source 512, target 4096", {.size = 2 * MIB + 4096, .target_block = 4096}, 0, 0},
    {"transfers smaller than a region", {.size = 2 * MIB + 1024, .source_max_transfer = 16 * 1024}, 0, 0},
    {"odd limits",
     {.size = 2 * MIB, .source_max_transfer = 24 * 1024, .target_max_transfer = 40 * 1024},
     0,
     0},
    {"a region larger than a transfer", {.size = 20 * MIB + 512, .region = 4 * MIB}, 0, 0},
    {"the largest regions", {.size = 40 * MIB, .region = 16 * MIB}, 0, 0},
    {"the smallest regions", {.size = 3 * MIB + 512, .region = 4096}, 0, 0},
    {"one at a time", {.size = 2 * MIB}, 128 * 1024, 1},
    {"many small ones", {.size = 2 * MIB}, 16 * 1024, 200},
    {"a setting that is no multiple of a block", {.size = 2 * MIB}, 100000, 0},
};

static void copy_shape(const struct shape *s, enum rfs_verify verify)
{
    struct env e;

    env_begin(&e, &s->o);
    e.settings.verify = verify;
    e.settings.max_transfer = s->max_transfer;
    e.settings.max_requests = s->max_requests;
    env_copy(&e);
    if (!e.copied)
        print_error("%s: %s\n", s->name, e.why.msg);
    assert_int_equal(e.copied, 1);
    env_check_copied(&e);
    assert_int_equal(STAT(&e, bytes_read), s->o.size);
    assert_int_equal(STAT(&e, bytes_written), s->o.size);
    assert_int_equal(STAT(&e, bytes_verified), verify == RFS_VERIFY_COPIED ? s->o.size : 0);
    env_end(&e);
}

static void test_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        copy_shape(&shapes[i], RFS_VERIFY_COPIED);
        copy_shape(&shapes[i], RFS_VERIFY_NONE);
    }
}

static void test_empty_map(void **state)
{
    struct env_options o = {.size = 2 * MIB, .clean = true};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    memcpy(e.side[1].bytes, e.side[0].bytes, o.size);
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(STAT(&e, bytes_read), 0);
    env_check_copied(&e);
    env_end(&e);
}

/* Only what is dirty is read, in whole regions, and a second run finds what was set since the first. */
static void test_some_regions(void **state)
{
    struct env_options o = {.size = 8 * MIB + 512, .clean = true};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    memcpy(e.side[1].bytes, e.side[0].bytes, o.size);
    for (uint64_t at = 0; at < o.size; at += MIB) {
        uint64_t n = o.size - at < 100 ? o.size - at : 100;

        memset(e.side[1].bytes + at, 0x55, n);
        env_set(&e, at, n);
    }
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(STAT(&e, bytes_read), 8 * 64 * KIB + 512);
    env_check_copied(&e);
    e.side[0].bytes[5 * MIB] ^= 1;
    env_set(&e, 5 * MIB, 1);
    env_copy(&e);
    assert_int_equal(e.copied, 2);
    assert_int_equal(STAT(&e, bytes_read), 9 * 64 * KIB + 512);
    env_check_copied(&e);
    env_end(&e);
}

/* --- beginnings that cannot be --- */

static void test_small_target(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    e.side[1].fault->info.size = MIB;
    env_copy(&e);
    assert_int_equal(e.failed, 1);
    assert_int_equal(e.failed_side, RFS_TARGET);
    assert_non_null(strstr(e.why.msg, "shrank"));
    assert_int_equal(STAT(&e, bytes_written), 0);
    env_end(&e);
}

static void test_unfit_blocks(void **state)
{
    struct env_options o = {.size = 2 * MIB + 512, .target_block = 4096};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_copy(&e);
    assert_int_equal(e.failed, 1);
    assert_non_null(strstr(e.why.msg, "blocks of 4096"));
    env_end(&e);
}

static void test_write_protected(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    e.side[1].fault->info.write_protected = true;
    env_copy(&e);
    assert_int_equal(e.failed, 1);
    assert_int_equal(e.why.rv, RFS_RV_ACCESS_DENIED);
    env_end(&e);
}

/* --- stopping --- */

static void test_stop_idle(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_halt(&e);
    assert_int_equal(e.stopped, 1);
    assert_false(e.complete);
    env_copy(&e);
    env_halt(&e);
    assert_int_equal(e.stopped, 2);
    assert_true(e.complete);
    assert_int_equal(e.copied, 1);
    env_end(&e);
}

static void start_and_stop(struct env *e)
{
    env_run(e);
    env_stop(e);
}

static void test_stop_at_once(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_on_loop(&e, start_and_stop);
    env_await_end(&e);
    assert_int_equal(e.stopped, 1);
    assert_int_equal(e.copied + e.failed, 0);
    env_check_state(&e);
    env_copy(&e);
    env_check_copied(&e);
    env_end(&e);
}

struct progress {
    struct env *env;
    uint64_t bytes;
};

static bool has_read(void *arg)
{
    struct progress *p = arg;

    return STAT(p->env, bytes_read) >= p->bytes;
}

static void await_read(struct env *e, uint64_t bytes)
{
    struct progress p = {e, bytes};

    async_wait(e->loop, has_read, &p, "bytes read");
}

/* Each stop may cost what was in flight, and what could not be flushed is not among it. */
static void test_stops(void **state)
{
    struct env_options o = {.size = 16 * MIB};
    uint64_t seed = rfs_mono_ms(), first = seed;
    unsigned stops = 0;
    struct env e;

    (void)state;
    env_begin(&e, &o);
    e.settings.max_transfer = 128 * 1024;
    e.settings.max_requests = 4;
    env_fault(&e, RFS_SOURCE, (struct rfs_fault_rule){.what = RFS_FAULT_DELAY, .delay_ms = 1});
    while (!e.copied && stops < 30) {
        unsigned before = e.stopped;

        env_start(&e);
        await_read(&e, STAT(&e, bytes_read) / 2 + env_random(&seed) % (4 * 128 * KIB));
        env_on_loop(&e, env_stop);
        env_await_end(&e);
        stops += e.stopped - before;
        env_check_state(&e);
        if (e.complete)
            break;
    }
    env_on_loop(&e, env_clear_faults);
    env_copy(&e);
    env_check_copied(&e);
    print_message("seed %llu: %u stops, %llu bytes read\n", (unsigned long long)first, stops,
                  (unsigned long long)STAT(&e, bytes_read));
    assert_true(STAT(&e, bytes_read) <= o.size + stops * 4 * 128 * KIB);
    env_end(&e);
}

/* --- limits --- */

static void unlimit(struct env *e)
{
    e->settings.rate_limit = 0;
    rfs_pair_configure(e->pair, &e->settings);
}

static void test_rate(void **state)
{
    struct env_options o = {.size = 4 * MIB};
    uint64_t began;
    struct env e;

    (void)state;
    env_begin(&e, &o);
    e.settings.rate_limit = 4 * MIB;
    e.settings.max_transfer = 128 * 1024;
    began = rfs_mono_ms();
    env_copy(&e);
    assert_in_range(rfs_mono_ms() - began, 700, 5000);
    env_check_copied(&e);
    env_end(&e);
}

/* At a rate that would take hours, and then without one. */
static void test_rate_changes(void **state)
{
    struct env_options o = {.size = 4 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    e.settings.rate_limit = 100;
    e.settings.max_transfer = 128 * 1024;
    env_start(&e);
    await_read(&e, 128 * KIB);
    assert_int_equal(STAT(&e, bytes_read), 128 * KIB);
    env_on_loop(&e, unlimit);
    env_await_end(&e);
    assert_int_equal(e.copied, 1);
    env_check_copied(&e);
    env_end(&e);
}

static void test_stop_in_debt(void **state)
{
    struct env_options o = {.size = 4 * MIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    e.settings.rate_limit = 100;
    env_start(&e);
    await_read(&e, 1);
    env_halt(&e);
    assert_int_equal(e.stopped, 1);
    assert_int_equal(rfs_pmap_dirty_bytes(e.map), 3 * MIB); /* what was begun is finished and counts */
    env_check_state(&e);
    env_end(&e);
}

/* --- hosts that write meanwhile --- */

struct host_write {
    struct env *env;
    uint64_t offset;
    struct rfs_range range;
    struct rfs_pmap_wait wait;
    bool stored;
};

static void host_store(struct host_write *w)
{
    uint64_t seed = (uint64_t)w->env->side[0].bytes[w->offset] + w->offset + 77;

    env_fill(w->env->side[0].bytes + w->offset, 512, seed);
    w->stored = true;
}

static void host_durable(struct rfs_pmap_wait *wait, const struct rfs_error *err)
{
    (void)err;
    host_store(RFS_CONTAINER_OF(wait, struct host_write, wait));
}

static void host_begin(struct host_write *w)
{
    struct env *e = w->env;

    rfs_pair_note_write(e->pair, w->offset, 512);
    w->wait.done = host_durable;
    if (rfs_pmap_set(e->map, w->offset, 512, &w->wait))
        host_store(w);
}

static void host_granted(struct rfs_range *range)
{
    host_begin(RFS_CONTAINER_OF(range, struct host_write, range));
}

static void host_write(void *arg)
{
    struct host_write *w = arg;

    w->stored = false;
    w->range =
        (struct rfs_range){.offset = w->offset, .length = 512, .exclusive = true, .granted = host_granted};
    if (rfs_rangelock_acquire(rfs_volume_ranges(w->env->side[0].vol), &w->range))
        host_begin(w);
}

static void host_end(void *arg)
{
    struct host_write *w = arg;

    rfs_rangelock_release(rfs_volume_ranges(w->env->side[0].vol), &w->range);
}

static bool host_has_stored(void *arg)
{
    return ((struct host_write *)arg)->stored;
}

/* The flush takes its time; a host writes to what has been read; then the copy must not clear that region but
 * copy it again, and only it. */
static void test_redirtied(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct host_write w = {.offset = 70 * KIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    env_fault(&e, RFS_TARGET,
              (struct rfs_fault_rule){
                  .ops = 1u << RFS_IO_FLUSH, .nth = 1, .what = RFS_FAULT_DELAY, .delay_ms = 100});
    env_start(&e);
    await_read(&e, o.size);
    w.env = &e;
    rfs_loop_call(e.loop, host_write, &w);
    async_wait(e.loop, host_has_stored, &w, "the host's write");
    rfs_loop_call(e.loop, host_end, &w);
    env_await_end(&e);
    assert_int_equal(e.copied, 1);
    env_check_copied(&e);
    assert_int_equal(STAT(&e, bytes_read), o.size + 64 * KIB);
    env_end(&e);
}

static bool is_waiting_for_host(void *arg)
{
    struct env *e = arg;

    return STAT(e, bytes_verified) == MIB;
}

/* A chunk waits for the host's write that began before it; others go on. */
static void test_waits_for_host(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct host_write w = {.offset = 100 * KIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    w.env = &e;
    rfs_loop_call(e.loop, host_write, &w);
    async_wait(e.loop, host_has_stored, &w, "the host's write");
    env_start(&e);
    async_wait(e.loop, is_waiting_for_host, &e, "the other chunk");
    assert_int_equal(e.copied, 0);
    rfs_loop_call(e.loop, host_end, &w);
    env_await_end(&e);
    env_check_copied(&e);
    env_end(&e);
}

static void test_stop_while_locked(void **state)
{
    struct env_options o = {.size = 2 * MIB};
    struct host_write w = {.offset = 100 * KIB};
    struct env e;

    (void)state;
    env_begin(&e, &o);
    w.env = &e;
    rfs_loop_call(e.loop, host_write, &w);
    async_wait(e.loop, host_has_stored, &w, "the host's write");
    env_start(&e);
    async_wait(e.loop, is_waiting_for_host, &e, "the other chunk");
    env_halt(&e);
    assert_int_equal(rfs_pmap_dirty_bytes(e.map), MIB);
    rfs_loop_call(e.loop, host_end, &w);
    env_check_state(&e);
    env_end(&e);
}

/* Hosts that write at random places while the copy goes on, in the order that pair.h asks for: what is clean
 * becomes dirty again, what is being copied is re-dirtied, and the pair ends and is started again among it.
 */
struct storm {
    struct env *env;
    struct host_write writes[8];
    uint64_t seed;
    unsigned left;
    struct rfs_timer *timer;
    bool over;
};

static void storm_turn(void *arg)
{
    struct storm *s = arg;
    bool busy = false;

    for (int i = 0; i < 8; i++) {
        struct host_write *w = &s->writes[i];

        if (w->stored)
            host_end(w);
        if (w->stored || !w->env) { /* the others still wait: for a range, or for the map */
            w->stored = false;
            w->env = s->left ? s->env : NULL;
            w->offset = env_random(&s->seed) % (s->env->o.size / 512) * 512;
            if (s->left)
                host_write(w);
        }
        busy = busy || w->env;
    }
    s->left -= s->left > 0;
    s->over = !busy;
    if (s->over)
        rfs_timer_destroy(s->timer);
    else
        rfs_timer_start(s->timer, 1);
    env_run(s->env);
}

static void storm_begin(void *arg)
{
    struct storm *s = arg;

    s->timer = rfs_timer_new(s->env->loop, storm_turn, s);
    storm_turn(s);
}

static bool storm_is_over(void *arg)
{
    return ((struct storm *)arg)->over;
}

static bool has_stopped(void *arg)
{
    return ((struct env *)arg)->stopped;
}

static void weather(uint64_t seed, uint32_t region, uint64_t delay_ms)
{
    struct env_options o = {.size = 4 * MIB, .region = region};
    struct storm s = {.seed = seed, .left = 150};
    struct env e;

    env_begin(&e, &o);
    s.env = &e;
    e.settings.max_transfer = 256 * 1024;
    if (delay_ms)
        env_fault(&e, RFS_TARGET, (struct rfs_fault_rule){.what = RFS_FAULT_DELAY, .delay_ms = delay_ms});
    rfs_loop_call(e.loop, storm_begin, &s);
    async_wait(e.loop, storm_is_over, &s, "the storm's end");
    env_on_loop(&e, env_stop);
    async_wait(e.loop, has_stopped, &e, "stopped");
    while (sem_trywait(&e.sem) == 0) /* of this one and of those that were copied before */
        continue;
    env_check_state(&e);
    e.copied = 0;
    env_on_loop(&e, env_clear_faults);
    env_copy(&e);
    assert_int_equal(e.copied, 1);
    assert_int_equal(e.failed, 0);
    env_check_copied(&e);
    env_end(&e);
}

static void test_storm(void **state)
{
    uint64_t seed = rfs_mono_ms();

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < 3; i++) {
        weather(seed + i, 4096, i);
        weather(seed + i, 65536, i);
        weather(seed + i, 1 << 20, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_empty_map),
        cmocka_unit_test(test_some_regions),
        cmocka_unit_test(test_small_target),
        cmocka_unit_test(test_unfit_blocks),
        cmocka_unit_test(test_write_protected),
        cmocka_unit_test(test_stop_idle),
        cmocka_unit_test(test_stop_at_once),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_rate_changes),
        cmocka_unit_test(test_stop_in_debt),
        cmocka_unit_test(test_redirtied),
        cmocka_unit_test(test_waits_for_host),
        cmocka_unit_test(test_stop_while_locked),
        cmocka_unit_test(test_storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
