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

/* --- bits --- */

static void check_all_set(struct fixture *f, uint64_t size)
{
    pm_start_real(f, size, true);
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), size);
    assert_int_equal(rfs_pmap_unsaved_bytes(f->map), size);
    pm_expect_next(f, 0, UINT64_MAX, 0, size);
    pm_expect_next(f, size - 1, UINT64_MAX, size - 1, 1);
    pm_clear(f, 0, size);
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), 0);
    pm_expect_none(f, 0);
    pm_stop(f);
    f->map = pm_load_good(f);
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), 0);
    rfs_pmap_free(f->map);
    f->map = NULL;
}

static void test_sizes(void **state)
{
    static const uint64_t sizes[] = {1,
                                     512,
                                     PM_REGION,
                                     PM_REGION + 512,
                                     63 * PM_REGION,
                                     64 * PM_REGION,
                                     65 * PM_REGION - 1,
                                     (uint64_t)PMAP_PAGE_BITS * PM_REGION,
                                     (uint64_t)PMAP_PAGE_BITS * PM_REGION + 1,
                                     (uint64_t)PMAP_PAGE_BITS * PM_REGION * 3 - 512};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        check_all_set(*state, sizes[i]);
}

static void test_ranges(void **state)
{
    struct fixture *f = *state;
    uint64_t size = 1000 * PM_REGION + 100;

    pm_start_real(f, size, false);
    pm_expect_none(f, 0);
    assert_true(pm_set(f, 5 * PM_REGION, 0));
    assert_true(pm_set(f, size, 4096));
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), 0);

    assert_false(pm_set(f, 10 * PM_REGION + 4095, 2)); /* touches two regions */
    assert_true(pm_test_bit(f, 10 * PM_REGION) && pm_test_bit(f, 11 * PM_REGION));
    assert_false(pm_test_bit(f, 9 * PM_REGION) || pm_test_bit(f, 12 * PM_REGION));
    pm_expect_next(f, 0, UINT64_MAX, 10 * PM_REGION, 2 * PM_REGION);
    pm_expect_next(f, 0, PM_REGION, 10 * PM_REGION, PM_REGION);
    pm_expect_next(f, 0, 100, 10 * PM_REGION, 100);
    pm_expect_next(f, 11 * PM_REGION, UINT64_MAX, 11 * PM_REGION, PM_REGION);
    pm_expect_next(f, 11 * PM_REGION + 7, UINT64_MAX, 11 * PM_REGION + 7, PM_REGION - 7);
    pm_expect_none(f, 12 * PM_REGION);
    pm_expect_none(f, size);

    pm_clear(f, 10 * PM_REGION + 1, 2 * PM_REGION - 2); /* neither is wholly inside */
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), 2 * PM_REGION);
    pm_clear(f, 10 * PM_REGION + 1, 2 * PM_REGION - 1);
    assert_true(pm_test_bit(f, 10 * PM_REGION));
    assert_false(pm_test_bit(f, 11 * PM_REGION));

    assert_false(pm_set(f, size - 1, UINT64_MAX));
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), PM_REGION + 100);
    pm_expect_next(f, 999 * PM_REGION, UINT64_MAX, 1000 * PM_REGION, 100);
    pm_clear(f, 1000 * PM_REGION, 99); /* not to the end */
    assert_true(pm_test_bit(f, size - 1));
    pm_clear(f, 1000 * PM_REGION, 100);
    assert_false(pm_test_bit(f, size - 1));
    assert_false(pm_set(f, 0, size));
    pm_expect_next(f, 100, UINT64_MAX, 100, size - 100);
}

