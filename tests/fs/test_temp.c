/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "temp.h"

#define DIR 1
#define SUB 2

static int setup(void **state)
{
    *state = rfs_temps_new();
    return 0;
}

static int teardown(void **state)
{
    rfs_temps_free(*state);
    return 0;
}

static uint64_t make(struct rfs_temps *t, uint64_t dir, const char *name, const char *text)
{
    struct rfs_temp_info info;

    assert_int_equal(rfs_temps_create(t, dir, name, 10, 20, &info), 0);
    assert_int_equal(rfs_temps_write(t, info.id, 0, text, strlen(text), false), 0);
    return info.id;
}

static void assert_content(struct rfs_temps *t, uint64_t id, const char *expected)
{
    struct rfs_text text = RFS_TEXT_INIT;

    rfs_text_puts(&text, "");
    assert_int_equal(rfs_temps_read(t, id, 0, RFS_TEMP_MAX_SIZE, &text), 0);
    assert_string_equal(text.data, expected);
    rfs_text_free(&text);
}

static void test_life(void **state)
{
    struct rfs_temps *t = *state;
    struct rfs_temp_info info;
    uint64_t id = make(t, DIR, "a", "hello");

    assert_true(rfs_temps_find(t, DIR, "a", &info));
    assert_int_equal(info.id, id);
    assert_int_equal(info.mode, 0600);
    assert_int_equal(info.uid, 10);
    assert_int_equal(info.size, 5);
    assert_false(rfs_temps_find(t, SUB, "a", &info));
    assert_int_equal(rfs_temps_create(t, DIR, "a", 0, 0, &info), EEXIST);
    assert_int_equal(rfs_temps_create(t, SUB, "a", 0, 0, &info), 0);
    assert_int_not_equal(info.id, id);
    assert_int_equal(rfs_temps_unlink(t, DIR, "a"), 0);
    assert_int_equal(rfs_temps_unlink(t, DIR, "a"), ENOENT);
    assert_false(rfs_temps_stat(t, id, &info));
}

static void test_write(void **state)
{
    struct rfs_temps *t = *state;
    static const char big[RFS_TEMP_MAX_SIZE + 1];
    uint64_t id = make(t, DIR, "a", "hello");
    struct rfs_temp_info info;

    assert_int_equal(rfs_temps_write(t, id, 1, "u", 1, false), 0);
    assert_content(t, id, "hullo");
    assert_int_equal(rfs_temps_write(t, id, 0, "!", 1, true), 0);
    assert_content(t, id, "hullo!");
    assert_int_equal(rfs_temps_truncate(t, id, 2), 0);
    assert_content(t, id, "hu");
    assert_int_equal(rfs_temps_write(t, id, 0, big, RFS_TEMP_MAX_SIZE, false), 0);
    assert_int_equal(rfs_temps_write(t, id, 0, big, RFS_TEMP_MAX_SIZE + 1, false), EFBIG);
    assert_int_equal(rfs_temps_write(t, id, RFS_TEMP_MAX_SIZE, "x", 1, false), EFBIG);
    assert_int_equal(rfs_temps_write(t, id, UINT64_MAX, "x", 1, false), EFBIG);
    assert_int_equal(rfs_temps_write(t, id, 0, "x", 1, true), EFBIG);
    assert_int_equal(rfs_temps_truncate(t, id, RFS_TEMP_MAX_SIZE + 1), EFBIG);
    assert_true(rfs_temps_stat(t, id, &info));
    assert_int_equal(info.size, RFS_TEMP_MAX_SIZE);
}

static void test_open_unlinked(void **state)
{
    struct rfs_temps *t = *state;
    struct rfs_temp_info info;
    uint64_t id = make(t, DIR, "a", "hello");

    assert_int_equal(rfs_temps_open(t, id), 0);
    assert_int_equal(rfs_temps_unlink(t, DIR, "a"), 0);
    assert_content(t, id, "hello");
    assert_true(rfs_temps_stat(t, id, &info));
    assert_false(info.linked);
    assert_false(rfs_temps_find(t, DIR, "a", &info));
    rfs_temps_close(t, id);
    assert_false(rfs_temps_stat(t, id, &info));
    assert_int_equal(rfs_temps_open(t, id), ENOENT);
}

