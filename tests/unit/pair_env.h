/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of pairs: a source and a target in memory, each behind a fault device, a real map in a private
 * folder, and a pair between them. The test's thread drives; what touches the pair runs on the loop through
 * on_loop().
 */
#ifndef RFS_TESTS_PAIR_ENV_H
#define RFS_TESTS_PAIR_ENV_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "device/fault.h"
#include "device/memory.h"
#include "engine/pair.h"

#include "../lib/async.h"

#define KIB        1024ull
#define MIB        (1024 * KIB)
#define TAIL       (64 * KIB) /* how much larger the target is */
#define TAIL_BYTE  0xee
#define ENV_INLINE static inline __attribute__((unused))

struct env_options {
    uint64_t size;
    uint32_t region, block, target_block;
    uint32_t source_max_transfer, target_max_transfer;
    uint64_t source_max_unmap, target_max_unmap, target_max_zeroes, granularity;
    bool source_thin, target_thin; /* extent status, and unmapped reads zero */
    bool clean;                    /* the map begins empty */
};

struct env_side {
    struct env *env;
    struct rfs_memory_options memory;
    struct rfs_device *fault, *inner;
    struct rfs_volume *vol;
    uint8_t *bytes, *allocated;
    sem_t closed;
};

struct env {
    struct env_options o;
    struct rfs_loop *loop;
    struct rfs_iothreads *committer;
    struct env_side side[2];
    struct rfs_pmap *map;
    struct rfs_pair *pair;
    struct rfs_pair_settings settings;
    char folder[64], path[96];
    /* what happened; the loop's */
    unsigned copied, failed, lost, resumed, mismatches, stopped;
    bool complete, in_call, broke_rule;
    enum rfs_side failed_side, lost_side;
    struct rfs_error why;
    uint64_t mismatch_offset, mismatch_length;
    unsigned broken_promises; /* clear regions found to differ on the medium */
    sem_t sem;
};

/* --- random numbers, seeded --- */