static void test_sample(void **state)
{
    struct fixture *f = *state;
    uint8_t cells[100];

    pm_start_real(f, 100000 * (uint64_t)PM_REGION, false);
    pm_set(f, 0, 1);                                        /* 1 of 1000 regions of the first cell */
    pm_set(f, 1000 * (uint64_t)PM_REGION, 500 * PM_REGION); /* half the second */
    pm_set(f, 99000 * (uint64_t)PM_REGION, UINT64_MAX);     /* the last */
    rfs_pmap_sample(f->map, cells, 100);
    assert_int_equal(cells[0], 1);
    assert_int_equal(cells[1], 127);
    assert_int_equal(cells[2], 0);
    assert_int_equal(cells[99], 255);
    pm_stop(f);
    pm_start_real(f, 3 * PM_REGION, false); /* fewer regions than cells */
    pm_set(f, PM_REGION, PM_REGION);
    rfs_pmap_sample(f->map, cells, 9);
    assert_memory_equal(cells, "\0\0\0\xff\xff\xff\0\0\0", 9);
}

/* --- the protocol --- */

static void test_durable_is_free(void **state)
{
    struct fixture *f = *state;

    pm_start(f, 1000 * PM_REGION, true);
    assert_false(pm_set(f, 0, PM_REGION)); /* just loaded: nobody knows whether it was ever synced */
    assert_int_equal(f->disk.syncs, 1);
    assert_true(pm_set(f, 0, 1000 * PM_REGION));
    assert_int_equal(f->disk.syncs, 1);
    pm_clear(f, 0, PM_REGION);
    pm_sync_map(f);
    assert_int_equal(f->disk.syncs, 2);
    pm_sync_map(f); /* nothing to do */
    assert_int_equal(f->disk.syncs, 2);
    assert_false(pm_set(f, 0, 2 * PM_REGION));
    assert_int_equal(f->disk.syncs, 3);
}

static void test_group_commit(void **state)
{
    struct fixture *f = *state;
    struct waiter w[64];

    pm_start(f, 4 * (uint64_t)PMAP_PAGE_BITS * PM_REGION, false);
    f->disk.gate_syncs = true;
    pm_begin_set(f, &w[0], 0, PM_REGION);
    pm_await(&f->disk.at_gate);
    for (unsigned i = 1; i < 64; i++) /* on all pages, while the first sync is under way */
        pm_begin_set(f, &w[i], (uint64_t)i * 2000 * PM_REGION, PM_REGION);
    f->disk.gate_syncs = false;
    sem_post(&f->disk.gate);
    for (unsigned i = 0; i < 64; i++) {
        pm_await(&w[i].done);
        assert_false(w[i].failed);
    }
    assert_int_equal(f->disk.syncs, 2);
    assert_int_equal(f->disk.page_writes, 5);
}

/* A set of a region that an outstanding write already holds joins its sync. */
static void test_join(void **state)
{
    struct fixture *f = *state;
    struct waiter a, b, c;

    pm_start(f, 1000 * PM_REGION, false);
    f->disk.gate_syncs = true;
    pm_begin_set(f, &a, 0, PM_REGION);
    pm_await(&f->disk.at_gate);
    pm_begin_set(f, &b, 512, 512);
    pm_begin_set(f, &c, 512, PM_REGION); /* reaches into another region */
    assert_false(a.durable || b.durable || c.durable);
    f->disk.gate_syncs = false;
    sem_post(&f->disk.gate);
    pm_await(&a.done);
    pm_await(&b.done);
    pm_await(&c.done);
    assert_int_equal(f->disk.syncs, 2);
}

/* While the write of a clear is outstanding its bit counts for nothing, and a new set waits for a sync of its
 * own. */
static void test_set_during_clear(void **state)
{
    struct fixture *f = *state;
    struct waiter s, w;

    pm_start(f, 1000 * PM_REGION, false);
    pm_set(f, 0, 2 * PM_REGION);
    assert_int_equal(f->disk.syncs, 1);
    pm_clear(f, 0, PM_REGION);
    f->disk.gate_syncs = true;
    pm_init_waiter(&s, f);
    rfs_loop_call(f->worker, pm_call_sync, &s);
    pm_await(&f->disk.at_gate); /* the clear is written and not synced */
    pm_begin_set(f, &w, 0, PM_REGION);
    assert_false(w.durable);
    assert_int_equal(sem_trywait(&w.done), -1);
    assert_true(pm_set(f, PM_REGION, PM_REGION)); /* the neighbour was never cleared */
    f->disk.gate_syncs = false;
    sem_post(&f->disk.gate);
    pm_await(&s.done);
    pm_await(&w.done);
    assert_int_equal(f->disk.syncs, 3);
    assert_false(f->disk.synced[0] & 1); /* dirty */
}

