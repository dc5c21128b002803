/* SPDX-License-Identifier: Apache-2.0
 * file: devices on regular files and, where root's means are there, on loop devices and a full tmpfs. */
#include "file_env.h"

static void test_open_fails_at_once(void **state)
{
    struct fixture *fx = *state;
    struct opener o = {.url = "file:relative"};
    struct async_device d;

    async_open(&d, fx->loop, open_url, &o);
    assert_null(d.dev);
    assert_int_equal(d.open_error.rv, RFS_RV_INVALID_PARAMETER);
    strcpy(o.url, "nbd://x");
    async_open(&d, fx->loop, open_url, &o);
    assert_null(d.dev);
    assert_non_null(strstr(d.open_error.msg, "iscsi://"));
}

static void test_file_data(void **state)
{
    enum { PIECES = 300 }; /* more than fit into one system call's window */
    struct fixture *fx = *state;
    static uint8_t out[PIECES * 1024], in[PIECES * 1024];
    static struct iovec iov[PIECES + 2];
    struct opener o;
    struct async_device d;
    struct async_io a;

    url_in(&o, fx, "data");
    make_file(&o, 4 * MIB);
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_int_equal(d.dev->info.size, 4 * MIB);
    assert_int_equal(d.dev->info.block_size, 512);
    assert_int_equal(d.dev->info.physical_block_size, 4096);
    assert_int_equal(strncmp(d.dev->info.identity, "file:", 5), 0);
    async_fill(out, sizeof(out), 2);
    async_prepare(&a, &d, RFS_IO_WRITE, 512, out, sizeof(out));
    for (unsigned i = 0; i < PIECES; i++)
        iov[i] = (struct iovec){out + i * 1024, 1024};
    iov[0].iov_len = 1000;
    iov[1] = (struct iovec){out + 1000, 1048};
    iov[PIECES] = (struct iovec){NULL, 0};
    a.io.iov = iov;
    a.io.niov = PIECES + 1;
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_int_equal(async_flush(&d), RFS_IO_OK);
    assert_int_equal(async_io(&d, RFS_IO_READ, 512, in, sizeof(in)), RFS_IO_OK);
    assert_memory_equal(in, out, sizeof(in));
    async_fill(out, 4096, 3);
    assert_int_equal(async_write_fua(&d, 3 * MIB, out, 4096), RFS_IO_OK);
    assert_int_equal(async_io(&d, RFS_IO_READ, 3 * MIB, in, 4096), RFS_IO_OK);
    assert_memory_equal(in, out, 4096);
    async_close(&d);
    assert_int_equal(d.events, 1);
}

static void test_file_holes(void **state)
{
    struct fixture *fx = *state;
    static uint8_t buf[MIB], zeros[MIB];
    struct opener o;
    struct async_device d;
    struct async_io a;

    url_in(&o, fx, "holes");
    make_file(&o, 4 * MIB);
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_string_equal(d.dev->info.provisioning, "Thin");
    memset(buf, 7, sizeof(buf));
    assert_int_equal(async_io(&d, RFS_IO_WRITE, MIB, buf, MIB), RFS_IO_OK);
    async_prepare(&a, &d, RFS_IO_EXTENT_STATUS, 512, NULL, 4 * MIB - 512);
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_true(a.io.extent.deallocated);
    assert_int_equal(a.io.extent.length, MIB - 512);
    a.io.offset = MIB;
    a.io.length = 2 * MIB;
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_false(a.io.extent.deallocated);
    assert_int_equal(a.io.extent.length, MIB);
    a.io.offset = 3 * MIB;
    a.io.length = MIB;
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_true(a.io.extent.deallocated && a.io.extent.length == MIB);
    assert_int_equal(async_io(&d, RFS_IO_UNMAP, MIB, NULL, MIB / 2), RFS_IO_OK);
    assert_int_equal(async_io(&d, RFS_IO_READ, MIB, buf, MIB), RFS_IO_OK);
    assert_memory_equal(buf, zeros, MIB / 2);
    assert_int_equal(buf[MIB / 2], 7);
    async_prepare(&a, &d, RFS_IO_WRITE_ZEROES, MIB + MIB / 2, NULL, 4096);
    a.io.fua = true;
    async_start(&a);
    if (async_finish(&a) == RFS_IO_OK) {
        assert_int_equal(async_io(&d, RFS_IO_READ, MIB + MIB / 2, buf, 8192), RFS_IO_OK);
        assert_memory_equal(buf, zeros, 4096);
        assert_int_equal(buf[4096], 7);
    } else { /* this file system cannot: said once, and remembered */
        assert_int_equal(a.io.status, RFS_IO_UNSUPPORTED);
        assert_int_equal(d.dev->info.max_write_zeroes, 0);
    }
    async_close(&d);
}

