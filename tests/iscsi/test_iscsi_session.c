/* SPDX-License-Identifier: Apache-2.0
 *
 * How sessions of an iSCSI device come about, are refused, get lost, come back and end, on real targets, each test with
 * daemons of its own.
 */
#include "iscsi/iscsi_test.h"

/* --- names --- */

static void test_host_name(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    char url[256];
    struct rfs_device_config c = config_for(url);
    struct async_device d;
    struct rfs_error why;

    (void)state;
    snprintf(url, sizeof(url), "iscsi://localhost:%u/iqn.2024-01.test.rfs:t1/1", rfs_test_target_port(t));
    bring_online(&d, loop, &c);
    assert_int_equal(d.events, 1); /* no Offline in between because of another address of the name */
    async_close(&d);
    rfs_loop_stop(loop);
    snprintf(url, sizeof(url), "iscsi://no-such-host.invalid/iqn.2024-01.test.rfs:t1/1");
    assert_int_equal(first_failure(&c, &why), RFS_DEVICE_OFFLINE);
    assert_says(&why, "no-such-host.invalid");
    rfs_test_target_free(t);
}

/* --- what cannot be reached, or is refused --- */

static void test_wrong_port(void **state)
{
    char url[256];
    struct rfs_device_config c = config_for(url);
    struct rfs_error why;

    (void)state;
    snprintf(url, sizeof(url), "iscsi://127.0.0.1:%u/iqn.2024-01.test.rfs:t1/1", rfs_test_free_port());
    assert_int_equal(first_failure(&c, &why), RFS_DEVICE_OFFLINE);
    assert_int_equal(why.rv, RFS_RV_FAILED);
    assert_says(&why, "Connection refused");
    assert_says(&why, "127.0.0.1:");
}

static void test_silent_portal(void **state)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    char url[256];
    struct rfs_device_config c = config_for(url);
    struct rfs_error why;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(url, sizeof(url), "iscsi://127.0.0.1:%u/iqn.2024-01.test.rfs:t1/1", ntohs(sa.sin_port));
    c.connect_timeout_ms = 300;
    assert_int_equal(first_failure(&c, &why), RFS_DEVICE_OFFLINE);
    assert_int_equal(why.rv, RFS_RV_TIMEOUT);
    assert_says(&why, "login is not answered");
    close(fd);
}

static void test_wrong_names(void **state)
{
    struct rfs_test_target *t = one_tgtd(false);
    char url[256];
    struct rfs_device_config c = config_for(url);
    struct rfs_error why;

    (void)state;
    snprintf(url, sizeof(url), "iscsi://127.0.0.1:%u/iqn.2024-01.test.rfs:nobody/1", rfs_test_target_port(t));
    assert_int_equal(first_failure(&c, &why), RFS_DEVICE_REFUSED);
    assert_int_equal(why.rv, RFS_RV_NOT_FOUND);
    assert_says(&why, "iqn.2024-01.test.rfs:nobody");
    snprintf(url, sizeof(url), "%s", rfs_test_target_url(t, rfs_test_target_port(t), 1, 7));
    assert_int_equal(first_failure(&c, &why), RFS_DEVICE_REFUSED);
    assert_int_equal(why.rv, RFS_RV_NOT_FOUND);
    assert_says(&why, "no LUN 7");
    snprintf(url, sizeof(url), "%s", rfs_test_target_url(t, rfs_test_target_port(t), 1, 0));
    assert_int_equal(first_failure(&c, &why), RFS_DEVICE_REFUSED); /* tgt's controller */
    assert_says(&why, "not a disk");
    rfs_test_target_free(t);
}

struct chap_case {
    const char *username, *password, *target_username, *target_password;
    bool good;
};

