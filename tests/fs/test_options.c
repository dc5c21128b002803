/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "options.h"

#define ARGS_MAX 16

/* `line` is split at blanks. */
static int parse(const char *line, bool root, struct rfs_options *o, struct rfs_text *message)
{
    char copy[512], *argv[ARGS_MAX + 1], *save = NULL;
    int argc = 0;

    assert_true(strlen(line) < sizeof(copy));
    strcpy(copy, line);
    for (char *s = strtok_r(copy, " ", &save); s && argc < ARGS_MAX; s = strtok_r(NULL, " ", &save))
        argv[argc++] = s;
    argv[argc] = NULL;
    *message = (struct rfs_text)RFS_TEXT_INIT;
    rfs_text_puts(message, "");
    return rfs_options_parse(o, argc, argv, root, 100, 200, message);
}

static void test_defaults(void **state)
{
    struct rfs_options o;
    struct rfs_text message;

    assert_int_equal(parse("replicafs /mnt", true, &o, &message), 0);
    assert_int_equal(o.action, RFS_ACTION_RUN);
    assert_string_equal(o.mountpoint, "/mnt");
    assert_string_equal(o.state_dir, RFS_STATE_DIR_DEFAULT);
    assert_int_equal(o.workers, 0);
    assert_int_equal(o.uid, 100);
    assert_int_equal(o.gid, 200);
    assert_int_equal(o.umask, 0);
    assert_false(o.foreground);
    assert_string_equal(o.mount_options.data,
                        "allow_other,fsname=replicafs,subtype=replicafs,default_permissions");
    rfs_options_free(&o);
    rfs_text_free(&message);
}

static void test_all(void **state)
{
    struct rfs_options o;
    struct rfs_text message;

    assert_int_equal(
        parse("replicafs none -f /mnt/x -v -v --state-dir=/s -o ro,uid=1,gid=2 -o umask=027,workers=3,"
              "fsname=mine,noatime,nofail,x-systemd.automount,context=a\\,b",
              false, &o, &message),
        0);
    assert_string_equal(o.mountpoint, "/mnt/x");
    assert_string_equal(o.state_dir, "/s");
    assert_int_equal(o.workers, 3);
    assert_int_equal(o.uid, 1);
    assert_int_equal(o.gid, 2);
    assert_int_equal(o.umask, 027);
    assert_int_equal(o.verbose, 2);
    assert_true(o.foreground);
    assert_string_equal(o.mount_options.data,
                        "ro,fsname=mine,noatime,context=a\\,b,subtype=replicafs,default_permissions");
    rfs_options_free(&o);
    rfs_text_free(&message);
}

static void test_actions(void **state)
{
    static const struct {
        const char *line;
        enum rfs_action action;
    } cases[] = {{"replicafs --help", RFS_ACTION_HELP},
                 {"replicafs -V", RFS_ACTION_VERSION},
                 {"replicafs --print-tree", RFS_ACTION_PRINT_TREE}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rfs_options o;
        struct rfs_text message;

        assert_int_equal(parse(cases[i].line, true, &o, &message), 0);
        assert_int_equal(o.action, cases[i].action);
        rfs_options_free(&o);
        rfs_text_free(&message);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *line, *word;
    } cases[] = {
        {"replicafs", "missing"},
        {"replicafs a b c", "too many"},
        {"replicafs /etc/replicafs.conf /mnt", "later version"},
        {"replicafs --bogus /mnt", "--bogus"},
        {"replicafs -o bogus /mnt", "'bogus'"},
        {"replicafs -o rwx /mnt", "'rwx'"},
        {"replicafs -o uid= /mnt", "uid"},
        {"replicafs -o uid=-1 /mnt", "uid"},
        {"replicafs -o uid=4294967295 /mnt", "uid"},
        {"replicafs -o umask=08 /mnt", "umask"},
        {"replicafs -o umask=7777 /mnt", "umask"},
        {"replicafs --workers=65 /mnt", "workers"},
        {"replicafs --workers=0 /mnt", "workers"},
        {"replicafs --workers=+1 /mnt", "workers"},
        {"replicafs --state-dir= /mnt", "--state-dir"},
        {"replicafs /mnt --state-dir", "missing"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rfs_options o;
        struct rfs_text message;

        assert_int_equal(parse(cases[i].line, true, &o, &message), -1);
        if (!strstr(message.data, cases[i].word))
            fail_msg("%s: %s", cases[i].line, message.data);
        rfs_options_free(&o);
        rfs_text_free(&message);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults), cmocka_unit_test(test_all),
                                              cmocka_unit_test(test_actions), cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
