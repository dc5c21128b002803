/* SPDX-License-Identifier: Apache-2.0
 * file: devices whose file is deleted, moved away or recreated. */
#include "file_env.h"

static void open_online(struct async_device *d, struct fixture *fx, struct opener *o)
{
    async_open(d, fx->loop, open_url, o);
    async_wait_state(d, RFS_DEVICE_ONLINE);
}

/* A recreated file may have the inode number of the one before: its birth time tells. */
static void test_file_recreated(void **state)
{
    struct fixture *fx = *state;
    uint8_t buf[512] = {0};
    char identity[sizeof(((struct rfs_device_info *)0)->identity)], birth[64];
    struct opener o;
    struct async_device d;
    struct statx stx;

    url_in(&o, fx, "again");
    make_file(&o, MIB);
    open_online(&d, fx, &o);
    strcpy(identity, d.dev->info.identity);
    async_close(&d);
    assert_int_equal(statx(AT_FDCWD, o.url + 5, 0, STATX_BTIME, &stx), 0);
    snprintf(birth, sizeof(birth), ":%lld",
             (long long)stx.stx_btime.tv_sec * 1000000000 + stx.stx_btime.tv_nsec);
    if (stx.stx_mask & STATX_BTIME)
        assert_non_null(strstr(identity, birth));
    o.config.expect_identity = identity;
    open_online(&d, fx, &o); /* what changes of a file in use leaves it what it is */
    assert_int_equal(async_write_fua(&d, 0, buf, sizeof(buf)), RFS_IO_OK);
    async_close(&d);
    open_online(&d, fx, &o);
    async_close(&d);
    assert_int_equal(unlink(o.url + 5), 0);
    make_file(&o, MIB);
    expect_refused(fx, &o, "not the same volume", RFS_RV_INVALID_PARAMETER);
}

static void unlink_it(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void move_it(const char *path)
{
    char other[512];

    snprintf(other, sizeof(other), "%s.moved", path);
    assert_int_equal(rename(path, other), 0);
}

/* A request whose file has gone is LOST, says why, and the device is not Online any more. */
static void expect_gone(struct fixture *fx, void (*go)(const char *path), enum rfs_io_op op, bool fua,
                        const char *text)
{
    static uint8_t buf[4096];
    struct opener o;
    struct async_device d;
    struct async_io a;

    url_in(&o, fx, "goes");
    make_file(&o, MIB);
    open_online(&d, fx, &o);
    assert_int_equal(async_io(&d, RFS_IO_WRITE, 0, buf, sizeof(buf)), RFS_IO_OK);
    go(o.url + 5);
    async_prepare(&a, &d, op, 0, buf, op == RFS_IO_FLUSH ? 0 : sizeof(buf));
    a.io.fua = fua;
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_LOST);
    if (!strstr(a.io.error.msg, text))
        fail_msg("%s", a.io.error.msg);
    async_wait_state(&d, RFS_DEVICE_OFFLINE);
    make_file(&o, MIB);
    async_wait_state(&d, RFS_DEVICE_REFUSED);
    assert_non_null(strstr(d.why.msg, "not the same volume"));
    async_close(&d);
    unlink_it(o.url + 5);
}

static void test_file_deleted(void **state)
{
    expect_gone(*state, unlink_it, RFS_IO_WRITE, false, "was deleted");
    expect_gone(*state, unlink_it, RFS_IO_WRITE, true, "was deleted");
    expect_gone(*state, unlink_it, RFS_IO_FLUSH, false, "was deleted");
    expect_gone(*state, unlink_it, RFS_IO_UNMAP, false, "was deleted");
}

static void test_file_replaced(void **state)
{
    expect_gone(*state, move_it, RFS_IO_FLUSH, false, "moved away");
    expect_gone(*state, move_it, RFS_IO_WRITE, true, "moved away");
}

/* Moved away and back: the same file, so it goes on. */
static void test_file_moved_back(void **state)
{
    struct fixture *fx = *state;
    struct opener o;
    struct async_device d;
    char moved[512];

    url_in(&o, fx, "back");
    make_file(&o, MIB);
    open_online(&d, fx, &o);
    move_it(o.url + 5);
    assert_int_equal(async_flush(&d), RFS_IO_LOST);
    async_wait_state(&d, RFS_DEVICE_OFFLINE);
    snprintf(moved, sizeof(moved), "%s.moved", o.url + 5);
    assert_int_equal(rename(moved, o.url + 5), 0);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_int_equal(async_flush(&d), RFS_IO_OK);
    async_close(&d);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_file_recreated),
        T(test_file_deleted),
        T(test_file_replaced),
        T(test_file_moved_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
