/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pendingmap_disk.h"

#define SECTOR 512u

/* --- random operations and crashes against a naive model --- */

struct obligation {
    bool dirty;
    bool confirmed;     /* a set of it was confirmed and it was not cleared since */
    uint64_t set_count; /* sets begun; */
    uint64_t clear_at;  /* …and how many of these came before the last clear */
};

struct model {
    struct fixture *f;
    uint64_t regions;
    struct obligation *of;
    uint64_t sets; /* begun so far */
    unsigned outstanding;
    unsigned ops;           /* in this burst */
    unsigned char *crashed; /* bits after a power cut */
    unsigned char *killed;  /* bits after a SIGKILL */
    uint64_t unsaved;
};

struct model_set {
    struct rfs_pmap_wait wait;
    struct model *m;
    uint64_t first, end, serial;
};

static void confirm(struct model_set *s)
{
    for (uint64_t r = s->first; r < s->end; r++)
        if (s->m->of[r].clear_at < s->serial)
            s->m->of[r].confirmed = true;
    free(s);
}

static void on_model_set(struct rfs_pmap_wait *wait, const struct rfs_error *err)
{
    struct model_set *s = RFS_CONTAINER_OF(wait, struct model_set, wait);

    assert_null(err);
    s->m->outstanding--;
    confirm(s);
}

static void pick_range(struct model *m, uint64_t *first, uint64_t *end)
{
    uint64_t width = 1 + pm_next_random(m->f) % (pm_next_random(m->f) % 16 ? 8 : 3000);

    *first = pm_next_random(m->f) % 3 ? pm_next_random(m->f) % m->regions : pm_next_random(m->f) % 200;
    *end = *first + width < m->regions ? *first + width : m->regions;
}

static void model_set(struct model *m)
{
    struct model_set *s = calloc(1, sizeof(*s));
    uint64_t size = m->f->id.size, offset, stop;

    s->m = m;
    s->wait.done = on_model_set;
    s->serial = ++m->sets;
    pick_range(m, &s->first, &s->end);
    for (uint64_t r = s->first; r < s->end; r++)
        m->of[r].dirty = true;
    offset = s->first * PM_REGION + pm_next_random(m->f) % (s->end * PM_REGION <= size ? PM_REGION : 1);
    stop = s->end * PM_REGION < size ? s->end * PM_REGION : size;
    if (rfs_pmap_set(m->f->map, offset, stop - offset, &s->wait))
        confirm(s);
    else
        m->outstanding++;
}

static void model_clear(struct model *m)
{
    uint64_t first, end;

    pick_range(m, &first, &end);
    for (uint64_t r = first; r < end; r++) {
        m->of[r].dirty = m->of[r].confirmed = false;
        m->of[r].clear_at = m->sets;
    }
    rfs_pmap_clear(m->f->map, first * PM_REGION, (end - first) * PM_REGION);
}

static void check_model(struct model *m)
{
    const struct rfs_pmap *map = m->f->map;
    uint64_t bytes = 0, tail = m->f->id.size % PM_REGION;

    for (uint64_t r = 0; r < m->regions; r++) {
        assert_int_equal(rfs_pmap_test(map, r * PM_REGION), m->of[r].dirty);
        bytes += m->of[r].dirty ? (r == m->regions - 1 && tail ? tail : PM_REGION) : 0;
    }
    assert_int_equal(rfs_pmap_dirty_bytes(map), bytes);
    assert_true(rfs_pmap_unsaved_bytes(map) >= bytes);
}

static unsigned char *version_of(struct disk *d, uint32_t page, unsigned k)
{
    for (unsigned i = d->n; i-- > 0;)
        if (d->versions[i].page == page && k-- == 0)
            return d->versions[i].data;
    return d->synced + (size_t)page * PMAP_PAGE;
}

/* Every sector as it was synced or as any write since has left it; half of the time torn within the sector.
 */
static void cut_power(struct model *m)
{
    struct disk *d = &m->f->disk;

    for (uint32_t page = 0; page < d->pages; page++)
        for (unsigned at = 0; at < PMAP_PAGE;) {
            unsigned n = pm_next_random(m->f) % 2 ? SECTOR : 1 + (unsigned)(pm_next_random(m->f) % 64);

            n = n < PMAP_PAGE - at ? n : PMAP_PAGE - at;
            memcpy(m->crashed + (size_t)page * PMAP_PAGE + at,
                   version_of(d, page, (unsigned)(pm_next_random(m->f) % (d->n + 1))) + at, n);
            at += n;
        }
}