static void await_unsaved(struct fixture *f, uint64_t bytes)
{
    for (unsigned i = 0; rfs_pmap_unsaved_bytes(f->map) != bytes; i++) {
        assert_true(i < 30000);
        pm_pause_us(1000);
    }
    pm_test_bit(f, 0); /* a turn of the worker: what it knows of the disk, this thread knows */
}

/* Clears get into the file by themselves, without a sync, many in one write. */
static void test_lazy_clears(void **state)
{
    struct fixture *f = *state;

    pm_start(f, 1000 * PM_REGION, true);
    pm_set(f, 0, 1);
    for (unsigned i = 0; i < 500; i++)
        pm_clear(f, (uint64_t)i * PM_REGION, PM_REGION);
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), 500 * PM_REGION);
    assert_true(rfs_pmap_unsaved_bytes(f->map) >= 500 * PM_REGION);
    await_unsaved(f, 500 * PM_REGION);
    assert_int_equal(f->disk.syncs, 1);
    assert_true(f->disk.writes <= 20);
    assert_int_equal(f->disk.current[0], PM_CLEAN);
    assert_int_equal(f->disk.synced[0], PM_DIRTY);
}

/* What was found in the file may never have been synced: it is not durable before a write and a sync of our
 * own, which a write without a sync is not. */
static void test_loaded_is_unsure(void **state)
{
    struct fixture *f = *state;
    struct waiter w;

    pm_start(f, 1000 * PM_REGION, true);
    pm_lose_unsynced(f);
    pm_clear(f, 900 * PM_REGION, PM_REGION);
    await_unsaved(f, 999 * PM_REGION);
    assert_int_equal(f->disk.syncs, 0);
    f->disk.gate_writes = true;
    pm_clear(f, 901 * PM_REGION, PM_REGION);
    pm_await(&f->disk.at_gate);
    pm_begin_set(f, &w, 0, PM_REGION); /* the page on its way holds it, and nobody syncs that */
    assert_false(w.durable);
    f->disk.gate_writes = false;
    sem_post(&f->disk.gate);
    pm_await(&w.done);
    assert_int_equal(f->disk.syncs, 1);
    assert_int_equal(f->disk.synced[0], PM_DIRTY);
    assert_true(pm_set(f, 0, 900 * PM_REGION));
}

/* A set that is taken back before it was ever written does not stay unsaved. */
static void test_unsaved_of_unwritten(void **state)
{
    struct fixture *f = *state;
    struct waiter a, b;

    pm_start(f, 1000 * PM_REGION, false);
    f->disk.gate_syncs = true;
    pm_begin_set(f, &a, 0, PM_REGION);
    pm_await(&f->disk.at_gate);
    pm_begin_set(f, &b, PM_REGION, PM_REGION);
    assert_int_equal(rfs_pmap_unsaved_bytes(f->map), 2 * PM_REGION);
    pm_clear(f, PM_REGION, PM_REGION);
    assert_int_equal(rfs_pmap_unsaved_bytes(f->map), PM_REGION);
    pm_clear(f, 0, PM_REGION); /* this one is on its way into the file */
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), 0);
    assert_int_equal(rfs_pmap_unsaved_bytes(f->map), PM_REGION);
    f->disk.gate_syncs = false;
    sem_post(&f->disk.gate);
    pm_await(&a.done);
    pm_await(&b.done);
    await_unsaved(f, 0);
}