static void check_chap(struct rfs_test_target *t, const struct chap_case *cases, size_t n)
{
    struct rfs_device_config c = config_for(url_of(t));
    struct rfs_error why;

    for (size_t i = 0; i < n; i++) {
        enum rfs_device_state state;

        c.username = cases[i].username;
        c.password = cases[i].password;
        c.target_username = cases[i].target_username;
        c.target_password = cases[i].target_password;
        state = first_failure(&c, &why);
        if (state != (cases[i].good ? RFS_DEVICE_ONLINE : RFS_DEVICE_REFUSED))
            fail_msg("case %zu: %s, %s", i, rfs_device_state_name(state), why.msg);
        if (!cases[i].good) {
            assert_int_equal(why.rv, RFS_RV_ACCESS_DENIED);
            assert_null(strstr(why.msg, "secret"));
        }
    }
}

static void test_chap(void **state)
{
    static const struct chap_case one_way[] = {
        {"joe", "secretsecret12", NULL, NULL, true},
        {"joe", "secretsecret13", NULL, NULL, false},
        {"ann", "secretsecret12", NULL, NULL, false},
        {NULL, NULL, NULL, NULL, false},
    };
    static const struct chap_case mutual[] = {
        {"joe", "secretsecret12", "tgt", "secretsecret99", true},
        {"joe", "secretsecret12", "tgt", "secretsecret98", false},
        {"joe", "secretsecret12", "tgx", "secretsecret99", false},
    };
    struct rfs_test_target *t = one_tgtd(false);

    (void)state;
    rfs_test_tgtd_chap(t, 1, "joe", "secretsecret12", false);
    check_chap(t, one_way, 4);
    rfs_test_tgtd_chap(t, 1, "tgt", "secretsecret99", true);
    check_chap(t, mutual, 3);
    rfs_test_target_free(t);
}

static void test_header_digest(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;

    (void)state;
    c.header_digest = true;
    bring_online(&d, loop, &c);
    round_trip(&d);
    many_at_once(&d);
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

/* --- losing and finding again --- */

/* Submits reads and writes to a target that has been stopped, so that none is answered. */
static void fill_queue(struct async_device *d, struct async_io *ios, uint8_t (*bufs)[65536], unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        async_prepare(&ios[i], d, i % 2 ? RFS_IO_READ : RFS_IO_WRITE, i * 65536ull, bufs[i], 65536);
        async_start(&ios[i]);
    }
}

