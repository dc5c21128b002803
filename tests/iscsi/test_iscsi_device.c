/* SPDX-License-Identifier: Apache-2.0
 *
 * What an iSCSI LUN is taken for and what becomes of requests, on real targets, tgt and istgt, each test with daemons
 * of its own.
 */
#include "iscsi/iscsi_test.h"

#include "device/iscsi_priv.h"

/* --- what the LUN is --- */

static void test_info_tgt(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(true);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;
    const struct rfs_device_info *info;

    (void)state;
    bring_online(&d, loop, &c);
    info = &d.dev->info;
    assert_int_equal(info->size, LUN_SIZE);
    assert_int_equal(info->block_size, 512);
    assert_int_equal(info->physical_block_size, 4096);
    assert_int_equal(info->max_transfer, 16 * MIB);
    assert_string_equal(info->vendor, "IET");
    assert_string_equal(info->product, "VIRTUAL-DISK");
    assert_string_equal(info->serial, "beaf11");
    assert_string_equal(info->provisioning, "Thin");
    assert_true(info->max_unmap >= MIB);
    assert_true(info->unmap_granularity >= 512);
    assert_true(info->extent_status && info->unmapped_reads_zero && info->volatile_cache);
    assert_false(info->write_protected);
    assert_memory_equal(info->device_id, "naa.6", 5);
    assert_string_equal(info->identity, "iqn.2024-01.test.rfs:t1/1 t10.IET     00010001 serial.beaf11");
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

static void test_info_istgt(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t;
    struct rfs_device_config c;
    struct async_device d;

    if (!rfs_test_have("istgt"))
        skip();
    (void)state;
    t = rfs_test_istgt_start(LUN_SIZE);
    c = config_for(rfs_test_target_url(t, rfs_test_target_port(t), 1, 0));
    bring_online(&d, loop, &c);
    assert_int_equal(d.dev->info.size, LUN_SIZE);
    assert_int_equal(d.dev->info.block_size, 512);
    assert_string_equal(d.dev->info.vendor, "FreeBSD");
    assert_string_equal(d.dev->info.provisioning, "Thick");
    assert_int_equal(d.dev->info.max_unmap, 0);
    assert_int_equal(d.dev->info.optimal_transfer, MIB);
    assert_false(d.dev->info.extent_status);
    assert_memory_equal(d.dev->info.identity, "iqn.2024-01.test.rfs:disk1/0 t10.FreeBSD", 40);
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

static void test_identities(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *a = one_tgtd(false), *b = rfs_test_tgtd_start();
    unsigned second = rfs_test_tgtd_add_portal(a);
    char url_a[256], url_a2[256];
    struct rfs_device_config ca, ca2, cb;
    struct async_device da, da2, db;

    (void)state;
    rfs_test_tgtd_add_target(b, 1, "other");
    rfs_test_tgtd_add_lun(b, 1, 1, LUN_SIZE, false);
    snprintf(url_a, sizeof(url_a), "%s", url_of(a));
    snprintf(url_a2, sizeof(url_a2), "%s", rfs_test_target_url(a, second, 1, 1));
    ca = config_for(url_a);
    ca2 = config_for(url_a2);
    ca2.isid = 0x222222;
    cb = config_for(url_of(b));
    bring_online(&da, loop, &ca);
    bring_online(&da2, loop, &ca2);
    bring_online(&db, loop, &cb);
    assert_string_equal(da.dev->info.device_id, db.dev->info.device_id); /* so this alone would merge them */
    assert_string_equal(da.dev->info.serial, db.dev->info.serial);
    assert_string_not_equal(da.dev->info.identity, db.dev->info.identity);
    assert_string_equal(da.dev->info.identity, da2.dev->info.identity);
    async_close(&da);
    async_close(&da2);
    async_close(&db);
    rfs_test_target_free(a);
    rfs_test_target_free(b);
    rfs_loop_stop(loop);
}

/* --- requests --- */

static void assert_zero(struct async_device *d, uint64_t offset, size_t length)
{
    uint8_t *buf = rfs_xcalloc(1, length);

    memset(buf, 1, length);
    assert_int_equal(async_io(d, RFS_IO_READ, offset, buf, length), RFS_IO_OK);
    for (size_t i = 0; i < length; i++)
        assert_int_equal(buf[i], 0);
    free(buf);
}

static void extents(struct async_device *d)
{
    struct async_io a;

    assert_int_equal(async_io(d, RFS_IO_UNMAP, 0, NULL, 4 * MIB), RFS_IO_OK);
    assert_zero(d, 0, 4 * MIB);
    async_prepare(&a, d, RFS_IO_EXTENT_STATUS, 0, NULL, 2 * MIB);
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_true(a.io.extent.deallocated);
    assert_int_equal(a.io.extent.length, 2 * MIB);
    many_at_once(d);
    async_prepare(&a, d, RFS_IO_EXTENT_STATUS, 65536, NULL, LUN_SIZE - 65536);
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_OK);
    assert_false(a.io.extent.deallocated);
    assert_in_range(a.io.extent.length, 512, LUN_SIZE - 65536);
}

/* WRITE SAME may be refused, but if it is not it must have worked. */
static void zeroes(struct async_device *d, uint64_t offset)
{
    static uint8_t ones[MIB];
    enum rfs_io_status status;

    memset(ones, 1, sizeof(ones));
    assert_int_equal(async_io(d, RFS_IO_WRITE, offset, ones, MIB), RFS_IO_OK);
    status = async_io(d, RFS_IO_WRITE_ZEROES, offset, NULL, MIB);
    assert_true(status == RFS_IO_OK || status == RFS_IO_UNSUPPORTED);
    if (status == RFS_IO_OK)
        assert_zero(d, offset, MIB);
}

static void test_requests_tgt(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(true);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;

    (void)state;
    bring_online(&d, loop, &c);
    round_trip(&d);
    extents(&d);
    zeroes(&d, MIB);
    zeroes(&d, LUN_SIZE - MIB);
    assert_true(d.dev->info.max_write_zeroes > 0); /* tgt knows it */
    assert_int_equal(async_io(&d, RFS_IO_WRITE, LUN_SIZE, NULL, 512), RFS_IO_RANGE);
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

static void test_requests_istgt(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t;
    struct rfs_device_config c;
    struct async_device d;

    (void)state;
    if (!rfs_test_have("istgt"))
        skip();
    t = rfs_test_istgt_start(LUN_SIZE);
    c = config_for(rfs_test_target_url(t, rfs_test_target_port(t), 1, 0));
    bring_online(&d, loop, &c);
    round_trip(&d);
    many_at_once(&d);
    zeroes(&d, MIB);
    zeroes(&d, LUN_SIZE - MIB);
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

static void test_large_request(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = rfs_test_tgtd_start();
    struct rfs_device_config c;
    struct async_device d;
    uint8_t *buf = rfs_xcalloc(1, 17 * MIB);

    (void)state;
    rfs_test_tgtd_add_target(t, 1, "t1");
    rfs_test_tgtd_add_lun(t, 1, 1, 32 * MIB, false);
    c = config_for(url_of(t));
    bring_online(&d, loop, &c);
    assert_int_equal(async_io(&d, RFS_IO_WRITE, 0, buf, 17 * MIB), RFS_IO_ERROR);
    assert_int_equal(async_io(&d, RFS_IO_WRITE, 0, buf, 16 * MIB), RFS_IO_OK);
    assert_int_equal(async_io(&d, RFS_IO_READ, 0, buf, 16 * MIB), RFS_IO_OK);
    async_close(&d);
    free(buf);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

static void test_write_protected(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct async_device d;
    uint8_t buf[512] = {0};
    struct async_io a;

    (void)state;
    rfs_test_tgtd_admin(t, "--lld iscsi --op update --mode logicalunit --tid 1 --lun 1 --params readonly=1");
    bring_online(&d, loop, &c);
    assert_true(d.dev->info.write_protected);
    async_prepare(&a, &d, RFS_IO_WRITE, 0, buf, sizeof(buf));
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_PROTECTED);
    assert_says(&a.io.error, "sense");
    assert_says(&a.io.error, "vol1");
    async_close(&d);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

/* Another initiator, by libiscsi's simple calls. */
static struct iscsi_context *other_initiator(struct rfs_test_target *t)
{
    struct iscsi_context *ctx = iscsi_create_context(INITIATOR "-other");
    char portal[64];

    snprintf(portal, sizeof(portal), "127.0.0.1:%u", rfs_test_target_port(t));
    iscsi_set_targetname(ctx, "iqn.2024-01.test.rfs:t1");
    iscsi_set_session_type(ctx, ISCSI_SESSION_NORMAL);
    assert_int_equal(iscsi_full_connect_sync(ctx, portal, 1), 0);
    return ctx;
}

static void test_reservation(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct iscsi_context *other = other_initiator(t);
    struct async_device d;
    struct async_io a;
    uint8_t buf[512] = {0};

    (void)state;
    bring_online(&d, loop, &c);
    scsi_free_scsi_task(iscsi_reserve6_sync(other, 1));
    async_prepare(&a, &d, RFS_IO_WRITE, 0, buf, sizeof(buf));
    async_start(&a);
    assert_int_equal(async_finish(&a), RFS_IO_PROTECTED);
    assert_says(&a.io.error, "RESERVATION CONFLICT");
    async_close(&d);
    iscsi_destroy_context(other);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

/* A reset of a LUN with a volatile cache must not pass unnoticed: it counts as a lost session. */
static void test_lun_reset(void **state)
{
    struct rfs_loop *loop = async_loop();
    struct rfs_test_target *t = one_tgtd(false);
    struct rfs_device_config c = config_for(url_of(t));
    struct iscsi_context *other = other_initiator(t);
    struct async_device d;
    struct online_count again = {&d, 2};
    uint8_t buf[512] = {0};

    (void)state;
    bring_online(&d, loop, &c);
    assert_int_equal(iscsi_task_mgmt_lun_reset_sync(other, 1), 0);
    assert_int_equal(async_io(&d, RFS_IO_READ, 0, buf, sizeof(buf)), RFS_IO_LOST);
    async_wait(loop, is_online_again, &again, "Online after a reset");
    assert_says(&d.why, "reset");
    assert_int_equal(async_io(&d, RFS_IO_READ, 0, buf, sizeof(buf)), RFS_IO_OK);
    async_close(&d);
    iscsi_destroy_context(other);
    rfs_test_target_free(t);
    rfs_loop_stop(loop);
}

/* --- what answers mean --- */

static const struct {
    unsigned key, asc, ascq;
    enum rfs_iscsi_verdict verdict;
    enum rfs_io_status status; /* for RFS_ISCSI_FAIL */
} senses[] = {
    {1, 0x17, 0x01, RFS_ISCSI_DONE, RFS_IO_OK},          {2, 0x04, 0x01, RFS_ISCSI_WAIT, RFS_IO_OK},
    {2, 0x3a, 0x00, RFS_ISCSI_FAIL, RFS_IO_ERROR},       {3, 0x11, 0x00, RFS_ISCSI_FAIL, RFS_IO_ERROR},
    {5, 0x20, 0x00, RFS_ISCSI_FAIL, RFS_IO_UNSUPPORTED}, {5, 0x21, 0x00, RFS_ISCSI_FAIL, RFS_IO_RANGE},
    {5, 0x24, 0x00, RFS_ISCSI_FAIL, RFS_IO_UNSUPPORTED}, {5, 0x25, 0x00, RFS_ISCSI_ANOTHER, RFS_IO_OK},
    {6, 0x29, 0x00, RFS_ISCSI_RESET, RFS_IO_OK},         {6, 0x2a, 0x09, RFS_ISCSI_CAPACITY, RFS_IO_OK},
    {6, 0x38, 0x07, RFS_ISCSI_ATTENTION, RFS_IO_OK},     {6, 0x3f, 0x0e, RFS_ISCSI_ANOTHER, RFS_IO_OK},
    {7, 0x27, 0x00, RFS_ISCSI_FAIL, RFS_IO_PROTECTED},   {7, 0x27, 0x07, RFS_ISCSI_FAIL, RFS_IO_NOSPACE},
    {11, 0x47, 0x00, RFS_ISCSI_ABORTED, RFS_IO_OK},
};

static void test_senses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(senses) / sizeof(senses[0]); i++) {
        struct rfs_iscsi_sense sense = {.key = senses[i].key, .asc = senses[i].asc, .ascq = senses[i].ascq};
        enum rfs_io_status status;

        assert_int_equal(rfs_iscsi_judge(&sense, &status), senses[i].verdict);
        if (senses[i].verdict == RFS_ISCSI_FAIL)
            assert_int_equal(status, senses[i].status);
        sense.deferred = true; /* about an acknowledged write: never swallowed */
        assert_int_equal(rfs_iscsi_judge(&sense, &status), RFS_ISCSI_FAIL);
        assert_int_equal(status, RFS_IO_ERROR);
    }
}

static void test_sense_text(void **state)
{
    unsigned char raw[] = {0, 18, 0xf0, 0, 3, 0, 0, 0x12, 0x34, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0};
    struct scsi_task task = {.sense = {.error_type = 0x70, .key = 3, .ascq = 0x1100},
                             .datain = {.size = sizeof(raw), .data = raw}};
    struct rfs_iscsi_sense sense;

    (void)state;
    rfs_iscsi_sense(&task, &sense);
    assert_true(sense.has_info);
    assert_int_equal(sense.info, 0x1234);
    assert_non_null(strstr(sense.text, "3/11/00"));
}

/* --- urls, names, secrets --- */

static const struct {
    const char *url;
    bool good;
} urls[] = {
    {"iscsi://127.0.0.1/iqn.2024-01.test:a/0", true},
    {"iscsi://[::1]:3261/iqn.2024-01.test:a/16383", true},
    {"iscsi://host.example:860/iqn.2024-01.test%3Aa/255", true},
    {"iscsi://h/eui.0123456789abcdef/1", true},
    {"iscsi://user%secret@h/iqn.2024-01.test:a/1", false},
    {"iscsi://user:secret@h/iqn.2024-01.test:a/1", false},
    {"iscsi://h/iqn.2024-01.test:a/1?target_password=secret", false},
    {"iscsi://h/iqn.2024-01.test:a", false},
    {"iscsi://h/iqn.2024-01.test:a/", false},
    {"iscsi://h/iqn.2024-01.test:a/1/", false},
    {"iscsi://h/iqn.2024-01.test:a/-1", false},
    {"iscsi://h/iqn.2024-01.test:a/16384", false},
    {"iscsi://h/iqn.2024-01.test%3/1", false},
    {"iscsi://h/iqn.2024-01.te%0ast/1", false},
    {"iscsi://h:0/iqn.2024-01.test:a/1", false},
    {"iscsi://h:65536/iqn.2024-01.test:a/1", false},
    {"iscsi://h:/iqn.2024-01.test:a/1", false},
    {"iscsi://[::1/iqn.2024-01.test:a/1", false},
    {"iscsi:///iqn.2024-01.test:a/1", false},
    {"iscsi://h/disk/1", false},
    {"iser://h/iqn.2024-01.test:a/1", false},
};

static void test_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct rfs_error err = RFS_ERROR_INIT;
        bool good = rfs_iscsi_check_url(urls[i].url, &err) == 0;

        if (good != urls[i].good)
            fail_msg("%s: %s", urls[i].url, good ? "accepted" : err.msg);
        if (good)
            continue;
        assert_int_equal(err.rv, RFS_RV_INVALID_PARAMETER);
        assert_null(strstr(err.msg, "secret"));
        assert_says(&err, "iscsi://HOST");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info_tgt),        cmocka_unit_test(test_info_istgt),
        cmocka_unit_test(test_identities),      cmocka_unit_test(test_requests_tgt),
        cmocka_unit_test(test_requests_istgt),  cmocka_unit_test(test_large_request),
        cmocka_unit_test(test_write_protected), cmocka_unit_test(test_reservation),
        cmocka_unit_test(test_lun_reset),       cmocka_unit_test(test_senses),
        cmocka_unit_test(test_sense_text),      cmocka_unit_test(test_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