static void test_detach_saves(void **state)
{
    struct fixture *f = *state;

    pm_start_real(f, 100000 * (uint64_t)PM_REGION, true);
    pm_set(f, 0, 1);
    pm_clear(f, 0, 7 * PM_REGION);
    pm_clear(f, 90000 * (uint64_t)PM_REGION, 7 * PM_REGION);
    assert_true(pm_detach(f));
    assert_int_equal(rfs_pmap_unsaved_bytes(f->map), (100000 - 14) * (uint64_t)PM_REGION);
    rfs_loop_call(f->worker, pm_call_attach, f); /* it can be attached anew */
    pm_clear(f, 7 * PM_REGION, PM_REGION);
    pm_stop(f);
    f->map = pm_load_good(f);
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), (100000 - 15) * (uint64_t)PM_REGION);
}

struct chain {
    struct rfs_pmap_wait wait;
    struct fixture *f;
    unsigned left;
    sem_t done;
};

/* Goes on setting, clearing and at last detaching from inside its own callbacks. */
static void on_chain(struct rfs_pmap_wait *wait, const struct rfs_error *err)
{
    struct chain *c = RFS_CONTAINER_OF(wait, struct chain, wait);
    struct rfs_pmap *map = c->f->map;

    assert_null(err);
    if (c->left == UINT32_MAX) {
        rfs_pmap_free(map);
        c->f->map = NULL;
        sem_post(&c->done);
        return;
    }
    rfs_pmap_clear(map, (uint64_t)c->left * PM_REGION, PM_REGION);
    if (c->left-- == 0)
        rfs_pmap_detach(map, wait); /* left is UINT32_MAX now */
    else
        assert_false(rfs_pmap_set(map, (uint64_t)c->left * PM_REGION, PM_REGION, wait));
}

static void start_chain(void *arg)
{
    struct chain *c = arg;

    rfs_pmap_sync(c->f->map, &c->wait);
}

static void test_calls_from_callbacks(void **state)
{
    struct fixture *f = *state;
    struct chain c = {.f = f, .left = 50, .wait.done = on_chain};

    sem_init(&c.done, 0, 0);
    pm_start_real(f, 1000 * PM_REGION, false);
    rfs_loop_call(f->worker, start_chain, &c);
    pm_await(&c.done);
    f->map = pm_load_good(f);
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), 0);
}

static void test_many_pages(void **state)
{
    struct fixture *f = *state;
    uint64_t size = 200 * (uint64_t)PMAP_PAGE_BITS * PM_REGION; /* more pages than a batch holds */
    struct waiter a, b;

    pm_start_real(f, size, false);
    pm_begin_set(f, &a, 0, size);
    pm_begin_set(f, &b, size - 1, 1);
    pm_await(&a.done);
    if (!b.durable)
        pm_await(&b.done);
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), size);
    assert_true(pm_set(f, 0, size));
    pm_clear(f, 0, size - PM_REGION);
    pm_sync_map(f);
    assert_int_equal(rfs_pmap_unsaved_bytes(f->map), PM_REGION);
    pm_stop(f);
    f->map = pm_load_good(f);
    assert_int_equal(rfs_pmap_dirty_bytes(f->map), PM_REGION);
}

/* --- errors --- */

static void expect_failed_set(struct fixture *f, int errno_)
{
    struct waiter w;

    pm_begin_set(f, &w, 5 * PM_REGION, PM_REGION);
    assert_false(w.durable);
    pm_await(&w.done);
    assert_true(w.failed);
    assert_int_equal(w.why.err, errno_);
    assert_non_null(strstr(w.why.msg, f->path));
}

static void call_error(void *arg)
{
    struct call *c = arg;

    c->result = rfs_pmap_error(c->f->map) != NULL;
}

