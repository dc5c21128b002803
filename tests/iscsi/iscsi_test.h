/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the iSCSI device share.
 */
#ifndef RFS_TESTS_ISCSI_TEST_H
#define RFS_TESTS_ISCSI_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "device/device.h"
#include "lib/async.h"
#include "lib/targets.h"

#define MIB       (1u << 20)
#define HELPER    static inline __attribute__((unused))
#define LUN_SIZE  (16ull * MIB)
#define INITIATOR "iqn.2024-01.test.rfs:initiator"

HELPER struct rfs_device_config config_for(const char *url)
{
    return (struct rfs_device_config){.name = "vol1",
                                      .url = url,
                                      .initiator = INITIATOR,
                                      .isid = 0x123456,
                                      .connect_timeout_ms = 5000,
                                      .command_timeout_ms = 10000,
                                      .keepalive_ms = 1000};
}

HELPER struct rfs_device *open_config(void *arg, struct rfs_loop *loop,
                                      const struct rfs_device_events *events, void *events_arg,
                                      struct rfs_error *err)
{
    return rfs_device_open(loop, arg, events, events_arg, err);
}

HELPER void start(struct async_device *d, struct rfs_loop *loop, struct rfs_device_config *config)
{
    async_open(d, loop, open_config, config);
    assert_non_null(d->dev);
}

HELPER void bring_online(struct async_device *d, struct rfs_loop *loop, struct rfs_device_config *config)
{
    start(d, loop, config);
    async_wait_state(d, RFS_DEVICE_ONLINE);
}

struct has_events {
    struct async_device *d;
    unsigned n;
};

HELPER bool has_events(void *arg)
{
    struct has_events *h = arg;

    return h->d->events >= h->n;
}

/* Opens, waits for the first event and closes again: its state, and the reason in *why. */
HELPER enum rfs_device_state first_failure(struct rfs_device_config *config, struct rfs_error *why)
{
    struct rfs_loop *loop = async_loop();
    struct async_device d;
    struct has_events one = {&d, 1};
    enum rfs_device_state state;

    start(&d, loop, config);
    async_wait(loop, has_events, &one, "the first event");
    state = d.dev->state;
    *why = d.why;
    async_close(&d);
    rfs_loop_stop(loop);
    return state;
}

HELPER void assert_says(const struct rfs_error *why, const char *part)
{
    if (!strstr(why->msg, part))
        fail_msg("\"%s\" does not say \"%s\"", why->msg, part);
}

HELPER struct rfs_test_target *one_tgtd(bool thin)
{
    struct rfs_test_target *t = rfs_test_tgtd_start();

    rfs_test_tgtd_add_target(t, 1, "t1");
    rfs_test_tgtd_add_lun(t, 1, 1, LUN_SIZE, thin);
    return t;
}

HELPER const char *url_of(struct rfs_test_target *t)
{
    return rfs_test_target_url(t, rfs_test_target_port(t), 1, 1);
}

struct online_count {
    struct async_device *d;
    unsigned n;
};

HELPER bool is_online_again(void *arg)
{
    struct online_count *o = arg;

    return o->d->dev->state == RFS_DEVICE_ONLINE && o->d->online >= o->n;
}

HELPER void round_trip(struct async_device *d)
{
    static uint8_t out[3 * MIB], in[3 * MIB];
    struct iovec pieces[3] = {{in, 512}, {in + 512, 7 * 512}, {in + 4096, 3 * MIB - 4096}};
    struct async_io a;

    async_fill(out, sizeof(out), 1);
    assert_int_equal(async_io(d, RFS_IO_WRITE, 512, out, sizeof(out)), RFS_IO_OK);
    assert_int_equal(async_flush(d), RFS_IO_OK);
    async_prepare(&a, d, RFS_IO_READ, 512, in, sizeof(in));
    a.io.iov = pieces;
    a.io.niov = 3;
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_memory_equal(in, out, sizeof(in));
    assert_ptr_equal(pieces[1].iov_base, in + 512); /* not changed by the device */
    assert_int_equal(pieces[1].iov_len, 7 * 512);
    assert_int_equal(async_write_fua(d, LUN_SIZE - 4096, out, 4096), RFS_IO_OK);
    assert_int_equal(async_io(d, RFS_IO_READ, LUN_SIZE - 4096, in, 4096), RFS_IO_OK);
    assert_memory_equal(in, out, 4096);
}

#define DEPTH 64

/* More commands than a target's window, all different, then all read back. */
HELPER void many_at_once(struct async_device *d)
{
    static uint8_t out[DEPTH][65536], in[DEPTH][65536];
    static struct async_io ios[DEPTH];

    for (unsigned i = 0; i < DEPTH; i++) {
        async_fill(out[i], sizeof(out[i]), i + 7);
        async_prepare(&ios[i], d, RFS_IO_WRITE, i * 65536ull, out[i], 65536);
        async_start(&ios[i]);
    }
    for (unsigned i = 0; i < DEPTH; i++)
        assert_int_equal(async_finish(&ios[i]), RFS_IO_OK);
    for (unsigned i = 0; i < DEPTH; i++) {
        async_prepare(&ios[i], d, RFS_IO_READ, i * 65536ull, in[i], 65536);
        async_start(&ios[i]);
    }
    for (unsigned i = 0; i < DEPTH; i++)
        assert_int_equal(async_finish(&ios[i]), RFS_IO_OK);
    assert_memory_equal(in, out, sizeof(in));
}

#endif