/* Many writes with FUA and flushes at once share syncs; all are answered, and the data is there. */
static void test_file_parallel(void **state)
{
    enum { N = 256 };
    struct fixture *fx = *state;
    static struct async_io ios[N];
    static uint8_t bufs[N][4096], in[N * 4096];
    struct opener o;
    struct async_device d;

    url_in(&o, fx, "parallel");
    make_file(&o, N * 4096);
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    for (unsigned i = 0; i < N; i++) {
        bool flush = i % 16 == 15;

        async_fill(bufs[i], 4096, i);
        async_prepare(&ios[i], &d, flush ? RFS_IO_FLUSH : RFS_IO_WRITE, i * 4096, bufs[i], flush ? 0 : 4096);
        ios[i].io.fua = i % 3 == 0;
        async_start(&ios[i]);
    }
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(async_finish(&ios[i]), RFS_IO_OK);
    assert_int_equal(async_io(&d, RFS_IO_READ, 0, in, sizeof(in)), RFS_IO_OK);
    for (unsigned i = 0; i < N; i++)
        if (i % 16 != 15)
            assert_memory_equal(in + i * 4096, bufs[i], 4096);
    assert_true(async_close_in_flight(&d));
}

static void test_file_refused(void **state)
{
    struct fixture *fx = *state;
    struct opener o;

    url_in(&o, fx, "folder");
    assert_int_equal(mkdir(o.url + 5, 0700), 0);
    expect_refused(fx, &o, "neither", RFS_RV_INVALID_PARAMETER);
    url_in(&o, fx, "fifo");
    assert_int_equal(mkfifo(o.url + 5, 0600), 0);
    expect_refused(fx, &o, "neither", RFS_RV_INVALID_PARAMETER);
    strcpy(o.url, "file:/dev/null");
    expect_refused(fx, &o, "neither", RFS_RV_INVALID_PARAMETER);
    url_in(&o, fx, "empty");
    make_file(&o, 0);
    expect_refused(fx, &o, "multiple of 512", RFS_RV_INVALID_PARAMETER);
    url_in(&o, fx, "odd");
    make_file(&o, 1000);
    expect_refused(fx, &o, "multiple of 512", RFS_RV_INVALID_PARAMETER);
}

static void test_file_expected(void **state)
{
    struct fixture *fx = *state;
    struct opener o;
    struct async_device d;

    url_in(&o, fx, "known");
    make_file(&o, MIB);
    o.config.expect_identity = "file:1:2:3";
    expect_refused(fx, &o, "file:1:2:3", RFS_RV_INVALID_PARAMETER);
    o.config.expect_identity = NULL;
    o.config.expect_size = 2 * MIB;
    expect_refused(fx, &o, "shrunk", RFS_RV_INVALID_PARAMETER);
    o.config.expect_size = MIB;
    o.config.expect_block_size = 4096;
    expect_refused(fx, &o, "block size", RFS_RV_INVALID_PARAMETER);
    o.config.expect_size = MIB / 2; /* grown */
    o.config.expect_block_size = 512;
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    async_close(&d);
}

/* Not there: Offline, one event, and Online by itself when it comes. */
static void test_file_appears(void **state)
{
    struct fixture *fx = *state;
    struct opener o;
    struct async_device d;

    url_in(&o, fx, "later");
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_OFFLINE);
    assert_int_equal(d.why.rv, RFS_RV_NOT_FOUND);
    make_file(&o, MIB);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_int_equal(async_flush(&d), RFS_IO_OK);
    async_close(&d);
}

static void test_file_lock(void **state)
{
    struct fixture *fx = *state;
    struct opener o;
    struct async_device first, second;

    url_in(&o, fx, "locked");
    make_file(&o, MIB);
    async_open(&first, fx->loop, open_url, &o);
    async_wait_state(&first, RFS_DEVICE_ONLINE);
    async_open(&second, fx->loop, open_url, &o);
    async_wait_state(&second, RFS_DEVICE_REFUSED);
    assert_int_equal(second.why.rv, RFS_RV_IN_USE);
    assert_non_null(strstr(second.why.msg, o.url + 5));
    async_close(&first);
    async_wait_state(&second, RFS_DEVICE_ONLINE);
    async_close(&second);
}