static void test_kill_and_return(void **state)
{
    static struct async_io ios[DEPTH];
    static uint8_t bufs[DEPTH][65536];
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;
    struct online_count again = {&d, 2};

    (void)state;
    bring_online(&d, loop, &c);
    rfs_test_target_pause(t);
    fill_queue(&d, ios, bufs, DEPTH);
    rfs_test_target_kill(t);
    for (unsigned i = 0; i < DEPTH; i++)
        assert_int_equal(async_finish(&ios[i]), RFS_IO_LOST);
    assert_int_equal(async_io(&d, RFS_IO_READ, 0, bufs[0], 512), RFS_IO_LOST);
    assert_says(&d.why, "127.0.0.1:");
    assert_true(d.dev->info.size == LUN_SIZE); /* kept while Offline */
    rfs_test_target_start(t);
    async_wait(loop, is_online_again, &again, "Online again");
    round_trip(&d);
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

static void test_silent_target(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;
    struct online_count again = {&d, 2};

    (void)state;
    c.keepalive_ms = 150;
    bring_online(&d, loop, &c);
    rfs_test_target_pause(t);
    async_wait_state(&d, RFS_DEVICE_OFFLINE);
    assert_int_equal(d.why.rv, RFS_RV_TIMEOUT);
    assert_says(&d.why, "silent");
    rfs_test_target_resume(t);
    async_wait(loop, is_online_again, &again, "Online again");
    round_trip(&d);
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

static void test_command_timeout(void **state)
{
    static uint8_t buf[65536];
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;

    (void)state;
    c.command_timeout_ms = 400;
    c.keepalive_ms = 60000;
    bring_online(&d, loop, &c);
    rfs_test_target_pause(t);
    assert_int_equal(async_io(&d, RFS_IO_READ, 0, buf, sizeof(buf)), RFS_IO_TIMEOUT);
    assert_says(&d.why, "not answered");
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

/* Kills the target, changes what is behind the LUN, starts it again, and waits for Refused. */
static void replace_lun(uint64_t size, const char *params, const char *says)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;
    char path[128];

    bring_online(&d, loop, &c);
    rfs_test_target_kill(t);
    rfs_test_target_file(t, 1, 1, path, sizeof(path));
    assert_int_equal(truncate(path, (off_t)size), 0);
    if (params) /* remembered, so it is done at the start: the daemon is down now */
        rfs_test_tgtd_admin(t, "--lld iscsi --op update --mode logicalunit --tid 1 --lun 1 --params %s",
                            params);
    rfs_test_target_start(t);
    async_wait_state(&d, RFS_DEVICE_REFUSED);
    assert_says(&d.why, says);
    assert_says(&d.why, "vol1");
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

static void test_shrunk(void **state)
{
    (void)state;
    replace_lun(LUN_SIZE / 2, NULL, "shrank from 16777216 to 8388608");
}

static void test_another_lun(void **state)
{
    (void)state;
    replace_lun(LUN_SIZE, "scsi_sn=another", "expected");
}

static void test_expectations(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;
    struct rfs_error why;

    (void)state;
    c.expect_size = LUN_SIZE / 2;
    bring_online(&d, loop, &c); /* grown: fine, and said */
    assert_int_equal(d.changed, 1);
    async_close(&d);
    rfs_loop_stop(loop);
    c.expect_block_size = 4096;
    assert_int_equal(first_failure(&c, &why), RFS_DEVICE_REFUSED);
    assert_says(&why, "block size changed: expected 4096, found 512");
    c.expect_block_size = 512;
    c.expect_identity = "naa.6001405000000000";
    assert_int_equal(first_failure(&c, &why), RFS_DEVICE_REFUSED);
    assert_says(&why, "expected naa.6001405000000000, found iqn.2024-01.test.rfs:t1/1");
    rfs_test_target_free(t);
}

/* A second login with the same initiator name and ISID drops the first session; another index does not. */
static void reinstate(const char *url)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_device_config c = config_for(url), other = c;
    struct async_device first, second, third;

    other.session = 1;
    bring_online(&first, loop, &c);
    bring_online(&second, loop, &other);
    assert_int_equal(first.events, 1);
    bring_online(&third, loop, &c);
    async_wait_state(&first, RFS_DEVICE_OFFLINE);
    async_close(&first);
    assert_int_equal(second.events, 1);
    async_close(&third);
    async_close(&second);
    rfs_loop_stop(loop);
}

static void test_reinstatement(void **state)
{
    struct rfs_test_target *t = one_tgtd(false);

    (void)state;
    reinstate(url_of(t));
    rfs_test_target_free(t);
    if (!rfs_test_have("istgt"))
        return;
    t = rfs_test_istgt_start(LUN_SIZE);
    reinstate(rfs_test_target_url(t, rfs_test_target_port(t), 1, 0));
    rfs_test_target_free(t);
}

static void test_close_at_any_time(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;

    (void)state;
    bring_online(&d, loop, &c);
    assert_true(async_close_in_flight(&d));
    for (unsigned i = 0; i < 12; i++) { /* somewhere within connection, login and probe */
        start(&d, loop, &c);
        usleep(i * 300);
        async_close(&d);
    }
    bring_online(&d, loop, &c);
    rfs_test_target_pause(t); /* the logout is not answered */
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_name),
        cmocka_unit_test(test_wrong_port),
        cmocka_unit_test(test_silent_portal),
        cmocka_unit_test(test_wrong_names),
        cmocka_unit_test(test_chap),
        cmocka_unit_test(test_header_digest),
        cmocka_unit_test(test_kill_and_return),
        cmocka_unit_test(test_silent_target),
        cmocka_unit_test(test_command_timeout),
        cmocka_unit_test(test_shrunk),
        cmocka_unit_test(test_another_lun),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_reinstatement),
        cmocka_unit_test(test_close_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
