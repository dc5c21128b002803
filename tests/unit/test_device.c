/* SPDX-License-Identifier: Apache-2.0
 * What device.c checks, and the memory device.
 */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <cmocka.h>

#include "device/device.h"
#include "device/iscsi_priv.h"
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
        {"FILE:/a", true},
        {"file:///a", true},
        {"File:///a/b", true},
        {"file:////a", false},
        {"file:///", false},
        {"file:///a/", false},
        {"iscsi://h/iqn.2024-01.x:y/1", true},
        {"ISCSI://h/IQN.2024-01.x:Y/1", true},
        {"iscsi:/h/iqn.2024-01.x:y/1", false},
        {"ISCSI://u:secret@h/iqn.2024-01.x:y/1", false},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rfs_error err = RFS_ERROR_INIT;

        assert_int_equal(rfs_device_check_url(rows[i].url, &err), rows[i].good ? 0 : -1);
        assert_int_equal(err.rv, rows[i].good ? RFS_RV_OK : RFS_RV_INVALID_PARAMETER);
        assert_null(strstr(err.msg, "secret"));
        if (!rows[i].good && strncasecmp(rows[i].url, "iscsi://", 8))
            assert_non_null(strstr(err.msg, "file:/"));
    }
    (void)state;
}

/* Names of targets are compared without regard to case (RFC 3720 3.2.6.1); nothing else of a url is. */
static void test_url_forms(void **state)
{
    struct rfs_iscsi_url u;
    struct rfs_error err = RFS_ERROR_INIT;

    (void)state;
    assert_int_equal(rfs_iscsi_url_parse("Iscsi://Host/IQN.2024-01.Com.X:Disk%41/7", &u, &err), 0);
    assert_string_equal(u.target, "iqn.2024-01.com.x:diska");
    assert_string_equal(u.host, "Host");
    assert_int_equal(u.lun, 7);
    assert_string_equal(rfs_device_url_path("file:/A/b"), "/A/b");
    assert_string_equal(rfs_device_url_path("FILE:///A/b"), "/A/b");
    assert_null(rfs_device_url_path("iscsi://h/iqn.x:y/1"));
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

/* --- no route --- */

static struct rfs_device *open_nowhere(void *arg, struct rfs_loop *loop,
                                       const struct rfs_device_events *events, void *events_arg,
                                       struct rfs_error *err)
{
    struct rfs_device_config c = {
        .name = "e", .url = arg, .initiator = "iqn.2024-01.test.rfs:unit", .connect_timeout_ms = 3000};

    return rfs_device_open(loop, &c, events, events_arg, err);
}

/* A loop in a network that has no interface that is up; NULL where there is no right to make one. */
static struct rfs_loop *loop_without_network(void)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    struct rfs_loop *loop = NULL;

    if (home >= 0 && unshare(CLONE_NEWNET) == 0) {
        loop = async_loop();
        assert_int_equal(setns(home, CLONE_NEWNET), 0);
    }
    if (home >= 0)
        close(home);
    return loop;
}

static void test_no_route(void **state)
{
    static const struct {
        const char *url, *text;
    } rows[] = {
        {"iscsi://127.0.0.1/iqn.2024-01.test.rfs:t/1",
         "cannot connect to 127.0.0.1:3260: Network is unreachable; check the address and route"},
        {"iscsi://[2001:db8::1]/iqn.2024-01.test.rfs:t/1", "; check the address and route"},
    };
    struct rfs_loop *loop = loop_without_network();
    struct async_device d;

    (void)state;
    if (!loop)
        skip();
    for (size_t i = 0; i < COUNT(rows); i++) {
        async_open(&d, loop, open_nowhere, (void *)(uintptr_t)rows[i].url);
        async_wait_state(&d, RFS_DEVICE_OFFLINE);
        if (!strstr(d.why.msg, rows[i].text))
            fail_msg("%s", d.why.msg);
        assert_null(strstr(d.why.msg, "lost"));
        assert_null(strstr(d.why.msg, "iscsi_"));
        async_close(&d);
    }
    rfs_loop_stop(loop);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_urls),
        T(test_url_forms),
        T(test_names),
        T(test_submit_checks),
        T(test_memory),
        T(test_memory_order_and_close),
        T(test_memory_close_in_flight),
        T(test_no_route),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