static void test_rename(void **state)
{
    struct rfs_temps *t = *state;
    struct rfs_temp_info info;
    uint64_t a = make(t, DIR, "a", "A"), b = make(t, DIR, "b", "B");

    assert_int_equal(rfs_temps_rename(t, DIR, "a", DIR, "b", true), EEXIST);
    assert_int_equal(rfs_temps_rename(t, DIR, "none", DIR, "b", false), ENOENT);
    assert_int_equal(rfs_temps_rename(t, DIR, "a", DIR, "b", false), 0);
    assert_true(rfs_temps_find(t, DIR, "b", &info));
    assert_int_equal(info.id, a);
    assert_false(rfs_temps_stat(t, b, &info));
    assert_int_equal(rfs_temps_rename(t, DIR, "b", SUB, "c", true), 0);
    assert_true(rfs_temps_find(t, SUB, "c", &info));
}

static void test_expire(void **state)
{
    struct rfs_temps *t = *state;
    struct rfs_temp_info info;
    uint64_t closed = make(t, DIR, "closed", "x"), open = make(t, DIR, "open", "x"), now = rfs_mono_ms();

    assert_int_equal(rfs_temps_open(t, open), 0);
    assert_int_equal(rfs_temps_expire(t, now), 0);
    assert_int_equal(rfs_temps_expire(t, now + RFS_TEMP_KEEP_MS + 5000), 1);
    assert_false(rfs_temps_stat(t, closed, &info));
    assert_true(rfs_temps_stat(t, open, &info));
    rfs_temps_close(t, open);
    assert_int_equal(rfs_temps_expire(t, rfs_mono_ms() + RFS_TEMP_KEEP_MS - 5000), 0);
    assert_int_equal(rfs_temps_expire(t, rfs_mono_ms() + RFS_TEMP_KEEP_MS + 1), 1);
}

static void test_bounds(void **state)
{
    struct rfs_temps *t = *state;
    struct rfs_temp_info info;
    char name[RFS_TEMP_NAME_MAX + 2];

    for (unsigned i = 0; i < RFS_TEMP_MAX_COUNT; i++) {
        snprintf(name, sizeof(name), "t%u", i);
        assert_int_equal(rfs_temps_create(t, DIR, name, 0, 0, &info), 0);
    }
    assert_int_equal(rfs_temps_create(t, DIR, "more", 0, 0, &info), ENOSPC);
    rfs_temps_drop(t, info.id);
    assert_int_equal(rfs_temps_create(t, DIR, "more", 0, 0, &info), 0);
    memset(name, 'n', sizeof(name));
    name[RFS_TEMP_NAME_MAX + 1] = '\0';
    assert_int_equal(rfs_temps_create(t, SUB, name, 0, 0, &info), ENAMETOOLONG);
    assert_int_equal(rfs_temps_rename(t, DIR, "more", DIR, name, false), ENAMETOOLONG);
}

static void *churn(void *arg)
{
    struct rfs_temps *t = arg;
    struct rfs_temp_info info;

    for (unsigned i = 0; i < 2000; i++) {
        if (!rfs_temps_create(t, DIR, "same", 0, 0, &info) && !rfs_temps_open(t, info.id)) {
            rfs_temps_write(t, info.id, 0, "x", 1, false);
            rfs_temps_unlink(t, DIR, "same");
            rfs_temps_close(t, info.id);
        }
        rfs_temps_rename(t, DIR, "same", SUB, "other", false);
        rfs_temps_unlink(t, SUB, "other");
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    struct rfs_temp_info info;

    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, *state), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    rfs_temps_unlink(*state, DIR, "same");
    rfs_temps_unlink(*state, SUB, "other");
    assert_int_equal(rfs_temps_expire(*state, UINT64_MAX), 0); /* nothing was left open or lost */
    assert_false(rfs_temps_find(*state, DIR, "same", &info));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_unlinked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rename, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expire, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
