/* SPDX-License-Identifier: Apache-2.0 */
#include "pendingmap_disk.h"

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

#define MAX_VERSIONS 64u

void pm_pause_us(unsigned us)
{
    struct timespec ts = {.tv_nsec = (long)us * 1000};

    if (us)
        nanosleep(&ts, NULL);
}

static void enter(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->overlapped |= d->busy++ != 0;
    pthread_mutex_unlock(&d->lock);
}

static void leave(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->busy--;
    pthread_mutex_unlock(&d->lock);
}

static void pass_gate(struct disk *d, bool gated)
{
    if (!gated)
        return;
    sem_post(&d->at_gate);
    while (sem_wait(&d->gate))
        ;
}

static void keep_version(struct disk *d, uint32_t page, const unsigned char *data)
{
    assert_true(page < d->pages && d->n < MAX_VERSIONS);
    d->versions[d->n].page = page;
    memcpy(d->versions[d->n++].data, data, PMAP_PAGE);
    memcpy(d->current + (size_t)page * PMAP_PAGE, data, PMAP_PAGE);
    d->page_writes++;
}

static ssize_t disk_pwrite(void *arg, int fd, const void *data, size_t length, off_t offset)
{
    struct disk *d = arg;
    uint32_t first = (uint32_t)(offset / PMAP_PAGE) - PMAP_HEADERS;
    int error;

    assert_true(offset % PMAP_PAGE == 0 && offset >= (off_t)(PMAP_HEADERS * PMAP_PAGE));
    if (length > 3 * PMAP_PAGE)
        length = 3 * PMAP_PAGE; /* a short write, as is allowed */
    enter(d);
    pthread_mutex_lock(&d->lock);
    error = d->write_error;
    d->writes++;
    for (uint32_t i = 0; !error && i < length / PMAP_PAGE; i++)
        keep_version(d, first + i, (const unsigned char *)data + (size_t)i * PMAP_PAGE);
    pthread_mutex_unlock(&d->lock);
    pm_pause_us(d->delay_us);
    pass_gate(d, d->gate_writes);
    leave(d);
    errno = error;
    return error ? -1 : (ssize_t)length;
}

static int disk_fdatasync(void *arg, int fd)
{
    struct disk *d = arg;
    int error;

    enter(d);
    pass_gate(d, d->gate_syncs);
    pm_pause_us(d->delay_us);
    pthread_mutex_lock(&d->lock);
    d->syncs++;
    error = d->sync_error;
    if (!error) {
        memcpy(d->synced, d->current, (size_t)d->pages * PMAP_PAGE);
        d->n = 0;
    }
    pthread_mutex_unlock(&d->lock);
    leave(d);
    errno = error;
    return error ? -1 : 0;
}

/* --- fixture: a map on a worker --- */

uint64_t pm_next_random(struct fixture *f)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return f->random;
}

int pm_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct rfs_error err = RFS_ERROR_INIT;

    strcpy(f->base, "/tmp/test_pendingmap.XXXXXX");
    assert_non_null(mkdtemp(f->base));
    snprintf(f->path, sizeof(f->path), "%s/map", f->base);
    strcpy(f->id.owner, "0b6c1b0e-5f0a-4f0e-8f57-4f3f4fe8b0c1/7");
    f->id.generation = 3;
    f->id.region_size = PM_REGION;
    f->random = 88172645463325252u;
    f->worker = rfs_loop_start("worker", &err);
    f->committer = rfs_iothreads_new("committer", 1);
    assert_non_null(f->worker);
    pthread_mutex_init(&f->disk.lock, NULL);
    sem_init(&f->disk.at_gate, 0, 0);
    sem_init(&f->disk.gate, 0, 0);
    *state = f;
    return 0;
}

static void on_done(struct rfs_pmap_wait *wait, const struct rfs_error *err)
{
    struct waiter *w = RFS_CONTAINER_OF(wait, struct waiter, wait);

    w->failed = err != NULL;
    if (err)
        w->why = *err;
    sem_post(&w->done);
}

void pm_init_waiter(struct waiter *w, struct fixture *f)
{
    memset(w, 0, sizeof(*w));
    w->f = f;
    w->wait.done = on_done;
    sem_init(&w->done, 0, 0);
}

void pm_await(sem_t *sem)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += 30;
    assert_int_equal(sem_timedwait(sem, &ts), 0);
}

static void call_set(void *arg)
{
    struct waiter *w = arg;

    w->durable = rfs_pmap_set(w->f->map, w->offset, w->length, &w->wait);
}

static void call_clear(void *arg)
{
    struct call *c = arg;

    rfs_pmap_clear(c->f->map, c->offset, c->length);
}

void pm_call_sync(void *arg)
{
    struct waiter *w = arg;

    rfs_pmap_sync(w->f->map, &w->wait);
}

static void call_detach(void *arg)
{
    struct waiter *w = arg;

    rfs_pmap_detach(w->f->map, &w->wait);
}

void pm_call_attach(void *arg)
{
    struct fixture *f = arg;

    rfs_pmap_attach(f->map, f->worker, f->committer);
}