ENV_INLINE uint64_t env_random(uint64_t *seed)
{
    uint64_t x = *seed += 0x9e3779b97f4a7c15ull;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

ENV_INLINE void env_fill(uint8_t *to, uint64_t length, uint64_t seed)
{
    for (uint64_t i = 0; i + 8 <= length; i += 8) {
        uint64_t x = env_random(&seed);

        memcpy(to + i, &x, 8);
    }
}

/* --- running things on the loop --- */

ENV_INLINE void env_on_loop(struct env *e, void (*fn)(struct env *e))
{
    rfs_loop_call(e->loop, (void (*)(void *))fn, e);
}

/* --- devices --- */

ENV_INLINE struct rfs_device *env_open_memory(void *arg, struct rfs_loop *loop,
                                              const struct rfs_device_events *events, void *events_arg,
                                              struct rfs_error *err)
{
    struct env_side *s = arg;
    const struct env_options *o = &s->env->o;
    uint32_t max = s == &s->env->side[RFS_SOURCE] ? o->source_max_transfer : o->target_max_transfer;

    (void)err;
    s->inner = rfs_memory_open(loop, &s->memory, events, events_arg);
    if (max)
        s->inner->info.max_transfer = max;
    if (o->granularity)
        s->inner->info.unmap_granularity = o->granularity;
    return s->inner;
}

ENV_INLINE struct rfs_device *env_open_fault(void *arg, struct rfs_loop *loop,
                                             const struct rfs_device_events *events, void *events_arg,
                                             struct rfs_error *err)
{
    struct env_side *s = arg;

    s->fault = rfs_fault_open(loop, env_open_memory, s, events, events_arg, err);
    return s->fault;
}

ENV_INLINE void env_open_volumes(struct env *e)
{
    struct rfs_error err = RFS_ERROR_INIT;

    for (int i = 0; i < 2; i++)
        e->side[i].vol = rfs_volume_open(e->loop, NULL, env_open_fault, &e->side[i], &err);
}

ENV_INLINE bool env_both_online(void *arg)
{
    struct env *e = arg;

    return rfs_volume_state(e->side[0].vol) == RFS_DEVICE_ONLINE &&
           rfs_volume_state(e->side[1].vol) == RFS_DEVICE_ONLINE;
}

ENV_INLINE void env_make_side(struct env *e, int i)
{
    struct env_side *s = &e->side[i];
    const struct env_options *o = &e->o;
    uint32_t block = i == RFS_TARGET && o->target_block ? o->target_block : o->block ? o->block : 512;
    uint64_t size = o->size + (i == RFS_TARGET ? TAIL : 0);

    s->env = e;
    s->bytes = rfs_xcalloc(1, size);
    s->allocated = rfs_xcalloc(1, size / 512);
    memset(s->allocated, 1, size / 512);
    sem_init(&s->closed, 0, 0);
    s->memory = (struct rfs_memory_options){
        .size = size, .block_size = block, .bytes = s->bytes, .allocated = s->allocated};
    s->memory.extent_status = s->memory.unmapped_reads_zero =
        i == RFS_SOURCE ? o->source_thin : o->target_thin;
    s->memory.max_unmap = i == RFS_SOURCE ? o->source_max_unmap : o->target_max_unmap;
    s->memory.max_write_zeroes = i == RFS_SOURCE ? 0 : o->target_max_zeroes;
}

/* --- events --- */

ENV_INLINE void env_note(struct env *e, unsigned *counter)
{
    if (e->in_call || !rfs_loop_is_current(e->loop))
        e->broke_rule = true;
    ++*counter;
}

ENV_INLINE void env_copied(void *arg)
{
    struct env *e = arg;

    env_note(e, &e->copied);
    sem_post(&e->sem);
}

ENV_INLINE void env_lost(void *arg, enum rfs_side side, const struct rfs_error *why)
{
    struct env *e = arg;

    e->lost_side = side;
    if (!why->msg[0])
        e->broke_rule = true;
    env_note(e, &e->lost);
}

ENV_INLINE void env_resumed(void *arg)
{
    env_note(arg, &((struct env *)arg)->resumed);
}

ENV_INLINE void env_failed(void *arg, enum rfs_side side, const struct rfs_error *why)
{
    struct env *e = arg;

    env_note(e, &e->failed);
    e->failed_side = side;
    e->why = *why;
    sem_post(&e->sem);
}

ENV_INLINE void env_mismatch(void *arg, uint64_t offset, uint64_t length)
{
    struct env *e = arg;

    env_note(e, &e->mismatches);
    e->mismatch_offset = offset;
    e->mismatch_length = length;
}

ENV_INLINE void env_stopped(void *arg, bool complete)
{
    struct env *e = arg;

    env_note(e, &e->stopped);
    e->complete = complete;
    sem_post(&e->sem);
}

static const struct rfs_pair_events env_events = {.copied = env_copied,
                                                  .lost = env_lost,
                                                  .resumed = env_resumed,
                                                  .failed = env_failed,
                                                  .mismatch = env_mismatch};

/* --- setting up and taking down --- */

ENV_INLINE void env_make_map(struct env *e)
{
    struct rfs_pmap_identity id = {
        .owner = "test", .generation = 1, .size = e->o.size, .region_size = e->o.region};
    struct rfs_error err = RFS_ERROR_INIT;

    assert_int_equal(rfs_pmap_create(e->path, &id, !e->o.clean, &err), 0);
    e->map = rfs_pmap_load(e->path, &id, &err);
    assert_non_null(e->map);
}

ENV_INLINE void env_make_pair(struct env *e)
{
    e->pair =
        rfs_pair_new(e->side[RFS_SOURCE].vol, e->side[RFS_TARGET].vol, e->map, &e->settings, &env_events, e);
}

ENV_INLINE void env_attach(struct env *e)
{
    rfs_pmap_attach(e->map, e->loop, e->committer);
    env_make_pair(e);
}

/* Random data on the source, other data on the target, and a mark behind the target's part. Not yet Online.
 */
ENV_INLINE void env_begin_offline(struct env *e, const struct env_options *o)
{
    memset(e, 0, sizeof(*e));
    e->o = *o;
    if (!e->o.region)
        e->o.region = RFS_REGION_SIZE_DEFAULT;
    e->settings =
        (struct rfs_pair_settings){.verify = RFS_VERIFY_COPIED, .max_retries = 3, .detect_zeroes = true};
    strcpy(e->folder, "/tmp/rfs-pair-XXXXXX");
    assert_non_null(mkdtemp(e->folder));
    snprintf(e->path, sizeof(e->path), "%s/map", e->folder);
    sem_init(&e->sem, 0, 0);
    e->loop = async_loop();
    e->committer = rfs_iothreads_new("committer", 1);
    env_make_side(e, RFS_SOURCE);
    env_make_side(e, RFS_TARGET);
    env_fill(e->side[RFS_SOURCE].bytes, o->size, 1);
    env_fill(e->side[RFS_TARGET].bytes, o->size, 2);
    memset(e->side[RFS_TARGET].bytes + o->size, TAIL_BYTE, TAIL);
    env_make_map(e);
    env_on_loop(e, env_open_volumes);
    env_on_loop(e, env_attach);
}

ENV_INLINE void env_begin(struct env *e, const struct env_options *o)
{
    env_begin_offline(e, o);
    async_wait(e->loop, env_both_online, e, "both Online");
}

ENV_INLINE void env_side_closed(void *arg)
{
    sem_post(&((struct env_side *)arg)->closed);
}

ENV_INLINE void env_close_volumes(struct env *e)
{
    rfs_pair_free(e->pair);
    for (int i = 0; i < 2; i++)
        rfs_volume_close(e->side[i].vol, env_side_closed, &e->side[i]);
}

struct env_wait {
    struct rfs_pmap_wait wait;
    sem_t sem;
};

ENV_INLINE void env_detached(struct rfs_pmap_wait *wait, const struct rfs_error *err)
{
    (void)err;
    sem_post(&RFS_CONTAINER_OF(wait, struct env_wait, wait)->sem);
}

struct env_detach {
    struct env *env;
    struct env_wait wait;
};

ENV_INLINE void env_run_detach(void *arg)
{
    struct env_detach *d = arg;

    rfs_pmap_detach(d->env->map, &d->wait.wait);
}

/* Sets bits and waits until they are durable. */
struct env_set {
    struct env *env;
    uint64_t offset, length;
    struct env_wait wait;
};

ENV_INLINE void env_run_set(void *arg)
{
    struct env_set *s = arg;

    if (rfs_pmap_set(s->env->map, s->offset, s->length, &s->wait.wait))
        sem_post(&s->wait.sem);
}

ENV_INLINE void env_set(struct env *e, uint64_t offset, uint64_t length)
{
    struct env_set s = {.env = e, .offset = offset, .length = length, .wait.wait.done = env_detached};

    sem_init(&s.wait.sem, 0, 0);
    rfs_loop_call(e->loop, env_run_set, &s);
    async_sem_wait(&s.wait.sem, "set");
    sem_destroy(&s.wait.sem);
}

ENV_INLINE void env_drop_map(struct env *e)
{
    struct env_detach d = {.env = e, .wait.wait.done = env_detached};

    sem_init(&d.wait.sem, 0, 0);
    rfs_loop_call(e->loop, env_run_detach, &d);
    async_sem_wait(&d.wait.sem, "detach");
    sem_destroy(&d.wait.sem);
    rfs_pmap_free(e->map);
}

ENV_INLINE void env_end(struct env *e)
{
    env_on_loop(e, env_close_volumes);
    for (int i = 0; i < 2; i++)
        async_sem_wait(&e->side[i].closed, "volume closed");
    env_drop_map(e);
    rfs_loop_stop(e->loop);
    rfs_iothreads_free(e->committer);
    for (int i = 0; i < 2; i++) {
        free(e->side[i].bytes);
        free(e->side[i].allocated);
        sem_destroy(&e->side[i].closed);
    }
    sem_destroy(&e->sem);
    unlink(e->path);
    rmdir(e->folder);
    assert_false(e->broke_rule);
    assert_int_equal(e->broken_promises, 0);
}

/* --- faults --- */

struct env_rule {
    struct rfs_device *dev;
    const struct rfs_fault_rule *rule;
};

ENV_INLINE void env_run_add(void *arg)
{
    struct env_rule *r = arg;

    rfs_fault_add(r->dev, r->rule);
}

ENV_INLINE void env_fault(struct env *e, enum rfs_side side, struct rfs_fault_rule rule)
{
    struct env_rule r = {e->side[side].fault, &rule};

    rfs_loop_call(e->loop, env_run_add, &r);
}

ENV_INLINE void env_clear_faults(struct env *e)
{
    rfs_fault_clear(e->side[0].fault);
    rfs_fault_clear(e->side[1].fault);
}

/* --- runs --- */

ENV_INLINE void env_run(struct env *e)
{
    e->in_call = true;
    rfs_pair_configure(e->pair, &e->settings);
    rfs_pair_run(e->pair);
    e->in_call = false;
}

ENV_INLINE void env_stop(struct env *e)
{
    e->in_call = true;
    rfs_pair_stop(e->pair, env_stopped, e);
    e->in_call = false;
}

ENV_INLINE void env_start(struct env *e)
{
    env_on_loop(e, env_run);
}

ENV_INLINE void env_await_end(struct env *e)
{
    async_sem_wait(&e->sem, "copied, failed or stopped");
}

ENV_INLINE void env_copy(struct env *e)
{
    env_start(e);
    env_await_end(e);
}

ENV_INLINE void env_halt(struct env *e)
{
    env_on_loop(e, env_stop);
    env_await_end(e);
}

ENV_INLINE uint64_t env_get(struct env *e, size_t offset)
{
    const char *stats = (const char *)rfs_pair_stats(e->pair);

    return atomic_load((const _Atomic uint64_t *)(stats + offset));
}

#define STAT(e, name) env_get((e), offsetof(struct rfs_pair_stats, name))

ENV_INLINE enum rfs_pair_phase env_phase(struct env *e)
{
    return (enum rfs_pair_phase)atomic_load(&rfs_pair_stats(e->pair)->phase);
}

/* --- what has to hold --- */

/* On the loop: no region is clear whose bytes differ on the medium. */
ENV_INLINE void env_check_promises(struct env *e)
{
    for (uint64_t at = 0; at < e->o.size; at += e->o.region) {
        uint64_t n = e->o.size - at < e->o.region ? e->o.size - at : e->o.region;

        if (!rfs_pmap_test(e->map, at) && memcmp(e->side[0].bytes + at, e->side[1].bytes + at, n))
            e->broken_promises++;
    }
}

ENV_INLINE void env_check_tail(struct env *e)
{
    const uint8_t *tail = e->side[RFS_TARGET].bytes + e->o.size;

    assert_int_equal(tail[0], TAIL_BYTE);
    assert_memory_equal(tail, tail + 1, TAIL - 1);
}

ENV_INLINE void env_check_state(struct env *e)
{
    env_on_loop(e, env_check_promises);
    assert_int_equal(e->broken_promises, 0);
    env_check_tail(e);
    assert_int_equal(env_phase(e), RFS_PAIR_IDLE);
    assert_int_equal(STAT(e, in_flight_bytes), 0);
}

/* After copied(): everything equal, nothing dirty. */
ENV_INLINE void env_check_copied(struct env *e)
{
    env_check_state(e);
    assert_int_equal(rfs_pmap_dirty_bytes(e->map), 0);
    assert_int_equal(rfs_pmap_unsaved_bytes(e->map), 0);
    assert_memory_equal(e->side[0].bytes, e->side[1].bytes, e->o.size);
}

#endif