static void check_sticky(struct fixture *f, int errno_)
{
    struct call c = {.f = f};
    struct waiter s;

    pm_start(f, 1000 * PM_REGION, false);
    pm_set(f, 5 * PM_REGION, PM_REGION);
    rfs_loop_call(f->worker, call_error, &c);
    assert_false(c.result);
    *(errno_ == EIO ? &f->disk.sync_error : &f->disk.write_error) = errno_;
    pm_begin_set(f, &s, 0, PM_REGION);
    pm_await(&s.done);
    assert_true(s.failed);
    assert_int_equal(s.why.err, errno_);
    f->disk.write_error = f->disk.sync_error = 0; /* the disk is well again: too late */
    rfs_loop_call(f->worker, call_error, &c);
    assert_true(c.result);
    expect_failed_set(f, errno_); /* even what was durable once */
    pm_init_waiter(&s, f);
    rfs_loop_call(f->worker, pm_call_sync, &s);
    pm_await(&s.done);
    assert_true(s.failed);
    pm_clear(f, 0, PM_REGION);
    assert_false(pm_test_bit(f, 0));
    assert_true(rfs_pmap_unsaved_bytes(f->map) >= PM_REGION);
    assert_false(pm_detach(f));
    rfs_pmap_free(f->map);
    f->map = NULL;
}

static void test_failed_sync(void **state)
{
    check_sticky(*state, EIO);
}

static void test_failed_write(void **state)
{
    check_sticky(*state, ENOSPC);
}

/* A clear that could not be written: nobody was waiting, so the next set hears of it. */
static void test_failed_clear(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f};

    pm_start(f, 1000 * PM_REGION, true);
    f->disk.write_error = EROFS;
    pm_clear(f, 0, PM_REGION);
    for (unsigned i = 0; !c.result; i++) {
        assert_true(i < 30000);
        pm_pause_us(1000);
        rfs_loop_call(f->worker, call_error, &c);
    }
    expect_failed_set(f, EROFS);
    assert_int_equal(rfs_pmap_unsaved_bytes(f->map), 1000 * PM_REGION);
}

static void test_no_space_to_create(void **state)
{
    struct fixture *f = *state;
    struct rfs_error err = RFS_ERROR_INIT;
    char folder[96];

    snprintf(folder, sizeof(folder), "%s/small", f->base);
    assert_int_equal(mkdir(folder, 0700), 0);
    if (mount("tmpfs", folder, "tmpfs", 0, "size=64k")) {
        print_message("[  NOTE  ] no tmpfs can be mounted here (%s)\n", strerror(errno));
        skip();
    }
    snprintf(f->path, sizeof(f->path), "%s/map", folder);
    pm_create(f, 1000 * PM_REGION, false);
    f->id.size = UINT64_C(1) << 40;
    assert_int_equal(rfs_pmap_create(f->path, &f->id, true, &err), -1);
    assert_int_equal(err.rv, RFS_RV_NO_RESOURCES);
    assert_non_null(strstr(err.msg, f->path));
    f->id.size = 1000 * PM_REGION; /* the one before is still there */
    f->map = pm_load_good(f);
}

/* --- the file --- */

