/* SPDX-License-Identifier: Apache-2.0
 * Requests as they are written into control files: what is taken, what is refused and how, and that no bytes whatever
 * do harm. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "model/request.h"

static const struct rfs_param params[] = {
    {"operation", NULL, RFS_PARAM_ENUM, RFS_PARAM_BARE, &rfs_map_operation, "what"},
    {"source_element", "source", RFS_PARAM_ELEMENT, 0, NULL, "from"},
    {"synchronization", NULL, RFS_PARAM_RELATIONSHIP, RFS_PARAM_ARRAY, NULL, "which"},
    {"name", NULL, RFS_PARAM_STRING, 0, NULL, "name"},
    {"force", NULL, RFS_PARAM_BOOL, 0, NULL, "force"},
    {"count", NULL, RFS_PARAM_UINT, 0, NULL, "count"},
    {"timeout", NULL, RFS_PARAM_INTERVAL, 0, NULL, "timeout"},
    {"password", NULL, RFS_PARAM_SECRET, 0, NULL, "secret"},
    {NULL, NULL, RFS_PARAM_STRING, 0, NULL, NULL},
};

static int parse(const char *line, size_t len, struct rfs_request *req, struct rfs_error *err)
{
    *err = (struct rfs_error)RFS_ERROR_INIT;
    return rfs_request_parse(params, true, "/mnt/r", line, len, req, err);
}

static void good(const char *line, const char *key, const char *value, uint64_t number)
{
    struct rfs_request req;
    struct rfs_error err;

    if (parse(line, strlen(line), &req, &err))
        fail_msg("'%s': %s", line, err.msg);
    assert_string_equal(rfs_request_string(&req, key, "(none)"), value);
    assert_int_equal(rfs_request_number(&req, key, 0), number);
    rfs_request_free(&req);
}

static void test_values(void **state)
{
    good("Suspend\n", "operation", "Suspend", 22);
    good("22", "operation", "22", 22);
    good("\"Resync Replica\" force=yes", "operation", "Resync Replica", 14);
    good("operation=restore_from-REPLICA", "operation", "restore_from-REPLICA", 15);
    good("  force=1\t ", "force", "1", 1);
    good("force=off", "force", "off", 0);
    good("count=0", "count", "0", 0);
    good("count=18446744073709551615", "count", "18446744073709551615", UINT64_MAX);
    good("count=4K", "count", "4K", 4096);
    good("count=2GiB", "count", "2GiB", 2ull << 30);
    good("timeout=1.5", "timeout", "1.5", 1500);
    good("timeout=00000000000500.000000:000", "timeout", "00000000000500.000000:000", 300000);
    good("timeout=00000001000000.250000:000", "timeout", "00000001000000.250000:000", 86400250);
    good("name=\"a b\\\"c\\\\d\\n\\x41\"", "name", "a b\"c\\d\nA", 0);
    good("name=\"\"", "name", "", 0);
    good("name=", "name", "", 0);
    good("name=a=b", "name", "a=b", 0);
    good("source=elements/x", "source_element", "x", 0);
    good("source_element=x", "source_element", "x", 0);
    good("source=/mnt/r/elements/x/", "source_element", "x", 0);
    good("source=./elements/x", "source_element", "x", 0);
    good("setting.verify=none", "setting.verify", "none", 0);
    good("synchronization=relationships/a synchronization=b", "synchronization", "a", 0);
}

static void test_arrays_in_order(void **state)
{
    const char *line = "synchronization=c synchronization=a synchronization=b";
    struct rfs_request req;
    struct rfs_error err;

    assert_int_equal(parse(line, strlen(line), &req, &err), 0);
    assert_int_equal(req.count, 3);
    assert_string_equal(req.tokens[0].value, "c");
    assert_string_equal(req.tokens[2].value, "b");
    rfs_request_free(&req);
}

static void test_bad(void **state)
{
    static const struct {
        const char *line, *says;
    } rows[] = {
        {"", "empty"},
        {"\n", "empty"},
        {"   \n", "empty"},
        {"# Suspend", "'#'"},
        {"Suspend\nResume", "more than one line"},
        {"Suspend\n\n", "more than one line"},
        {"force=1\x01", "0x01"},
        {"force=1\x7f", "0x7f"},
        {"resync", "ResyncReplica (14)"},
        {"Suspend Resume", "key=value"},
        {"force=1 Suspend", "key=value"},
        {"force=maybe", "0 or 1"},
        {"force=1 force=1", "more than once"},
        {"source=x source_element=x", "more than once"},
        {"count=-1", "number"},
        {"count=1X", "number"},
        {"count=18446744073709551616", "number"},
        {"count=99999999T", "number"},
        {"timeout=-1", "interval"},
        {"timeout=1e9", "interval"},
        {"timeout=abc", "interval"},
        {"name=\"open", "closing quote"},
        {"name=\"a\"b", "followed by a blank"},
        {"name=a\"b", "middle"},
        {"name=\"\\q\"", "escape"},
        {"name=\"\\x00\"", "escape"},
        {"=x", "key"},
        {"nonsense=1", "known: operation source_element"},
        {"replication_setting_data=x", "setting.NAME"},
        {"setting.=x", "no settings"},
        {"source=elements/", "elements/NAME"},
        {"source=a/b", "elements/NAME"},
        {"source=/other/elements/x", "elements/NAME"},
        {"synchronization=elements/x", "relationships/NAME"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rfs_request req;
        struct rfs_error err;

        if (!parse(rows[i].line, strlen(rows[i].line), &req, &err))
            fail_msg("'%s' was taken", rows[i].line);
        if (!strstr(err.msg, rows[i].says))
            fail_msg("'%s': %s", rows[i].line, err.msg);
        assert_int_equal(err.rv, RFS_RV_INVALID_PARAMETER);
        assert_int_equal(err.err, EINVAL);
        assert_int_equal(req.count, 0);
    }
}

static void test_too_long(void **state)
{
    char *line = malloc(RFS_REQUEST_MAX + 2);
    struct rfs_request req;
    struct rfs_error err;

    memset(line, 'a', RFS_REQUEST_MAX + 2);
    memcpy(line, "name=", 5);
    assert_int_equal(parse(line, RFS_REQUEST_MAX + 1, &req, &err), -1);
    assert_int_equal(err.err, E2BIG);
    assert_int_equal(parse(line, RFS_REQUEST_MAX, &req, &err), 0);
    rfs_request_free(&req);
    free(line);
}

static void masked(const char *line, const char *expected)
{
    struct rfs_text out = RFS_TEXT_INIT;

    rfs_request_masked(line, strlen(line), &out);
    assert_string_equal(out.data, expected);
    rfs_text_free(&out);
}

static void test_secrets(void **state)
{
    static const char *const lines[] = {"password=hunter2 bogus=1", "password=hunter2 password=hunter2",
                                        "password=\"hunter2", "password=\"hunter2\"x",
                                        "password=hunter2 Suspend"};

    masked("password=hunter2", "password=***");
    masked("url=x target_password=\"a \\\" b\" force=1\n", "url=x target_password=*** force=1\n");
    masked("password_file=/x password=y", "password_file=/x password=***");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct rfs_request req;
        struct rfs_error err;

        assert_int_equal(parse(lines[i], strlen(lines[i]), &req, &err), -1);
        assert_null(strstr(err.msg, "hunter2"));
    }
}

/* Any bytes: taken or refused with a one-line reason; what was taken survives being written down and read again. */
static void test_random_bytes(void **state)
{
    static const char alphabet[] = "afsxn=\" \\t1\n#.\x01\xc3/-_seto";
    unsigned seed = 20261121;
    char line[64];

    for (unsigned round = 0; round < 200000; round++) {
        size_t len = (size_t)rand_r(&seed) % sizeof(line);
        struct rfs_request req;
        struct rfs_error err;

        for (size_t i = 0; i < len; i++)
            line[i] = rand_r(&seed) % 8 ? alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)]
                                        : (char)rand_r(&seed);
        if (round % 2 && len > 6)
            memcpy(line, "name=\"", 6);
        if (parse(line, len, &req, &err)) {
            assert_true(err.err != 0 && err.msg[0] && !strchr(err.msg, '\n'));
            continue;
        }
        struct rfs_text again = RFS_TEXT_INIT;
        const char *name = rfs_request_string(&req, "name", NULL);

        if (name && !memchr(name, '\n', strlen(name))) {
            struct rfs_request second;

            rfs_text_pair(&again, "name", name);
            assert_int_equal(parse(again.data, again.len, &second, &err), 0);
            assert_string_equal(rfs_request_string(&second, "name", NULL), name);
            rfs_request_free(&second);
        }
        rfs_text_free(&again);
        rfs_request_free(&req);
    }
}