/* Cut short behind the device's back: an error, and a write does not make it long again. */
static void test_file_shrinks(void **state)
{
    struct fixture *fx = *state;
    uint8_t buf[8192] = {0};
    struct opener o;
    struct async_device d;
    struct stat st;

    url_in(&o, fx, "shrinks");
    make_file(&o, MIB);
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_int_equal(truncate(o.url + 5, MIB / 2), 0);
    assert_int_equal(async_io(&d, RFS_IO_READ, MIB / 2 - 4096, buf, 8192), RFS_IO_RANGE);
    assert_int_equal(async_io(&d, RFS_IO_WRITE, MIB / 2, buf, 8192), RFS_IO_RANGE);
    assert_int_equal(async_write_fua(&d, MIB / 2, buf, 8192), RFS_IO_RANGE);
    assert_int_equal(async_io(&d, RFS_IO_EXTENT_STATUS, MIB / 2, NULL, 8192), RFS_IO_RANGE);
    assert_int_equal(async_io(&d, RFS_IO_UNMAP, MIB / 2, NULL, 8192), RFS_IO_RANGE);
    assert_int_equal(async_io(&d, RFS_IO_READ, 0, buf, 8192), RFS_IO_OK);
    assert_int_equal(stat(o.url + 5, &st), 0);
    assert_int_equal(st.st_size, MIB / 2);
    assert_int_equal(async_flush(&d), RFS_IO_OK);
    async_close(&d);
}

/* --- with root's means --- */

static bool mount_tmpfs(struct fixture *fx, unsigned kib)
{
    char options[32];

    snprintf(options, sizeof(options), "size=%uk", kib);
    fx->mounted = mount("tmpfs", fx->dir, "tmpfs", 0, options) == 0;
    if (!fx->mounted)
        print_message("skipped: no tmpfs can be mounted here\n");
    return fx->mounted;
}

/* `o` becomes the loop device on the file `disk`; false where there are none. */
static bool attach_loop(struct fixture *fx, const char *options, struct opener *o)
{
    char command[256];
    FILE *out;
    bool good;

    snprintf(command, sizeof(command), "losetup -f --show %s '%s/disk' 2>/dev/null", options, fx->dir);
    out = popen(command, "r");
    good = out && fgets(fx->disk, sizeof(fx->disk), out);
    if (out)
        pclose(out);
    if (!good) {
        print_message("skipped: no loop devices here\n");
        return false;
    }
    fx->disk[strcspn(fx->disk, "\n")] = '\0';
    memset(o, 0, sizeof(*o));
    snprintf(o->url, sizeof(o->url), "file:%s", fx->disk);
    return true;
}

static void test_file_no_space(void **state)
{
    struct fixture *fx = *state;
    static uint8_t buf[MIB];
    struct opener o;
    struct async_device d;

    if (!mount_tmpfs(fx, 1024))
        skip();
    url_in(&o, fx, "sparse");
    make_file(&o, 4 * MIB);
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    memset(buf, 1, sizeof(buf));
    async_io(&d, RFS_IO_WRITE, 0, buf, MIB);
    assert_int_equal(async_io(&d, RFS_IO_WRITE, MIB, buf, MIB), RFS_IO_NOSPACE);
    assert_int_equal(async_write_fua(&d, 2 * MIB, buf, MIB), RFS_IO_NOSPACE);
    assert_int_equal(d.dev->state, RFS_DEVICE_ONLINE);
    assert_int_equal(async_flush(&d), RFS_IO_OK);
    async_close(&d);
}