static void corrupt(const char *path, off_t offset)
{
    unsigned char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void refuse(struct fixture *f, enum rfs_rv rv, const char *text)
{
    struct rfs_error err = RFS_ERROR_INIT;

    assert_null(rfs_pmap_load(f->path, &f->id, &err));
    assert_int_equal(err.rv, rv);
    assert_non_null(strstr(err.msg, f->path));
    if (!strstr(err.msg, text))
        fail_msg("%s", err.msg);
}

static void test_torn_header(void **state)
{
    struct fixture *f = *state;

    for (unsigned page = 0; page < PMAP_HEADERS; page++) {
        pm_create(f, 1000 * PM_REGION, true);
        corrupt(f->path, (off_t)page * PMAP_PAGE + 30);
        f->map = pm_load_good(f);
        assert_int_equal(rfs_pmap_dirty_bytes(f->map), 1000 * PM_REGION);
        rfs_pmap_free(f->map);
        f->map = NULL;
    }
    corrupt(f->path, 30);
    refuse(f, RFS_RV_FAILED, "neither of its headers");
}

static void test_wrong_file(void **state)
{
    struct fixture *f = *state;
    struct rfs_pmap_identity good;

    f->id.size = 1000 * PM_REGION;
    refuse(f, RFS_RV_NOT_FOUND, "does not exist");
    pm_create(f, 1000 * PM_REGION, false);
    good = f->id;
    f->id.owner[3] ^= 1;
    refuse(f, RFS_RV_FAILED, "belongs to");
    f->id = good;
    f->id.generation++;
    refuse(f, RFS_RV_FAILED, "generation 3");
    f->id = good;
    f->id.size += 512;
    refuse(f, RFS_RV_FAILED, "4096000 bytes");
    f->id = good;
    f->id.region_size *= 2;
    refuse(f, RFS_RV_FAILED, "regions of 4096");
    f->id = good;
    assert_int_equal(truncate(f->path, 3 * PMAP_PAGE - 1), 0);
    refuse(f, RFS_RV_FAILED, "cut off");
    assert_int_equal(truncate(f->path, 0), 0);
    refuse(f, RFS_RV_FAILED, "neither of its headers");
}

static void lose_page(const char *path, uint32_t page, bool hole)
{
    static const unsigned char zeros[PMAP_PAGE];
    off_t at = (off_t)(PMAP_HEADERS + page) * PMAP_PAGE;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    if (!hole || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, PMAP_PAGE))
        assert_int_equal(pwrite(fd, zeros, PMAP_PAGE, at), PMAP_PAGE);
    close(fd);
}

/* What a repair of the file system or a lossy restore leaves: it must cost a copy, not hide a difference. */
static void test_zeroed_page(void **state)
{
    struct fixture *f = *state;
    uint64_t page = (uint64_t)PMAP_PAGE_BITS * PM_REGION, offset, length;

    pm_create(f, 3 * page - 512, false);
    for (uint32_t i = 0; i < 3; i++) {
        lose_page(f->path, i, i == 1);
        f->map = pm_load_good(f);
        assert_true(rfs_pmap_next(f->map, 0, UINT64_MAX, &offset, &length));
        assert_int_equal(offset, 0);
        assert_int_equal(length, i < 2 ? (i + 1) * page : f->id.size);
        assert_int_equal(rfs_pmap_dirty_bytes(f->map), length);
        rfs_pmap_free(f->map);
        f->map = NULL;
    }
}

static void test_bad_identity(void **state)
{
    struct fixture *f = *state;
    struct rfs_error err = RFS_ERROR_INIT;

    f->id.size = 1 << 20;
    f->id.region_size = 5000;
    assert_int_equal(rfs_pmap_create(f->path, &f->id, true, &err), -1);
    assert_int_equal(err.rv, RFS_RV_INVALID_PARAMETER);
    f->id.region_size = 2048;
    assert_int_equal(rfs_pmap_create(f->path, &f->id, true, &err), -1);
    f->id.region_size = 1u << 25;
    assert_int_equal(rfs_pmap_create(f->path, &f->id, true, &err), -1);
    f->id.region_size = PM_REGION;
    f->id.size = 0;
    assert_int_equal(rfs_pmap_create(f->path, &f->id, true, &err), -1);
    assert_int_equal(access(f->path, F_OK), -1);
}

#define ROW(fn) cmocka_unit_test_setup_teardown(fn, pm_setup, pm_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_sizes),
        ROW(test_ranges),
        ROW(test_sample),
        ROW(test_durable_is_free),
        ROW(test_group_commit),
        ROW(test_join),
        ROW(test_set_during_clear),
        ROW(test_lazy_clears),
        ROW(test_loaded_is_unsure),
        ROW(test_unsaved_of_unwritten),
        ROW(test_detach_saves),
        ROW(test_calls_from_callbacks),
        ROW(test_many_pages),
        ROW(test_failed_sync),
        ROW(test_failed_write),
        ROW(test_failed_clear),
        ROW(test_no_space_to_create),
        ROW(test_torn_header),
        ROW(test_wrong_file),
        ROW(test_zeroed_page),
        ROW(test_bad_identity),
    };

    alarm(110);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
