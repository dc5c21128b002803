/* SPDX-License-Identifier: Apache-2.0
 * What is shown of requests and outcomes: masking, replies, and the book behind last_status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "ask.h"

static void assert_masked(const struct rfs_row *row, const char *data, const char *expected)
{
    struct rfs_text text = RFS_TEXT_INIT;

    rfs_ask_masked(row, data, strlen(data), &text);
    assert_string_equal(text.data, expected);
    rfs_text_free(&text);
}

static void test_masked(void **state)
{
    struct rfs_tree *tree = rfs_tree_new();
    struct rfs_node dir = {.dir = RFS_DIR_ELEMENT, .number = 1}, node;

    assert_masked(rfs_tree_find(tree, dir, "set", &node), "url=x password=secret\n", "url=x password=***");
    assert_masked(rfs_tree_find(tree, dir, "set", &node), "target_password=\"a b\" x=1",
                  "target_password=*** x=1");
    assert_masked(rfs_tree_find(tree, dir, "password", &node), "secret\n", "***");
    assert_masked(rfs_tree_find(tree, dir, "password", &node), "", "***");
    assert_masked(rfs_tree_find(tree, dir, "url", &node), "iscsi://u%p@host/iqn/1\n",
                  "iscsi://***@host/iqn/1");
    assert_masked(rfs_tree_find(tree, dir, "url", &node), "iscsi://host/iqn@x/1", "iscsi://host/iqn@x/1");
    rfs_tree_free(tree);
}

static void test_reply(void **state)
{
    struct rfs_text text = RFS_TEXT_INIT, lines = RFS_TEXT_INIT;
    struct rfs_error err;

    rfs_text_puts(&lines, "job=jobs/7\n");
    rfs_ask_reply(RFS_RV_JOB_STARTED, NULL, &lines, &text);
    assert_string_equal(text.data, "return_value=4096\njob=jobs/7\n");
    rfs_text_clear(&text);
    rfs_fail(&err, RFS_RV_IN_USE, "not now");
    rfs_ask_reply(err.rv, &err, NULL, &text);
    assert_string_equal(text.data, "return_value=6\nmessage=\"not now\"\n");
    rfs_text_clear(&text);
    err = (struct rfs_error)RFS_ERROR_INIT;
    rfs_ask_reply(RFS_RV_FAILED, &err, NULL, &text);
    assert_string_equal(text.data, "return_value=4\nmessage=Failed\n");
    rfs_text_free(&text);
    rfs_text_free(&lines);
}

static void test_shown(void **state)
{
    static const char *const cases[][2] = {
        {"plain", "plain"},  {"\xc3\xbc", "\xc3\xbc"},   {"\xff\xfe", "\\xff\\xfe"},
        {"a\xc3", "a\\xc3"}, {"\xe2\x82", "\\xe2\\x82"}, {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rfs_text text = RFS_TEXT_INIT;

        rfs_shown(cases[i][0], &text);
        assert_string_equal(text.data, cases[i][1]);
        rfs_text_free(&text);
    }
}

static void note(struct rfs_book *book, uid_t uid, pid_t sid, const char *path)
{
    struct rfs_caller who = {.uid = uid, .sid = sid};
    struct rfs_error err;

    rfs_fail(&err, RFS_RV_INVALID_PARAMETER, "bad");
    rfs_book_note(book, &who,
                  &(struct rfs_outcome){.operation = "write", .path = path, .rv = err.rv, .err = &err});
}

static void assert_path(struct rfs_book *book, uid_t uid, pid_t sid, const char *path)
{
    struct rfs_caller who = {.uid = uid, .sid = sid};
    struct rfs_text text = RFS_TEXT_INIT;
    char line[64];

    rfs_text_puts(&text, "");
    rfs_book_render(book, &who, &text);
    if (path) {
        snprintf(line, sizeof(line), "\npath=%s\n", path);
        assert_non_null(strstr(text.data, line));
        assert_non_null(strstr(text.data, "errno=22\nerror=EINVAL\nreturn_value=5\nmessage=bad\n"));
    } else {
        assert_string_equal(text.data, "");
    }
    rfs_text_free(&text);
}

static void test_book(void **state)
{
    struct rfs_book *book = rfs_book_new();

    assert_path(book, 0, 1, NULL);
    note(book, 0, 1, "one");
    note(book, 0, 2, "two");
    assert_path(book, 0, 1, "one");
    assert_path(book, 0, 2, "two");
    assert_path(book, 0, 3, "two"); /* a new session of the user */
    assert_path(book, 7, 3, NULL);  /* another user's */
    note(book, 7, 0, "seven");      /* no session known */
    assert_path(book, 7, 0, "seven");
    assert_path(book, 0, 0, "two");
    rfs_book_free(book);
}

/* The entry that was longest unused goes. */
static void test_book_bounded(void **state)
{
    struct rfs_book *book = rfs_book_new();

    note(book, 1, 10, "kept");
    note(book, 2, 20, "old");
    for (unsigned i = 0; i < 2000; i++) {
        note(book, 3, (pid_t)(100 + i), "new");
        assert_path(book, 1, 10, "kept");
    }
    assert_path(book, 2, 20, NULL);
    rfs_book_free(book);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_masked), cmocka_unit_test(test_reply),
                                              cmocka_unit_test(test_shown), cmocka_unit_test(test_book),
                                              cmocka_unit_test(test_book_bounded)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
