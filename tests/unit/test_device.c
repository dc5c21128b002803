/* SPDX-License-Identifier: Apache-2.0
 * What device.c checks, and the memory device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "device/device.h"
#include "device/memory.h"
#include "../lib/async.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct fixture {
    struct rfs_loop *loop;
};

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));

    fx->loop = async_loop();
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;

    rfs_loop_stop(fx->loop);
    free(fx);
    return 0;
}

/* --- urls --- */

static void test_urls(void **state)
{
    static const struct {
        const char *url;
        bool good;
    } rows[] = {
        {"file:/a", true},
        {"file:/a b/c=d", true},
        {"file:a", false},
        {"file:", false},
        {"file:/", false},
        {"file:/a/", false},
        {"file://h/a", false},
        {"", false},
        {"http://u:secret@h", false},
        {"/a", false},
        {"FILE:/a", false},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rfs_error err = RFS_ERROR_INIT;

        assert_int_equal(rfs_device_check_url(rows[i].url, &err), rows[i].good ? 0 : -1);
        assert_int_equal(err.rv, rows[i].good ? RFS_RV_OK : RFS_RV_INVALID_PARAMETER);
        assert_null(strstr(err.msg, "secret"));
        if (!rows[i].good)
            assert_non_null(strstr(err.msg, "file:/"));
    }
    (void)state;
}

static void test_names(void **state)
{
    assert_string_equal(rfs_device_state_name(RFS_DEVICE_REFUSED), "Refused");
    assert_string_equal(rfs_device_state_name((enum rfs_device_state)77), "Unknown");
    assert_string_equal(rfs_io_op_name(RFS_IO_WRITE_ZEROES), "write zeroes");
    assert_string_equal(rfs_io_op_name((enum rfs_io_op)77), "unknown operation");
    (void)state;
}

/* --- memory --- */

static struct rfs_device *open_memory(void *arg, struct rfs_loop *loop,
                                      const struct rfs_device_events *events, void *events_arg,
                                      struct rfs_error *err)
{
    (void)err;
    return rfs_memory_open(loop, arg, events, events_arg);
}

static void test_submit_checks(void **state)
{
    static const struct {
        enum rfs_io_op op;
        uint64_t offset, length, vector;
        enum rfs_io_status status;
    } rows[] = {
        {RFS_IO_READ, 0, 4096, 4096, RFS_IO_OK},
        {RFS_IO_READ, 61440, 4096, 4096, RFS_IO_OK},
        {RFS_IO_READ, 61440, 8192, 8192, RFS_IO_RANGE},
        {RFS_IO_READ, UINT64_MAX - 4095, 8192, 8192, RFS_IO_RANGE},
        {RFS_IO_WRITE, 512, 4096, 4096, RFS_IO_ERROR},
        {RFS_IO_WRITE, 0, 512, 512, RFS_IO_ERROR},
        {RFS_IO_WRITE, 0, 8192, 4096, RFS_IO_ERROR},
        {RFS_IO_READ, 0, 0, 0, RFS_IO_OK},
        {RFS_IO_FLUSH, 12345, 1, 0, RFS_IO_OK},
        {RFS_IO_UNMAP, 0, 4096, 0, RFS_IO_UNSUPPORTED},
        {RFS_IO_WRITE_ZEROES, 0, 4096, 0, RFS_IO_UNSUPPORTED},
        {RFS_IO_EXTENT_STATUS, 0, 4096, 0, RFS_IO_UNSUPPORTED},
        {(enum rfs_io_op)9, 0, 4096, 0, RFS_IO_ERROR},
    };
    struct fixture *fx = *state;
    struct rfs_memory_options options = {.size = 65536, .block_size = 4096};
    static uint8_t buf[8192];
    struct async_device d;

    async_open(&d, fx->loop, open_memory, &options);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct async_io a;

        async_prepare(&a, &d, rows[i].op, rows[i].offset, buf, rows[i].length);
        a.vec.iov_len = rows[i].vector;
        async_start(&a);
        assert_int_equal(async_finish(&a), rows[i].status);
        assert_int_equal(a.io.error.rv == RFS_RV_OK, rows[i].status == RFS_IO_OK);
        assert_int_equal(a.io.error.msg[0] == '\0', rows[i].status == RFS_IO_OK);
    }
    async_close(&d);
}

static void test_memory(void **state)
{
    struct fixture *fx = *state;
    struct rfs_memory_options options = {
        .size = 65536, .max_unmap = 32768, .max_write_zeroes = 4096, .extent_status = true};
    uint8_t out[4096], in[4096];
    struct async_device d;
    struct async_io a;

    async_open(&d, fx->loop, open_memory, &options);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_int_equal(d.dev->info.block_size, 512);
    async_fill(out, sizeof(out), 1);
    assert_int_equal(async_io(&d, RFS_IO_WRITE, 8192, out, 4096), RFS_IO_OK);
    assert_int_equal(async_io(&d, RFS_IO_READ, 8192, in, 4096), RFS_IO_OK);
    assert_memory_equal(in, out, 4096);
    async_prepare(&a, &d, RFS_IO_EXTENT_STATUS, 0, NULL, 65536);
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_true(a.io.extent.deallocated && a.io.extent.length == 8192);
    a.io.offset = 8704;
    a.io.length = 8192;
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_true(!a.io.extent.deallocated && a.io.extent.length == 3584);
    assert_int_equal(async_io(&d, RFS_IO_WRITE_ZEROES, 8192, NULL, 512), RFS_IO_OK);
    assert_int_equal(async_io(&d, RFS_IO_WRITE_ZEROES, 8192, NULL, 8192), RFS_IO_ERROR);
    assert_int_equal(async_io(&d, RFS_IO_UNMAP, 0, NULL, 65536), RFS_IO_ERROR);
    assert_int_equal(async_io(&d, RFS_IO_UNMAP, 9216, NULL, 3072), RFS_IO_OK);
    assert_int_equal(async_io(&d, RFS_IO_READ, 8192, in, 4096), RFS_IO_OK);
    assert_int_equal(in[0] | in[511], 0);
    assert_memory_equal(in + 512, out + 512, 512);
    assert_int_not_equal(in[1024], 0); /* unmapped is not zero unless promised */
    async_close(&d);
}

static void test_memory_order_and_close(void **state)
{
    enum { N = 64 };
    struct fixture *fx = *state;
    struct rfs_memory_options options = {.size = N * 512};
    static struct async_io ios[N];
    static uint8_t bufs[N][512];
    uint64_t counter = 0;
    struct async_device d;

    async_open(&d, fx->loop, open_memory, &options);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    for (unsigned i = 0; i < N; i++) {
        async_prepare(&ios[i], &d, RFS_IO_WRITE, i * 512, bufs[i], 512);
        ios[i].counter = &counter;
        async_start(&ios[i]);
    }
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(async_finish(&ios[i]), RFS_IO_OK);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(ios[i].order, i + 1);
    async_close(&d);
}

static void test_memory_close_in_flight(void **state)
{
    struct fixture *fx = *state;
    struct rfs_memory_options options = {.size = 65536};
    struct async_device d;

    async_open(&d, fx->loop, open_memory, &options);
    async_wait_state(&d, RFS_DEVICE_ONLINE);
    assert_true(async_close_in_flight(&d));
    async_open(&d, fx->loop, open_memory, &options); /* closed before it is Online: no event */
    async_close(&d);
    assert_int_equal(d.online <= 1, 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_urls),
        T(test_names),
        T(test_submit_checks),
        T(test_memory),
        T(test_memory_order_and_close),
        T(test_memory_close_in_flight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