static void test_file_read_only(void **state)
{
    struct fixture *fx = *state;
    uint8_t buf[512] = {0};
    struct opener o;
    struct async_device d;

    if (!mount_tmpfs(fx, 1024))
        skip();
    url_in(&o, fx, "ro");
    make_file(&o, MIB);
    assert_int_equal(mount(NULL, fx->dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_true(d.dev->info.write_protected);
    assert_int_equal(async_io(&d, RFS_IO_READ, 0, buf, 512), RFS_IO_OK);
    assert_int_equal(async_io(&d, RFS_IO_WRITE, 0, buf, 512), RFS_IO_PROTECTED);
    assert_int_equal(async_write_fua(&d, 0, buf, 512), RFS_IO_PROTECTED);
    assert_int_equal(async_io(&d, RFS_IO_UNMAP, 0, NULL, 4096), RFS_IO_PROTECTED);
    assert_int_equal(async_flush(&d), RFS_IO_OK);
    async_close(&d);
}

static void check_loop_data(struct async_device *d)
{
    static uint8_t out[65536], in[65536];
    enum rfs_io_status unmap;

    async_fill(out, sizeof(out), 5);
    assert_int_equal(async_io(d, RFS_IO_WRITE, 4096, out, sizeof(out)), RFS_IO_OK);
    assert_int_equal(async_write_fua(d, 0, out, 4096), RFS_IO_OK);
    assert_int_equal(async_flush(d), RFS_IO_OK);
    assert_int_equal(async_io(d, RFS_IO_WRITE_ZEROES, 4096, NULL, 8192), RFS_IO_OK);
    assert_int_equal(async_io(d, RFS_IO_READ, 4096, in, sizeof(in)), RFS_IO_OK);
    memset(out, 0, 8192);
    assert_memory_equal(in, out, sizeof(in));
    unmap = async_io(d, RFS_IO_UNMAP, 65536, NULL, 4096);
    assert_true(unmap == RFS_IO_OK || (unmap == RFS_IO_UNSUPPORTED && !d->dev->info.max_unmap));
    assert_int_equal(async_io(d, RFS_IO_EXTENT_STATUS, 0, NULL, 4096), RFS_IO_UNSUPPORTED);
}

static void test_block_device(void **state)
{
    struct fixture *fx = *state;
    uint8_t buf[512] = {0};
    struct opener disk, o;
    struct async_device d, other;

    url_in(&disk, fx, "disk");
    make_file(&disk, 8 * MIB);
    if (!attach_loop(fx, "", &o))
        skip();
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_int_equal(d.dev->info.size, 8 * MIB);
    assert_int_equal(strncmp(d.dev->info.identity, "bdev:7:", 7), 0);
    check_loop_data(&d);
    async_open(&other, fx->loop, open_url, &o); /* O_EXCL */
    async_wait_state(&other, RFS_DEVICE_REFUSED);
    assert_int_equal(other.why.rv, RFS_RV_IN_USE);
    async_close(&other);
    assert_true(async_close_in_flight(&d));
    detach_loop(fx);
    if (!attach_loop(fx, "-r", &o))
        skip();
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_true(d.dev->info.write_protected);
    assert_int_equal(async_io(&d, RFS_IO_WRITE, 0, buf, 512), RFS_IO_PROTECTED);
    async_close(&d);
}

static bool is_back(void *arg)
{
    struct async_device *d = arg;

    return d->online == 2;
}

/* A disk that takes writes into the cache and cannot keep them: every flush of that session fails, although
 * the kernel reports the failure to one sync only; then the session is a new one. */
static void test_failed_sync(void **state)
{
    enum { N = 12 };
    struct fixture *fx = *state;
    static uint8_t buf[4 * MIB];
    static struct async_io flushes[N];
    struct opener disk, o;
    struct async_device d;

    if (!mount_tmpfs(fx, 1024))
        skip();
    url_in(&disk, fx, "disk");
    make_file(&disk, 8 * MIB);
    if (!attach_loop(fx, "", &o))
        skip();
    async_open(&d, fx->loop, open_url, &o);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    memset(buf, 1, sizeof(buf));
    assert_int_equal(async_io(&d, RFS_IO_WRITE, 0, buf, sizeof(buf)), RFS_IO_OK);
    for (unsigned i = 0; i < N; i++) {
        async_prepare(&flushes[i], &d, RFS_IO_FLUSH, 0, NULL, 0);
        async_start(&flushes[i]);
    }
    for (unsigned i = 0; i < N; i++)
        assert_int_not_equal(async_finish(&flushes[i]), RFS_IO_OK);
    async_wait(fx->loop, is_back, &d, "a new session after the failed sync");
    assert_int_equal(d.events, 3);
    assert_non_null(strstr(d.why.msg, "sync failed"));
    assert_int_not_equal(async_write_fua(&d, 4 * MIB, buf, MIB), RFS_IO_OK);
    async_close(&d);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_open_fails_at_once), T(test_file_data),     T(test_file_holes),     T(test_file_parallel),
        T(test_file_refused),       T(test_file_expected), T(test_file_appears),   T(test_file_lock),
        T(test_file_shrinks),       T(test_file_no_space), T(test_file_read_only), T(test_block_device),
        T(test_failed_sync),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