static void burst(void *arg)
{
    struct model *m = arg;
    struct disk *d = &m->f->disk;

    for (unsigned i = 0; i < m->ops; i++)
        (pm_next_random(m->f) % 5 < 3 ? model_set : model_clear)(m);
    check_model(m);
    /* This instant, as the disk has it, with whatever write is under way. */
    m->unsaved = rfs_pmap_unsaved_bytes(m->f->map);
    pthread_mutex_lock(&d->lock);
    cut_power(m);
    memcpy(m->killed, d->current, (size_t)d->pages * PMAP_PAGE);
    pthread_mutex_unlock(&d->lock);
}

static struct rfs_pmap *load_bits(struct fixture *f, const unsigned char *bits)
{
    int fd = open(f->path, O_WRONLY | O_CLOEXEC);
    ssize_t n = (ssize_t)f->disk.pages * PMAP_PAGE;

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bits, (size_t)n, (off_t)(PMAP_HEADERS * PMAP_PAGE)), n);
    close(fd);
    return pm_load_good(f);
}

static void call_nothing(void *arg)
{
}

/* What was confirmed and not cleared since is there; a kill alone loses no clear that was reported. `before`
 * holds the obligations of the instant of the crash. */
static void check_crash(struct model *m, const struct obligation *before)
{
    struct rfs_pmap *after = load_bits(m->f, m->crashed);

    for (uint64_t r = 0; r < m->regions; r++)
        if (before[r].confirmed && !rfs_pmap_test(after, r * PM_REGION))
            fail_msg("region %llu was confirmed and is lost", (unsigned long long)r);
    rfs_pmap_free(after);
    after = load_bits(m->f, m->killed);
    assert_true(rfs_pmap_dirty_bytes(after) <= m->unsaved);
    rfs_pmap_free(after);
}

static void copy_obligations(void *arg)
{
    struct model **pair = arg;

    memcpy(pair[1]->of, pair[0]->of, pair[0]->regions * sizeof(*pair[0]->of));
}

/* A burst and the copy of its obligations in one turn of the worker. */
static void burst_and_copy(void *arg)
{
    struct model **pair = arg;

    burst(pair[0]);
    copy_obligations(pair);
}

static void free_model(struct model *m)
{
    free(m->of);
    free(m->crashed);
    free(m->killed);
}

static void run_model(struct fixture *f, unsigned crashes)
{
    struct model m = {.f = f, .regions = f->map->regions}, then = {.f = f};
    struct model *pair[2] = {&m, &then};

    m.of = calloc(m.regions, sizeof(*m.of));
    then.of = calloc(m.regions, sizeof(*then.of));
    for (uint64_t r = 0; r < m.regions; r++)
        m.of[r].dirty = rfs_pmap_test(f->map, r * PM_REGION);
    m.crashed = calloc(f->disk.pages, PMAP_PAGE);
    m.killed = calloc(f->disk.pages, PMAP_PAGE);
    for (unsigned i = 0; i < crashes; i++) {
        m.ops = 1 + (unsigned)(pm_next_random(f) % 6);
        f->disk.delay_us = i % 7 == 0 ? 0 : (unsigned)(pm_next_random(f) % 200);
        rfs_loop_call(f->worker, burst_and_copy, pair);
        check_crash(&m, then.of);
        pm_pause_us((unsigned)(pm_next_random(f) % 300));
    }
    pm_sync_map(f);
    rfs_loop_call(f->worker, call_nothing, NULL);
    assert_int_equal(m.outstanding, 0);
    assert_int_equal(rfs_pmap_unsaved_bytes(f->map), rfs_pmap_dirty_bytes(f->map));
    for (uint64_t r = 0; r < m.regions; r++) /* after a sync the disk is the model */
        assert_int_equal(f->disk.synced[r / 8] >> (r % 8) & 1, !m.of[r].dirty);
    assert_false(f->disk.overlapped);
    free_model(&m);
    free_model(&then);
}

static void test_random_crashes(void **state)
{
    struct fixture *f = *state;

    pm_start(f, (2 * (uint64_t)PMAP_PAGE_BITS + 12345) * PM_REGION - 3000, false);
    run_model(f, 250);
}

static void test_random_crashes_small(void **state)
{
    struct fixture *f = *state;

    pm_start(f, 300 * PM_REGION + 1, false);
    run_model(f, 1000);
}

/* From a file of which nothing was ever synced. */
static void test_random_crashes_unsure(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 40; i++) {
        pm_start(f, 300 * PM_REGION + 1, true);
        pm_lose_unsynced(f);
        run_model(f, 8);
        pm_stop(f);
    }
}

#define ROW(fn) cmocka_unit_test_setup_teardown(fn, pm_setup, pm_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_random_crashes),
        ROW(test_random_crashes_small),
        ROW(test_random_crashes_unsure),
    };

    alarm(110);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
