/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

static void test_round_trip(void **state)
{
    static const uint64_t numbers[] = {0, 1, 2, 12345, (UINT64_C(1) << 36) - 1};

    for (unsigned dir = RFS_DIR_ROOT; dir < RFS_DIR_COUNT; dir++)
        for (unsigned row = 0; row < 1024; row += 31)
            for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
                struct rfs_node node = {.dir = dir, .row = row, .number = numbers[i], .salt = row % 7};
                struct rfs_node back;

                if (dir == RFS_DIR_ROOT && !row)
                    continue;
                back = rfs_node_unpack(rfs_node_pack(node));
                assert_true(rfs_node_same_file(node, back));
                assert_int_equal(node.salt, back.salt);
                assert_true(rfs_node_pack(node) > 1);
                node.salt = 0;
                assert_int_equal(rfs_node_ino(back), rfs_node_pack(node));
            }
}

static void test_root(void **state)
{
    assert_int_equal(rfs_node_pack((struct rfs_node){.dir = RFS_DIR_ROOT}), 1);
    assert_int_equal(rfs_node_unpack(1).dir, RFS_DIR_ROOT);
    assert_int_equal(rfs_node_unpack(1).row, 0);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Every row of every table of three objects, and the directories: no number twice. */
static void test_unique(void **state)
{
    struct rfs_tree *tree = rfs_tree_new();
    static uint64_t seen[8192];
    size_t n = 0;

    for (unsigned id = RFS_DIR_ROOT; id < RFS_DIR_COUNT; id++)
        for (uint64_t number = 0; number < 3; number++) {
            struct rfs_node dir = {.dir = id, .number = number};

            if (id == RFS_DIR_ROOT && number)
                continue;
            seen[n++] = rfs_node_pack(dir);
            for (size_t i = 0; i < tree->dirs[id].count; i++)
                if (tree->dirs[id].rows[i].kind != RFS_ROW_DIR)
                    seen[n++] = rfs_node_pack(rfs_tree_row_node(tree, dir, i));
        }
    assert_true(n < sizeof(seen) / sizeof(seen[0]));
    qsort(seen, n, sizeof(seen[0]), compare);
    for (size_t i = 1; i < n; i++)
        assert_int_not_equal(seen[i - 1], seen[i]);
    rfs_tree_free(tree);
}

/* A kernel may ask for any number at all. */
static void test_nonsense(void **state)
{
    struct rfs_tree *tree = rfs_tree_new();
    uint64_t x = 88172645463325252u;

    for (unsigned i = 0; i < 100000; i++) {
        struct rfs_node node, parent;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        node = rfs_node_unpack(x);
        parent = rfs_tree_parent(tree, node);
        assert_true(parent.dir >= RFS_DIR_ROOT && parent.dir < RFS_DIR_COUNT);
        if (rfs_tree_row(tree, node))
            assert_null(rfs_tree_dir(tree, node));
    }
    rfs_tree_free(tree);
}

static void test_rows(void **state)
{
    struct rfs_tree *tree = rfs_tree_new();

    for (unsigned id = RFS_DIR_ROOT; id < RFS_DIR_COUNT; id++)
        for (size_t i = 0; i < tree->dirs[id].count; i++) {
            const struct rfs_row *row = &tree->dirs[id].rows[i];
            struct rfs_node dir = {.dir = id, .number = 7}, found;

            assert_true(row->name[0] && row->help && row->help[0]);
            assert_true(row->mode);
            assert_ptr_equal(rfs_tree_find(tree, dir, row->name, &found), row); /* no name twice */
            if (row->kind == RFS_ROW_DIR)
                assert_int_equal(rfs_tree_parent(tree, found).dir, id);
            if (row->mode & 0222 && row->kind == RFS_ROW_PROPERTY)
                assert_non_null(row->write);
        }
    rfs_tree_free(tree);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_root), cmocka_unit_test(test_unique),
        cmocka_unit_test(test_nonsense),   cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