static void test_value_maps(void **state)
{
    struct rfs_error err;
    int number;

    assert_string_equal(rfs_value_name(&rfs_map_copy_state, 3), "UnSynchronized");
    assert_string_equal(rfs_value_name(&rfs_map_copy_state, 99), "Unknown");
    assert_int_equal(rfs_value_parse(&rfs_map_sync_type, "mirror", &number, &err), 0);
    assert_int_equal(number, 6);
    /* The same words have other numbers in the two job enumerations. */
    assert_int_equal(rfs_value_parse(&rfs_map_job_state, "Suspended", &number, &err), 0);
    assert_int_equal(number, 5);
    assert_int_equal(rfs_value_parse(&rfs_map_requested_state, "Suspend", &number, &err), 0);
    assert_int_equal(number, 3);
    assert_int_equal(rfs_value_parse(&rfs_map_sync_type, "2", &number, &err), -1);
    assert_int_equal(rfs_value_parse(&rfs_map_sync_type, "", &number, &err), -1);
    assert_int_equal(rfs_value_parse(&rfs_map_sync_type, "6x", &number, &err), -1);
}

static void test_intervals(void **state)
{
    bool flag = true;
    uint64_t n;

    assert_int_equal(rfs_parse_interval("0", &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(rfs_parse_interval("1.2.3", &n), -1);
    assert_int_equal(rfs_parse_bool("No", &flag), 0);
    assert_false(flag);
    assert_int_equal(rfs_parse_bool("", &flag), -1);
    assert_int_equal(rfs_parse_uint("7m", &n), 0);
    assert_int_equal(n, 7u << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_arrays_in_order),
        cmocka_unit_test(test_bad),        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_secrets),    cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_value_maps), cmocka_unit_test(test_intervals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