void pm_begin_set(struct fixture *f, struct waiter *w, uint64_t offset, uint64_t length)
{
    pm_init_waiter(w, f);
    w->offset = offset;
    w->length = length;
    rfs_loop_call(f->worker, call_set, w);
}

bool pm_set(struct fixture *f, uint64_t offset, uint64_t length)
{
    struct waiter w;

    pm_begin_set(f, &w, offset, length);
    if (!w.durable)
        pm_await(&w.done);
    assert_false(w.failed);
    return w.durable;
}

void pm_clear(struct fixture *f, uint64_t offset, uint64_t length)
{
    struct call c = {.f = f, .offset = offset, .length = length};

    rfs_loop_call(f->worker, call_clear, &c);
}

void pm_sync_map(struct fixture *f)
{
    struct waiter w;

    pm_init_waiter(&w, f);
    rfs_loop_call(f->worker, pm_call_sync, &w);
    pm_await(&w.done);
    assert_false(w.failed);
}

bool pm_detach(struct fixture *f)
{
    struct waiter w;

    pm_init_waiter(&w, f);
    rfs_loop_call(f->worker, call_detach, &w);
    pm_await(&w.done);
    return !w.failed;
}

static void call_next(void *arg)
{
    struct call *c = arg;
    uint64_t max = c->length;

    c->result = rfs_pmap_next(c->f->map, c->offset, max, &c->offset, &c->length);
}

void pm_expect_next(struct fixture *f, uint64_t from, uint64_t max, uint64_t offset, uint64_t length)
{
    struct call c = {.f = f, .offset = from, .length = max};

    rfs_loop_call(f->worker, call_next, &c);
    assert_true(c.result);
    assert_int_equal(c.offset, offset);
    assert_int_equal(c.length, length);
}

void pm_expect_none(struct fixture *f, uint64_t from)
{
    struct call c = {.f = f, .offset = from, .length = UINT64_MAX};

    rfs_loop_call(f->worker, call_next, &c);
    assert_false(c.result);
}

static void call_test(void *arg)
{
    struct call *c = arg;

    c->result = rfs_pmap_test(c->f->map, c->offset);
}

bool pm_test_bit(struct fixture *f, uint64_t offset)
{
    struct call c = {.f = f, .offset = offset};

    rfs_loop_call(f->worker, call_test, &c);
    return c.result;
}

static void free_disk(struct disk *d)
{
    free(d->synced);
    free(d->current);
    free(d->versions);
}

struct rfs_pmap *pm_load_good(struct fixture *f)
{
    struct rfs_error err = RFS_ERROR_INIT;
    struct rfs_pmap *map = rfs_pmap_load(f->path, &f->id, &err);

    if (!map)
        fail_msg("%s", err.msg);
    return map;
}

void pm_create(struct fixture *f, uint64_t size, bool all_set)
{
    struct rfs_error err = RFS_ERROR_INIT;

    f->id.size = size;
    if (rfs_pmap_create(f->path, &f->id, all_set, &err))
        fail_msg("%s", err.msg);
}

void pm_start_real(struct fixture *f, uint64_t size, bool all_set)
{
    pm_create(f, size, all_set);
    f->map = pm_load_good(f);
    rfs_loop_call(f->worker, pm_call_attach, f);
}

void pm_start(struct fixture *f, uint64_t size, bool all_set)
{
    struct rfs_pmap_io io = {.pwrite = disk_pwrite, .fdatasync = disk_fdatasync, .arg = &f->disk};
    struct rfs_error err = RFS_ERROR_INIT;
    struct disk *d = &f->disk;

    pm_create(f, size, all_set);
    f->map = rfs_pmap_load_with(f->path, &f->id, &io, &err);
    if (!f->map)
        fail_msg("%s", err.msg);
    d->pages = f->map->pages;
    free_disk(d); /* of a map before */
    d->n = 0;
    d->synced = malloc((size_t)d->pages * PMAP_PAGE);
    d->current = malloc((size_t)d->pages * PMAP_PAGE);
    d->versions = calloc(MAX_VERSIONS, sizeof(*d->versions));
    memset(d->synced, all_set ? PM_DIRTY : PM_CLEAN, (size_t)d->pages * PMAP_PAGE);
    memset(d->current, all_set ? PM_DIRTY : PM_CLEAN, (size_t)d->pages * PMAP_PAGE);
    rfs_loop_call(f->worker, pm_call_attach, f);
}

void pm_lose_unsynced(struct fixture *f)
{
    memset(f->disk.synced, PM_CLEAN, (size_t)f->disk.pages * PMAP_PAGE);
}

void pm_stop(struct fixture *f)
{
    pm_detach(f);
    rfs_pmap_free(f->map);
    f->map = NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

int pm_teardown(void **state)
{
    struct fixture *f = *state;
    char mounted[96];

    f->disk.gate_writes = f->disk.gate_syncs = false; /* as a failed test may have left them */
    sem_post(&f->disk.gate);
    if (f->map && f->map->worker)
        pm_detach(f);
    rfs_pmap_free(f->map);
    rfs_loop_stop(f->worker);
    rfs_iothreads_free(f->committer);
    free_disk(&f->disk);
    snprintf(mounted, sizeof(mounted), "%s/small", f->base);
    umount2(mounted, MNT_DETACH);
    nftw(f->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}
